/*
 * decimal - the digits of a numeric -> the integer that Avro's and Connect's decimals hold.
 *
 * That integer is the value times 10 to the power of the scale, in big-endian two's complement, as
 * short as it can be (zero is one byte).  No digit passes through a double.
 */
#ifndef ENCODE_DECIMAL_H
#define ENCODE_DECIMAL_H

#include "base/buf.h"
#include "cdcdump.h"

/* The typmod of numeric(precision, scale); false when there is none.  15+: scale may be < 0. */
bool decimal_typmod(int32_t typmod, int *precision, int *scale);

/* How many digits stand behind the point; false when it is no decimal number, such as NaN. */
bool decimal_scale(const char *text, size_t len, int *scale);

/*
 * Appends the bytes.  False, with nothing appended, when it is no decimal number, has digits other
 * than 0 beyond the scale, or more than 150000 of them, which no numeric has.
 */
bool decimal_add(struct buf *b, const char *text, size_t len, int scale);

#endif
