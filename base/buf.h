/*
 * buf - a growing byte buffer, the only one in cdcdump.
 *
 * Invariant: data[0..len) is initialised, len <= cap, and data is never NULL after buf_init().
 * A buf owns its memory.  Writers reserve the worst case once and then write through a plain
 * pointer, so that the hot path has one bounds decision per value and no call per byte.
 * Running out of memory ends the program: see log_out_of_memory().
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

/* Starts empty, with room for cap bytes. */
void buf_init(struct buf *b, size_t cap);

/* Frees the memory; the buf may be initialised again. */
void buf_release(struct buf *b);

/* Gives memory above cap back to the system; the content must fit into cap. */
void buf_shrink(struct buf *b, size_t cap);

/* Slow path of buf_reserve(): makes room for `more` further bytes. */
void buf_grow(struct buf *b, size_t more);

/* printf to the end; for what is written once per relation, transaction or run, not per row. */
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *fmt, ...);

/* Makes room for `more` bytes and returns where they go; len moves with buf_written(). */
static inline char *buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->len < more)
        buf_grow(b, more);
    return b->data + b->len;
}

/* Tells up to where (exclusive) a writer wrote what it had reserved. */
static inline void buf_written(struct buf *b, const char *end)
{
    b->len = (size_t)(end - b->data);
}

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
    memcpy(buf_reserve(b, n), bytes, n);
    b->len += n;
}

static inline void buf_add_buf(struct buf *b, const struct buf *other)
{
    buf_add(b, other->data, other->len);
}

static inline void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

static inline void buf_add_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}

/*
 * Copies in blocks, for pieces of a few blocks that come with every row: the call of memcpy() would
 * cost more than the copy.  Up to BUF_BLOCK - 1 bytes behind the source are read and as many behind
 * the copy are overwritten, so both need room for them; buf_pad() makes it.
 */
enum { BUF_BLOCK = 16 };

static inline char *put_blocks(char *p, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += BUF_BLOCK)
        memcpy(p + i, bytes + i, BUF_BLOCK);
    return p + n;
}

/* What is in b can be a source of put_blocks(), up to the next change of it. */
static inline void buf_pad(struct buf *b)
{
    memset(buf_reserve(b, BUF_BLOCK), 0, BUF_BLOCK);
}

/* Copies n bytes that are few: the last of them twice, rather than one by one. */
static inline char *put_few(char *p, const char *bytes, size_t n)
{
    if (n > 16) {
        memcpy(p, bytes, n);
    } else if (n >= 8) {
        uint64_t first, last;

        memcpy(&first, bytes, sizeof first);
        memcpy(&last, bytes + (n - sizeof last), sizeof last);
        memcpy(p, &first, sizeof first);
        memcpy(p + (n - sizeof last), &last, sizeof last);
    } else if (n >= 4) {
        uint32_t first, last;

        memcpy(&first, bytes, sizeof first);
        memcpy(&last, bytes + (n - sizeof last), sizeof last);
        memcpy(p, &first, sizeof first);
        memcpy(p + (n - sizeof last), &last, sizeof last);
    } else {
        for (size_t i = 0; i < n; i++)
            p[i] = bytes[i];
    }
    return p + n;
}

/* Appends n in decimal. */
void buf_add_u64(struct buf *b, uint64_t n);
void buf_add_i64(struct buf *b, int64_t n);

/* Writes n in decimal at p, where there must be room for 20 bytes; returns the end. */
char *put_u64(char *p, uint64_t n);

#endif
