#include "cli/option_table.h"

#include <string.h>

#include "cli/parsed.h"

static const struct choice modes[] = {
    {"initial", MODE_INITIAL},
    {"latest-offset", MODE_LATEST_OFFSET},
    {"never", MODE_NEVER},
    {"no_data", MODE_NEVER},
    {"schema_only", MODE_NEVER},
    {"committed-offset", MODE_COMMITTED_OFFSET},
    {"schema_only_recovery", MODE_COMMITTED_OFFSET},
    {"recovery", MODE_COMMITTED_OFFSET},
    {"snapshot", MODE_SNAPSHOT},
    {"initial_only", MODE_INITIAL_ONLY},
    {"when_needed", MODE_WHEN_NEEDED},
    {"always", MODE_ALWAYS},
    {NULL, 0},
};

static const struct choice plugins[] = {
    {"pgoutput", PLUGIN_PGOUTPUT},
    {"wal2json", PLUGIN_WAL2JSON},
    {"wal2json_rds", PLUGIN_WAL2JSON_RDS},
    {"wal2json_streaming", PLUGIN_WAL2JSON_STREAMING},
    {"wal2json_rds_streaming", PLUGIN_WAL2JSON_RDS_STREAMING},
    {"decoderbufs", PLUGIN_DECODERBUFS},
    {"test_decoding", PLUGIN_TEST_DECODING},
    {NULL, 0},
};

static const struct choice formats[] = {
    {"ndjson", FORMAT_NDJSON},
    {"csv", FORMAT_CSV},
    {"avro", FORMAT_AVRO},
    {NULL, 0},
};

static const struct choice codecs[] = {
    {"null", CODEC_NULL},
    {"deflate", CODEC_DEFLATE},
    {"zstandard", CODEC_ZSTANDARD},
    {"snappy", CODEC_SNAPPY},
    {NULL, 0},
};

static const struct choice profiles[] = {
    {"readable", TYPES_READABLE},
    {"debezium", TYPES_DEBEZIUM},
    {NULL, 0},
};

static const struct choice envelopes[] = {
    {"debezium", ENVELOPE_DEBEZIUM},
    {"debezium-0.9", ENVELOPE_DEBEZIUM_09},
    {"flink", ENVELOPE_FLINK},
    {"plain", ENVELOPE_PLAIN},
    {NULL, 0},
};

static const struct choice changelog_modes[] = {
    {"all", CHANGELOG_ALL},
    {"upsert", CHANGELOG_UPSERT},
    {NULL, 0},
};

static const struct choice publication_modes[] = {
    {"filtered", PUBLICATION_FILTERED},
    {"all-tables", PUBLICATION_ALL_TABLES},
    {"existing", PUBLICATION_EXISTING},
    {NULL, 0},
};

static const struct choice snapshot_modes[] = {
    {"consistent", SNAPSHOT_CONSISTENT},
    {"incremental", SNAPSHOT_INCREMENTAL},
    {NULL, 0},
};

static const struct choice transports[] = {
    {"auto", TRANSPORT_AUTO},
    {"stream", TRANSPORT_STREAM},
    {"sql", TRANSPORT_SQL},
    {NULL, 0},
};

static const struct choice ack_modes[] = {
    {"written", ACK_WRITTEN},
    {"read", ACK_READ},
    {"reply", ACK_REPLY},
    {"deferred", ACK_DEFERRED},
    {NULL, 0},
};

static const struct choice log_formats[] = {
    {"text", LOG_TEXT},
    {"json", LOG_JSON},
    {NULL, 0},
};

/* Words that shells offer; what else is allowed the checks know. */
static const struct choice identities[] = {
    {"keep", 0}, {"full", 0}, {"default", 0}, {"nothing", 0}, {NULL, 0},
};
static const struct choice ends[] = {{"now", 0}, {NULL, 0}};

