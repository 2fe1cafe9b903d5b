/*
 * ledger_test - which position the ledger gives for how many accepted bytes.
 *
 * What must hold is worked out from the whole list of what was added, which the test keeps and
 * the ledger does not: a position is never ahead of its bytes, the newest is never lost, and
 * entries go missing only when there are too many, and then only so many.
 */
#include "deliver/ledger.h"

#include <stdlib.h>

#include "base/log.h"
#include "tests/unit/tap.h"

static struct position at(lsn_t lsn)
{
    return (struct position){.lsn = lsn, .commit_lsn = lsn - 1, .xid = (uint32_t)lsn,
                             .commit_time = -(usec_t)lsn};
}

/* Whether e is what was added with add(l, end, lsn), whole. */
static bool is_entry(const struct ledger_entry *e, uint64_t end, lsn_t lsn)
{
    return e->end == end && e->position.lsn == lsn && e->position.commit_lsn == lsn - 1 &&
           e->position.xid == (uint32_t)lsn && e->position.commit_time == -(usec_t)lsn;
}

static void add(struct ledger *l, uint64_t end, lsn_t lsn)
{
    struct position position = at(lsn);

    ledger_add(l, end, 0, &position);
}

/* Whether `taken` bytes give exactly the entry (end, lsn). */
static bool gives(struct ledger *l, uint64_t taken, uint64_t end, lsn_t lsn)
{
    struct ledger_entry last = {0};

    return ledger_take(l, taken, LEDGER_ANY_LSN, &last) && is_entry(&last, end, lsn);
}

/* Whether `taken` bytes give nothing, and leave *last alone. */
static bool gives_nothing(struct ledger *l, uint64_t taken)
{
    struct ledger_entry last = {.end = 4711, .position = at(4711)};

    return !ledger_take(l, taken, LEDGER_ANY_LSN, &last) && is_entry(&last, 4711, 4711);
}

static struct ledger *new_ledger(void)
{
    return xcalloc(1, sizeof(struct ledger));
}

/* ---- by hand ---- */

static void test_order(void)
{
    struct ledger *l = new_ledger();

    ok(gives_nothing(l, 0) && gives_nothing(l, UINT64_MAX), "an empty ledger gives nothing");
    add(l, 10, 100);
    add(l, 20, 200);
    add(l, 30, 300);
    ok(gives_nothing(l, 0) && gives_nothing(l, 9), "nothing before the first entry's end");
    ok(gives(l, 10, 10, 100), "the first one with its last byte");
    ok(gives_nothing(l, 10) && gives_nothing(l, 19), "... and only once");
    ok(gives(l, 30, 30, 300), "the latest of several");
    ok(l->count == 0 && gives_nothing(l, UINT64_MAX), "... which takes the others along");
    add(l, 40, 400);
    ok(gives(l, UINT64_MAX, 40, 400), "bytes beyond the last entry give the last entry");
    add(l, UINT64_MAX, 500);
    ok(gives_nothing(l, UINT64_MAX - 1) && gives(l, UINT64_MAX, UINT64_MAX, 500),
       "the largest offset");
    free(l);
}

static void test_equal_offsets(void)
{
    struct ledger *l = new_ledger();

    add(l, 0, 50);
    ok(gives(l, 0, 0, 50), "no bytes need not be waited for");
    add(l, 10, 100);
    add(l, 10, 110);
    add(l, 10, 120);
    ok(l->count == 1, "entries with equal offsets are one");
    ok(gives_nothing(l, 9) && gives(l, 10, 10, 120), "... with the latest position");
    add(l, 10, 130);
    ok(gives(l, 10, 10, 130), "an offset that has been taken can come again");
    add(l, 20, 200);
    add(l, 30, 300);
    add(l, 30, 310);
    ok(gives(l, 29, 20, 200) && gives(l, 30, 30, 310), "the entry before keeps its position");
    free(l);
}

/* The entries lie in a ring: go around it several times with only a few at a time. */
static void test_around(void)
{
    struct ledger *l = new_ledger();
    bool right = true;

    add(l, 1, 1);
    for (uint64_t i = 2; i < 3 * LEDGER_SIZE; i++) {
        add(l, i, i);
        right &= gives(l, i - 1, i - 1, i - 1) && l->count == 1;
    }
    ok(right, "around the ring three times");
    free(l);
}

/* ---- thinning ---- */

