/*
 * charset_test - texts in the encodings of databases -> UTF-8, as the server itself converts them.
 */
#include "decode/charset.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/tap.h"

/* A text in a block of its own size, so that the address sanitizer sees a byte read too many. */
struct text {
    char *block;
    char *data;
    size_t len;
};

static struct text text_of(const char *bytes, size_t len)
{
    struct text t = {.block = malloc(len ? len : 1), .len = len};

    if (!t.block)
        log_out_of_memory();
    memcpy(t.block, bytes, len);
    t.data = t.block;
    return t;
}

static struct charset *open_charset(const char *encoding)
{
    struct charset *cs = NULL;

    if (charset_new(encoding, &cs) != OUTCOME_OK || !cs) {
        ok(false, "encoding %s", encoding);
        exit(1);
    }
    return cs;
}

static void converts(struct charset *cs, const char *bytes, const char *expected, const char *name)
{
    struct text t = text_of(bytes, strlen(bytes));

    charset_begin(cs, t.len);
    ok(charset_convert(cs, &t.data, &t.len), "%s is valid", name);
    is_text(t.data, t.len, expected, name);
    free(t.block);
}

/* ---- every character ---- */

/*
 * What PostgreSQL 15 makes of every character, one by one, as convert_from() says: the FNV-1a hash
 * of its UTF-8, or of '?' for one that is not valid.  The order is that of hash_all().
 */
static const struct {
    const char *encoding;
    uint32_t hash;
} known[] = {
    {"LATIN1", 0x39b26c7},      {"LATIN2", 0x7679cce0},     {"LATIN3", 0x246c50f5},
    {"LATIN4", 0xb93943b5},     {"LATIN5", 0x70c16498},     {"LATIN6", 0x726f475},
    {"LATIN7", 0x15030a17},     {"LATIN8", 0xc4f68efb},     {"LATIN9", 0x29f94902},
    {"LATIN10", 0x1179f6c},     {"ISO_8859_5", 0x88e2a1cd}, {"ISO_8859_6", 0x6e7d4ad0},
    {"ISO_8859_7", 0x3ae2c12b}, {"ISO_8859_8", 0xd5a773f7}, {"WIN1250", 0xc3f4e9c},
    {"WIN1251", 0xc56d7078},    {"WIN1252", 0x6ebc1ae1},    {"WIN1253", 0xb0cf3a3d},
    {"WIN1254", 0x764778e3},    {"WIN1255", 0x2820162f},    {"WIN1256", 0x17185af1},
    {"WIN1257", 0xa99d7f63},    {"WIN1258", 0x878c9252},    {"WIN866", 0x243152c0},
    {"WIN874", 0x55acf781},     {"KOI8R", 0x4860884f},      {"KOI8U", 0x1b988353},
    {"EUC_JIS_2004", 0x66e1b0fc}, {"EUC_CN", 0x1c16228d},
};

static uint32_t hash_one(struct charset *cs, uint32_t hash, const char *bytes, size_t len)
{
    struct text t = text_of(bytes, len);

    charset_begin(cs, len);
    if (!charset_convert(cs, &t.data, &t.len)) {
        t.data = t.block;
        t.data[0] = '?';
        t.len = 1;
    }
    for (size_t i = 0; i < t.len; i++)
        hash = (hash ^ (unsigned char)t.data[i]) * 16777619u;
    free(t.block);
    return hash;
}

/* All pairs of bytes that an EUC character can end in, behind `before`. */
static uint32_t hash_pairs(struct charset *cs, uint32_t hash, const char *before)
{
    char bytes[4] = {0};
    size_t n = strlen(before);

    memcpy(bytes, before, n);
    for (int a = 0xa1; a < 0xff; a++) {
        for (int b = 0xa1; b < 0xff; b++) {
            bytes[n] = (char)a;
            bytes[n + 1] = (char)b;
            hash = hash_one(cs, hash, bytes, n + 2);
        }
    }
    return hash;
}

