/*
 * backlog - the transport through the server's slot functions.
 *
 * The changes between two positions of the WAL are read in pieces, by two readers in turn
 * (source/slot_reader.h): while the piece of one is taken, that of the other is decoded.  How large a
 * piece is follows what it costs: the server decodes each from restart_lsn on, so that within a stretch
 * where that stands still small pieces would cost more and more; and it keeps the result of a piece,
 * so that they must not be too large.  Of the server's disk two results are wanted at a time, each of
 * what the plugin makes of 4 * catch_up_bytes of WAL at most (where nothing else will do, of half of
 * what is decoded again), and of the transactions that began before and end there; on our side
 * nothing but the message at hand is kept.
 *
 * The slot itself is moved behind what is on record (source/slot_keeper.h).
 */
#ifndef SOURCE_BACKLOG_H
#define SOURCE_BACKLOG_H

#include "source/connection.h"
#include "source/stream.h"

struct backlog_setup {
    const struct options *o;     /* borrowed, like the connector */
    struct connector *connector;
    lsn_t start;     /* changes of transactions that commit from there on */
    lsn_t confirmed; /* where the slot is */
    lsn_t end;       /* where the run is to end, if that is known; 0 = the end of the WAL, later on */
    bool stays;      /* looks for more again and again; else STREAM_OVER when little is left */
    bool yields;     /* STREAM_OVER also where this way is not a good one */
};

/* Connects.  Other than OUTCOME_OK: logged, and the stream is to be closed. */
enum outcome backlog_start(struct stream *s, const struct backlog_setup *setup);

#endif
