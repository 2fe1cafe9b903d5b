#include "source/stream.h"

#include <endian.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/server_error.h"
#include "source/slot.h"
#include "source/slot_watch.h"

/* ---- the protocol's integers ---- */

static uint64_t get_u64(const char *p)
{
    uint64_t n;

    memcpy(&n, p, sizeof n);
    return be64toh(n);
}

static char *put_be64(char *p, uint64_t n)
{
    n = htobe64(n);
    memcpy(p, &n, sizeof n);
    return p + sizeof n;
}

/* ---- starting ---- */

static void hint_at_publication(const struct stream *s)
{
    if (s->looks)
        log_hint("The publication did not exist at that point of the WAL, and no capture of this "
                 "slot would get past it.  -I LSN begins to look behind it.");
    else
        log_hint("The publication did not exist at that point of the WAL.  Begin anew with another "
                 "slot, or leave the changes up to now out with -m latest-offset and no state "
                 "file.");
}

/* The server repeats a plugin's warning for every row that it is about: once is enough. */
static bool is_news(struct stream *s, const char *message)
{
    for (size_t i = 0; i < s->nwarnings; i++)
        if (strcmp(s->warnings[i], message) == 0)
            return false;
    if (s->nwarnings == STREAM_MAX_WARNINGS)
        return false;
    s->warnings[s->nwarnings++] = xstrdup(message);
    return true;
}

/*
 * Changes of a failover slot are held back until the standbys of synchronized_standby_slots have
 * them (17+).  While it waits the server warns, and when it has to stop meanwhile it fails, with
 * SQLSTATEs of slots that are lost.  What tells these apart in any language is who says it.
 */
static bool waits_for_standby(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function && strcmp(function, "StandbySlotsHaveCaughtup") == 0;
}

/*
 * PostgreSQL 18 does not fail on a publication that is not there at some point of the WAL: it
 * warns (SQLSTATE 55000) and leaves the changes out.  Seen here, it is as fatal as it is on 17.
 */
static void on_notice(void *arg, const PGresult *result)
{
    struct stream *s = arg;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), *severity;

    if (waits_for_standby(result)) {
        if (is_news(s, message ? message : ""))
            server_warning(NULL, result, "get changes that a standby does not have yet");
        return;
    }
    if (s->plugin->publishes && strcmp(result_sqlstate(result), "55000") == 0) {
        s->unpublished = true;
        server_error(NULL, result, "read all changes");
        hint_at_publication(s);
        return;
    }
    severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && strcmp(severity, "WARNING") == 0 && !s->selects &&
        is_news(s, message ? message : ""))
        log_warning("the server warns: %s", message);
    else
        log_verbose("server: %s", message ? message : "");
}

/* Texts of internal errors are never translated. */
static void hint_at_cause(const struct stream *s, const char *sqlstate, const char *message)
{
    bool too_large = message && strstr(message, "invalid memory alloc request size");

    if (s->plugin->publishes && s->begun && strncmp(sqlstate, "22", 2) == 0)
        log_hint("Where the row filter of publication \"%s\" is the reason: the server decodes with "
                 "the publication as it was when the change was made, so altering it does not help "
                 "this slot.  Alter it and begin anew with another slot.",
                 s->publication);
    else if (s->plugin->publishes && strcmp(sqlstate, "XX000") == 0 && too_large)
        log_hint("If a very large value is the reason, -o binary=true (PostgreSQL 14 and later) may "
                 "get past it.");
    else if (s->chunks && strcmp(sqlstate, "54000") == 0)
        log_hint("Format version 1 of wal2json holds whole transactions; -P wal2json uses version 2, "
                 "which does not.");
}

/* An internal error in mid-stream that is not about the size of a value: the WAL, as a rule. */
static bool is_unreadable(const struct stream *s, const char *sqlstate, const char *message)
{
    return s->begun && strcmp(sqlstate, "XX000") == 0 && message &&
           !strstr(message, "invalid memory alloc request size") &&
           !strstr(message, "string buffer exceeds");
}

/* Before the stream and in it, these do not mean what they mean elsewhere. */
static enum outcome stream_error(struct stream *s, const PGresult *result, const char *doing)
{
    enum outcome outcome = server_error(s->conn, result, doing);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = result_sqlstate(result);

