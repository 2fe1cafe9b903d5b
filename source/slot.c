#include "source/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/server_error.h"
#include "source/slot_copy.h"
#include "source/slot_watch.h"

static void copy_text(char *to, size_t size, const PGresult *result, const char *column)
{
    const char *text = result_text(result, 0, column);

    snprintf(to, size, "%s", text ? text : "");
}

/*
 * Columns come with versions: wal_status 13, two_phase 14, conflicting 16, invalidation_reason and
 * synced 17, which stays true when the standby has been promoted.  A row as JSON has what there is,
 * so that one statement serves all of them.
 *
 * What others have put into the search_path must not be called: functions have their schema, and
 * operators two sides of just their types.
 */
#define FIELD(name) "pg_catalog.jsonb_object_field_text(j, '" name "')"

static const char find_statement[] =
    "SELECT slot_type, plugin, database, s.reader IS NOT NULL AS active, s.reader AS active_pid,"
    "       confirmed_flush_lsn, catalog_xmin,"
    "       " FIELD("two_phase") "::bool AS two_phase, " FIELD("failover") "::bool AS failover,"
    "       coalesce(" FIELD("synced") "::bool, false) AND pg_is_in_recovery() AS synced,"
    "       coalesce(" FIELD("wal_status") " = 'lost', false)"
    "         OR coalesce(" FIELD("conflicting") "::bool, false)"
    "         OR " FIELD("invalidation_reason") " IS NOT NULL AS lost,"
    "       coalesce(" FIELD("invalidation_reason") ", " FIELD("wal_status") ") AS reason"
    "  FROM (SELECT s.*, pg_catalog.to_jsonb(s) AS j,"
    "               coalesce(s.active_pid, " SLOT_COPY_READER("s") ") AS reader"
    "          FROM pg_replication_slots AS s WHERE s.slot_name = $1) AS s";

enum outcome slot_find(PGconn *sql, const char *name, struct slot *s)
{
    PGresult *result;
    const char *pid;
    enum outcome outcome =
        sql_query(sql, "look up the replication slot", find_statement, 1, &name, &result);

    *s = (struct slot){0};
    if (outcome != OUTCOME_OK)
        return outcome;
    s->exists = PQntuples(result) == 1;
    if (s->exists) {
        s->logical = strcmp(result_string(result, 0, "slot_type"), "logical") == 0;
        s->active = result_bool(result, 0, "active");
        s->two_phase = result_bool(result, 0, "two_phase");
        s->failover = result_bool(result, 0, "failover");
        s->synced = result_bool(result, 0, "synced");
        s->lost = result_bool(result, 0, "lost");
        copy_text(s->plugin, sizeof s->plugin, result, "plugin");
        copy_text(s->database, sizeof s->database, result, "database");
        copy_text(s->reason, sizeof s->reason, result, "reason");
        pid = result_text(result, 0, "active_pid");
        s->active_pid = pid ? (int)strtol(pid, NULL, 10) : 0;
        s->confirmed = result_lsn(result, 0, "confirmed_flush_lsn");
        s->catalog_xmin = result_u32(result, 0, "catalog_xmin");
    }
    PQclear(result);
    return OUTCOME_OK;
}

static enum outcome check_kind(const struct slot *s, const struct options *o,
                               const struct system *system)
{
    const char *library = plugin_of(o->plugin)->library;

    if (!s->logical) {
        log_error("replication slot \"%s\" is a physical slot", o->slot);
        log_hint("Changes can only be read from a logical slot; choose another name.");
        return OUTCOME_MISUSED;
    }
    if (strcmp(s->database, system->database) != 0) {
        log_error("replication slot \"%s\" belongs to database \"%s\", not to \"%s\"", o->slot,
                  s->database, system->database);
        return OUTCOME_MISUSED;
    }
    if (strcmp(s->plugin, library) != 0) {
        log_error("replication slot \"%s\" was created for plugin \"%s\", not for \"%s\"", o->slot,
                  s->plugin, library);
        if (plugin_name_of_library(s->plugin) != PLUGIN_AS_SLOT)
            log_hint("A slot keeps its plugin for life: choose another slot, or use -P %s.",
                     s->plugin);
        else
            log_hint("That plugin cannot be read: choose another slot.");
        return OUTCOME_MISUSED;
    }
    return OUTCOME_OK;
}

/*
 * Such a slot gives changes at PREPARE, asked for or not: without the records that tell what became
 * of them, changes that were rolled back would look like all others.
 */
static enum outcome check_two_phase(const struct slot *s, const struct options *o,
                                    const struct system *system)
{
    if (!s->two_phase || o->two_phase || system->version < 150000 ||
        !plugin_of(o->plugin)->tells_prepared)
        return OUTCOME_OK;
    log_error("replication slot \"%s\" gives prepared transactions before they are committed",
              o->slot);
    log_hint("Add --two-phase --transactions, or choose another slot.");
    return OUTCOME_MISUSED;
}

