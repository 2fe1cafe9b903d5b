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

#include <endian.h>
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

static inline uint64_t scan_load_8(const char *s)
{
    uint64_t word;

    memcpy(&word, s, sizeof word);
    return le64toh(word);
}

/*
 * The highest bits of those of 8 bytes that are special.  Subtracting borrows from the bytes above
 * only where a byte is special already, so the lowest bit is right, and there is one only if there
 * has to be.
 */
static inline uint64_t scan_specials_8(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = (word ^ ones * '"') - ones;
    uint64_t backslash = (word ^ ones * '\\') - ones;
    uint64_t control = word - ones * 0x20;

    return (word | quote | backslash | control) & ones * 0x80;
}

/* Copies 8 bytes; returns how many come before the first special one, or 8. */
static inline size_t scan_copy_8(char *p, const char *s)
{
    uint64_t specials = scan_specials_8(scan_load_8(s));

    memcpy(p, s, 8);
    return specials ? (size_t)__builtin_ctzll(specials) / 8 : 8;
}

#ifdef SCAN_SSE2
/* One bit for each special byte.  Signed, non-ASCII is below space, too. */
static inline unsigned scan_specials_16(__m128i bytes)
{
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash)));
}

/* Copies 16 bytes; one bit for each special one. */
static inline unsigned scan_copy_16(char *p, const char *s)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)s);

    _mm_storeu_si128((__m128i *)(void *)p, bytes);
    return scan_specials_16(bytes);
}

/* As scan_copy_clean(), of 16 bytes or more: the last 16 overlap those before. */
static inline size_t scan_copy_clean_blocks(char *p, const char *s, size_t n)
{
    unsigned special;
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        special = scan_copy_16(p + i, s + i);
        if (special)
            return i + (size_t)__builtin_ctz(special);
    }
    if (i == n)
        return n;
    special = scan_copy_16(p + n - 16, s + n - 16);
    return special ? n - 16 + (size_t)__builtin_ctz(special) : n;
}
#endif

/* As scan_copy_clean(), of 8 bytes or more: the last 8 overlap those before. */
static inline size_t scan_copy_clean_words(char *p, const char *s, size_t n)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        size_t clean = scan_copy_8(p + i, s + i);

        if (clean < 8)
            return i + clean;
    }
    return i == n ? n : n - 8 + scan_copy_8(p + n - 8, s + n - 8);
}

/* As scan_copy_clean(), of 4 to 7 bytes: as two words of 4, which overlap. */
static inline size_t scan_copy_clean_few(char *p, const char *s, size_t n)
{
    char both[8];
    size_t clean;

    memcpy(both, s, 4);
    memcpy(both + 4, s + n - 4, 4);
    memcpy(p, both, 4);
    memcpy(p + n - 4, both + 4, 4);
    clean = scan_copy_8(both, both);
    return clean < 4 ? clean : n - 8 + clean;
}

/* Copies up to the first special byte; returns how many bytes that were. */
static inline size_t scan_copy_clean(char *p, const char *s, size_t n)
{
#ifdef SCAN_SSE2
    if (n >= 16)
        return scan_copy_clean_blocks(p, s, n);
#endif
    if (n >= 8)
        return scan_copy_clean_words(p, s, n);
    if (n >= 4)
        return scan_copy_clean_few(p, s, n);
    for (size_t i = 0; i < n; i++) {
        if (scan_is_special(s[i]))
            return i;
        p[i] = s[i];
    }
    return n;
}

/*
 * Whether the 8 bytes at s have the form, a literal: "0" in it stands for any digit, all else for
 * itself.  Without the form each byte has 9 left at most, or where that is fixed nothing: what is
 * added takes it to 127 then, and one of more beyond.
 */
static inline bool scan_has_form(const char *s, const char *form)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t pattern = scan_load_8(form);
    uint64_t fixed = ((pattern ^ ones * '0') + ones * 0x7f) >> 7 & ones; /* no digit */
    uint64_t rest = scan_load_8(s) ^ pattern;

    return ((rest | (rest + ones * (0x7f - 9) + fixed * 9)) & ones * 0x80) == 0;
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

/*
 * What scan_copy_cell() has met, as any bit of these: what makes a cell of CSV one that needs
 * quotes; a byte of a non-ASCII character.
 */
#define SCAN_CSV_MARK 0xffff0000u
#define SCAN_NON_ASCII 0x0000ffffu

#ifdef SCAN_SSE2
static inline unsigned scan_cell_16(__m128i bytes)
{
    __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i feed = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    __m128i back = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'));
    __m128i marks = _mm_or_si128(_mm_or_si128(comma, quote), _mm_or_si128(feed, back));

    return (unsigned)_mm_movemask_epi8(marks) << 16 | (unsigned)_mm_movemask_epi8(bytes);
}

static inline unsigned scan_copy_cell_16(char *p, const char *s)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)s);

    _mm_storeu_si128((__m128i *)(void *)p, bytes);
    return scan_cell_16(bytes);
}

static inline unsigned scan_cell_8(uint64_t word)
{
    return scan_cell_16(_mm_cvtsi64_si128((int64_t)word));
}
#else
/* Whether any of 8 bytes is c. */
static inline bool scan_has_byte(uint64_t word, char c)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t other = word ^ ones * (unsigned char)c;

    return ((other - ones) & ~other & ones * 0x80) != 0;
}

static inline unsigned scan_cell_8(uint64_t word)
{
    bool mark = scan_has_byte(word, ',') || scan_has_byte(word, '"') ||
                scan_has_byte(word, '\n') || scan_has_byte(word, '\r');

    return (mark ? SCAN_CSV_MARK : 0u) |
           ((word & UINT64_C(0x8080808080808080)) ? SCAN_NON_ASCII : 0u);
}
#endif

static inline unsigned scan_copy_cell_8(char *p, const char *s)
{
    uint64_t word;

    memcpy(&word, s, 8);
    memcpy(p, &word, 8);
    return scan_cell_8(word);
}

/* Up to 7 bytes: as two words of 4, or three bytes, which overlap. */
static inline unsigned scan_copy_cell_few(char *p, const char *s, size_t n)
{
    uint32_t first = 0, last = 0;

    if (n >= 4) {
        memcpy(&first, s, 4);
        memcpy(&last, s + n - 4, 4);
        memcpy(p, &first, 4);
        memcpy(p + n - 4, &last, 4);
    } else if (n > 0) {
        char middle = s[n / 2], end = s[n - 1];

        first = (unsigned char)(p[0] = s[0]);
        last = (unsigned char)middle | (unsigned)(unsigned char)end << 8;
        p[n / 2] = middle;
        p[n - 1] = end;
    }
    return scan_cell_8(first | (uint64_t)last << 32);
}

/* Copies all n bytes; returns what is among them. */
static inline unsigned scan_copy_cell(char *p, const char *s, size_t n)
{
    unsigned found = 0;
    size_t i = 0;

#ifdef SCAN_SSE2
    if (n >= 16) {
        for (; n - i > 16; i += 16)
            found |= scan_copy_cell_16(p + i, s + i);
        return found | scan_copy_cell_16(p + n - 16, s + n - 16);
    }
#endif
    if (n < 8)
        return scan_copy_cell_few(p, s, n);
    for (; n - i > 8; i += 8)
        found |= scan_copy_cell_8(p + i, s + i);
    return found | scan_copy_cell_8(p + n - 8, s + n - 8);
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
