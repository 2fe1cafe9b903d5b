/*
 * pipeline - one message of the stream on its way: decode, complete, select, encode, deliver.
 *
 * Also keeps count of where in which transaction the output stands, so that after a lost
 * connection the transaction that was cut off goes on at the very record where it stopped.
 *
 * Rows of tables take the same way, from pipeline_begin_rows() to pipeline_end_rows(), between two
 * transactions; and what rows have told already is left out of the stream (snapshot/coverage.h).
 */
#ifndef CAPTURE_PIPELINE_H
#define CAPTURE_PIPELINE_H

#include "capture/bounds.h"
#include "capture/placing.h"
#include "cdcdump.h"
#include "cli/options.h"
#include "decode/decoder.h"
#include "deliver/delivery.h"
#include "encode/encoder.h"
#include "snapshot/judge.h"
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

/* By relation index: the version that --schema-events has told of last, 0 = none. */
struct told {
    uint32_t *versions;
    uint32_t n;
};

struct pipeline {
    const struct options *o;
    struct catalog *catalog;
    struct delivery *delivery;
    struct bounds *bounds;
    struct encoder *encoder;
    struct placing placing;
    struct decoder *decoder;
    uint32_t seq;     /* of the last event of the open transaction */
    uint32_t skip_to; /* events up to this one are in the output already */
    bool announced;
    bool held; /* a PREPARE that is a boundary together with its COMMIT PREPARED only */
    struct unfinished cut;
    bool unmarked; /* transactions have ended since the last position, at none that is known */
    bool repeats;  /* ... before a lost connection: they come again */
    lsn_t kept_alive; /* position of the first keepalive behind the last message; 0 = none yet */
    struct told stream_told;
    struct told rows_told;
    struct coverage *coverage; /* NULL = no rows are, or were, read */
    bool covers_new; /* tables that appear in the stream have come since: it gives all of them */
    bool settled;              /* it has no part in anything any more */
    struct judge judge;        /* of the open transaction */
    bool judging;
    struct comparer *comparer; /* who compares keys for the judge */
    const struct relations *row_relations; /* of the rows that are read; NULL = none */
    bool reading;              /* rows are being given: no boundary */
    lsn_t rows_lsn;
    uint64_t records; /* written so far */
    uint64_t transactions; /* with changes, whose end has come */
    usec_t ticks;       /* of the message at hand */
    usec_t last_change; /* ticks when the last record came; the start of the run at first */
    bool more;          /* the decoder has more to tell of the message that was taken last */
    bool finished;      /* the bounds have been reached */
};

/* Borrows all but the decoder until pipeline_release(), and takes that over. */
void pipeline_init(struct pipeline *p, const struct options *o, struct catalog *catalog,
                   struct delivery *delivery, struct bounds *bounds, struct decoder *decoder,
                   const char *database);
void pipeline_release(struct pipeline *p);

/*
 * Takes one message.  After it `finished` may be true: then no more may be given; or `more`: the
 * output is full and the message, which has to stay where it is, holds more than that.
 */
enum outcome pipeline_take(struct pipeline *p, const struct stream_message *m, usec_t ticks);

/* Goes on with that message. */
enum outcome pipeline_go_on(struct pipeline *p, usec_t ticks);

/* The connection is gone; the next message comes from a new one that starts at emitted.lsn. */
void pipeline_interrupt(struct pipeline *p);

/*
 * The server's history has left at `end` the one that was streamed so far: a transaction that was
 * cut off and has committed behind that does not come again.
 */
enum outcome pipeline_leave_history(struct pipeline *p, lsn_t end);

/*
 * Judges changes by c from now on.  relations: those of the rows, for as long as there are any.
 * comparer: who is asked where the server has to compare; NULL = nobody needs to be.
 */
void pipeline_set_coverage(struct pipeline *p, struct coverage *c, const struct relations *relations,
                           struct comparer *comparer);

/* Rows follow that were read as of that position and time. */
void pipeline_begin_rows(struct pipeline *p, lsn_t lsn, usec_t when);

/* One of them: a value for each column of r. */
enum outcome pipeline_row(struct pipeline *p, const struct relation *r, const struct value *row,
                          enum row_mark mark, usec_t ticks);

/* The rows are a unit that can be accepted: as much as the coverage says. */
void pipeline_end_rows(struct pipeline *p);

/*
 * Rows and stream do not fit together yet: rows are still to be read, or the stream has not passed
 * what they show.  It is no place to end by itself.
 */
bool pipeline_is_unsettled(const struct pipeline *p);

/* Between two transactions, in the stream and in the output; and between two messages. */
bool pipeline_at_boundary(const struct pipeline *p);

/* A heartbeat record; at a boundary only. */
enum outcome pipeline_heartbeat(struct pipeline *p);

#endif
