/*
 * avro_value_test - every type's text -> Avro: golden bytes, limits, refusals, and read by libavro.
 *
 * Inputs are handed over in blocks of exactly their size, so that the address sanitizer sees a byte
 * read too many.  Whatever is written goes through libavro with the schema that is said to be that
 * of the values, as one of a nullable column.
 */
#include "encode/avro_value.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include <avro.h>

#include "base/log.h"
#include "encode/container.h"
#include "tests/unit/tap.h"

/* ---- types ---- */

#define SCALAR(k, o) {.kind = (k), .oid = (o), .typmod = -1}
#define ARRAY(e, d) {.kind = TYPE_ARRAY, .delimiter = (d), .element = (e), .typmod = -1}
#define NUMERIC(p, s) ((int32_t)((uint32_t)(p) << 16 | ((uint32_t)(s) & 0x7ff)) + 4)

static const struct type text_type = SCALAR(TYPE_TEXT, 25);
static const struct type bool_type = SCALAR(TYPE_BOOL, 16);
static const struct type int2_type = SCALAR(TYPE_INTEGER, 21);
static const struct type int4_type = SCALAR(TYPE_INTEGER, 23);
static const struct type int8_type = SCALAR(TYPE_INTEGER, 20);
static const struct type oid_type = SCALAR(TYPE_INTEGER, 26);
static const struct type float4_type = SCALAR(TYPE_FLOAT, 700);
static const struct type float8_type = SCALAR(TYPE_FLOAT, 701);
static const struct type numeric_type = SCALAR(TYPE_NUMERIC, 1700);
static const struct type json_type = SCALAR(TYPE_JSON, 114);
static const struct type date_type = SCALAR(TYPE_DATE, 1082);
static const struct type time_type = SCALAR(TYPE_TIME, 1083);
static const struct type timetz_type = SCALAR(TYPE_TIMETZ, 1266);
static const struct type timestamp_type = SCALAR(TYPE_TIMESTAMP, 1114);
static const struct type timestamptz_type = SCALAR(TYPE_TIMESTAMPTZ, 1184);
static const struct type interval_type = SCALAR(TYPE_INTERVAL, 1186);
static const struct type bytea_type = SCALAR(TYPE_BYTEA, 17);
static const struct type hstore_type = SCALAR(TYPE_HSTORE, 50000);
static const struct type uuid_type = SCALAR(TYPE_UUID, 2950);
static const struct type enum_type = SCALAR(TYPE_ENUM, 50001);
static const struct type money_type = SCALAR(TYPE_MONEY, 790);
static const struct type bit_type = SCALAR(TYPE_BIT, 1560);
static const struct type point_type = SCALAR(TYPE_POINT, 600);
static const struct type other_type = SCALAR(TYPE_OTHER, 50002);
/* a domain over numeric(4,1), where no column has a typmod */
static const struct type domain_type = {
    .kind = TYPE_NUMERIC, .oid = 1700, .typmod = NUMERIC(4, 1)};
static const struct type int4_array = ARRAY(&int4_type, ',');
static const struct type text_array = ARRAY(&text_type, ',');
static const struct type box_array = ARRAY(&text_type, ';');
static const struct type numeric_array = ARRAY(&numeric_type, ',');
static const struct type date_array = ARRAY(&date_type, ',');
static const struct type bytea_array = ARRAY(&bytea_type, ',');
static const struct type json_array = ARRAY(&json_type, ',');
static const struct type hstore_array = ARRAY(&hstore_type, ',');
static const struct type array_array = ARRAY(&int4_array, ','); /* of a domain over int4[] */
static const struct type bare_array = {.kind = TYPE_ARRAY, .typmod = -1};

static const struct type *const all_types[] = {
    NULL, &text_type, &bool_type, &int2_type, &int4_type, &int8_type, &oid_type, &float4_type,
    &float8_type, &numeric_type, &domain_type, &json_type, &date_type, &time_type, &timetz_type,
    &timestamp_type, &timestamptz_type, &interval_type, &bytea_type, &hstore_type, &uuid_type,
    &enum_type, &money_type, &bit_type, &point_type, &other_type, &int4_array, &text_array,
    &box_array, &numeric_array, &date_array, &bytea_array, &json_array, &hstore_array,
    &array_array, &bare_array,
};

enum { NTYPES = sizeof all_types / sizeof all_types[0] };

/* Every single rule that says something to Avro. */
static const char *const all_sets[] = {
    NULL, "decimal.handling.mode=double", "decimal.handling.mode=string",
    "decimal.handling.mode=precise", "time.precision.mode=isostring",
    "time.precision.mode=microseconds", "interval.handling.mode=numeric",
    "interval.handling.mode=string", "binary.handling.mode=base64",
    "binary.handling.mode=base64-url-safe", "binary.handling.mode=hex",
    "hstore.handling.mode=json", "hstore.handling.mode=map",
};

enum { NSETS = sizeof all_sets / sizeof all_sets[0] };

/* ---- writing, and reading by libavro ---- */

/* A rule, its handling, and what libavro makes of its schema. */
struct pair {
    struct rule rule;
    struct handling handling;
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value; /* read last */
    char *schema_text;
};

static void pair_open(struct pair *p, const struct type *type, int32_t typmod, const char *set)
{
    cJSON *schema;

    p->handling = handling_default;
    if (set && !handling_set(&p->handling, set))
        log_error("a setting of this test is not known: %s", set);
    avro_rule_init(&p->rule, type, typmod, &p->handling);
    schema = avro_value_union(&p->rule);
    p->schema_text = cJSON_PrintUnformatted(schema);
    cJSON_Delete(schema);
    if (!p->schema_text)
        log_out_of_memory();
    if (avro_schema_from_json_length(p->schema_text, strlen(p->schema_text), &p->schema) != 0) {
        ok(false, "libavro takes the schema %s: %s", p->schema_text, avro_strerror());
        exit(1);
    }
    p->iface = avro_generic_class_from_schema(p->schema);
    avro_generic_value_new(p->iface, &p->value);
}

static void pair_close(struct pair *p)
{
    rule_release(&p->rule);
    avro_value_decref(&p->value);
    avro_value_iface_decref(p->iface);
    avro_schema_decref(p->schema);
    cJSON_free(p->schema_text);
}

/* Behind something that is there already, in a buffer that has to grow for it; false = refused. */
static bool write_value(struct buf *b, const struct rule *rule, const char *text, size_t len)
{
    char *exact = malloc(len ? len : 1);
    bool written;

    if (!exact)
        log_out_of_memory();
    memcpy(exact, text, len);
    buf_release(b);
    buf_init(b, 1);
    buf_add_char(b, '#');
    written = avro_add_in_union(b, len ? exact : exact + 1, len, rule);
    free(exact);
    if (b->data[0] != '#')
        return ok(false, "what was there before is left alone");
    b->len--;
    memmove(b->data, b->data + 1, b->len);
    return written;
}

/* avro_reader_is_eof() says so of files alone. */
static bool is_at_end(avro_reader_t reader)
{
    return avro_skip_data(reader, avro_schema_boolean()) != 0;
}

