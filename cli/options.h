/*
 * options - what the user asked for.
 *
 * One const table (option_table.h) names every option, its kind and where its value goes; --help is
 * printed from the same table.  options_parse() reads the command line, then the file of --config for
 * what that leaves open, then checks everything that can be checked without a server in one pass.  From then on the struct is const: it says
 * what was wanted, never what is going on.
 *
 * All strings borrow from argv or from string literals, and live as long as the process.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/log.h"
#include "cdcdump.h"
#include "cli/handling.h"
#include "encode/container.h"

/* Values of a repeatable option, in the order given. */
struct string_list {
    const char **items;
    size_t count;
};

/* Appends it; borrowed, as all of them are. */
void string_list_add(struct string_list *list, const char *item);

enum startup_mode {
    MODE_INITIAL,
    MODE_LATEST_OFFSET,
    MODE_NEVER, /* like latest-offset, but an existing slot is read from its confirmed position */
    MODE_COMMITTED_OFFSET,
    MODE_SNAPSHOT,
    MODE_INITIAL_ONLY,
    MODE_WHEN_NEEDED,
    MODE_ALWAYS,
};

/* How changes come from the server: see source/stream.h. */
enum transport_name { TRANSPORT_AUTO, TRANSPORT_STREAM, TRANSPORT_SQL };

enum snapshot_mode { SNAPSHOT_CONSISTENT, SNAPSHOT_INCREMENTAL };

enum publication_mode { PUBLICATION_FILTERED, PUBLICATION_ALL_TABLES, PUBLICATION_EXISTING };

/* The first is not given: it follows from the output; the last one from --exec. */
enum ack_mode { ACK_BY_OUTPUT, ACK_WRITTEN, ACK_READ, ACK_REPLY, ACK_DEFERRED, ACK_COMMAND };

enum action {
    ACTION_CAPTURE,
    ACTION_ACK,
    ACTION_LIST_SLOTS,
    ACTION_PEEK,
    ACTION_CHECK,
    ACTION_CREATE_SLOT,
    ACTION_DROP_SLOT,
};

enum format_name { FORMAT_NDJSON, FORMAT_CSV, FORMAT_AVRO };

enum envelope_name {
    ENVELOPE_OF_FORMAT, /* not given: debezium, flink for CSV; never after parsing */
    ENVELOPE_DEBEZIUM,
    ENVELOPE_DEBEZIUM_09,
    ENVELOPE_FLINK,
    ENVELOPE_PLAIN,
};

enum changelog_mode { CHANGELOG_ALL, CHANGELOG_UPSERT };

enum prompt { PROMPT_WHEN_NEEDED, PROMPT_ALWAYS, PROMPT_NEVER };

/* --until: at most one of the three is set. */
struct until {
    bool now;
    lsn_t lsn;             /* 0 = not given */
    const char *timestamp; /* as typed; the server reads it */
};

/* Bits of options.skip_ops. */
enum skip_op {
    SKIP_INSERT = 1,
    SKIP_UPDATE = 2,
    SKIP_DELETE = 4,
    SKIP_TRUNCATE = 8,
    SKIP_MESSAGE = 16,
};

/* Decoding plugins, and the dresses that wal2json is known in; see source/plugin.h. */
enum plugin_name {
    PLUGIN_AS_SLOT, /* not given: that of the slot, pgoutput for a new one */
    PLUGIN_PGOUTPUT,
    PLUGIN_WAL2JSON,
    PLUGIN_WAL2JSON_RDS,
    PLUGIN_WAL2JSON_STREAMING,
    PLUGIN_WAL2JSON_RDS_STREAMING,
    PLUGIN_DECODERBUFS,
    PLUGIN_TEST_DECODING,
};

struct options {
    enum action action;
    bool if_exists;     /* --drop-slot */
    bool if_not_exists; /* --create-slot */
    const char *config; /* NULL = none; what it says is in the other members */
    enum log_format log_format;

