/*
 * moment_test - texts of dates, times and intervals -> numbers.
 *
 * The calendar is checked against one that only knows how to go on to the next day, and against
 * binary/, which writes these texts from numbers.  Inputs are handed over in blocks of exactly
 * their size, so that the address sanitizer sees a byte read too many.
 */
#include "encode/moment.h"

#include <stdlib.h>

#include "base/log.h"
#include "binary/binary.h"
#include "tests/unit/tap.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define HOUR (3600 * SECOND)

/* A copy that ends where the text does. */
static char *exact(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);

    if (!copy)
        log_out_of_memory();
    memcpy(copy, text, len);
    return copy;
}

/* ---- each function as one that writes what it found as text ---- */

typedef bool (*reading)(const char *text, size_t len, char *result, size_t size);

static bool read_date(const char *text, size_t len, char *result, size_t size)
{
    int64_t days;
    bool read = moment_date(text, len, &days);

    snprintf(result, size, "%lld", read ? (long long)days : 0);
    return read;
}

static bool read_time(const char *text, size_t len, char *result, size_t size)
{
    int64_t usec;
    bool read = moment_time(text, len, &usec);

    snprintf(result, size, "%lld", read ? (long long)usec : 0);
    return read;
}

static bool read_timetz(const char *text, size_t len, char *result, size_t size)
{
    int64_t usec;
    int32_t zone;
    bool read = moment_timetz(text, len, &usec, &zone);

    snprintf(result, size, "%lld %d", read ? (long long)usec : 0, read ? (int)zone : 0);
    return read;
}

static bool read_timestamp(const char *text, size_t len, char *result, size_t size)
{
    struct moment m;
    bool read = moment_timestamp(text, len, &m);

    snprintf(result, size, "%lld %d", read ? (long long)m.sec : 0, read ? (int)m.usec : 0);
    return read;
}

static bool read_timestamptz(const char *text, size_t len, char *result, size_t size)
{
    struct moment m;
    bool read = moment_timestamptz(text, len, &m);

    snprintf(result, size, "%lld %d", read ? (long long)m.sec : 0, read ? (int)m.usec : 0);
    return read;
}

static bool read_interval(const char *text, size_t len, char *result, size_t size)
{
    struct span s;

    if (!moment_interval(text, len, &s))
        return false;
    snprintf(result, size, "%lld %lld %lld", (long long)s.months, (long long)s.days,
             (long long)s.usec);
    return true;
}

/* ---- golden values ---- */

struct golden {
    reading read;
    const char *text;
    const char *result; /* NULL: refused */
};

