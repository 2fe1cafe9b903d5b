/*
 * test_decoding - the payloads of PostgreSQL's example of a decoding plugin.
 *
 * Sources: contrib/test_decoding of PostgreSQL 12 to 18, and measured output of 15.  One message is
 * one record and one event at most, a text in the encoding of the database:
 *
 *     BEGIN[ XID]
 *     COMMIT[ XID][ (at TIME)]
 *     PREPARE TRANSACTION 'GID'[, txid XID][ (at TIME)]      ends what BEGIN has begun
 *     COMMIT PREPARED 'GID'[, txid XID][ (at TIME)]
 *     ROLLBACK PREPARED 'GID'[, txid XID][ (at TIME)]
 *     table SCHEMA.TABLE: INSERT: COLUMNS
 *     table SCHEMA.TABLE: UPDATE:[ old-key: COLUMNS new-tuple:] COLUMNS
 *     table SCHEMA.TABLE: DELETE: COLUMNS
 *     table SCHEMA.TABLE[, SCHEMA.TABLE ...]: TRUNCATE: (no-flags)
 *                                             TRUNCATE:[ restart_seqs][ cascade]
 *     message: transactional: 0|1 prefix: PREFIX, sz: LENGTH content:BYTES
 *
 * COLUMNS are NAME[TYPE]:VALUE with a blank between them, or "(no-tuple-data)".  Old rows do not
 * list nulls.  Names are quoted as in SQL where SQL wants it, types are as format_type() writes
 * them without a modifier.  A value is 'quoted', with ' doubled and all else as it is; or, by its
 * type, a bare number (NaN and Infinity are some), true or false, B'101'; or a bare null or
 * unchanged-toast-datum.  A GID with a backslash in it is written E'...', with \ doubled as well.
 *
 * What it does not tell: type modifiers, OIDs, LSNs (those of the wrapper are taken: that of COMMIT
 * is the end of the commit record) and, before COMMIT, the time.  That a transaction will be
 * prepared is told by its end alone.
 *
 * Not understood, and nothing that cdcdump asks for: unfinished transactions (stream-changes), and
 * transactional messages without the BEGIN of their transaction, as PostgreSQL 15 sends them with
 * skip-empty-xacts.  force-binary changes nothing in what is sent.
 */
#ifndef DECODE_TEST_DECODING_H
#define DECODE_TEST_DECODING_H

#include "decode/decoder.h"

extern const struct decoder_kind decoder_test_decoding;

#endif
