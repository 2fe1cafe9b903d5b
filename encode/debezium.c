/*
 * The `debezium` envelope: what Debezium 3.x's connector gives through a JSON converter without
 * schemas, plus commit_lsn and tx_seq in source.  Fields and their order: CONTRACT, section 5.
 *
 * A record is put together from pieces, each rendered as seldom as possible:
 *
 *   {"before":…,"after":…           row by row
 *   ,"source":{… "sequence":"[…     head: once per transaction
 *   lsn
 *   \"]","ts_us":…,"ts_ns":…        middle: once per transaction
 *   ,"schema":…,"table":…,"txId":   layout->table: once per relation
 *   xid,"lsn":                      tail, up to xid_len: once per transaction
 *   lsn
 *   ,"xmin":null,"commit_lsn":…,"tx_seq":   rest of tail
 *   seq},"op":"c"
 *   ,"ts_ms":…,"ts_us":…,"ts_ns":…} clock: once per wake-up
 *
 * Rows of a snapshot differ in `after` and in nothing else: their source is layout->rows.
 */
#include "encode/debezium_value.h"
#include "encode/envelope.h"
#include "encode/value.h"

/*
 * A time in microseconds, with a unit of its own behind each of the names: the digits are the same,
 * but for how many of them there are.
 */
static void add_times(struct buf *b, const char *usec_name, const char *nsec_name, usec_t when)
{
    size_t start, n;

    buf_add_str(b, usec_name);
    start = b->len;
    buf_add_i64(b, when);
    n = b->len - start;
    buf_add_str(b, nsec_name);
    buf_reserve(b, n + 3);
    buf_add(b, b->data + start, n);
    buf_add(b, "000", 3);
}

static void set_clock(struct envelope_context *x)
{
    struct buf *b = &x->clock;

    b->len = 0;
    buf_add_str(b, ",\"ts_ms\":");
    buf_add_i64(b, x->now / 1000);
    add_times(b, ",\"ts_us\":", ",\"ts_ns\":", x->now);
    buf_add_char(b, '}');
    buf_pad(b);
}

/*
 * Up to where the event's LSN goes into `sequence`.  A time that the plugin does not tell is null;
 * so is an LSN of zero, which is "none".
 */
static void render_head(struct envelope_context *x, struct buf *b, usec_t when,
                        const char *snapshot, lsn_t previous)
{
    buf_add_str(b, ",\"source\":{\"version\":\"" CDCDUMP_VERSION
                   "\",\"connector\":\"postgresql\",\"name\":");
    buf_add_buf(b, &x->server_name);
    buf_add_str(b, ",\"ts_ms\":");
    if (when)
        buf_add_i64(b, when / 1000);
    else
        buf_add_str(b, "null");
    buf_add_str(b, ",\"snapshot\":\"");
    buf_add_str(b, snapshot);
    buf_add_str(b, "\",\"db\":");
    buf_add_buf(b, &x->database);
    buf_add_str(b, ",\"sequence\":\"[");
    if (previous) {
        buf_add_str(b, "\\\"");
        buf_add_u64(b, previous);
        buf_add_str(b, "\\\",\\\"");
    } else {
        buf_add_str(b, "null,\\\"");
    }
}

static void render_middle(struct buf *b, usec_t when)
{
    if (when)
        add_times(b, "\\\"]\",\"ts_us\":", ",\"ts_ns\":", when);
    else
        buf_add_str(b, "\\\"]\",\"ts_us\":null,\"ts_ns\":null");
}

/* tail holds two pieces: the transaction's number, and what stands between lsn and tx_seq. */
static void render_tail(struct envelope_context *x, const struct transaction *t)
{
    struct buf *b = &x->tail;

    buf_add_u64(b, t->xid);
    buf_add_str(b, ",\"lsn\":");
    x->xid_len = b->len;
    buf_add_str(b, ",\"xmin\":null,\"commit_lsn\":");
    if (t->commit_lsn)
        buf_add_u64(b, t->commit_lsn);
    else
        buf_add_str(b, "null");
    buf_add_str(b, ",\"tx_seq\":");
}

static void begin(struct envelope_context *x, const struct transaction *t)
{
    x->head.len = x->middle.len = x->tail.len = 0;
    render_head(x, &x->head, t->commit_time, "false", t->previous_commit);
    render_middle(&x->middle, t->commit_time);
    render_tail(x, t);
    buf_pad(&x->middle);
    buf_pad(&x->tail);
    x->transaction_lsn = t->commit_lsn ? t->commit_lsn : t->end_lsn;
}

static void add_table(struct buf *b, const char *schema, const char *table)
{
    buf_add_str(b, ",\"schema\":");
    json_add_name(b, schema);
    buf_add_str(b, ",\"table\":");
    json_add_name(b, table);
    buf_add_str(b, ",\"txId\":");
}