/* Whether libavro reads all the bytes as one value: it is then p->value. */
static bool read_value(struct pair *p, const struct buf *b)
{
    char *exact = malloc(b->len ? b->len : 1);
    avro_reader_t reader;
    bool read;

    if (!exact)
        log_out_of_memory();
    memcpy(exact, b->data, b->len);
    reader = avro_reader_memory(exact, (int64_t)b->len);
    avro_value_reset(&p->value);
    read = avro_value_read(reader, &p->value) == 0 && is_at_end(reader);
    avro_reader_free(reader);
    free(exact);
    return read;
}

/* ---- golden values ---- */

struct golden {
    const struct type *type;
    int32_t typmod;
    const char *set; /* of --set, or NULL */
    const char *text;
    const char *hex;  /* with the union's branch; NULL = refused */
};

static const struct golden goldens[] = {
    {NULL, -1, NULL, "foo", "0206666f6f"},
    {&text_type, -1, NULL, "", "0200"},
    {&text_type, -1, NULL, "\xe2\x82\xac", "0206e282ac"},
    {&text_type, -1, NULL, "0123456789012345678901234567890123456789012345678901234567890123",
     "028001"
     "30313233343536373839303132333435363738393031323334353637383930313233343536373839"
     "303132333435363738393031323334353637383930313233"},
    {&text_type, -1, NULL, "\xe9", NULL},
    {&text_type, -1, NULL, "1234567\xe9" "90", NULL},
    {&text_type, -1, NULL, "12345678\xe9", NULL},
    {&text_type, -1, NULL, "\xed\xa0\x80", NULL},
    {&json_type, -1, NULL, "{\"a\": 1}", "02107b2261223a20317d"},
    {&enum_type, -1, NULL, "very happy", "021476657279206861707079"},
    {&money_type, -1, NULL, "$1.00", "020a24312e3030"},
    {&bit_type, -1, NULL, "101", "0206313031"},
    {&point_type, -1, NULL, "(1,2)", "020a28312c3229"},
    {&timetz_type, -1, NULL, "01:02:03+00", "021630313a30323a30332b3030"},
    {&other_type, -1, NULL, "(1,\"a b\")", "021228312c22612062" "2229"},

    {&bool_type, -1, NULL, "t", "0201"},
    {&bool_type, -1, NULL, "f", "0200"},
    {&bool_type, -1, NULL, "true", "0201"},
    {&bool_type, -1, NULL, "false", "0200"},
    {&bool_type, -1, NULL, "T", NULL},
    {&bool_type, -1, NULL, "", NULL},

    {&int4_type, -1, NULL, "0", "0200"},
    {&int4_type, -1, NULL, "-1", "0201"},
    {&int4_type, -1, NULL, "1", "0202"},
    {&int4_type, -1, NULL, "-2", "0203"},
    {&int4_type, -1, NULL, "2", "0204"},
    {&int4_type, -1, NULL, "-64", "027f"},
    {&int4_type, -1, NULL, "64", "028001"},
    {&int4_type, -1, NULL, "2147483647", "02feffffff0f"},
    {&int4_type, -1, NULL, "-2147483648", "02ffffffff0f"},
    {&int4_type, -1, NULL, "2147483648", NULL},
    {&int4_type, -1, NULL, "-2147483649", NULL},
    {&int2_type, -1, NULL, "-32768", "02ffff03"},
    {&int8_type, -1, NULL, "9223372036854775807", "02feffffffffffffffff01"},
    {&int8_type, -1, NULL, "-9223372036854775808", "02ffffffffffffffffff01"},
    {&int8_type, -1, NULL, "9223372036854775808", NULL},
    {&int8_type, -1, NULL, "-9223372036854775809", NULL},
    {&int8_type, -1, NULL, "9999999999999999999", NULL},
    {&int8_type, -1, NULL, "18446744073709551616", NULL},
    {&int8_type, -1, NULL, "100000000000000000000", NULL},
    {&oid_type, -1, NULL, "4294967295", "02feffffff1f"},
    {&int8_type, -1, NULL, "", NULL},
    {&int8_type, -1, NULL, "-", NULL},
    {&int8_type, -1, NULL, "+1", NULL},
    {&int8_type, -1, NULL, "01", NULL},
    {&int8_type, -1, NULL, "1 ", NULL},
    {&int8_type, -1, NULL, "1a", NULL},

    {&float4_type, -1, NULL, "1.5", "020000c03f"},
    {&float4_type, -1, NULL, "-0", "0200000080"},
    {&float4_type, -1, NULL, "3.4028235e+38", "02ffff7f7f"},
    {&float4_type, -1, NULL, "1e-45", "0201000000"},
    {&float4_type, -1, NULL, "0.1", "02cdcccc3d"},
    /* a hair below the middle of two floats, at which a double would end */
    {&float4_type, -1, NULL, "1.00000017881393432617187499", "020100803f"},
    {&float4_type, -1, NULL, "NaN", "020000c07f"},
    {&float4_type, -1, NULL, "Infinity", "020000807f"},
    {&float4_type, -1, NULL, "-Infinity", "02000080ff"},
    {&float4_type, -1, NULL, "1e39", NULL},
    {&float8_type, -1, NULL, "1.5", "02000000000000f83f"},
    {&float8_type, -1, NULL, "0.1", "029a9999999999b93f"},
    {&float8_type, -1, NULL, "5e-324", "020100000000000000"},
    {&float8_type, -1, NULL, "1.7976931348623157e+308", "02ffffffffffffef7f"},
    {&float8_type, -1, NULL, "NaN", "02000000000000f87f"},
    {&float8_type, -1, NULL, "Infinity", "02000000000000f07f"},
    {&float8_type, -1, NULL, "-Infinity", "02000000000000f0ff"},
    {&float8_type, -1, NULL, "1e309", NULL},
    {&float8_type, -1, NULL, "", NULL},
    {&float8_type, -1, NULL, "nan", NULL},
    {&float8_type, -1, NULL, "inf", NULL},
    {&float8_type, -1, NULL, "0x10", NULL},
    {&float8_type, -1, NULL, " 1", NULL},
    {&float8_type, -1, NULL, "1,5", NULL},

    {&numeric_type, NUMERIC(3, 2), NULL, "1.10", "02026e"},
    {&numeric_type, NUMERIC(3, 2), NULL, "1.1", "02026e"},
    {&numeric_type, NUMERIC(3, 2), NULL, "0.00", "020200"},
    {&numeric_type, NUMERIC(3, 2), NULL, "-1.28", "020280"},
    {&numeric_type, NUMERIC(3, 2), NULL, "1.28", "02040080"},
    {&numeric_type, NUMERIC(3, 2), NULL, "-1.29", "0204ff7f"},
    {&numeric_type, NUMERIC(3, 2), NULL, "9.99", "020403e7"},
    {&numeric_type, NUMERIC(3, 2), NULL, "09.99", "020403e7"},
    {&numeric_type, NUMERIC(3, 2), NULL, "10.00", NULL},
    {&numeric_type, NUMERIC(3, 2), NULL, "1.001", NULL},
    {&numeric_type, NUMERIC(3, 2), NULL, "NaN", NULL},
    {&numeric_type, NUMERIC(3, 2), NULL, "Infinity", NULL},
    {&numeric_type, NUMERIC(3, 2), NULL, "", NULL},
    {&numeric_type, NUMERIC(3, 2), NULL, "x", NULL},
    {&numeric_type, NUMERIC(3, 2), "decimal.handling.mode=precise", "1.10", "02026e"},
    {&numeric_type, NUMERIC(3, 2), "decimal.handling.mode=string", "1.10", "0208312e3130"},
    {&numeric_type, NUMERIC(3, 2), "decimal.handling.mode=string", "NaN", "02064e614e"},
    {&numeric_type, NUMERIC(3, 2), "decimal.handling.mode=double", "1.50", "02000000000000f83f"},
    {&numeric_type, NUMERIC(3, 2), "decimal.handling.mode=double", "NaN", "02000000000000f87f"},
    {&numeric_type, -1, "decimal.handling.mode=double", "1.50", "02000000000000f83f"},
    {&numeric_type, NUMERIC(3, 3), NULL, "0.128", "02040080"},
    {&numeric_type, NUMERIC(3, 3), NULL, "1.000", NULL},
    {&numeric_type, NUMERIC(3, 0), NULL, "128", "02040080"},
    {&numeric_type, NUMERIC(3, -2), NULL, "12800", "020a3132383030"},
    {&numeric_type, NUMERIC(3, 5), NULL, "0.00128", "020e302e3030313238"},
    {&numeric_type, -1, NULL, "1.10", "0208312e3130"},
    {&numeric_type, -1, NULL, "NaN", "02064e614e"},
    {&domain_type, -1, NULL, "12.8", "02040080"},
    {&domain_type, NUMERIC(3, 2), NULL, "1.28", "02040080"}, /* a column's own goes first */

    {&date_type, -1, NULL, "1970-01-01", "0200"},
    {&date_type, -1, NULL, "1969-12-31", "0201"},
    {&date_type, -1, NULL, "2000-01-01", "029aab01"},
    {&date_type, -1, NULL, "infinity", NULL},
    {&date_type, -1, NULL, "-infinity", NULL},
    {&date_type, -1, NULL, "2000-02-30", NULL},
    {&date_type, -1, NULL, "6000000-01-01", NULL}, /* more days than an int has */
    {&date_type, -1, "time.precision.mode=isostring", "2000-01-01", "0214323030302d30312d3031"},
    {&date_type, -1, "time.precision.mode=isostring", "0044-03-15 BC",
     "02162d303034332d30332d3135"},
    {&date_type, -1, "time.precision.mode=isostring", "infinity", "0210696e66696e697479"},
    {&date_type, -1, "time.precision.mode=isostring", "\xe9", NULL},
    {&date_type, -1, "time.precision.mode=microseconds", "2000-01-01", "029aab01"},

    {&time_type, -1, NULL, "00:00:00", "0200"},
    {&time_type, -1, NULL, "00:00:00.000001", "0202"},
    {&time_type, -1, NULL, "24:00:00", "028080bbdd8305"},
    {&time_type, -1, NULL, "25:00:00", NULL},
    {&time_type, -1, NULL, "", NULL},
    {&time_type, -1, "time.precision.mode=isostring", "00:00:00.5",
     "021430303a30303a30302e35"},

    {&timestamp_type, -1, NULL, "1970-01-01 00:00:00", "0200"},
    {&timestamp_type, -1, NULL, "1969-12-31 23:59:59.999999", "0201"},
    {&timestamp_type, -1, NULL, "294247-01-10 04:00:54.775807", "02feffffffffffffffff01"},
    {&timestamp_type, -1, NULL, "294247-01-10 04:00:54.775808", NULL},
    {&timestamp_type, -1, NULL, "4713-12-31 23:59:59.999999 BC", "028180a8bccd9f83ed05"},
    {&timestamp_type, -1, NULL, "infinity", NULL},
    {&timestamp_type, -1, NULL, "1970-01-01 00:00:00+00", NULL},
    {&timestamp_type, -1, "time.precision.mode=isostring", "1970-01-01 00:00:00",
     "0226313937302d30312d30315430303a30303a3030"},
    {&timestamptz_type, -1, NULL, "1970-01-01 00:00:00.000002+00", "0204"},
    {&timestamptz_type, -1, NULL, "1970-01-01 00:00:00+01", "02ff8f9de91a"},
    {&timestamptz_type, -1, NULL, "-infinity", NULL},
    {&timestamptz_type, -1, NULL, "1970-01-01 00:00:00", NULL},
    {&timestamptz_type, -1, "time.precision.mode=isostring", "1970-01-01 00:00:00+00",
     "0228313937302d30312d30315430303a30303a30305a"},

    {&interval_type, -1, NULL, "1 day", "020a3120646179"},
    {&interval_type, -1, "interval.handling.mode=string", "1 day", "0206503144"},
    {&interval_type, -1, "interval.handling.mode=string", "infinity", "0210696e66696e697479"},
    {&interval_type, -1, "interval.handling.mode=numeric", "00:00:00.000001", "0202"},
    {&interval_type, -1, "interval.handling.mode=numeric", "1 mon", "0280e8dbc4899901"},
    {&interval_type, -1, "interval.handling.mode=numeric", "-1 days", "02ffffbadd8305"},
    {&interval_type, -1, "interval.handling.mode=numeric", "infinity", NULL},
    {&interval_type, -1, "interval.handling.mode=numeric", "178000000 years", NULL},

    {&bytea_type, -1, NULL, "\\x", "0200"},
    {&bytea_type, -1, NULL, "\\x0102ff", "02060102ff"},
    {&bytea_type, -1, NULL, "\\x0102FF", "02060102ff"},
    {&bytea_type, -1, NULL, "\\x010", NULL},
    {&bytea_type, -1, NULL, "\\x0g", NULL},
    {&bytea_type, -1, NULL, "\\xg0", NULL},
    {&bytea_type, -1, NULL, "\\x0@", NULL},
    {&bytea_type, -1, NULL, "", NULL},
    {&bytea_type, -1, NULL, "ab", NULL},
    {&bytea_type, -1, "binary.handling.mode=bytes", "\\x01", "020201"},
    {&bytea_type, -1, "binary.handling.mode=base64", "\\x010203", "020841514944"},
    {&bytea_type, -1, "binary.handling.mode=base64", "\\x", "0200"},
    {&bytea_type, -1, "binary.handling.mode=base64", "\\x0g", NULL},
    {&bytea_type, -1, "binary.handling.mode=base64", "\\xfbffbf", "02082b2f2b2f"},
    {&bytea_type, -1, "binary.handling.mode=base64-url-safe", "\\xfbffbf", "02082d5f2d5f"},
    {&bytea_type, -1, "binary.handling.mode=base64-url-safe", "\\xfb", "02082d773d3d"},
    {&bytea_type, -1, "binary.handling.mode=hex", "\\x0102ff", "020c303130326666"},
    {&bytea_type, -1, "binary.handling.mode=hex", "\\x0", NULL},
    {&bytea_type, -1, "binary.handling.mode=hex", "\\xzz", NULL},

    {&uuid_type, -1, NULL, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
     "0248"
     "61306565626339392d396330622d346566382d626236642d366262396264333830613131"},
    {&uuid_type, -1, NULL, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", NULL},
    {&uuid_type, -1, NULL, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", NULL},
    {&uuid_type, -1, NULL, "a0eebc9909c0b-4ef8-bb6d-6bb9bd380a11", NULL},

    {&int4_array, -1, NULL, "{}", "0200"},
    {&int4_array, -1, NULL, "{1,NULL,-1}", "02" "06" "0202" "00" "0201" "00"},
    {&int4_array, -1, NULL, "[0:1]={1,2}", "02" "04" "0202" "0204" "00"},
    {&int4_array, -1, NULL, "[-3:-2]={1,2}", "02" "04" "0202" "0204" "00"},
    {&int4_array, -1, NULL, "{\"1\"}", "02" "02" "0202" "00"},
    {&int4_array, -1, NULL, "{{1,2}}", "04" "0e" "7b7b312c327d7d"},
    {&int4_array, -1, NULL, "[1:1][1:1]={{1}}", "0420" "5b313a315d5b313a315d3d7b7b317d7d"},
    {&int4_array, -1, NULL, "{2147483648}", "0418" "7b323134373438333634387d"},
    {&int4_array, -1, NULL, "{1,}", "04087b312c7d"},
    {&int4_array, -1, NULL, "{1", "04047b31"},
    {&int4_array, -1, NULL, "", "0400"},
    {&int4_array, -1, NULL, "{\xe9}", NULL},
    {&text_array, -1, NULL, "{a,\"NULL\",\"x \\\"y\\\\\",null,\"\"}",
     "02" "0a" "020261" "02084e554c4c" "020a782022795c" "00" "0200" "00"},
    {&text_array, -1, NULL, "{\"\xe9\"}", NULL},
    {&text_array, -1, NULL, "{,a}", "04087b2c617d"},
    {&text_array, -1, NULL, "{a{b}", "040a7b617b627d"},
    {&box_array, -1, NULL, "{(1,1),(0,0);NULL}",
     "02" "04" "02162831" "2c31292c28302c3029" "00" "00"},
    {&numeric_array, NUMERIC(3, 2), NULL, "{1.28,-1.28}", "02" "04" "02040080" "020280" "00"},
    {&numeric_array, NUMERIC(3, 2), NULL, "{NaN}", "040a" "7b4e614e7d"},
    {&numeric_array, -1, NULL, "{NaN}", "02" "02" "02064e614e" "00"},
    {&date_array, -1, NULL, "{1970-01-01,infinity}",
     "042a" "7b313937302d30312d30312c696e66696e6974797d"},
    {&bytea_array, -1, NULL, "{\"\\\\x0102\"}", "02" "02" "02040102" "00"},
    {&json_array, -1, NULL, "{\"{\\\"a\\\": 1}\"}", "02" "02" "02107b2261223a20317d" "00"},
    {&hstore_array, -1, NULL, "{\"\\\"a\\\"=>NULL\"}", "02" "02" "02" "02" "0261" "00" "00" "00"},
    {&array_array, -1, NULL, "{\"{1,2}\",NULL,\"{{3}}\"}",
     "02" "06" "02" "04" "0202" "0204" "00" "00" "04" "0a" "7b7b337d7d" "00"},
    {&bare_array, -1, NULL, "{a,b}", "02" "04" "020261" "020262" "00"},

    {&hstore_type, -1, NULL, "", "0200"},
    {&hstore_type, -1, NULL, "\"a\"=>\"1\", \"b\"=>NULL",
     "02" "04" "0261" "020231" "0262" "00" "00"},
    {&hstore_type, -1, NULL, "\"a\\\"\\\\\"=>\"\"", "02" "02" "0661225c" "0200" "00"},
    {&hstore_type, -1, NULL, "\"a\"=>\"1\",", NULL},
    {&hstore_type, -1, NULL, "\"a\"=>\"1\", ", NULL},
    {&hstore_type, -1, NULL, "\"a\"=>1", NULL},
    {&hstore_type, -1, NULL, "\"a\"", NULL},
    {&hstore_type, -1, NULL, "\"\xe9\"=>NULL", NULL},
    {&hstore_type, -1, NULL, "\"\\\\\xe9\"=>NULL", NULL},
    {&hstore_type, -1, "hstore.handling.mode=json", "\"a\"=>NULL", "02147b2261223a6e756c6c7d"},
    {&hstore_type, -1, "hstore.handling.mode=json", "", "02047b7d"},
    {&hstore_type, -1, "hstore.handling.mode=json", "\"a\"", NULL},
    {&hstore_type, -1, "hstore.handling.mode=map", "\"a\"=>NULL", "02020261" "0000"},
};

enum { NGOLDENS = sizeof goldens / sizeof goldens[0] };

static void add_hex(struct buf *to, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(to, "%02x", (unsigned char)bytes[i]);
}

/* The bytes are those that are expected, and libavro takes them for one value. */
static void test_golden(const struct golden *g, struct buf *b, struct buf *hex)
{
    struct pair p;
    bool written;

    pair_open(&p, g->type, g->typmod, g->set);
    written = write_value(b, &p.rule, g->text, strlen(g->text));
    hex->len = 0;
    add_hex(hex, b->data, b->len);
    buf_add_char(hex, '\0');
    if (!g->hex) {
        ok(!written, "%s refuses \"%s\"", p.schema_text, g->text);
    } else if (written) {
        is_str(hex->data, g->hex, g->text);
        ok(read_value(&p, b), "and libavro reads it: %s", p.schema_text);
    } else {
        ok(false, "%s takes \"%s\"", p.schema_text, g->text);
    }
    pair_close(&p);
}

static void test_goldens(struct buf *b, struct buf *hex)
{
    for (size_t i = 0; i < NGOLDENS; i++)
        test_golden(&goldens[i], b, hex);
}

/* ---- schemas ---- */

static void is_schema(const struct type *type, int32_t typmod, const char *set,
                      const char *expected)
{
    struct pair p;

    pair_open(&p, type, typmod, set);
    is_str(p.schema_text, expected, expected);
    pair_close(&p);
}

static void test_schemas(void)
{
    is_schema(NULL, -1, NULL, "[\"null\",\"string\"]");
    is_schema(&bool_type, -1, NULL, "[\"null\",\"boolean\"]");
    is_schema(&int2_type, -1, NULL, "[\"null\",\"int\"]");
    is_schema(&int4_type, -1, NULL, "[\"null\",\"int\"]");
    is_schema(&int8_type, -1, NULL, "[\"null\",\"long\"]");
    is_schema(&oid_type, -1, NULL, "[\"null\",\"long\"]");
    is_schema(&float4_type, -1, NULL, "[\"null\",\"float\"]");
    is_schema(&float8_type, -1, NULL, "[\"null\",\"double\"]");
    is_schema(&float8_type, -1, "decimal.handling.mode=string", "[\"null\",\"double\"]");
    is_schema(&numeric_type, -1, NULL, "[\"null\",\"string\"]");
    is_schema(&numeric_type, NUMERIC(1000, 0), NULL,
              "[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":1000,"
              "\"scale\":0}]");
    is_schema(&domain_type, -1, NULL,
              "[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":4,"
              "\"scale\":1}]");
    is_schema(&numeric_type, NUMERIC(2, 3), NULL, "[\"null\",\"string\"]");
    is_schema(&numeric_type, NUMERIC(2, -3), NULL, "[\"null\",\"string\"]");
    is_schema(&numeric_type, -1, "decimal.handling.mode=double", "[\"null\",\"double\"]");
    is_schema(&date_type, -1, NULL, "[\"null\",{\"type\":\"int\",\"logicalType\":\"date\"}]");
    is_schema(&time_type, -1, NULL,
              "[\"null\",{\"type\":\"long\",\"logicalType\":\"time-micros\"}]");
    is_schema(&timestamp_type, -1, NULL,
              "[\"null\",{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}]");
    is_schema(&timestamptz_type, -1, NULL,
              "[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}]");
    is_schema(&timestamptz_type, -1, "time.precision.mode=isostring", "[\"null\",\"string\"]");
    is_schema(&timetz_type, -1, NULL, "[\"null\",\"string\"]");
    is_schema(&uuid_type, -1, NULL, "[\"null\",{\"type\":\"string\",\"logicalType\":\"uuid\"}]");
    is_schema(&interval_type, -1, NULL, "[\"null\",\"string\"]");
    is_schema(&interval_type, -1, "interval.handling.mode=numeric", "[\"null\",\"long\"]");
    is_schema(&bytea_type, -1, NULL, "[\"null\",\"bytes\"]");
    is_schema(&bytea_type, -1, "binary.handling.mode=hex", "[\"null\",\"string\"]");
    is_schema(&hstore_type, -1, NULL,
              "[\"null\",{\"type\":\"map\",\"values\":[\"null\",\"string\"]}]");
    is_schema(&hstore_type, -1, "hstore.handling.mode=json", "[\"null\",\"string\"]");
    is_schema(&int4_array, -1, NULL,
              "[\"null\",{\"type\":\"array\",\"items\":[\"null\",\"int\"]},\"string\"]");
    is_schema(&numeric_array, NUMERIC(5, 2), NULL,
              "[\"null\",{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"bytes\","
              "\"logicalType\":\"decimal\",\"precision\":5,\"scale\":2}]},\"string\"]");
    is_schema(&array_array, -1, NULL,
              "[\"null\",{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"array\",\"items\":"
              "[\"null\",\"int\"]},\"string\"]},\"string\"]");
}

/* A column that cannot be null has T alone; rule.write then appends no branch, but for arrays. */
static void test_not_null(struct buf *b)
{
    struct pair p;
    cJSON *schema;
    char *text;

    pair_open(&p, &int4_type, -1, NULL);
    schema = avro_value_schema(&p.rule);
    text = cJSON_PrintUnformatted(schema);
    is_str(text, "\"int\"", "T alone");
    b->len = 0;
    ok(!avro_writes_branch(&p.rule) && p.rule.write(b, "7", 1, &p.rule) && b->len == 1 &&
           b->data[0] == 14,
       "without a branch");
    cJSON_free(text);
    cJSON_Delete(schema);
    pair_close(&p);

    pair_open(&p, &int4_array, -1, NULL);
    schema = avro_value_schema(&p.rule);
    text = cJSON_PrintUnformatted(schema);
    is_str(text, "[{\"type\":\"array\",\"items\":[\"null\",\"int\"]},\"string\"]", "two of them");
    b->len = 0;
    ok(avro_writes_branch(&p.rule) && p.rule.write(b, "{7}", 3, &p.rule) && b->len == 5 &&
           memcmp(b->data, "\x02\x02\x02\x0e", 5) == 0,
       "with a branch");
    cJSON_free(text);
    cJSON_Delete(schema);
    b->len = 0;
    avro_add_null(b);
    ok(read_value(&p, b) && avro_value_get_null(&p.value) != 0, "null is a branch of its own");
    pair_close(&p);
}

/* ---- faults ---- */

static void is_fault(const struct type *type, int32_t typmod, const char *set, const char *text,
                     const char *expected, const char *expected_hint)
{
    const char *fault, *hint = "unset";
    struct buf b;
    struct pair p;

    buf_init(&b, 1);
    pair_open(&p, type, typmod, set);
    ok(!write_value(&b, &p.rule, text, strlen(text)), "refused by %s", p.schema_text);
    fault = avro_value_fault(&p.rule, text, strlen(text), &hint);
    is_str(fault, expected, expected);
    ok(expected_hint ? hint && strstr(hint, expected_hint) : !hint, "hint: %s",
       hint ? hint : "none");
    pair_close(&p);
    buf_release(&b);
}

static void test_faults(void)
{
    static const char decimals[] = "--set decimal.handling.mode=string";
    static const char times[] = "--set time.precision.mode=isostring";
    static const char form[] = "the value has not the form that its type promises";
    static const char utf8[] = "the value is not valid UTF-8";
    static const char endless[] = "Avro's dates and timestamps have no infinity";
    static const char beyond[] = "the time is beyond what its Avro type holds";

    is_fault(&numeric_type, NUMERIC(3, 2), NULL, "NaN",
             "Avro's decimals have neither NaN nor infinity", decimals);
    is_fault(&numeric_type, NUMERIC(3, 2), NULL, "-Infinity",
             "Avro's decimals have neither NaN nor infinity", decimals);
    is_fault(&numeric_type, NUMERIC(3, 2), NULL, "10.00",
             "the number is beyond what its Avro type holds", decimals);
    is_fault(&numeric_type, -1, "decimal.handling.mode=double", "1e400",
             "the number is beyond what its Avro type holds", decimals);
    is_fault(&numeric_type, NUMERIC(3, 2), NULL, "x", form, NULL);
    is_fault(&float8_type, -1, NULL, "1e400", form, NULL);
    is_fault(&date_type, -1, NULL, "infinity", endless, times);
    is_fault(&timestamp_type, -1, NULL, "-infinity", endless, times);
    is_fault(&timestamptz_type, -1, NULL, "infinity", endless, times);
    is_fault(&date_type, -1, NULL, "5900000-01-01", beyond, times);
    is_fault(&timestamp_type, -1, NULL, "294276-12-31 23:59:59.999999", beyond, times);
    is_fault(&timestamptz_type, -1, NULL, "294276-12-31 23:59:59.999999+00", beyond, times);
    is_fault(&timestamp_type, -1, NULL, "yesterday", form, NULL);
    is_fault(&interval_type, -1, "interval.handling.mode=numeric", "infinity",
             "the interval is beyond 64 bits of microseconds",
             "--set interval.handling.mode=string");
    is_fault(&interval_type, -1, "interval.handling.mode=numeric", "178000000 years",
             "the interval is beyond 64 bits of microseconds",
             "--set interval.handling.mode=string");
    is_fault(&interval_type, -1, "interval.handling.mode=numeric", "soon", form, NULL);
    is_fault(&text_type, -1, NULL, "a\xff", utf8, NULL);
    is_fault(&int4_array, -1, NULL, "{\xff}", utf8, NULL);
    is_fault(&numeric_type, NUMERIC(3, 2), NULL, "\xff", utf8, NULL);
    is_fault(&bool_type, -1, NULL, "maybe", form, NULL);
    is_fault(&hstore_type, -1, NULL, "\"a\"", form, NULL);
}

/* ---- values that come back ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The value in the branch that is not null. */
static avro_value_t branch_of(struct pair *p)
{
    avro_value_t branch;

    avro_value_get_current_branch(&p->value, &branch);
    return branch;
}

static bool round_trip(struct pair *p, const char *text, struct buf *b)
{
    return write_value(b, &p->rule, text, strlen(text)) && read_value(p, b);
}

/* Numbers of every length, and one around every power of two. */
static void test_integers(struct buf *b)
{
    uint64_t state = 88172645463325252u;
    unsigned wrong = 0;
    char text[32];
    struct pair p;

    pair_open(&p, &int8_type, -1, NULL);
    for (int round = 0; round < 4000; round++) {
        uint64_t bits = round < 384 ? (UINT64_C(1) << round / 6) + (uint64_t)(round % 3) - 1
                                    : random_next(&state) >> random_next(&state) % 64;
        int64_t n = (int64_t)(round % 6 < 3 ? bits : 0 - bits);
        avro_value_t value;
        int64_t back;

        snprintf(text, sizeof text, "%" PRId64, n);
        if (!round_trip(&p, text, b)) {
            wrong++;
            continue;
        }
        value = branch_of(&p);
        wrong += avro_value_get_long(&value, &back) != 0 || back != n;
    }
    ok(wrong == 0, "integers come back");
    pair_close(&p);
}

/* A number ends where its text does, whatever lies behind it in the buffer. */
static void test_float_end(struct buf *b)
{
    double value = 0;
    struct pair p;

    pair_open(&p, &float8_type, -1, NULL);
    b->len = 0;
    memset(buf_reserve(b, 64), '7', 64);
    ok(p.rule.write(b, "1.5", 3, &p.rule) && b->len == sizeof value, "a number among digits");
    memcpy(&value, b->data, sizeof value);
    ok(value == 1.5, "is not taken for a longer one");
    pair_close(&p);
}

static void test_floats(struct buf *b)
{
    uint64_t state = 88172645463325252u;
    unsigned wrong = 0;
    char text[64];
    struct pair p, q;

    pair_open(&p, &float8_type, -1, NULL);
    pair_open(&q, &float4_type, -1, NULL);
    for (int round = 0; round < 4000; round++) {
        uint64_t bits = random_next(&state);
        uint32_t half = (uint32_t)(bits >> 32);
        double d, d_back = 0;
        float f, f_back = 0;
        avro_value_t value;

        memcpy(&d, &bits, sizeof d);
        memcpy(&f, &half, sizeof f);
        if (isfinite(d)) {
            snprintf(text, sizeof text, "%.17g", d);
            wrong += !round_trip(&p, text, b);
            value = branch_of(&p);
            wrong += avro_value_get_double(&value, &d_back) != 0 || memcmp(&d, &d_back, 8) != 0;
        }
        if (isfinite(f)) {
            snprintf(text, sizeof text, "%.9g", (double)f);
            wrong += !round_trip(&q, text, b);
            value = branch_of(&q);
            wrong += avro_value_get_float(&value, &f_back) != 0 || memcmp(&f, &f_back, 4) != 0;
        }
    }
    ok(wrong == 0, "floats come back, bit by bit");
    pair_close(&p);
    pair_close(&q);
}

/* Two's complement -> digits, by long division: the slow way, and this file's own. */
static void decimal_text(const unsigned char *bytes, size_t n, int scale, char *text)
{
    unsigned char magnitude[512];
    char digits[1300];
    size_t ndigits = 0;
    bool negative = bytes[0] & 0x80;
    unsigned carry = negative;

    for (size_t i = n; i-- > 0;) {
        unsigned byte = (negative ? (unsigned char)~bytes[i] : bytes[i]) + carry;

        magnitude[i] = (unsigned char)byte;
        carry = byte >> 8;
    }
    for (bool more = true; more || ndigits < (size_t)scale + 1 + (scale > 0);) {
        unsigned rest = 0;

        more = false;
        for (size_t i = 0; i < n; i++) {
            rest = rest << 8 | magnitude[i];
            magnitude[i] = (unsigned char)(rest / 10);
            rest %= 10;
            more |= magnitude[i] != 0;
        }
        digits[ndigits++] = (char)('0' + rest);
        if (ndigits == (size_t)scale)
            digits[ndigits++] = '.';
    }
    if (negative)
        *text++ = '-';
    while (ndigits > 0)
        *text++ = digits[--ndigits];
    *text = '\0';
}

static void random_decimal(uint64_t *state, int precision, int scale, char *text)
{
    int ndigits = 1 + (int)(random_next(state) % (uint64_t)precision);
    bool nines = random_next(state) % 4 == 0;
    bool zero = true;
    char *p = text;

    if (ndigits <= scale)
        ndigits = scale + 1;
    *p++ = '-';
    for (int i = ndigits; i > 0; i--) {
        bool leading = ndigits == scale + 1 && i == ndigits && precision == scale;
        char digit = (char)(nines ? '9' : '0' + random_next(state) % 10);

        if ((i == ndigits && i > scale + 1 && digit == '0'))
            digit = '1';
        if (leading)
            digit = '0';
        zero &= digit == '0';
        *p++ = digit;
        if (i == scale + 1 && scale > 0)
            *p++ = '.';
    }
    *p = '\0';
    if (zero || random_next(state) % 2)
        memmove(text, text + 1, strlen(text));
}

static void test_decimals(struct buf *b)
{
    static const int shapes[][2] = {{1, 0}, {1, 1}, {5, 2}, {10, 10}, {18, 6}, {19, 0}, {38, 9},
                                    {77, 20}, {300, 150}, {1000, 999}};
    uint64_t state = 88172645463325252u;

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int precision = shapes[i][0], scale = shapes[i][1];
        unsigned wrong = 0;
        struct pair p;

        pair_open(&p, &numeric_type, NUMERIC(precision, scale), NULL);
        for (int round = 0; round < 500; round++) {
            char text[1100], back[1400];
            const void *bytes;
            size_t n;
            avro_value_t value;

            random_decimal(&state, precision, scale, text);
            if (!round_trip(&p, text, b)) {
                wrong++;
                tap_note("refused %s", text);
                continue;
            }
            value = branch_of(&p);
            avro_value_get_bytes(&value, &bytes, &n);
            decimal_text(bytes, n, scale, back);
            if (strcmp(text, back) != 0) {
                wrong++;
                tap_note("%s became %s", text, back);
            }
        }
        ok(wrong == 0, "500 numbers of numeric(%d,%d) come back", precision, scale);
        pair_close(&p);
    }
}

/* Lengths around those where the length's own length changes. */
static void test_strings(struct buf *b)
{
    static const size_t lengths[] = {0, 1, 62, 63, 64, 65, 1023, 1024, 1025, 8191, 8192, 100000};
    unsigned wrong = 0;
    struct pair p;

    pair_open(&p, &text_type, -1, NULL);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = xcalloc(lengths[i] + 1, 1);
        avro_value_t value;
        const char *back;
        size_t n;

        memset(text, 'x', lengths[i]);
        wrong += !round_trip(&p, text, b);
        value = branch_of(&p);
        wrong += avro_value_get_string(&value, &back, &n) != 0 || n != lengths[i] + 1 ||
                 memcmp(text, back, n) != 0;
        free(text);
    }
    ok(wrong == 0, "strings come back");
    pair_close(&p);
}

