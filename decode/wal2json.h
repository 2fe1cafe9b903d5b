/*
 * wal2json - the payloads of the plugin wal2json, both of its formats.
 *
 * Format 2 (wal2json 2.0 and later) is an object per row, with objects around transactions.  Format
 * 1 is an object per transaction, in one message or, with write-in-chunks, in many.  Which of them
 * a message is, is seen from its first key.  Format: the plugin's README, and its source where the
 * README is silent; tables of keys stand in decode/wal2json_v1.c and decode/wal2json_v2.c.  Keys
 * may come in any order and with white space between tokens; unknown ones are skipped, known ones
 * may not come twice.
 *
 * Names of types that the plugin writes with SQL's quotes in place of JSON's are read nevertheless
 * (an enum "a"."b" in a schema outside of search_path; in versions before 2.4, any quoted name).
 *
 * What is made of values:
 *
 *   null               VALUE_NULL.  Up to wal2json 2.5, and later where the option
 *                      numeric-data-types-as-string is off, NaN and infinite numbers come as null,
 *                      too.  The decoder therefore starts with nan_is_null set; who has started
 *                      the slot with that option clears it.
 *   true, false        the text "true" or "false"
 *   a number           its text
 *   a string           its text, behind "\x" if the column is a bytea, as the plugin cuts off two
 *                      bytes.  Where bytea_output is not "hex", those were bytes of the value.
 *   an object, array   an error: the plugin never sends any
 *
 * Old rows of format 1 lack the columns that are null, so a null there is a number that has been
 * lost.  In format 2 it may be either: a table with replica identity FULL has its nulls there.
 *
 * What is not said: commit_lsn and a change's own LSN in format 1 (in chunks, the LSN of the
 * wrapper message is the change's); TRUNCATE in format 1; the old row of a table whose replica
 * identity is neither there nor FULL, as such updates and deletions are dropped by the plugin.
 * Options have to ask for xid, timestamp and LSN.  A transaction of format 1 without its xid cannot
 * be told from what stands outside of transactions, and only messages may stand there.  A
 * transaction's end_lsn that the plugin does not say is the LSN of the wrapper of what ends it,
 * where that is sent at the end; for a transaction of format 1 in one message it stays 0.
 *
 * A message is rewritten while it is read.  Errors give the LSN of the wrapper message and the
 * place in the payload as a count of the bytes before it.  Bytes that are not UTF-8 are left to the
 * encoder, which can name the column; the content of a message is bytes anyway, in no encoding.
 */
#ifndef DECODE_WAL2JSON_H
#define DECODE_WAL2JSON_H

#include "decode/decoder.h"

extern const struct decoder_kind decoder_wal2json;

#endif
