#include "snapshot/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void judge_begin(struct judge *j, struct coverage *c, uint32_t xid)
{
    *j = (struct judge){.coverage = c, .xid = xid, .seen_from = UINT64_MAX};
    for (size_t i = c->nsteps; i-- > 0 && visibility_sees(&c->steps[i].seen, xid);)
        j->seen_from = c->steps[i].step;
}

/* Whether changes are given although the rows of that step show them. */
static bool is_told_again(const struct coverage *c, const struct covered_table *t, uint64_t step)
{
    if (!t->order || t->order->n == 0)
        return false;
    for (size_t i = c->nsteps; i-- > 0;)
        if (c->steps[i].step == step)
            return c->steps[i].again;
    return false;
}

/*
 * Rows up to there have been given without what the transaction has done.  A table that has been
 * begun anew counts from there on, for what comes after the truncation that it was begun anew for.
 * A reader who may have rows from before (uncertain) gets again what the rows show already.
 */
static const struct bound *given_to(const struct judge *j, const struct covered_table *t)
{
    for (size_t i = t->nchunks; i-- > 0;)
        if (t->chunks[i].step < j->seen_from || t->chunks[i].to.kind == BOUND_NONE ||
            is_told_again(j->coverage, t, t->chunks[i].step))
            return &t->chunks[i].to;
    return &t->base;
}

/* A later step has to see the transaction. */
static void owe(const struct judge *j)
{
    struct coverage *c = j->coverage;

    if (j->seen_from != UINT64_MAX || (c->nowed && c->owed[c->nowed - 1] == j->xid))
        return;
    coverage_owe(c, j->xid);
}

static bool is_known(const struct key *k, const struct value *row)
{
    for (uint16_t i = 0; i < k->n; i++) {
        enum value_kind kind = row[k->positions[i]].kind;

        if (kind != VALUE_NULL && kind != VALUE_TEXT)
            return false;
    }
    return true;
}

static bool is_identity(const struct key *k, const struct relation *r)
{
    for (uint16_t i = 0; i < k->n; i++)
        if (!r->columns[k->positions[i]].identity)
            return false;
    return true;
}

/* The row whose key is the one that the change found; NULL: it cannot be told. */
static const struct value *found_row(const struct key *k, const struct change *c)
{
    const struct value *row = c->old_row;

    if (!row && c->op == OP_UPDATE && is_identity(k, c->relation))
        row = c->new_row; /* an old key that is not sent is the new one */
    return row && is_known(k, row) ? row : NULL;
}

static enum verdict cannot_tell(const struct covered_table *t, const struct change *c)
{
    log_error("could not tell which row of table %s the change at " LSN_FMT " is about", t->name,
              LSN_ARGS(c->lsn));
    log_detail("The columns that its rows are read in the order of are not sent with changes.");
    log_hint("Use --replica-identity=full, another --chunk-key, or --snapshot=consistent.");
    return VERDICT_UNKNOWN;
}

/* ---- rows that an update has moved into a chunk that was given already ---- */

/* FNV-1a over the columns of the row's own key. */
static uint64_t hash_row(const struct relation *r, const struct value *row)
{
    uint64_t hash = 14695981039346656037u;

    for (int i = 0; i < r->ncolumns; i++) {
        if (!r->columns[i].key)
            continue;
        for (uint32_t n = 0; n < row[i].len && row[i].kind == VALUE_TEXT; n++)
            hash = (hash ^ (unsigned char)row[i].data[n]) * 1099511628211u;
        hash = (hash ^ 0xff) * 1099511628211u;
    }
    return hash;
}

static bool same_row_key(const struct relation *r, const struct value *a, const struct value *b)
{
    for (int i = 0; i < r->ncolumns; i++)
        if (r->columns[i].key && (a[i].kind != b[i].kind || a[i].len != b[i].len ||
                                  (a[i].len > 0 && memcmp(a[i].data, b[i].data, a[i].len) != 0)))
            return false;
    return true;
}

static bool has_moved(const struct covered_table *t, const struct relation *r,
                      const struct value *row)
{
    return t->nmoved > 0 && row && covered_has_moved(t, hash_row(r, row));
}

static void note_moved(struct covered_table *t, const struct change *c)
{
    uint64_t step = t->nchunks ? t->chunks[t->nchunks - 1].step : 0;

    if (c->old_row)
        covered_add_moved(t, hash_row(c->relation, c->old_row), step);
    if (c->new_row)
        covered_add_moved(t, hash_row(c->relation, c->new_row), step);
}

/* ---- one row ---- */

static enum verdict weigh(bool before, bool after)
{
    if (before)
        return after ? VERDICT_GIVE : VERDICT_GIVE_DELETE;
    return after ? VERDICT_GIVE_INSERT : VERDICT_LEAVE_OUT;
}

