/*
 * container_test - blocks of container files: what is in them, where they end, and how they look.
 *
 * Files are taken apart here by hand, as the specification says, and blocks are decompressed by the
 * codecs' libraries; avro_value_test has them read by libavro.
 */
#include "encode/container.h"

#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/log.h"
#include "tests/unit/tap.h"

static const char *const names[] = {"null", "deflate", "zstandard", "snappy"};

enum { CODECS = 4 };

/* ---- reading ---- */

struct reader {
    const unsigned char *s;
    const unsigned char *end;
};

static struct reader reader_of(const struct buf *b)
{
    const unsigned char *s = (const unsigned char *)b->data;

    return (struct reader){s, s + b->len};
}

/* False at the end, and where the number is longer than it need be. */
static bool read_long(struct reader *r, int64_t *n)
{
    uint64_t z = 0;

    for (unsigned shift = 0; r->s < r->end && shift < 70; shift += 7) {
        unsigned char byte = *r->s++;

        z |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        *n = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
        return byte != 0 || shift == 0;
    }
    return false;
}

static bool read_bytes(struct reader *r, size_t n, const unsigned char **bytes)
{
    if ((size_t)(r->end - r->s) < n)
        return false;
    *bytes = r->s;
    r->s += n;
    return true;
}

static bool inflate_raw(const unsigned char *s, size_t n, struct buf *out)
{
    z_stream z = {0};
    Bytef *input = malloc(n ? n : 1);
    int result;

    if (!input || inflateInit2(&z, -15) != Z_OK)
        log_out_of_memory();
    memcpy(input, s, n);
    z.next_in = input;
    z.avail_in = (uInt)n;
    do {
        buf_reserve(out, 65536);
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)(out->cap - out->len);
        result = inflate(&z, Z_NO_FLUSH);
        out->len = out->cap - z.avail_out;
    } while (result == Z_OK);
    inflateEnd(&z);
    free(input);
    return result == Z_STREAM_END && z.avail_in == 0;
}

/* The frame says how long its content is. */
static bool unzstd(const unsigned char *s, size_t n, struct buf *out)
{
    unsigned long long size = ZSTD_getFrameContentSize(s, n);

    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR)
        return false;
    if (ZSTD_decompress(buf_reserve(out, size), size, s, n) != size)
        return false;
    out->len += size;
    return true;
}

static bool unsnappy(const unsigned char *s, size_t n, struct buf *out)
{
    size_t size;
    uint32_t crc;

    if (n < 4 || snappy_uncompressed_length((const char *)s, n - 4, &size) != SNAPPY_OK)
        return false;
    if (snappy_uncompress((const char *)s, n - 4, buf_reserve(out, size), &size) != SNAPPY_OK)
        return false;
    crc = (uint32_t)crc32(0, (const Bytef *)out->data + out->len, (uInt)size);
    out->len += size;
    s += n - 4;
    return crc == ((uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3]);
}

static bool decompress(enum codec codec, const unsigned char *s, size_t n, struct buf *out)
{
    switch (codec) {
    case CODEC_DEFLATE:
        return inflate_raw(s, n, out);
    case CODEC_ZSTANDARD:
        return unzstd(s, n, out);
    case CODEC_SNAPPY:
        return unsnappy(s, n, out);
    case CODEC_NULL:
        break;
    }
    buf_add(out, s, n);
    return true;
}

/* Appends the content of the next block; false when it is not well-formed. */
static bool read_block(struct reader *r, enum codec codec, const char *sync, int64_t *count,
                       struct buf *content)
{
    const unsigned char *bytes, *marker;
    int64_t size;

    return read_long(r, count) && *count > 0 && read_long(r, &size) && size >= 0 &&
           read_bytes(r, (size_t)size, &bytes) && read_bytes(r, CONTAINER_SYNC, &marker) &&
           memcmp(marker, sync, CONTAINER_SYNC) == 0 &&
           decompress(codec, bytes, (size_t)size, content);
}

/* ---- the head ---- */

static const char schema[] = "{\"type\":\"string\"}";

