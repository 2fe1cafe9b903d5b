/*
 * rows - the rows of tables, read within a run: the other source of records beside the stream.
 *
 * Consistent: all rows that are to be read come under one snapshot, through several connections
 * (bulk.h), and the stream waits until they have been given.  Incremental: between transactions of
 * the stream, chunk by chunk, each under a snapshot of its own (chunks.h).  Either way the stream
 * then leaves out what the rows show already (snapshot/coverage.h).
 */
#ifndef CAPTURE_ROWS_H
#define CAPTURE_ROWS_H

#include <poll.h>

#include "capture/pipeline.h"
#include "cli/options.h"
#include "snapshot/coverage.h"
#include "snapshot/plan.h"
#include "snapshot/progress.h"
#include "source/catalog.h"
#include "source/connection.h"
#include "source/fetcher.h"
#include "source/selection.h"
#include "source/slot.h"

enum { ROWS_MAX_JOBS = 64 };

/* One connection that reads, and what it reads. */
struct rows_job {
    struct fetcher fetcher;
    struct plan_table *table; /* NULL = it has nothing to do */
    bool unread;    /* something may be left in libpq's buffer */
};

/* The chunk of an incremental snapshot that is being read. */
struct rows_chunk {
    bool running; /* rows may come: the stream waits */
    bool begun;   /* they come: the step has begun */
    bool nulls;   /* the rows whose key is null are being read: the last of the table */
    struct plan_table *table;
    struct covered_table *covered;
    uint64_t rows;
    usec_t started, ended; /* ticks */
    usec_t retry_at;       /* ticks; 0 = at once */
    unsigned refused;      /* snapshots in a row that could not be used */
};

struct rows {
    const struct options *o;
    struct connector *connector;
    struct catalog *catalog;
    const struct selection *selection;
    struct pipeline *pipeline;
    struct delivery *delivery;
    struct coverage *coverage;
    struct plan plan;
    bool planned;
    bool unread; /* something may be left in libpq's buffers */
    size_t taken; /* bytes, by the last rows_take(); 0 = more are not to come at once */
    bool all_tables; /* the publication has all tables: new ones come by the stream, whole */
    bool reordered;  /* the server has to compare keys of a table that it did not have to before */
    bool bulk;   /* a consistent snapshot is being read: the stream waits */
    bool failed; /* in a way that this run cannot mend: it ends */
    struct rows_job *jobs;
    size_t njobs;
    size_t next_table, next_source; /* bulk: the piece to be given out next */
    uint64_t next_page;
    struct rows_chunk chunk;

    char *line; /* chunks: of the last row, which values borrow from */
    char *held; /* bulk: the last line that came; the very last is marked */
    size_t held_len;
    struct plan_table *held_table;
    struct value *values, *scratch; /* for the widest table */

    struct progress progress;
    uint64_t given;       /* rows, in this run */
    uint64_t output_start; /* offset where the records of rows began */
    size_t tables;        /* that are read */
};

/* What of a session the rows need; all borrowed. */
struct rows_context {
    const struct options *o;
    struct connector *connector;
    struct catalog *catalog;
    const struct selection *selection;
    struct pipeline *pipeline;
    struct delivery *delivery;
};

void rows_init(struct rows *r, const struct rows_context *x);
void rows_release(struct rows *r);

/*
 * Looks at the tables, and takes note in the coverage of those that have come (whose rows are to
 * be read) and gone.  `again`: a state file knew them already, so that both are said.
 */
enum outcome rows_plan(struct rows *r, bool again);

/* Whether rows are still to be read. */
bool rows_are_wanted(const struct rows *r);

/*
 * Begins a consistent snapshot.  exported: that of a new slot, whose stream begins at lsn; NULL:
 * one of its own, which lsn then has no part in.
 */
enum outcome rows_begin_bulk(struct rows *r, const char *exported, lsn_t lsn);

/* Whether the stream has to wait for rows now. */
static inline bool rows_hold_stream(const struct rows *r)
{
    return r->bulk || r->chunk.running;
}

/*
 * Takes rows that have arrived, up to some 100 kB or until the output is full; *bytes: how much.
 * OUTCOME_UNAVAILABLE with `failed`: the run cannot go on.
 */
enum outcome rows_take(struct rows *r, usec_t ticks, size_t *bytes);

/*
 * Between two transactions: begins the next chunk where one is to be read and it is time.  idle:
 * the stream has nothing more at the moment.
 */
enum outcome rows_next_chunk(struct rows *r, usec_t ticks, bool idle);

/* When rows_next_chunk() wants to be called again, in ticks; INT64_MAX = never. */
usec_t rows_due(const struct rows *r, usec_t ticks);

/* Sockets to wait for; returns how many, at most `max`. */
size_t rows_sockets(const struct rows *r, struct pollfd *fds, size_t max);

/* How far the snapshot is. */
void rows_show_progress(struct rows *r, usec_t ticks);
struct progress_figures rows_figures(const struct rows *r);
usec_t rows_progress_due(const struct rows *r);

#endif
