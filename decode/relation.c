#include "decode/relation.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void relations_init(struct relations *rs)
{
    *rs = (struct relations){0};
}

void relation_clear(struct relation *r)
{
    for (int i = 0; i < r->ncolumns && r->columns; i++) {
        free(r->columns[i].name);
        free(r->columns[i].type_name);
    }
    free(r->columns);
    free(r->schema);
    free(r->name);
    r->columns = NULL;
    r->schema = r->name = NULL;
    r->ncolumns = 0;
}

void relations_release(struct relations *rs)
{
    for (uint32_t i = 0; i < rs->count; i++) {
        relation_clear(rs->by_index[i]);
        free(rs->by_index[i]);
    }
    free(rs->by_index);
    free(rs->buckets);
    relations_init(rs);
}

/* The bucket that holds oid, or the free one where it belongs. */
static struct relation **bucket(struct relation **buckets, uint32_t nbuckets, uint32_t oid)
{
    uint32_t i = oid * 2654435761u; /* Knuth's multiplicative hash */

    for (;; i++) {
        struct relation **b = &buckets[i & (nbuckets - 1)];

        if (!*b || (*b)->oid == oid)
            return b;
    }
}

struct relation *relations_find(struct relations *rs, uint32_t oid)
{
    struct relation *r = rs->last;

    if (r && r->oid == oid)
        return r;
    r = rs->nbuckets ? *bucket(rs->buckets, rs->nbuckets, oid) : NULL;
    if (r)
        rs->last = r;
    return r;
}

/* Keeps the table at most half full. */
static void grow(struct relations *rs)
{
    uint32_t nbuckets = rs->nbuckets ? 2 * rs->nbuckets : 64;
    struct relation **buckets;

    if (2 * (rs->count + 1) <= rs->nbuckets)
        return;
    buckets = xcalloc(nbuckets, sizeof(*buckets));
    for (uint32_t i = 0; i < rs->count; i++)
        *bucket(buckets, nbuckets, rs->by_index[i]->oid) = rs->by_index[i];
    free(rs->buckets);
    rs->buckets = buckets;
    rs->nbuckets = nbuckets;
    rs->by_index = realloc(rs->by_index, nbuckets / 2 * sizeof(*rs->by_index));
    if (!rs->by_index)
        log_out_of_memory();
}

static struct relation *add(struct relations *rs, uint32_t oid)
{
    struct relation *r;

    grow(rs);
    r = xcalloc(1, sizeof *r);
    r->oid = oid;
    r->index = rs->count;
    rs->by_index[rs->count++] = r;
    *bucket(rs->buckets, rs->nbuckets, oid) = r;
    return r;
}

struct column *relation_column(const struct relation *r, const char *name)
{
    for (int i = 0; i < r->ncolumns; i++)
        if (strcmp(r->columns[i].name, name) == 0)
            return &r->columns[i];
    return NULL;
}

static bool same_column(const struct column *a, const struct column *b)
{
    return a->type_oid == b->type_oid && a->typmod == b->typmod && a->identity == b->identity &&
           strcmp(a->name, b->name) == 0;
}

bool relation_same(const struct relation *a, const struct relation *b)
{
    if (!a->schema || a->identity != b->identity || a->ncolumns != b->ncolumns ||
        strcmp(a->schema, b->schema) != 0 || strcmp(a->name, b->name) != 0)
        return false;
    for (int i = 0; i < a->ncolumns; i++)
        if (!same_column(&a->columns[i], &b->columns[i]))
            return false;
    return true;
}

struct relation *relations_put(struct relations *rs, struct relation *r, bool *changed)
{
    struct relation *cached = relations_find(rs, r->oid);

    *changed = !cached || !relation_same(cached, r);
    if (!*changed) {
        relation_clear(r);
        return cached;
    }
    if (!cached)
        cached = add(rs, r->oid);
    r->index = cached->index;
    r->version = ++rs->versions;
    r->described = false;
    relation_clear(cached);
    *cached = *r;
    *r = (struct relation){0};
    return cached;
}
