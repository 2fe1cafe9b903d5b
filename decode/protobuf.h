/*
 * protobuf - the fields of a message in the wire format of Protocol Buffers.
 *
 *     while (r.p < r.end)
 *         if ((wrong = protobuf_next(&r, &field)))
 *             return wrong;
 *
 * Source: protobuf.dev, "Encoding".  A field is a varint tag (number << 3 | wire type) and a
 * value.  Fields come in any order, unknown ones are passed over, and the last one of a number is
 * the one that counts, all of which is up to the caller.  A message within a message is a field of
 * bytes, for another reader: nothing here recurses.
 *
 * Groups, which are deprecated and nest, are refused, and so is what no encoder writes: varints of
 * more than 64 bits, and a field number of 0.
 */
#ifndef DECODE_PROTOBUF_H
#define DECODE_PROTOBUF_H

#include "base/reader.h"

enum protobuf_wire {
    PROTOBUF_VARINT = 0,
    PROTOBUF_FIXED64 = 1,
    PROTOBUF_BYTES = 2, /* strings and messages as well */
    PROTOBUF_FIXED32 = 5,
};

/* Borrows from the message. */
struct protobuf_field {
    uint32_t number;
    enum protobuf_wire wire;
    uint64_t scalar;   /* of all but bytes; negative integers are sign-extended to 64 bits */
    const char *bytes; /* not NUL-terminated; NULL for all but bytes */
    size_t len;
};

/* At most 10 bytes of 7 bits each, the lowest first; mostly it is a single one. */
static inline bool protobuf_read_varint(struct reader *r, uint64_t *n)
{
    if (r->p < r->end && (unsigned char)*r->p < 0x80) {
        *n = (unsigned char)*r->p++;
        return true;
    }
    *n = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint64_t byte = (unsigned char)*r->p++;

        if (shift == 63 && byte > 1)
            return false;
        *n |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static inline uint64_t protobuf_read_fixed(struct reader *r, size_t width)
{
    const char *p = read_bytes(r, width);
    uint64_t n = 0;

    if (p)
        memcpy(&n, p, width);
    return le64toh(n);
}

/* NULL, or what is wrong with the value. */
static inline const char *protobuf_read_value(struct reader *r, struct protobuf_field *f)
{
    switch (f->wire) {
    case PROTOBUF_VARINT:
        return protobuf_read_varint(r, &f->scalar) ? NULL : "a broken integer";
    case PROTOBUF_FIXED64:
        f->scalar = protobuf_read_fixed(r, 8);
        return r->failed ? "the message is too short" : NULL;
    case PROTOBUF_FIXED32:
        f->scalar = protobuf_read_fixed(r, 4);
        return r->failed ? "the message is too short" : NULL;
    case PROTOBUF_BYTES:
        if (!protobuf_read_varint(r, &f->scalar))
            return "a broken length";
        if (f->scalar > (uint64_t)(r->end - r->p))
            return "a field is longer than the message";
        f->len = (size_t)f->scalar;
        f->bytes = read_bytes(r, f->len);
        return NULL;
    }
    return "unknown kind of field";
}

/*
 * Takes the next field off a message that has one.  NULL, or what is wrong: then the reader
 * stands at the beginning of that field.
 */
static inline const char *protobuf_next(struct reader *r, struct protobuf_field *f)
{
    const char *start = r->p;
    const char *wrong = "a broken field";
    uint64_t tag;

    *f = (struct protobuf_field){0};
    if (protobuf_read_varint(r, &tag) && tag >> 3 != 0 && tag <= UINT32_MAX) {
        f->number = (uint32_t)tag >> 3;
        f->wire = (enum protobuf_wire)(tag & 7);
        wrong = protobuf_read_value(r, f);
    }
    if (wrong)
        r->p = start;
    return wrong;
}

#endif