static void test_golden_head(enum codec codec)
{
    static const char *const goldens[CODECS] = {
        "Obj\x01\x04\x14" "avro.codec\x08" "null\x16" "avro.schema\x22{\"type\":\"string\"}",
        "Obj\x01\x04\x14" "avro.codec\x0e" "deflate\x16" "avro.schema\x22{\"type\":\"string\"}",
        "Obj\x01\x04\x14" "avro.codec\x12" "zstandard\x16" "avro.schema\x22{\"type\":\"string\"}",
        "Obj\x01\x04\x14" "avro.codec\x0c" "snappy\x16" "avro.schema\x22{\"type\":\"string\"}",
    };
    struct container *c = container_new(codec);
    struct buf b;
    size_t n = strlen(goldens[codec]);

    buf_init(&b, 1);
    buf_add_str(&b, "before");
    container_set_sync(c, "0123456789abcdef");
    container_add_head(c, schema, &b);
    ok(b.len == 6 + n + 1 + 16 && memcmp(b.data, "before", 6) == 0 &&
           memcmp(b.data + 6, goldens[codec], n) == 0 && b.data[6 + n] == 0 &&
           memcmp(b.data + 6 + n + 1, "0123456789abcdef", 16) == 0,
       "%s: head", names[codec]);
    buf_release(&b);
    container_free(c);
}

static void test_sync(void)
{
    struct container *one = container_new(CODEC_NULL);
    struct container *two = container_new(CODEC_NULL);
    const char *sync;
    struct buf a, b;

    buf_init(&a, 1);
    buf_init(&b, 1);
    container_add_head(one, schema, &a);
    container_add_head(two, schema, &b);
    ok(a.len == b.len && memcmp(a.data, b.data, a.len - CONTAINER_SYNC) == 0,
       "heads differ in the sync marker only");
    sync = a.data + a.len - CONTAINER_SYNC;
    ok(memcmp(sync, b.data + b.len - CONTAINER_SYNC, CONTAINER_SYNC) != 0, "and do so in that");
    container_set_sync(two, sync);
    b.len = 0;
    container_add_head(two, schema, &b);
    ok(a.len == b.len && memcmp(a.data, b.data, a.len) == 0, "one that was chosen is written");
    buf_release(&a);
    buf_release(&b);
    container_free(one);
    container_free(two);
    container_free(NULL);
}

/* ---- blocks ---- */

static void add(struct container *c, const char *record)
{
    buf_add_str(container_block(c), record);
    container_added(c);
}

/* Reads one block off the front of out, which must hold just that, and empties it. */
static void is_block(struct buf *out, enum codec codec, const char *sync, int64_t expected_count,
                     const char *expected, const char *name)
{
    struct reader r = reader_of(out);
    struct buf content;
    int64_t count = -1;
    bool read;

    buf_init(&content, 1);
    read = read_block(&r, codec, sync, &count, &content) && r.s == r.end;
    ok(read && count == expected_count, "%s: %s: one block of so many", names[codec], name);
    is_text(content.data, content.len, expected, name);
    buf_release(&content);
    out->len = 0;
}

static void test_marks(enum codec codec)
{
    static const char sync[] = "fedcba9876543210";
    struct container *c = container_new(codec);
    struct buf out;

    buf_init(&out, 1);
    container_set_sync(c, sync);
    ok(container_is_empty(c) && !container_has_marked(c) && !container_is_full(c), "new");
    ok(container_close_all(c, &out) && container_close_marked(c, &out) && out.len == 0,
       "nothing gives no block");
    add(c, "one,");
    ok(!container_is_empty(c) && !container_has_marked(c), "a record, no mark");
    ok(container_close_marked(c, &out) && out.len == 0, "nothing lies before the mark");
    container_mark(c);
    ok(!container_is_empty(c) && container_has_marked(c), "marked");
    add(c, "two,");
    add(c, "three,");
    ok(container_close_marked(c, &out), "closed");
    is_block(&out, codec, sync, 1, "one,", "before the mark");
    ok(!container_is_empty(c) && !container_has_marked(c), "what lies behind is still open");
    container_forget(c);
    ok(container_is_empty(c) && !container_has_marked(c), "and is taken back");
    add(c, "four,");
    add(c, "five,");
    container_mark(c);
    add(c, "six,");
    container_forget(c);
    add(c, "seven,");
    container_mark(c);
    ok(container_close_all(c, &out), "closed");
    is_block(&out, codec, sync, 3, "four,five,seven,", "without what was taken back");
    add(c, "eight,");
    container_mark(c);
    add(c, "nine,");
    ok(container_close_marked(c, &out), "closed");
    is_block(&out, codec, sync, 1, "eight,", "after a block");
    ok(container_close_all(c, &out), "closed");
    is_block(&out, codec, sync, 1, "nine,", "the beginning of a transaction by itself");
    container_forget(c);
    ok(container_close_all(c, &out) && out.len == 0, "what is in a block is not taken back");
    buf_release(&out);
    container_free(c);
}