static const struct golden goldens[] = {
    {read_date, "1970-01-01", "0"},
    {read_date, "1969-12-31", "-1"},
    {read_date, "2000-02-29", "11016"},
    {read_date, "2000-03-01", "11017"},
    {read_date, "1900-02-28", "-25509"},
    {read_date, "1900-03-01", "-25508"},
    {read_date, "2017-09-15", "17424"},
    {read_date, "0001-01-01", "-719162"},
    {read_date, "0001-12-31 BC", "-719163"},
    {read_date, "0001-02-29 BC", "-719469"},
    {read_date, "4714-11-24 BC", "-2440588"}, /* Julian day 0 */
    {read_date, "5874897-12-31", "2145042905"},
    {read_date, "9999-12-31", "2932896"},
    {read_date, "10000-01-01", "2932897"},
    {read_date, "999999999-12-31", "365241780471"},
    {read_date, "999999999-01-01 BC", "-365243218797"},
    {read_date, "1900-02-29", NULL},
    {read_date, "2023-02-29", NULL},
    {read_date, "0002-02-29 BC", NULL},
    {read_date, "2023-04-31", NULL},
    {read_date, "2023-00-01", NULL},
    {read_date, "2023-13-01", NULL},
    {read_date, "2023-01-00", NULL},
    {read_date, "2023-01-32", NULL},
    {read_date, "0000-01-01", NULL},
    {read_date, "0000-01-01 BC", NULL},
    {read_date, "999-01-01", NULL},
    {read_date, "02023-01-01", NULL},
    {read_date, "1000000000-01-01", NULL},
    {read_date, "99999999999999999999999-01-01", NULL},
    {read_date, "2023-1-1", NULL},
    {read_date, "2023-/5-01", NULL},
    {read_date, "2023-0x-01", NULL},
    {read_date, "2023-01-01 ", NULL},
    {read_date, " 2023-01-01", NULL},
    {read_date, "2023/01/01", NULL},
    {read_date, "2023-01-01 AD", NULL},
    {read_date, "2023-01-01 00:00:00", NULL},
    {read_date, "+2023-01-01", NULL},
    {read_date, "-2023-01-01", NULL},
    {read_date, "infinity", NULL},
    {read_date, "-infinity", NULL},
    {read_date, " BC", NULL},
    {read_date, "BC", NULL},
    {read_date, "", NULL},

    {read_time, "00:00:00", "0"},
    {read_time, "23:59:59.999999", "86399999999"},
    {read_time, "24:00:00", "86400000000"},
    {read_time, "04:05:11.7", "14711700000"},
    {read_time, "04:05:11.78", "14711780000"},
    {read_time, "04:05:11.789", "14711789000"},
    {read_time, "04:05:11.7890", "14711789000"},
    {read_time, "04:05:11.78901", "14711789010"},
    {read_time, "04:05:11.000001", "14711000001"},
    {read_time, "24:00:00.000001", NULL},
    {read_time, "24:00:01", NULL},
    {read_time, "25:00:00", NULL},
    {read_time, "12:60:00", NULL},
    {read_time, "12:00:60", NULL},
    {read_time, "12:00", NULL},
    {read_time, "12:00:00.", NULL},
    {read_time, "12:00:00.1234567", NULL},
    {read_time, "12:00:00+00", NULL},
    {read_time, "12-00-00", NULL},
    {read_time, "12:/0:00", NULL},
    {read_time, "1:00:00", NULL},
    {read_time, "", NULL},

    {read_timetz, "13:51:30.123789+02", "42690123789 7200"},
    {read_timetz, "00:00:00+00", "0 0"},
    {read_timetz, "00:30:00+05:30", "-18000000000 19800"},
    {read_timetz, "23:59:59.999999-15:59:59", "143998999999 -57599"},
    {read_timetz, "24:00:00+00", "86400000000 0"},
    {read_timetz, "12:00:00+00:00:01", "43199000000 1"},
    {read_timetz, "12:00:00", NULL},
    {read_timetz, "12:00:00Z", NULL},
    {read_timetz, "12:00:00+1", NULL},
    {read_timetz, "12:00:00+16", NULL},
    {read_timetz, "12:00:00+00:60", NULL},
    {read_timetz, "12:00:00+00:00:60", NULL},
    {read_timetz, "12:00:00+00:", NULL},
    {read_timetz, "12:00:00+00:00:", NULL},
    {read_timetz, "12:00:00+00:00:00:00", NULL},
    {read_timetz, "12:00:00 +00", NULL},
    {read_timetz, "", NULL},

    {read_timestamp, "2016-11-04 13:51:30.123456", "1478267490 123456"},
    {read_timestamp, "1970-01-01 00:00:00", "0 0"},
    {read_timestamp, "1969-12-31 23:59:59.999999", "-1 999999"},
    {read_timestamp, "4713-12-31 23:59:59.999999 BC", "-210831897601 999999"},
    {read_timestamp, "4714-11-24 00:00:00 BC", "-210866803200 0"},
    {read_timestamp, "294276-12-31 23:59:59.999999", "9224318015999 999999"},
    {read_timestamp, "0001-01-01 00:00:00", "-62135596800 0"},
    {read_timestamp, "0001-12-31 23:59:59 BC", "-62135596801 0"},
    {read_timestamp, "2016-11-04T13:51:30", NULL},
    {read_timestamp, "2016-11-04 13:51:30+00", NULL},
    {read_timestamp, "2016-11-04 24:00:00", NULL},
    {read_timestamp, "2016-11-04", NULL},
    {read_timestamp, "2016-11-04 13:51:30 BC ", NULL},
    {read_timestamp, "infinity", NULL},
    {read_timestamp, "", NULL},

    {read_timestamptz, "2016-11-04 11:51:30.123456+00", "1478260290 123456"},
    {read_timestamptz, "2016-11-04 13:51:30.123456+02", "1478260290 123456"},
    {read_timestamptz, "2016-11-04 11:51:30.123456-00:00:30", "1478260320 123456"},
    {read_timestamptz, "21016-11-04 06:51:30+00", "601060287090 0"},
    {read_timestamptz, "4714-12-31 23:59:59.999999+00 BC", "-210863520001 999999"},
    {read_timestamptz, "2016-11-04 11:51:30 BC+00", NULL},
    {read_timestamptz, "2016-11-04 11:51:30", NULL},
    {read_timestamptz, "2016-11-04 11:51:30Z", NULL},
    {read_timestamptz, "-infinity", NULL},
    {read_timestamptz, "", NULL},

    {read_interval, "00:00:00", "0 0 0"},
    {read_interval, "1 year 2 mons 3 days 04:05:06.78", "14 3 14706780000"},
    {read_interval, "-1 years -2 mons +3 days -04:05:06.78", "-14 3 -14706780000"},
    {read_interval, "1 year", "12 0 0"},
    {read_interval, "-1 mons", "-1 0 0"},
    {read_interval, "1 mon -1 days", "1 -1 0"},
    {read_interval, "1 day 00:00:01", "0 1 1000000"},
    {read_interval, "-00:00:00.000001", "0 0 -1"},
    {read_interval, "1 mon +00:00:01", "1 0 1000000"},
    {read_interval, "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807",
     "2147483647 2147483647 9223372036854775807"},
    {read_interval, "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808",
     "-2147483648 -2147483648 -9223372036854775808"},
    {read_interval, "2562047788:00:54.775808", NULL},
    {read_interval, "-2562047788:00:54.775809", NULL},
    {read_interval, "9223372036854775807 days", "0 9223372036854775807 0"},
    {read_interval, "9223372036854775808 days", NULL},
    {read_interval, "9223372036854775807 years", NULL},
    {read_interval, "768614336404564650 years 8 mons", NULL},
    {read_interval, "1 day 1 mon", NULL},
    {read_interval, "1 day 1 day", NULL},
    {read_interval, "1 mon 1 mon", NULL},
    {read_interval, "1 years 1 years", NULL},
    {read_interval, "1", NULL},
    {read_interval, "1 ", NULL},
    {read_interval, "1 day ", NULL},
    {read_interval, "1 dayss", NULL},
    {read_interval, "1 week", NULL},
    {read_interval, "- 1 day", NULL},
    {read_interval, "--1 day", NULL},
    {read_interval, "1 day 00:00", NULL},
    {read_interval, "00:60:00", NULL},
    {read_interval, "00:00:60", NULL},
    {read_interval, "00:00:00 1 day", NULL},
    {read_interval, "00:00:00.", NULL},
    {read_interval, "00:00:00.1234567", NULL},
    {read_interval, "P1D", NULL},
    {read_interval, "infinity", NULL},
    {read_interval, "", NULL},
};

