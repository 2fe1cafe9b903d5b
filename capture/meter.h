/*
 * meter - the figures of a run: what it has done, how fast, and how far it is behind.
 *
 * They are told in four ways: by a line at the bottom of a terminal,
 *
 *     stream: 12,345 events/s  3.1 MB/s  lag 12 kB, 0.4 s  at 0/16B3748
 *
 * with --stats by a message at every interval, for programs (on one line),
 *
 *     stream: events=52100 events_per_second=12345 bytes=13025000 bytes_per_second=3250585
 *         lag_bytes=12288 lag_seconds=0.412 wal_end_age_seconds=0.8 received=0/16B6748
 *         written=0/16B6700 acknowledged=0/16B3748
 *
 * on SIGUSR1 by one for people, and in --metrics-file (metrics.h).  While rows are read, the first
 * two tell of them instead (snapshot/progress.h).  With -q only the file is left.
 *
 * Events are records that were written, rows included; bytes those that the output has taken; both
 * count from the start of the run.  Rates are as in snapshot/progress.h.
 *
 * Lag in bytes: from the position that is acknowledged to the end of the server's WAL.  A walsender
 * of logical changes never tells the latter, only how far it has read itself.  So it is asked for,
 * every few seconds over an ordinary session beside the stream, where any of the above but the
 * signal needs it; wal_end_age_seconds says how old the answer is.  Without it (on the signal
 * alone, or where the session cannot be had) the WAL ends where the server has got: the lag is at
 * least so much.  One that is lost is made anew a minute later, without waiting for that either.
 *
 * Lag in seconds: the greater of two ages, by this machine's clock, 0 when nothing is behind.
 *   - The oldest transaction that was given and is not acknowledged: since it committed.
 *   - The server has WAL that has not been read: the last transaction that was read, since it
 *     committed; but time in which nothing was there to be read, before the WAL was seen to be
 *     further, does not count.
 * Where a batch or a block is accepted as one, its last transaction may stand for it.  It is left
 * out where the plugin does not tell when transactions commit.
 *
 * The figures are counters that the parts of a run keep anyway: nothing here is done per row, and
 * nothing at all while none of it is due.
 */
#ifndef CAPTURE_METER_H
#define CAPTURE_METER_H

#include <libpq-fe.h>

#include "capture/metrics.h"
#include "cdcdump.h"
#include "cli/options.h"
#include "deliver/output.h"
#include "snapshot/progress.h"

struct session;

/* As of one moment. */
struct meter_figures {
    const char *slot;     /* "" = none */
    const char *database; /* "" = not known yet */
    usec_t started;       /* by the clock on the wall */
    usec_t uptime;
    uint64_t records; /* written, rows of tables included */
    uint64_t bytes;   /* taken by the output */
    uint64_t transactions;
    uint64_t reconnects;
    uint64_t dead_letters;
    struct progress_rates rates; /* of records and bytes */
    lsn_t received;
    lsn_t written;      /* end of the last transaction that was given whole */
    lsn_t acknowledged; /* 0 = there is no position yet */
    lsn_t wal_end;      /* of the server; 0 = not known */
    usec_t wal_end_age; /* negative = not known */
    bool asked;         /* it is the server's own word */
    int64_t lag_bytes;  /* negative = not known */
    usec_t lag;         /* likewise */
    usec_t last_commit; /* of what was given; 0 = not known */
    usec_t stalled;     /* the output has taken nothing for so long; 0 = it takes what comes */
    bool connected;
    bool reads_rows;               /* or has read some in this run: */
    struct progress_figures rows;
    bool ended;
    enum outcome outcome; /* how it has, */
};

/* A count that begins anew with the part that keeps it. */
struct meter_counter {
    uint64_t total;
    uint64_t last;
};

/* All zero is a meter that tells nothing by itself and answers meter_report(). */
struct meter {
    const struct options *o;
    struct progress progress; /* of the stream */
    struct metrics metrics;
    usec_t every;        /* that often the file is written */
    usec_t next_metrics; /* ticks */
    usec_t started;      /* ticks */
    usec_t started_at;   /* by the clock on the wall */
    struct meter_counter records, transactions, bytes;
    uint64_t connections; /* that the stream has begun on */
    char *database;       /* owned; NULL = not known yet */
    lsn_t received;       /* also when the connection is gone */
    lsn_t wal_end;
    usec_t wal_end_at;   /* ticks */
    usec_t unread_since; /* the WAL is known to be further than what was read; 0 = it is not */
    usec_t oldest;       /* commit time of the first not acknowledged; 0 = none, or not told, */
    lsn_t oldest_behind; /* behind this acknowledged position */
    bool was_rows;       /* rows were read when it was last looked at */

    PGconn *conn; /* to ask the server by, owned; NULL = not asked */
    bool asked;   /* there has been an answer */
    bool asking;  /* one is awaited */
    bool lost;    /* the session has ended, */
    bool coming;  /* and is being made anew */
    bool for_write;   /* what that waits for */
    usec_t next_ask;  /* ticks */
    usec_t next_look; /* at the answer, or at the session that is lost */

    /* what the loop knows */
    usec_t heard;         /* ticks, of the server's last message that was read */
    usec_t blocked_since; /* the output takes nothing more; 0 = it does */
};

/* Whether a line at the bottom of the terminal is wanted, and not in the way of records. */
bool meter_wants_line(const struct options *o, const struct output *out);

/* The run begins; everything is borrowed until meter_end(). */
void meter_begin(struct meter *m, const struct session *s);

/* A stream, or the reading of rows, has begun on a connection; that is gone now. */
void meter_connected(struct meter *m, const struct session *s, usec_t ticks);
void meter_disconnected(struct meter *m, const struct session *s, usec_t ticks);

/* Before and after the output is opened anew: offsets begin again. */
void meter_output_ends(struct meter *m, const struct session *s);
void meter_output_begins(struct meter *m, const struct session *s);

/* When meter_tend() is wanted, in ticks; INT64_MAX = never. */
usec_t meter_due(const struct meter *m, const struct session *s);

/* Tells what is due; costs next to nothing when nothing is. */
void meter_tend(struct meter *m, struct session *s, usec_t ticks);

/* One message about everything, now. */
void meter_report(struct meter *m, const struct session *s);

/* The run has ended so; before the session is closed: the last word in the file, no line left. */
void meter_end(struct meter *m, const struct session *s, enum outcome outcome);

#endif
