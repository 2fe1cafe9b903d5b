/*
 * peek_raw - the messages of a plugin that cdcdump does not know, as they are.
 *
 * One record each, in the order of keys of the plain envelope as far as they are known:
 *
 *   {"op":"raw","lsn":"0/16B3748","commit_lsn":null,"seq":1,"xid":555,"ts":null,"text":"…"}
 *
 * with "base64" instead of "text" where the plugin's output is declared binary, and where a message
 * is no valid UTF-8.  seq counts from 1 within the xid, and anew where messages of several
 * transactions alternate, which only a plugin that was asked to stream them does.
 *
 * They come from pg_logical_slot_peek_changes() or, where the plugin's output is declared binary,
 * pg_logical_slot_peek_binary_changes() (PostgreSQL documentation, "Replication Management
 * Functions").  The server collects all that is asked for, on its disk where that is much, before
 * it gives the first row; here there is one row at a time.
 */
#ifndef ACTIONS_PEEK_RAW_H
#define ACTIONS_PEEK_RAW_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "cli/options.h"
#include "source/slot.h"

/* The slot is there, as it was found, and readable; sql stays the caller's. */
enum outcome peek_raw(PGconn *sql, const struct options *o, const struct slot *slot);

#endif
