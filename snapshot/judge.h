/*
 * judge - whether a change of the stream is given or left out, by what rows have told or will tell
 * (the rule stands in coverage.h).
 */
#ifndef SNAPSHOT_JUDGE_H
#define SNAPSHOT_JUDGE_H

#include "cdcdump.h"
#include "snapshot/coverage.h"

/* How a transaction of the stream stands to the steps. */
struct judge {
    struct coverage *coverage;
    uint32_t xid;
    uint64_t seen_from; /* the first step whose snapshot sees it; UINT64_MAX = none does */
};

void judge_begin(struct judge *j, struct coverage *c, uint32_t xid);

enum verdict {
    VERDICT_GIVE,
    VERDICT_LEAVE_OUT,
    VERDICT_GIVE_DELETE, /* of an update, only that the old row is gone */
    VERDICT_GIVE_INSERT, /* of an update, only that there is a new row */
    VERDICT_UNKNOWN,     /* the change does not say which row it is about: logged */
};

/* t: the table that the change's relation is. */
enum verdict judge_change(const struct judge *j, struct covered_table *t, const struct change *c,
                          struct comparer *comparer);

#endif
