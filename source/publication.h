/*
 * publication - what the server sends: the publication, and the tables' replica identities.
 */
#ifndef SOURCE_PUBLICATION_H
#define SOURCE_PUBLICATION_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/selection.h"

/*
 * Makes the publication what --publication-mode says, before a slot is created:
 *
 *     filtered    created for just the captured tables, and altered when they are others
 *     all-tables  created FOR ALL TABLES
 *     existing    must be there; never altered
 *
 * Changes of partitions are published under the name of the topmost captured partitioned table
 * (publish_via_partition_root, 13+); on 12 the partitions themselves are published.
 *
 * may_create = false: a publication that is missing is OUTCOME_MISUSED in every mode.
 */
enum outcome publication_prepare(PGconn *sql, const struct options *o, const struct selection *s,
                                 bool may_create);

/* Of options that want one that is there to be kept: the mode becomes existing where there is one. */
enum outcome publication_as_found(PGconn *sql, struct options *o);

/*
 * What publication_prepare() would run, which the caller frees; NULL = nothing is missing.  Looks only,
 * and refuses and warns as it does.
 */
enum outcome publication_statement(PGconn *sql, const struct options *o, const struct selection *s,
                                   bool may_create, char **statement);

/*
 * The tables that it sends, under the names that it sends them by, a row each: oid, schema, name,
 * partitioned, identity, columns (text[]; NULL = all that are not generated), filter (the row
 * filter, NULL = none).  Where there is no publication, or the plugin has no use for one: those that
 * one made here would send.
 */
enum outcome publication_tables(PGconn *sql, const struct options *o, const struct selection *s,
                                PGresult **result);

/*
 * How old it is beside the slot.  A transaction that was running when the publication was made, or
 * given tables, may have changed those before: not all it did is sent.  Where the slot is younger
 * there is none, as its creation waited for them all.
 */
struct publication_look { /* without a publication: all_tables */
    bool all_tables;
    bool young;        /* it may be younger than the slot, whose stream then may begin before it */
    bool young_tables; /* some of its tables may have come to it later than the slot was made */
};

enum outcome publication_look(PGconn *sql, const struct options *o, struct publication_look *l);

/*
 * Sets the replica identity where --replica-identity asks for it (said on stderr), and, if `warn`,
 * warns about captured tables whose updates and deletes the server will refuse for want of one.
 */
enum outcome publication_set_identity(PGconn *sql, const struct options *o,
                                      const struct selection *s, bool warn);

/* The statements that it would run for --replica-identity, other than keep: the first column. */
enum outcome publication_identity_statements(PGconn *sql, const struct options *o,
                                             const struct selection *s, PGresult **result);

#endif