#define NGOLDENS (sizeof goldens / sizeof goldens[0])

static bool reads(const struct golden *g, size_t len, char *result, size_t size)
{
    char *text = exact(g->text, len);
    bool read = g->read(len ? text : text + 1, len, result, size);

    free(text);
    return read;
}

static void test_goldens(void)
{
    for (size_t i = 0; i < NGOLDENS; i++) {
        const struct golden *g = &goldens[i];
        char result[96] = "";
        bool read = reads(g, strlen(g->text), result, sizeof result);

        if (!g->result)
            ok(!read, "\"%s\" is refused", g->text);
        else
            is_str(read ? result : "refused", g->result, g->text);
    }
}

/* ---- cut at every byte ---- */

/* How many of the beginnings of a text are such texts, too. */
static void test_cuts(void)
{
    static const struct cut {
        reading read;
        const char *text;
        unsigned accepted;
    } cuts[] = {
        {read_date, "2023-05-01", 0},
        {read_date, "0044-03-15 BC", 1}, /* the same year after Christ */
        {read_date, "5874897-12-31", 0},
        {read_time, "12:34:56", 0},
        {read_time, "12:34:56.789012", 6},
        {read_timetz, "12:34:56.789012+05:30:15", 2},
        {read_timestamp, "2023-05-01 12:34:56.789012", 6},
        {read_timestamp, "4713-12-31 23:59:59 BC", 1},
        {read_timestamptz, "2023-05-01 12:34:56.789-05:30", 1},
        {read_timestamptz, "4714-12-31 23:59:59.5+00 BC", 1},
        {read_interval, "1 years 2 mons 3 days 04:05:06.78",
         8}, /* behind the unit and its s, three times; behind the seconds and their first digit */
        {read_interval, "-1 years +3 days", 3},
    };

    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct golden g = {.read = cuts[i].read, .text = cuts[i].text};
        unsigned accepted = 0;
        char result[96];

        for (size_t len = 0; len < strlen(g.text); len++)
            accepted += reads(&g, len, result, sizeof result);
        ok(accepted == cuts[i].accepted, "\"%s\" has %u beginnings that are read: %u", g.text,
           cuts[i].accepted, accepted);
    }
}

