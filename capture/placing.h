/*
 * placing - where the record of a table goes, and what that output begins with.
 *
 * NDJSON goes anywhere.  Of the other formats an output begins with a head, which is written before
 * the first record and names tables and columns: what does not go with it cannot be in that output,
 * and the run ends.
 */
#ifndef CAPTURE_PLACING_H
#define CAPTURE_PLACING_H

#include "cdcdump.h"
#include "cli/options.h"
#include "decode/relation.h"
#include "deliver/delivery.h"
#include "encode/encoder.h"

struct placing {
    const struct options *o;
    struct encoder *encoder;
    struct delivery *delivery;
    bool framed; /* the output begins with a head */
    bool opened; /* what it began with, if it was there already, has been looked at */
    const struct relation *relation; /* of the last record, */
    uint32_t version;                /* as it was then */
};

/* Borrows all. */
void placing_init(struct placing *pl, const struct options *o, struct encoder *encoder,
                  struct delivery *delivery);

/* The tables that are captured as the run begins: what an output of several tables begins with. */
void placing_expect(struct placing *pl, const struct relations *captured);

/*
 * The buffer that the next record of r is to be appended to.  OUTCOME_COLUMNS_CHANGED: the output
 * cannot carry it; OUTCOME_MISUSED: the output is another one.  Both are logged.
 */
enum outcome placing_find(struct placing *pl, const struct relation *r, struct buf **b);

/* The output that has begun may be another one by now. */
void placing_look_again(struct placing *pl);

/* The run ends in good order: an output without records begins nevertheless. */
enum outcome placing_finish(struct placing *pl);

#endif
