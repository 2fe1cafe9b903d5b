/*
 * avro_record - the records of avro_schema.h in Avro's binary encoding, without anything around them.
 *
 * What is the same for many records is encoded once: head, middle and tail of the transaction, table
 * and rows of the layout, clock until the time of writing is set anew.
 */
#ifndef ENCODE_AVRO_RECORD_H
#define ENCODE_AVRO_RECORD_H

#include "encode/encoder_internal.h"

/* The functions of a format (encoder_internal.h), one set for each envelope. */
struct avro_record {
    void (*begin)(struct encoder *e, const struct transaction *t);
    bool (*change)(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b);
    void (*describe_rows)(struct encoder *e, struct layout *l, enum row_mark mark);
    bool (*row)(struct encoder *e, const struct value *row, const struct layout *l, struct buf *b);
};

extern const struct avro_record avro_debezium;
extern const struct avro_record avro_flink;
extern const struct avro_record avro_plain;

/* A name from the catalogs as a string: one that is not UTF-8 loses what is not ASCII to "?". */
void avro_add_catalog_name(struct buf *b, const char *name);

#endif
