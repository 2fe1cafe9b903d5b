/* What rows.c, bulk.c and chunks.c share and nobody else sees. */
#ifndef CAPTURE_ROWS_INTERNAL_H
#define CAPTURE_ROWS_INTERNAL_H

#include "capture/rows.h"

/* Gives one row of a table; line is borrowed and changed. */
enum outcome rows_give(struct rows *r, struct plan_table *t, char *line, size_t len,
                       enum row_mark mark, usec_t ticks);

/* Whether the output takes more; writes out what it can.  *outcome tells of failures. */
bool rows_output_has_room(struct rows *r, enum outcome *outcome);

/*
 * What can be asked of a snapshot that a fetcher's transaction has just taken: what it sees, the
 * end of the WAL after it, the time, the fingerprint of the columns of table `oid`.
 */
#define ROWS_SNAPSHOT_QUESTION                                                                     \
    "SELECT %s AS seen, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"               \
    " ELSE pg_current_wal_insert_lsn() END AS until,"                                              \
    " pg_catalog.trunc(extract(epoch FROM clock_timestamp())"                                      \
    "                  OPERATOR(pg_catalog.*) 1000000)::int8 AS now, "                             \
    PLAN_COLUMNS_FINGERPRINT " AS fingerprint"

struct rows_snapshot {
    struct visibility seen;
    lsn_t until;
    usec_t now;
    const char *fingerprint; /* borrows from the result */
};

/* The function that tells the snapshot, by version. */
const char *rows_snapshot_function(const PGconn *conn);

bool rows_read_snapshot(struct rows_snapshot *s, const PGresult *result);

/* A table has been planned anew: what is known of it refers to the new plan. */
enum outcome rows_note_table(struct rows *r, struct plan_table *t);

/* Tables of the plan have changed their places. */
void rows_refer_again(struct rows *r);

/* Gives up the connections. */
void rows_close_jobs(struct rows *r);

/* All rows have been read: says so. */
void rows_end_progress(struct rows *r, usec_t ticks);

enum outcome bulk_take(struct rows *r, usec_t ticks, size_t *bytes);
enum outcome chunk_take(struct rows *r, usec_t ticks, size_t *bytes);

#endif