    /* connection */
    const char *dbname; /* a name, a conninfo string or a URI; NULL = libpq's default */
    const char *host;
    const char *port;
    const char *user;
    enum prompt prompt;
    struct string_list connection_settings; /* keyword=value of libpq, from --config */

    /* source */
    const char *slot;
    enum plugin_name plugin;
    enum startup_mode mode;
    struct string_list schemas;
    struct string_list exclude_schemas;
    struct string_list tables;
    struct string_list exclude_tables;
    struct string_list qualified_tables; /* Java's patterns, for schema.table alone: cli/java_regex.h */
    struct string_list exclude_qualified_tables;
    struct string_list exclude_columns;
    const char *publication; /* never NULL after parsing */
    enum publication_mode publication_mode;
    bool publication_given;
    bool publication_mode_given;
    bool keep_publication; /* one that is there already is never altered: mode existing then */
    const char *replica_identity; /* keep, full, default, nothing, index:NAME */
    struct string_list plugin_options;
    bool temporary_slot;
    bool drop_slot_on_stop;
    bool failover;
    bool two_phase;
    bool binary; /* -o binary=true */
    usec_t status_interval;

    /* snapshot */
    enum transport_name transport;
    uint64_t catch_up_bytes; /* of WAL */
    enum snapshot_mode snapshot;
    uint64_t jobs;       /* connections that read rows */
    uint64_t chunk_size; /* rows */
    const char *chunk_key; /* NULL = the primary key */
    struct string_list snapshot_queries; /* schema.table=SELECT … */
    bool progress;
    usec_t stats; /* 0 = off */
    const char *metrics_file; /* NULL = none */

    bool retries_given;
    uint64_t retries; /* UINT64_MAX = endless */
    usec_t retry_delay;

    /* records */
    enum format_name format;
    bool format_given;
    enum codec codec; /* of Avro's blocks */
    enum envelope_name envelope;
    bool envelope_given;
    enum changelog_mode changelog;
    struct handling handling; /* --types and --set */
    const char *server_name; /* NULL = the database's name */
    const char *key_delimiter; /* NULL = no keys; escapes already resolved */
    size_t key_delimiter_len;
    bool tombstones;
    bool transactions;
    bool schema_events;
    bool messages;
    usec_t heartbeat;  /* 0 = off */
    unsigned skip_ops; /* SKIP_* bits */

    /* delivery */
    const char *file; /* NULL = standard output */
    bool many_files;  /* file has placeholders; */
    bool per_table;   /* and tells tables apart; or --exec does */
    uint64_t rotate_size; /* bytes; 0 = at no size, as the next one */
    usec_t rotate_time;
    const char *state_file;
    enum ack_mode ack_mode;
    int ack_fd;           /* -1 = not given */
    const char *ack_file; /* NULL = not given */
    const char *exec;     /* the command that the output goes to; NULL = none */
    uint64_t batch_rows;  /* records */
    usec_t batch_time;
    uint64_t exec_retries;
    const char *dead_letter; /* NULL = what cannot be given ends the run */
    usec_t stall_timeout; /* 0 = half of wal_sender_timeout */

    /* bounds */
    lsn_t start_lsn; /* 0 = not given */
    bool force;
    struct until until;
    uint64_t count;   /* 0 = no bound, like the next two */
    usec_t idle_exit;
    usec_t max_time;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_BAD };

/*
 * Fills *o from the command line.  OPTIONS_DONE: --help or --version was printed, nothing is left
 * to do.  OPTIONS_BAD: something is wrong and has been said.
 */
enum options_result options_parse(struct options *o, int argc, char **argv);

/* What follows the mistakes that options_parse() leaves to be found by others. */
void options_hint_at_help(void);

/* Whether the mode reads the rows of tables. */
bool mode_takes_snapshot(enum startup_mode mode);

/* Whether a run in this mode ends by itself once it has given the rows. */
bool mode_ends(enum startup_mode mode);

#endif
