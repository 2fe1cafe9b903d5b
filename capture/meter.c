#include "capture/meter.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/session.h"

enum {
    METRICS_SEC = 10,          /* the file is written that often without --stats, */
    ASK_LEAST_USEC = 1000000,  /* and the server is asked so often, */
    ASK_MOST_USEC = 5000000,   /* but not less often than that */
    LOOK_USEC = 50000,         /* an answer takes that long, or a turn of the loop */
    AGAIN_USEC = 60000000,     /* a session that is lost is missed for so long */
    STALLED_USEC = 1000000,    /* an output that takes nothing for less is just full */
    OLD_USEC = 15000000,       /* the line says so of an end of the WAL that is older */
};

/* ---- counts ---- */

static void add_to(struct meter_counter *c, uint64_t more, uint64_t now)
{
    c->total += more;
    c->last = now;
}

/* Of a part that begins with 0. */
static void count_anew(struct meter_counter *c, uint64_t now)
{
    add_to(c, now < c->last ? now : now - c->last, now);
}

/* An offset goes back when what was written is taken back. */
static void count_offset(struct meter_counter *c, uint64_t now)
{
    add_to(c, now < c->last ? 0 : now - c->last, now);
}

static void count(struct meter *m, const struct session *s)
{
    count_anew(&m->records, s->pipeline.records);
    count_anew(&m->transactions, s->pipeline.transactions);
    count_offset(&m->bytes, s->delivery.output.offset);
}

void meter_output_ends(struct meter *m, const struct session *s)
{
    count(m, s);
}

void meter_output_begins(struct meter *m, const struct session *s)
{
    m->bytes.last = s->delivery.output.offset;
}

/* ---- the end of the server's WAL ---- */

static void stop_asking(struct meter *m)
{
    PQfinish(m->conn);
    m->conn = NULL;
    m->asking = m->lost = m->coming = false;
}

static void lose(struct meter *m, usec_t ticks)
{
    m->asking = m->asked = m->coming = false;
    m->lost = true;
    m->next_look = ticks + AGAIN_USEC;
}

static PostgresPollingStatusType go_on_coming(struct meter *m)
{
    struct pollfd fd = {.fd = PQsocket(m->conn), .events = m->for_write ? POLLOUT : POLLIN};

    if (poll(&fd, 1, 0) == 0)
        return m->for_write ? PGRES_POLLING_WRITING : PGRES_POLLING_READING;
    return PQresetPoll(m->conn);
}

/* A step towards another session, which never waits. */
static void try_again(struct meter *m, usec_t ticks)
{
    PostgresPollingStatusType status = PGRES_POLLING_FAILED;

    if (m->coming)
        status = go_on_coming(m);
    else if (PQresetStart(m->conn))
        status = PGRES_POLLING_WRITING;
    if (!m->coming)
        m->next_ask = ticks + AGAIN_USEC; /* which it has time until */
    m->coming = true;
    m->for_write = status == PGRES_POLLING_WRITING;
    m->next_look = ticks + LOOK_USEC;
    if (status == PGRES_POLLING_FAILED || ticks >= m->next_ask)
        lose(m, ticks);
    if (status != PGRES_POLLING_OK)
        return;
    m->lost = m->coming = false;
    m->next_ask = ticks;
}

/* It may be had or not: no other part of the run depends on it. */
static void begin_asking(struct meter *m, const struct session *s)
{
    struct buf why;
    enum outcome outcome;

    buf_init(&why, 256);
    log_keep_errors(&why);
    outcome = connector_connect(s->connector, CONNECTION_SQL, &m->conn);
    log_keep_errors(NULL);
    if (outcome != OUTCOME_OK)
        log_verbose("the end of the WAL cannot be asked for: %.*s", (int)why.len, why.data);
    buf_release(&why);
}

static void take_wal_end(struct meter *m, const PGresult *result, usec_t ticks)
{
    lsn_t lsn = PQresultStatus(result) == PGRES_TUPLES_OK ? result_lsn(result, 0, "lsn") : 0;

    if (!lsn)
        return;
    m->asked = true;
    m->wal_end_at = ticks;
    if (lsn > m->wal_end)
        m->wal_end = lsn;
}

