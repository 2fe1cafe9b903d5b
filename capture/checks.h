/*
 * checks - is this the server, and the slot, that the position belongs to?
 *
 * The questions of CONTRACT, section 7, asked on every connect and before any output, and by --ack
 * before anything is acknowledged.  Each says what is wrong: OUTCOME_MISUSED where the state file is
 * another capture's, OUTCOME_POSITION_LOST where what follows the position cannot be had from here,
 * OUTCOME_UNAVAILABLE where waiting may help, or another of the hosts named (session.elsewhere).
 */
#ifndef CAPTURE_CHECKS_H
#define CAPTURE_CHECKS_H

#include <libpq-fe.h>

#include "capture/session.h"

/* The publication as the state file has it; "" for plugins that have none. */
const char *checks_publication(const struct session *s);

/* The state file is of this system, database, slot, plugin and publication. */
enum outcome checks_state(const struct session *s);

/* That, and the server's history and WAL have our position. */
enum outcome checks_system(struct session *s, PGconn *walsender);

/* The slot is of the right kind and alive; waits while somebody holds it, unless to look at it. */
enum outcome checks_slot(struct session *s, PGconn *sql, struct slot *slot);

/* A slot that is to be looked at while somebody holds it: makes a copy, of which *slot tells then. */
enum outcome checks_copy_slot(struct session *s, PGconn *sql, PGconn *walsender, struct slot *slot);

/* Why the slot functions are not for that slot; NULL: they are. */
const char *checks_against_sql(const struct slot *slot);

/* The slot is not ahead of the position. */
enum outcome checks_slot_position(const struct session *s, const struct slot *slot);

/* There is no slot: says so, and returns what that is. */
enum outcome checks_slot_missing(struct session *s);

/*
 * Rows are read beside a stream on a primary only: a standby's pg_current_snapshot() does not tell which
 * transactions are running.
 */
enum outcome checks_primary(PGconn *sql);

/* Flink's changelog has the old row of every change, which only identity FULL makes the server send. */
bool checks_identities(const struct session *s, const struct relations *captured);

/* Whether records are asked for that need the old row of every change. */
bool checks_want_old_rows(const struct session *s);

/* The header of CSV names the columns of one table. */
bool checks_one_table(const struct relations *captured);

#endif
