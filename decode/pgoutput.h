/*
 * pgoutput - the payloads of PostgreSQL's own decoding plugin -> events.
 *
 * Layouts: PostgreSQL documentation, "Logical Replication Message Formats", protocol versions 1
 * and 3 (two-phase commit), without streaming of unfinished transactions.  All integers are
 * big-endian, strings end in NUL, times count from 2000.
 *
 * The decoder trusts nothing: an unknown tag, a length that points past the end, bytes left over,
 * a tuple that does not fit its relation, an event outside of the order Begin … Commit: each is
 * an error that names the LSN, and the decoder is then of no further use but to be released.
 */
#ifndef DECODE_PGOUTPUT_H
#define DECODE_PGOUTPUT_H

#include "cdcdump.h"
#include "decode/relation.h"

enum event_kind {
    EVENT_NONE,     /* nothing that anyone needs to know (Type, Origin) */
    EVENT_BEGIN,    /* transaction: all but end_lsn is known */
    EVENT_COMMIT,   /* transaction: whole */
    EVENT_PREPARE,  /* transaction: ends here, its fate is open */
    EVENT_COMMIT_PREPARED,
    EVENT_ROLLBACK_PREPARED,
    EVENT_RELATION, /* relation: described for the first time, or otherwise than before */
    EVENT_CHANGE,   /* change */
    EVENT_TRUNCATE, /* relations, ntruncated */
    EVENT_MESSAGE,  /* message */
};

/*
 * Borrows from the decoder and from the payload until the next pgoutput_decode().  Only the
 * members named behind the kind have a meaning.  Changes and messages are not numbered here.
 */
struct event {
    enum event_kind kind;
    lsn_t lsn; /* of the wrapper message; 0 = the server did not say */
    const struct transaction *transaction; /* NULL outside of one */
    struct relation *relation;
    struct change change;
    struct relation *const *relations;
    uint32_t ntruncated;
    struct message message;
};

struct pgoutput {
    struct relations relations;
    struct transaction transaction;
    bool in_transaction;
    lsn_t last_commit; /* commit_lsn of the last commit of a change; survives a restart */
    char gid[201];     /* PostgreSQL's identifiers of prepared transactions have 199 bytes at most */
    struct value *old_row;
    struct value *new_row;
    struct relation **truncated;
    uint32_t truncated_cap;
};

/* last_commit: what an earlier run knew, 0 for nothing. */
void pgoutput_init(struct pgoutput *d, lsn_t last_commit);
void pgoutput_release(struct pgoutput *d);

/* A new connection: its stream starts outside of a transaction and describes relations anew. */
void pgoutput_restart(struct pgoutput *d);

/* Decodes one payload; false after an error, which has been logged. */
bool pgoutput_decode(struct pgoutput *d, lsn_t lsn, const char *payload, size_t len,
                     struct event *e);

#endif