/*
 * `skipped` entries go through first, so that the ring is full across its end.  Then one entry
 * more than there is room for, and what is left must be every second one and the new one.
 */
static bool thins_evenly(uint64_t skipped)
{
    struct ledger *l = new_ledger();
    bool right = true;

    for (uint64_t i = 1; i <= skipped; i++) {
        add(l, i, i);
        right &= gives(l, i, i, i);
    }
    for (uint64_t i = 1; i <= LEDGER_SIZE; i++)
        add(l, skipped + i, skipped + i);
    right &= l->count == LEDGER_SIZE;
    add(l, skipped + LEDGER_SIZE, 1); /* an offset that is there needs no room, so nothing goes */
    right &= l->count == LEDGER_SIZE;
    add(l, skipped + LEDGER_SIZE + 1, 2);
    right &= l->count == LEDGER_SIZE / 2 + 1;
    for (uint64_t i = skipped + 1; i < skipped + LEDGER_SIZE; i++)
        right &= (i - skipped) % 2 ? gives_nothing(l, i) : gives(l, i, i, i);
    right &= gives(l, skipped + LEDGER_SIZE, skipped + LEDGER_SIZE, 1);
    right &= gives(l, skipped + LEDGER_SIZE + 1, skipped + LEDGER_SIZE + 1, 2);
    right &= l->count == 0;
    free(l);
    return right;
}

static void test_thinning(void)
{
    static const uint64_t skipped[] = {
        0, 1, 2, LEDGER_SIZE / 2, LEDGER_SIZE - 1, LEDGER_SIZE, LEDGER_SIZE + 17,
    };

    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++)
        ok(thins_evenly(skipped[i]), "full, %llu entries into the ring: every second one goes",
           (unsigned long long)skipped[i]);
}

/* A stuck output: entries come and none is taken, for ever. */
static void test_never_taken(void)
{
    struct ledger *l = new_ledger();
    bool right = true;

    for (uint64_t i = 1; i <= 100 * LEDGER_SIZE; i++) {
        add(l, i, i);
        right &= l->count <= LEDGER_SIZE;
    }
    ok(right, "the ledger stays within its size");
    ok(gives(l, UINT64_MAX, 100 * LEDGER_SIZE, 100 * LEDGER_SIZE), "... and has the last entry");
    free(l);
}

/* What a reader has replied covers what shows no more than that, and has left so far. */
static void test_shown(void)
{
    struct ledger *l = new_ledger();
    struct ledger_entry last = {0};
    struct position position = at(20);

    ledger_add(l, 100, 10, &position);
    position = at(25); /* a keepalive, with no output of its own */
    ledger_add(l, 100, 99, &position);
    position = at(40);
    ledger_add(l, 200, 30, &position);
    ok(!ledger_take(l, 200, 9, &last), "a reply below what is shown covers nothing");
    ok(!ledger_take(l, 99, 10, &last), "... nor does one to what has not left");
    ok(ledger_take(l, 200, 29, &last) && is_entry(&last, 100, 25),
       "the reply to the first covers the keepalive behind it, and not the second");
    ok(ledger_take(l, 200, LEDGER_ANY_LSN, &last) && is_entry(&last, 200, 40), "any LSN covers all");
    free(l);
}

/* Rows can carry a higher LSN than the transactions behind them: replies to those are lower. */
static void test_shown_lower(void)
{
    struct ledger *l = new_ledger();
    struct ledger_entry last = {0};
    struct position position = at(50);

    ledger_add(l, 100, 50, &position); /* rows */
    position = at(55);
    ledger_add(l, 200, 40, &position); /* a transaction */
    ok(!ledger_take(l, 200, 40, &last), "the reply to what comes behind does not cover the rows");
    ok(ledger_take(l, 100, 50, &last) && is_entry(&last, 100, 50), "... theirs does");
    ok(ledger_take(l, 200, 40, &last) && is_entry(&last, 200, 55), "... and then it is good");
    free(l);
}

/* What goes when there are too many is still to be replied to. */
static void test_shown_thinned(void)
{
    struct ledger *l = new_ledger();
    struct ledger_entry last = {0};

    for (uint64_t i = 1; i <= LEDGER_SIZE + 1; i++) {
        struct position position = at(i);

        ledger_add(l, i, i % 2 ? 1000 + i : 1, &position);
    }
    ok(l->count <= LEDGER_SIZE / 2 + 1, "every second entry has gone");
    ok(!ledger_take(l, 2, 1000, &last), "a reply that the first one was not covered by does not cover it");
    ok(ledger_take(l, 2, 1001, &last) && last.end == 2, "... one that it was does");
    free(l);
}

