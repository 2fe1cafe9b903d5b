#include "decode/test_decoding.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/charset.h"
#include "decode/commit_time.h"
#include "decode/table.h"

struct test_decoding {
    struct decoder base;
    struct tables *tables;
    bool rows; /* the transaction has changed rows: a message alone does not count */
    struct sent_column *old_columns; /* RELATION_MAX_COLUMNS each */
    struct sent_column *new_columns;
    struct sent_table *names; /* of a truncation */
    uint32_t names_cap;
};

/* A message, read from front to back; what has been read may have been rewritten. */
struct text {
    const struct event *e;
    char *start;
    char *p;
    char *end;
};

/* What is wrong is at p. */
static bool malformed(const struct text *t, const char *what)
{
    log_error("could not decode the test_decoding message at " LSN_FMT ": %s, at byte %zu",
              LSN_ARGS(t->e->lsn), what, (size_t)(t->p - t->start));
    return false;
}

/* ---- words and numbers ---- */

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool starts_with(const struct text *t, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(t->end - t->p) >= len && memcmp(t->p, word, len) == 0;
}

/* Goes past a word if it comes next. */
static inline bool take_word(struct text *t, const char *word)
{
    if (!starts_with(t, word))
        return false;
    t->p += strlen(word);
    return true;
}

static bool at_end(const struct text *t)
{
    return t->p == t->end || malformed(t, "the message is too long");
}

static bool read_xid(struct text *t, uint32_t *xid)
{
    const char *start = t->p;
    uint64_t n = 0;

    while (t->p < t->end && is_digit(*t->p) && n <= UINT32_MAX)
        n = n * 10 + (uint64_t)(*t->p++ - '0');
    *xid = (uint32_t)n;
    return (t->p > start && n <= UINT32_MAX) || malformed(t, "this is no transaction number");
}

/* TIME) */
static bool read_time(struct text *t, usec_t *time)
{
    const char *end = memchr(t->p, ')', (size_t)(t->end - t->p));

    if (!end || !commit_time_parse(t->p, (size_t)(end - t->p), time))
        return malformed(t, "this is no time");
    t->p += end - t->p + 1;
    return true;
}

/* The end of a record about a transaction: maybe a word with the xid, maybe the time; else 0. */
static bool read_xid_and_time(struct text *t, const char *word, uint32_t *xid, usec_t *time)
{
    *xid = 0;
    *time = 0;
    if (!starts_with(t, " (at ") && take_word(t, word) && !read_xid(t, xid))
        return false;
    if (take_word(t, " (at ") && !read_time(t, time))
        return false;
    return at_end(t);
}

/* ---- quoted texts ---- */

/* A text behind its opening quote.  The quotes that are doubled in it become single ones. */
static bool read_quoted(struct text *t, char quote, struct slice *text)
{
    char *out = t->p;

    text->data = t->p;
    for (;;) {
        char *found = memchr(t->p, quote, (size_t)(t->end - t->p));
        size_t len;

        if (!found)
            return malformed(t, "the quote is not closed");
        len = (size_t)(found - t->p);
        if (out != t->p)
            memmove(out, t->p, len);
        out += len;
        t->p = found + 1;
        if (t->p == t->end || *t->p != quote)
            break;
        *out++ = quote;
        t->p++;
    }
    text->len = (uint32_t)(out - text->data);
    return true;
}

static inline bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_' || is_digit(c);
}

/* An identifier; all that is not plain in lower case is quoted. */
static bool read_name(struct text *t, struct slice *name)
{
    if (take_word(t, "\"")) {
        if (!read_quoted(t, '"', name))
            return false;
    } else {
        name->data = t->p;
        while (t->p < t->end && is_name_char(*t->p))
            t->p++;
        name->len = (uint32_t)(t->p - name->data);
    }
    return name->len > 0 || malformed(t, "a name is missing");
}

/* Of \\ in a text only the second is kept. */
static void drop_backslashes(char *text, uint32_t *len)
{
    char *out = text;

    for (uint32_t i = 0; i < *len; i++) {
        if (text[i] == '\\' && i + 1 < *len)
            i++;
        *out++ = text[i];
    }
    *len = (uint32_t)(out - text);
}

/* The identifier of a prepared transaction becomes that of decoder->transaction. */
static bool read_gid(struct decoder *d, struct text *t)
{
    bool escaped = take_word(t, "E");
    struct slice gid;
    char *start;

    if (!take_word(t, "'"))
        return malformed(t, "the transaction's identifier is missing");
    start = t->p;
    if (!read_quoted(t, '\'', &gid))
        return false;
    if (escaped)
        drop_backslashes(start, &gid.len);
    return decoder_keep_gid(d, start, gid.len) ||
           malformed(t, "the transaction's identifier is too long");
}

