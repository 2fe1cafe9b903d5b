/*
 * ledger - which position is reached when how many bytes of output have been accepted.
 *
 * One entry per transaction end or keepalive, oldest first, offsets and LSNs rising.  The ledger
 * has a fixed size: when it is full every second entry goes, which only makes acknowledgement
 * coarser, never wrong, for a later entry always covers an earlier one.
 */
#ifndef DELIVER_LEDGER_H
#define DELIVER_LEDGER_H

#include "cdcdump.h"

enum { LEDGER_SIZE = 16384 };

struct ledger_entry {
    uint64_t end; /* offset behind the last byte that belongs to it */
    lsn_t shown;  /* the highest LSN that records between the entry before and this one carry */
    struct position position;
};

struct ledger {
    struct ledger_entry entries[LEDGER_SIZE];
    size_t first; /* index of the oldest */
    size_t count;
};

#define LEDGER_ANY_LSN UINT64_MAX

/*
 * Notes that everything up to offset `end` covers position; shown: see struct ledger_entry.  With no more
 * than the last entry had, the position takes the place of that one's.
 */
void ledger_add(struct ledger *l, uint64_t end, lsn_t shown, const struct position *position);

/*
 * Takes out, from the oldest on, all entries that `taken` bytes cover and that show nothing beyond
 * `shown`; *last is the latest of them, if any (true).
 */
bool ledger_take(struct ledger *l, uint64_t taken, lsn_t shown, struct ledger_entry *last);

#endif
