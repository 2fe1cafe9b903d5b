#include "snapshot/coverage.h"

#include <stdio.h>
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
    return t;
}

void coverage_remove(struct coverage *c, uint32_t oid)
{
    size_t at = place(c, oid);

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
}

const struct bound *covered_to(const struct covered_table *t)
{
    return t->nchunks ? &t->chunks[t->nchunks - 1].to : &t->base;
}

bool coverage_whole(const struct coverage *c)
{
    for (size_t i = 0; i < c->ntables; i++)
        if (!covered_whole(c->tables[i]))
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

uint64_t coverage_begin(struct coverage *c, struct visibility *seen, lsn_t until)
{
    c->last++;
    c->nowed = 0;
    if (!seen)
        return c->last;
    c->steps = realloc(c->steps, (c->nsteps + 1) * sizeof *c->steps);
    if (!c->steps)
        log_out_of_memory();
    c->steps[c->nsteps++] =
        (struct covered_step){.step = c->last, .seen = *seen, .until = until};
    *seen = (struct visibility){0};
    return c->last;
}

static void add_chunk(struct covered_table *t, uint64_t step, struct bound *to)
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
    note_key(t);
    add_chunk(t, c->last, to);
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

void coverage_forget(struct coverage *c, const struct position *recorded)
{
    size_t n = 0;

    while (n < c->nsteps && c->steps[n].step <= recorded->rows &&
           c->steps[n].until <= recorded->lsn)
        visibility_release(&c->steps[n++].seen);
    c->nsteps -= n;
    memmove(c->steps, c->steps + n, c->nsteps * sizeof *c->steps);
    for (size_t i = 0; i < c->ntables; i++)
        if (c->tables[i]->nchunks)
            fold(c, c->tables[i], recorded->rows);
}

size_t coverage_waiting(const struct coverage *c, lsn_t lsn)
{
    size_t n = 0;

    for (size_t i = 0; i < c->nsteps; i++)
        n += c->steps[i].until > lsn;
    return n;
}

/* ---- judging changes ---- */

void judge_begin(struct judge *j, struct coverage *c, uint32_t xid)
{
    *j = (struct judge){.coverage = c, .xid = xid, .seen_from = UINT64_MAX};
    for (size_t i = c->nsteps; i-- > 0 && visibility_sees(&c->steps[i].seen, xid);)
        j->seen_from = c->steps[i].step;
}

/* Rows up to there have been given without what the transaction has done. */
static const struct bound *given_to(const struct judge *j, const struct covered_table *t)
{
    for (size_t i = t->nchunks; i-- > 0;)
        if (t->chunks[i].step < j->seen_from)
            return &t->chunks[i].to;
    return &t->base;
}

/* A later step has to see the transaction. */
static void owe(const struct judge *j)
{
    struct coverage *c = j->coverage;

    if (j->seen_from != UINT64_MAX || (c->nowed && c->owed[c->nowed - 1] == j->xid))
        return;
    if (c->nowed == c->owed_cap) {
        c->owed_cap = c->owed_cap ? 2 * c->owed_cap : 64;
        c->owed = realloc(c->owed, c->owed_cap * sizeof *c->owed);
        if (!c->owed)
            log_out_of_memory();
    }
    c->owed[c->nowed++] = j->xid;
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

static enum verdict weigh(bool before, bool after)
{
    if (before)
        return after ? VERDICT_GIVE : VERDICT_GIVE_DELETE;
    return after ? VERDICT_GIVE_INSERT : VERDICT_LEAVE_OUT;
}

static enum verdict judge_row(struct covered_table *t, const struct change *c,
                              const struct bound *to, struct comparer *comparer)
{
    struct key *k = t->order;
    const struct value *found = NULL;
    bool before = false, after = false;

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
    if (c->op == OP_UPDATE)
        return weigh(before, after);
    return before || after ? VERDICT_GIVE : VERDICT_LEAVE_OUT;
}

static bool same_key(const struct key *k, const struct value *a, const struct value *b)
{
    for (uint16_t i = 0; i < k->n; i++) {
        const struct value *x = &a[k->positions[i]], *y = &b[k->positions[i]];

        if (x->kind != y->kind || x->len != y->len ||
            (x->len > 0 && memcmp(x->data, y->data, x->len) != 0))
            return false;
    }
    return true;
}

/* A row that is still to be read is gone, or goes under another key: it may have been given. */
static bool takes_row_away(const struct covered_table *t, const struct change *c)
{
    if (c->op == OP_DELETE)
        return true;
    return c->op == OP_UPDATE && c->old_row &&
           (!t->order || !key_locate(t->order, c->relation) ||
            !same_key(t->order, c->old_row, c->new_row));
}

/*
 * Steps that see a truncation give rows that came after it: where there are such steps already and
 * others that do not see it, the table is begun anew behind it.
 */
static enum verdict judge_truncate(const struct judge *j, struct covered_table *t,
                                   const struct bound *to)
{
    struct coverage *c = j->coverage;
    bool seen = t->nchunks && t->chunks[t->nchunks - 1].step >= j->seen_from;

    if (to->kind == BOUND_NONE) {
        owe(j);
        return c->uncertain && !seen ? VERDICT_GIVE : VERDICT_LEAVE_OUT;
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
    if (verdict == VERDICT_LEAVE_OUT || verdict == VERDICT_GIVE_DELETE)
        owe(j);
    if (verdict == VERDICT_LEAVE_OUT && j->coverage->uncertain && j->seen_from == UINT64_MAX &&
        takes_row_away(t, c))
        return c->op == OP_DELETE ? VERDICT_GIVE : VERDICT_GIVE_DELETE;
    return verdict;
}

/* ---- in the state file ---- */

static bool known_at(const struct covered_chunk *chunk, const struct position *p)
{
    return chunk->step <= p->rows;
}

static const struct bound *bound_at(const struct covered_table *t, const struct position *p)
{
    for (size_t i = t->nchunks; i-- > 0;)
        if (known_at(&t->chunks[i], p))
            return &t->chunks[i].to;
    return &t->base;
}

bool coverage_whole_at(const struct coverage *c, const struct position *position)
{
    for (size_t i = 0; i < c->ntables; i++)
        if (bound_at(c->tables[i], position)->kind != BOUND_END)
            return false;
    return true;
}

static cJSON *bound_to_json(const struct bound *b)
{
    if (b->kind != BOUND_KEY)
        return cJSON_CreateString(b->kind == BOUND_END ? "all" : "none");
    return cJSON_CreateStringArray((const char *const *)b->values, b->n);
}

static void add_number(cJSON *json, const char *name, uint64_t n)
{
    char *text = xasprintf("%llu", (unsigned long long)n);

    cJSON_AddStringToObject(json, name, text);
    free(text);
}

static void add_steps(cJSON *json, const struct coverage *c, const struct position *p)
{
    cJSON *list = cJSON_AddArrayToObject(json, "snapshots");

    for (size_t i = 0; i < c->nsteps; i++) {
        const struct covered_step *s = &c->steps[i];
        cJSON *item;
        char *text;

        if (s->step > p->rows || s->until <= p->lsn)
            continue;
        item = cJSON_CreateObject();
        add_number(item, "step", s->step);
        text = visibility_text(&s->seen);
        cJSON_AddStringToObject(item, "seen", text);
        free(text);
        text = xasprintf(LSN_FMT, LSN_ARGS(s->until));
        cJSON_AddStringToObject(item, "until", text);
        free(text);
        cJSON_AddItemToArray(list, item);
    }
}

static bool passed_at(const struct coverage *c, uint64_t step, const struct position *p)
{
    for (size_t i = 0; i < c->nsteps; i++)
        if (c->steps[i].step == step)
            return c->steps[i].until <= p->lsn;
    return true;
}

static cJSON *table_to_json(const struct coverage *c, const struct covered_table *t,
                            const struct position *p)
{
    cJSON *item = cJSON_CreateObject(), *list = NULL;
    const struct bound *base = &t->base;
    size_t i = 0;

    for (; i < t->nchunks && known_at(&t->chunks[i], p) && passed_at(c, t->chunks[i].step, p); i++)
        base = &t->chunks[i].to;
    cJSON_AddNumberToObject(item, "oid", t->oid);
    cJSON_AddStringToObject(item, "table", t->name);
    if (t->key.count && bound_at(t, p)->kind == BOUND_KEY)
        cJSON_AddItemToObject(item, "key",
                              cJSON_CreateStringArray(t->key.items, (int)t->key.count));
    cJSON_AddItemToObject(item, "read", bound_to_json(base));
    for (; i < t->nchunks && known_at(&t->chunks[i], p); i++) {
        cJSON *chunk = cJSON_CreateObject();

        if (!list)
            list = cJSON_AddArrayToObject(item, "chunks");
        add_number(chunk, "step", t->chunks[i].step);
        cJSON_AddItemToObject(chunk, "to", bound_to_json(&t->chunks[i].to));
        cJSON_AddItemToArray(list, chunk);
    }
    return item;
}

cJSON *coverage_to_json(const struct coverage *c, const struct position *position)
{
    cJSON *json = cJSON_CreateObject(), *list;

    add_number(json, "step", position->rows);
    add_steps(json, c, position);
    list = cJSON_AddArrayToObject(json, "tables");
    for (size_t i = 0; i < c->ntables; i++)
        cJSON_AddItemToArray(list, table_to_json(c, c->tables[i], position));
    return json;
}

/* ---- out of the state file ---- */

static const char *text_of(const cJSON *json, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static bool take_number(const cJSON *json, const char *name, uint64_t *n)
{
    const char *text = text_of(json, name);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    *n = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool take_names(const cJSON *json, char ***to, size_t *n)
{
    const cJSON *item;

    *n = 0;
    if (!cJSON_IsArray(json) || cJSON_GetArraySize(json) == 0 || cJSON_GetArraySize(json) > 1664)
        return false;
    *to = xcalloc((size_t)cJSON_GetArraySize(json), sizeof **to);
    cJSON_ArrayForEach(item, json) {
        if (!cJSON_IsString(item))
            return false;
        (*to)[(*n)++] = xstrdup(item->valuestring);
    }
    return true;
}

static bool take_bound(const cJSON *json, struct bound *b)
{
    const char *word = cJSON_GetStringValue(json);
    size_t n;
    bool good;

    *b = (struct bound){0};
    if (word) {
        b->kind = strcmp(word, "all") == 0 ? BOUND_END : BOUND_NONE;
        return b->kind == BOUND_END || strcmp(word, "none") == 0;
    }
    b->kind = BOUND_KEY;
    good = take_names(json, &b->values, &n);
    b->n = (uint16_t)n;
    return good;
}

static bool take_step(struct coverage *c, const cJSON *json)
{
    const char *until = text_of(json, "until"), *seen = text_of(json, "seen");
    struct visibility v;
    unsigned high, low;
    uint64_t step;

    if (!until || !seen || sscanf(until, "%X/%X", &high, &low) != 2 ||
        !take_number(json, "step", &step) || !visibility_parse(&v, seen))
        return false;
    if (step == 0 || step > c->last || (c->nsteps && step <= c->steps[c->nsteps - 1].step)) {
        visibility_release(&v);
        return false;
    }
    c->steps = realloc(c->steps, (c->nsteps + 1) * sizeof *c->steps);
    if (!c->steps)
        log_out_of_memory();
    c->steps[c->nsteps++] =
        (struct covered_step){.step = step, .seen = v, .until = (lsn_t)high << 32 | low};
    return true;
}

static bool take_chunks(struct coverage *c, struct covered_table *t, const cJSON *list)
{
    const cJSON *item;
    uint64_t before = 0;

    cJSON_ArrayForEach(item, list) {
        struct bound to;
        uint64_t step;
        bool good = take_number(item, "step", &step) && step > before && step <= c->last;

        if (!take_bound(cJSON_GetObjectItemCaseSensitive(item, "to"), &to) || !good) {
            bound_release(&to);
            return false;
        }
        add_chunk(t, step, &to);
        before = step;
    }
    return true;
}

static bool take_key(struct covered_table *t, const cJSON *json)
{
    char **names;
    size_t n = 0;
    bool good;

    if (!json)
        return true;
    good = take_names(json, &names, &n);
    if (n)
        t->key = (struct string_list){(const char **)(void *)names, n};
    return good;
}

static bool take_table(struct coverage *c, const cJSON *json)
{
    const cJSON *oid = cJSON_GetObjectItemCaseSensitive(json, "oid");
    const char *name = text_of(json, "table");
    struct covered_table *t;

    if (!cJSON_IsNumber(oid) || oid->valuedouble < 1 || oid->valuedouble > UINT32_MAX || !name ||
        coverage_find(c, (uint32_t)oid->valuedouble))
        return false;
    t = coverage_add(c, (uint32_t)oid->valuedouble, name);
    return take_bound(cJSON_GetObjectItemCaseSensitive(json, "read"), &t->base) &&
           take_key(t, cJSON_GetObjectItemCaseSensitive(json, "key")) &&
           take_chunks(c, t, cJSON_GetObjectItemCaseSensitive(json, "chunks"));
}

bool coverage_from_json(struct coverage *c, const cJSON *json)
{
    const cJSON *item;

    if (!take_number(json, "step", &c->last))
        return false;
    c->complete = c->last;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "snapshots"))
        if (!take_step(c, item))
            return false;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "tables"))
        if (!take_table(c, item))
            return false;
    return true;
}
