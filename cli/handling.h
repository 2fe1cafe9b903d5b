/*
 * handling - how values are written: --types, and single rules of --set by Debezium's names.
 *
 * A mode that is not given is AS_PROFILE: what the profile says.  `readable` has forms of its own
 * that no mode names (encode/value.h); `debezium` has the first mode of each list below.
 */
#ifndef CLI_HANDLING_H
#define CLI_HANDLING_H

#include <stdbool.h>
#include <stddef.h>

enum types_profile { TYPES_READABLE, TYPES_DEBEZIUM };

enum { AS_PROFILE = 0 };

enum decimal_mode { DECIMAL_PRECISE = 1, DECIMAL_DOUBLE, DECIMAL_STRING };

enum time_mode {
    TIME_ADAPTIVE = 1,
    TIME_ADAPTIVE_MICROSECONDS, /* adaptive_time_microseconds */
    TIME_CONNECT,
    TIME_ISOSTRING,
    TIME_MICROSECONDS,
    TIME_NANOSECONDS,
};

enum interval_mode { INTERVAL_NUMERIC = 1, INTERVAL_STRING };

enum binary_mode { BINARY_BYTES = 1, BINARY_BASE64, BINARY_BASE64_URL_SAFE, BINARY_HEX };

enum hstore_mode { HSTORE_JSON = 1, HSTORE_MAP };

struct handling {
    enum types_profile profile;
    enum decimal_mode decimals;
    enum time_mode times;
    enum interval_mode intervals;
    enum binary_mode binaries;
    enum hstore_mode hstores;
    bool unknown_as_bytes;   /* include.unknown.datatypes */
    unsigned money_digits;   /* money.fraction.digits: how many are to be behind the point, */
    unsigned money_places;   /* and how many the server writes there, by its lc_monetary */
    const char *placeholder; /* unavailable.value.placeholder, without hex:; UTF-8, may hold NULs */
    size_t placeholder_len;
};

/* What is in force without --types and --set. */
extern const struct handling handling_default;

/*
 * Takes one NAME=VALUE of --set.  False when the name is not known or the value is not allowed:
 * logged, with what is allowed.  *h then borrows from text; the bytes of a placeholder behind hex:
 * are never freed.
 */
bool handling_set(struct handling *h, const char *text);

/* Which of the modes is in force; the first is what `debezium` begins with, readable has 0. */
static inline int handling_mode(const struct handling *h, int given)
{
    return given ? given : h->profile == TYPES_DEBEZIUM ? 1 : AS_PROFILE;
}

#endif
