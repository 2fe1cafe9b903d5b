/*
 * debezium_time - dates, times and intervals by Debezium's rules: see debezium_value.h.
 */
#ifndef ENCODE_DEBEZIUM_TIME_H
#define ENCODE_DEBEZIUM_TIME_H

#include "encode/value.h"

/* The writer that time.precision.mode asks for, or NULL where the readable form is the one. */
value_writer debezium_time_writer(enum type_kind kind, const struct handling *h);

/* The same of interval.handling.mode. */
value_writer debezium_interval_writer(const struct handling *h);

#endif