static void test_two_blocks(enum codec codec)
{
    static const char sync[] = "fedcba9876543210";
    struct container *c = container_new(codec);
    struct buf out, content;
    struct reader r;
    int64_t first = 0, second = 0;
    bool read;

    buf_init(&out, 1);
    buf_init(&content, 1);
    container_set_sync(c, sync);
    add(c, "one,");
    add(c, "two,");
    container_mark(c);
    add(c, "three,");
    container_close_all(c, &out);
    r = reader_of(&out);
    read = read_block(&r, codec, sync, &first, &content) &&
           read_block(&r, codec, sync, &second, &content) && r.s == r.end;
    ok(read && first == 2 && second == 1, "%s: a block up to the mark, one behind", names[codec]);
    is_text(content.data, content.len, "one,two,three,", "all of it");
    buf_release(&out);
    buf_release(&content);
    container_free(c);
}

/* Containers of one codec, taking turns, some longer-lived than others. */
static void test_several(enum codec codec)
{
    static const char sync[] = "fedcba9876543210";
    struct container *one = container_new(codec);
    struct container *two = container_new(codec);
    struct buf out;

    buf_init(&out, 1);
    container_set_sync(one, sync);
    container_set_sync(two, sync);
    add(one, "one,");
    add(two, "two,");
    ok(container_close_all(one, &out), "closed");
    is_block(&out, codec, sync, 1, "one,", "one of two containers");
    container_free(one);
    add(two, "three,");
    ok(container_close_all(two, &out), "closed");
    is_block(&out, codec, sync, 2, "two,three,", "the other, when the first is gone");
    container_free(two);
    one = container_new(codec);
    container_set_sync(one, sync);
    add(one, "four,");
    ok(container_close_all(one, &out), "closed");
    is_block(&out, codec, sync, 1, "four,", "one after all are gone");
    container_free(one);
    buf_release(&out);
}

/* ---- sizes ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Bytes that compress, or do not. */
static void add_random(struct buf *b, size_t n, bool noise, uint64_t *state)
{
    for (size_t i = 0; i < n; i++)
        buf_add_char(b, (char)(noise ? random_next(state) : 'a' + random_next(state) % 3));
}

static bool survives(enum codec codec, size_t n, bool noise)
{
    static const char sync[] = "fedcba9876543210";
    struct container *c = container_new(codec);
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15) + n;
    struct buf record, out, content;
    int64_t count = 0;
    struct reader r;
    bool same = true;

    buf_init(&record, 1);
    buf_init(&out, 1);
    buf_init(&content, 1);
    container_set_sync(c, sync);
    add_random(&record, n, noise, &state);
    for (int round = 0; round < 2; round++) { /* the codec's context is used again */
        out.len = content.len = 0;
        buf_add_buf(container_block(c), &record);
        container_added(c);
        same &= container_is_full(c) == (n >= CONTAINER_BLOCK) && container_close_all(c, &out);
        r = reader_of(&out);
        same &= read_block(&r, codec, sync, &count, &content) && r.s == r.end && count == 1 &&
                content.len == n && memcmp(content.data, record.data, n) == 0;
    }
    same &= container_block(c)->cap <= 1 << 20; /* a long record's memory is not kept */
    buf_release(&record);
    buf_release(&out);
    buf_release(&content);
    container_free(c);
    return same;
}

