/*
 * gather - how long to leave a busy stream alone so that its messages gather.
 *
 * The walsender sends every message by itself, and pays for each wake-up of ours.  While messages
 * follow one another closely it is cheaper for both sides to look less often; when they do not,
 * every pause would only be latency.  A stream is busy when a few messages have come one soon after
 * the other, and as long as something has come whenever we look.
 *
 * A unix socket merges nothing, and blocks the sender when some 200 messages are in it: a pause is
 * as long as it takes to fill half of that at the present rate.
 *
 * Over TCP loopback the sender does our kernel's work as well: each message costs it a whole way
 * through the stack.  There the receive window is kept small (source/walsender.c), and pauses are
 * much longer than it takes to fill it: messages then wait in the sender's socket, merged, and
 * cross in a few large segments.
 *
 * No pause is longer than the stream has been busy: the end of a short burst does not wait longer
 * than the burst has taken.
 */
#ifndef CAPTURE_GATHER_H
#define CAPTURE_GATHER_H

#include "cdcdump.h"

struct gather {
    bool loopback;      /* the stream comes over TCP from this machine */
    unsigned streak;    /* turns in a row that brought something soon after the one before */
    usec_t busy_since;  /* ticks of the first of them */
    usec_t last_data;   /* ticks of the last turn that brought something */
    usec_t cycle_start; /* loopback: since the sender's queue was last found empty */
    size_t cycle_bytes;
    size_t rate;       /* bytes a millisecond in the last cycle, */
    usec_t long_pause; /* and the pause of it; 0 = there was none */
    bool shrinks;      /* the pauses get shorter, not longer */
    size_t messages; /* counted since the last turn */
    unsigned pause;  /* microseconds, 0 = none */
    bool busy;       /* do not wait for the socket: pause, then read on */
};

/* A message has come. */
static inline void gather_count(struct gather *g)
{
    g->messages++;
}

/* Takes note of a turn that ended now and brought that many bytes; sets pause and busy. */
void gather_observe(struct gather *g, size_t bytes, usec_t now);

#endif
