/*
 * datetime - dates and times of DateStyle ISO -> JSON strings of ISO 8601.
 *
 * False, with nothing usable appended, when the text has another form: infinity is one of those.
 * Digits are copied, not interpreted; only a year before Christ is a matter of arithmetic.
 */
#ifndef ENCODE_DATETIME_H
#define ENCODE_DATETIME_H

#include "base/buf.h"
#include "cdcdump.h"

bool date_add(struct buf *b, const char *text, size_t len);
bool time_add(struct buf *b, const char *text, size_t len);
bool timestamp_add(struct buf *b, const char *text, size_t len);
bool timestamptz_add(struct buf *b, const char *text, size_t len);

#endif
