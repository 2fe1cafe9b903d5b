#include "binary/binary.h"

#include "binary/form.h"

/* ---- text ---- */

static bool add_rest(struct buf *b, struct reader *r)
{
    size_t len = binary_left(r);

    buf_add(b, read_bytes(r, len), len);
    return true;
}

/* jsonb_send, jsonpath_send, ltree_send, lquery_send, ltxtq_send: a version, so far always 1. */
static bool add_versioned_text(struct buf *b, struct reader *r)
{
    return read_u8(r) == 1 && add_rest(b, r);
}

/*
 * charout() writes nothing for NUL and, since PostgreSQL 16, \ooo for what is not ASCII.  Older
 * servers write that byte alone, which no UTF-8 has and no record could hold.
 */
static bool add_char(struct buf *b, struct reader *r)
{
    unsigned byte = read_u8(r);

    if (byte >= 0x80) {
        buf_add_char(b, '\\');
        buf_add_char(b, (char)('0' + (byte >> 6)));
        buf_add_char(b, (char)('0' + (byte >> 3 & 7)));
        buf_add_char(b, (char)('0' + (byte & 7)));
    } else if (byte) {
        buf_add_char(b, (char)byte);
    }
    return true;
}

/* ---- integers and what is made of them ---- */

static bool add_bool(struct buf *b, struct reader *r)
{
    unsigned byte = read_u8(r);

    buf_add_char(b, byte ? 't' : 'f');
    return byte <= 1;
}

static bool add_int2(struct buf *b, struct reader *r)
{
    buf_add_i64(b, (int16_t)read_u16(r));
    return true;
}

static bool add_int4(struct buf *b, struct reader *r)
{
    buf_add_i64(b, (int32_t)read_u32(r));
    return true;
}

static bool add_int8(struct buf *b, struct reader *r)
{
    buf_add_i64(b, (int64_t)read_u64(r));
    return true;
}

static bool add_uint4(struct buf *b, struct reader *r)
{
    buf_add_u64(b, read_u32(r));
    return true;
}

static bool add_uint8(struct buf *b, struct reader *r)
{
    buf_add_u64(b, read_u64(r));
    return true;
}

/* PostgreSQL's cash_send: Int64 of cents.  Where the C locale says nothing, cash_out says $ , . */
static bool add_money(struct buf *b, struct reader *r)
{
    int64_t n = (int64_t)read_u64(r);
    uint64_t cents = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    char digits[20];
    size_t len = (size_t)(put_u64(digits, cents / 100) - digits);
    char *p = buf_reserve(b, 2 + 2 * sizeof digits + 3);

    if (n < 0)
        *p++ = '-';
    *p++ = '$';
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p++ = '.';
    buf_written(b, put_padded(p, cents % 100, 2));
    return true;
}

static char *put_hex_number(char *p, uint32_t n)
{
    int shift = 28;

    while (shift > 0 && n >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *p++ = "0123456789ABCDEF"[n >> shift & 15];
    return p;
}

/* Written as LSN_FMT does. */
static bool add_lsn(struct buf *b, struct reader *r)
{
    uint64_t lsn = read_u64(r);
    char *p = put_hex_number(buf_reserve(b, 17), (uint32_t)(lsn >> 32));

    *p++ = '/';
    buf_written(b, put_hex_number(p, (uint32_t)lsn));
    return true;
}

/* PostgreSQL's tidsend: Int32 block, Int16 offset. */
static bool add_tid(struct buf *b, struct reader *r)
{
    buf_add_char(b, '(');
    buf_add_u64(b, read_u32(r));
    buf_add_char(b, ',');
    buf_add_u64(b, read_u16(r));
    buf_add_char(b, ')');
    return true;
}

/* PostgreSQL's pg_snapshot_send: Int32 count, Int64 xmin and xmax, Int64 for each in progress. */
static bool add_snapshot(struct buf *b, struct reader *r)
{
    uint32_t n = read_u32(r);

    buf_add_u64(b, read_u64(r));
    buf_add_char(b, ':');
    buf_add_u64(b, read_u64(r));
    buf_add_char(b, ':');
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        buf_add_u64(b, read_u64(r));
    }
    return true;
}

/* ---- bytes and bits ---- */

