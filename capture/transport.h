/*
 * transport - by which of the two ways changes come from the server (source/stream.h).
 *
 * With --transport=auto through SQL where the run is to end at a point that the WAL has reached, or where
 * much of it is pending; and over to the replication stream once that is caught up with, or where
 * something speaks against SQL, which is said with -v.
 */
#ifndef CAPTURE_TRANSPORT_H
#define CAPTURE_TRANSPORT_H

#include "capture/session.h"

/*
 * Starts the stream behind delivery.emitted.  Takes over walsender, whatever comes out; sql is the
 * session that the slot is looked up over.
 */
enum outcome transport_start(struct session *s, PGconn *sql, PGconn *walsender);

#endif
