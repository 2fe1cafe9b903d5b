/*
 * slot - the replication slot: what it is now, whether it will do, making and dropping it.
 */
#ifndef SOURCE_SLOT_H
#define SOURCE_SLOT_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/system.h"

struct slot {
    bool exists;
    bool logical;
    bool active; /* somebody reads it, or a copy of it instead (source/slot_copy.h): active_pid */
    bool two_phase;
    bool failover; /* to be kept on standbys, too (17+) */
    bool synced; /* being kept up to date from a primary; not usable here until promotion */
    bool lost;
    char plugin[64];
    char database[64];
    char reason[64]; /* why it is lost */
    int active_pid;
    lsn_t confirmed; /* confirmed_flush_lsn */
    uint32_t catalog_xmin; /* transactions before it had ended at that position; 0 = none is known */
};

/* Looks the slot up; *s tells by `exists` whether there is one. */
enum outcome slot_find(PGconn *sql, const char *name, struct slot *s);

/* Whether an existing slot is one that this run can read: kind, plugin, database, not lost. */
enum outcome slot_check(const struct slot *s, const struct options *o, const struct system *system);

/* A slot that has just been made. */
struct created_slot {
    lsn_t consistent_point; /* where its stream begins */
    char snapshot[64];      /* exported for reading rows as of that point; "" = was not asked for */
    bool forbidden;         /* refused for want of privileges */
    bool too_large;         /* no slot: its snapshot cannot be exported (nothing has been logged) */
};

/*
 * Creates the slot.  The server waits for every running transaction that has written something;
 * after a few seconds the user is told which (asked over `sql`).  With `export`ed snapshot: it is
 * good until the next command over the walsender connection, and can be taken over until then.
 */
enum outcome slot_create(PGconn *walsender, PGconn *sql, const struct options *o, bool export,
                         struct created_slot *created);

/* Tells the user which transactions are waited for. */
void slot_name_blockers(PGconn *sql, const char *waiting);

/*
 * Moves the slot on to that position, unless it is there already; waits a little for a walsender that
 * is still ending.
 */
enum outcome slot_advance(PGconn *sql, const char *name, lsn_t lsn);

/* Says who holds the slot (pid, name, address), and returns OUTCOME_UNAVAILABLE. */
enum outcome slot_in_use(PGconn *sql, const char *name);

/*
 * Drops the slot, whichever database is connected to, waiting a little for a walsender that is still
 * ending.  That there is none is no failure.
 */
enum outcome slot_drop(PGconn *sql, const char *name);

#endif
