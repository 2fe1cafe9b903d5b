/*
 * buf_test - numbers in decimal and the copies that base/buf.h has of its own.
 *
 * Blocks are of exactly the size that a header promises to be enough, so that the address sanitizer
 * sees a byte too many.
 */
#include "base/buf.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/unit/tap.h"

static bool is_decimal(uint64_t n)
{
    char expected[24];
    char *p = malloc(20);
    size_t len = (size_t)snprintf(expected, sizeof expected, "%" PRIu64, n);
    size_t written = (size_t)(put_u64(p, n) - p);
    bool same = written == len && memcmp(p, expected, len) == 0;

    if (!same)
        tap_note("%s became %.*s", expected, (int)written, p);
    free(p);
    return same;
}

/* All numbers of few digits, and those around every power of ten and every power of two. */
static void check_numbers(void)
{
    int failures = 0;

    for (uint64_t n = 0; n < 200000; n++)
        failures += !is_decimal(n);
    ok(failures == 0, "numbers below 200000");
    failures = 0;
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10)
        for (uint64_t i = 0; i < 2000; i++)
            failures += !is_decimal(power * 10 - 1000 + i) + !is_decimal(power * (i % 10));
    for (int bits = 0; bits < 64; bits++)
        for (uint64_t i = 0; i < 200; i++)
            failures += !is_decimal((UINT64_C(1) << bits) - 100 + i);
    ok(failures == 0, "numbers around powers of ten and of two");
}

/* A number whose halves, quarters and digits take all values beside one another. */
static void check_groups(void)
{
    int failures = 0;

    for (uint64_t n = 0; n < 10000; n++)
        failures += !is_decimal(n * 10000 + (9999 - n)) + !is_decimal(n * 100000000 + n) +
                    !is_decimal(n * 1000000000000 + 99990000);
    ok(failures == 0, "groups of four digits");
}

static void check_integers(void)
{
    static const struct {
        int64_t n;
        const char *text;
    } cases[] = {{0, "0"}, {-1, "-1"}, {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}, {-100000000, "-100000000"}};
    struct buf b;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_init(&b, 0);
        buf_add_i64(&b, cases[i].n);
        is_text(b.data, b.len, cases[i].text, cases[i].text);
        buf_release(&b);
    }
}

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + n);
}

static void check_few_bytes(void)
{
    int failures = 0;

    for (size_t n = 0; n < 100; n++) {
        char *source = malloc(n ? n : 1), *target = malloc(n ? n : 1);

        fill(source, n);
        failures += put_few(target, source, n) != target + n || memcmp(source, target, n) != 0;
        free(source);
        free(target);
    }
    ok(failures == 0, "few bytes, and no more than they are");
}

/* What was reserved for the padding is room for the last block, read and written. */
static void check_blocks(void)
{
    int failures = 0;

    for (size_t n = 0; n < 100; n++) {
        char *target = malloc(n + BUF_BLOCK - 1);
        struct buf b;

        buf_init(&b, 1);
        fill(buf_reserve(&b, n), n);
        b.len = n;
        buf_pad(&b);
        failures += b.len != n || put_blocks(target, b.data, n) != target + n ||
                    memcmp(b.data, target, n) != 0;
        buf_release(&b);
        free(target);
    }
    ok(failures == 0, "blocks");
}

int main(void)
{
    check_numbers();
    check_groups();
    check_integers();
    check_few_bytes();
    check_blocks();
    return tap_done();
}
