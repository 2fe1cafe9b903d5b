#include "capture/placing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reader.h"
#include "encode/avro_head.h"

/* The columns of a table that a file has been begun for. */
struct column_list {
    char *schema, *table; /* NULL = of all tables */
    struct buf columns;
    struct column_list *next;
};

void placing_init(struct placing *pl, const struct options *o, struct encoder *encoder,
                  struct delivery *delivery)
{
    *pl = (struct placing){
        .o = o,
        .encoder = encoder,
        .delivery = delivery,
        .simple = !delivery_has_many(delivery) && !encoder_has_head(encoder) &&
                  !delivery->output.begun,
        .generation = 1,
    };
}

static void free_columns(struct column_list *c)
{
    free(c->schema);
    free(c->table);
    buf_release(&c->columns);
    free(c);
}

void placing_release(struct placing *pl)
{
    while (pl->files) {
        struct column_list *next = pl->files->next;

        free_columns(pl->files);
        pl->files = next;
    }
    for (int i = 0; i < PLACING_KINDS; i++)
        free(pl->placed[i].by_index);
    *pl = (struct placing){0};
}

void placing_look_again(struct placing *pl)
{
    pl->opened = false;
    pl->generation++;
}

void placing_expect(struct placing *pl, const struct relation *r)
{
    if (encoder_has_head(pl->encoder) && !pl->o->per_table && r->captured &&
        !encoder_fits(pl->encoder, r))
        encoder_expect(pl->encoder, r);
}

/* ---- an output that goes on ---- */

static enum outcome refuse(const struct output *out, const char *what)
{
    log_error("output file \"%s\" cannot be continued: %s", out->path ? out->path : "", what);
    log_hint("Write to another file, or to a new one.");
    return OUTCOME_MISUSED;
}

/* Whether whole blocks follow the head, up to the end of the file. */
static bool blocks_are_whole(const struct output *out, const struct avro_head *head, uint64_t at)
{
    while (at < out->offset) {
        char bytes[20], sync[CONTAINER_SYNC];
        ssize_t n = output_read_at(out, bytes, sizeof bytes, at);
        struct reader r = {.p = bytes, .end = bytes + (n > 0 ? n : 0)};
        int64_t count, size;

        if (!avro_block_read(&r, &count, &size))
            return false;
        at += (uint64_t)(r.p - bytes) + (uint64_t)size;
        if (output_read_at(out, sync, sizeof sync, at) != sizeof sync ||
            memcmp(sync, head->sync, sizeof sync) != 0)
            return false;
        at += sizeof sync;
    }
    return true;
}

static enum outcome adopt_container(struct placing *pl, const struct output *out,
                                    const struct buf *start, size_t *len)
{
    struct avro_head head;

    if (!avro_head_read(&head, start->data, start->len))
        return refuse(out, "it does not begin as an Avro object container file");
    if (!avro_head_has_codec(&head, pl->o->codec))
        return refuse(out, "its blocks have another codec");
    *len = (size_t)(head.sync - start->data) + CONTAINER_SYNC;
    if (output_end(out) == *len)
        return OUTCOME_OK; /* it is not to stay: see adopt() */
    if (!pl->delivery->continues && !blocks_are_whole(out, &head, *len))
        return refuse(out, "it ends in the middle of a block");
    container_set_sync(out->container, head.sync);
    return encoder_adopt(pl->encoder, head.schema, head.schema_len)
               ? OUTCOME_OK
               : refuse(out, "its records are of another kind");
}

static enum outcome adopt_header(struct placing *pl, const struct output *out,
                                 const struct buf *start, size_t *len)
{
    if (!encoder_adopt(pl->encoder, start->data, start->len))
        return refuse(out, "it does not begin with the header of this format");
    *len = encoder_head(pl->encoder)->len;
    return OUTCOME_OK;
}

/* Heads are small as a rule, but need not be. */
static bool read_head(struct placing *pl, const struct output *out, struct buf *start)
{
    enum { FIRST = 64 * 1024, MOST = 16 * 1024 * 1024 };
    struct avro_head head;

    for (size_t max = FIRST; output_read_start(out, start, max); max *= 4)
        if (start->len < max || max >= MOST ||
            (out->container ? avro_head_read(&head, start->data, start->len)
                            : encoder_adopt(pl->encoder, start->data, start->len)))
            return true;
    return false;
}

/* A head with nothing behind it is what a run without records leaves: another one takes its place. */
static enum outcome adopt(struct placing *pl, struct output *out)
{
    struct buf start;
    size_t len = 0;
    enum outcome outcome = OUTCOME_OK;

