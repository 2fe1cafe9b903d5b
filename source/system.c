#include "source/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/lsn.h"
#include "base/signals.h"
#include "source/connection.h"
#include "source/slot.h"

static enum outcome read_role(PGconn *walsender, struct system *s)
{
    PGresult *result;
    enum outcome outcome =
        walsender_query(walsender, "look up the server's role",
                        "SELECT setting, pg_is_in_recovery() AS standby"
                        "  FROM pg_settings WHERE name = 'wal_sender_timeout'",
                        &result);
    int64_t milliseconds;

    if (outcome != OUTCOME_OK)
        return outcome;
    milliseconds = result_i64(result, 0, "setting");
    s->wal_sender_timeout = milliseconds < 0 || milliseconds > INT32_MAX ? 0 : milliseconds * 1000;
    s->standby = result_bool(result, 0, "standby");
    PQclear(result);
    return OUTCOME_OK;
}

enum outcome system_identify(PGconn *walsender, struct system *s)
{
    PGresult *result;
    enum outcome outcome =
        walsender_query(walsender, "identify the server", "IDENTIFY_SYSTEM", &result);
    const char *identifier, *timeline, *database;

    *s = (struct system){.version = PQserverVersion(walsender)};
    if (outcome != OUTCOME_OK)
        return outcome;
    identifier = result_text(result, 0, "systemid");
    timeline = result_text(result, 0, "timeline");
    database = result_text(result, 0, "dbname");
    if (!identifier || strlen(identifier) >= sizeof s->identifier || !timeline || !database) {
        log_error("could not identify the server: unexpected answer to IDENTIFY_SYSTEM");
        PQclear(result);
        return OUTCOME_FAILED;
    }
    snprintf(s->identifier, sizeof s->identifier, "%s", identifier);
    s->timeline = (uint32_t)strtoul(timeline, NULL, 10);
    s->flushed = result_lsn(result, 0, "xlogpos");
    s->database = xstrdup(database);
    PQclear(result);
    return read_role(walsender, s);
}

void system_release(struct system *s)
{
    free(s->database);
    s->database = NULL;
}

/* Lines "timeline<TAB>switch LSN<TAB>reason", oldest first; # begins a comment. */
static bool find_in_history(const char *history, uint32_t timeline, lsn_t *switch_lsn)
{
    while (history && *history) {
        unsigned tli, high, low;

        if (sscanf(history, "%u %X/%X", &tli, &high, &low) == 3 && tli == timeline) {
            *switch_lsn = (lsn_t)high << 32 | low;
            return true;
        }
        history = strchr(history, '\n');
        if (history)
            history++;
    }
    return false;
}

enum outcome system_timeline_end(PGconn *walsender, const struct system *s, uint32_t timeline,
                                 lsn_t *switch_lsn)
{
    char command[64];
    PGresult *result;
    enum outcome outcome;
    bool found;

    *switch_lsn = 0;
    if (timeline == s->timeline)
        return OUTCOME_OK;
    snprintf(command, sizeof command, "TIMELINE_HISTORY %u", s->timeline);
    outcome = walsender_query(walsender, "read the timeline history", command, &result);
    if (outcome != OUTCOME_OK)
        return outcome;
    found = PQntuples(result) == 1 && PQnfields(result) == 2 &&
            find_in_history(PQgetvalue(result, 0, 1), timeline, switch_lsn);
    PQclear(result);
    if (found)
        return OUTCOME_OK;
    log_error("position lost: the server's timeline %u does not descend from timeline %u of our "
              "position",
              s->timeline, timeline);
    return OUTCOME_POSITION_LOST;
}

/*
 * The insert position may stand just behind a page header that has not been written yet; the
 * stream then only gets to the end of the page before it.  (XLogBytePosToRecPtr and
 * XLogBytePosToEndRecPtr differ by that header; it is 24 bytes, 40 at the start of a segment.)
 */
static lsn_t before_page_header(lsn_t lsn, uint64_t segment_size)
{
    enum { PAGE = 8192, SHORT_HEADER = 24, LONG_HEADER = 40 };

    if (segment_size && lsn % segment_size == LONG_HEADER)
        return lsn - LONG_HEADER;
    if (lsn % PAGE == SHORT_HEADER)
        return lsn - SHORT_HEADER;
    return lsn;
}

static enum outcome read_wal_end(PGconn *sql, lsn_t *inserted, lsn_t *flushed)
{
    PGresult *result;
    const char *segment_size;
    enum outcome outcome = sql_query(
        sql, "read the end of the WAL",
        "SELECT CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END"
        "       AS inserted,"
        "       CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END"
        "       AS flushed,"
        "       (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size"
        "  FROM pg_is_in_recovery() AS r",
        0, NULL, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    segment_size = result_text(result, 0, "segment_size");
    *inserted = before_page_header(result_lsn(result, 0, "inserted"),
                                   segment_size ? strtoull(segment_size, NULL, 10) : 0);
    *flushed = result_lsn(result, 0, "flushed");
    PQclear(result);
    return OUTCOME_OK;
}

/*
 * The WAL writer flushes asynchronous commits within three times wal_writer_delay (200 ms).  What
 * is still not flushed after a second belongs to transactions that have not committed.
 */
enum outcome system_wal_end(PGconn *sql, lsn_t *lsn)
{
    enum { TRIES = 50, PAUSE_USEC = 20000 };
    lsn_t wanted = 0, inserted, flushed = 0;

