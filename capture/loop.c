#include "capture/loop.h"

#include <poll.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "capture/gather.h"

enum {
    ROUNDS = 32,                /* reads from the socket before timers are looked at */
    FULL_READ = 8 * 1024,       /* a read that brought less has emptied the socket */
    WRITE_SIZE = 32 * 1024,     /* worth a write of its own while more is coming */
    WRITE_DELAY_USEC = 500,     /* a record waits no longer than that for company */
    SETTLE_USEC = 1000000,      /* accepted output is put on record that often */
    ASK_USEC = 100000,          /* with --until, ask the quiet server where it stands */
    PUSH_USEC = 100000,         /* rows wait for a stream that stands still: see push_wal() */
    PUSH_SELDOM_USEC = 1000000, /* likewise, where the server may just be at work */
    ASK_SOON_USEC = 2000,       /* beside the chunks of a snapshot, ask the server that often */
    SILENCE_SEC = 60,           /* likewise: a server that says nothing for so long has gone */
    MOST_SILENCE_SEC = 3600 * 24,
    STALL_FALLBACK_SEC = 30,    /* where wal_sender_timeout is off */
};

/* Of one connection. */
struct loop {
    struct session *s;
    usec_t now;          /* ticks, read once per turn */
    usec_t status_every; /* feedback at least that often */
    usec_t stall_after;
    usec_t last_status;
    usec_t last_settle;
    usec_t last_ask;
    usec_t heard;        /* when the server has last said something, */
    usec_t asked;        /* and when it was asked to, as it had not for a while */
    usec_t last_heartbeat;
    usec_t blocked_since; /* the output takes nothing more; 0 = it does */
    uint64_t blocked_at;  /* its offset since then */
    usec_t last_look;     /* at what the reader has taken */
    usec_t last_taken;    /* when a look last found more taken, or nothing left to take */
    uint64_t taken;       /* bytes, at the last look */
    uint64_t accepted_mark; /* grows with what replies and commands accept; */
    usec_t last_accepted;   /* when it last did */
    usec_t unwritten_since; /* 0 = everything has been given to the output */
    lsn_t waits_at;       /* where the stream stands, while rows wait for it, ... */
    usec_t waits_since;   /* ... since then */
    lsn_t told;           /* position of the last feedback */
    struct gather gather;
    size_t turn_bytes;
    bool reply;     /* the server wants feedback now */
    bool unread;    /* messages are left in libpq's buffer */
};

static void init(struct loop *l, struct session *s)
{
    usec_t timeout = s->system.wal_sender_timeout;

    *l = (struct loop){.s = s, .now = clock_ticks()};
    l->status_every = s->o->status_interval;
    if (timeout && l->status_every > timeout / 3)
        l->status_every = timeout / 3;
    l->stall_after = s->o->stall_timeout ? s->o->stall_timeout
                     : timeout           ? timeout / 2
                                         : STALL_FALLBACK_SEC * USEC_PER_SEC;
    l->last_status = l->last_settle = l->last_ask = l->last_heartbeat = l->heard = l->now;
    l->last_look = l->last_taken = l->last_accepted = l->now;
    l->gather = (struct gather){.loopback = s->stream.loopback, .last_data = l->now};
}

/* ---- input ---- */

static bool output_is_full(const struct loop *l)
{
    return delivery_is_full(&l->s->delivery);
}

/* What the sieve holds goes on, now that it knows the answers. */
static enum outcome pass_sieve(struct loop *l)
{
    struct session *s = l->s;
    struct stream_message m;
    PGconn *sql;
    enum outcome outcome;

    if (!s->sieve || sieve_is_empty(s->sieve))
        return OUTCOME_OK;
    outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = sieve_resolve(s->sieve, sql);
    while (outcome == OUTCOME_OK && !s->pipeline.finished &&
           (s->pipeline.more || sieve_take(s->sieve, &m)))
        outcome = s->pipeline.more ? pipeline_go_on(&s->pipeline, l->now)
                                   : pipeline_take(&s->pipeline, &m, l->now);
    return outcome;
}

/* Straight to the pipeline, but where the server has to compare keys. */
static enum outcome take_message(struct loop *l, const struct stream_message *m)
{
    struct session *s = l->s;
    enum outcome outcome;

