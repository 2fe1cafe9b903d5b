/*
 * capture - the whole of a run: connect, stream, come back after failures, end in good order.
 */
#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

#include "cli/options.h"

/*
 * Runs a capture to its end.  OUTCOME_OK: a bound was reached; OUTCOME_STOPPED: ended by a signal
 * with everything accepted on record; OUTCOME_OUTPUT_CLOSED: the reader has gone, and the position
 * is saved.
 */
enum outcome capture_run(const struct options *o);

#endif