/* Never waits. */
static void look_at_answer(struct meter *m, usec_t ticks)
{
    m->next_look = ticks + LOOK_USEC;
    if (!PQconsumeInput(m->conn)) {
        lose(m, ticks);
        return;
    }
    while (m->asking && !PQisBusy(m->conn)) {
        PGresult *result = PQgetResult(m->conn);

        if (result)
            take_wal_end(m, result, ticks);
        else
            m->asking = false;
        PQclear(result);
    }
}

static usec_t ask_interval(const struct meter *m)
{
    usec_t every = m->progress.line ? ASK_LEAST_USEC : m->every;

    return every < ASK_LEAST_USEC  ? ASK_LEAST_USEC
           : every > ASK_MOST_USEC ? ASK_MOST_USEC
                                   : every;
}

static void ask(struct meter *m, usec_t ticks)
{
    static const char question[] =
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
        " ELSE pg_current_wal_flush_lsn() END AS lsn";

    if (!m->conn)
        return;
    if (m->lost && ticks >= m->next_look)
        try_again(m, ticks);
    if (m->asking && ticks >= m->next_look)
        look_at_answer(m, ticks);
    if (m->lost || m->asking || ticks < m->next_ask)
        return;
    m->next_ask = ticks + ask_interval(m);
    m->next_look = ticks + LOOK_USEC;
    m->asking = PQsendQuery(m->conn, question) == 1;
    if (!m->asking)
        lose(m, ticks);
}

/* ---- how far behind ---- */

/* Takes note of what moves between two looks. */
static void observe(struct meter *m, const struct session *s, usec_t ticks)
{
    if (stream_is_open(&s->stream) && s->stream.received > m->received)
        m->received = s->stream.received;
    if (stream_is_open(&s->stream) && s->delivery.emitted.lsn > m->received)
        m->received = s->delivery.emitted.lsn; /* a commit ends behind where its message stands */
    if (m->received >= m->wal_end) {
        m->wal_end = m->received;
        if (m->heard > m->wal_end_at)
            m->wal_end_at = m->heard;
    }
    if (m->wal_end == m->received)
        m->unread_since = 0;
    else if (!m->unread_since)
        m->unread_since = ticks;
    if (!m->database && s->system.database)
        m->database = xstrdup(s->system.database);
    count(m, s);
}

/* An entry of the ledger may be of a keepalive: then it names the transaction before it. */
static usec_t first_in_ledger(const struct delivery *d)
{
    const struct position *recorded = &d->recorded;

    for (size_t i = 0; i < d->ledger.count; i++) {
        const struct ledger_entry *e = &d->ledger.entries[(d->ledger.first + i) % LEDGER_SIZE];

        if (e->position.commit_time && (e->position.xid != recorded->xid ||
                                        e->position.commit_time != recorded->commit_time))
            return e->position.commit_time;
    }
    return 0;
}

/* Commit time of the first transaction that is not acknowledged; 0 = there is none, or not told. */
static usec_t oldest_unacknowledged(struct meter *m, const struct delivery *d)
{
    const struct position *emitted = &d->emitted, *recorded = &d->recorded;

    if (emitted->xid == recorded->xid && emitted->commit_time == recorded->commit_time)
        return m->oldest = 0;
    if (m->oldest && m->oldest_behind == recorded->lsn)
        return m->oldest;
    m->oldest = first_in_ledger(d);
    m->oldest_behind = recorded->lsn;
    return m->oldest;
}

/* Of the last transaction that was read, without the time in which nothing was there to be read. */
static usec_t age_of_last(const struct meter *m, const struct session *s, usec_t now)
{
    usec_t age = now - s->delivery.emitted.commit_time;
    usec_t quiet = m->unread_since - s->pipeline.last_change;

    return quiet > 0 ? age - quiet : age;
}

static usec_t lag(struct meter *m, const struct session *s)
{
    const struct delivery *d = &s->delivery;
    usec_t now = clock_now(), oldest = oldest_unacknowledged(m, d), age = 0, last = 0;

    if (!d->emitted.commit_time && (m->unread_since || d->emitted.xid != d->recorded.xid))
        return -1;
    if (oldest)
        age = now - oldest;
    if (m->unread_since)
        last = age_of_last(m, s, now);
    if (last > age)
        age = last;
    return age > 0 ? age : 0;
}

/* ---- figures ---- */

