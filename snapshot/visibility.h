/*
 * visibility - which transactions a database snapshot already sees.
 *
 * Rows read under a snapshot hold what the transactions that it sees have done, and nothing of
 * any other.  So a change of transaction x, met in the stream, is in those rows exactly if the
 * snapshot sees x:  x < xmin, or x < xmax and x is not among xip, the transactions that were
 * running.  Positions in the WAL say nothing about that: commits become visible in another order
 * than their records are written, and some seconds later with synchronous replication.
 * (PostgreSQL documentation, pg_current_snapshot(); xip lists top-level transactions, and so does
 * the stream.)
 */
#ifndef SNAPSHOT_VISIBILITY_H
#define SNAPSHOT_VISIBILITY_H

#include "cdcdump.h"

/* Transaction ids here have 64 bits: they never wrap around. */
struct visibility {
    uint64_t xmin;
    uint64_t xmax;
    uint64_t *xip; /* rising; owned */
    uint32_t nxip;
};

/* Reads the text of a pg_snapshot, "xmin:xmax:xip,xip"; false when it is anything else. */
bool visibility_parse(struct visibility *v, const char *text);
void visibility_release(struct visibility *v);

/* The text that visibility_parse() reads; the caller frees it. */
char *visibility_text(const struct visibility *v);

/*
 * Whether the snapshot sees the transaction that the stream calls xid.  The stream has the lower
 * 32 bits only; the upper ones are those that bring it closest to xmax, as the server keeps all ids
 * that are in use within 2^31 of one another.
 */
bool visibility_sees(const struct visibility *v, uint32_t xid);

#endif
