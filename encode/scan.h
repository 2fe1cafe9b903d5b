/*
 * scan - the byte scanning under every JSON string: runs that can be copied as they are, and the
 * check of UTF-8.
 *
 * A byte is special when it ends such a run: a control character, '"', '\\', or a byte of a
 * non-ASCII character.  Nothing here reads behind the n bytes at s or writes behind n bytes at
 * p, but what lies in p behind the returned count may have been overwritten.
 *
 * All is inline, for it is the innermost loop of the program.  SCAN_PORTABLE leaves the vector
 * code out, so that its twin can be tested on any machine.
 */
#ifndef ENCODE_SCAN_H
#define ENCODE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(SCAN_PORTABLE)
#include <emmintrin.h>
#define SCAN_SSE2 1
#endif

static inline bool scan_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool scan_is_special(char c)
{
    unsigned char u = (unsigned char)c;

    return u < 0x20 || u >= 0x80 || u == '"' || u == '\\';
}

/*
 * Whether any of 8 bytes is special.  Subtracting borrows from a neighbour only where a byte is
 * special already, so the answer is exact, though the bit that gives it may be another byte's.
 */
static inline bool scan_has_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = (word ^ ones * '"') - ones;
    uint64_t backslash = (word ^ ones * '\\') - ones;
    uint64_t control = word - ones * 0x20;

    return ((word | quote | backslash | control) & ones * 0x80) != 0;
}

#ifdef SCAN_SSE2
/* Copies 16 bytes; one bit for each special one.  Signed, non-ASCII is below space, too. */
static inline unsigned scan_copy_16(char *p, const char *s)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)s);
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

    _mm_storeu_si128((__m128i *)(void *)p, bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash)));
}
#endif

/* Copies up to the first special byte; returns how many bytes that were. */
static inline size_t scan_copy_clean(char *p, const char *s, size_t n)
{
    size_t i = 0;

#ifdef SCAN_SSE2
    for (; n - i >= 16; i += 16) {
        unsigned special = scan_copy_16(p + i, s + i);

        if (special)
            return i + (size_t)__builtin_ctz(special);
    }
#endif
    for (; n - i >= 8; i += 8) {
        uint64_t word;

        memcpy(&word, s + i, 8);
        if (scan_has_special(word))
            break;
        memcpy(p + i, &word, 8);
    }
    for (; i < n && !scan_is_special(s[i]); i++)
        p[i] = s[i];
    return i;
}

static inline bool scan_is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/*
 * Length of the non-ASCII character at s, of which n >= 1 bytes are there.  0 when it is not
 * well-formed UTF-8: overlong, a surrogate, above U+10FFFF, cut off, or no lead byte at all.
 */
static inline size_t scan_utf8_length(const char *s, size_t n)
{
    unsigned lead = (unsigned char)s[0];
    unsigned second = n > 1 ? (unsigned char)s[1] : 0;

    if (lead < 0xc2 || (second & 0xc0) != 0x80)
        return 0;
    if (lead < 0xe0)
        return 2;
    if (n < 3 || !scan_is_continuation(s[2]))
        return 0;
    if (lead < 0xf0)
        return (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ? 0 : 3;
    if (lead > 0xf4 || n < 4 || !scan_is_continuation(s[3]))
        return 0;
    return (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f) ? 0 : 4;
}

/*
 * Copies non-ASCII characters up to the first byte that is ASCII or not well-formed; returns how
 * many bytes that were, so 0 where s starts with a byte >= 0x80 means that it is malformed.
 */
static inline size_t scan_copy_non_ascii(char *p, const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && (unsigned char)s[i] >= 0x80) {
        size_t length = scan_utf8_length(s + i, n - i);

        if (length == 0)
            break;
        if (n - i >= 4)
            memcpy(p + i, s + i, 4); /* a fixed size is one instruction; length decides */
        else
            memcpy(p + i, s + i, length);
        i += length;
    }
    return i;
}

/* Whether any of n bytes is beyond ASCII; the last words overlap the ones before. */
static inline bool scan_has_non_ascii(const char *s, size_t n)
{
    uint64_t all = 0, word = 0;

    if (n >= 8) {
        for (size_t i = 0; i < n - 8; i += 8) {
            memcpy(&word, s + i, 8);
            all |= word;
        }
        memcpy(&word, s + n - 8, 8);
        return ((all | word) & UINT64_C(0x8080808080808080)) != 0;
    }
    if (n >= 4) {
        uint32_t first, last;

        memcpy(&first, s, 4);
        memcpy(&last, s + n - 4, 4);
        return ((first | last) & 0x80808080u) != 0;
    }
    for (size_t i = 0; i < n; i++)
        all |= (unsigned char)s[i];
    return (all & 0x80) != 0;
}

/* Whether all n bytes are well-formed UTF-8. */
static inline bool scan_is_utf8(const char *s, size_t n)
{
    size_t i = 0;

    if (!scan_has_non_ascii(s, n))
        return true;
    while (i < n) {
        size_t length = (unsigned char)s[i] < 0x80 ? 1 : scan_utf8_length(s + i, n - i);

        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* What makes a cell of CSV one that needs quotes. */
static inline bool scan_is_csv_mark(char c)
{
    return c == ',' || c == '"' || c == '\n' || c == '\r';
}

#ifdef SCAN_SSE2
static inline bool scan_has_csv_mark_16(const char *s)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)s);
    __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i feed = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    __m128i back = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'));

    return _mm_movemask_epi8(
               _mm_or_si128(_mm_or_si128(comma, quote), _mm_or_si128(feed, back))) != 0;
}
#endif

static inline bool scan_has_csv_mark(const char *s, size_t n)
{
    size_t i = 0;

#ifdef SCAN_SSE2
    for (; n - i >= 16; i += 16)
        if (scan_has_csv_mark_16(s + i))
            return true;
    if (i > 0)
        return i < n && scan_has_csv_mark_16(s + n - 16);
#endif
    for (; i < n; i++)
        if (scan_is_csv_mark(s[i]))
            return true;
    return false;
}

/* Copies all n bytes with double quotes doubled; p has room for 2 * n.  Returns the end. */
static inline char *scan_copy_doubling_quotes(char *p, const char *s, size_t n)
{
    size_t i = 0;

#ifdef SCAN_SSE2
    while (n - i >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s + i));
        unsigned quotes =
            (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
        size_t clean = quotes ? (size_t)__builtin_ctz(quotes) : 16;

        _mm_storeu_si128((__m128i *)(void *)p, bytes);
        p += clean;
        i += clean;
        if (quotes) {
            *p++ = '"';
            *p++ = '"';
            i++;
        }
    }
#endif
    for (; i < n; i++) {
        if (s[i] == '"')
            *p++ = '"';
        *p++ = s[i];
    }
    return p;
}

#endif
