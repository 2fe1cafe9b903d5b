/*
 * capture - the whole of a run: connect, stream, come back after failures, end in good order.
 */
#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

#include "cli/options.h"
#include "source/connection.h"

/*
 * Runs a capture to its end.  OUTCOME_OK: a bound was reached; OUTCOME_STOPPED: ended by a signal
 * with everything accepted on record; OUTCOME_OUTPUT_CLOSED: the reader has gone, and the position
 * is saved.
 */
enum outcome capture_run(const struct options *o);

/*
 * The same over a connector that is there already, which is taken over.  With o->action ACTION_PEEK
 * nothing on the server is changed, and a slot that is in use is read from a temporary copy.
 */
enum outcome capture_run_over(const struct options *o, struct connector *connector);

#endif