static void add_rows(struct meter_figures *f, const struct session *s)
{
    f->reads_rows = s->rows.planned;
    if (f->reads_rows)
        f->rows = rows_figures(&s->rows);
}

static bool has_position(const struct meter_figures *f)
{
    return f->acknowledged && f->wal_end;
}

static struct meter_figures figures(struct meter *m, const struct session *s, usec_t ticks)
{
    const struct delivery *d = &s->delivery;
    struct meter_figures f;

    observe(m, s, ticks);
    f = (struct meter_figures){
        .slot = s->o->slot ? s->o->slot : "",
        .database = m->database ? m->database : "",
        .started = m->started_at,
        .uptime = m->started ? ticks - m->started : -1,
        .records = m->records.total,
        .bytes = m->bytes.total,
        .transactions = m->transactions.total,
        .reconnects = m->connections > 1 ? m->connections - 1 : 0,
        .dead_letters = d->dead.count,
        .received = m->received,
        .written = d->emitted.lsn,
        .acknowledged = d->recorded.lsn,
        .wal_end = m->wal_end,
        .wal_end_age = m->wal_end_at ? ticks - m->wal_end_at : -1,
        .asked = m->asked,
        .lag_bytes = -1,
        .lag = -1,
        .last_commit = d->emitted.commit_time,
        .connected = stream_is_open(&s->stream),
    };
    f.rates = progress_rates(&m->progress, f.records, f.bytes, ticks);
    if (has_position(&f)) {
        f.lag_bytes = f.wal_end > f.acknowledged ? (int64_t)(f.wal_end - f.acknowledged) : 0;
        f.lag = lag(m, s);
    }
    if (m->blocked_since && ticks - m->blocked_since >= STALLED_USEC)
        f.stalled = ticks - m->blocked_since;
    add_rows(&f, s);
    return f;
}

/* ---- for people ---- */

/* 512 B, 3.1 MB, 12 GB: three digits at most, and a point that does not depend on the locale. */
static void add_size(struct buf *b, uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t tenths = bytes > UINT64_MAX / 10 ? UINT64_MAX / 10 * 10 : bytes * 10;
    size_t unit = 0;

    if (bytes > UINT64_MAX / 10) {
        tenths = bytes / 1024 * 10;
        unit = 1;
    }
    for (; tenths >= 10000; unit++)
        tenths /= 1024;
    if (unit > 0 && tenths < 100)
        buf_printf(b, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, units[unit]);
    else
        buf_printf(b, "%" PRIu64 " %s", tenths / 10, units[unit]);
}

/* 0.4 s, 35 s, 2m05s */
static void add_time(struct buf *b, usec_t time)
{
    if (time < 10 * USEC_PER_SEC)
        buf_printf(b, "%d.%d s", (int)(time / USEC_PER_SEC),
                   (int)(time % USEC_PER_SEC / (USEC_PER_SEC / 10)));
    else if (time < 60 * USEC_PER_SEC)
        buf_printf(b, "%d s", (int)(time / USEC_PER_SEC));
    else
        progress_add_duration(b, time / USEC_PER_SEC);
}

static void add_rates(struct buf *b, const struct meter_figures *f, const char *before,
                      const char *between)
{
    if (f->rates.count <= 0 && f->rates.bytes <= 0)
        return;
    buf_add_str(b, before);
    progress_add_rounded(b, f->rates.count > 0 ? (uint64_t)f->rates.count : 0);
    buf_printf(b, " events/s%s", between);
    add_size(b, f->rates.bytes > 0 ? (uint64_t)f->rates.bytes : 0);
    buf_add_str(b, "/s");
}

static void add_lag(struct buf *b, const struct meter_figures *f, const char *before)
{
    if (f->lag_bytes < 0)
        return;
    buf_add_str(b, before);
    add_size(b, (uint64_t)f->lag_bytes);
    if (f->lag >= 0) {
        buf_add_str(b, ", ");
        add_time(b, f->lag);
    }
    if (f->wal_end_age < OLD_USEC)
        return;
    buf_add_str(b, " (");
    add_time(b, f->wal_end_age);
    buf_add_str(b, " ago)");
}

