/*
 * binary_test - the bytes of send functions -> text: the forms, hostile bytes, and anything else.
 *
 * The golden pairs are what PostgreSQL's own send and output functions made of one value each.
 * Bytes are handed over in blocks of exactly their size, so that the address sanitizer sees a
 * byte read too many.
 */
#include "binary/binary.h"

#include <stdlib.h>

#include "base/log.h"
#include "encode/value.h"
#include "tests/unit/tap.h"

static const struct type bool_type = {.binary = BINARY_BOOL};
static const struct type int2_type = {.binary = BINARY_INT2};
static const struct type int4_type = {.binary = BINARY_INT4};
static const struct type int8_type = {.binary = BINARY_INT8};
static const struct type uint4_type = {.binary = BINARY_UINT4};
static const struct type uint8_type = {.binary = BINARY_UINT8};
static const struct type char_type = {.binary = BINARY_CHAR};
static const struct type text_type = {.binary = BINARY_TEXT};
static const struct type versioned_type = {.binary = BINARY_VERSIONED_TEXT};
static const struct type float4_type = {.binary = BINARY_FLOAT4};
static const struct type float8_type = {.binary = BINARY_FLOAT8};
static const struct type numeric_type = {.binary = BINARY_NUMERIC};
static const struct type money_type = {.binary = BINARY_MONEY};
static const struct type date_type = {.binary = BINARY_DATE};
static const struct type time_type = {.binary = BINARY_TIME};
static const struct type timetz_type = {.binary = BINARY_TIMETZ};
static const struct type timestamp_type = {.binary = BINARY_TIMESTAMP};
static const struct type timestamptz_type = {.binary = BINARY_TIMESTAMPTZ};
static const struct type interval_type = {.binary = BINARY_INTERVAL};
static const struct type bytea_type = {.binary = BINARY_BYTEA};
static const struct type bit_type = {.binary = BINARY_BIT};
static const struct type uuid_type = {.binary = BINARY_UUID};
static const struct type inet_type = {.binary = BINARY_INET};
static const struct type macaddr_type = {.binary = BINARY_MACADDR};
static const struct type macaddr8_type = {.binary = BINARY_MACADDR8};
static const struct type point_type = {.binary = BINARY_POINT};
static const struct type lseg_type = {.binary = BINARY_LSEG};
static const struct type box_type = {.binary = BINARY_BOX};
static const struct type line_type = {.binary = BINARY_LINE};
static const struct type path_type = {.binary = BINARY_PATH};
static const struct type polygon_type = {.binary = BINARY_POLYGON};
static const struct type circle_type = {.binary = BINARY_CIRCLE};
static const struct type lsn_type = {.binary = BINARY_LSN};
static const struct type tid_type = {.binary = BINARY_TID};
static const struct type snapshot_type = {.binary = BINARY_SNAPSHOT};
static const struct type int2vector_type = {.binary = BINARY_INT2VECTOR};
static const struct type oidvector_type = {.binary = BINARY_OIDVECTOR};
static const struct type hstore_type = {.binary = BINARY_HSTORE};
static const struct type tsvector_type = {.binary = BINARY_TSVECTOR};

static const struct type int4_array = {
    .binary = BINARY_ARRAY, .delimiter = ',', .element = &int4_type};
static const struct type text_array = {
    .binary = BINARY_ARRAY, .delimiter = ',', .element = &text_type};
static const struct type box_array = {
    .binary = BINARY_ARRAY, .delimiter = ';', .element = &box_type};
static const struct type numeric_array = {
    .binary = BINARY_ARRAY, .delimiter = ',', .element = &numeric_type};
static const struct type timestamp_array = {
    .binary = BINARY_ARRAY, .delimiter = ',', .element = &timestamp_type};
static const struct type domain_array = { /* of a domain over an array */
    .binary = BINARY_ARRAY, .delimiter = ',', .element = &int4_array};

/* ---- what is what ---- */

