/* The rule of pauses: none in a quiet stream, short ones in a busy one, long ones on loopback. */
#include "capture/gather.h"
#include "tests/unit/tap.h"

/* Turns of so many bytes, each so long after the pause of the one before. */
static void turns(struct gather *g, usec_t *now, int n, size_t bytes, usec_t apart)
{
    for (int i = 0; i < n; i++) {
        *now += (usec_t)g->pause + apart;
        gather_observe(g, bytes, *now);
    }
}

static void quiet(bool loopback)
{
    struct gather g = {.loopback = loopback};
    usec_t now = 1000000;
    bool paused = false;

    for (int i = 0; i < 100; i++) {
        turns(&g, &now, 3, 200, 20); /* Begin, a change, Commit */
        paused |= g.pause > 0;
        turns(&g, &now, 1, 0, 1000);
        paused |= g.busy;
    }
    ok(!paused, "1,000 small transactions a second: no pause (loopback: %d)", loopback);
}

static void small_but_busy(void)
{
    struct gather g = {.loopback = true};
    usec_t now = 1000000;

    turns(&g, &now, 50, 100, 50);
    ok(g.busy && g.pause > 0 && g.pause <= 100, "a busy stream of little: a short pause, got %u",
       g.pause);
}

static void backlog_elsewhere(void)
{
    struct gather g = {.loopback = false};
    usec_t now = 1000000;

    turns(&g, &now, 50, 4000, 50);
    ok(g.busy && g.pause > 0 && g.pause <= 100, "a backlog over another way: a short pause");
    turns(&g, &now, 1, 256 * 1024, 50);
    ok(g.busy && g.pause == 0, "a turn that brought much: none");
    turns(&g, &now, 1, 0, 50);
    ok(!g.busy && g.pause == 0, "a turn that brought nothing ends it");
}

static void backlog_on_loopback(void)
{
    struct gather g = {.loopback = true};
    usec_t now = 1000000;

    turns(&g, &now, 5, 4000, 50); /* the first cycle of a run is never known to be fast */
    ok(g.busy && g.pause >= 1000, "a backlog over loopback: a long pause, got %u", g.pause);
    turns(&g, &now, 1, 32 * 1024, 50);
    ok(g.busy && g.pause > 0 && g.pause < 100, "a full window: the next one soon, got %u", g.pause);
    turns(&g, &now, 3, 32 * 1024, 50);
    turns(&g, &now, 1, 4000, 50);
    ok(g.pause >= 1000, "what is left of it: a long pause again");
    turns(&g, &now, 1, 500, 50);
    ok(g.pause <= 100, "no more than a little in that time: back to short ones, got %u", g.pause);
    turns(&g, &now, 1, 0, 50);
    turns(&g, &now, 1, 4000, 5000);
    ok(!g.busy && g.pause == 0, "after a silence: none");
}

int main(void)
{
    quiet(false);
    quiet(true);
    small_but_busy();
    backlog_elsewhere();
    backlog_on_loopback();
    return tap_done();
}
