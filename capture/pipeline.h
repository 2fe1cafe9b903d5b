/*
 * pipeline - one message of the stream on its way: decode, complete, select, encode, deliver.
 *
 * Also keeps count of where in which transaction the output stands, so that after a lost
 * connection the transaction that was cut off goes on at the very record where it stopped.
 */
#ifndef CAPTURE_PIPELINE_H
#define CAPTURE_PIPELINE_H

#include "capture/bounds.h"
#include "cdcdump.h"
#include "cli/options.h"
#include "decode/pgoutput.h"
#include "deliver/delivery.h"
#include "encode/encoder.h"
#include "source/catalog.h"
#include "source/stream.h"

/* A transaction whose beginning is in the output while its end is not. */
struct unfinished {
    bool open;
    uint32_t xid;
    lsn_t commit_lsn;
    uint32_t seq;   /* of its last event that was dealt with */
    bool announced; /* its BEGIN record has been written */
};

struct pipeline {
    const struct options *o;
    struct catalog *catalog;
    struct delivery *delivery;
    struct bounds *bounds;
    struct encoder *encoder;
    struct pgoutput decoder;
    uint32_t seq;     /* of the last event of the open transaction */
    uint32_t skip_to; /* events up to this one are in the output already */
    bool announced;
    bool held; /* a PREPARE that is a boundary together with its COMMIT PREPARED only */
    struct unfinished cut;
    uint32_t *schema_versions; /* by relation index: the version last told by --schema-events */
    uint32_t nschema_versions;
    uint64_t records; /* written so far */
    usec_t last_change; /* ticks when the last record came; the start of the run at first */
    bool finished;      /* the bounds have been reached */
};

/* Borrows all but o until pipeline_release(). */
void pipeline_init(struct pipeline *p, const struct options *o, struct catalog *catalog,
                   struct delivery *delivery, struct bounds *bounds, const char *database);
void pipeline_release(struct pipeline *p);

/* Takes one message.  After it `finished` may be true: then no more may be given. */
enum outcome pipeline_take(struct pipeline *p, const struct stream_message *m, usec_t ticks);

/* The connection is gone; the next message comes from a new one that starts at emitted.lsn. */
void pipeline_interrupt(struct pipeline *p);

/* Between two transactions, in the stream and in the output. */
static inline bool pipeline_at_boundary(const struct pipeline *p)
{
    return !p->decoder.in_transaction && !p->held && !p->cut.open;
}

/* A heartbeat record; at a boundary only. */
enum outcome pipeline_heartbeat(struct pipeline *p);

#endif
