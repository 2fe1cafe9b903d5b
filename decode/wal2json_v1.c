/*
 * Format 1.  A document per transaction; keys marked * come by option or in some versions only:
 *
 *     {xid*, nextlsn*, timestamp*, origin*, "change": [change, ...]}
 *
 *     insert    kind schema table columnnames columntypes* columntypeoids* columnpositions*
 *               columnoptionals* columndefaults* columnvalues pk*
 *     update    likewise, and oldkeys {keynames keytypes* keytypeoids* keyvalues}
 *     delete    kind schema table oldkeys pk*
 *     message   kind transactional prefix content
 *     truncate  kind schema table; no version up to 2.6 sends it
 *
 * The columns stand in parallel arrays.  With write-in-chunks the document is cut between changes:
 * up to "[" is a message, each change with the comma before it is one, "]}" is one.  A document may
 * be cut anywhere between changes here, or not at all.
 *
 * A message with transactional = false is a document of its own without any key before "change".
 * wal2json up to 2.5 writes a comma before it that depends on the transaction before; commas
 * before changes are therefore taken if they are there.
 */
#include <string.h>

#include "decode/wal2json_internal.h"

static const char two_begins[] = "a transaction begins within another";

/* ---- rows: parallel arrays ---- */

enum part { PART_NAMES, PART_TYPES, PART_OIDS, PART_OPTIONALS, PART_VALUES, PARTS };

/* Behind "column" or "key". */
static const struct slice parts[PARTS] = {
    [PART_NAMES] = JSON_NAME("names"),
    [PART_TYPES] = JSON_NAME("types"),
    [PART_OIDS] = JSON_NAME("typeoids"),
    [PART_OPTIONALS] = JSON_NAME("optionals"),
    [PART_VALUES] = JSON_NAME("values"),
};

/* A row of which some arrays have been read. */
struct row_reader {
    struct sent_row *row; /* n is the length of the first array */
    unsigned seen;        /* bits of enum part */
};

static bool read_item(struct wal2json *w, enum part part, struct sent_column *column)
{
    struct json_scan *s = &w->scan;
    bool optional;

    switch (part) {
    case PART_NAMES:
        return json_string(s, &column->name);
    case PART_TYPES:
        return wal2json_type(w, &column->type);
    case PART_OIDS:
        return json_oid(s, &column->type_oid);
    case PART_OPTIONALS:
        if (!json_boolean(s, &optional))
            return false;
        column->nullable = optional ? NULLABLE_YES : NULLABLE_NO;
        return true;
    default:
        return json_value(s, &column->value);
    }
}

/* The first array that comes makes the columns, the others have to have as many elements. */
static bool read_part(struct wal2json *w, const struct slice *name, struct row_reader *r,
                      enum part part)
{
    static const char uneven[] = "arrays of different length for the columns of a row";
    struct json_scan *s = &w->scan;
    bool first = r->seen == 0;
    uint32_t n = 0;

    if (!wal2json_once(w, name, &r->seen, part))
        return false;
    for (; json_element(s, n); n++) {
        if (first && !wal2json_add_column(w, r->row))
            return false;
        if (n == r->row->n)
            return json_fail_at(s, s->p, uneven);
        if (!read_item(w, part, &r->row->columns[n]))
            return false;
    }
    if (s->wrong)
        return false;
    return n == r->row->n || json_fail_at(s, s->p - 1, uneven);
}

/* Whether the row is not there at all or has names and values. */
static bool row_whole(struct wal2json *w, const struct row_reader *r)
{
    const unsigned needed = 1u << PART_NAMES | 1u << PART_VALUES;

    return r->seen == 0 || (r->seen & needed) == needed ||
           json_fail_at(&w->scan, w->scan.p - 1, "a row without names or values");
}

/* The array whose key begins with `prefix`; PARTS for another key. */
static unsigned which_part(const struct slice *name, const char *prefix)
{
    uint32_t len = (uint32_t)strlen(prefix);
    struct slice rest;

    if (name->len <= len || memcmp(name->data, prefix, len) != 0)
        return PARTS;
    rest = (struct slice){name->data + len, name->len - len};
    return json_which(&rest, parts, PARTS);
}

/* {"keynames": [...], ...}; an empty object is a row, too, as is one of empty arrays. */
static bool read_old_keys(struct wal2json *w, struct row_reader *r)
{
    struct slice name;

    for (size_t n = 0; json_member(&w->scan, n, &name); n++) {
        unsigned part = which_part(&name, "key");

        if (part == PARTS ? !json_skip(&w->scan) : !read_part(w, &name, r, (enum part)part))
            return false;
    }
    return !w->scan.wrong && row_whole(w, r);
}

/* ---- changes ---- */

enum change_key {
    CHANGE_KIND,
    CHANGE_SCHEMA,
    CHANGE_TABLE,
    CHANGE_OLDKEYS,
    CHANGE_TRANSACTIONAL,
    CHANGE_PREFIX,
    CHANGE_CONTENT,
    CHANGE_XID,     /* this one and those below: no change, but a document */
    CHANGE_CHANGE,
    CHANGE_ACTION,
    CHANGE_KEYS
};