/* ---- a calendar of another kind ---- */

struct day {
    int year; /* 0 is 1 BC */
    int month;
    int day;
};

static bool is_leap(int year)
{
    if (year % 400 == 0)
        return true;
    if (year % 100 == 0)
        return false;
    return year % 4 == 0;
}

static void go_on(struct day *d)
{
    int last = 31;

    if (d->month == 4 || d->month == 6 || d->month == 9 || d->month == 11)
        last = 30;
    if (d->month == 2)
        last = is_leap(d->year) ? 29 : 28;
    if (++d->day <= last)
        return;
    d->day = 1;
    if (++d->month <= 12)
        return;
    d->month = 1;
    d->year++;
}

static char *put_number(char *p, int n, int digits)
{
    for (int i = digits - 1; i >= 0; i--, n /= 10)
        p[i] = (char)('0' + n % 10);
    return p + digits;
}

static size_t day_text(char *text, const struct day *d)
{
    int year = d->year > 0 ? d->year : 1 - d->year;
    char *p = put_number(text, year, 4);

    *p++ = '-';
    p = put_number(p, d->month, 2);
    *p++ = '-';
    p = put_number(p, d->day, 2);
    if (d->year <= 0) {
        memcpy(p, " BC", 3);
        p += 3;
    }
    return (size_t)(p - text);
}

/* From the first day that PostgreSQL has to one that all agree on, and on. */
static void test_every_day(void)
{
    struct day d = {-4713, 11, 24};
    unsigned wrong = 0;

    for (int64_t expected = -2440588; d.year <= 2500; expected++, go_on(&d)) {
        char text[16];
        int64_t days = 0;

        if (!moment_date(text, day_text(text, &d), &days) || days != expected)
            wrong++;
        if (d.year == 1970 && d.month == 1 && d.day == 1)
            ok(expected == 0, "the other calendar arrives at 1970-01-01");
    }
    ok(wrong == 0, "every day from 4714-11-24 BC to the year 2500: %u differ", wrong);
}

/* What is no day of the calendar is none. */
static void test_no_days(void)
{
    static const int years[] = {-4, -3, 1, 4, 1900, 2000, 2023, 2024, 9999};
    unsigned wrong = 0;

    for (size_t i = 0; i < sizeof years / sizeof years[0]; i++) {
        struct day next = {years[i], 1, 1};

        for (struct day d = next; d.month <= 99; d.day < 99 ? d.day++ : (d.month++, d.day = 0)) {
            char text[16];
            int64_t days;
            bool is_day = d.year == next.year && d.month == next.month && d.day == next.day;

            if (is_day)
                go_on(&next);
            wrong += moment_date(text, day_text(text, &d), &days) != is_day;
        }
    }
    ok(wrong == 0, "months 1 to 99 and days 0 to 99 of %u years: %u are misjudged",
       (unsigned)(sizeof years / sizeof years[0]), wrong);
}

