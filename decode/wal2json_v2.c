/*
 * Format 2.  Keys of a message, of which some come by option only:
 *
 *     B C   action xid timestamp origin lsn nextlsn (since 2.3)
 *     I     action xid timestamp origin lsn schema table columns pk
 *     U     likewise, and identity; without it if there is no replica identity
 *     D     action xid timestamp origin lsn schema table identity pk
 *     T     action xid timestamp origin lsn schema table
 *     M     action xid timestamp origin lsn transactional prefix content; xid and timestamp are
 *           null where transactional is false
 *
 * lsn of B and C is the commit record's.  Elements of columns and identity: name type typeoid
 * value optional position default.  typeoid is written as a signed number.
 */
#include <string.h>

#include "decode/wal2json_internal.h"

enum key {
    KEY_ACTION,
    KEY_XID,
    KEY_TIMESTAMP,
    KEY_LSN,
    KEY_NEXTLSN,
    KEY_SCHEMA,
    KEY_TABLE,
    KEY_COLUMNS,
    KEY_IDENTITY,
    KEY_TRANSACTIONAL,
    KEY_PREFIX,
    KEY_CONTENT,
    KEYS
};

static const struct slice keys[KEYS] = {
    [KEY_ACTION] = JSON_NAME("action"),
    [KEY_XID] = JSON_NAME("xid"),
    [KEY_TIMESTAMP] = JSON_NAME("timestamp"),
    [KEY_LSN] = JSON_NAME("lsn"),
    [KEY_NEXTLSN] = JSON_NAME("nextlsn"),
    [KEY_SCHEMA] = JSON_NAME("schema"),
    [KEY_TABLE] = JSON_NAME("table"),
    [KEY_COLUMNS] = JSON_NAME("columns"),
    [KEY_IDENTITY] = JSON_NAME("identity"),
    [KEY_TRANSACTIONAL] = JSON_NAME("transactional"),
    [KEY_PREFIX] = JSON_NAME("prefix"),
    [KEY_CONTENT] = JSON_NAME("content"),
};

/* What a message says, but for its rows, which go to w->change. */
struct record {
    unsigned seen; /* a bit for each enum key that was there and not null */
    char action;
    uint32_t xid;
    usec_t time;
    lsn_t lsn;
    lsn_t next_lsn;
    bool transactional;
    struct slice prefix;
    struct slice content;
};

/* ---- rows ---- */

enum column_key {
    COLUMN_NAME, COLUMN_TYPE, COLUMN_TYPEOID, COLUMN_VALUE, COLUMN_OPTIONAL, COLUMN_KEYS
};

static const struct slice column_keys[COLUMN_KEYS] = {
    [COLUMN_NAME] = JSON_NAME("name"),
    [COLUMN_TYPE] = JSON_NAME("type"),
    [COLUMN_TYPEOID] = JSON_NAME("typeoid"),
    [COLUMN_VALUE] = JSON_NAME("value"),
    [COLUMN_OPTIONAL] = JSON_NAME("optional"),
};

static bool read_column_member(struct wal2json *w, unsigned key, struct sent_column *column)
{
    struct json_scan *s = &w->scan;
    bool optional;

    switch (key) {
    case COLUMN_NAME:
        return json_string(s, &column->name);
    case COLUMN_TYPE:
        return wal2json_type(w, &column->type);
    case COLUMN_TYPEOID:
        return json_oid(s, &column->type_oid);
    case COLUMN_VALUE:
        return json_value(s, &column->value);
    case COLUMN_OPTIONAL:
        if (!json_boolean(s, &optional))
            return false;
        column->nullable = optional ? NULLABLE_YES : NULLABLE_NO;
        return true;
    default:
        return json_skip(s);
    }
}

static bool read_column(struct wal2json *w, struct sent_column *column)
{
    const unsigned needed = 1u << COLUMN_NAME | 1u << COLUMN_VALUE;
    struct json_scan *s = &w->scan;
    unsigned seen = 0;
    struct slice name;

    for (size_t n = 0; json_member(s, n, &name); n++) {
        unsigned key = json_which(&name, column_keys, COLUMN_KEYS);

        if (key < COLUMN_KEYS && !wal2json_once(w, &name, &seen, key))
            return false;
        if (!read_column_member(w, key, column))
            return false;
    }
    if ((seen & needed) != needed)
        return json_fail_at(s, s->p - 1, "a column without its name or value");
    return !s->wrong;
}

static bool read_row(struct wal2json *w, struct sent_row *row)
{
    struct json_scan *s = &w->scan;

    for (size_t n = 0; json_element(s, n); n++) {
        struct sent_column *column = wal2json_add_column(w, row);

        if (!column || !read_column(w, column))
            return false;
    }
    return !s->wrong;
}

/* ---- messages ---- */

static bool read_action(struct wal2json *w, char *action)
{
    struct slice text;

    if (!json_string(&w->scan, &text))
        return false;
    if (text.len != 1 || !memchr("BCIUDTM", text.data[0], 7))
        return json_fail_at(&w->scan, text.data, "an unknown action");
    *action = text.data[0];
    return true;
}

static bool read_value(struct wal2json *w, unsigned key, struct record *r)
{
    struct json_scan *s = &w->scan;

    switch (key) {
    case KEY_ACTION:
        return read_action(w, &r->action);
    case KEY_XID:
        return json_u32(s, &r->xid);
    case KEY_TIMESTAMP: /* of rows and messages as well, but it is the same in all of them */
        return r->action == 'B' || r->action == 'C' ? wal2json_time(w, &r->time) : json_skip(s);
    case KEY_LSN:
        return wal2json_lsn(w, &r->lsn);
    case KEY_NEXTLSN:
        return wal2json_lsn(w, &r->next_lsn);
    case KEY_SCHEMA:
        return json_string(s, &w->change.schema);
    case KEY_TABLE:
        return json_string(s, &w->change.table);
    case KEY_COLUMNS:
        return read_row(w, &w->change.new_row);
    case KEY_IDENTITY:
        return read_row(w, &w->change.old_row);
    case KEY_TRANSACTIONAL:
        return json_boolean(s, &r->transactional);
    case KEY_PREFIX:
        return json_string(s, &r->prefix);
    case KEY_CONTENT:
        return json_bytes(s, &r->content);
    default:
        return json_skip(s);
    }
}