static const struct choice action_ack[] = {{"", ACTION_ACK}, {NULL, 0}};
static const struct choice action_list[] = {{"", ACTION_LIST_SLOTS}, {NULL, 0}};
static const struct choice action_peek[] = {{"", ACTION_PEEK}, {NULL, 0}};
static const struct choice action_check[] = {{"", ACTION_CHECK}, {NULL, 0}};
static const struct choice action_create[] = {{"", ACTION_CREATE_SLOT}, {NULL, 0}};
static const struct choice action_drop[] = {{"", ACTION_DROP_SLOT}, {NULL, 0}};
static const struct choice prompt_always[] = {{"", PROMPT_ALWAYS}, {NULL, 0}};
static const struct choice prompt_never[] = {{"", PROMPT_NEVER}, {NULL, 0}};

#define AT(member) offsetof(struct parsed, member)
#define GROUP(title, actions) {0, NULL, KIND_GROUP, 0, NULL, NULL, NULL, title, actions}

/* What an option has a meaning for.  --ack and --check take what their capture is given. */
#define ON(action) (1u << ACTION_##action)
#define LIKE_CAPTURE (ON(CAPTURE) | ON(ACK) | ON(CHECK))
#define READS (LIKE_CAPTURE | ON(PEEK))
#define ANY (~0u)
#define SAME 0 /* as the group */