    if (!s->sieve)
        return pipeline_take(&s->pipeline, m, l->now);
    outcome = sieve_add(s->sieve, m);
    return outcome == OUTCOME_OK && sieve_is_full(s->sieve) ? pass_sieve(l) : outcome;
}

static void heed_sign_of_life(struct loop *l, const struct stream_message *m)
{
    l->heard = l->now;
    if (m->kind == STREAM_DATA || m->wal_end > l->s->delivery.emitted.lsn)
        l->s->patience = 0; /* it gets on */
}

/* The next connect is by the other way. */
static enum outcome hand_over(struct session *s)
{
    s->over = true;
    s->unfit |= s->stream.unfit;
    return OUTCOME_UNAVAILABLE;
}

/* Deals with what libpq has; stops when the output is full or the bounds are reached. */
static enum outcome take_messages(struct loop *l, size_t *bytes)
{
    struct session *s = l->s;
    struct stream_message m;
    enum outcome outcome = OUTCOME_OK;

    for (;;) {
        enum stream_step step;

        if (output_is_full(l)) {
            outcome = delivery_flush(&s->delivery);
            if (outcome == OUTCOME_OK)
                outcome = delivery_tend(&s->delivery);
            if (outcome != OUTCOME_OK || output_is_full(l)) {
                l->unread = true;
                return outcome;
            }
        }
        if (s->pipeline.more) {
            outcome = pipeline_go_on(&s->pipeline, l->now);
            if (outcome != OUTCOME_OK || s->pipeline.finished)
                return outcome;
            continue;
        }
        step = stream_next(&s->stream, &m, &outcome);
        if (step == STREAM_NONE) {
            l->unread = false;
            return pass_sieve(l);
        }
        if (step == STREAM_OVER)
            return hand_over(s);
        if (step != STREAM_MESSAGE)
            return outcome;
        heed_sign_of_life(l, &m);
        if (m.kind == STREAM_KEEPALIVE)
            l->reply |= m.wants_reply;
        *bytes += m.len;
        gather_count(&l->gather);
        outcome = take_message(l, &m);
        if (outcome != OUTCOME_OK || s->pipeline.finished)
            return outcome;
    }
}

static enum outcome connection_lost(void)
{
    log_warning("lost the connection to the server");
    return OUTCOME_UNAVAILABLE;
}

/* Rows of tables instead of the stream, while it has to wait for them. */
static enum outcome take_rows(struct loop *l)
{
    struct session *s = l->s;
    size_t bytes = 0;
    enum outcome outcome = rows_take(&s->rows, l->now, &bytes);

    l->unread = s->rows.unread;
    if (outcome == OUTCOME_OK && s->rows.reordered && !s->sieve) {
        log_notice("the order of a table's key has changed: connecting anew");
        s->rows.reordered = false;
        return OUTCOME_UNAVAILABLE;
    }
    if (outcome == OUTCOME_OK && session_is_rows_only(s) && !rows_hold_stream(&s->rows))
        s->pipeline.finished = true;
    return outcome;
}

/* Between two transactions; the sieve has passed on all it had. */
static enum outcome begin_chunk(struct loop *l)
{
    struct session *s = l->s;

    if (!pipeline_at_boundary(&s->pipeline) || output_is_full(l))
        return OUTCOME_OK;
    if (s->sieve && !coverage_is_needed(s->pipeline.coverage, s->delivery.emitted.lsn)) {
        pipeline_set_coverage(&s->pipeline, s->pipeline.coverage, &s->rows.plan.relations, NULL);
        sieve_free(s->sieve);
        s->sieve = NULL;
    }
    return rows_next_chunk(&s->rows, l->now, !l->unread && l->turn_bytes == 0);
}

static enum outcome take_stream(struct loop *l)
{
    struct session *s = l->s;

    for (int round = 0; round < ROUNDS; round++) {
        size_t bytes = 0;
        bool alive = l->unread || stream_read(&s->stream); /* first what libpq has already */
        enum outcome outcome = take_messages(l, &bytes);

        l->turn_bytes += bytes;
        if (outcome != OUTCOME_OK || s->pipeline.finished)
            return outcome;
        if (!alive)
            return connection_lost();
        if (l->unread || bytes < FULL_READ)
            break;
    }
    return begin_chunk(l);
}

static enum outcome take_input(struct loop *l)
{
    struct session *s = l->s;

    l->turn_bytes = 0;
    encoder_set_clock(s->pipeline.encoder, clock_now());
    return rows_hold_stream(&s->rows) ? take_rows(l) : take_stream(l);
}