static const struct slice change_keys[CHANGE_KEYS] = {
    [CHANGE_KIND] = JSON_NAME("kind"),
    [CHANGE_SCHEMA] = JSON_NAME("schema"),
    [CHANGE_TABLE] = JSON_NAME("table"),
    [CHANGE_OLDKEYS] = JSON_NAME("oldkeys"),
    [CHANGE_TRANSACTIONAL] = JSON_NAME("transactional"),
    [CHANGE_PREFIX] = JSON_NAME("prefix"),
    [CHANGE_CONTENT] = JSON_NAME("content"),
    [CHANGE_XID] = JSON_NAME("xid"),
    [CHANGE_CHANGE] = JSON_NAME("change"),
    [CHANGE_ACTION] = JSON_NAME("action"),
};

enum kind { KIND_INSERT, KIND_UPDATE, KIND_DELETE, KIND_TRUNCATE, KIND_MESSAGE, KINDS };

static const struct slice kinds[KINDS] = {
    [KIND_INSERT] = JSON_NAME("insert"),
    [KIND_UPDATE] = JSON_NAME("update"),
    [KIND_DELETE] = JSON_NAME("delete"),
    [KIND_TRUNCATE] = JSON_NAME("truncate"),
    [KIND_MESSAGE] = JSON_NAME("message"),
};

/* What a change says, but for what goes to w->change. */
struct record {
    unsigned seen; /* bits of enum change_key */
    enum kind kind;
    struct row_reader new_row;
    struct row_reader old_row;
    bool transactional;
    struct slice prefix;
    struct slice content;
};

static bool read_kind(struct wal2json *w, enum kind *kind)
{
    struct slice text;

    if (!json_string(&w->scan, &text))
        return false;
    *kind = json_which(&text, kinds, KINDS);
    return *kind < KINDS || json_fail_at(&w->scan, text.data, "an unknown kind of change");
}

static bool read_value(struct wal2json *w, unsigned key, struct record *r)
{
    struct json_scan *s = &w->scan;

    switch (key) {
    case CHANGE_KIND:
        return read_kind(w, &r->kind);
    case CHANGE_SCHEMA:
        return json_string(s, &w->change.schema);
    case CHANGE_TABLE:
        return json_string(s, &w->change.table);
    case CHANGE_OLDKEYS:
        return read_old_keys(w, &r->old_row);
    case CHANGE_TRANSACTIONAL:
        return json_boolean(s, &r->transactional);
    case CHANGE_PREFIX:
        return json_string(s, &r->prefix);
    case CHANGE_CONTENT:
        return json_bytes(s, &r->content);
    default:
        return wal2json_misfit(w, two_begins);
    }
}

static bool read_member(struct wal2json *w, const struct slice *name, struct record *r)
{
    unsigned key = which_part(name, "column");

    if (key < PARTS)
        return read_part(w, name, &r->new_row, (enum part)key);
    key = json_which(name, change_keys, CHANGE_KEYS);
    if (key == CHANGE_KEYS)
        return json_skip(&w->scan);
    return wal2json_once(w, name, &r->seen, key) && read_value(w, key, r);
}

/* What a change lacks or has too much, NULL for nothing. */
static const char *misfit(const struct record *r)
{
    const unsigned table = 1u << CHANGE_SCHEMA | 1u << CHANGE_TABLE;
    const unsigned message =
        1u << CHANGE_TRANSACTIONAL | 1u << CHANGE_PREFIX | 1u << CHANGE_CONTENT;
    bool has_new = r->new_row.seen != 0;
    bool has_old = (r->seen & 1u << CHANGE_OLDKEYS) != 0;

    if (!(r->seen & 1u << CHANGE_KIND))
        return "a change without its kind";
    if (r->kind == KIND_MESSAGE)
        return (r->seen & message) == message ? NULL : "a message that lacks something";
    if ((r->seen & table) != table)
        return "a change without the name of its table";
    if (has_new != (r->kind == KIND_INSERT || r->kind == KIND_UPDATE))
        return has_new ? "a change that has no new row has one" : "a change without its new row";
    if (r->kind == KIND_DELETE && !has_old)
        return "a deletion without the old row";
    if (has_old && r->kind != KIND_UPDATE && r->kind != KIND_DELETE)
        return "a change that has no old row has one";
    return NULL;
}

static bool read_record(struct wal2json *w, struct record *r)
{
    struct json_scan *s = &w->scan;
    struct slice name;
    const char *wrong;

    w->change.new_row.n = 0;
    w->change.old_row.n = 0;
    w->start = s->p;
    *r = (struct record){
        .new_row.row = &w->change.new_row,
        .old_row.row = &w->change.old_row,
    };
    for (size_t n = 0; json_member(s, n, &name); n++)
        if (!read_member(w, &name, r))
            return false;
    if (s->wrong || !row_whole(w, &r->new_row))
        return false;
    wrong = misfit(r);
    return !wrong || wal2json_misfit(w, wrong);
}

