/*
 * stream - the changes of a slot, one message at a time, never blocking.
 *
 * One interface and two transports behind it (source/transport.h): the replication stream of a
 * walsender (source/walsender.c), and the server's slot functions over ordinary sessions
 * (source/backlog.c).  Both give what a plugin has written with the LSN that it was written for, in
 * the order of commits; neither knows what is in it.
 */
#ifndef SOURCE_STREAM_H
#define SOURCE_STREAM_H

#include <libpq-fe.h>
#include <poll.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/plugin.h"
#include "source/slot_copy.h"

enum { STREAM_MAX_WARNINGS = 64, STREAM_WATCHED = 2 };

struct stream {
    const struct transport *transport; /* NULL when not connected */
    void *way;      /* the transport's own, owned by it */
    const struct plugin *plugin;
    bool looks;     /* --peek: no feedback tells of anything flushed, so that the slot stays */
    const char *publication; /* that the plugin was told of */
    bool chunks;    /* the plugin holds whole transactions: wal2json's format version 1 */
    bool working;   /* the server is at work on what it was asked for, of which nothing need come */
    bool begun;     /* the server has agreed to give changes */
    lsn_t received; /* highest position the server has spoken of: nothing above it is fed back */
    bool loopback;    /* over TCP within this machine; the receive window is small then */
    bool unpublished; /* the server has said that it leaves changes out: see stream.c */
    bool yields;      /* what is wrong with the changes is for another transport to say */
    bool unfit;       /* STREAM_OVER as the transport is not one for this server or slot */
    bool unreadable;  /* the server could not read its WAL, which may pass */
    bool forbidden;   /* the start was refused for want of privileges */
    bool selects;     /* not all tables are captured: what a plugin warns of may be about others */
    bool nan_is_null; /* the plugin gives NaN and infinities as null: see source/plugin.h */
    char *warnings[STREAM_MAX_WARNINGS]; /* of the server, each said once */
    size_t nwarnings;
};

enum stream_kind { STREAM_DATA, STREAM_KEEPALIVE };

/*
 * One message.  The payload is the stream's until the next stream_next(), and whoever reads it may
 * rewrite it.
 */
struct stream_message {
    enum stream_kind kind;
    lsn_t lsn;       /* data: where the change is; 0 = the server did not say */
    lsn_t wal_end;   /* keepalive: all that committed before it has been sent */
    usec_t sent;     /* the server's clock */
    bool wants_reply; /* keepalive: the server wants feedback at once */
    char *payload;
    size_t len;
};

enum stream_step {
    STREAM_MESSAGE, /* *m is one */
    STREAM_NONE,    /* nothing whole has arrived */
    STREAM_ENDED,   /* the server is going away or the connection is lost: worth a retry */
    STREAM_FAILED,  /* see *outcome */
    STREAM_OVER,    /* the transport has given what it is good for: another one goes on from there */
};

/* Readies *s for one of the transports; with stream_close() it is as if this had never been. */
void stream_init(struct stream *s, const struct options *o, lsn_t start);

/* Reads from the sockets what is there, once; false when a connection is lost (not logged). */
bool stream_read(struct stream *s);

/* Takes the next whole message out of what was read. */
enum stream_step stream_next(struct stream *s, struct stream_message *m, enum outcome *outcome);

/*
 * Tells the server: everything up to `flushed` is safe on our side.  0 says nothing of that, only that
 * all has been received: the slot stays where it is, but a server that shuts down waits for nothing
 * more (WalSndDone() goes by what was written where nothing was flushed).  With --peek it is 0 that
 * is sent, whatever was asked for.  With ask_reply the server answers at once, with a keepalive.
 * False when the connection is lost (not logged).
 */
bool stream_feedback(struct stream *s, lsn_t flushed, bool ask_reply);

/* The sockets to wait for, STREAM_WATCHED at most; how many they are. */
nfds_t stream_watch(const struct stream *s, struct pollfd *fds);

/* When it wants to be read from although nothing has arrived, in ticks; INT64_MAX = never. */
usec_t stream_due(const struct stream *s);

/* Ends it in good order: what was fed back last reaches the server, which is waited for a while. */
void stream_finish(struct stream *s);

/* Drops the connections at once. */
void stream_close(struct stream *s);

static inline bool stream_is_open(const struct stream *s)
{
    return s->transport != NULL;
}

#endif
