#include "capture/gather.h"

/* Measured with make bench; what they trade is said in gather.h. */
enum {
    CLOSE_USEC = 300,           /* messages that close to one another belong to a busy stream, */
    BUSY_TURNS = 4,             /* when it has been so that many times in a row */
    MESSAGE_SIZE = 1000,        /* what the kernel counts for a message beside its bytes */
    GOOD_SIZE = 100 * 1024,     /* half of what a unix socket holds (net.core.wmem_default) */
    LEAST_USEC = 50,            /* a pause that would have to be shorter is none, */
    MOST_USEC = 300,            /* and a longer one gains little */
    FULL_BYTES = 12 * 1024,     /* loopback: such a turn has left something in the sender's queue */
    NEXT_USEC = 20,             /* then it takes so long to arrive */
    LONG_FIRST_USEC = 3000,     /* loopback: the queue has been emptied and is to fill again; */
    LONG_LEAST_USEC = 1000,     /* how long it is left alone at least, */
    LONG_MOST_USEC = 10000,     /* and at most */
    FAST_BYTES_PER_MSEC = 8192, /* if it fills that fast: a backlog, not small transactions */
};

/* As long as it takes for GOOD_SIZE to come at the rate of this turn, which took so long. */
static usec_t short_pause(const struct gather *g, size_t bytes, usec_t took)
{
    usec_t pause = took * GOOD_SIZE / (usec_t)(bytes + g->messages * MESSAGE_SIZE);

    return pause < LEAST_USEC ? 0 : pause > MOST_USEC ? MOST_USEC : pause;
}

/*
 * How much the queue holds depends on the size of the messages, and how fast it empties on the way
 * there, so the length is sought: it grows or shrinks for as long as that makes the stream faster.
 */
static usec_t long_pause(struct gather *g, size_t bytes, usec_t took)
{
    size_t rate = bytes * 1000 / (size_t)(took ? took : 1);
    usec_t pause = g->long_pause ? g->long_pause : LONG_FIRST_USEC;

    if (rate < g->rate)
        g->shrinks = !g->shrinks;
    pause = g->shrinks ? pause * 2 / 3 : pause * 3 / 2;
    g->rate = rate;
    g->long_pause = pause < LONG_LEAST_USEC  ? LONG_LEAST_USEC
                    : pause > LONG_MOST_USEC ? LONG_MOST_USEC
                                             : pause;
    return g->long_pause;
}

/*
 * A turn that filled the window is followed soon: the sender has more.  One that did not has
 * emptied the sender's queue, and ends a cycle; if the cycle was fast, the queue may fill again.
 */
static usec_t loopback_pause(struct gather *g, size_t bytes, usec_t took, usec_t now)
{
    size_t held;
    usec_t cycle;
    bool fast;

    g->cycle_bytes += bytes;
    if (bytes >= FULL_BYTES)
        return NEXT_USEC;
    fast = (usec_t)g->cycle_bytes * 1000 >= (now - g->cycle_start) * FAST_BYTES_PER_MSEC;
    held = g->cycle_bytes;
    cycle = now - g->cycle_start;
    g->cycle_bytes = 0;
    g->cycle_start = now;
    return fast ? long_pause(g, held, cycle) : short_pause(g, bytes, took);
}

static unsigned next_pause(struct gather *g, size_t bytes, usec_t took, usec_t now)
{
    usec_t been_busy = now - g->busy_since;
    usec_t pause = g->loopback ? loopback_pause(g, bytes, took, now) : short_pause(g, bytes, took);

    return (unsigned)(pause < been_busy ? pause : been_busy);
}

void gather_observe(struct gather *g, size_t bytes, usec_t now)
{
    usec_t took = now - g->last_data;
    bool soon = g->busy || took < CLOSE_USEC;

    g->pause = 0;
    g->busy = false;
    if (bytes == 0) {
        g->streak = 0;
    } else {
        g->last_data = now;
        g->streak = soon ? g->streak + 1 : 1;
        if (g->streak == 1)
            g->busy_since = now;
        g->busy = g->streak >= BUSY_TURNS;
    }
    if (g->busy)
        g->pause = next_pause(g, bytes, took, now);
    g->messages = 0;
}
