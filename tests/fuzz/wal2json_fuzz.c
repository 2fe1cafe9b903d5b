/*
 * wal2json_fuzz - libFuzzer's way into the decoder of wal2json; tests/unit/wal2json_mutate_test.c
 * goes the same way in `make check`.
 *
 *     clang -std=c17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/wal2json_fuzz.c decode/[a-z]*.c binary/[a-z]*.c base/[a-z]*.c \
 *         -o /tmp/wal2json_fuzz
 *     mkdir -p /tmp/corpus && /tmp/wal2json_fuzz -close_fd_mask=2 /tmp/corpus \
 *         tests/fuzz/corpus/wal2json
 *
 * The mask keeps the decoder's errors off the terminal; reports of sanitizers still get there.
 *
 * An input is a JSON text sequence (RFC 7464): each message behind a byte 0x1e.  It is decoded
 * twice, as from a database in UTF-8 and as from one in LATIN1.  The corpus is from wal2json 2.5.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/table.h"
#include "decode/wal2json.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define RECORD_SEPARATOR 0x1e

/* ---- the catalogs: they know the table "t" alone, and not quite as it was ---- */

static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    static const char *const names[] = {"id", "n", "b", "big", "e", "f", "later"};
    enum { N = sizeof names / sizeof names[0] };

    (void)arg;
    if (strcmp(table, "t") != 0)
        return OUTCOME_OK;
    *d = (struct description){
        .exists = true, .oid = 16400, .schema = xstrdup(schema), .name = xstrdup(table),
        .identity = 'd', .own_identity = 'd', .ncolumns = N,
        .columns = xcalloc(N, sizeof(struct described_column)),
    };
    for (uint16_t i = 0; i < N; i++)
        d->columns[i] = (struct described_column){
            .name = xstrdup(names[i]), .type_oid = i == 0 ? 23 : 1700, .typmod = -1,
            .type = xstrdup(i == 0 ? "integer" : "numeric"),
            .bare_type = xstrdup(i == 0 ? "integer" : "numeric"), .position = i,
            .identity = i == 0, .candidate = i < 2, .nullable = i > 1, .toastable = i > 0,
            .number = i == 1,
        };
    return OUTCOME_OK;
}

static enum outcome find_type(void *arg, const char *type, uint32_t *oid)
{
    (void)arg;
    *oid = (uint32_t)strlen(type);
    return OUTCOME_OK;
}

/* ---- events ---- */

/* Something to do for the bytes that an event points to: an over-read must happen to be seen. */
static unsigned volatile sum;

static void read_all(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += (unsigned char)bytes[i];
}

static void read_row(const struct value *row, unsigned n)
{
    for (unsigned i = 0; row && i < n; i++) {
        if (row[i].kind == VALUE_TEXT)
            read_all(row[i].data, row[i].len);
        else if (row[i].kind == VALUE_BINARY)
            abort();
    }
}

/* Aborts where an event comes that cannot be; *open is whether a transaction is. */
static void read_event(const struct event *e, bool *open)
{
    if ((e->kind == EVENT_BEGIN && *open) || (e->kind == EVENT_COMMIT && !*open))
        abort();
    *open = e->kind == EVENT_BEGIN || (*open && e->kind != EVENT_COMMIT);
    if (e->kind == EVENT_CHANGE) {
        read_row(e->change.old_row, e->change.relation->ncolumns);
        read_row(e->change.new_row, e->change.relation->ncolumns);
    } else if (e->kind == EVENT_TRUNCATE) {
        read_all(e->relations[0]->name, strlen(e->relations[0]->name));
    } else if (e->kind == EVENT_MESSAGE) {
        read_all(e->message.prefix, strlen(e->message.prefix));
        read_all(e->message.content, e->message.len);
    } else if (e->kind != EVENT_BEGIN && e->kind != EVENT_COMMIT) {
        abort();
    }
    if (!*open && (e->kind == EVENT_CHANGE || e->kind == EVENT_TRUNCATE || e->transaction) &&
        e->kind != EVENT_COMMIT)
        abort();
}

/* ---- messages ---- */

/* Decodes one message in a block of its own size. */
static bool decode(struct decoder *d, const void *bytes, size_t len, bool *open)
{
    char *block = malloc(len ? len : 1);
    enum outcome outcome;
    struct event e;

    if (!block)
        log_out_of_memory();
    if (len)
        memcpy(block, bytes, len);
    /* malloc(0) has a byte that may be read. */
    outcome = decoder_take(d, 0x100, len ? block : block + 1, len, &e);
    for (; outcome == OUTCOME_OK && e.kind != EVENT_NONE; outcome = decoder_next(d, &e))
        read_event(&e, open);
    free(block);
    return outcome == OUTCOME_OK;
}

static struct decoder *new_decoder(const char *encoding)
{
    static struct describer describer = {.describe = describe, .find_type = find_type};
    struct decoder *d = decoder_new(&(struct decoder_setup){
        .kind = &decoder_wal2json, .describer = &describer, .encoding = encoding,
    });

    if (!d)
        abort();
    return d;
}

/* Whether all messages were accepted. */
static bool decode_all(const char *encoding, const unsigned char *data, size_t size)
{
    struct decoder *d = new_decoder(encoding);
    const unsigned char *end = data + size;
    bool decoded = true, open = false;

    while (decoded && data < end) {
        const unsigned char *next = memchr(data, RECORD_SEPARATOR, (size_t)(end - data));

        if (!next)
            next = end;
        if (next > data)
            decoded = decode(d, data, (size_t)(next - data), &open);
        data = next + 1;
    }
    decoder_free(d);
    return decoded;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    decode_all("UTF8", data, size);
    decode_all("LATIN1", data, size);
    return 0;
}
