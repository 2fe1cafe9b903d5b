/*
 * loop - one poll() over the stream, the output, signals and timers.
 *
 * It never waits for a slow reader: while the output is full nothing more is read from the server,
 * but feedback goes out on time.  When messages follow one another closely it pauses for some
 * microseconds instead of waking up for each: a wake-up of ours costs the server too.  When they
 * do not, it does not.
 */
#ifndef CAPTURE_LOOP_H
#define CAPTURE_LOOP_H

#include "capture/session.h"

/*
 * Runs until the bounds are reached (OUTCOME_OK), a signal asks for the end (OUTCOME_STOPPED), the
 * connection is lost or given up because the reader stands still (OUTCOME_UNAVAILABLE), or
 * something fails.
 */
enum outcome loop_run(struct session *s);

/* Without a connection: goes on delivering until `ticks`, or until the output moves if `moves`. */
enum outcome loop_idle(struct session *s, usec_t ticks, bool moves);

/*
 * The end: waits for the output to be accepted (as long as it takes, or `grace` where that is not
 * 0), tells the server, ends the stream in good order.
 */
enum outcome loop_finish(struct session *s, usec_t grace);

#endif
