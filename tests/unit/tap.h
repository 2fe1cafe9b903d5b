/*
 * tap - the Test Anything Protocol for unit tests: one C file includes this, one program results.
 *
 *     ok(2 + 2 == 4, "sum of %d and %d", 2, 2);
 *     is_text(buf.data, buf.len, "null", "NULL");
 *     return tap_done();
 *
 * The plan is printed at the end, or at the beginning by tap_plan() for a test that wants an
 * early exit to be told from a short list.  A table-driven test that counts thousands of cases
 * reports each failure with tap_note() and has one ok() for all.
 */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct {
    unsigned planned;
    unsigned run;
    unsigned failed;
} tap;

static inline void tap_plan(unsigned n)
{
    tap.planned = n;
    printf("1..%u\n", n);
}

/* A line of explanation, for people. */
__attribute__((format(printf, 1, 2))) static inline void tap_note(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    printf("# ");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

/* One test, named by fmt; returns whether it passed. */
__attribute__((format(printf, 2, 3))) static inline bool ok(bool passed, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    printf("%s %u - ", passed ? "ok" : "not ok", ++tap.run);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    if (!passed)
        tap.failed++;
    fflush(stdout); /* a crash comes after the tests before it */
    return passed;
}

/* Whether len bytes are the expected string. */
static inline bool is_text(const char *got, size_t len, const char *expected, const char *name)
{
    bool same = len == strlen(expected) && (len == 0 || memcmp(got, expected, len) == 0);

    ok(same, "%s", name);
    if (!same) {
        tap_note("     got: %.*s", (int)len, len ? got : "");
        tap_note("expected: %s", expected);
    }
    return same;
}

static inline bool is_str(const char *got, const char *expected, const char *name)
{
    return is_text(got ? got : "(null)", strlen(got ? got : "(null)"), expected, name);
}

/* The exit status for main() to return. */
static inline int tap_done(void)
{
    if (!tap.planned)
        printf("1..%u\n", tap.run);
    return tap.failed || (tap.planned && tap.planned != tap.run);
}

#endif
