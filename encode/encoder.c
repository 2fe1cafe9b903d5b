#include "encode/encoder.h"

#include <stdlib.h>

#include "base/log.h"
#include "encode/encoder_internal.h"
#include "encode/value.h"

static const struct format *const formats[] = {
    [FORMAT_NDJSON] = &format_ndjson,
    [FORMAT_CSV] = &format_csv,
    [FORMAT_AVRO] = &format_avro,
};

static const struct envelope *const envelopes[] = {
    [ENVELOPE_DEBEZIUM] = &envelope_debezium,
    [ENVELOPE_DEBEZIUM_09] = &envelope_debezium_09,
    [ENVELOPE_FLINK] = &envelope_flink,
    [ENVELOPE_PLAIN] = &envelope_plain,
};

/* ---- pieces that envelopes share ---- */

bool envelope_add_old(struct envelope_context *x, const struct change *c, const struct layout *l,
                      struct buf *b)
{
    if (c->old_kind != OLD_NONE)
        return layout_add_row(l, c->old_row, ROW_ALL, b, &x->scratch, c->lsn);
    buf_add(b, "null", 4);
    return true;
}

bool envelope_add_new(struct envelope_context *x, const struct change *c, const struct layout *l,
                      struct buf *b)
{
    if (c->new_row)
        return layout_add_row(l, c->new_row, ROW_ALL, b, &x->scratch, c->lsn);
    buf_add(b, "null", 4);
    return true;
}

uint64_t envelope_for_each_count(struct envelope_context *x,
                                 void (*f)(struct buf *b, const struct layout *l, bool first),
                                 struct buf *b)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < x->layouts.count; i++) {
        const struct layout *l = &x->layouts.by_index[i];

        if (l->changes == 0)
            continue;
        f(b, l, total == 0);
        total += l->changes;
    }
    return total;
}

/* ---- making and freeing ---- */

struct encoder *encoder_new(const struct options *o, const char *database)
{
    struct encoder *e = xcalloc(1, sizeof *e);
    struct envelope_context *x = &e->x;
    struct buf *bufs[] = {&x->server_name, &x->database, &x->scratch, &x->clock, &x->cell,
                          &x->head,        &x->middle,   &x->tail, &e->head, &e->table};

    e->o = o;
    e->format = formats[o->format];
    e->database = xstrdup(database);
    e->server = xstrdup(o->server_name ? o->server_name : database);
    e->envelope = envelopes[o->envelope];
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_init(bufs[i], 512);
    json_add_name(&x->server_name, e->server);
    json_add_name(&x->database, database);
    layouts_init(&x->layouts, e->format->init_rule, &o->handling);
    layouts_init(&x->row_layouts, e->format->init_rule, &o->handling);
    if (e->format->open)
        e->format->open(e);
    return e;
}

void encoder_free(struct encoder *e)
{
    struct envelope_context *x;

    if (!e)
        return;
    x = &e->x;
    if (e->format->close)
        e->format->close(e);
    buf_release(&x->server_name);
    buf_release(&x->database);
    buf_release(&x->scratch);
    buf_release(&x->cell);
    buf_release(&x->clock);
    buf_release(&x->head);
    buf_release(&x->middle);
    buf_release(&x->tail);
    buf_release(&e->head);
    buf_release(&e->table);
    layouts_release(&x->layouts);
    layouts_release(&x->row_layouts);
    free(e->server);
    free(e->database);
    free(e);
}

const char *encoder_server(const struct encoder *e)
{
    return e->server;
}

/* ---- heads ---- */

bool encoder_has_head(const struct encoder *e)
{
    return e->format->fits != NULL;
}

bool encoder_fits(struct encoder *e, const struct relation *r)
{
    return !e->format->fits || (e->head.len > 0 && e->format->fits(e, r));
}

bool encoder_expect(struct encoder *e, const struct relation *r)
{
    return e->format->expect(e, r);
}

void encoder_begin_anew(struct encoder *e)
{
    if (e->format->begin_anew)
        e->format->begin_anew(e);
}

const struct buf *encoder_head(const struct encoder *e)
{
    return &e->head;
}

bool encoder_adopt(struct encoder *e, const char *bytes, size_t len)
{
    return e->format->adopt(e, bytes, len);
}

/* ---- events ---- */

const char *const row_kind_names[] = {
    [RECORD_INSERT] = "+I",
    [RECORD_UPDATE_BEFORE] = "-U",
    [RECORD_UPDATE_AFTER] = "+U",
    [RECORD_DELETE] = "-D",
};

static struct layout *layout_of(struct encoder *e, struct layouts *layouts,
                                const struct relation *r)
{
    bool fresh;
    struct layout *l = layouts_get(layouts, r, &fresh);

    if (fresh)
        e->format->describe(e, l);
    return l;
}

void encoder_set_clock(struct encoder *e, usec_t now)
{
    if (now == e->x.now)
        return;
    e->x.now = now;
    e->format->set_clock(e);
}

void encoder_begin(struct encoder *e, const struct transaction *t, bool again)
{
    if (e->o->transactions && !again)
        for (uint32_t i = 0; i < e->x.layouts.count; i++)
            e->x.layouts.by_index[i].changes = 0;
    e->format->begin(e, t);
}

