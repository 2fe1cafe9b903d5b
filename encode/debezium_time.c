#include "encode/debezium_time.h"

#include "binary/form.h"
#include "encode/datetime.h"
#include "encode/moment.h"
#include "encode/scan.h"

#define SECOND INT64_C(1000000) /* in microseconds, like the next two */
#define DAY (86400 * SECOND)
#define MONTH (INT64_C(2629800) * SECOND) /* a year of 365.25 days / 12 */

/* Days that stand for infinite dates, microseconds that stand for infinite timestamps. */
#define DATE_INFINITY INT64_C(-2147472692)
#define DATE_MINUS_INFINITY INT64_C(-2147472691)
#define USEC_INFINITY INT64_C(9223372036825200000)
#define USEC_MINUS_INFINITY INT64_C(-9223372036832400000)

/* As in value.c: the attempt at the form that the type promises is cut off. */
static bool write_as_string(struct buf *b, size_t start, const char *text, size_t len)
{
    b->len = start;
    return json_add_string(b, text, len);
}

/* ---- dates and times as numbers ---- */

enum { MILLI = 3, MICRO = 6, NANO = 9 };

/* How many digits behind the second are part of the number. */
static int places_of(const struct rule *rule)
{
    const struct handling *h = rule->handling;
    int adapted = rule->typmod >= 0 && rule->typmod <= 3 ? MILLI : MICRO;

    switch (handling_mode(h, (int)h->times)) {
    case TIME_CONNECT:
        return MILLI;
    case TIME_MICROSECONDS:
        return MICRO;
    case TIME_NANOSECONDS:
        return NANO;
    case TIME_ADAPTIVE_MICROSECONDS:
        return rule->type->kind == TYPE_TIME ? MICRO : adapted;
    default:
        return adapted;
    }
}

/* Whether the number can be told without loss, or the mode does not mind. */
static bool fits(const struct rule *rule, int places, int32_t usec)
{
    return places != MILLI || usec % 1000 == 0 || rule->handling->times == TIME_CONNECT;
}

/* Seconds and `places` digits of what is behind them as one number, of whatever size. */
static void add_number(struct buf *b, struct moment m, int places)
{
    int64_t unit = places == MILLI ? 1000 : places == MICRO ? SECOND : SECOND * 1000;
    int64_t fraction = places == MILLI  ? m.usec / 1000
                       : places == NANO ? m.usec * INT64_C(1000)
                                        : m.usec;
    char *p = buf_reserve(b, 40);

    if (m.sec < 0) {
        *p++ = '-';
        m.sec = -m.sec - (fraction > 0);
        fraction = fraction > 0 ? unit - fraction : 0;
    }
    if (m.sec > 0)
        p = put_padded(put_u64(p, (uint64_t)m.sec), (uint64_t)fraction, places);
    else
        p = put_u64(p, (uint64_t)fraction);
    buf_written(b, p);
}

static void add_infinite_timestamp(struct buf *b, bool negative, int places)
{
    int64_t usec = negative ? USEC_MINUS_INFINITY : USEC_INFINITY;

    if (places == NANO)
        buf_add_i64(b, negative ? INT64_MIN : INT64_MAX);
    else
        buf_add_i64(b, places == MILLI ? usec / 1000 : usec);
}

/* ---- dates and times as strings ---- */

/* Microseconds behind a point, without zeros at their end. */
static char *put_fraction(char *p, int32_t usec)
{
    if (usec == 0)
        return p;
    *p++ = '.';
    p = put_padded(p, (uint64_t)usec, 6);
    while (p[-1] == '0')
        p--;
    return p;
}

static void add_clock_string(struct buf *b, int64_t usec)
{
    int64_t sec = usec / SECOND;
    char *p = buf_reserve(b, 32);

    *p++ = '"';
    p = put_padded(p, (uint64_t)(sec / 3600), 2);
    *p++ = ':';
    p = put_padded(p, (uint64_t)(sec / 60 % 60), 2);
    *p++ = ':';
    p = put_padded(p, (uint64_t)(sec % 60), 2);
    p = put_fraction(p, (int32_t)(usec % SECOND));
    *p++ = 'Z';
    *p++ = '"';
    buf_written(b, p);
}

/* The string that ends here gets a Z at its end. */
static void add_z(struct buf *b)
{
    b->data[b->len - 1] = 'Z';
    buf_add_char(b, '"');
}

/* The string that ends here, with a Z, gets zeros up to that many digits behind the second. */
static void pad_fraction(struct buf *b, int digits)
{
    const char *z = b->data + b->len - 2;
    int n = 0;

    if (*z != 'Z')
        return;
    while (scan_is_digit(z[-n - 1]))
        n++;
    if (z[-n - 1] == '.')
        digits -= n;
    if (digits <= 0)
        return;
    b->len -= 2;
    if (z[-n - 1] != '.')
        buf_add_char(b, '.');
    buf_add(b, "000000", (size_t)digits);
    buf_add(b, "Z\"", 2);
}

/* ---- dates and times ---- */

static bool write_date(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int infinity = moment_infinity(text, len);
    int64_t days = infinity > 0 ? DATE_INFINITY : DATE_MINUS_INFINITY;

    (void)rule;
    if (infinity == 0 && !moment_date(text, len, &days))
        return json_add_string(b, text, len);
    buf_add_i64(b, days);
    return true;
}

static bool write_date_iso(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (!date_add(b, text, len))
        return write_as_string(b, start, text, len);
    add_z(b);
    return true;
}

