/*
 * relation - the relations that the stream has described.
 *
 * The cache owns the relations; a pointer stays good until relations_release().  Relation messages
 * come again after every invalidation: one that says what is known already changes nothing, and
 * the relation keeps its version, its catalog description and its index.
 */
#ifndef DECODE_RELATION_H
#define DECODE_RELATION_H

#include "cdcdump.h"

enum { RELATION_MAX_COLUMNS = 1664 }; /* MaxTupleAttributeNumber of PostgreSQL */

struct relations {
    struct relation **by_index; /* all of them */
    uint32_t count;
    struct relation **buckets; /* open addressing by OID; NULL = free */
    uint32_t nbuckets;         /* a power of two, or 0 */
    struct relation *last;     /* found last: rows of one table come in runs */
    uint32_t versions;         /* given out so far */
};

void relations_init(struct relations *rs);
void relations_release(struct relations *rs);

/* NULL when the stream has not described it. */
struct relation *relations_find(struct relations *rs, uint32_t oid);

/*
 * Takes over the contents of *r (its strings and columns, not the struct) and returns the cached
 * relation.  *changed tells whether that is a new description: then `described` is false.
 */
struct relation *relations_put(struct relations *rs, struct relation *r, bool *changed);

/* The column of that name, NULL when there is none. */
struct column *relation_column(const struct relation *r, const char *name);

/* Whether two descriptions say the same, but for what the catalog has filled in. */
bool relation_same(const struct relation *a, const struct relation *b);

/* Frees what a relation owns, for one that was not put into a cache. */
void relation_clear(struct relation *r);

#endif