static void show_line(const struct meter_figures *f)
{
    struct buf b;

    buf_init(&b, 128);
    buf_add_str(&b, "stream:");
    add_rates(&b, f, " ", "  ");
    add_lag(&b, f, f->rates.count <= 0 && f->rates.bytes <= 0 ? " lag " : "  lag ");
    if (f->acknowledged)
        buf_printf(&b, "  at " LSN_FMT, LSN_ARGS(f->acknowledged));
    buf_add_char(&b, '\0');
    log_status(f->connected && f->acknowledged ? b.data : NULL);
    buf_release(&b);
}

/* What a snapshot has done, in a message about everything. */
static void add_snapshot(struct buf *b, const struct meter_figures *f)
{
    if (!f->reads_rows)
        return;
    buf_add_str(b, "; snapshot: ");
    progress_add_grouped(b, f->rows.rows);
    buf_add_str(b, " rows read");
    if (f->rows.share >= 0)
        buf_printf(b, ", %d%%", (int)((f->rows.share < 1 ? f->rows.share : 1) * 100 + 1e-9));
    if (f->rows.table)
        buf_printf(b, ", at %s", f->rows.table);
}

static void add_state(struct buf *b, const struct meter_figures *f)
{
    if (f->uptime >= 0) {
        buf_add_str(b, "; running for ");
        add_time(b, f->uptime);
    }
    if (f->reconnects)
        buf_printf(b, ", %" PRIu64 " reconnect%s", f->reconnects, f->reconnects == 1 ? "" : "s");
    if (f->dead_letters)
        buf_printf(b, ", %" PRIu64 " dead letter%s", f->dead_letters,
                   f->dead_letters == 1 ? "" : "s");
    if (!f->connected)
        buf_add_str(b, "; not streaming");
    if (f->stalled) {
        buf_add_str(b, "; the output has taken nothing for ");
        add_time(b, f->stalled);
    }
}

/* ---- for programs ---- */

static void add_seconds(struct log_figures *said, const char *name, usec_t time)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64 ".%03d", time / USEC_PER_SEC,
             (int)(time % USEC_PER_SEC / 1000));
    if (time >= 0)
        log_figure(said, name, text);
}

static void add_count(struct log_figures *said, const char *name, int64_t n)
{
    if (n >= 0)
        log_figure_u64(said, name, (uint64_t)n);
}

static void add_lsn(struct log_figures *said, const char *name, lsn_t lsn)
{
    char text[24];

    snprintf(text, sizeof text, LSN_FMT, LSN_ARGS(lsn));
    log_figure_text(said, name, text);
}

static void add_stats(struct log_figures *said, const struct meter_figures *f)
{
    log_figure_u64(said, "events", f->records);
    add_count(said, "events_per_second", f->rates.count);
    log_figure_u64(said, "bytes", f->bytes);
    add_count(said, "bytes_per_second", f->rates.bytes);
    add_count(said, "lag_bytes", f->lag_bytes);
    add_seconds(said, "lag_seconds", f->lag);
    add_seconds(said, "wal_end_age_seconds", f->wal_end_age);
    add_lsn(said, "received", f->received);
    add_lsn(said, "written", f->written);
    add_lsn(said, "acknowledged", f->acknowledged);
}

static void show_stats(const struct meter_figures *f)
{
    struct log_figures said;

    log_figures_init(&said);
    add_stats(&said, f);
    log_notice_figures(&said, "stream:%s", said.text.data);
    log_figures_release(&said);
}

void meter_report(struct meter *m, const struct session *s)
{
    struct meter_figures f = figures(m, s, clock_ticks());
    struct log_figures said;
    struct buf more;

    buf_init(&more, 256);
    add_lag(&more, &f, f.asked ? "; lag " : "; lag at least ");
    add_rates(&more, &f, "; ", ", ");
    add_snapshot(&more, &f);
    add_state(&more, &f);
    log_figures_init(&said);
    add_stats(&said, &f);
    log_figure_u64(&said, "transactions", f.transactions);
    log_figure_u64(&said, "reconnects", f.reconnects);
    log_figure_u64(&said, "dead_letters", f.dead_letters);
    add_seconds(&said, "uptime_seconds", f.uptime);
    if (f.reads_rows)
        log_figure_u64(&said, "rows", f.rows.rows);
    log_notice_figures(&said,
                       "%" PRIu64 " records, %" PRIu64 " bytes; received up to " LSN_FMT
                       ", written up to " LSN_FMT ", acknowledged up to " LSN_FMT "%.*s",
                       f.records, f.bytes, LSN_ARGS(f.received), LSN_ARGS(f.written),
                       LSN_ARGS(f.acknowledged), (int)more.len, more.data);
    log_figures_release(&said);
    buf_release(&more);
}

