#include "decode/decoderbufs_value.h"

#include "binary/binary.h"

enum { POINT_X = 1, POINT_Y = 2 };

/* From 1970 to 2000. */
#define EPOCH_DAYS UINT64_C(10957)
#define EPOCH_USEC UINT64_C(946684800000000)

#define DAY_USEC INT64_C(86400000000)

/* The text of what the type's send function would make of n, or nothing. */
static bool add_number(struct buf *b, uint64_t n, size_t width, enum binary_form form)
{
    const struct type type = {.binary = form};
    uint64_t sent = htobe64(n << 8 * (sizeof n - width));

    return binary_to_text(b, (const char *)&sent, width, &type);
}

static bool add_int32(struct buf *b, uint64_t n, uint32_t type_oid)
{
    if ((uint64_t)(int32_t)(uint32_t)n != n)
        return false;
    if (type_oid == DATE_OID)
        return add_number(b, n - EPOCH_DAYS, 4, BINARY_DATE);
    return add_number(b, n, 4, BINARY_INT4);
}

/* Versions before August 2021 took an OID to have a sign. */
static bool add_int64(struct buf *b, uint64_t n, uint32_t type_oid)
{
    bool infinite = n == (uint64_t)INT64_MAX || n == (uint64_t)INT64_MIN;
    uint64_t shifted = infinite ? n : n - EPOCH_USEC;

    switch (type_oid) {
    case OID_OID:
        return add_number(b, n, 4, BINARY_UINT4);
    case TIME_OID:
        return add_number(b, n, 8, BINARY_TIME);
    case TIMESTAMP_OID:
        return add_number(b, shifted, 8, BINARY_TIMESTAMP);
    case TIMESTAMPTZ_OID:
        return add_number(b, shifted, 8, BINARY_TIMESTAMPTZ);
    case MONEY_OID:
        return add_number(b, n, 8, BINARY_MONEY);
    default:
        return add_number(b, n, 8, BINARY_INT8);
    }
}

/* Microseconds that are given as the bits of a double. */
static bool usec_of_double(uint64_t bits, int64_t *usec)
{
    double n;

    memcpy(&n, &bits, sizeof n);
    if (!(n > -9e18 && n < 9e18))
        return false;
    *usec = (int64_t)n;
    return (double)*usec == n;
}

/*
 * The plugin adds the zone to the time without keeping within the day, so that 00:00+02 comes as
 * -2 hours.  Just 24 hours are what 24:00+00 comes as, which PostgreSQL tells from 00:00+00.
 */
static bool add_timetz(struct buf *b, uint64_t bits)
{
    static const struct type type = {.binary = BINARY_TIMETZ};
    uint64_t sent[2] = {0}; /* time, and a zone of 0 */
    int64_t usec;

    if (!usec_of_double(bits, &usec) || usec <= -DAY_USEC || usec >= 2 * DAY_USEC)
        return false;
    if (usec < 0)
        usec += DAY_USEC;
    else if (usec > DAY_USEC)
        usec -= DAY_USEC;
    sent[0] = htobe64((uint64_t)usec);
    return binary_to_text(b, (const char *)sent, 12, &type);
}

/* Its days and months are hours by now. */
static bool add_interval(struct buf *b, uint64_t bits)
{
    static const struct type type = {.binary = BINARY_INTERVAL};
    uint64_t sent[2] = {0}; /* time, and no days and months */
    int64_t usec;

    if (!usec_of_double(bits, &usec))
        return false;
    sent[0] = htobe64((uint64_t)usec);
    return binary_to_text(b, (const char *)sent, sizeof sent, &type);
}

static bool add_double(struct buf *b, uint64_t bits, uint32_t type_oid)
{
    if (type_oid == TIMETZ_OID)
        return add_timetz(b, bits);
    if (type_oid == INTERVAL_OID)
        return add_interval(b, bits);
    return type_oid == FLOAT8_OID && add_number(b, bits, 8, BINARY_FLOAT8);
}

/* Both are required. */
static bool add_point(struct buf *b, const struct protobuf_field *point)
{
    static const struct type type = {.binary = BINARY_POINT};
    struct reader r = {.p = point->bytes, .end = point->bytes + point->len};
    bool has[2] = {false, false};
    uint64_t sent[2];

    while (r.p < r.end) {
        struct protobuf_field f;

        if (protobuf_next(&r, &f))
            return false;
        if (f.number != POINT_X && f.number != POINT_Y)
            continue;
        if (f.wire != PROTOBUF_FIXED64)
            return false;
        has[f.number - POINT_X] = true;
        sent[f.number - POINT_X] = htobe64(f.scalar);
    }
    return has[0] && has[1] && binary_to_text(b, (const char *)sent, sizeof sent, &type);
}

static bool add_bytea(struct buf *b, const struct protobuf_field *f)
{
    static const struct type type = {.binary = BINARY_BYTEA};

    return f->len < UINT32_MAX / 2 && binary_to_text(b, f->bytes, f->len, &type);
}

/* Appends the text of a value that does not come as text. */
bool decoderbufs_add_value(struct buf *b, const struct protobuf_field *f, uint32_t type_oid)
{
    switch (f->number) {
    case DATUM_INT32:
        return add_int32(b, f->scalar, type_oid);
    case DATUM_INT64:
        return add_int64(b, f->scalar, type_oid);
    case DATUM_FLOAT:
        return add_number(b, f->scalar, 4, BINARY_FLOAT4);
    case DATUM_DOUBLE:
        return add_double(b, f->scalar, type_oid);
    case DATUM_BOOL:
        return add_number(b, f->scalar != 0, 1, BINARY_BOOL);
    case DATUM_BYTES:
        return add_bytea(b, f);
    default:
        return type_oid == POINT_OID && add_point(b, f);
    }
}
