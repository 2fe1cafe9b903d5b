#include "source/slot_keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "source/server_error.h"

enum {
    SELDOM_USEC = 1000000, /* between two moves of the slot, */
    SHARE = 10,            /* which take a tenth of the time at most */
    GRACE_SEC = 3,         /* for the last one, after a signal */
};

/*
 * $1: the slot, $2: where to move it, unless somebody looks at it at this moment.  A standby decodes
 * what it has replayed, a primary what it has flushed.
 */
static const char statement[] =
    "SELECT s.confirmed_flush_lsn,"
    "       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "            ELSE pg_current_wal_flush_lsn() END AS wal_end,"
    "       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now,"
    "       CASE WHEN s.active_pid IS NULL AND s.confirmed_flush_lsn < $2::pg_lsn"
    "            THEN (SELECT end_lsn FROM pg_replication_slot_advance(s.slot_name, $2::pg_lsn))"
    "       END AS moved"
    "  FROM pg_replication_slots s WHERE s.slot_name = $1";

void slot_keeper_init(struct slot_keeper *k, struct connector *connector, const char *slot,
                      lsn_t told)
{
    *k = (struct slot_keeper){.connector = connector, .slot = slot, .told = told, .goal = told};
}

enum outcome slot_keeper_open(struct slot_keeper *k)
{
    return connector_connect(k->connector, CONNECTION_SQL, &k->conn);
}

static bool send(struct slot_keeper *k, lsn_t goal)
{
    char position[24];
    const char *params[] = {k->slot, position};

    if (!k->conn && slot_keeper_open(k) != OUTCOME_OK)
        return false;
    snprintf(position, sizeof position, LSN_FMT, LSN_ARGS(goal));
    k->asked_at = clock_ticks();
    k->busy = PQsendQueryParams(k->conn, statement, 2, NULL, params, NULL, NULL, 0) == 1;
    return k->busy;
}

bool slot_keeper_ask(struct slot_keeper *k, bool look)
{
    bool moves = k->goal > k->told && clock_ticks() >= k->next;

    if (k->busy || !(moves || look))
        return true;
    k->moves = moves;
    return send(k, moves ? k->goal : 0);
}

bool slot_keeper_receive(struct slot_keeper *k)
{
    return !k->busy || PQconsumeInput(k->conn) == 1;
}

/* What others have done to the slot is for the checks of the next connect to judge. */
static enum slot_keeper_step disturbed(const struct slot_keeper *k, const PGresult *result)
{
    if (PQntuples(result) == 0)
        log_warning("replication slot \"%s\" has been dropped while it was read", k->slot);
    else
        log_warning("replication slot \"%s\" has been moved by another consumer: it is at " LSN_FMT
                    ", not at " LSN_FMT,
                    k->slot, LSN_ARGS(result_lsn(result, 0, "confirmed_flush_lsn")),
                    LSN_ARGS(k->told));
    return SLOT_KEEPER_DISTURBED;
}

/* Between the look at the slot and its move others have dropped it, moved it on, or are at it. */
static bool is_disturbance(const char *sqlstate)
{
    return strncmp(sqlstate, "55", 2) == 0 || strcmp(sqlstate, "42704") == 0;
}

static enum slot_keeper_step refused(const struct slot_keeper *k, const PGresult *result)
{
    server_warning(k->conn, result, "advance the replication slot");
    return SLOT_KEEPER_DISTURBED;
}

static enum slot_keeper_step heed(struct slot_keeper *k, const PGresult *result)
{
    usec_t now = clock_ticks(), rest = SHARE * (now - k->asked_at);
    lsn_t moved;

    if (PQntuples(result) == 0 ||
        result_lsn(result, 0, "confirmed_flush_lsn") != k->told)
        return disturbed(k, result);
    k->wal_end = result_lsn(result, 0, "wal_end");
    k->server_now = result_i64(result, 0, "now");
    moved = result_lsn(result, 0, "moved");
    if (moved)
        k->told = moved;
    if (k->moves)
        k->next = now + (rest > SELDOM_USEC ? rest : SELDOM_USEC);
    return SLOT_KEEPER_ANSWERED;
}

enum slot_keeper_step slot_keeper_take(struct slot_keeper *k, enum outcome *outcome)
{
    enum slot_keeper_step step = SLOT_KEEPER_FAILED;
    PGresult *result, *rest;

    if (!k->busy || PQisBusy(k->conn))
        return SLOT_KEEPER_NONE;
    result = PQgetResult(k->conn);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        step = heed(k, result);
    else if (is_disturbance(result_sqlstate(result)))
        step = refused(k, result);
    else
        *outcome = server_error(k->conn, result, "advance the replication slot");
    PQclear(result);
    k->busy = false;
    while ((rest = PQgetResult(k->conn)))
        PQclear(rest);
    return step;
}

/* ---- the end ---- */

/* Until the answer is there; after a signal no longer than a few seconds. */
static enum slot_keeper_step await(struct slot_keeper *k)
{
    enum slot_keeper_step step = SLOT_KEEPER_NONE;
    enum outcome outcome = OUTCOME_OK;
    usec_t deadline = 0;

    log_flush();
    while ((step = slot_keeper_take(k, &outcome)) == SLOT_KEEPER_NONE && k->busy) {
        if (signals_stop() && !deadline)
            deadline = clock_ticks() + GRACE_SEC * USEC_PER_SEC;
        outcome = connection_wait(k->conn, false, !deadline, deadline);
        if (outcome == OUTCOME_UNAVAILABLE || (outcome == OUTCOME_OK && !slot_keeper_receive(k)))
            return SLOT_KEEPER_FAILED;
    }
    return step;
}

static bool tell(struct slot_keeper *k)
{
    if (k->busy && await(k) != SLOT_KEEPER_ANSWERED)
        return false;
    return k->told >= k->goal ||
           (send(k, k->goal) && await(k) == SLOT_KEEPER_ANSWERED && k->told >= k->goal);
}

/*
 * The server may have come back since the last question.  That the slot cannot be told is no failure:
 * it is told by the next run.
 */
void slot_keeper_finish(struct slot_keeper *k)
{
    struct buf why;
    bool good;

    buf_init(&why, 256);
    if (k->goal > k->told)
        log_verbose("advancing the slot to " LSN_FMT, LSN_ARGS(k->goal));
    log_keep_errors(&why);
    good = tell(k);
    if (!good && !signals_stop()) {
        slot_keeper_close(k);
        good = tell(k);
    }
    log_keep_errors(NULL);
    if (!good && why.len == 0)
        buf_add_str(&why, "it is in use");
    if (!good)
        log_verbose("the slot could not be told: %.*s", (int)why.len, why.data);
    buf_release(&why);
    slot_keeper_close(k);
}

void slot_keeper_close(struct slot_keeper *k)
{
    if (k->conn && k->busy)
        connection_cancel(k->conn);
    PQfinish(k->conn);
    k->conn = NULL;
    k->busy = false;
}