/* The element at i is text of so many bytes, every other one such that it has to be escaped. */
static void add_element(struct buf *text, size_t i, size_t len)
{
    buf_add_str(text, i ? ",\"" : "\"");
    for (size_t n = 0; n < len; n++)
        buf_add_str(text, i % 2 ? "\\\"" : "y");
    buf_add_char(text, '"');
}

static bool is_element(avro_value_t *array, size_t i, size_t len)
{
    avro_value_t item, branch;
    const char *back;
    size_t n;

    if (avro_value_get_by_index(array, i, &item, NULL) != 0 ||
        avro_value_get_current_branch(&item, &branch) != 0 ||
        avro_value_get_string(&branch, &back, &n) != 0 || n != len + 1)
        return false;
    for (size_t k = 0; k < len; k++)
        if (back[k] != (i % 2 ? '"' : 'y'))
            return false;
    return true;
}

static void test_array_of(size_t count, size_t len, struct buf *b)
{
    unsigned wrong = 0;
    avro_value_t array;
    struct buf text;
    struct pair p;
    size_t size;

    buf_init(&text, 1);
    buf_add_char(&text, '{');
    for (size_t i = 0; i < count; i++)
        add_element(&text, i, len);
    buf_add(&text, "}", 2);
    pair_open(&p, &text_array, -1, NULL);
    ok(round_trip(&p, text.data, b), "%zu elements of %zu bytes", count, len);
    array = branch_of(&p);
    wrong += avro_value_get_size(&array, &size) != 0 || size != count;
    for (size_t i = 0; i < count && wrong == 0; i++)
        wrong += !is_element(&array, i, len);
    ok(wrong == 0, "come back");
    pair_close(&p);
    buf_release(&text);
}