static const struct {
    const struct type *type;
    const char *hex;
    const char *text;
} goldens[] = {
    {&bool_type, "01", "t"},
    {&bool_type, "00", "f"},
    {&int2_type, "8000", "-32768"},
    {&int2_type, "7fff", "32767"},
    {&int4_type, "80000000", "-2147483648"},
    {&int4_type, "00000000", "0"},
    {&int8_type, "8000000000000000", "-9223372036854775808"},
    {&int8_type, "000000000000002a", "42"},
    {&uint4_type, "ffffffff", "4294967295"},
    {&uint8_type, "ffffffffffffffff", "18446744073709551615"},
    {&char_type, "61", "a"},
    {&char_type, "00", ""},
    {&char_type, "ff", "\\377"}, /* PostgreSQL 16 and later */
    {&char_type, "80", "\\200"},
    {&text_type, "", ""},
    {&text_type, "6120226222205c20c3a9", "a \"b\" \\ \xc3\xa9"},
    {&versioned_type, "017b2261223a205b312c206e756c6c5d7d", "{\"a\": [1, null]}"},
    {&float4_type, "00000000", "0"},
    {&float4_type, "80000000", "-0"},
    {&float4_type, "3fc00000", "1.5"},
    {&float4_type, "3dcccccd", "0.1"},
    {&float4_type, "ff7fffff", "-3.4028235e+38"},
    {&float4_type, "00000001", "1e-45"},
    {&float4_type, "47f12000", "123456"},
    {&float4_type, "4996b438", "1.234567e+06"},
    {&float4_type, "38d1b717", "0.0001"},
    {&float4_type, "3727c5ac", "1e-05"},
    {&float4_type, "7fc00000", "NaN"},
    {&float4_type, "7f800000", "Infinity"},
    {&float4_type, "ff800000", "-Infinity"},
    {&float8_type, "0000000000000000", "0"},
    {&float8_type, "8000000000000000", "-0"},
    {&float8_type, "3ff8000000000000", "1.5"},
    {&float8_type, "3fb999999999999a", "0.1"},
    {&float8_type, "3fd3333333333334", "0.30000000000000004"},
    {&float8_type, "ffefffffffffffff", "-1.7976931348623157e+308"},
    {&float8_type, "0000000000000001", "5e-324"},
    {&float8_type, "0010000000000000", "2.2250738585072014e-308"},
    {&float8_type, "42dc12218377de40", "123456789012345"},
    {&float8_type, "43118b54f22aeb00", "1.234567890123456e+15"},
    {&float8_type, "4480f0cf064dd592", "1e+22"},
    {&float8_type, "4340000000000000", "9.007199254740992e+15"},
    {&float8_type, "3f1a36e2eb1c432d", "0.0001"},
    {&float8_type, "3ee4f8b588e368f1", "1e-05"},
    {&float8_type, "3d30000000000000", "5.684341886080802e-14"},
    {&float8_type, "3eb0000000000000", "9.5367431640625e-07"},
    {&float8_type, "54b249ad2594c37d", "1e+100"},
    {&float8_type, "7ff8000000000000", "NaN"},
    {&float8_type, "7ff0000000000000", "Infinity"},
    {&float8_type, "fff0000000000000", "-Infinity"},
    {&numeric_type, "0000000000000000", "0"},
    {&numeric_type, "0000000000000002", "0.00"},
    {&numeric_type, "00010000400000000001", "-1"},
    {&numeric_type, "0003000100000004007b11d722ce", "1234567.8910"},
    {&numeric_type, "0001fffe0000000804b0", "0.00001200"},
    {&numeric_type, "00010001000000000001", "10000"},
    {&numeric_type, "0003000140000004270f270f270f", "-99999999.9999"},
    {&numeric_type, "00010005000000000001", "100000000000000000000"},
    {&numeric_type, "00000000c0000000", "NaN"},
    {&numeric_type, "00000000d0000020", "Infinity"},
    {&numeric_type, "00000000f0000020", "-Infinity"},
    {&money_type, "0000000000000000", "$0.00"},
    {&money_type, "ffffffffffffff9c", "-$1.00"},
    {&money_type, "000000000001e240", "$1,234.56"},
    {&money_type, "8000000000000000", "-$92,233,720,368,547,758.08"},
    {&money_type, "0000000005f5e0ff", "$999,999.99"},
    {&date_type, "00000000", "2000-01-01"},
    {&date_type, "00002279", "2024-02-29"},
    {&date_type, "fff4dbf9", "0001-01-01"},
    {&date_type, "fff4dbf8", "0001-12-31 BC"},
    {&date_type, "ffda97a7", "4714-11-24 BC"},
    {&date_type, "7fda970c", "5874897-12-31"},
    {&date_type, "ffff718f", "1900-03-01"},
    {&date_type, "00023c1e", "2400-12-31"},
    {&date_type, "7fffffff", "infinity"},
    {&date_type, "80000000", "-infinity"},
    {&time_type, "0000000000000000", "00:00:00"},
    {&time_type, "0000000a8be62608", "12:34:56.789"},
    {&time_type, "000000141dd76000", "24:00:00"},
    {&time_type, "0000000000000001", "00:00:00.000001"},
    {&timetz_type, "0000000a8be1bd20ffffe3e0", "12:34:56.5+02"},
    {&timetz_type, "000000000000000000003138", "00:00:00-03:30"},
    {&timetz_type, "000000141dd7600000000000", "24:00:00+00"},
    {&timetz_type, "00000000dde878c0ffffb299", "01:02:03+05:30:15"},
    {&timestamp_type, "0000000000000000", "2000-01-01 00:00:00"},
    {&timestamp_type, "ffffffffffffffff", "1999-12-31 23:59:59.999999"},
    {&timestamp_type, "ff1af9e8fb46d000", "0044-03-15 12:00:00 BC"},
    {&timestamp_type, "7fffff5bb3b29fff", "294276-12-31 23:59:59.999999"},
    {&timestamp_type, "fd0f7cc1411fa000", "4714-11-24 00:00:00 BC"},
    {&timestamp_type, "7fffffffffffffff", "infinity"},
    {&timestamp_type, "8000000000000000", "-infinity"},
    {&timestamptz_type, "00029d9fd1b062e0", "2023-05-01 12:34:56.78+00"},
    {&timestamptz_type, "ff1af9e8fb46d000", "0044-03-15 12:00:00+00 BC"},
    {&timestamptz_type, "7fffffffffffffff", "infinity"},
    {&interval_type, "00000000000000000000000000000000", "00:00:00"},
    {&interval_type, "000000036c966ee0000000030000000e", "1 year 2 mons 3 days 04:05:06.7"},
    {&interval_type, "fffffffffff0bdc000000001fffffff3", "-1 years -1 mons +1 day -00:00:01"},
    {&interval_type, "0000000000000000ffffffff00000001", "1 mon -1 days"},
    {&interval_type, "00000000d693a400ffffffff00000000", "-1 days +01:00:00"},
    {&interval_type, "fffffffffff85ee00000000000000000", "-00:00:00.5"},
    {&interval_type, "ffffffff296c5c000000000100000000", "1 day -01:00:00"},
    {&interval_type, "80000000000000000000000000000000", "-2562047788:00:54.775808"},
    {&interval_type, "7fffffffffffffff7fffffff7fffffff", "infinity"}, /* PostgreSQL 17 and later */
    {&interval_type, "80000000000000008000000080000000", "-infinity"},
    {&bytea_type, "", "\\x"},
    {&bytea_type, "00ff10", "\\x00ff10"},
    {&bit_type, "00000000", ""},
    {&bit_type, "0000000180", "1"},
    {&bit_type, "00000008b7", "10110111"},
    {&bit_type, "00000009b780", "101101111"},
    {&uuid_type, "0123456789abcdef0011223344556677", "01234567-89ab-cdef-0011-223344556677"},
    {&inet_type, "022000040a000001", "10.0.0.1"},
    {&inet_type, "020800040a000001", "10.0.0.1/8"},
    {&inet_type, "0200000400000000", "0.0.0.0/0"},
    {&inet_type, "0380001000000000000000000000000000000000", "::"},
    {&inet_type, "0380001000000000000000000000000000000001", "::1"},
    {&inet_type, "0380001000000000000000000000000000000002", "::2"},
    {&inet_type, "0380001000000000000000000000000001020304", "::1.2.3.4"},
    {&inet_type, "0380001000000000000000000000ffff01020304", "::ffff:1.2.3.4"},
    {&inet_type, "0380001000010000000000000000000000000000", "1::"},
    {&inet_type, "0340001000010000000000020000000000000003", "1:0:0:2::3/64"},
    {&inet_type, "0380001020010db8000000000000ff0000428329", "2001:db8::ff00:42:8329"},
    {&inet_type, "0380001000010000000200030004000500060007", "1:0:2:3:4:5:6:7"},
    {&inet_type, "0380001000000000000100020003000400000000", "::1:2:3:4:0:0"},
    {&inet_type, "020801040a000000", "10.0.0.0/8"},
    {&inet_type, "0220010401020304", "1.2.3.4/32"},
    {&inet_type, "0300011000000000000000000000000000000000", "::/0"},
    {&inet_type, "0320011020010db8000000000000000000000000", "2001:db8::/32"},
    {&macaddr_type, "08002b010203", "08:00:2b:01:02:03"},
    {&macaddr8_type, "08002b0102030405", "08:00:2b:01:02:03:04:05"},
    {&point_type, "3ff0000000000000c004000000000000", "(1,-2.5)"},
    {&lseg_type,
     "3ff0000000000000400000000000000040080000000000004010000000000000",
     "[(1,2),(3,4)]"},
    {&box_type,
     "400800000000000040100000000000003ff00000000000004000000000000000",
     "(3,4),(1,2)"},
    {&line_type, "3ff000000000000040000000000000004008000000000000", "{1,2,3}"},
    {&path_type,
     "01000000023ff0000000000000400000000000000040080000000000004010000000000000",
     "((1,2),(3,4))"},
    {&path_type, "00000000013ff00000000000004000000000000000", "[(1,2)]"},
    {&polygon_type,
     "000000033ff000000000000040000000000000004008000000000000401000000000000040140000"
     "000000004018000000000000",
     "((1,2),(3,4),(5,6))"},
    {&circle_type, "3ff000000000000040000000000000004008000000000000", "<(1,2),3>"},
    {&lsn_type, "0000000000000000", "0/0"},
    {&lsn_type, "00000016b374d848", "16/B374D848"},
    {&lsn_type, "ffffffffffffffff", "FFFFFFFF/FFFFFFFF"},
    {&tid_type, "ffffffffffff", "(4294967295,65535)"},
    {&snapshot_type,
     "00000002000000000000000a0000000000000014000000000000000a000000000000000e",
     "10:20:10,14"},
    {&snapshot_type, "0000000000000000000000030000000000000003", "3:3:"},
    {&int4_array, "000000000000000000000017", "{}"},
    {&int4_array,
     "00000001000000010000001700000003000000010000000400000001ffffffff00000004fffffffd",
     "{1,NULL,-3}"},
    {&int4_array,
     "00000002000000000000001700000002000000010000000200000001000000040000000100000004"
     "0000000200000004000000030000000400000004",
     "{{1,2},{3,4}}"},
    {&int4_array,
     "000000010000000000000017000000020000000000000004000000050000000400000006",
     "[0:1]={5,6}"},
    {&int4_array,
     "00000002000000000000001700000002fffffffe0000000100000003000000040000000100000004"
     "00000002",
     "[-2:-1][3:3]={{1},{2}}"},
    {&int4_array,
     "00000006000000000000001700000001000000010000000100000001000000010000000100000001"
     "00000001000000010000000100000001000000010000000400000007",
     "{{{{{{7}}}}}}"},
    {&text_array,
     "0000000100000001000000190000000c00000001000000016100000000000000046e756c6c000000"
     "054e554c4c7300000003612062000000017b000000027d2c000000013b00000002225c0000000109"
     "ffffffff00000002c3a9",
     "{a,\"\",\"null\",NULLs,\"a b\",\"{\",\"},\",;,\"\\\"\\\\\",\"\t\",NULL,\xc3\xa9}"},
    {&box_array,
     "00000001000000010000025b0000000300000001000000203ff00000000000003ff0000000000000"
     "00000000000000000000000000000000ffffffff0000002040000000000000004000000000000000"
     "3ff00000000000003ff0000000000000",
     "{(1,1),(0,0);NULL;(2,2),(1,1)}"},
    {&numeric_array,
     "0000000100000000000006a400000002000000010000000c00020000000000020001138800000008"
     "00000000c0000000",
     "{1.50,NaN}"},
    {&timestamp_array,
     "00000001000000000000045a0000000200000001000000080000000000000000000000087fffffff"
     "ffffffff",
     "{\"2000-01-01 00:00:00\",infinity}"},
    {&int2vector_type, "0000000100000000000000150000000000000000", ""},
    {&int2vector_type,
     "000000010000000000000015000000030000000000000002ffff000000020002000000020003",
     "-1 2 3"},
    {&oidvector_type, "00000001000000000000001a0000000000000000", ""},
    {&oidvector_type,
     "00000001000000000000001a000000020000000000000004ffffffff0000000400000002",
     "4294967295 2"},
    {&hstore_type, "00000000", ""},
    {&hstore_type,
     "0000000300000001610000000131000000026263ffffffff0000000371225c00000000",
     "\"a\"=>\"1\", \"bc\"=>NULL, \"q\\\"\\\\\"=>\"\""},
    {&tsvector_type, "00000000", ""},
    {&tsvector_type,
     "0000000461000002c0010002697427730000014003715c00000077000001bfff",
     "'a':1A,2 'it''s':3C 'q\\\\' 'w':16383B"},
    {&domain_array,
     "00000001000000000000400000000002000000010000002400000001000000000000001700000002"
     "00000001000000040000000100000004000000020000000c000000000000000000000017",
     "{\"{1,2}\",\"{}\"}"},
};

