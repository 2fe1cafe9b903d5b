/*
 * captured - the captured tables as they are now, described as the stream would describe them.
 *
 * For those who have to know the tables before the first change of each has come: snapshots, and
 * outputs whose beginning names tables and columns.  The stream may be behind, and describe its
 * relations as they were then.
 */
#ifndef SOURCE_CAPTURED_H
#define SOURCE_CAPTURED_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "decode/relation.h"
#include "source/catalog.h"
#include "source/selection.h"

/* All borrowed. */
struct captured_context {
    PGconn *sql;
    const struct options *o;
    const struct selection *selection;
    struct catalog *catalog;
};

/* Adds every captured table that is published, described, under the name that it is sent by. */
enum outcome captured_load(struct relations *list, const struct captured_context *x);

/* The same for one row of publication_tables(). */
enum outcome captured_relation(struct relations *list, const struct captured_context *x,
                               const PGresult *tables, int i, struct relation **relation);

#endif
