/*
 * decoderbufs - the payloads of Debezium's decoding plugin for Protocol Buffers.
 *
 * Source of the format: proto/pg_logicaldec.proto of debezium/postgres-decoderbufs, and what its
 * src/decoderbufs.c puts in there.  A message is a RowMessage, read with protobuf.h:
 *
 *     RowMessage    1 transaction_id uint32, 2 commit_time uint64 (since 1970), 3 table string,
 *                   4 op (0 insert, 1 update, 2 delete, 3 begin, 4 commit),
 *                   5 new_tuple, 6 old_tuple repeated DatumMessage,
 *                   7 new_typeinfo repeated TypeInfo, none or as many as new_tuple
 *     DatumMessage  1 column_name string, 2 column_type int64, and none or one of 3 int32, 4 int64,
 *                   5 float, 6 double, 7 bool, 8 string, 9 bytes, 10 Point, 11 missing bool
 *     TypeInfo      1 modifier string (the type with its modifier), 2 value_optional bool
 *     Point         1 x double, 2 y double
 *
 * Names of tables and columns are quoted as in SQL.  A column without a value is null in new_tuple;
 * in old_tuple, which always lists all columns, it is null or not part of the identity.  `missing`
 * is an unchanged value that is stored out of line.
 *
 * Values become the text of their type's output function.  Those that come as numbers are written
 * by binary/, from the bits that came; the rest is the server's text.  Dates and times with a date
 * count from 1970 here and from 2000 in the server; the shift wraps around, both ways.  Infinite
 * timestamps are not shifted, so 294247-01-10 04:00:54.775807 comes like infinity and the next
 * microsecond like -infinity; everything else is told apart.
 *
 * What the plugin loses, of which a warning tells once per decoder, when it is met with:
 *
 *     timetz    comes in GMT: its zone is lost
 *     interval  came as one number before October 2019: a day as 24 hours, a month as 30.4375 days
 *     UPDATE    comes without its row where the table has no replica identity: there is no event
 *     null      also was an unchanged value that is stored out of line before July 2019; where the
 *               column cannot be null, it is taken for that
 *
 * Types that were bent still earlier, numeric as a double until February 2018 and PostGIS's points
 * until April 2019, are errors.
 *
 * Two generations.  Since January 2020 BEGIN and COMMIT enclose the rows; a COMMIT's own LSN is the
 * end of its record.  Before, there were rows alone.  The first message of a connection tells which
 * it is, as a connection starts outside of transactions; after that the other kind is an error.
 *
 * Rows alone do not tell that their transaction is complete.  One with another transaction_id does,
 * and then the message gives up to three events: COMMIT, BEGIN and CHANGE.  So do keepalives: the
 * walsender's position moves from record to record and stands still while the transaction of one
 * commit record is sent.  Of two keepalives behind a row with different positions the second one
 * thus proves that the transaction has been sent whole, and everything that committed before that
 * position with it, which makes it the transaction's end_lsn.  When the next transaction's row
 * comes with but one position behind the last row, this one is taken as end_lsn: nothing that
 * committed before it is missing.  It can be from before the commit record, when the keepalive was
 * sent while the last row was: then the transaction comes once more after a restart.  Without any
 * keepalive end_lsn is 0.
 */
#ifndef DECODE_DECODERBUFS_H
#define DECODE_DECODERBUFS_H

#include "decode/decoder.h"

extern const struct decoder_kind decoder_decoderbufs;

#endif
