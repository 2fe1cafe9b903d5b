#include "source/slot_reader.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/server_error.h"
#include "source/transport.h"

/* ---- opening ---- */

static const char session_question[] =
    "SELECT pg_catalog.pg_backend_pid() AS pid,"
    "       CASE WHEN NOT pg_catalog.has_function_privilege("
    "              'pg_catalog.pg_logical_slot_get_binary_changes("
    "pg_catalog.name, pg_catalog.pg_lsn, pg_catalog.int4, pg_catalog.text[])', 'EXECUTE')"
    "            THEN 'pg_logical_slot_get_binary_changes'"
    "            WHEN NOT pg_catalog.has_function_privilege("
    "              'pg_catalog.pg_replication_slot_advance(pg_catalog.name, pg_catalog.pg_lsn)',"
    "              'EXECUTE') THEN 'pg_replication_slot_advance' END AS forbidden";

/*
 * Behind a pooler the next statement may be another session's, which does not have the copy.  And what
 * the role may not call is better known before anything has been read.
 */
static enum outcome check_session(struct slot_reader *r)
{
    PGresult *result;
    PGconn *conn = r->fetcher.conn;
    enum outcome outcome =
        sql_query(conn, "ask for the server process", session_question, 0, NULL, &result);
    const char *forbidden = outcome == OUTCOME_OK ? result_text(result, 0, "forbidden") : NULL;

    if (outcome == OUTCOME_OK && result_i32(result, 0, "pid") != PQbackendPID(conn)) {
        log_error("changes cannot be read through SQL: a connection pooler lies before the server");
        log_hint("Connect to the server itself, or use --transport=stream.");
        outcome = OUTCOME_MISUSED;
    } else if (forbidden) {
        log_error("changes cannot be read through SQL: permission denied for function %s",
                  forbidden);
        log_hint("Grant EXECUTE on it, or use --transport=stream.");
        outcome = OUTCOME_MISUSED;
    }
    PQclear(result);
    return outcome;
}

/*
 * A copy lives as long as its session, and holds back WAL: the server shall notice soon when we have
 * gone, as walsenders do.  Not all of these are known to all versions and systems.
 */
static enum outcome watch_client(struct slot_reader *r)
{
    return sql_run(r->fetcher.conn, "prepare for reading",
                   "SELECT pg_catalog.set_config(s.name, w.value, false)"
                   "  FROM pg_catalog.pg_settings AS s"
                   "  JOIN (VALUES ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),"
                   "               ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '60000'),"
                   "               ('client_connection_check_interval', '2000')) AS w (name, value)"
                   "    ON s.name OPERATOR(pg_catalog.=) w.name"
                   " WHERE s.name OPERATOR(pg_catalog.<>) 'client_connection_check_interval'"
                   "    OR pg_catalog.strpos(pg_catalog.version(), 'linux') OPERATOR(pg_catalog.>) 0");
}

static enum outcome copy_slot(struct slot_reader *r, struct stream *s, const char *slot)
{
    PGconn *conn = r->fetcher.conn;
    PGresult *result = NULL;
    enum outcome outcome = slot_copy_to_read(conn, slot, &r->copy, &result);