/* The wrapper of a whole document has the LSN of the transaction's beginning. */
static lsn_t change_lsn(const struct wal2json *w)
{
    return w->document_here && w->base.in_transaction ? 0 : w->lsn;
}

static bool take_message(struct wal2json *w, const struct record *r, struct event *e)
{
    e->message = (struct message){
        .lsn = change_lsn(w),
        .transactional = r->transactional,
        .prefix = r->prefix.data,
        .content = r->content.data,
        .len = r->content.len,
    };
    return wal2json_message(w, e);
}

static bool take_change(struct wal2json *w, struct event *e)
{
    static const enum operation operations[] = {
        [KIND_INSERT] = OP_INSERT,
        [KIND_UPDATE] = OP_UPDATE,
        [KIND_DELETE] = OP_DELETE,
        [KIND_TRUNCATE] = OP_TRUNCATE,
    };
    struct record r;

    if (!read_record(w, &r))
        return false;
    if (r.kind == KIND_MESSAGE)
        return take_message(w, &r, e);
    w->change.op = operations[r.kind];
    w->change.old_has_nulls = false;
    w->change.old_sent = (r.seen & 1u << CHANGE_OLDKEYS) != 0;
    w->change.lsn = change_lsn(w);
    return wal2json_change(w, e);
}

/* ---- documents ---- */

enum key { KEY_XID, KEY_NEXTLSN, KEY_TIMESTAMP, KEY_CHANGE, KEY_KIND, KEYS };

static const struct slice keys[KEYS] = {
    [KEY_XID] = JSON_NAME("xid"),
    [KEY_NEXTLSN] = JSON_NAME("nextlsn"),
    [KEY_TIMESTAMP] = JSON_NAME("timestamp"),
    [KEY_CHANGE] = JSON_NAME("change"),
    [KEY_KIND] = JSON_NAME("kind"), /* of a change */
};

/* One of what stands before "change". */
static bool read_head(struct wal2json *w, unsigned key, struct transaction *t)
{
    switch (key) {
    case KEY_XID:
        return json_u32(&w->scan, &t->xid);
    case KEY_NEXTLSN:
        return wal2json_lsn(w, &t->end_lsn);
    case KEY_TIMESTAMP:
        return wal2json_time(w, &t->commit_time);
    case KEY_KIND:
        return wal2json_misfit(w, "a fragment of a transaction whose beginning is missing");
    default:
        return json_skip(&w->scan);
    }
}

/* Up to the bracket behind "change"; *seen gets a bit for each enum key that was there. */
static bool read_heads(struct wal2json *w, const struct slice *first, struct transaction *t,
                       unsigned *seen)
{
    struct json_scan *s = &w->scan;
    struct slice name = *first;
    size_t n = 1;

    do {
        unsigned key = json_which(&name, keys, KEYS);

        if (key < KEYS && !wal2json_once(w, &name, seen, key))
            return false;
        if (key == KEY_CHANGE)
            return json_open_array(s);
        if (!read_head(w, key, t))
            return false;
    } while (json_member(s, n++, &name));
    return wal2json_misfit(w, "an object without changes");
}

bool wal2json_v1_take(struct wal2json *w, const struct slice *first, struct event *e)
{
    struct transaction t = {0};
    unsigned seen = 0;

    if (!read_heads(w, first, &t, &seen))
        return false;
    if (w->base.in_transaction)
        return wal2json_misfit(w, two_begins);
    w->document_open = true;
    w->document_here = true;
    w->document_commits = (seen & 1u << KEY_XID) != 0;
    if (!w->document_commits)
        return wal2json_v1_next(w, e);
    w->base.transaction = t;
    return wal2json_begin(w, e);
}

/* From "]" on. */
static bool end_document(struct wal2json *w, struct event *e)
{
    struct json_scan *s = &w->scan;
    struct slice name;

    w->start = s->p;
    json_take(s, ']');
    for (size_t n = 1; json_member(s, n, &name); n++) {
        if (json_which(&name, keys, KEYS) < KEYS)
            return json_fail_at(s, name.data, "this key stands behind the changes");
        if (!json_skip(s))
            return false;
    }
    if (s->wrong)
        return false;
    if (!json_at_end(s))
        return json_fail_at(s, s->p, "something stands behind the end of the transaction");
    w->document_open = false;
    if (!w->document_commits)
        return true;
    if (w->base.transaction.end_lsn == 0)
        w->base.transaction.end_lsn = change_lsn(w);
    return wal2json_commit(w, e);
}

/* A truncation may be no event, and then the next change is. */
bool wal2json_v1_next(struct wal2json *w, struct event *e)
{
    struct json_scan *s = &w->scan;

    while (w->document_open && e->kind == EVENT_NONE) {
        char c = json_peek(s);

        if (s->p == s->end)
            return true;
        if (c == ']')
            return end_document(w, e);
        json_take(s, ',');
        if (!take_change(w, e))
            return false;
    }
    return true;
}
