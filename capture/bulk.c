/*
 * The consistent snapshot: every table that is to be read as of one point, through as many
 * connections as --jobs asks, big tables in pieces of whole pages (PostgreSQL 14 and later, which
 * scan a range of them directly).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "capture/rows_internal.h"
#include "snapshot/statement.h"

enum {
    PAGE = 8192,
    CUT_PAGES = 2048,       /* tables from 16 MB on are cut ... */
    PIECE_PAGES = 4096,     /* ... into pieces of 32 MB, ... */
    LAST_PAGES = 512,       /* ... and less towards the end, so that all come to it together */
    TURN_BYTES = 128 * 1024 /* of lines, before others have their turn */
};

/* ---- pieces ---- */

static bool may_be_cut(const struct rows *r, const struct plan_table *t,
                       const struct plan_source *s)
{
    return r->njobs > 1 && s->oid && !t->query && s->bytes / PAGE >= CUT_PAGES &&
           PQserverVersion(r->jobs[0].fetcher.conn) >= 140000;
}

static bool is_to_be_read(const struct rows *r, const struct plan_table *t)
{
    return !covered_whole(coverage_find(r->coverage, t->oid));
}

/* Moves on to the next source that has something left; false: all has been given out. */
static bool find_work(struct rows *r)
{
    for (; r->next_table < r->plan.count; r->next_table++, r->next_source = 0) {
        const struct plan_table *t = &r->plan.tables[r->next_table];
        size_t sources = t->query && t->nsources ? 1 : t->nsources; /* a query reads it all */

        if (is_to_be_read(r, t) && r->next_source < sources)
            return true;
    }
    return false;
}

/* How many of the pages that are left of a source are read at once. */
static uint64_t piece_pages(const struct rows *r, uint64_t left)
{
    uint64_t pages = left / (2 * r->njobs);

    if (pages > PIECE_PAGES)
        return PIECE_PAGES;
    return pages > LAST_PAGES ? pages : LAST_PAGES;
}

/* The next piece, as a statement; NULL: all has been given out. */
static char *next_piece(struct rows *r, struct rows_job *job)
{
    struct plan_table *t;
    const struct plan_source *s;
    uint64_t from = r->next_page, to = 0, left;

    if (!find_work(r))
        return NULL;
    t = &r->plan.tables[r->next_table];
    s = &t->sources[r->next_source];
    left = s->bytes / PAGE - from;
    if (may_be_cut(r, t, s) && left > piece_pages(r, left))
        to = from + piece_pages(r, left);
    job->table = t;
    r->next_page = to;
    if (to == 0)
        r->next_source++;
    return statement_of_source(t, s, from, to);
}

static enum outcome give_work(struct rows *r, struct rows_job *job)
{
    enum outcome outcome = OUTCOME_OK;
    char *statement;

    job->table = NULL;
    statement = next_piece(r, job);
    if (statement) {
        log_verbose("%s", statement);
        outcome = fetcher_send(&job->fetcher, statement);
    }
    free(statement);
    return outcome;
}

/* ---- beginning ---- */

/* Its own snapshot, that of the first connection; others take it over by name. */
static enum outcome take_snapshot(struct rows *r, char name[64], struct rows_snapshot *s)
{
    PGconn *conn = r->jobs[0].fetcher.conn;
    char question[1024];
    PGresult *result;
    enum outcome outcome;

    snprintf(question, sizeof question, ROWS_SNAPSHOT_QUESTION ", pg_export_snapshot() AS name",
             rows_snapshot_function(conn), 0u);
    outcome = sql_query(conn, "take a snapshot", question, 0, NULL, &result);
    if (outcome != OUTCOME_OK)
        return outcome;
    snprintf(name, 64, "%s", result_string(result, 0, "name"));
    outcome = rows_read_snapshot(s, result) ? OUTCOME_OK : OUTCOME_FAILED;
    PQclear(result);
    return outcome;
}

/* As far as can be told: tables may still come and go. */
static uint64_t count_pieces(const struct rows *r)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->plan.count; i++) {
        const struct plan_table *t = &r->plan.tables[i];

        for (size_t k = 0; k < t->nsources && is_to_be_read(r, t); k++)
            n += 1 + (t->sources[k].oid ? t->sources[k].bytes / PAGE / CUT_PAGES : 0);
    }
    return n;
}

/* No more of them than there are pieces to give out. */
static enum outcome open_jobs(struct rows *r)
{
    uint64_t pieces = count_pieces(r), wanted = r->o->jobs < pieces ? r->o->jobs : pieces;
    enum outcome outcome = OUTCOME_OK;

