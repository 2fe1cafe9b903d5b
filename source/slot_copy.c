#include "source/slot_copy.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/server_error.h"
#include "source/slot.h"
#include "source/slot_watch.h"

/* Slots' names need no quotes; the number of the connection's process makes it one of its own. */
static enum outcome ask_for_copy(PGconn *conn, const char *slot, struct slot_copy *copy,
                                 PGresult **result)
{
    char *command;
    enum outcome outcome;

    snprintf(copy->name, sizeof copy->name, "cdcdump_peek_%d", PQbackendPID(conn));
    command = xasprintf("SELECT pg_catalog.pg_copy_logical_replication_slot('%s', '%s', true)",
                        slot, copy->name);
    outcome = walsender_ask(conn, command, result);
    free(command);
    return outcome;
}

enum outcome slot_copy_to_read(PGconn *conn, const char *slot, struct slot_copy *copy,
                               PGresult **result)
{
    char *command = xasprintf("SELECT slot_name FROM pg_catalog.pg_copy_logical_replication_slot('%s',"
                              " pg_catalog.concat(" SLOT_COPY_PREFIX("'%s'")
                              ", pg_catalog.pg_backend_pid())::pg_catalog.name, true)",
                              slot, slot);
    enum outcome outcome = walsender_ask(conn, command, result);

    if (PQresultStatus(*result) == PGRES_TUPLES_OK)
        snprintf(copy->name, sizeof copy->name, "%s", result_first(*result));
    free(command);
    return outcome;
}

static enum outcome refuse_copy(PGconn *conn, const PGresult *result, PGconn *sql, const char *slot)
{
    const char *why = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    enum outcome outcome;

    if (!sql)
        return server_error(conn, result, "copy the replication slot again");
    outcome = slot_in_use(sql, slot);
    if (outcome != OUTCOME_UNAVAILABLE)
        return outcome;
    log_detail("A temporary copy of it to look at could not be made: %s.",
               why ? why : PQerrorMessage(conn));
    log_hint("%s", hint ? hint : "A slot has one reader at a time: try again when it is free.");
    return OUTCOME_UNAVAILABLE;
}

static enum outcome tell_of_copy(PGconn *sql, const char *slot, bool two_phase)
{
    struct slot_watch watch;
    enum outcome outcome = slot_watch(sql, slot, &watch);
    const char *holder = watch.count > 0 ? watch.slots[0].holder : NULL;

    if (outcome == OUTCOME_OK)
        log_notice("replication slot \"%s\" is in use by %s: looking at a temporary copy of it",
                   slot, holder ? holder : "another process");
    if (outcome == OUTCOME_OK && two_phase)
        log_detail("It gives prepared transactions when they are committed; the slot does so when "
                   "they are prepared.");
    slot_watch_release(&watch);
    return outcome;
}

enum outcome slot_copy_make(PGconn *conn, PGconn *sql, const char *slot, bool two_phase,
                            struct slot_copy *copy)
{
    PGresult *result = NULL;
    enum outcome outcome = ask_for_copy(conn, slot, copy, &result);

    if (outcome == OUTCOME_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        outcome = refuse_copy(conn, result, sql, slot);
    else if (outcome == OUTCOME_OK && sql)
        outcome = tell_of_copy(sql, slot, two_phase);
    PQclear(result);
    return outcome;
}
