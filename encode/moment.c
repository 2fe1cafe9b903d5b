#include "encode/moment.h"

#include <string.h>

#include "encode/scan.h"

#define SECOND INT64_C(1000000) /* in microseconds, like the next two */
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY_SECONDS INT64_C(86400)

#define YEAR_DIGITS_MAX 9 /* the server goes to 5874897 */

struct walk {
    const char *s;
    const char *end;
};

struct date {
    int64_t year; /* 0 is 1 BC */
    int month;
    int day;
};

static bool take(struct walk *w, char c)
{
    if (w->s == w->end || *w->s != c)
        return false;
    w->s++;
    return true;
}

static bool at_end(const struct walk *w)
{
    return w->s == w->end;
}

/* The number that two digits are. */
static int pair(const char *s)
{
    return (s[0] - '0') * 10 + (s[1] - '0');
}

/* Two digits, of a number up to max. */
static bool take_pair(struct walk *w, int max, int *n)
{
    if (w->end - w->s < 2 || !scan_is_digit(w->s[0]) || !scan_is_digit(w->s[1]))
        return false;
    *n = pair(w->s);
    w->s += 2;
    return *n <= max;
}

/* ---- dates ---- */

static int days_in_month(const struct date *date)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = date->year % 4 == 0 && (date->year % 100 != 0 || date->year % 400 == 0);

    return days[date->month - 1] + (leap && date->month == 2);
}

/*
 * Years are taken to begin on March 1st, so that a leap day is the last of its year, and counted
 * from one so early, the start of a cycle of 400 years, that no number here is below zero.
 */
static int64_t days_of_date(const struct date *date)
{
    const int64_t cycles = 2500000;
    const int64_t days_before_1970 = cycles * 146097 + 719468;
    int64_t year = date->year + cycles * 400 - (date->month < 3);
    int64_t month = date->month < 3 ? date->month + 9 : date->month - 3;

    return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date->day - 1 -
           days_before_1970;
}

/* The era stands at the very end, far from the year that it is about. */
static bool take_era(struct walk *w)
{
    if (w->end - w->s < 3 || memcmp(w->end - 3, " BC", 3) != 0)
        return false;
    w->end -= 3;
    return true;
}

/* At least four digits; more only where the first of them says something. */
static bool take_year(struct walk *w, bool before_christ, int64_t *year)
{
    const char *start = w->s;
    int64_t n = 0;

    for (; w->s < w->end && w->s - start <= YEAR_DIGITS_MAX && scan_is_digit(*w->s); w->s++)
        n = n * 10 + (*w->s - '0');
    *year = before_christ ? 1 - n : n;
    return n > 0 && w->s - start >= 4 && w->s - start <= YEAR_DIGITS_MAX &&
           (w->s - start == 4 || *start != '0');
}

/* YYYY-MM-DD; false, with nothing taken, where it is something else. */
static bool take_usual_date(struct walk *w, struct date *date)
{
    const char *s = w->s;

    if (w->end - s < 10 || !scan_has_form(s, "0000-00-") || !scan_is_digit(s[8]) ||
        !scan_is_digit(s[9]))
        return false;
    *date = (struct date){pair(s) * 100 + pair(s + 2), pair(s + 5), pair(s + 8)};
    if (date->year == 0 || date->month > 12)
        return false;
    w->s += 10;
    return true;
}

static bool take_date(struct walk *w, bool before_christ, int64_t *days)
{
    struct date date;

    if ((before_christ || !take_usual_date(w, &date)) &&
        (!take_year(w, before_christ, &date.year) || !take(w, '-') ||
         !take_pair(w, 12, &date.month) || !take(w, '-') || !take_pair(w, 31, &date.day)))
        return false;
    if (date.month == 0 || date.day == 0 || date.day > days_in_month(&date))
        return false;
    *days = days_of_date(&date);
    return true;
}

bool moment_date(const char *text, size_t len, int64_t *days)
{
    struct walk w = {text, text + len};
    bool before_christ = take_era(&w);

    return take_date(&w, before_christ, days) && at_end(&w);
}

/* ---- times ---- */

/* Up to six digits behind a point, as microseconds; 0 without a point. */
static bool take_fraction(struct walk *w, int32_t *usec)
{
    int32_t unit = 100000;

    *usec = 0;
    if (!take(w, '.'))
        return true;
    if (at_end(w) || !scan_is_digit(*w->s))
        return false;
    for (; w->s < w->end && scan_is_digit(*w->s) && unit > 0; unit /= 10)
        *usec += (*w->s++ - '0') * unit;
    return true;
}

static bool take_time(struct walk *w, int64_t *usec)
{
    int hours, minutes, seconds;
    int32_t fraction;

    if (!take_pair(w, 24, &hours) || !take(w, ':') || !take_pair(w, 59, &minutes) ||
        !take(w, ':') || !take_pair(w, 59, &seconds) || !take_fraction(w, &fraction))
        return false;
    *usec = hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction;
    return *usec <= DAY_SECONDS * SECOND;
}

