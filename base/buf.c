#include "base/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void buf_init(struct buf *b, size_t cap)
{
    b->data = malloc(cap ? cap : 1);
    if (!b->data)
        log_out_of_memory();
    b->len = 0;
    b->cap = cap;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

static void resize(struct buf *b, size_t cap)
{
    char *data = realloc(b->data, cap);

    if (!data)
        log_out_of_memory();
    b->data = data;
    b->cap = cap;
}

void buf_shrink(struct buf *b, size_t cap)
{
    if (b->cap > cap && b->len <= cap)
        resize(b, cap);
}

void buf_grow(struct buf *b, size_t more)
{
    size_t cap = b->cap < 64 ? 64 : b->cap;

    while (cap - b->len < more) {
        if (cap > SIZE_MAX / 2)
            log_out_of_memory();
        cap *= 2;
    }
    resize(b, cap);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    buf_reserve(b, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
}

/*
 * The digits of a number below 10^8, as eight bytes with the first digit lowest: halves, quarters
 * and single digits are parted side by side in one register.  The products stay exact within the
 * ranges of their parts.
 */
static uint64_t eight_digits(uint32_t n)
{
    uint64_t parts = n / 10000 | (uint64_t)(n % 10000) << 32;
    uint64_t upper = parts * 10486 >> 20 & UINT64_C(0x0000007f0000007f);

    parts = upper | (parts - 100 * upper) << 16;
    upper = parts * 103 >> 10 & UINT64_C(0x000f000f000f000f);
    return upper | (parts - 10 * upper) << 8;
}

static char *put_eight(char *p, uint64_t digits)
{
    digits = htole64(digits + UINT64_C(0x3030303030303030));
    memcpy(p, &digits, sizeof digits);
    return p + sizeof digits;
}

/* Without the zeros in front, but for the last one. */
static char *put_first(char *p, uint32_t n)
{
    uint64_t digits = eight_digits(n);
    unsigned zeros = n ? (unsigned)__builtin_ctzll(digits) / 8 : 7;

    digits = htole64((digits + UINT64_C(0x3030303030303030)) >> 8 * zeros);
    memcpy(p, &digits, sizeof digits);
    return p + (sizeof digits - zeros);
}

char *put_u64(char *p, uint64_t n)
{
    const uint32_t unit = 100000000;

    if (n < unit)
        return put_first(p, (uint32_t)n);
    if (n < (uint64_t)unit * unit)
        return put_eight(put_first(p, (uint32_t)(n / unit)), eight_digits((uint32_t)(n % unit)));
    p = put_first(p, (uint32_t)(n / unit / unit));
    p = put_eight(p, eight_digits((uint32_t)(n / unit % unit)));
    return put_eight(p, eight_digits((uint32_t)(n % unit)));
}

void buf_add_u64(struct buf *b, uint64_t n)
{
    buf_written(b, put_u64(buf_reserve(b, 20), n));
}

void buf_add_i64(struct buf *b, int64_t n)
{
    if (n < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}
