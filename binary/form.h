/*
 * form - one function per enum binary_form; the parts that binary/binary.c is made of.
 *
 * Each takes its bytes off the reader and appends their text.  False means that the bytes cannot
 * be a value of the type.  Bytes that are missing or left over are the caller's to notice, from
 * the reader; what was appended by then is the caller's to cut off.
 */
#ifndef BINARY_FORM_H
#define BINARY_FORM_H

#include "base/buf.h"
#include "cdcdump.h"
#include "base/reader.h"

static inline size_t binary_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

static inline char *put_hex_byte(char *p, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    *p++ = digits[byte >> 4];
    *p++ = digits[byte & 15];
    return p;
}

/* At least width digits. */
static inline char *put_padded(char *p, uint64_t n, int width)
{
    uint64_t limit = 1;

    while (--width > 0)
        limit *= 10;
    for (; limit > 1 && n < limit; limit /= 10)
        *p++ = '0';
    return put_u64(p, n);
}

/* Appends a float8, given as its bits, as float8out() writes it. */
void float8_add(struct buf *b, uint64_t bits);

bool binary_add_float4(struct buf *b, struct reader *r);
bool binary_add_float8(struct buf *b, struct reader *r);

bool binary_add_numeric(struct buf *b, struct reader *r);

bool binary_add_date(struct buf *b, struct reader *r);
bool binary_add_time(struct buf *b, struct reader *r);
bool binary_add_timetz(struct buf *b, struct reader *r);
bool binary_add_timestamp(struct buf *b, struct reader *r);
bool binary_add_timestamptz(struct buf *b, struct reader *r);
bool binary_add_interval(struct buf *b, struct reader *r);

bool binary_add_inet(struct buf *b, struct reader *r);
bool binary_add_macaddr(struct buf *b, struct reader *r);
bool binary_add_macaddr8(struct buf *b, struct reader *r);

bool binary_add_point(struct buf *b, struct reader *r);
bool binary_add_lseg(struct buf *b, struct reader *r);
bool binary_add_box(struct buf *b, struct reader *r);
bool binary_add_line(struct buf *b, struct reader *r);
bool binary_add_path(struct buf *b, struct reader *r);
bool binary_add_polygon(struct buf *b, struct reader *r);
bool binary_add_circle(struct buf *b, struct reader *r);

bool binary_add_array(struct buf *b, struct reader *r, const struct type *type);
bool binary_add_int2vector(struct buf *b, struct reader *r);
bool binary_add_oidvector(struct buf *b, struct reader *r);
bool binary_add_hstore(struct buf *b, struct reader *r);
bool binary_add_tsvector(struct buf *b, struct reader *r);

#endif
