/*
 * dead_letter - what cannot be decoded or encoded, with the reason, in a file of its own.
 *
 * Each is a line of JSON: lsn, commit_lsn, xid, seq, schema, table (null where not known), reason (the
 * message that would have ended the run) and bytes (base64): the plugin's message as it came, or of a
 * row that was read the values as a line of COPY's text format.  Lines are appended; they are durable
 * before a position behind them goes on record.
 */
#ifndef DELIVER_DEAD_LETTER_H
#define DELIVER_DEAD_LETTER_H

#include "base/buf.h"
#include "cdcdump.h"

struct dead_letters {
    const char *path; /* NULL = there is no such file, and none of this does anything */
    int fd;
    bool transient; /* no regular file: nothing can be made durable */
    bool unsynced;
    uint64_t count;     /* written in this run */
    struct buf message; /* the one at hand: it is rewritten while it is decoded */
    struct buf reason;  /* what was logged of it, as it would have been printed */
};

/* What is known of one. */
struct dead_letter {
    lsn_t lsn;
    lsn_t commit_lsn;
    uint32_t xid;
    uint32_t seq;
    const struct relation *relation; /* or NULL */
};

/* Opens the file, or makes it. */
enum outcome dead_letters_open(struct dead_letters *dl, const char *path);

/* Keeps the bytes that dead_letters_add() will write. */
void dead_letters_keep(struct dead_letters *dl, const char *bytes, size_t len);
void dead_letters_keep_row(struct dead_letters *dl, const struct relation *r, const struct value *row);

/* Errors are kept as the reason from now on, and not printed; until dead_letters_heed(). */
void dead_letters_listen(struct dead_letters *dl);

/*
 * No more.  What an outcome that does not concern the message was logged with is printed now; true
 * when it does: then the reason is that of dead_letters_add().
 */
bool dead_letters_heed(struct dead_letters *dl, enum outcome outcome);

/* Prints the reason after all: the message cannot be left out. */
void dead_letters_give_up(struct dead_letters *dl);

/* Writes one. */
enum outcome dead_letters_add(struct dead_letters *dl, const struct dead_letter *d);

/*
 * dead_letters_heed() and dead_letters_add() in one.  True: the event has been left out, and *outcome is
 * that of doing so.
 */
bool dead_letters_take(struct dead_letters *dl, enum outcome *outcome, const struct dead_letter *d);

enum outcome dead_letters_sync(struct dead_letters *dl);
void dead_letters_close(struct dead_letters *dl);

#endif
