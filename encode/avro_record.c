#include "encode/avro_record.h"

#include <string.h>

#include "base/log.h"
#include "encode/avro_value.h"
#include "encode/scan.h"

/* ---- small values ---- */

static void add_text(struct buf *b, const char *text)
{
    avro_add_bytes(b, text, strlen(text));
}

/* A name from the catalogs: what is not UTF-8 in it loses what is not ASCII to "?". */
void avro_add_catalog_name(struct buf *b, const char *name)
{
    size_t len = strlen(name);

    avro_add_bytes(b, name, len);
    if (scan_is_utf8(name, len))
        return;
    for (char *p = b->data + b->len - len; p < b->data + b->len; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
}

static void add_branch(struct buf *b, int64_t n)
{
    avro_add_long(b, n);
}

/* ["null", "long"], null where there is none. */
static void add_optional(struct buf *b, bool there, int64_t n)
{
    add_branch(b, there);
    if (there)
        avro_add_long(b, n);
}

static void add_optional_lsn(struct buf *b, lsn_t lsn)
{
    add_optional(b, lsn != 0, (int64_t)lsn);
}

/* ---- rows ---- */

static bool refuse(const struct layout *l, const struct layout_column *c, struct slice text,
                   lsn_t lsn)
{
    const char *hint;

    if (!scan_is_utf8(text.data, text.len))
        return layout_not_utf8(l, c, lsn);
    layout_cannot_write(l, c, lsn, avro_value_fault(&c->rule, text.data, text.len, &hint));
    if (hint)
        log_hint("%s", hint);
    return false;
}

/* One record Value, or Key; *unsent: how many of its columns have not been sent. */
static bool add_row(struct encoder *e, const struct layout *l, const struct value *row,
                    enum row_part part, lsn_t lsn, struct buf *b, unsigned *unsent)
{
    *unsent = 0;
    for (const struct layout_column *c = l->columns; c < l->columns + l->ncolumns; c++) {
        const struct value *v = &row[c->index];
        struct slice text = {v->data, v->len};

        if (part == ROW_KEY && !c->key)
            continue;
        if (v->kind != VALUE_TEXT && v->kind != VALUE_BINARY) {
            *unsent += v->kind != VALUE_NULL;
            avro_add_null(b);
            continue;
        }
        if (v->kind == VALUE_BINARY && !layout_text(l, c, v, &e->x.scratch, lsn, &text))
            return false;
        if (!avro_add_in_union(b, text.data, text.len, &c->rule))
            return refuse(l, c, text, lsn);
    }
    return true;
}

/* The list of columns that were not sent, or null. */
static void add_unsent(const struct layout *l, const struct value *row, unsigned unsent,
                       struct buf *b)
{
    add_branch(b, unsent > 0);
    if (unsent == 0)
        return;
    avro_add_long(b, unsent);
    for (const struct layout_column *c = l->columns; c < l->columns + l->ncolumns; c++) {
        enum value_kind kind = row[c->index].kind;

        if (kind == VALUE_UNCHANGED || kind == VALUE_LOST || kind == VALUE_ABSENT)
            avro_add_catalog_name(b, l->relation->columns[c->index].name);
    }
    avro_add_long(b, 0);
}

/* ["null", Value] */
static bool add_optional_row(struct encoder *e, const struct layout *l, const struct value *row,
                             lsn_t lsn, struct buf *b, unsigned *unsent)
{
    *unsent = 0;
    add_branch(b, row != NULL);
    return !row || add_row(e, l, row, ROW_ALL, lsn, b, unsent);
}

/* ---- debezium ---- */

/* Of the source block: from version to db. */
static void add_source_head(const struct encoder *e, usec_t when, const char *snapshot,
                            struct buf *b)
{
    add_text(b, CDCDUMP_VERSION);
    add_text(b, "postgresql");
    avro_add_catalog_name(b, e->server);
    add_optional(b, when != 0, when / 1000);
    add_text(b, snapshot);
    avro_add_catalog_name(b, e->database);
}

static char *put_quoted(char *p, lsn_t lsn)
{
    if (!lsn) {
        memcpy(p, "null", 4);
        return p + 4;
    }
    *p++ = '"';
    p = put_u64(p, lsn);
    *p++ = '"';
    return p;
}

/* ["previous","lsn"], a text of JSON; zero is "none" and written as null. */
static void add_sequence(struct buf *b, lsn_t previous, lsn_t lsn)
{
    char text[64], *p = text;

    *p++ = '[';
    p = put_quoted(p, previous);
    *p++ = ',';
    p = put_quoted(p, lsn);
    *p++ = ']';
    add_branch(b, 1);
    avro_add_bytes(b, text, (size_t)(p - text));
}

/* ts_us and ts_ns. */
static void add_source_times(struct buf *b, usec_t when)
{
    add_optional(b, when != 0, when);
    add_optional(b, when != 0, when * 1000);
}

static void begin_debezium(struct encoder *e, const struct transaction *t)
{
    struct envelope_context *x = &e->x;

    x->head.len = x->middle.len = x->tail.len = 0;
    add_source_head(e, t->commit_time, "false", &x->head);
    add_source_times(&x->middle, t->commit_time);
    add_optional(&x->tail, true, t->xid);
    e->previous_commit = t->previous_commit;
}

static bool change_debezium(struct encoder *e, const struct transaction *t, const struct change *c,
                            enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = "c", [OP_UPDATE] = "u", [OP_DELETE] = "d",
                                      [OP_TRUNCATE] = "t"};
    const struct value *old_row = c->old_kind == OLD_NONE ? NULL : c->old_row;
    unsigned before_unsent, after_unsent;

    (void)kind;
    if (!add_optional_row(e, l, old_row, c->lsn, b, &before_unsent) ||
        !add_optional_row(e, l, c->new_row, c->lsn, b, &after_unsent))
        return false;
    buf_add_buf(b, &e->x.head);
    add_sequence(b, e->previous_commit, c->lsn);
    buf_add_buf(b, &e->x.middle);
    buf_add_buf(b, &l->table);
    buf_add_buf(b, &e->x.tail);
    add_optional_lsn(b, c->lsn);
    add_branch(b, 0); /* xmin */
    add_optional_lsn(b, t->commit_lsn);
    add_optional(b, true, c->seq);
    add_text(b, ops[c->op]);
    buf_add_buf(b, &e->x.clock);
    add_unsent(l, old_row, before_unsent, b);
    add_unsent(l, c->new_row, after_unsent, b);
    return true;
}

