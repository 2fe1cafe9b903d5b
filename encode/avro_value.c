#include "encode/avro_value.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "encode/avro_array.h"
#include "encode/datetime.h"
#include "encode/decimal.h"
#include "encode/hstore.h"
#include "encode/interval.h"
#include "encode/json.h"
#include "encode/json_text.h"
#include "encode/moment.h"
#include "encode/scan.h"

/* Object identifiers of pg_type, the same for ever. */
enum { INT2_OID = 21, INT4_OID = 23, FLOAT4_OID = 700 };

/* ---- lengths and strings ---- */

void avro_set_long(struct buf *b, size_t at, int64_t n)
{
    char number[10];
    size_t more;

    if (n >= 0 && n < 64) {
        b->data[at] = (char)(n << 1);
        return;
    }
    more = (size_t)(avro_put_long(number, n) - number) - 1;
    if (more > 0) {
        buf_reserve(b, more);
        memmove(b->data + at + 1 + more, b->data + at + 1, b->len - at - 1);
        b->len += more;
    }
    memcpy(b->data + at, number, more + 1);
}

bool avro_add_string(struct buf *b, const char *text, size_t len)
{
    char *p = avro_put_long(buf_reserve(b, len + 10), (int64_t)len);

    buf_written(b, put_few(p, text, len));
    return scan_is_utf8(text, len);
}

/*
 * Makes a string of the JSON string that begins at start and holds no escapes: the first quote
 * gives its place to the length, the last one goes.
 */
static void take_quotes_off(struct buf *b, size_t start)
{
    b->len--;
    avro_set_long(b, start, (int64_t)(b->len - start - 1));
}

static bool write_string(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return avro_add_string(b, text, len);
}

/* What makes a JSON string of ASCII characters of a text; false when that has another form. */
typedef bool (*json_adder)(struct buf *b, const char *text, size_t len);

/* A text of another form stays as it is, as in the readable profile: infinity. */
static bool add_as(json_adder add, struct buf *b, const char *text, size_t len)
{
    size_t start = b->len;

    if (add(b, text, len)) {
        take_quotes_off(b, start);
        return true;
    }
    b->len = start;
    return avro_add_string(b, text, len);
}

static bool write_iso_date(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return add_as(date_add, b, text, len);
}

static bool write_iso_time(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return add_as(time_add, b, text, len);
}

static bool write_iso_timestamp(struct buf *b, const char *text, size_t len,
                                const struct rule *rule)
{
    (void)rule;
    return add_as(timestamp_add, b, text, len);
}

static bool write_iso_timestamptz(struct buf *b, const char *text, size_t len,
                                  const struct rule *rule)
{
    (void)rule;
    return add_as(timestamptz_add, b, text, len);
}

static bool write_iso_interval(struct buf *b, const char *text, size_t len,
                               const struct rule *rule)
{
    (void)rule;
    return add_as(interval_add, b, text, len);
}

/* 8-4-4-4-12 hexadecimal digits, as readers that make more than a string of it rely on that. */
static bool write_uuid(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    if (len != 36)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (i == 8 || i == 13 || i == 18 || i == 23 ? c != '-'
                                                    : !scan_is_digit(c) && (c < 'a' || c > 'f'))
            return false;
    }
    avro_add_bytes(b, text, len);
    return true;
}

static bool write_hstore_json(struct buf *b, const char *text, size_t len,
                              const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    buf_add_char(b, 0);
    if (!hstore_add(b, text, len))
        return false;
    avro_set_long(b, start, (int64_t)(b->len - start - 1));
    return true;
}

/* ---- bytes ---- */

/* \x and an even number of hexadecimal digits: returns the digits, NULL when it is not that. */
static const char *hex_of_bytea(const char *text, size_t len, size_t *ndigits)
{
    if (len < 2 || len % 2 || text[0] != '\\' || text[1] != 'x')
        return NULL;
    *ndigits = len - 2;
    return text + 2;
}

/* Above 15 where it is no digit. */
static inline unsigned hex_value(char c)
{
    unsigned digit = (unsigned char)c - (unsigned)'0';
    unsigned letter = ((unsigned char)c | 0x20u) - (unsigned)'a';

    return digit < 10 ? digit : letter < 6 ? letter + 10 : 16;
}