/* ---- there and back ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t random_between(uint64_t *state, int64_t low, int64_t high)
{
    return (int64_t)((uint64_t)low + random_next(state) % ((uint64_t)high - (uint64_t)low + 1));
}

static char *put_bytes(char *p, uint64_t n, int nbytes)
{
    for (int i = nbytes - 1; i >= 0; i--)
        *p++ = (char)(n >> 8 * i & 0xff);
    return p;
}

#define DAYS_TO_2000 10957

/* The first and the last date that binary/ takes, and what is between. */
static bool date_returns(struct buf *b, int64_t days)
{
    static const struct type type = {.kind = TYPE_DATE, .binary = BINARY_DATE};
    char bytes[4];
    int64_t read = 0;

    put_bytes(bytes, (uint64_t)(days - DAYS_TO_2000), 4);
    b->len = 0;
    return binary_to_text(b, bytes, 4, &type) && moment_date(b->data, b->len, &read) &&
           read == days;
}

static bool timestamp_returns(struct buf *b, int64_t since_2000, bool zoned)
{
    static const struct type plain = {.kind = TYPE_TIMESTAMP, .binary = BINARY_TIMESTAMP};
    static const struct type with_zone = {.kind = TYPE_TIMESTAMPTZ, .binary = BINARY_TIMESTAMPTZ};
    struct moment m = {0};
    char bytes[8];

    put_bytes(bytes, (uint64_t)since_2000, 8);
    b->len = 0;
    if (!binary_to_text(b, bytes, 8, zoned ? &with_zone : &plain))
        return false;
    if (!(zoned ? moment_timestamptz : moment_timestamp)(b->data, b->len, &m))
        return false;
    return m.usec >= 0 && m.usec < SECOND &&
           (m.sec - DAYS_TO_2000 * INT64_C(86400)) * (__int128)SECOND + m.usec == since_2000;
}

static bool timetz_returns(struct buf *b, int64_t usec, int32_t west)
{
    static const struct type type = {.kind = TYPE_TIMETZ, .binary = BINARY_TIMETZ};
    char bytes[12];
    int64_t read = 0;
    int32_t zone = 0;

    put_bytes(put_bytes(bytes, (uint64_t)usec, 8), (uint64_t)(uint32_t)west, 4);
    b->len = 0;
    return binary_to_text(b, bytes, 12, &type) && moment_timetz(b->data, b->len, &read, &zone) &&
           zone == -west && read == usec + west * SECOND;
}

static bool interval_returns(struct buf *b, const struct span *span)
{
    static const struct type type = {.kind = TYPE_INTERVAL, .binary = BINARY_INTERVAL};
    struct span read = {0};
    char bytes[16], *p = bytes;

    p = put_bytes(p, (uint64_t)span->usec, 8);
    p = put_bytes(p, (uint64_t)span->days, 4);
    put_bytes(p, (uint64_t)span->months, 4);
    b->len = 0;
    return binary_to_text(b, bytes, 16, &type) && moment_interval(b->data, b->len, &read) &&
           read.months == span->months && read.days == span->days && read.usec == span->usec;
}

/* Often small, now and then anything. */
static int64_t random_part(uint64_t *state, int64_t low, int64_t high)
{
    switch (random_next(state) % 4) {
    case 0:
        return 0;
    case 1:
        return random_between(state, -3, 3);
    case 2:
        return random_between(state, -100000, 100000);
    default:
        return random_between(state, low, high);
    }
}

