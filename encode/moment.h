/*
 * moment - texts of dates and times (DateStyle ISO, TimeZone UTC) -> numbers.
 *
 * Days and seconds count from 1970-01-01 (UTC where there is a zone) in the proleptic Gregorian
 * calendar, as PostgreSQL's own do; years before Christ are read as the server writes them
 * ("0044-03-15 BC").  All functions return false when the text has another form: infinity and
 * -infinity are such, see moment_infinity().
 */
#ifndef ENCODE_MOMENT_H
#define ENCODE_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A point in time.  usec is 0 to 999999, also before 1970. */
struct moment {
    int64_t sec;
    int32_t usec;
};

bool moment_date(const char *text, size_t len, int64_t *days);

/* Since midnight, in microseconds; 24:00:00 is 86400000000. */
bool moment_time(const char *text, size_t len, int64_t *usec);

/* Since midnight UTC: below 0 or above a day where *zone, seconds to the east, takes it there. */
bool moment_timetz(const char *text, size_t len, int64_t *usec, int32_t *zone);

/* timestamp, and timestamptz with a zone at its end. */
bool moment_timestamp(const char *text, size_t len, struct moment *m);
bool moment_timestamptz(const char *text, size_t len, struct moment *m);

/* 1 for infinity, -1 for -infinity, else 0. */
int moment_infinity(const char *text, size_t len);

/* IntervalStyle postgres: the parts that PostgreSQL keeps apart. */
struct span {
    int64_t months;
    int64_t days;
    int64_t usec;
};

bool moment_interval(const char *text, size_t len, struct span *span);

/* *usec: the moment as one number; false where that is beyond an int64. */
bool moment_usec(const struct moment *m, int64_t *usec);

#endif