#define NGOLDENS (sizeof goldens / sizeof goldens[0])

#define BEFORE "before" /* what the buffer holds already */

/* Values that no server sends, and what is wrong with them. */
static const struct {
    const struct type *type;
    const char *hex;
    const char *name;
} refused[] = {
    {&bool_type, "02", "bool that is neither"},
    {&versioned_type, "027b7d", "jsonb of a later version"},
    {&versioned_type, "", "jsonb without a version"},
    {&numeric_type, "00010000000000002710", "numeric with a digit of 10000"},
    {&numeric_type, "0000000010000000", "numeric with another sign"},
    {&numeric_type, "0000000000004000", "numeric with too large a scale"},
    {&numeric_type, "ffff000000000000", "numeric without its digits"},
    {&date_type, "7fda970d", "date behind the last"},
    {&date_type, "ffda97a6", "date before the first"},
    {&time_type, "000000141dd76001", "time behind 24:00:00"},
    {&time_type, "ffffffffffffffff", "negative time"},
    {&timetz_type, "00000000000000000000e100", "timetz 16 hours west"},
    {&timetz_type, "000000000000000080000000", "timetz very far east"},
    {&timestamp_type, "7fffff5bb3b2a000", "timestamp behind the last"},
    {&timestamp_type, "fd0f7cc1411f9fff", "timestamp before the first"},
    {&timestamptz_type, "7ffffffffffffffe", "timestamptz behind the last"},
    {&bit_type, "ffffffff00", "bits without end"},
    {&inet_type, "022100040a000001", "33 bits of an IPv4 address"},
    {&inet_type, "0381001000000000000000000000000000000000", "129 bits of an IPv6 address"},
    {&inet_type, "012000040a000001", "address of another family"},
    {&inet_type, "032000040a000001", "IPv6 address of 4 bytes"},
    {&inet_type, "022002040a000001", "neither inet nor cidr"},
    {&path_type, "02000000013ff00000000000004000000000000000", "path neither open nor closed"},
    {&path_type, "0100000000", "path without points"},
    {&path_type, "01ffffffff3ff00000000000004000000000000000", "path without end"},
    {&polygon_type, "00000000", "polygon without points"},
    {&polygon_type, "ffffffff", "polygon without end"},
    {&snapshot_type, "ffffffff00000000000000030000000000000003", "snapshot without end"},
    {&int4_array, "000000070000000000000017", "array of 7 dimensions"},
    {&int4_array, "ffffffff0000000000000017", "array of -1 dimensions"},
    {&int4_array, "000000000000000200000017", "array with other flags"},
    {&int4_array, "000000000000000000000000", "array without an element type"},
    {&int4_array, "0000000100000000000000177fffffff00000001", "array without its elements"},
    {&int4_array, "000000010000000000000017000000017fffffff00000004", "array element cut off"},
    {&int4_array, "000000010000000000000017000000017fffffff7fffffff", "array element too long"},
    {&int4_array, "00000001000000000000001700000001000000010000000300000001", "element of 3 bytes"},
    {&int4_array,
     "000000010000000000000017000000027fffffff0000000400000001"
     "0000000400000001",
     "array whose upper bound is no integer"},
    {&int4_array,
     "0000000600000001000000174000000000000001400000000000000140000000000000014000000000000001"
     "40000000000000014000000000000001",
     "array with more elements than can be counted"},
    {&int4_array,
     "00000002000000010000001780000000000000018000000000000001ffffffff",
     "array whose count of elements overflows"},
    {&int2vector_type, "000000010000000000000015000000010000000000000004ffffffff", "int2 of 4"},
    {&oidvector_type, "00000001000000000000001a00000001000000000000000200010000", "oid of 2"},
    {&oidvector_type, "00000001000000000000001a0000000100000000ffffffff", "NULL in a vector"},
    {&oidvector_type,
     "00000002000000000000001a0000000100000001000000010000000100000004"
     "00000001",
     "vector of 2 dimensions"},
    {&hstore_type, "ffffffff", "hstore without end"},
    {&hstore_type, "00000001ffffffff00000000", "hstore with NULL for a key"},
    {&hstore_type, "000000010000000161fffffffe", "hstore with a negative length"},
    {&tsvector_type, "ffffffff", "tsvector without end"},
    {&tsvector_type, "000000016161", "tsvector with a lexeme that does not end"},
    {&tsvector_type, "000000016100ffff0001", "tsvector without its positions"},
};

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t from_hex(char *bytes, const char *hex)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return n;
}