/* ---- output ---- */

/* Since when the output has stood still with something waiting for it. */
static void note_blocked(struct loop *l)
{
    const struct delivery *d = &l->s->delivery;

    if (!delivery_is_waiting(d)) {
        l->unwritten_since = l->blocked_since = 0;
    } else if (l->blocked_since == 0 || delivery_progress(d) != l->blocked_at) {
        l->blocked_since = l->now;
        l->blocked_at = delivery_progress(d);
    }
}

/* One write per wake-up; in a busy stream even less often. */
static enum outcome give_output(struct loop *l)
{
    struct delivery *d = &l->s->delivery;
    size_t pending;
    enum outcome outcome = OUTCOME_OK;

    if (!l->gather.busy && !delivery_can_cut(d)) /* a reader waits for it, a file does not */
        outcome = delivery_close_block(d);
    pending = output_pending(&d->output);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (pending > 0 && l->unwritten_since == 0)
        l->unwritten_since = l->now;
    if (l->gather.busy && pending > 0 && pending < WRITE_SIZE &&
        l->now + l->gather.pause - l->unwritten_since < WRITE_DELAY_USEC)
        return OUTCOME_OK;
    if (pending > 0)
        outcome = delivery_flush(d);
    note_blocked(l);
    return outcome;
}

/* ---- timers ---- */

static enum outcome settle(struct loop *l)
{
    enum outcome outcome = session_follow_timeline(l->s);

    l->last_settle = l->now;
    return outcome == OUTCOME_OK ? delivery_settle(&l->s->delivery) : outcome;
}

/*
 * A server that asks for it may be about to shut down, and would wait for us to have flushed all:
 * where that is up to others it is told that all has been received instead.
 */
static enum outcome tell_server(struct loop *l, bool ask)
{
    lsn_t recorded = l->s->delivery.recorded.lsn;
    bool behind = l->reply && recorded < l->s->stream.received;

    l->last_status = l->now;
    l->reply = false;
    if (session_is_rows_only(l->s))
        return OUTCOME_OK;
    if (!behind)
        l->told = recorded;
    return stream_feedback(&l->s->stream, behind ? 0 : recorded, ask) ? OUTCOME_OK
                                                                      : connection_lost();
}

/* Output is put on record soon, a position that moved without any at the status interval. */
static usec_t next_settle(const struct loop *l)
{
    bool soon = delivery_owes_output(&l->s->delivery) && SETTLE_USEC < l->status_every;

    return l->last_settle + (soon ? SETTLE_USEC : l->status_every);
}

/* Position: accepted, recorded, told; at least every status interval, at once when asked. */
static enum outcome keep_position(struct loop *l)
{
    struct delivery *d = &l->s->delivery;
    bool due = l->now - l->last_status >= l->status_every;
    enum outcome outcome = OUTCOME_OK;

    if (l->reply || due || l->now >= next_settle(l))
        outcome = settle(l);
    if (outcome == OUTCOME_OK && (l->reply || due || d->recorded.lsn > l->told))
        outcome = tell_server(l, false);
    return outcome;
}

/* A snapshot that is read in chunks goes on only when the stream has got behind some of them. */
static usec_t next_ask(const struct loop *l)
{
    if (rows_are_wanted(&l->s->rows))
        return l->last_ask + ASK_SOON_USEC;
    return (l->last_ask > l->gather.last_data ? l->last_ask : l->gather.last_data) + ASK_USEC;
}

/* With --until, or beside rows, the run waits for the stream to get somewhere. */
static bool waits_for_position(const struct loop *l)
{
    const struct session *s = l->s;

    return !rows_hold_stream(&s->rows) && !session_is_rows_only(s) &&
           (bounds_waiting(&s->bounds) || pipeline_is_unsettled(&s->pipeline));
}

/* A quiet server is asked. */
static enum outcome ask_position(struct loop *l)
{
    if (!waits_for_position(l) || l->now < next_ask(l))
        return OUTCOME_OK;
    l->last_ask = l->now;
    return tell_server(l, true);
}

/* Whether the stream has to get somewhere that the server has been already. */
static bool waits_for_past(const struct loop *l)
{
    const struct session *s = l->s;
    const struct coverage *c = s->pipeline.coverage;
    lsn_t reached = s->delivery.emitted.lsn;

    if (session_is_rows_only(s) || rows_hold_stream(&s->rows))
        return false;
    return (s->bounds.was_now && reached < s->bounds.stop_at) ||
           (c && coverage_waiting(c, reached) > 0) ||
           (c && rows_are_wanted(&s->rows) && coverage_is_behind(c, reached));
}

