#include "capture/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/visibility.h"

void pipeline_init(struct pipeline *p, const struct options *o, struct catalog *catalog,
                   struct delivery *delivery, struct bounds *bounds, struct decoder *decoder,
                   const char *database)
{
    *p = (struct pipeline){
        .o = o,
        .catalog = catalog,
        .delivery = delivery,
        .bounds = bounds,
        .decoder = decoder,
        .encoder = encoder_new(o, database),
    };
    placing_init(&p->placing, o, p->encoder, delivery);
}

void pipeline_release(struct pipeline *p)
{
    placing_release(&p->placing);
    encoder_free(p->encoder);
    decoder_free(p->decoder);
    free(p->stream_told.versions);
    free(p->rows_told.versions);
    *p = (struct pipeline){0};
}

void pipeline_interrupt(struct pipeline *p)
{
    if (p->decoder->in_transaction || p->held) {
        p->held = false;
        p->cut = (struct unfinished){
            .open = true,
            .xid = p->decoder->transaction.xid,
            .commit_lsn = p->decoder->transaction.commit_lsn,
            .seq = p->seq > p->skip_to ? p->seq : p->skip_to,
            .announced = p->announced,
        };
    }
    p->more = false;
    p->repeats |= p->unmarked;
    decoder_restart(p->decoder);
}

/* Between two transactions, though maybe within a message. */
static bool is_between(const struct pipeline *p)
{
    return !p->reading && !p->decoder->in_transaction && !p->held && !p->cut.open;
}

bool pipeline_at_boundary(const struct pipeline *p)
{
    return is_between(p) && !p->more;
}

/* ---- what cannot be given ---- */

/* Behind decoding: the next message can be read if this one was no more than a change. */
static bool leave_out_message(struct pipeline *p, lsn_t lsn, enum outcome *outcome)
{
    struct dead_letters *dead = &p->delivery->dead;
    struct transaction *t = &p->decoder->transaction;

    if (!dead->path || !dead_letters_heed(dead, *outcome))
        return false;
    if (!p->decoder->in_change) {
        dead_letters_give_up(dead);
        return false;
    }
    p->more = false;
    t->changed = true;
    *outcome = OUTCOME_OK;
    if (++p->seq > p->skip_to)
        *outcome = dead_letters_add(dead, &(struct dead_letter){.lsn = lsn,
                                                                .commit_lsn = t->commit_lsn,
                                                                .xid = t->xid,
                                                                .seq = p->seq});
    return true;
}

/* ---- records ---- */

/* Where a record goes that is of no table, and carries that LSN. */
static enum outcome begin_other(struct pipeline *p, lsn_t lsn, struct output **out)
{
    delivery_show(p->delivery, lsn);
    return delivery_other_output(p->delivery, encoder_server(p->encoder), lsn, out);
}

static enum outcome tell_transaction(struct pipeline *p, const struct transaction *t,
                                     enum transaction_mark how)
{
    struct output *out;
    enum outcome outcome = begin_other(p, t->commit_lsn, &out);

    if (outcome == OUTCOME_OK)
        outcome = encoder_transaction(p->encoder, t, how, output_buffer(out));
    return outcome == OUTCOME_OK ? delivery_added(p->delivery, out, 1) : outcome;
}

static enum outcome announce(struct pipeline *p, const struct transaction *t)
{
    if (p->announced)
        return OUTCOME_OK;
    p->announced = true;
    if (!p->o->transactions)
        return OUTCOME_OK;
    return tell_transaction(p, t, MARK_BEGIN);
}

/* The version of the relation that was told of last; 0 = none. */
static uint32_t *told_version(struct told *told, const struct relation *r)
{
    if (r->index >= told->n) {
        uint32_t n = (r->index + 1) * 2;

        told->versions = realloc(told->versions, n * sizeof(*told->versions));
        if (!told->versions)
            log_out_of_memory();
        memset(told->versions + told->n, 0, (n - told->n) * sizeof(*told->versions));
        told->n = n;
    }
    return &told->versions[r->index];
}

/* Whether the rows of the table have had this description already. */
static bool told_by_rows(struct pipeline *p, const struct relation *r)
{
    for (uint32_t i = 0; p->row_relations && i < p->row_relations->count; i++) {
        const struct relation *other = p->row_relations->by_index[i];

        if (other->oid == r->oid)
            return *told_version(&p->rows_told, other) == other->version && relation_same(other, r);
    }
    return false;
}

