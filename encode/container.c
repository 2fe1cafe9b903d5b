#include "encode/container.h"

#include <errno.h>
#include <limits.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <sys/random.h>
#define ZLIB_CONST /* next_in is not written through */
#include <zlib.h>
#include <zstd.h>

#include "base/log.h"
#include "encode/avro_value.h"

/*
 * Records of changes repeat one another so much that higher levels gain a few percent at most, for
 * several times the work.
 */
enum {
    DEFLATE_LEVEL = 2,
    DEFLATE_WINDOW = -15, /* negative: RFC 1951 without a header */
    DEFLATE_MEMORY = 8,
    ZSTANDARD_LEVEL = 1,
    BLOCK_HEAD = 20,                /* two longs, at most */
    BLOCK_KEPT = 4 * CONTAINER_BLOCK /* memory above it goes back once a long record is through */
};

/* Compresses n bytes to the end of out; false when the codec fails, with why. */
typedef bool (*compressor)(const char *bytes, size_t n, struct buf *out, const char **why);

struct container {
    enum codec codec;
    struct buf block;
    uint64_t count; /* of records in it */
    size_t marked_len;
    uint64_t marked_count;
    char sync[CONTAINER_SYNC];
};

/* ---- codecs ---- */

/*
 * What the libraries keep from block to block, which is several times a block.  No block depends on
 * the one before, so what there is of it serves all containers of the process, one file per table.
 */
static struct {
    z_stream deflate;
    ZSTD_CCtx *zstandard;
    unsigned deflate_users; /* how many containers there are of the codec */
    unsigned zstandard_users;
} shared;

static bool compress_null(const char *bytes, size_t n, struct buf *out, const char **why)
{
    (void)why;
    buf_add(out, bytes, n);
    return true;
}

static uInt at_most(size_t n)
{
    return n > UINT_MAX ? UINT_MAX : (uInt)n;
}

/* zlib counts what it is given in 32 bits, so that more than this takes several steps. */
static bool compress_deflate(const char *bytes, size_t n, struct buf *out, const char **why)
{
    z_stream *z = &shared.deflate;
    const Bytef *next = (const Bytef *)bytes;
    int result = deflateReset(z);

    buf_reserve(out, deflateBound(z, n));
    while (result == Z_OK) {
        uInt in = at_most(n);
        uInt space = at_most(out->cap - out->len);

        z->next_in = next;
        z->avail_in = in;
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = space;
        result = deflate(z, in == n ? Z_FINISH : Z_NO_FLUSH);
        next += in - z->avail_in;
        n -= in - z->avail_in;
        out->len += space - z->avail_out;
        if (z->avail_out == 0)
            buf_reserve(out, CONTAINER_BLOCK);
    }
    *why = z->msg ? z->msg : "zlib failed";
    return result == Z_STREAM_END;
}

static bool compress_zstandard(const char *bytes, size_t n, struct buf *out, const char **why)
{
    size_t bound = ZSTD_compressBound(n);
    size_t size = ZSTD_compress2(shared.zstandard, buf_reserve(out, bound), bound, bytes, n);

    if (ZSTD_isError(size)) {
        *why = ZSTD_getErrorName(size);
        return false;
    }
    out->len += size;
    return true;
}

static uint32_t checksum(const char *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), (const Bytef *)bytes, n);
}

/* Avro's: the block is followed by its checksum, in big-endian order. */
static bool compress_snappy(const char *bytes, size_t n, struct buf *out, const char **why)
{
    size_t size = snappy_max_compressed_length(n);
    uint32_t crc = checksum(bytes, n);

    /* a snappy stream counts what it holds in 32 bits */
    if (n > UINT32_MAX ||
        snappy_compress(bytes, n, buf_reserve(out, size), &size) != SNAPPY_OK) {
        *why = "snappy failed";
        return false;
    }
    out->len += size;
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_add_char(out, (char)(crc >> shift & 0xff));
    return true;
}

static const struct {
    const char *name; /* as the metadata have it */
    compressor compress;
} codecs[] = {
    [CODEC_NULL] = {"null", compress_null},
    [CODEC_DEFLATE] = {"deflate", compress_deflate},
    [CODEC_ZSTANDARD] = {"zstandard", compress_zstandard},
    [CODEC_SNAPPY] = {"snappy", compress_snappy},
};

const char *container_codec_name(enum codec codec)
{
    return codecs[codec].name;
}

/* What both libraries can fail at here is memory alone. */
static void open_deflate(void)
{
    shared.deflate = (z_stream){0};
    if (deflateInit2(&shared.deflate, DEFLATE_LEVEL, Z_DEFLATED, DEFLATE_WINDOW, DEFLATE_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        log_out_of_memory();
}

static void open_zstandard(void)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();

    if (!z || ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTANDARD_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 1)))
        log_out_of_memory();
    shared.zstandard = z;
}

