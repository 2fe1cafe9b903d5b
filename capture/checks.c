#include "capture/checks.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "source/plugin.h"

/* ---- the state file ---- */

static enum outcome foreign(const struct session *s, const char *what, const char *theirs,
                            const char *ours)
{
    if (!s->o->state_file) { /* what the run itself has seen before it connected anew */
        log_error("the server is of another %s: \"%s\", not \"%s\" as before", what, ours, theirs);
        log_hint("A capture cannot go on from another server.");
        return OUTCOME_MISUSED;
    }
    log_error("state file \"%s\" belongs to another %s: \"%s\", not \"%s\"", s->o->state_file, what,
              theirs, ours);
    log_hint("Use the state file that belongs to this capture, or another one to begin anew.");
    return OUTCOME_MISUSED;
}

/* Of other plugins there is none. */
const char *checks_publication(const struct session *s)
{
    return plugin_of(s->o->plugin)->publishes ? s->o->publication : "";
}

enum outcome checks_state(const struct session *s)
{
    const struct state *st = &s->delivery.state;

    if (strcmp(st->system_identifier, s->system.identifier) != 0)
        return foreign(s, "database system", st->system_identifier, s->system.identifier);
    if (strcmp(st->database, s->system.database) != 0)
        return foreign(s, "database", st->database, s->system.database);
    if (strcmp(st->slot, s->o->slot) != 0)
        return foreign(s, "replication slot", st->slot, s->o->slot);
    if (strcmp(st->plugin, plugin_of(s->o->plugin)->library) != 0)
        return foreign(s, "plugin", st->plugin, plugin_of(s->o->plugin)->library);
    if (strcmp(st->publication, checks_publication(s)) != 0)
        return foreign(s, "publication", st->publication, checks_publication(s));
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
        s->elsewhere = true;
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
    return end && s->prepared ? pipeline_leave_history(&s->pipeline, end) : OUTCOME_OK;
}

/* What is not there may come yet: with a promotion, or from the primary. */
static enum outcome standby_lacks(struct session *s, const char *what)
{
    s->elsewhere = true;
    log_error("the server is a standby, and %s", what);
    log_hint("target_session_attrs=read-write in the connection string leaves standbys out.");
    return OUTCOME_UNAVAILABLE;
}

/* Before 16 a standby does not decode, whatever slots it has. */
static enum outcome check_decodes(struct session *s)
{
    if (!s->system.standby || s->system.version >= 160000 || session_is_rows_only(s))
        return OUTCOME_OK;
    return standby_lacks(s, "before PostgreSQL 16 only a primary server gives changes");
}

/* A standby may still be receiving what we have seen elsewhere: a moment is given to it. */
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
    if (s->system.standby)
        return standby_lacks(s, "has not received the WAL up to our position");
    log_error("position lost: our position " LSN_FMT " lies beyond the server's WAL, which ends at "
              LSN_FMT,
              LSN_ARGS(position), LSN_ARGS(s->system.flushed));
    log_detail("The server has been restored from a backup, or is another copy of the system.");
    return OUTCOME_POSITION_LOST;
}

/* The slot is behind us or with us; ahead it can only be when others have read from it. */
enum outcome checks_slot_position(const struct session *s, const struct slot *slot)
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

enum outcome checks_slot_missing(struct session *s)
{
    bool known = session_has_position(s);

    if (known && s->system.standby)
        return standby_lacks(s, "does not have our replication slot");
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
    enum { PATIENCE_SEC = 5, PAUSE_USEC = 50000 }; /* more than readers of copies need: slot_reader.c */
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
    log_hint("A slot has one reader at a time.  cdcdump --list-slots -S %s tells which; --peek looks "
             "at the slot all the same.",
             s->o->slot);
    return OUTCOME_UNAVAILABLE;
}

const char *checks_against_sql(const struct slot *slot)
{
    return slot->two_phase  ? "it gives prepared transactions"
           : slot->failover ? "its changes have to wait for the standbys that keep it"
                            : NULL;
}

static enum outcome check_transport(const struct session *s, const struct slot *slot)
{
    const char *against = s->o->transport == TRANSPORT_SQL ? checks_against_sql(slot) : NULL;

    if (!against)
        return OUTCOME_OK;
    log_error("replication slot \"%s\" cannot be read through SQL: %s", s->o->slot, against);
    log_hint("Leave --transport out, or use --transport=stream.");
    return OUTCOME_MISUSED;
}

