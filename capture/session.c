#include "capture/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "source/publication.h"
#include "source/version.h"

/* ---- before any server is asked ---- */

/* A state file that fits wins over any mode but those that read rows whatever was before. */
static enum outcome check_mode(const struct session *s)
{
    enum startup_mode mode = s->o->mode;
    bool goes_on = s->delivery.resumed && (mode == MODE_INITIAL || mode == MODE_WHEN_NEEDED);

    if (!mode_takes_snapshot(mode) || goes_on)
        return OUTCOME_OK;
    log_error("this version of cdcdump does not read the rows of tables, as the startup mode asks");
    log_hint("The startup modes that work are %s: choose one with -m.", modes_without_snapshot());
    return OUTCOME_MISUSED;
}

enum outcome session_open(struct session *s, const struct options *o)
{
    enum outcome outcome;

    *s = (struct session){.o = o};
    outcome = delivery_load_state(&s->delivery, o);
    if (outcome == OUTCOME_OK)
        outcome = check_mode(s);
    if (outcome != OUTCOME_OK)
        return outcome;
    s->connector = connector_new(o);
    return s->connector ? OUTCOME_OK : OUTCOME_MISUSED;
}

/* ---- is this the server and the slot that we know? ---- */

static bool has_position(const struct session *s)
{
    return s->prepared || s->delivery.resumed;
}

static enum outcome foreign(const struct session *s, const char *what, const char *theirs,
                            const char *ours)
{
    log_error("state file \"%s\" belongs to another %s: \"%s\", not \"%s\"", s->o->state_file, what,
              theirs, ours);
    log_hint("Use the state file that belongs to this capture, or another one to begin anew.");
    return OUTCOME_MISUSED;
}

static enum outcome check_state(const struct session *s)
{
    const struct state *st = &s->delivery.state;

    if (strcmp(st->system_identifier, s->system.identifier) != 0)
        return foreign(s, "database system", st->system_identifier, s->system.identifier);
    if (strcmp(st->database, s->system.database) != 0)
        return foreign(s, "database", st->database, s->system.database);
    if (strcmp(st->slot, s->o->slot) != 0)
        return foreign(s, "replication slot", st->slot, s->o->slot);
    if (strcmp(st->plugin, "pgoutput") != 0)
        return foreign(s, "plugin", st->plugin, "pgoutput");
    if (strcmp(st->publication, s->o->publication) != 0)
        return foreign(s, "publication", st->publication, s->o->publication);
    return OUTCOME_OK;
}

/* A position beyond the point where the server's history left our timeline never was there. */
static enum outcome check_timeline(struct session *s, PGconn *walsender)
{
    struct state *st = &s->delivery.state;
    lsn_t end, position = s->delivery.emitted.lsn;
    enum outcome outcome;

    if (s->system.timeline < st->timeline) {
        log_error("the server is on timeline %u, but the position is on timeline %u",
                  s->system.timeline, st->timeline);
        log_detail("It is an old primary, or a standby that has not caught up.");
        return OUTCOME_UNAVAILABLE;
    }
    outcome = system_timeline_end(walsender, &s->system, st->timeline, &end);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (end && position > end) {
        log_error("position lost: the server left timeline %u at " LSN_FMT
                  ", before our position " LSN_FMT,
                  st->timeline, LSN_ARGS(end), LSN_ARGS(position));
        log_detail("The output holds transactions that this server has never had.");
        return OUTCOME_POSITION_LOST;
    }
    st->timeline = s->system.timeline;
    return OUTCOME_OK;
}

/* A standby may still be replaying what we have seen elsewhere: a moment is given to it. */
static enum outcome check_not_ahead(struct session *s, PGconn *walsender)
{
    enum { TRIES = 20, PAUSE_USEC = 100000 };
    lsn_t position = s->delivery.emitted.lsn;

    for (int i = 0; i < TRIES && position > s->system.flushed; i++) {
        enum outcome outcome;

        clock_pause(PAUSE_USEC);
        system_release(&s->system);
        outcome = system_identify(walsender, &s->system);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (position <= s->system.flushed)
        return OUTCOME_OK;
    log_error("position lost: our position " LSN_FMT " lies beyond the server's WAL, which ends at "
              LSN_FMT,
              LSN_ARGS(position), LSN_ARGS(s->system.flushed));
    log_detail("The server has been restored from a backup, or is another copy of the system.");
    return OUTCOME_POSITION_LOST;
}

/* The slot is behind us or with us; ahead it can only be when others have read from it. */
static enum outcome check_slot_position(const struct session *s, const struct slot *slot)
{
    lsn_t position = s->delivery.emitted.lsn;

    if (slot->confirmed <= position)
        return OUTCOME_OK;
    log_error("position lost: replication slot \"%s\" is at " LSN_FMT
              ", ahead of our position " LSN_FMT,
              s->o->slot, LSN_ARGS(slot->confirmed), LSN_ARGS(position));
    log_detail("It was advanced by another consumer, or dropped and created again; the changes in "
               "between cannot be had from it.");
    log_hint("To begin anew, move the state file away and choose a startup mode.");
    return OUTCOME_POSITION_LOST;
}

static enum outcome slot_missing(const struct session *s)
{
    bool known = has_position(s);

