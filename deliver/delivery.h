/*
 * delivery - output accepted, then state durable, then server told: the order that never changes.
 *
 * The capture appends records to the buffer of the output, or of one of the files, says so by
 * delivery_added(), and calls delivery_mark() at each point where a transaction is whole.
 * delivery_settle() finds out what has been accepted since, makes the state file say so, and only
 * then moves `recorded`, the one position that the server may be told of.  Nothing else moves it.
 *
 * When a transaction is accepted is up to the mode (CONTRACT, section 7): a file's is when it is
 * durable, a pipe's when it has been read (output_taken()) or replied to (replies.h), a command's
 * when that has done its work (batches.h).  With --ack-mode=deferred nothing goes on record: what was
 * accepted is left pending in the state file when the run has ended in good order, for --ack.
 */
#ifndef DELIVER_DELIVERY_H
#define DELIVER_DELIVERY_H

#include <poll.h>

#include "cli/options.h"
#include "deliver/batches.h"
#include "deliver/dead_letter.h"
#include "deliver/files.h"
#include "deliver/ledger.h"
#include "deliver/output.h"
#include "deliver/replies.h"
#include "deliver/state.h"

struct delivery {
    const char *state_path; /* NULL = no state file: the slot alone remembers */
    struct state_lock lock;
    struct state state;
    bool resumed; /* a state file was there */
    bool continues; /* ... and the output is the file that it knows, cut back to what was accepted */
    bool looks; /* --peek: what is written is as good as read, as nothing is acknowledged */
    enum ack_mode mode;
    struct output output; /* with files or batches: only counts what they hold */
    struct files *files;     /* -f with placeholders, else NULL */
    struct batches *batches; /* --exec, else NULL */
    struct replies replies;  /* of mode reply */
    struct dead_letters dead;
    struct ledger ledger;
    struct position emitted;  /* behind the last whole transaction that was appended */
    struct position accepted; /* by whoever takes the output */
    uint64_t accepted_end;    /* its offset */
    struct position recorded; /* accepted and on record: the same, but for mode deferred */
    uint64_t boundary; /* offset behind the last whole transaction; with files: how many; the batch */
    lsn_t shown;       /* the highest LSN that records carry since the last mark, */
    lsn_t shown_whole; /* those before it that the ledger does not have yet, */
    lsn_t sent;        /* and all of them */
    char *base;        /* mode deferred: text of the state file as it stays; NULL = none yet */
    bool left_pending; /* ... and that there is something for --ack */
    bool ending;       /* there will be no more records, */
    bool stopping;     /* and what is not accepted soon is left to the next run */
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
 * Why it would be refused, found without making, cutting or writing to anything: -f FILE only.
 */
enum outcome delivery_look_at_output(struct delivery *d, const struct options *o);

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
    if (d->batches)
        return batches_added(d->batches, out, records);
    return out->container ? delivery_added_to_block(d, records) : OUTCOME_OK;
}

/* Closes the block of whole transactions that wait for more: there is nothing more at the moment. */
enum outcome delivery_close_block(struct delivery *d);

/* A record that is appended carries that LSN: its transaction's, as the reader knows it. */
static inline void delivery_show(struct delivery *d, lsn_t lsn)
{
    if (lsn > d->shown)
        d->shown = lsn;
    if (lsn > d->sent)
        d->sent = lsn;
}

/* Everything appended so far makes whole transactions, up to that position. */
void delivery_mark(struct delivery *d, const struct position *position);

/* Everything appended so far is rows: nothing that can be accepted, but a batch may end here. */
void delivery_part(struct delivery *d);

/* ---- the outputs of many, files or spools of a batch; see placing.h ---- */

static inline bool delivery_has_many(const struct delivery *d)
{
    return d->files || d->batches;
}

struct output *delivery_find(struct delivery *d, const struct relation *r);
enum outcome delivery_begin_output(struct delivery *d, const struct relation *r, const char *server,
                                   lsn_t lsn, struct output **out);
enum outcome delivery_end_output(struct delivery *d, struct output *out);
unsigned delivery_generation(const struct delivery *d);

/* That records of r (NULL: of no table) go to out; lsn: that of the first of them. */
void delivery_note(struct delivery *d, struct output *out, const struct relation *r,
                   const char *server, lsn_t lsn);

/* Where records go that are of no table. */
enum outcome delivery_other_output(struct delivery *d, const char *server, lsn_t lsn,
                                   struct output **out);

/* ---- how the output stands ---- */

/* Whether what is not on record can be taken back: from this run's output, from an earlier one's. */
static inline bool delivery_can_cut(const struct delivery *d)
{
    return d->output.kind == OUTPUT_FILE;
}

static inline bool delivery_is_exact(const struct delivery *d)
{
    return d->output.kind == OUTPUT_FILE && !d->batches;
}

/* Whether nothing more is to be appended at the moment. */
static inline bool delivery_is_full(const struct delivery *d)
{
    return d->batches ? batches_are_full(d->batches)
                      : output_pending(&d->output) >= OUTPUT_HIGH_WATER;
}

/* Whether something waits to be taken by the output before more can be appended, or at all. */
static inline bool delivery_is_waiting(const struct delivery *d)
{
    return d->batches ? batches_are_full(d->batches) : output_pending(&d->output) > 0;
}

/* A number that changes whenever something has been taken. */
static inline uint64_t delivery_progress(const struct delivery *d)
{
    return d->batches ? batches_progress(d->batches) : d->output.offset;
}

/* What is to be polled for beside the output itself: how many. */
enum { DELIVERY_WATCHED = 1 };
nfds_t delivery_watch(const struct delivery *d, struct pollfd *fds);

/* When delivery_tend() is wanted without that, in ticks; INT64_MAX = never. */
static inline usec_t delivery_due(const struct delivery *d)
{
    return d->batches ? batches_due(d->batches) : INT64_MAX;
}

/* Looks at the replies of the reader, at the command of a batch; never waits. */
enum outcome delivery_tend(struct delivery *d);

/* Writes what can be written without waiting for a reader. */
static inline enum outcome delivery_flush(struct delivery *d)
{
    return output_flush(&d->output);
}

/* Whether whole transactions have been appended that are not accepted yet. */
static inline bool delivery_owes_output(const struct delivery *d)
{
    return d->boundary != d->accepted_end ||
           (d->output.container && !container_is_empty(d->output.container));
}

/* Whether all that has been appended is accepted, and on record where it goes there. */
static inline bool delivery_is_whole(const struct delivery *d)
{
    return d->accepted.lsn == d->emitted.lsn && d->accepted.rows == d->emitted.rows;
}

/* Accepts and records what has left so far.  See above. */
enum outcome delivery_accept(struct delivery *d);

/* The same when the reader has gone, who may have replied before. */
enum outcome delivery_accept_last(struct delivery *d);

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

/*
 * There will be no more records: what is left is to be accepted now; or, stopping, only what is
 * under way.
 */
void delivery_end(struct delivery *d, bool stopping);

/* Whether there is nothing more to wait for, though not all has been accepted. */
static inline bool delivery_is_over(const struct delivery *d)
{
    return d->batches && batches_are_over(d->batches);
}

/*
 * Mode reply: there will be no more replies, or none came for so long.  Says so where that means that
 * something stays unacknowledged.
 */
enum outcome delivery_check_replies(struct delivery *d, bool patience_over);

/* Mode deferred, at the end of a run in good order: leaves what was accepted for --ack. */
enum outcome delivery_leave_pending(struct delivery *d);

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
