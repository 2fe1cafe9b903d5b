#include "source/walsender.h"

#include <endian.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/server_error.h"
#include "source/transport.h"

struct walsender {
    PGconn *conn; /* owned */
    char *buffer; /* the message that next() returned last: libpq's memory */
};

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

/* ---- reading ---- */

static bool read_socket(struct stream *s)
{
    const struct walsender *w = s->way;

    return PQconsumeInput(w->conn) == 1;
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
    const struct walsender *w = s->way;
    PGresult *result = PQgetResult(w->conn);
    const char *sqlstate;

    if (result && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        sqlstate = result_sqlstate(result);
        if (*sqlstate) {
            *outcome = stream_error(s, w->conn, result, "read the stream");
            PQclear(result);
            return *outcome == OUTCOME_UNAVAILABLE ? STREAM_ENDED : STREAM_FAILED;
        }
        log_warning("lost the connection: %s", PQerrorMessage(w->conn));
    } else {
        log_warning("the server has ended the stream");
    }
    PQclear(result);
    *outcome = OUTCOME_UNAVAILABLE;
    return STREAM_ENDED;
}

static enum stream_step next(struct stream *s, struct stream_message *m, enum outcome *outcome)
{
    struct walsender *w = s->way;
    int len;
    bool good;

    if (w->buffer) {
        PQfreemem(w->buffer);
        w->buffer = NULL;
    }
    len = PQgetCopyData(w->conn, &w->buffer, 1);
    if (s->unpublished) {
        *outcome = OUTCOME_POSITION_LOST;
        return STREAM_FAILED;
    }
    if (len == 0)
        return STREAM_NONE;
    if (len < 0)
        return ended(s, outcome);
    good = w->buffer[0] == 'w'   ? parse_data(s, m, w->buffer, (size_t)len)
           : w->buffer[0] == 'k' ? parse_keepalive(s, m, w->buffer, (size_t)len)
                                 : false;
    if (good)
        return STREAM_MESSAGE;
    log_error("could not read the stream: message of type 0x%02x and %d bytes",
              (unsigned char)w->buffer[0], len);
    *outcome = OUTCOME_FAILED;
    return STREAM_FAILED;
}

/* ---- feedback ---- */

static bool feedback(struct stream *s, lsn_t flushed, bool ask_reply)
{
    /* Standby status: 'r', Int64 written, flushed, applied, clock, Byte1 reply requested. */
    char status[34], *p = status;
    const struct walsender *w = s->way;

    *p++ = 'r';
    p = put_be64(p, s->received);
    p = put_be64(p, flushed);
    p = put_be64(p, flushed);
    p = put_be64(p, (uint64_t)(clock_now() - POSTGRES_EPOCH_USEC));
    *p++ = (char)ask_reply;
    return PQputCopyData(w->conn, status, (int)(p - status)) >= 0 && PQflush(w->conn) >= 0;
}

/* ---- waiting, ending ---- */

static nfds_t watch(const struct stream *s, struct pollfd *fds)
{
    const struct walsender *w = s->way;

    fds[0] = (struct pollfd){.fd = PQsocket(w->conn), .events = POLLIN};
    return 1;
}

static void wait_a_moment(const struct walsender *w, bool for_write, usec_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(w->conn),
                        .events = (short)(POLLIN | (for_write ? POLLOUT : 0))};
    usec_t left = deadline - clock_ticks();

    log_flush();
    poll(&fd, 1, left > 0 ? (int)(left / 1000 + 1) : 0);
}

/* Reads and drops what is still coming; true when the copy is over. */
static bool drain(const struct walsender *w)
{
    char *buffer;
    int len;

    if (!PQconsumeInput(w->conn))
        return true;
    while ((len = PQgetCopyData(w->conn, &buffer, 1)) > 0)
        PQfreemem(buffer);
    return len < 0;
}

static void finish(struct stream *s)
{
    enum { PATIENCE_SEC = 3 };
    const struct walsender *w = s->way;
    usec_t deadline = clock_ticks() + PATIENCE_SEC * USEC_PER_SEC;
    bool done = PQputCopyEnd(w->conn, NULL) != 1;

    /* A server in the middle of a huge transaction does not listen: then the socket is closed. */
    while (!done && clock_ticks() < deadline) {
        int unsent = PQflush(w->conn);

        if (unsent < 0)
            break;
        wait_a_moment(w, unsent > 0, deadline);
        done = drain(w);
    }
}

static void close_connection(struct stream *s)
{
    struct walsender *w = s->way;

    if (w->buffer)
        PQfreemem(w->buffer);
    PQfinish(w->conn);
    free(w);
}

static const struct transport transport = {
    .read = read_socket,
    .next = next,
    .feedback = feedback,
    .watch = watch,
    .finish = finish,
    .close = close_connection,
};

/* ---- starting ---- */

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
    if (plugin_add_options(&command, conn, PLUGIN_COMMAND, o, chosen))
        buf_add_char(&command, ')');
    else
        command.len -= 2; /* none: the server takes no empty list */
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
            outcome = slot_copy_make(conn, NULL, o->slot, false, &again);
        if (outcome == OUTCOME_OK)
            outcome = ask(conn, o, slot, chosen, start, result);
    }
    return outcome;
}

enum outcome walsender_start(struct stream *s, PGconn *conn, const struct options *o,
                             const struct slot_copy *copy, lsn_t start)
{
    struct walsender *w = xcalloc(1, sizeof *w);
    PGresult *result;
    enum outcome outcome;
    struct plugin_options chosen = plugin_first_options(o);

    stream_init(s, o, start);
    w->conn = conn;
    s->transport = &transport;
    s->way = w;
    s->loopback = bound_loopback_window(PQsocket(conn));
    stream_take_notices(s, conn);
    outcome = ask_again(conn, o, copy, &chosen, start, &result);
    s->forbidden = strcmp(result_sqlstate(result), "42501") == 0;
    s->begun = PQresultStatus(result) == PGRES_COPY_BOTH;
    if (outcome == OUTCOME_OK && !s->begun)
        outcome = stream_error(s, conn, result, "start streaming");
    else if (outcome == OUTCOME_OK && PQsetnonblocking(conn, 1) != 0)
        outcome = server_error(conn, NULL, "start streaming");
    else if (outcome == OUTCOME_OK)
        log_verbose("streaming from " LSN_FMT, LSN_ARGS(start));
    s->nan_is_null = plugin_nan_is_null(o, &chosen);
    PQclear(result);
    return outcome;
}