/*
 * Some WAL is flushed by nobody's commit: reading rows prunes pages, for one.  On a quiet server the
 * stream would stand still before it for a long time, and so would the slot functions within a record
 * of which only the beginning is flushed.
 */
static enum outcome push_wal(struct loop *l)
{
    struct session *s = l->s;
    bool working = s->stream.working && !l->unread;
    lsn_t reached = s->delivery.emitted.lsn;
    PGconn *sql;
    enum outcome outcome;

    if (!(working || waits_for_past(l)) || reached != l->waits_at) {
        l->waits_at = reached;
        l->waits_since = l->now;
        return OUTCOME_OK;
    }
    if (l->now - l->waits_since < (working ? PUSH_SELDOM_USEC : PUSH_USEC))
        return OUTCOME_OK;
    l->waits_since = l->now;
    outcome = catalog_connection(s->catalog, &sql);
    return outcome == OUTCOME_OK ? system_push_wal(sql) : outcome;
}

/*
 * A connection can be half open: the server, or something on the way, takes what we send and says
 * nothing more.  So a silent server is asked, and let go when it does not answer.  What was not looked
 * at, as the output was full or rows came first, is no silence.
 *
 * Some are silent for long while they decode what is not for us, and begin with that anew when the
 * connection is: so patience grows until there is some progress.
 */
static enum outcome check_silence(struct loop *l)
{
    struct session *s = l->s;
    usec_t limit = s->system.wal_sender_timeout ? s->system.wal_sender_timeout
                                                : SILENCE_SEC * USEC_PER_SEC;

    if (s->patience > limit)
        limit = s->patience;
    if (session_is_rows_only(s) || rows_hold_stream(&s->rows) || l->unread)
        l->heard = l->now;
    if (l->now - l->heard < limit / 2)
        return OUTCOME_OK;
    if (l->asked <= l->heard) {
        l->asked = l->now;
        return tell_server(l, true);
    }
    if (l->now - l->asked < limit / 2)
        return OUTCOME_OK;
    log_warning("the server has said nothing for %.3g seconds: giving up the connection",
                (double)(l->now - l->heard) / (double)USEC_PER_SEC);
    s->patience = limit * 2 < MOST_SILENCE_SEC * USEC_PER_SEC ? limit * 2 : limit;
    return OUTCOME_UNAVAILABLE;
}

/* In mode snapshot what has been committed when all rows are there is the end. */
static enum outcome end_snapshot(struct loop *l)
{
    struct session *s = l->s;
    PGconn *sql;
    enum outcome outcome;

    if (s->o->mode != MODE_SNAPSHOT || s->snapshot_end || rows_hold_stream(&s->rows) ||
        rows_are_wanted(&s->rows))
        return OUTCOME_OK;
    outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = system_wal_end(sql, &s->snapshot_end);
    if (outcome == OUTCOME_OK)
        bounds_end_at(&s->bounds, s->snapshot_end);
    return outcome;
}

/* What is told of the run at any moment, whatever it waits for. */
static void report(struct session *s, usec_t now, usec_t blocked_since)
{
    s->meter.blocked_since = blocked_since;
    if (signals_take_report())
        meter_report(&s->meter, s);
    meter_tend(&s->meter, s, now);
}

static enum outcome show_progress(struct loop *l)
{
    if (!l->unread)
        l->s->meter.heard = l->heard;
    report(l->s, l->now, l->blocked_since);
    return OUTCOME_OK;
}

static enum outcome beat(struct loop *l)
{
    struct session *s = l->s;

    if (!s->o->heartbeat || l->now - l->last_heartbeat < s->o->heartbeat ||
        !pipeline_at_boundary(&s->pipeline) || output_is_full(l))
        return OUTCOME_OK;
    l->last_heartbeat = l->now;
    return pipeline_heartbeat(&s->pipeline);
}

/*
 * What lies unread in the pipe is not accepted, and a server that shuts down waits for it: that the
 * pipe has room for more does not help.  Asking costs a system call, so it is done now and then.
 */
