/*
 * slot_copy - a temporary copy of a replication slot, to read from it beside its reader.
 */
#ifndef SOURCE_SLOT_COPY_H
#define SOURCE_SLOT_COPY_H

#include <libpq-fe.h>

#include "cdcdump.h"

struct slot_copy {
    char name[64]; /* "" = none: the slot itself is read */
};

/*
 * A slot has one reader at a time, but one that is in use can be copied, to be looked at.  The copy
 * is temporary: it is conn's alone (a connection of either kind) and goes with it, or with the next
 * error there, after which it can be made again.
 *
 * sql: an ordinary session, may be conn; over it is asked, and then said, who reads the slot.
 * NULL: that has been said.  two_phase: the slot makes its plugin give prepared transactions; the
 * copy does not, which is said, too.
 *
 * OUTCOME_OK: *copy is its name.  OUTCOME_UNAVAILABLE: the server has refused it; who reads the
 * slot and why there is no copy has been logged.
 */
enum outcome slot_copy_make(PGconn *conn, PGconn *sql, const char *slot, bool two_phase,
                            struct slot_copy *copy);

/* The same without a word: *result is what the server said, or NULL where nothing could be sent. */
enum outcome slot_copy_ask(PGconn *conn, const char *slot, const char *prefix,
                           struct slot_copy *copy, PGresult **result);

#endif
