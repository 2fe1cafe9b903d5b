#include "decode/wal2json.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/lsn.h"
#include "decode/charset.h"
#include "decode/commit_time.h"
#include "decode/wal2json_internal.h"

#define BYTEA_OID 17

/* ---- keys and values ---- */

bool wal2json_misfit(struct wal2json *w, const char *wrong)
{
    return json_fail_at(&w->scan, w->start, wrong);
}

bool wal2json_once(struct wal2json *w, const struct slice *name, unsigned *seen, unsigned key)
{
    if (*seen & 1u << key)
        return json_fail_at(&w->scan, name->data, "a key comes twice");
    *seen |= 1u << key;
    return true;
}

bool wal2json_lsn(struct wal2json *w, lsn_t *lsn)
{
    struct slice text;

    if (!json_string(&w->scan, &text))
        return false;
    return (strlen(text.data) == text.len && lsn_parse(text.data, lsn)) ||
           json_fail_at(&w->scan, text.data, "an invalid LSN");
}

bool wal2json_time(struct wal2json *w, usec_t *time)
{
    struct slice text;

    if (!json_string(&w->scan, &text))
        return false;
    return commit_time_parse(text.data, text.len, time) ||
           json_fail_at(&w->scan, text.data, "an invalid timestamp");
}

/*
 * Takes the rest of a type's name that is written as in SQL.  The next token is a comma or closing
 * bracket that stands neither in quotes nor in the parentheses of a type modifier.
 */
static bool take_sql_name(struct json_scan *s)
{
    bool quoted = false;
    int depth = 0;

    for (; s->p < s->end; s->p++) {
        char c = *s->p;

        if (!quoted && depth == 0 && (c == ',' || c == '}' || c == ']'))
            return true;
        quoted ^= c == '"';
        depth += !quoted && c == '(' ? 1 : !quoted && c == ')' ? -1 : 0;
    }
    return json_fail_at(s, s->p, "the text is cut off");
}

/*
 * The plugin takes a name that begins with a quote for a JSON string, which "a"."b" and "a""b" are
 * not.  Before 2.4 it adds a pair of quotes: ""a"".  What has been read of it up to the second
 * quote is put back and the name kept as it is in SQL.  It is moved over the byte before it, a
 * colon, comma, bracket or blank, as a NUL is to follow.
 */
static bool read_sql_name(struct json_scan *s, char *start, struct slice *type)
{
    size_t len;

    s->p[-1] = '"';
    s->p = start;
    if (!take_sql_name(s))
        return false;
    len = (size_t)(s->p - start);
    if (len > 4 && memcmp(start, "\"\"", 2) == 0 && start[len - 1] == '"') {
        start++;
        len -= 2;
    }
    memmove(start - 1, start, len);
    start[len - 1] = '\0';
    *type = (struct slice){start - 1, (uint32_t)len};
    return true;
}

bool wal2json_type(struct wal2json *w, struct slice *type)
{
    struct json_scan *s = &w->scan;
    bool plain;
    char *start;

    json_peek(s);
    start = s->p;
    if (!json_bytes(s, type))
        return false;
    plain = s->p == s->end || strchr(",]} \t\r\n", *s->p);
    if (!plain && type->data + type->len == s->p - 1 && !read_sql_name(s, start, type))
        return false;
    return json_convert(s, type);
}

struct sent_column *wal2json_add_column(struct wal2json *w, struct sent_row *row)
{
    struct sent_column *column;

    if (row->n == RELATION_MAX_COLUMNS) {
        json_fail_at(&w->scan, w->scan.p, "more columns than a table can have");
        return NULL;
    }
    column = &row->columns[row->n++];
    *column = (struct sent_column){0};
    return column;
}

/* ---- transactions ---- */

bool wal2json_begin(struct wal2json *w, struct event *e)
{
    tables_transaction_begins(w->tables);
    decoder_begin(&w->base, e);
    return true;
}

bool wal2json_commit(struct wal2json *w, struct event *e)
{
    struct transaction *t = &w->base.transaction;

    if (t->end_lsn != 0 && t->end_lsn <= t->commit_lsn)
        return wal2json_misfit(w, "the transaction ends before its commit");
    tables_transaction_ends(w->tables, t->xid, t->changed);
    decoder_end(&w->base, e, EVENT_COMMIT);
    return true;
}

/* ---- rows ---- */

static bool is_bytea(const struct sent_column *column)
{
    if (column->type_oid != 0)
        return column->type_oid == BYTEA_OID;
    return column->type.len == 5 && memcmp(column->type.data, "bytea", 5) == 0;
}

/*
 * Puts "\x" in front of a string, over its opening quote and the byte before that.  There is such
 * a byte, which belongs to no other value: at least a bracket, colon, comma or blank.  A value that
 * does not stand in the message any more has been converted, so it is not hexadecimal.
 */