static bool stands_unread(struct loop *l)
{
    const struct output *out = &l->s->delivery.output;
    uint64_t taken;

    if (l->now - l->last_look < l->stall_after / 8)
        return false;
    l->last_look = l->now;
    taken = output_taken(out);
    if (taken != l->taken || taken == output_end(out))
        l->last_taken = l->now;
    l->taken = taken;
    return l->now - l->last_taken >= l->stall_after;
}

static enum outcome check_stall(struct loop *l)
{
    bool stalled = l->blocked_since && l->now - l->blocked_since >= l->stall_after;

    if (session_is_rows_only(l->s))
        return OUTCOME_OK; /* no server waits for the reader */
    if (!stalled && (session_only_looks(l->s) || !stands_unread(l)))
        return OUTCOME_OK;
    log_warning("the output has taken nothing for %.3g seconds: giving up the connection until it "
                "does",
                (double)l->stall_after / (double)USEC_PER_SEC);
    l->s->stalled = true;
    return OUTCOME_UNAVAILABLE;
}

static enum outcome heed_signals(struct loop *l)
{
    struct session *s = l->s;
    enum outcome outcome = OUTCOME_OK;

    if (pipeline_at_boundary(&s->pipeline) && signals_take_hangup()) {
        placing_look_again(&s->pipeline.placing);
        meter_output_ends(&s->meter, s);
        outcome = delivery_reopen(&s->delivery);
        meter_output_begins(&s->meter, s);
        return outcome;
    }
    return signals_stop() ? OUTCOME_STOPPED : OUTCOME_OK;
}

static enum outcome tend(struct loop *l)
{
    return delivery_tend(&l->s->delivery);
}

static enum outcome rotate(struct loop *l)
{
    struct delivery *d = &l->s->delivery;
    bool due = l->now >= delivery_rotation_due(d) && pipeline_at_boundary(&l->s->pipeline);

    return due ? delivery_rotate(d) : OUTCOME_OK;
}

static enum outcome run_timers(struct loop *l)
{
    static enum outcome (*const timers[])(struct loop *) = {
        show_progress, heed_signals, tend, beat, rotate, keep_position, end_snapshot,
        ask_position, push_wal, check_stall, check_silence};
    struct session *s = l->s;

    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        enum outcome outcome = timers[i](l);

        if (outcome != OUTCOME_OK)
            return outcome;
    }
    catalog_tidy(s->catalog, l->now);
    if (pipeline_at_boundary(&s->pipeline) &&
        bounds_spent(&s->bounds, s->pipeline.records, l->now, s->pipeline.last_change))
        s->pipeline.finished = true;
    return OUTCOME_OK;
}

/* ---- waiting ---- */

static void earlier(usec_t *at, usec_t other)
{
    if (other < *at)
        *at = other;
}

/* When a timer is due next, in ticks. */
static usec_t next_timer(const struct loop *l)
{
    const struct session *s = l->s;
    usec_t at = l->last_status + l->status_every;

    earlier(&at, l->now + USEC_PER_SEC);
    earlier(&at, next_settle(l));
    if (!l->unread && !rows_hold_stream(&s->rows))
        earlier(&at, stream_due(&s->stream));
    if (waits_for_position(l))
        earlier(&at, next_ask(l));
    earlier(&at, rows_due(&s->rows, l->now));
    earlier(&at, rows_progress_due(&s->rows));
    earlier(&at, meter_due(&s->meter, s));
    if (l->blocked_since && !session_is_rows_only(s))
        earlier(&at, l->blocked_since + l->stall_after);
    earlier(&at, delivery_due(&s->delivery));
    if (!pipeline_at_boundary(&s->pipeline))
        return at; /* what follows waits for the end of the transaction, not for a time */
    earlier(&at, delivery_rotation_due(&s->delivery));
    if (s->o->heartbeat && !output_is_full(l))
        earlier(&at, l->last_heartbeat + s->o->heartbeat);
    if (s->bounds.idle)
        earlier(&at, s->pipeline.last_change + s->bounds.idle);
    if (s->bounds.deadline)
        earlier(&at, s->bounds.deadline);
    return at;
}

static int timeout_until(usec_t ticks, usec_t now)
{
    return ticks <= now ? 0 : (int)((ticks - now) / 1000 + 1);
}

