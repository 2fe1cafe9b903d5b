/*
 * Avro: the records of avro_schema.h in Avro's binary encoding, without anything around them: blocks
 * and head of the file are the container's.
 *
 * A head knows a list of schemas, the branches: one for each table and set of columns.  With one of
 * them the file's schema is that; with several it is their union, and every record is preceded by
 * the number of its own.  Which of the two is settled by the first record; into a union further
 * branches may come as long as the output has not begun.
 *
 * What is the same for many records is encoded once: head, middle and tail of the transaction, table
 * and rows of the layout, clock until the time of writing is set anew.
 */
#include <stdlib.h>

#include "base/log.h"
#include "encode/avro_schema.h"
#include "encode/avro_value.h"
#include "encode/encoder_internal.h"

struct branch {
    cJSON *schema;
    char *text; /* of it, for comparison */
};

struct avro_branches {
    struct branch *list;
    unsigned n;
    bool together; /* a union */
    bool settled;  /* whether it is one can change no more */
};

/* ---- small values ---- */

static void add_text(struct buf *b, const char *text)
{
    avro_add_bytes(b, text, strlen(text));
}

/* A name from the catalogs: what is not UTF-8 in it loses what is not ASCII to "?". */
static void add_name(struct buf *b, const char *name)
{
    size_t len = strlen(name);
    bool good = avro_is_utf8(name, len);

    avro_add_long(b, (int64_t)len);
    for (size_t i = 0; i < len; i++)
        buf_add_char(b, !good && (unsigned char)name[i] >= 0x80 ? '?' : name[i]);
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

    if (!avro_is_utf8(text.data, text.len))
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
        struct slice text;

        if (part == ROW_KEY && !c->key)
            continue;
        if (v->kind != VALUE_TEXT && v->kind != VALUE_BINARY) {
            *unsent += v->kind != VALUE_NULL;
            avro_add_null(b);
            continue;
        }
        if (!layout_text(l, c, v, &e->x.scratch, lsn, &text))
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
            add_name(b, l->relation->columns[c->index].name);
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

static void set_clock(struct encoder *e)
{
    struct buf *b = &e->x.clock;

    b->len = 0;
    avro_add_long(b, e->x.now / 1000);
    avro_add_long(b, e->x.now);
    avro_add_long(b, e->x.now * 1000);
}

/* Of the source block: from version to db. */
static void add_source_head(const struct encoder *e, usec_t when, const char *snapshot,
                            struct buf *b)
{
    add_text(b, CDCDUMP_VERSION);
    add_text(b, "postgresql");
    add_name(b, e->server);
    add_optional(b, when != 0, when / 1000);
    add_text(b, snapshot);
    add_name(b, e->database);
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
                            const struct layout *l, struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = "c", [OP_UPDATE] = "u", [OP_DELETE] = "d",
                                      [OP_TRUNCATE] = "t"};
    const struct value *old_row = c->old_kind == OLD_NONE ? NULL : c->old_row;
    unsigned before_unsent, after_unsent;

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

/* ---- flink ---- */

static void begin_flink(struct encoder *e, const struct transaction *t)
{
    e->x.head.len = 0;
    add_optional(&e->x.head, t->commit_time != 0, t->commit_time / 1000);
}

static bool change_flink(struct encoder *e, const struct change *c, enum row_kind kind,
                         const struct layout *l, struct buf *b)
{
    const struct value *values = row_of_kind(c, kind);
    unsigned unsent;

    add_text(b, row_kind_names[kind]);
    buf_add_buf(b, &l->table);
    buf_add_buf(b, &e->x.head);
    if (!add_row(e, l, values, ROW_ALL, c->lsn, b, &unsent))
        return false;
    add_unsent(l, values, unsent, b);
    return true;
}

static void describe_rows_flink(struct layout *l)
{
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

static bool change_plain(struct encoder *e, const struct change *c, const struct layout *l,
                         struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = "c", [OP_UPDATE] = "u", [OP_DELETE] = "d",
                                      [OP_TRUNCATE] = "t"};
    const struct value *old_row = c->old_kind == OLD_NONE ? NULL : c->old_row;
    unsigned row_unsent, old_unsent;

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

static void describe_rows_plain(struct encoder *e, struct layout *l)
{
    struct buf *b = &l->rows;

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

/* ---- branches ---- */

static char *text_of(const cJSON *schema)
{
    char *text = cJSON_PrintUnformatted(schema);

    if (!text)
        log_out_of_memory();
    return text;
}

static void add_to_branches(struct avro_branches *bs, cJSON *schema)
{
    bs->list = realloc(bs->list, (bs->n + 1) * sizeof *bs->list);
    if (!bs->list)
        log_out_of_memory();
    bs->list[bs->n++] = (struct branch){.schema = schema, .text = text_of(schema)};
}

static void clear_branches(struct avro_branches *bs)
{
    for (unsigned i = 0; i < bs->n; i++) {
        cJSON_Delete(bs->list[i].schema);
        cJSON_free(bs->list[i].text);
    }
    free(bs->list);
    *bs = (struct avro_branches){0};
}

static int find_branch(const struct avro_branches *bs, const cJSON *schema)
{
    char *text = text_of(schema);
    int found = -1;

    for (unsigned i = 0; i < bs->n && found < 0; i++)
        if (strcmp(bs->list[i].text, text) == 0)
            found = (int)i;
    cJSON_free(text);
    return found;
}

/* Whether a set of columns of that table has that number already. */
static bool is_taken(const struct avro_branches *bs, const cJSON *schema)
{
    const char *namespace =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "namespace"));

    for (unsigned i = 0; i < bs->n; i++) {
        const char *other = cJSON_GetStringValue(
            cJSON_GetObjectItemCaseSensitive(bs->list[i].schema, "namespace"));

        if (namespace && other && strcmp(namespace, other) == 0)
            return true;
    }
    return false;
}

/* The branch of a table as the layout has it; -1, with *fresh a schema for a new one. */
static int branch_of(const struct encoder *e, const struct layout *l, cJSON **fresh)
{
    const struct avro_branches *bs = e->branches;

    for (unsigned number = 1;; number++) {
        cJSON *schema = avro_envelope(e->o, e->server, l, number);
        int found = find_branch(bs, schema);

        if (found < 0 && !is_taken(bs, schema)) {
            *fresh = schema;
            return -1;
        }
        cJSON_Delete(schema);
        if (found >= 0)
            return found;
    }
}

static void make_head(struct encoder *e)
{
    const struct avro_branches *bs = e->branches;
    const cJSON **schemas = xcalloc(bs->n, sizeof *schemas);
    cJSON *schema;
    char *text;

    for (unsigned i = 0; i < bs->n; i++)
        schemas[i] = bs->list[i].schema;
    schema = avro_join(schemas, bs->n, bs->together);
    text = text_of(schema);
    e->head.len = 0;
    buf_add_str(&e->head, text);
    cJSON_free(text);
    cJSON_Delete(schema);
    free(schemas);
}

/* ---- what the encoder asks for ---- */

static void describe(struct encoder *e, struct layout *l)
{
    const struct relation *r = l->relation;
    struct buf *b = &l->table;
    cJSON *fresh;
    int branch = branch_of(e, l, &fresh);

    if (branch < 0)
        cJSON_Delete(fresh);
    l->branch = branch;
    if (e->o->envelope == ENVELOPE_FLINK) {
        add_name(b, r->name);
        add_name(b, r->schema);
        add_name(b, e->database);
    } else {
        add_name(b, r->schema);
        add_name(b, r->name);
    }
}

static bool fits(struct encoder *e, const struct relation *r)
{
    struct layout l = {0};
    cJSON *fresh;
    bool found;

    layout_init(&l, r, &e->x.layouts);
    found = branch_of(e, &l, &fresh) >= 0;
    if (!found)
        cJSON_Delete(fresh);
    layout_release(&l);
    return found;
}

static bool expect(struct encoder *e, const struct relation *r)
{
    struct avro_branches *bs = e->branches;
    struct layout l = {0};
    cJSON *fresh;

    if (e->o->per_table)
        clear_branches(bs); /* a head has one table */
    if (bs->settled && !bs->together)
        return false;
    layout_init(&l, r, &e->x.layouts);
    if (branch_of(e, &l, &fresh) < 0)
        add_to_branches(bs, fresh);
    layout_release(&l);
    bs->together = bs->n > 1;
    make_head(e);
    layouts_forget(&e->x.layouts);
    layouts_forget(&e->x.row_layouts);
    return true;
}

static void begin_anew(struct encoder *e)
{
    e->branches->settled = false;
}

static bool adopt(struct encoder *e, const char *bytes, size_t len)
{
    bool together;
    cJSON *all = avro_part(bytes, len, &together), *schema;

    if (!all)
        return false;
    clear_branches(e->branches);
    while ((schema = cJSON_DetachItemFromArray(all, 0)) != NULL)
        add_to_branches(e->branches, schema);
    cJSON_Delete(all);
    e->branches->together = together;
    e->branches->settled = true;
    make_head(e);
    layouts_forget(&e->x.layouts);
    layouts_forget(&e->x.row_layouts);
    return true;
}

static void begin(struct encoder *e, const struct transaction *t)
{
    if (e->o->envelope == ENVELOPE_FLINK)
        begin_flink(e, t);
    else if (e->o->envelope == ENVELOPE_PLAIN)
        begin_plain(e, t);
    else
        begin_debezium(e, t);
}

/* The number of the branch in front of a record, where there are several. */
static void add_start(struct encoder *e, const struct layout *l, struct buf *b)
{
    e->branches->settled = true;
    if (e->branches->together)
        add_branch(b, l->branch);
}

static bool change(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    add_start(e, l, b);
    if (e->o->envelope == ENVELOPE_FLINK)
        return change_flink(e, c, kind, l, b);
    if (e->o->envelope == ENVELOPE_PLAIN)
        return change_plain(e, c, l, b);
    return change_debezium(e, t, c, l, b);
}

static void describe_rows(struct encoder *e, struct layout *l, enum row_mark mark)
{
    if (e->o->envelope == ENVELOPE_FLINK)
        describe_rows_flink(l);
    else if (e->o->envelope == ENVELOPE_PLAIN)
        describe_rows_plain(e, l);
    else
        describe_rows_debezium(e, l, mark);
}

static bool row(struct encoder *e, const struct value *values, const struct layout *l,
                struct buf *b)
{
    add_start(e, l, b);
    if (e->o->envelope == ENVELOPE_FLINK)
        return row_flink(e, values, l, b);
    if (e->o->envelope == ENVELOPE_PLAIN)
        return row_plain(e, values, l, b);
    return row_debezium(e, values, l, b);
}

static void open_avro(struct encoder *e)
{
    e->branches = xcalloc(1, sizeof *e->branches);
}

static void close_avro(struct encoder *e)
{
    clear_branches(e->branches);
    free(e->branches);
}

const struct format format_avro = {
    .init_rule = avro_rule_init,
    .open = open_avro,
    .close = close_avro,
    .set_clock = set_clock,
    .describe = describe,
    .describe_rows = describe_rows,
    .begin = begin,
    .change = change,
    .row = row,
    .fits = fits,
    .expect = expect,
    .begin_anew = begin_anew,
    .adopt = adopt,
};