static void test_arrays(struct buf *b)
{
    test_array_of(1, 0, b);
    test_array_of(63, 3, b);
    test_array_of(64, 3, b);
    test_array_of(10000, 2, b);
    test_array_of(5, 511, b);
    test_array_of(5, 512, b);
    test_array_of(5, 513, b);
    test_array_of(4, 70000, b);
}

/* Keys that are numbers and values that have to be escaped; every third is null. */
static void test_maps(struct buf *b)
{
    unsigned wrong = 0;
    avro_value_t map;
    struct buf text;
    struct pair p;
    size_t size;

    buf_init(&text, 1);
    for (unsigned i = 0; i < 100; i++)
        buf_printf(&text, i % 3 ? "%s\"k%u\"=>\"\\\\v\\\"%u\"" : "%s\"k%u\"=>NULL",
                   i ? ", " : "", i, i);
    buf_add_char(&text, '\0');
    pair_open(&p, &hstore_type, -1, NULL);
    ok(round_trip(&p, text.data, b), "an hstore of 100 pairs");
    map = branch_of(&p);
    ok(avro_value_get_size(&map, &size) == 0 && size == 100, "has so many");
    for (unsigned i = 0; i < 100; i++) {
        char key[16], expected[16];
        avro_value_t item, branch;
        const char *back = NULL;
        size_t n;
        int which = -1;

        snprintf(key, sizeof key, "k%u", i);
        snprintf(expected, sizeof expected, "\\v\"%u", i);
        wrong += avro_value_get_by_name(&map, key, &item, NULL) != 0 ||
                 avro_value_get_discriminant(&item, &which) != 0 || which != (i % 3 != 0);
        if (i % 3 == 0 || wrong > 0)
            continue;
        avro_value_get_current_branch(&item, &branch);
        wrong += avro_value_get_string(&branch, &back, &n) != 0 || strcmp(back, expected) != 0;
    }
    ok(wrong == 0, "which come back");
    pair_close(&p);
    buf_release(&text);
}

