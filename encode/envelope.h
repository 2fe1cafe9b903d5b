/*
 * envelope - the shape of a record's value (CONTRACT, section 5).
 *
 * One const table of functions per shape.  All append JSON to b without the line end; false means
 * that a value could not be written, which has been logged.
 */
#ifndef ENCODE_ENVELOPE_H
#define ENCODE_ENVELOPE_H

#include "base/buf.h"
#include "cdcdump.h"
#include "encode/encoder.h"
#include "encode/layout.h"

/* What every envelope can use.  Owned by the encoder. */
struct envelope_context {
    struct buf server_name; /* JSON strings, quotes included */
    struct buf database;
    struct layouts layouts;     /* of the stream's relations */
    struct layouts row_layouts; /* of those that rows are read by, which may be newer */
    struct buf scratch;
    struct buf cell; /* JSON that is a cell of CSV */
    usec_t now;
    lsn_t snapshot_lsn; /* of rows that are read from tables */
    usec_t snapshot_time;
    lsn_t transaction_lsn; /* of the open transaction's commit, as far as its Begin told; or 0 */
    uint32_t snapshots; /* so far: tells layouts when their fragment for rows is out of date */

    /* fragments that stay the same for many records; what they hold is the envelope's affair */
    struct buf clock;  /* until the time of writing is set anew */
    struct buf head;   /* of the transaction */
    struct buf middle; /* of the transaction */
    struct buf tail;   /* of the transaction */
    size_t xid_len;    /* of what is in tail, up to where the event's LSN goes */
};

struct envelope {
    void (*set_clock)(struct envelope_context *x);
    void (*begin)(struct envelope_context *x, const struct transaction *t);
    /* fills layout->table */
    void (*describe)(struct envelope_context *x, struct layout *l);
    /* kind: which record of it, in the flink envelope */
    bool (*change)(struct envelope_context *x, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b);
    /* fills layout->rows, what all rows of a table with that mark have in common */
    void (*describe_rows)(struct envelope_context *x, struct layout *l, enum row_mark mark);
    bool (*row)(struct envelope_context *x, const struct value *row, const struct layout *l,
                struct buf *b);
    bool (*message)(struct envelope_context *x, const struct transaction *t,
                    const struct message *m, struct buf *b);
    void (*transaction)(struct envelope_context *x, const struct transaction *t,
                        enum transaction_mark mark, struct buf *b);
    void (*schema)(struct envelope_context *x, const struct transaction *t,
                   const struct relation *r, lsn_t lsn, bool first, struct buf *b);
    void (*heartbeat)(struct envelope_context *x, lsn_t lsn, struct buf *b);
};

extern const struct envelope envelope_debezium;
extern const struct envelope envelope_debezium_09;
extern const struct envelope envelope_flink;
extern const struct envelope envelope_plain;

/* The old row as far as the server sent it, or null. */
bool envelope_add_old(struct envelope_context *x, const struct change *c, const struct layout *l,
                      struct buf *b);

/* The new row, or null. */
bool envelope_add_new(struct envelope_context *x, const struct change *c, const struct layout *l,
                      struct buf *b);

/* What the two envelopes of Debezium have in common. */
void debezium_transaction(struct envelope_context *x, const struct transaction *t,
                          enum transaction_mark mark, struct buf *b);
void debezium_heartbeat(struct envelope_context *x, lsn_t lsn, struct buf *b);
void debezium_add_message(const struct envelope_context *x, const struct message *m, struct buf *b);
void debezium_add_table_changes(const struct relation *r, bool first, struct buf *b);

/* Microseconds since 1970 as "2026-01-02T03:04:05.678901Z", without quotes. */
void envelope_add_timestamp(struct buf *b, usec_t when);

/* `"schema.table":n` of all tables with records in the open transaction: calls f for each. */
uint64_t envelope_for_each_count(struct envelope_context *x,
                                 void (*f)(struct buf *b, const struct layout *l, bool first),
                                 struct buf *b);

#endif
