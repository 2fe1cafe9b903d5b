/*
 * acknowledge - the action --ack: what a run with --ack-mode=deferred has left pending is accepted.
 */
#ifndef CAPTURE_ACKNOWLEDGE_H
#define CAPTURE_ACKNOWLEDGE_H

#include "cli/options.h"

/*
 * Asks of the server and the slot what a capture asks, puts the pending position on record and then
 * tells the slot.  With nothing pending it sees to it that the slot has been told: an earlier one may
 * have died in between.  So it can be repeated.
 */
enum outcome acknowledge_run(const struct options *o);

#endif
