#include "encode/avro_name.h"

#include <stdbool.h>

#include "encode/scan.h"

/* What is meant for a name with nothing in it, as no name holds a NUL. */
#define EMPTY "_u0000"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_hex(char c)
{
    return scan_is_digit(c) || (c >= 'a' && c <= 'f');
}

/* Whether s, at an underscore, would be read as an escape. */
static bool is_like_escape(const char *s)
{
    if (s[1] != 'u')
        return false;
    for (size_t i = 2; i < 6; i++)
        if (!is_hex(s[i]))
            return false;
    return true;
}

static bool stays(const char *name, size_t at)
{
    char c = name[at];

    if (c == '_')
        return !is_like_escape(name + at);
    return is_letter(c) || (at > 0 && scan_is_digit(c));
}

static void add_unit(struct buf *b, uint32_t unit)
{
    static const char hex[] = "0123456789abcdef";
    char escape[] = {'_',
                     'u',
                     hex[unit >> 12 & 15],
                     hex[unit >> 8 & 15],
                     hex[unit >> 4 & 15],
                     hex[unit & 15]};

    buf_add(b, escape, sizeof escape);
}

/* The character of n well-formed bytes. */
static uint32_t character(const char *s, size_t n)
{
    uint32_t c = (unsigned char)*s;

    if (n > 1)
        c &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    return c;
}

/* Escapes the character at s; returns its length. */
static size_t add_escaped(struct buf *b, const char *s)
{
    size_t n = (unsigned char)*s < 0x80 ? 1 : scan_utf8_length(s, strlen(s));
    uint32_t c;

    if (n == 0) {
        add_unit(b, 0xdc00u | (unsigned char)*s);
        return 1;
    }
    c = character(s, n);
    if (c >= 0x10000) {
        add_unit(b, 0xd800 + ((c - 0x10000) >> 10));
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    add_unit(b, c);
    return n;
}

void avro_add_name(struct buf *b, const char *name)
{
    if (!*name)
        buf_add_str(b, EMPTY);
    for (size_t at = 0; name[at];) {
        if (stays(name, at))
            buf_add_char(b, name[at++]);
        else
            at += add_escaped(b, name + at);
    }
}