/* Every byte; and lengths that take two bytes, the second of which is '+' or '/' itself. */
static void test_bytes(struct buf *b)
{
    unsigned wrong = 0;
    struct pair p, url;
    struct buf text;

    buf_init(&text, 1);
    pair_open(&p, &bytea_type, -1, NULL);
    pair_open(&url, &bytea_type, -1, "binary.handling.mode=base64-url-safe");
    for (size_t n = 0; n < 3000; n += n < 300 || n > 2000 ? 1 : 97) {
        avro_value_t value;
        const void *bytes;
        const char *string;
        size_t len;

        text.len = 0;
        buf_add_str(&text, "\\x");
        for (size_t i = 0; i < n; i++)
            buf_printf(&text, "%02zx", (i * 7 + n) % 256);
        buf_add_char(&text, '\0');
        wrong += !round_trip(&p, text.data, b);
        value = branch_of(&p);
        wrong += avro_value_get_bytes(&value, &bytes, &len) != 0 || len != n;
        for (size_t i = 0; i < n && wrong == 0; i++)
            wrong += ((const unsigned char *)bytes)[i] != (i * 7 + n) % 256;
        wrong += !round_trip(&url, text.data, b);
        value = branch_of(&url);
        wrong += avro_value_get_string(&value, &string, &len) != 0 || len != (n + 2) / 3 * 4 + 1 ||
                 strspn(string, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-_=") != len - 1;
    }
    ok(wrong == 0, "bytes come back");
    pair_close(&p);
    pair_close(&url);
    buf_release(&text);
}

/* ---- anything at all ---- */

static bool is_utf8(const char *text, size_t len)
{
    size_t i = 0;

    while (i < len) {
        unsigned c = (unsigned char)text[i];
        size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        unsigned code = more ? c & (0x3fu >> more) : c;

        if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || more >= len - i)
            return false;
        for (size_t k = 1; k <= more; k++) {
            unsigned char byte = (unsigned char)text[i + k];

            if ((byte & 0xc0) != 0x80)
                return false;
            code = code << 6 | (byte & 0x3f);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10ffff ||
            (code >= 0xd800 && code < 0xe000))
            return false;
        i += more + 1;
    }
    return true;
}

