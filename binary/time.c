/*
 * Dates, times and intervals as PostgreSQL's datetime.c writes them with DateStyle ISO and
 * IntervalStyle postgres.  Server times count from 2000-01-01.
 */
#include "binary/form.h"

#define SECOND INT64_C(1000000) /* in microseconds, like all below */
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define ROOM 64 /* for the longest text of any of these types */

/* PostgreSQL's timestamp.h: from 4714-11-24 BC to before 5874898-06-04 and 294277-01-01. */
#define DATE_FIRST (-2451545)
#define DATE_END 2145031949
#define TIMESTAMP_FIRST INT64_C(-211813488000000000)
#define TIMESTAMP_END INT64_C(9223371331200000000)

/* ---- dates ---- */

struct date {
    int64_t year; /* 0 is 1 BC */
    unsigned month;
    unsigned day;
};

/*
 * Years are taken to begin on March 1st, so that a leap day is the last of its year, and counted
 * from March 4801 BC, the start of a cycle of 400 years before all dates there are.
 */
static struct date date_of_days(int64_t days)
{
    enum { DAYS_BEFORE_2000 = 12 * 146097 + 730425, CYCLE = 146097, CENTURY = 36524 };
    uint64_t n = (uint64_t)(days + DAYS_BEFORE_2000);
    uint64_t in_cycle = n % CYCLE;
    uint64_t century = in_cycle / CENTURY - in_cycle / (CYCLE - 1);
    uint64_t in_century = in_cycle - century * CENTURY;
    uint64_t four = in_century / 1461;
    uint64_t in_four = in_century % 1461;
    uint64_t year = in_four / 365 - in_four / 1460;
    unsigned in_year = (unsigned)(in_four - year * 365);
    unsigned month = (5 * in_year + 2) / 153; /* 31 30 31 30 31, twice, and the rest */
    struct date date = {.day = in_year - (153 * month + 2) / 5 + 1};

    date.month = month < 10 ? month + 3 : month - 9;
    date.year = (int64_t)(n / CYCLE * 400 + century * 100 + four * 4 + year) - 4800;
    date.year += month >= 10;
    return date;
}

static char *put_date(char *p, struct date date)
{
    p = put_padded(p, (uint64_t)(date.year > 0 ? date.year : 1 - date.year), 4);
    *p++ = '-';
    p = put_padded(p, date.month, 2);
    *p++ = '-';
    return put_padded(p, date.day, 2);
}

static char *put_era(char *p, struct date date)
{
    if (date.year > 0)
        return p;
    memcpy(p, " BC", 3);
    return p + 3;
}

static void add_infinity(struct buf *b, bool negative)
{
    buf_add_str(b, negative ? "-infinity" : "infinity");
}

bool binary_add_date(struct buf *b, struct reader *r)
{
    int32_t days = (int32_t)read_u32(r);
    struct date date;
    char *p;

    if (days == INT32_MIN || days == INT32_MAX) {
        add_infinity(b, days < 0);
        return true;
    }
    if (days < DATE_FIRST || days >= DATE_END)
        return false;
    date = date_of_days(days);
    p = put_date(buf_reserve(b, ROOM), date);
    buf_written(b, put_era(p, date));
    return true;
}

/* ---- times ---- */

static char *put_fraction(char *p, uint64_t usec)
{
    if (usec == 0)
        return p;
    *p++ = '.';
    p = put_padded(p, usec, 6);
    while (p[-1] == '0')
        p--;
    return p;
}

/* Hours, of which an interval may have many, minutes, seconds, fraction. */
static char *put_clock(char *p, uint64_t usec)
{
    p = put_padded(p, usec / HOUR, 2);
    *p++ = ':';
    p = put_padded(p, usec / MINUTE % 60, 2);
    *p++ = ':';
    p = put_padded(p, usec / SECOND % 60, 2);
    return put_fraction(p, usec % SECOND);
}

bool binary_add_time(struct buf *b, struct reader *r)
{
    uint64_t usec = read_u64(r);

    if (usec > DAY)
        return false;
    buf_written(b, put_clock(buf_reserve(b, ROOM), usec));
    return true;
}

