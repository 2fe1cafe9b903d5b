#include "snapshot/coverage.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* ---- tables ---- */

static void free_names(struct string_list *names)
{
    for (size_t i = 0; i < names->count; i++)
        free((void *)(uintptr_t)names->items[i]);
    free(names->items);
    *names = (struct string_list){0};
}

static void clear_chunks(struct covered_table *t)
{
    for (size_t i = 0; i < t->nchunks; i++)
        bound_release(&t->chunks[i].to);
    free(t->chunks);
    t->chunks = NULL;
    t->nchunks = 0;
    bound_release(&t->base);
    free_names(&t->key);
    free(t->moved);
    t->moved = NULL;
    t->nmoved = 0;
    t->filled_to = 0;
}

static void free_table(struct covered_table *t)
{
    clear_chunks(t);
    free(t->name);
    free(t);
}

static void clear_steps(struct coverage *c)
{
    for (size_t i = 0; i < c->nsteps; i++)
        visibility_release(&c->steps[i].seen);
    free(c->steps);
    c->steps = NULL;
    c->nsteps = 0;
}

void coverage_release(struct coverage *c)
{
    for (size_t i = 0; i < c->ntables; i++)
        free_table(c->tables[i]);
    free(c->tables);
    clear_steps(c);
    free(c->owed);
    *c = (struct coverage){0};
}

