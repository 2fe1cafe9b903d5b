/*
 * peek - --peek: what a slot would give, without taking it.
 *
 * A slot whose plugin cdcdump can decode is looked at by a capture that tells the server of nothing
 * flushed (capture/capture.h, source/stream.h): the slot stays where it is, no publication is made
 * or altered, and two peeks in a row give the same.  Of any other plugin the messages are printed
 * as they are (peek_raw.h).  A slot that somebody reads is looked at through a temporary copy.  Of
 * several hosts the first that has the slot, not as a copy of its primary's, is asked.
 *
 * While it is looked at without a copy, a slot is in use like any other that is read.  What may
 * move is its restart_lsn, up to which its changes have been acknowledged long ago.
 */
#ifndef ACTIONS_PEEK_H
#define ACTIONS_PEEK_H

#include "cdcdump.h"
#include "cli/options.h"

/*
 * OUTCOME_MISUSED: there is no such slot, it is physical or of another database, or there is no
 * such publication; OUTCOME_POSITION_LOST: it has been invalidated, or its changes are older than
 * the publication; OUTCOME_UNAVAILABLE: it is being synchronized, or in use and cannot be copied.
 */
enum outcome peek_run(const struct options *o);

#endif