    if (wanted == 0)
        wanted = 1;
    r->jobs = xcalloc(wanted, sizeof *r->jobs);
    while (r->njobs < wanted && outcome == OUTCOME_OK)
        outcome = fetcher_open(&r->jobs[r->njobs++].fetcher, r->connector);
    return outcome;
}

static enum outcome begin_jobs(struct rows *r, const char *exported, struct rows_snapshot *s)
{
    enum outcome outcome = fetcher_begin(&r->jobs[0].fetcher, exported);
    char name[64] = "";

    if (outcome == OUTCOME_OK && !exported)
        outcome = take_snapshot(r, name, s);
    for (size_t i = 1; i < r->njobs && outcome == OUTCOME_OK; i++)
        outcome = fetcher_begin(&r->jobs[i].fetcher, exported ? exported : name);
    return outcome;
}

/* Against what would change or empty a table in the middle, as a snapshot does not. */
static enum outcome lock_tables(struct rows *r)
{
    struct buf b;
    const char *comma = "SET LOCAL lock_timeout = '20s'; LOCK TABLE ";
    enum outcome outcome = OUTCOME_OK;

    buf_init(&b, 1024);
    for (size_t i = 0; i < r->plan.count; i++) {
        const struct plan_table *t = &r->plan.tables[i];

        if (!is_to_be_read(r, t))
            continue;
        buf_printf(&b, "%s%s%s", comma, t->partitioned ? "" : "ONLY ", t->quoted);
        comma = ", ";
    }
    if (b.len > 0) {
        buf_add(&b, " IN ACCESS SHARE MODE", sizeof " IN ACCESS SHARE MODE");
        outcome = sql_run(r->jobs[0].fetcher.conn, "lock the tables for reading", b.data);
    }
    buf_release(&b);
    return outcome;
}

/*
 * The locks were taken a moment after the snapshot.  What a table was in the snapshot has to be what
 * it is now: one that has been rewritten since looks empty in it.
 */
static enum outcome check_unaltered(struct rows *r)
{
    PGconn *sql;
    char *then = NULL, *now = NULL;
    enum outcome outcome = catalog_connection(r->catalog, &sql);

    if (outcome == OUTCOME_OK)
        outcome = plan_fingerprint(&r->plan, r->jobs[0].fetcher.conn, &then);
    if (outcome == OUTCOME_OK)
        outcome = plan_fingerprint(&r->plan, sql, &now);
    if (outcome == OUTCOME_OK && strcmp(then, now) != 0) {
        log_error("could not read the tables as of one point: one of them was altered or truncated "
                  "meanwhile");
        log_hint("Try again.");
        outcome = OUTCOME_UNAVAILABLE;
    }
    free(then);
    free(now);
    return outcome;
}

static enum outcome server_time(PGconn *conn, usec_t *now)
{
    PGresult *result;
    enum outcome outcome = sql_query(
        conn, "read the time",
        "SELECT pg_catalog.trunc(extract(epoch FROM clock_timestamp())"
        "                        OPERATOR(pg_catalog.*) 1000000)::int8 AS now",
        0, NULL, &result);

    if (outcome == OUTCOME_OK)
        *now = result_i64(result, 0, "now");
    PQclear(result);
    return outcome;
}

/*
 * All connections have the snapshot, the tables are locked and as planned: *s tells of it.  The plan
 * is made again, for the slot may have been waited for while tables and partitions came.
 */
static enum outcome prepare(struct rows *r, const char *exported, struct rows_snapshot *s)
{
    enum outcome outcome = open_jobs(r);

    if (outcome == OUTCOME_OK)
        outcome = begin_jobs(r, exported, s);
    if (outcome == OUTCOME_OK && exported)
        outcome = server_time(r->jobs[0].fetcher.conn, &s->now);
    if (outcome == OUTCOME_OK)
        outcome = rows_plan(r, false);
    if (outcome == OUTCOME_OK)
        outcome = lock_tables(r);
    return outcome == OUTCOME_OK ? check_unaltered(r) : outcome;
}

enum outcome rows_begin_bulk(struct rows *r, const char *exported, lsn_t lsn)
{
    struct rows_snapshot s = {.until = lsn};
    enum outcome outcome = prepare(r, exported, &s);

    if (outcome != OUTCOME_OK) {
        visibility_release(&s.seen);
        r->failed = outcome == OUTCOME_UNAVAILABLE;
        return outcome;
    }
    coverage_begin(r->coverage, exported ? NULL : &s.seen, s.until);
    r->bulk = true;
    r->next_table = r->next_source = 0;
    r->next_page = 0;
    pipeline_begin_rows(r->pipeline, s.until, s.now);
    for (size_t i = 0; i < r->njobs && outcome == OUTCOME_OK; i++)
        outcome = give_work(r, &r->jobs[i]);
    return outcome;
}