/* ---- transactions ---- */

static enum outcome decode_begin(struct test_decoding *d, struct text *t, struct event *e)
{
    uint32_t xid = 0;

    if (d->base.in_transaction) {
        malformed(t, "a transaction begins within another");
        return OUTCOME_FAILED;
    }
    if ((take_word(t, " ") && !read_xid(t, &xid)) || !at_end(t))
        return OUTCOME_FAILED;
    d->base.transaction = (struct transaction){.xid = xid};
    d->rows = false;
    tables_transaction_begins(d->tables);
    decoder_begin(&d->base, e);
    return OUTCOME_OK;
}

/* What COMMIT and PREPARE TRANSACTION have in common; word: what stands before the xid. */
static bool read_end(struct test_decoding *d, struct text *t, const char *word)
{
    struct transaction *transaction = &d->base.transaction;
    uint32_t xid;

    if (!read_xid_and_time(t, word, &xid, &transaction->commit_time))
        return false;
    if (xid != 0 && transaction->xid != 0 && xid != transaction->xid)
        return malformed(t, "the transaction that ends is not the one that has begun");
    transaction->end_lsn = t->e->lsn;
    return true;
}

static void end_transaction(struct test_decoding *d, struct event *e, enum event_kind kind)
{
    tables_transaction_ends(d->tables, d->base.transaction.xid, d->rows);
    decoder_end(&d->base, e, kind);
}

static enum outcome decode_commit(struct test_decoding *d, struct text *t, struct event *e)
{
    if (!d->base.in_transaction) {
        malformed(t, "a transaction ends that has not begun");
        return OUTCOME_FAILED;
    }
    if (!read_end(d, t, " "))
        return OUTCOME_FAILED;
    end_transaction(d, e, EVENT_COMMIT);
    return OUTCOME_OK;
}

static enum outcome decode_prepare(struct test_decoding *d, struct text *t, struct event *e)
{
    if (!d->base.in_transaction) {
        malformed(t, "a transaction is prepared that has not begun");
        return OUTCOME_FAILED;
    }
    if (!read_gid(&d->base, t) || !read_end(d, t, ", txid "))
        return OUTCOME_FAILED;
    d->base.transaction.prepared = true;
    end_transaction(d, e, EVENT_PREPARE);
    return OUTCOME_OK;
}

/* COMMIT PREPARED or ROLLBACK PREPARED, as kind says. */
static enum outcome decode_decision(struct test_decoding *d, struct text *t, struct event *e,
                                    enum event_kind kind)
{
    struct transaction *transaction = &d->base.transaction;

    if (d->base.in_transaction) {
        malformed(t, "the fate of a prepared transaction is told within another");
        return OUTCOME_FAILED;
    }
    *transaction = (struct transaction){
        .previous_commit = d->base.last_commit,
        .end_lsn = e->lsn,
    };
    if (!read_gid(&d->base, t) ||
        !read_xid_and_time(t, ", txid ", &transaction->xid, &transaction->commit_time))
        return OUTCOME_FAILED;
    /* What it has done to the catalogs is only seen from here on. */
    if (kind == EVENT_COMMIT_PREPARED)
        tables_transaction_ends(d->tables, d->base.transaction.xid, false);
    decoder_end(&d->base, e, kind);
    return OUTCOME_OK;
}

/* ---- columns ---- */

/* TYPE], where names in TYPE may be quoted and [] behind them makes it an array. */
static bool read_type(struct text *t, struct slice *type)
{
    type->data = t->p;
    while (t->p < t->end && *t->p != ']') {
        char *closing = NULL;

        if (*t->p == '"')
            closing = memchr(t->p + 1, '"', (size_t)(t->end - t->p - 1));
        else if (*t->p != '[')
            closing = t->p;
        else if (t->end - t->p > 1 && t->p[1] == ']')
            closing = t->p + 1;
        if (!closing)
            return malformed(t, "the type's name does not end");
        t->p = closing + 1;
    }
    type->len = (uint32_t)(t->p - type->data);
    if (type->len == 0 || !take_word(t, "]"))
        return malformed(t, "the type's name does not end");
    return true;
}

