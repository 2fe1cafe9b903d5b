#include "capture/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void pipeline_init(struct pipeline *p, const struct options *o, struct catalog *catalog,
                   struct delivery *delivery, struct bounds *bounds, const char *database)
{
    *p = (struct pipeline){
        .o = o,
        .catalog = catalog,
        .delivery = delivery,
        .bounds = bounds,
        .encoder = encoder_new(o, database),
    };
    pgoutput_init(&p->decoder, delivery->recorded.commit_lsn);
}

void pipeline_release(struct pipeline *p)
{
    encoder_free(p->encoder);
    pgoutput_release(&p->decoder);
    free(p->schema_versions);
    *p = (struct pipeline){0};
}

void pipeline_interrupt(struct pipeline *p)
{
    if (p->decoder.in_transaction || p->held) {
        p->held = false;
        p->cut = (struct unfinished){
            .open = true,
            .xid = p->decoder.transaction.xid,
            .commit_lsn = p->decoder.transaction.commit_lsn,
            .seq = p->seq > p->skip_to ? p->seq : p->skip_to,
            .announced = p->announced,
        };
    }
    pgoutput_restart(&p->decoder);
}

/* ---- records ---- */

/* A record that cannot be written stops the run: nothing is left out in silence. */
static enum outcome written(bool good)
{
    return good ? OUTCOME_OK : OUTCOME_FAILED;
}

static enum outcome announce(struct pipeline *p, const struct transaction *t)
{
    if (p->announced)
        return OUTCOME_OK;
    p->announced = true;
    if (!p->o->transactions)
        return OUTCOME_OK;
    return written(encoder_transaction(p->encoder, t, MARK_BEGIN,
                                       output_buffer(&p->delivery->output)));
}

/* The version of the relation that was told of last; 0 = none. */
static uint32_t *told_version(struct pipeline *p, const struct relation *r)
{
    if (r->index >= p->nschema_versions) {
        uint32_t n = (r->index + 1) * 2;

        p->schema_versions = realloc(p->schema_versions, n * sizeof(*p->schema_versions));
        if (!p->schema_versions)
            log_out_of_memory();
        memset(p->schema_versions + p->nschema_versions, 0,
               (n - p->nschema_versions) * sizeof(*p->schema_versions));
        p->nschema_versions = n;
    }
    return &p->schema_versions[r->index];
}

static enum outcome tell_schema(struct pipeline *p, const struct transaction *t,
                                const struct relation *r, lsn_t lsn)
{
    uint32_t *told;
    bool first;

    if (!p->o->schema_events)
        return OUTCOME_OK;
    told = told_version(p, r);
    if (*told == r->version)
        return OUTCOME_OK;
    first = *told == 0;
    *told = r->version;
    return written(encoder_schema(p->encoder, t, r, lsn, first,
                                  output_buffer(&p->delivery->output)));
}

/* Numbers the change and writes its record, unless that is in the output already. */
static enum outcome emit(struct pipeline *p, const struct transaction *t, struct change *c)
{
    enum outcome outcome;

    c->seq = ++p->seq;
    if (p->seq <= p->skip_to)
        return OUTCOME_OK;
    outcome = announce(p, t);
    if (outcome == OUTCOME_OK)
        outcome = tell_schema(p, t, c->relation, c->lsn);
    if (outcome != OUTCOME_OK)
        return outcome;
    p->records++;
    return written(encoder_change(p->encoder, t, c, output_buffer(&p->delivery->output)));
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

/* Under another key it is another row for whoever keeps the last record of each: d, then c. */
static enum outcome emit_moved(struct pipeline *p, const struct transaction *t,
                               const struct change *c)
{
    struct change gone = *c, come = *c;
    enum outcome outcome;

    gone.op = OP_DELETE;
    gone.new_row = NULL;
    come.op = OP_INSERT;
    come.old_kind = OLD_NONE;
    come.old_row = NULL;
    outcome = emit(p, t, &gone);
    return outcome == OUTCOME_OK ? emit(p, t, &come) : outcome;
}

static const unsigned skip_bits[] = {
    [OP_INSERT] = SKIP_INSERT,
    [OP_UPDATE] = SKIP_UPDATE,
    [OP_DELETE] = SKIP_DELETE,
    [OP_TRUNCATE] = SKIP_TRUNCATE,
};

static enum outcome on_change(struct pipeline *p, const struct transaction *t, struct change *c)
{
    if (!c->relation->captured || p->o->skip_ops & skip_bits[c->op]) {
        p->seq++;
        return OUTCOME_OK;
    }
    if (p->o->key_delimiter && moves_key(c))
        return emit_moved(p, t, c);
    return emit(p, t, c);
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
        position.xid = t->xid;
        position.commit_time = t->commit_time;
    }
    position.commit_lsn = p->decoder.last_commit;
    delivery_mark(p->delivery, &position);
}

/* After a failover the transaction that was cut off may never have committed: a file forgets it. */
static enum outcome drop_cut(struct pipeline *p)
{
    if (p->delivery->mode == ACK_WRITTEN) {
        log_warning("transaction %u, whose beginning had been written, has not committed",
                    p->cut.xid);
        return delivery_cut_unfinished(p->delivery);
    }
    log_error("position lost: transaction %u, whose beginning has been written, does not come again",
              p->cut.xid);
    return OUTCOME_POSITION_LOST;
}

