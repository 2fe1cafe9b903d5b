/*
 * catalog - what the stream does not say about a relation, looked up in the system catalogs.
 *
 * pgoutput names types by OID only: domains, arrays, enums and extensions' types are resolved here,
 * each once per run.  Lookups use an ordinary connection that is made when one is needed and given
 * up when it has not been for a while.  The catalogs are as of now, the stream is as of then: what
 * is gone by now falls back to the server's text, which is right for every type.
 */
#ifndef SOURCE_CATALOG_H
#define SOURCE_CATALOG_H

#include "cdcdump.h"
#include "cli/options.h"
#include "decode/table.h"
#include "source/connection.h"
#include "source/selection.h"

struct catalog;

/* Borrows all three until catalog_free(). */
struct catalog *catalog_new(struct connector *connector, const struct options *o,
                            const struct selection *selection);
void catalog_free(struct catalog *c);

/* The ordinary connection, made if need be.  Owned by the catalog: use it and let it be. */
enum outcome catalog_connection(struct catalog *c, PGconn **sql);

/* Closes the connection; the next lookup makes a new one. */
void catalog_disconnect(struct catalog *c);

/* Closes it when it has not been used for some seconds. */
void catalog_tidy(struct catalog *c, usec_t ticks);

/*
 * Fills in what the stream left open: captured, and for captured relations the columns' type,
 * key, excluded, and type_name with --schema-events.  Types belong to the catalog and stay.
 *
 * key: the columns of the replica identity; with identity FULL those of the primary key, or all
 * columns where there is none.
 */
enum outcome catalog_describe(struct catalog *c, struct relation *r);

/*
 * Tells decoders of tables and types by their names.  A table is described as it would be sent with
 * pgoutput: a partition as the topmost captured table above it (13+).  Owned by the catalog.
 */
struct describer *catalog_describer(struct catalog *c);

/*
 * Reads the columns of a row that the stream has not sent (VALUE_UNCHANGED) from the table, by its
 * key, as they are now: *when, with *seen the text of the snapshot that they were read under.
 * *result holds what row and *seen then borrow and is the caller's to PQclear(); row stays as it is
 * when there is no such row any more, and *seen is NULL when the relation has no key.
 */
enum outcome catalog_read_unchanged(struct catalog *c, const struct relation *r, struct value *row,
                                    PGresult **result, lsn_t *when, const char **seen);

#endif