/* Whether T of the type has room for every text. */
static bool takes_anything(const struct type *type)
{
    switch (type ? type->kind : TYPE_TEXT) {
    case TYPE_TEXT:
    case TYPE_JSON:
    case TYPE_TIMETZ:
    case TYPE_BIT:
    case TYPE_MONEY:
    case TYPE_POINT:
    case TYPE_ENUM:
    case TYPE_OTHER:
    case TYPE_ARRAY:
        return true;
    default:
        return false;
    }
}

/* Libavro reads what was written, and what is not UTF-8 never is; every refusal has a reason. */
static bool holds(struct pair *p, const char *text, size_t len, struct buf *b)
{
    static const char no_utf8[] = "the value is not valid UTF-8";
    bool valid = is_utf8(text, len);
    bool written = write_value(b, &p->rule, text, len);
    const char *hint;

    if (valid == (strcmp(avro_value_fault(&p->rule, text, len, &hint), no_utf8) == 0))
        return false;
    if (written)
        return valid && read_value(p, b);
    return !valid || !takes_anything(p->rule.type);
}

static unsigned count_wrong(struct pair *p, const char *text, size_t len, struct buf *b)
{
    if (holds(p, text, len, b))
        return 0;
    tap_note("%s: \"%.*s\"", p->schema_text, (int)len, text);
    return 1;
}

