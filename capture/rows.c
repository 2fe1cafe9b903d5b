#include "capture/rows_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/meter.h"
#include "source/publication.h"

void rows_init(struct rows *r, const struct rows_context *x)
{
    *r = (struct rows){
        .o = x->o,
        .connector = x->connector,
        .catalog = x->catalog,
        .selection = x->selection,
        .pipeline = x->pipeline,
        .delivery = x->delivery,
        .coverage = &x->delivery->state.coverage,
    };
}

void rows_close_jobs(struct rows *r)
{
    for (size_t i = 0; i < r->njobs; i++)
        fetcher_close(&r->jobs[i].fetcher);
    free(r->jobs);
    r->jobs = NULL;
    r->njobs = 0;
}

void rows_release(struct rows *r)
{
    rows_close_jobs(r);
    plan_release(&r->plan);
    PQfreemem(r->line);
    PQfreemem(r->held);
    free(r->values);
    free(r->scratch);
    *r = (struct rows){0};
}

/* ---- which tables ---- */

static const struct plan_table *in_plan(const struct plan *p, uint32_t oid)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->tables[i].oid == oid)
            return &p->tables[i];
    return NULL;
}

static void drop_vanished(struct rows *r, bool again)
{
    for (size_t i = r->coverage->ntables; i-- > 0;) {
        const struct covered_table *t = r->coverage->tables[i];

        if (in_plan(&r->plan, t->oid))
            continue;
        if (again)
            log_notice("table %s is not captured any more", t->name);
        coverage_remove(r->coverage, t->oid);
    }
}

static bool same_key(const struct covered_table *t, const struct key *k)
{
    if (t->key.count != k->n)
        return false;
    for (uint16_t i = 0; i < k->n; i++)
        if (strcmp(t->key.items[i], k->columns[i].name) != 0)
            return false;
    for (size_t i = 0; i < t->nchunks; i++)
        if (t->chunks[i].to.kind == BOUND_KEY && t->chunks[i].to.n != k->n)
            return false;
    return t->base.kind != BOUND_KEY || t->base.n == k->n;
}

/* A table that has been read in chunks of which some are still of importance goes on that way. */
static enum outcome check_begun(const struct rows *r, const struct covered_table *t,
                                const struct key *k)
{
    if (!covered_by_key(t))
        return OUTCOME_OK;
    if (r->o->snapshot != SNAPSHOT_INCREMENTAL) {
        log_error("table %s has been read in part by an incremental snapshot", t->name);
        log_hint("Go on with the options of that run, --snapshot=incremental and a startup mode that "
                 "reads rows among them.");
        return OUTCOME_MISUSED;
    }
    if (same_key(t, k))
        return OUTCOME_OK;
    log_error("the key of table %s is not the one by which a part of it has been read", t->name);
    log_hint("Give the same --chunk-key as before, or begin anew with another state file and slot.");
    return OUTCOME_MISUSED;
}

static enum outcome take_note(struct rows *r, struct plan_table *p, bool again)
{
    struct covered_table *t = coverage_find(r->coverage, p->oid);

    if (!t) {
        t = coverage_add(r->coverage, p->oid, p->name);
        if (again)
            log_notice("table %s is new: reading its rows", p->name);
    }
    t->order = &p->key;
    return check_begun(r, t, &p->key);
}

static void make_room(struct rows *r)
{
    size_t most = 1;

    for (size_t i = 0; i < r->plan.count; i++)
        if (r->plan.tables[i].relation->ncolumns > most)
            most = r->plan.tables[i].relation->ncolumns;
    free(r->values);
    free(r->scratch);
    r->values = xcalloc(most, sizeof *r->values);
    r->scratch = xcalloc(most, sizeof *r->scratch);
}

static enum outcome make_plan(struct rows *r)
{
    struct captured_context x = {.o = r->o, .selection = r->selection, .catalog = r->catalog};
    struct publication_look look = {0};
    enum outcome outcome = catalog_connection(r->catalog, &x.sql);

    plan_release(&r->plan);
    if (outcome == OUTCOME_OK)
        outcome = plan_make(&r->plan, &x);
    if (outcome == OUTCOME_OK)
        outcome = publication_look(x.sql, r->o, &look);
    r->all_tables = look.all_tables;
    if (outcome == OUTCOME_OK)
        make_room(r);
    return outcome;
}

void rows_refer_again(struct rows *r)
{
    for (size_t i = 0; i < r->plan.count; i++) {
        struct covered_table *t = coverage_find(r->coverage, r->plan.tables[i].oid);

        if (t)
            t->order = &r->plan.tables[i].key;
    }
}

enum outcome rows_note_table(struct rows *r, struct plan_table *t)
{
    make_room(r);
    r->reordered |= !t->key.plain;
    return take_note(r, t, false);
}

enum outcome rows_plan(struct rows *r, bool again)
{
    enum outcome outcome = make_plan(r);

    if (outcome != OUTCOME_OK)
        return outcome;
    drop_vanished(r, again);
    r->tables = 0;
    for (size_t i = 0; i < r->plan.count && outcome == OUTCOME_OK; i++) {
        struct plan_table *t = &r->plan.tables[i];

        outcome = take_note(r, t, again);
        if (outcome != OUTCOME_OK || covered_whole(coverage_find(r->coverage, t->oid)))
            continue;
        t->read = true;
        r->tables++;
    }
    r->planned = outcome == OUTCOME_OK;
    progress_init(&r->progress, meter_wants_line(r->o, &r->delivery->output), r->o->stats,
                  clock_ticks());
    r->output_start = output_end(&r->delivery->output);
    return outcome;
}

