/*
 * gather_test - when the stream is left alone and for how long: by ticks that are made up here.
 */
#include "capture/gather.h"

#include "tests/unit/tap.h"

/* A turn that ends `after` microseconds after the last one and brings n messages of that size. */
static void turn(struct gather *g, usec_t *now, usec_t after, unsigned n, size_t size)
{
    for (unsigned i = 0; i < n; i++)
        gather_count(g);
    *now += after;
    gather_observe(g, n * size, *now);
}

static void turns(struct gather *g, usec_t *now, unsigned count, usec_t after, unsigned n)
{
    while (count--)
        turn(g, now, after, n, 250);
}

static void test_quiet(void)
{
    struct gather g = {.last_data = 5000000};
    usec_t now = 5000000;

    turn(&g, &now, 1000000, 1, 250);
    ok(!g.busy && g.pause == 0, "a message that is alone");
    turns(&g, &now, 100, 1000, 1);
    ok(!g.busy && g.pause == 0, "one every millisecond");
    turns(&g, &now, 2, 20, 1);
    ok(!g.busy && g.pause == 0, "a transaction of three messages");
    turn(&g, &now, 1000, 1, 250);
    ok(!g.busy && g.streak == 1, "the next one begins anew");
}

static void test_busy(bool loopback)
{
    const char *way = loopback ? "TCP loopback" : "unix socket";
    struct gather g = {.last_data = 5000000, .loopback = loopback};
    usec_t now = 6000000;

    turns(&g, &now, 4, 20, 5);
    ok(g.busy && g.pause <= 60, "%s: busy, and no longer a pause than that has been so", way);
    turns(&g, &now, 100, 400, 40);
    ok(g.busy && g.pause >= 250, "%s: a steady stream", way);
    turn(&g, &now, 900000, 3, 250);
    ok(g.busy, "%s: something has come, though we looked late", way);
    turn(&g, &now, 400, 0, 0);
    ok(!g.busy && g.pause == 0, "%s: nothing has come: no pause", way);
}

static void test_room(void)
{
    struct gather g = {.last_data = 5000000};
    usec_t now = 6000000;

    for (int i = 0; i < 50; i++)
        turn(&g, &now, 200, 100, 250);
    ok(g.pause == 163, "short messages: as long as half a socket's worth takes (%u us)", g.pause);
    for (int i = 0; i < 50; i++)
        turn(&g, &now, 200, 10, 100 * 1000);
    ok(g.busy && g.pause == 0, "large messages: at once (%u us)", g.pause);
    for (int i = 0; i < 50; i++)
        turn(&g, &now, 400, 20, 250);
    ok(g.pause == 300, "slow ones: not for longer than pays (%u us)", g.pause);
}

static void test_loopback(void)
{
    struct gather g = {.last_data = 5000000, .loopback = true};
    usec_t now = 6000000;

    turns(&g, &now, 200, 200, 20);
    ok(g.pause == 10000, "fast: until much has gathered (%u us)", g.pause);
    turn(&g, &now, 500, 20, 250);
    ok(g.pause == 6666, "it has got slower: shorter (%u us)", g.pause);
    turn(&g, &now, 200, 20, 250);
    ok(g.pause == 4444, "that has made it faster: shorter still (%u us)", g.pause);
    turn(&g, &now, 300, 20, 250);
    ok(g.pause == 6666, "slower again: longer (%u us)", g.pause);
    turn(&g, &now, 10000, 1500, 250);
    ok(g.busy && g.pause < 50, "more than a window: the rest is on its way (%u us)", g.pause);
    turns(&g, &now, 200, 400, 4);
    ok(g.pause > 50 && g.pause <= 300, "slow: a short pause (%u us)", g.pause);
}

int main(void)
{
    test_quiet();
    test_busy(false);
    test_busy(true);
    test_room();
    test_loopback();
    return tap_done();
}
