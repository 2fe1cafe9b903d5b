/*
 * make_slot - --create-slot and --drop-slot, as pg_recvlogical has them.
 *
 * Nothing is printed on standard output; what was done is said on standard error.
 */
#ifndef ACTIONS_MAKE_SLOT_H
#define ACTIONS_MAKE_SLOT_H

#include "cdcdump.h"
#include "cli/options.h"

/*
 * Creates the slot of -S; for pgoutput the publication first, as a capture with the same options
 * does, because changes from before it cannot be decoded.  A database that has no table to capture
 * yet gets a publication without tables; the first capture puts them in.  A publication that was
 * made for a slot which then cannot be created is dropped again.
 *
 * OUTCOME_MISUSED: it is there already, and --if-not-exists was not given (with it, somebody else
 * may make it at the same time, too); OUTCOME_FAILED: a signal came before it was there.
 */
enum outcome make_slot_create(const struct options *o);

/*
 * Drops the slot of -S, whatever its plugin and its database are.  OUTCOME_UNAVAILABLE: somebody
 * reads it.  Publications are left alone, and named where they are ours.
 */
enum outcome make_slot_drop(const struct options *o);

#endif