/* Where oid is, or belongs. */
static size_t place(const struct coverage *c, uint32_t oid)
{
    size_t from = 0, to = c->ntables;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (c->tables[middle]->oid < oid)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct covered_table *coverage_find(const struct coverage *c, uint32_t oid)
{
    size_t at = place(c, oid);

    return at < c->ntables && c->tables[at]->oid == oid ? c->tables[at] : NULL;
}

struct covered_table *coverage_add(struct coverage *c, uint32_t oid, const char *name)
{
    size_t at = place(c, oid);
    struct covered_table *t = xcalloc(1, sizeof *t);

    t->oid = oid;
    t->name = xstrdup(name);
    c->tables = realloc(c->tables, (c->ntables + 1) * sizeof(*c->tables));
    if (!c->tables)
        log_out_of_memory();
    memmove(c->tables + at + 1, c->tables + at, (c->ntables - at) * sizeof(*c->tables));
    c->tables[at] = t;
    c->ntables++;
    c->nunread++;
    return t;
}

void coverage_add_whole(struct coverage *c, uint32_t oid, const char *name)
{
    coverage_add(c, oid, name)->base.kind = BOUND_END;
    c->nunread--;
}

void coverage_remove(struct coverage *c, uint32_t oid)
{
    size_t at = place(c, oid);

    c->nunread -= !covered_whole(c->tables[at]);
    free_table(c->tables[at]);
    memmove(c->tables + at, c->tables + at + 1, (c->ntables - at - 1) * sizeof(*c->tables));
    c->ntables--;
}

void coverage_reset(struct coverage *c)
{
    for (size_t i = 0; i < c->ntables; i++)
        clear_chunks(c->tables[i]);
    clear_steps(c);
    c->nowed = 0;
    c->nunread = c->ntables;
}

const struct bound *covered_to(const struct covered_table *t)
{
    return t->nchunks ? &t->chunks[t->nchunks - 1].to : &t->base;
}

void coverage_recount(struct coverage *c)
{
    c->nunread = 0;
    for (size_t i = 0; i < c->ntables; i++)
        c->nunread += !covered_whole(c->tables[i]);
}

bool covered_by_key(const struct covered_table *t)
{
    for (size_t i = 0; i < t->nchunks; i++)
        if (t->chunks[i].to.kind == BOUND_KEY)
            return true;
    return t->base.kind == BOUND_KEY;
}

const struct bound *covered_at(const struct covered_table *t, const struct position *position)
{
    for (size_t i = t->nchunks; i-- > 0;)
        if (t->chunks[i].step <= position->rows)
            return &t->chunks[i].to;
    return &t->base;
}

bool coverage_whole_at(const struct coverage *c, const struct position *position)
{
    for (size_t i = 0; i < c->ntables; i++)
        if (covered_at(c->tables[i], position)->kind != BOUND_END)
            return false;
    return true;
}

/* ---- steps ---- */

bool coverage_usable(const struct coverage *c, const struct visibility *seen)
{
    for (size_t i = 0; i < c->nowed; i++)
        if (!visibility_sees(seen, c->owed[i]))
            return false;
    return true;
}

void coverage_owe(struct coverage *c, uint32_t xid)
{
    if (c->nowed == c->owed_cap) {
        c->owed_cap = c->owed_cap ? 2 * c->owed_cap : 64;
        c->owed = realloc(c->owed, c->owed_cap * sizeof *c->owed);
        if (!c->owed)
            log_out_of_memory();
    }
    c->owed[c->nowed++] = xid;
}

void coverage_pay(struct coverage *c, const struct visibility *seen)
{
    size_t n = 0;

    for (size_t i = 0; i < c->nowed; i++)
        if (!visibility_sees(seen, c->owed[i]))
            c->owed[n++] = c->owed[i];
    c->nowed = n;
}

uint64_t coverage_begin(struct coverage *c, struct visibility *seen, lsn_t until)
{
    c->last++;
    c->nowed = 0;
    if (!seen)
        return c->last;
    c->steps = realloc(c->steps, (c->nsteps + 1) * sizeof *c->steps);
    if (!c->steps)
        log_out_of_memory();
    c->steps[c->nsteps++] = (struct covered_step){
        .step = c->last, .seen = *seen, .until = until, .again = c->uncertain};
    *seen = (struct visibility){0};
    return c->last;
}

void covered_add_chunk(struct covered_table *t, uint64_t step, struct bound *to)
{
    t->chunks = realloc(t->chunks, (t->nchunks + 1) * sizeof *t->chunks);
    if (!t->chunks)
        log_out_of_memory();
    t->chunks[t->nchunks++] = (struct covered_chunk){.step = step, .to = *to};
    *to = (struct bound){0};
}

static void note_key(struct covered_table *t)
{
    if (t->key.count || !t->order || t->order->n == 0)
        return;
    t->key.items = xcalloc(t->order->n, sizeof(*t->key.items));
    for (uint16_t i = 0; i < t->order->n; i++)
        t->key.items[t->key.count++] = xstrdup(t->order->columns[i].name);
}

void coverage_extend(struct coverage *c, struct covered_table *t, struct bound *to)
{
    c->nunread -= !covered_whole(t);
    note_key(t);
    covered_add_chunk(t, c->last, to);
    c->nunread += !covered_whole(t);
}

void coverage_finish(struct coverage *c)
{
    c->complete = c->last;
}

static bool needs_snapshot(const struct coverage *c, uint64_t step)
{
    for (size_t i = 0; i < c->nsteps; i++)
        if (c->steps[i].step == step)
            return true;
    return false;
}

/* Steps up to `known` whose snapshot has gone become the base. */
static void fold(const struct coverage *c, struct covered_table *t, uint64_t known)
{
    size_t n = 0;

    while (n < t->nchunks && t->chunks[n].step <= known && !needs_snapshot(c, t->chunks[n].step))
        n++;
    if (n == 0)
        return;
    bound_release(&t->base);
    t->base = t->chunks[n - 1].to;
    for (size_t i = 0; i + 1 < n; i++)
        bound_release(&t->chunks[i].to);
    t->nchunks -= n;
    memmove(t->chunks, t->chunks + n, t->nchunks * sizeof *t->chunks);
}

/* ---- rows that have moved ---- */

static size_t moved_place(const struct covered_table *t, uint64_t hash)
{
    size_t from = 0, to = t->nmoved;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (t->moved[middle].hash < hash)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool covered_has_moved(const struct covered_table *t, uint64_t hash)
{
    size_t at = moved_place(t, hash);

    return at < t->nmoved && t->moved[at].hash == hash;
}

void covered_add_moved(struct covered_table *t, uint64_t hash, uint64_t step)
{
    size_t at = moved_place(t, hash);

    if (covered_has_moved(t, hash)) {
        t->moved[at].step = step;
        return;
    }
    t->moved = realloc(t->moved, (t->nmoved + 1) * sizeof *t->moved);
    if (!t->moved)
        log_out_of_memory();
    memmove(t->moved + at + 1, t->moved + at, (t->nmoved - at) * sizeof *t->moved);
    t->moved[at] = (struct moved_row){.hash = hash, .step = step};
    t->nmoved++;
}

static void forget_moved(const struct coverage *c, struct covered_table *t)
{
    uint64_t oldest = c->nsteps ? c->steps[0].step : UINT64_MAX;
    size_t n = 0;

    for (size_t i = 0; i < t->nmoved; i++)
        if (t->moved[i].step >= oldest)
            t->moved[n++] = t->moved[i];
    t->nmoved = n;
}

void coverage_forget(struct coverage *c, const struct position *recorded)
{
    size_t n = 0;

    while (n < c->nsteps && c->steps[n].step <= recorded->rows &&
           c->steps[n].until <= recorded->lsn)
        visibility_release(&c->steps[n++].seen);
    c->nsteps -= n;
    if (n)
        memmove(c->steps, c->steps + n, c->nsteps * sizeof *c->steps);
    for (size_t i = 0; i < c->ntables; i++)
        if (c->tables[i]->nchunks)
            fold(c, c->tables[i], recorded->rows);
    for (size_t i = 0; i < c->ntables; i++)
        if (c->tables[i]->nmoved)
            forget_moved(c, c->tables[i]);
}

size_t coverage_waiting(const struct coverage *c, lsn_t lsn)
{
    size_t n = 0;

    for (size_t i = 0; i < c->nsteps; i++)
        n += c->steps[i].until > lsn;
    return n;
}

/* What an earlier run gave beyond its record is behind the reader when everything has come again. */
bool coverage_is_certain(const struct coverage *c)
{
    return !c->uncertain || (coverage_whole(c) && c->nsteps == 0);
}

bool coverage_fills(const struct coverage *c, lsn_t lsn)
{
    for (size_t i = 0; i < c->ntables; i++)
        if (c->tables[i]->filled_to > lsn)
            return true;
    return false;
}

bool coverage_is_needed(const struct coverage *c, lsn_t lsn)
{
    return c->nsteps > 0 || !coverage_whole(c) || coverage_fills(c, lsn);
}
