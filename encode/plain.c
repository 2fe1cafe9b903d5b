/*
 * The `plain` envelope: flat, short, for people and for jq (CONTRACT, section 5):
 *
 *   {"op":"c","lsn":"0/16B3748","commit_lsn":"0/16B3780","seq":3,"xid":555,"ts":"…Z",
 *    "schema":"public","table":"products","key":{…},"row":{…},"old":{…}}
 *
 * op: r c u d t m, and begin end prepare commit_prepared rollback_prepared schema heartbeat for the
 * records that are off by default.  What does not apply is null.
 */
#include "base/clock.h"
#include "encode/debezium_value.h"
#include "encode/envelope.h"
#include "encode/value.h"

/* The lowest digits of n, with zeros in front. */
static char *put_digits(char *p, unsigned n, int digits)
{
    for (int i = digits; i-- > 0; n /= 10)
        p[i] = (char)('0' + n % 10);
    return p + digits;
}

void envelope_add_timestamp(struct buf *b, usec_t when)
{
    int64_t second = when / USEC_PER_SEC - (when % USEC_PER_SEC < 0);
    int64_t day = second / 86400 - (second % 86400 < 0);
    int64_t of_day = second - day * 86400;
    /* days to a date: eras of 400 years that begin on 1 March, so that leap days come last */
    int64_t z = day + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;

    int64_t year = yoe + era * 400 + (month <= 2);
    char *p;

    if (year < 0 || year > 9999) {
        buf_printf(b, "%04lld", (long long)year);
        p = buf_reserve(b, 32);
    } else {
        p = put_digits(buf_reserve(b, 32), (unsigned)year, 4);
    }
    *p++ = '-';
    p = put_digits(p, (unsigned)month, 2);
    *p++ = '-';
    p = put_digits(p, (unsigned)(doy - (153 * mp + 2) / 5 + 1), 2);
    *p++ = 'T';
    p = put_digits(p, (unsigned)(of_day / 3600), 2);
    *p++ = ':';
    p = put_digits(p, (unsigned)(of_day / 60 % 60), 2);
    *p++ = ':';
    p = put_digits(p, (unsigned)(of_day % 60), 2);
    *p++ = '.';
    p = put_digits(p, (unsigned)(when - second * USEC_PER_SEC), 6);
    *p++ = 'Z';
    buf_written(b, p);
}

static void add_timestamp(struct buf *b, usec_t when)
{
    buf_add_char(b, '"');
    envelope_add_timestamp(b, when);
    buf_add_char(b, '"');
}

static void add_commit_time(struct buf *b, const struct transaction *t)
{
    buf_add_str(b, ",\"ts\":");
    if (t->commit_time)
        add_timestamp(b, t->commit_time);
    else
        buf_add_str(b, "null");
}

/* At most 19 bytes. */
static char *put_lsn(char *p, lsn_t lsn)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[20], *start = text + sizeof text;
    uint32_t half = (uint32_t)lsn;

    if (!lsn) {
        memcpy(p, "null", 4);
        return p + 4;
    }
    *--start = '"';
    do
        *--start = hex[half & 15];
    while (half >>= 4);
    *--start = '/';
    half = (uint32_t)(lsn >> 32);
    do
        *--start = hex[half & 15];
    while (half >>= 4);
    *--start = '"';
    return put_few(p, start, (size_t)(text + sizeof text - start));
}

static void add_lsn(struct buf *b, const char *before, lsn_t lsn)
{
    buf_add_str(b, before);
    buf_written(b, put_lsn(buf_reserve(b, 20), lsn));
}

static void set_clock(struct envelope_context *x)
{
    (void)x; /* no time of writing in these records */
}

/* head: up to seq; tail: from xid up to the table. */
static void begin(struct envelope_context *x, const struct transaction *t)
{
    x->head.len = x->tail.len = 0;
    add_lsn(&x->head, ",\"commit_lsn\":", t->commit_lsn);
    buf_add_str(&x->head, ",\"seq\":");
    buf_add_str(&x->tail, ",\"xid\":");
    buf_add_u64(&x->tail, t->xid);
    add_commit_time(&x->tail, t);
    buf_pad(&x->head);
    buf_pad(&x->tail);
}

static void add_table(struct buf *b, const char *schema, const char *table)
{
    buf_add_str(b, ",\"schema\":");
    json_add_name(b, schema);
    buf_add_str(b, ",\"table\":");
    json_add_name(b, table);
}

static void describe(struct envelope_context *x, struct layout *l)
{
    (void)x;
    add_table(&l->table, l->relation->schema, l->relation->name);
    buf_add_str(&l->table, ",\"key\":");
    buf_pad(&l->table);
}

/* What begins the record of a change or message; op is one letter. */
static void add_event(struct envelope_context *x, struct buf *b, char op, lsn_t lsn, uint32_t seq)
{
    static const char start[] = "{\"op\":\"?\",\"lsn\":";
    char *p = buf_reserve(b, sizeof start + x->head.len + x->tail.len + 40 + 2 * BUF_BLOCK);

    memcpy(p, start, sizeof start - 1);
    p[7] = op;
    p = put_lsn(p + sizeof start - 1, lsn);
    p = put_blocks(p, x->head.data, x->head.len);
    p = put_u64(p, seq);
    buf_written(b, put_blocks(p, x->tail.data, x->tail.len));
}

static bool add_key(struct envelope_context *x, const struct change *c, const struct layout *l,
                    struct buf *b)
{
    const struct value *row = c->new_row ? c->new_row : c->old_row;

    if (row && l->has_key)
        return layout_add_row(l, row, ROW_KEY, b, &x->scratch, c->lsn);
    buf_add_str(b, "null");
    return true;
}