static void describe(struct envelope_context *x, struct layout *l)
{
    (void)x;
    add_table(&l->table, l->relation->schema, l->relation->name);
    buf_pad(&l->table);
}

/*
 * The source block of an event within a transaction, and `more` bytes of room behind it; table is
 * layout->table or the like, and padded as the other pieces are.
 */
static char *put_source(struct envelope_context *x, struct buf *b, const struct buf *table,
                        lsn_t lsn, uint32_t seq, size_t more)
{
    char digits[20];
    const char *text = lsn ? digits : "null"; /* where the plugin does not say */
    size_t len = lsn ? (size_t)(put_u64(digits, lsn) - digits) : strlen("null");
    size_t quote = lsn ? 0 : strlen("\\\""); /* around it in `sequence` */
    char *p = buf_reserve(b, x->head.len + x->middle.len + x->tail.len + table->len + 80 + more);

    memcpy(p, x->head.data, x->head.len - quote);
    p = put_few(p + x->head.len - quote, text, len);
    p = put_blocks(p, x->middle.data + quote, x->middle.len - quote);
    p = put_blocks(p, table->data, table->len);
    p = put_blocks(p, x->tail.data, x->xid_len);
    p = put_few(p, text, len);
    p = put_blocks(p, x->tail.data + x->xid_len, x->tail.len - x->xid_len);
    p = put_u64(p, seq);
    *p++ = '}';
    return p;
}

static bool change(struct envelope_context *x, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char ops[] = {[OP_INSERT] = 'c', [OP_UPDATE] = 'u', [OP_DELETE] = 'd',
                               [OP_TRUNCATE] = 't'};
    char op[] = ",\"op\":\"?\"";
    char *p;

    (void)t;
    (void)kind;
    op[7] = ops[c->op];
    buf_add_str(b, "{\"before\":");
    if (!envelope_add_old(x, c, l, b))
        return false;
    buf_add_str(b, ",\"after\":");
    if (!envelope_add_new(x, c, l, b))
        return false;
    p = put_source(x, b, &l->table, c->lsn, c->seq, sizeof op + x->clock.len + BUF_BLOCK);
    memcpy(p, op, sizeof op - 1);
    buf_written(b, put_blocks(p + sizeof op - 1, x->clock.data, x->clock.len));
    return true;
}

/* The source block of what stands outside of transactions, or of a table. */
static void add_free_source(struct envelope_context *x, struct buf *b, usec_t when,
                            const char *snapshot, const char *schema, const char *table, lsn_t lsn)
{
    render_head(x, b, when, snapshot, 0);
    buf_add_u64(b, lsn);
    render_middle(b, when);
    add_table(b, schema, table);
    buf_add_str(b, "null,\"lsn\":");
    buf_add_u64(b, lsn);
    buf_add_str(b, ",\"xmin\":null,\"commit_lsn\":null,\"tx_seq\":null}");
}