enum outcome slot_check(const struct slot *s, const struct options *o, const struct system *system)
{
    enum outcome outcome = check_kind(s, o, system);

    if (outcome == OUTCOME_OK)
        outcome = check_two_phase(s, o, system);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (s->lost) {
        log_error("position lost: replication slot \"%s\" has been invalidated (%s)", o->slot,
                  s->reason);
        log_detail("The server has removed WAL or rows that the slot needs.");
        log_hint("Drop the slot and the state file and begin anew.");
        return OUTCOME_POSITION_LOST;
    }
    if (s->synced) {
        log_error("replication slot \"%s\" is being synchronized from the primary server", o->slot);
        log_hint("It can be read when this standby has been promoted, or on the primary.");
        return OUTCOME_UNAVAILABLE;
    }
    return OUTCOME_OK;
}

/* ---- creating ---- */

/*
 * CREATE_REPLICATION_SLOT in the words of the server's version: bare words up to 16, a list in
 * parentheses from 17 on, where FAILOVER came (the list itself exists from 15 on).
 */
static void creation_command(const PGconn *walsender, const struct options *o, bool export,
                             char *command, size_t size)
{
    const char *temporary = o->temporary_slot ? " TEMPORARY" : "";
    const char *library = plugin_of(o->plugin)->library;

    if (PQserverVersion(walsender) >= 170000)
        snprintf(command, size,
                 "CREATE_REPLICATION_SLOT %s%s LOGICAL %s "
                 "(SNAPSHOT '%s', TWO_PHASE %s, FAILOVER %s)",
                 o->slot, temporary, library, export ? "export" : "nothing",
                 o->two_phase ? "true" : "false",
                 o->failover ? "true" : "false");
    else
        snprintf(command, size, "CREATE_REPLICATION_SLOT %s%s LOGICAL %s %s_SNAPSHOT%s", o->slot,
                 temporary, library, export ? "EXPORT" : "NOEXPORT",
                 o->two_phase ? " TWO_PHASE" : "");
}

void slot_name_blockers(PGconn *sql, const char *waiting)
{
    PGresult *result;
    const char *list;

    log_notice("waiting for running transactions before %s", waiting);
    if (sql_query(sql, "look up running transactions",
                  "SELECT string_agg(who, ', ') AS list, pg_is_in_recovery() AS standby FROM ("
                  "  SELECT pg_catalog.format('process %s (%s)', pid, state) AS who"
                  "    FROM pg_stat_activity"
                  "   WHERE backend_xid IS NOT NULL"
                  "  UNION ALL"
                  "  SELECT pg_catalog.format('prepared transaction %L', gid)"
                  "    FROM pg_prepared_xacts) AS w",
                  0, NULL, &result) != OUTCOME_OK)
        return;
    list = result_text(result, 0, "list");
    if (list)
        log_detail("The server waits until these have ended: %s.", list);
    else if (result_bool(result, 0, "standby"))
        log_hint("A standby learns from its primary which are running: SELECT "
                 "pg_log_standby_snapshot() there, when it is quiet.");
    PQclear(result);
}

/* Waits for the answer to a command that was sent; says who blocks it when it takes long. */
static enum outcome await_creation(PGconn *walsender, PGconn *sql)
{
    enum { PATIENCE_SEC = 3 };
    usec_t deadline = clock_ticks() + PATIENCE_SEC * USEC_PER_SEC;

    while (PQisBusy(walsender)) {
        enum outcome outcome = connection_wait(walsender, false, true, deadline);

        if (outcome == OUTCOME_UNAVAILABLE) {
            slot_name_blockers(sql, "the replication slot can be created");
            deadline = 0;
            continue;
        }
        if (outcome != OUTCOME_OK)
            return outcome;
        if (!PQconsumeInput(walsender))
            break;
    }
    return OUTCOME_OK;
}

static enum outcome take_created(PGconn *walsender, bool export, struct created_slot *created)
{
    PGresult *result = PQgetResult(walsender);
    enum outcome outcome = OUTCOME_OK;

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        created->consistent_point = result_lsn(result, 0, "consistent_point");
        copy_text(created->snapshot, sizeof created->snapshot, result, "snapshot_name");
    } else if (export && strcmp(result_sqlstate(result), "40001") == 0) {
        created->too_large = true; /* "initial slot snapshot too large" */
        outcome = OUTCOME_UNAVAILABLE;
    } else {
        created->forbidden = strcmp(result_sqlstate(result), "42501") == 0;
        outcome = server_error(walsender, result, "create the replication slot");
    }
    while (result) {
        PQclear(result);
        result = PQgetResult(walsender);
    }
    return outcome;
}

