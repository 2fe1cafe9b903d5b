#include "capture/bounds.h"

#include "base/clock.h"
#include "base/log.h"
#include "source/system.h"

/* A transaction whose commit record begins right at the end of the WAL has not committed by now. */
void bounds_end_at(struct bounds *b, lsn_t lsn)
{
    if (b->stop_at && b->stop_at <= lsn)
        return;
    b->last_commit = lsn - 1;
    b->stop_at = lsn;
    b->was_now = true;
}

static enum outcome until_now(struct bounds *b, PGconn *sql)
{
    lsn_t end;
    enum outcome outcome = system_wal_end(sql, &end);

    if (outcome == OUTCOME_OK) {
        bounds_end_at(b, end);
        log_verbose("going on until " LSN_FMT, LSN_ARGS(end));
    }
    return outcome;
}

/*
 * A given LSN may be that of a commit record, which is then included.  Behind the end of the WAL
 * as it is now, or right at it, nothing more can be told: reaching the LSN is the end.
 */
static enum outcome until_lsn(struct bounds *b, PGconn *sql, lsn_t lsn)
{
    lsn_t end;
    enum outcome outcome = system_wal_end(sql, &end);

    b->last_commit = lsn;
    b->stop_at = lsn < end ? lsn + 1 : lsn;
    return outcome;
}

static enum outcome until_timestamp(struct bounds *b, PGconn *sql, const char *text)
{
    usec_t now;
    enum outcome outcome = system_read_time(sql, text, &b->until_time, &now);

    if (outcome == OUTCOME_OK && b->until_time <= now)
        outcome = until_now(b, sql);
    return outcome;
}

enum outcome bounds_init(struct bounds *b, const struct options *o, PGconn *sql)
{
    *b = (struct bounds){
        .count = o->count,
        .idle = o->idle_exit,
        .deadline = o->max_time ? clock_ticks() + o->max_time : 0,
    };
    if (o->until.now)
        return until_now(b, sql);
    if (o->until.lsn)
        return until_lsn(b, sql, o->until.lsn);
    return o->until.timestamp ? until_timestamp(b, sql, o->until.timestamp) : OUTCOME_OK;
}

/*
 * The end of the WAL, as it was, lies between two records: then the end of a record says enough.  An
 * LSN of the user's may lie anywhere, and be where a record begins of which only the end is known:
 * then, as where nothing is known, the first change has to do, as its commit lies behind that.
 */
bool bounds_exclude(const struct bounds *b, const struct transaction *t, lsn_t from)
{
    bool by_end = t->end_lsn && (b->was_now || t->prepared || !from);
    lsn_t lsn = t->commit_lsn ? t->commit_lsn : by_end ? t->end_lsn - 1 : from + 1;

    return (b->last_commit && lsn > b->last_commit) ||
           (b->until_time && t->commit_time > b->until_time);
}

bool bounds_are_passed(const struct bounds *b, const struct transaction *t, lsn_t from)
{
    lsn_t lsn = t->commit_lsn ? t->commit_lsn : from + 1;

    if (!t->commit_lsn && t->end_lsn && b->was_now) /* no record lies across that */
        lsn = t->end_lsn - 1;
    return b->last_commit && lsn > b->last_commit;
}

bool bounds_reached(const struct bounds *b, lsn_t lsn)
{
    return b->stop_at && lsn >= b->stop_at;
}

enum outcome bounds_server_time(struct bounds *b, usec_t server_now, struct catalog *catalog)
{
    PGconn *sql;
    enum outcome outcome;

    if (!b->until_time || b->stop_at || server_now <= b->until_time)
        return OUTCOME_OK;
    outcome = catalog_connection(catalog, &sql);
    return outcome == OUTCOME_OK ? until_now(b, sql) : outcome;
}

bool bounds_spent(const struct bounds *b, uint64_t records, usec_t ticks, usec_t last_change)
{
    return (b->count && records >= b->count) || (b->idle && ticks - last_change >= b->idle) ||
           (b->deadline && ticks >= b->deadline);
}
