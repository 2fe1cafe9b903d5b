#include "capture/acknowledge.h"

#include "base/log.h"
#include "capture/checks.h"
#include "capture/session.h"
#include "source/plugin.h"

/* ---- the state file ---- */

/* What was not given on the command line is as the state file has it. */
static void fill_options(struct session *s)
{
    const struct state *st = &s->delivery.state;

    if (!s->options.slot)
        s->options.slot = st->slot;
    if (!s->options.publication_given)
        s->options.publication = st->publication;
    if (s->options.plugin == PLUGIN_AS_SLOT)
        s->options.plugin = plugin_name_of_library(st->plugin);
}

static enum outcome load(struct session *s)
{
    struct delivery *d = &s->delivery;
    enum outcome outcome;

    d->state_path = s->o->state_file;
    d->lock.fd = d->output.fd = d->output.read_fd = d->replies.fd = -1;
    outcome = state_lock(&d->lock, d->state_path);
    if (outcome == OUTCOME_OK)
        outcome = state_load_pending(&d->state, d->state_path, &d->resumed);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!d->resumed) {
        log_error("state file \"%s\" does not exist", d->state_path);
        log_hint("It is the one that a run with --ack-mode=deferred was given.");
        return OUTCOME_MISUSED;
    }
    d->emitted = d->state.position;
    fill_options(s);
    s->connector = connector_new(s->o);
    return s->connector ? OUTCOME_OK : OUTCOME_MISUSED;
}

/* ---- the server ---- */

/* A run that has given all it had to give needs its slot no more. */
static bool needs_slot(const struct session *s)
{
    return !(s->delivery.state.complete && s->delivery.state.has_coverage);
}

static enum outcome check(struct session *s, PGconn *sql, PGconn *walsender, struct slot *slot)
{
    enum outcome outcome = system_identify(walsender, &s->system);

    if (outcome == OUTCOME_OK)
        outcome = checks_system(s, walsender);
    if (outcome == OUTCOME_OK)
        outcome = slot_find(sql, s->o->slot, slot);
    if (outcome == OUTCOME_OK && !slot->exists && needs_slot(s))
        outcome = checks_slot_missing(s);
    if (outcome == OUTCOME_OK && slot->exists)
        outcome = checks_slot(s, sql, slot);
    if (outcome == OUTCOME_OK && slot->exists)
        outcome = checks_slot_position(s, slot);
    return outcome;
}

/* The order that never changes: the state is durable before the server is told. */
static enum outcome acknowledge(struct session *s, PGconn *sql, const struct slot *slot)
{
    struct state *st = &s->delivery.state;
    enum outcome outcome = OUTCOME_OK;

    if (st->pending)
        outcome = state_save(st, s->o->state_file);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (st->pending)
        log_notice("acknowledged up to " LSN_FMT, LSN_ARGS(st->position.lsn));
    else
        log_notice("nothing is pending in state file \"%s\"; acknowledged up to " LSN_FMT,
                   s->o->state_file, LSN_ARGS(st->position.lsn));
    if (!slot->exists)
        return OUTCOME_OK;
    return !needs_slot(s) && st->slot_created ? slot_drop(sql, s->o->slot)
                                              : slot_advance(sql, s->o->slot, st->position.lsn);
}

static enum outcome run(struct session *s)
{
    PGconn *sql = NULL, *walsender = NULL;
    struct slot slot = {0};
    enum outcome outcome = connector_connect(s->connector, CONNECTION_SQL, &sql);

    if (outcome == OUTCOME_OK)
        outcome = connector_connect(s->connector, CONNECTION_REPLICATION, &walsender);
    if (outcome == OUTCOME_OK)
        outcome = check(s, sql, walsender, &slot);
    if (outcome == OUTCOME_OK)
        outcome = acknowledge(s, sql, &slot);
    PQfinish(walsender);
    PQfinish(sql);
    return outcome;
}

enum outcome acknowledge_run(const struct options *o)
{
    struct session s = {.options = *o};
    enum outcome outcome;

    s.o = &s.options;
    outcome = load(&s);
    if (outcome == OUTCOME_OK)
        outcome = run(&s);
    session_close(&s);
    return outcome;
}
