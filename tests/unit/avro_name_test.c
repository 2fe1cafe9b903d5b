/*
 * avro_name_test - names for Avro: the form, the way back, and that no two become one.
 *
 * The way back is this file's own and works on units of UTF-16, as the header tells the form.
 */
#include "encode/avro_name.h"

#include <stdlib.h>

#include <avro.h>

#include "base/log.h"
#include "tests/unit/tap.h"

/* ---- golden names ---- */

static void is_name(const char *name, const char *expected)
{
    struct buf b;

    buf_init(&b, 1);
    avro_add_name(&b, name);
    is_text(b.data, b.len, expected, expected);
    buf_release(&b);
}

static void test_goldens(void)
{
    is_name("id", "id");
    is_name("_", "_");
    is_name("A9_z", "A9_z");
    is_name("a b", "a_u0020b");
    is_name("a_u0020b", "a_u005fu0020b");
    is_name("a_u005fu0020b", "a_u005fu005fu0020b");
    is_name("__u0020", "__u005fu0020");
    is_name("_u002", "_u002");
    is_name("_u002G", "_u002G");
    is_name("_u00E9", "_u00E9"); /* no escape has capital digits */
    is_name("_U0020", "_U0020");
    is_name("_u00 20", "_u00_u002020");
    is_name("_u_u0020", "_u_u005fu0020");
    is_name("1st", "_u0031st");
    is_name("st1", "st1");
    is_name("_1", "_1");
    is_name("a.b", "a_u002eb");
    is_name("a-b", "a_u002db");
    is_name("", "_u0000");
    is_name("_u0000", "_u005fu0000");
    is_name("\x01\x7f", "_u0001_u007f");
    is_name("\xc3\xa9", "_u00e9");
    is_name("\xe2\x82\xac", "_u20ac");
    is_name("\xf0\x9f\x98\x80", "_ud83d_ude00");
    is_name("\xf4\x8f\xbf\xbf", "_udbff_udfff");
    is_name("\xe9", "_udce9"); /* not UTF-8: a byte by itself */
    is_name("\xc3", "_udcc3");
    is_name("\xed\xb3\xa9", "_udced_udcb3_udca9"); /* U+DCE9 in the form of UTF-8 */
    is_name("\xe2\x82", "_udce2_udc82");
    is_name("\xf0\x9f\x98\x80\xa9", "_ud83d_ude00_udca9");
    is_name("int", "int");
}

/* ---- the way back ---- */

static bool read_escape(const char *s, unsigned *unit)
{
    static const char digits[] = "0123456789abcdef";

    if (s[0] != '_' || s[1] != 'u')
        return false;
    *unit = 0;
    for (int i = 2; i < 6; i++) {
        const char *digit = s[i] ? strchr(digits, s[i]) : NULL;

        if (!digit)
            return false;
        *unit = *unit * 16 + (unsigned)(digit - digits);
    }
    return true;
}

static void add_character(struct buf *b, unsigned c)
{
    if (c < 0x80) {
        buf_add_char(b, (char)c);
    } else if (c < 0x800) {
        buf_add_char(b, (char)(0xc0 | c >> 6));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(b, (char)(0xe0 | c >> 12));
        buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(b, (char)(0xf0 | c >> 18));
        buf_add_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    }
}

static const char *read_unit(const char *s, struct buf *b, unsigned unit)
{
    unsigned low;

    s += 6;
    if (unit >= 0xd800 && unit < 0xdc00 && read_escape(s, &low)) {
        add_character(b, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        s += 6;
    } else if (unit >= 0xdc00 && unit < 0xe000) {
        buf_add_char(b, (char)(unit & 0xff));
    } else {
        add_character(b, unit);
    }
    return s;
}

/* Ends in NUL, as the name did. */
static void read_back(const char *s, struct buf *b)
{
    unsigned unit;

    while (*s) {
        if (read_escape(s, &unit))
            s = read_unit(s, b, unit);
        else
            buf_add_char(b, *s++);
    }
    buf_add_char(b, '\0');
}

static bool is_allowed(const struct buf *b)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return b->data[0] && strchr(letters, b->data[0]) && strspn(b->data, all) == b->len - 1;
}

