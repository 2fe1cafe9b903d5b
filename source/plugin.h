/*
 * plugin - the decoding plugins that can be read: what the server calls them and what they are told.
 *
 * wal2json comes in four dresses, named after the settings that Debezium 0.9 had for them: all of
 * them are the same library.  Its options have come one by one with its versions and an unknown one
 * is an error, so those that may be unknown are taken back as the server complains of them: the
 * options in use are part of a connection's `struct plugin_options`.
 */
#ifndef SOURCE_PLUGIN_H
#define SOURCE_PLUGIN_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "cdcdump.h"
#include "cli/options.h"
#include "decode/decoder.h"

struct plugin_option;

struct plugin {
    const char *name;                 /* as -P has it */
    const char *library;              /* as slots and the server have it */
    const struct decoder_kind *decoder;
    const struct plugin_option *sent; /* ends with a NULL name */
    const char *const *reserved;      /* options that are not the user's to set; ends with NULL */
    bool publishes;                   /* sends what a publication says */
    bool filters_columns;             /* leaves generated columns out */
    bool tells_prepared;              /* gives prepared transactions at PREPARE, where asked to */
    const char *unidentified;         /* what becomes of changes to rows without an identity */
    const char *no_messages;          /* why it has no logical messages; NULL = it has them */
};

const struct plugin *plugin_of(enum plugin_name name);

/* The plainest dress of a slot's plugin; PLUGIN_AS_SLOT where it is not one that can be read. */
enum plugin_name plugin_name_of_library(const char *library);

/* Whether the user's options go with the plugin, and it with them; says what does not. */
enum outcome plugin_check(const struct options *o);

/* ---- what a stream is started with ---- */

/* Options that a connection does without, as bits by their place in plugin->sent. */
struct plugin_options {
    unsigned refused;
};

/*
 * To begin with.  The server drops a temporary slot with the error that an unknown option is, so what
 * many versions do not know is not tried there.
 */
struct plugin_options plugin_first_options(const struct options *o);

enum plugin_list {
    PLUGIN_COMMAND,  /* as START_REPLICATION has them: name 'value', ... */
    PLUGIN_ARGUMENTS /* as the slot functions have them: 'name', 'value', ... */
};

/* Appends the list of options, without parentheses; false where there is none. */
bool plugin_add_options(struct buf *b, PGconn *conn, enum plugin_list form, const struct options *o,
                        const struct plugin_options *chosen);

/* Whether the error complains of an option that can be done without, which is taken back then. */
bool plugin_yields(const struct options *o, struct plugin_options *chosen, const PGresult *error);

/* Whether numbers that are NaN or infinite come as null with these. */
bool plugin_nan_is_null(const struct options *o, const struct plugin_options *chosen);

/*
 * Where the server's setting output_plugin_libraries is known to leave the plugin out: *list is what it
 * is to be set to, which the caller frees.  NULL: it does not, or there is no such setting.
 */
enum outcome plugin_setting(PGconn *sql, const struct plugin *p, char **list);

/*
 * After an attempt to create or start a slot that the server has refused: where it is the server's
 * setting output_plugin_libraries that forbids the plugin, says how to set it.  forbidden: the
 * server's error was about privileges.
 */
void plugin_hint_at_setting(PGconn *sql, const struct plugin *p, bool forbidden);

#endif
