/*
 * The `flink` envelope: the changelog of Flink's connectors, with their metadata columns by name
 * (CONTRACT, section 5):
 *
 *   {"row_kind":"+I","table_name":…,"schema_name":…,"database_name":…,"op_ts":ms,"row":{…}}
 *
 * row_kind: +I -U +U -D; -U and -D are about the old row.  op_ts: time of the commit, 0 for rows that
 * were read from tables, as those connectors have it; null where the plugin does not tell it.
 */
#include "encode/encoder_internal.h"

static void set_clock(struct envelope_context *x)
{
    (void)x; /* no time of writing in these records */
}

/* head: from op_ts up to the row. */
static void begin(struct envelope_context *x, const struct transaction *t)
{
    x->head.len = 0;
    if (t->commit_time)
        buf_add_i64(&x->head, t->commit_time / 1000);
    else
        buf_add_str(&x->head, "null");
    buf_add_str(&x->head, ",\"row\":");
}

static void describe(struct envelope_context *x, struct layout *l)
{
    buf_add_str(&l->table, "\",\"table_name\":");
    json_add_name(&l->table, l->relation->name);
    buf_add_str(&l->table, ",\"schema_name\":");
    json_add_name(&l->table, l->relation->schema);
    buf_add_str(&l->table, ",\"database_name\":");
    buf_add_buf(&l->table, &x->database);
    buf_add_str(&l->table, ",\"op_ts\":");
}

static void add_start(const struct layout *l, enum row_kind kind, struct buf *b)
{
    buf_add_str(b, "{\"row_kind\":\"");
    buf_add(b, row_kind_names[kind], 2);
    buf_add_buf(b, &l->table);
}

static bool change(struct envelope_context *x, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    (void)t;
    add_start(l, kind, b);
    buf_add_buf(b, &x->head);
    if (!layout_add_row(l, row_of_kind(c, kind), ROW_ALL, b, &x->scratch, c->lsn))
        return false;
    buf_add_char(b, '}');
    return true;
}

static void describe_rows(struct envelope_context *x, struct layout *l, enum row_mark mark)
{
    (void)x;
    (void)mark;
    add_start(l, RECORD_INSERT, &l->rows);
    buf_add_str(&l->rows, "0,\"row\":");
}

static bool row(struct envelope_context *x, const struct value *values, const struct layout *l,
                struct buf *b)
{
    buf_add_buf(b, &l->rows);
    if (!layout_add_row(l, values, ROW_ALL, b, &x->scratch, x->snapshot_lsn))
        return false;
    buf_add_char(b, '}');
    return true;
}

/* Records that are about no row have no place in a changelog: the options refuse them. */
const struct envelope envelope_flink = {
    .set_clock = set_clock,
    .begin = begin,
    .describe = describe,
    .change = change,
    .describe_rows = describe_rows,
    .row = row,
};