    if (waits_for_standby(result))
        return OUTCOME_UNAVAILABLE;
    if (s->plugin->publishes && strcmp(sqlstate, "42704") == 0) {
        hint_at_publication(s);
        return OUTCOME_POSITION_LOST;
    }
    if (strcmp(sqlstate, "58P01") == 0 && message && strstr(message, s->plugin->library))
        return outcome; /* the plugin's library is not there */
    if (strcmp(sqlstate, "55000") == 0 || strcmp(sqlstate, "58P01") == 0) {
        log_hint("The slot cannot give these changes any more: drop it and begin anew.");
        return OUTCOME_POSITION_LOST;
    }
    hint_at_cause(s, sqlstate, message);
    s->unreadable = is_unreadable(s, sqlstate, message);
    return outcome;
}

/* ---- a slot that is in use ---- */

/* Slots' names need no quotes; the number of the connection's process makes it one of its own. */
static enum outcome ask_for_copy(PGconn *conn, const char *slot, struct slot_copy *copy,
                                 PGresult **result)
{
    char *command;
    enum outcome outcome;

    snprintf(copy->name, sizeof copy->name, "cdcdump_peek_%d", PQbackendPID(conn));
    command = xasprintf("SELECT pg_catalog.pg_copy_logical_replication_slot('%s', '%s', true)",
                        slot, copy->name);
    outcome = walsender_ask(conn, command, result);
    free(command);
    return outcome;
}

static enum outcome refuse_copy(PGconn *conn, const PGresult *result, PGconn *sql, const char *slot)
{
    const char *why = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    enum outcome outcome;

    if (!sql)
        return server_error(conn, result, "copy the replication slot again");
    outcome = slot_in_use(sql, slot);
    if (outcome != OUTCOME_UNAVAILABLE)
        return outcome;
    log_detail("A temporary copy of it to look at could not be made: %s.",
               why ? why : PQerrorMessage(conn));
    log_hint("%s", hint ? hint : "A slot has one reader at a time: try again when it is free.");
    return OUTCOME_UNAVAILABLE;
}

static enum outcome tell_of_copy(PGconn *sql, const char *slot, bool two_phase)
{
    struct slot_watch watch;
    enum outcome outcome = slot_watch(sql, slot, &watch);
    const char *holder = watch.count > 0 ? watch.slots[0].holder : NULL;

    if (outcome == OUTCOME_OK)
        log_notice("replication slot \"%s\" is in use by %s: looking at a temporary copy of it",
                   slot, holder ? holder : "a process that has ended by now");
    if (outcome == OUTCOME_OK && two_phase)
        log_detail("It gives prepared transactions when they are committed; the slot does so when "
                   "they are prepared.");
    slot_watch_release(&watch);
    return outcome;
}

enum outcome stream_copy_slot(PGconn *conn, PGconn *sql, const char *slot, bool two_phase,
                              struct slot_copy *copy)
{
    PGresult *result = NULL;
    enum outcome outcome = ask_for_copy(conn, slot, copy, &result);

    if (outcome == OUTCOME_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        outcome = refuse_copy(conn, result, sql, slot);
    else if (outcome == OUTCOME_OK && sql)
        outcome = tell_of_copy(sql, slot, two_phase);
    PQclear(result);
    return outcome;
}

/* ---- starting the stream ---- */

/*
 * Within one machine the way holds nothing, so a small window costs no throughput: what does not
 * fit waits in the sender's socket, where messages merge; see capture/gather.h.  The kernel may
 * clamp the window to less than half of it, and it has to stay larger than loopback's segments of
 * 64 kB, or TCP waits for a window that never comes.  A network needs its window as it is.
 */
static bool bound_loopback_window(int fd)
{
    int size = 256 * 1024;
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&peer;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&peer;

    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        return false;
    if (!(peer.ss_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) &&
        !(peer.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr)))
        return false;
    return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0;
}

static enum outcome ask(PGconn *conn, const struct options *o, const char *slot,
                        const struct plugin_options *chosen, lsn_t start, PGresult **result)
{
    struct buf command;
    enum outcome outcome;

    buf_init(&command, 256);
    buf_printf(&command, "START_REPLICATION SLOT \"%s\" LOGICAL " LSN_FMT " (", slot,
               LSN_ARGS(start));
    plugin_add_options(&command, conn, o, chosen);
    if (command.data[command.len - 1] == '(')
        command.len -= 2; /* none: the server takes no empty list */
    else
        buf_add_char(&command, ')');
    buf_add_char(&command, '\0');
    outcome = walsender_ask(conn, command.data, result);
    buf_release(&command);
    return outcome;
}

