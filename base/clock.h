/*
 * clock - the two clocks that cdcdump reads, and PostgreSQL's.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "cdcdump.h"

/* PostgreSQL counts microseconds from 2000-01-01; this much lies between that and 1970. */
#define POSTGRES_EPOCH_USEC INT64_C(946684800000000)

#define USEC_PER_SEC INT64_C(1000000)

/* Wall clock: what records and messages to the server carry.  May jump. */
usec_t clock_now(void);

/* Monotonic clock: what timers use.  Never goes back; says nothing about the date. */
usec_t clock_ticks(void);

/* Pauses for that many microseconds; a signal ends the pause early. */
void clock_pause(unsigned usec);

#endif