/* Converts a copy of exactly len bytes, behind what the buffer is made to hold. */
static bool convert(struct buf *b, const struct type *type, const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);
    bool done;

    if (!copy)
        log_out_of_memory();
    memcpy(copy, bytes, len);
    buf_release(b);
    buf_init(b, 1);
    buf_add_str(b, BEFORE);
    done = binary_to_text(b, copy, len, type);
    free(copy);
    return done;
}

/* Whether other lengths are right as well. */
static bool is_any_length(const struct type *type)
{
    return type->binary == BINARY_TEXT || type->binary == BINARY_VERSIONED_TEXT ||
           type->binary == BINARY_BYTEA;
}

static bool is_untouched(const struct buf *b)
{
    return b->len == strlen(BEFORE) && memcmp(b->data, BEFORE, b->len) == 0;
}

static bool is_ascii(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] > '~')
            return false;
    return true;
}

/* Whether the text of the type cannot but be plain ASCII. */
static bool is_plain(const struct type *type)
{
    while (type->binary == BINARY_ARRAY)
        type = type->element;
    return type->binary != BINARY_TEXT && type->binary != BINARY_VERSIONED_TEXT &&
           type->binary != BINARY_CHAR && type->binary != BINARY_HSTORE &&
           type->binary != BINARY_TSVECTOR;
}

