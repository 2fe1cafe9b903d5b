#include "decode/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

/* ---- encodings ---- */

struct encoding {
    const char *name;  /* the server's */
    const char *iconv; /* NULL = no conversion is needed */
    bool many;         /* a character can be of several bytes */
};

/*
 * All encodings that a database can have, but for MULE_INTERNAL (which iconv does not know).  Where
 * iconv has several that could be meant, it is the one that agrees with the server.
 */
static const struct encoding encodings[] = {
    {"UTF8", NULL, true},
    {"SQL_ASCII", NULL, true},
    {"LATIN1", "ISO-8859-1", false},
    {"LATIN2", "ISO-8859-2", false},
    {"LATIN3", "ISO-8859-3", false},
    {"LATIN4", "ISO-8859-4", false},
    {"LATIN5", "ISO-8859-9", false},
    {"LATIN6", "ISO-8859-10", false},
    {"LATIN7", "ISO-8859-13", false},
    {"LATIN8", "ISO-8859-14", false},
    {"LATIN9", "ISO-8859-15", false},
    {"LATIN10", "ISO-8859-16", false},
    {"ISO_8859_5", "ISO-8859-5", false},
    {"ISO_8859_6", "ISO-8859-6", false},
    {"ISO_8859_7", "ISO-8859-7", false},
    {"ISO_8859_8", "ISO-8859-8", false},
    {"WIN1250", "CP1250", false},
    {"WIN1251", "CP1251", false},
    {"WIN1252", "CP1252", false},
    {"WIN1253", "CP1253", false},
    {"WIN1254", "CP1254", false},
    {"WIN1255", "CP1255", false},
    {"WIN1256", "CP1256", false},
    {"WIN1257", "CP1257", false},
    {"WIN1258", "CP1258", false},
    {"WIN866", "CP866", false},
    {"WIN874", "CP874", false},
    {"KOI8R", "KOI8-R", false},
    {"KOI8U", "KOI8-U", false},
    {"EUC_JP", "EUC-JP-MS", true},
    {"EUC_JIS_2004", "EUC-JISX0213", true},
    {"EUC_CN", "EUC-CN", true},
    {"EUC_KR", "EUC-KR", true},
    {"EUC_TW", "EUC-TW", true},
};

static const struct encoding *find_encoding(const char *name)
{
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++)
        if (strcmp(encodings[i].name, name) == 0)
            return &encodings[i];
    return NULL;
}

/* ---- a charset ---- */

enum {
    GROWTH = 3,         /* a byte becomes at most so many in any of them */
    KEEP = 1024 * 1024, /* more memory than this is given back */
};

/* A character of one byte, as UTF-8; len 0 = there is none. */
struct character {
    char bytes[GROWTH];
    unsigned char len;
};

struct charset {
    const struct encoding *encoding;
    iconv_t converter;                /* if encoding->many */
    struct character characters[256]; /* else */
    size_t size;                      /* of the texts of a message; the buffer is three times it */
    struct buf converted;
};

#define NO_ICONV ((iconv_t)-1)

static bool read_character(iconv_t converter, struct character *c, char byte)
{
    char *in = &byte, *out = c->bytes;
    size_t in_left = 1, out_left = sizeof c->bytes;

    /* What could be composed with the next character is only written by the second call. */
    iconv(converter, NULL, NULL, NULL, NULL);
    if (iconv(converter, &in, &in_left, &out, &out_left) == (size_t)-1 ||
        iconv(converter, NULL, NULL, &out, &out_left) == (size_t)-1)
        return errno == EILSEQ;
    c->len = (unsigned char)(sizeof c->bytes - out_left);
    return true;
}

static bool read_characters(struct charset *cs)
{
    for (int i = 1; i < 256; i++)
        if (!read_character(cs->converter, &cs->characters[i], (char)i))
            return false;
    return true;
}

static enum outcome unsupported(const char *name, const char *reason)
{
    log_error("could not convert the database's encoding \"%s\" to UTF-8: %s", name, reason);
    log_hint("Decode with pgoutput, whose texts are converted by the server.");
    return OUTCOME_MISUSED;
}

enum outcome charset_new(const char *server_encoding, struct charset **charset)
{
    const struct encoding *encoding = find_encoding(server_encoding);
    struct charset *cs;

