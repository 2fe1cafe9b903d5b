#include "decode/decoderbufs.h"

#include <stdlib.h>

#include "base/log.h"
#include "decode/charset.h"
#include "decode/decoderbufs_value.h"
#include "decode/protobuf.h"
#include "decode/table.h"

/* ---- the format ---- */

enum {
    ROW_TRANSACTION_ID = 1,
    ROW_COMMIT_TIME = 2,
    ROW_TABLE = 3,
    ROW_OP = 4,
    ROW_NEW_TUPLE = 5,
    ROW_OLD_TUPLE = 6,
    ROW_NEW_TYPEINFO = 7,
};

enum { TYPEINFO_MODIFIER = 1, TYPEINFO_VALUE_OPTIONAL = 2 };

enum { ROW_INSERT, ROW_UPDATE, ROW_DELETE, ROW_BEGIN, ROW_COMMIT };

/* ---- the decoder ---- */

enum generation { UNKNOWN, ENCLOSED, ROWS_ALONE };

/* Events of the message taken last that are still to be given. */
enum owed { NOTHING, BEGIN_AND_CHANGE, CHANGE };

/* What the plugin loses; see the header. */
enum loss {
    LOSS_ZONE = 1,
    LOSS_INTERVAL = 2,
    LOSS_UPDATE = 4,
    LOSS_UNCHANGED = 8,
};

/* A tuple of a message; RELATION_MAX_COLUMNS each. */
struct tuple {
    struct sent_row *row;
    size_t *text_at; /* where in decoderbufs.text the value stands, IN_MESSAGE where it does not */
};

#define IN_MESSAGE SIZE_MAX

/* What a RowMessage says. */
struct row_message {
    uint32_t xid;
    usec_t commit_time;
    unsigned op;
    bool has_xid;
    bool has_table;
    bool has_op;
    uint32_t ntypes; /* of the new row's columns */
    struct sent_change change;
};

struct decoderbufs {
    struct decoder base;
    struct tables *tables;
    struct row_message message;
    struct tuple old_tuple;
    struct tuple new_tuple;
    struct buf text; /* of the message's values that it does not hold as text itself */
    char *payload;
    const char *at; /* what in the payload is looked at, for errors */
    enum owed owed;
    enum generation generation;
    bool marks_unchanged; /* the plugin has been seen to */
    lsn_t idle;           /* position of the first keepalive behind the last row; 0 = none yet */
    uint32_t ended;       /* the transaction before this point, if a keepalive ended it; 0 = none */
    unsigned warned;      /* of these losses: bits of enum loss */
};

static void init(struct decoder *d)
{
    struct decoderbufs *db = (struct decoderbufs *)d;
    struct sent_change *c = &db->message.change;

    db->tables = tables_new(0);
    buf_init(&db->text, 1024);
    c->old_row.columns = xcalloc(RELATION_MAX_COLUMNS, sizeof *c->old_row.columns);
    c->new_row.columns = xcalloc(RELATION_MAX_COLUMNS, sizeof *c->new_row.columns);
    db->old_tuple.row = &c->old_row;
    db->new_tuple.row = &c->new_row;
    db->old_tuple.text_at = xcalloc(RELATION_MAX_COLUMNS, sizeof *db->old_tuple.text_at);
    db->new_tuple.text_at = xcalloc(RELATION_MAX_COLUMNS, sizeof *db->new_tuple.text_at);
}

static void release(struct decoder *d)
{
    struct decoderbufs *db = (struct decoderbufs *)d;

    tables_free(db->tables);
    buf_release(&db->text);
    free(db->message.change.old_row.columns);
    free(db->message.change.new_row.columns);
    free(db->old_tuple.text_at);
    free(db->new_tuple.text_at);
}

/* The server may be another one now, or have another version of the plugin. */
static void restart(struct decoder *d)
{
    struct decoderbufs *db = (struct decoderbufs *)d;

    db->owed = NOTHING;
    db->generation = UNKNOWN;
    db->marks_unchanged = false;
    db->idle = 0;
    db->ended = 0;
}

/* Whether a loss has not been warned of yet. */
static bool loses(struct decoderbufs *db, enum loss loss)
{
    bool first = !(db->warned & loss);

    db->warned |= loss;
    return first && !db->base.silent;
}

