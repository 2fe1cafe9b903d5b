/*
 * plan - which tables a snapshot reads, with which words, and in which pieces.
 *
 * What the publication sends is what is read: its tables under the names that it sends them by
 * (a partitioned table by its root or by its leaves, never by both), its columns, its row filters;
 * of those the captured ones.  Views and foreign tables have no changes and are not read, nor are
 * foreign partitions.  Tables that row-level security would show a part of are refused.
 *
 * A plan has relations of its own: the stream may be behind, and describe its relations as they
 * were then.
 */
#ifndef SNAPSHOT_PLAN_H
#define SNAPSHOT_PLAN_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "decode/relation.h"
#include "snapshot/key.h"
#include "source/captured.h"
#include "source/selection.h"

/* What holds the rows: the table itself, one of its partitions, or the whole tree from its root. */
struct plan_source {
    char *from;     /* as it stands behind FROM */
    uint32_t oid;   /* 0 = the whole tree */
    uint64_t bytes; /* of its main fork */
    double rows;    /* estimated; negative = not known */
};

struct plan_table {
    uint32_t oid;
    char *name;    /* schema.table, for people */
    char *quoted;  /* "schema"."table" */
    struct relation *relation; /* owned by the plan's relations */
    uint16_t *fields; /* of a line that is read: the columns of the relation */
    uint16_t nfields;
    char *columns;      /* the list behind SELECT */
    char *filter;       /* the publication's row filter, NULL = none */
    char *query;        /* of --snapshot-query, NULL = none */
    char *tree_filter;  /* of the whole tree: what leaves foreign partitions out; NULL = nothing */
    bool partitioned;
    struct plan_source *sources;
    size_t nsources;
    struct key key; /* of chunks; n = 0: the table has none */
    double rows;    /* estimated; negative = not known */
    uint64_t bytes;
    char fingerprint[33]; /* of its columns: differs when they have changed */
    bool read;            /* rows of it are, or were, read in this run: so many */
    uint64_t given;
    uint64_t given_bytes; /* of their lines */
};

struct plan {
    struct plan_table *tables;
    size_t count;
    bool chunk_key_used; /* --chunk-key is a column of one of them */
    struct relations relations;
};

/* Makes a plan of all captured tables that are published.  Empty is fine. */
enum outcome plan_make(struct plan *p, const struct captured_context *x);
void plan_release(struct plan *p);

/* Looks at one table again, which has been altered; *found: it is still there, and published. */
enum outcome plan_renew(struct plan *p, struct plan_table *t, const struct captured_context *x,
                        bool *found);

/* Takes a table out; pointers to others are not good any more. */
void plan_remove(struct plan *p, struct plan_table *t);

/*
 * A value that is the same for two plans' tables as long as nothing was done to their definitions
 * or their storage, as `sql` sees them; the caller frees it.
 */
enum outcome plan_fingerprint(const struct plan *p, PGconn *sql, char **value);

/* SQL for the fingerprint of one table's columns; printf format with one %u for its oid. */
#define PLAN_COLUMNS_FINGERPRINT                                                                   \
    "(SELECT md5(pg_catalog.string_agg(pg_catalog.format('%%s %%s %%s %%s', attnum, attname,"       \
    " atttypid, atttypmod), ',' ORDER BY attnum)) FROM pg_catalog.pg_attribute"                    \
    " WHERE attrelid = %u AND attnum > 0 AND NOT attisdropped)"

/* Makes values, one per column of t->relation, of a line (which is changed, and borrowed from). */
bool plan_parse_row(const struct plan_table *t, char *line, size_t len, struct value *values,
                    struct value *scratch);

#endif
