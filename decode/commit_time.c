#include "decode/commit_time.h"

#include "base/clock.h"

struct walk {
    const char *p;
    const char *end;
    bool failed;
};

static bool take(struct walk *w, char c)
{
    if (w->p == w->end || *w->p != c)
        return false;
    w->p++;
    return true;
}

static void expect(struct walk *w, char c)
{
    if (!take(w, c))
        w->failed = true;
}

/* A number of at least `least` and at most `most` digits; *digits tells how many there were. */
static int64_t number(struct walk *w, int least, int most, int *digits)
{
    int64_t n = 0;
    int i = 0;

    for (; i < most && w->p < w->end && *w->p >= '0' && *w->p <= '9'; i++)
        n = n * 10 + (*w->p++ - '0');
    if (i < least)
        w->failed = true;
    if (digits)
        *digits = i;
    return n;
}

/* Two digits that tell a number of low to high. */
static int64_t two_digits(struct walk *w, int64_t low, int64_t high)
{
    int64_t n = number(w, 2, 2, NULL);

    if (n < low || n > high)
        w->failed = true;
    return n;
}

/*
 * Days from 1970-01-01 to a date of the Gregorian calendar.  Years are counted from March here, so
 * that the leap day is the last of its year; (153 * m + 2) / 5 days lie before month m then.
 */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month == 2)
        return leap ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static int64_t parse_date(struct walk *w)
{
    int64_t year, month, day;

    year = number(w, 4, 6, NULL);
    expect(w, '-');
    month = two_digits(w, 1, 12);
    expect(w, '-');
    day = two_digits(w, 1, days_in_month(year, month));
    if (year == 0)
        w->failed = true;
    return days_since_1970(year, month, day);
}

/* In microseconds since midnight.  A second of 60 is what rounding makes of 59.9999999. */
static int64_t parse_time(struct walk *w)
{
    int64_t seconds = two_digits(w, 0, 23) * 3600;
    int64_t fraction = 0;
    int digits = 6;

    expect(w, ':');
    seconds += two_digits(w, 0, 59) * 60;
    expect(w, ':');
    seconds += two_digits(w, 0, 60);
    if (take(w, '.'))
        fraction = number(w, 1, 6, &digits);
    for (; digits < 6; digits++)
        fraction *= 10;
    return seconds * USEC_PER_SEC + fraction;
}

/* In seconds east of Greenwich. */
static int64_t parse_zone(struct walk *w)
{
    bool west = take(w, '-');
    int64_t seconds;

    if (!west)
        expect(w, '+');
    seconds = two_digits(w, 0, 15) * 3600;
    if (take(w, ':')) {
        seconds += two_digits(w, 0, 59) * 60;
        if (take(w, ':'))
            seconds += two_digits(w, 0, 59);
    }
    return west ? -seconds : seconds;
}

bool commit_time_parse(const char *text, size_t len, usec_t *time)
{
    struct walk w = {.p = text, .end = text + len};
    int64_t days = parse_date(&w);
    int64_t usec;

    expect(&w, ' ');
    usec = parse_time(&w);
    usec -= parse_zone(&w) * USEC_PER_SEC;
    if (w.failed || w.p != w.end || days > INT64_MAX / (86400 * USEC_PER_SEC) - 2)
        return false;
    *time = days * 86400 * USEC_PER_SEC + usec;
    return true;
}
