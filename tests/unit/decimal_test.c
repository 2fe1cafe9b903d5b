/*
 * decimal_test - digits of numerics -> big-endian two's complement, and back by long division.
 */
#include "encode/decimal.h"

#include <stdlib.h>

#include "base/log.h"
#include "tests/unit/tap.h"

/* Inputs are handed over in blocks of exactly their size, for the address sanitizer's sake. */
static bool add(struct buf *b, const char *text, size_t len, int scale)
{
    char *exact = malloc(len ? len : 1);
    bool added;

    if (!exact)
        log_out_of_memory();
    memcpy(exact, text, len);
    buf_release(b);
    buf_init(b, 1);
    added = decimal_add(b, len ? exact : exact + 1, len, scale);
    free(exact);
    return added;
}

/* ---- golden values ---- */

static void hex_of(const struct buf *b, char *hex)
{
    for (size_t i = 0; i < b->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)b->data[i]);
    hex[2 * b->len] = '\0';
}

static void test_goldens(struct buf *b)
{
    static const struct {
        const char *text;
        int scale;
        const char *hex; /* NULL: refused */
    } cases[] = {
        {"0", 0, "00"},
        {"0.00", 2, "00"},
        {"-0.00", 2, "00"},
        {"-0", 0, "00"},
        {"0", 1000, "00"},
        {"1", 0, "01"},
        {"-1", 0, "ff"},
        {"127", 0, "7f"},
        {"128", 0, "0080"},
        {"-128", 0, "80"},
        {"-129", 0, "ff7f"},
        {"255", 0, "00ff"},
        {"256", 0, "0100"},
        {"-255", 0, "ff01"},
        {"-256", 0, "ff00"},
        {"-257", 0, "feff"},
        {"1.1", 2, "6e"},          /* 110 */
        {"10.1111", 4, "018af7"},  /* 101111 */
        {"1234.11", 2, "01e213"},  /* 123411 */
        {"-1234.11", 2, "fe1ded"},
        {"1.10", 1, "0b"},
        {"1.10", 2, "6e"},
        {"1.1", 3, "044c"},
        {"1.11", 1, NULL},
        {"0.001", 2, NULL},
        {"123000", -3, "7b"},
        {"-123000", -3, "85"},
        {"123000.000", -3, "7b"},
        {"123000", -2, "04ce"},
        {"123000", -4, NULL},
        {"123001", -3, NULL},
        {"123000.1", -3, NULL},
        {"0", -3, "00"},
        {"7", -3, NULL},
        {"007", 0, "07"},
        {"000", -3, "00"},
        {"9223372036854775807", 0, "7fffffffffffffff"},
        {"9223372036854775808", 0, "008000000000000000"},
        {"-9223372036854775808", 0, "8000000000000000"},
        {"-9223372036854775809", 0, "ff7fffffffffffffff"},
        {"18446744073709551615", 0, "00ffffffffffffffff"},
        {"18446744073709551616", 0, "010000000000000000"},
        {"-18446744073709551615", 0, "ff0000000000000001"},
        {"-18446744073709551616", 0, "ff0000000000000000"},
        {"-18446744073709551617", 0, "feffffffffffffffff"},
        {"170141183460469231731687303715884105727", 0, "7fffffffffffffffffffffffffffffff"},
        {"170141183460469231731687303715884105728", 0, "0080000000000000000000000000000000"},
        {"-170141183460469231731687303715884105728", 0, "80000000000000000000000000000000"},
        {"-340282366920938463463374607431768211456", 0, "ff00000000000000000000000000000000"},
        {"", 0, NULL},
        {"-", 0, NULL},
        {"+1", 0, NULL},
        {"--1", 0, NULL},
        {".5", 1, NULL},
        {"-.5", 1, NULL},
        {"1.", 0, NULL},
        {"1..2", 2, NULL},
        {"1.2.3", 2, NULL},
        {"1 ", 0, NULL},
        {" 1", 0, NULL},
        {"1e5", 0, NULL},
        {"1,5", 1, NULL},
        {"0x10", 0, NULL},
        {"NaN", 0, NULL},
        {"Infinity", 0, NULL},
        {"-Infinity", 0, NULL},
        {"1", 150001, NULL},
        {"1", INT32_MAX, NULL},
        {"1", INT32_MIN, NULL},
        {"0", INT32_MIN, "00"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool added = add(b, cases[i].text, strlen(cases[i].text), cases[i].scale);
        char hex[128], name[128];

        snprintf(name, sizeof name, "\"%s\" with scale %d", cases[i].text, cases[i].scale);
        if (!cases[i].hex) {
            ok(!added && b->len == 0, "%s is refused", name);
        } else if (ok(added && b->len < 60, "%s is taken", name)) {
            hex_of(b, hex);
            is_str(hex, cases[i].hex, name);
        }
    }
}

static void test_nul(struct buf *b)
{
    ok(!add(b, "1\0002", 3, 0) && b->len == 0, "a NUL is no digit");
    ok(!add(b, "12\000", 3, 0) && b->len == 0, "nor the end of a text");
}

/* ---- back again, by long division in base 10^9 ---- */

/* Bytes -> the digits of the absolute value, lowest word first in base 2^32; returns the sign. */
static bool magnitude_of(const struct buf *b, uint32_t *words, size_t nwords)
{
    bool negative = b->data[0] & 0x80;
    unsigned carry = negative;

    memset(words, 0, nwords * sizeof *words);
    for (size_t i = 0; i < b->len; i++) {
        unsigned byte = (unsigned char)b->data[b->len - 1 - i];

        if (negative) {
            byte = (byte ^ 0xff) + carry;
            carry = byte >> 8;
            byte &= 0xff;
        }
        words[i / 4] |= (uint32_t)byte << i % 4 * 8;
    }
    if (carry)
        words[b->len / 4] |= UINT32_C(1) << b->len % 4 * 8;
    return negative;
}

/* Divides by 10^9 in place; the remainder. */
static uint32_t divide(uint32_t *words, size_t *n)
{
    uint64_t rest = 0;

    for (size_t i = *n; i-- > 0;) {
        rest = rest << 32 | words[i];
        words[i] = (uint32_t)(rest / 1000000000);
        rest %= 1000000000;
    }
    while (*n > 0 && words[*n - 1] == 0)
        --*n;
    return (uint32_t)rest;
}

/* The integer as text, to be freed. */
static char *integer_of(const struct buf *b)
{
    size_t n = b->len / 4 + 2;
    uint32_t *words = xcalloc(n, sizeof *words);
    size_t room = b->len * 3 + 24;
    char *text = xcalloc(room, 1), *p = text + room - 1;
    bool negative = magnitude_of(b, words, n);

    while (n > 0) {
        uint32_t rest = divide(words, &n);

        for (int i = 0; i < 9; i++, rest /= 10)
            *--p = (char)('0' + rest % 10);
    }
    while (*p == '0')
        p++;
    if (!*p)
        *--p = '0';
    if (negative)
        *--p = '-';
    memmove(text, p, strlen(p) + 1);
    free(words);
    return text;
}

/* No shorter one has the same value: the first byte is not all sign. */
static bool is_shortest(const struct buf *b)
{
    if (b->len < 2)
        return b->len == 1;
    if (b->data[0] == 0)
        return b->data[1] & 0x80;
    return (unsigned char)b->data[0] != 0xff || !(b->data[1] & 0x80);
}

static bool returns(struct buf *b, const char *text, int scale, const char *integer)
{
    char *back;
    bool same;

    if (!add(b, text, strlen(text), scale) || !is_shortest(b))
        return false;
    back = integer_of(b);
    same = strcmp(back, integer) == 0;
    if (!same)
        tap_note("%.60s with scale %d is %.60s and not %.60s", text, scale, back, integer);
    free(back);
    return same;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ndigits digits, the first of which is not 0; often runs of 0 or 9. */
static void random_digits(uint64_t *state, char *digits, size_t ndigits)
{
    int kind = (int)(random_next(state) % 4);

    for (size_t i = 0; i < ndigits; i++) {
        unsigned any = (unsigned)(random_next(state) >> 32) % 10;

        digits[i] = (char)('0' + (kind == 0 ? 0 : kind == 1 ? 9 : any));
    }
    if (digits[0] == '0')
        digits[0] = '1';
    digits[ndigits] = '\0';
}

/* The digits of an integer with a point put somewhere: the integer has to come back. */
static bool random_returns(struct buf *b, uint64_t *state)
{
    static const char zeros[] = "0000000000000000000000000000000000000000";
    char integer[1024], text[1100];
    size_t ndigits = 1 + random_next(state) % (random_next(state) % 10 ? 60 : 900);
    size_t places = random_next(state) % 40;
    const char *sign = random_next(state) % 2 ? "-" : "";
    char digits[960];

    random_digits(state, digits, ndigits);
    snprintf(integer, sizeof integer, "%s%s", sign, digits);
    if (places == 0)
        snprintf(text, sizeof text, "%s", integer);
    else if (places >= ndigits)
        snprintf(text, sizeof text, "%s0.%.*s%s", sign, (int)(places - ndigits), zeros, digits);
    else
        snprintf(text, sizeof text, "%s%.*s.%s", sign, (int)(ndigits - places), digits,
                 digits + ndigits - places);
    return returns(b, text, (int)places, integer);
}

static void test_random(struct buf *b)
{
    uint64_t state = UINT64_C(0xc0ffee123456789b);
    const unsigned rounds = 30000;
    unsigned returned = 0;

    for (unsigned i = 0; i < rounds; i++)
        returned += random_returns(b, &state);
    ok(returned == rounds, "%u of %u random numbers return", returned, rounds);
}

/* Around the powers of 2 where another byte, or word, begins. */
static void test_powers(struct buf *b)
{
    unsigned wrong = 0;

    for (unsigned bits = 7; bits < 60; bits++) {
        for (int64_t near = -2; near <= 2; near++) {
            int64_t n = (INT64_C(1) << bits) + near;
            char text[32];

            snprintf(text, sizeof text, "%lld", (long long)n);
            wrong += !returns(b, text, 0, text);
            snprintf(text, sizeof text, "%lld", (long long)-n);
            wrong += !returns(b, text, 0, text);
        }
    }
    ok(wrong == 0, "numbers around powers of 2: %u do not return", wrong);
}

/* ---- the longest ---- */

static char *long_number(size_t before, size_t behind)
{
    char *text = xcalloc(before + behind + 3, 1);
    char *p = text;

    *p++ = '-';
    for (size_t i = 0; i < before; i++)
        *p++ = (char)('1' + i % 9);
    if (behind > 0)
        *p++ = '.';
    for (size_t i = 0; i < behind; i++)
        *p++ = (char)('9' - i % 10);
    return text;
}

static void test_longest(struct buf *b)
{
    char *text = long_number(131072, 16383);
    char *integer = long_number(131072, 16383);
    char *point = strchr(integer, '.');
    int scale;

    memmove(point, point + 1, strlen(point));
    ok(decimal_scale(text, strlen(text), &scale) && scale == 16383, "16383 digits are counted");
    ok(returns(b, text, 16383, integer), "131072 digits before and 16383 behind the point return");
    ok(returns(b, text + 131073 - 600, 16383, integer + 131073 - 600),
       "600 before the point, and as many behind");
    free(text);
    free(integer);
    text = long_number(150001, 0);
    ok(!add(b, text, strlen(text), 0) && b->len == 0, "150001 digits are no numeric's");
    text[150001] = '\0';
    ok(add(b, text, strlen(text), 0), "150000 would be taken");
    free(text);
}

/* ---- the scale of a text and of a typmod ---- */

static void test_scale(void)
{
    static const struct {
        const char *text;
        int scale; /* -1: no number */
    } cases[] = {
        {"0", 0},   {"1.0", 1},  {"10.1111", 4}, {"-0.00", 2}, {"123000", 0},    {"NaN", -1},
        {"", -1},   {"1.", -1},  {".1", -1},     {"-", -1},    {"Infinity", -1}, {"1e3", -1},
        {"1.1x", -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int scale = -1;
        bool counted = decimal_scale(cases[i].text, strlen(cases[i].text), &scale);

        ok(counted == (cases[i].scale >= 0) && (!counted || scale == cases[i].scale),
           "the scale of \"%s\"", cases[i].text);
    }
}

/* As numerictypmodin() packs them. */
static void test_typmod(void)
{
    static const struct {
        int precision, scale;
    } cases[] = {{1, 0}, {10, 2}, {1000, 1000}, {1000, -1000}, {3, -3}, {1, -1}, {38, 10}, {2, 5}};
    int precision, scale;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t typmod = (cases[i].precision << 16 | (cases[i].scale & 0x7ff)) + 4;

        ok(decimal_typmod(typmod, &precision, &scale) && precision == cases[i].precision &&
               scale == cases[i].scale,
           "numeric(%d,%d)", cases[i].precision, cases[i].scale);
    }
    ok(decimal_typmod(655366, &precision, &scale) && precision == 10 && scale == 2,
       "numeric(10,2) as a server says it");
    ok(!decimal_typmod(-1, &precision, &scale) && !decimal_typmod(0, &precision, &scale) &&
           !decimal_typmod(INT32_MIN, &precision, &scale),
       "numeric");
}

/* ---- appending ---- */

static void test_appends(void)
{
    struct buf b;

    buf_init(&b, 1);
    buf_add_str(&b, "x");
    ok(decimal_add(&b, "-129", 4, 0) && b.len == 3 && memcmp(b.data, "x\xff\x7f", 3) == 0,
       "bytes go behind what is there");
    ok(!decimal_add(&b, "-129.5", 6, 0) && b.len == 3, "and none when it fails");
    buf_release(&b);
}

int main(void)
{
    struct buf b;

    buf_init(&b, 1);
    test_goldens(&b);
    test_nul(&b);
    test_powers(&b);
    test_random(&b);
    test_longest(&b);
    test_scale();
    test_typmod();
    test_appends();
    buf_release(&b);
    return tap_done();
}
