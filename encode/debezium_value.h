/*
 * debezium_value - PostgreSQL's text of a value -> JSON as Debezium's connector writes it.
 *
 * In force with --types=debezium, and in the readable profile for those kinds of types whose mode
 * is given by --set.  Source: Debezium 3.x, "PostgreSQL connector: data type mappings", as its JSON
 * converter writes them without schemas.  The first mode of each property is the default.
 *
 *     numeric(p,s)   decimal.handling.mode: precise: base64 of the value times 10^s (decimal.h);
 *                    double: the nearest double's shortest digits, "NaN" "Infinity" "-Infinity";
 *                    string: string, "NAN" "POSITIVE_INFINITY" "NEGATIVE_INFINITY"
 *     numeric        precise: {"scale":s,"value":base64}, s being the digits that the text shows
 *     money          likewise, with money.fraction.digits of its digits behind the point
 *     date           days since 1970-01-01; isostring: "2017-09-15Z"
 *     time           time.precision.mode: adaptive: ms where declared with up to 3 digits, else us;
 *                    adaptive_time_microseconds, microseconds: us; connect: ms; nanoseconds: ns;
 *                    isostring: "04:05:11.789Z"
 *     timestamp      since 1970-01-01 00:00:00, as time; adaptive_time_microseconds: as adaptive
 *     timestamptz    "2016-11-04T11:51:30.123456Z", all digits that the column is declared with
 *     timetz         "11:51:30.123789Z"
 *     interval       interval.handling.mode: numeric: us, a month having 365.25 / 12 days;
 *                    string: "P1Y2M3DT4H5M6.78S", all six parts whatever they are
 *     bytea          binary.handling.mode: bytes, base64: base64; base64-url-safe; hex
 *     hstore         hstore.handling.mode: json: string that holds an object; map: the object
 *     bit(1), varbit(1)   true false
 *     bit, varbit    base64 of the bits, the last one the lowest of the first byte, up to the
 *                    highest that is set
 *     json, jsonb    string, verbatim
 *     point          {"x":1,"y":2,"wkb":base64,"srid":null}
 *     what Debezium leaves out    the server's text; include.unknown.datatypes=true: the bytes of
 *                    that, by binary.handling.mode
 *
 * Everything else is as in the readable profile, arrays too: of elements by these rules.
 *
 * Where Debezium would fail, drop or change a value there is one that does not: NaN and the
 * infinities of a numeric in precise are strings of that; numbers of microseconds and nanoseconds
 * are exact beyond 64 bits; numerics keep their trailing zeros; what no double comes near to
 * (1e400), and what has more digits than its column was declared with, is a string of the text.
 * Its numbers that stand for infinity are kept, for readers know them:
 *
 *     date        infinity -2147472692, -infinity -2147472691 (both far in the past, indeed)
 *     timestamp   us: 9223372036825200000, -9223372036832400000; ms: those / 1000;
 *                 ns: 9223372036854775807, -9223372036854775808
 *
 * connect is the one mode that loses digits, those behind the millisecond: it is what it is for.
 */
#ifndef ENCODE_DEBEZIUM_VALUE_H
#define ENCODE_DEBEZIUM_VALUE_H

#include "encode/value.h"

/* The writer that the settings ask for, or NULL where the readable form is the one. */
value_writer debezium_writer_for(const struct type *type, const struct handling *h);

/* Appends bytes as binary.handling.mode says: a JSON string of base64 or of hexadecimal digits. */
void debezium_add_bytes(struct buf *b, const void *bytes, size_t len, const struct handling *h);

/*
 * The placeholder as the values of the rule look: bytes as binary.handling.mode says, an array of
 * one where the elements are texts or bytea, a map with it as key and value; else, for numbers as
 * well, the string itself.
 */
void debezium_add_placeholder(struct buf *b, const struct rule *rule);

#endif
