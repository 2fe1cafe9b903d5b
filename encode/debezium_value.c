#include "encode/debezium_value.h"

#include <math.h>
#include <stdlib.h>

#include "binary/form.h"
#include "encode/debezium_time.h"
#include "encode/decimal.h"
#include "encode/hstore.h"
#include "encode/json.h"
#include "encode/json_text.h"
#include "encode/scan.h"

/*
 * As in value.c: each writer tries the form that its type promises, and otherwise cuts the attempt
 * off and writes a string.
 */
static bool write_as_string(struct buf *b, size_t start, const char *text, size_t len)
{
    b->len = start;
    return json_add_string(b, text, len);
}

static bool write_string(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    (void)rule;
    return json_add_string(b, text, len);
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* ---- bytes ---- */

/* Takes out what stands between the two. */
static void close_up(struct buf *b, size_t start, size_t end)
{
    memmove(b->data + start, b->data + end, b->len - end);
    b->len -= end - start;
}

/*
 * What was appended since start becomes a JSON string of base64.  That is written behind it and
 * moved over it: reserving the most that it can need keeps the source in its place.
 */
static void turn_into_base64(struct buf *b, size_t start)
{
    size_t end = b->len;

    buf_reserve(b, (end - start) / 3 * 4 + 6);
    json_add_base64(b, b->data + start, end - start);
    close_up(b, start, end);
}

/*
 * Likewise, the text itself: JSON, which has escapes but no control characters, so that no byte
 * becomes more than two.
 */
static bool turn_into_string(struct buf *b, size_t start)
{
    size_t end = b->len;

    buf_reserve(b, 2 * (end - start) + 16);
    if (!json_add_string(b, b->data + start, end - start))
        return false;
    close_up(b, start, end);
    return true;
}

/* RFC 4648, section 5. */
static void make_url_safe(struct buf *b, size_t start)
{
    for (char *p = b->data + start; p < b->data + b->len; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

static void add_hex(struct buf *b, const char *bytes, size_t len)
{
    char *p = buf_reserve(b, 2 * len + 2);

    *p++ = '"';
    for (size_t i = 0; i < len; i++)
        p = put_hex_byte(p, (unsigned char)bytes[i]);
    *p++ = '"';
    buf_written(b, p);
}

void debezium_add_bytes(struct buf *b, const void *bytes, size_t len, const struct handling *h)
{
    size_t start = b->len;

    if (h->binaries == BINARY_HEX) {
        add_hex(b, bytes, len);
        return;
    }
    json_add_base64(b, bytes, len);
    if (h->binaries == BINARY_BASE64_URL_SAFE)
        make_url_safe(b, start);
}

static bool write_unknown(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    debezium_add_bytes(b, text, len, rule->handling);
    return true;
}

/* bytea_output hex: \x and an even number of digits. */
static bool is_bytea(const char *text, size_t len)
{
    return len >= 2 && len % 2 == 0 && text[0] == '\\' && text[1] == 'x';
}

static bool write_bytea_url_safe(struct buf *b, const char *text, size_t len,
                                 const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (!is_bytea(text, len) || !json_add_base64_of_hex(b, text + 2, len - 2))
        return write_as_string(b, start, text, len);
    make_url_safe(b, start);
    return true;
}

static bool write_bytea_hex(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;
    char *p = buf_reserve(b, len + 2);

    (void)rule;
    if (!is_bytea(text, len))
        return write_as_string(b, start, text, len);
    *p++ = '"';
    for (size_t i = 2; i < len; i++) {
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];

        if (!scan_is_digit(c) && (c < 'a' || c > 'f'))
            return write_as_string(b, start, text, len);
        *p++ = c;
    }
    *p++ = '"';
    buf_written(b, p);
    return true;
}

/* ---- bits ---- */

/* The last bit of the text is number 0; bytes begin at the lowest. */
static bool add_bits(struct buf *b, const char *text, size_t len)
{
    size_t first = len;
    char *p = buf_reserve(b, len / 8 + 1);

    for (size_t i = len; i-- > 0;) {
        if (text[i] != '0' && text[i] != '1')
            return false;
        if (text[i] == '1')
            first = i;
    }
    for (size_t end = len; end > first;) {
        size_t begin = end > 8 ? end - 8 : 0;
        unsigned byte = 0;

        for (size_t i = begin; i < end; i++)
            byte = byte << 1 | (text[i] == '1');
        *p++ = (char)byte;
        end = begin;
    }
    buf_written(b, p);
    return true;
}

static bool write_bits(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    size_t start = b->len;

    if (rule->typmod == 1) {
        if (len != 1 || (*text != '0' && *text != '1'))
            return json_add_string(b, text, len);
        buf_add_str(b, *text == '1' ? "true" : "false");
        return true;
    }
    if (!add_bits(b, text, len))
        return write_as_string(b, start, text, len);
    turn_into_base64(b, start);
    return true;
}

/* ---- decimals ---- */

static bool add_base64_decimal(struct buf *b, const char *text, size_t len, int scale)
{
    size_t start = b->len;

    if (!decimal_add(b, text, len, scale))
        return false;
    turn_into_base64(b, start);
    return true;
}

static bool add_variable_scale(struct buf *b, const char *text, size_t len)
{
    int scale;

    if (!decimal_scale(text, len, &scale))
        return false;
    buf_add_str(b, "{\"scale\":");
    buf_add_u64(b, (uint64_t)scale);
    buf_add_str(b, ",\"value\":");
    if (!add_base64_decimal(b, text, len, scale))
        return false;
    buf_add_char(b, '}');
    return true;
}

static bool write_numeric_precise(struct buf *b, const char *text, size_t len,
                                  const struct rule *rule)
{
    size_t start = b->len;
    int precision, scale;
    bool added = decimal_typmod(rule->typmod, &precision, &scale)
                     ? add_base64_decimal(b, text, len, scale)
                     : add_variable_scale(b, text, len);

    return added || write_as_string(b, start, text, len);
}

/* strtod() wants a NUL behind the text: that is added where the number goes, and taken away. */
static double read_double(struct buf *b, const char *text, size_t len)
{
    size_t start = b->len;
    double value;

    buf_add(b, text, len);
    buf_add_char(b, '\0');
    value = strtod(b->data + start, NULL);
    b->len = start;
    return value;
}

static void add_double(struct buf *b, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    float8_add(b, bits);
}

/* What is finite and comes out as infinite is beyond all doubles. */
static bool write_numeric_double(struct buf *b, const char *text, size_t len,
                                 const struct rule *rule)
{
    double value;
    int scale;

    (void)rule;
    if (!decimal_scale(text, len, &scale))
        return json_add_string(b, text, len);
    value = read_double(b, text, len);
    if (isinf(value))
        return json_add_string(b, text, len);
    add_double(b, value);
    return true;
}

static bool write_numeric_string(struct buf *b, const char *text, size_t len,
                                 const struct rule *rule)
{
    (void)rule;
    if (is_word(text, len, "NaN"))
        buf_add_str(b, "\"NAN\"");
    else if (is_word(text, len, "Infinity"))
        buf_add_str(b, "\"POSITIVE_INFINITY\"");
    else if (is_word(text, len, "-Infinity"))
        buf_add_str(b, "\"NEGATIVE_INFINITY\"");
    else
        return json_add_string(b, text, len);
    return true;
}

/* ---- money ---- */

/* A sign, the digits of an int8, a point and zeros before it. */
enum { MONEY_DIGITS = 19, MONEY_ROOM = 64 };

/* '-', U+2212 as some locales have it, or parentheses around all. */
static bool is_negative(const char *text, size_t len)
{
    return memchr(text, '-', len) || memchr(text, '(', len) ||
           memmem(text, len, "\xe2\x88\x92", 3);
}

/*
 * Locales differ in what they write around and between the digits, and how many of them behind the
 * point, but all digits together are the number of the smallest units.  false: none, or too many.
 */
static bool read_money(const char *text, size_t len, char digits[MONEY_DIGITS], size_t *ndigits)
{
    *ndigits = 0;
    for (size_t i = 0; i < len; i++) {
        if (!scan_is_digit(text[i]))
            continue;
        if (*ndigits == 1 && digits[0] == '0')
            *ndigits = 0; /* it leads */
        if (*ndigits == MONEY_DIGITS)
            return false;
        digits[(*ndigits)++] = text[i];
    }
    return *ndigits > 0;
}

/* Money as a numeric's text; its length, or 0 when it is no money. */
static size_t money_to_numeric(const char *text, size_t len, unsigned places,
                               char room[MONEY_ROOM])
{
    char digits[MONEY_DIGITS];
    char *p = room;
    size_t n, integer;

    if (!read_money(text, len, digits, &n) || places >= MONEY_DIGITS)
        return 0;
    if (is_negative(text, len) && !(n == 1 && digits[0] == '0'))
        *p++ = '-';
    integer = n > places ? n - places : 0;
    if (integer == 0)
        *p++ = '0';
    memcpy(p, digits, integer);
    p += integer;
    if (places > 0)
        *p++ = '.';
    for (size_t zeros = places - (n - integer); zeros > 0; zeros--)
        *p++ = '0';
    memcpy(p, digits + integer, n - integer);
    return (size_t)(p + (n - integer) - room);
}

/*
 * Gives the numeric as many digits behind the point as are wanted: zeros more, or zeros less.  Its
 * length, or 0 where others than zeros would get lost.
 */
static size_t give_places(char *numeric, size_t n, unsigned places, unsigned wanted)
{
    for (; places > wanted; places--)
        if (numeric[--n] != '0')
            return 0;
    if (n > 0 && numeric[n - 1] == '.')
        n--;
    if (places == 0 && wanted > 0)
        numeric[n++] = '.';
    for (; places < wanted; places++)
        numeric[n++] = '0';
    return n;
}

static bool write_money(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    const struct handling *h = rule->handling;
    char numeric[MONEY_ROOM];
    size_t n = money_to_numeric(text, len, h->money_places, numeric);

    if (n > 0)
        n = give_places(numeric, n, h->money_places, h->money_digits);
    if (n == 0)
        return json_add_string(b, text, len);
    switch (handling_mode(h, (int)h->decimals)) {
    case DECIMAL_DOUBLE:
        return write_numeric_double(b, numeric, n, rule);
    case DECIMAL_STRING:
        return json_add_string(b, numeric, n);
    default:
        return add_base64_decimal(b, numeric, n, (int)h->money_digits);
    }
}

/* ---- the rest ---- */

static bool write_hstore_json(struct buf *b, const char *text, size_t len,
                              const struct rule *rule)
{
    size_t start = b->len;

    (void)rule;
    if (!hstore_add(b, text, len) || !turn_into_string(b, start))
        return write_as_string(b, start, text, len);
    return true;
}

struct point {
    const char *x;
    const char *y;
    size_t x_len;
    size_t y_len;
};

/* A number of JSON, or one of the three that are none. */
static bool is_coordinate(const char *s, size_t len)
{
    return (len > 0 && json_text_number_end(s, s + len) == s + len) || is_word(s, len, "NaN") ||
           is_word(s, len, "Infinity") || is_word(s, len, "-Infinity");
}

/* (x,y) */
static bool read_point(const char *text, size_t len, struct point *point)
{
    const char *comma = len > 2 ? memchr(text, ',', len) : NULL;

    if (!comma || text[0] != '(' || text[len - 1] != ')')
        return false;
    point->x = text + 1;
    point->x_len = (size_t)(comma - point->x);
    point->y = comma + 1;
    point->y_len = (size_t)(text + len - 1 - point->y);
    return is_coordinate(point->x, point->x_len) && is_coordinate(point->y, point->y_len);
}

static void add_coordinate(struct buf *b, const char *s, size_t len)
{
    if (s[len - 1] == 'N' || s[len - 1] == 'y')
        json_add_string(b, s, len);
    else
        buf_add(b, s, len);
}

static void add_wkb_double(struct buf *b, const char *s, size_t len)
{
    double value = read_double(b, s, len);
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    for (int shift = 0; shift < 64; shift += 8)
        buf_add_char(b, (char)(bits >> shift & 0xff));
}

/* OGC's well-known binary: byte order (1 = little-endian), Uint32 kind (1 = point), x, y. */
static bool write_point(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct point point;
    size_t start;

    (void)rule;
    if (!read_point(text, len, &point))
        return json_add_string(b, text, len);
    buf_add_str(b, "{\"x\":");
    add_coordinate(b, point.x, point.x_len);
    buf_add_str(b, ",\"y\":");
    add_coordinate(b, point.y, point.y_len);
    buf_add_str(b, ",\"wkb\":");
    start = b->len;
    buf_add(b, "\1\1\0\0\0", 5);
    add_wkb_double(b, point.x, point.x_len);
    add_wkb_double(b, point.y, point.y_len);
    turn_into_base64(b, start);
    buf_add_str(b, ",\"srid\":null}");
    return true;
}

/* ---- which of them ---- */

static value_writer numeric_writer(const struct handling *h)
{
    static const value_writer writers[] = {
        [AS_PROFILE] = NULL,
        [DECIMAL_PRECISE] = write_numeric_precise,
        [DECIMAL_DOUBLE] = write_numeric_double,
        [DECIMAL_STRING] = write_numeric_string,
    };

    return writers[handling_mode(h, (int)h->decimals)];
}

/* bytes and base64 are what the readable profile writes. */
static value_writer bytea_writer(const struct handling *h)
{
    switch (handling_mode(h, (int)h->binaries)) {
    case BINARY_BASE64_URL_SAFE:
        return write_bytea_url_safe;
    case BINARY_HEX:
        return write_bytea_hex;
    default:
        return NULL;
    }
}

/* What no property is about. */
static value_writer profile_writer(enum type_kind kind)
{
    switch (kind) {
    case TYPE_BIT:
        return write_bits;
    case TYPE_JSON:
        return write_string;
    case TYPE_POINT:
        return write_point;
    default:
        return NULL;
    }
}

value_writer debezium_writer_for(const struct type *type, const struct handling *h)
{
    switch (type ? type->kind : TYPE_TEXT) {
    case TYPE_NUMERIC:
        return numeric_writer(h);
    case TYPE_MONEY:
        return handling_mode(h, (int)h->decimals) ? write_money : NULL;
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMETZ:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return debezium_time_writer(type->kind, h);
    case TYPE_INTERVAL:
        return debezium_interval_writer(h);
    case TYPE_BYTEA:
        return bytea_writer(h);
    case TYPE_HSTORE:
        return handling_mode(h, (int)h->hstores) == HSTORE_JSON ? write_hstore_json : NULL;
    case TYPE_OTHER:
        return h->unknown_as_bytes ? write_unknown : NULL;
    default:
        return h->profile == TYPES_DEBEZIUM ? profile_writer(type ? type->kind : TYPE_TEXT) : NULL;
    }
}

/* ---- placeholders ---- */

static void add_text_placeholder(struct buf *b, const struct handling *h)
{
    json_add_string(b, h->placeholder, h->placeholder_len);
}

static void add_map_placeholder(struct buf *b, const struct handling *h)
{
    buf_add_char(b, '{');
    add_text_placeholder(b, h);
    buf_add_char(b, ':');
    add_text_placeholder(b, h);
    buf_add_char(b, '}');
}

/* Whether an array of one placeholder is an array of values as they can be. */
static bool holds_placeholder(const struct rule *element)
{
    switch (element->type ? element->type->kind : TYPE_TEXT) {
    case TYPE_TEXT:
    case TYPE_JSON:
    case TYPE_ENUM:
    case TYPE_OTHER:
    case TYPE_BYTEA:
        return true;
    default:
        return false;
    }
}

void debezium_add_placeholder(struct buf *b, const struct rule *rule)
{
    const struct handling *h = rule->handling;
    enum type_kind kind = rule->type ? rule->type->kind : TYPE_TEXT;

    if (kind == TYPE_BYTEA || (kind == TYPE_OTHER && h->unknown_as_bytes)) {
        debezium_add_bytes(b, h->placeholder, h->placeholder_len, h);
    } else if (kind == TYPE_HSTORE && handling_mode(h, (int)h->hstores) == HSTORE_MAP) {
        add_map_placeholder(b, h);
    } else if (kind == TYPE_ARRAY && holds_placeholder(rule->element)) {
        buf_add_char(b, '[');
        debezium_add_placeholder(b, rule->element);
        buf_add_char(b, ']');
    } else {
        add_text_placeholder(b, h);
    }
}