/* POLLERR on a pipe's write end, which is always reported, says that the reader has gone. */
static enum outcome wait_for_something(const struct loop *l)
{
    const struct output *out = &l->s->delivery.output;
    bool watched = out->kind == OUTPUT_PIPE || out->kind == OUTPUT_SOCKET || l->blocked_since;
    bool rows = rows_hold_stream(&l->s->rows);
    struct pollfd fds[2 + STREAM_WATCHED + DELIVERY_WATCHED + ROWS_MAX_JOBS] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = watched ? out->fd : -1, .events = l->blocked_since ? POLLOUT : 0},
    };
    nfds_t n = 2;

    if (!l->unread && !rows)
        n += stream_watch(&l->s->stream, fds + n);
    n += delivery_watch(&l->s->delivery, fds + n);
    if (rows && !l->unread)
        n += rows_sockets(&l->s->rows, fds + n, ROWS_MAX_JOBS);
    if (poll(fds, n, timeout_until(next_timer(l), l->now)) > 0) {
        if (fds[0].revents)
            signals_drain();
        if (fds[1].revents & (POLLERR | POLLHUP))
            return OUTCOME_OUTPUT_CLOSED;
    }
    return OUTCOME_OK;
}

static enum outcome await(struct loop *l)
{
    log_flush();
    if (l->blocked_since == 0 && l->unread)
        return OUTCOME_OK;
    if (l->blocked_since == 0 && l->gather.busy) {
        if (l->gather.pause)
            clock_pause(l->gather.pause);
        return OUTCOME_OK;
    }
    return wait_for_something(l);
}

/* ---- the loop ---- */

enum outcome loop_run(struct session *s)
{
    struct loop l;
    enum outcome outcome;

    init(&l, s);
    meter_connected(&s->meter, s, l.now);
    s->pipeline.last_change = l.now; /* nothing can come without a connection */
    for (;;) {
        outcome = take_input(&l);
        l.now = clock_ticks();
        gather_observe(&l.gather, l.turn_bytes, l.now);
        if (outcome == OUTCOME_OK)
            outcome = give_output(&l);
        if (outcome == OUTCOME_OK && !s->pipeline.finished)
            outcome = run_timers(&l);
        if (outcome != OUTCOME_OK || s->pipeline.finished)
            return outcome;
        outcome = await(&l);
        if (outcome != OUTCOME_OK)
            return outcome;
        l.now = clock_ticks();
        if (l.unread || l.blocked_since || s->stream.working)
            s->pipeline.last_change = l.now; /* it is the reader who is idle, or the server at work */
    }
}

/* ---- without the stream ---- */

/* Waits for the output to take more, at most step: what a reader takes out of a pipe is no event. */
static enum outcome wait_for_output(const struct session *s, usec_t step)
{
    const struct output *out = &s->delivery.output;
    bool more = output_pending(out) > 0;
    struct pollfd fds[2 + DELIVERY_WATCHED] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = out->kind == OUTPUT_FILE || out->hung_up ? -1 : out->fd,
         .events = more ? POLLOUT : 0},
    };
    nfds_t n = 2 + delivery_watch(&s->delivery, fds + 2);

    log_flush();
    if (poll(fds, n, (int)((step + 999) / 1000)) > 0) {
        if (fds[0].revents)
            signals_drain();
        if (fds[1].revents & (POLLERR | POLLHUP))
            return OUTCOME_OUTPUT_CLOSED;
    }
    return OUTCOME_OK;
}

/* Everything is with the reader, who has taken some of it, or all there is. */
static bool has_moved(const struct delivery *d, uint64_t taken_before)
{
    uint64_t taken = output_taken(&d->output);

    return !delivery_is_waiting(d) && (taken != taken_before || taken == d->output.offset);
}

enum outcome loop_idle(struct session *s, usec_t ticks, bool moves)
{
    enum { STEP_USEC = 100000 };
    uint64_t taken = output_taken(&s->delivery.output);
    usec_t blocked = s->meter.blocked_since ? s->meter.blocked_since : clock_ticks();