static bool read_quoted_value(struct text *t, struct value *v)
{
    struct slice text;

    if (!read_quoted(t, '\'', &text))
        return false;
    v->kind = VALUE_TEXT;
    v->data = text.data;
    v->len = text.len;
    return true;
}

/* Any number but those below: the digits are for others to look at. */
static void read_number(struct text *t, struct value *v)
{
    v->kind = VALUE_TEXT;
    v->data = t->p++;
    while (t->p < t->end && (is_digit(*t->p) || memchr("+-.e", *t->p, 4)))
        t->p++;
    v->len = (uint32_t)(t->p - v->data);
}

/* What is not quoted and begins with no digit; len: how much of it the type's output says. */
static const struct {
    const char *word;
    enum value_kind kind;
    uint32_t len;
} bare_words[] = {
    {"null", VALUE_NULL, 0},
    {"true", VALUE_TEXT, 1},
    {"false", VALUE_TEXT, 1},
    {"unchanged-toast-datum", VALUE_UNCHANGED, 0},
    {"NaN", VALUE_TEXT, 3},
    {"Infinity", VALUE_TEXT, 8},
    {"-Infinity", VALUE_TEXT, 9},
};

static bool read_bare_word(struct text *t, struct value *v)
{
    for (size_t i = 0; i < sizeof bare_words / sizeof bare_words[0]; i++) {
        v->data = t->p;
        if (take_word(t, bare_words[i].word)) {
            v->kind = bare_words[i].kind;
            v->len = bare_words[i].len;
            return true;
        }
    }
    return malformed(t, "this is no value");
}

static bool read_value(struct text *t, struct value *v)
{
    if (take_word(t, "'") || take_word(t, "B'"))
        return read_quoted_value(t, v);
    if (t->p < t->end &&
        (is_digit(*t->p) || (*t->p == '-' && t->end - t->p > 1 && is_digit(t->p[1])))) {
        read_number(t, v);
        return true;
    }
    return read_bare_word(t, v);
}

/* NAME[TYPE]:VALUE */
static bool read_column(struct text *t, struct sent_column *column)
{
    column->type_oid = 0;
    column->nullable = NULLABLE_NOT_SAID;
    if (!read_name(t, &column->name))
        return false;
    if (!take_word(t, "["))
        return malformed(t, "the column's type is missing");
    if (!read_type(t, &column->type))
        return false;
    if (!take_word(t, ":"))
        return malformed(t, "the column's value is missing");
    return read_value(t, &column->value);
}

/* COLUMNS, with a blank before each, up to the end or the word that parts old row and new. */
static bool read_row(struct text *t, struct sent_row *row, bool nulls)
{
    while (t->p < t->end && !starts_with(t, " new-tuple:")) {
        if (!take_word(t, " "))
            return malformed(t, "a blank is missing");
        if (row->n == RELATION_MAX_COLUMNS)
            return malformed(t, "there are too many columns");
        if (!read_column(t, &row->columns[row->n]))
            return false;
        if (nulls || row->columns[row->n].value.kind != VALUE_NULL)
            row->n++;
    }
    return true;
}

/* ---- changes ---- */

static bool read_new_row(struct text *t, struct sent_row *row)
{
    if (starts_with(t, " (no-tuple-data)"))
        return malformed(t, "a change without the new row");
    return read_row(t, row, true) && at_end(t);
}

static bool read_update(struct text *t, struct sent_change *c)
{
    if (take_word(t, " old-key:")) {
        c->old_sent = true;
        if (!read_row(t, &c->old_row, false))
            return false;
        if (!take_word(t, " new-tuple:"))
            return malformed(t, "a change without the new row");
    }
    return read_new_row(t, &c->new_row);
}

static bool read_delete(struct text *t, struct sent_change *c)
{
    c->old_sent = !take_word(t, " (no-tuple-data)");
    return (!c->old_sent || read_row(t, &c->old_row, false)) && at_end(t);
}

static bool read_change(struct text *t, struct sent_change *c)
{
    if (take_word(t, ": INSERT:")) {
        c->op = OP_INSERT;
        return read_new_row(t, &c->new_row);
    }
    if (take_word(t, ": UPDATE:")) {
        c->op = OP_UPDATE;
        return read_update(t, c);
    }
    if (take_word(t, ": DELETE:")) {
        c->op = OP_DELETE;
        return read_delete(t, c);
    }
    return malformed(t, "unknown kind of change");
}

