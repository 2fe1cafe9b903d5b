#include "capture/transport.h"

#include "base/buf.h"
#include "base/log.h"
#include "capture/checks.h"
#include "source/backlog.h"
#include "source/plugin.h"
#include "source/slot.h"
#include "source/walsender.h"

/* What the slot functions are not for; NULL: nothing. */
static const char *speaks_against(const struct session *s, const struct slot *slot)
{
    bool chunks = s->o->snapshot == SNAPSHOT_INCREMENTAL && rows_are_wanted(&s->rows);

    return s->o->temporary_slot ? "a temporary slot is the replication connection's alone"
           : chunks ? "rows are read in chunks, beside a stream that follows closely"
                    : checks_against_sql(slot);
}

/* The run ends by itself at a point that the WAL has reached, or soon will. */
static bool has_end(const struct session *s)
{
    const struct bounds *b = &s->bounds;

    return (b->stop_at && (b->was_now || b->stop_at <= s->system.flushed)) ||
           (s->o->mode == MODE_SNAPSHOT && !session_only_looks(s));
}

static bool is_worth_it(const struct session *s)
{
    lsn_t emitted = s->delivery.emitted.lsn;

    if (s->over || s->unfit || session_only_looks(s))
        return false;
    return has_end(s) || (s->system.flushed > emitted &&
                          s->system.flushed - emitted >= s->o->catch_up_bytes);
}

static enum outcome read_backlog(struct session *s, const struct slot *slot)
{
    bool must = s->o->transport == TRANSPORT_SQL;

    return backlog_start(&s->stream, &(struct backlog_setup){.o = s->o,
                                                             .connector = s->connector,
                                                             .start = s->delivery.emitted.lsn,
                                                             .confirmed = slot->confirmed,
                                                             .end = s->bounds.stop_at,
                                                             .stays = must || has_end(s),
                                                             .yields = !must});
}

/* False in *begun: the other way is the one. */
static enum outcome try_backlog(struct session *s, const struct slot *slot, bool *begun)
{
    struct buf why;
    enum outcome outcome;

    buf_init(&why, 256);
    log_keep_errors(&why);
    outcome = read_backlog(s, slot);
    log_keep_errors(NULL);
    *begun = outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED;
    if (!*begun) {
        log_verbose("not reading through SQL: %.*s", (int)why.len, why.data);
        stream_close(&s->stream);
        s->unfit = true;
        outcome = OUTCOME_OK;
    }
    buf_release(&why);
    return outcome;
}

/* The slot functions, if they are asked for or worth it. */
static enum outcome start_backlog(struct session *s, PGconn *sql, bool *begun)
{
    bool must = s->o->transport == TRANSPORT_SQL && !s->unfit;
    struct slot slot;
    const char *against;
    enum outcome outcome;

    *begun = must;
    if (s->o->transport == TRANSPORT_STREAM || (!must && !is_worth_it(s)))
        return OUTCOME_OK;
    outcome = slot_find(sql, s->o->slot, &slot);
    against = must ? NULL : speaks_against(s, &slot);
    if (against)
        log_verbose("not reading through SQL: %s", against);
    if (outcome != OUTCOME_OK || against)
        return outcome;
    return must ? read_backlog(s, &slot) : try_backlog(s, &slot, begun);
}

enum outcome transport_start(struct session *s, PGconn *sql, PGconn *walsender)
{
    bool begun;
    enum outcome outcome = start_backlog(s, sql, &begun);

    if (!begun && outcome == OUTCOME_OK)
        return walsender_start(&s->stream, walsender, s->o, &s->copy, s->delivery.emitted.lsn);
    PQfinish(walsender);
    return outcome;
}