/* ---- names and texts ---- */

/* Text of the database, in its encoding, to UTF-8. */
static const char *convert(struct decoderbufs *db, const char *text, size_t len,
                           struct slice *converted)
{
    char *start = db->payload + (text - db->payload);

    if (db->base.charset && !charset_convert(db->base.charset, &start, &len)) {
        db->at = text + len;
        return "this is no text in the encoding of the database";
    }
    *converted = (struct slice){.data = start, .len = (uint32_t)len};
    return NULL;
}

/*
 * The quotes around an identifier, of which *len bytes are there to be looked at, are taken off in
 * place; *name is what is left and *len what it took.  False when that is no quoted identifier.
 */
static bool unquote(char *text, size_t *len, struct slice *name)
{
    char *to = text;
    size_t i = 1;

    for (; i < *len && (text[i] != '"' || (i + 1 < *len && text[i + 1] == '"')); i++) {
        i += text[i] == '"';
        *to++ = text[i];
    }
    if (i >= *len)
        return false;
    *len = i + 1;
    *name = (struct slice){.data = text, .len = (uint32_t)(to - text)};
    return true;
}

/* An identifier, quoted or not, up to a dot or *len; makes *len what it takes. */
static const char *decode_identifier(struct decoderbufs *db, const char *text, size_t *len,
                                     struct slice *name)
{
    const char *dot;

    if (*len > 0 && *text == '"') {
        if (!unquote(db->payload + (text - db->payload), len, name))
            return "a quote is missing";
    } else {
        dot = memchr(text, '.', *len);
        *len = dot ? (size_t)(dot - text) : *len;
        *name = (struct slice){.data = text, .len = (uint32_t)*len};
    }
    return name->len > 0 ? convert(db, name->data, name->len, name) : "a name is empty";
}

/* Schema and table, with a dot between. */
static const char *decode_table(struct decoderbufs *db, const struct protobuf_field *f)
{
    size_t schema_len = f->len, table_len;
    const char *wrong;

    if ((wrong = decode_identifier(db, f->bytes, &schema_len, &db->message.change.schema)))
        return wrong;
    if (schema_len == f->len || f->bytes[schema_len] != '.')
        return "the name of the table has no schema";
    table_len = f->len - schema_len - 1;
    wrong = decode_identifier(db, f->bytes + schema_len + 1, &table_len,
                              &db->message.change.table);
    if (!wrong && schema_len + 1 + table_len != f->len)
        wrong = "something follows the name of the table";
    db->message.has_table = true;
    return wrong;
}

static const char *decode_column_name(struct decoderbufs *db, const struct protobuf_field *f,
                                      struct slice *name)
{
    size_t len = f->len;
    const char *wrong = decode_identifier(db, f->bytes, &len, name);

    return !wrong && len != f->len ? "something follows the name of a column" : wrong;
}

/* ---- values ---- */

/* Text that the message holds stays where it is; what has to be written goes to db->text. */
static const char *decode_value(struct decoderbufs *db, const struct protobuf_field *f,
                                struct sent_column *column, size_t *text_at)
{
    size_t start = db->text.len;
    struct slice text;
    const char *wrong;

    *text_at = IN_MESSAGE;
    column->value = (struct value){.kind = VALUE_TEXT};
    if (f->number == DATUM_MISSING) {
        column->value.kind = VALUE_UNCHANGED;
        db->marks_unchanged = true;
    } else if (f->number == 0) {
        column->value.kind = VALUE_NULL;
    } else if (f->number == DATUM_STRING ||
               (f->number == DATUM_BYTES && column->type_oid != BYTEA_OID)) {
        if ((wrong = convert(db, f->bytes, f->len, &text)))
            return wrong;
        column->value.data = text.data;
        column->value.len = text.len;
    } else {
        if (!decoderbufs_add_value(&db->text, f, column->type_oid))
            return "this is no value of the column's type";
        *text_at = start;
        column->value.len = (uint32_t)(db->text.len - start);
    }
    return NULL;
}

/* ---- messages within the message ---- */

