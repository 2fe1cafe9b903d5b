/*
 * debezium_value_test - values in the debezium profile and by single modes, placeholders, settings.
 *
 * Inputs are handed over in blocks of exactly their size, so that the address sanitizer sees a
 * byte read too many.
 */
#include "encode/debezium_value.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "encode/json_text.h"
#include "tests/unit/tap.h"

/* ---- types and settings ---- */

#define SCALAR(k) {.kind = (k), .typmod = -1}
#define ARRAY(e, d) {.kind = TYPE_ARRAY, .delimiter = (d), .typmod = -1, .element = (e)}
#define NUMERIC(p, s) (((p) << 16 | ((s) & 0x7ff)) + 4)

static const struct type text = SCALAR(TYPE_TEXT);
static const struct type boolean = SCALAR(TYPE_BOOL);
static const struct type integer = SCALAR(TYPE_INTEGER);
static const struct type real = SCALAR(TYPE_FLOAT);
static const struct type numeric = SCALAR(TYPE_NUMERIC);
static const struct type json = SCALAR(TYPE_JSON);
static const struct type date = SCALAR(TYPE_DATE);
static const struct type time_of_day = SCALAR(TYPE_TIME);
static const struct type timestamp = SCALAR(TYPE_TIMESTAMP);
static const struct type timestamptz = SCALAR(TYPE_TIMESTAMPTZ);
static const struct type timetz = SCALAR(TYPE_TIMETZ);
static const struct type interval = SCALAR(TYPE_INTERVAL);
static const struct type bytea = SCALAR(TYPE_BYTEA);
static const struct type hstore = SCALAR(TYPE_HSTORE);
static const struct type bits = SCALAR(TYPE_BIT);
static const struct type money = SCALAR(TYPE_MONEY);
static const struct type point = SCALAR(TYPE_POINT);
static const struct type uuid = SCALAR(TYPE_UUID);
static const struct type label = SCALAR(TYPE_ENUM);
static const struct type other = SCALAR(TYPE_OTHER);
static const struct type price = {.kind = TYPE_NUMERIC, .typmod = NUMERIC(10, 2)}; /* domain */
static const struct type texts = ARRAY(&text, ',');
static const struct type integers = ARRAY(&integer, ',');
static const struct type numerics = ARRAY(&numeric, ',');
static const struct type prices = ARRAY(&price, ',');
static const struct type jsons = ARRAY(&json, ',');
static const struct type dates = ARRAY(&date, ',');
static const struct type timestamps = ARRAY(&timestamp, ',');
static const struct type timetzs = ARRAY(&timetz, ',');
static const struct type intervals = ARRAY(&interval, ',');
static const struct type byteas = ARRAY(&bytea, ',');
static const struct type hstores = ARRAY(&hstore, ',');
static const struct type bitses = ARRAY(&bits, ',');
static const struct type moneys = ARRAY(&money, ',');
static const struct type points = ARRAY(&point, ',');
static const struct type uuids = ARRAY(&uuid, ',');
static const struct type labels = ARRAY(&label, ',');
static const struct type others = ARRAY(&other, ',');

#define PLACEHOLDER "unavailable.value.placeholder="
#define DECIMAL "decimal.handling.mode="
#define TIME "time.precision.mode="
#define INTERVAL "interval.handling.mode="
#define BINARY "binary.handling.mode="
#define HSTORE "hstore.handling.mode="
#define UNKNOWN "include.unknown.datatypes="
#define MONEY "money.fraction.digits="

/* set: settings with a space between, or NULL. */
static struct handling handling_of(enum types_profile profile, const char *set)
{
    static char settings[256]; /* *h borrows from it */
    struct handling h = handling_default;
    char *rest = settings, *one;

    h.profile = profile;
    snprintf(settings, sizeof settings, "%s", set ? set : "");
    while ((one = strsep(&rest, " ")) != NULL) {
        if (*one && !handling_set(&h, one))
            ok(false, "%s is allowed", one);
    }
    return h;
}

/* Writes behind something that is there already, into a buffer that has to grow for it. */
static bool write_value(struct buf *b, const struct type *type, int32_t typmod,
                        const struct handling *h, const char *value, size_t len)
{
    char *exact = malloc(len ? len : 1);
    struct rule rule;
    bool written;

    if (!exact)
        log_out_of_memory();
    memcpy(exact, value, len);
    buf_release(b);
    buf_init(b, 1);
    buf_add_char(b, '?');
    rule_init(&rule, type, typmod, h);
    written = rule.write(b, len ? exact : exact + 1, len, &rule);
    rule_release(&rule);
    free(exact);
    return written;
}

/* ---- golden values ---- */

struct golden {
    const struct type *type;
    int32_t typmod;
    const char *set;
    const char *value;
    const char *json;
};

