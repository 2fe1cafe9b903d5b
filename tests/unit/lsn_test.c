/*
 * lsn_test - which texts are WAL positions, and which ones.
 */
#include "base/lsn.h"

#include <stdlib.h>

#include "base/log.h"
#include "tests/unit/tap.h"

static const struct {
    const char *text;
    lsn_t lsn;
} good[] = {
    {"0/0", 0},
    {"0/1", 1},
    {"1/0", UINT64_C(0x100000000)},
    {"16/B374D848", UINT64_C(0x16b374d848)},
    {"16/b374d848", UINT64_C(0x16b374d848)},
    {"aB/Cd", UINT64_C(0xab000000cd)},
    {"00000016/0B374D84", UINT64_C(0x160b374d84)},
    {"00000000/00000000", 0},
    {"0/FFFFFFFF", UINT64_C(0xffffffff)},
    {"FFFFFFFF/0", UINT64_C(0xffffffff00000000)},
    {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
    {"7FFFFFFF/80000000", UINT64_C(0x7fffffff80000000)},
    {"80000000/7FFFFFFF", UINT64_C(0x800000007fffffff)},
    {"0123abcd/456789ef", UINT64_C(0x0123abcd456789ef)},
};

static const char *const bad[] = {
    "", "/", "0", "0/", "/0", "12345678", "16B374D848",
    "//", "0//0", "/0/0", "0/0/", "0/0/0", "0\\0", "0:0", "0-0",
    "000000000/0", "0/000000000", "100000000/0", "0/100000000", "FFFFFFFFF/0", "0/FFFFFFFFF",
    "11111111111111111111111111111111/0", "0/11111111111111111111111111111111",
    "g/0", "0/g", "1g/0", "0/1g", "G/0", "0/G",
    "0x1/0", "0/0x1", "0X1/0", "0/0X1", "0x/0", "0/0x", "00x1/0", "0/00x1", "x/0", "0/x",
    " 0/0", "0/0 ", "0 /0", "0/ 0", "\t0/0", "0/\t0", "0/0\n", "\n0/0", "0/\n0",
    "+1/0", "0/+1", "-1/0", "0/-1", "-0/0", "1.0/0", "0/1.0", "0/0h", "0/0L", "1e+5/0",
    "\xef\xbc\x91/0", "0/\xb2", "\xff/0", "0/0\xff",
};

/* A text in a block of its size, so that the address sanitizer sees a byte read too many. */
static bool parse(const char *text, lsn_t *lsn)
{
    char *copy = xstrdup(text);
    bool parsed = lsn_parse(copy, lsn);

    free(copy);
    return parsed;
}

static void test_good(void)
{
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        lsn_t lsn = ~good[i].lsn;

        ok(parse(good[i].text, &lsn) && lsn == good[i].lsn, "%s", good[i].text);
    }
}

static void test_bad(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lsn_t lsn = 42;
        bool parsed = parse(bad[i], &lsn);
        bool refused = ok(!parsed && lsn == 42, "text %zu is refused and sets nothing", i);

        if (!refused)
            tap_note("%s was taken for %llX", bad[i], (unsigned long long)lsn);
    }
}

/* What the program writes it can read. */
static void test_round_trip(void)
{
    bool same = true;

    for (unsigned bit = 0; bit < 64; bit++) {
        lsn_t lsn = (UINT64_C(1) << bit) * 3 - 1, back = 0;
        char *text = xasprintf(LSN_FMT, LSN_ARGS(lsn));

        if (!parse(text, &back) || back != lsn) {
            tap_note("%s was read as %llX", text, (unsigned long long)back);
            same = false;
        }
        free(text);
    }
    ok(same, "a position that was printed is read as what it was");
}

/* Every byte in every place of a good text: digits pass but for the slash, nothing else does. */
static void test_every_byte(void)
{
    bool right = true;

    for (int byte = 0; byte < 256; byte++) {
        for (int at = 0; at < 5; at++) {
            char text[] = "12/34";
            bool digit = byte && strchr("0123456789abcdefABCDEF", byte);
            bool shorter = byte == 0 && at == 4; /* "12/3", which is as good */
            bool expected = shorter || (at == 2 ? byte == '/' : digit);
            lsn_t lsn;

            text[at] = (char)byte;
            if (parse(text, &lsn) != expected) {
                tap_note("byte 0x%02x at %d", (unsigned)byte, at);
                right = false;
            }
        }
    }
    ok(right, "any byte in any place");
}

int main(void)
{
    test_good();
    test_bad();
    test_round_trip();
    test_every_byte();
    return tap_done();
}
