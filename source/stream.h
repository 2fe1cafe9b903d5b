/*
 * stream - the replication stream: one step at a time, never blocking.
 *
 * Knows the wrapper messages of the streaming replication protocol (PostgreSQL documentation,
 * "Streaming Replication Protocol"; reference: XLogData 'w', keepalive 'k', status 'r'), and
 * nothing of what is in the payload.
 */
#ifndef SOURCE_STREAM_H
#define SOURCE_STREAM_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/plugin.h"

enum { STREAM_MAX_WARNINGS = 64 };

struct stream {
    const struct plugin *plugin;
    bool looks;     /* --peek: no feedback tells of anything flushed, so that the slot stays */
    const char *publication; /* that the plugin was told of */
    bool chunks;    /* the plugin holds whole transactions: wal2json's format version 1 */
    bool begun;     /* the server has agreed to stream */
    PGconn *conn;   /* owned; NULL when not connected */
    char *buffer;   /* the message that stream_next() returned last: libpq's memory */
    lsn_t received; /* highest position the server has spoken of: nothing above it is fed back */
    bool loopback;    /* over TCP within this machine; the receive window is small then */
    bool unpublished; /* the server has said that it leaves changes out: see stream.c */
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
};

struct slot_copy {
    char name[64]; /* "" = none: the slot itself is read */
};

/*
 * A slot has one reader at a time, but one that is in use can be copied, to be looked at.  The copy
 * is temporary: it is conn's alone (a connection of either kind) and goes with it, or with the next
 * error there, after which it can be made again.
 *
 * sql: an ordinary session, may be conn; over it is asked, and then said, who reads the slot.
 * NULL: that has been said.  two_phase: the slot makes its plugin give prepared transactions; the
 * copy does not, which is said, too.
 *
 * OUTCOME_OK: *copy is its name.  OUTCOME_UNAVAILABLE: the server has refused it; who reads the
 * slot and why there is no copy has been logged.
 */
enum outcome stream_copy_slot(PGconn *conn, PGconn *sql, const char *slot, bool two_phase,
                              struct slot_copy *copy);

/*
 * Takes over conn, whatever comes out, and starts the slot's stream, or that of its copy, behind
 * start.  After OUTCOME_OK the connection is in copy mode and in libpq's non-blocking mode.
 */
enum outcome stream_start(struct stream *s, PGconn *conn, const struct options *o,
                          const struct slot_copy *copy, lsn_t start);

/* Reads from the socket what is there, once; false when the connection is lost (not logged). */
bool stream_read(struct stream *s);

/* Takes the next whole message out of what was read. */
enum stream_step stream_next(struct stream *s, struct stream_message *m, enum outcome *outcome);

/*
 * Sends a status: everything up to `flushed` is safe on our side.  0 says nothing of that, only that
 * all has been received: the slot stays where it is, but a server that shuts down waits for nothing
 * more (WalSndDone() goes by what was written where nothing was flushed).  With --peek it is 0 that
 * is sent, whatever was asked for.  With ask_reply the server answers with a keepalive at once.
 * False when the connection is lost (not logged).
 */
bool stream_feedback(struct stream *s, lsn_t flushed, bool ask_reply);

/* Ends the copy in good order: CopyDone, and what the server still has to say, for a short while. */
void stream_finish(struct stream *s);

/* Drops the connection at once. */
void stream_close(struct stream *s);

#endif
