/*
 * bounds - when a capture ends by itself: --until, --count, --idle-exit, --max-time.
 *
 * All of them end it between two transactions, never within one.
 */
#ifndef CAPTURE_BOUNDS_H
#define CAPTURE_BOUNDS_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/catalog.h"

struct bounds {
    lsn_t last_commit; /* a commit record behind this LSN is out of bounds; 0 = no such bound */
    lsn_t stop_at;     /* the end has come when the stream has reached this LSN; 0 = likewise */
    bool was_now;      /* which was the end of the WAL when it was chosen */
    usec_t until_time; /* likewise by commit time; 0 = no such bound */
    uint64_t count;    /* records; 0 = no such bound */
    usec_t idle;       /* 0 = no such bound */
    usec_t deadline;   /* in ticks; 0 = no such bound */
};

/* Asks the server what "now" or a timestamp means, at the start of the run. */
enum outcome bounds_init(struct bounds *b, const struct options *o, PGconn *sql);

/* What has committed before lsn is the end, where no earlier one has been asked for. */
void bounds_end_at(struct bounds *b, lsn_t lsn);

/*
 * Whether its commit record is known to begin behind them: then nothing within the bounds comes after
 * it, and the next run can begin right behind them.
 */
bool bounds_are_passed(const struct bounds *b, const struct transaction *t, lsn_t from);

/*
 * Whether the transaction, the first change of which lies at `from` (0 = not known), is known to lie
 * beyond the bounds.  Plugins that tell of the commit at the end only leave that open before.
 */
bool bounds_exclude(const struct bounds *b, const struct transaction *t, lsn_t from);

/* Whether the end has come, now that everything before lsn has been seen. */
bool bounds_reached(const struct bounds *b, lsn_t lsn);

/*
 * A keepalive brought the server's clock: when --until's time has passed there, the end of the WAL
 * is looked up once and becomes the bound.
 */
enum outcome bounds_server_time(struct bounds *b, usec_t server_now, struct catalog *catalog);

/* Whether count, idle time or the time limit say that it is enough. */
bool bounds_spent(const struct bounds *b, uint64_t records, usec_t ticks, usec_t last_change);

/* Whether the run waits for the stream to get somewhere, so that keepalives should be prompt. */
static inline bool bounds_waiting(const struct bounds *b)
{
    return b->stop_at != 0 || b->until_time != 0;
}

#endif