static void open_codec(enum codec codec)
{
    if (codec == CODEC_DEFLATE && shared.deflate_users++ == 0)
        open_deflate();
    if (codec == CODEC_ZSTANDARD && shared.zstandard_users++ == 0)
        open_zstandard();
}

static void close_codec(enum codec codec)
{
    if (codec == CODEC_DEFLATE && --shared.deflate_users == 0)
        deflateEnd(&shared.deflate);
    if (codec == CODEC_ZSTANDARD && --shared.zstandard_users == 0)
        ZSTD_freeCCtx(shared.zstandard);
}

/* ---- the container ---- */

/* So few bytes come all at once or, for want of such a call, not at all. */
static bool choose_sync(struct container *c)
{
    ssize_t n;

    do {
        n = getrandom(c->sync, sizeof c->sync, 0);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof c->sync)
        return true;
    log_error("could not get random bytes for the sync marker: %s",
              strerror(n < 0 ? errno : EIO));
    return false;
}

struct container *container_new(enum codec codec)
{
    struct container *c = xcalloc(1, sizeof *c);

    c->codec = codec;
    if (!choose_sync(c)) {
        free(c);
        return NULL;
    }
    buf_init(&c->block, CONTAINER_BLOCK);
    open_codec(codec);
    return c;
}

void container_free(struct container *c)
{
    if (!c)
        return;
    close_codec(c->codec);
    buf_release(&c->block);
    free(c);
}

static void add_metadata(struct buf *b, const char *key, const char *value)
{
    avro_add_bytes(b, key, strlen(key));
    avro_add_bytes(b, value, strlen(value));
}

void container_add_head(const struct container *c, const char *schema, struct buf *b)
{
    buf_add(b, "Obj\x01", 4);
    avro_add_long(b, 2);
    add_metadata(b, "avro.codec", codecs[c->codec].name);
    add_metadata(b, "avro.schema", schema);
    avro_add_long(b, 0);
    buf_add(b, c->sync, sizeof c->sync);
}

void container_set_sync(struct container *c, const char sync[CONTAINER_SYNC])
{
    memcpy(c->sync, sync, CONTAINER_SYNC);
}

struct buf *container_block(struct container *c)
{
    return &c->block;
}

void container_added(struct container *c)
{
    c->count++;
}

void container_mark(struct container *c)
{
    c->marked_len = c->block.len;
    c->marked_count = c->count;
}

bool container_is_empty(const struct container *c)
{
    return c->count == 0;
}

bool container_has_marked(const struct container *c)
{
    return c->marked_count > 0;
}

void container_shrink(struct container *c, size_t cap)
{
    buf_shrink(&c->block, cap);
}

void container_forget(struct container *c)
{
    c->block.len = c->marked_len;
    c->count = c->marked_count;
}

/* ---- blocks ---- */

/* The two numbers that a block begins with; returns their length. */
static size_t put_head(char head[BLOCK_HEAD], uint64_t count, size_t size)
{
    return (size_t)(avro_put_long(avro_put_long(head, (int64_t)count), (int64_t)size) - head);
}

/* Behind room for the longest head, whose two numbers are not known before; then moved up to it. */
static bool add_block(struct container *c, uint64_t count, size_t len, struct buf *out)
{
    size_t start = out->len;
    const char *why = NULL;
    char head[BLOCK_HEAD];
    size_t gap = BLOCK_HEAD, head_len, size;

    /* What is not compressed has the size that it has, so nothing has to be moved. */
    if (c->codec == CODEC_NULL)
        gap = put_head(head, count, len);
    buf_reserve(out, BLOCK_HEAD + len + CONTAINER_SYNC);
    out->len += gap;
    if (!codecs[c->codec].compress(c->block.data, len, out, &why)) {
        log_error("could not compress a block of %zu bytes: %s", len, why);
        out->len = start;
        return false;
    }
    size = out->len - start - gap;
    head_len = put_head(head, count, size);
    memcpy(out->data + start, head, head_len);
    if (head_len != gap)
        memmove(out->data + start + head_len, out->data + start + gap, size);
    out->len = start + head_len + size;
    buf_add(out, c->sync, sizeof c->sync);
    return true;
}

/* Takes the first len bytes, which are count records, out of the open block. */
static void cut(struct container *c, uint64_t count, size_t len)
{
    memmove(c->block.data, c->block.data + len, c->block.len - len);
    c->block.len -= len;
    c->count -= count;
    c->marked_len = 0;
    c->marked_count = 0;
    buf_shrink(&c->block, BLOCK_KEPT);
}

bool container_close_marked(struct container *c, struct buf *out)
{
    if (c->marked_count == 0)
        return true;
    if (!add_block(c, c->marked_count, c->marked_len, out))
        return false;
    cut(c, c->marked_count, c->marked_len);
    return true;
}

bool container_close_all(struct container *c, struct buf *out)
{
    if (!container_close_marked(c, out))
        return false;
    if (c->count == 0)
        return true;
    if (!add_block(c, c->count, c->block.len, out))
        return false;
    cut(c, c->count, c->block.len);
    return true;
}
