/*
 * wal2json_internal - what the two formats of wal2json have in common.
 *
 * A format reads a record into its own struct and hands over to one of the functions below, which
 * check it against the state of the decoder and make the event.  Functions that return bool leave
 * what is wrong in w->scan; the callers in wal2json.c log it.
 */
#ifndef DECODE_WAL2JSON_INTERNAL_H
#define DECODE_WAL2JSON_INTERNAL_H

#include "decode/decoder.h"
#include "decode/json_scan.h"
#include "decode/table.h"

struct wal2json {
    struct decoder base;
    struct tables *tables;
    struct json_scan scan;     /* of the message that was taken last */
    lsn_t lsn;                 /* of its wrapper */
    bool document_open;        /* format 1: its "change" array has begun and not ended */
    bool document_here;        /* ... and has begun in this message */
    bool document_commits;     /* ... and is a transaction */
    const char *start;         /* of the change or message at hand, for errors */
    struct sent_change change; /* the one at hand; its columns are owned */
    enum outcome outcome;      /* of the tables, where they failed */
};

/* ---- the formats ---- */

/* Reads a message from the value of its first key on. */
bool wal2json_v2_take(struct wal2json *w, const struct slice *first, struct event *e);
bool wal2json_v1_take(struct wal2json *w, const struct slice *first, struct event *e);

/* Goes on in the document that is open, up to an event or the end of the message. */
bool wal2json_v1_next(struct wal2json *w, struct event *e);

/* ---- for the formats: keys and values ---- */

/* What is wrong with the change or message at hand as a whole; false. */
bool wal2json_misfit(struct wal2json *w, const char *wrong);

/* Marks key number `key`, which has just been read, as seen; false when it has been seen before. */
bool wal2json_once(struct wal2json *w, const struct slice *name, unsigned *seen, unsigned key);

/* "16/B374D848" */
bool wal2json_lsn(struct wal2json *w, lsn_t *lsn);

/* "2026-11-21 14:46:48.154068+00" */
bool wal2json_time(struct wal2json *w, usec_t *time);

/* The name of a type, which is not always a JSON string. */
bool wal2json_type(struct wal2json *w, struct slice *type);

/* The next column of a row, zeroed; NULL when there are too many. */
struct sent_column *wal2json_add_column(struct wal2json *w, struct sent_row *row);

/* ---- for the formats: events ---- */

/* d->transaction has been filled in. */
bool wal2json_begin(struct wal2json *w, struct event *e);
bool wal2json_commit(struct wal2json *w, struct event *e);

/* Makes the event of w->change, which may be a truncation. */
bool wal2json_change(struct wal2json *w, struct event *e);

/* Makes the event of e->message. */
bool wal2json_message(struct wal2json *w, struct event *e);

#endif
