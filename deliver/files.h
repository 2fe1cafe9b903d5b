/*
 * files - the output files of -f with placeholders: one per table, each whole when it has its name.
 *
 * A file is written under its name with .partial behind it, and renamed when it is complete: all that
 * is in it has been accepted, and nothing more will come.  It is complete when --rotate says so, when
 * the table's columns change, when the run ends, and when the next run finds it after a crash.  A
 * name that is taken gets a number.
 *
 * The state file names every file before it is made, with length 0, and then how much of it has been
 * accepted; so the run after a crash cuts each back to that, or removes it (files_recover()).  What
 * has a name of a file that was not known to be made yet, with .partial, counts as ours.
 */
#ifndef DELIVER_FILES_H
#define DELIVER_FILES_H

#include "cli/options.h"
#include "decode/relation.h"
#include "deliver/output.h"
#include "deliver/state.h"

struct files;

/*
 * Completes what an earlier run has left.  The state then names no files; that is the caller's to
 * save.  state_path: where it is saved before, NULL = nowhere.
 */
enum outcome files_recover(struct state *s, const char *state_path);

/* Borrows all.  state_path: NULL = there is no state file, and a crash leaves partial files behind. */
struct files *files_new(const struct options *o, struct state *s, const char *state_path);
void files_free(struct files *fs);

/*
 * The output for the records of a table (NULL: of all tables), begun if there is none.  server, lsn:
 * for its name.
 */
enum outcome files_open(struct files *fs, const struct relation *r, const char *server, lsn_t lsn,
                        struct output **out);

/* The output that is open for it, or NULL. */
struct output *files_find(struct files *fs, const struct relation *r);

/* Nothing more comes into that output: the next record begins another one. */
enum outcome files_end(struct files *fs, struct output *out);
enum outcome files_end_all(struct files *fs);

/* So many records have been appended to out: writes when enough is waiting in all of them. */
enum outcome files_added(struct files *fs, struct output *out, unsigned records);

/* Everything appended so far makes whole transactions: ends files whose time has come (--rotate). */
void files_mark(struct files *fs);

/* When a file is due to end next by --rotate=SECONDS, in ticks: files_mark() is then wanted. */
usec_t files_due(const struct files *fs);

/* Changes whenever a file has ended: outputs that were found before may not be good any more. */
unsigned files_generation(const struct files *fs);

/* Whether anything has been appended that files_accept() has not dealt with. */
bool files_owe(const struct files *fs);

/* Makes all up to the last mark durable, and says so in the state, which is not saved. */
enum outcome files_accept(struct files *fs);

/* The state has been saved: renames what is complete. */
enum outcome files_complete(struct files *fs);

/* Takes back what lies behind the last mark. */
enum outcome files_cut(struct files *fs);

/* Bytes written in this run. */
uint64_t files_written(const struct files *fs);

#endif