    if (outcome == OUTCOME_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        outcome = stream_error(s, conn, result, "copy the replication slot");
    PQclear(result);
    return outcome;
}

char *slot_reader_arguments(const struct slot_reader *r, const struct options *o,
                            const struct plugin_options *chosen)
{
    struct buf b;
    char *text;

    buf_init(&b, 256);
    plugin_add_options(&b, r->fetcher.conn, PLUGIN_ARGUMENTS, o, chosen);
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

/* The function's call; what it reads ends right at the copy's beginning when upto lies before that. */
static void add_call(struct buf *b, const struct slot_reader *r, const char *what, lsn_t upto,
                     const char *arguments)
{
    buf_printf(b, "pg_catalog.pg_logical_slot_%s_binary_changes('%s', '" LSN_FMT
               "', NULL, VARIADIC ARRAY[%s]::pg_catalog.text[])",
               what, r->copy.name, LSN_ARGS(upto), arguments);
}

/* Starts the plugin with the options and reads a record at most. */
static enum outcome ask_plugin(struct slot_reader *r, const struct options *o,
                               const struct plugin_options *chosen, PGresult **result)
{
    char *arguments = slot_reader_arguments(r, o, chosen);
    struct buf b;
    enum outcome outcome;

    buf_init(&b, 512);
    buf_add_str(&b, "SELECT pg_catalog.count(*) FROM ");
    add_call(&b, r, "peek", 1, arguments);
    buf_add_char(&b, '\0');
    outcome = walsender_ask(r->fetcher.conn, b.data, result);
    buf_release(&b);
    free(arguments);
    return outcome;
}

/* With an error the server drops the copy. */
static enum outcome try_plugin(struct slot_reader *r, struct stream *s, const struct options *o,
                               struct plugin_options *chosen)
{
    PGresult *result = NULL;
    enum outcome outcome = ask_plugin(r, o, chosen, &result);

    while (outcome == OUTCOME_OK && PQresultStatus(result) == PGRES_FATAL_ERROR &&
           plugin_yields(o, chosen, result)) {
        PQclear(result);
        result = NULL;
        outcome = copy_slot(r, s, o->slot);
        if (outcome == OUTCOME_OK)
            outcome = ask_plugin(r, o, chosen, &result);
    }
    s->forbidden = strcmp(result_sqlstate(result), "42501") == 0;
    if (outcome == OUTCOME_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        outcome = stream_error(s, r->fetcher.conn, result, "read changes");
    PQclear(result);
    return outcome;
}

static const char place_statement[] =
    "SELECT confirmed_flush_lsn, restart_lsn FROM pg_catalog.pg_replication_slots"
    " WHERE slot_name OPERATOR(pg_catalog.=) '%s'";

static void take_place(struct slot_reader *r, const PGresult *result)
{
    r->at = result_lsn(result, 0, "confirmed_flush_lsn");
    r->restart = result_lsn(result, 0, "restart_lsn");
}

static enum outcome look_up_place(struct slot_reader *r)
{
    char statement[256];
    PGresult *result;
    enum outcome outcome;

    snprintf(statement, sizeof statement, place_statement, r->copy.name);
    outcome = sql_query(r->fetcher.conn, "look up the copy of the replication slot", statement, 0,
                        NULL, &result);
    if (outcome == OUTCOME_OK)
        take_place(r, result);
    PQclear(result);
    return outcome;
}

enum outcome slot_reader_open(struct slot_reader *r, struct stream *s, struct connector *connector,
                              const struct options *o, struct plugin_options *chosen)
{
    enum outcome outcome;

    *r = (struct slot_reader){0};
    outcome = fetcher_open(&r->fetcher, connector);
    r->fetcher.keeps = true;
    if (outcome == OUTCOME_OK)
        outcome = check_session(r);
    if (outcome == OUTCOME_OK)
        outcome = watch_client(r);
    if (outcome != OUTCOME_OK)
        return outcome;
    stream_take_notices(s, r->fetcher.conn);
    outcome = copy_slot(r, s, o->slot);
    if (outcome == OUTCOME_OK)
        outcome = try_plugin(r, s, o, chosen);
    return outcome == OUTCOME_OK ? look_up_place(r) : outcome;
}

void slot_reader_close(struct slot_reader *r)
{
    fetcher_close(&r->fetcher);
    *r = (struct slot_reader){0};
}

/* ---- asking ---- */

/* In the middle of a page, whatever the size of the server's pages, behind their heads. */
lsn_t slot_reader_round(lsn_t lsn)
{
    enum { LARGEST_PAGE = 64 * 1024, HALF_SMALLEST = 512 };
    lsn_t page = lsn & ~(lsn_t)(LARGEST_PAGE - 1);

    if (page + HALF_SMALLEST <= lsn)
        return page + HALF_SMALLEST;
    return page ? page - LARGEST_PAGE + HALF_SMALLEST : 0;
}

bool slot_reader_ask(struct slot_reader *r, lsn_t from, lsn_t upto, const char *arguments)
{
    struct buf b;
    bool sent;

    buf_init(&b, 1024);
    if (from > r->at)
        buf_printf(&b, "SELECT end_lsn FROM pg_catalog.pg_replication_slot_advance('%s', '" LSN_FMT "');",
                   r->copy.name, LSN_ARGS(from));
    buf_add_str(&b, "COPY (SELECT lsn, data FROM ");
    add_call(&b, r, "get", upto, arguments);
    buf_add_str(&b, ") TO STDOUT (FORMAT binary);");
    buf_printf(&b, place_statement, r->copy.name);
    buf_add_char(&b, '\0');
    r->from = from;
    r->upto = upto;
    r->behind = false;
    r->headed = false;
    r->left = 0;
    sent = fetcher_send(&r->fetcher, b.data) == OUTCOME_OK;
    buf_release(&b);
    return sent;
}

/* ---- taking ---- */

/*
 * COPY's binary format (PostgreSQL documentation, "COPY", "Binary Format"): a head of 11 bytes, Int32
 * flags, Int32 length of an extension; rows: Int16 number of fields, and per field Int32 length, -1
 * for null, and its bytes; -1 instead of a number of fields is the end.  Here a pg_lsn, Int64, and a
 * bytea.
 */
static const char copy_signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', '\377', '\r', '\n', '\0'};

enum { HEAD_SIZE = 19, ROW_SIZE = 2 + 4 + 8 + 4 };

static uint16_t get_u16(const char *p)
{
    uint16_t n;

    memcpy(&n, p, sizeof n);
    return be16toh(n);
}

static uint32_t get_u32(const char *p)
{
    uint32_t n;

    memcpy(&n, p, sizeof n);
    return be32toh(n);
}

static uint64_t get_u64(const char *p)
{
    uint64_t n;

    memcpy(&n, p, sizeof n);
    return be64toh(n);
}

static enum slot_reader_step broken(const char *what)
{
    log_error("could not read the changes: %s", what);
    return SLOT_READER_BROKEN;
}

/* The head comes alone or with the first row. */
static bool skip_head(struct slot_reader *r)
{
    if (r->headed)
        return true;
    if (r->left < HEAD_SIZE || memcmp(r->rows, copy_signature, sizeof copy_signature) != 0 ||
        get_u32(r->rows + 11) != 0 || get_u32(r->rows + 15) > r->left - HEAD_SIZE)
        return false;
    r->left -= HEAD_SIZE + get_u32(r->rows + 15);
    r->rows += HEAD_SIZE + get_u32(r->rows + 15);
    r->headed = true;
    return true;
}

static bool is_end(const struct slot_reader *r)
{
    return r->left == 2 && get_u16(r->rows) == 0xffff;
}

/* A row, all of it in one message. */
static enum slot_reader_step give_row(struct slot_reader *r, struct stream_message *m)
{
    const char *p = r->rows;
    uint32_t len;

    if (r->left < ROW_SIZE || get_u16(p) != 2 || get_u32(p + 2) != 8)
        return broken("a row does not have the form that was asked for");
    len = get_u32(p + 14);
    if (len > r->left - ROW_SIZE)
        return broken("a row is torn");
    *m = (struct stream_message){
        .kind = STREAM_DATA, .lsn = get_u64(p + 6), .payload = r->rows + ROW_SIZE, .len = len};
    r->rows += ROW_SIZE + len;
    r->left -= ROW_SIZE + len;
    return SLOT_READER_MESSAGE;
}

/* The results beside the rows: where the copy was advanced to before, and its place behind them. */
static void take_result(struct slot_reader *r)
{
    if (PQfnumber(r->fetcher.result, "end_lsn") < 0)
        take_place(r, r->fetcher.result);
    else
        r->behind = result_lsn(r->fetcher.result, 0, "end_lsn") < r->from;
}

static enum slot_reader_step finish(struct slot_reader *r)
{
    r->upto = 0;
    if (r->at && r->restart && r->headed && !r->behind)
        return SLOT_READER_DONE;
    return broken(r->behind ? "the copy of the replication slot could not be advanced"
                            : "the copy of the replication slot has gone");
}

enum slot_reader_step slot_reader_next(struct slot_reader *r, struct stream_message *m)
{
    enum outcome outcome;

    for (;;) {
        if (r->left > 0 && !skip_head(r))
            return broken("it does not begin as COPY's binary format does");
        if (r->left > 0 && !is_end(r))
            return give_row(r, m);
        r->left = 0;
        switch (fetcher_next(&r->fetcher, &r->left, "read changes", &outcome)) {
        case FETCHER_ROW:
            r->rows = r->fetcher.line;
            break;
        case FETCHER_RESULT:
            take_result(r);
            break;
        case FETCHER_COPIED:
            break;
        case FETCHER_WAIT:
            return SLOT_READER_WAIT;
        case FETCHER_DONE:
            return finish(r);
        case FETCHER_FAILED:
            return PQstatus(r->fetcher.conn) == CONNECTION_OK ? SLOT_READER_FAILED
                                                              : SLOT_READER_LOST;
        }
    }
}