/* ---- reading ---- */

/* The line before this one can be given, as it is not the last. */
static enum outcome hold(struct rows *r, struct rows_job *job, size_t len, usec_t ticks)
{
    char *line = r->held;
    size_t line_len = r->held_len;
    struct plan_table *t = r->held_table;
    enum outcome outcome = OUTCOME_OK;

    r->held = fetcher_keep(&job->fetcher);
    r->held_len = len;
    r->held_table = job->table;
    if (line) {
        outcome = rows_give(r, t, line, line_len, ROW_CONSISTENT, ticks);
        PQfreemem(line);
    }
    return outcome;
}

static enum outcome lost(struct rows *r, enum outcome outcome)
{
    if (outcome == OUTCOME_UNAVAILABLE) {
        r->failed = true;
        log_detail("Rows as of one point cannot be read on by another connection.");
        log_hint("The next run begins the snapshot anew.");
    }
    return outcome;
}

/* What one connection has; job->unread: it may have more. */
static enum outcome take_from(struct rows *r, struct rows_job *job, usec_t ticks, size_t *bytes)
{
    size_t len;
    enum outcome outcome = OUTCOME_OK;
    char doing[256];

    snprintf(doing, sizeof doing, "read the rows of table %s", job->table->name);
    job->unread = true;
    for (size_t taken = 0; taken < TURN_BYTES && rows_output_has_room(r, &outcome);) {
        switch (fetcher_next(&job->fetcher, &len, doing, &outcome)) {
        case FETCHER_ROW:
            taken += len;
            *bytes += len;
            outcome = hold(r, job, len, ticks);
            break;
        case FETCHER_DONE:
            outcome = give_work(r, job);
            if (!job->table)
                return outcome;
            break;
        case FETCHER_WAIT:
            job->unread = false;
            return OUTCOME_OK;
        case FETCHER_FAILED:
            return lost(r, outcome);
        case FETCHER_RESULT:
        case FETCHER_COPIED:
            break;
        }
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return outcome;
}

/* The first connection holds the locks: without them tables may have been rewritten meanwhile. */
static enum outcome check_locks(struct rows *r)
{
    PGconn *conn = r->jobs[0].fetcher.conn;

    if (PQconsumeInput(conn) && PQstatus(conn) == CONNECTION_OK)
        return OUTCOME_OK;
    log_error("lost the connection that holds the locks: %s", PQerrorMessage(conn));
    return lost(r, OUTCOME_UNAVAILABLE);
}

static enum outcome finish(struct rows *r, usec_t ticks)
{
    enum outcome outcome = check_locks(r);

    if (outcome != OUTCOME_OK)
        return outcome;
    if (r->held)
        outcome = rows_give(r, r->held_table, r->held, r->held_len, ROW_LAST, ticks);
    PQfreemem(r->held);
    r->held = NULL;
    if (outcome != OUTCOME_OK)
        return outcome;
    for (size_t i = 0; i < r->coverage->ntables; i++)
        if (!covered_whole(r->coverage->tables[i]))
            coverage_extend(r->coverage, r->coverage->tables[i],
                            &(struct bound){.kind = BOUND_END});
    coverage_finish(r->coverage);
    pipeline_end_rows(r->pipeline);
    rows_end_progress(r, ticks);
    rows_close_jobs(r);
    r->bulk = false;
    return OUTCOME_OK;
}

static enum outcome receive(struct rows *r, struct rows_job *job)
{
    if (job->unread || fetcher_receive(&job->fetcher))
        return OUTCOME_OK;
    log_error("lost the connection while reading the rows of table %s: %s", job->table->name,
              PQerrorMessage(job->fetcher.conn));
    return lost(r, OUTCOME_UNAVAILABLE);
}

enum outcome bulk_take(struct rows *r, usec_t ticks, size_t *bytes)
{
    bool working = false;
    enum outcome outcome = OUTCOME_OK;

    r->unread = false;
    for (size_t i = 0; i < r->njobs && outcome == OUTCOME_OK; i++) {
        struct rows_job *job = &r->jobs[i];

        if (!job->table)
            continue;
        outcome = receive(r, job);
        if (outcome == OUTCOME_OK)
            outcome = take_from(r, job, ticks, bytes);
        working |= job->table != NULL;
        r->unread |= job->table && job->unread;
    }
    return outcome == OUTCOME_OK && !working ? finish(r, ticks) : outcome;
}