static void test_returns(struct buf *b)
{
    const int64_t first = INT64_C(-211813488000000000), last = INT64_C(9223371331200000000) - 1;
    uint64_t state = UINT64_C(0x853c49e6748fea9b);
    unsigned dates = 0, stamps = 0, zones = 0, intervals = 0;
    const int rounds = 50000;

    ok(date_returns(b, -2440588) && date_returns(b, DAYS_TO_2000 + 2145031948),
       "the first and the last date");
    ok(timestamp_returns(b, first, false) && timestamp_returns(b, last, true),
       "the first and the last timestamp");
    for (int i = 0; i < rounds; i++) {
        struct span span = {
            .months = random_part(&state, INT32_MIN + 1, INT32_MAX - 1),
            .days = random_part(&state, INT32_MIN + 1, INT32_MAX - 1),
            .usec = random_part(&state, INT64_MIN + 1, INT64_MAX - 1),
        };

        dates += date_returns(b, random_between(&state, -2440588, DAYS_TO_2000 + 2145031948));
        stamps += timestamp_returns(b, random_between(&state, first, last), i % 2);
        zones += timetz_returns(b, random_between(&state, 0, DAY),
                                (int32_t)random_between(&state, -57599, 57599));
        intervals += interval_returns(b, &span);
    }
    ok(dates == (unsigned)rounds, "%u of %d random dates return", dates, rounds);
    ok(stamps == (unsigned)rounds, "%u of %d random timestamps return", stamps, rounds);
    ok(zones == (unsigned)rounds, "%u of %d random times with zones return", zones, rounds);
    ok(intervals == (unsigned)rounds, "%u of %d random intervals return", intervals, rounds);
}

/* ---- the rest ---- */

static void test_infinity(void)
{
    ok(moment_infinity("infinity", 8) == 1, "infinity");
    ok(moment_infinity("-infinity", 9) == -1, "-infinity");
    ok(moment_infinity("infinity", 7) == 0 && moment_infinity("-infinity", 8) == 0 &&
           moment_infinity("Infinity", 8) == 0 && moment_infinity("", 0) == 0,
       "and nothing else");
}

static void test_usec(void)
{
    static const struct {
        struct moment m;
        bool fits;
        int64_t usec;
    } cases[] = {
        {{0, 0}, true, 0},
        {{-1, 999999}, true, -1},
        {{1, 1}, true, 1000001},
        {{INT64_C(9223372036854), 775807}, true, INT64_MAX},
        {{INT64_C(9223372036854), 775808}, false, 0},
        {{INT64_C(-9223372036855), 224192}, true, INT64_MIN},
        {{INT64_C(-9223372036855), 224191}, false, 0},
        {{INT64_C(9224318015999), 999999}, false, 0}, /* the last that PostgreSQL has */
        {{INT64_MAX, 999999}, false, 0},
        {{INT64_MIN, 0}, false, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t usec = 0;
        bool fits = moment_usec(&cases[i].m, &usec);

        ok(fits == cases[i].fits && (!fits || usec == cases[i].usec), "%lld s %d us as one number",
           (long long)cases[i].m.sec, (int)cases[i].m.usec);
    }
}

/* A golden text with one byte changed either fails or is read; that it is read right is above. */
static void test_changes(void)
{
    uint64_t state = UINT64_C(0xda3e39cb94b95bdb);
    unsigned refused = 0;
    const unsigned rounds = 100000;

    for (unsigned i = 0; i < rounds; i++) {
        const struct golden *g = &goldens[random_next(&state) % NGOLDENS];
        size_t len = strlen(g->text);
        char *text = exact(g->text, len);
        char result[96];

        if (len > 0)
            text[random_next(&state) % len] = (char)random_next(&state);
        refused += !g->read(len ? text : text + 1, len, result, sizeof result);
        free(text);
    }
    ok(refused > rounds / 2 && refused < rounds, "%u texts with a changed byte: %u are refused",
       rounds, refused);
}

int main(void)
{
    struct buf b;

    buf_init(&b, 64);
    test_goldens();
    test_cuts();
    test_every_day();
    test_no_days();
    test_returns(&b);
    test_infinity();
    test_usec();
    test_changes();
    buf_release(&b);
    return tap_done();
}