/* +HH, +HH:MM or +HH:MM:SS as seconds to the east; PostgreSQL stays below 16 hours. */
static bool take_zone(struct walk *w, int32_t *zone)
{
    int hours, minutes = 0, seconds = 0;
    bool west = take(w, '-');

    if ((!west && !take(w, '+')) || !take_pair(w, 15, &hours))
        return false;
    if (take(w, ':') && !take_pair(w, 59, &minutes))
        return false;
    if (take(w, ':') && !take_pair(w, 59, &seconds))
        return false;
    *zone = hours * 3600 + minutes * 60 + seconds;
    if (west)
        *zone = -*zone;
    return true;
}

bool moment_time(const char *text, size_t len, int64_t *usec)
{
    struct walk w = {text, text + len};

    return take_time(&w, usec) && at_end(&w);
}

bool moment_timetz(const char *text, size_t len, int64_t *usec, int32_t *zone)
{
    struct walk w = {text, text + len};

    if (!take_time(&w, usec) || !take_zone(&w, zone))
        return false;
    *usec -= *zone * SECOND;
    return at_end(&w);
}

/* ---- points in time ---- */

/* A day has no 24:00:00 here: that is the next day's beginning, and written as such. */
static bool take_moment(struct walk *w, bool before_christ, struct moment *m)
{
    int64_t days, usec;

    if (!take_date(w, before_christ, &days) || !take(w, ' ') || !take_time(w, &usec) ||
        usec == DAY_SECONDS * SECOND)
        return false;
    m->sec = days * DAY_SECONDS + usec / SECOND;
    m->usec = (int32_t)(usec % SECOND);
    return true;
}

bool moment_timestamp(const char *text, size_t len, struct moment *m)
{
    struct walk w = {text, text + len};
    bool before_christ = take_era(&w);

    return take_moment(&w, before_christ, m) && at_end(&w);
}

bool moment_timestamptz(const char *text, size_t len, struct moment *m)
{
    struct walk w = {text, text + len};
    bool before_christ = take_era(&w);
    int32_t zone;

    if (!take_moment(&w, before_christ, m) || !take_zone(&w, &zone))
        return false;
    m->sec -= zone;
    return at_end(&w);
}

int moment_infinity(const char *text, size_t len)
{
    if (len == 8 && memcmp(text, "infinity", 8) == 0)
        return 1;
    return len == 9 && memcmp(text, "-infinity", 9) == 0 ? -1 : 0;
}

bool moment_usec(const struct moment *m, int64_t *usec)
{
    __int128 n = (__int128)m->sec * SECOND + m->usec;

    *usec = (int64_t)n;
    return n == *usec;
}

/* ---- intervals ---- */

/* A sign, if there is one, and digits; false when they are none or more than an int64 holds. */
static bool take_number(struct walk *w, bool *negative, int64_t *n)
{
    const char *start;

    *negative = take(w, '-');
    if (!*negative)
        take(w, '+');
    *n = 0;
    for (start = w->s; w->s < w->end && scan_is_digit(*w->s); w->s++) {
        if (__builtin_mul_overflow(*n, 10, n) || __builtin_add_overflow(*n, *w->s - '0', n))
            return false;
    }
    return w->s > start;
}

/* sum += n * unit, or minus that. */
static bool add_part(int64_t *sum, int64_t n, bool negative, int64_t unit)
{
    int64_t part;

    return !__builtin_mul_overflow(n, negative ? -unit : unit, &part) &&
           !__builtin_add_overflow(*sum, part, sum);
}

/* The last part, at the colon behind its hours; their sign is the sign of all. */
static bool take_clock(struct walk *w, int64_t hours, bool negative, int64_t *usec)
{
    int minutes, seconds;
    int32_t fraction;

    return take(w, ':') && take_pair(w, 59, &minutes) && take(w, ':') &&
           take_pair(w, 59, &seconds) && take_fraction(w, &fraction) && at_end(w) &&
           add_part(usec, hours, negative, HOUR) && add_part(usec, minutes, negative, MINUTE) &&
           add_part(usec, seconds, negative, SECOND) && add_part(usec, fraction, negative, 1);
}

static bool take_word(struct walk *w, const char *word, size_t len)
{
    if ((size_t)(w->end - w->s) < len || memcmp(w->s, word, len) != 0)
        return false;
    w->s += len;
    return true;
}

/* Adds a number to the part that the unit behind it names; units come in order, each once. */
static bool take_unit(struct walk *w, struct span *span, int64_t n, bool negative, int *seen)
{
    bool added;

    if (*seen < 1 && take_word(w, " year", 5)) {
        *seen = 1;
        added = add_part(&span->months, n, negative, 12);
    } else if (*seen < 2 && take_word(w, " mon", 4)) {
        *seen = 2;
        added = add_part(&span->months, n, negative, 1);
    } else if (*seen < 3 && take_word(w, " day", 4)) {
        *seen = 3;
        added = add_part(&span->days, n, negative, 1);
    } else {
        return false;
    }
    take(w, 's');
    return added;
}

bool moment_interval(const char *text, size_t len, struct span *span)
{
    struct walk w = {text, text + len};
    int seen = 0;

    *span = (struct span){0};
    for (;;) {
        bool negative;
        int64_t n;

        if (!take_number(&w, &negative, &n))
            return false;
        if (!at_end(&w) && *w.s == ':')
            return take_clock(&w, n, negative, &span->usec);
        if (!take_unit(&w, span, n, negative, &seen))
            return false;
        if (at_end(&w))
            return true;
        if (!take(&w, ' '))
            return false;
    }
}
