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

/*
 * Sets the replica identity where --replica-identity asks for it (said on stderr), and, if `warn`,
 * warns about captured tables whose updates and deletes the server will refuse for want of one.
 */
enum outcome publication_set_identity(PGconn *sql, const struct options *o,
                                      const struct selection *s, bool warn);

#endif
