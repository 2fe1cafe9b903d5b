#include "decode/pgoutput.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/reader.h"

/* ---- what is wrong with a message ---- */

static bool malformed(const struct event *e, char tag, const char *what)
{
    log_error("could not decode the pgoutput message at " LSN_FMT ": %s", LSN_ARGS(e->lsn), what);
    log_detail("The message is of type 0x%02x.", (unsigned char)tag);
    return false;
}

/* ---- transactions ---- */

static usec_t read_time(struct reader *r)
{
    return (usec_t)(read_u64(r) + (uint64_t)POSTGRES_EPOCH_USEC);
}

/* Int64 LSN of the commit record, Int64 commit time, Int32 xid */
static bool decode_begin(struct decoder *d, struct reader *r, struct event *e)
{
    if (d->in_transaction)
        return malformed(e, 'B', "a transaction begins within another");
    d->transaction = (struct transaction){0};
    d->transaction.commit_lsn = read_u64(r);
    d->transaction.commit_time = read_time(r);
    d->transaction.xid = read_u32(r);
    decoder_begin(d, e);
    return true;
}

/* Int8 flags (0), Int64 LSN of the commit record, Int64 LSN of its end, Int64 commit time */
static bool decode_commit(struct decoder *d, struct reader *r, struct event *e)
{
    uint8_t flags = read_u8(r);
    lsn_t commit_lsn = read_u64(r);

    d->transaction.end_lsn = read_u64(r);
    read_time(r);
    if (!d->in_transaction || d->transaction.gid)
        return malformed(e, 'C', "a transaction ends that has not begun");
    if (flags != 0)
        return malformed(e, 'C', "unknown flags");
    if (commit_lsn != d->transaction.commit_lsn || d->transaction.end_lsn <= commit_lsn)
        return malformed(e, 'C', "the LSNs of Begin and Commit do not agree");
    decoder_end(d, e, EVENT_COMMIT);
    return true;
}

static bool read_gid(struct decoder *d, struct reader *r)
{
    const char *gid = read_string(r);

    return decoder_keep_gid(d, gid, strlen(gid));
}

/* Int64 LSN of the prepare record, Int64 LSN of its end, Int64 time, Int32 xid, String gid */
static bool decode_begin_prepare(struct decoder *d, struct reader *r, struct event *e)
{
    if (d->in_transaction)
        return malformed(e, 'b', "a transaction begins within another");
    d->transaction = (struct transaction){.prepared = true};
    read_u64(r); /* of the prepare record: what becomes of it is written later */
    d->transaction.end_lsn = read_u64(r);
    d->transaction.commit_time = read_time(r);
    d->transaction.xid = read_u32(r);
    if (!read_gid(d, r))
        return malformed(e, 'b', "the transaction's identifier is too long");
    decoder_begin(d, e);
    return true;
}

/* Int8 flags, then as Begin Prepare */
static bool decode_prepare(struct decoder *d, struct reader *r, struct event *e)
{
    uint8_t flags = read_u8(r);
    lsn_t lsn = read_u64(r);
    lsn_t end_lsn = read_u64(r);
    uint32_t xid;

    read_time(r);
    xid = read_u32(r);
    if (!d->in_transaction || !d->transaction.gid)
        return malformed(e, 'P', "a transaction is prepared that has not begun");
    if (flags != 0)
        return malformed(e, 'P', "unknown flags");
    if (end_lsn != d->transaction.end_lsn || end_lsn <= lsn || xid != d->transaction.xid ||
        strcmp(read_string(r), d->gid) != 0)
        return malformed(e, 'P', "Begin Prepare and Prepare do not agree");
    decoder_end(d, e, EVENT_PREPARE);
    return true;
}

/* Int8 flags, Int64 LSN of the commit record, Int64 of its end, Int64 time, Int32 xid, gid */
static bool decode_commit_prepared(struct decoder *d, struct reader *r, struct event *e)
{
    uint8_t flags = read_u8(r);

    if (d->in_transaction || flags != 0)
        return malformed(e, 'K', "Commit Prepared within a transaction, or with unknown flags");
    d->transaction = (struct transaction){.previous_commit = d->last_commit};
    d->transaction.commit_lsn = read_u64(r);
    d->transaction.end_lsn = read_u64(r);
    d->transaction.commit_time = read_time(r);
    d->transaction.xid = read_u32(r);
    if (!read_gid(d, r))
        return malformed(e, 'K', "the transaction's identifier is too long");
    decoder_end(d, e, EVENT_COMMIT_PREPARED);
    return true;
}