/* The transaction that a lost connection cut off has to come first; *again: this is it. */
static enum outcome resume_cut(struct pipeline *p, const struct transaction *t, bool *again)
{
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

static enum outcome on_begin(struct pipeline *p, const struct transaction *t)
{
    enum outcome outcome;
    bool again;

    if (!p->cut.open && bounds_exclude(p->bounds, t)) {
        p->finished = true;
        p->decoder.in_transaction = false; /* it is left to the next run, whole */
        return OUTCOME_OK;
    }
    p->seq = p->skip_to = 0;
    p->announced = false;
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
        outcome = written(encoder_transaction(p->encoder, t, how,
                                              output_buffer(&p->delivery->output)));
    /* prepared before the slot's two-phase start: sent, here and again, with its COMMIT PREPARED */
    p->held = how == MARK_PREPARE && t->end_lsn <= p->delivery->emitted.lsn;
    if (outcome != OUTCOME_OK || p->held)
        return outcome;
    mark(p, t, t->end_lsn);
    p->finished = p->finished || bounds_reached(p->bounds, t->end_lsn);
    return outcome;
}

/* What became of a prepared transaction: a point in the stream of its own, without a Begin. */
static enum outcome on_fate(struct pipeline *p, const struct transaction *t,
                            enum transaction_mark how)
{
    if (!bounds_exclude(p->bounds, t))
        return on_end(p, t, how);
    p->finished = true;
    return OUTCOME_OK;
}

/* One outside of a transaction is a boundary of its own: its LSN is a point to go on from. */
static enum outcome on_message(struct pipeline *p, const struct transaction *t, struct message *m)
{
    enum outcome outcome = OUTCOME_OK;
    bool wanted = p->o->messages && !(p->o->skip_ops & SKIP_MESSAGE);

    if (t)
        m->seq = ++p->seq;
    else if (m->lsn <= p->delivery->emitted.lsn)
        return OUTCOME_OK;
    else if (bounds_exclude(p->bounds, &(struct transaction){.end_lsn = m->lsn})) {
        p->finished = pipeline_at_boundary(p);
        return OUTCOME_OK;
    }
    if (!wanted || (t && p->seq <= p->skip_to))
        return OUTCOME_OK;
    if (t)
        outcome = announce(p, t);
    if (outcome == OUTCOME_OK) {
        outcome = written(encoder_message(p->encoder, t, m, output_buffer(&p->delivery->output)));
        p->records++;
    }
    if (!t && outcome == OUTCOME_OK && pipeline_at_boundary(p))
        mark(p, NULL, m->lsn);
    return outcome;
}

/* ---- messages of the stream ---- */

static enum outcome on_event(struct pipeline *p, struct event *e, usec_t ticks)
{
    switch (e->kind) {
    case EVENT_NONE:
        return OUTCOME_OK;
    case EVENT_BEGIN:
        return on_begin(p, e->transaction);
    case EVENT_COMMIT:
        return on_end(p, e->transaction, MARK_END);
    case EVENT_PREPARE:
        return on_end(p, e->transaction, MARK_PREPARE);
    case EVENT_COMMIT_PREPARED:
        return on_fate(p, e->transaction, MARK_COMMIT_PREPARED);
    case EVENT_ROLLBACK_PREPARED:
        return on_fate(p, e->transaction, MARK_ROLLBACK_PREPARED);
    case EVENT_RELATION:
        return catalog_describe(p->catalog, e->relation);
    case EVENT_CHANGE:
        p->last_change = ticks;
        return on_change(p, e->transaction, &e->change);
    case EVENT_TRUNCATE:
        p->last_change = ticks;
        return on_truncate(p, e);
    case EVENT_MESSAGE:
        p->last_change = ticks;
        return on_message(p, e->transaction, &e->message);
    }
    return OUTCOME_FAILED;
}

/*
 * All that committed before wal_end has come by now: a boundary without a transaction, which is
 * how the position of an idle slot advances.
 */
static enum outcome on_keepalive(struct pipeline *p, const struct stream_message *m)
{
    if (!pipeline_at_boundary(p))
        return OUTCOME_OK;
    if (m->wal_end > p->delivery->emitted.lsn)
        mark(p, NULL, m->wal_end);
    p->finished = p->finished || bounds_reached(p->bounds, m->wal_end);
    return bounds_server_time(p->bounds, m->sent, p->catalog);
}

enum outcome pipeline_take(struct pipeline *p, const struct stream_message *m, usec_t ticks)
{
    struct event e;
    enum outcome outcome;

    if (m->kind == STREAM_KEEPALIVE)
        return on_keepalive(p, m);
    if (!pgoutput_decode(&p->decoder, m->lsn, m->payload, m->len, &e))
        return OUTCOME_FAILED;
    outcome = on_event(p, &e, ticks);
    /* The very next boundary: more of them may have come in the same go. */
    if (outcome == OUTCOME_OK && pipeline_at_boundary(p) &&
        bounds_spent(p->bounds, p->records, ticks, p->last_change))
        p->finished = true;
    return outcome;
}

enum outcome pipeline_heartbeat(struct pipeline *p)
{
    enum outcome outcome = written(encoder_heartbeat(p->encoder, p->delivery->emitted.lsn,
                                                     output_buffer(&p->delivery->output)));

    if (outcome == OUTCOME_OK)
        mark(p, NULL, p->delivery->emitted.lsn);
    return outcome;
}