static enum outcome decode_change(struct test_decoding *d, struct text *t, struct event *e)
{
    struct sent_change c = {
        .lsn = e->lsn,
        .schema = d->names[0].schema,
        .table = d->names[0].table,
        .new_row.columns = d->new_columns,
        .old_row.columns = d->old_columns,
    };

    if (!read_change(t, &c))
        return OUTCOME_FAILED;
    return tables_change(d->tables, &d->base, &c, e);
}

/* Behind the word: which flags there are says nothing about what has happened. */
static bool read_truncate_flags(struct text *t)
{
    bool flags = take_word(t, " (no-flags)");

    if (!flags) {
        flags = take_word(t, " restart_seqs");
        flags |= take_word(t, " cascade");
    }
    return flags ? at_end(t) : malformed(t, "the flags are missing");
}

static void reserve_names(struct test_decoding *d, uint32_t n)
{
    struct sent_table *names;

    if (n <= d->names_cap)
        return;
    d->names_cap = n < 16 ? 16 : n * 2;
    names = xcalloc(d->names_cap, sizeof *names);
    if (d->names)
        memcpy(names, d->names, (n - 1) * sizeof *names);
    free(d->names);
    d->names = names;
}

/* SCHEMA.TABLE[, SCHEMA.TABLE ...] into d->names; the rest of the message bounds their number. */
static bool read_names(struct test_decoding *d, struct text *t, uint32_t *n)
{
    *n = 0;
    do {
        reserve_names(d, *n + 1);
        if (!read_name(t, &d->names[*n].schema))
            return false;
        if (!take_word(t, "."))
            return malformed(t, "a table without a schema");
        if (!read_name(t, &d->names[*n].table))
            return false;
        ++*n;
    } while (take_word(t, ", "));
    return true;
}

static enum outcome decode_table(struct test_decoding *d, struct text *t, struct event *e)
{
    uint32_t n;

    if (!d->base.in_transaction) {
        malformed(t, "a change outside of a transaction");
        return OUTCOME_FAILED;
    }
    d->base.transaction.changed = true;
    d->rows = true;
    e->transaction = &d->base.transaction;
    if (!read_names(d, t, &n))
        return OUTCOME_FAILED;
    if (take_word(t, ": TRUNCATE:")) {
        if (!read_truncate_flags(t))
            return OUTCOME_FAILED;
        return tables_truncate(d->tables, &d->base, d->names, n, e);
    }
    if (n > 1) {
        malformed(t, "a change of several tables");
        return OUTCOME_FAILED;
    }
    return decode_change(d, t, e);
}

/* ---- messages ---- */

/* LENGTH content:BYTES, with LENGTH bytes up to the end; in any other case false. */
static bool take_content(struct text *t, struct message *m)
{
    const char *start = t->p;
    uint64_t len = 0;

    while (t->p < t->end && is_digit(*t->p) && len <= UINT32_MAX)
        len = len * 10 + (uint64_t)(*t->p++ - '0');
    if (t->p == start || !take_word(t, " content:") || len != (size_t)(t->end - t->p))
        return false;
    m->content = t->p;
    m->len = (uint32_t)len;
    return true;
}

/*
 * PREFIX, sz: LENGTH content:BYTES, where PREFIX may have anything in it: it ends where the length
 * is right.  Where that is so at two places, one part of the message imitates the format, and that
 * is the content rather than the prefix.
 */
static bool read_prefix_and_content(struct text *t, char **prefix, struct message *m)
{
    static const char parting[] = ", sz: ";
    char *nul = memchr(t->p, '\0', (size_t)(t->end - t->p));
    char *end = nul ? nul : t->end;
    char *p = t->p;

    *prefix = p;
    while ((p = memmem(p, (size_t)(end - p), parting, sizeof parting - 1))) {
        t->p = p + sizeof parting - 1;
        if (take_content(t, m)) {
            *p = '\0';
            return true;
        }
        p++;
    }
    t->p = *prefix;
    return malformed(t, "the content does not have the length that is told");
}

/* The content is bytes, not text: only the prefix is in the encoding of the database. */
static bool convert_prefix(const struct decoder *d, struct text *t, char *prefix,
                           struct message *m)
{
    size_t len = strlen(prefix) + 1;

    t->p = prefix;
    charset_begin(d->charset, len);
    if (!charset_convert(d->charset, &prefix, &len))
        return malformed(t, "the prefix is not valid in the encoding of the database");
    m->prefix = prefix;
    return true;
}

static enum outcome decode_message(struct test_decoding *d, struct text *t, struct event *e)
{
    struct message *m = &e->message;
    char *prefix;

