/*
 * slot_reader - pieces of a slot's changes, through the server's slot functions.
 *
 * A reader is an ordinary session with a temporary copy of the slot (source/slot_copy.h), which it may
 * consume as it likes: the slot itself is not touched, and what a crash leaves behind goes with the
 * session.  A piece is what has committed between two positions.  The server decodes all of it first,
 * from the copy's restart_lsn on, keeps the result (work_mem, then a temporary file), and sends it then;
 * so while one reader's piece is sent another's can be decoded.
 *
 * Where a piece ends: the functions stop behind the first record that ends at `upto` or beyond
 * (PostgreSQL source, pg_logical_slot_get_changes_guts()), a transaction belongs to it when its commit
 * record begins before that, and a copy that is at a position leaves out what begins before it.  So
 * pieces of two readers fit together where no gap between records holds the position, as there can be
 * at the beginning of a page: slot_reader_round() gives positions elsewhere.
 */
#ifndef SOURCE_SLOT_READER_H
#define SOURCE_SLOT_READER_H

#include "source/connection.h"
#include "source/fetcher.h"
#include "source/stream.h"

struct slot_reader {
    struct fetcher fetcher;
    struct slot_copy copy;
    lsn_t at;      /* position of the copy: everything that committed before it has been given */
    lsn_t restart; /* where the next piece begins to be decoded */
    lsn_t from;    /* of the piece that was asked for last */
    lsn_t upto;    /* likewise; 0 = none, or its end has been taken */
    bool behind;   /* the copy could not be advanced to there */
    bool headed;   /* the head of the COPY has been seen */
    char *rows;    /* of the message at hand, those that have not been given yet */
    size_t left;   /* bytes */
};

/*
 * Connects, copies the slot, and finds out which of the plugin's options the server takes: those
 * that it does not know are taken out of *chosen.  s: whose errors and notices they are.
 *
 * Other than OUTCOME_OK: logged; close it all the same.
 */
enum outcome slot_reader_open(struct slot_reader *r, struct stream *s, struct connector *connector,
                              const struct options *o, struct plugin_options *chosen);

void slot_reader_close(struct slot_reader *r);

/* The plugin's options as slot_reader_ask() wants them; the caller frees them. */
char *slot_reader_arguments(const struct slot_reader *r, const struct options *o,
                            const struct plugin_options *chosen);

/* The nearest position at or below lsn that two pieces can meet at. */
lsn_t slot_reader_round(lsn_t lsn);

/*
 * Asks for the piece between two positions; from: not before `at`.  arguments: the plugin's options as
 * plugin_add_options() writes them.  The reader must be idle.  False: the connection is lost.
 */
bool slot_reader_ask(struct slot_reader *r, lsn_t from, lsn_t upto, const char *arguments);

enum slot_reader_step {
    SLOT_READER_MESSAGE, /* *m is one, until the next step */
    SLOT_READER_WAIT,    /* nothing more has arrived */
    SLOT_READER_DONE,    /* the piece has been given: `at` and `restart` are known, it is idle */
    SLOT_READER_LOST,    /* the connection (not logged) */
    SLOT_READER_FAILED,  /* fetcher.result is what the server said; not logged */
    SLOT_READER_BROKEN,  /* it is not what the functions give; logged */
};

enum slot_reader_step slot_reader_next(struct slot_reader *r, struct stream_message *m);

#endif
