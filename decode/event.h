/*
 * event - what a decoding plugin tells, whichever it is.
 *
 * The same change is the same event from every plugin.  What a plugin does not say is missing in
 * the same way everywhere: a commit_lsn or commit_time of 0, a value that is VALUE_ABSENT,
 * VALUE_UNCHANGED or VALUE_LOST, an old row that is NULL.
 */
#ifndef DECODE_EVENT_H
#define DECODE_EVENT_H

#include "cdcdump.h"

enum event_kind {
    EVENT_NONE,     /* the message has no more to tell */
    EVENT_BEGIN,    /* transaction: all but end_lsn is known, as far as the plugin tells it at all */
    EVENT_COMMIT,   /* transaction: whole; end_lsn 0 = this is no position to go on from */
    EVENT_PREPARE,  /* transaction: ends here, its fate is open */
    EVENT_COMMIT_PREPARED,
    EVENT_ROLLBACK_PREPARED,
    EVENT_RELATION, /* relation: described by the stream, for the first time or otherwise than before */
    EVENT_CHANGE,   /* change; its relation may be new as well, and is `described` or not */
    EVENT_TRUNCATE, /* relations, ntruncated */
    EVENT_MESSAGE,  /* message */
};

/*
 * Borrows from the decoder and from the payload until the decoder is asked for the next event.
 * Only the members named behind the kind have a meaning.  Changes and messages are not numbered
 * here.
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

#endif
