/*
 * commit_time - the time of a commit as plugins that send text write it.
 *
 * They use timestamptz_to_str() of the server: always DateStyle ISO, in the time zone of the
 * session, fractions without the zeros at their end, as in 2026-11-21 14:46:48.154068+00.
 */
#ifndef DECODE_COMMIT_TIME_H
#define DECODE_COMMIT_TIME_H

#include "cdcdump.h"

/*
 * YYYY-MM-DD HH:MM:SS[.ffffff]+HH[:MM[:SS]], all of text; years may have 5 digits, the sign
 * may be a minus.  False, with nothing logged and *time as it was, when it is anything else: no
 * commit is before Christ or at infinity.
 */
bool commit_time_parse(const char *text, size_t len, usec_t *time);

#endif
