/*
 * avro_value - PostgreSQL's text of a value -> Avro's binary encoding (CONTRACT, section 6).
 *
 * Sources: Avro specification 1.11, "Binary Encoding" and "Logical Types".  By kind of type:
 *
 *     bool int2 int4 int8 oid   boolean int int long long
 *     float4 float8             float double (NaN and the infinities are values of theirs)
 *     numeric(p,s)              bytes, logical type decimal(p,s); string without p, and where s is
 *                               below 0 or above p, as Avro has no such decimals
 *     date time timestamp       date, time-micros, local-timestamp-micros
 *     timestamptz uuid          timestamp-micros; string with logical type uuid
 *     bytea                     bytes
 *     arrays                    array of ["null", T], or string, see below
 *     hstore                    map of ["null", "string"]
 *     everything else           string with the server's text
 *
 * Single rules of --set: decimal.handling.mode double or string, time.precision.mode isostring
 * (strings as in the readable profile), interval.handling.mode numeric (long, microseconds) or
 * string (likewise), binary.handling.mode base64, base64-url-safe or hex (strings),
 * hstore.handling.mode json (a string).
 *
 * Every other value that T does not hold is refused, so that a union need not have more than null
 * and T.  Arrays are the exception: a column's declaration says nothing of dimensions, and Avro's
 * arrays have one.  So a column of arrays has two T, ["null", {"type":"array",…}, "string"], and
 * the string is the server's text of what is no array of T: one with more dimensions, or with an
 * element that T does not hold.  As in JSON, bounds of arrays not counted from 1 are left out.
 */
#ifndef ENCODE_AVRO_VALUE_H
#define ENCODE_AVRO_VALUE_H

#include <cjson/cJSON.h>

#include "encode/value.h"

/*
 * Makes the rule for Avro; released as any other.  rule.write appends T alone, not the index of a
 * union's branch, unless avro_writes_branch(); it returns false when T does not hold the value: see
 * avro_value_fault().
 */
void avro_rule_init(struct rule *r, const struct type *type, int32_t typmod,
                    const struct handling *h);

/*
 * Whether rule.write appends the index of the branch, too: of arrays, for which it chooses one.
 * The union has to be null, which is 0 and for the caller to write, and behind it the two of
 * avro_value_schema().
 */
static inline bool avro_writes_branch(const struct rule *r)
{
    return r->element != NULL;
}

/* T as a schema; of a rule that writes branches the two T, in a JSON array.  The caller owns it. */
cJSON *avro_value_schema(const struct rule *r);

/* The same as a union with null, which is what a nullable column has.  The caller owns it. */
cJSON *avro_value_union(const struct rule *r);

/* Appends a value that is not null as one of avro_value_union().  False as rule.write. */
static inline bool avro_add_in_union(struct buf *b, const char *text, size_t len,
                                     const struct rule *r)
{
    if (!avro_writes_branch(r))
        buf_add_char(b, 2); /* branch 1 */
    return r->write(b, text, len, r);
}

/* A null in such a union. */
static inline void avro_add_null(struct buf *b)
{
    buf_add_char(b, 0);
}

/*
 * Why rule.write refused the text: words that go behind "could not write column …: ", and what to
 * do about it, a sentence, in *hint (or NULL).  Both are string literals.
 */
const char *avro_value_fault(const struct rule *r, const char *text, size_t len, const char **hint);

/* int and long: zig-zag, seven bits a byte.  At most 10 bytes. */
static inline char *avro_put_long(char *p, int64_t n)
{
    uint64_t z = ((uint64_t)n << 1) ^ (n < 0 ? UINT64_MAX : 0);

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

/* A string; false, with what was appended the caller's to cut off, when it is not valid UTF-8. */
bool avro_add_string(struct buf *b, const char *text, size_t len);

/*
 * Writes a long over the one byte at `at`, moving what is behind it if one byte is not enough: for
 * lengths and counts, which are small most of the time, of what has to be written to be measured.
 */
void avro_set_long(struct buf *b, size_t at, int64_t n);

#endif
