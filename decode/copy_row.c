#include "decode/copy_row.h"

#include <endian.h>
#include <string.h>

#if defined(__SSE2__) && !defined(COPY_ROW_PORTABLE)
#include <emmintrin.h>
#define COPY_ROW_SSE2 1
#endif

/*
 * The line is gone through once, in blocks of 16 bytes, each of which gives a mask with one bit for
 * every tab and backslash.  memchr() would have to be called once per field: fields are short, and
 * the calls would cost more than the bytes.
 */
enum { BLOCK = 16 };

struct row_parser {
    char *start; /* of the field */
    char *out;   /* end of what has been unescaped of it */
    char *run;   /* what lies between here and the next special byte goes to out as it is */
    char *end;   /* the line's '\n' */
    struct value *value;
    struct value *values_end;
};

/* ---- tabs and backslashes of a block ---- */

#ifdef COPY_ROW_SSE2
static inline unsigned block_specials(const char *s)
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
static inline unsigned word_specials(const char *s)
{
    uint64_t word;

    memcpy(&word, s, sizeof word);
    word = le64toh(word);
    word = bytes_equal(word, '\t') | bytes_equal(word, '\\');
    return (unsigned)((word >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline unsigned block_specials(const char *s)
{
    return word_specials(s) | word_specials(s + 8) << 8;
}
#endif

/* Of the n < BLOCK bytes before end, which are all of the line or its last ones. */
static unsigned tail_specials(const char *line, const char *end, size_t n)
{
    char padded[BLOCK] = {0};

    if (end - line >= BLOCK)
        return block_specials(end - BLOCK) >> (BLOCK - n);
    memcpy(padded, end - n, n);
    return block_specials(padded);
}

/* ---- fields ---- */

/* s is at the tab or newline behind a field that is not null. */
static inline bool end_field(struct row_parser *p, char *s)
{
    size_t run = (size_t)(s - p->run);

    if (p->value == p->values_end)
        return false;
    if (p->out != p->run)
        memmove(p->out, p->run, run);
    p->value->data = p->start;
    p->value->len = (uint32_t)((size_t)(p->out - p->start) + run);
    p->value->kind = VALUE_TEXT;
    p->value++;
    p->start = p->out = p->run = s + 1;
    return true;
}

/* s is at the newline, or at the tab, behind a null, which begins at p->start. */
static inline bool end_null(struct row_parser *p, char *s)
{
    if (p->value == p->values_end)
        return false;
    *p->value++ = (struct value){.kind = VALUE_NULL};
    p->start = p->out = p->run = s + 1;
    return true;
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

/* s is behind a backslash, and before p->end; sets *byte and returns the end of the escape. */
static char *read_escape(const struct row_parser *p, char *s, char *byte)
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
        return read_digits(s + 1, p->end, 16, 2, byte);
    default:
        if (*s >= '0' && *s <= '7')
            return read_digits(s, p->end, 8, 3, byte);
    }
    return s + 1;
}

/*
 * s is at a backslash.  Whatever is written here lies before the end of the escape, so that bytes
 * that have not been looked at stay as they are.
 */
static bool unescape(struct row_parser *p, char *s)
{
    size_t run = (size_t)(s - p->run);
    bool first = s == p->start;
    char byte;

    if (s + 1 == p->end)
        return false;
    if (first && s[1] == 'N' && (s + 2 == p->end || s[2] == '\t'))
        return end_null(p, s + 2);
    if (p->out != p->run)
        memmove(p->out, p->run, run);
    p->out += run;
    p->run = read_escape(p, s + 1, &byte);
    if (first) /* as in every bytea: let the rest, which may be long, stay where it is */
        p->start = p->out = p->run - 1;
    *p->out++ = byte;
    return true;
}

/* Specials before p->run are done with: second characters of escapes, and the tab behind a null. */
static inline bool take_specials(struct row_parser *p, char *block, unsigned specials)
{
    for (; specials; specials &= specials - 1) {
        char *s = block + __builtin_ctz(specials);

        if (s < p->run)
            continue;
        if (!(*s == '\t' ? end_field(p, s) : unescape(p, s)))
            return false;
    }
    return true;
}

bool copy_row_parse(char *line, size_t len, struct value *values, uint16_t n)
{
    struct row_parser p = {.start = line, .out = line, .run = line, .value = values};
    char *block = line;
    char *end;

    if (len == 0 || len > UINT32_MAX || line[len - 1] != '\n')
        return false;
    if (n == 0)
        return len == 1;
    p.values_end = values + n;
    p.end = end = line + len - 1;
    for (; end - block >= BLOCK; block += BLOCK)
        if (!take_specials(&p, block, block_specials(block)))
            return false;
    if (!take_specials(&p, block, tail_specials(line, end, (size_t)(end - block))))
        return false;
    if (p.run <= end && !end_field(&p, end)) /* else a null has been the last field */
        return false;
    return p.value == p.values_end;
}