static bool write_bytes(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t ndigits;
    const char *hex = hex_of_bytea(text, len, &ndigits);
    unsigned all = 0;
    char *p;

    (void)rule;
    if (!hex)
        return false;
    avro_add_long(b, (int64_t)(ndigits / 2));
    p = buf_reserve(b, ndigits / 2);
    for (size_t i = 0; i < ndigits; i += 2) {
        unsigned high = hex_value(hex[i]);
        unsigned low = hex_value(hex[i + 1]);

        all |= high | low;
        *p++ = (char)(high << 4 | low);
    }
    buf_written(b, p);
    return all < 16;
}

static bool write_hex(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t ndigits;
    const char *hex = hex_of_bytea(text, len, &ndigits);

    (void)rule;
    if (!hex)
        return false;
    for (size_t i = 0; i < ndigits; i++)
        if (hex_value(hex[i]) > 15)
            return false;
    avro_add_bytes(b, hex, ndigits);
    return true;
}

static bool write_base64(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;
    size_t ndigits;
    const char *hex = hex_of_bytea(text, len, &ndigits);

    (void)rule;
    if (!hex || !json_add_base64_of_hex(b, hex, ndigits))
        return false;
    take_quotes_off(b, start);
    return true;
}

static size_t base64_length(size_t nbytes)
{
    return (nbytes + 2) / 3 * 4;
}