/* Every golden text, cut at every byte, as that of every type. */
static void test_cuts(struct buf *b)
{
    unsigned wrong = 0;

    for (size_t i = 0; i < NGOLDENS; i++) {
        const char *text = goldens[i].text;
        struct pair p;

        pair_open(&p, goldens[i].type, goldens[i].typmod, goldens[i].set);
        for (size_t n = 0; n <= strlen(text); n++)
            wrong += count_wrong(&p, text, n, b);
        pair_close(&p);
    }
    ok(wrong == 0, "golden texts cut at every byte");
}

static void test_mixed_up(struct buf *b)
{
    unsigned wrong = 0;

    for (size_t t = 0; t < NTYPES; t++) {
        struct pair p;

        pair_open(&p, all_types[t], -1, NULL);
        for (size_t i = 0; i < NGOLDENS; i++)
            wrong += count_wrong(&p, goldens[i].text, strlen(goldens[i].text), b);
        pair_close(&p);
    }
    ok(wrong == 0, "every golden text as every type");
}

/* Characters that mean something to somebody, as random bytes alone never get anywhere. */
static size_t random_tokens(uint64_t *state, char *text, size_t size)
{
    static const char *const tokens[] = {
        "{", "}", "{", "}", "[", "]", ",", ",", ";", ":", "=", "\"", "\"", "\\", "\\\"", "\\\\",
        "=>", ", ", "NULL", "null", "true", "t", "0", "1", "12", "2023", "-", "+", ".", "e", " ",
        "\n", "\x01", "\\x", "ab", "\xc3\xa9", "\xe2\x82\xac", "\xc3", " BC", " year", " mons",
        " day", "00:00:00", "2023-05-01", " 12:34:56.7", "+00", "a", "\"a\"", "\"a\"=>\"b\"",
        "infinity", "NaN", "[0:1]=", "9223372036854775807", "-9223372036854775808",
    };
    size_t ntokens = random_next(state) % 12;
    size_t len = 0;

    for (size_t i = 0; i < ntokens; i++) {
        const char *token = tokens[random_next(state) % (sizeof tokens / sizeof tokens[0])];
        size_t n = strlen(token);

        if (len + n > size)
            break;
        memcpy(text + len, token, n);
        len += n;
    }
    return len;
}

