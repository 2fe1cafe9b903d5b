/*
 * slot_watch - why slots do not move: one look at all logical slots of the server, and the reasons.
 *
 * What is looked at are pg_replication_slots and, for whoever holds a slot or holds it back,
 * pg_stat_replication, pg_stat_activity, pg_prepared_xacts, the last checkpoint and the settings.
 * No privilege is needed, but much of what other roles do is hidden from one that is no member of
 * pg_read_all_stats; then the reason says so.  What the checkpoint tells is left out where the role
 * may not see it.
 */
#ifndef SOURCE_SLOT_WATCH_H
#define SOURCE_SLOT_WATCH_H

#include <libpq-fe.h>

#include "cdcdump.h"

/* Texts are one line each; names in them are as they are, control characters included. */
struct watched_slot {
    char *name;
    char *reason; /* what it waits for, or is in danger of; NULL = it keeps up with the WAL */
    char *remedy; /* a sentence, a setting or SQL that ends in ";"; NULL = none is known */
    bool lost;    /* invalidated: what it has not given yet cannot be had from it any more */
    char *holder; /* "process 123 (debezium, 10.0.0.5)"; NULL = nobody holds it at the moment */
};

struct slot_watch {
    struct watched_slot *slots; /* in the order of their names */
    int count;
    /*
     * What the server says of them, a row each in the same order: name, plugin, database,
     * active_pid, state (wal_status, or the reason of an invalidation), confirmed_lsn, lag_bytes
     * (from there to the end of the WAL), retained_bytes (WAL that is kept for it), inactive_since
     * (ISO 8601, UTC), temporary, two_phase, failover, synced; NULL where the server's version does
     * not know.  Besides, for people: lag and retained as sizes ("12 MB").
     */
    PGresult *rows;
};

/*
 * Looks at the slot of that name, or at all for NULL; that there is none is no failure (count 0).
 * *w is released by slot_watch_release(), whatever the outcome.
 */
enum outcome slot_watch(PGconn *sql, const char *name, struct slot_watch *w);
void slot_watch_release(struct slot_watch *w);

#endif
