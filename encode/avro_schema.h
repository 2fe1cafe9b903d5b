/*
 * avro_schema - the schemas of Avro records: a table's columns in an envelope (CONTRACT, section 5).
 *
 * The record of a table is called Envelope, in the namespace <server>.<schema>.<table>; the rows in it
 * are of the record Value there, keys (plain) of Key.  Names are escaped (avro_name.h), with the
 * original in the properties pg.schema, pg.table and, of a column, pg.name; pg.key is true of those
 * of the key.  A further set of columns of the same table, in one file with the first, lives in
 * the namespace with .v2 behind it, and so on.
 *
 * Every column is ["null", T] with default null, NOT NULL ones too: an old row may be the key alone,
 * and an unchanged value is not always sent.  Columns of which no value was sent are listed in the
 * envelope's field <row>_unsent; they are null in the row.
 *
 * The fields of an envelope, in order:
 *
 *     debezium  before, after: Value or null; source: cdcdump.Source; op; ts_ms, ts_us, ts_ns;
 *               before_unsent, after_unsent
 *     flink     row_kind; table_name, schema_name, database_name; op_ts: timestamp-millis or null;
 *               row: Value; row_unsent
 *     plain     op; lsn, commit_lsn: string; seq, xid: long; ts: timestamp-micros (or null, all of
 *               them); schema, table; key: Key; row, old: Value (or null); row_unsent, old_unsent
 */
#ifndef ENCODE_AVRO_SCHEMA_H
#define ENCODE_AVRO_SCHEMA_H

#include <cjson/cJSON.h>

#include "cli/options.h"
#include "encode/layout.h"

/*
 * The schema of a table's records, with cdcdump.Source by its name alone; number: which of the
 * table's sets of columns, from 1.  The caller owns it.
 */
cJSON *avro_envelope(const struct options *o, const char *server, const struct layout *l,
                     unsigned number);

/*
 * One schema for records of all kinds given: the only one, or their union where `together`.  Copies
 * them.  Named types are defined where they come first.
 */
cJSON *avro_join(const cJSON *const *envelopes, unsigned n, bool together);

/* The other way: the one, or those of the union, in an array; NULL when they are of another kind. */
cJSON *avro_part(const char *schema, size_t len, bool *together);

#endif