static void test_sizes(enum codec codec)
{
    static const size_t sizes[] = {
        0, 1, 2, 63, 64, 100, 8191, 8192, 65535, 65536, CONTAINER_BLOCK - 1, CONTAINER_BLOCK,
        CONTAINER_BLOCK + 1, 1 << 20, 5000000,
    };

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ok(survives(codec, sizes[i], false), "%s: %zu bytes", names[codec], sizes[i]);
        ok(survives(codec, sizes[i], true), "%s: %zu bytes of noise", names[codec], sizes[i]);
    }
}

/* ---- anything at all, against a model ---- */

/* Records have numbers of their own; what a block must hold is a range of those kept. */
struct model {
    char records[4096][12];
    size_t n;       /* of records there are */
    size_t closed;  /* of them in blocks */
    size_t marked;  /* of them before the mark; at least `closed` */
    unsigned next;  /* number */
};

static void model_expect(const struct model *m, size_t end, struct buf *b)
{
    for (size_t i = m->closed; i < end; i++)
        buf_add_str(b, m->records[i]);
}

/* Takes a block of the records up to end off r. */
static bool model_take(struct model *m, size_t end, struct reader *r, enum codec codec,
                       const char *sync)
{
    struct buf expected, content;
    int64_t count;
    bool same;

    if (m->closed == end)
        return true;
    buf_init(&expected, 1);
    buf_init(&content, 1);
    model_expect(m, end, &expected);
    same = read_block(r, codec, sync, &count, &content) && (size_t)count == end - m->closed &&
           content.len == expected.len && memcmp(content.data, expected.data, content.len) == 0;
    buf_release(&expected);
    buf_release(&content);
    m->closed = end;
    return same;
}

static void model_add(struct model *m, struct container *c)
{
    char *record = m->records[m->n++];

    snprintf(record, sizeof m->records[0], "%u,", m->next++);
    add(c, record);
}

/* One step of both; false when they differ. */
static bool model_step(struct model *m, struct container *c, uint64_t choice, struct buf *out,
                       enum codec codec, const char *sync)
{
    struct reader r;
    bool same = true;

    out->len = 0;
    if (choice < 6) {
        model_add(m, c);
    } else if (choice == 6) {
        container_mark(c);
        m->marked = m->n;
    } else if (choice == 7) {
        container_forget(c);
        m->n = m->marked;
    } else if (choice == 8) {
        same = container_close_marked(c, out);
        r = reader_of(out);
        same &= model_take(m, m->marked, &r, codec, sync) && r.s == r.end;
    } else {
        same = container_close_all(c, out);
        r = reader_of(out);
        same &= model_take(m, m->marked, &r, codec, sync) && model_take(m, m->n, &r, codec, sync) &&
                r.s == r.end;
        m->marked = m->n;
    }
    return same && container_is_empty(c) == (m->n == m->closed) &&
           container_has_marked(c) == (m->marked > m->closed);
}

static void test_random(enum codec codec)
{
    static const char sync[] = "0011223344556677";
    struct model *m = xcalloc(1, sizeof *m);
    struct container *c = container_new(codec);
    uint64_t state = UINT64_C(0x853c49e6748fea9b);
    unsigned wrong = 0;
    struct buf out;

    buf_init(&out, 1);
    container_set_sync(c, sync);
    for (int round = 0; round < 20000; round++) {
        wrong += !model_step(m, c, random_next(&state) % 10, &out, codec, sync);
        if (m->closed == m->n)
            m->closed = m->n = m->marked = 0;
        if (m->n + 1 == sizeof m->records / sizeof m->records[0])
            wrong += !model_step(m, c, 9, &out, codec, sync);
    }
    ok(wrong == 0, "%s: 20000 random steps are those of the model", names[codec]);
    ok(m->next > 5000, "which had %u records", m->next);
    buf_release(&out);
    container_free(c);
    free(m);
}

int main(void)
{
    for (int codec = 0; codec < CODECS; codec++) {
        test_golden_head((enum codec)codec);
        test_marks((enum codec)codec);
        test_two_blocks((enum codec)codec);
        test_several((enum codec)codec);
        test_sizes((enum codec)codec);
        test_random((enum codec)codec);
    }
    test_sync();
    return tap_done();
}
