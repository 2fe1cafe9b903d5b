/*
 * reader - takes fields off the front of a message, never past its end.
 *
 * A reader that has been asked for more than there is turns `failed` on, stays at the end and
 * gives zeros and empty strings from then on, so that callers check once per message.
 */
#ifndef BASE_READER_H
#define BASE_READER_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct reader {
    const char *p;
    const char *end;
    bool failed;
};

/* n bytes, NULL when there are fewer. */
static inline const char *read_bytes(struct reader *r, size_t n)
{
    const char *bytes = r->p;

    if ((size_t)(r->end - r->p) < n) {
        r->failed = true;
        r->p = r->end;
        return NULL;
    }
    r->p += n;
    return bytes;
}

static inline uint8_t read_u8(struct reader *r)
{
    const char *p = read_bytes(r, 1);

    return p ? (uint8_t)*p : 0;
}

static inline uint16_t read_u16(struct reader *r)
{
    const char *p = read_bytes(r, 2);
    uint16_t n = 0;

    if (p)
        memcpy(&n, p, sizeof n);
    return be16toh(n);
}

static inline uint32_t read_u32(struct reader *r)
{
    const char *p = read_bytes(r, 4);
    uint32_t n = 0;

    if (p)
        memcpy(&n, p, sizeof n);
    return be32toh(n);
}

static inline uint64_t read_u64(struct reader *r)
{
    const char *p = read_bytes(r, 8);
    uint64_t n = 0;

    if (p)
        memcpy(&n, p, sizeof n);
    return be64toh(n);
}

/* A string that ends in NUL. */
static inline const char *read_string(struct reader *r)
{
    const char *s = r->p;
    const char *nul = memchr(r->p, '\0', (size_t)(r->end - r->p));

    if (!nul) {
        r->failed = true;
        r->p = r->end;
        return "";
    }
    r->p = nul + 1;
    return s;
}

#endif
