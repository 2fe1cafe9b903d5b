#include "decode/copy_row.h"

#include <endian.h>
#include <string.h>

#if defined(__SSE2__) && !defined(COPY_ROW_PORTABLE)
#include <emmintrin.h>
#define COPY_ROW_SSE2 1
#endif

/*
 * The line is gone through once, in blocks of 64 bytes, each of which gives a mask with one bit for
 * every tab and backslash.  memchr() would have to be called once per field: fields are short, and
 * the calls would cost more than the bytes.
 */
enum { BLOCK = 64 };

/*
 * What has become of the escapes of a field.  run is not behind the start of the present field as
 * long as that has none: then nothing of this is of importance.
 */
struct unescaped {
    char *out; /* end of what has been unescaped */
    char *run; /* what lies between here and the next special byte goes to out as it is */
    char *end; /* the line's '\n' */
};

/* ---- tabs and backslashes of a block ---- */

#ifdef COPY_ROW_SSE2
static inline uint64_t part_specials(const char *s)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)s);
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(tab, backslash));
}
#else
/* The highest bit of every byte of the word that is c.  No carry leaves its byte: this is exact. */
static inline uint64_t bytes_equal(uint64_t word, char c)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t differing = word ^ ones * (unsigned char)c;

    return ~(((differing & ones * 0x7f) + ones * 0x7f) | differing) & ones * 0x80;
}

/* Bit i for byte i: the product brings the highest bits together in its highest byte. */
static inline uint64_t word_specials(const char *s)
{
    uint64_t word;

    memcpy(&word, s, sizeof word);
    word = le64toh(word);
    word = bytes_equal(word, '\t') | bytes_equal(word, '\\');
    return (word >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline uint64_t part_specials(const char *s)
{
    return word_specials(s) | word_specials(s + 8) << 8;
}
#endif

static inline uint64_t block_specials(const char *s)
{
    return part_specials(s) | part_specials(s + 16) << 16 | part_specials(s + 32) << 32 |
           part_specials(s + 48) << 48;
}

/* Of the last n < BLOCK bytes of the line, which has size. */
static uint64_t tail_specials(const char *line, size_t size, size_t n)
{
    char padded[BLOCK] = {0};

    if (size >= BLOCK)
        return block_specials(line + size - BLOCK) >> (BLOCK - n);
    memcpy(padded, line, n);
    return block_specials(padded);
}

/* ---- escapes ---- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* At most `most` digits of the base at s; sets *byte, if there are any, and returns their end. */
static char *read_digits(char *s, const char *end, int base, int most, char *byte)
{
    unsigned n = 0;
    char *digits_end = s;

    for (; digits_end < end && digits_end - s < most && digit_value(*digits_end) < base;
         digits_end++)
        n = n * (unsigned)base + (unsigned)digit_value(*digits_end);
    if (digits_end > s)
        *byte = (char)(unsigned char)n;
    return digits_end;
}

/* s is behind a backslash, and before end; sets *byte and returns the end of the escape. */
static char *read_escape(char *s, const char *end, char *byte)
{
    *byte = *s;
    switch (*s) {
    case 'b':
        *byte = '\b';
        break;
    case 'f':
        *byte = '\f';
        break;
    case 'n':
        *byte = '\n';
        break;
    case 'r':
        *byte = '\r';
        break;
    case 't':
        *byte = '\t';
        break;
    case 'v':
        *byte = '\v';
        break;
    case 'x':
        return read_digits(s + 1, end, 16, 2, byte);
    default:
        if (*s >= '0' && *s <= '7')
            return read_digits(s, end, 8, 3, byte);
    }
    return s + 1;
}

/* All that is not an escape: the two bytes are left as they are for end_field(). */
static inline bool is_null(const char *start, const char *s, const char *end)
{
    return s == start && s[1] == 'N' && (s + 2 == end || s[2] == '\t');
}

/*
 * s is at a backslash of the field that begins at start.  Returns where it begins now; NULL when
 * there is nothing to escape.  Whatever is written here lies before the end of the escape, so that
 * bytes that have not been looked at stay as they are.
 */
static char *unescape(struct unescaped *u, char *start, char *s)
{
    char byte;

    if (s + 1 == u->end)
        return NULL;
    if (is_null(start, s, u->end))
        return start;
    if (u->run <= start) {
        u->out = s;
    } else {
        memmove(u->out, u->run, (size_t)(s - u->run));
        u->out += s - u->run;
    }
    u->run = read_escape(s + 1, u->end, &byte);
    if (s == start) /* as in every bytea: let the rest, which may be long, stay where it is */
        start = u->out = u->run - 1;
    *u->out++ = byte;
    return start;
}

/* ---- fields ---- */

/* s is at the tab or newline behind the field that begins at start. */
static inline struct value end_field(const struct unescaped *u, const char *start, const char *s)
{
    size_t len = (size_t)(s - start);

    if (u->run > start) {
        size_t rest = (size_t)(s - u->run);

        if (u->out != u->run)
            memmove(u->out, u->run, rest);
        len = (size_t)(u->out - start) + rest;
    } else if (len == 2 && *start == '\\') { /* has been looked at, and was no escape */
        return (struct value){.kind = VALUE_NULL};
    }
    return (struct value){.data = start, .len = (uint32_t)len, .kind = VALUE_TEXT};
}

bool copy_row_parse(char *line, size_t len, struct value *values, uint16_t n)
{
    struct value *value = values, *values_end = values + n;
    struct unescaped u = {.out = line, .run = line};
    char *start = line;
    size_t size = len - 1;

    if (len == 0 || len > UINT32_MAX || line[size] != '\n')
        return false;
    if (n == 0)
        return size == 0;
    u.end = line + size;
    for (size_t at = 0; at < size; at += BLOCK) {
        uint64_t specials = size - at >= BLOCK ? block_specials(line + at)
                                               : tail_specials(line, size, size - at);

        for (; specials; specials &= specials - 1) {
            char *s = line + at + __builtin_ctzll(specials);

            if (s < u.run) /* the second character of an escape */
                continue;
            if (*s == '\\') {
                start = unescape(&u, start, s);
                if (!start)
                    return false;
                continue;
            }
            if (value == values_end)
                return false;
            *value++ = end_field(&u, start, s);
            start = s + 1;
        }
    }
    if (value == values_end)
        return false;
    *value++ = end_field(&u, start, u.end);
    return value == values_end;
}
