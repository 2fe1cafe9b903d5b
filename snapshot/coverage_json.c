#include "snapshot/coverage_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/lsn.h"

static bool known_at(const struct covered_chunk *chunk, const struct position *p)
{
    return chunk->step <= p->rows;
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

static void add_lsn(cJSON *json, const char *name, lsn_t lsn)
{
    char *text = xasprintf(LSN_FMT, LSN_ARGS(lsn));

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
        add_lsn(item, "until", s->until);
        if (s->again)
            cJSON_AddTrueToObject(item, "again");
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

static void add_moved_rows(cJSON *json, const struct covered_table *t)
{
    cJSON *list;

    if (t->nmoved == 0)
        return;
    list = cJSON_AddArrayToObject(json, "moved");
    for (size_t i = 0; i < t->nmoved; i++) {
        cJSON *item = cJSON_CreateObject();

        add_number(item, "row", t->moved[i].hash);
        add_number(item, "step", t->moved[i].step);
        cJSON_AddItemToArray(list, item);
    }
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
    if (t->key.count && covered_by_key(t))
        cJSON_AddItemToObject(item, "key",
                              cJSON_CreateStringArray(t->key.items, (int)t->key.count));
    cJSON_AddItemToObject(item, "read", bound_to_json(base));
    add_moved_rows(item, t);
    if (t->filled_to > p->lsn)
        add_lsn(item, "filled_to", t->filled_to);
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
    cJSON_AddBoolToObject(json, "certain", c->certain);
    add_steps(json, c, position);
    if (c->nowed) {
        list = cJSON_AddArrayToObject(json, "owed");
        for (size_t i = 0; i < c->nowed; i++)
            cJSON_AddItemToArray(list, cJSON_CreateNumber(c->owed[i]));
    }
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
    errno = 0;
    *n = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
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
    lsn_t passed;
    uint64_t step;

    if (!until || !seen || !lsn_parse(until, &passed) ||
        !take_number(json, "step", &step) || !visibility_parse(&v, seen))
        return false;
    if (step == 0 || step > c->last || (c->nsteps && step <= c->steps[c->nsteps - 1].step)) {
        visibility_release(&v);
        return false;
    }
    c->steps = realloc(c->steps, (c->nsteps + 1) * sizeof *c->steps);
    if (!c->steps)
        log_out_of_memory();
    c->steps[c->nsteps++] = (struct covered_step){
        .step = step,
        .seen = v,
        .until = passed,
        .again = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "again")),
    };
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
        covered_add_chunk(t, step, &to);
        before = step;
    }
    return true;
}

static bool take_moved(struct covered_table *t, const cJSON *list)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list) {
        uint64_t hash, step;

        if (!take_number(item, "row", &hash) || !take_number(item, "step", &step))
            return false;
        covered_add_moved(t, hash, step);
    }
    return true;
}

static bool take_key(struct covered_table *t, const cJSON *json)
{
    char **names = NULL;
    size_t n = 0;
    bool good;

    if (!json)
        return true;
    good = take_names(json, &names, &n);
    t->key = (struct string_list){(const char **)(void *)names, n};
    return good;
}

/* Bounds have as many values as the key has columns. */
static bool fits_key(const struct covered_table *t, const struct bound *b)
{
    return b->kind != BOUND_KEY || t->key.count == 0 || b->n == t->key.count;
}

static bool bounds_fit(const struct covered_table *t)
{
    for (size_t i = 0; i < t->nchunks; i++)
        if (!fits_key(t, &t->chunks[i].to))
            return false;
    return fits_key(t, &t->base);
}

static bool take_table(struct coverage *c, const cJSON *json)
{
    const cJSON *oid = cJSON_GetObjectItemCaseSensitive(json, "oid");
    const char *name = text_of(json, "table"), *filled = text_of(json, "filled_to");
    struct covered_table *t;

    if (!cJSON_IsNumber(oid) || oid->valuedouble < 1 || oid->valuedouble > UINT32_MAX || !name ||
        coverage_find(c, (uint32_t)oid->valuedouble))
        return false;
    t = coverage_add(c, (uint32_t)oid->valuedouble, name);
    if (filled && !lsn_parse(filled, &t->filled_to))
        return false;
    return take_bound(cJSON_GetObjectItemCaseSensitive(json, "read"), &t->base) &&
           take_key(t, cJSON_GetObjectItemCaseSensitive(json, "key")) &&
           take_chunks(c, t, cJSON_GetObjectItemCaseSensitive(json, "chunks")) &&
           take_moved(t, cJSON_GetObjectItemCaseSensitive(json, "moved")) && bounds_fit(t);
}

static bool take_owed(struct coverage *c, const cJSON *list)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > UINT32_MAX)
            return false;
        coverage_owe(c, (uint32_t)item->valuedouble);
    }
    return true;
}

bool coverage_from_json(struct coverage *c, const cJSON *json)
{
    const cJSON *item;

    if (!take_number(json, "step", &c->last))
        return false;
    c->complete = c->last;
    c->certain = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "certain"));
    if (!take_owed(c, cJSON_GetObjectItemCaseSensitive(json, "owed")))
        return false;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "snapshots"))
        if (!take_step(c, item))
            return false;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "tables"))
        if (!take_table(c, item))
            return false;
    coverage_recount(c);
    return true;
}