static uint32_t hash_all(struct charset *cs, const char *encoding)
{
    bool japanese = strcmp(encoding, "EUC_JIS_2004") == 0;
    uint32_t hash = 2166136261u;

    for (int i = 1; i < 256; i++)
        hash = hash_one(cs, hash, (char[]){(char)i}, 1);
    if (strncmp(encoding, "EUC", 3) == 0) {
        hash = hash_pairs(cs, hash, "");
        for (int a = 0xa1; a < 0xff; a++)
            hash = hash_one(cs, hash, (char[]){'\x8e', (char)a}, 2);
    }
    return japanese ? hash_pairs(cs, hash, "\x8f") : hash;
}

static void test_known(void)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct charset *cs = open_charset(known[i].encoding);

        ok(hash_all(cs, known[i].encoding) == known[i].hash,
           "every character of %s is the server's", known[i].encoding);
        charset_free(cs);
    }
}

/* Of these iconv knows characters that the server does not. */
static void test_others(void)
{
    struct charset *cs = open_charset("EUC_JP");

    converts(cs, "a\xc6\xfc\xcb\xdc\\\xa1\xc1\xad\xa1\x8e\xb1\x8f\xa2\xc3z",
             "a\xe6\x97\xa5\xe6\x9c\xac\\\xef\xbd\x9e\xe2\x91\xa0\xef\xbd\xb1\xef\xbf\xa4z",
             "EUC_JP, with the wide tilde and NEC's special characters");
    charset_free(cs);
    cs = open_charset("EUC_KR");
    converts(cs, "\xc7\xd1\xb1\xdb\\", "\xed\x95\x9c\xea\xb8\x80\\", "EUC_KR");
    charset_free(cs);
    cs = open_charset("EUC_TW");
    converts(cs, "\xa4\xa1\x8e\xa2\xa1\xa1", "\xef\xbc\x90\xe4\xb9\x82",
             "EUC_TW, with a character of four bytes");
    charset_free(cs);
}

/* ---- sequences ---- */

/* iconv composes these by itself; the server does not. */
static void test_composition(void)
{
    struct charset *cs = open_charset("WIN1258");

    converts(cs, "xA\xcc" "B\xccy", "xA\xcc\x80" "B\xcc\x80y", "accents of WIN1258 stay apart");
    charset_free(cs);
    cs = open_charset("WIN1255");
    converts(cs, "\xe0\xc7", "\xd7\x90\xd6\xb7", "points of WIN1255 stay apart");
    charset_free(cs);
    cs = open_charset("EUC_JIS_2004");
    converts(cs, "\xa1\xef\xa1\xb1x\xa4\xf7", "\xc2\xa5\xe2\x80\xbex\xe3\x81\x8b\xe3\x82\x9a",
             "the yen sign and the overline of EUC_JIS_2004, and one character as two");
    charset_free(cs);
}

/* Every length of ASCII before, between and behind. */
static void test_positions(void)
{
    struct charset *cs = open_charset("LATIN1"), *euc = open_charset("EUC_JP");
    bool right = true;

    for (size_t before = 0; before < 20; before++) {
        for (size_t behind = 0; behind < 20; behind++) {
            char bytes[64], expected[64];
            struct text t;
            int len = snprintf(bytes, sizeof bytes, "%.*s\xe9\xff%.*s\xb5", (int)before,
                               "abcdefghijklmnopqrst", (int)behind, "abcdefghijklmnopqrst");

            snprintf(expected, sizeof expected, "%.*s\xc3\xa9\xc3\xbf%.*s\xc2\xb5", (int)before,
                     "abcdefghijklmnopqrst", (int)behind, "abcdefghijklmnopqrst");
            t = text_of(bytes, (size_t)len);
            charset_begin(cs, t.len);
            right &= charset_convert(cs, &t.data, &t.len) && t.len == strlen(expected) &&
                     memcmp(t.data, expected, t.len) == 0;
            free(t.block);
            t = text_of(bytes, before + 1);
            charset_begin(euc, t.len);
            right &= !charset_convert(euc, &t.data, &t.len) && t.len == before &&
                     t.data == t.block;
            free(t.block);
        }
    }
    ok(right, "any number of plain characters around others");
    charset_free(cs);
    charset_free(euc);
}