    *m = (struct message){.lsn = e->lsn};
    m->transactional = starts_with(t, "1");
    if (!take_word(t, "1 prefix: ") && !take_word(t, "0 prefix: ")) {
        malformed(t, "this is no message");
        return OUTCOME_FAILED;
    }
    if (!read_prefix_and_content(t, &prefix, m) || !convert_prefix(&d->base, t, prefix, m))
        return OUTCOME_FAILED;
    if (m->transactional && !d->base.in_transaction) {
        malformed(t, "a transactional message outside of a transaction");
        log_hint("The plugin's option \"skip-empty-xacts\" must not be used.");
        return OUTCOME_FAILED;
    }
    e->kind = EVENT_MESSAGE;
    e->transaction = m->transactional ? &d->base.transaction : NULL;
    d->base.transaction.changed |= m->transactional;
    return OUTCOME_OK;
}

/* ---- a message of any kind ---- */

/* How records begin that tell of parts of transactions whose fate is open. */
static bool is_unfinished(const struct text *t)
{
    static const char *const beginnings[] = {
        "opening a streamed ",    "closing a streamed ",  "streaming ", "aborting streamed ",
        "preparing streamed ",    "committing streamed ",
    };

    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        if (starts_with(t, beginnings[i]))
            return true;
    return false;
}

static enum outcome unknown(const struct text *t)
{
    if (is_unfinished(t)) {
        malformed(t, "it is about a transaction that has not ended");
        log_hint("The plugin's option \"stream-changes\" must not be used.");
    } else {
        malformed(t, "unknown kind of record");
    }
    return OUTCOME_FAILED;
}

static enum outcome decode(struct test_decoding *d, struct text *t, struct event *e)
{
    if (take_word(t, "table "))
        return decode_table(d, t, e);
    if (take_word(t, "BEGIN"))
        return decode_begin(d, t, e);
    if (take_word(t, "COMMIT PREPARED "))
        return decode_decision(d, t, e, EVENT_COMMIT_PREPARED);
    if (take_word(t, "COMMIT"))
        return decode_commit(d, t, e);
    if (take_word(t, "PREPARE TRANSACTION "))
        return decode_prepare(d, t, e);
    if (take_word(t, "ROLLBACK PREPARED "))
        return decode_decision(d, t, e, EVENT_ROLLBACK_PREPARED);
    return unknown(t);
}

/* Makes the text one that is in UTF-8 and has no NUL, which nothing but a content can have. */
static bool prepare(const struct decoder *d, struct text *t)
{
    size_t len = (size_t)(t->end - t->start);
    char *nul = memchr(t->start, '\0', len);

    if (nul) {
        t->p = nul;
        return malformed(t, "a zero byte within a text");
    }
    charset_begin(d->charset, len);
    if (!charset_convert(d->charset, &t->start, &len)) {
        t->p = t->start + len;
        return malformed(t, "a character that is not valid in the encoding of the database");
    }
    t->p = t->start;
    t->end = t->start + len;
    return len <= UINT32_MAX || malformed(t, "the message is too long");
}

static enum outcome take(struct decoder *base, lsn_t lsn, char *payload, size_t len,
                         struct event *e)
{
    struct test_decoding *d = (struct test_decoding *)base;
    struct text t = {.e = e, .start = payload, .p = payload, .end = payload + len};

    (void)lsn;
    base->in_change = base->in_transaction && (starts_with(&t, "table ") || starts_with(&t, "message: "));
    if (take_word(&t, "message: transactional: "))
        return decode_message(d, &t, e);
    if (!prepare(base, &t))
        return OUTCOME_FAILED;
    return decode(d, &t, e);
}

/* ---- the decoder ---- */

static void init(struct decoder *base)
{
    struct test_decoding *d = (struct test_decoding *)base;

    d->tables = tables_new(TABLES_BARE_TYPES);
    d->old_columns = xcalloc(RELATION_MAX_COLUMNS, sizeof *d->old_columns);
    d->new_columns = xcalloc(RELATION_MAX_COLUMNS, sizeof *d->new_columns);
}

static void release(struct decoder *base)
{
    struct test_decoding *d = (struct test_decoding *)base;

    tables_free(d->tables);
    free(d->old_columns);
    free(d->new_columns);
    free(d->names);
}

const struct decoder_kind decoder_test_decoding = {
    .name = "test_decoding",
    .size = sizeof(struct test_decoding),
    .unconverted = true,
    .init = init,
    .release = release,
    .take = take,
};