/* A golden text with one byte changed. */
static size_t random_change(uint64_t *state, char *text, size_t size)
{
    const char *golden = goldens[random_next(state) % NGOLDENS].text;
    size_t len = strlen(golden);

    if (len == 0 || len > size)
        return 0;
    memcpy(text, golden, len);
    text[random_next(state) % len] = (char)random_next(state);
    return len;
}

static void test_random(struct buf *b)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

    for (size_t t = 0; t < NTYPES; t++) {
        const struct type *type = all_types[t];
        unsigned wrong = 0;

        for (size_t s = 0; s < NSETS; s++) {
            struct pair p;

            pair_open(&p, type, s % 2 ? NUMERIC(5, 2) : -1, all_sets[s]);
            for (int round = 0; round < 300; round++) {
                char text[96];

                wrong += count_wrong(&p, text, random_tokens(&state, text, sizeof text), b);
                wrong += count_wrong(&p, text, random_change(&state, text, sizeof text), b);
            }
            pair_close(&p);
        }
        ok(wrong == 0, "random texts with every setting, kind %d",
           (int)(type ? type->kind : TYPE_TEXT));
    }
}

/* ---- whole files ---- */

static const char row_schema[] =
    "{\"type\":\"record\",\"name\":\"row\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"long\"},"
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null}]}";

enum { ROWS = 20000 };

static void add_rows(struct container *c, struct buf *file)
{
    for (int i = 0; i < ROWS; i++) {
        struct buf *b = container_block(c);

        avro_add_long(b, i);
        if (i % 3) {
            avro_add_null(b);
        } else {
            avro_add_long(b, 1);
            avro_add_string(b, "a note of more than a few bytes", (size_t)(i % 31));
        }
        container_added(c);
        if (i % 100 == 0)
            container_mark(c);
        if (i % 7000 == 0 || container_is_full(c))
            container_close_marked(c, file);
    }
    container_close_all(c, file);
}

/* Whether the row is the i-th of add_rows(). */
static bool is_row(avro_value_t *row, int i)
{
    avro_value_t id, note, branch;
    const char *text = NULL;
    int64_t n = -1;
    int which = -1;
    size_t len;

    if (avro_value_get_by_index(row, 0, &id, NULL) != 0 || avro_value_get_long(&id, &n) != 0 ||
        n != i || avro_value_get_by_index(row, 1, &note, NULL) != 0 ||
        avro_value_get_discriminant(&note, &which) != 0 || which != (i % 3 == 0))
        return false;
    if (which == 0)
        return true;
    return avro_value_get_current_branch(&note, &branch) == 0 &&
           avro_value_get_string(&branch, &text, &len) == 0 && len == (size_t)(i % 31) + 1 &&
           memcmp(text, "a note of more than a few bytes", len - 1) == 0;
}

static void read_rows(avro_file_reader_t reader, const char *codec)
{
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    unsigned wrong = 0;
    avro_value_t row;
    int n = 0;

    avro_generic_value_new(iface, &row);
    while (avro_file_reader_read_value(reader, &row) == 0) {
        wrong += !is_row(&row, n++);
        avro_value_reset(&row);
    }
    ok(n == ROWS && wrong == 0, "libavro reads a file of codec %s: %d rows", codec, n);
    avro_value_decref(&row);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
}

static void test_file(enum codec codec, const char *name)
{
    char path[] = "/tmp/avro_value_test.XXXXXX";
    int fd = mkstemp(path);
    struct container *c = container_new(codec);
    avro_file_reader_t reader;
    struct buf file;

    buf_init(&file, 1);
    container_add_head(c, row_schema, &file);
    add_rows(c, &file);
    ok(fd >= 0 && write(fd, file.data, file.len) == (ssize_t)file.len, "a file of %zu bytes",
       file.len);
    if (ok(avro_file_reader(path, &reader) == 0, "libavro opens it")) {
        read_rows(reader, name);
        avro_file_reader_close(reader);
    } else {
        tap_note("%s: %s", name, avro_strerror());
    }
    close(fd);
    unlink(path);
    buf_release(&file);
    container_free(c);
}

int main(void)
{
    struct buf b, hex;

    buf_init(&b, 1);
    buf_init(&hex, 1);
    test_goldens(&b, &hex);
    test_schemas();
    test_not_null(&b);
    test_faults();
    test_integers(&b);
    test_floats(&b);
    test_float_end(&b);
    test_decimals(&b);
    test_strings(&b);
    test_arrays(&b);
    test_maps(&b);
    test_bytes(&b);
    test_cuts(&b);
    test_mixed_up(&b);
    test_random(&b);
    test_file(CODEC_NULL, "null");
    test_file(CODEC_DEFLATE, "deflate");
    test_file(CODEC_SNAPPY, "snappy"); /* libavro does not know zstandard */
    buf_release(&b);
    buf_release(&hex);
    return tap_done();
}
