/*
 * avro_value_test - every type's text -> Avro: golden bytes, limits, refusals, and read by libavro.
 *
 * Inputs are handed over in blocks of exactly their size, so that the address sanitizer sees a byte
 * read too many.  Whatever is written goes through libavro with the schema that is said to be that of
 * the values, as one of a nullable column.
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

/* A rule, its handling, and libavro's view of the schema. */
struct column {
    struct rule rule;
    struct handling handling;
    avro_schema_t schema;
    avro_value_iface_t *class;
    char *schema_text;
};
