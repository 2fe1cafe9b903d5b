/*
 * wal2json_mutate_test - recorded streams of wal2json, damaged in a fixed number of ways.
 *
 * What comes of them is checked by tests/fuzz/wal2json_fuzz.c, which aborts, and by the sanitizers.
 * The streams are cut into transactions first, so that each mutation has little to decode.
 */
#include <dirent.h>

#include "base/buf.h"
#include "tests/fuzz/wal2json_fuzz.c"
#include "tests/unit/capture.h"

#define CORPUS "tests/fuzz/corpus/wal2json"

enum { MUTATIONS = 20000, MAX_SEEDS = 256 };

/* What a decoder accepts from the state in which it begins, and in which it is afterwards. */
struct seed {
    unsigned char *data;
    size_t size;
};

static struct {
    struct seed list[MAX_SEEDS];
    size_t n;
} seeds;

static void add_seed(const char *data, size_t size)
{
    struct seed *s = &seeds.list[seeds.n++];

    s->data = xcalloc(size, 1);
    memcpy(s->data, data, size);
    s->size = size;
}

/* Makes a seed of each transaction and of each message outside of one. */
static bool cut_stream(const struct buf *stream)
{
    struct decoder *d = new_decoder("UTF8");
    const char *start = stream->data, *end = stream->data + stream->len;
    bool right = true, open = false;

    for (const char *p = start; p < end && right && seeds.n < MAX_SEEDS;) {
        const char *next = memchr(p + 1, RECORD_SEPARATOR, (size_t)(end - p - 1));

        if (!next)
            next = end;
        right = *p == RECORD_SEPARATOR && decode(d, p + 1, (size_t)(next - p - 1), &open);
        p = next;
        if (open)
            continue;
        add_seed(start, (size_t)(p - start));
        start = p;
    }
    decoder_free(d);
    return right && start == end;
}

static bool read_file(const char *name, struct buf *b)
{
    char *path = xasprintf(CORPUS "/%s", name);
    FILE *file = fopen(path, "rb");
    size_t n = 1;

    free(path);
    b->len = 0;
    while (file && n > 0) {
        n = fread(buf_reserve(b, 65536), 1, 65536, file);
        b->len += n;
    }
    if (file)
        fclose(file);
    return b->len > 0;
}

/* All streams, in the order of their names. */
static void read_corpus(void)
{
    struct dirent **names;
    int n = scandir(CORPUS, &names, NULL, alphasort);
    struct buf stream;

    buf_init(&stream, 65536);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.')
            ok(read_file(names[i]->d_name, &stream) && cut_stream(&stream),
               "the stream %s is accepted as it is", names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    buf_release(&stream);
}

/* ---- damage ---- */

/* xorshift64*: the same on every machine */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717)) >> 16;
}

static size_t random_below(uint64_t *state, size_t n)
{
    return n ? (size_t)(random_next(state) % n) : 0;
}

/* Replaces the n bytes at `at` by others. */
static void replace(struct buf *b, size_t at, size_t n, const char *by, size_t len)
{
    size_t rest = b->len - at - n;

    buf_reserve(b, len);
    memmove(b->data + at + len, b->data + at + n, rest);
    memcpy(b->data + at, by, len);
    b->len = at + len + rest;
}

static void mutate_token(struct buf *b, uint64_t *state)
{
    static const char *const tokens[] = {
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud83d", "\\u00e9", "null", "true",
        "-", "1e9", "00", "4294967296", "\"x\":", "[[[[", "{\"a\":{\"a\":", "\x1e", "\x1e{", "]}",
        "\"xid\":1,", "\"action\":", "\"change\":[", "\"kind\":\"message\",", "\xff", "\n", "(",
    };
    const char *token = tokens[random_below(state, sizeof tokens / sizeof tokens[0])];
    size_t at = random_below(state, b->len + 1);
    size_t n = random_next(state) % 2 ? 0 : random_below(state, 8);

    replace(b, at, n < b->len - at ? n : b->len - at, token, strlen(token));
}

/* Copies or moves some bytes to another place. */
static void mutate_order(struct buf *b, uint64_t *state)
{
    char bytes[64];
    size_t from = random_below(state, b->len), to;
    size_t n = random_below(state, sizeof bytes);

    if (n > b->len - from)
        n = b->len - from;
    memcpy(bytes, b->data + from, n);
    if (random_next(state) % 2)
        replace(b, from, n, "", 0);
    to = random_below(state, b->len + 1);
    replace(b, to, 0, bytes, n);
}

static void mutate(struct buf *b, uint64_t *state)
{
    size_t at = random_below(state, b->len);

    switch (random_next(state) % 6) {
    case 0:
        b->data[at] = (char)random_next(state);
        break;
    case 1:
        b->data[at] = (char)(b->data[at] ^ 1 << random_below(state, 8));
        break;
    case 2:
        b->len = at + 1;
        break;
    case 3:
        mutate_order(b, state);
        break;
    default:
        mutate_token(b, state);
        break;
    }
}

static void test_mutations(void)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    unsigned accepted = 0;
    struct buf b;

    buf_init(&b, 8192);
    for (unsigned round = 0; round < MUTATIONS && seeds.n; round++) {
        const struct seed *seed = &seeds.list[random_below(&state, seeds.n)];

        b.len = 0;
        buf_add(&b, seed->data, seed->size);
        for (size_t n = 1 + random_below(&state, 3); n > 0 && b.len; n--)
            mutate(&b, &state);
        accepted += decode_all(round % 2 ? "LATIN1" : "UTF8", (unsigned char *)b.data, b.len);
        if (round % 256 == 0)
            log_forget();
    }
    /* Else the mutations would be too coarse, or none at all. */
    ok(accepted > MUTATIONS / 20 && accepted < MUTATIONS / 2, "%d mutants, of which %u accepted",
       MUTATIONS, accepted);
    buf_release(&b);
    log_forget();
}

int main(void)
{
    capture_start();
    read_corpus();
    ok(seeds.n > 20, "%zu transactions to damage", seeds.n);
    test_mutations();
    for (size_t i = 0; i < seeds.n; i++)
        free(seeds.list[i].data);
    ok(!leaks(), "nothing leaks");
    capture_end();
    return tap_done();
}
