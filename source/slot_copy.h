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

/*
 * A copy that a capture reads, instead of the slot, which nobody holds then (source/slot_reader.h).  Its
 * name tells of which slot it is one.  Without a word: *result is what the server said, or NULL where
 * nothing could be sent.
 */
enum outcome slot_copy_to_read(PGconn *conn, const char *slot, struct slot_copy *copy,
                               PGresult **result);

/* SQL: the beginning of such names, for the slot whose name that expression is, a text. */
#define SLOT_COPY_PREFIX(name)                                                                     \
    "pg_catalog.concat('cdcdump_read_', pg_catalog.to_hex(pg_catalog.hashtext(" name ")), '_')"

/* SQL: the process that reads the slot by a copy, NULL where there is none; slot: a row's alias. */
#define SLOT_COPY_READER(slot)                                                                     \
    "(SELECT c.active_pid FROM pg_replication_slots AS c WHERE c.temporary AND"                    \
    " pg_catalog.starts_with(c.slot_name::text, " SLOT_COPY_PREFIX(slot ".slot_name::text") ")"     \
    " LIMIT 1)"

#endif