static bool change(struct envelope_context *x, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char ops[] = {[OP_INSERT] = 'c', [OP_UPDATE] = 'u', [OP_DELETE] = 'd',
                               [OP_TRUNCATE] = 't'};

    (void)t;
    (void)kind;
    add_event(x, b, ops[c->op], c->lsn, c->seq);
    buf_add_buf(b, &l->table);
    if (!add_key(x, c, l, b))
        return false;
    buf_add_str(b, ",\"row\":");
    if (!envelope_add_new(x, c, l, b))
        return false;
    buf_add_str(b, ",\"old\":");
    if (!envelope_add_old(x, c, l, b))
        return false;
    buf_add_char(b, '}');
    return true;
}

/* Everything in front of the key: rows differ in nothing else before it. */
static void describe_rows(struct envelope_context *x, struct layout *l, enum row_mark mark)
{
    (void)mark;
    add_lsn(&l->rows, "{\"op\":\"r\",\"lsn\":", x->snapshot_lsn);
    buf_add_str(&l->rows, ",\"commit_lsn\":null,\"seq\":null,\"xid\":null,\"ts\":");
    add_timestamp(&l->rows, x->snapshot_time);
    buf_add_buf(&l->rows, &l->table);
}

static bool row(struct envelope_context *x, const struct value *values, const struct layout *l,
                struct buf *b)
{
    buf_add_buf(b, &l->rows);
    if (!l->has_key)
        buf_add_str(b, "null");
    else if (!layout_add_row(l, values, ROW_KEY, b, &x->scratch, x->snapshot_lsn))
        return false;
    buf_add_str(b, ",\"row\":");
    if (!layout_add_row(l, values, ROW_ALL, b, &x->scratch, x->snapshot_lsn))
        return false;
    buf_add_str(b, ",\"old\":null}");
    return true;
}

static bool message(struct envelope_context *x, const struct transaction *t,
                    const struct message *m, struct buf *b)
{
    if (t) {
        add_event(x, b, 'm', m->lsn, m->seq);
    } else {
        add_lsn(b, "{\"op\":\"m\",\"lsn\":", m->lsn);
        buf_add_str(b, ",\"commit_lsn\":null,\"seq\":null,\"xid\":null,\"ts\":null");
    }
    buf_add_str(b, ",\"prefix\":");
    json_add_name(b, m->prefix);
    buf_add_str(b, ",\"content\":");
    debezium_add_bytes(b, m->content, m->len, x->layouts.handling);
    buf_add_char(b, '}');
    return true;
}

static void add_count(struct buf *b, const struct layout *l, bool first)
{
    buf_add_str(b, first ? "{\"schema\":" : ",{\"schema\":");
    json_add_name(b, l->relation->schema);
    buf_add_str(b, ",\"table\":");
    json_add_name(b, l->relation->name);
    buf_printf(b, ",\"events\":%llu}", (unsigned long long)l->changes);
}

static void transaction(struct envelope_context *x, const struct transaction *t,
                        enum transaction_mark mark, struct buf *b)
{
    static const char *const ops[] = {
        [MARK_BEGIN] = "begin",
        [MARK_END] = "end",
        [MARK_PREPARE] = "prepare",
        [MARK_COMMIT_PREPARED] = "commit_prepared",
        [MARK_ROLLBACK_PREPARED] = "rollback_prepared",
    };

    buf_printf(b, "{\"op\":\"%s\"", ops[mark]);
    add_lsn(b, ",\"commit_lsn\":", t->commit_lsn);
    add_lsn(b, ",\"end_lsn\":", mark == MARK_BEGIN && !t->gid ? 0 : t->end_lsn); /* not all tell */
    buf_printf(b, ",\"xid\":%u", t->xid);
    add_commit_time(b, t);
    if (t->gid) {
        buf_add_str(b, ",\"gid\":");
        json_add_name(b, t->gid);
    }
    if (mark == MARK_END || mark == MARK_PREPARE) {
        buf_add_str(b, ",\"tables\":[");
        envelope_for_each_count(x, add_count, b);
        buf_add_char(b, ']');
    }
    buf_add_char(b, '}');
}

static void add_column(struct buf *b, const struct column *c, bool first)
{
    buf_add_str(b, first ? "{\"name\":" : ",{\"name\":");
    json_add_name(b, c->name);
    buf_add_str(b, ",\"type\":");
    json_add_name(b, c->type_name ? c->type_name : "");
    buf_printf(b, ",\"type_oid\":%u,\"key\":%s}", c->type_oid, c->key ? "true" : "false");
}

static void schema(struct envelope_context *x, const struct transaction *t,
                   const struct relation *r, lsn_t lsn, bool first, struct buf *b)
{
    bool first_column = true;

    (void)x;
    (void)t;
    add_lsn(b, "{\"op\":\"schema\",\"lsn\":", lsn);
    add_table(b, r->schema, r->name);
    buf_printf(b, ",\"change\":\"%s\",\"columns\":[", first ? "first" : "changed");
    for (int i = 0; i < r->ncolumns; i++) {
        if (r->columns[i].excluded)
            continue;
        add_column(b, &r->columns[i], first_column);
        first_column = false;
    }
    buf_add_str(b, "]}");
}

static void heartbeat(struct envelope_context *x, lsn_t lsn, struct buf *b)
{
    add_lsn(b, "{\"op\":\"heartbeat\",\"lsn\":", lsn);
    buf_add_str(b, ",\"ts\":");
    add_timestamp(b, x->now);
    buf_add_char(b, '}');
}

const struct envelope envelope_plain = {
    .set_clock = set_clock,
    .begin = begin,
    .describe = describe,
    .change = change,
    .describe_rows = describe_rows,
    .row = row,
    .message = message,
    .transaction = transaction,
    .schema = schema,
    .heartbeat = heartbeat,
};