static enum outcome tell_schema(struct pipeline *p, struct told *told, const struct transaction *t,
                                const struct relation *r, lsn_t lsn)
{
    uint32_t *version;
    struct output *out;
    enum outcome outcome;
    bool first;

    version = told_version(told, r);
    if (*version == r->version)
        return OUTCOME_OK;
    first = *version == 0;
    *version = r->version;
    if (first && told == &p->stream_told && told_by_rows(p, r))
        return OUTCOME_OK;
    outcome = begin_other(p, t && t->commit_lsn ? t->commit_lsn : lsn, &out);
    if (outcome == OUTCOME_OK)
        outcome = encoder_schema(p->encoder, t, r, lsn, first, output_buffer(out));
    return outcome == OUTCOME_OK ? delivery_added(p->delivery, out, 1) : outcome;
}

/* Numbers the change and writes its record, unless that is in the output already. */
static enum outcome emit(struct pipeline *p, const struct transaction *t, struct change *c)
{
    struct output *out;
    enum outcome outcome;

    c->seq = ++p->seq;
    if (p->seq <= p->skip_to)
        return OUTCOME_OK;
    p->last_change = p->ticks;
    outcome = announce(p, t);
    if (outcome == OUTCOME_OK && p->o->schema_events)
        outcome = tell_schema(p, &p->stream_told, t, c->relation, c->lsn);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = placing_find(&p->placing, PLACING_CHANGE, c->relation, c->lsn, &out);
    if (outcome != OUTCOME_OK)
        return outcome;
    dead_letters_listen(&p->delivery->dead);
    outcome = encoder_change(p->encoder, t, c, output_buffer(out));
    if (dead_letters_take(&p->delivery->dead, &outcome, &(struct dead_letter){.lsn = c->lsn,
                                                     .commit_lsn = t->commit_lsn,
                                                     .xid = t->xid,
                                                     .seq = c->seq,
                                                     .relation = c->relation}) ||
        outcome != OUTCOME_OK)
        return outcome;
    delivery_show(p->delivery, t->commit_lsn ? t->commit_lsn : c->lsn);
    p->records++;
    return delivery_added(p->delivery, out, encoder_written(p->encoder));
}

