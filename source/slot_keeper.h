/*
 * slot_keeper - the slot itself, while its changes are read from copies (source/slot_reader.h).
 *
 * Nobody holds the slot then: it is looked at now and then, and moved on to what is on record, over
 * a session of its own and without waiting.  Moving decodes from the slot's restart_lsn on, without
 * output: it is done seldom enough to cost little.
 */
#ifndef SOURCE_SLOT_KEEPER_H
#define SOURCE_SLOT_KEEPER_H

#include "source/connection.h"

struct slot_keeper {
    struct connector *connector; /* borrowed, like the name */
    const char *slot;
    PGconn *conn;      /* owned */
    bool busy;         /* a question is on its way, */
    bool moves;        /* one that moves the slot */
    lsn_t told;        /* where the slot is, as it was last seen */
    lsn_t goal;        /* where it is to be; never moved back */
    usec_t asked_at;   /* ticks of the last question */
    usec_t next;       /* ticks before which the slot is not moved again */
    lsn_t wal_end;     /* up to where changes can be read: as answered last, */
    usec_t server_now; /* at that time of the server */
};

enum slot_keeper_step {
    SLOT_KEEPER_NONE,     /* no answer yet, or no question */
    SLOT_KEEPER_ANSWERED, /* wal_end and server_now are new */
    SLOT_KEEPER_DISTURBED, /* others have moved or dropped the slot, which has been logged */
    SLOT_KEEPER_FAILED,   /* logged: see *outcome */
};

/* told: where the slot is. */
void slot_keeper_init(struct slot_keeper *k, struct connector *connector, const char *slot,
                      lsn_t told);

/* Connects, so that it is known before anything is read whether that can be. */
enum outcome slot_keeper_open(struct slot_keeper *k);

/*
 * Asks how far the WAL goes, if look; moves the slot if it is behind its goal and that is due.
 * While a question is on its way nothing happens.  False: the connection is lost (not logged).
 */
bool slot_keeper_ask(struct slot_keeper *k, bool look);

/* Reads from the socket what is there; false when the connection is lost (not logged). */
bool slot_keeper_receive(struct slot_keeper *k);

enum slot_keeper_step slot_keeper_take(struct slot_keeper *k, enum outcome *outcome);

/* Moves the slot to its goal at last, and waits for that, after a signal not long; then closes. */
void slot_keeper_finish(struct slot_keeper *k);

void slot_keeper_close(struct slot_keeper *k);

#endif