static void describe_rows_debezium(struct encoder *e, struct layout *l, enum row_mark mark)
{
    static const char *const marks[] = {
        [ROW_CONSISTENT] = "true", [ROW_LAST] = "last", [ROW_INCREMENTAL] = "incremental"};
    struct buf *b = &l->rows;

    add_source_head(e, e->x.snapshot_time, marks[mark], b);
    add_sequence(b, 0, e->x.snapshot_lsn);
    add_source_times(b, e->x.snapshot_time);
    buf_add_buf(b, &l->table);
    add_branch(b, 0); /* txId */
    add_optional_lsn(b, e->x.snapshot_lsn);
    add_branch(b, 0); /* xmin */
    add_branch(b, 0); /* commit_lsn */
    add_branch(b, 0); /* tx_seq */
    add_text(b, "r");
}

static bool row_debezium(struct encoder *e, const struct value *values, const struct layout *l,
                         struct buf *b)
{
    unsigned unsent;

    add_branch(b, 0); /* before */
    if (!add_optional_row(e, l, values, e->x.snapshot_lsn, b, &unsent))
        return false;
    buf_add_buf(b, &l->rows);
    buf_add_buf(b, &e->x.clock);
    add_branch(b, 0);
    add_unsent(l, values, unsent, b);
    return true;
}

const struct avro_record avro_debezium = {
    .begin = begin_debezium,
    .change = change_debezium,
    .describe_rows = describe_rows_debezium,
    .row = row_debezium,
};

/* ---- flink ---- */

static void begin_flink(struct encoder *e, const struct transaction *t)
{
    e->x.head.len = 0;
    add_optional(&e->x.head, t->commit_time != 0, t->commit_time / 1000);
}

static bool change_flink(struct encoder *e, const struct transaction *t, const struct change *c,
                         enum row_kind kind, const struct layout *l, struct buf *b)
{
    const struct value *values = row_of_kind(c, kind);
    unsigned unsent;

    (void)t;
    add_text(b, row_kind_names[kind]);
    buf_add_buf(b, &l->table);
    buf_add_buf(b, &e->x.head);
    if (!add_row(e, l, values, ROW_ALL, c->lsn, b, &unsent))
        return false;
    add_unsent(l, values, unsent, b);
    return true;
}