    buf_init(&start, 4096);
    if (!read_head(pl, out, &start))
        outcome = refuse(out, "it cannot be read");
    else if (out->container)
        outcome = adopt_container(pl, out, &start, &len);
    else
        outcome = adopt_header(pl, out, &start, &len);
    buf_release(&start);
    if (outcome != OUTCOME_OK || output_end(out) != len)
        return outcome;
    encoder_begin_anew(pl->encoder);
    return delivery_empty_output(pl->delivery);
}

/* Lines behind half a line would be spoilt; what a run without a state file has left may end so. */
static void end_line(const struct placing *pl, struct output *out)
{
    char last;

    if (pl->delivery->continues || !out->begun || out->container || out->offset == 0 ||
        output_read_at(out, &last, 1, out->offset - 1) != 1 || last == '\n')
        return;
    log_warning("output file \"%s\" ends in the middle of a line: going on behind that",
                out->path ? out->path : "");
    buf_add_char(&out->pending, '\n');
}

/* ---- one output ---- */

static enum outcome columns_changed(struct placing *pl, const struct relation *r)
{
    const struct output *out = &pl->delivery->output;
    bool whole = pl->delivery->boundary > 0; /* there is a transaction before this one */
    bool kept = out->kind == OUTPUT_FILE && whole;

    log_error("the output cannot carry the columns of table \"%s.%s\", which are not those that it "
              "has begun with",
              r->schema, r->name);
    log_hint(kept ? "Move the file away, put an empty one in its place and run again: what is missing "
                    "follows.  With {table} in the name of the file there would be another one."
             : pl->o->format == FORMAT_CSV && !whole
                 ? "For a transaction that has rows before and after write to a file for each table, "
                   "as in -f '{schema}.{table}.csv', or use -e debezium."
                 : "Run again, with an output of its own for what follows.");
    if (pl->o->format == FORMAT_AVRO) { /* which can carry several sets of columns */
        enum outcome outcome = delivery_expect(pl->delivery, r);

        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_COLUMNS_CHANGED;
}

/* The head, now that a record is to follow; of blocks it can wait until the first one is closed. */
static void begin_output(const struct placing *pl, struct output *out)
{
    if (!out->begun)
        output_set_head(out, encoder_head(pl->encoder));
    if (!out->container)
        output_begin(out);
}

/* NDJSON behind what has a head would spoil that. */
static enum outcome look_at_lines(struct placing *pl, struct output *out)
{
    static const char *const heads[] = {"Obj\x01", "row_kind,commit_lsn,", "op,commit_lsn,"};
    struct buf start;
    bool foreign = false;

    buf_init(&start, 64);
    output_read_start(out, &start, 64);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        foreign |= start.len >= strlen(heads[i]) &&
                   memcmp(start.data, heads[i], strlen(heads[i])) == 0;
    buf_release(&start);
    pl->simple = !foreign;
    if (!foreign)
        end_line(pl, out);
    return foreign ? refuse(out, "it begins in another format") : OUTCOME_OK;
}

static enum outcome look_at_output(struct placing *pl, const struct relation *r)
{
    struct output *out = &pl->delivery->output;
    enum outcome outcome = OUTCOME_OK;

    if (!encoder_has_head(pl->encoder))
        return look_at_lines(pl, out);
    if (!pl->opened && out->begun && out->head.len > 0) /* by us, when there was another encoder */
        encoder_adopt(pl->encoder, out->head.data, out->head.len);
    else if (!pl->opened && out->begun)
        outcome = adopt(pl, out);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!pl->opened && out->head.len == 0)
        end_line(pl, out);
    pl->opened = true;
    if (!out->begun && (!out->container || container_is_empty(out->container)))
        encoder_begin_anew(pl->encoder);
    if (!encoder_fits(pl->encoder, r) && (out->begun || !encoder_expect(pl->encoder, r)))
        return columns_changed(pl, r);
    begin_output(pl, out);
    return OUTCOME_OK;
}

/* ---- files ---- */