/* What a field of a known number has to come as. */
static bool is_datum_wire(const struct protobuf_field *f)
{
    switch (f->number) {
    case DATUM_COLUMN_TYPE:
    case DATUM_INT32:
    case DATUM_INT64:
    case DATUM_BOOL:
    case DATUM_MISSING:
        return f->wire == PROTOBUF_VARINT;
    case DATUM_FLOAT:
        return f->wire == PROTOBUF_FIXED32;
    case DATUM_DOUBLE:
        return f->wire == PROTOBUF_FIXED64;
    default:
        return f->wire == PROTOBUF_BYTES;
    }
}

/* Takes the fields of a DatumMessage apart; the value is decoded when its type is known. */
static const char *read_datum(struct decoderbufs *db, struct reader *r, struct sent_column *column,
                              struct protobuf_field *value)
{
    struct protobuf_field f;
    const char *wrong;

    while (r->p < r->end) {
        db->at = r->p;
        if ((wrong = protobuf_next(r, &f)))
            return wrong;
        if (f.number > DATUM_MISSING)
            continue;
        if (!is_datum_wire(&f))
            return "a field of a column has the wrong type";
        if (f.number >= DATUM_INT32) {
            *value = f;
        } else if (f.number == DATUM_COLUMN_NAME) {
            if ((wrong = decode_column_name(db, &f, &column->name)))
                return wrong;
        } else {
            if (f.scalar > UINT32_MAX)
                return "the OID of a type is out of range";
            column->type_oid = (uint32_t)f.scalar;
        }
    }
    return NULL;
}

/* Of the new row all columns are kept, of the old one those that have a value. */
static const char *decode_datum(struct decoderbufs *db, const struct protobuf_field *datum,
                                struct tuple *tuple)
{
    struct reader r = {.p = datum->bytes, .end = datum->bytes + datum->len};
    struct protobuf_field value = {0};
    struct sent_column *column;
    const char *wrong;

    if (tuple->row->n >= RELATION_MAX_COLUMNS)
        return "too many columns";
    column = &tuple->row->columns[tuple->row->n];
    column->name.len = 0;
    column->type_oid = 0;
    if ((wrong = read_datum(db, &r, column, &value)))
        return wrong;
    db->at = datum->bytes;
    if (column->name.len == 0)
        return "a column without a name";
    if ((wrong = decode_value(db, &value, column, &tuple->text_at[tuple->row->n])))
        return wrong;
    if (tuple == &db->new_tuple || column->value.kind == VALUE_TEXT)
        tuple->row->n++;
    return NULL;
}

/* Belongs to the column of the same place, which may not be there yet. */
static const char *decode_typeinfo(struct decoderbufs *db, const struct protobuf_field *info)
{
    struct reader r = {.p = info->bytes, .end = info->bytes + info->len};
    struct sent_column *column;
    struct protobuf_field f;
    const char *wrong;

    if (db->message.ntypes >= RELATION_MAX_COLUMNS)
        return "too many columns";
    column = &db->message.change.new_row.columns[db->message.ntypes];
    column->type.len = 0;
    column->nullable = NULLABLE_NOT_SAID;
    while (r.p < r.end) {
        db->at = r.p;
        if ((wrong = protobuf_next(&r, &f)))
            return wrong;
        if (f.number == TYPEINFO_MODIFIER && f.wire == PROTOBUF_BYTES) {
            if ((wrong = convert(db, f.bytes, f.len, &column->type)))
                return wrong;
        } else if (f.number == TYPEINFO_VALUE_OPTIONAL && f.wire == PROTOBUF_VARINT) {
            column->nullable = f.scalar ? NULLABLE_YES : NULLABLE_NO;
        }
    }
    db->at = info->bytes;
    if (column->type.len == 0 || column->nullable == NULLABLE_NOT_SAID)
        return "the description of a type lacks a part";
    db->message.ntypes++;
    return NULL;
}

/* ---- the message ---- */

static const char *decode_number(struct row_message *m, const struct protobuf_field *f)
{
    if (f->wire != PROTOBUF_VARINT)
        return "a field has the wrong type";
    if (f->number == ROW_COMMIT_TIME) {
        m->commit_time = (usec_t)f->scalar;
    } else if (f->number == ROW_TRANSACTION_ID) {
        if (f->scalar > UINT32_MAX)
            return "the transaction's identifier is out of range";
        m->xid = (uint32_t)f->scalar;
        m->has_xid = true;
    } else {
        if (f->scalar > ROW_COMMIT)
            return "unknown operation";
        m->op = (unsigned)f->scalar;
        m->has_op = true;
    }
    return NULL;
}

