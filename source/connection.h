/*
 * connection - reaching the server, and short questions to it.
 *
 * A connector holds how to connect (the user's words, PostgreSQL's environment, the password if
 * one was typed) and makes any number of connections from that; once one has succeeded, later ones
 * go to the same host, so that all talk to one server although several hosts were named.
 *
 * Every connection has the session settings that the formatters of encode/value.h rely on.
 */
#ifndef SOURCE_CONNECTION_H
#define SOURCE_CONNECTION_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "cdcdump.h"
#include "cli/options.h"

struct connector;

/* NULL when the connection string cannot be read or the password cannot be asked for (logged). */
struct connector *connector_new(const struct options *o);
void connector_free(struct connector *c);

/* Lets the next connection go to any of the hosts again. */
void connector_forget_host(struct connector *c);

/* How many hosts were named, and turning to the one behind the first for the next connection. */
unsigned connector_hosts(const struct connector *c);
void connector_next_host(struct connector *c);

enum connection_kind {
    CONNECTION_SQL,        /* an ordinary session, which finds nothing but what is in pg_catalog */
    CONNECTION_ROWS,       /* one that finds what its role does */
    CONNECTION_REPLICATION /* a walsender of the database: replication commands and simple SQL */
};

/*
 * Connects; *conn is the caller's to PQfinish().  A signal that asks for the end gives
 * OUTCOME_STOPPED.  Password wanted: asks on the terminal where that is allowed, once.
 */
enum outcome connector_connect(struct connector *c, enum connection_kind kind, PGconn **conn);

/*
 * Waits until the connection's socket is readable (or writable, where for_write), a signal asks
 * for the end (OUTCOME_STOPPED, only if `heed`: what is done at the end is done in spite of it) or
 * `ticks` of clock_ticks() have come (OUTCOME_UNAVAILABLE, nothing logged); 0 = no limit.
 */
enum outcome connection_wait(const PGconn *conn, bool for_write, bool heed, usec_t ticks);

/*
 * Runs one statement with text parameters and waits for its rows.  A signal that asks for the end
 * cancels it (OUTCOME_STOPPED), unless it came before.  OUTCOME_OK: *result holds them
 * and is the caller's to PQclear(); else it is NULL and "could not DOING: …" has been logged.
 */
enum outcome sql_query(PGconn *conn, const char *doing, const char *sql, int nparams,
                       const char *const *params, PGresult **result);

/*
 * The same on a CONNECTION_SQL for a statement that names types as a walsender of the role does, or uses
 * the operators of types.  Of its functions those that are declared for other types than they are given
 * must have pg_catalog before their names.
 */
enum outcome sql_query_as_role(PGconn *conn, const char *doing, const char *sql, int nparams,
                               const char *const *params, PGresult **result);

/* The same for a statement that gives no rows. */
enum outcome sql_run(PGconn *conn, const char *doing, const char *sql);

/* The same without parameters, as walsenders want it. */
enum outcome walsender_query(PGconn *conn, const char *doing, const char *command,
                             PGresult **result);

/*
 * The same, whatever the answer is: with OUTCOME_OK *result is what the server said, or NULL where
 * nothing could be sent, and the caller's to PQclear().  Nothing is logged.
 */
enum outcome walsender_ask(PGconn *conn, const char *command, PGresult **result);

/* Asks the server to give up the statement that is running; takes a second at most. */
void connection_cancel(PGconn *conn);

/* Appends a name as a quoted identifier. */
void sql_add_identifier(struct buf *b, const char *name);

/* A text[] literal of the strings; the caller frees it. */
char *sql_text_array(const struct string_list *list);

/* Column `column` of row `row`, NULL for SQL NULL. */
const char *result_text(const PGresult *result, int row, const char *column);

/*
 * The same where the statement gives no NULL: never NULL, but "" where the answer is not what was
 * asked for.  result_first() is the first column of the first row.
 */
const char *result_string(const PGresult *result, int row, const char *column);
const char *result_first(const PGresult *result);
char *result_copy(const PGresult *result, int row, const char *column); /* the caller frees it */
uint32_t result_u32(const PGresult *result, int row, const char *column); /* 0 for NULL */
int32_t result_i32(const PGresult *result, int row, const char *column);  /* 0 for NULL */
int64_t result_i64(const PGresult *result, int row, const char *column);  /* 0 for NULL */
bool result_bool(const PGresult *result, int row, const char *column);
lsn_t result_lsn(const PGresult *result, int row, const char *column); /* 0 for NULL */

#endif
