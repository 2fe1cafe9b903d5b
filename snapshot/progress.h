/*
 * progress - what a snapshot tells people while it runs, on standard error by way of base/log; with
 * the clockwork and the rates of any such report, which capture/meter uses for the stream.
 *
 * On a terminal a status line, redrawn four times a second and erased by whatever else is said:
 *
 *     snapshot: public.products  412,000 rows  305,000 rows/s  41%  3s left
 *
 * With --stats, terminal or not, a message at every interval, for programs: exact, one space
 * between its parts and none within, but for what the name of the table contains:
 *
 *     snapshot: table=public.products rows=412000 rows_per_second=304861 bytes=98880000
 *         bytes_per_second=73166640 share=0.41 seconds_left=3                 (on one line)
 *
 * What is not known is left out.  Rates are those of the last five seconds, or since the last look
 * where that is longer ago; the line rounds them to three digits, so that they can be read.  The
 * time left follows from the share that has been done in the time since progress_init().  A share
 * is rounded down: 100% is all.
 *
 * Messages are log_notice_figures(): in JSON the figures are members.
 *
 * Every `now` is of clock_ticks(); one that goes back or stands still does no harm.
 */
#ifndef SNAPSHOT_PROGRESS_H
#define SNAPSHOT_PROGRESS_H

#include "base/buf.h"
#include "cdcdump.h"

/* How far the snapshot is; counts begin with 0 at progress_init(). */
struct progress_figures {
    const char *table; /* that is being read, as a person writes it; NULL = none */
    uint64_t rows;     /* of all tables */
    uint64_t bytes;    /* of their records */
    double share;      /* of everything, 0 to 1, and may be an estimate; negative = unknown */
};

/* What rates are measured against. */
struct progress_sample {
    usec_t at;
    uint64_t count; /* rows, or records of the stream */
    uint64_t bytes;
};

enum { PROGRESS_SAMPLES = 32 };

/* Owns nothing that has to be released. */
struct progress {
    bool line;    /* the status line is wanted */
    usec_t every; /* interval of the messages, 0 = none are wanted */
    usec_t started;
    usec_t next_line;
    usec_t next_stats;
    struct progress_sample samples[PROGRESS_SAMPLES]; /* a ring */
    unsigned oldest;
    unsigned count; /* at least 1 */
};

/* line: stderr is a terminal, and a status line is welcome; every: --stats, 0 = off. */
void progress_init(struct progress *p, bool line, usec_t every, usec_t now);

/* As of progress_init() for the rates: what came before tells nothing. */
void progress_restart(struct progress *p, uint64_t count, uint64_t bytes, usec_t now);

/* Ticks when progress_show() has something to do next; INT64_MAX = never. */
usec_t progress_due(const struct progress *p);

/* Prints what is due; costs next to nothing when nothing is. */
void progress_show(struct progress *p, const struct progress_figures *f, usec_t now);

/*
 * The snapshot is complete: erases the line and says "read 1,003,221 rows of 3 tables in 2.1
 * seconds".  Nothing is due any more.  A snapshot that fails needs no call: the error erases the
 * line.
 */
void progress_end(struct progress *p, const struct progress_figures *f, unsigned tables,
                  usec_t now);

/* ---- for other reports ---- */

/* What is due now; both move on to their next time. */
struct progress_dues {
    bool line; /* also along with a message, which has erased it */
    bool stats;
};

struct progress_dues progress_take_dues(struct progress *p, usec_t now);

/* Per second; negative = unknown. */
struct progress_rates {
    int64_t count;
    int64_t bytes;
};

/* Takes the figures as a sample, too. */
struct progress_rates progress_rates(struct progress *p, uint64_t count, uint64_t bytes,
                                     usec_t now);

/* 1,234,567, whatever the locale; the same to three digits; 3s, 2m05s, 1h12m. */
void progress_add_grouped(struct buf *b, uint64_t n);
void progress_add_rounded(struct buf *b, uint64_t n);
void progress_add_duration(struct buf *b, int64_t seconds);

#endif
