/*
 * The incremental snapshot: between two transactions of the stream one chunk of a table, in a
 * transaction of its own that sees one snapshot.  The stream waits while the rows come, as its
 * changes that the snapshot does not see have to follow them.
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
    MAX_AHEAD = 16,           /* chunks whose snapshots the stream has not passed */
    MAX_KEPT = 1024,          /* chunks that are not on record */
    MAX_OWED = 4096,          /* transactions that the next snapshot has to see */
    TURN_BYTES = 256 * 1024,
    UNUSABLE_USEC = 5000,     /* a snapshot that misses a transaction: until the next try */
    UNUSABLE_TOLD = 1000,     /* so many in a row are worth telling */
    RETRY_USEC = 1000000,     /* the connection was lost, or the table is locked */
};

/* ---- beginning a chunk ---- */

static struct plan_table *next_table(struct rows *r)
{
    for (size_t i = 0; i < r->plan.count; i++)
        if (!covered_whole(coverage_find(r->coverage, r->plan.tables[i].oid)))
            return &r->plan.tables[i];
    return NULL;
}

/* The stream has its share of the time, and is never far behind. */
static bool is_time(const struct rows *r, usec_t ticks, bool idle)
{
    const struct rows_chunk *c = &r->chunk;
    lsn_t reached = r->delivery->emitted.lsn;

    if (ticks < c->retry_at || coverage_is_behind(r->coverage, reached) ||
        coverage_waiting(r->coverage, reached) >= MAX_AHEAD ||
        r->coverage->last - r->delivery->recorded.rows >= MAX_KEPT)
        return false;
    return idle || ticks - c->ended >= c->ended - c->started;
}

static enum outcome connect(struct rows *r)
{
    if (!r->jobs) {
        r->jobs = xcalloc(1, sizeof *r->jobs);
        r->njobs = 1;
    }
    if (!r->jobs->fetcher.conn) {
        enum outcome outcome = fetcher_open(&r->jobs->fetcher, r->connector);

        r->jobs->fetcher.lenient = true;
        return outcome;
    }
    return OUTCOME_OK;
}

/* A lock taken before the snapshot keeps the table as the snapshot shows it. */
static void add_beginning(struct buf *b, const struct rows *r)
{
    const struct plan_table *t = r->chunk.table;

    buf_printf(b,
               "%sBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off; "
               "SET LOCAL lock_timeout = '200ms'; LOCK TABLE %s%s IN ACCESS SHARE MODE; ",
               PQtransactionStatus(r->jobs->fetcher.conn) == PQTRANS_IDLE ? "" : "ROLLBACK; ", t->partitioned ? "" : "ONLY ", t->quoted);
    buf_printf(b, ROWS_SNAPSHOT_QUESTION "; ", rows_snapshot_function(r->jobs->fetcher.conn),
               t->oid);
}

static enum outcome send_chunk(struct rows *r)
{
    struct rows_chunk *c = &r->chunk;
    PGconn *conn = r->jobs->fetcher.conn;
    char *copy = statement_of_chunk(c->table, covered_to(c->covered), r->o->chunk_size, conn);
    struct buf b;
    enum outcome outcome;

    log_verbose("%s", copy);
    buf_init(&b, 1024);
    add_beginning(&b, r);
    buf_add_str(&b, copy);
    if (c->table->key.n == 0 || c->table->key.unique) /* else nulls may follow */
        buf_add_str(&b, "; ROLLBACK");
    buf_add_char(&b, '\0');
    outcome = fetcher_send(&r->jobs->fetcher, b.data);
    buf_release(&b);
    free(copy);
    return outcome;
}

static void say_keyless(const struct rows *r)
{
    const struct rows_chunk *c = &r->chunk;

    if (c->table->key.n == 0 && covered_to(c->covered)->kind == BOUND_NONE && c->refused == 0)
        log_notice("table %s has no key to cut it by: reading it as one chunk, while the stream "
                   "waits",
                   c->table->name);
}

/* The next attempt comes later; what has been given stays given. */
static enum outcome put_off(struct rows *r, enum outcome outcome, usec_t ticks)
{
    r->chunk.running = false;
    r->chunk.retry_at = ticks + RETRY_USEC;
    if (outcome != OUTCOME_UNAVAILABLE)
        return outcome;
    fetcher_close(&r->jobs->fetcher);
    log_notice("going on with table %s in a second", r->chunk.table->name);
    return OUTCOME_OK;
}

/* While no chunk can be read for long, the transactions that the next one must see add up. */
static enum outcome bound_owed(struct rows *r)
{
    PGconn *sql;
    PGresult *result;
    struct visibility seen;
    char question[64];
    enum outcome outcome;