static bool write_time(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int places = places_of(rule);
    int64_t usec;
    struct moment m;

    if (!moment_time(text, len, &usec))
        return json_add_string(b, text, len);
    m = (struct moment){usec / SECOND, (int32_t)(usec % SECOND)};
    if (!fits(rule, places, m.usec))
        return json_add_string(b, text, len);
    add_number(b, m, places);
    return true;
}

static bool write_time_iso(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (!time_add(b, text, len))
        return write_as_string(b, start, text, len);
    add_z(b);
    return true;
}

static bool write_timestamp(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int places = places_of(rule);
    int infinity = moment_infinity(text, len);
    struct moment m;

    if (infinity != 0) {
        add_infinite_timestamp(b, infinity < 0, places);
        return true;
    }
    if (!moment_timestamp(text, len, &m) || !fits(rule, places, m.usec))
        return json_add_string(b, text, len);
    add_number(b, m, places);
    return true;
}

static bool write_timestamp_iso(struct buf *b, const char *text, size_t len,
                                const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (!timestamp_add(b, text, len))
        return write_as_string(b, start, text, len);
    add_z(b);
    return true;
}

/* As many digits as the column is declared with, 6 by default; none where none are. */
static bool write_timestamptz(struct buf *b, const char *text, size_t len,
                              const struct rule *rule)
{
    size_t start = b->len;

    if (!timestamptz_add(b, text, len))
        return write_as_string(b, start, text, len);
    pad_fraction(b, rule->typmod >= 0 && rule->typmod <= 6 ? rule->typmod : 6);
    return true;
}

/* The clock turns over at midnight, but 24:00:00 in UTC stays that. */
static bool write_timetz(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int64_t usec;
    int32_t zone;

    (void)rule;
    if (!moment_timetz(text, len, &usec, &zone))
        return json_add_string(b, text, len);
    if (usec != DAY || zone != 0)
        usec = (usec % DAY + DAY) % DAY;
    add_clock_string(b, usec);
    return true;
}

/* ---- intervals ---- */

static bool write_interval_numeric(struct buf *b, const char *text, size_t len,
                                   const struct rule *rule)
{
    const uint64_t billions = UINT64_C(10000000000000000000); /* 10^19 */
    unsigned __int128 magnitude;
    struct span span;
    __int128 usec;
    char *p;

    (void)rule;
    if (!moment_interval(text, len, &span))
        return json_add_string(b, text, len);
    usec = (__int128)span.months * MONTH + (__int128)span.days * DAY + span.usec;
    magnitude = (unsigned __int128)(usec < 0 ? -usec : usec);
    p = buf_reserve(b, 48);
    if (usec < 0)
        *p++ = '-';
    if (magnitude >= billions) {
        p = put_u64(p, (uint64_t)(magnitude / billions));
        p = put_padded(p, (uint64_t)(magnitude % billions), 19);
    } else {
        p = put_u64(p, (uint64_t)magnitude);
    }
    buf_written(b, p);
    return true;
}

static char *put_part(char *p, int64_t n, char designator)
{
    if (n < 0)
        *p++ = '-';
    p = put_u64(p, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
    *p++ = designator;
    return p;
}

static char *put_seconds(char *p, int64_t usec)
{
    if (usec < 0)
        *p++ = '-';
    usec = usec < 0 ? -usec : usec;
    p = put_u64(p, (uint64_t)(usec / SECOND));
    p = put_fraction(p, (int32_t)(usec % SECOND));
    *p++ = 'S';
    return p;
}

static bool write_interval_string(struct buf *b, const char *text, size_t len,
                                  const struct rule *rule)
{
    struct span span;
    char *p;

    (void)rule;
    if (!moment_interval(text, len, &span))
        return json_add_string(b, text, len);
    p = buf_reserve(b, 160); /* six parts */
    *p++ = '"';
    *p++ = 'P';
    p = put_part(p, span.months / 12, 'Y');
    p = put_part(p, span.months % 12, 'M');
    p = put_part(p, span.days, 'D');
    *p++ = 'T';
    p = put_part(p, span.usec / (3600 * SECOND), 'H');
    p = put_part(p, span.usec / (60 * SECOND) % 60, 'M');
    p = put_seconds(p, span.usec % (60 * SECOND));
    *p++ = '"';
    buf_written(b, p);
    return true;
}

/* ---- which of them ---- */

value_writer debezium_interval_writer(const struct handling *h)
{
    static const value_writer writers[] = {
        [AS_PROFILE] = NULL,
        [INTERVAL_NUMERIC] = write_interval_numeric,
        [INTERVAL_STRING] = write_interval_string,
    };

    return writers[handling_mode(h, (int)h->intervals)];
}

value_writer debezium_time_writer(enum type_kind kind, const struct handling *h)
{
    int mode = handling_mode(h, (int)h->times);

    if (mode == AS_PROFILE)
        return NULL;
    switch (kind) {
    case TYPE_DATE:
        return mode == TIME_ISOSTRING ? write_date_iso : write_date;
    case TYPE_TIME:
        return mode == TIME_ISOSTRING ? write_time_iso : write_time;
    case TYPE_TIMETZ:
        return write_timetz;
    case TYPE_TIMESTAMP:
        return mode == TIME_ISOSTRING ? write_timestamp_iso : write_timestamp;
    case TYPE_TIMESTAMPTZ:
        return write_timestamptz;
    default:
        return NULL;
    }
}