    for (int i = 0; i < TRIES; i++) {
        enum outcome outcome = read_wal_end(sql, &inserted, &flushed);

        if (outcome != OUTCOME_OK)
            return outcome;
        if (i == 0)
            wanted = inserted;
        if (flushed >= wanted)
            break;
        clock_pause(PAUSE_USEC);
    }
    *lsn = flushed < wanted ? flushed : wanted;
    return OUTCOME_OK;
}

/*
 * Asks until the first column of the answer is true; who is waited for is told once, after a while.
 * The question may have one parameter.
 */
static enum outcome await_true(PGconn *sql, const char *question, const char *param,
                               const char *waiting)
{
    enum { PAUSE_USEC = 50000, PATIENCE_SEC = 3 };
    usec_t told = clock_ticks() + PATIENCE_SEC * USEC_PER_SEC;

    for (;;) {
        PGresult *result;
        bool answer;
        enum outcome outcome =
            sql_query(sql, "look up running transactions", question, 1, &param, &result);

        if (outcome != OUTCOME_OK)
            return outcome;
        answer = result_first(result)[0] == 't';
        PQclear(result);
        if (answer)
            return OUTCOME_OK;
        if (signals_stop())
            return OUTCOME_STOPPED;
        if (told && clock_ticks() >= told) {
            slot_name_blockers(sql, waiting);
            told = 0;
        }
        clock_pause(PAUSE_USEC);
    }
}

/* The first column of the question's only row; the caller frees it. */
static enum outcome ask_text(PGconn *sql, const char *question, char **text)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up running transactions", question, 0, NULL, &result);

    *text = outcome == OUTCOME_OK ? xstrdup(result_first(result)) : NULL;
    PQclear(result);
    return outcome;
}

/* The answer to the first question is the parameter of the second one, which is to become true. */
static enum outcome await_ended(PGconn *sql, const char *which, const char *ended,
                                const char *waiting)
{
    char *those;
    enum outcome outcome = ask_text(sql, which, &those);

    if (outcome == OUTCOME_OK)
        outcome = await_true(sql, ended, those, waiting);
    free(those);
    return outcome;
}

enum outcome system_await_running(PGconn *sql, const char *waiting)
{
    return await_ended(sql, "SELECT txid_snapshot_xmax(txid_current_snapshot())",
                       "SELECT txid_snapshot_xmin(txid_current_snapshot()) >= $1::int8", waiting);
}

static enum outcome await_waiting_commits(PGconn *sql)
{
    return await_ended(sql,
                       "SELECT coalesce(array_agg(backend_xid::text), '{}')"
                       "  FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
                       "SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
                       "  WHERE wait_event = 'SyncRep' AND backend_xid::text = ANY ($1))",
                       "rows can be read, as their commits are not visible yet");
}

/* Without synchronous replication there are none; who may not see them waits for all. */
enum outcome system_await_commits(PGconn *sql)
{
    char *how;
    enum outcome outcome =
        ask_text(sql,
                 "SELECT CASE WHEN current_setting('synchronous_standby_names') = '' THEN 'none'"
                 "            WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN 'these'"
                 "            ELSE 'all' END",
                 &how);

    if (outcome == OUTCOME_OK && strcmp(how, "these") == 0)
        outcome = await_waiting_commits(sql);
    else if (outcome == OUTCOME_OK && strcmp(how, "all") == 0)
        outcome = system_await_running(sql, "rows can be read, as commits may not be visible yet");
    free(how);
    return outcome;
}

enum outcome system_await_prepared(PGconn *sql)
{
    return await_ended(sql,
                       "SELECT coalesce(array_agg(transaction::text), '{}')"
                       "  FROM pg_prepared_xacts WHERE database = current_database()",
                       "SELECT NOT EXISTS (SELECT FROM pg_prepared_xacts"
                       "  WHERE transaction::text = ANY ($1))",
                       "rows can be read, as they have been streamed in part");
}

enum outcome system_quiet_point(PGconn *sql, lsn_t *lsn)
{
    static const char waiting[] = "a point can be found to begin at";
    lsn_t flushed;
    enum outcome outcome = system_await_running(sql, waiting);

    if (outcome == OUTCOME_OK)
        outcome = read_wal_end(sql, lsn, &flushed);
    return outcome == OUTCOME_OK ? system_await_running(sql, waiting) : outcome;
}

/*
 * A transaction that has an id but has written nothing commits asynchronously: that wakes the WAL
 * writer, which flushes all there is.
 */
enum outcome system_push_wal(PGconn *sql)
{
    return sql_run(sql, "make the server flush its WAL",
                   "SELECT CASE WHEN NOT pg_is_in_recovery() THEN txid_current() END");
}

enum outcome system_read_time(PGconn *sql, const char *text, usec_t *when, usec_t *now)
{
    static const char question[] =
        "SELECT trunc(extract(epoch FROM $1::timestamptz) * 1000000)::int8::text AS then,"
        "       trunc(extract(epoch FROM clock_timestamp()) * 1000000)::int8::text AS now";
    PGresult *result;
    enum outcome outcome = sql_query(sql, "read the timestamp", question, 1, &text, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    *when = result_i64(result, 0, "then");
    *now = result_i64(result, 0, "now");
    PQclear(result);
    return OUTCOME_OK;
}

enum outcome system_money_places(PGconn *sql, unsigned *places)
{
    PGresult *result;
    enum outcome outcome = sql_query(sql, "look up how money is written",
                                     "SELECT scale('1'::money::numeric) AS places", 0, NULL, &result);

    if (outcome == OUTCOME_OK)
        *places = result_u32(result, 0, "places");
    PQclear(result);
    return outcome;
}
