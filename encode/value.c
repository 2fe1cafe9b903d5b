#include "encode/value.h"

#include <stdlib.h>

#include "base/log.h"
#include "encode/array.h"
#include "encode/datetime.h"
#include "encode/debezium_value.h"
#include "encode/hstore.h"
#include "encode/interval.h"
#include "encode/json.h"
#include "encode/json_text.h"
#include "encode/scan.h"

/*
 * Every writer tries the form that its type promises, and otherwise cuts the attempt off and
 * writes a string.  A text that is not valid UTF-8 never has the right form, so that the string
 * is the one place where this is told.
 */
static bool write_as_string(struct buf *b, size_t start, const char *text, size_t len)
{
    b->len = start;
    return json_add_string(b, text, len);
}

static bool write_text(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return json_add_string(b, text, len);
}

/* boolout() writes one letter, a cast to text the whole word. */
static bool write_bool(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    if ((len == 1 && *text == 't') || (len == 4 && memcmp(text, "true", 4) == 0))
        buf_add(b, "true", 4);
    else if ((len == 1 && *text == 'f') || (len == 5 && memcmp(text, "false", 5) == 0))
        buf_add(b, "false", 5);
    else
        return json_add_string(b, text, len);
    return true;
}

/* Copies digits, with a sign or not; false when that is not all, or no number in JSON. */
static bool add_integer(struct buf *b, const char *text, size_t len)
{
    char *p = buf_reserve(b, len);
    size_t first = len > 0 && *text == '-';

    if (len == first || (text[first] == '0' && len > first + 1))
        return false;
    *p = *text;
    for (size_t i = first; i < len; i++) {
        if (!scan_is_digit(text[i]))
            return false;
        p[i] = text[i];
    }
    b->len += len;
    return true;
}

static bool write_integer(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return add_integer(b, text, len) || write_as_string(b, start, text, len);
}

/* What is no number in JSON is NaN and the infinities. */
static bool write_float(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    const char *end = text + len;

    (void)rule;
    if (len == 0 || json_text_number_end(text, end) != end)
        return json_add_string(b, text, len);
    buf_add(b, text, len);
    return true;
}

static bool write_json(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return json_text_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_date(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return date_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_time(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return time_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_timestamp(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return timestamp_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_timestamptz(struct buf *b, const char *text, size_t len,
                              const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return timestamptz_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_interval(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return interval_add(b, text, len) || write_as_string(b, start, text, len);
}

static bool write_bytea(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (len >= 2 && text[0] == '\\' && text[1] == 'x' &&
        json_add_base64_of_hex(b, text + 2, len - 2))
        return true;
    return write_as_string(b, start, text, len);
}

static bool write_array(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    return array_add(b, text, len, rule) || write_as_string(b, start, text, len);
}

static bool write_hstore(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    return hstore_add(b, text, len) || write_as_string(b, start, text, len);
}

static value_writer writer_for(const struct type *type)
{
    static const value_writer writers[TYPE_KINDS] = {
        [TYPE_BOOL] = write_bool,
        [TYPE_INTEGER] = write_integer,
        [TYPE_FLOAT] = write_float,
        [TYPE_NUMERIC] = write_text, /* a reader's numbers may lose digits, its strings do not */
        [TYPE_JSON] = write_json,
        [TYPE_DATE] = write_date,
        [TYPE_TIME] = write_time,
        [TYPE_TIMESTAMP] = write_timestamp,
        [TYPE_TIMESTAMPTZ] = write_timestamptz,
        [TYPE_INTERVAL] = write_interval,
        [TYPE_BYTEA] = write_bytea,
        [TYPE_ARRAY] = write_array,
        [TYPE_HSTORE] = write_hstore,
    };

    return type && writers[type->kind] ? writers[type->kind] : write_text;
}

void rule_init(struct rule *r, const struct type *type, int32_t typmod, const struct handling *h)
{
    value_writer debezium = debezium_writer_for(type, h);

    *r = (struct rule){
        .write = debezium ? debezium : writer_for(type),
        .type = type,
        .typmod = typmod >= 0 || !type ? typmod : type->typmod,
        .handling = h,
    };
    r->string = r->write == write_text;
    if (!type || type->kind != TYPE_ARRAY)
        return;
    r->element = xcalloc(1, sizeof *r->element);
    rule_init(r->element, type->element, r->typmod, h);
}

void rule_release(struct rule *r)
{
    if (r->element)
        rule_release(r->element);
    free(r->element);
    r->element = NULL;
}

void value_add_placeholder(struct buf *b, const struct rule *rule)
{
    const struct handling *h = rule->handling;

    if (h->profile == TYPES_DEBEZIUM)
        debezium_add_placeholder(b, rule);
    else
        json_add_string(b, h->placeholder, h->placeholder_len);
}
