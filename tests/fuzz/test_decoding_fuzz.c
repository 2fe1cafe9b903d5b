/*
 * test_decoding_fuzz - libFuzzer's way into the decoder of test_decoding's records; the unit test
 * takes the same way with a fixed number of inputs.
 *
 *     clang -std=c17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/test_decoding_fuzz.c decode/[a-z]*.c base/[a-z]*.c -o /tmp/test_decoding_fuzz
 *     cp -r tests/fuzz/corpus/test_decoding /tmp/corpus
 *     /tmp/test_decoding_fuzz -close_fd_mask=2 /tmp/corpus
 *
 * The mask keeps the decoder's errors off the terminal; reports of sanitizers still get there.
 *
 * The first byte of an input tells the encoding of the database: 1 LATIN1, 2 EUC_JP, 3 WIN1258,
 * else UTF8.  Records follow, with the byte 0x1e (record separator) between them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/table.h"
#include "decode/test_decoding.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* ---- a catalog ---- */

static struct described_column fuzz_column(const char *name, uint16_t position)
{
    return (struct described_column){
        .name = xstrdup(name),
        .type_oid = 25,
        .typmod = -1,
        .type = xstrdup("text"),
        .bare_type = xstrdup("text"),
        .position = position,
        .identity = position == 0,
        .candidate = position == 0,
        .toastable = position == 1,
        .nullable = position == 1,
    };
}

/* Tables in "public" are there, with columns "id" and "a"; some have the identity FULL. */
static enum outcome fuzz_describe(void *arg, const char *schema, const char *table,
                                  struct description *d)
{
    (void)arg;
    *d = (struct description){0};
    if (strcmp(schema, "public") != 0)
        return OUTCOME_OK;
    *d = (struct description){
        .exists = true,
        .oid = 16384 + (unsigned char)table[0],
        .schema = xstrdup(schema),
        .name = xstrdup(table),
        .identity = table[0] < 'm' ? 'f' : 'd',
        .own_identity = table[0] < 'm' ? 'f' : 'd',
        .elsewhere = table[0] == 'p',
        .ncolumns = 2,
        .columns = xcalloc(2, sizeof *d->columns),
    };
    d->columns[0] = fuzz_column("id", 0);
    d->columns[1] = fuzz_column("a", 1);
    return OUTCOME_OK;
}

static enum outcome fuzz_find_type(void *arg, const char *type, uint32_t *oid)
{
    (void)arg;
    *oid = (uint32_t)strlen(type);
    return OUTCOME_OK;
}

/* ---- what is done with events ---- */

/* Something to do for the bytes that an event points to: an over-read must happen to be seen. */
static unsigned volatile fuzz_sum;

static void fuzz_read(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fuzz_sum += (unsigned char)bytes[i];
}

static void fuzz_read_row(const struct value *row, unsigned n)
{
    for (unsigned i = 0; row && i < n; i++) {
        if (row[i].kind == VALUE_TEXT)
            fuzz_read(row[i].data, row[i].len);
        else if (row[i].kind >= VALUE_BINARY)
            abort();
    }
}

static void fuzz_read_relation(struct relation *r)
{
    fuzz_read(r->schema, strlen(r->schema));
    fuzz_read(r->name, strlen(r->name));
    for (unsigned i = 0; i < r->ncolumns; i++)
        fuzz_read(r->columns[i].name, strlen(r->columns[i].name));
    r->described = true; /* as the catalog does, so that the same again is no event */
}

/* Whether such an event leaves a transaction open. */
static bool fuzz_is_within(const struct event *e)
{
    return e->kind == EVENT_BEGIN || e->kind == EVENT_CHANGE || e->kind == EVENT_TRUNCATE ||
           (e->kind == EVENT_MESSAGE && e->message.transactional);
}

static void fuzz_read_event(const struct decoder *d, const struct event *e)
{
    if (fuzz_is_within(e) && !(d->in_transaction && e->transaction == &d->transaction))
        abort();
    if (e->kind == EVENT_CHANGE) {
        fuzz_read_relation(e->relation);
        fuzz_read_row(e->change.old_row, e->change.relation->ncolumns);
        fuzz_read_row(e->change.new_row, e->change.relation->ncolumns);
    } else if (e->kind == EVENT_TRUNCATE) {
        for (uint32_t i = 0; i < e->ntruncated; i++)
            fuzz_read_relation(e->relations[i]);
    } else if (e->kind == EVENT_MESSAGE) {
        fuzz_read(e->message.prefix, strlen(e->message.prefix));
        fuzz_read(e->message.content, e->message.len);
    } else if (e->transaction && e->transaction->gid) {
        fuzz_read(e->transaction->gid, strlen(e->transaction->gid));
    }
}

/* Decodes one record in a block of its own size. */
static bool fuzz_decode(struct decoder *d, const void *bytes, size_t len)
{
    char *block = malloc(len ? len : 1);
    enum outcome outcome;
    struct event e;

    if (!block)
        log_out_of_memory();
    if (len)
        memcpy(block, bytes, len);
    /* malloc(0) has a byte that may be read */
    outcome = decoder_take(d, 1, len ? block : block + 1, len, &e);
    if (outcome == OUTCOME_OK)
        fuzz_read_event(d, &e);
    free(block);
    return outcome == OUTCOME_OK;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const char *const encodings[] = {"UTF8", "LATIN1", "EUC_JP", "WIN1258"};
    struct describer describer = {.describe = fuzz_describe, .find_type = fuzz_find_type};
    struct decoder_setup setup = {.kind = &decoder_test_decoding, .describer = &describer};
    const unsigned char *end = data + size;
    struct decoder *d;
    bool decoded = true;

    if (size == 0)
        return 0;
    setup.encoding = encodings[*data++ & 3];
    d = decoder_new(&setup);
    if (!d)
        abort();
    while (decoded && data < end) {
        const unsigned char *separator = memchr(data, 0x1e, (size_t)(end - data));
        const unsigned char *next = separator ? separator : end;

        decoded = fuzz_decode(d, data, (size_t)(next - data));
        data = separator ? next + 1 : end;
    }
    decoder_free(d);
    return 0;
}