static const char *decode_field(struct decoderbufs *db, const struct protobuf_field *f)
{
    if (f->number > ROW_NEW_TYPEINFO)
        return NULL;
    if (f->number < ROW_TABLE || f->number == ROW_OP)
        return decode_number(&db->message, f);
    if (f->wire != PROTOBUF_BYTES)
        return "a field has the wrong type";
    switch (f->number) {
    case ROW_TABLE:
        return decode_table(db, f);
    case ROW_NEW_TUPLE:
        return decode_datum(db, f, &db->new_tuple);
    case ROW_OLD_TUPLE:
        db->message.change.old_sent = true;
        return decode_datum(db, f, &db->old_tuple);
    default:
        return decode_typeinfo(db, f);
    }
}

/* What the message must have, and what its parts have to have in common. */
static const char *check_message(const struct row_message *m)
{
    if (!m->has_op)
        return "the operation is missing";
    if (!m->has_xid)
        return "the transaction's identifier is missing";
    if (m->op >= ROW_BEGIN)
        return NULL;
    if (!m->has_table)
        return "the name of the table is missing";
    if (m->ntypes > 0 && m->ntypes != m->change.new_row.n)
        return "there are not as many types as columns";
    if (m->op == ROW_UPDATE && m->change.old_sent && m->change.new_row.n == 0)
        return "an update without the new row";
    return NULL;
}

static const char *decode_message(struct decoderbufs *db, size_t len)
{
    struct reader r = {.p = db->payload, .end = db->payload + len};
    struct row_message *m = &db->message;
    const char *wrong;

    m->has_xid = m->has_table = m->has_op = false;
    m->commit_time = 0;
    m->ntypes = 0;
    m->change.old_row.n = m->change.new_row.n = 0;
    m->change.old_sent = false;
    db->text.len = 0;
    if (len > INT32_MAX)
        return "the message is too long";
    charset_begin(db->base.charset, len);
    while (r.p < r.end) {
        struct protobuf_field f;

        db->at = r.p;
        if ((wrong = protobuf_next(&r, &f)) || (wrong = decode_field(db, &f)))
            return wrong;
    }
    db->at = r.p;
    return check_message(m);
}

/* ---- rows ---- */

static void locate_texts(struct decoderbufs *db, const struct tuple *tuple)
{
    for (uint32_t i = 0; i < tuple->row->n; i++)
        if (tuple->text_at[i] != IN_MESSAGE)
            tuple->row->columns[i].value.data = db->text.data + tuple->text_at[i];
}

static void forget_types(struct sent_row *row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        row->columns[i].type = (struct slice){"", 0};
        row->columns[i].nullable = NULLABLE_NOT_SAID;
    }
}

static bool is_never_out_of_line(uint32_t type_oid)
{
    switch (type_oid) {
    case BOOL_OID:
    case CHAR_OID:
    case NAME_OID:
    case INT8_OID:
    case INT2_OID:
    case INT4_OID:
    case OID_OID:
    case POINT_OID:
    case FLOAT4_OID:
    case FLOAT8_OID:
    case MONEY_OID:
    case DATE_OID:
    case TIME_OID:
    case TIMESTAMP_OID:
    case TIMESTAMPTZ_OID:
    case INTERVAL_OID:
    case TIMETZ_OID:
    case UUID_OID:
        return true;
    default:
        return false;
    }
}

#define SLICE_FMT "%.*s"
#define SLICE_ARGS(slice) (int)(slice).len, (slice).data

/* What has no value in an update by a version that may not mark unchanged ones. */
static void doubt_null(struct decoderbufs *db, struct sent_column *column)
{
    const struct sent_change *c = &db->message.change;

    if (db->marks_unchanged || is_never_out_of_line(column->type_oid))
        return;
    if (column->nullable == NULLABLE_NO) {
        column->value.kind = VALUE_UNCHANGED;
    } else if (loses(db, LOSS_UNCHANGED)) {
        log_warning("nulls in updates may be unchanged values, as in column \"" SLICE_FMT
                    "\" of table \"" SLICE_FMT "." SLICE_FMT "\"",
                    SLICE_ARGS(column->name), SLICE_ARGS(c->schema), SLICE_ARGS(c->table));
        log_detail("This version of decoderbufs may send values that are stored out of line and "
                   "were not changed as nulls.");
    }
}