/*
 * The user has had enough of waiting.  A server that waits does not notice a client that has gone:
 * without a cancel it would finish the slot later, for nobody, and keep WAL for it.
 */
static void abandon_creation(PGconn *walsender, PGconn *sql, const char *name)
{
    enum { PATIENCE_USEC = 2000000 };
    usec_t deadline = clock_ticks() + PATIENCE_USEC;
    PGresult *result;
    bool created = false;

    connection_cancel(walsender);
    do {
        while (PQisBusy(walsender)) {
            if (connection_wait(walsender, false, false, deadline) != OUTCOME_OK) {
                log_warning("could not cancel the creation of replication slot \"%s\"", name);
                return;
            }
            if (!PQconsumeInput(walsender))
                break;
        }
        result = PQgetResult(walsender);
        created |= PQresultStatus(result) == PGRES_TUPLES_OK;
        PQclear(result);
    } while (result);
    if (created)
        slot_drop(sql, name);
}

/* From 19 on the server raises the level by itself. */
static void hint_at_wal_level(PGconn *sql)
{
    PGresult *result;

    if (PQserverVersion(sql) >= 190000 ||
        sql_query(sql, "look up the server's setting",
                  "SELECT setting FROM pg_settings WHERE name = 'wal_level' AND setting <> 'logical'",
                  0, NULL, &result) != OUTCOME_OK)
        return;
    if (PQntuples(result) > 0)
        log_hint("Set wal_level to logical in the server's configuration and restart the server.");
    PQclear(result);
}

enum outcome slot_create(PGconn *walsender, PGconn *sql, const struct options *o, bool export,
                         struct created_slot *created)
{
    char command[256];
    enum outcome outcome;

    *created = (struct created_slot){0};
    creation_command(walsender, o, export, command, sizeof command);
    if (!PQsendQuery(walsender, command))
        return server_error(walsender, NULL, "create the replication slot");
    outcome = await_creation(walsender, sql);
    if (outcome != OUTCOME_OK) {
        abandon_creation(walsender, sql, o->slot);
        return outcome;
    }
    outcome = take_created(walsender, export, created);
    if (outcome == OUTCOME_MISUSED) {
        hint_at_wal_level(sql);
        plugin_hint_at_setting(sql, plugin_of(o->plugin), created->forbidden);
    }
    if (outcome == OUTCOME_OK)
        log_notice("created replication slot \"%s\" at " LSN_FMT, o->slot,
                   LSN_ARGS(created->consistent_point));
    return outcome;
}

/* Waits a little for nobody to hold the slot. */
static enum outcome await_end(PGconn *sql, const char *name, struct slot *s)
{
    enum { TRIES = 100, PAUSE_USEC = 50000 };
    enum outcome outcome = OUTCOME_OK;

    for (int i = 0; i < TRIES; i++) {
        outcome = slot_find(sql, name, s);
        if (outcome != OUTCOME_OK || !s->exists || !s->active)
            break;
        clock_pause(PAUSE_USEC);
    }
    return outcome;
}

enum outcome slot_advance(PGconn *sql, const char *name, lsn_t lsn)
{
    char position[24];
    const char *params[] = {name, position};
    PGresult *result;
    struct slot s;
    enum outcome outcome = await_end(sql, name, &s);

    if (outcome != OUTCOME_OK || !s.exists || s.confirmed >= lsn)
        return outcome;
    snprintf(position, sizeof position, LSN_FMT, LSN_ARGS(lsn));
    outcome = sql_query(sql, "advance the replication slot",
                        "SELECT pg_replication_slot_advance($1, $2::pg_lsn)", 2, params, &result);
    PQclear(result);
    return outcome;
}

enum outcome slot_in_use(PGconn *sql, const char *name)
{
    struct slot_watch watch;
    enum outcome outcome = slot_watch(sql, name, &watch);
    const char *holder = watch.count > 0 ? watch.slots[0].holder : NULL;

    if (outcome == OUTCOME_OK) {
        log_error("replication slot \"%s\" is in use by %s", name,
                  holder ? holder : "a process that has ended by now");
        outcome = OUTCOME_UNAVAILABLE;
    }
    slot_watch_release(&watch);
    return outcome;
}

enum outcome slot_drop(PGconn *sql, const char *name)
{
    PGresult *result;
    struct slot s;
    enum outcome outcome = await_end(sql, name, &s);

    if (outcome != OUTCOME_OK || !s.exists)
        return outcome;
    if (s.active)
        return slot_in_use(sql, name);
    outcome = sql_query(sql, "drop the replication slot", "SELECT pg_drop_replication_slot($1)", 1,
                        &name, &result);
    PQclear(result);
    if (outcome == OUTCOME_OK)
        log_notice("dropped replication slot \"%s\"", name);
    return outcome;
}