    if (r->coverage->nowed < MAX_OWED)
        return OUTCOME_OK;
    outcome = catalog_connection(r->catalog, &sql);
    if (outcome != OUTCOME_OK)
        return outcome;
    snprintf(question, sizeof question, "SELECT %s", rows_snapshot_function(sql));
    outcome = sql_query(sql, "look at running transactions", question, 0, NULL, &result);
    if (outcome == OUTCOME_OK && visibility_parse(&seen, result_first(result))) {
        coverage_pay(r->coverage, &seen);
        visibility_release(&seen);
    }
    PQclear(result);
    return outcome;
}

enum outcome rows_next_chunk(struct rows *r, usec_t ticks, bool idle)
{
    struct rows_chunk *c = &r->chunk;
    struct plan_table *t;
    enum outcome outcome;

    if (!r->planned || r->bulk || r->o->snapshot != SNAPSHOT_INCREMENTAL)
        return OUTCOME_OK;
    outcome = bound_owed(r);
    if (outcome != OUTCOME_OK || !is_time(r, ticks, idle))
        return outcome;
    t = next_table(r);
    if (!t)
        return OUTCOME_OK;
    c->table = t;
    c->covered = coverage_find(r->coverage, t->oid);
    c->begun = c->nulls = false;
    c->rows = 0;
    outcome = connect(r);
    if (outcome != OUTCOME_OK)
        return put_off(r, outcome, ticks);
    say_keyless(r);
    c->running = true;
    c->started = ticks;
    outcome = send_chunk(r);
    return outcome == OUTCOME_OK ? OUTCOME_OK : put_off(r, outcome, ticks);
}

usec_t rows_due(const struct rows *r, usec_t ticks)
{
    if (!rows_are_wanted(r) || r->bulk || r->chunk.running)
        return INT64_MAX;
    return r->chunk.retry_at > ticks ? r->chunk.retry_at : ticks + UNUSABLE_USEC;
}

/* ---- its snapshot ---- */

static void refuse(struct rows *r, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;

    fetcher_cancel(&r->jobs->fetcher);
    c->running = false;
    c->retry_at = ticks + UNUSABLE_USEC;
}

/* A transaction has been streamed that this snapshot does not see, though it has committed. */
static void refuse_snapshot(struct rows *r, usec_t ticks)
{
    refuse(r, ticks);
    if (++r->chunk.refused == UNUSABLE_TOLD) {
        log_notice("reading table %s waits for a transaction that has committed and is not visible",
                   r->chunk.table->name);
        log_detail("With synchronous replication that takes until the standby has confirmed it.");
    }
}

static void end_if_whole(struct rows *r, usec_t ticks)
{
    if (!coverage_whole(r->coverage))
        return;
    rows_end_progress(r, ticks);
    rows_close_jobs(r);
}

/* A table that is no more, or not published any more, has no rows and no changes. */
static void leave_out(struct rows *r)
{
    struct plan_table *t = r->chunk.table;

    log_notice("table %s is not there any more: going on without it", t->name);
    coverage_remove(r->coverage, t->oid);
    plan_remove(&r->plan, t);
    r->chunk.table = NULL;
    rows_refer_again(r);
    end_if_whole(r, clock_ticks());
}

static enum outcome renew_plan(struct rows *r)
{
    struct captured_context x = {.o = r->o, .selection = r->selection, .catalog = r->catalog};
    struct rows_chunk *c = &r->chunk;
    bool found = false;
    enum outcome outcome = catalog_connection(r->catalog, &x.sql);

    log_verbose("table %s has been altered", c->table->name);
    if (outcome == OUTCOME_OK)
        outcome = plan_renew(&r->plan, c->table, &x, &found);
    if (outcome == OUTCOME_OK && !found)
        leave_out(r);
    else if (outcome == OUTCOME_OK)
        outcome = rows_note_table(r, c->table);
    return outcome;
}

static enum outcome use_snapshot(struct rows *r, const PGresult *result, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;
    struct rows_snapshot s;

    if (!rows_read_snapshot(&s, result))
        return OUTCOME_FAILED;
    if (strcmp(s.fingerprint ? s.fingerprint : "", c->table->fingerprint) != 0) {
        visibility_release(&s.seen);
        refuse(r, ticks);
        return renew_plan(r);
    }
    if (!coverage_usable(r->coverage, &s.seen)) {
        visibility_release(&s.seen);
        refuse_snapshot(r, ticks);
        return OUTCOME_OK;
    }
    coverage_begin(r->coverage, &s.seen, s.until);
    c->begun = true;
    c->refused = 0;
    pipeline_begin_rows(r->pipeline, s.until, s.now);
    return OUTCOME_OK;
}