static void doubt_nulls(struct decoderbufs *db, struct sent_row *row)
{
    for (uint32_t i = 0; i < row->n; i++)
        if (row->columns[i].value.kind == VALUE_NULL)
            doubt_null(db, &row->columns[i]);
}

static void warn_of_column(struct decoderbufs *db, enum loss loss, const struct sent_column *column,
                           const char *what)
{
    const struct sent_change *c = &db->message.change;

    if (loses(db, loss))
        log_warning("decoderbufs gives %s, as in column \"" SLICE_FMT "\" of table \"" SLICE_FMT
                    "." SLICE_FMT "\"",
                    what, SLICE_ARGS(column->name), SLICE_ARGS(c->schema), SLICE_ARGS(c->table));
}

/* Those of these types that have not come as text. */
static void warn_of_losses(struct decoderbufs *db, const struct tuple *tuple)
{
    for (uint32_t i = 0; i < tuple->row->n; i++) {
        const struct sent_column *column = &tuple->row->columns[i];

        if (tuple->text_at[i] == IN_MESSAGE || column->value.kind != VALUE_TEXT)
            continue;
        if (column->type_oid == TIMETZ_OID)
            warn_of_column(db, LOSS_ZONE, column, "time with time zone in GMT, without its zone");
        else if (column->type_oid == INTERVAL_OID)
            warn_of_column(db, LOSS_INTERVAL, column, "intervals without their days and months");
    }
}

/* An update without a row is all there is where the table has no replica identity. */
static bool has_row(struct decoderbufs *db, bool captured)
{
    const struct sent_change *c = &db->message.change;

    if (c->op != OP_UPDATE || c->new_row.n > 0)
        return true;
    if (captured && loses(db, LOSS_UPDATE)) {
        log_warning("decoderbufs has not sent an update of table \"" SLICE_FMT "." SLICE_FMT "\"",
                    SLICE_ARGS(c->schema), SLICE_ARGS(c->table));
        log_detail("It does not send what has become of a row of a table without a primary key "
                   "or other replica identity.");
        log_hint("Give the table one: ALTER TABLE ... REPLICA IDENTITY.");
    }
    return false;
}

static enum outcome give_change(struct decoderbufs *db, struct event *e)
{
    static const enum operation operations[] = {
        [ROW_INSERT] = OP_INSERT, [ROW_UPDATE] = OP_UPDATE, [ROW_DELETE] = OP_DELETE,
    };
    struct sent_change *c = &db->message.change;
    bool captured;
    enum outcome outcome;

    db->base.transaction.changed = true;
    c->op = operations[db->message.op];
    outcome = tables_captured(db->tables, &db->base, c, &captured);
    if (outcome != OUTCOME_OK || !has_row(db, captured))
        return outcome;
    locate_texts(db, &db->old_tuple);
    locate_texts(db, &db->new_tuple);
    forget_types(&c->old_row);
    if (db->message.ntypes == 0)
        forget_types(&c->new_row);
    if (c->op == OP_UPDATE && db->generation == ROWS_ALONE)
        doubt_nulls(db, &c->new_row);
    if (captured) {
        warn_of_losses(db, &db->old_tuple);
        warn_of_losses(db, &db->new_tuple);
    }
    e->transaction = &db->base.transaction;
    return tables_change(db->tables, &db->base, c, e);
}

/* ---- transactions ---- */

static void give_begin(struct decoderbufs *db, struct event *e)
{
    db->ended = 0;
    db->base.transaction = (struct transaction){
        .xid = db->message.xid,
        .commit_time = db->message.commit_time,
    };
    decoder_begin(&db->base, e);
    tables_transaction_begins(db->tables);
}

static void give_end(struct decoderbufs *db, lsn_t end_lsn, struct event *e)
{
    db->base.transaction.end_lsn = end_lsn;
    tables_transaction_ends(db->tables, db->base.transaction.xid,
                            db->base.transaction.changed);
    decoder_end(&db->base, e, EVENT_COMMIT);
}