static void describe_rows_flink(struct encoder *e, struct layout *l, enum row_mark mark)
{
    (void)e;
    (void)mark;
    add_text(&l->rows, row_kind_names[RECORD_INSERT]);
    buf_add_buf(&l->rows, &l->table);
    add_optional(&l->rows, true, 0); /* as those connectors have it */
}

static bool row_flink(struct encoder *e, const struct value *values, const struct layout *l,
                      struct buf *b)
{
    unsigned unsent;

    buf_add_buf(b, &l->rows);
    if (!add_row(e, l, values, ROW_ALL, e->x.snapshot_lsn, b, &unsent))
        return false;
    add_unsent(l, values, unsent, b);
    return true;
}

const struct avro_record avro_flink = {
    .begin = begin_flink,
    .change = change_flink,
    .describe_rows = describe_rows_flink,
    .row = row_flink,
};

/* ---- plain ---- */

static void add_lsn_text(struct buf *b, lsn_t lsn)
{
    size_t at;

    add_branch(b, lsn != 0);
    if (lsn == 0)
        return;
    at = b->len;
    buf_add_char(b, 0);
    buf_printf(b, LSN_FMT, LSN_ARGS(lsn));
    avro_set_long(b, at, (int64_t)(b->len - at - 1));
}

/* head: commit_lsn; tail: xid and ts. */
static void begin_plain(struct encoder *e, const struct transaction *t)
{
    e->x.head.len = e->x.tail.len = 0;
    add_lsn_text(&e->x.head, t->commit_lsn);
    add_optional(&e->x.tail, true, t->xid);
    add_optional(&e->x.tail, t->commit_time != 0, t->commit_time);
}

static bool add_key(struct encoder *e, const struct layout *l, const struct value *values,
                    lsn_t lsn, struct buf *b)
{
    unsigned unsent;

    add_branch(b, values && l->has_key);
    return !values || !l->has_key || add_row(e, l, values, ROW_KEY, lsn, b, &unsent);
}

static bool change_plain(struct encoder *e, const struct transaction *t, const struct change *c,
                         enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = "c", [OP_UPDATE] = "u", [OP_DELETE] = "d",
                                      [OP_TRUNCATE] = "t"};
    const struct value *old_row = c->old_kind == OLD_NONE ? NULL : c->old_row;
    unsigned row_unsent, old_unsent;

    (void)t;
    (void)kind;
    add_text(b, ops[c->op]);
    add_lsn_text(b, c->lsn);
    buf_add_buf(b, &e->x.head);
    add_optional(b, true, c->seq);
    buf_add_buf(b, &e->x.tail);
    buf_add_buf(b, &l->table);
    if (!add_key(e, l, c->new_row ? c->new_row : c->old_row, c->lsn, b) ||
        !add_optional_row(e, l, c->new_row, c->lsn, b, &row_unsent) ||
        !add_optional_row(e, l, old_row, c->lsn, b, &old_unsent))
        return false;
    add_unsent(l, c->new_row, row_unsent, b);
    add_unsent(l, old_row, old_unsent, b);
    return true;
}

static void describe_rows_plain(struct encoder *e, struct layout *l, enum row_mark mark)
{
    struct buf *b = &l->rows;

    (void)mark;
    add_text(b, "r");
    add_lsn_text(b, e->x.snapshot_lsn);
    add_branch(b, 0); /* commit_lsn */
    add_branch(b, 0); /* seq */
    add_branch(b, 0); /* xid */
    add_optional(b, true, e->x.snapshot_time);
    buf_add_buf(b, &l->table);
}

static bool row_plain(struct encoder *e, const struct value *values, const struct layout *l,
                      struct buf *b)
{
    unsigned unsent;

    buf_add_buf(b, &l->rows);
    if (!add_key(e, l, values, e->x.snapshot_lsn, b) ||
        !add_optional_row(e, l, values, e->x.snapshot_lsn, b, &unsent))
        return false;
    add_branch(b, 0); /* old */
    add_unsent(l, values, unsent, b);
    add_branch(b, 0);
    return true;
}

const struct avro_record avro_plain = {
    .begin = begin_plain,
    .change = change_plain,
    .describe_rows = describe_rows_plain,
    .row = row_plain,
};
