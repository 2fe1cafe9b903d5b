#include "encode/encoder.h"

#include <stdlib.h>

#include "base/log.h"
#include "encode/envelope.h"
#include "encode/value.h"

struct encoder {
    const struct options *o;
    const struct envelope *envelope;
    struct envelope_context x;
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
    struct buf *bufs[] = {&x->server_name, &x->database, &x->scratch, &x->clock,
                          &x->head,        &x->middle,   &x->tail};

    e->o = o;
    e->envelope = o->envelope == ENVELOPE_PLAIN ? &envelope_plain : &envelope_debezium;
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_init(bufs[i], 512);
    json_add_name(&x->server_name, o->server_name ? o->server_name : database);
    json_add_name(&x->database, database);
    layouts_init(&x->layouts, &o->handling);
    layouts_init(&x->row_layouts, &o->handling);
    return e;
}

void encoder_free(struct encoder *e)
{
    struct envelope_context *x;

    if (!e)
        return;
    x = &e->x;
    buf_release(&x->server_name);
    buf_release(&x->database);
    buf_release(&x->scratch);
    buf_release(&x->clock);
    buf_release(&x->head);
    buf_release(&x->middle);
    buf_release(&x->tail);
    layouts_release(&x->layouts);
    layouts_release(&x->row_layouts);
    free(e);
}

/* ---- the frame ---- */

static void add_delimiter(const struct encoder *e, struct buf *b)
{
    if (e->o->key_delimiter)
        buf_add(b, e->o->key_delimiter, e->o->key_delimiter_len);
}

/* For records that are about no row: the key is a small object of its own, or empty. */
static void add_other_key(const struct encoder *e, const char *name, const struct buf *value,
                          struct buf *b)
{
    if (!e->o->key_delimiter)
        return;
    if (name) {
        buf_printf(b, "{\"%s\":", name);
        buf_add_buf(b, value);
        buf_add_char(b, '}');
    }
    add_delimiter(e, b);
}

/* The key of a row (NULL: there is none), with its delimiter. */
static bool add_row_key(struct encoder *e, const struct value *row, lsn_t lsn,
                        const struct layout *l, struct buf *b)
{
    if (row && l->has_key && !layout_add_row(l, row, ROW_KEY, b, &e->x.scratch, lsn))
        return false;
    add_delimiter(e, b);
    return true;
}

static bool add_change_key(struct encoder *e, const struct change *c, const struct layout *l,
                           struct buf *b)
{
    return add_row_key(e, c->new_row ? c->new_row : c->old_row, c->lsn, l, b);
}

static struct layout *layout_of(struct encoder *e, struct layouts *layouts,
                                const struct relation *r)
{
    bool fresh;
    struct layout *l = layouts_get(layouts, r, &fresh);

    if (fresh)
        e->envelope->describe(&e->x, l);
    return l;
}

/* ---- events ---- */

void encoder_set_clock(struct encoder *e, usec_t now)
{
    if (now == e->x.now)
        return;
    e->x.now = now;
    e->envelope->set_clock(&e->x);
}

void encoder_begin(struct encoder *e, const struct transaction *t, bool again)
{
    if (e->o->transactions && !again)
        for (uint32_t i = 0; i < e->x.layouts.count; i++)
            e->x.layouts.by_index[i].changes = 0;
    e->envelope->begin(&e->x, t);
}

bool encoder_change(struct encoder *e, const struct transaction *t, const struct change *c,
                    struct buf *b)
{
    size_t start = b->len;
    struct layout *l = layout_of(e, &e->x.layouts, c->relation);

    if ((e->o->key_delimiter && !add_change_key(e, c, l, b)) ||
        !e->envelope->change(&e->x, t, c, l, b)) {
        b->len = start;
        return false;
    }
    buf_add_char(b, '\n');
    l->changes++;
    if (c->op == OP_DELETE && e->o->tombstones) {
        if (!add_change_key(e, c, l, b))
            return false;
        buf_add_char(b, '\n');
    }
    return true;
}

void encoder_snapshot(struct encoder *e, lsn_t lsn, usec_t when)
{
    e->x.snapshot_lsn = lsn;
    e->x.snapshot_time = when;
    e->x.snapshots++;
}

bool encoder_row(struct encoder *e, const struct relation *r, const struct value *row,
                 enum row_mark mark, struct buf *b)
{
    size_t start = b->len;
    struct layout *l = layout_of(e, &e->x.row_layouts, r);

    if (l->rows_of != e->x.snapshots || l->rows_mark != mark) {
        l->rows.len = 0;
        e->envelope->describe_rows(&e->x, l, mark);
        l->rows_of = e->x.snapshots;
        l->rows_mark = mark;
    }
    if ((e->o->key_delimiter && !add_row_key(e, row, e->x.snapshot_lsn, l, b)) ||
        !e->envelope->row(&e->x, row, l, b)) {
        b->len = start;
        return false;
    }
    buf_add_char(b, '\n');
    return true;
}

bool encoder_message(struct encoder *e, const struct transaction *t, const struct message *m,
                     struct buf *b)
{
    size_t start = b->len;

    e->x.scratch.len = 0;
    json_add_name(&e->x.scratch, m->prefix);
    add_other_key(e, "prefix", &e->x.scratch, b);
    if (!e->envelope->message(&e->x, t, m, b)) {
        b->len = start;
        return false;
    }
    buf_add_char(b, '\n');
    return true;
}

bool encoder_transaction(struct encoder *e, const struct transaction *t, enum transaction_mark mark,
                         struct buf *b)
{
    e->x.scratch.len = 0;
    buf_printf(&e->x.scratch, "%u", t->xid);
    add_other_key(e, "txId", &e->x.scratch, b);
    e->envelope->transaction(&e->x, t, mark, b);
    buf_add_char(b, '\n');
    return true;
}

bool encoder_schema(struct encoder *e, const struct transaction *t, const struct relation *r,
                    lsn_t lsn, bool first, struct buf *b)
{
    e->x.scratch.len = 0;
    json_add_name(&e->x.scratch, r->name);
    add_other_key(e, "table", &e->x.scratch, b);
    e->envelope->schema(&e->x, t, r, lsn, first, b);
    buf_add_char(b, '\n');
    return true;
}

bool encoder_heartbeat(struct encoder *e, lsn_t lsn, struct buf *b)
{
    add_other_key(e, "serverName", &e->x.server_name, b);
    e->envelope->heartbeat(&e->x, lsn, b);
    buf_add_char(b, '\n');
    return true;
}
