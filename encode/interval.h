/*
 * interval - IntervalStyle postgres -> a JSON string with an ISO 8601 duration.
 *
 * The result is what the server writes with IntervalStyle iso_8601: parts that are zero are left
 * out, every part has its own sign, nothing at all is PT0S.  Digits are copied, so no interval
 * is too long.
 */
#ifndef ENCODE_INTERVAL_H
#define ENCODE_INTERVAL_H

#include "base/buf.h"
#include "cdcdump.h"

/* False, with nothing usable appended, when the text has another form; infinity is one. */
bool interval_add(struct buf *b, const char *text, size_t len);

#endif