/* ---- when ---- */

bool meter_wants_line(const struct options *o, const struct output *out)
{
    if (log_get_level() == LOG_QUIET || o->log_format == LOG_JSON)
        return false;
    return o->progress || (isatty(STDERR_FILENO) && !isatty(out->fd));
}

static void write_metrics(struct meter *m, const struct session *s, usec_t ticks)
{
    struct meter_figures f = figures(m, s, ticks);

    m->next_metrics = ticks + m->every;
    metrics_write(&m->metrics, &f);
}

void meter_begin(struct meter *m, const struct session *s)
{
    usec_t ticks = clock_ticks();

    *m = (struct meter){
        .o = s->o,
        .metrics = {.path = s->o->metrics_file},
        .every = s->o->stats ? s->o->stats : METRICS_SEC * USEC_PER_SEC,
        .started = ticks,
        .started_at = clock_now(),
    };
    progress_init(&m->progress, false, s->o->stats, ticks);
    if (m->metrics.path)
        write_metrics(m, s, ticks);
}

void meter_connected(struct meter *m, const struct session *s, usec_t ticks)
{
    if (m->started == 0)
        return;
    if (m->connections++ == 0)
        m->bytes.last = s->delivery.output.offset;
    m->progress.line = meter_wants_line(m->o, &s->delivery.output);
    m->wal_end = m->received = stream_is_open(&s->stream) ? s->stream.received : 0;
    m->heard = m->wal_end_at = ticks;
    m->asked = false;
    m->unread_since = 0;
    stop_asking(m);
    if (stream_is_open(&s->stream) && (m->metrics.path || progress_due(&m->progress) != INT64_MAX))
        begin_asking(m, s);
    if (m->metrics.path)
        write_metrics(m, s, ticks);
}

void meter_disconnected(struct meter *m, const struct session *s, usec_t ticks)
{
    stop_asking(m);
    log_status(NULL);
    if (m->metrics.path)
        write_metrics(m, s, ticks);
}

static bool reads_rows(const struct session *s)
{
    return rows_hold_stream(&s->rows) || rows_are_wanted(&s->rows);
}

usec_t meter_due(const struct meter *m, const struct session *s)
{
    usec_t at = reads_rows(s) ? INT64_MAX : progress_due(&m->progress);

    if (m->metrics.path && m->next_metrics < at)
        at = m->next_metrics;
    if (m->conn && (m->asking || m->lost) && m->next_look < at)
        at = m->next_look;
    if (m->conn && !m->asking && !m->lost && m->next_ask < at)
        at = m->next_ask;
    return at;
}

static void show(struct meter *m, const struct session *s, usec_t ticks)
{
    struct progress_dues dues = progress_take_dues(&m->progress, ticks);
    struct meter_figures f;

    if (!dues.line && !dues.stats)
        return;
    f = figures(m, s, ticks);
    if (dues.stats)
        show_stats(&f);
    if (dues.line)
        show_line(&f);
}

void meter_tend(struct meter *m, struct session *s, usec_t ticks)
{
    bool rows = reads_rows(s);

    if (m->was_rows && !rows) {
        observe(m, s, ticks);
        progress_restart(&m->progress, m->records.total, m->bytes.total, ticks);
    }
    m->was_rows = rows;
    ask(m, ticks);
    if (rows)
        rows_show_progress(&s->rows, ticks);
    else if (ticks >= progress_due(&m->progress))
        show(m, s, ticks);
    if (m->metrics.path && ticks >= m->next_metrics)
        write_metrics(m, s, ticks);
}

void meter_end(struct meter *m, const struct session *s, enum outcome outcome)
{
    usec_t ticks = clock_ticks();
    struct meter_figures f;

    log_status(NULL);
    stop_asking(m);
    if (m->metrics.path) {
        f = figures(m, s, ticks);
        f.ended = true;
        f.outcome = outcome;
        f.connected = false;
        metrics_write(&m->metrics, &f);
    }
    free(m->database);
    m->database = NULL;
}