static void describe_rows(struct envelope_context *x, struct layout *l, enum row_mark mark)
{
    static const char *const marks[] = {
        [ROW_CONSISTENT] = "true", [ROW_LAST] = "last", [ROW_INCREMENTAL] = "incremental"};

    add_free_source(x, &l->rows, x->snapshot_time, marks[mark], l->relation->schema,
                    l->relation->name, x->snapshot_lsn);
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

/* Records begin with a brace, sources with a comma. */
static void drop_comma(struct buf *b, size_t at)
{
    b->data[at] = '{';
}

void debezium_add_message(const struct envelope_context *x, const struct message *m, struct buf *b)
{
    buf_add_str(b, ",\"message\":{\"prefix\":");
    json_add_name(b, m->prefix);
    buf_add_str(b, ",\"content\":");
    debezium_add_bytes(b, m->content, m->len, x->layouts.handling);
    buf_add_char(b, '}');
}

static bool message(struct envelope_context *x, const struct transaction *t,
                    const struct message *m, struct buf *b)
{
    size_t start = b->len;

    if (t) {
        struct buf table;

        buf_init(&table, 64);
        add_table(&table, "", "");
        buf_pad(&table);
        buf_written(b, put_source(x, b, &table, m->lsn, m->seq, 0));
        buf_release(&table);
    } else {
        add_free_source(x, b, x->now, "false", "", "", m->lsn);
    }
    drop_comma(b, start);
    buf_add_str(b, ",\"op\":\"m\"");
    buf_add(b, x->clock.data, x->clock.len - 1);
    debezium_add_message(x, m, b);
    buf_add_char(b, '}');
    return true;
}

static void add_collection(struct buf *b, const struct layout *l, bool first)
{
    struct buf name;

    buf_init(&name, 128);
    buf_printf(&name, "%s.%s", l->relation->schema, l->relation->name);
    buf_add_char(&name, '\0');
    buf_add_str(b, first ? "{\"data_collection\":" : ",{\"data_collection\":");
    json_add_name(b, name.data);
    buf_printf(b, ",\"event_count\":%llu}", (unsigned long long)l->changes);
    buf_release(&name);
}

static void add_counts(struct envelope_context *x, struct buf *b)
{
    struct buf collections;
    uint64_t total;

    buf_init(&collections, 256);
    total = envelope_for_each_count(x, add_collection, &collections);
    buf_printf(b, ",\"event_count\":%llu,\"data_collections\":[", (unsigned long long)total);
    buf_add_buf(b, &collections);
    buf_add_char(b, ']');
    buf_release(&collections);
}

void debezium_transaction(struct envelope_context *x, const struct transaction *t,
                          enum transaction_mark mark, struct buf *b)
{
    static const char *const status[] = {
        [MARK_BEGIN] = "BEGIN",
        [MARK_END] = "END",
        [MARK_PREPARE] = "PREPARE",
        [MARK_COMMIT_PREPARED] = "COMMIT PREPARED",
        [MARK_ROLLBACK_PREPARED] = "ROLLBACK PREPARED",
    };
    bool within = mark == MARK_BEGIN || mark == MARK_END || mark == MARK_PREPARE;
    lsn_t lsn = within ? x->transaction_lsn : t->commit_lsn ? t->commit_lsn : t->end_lsn;

    buf_printf(b, "{\"status\":\"%s\",\"id\":\"%u", status[mark], t->xid);
    if (lsn)
        buf_printf(b, ":%llu", (unsigned long long)lsn);
    buf_add_char(b, '"');
    if (mark == MARK_END || mark == MARK_PREPARE)
        add_counts(x, b);
    else
        buf_add_str(b, ",\"event_count\":null,\"data_collections\":null");
    buf_add_str(b, ",\"ts_ms\":");
    if (t->commit_time)
        buf_add_i64(b, t->commit_time / 1000);
    else
        buf_add_str(b, "null");
    if (t->gid) {
        buf_add_str(b, ",\"gid\":");
        json_add_name(b, t->gid);
    }
    buf_add_char(b, '}');
}

static void add_column(struct buf *b, const struct column *c, int position)
{
    buf_add_str(b, position > 1 ? ",{\"name\":" : "{\"name\":");
    json_add_name(b, c->name);
    buf_add_str(b, ",\"typeName\":");
    json_add_name(b, c->type_name ? c->type_name : "");
    buf_printf(b, ",\"typeOid\":%u,\"typmod\":%d,\"position\":%d}", c->type_oid, c->typmod,
               position);
}

static void add_key_names(struct buf *b, const struct relation *r)
{
    const char *comma = "";

    for (int i = 0; i < r->ncolumns; i++) {
        if (!r->columns[i].key)
            continue;
        buf_add_str(b, comma);
        json_add_name(b, r->columns[i].name);
        comma = ",";
    }
}

/* The shape of Debezium's schema change events, with what PostgreSQL's stream can tell. */
void debezium_add_table_changes(const struct relation *r, bool first, struct buf *b)
{
    int position = 0;
    struct buf id;

    buf_init(&id, 128);
    buf_printf(&id, "\"%s\".\"%s\"", r->schema, r->name);
    buf_add_char(&id, '\0');
    buf_printf(b, ",\"tableChanges\":[{\"type\":\"%s\",\"id\":", first ? "CREATE" : "ALTER");
    json_add_name(b, id.data);
    buf_release(&id);
    buf_add_str(b, ",\"table\":{\"primaryKeyColumnNames\":[");
    add_key_names(b, r);
    buf_add_str(b, "],\"columns\":[");
    for (int i = 0; i < r->ncolumns; i++)
        if (!r->columns[i].excluded)
            add_column(b, &r->columns[i], ++position);
    buf_add_str(b, "]}}]");
}

static void schema(struct envelope_context *x, const struct transaction *t,
                   const struct relation *r, lsn_t lsn, bool first, struct buf *b)
{
    size_t start = b->len;

    (void)t;
    add_free_source(x, b, x->now, "false", r->schema, r->name, lsn);
    drop_comma(b, start);
    buf_add(b, x->clock.data, x->clock.len - 1);
    debezium_add_table_changes(r, first, b);
    buf_add_char(b, '}');
}

void debezium_heartbeat(struct envelope_context *x, lsn_t lsn, struct buf *b)
{
    buf_add_str(b, "{\"serverName\":");
    buf_add_buf(b, &x->server_name);
    buf_add_str(b, ",\"lsn\":");
    buf_add_u64(b, lsn);
    buf_add_buf(b, &x->clock);
}

const struct envelope envelope_debezium = {
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
