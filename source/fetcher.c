#include "source/fetcher.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "source/server_error.h"

/*
 * Reading takes as long as it takes, and a slow output makes it wait in the middle.  Not all of
 * these settings are known to all versions.
 *
 * libpq reads as much at a time as its buffer has room for: 16 kB, until something longer has come.
 * So that comes first.
 */
enum outcome fetcher_open(struct fetcher *r, struct connector *connector)
{
    enum outcome outcome;

    *r = (struct fetcher){0};
    outcome = connector_connect(connector, CONNECTION_ROWS, &r->conn);
    return outcome == OUTCOME_OK
               ? sql_run(r->conn, "prepare for reading",
                         "SELECT pg_catalog.repeat(' ', 100000); "
                         "SELECT pg_catalog.set_config(name, '0', false)"
                         "  FROM pg_settings WHERE name IN"
                         " ('idle_in_transaction_session_timeout', 'idle_session_timeout',"
                         "  'transaction_timeout')")
               : outcome;
}

static void drop_step(struct fetcher *r)
{
    PQfreemem(r->line);
    PQclear(r->result);
    r->line = NULL;
    r->result = NULL;
}

/* A server that computes and has nothing to send would not notice that nobody waits for it. */
void fetcher_close(struct fetcher *r)
{
    drop_step(r);
    if (r->conn && r->busy && PQstatus(r->conn) == CONNECTION_OK)
        connection_cancel(r->conn);
    PQfinish(r->conn);
    *r = (struct fetcher){0};
}

/* SET TRANSACTION SNAPSHOT has to come before any query. */
enum outcome fetcher_begin(struct fetcher *r, const char *snapshot)
{
    enum outcome outcome =
        sql_run(r->conn, "begin reading", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    char statement[128];

    if (outcome == OUTCOME_OK && snapshot) {
        snprintf(statement, sizeof statement, "SET TRANSACTION SNAPSHOT '%s'", snapshot);
        outcome = sql_run(r->conn, "take over the snapshot", statement);
    }
    return outcome == OUTCOME_OK ? sql_run(r->conn, "begin reading", "SET LOCAL row_security = off")
                                 : outcome;
}

enum outcome fetcher_send(struct fetcher *r, const char *statements)
{
    r->busy = PQsendQuery(r->conn, statements) == 1;
    if (r->busy || r->keeps)
        return r->busy ? OUTCOME_OK : OUTCOME_UNAVAILABLE;
    return server_error(r->conn, NULL, "ask for rows");
}

/* One line, or the end of the COPY. */
static enum fetcher_step step_in_copy(struct fetcher *r, size_t *len)
{
    int n = PQgetCopyData(r->conn, &r->line, 1);

    if (n > 0) {
        *len = (size_t)n;
        return FETCHER_ROW;
    }
    if (n == 0)
        return FETCHER_WAIT;
    r->copying = false; /* what came of it, an error perhaps, is the next result */
    return FETCHER_COPIED;
}

/* A failed result ends all that was sent with it; what the connection has beside it is dropped. */
static enum fetcher_step failed(struct fetcher *r, PGresult *result, const char *doing,
                               enum outcome *outcome)
{
    const char *sqlstate = result_sqlstate(result);
    bool passes;

    if (r->keeps) {
        r->result = result;
        *outcome = outcome_of_sqlstate(sqlstate);
        return FETCHER_FAILED;
    }
    r->missing = strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42703") == 0;
    passes = r->missing || outcome_of_sqlstate(sqlstate) == OUTCOME_UNAVAILABLE;
    *outcome = r->lenient && passes ? server_warning(r->conn, result, doing)
                                    : server_error(r->conn, result, doing);
    if (PQstatus(r->conn) != CONNECTION_OK)
        *outcome = OUTCOME_UNAVAILABLE;
    PQclear(result);
    return FETCHER_FAILED;
}

enum fetcher_step fetcher_next(struct fetcher *r, size_t *len, const char *doing,
                             enum outcome *outcome)
{
    drop_step(r);
    if (r->copying)
        return step_in_copy(r, len);
    while (!PQisBusy(r->conn)) {
        PGresult *result = PQgetResult(r->conn);

        switch (PQresultStatus(result)) {
        case PGRES_COMMAND_OK:
            PQclear(result);
            continue;
        case PGRES_TUPLES_OK:
            r->result = result;
            return FETCHER_RESULT;
        case PGRES_COPY_OUT:
            PQclear(result);
            r->copying = true;
            return step_in_copy(r, len);
        default:
            break;
        }
        if (result)
            return failed(r, result, doing, outcome);
        r->busy = false;
        return FETCHER_DONE;
    }
    return FETCHER_WAIT;
}

char *fetcher_keep(struct fetcher *r)
{
    char *line = r->line;

    r->line = NULL;
    return line;
}

bool fetcher_receive(struct fetcher *r)
{
    return PQconsumeInput(r->conn) == 1;
}

void fetcher_cancel(struct fetcher *r)
{
    char *line;
    PGresult *result;

    if (!r->busy)
        return;
    connection_cancel(r->conn);
    drop_step(r);
    while (PQgetCopyData(r->conn, &line, 0) > 0)
        PQfreemem(line);
    while ((result = PQgetResult(r->conn))) {
        bool copy = PQresultStatus(result) == PGRES_COPY_OUT;

        PQclear(result);
        while (copy && PQgetCopyData(r->conn, &line, 0) > 0)
            PQfreemem(line);
    }
    r->busy = r->copying = false;
}
