/*
 * statement - the statements that read the rows of a planned table: COPY … TO STDOUT.
 *
 * All give t->columns, one field each, and heed the publication's row filter, or read from the
 * table's snapshot query.  The caller frees them.
 */
#ifndef SNAPSHOT_STATEMENT_H
#define SNAPSHOT_STATEMENT_H

#include "snapshot/plan.h"

/* COPY of one source, or of its pages from..to (to = 0: to the end, both 0: all). */
char *statement_of_source(const struct plan_table *t, const struct plan_source *s, uint64_t from,
                          uint64_t to);

/* COPY of up to `rows` rows behind the bound, in the order of the key, or of all without a key. */
char *statement_of_chunk(const struct plan_table *t, const struct bound *after, uint64_t rows,
                         PGconn *sql);

/* COPY of the rows whose key is null. */
char *statement_of_nulls(const struct plan_table *t);

#endif
