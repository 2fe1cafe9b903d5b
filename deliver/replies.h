/*
 * replies - what the reader of the output says that it has dealt with (--ack-mode=reply).
 *
 * One LSN a line, as text (16/B374D848) or as the number that Debezium's envelope has: all
 * transactions up to the one that has committed there are done.  A reader that replies while it is
 * still in the middle of a transaction has not said anything of the rest: a reply covers only what
 * had been taken out of the pipe when it came.  So each is kept with that offset.
 *
 * Replies are read without ever waiting for them.
 */
#ifndef DELIVER_REPLIES_H
#define DELIVER_REPLIES_H

#include "cdcdump.h"
#include "cli/options.h"
#include "deliver/output.h"

enum { REPLY_MAX = 64 }; /* bytes of a line */

struct reply {
    lsn_t lsn;      /* 0 = none */
    uint64_t taken; /* the output's offset up to which the reader had taken it when it came */
};

struct replies {
    int fd;           /* -1 = none */
    bool endless;     /* a FIFO that is held open by us: it has no end */
    bool ended;       /* all who could write replies have gone */
    const char *name; /* for messages */
    char line[REPLY_MAX];
    size_t len;       /* of the line that has begun to come */
    struct reply highest; /* rows are ahead of the transactions that come next: so this one */
    struct reply last;    /* ... and this one, which may be lower */
    uint64_t count;       /* of replies */
};

/* Takes the descriptor of --ack-fd, or opens the FIFO of --ack-file. */
enum outcome replies_open(struct replies *r, const struct options *o);

/*
 * Reads what is there, a good deal at most.  out: what the reader reads, which is asked how far that
 * has got once a reply is there; sent: the highest LSN that has been told to the reader.
 * OUTCOME_OUTPUT_FAILED: a line that is no reply, which is logged; those before it count.
 */
enum outcome replies_read(struct replies *r, const struct output *out, lsn_t sent);

/* Those so far say nothing of what comes. */
void replies_forget(struct replies *r);

void replies_close(struct replies *r);

#endif
