#include "encode/interval.h"

#include "encode/scan.h"

struct walk {
    const char *s;
    const char *end;
    char *p;
};

/* Digits in the text, with the sign that stands before them. */
struct number {
    bool negative;
    const char *digits;
    size_t len;
};

static size_t take_digits(struct walk *w)
{
    const char *start = w->s;

    while (w->s < w->end && scan_is_digit(*w->s))
        w->s++;
    return (size_t)(w->s - start);
}

static bool take_number(struct walk *w, struct number *number)
{
    number->negative = w->s < w->end && *w->s == '-';
    if (w->s < w->end && (*w->s == '-' || *w->s == '+'))
        w->s++;
    number->digits = w->s;
    number->len = take_digits(w);
    return number->len > 0;
}

/* ":MM" or ":SS"; the sign of the hours is the sign of all. */
static bool take_sixtieth(struct walk *w, const struct number *hours, struct number *part)
{
    if (w->s == w->end || *w->s++ != ':')
        return false;
    *part = (struct number){hours->negative, w->s, take_digits(w)};
    return part->len == 2;
}

static bool take_fraction(struct walk *w, struct number *fraction)
{
    *fraction = (struct number){false, w->s, 0};
    if (w->s == w->end || *w->s != '.')
        return true;
    fraction->digits = ++w->s;
    fraction->len = take_digits(w);
    return fraction->len > 0;
}

static void strip_leading_zeros(struct number *number)
{
    while (number->len > 0 && *number->digits == '0') {
        number->digits++;
        number->len--;
    }
}

static void strip_trailing_zeros(struct number *fraction)
{
    while (fraction->len > 0 && fraction->digits[fraction->len - 1] == '0')
        fraction->len--;
}

static void put_digits(struct walk *w, const struct number *number)
{
    for (size_t i = 0; i < number->len; i++)
        *w->p++ = number->digits[i];
}

static void put_part(struct walk *w, struct number number, char designator)
{
    strip_leading_zeros(&number);
    if (number.len == 0)
        return;
    if (number.negative)
        *w->p++ = '-';
    put_digits(w, &number);
    *w->p++ = designator;
}

static void put_seconds(struct walk *w, struct number seconds, struct number fraction)
{
    strip_trailing_zeros(&fraction);
    if (fraction.len == 0) {
        put_part(w, seconds, 'S');
        return;
    }
    strip_leading_zeros(&seconds);
    if (seconds.negative)
        *w->p++ = '-';
    put_digits(w, &seconds);
    if (seconds.len == 0)
        *w->p++ = '0';
    *w->p++ = '.';
    put_digits(w, &fraction);
    *w->p++ = 'S';
}

/* The last part, at the colon behind its hours. */
static bool add_clock(struct walk *w, const struct number *hours)
{
    struct number minutes, seconds, fraction;
    char *start = w->p;

    if (!take_sixtieth(w, hours, &minutes) || !take_sixtieth(w, hours, &seconds) ||
        !take_fraction(w, &fraction))
        return false;
    *w->p++ = 'T';
    put_part(w, *hours, 'H');
    put_part(w, minutes, 'M');
    put_seconds(w, seconds, fraction);
    if (w->p == start + 1)
        w->p = start;
    return w->s == w->end;
}

static bool take_word(struct walk *w, const char *word, size_t len)
{
    if ((size_t)(w->end - w->s) < len || memcmp(w->s, word, len) != 0)
        return false;
    w->s += len;
    return true;
}

/* The designator of the unit behind a number; units come in order, each once.  NUL for none. */
static char take_unit(struct walk *w, int *seen)
{
    char designator = '\0';

    if (*seen < 1 && take_word(w, " year", 5)) {
        *seen = 1;
        designator = 'Y';
    } else if (*seen < 2 && take_word(w, " mon", 4)) {
        *seen = 2;
        designator = 'M';
    } else if (*seen < 3 && take_word(w, " day", 4)) {
        *seen = 3;
        designator = 'D';
    }
    if (designator && w->s < w->end && *w->s == 's')
        w->s++;
    return designator;
}

static bool add_parts(struct walk *w)
{
    int seen = 0;

    for (;;) {
        struct number number;
        char designator;

        if (!take_number(w, &number))
            return false;
        if (w->s < w->end && *w->s == ':')
            return add_clock(w, &number);
        designator = take_unit(w, &seen);
        if (!designator)
            return false;
        put_part(w, number, designator);
        if (w->s == w->end)
            return true;
        if (*w->s++ != ' ')
            return false;
    }
}

bool interval_add(struct buf *b, const char *text, size_t len)
{
    /* Units get shorter; the clock gets P, T, a letter more than colons, two signs, quotes. */
    char *start = buf_reserve(b, len + 16);
    struct walk w = {.s = text, .end = text + len, .p = start};

    *w.p++ = '"';
    *w.p++ = 'P';
    if (!add_parts(&w))
        return false;
    if (w.p == start + 2) {
        memcpy(w.p, "T0S", 3);
        w.p += 3;
    }
    *w.p++ = '"';
    buf_written(b, w.p);
    return true;
}
