/*
 * CSV, as PostgreSQL's COPY … CSV writes and reads it: comma, double quotes, doubled inside, line
 * feed; NULL is an unquoted empty cell, an empty text "".  Source: CopyAttributeOutCSV() as
 * documented under COPY, "CSV Format".
 *
 * flink:     row_kind,commit_lsn,tx_seq,xid,ts, the table's columns, _unchanged
 * debezium:  op,commit_lsn,tx_seq,xid,ts,schema,table,key,before,after
 *
 * commit_lsn, tx_seq and xid are the numbers that `debezium` has in its source block, ts is the time
 * of the commit in UTC (of rows: that of the snapshot); what does not apply is NULL.  The cells of
 * flink's columns are PostgreSQL's own texts, so that COPY FROM reads them back; _unchanged is the
 * text of a text[] with the names of columns whose values the server has not sent, or NULL.  Those
 * of debezium are the JSON objects of that envelope.
 *
 * The header of flink names the columns of one table, as they are: what has other columns, or is
 * another table, does not go under it.
 */
#include "encode/csv_cell.h"
#include "encode/encoder_internal.h"
#include "encode/scan.h"

/* ---- cells ---- */

/* A name from the catalogs: what is not UTF-8 in it loses what is not ASCII to "?". */
static void add_name(struct buf *b, const char *name)
{
    size_t len = strlen(name), start = b->len;

    csv_add_cell(b, name, len);
    if (scan_is_utf8(name, len))
        return;
    for (size_t i = start; i < b->len; i++)
        if ((unsigned char)b->data[i] >= 0x80)
            b->data[i] = '?';
}

/* ---- what comes before the columns ---- */

static void set_clock(struct encoder *e)
{
    (void)e; /* no time of writing in these records */
}

/* head: commit_lsn and a comma; tail: from xid up to the columns. */
static void begin(struct encoder *e, const struct transaction *t)
{
    struct envelope_context *x = &e->x;

    x->head.len = x->tail.len = 0;
    if (t->commit_lsn)
        buf_add_u64(&x->head, t->commit_lsn);
    buf_add_char(&x->head, ',');
    buf_add_char(&x->tail, ',');
    buf_add_u64(&x->tail, t->xid);
    buf_add_char(&x->tail, ',');
    if (t->commit_time)
        envelope_add_timestamp(&x->tail, t->commit_time);
    buf_add_char(&x->tail, ',');
}

static void describe(struct encoder *e, struct layout *l)
{
    if (e->o->envelope == ENVELOPE_FLINK)
        return;
    add_name(&l->table, l->relation->schema);
    buf_add_char(&l->table, ',');
    add_name(&l->table, l->relation->name);
    buf_add_char(&l->table, ',');
}

static void describe_rows(struct encoder *e, struct layout *l, enum row_mark mark)
{
    (void)mark;
    buf_add_str(&l->rows, e->o->envelope == ENVELOPE_FLINK ? "+I,,,," : "r,,,,");
    envelope_add_timestamp(&l->rows, e->x.snapshot_time);
    buf_add_char(&l->rows, ',');
    buf_add_buf(&l->rows, &l->table);
}

static void add_start(struct encoder *e, const struct change *c, const char *what, struct buf *b)
{
    buf_add_str(b, what);
    buf_add_char(b, ',');
    buf_add_buf(b, &e->x.head);
    buf_add_u64(b, c->seq);
    buf_add_buf(b, &e->x.tail);
}

/* ---- flink ---- */

/* The value's cell and the comma behind it. */
static bool add_value(struct encoder *e, const struct layout *l, const struct layout_column *c,
                      const struct value *v, lsn_t lsn, struct buf *b)
{
    struct slice text = {v->data, v->len};

    if (v->kind != VALUE_TEXT && v->kind != VALUE_BINARY) {
        buf_add_char(b, ',');
        return true;
    }
    if (v->kind == VALUE_BINARY && !layout_text(l, c, v, &e->x.scratch, lsn, &text))
        return false;
    return csv_add_text(b, text.data, text.len) || layout_not_utf8(l, c, lsn);
}

/* One element of a text[]: in quotes, which is never wrong. */
static void add_element(struct buf *b, const char *name)
{
    buf_add_char(b, '"');
    for (; *name; name++) {
        if (*name == '"' || *name == '\\')
            buf_add_char(b, '\\');
        buf_add_char(b, *name);
    }
    buf_add_char(b, '"');
}

static void add_unchanged(struct encoder *e, const struct layout *l, const struct value *row,
                          struct buf *b)
{
    struct buf *list = &e->x.scratch;

    list->len = 0;
    for (const struct layout_column *c = l->columns; c < l->columns + l->ncolumns; c++) {
        if (row[c->index].kind != VALUE_UNCHANGED && row[c->index].kind != VALUE_LOST)
            continue;
        buf_add_char(list, list->len ? ',' : '{');
        add_element(list, l->relation->columns[c->index].name);
    }
    if (list->len == 0)
        return;
    buf_add(list, "}", 2);
    add_name(b, list->data);
}

