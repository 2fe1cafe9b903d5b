/*
 * fetcher - a connection that reads rows: statements are sent, what comes back is taken step by
 * step, never blocking.
 *
 * The transaction is read only, REPEATABLE READ, and has row_security off, so that a policy that
 * would hide rows is an error.
 */
#ifndef SOURCE_FETCHER_H
#define SOURCE_FETCHER_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "source/connection.h"

struct fetcher {
    PGconn *conn;     /* owned; NULL when not connected */
    char *line;       /* FETCHER_ROW: owned until fetcher_keep() or the next step */
    PGresult *result; /* FETCHER_RESULT: likewise; FETCHER_FAILED: where it keeps failures */
    bool busy;        /* something has been sent and not all of it answered */
    bool copying;
    bool lenient; /* set by who goes on after a failure that may pass: it is warned about */
    bool keeps;   /* set by who deals with failures itself: result is what the server said, not logged */
    bool missing; /* the last failure: a table or column that the statement names is not there */
};

/* Connects.  OUTCOME_OK: the connection is idle, outside of a transaction. */
enum outcome fetcher_open(struct fetcher *r, struct connector *connector);

/* Drops the connection, whatever it is doing; the server is asked to give that up. */
void fetcher_close(struct fetcher *r);

/*
 * Begins a transaction that reads.  snapshot: the name of an exported one to take over; NULL for
 * one of its own, which is then taken by the next statement.
 */
enum outcome fetcher_begin(struct fetcher *r, const char *snapshot);

/* Sends one or more statements. */
enum outcome fetcher_send(struct fetcher *r, const char *statements);

enum fetcher_step {
    FETCHER_ROW,    /* a line of COPY: line, *len bytes */
    FETCHER_RESULT, /* rows of a SELECT: result */
    FETCHER_COPIED, /* a COPY has come to its end */
    FETCHER_WAIT,   /* nothing more has arrived */
    FETCHER_DONE,   /* all that was sent has been answered */
    FETCHER_FAILED, /* see *outcome; OUTCOME_UNAVAILABLE: the connection is lost (logged) */
};

/* doing: for messages, as in "could not DOING: …". */
enum fetcher_step fetcher_next(struct fetcher *r, size_t *len, const char *doing,
                             enum outcome *outcome);

/* Takes the line out of the fetcher: it is the caller's to PQfreemem(). */
char *fetcher_keep(struct fetcher *r);

/* Reads from the socket what is there, once; false when the connection is lost (not logged). */
bool fetcher_receive(struct fetcher *r);

/* Asks the server to give up what it is doing, and drops what comes still. */
void fetcher_cancel(struct fetcher *r);

#endif
