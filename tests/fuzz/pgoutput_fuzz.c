/*
 * pgoutput_fuzz - libFuzzer's way into the decoder; not part of `make check`.
 *
 *     clang -std=c17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/pgoutput_fuzz.c decode/[a-z]*.c base/[a-z]*.c -o /tmp/pgoutput_fuzz
 *     mkdir -p /tmp/corpus && /tmp/pgoutput_fuzz -close_fd_mask=2 /tmp/corpus
 *
 * The mask keeps the decoder's errors off the terminal; reports of sanitizers still get there.
 *
 * The first byte of an input tells what the decoder has seen before: bit 0 two relations, bit 1 a
 * Begin, bit 2 a Begin Prepare.  Messages follow, each behind one byte with its length; the last
 * one has what is left.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/pgoutput.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

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
        if (row[i].kind == VALUE_TEXT || row[i].kind == VALUE_BINARY)
            read_all(row[i].data, row[i].len);
        else if (row[i].kind > VALUE_BINARY)
            abort();
    }
}

static void read_relation(struct relation *r)
{
    read_all(r->schema, strlen(r->schema));
    read_all(r->name, strlen(r->name));
    for (unsigned i = 0; i < r->ncolumns; i++)
        read_all(r->columns[i].name, strlen(r->columns[i].name));
    r->described = true; /* as the catalog does, so that the same again is no event */
}

static void read_event(const struct event *e)
{
    if (e->kind == EVENT_RELATION) {
        read_relation(e->relation);
    } else if (e->kind == EVENT_CHANGE) {
        read_row(e->change.old_row, e->change.relation->ncolumns);
        read_row(e->change.new_row, e->change.relation->ncolumns);
    } else if (e->kind == EVENT_TRUNCATE) {
        for (uint32_t i = 0; i < e->ntruncated; i++)
            read_relation(e->relations[i]);
    } else if (e->kind == EVENT_MESSAGE) {
        read_all(e->message.prefix, strlen(e->message.prefix));
        read_all(e->message.content, e->message.len);
    } else if (e->transaction && e->transaction->gid) {
        read_all(e->transaction->gid, strlen(e->transaction->gid));
    }
}

/* Decodes one message in a block of its own size. */
static bool decode(struct decoder *d, const void *bytes, size_t len)
{
    char *block = malloc(len ? len : 1);
    char *start;
    struct event e;
    bool decoded;

    if (!block)
        log_out_of_memory();
    start = len ? block : block + 1; /* malloc(0) has a byte that may be read */
    if (len)
        memcpy(block, bytes, len);
    decoded = decoder_take(d, 1, start, len, &e) == OUTCOME_OK;
    if (decoded)
        read_event(&e);
    free(block);
    return decoded;
}

/* A relation of two columns, with the first as its key, and one of none. */
static void begin(struct decoder *d, unsigned what)
{
    static const char two[] = "R\0\0\0\1s\0t\0d\0\2\1a\0\0\0\0\x19\xff\xff\xff\xff"
                              "\0b\0\0\0\0\x19\xff\xff\xff\xff";
    static const char none[] = "R\0\0\0\2\0e\0f\0";
    static const char plain[] = "B\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0";
    static const char prepared[] = "b\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\1g";
    bool right = true;

    if (what & 1) /* all but `two` end in the NUL that C puts there */
        right = decode(d, two, sizeof two - 1) && decode(d, none, sizeof none);
    if (what & 2)
        right &= decode(d, plain, sizeof plain);
    else if (what & 4)
        right &= decode(d, prepared, sizeof prepared);
    if (!right)
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const unsigned char *end = data + size;
    struct decoder *d;
    bool decoded = true;

    if (size == 0)
        return 0;
    d = decoder_new(&(struct decoder_setup){.kind = &decoder_pgoutput});
    begin(d, *data++);
    while (decoded && data < end) {
        size_t len = *data++;

        if (len > (size_t)(end - data))
            len = (size_t)(end - data);
        decoded = decode(d, data, len);
        data += len;
    }
    decoder_free(d);
    return 0;
}
