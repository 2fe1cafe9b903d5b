/*
 * What encoder.c and the formats share and nobody else sees.
 *
 * A format is the frame of records: NDJSON with its keys (ndjson.c), CSV (csv.c).  It is given a
 * layout that is up to date.  Functions that append a record say how that came out, with the reason
 * logged; the encoder takes back what they had appended by then.
 */
#ifndef ENCODE_ENCODER_INTERNAL_H
#define ENCODE_ENCODER_INTERNAL_H

#include "encode/encoder.h"
#include "encode/envelope.h"

struct avro_branches;

struct format {
    /* how values of a column are written */
    void (*init_rule)(struct rule *r, const struct type *type, int32_t typmod,
                      const struct handling *h);
    /* what it keeps of its own; both NULL = nothing */
    void (*open)(struct encoder *e);
    void (*close)(struct encoder *e);
    void (*set_clock)(struct encoder *e);
    /* fills layout->table */
    void (*describe)(struct encoder *e, struct layout *l);
    void (*describe_rows)(struct encoder *e, struct layout *l, enum row_mark mark);
    void (*begin)(struct encoder *e, const struct transaction *t);
    /* kind: of the flink envelope's record, else of no meaning */
    bool (*change)(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b);
    bool (*row)(struct encoder *e, const struct value *row, const struct layout *l, struct buf *b);
    /* of heads, see encoder.h; all NULL where there are none */
    bool (*fits)(struct encoder *e, const struct relation *r);
    bool (*expect)(struct encoder *e, const struct relation *r);
    void (*begin_anew)(struct encoder *e);
    bool (*adopt)(struct encoder *e, const char *bytes, size_t len);
};

struct encoder {
    const struct options *o;
    const struct format *format;
    const struct envelope *envelope; /* of JSON */
    struct envelope_context x;
    char *server; /* --server-name */
    char *database;
    lsn_t previous_commit; /* of the open transaction */
    struct avro_branches *branches;
    unsigned written; /* records by the last change or row */
    struct buf head;  /* empty = not known yet, or there is none */
    struct buf table; /* whose columns the head names, where it is one */
};

extern const struct format format_ndjson;
extern const struct format format_csv;
extern const struct format format_avro;

/* The row that a record of that kind is about. */
static inline const struct value *row_of_kind(const struct change *c, enum row_kind kind)
{
    return kind == RECORD_INSERT || kind == RECORD_UPDATE_AFTER ? c->new_row : c->old_row;
}

extern const char *const row_kind_names[];

/* What NDJSON puts before and behind a value that is about no row. */
void ndjson_add_key(const struct encoder *e, const char *name, const struct buf *value,
                    struct buf *b);

#endif