/* Int8 flags, Int64 prepare end, Int64 rollback end, Int64 prepare and rollback time, xid, gid */
static bool decode_rollback_prepared(struct decoder *d, struct reader *r, struct event *e)
{
    uint8_t flags = read_u8(r);

    if (d->in_transaction || flags != 0)
        return malformed(e, 'r', "Rollback Prepared within a transaction, or with unknown flags");
    d->transaction = (struct transaction){.previous_commit = d->last_commit};
    read_u64(r);
    d->transaction.end_lsn = read_u64(r);
    read_time(r);
    d->transaction.commit_time = read_time(r);
    d->transaction.xid = read_u32(r);
    if (!read_gid(d, r))
        return malformed(e, 'r', "the transaction's identifier is too long");
    decoder_end(d, e, EVENT_ROLLBACK_PREPARED);
    return true;
}

/* ---- relations ---- */

/* Int8 flags (1 = part of the identity), String name, Int32 type, Int32 type modifier */
static void read_column(struct reader *r, struct column *column)
{
    column->identity = (read_u8(r) & 1) != 0;
    column->key = column->identity;
    column->name = xstrdup(read_string(r));
    column->type_oid = read_u32(r);
    column->typmod = (int32_t)read_u32(r);
}

/* Int32 oid, String schema ("" = pg_catalog), String name, Int8 identity, Int16 n, n columns */
static bool decode_relation(struct decoder *d, struct reader *r, struct event *e)
{
    struct relation relation = {.oid = read_u32(r)};
    const char *schema = read_string(r);
    const char *name = read_string(r);
    uint16_t n;
    bool changed;

    relation.identity = (char)read_u8(r);
    n = read_u16(r);
    if (r->failed || n > RELATION_MAX_COLUMNS || !strchr("dnfi", relation.identity) ||
        !relation.identity)
        return malformed(e, 'R', "this is no description of a relation");
    relation.ncolumns = n;
    relation.columns = xcalloc(n, sizeof(*relation.columns));
    relation.schema = xstrdup(*schema ? schema : "pg_catalog");
    relation.name = xstrdup(name);
    for (int i = 0; i < n; i++)
        read_column(r, &relation.columns[i]);
    if (r->failed) {
        relation_clear(&relation);
        return malformed(e, 'R', "the message is too short");
    }
    e->relation = relations_put(&d->relations, &relation, &changed);
    e->kind = e->relation->described ? EVENT_NONE : EVENT_RELATION;
    return true;
}

/* ---- rows ---- */

/*
 * TupleData: Int16 n, then per column a kind: n(ull), u(nchanged), or t(ext) / b(inary) with
 * Int32 length and that many bytes.
 */
static const char *read_tuple(struct reader *r, const struct relation *relation, struct value *row)
{
    static const char too_short[] = "the message is too short";
    uint16_t n = read_u16(r);
    const char *p = r->p;

    if (r->failed || n != relation->ncolumns)
        return "the row does not have the relation's columns";
    for (struct value *v = row; v < row + n; v++) {
        uint32_t len;
        char kind;

        if (p == r->end)
            return too_short;
        kind = *p++;
        if (kind == 't' || kind == 'b') {
            if (r->end - p < (ptrdiff_t)sizeof len)
                return too_short;
            memcpy(&len, p, sizeof len);
            len = be32toh(len);
            p += sizeof len;
            if (len > (size_t)(r->end - p))
                return "a value is longer than the message";
            *v = (struct value){p, len, kind == 't' ? VALUE_TEXT : VALUE_BINARY};
            p += len;
        } else if (kind == 'n' || kind == 'u') {
            *v = (struct value){NULL, 0, kind == 'n' ? VALUE_NULL : VALUE_UNCHANGED};
        } else {
            return "unknown kind of value";
        }
    }
    r->p = p;
    return NULL;
}

/* In a K tuple, columns outside of the identity come as nulls but say nothing. */
static void keep_identity_only(const struct relation *relation, struct value *row)
{
    for (int i = 0; i < relation->ncolumns; i++)
        if (!relation->columns[i].identity)
            row[i].kind = VALUE_ABSENT;
}

/* A tuple behind its tag: K(ey), O(ld) or N(ew). */
static const char *read_row(struct decoder *d, struct reader *r, uint8_t tag, struct event *e)
{
    struct change *c = &e->change;
    const char *wrong;

    if (tag == 'N') {
        wrong = read_tuple(r, c->relation, d->new_row);
        c->new_row = d->new_row;
        return wrong;
    }
    wrong = read_tuple(r, c->relation, d->old_row);
    c->old_row = d->old_row;
    c->old_kind = tag == 'K' ? OLD_KEY : OLD_FULL;
    if (!wrong && tag == 'K')
        keep_identity_only(c->relation, d->old_row);
    return wrong;
}

/*
 * Int32 relation, then for Insert N, for Delete K or O, for Update maybe K or O, then N.
 */