/* Bytes that may be anything: converted to what the type can have, or refused without a trace. */
static bool holds(struct buf *b, const struct type *type, const char *bytes, size_t len)
{
    const size_t before = strlen(BEFORE);

    if (!convert(b, type, bytes, len))
        return is_untouched(b);
    return b->len >= before && memcmp(b->data, BEFORE, before) == 0 &&
           (!is_plain(type) || is_ascii(b->data + before, b->len - before));
}

/* ---- the forms ---- */

static void test_goldens(struct buf *b)
{
    for (size_t i = 0; i < NGOLDENS; i++) {
        char bytes[256];
        size_t len = from_hex(bytes, goldens[i].hex);

        if (ok(convert(b, goldens[i].type, bytes, len), "form %d, %s: read",
               (int)goldens[i].type->binary, goldens[i].hex))
            is_text(b->data + strlen(BEFORE), b->len - strlen(BEFORE), goldens[i].text,
                    goldens[i].text);
    }
}

static bool is_refused(struct buf *b, const struct type *type, const char *bytes, size_t len)
{
    bool right = is_any_length(type) || (!convert(b, type, bytes, len) && is_untouched(b));

    if (!right)
        tap_note("form %d, %zu bytes: %.*s", (int)type->binary, len, (int)b->len, b->data);
    return right && holds(b, type, bytes, len);
}