static bool add_columns(struct encoder *e, const struct layout *l, const struct value *row,
                        lsn_t lsn, struct buf *b)
{
    bool unchanged = false;

    for (const struct layout_column *c = l->columns; c < l->columns + l->ncolumns; c++) {
        const struct value *v = &row[c->index];

        unchanged |= v->kind == VALUE_UNCHANGED || v->kind == VALUE_LOST;
        if (!add_value(e, l, c, v, lsn, b))
            return false;
    }
    if (unchanged)
        add_unchanged(e, l, row, b);
    buf_add_char(b, '\n');
    return true;
}

/* ---- debezium ---- */

static bool add_json(struct encoder *e, const struct layout *l, const struct value *row,
                     enum row_part part, lsn_t lsn, struct buf *b)
{
    struct buf *json = &e->x.cell;

    if (!row || (part == ROW_KEY && !l->has_key))
        return true;
    json->len = 0;
    if (!layout_add_row(l, row, part, json, &e->x.scratch, lsn))
        return false;
    csv_add_cell(b, json->data, json->len);
    return true;
}

static bool add_objects(struct encoder *e, const struct layout *l, const struct value *old_row,
                        const struct value *new_row, lsn_t lsn, struct buf *b)
{
    if (!add_json(e, l, new_row ? new_row : old_row, ROW_KEY, lsn, b))
        return false;
    buf_add_char(b, ',');
    if (!add_json(e, l, old_row, ROW_ALL, lsn, b))
        return false;
    buf_add_char(b, ',');
    if (!add_json(e, l, new_row, ROW_ALL, lsn, b))
        return false;
    buf_add_char(b, '\n');
    return true;
}

/* ---- records ---- */

static bool change(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    static const char *const ops[] = {[OP_INSERT] = "c", [OP_UPDATE] = "u", [OP_DELETE] = "d",
                                      [OP_TRUNCATE] = "t"};

    (void)t;
    if (e->o->envelope == ENVELOPE_FLINK) {
        add_start(e, c, row_kind_names[kind], b);
        return add_columns(e, l, row_of_kind(c, kind), c->lsn, b);
    }
    add_start(e, c, ops[c->op], b);
    buf_add_buf(b, &l->table);
    return add_objects(e, l, c->old_kind == OLD_NONE ? NULL : c->old_row, c->new_row, c->lsn, b);
}

static bool row(struct encoder *e, const struct value *values, const struct layout *l,
                struct buf *b)
{
    buf_add_buf(b, &l->rows);
    return e->o->envelope == ENVELOPE_FLINK
               ? add_columns(e, l, values, e->x.snapshot_lsn, b)
               : add_objects(e, l, NULL, values, e->x.snapshot_lsn, b);
}

/* ---- the header ---- */

static void add_header(const struct encoder *e, const struct relation *r, struct buf *b)
{
    if (e->o->envelope != ENVELOPE_FLINK) {
        buf_add_str(b, "op,commit_lsn,tx_seq,xid,ts,schema,table,key,before,after\n");
        return;
    }
    buf_add_str(b, "row_kind,commit_lsn,tx_seq,xid,ts,");
    for (int i = 0; i < r->ncolumns; i++) {
        if (r->columns[i].excluded)
            continue;
        add_name(b, r->columns[i].name);
        buf_add_char(b, ',');
    }
    buf_add_str(b, "_unchanged\n");
}

/* Under flink's header there is one table; one that was adopted is that of the first record. */
static bool is_the_table(struct encoder *e, const struct relation *r)
{
    struct buf *name = &e->x.cell;

    if (e->o->envelope != ENVELOPE_FLINK)
        return true;
    name->len = 0;
    buf_printf(name, "%s%c%s", r->schema, '\0', r->name);
    if (e->table.len == 0)
        buf_add_buf(&e->table, name);
    return e->table.len == name->len && memcmp(e->table.data, name->data, name->len) == 0;
}

static bool expect(struct encoder *e, const struct relation *r)
{
    e->table.len = e->head.len = 0;
    is_the_table(e, r);
    add_header(e, r, &e->head);
    return true;
}

static bool fits(struct encoder *e, const struct relation *r)
{
    struct buf *header = &e->x.cell;

    if (!is_the_table(e, r))
        return false;
    header->len = 0;
    add_header(e, r, header);
    return header->len == e->head.len && memcmp(header->data, e->head.data, header->len) == 0;
}

/* Names of columns may have line feeds in them, in quotes. */
static size_t header_length(const char *bytes, size_t len)
{
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        quoted ^= bytes[i] == '"';
        if (bytes[i] == '\n' && !quoted)
            return i + 1;
    }
    return 0;
}

static bool adopt(struct encoder *e, const char *bytes, size_t len)
{
    const char *first = e->o->envelope == ENVELOPE_FLINK ? "row_kind,commit_lsn," : "op,commit_lsn,";
    size_t length = header_length(bytes, len);

    if (length < strlen(first) || memcmp(bytes, first, strlen(first)) != 0)
        return false;
    e->table.len = e->head.len = 0;
    buf_add(&e->head, bytes, length);
    return true;
}

const struct format format_csv = {
    .init_rule = rule_init,
    .set_clock = set_clock,
    .describe = describe,
    .describe_rows = describe_rows,
    .begin = begin,
    .change = change,
    .row = row,
    .fits = fits,
    .expect = expect,
    .adopt = adopt,
};
