#include "base/clock.h"

#include <time.h>

static usec_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (usec_t)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

usec_t clock_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

usec_t clock_ticks(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void clock_pause(unsigned usec)
{
    struct timespec t = {.tv_sec = 0, .tv_nsec = (long)usec * 1000};

    nanosleep(&t, NULL);
}
