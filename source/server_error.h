/*
 * server_error - what the server said, for people and for the program.
 *
 * Classes follow SQLSTATE, never the text, which may be in any language.  The table is that of
 * PostgreSQL's appendix "Error Codes", with what is known of walsenders and slots.
 */
#ifndef SOURCE_SERVER_ERROR_H
#define SOURCE_SERVER_ERROR_H

#include <libpq-fe.h>

#include "cdcdump.h"

/* The class of an SQLSTATE; "" or NULL (no answer from a server) is OUTCOME_UNAVAILABLE. */
enum outcome outcome_of_sqlstate(const char *sqlstate);

/* The SQLSTATE of a failed result, "" where there is none. */
const char *result_sqlstate(const PGresult *result);

/*
 * Logs "could not DOING: what the server said" with the server's DETAIL and HINT, and returns the
 * class.  result may be NULL, then the connection's own error message is used.
 */
enum outcome server_error(const PGconn *conn, const PGresult *result, const char *doing);

/* The same where the run goes on all the same: a warning. */
enum outcome server_warning(const PGconn *conn, const PGresult *result, const char *doing);

#endif
