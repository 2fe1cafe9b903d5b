/*
 * selection - which tables are captured: -n -N -t -T, decided by the server's regular expressions.
 *
 * Tables of connectors' files are patterns for schema.table alone, in Java's regular expressions
 * (cli/java_regex.h); they count like -t and -T.
 *
 * The same SQL decides twice: at the start for the tables that are there (publication, replica
 * identity, warnings), and whenever the stream describes a relation, by the names that the
 * relation had then (catalog.h).
 */
#ifndef SOURCE_SELECTION_H
#define SOURCE_SELECTION_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"

enum { SELECTION_NPARAMS = 4 };

struct selection {
    /*
     * text[] literals: -n, -N, -t, -T, each pattern anchored.  In the latter two, patterns for
     * schema.table alone have the subscripts up to 0.
     */
    char *params[SELECTION_NPARAMS];
    char *exclude_columns;           /* likewise */
    char *oids;                      /* oid[] literal of the captured tables */
    size_t count;                    /* of them */
};

/*
 * SQL: whether the table with these names (expressions of type text) is captured.  Takes the params
 * as $1 to $4.  A pattern has to match the whole of "table" or of "schema.table".  Java ignores
 * case as collation "C" does.
 */
#define SELECTION_MATCHES(schema, table)                                                           \
    "(($1::text[] = '{}' OR " schema " ~ ANY ($1::text[]))"                                        \
    " AND ($3::text[] = '{}' OR " SELECTION_NAMED("$3::text[]", schema, table) ")"                 \
    " AND NOT " SELECTION_EXCLUDES(schema, table) ")"

#define SELECTION_EXCLUDES(schema, table)                                                          \
    "(" schema " ~ ANY ($2::text[]) OR " SELECTION_NAMED("$4::text[]", schema, table) ")"

#define SELECTION_NAMED(patterns, schema, table)                                                   \
    table " ~ ANY ((" patterns ")[1:])"                                                            \
    " OR (" schema " || '.' || " table ") ~ ANY ((" patterns ")[1:])"                              \
    " OR (" schema " || '.' || " table ") COLLATE \"C\" ~ ANY ((" patterns ")[:0])"

/*
 * Finds the tables.  A pattern that matches nothing is warned about; a pattern that is no regular
 * expression, or no table at all where some must be there, is OUTCOME_MISUSED.
 */
enum outcome selection_load(struct selection *s, PGconn *sql, const struct options *o);
void selection_release(struct selection *s);

#endif