static void test_invalid(void)
{
    struct charset *cs = open_charset("WIN1252");
    struct text t = text_of("abcdefghi\xe4\x81z", 12);

    charset_begin(cs, t.len);
    ok(!charset_convert(cs, &t.data, &t.len) && t.len == 10 && t.data == t.block,
       "a byte that is no character: where it is");
    free(t.block);
    t = text_of("\xe4", 1);
    ok(charset_convert(cs, &t.data, &t.len) && t.len == 2, "... and then others are converted");
    free(t.block);
    charset_free(cs);
    cs = open_charset("EUC_JP");
    t = text_of("\xc6\xfc\xcb", 3);
    charset_begin(cs, t.len);
    ok(!charset_convert(cs, &t.data, &t.len) && t.len == 2, "half a character");
    free(t.block);
    charset_free(cs);
}

/* ---- memory ---- */

static void test_plain(void)
{
    struct charset *cs = open_charset("EUC_KR");
    struct text t = text_of("plain\\text~\0\x7f", 13);

    charset_begin(cs, t.len);
    ok(charset_convert(cs, &t.data, &t.len) && t.data == t.block && t.len == 13,
       "plain text stays where it is");
    t.len = 0;
    ok(charset_convert(cs, &t.data, &t.len) && t.data == t.block && t.len == 0, "... so does none");
    t.len = 13;
    charset_begin(NULL, t.len);
    t.data[0] = '\xff';
    ok(charset_convert(NULL, &t.data, &t.len) && t.data == t.block && t.len == 13,
       "... and any without a charset");
    free(t.block);
    charset_free(cs);
    charset_free(NULL);
}

/* A thousand texts of one message, each three times as long as before. */
static void test_many(void)
{
    struct charset *cs = open_charset("WIN1252");
    struct text all[1000];
    bool right = true;

    for (int round = 0; round < 3; round++) {
        charset_begin(cs, 1000 * 5);
        for (int i = 0; i < 1000; i++) {
            all[i] = text_of("\x80\x80\x80\x80\x80", 5);
            right &= charset_convert(cs, &all[i].data, &all[i].len);
            all[i].data[0] = '!'; /* may be written to */
        }
        for (int i = 0; i < 1000; i++) {
            right &= all[i].len == 15 && memcmp(all[i].data, "!\x82\xac\xe2\x82\xac", 6) == 0;
            free(all[i].block);
        }
    }
    ok(right, "the texts of a message stay where they are until the next");
    charset_free(cs);
}

static void test_large(void)
{
    struct charset *cs = open_charset("EUC_JIS_2004");
    size_t len = 4 * 1024 * 1024;
    char *bytes = xcalloc(len, 1);
    struct text t;
    bool right;

    for (size_t i = 0; i < len; i += 2)
        memcpy(bytes + i, "\xa4\xf7", 2);
    t = text_of(bytes, len);
    charset_begin(cs, len);
    right = charset_convert(cs, &t.data, &t.len) && t.len == 3 * len &&
            memcmp(t.data + t.len - 6, "\xe3\x81\x8b\xe3\x82\x9a", 6) == 0;
    ok(right, "4 MiB that become three times as much");
    free(t.block);
    free(bytes);
    converts(cs, "\xa4\xf7", "\xe3\x81\x8b\xe3\x82\x9a", "a short text after it");
    charset_free(cs);
}

/* ---- encodings ---- */

static void test_encodings(void)
{
    static const char *const without[] = {"UTF8", "SQL_ASCII"};
    static const char *const bad[] = {"MULE_INTERNAL", "SJIS", "utf8", ""};
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);
    struct charset *cs;
    char log[4096] = "";

    for (int i = 0; i < 2; i++)
        ok(charset_new(without[i], &cs) == OUTCOME_OK && !cs, "%s needs nothing", without[i]);
    if (!file || standard_error < 0 || dup2(fileno(file), STDERR_FILENO) < 0)
        exit(1);
    for (int i = 0; i < 4; i++)
        ok(charset_new(bad[i], &cs) == OUTCOME_MISUSED && !cs, "\"%s\" is refused", bad[i]);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    rewind(file);
    ok(fread(log, 1, sizeof log - 1, file) > 0 && strstr(log, "\"MULE_INTERNAL\"") &&
       strstr(log, "HINT:  Decode with pgoutput"), "... with a hint");
    fclose(file);
}

int main(void)
{
    test_known();
    test_others();
    test_composition();
    test_positions();
    test_invalid();
    test_plain();
    test_many();
    test_large();
    test_encodings();
    return tap_done();
}
