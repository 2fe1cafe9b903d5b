#include "capture/gather.h"

/* Measured with make bench; what they trade is said in gather.h. */
enum {
    CLOSE_USEC = 300,           /* messages that close to one another belong to a busy stream, */
    BUSY_TURNS = 4,             /* when it has been so that many times in a row */
    SHORT_USEC = 100,           /* anywhere */
    ENOUGH_BYTES = 48 * 1024,   /* a turn that brought so much has nothing to gain from a pause */
    FULL_BYTES = 12 * 1024,     /* loopback: such a turn has left something in the sender's queue */
    NEXT_USEC = 20,             /* then it takes so long to arrive */
    LONG_USEC = 4000,           /* loopback: the queue has been emptied and is to fill again */
    FAST_BYTES_PER_MSEC = 8192, /* if it fills that fast: a backlog, not small transactions */
};

/*
 * A turn that filled the window is followed soon: the sender has more.  One that did not has
 * emptied the sender's queue, and ends a cycle; if the cycle was fast, the queue may fill again.
 */
static unsigned loopback_pause(struct gather *g, size_t bytes, usec_t now)
{
    bool fast;

    g->cycle_bytes += bytes;
    if (bytes >= FULL_BYTES)
        return NEXT_USEC;
    fast = (usec_t)g->cycle_bytes * 1000 >= (now - g->cycle_start) * FAST_BYTES_PER_MSEC;
    g->cycle_bytes = 0;
    g->cycle_start = now;
    return fast ? LONG_USEC : SHORT_USEC;
}

void gather_observe(struct gather *g, size_t bytes, usec_t now)
{
    bool soon = now - g->last_data - (usec_t)g->pause < CLOSE_USEC;

    g->pause = 0;
    g->busy = false;
    if (bytes == 0) {
        g->streak = 0;
        return;
    }
    g->last_data = now;
    g->streak = soon ? g->streak + 1 : 1;
    if (g->streak < BUSY_TURNS)
        return;
    g->busy = true;
    if (g->loopback)
        g->pause = loopback_pause(g, bytes, now);
    else if (bytes < ENOUGH_BYTES)
        g->pause = SHORT_USEC;
}
