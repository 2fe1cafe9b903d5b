/*
 * delivery - output accepted, then state durable, then server told: the order that never changes.
 *
 * The capture appends records to the buffer of the output, or of one of the files, says so by
 * delivery_added(), and calls delivery_mark() at each point where a transaction is whole.
 * delivery_settle() finds out what has been accepted since, makes the state file say so, and only
 * then moves `recorded`, the one position that the server may be told of.  Nothing else moves it.
 */
#ifndef DELIVER_DELIVERY_H
#define DELIVER_DELIVERY_H

#include "cli/options.h"
#include "deliver/files.h"
#include "deliver/ledger.h"
#include "deliver/output.h"
#include "deliver/state.h"

struct delivery {
    const char *state_path; /* NULL = no state file: the slot alone remembers */
    struct state_lock lock;
    struct state state;
    bool resumed; /* a state file was there */
    bool continues; /* ... and the output is the file that it knows, cut back to what was accepted */
    enum ack_mode mode;
    struct output output; /* with files: only counts what they hold */
    struct files *files;  /* -f with placeholders, else NULL */
    struct ledger ledger;
    struct position emitted;  /* behind the last whole transaction that was appended */
    struct position recorded; /* accepted and on record */
    uint64_t recorded_end;    /* its offset */
    uint64_t boundary;        /* offset behind the last whole transaction; with files: how many */
    bool complete;            /* the run has ended in good order: said in the state file */
};

/* Locks and loads the state file.  Before any connection, so that its errors come first. */
enum outcome delivery_load_state(struct delivery *d, const struct options *o);

/*
 * Opens the output.  A file that the state file knows is checked and cut back to the part that
 * was accepted; one that does not fit is refused.
 */
enum outcome delivery_open_output(struct delivery *d, const struct options *o);

/*
 * Where the run begins: puts that on record, with the output as it is now.  The state's identity
 * must be filled in.
 */
enum outcome delivery_begin(struct delivery *d, lsn_t lsn);

/* What delivery_added() does where records go into blocks. */
enum outcome delivery_added_to_block(struct delivery *d, unsigned records);

/* So many records have been appended to out: closes a block that is full. */
static inline enum outcome delivery_added(struct delivery *d, struct output *out, unsigned records)
{
    if (d->files)
        return files_added(d->files, out, records);
    return out->container ? delivery_added_to_block(d, records) : OUTCOME_OK;
}

/* Closes the block of whole transactions that wait for more: there is nothing more at the moment. */
enum outcome delivery_close_block(struct delivery *d);

/* Everything appended so far makes whole transactions, up to that position. */
void delivery_mark(struct delivery *d, const struct position *position);

/* Writes what can be written without waiting for a reader. */
static inline enum outcome delivery_flush(struct delivery *d)
{
    return output_flush(&d->output);
}

/* Whether whole transactions have been appended that are not on record yet. */
static inline bool delivery_owes_output(const struct delivery *d)
{
    return d->boundary != d->recorded_end ||
           (d->output.container && !container_is_empty(d->output.container));
}

/* Whether all that has been appended is accepted and on record. */
static inline bool delivery_is_whole(const struct delivery *d)
{
    return d->recorded.lsn == d->emitted.lsn && d->recorded.rows == d->emitted.rows;
}

/* Accepts and records what has left so far.  See above. */
enum outcome delivery_accept(struct delivery *d);

/* delivery_close_block(), delivery_flush(), delivery_accept(). */
enum outcome delivery_settle(struct delivery *d);

/*
 * A regular file that holds nothing but what it begins with is emptied, so that it can begin with
 * something else.  Before its first record.
 */
enum outcome delivery_empty_output(struct delivery *d);

/*
 * The run ends here: an unfinished transaction is taken back as far as it has not left, a file
 * down to the last whole one.
 */
enum outcome delivery_cut_unfinished(struct delivery *d);

/* The run has ended in good order: the record of a regular file says so, and that of the mode. */
enum outcome delivery_complete(struct delivery *d);

/* When delivery_rotate() is wanted, in ticks; INT64_MAX = never. */
static inline usec_t delivery_rotation_due(const struct delivery *d)
{
    return d->files ? files_due(d->files) : INT64_MAX;
}

/* Ends the files whose time has come (--rotate).  At the end of a transaction only. */
enum outcome delivery_rotate(struct delivery *d);

/* SIGHUP: opens the output file anew, or ends all files.  At the end of a transaction only. */
enum outcome delivery_reopen(struct delivery *d);

/*
 * The output could not carry a record of r: puts that on record, so that the next run begins its
 * output with it.
 */
enum outcome delivery_expect(struct delivery *d, const struct relation *r);

/* Removes the state file, with the slot that it speaks of. */
void delivery_forget_state(struct delivery *d);

void delivery_close(struct delivery *d);

#endif