bool rows_are_wanted(const struct rows *r)
{
    return r->planned && !coverage_whole(r->coverage);
}

/* ---- giving them ---- */

enum outcome rows_give(struct rows *r, struct plan_table *t, char *line, size_t len,
                       enum row_mark mark, usec_t ticks)
{
    if (!plan_parse_row(t, line, len, r->values, r->scratch)) {
        log_error("could not read the rows of table %s: a line does not have %u fields", t->name,
                  t->nfields);
        return OUTCOME_FAILED;
    }
    r->given++;
    t->given++;
    t->given_bytes += len;
    return pipeline_row(r->pipeline, t->relation, r->values, mark, ticks);
}

bool rows_output_has_room(struct rows *r, enum outcome *outcome)
{
    struct delivery *d = r->delivery;

    *outcome = OUTCOME_OK;
    if (!delivery_is_full(d))
        return true;
    *outcome = delivery_flush(d);
    return *outcome == OUTCOME_OK && !delivery_is_full(d);
}

const char *rows_snapshot_function(const PGconn *conn)
{
    return PQserverVersion(conn) >= 130000 ? "pg_current_snapshot()" : "txid_current_snapshot()";
}

bool rows_read_snapshot(struct rows_snapshot *s, const PGresult *result)
{
    const char *seen = result_text(result, 0, "seen"), *now = result_text(result, 0, "now");

    *s = (struct rows_snapshot){.until = result_lsn(result, 0, "until"),
                                .fingerprint = result_string(result, 0, "fingerprint")};
    if (!seen || !now || !s->until || !visibility_parse(&s->seen, seen)) {
        log_error("could not read the server's snapshot: unexpected answer");
        return false;
    }
    s->now = strtoll(now, NULL, 10);
    return true;
}

/*
 * The server sends 8 kB at a time, and each wake-up of ours costs it, too: the two would take
 * turns.  So while rows come, they are left alone for a moment, to gather in the socket.
 */
static void let_gather(const struct rows *r)
{
    enum { PAUSE_USEC = 200, ENOUGH_BYTES = 64 * 1024 };

    if (!r->unread && r->taken > 0 && r->taken < ENOUGH_BYTES)
        clock_pause(PAUSE_USEC);
}

enum outcome rows_take(struct rows *r, usec_t ticks, size_t *bytes)
{
    enum outcome outcome;

    let_gather(r);
    outcome = r->bulk ? bulk_take(r, ticks, bytes) : chunk_take(r, ticks, bytes);
    r->taken = rows_hold_stream(r) ? *bytes : 0;
    return outcome;
}

size_t rows_sockets(const struct rows *r, struct pollfd *fds, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < r->njobs && n < max; i++)
        if (r->jobs[i].fetcher.conn && r->jobs[i].fetcher.busy)
            fds[n++] = (struct pollfd){.fd = PQsocket(r->jobs[i].fetcher.conn), .events = POLLIN};
    return n;
}

/* ---- progress ---- */

static const char *present_table(const struct rows *r)
{
    if (r->chunk.table)
        return r->chunk.table->name;
    for (size_t i = 0; i < r->njobs; i++)
        if (r->jobs[i].table)
            return r->jobs[i].table->name;
    return NULL;
}

static bool is_being_read(const struct rows *r, const struct plan_table *t)
{
    for (size_t i = 0; i < r->njobs; i++)
        if (r->jobs[i].table == t)
            return true;
    return false;
}

/*
 * How much of a table has been given: by rows where the statistics know how many there are, else by
 * bytes, as rows on disk are about as long as their text, and their headers.
 */
static double table_share(const struct rows *r, const struct plan_table *t)
{
    enum { HEADER = 28 };
    double done = t->rows > 0 ? (double)t->given / t->rows
                              : (double)(t->given_bytes + HEADER * t->given) / (double)t->bytes;
    bool given_out = r->bulk && t < r->plan.tables + r->next_table;

    if (covered_whole(coverage_find(r->coverage, t->oid)) || (given_out && !is_being_read(r, t)))
        return 1;
    return done > 0.99 ? 0.99 : done;
}

/* Of everything that this run reads; large tables count for more. */
static double share(const struct rows *r)
{
    double done = 0, all = 0;

    for (size_t i = 0; i < r->plan.count; i++) {
        const struct plan_table *t = &r->plan.tables[i];

        if (!t->read || t->bytes == 0)
            continue;
        all += (double)t->bytes;
        done += (double)t->bytes * table_share(r, t);
    }
    return all > 0 ? done / all : -1;
}

struct progress_figures rows_figures(const struct rows *r)
{
    return (struct progress_figures){
        .table = present_table(r),
        .rows = r->given,
        .bytes = output_end(&r->delivery->output) - r->output_start,
        .share = share(r),
    };
}

void rows_show_progress(struct rows *r, usec_t ticks)
{
    struct progress_figures f;

    if (progress_due(&r->progress) > ticks)
        return;
    f = rows_figures(r);
    progress_show(&r->progress, &f, ticks);
}

void rows_end_progress(struct rows *r, usec_t ticks)
{
    struct progress_figures f = rows_figures(r);

    progress_end(&r->progress, &f, (unsigned)r->tables, ticks);
}

usec_t rows_progress_due(const struct rows *r)
{
    return rows_hold_stream(r) || rows_are_wanted(r) ? progress_due(&r->progress) : INT64_MAX;
}