    meter_disconnected(&s->meter, s, clock_ticks());
    for (;;) {
        usec_t now = clock_ticks(), left = ticks - now;
        enum outcome outcome;

        if (signals_stop())
            return OUTCOME_STOPPED;
        report(s, now, moves ? blocked : 0);
        outcome = delivery_settle(&s->delivery);
        if (outcome == OUTCOME_OK)
            outcome = delivery_tend(&s->delivery);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (moves ? has_moved(&s->delivery, taken) : left <= 0)
            return OUTCOME_OK;
        outcome = wait_for_output(s, moves || left > STEP_USEC ? STEP_USEC : left + 1000);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

/* ---- the end ---- */

/* The rest of a line that has begun to leave is behind the last position, but has to go, too. */
static bool is_delivered(const struct delivery *d)
{
    return delivery_is_whole(d) && output_pending(&d->output) == 0;
}

/* Replies and commands take as long as they like, but a server that shuts down should not have to wait. */
static bool stands_unaccepted(struct loop *l)
{
    const struct delivery *d = &l->s->delivery;
    uint64_t mark = d->accepted_end + delivery_progress(d) + d->replies.count;

    if (mark != l->accepted_mark) {
        l->accepted_mark = mark;
        l->last_accepted = l->now;
    }
    return l->now - l->last_accepted >= l->stall_after;
}

/*
 * A server that shuts down would wait for us, and what it asks is not read any more.  So unless the end
 * comes soon the connection is given up; the slot can be told on another one.
 */
static void let_server_go(struct loop *l, usec_t since)
{
    enum { SOON_USEC = 2000000 };
    struct session *s = l->s;

    if (!stream_is_open(&s->stream) || l->now - since < SOON_USEC || s->o->temporary_slot)
        return;
    stream_close(&s->stream);
    meter_disconnected(&s->meter, s, l->now);
    s->let_go = true;
}

/* What is accepted is looked at, and put on record, less and less often: a sync costs something. */
static enum outcome take_turn(struct loop *l, usec_t *step, usec_t *settle_at)
{
    enum { LAST_STEP_USEC = 200000 };
    struct delivery *d = &l->s->delivery;
    bool impatient = d->replies.endless && stands_unaccepted(l);
    enum outcome outcome = delivery_flush(d);

    if (outcome == OUTCOME_OK)
        outcome = delivery_tend(d);
    if (outcome == OUTCOME_OK && l->now >= *settle_at) {
        (void)session_follow_timeline(l->s); /* without it the next run may complain: better than no end */
        outcome = delivery_settle(d);
        *settle_at = l->now + *step;
        *step = *step * 2 < LAST_STEP_USEC ? *step * 2 : LAST_STEP_USEC;
    }
    return outcome == OUTCOME_OK ? delivery_check_replies(d, impatient) : outcome;
}

/* Whether the waiting is over, though not everything has been accepted. */
static bool is_time_up(const struct session *s, usec_t now, usec_t deadline)
{
    if (s->delivery.batches)
        return delivery_is_over(&s->delivery);
    return deadline ? now >= deadline : signals_stop();
}

/* Until everything is accepted. */
static enum outcome drain_output(struct session *s, usec_t deadline)
{
    enum { FIRST_STEP_USEC = 5000 };
    usec_t step = FIRST_STEP_USEC, settle_at = 0, since = clock_ticks();
    struct loop l;

    init(&l, s);
    delivery_end(&s->delivery, deadline != 0);
    for (;;) {
        enum outcome outcome = take_turn(&l, &step, &settle_at);

        if (outcome != OUTCOME_OK || is_delivered(&s->delivery))
            return outcome;
        note_blocked(&l);
        report(s, l.now, l.blocked_since);
        if (signals_stop())
            delivery_end(&s->delivery, true);
        if (is_time_up(s, l.now, deadline))
            return delivery_accept(&s->delivery);
        let_server_go(&l, since);
        outcome = wait_for_output(s, settle_at - l.now);
        if (outcome != OUTCOME_OK)
            return outcome;
        l.now = clock_ticks();
    }
}

enum outcome loop_finish(struct session *s, usec_t grace)
{
    enum outcome outcome = delivery_cut_unfinished(&s->delivery);

    if (outcome == OUTCOME_OK)
        outcome = drain_output(s, grace ? clock_ticks() + grace : 0);
    if (outcome == OUTCOME_OK)
        outcome = delivery_complete(&s->delivery);
    if (outcome == OUTCOME_OUTPUT_CLOSED && delivery_accept_last(&s->delivery) != OUTCOME_OK)
        outcome = OUTCOME_OUTPUT_FAILED;
    if (stream_is_open(&s->stream)) {
        stream_feedback(&s->stream, s->delivery.recorded.lsn, false);
        stream_finish(&s->stream);
    } else if (s->let_go) {
        session_tell_slot(s);
    }
    return outcome;
}
