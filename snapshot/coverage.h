/*
 * coverage - which rows have been given, as of which snapshot, and what the stream must leave out.
 *
 * Rows are read in steps.  A step has one snapshot and covers, in one or more tables, the rows up
 * to a bound in the order of the table's key: all of them (consistent snapshots), or one chunk
 * (incremental ones).  Steps are numbered from 1; a later snapshot sees all that an earlier one
 * saw.  With that, a streamed change of a row with key k by transaction x is
 *
 *     given      if k is within the bound of the last step whose snapshot does not see x,
 *     left out   else: a step that sees x has given the row with that change, or will.
 *
 * An update may move a row over that bound: then its one half is given, as an insert or a delete.
 * A transaction that is left out because a later step will see it is noted (`owed`): a snapshot
 * that does not see it cannot be used for that step (commits are streamed before they are visible;
 * for long, with synchronous replication).
 *
 * A reader at a pipe may have got rows that are not on record; those that are deleted until they
 * are read again would stay with it for ever.  So a run that goes on there (`uncertain`) gives
 * deletes of rows that are still to be read, too, and all changes of rows that its own steps have
 * given (`again`), whether their snapshot shows them or not: a reader that keeps the last record of
 * each key ends up right.  For tables without a key nothing can be done.
 *
 * So does a reader that leaves out changes which it has got before: such a run begins no step before
 * the stream has brought again all that an earlier one can have given, so that a change that is new to
 * the reader is never followed by one of the same row that it knows.  (But for tables that were begun
 * anew behind a truncation.)
 *
 * Where chunks are cut by a column that is not part of the rows' own key (--chunk-key), an update may
 * move a row into a chunk that has been given, as the update left it, before the update comes.  Then
 * the reader has the row twice, the newer one first; from that update on (`moved`) all changes of
 * the row, and of one that takes its key, are given as far as has been read, so that what the reader
 * has in the end is right.
 *
 * When the stream has passed a step's `until`, all that its snapshot sees has come and it needs no
 * snapshot any more.  Here and in the state file steps are kept until that is on record.
 */
#ifndef SNAPSHOT_COVERAGE_H
#define SNAPSHOT_COVERAGE_H

#include "cdcdump.h"
#include "snapshot/key.h"
#include "snapshot/visibility.h"

/* A row whose changes are all given, until the step is forgotten. */
struct moved_row {
    uint64_t hash; /* of its key; one that is met by chance does no harm */
    uint64_t step;
};

/* Rows of one table that one step has given: those up to the bound, and after the one before. */
struct covered_chunk {
    uint64_t step;
    struct bound to;
};

struct covered_table {
    uint32_t oid;
    char *name;             /* schema.table, for people */
    struct string_list key; /* names of the key's columns when the first chunk was read; owned */
    struct bound base;      /* bound of the last step that needs no snapshot any more */
    struct covered_chunk *chunks; /* later ones, oldest first */
    size_t nchunks;
    struct moved_row *moved; /* see above; rising by hash */
    size_t nmoved;
    lsn_t filled_to; /* updates up to there get values that are not sent with them from the table */
    struct key *order; /* of this run's plan: how keys are compared; NULL = is not known */
};

/* A snapshot that a step was read under. */
struct covered_step {
    uint64_t step;
    struct visibility seen;
    lsn_t until; /* end of the WAL when the snapshot had been taken */
    bool again;  /* changes that it shows are given all the same: an uncertain run has read it */
};

/* Owns everything. */
struct coverage {
    struct covered_table **tables; /* rising oid */
    size_t ntables;
    size_t nunread;             /* of them: rows are still to be read */
    struct covered_step *steps; /* those that the stream has not passed */
    size_t nsteps;
    uint64_t last;     /* step that was begun last */
    uint64_t complete; /* last step whose rows have been given, all of them */
    bool uncertain; /* an earlier run may have given more than is on record */
    bool certain;   /* for the next run: this one has not */
    lsn_t given_before; /* uncertain: up to there changes have been given before, perhaps */
    uint32_t *owed;    /* transactions that the next snapshot has to see */
    size_t nowed, owed_cap;
};

void coverage_release(struct coverage *c);

/* NULL when the table is not among them. */
struct covered_table *coverage_find(const struct coverage *c, uint32_t oid);

/* Adds a table of which nothing has been read; takes a copy of the name. */
struct covered_table *coverage_add(struct coverage *c, uint32_t oid, const char *name);

/* Adds one whose rows are not to be read, as the stream gives all of them. */
void coverage_add_whole(struct coverage *c, uint32_t oid, const char *name);

/* Removes a table. */
void coverage_remove(struct coverage *c, uint32_t oid);

/* Nothing has been read, of any table: for a snapshot that is taken anew. */
void coverage_reset(struct coverage *c);

/* The bound of what has been given, and of what had been at a position. */
const struct bound *covered_to(const struct covered_table *t);
const struct bound *covered_at(const struct covered_table *t, const struct position *position);

/* Whether some bound of it, that may still be compared with, is a key. */
bool covered_by_key(const struct covered_table *t);

static inline bool covered_whole(const struct covered_table *t)
{
    return covered_to(t)->kind == BOUND_END;
}

static inline bool coverage_whole(const struct coverage *c)
{
    return c->nunread == 0;
}

bool coverage_whole_at(const struct coverage *c, const struct position *position);

/* A chunk that a step has given; the bound is taken over.  For who fills a coverage and recounts. */
void covered_add_chunk(struct covered_table *t, uint64_t step, struct bound *to);

/* Counts the tables whose rows are still to be read. */
void coverage_recount(struct coverage *c);

/* Takes note that all changes of the row with that hash are given, until the step is forgotten. */
void covered_add_moved(struct covered_table *t, uint64_t hash, uint64_t step);
bool covered_has_moved(const struct covered_table *t, uint64_t hash);

/* Whether the snapshot sees every transaction that has been left out for the sake of later steps. */
bool coverage_usable(const struct coverage *c, const struct visibility *seen);

/* Takes note of one more. */
void coverage_owe(struct coverage *c, uint32_t xid);

/* Forgets those of them that this snapshot sees: later ones do so, too. */
void coverage_pay(struct coverage *c, const struct visibility *seen);

/*
 * Begins a step.  Takes over *seen; NULL for a snapshot that was exported with the slot, which
 * sees nothing of what the stream brings.
 */
uint64_t coverage_begin(struct coverage *c, struct visibility *seen, lsn_t until);

/* The present step has given the table's rows up to the bound, which is taken over. */
void coverage_extend(struct coverage *c, struct covered_table *t, struct bound *to);

/* All rows of the present step have been given. */
void coverage_finish(struct coverage *c);

/* Forgets the snapshots that are not needed any more: that position is on record. */
void coverage_forget(struct coverage *c, const struct position *recorded);

/* How many steps have a snapshot that the stream has not passed at lsn. */
size_t coverage_waiting(const struct coverage *c, lsn_t lsn);

/* Whether the stream may still bring changes that an earlier run has given: no step begins then. */
static inline bool coverage_is_behind(const struct coverage *c, lsn_t lsn)
{
    return lsn < c->given_before;
}

/* When all that has been given is on record: whether that is all a reader can have. */
bool coverage_is_certain(const struct coverage *c);

/* Whether updates behind that position get values from their table. */
bool coverage_fills(const struct coverage *c, lsn_t lsn);

/* Whether changes behind that position have to be judged at all. */
bool coverage_is_needed(const struct coverage *c, lsn_t lsn);

#endif
