/*
 * pgoutput - the payloads of PostgreSQL's own decoding plugin.
 *
 * Layouts: PostgreSQL documentation, "Logical Replication Message Formats", protocol versions 1
 * and 3 (two-phase commit), without streaming of unfinished transactions.  All integers are
 * big-endian, strings end in NUL, times count from 2000.  A message is one event at most: an
 * unknown tag, a length that points past the end, bytes left over, a tuple that does not fit its
 * relation are errors.
 */
#ifndef DECODE_PGOUTPUT_H
#define DECODE_PGOUTPUT_H

#include "decode/decoder.h"

extern const struct decoder_kind decoder_pgoutput;

#endif
