#include "encode/decimal.h"

#include <endian.h>
#include <stdlib.h>

#include "base/log.h"
#include "encode/scan.h"

/* More than numeric's 131072 before the point and 16383 behind it; the work grows as the square. */
#define DIGITS_MAX 150000

#define CHUNK 19 /* digits that a word surely holds */

enum { SMALL = 32 }; /* words: 608 digits need no memory of their own */

/* What the text consists of.  Borrows from it. */
struct number {
    bool negative;
    const char *integer;
    size_t integer_len;
    const char *fraction;
    size_t fraction_len;
};

/* Words of a whole number, lowest first; the highest is not 0. */
struct big {
    uint64_t *words;
    size_t n;
};

static size_t count_digits(const char *s, const char *end)
{
    const char *start = s;

    while (s < end && scan_is_digit(*s))
        s++;
    return (size_t)(s - start);
}

static bool read_number(const char *text, size_t len, struct number *number)
{
    const char *end = text + len;

    number->negative = len > 0 && *text == '-';
    number->integer = text + number->negative;
    number->integer_len = count_digits(number->integer, end);
    number->fraction = number->integer + number->integer_len;
    number->fraction_len = 0;
    if (number->integer_len == 0)
        return false;
    if (number->fraction == end)
        return true;
    if (*number->fraction++ != '.')
        return false;
    number->fraction_len = count_digits(number->fraction, end);
    return number->fraction_len > 0 && number->fraction + number->fraction_len == end;
}

static bool all_zeros(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '0')
            return false;
    }
    return true;
}

/* Leaves out digits beyond the scale, if all of them are 0, and leading zeros. */
static bool fit(struct number *number, int scale)
{
    size_t places = scale > 0 ? (size_t)scale : 0;
    size_t beyond = scale < 0 ? (size_t)-(int64_t)scale : 0;

    if (number->fraction_len > places) {
        if (!all_zeros(number->fraction + places, number->fraction_len - places))
            return false;
        number->fraction_len = places;
    }
    if (beyond > number->integer_len)
        beyond = number->integer_len;
    number->integer_len -= beyond;
    if (!all_zeros(number->integer + number->integer_len, beyond))
        return false;
    while (number->integer_len > 0 && *number->integer == '0') {
        number->integer++;
        number->integer_len--;
    }
    return number->integer_len + places <= DIGITS_MAX;
}

/* Of those of the scaled number, from the highest on. */
static unsigned digit_at(const struct number *number, size_t i)
{
    if (i < number->integer_len)
        return (unsigned)(number->integer[i] - '0');
    i -= number->integer_len;
    return i < number->fraction_len ? (unsigned)(number->fraction[i] - '0') : 0;
}

/* a = a * factor + more */
static void multiply_add(struct big *a, uint64_t factor, uint64_t more)
{
    uint64_t carry = more;

    for (size_t i = 0; i < a->n; i++) {
        unsigned __int128 product = (unsigned __int128)a->words[i] * factor + carry;

        a->words[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry)
        a->words[a->n++] = carry;
}

static void read_digits(struct big *a, const struct number *number, size_t ndigits)
{
    for (size_t i = 0; i < ndigits;) {
        size_t end = ndigits - i > CHUNK ? i + CHUNK : ndigits;
        uint64_t factor = 1, chunk = 0;

        for (; i < end; i++) {
            factor *= 10;
            chunk = chunk * 10 + digit_at(number, i);
        }
        multiply_add(a, factor, chunk);
    }
}

/* a is not 0 */
static void subtract_one(struct big *a)
{
    for (size_t i = 0; i < a->n && a->words[i]-- == 0; i++)
        continue;
    if (a->words[a->n - 1] == 0)
        a->n--;
}

/* -n is all the bits of n - 1 turned over.  The highest bit has to say the sign. */
static void add_bytes(struct buf *b, struct big *a, bool negative)
{
    unsigned char flip = 0;
    size_t bits, nbytes;
    char *p;

    if (negative && a->n > 0) {
        subtract_one(a);
        flip = 0xff;
    }
    bits = a->n > 0 ? a->n * 64 - (size_t)__builtin_clzll(a->words[a->n - 1]) : 0;
    nbytes = bits / 8 + 1;
    p = buf_reserve(b, nbytes);
    for (size_t i = nbytes; i-- > 0;) {
        uint64_t word = i / 8 < a->n ? a->words[i / 8] : 0;

        *p++ = (char)((unsigned char)(word >> i % 8 * 8) ^ flip);
    }
    buf_written(b, p);
}

bool decimal_typmod(int32_t typmod, int *precision, int *scale)
{
    int32_t packed = typmod - 4; /* VARHDRSZ */

    if (typmod < 4)
        return false;
    *precision = packed >> 16;
    *scale = ((packed & 0x7ff) ^ 0x400) - 0x400; /* 11 bits with a sign */
    return true;
}

bool decimal_scale(const char *text, size_t len, int *scale)
{
    struct number number;

    if (!read_number(text, len, &number) || number.fraction_len > DIGITS_MAX)
        return false;
    *scale = (int)number.fraction_len;
    return true;
}

/*
 * The scaled number where it has so few digits that it fits into 64 bits with a sign, as nearly
 * always; false where it has more, or is not written in the usual way.
 */
static bool read_small(const char *text, size_t len, int scale, int64_t *n)
{
    size_t negative = len > 0 && *text == '-', digits = len - negative, point = len;
    size_t places, missing = scale > 0 ? (size_t)scale : 0;
    uint64_t magnitude = 0;

    if (digits == 0 || digits > CHUNK || text[negative] == '.' || text[len - 1] == '.')
        return false;
    for (size_t i = negative; i < len; i++) {
        if (scan_is_digit(text[i]))
            magnitude = magnitude * 10 + (uint64_t)(text[i] - '0');
        else if (text[i] == '.' && point == len)
            point = i;
        else
            return false;
    }
    places = point < len ? len - point - 1 : 0;
    if (scale < 0 || places > missing || digits + missing - places > CHUNK - 1)
        return false;
    for (missing -= places; missing > 0; missing--)
        magnitude *= 10;
    *n = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

/* The highest bit has to say the sign. */
static void add_word(struct buf *b, int64_t n)
{
    uint64_t magnitude = (uint64_t)(n < 0 ? ~n : n);
    size_t nbytes = magnitude ? (size_t)(64 - __builtin_clzll(magnitude)) / 8 + 1 : 1;
    uint64_t word = htobe64((uint64_t)n << (64 - 8 * nbytes));
    char *p = buf_reserve(b, sizeof word);

    memcpy(p, &word, sizeof word);
    buf_written(b, p + nbytes);
}

bool decimal_add(struct buf *b, const char *text, size_t len, int scale)
{
    uint64_t small[SMALL];
    struct big a = {small, 0};
    struct number number;
    size_t ndigits, nwords;
    int64_t n;

    if (read_small(text, len, scale, &n)) {
        add_word(b, n);
        return true;
    }
    if (!read_number(text, len, &number) || !fit(&number, scale))
        return false;
    ndigits = number.integer_len + (scale > 0 ? (size_t)scale : 0);
    nwords = ndigits / CHUNK + 1;
    if (nwords > SMALL)
        a.words = xcalloc(nwords, sizeof *a.words);
    read_digits(&a, &number, ndigits);
    add_bytes(b, &a, number.negative);
    if (a.words != small)
        free(a.words);
    return true;
}
