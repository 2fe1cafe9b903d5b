/*
 * system - which server this is, and where its WAL stands.
 */
#ifndef SOURCE_SYSTEM_H
#define SOURCE_SYSTEM_H

#include <libpq-fe.h>

#include "cdcdump.h"

struct system {
    char identifier[24]; /* decimal; the same for ever, and on every standby */
    uint32_t timeline;
    lsn_t flushed; /* end of the WAL that is safe on disk there; a standby: received */
    bool standby;
    char *database;
    int version;               /* as PQserverVersion(): 150020 */
    usec_t wal_sender_timeout; /* 0 = off */
};

/* IDENTIFY_SYSTEM and more over a walsender connection; *s is released by system_release(). */
enum outcome system_identify(PGconn *walsender, struct system *s);
void system_release(struct system *s);

/*
 * Where the server's history left `timeline`: *switch_lsn, or 0 when it is the current one.
 * OUTCOME_POSITION_LOST: the server does not descend from that timeline (logged).
 */
enum outcome system_timeline_end(PGconn *walsender, const struct system *s, uint32_t timeline,
                                 lsn_t *switch_lsn);

/*
 * The end of the WAL, such that every transaction which has committed by now lies before it and
 * the stream is sure to get there: asynchronous commits are waited for, a moment at most.
 */
enum outcome system_wal_end(PGconn *sql, lsn_t *lsn);

/* Waits until every transaction that has an id by now has ended; says which, after a while. */
enum outcome system_await_running(PGconn *sql, const char *waiting);

/* Makes the server flush its WAL soon, up to here, although nobody commits. */
enum outcome system_push_wal(PGconn *sql);

/*
 * A point of the WAL such that everything that has committed before it is visible by now.  Waits
 * for transactions that are running to end, twice; says which.
 */
enum outcome system_quiet_point(PGconn *sql, lsn_t *lsn);

/*
 * Waits for commits that are in the WAL and not visible yet, as they wait for a synchronous standby.
 * A role that may not see what others wait for (pg_read_all_stats) waits for all that are running.
 */
enum outcome system_await_commits(PGconn *sql);

/* Waits for the prepared transactions of the database to be committed or rolled back. */
enum outcome system_await_prepared(PGconn *sql);

/* Reads a timestamp as the server does; *when in microseconds since 1970, *now likewise. */
enum outcome system_read_time(PGconn *sql, const char *text, usec_t *when, usec_t *now);

/* How many digits money has behind the point, by the session's lc_monetary. */
enum outcome system_money_places(PGconn *sql, unsigned *places);

#endif