static bool read_member(struct wal2json *w, const struct slice *name, struct record *r)
{
    unsigned key = json_which(name, keys, KEYS);

    if ((key == KEY_XID || key == KEY_TIMESTAMP) && json_take_null(&w->scan))
        return true;
    if (key < KEYS && !wal2json_once(w, name, &r->seen, key))
        return false;
    return read_value(w, key, r);
}

static bool read_record(struct wal2json *w, const struct slice *first, struct record *r)
{
    struct json_scan *s = &w->scan;
    struct slice name = *first;
    size_t n = 1;

    *r = (struct record){0};
    w->change.new_row.n = 0;
    w->change.old_row.n = 0;
    do {
        if (!read_member(w, &name, r))
            return false;
    } while (json_member(s, n++, &name));
    if (s->wrong)
        return false;
    return json_at_end(s) || json_fail_at(s, s->p, "something stands behind the message");
}

/* ---- what they mean ---- */

static bool take_begin(struct wal2json *w, const struct record *r, struct event *e)
{
    if (w->base.in_transaction)
        return wal2json_misfit(w, "a transaction begins within another");
    w->base.transaction = (struct transaction){
        .xid = r->xid,
        .commit_lsn = r->lsn,
        .end_lsn = r->next_lsn,
        .commit_time = r->time,
    };
    return wal2json_begin(w, e);
}

/* Whether what is said twice is said alike; 0 = not said. */
static bool agree(uint64_t a, uint64_t b)
{
    return a == 0 || b == 0 || a == b;
}

static bool take_commit(struct wal2json *w, const struct record *r, struct event *e)
{
    struct transaction *t = &w->base.transaction;

    if (!w->base.in_transaction)
        return wal2json_misfit(w, "a transaction ends that has not begun");
    if (!agree(r->xid, t->xid) || !agree(r->lsn, t->commit_lsn) ||
        !agree(r->next_lsn, t->end_lsn) || !agree((uint64_t)r->time, (uint64_t)t->commit_time))
        return wal2json_misfit(w, "B and C of the transaction do not agree");
    if (r->lsn != 0)
        t->commit_lsn = r->lsn;
    if (r->next_lsn != 0)
        t->end_lsn = r->next_lsn;
    if (t->end_lsn == 0)
        t->end_lsn = w->lsn;
    if (t->commit_time == 0)
        t->commit_time = r->time;
    return wal2json_commit(w, e);
}

/* What a message lacks or has too much, NULL for nothing. */
static const char *misfit(const struct record *r)
{
    const unsigned table = 1u << KEY_SCHEMA | 1u << KEY_TABLE;
    const unsigned message = 1u << KEY_TRANSACTIONAL | 1u << KEY_PREFIX | 1u << KEY_CONTENT;
    bool has_new = (r->seen & 1u << KEY_COLUMNS) != 0;
    bool has_old = (r->seen & 1u << KEY_IDENTITY) != 0;

    if (r->action == 'M')
        return (r->seen & message) == message ? NULL : "a message that lacks something";
    if ((r->seen & table) != table)
        return "a change without the name of its table";
    if (has_new != (r->action == 'I' || r->action == 'U'))
        return has_new ? "a change that has no new row has one" : "a change without its new row";
    if (r->action == 'D' && !has_old)
        return "a deletion without the old row";
    if (has_old && r->action != 'U' && r->action != 'D')
        return "a change that has no old row has one";
    return NULL;
}

static enum operation operation_of(char action)
{
    switch (action) {
    case 'I':
        return OP_INSERT;
    case 'U':
        return OP_UPDATE;
    case 'D':
        return OP_DELETE;
    default:
        return OP_TRUNCATE;
    }
}

static bool take_change(struct wal2json *w, const struct record *r, struct event *e)
{
    if (w->base.in_transaction && !agree(r->xid, w->base.transaction.xid))
        return wal2json_misfit(w, "a change of another transaction");
    w->change.op = operation_of(r->action);
    w->change.old_has_nulls = true;
    w->change.old_sent = (r->seen & 1u << KEY_IDENTITY) != 0;
    w->change.lsn = r->lsn != 0 ? r->lsn : w->lsn;
    return wal2json_change(w, e);
}

static bool take_message(struct wal2json *w, const struct record *r, struct event *e)
{
    if (w->base.in_transaction && r->transactional && !agree(r->xid, w->base.transaction.xid))
        return wal2json_misfit(w, "a message of another transaction");
    e->message = (struct message){
        .lsn = r->lsn != 0 ? r->lsn : w->lsn,
        .transactional = r->transactional,
        .prefix = r->prefix.data,
        .content = r->content.data,
        .len = r->content.len,
    };
    return wal2json_message(w, e);
}

bool wal2json_v2_take(struct wal2json *w, const struct slice *first, struct event *e)
{
    struct record r;
    const char *wrong;

    if (!read_record(w, first, &r))
        return false;
    if (r.action == 'B')
        return take_begin(w, &r, e);
    if (r.action == 'C')
        return take_commit(w, &r, e);
    wrong = misfit(&r);
    if (wrong)
        return wal2json_misfit(w, wrong);
    return r.action == 'M' ? take_message(w, &r, e) : take_change(w, &r, e);
}