static bool same_value(const struct value *a, const struct value *b)
{
    return a->kind == b->kind && a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Whether an update gives the row another key; an old key that was sent need not differ. */
static bool moves_key(const struct change *c)
{
    if (c->op != OP_UPDATE || !c->old_row)
        return false;
    for (int i = 0; i < c->relation->ncolumns; i++)
        if (c->relation->columns[i].key && !same_value(&c->old_row[i], &c->new_row[i]))
            return true;
    return false;
}

static const unsigned skip_bits[] = {
    [OP_INSERT] = SKIP_INSERT,
    [OP_UPDATE] = SKIP_UPDATE,
    [OP_DELETE] = SKIP_DELETE,
    [OP_TRUNCATE] = SKIP_TRUNCATE,
};

/* Gives the change, or takes its place in the transaction where it is not wanted. */
static enum outcome give(struct pipeline *p, const struct transaction *t, struct change *c,
                         bool wanted)
{
    if (wanted)
        return emit(p, t, c);
    p->seq++;
    return OUTCOME_OK;
}

static struct change half_delete(const struct change *c)
{
    struct change gone = *c;

    gone.op = OP_DELETE;
    gone.new_row = NULL;
    return gone;
}

static struct change half_insert(const struct change *c)
{
    struct change come = *c;

    come.op = OP_INSERT;
    come.old_kind = OLD_NONE;
    come.old_row = NULL;
    return come;
}

static bool lacks_values(const struct change *c)
{
    for (int i = 0; i < c->relation->ncolumns; i++)
        if (c->new_row[i].kind == VALUE_UNCHANGED)
            return true;
    return false;
}

/* Whether a snapshot sees the transaction, which has been streamed; its commit may not be visible yet. */
static bool sees(const char *snapshot, uint32_t xid)
{
    struct visibility v;
    bool answer;

    if (!snapshot)
        return true; /* nothing was read */
    if (!visibility_parse(&v, snapshot))
        return false;
    answer = visibility_sees(&v, xid);
    visibility_release(&v);
    return answer;
}

/* Reads the row's missing values; *values holds them. */
static enum outcome read_values(struct pipeline *p, const struct transaction *t,
                                const struct change *c, struct value *row, PGresult **values,
                                lsn_t *when)
{
    enum { PAUSE_USEC = 2000, PATIENCE_SEC = 5 };
    usec_t deadline = clock_ticks() + PATIENCE_SEC * USEC_PER_SEC;

    for (;;) {
        const char *seen;
        enum outcome outcome;

        memcpy(row, c->new_row, c->relation->ncolumns * sizeof *row);
        outcome = catalog_read_unchanged(p->catalog, c->relation, row, values, when, &seen);
        if (outcome != OUTCOME_OK || sees(seen, t->xid))
            return outcome;
        PQclear(*values);
        *values = NULL;
        if (clock_ticks() >= deadline) {
            log_warning("transaction %u has committed and is not visible yet", t->xid);
            return OUTCOME_UNAVAILABLE;
        }
        clock_pause(PAUSE_USEC);
    }
}

/*
 * With values that the server did not send, as the update left them alone, read from the table.
 * They may be newer than the update, or, if the row has gone elsewhere since, those of another row:
 * so all updates up to that point of the WAL are filled likewise, and the last one is right.
 */
static enum outcome give_filled(struct pipeline *p, const struct transaction *t,
                                const struct change *c)
{
    struct change filled = *c;
    struct covered_table *table = coverage_find(p->coverage, c->relation->oid);
    struct value *row = xcalloc(c->relation->ncolumns, sizeof *row);
    PGresult *values = NULL;
    lsn_t when;
    enum outcome outcome = read_values(p, t, c, row, &values, &when);

    filled.new_row = row;
    if (table && when > table->filled_to)
        table->filled_to = when;
    if (outcome == OUTCOME_OK)
        outcome = give(p, t, &filled, true);
    PQclear(values);
    free(row);
    return outcome;
}

/* The update made the row one that is given, and its reader has not seen it before. */
static enum outcome give_insert(struct pipeline *p, const struct transaction *t,
                                const struct change *c, bool wanted)
{
    struct change half = half_insert(c);

    return wanted && lacks_values(c) ? give_filled(p, t, &half) : give(p, t, &half, wanted);
}

/* Whether the update is one of those that are filled: see give_filled(). */
static bool is_to_be_filled(const struct pipeline *p, const struct change *c)
{
    const struct covered_table *t;

    if (!p->judging || c->op != OP_UPDATE)
        return false;
    t = coverage_find(p->coverage, c->relation->oid);
    if (!t || !lacks_values(c))
        return false;
    /* where a change is given again, the row may be there under its new key already */
    return c->lsn <= t->filled_to || ((p->coverage->uncertain || t->nmoved > 0) && c->old_row);
}

/* Under another key it is another row for whoever keeps the last record of each: d, then c. */
static enum outcome give_moved(struct pipeline *p, const struct transaction *t,
                               const struct change *c, enum verdict verdict, bool wanted)
{
    struct change gone = half_delete(c), come = half_insert(c);
    bool both = wanted && verdict == VERDICT_GIVE;
    enum outcome outcome =
        give(p, t, &gone, both || (wanted && verdict == VERDICT_GIVE_DELETE));

    if (outcome != OUTCOME_OK)
        return outcome;
    if (both && is_to_be_filled(p, c))
        return give_filled(p, t, &come);
    return wanted && verdict == VERDICT_GIVE_INSERT ? give_insert(p, t, c, true)
                                                    : give(p, t, &come, both);
}

static enum outcome give_half(struct pipeline *p, const struct transaction *t,
                              const struct change *c, enum verdict verdict, bool wanted)
{
    struct change gone = half_delete(c);

    return verdict == VERDICT_GIVE_DELETE ? give(p, t, &gone, wanted) : give_insert(p, t, c, wanted);
}

/* What rows that have been read, or are still to be, tell of the change. */
static enum verdict judge(struct pipeline *p, const struct change *c)
{
    struct covered_table *t;

    if (!p->judging || !c->relation->captured)
        return VERDICT_GIVE;
    t = coverage_find(p->coverage, c->relation->oid);
    return t ? judge_change(&p->judge, t, c, p->comparer) : VERDICT_GIVE;
}

/* Whoever keeps the last record of each key has to be told that the old one is gone. */
static bool gives_moved_rows_apart(const struct options *o)
{
    return o->key_delimiter || (o->envelope == ENVELOPE_FLINK && o->changelog == CHANGELOG_UPSERT);
}

static enum outcome on_change(struct pipeline *p, const struct transaction *t, struct change *c)
{
    enum verdict verdict = judge(p, c);
    bool wanted = c->relation->captured && !(p->o->skip_ops & skip_bits[c->op]);

    if (verdict == VERDICT_UNKNOWN)
        return OUTCOME_MISUSED;
    if (c->relation->captured && gives_moved_rows_apart(p->o) && moves_key(c))
        return give_moved(p, t, c, verdict, wanted);
    if (verdict == VERDICT_GIVE_DELETE || verdict == VERDICT_GIVE_INSERT)
        return give_half(p, t, c, verdict, wanted);
    if (wanted && verdict == VERDICT_GIVE && is_to_be_filled(p, c))
        return give_filled(p, t, c);
    return give(p, t, c, wanted && verdict == VERDICT_GIVE);
}

static enum outcome on_truncate(struct pipeline *p, const struct event *e)
{
    enum outcome outcome = OUTCOME_OK;

    for (uint32_t i = 0; i < e->ntruncated && outcome == OUTCOME_OK; i++) {
        struct change c = {.op = OP_TRUNCATE, .relation = e->relations[i], .lsn = e->lsn};

        outcome = on_change(p, e->transaction, &c);
    }
    return outcome;
}

/* ---- transactions ---- */

static void mark(struct pipeline *p, const struct transaction *t, lsn_t lsn)
{
    struct position position = p->delivery->emitted;

    if (lsn > position.lsn)
        position.lsn = lsn;
    if (t && t->changed) {
        p->transactions++;
        position.xid = t->xid;
        position.commit_time = t->commit_time;
    }
    position.commit_lsn = p->decoder->last_commit;
    if (p->coverage)
        position.rows = p->coverage->complete;
    p->unmarked = false;
    delivery_mark(p->delivery, &position);
}

/* After a failover the transaction that was cut off may never have committed: a file forgets it. */
static enum outcome drop_cut(struct pipeline *p)
{
    if (delivery_can_cut(p->delivery)) {
        log_warning("transaction %u, whose beginning had been written, has not committed",
                    p->cut.xid);
        placing_look_again(&p->placing);
        return delivery_cut_unfinished(p->delivery);
    }
    log_error("position lost: transaction %u, whose beginning has been written, does not come again",
              p->cut.xid);
    return OUTCOME_POSITION_LOST;
}

enum outcome pipeline_leave_history(struct pipeline *p, lsn_t end)
{
    if (!p->cut.open || p->cut.commit_lsn < end)
        return OUTCOME_OK;
    p->cut.open = false;
    return drop_cut(p);
}

/* A file forgets what comes again, the reader of a pipe sees it twice. */
static enum outcome drop_unmarked(struct pipeline *p)
{
    p->repeats = p->unmarked = p->cut.open = false;
    if (delivery_can_cut(p->delivery)) {
        placing_look_again(&p->placing);
        return delivery_cut_unfinished(p->delivery);
    }
    log_notice("transactions behind " LSN_FMT " come again: the plugin does not tell where they end",
               LSN_ARGS(p->delivery->emitted.lsn));
    return OUTCOME_OK;
}

/* The transaction that a lost connection cut off has to come first; *again: this is it. */
static enum outcome resume_cut(struct pipeline *p, const struct transaction *t, bool *again)
{
    *again = false;
    if (p->repeats)
        return drop_unmarked(p);
    *again = p->cut.open && p->cut.xid == t->xid && p->cut.commit_lsn == t->commit_lsn;
    if (!p->cut.open)
        return OUTCOME_OK;
    p->cut.open = false;
    if (!*again)
        return drop_cut(p);
    p->skip_to = p->cut.seq;
    p->announced = p->cut.announced;
    return OUTCOME_OK;
}

/* from: where the transaction begins, or 0. */
static bool is_excluded(const struct pipeline *p, const struct transaction *t, lsn_t from)
{
    return bounds_exclude(p->bounds, t, from) && !pipeline_is_unsettled(p);
}

/*
 * When it begins behind the bound, all before the bound has come: that much the next run need not look
 * at again.  One that was only committed too late may lie before it, as may others behind it; and of a
 * record whose end alone is known the beginning may.
 */
static void end_before(struct pipeline *p, const struct transaction *t, lsn_t from)
{
    p->finished = true;
    if (bounds_are_passed(p->bounds, t, from))
        mark(p, NULL, p->bounds->last_commit + 1);
}

static void heed_bounds(struct pipeline *p, lsn_t reached)
{
    if (bounds_reached(p->bounds, reached) && !pipeline_is_unsettled(p))
        p->finished = true;
}

static enum outcome on_begin(struct pipeline *p, const struct transaction *t, lsn_t from)
{
    enum outcome outcome;
    bool again;

    if (!p->cut.open && is_excluded(p, t, from)) {
        decoder_leave(p->decoder); /* it is left to the next run, whole */
        end_before(p, t, from);
        return OUTCOME_OK;
    }
    p->seq = p->skip_to = 0;
    p->announced = false;
    if (!p->settled)
        p->settled = !p->coverage || !coverage_is_needed(p->coverage, p->delivery->emitted.lsn);
    p->judging = !p->settled;
    if (p->judging)
        judge_begin(&p->judge, p->coverage, t->xid);
    outcome = resume_cut(p, t, &again);
    if (outcome == OUTCOME_OK)
        encoder_begin(p->encoder, t, again);
    return outcome;
}

static enum outcome on_end(struct pipeline *p, const struct transaction *t,
                           enum transaction_mark how)
{
    enum outcome outcome = OUTCOME_OK;

    if (p->o->transactions && (p->announced || how > MARK_PREPARE))
        outcome = tell_transaction(p, t, how);
    /* prepared before the slot's two-phase start: sent, here and again, with its COMMIT PREPARED */
    p->held = how == MARK_PREPARE && t->end_lsn <= p->delivery->emitted.lsn;
    p->unmarked |= !t->end_lsn;
    if (outcome != OUTCOME_OK || p->held || !t->end_lsn)
        return outcome;
    mark(p, t, t->end_lsn);
    heed_bounds(p, t->end_lsn);
    if (is_excluded(p, t, 0)) /* which the plugin has not told before */
        p->finished = true;
    return outcome;
}

/* What became of a prepared transaction: a point in the stream of its own, without a Begin. */
static enum outcome on_fate(struct pipeline *p, const struct transaction *t,
                            enum transaction_mark how)
{
    if (!is_excluded(p, t, 0))
        return on_end(p, t, how);
    end_before(p, t, 0);
    return OUTCOME_OK;
}

static enum outcome give_message(struct pipeline *p, const struct transaction *t,
                                 const struct message *m)
{
    struct output *out;
    enum outcome outcome = begin_other(p, t && t->commit_lsn ? t->commit_lsn : m->lsn, &out);

    if (outcome != OUTCOME_OK)
        return outcome;
    dead_letters_listen(&p->delivery->dead);
    outcome = encoder_message(p->encoder, t, m, output_buffer(out));
    if (dead_letters_take(&p->delivery->dead, &outcome, &(struct dead_letter){.lsn = m->lsn,
                                                     .commit_lsn = t ? t->commit_lsn : 0,
                                                     .xid = t ? t->xid : 0,
                                                     .seq = m->seq}) ||
        outcome != OUTCOME_OK)
        return outcome;
    return delivery_added(p->delivery, out, 1);
}

/* One outside of a transaction is a boundary of its own: its LSN is a point to go on from. */
static enum outcome on_message(struct pipeline *p, const struct transaction *t, struct message *m)
{
    const struct transaction alone = {.end_lsn = m->lsn};
    enum outcome outcome = OUTCOME_OK;
    bool wanted = !(p->o->skip_ops & SKIP_MESSAGE);

    if (!p->o->messages)
        return OUTCOME_OK; /* which some plugins send unasked */
    if (t)
        m->seq = ++p->seq;
    else if (m->lsn <= p->delivery->emitted.lsn)
        return OUTCOME_OK;
    else if (is_excluded(p, &alone, 0)) {
        if (is_between(p))
            end_before(p, &alone, 0);
        return OUTCOME_OK;
    }
    if (!wanted || (t && p->seq <= p->skip_to))
        return OUTCOME_OK;
    p->last_change = p->ticks;
    if (t)
        outcome = announce(p, t);
    if (outcome == OUTCOME_OK) {
        outcome = give_message(p, t, m);
        p->records++;
    }
    if (!t && outcome == OUTCOME_OK && is_between(p))
        mark(p, NULL, m->lsn);
    return outcome;
}

/* ---- messages of the stream ---- */

/* The next run is not to read the rows of a table that has been given whole. */
static void cover_new(struct pipeline *p, const struct relation *r)
{
    char *name;

    if (!p->covers_new || !r->captured || coverage_find(p->coverage, r->oid))
        return;
    name = xasprintf("%s.%s", r->schema, r->name);
    coverage_add_whole(p->coverage, r->oid, name);
    free(name);
}

/* Looks the relation up unless that has been done. */
static enum outcome know(struct pipeline *p, struct relation *r)
{
    enum outcome outcome;

    if (r->described)
        return OUTCOME_OK;
    outcome = catalog_describe(p->catalog, r);
    if (outcome == OUTCOME_OK)
        cover_new(p, r);
    return outcome;
}

static enum outcome know_all(struct pipeline *p, const struct event *e)
{
    enum outcome outcome = OUTCOME_OK;

    for (uint32_t i = 0; i < e->ntruncated && outcome == OUTCOME_OK; i++)
        outcome = know(p, e->relations[i]);
    return outcome;
}

static enum outcome on_row_event(struct pipeline *p, struct event *e, usec_t ticks)
{
    enum outcome outcome;

    p->ticks = ticks;
    if (e->kind == EVENT_MESSAGE)
        return on_message(p, e->transaction, &e->message);
    if (e->kind == EVENT_CHANGE) {
        outcome = know(p, e->relation);
        return outcome == OUTCOME_OK ? on_change(p, e->transaction, &e->change) : outcome;
    }
    outcome = know_all(p, e);
    return outcome == OUTCOME_OK ? on_truncate(p, e) : outcome;
}

static enum outcome on_event(struct pipeline *p, struct event *e, usec_t ticks)
{
    switch (e->kind) {
    case EVENT_NONE:
        return OUTCOME_OK;
    case EVENT_BEGIN:
        return on_begin(p, e->transaction, e->lsn);
    case EVENT_COMMIT:
        return on_end(p, e->transaction, MARK_END);
    case EVENT_PREPARE:
        return on_end(p, e->transaction, MARK_PREPARE);
    case EVENT_COMMIT_PREPARED:
        return on_fate(p, e->transaction, MARK_COMMIT_PREPARED);
    case EVENT_ROLLBACK_PREPARED:
        return on_fate(p, e->transaction, MARK_ROLLBACK_PREPARED);
    case EVENT_RELATION:
        return know(p, e->relation);
    case EVENT_CHANGE:
    case EVENT_TRUNCATE:
    case EVENT_MESSAGE:
        return on_row_event(p, e, ticks);
    }
    return OUTCOME_FAILED;
}

/*
 * Where it is not known at which position the last transaction has ended, a keepalive may have been
 * sent while that one was: the position moves on when it has been.
 */
static bool is_behind_all(struct pipeline *p, lsn_t wal_end)
{
    lsn_t before = p->kept_alive;

    if (!p->unmarked && !p->repeats)
        return true;
    if (!before)
        p->kept_alive = wal_end;
    return !p->repeats && before && wal_end > before;
}

/*
 * All that committed before wal_end has come by now: a boundary without a transaction, which is
 * how the position of an idle slot advances.
 */
static enum outcome on_keepalive(struct pipeline *p, const struct stream_message *m, usec_t ticks)
{
    struct event e;
    enum outcome outcome;

    decoder_keepalive(p->decoder, m->wal_end, &e);
    outcome = on_event(p, &e, ticks);
    if (outcome != OUTCOME_OK || !is_between(p))
        return outcome;
    if (!is_behind_all(p, m->wal_end))
        return OUTCOME_OK;
    if (m->wal_end > p->delivery->emitted.lsn)
        mark(p, NULL, m->wal_end);
    heed_bounds(p, m->wal_end);
    return bounds_server_time(p->bounds, m->sent, p->catalog);
}

/* Deals with one event; *over: no more of the message is to be dealt with now. */
static enum outcome step(struct pipeline *p, struct event *e, usec_t ticks, bool *over)
{
    enum outcome outcome = on_event(p, e, ticks);

    p->more = decoder_gives_many(p->decoder);
    /* The very next boundary: more of them may have come in the same go. */
    if (outcome == OUTCOME_OK && is_between(p) &&
        bounds_spent(p->bounds, p->records, ticks, p->last_change))
        p->finished = true;
    *over = outcome != OUTCOME_OK || p->finished || !p->more ||
            delivery_is_full(p->delivery);
    return outcome;
}

enum outcome pipeline_go_on(struct pipeline *p, usec_t ticks)
{
    bool over = false;
    enum outcome outcome = OUTCOME_OK;

    while (outcome == OUTCOME_OK && !over) {
        struct event e;

        dead_letters_listen(&p->delivery->dead);
        outcome = decoder_next(p->decoder, &e);
        if (leave_out_message(p, e.lsn, &outcome))
            return outcome;
        p->more = outcome == OUTCOME_OK && e.kind != EVENT_NONE;
        if (!p->more)
            break;
        outcome = step(p, &e, ticks, &over);
    }
    return outcome;
}

enum outcome pipeline_take(struct pipeline *p, const struct stream_message *m, usec_t ticks)
{
    struct event e;
    bool over = false;
    enum outcome outcome;

    if (m->kind == STREAM_KEEPALIVE)
        return on_keepalive(p, m, ticks);
    p->kept_alive = 0;
    dead_letters_keep(&p->delivery->dead, m->payload, m->len);
    dead_letters_listen(&p->delivery->dead);
    outcome = decoder_take(p->decoder, m->lsn, m->payload, m->len, &e);
    if (leave_out_message(p, m->lsn, &outcome) || outcome != OUTCOME_OK)
        return outcome;
    outcome = step(p, &e, ticks, &over);
    return outcome == OUTCOME_OK && !over ? pipeline_go_on(p, ticks) : outcome;
}

/* ---- rows ---- */

void pipeline_set_coverage(struct pipeline *p, struct coverage *c, const struct relations *relations,
                           struct comparer *comparer)
{
    static struct comparer nobody;

    p->coverage = c;
    p->settled = false;
    p->row_relations = relations;
    p->comparer = comparer ? comparer : &nobody;
}

bool pipeline_is_unsettled(const struct pipeline *p)
{
    lsn_t reached = p->delivery->emitted.lsn;

    return p->coverage && !p->settled &&
           (!coverage_whole(p->coverage) || coverage_waiting(p->coverage, reached) > 0 ||
            coverage_fills(p->coverage, reached));
}

void pipeline_begin_rows(struct pipeline *p, lsn_t lsn, usec_t when)
{
    p->reading = true;
    p->settled = false;
    p->rows_lsn = lsn;
    encoder_snapshot(p->encoder, lsn, when);
}

enum outcome pipeline_row(struct pipeline *p, const struct relation *r, const struct value *row,
                          enum row_mark mark, usec_t ticks)
{
    struct output *out;
    enum outcome outcome = OUTCOME_OK;

    if (p->o->schema_events)
        outcome = tell_schema(p, &p->rows_told, NULL, r, p->rows_lsn);
    if (outcome != OUTCOME_OK)
        return outcome;
    p->last_change = ticks;
    outcome = placing_find(&p->placing, PLACING_ROW, r, p->rows_lsn, &out);
    if (outcome != OUTCOME_OK)
        return outcome;
    dead_letters_listen(&p->delivery->dead);
    outcome = encoder_row(p->encoder, r, row, mark, output_buffer(out));
    if (outcome != OUTCOME_OK)
        dead_letters_keep_row(&p->delivery->dead, r, row);
    if (dead_letters_take(&p->delivery->dead, &outcome, &(struct dead_letter){.lsn = p->rows_lsn, .relation = r}) ||
        outcome != OUTCOME_OK)
        return outcome;
    p->records++;
    delivery_show(p->delivery, p->rows_lsn);
    outcome = delivery_added(p->delivery, out, encoder_written(p->encoder));
    delivery_part(p->delivery);
    return outcome;
}

void pipeline_end_rows(struct pipeline *p)
{
    p->reading = false;
    mark(p, NULL, 0);
}

enum outcome pipeline_heartbeat(struct pipeline *p)
{
    lsn_t lsn = p->delivery->emitted.lsn;
    struct output *out;
    enum outcome outcome = begin_other(p, lsn, &out);

    if (outcome == OUTCOME_OK)
        outcome = encoder_heartbeat(p->encoder, lsn, output_buffer(out));
    if (outcome == OUTCOME_OK)
        outcome = delivery_added(p->delivery, out, 1);
    if (outcome == OUTCOME_OK)
        mark(p, NULL, lsn);
    return outcome;
}
