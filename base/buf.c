#include "base/buf.h"

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

char *put_u64(char *p, uint64_t n)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char digits[20];
    size_t i = sizeof digits;

    while (n >= 100) {
        i -= 2;
        memcpy(digits + i, pairs + 2 * (n % 100), 2);
        n /= 100;
    }
    if (n >= 10) {
        i -= 2;
        memcpy(digits + i, pairs + 2 * n, 2);
    } else {
        digits[--i] = (char)('0' + n);
    }
    memcpy(p, digits + i, sizeof digits - i);
    return p + (sizeof digits - i);
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