static bool decode_change(struct decoder *d, struct reader *r, struct event *e, char op)
{
    uint32_t oid = read_u32(r);
    uint8_t tag = read_u8(r);
    const char *wrong = NULL;

    e->kind = EVENT_CHANGE;
    e->transaction = &d->transaction;
    e->relation = relations_find(&d->relations, oid);
    e->change = (struct change){
        .op = op == 'I' ? OP_INSERT : op == 'U' ? OP_UPDATE : OP_DELETE,
        .relation = e->relation,
        .lsn = e->lsn,
    };
    if (!d->in_transaction)
        return malformed(e, op, "a change outside of a transaction");
    d->transaction.changed = true;
    if (!e->change.relation)
        return malformed(e, op, "a change of a relation that has not been described");
    if (op != 'I' && (tag == 'K' || tag == 'O')) {
        wrong = read_row(d, r, tag, e);
        tag = op == 'D' ? 'D' : read_u8(r);
    } else if (op == 'D') {
        wrong = "a deletion without the old row";
    }
    if (!wrong && op != 'D')
        wrong = tag == 'N' ? read_row(d, r, tag, e) : "a change without the new row";
    if (wrong)
        return malformed(e, op, wrong);
    if (e->change.old_row && e->change.new_row)
        decoder_fill_unchanged(e->change.relation, d->old_row, d->new_row);
    return true;
}

/* Int32 n, Int8 flags (1 CASCADE, 2 RESTART IDENTITY), n times Int32 relation */
static bool decode_truncate(struct decoder *d, struct reader *r, struct event *e)
{
    uint32_t n = read_u32(r);

    read_u8(r);
    if (!d->in_transaction)
        return malformed(e, 'T', "a change outside of a transaction");
    d->transaction.changed = true;
    if (n > (size_t)(r->end - r->p) / 4)
        return malformed(e, 'T', "the message is too short");
    decoder_reserve_truncated(d, n);
    for (uint32_t i = 0; i < n; i++) {
        d->truncated[i] = relations_find(&d->relations, read_u32(r));
        if (!d->truncated[i])
            return malformed(e, 'T', "a change of a relation that has not been described");
    }
    e->kind = EVENT_TRUNCATE;
    e->transaction = &d->transaction;
    e->relations = d->truncated;
    e->ntruncated = n;
    return true;
}

/* Int8 flags (1 = transactional), Int64 LSN, String prefix, Int32 length, content */
static bool decode_message(struct decoder *d, struct reader *r, struct event *e)
{
    struct message *m = &e->message;

    *m = (struct message){0};
    m->transactional = (read_u8(r) & 1) != 0;
    m->lsn = read_u64(r);
    m->prefix = read_string(r);
    m->len = read_u32(r);
    m->content = read_bytes(r, m->len);
    if (!m->content)
        return malformed(e, 'M', "the content is longer than the message");
    if (m->transactional && !d->in_transaction)
        return malformed(e, 'M', "a transactional message outside of a transaction");
    e->kind = EVENT_MESSAGE;
    e->transaction = m->transactional ? &d->transaction : NULL;
    d->transaction.changed |= m->transactional;
    return true;
}

/* Type (Int32 oid, String schema, String name) and Origin (Int64 LSN, String name) */
static void skip_type(struct reader *r)
{
    read_u32(r);
    read_string(r);
    read_string(r);
}

static void skip_origin(struct reader *r)
{
    read_u64(r);
    read_string(r);
}

static bool is_change(char tag)
{
    return tag == 'I' || tag == 'U' || tag == 'D' || tag == 'T' || tag == 'M';
}

static bool dispatch(struct decoder *d, struct reader *r, char tag, struct event *e)
{
    switch (tag) {
    case 'B':
        return decode_begin(d, r, e);
    case 'C':
        return decode_commit(d, r, e);
    case 'I':
    case 'U':
    case 'D':
        return decode_change(d, r, e, tag);
    case 'R':
        return decode_relation(d, r, e);
    case 'T':
        return decode_truncate(d, r, e);
    case 'M':
        return decode_message(d, r, e);
    case 'Y':
        skip_type(r);
        return true;
    case 'O':
        skip_origin(r);
        return true;
    case 'b':
        return decode_begin_prepare(d, r, e);
    case 'P':
        return decode_prepare(d, r, e);
    case 'K':
        return decode_commit_prepared(d, r, e);
    case 'r':
        return decode_rollback_prepared(d, r, e);
    default:
        return malformed(e, tag, "unknown type of message");
    }
}

static bool decode(struct decoder *d, const char *payload, size_t len, struct event *e)
{
    struct reader r = {.p = payload, .end = payload + len};
    char tag = (char)read_u8(&r);

    if (r.failed)
        return malformed(e, tag, "the message is empty");
    d->in_change = d->in_transaction && is_change(tag);
    if (!dispatch(d, &r, tag, e))
        return false;
    if (r.failed)
        return malformed(e, tag, "the message is too short");
    if (r.p != r.end)
        return malformed(e, tag, "the message is too long");
    return true;
}

static enum outcome take(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e)
{
    (void)lsn;
    return decode(d, payload, len, e) ? OUTCOME_OK : OUTCOME_FAILED;
}

const struct decoder_kind decoder_pgoutput = {
    .name = "pgoutput",
    .size = sizeof(struct decoder),
    .take = take,
};