static void test_cuts(struct buf *b)
{
    bool right = true;

    for (size_t i = 0; i < NGOLDENS; i++) {
        char bytes[256] = {0};
        size_t len = from_hex(bytes, goldens[i].hex);

        for (size_t cut = 0; cut < len; cut++)
            right &= is_refused(b, goldens[i].type, bytes, cut);
    }
    ok(right, "every value cut at every byte is refused");
}

static void test_longer(struct buf *b)
{
    bool right = true;

    for (size_t i = 0; i < NGOLDENS; i++) {
        char bytes[256] = {0};
        size_t len = from_hex(bytes, goldens[i].hex);

        right &= is_refused(b, goldens[i].type, bytes, len + 1);
    }
    ok(right, "every value with a byte more is refused");
}

static void test_refused(struct buf *b)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char bytes[256];
        size_t len = from_hex(bytes, refused[i].hex);

        ok(!convert(b, refused[i].type, bytes, len) && is_untouched(b), "refused: %s",
           refused[i].name);
    }
}

static void test_known(void)
{
    static const struct type unknown = {.binary = BINARY_UNKNOWN};
    static const struct type bare_array = {.binary = BINARY_ARRAY, .delimiter = ','};
    static const struct type unknown_array = {
        .binary = BINARY_ARRAY, .delimiter = ',', .element = &unknown};
    bool all = true;

    for (int form = BINARY_UNKNOWN + 1; form <= BINARY_TSVECTOR; form++) {
        struct type type = {.binary = (enum binary_form)form, .element = &int4_type};

        all &= binary_knows(&type);
    }
    ok(all, "every form is known");
    ok(binary_knows(&domain_array), "so is an array of arrays");
    ok(!binary_knows(&unknown), "a type with another send function is not known");
    ok(!binary_knows(&bare_array), "an array of what nobody knows is not known");
    ok(!binary_knows(&unknown_array), "an array of an unknown type is not known");
    ok(!binary_knows(NULL), "no type is not known");
}