static bool add_bytea(struct buf *b, struct reader *r)
{
    char *p = buf_reserve(b, 2 + 2 * binary_left(r));

    *p++ = '\\';
    *p++ = 'x';
    while (r->p < r->end)
        p = put_hex_byte(p, (unsigned char)*r->p++);
    buf_written(b, p);
    return true;
}

static bool add_uuid(struct buf *b, struct reader *r)
{
    const char *bytes = read_bytes(r, 16);
    char *p = buf_reserve(b, 36);

    for (int i = 0; bytes && i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p = put_hex_byte(p, (unsigned char)bytes[i]);
    }
    buf_written(b, p);
    return true;
}

/* PostgreSQL's varbit_send: Int32 count of bits, which fill bytes from the highest bit on. */
static bool add_bit(struct buf *b, struct reader *r)
{
    uint64_t n = read_u32(r);
    const char *bytes = read_bytes(r, (size_t)((n + 7) / 8));
    char *p;

    if (!bytes)
        return false;
    p = buf_reserve(b, (size_t)n);
    for (uint64_t i = 0; i < n; i++)
        *p++ = (unsigned char)bytes[i / 8] >> (7 - i % 8) & 1 ? '1' : '0';
    buf_written(b, p);
    return true;
}

/* ---- by form ---- */

/* Arrays are not in here, for they need to know more. */
static bool (*const forms[])(struct buf *b, struct reader *r) = {
    [BINARY_UNKNOWN] = NULL,
    [BINARY_TEXT] = add_rest,
    [BINARY_VERSIONED_TEXT] = add_versioned_text,
    [BINARY_BOOL] = add_bool,
    [BINARY_CHAR] = add_char,
    [BINARY_INT2] = add_int2,
    [BINARY_INT4] = add_int4,
    [BINARY_INT8] = add_int8,
    [BINARY_UINT4] = add_uint4,
    [BINARY_UINT8] = add_uint8,
    [BINARY_FLOAT4] = binary_add_float4,
    [BINARY_FLOAT8] = binary_add_float8,
    [BINARY_NUMERIC] = binary_add_numeric,
    [BINARY_MONEY] = add_money,
    [BINARY_DATE] = binary_add_date,
    [BINARY_TIME] = binary_add_time,
    [BINARY_TIMETZ] = binary_add_timetz,
    [BINARY_TIMESTAMP] = binary_add_timestamp,
    [BINARY_TIMESTAMPTZ] = binary_add_timestamptz,
    [BINARY_INTERVAL] = binary_add_interval,
    [BINARY_BYTEA] = add_bytea,
    [BINARY_BIT] = add_bit,
    [BINARY_UUID] = add_uuid,
    [BINARY_INET] = binary_add_inet,
    [BINARY_MACADDR] = binary_add_macaddr,
    [BINARY_MACADDR8] = binary_add_macaddr8,
    [BINARY_POINT] = binary_add_point,
    [BINARY_LSEG] = binary_add_lseg,
    [BINARY_BOX] = binary_add_box,
    [BINARY_LINE] = binary_add_line,
    [BINARY_PATH] = binary_add_path,
    [BINARY_POLYGON] = binary_add_polygon,
    [BINARY_CIRCLE] = binary_add_circle,
    [BINARY_LSN] = add_lsn,
    [BINARY_TID] = add_tid,
    [BINARY_SNAPSHOT] = add_snapshot,
    [BINARY_INT2VECTOR] = binary_add_int2vector,
    [BINARY_OIDVECTOR] = binary_add_oidvector,
    [BINARY_HSTORE] = binary_add_hstore,
    [BINARY_TSVECTOR] = binary_add_tsvector,
};

bool binary_knows(const struct type *type)
{
    while (type && type->binary == BINARY_ARRAY)
        type = type->element;
    return type && forms[type->binary];
}

bool binary_to_text(struct buf *b, const char *data, size_t len, const struct type *type)
{
    struct reader r = {.p = data, .end = data + len};
    size_t start = b->len;
    bool done;

    if (!binary_knows(type))
        return false;
    if (type->binary == BINARY_ARRAY)
        done = binary_add_array(b, &r, type);
    else
        done = forms[type->binary](b, &r);
    if (!done || r.failed || r.p < r.end) {
        b->len = start;
        return false;
    }
    return true;
}
