/*
 * session - everything that one run of a capture holds, and how it gets connected.
 *
 * session_connect() asks all the questions of CONTRACT, section 7, on every connect and before any
 * output: is it the same system, does its timeline descend from ours, does our position lie on it,
 * is the slot of the right kind, alive and not ahead of us, is the publication there.
 */
#ifndef CAPTURE_SESSION_H
#define CAPTURE_SESSION_H

#include "capture/bounds.h"
#include "capture/meter.h"
#include "capture/pipeline.h"
#include "capture/rows.h"
#include "cli/options.h"
#include "deliver/delivery.h"
#include "snapshot/sieve.h"
#include "source/catalog.h"
#include "source/connection.h"
#include "source/selection.h"
#include "source/slot.h"
#include "source/stream.h"
#include "source/system.h"

struct session {
    struct options options; /* of the user; the plugin is filled in when the slot is known */
    const struct options *o;
    struct connector *connector;
    struct selection selection;
    struct catalog *catalog;
    struct system system; /* of the present connection */
    struct delivery delivery;
    struct bounds bounds;
    struct pipeline pipeline;
    struct rows rows;
    struct sieve *sieve; /* NULL = messages go straight to the pipeline */
    struct stream stream;
    struct slot_copy copy; /* --peek: of a slot that somebody else reads, on this connection */
    PGconn *observer; /* of a standby's timeline, beside the stream; NULL = not needed so far */
    bool prepared; /* the first connect has been made: pipeline and bounds are there */
    usec_t patience; /* with a server that is silent; 0 = as long as a sender has with us */
    bool let_go;   /* ... while the end of the output was waited for */
    bool stalled;  /* the connection was given up because the reader stands still */
    bool begun;    /* nothing is on record, but rows may have been given: there is a position */
    bool created;  /* this run has created the slot */
    bool streamed; /* a stream has been started in this run */
    bool refused;  /* the first start of one was, for good */
    bool elsewhere; /* the last connect has found a server that another host may be better than */
    bool over;     /* a transport has given what it is good for: the next connect is by the other */
    bool unfit;    /* SQL is no way for this server or slot */
    bool started;  /* streaming was asked for, on the present connection */
    lsn_t snapshot_end; /* mode snapshot: changes up to there belong to it; 0 = not known yet */
    bool renewed;  /* when_needed has begun anew, and rows have not been given since */
    struct meter meter; /* what is told of the run */
};

/* Locks and reads the state file; no server is asked.  Takes the connector over; NULL: makes one. */
enum outcome session_open(struct session *s, const struct options *o, struct connector *connector);

/*
 * What session_connect() asks before it changes anything, in its order; --check asks the same.
 *
 * The server: which it is, with which plugin *slot is read, if that exists, and whether it knows all
 * that was asked for.
 */
enum outcome session_look_at_server(struct session *s, PGconn *sql, PGconn *walsender,
                                    struct slot *slot);

/* Whether it has our position, and the slot is one that the run can read from there. */
enum outcome session_look_at_slot(struct session *s, PGconn *sql, PGconn *walsender,
                                  struct slot *slot);

/* Whether a slot that is missing has to be there. */
enum outcome session_look_for_slot(struct session *s, const struct slot *slot);

/* The tables that were selected, and how their rows are read.  OUTCOME_OK: the pipeline is there. */
enum outcome session_look_at_tables(struct session *s, PGconn *sql, const struct slot *slot);

/* Where it is to begin; false in *needed: with nothing left to do there, it ends. */
enum outcome session_look_at_start(const struct session *s, PGconn *sql, const struct slot *slot,
                                   bool *needed);

/* Connects and starts the stream behind delivery.emitted; the first time creates what is missing. */
enum outcome session_connect(struct session *s);

/* Drops the connections, keeping the place in the stream. */
void session_disconnect(struct session *s);

/*
 * Before a position goes on record.  A standby that is promoted, or whose primary changes, goes on
 * streaming without a word, along another timeline.  That one is put into the state: all that has
 * been sent by now lies on the history of the timeline that the server is on now.
 */
enum outcome session_follow_timeline(struct session *s);

/*
 * when_needed, after the position was found to be lost: everything begins anew with the next
 * connect, behind what the output holds; a slot that is of no use is dropped.
 */
enum outcome session_renew(struct session *s);

/* Whether there is a position that the run goes on from. */
bool session_has_position(const struct session *s);

/*
 * At the end, when there is no stream to do it by: tells the slot what is on record.  That it cannot
 * be told is no failure: it is told by the next run.
 */
void session_tell_slot(struct session *s);

/* Whether the run reads rows only and has no stream. */
static inline bool session_is_rows_only(const struct session *s)
{
    return s->o->mode == MODE_INITIAL_ONLY;
}

/* --peek: nothing on the server is changed, above all not the slot. */
static inline bool session_only_looks(const struct session *s)
{
    return s->o->action == ACTION_PEEK;
}

/* Whether a run of a mode that ends by itself has come to that end, and not to another bound. */
bool session_is_complete(const struct session *s);

/*
 * What is left of the slot in the end: dropped where --drop-slot-on-stop says so, where the mode
 * leaves none behind, and where this run has made it and given nothing that the next one could go
 * on from.  orderly: the run has ended in good order.
 */
enum outcome session_leave_slot(struct session *s, bool orderly);

void session_close(struct session *s);

#endif