    *charset = NULL;
    if (!encoding)
        return unsupported(server_encoding, "there is no table for it");
    if (!encoding->iconv)
        return OUTCOME_OK;
    cs = xcalloc(1, sizeof *cs);
    buf_init(&cs->converted, 0);
    cs->encoding = encoding;
    cs->converter = iconv_open("UTF-8", encoding->iconv);
    if (cs->converter == NO_ICONV || (!encoding->many && !read_characters(cs))) {
        charset_free(cs);
        return unsupported(server_encoding, "this system's iconv does not know it");
    }
    *charset = cs;
    return OUTCOME_OK;
}

void charset_free(struct charset *charset)
{
    if (!charset)
        return;
    if (charset->converter != NO_ICONV)
        iconv_close(charset->converter);
    buf_release(&charset->converted);
    free(charset);
}

void charset_begin(struct charset *charset, size_t size)
{
    if (!charset)
        return;
    charset->size = size;
    charset->converted.len = 0;
    if (size <= KEEP / GROWTH)
        buf_shrink(&charset->converted, KEEP);
}

/* ---- texts ---- */

/* How much of a text is ASCII before the first character that is not. */
static size_t ascii_length(const char *text, size_t len)
{
    size_t n = 0;
    uint64_t eight;

    for (; len - n >= sizeof eight; n += sizeof eight) {
        memcpy(&eight, text + n, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    while (n < len && !(text[n] & 0x80))
        n++;
    return n;
}

/* Both ways of converting give where the first bad character is, or len. */
static size_t convert_by_table(struct charset *cs, const char *text, size_t len)
{
    char *out = cs->converted.data + cs->converted.len;
    size_t i = 0;

    while (i < len) {
        size_t plain = ascii_length(text + i, len - i);

        memcpy(out, text + i, plain);
        out += plain;
        for (i += plain; i < len && text[i] & 0x80; i++) {
            const struct character *c = &cs->characters[(unsigned char)text[i]];

            if (c->len == 0)
                return i;
            memcpy(out, c->bytes, sizeof c->bytes);
            out += c->len;
        }
    }
    buf_written(&cs->converted, out);
    return len;
}

static size_t convert_by_iconv(struct charset *cs, char *text, size_t len)
{
    struct buf *b = &cs->converted;
    size_t plain = ascii_length(text, len);
    char *in = text + plain, *out = b->data + b->len;
    size_t in_left = len - plain, out_left = b->cap - b->len - plain;

    memcpy(out, text, plain);
    out += plain;
    iconv(cs->converter, NULL, NULL, NULL, NULL);
    if (iconv(cs->converter, &in, &in_left, &out, &out_left) == (size_t)-1 ||
        iconv(cs->converter, NULL, NULL, &out, &out_left) == (size_t)-1)
        return (size_t)(in - text);
    buf_written(b, out);
    return len;
}

/*
 * iconv reads two characters of EUC_JIS_2004 as the wide forms of what the server reads them as,
 * and no others as these.  Replaces them between `start` and the end of the buffer.
 */
static void correct_jis_2004(struct buf *b, size_t start)
{
    char *out = b->data + start;
    const char *end = b->data + b->len;

    for (const char *p = out; p < end;) {
        bool wide = end - p >= 3 && p[0] == '\xef' && p[1] == '\xbf';

        if (wide && p[2] == '\xa3') { /* U+FFE3 -> U+203E, overline */
            memcpy(out, "\xe2\x80\xbe", 3);
            out += 3;
            p += 3;
        } else if (wide && p[2] == '\xa5') { /* U+FFE5 -> U+00A5, yen sign */
            memcpy(out, "\xc2\xa5", 2);
            out += 2;
            p += 3;
        } else {
            *out++ = *p++;
        }
    }
    buf_written(b, out);
}

bool charset_convert(struct charset *charset, char **text, size_t *len)
{
    struct buf *b;
    size_t start, good;

    if (!charset || ascii_length(*text, *len) == *len)
        return true;
    b = &charset->converted;
    start = b->len;
    if (start == 0)
        buf_reserve(b, charset->size * GROWTH);
    if (charset->encoding->many)
        good = convert_by_iconv(charset, *text, *len);
    else
        good = convert_by_table(charset, *text, *len);
    if (good < *len) {
        b->len = start;
        *len = good;
        return false;
    }
    if (strcmp(charset->encoding->name, "EUC_JIS_2004") == 0)
        correct_jis_2004(b, start);
    *text = b->data + start;
    *len = b->len - start;
    return true;
}