/* ---- its rows ---- */

static enum outcome give(struct rows *r, size_t len, usec_t ticks)
{
    PQfreemem(r->line);
    r->line = fetcher_keep(&r->jobs->fetcher);
    r->chunk.rows++;
    return rows_give(r, r->chunk.table, r->line, len, ROW_INCREMENTAL, ticks);
}

/* Behind the last row that was given: values still borrow from its line. */
static struct bound last_bound(struct rows *r)
{
    struct key *k = &r->chunk.table->key;

    if (!key_locate(k, r->chunk.table->relation))
        return (struct bound){.kind = BOUND_NONE};
    return bound_of_row(r->values, k->positions, k->n);
}

static void end_chunk(struct rows *r, struct bound *to, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;

    if (to)
        coverage_extend(r->coverage, c->covered, to);
    coverage_finish(r->coverage);
    pipeline_end_rows(r->pipeline);
    c->running = c->begun = false;
    c->ended = ticks;
}

/* The server has answered everything: the chunk is whole, unless nulls are to follow. */
static enum outcome finish(struct rows *r, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;
    bool last = c->table->key.n == 0 || c->nulls || c->rows < r->o->chunk_size;
    struct bound to = {.kind = BOUND_END};

    if (last && c->table->key.n && !c->table->key.unique && !c->nulls) {
        char *copy = statement_of_nulls(c->table);
        enum outcome outcome = fetcher_send(&r->jobs->fetcher, copy);

        free(copy);
        c->nulls = true;
        return outcome;
    }
    if (!last)
        to = last_bound(r);
    end_chunk(r, &to, ticks);
    end_if_whole(r, ticks);
    return OUTCOME_OK;
}

/*
 * Rows came in the order of the key: up to the last one the chunk is as good as whole, if no other
 * row can have the same key.  Without that nothing tells what is missing.
 */
static enum outcome end_early(struct rows *r, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;
    struct bound to;

    if (!c->begun)
        return OUTCOME_OK;
    if (c->rows > 0 && (c->table->key.n == 0 || !c->table->key.unique)) {
        log_hint("Without a unique key the chunk cannot be gone on with: the next run begins it "
                 "anew.");
        r->failed = true;
        return OUTCOME_UNAVAILABLE;
    }
    if (c->rows > 0)
        to = last_bound(r);
    end_chunk(r, c->rows > 0 ? &to : NULL, ticks);
    return OUTCOME_OK;
}

static enum outcome give_up(struct rows *r, enum outcome outcome, usec_t ticks)
{
    struct rows_chunk *c = &r->chunk;
    enum outcome end;

    if (r->jobs->fetcher.missing && !c->begun) {
        r->jobs->fetcher.missing = false;
        refuse(r, ticks);
        return renew_plan(r);
    }
    if (outcome != OUTCOME_UNAVAILABLE)
        return outcome;
    end = end_early(r, ticks);
    return end == OUTCOME_OK ? put_off(r, outcome, ticks) : end;
}

static enum outcome take_step(struct rows *r, enum fetcher_step step, size_t len, usec_t ticks)
{
    switch (step) {
    case FETCHER_RESULT:
        return use_snapshot(r, r->jobs->fetcher.result, ticks);
    case FETCHER_ROW:
        return give(r, len, ticks);
    case FETCHER_DONE:
        return finish(r, ticks);
    default:
        return OUTCOME_OK;
    }
}

enum outcome chunk_take(struct rows *r, usec_t ticks, size_t *bytes)
{
    struct fetcher *f = &r->jobs->fetcher;
    enum outcome outcome = OUTCOME_OK;
    char doing[256];

    snprintf(doing, sizeof doing, "read the rows of table %s", r->chunk.table->name);
    if (!r->unread && !fetcher_receive(f)) {
        log_warning("lost the connection while reading the rows of table %s: %s",
                    r->chunk.table->name, PQerrorMessage(f->conn));
        return give_up(r, OUTCOME_UNAVAILABLE, ticks);
    }
    r->unread = true;
    while (*bytes < TURN_BYTES && r->chunk.running && rows_output_has_room(r, &outcome)) {
        size_t len = 0;
        enum fetcher_step step = fetcher_next(f, &len, doing, &outcome);

        if (step == FETCHER_FAILED)
            return give_up(r, outcome, ticks);
        r->unread = step != FETCHER_WAIT;
        if (!r->unread)
            return OUTCOME_OK;
        *bytes += len;
        outcome = take_step(r, step, len, ticks);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (!r->chunk.running)
        r->unread = false;
    return outcome;
}