    log_error(known ? "position lost: replication slot \"%s\" does not exist"
                    : "replication slot \"%s\" does not exist",
              s->o->slot);
    if (known)
        log_detail("It was dropped, or this is another server after a failover without a failover "
                   "slot.");
    else if (s->o->start_lsn)
        log_hint("A new slot has no changes from before it was created: leave -I out.");
    else
        log_hint("Create it first, or use -m never, which creates it.");
    return known ? OUTCOME_POSITION_LOST : OUTCOME_MISUSED;
}

/*
 * Waits while somebody holds the slot: after a crash of ours the server needs a moment to notice,
 * after a lost network at most wal_sender_timeout.
 */
static enum outcome await_slot(struct session *s, PGconn *sql, struct slot *slot)
{
    enum { PATIENCE_SEC = 5, PAUSE_USEC = 50000 };
    usec_t patience = PATIENCE_SEC * USEC_PER_SEC + (s->prepared ? s->system.wal_sender_timeout : 0);
    usec_t deadline = clock_ticks() + patience;

    while (slot->active && clock_ticks() < deadline && !signals_stop()) {
        enum outcome outcome;

        clock_pause(PAUSE_USEC);
        outcome = slot_find(sql, s->o->slot, slot);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (!slot->active)
        return OUTCOME_OK;
    if (signals_stop())
        return OUTCOME_STOPPED;
    log_error("replication slot \"%s\" is in use by process %d", s->o->slot, slot->active_pid);
    log_hint("A slot has one reader at a time.  See pg_stat_replication for who that is.");
    return OUTCOME_UNAVAILABLE;
}

/* ---- where a first run begins ---- */

/* -I: unread changes before it are lost to this capture, what the slot has let go of is gone. */
static enum outcome check_start_lsn(const struct session *s, lsn_t confirmed, lsn_t position)
{
    lsn_t start = s->o->start_lsn;

    if (start > position && !s->o->force) {
        log_error("starting at " LSN_FMT " would skip unread changes from " LSN_FMT " on",
                  LSN_ARGS(start), LSN_ARGS(position));
        log_hint("Add --force to skip them.");
        return OUTCOME_MISUSED;
    }
    if (start < confirmed) {
        log_error("position lost: replication slot \"%s\" has no changes before " LSN_FMT
                  ", but the start is to be " LSN_FMT,
                  s->o->slot, LSN_ARGS(confirmed), LSN_ARGS(start));
        return OUTCOME_POSITION_LOST;
    }
    if (start > s->system.flushed) {
        log_error("start position " LSN_FMT " lies beyond the server's WAL, which ends at " LSN_FMT,
                  LSN_ARGS(start), LSN_ARGS(s->system.flushed));
        return OUTCOME_MISUSED;
    }
    return OUTCOME_OK;
}

/* The position of the run: from the state, else from the slot as the mode says, or from -I. */
static enum outcome choose_start(struct session *s, PGconn *sql, const struct slot *slot,
                                 lsn_t created_at)
{
    lsn_t start = s->delivery.resumed ? s->delivery.emitted.lsn
                  : created_at        ? created_at
                                      : slot->confirmed;
    lsn_t confirmed = created_at ? created_at : slot->confirmed;
    enum outcome outcome = OUTCOME_OK;

    if (s->o->start_lsn) {
        outcome = check_start_lsn(s, confirmed, start);
        start = s->o->start_lsn;
    } else if (!s->delivery.resumed && !created_at && s->o->mode == MODE_LATEST_OFFSET) {
        outcome = system_wal_end(sql, &start);
    }
    return outcome == OUTCOME_OK ? delivery_begin(&s->delivery, start) : outcome;
}

static void fill_state(struct session *s)
{
    struct state *st = &s->delivery.state;

    if (s->delivery.resumed)
        return;
    st->system_identifier = xstrdup(s->system.identifier);
    st->timeline = s->system.timeline;
    st->database = xstrdup(s->system.database);
    st->slot = xstrdup(s->o->slot);
    st->plugin = xstrdup("pgoutput");
    st->publication = xstrdup(s->o->publication);
}

/* ---- connecting ---- */

/* Same system, timeline, WAL: whenever there is a position. */
static enum outcome check_system(struct session *s, PGconn *walsender)
{
    enum outcome outcome = check_state(s);

    if (outcome == OUTCOME_OK)
        outcome = check_timeline(s, walsender);
    return outcome == OUTCOME_OK ? check_not_ahead(s, walsender) : outcome;
}

static enum outcome check_slot(struct session *s, PGconn *sql, struct slot *slot)
{
    enum outcome outcome = slot_find(sql, s->o->slot, slot);

    if (outcome != OUTCOME_OK || !slot->exists)
        return outcome;
    outcome = slot_check(slot, s->o, &s->system);
    return outcome == OUTCOME_OK ? await_slot(s, sql, slot) : outcome;
}

/* Tables, replica identities, publication: in the order in which the server needs them. */
static enum outcome prepare_source(struct session *s, PGconn *sql)
{
    enum outcome outcome;

