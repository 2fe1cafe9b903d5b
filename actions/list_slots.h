/*
 * list_slots - --list-slots: every logical slot of the server, or the one of -S.
 *
 *     (default)   a table for people, and below it why slots do not move (source/slot_watch.h)
 *     -F ndjson   an object per slot
 *     -F csv      the same with a header, as PostgreSQL's COPY … CSV writes it
 *
 * Keys and columns are those of `struct slot_watch`'s rows, without what the server's version does
 * not have, and `reason`.  Needs an ordinary connection to any database, and no privilege.
 */
#ifndef ACTIONS_LIST_SLOTS_H
#define ACTIONS_LIST_SLOTS_H

#include "cdcdump.h"
#include "cli/options.h"

enum outcome list_slots_run(const struct options *o);

#endif
