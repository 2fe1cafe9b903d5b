/*
 * gather - how long to leave a busy stream alone so that its messages gather.
 *
 * The walsender sends every message by itself, and pays for each wake-up of ours.  While messages
 * follow one another closely it is cheaper for both sides to look less often; when they do not,
 * every pause would only be latency.  Decisions follow what the last turns brought, no more.
 *
 * Over TCP loopback the sender does our kernel's work as well: each message costs it a whole way
 * through the stack.  There the receive window is kept small (stream.h) and the pauses long enough
 * to fill it: messages then wait in the sender's socket, merged, and cross in a few large segments.
 * A unix socket merges nothing and blocks the sender soon, so pauses stay short.
 */
#ifndef CAPTURE_GATHER_H
#define CAPTURE_GATHER_H

#include "cdcdump.h"

struct gather {
    bool loopback;    /* the stream comes over TCP from this machine */
    unsigned streak;  /* turns in a row that brought something soon after the one before */
    usec_t last_data; /* ticks of the last turn that brought something */
    usec_t cycle_start; /* loopback: since the sender's queue was last found empty */
    size_t cycle_bytes;
    unsigned pause;   /* microseconds, 0 = none */
    bool busy;        /* do not wait for the socket: pause, then read on */
};

/* Takes note of a turn that ended now and brought that many bytes; sets pause and busy. */
void gather_observe(struct gather *g, size_t bytes, usec_t now);

#endif
