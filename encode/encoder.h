/*
 * encoder - events -> records, in one of the formats: NDJSON, CSV, Avro.
 *
 * The frame of a record is up to the format, the value in it to an envelope (envelope.h).  Records
 * are appended whole to the caller's buffer; when one cannot be written the buffer is as it was
 * before and the reason has been logged: OUTCOME_FAILED for a value that has no form,
 * OUTCOME_MISUSED where the envelope asks for what the server does not send.
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

/* The name of the server, which is the first part of topics' names; as long as the encoder lives. */
const char *encoder_server(const struct encoder *e);

/*
 * What an output begins with, before the first record: the names of the columns (CSV), the schemas of
 * the tables (Avro).  NDJSON has no head; every record goes with it.
 */
bool encoder_has_head(const struct encoder *e);

/* Whether records of r go with the head as it stands. */
bool encoder_fits(struct encoder *e, const struct relation *r);

/* Makes the head one that they go with, of an output that has not begun; false when it cannot be. */
bool encoder_expect(struct encoder *e, const struct relation *r);

/*
 * Another output begins, with the same head.  Until its first record that can be extended again, even
 * where the one before had a single table and so could not become a union.
 */
void encoder_begin_anew(struct encoder *e);

/* The head as it stands. */
const struct buf *encoder_head(const struct encoder *e);

/*
 * Takes the head from an output that goes on: the bytes that it begins with, as far as they were
 * read.  False when they are not the beginning of such an output.
 */
bool encoder_adopt(struct encoder *e, const char *bytes, size_t len);

/* The time of writing, for all records until the next call. */
void encoder_set_clock(struct encoder *e, usec_t now);

/* A transaction begins; once more after a reconnect in its middle, then `again` is true. */
void encoder_begin(struct encoder *e, const struct transaction *t, bool again);

/* One change: a record, or two (flink), or none that it has a form for; -K: tombstones. */
enum outcome encoder_change(struct encoder *e, const struct transaction *t, const struct change *c,
                    struct buf *b);

/* Rows from now on are read as of this position and time, which their records carry. */
void encoder_snapshot(struct encoder *e, lsn_t lsn, usec_t when);

/* One row of a table, one record `r`; row has a value for each column of the relation. */
enum outcome encoder_row(struct encoder *e, const struct relation *r, const struct value *row,
                 enum row_mark mark, struct buf *b);

/* How many records the last of these two has written. */
unsigned encoder_written(const struct encoder *e);

/* A logical message; t is NULL for one outside of a transaction. */
enum outcome encoder_message(struct encoder *e, const struct transaction *t, const struct message *m,
                     struct buf *b);

enum transaction_mark {
    MARK_BEGIN,
    MARK_END,
    MARK_PREPARE,
    MARK_COMMIT_PREPARED,
    MARK_ROLLBACK_PREPARED,
};

/* --transactions: what became of a transaction; END and PREPARE count its records by table. */
enum outcome encoder_transaction(struct encoder *e, const struct transaction *t, enum transaction_mark mark,
                         struct buf *b);

/* --schema-events: a table's columns, when first seen (`first`) or changed. */
enum outcome encoder_schema(struct encoder *e, const struct transaction *t, const struct relation *r,
                    lsn_t lsn, bool first, struct buf *b);

/* --heartbeat: lsn is the position that the stream has reached. */
enum outcome encoder_heartbeat(struct encoder *e, lsn_t lsn, struct buf *b);

#endif
