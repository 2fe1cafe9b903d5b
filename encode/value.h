/*
 * value - PostgreSQL's text of a value -> JSON (CONTRACT, section 6).
 *
 * The stream and rows of tables go through the same formatters, so that a value looks the same
 * from both.  The session settings that these rely on are set in source/connection.c:
 * DateStyle ISO, IntervalStyle postgres, TimeZone UTC, bytea_output hex, extra_float_digits 3.
 *
 * The `readable` profile; that of Debezium, and the modes of --set, are debezium_value.h.
 *
 *     TYPE_BOOL         true false
 *     TYPE_INTEGER      number
 *     TYPE_FLOAT        number; "NaN" "Infinity" "-Infinity"
 *     TYPE_NUMERIC      string with the exact digits
 *     TYPE_TEXT         string, as all kinds that are not in this list
 *     TYPE_JSON         the value itself, white space between tokens removed
 *     TYPE_DATE         "2023-05-01"; years beyond 9999 and before 1 as ISO 8601 expanded years
 *                       ("+10000-01-01", "-0043-03-15": astronomical, year 0 is 1 BC); "infinity"
 *     TYPE_TIME         "12:34:56.789"
 *     TYPE_TIMESTAMP    "2023-05-01T12:34:56.789"
 *     TYPE_TIMESTAMPTZ  "2023-05-01T12:34:56.789Z"
 *     TYPE_INTERVAL     "P1Y2M3DT4H5M6.7S", "PT0S"; every part has its own sign
 *     TYPE_BYTEA        base64 with padding
 *     TYPE_ARRAY        JSON array, nested by dimension, elements by their own type
 *     TYPE_HSTORE       object; NULL values are null
 *
 * A text that does not have the form its type promises is never passed through raw, for it would
 * break the line: it becomes a JSON string of that text.  Invalid UTF-8 is the one thing that
 * cannot be written, and the only failure.
 */
#ifndef ENCODE_VALUE_H
#define ENCODE_VALUE_H

#include "base/buf.h"
#include "cdcdump.h"
#include "cli/handling.h"

struct rule;

/*
 * Appends what the rule makes of the len bytes at text.  Borrows text, which need not end in NUL.
 * Returns false when there is no such form of it: a text that is not valid UTF-8, or, in formats
 * that are stricter than JSON, a value that its type does not hold.  What was appended by then is
 * the caller's to cut off (b->len).
 */
typedef bool (*value_writer)(struct buf *b, const char *text, size_t len, const struct rule *rule);

/* How the values of one column, or the elements of one array, are written.  Owns `element`. */
struct rule {
    value_writer write;
    bool string; /* write is a call of json_add_string() and nothing else */
    const struct type *type; /* NULL = not known: text */
    int32_t typmod;          /* the column's, or that of the domain; -1 = none */
    const struct handling *handling;
    struct rule *element; /* arrays, else NULL */
};

/* Makes the rule for JSON: worked out once per column, used once per value. */
void rule_init(struct rule *r, const struct type *type, int32_t typmod, const struct handling *h);
void rule_release(struct rule *r);

/* What stands for a value that is not known, though it is not null: as the rule's values look. */
void value_add_placeholder(struct buf *b, const struct rule *rule);

/* Appends text as a JSON string, quotes included.  False on invalid UTF-8. */
bool json_add_string(struct buf *b, const char *text, size_t len);

/*
 * The same at p, which is within the room that b has: there must be enough for all of text and two
 * quotes.  Returns the end, NULL on invalid UTF-8; b may have grown, so that the end is elsewhere.
 */
char *json_put_string(struct buf *b, char *p, const char *text, size_t len);

/* A name from the catalogs as a JSON string; of one that is not UTF-8 all but ASCII becomes "?". */
void json_add_name(struct buf *b, const char *name);

/* Appends bytes as a JSON string of base64. */
void json_add_base64(struct buf *b, const void *bytes, size_t len);

#endif