/* All that makes a table's columns what they are. */
static void add_columns(struct buf *b, const struct relation *r)
{
    for (int i = 0; i < r->ncolumns; i++) {
        const struct column *c = &r->columns[i];

        if (!c->excluded)
            buf_printf(b, "%s%c%u %d %d%c", c->name, '\0', c->type_oid, c->typmod, c->key, '\0');
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What is known of the file for a table, made if there is nothing. */
static struct column_list *columns_of(struct placing *pl, const struct relation *r)
{
    struct column_list *c = pl->files;

    while (c && !(same_text(c->schema, r ? r->schema : NULL) &&
                  same_text(c->table, r ? r->name : NULL)))
        c = c->next;
    if (c)
        return c;
    c = xcalloc(1, sizeof *c);
    c->schema = r ? xstrdup(r->schema) : NULL;
    c->table = r ? xstrdup(r->name) : NULL;
    buf_init(&c->columns, 256);
    c->next = pl->files;
    pl->files = c;
    return c;
}

/* The file for one table: another one is begun when its columns have changed. */
static enum outcome look_at_file(struct placing *pl, const struct relation *r, lsn_t lsn,
                                 struct output **out)
{
    struct delivery *d = pl->delivery;
    struct column_list *known = columns_of(pl, r);
    struct buf columns;
    enum outcome outcome = OUTCOME_OK;
    bool same;

    buf_init(&columns, 256);
    add_columns(&columns, r);
    same = columns.len == known->columns.len &&
           memcmp(columns.data, known->columns.data, columns.len) == 0;
    *out = delivery_find(d, r);
    if (*out && !(*out)->begun && !(*out)->container)
        output_begin(*out); /* all it had was taken back */
    if (*out && !same)
        outcome = delivery_end_output(d, *out);
    if (outcome == OUTCOME_OK && (!*out || !same)) {
        outcome = delivery_begin_output(d, r, encoder_server(pl->encoder), lsn, out);
        if (outcome == OUTCOME_OK && encoder_has_head(pl->encoder)) {
            encoder_expect(pl->encoder, r);
            begin_output(pl, *out);
        }
    }
    known->columns.len = 0;
    buf_add_buf(&known->columns, &columns);
    buf_release(&columns);
    return outcome;
}

/* One file of all tables: another one where its head does not go with the table. */
static enum outcome look_at_shared_file(struct placing *pl, const struct relation *r, lsn_t lsn,
                                        struct output **out)
{
    struct delivery *d = pl->delivery;
    enum outcome outcome = OUTCOME_OK;

    *out = delivery_find(d, NULL);
    if (*out && !encoder_fits(pl->encoder, r) &&
        ((*out)->begun || !encoder_expect(pl->encoder, r))) {
        outcome = delivery_end_output(d, *out);
        *out = NULL;
    }
    if (outcome == OUTCOME_OK && !*out) {
        outcome = delivery_begin_output(d, NULL, encoder_server(pl->encoder), lsn, out);
        if (outcome == OUTCOME_OK && encoder_has_head(pl->encoder)) {
            encoder_begin_anew(pl->encoder);
            if (!encoder_fits(pl->encoder, r))
                encoder_expect(pl->encoder, r);
        }
    }
    if (outcome == OUTCOME_OK && encoder_has_head(pl->encoder))
        begin_output(pl, *out);
    return outcome;
}

/* ---- records ---- */

static struct placed *placed_of(struct placing *pl, enum placing_of of, const struct relation *r)
{
    struct placed_list *list = &pl->placed[of];

    if (r->index >= list->n) {
        uint32_t n = (r->index + 1) * 2;

        list->by_index = realloc(list->by_index, n * sizeof *list->by_index);
        if (!list->by_index)
            log_out_of_memory();
        memset(list->by_index + list->n, 0, (n - list->n) * sizeof *list->by_index);
        list->n = n;
    }
    return &list->by_index[r->index];
}

static unsigned generation(const struct placing *pl)
{
    return pl->generation + delivery_generation(pl->delivery);
}

enum outcome placing_look(struct placing *pl, enum placing_of of, const struct relation *r,
                          lsn_t lsn, struct output **out)
{
    struct placed *placed = placed_of(pl, of, r);
    enum outcome outcome;

    if (placed->version == r->version && placed->generation == generation(pl)) {
        *out = placed->out;
        return OUTCOME_OK;
    }
    *out = &pl->delivery->output;
    outcome = pl->o->per_table    ? look_at_file(pl, r, lsn, out)
              : delivery_has_many(pl->delivery) ? look_at_shared_file(pl, r, lsn, out)
                                                : look_at_output(pl, r);
    if (outcome == OUTCOME_OK)
        delivery_note(pl->delivery, *out, r, encoder_server(pl->encoder), lsn);
    *placed = (struct placed){.version = r->version, .generation = generation(pl), .out = *out};
    if (outcome != OUTCOME_OK)
        placed->version = 0;
    return outcome;
}

enum outcome placing_finish(struct placing *pl)
{
    struct output *out = &pl->delivery->output;
    const struct buf *head = encoder_head(pl->encoder);

    if (delivery_has_many(pl->delivery) || out->begun || head->len == 0)
        return OUTCOME_OK;
    output_set_head(out, head);
    output_begin(out);
    delivery_mark(pl->delivery, &pl->delivery->emitted);
    return OUTCOME_OK;
}