/* Whether the row's own key is one that another row can have after the change. */
static bool frees_key(const struct change *c)
{
    if (c->op == OP_DELETE)
        return true;
    return c->op == OP_UPDATE && c->old_row && !same_row_key(c->relation, c->old_row, c->new_row);
}

/*
 * The chunk key is not part of the row's key: the same row, or another one that has taken its key,
 * may have been given at another place, by a later step than the one that the change is judged by.
 * again: the row as the change leaves it is within what has been given by now.
 */
static enum verdict weigh_moving(struct covered_table *t, const struct change *c,
                                 const struct bound *to, enum verdict verdict, bool again,
                                 const struct comparer *comparer)
{
    bool known = has_moved(t, c->relation, c->old_row) || has_moved(t, c->relation, c->new_row);
    bool frees = to != covered_to(t) && (verdict == VERDICT_GIVE_DELETE ||
                                         (verdict == VERDICT_GIVE && frees_key(c)));

    if (comparer->collect)
        return verdict;
    known |= verdict == VERDICT_GIVE_DELETE && again;
    if (known || frees)
        note_moved(t, c);
    if (!known)
        return verdict;
    if (c->op == OP_DELETE || again)
        return VERDICT_GIVE;
    return c->op == OP_INSERT ? VERDICT_LEAVE_OUT : VERDICT_GIVE_DELETE;
}

static enum verdict judge_row(struct covered_table *t, const struct change *c,
                              const struct bound *to, struct comparer *comparer)
{
    struct key *k = t->order;
    const struct value *found = NULL;
    bool before = false, after = false, again = false;
    enum verdict verdict;

    if (!k || !key_locate(k, c->relation))
        return VERDICT_UNKNOWN;
    if (c->op != OP_INSERT && !(found = found_row(k, c)))
        return cannot_tell(t, c);
    if (c->op != OP_DELETE && !is_known(k, c->new_row))
        return cannot_tell(t, c);
    if (found)
        before = key_within(k, found, to, comparer);
    if (c->op != OP_DELETE)
        after = found == c->new_row ? before : key_within(k, c->new_row, to, comparer);
    if (c->op != OP_DELETE && !k->in_row_key)
        again = key_within(k, c->new_row, covered_to(t), comparer);
    if (c->op == OP_UPDATE)
        verdict = weigh(before, after);
    else
        verdict = before || after ? VERDICT_GIVE : VERDICT_LEAVE_OUT;
    return k->in_row_key ? verdict : weigh_moving(t, c, to, verdict, again, comparer);
}

/*
 * Steps that see a truncation give rows that came after it: where there are such steps already and
 * others that do not see it, the table is begun anew behind it.
 */
static enum verdict judge_truncate(const struct judge *j, struct covered_table *t,
                                   const struct bound *to)
{
    struct coverage *c = j->coverage;
    uint64_t last = t->nchunks ? t->chunks[t->nchunks - 1].step : 0;
    bool seen = last > 0 && last >= j->seen_from && !is_told_again(c, t, last);

    if (to->kind == BOUND_NONE) {
        owe(j);
        return c->uncertain && to == covered_to(t) ? VERDICT_GIVE : VERDICT_LEAVE_OUT;
    }
    if (seen) {
        log_verbose("table %s has been truncated while it was read: beginning it anew", t->name);
        c->last++;
        coverage_extend(c, t, &(struct bound){.kind = BOUND_NONE});
        c->complete = c->last;
    }
    return VERDICT_GIVE;
}

enum verdict judge_change(const struct judge *j, struct covered_table *t, const struct change *c,
                          struct comparer *comparer)
{
    const struct bound *to = given_to(j, t);
    enum verdict verdict;

    if (c->op == OP_TRUNCATE)
        return comparer->collect ? VERDICT_GIVE : judge_truncate(j, t, to);
    if (to->kind == BOUND_END)
        return VERDICT_GIVE;
    verdict = to->kind == BOUND_NONE ? VERDICT_LEAVE_OUT : judge_row(t, c, to, comparer);
    if (verdict != VERDICT_GIVE && !comparer->collect)
        owe(j);
    if (!j->coverage->uncertain || to != covered_to(t) || !frees_key(c))
        return verdict;
    /* A row that is still to be read is gone, or goes under another key: it may have been given. */
    if (verdict == VERDICT_LEAVE_OUT && c->op == OP_UPDATE)
        return VERDICT_GIVE_DELETE;
    return verdict == VERDICT_LEAVE_OUT || verdict == VERDICT_GIVE_INSERT ? VERDICT_GIVE : verdict;
}