/* Without the options that the plugin does not know.  With the error the server drops a copy. */
static enum outcome ask_again(PGconn *conn, const struct options *o, const struct slot_copy *copy,
                              struct plugin_options *chosen, lsn_t start, PGresult **result)
{
    const char *slot = *copy->name ? copy->name : o->slot;
    struct slot_copy again; /* of the same name */
    enum outcome outcome = ask(conn, o, slot, chosen, start, result);

    while (outcome == OUTCOME_OK && PQresultStatus(*result) == PGRES_FATAL_ERROR &&
           !o->temporary_slot && plugin_yields(o, chosen, *result)) {
        PQclear(*result);
        *result = NULL;
        if (slot == copy->name)
            outcome = stream_copy_slot(conn, NULL, o->slot, false, &again);
        if (outcome == OUTCOME_OK)
            outcome = ask(conn, o, slot, chosen, start, result);
    }
    return outcome;
}

enum outcome stream_start(struct stream *s, PGconn *conn, const struct options *o,
                          const struct slot_copy *copy, lsn_t start)
{
    PGresult *result;
    enum outcome outcome;
    struct plugin_options chosen = plugin_first_options(o);

    *s = (struct stream){
        .conn = conn,
        .looks = o->action == ACTION_PEEK,
        .plugin = plugin_of(o->plugin),
        .publication = o->publication,
        .chunks = o->plugin == PLUGIN_WAL2JSON_STREAMING ||
                  o->plugin == PLUGIN_WAL2JSON_RDS_STREAMING,
        .selects = o->schemas.count + o->exclude_schemas.count + o->tables.count +
                       o->exclude_tables.count + o->qualified_tables.count +
                       o->exclude_qualified_tables.count > 0,
        .received = start,
        .loopback = bound_loopback_window(PQsocket(conn)),
    };
    PQsetNoticeReceiver(conn, on_notice, s);
    outcome = ask_again(conn, o, copy, &chosen, start, &result);
    s->forbidden = strcmp(result_sqlstate(result), "42501") == 0;
    s->begun = PQresultStatus(result) == PGRES_COPY_BOTH;
    if (outcome == OUTCOME_OK && !s->begun)
        outcome = stream_error(s, result, "start streaming");
    else if (outcome == OUTCOME_OK && PQsetnonblocking(conn, 1) != 0)
        outcome = server_error(conn, NULL, "start streaming");
    else if (outcome == OUTCOME_OK)
        log_verbose("streaming from " LSN_FMT, LSN_ARGS(start));
    s->nan_is_null = plugin_nan_is_null(o, &chosen);
    PQclear(result);
    return outcome;
}

/* ---- reading ---- */

bool stream_read(struct stream *s)
{
    return PQconsumeInput(s->conn) == 1;
}

/* XLogData: 'w', Int64 start of the change, Int64 WAL end (the same), Int64 clock, payload. */
enum { DATA_HEADER = 25, KEEPALIVE_SIZE = 18 };

static bool parse_data(struct stream *s, struct stream_message *m, char *p, size_t len)
{
    if (len < DATA_HEADER)
        return false;
    m->kind = STREAM_DATA;
    m->lsn = get_u64(p + 1);
    m->sent = (usec_t)get_u64(p + 17) + POSTGRES_EPOCH_USEC;
    m->payload = p + DATA_HEADER;
    m->len = len - DATA_HEADER;
    if (m->lsn > s->received)
        s->received = m->lsn;
    return true;
}

/* Keepalive: 'k', Int64 WAL end, Int64 clock, Byte1 reply requested. */
static bool parse_keepalive(struct stream *s, struct stream_message *m, char *p, size_t len)
{
    if (len != KEEPALIVE_SIZE)
        return false;
    m->kind = STREAM_KEEPALIVE;
    m->payload = NULL;
    m->len = 0;
    m->wal_end = get_u64(p + 1);
    m->sent = (usec_t)get_u64(p + 9) + POSTGRES_EPOCH_USEC;
    m->wants_reply = p[17] != 0;
    if (m->wal_end > s->received)
        s->received = m->wal_end;
    return true;
}

