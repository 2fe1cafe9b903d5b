/*
 * placing - where the record of a table goes, and what that output begins with.
 *
 * NDJSON goes anywhere.  Of the other formats an output begins with a head, which is written before
 * the first record and names tables and columns: what does not go with it cannot be in that output.
 * With -f and placeholders another file is begun then, else the run ends.
 */
#ifndef CAPTURE_PLACING_H
#define CAPTURE_PLACING_H

#include "cdcdump.h"
#include "cli/options.h"
#include "decode/relation.h"
#include "deliver/delivery.h"
#include "encode/encoder.h"

/* Relations are numbered apart for those of the stream and those that rows are read by. */
enum placing_of { PLACING_CHANGE, PLACING_ROW, PLACING_KINDS };

/* What has been found for a relation. */
struct placed {
    uint32_t version; /* as it was then; 0 = nothing has */
    unsigned generation;
    struct output *out;
};

struct placed_list {
    struct placed *by_index;
    uint32_t n;
};

struct placing {
    const struct options *o;
    struct encoder *encoder;
    struct delivery *delivery;
    bool simple;         /* everything goes to one output, which has no head */
    bool opened;         /* what that began with, if it was there already, has been looked at */
    unsigned generation; /* a placed one of an older is out of date */
    struct placed_list placed[PLACING_KINDS];
    struct column_list *files; /* with files: the columns that each has begun with */
};

/* Borrows all. */
void placing_init(struct placing *pl, const struct options *o, struct encoder *encoder,
                  struct delivery *delivery);
void placing_release(struct placing *pl);

/* A table that may come, known before the first record: an output of several begins with all. */
void placing_expect(struct placing *pl, const struct relation *r);

/* What placing_find() does where there is more to it than one output without a head. */
enum outcome placing_look(struct placing *pl, enum placing_of of, const struct relation *r,
                          lsn_t lsn, struct output **out);

/*
 * The output whose buffer the next record of r is to be appended to; lsn: the record's.
 * OUTCOME_COLUMNS_CHANGED: no output can carry it; OUTCOME_MISUSED: the output is another one.  Both
 * are logged.
 */
static inline enum outcome placing_find(struct placing *pl, enum placing_of of,
                                        const struct relation *r, lsn_t lsn, struct output **out)
{
    *out = &pl->delivery->output;
    return pl->simple ? OUTCOME_OK : placing_look(pl, of, r, lsn, out);
}

/* The output that has begun may be another one by now. */
void placing_look_again(struct placing *pl);

/* The run ends in good order: an output without records begins nevertheless. */
enum outcome placing_finish(struct placing *pl);

#endif
