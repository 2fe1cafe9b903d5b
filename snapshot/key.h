/*
 * key - the order in which a table is read in chunks, and bounds in that order.
 *
 * Chunks are cut by the server, in the order of an index.  Whether a streamed change lies before a
 * bound is compared here only where that order is plain: whole numbers, uuid, bytea, text with
 * collation C.  Everything else (collations, numeric, enum, composite types) the server compares,
 * many keys at a time; see snapshot/sieve.h.
 *
 * A column of the key that may be null: nulls come last, as in PostgreSQL's indexes.
 */
#ifndef SNAPSHOT_KEY_H
#define SNAPSHOT_KEY_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"

enum key_order {
    ORDER_NUMBER, /* text of whole numbers */
    ORDER_BYTES,  /* text whose bytes are in the order of the values */
    ORDER_SERVER, /* known to the server alone */
};

struct key_column {
    char *name;
    char *type;      /* as format_type() writes it, for casts */
    char *collation; /* quoted and qualified, NULL = none */
    enum key_order order;
};

struct key {
    struct key_column *columns;
    uint16_t n;
    bool unique; /* no two rows have the same, and none of it is null */
    bool in_row_key; /* its columns belong to the key of the table's records */
    bool plain; /* none of it needs the server */
    uint16_t *positions;       /* of the columns in rows of ... */
    const struct relation *of; /* this relation, ... */
    uint32_t version;          /* ... in this version */
};

/*
 * Looks up the key of a table: that column, or, for NULL, those of its replica identity's index or
 * of its primary key; n = 0 when there is none.  *indexed: an index begins with the first column.
 */
enum outcome key_load(struct key *k, PGconn *sql, uint32_t oid, const char *column, bool *indexed);
void key_release(struct key *k);

enum bound_kind {
    BOUND_NONE, /* before all rows */
    BOUND_KEY,  /* up to and including the rows with this key */
    BOUND_END,  /* behind all rows, those that are still to come, too */
};

struct bound {
    enum bound_kind kind;
    uint16_t n;
    char **values; /* texts of the key's columns; owned */
};

void bound_release(struct bound *b);
struct bound bound_copy(const struct bound *b);

/* The bound right behind a row, whose key has no nulls; columns stand in it at `positions`. */
struct bound bound_of_row(const struct value *row, const uint16_t *positions, uint16_t n);

/* Finds the key's columns in a relation; false when one is missing there (logged). */
bool key_locate(struct key *k, const struct relation *r);

/*
 * Who compares.  collect: the question is only noted, and the answer is of no use yet; answers are
 * then given in the order of the questions about the same key.
 */
struct comparer {
    bool collect;
    void (*ask)(void *arg, const struct key *k, const struct value *row, const struct bound *b);
    bool (*answer)(void *arg, const struct key *k);
    void *arg;
};

/* Whether the row's key is within the bound; k has been located in the row's relation. */
bool key_within(const struct key *k, const struct value *row, const struct bound *b,
                struct comparer *comparer);

#endif