/* clang-format off */
const struct option_row option_rows[] = {
    GROUP("Instead of a capture", ANY),
    {0, "list-slots", KIND_SET, AT(o.action), action_list, NULL, NULL, "list the logical slots of the server: who reads them, how far they are, what they keep; -F ndjson or csv for programs", SAME},
    {0, "peek", KIND_SET, AT(o.action), action_peek, NULL, NULL, "print the pending changes of the slot, and leave it where it is", SAME},
    {0, "check", KIND_SET, AT(o.action), action_check, NULL, NULL, "whether a capture with these options would start, and what to do where it would not", SAME},
    {0, "create-slot", KIND_SET, AT(o.action), action_create, NULL, NULL, "create the slot, with its publication", SAME},
    {0, "drop-slot", KIND_SET, AT(o.action), action_drop, NULL, NULL, "drop the slot", SAME},
    {0, "ack", KIND_SET, AT(o.action), action_ack, NULL, NULL, "acknowledge what a run with --ack-mode=deferred has left pending in the state file", SAME},
    {0, "if-not-exists", KIND_FLAG, AT(o.if_not_exists), NULL, NULL, NULL, "--create-slot: a slot that is there already is fine", ON(CREATE_SLOT)},
    {0, "if-exists", KIND_FLAG, AT(o.if_exists), NULL, NULL, NULL, "--drop-slot: a slot that is not there is fine", ON(DROP_SLOT)},
    GROUP("Connection options", ANY),
    {'d', "dbname", KIND_STRING, AT(o.dbname), NULL, NULL, "DBNAME", "database, conninfo string or URI", SAME},
    {'h', "host", KIND_STRING, AT(o.host), NULL, NULL, "HOST", "server host or socket directory", SAME},
    {'p', "port", KIND_STRING, AT(o.port), NULL, NULL, "PORT", "server port", SAME},
    {'U', "username", KIND_STRING, AT(o.user), NULL, NULL, "NAME", "role, with the REPLICATION attribute", SAME},
    {'w', "no-password", KIND_SET, AT(o.prompt), prompt_never, NULL, NULL, "never ask for a password", SAME},
    {'W', "password", KIND_SET, AT(o.prompt), prompt_always, NULL, NULL, "ask for a password first", SAME},
    {0, "config", KIND_STRING, AT(o.config), NULL, NULL, "FILE", "properties file of a Flink CDC or Debezium connector, or of these options; the command line wins", SAME},
    GROUP("What to capture", LIKE_CAPTURE),
    {'S', "slot", KIND_STRING, AT(o.slot), NULL, NULL, "NAME", "replication slot; created when missing", ANY},
    {'P', "plugin", KIND_CHOICE, AT(o.plugin), plugins, "plugin", "NAME", "decoding plugin: pgoutput, wal2json, wal2json_rds, wal2json_streaming, wal2json_rds_streaming, decoderbufs, test_decoding; default the slot's own, pgoutput for a new one", READS | ON(CREATE_SLOT)},
    {'m', "startup-mode", KIND_CHOICE, AT(o.mode), modes, "startup mode", "MODE", "what to begin with without a state file: initial (default), latest-offset, never, committed-offset, snapshot, initial_only, when_needed, always", SAME},
    {'n', "schema", KIND_LIST, AT(o.schemas), NULL, NULL, "REGEX", "capture these schemas (repeatable)", READS | ON(CREATE_SLOT)},
    {'N', "exclude-schema", KIND_LIST, AT(o.exclude_schemas), NULL, NULL, "REGEX", "leave these schemas out", READS | ON(CREATE_SLOT)},
    {'t', "table", KIND_LIST, AT(o.tables), NULL, NULL, "REGEX", "capture these tables, by name or schema.name", READS | ON(CREATE_SLOT)},
    {'T', "exclude-table", KIND_LIST, AT(o.exclude_tables), NULL, NULL, "REGEX", "leave these tables out", READS | ON(CREATE_SLOT)},
    {0, "exclude-column", KIND_LIST, AT(o.exclude_columns), NULL, NULL, "REGEX", "leave out columns, by schema.table.column", READS},
    {0, "publication", KIND_STRING, AT(o.publication), NULL, NULL, "NAME", "publication; default cdcdump_SLOT", READS | ON(CREATE_SLOT)},
    {0, "publication-mode", KIND_CHOICE, AT(o.publication_mode), publication_modes, "publication mode", "MODE", "filtered (default), all-tables, existing", LIKE_CAPTURE | ON(CREATE_SLOT)},
    {0, "replica-identity", KIND_STRING, AT(o.replica_identity), identities, NULL, "WHAT", "set it on captured tables: keep (default), full, default, nothing, index:NAME", SAME},
    {'o', "option", KIND_LIST, AT(o.plugin_options), NULL, NULL, "NAME[=VALUE]", "option for the plugin, such as binary or origin (pgoutput)", READS},
    {0, "transport", KIND_CHOICE, AT(o.transport), transports, "transport", "MODE", "how changes come: stream (replication protocol), sql (slot functions), auto (default: sql to an end that is known, and to catch up)", READS},
    {0, "catch-up-bytes", KIND_STRING, AT(catch_up), NULL, NULL, "SIZE", "auto: catch up through SQL when so much WAL is pending (default 64MB); pieces are four times that at most", READS},
    {0, "temporary-slot", KIND_FLAG, AT(o.temporary_slot), NULL, NULL, NULL, "the slot lives as long as the connection", SAME},
    {0, "drop-slot-on-stop", KIND_FLAG, AT(o.drop_slot_on_stop), NULL, NULL, NULL, "drop slot and state at a regular end", SAME},
    {0, "failover", KIND_FLAG, AT(o.failover), NULL, NULL, NULL, "create the slot as a failover slot (17+)", LIKE_CAPTURE | ON(CREATE_SLOT)},
    {0, "two-phase", KIND_FLAG, AT(o.two_phase), NULL, NULL, NULL, "prepared transactions at PREPARE (15+); with --transactions", READS | ON(CREATE_SLOT)},
    GROUP("Rows (startup modes that read them)", LIKE_CAPTURE),
    {0, "snapshot", KIND_CHOICE, AT(o.snapshot), snapshot_modes, "snapshot mode", "MODE", "consistent (default): all tables as of one point; incremental: chunk by chunk beside the stream", SAME},
    {'j', "jobs", KIND_COUNT, AT(o.jobs), NULL, "number of jobs", "N", "connections that read rows (consistent; default 1)", SAME},
    {0, "chunk-size", KIND_COUNT, AT(o.chunk_size), NULL, "chunk size", "ROWS", "rows of a chunk (incremental; default 8192)", SAME},
    {0, "chunk-key", KIND_STRING, AT(o.chunk_key), NULL, NULL, "COLUMN", "read chunks in the order of this column (13+)", SAME},
    {0, "snapshot-query", KIND_LIST, AT(o.snapshot_queries), NULL, NULL, "TABLE=SELECT", "read the rows of TABLE (schema.table) by this query", SAME},
    GROUP("Records", READS),
    {'F', "format", KIND_CHOICE, AT(o.format), formats, "format", "FORMAT", "ndjson (default), csv, avro", READS | ON(LIST_SLOTS)},
    {0, "codec", KIND_CHOICE, AT(o.codec), codecs, "codec", "CODEC", "of Avro files: null, deflate (default), zstandard, snappy", SAME},
    {'e', "envelope", KIND_CHOICE, AT(o.envelope), envelopes, "envelope", "SHAPE", "debezium (default), debezium-0.9, flink (default of csv), plain", SAME},
    {0, "changelog-mode", KIND_CHOICE, AT(o.changelog), changelog_modes, "changelog mode", "MODE", "flink: all (default: updates with their old row), upsert", SAME},
    {0, "types", KIND_CHOICE, AT(o.handling.profile), profiles, "types profile", "PROFILE", "how values are written: readable (default), debezium", SAME},
    {0, "set", KIND_LIST, AT(settings), NULL, NULL, "NAME=VALUE", "a single rule for values by its Debezium name, such as decimal.handling.mode=double", SAME},
    {0, "server-name", KIND_STRING, AT(o.server_name), NULL, NULL, "NAME", "source.name; default the database's name", SAME},
    {'K', "key-delimiter", KIND_STRING, AT(key_delimiter), NULL, NULL, "STR", "write KEY STR VALUE, as kcat -K reads it", SAME},
    {0, "tombstones", KIND_FLAG, AT(o.tombstones), NULL, NULL, NULL, "with -K: an empty value after each delete", SAME},
    {0, "transactions", KIND_FLAG, AT(o.transactions), NULL, NULL, NULL, "records for BEGIN and END", SAME},
    {0, "schema-events", KIND_FLAG, AT(o.schema_events), NULL, NULL, NULL, "records for a table's columns", SAME},
    {0, "messages", KIND_FLAG, AT(o.messages), NULL, NULL, NULL, "records for pg_logical_emit_message (14+)", SAME},
    {0, "heartbeat", KIND_SECONDS, AT(o.heartbeat), NULL, "heartbeat", "SECONDS", "a record every so often", SAME},
    {0, "skip-ops", KIND_OPS, AT(o.skip_ops), NULL, NULL, "OPS", "leave out operations: letters of cudtm", SAME},
    GROUP("Output and position", LIKE_CAPTURE),
    {'f', "file", KIND_STRING, AT(o.file), NULL, NULL, "FILE", "write there instead of to standard output; with {schema}, {table}, {topic}, {lsn}, {date}: a file for each table", READS},
    {0, "rotate", KIND_STRING, AT(rotate), NULL, NULL, "SIZE|SECONDS", "begin another file when one has that size (10MB) or age", SAME},
    {0, "state", KIND_STRING, AT(o.state_file), NULL, NULL, "FILE", "remember position and rows read, and go on from there", SAME},
    {0, "ack-mode", KIND_CHOICE, AT(o.ack_mode), ack_modes, "ack mode", "MODE", "when a transaction is accepted: written (files), read (pipes), reply, deferred; default by output", SAME},
    {0, "ack-fd", KIND_STRING, AT(ack_fd), NULL, NULL, "N", "reply: read acknowledged LSNs, a line each, from this descriptor", SAME},
    {0, "ack-file", KIND_STRING, AT(o.ack_file), NULL, NULL, "FIFO", "reply: read them from this FIFO", SAME},
    {0, "exec", KIND_STRING, AT(o.exec), NULL, NULL, "COMMAND", "output goes to the standard input of COMMAND, batch after batch", SAME},
    {0, "batch-rows", KIND_COUNT, AT(o.batch_rows), NULL, "number of records", "N", "end a batch after N records (default 10000)", SAME},
    {0, "batch-seconds", KIND_SECONDS, AT(o.batch_time), NULL, "batch time", "SECONDS", "end a batch after so long (default 5)", SAME},
    {0, "per-table", KIND_FLAG, AT(per_table), NULL, NULL, NULL, "run COMMAND for each table of a batch", SAME},
    {0, "exec-retries", KIND_COUNT, AT(o.exec_retries), NULL, "number of tries", "N", "try a batch again that often (default 2)", SAME},
    {0, "dead-letter", KIND_STRING, AT(o.dead_letter), NULL, NULL, "FILE", "put there what cannot be decoded or encoded, and go on", LIKE_CAPTURE},
    {0, "stall-timeout", KIND_SECONDS, AT(o.stall_timeout), NULL, "stall timeout", "SECONDS", "let go of the server when the reader stands still", SAME},
    {'I', "startpos", KIND_LSN, AT(o.start_lsn), NULL, "start position", "LSN", "start elsewhere", READS},
    {0, "force", KIND_FLAG, AT(o.force), NULL, NULL, NULL, "let -I skip unread changes", SAME},
    GROUP("When to end (at a transaction boundary)", READS),
    {'E', "until", KIND_UNTIL, AT(o.until), ends, NULL, "LSN|now|TIME", "after the last transaction up to there", SAME},
    {0, "count", KIND_COUNT, AT(o.count), NULL, "count", "N", "after N records", SAME},
    {0, "idle-exit", KIND_SECONDS, AT(o.idle_exit), NULL, "idle time", "SECONDS", "when no change came for so long", SAME},
    {0, "max-time", KIND_SECONDS, AT(o.max_time), NULL, "maximum time", "SECONDS", "after so long", SAME},
    GROUP("Other", READS),
    {0, "retries", KIND_COUNT, AT(o.retries), NULL, "number of retries", "N", "for a server that is away; default endless once connected", READS},
    {0, "retry-delay", KIND_SECONDS, AT(o.retry_delay), NULL, "retry delay", "SECONDS", "first delay (default 1), doubling up to 30", SAME},
    {0, "status-interval", KIND_SECONDS, AT(o.status_interval), NULL, "status interval", "SECONDS", "feedback to the server (default 10)", SAME},
    {0, "progress", KIND_FLAG, AT(o.progress), NULL, NULL, NULL, "a line at the bottom of the terminal that tells how far it is (default on a terminal)", SAME},
    {0, "stats", KIND_SECONDS, AT(o.stats), NULL, "statistics interval", "SECONDS", "report that often on standard error", SAME},
    {0, "metrics-file", KIND_STRING, AT(o.metrics_file), NULL, NULL, "FILE", "keep figures there for Prometheus' node exporter", LIKE_CAPTURE},
    {0, "log-format", KIND_CHOICE, AT(o.log_format), log_formats, "log format", "FORMAT", "of messages on standard error: text (default), json", ANY},
    {'v', "verbose", KIND_FLAG, AT(verbose), NULL, NULL, NULL, "say more on standard error", ANY},
    {'q', "quiet", KIND_FLAG, AT(quiet), NULL, NULL, NULL, "say errors only", ANY},
    {0, "help", KIND_HELP, 0, NULL, NULL, NULL, "this text", ANY},
    {'V', "version", KIND_VERSION, 0, NULL, NULL, NULL, "the version", ANY},
};
/* clang-format on */

const size_t option_count = sizeof option_rows / sizeof option_rows[0];

const struct option_row *option_by_letter(int letter)
{
    for (size_t i = 0; i < option_count; i++)
        if (letter && option_rows[i].letter == letter)
            return &option_rows[i];
    return NULL;
}

const struct option_row *option_by_name(const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_rows[i].name && strcmp(option_rows[i].name, name) == 0)
            return &option_rows[i];
    return NULL;
}

const struct option_row *option_of_action(enum action action)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_rows[i].kind == KIND_SET && option_rows[i].offset == AT(o.action) &&
            option_rows[i].choices->value == (int)action)
            return &option_rows[i];
    return NULL;
}

bool option_has_meaning(const struct option_row *row, enum action action)
{
    unsigned actions = row->actions;

    for (; !actions; row--)
        actions = row->kind == KIND_GROUP ? row->actions : 0;
    return actions & 1u << action;
}
