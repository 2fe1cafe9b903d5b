/*
 * NDJSON: one record, one line; with -K the lines KEY DELIMITER VALUE.  The value is the envelope's.
 */
#include "encode/encoder_internal.h"

static void add_delimiter(const struct encoder *e, struct buf *b)
{
    if (e->o->key_delimiter)
        buf_add(b, e->o->key_delimiter, e->o->key_delimiter_len);
}

/* For records that are about no row: the key is a small object of its own, or empty. */
void ndjson_add_key(const struct encoder *e, const char *name, const struct buf *value,
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

static bool add_change_key(struct encoder *e, const struct change *c, enum row_kind kind,
                           const struct layout *l, struct buf *b)
{
    const struct value *row = e->o->envelope == ENVELOPE_FLINK ? row_of_kind(c, kind)
                              : c->new_row                     ? c->new_row
                                                               : c->old_row;

    return add_row_key(e, row, c->lsn, l, b);
}

static void set_clock(struct encoder *e)
{
    e->envelope->set_clock(&e->x);
}

static void describe(struct encoder *e, struct layout *l)
{
    e->envelope->describe(&e->x, l);
}

static void describe_rows(struct encoder *e, struct layout *l, enum row_mark mark)
{
    e->envelope->describe_rows(&e->x, l, mark);
}

static void begin(struct encoder *e, const struct transaction *t)
{
    e->envelope->begin(&e->x, t);
}

static bool change(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    if ((e->o->key_delimiter && !add_change_key(e, c, kind, l, b)) ||
        !e->envelope->change(&e->x, t, c, kind, l, b))
        return false;
    buf_add_char(b, '\n');
    if (c->op != OP_DELETE || !e->o->tombstones)
        return true;
    if (!add_change_key(e, c, kind, l, b))
        return false;
    buf_add_char(b, '\n');
    return true;
}

static bool row(struct encoder *e, const struct value *values, const struct layout *l,
                struct buf *b)
{
    if ((e->o->key_delimiter && !add_row_key(e, values, e->x.snapshot_lsn, l, b)) ||
        !e->envelope->row(&e->x, values, l, b))
        return false;
    buf_add_char(b, '\n');
    return true;
}

const struct format format_ndjson = {
    .init_rule = rule_init,
    .set_clock = set_clock,
    .describe = describe,
    .describe_rows = describe_rows,
    .begin = begin,
    .change = change,
    .row = row,
};
