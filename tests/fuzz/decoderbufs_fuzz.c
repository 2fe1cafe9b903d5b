/*
 * decoderbufs_fuzz - libFuzzer's way into the decoder, and tests/unit/decoderbufs_test.c's, which
 * runs a fixed number of mutations of the seeds in `make check`.
 *
 *     clang -std=c17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/decoderbufs_fuzz.c decode/[a-z]*.c binary/[a-z]*.c base/[a-z]*.c \
 *         -o /tmp/decoderbufs_fuzz
 *     mkdir -p /tmp/corpus
 *     /tmp/decoderbufs_fuzz -close_fd_mask=2 /tmp/corpus tests/fuzz/corpus/decoderbufs
 *
 * The mask keeps the decoder's errors off the terminal; reports of sanitizers still get there.
 *
 * Bit 0 of the first byte of an input tells whether tables exist, bit 1 whether the database is in
 * LATIN1.  Then come messages, each behind two bytes with its length, the higher one first; the
 * last one has what is left.  With the highest bit set there is no message but a keepalive, and the
 * rest of the two bytes is its position.  Lengths and positions are below 32768.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/decoderbufs.h"
#include "decode/table.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* ---- what the catalogs say ---- */

/* arg: whether tables exist.  They have a key, `id`, and a column `v` of character varying(20). */
static enum outcome fuzz_describe(void *arg, const char *schema, const char *table,
                                  struct description *d)
{
    static const struct described_column columns[] = {
        {.type_oid = 23, .typmod = -1, .position = 0, .identity = true, .candidate = true},
        {.type_oid = 1043, .typmod = 24, .position = 1, .nullable = true, .toastable = true},
    };

    *d = (struct description){.exists = *(const bool *)arg, .oid = 16384, .identity = 'd'};
    if (!d->exists)
        return OUTCOME_OK;
    d->own_identity = 'd';
    d->schema = xstrdup(schema);
    d->name = xstrdup(table);
    d->ncolumns = 2;
    d->columns = xcalloc(2, sizeof *d->columns);
    memcpy(d->columns, columns, sizeof columns);
    d->columns[0].name = xstrdup("id");
    d->columns[0].type = xstrdup("integer");
    d->columns[0].bare_type = xstrdup("integer");
    d->columns[1].name = xstrdup("v");
    d->columns[1].type = xstrdup("character varying(20)");
    d->columns[1].bare_type = xstrdup("character varying");
    return OUTCOME_OK;
}

static enum outcome fuzz_find_type(void *arg, const char *type, uint32_t *oid)
{
    (void)arg;
    *oid = strcmp(type, "text") == 0 ? 25 : 0;
    return OUTCOME_OK;
}

/* ---- events ---- */

/* Something to do for the bytes that an event points to: an over-read must happen to be seen. */
static unsigned volatile fuzz_sum;

static void fuzz_read(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fuzz_sum += (unsigned char)bytes[i];
}

static void fuzz_read_row(const struct value *row, const struct relation *r)
{
    for (unsigned i = 0; row && i < r->ncolumns; i++) {
        if (row[i].kind == VALUE_TEXT)
            fuzz_read(row[i].data, row[i].len);
        else if (row[i].kind > VALUE_UNCHANGED)
            abort();
    }
}

/* *open: whether a transaction is.  Whatever is sent, events are in order. */
static void fuzz_read_event(const struct event *e, bool *open)
{
    bool begins = e->kind == EVENT_BEGIN;

    if (e->kind == EVENT_NONE)
        return;
    if (*open == begins || !e->transaction || e->transaction->gid)
        abort();
    if (e->kind == EVENT_CHANGE) {
        if (!e->change.old_row && !e->change.new_row && e->change.op != OP_DELETE)
            abort();
        fuzz_read_row(e->change.old_row, e->change.relation);
        fuzz_read_row(e->change.new_row, e->change.relation);
    } else if (!begins && e->kind != EVENT_COMMIT) {
        abort();
    }
    *open = e->kind != EVENT_COMMIT;
}

/* Decodes one message in a block of its own size. */
static bool fuzz_decode(struct decoder *d, const void *bytes, size_t len, bool *open)
{
    static const struct event unset;
    char *block = malloc(len ? len : 1);
    char *start;
    struct event e = unset;
    enum outcome outcome;

    if (!block)
        log_out_of_memory();
    start = len ? block : block + 1; /* malloc(0) has a byte that may be read */
    if (len)
        memcpy(block, bytes, len);
    outcome = decoder_take(d, 0x1000, start, len, &e);
    for (; outcome == OUTCOME_OK && e.kind != EVENT_NONE; outcome = decoder_next(d, &e))
        fuzz_read_event(&e, open);
    free(block);
    return outcome == OUTCOME_OK;
}

/* ---- inputs ---- */

static bool fuzz_step(struct decoder *d, const unsigned char **data, const unsigned char *end,
                      bool *open)
{
    unsigned head = (unsigned)(*data)[0] << 8 | (*data)[1];
    size_t len = head & 0x7fff;
    struct event e = {0};
    const unsigned char *bytes = *data += 2;

    if (head & 0x8000) {
        decoder_keepalive(d, len, &e);
        fuzz_read_event(&e, open);
        return true;
    }
    if (len > (size_t)(end - bytes))
        len = (size_t)(end - bytes);
    *data += len;
    return fuzz_decode(d, bytes, len, open);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const unsigned char *end = data + size;
    bool exists = size > 0 && (data[0] & 1), open = false;
    struct describer describer = {&exists, fuzz_describe, fuzz_find_type};
    struct decoder_setup setup = {.kind = &decoder_decoderbufs, .describer = &describer};
    struct decoder *d;

    if (size == 0)
        return 0;
    setup.encoding = data[0] & 2 ? "LATIN1" : "UTF8";
    d = decoder_new(&setup);
    data++;
    while (end - data >= 2 && fuzz_step(d, &data, end, &open))
        ;
    decoder_free(d);
    return 0;
}