/* ---- against a list of everything, at random ---- */

enum { PHASE = 5 * LEDGER_SIZE, OPERATIONS = 10 * PHASE };

struct model {
    struct ledger_entry *all; /* everything that was ever added, but for what was replaced */
    size_t count;
    size_t taken;       /* all before this one are done with */
    size_t waiting;     /* entries that the ledger can have at most */
    unsigned thinnings; /* since it was empty last */
    size_t inexact;     /* takes that gave an older entry than the list has */
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void model_add(struct model *m, uint64_t end, lsn_t lsn)
{
    if (m->count > m->taken && m->all[m->count - 1].end == end) {
        m->all[m->count - 1].position = at(lsn);
        return;
    }
    if (m->waiting == LEDGER_SIZE) {
        m->waiting /= 2;
        m->thinnings++;
    }
    m->all[m->count++] = (struct ledger_entry){.end = end, .position = at(lsn)};
    m->waiting++;
}

/* How many waiting entries `taken` bytes cover. */
static size_t model_covered(const struct model *m, uint64_t taken)
{
    size_t i = m->taken;

    while (i < m->count && m->all[i].end <= taken)
        i++;
    return i - m->taken;
}

/* Where in the list e is, count for nowhere. */
static size_t model_index(const struct model *m, const struct ledger_entry *e)
{
    for (size_t i = m->taken; i < m->count; i++) {
        if (m->all[i].end == e->end)
            return is_entry(e, e->end, m->all[i].position.lsn) ? i : m->count;
    }
    return m->count;
}

/*
 * Takes from both.  n thinnings leave at most 2^n - 1 entries out between two, so that is how far
 * the ledger may be behind the list; with none it has to be exact.
 */
static bool same_take(struct ledger *l, struct model *m, uint64_t taken)
{
    struct ledger_entry last = {0};
    size_t covered = model_covered(m, taken);
    size_t slack = ((size_t)1 << m->thinnings) - 1;
    bool newest = covered > 0 && m->taken + covered == m->count;
    bool found = ledger_take(l, taken, LEDGER_ANY_LSN, &last);
    size_t given = found ? model_index(m, &last) - m->taken + 1 : 0;

    if (given > covered || given + slack < covered || (newest && given != covered))
        return false;
    m->inexact += given < covered;
    m->taken += covered;
    m->waiting = l->count;
    if (m->taken == m->count)
        m->thinnings = 0;
    return l->count <= LEDGER_SIZE && (l->count == 0) == (m->taken == m->count);
}

/* Adds prevail for a while, then takes, so that the ledger gets full as well as empty. */
static bool random_operation(struct ledger *l, struct model *m, uint64_t *state, unsigned i)
{
    static uint64_t end, lsn, taken;
    bool filling = i / PHASE % 2 == 0;

    if (random_next(state) % 1000 < (filling ? 995 : 300)) {
        end += random_next(state) % 4;
        lsn += 1 + random_next(state) % 100;
        add(l, end, lsn);
        model_add(m, end, lsn);
        return m->thinnings < 20 && l->count == m->waiting;
    }
    if (taken < end)
        taken += random_next(state) % (filling ? 20 : 200); /* beyond the end, now and then */
    return same_take(l, m, taken);
}

static void test_random(void)
{
    struct ledger *l = new_ledger();
    struct model m = {.all = xcalloc(OPERATIONS, sizeof(*m.all))};
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    unsigned thinned = 0;
    unsigned i = 0;

    for (; i < OPERATIONS && random_operation(l, &m, &state, i); i++)
        thinned += m.thinnings > 0;
    ok(i == OPERATIONS, "%d random operations", OPERATIONS);
    if (i < OPERATIONS)
        tap_note("operation %u, %zu entries, %zu in the model", i, l->count, m.waiting);
    ok(thinned > 0 && m.inexact > 0, "... for some of which the ledger had been full");
    free(m.all);
    free(l);
}

int main(void)
{
    test_order();
    test_equal_offsets();
    test_around();
    test_thinning();
    test_never_taken();
    test_shown();
    test_shown_lower();
    test_shown_thinned();
    test_random();
    return tap_done();
}
