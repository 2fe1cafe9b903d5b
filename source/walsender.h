/*
 * walsender - the transport over a replication connection.
 *
 * Knows the wrapper messages of the streaming replication protocol (PostgreSQL documentation,
 * "Streaming Replication Protocol"; reference: XLogData 'w', keepalive 'k', status 'r').
 */
#ifndef SOURCE_WALSENDER_H
#define SOURCE_WALSENDER_H

#include "source/stream.h"

/*
 * Takes over conn, whatever comes out, and starts the slot's stream, or that of its copy, behind
 * start.  After OUTCOME_OK the connection is in copy mode and in libpq's non-blocking mode.
 */
enum outcome walsender_start(struct stream *s, PGconn *conn, const struct options *o,
                             const struct slot_copy *copy, lsn_t start);

#endif
