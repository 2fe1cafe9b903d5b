#include "encode/json.h"

#include "encode/scan.h"

/* ---- strings ---- */

/* Writes the escape of one special ASCII character: at most 6 bytes. */
static char *put_escape(char *p, char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
    };
    unsigned char u = (unsigned char)c;

    *p++ = '\\';
    if (u >= 0x20) {
        *p++ = c;
    } else if (letters[u]) {
        *p++ = letters[u];
    } else {
        memcpy(p, "u00", 3);
        p[3] = hex[u >> 4];
        p[4] = hex[u & 15];
        p += 5;
    }
    return p;
}

/*
 * Writes the body of a string at p, where there must be room for all of text and the quote
 * behind it.  Only an escape needs more than that, so only an escape looks for room: a text of
 * a gigabyte does not reserve six.  NULL on invalid UTF-8.
 */
static char *put_body(struct buf *b, char *p, const char *text, size_t len)
{
    const char *s = text;
    const char *end = text + len;

    for (;;) {
        size_t n = scan_copy_clean(p, s, (size_t)(end - s));

        p += n;
        s += n;
        if (s == end)
            return p;
        if ((unsigned char)*s >= 0x80) {
            n = scan_copy_non_ascii(p, s, (size_t)(end - s));
            if (n == 0)
                return NULL;
            p += n;
            s += n;
        } else {
            buf_written(b, p);
            p = put_escape(buf_reserve(b, (size_t)(end - s) + 6), *s);
            s++;
        }
    }
}

bool json_add_string_body(struct buf *b, const char *text, size_t len)
{
    char *p = put_body(b, buf_reserve(b, len + 1), text, len);

    if (p)
        buf_written(b, p);
    return p != NULL;
}

char *json_put_string(struct buf *b, char *p, const char *text, size_t len)
{
    size_t clean = scan_copy_clean(p + 1, text, len);

    *p++ = '"';
    p = clean == len ? p + len : put_body(b, p + clean, text + clean, len - clean);
    if (!p)
        return NULL;
    *p = '"';
    return p + 1;
}

bool json_add_string(struct buf *b, const char *text, size_t len)
{
    char *p = json_put_string(b, buf_reserve(b, len + 2), text, len);

    if (p)
        buf_written(b, p);
    return p != NULL;
}

/* ---- base64 ---- */

static char *put_quad(char *p, uint32_t bits)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789+/";

    p[0] = alphabet[bits >> 18 & 63];
    p[1] = alphabet[bits >> 12 & 63];
    p[2] = alphabet[bits >> 6 & 63];
    p[3] = alphabet[bits & 63];
    return p + 4;
}

/* The last group, of 1 or 2 bytes; none for 0. */
static char *put_last_quad(char *p, uint32_t bits, size_t nbytes)
{
    if (nbytes == 0)
        return p;
    p = put_quad(p, nbytes == 1 ? bits << 16 : bits << 8);
    memset(p - (3 - nbytes), '=', 3 - nbytes);
    return p;
}

/* Room for the base64 of n bytes and two quotes. */
static char *reserve_base64(struct buf *b, size_t n)
{
    return buf_reserve(b, n / 3 * 4 + 6);
}

void json_add_base64(struct buf *b, const void *bytes, size_t len)
{
    const unsigned char *s = bytes;
    char *p = reserve_base64(b, len);
    uint32_t bits = 0;
    size_t left = len;

    *p++ = '"';
    for (; left >= 3; left -= 3, s += 3)
        p = put_quad(p, (uint32_t)s[0] << 16 | (uint32_t)s[1] << 8 | s[2]);
    for (size_t i = 0; i < left; i++)
        bits = bits << 8 | s[i];
    p = put_last_quad(p, bits, left);
    *p++ = '"';
    buf_written(b, p);
}

/*
 * Reads 2 * n hex digits, n <= 3.  Every digit's entry has bit 4 set and is otherwise its value,
 * so that the check is one test for all digits.
 */
static inline bool read_hex(const char *s, size_t n, uint32_t *bits)
{
    static const unsigned char digits[256] = {
        ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22,
        ['7'] = 23, ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29,
        ['e'] = 30, ['f'] = 31, ['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29, ['E'] = 30,
        ['F'] = 31,
    };
    uint32_t value = 0;
    unsigned all = 16;

    for (size_t i = 0; i < 2 * n; i++) {
        unsigned digit = digits[(unsigned char)s[i]];

        all &= digit;
        value = value << 4 | (digit & 15);
    }
    *bits = value;
    return all != 0;
}

bool json_add_base64_of_hex(struct buf *b, const char *hex, size_t len)
{
    char *p = reserve_base64(b, len / 2);
    uint32_t bits;
    size_t left = len / 2;

    if (len % 2 != 0)
        return false;
    *p++ = '"';
    for (; left >= 3; left -= 3, hex += 6) {
        if (!read_hex(hex, 3, &bits))
            return false;
        p = put_quad(p, bits);
    }
    if (!read_hex(hex, left, &bits))
        return false;
    p = put_last_quad(p, bits, left);
    *p++ = '"';
    buf_written(b, p);
    return true;
}

void json_add_name(struct buf *b, const char *name)
{
    size_t start = b->len;

    if (json_add_string(b, name, strlen(name)))
        return;
    b->len = start;
    buf_add_char(b, '"');
    for (; *name; name++)
        buf_add_char(b, *name >= ' ' && *name < 0x7f && *name != '"' && *name != '\\' ? *name : '?');
    buf_add_char(b, '"');
}