/* Whether a message may come where it does, which for the first one tells the generation. */
static const char *check_order(struct decoderbufs *db)
{
    const struct row_message *m = &db->message;
    bool open = db->base.in_transaction;

    if (db->generation == UNKNOWN)
        db->generation = m->op == ROW_BEGIN || m->op == ROW_COMMIT ? ENCLOSED : ROWS_ALONE;
    if (db->generation == ROWS_ALONE && m->op >= ROW_BEGIN)
        return "a transaction is enclosed where others were not";
    if (db->generation == ROWS_ALONE && !open && db->ended && m->xid == db->ended)
        return "a transaction goes on that had come to its end";
    if (db->generation == ROWS_ALONE)
        return NULL;
    if (m->op == ROW_BEGIN)
        return open ? "a transaction begins within another" : NULL;
    if (!open)
        return m->op == ROW_COMMIT ? "a transaction ends that has not begun"
                                   : "a change outside of a transaction";
    return m->xid != db->base.transaction.xid ? "a message of another transaction" : NULL;
}

/* A row that no BEGIN has announced. */
static enum outcome take_row_alone(struct decoderbufs *db, struct event *e)
{
    lsn_t idle = db->idle;

    db->idle = 0;
    if (db->base.in_transaction && db->base.transaction.xid == db->message.xid)
        return give_change(db, e);
    if (db->base.in_transaction) {
        db->owed = BEGIN_AND_CHANGE;
        give_end(db, idle, e);
    } else {
        db->owed = CHANGE;
        give_begin(db, e);
    }
    return OUTCOME_OK;
}

static enum outcome malformed(const struct decoderbufs *db, lsn_t lsn, const char *what)
{
    log_error("could not decode the decoderbufs message at " LSN_FMT ": %s, at byte %zu",
              LSN_ARGS(lsn), what, (size_t)(db->at - db->payload));
    return OUTCOME_FAILED;
}

static enum outcome take(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e)
{
    struct decoderbufs *db = (struct decoderbufs *)d;
    const char *wrong;

    db->payload = payload;
    db->at = payload;
    db->owed = NOTHING;
    db->message.change.lsn = lsn;
    if ((wrong = decode_message(db, len)) || (wrong = check_order(db)))
        return malformed(db, lsn, wrong);
    d->in_change = d->in_transaction && db->message.op < ROW_BEGIN;
    if (db->message.op == ROW_BEGIN)
        give_begin(db, e);
    else if (db->message.op == ROW_COMMIT)
        give_end(db, lsn, e);
    else if (db->generation == ROWS_ALONE)
        return take_row_alone(db, e);
    else
        return give_change(db, e);
    return OUTCOME_OK;
}

/* The caller may have left the transaction that has begun meanwhile. */
static enum outcome next(struct decoder *d, struct event *e)
{
    struct decoderbufs *db = (struct decoderbufs *)d;
    enum owed owed = db->owed;

    db->owed = NOTHING;
    e->lsn = db->message.change.lsn;
    if (owed == BEGIN_AND_CHANGE) {
        db->owed = CHANGE;
        give_begin(db, e);
    } else if (owed == CHANGE && d->in_transaction) {
        d->in_change = true;
        return give_change(db, e);
    }
    return OUTCOME_OK;
}

/* See the header: the second position behind a row proves that its transaction has been sent. */
static void keepalive(struct decoder *d, lsn_t wal_end, struct event *e)
{
    struct decoderbufs *db = (struct decoderbufs *)d;

    if (db->generation != ROWS_ALONE || !d->in_transaction)
        return;
    if (!db->idle) {
        db->idle = wal_end;
    } else if (wal_end > db->idle) {
        db->idle = 0;
        db->ended = d->transaction.xid;
        e->lsn = 0;
        give_end(db, wal_end, e);
    }
}

const struct decoder_kind decoder_decoderbufs = {
    .name = "decoderbufs",
    .unconverted = true,
    .size = sizeof(struct decoderbufs),
    .init = init,
    .release = release,
    .restart = restart,
    .take = take,
    .next = next,
    .keepalive = keepalive,
};
