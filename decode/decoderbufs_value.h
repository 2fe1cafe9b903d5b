/*
 * decoderbufs_value - what decoderbufs sends as a number, a point or bytes -> PostgreSQL's text.
 *
 * By the bytes that the type's send function would have: binary/ then makes them the text.
 */
#ifndef DECODE_DECODERBUFS_VALUE_H
#define DECODE_DECODERBUFS_VALUE_H

#include "base/buf.h"
#include "decode/protobuf.h"

/* Fields of a DatumMessage. */
enum {
    DATUM_COLUMN_NAME = 1,
    DATUM_COLUMN_TYPE = 2,
    DATUM_INT32 = 3,
    DATUM_INT64 = 4,
    DATUM_FLOAT = 5,
    DATUM_DOUBLE = 6,
    DATUM_BOOL = 7,
    DATUM_STRING = 8,
    DATUM_BYTES = 9,
    DATUM_POINT = 10,
    DATUM_MISSING = 11,
};

/* Types of PostgreSQL that have fixed OIDs. */
enum {
    BOOL_OID = 16,
    BYTEA_OID = 17,
    CHAR_OID = 18,
    NAME_OID = 19,
    INT8_OID = 20,
    INT2_OID = 21,
    INT4_OID = 23,
    OID_OID = 26,
    POINT_OID = 600,
    FLOAT4_OID = 700,
    FLOAT8_OID = 701,
    MONEY_OID = 790,
    DATE_OID = 1082,
    TIME_OID = 1083,
    TIMESTAMP_OID = 1114,
    TIMESTAMPTZ_OID = 1184,
    INTERVAL_OID = 1186,
    TIMETZ_OID = 1266,
    UUID_OID = 2950,
};

/* Appends the text of a datum that is none itself; false when it is no value of the type. */
bool decoderbufs_add_value(struct buf *b, const struct protobuf_field *f, uint32_t type_oid);

#endif
