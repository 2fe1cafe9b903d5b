/*
 * decoder - the payloads of a decoding plugin -> events.
 *
 *     outcome = decoder_take(d, lsn, payload, len, &e);
 *     for (; outcome == OUTCOME_OK && e.kind != EVENT_NONE; outcome = decoder_next(d, &e))
 *         …
 *
 * One interface, a kind per format: pgoutput.h, wal2json.h, decoderbufs.h, test_decoding.h.  A
 * decoder trusts nothing: what does not have the form that its plugin gives, or comes outside of
 * the order Begin … Commit, is an error that names the LSN (and, in texts, the byte).  Where it was a
 * change in a transaction (in_change) the next message can be taken all the same; else the decoder is
 * of no further use but to be freed.
 */
#ifndef DECODE_DECODER_H
#define DECODE_DECODER_H

#include "decode/event.h"
#include "decode/relation.h"

struct decoder;
struct charset;   /* what the plugin's texts are converted by: charset.h */
struct describer; /* who tells of tables that the plugin only names: table.h */

/* A format.  Only take is there in all of them. */
struct decoder_kind {
    const char *name;
    size_t size;    /* of the struct, which begins with a struct decoder */
    bool unconverted; /* texts come in the encoding of the database */
    void (*init)(struct decoder *d);
    void (*release)(struct decoder *d);
    void (*restart)(struct decoder *d);
    enum outcome (*take)(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e);
    enum outcome (*next)(struct decoder *d, struct event *e);
    void (*keepalive)(struct decoder *d, lsn_t wal_end, struct event *e);
};

/* What all formats have; the members are to be read by everyone and written by decoders. */
struct decoder {
    const struct decoder_kind *kind;
    struct describer *describer; /* borrowed; NULL where none is needed */
    struct charset *charset;     /* NULL where texts come in UTF-8 */
    struct relations relations;
    struct transaction transaction;
    bool in_transaction;
    bool in_change; /* the message at hand is a change in a transaction: it can be left out, see below */
    lsn_t last_commit;     /* commit_lsn of the last commit of a change; survives a restart */
    char gid[201];         /* PostgreSQL's identifiers of prepared transactions: 199 bytes at most */
    struct value *old_row; /* RELATION_MAX_COLUMNS each */
    struct value *new_row;
    uint32_t settled;      /* all transactions before this one had ended when the stream began; 0 = not known */
    struct relation **truncated; /* ntruncated of the event, with room for truncated_cap */
    uint32_t truncated_cap;
    bool silent;      /* warns of nothing: it looks ahead of another decoder of the same stream */
    bool nan_is_null; /* numbers that are NaN or infinite come as null: see wal2json.h */
};

/* What a decoder is made for and with.  Borrowed members stay with the caller. */
struct decoder_setup {
    const struct decoder_kind *kind;
    struct describer *describer;
    const char *encoding; /* of the database, as the server calls it; NULL for UTF8 */
    lsn_t last_commit;    /* what an earlier run knew, 0 for nothing */
};

/* NULL, with the cause logged (OUTCOME_MISUSED), when the encoding cannot be converted here. */
struct decoder *decoder_new(const struct decoder_setup *setup);
void decoder_free(struct decoder *d);

/*
 * A new connection: its stream starts outside of a transaction.  Relations are kept: one that has
 * not changed meanwhile need not be looked up again.
 */
void decoder_restart(struct decoder *d);

/* The rest of the transaction that has just begun is not wanted, and none comes after it. */
void decoder_leave(struct decoder *d);

/*
 * Takes one message and gives its first event.  The payload stays the caller's, may be rewritten
 * in place, and has to stay where it is until the last event has been dealt with.
 */
enum outcome decoder_take(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e);

/* The next event of the same message. */
enum outcome decoder_next(struct decoder *d, struct event *e);

/* Whether a message can be more than one event. */
static inline bool decoder_gives_many(const struct decoder *d)
{
    return d->kind->next != NULL;
}

/*
 * All that committed before wal_end has been sent.  Formats that do not tell where transactions
 * end may learn it from that.  At most one event.
 */
void decoder_keepalive(struct decoder *d, lsn_t wal_end, struct event *e);

/* ---- for the formats ---- */

/* A transaction begins or ends: decoder->transaction, which *e then tells of. */
void decoder_begin(struct decoder *d, struct event *e);
void decoder_end(struct decoder *d, struct event *e, enum event_kind kind);

/* Makes gid that of the transaction; false when it is too long to be one. */
bool decoder_keep_gid(struct decoder *d, const char *gid, size_t len);

/* Room for n relations in d->truncated. */
void decoder_reserve_truncated(struct decoder *d, uint32_t n);

/*
 * Unchanged values that the old row has: with identity FULL any, else those of the key.  Never a
 * null, which is not stored out of line.
 */
void decoder_fill_unchanged(const struct relation *relation, const struct value *old,
                            struct value *new);

#endif