static const struct golden goldens[] = {
    {NULL, -1, NULL, "no type", "\"no type\""},
    {&text, -1, NULL, "\xc5\xbe\xc5\xa1", "\"\xc5\xbe\xc5\xa1\""},
    {&boolean, -1, NULL, "t", "true"},
    {&integer, -1, NULL, "4000000000", "4000000000"},
    {&real, -1, NULL, "3.3", "3.3"},
    {&real, -1, NULL, "NaN", "\"NaN\""},
    {&real, -1, DECIMAL "string", "Infinity", "\"Infinity\""},
    {&uuid, -1, NULL, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
     "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""},
    {&label, -1, NULL, "MEDIUM", "\"MEDIUM\""},
    {&json, -1, NULL, "{\"bar\": \"baz\"}", "\"{\\\"bar\\\": \\\"baz\\\"}\""},
    {&json, -1, NULL, "", "\"\""},

    {&numeric, NUMERIC(3, 2), NULL, "1.1", "\"bg==\""},
    {&numeric, NUMERIC(3, 2), NULL, "1.10", "\"bg==\""},
    {&numeric, NUMERIC(3, 2), NULL, "-0.01", "\"/w==\""},
    {&numeric, NUMERIC(3, 2), NULL, "0.00", "\"AA==\""},
    {&numeric, NUMERIC(3, 2), NULL, "-0.00", "\"AA==\""},
    {&numeric, NUMERIC(3, -3), NULL, "123000", "\"ew==\""},
    {&numeric, NUMERIC(3, 2), NULL, "1.101", "\"1.101\""}, /* no digit is lost */
    {&numeric, NUMERIC(3, 2), NULL, "NaN", "\"NaN\""},
    {&numeric, NUMERIC(3, 2), NULL, "1.1x", "\"1.1x\""},
    {&numeric, -1, NULL, "10.1111", "{\"scale\":4,\"value\":\"AYr3\"}"},
    {&numeric, -1, NULL, "1.500", "{\"scale\":3,\"value\":\"Bdw=\"}"},
    {&numeric, -1, NULL, "0", "{\"scale\":0,\"value\":\"AA==\"}"},
    {&numeric, -1, NULL, "-32768", "{\"scale\":0,\"value\":\"gAA=\"}"},
    {&numeric, -1, NULL, "NaN", "\"NaN\""},
    {&numeric, -1, NULL, "Infinity", "\"Infinity\""},
    {&numeric, -1, NULL, "-Infinity", "\"-Infinity\""},
    {&numeric, -1, NULL, "", "\"\""},
    {&price, -1, NULL, "1234.11", "\"AeIT\""},
    {&price, NUMERIC(10, 3), NULL, "1.1", "\"BEw=\""},
    {&numeric, -1, DECIMAL "precise", "10.1111", "{\"scale\":4,\"value\":\"AYr3\"}"},
    {&numeric, NUMERIC(3, 2), DECIMAL "string", "1.10", "\"1.10\""},
    {&numeric, -1, DECIMAL "string", "NaN", "\"NAN\""},
    {&numeric, -1, DECIMAL "string", "Infinity", "\"POSITIVE_INFINITY\""},
    {&numeric, -1, DECIMAL "string", "-Infinity", "\"NEGATIVE_INFINITY\""},
    {&numeric, NUMERIC(3, 2), DECIMAL "double", "1.10", "1.1"},
    {&numeric, -1, DECIMAL "double", "-0.10", "-0.1"},
    {&numeric, -1, DECIMAL "double", "100000000000000000000", "1e+20"},
    {&numeric, -1, DECIMAL "double", "0.00001", "1e-05"},
    {&numeric, -1, DECIMAL "double", "9007199254740993", "9.007199254740992e+15"},
    {&numeric, -1, DECIMAL "double", "0.1000000000000000055511151231257827", "0.1"},
    {&numeric, -1, DECIMAL "double", "NaN", "\"NaN\""},
    {&numeric, -1, DECIMAL "double", "-Infinity", "\"-Infinity\""},
    {&numeric, -1, DECIMAL "double", "0x10", "\"0x10\""},
    {&numeric, -1, DECIMAL "double", "1e5", "\"1e5\""},
    {&numeric, -1, DECIMAL "double", "inf", "\"inf\""},

    {&money, -1, NULL, "$1234.11", "\"AeIT\""},
    {&money, -1, NULL, "-$1,234.11", "\"/h3t\""},
    {&money, -1, NULL, "($1,234.11)", "\"/h3t\""},
    {&money, -1, NULL, "\xe2\x88\x92" "1.234,11 \xe2\x82\xac", "\"/h3t\""},
    {&money, -1, NULL, "$0.00", "\"AA==\""},
    {&money, -1, MONEY "3", "$1234.11", "\"EtS+\""},
    {&money, -1, DECIMAL "string", "$1,234.11", "\"1234.11\""},
    {&money, -1, DECIMAL "string", "-$0.05", "\"-0.05\""},
    {&money, -1, DECIMAL "string", "$0.00", "\"0.00\""},
    {&money, -1, DECIMAL "string", "$0.10", "\"0.10\""},
    {&money, -1, DECIMAL "string " MONEY "1", "$10.50", "\"10.5\""},
    {&money, -1, DECIMAL "string " MONEY "1", "$10.55", "\"$10.55\""},
    {&money, -1, DECIMAL "string " MONEY "9", "$1.05", "\"1.050000000\""},
    {&money, -1, DECIMAL "string", "-$92,233,720,368,547,758.08", "\"-92233720368547758.08\""},
    {&money, -1, DECIMAL "string " MONEY "0", "-$0.00", "\"0\""},
    {&money, -1, DECIMAL "string " MONEY "0", "$1,234.00", "\"1234\""},
    {&money, -1, DECIMAL "string " MONEY "3", "$12.34", "\"12.340\""},
    {&money, -1, DECIMAL "string " MONEY "18", "-$92,233,720,368,547,758.08",
     "\"-92233720368547758.080000000000000000\""},
    {&money, -1, DECIMAL "string " MONEY "18", "$0.05", "\"0.050000000000000000\""},
    {&money, -1, DECIMAL "double", "$1234.11", "1234.11"},
    {&money, -1, DECIMAL "double", "-$5.00", "-5"},
    {&money, -1, NULL, "$", "\"$\""},
    {&money, -1, NULL, "12345678901234567890", "\"12345678901234567890\""},
    {&money, -1, NULL, "", "\"\""},

    {&date, -1, NULL, "1970-01-01", "0"},
    {&date, -1, NULL, "2017-09-15", "17424"},
    {&date, -1, NULL, "4714-11-24 BC", "-2440588"},
    {&date, -1, NULL, "5874897-12-31", "2145042905"},
    {&date, -1, NULL, "infinity", "-2147472692"},
    {&date, -1, NULL, "-infinity", "-2147472691"},
    {&date, -1, NULL, "2017-02-29", "\"2017-02-29\""},
    {&date, -1, TIME "adaptive", "2017-09-15", "17424"},
    {&date, -1, TIME "adaptive_time_microseconds", "2017-09-15", "17424"},
    {&date, -1, TIME "connect", "2017-09-15", "17424"},
    {&date, -1, TIME "microseconds", "2017-09-15", "17424"},
    {&date, -1, TIME "nanoseconds", "2017-09-15", "17424"},
    {&date, -1, TIME "isostring", "2017-09-15", "\"2017-09-15Z\""},
    {&date, -1, TIME "isostring", "10000-01-01", "\"+10000-01-01Z\""},
    {&date, -1, TIME "isostring", "0044-03-15 BC", "\"-0043-03-15Z\""},
    {&date, -1, TIME "isostring", "infinity", "\"infinity\""},
    {&date, -1, TIME "isostring", "2017-09", "\"2017-09\""},

    {&time_of_day, 3, NULL, "04:05:11.789", "14711789"},
    {&time_of_day, 0, NULL, "04:05:11", "14711000"},
    {&time_of_day, 3, NULL, "04:05:11.789123", "\"04:05:11.789123\""}, /* no digit is lost */
    {&time_of_day, 4, NULL, "04:05:11.789", "14711789000"},
    {&time_of_day, -1, NULL, "04:05:11.789123", "14711789123"},
    {&time_of_day, -1, NULL, "00:00:00", "0"},
    {&time_of_day, -1, NULL, "00:00:00.000001", "1"},
    {&time_of_day, -1, NULL, "24:00:00", "86400000000"},
    {&time_of_day, 3, NULL, "24:00:00", "86400000"},
    {&time_of_day, -1, NULL, "24:00:01", "\"24:00:01\""},
    {&time_of_day, 3, TIME "adaptive_time_microseconds", "04:05:11.789", "14711789000"},
    {&time_of_day, -1, TIME "connect", "04:05:11.789999", "14711789"},
    {&time_of_day, -1, TIME "connect", "24:00:00", "86400000"},
    {&time_of_day, 3, TIME "microseconds", "04:05:11.789", "14711789000"},
    {&time_of_day, 3, TIME "nanoseconds", "04:05:11.789", "14711789000000"},
    {&time_of_day, -1, TIME "nanoseconds", "24:00:00", "86400000000000"},
    {&time_of_day, -1, TIME "isostring", "04:05:11.789", "\"04:05:11.789Z\""},
    {&time_of_day, -1, TIME "isostring", "24:00:00", "\"24:00:00Z\""},
    {&time_of_day, -1, TIME "isostring", "4:05", "\"4:05\""},

    {&timestamp, -1, NULL, "2016-11-04 13:51:30.123456", "1478267490123456"},
    {&timestamp, 6, NULL, "2016-11-04 13:51:30.123456", "1478267490123456"},
    {&timestamp, 4, NULL, "2016-11-04 13:51:30.1234", "1478267490123400"},
    {&timestamp, 3, NULL, "2016-11-04 13:51:30.123", "1478267490123"},
    {&timestamp, 0, NULL, "2016-11-04 13:51:30", "1478267490000"},
    {&timestamp, 3, NULL, "2016-11-04 13:51:30.1234", "\"2016-11-04 13:51:30.1234\""},
    {&timestamp, -1, NULL, "1970-01-01 00:00:00", "0"},
    {&timestamp, -1, NULL, "1969-12-31 23:59:59.999999", "-1"},
    {&timestamp, -1, NULL, "1969-12-31 23:59:58.5", "-1500000"},
    {&timestamp, -1, NULL, "1969-12-31 23:59:59.000001", "-999999"},
    {&timestamp, -1, NULL, "1969-12-31 23:59:58", "-2000000"},
    {&timestamp, -1, NULL, "4714-12-31 23:59:59.999999 BC", "-210863520000000001"},
    /* of the year -4713 as others count it */
    {&timestamp, -1, NULL, "4713-12-31 23:59:59.999999 BC", "-210831897600000001"},
    {&timestamp, -1, NULL, "294276-12-31 23:59:59.999999", "9224318015999999999"},
    {&timestamp, 3, NULL, "294276-12-31 23:59:59.999", "9224318015999999"},
    {&timestamp, -1, NULL, "infinity", "9223372036825200000"},
    {&timestamp, -1, NULL, "-infinity", "-9223372036832400000"},
    {&timestamp, 3, NULL, "infinity", "9223372036825200"},
    {&timestamp, 3, NULL, "-infinity", "-9223372036832400"},
    {&timestamp, -1, NULL, "2016-11-04 24:00:00", "\"2016-11-04 24:00:00\""},
    {&timestamp, -1, NULL, "Infinity", "\"Infinity\""},
    {&timestamp, 3, TIME "adaptive_time_microseconds", "2016-11-04 13:51:30.123", "1478267490123"},
    {&timestamp, 6, TIME "adaptive_time_microseconds", "2016-11-04 13:51:30.123",
     "1478267490123000"},
    {&timestamp, -1, TIME "connect", "2016-11-04 13:51:30.123999", "1478267490123"},
    {&timestamp, -1, TIME "connect", "1969-12-31 23:59:59.999999", "-1"},
    {&timestamp, -1, TIME "connect", "1969-12-31 23:59:59", "-1000"},
    {&timestamp, -1, TIME "connect", "infinity", "9223372036825200"},
    {&timestamp, 3, TIME "microseconds", "2016-11-04 13:51:30.123", "1478267490123000"},
    {&timestamp, 3, TIME "nanoseconds", "2016-11-04 13:51:30.123", "1478267490123000000"},
    {&timestamp, -1, TIME "nanoseconds", "1969-12-31 23:59:59.999999", "-1000"},
    {&timestamp, -1, TIME "nanoseconds", "294276-12-31 23:59:59.999999", "9224318015999999999000"},
    {&timestamp, -1, TIME "nanoseconds", "4713-12-31 23:59:59.999999 BC",
     "-210831897600000001000"},
    {&timestamp, -1, TIME "nanoseconds", "infinity", "9223372036854775807"},
    {&timestamp, -1, TIME "nanoseconds", "-infinity", "-9223372036854775808"},
    {&timestamp, -1, TIME "isostring", "2019-07-09 02:28:57.123456",
     "\"2019-07-09T02:28:57.123456Z\""},
    {&timestamp, -1, TIME "isostring", "2019-07-09 02:28:00", "\"2019-07-09T02:28:00Z\""},
    {&timestamp, -1, TIME "isostring", "0001-12-31 23:59:59 BC", "\"0000-12-31T23:59:59Z\""},
    {&timestamp, -1, TIME "isostring", "-infinity", "\"-infinity\""},

    {&timestamptz, -1, NULL, "2016-11-04 11:51:30.123456+00", "\"2016-11-04T11:51:30.123456Z\""},
    {&timestamptz, -1, NULL, "21016-11-04 06:51:30+00", "\"+21016-11-04T06:51:30.000000Z\""},
    {&timestamptz, -1, NULL, "4714-12-31 23:59:59.999999+00 BC",
     "\"-4713-12-31T23:59:59.999999Z\""},
    {&timestamptz, -1, NULL, "2016-11-04 11:51:30.1+00", "\"2016-11-04T11:51:30.100000Z\""},
    {&timestamptz, 3, NULL, "2016-11-04 11:51:30.1+00", "\"2016-11-04T11:51:30.100Z\""},
    {&timestamptz, 3, NULL, "2016-11-04 11:51:30.123+00", "\"2016-11-04T11:51:30.123Z\""},
    {&timestamptz, 3, NULL, "2016-11-04 11:51:30.1234+00", "\"2016-11-04T11:51:30.1234Z\""},
    {&timestamptz, 1, NULL, "2016-11-04 11:51:30+00", "\"2016-11-04T11:51:30.0Z\""},
    {&timestamptz, 0, NULL, "2016-11-04 11:51:30+00", "\"2016-11-04T11:51:30Z\""},
    {&timestamptz, -1, NULL, "infinity", "\"infinity\""},
    {&timestamptz, -1, NULL, "-infinity", "\"-infinity\""},
    {&timestamptz, -1, TIME "connect", "2016-11-04 11:51:30.1+00",
     "\"2016-11-04T11:51:30.100000Z\""},
    {&timestamptz, -1, TIME "nanoseconds", "2016-11-04 11:51:30+00",
     "\"2016-11-04T11:51:30.000000Z\""},
    {&timestamptz, -1, TIME "isostring", "infinity", "\"infinity\""},
    {&timestamptz, -1, NULL, "2016-11-04 11:51:30", "\"2016-11-04 11:51:30\""},

    {&timetz, -1, NULL, "13:51:30.123789+02", "\"11:51:30.123789Z\""},
    {&timetz, -1, NULL, "13:51:30+02", "\"11:51:30Z\""},
    {&timetz, -1, NULL, "00:30:00+05:30", "\"19:00:00Z\""},
    {&timetz, -1, NULL, "23:30:00.5-01", "\"00:30:00.5Z\""},
    {&timetz, -1, NULL, "00:00:00+00:00:01", "\"23:59:59Z\""},
    {&timetz, -1, NULL, "24:00:00+00", "\"24:00:00Z\""},
    {&timetz, -1, NULL, "22:00:00-02", "\"00:00:00Z\""},
    {&timetz, -1, NULL, "00:00:00+00", "\"00:00:00Z\""},
    {&timetz, -1, TIME "nanoseconds", "13:51:30.123789+02", "\"11:51:30.123789Z\""},
    {&timetz, -1, NULL, "13:51:30", "\"13:51:30\""},

    {&interval, -1, NULL, "1 year 2 mons 3 days 04:05:06.78", "37091106780000"},
    {&interval, -1, NULL, "00:00:00", "0"},
    {&interval, -1, NULL, "-1 days", "-86400000000"},
    {&interval, -1, NULL, "1 mon", "2629800000000"},
    {&interval, -1, NULL, "1 mon -1 days +00:00:00.000001", "2543400000001"},
    {&interval, -1, NULL, "178956970 years 7 mons 2147483647 days", "5832995081981400000000"},
    {&interval, -1, NULL, "-178956970 years -7 mons -2147483647 days",
     "-5832995081981400000000"},
    {&interval, -1, NULL, "infinity", "\"infinity\""},
    {&interval, -1, NULL, "a while", "\"a while\""},
    {&interval, -1, INTERVAL "numeric", "1 mon", "2629800000000"},
    {&interval, -1, INTERVAL "string", "1 year 2 mons 3 days 04:05:06.78",
     "\"P1Y2M3DT4H5M6.78S\""},
    {&interval, -1, INTERVAL "string", "00:00:00", "\"P0Y0M0DT0H0M0S\""},
    {&interval, -1, INTERVAL "string", "3 days", "\"P0Y0M3DT0H0M0S\""},
    {&interval, -1, INTERVAL "string", "-1 years -2 mons +3 days -04:05:06.7",
     "\"P-1Y-2M3DT-4H-5M-6.7S\""},
    {&interval, -1, INTERVAL "string", "-00:00:00.5", "\"P0Y0M0DT0H0M-0.5S\""},
    {&interval, -1, INTERVAL "string", "-178956970 years -8 mons -2562047788:00:54.775808",
     "\"P-178956970Y-8M0DT-2562047788H0M-54.775808S\""},
    {&interval, -1, INTERVAL "string", "-infinity", "\"-infinity\""},

    {&bytea, -1, NULL, "\\x010203", "\"AQID\""},
    {&bytea, -1, NULL, "\\x", "\"\""},
    {&bytea, -1, NULL, "\\xfbff", "\"+/8=\""},
    {&bytea, -1, NULL, "\\x0", "\"\\\\x0\""},
    {&bytea, -1, BINARY "bytes", "\\x010203", "\"AQID\""},
    {&bytea, -1, BINARY "base64", "\\xfbff", "\"+/8=\""},
    {&bytea, -1, BINARY "base64-url-safe", "\\xfbff", "\"-_8=\""},
    {&bytea, -1, BINARY "base64-url-safe", "\\xfb+/", "\"\\\\xfb+/\""},
    {&bytea, -1, BINARY "hex", "\\x010203", "\"010203\""},
    {&bytea, -1, BINARY "hex", "\\xABCDEF", "\"abcdef\""},
    {&bytea, -1, BINARY "hex", "\\x", "\"\""},
    {&bytea, -1, BINARY "hex", "\\x0g", "\"\\\\x0g\""},
    {&bytea, -1, BINARY "hex", "\\x123", "\"\\\\x123\""},
    {&bytea, -1, BINARY "hex", "", "\"\""},
    {&bytea, -1, BINARY "base64-url-safe", "+/", "\"+/\""},

    {&bits, 24, NULL, "000000110000001000000001", "\"AQID\""},
    {&bits, 64, NULL, "1000000000000000000000000000000000000000000000000000000000000000",
     "\"AAAAAAAAAIA=\""},
    {&bits, 8, NULL, "00000000", "\"\""},
    {&bits, 16, NULL, "0000000010000000", "\"gA==\""},
    {&bits, 9, NULL, "100000000", "\"AAE=\""},
    {&bits, -1, NULL, "101", "\"BQ==\""},
    {&bits, -1, NULL, "1", "\"AQ==\""},
    {&bits, -1, NULL, "", "\"\""},
    {&bits, 3, NULL, "102", "\"102\""},
    {&bits, 1, NULL, "1", "true"},
    {&bits, 1, NULL, "0", "false"},
    {&bits, 1, NULL, "", "\"\""}, /* bit varying(1) */
    {&bits, 1, NULL, "2", "\"2\""},
    {&bits, 1, NULL, "10", "\"10\""},
    {&bits, 24, BINARY "hex", "000000110000001000000001", "\"AQID\""},

    {&hstore, -1, NULL, "\"key1\"=>\"val1\", \"key2\"=>NULL",
     "\"{\\\"key1\\\":\\\"val1\\\",\\\"key2\\\":null}\""},
    {&hstore, -1, NULL, "", "\"{}\""},
    {&hstore, -1, NULL, "\"a\\\"\\\\\n\"=>\"\xc3\xa9\"",
     "\"{\\\"a\\\\\\\"\\\\\\\\\\\\n\\\":\\\"\xc3\xa9\\\"}\""},
    {&hstore, -1, NULL, "\"a\"=>", "\"\\\"a\\\"=>\""},
    {&hstore, -1, HSTORE "json", "\"a\"=>\"1\"", "\"{\\\"a\\\":\\\"1\\\"}\""},
    {&hstore, -1, HSTORE "map", "\"key1\"=>\"val1\", \"key2\"=>NULL",
     "{\"key1\":\"val1\",\"key2\":null}"},

    {&point, -1, NULL, "(1,1)",
     "{\"x\":1,\"y\":1,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAPA/\",\"srid\":null}"},
    {&point, -1, NULL, "(-0.5,1e+20)",
     "{\"x\":-0.5,\"y\":1e+20,\"wkb\":\"AQEAAAAAAAAAAADgv0CMtXgdrxVE\",\"srid\":null}"},
    {&point, -1, NULL, "(NaN,-Infinity)",
     "{\"x\":\"NaN\",\"y\":\"-Infinity\",\"wkb\":\"AQEAAAAAAAAAAAD4fwAAAAAAAPD/\",\"srid\":null}"},
    {&point, -1, NULL, "(1,1", "\"(1,1\""},
    {&point, -1, NULL, "(1)", "\"(1)\""},
    {&point, -1, NULL, "(1,)", "\"(1,)\""},
    {&point, -1, NULL, "(,1)", "\"(,1)\""},
    {&point, -1, NULL, "(1,2,3)", "\"(1,2,3)\""},
    {&point, -1, NULL, "(0x1,nan)", "\"(0x1,nan)\""},
    {&point, -1, NULL, "1,1", "\"1,1\""},
    {&point, -1, NULL, ",", "\",\""},

    {&other, -1, NULL, "'fat' <-> 'cat'", "\"'fat' <-> 'cat'\""},
    {&other, -1, UNKNOWN "false", "(1,\"a\")", "\"(1,\\\"a\\\")\""},
    {&other, -1, UNKNOWN "true", "'fat' <-> 'cat'", "\"J2ZhdCcgPC0+ICdjYXQn\""},
    {&other, -1, UNKNOWN "true " BINARY "hex", "'fat'", "\"2766617427\""},
    {&other, -1, UNKNOWN "true " BINARY "base64-url-safe", "'fat' <-> 'cat'",
     "\"J2ZhdCcgPC0-ICdjYXQn\""},
    {&other, -1, UNKNOWN "true", "", "\"\""},
    {&text, -1, UNKNOWN "true", "known", "\"known\""},

    {&integers, -1, NULL, "{1,2,3}", "[1,2,3]"},
    {&texts, -1, NULL, "{a,\"b \\\"c\\\"\",NULL}", "[\"a\",\"b \\\"c\\\"\",null]"},
    {&timetzs, -1, NULL, "{13:51:02+02,14:51:03+02}", "[\"11:51:02Z\",\"12:51:03Z\"]"},
    {&numerics, NUMERIC(3, 2), NULL, "{1.10,NULL,NaN}", "[\"bg==\",null,\"NaN\"]"},
    {&numerics, -1, NULL, "{10.1111}", "[{\"scale\":4,\"value\":\"AYr3\"}]"},
    {&numerics, -1, DECIMAL "double", "{{1.10,2},{3,4}}", "[[1.1,2],[3,4]]"},
    {&prices, -1, NULL, "{1234.11}", "[\"AeIT\"]"},
    {&jsons, -1, NULL, "{\"{\\\"a\\\": 1}\",null,NULL}", "[\"{\\\"a\\\": 1}\",null,null]"},
    {&dates, -1, NULL, "{1970-01-02,infinity}", "[1,-2147472692]"},
    {&timestamps, 3, NULL, "{\"1970-01-01 00:00:01\"}", "[1000]"},
    {&timestamps, -1, TIME "nanoseconds", "{\"1970-01-01 00:00:01\"}", "[1000000000]"},
    {&intervals, -1, NULL, "{\"1 day\",00:00:01}", "[86400000000,1000000]"},
    {&byteas, -1, BINARY "hex", "{\"\\\\\\\\x01\"}", "[\"\\\\\\\\x01\"]"},
    {&byteas, -1, BINARY "hex", "{\"\\\\x0102\",\"\\\\x\"}", "[\"0102\",\"\"]"},
    {&hstores, -1, NULL, "{\"\\\"a\\\"=>\\\"1\\\"\"}", "[\"{\\\"a\\\":\\\"1\\\"}\"]"},
    {&hstores, -1, HSTORE "map", "{\"\\\"a\\\"=>\\\"1\\\"\"}", "[{\"a\":\"1\"}]"},
    {&bitses, 8, NULL, "{00000001,00000000}", "[\"AQ==\",\"\"]"},
    {&bitses, 1, NULL, "{1,0}", "[true,false]"},
    {&moneys, -1, DECIMAL "string", "{$1.00,\"-$1,000.00\"}", "[\"1.00\",\"-1000.00\"]"},
    {&points, -1, NULL, "{\"(1,1)\"}",
     "[{\"x\":1,\"y\":1,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAPA/\",\"srid\":null}]"},
    {&others, -1, UNKNOWN "true", "{\"(1,a)\"}", "[\"KDEsYSk=\"]"},
    {&uuids, -1, NULL, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
     "[\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"]"},
};

#define NGOLDENS (sizeof goldens / sizeof goldens[0])

static void check(struct buf *b, enum types_profile profile, const struct golden *g)
{
    struct handling h = handling_of(profile, g->set);
    bool written = write_value(b, g->type, g->typmod, &h, g->value, strlen(g->value));
    char name[256];

    snprintf(name, sizeof name, "%s, %s", g->value, g->set ? g->set : "no setting");
    for (char *p = name; *p; p++)
        *p = *p == '\n' || *p == '#' ? ' ' : *p; /* which TAP has meanings for */
    if (!written || b->len == 0 || b->data[0] != '?')
        ok(false, "%s: is written behind what was there", name);
    else
        is_text(b->data + 1, b->len - 1, g->json, name);
}

static void test_goldens(struct buf *b)
{
    for (size_t i = 0; i < NGOLDENS; i++)
        check(b, TYPES_DEBEZIUM, &goldens[i]);
}

/* ---- single modes in the readable profile ---- */

/* A mode holds for its family alone; what has no mode is readable. */
static void test_readable(struct buf *b)
{
    static const struct golden cases[] = {
        {&numeric, -1, NULL, "1.10", "\"1.10\""},
        {&numeric, NUMERIC(3, 2), DECIMAL "precise", "1.10", "\"bg==\""},
        {&numeric, -1, DECIMAL "double", "1.10", "1.1"},
        {&numeric, -1, DECIMAL "string", "NaN", "\"NAN\""},
        {&numeric, -1, TIME "adaptive " INTERVAL "numeric " BINARY "hex " HSTORE "json", "NaN",
         "\"NaN\""},
        {&money, -1, NULL, "$1.00", "\"$1.00\""},
        {&money, -1, MONEY "3", "$1.00", "\"$1.00\""},
        {&money, -1, DECIMAL "string", "$1.00", "\"1.00\""},
        {&date, -1, NULL, "2017-09-15", "\"2017-09-15\""},
        {&date, -1, TIME "adaptive", "2017-09-15", "17424"},
        {&date, -1, TIME "isostring", "2017-09-15", "\"2017-09-15Z\""},
        {&date, -1, DECIMAL "double " INTERVAL "string " BINARY "hex " HSTORE "map", "2017-09-15",
         "\"2017-09-15\""},
        {&time_of_day, -1, NULL, "04:05:11", "\"04:05:11\""},
        {&time_of_day, 3, TIME "adaptive", "04:05:11", "14711000"},
        {&timestamp, -1, NULL, "2019-07-09 02:28:57", "\"2019-07-09T02:28:57\""},
        {&timestamp, -1, TIME "microseconds", "1970-01-01 00:00:01", "1000000"},
        {&timestamptz, -1, NULL, "2019-07-09 02:28:57+00", "\"2019-07-09T02:28:57Z\""},
        {&timestamptz, -1, TIME "microseconds", "2019-07-09 02:28:57+00",
         "\"2019-07-09T02:28:57.000000Z\""},
        {&timetz, -1, NULL, "13:51:30+02", "\"13:51:30+02\""},
        {&timetz, -1, TIME "adaptive", "13:51:30+02", "\"11:51:30Z\""},
        {&interval, -1, NULL, "3 days", "\"P3D\""},
        {&interval, -1, INTERVAL "numeric", "3 days", "259200000000"},
        {&interval, -1, INTERVAL "string", "3 days", "\"P0Y0M3DT0H0M0S\""},
        {&interval, -1, TIME "adaptive", "3 days", "\"P3D\""},
        {&bytea, -1, NULL, "\\xfbff", "\"+/8=\""},
        {&bytea, -1, BINARY "base64-url-safe", "\\xfbff", "\"-_8=\""},
        {&bytea, -1, BINARY "hex", "\\xfbff", "\"fbff\""},
        {&hstore, -1, NULL, "\"a\"=>NULL", "{\"a\":null}"},
        {&hstore, -1, HSTORE "map", "\"a\"=>NULL", "{\"a\":null}"},
        {&hstore, -1, HSTORE "json", "\"a\"=>NULL", "\"{\\\"a\\\":null}\""},
        {&bits, 1, DECIMAL "double", "1", "\"1\""},
        {&json, -1, BINARY "hex", "{\"a\": 1}", "{\"a\":1}"},
        {&point, -1, DECIMAL "double", "(1,1)", "\"(1,1)\""},
        {&other, -1, BINARY "hex", "(1)", "\"(1)\""},
        {&other, -1, UNKNOWN "true", "(1)", "\"KDEp\""},
        {&dates, -1, TIME "connect", "{1970-01-02}", "[1]"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(b, TYPES_READABLE, &cases[i]);
}

/* ---- long values ---- */

static void test_long(struct buf *b)
{
    struct handling precise = handling_of(TYPES_DEBEZIUM, NULL);
    struct handling twice = handling_of(TYPES_DEBEZIUM, DECIMAL "double");
    char *digits = xcalloc(150001, 1);

    memset(digits, '9', 150001);
    /* 10^131072 has 435412 bits; what stands around their base64 has 22 bytes */
    ok(write_value(b, &numeric, -1, &precise, digits, 131072) &&
           b->len == 1 + 22 + (435412 / 8 + 1 + 2) / 3 * 4 &&
           memcmp(b->data + 1, "{\"scale\":0,\"value\":\"", 20) == 0,
       "a numeric of 131072 digits, precise");
    ok(write_value(b, &numeric, -1, &twice, digits, 131072) && b->len == 1 + 131074 &&
           b->data[1] == '"',
       "as a double it is a string: no double comes near to it");
    ok(write_value(b, &numeric, -1, &twice, digits, 308) && b->len == 1 + 6 &&
           memcmp(b->data + 1, "1e+308", 6) == 0,
       "but to 308 digits one does");
    ok(write_value(b, &numeric, -1, &precise, digits, 150001) && b->len == 1 + 150003 &&
           b->data[1] == '"',
       "more digits than a numeric has are a string");
    free(digits);
}

/* All bits of a long bit string, by asking for one at a time. */
static void test_long_bits(struct buf *b)
{
    struct handling h = handling_of(TYPES_DEBEZIUM, NULL);
    unsigned wrong = 0;
    char string[200];

    for (size_t len = 2; len < sizeof string; len++) {
        for (size_t bit = 0; bit < len; bit++) {
            size_t bytes = bit / 8 + 1;

            memset(string, '0', len);
            string[len - 1 - bit] = '1';
            wrong += !write_value(b, &bits, (int32_t)len, &h, string, len) ||
                     b->len != 1 + 2 + (bytes + 2) / 3 * 4;
        }
    }
    ok(wrong == 0, "a single bit anywhere takes the bytes up to it: %u do not", wrong);
}

/* ---- placeholders ---- */

static void test_placeholders(struct buf *b)
{
    static const struct {
        const struct type *type;
        const char *set;
        const char *debezium;
    } cases[] = {
        {NULL, "", "\"gone\""},
        {&text, "", "\"gone\""},
        {&json, "", "\"gone\""},
        {&label, "", "\"gone\""},
        {&uuid, "", "\"gone\""},
        {&integer, "", "\"gone\""},
        {&boolean, "", "\"gone\""},
        {&numeric, "", "\"gone\""},
        {&money, "", "\"gone\""},
        {&timestamp, "", "\"gone\""},
        {&interval, "", "\"gone\""},
        {&bits, "", "\"gone\""},
        {&point, "", "\"gone\""},
        {&hstore, "", "\"gone\""},
        {&hstore, " " HSTORE "json", "\"gone\""},
        {&hstore, " " HSTORE "map", "{\"gone\":\"gone\"}"},
        {&bytea, "", "\"Z29uZQ==\""},
        {&bytea, " " BINARY "base64", "\"Z29uZQ==\""},
        {&bytea, " " BINARY "base64-url-safe", "\"Z29uZQ==\""},
        {&bytea, " " BINARY "hex", "\"676f6e65\""},
        {&other, "", "\"gone\""},
        {&other, " " UNKNOWN "true", "\"Z29uZQ==\""},
        {&texts, "", "[\"gone\"]"},
        {&jsons, "", "[\"gone\"]"},
        {&labels, "", "[\"gone\"]"},
        {&others, "", "[\"gone\"]"},
        {&others, " " UNKNOWN "true", "[\"Z29uZQ==\"]"},
        {&byteas, "", "[\"Z29uZQ==\"]"},
        {&byteas, " " BINARY "hex", "[\"676f6e65\"]"},
        {&integers, "", "\"gone\""},
        {&dates, "", "\"gone\""},
        {&numerics, "", "\"gone\""},
        {&uuids, "", "\"gone\""},
        {&hstores, " " HSTORE "map", "\"gone\""},
    };

    for (size_t i = 0; i < 2 * (sizeof cases / sizeof cases[0]); i++) {
        enum types_profile profile = i % 2 ? TYPES_DEBEZIUM : TYPES_READABLE;
        char set[128], name[160];
        struct handling h;
        struct rule rule;

        snprintf(set, sizeof set, PLACEHOLDER "gone%s", cases[i / 2].set);
        snprintf(name, sizeof name, "kind %d of %d, %s profile,%s",
                 cases[i / 2].type ? (int)cases[i / 2].type->kind : -1,
                 cases[i / 2].type && cases[i / 2].type->element
                     ? (int)cases[i / 2].type->element->kind
                     : -1,
                 profile == TYPES_DEBEZIUM ? "debezium" : "readable", cases[i / 2].set);
        h = handling_of(profile, set);
        rule_init(&rule, cases[i / 2].type, -1, &h);
        b->len = 0;
        value_add_placeholder(b, &rule);
        rule_release(&rule);
        is_text(b->data, b->len,
                profile == TYPES_DEBEZIUM ? cases[i / 2].debezium : "\"gone\"", name);
    }
}

static void test_default_placeholder(struct buf *b)
{
    struct handling h = handling_of(TYPES_DEBEZIUM, NULL);
    struct rule rule;

    rule_init(&rule, &text, -1, &h);
    b->len = 0;
    value_add_placeholder(b, &rule);
    is_text(b->data, b->len, "\"__debezium_unavailable_value\"", "by default");
    rule_init(&rule, &bytea, -1, &h);
    b->len = 0;
    value_add_placeholder(b, &rule);
    is_text(b->data, b->len, "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"", "as bytes");
}

/* ---- settings ---- */

/* What handling_set() says on stderr when it refuses; *refused tells whether it did. */
static void refusal(const char *setting, bool *refused, char *message, size_t size)
{
    struct handling h = handling_default;
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    size_t n;

    if (!file || saved < 0)
        abort();
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    *refused = !handling_set(&h, setting);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    n = fread(message, 1, size - 1, file);
    message[n] = '\0';
    fclose(file);
}

static void test_refusals(void)
{
    static const struct {
        const char *setting;
        const char *message;
    } cases[] = {
        {DECIMAL "exact", "invalid value \"exact\" for decimal.handling.mode: must be one of "
                          "precise, double, string\n"},
        {DECIMAL "", "must be one of precise, double, string\n"},
        {DECIMAL "Precise", "must be one of precise, double, string\n"},
        {TIME "seconds", "must be one of adaptive, adaptive_time_microseconds, connect, isostring, "
                         "microseconds, nanoseconds\n"},
        {INTERVAL "x", "must be one of numeric, string\n"},
        {BINARY "x", "must be one of bytes, base64, base64-url-safe, hex\n"},
        {HSTORE "x", "must be one of json, map\n"},
        {UNKNOWN "yes", "must be true or false\n"},
        {MONEY "19", "must be a number from 0 to 18\n"},
        {MONEY "-1", "must be a number from 0 to 18\n"},
        {MONEY "2x", "must be a number from 0 to 18\n"},
        {MONEY " 2", "must be a number from 0 to 18\n"},
        {MONEY "", "must be a number from 0 to 18\n"},
        {MONEY "99999999999999999999", "must be a number from 0 to 18\n"},
        {PLACEHOLDER "hex:0", "an even number of hexadecimal digits"},
        {PLACEHOLDER "hex:0g", "an even number of hexadecimal digits"},
        {PLACEHOLDER "hex:414", "an even number of hexadecimal digits"},
        {PLACEHOLDER "hex: 0", "an even number of hexadecimal digits"},
        {PLACEHOLDER "hex:ff", "UTF-8"},
        {PLACEHOLDER "hex:c3", "UTF-8"},
        {PLACEHOLDER "hex:eda080", "UTF-8"},
        {PLACEHOLDER "\xff", "UTF-8"},
        {"decimal.handling.mode", "has no value"},
        {"decimal.handling=double", "unknown setting \"decimal.handling\": must be one of "
                                    "decimal.handling.mode, time.precision.mode, "
                                    "interval.handling.mode, binary.handling.mode, "
                                    "hstore.handling.mode, unavailable.value.placeholder, "
                                    "money.fraction.digits, include.unknown.datatypes\n"},
        {"decimal.handling.modes=double", "unknown setting"},
        {"=double", "unknown setting"},
        {"", "unknown setting"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[1024];
        bool refused;

        refusal(cases[i].setting, &refused, message, sizeof message);
        if (!ok(refused && strstr(message, cases[i].message), "\"%s\" is refused, and says why",
                cases[i].setting))
            tap_note("%s", message);
    }
}

static void test_settings(void)
{
    static struct handling h; /* keeps the placeholder's bytes in reach */

    h = handling_default;
    ok(h.profile == TYPES_READABLE && !h.decimals && !h.times && !h.intervals && !h.binaries &&
           !h.hstores && !h.unknown_as_bytes && h.money_digits == 2,
       "without settings no mode is given");
    ok(handling_set(&h, DECIMAL "precise") && h.decimals == DECIMAL_PRECISE &&
           handling_set(&h, DECIMAL "double") && h.decimals == DECIMAL_DOUBLE &&
           handling_set(&h, DECIMAL "string") && h.decimals == DECIMAL_STRING,
       "decimals");
    ok(handling_set(&h, TIME "adaptive") && h.times == TIME_ADAPTIVE &&
           handling_set(&h, TIME "adaptive_time_microseconds") &&
           h.times == TIME_ADAPTIVE_MICROSECONDS && handling_set(&h, TIME "connect") &&
           h.times == TIME_CONNECT && handling_set(&h, TIME "isostring") &&
           h.times == TIME_ISOSTRING && handling_set(&h, TIME "microseconds") &&
           h.times == TIME_MICROSECONDS && handling_set(&h, TIME "nanoseconds") &&
           h.times == TIME_NANOSECONDS,
       "times");
    ok(handling_set(&h, INTERVAL "numeric") && h.intervals == INTERVAL_NUMERIC &&
           handling_set(&h, INTERVAL "string") && h.intervals == INTERVAL_STRING,
       "intervals");
    ok(handling_set(&h, BINARY "bytes") && h.binaries == BINARY_BYTES &&
           handling_set(&h, BINARY "base64") && h.binaries == BINARY_BASE64 &&
           handling_set(&h, BINARY "base64-url-safe") && h.binaries == BINARY_BASE64_URL_SAFE &&
           handling_set(&h, BINARY "hex") && h.binaries == BINARY_HEX,
       "bytes");
    ok(handling_set(&h, HSTORE "json") && h.hstores == HSTORE_JSON &&
           handling_set(&h, HSTORE "map") && h.hstores == HSTORE_MAP,
       "hstore");
    ok(handling_set(&h, UNKNOWN "true") && h.unknown_as_bytes &&
           handling_set(&h, UNKNOWN "false") && !h.unknown_as_bytes,
       "unknown types");
    ok(handling_set(&h, MONEY "0") && h.money_digits == 0 && handling_set(&h, MONEY "18") &&
           h.money_digits == 18,
       "digits of money");
    ok(handling_set(&h, PLACEHOLDER "a=b c") && h.placeholder_len == 5 &&
           memcmp(h.placeholder, "a=b c", 5) == 0,
       "a placeholder with an equals sign");
    ok(handling_set(&h, PLACEHOLDER) && h.placeholder_len == 0, "an empty one");
    ok(handling_set(&h, PLACEHOLDER "hex:00C3a9") && h.placeholder_len == 3 &&
           memcmp(h.placeholder, "\0\xc3\xa9", 3) == 0,
       "one in hexadecimal digits");
    free((void *)(uintptr_t)h.placeholder);
    ok(handling_set(&h, PLACEHOLDER "hex:EFBFbd") && h.placeholder_len == 3 &&
           memcmp(h.placeholder, "\xef\xbf\xbd", 3) == 0,
       "and in upper case");
}

/* ---- any text: one line of JSON, or false for what is not UTF-8 ---- */

static bool is_utf8(const char *s, size_t n)
{
    struct buf b;
    bool valid;

    buf_init(&b, n + 8);
    valid = json_add_string(&b, s, n);
    buf_release(&b);
    return valid;
}

/* Compact JSON: what takes out white space takes nothing out. */
static bool is_compact_json(const char *s, size_t n)
{
    struct buf b;
    bool is;

    buf_init(&b, n + 8);
    is = json_text_add(&b, s, n) && b.len == n && memcmp(b.data, s, n) == 0;
    buf_release(&b);
    return is;
}

static bool holds(struct buf *b, const struct golden *g, const struct handling *h,
                  const char *value, size_t len)
{
    bool written = write_value(b, g->type, g->typmod, h, value, len);
    bool right = b->data[0] == '?' &&
                 (written ? is_compact_json(b->data + 1, b->len - 1) : !is_utf8(value, len));

    if (!right)
        tap_note("%s, %s: %.*s", g->value, g->set ? g->set : "", (int)b->len, b->data);
    return right;
}

static void test_cuts(struct buf *b)
{
    unsigned cuts = 0, wrong = 0;

    for (size_t i = 0; i < NGOLDENS; i++) {
        struct handling h = handling_of(TYPES_DEBEZIUM, goldens[i].set);

        for (size_t len = 0; len <= strlen(goldens[i].value); len++, cuts++)
            wrong += !holds(b, &goldens[i], &h, goldens[i].value, len);
    }
    ok(wrong == 0, "%u texts cut at every byte: %u come out as no JSON", cuts, wrong);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Each golden's type and settings with another one's text, or its own, with bytes changed. */
static void test_random(struct buf *b)
{
    uint64_t state = UINT64_C(0x2545f4914f6cdd1d);
    unsigned wrong = 0, rounds = 300;

    for (size_t i = 0; i < NGOLDENS; i++) {
        struct handling h = handling_of(TYPES_DEBEZIUM, goldens[i].set);

        for (unsigned round = 0; round < rounds; round++) {
            size_t from = round % 2 ? i : random_next(&state) % NGOLDENS;
            char value[128];
            size_t len = strlen(goldens[from].value);

            memcpy(value, goldens[from].value, len);
            for (unsigned n = round % 4; len > 0 && n > 0; n--)
                value[random_next(&state) % len] =
                    (char)(random_next(&state) % (random_next(&state) % 2 ? 256 : 128));
            wrong += !holds(b, &goldens[i], &h, value, len);
        }
    }
    ok(wrong == 0, "%u changed texts: %u come out as no JSON", (unsigned)NGOLDENS * rounds, wrong);
}

/* ---- precise and string agree: the same digits ---- */

/* The whole number that base64 of up to 8 bytes stands for. */
static bool read_base64(const char *s, size_t n, int64_t *number)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789+/";
    uint64_t value = 0;
    unsigned held = 0, bits_held = 0;
    bool first = true;

    for (size_t i = 0; i < n && s[i] != '='; i++) {
        const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;

        if (!at)
            return false;
        held = held << 6 | (unsigned)(at - alphabet);
        bits_held += 6;
        if (bits_held < 8)
            continue;
        bits_held -= 8;
        if (first && (held >> bits_held & 0x80))
            value = UINT64_MAX;
        first = false;
        value = value << 8 | (held >> bits_held & 0xff);
        held &= (1u << bits_held) - 1;
    }
    *number = (int64_t)value;
    return !first;
}

static void test_agreement(struct buf *b)
{
    struct handling h = handling_of(TYPES_DEBEZIUM, NULL);
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    const unsigned rounds = 20000;
    unsigned same = 0;

    for (unsigned i = 0; i < rounds; i++) {
        int64_t n = (int64_t)(random_next(&state) >> (1 + random_next(&state) % 60)) / 2;
        bool negative = random_next(&state) % 2;
        int64_t read = 0;
        char value[40];

        snprintf(value, sizeof value, "%s%lld.%02lld", negative ? "-" : "", (long long)(n / 100),
                 (long long)(n % 100));
        if (write_value(b, &price, -1, &h, value, strlen(value)) && b->len > 3 &&
            read_base64(b->data + 2, b->len - 3, &read))
            same += read == (negative ? -n : n);
    }
    ok(same == rounds, "%u of %u random decimals are in their base64", same, rounds);
}

int main(void)
{
    struct buf b;

    buf_init(&b, 1);
    test_goldens(&b);
    test_readable(&b);
    test_long(&b);
    test_long_bits(&b);
    test_agreement(&b);
    test_placeholders(&b);
    test_default_placeholder(&b);
    test_settings();
    test_refusals();
    test_cuts(&b);
    test_random(&b);
    buf_release(&b);
    return tap_done();
}
