#include "capture/capture.h"

#include "base/clock.h"
#include "base/log.h"
#include "capture/loop.h"
#include "capture/session.h"

enum { MAX_DELAY_SEC = 30, STOP_GRACE_USEC = 1000000, UNREADABLE_TRIES = 3 };

struct retries {
    uint64_t done;
    usec_t delay;
    unsigned unreadable; /* times in a row that the server could not read its WAL */
};

static void reset(struct retries *r, const struct options *o)
{
    *r = (struct retries){.delay = o->retry_delay};
}

/*
 * A failure that may pass: waits and says true in *again.  The very first connect is tried again
 * only when --retries was given: a wrong host name is better seen at once.
 */
static enum outcome wait_for_retry(struct session *s, struct retries *r, bool *again)
{
    const usec_t ceiling = MAX_DELAY_SEC * USEC_PER_SEC;
    const usec_t most = s->o->retry_delay > ceiling ? s->o->retry_delay : ceiling;
    usec_t delay = r->delay;

    *again = !s->rows.failed && (s->prepared || s->o->retries_given) && r->done < s->o->retries &&
             !(s->prepared && s->o->temporary_slot) &&
             !(s->bounds.deadline && clock_ticks() + delay >= s->bounds.deadline);
    if (!*again && r->done > 0 && r->done == s->o->retries)
        log_hint("Gave up after %llu retries.", (unsigned long long)r->done);
    if (!*again)
        return OUTCOME_UNAVAILABLE;
    r->done++;
    r->delay *= 2;
    if (r->delay > most)
        r->delay = most;
    log_notice("trying again in %.3g seconds", (double)delay / (double)USEC_PER_SEC);
    return loop_idle(s, clock_ticks() + delay, false);
}

/* One connection, from connect to its end. */
static enum outcome run_once(struct session *s, struct retries *r)
{
    enum outcome outcome = session_connect(s);
    lsn_t before = s->delivery.emitted.lsn;

    s->over = false;
    if (outcome == OUTCOME_OK && !s->pipeline.finished) {
        outcome = loop_run(s);
        if (s->delivery.emitted.lsn != before)
            reset(r, s->o);
    }
    if (s->prepared && !rows_are_wanted(&s->rows))
        s->renewed = false;
    if (outcome == OUTCOME_FAILED && s->stream.unreadable && r->done < s->o->retries &&
        r->unreadable++ < UNREADABLE_TRIES)
        outcome = OUTCOME_UNAVAILABLE;
    if (outcome == OUTCOME_UNAVAILABLE)
        session_disconnect(s);
    return outcome;
}

static enum outcome run_connections(struct session *s)
{
    struct retries retries;
    enum outcome outcome;
    bool again = true;

    reset(&retries, s->o);
    for (;;) {
        outcome = run_once(s, &retries);
        if (outcome == OUTCOME_POSITION_LOST && s->o->mode == MODE_WHEN_NEEDED && !s->renewed) {
            outcome = session_renew(s);
            if (outcome == OUTCOME_OK)
                continue;
        }
        if (outcome != OUTCOME_UNAVAILABLE)
            return outcome;
        if (s->over)
            continue;
        if (s->stalled && !s->o->temporary_slot) {
            s->stalled = false;
            outcome = loop_idle(s, 0, true);
        } else {
            outcome = wait_for_retry(s, &retries, &again);
        }
        if (outcome != OUTCOME_OK || !again)
            return outcome;
    }
}

static bool is_orderly(enum outcome outcome)
{
    return outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED;
}

/* What has been accepted goes on record, whatever ended the run. */
static enum outcome record_end(struct session *s, enum outcome outcome)
{
    enum outcome end;

    if (outcome == OUTCOME_OUTPUT_FAILED) {
        if (stream_is_open(&s->stream)) /* of what was on record before; nothing else may be acknowledged */
            stream_feedback(&s->stream, s->delivery.recorded.lsn, false);
        stream_finish(&s->stream);
        return outcome;
    }
    if (outcome == OUTCOME_POSITION_LOST)
        stream_close(&s->stream); /* old minors let feedback move a slot back that others moved on */
    if (outcome == OUTCOME_OUTPUT_CLOSED)
        end = delivery_accept_last(&s->delivery);
    else
        end = loop_finish(s, outcome == OUTCOME_OK || outcome == OUTCOME_COLUMNS_CHANGED
                                 ? 0
                                 : STOP_GRACE_USEC);
    if (outcome == OUTCOME_OUTPUT_CLOSED && stream_is_open(&s->stream)) {
        stream_feedback(&s->stream, s->delivery.recorded.lsn, false);
        stream_finish(&s->stream);
    }
    if (!is_orderly(outcome) && outcome != OUTCOME_COLUMNS_CHANGED)
        return outcome;
    if (end == OUTCOME_OK)
        end = delivery_leave_pending(&s->delivery);
    return end == OUTCOME_OK ? outcome : end;
}

/* An output without records is to be a whole one all the same. */
static enum outcome begin_output(struct session *s, enum outcome how)
{
    enum outcome outcome = OUTCOME_OK;

    if (!s->prepared || !(is_orderly(how) || how == OUTCOME_COLUMNS_CHANGED))
        return how;
    outcome = delivery_cut_unfinished(&s->delivery);
    if (outcome == OUTCOME_OK)
        outcome = placing_finish(&s->pipeline.placing);
    return outcome == OUTCOME_OK ? how : outcome;
}

static enum outcome finish(struct session *s, enum outcome how)
{
    enum outcome outcome = begin_output(s, how);
    bool orderly;

    if (s->prepared) {
        s->delivery.state.complete |= outcome == OUTCOME_OK && session_is_complete(s);
        outcome = record_end(s, outcome);
    }
    orderly = s->prepared && is_orderly(outcome);
    if (session_leave_slot(s, orderly) != OUTCOME_OK && orderly)
        outcome = OUTCOME_FAILED;
    return outcome;
}

enum outcome capture_run_over(const struct options *o, struct connector *connector)
{
    struct session s;
    enum outcome outcome = session_open(&s, o, connector);

    if (outcome == OUTCOME_OK) { /* without the state's lock the figures are another run's to tell */
        meter_begin(&s.meter, &s);
        outcome = run_connections(&s);
        outcome = finish(&s, outcome);
        meter_end(&s.meter, &s, outcome);
    }
    session_close(&s);
    return outcome;
}

enum outcome capture_run(const struct options *o)
{
    return capture_run_over(o, NULL);
}
