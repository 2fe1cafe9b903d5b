#include "encode/datetime.h"

#include "encode/scan.h"

#define YEAR_DIGITS_MAX 9 /* the server goes to 5874897; this still fits a 32-bit number */

struct walk {
    const char *s;
    const char *end;
    char *p;
};

static bool is_at(const struct walk *w, char c)
{
    return w->s < w->end && *w->s == c;
}

/* Takes one separator and writes it, or another one in its place. */
static bool copy_separator(struct walk *w, char from, char to)
{
    if (!is_at(w, from))
        return false;
    w->s++;
    *w->p++ = to;
    return true;
}

static bool copy_two_digits(struct walk *w)
{
    if (w->end - w->s < 2 || !scan_is_digit(w->s[0]) || !scan_is_digit(w->s[1]))
        return false;
    *w->p++ = *w->s++;
    *w->p++ = *w->s++;
    return true;
}

/* Copies digits as long as there are some; returns how many. */
static size_t copy_digits(struct walk *w)
{
    const char *start = w->s;

    while (w->s < w->end && scan_is_digit(*w->s))
        *w->p++ = *w->s++;
    return (size_t)(w->s - start);
}

/* 1 BC is the year 0 of ISO 8601, 2 BC is -1: what is written at p is the year before Christ. */
static bool turn_before_christ(struct walk *w, char *p)
{
    uint32_t year = 0;

    for (const char *digit = p; digit < w->p; digit++)
        year = year * 10 + (uint32_t)(*digit - '0');
    if (year-- == 0)
        return false;
    if (year > 0)
        *p++ = '-';
    for (uint32_t limit = 1000; limit > 1 && year < limit; limit /= 10)
        *p++ = '0';
    w->p = put_u64(p, year);
    return true;
}

static bool copy_year(struct walk *w, bool before_christ)
{
    char *start = w->p;
    size_t n = copy_digits(w);

    if (n < 4 || n > YEAR_DIGITS_MAX || (n > 4 && *start == '0'))
        return false;
    if (before_christ)
        return turn_before_christ(w, start);
    if (n > 4) {
        memmove(start + 1, start, n);
        *start = '+';
        w->p++;
    }
    return true;
}

/* Copies n bytes that have been looked at. */
static bool copy_known(struct walk *w, size_t n)
{
    memcpy(w->p, w->s, n);
    w->p += n;
    w->s += n;
    return true;
}

static bool copy_date(struct walk *w, bool before_christ)
{
    if (w->end - w->s >= 10 && !before_christ && scan_has_form(w->s, "0000-00-") &&
        scan_is_digit(w->s[8]) && scan_is_digit(w->s[9]))
        return copy_known(w, 10);
    return copy_year(w, before_christ) && copy_separator(w, '-', '-') && copy_two_digits(w) &&
           copy_separator(w, '-', '-') && copy_two_digits(w);
}

static bool copy_time(struct walk *w)
{
    if (w->end - w->s < 8 || !scan_has_form(w->s, "00:00:00"))
        return false;
    copy_known(w, 8);
    return !copy_separator(w, '.', '.') || copy_digits(w) > 0;
}

/* The server leaves out minutes and seconds that are zero; ISO 8601 wants the minutes. */
static bool copy_zone(struct walk *w)
{
    if (w->end - w->s == 3 && memcmp(w->s, "+00", 3) == 0) {
        *w->p++ = 'Z';
        w->s = w->end;
        return true;
    }
    if ((!copy_separator(w, '+', '+') && !copy_separator(w, '-', '-')) || !copy_two_digits(w))
        return false;
    if (w->s == w->end) {
        memcpy(w->p, ":00", 3);
        w->p += 3;
        return true;
    }
    if (!copy_separator(w, ':', ':') || !copy_two_digits(w))
        return false;
    return !copy_separator(w, ':', ':') || copy_two_digits(w);
}

/* Opens the string; what is added to the digits, and put_u64(), have room in 32 bytes. */
static struct walk open_string(struct buf *b, const char *text, size_t len)
{
    struct walk w = {.s = text, .end = text + len, .p = buf_reserve(b, len + 32)};

    *w.p++ = '"';
    return w;
}

static bool close_string(struct buf *b, struct walk *w)
{
    *w->p++ = '"';
    buf_written(b, w->p);
    return w->s == w->end;
}

/* The era stands at the very end, far from the year that it is about. */
static bool take_era(struct walk *w)
{
    if (w->end - w->s < 3 || memcmp(w->end - 3, " BC", 3) != 0)
        return false;
    w->end -= 3;
    return true;
}

bool date_add(struct buf *b, const char *text, size_t len)
{
    struct walk w = open_string(b, text, len);
    bool before_christ = take_era(&w);

    return copy_date(&w, before_christ) && close_string(b, &w);
}

bool time_add(struct buf *b, const char *text, size_t len)
{
    struct walk w = open_string(b, text, len);

    return copy_time(&w) && close_string(b, &w);
}

static bool copy_date_and_time(struct walk *w, bool before_christ)
{
    return copy_date(w, before_christ) && copy_separator(w, ' ', 'T') && copy_time(w);
}

bool timestamp_add(struct buf *b, const char *text, size_t len)
{
    struct walk w = open_string(b, text, len);
    bool before_christ = take_era(&w);

    return copy_date_and_time(&w, before_christ) && close_string(b, &w);
}

bool timestamptz_add(struct buf *b, const char *text, size_t len)
{
    struct walk w = open_string(b, text, len);
    bool before_christ = take_era(&w);

    return copy_date_and_time(&w, before_christ) && copy_zone(&w) && close_string(b, &w);
}
