/*
 * state - the state file: what the output has accepted, so that the next run goes on from there.
 *
 * JSON, for people and jq to read; every 64-bit number and every LSN is a string, because JSON
 * numbers are doubles in many readers.  Members (state_save() writes them in this order):
 *
 *     cdcdump_state       1: the format's version; a greater one is refused
 *     system_identifier   of the server, decimal
 *     timeline            of the server when the position was accepted
 *     database, slot, plugin, publication
 *     lsn                 acknowledged position: where to go on
 *     commit_lsn, xid, commit_time_us   of the last accepted transaction
 *     phase               "snapshot": rows of tables are still to be read; "streaming"; "complete":
 *                         the run has ended by itself, as its startup mode says
 *     slot_created        whether a capture with this file created the slot
 *     snapshot            null where no rows were read; else
 *         step            number of the snapshot's last step that was accepted
 *         certain         whether the run ended with nothing given that is not on record
 *         snapshots       step, seen, until, again: those under which rows were read and which the
 *                         stream has not passed; seen is the text of a pg_snapshot, until an LSN;
 *                         again: true where changes are given although the rows show them
 *         tables          oid, table: every table whose rows are given; read: "all", "none", or the
 *                         key (texts) up to which; key: names of the key's columns; chunks: step,
 *                         to: what was read beyond that under the snapshots above; moved: rows of
 *                         which all changes are given; filled_to: LSN, see snapshot/coverage.h
 *         owed            transactions that the next step's snapshot has to see, if any
 *     output              regular files: path, device, inode, length of the accepted part, crc32
 *                         of its last up to 4096 bytes, and whether the run that wrote it ended in
 *                         good order (complete), so that nothing of ours lies behind; else null
 *     files               where the output has several, those that are not complete: a list of such
 *                         objects, path without the .partial that they have as yet, device and inode
 *                         0 as long as a file may not have been made
 *     expected            tables as they are described in a transaction that the output could not
 *                         carry, for what the next one begins with: schema, table, oid, identity,
 *                         columns (name, type and typmod, identity); only where there are any
 *     pending             what a run with --ack-mode=deferred has given since lsn, and ended well:
 *                         the members from system_identifier to expected as they are to be when
 *                         that is acknowledged (--ack); only where there is any
 *     crc32               of all of the above, so that a torn or edited file is noticed
 *
 * Written to FILE.tmp, synced, renamed, the folder synced: there is always one whole state file.
 * FILE.lock is held as long as the run lasts.
 */
#ifndef DELIVER_STATE_H
#define DELIVER_STATE_H

#include <sys/types.h>

#include "cdcdump.h"
#include "snapshot/coverage.h"

/* The accepted part of a regular output file. */
struct accepted_file {
    char *path; /* NULL = the output is no regular file */
    uint64_t device;
    uint64_t inode;
    uint64_t length;
    uint32_t crc; /* of the last bytes before length; see output_check_value() */
    bool has_crc; /* the file could be read back when the state was written */
    bool complete;
};

/* Owns its strings. */
struct state {
    char *system_identifier;
    uint32_t timeline;
    char *database;
    char *slot;
    char *plugin;
    char *publication;
    struct position position;
    bool slot_created;
    bool complete;     /* the run has ended by itself */
    bool has_coverage; /* rows are, or were, read: coverage says which */
    struct coverage coverage;
    struct accepted_file output;
    struct accepted_file *files; /* of -f with placeholders */
    size_t nfiles;
    struct relation *expected; /* not described; they own their contents */
    size_t nexpected;
    lsn_t expected_at; /* the position behind which they come */
    bool pending;      /* there is something, or this is it; see state_load_pending() */
};

void state_release(struct state *s);

/* A file more, which is returned; it owns its path. */
struct accepted_file *state_add_file(struct state *s, const char *path);
void state_clear_files(struct state *s);

/* Adds a copy of the relation to those that are expected, unless it is there. */
void state_expect(struct state *s, const struct relation *r);
void state_forget_expected(struct state *s);

/* An exclusive hold on a state file, for as long as the process lives or until released. */
struct state_lock {
    char *path;
    int fd;
};

/*
 * OUTCOME_UNAVAILABLE: another process holds it (logged, with its number).  OUTCOME_OUTPUT_FAILED:
 * the disk is full or broken; OUTCOME_MISUSED: no lock can be had there (both logged).
 */
enum outcome state_lock(struct state_lock *lock, const char *path);
void state_unlock(struct state_lock *lock);

/* What state_lock() would say, found without making or holding anything. */
enum outcome state_look_at_lock(const char *path);

/*
 * Reads the file.  *found is false when there is none; anything else than a whole state file of a
 * version that is known is OUTCOME_MISUSED, and the file stays as it is.
 */
enum outcome state_load(struct state *s, const char *path, bool *found);

/* The same, with what is pending in the place of the rest, if anything is (s->pending). */
enum outcome state_load_pending(struct state *s, const char *path, bool *found);

/* Replaces the file.  A failure is OUTCOME_OUTPUT_FAILED: nothing may be acknowledged then. */
enum outcome state_save(const struct state *s, const char *path);

/* The text of a state file; the caller frees it. */
char *state_text(const struct state *s);

/* Replaces the file by the one whose text `base` is, with s pending in it. */
enum outcome state_save_pending(const struct state *s, const char *base, const char *path);

#endif
