/*
 * lsn - WAL positions as people write them: two hexadecimal numbers, as in 16/B374D848.
 */
#ifndef BASE_LSN_H
#define BASE_LSN_H

#include "cdcdump.h"

/* Parses all of text; false when it is anything else than X/Y with 1 to 8 digits each. */
bool lsn_parse(const char *text, lsn_t *lsn);

#endif
