/*
 * scan_cases - what scan_test and scan_portable_test have in common: all of encode/scan.h against
 * loops over single bytes that share nothing with it.  As both are held to the same loops, with the
 * same bytes, the vector code and its portable twin are held to each other.
 *
 * Sources and targets are blocks of exactly the size that they may have, at every distance from an
 * aligned address, so that the address sanitizer sees a byte too many.
 */
#ifndef TESTS_UNIT_SCAN_CASES_H
#define TESTS_UNIT_SCAN_CASES_H

#include <stdlib.h>

#include "encode/scan.h"
#include "tests/unit/tap.h"

enum { LONGEST = 70, ROUNDS = 200000 };

/* One text of n bytes and room for twice as much, both ending where their blocks do. */
struct pair {
    char *blocks[2];
    char *text;
    char *room;
    size_t n;
};

static uint64_t random_state = 88172645463325252u;

/* Xorshift: the same bytes everywhere. */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t below(size_t n)
{
    return (size_t)(next_random() % n);
}

static char any_byte(unsigned oddity)
{
    static const char odd[] = "\"\\,\n\r\t\x01\x1f\x7f\x80\xc3\xa9\xe6\xbc\xa2\xff {}:";

    if (below(16) >= oddity)
        return (char)('a' + below(26));
    return below(2) ? odd[below(sizeof odd)] : (char)below(256);
}

static struct pair make_pair(void)
{
    size_t shift = below(16), n = below(LONGEST);
    unsigned oddity = (unsigned)below(4);
    struct pair t = {.n = n};

    t.blocks[0] = malloc(shift + n + !(shift + n));
    t.blocks[1] = malloc(shift + 2 * n + !(shift + n));
    t.text = t.blocks[0] + shift;
    t.room = t.blocks[1] + shift;
    for (size_t i = 0; i < n; i++)
        t.text[i] = any_byte(oddity);
    return t;
}

static void free_pair(struct pair *t)
{
    free(t->blocks[0]);
    free(t->blocks[1]);
}

/* ---- what the bytes are, one by one ---- */

static bool is_clean(char c)
{
    int byte = (unsigned char)c;

    return byte >= ' ' && byte < 128 && byte != '"' && byte != '\\';
}

static size_t clean_bytes(const struct pair *t)
{
    size_t n = 0;

    while (n < t->n && is_clean(t->text[n]))
        n++;
    return n;
}

static size_t count(const struct pair *t, const char *set)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->text[i] && strchr(set, t->text[i]);
    return n;
}

static bool is_ascii(const struct pair *t)
{
    for (size_t i = 0; i < t->n; i++)
        if ((unsigned char)t->text[i] > 127)
            return false;
    return true;
}

/* ---- and what scan.h says ---- */

static bool copies_clean(const struct pair *t)
{
    size_t n = scan_copy_clean(t->room, t->text, t->n);

    return n == clean_bytes(t) && memcmp(t->room, t->text, n) == 0;
}

static bool copies_cell(const struct pair *t)
{
    unsigned found = scan_copy_cell(t->room, t->text, t->n);

    return memcmp(t->room, t->text, t->n) == 0 &&
           ((found & SCAN_CSV_MARK) != 0) == (count(t, ",\"\n\r") > 0) &&
           ((found & SCAN_NON_ASCII) != 0) == !is_ascii(t);
}

static bool doubles_quotes(const struct pair *t)
{
    const char *end = scan_copy_doubling_quotes(t->room, t->text, t->n);
    const char *p = t->room;

    if ((size_t)(end - p) != t->n + count(t, "\""))
        return false;
    for (size_t i = 0; i < t->n; i++) {
        if (*p++ != t->text[i] || (t->text[i] == '"' && *p++ != '"'))
            return false;
    }
    return true;
}

static bool sees_non_ascii(const struct pair *t)
{
    return scan_has_non_ascii(t->text, t->n) == !is_ascii(t);
}

static void check(const char *name, bool (*holds)(const struct pair *t))
{
    int failures = 0;

    for (int i = 0; i < ROUNDS && failures < 5; i++) {
        struct pair t = make_pair();

        if (!holds(&t)) {
            tap_note("%zu bytes: %.*s", t.n, (int)t.n, t.text);
            failures++;
        }
        free_pair(&t);
    }
    ok(failures == 0, "%s: %d texts", name, ROUNDS);
}

/* ---- forms ---- */

static bool has_form(const char *text, const char *form)
{
    for (int i = 0; i < 8; i++)
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    return true;
}

/* Every byte in every place, between neighbours that carry and borrow the most. */
static void check_form(const char *form)
{
    static const char neighbours[] = "09:/-\x7f\x80\xff";
    int failures = 0;

    for (size_t at = 0; at < 8; at++)
        for (int byte = 0; byte < 256; byte++)
            for (size_t i = 0; i < sizeof neighbours; i++) {
                char text[8];

                memcpy(text, form, 8);
                text[at] = (char)byte;
                failures += scan_has_form(text, form) != has_form(text, form);
                text[(at + 1) % 8] = neighbours[i];
                failures += scan_has_form(text, form) != has_form(text, form);
                text[(at + 7) % 8] = neighbours[i];
                failures += scan_has_form(text, form) != has_form(text, form);
            }
    ok(failures == 0, "the form %s, and what is not", form);
}

static int run_cases(void)
{
    check("up to the first special byte", copies_clean);
    check("a cell of CSV", copies_cell);
    check("quotes doubled", doubles_quotes);
    check("beyond ASCII", sees_non_ascii);
    check_form("0000-00-");
    check_form("00:00:00");
    return tap_done();
}

#endif
