#include "deliver/ledger.h"

static struct ledger_entry *entry(struct ledger *l, size_t i)
{
    return &l->entries[(l->first + i) % LEDGER_SIZE];
}

/* Drops every second entry, the last one never; what they show is the next one's to show. */
static void thin_out(struct ledger *l)
{
    size_t kept = 0;

    for (size_t i = 1; i < l->count; i += 2) {
        lsn_t before = entry(l, i - 1)->shown;

        *entry(l, kept) = *entry(l, i);
        if (before > entry(l, kept)->shown)
            entry(l, kept)->shown = before;
        kept++;
    }
    if (l->count % 2 == 1)
        *entry(l, kept++) = *entry(l, l->count - 1);
    l->count = kept;
}

void ledger_add(struct ledger *l, uint64_t end, lsn_t shown, const struct position *position)
{
    struct ledger_entry *last = l->count ? entry(l, l->count - 1) : NULL;

    if (last && last->end == end) {
        last->position = *position;
        return;
    }
    if (l->count == LEDGER_SIZE)
        thin_out(l);
    *entry(l, l->count++) = (struct ledger_entry){.end = end, .shown = shown, .position = *position};
}

bool ledger_take(struct ledger *l, uint64_t taken, lsn_t shown, struct ledger_entry *last)
{
    bool found = false;

    while (l->count > 0 && l->entries[l->first].end <= taken && l->entries[l->first].shown <= shown) {
        *last = l->entries[l->first];
        l->first = (l->first + 1) % LEDGER_SIZE;
        l->count--;
        found = true;
    }
    return found;
}