/* ---- all of it ---- */

/* Same system, timeline, WAL: whenever there is a position. */
enum outcome checks_system(struct session *s, PGconn *walsender)
{
    enum outcome outcome = checks_state(s);

    if (outcome == OUTCOME_OK)
        outcome = check_timeline(s, walsender);
    if (outcome == OUTCOME_OK)
        outcome = check_decodes(s);
    return outcome == OUTCOME_OK ? check_not_ahead(s, walsender) : outcome;
}

enum outcome checks_slot(struct session *s, PGconn *sql, struct slot *slot)
{
    enum outcome outcome = slot_check(slot, s->o, &s->system);

    s->elsewhere |= outcome == OUTCOME_UNAVAILABLE; /* it is being synchronized here */
    if (outcome == OUTCOME_OK)
        outcome = check_transport(s, slot);
    if (outcome == OUTCOME_OK && s->o->failover && !slot->failover && !s->prepared) {
        log_warning("replication slot \"%s\" is there already and no failover slot", s->o->slot);
        log_hint("ALTER_REPLICATION_SLOT %s (FAILOVER true) over a replication connection makes it "
                 "one.",
                 s->o->slot);
    }
    return outcome == OUTCOME_OK && !session_only_looks(s) ? await_slot(s, sql, slot) : outcome;
}

enum outcome checks_copy_slot(struct session *s, PGconn *sql, PGconn *walsender, struct slot *slot)
{
    bool of_slot = slot->two_phase && !plugin_of(s->o->plugin)->publishes;
    enum outcome outcome = slot_copy_make(walsender, sql, s->o->slot, of_slot, &s->copy);

    return outcome == OUTCOME_OK ? slot_find(sql, s->copy.name, slot) : outcome;
}

enum outcome checks_primary(PGconn *sql)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up the server's role", "SELECT pg_is_in_recovery() AS standby", 0,
                  NULL, &result);

    if (outcome == OUTCOME_OK && result_bool(result, 0, "standby")) {
        log_error("rows cannot be read from a standby server beside an existing stream");
        log_hint("Connect to the primary server, or let a consistent snapshot create the slot.");
        outcome = OUTCOME_MISUSED;
    }
    PQclear(result);
    return outcome;
}

/* ---- what the records ask for ---- */

static void add_table_name(struct buf *b, const struct relation *r)
{
    buf_printf(b, "%s%s.%s", b->len ? ", " : "", r->schema, r->name);
}

bool checks_identities(const struct session *s, const struct relations *captured)
{
    struct buf names;
    bool good;

    buf_init(&names, 256);
    for (uint32_t i = 0; i < captured->count; i++)
        if (captured->by_index[i]->captured && captured->by_index[i]->identity != 'f')
            add_table_name(&names, captured->by_index[i]);
    good = names.len == 0;
    buf_add_char(&names, '\0');
    if (!good) {
        log_error("changelog mode \"all\" needs REPLICA IDENTITY FULL of every captured table");
        log_detail("These have another one: %s.", names.data);
        log_hint("Set it with --replica-identity=full, or use --changelog-mode=upsert%s.",
                 s->o->format == FORMAT_CSV ? ", or -e debezium" : "");
    }
    buf_release(&names);
    return good;
}

bool checks_one_table(const struct relations *captured)
{
    struct buf names;
    int n = 0;

    buf_init(&names, 256);
    for (uint32_t i = 0; i < captured->count; i++) {
        if (!captured->by_index[i]->captured)
            continue;
        add_table_name(&names, captured->by_index[i]);
        n++;
    }
    buf_add_char(&names, '\0');
    if (n > 1) {
        log_error("CSV has one table in an output, but %d are captured", n);
        log_detail("These are %s.", names.data);
        log_hint("Give each a file of its own, as in -f '{schema}.{table}.csv', or use -e debezium, "
                 "whose cells are JSON.");
    }
    buf_release(&names);
    return n <= 1;
}

bool checks_want_old_rows(const struct session *s)
{
    return s->o->envelope == ENVELOPE_FLINK && s->o->changelog == CHANGELOG_ALL &&
           !session_is_rows_only(s) && (~s->o->skip_ops & (SKIP_UPDATE | SKIP_DELETE)) != 0;
}