static void test_unknown(struct buf *b)
{
    static const struct type unknown = {.binary = BINARY_UNKNOWN};

    ok(!convert(b, &unknown, "abc", 3) && is_untouched(b), "an unknown type's bytes are refused");
    ok(!convert(b, NULL, "abc", 3) && is_untouched(b), "bytes without a type are refused");
}

/* ---- sizes ---- */

/* The largest and the smallest numeric there is: 131072 digits before the point, 16383 behind. */
static void test_large_numeric(struct buf *b)
{
    static const char large[] = "\0\1\x7f\xff\0\0\0\0\x27\x0f";
    static const char small[] = "\0\1\xf0\x00\0\0\x3f\xff\0\x0a";

    ok(convert(b, &numeric_type, large, 10) && b->len == strlen(BEFORE) + 131072 &&
           memcmp(b->data + strlen(BEFORE), "99990000", 8) == 0,
       "numeric of 131072 digits");
    ok(convert(b, &numeric_type, small, 10) && b->len == strlen(BEFORE) + 2 + 16383 &&
           memcmp(b->data + b->len - 3, "001", 3) == 0,
       "numeric of scale 16383, its last digits cut to it");
}

/* Elements of every length, half of whose bytes need a backslash. */
static void test_long_elements(struct buf *b)
{
    static const char head[] = "\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\1\0\0\0\1\0\0";
    char bytes[22 + 2 + 300];
    bool right = true;

    memcpy(bytes, head, 22);
    for (size_t len = 1; len < 300; len++) {
        bytes[22] = (char)(len >> 8);
        bytes[23] = (char)len;
        for (size_t i = 0; i < len; i++)
            bytes[24 + i] = "\"x\\y"[i % 4];
        right &= convert(b, &text_array, bytes, 24 + len) &&
                 b->len == strlen(BEFORE) + 4 + len + (len + 1) / 2;
    }
    ok(right, "array elements of every length");
}

/* ---- floats ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void put_u64_bytes(char *bytes, uint64_t n)
{
    for (int i = 7; i >= 0; i--, n >>= 8)
        bytes[i] = (char)n;
}

/* The fewest significant digits that printf() needs for the value to be read back. */
static int digits_needed(double value)
{
    char text[40];
    int n = 0;

    do
        snprintf(text, sizeof text, "%.*e", n++, value);
    while (strtod(text, NULL) != value);
    return n;
}

/* Without the zeros that only give the others their place. */
static int digits_shown(const char *text)
{
    int n = 0, zeros = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        } else if (*text == '0' && n > 0) {
            zeros++;
        }
    }
    return n;
}

static bool is_shortest(struct buf *b, uint64_t bits)
{
    const char *text;
    char bytes[8];
    double value;

    memcpy(&value, &bits, sizeof value);
    put_u64_bytes(bytes, bits);
    if (!convert(b, &float8_type, bytes, 8))
        return false;
    buf_add(b, "", 1);
    text = b->data + strlen(BEFORE);
    if (value != value)
        return strcmp(text, "NaN") == 0;
    return strtod(text, NULL) == value && digits_shown(text) == digits_needed(value);
}

/* Not at powers of 2, where the nearest digits are not always the fewest. */
static void test_float8(struct buf *b)
{
    uint64_t state = UINT64_C(0x243f6a8885a308d3);
    unsigned wrong = 0;

    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&state);
        double decimal = (double)(random_next(&state) % 100000000) / 1000;

        wrong += !is_shortest(b, bits | 1);
        memcpy(&bits, &decimal, sizeof bits);
        wrong += !is_shortest(b, bits);
    }
    ok(wrong == 0, "40000 float8 have the fewest digits");
}

static void test_float4(struct buf *b)
{
    uint64_t state = UINT64_C(0x13198a2e03707344);
    unsigned wrong = 0;

    for (int i = 0; i < 40000; i++) {
        uint32_t bits = (uint32_t)random_next(&state);
        char bytes[4] = {(char)(bits >> 24), (char)(bits >> 16), (char)(bits >> 8), (char)bits};
        float value;

        memcpy(&value, &bits, sizeof value);
        wrong += !convert(b, &float4_type, bytes, 4);
        buf_add(b, "", 1);
        wrong += value == value && strtof(b->data + strlen(BEFORE), NULL) != value;
    }
    ok(wrong == 0, "40000 float4 are read back as what they were");
}