/* Which of Flink's records a change is; how many. */
static int kinds_of(const struct encoder *e, const struct change *c, enum row_kind kinds[2])
{
    int n = 0;

    if (e->o->envelope != ENVELOPE_FLINK || c->op == OP_INSERT)
        kinds[n++] = RECORD_INSERT;
    else if (c->op == OP_DELETE)
        kinds[n++] = RECORD_DELETE;
    else {
        if (e->o->changelog == CHANGELOG_ALL)
            kinds[n++] = RECORD_UPDATE_BEFORE;
        kinds[n++] = RECORD_UPDATE_AFTER;
    }
    return n;
}

/* The flink envelope has no form for everything; *none: there is nothing to write. */
static enum outcome check_flink(const struct encoder *e, const struct change *c, bool *none)
{
    const struct relation *r = c->relation;
    bool needs_old = e->o->changelog == CHANGELOG_ALL && c->op != OP_INSERT;

    *none = c->op == OP_TRUNCATE;
    if (*none) {
        log_warning("the truncation of table \"%s.%s\" at " LSN_FMT " is left out: the flink "
                    "envelope has no form for it",
                    r->schema, r->name, LSN_ARGS(c->lsn));
        return OUTCOME_OK;
    }
    /* some plugins leave nulls out of such rows */
    if (c->op == OP_INSERT || c->old_kind == OLD_FULL || (c->old_row && r->identity == 'f') ||
        (!needs_old && (c->op == OP_UPDATE || c->old_row)))
        return OUTCOME_OK;
    log_error("the change of table \"%s.%s\" at " LSN_FMT " has no old row", r->schema, r->name,
              LSN_ARGS(c->lsn));
    log_detail("Changelog mode \"all\" gives the old row of every update and deletion, which the "
               "server sends for tables with REPLICA IDENTITY FULL.");
    log_hint("Use --changelog-mode=upsert, or another envelope; --replica-identity=full is for "
             "changes to come.");
    return OUTCOME_MISUSED;
}

enum outcome encoder_change(struct encoder *e, const struct transaction *t, const struct change *c,
                            struct buf *b)
{
    size_t start = b->len;
    struct layout *l = layout_of(e, &e->x.layouts, c->relation);
    enum row_kind kinds[2];
    int n = kinds_of(e, c, kinds);
    bool none = false;
    enum outcome outcome =
        e->o->envelope == ENVELOPE_FLINK ? check_flink(e, c, &none) : OUTCOME_OK;

    e->written = 0;
    if (outcome != OUTCOME_OK || none)
        return outcome;
    for (int i = 0; i < n; i++) {
        if (e->format->change(e, t, c, kinds[i], l, b))
            continue;
        b->len = start;
        return OUTCOME_FAILED;
    }
    e->written = (unsigned)n;
    l->changes++;
    return OUTCOME_OK;
}

void encoder_snapshot(struct encoder *e, lsn_t lsn, usec_t when)
{
    e->x.snapshot_lsn = lsn;
    e->x.snapshot_time = when;
    e->x.snapshots++;
}

unsigned encoder_written(const struct encoder *e)
{
    return e->written;
}

enum outcome encoder_row(struct encoder *e, const struct relation *r, const struct value *row,
                         enum row_mark mark, struct buf *b)
{
    size_t start = b->len;
    struct layout *l = layout_of(e, &e->x.row_layouts, r);

    if (l->rows_of != e->x.snapshots || l->rows_mark != mark) {
        l->rows.len = 0;
        e->format->describe_rows(e, l, mark);
        l->rows_of = e->x.snapshots;
        l->rows_mark = mark;
    }
    e->written = 1;
    if (e->format->row(e, row, l, b))
        return OUTCOME_OK;
    b->len = start;
    return OUTCOME_FAILED;
}

/* ---- records that are about no row: NDJSON alone has them ---- */

enum outcome encoder_message(struct encoder *e, const struct transaction *t, const struct message *m,
                     struct buf *b)
{
    size_t start = b->len;

    e->x.scratch.len = 0;
    json_add_name(&e->x.scratch, m->prefix);
    ndjson_add_key(e, "prefix", &e->x.scratch, b);
    if (!e->envelope->message(&e->x, t, m, b)) {
        b->len = start;
        return OUTCOME_FAILED;
    }
    buf_add_char(b, '\n');
    return OUTCOME_OK;
}

enum outcome encoder_transaction(struct encoder *e, const struct transaction *t, enum transaction_mark mark,
                         struct buf *b)
{
    e->x.scratch.len = 0;
    buf_printf(&e->x.scratch, "%u", t->xid);
    ndjson_add_key(e, "txId", &e->x.scratch, b);
    e->envelope->transaction(&e->x, t, mark, b);
    buf_add_char(b, '\n');
    return OUTCOME_OK;
}

enum outcome encoder_schema(struct encoder *e, const struct transaction *t, const struct relation *r,
                    lsn_t lsn, bool first, struct buf *b)
{
    e->x.scratch.len = 0;
    json_add_name(&e->x.scratch, r->name);
    ndjson_add_key(e, "table", &e->x.scratch, b);
    e->envelope->schema(&e->x, t, r, lsn, first, b);
    buf_add_char(b, '\n');
    return OUTCOME_OK;
}

enum outcome encoder_heartbeat(struct encoder *e, lsn_t lsn, struct buf *b)
{
    ndjson_add_key(e, "serverName", &e->x.server_name, b);
    e->envelope->heartbeat(&e->x, lsn, b);
    buf_add_char(b, '\n');
    return OUTCOME_OK;
}
