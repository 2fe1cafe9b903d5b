/*
 * encoder - events -> records: NDJSON lines, or with -K the lines KEY DELIMITER VALUE.
 *
 * The encoder knows the frame (keys, delimiters, tombstones, line ends); the value inside is up to
 * an envelope (envelope.h).  Records are appended whole to the caller's buffer; when one cannot be
 * written the buffer is as it was before and the reason has been logged.
 */
#ifndef ENCODE_ENCODER_H
#define ENCODE_ENCODER_H

#include "base/buf.h"
#include "cdcdump.h"
#include "cli/options.h"

struct encoder;

/* database: its name, for the source block and as the default of --server-name. */
struct encoder *encoder_new(const struct options *o, const char *database);
void encoder_free(struct encoder *e);

/* The time of writing, for all records until the next call. */
void encoder_set_clock(struct encoder *e, usec_t now);

/* A transaction begins; once more after a reconnect in its middle, then `again` is true. */
void encoder_begin(struct encoder *e, const struct transaction *t, bool again);

/* One change, one record; with -K a tombstone behind a deletion. */
bool encoder_change(struct encoder *e, const struct transaction *t, const struct change *c,
                    struct buf *b);

/* Rows from now on are read as of this position and time, which their records carry. */
void encoder_snapshot(struct encoder *e, lsn_t lsn, usec_t when);

/* One row of a table, one record `r`; row has a value for each column of the relation. */
bool encoder_row(struct encoder *e, const struct relation *r, const struct value *row,
                 enum row_mark mark, struct buf *b);

/* A logical message; t is NULL for one outside of a transaction. */
bool encoder_message(struct encoder *e, const struct transaction *t, const struct message *m,
                     struct buf *b);

enum transaction_mark {
    MARK_BEGIN,
    MARK_END,
    MARK_PREPARE,
    MARK_COMMIT_PREPARED,
    MARK_ROLLBACK_PREPARED,
};

/* --transactions: what became of a transaction; END and PREPARE count its records by table. */
bool encoder_transaction(struct encoder *e, const struct transaction *t, enum transaction_mark mark,
                         struct buf *b);

/* --schema-events: a table's columns, when first seen (`first`) or changed. */
bool encoder_schema(struct encoder *e, const struct transaction *t, const struct relation *r,
                    lsn_t lsn, bool first, struct buf *b);

/* --heartbeat: lsn is the position that the stream has reached. */
bool encoder_heartbeat(struct encoder *e, lsn_t lsn, struct buf *b);

#endif