static bool write_base64_url(struct buf *b, const char *text, size_t len,
                             const struct rule *rule)
{
    char *end;

    if (!write_base64(b, text, len, rule))
        return false;
    end = b->data + b->len;
    for (char *p = end - base64_length((len - 2) / 2); p < end; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    return true;
}

/* ---- numbers ---- */

/* boolout() writes one letter, a cast to text the whole word. */
static bool write_boolean(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    bool is_true = (len == 1 && *text == 't') || (len == 4 && memcmp(text, "true", 4) == 0);
    bool is_false = (len == 1 && *text == 'f') || (len == 5 && memcmp(text, "false", 5) == 0);

    (void)rule;
    buf_add_char(b, is_true);
    return is_true || is_false;
}

/* Digits, with a minus or not; false when that is not all, or more than an int64 holds. */
static bool read_integer(const char *text, size_t len, int64_t *n)
{
    size_t negative = len > 0 && *text == '-';
    uint64_t magnitude = 0;

    if (len == negative || len - negative > 19 || (text[negative] == '0' && len > negative + 1))
        return false;
    for (size_t i = negative; i < len; i++) {
        if (!scan_is_digit(text[i]))
            return false;
        magnitude = magnitude * 10 + (uint64_t)(text[i] - '0');
    }
    *n = (int64_t)(negative ? 0 - magnitude : magnitude);
    return magnitude <= (uint64_t)INT64_MAX + negative;
}

static bool write_long(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int64_t n;

    (void)rule;
    if (!read_integer(text, len, &n))
        return false;
    avro_add_long(b, n);
    return true;
}

static bool write_int(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int64_t n;

    (void)rule;
    if (!read_integer(text, len, &n) || n != (int32_t)n)
        return false;
    avro_add_long(b, n);
    return true;
}

/* Lowest byte first. */
static void add_bits(struct buf *b, uint64_t bits, size_t nbytes)
{
    char *p = buf_reserve(b, nbytes);

    for (size_t i = 0; i < nbytes; i++)
        p[i] = (char)(bits >> 8 * i & 0xff);
    b->len += nbytes;
}

static void add_float(struct buf *b, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    add_bits(b, bits, sizeof bits);
}

static void add_double(struct buf *b, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    add_bits(b, bits, sizeof bits);
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* NaN and the infinities, which all floats have. */
static bool read_special(const char *text, size_t len, float *value)
{
    if (is_word(text, len, "NaN"))
        *value = NAN;
    else if (is_word(text, len, "Infinity"))
        *value = INFINITY;
    else if (is_word(text, len, "-Infinity"))
        *value = -INFINITY;
    else
        return false;
    return true;
}

/*
 * A copy of the number that ends in NUL, as strtod() wants it, in b's room and not of b's content;
 * NULL when it is no number, so that what else strtod() takes for one never gets there.
 */
static const char *number_text(struct buf *b, const char *text, size_t len)
{
    char *copy;

    if (len == 0 || json_text_number_end(text, text + len) != text + len)
        return NULL;
    copy = buf_reserve(b, len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

/*
 * Most numbers are short: an integer of 53 bits by a power of ten up to 22 is a quotient of two
 * doubles that are exact, so rounded just once and right.  Of floats that is so for 24 bits and
 * powers up to 10.  False when it is not one of these.
 */
#define SHORT_DIGITS 19

static bool read_short(const char *text, size_t len, uint64_t *digits, size_t *places)
{
    size_t point = len;

    *digits = 0;
    if (len == 0 || len > SHORT_DIGITS || text[0] == '.' || text[len - 1] == '.' ||
        (text[0] == '0' && len > 1 && text[1] != '.'))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';

        if (digit < 10)
            *digits = *digits * 10 + digit;
        else if (text[i] == '.' && point == len)
            point = i;
        else
            return false;
    }
    *places = point == len ? 0 : len - point - 1;
    return true;
}

static bool read_short_double(const char *text, size_t len, double *value)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    size_t negative = len > 0 && *text == '-', places;
    uint64_t digits;

    if (FLT_EVAL_METHOD != 0 || !read_short(text + negative, len - negative, &digits, &places) ||
        digits > UINT64_C(1) << 53)
        return false;
    *value = (double)digits / powers[places];
    if (negative)
        *value = -*value;
    return true;
}

static bool read_short_float(const char *text, size_t len, float *value)
{
    static const float powers[] = {1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F,
                                   1e6F, 1e7F, 1e8F, 1e9F, 1e10F};
    size_t negative = len > 0 && *text == '-', places;
    uint64_t digits;

    if (FLT_EVAL_METHOD != 0 || !read_short(text + negative, len - negative, &digits, &places) ||
        digits > UINT64_C(1) << 24 || places > 10)
        return false;
    *value = (float)digits / powers[places];
    if (negative)
        *value = -*value;
    return true;
}

static bool write_float(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    const char *copy;
    float value;

    (void)rule;
    if (!read_short_float(text, len, &value) && !read_special(text, len, &value)) {
        copy = number_text(b, text, len);
        if (!copy)
            return false;
        value = strtof(copy, NULL);
        if (isinf(value))
            return false;
    }
    add_float(b, value);
    return true;
}

static bool write_double(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    const char *copy;
    float special;
    double value;

    (void)rule;
    if (read_special(text, len, &special)) {
        value = (double)special;
    } else if (!read_short_double(text, len, &value)) {
        copy = number_text(b, text, len);
        if (!copy)
            return false;
        value = strtod(copy, NULL);
        if (isinf(value))
            return false;
    }
    add_double(b, value);
    return true;
}

/* Whether typmod is that of a decimal of Avro's. */
static bool decimal_of(int32_t typmod, int *precision, int *scale)
{
    return decimal_typmod(typmod, precision, scale) && *precision > 0 && *scale >= 0 &&
           *scale <= *precision;
}

/* Digits before the point, apart from leading zeros. */
static size_t integer_digits(const char *text, size_t len)
{
    const char *s = text;
    const char *end = text + len;
    const char *start;

    if (s < end && *s == '-')
        s++;
    while (s < end && *s == '0')
        s++;
    for (start = s; s < end && scan_is_digit(*s);)
        s++;
    return (size_t)(s - start);
}

static bool write_decimal(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;
    int precision, scale;

    if (!decimal_of(rule->typmod, &precision, &scale) ||
        integer_digits(text, len) > (size_t)(precision - scale))
        return false;
    buf_add_char(b, 0);
    if (!decimal_add(b, text, len, scale))
        return false;
    avro_set_long(b, start, (int64_t)(b->len - start - 1));
    return true;
}

/* ---- dates and times ---- */

static bool write_date(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int64_t days;

    (void)rule;
    if (!moment_date(text, len, &days) || days != (int32_t)days)
        return false;
    avro_add_long(b, days);
    return true;
}

static bool write_time(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    int64_t usec;

    (void)rule;
    if (!moment_time(text, len, &usec))
        return false;
    avro_add_long(b, usec);
    return true;
}

static bool write_timestamp(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct moment m;
    int64_t usec;

    (void)rule;
    if (!moment_timestamp(text, len, &m) || !moment_usec(&m, &usec))
        return false;
    avro_add_long(b, usec);
    return true;
}

static bool write_timestamptz(struct buf *b, const char *text, size_t len,
                              const struct rule *rule)
{
    struct moment m;
    int64_t usec;

    (void)rule;
    if (!moment_timestamptz(text, len, &m) || !moment_usec(&m, &usec))
        return false;
    avro_add_long(b, usec);
    return true;
}

/* A month is a twelfth of 365.25 days. */
static bool write_interval(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    const int64_t day = INT64_C(86400000000);
    const int64_t month = day * 30 + day * 7 / 16;
    struct span span;
    __int128 usec;

    (void)rule;
    if (!moment_interval(text, len, &span))
        return false;
    usec = (__int128)span.months * month + (__int128)span.days * day + span.usec;
    if (usec < INT64_MIN || usec > INT64_MAX)
        return false;
    avro_add_long(b, (int64_t)usec);
    return true;
}

/* ---- arrays and hstores ---- */

/* With the branch of the union, as the header says. */
static bool write_array(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    avro_add_long(b, 1);
    if (avro_array_add(b, text, len, rule))
        return true;
    b->len = start;
    avro_add_long(b, 2);
    return avro_add_string(b, text, len);
}

static bool write_map(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return avro_map_add(b, text, len);
}

/* ---- the form of a column's values ---- */

enum form {
    FORM_STRING,
    FORM_UUID,
    FORM_BOOLEAN,
    FORM_INT,
    FORM_LONG,
    FORM_FLOAT,
    FORM_DOUBLE,
    FORM_DECIMAL,
    FORM_NUMERIC_DOUBLE,
    FORM_DATE,
    FORM_TIME,
    FORM_TIMESTAMP,
    FORM_TIMESTAMPTZ,
    FORM_INTERVAL,
    FORM_ISO_DATE,
    FORM_ISO_TIME,
    FORM_ISO_TIMESTAMP,
    FORM_ISO_TIMESTAMPTZ,
    FORM_ISO_INTERVAL,
    FORM_BYTES,
    FORM_HEX,
    FORM_BASE64,
    FORM_BASE64_URL,
    FORM_ARRAY,
    FORM_MAP,
    FORM_HSTORE_JSON,
};

static const struct {
    value_writer write;
    const char *type; /* Avro's; NULL for those that take more than a word */
    const char *logical;
} forms[] = {
    [FORM_STRING] = {write_string, "string", NULL},
    [FORM_UUID] = {write_uuid, "string", "uuid"},
    [FORM_BOOLEAN] = {write_boolean, "boolean", NULL},
    [FORM_INT] = {write_int, "int", NULL},
    [FORM_LONG] = {write_long, "long", NULL},
    [FORM_FLOAT] = {write_float, "float", NULL},
    [FORM_DOUBLE] = {write_double, "double", NULL},
    [FORM_DECIMAL] = {write_decimal, "bytes", "decimal"},
    [FORM_NUMERIC_DOUBLE] = {write_double, "double", NULL},
    [FORM_DATE] = {write_date, "int", "date"},
    [FORM_TIME] = {write_time, "long", "time-micros"},
    [FORM_TIMESTAMP] = {write_timestamp, "long", "local-timestamp-micros"},
    [FORM_TIMESTAMPTZ] = {write_timestamptz, "long", "timestamp-micros"},
    [FORM_INTERVAL] = {write_interval, "long", NULL},
    [FORM_ISO_DATE] = {write_iso_date, "string", NULL},
    [FORM_ISO_TIME] = {write_iso_time, "string", NULL},
    [FORM_ISO_TIMESTAMP] = {write_iso_timestamp, "string", NULL},
    [FORM_ISO_TIMESTAMPTZ] = {write_iso_timestamptz, "string", NULL},
    [FORM_ISO_INTERVAL] = {write_iso_interval, "string", NULL},
    [FORM_BYTES] = {write_bytes, "bytes", NULL},
    [FORM_HEX] = {write_hex, "string", NULL},
    [FORM_BASE64] = {write_base64, "string", NULL},
    [FORM_BASE64_URL] = {write_base64_url, "string", NULL},
    [FORM_ARRAY] = {write_array, NULL, NULL},
    [FORM_MAP] = {write_map, NULL, NULL},
    [FORM_HSTORE_JSON] = {write_hstore_json, "string", NULL},
};

static enum form form_of_numeric(const struct rule *r)
{
    int precision, scale;

    if (r->handling->decimals == DECIMAL_DOUBLE)
        return FORM_NUMERIC_DOUBLE;
    if (r->handling->decimals == DECIMAL_STRING || !decimal_of(r->typmod, &precision, &scale))
        return FORM_STRING;
    return FORM_DECIMAL;
}

static enum form form_of_bytea(const struct rule *r)
{
    switch (r->handling->binaries) {
    case BINARY_BASE64:
        return FORM_BASE64;
    case BINARY_BASE64_URL_SAFE:
        return FORM_BASE64_URL;
    case BINARY_HEX:
        return FORM_HEX;
    default:
        return FORM_BYTES;
    }
}

static enum form form_of_interval(const struct rule *r)
{
    switch (r->handling->intervals) {
    case INTERVAL_NUMERIC:
        return FORM_INTERVAL;
    case INTERVAL_STRING:
        return FORM_ISO_INTERVAL;
    default:
        return FORM_STRING;
    }
}

static enum form form_of(const struct rule *r)
{
    bool iso = r->handling->times == TIME_ISOSTRING;

    switch (r->type ? r->type->kind : TYPE_TEXT) {
    case TYPE_BOOL:
        return FORM_BOOLEAN;
    case TYPE_INTEGER:
        return r->type->oid == INT2_OID || r->type->oid == INT4_OID ? FORM_INT : FORM_LONG;
    case TYPE_FLOAT:
        return r->type->oid == FLOAT4_OID ? FORM_FLOAT : FORM_DOUBLE;
    case TYPE_NUMERIC:
        return form_of_numeric(r);
    case TYPE_DATE:
        return iso ? FORM_ISO_DATE : FORM_DATE;
    case TYPE_TIME:
        return iso ? FORM_ISO_TIME : FORM_TIME;
    case TYPE_TIMESTAMP:
        return iso ? FORM_ISO_TIMESTAMP : FORM_TIMESTAMP;
    case TYPE_TIMESTAMPTZ:
        return iso ? FORM_ISO_TIMESTAMPTZ : FORM_TIMESTAMPTZ;
    case TYPE_INTERVAL:
        return form_of_interval(r);
    case TYPE_BYTEA:
        return form_of_bytea(r);
    case TYPE_UUID:
        return FORM_UUID;
    case TYPE_ARRAY:
        return FORM_ARRAY;
    case TYPE_HSTORE:
        return r->handling->hstores == HSTORE_JSON ? FORM_HSTORE_JSON : FORM_MAP;
    default:
        return FORM_STRING;
    }
}

void avro_rule_init(struct rule *r, const struct type *type, int32_t typmod,
                    const struct handling *h)
{
    rule_init(r, type, typmod, h);
    for (; r; r = r->element)
        r->write = forms[form_of(r)].write;
}

/* ---- schemas ---- */

static cJSON *string_union(void)
{
    static const char *const branches[] = {"null", "string"};

    return cJSON_CreateStringArray(branches, 2);
}

static cJSON *map_schema(void)
{
    cJSON *map = cJSON_CreateObject();

    cJSON_AddStringToObject(map, "type", "map");
    cJSON_AddItemToObject(map, "values", string_union());
    return map;
}

static cJSON *logical_schema(enum form form, int32_t typmod)
{
    cJSON *schema = cJSON_CreateObject();
    int precision, scale;

    cJSON_AddStringToObject(schema, "type", forms[form].type);
    cJSON_AddStringToObject(schema, "logicalType", forms[form].logical);
    if (form == FORM_DECIMAL && decimal_of(typmod, &precision, &scale)) {
        cJSON_AddNumberToObject(schema, "precision", precision);
        cJSON_AddNumberToObject(schema, "scale", scale);
    }
    return schema;
}

/* Arrays of arrays are of domains over them: types end, so this does. */
static cJSON *array_schemas(const struct rule *r)
{
    cJSON *schemas = cJSON_CreateArray();
    cJSON *array = cJSON_CreateObject();

    cJSON_AddStringToObject(array, "type", "array");
    cJSON_AddItemToObject(array, "items", avro_value_union(r->element));
    cJSON_AddItemToArray(schemas, array);
    cJSON_AddItemToArray(schemas, cJSON_CreateString("string"));
    return schemas;
}

cJSON *avro_value_schema(const struct rule *r)
{
    enum form form = form_of(r);

    if (form == FORM_ARRAY)
        return array_schemas(r);
    if (form == FORM_MAP)
        return map_schema();
    if (forms[form].logical)
        return logical_schema(form, r->typmod);
    return cJSON_CreateString(forms[form].type);
}

cJSON *avro_value_union(const struct rule *r)
{
    cJSON *schema = avro_value_schema(r);

    if (!avro_writes_branch(r)) {
        cJSON *branches = cJSON_CreateArray();

        cJSON_AddItemToArray(branches, schema);
        schema = branches;
    }
    cJSON_InsertItemInArray(schema, 0, cJSON_CreateString("null"));
    return schema;
}

/* ---- faults ---- */

static const char *fault_of_number(const char *text, size_t len, const char **hint)
{
    float special;
    bool is_special = read_special(text, len, &special);

    if (!is_special && (len == 0 || json_text_number_end(text, text + len) != text + len))
        return NULL;
    *hint = "Use --set decimal.handling.mode=string to write such columns as text.";
    return is_special ? "Avro's decimals have neither NaN nor infinity"
                      : "the number is beyond what its Avro type holds";
}

/* add is the form's in ISO 8601, which has room for any time: it tells whether the text is one. */
static const char *fault_of_time(json_adder add, const char *text, size_t len, const char **hint)
{
    bool infinite = moment_infinity(text, len) != 0;
    struct buf scratch;
    bool is_time;

    buf_init(&scratch, len + 32);
    is_time = add(&scratch, text, len);
    buf_release(&scratch);
    if (!infinite && !is_time)
        return NULL;
    *hint = "Use --set time.precision.mode=isostring to write dates and times as text.";
    return infinite ? "Avro's dates and timestamps have no infinity"
                    : "the time is beyond what its Avro type holds";
}

static const char *fault_of_interval(const char *text, size_t len, const char **hint)
{
    struct span span;

    if (moment_infinity(text, len) == 0 && !moment_interval(text, len, &span))
        return NULL;
    *hint = "Use --set interval.handling.mode=string to write intervals as text.";
    return "the interval is beyond 64 bits of microseconds";
}

static const char *fault_of_form(enum form form, const char *text, size_t len, const char **hint)
{
    switch (form) {
    case FORM_DECIMAL:
    case FORM_NUMERIC_DOUBLE:
        return fault_of_number(text, len, hint);
    case FORM_DATE:
        return fault_of_time(date_add, text, len, hint);
    case FORM_TIMESTAMP:
        return fault_of_time(timestamp_add, text, len, hint);
    case FORM_TIMESTAMPTZ:
        return fault_of_time(timestamptz_add, text, len, hint);
    case FORM_INTERVAL:
        return fault_of_interval(text, len, hint);
    default:
        return NULL;
    }
}

const char *avro_value_fault(const struct rule *r, const char *text, size_t len, const char **hint)
{
    const char *fault;

    *hint = NULL;
    if (!scan_is_utf8(text, len))
        return "the value is not valid UTF-8";
    fault = fault_of_form(form_of(r), text, len, hint);
    return fault ? fault : "the value has not the form that its type promises";
}
