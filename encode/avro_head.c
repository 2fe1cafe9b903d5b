#include "encode/avro_head.h"

#include <string.h>

static bool read_long(struct reader *r, int64_t *n)
{
    uint64_t z = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);

        z |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        *n = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
        return !r->failed;
    }
    return false;
}

static const char *read_sized(struct reader *r, size_t *len)
{
    int64_t n;

    if (!read_long(r, &n) || n < 0 || n > r->end - r->p)
        return NULL;
    *len = (size_t)n;
    return read_bytes(r, *len);
}

static bool is(const char *text, size_t len, const char *other)
{
    return len == strlen(other) && memcmp(text, other, len) == 0;
}

static bool read_entry(struct avro_head *h, struct reader *r)
{
    size_t key_len, len;
    const char *key = read_sized(r, &key_len);
    const char *value = key ? read_sized(r, &len) : NULL;

    if (!value)
        return false;
    if (is(key, key_len, "avro.schema")) {
        h->schema = value;
        h->schema_len = len;
    } else if (is(key, key_len, "avro.codec")) {
        h->codec = value;
        h->codec_len = len;
    }
    return true;
}

/* Blocks of a map: a count, negative when a size in bytes follows; 0 ends. */
static bool read_metadata(struct avro_head *h, struct reader *r)
{
    int64_t n, size;

    while (read_long(r, &n)) {
        if (n == 0)
            return true;
        if (n < 0 && !read_long(r, &size))
            return false;
        for (int64_t i = n; i != 0; i += n < 0 ? 1 : -1)
            if (!read_entry(h, r))
                return false;
    }
    return false;
}

bool avro_head_read(struct avro_head *h, const char *bytes, size_t len)
{
    struct reader r = {.p = bytes, .end = bytes + len};
    const char *magic = read_bytes(&r, 4);

    *h = (struct avro_head){0};
    if (!magic || memcmp(magic, "Obj\x01", 4) != 0 || !read_metadata(h, &r))
        return false;
    h->sync = read_bytes(&r, CONTAINER_SYNC);
    return h->sync && h->schema;
}

bool avro_block_read(struct reader *r, int64_t *count, int64_t *size)
{
    return read_long(r, count) && read_long(r, size) && *count >= 0 && *size >= 0;
}

bool avro_head_has_codec(const struct avro_head *h, enum codec codec)
{
    const char *name = container_codec_name(codec);

    return is(h->codec, h->codec_len, name) || (h->codec_len == 0 && codec == CODEC_NULL);
}
