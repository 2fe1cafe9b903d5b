/*
 * check - --check: whether a capture with these options would start, and what to do where not.
 *
 * It asks what a capture asks, by the same functions (capture/session.h), in the same order, and
 * goes on where that would end; and it looks at what a capture finds out by trying: what may be
 * created, what there is room for, what will be missing in the records.  Nothing is changed: no
 * slot, no publication, no replica identity, no state file, no output.
 *
 * Each part adds to the findings of a struct check; what a part needs and is not there (no
 * connection, no table), it passes over.
 */
#ifndef ACTIONS_CHECK_H
#define ACTIONS_CHECK_H

#include <libpq-fe.h>

#include "actions/findings.h"
#include "capture/session.h"
#include "cdcdump.h"
#include "cli/options.h"

struct check {
    struct session session; /* as that of a capture, but nothing is opened for writing */
    struct findings found;
    PGconn *sql;       /* NULL = there is no connection */
    PGconn *walsender; /* likewise */
    struct slot slot;
    bool needs_slot; /* the capture would read from one, */
    bool makes_slot; /* which it would create */
    bool planned;    /* the session has a pipeline and a plan of the rows */
};

/*
 * Prints the findings.  OUTCOME_OK: a capture would start; else what it would end with, which is
 * said by the first error.
 */
enum outcome check_run(const struct options *o);

#endif
