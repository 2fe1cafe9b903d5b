/*
 * avro_value - PostgreSQL's text of a value -> Avro's binary encoding (CONTRACT, section 6).
 *
 * Sources: Avro specification 1.11, "Binary Encoding" and "Logical Types".  By kind of type:
 *
 *     bool int2 int4 int8 oid   boolean int int long long
 *     float4 float8             float double (NaN and the infinities are values of theirs)
 *     numeric(p,s)              bytes, logical type decimal(p,s); numeric without: string
 *     date time timestamp       date, time-micros, local-timestamp-micros
 *     timestamptz uuid          timestamp-micros; string with logical type uuid
 *     bytea                     bytes
 *     arrays                    array of ["null", T]; string with the server's text where an array
 *                               of that column may have more dimensions, see below
 *     hstore                    map of ["null", "string"]
 *     everything else           string with the server's text
 *
 * Single rules of --set: decimal.handling.mode double or string, time.precision.mode isostring
 * (strings as in the readable profile), interval.handling.mode numeric (long, microseconds) or
 * string, binary.handling.mode base64, base64-url-safe or hex (strings), hstore.handling.mode json.
 */
#ifndef ENCODE_AVRO_VALUE_H
#define ENCODE_AVRO_VALUE_H

#include <cjson/cJSON.h>

#include "encode/value.h"

/*
 * Makes the rule for Avro; released as any other.  rule.write appends T alone, not the index of a
 * union's branch, and returns false when T does not hold the value: see avro_value_fault().
 */
void avro_rule_init(struct rule *r, const struct type *type, int32_t typmod,
                    const struct handling *h);

/* T as a schema; the caller owns it. */
cJSON *avro_value_schema(const struct rule *r);

/*
 * Why rule.write refused the text: words that go behind "could not write column …: ", and what to do
 * about it in *hint (or NULL).  Both are string literals.
 */
const char *avro_value_fault(const struct rule *r, const char *text, size_t len, const char **hint);

/* int and long: zig-zag, seven bits a byte.  At most 10 bytes. */
static inline char *avro_put_long(char *p, int64_t n)
{
    uint64_t z = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);

    for (; z >= 0x80; z >>= 7)
        *p++ = (char)(z | 0x80);
    *p++ = (char)z;
    return p;
}

static inline void avro_add_long(struct buf *b, int64_t n)
{
    buf_written(b, avro_put_long(buf_reserve(b, 10), n));
}

/* string and bytes: the length, then the bytes. */
static inline void avro_add_bytes(struct buf *b, const void *bytes, size_t len)
{
    avro_add_long(b, (int64_t)len);
    buf_add(b, bytes, len);
}

#endif
