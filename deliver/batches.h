/*
 * batches - output that goes to the standard input of a command, batch after batch (--exec).
 *
 * While a batch is open its records are collected in spools, unlinked files in $TMPDIR: one for all
 * tables, or one each (--per-table).  It is closed at the first end of a transaction behind
 * --batch-rows records or --batch-seconds; rows of a snapshot can be parted anywhere.  Then COMMAND is
 * run for each spool, one after another, while the next batch is collected.  A batch is accepted when
 * all of them have read it whole and exited 0; one that has not is tried again, --exec-retries times.
 * When a batch runs and the next one is due, nothing more can be taken.
 *
 * Batches have numbers, from 1: those are the offsets that the ledger has.
 */
#ifndef DELIVER_BATCHES_H
#define DELIVER_BATCHES_H

#include "cli/options.h"
#include "decode/relation.h"
#include "deliver/output.h"

struct batches;

/* Borrows o. */
struct batches *batches_new(const struct options *o);

/* A command that still runs is ended. */
void batches_free(struct batches *bs);

/* ---- collecting ---- */

/* The spool that is open for the records of a table (NULL: of none, or of all), or NULL. */
struct output *batches_find(struct batches *bs, const struct relation *r);

/* Begins one.  server: for the name of the topic. */
enum outcome batches_open(struct batches *bs, const struct relation *r, const char *server,
                          struct output **out);

/* Records of that table (NULL: of none) go into the spool; lsn: that the first of them carries. */
void batches_note(struct batches *bs, struct output *out, const struct relation *r,
                  const char *server, lsn_t lsn);

/* Nothing more comes into that spool: its next record begins another one, in the same batch. */
void batches_end(struct batches *bs, struct output *out);

/* Changes whenever spools that were found before may not be good any more. */
unsigned batches_generation(const struct batches *bs);

/* So many records have been appended. */
enum outcome batches_added(struct batches *bs, struct output *out, unsigned records);

/*
 * Everything appended so far is whole transactions, the last of them committed at lsn.  What fails is
 * told by the next batches_tend(), as with batches_part().
 */
void batches_mark(struct batches *bs, lsn_t lsn);

/* Everything appended so far is rows, which can be parted here. */
void batches_part(struct batches *bs, lsn_t lsn);

/* Whether rows have been given that way of which the end has not been marked yet. */
bool batches_have_parted(const struct batches *bs);

/* Takes back what lies behind the last of these. */
enum outcome batches_cut(struct batches *bs);

/* ---- running ---- */

/* The number of the last batch that has anything in it, and of the last that has been accepted. */
uint64_t batches_last(const struct batches *bs);
uint64_t batches_accepted(const struct batches *bs);

/* Whether nothing more can be taken at the moment. */
bool batches_are_full(const struct batches *bs);

/* Grows whenever a command has taken something or ended. */
uint64_t batches_progress(const struct batches *bs);

/* Bytes given to commands so far. */
uint64_t batches_written(const struct batches *bs);

/*
 * Takes note of a command's end, starts the next one; never waits.
 * OUTCOME_OUTPUT_FAILED: all tries have failed, or a spool could not be written (logged).
 */
enum outcome batches_tend(struct batches *bs);

/* When batches_tend() is due, in ticks, unless a child process ends before (base/signals.h). */
usec_t batches_due(const struct batches *bs);

/* There will be no more records: what there is is due now. */
void batches_flush(struct batches *bs);

/* The run ends before its end: a command that runs has some time to finish, no other is started. */
void batches_stop(struct batches *bs);

/* That was called, and no command runs any more. */
bool batches_are_over(const struct batches *bs);

#endif