/* Hours, and minutes and seconds where there are some; the server counts seconds to the west. */
static char *put_zone(char *p, int32_t west)
{
    uint32_t seconds = (uint32_t)(west < 0 ? -west : west);

    *p++ = west > 0 ? '-' : '+';
    p = put_padded(p, seconds / 3600, 2);
    if (seconds % 3600) {
        *p++ = ':';
        p = put_padded(p, seconds / 60 % 60, 2);
    }
    if (seconds % 60) {
        *p++ = ':';
        p = put_padded(p, seconds % 60, 2);
    }
    return p;
}

/* PostgreSQL's timetz_send: Int64 time, Int32 zone, which is less than 16 hours. */
bool binary_add_timetz(struct buf *b, struct reader *r)
{
    const int32_t end = 16 * 3600;
    uint64_t usec = read_u64(r);
    int32_t west = (int32_t)read_u32(r);
    char *p;

    if (usec > DAY || west <= -end || west >= end)
        return false;
    p = put_clock(buf_reserve(b, ROOM), usec);
    buf_written(b, put_zone(p, west));
    return true;
}

static bool add_timestamp(struct buf *b, int64_t usec, const char *zone)
{
    int64_t days = usec / DAY - (usec % DAY < 0);
    struct date date;
    char *p;

    if (usec == INT64_MIN || usec == INT64_MAX) {
        add_infinity(b, usec < 0);
        return true;
    }
    if (usec < TIMESTAMP_FIRST || usec >= TIMESTAMP_END)
        return false;
    date = date_of_days(days);
    p = put_date(buf_reserve(b, ROOM), date);
    *p++ = ' ';
    p = put_clock(p, (uint64_t)(usec - days * DAY));
    while (*zone)
        *p++ = *zone++;
    buf_written(b, put_era(p, date));
    return true;
}

bool binary_add_timestamp(struct buf *b, struct reader *r)
{
    return add_timestamp(b, (int64_t)read_u64(r), "");
}

bool binary_add_timestamptz(struct buf *b, struct reader *r)
{
    return add_timestamp(b, (int64_t)read_u64(r), "+00");
}

/* ---- intervals ---- */

struct interval {
    int64_t usec;
    int32_t days;
    int32_t months;
};

/* A positive part that comes behind a negative one shows its sign. */
static char *put_part(char *p, const char *start, int64_t n, const char *unit, bool *negative)
{
    if (n == 0)
        return p;
    if (p > start)
        *p++ = ' ';
    if (n < 0 || *negative)
        *p++ = n < 0 ? '-' : '+';
    p = put_u64(p, (uint64_t)(n < 0 ? -n : n));
    *p++ = ' ';
    while (*unit)
        *p++ = *unit++;
    if (n != 1)
        *p++ = 's';
    *negative = n < 0;
    return p;
}

static void add_finite_interval(struct buf *b, const struct interval *interval)
{
    int64_t usec = interval->usec;
    bool negative = false;
    char *start = buf_reserve(b, 2 * ROOM);
    char *p = start;

    p = put_part(p, start, interval->months / 12, "year", &negative);
    p = put_part(p, start, interval->months % 12, "mon", &negative);
    p = put_part(p, start, interval->days, "day", &negative);
    if (p == start || usec != 0) {
        if (p > start)
            *p++ = ' ';
        if (usec < 0 || negative)
            *p++ = usec < 0 ? '-' : '+';
        p = put_clock(p, usec < 0 ? 0 - (uint64_t)usec : (uint64_t)usec);
    }
    buf_written(b, p);
}

/*
 * PostgreSQL's interval_send: Int64 time, Int32 days, Int32 months.  Since PostgreSQL 17 all at
 * their ends is infinity; before, it was a length that nobody has.
 */
bool binary_add_interval(struct buf *b, struct reader *r)
{
    struct interval i;

    i.usec = (int64_t)read_u64(r);
    i.days = (int32_t)read_u32(r);
    i.months = (int32_t)read_u32(r);
    if ((i.usec == INT64_MAX && i.days == INT32_MAX && i.months == INT32_MAX) ||
        (i.usec == INT64_MIN && i.days == INT32_MIN && i.months == INT32_MIN))
        add_infinity(b, i.usec < 0);
    else
        add_finite_interval(b, &i);
    return true;
}