/* Every power of 2 is read back as what it was. */
static void test_powers(struct buf *b)
{
    unsigned wrong = 0;

    for (uint64_t exponent = 0; exponent < 0x7ff; exponent++) {
        uint64_t bits = exponent << 52;
        double value;
        char bytes[8];

        memcpy(&value, &bits, sizeof value);
        put_u64_bytes(bytes, bits);
        wrong += !convert(b, &float8_type, bytes, 8);
        buf_add(b, "", 1);
        wrong += strtod(b->data + strlen(BEFORE), NULL) != value;
    }
    ok(wrong == 0, "every power of 2 is read back as what it was");
}

/* ---- on to records ---- */

static void is_json(struct buf *b, struct type type, enum type_kind kind, const char *hex,
                    const char *json)
{
    char bytes[256];
    size_t len = from_hex(bytes, hex);
    struct buf text;
    struct rule rule;

    type.kind = kind;
    rule_init(&rule, &type, -1, &handling_default);
    buf_init(&text, 1);
    b->len = 0;
    if (ok(binary_to_text(&text, bytes, len, &type), "%s: read", json) &&
        ok(rule.write(b, text.data, text.len, &rule), "%s: written", json))
        is_text(b->data, b->len, json, json);
    rule_release(&rule);
    buf_release(&text);
}

static void test_json(struct buf *b)
{
    struct type int4 = {.kind = TYPE_INTEGER, .binary = BINARY_INT4};
    struct type ints = {.binary = BINARY_ARRAY, .delimiter = ',', .element = &int4};

    is_json(b, bool_type, TYPE_BOOL, "01", "true");
    is_json(b, float8_type, TYPE_FLOAT, "4480f0cf064dd592", "1e+22");
    is_json(b, numeric_type, TYPE_NUMERIC, "0000000000000002", "\"0.00\"");
    is_json(b, versioned_type, TYPE_JSON, "015b312c20325d", "[1,2]");
    is_json(b, timestamptz_type, TYPE_TIMESTAMPTZ, "00029d9fd1b062e0",
            "\"2023-05-01T12:34:56.78Z\"");
    is_json(b, bytea_type, TYPE_BYTEA, "666f6f", "\"Zm9v\"");
    is_json(b, hstore_type, TYPE_HSTORE, "00000001000000016100000000", "{\"a\":\"\"}");
    is_json(b, ints, TYPE_ARRAY,
            "00000001000000010000001700000002000000000000000400000007ffffffff", "[7,null]");
}

/* ---- anything at all ---- */

static size_t random_bytes(uint64_t *state, char *bytes)
{
    size_t len = random_next(state) % 64;
    unsigned limit = random_next(state) % 2 ? 256 : 4;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(random_next(state) % limit);
    return len;
}

/* A golden value with some bytes changed, and at times another end. */
static size_t random_change(uint64_t *state, char *bytes, size_t golden)
{
    size_t len = from_hex(bytes, goldens[golden].hex);

    for (uint64_t n = random_next(state) % 3; len > 0 && n < 3; n++)
        bytes[random_next(state) % len] = (char)(random_next(state) >> random_next(state) % 8);
    if (len > 0 && random_next(state) % 8 == 0)
        len -= random_next(state) % len;
    return len;
}

static void test_random(struct buf *b)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    unsigned wrong = 0;

    for (size_t i = 0; i < NGOLDENS; i++) {
        for (int round = 0; round < 1000; round++) {
            char bytes[256];

            wrong += !holds(b, goldens[i].type, bytes, random_bytes(&state, bytes));
            wrong += !holds(b, goldens[i].type, bytes, random_change(&state, bytes, i));
        }
    }
    ok(wrong == 0, "%zu random values", 2000 * NGOLDENS);
}

/* Every type gets every other type's bytes. */
static void test_mixed_up(struct buf *b)
{
    bool right = true;

    for (size_t i = 0; i < NGOLDENS; i++) {
        for (size_t j = 0; j < NGOLDENS; j++) {
            char bytes[256];

            right &= holds(b, goldens[i].type, bytes, from_hex(bytes, goldens[j].hex));
        }
    }
    ok(right, "values of another type are read or refused");
}

int main(void)
{
    struct buf b;

    buf_init(&b, 1);
    test_goldens(&b);
    test_cuts(&b);
    test_longer(&b);
    test_refused(&b);
    test_known();
    test_unknown(&b);
    test_large_numeric(&b);
    test_long_elements(&b);
    test_float8(&b);
    test_float4(&b);
    test_powers(&b);
    test_json(&b);
    test_mixed_up(&b);
    test_random(&b);
    buf_release(&b);
    return tap_done();
}