/* What comes back is the name itself, so no two names can have become one. */
static bool comes_back(const char *name, struct buf *b, struct buf *back)
{
    b->len = 0;
    back->len = 0;
    avro_add_name(b, name);
    buf_add_char(b, '\0');
    read_back(b->data, back);
    if (is_allowed(b) && strcmp(back->data, name) == 0)
        return true;
    tap_note("\"%s\" became %s", name, b->data);
    return false;
}

/* All names of some length made of what escapes are made of. */
static void test_all_short(struct buf *b, struct buf *back)
{
    static const char alphabet[] = "_u05 \xc3\xa9";
    enum { KINDS = sizeof alphabet - 1, LENGTH = 7 };
    unsigned wrong = 0;
    unsigned long total = 1;
    char name[LENGTH + 1];

    for (int length = 0; length <= LENGTH; length++, total *= KINDS) {
        for (unsigned long n = 0; n < total; n++) {
            unsigned long rest = n;

            for (int i = 0; i < length; i++, rest /= KINDS)
                name[i] = alphabet[rest % KINDS];
            name[length] = '\0';
            wrong += !comes_back(name, b, back);
        }
    }
    ok(wrong == 0, "all names of up to 7 bytes that look like escapes come back");
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_random(struct buf *b, struct buf *back)
{
    static const char *const tokens[] = {
        "_", "u", "_u", "_u00", "_u0020", "_u005f", "_u005fu0020", "_udc", "e9", "0", "005f", "x",
        " ", ".", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xe9", "\xed\xa0\x80", "int",
        "null", "_ud83d", "\xff",
    };
    uint64_t state = UINT64_C(0x2545f4914f6cdd1d);
    unsigned wrong = 0;

    for (int round = 0; round < 200000; round++) {
        char name[160] = "";

        for (uint64_t n = random_next(&state) % 8; n > 0; n--) {
            const char *token = tokens[random_next(&state) % (sizeof tokens / sizeof tokens[0])];
            size_t len = strlen(name);

            snprintf(name + len, sizeof name - len, "%s", token);
        }
        if (random_next(&state) % 4 == 0 && name[0])
            name[random_next(&state) % strlen(name)] = (char)(1 + random_next(&state) % 255);
        wrong += !comes_back(name, b, back);
    }
    ok(wrong == 0, "200000 random names come back");
}

/* The address sanitizer sees what is read behind the NUL. */
static void test_cuts(struct buf *b, struct buf *back)
{
    static const char whole[] = "a_u005f\xf0\x9f\x98\x80_u00e9\xe2\x82\xac_u";
    unsigned wrong = 0;

    for (size_t n = 0; n < sizeof whole; n++) {
        char *name = xstrndup(whole, n);

        wrong += !comes_back(name, b, back);
        free(name);
    }
    ok(wrong == 0, "a name cut at every byte");
}

/* ---- what the library says ---- */

static bool library_takes(const char *name)
{
    avro_schema_t record = avro_schema_record("row", name);
    avro_schema_t field = avro_schema_int();
    bool taken = record && avro_schema_record_field_append(record, name, field) == 0;

    avro_schema_decref(field);
    if (record)
        avro_schema_decref(record);
    return taken;
}

static void test_library(struct buf *b)
{
    unsigned wrong = 0;

    for (unsigned c = 1; c < 256; c++) {
        char name[] = {(char)c, (char)c, '\0'};

        b->len = 0;
        avro_add_name(b, name);
        buf_add_char(b, '\0');
        wrong += !library_takes(b->data);
    }
    ok(wrong == 0, "libavro takes what becomes of every byte");
    ok(!library_takes("a b") && !library_takes("1a"), "and not everything");
}

int main(void)
{
    struct buf b, back;

    buf_init(&b, 1);
    buf_init(&back, 1);
    test_goldens();
    test_all_short(&b, &back);
    test_random(&b, &back);
    test_cuts(&b, &back);
    test_library(&b);
    buf_release(&b);
    buf_release(&back);
    return tap_done();
}