static bool complete_bytea(struct wal2json *w, struct value *value)
{
    struct json_scan *s = &w->scan;
    char *text;

    if (value->kind != VALUE_TEXT)
        return true;
    if (!json_holds(s, value->data) || value->data[-1] != '"')
        return wal2json_misfit(w, "a value of type bytea is no hexadecimal string");
    text = s->start + (value->data - s->start); /* the same place, to be written to */
    text[-2] = '\\';
    text[-1] = 'x';
    value->data -= 2;
    value->len += 2;
    return true;
}

static bool complete_row(struct wal2json *w, struct sent_row *row)
{
    for (uint32_t i = 0; i < row->n; i++)
        if (is_bytea(&row->columns[i]) && !complete_bytea(w, &row->columns[i].value))
            return false;
    return true;
}

bool wal2json_change(struct wal2json *w, struct event *e)
{
    struct sent_change *c = &w->change;
    struct decoder *d = &w->base;
    struct sent_table table = {.schema = c->schema, .table = c->table};

    if (!d->in_transaction)
        return wal2json_misfit(w, "a change outside of a transaction");
    if (!complete_row(w, &c->new_row) || !complete_row(w, &c->old_row))
        return false;
    d->transaction.changed = true;
    e->transaction = &d->transaction;
    if (c->op == OP_TRUNCATE)
        w->outcome = tables_truncate(w->tables, d, &table, 1, e);
    else
        w->outcome = tables_change(w->tables, d, c, e);
    return w->outcome == OUTCOME_OK;
}

bool wal2json_message(struct wal2json *w, struct event *e)
{
    struct decoder *d = &w->base;

    if (e->message.transactional && !d->in_transaction)
        return wal2json_misfit(w, "a transactional message outside of a transaction");
    e->kind = EVENT_MESSAGE;
    e->transaction = e->message.transactional ? &d->transaction : NULL;
    d->transaction.changed |= e->message.transactional;
    return true;
}

/* ---- messages ---- */

/* How reading has ended; errors of the tables have been logged by them. */
static enum outcome outcome_of(const struct wal2json *w, bool read)
{
    if (read)
        return OUTCOME_OK;
    if (!w->scan.wrong)
        return w->outcome;
    log_error("could not decode the wal2json message at " LSN_FMT ": %s, at byte %zu",
              LSN_ARGS(w->lsn), w->scan.wrong, w->scan.wrong_at);
    return OUTCOME_FAILED;
}

static bool read_message(struct wal2json *w, struct event *e)
{
    struct json_scan *s = &w->scan;
    struct slice key;
    char c;

    if (w->document_open)
        return wal2json_v1_next(w, e);
    c = json_peek(s);
    if (c == ',' || c == ']')
        return json_fail_at(s, s->p, "a fragment of a transaction whose beginning is missing");
    if (!json_member(s, 0, &key))
        return json_fail_at(s, s->start, "an object without members");
    if (key.len == 6 && memcmp(key.data, "action", 6) == 0)
        return wal2json_v2_take(w, &key, e);
    return wal2json_v1_take(w, &key, e);
}

/* Of format version 2, as the plugin writes it.  A document of version 1 is a transaction. */
static bool is_change(const char *payload, size_t len)
{
    static const char start[] = "{\"action\":\"";
    const size_t n = sizeof start - 1;

    return len > n && memcmp(payload, start, n) == 0 && payload[n] && strchr("IUDTM", payload[n]);
}

static enum outcome take(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e)
{
    struct wal2json *w = (struct wal2json *)d;

    w->lsn = lsn;
    w->start = payload;
    w->document_here = false;
    d->in_change = d->in_transaction && is_change(payload, len);
    charset_begin(d->charset, len);
    json_scan_init(&w->scan, payload, len, d->charset);
    return outcome_of(w, read_message(w, e));
}

static enum outcome next(struct decoder *d, struct event *e)
{
    struct wal2json *w = (struct wal2json *)d;

    e->lsn = w->lsn;
    e->transaction = NULL;
    if (w->document_commits && !d->in_transaction)
        w->document_open = false; /* see decoder_leave() */
    return outcome_of(w, !w->document_open || wal2json_v1_next(w, e));
}

/* ---- the decoder ---- */

static void init(struct decoder *d)
{
    struct wal2json *w = (struct wal2json *)d;

    d->nan_is_null = true;
    w->tables = tables_new(TABLES_OMIT_UNCHANGED | TABLES_REPEAT_KEY);
    w->change.new_row.columns = xcalloc(RELATION_MAX_COLUMNS, sizeof(struct sent_column));
    w->change.old_row.columns = xcalloc(RELATION_MAX_COLUMNS, sizeof(struct sent_column));
}

static void release(struct decoder *d)
{
    struct wal2json *w = (struct wal2json *)d;

    tables_free(w->tables);
    free(w->change.new_row.columns);
    free(w->change.old_row.columns);
}

static void restart(struct decoder *d)
{
    ((struct wal2json *)d)->document_open = false;
}

const struct decoder_kind decoder_wal2json = {
    .name = "wal2json",
    .size = sizeof(struct wal2json),
    .unconverted = true,
    .init = init,
    .release = release,
    .restart = restart,
    .take = take,
    .next = next,
};