    selection_release(&s->selection); /* of an attempt that failed later on */
    outcome = selection_load(&s->selection, sql, s->o);
    if (outcome == OUTCOME_OK)
        outcome = publication_set_identity(sql, s->o, &s->selection, !s->delivery.resumed);
    return outcome == OUTCOME_OK
               ? publication_prepare(sql, s->o, &s->selection, !s->delivery.resumed)
               : outcome;
}

/* All that only the first connect does.  The slot is created last: it makes the server keep WAL. */
static enum outcome prepare(struct session *s, PGconn *sql, PGconn *walsender, struct slot *slot)
{
    bool must_exist = s->delivery.resumed || s->o->mode == MODE_COMMITTED_OFFSET;
    lsn_t created_at = 0;
    enum outcome outcome;

    if (!slot->exists && (must_exist || s->o->start_lsn)) /* a new one has nothing from before */
        return slot_missing(s);
    outcome = bounds_init(&s->bounds, s->o, sql);
    if (outcome == OUTCOME_OK)
        outcome = delivery_open_output(&s->delivery, s->o);
    if (outcome == OUTCOME_OK)
        outcome = prepare_source(s, sql);
    if (outcome == OUTCOME_OK && !slot->exists)
        outcome = slot_create(walsender, sql, s->o, &created_at);
    if (outcome == OUTCOME_OK) {
        fill_state(s);
        outcome = choose_start(s, sql, slot, created_at);
    }
    if (outcome != OUTCOME_OK)
        return outcome;
    pipeline_init(&s->pipeline, s->o, s->catalog, &s->delivery, &s->bounds, s->system.database);
    s->prepared = true;
    return OUTCOME_OK;
}

static enum outcome prepare_again(struct session *s, PGconn *sql, const struct slot *slot)
{
    if (!slot->exists)
        return slot_missing(s);
    return publication_prepare(sql, s->o, &s->selection, false);
}

/*
 * Between the look at the slot and START_REPLICATION somebody may have moved it; the server would
 * not say so.  Now it is ours, and a second look is final.
 */
static enum outcome check_after_start(struct session *s, PGconn *sql)
{
    struct slot slot;
    enum outcome outcome = slot_find(sql, s->o->slot, &slot);

    if (outcome != OUTCOME_OK)
        return outcome;
    return slot.exists ? check_slot_position(s, &slot) : slot_missing(s);
}

static enum outcome connect_and_check(struct session *s, PGconn *sql, PGconn **walsender)
{
    struct slot slot;
    enum outcome outcome = connector_connect(s->connector, CONNECTION_REPLICATION, walsender);

    if (outcome != OUTCOME_OK)
        return outcome;
    system_release(&s->system);
    outcome = system_identify(*walsender, &s->system);
    if (outcome == OUTCOME_OK)
        outcome = version_check(s->system.version, s->o);
    if (outcome == OUTCOME_OK && has_position(s))
        outcome = check_system(s, *walsender);
    if (outcome == OUTCOME_OK)
        outcome = check_slot(s, sql, &slot);
    if (outcome == OUTCOME_OK && slot.exists && has_position(s))
        outcome = check_slot_position(s, &slot);
    if (outcome != OUTCOME_OK)
        return outcome;
    return s->prepared ? prepare_again(s, sql, &slot) : prepare(s, sql, *walsender, &slot);
}

enum outcome session_connect(struct session *s)
{
    PGconn *sql, *walsender = NULL;
    enum outcome outcome;

    if (!s->catalog)
        s->catalog = catalog_new(s->connector, s->o, &s->selection);
    catalog_disconnect(s->catalog);
    connector_forget_host(s->connector);
    outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = connect_and_check(s, sql, &walsender);
    if (outcome != OUTCOME_OK) {
        PQfinish(walsender);
        return outcome;
    }
    outcome = stream_start(&s->stream, walsender, s->o, s->delivery.emitted.lsn);
    return outcome == OUTCOME_OK ? check_after_start(s, sql) : outcome;
}

void session_disconnect(struct session *s)
{
    stream_close(&s->stream);
    if (s->catalog)
        catalog_disconnect(s->catalog);
    if (s->prepared)
        pipeline_interrupt(&s->pipeline);
}

enum outcome session_drop_slot(struct session *s)
{
    PGconn *sql;
    enum outcome outcome = catalog_connection(s->catalog, &sql);

    if (outcome == OUTCOME_OK)
        outcome = slot_drop(sql, s->o->slot);
    if (outcome == OUTCOME_OK)
        delivery_forget_state(&s->delivery);
    return outcome;
}

void session_close(struct session *s)
{
    stream_close(&s->stream);
    if (s->prepared)
        pipeline_release(&s->pipeline);
    catalog_free(s->catalog);
    selection_release(&s->selection);
    system_release(&s->system);
    connector_free(s->connector);
    delivery_close(&s->delivery);
}