/*
 * The copy has ended without our asking.  An error tells why; a plain CommandComplete is a server
 * that shuts down after all has been acknowledged, and no answer at all is a lost connection.
 */
static enum stream_step ended(struct stream *s, enum outcome *outcome)
{
    PGresult *result = PQgetResult(s->conn);
    const char *sqlstate;

    if (result && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        sqlstate = result_sqlstate(result);
        if (*sqlstate) {
            *outcome = stream_error(s, result, "read the stream");
            PQclear(result);
            return *outcome == OUTCOME_UNAVAILABLE ? STREAM_ENDED : STREAM_FAILED;
        }
        log_warning("lost the connection: %s", PQerrorMessage(s->conn));
    } else {
        log_warning("the server has ended the stream");
    }
    PQclear(result);
    *outcome = OUTCOME_UNAVAILABLE;
    return STREAM_ENDED;
}

enum stream_step stream_next(struct stream *s, struct stream_message *m, enum outcome *outcome)
{
    int len;
    bool good;

    if (s->buffer) {
        PQfreemem(s->buffer);
        s->buffer = NULL;
    }
    len = PQgetCopyData(s->conn, &s->buffer, 1);
    if (s->unpublished) {
        *outcome = OUTCOME_POSITION_LOST;
        return STREAM_FAILED;
    }
    if (len == 0)
        return STREAM_NONE;
    if (len < 0)
        return ended(s, outcome);
    good = s->buffer[0] == 'w'   ? parse_data(s, m, s->buffer, (size_t)len)
           : s->buffer[0] == 'k' ? parse_keepalive(s, m, s->buffer, (size_t)len)
                                 : false;
    if (good)
        return STREAM_MESSAGE;
    log_error("could not read the stream: message of type 0x%02x and %d bytes",
              (unsigned char)s->buffer[0], len);
    *outcome = OUTCOME_FAILED;
    return STREAM_FAILED;
}

/* ---- feedback ---- */

bool stream_feedback(struct stream *s, lsn_t flushed, bool ask_reply)
{
    /* Standby status: 'r', Int64 written, flushed, applied, clock, Byte1 reply requested. */
    char status[34], *p = status;

    if (s->looks)
        flushed = 0;
    *p++ = 'r';
    p = put_be64(p, s->received);
    p = put_be64(p, flushed);
    p = put_be64(p, flushed);
    p = put_be64(p, (uint64_t)(clock_now() - POSTGRES_EPOCH_USEC));
    *p++ = (char)ask_reply;
    return PQputCopyData(s->conn, status, (int)(p - status)) >= 0 && PQflush(s->conn) >= 0;
}

/* ---- ending ---- */

static void wait_a_moment(const struct stream *s, bool for_write, usec_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(s->conn),
                        .events = (short)(POLLIN | (for_write ? POLLOUT : 0))};
    usec_t left = deadline - clock_ticks();

    log_flush();
    poll(&fd, 1, left > 0 ? (int)(left / 1000 + 1) : 0);
}

/* Reads and drops what is still coming; true when the copy is over. */
static bool drain(struct stream *s)
{
    char *buffer;
    int len;

    if (!PQconsumeInput(s->conn))
        return true;
    while ((len = PQgetCopyData(s->conn, &buffer, 1)) > 0)
        PQfreemem(buffer);
    return len < 0;
}

void stream_finish(struct stream *s)
{
    enum { PATIENCE_SEC = 3 };
    usec_t deadline = clock_ticks() + PATIENCE_SEC * USEC_PER_SEC;
    bool done = PQputCopyEnd(s->conn, NULL) != 1;

    /* A server in the middle of a huge transaction does not listen: then the socket is closed. */
    while (!done && clock_ticks() < deadline) {
        int unsent = PQflush(s->conn);

        if (unsent < 0)
            break;
        wait_a_moment(s, unsent > 0, deadline);
        done = drain(s);
    }
    stream_close(s);
}

void stream_close(struct stream *s)
{
    if (s->buffer)
        PQfreemem(s->buffer);
    PQfinish(s->conn);
    for (size_t i = 0; i < s->nwarnings; i++)
        free(s->warnings[i]);
    *s = (struct stream){0};
}
