/*
 * The `debezium-0.9` envelope: what Debezium 0.9.2's connector gives through a JSON converter
 * without schemas, field for field and in the order of the second seed's sample event:
 *
 *   {"before":…,"after":…,"source":{"version":"0.9.2.Final","connector":"postgresql","name":…,
 *    "db":…,"ts_usec":…,"txId":…,"lsn":…,"schema":…,"table":…,"snapshot":false,
 *    "last_snapshot_record":null},"op":"c","ts_ms":…}
 *
 * Truncations, messages and transactions, which that version did not have, look as in `debezium`,
 * with this source block.
 */
#include "encode/envelope.h"
#include "encode/value.h"

static void set_clock(struct envelope_context *x)
{
    x->clock.len = 0;
    buf_add_str(&x->clock, ",\"ts_ms\":");
    buf_add_i64(&x->clock, x->now / 1000);
    buf_add_char(&x->clock, '}');
}

static void add_lsn(struct buf *b, lsn_t lsn)
{
    if (lsn)
        buf_add_u64(b, lsn);
    else
        buf_add_str(b, "null");
}

/* Up to txId. */
static void add_head(struct envelope_context *x, usec_t when, struct buf *b)
{
    buf_add_str(b, ",\"source\":{\"version\":\"0.9.2.Final\",\"connector\":\"postgresql\",\"name\":");
    buf_add_buf(b, &x->server_name);
    buf_add_str(b, ",\"db\":");
    buf_add_buf(b, &x->database);
    buf_add_str(b, ",\"ts_usec\":");
    if (when)
        buf_add_i64(b, when);
    else
        buf_add_str(b, "null");
    buf_add_str(b, ",\"txId\":");
}

/* head: up to the LSN. */
static void begin(struct envelope_context *x, const struct transaction *t)
{
    x->head.len = 0;
    add_head(x, t->commit_time, &x->head);
    buf_add_u64(&x->head, t->xid);
    buf_add_str(&x->head, ",\"lsn\":");
    x->transaction_lsn = t->commit_lsn ? t->commit_lsn : t->end_lsn;
}

static void add_table(struct buf *b, const char *schema, const char *table)
{
    buf_add_str(b, ",\"schema\":");
    json_add_name(b, schema);
    buf_add_str(b, ",\"table\":");
    json_add_name(b, table);
    buf_add_str(b, ",\"snapshot\":");
}

static void describe(struct envelope_context *x, struct layout *l)
{
    (void)x;
    add_table(&l->table, l->relation->schema, l->relation->name);
}

static const char no_snapshot[] = "false,\"last_snapshot_record\":null}";

static bool change(struct envelope_context *x, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = ",\"op\":\"c\"", [OP_UPDATE] = ",\"op\":\"u\"",
                                      [OP_DELETE] = ",\"op\":\"d\"", [OP_TRUNCATE] = ",\"op\":\"t\""};

    (void)t;
    (void)kind;
    buf_add_str(b, "{\"before\":");
    if (!envelope_add_old(x, c, l, b))
        return false;
    buf_add_str(b, ",\"after\":");
    if (!envelope_add_new(x, c, l, b))
        return false;
    buf_add_buf(b, &x->head);
    add_lsn(b, c->lsn);
    buf_add_buf(b, &l->table);
    buf_add(b, no_snapshot, sizeof no_snapshot - 1);
    buf_add_str(b, ops[c->op]);
    buf_add_buf(b, &x->clock);
    return true;
}

/* The source block of what stands outside of transactions, or of a row. */
static void add_free_source(struct envelope_context *x, struct buf *b, usec_t when,
                            const char *snapshot, const char *schema, const char *table, lsn_t lsn)
{
    add_head(x, when, b);
    buf_add_str(b, "null,\"lsn\":");
    add_lsn(b, lsn);
    add_table(b, schema, table);
    buf_add_str(b, snapshot);
}

static void describe_rows(struct envelope_context *x, struct layout *l, enum row_mark mark)
{
    const struct relation *r = l->relation;

    add_free_source(x, &l->rows, x->snapshot_time,
                    mark == ROW_LAST ? "true,\"last_snapshot_record\":true}"
                                     : "true,\"last_snapshot_record\":false}",
                    r->schema, r->name, x->snapshot_lsn);
    buf_add_str(&l->rows, ",\"op\":\"r\"");
}

static bool row(struct envelope_context *x, const struct value *values, const struct layout *l,
                struct buf *b)
{
    buf_add_str(b, "{\"before\":null,\"after\":");
    if (!layout_add_row(l, values, ROW_ALL, b, &x->scratch, x->snapshot_lsn))
        return false;
    buf_add_buf(b, &l->rows);
    buf_add_buf(b, &x->clock);
    return true;
}

static bool message(struct envelope_context *x, const struct transaction *t,
                    const struct message *m, struct buf *b)
{
    size_t start = b->len;

    if (t) {
        buf_add_buf(b, &x->head);
        add_lsn(b, m->lsn);
        add_table(b, "", "");
        buf_add_str(b, no_snapshot);
    } else {
        add_free_source(x, b, x->now, no_snapshot, "", "", m->lsn);
    }
    b->data[start] = '{';
    buf_add_str(b, ",\"op\":\"m\"");
    buf_add(b, x->clock.data, x->clock.len - 1);
    debezium_add_message(x, m, b);
    buf_add_char(b, '}');
    return true;
}

static void schema(struct envelope_context *x, const struct transaction *t,
                   const struct relation *r, lsn_t lsn, bool first, struct buf *b)
{
    size_t start = b->len;

    (void)t;
    add_free_source(x, b, x->now, no_snapshot, r->schema, r->name, lsn);
    b->data[start] = '{';
    buf_add(b, x->clock.data, x->clock.len - 1);
    debezium_add_table_changes(r, first, b);
    buf_add_char(b, '}');
}

const struct envelope envelope_debezium_09 = {
    .set_clock = set_clock,
    .begin = begin,
    .describe = describe,
    .change = change,
    .describe_rows = describe_rows,
    .row = row,
    .message = message,
    .transaction = debezium_transaction,
    .schema = schema,
    .heartbeat = debezium_heartbeat,
};
