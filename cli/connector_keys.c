#include "cli/connector_keys.h"

#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

static const struct key_word boolean[] = {{"true", "true"}, {"false", "false"}, {NULL, NULL}};
static const struct key_word only_true[] = {{"true", NULL}, {NULL, NULL}};
static const struct key_word only_false[] = {{"false", NULL}, {NULL, NULL}};
static const struct key_word zero[] = {{"0", NULL}, {NULL, NULL}};
static const struct key_word one[] = {{"1", NULL}, {NULL, NULL}};
static const struct key_word dot[] = {{".", NULL}, {NULL, NULL}};
static const struct key_word none[] = {{"none", NULL}, {"", NULL}, {NULL, NULL}};
static const struct key_word fail[] = {{"fail", NULL}, {NULL, NULL}};
static const struct key_word memory[] = {{"memory", NULL}, {NULL, NULL}};
static const struct key_word connector[] = {{"connector", NULL}, {NULL, NULL}};
static const struct key_word select_all[] = {{"select_all", NULL}, {NULL, NULL}};
static const struct key_word repeatable[] = {
    {"repeatable_read", NULL}, {"serializable", NULL}, {NULL, NULL}};
static const struct key_word json[] = {
    {"org.apache.kafka.connect.json.JsonConverter", NULL}, {NULL, NULL}};

static const struct key_word plugins[] = {
    {"pgoutput", "pgoutput"},
    {"wal2json", "wal2json"},
    {"wal2json_rds", "wal2json_rds"},
    {"wal2json_streaming", "wal2json_streaming"},
    {"wal2json_rds_streaming", "wal2json_rds_streaming"},
    {"decoderbufs", "decoderbufs"},
    {NULL, NULL},
};

static const struct key_word snapshot_modes[] = {
    {"initial", "initial"},
    {"always", "always"},
    {"never", "never"},
    {"no_data", "no_data"},
    {"initial_only", "initial_only"},
    {"when_needed", "when_needed"},
    {"schema_only", "schema_only"},
    {"schema_only_recovery", "schema_only_recovery"},
    {"recovery", "recovery"},
    {"exported", "initial"},
    {"custom", NULL},
    {"configuration_based", NULL},
    {NULL, NULL},
};

static const struct key_word startup_modes[] = {
    {"initial", "initial"},
    {"latest-offset", "latest-offset"},
    {"snapshot", "snapshot"},
    {"committed-offset", "committed-offset"},
    {NULL, NULL},
};

static const struct key_word changelog_modes[] = {
    {"all", "all"}, {"upsert", "upsert"}, {NULL, NULL}};

static const struct key_word publication_modes[] = {
    {"all_tables", "all-tables"}, {"filtered", "filtered"}, {"disabled", "existing"},
    {"no_tables", NULL},          {NULL, NULL},
};

static const struct key_word sslmodes[] = {
    {"disable", "disable"},         {"allow", "allow"},
    {"prefer", "prefer"},           {"require", "require"},
    {"verify-ca", "verify-ca"},     {"verify_ca", "verify-ca"},
    {"verify-full", "verify-full"}, {"verify_full", "verify-full"},
    {NULL, NULL},
};

static const struct key_word keepalives[] = {{"true", "1"}, {"false", "0"}, {NULL, NULL}};

/* ---- reasons ---- */

#define NO_QUEUE "rows and changes are written as they come, without a queue"
#define NO_FETCH "rows come by COPY, and need no memory for all of them"
#define NO_KAFKA "there is no Kafka here"
#define NO_TOPICS "there are no topics here, only names of files"
#define NO_TRANSFORMS "records are not transformed; --envelope chooses their shape"
#define NO_SCHEMAS "records carry no schema; --schema-events describes tables"
#define NO_SIGNALS "there are no signals here; --snapshot=incremental reads rows beside the stream"
#define NO_NOTIFICATIONS "there are no notifications here; --stats and --metrics-file tell"
#define NO_JDBC "there is no JDBC driver here"
#define NO_HOOKS "there are no classes to load here"
#define NO_DEAD_LETTER "what cannot be written ends the run; --dead-letter keeps it and goes on"
#define NO_LOCKS "rows are read as of one point in time, without locks"
#define NO_STATE "the position is in the file of --state"
#define OWN_POSITION "the position is checked against the slot at every start"
#define OWN_CHUNKS "chunks are cut by their number of rows"
#define OWN_SLOT_TRIES "a slot in use is tried again as --retries says"
#define OWN_KEYS "with --key-delimiter keys are those of the replica identity"
#define OWN_COLUMNS "columns are those that the server describes"
#define OF_SINK "it is of a sink, and records go to standard output, --file or --exec"
#define CHANGES_VALUES "values would be written as they are"

/* ---- the table ---- */

#define DEBEZIUM (KEYS_OF_DEBEZIUM | KEYS_BEHIND_DEBEZIUM)
#define FLINK KEYS_OF_FLINK
#define CONNECT KEYS_OF_CONNECT
#define SINKS KEYS_OF_SINKS

#define OPTION(name, where, form, option)                                                          \
    {name, where, form, TARGET_OPTION, option, NULL, NULL, 0, 0, false}
#define WORDS(name, where, form, option, words, why)                                               \
    {name, where, form, TARGET_OPTION, option, words, why, 0, 0, false}
#define NUMBER(name, where, option, least, most)                                                   \
    {name, where, FORM_NUMBER, TARGET_OPTION, option, NULL, NULL, least, most, false}
#define SETTING(name, setting)                                                                     \
    {name, DEBEZIUM, FORM_TEXT, TARGET_SETTING, setting, NULL, NULL, 0, 0, false}
#define LIBPQ(name, where, form, keyword, words)                                                   \
    {name, where, form, TARGET_LIBPQ, keyword, words, NULL, 0, 0, false}
#define SECRET(name, where, keyword)                                                               \
    {name, where, FORM_TEXT, TARGET_LIBPQ, keyword, NULL, NULL, 0, 0, true}
#define CONNECTOR(name, where)                                                                     \
    {name, where, FORM_CONNECTOR, TARGET_NONE, NULL, NULL, NULL, 0, 0, false}
#define FIXED(name, where, words, why)                                                             \
    {name, where, FORM_FIXED, TARGET_NONE, NULL, words, why, 0, 0, false}
#define NOTHING(name, where, why)                                                                  \
    {name, where, FORM_NOTHING, TARGET_NONE, NULL, NULL, why, 0, 0, false}
#define REFUSED(name, where, why)                                                                  \
    {name, where, FORM_REFUSED, TARGET_NONE, NULL, NULL, why, 0, 0, false}

/* Names that begin alike: the whole ones first. */
static const struct connector_key keys[] = {
    /* which connector, and its server */
    CONNECTOR("connector.class", KEYS_OF_DEBEZIUM),
    CONNECTOR("connector", FLINK),
    LIBPQ("name", CONNECT, FORM_TEXT, "application_name", NULL),
    OPTION("database.hostname", DEBEZIUM, FORM_TEXT, "host"),
    OPTION("hostname", FLINK, FORM_TEXT, "host"),
    NUMBER("database.port", DEBEZIUM, "port", 1, 65535),
    NUMBER("port", FLINK, "port", 1, 65535),
    OPTION("database.user", DEBEZIUM, FORM_TEXT, "username"),
    OPTION("username", FLINK, FORM_TEXT, "username"),
    SECRET("database.password", DEBEZIUM, "password"),
    SECRET("password", FLINK, "password"),
    OPTION("database.dbname", DEBEZIUM, FORM_DATABASE, "dbname"),
    OPTION("database-name", FLINK, FORM_DATABASE, "dbname"),
    LIBPQ("database.sslmode", DEBEZIUM, FORM_CHOICE, "sslmode", sslmodes),
    LIBPQ("database.sslcert", DEBEZIUM, FORM_TEXT, "sslcert", NULL),
    LIBPQ("database.sslkey", DEBEZIUM, FORM_TEXT, "sslkey", NULL),
    SECRET("database.sslpassword", DEBEZIUM, "sslpassword"),
    LIBPQ("database.sslrootcert", DEBEZIUM, FORM_TEXT, "sslrootcert", NULL),
    LIBPQ("database.tcpKeepAlive", DEBEZIUM, FORM_CHOICE, "keepalives", keepalives),
    LIBPQ("connect.timeout", FLINK, FORM_DURATION, "connect_timeout", NULL),
    OPTION("connect.max-retries", FLINK, FORM_RETRIES, "retries"),
    OPTION("errors.max.retries", DEBEZIUM, FORM_RETRIES, "retries"),
    OPTION("retriable.restart.connector.wait.ms", DEBEZIUM, FORM_MILLISECONDS, "retry-delay"),
    NOTHING("connection.pool.size", FLINK, "there is one connection for the stream, and --jobs"),
    NOTHING("database.sslfactory", DEBEZIUM, NO_JDBC),
    NOTHING("database.connection.factory.class", DEBEZIUM, NO_JDBC),
    NOTHING("driver.*", DEBEZIUM, NO_JDBC),
    NOTHING("jdbc.properties.*", FLINK, NO_JDBC),
    NOTHING("database.initial.statements", DEBEZIUM,
            "sessions are set up with PGOPTIONS or ALTER ROLE … SET"),
    NOTHING("database.query.timeout.ms", DEBEZIUM, "statements may take as long as they need"),
    NOTHING("connection.validation.timeout.ms", DEBEZIUM, "connections are used as they are"),

    /* slot, plugin, publication */
    OPTION("slot.name", DEBEZIUM | FLINK, FORM_TEXT, "slot"),
    WORDS("plugin.name", DEBEZIUM, FORM_CHOICE, "plugin", plugins, NULL),
    WORDS("decoding.plugin.name", FLINK, FORM_CHOICE, "plugin", plugins, NULL),
    OPTION("slot.drop.on.stop", DEBEZIUM, FORM_FLAG, "drop-slot-on-stop"),
    OPTION("slot.drop_on_stop", DEBEZIUM, FORM_FLAG, "drop-slot-on-stop"),
    OPTION("slot.failover", DEBEZIUM, FORM_FLAG, "failover"),
    OPTION("slot.stream.params", DEBEZIUM, FORM_PARAMETERS, "option"),
    NOTHING("slot.max.retries", DEBEZIUM, OWN_SLOT_TRIES),
    NOTHING("slot.retry.delay.ms", DEBEZIUM, OWN_SLOT_TRIES),
    OPTION("publication.name", DEBEZIUM, FORM_TEXT, "publication"),
    WORDS("publication.autocreate.mode", DEBEZIUM, FORM_CHOICE, "publication-mode",
          publication_modes, "a publication without tables sends nothing"),
    FIXED("publish.via.partition.root", DEBEZIUM, only_true,
          "changes of partitions come under the name of the table that is captured"),
    OPTION("replica.identity.autoset.values", DEBEZIUM, FORM_IDENTITIES, "replica-identity"),
    OPTION("status.update.interval.ms", DEBEZIUM, FORM_MILLISECONDS, "status-interval"),
    FIXED("lsn.flush.mode", DEBEZIUM, connector, "what the output has accepted is acknowledged"),
    FIXED("flush.lsn.source", DEBEZIUM, only_true, "what the output has accepted is acknowledged"),
    NOTHING("lsn.flush.timeout.ms", DEBEZIUM, OWN_POSITION),
    NOTHING("lsn.flush.timeout.action", DEBEZIUM, OWN_POSITION),
    NOTHING("offset.mismatch.strategy", DEBEZIUM, OWN_POSITION),
    NOTHING("slot.seek.to.known.offset.on.start", DEBEZIUM, OWN_POSITION),
    NOTHING("scan.lsn-commit.checkpoints-num-delay", FLINK,
            "what the output has accepted is acknowledged"),
    FIXED("xmin.fetch.interval.ms", DEBEZIUM, zero, "source.xmin is not filled in"),

    /* what is captured */
    OPTION("schema.include.list", DEBEZIUM, FORM_REGEXES, "schema"),
    OPTION("schema.whitelist", DEBEZIUM, FORM_REGEXES, "schema"),
    OPTION("schema-name", FLINK, FORM_REGEXES, "schema"),
    OPTION("schema.exclude.list", DEBEZIUM, FORM_REGEXES, "exclude-schema"),
    OPTION("schema.blacklist", DEBEZIUM, FORM_REGEXES, "exclude-schema"),
    OPTION("table.include.list", DEBEZIUM, FORM_TABLES, "table"),
    OPTION("table.whitelist", DEBEZIUM, FORM_TABLES, "table"),
    OPTION("table-name", FLINK, FORM_TABLE_NAME, "table"),
    OPTION("table.exclude.list", DEBEZIUM, FORM_EXCLUDED_TABLES, "exclude-table"),
    OPTION("table.blacklist", DEBEZIUM, FORM_EXCLUDED_TABLES, "exclude-table"),
    OPTION("column.exclude.list", DEBEZIUM, FORM_REGEXES, "exclude-column"),
    OPTION("column.blacklist", DEBEZIUM, FORM_REGEXES, "exclude-column"),
    OPTION("column.include.list", DEBEZIUM, FORM_COLUMNS, "exclude-column"),
    OPTION("column.whitelist", DEBEZIUM, FORM_COLUMNS, "exclude-column"),
    FIXED("table.ignore.builtin", DEBEZIUM, only_true, "tables of the system are never captured"),
    REFUSED("tables", FLINK, "it is of the pipeline connector; use schema-name and table-name"),
    REFUSED("tables.exclude", FLINK, "it is of the pipeline connector; use --exclude-table"),
    NOTHING("scan.newly-added-table.enabled", FLINK,
            "a table that is new to the selection is captured from then on, without its rows"),
    FIXED("scan.include-partitioned-tables.enabled", FLINK, only_true,
          "partitioned tables are captured like others"),
    OPTION("skipped.operations", DEBEZIUM, FORM_OPERATIONS, "skip-ops"),
    FIXED("skip.messages.without.change", DEBEZIUM, only_false,
          "updates that change nothing are written, too"),
    OPTION("message.prefix.include.list", DEBEZIUM, FORM_PREFIXES, "messages"),
    OPTION("message.prefix.exclude.list", DEBEZIUM, FORM_PREFIXES, "messages"),

    /* rows */
    WORDS("snapshot.mode", DEBEZIUM, FORM_MODE, "startup-mode", snapshot_modes,
          "there are no classes to load here"),
    WORDS("scan.startup.mode", FLINK, FORM_MODE, "startup-mode", startup_modes, NULL),
    WORDS("scan.incremental.snapshot.enabled", FLINK, FORM_INCREMENTAL, "snapshot", boolean, NULL),
    NUMBER("scan.incremental.snapshot.chunk.size", FLINK, "chunk-size", 2, 1000000000),
    OPTION("scan.incremental.snapshot.chunk.key-column", FLINK, FORM_TEXT, "chunk-key"),
    NUMBER("incremental.snapshot.chunk.size", DEBEZIUM, "chunk-size", 1, 1000000000),
    NUMBER("snapshot.max.threads", DEBEZIUM, "jobs", 1, 64),
    OPTION("snapshot.select.statement.overrides", DEBEZIUM, FORM_QUERIES, "snapshot-query"),
    OPTION("snapshot.select.statement.overrides.*", DEBEZIUM, FORM_QUERY, "snapshot-query"),
    FIXED("snapshot.isolation.mode", DEBEZIUM, repeatable, NO_LOCKS),
    FIXED("snapshot.locking.mode", DEBEZIUM, none, NO_LOCKS),
    NOTHING("snapshot.locking.mode.custom.name", DEBEZIUM, NO_HOOKS),
    NOTHING("snapshot.lock.timeout.ms", DEBEZIUM, NO_LOCKS),
    FIXED("snapshot.query.mode", DEBEZIUM, select_all, NO_HOOKS),
    NOTHING("snapshot.query.mode.custom.name", DEBEZIUM, NO_HOOKS),
    NOTHING("snapshot.mode.custom.name", DEBEZIUM, NO_HOOKS),
    NOTHING("snapshot.mode.configuration.based.*", DEBEZIUM, "--startup-mode has a mode for each"),
    NOTHING("snapshot.include.collection.list", DEBEZIUM,
            "the rows of all captured tables are read"),
    NOTHING("snapshot.fetch.size", DEBEZIUM, NO_FETCH),
    NOTHING("rows.fetch.size", DEBEZIUM, NO_FETCH),
    NOTHING("query.fetch.size", DEBEZIUM, NO_FETCH),
    NOTHING("scan.snapshot.fetch.size", FLINK, NO_FETCH),
    NOTHING("snapshot.max.threads.multiplier*", DEBEZIUM, "big tables are cut by their size"),
    NOTHING("legacy.snapshot.max.threads", DEBEZIUM, "big tables are cut by their size"),
    NOTHING("snapshot.tables.order.by.row.count", DEBEZIUM, "big tables are cut by their size"),
    FIXED("snapshot.delay.ms", DEBEZIUM, zero, "a run begins at once"),
    FIXED("streaming.delay.ms", DEBEZIUM, zero, "a run begins at once"),
    FIXED("scan.incremental.snapshot.backfill.skip", FLINK, only_false,
          "rows and changes always fit together"),
    NOTHING("scan.incremental.snapshot.unbounded-chunk-first.enabled", FLINK, OWN_CHUNKS),
    NOTHING("scan.incremental.close-idle-reader.enabled", FLINK,
            "connections that have read their rows are closed"),
    NOTHING("chunk-key.even-distribution.factor.*", FLINK, OWN_CHUNKS),
    NOTHING("split-key.even-distribution.factor.*", FLINK, OWN_CHUNKS),
    NOTHING("chunk-meta.group.size", FLINK, OWN_CHUNKS),
    FIXED("read.only", DEBEZIUM, boolean, "reading rows never writes to the database"),
    NOTHING("incremental.snapshot.watermarking.strategy", DEBEZIUM,
            "reading rows never writes to the database"),
    NOTHING("incremental.snapshot.allow.schema.changes", DEBEZIUM, NO_SIGNALS),
    NOTHING("signal.*", DEBEZIUM, NO_SIGNALS),
    NOTHING("notification.*", DEBEZIUM, NO_NOTIFICATIONS),

    /* records */
    OPTION("database.server.name", DEBEZIUM, FORM_TEXT, "server-name"),
    OPTION("topic.prefix", DEBEZIUM, FORM_TEXT, "server-name"),
    WORDS("changelog-mode", FLINK, FORM_CHOICE, "changelog-mode", changelog_modes, NULL),
    OPTION("provide.transaction.metadata", DEBEZIUM, FORM_FLAG, "transactions"),
    OPTION("tombstones.on.delete", DEBEZIUM, FORM_FLAG, "tombstones"),
    OPTION("heartbeat.interval.ms", KEYS_OF_DEBEZIUM, FORM_MILLISECONDS, "heartbeat"),
    OPTION("heartbeat.interval.ms", KEYS_BEHIND_DEBEZIUM, FORM_MILLISECONDS, "status-interval"),
    OPTION("heartbeat.interval.ms", FLINK, FORM_DURATION, "status-interval"),
    OPTION("heartbeat.interval", FLINK, FORM_DURATION, "status-interval"),
    NOTHING("heartbeat.action.query", DEBEZIUM,
            "the slot moves on by itself while no captured table changes"),
    NOTHING("heartbeat.topics.prefix", DEBEZIUM, NO_TOPICS),
    SETTING("decimal.handling.mode", "decimal.handling.mode"),
    SETTING("time.precision.mode", "time.precision.mode"),
    SETTING("interval.handling.mode", "interval.handling.mode"),
    SETTING("binary.handling.mode", "binary.handling.mode"),
    SETTING("hstore.handling.mode", "hstore.handling.mode"),
    SETTING("money.fraction.digits", "money.fraction.digits"),
    SETTING("include.unknown.datatypes", "include.unknown.datatypes"),
    SETTING("unavailable.value.placeholder", "unavailable.value.placeholder"),
    SETTING("toasted.value.placeholder", "unavailable.value.placeholder"),
    REFUSED("column.mask.*", DEBEZIUM, CHANGES_VALUES),
    REFUSED("column.truncate.*", DEBEZIUM, CHANGES_VALUES),
    NOTHING("column.propagate.source.type", DEBEZIUM, NO_SCHEMAS),
    NOTHING("datatype.propagate.source.type", DEBEZIUM, NO_SCHEMAS),
    NOTHING("include.schema.comments", DEBEZIUM, NO_SCHEMAS),
    NOTHING("include.schema.changes", DEBEZIUM, NO_SCHEMAS),
    NOTHING("schema-change.enabled", FLINK, NO_SCHEMAS),
    NOTHING("schema.refresh.mode", DEBEZIUM, OWN_COLUMNS),
    FIXED("schema.name.adjustment.mode", DEBEZIUM, none, "names are written as they are"),
    FIXED("field.name.adjustment.mode", DEBEZIUM, none, "names are written as they are"),
    NOTHING("message.key.columns", DEBEZIUM, OWN_KEYS),
    NOTHING("converters", DEBEZIUM, NO_HOOKS),
    NOTHING("post.processors", DEBEZIUM, NO_HOOKS),
    NOTHING("sourceinfo.struct.maker", DEBEZIUM, NO_HOOKS),
    NOTHING("transaction.metadata.factory", DEBEZIUM, NO_HOOKS),
    NOTHING("topic.naming.strategy", DEBEZIUM, NO_HOOKS),
    NOTHING("topic.selection.strategy", DEBEZIUM, NO_HOOKS),
    FIXED("topic.delimiter", DEBEZIUM, dot, NO_TOPICS),
    NOTHING("topic.cache.size", DEBEZIUM, NO_TOPICS),
    NOTHING("topic.heartbeat.*", DEBEZIUM, NO_TOPICS),
    NOTHING("topic.transaction", DEBEZIUM, NO_TOPICS),
    NOTHING("extended.headers.enabled", DEBEZIUM, NO_KAFKA),
    NOTHING("scan.read-changelog-as-append-only.enabled", FLINK,
            "every record of --envelope=flink has its row_kind"),
    NOTHING("metadata.list", FLINK, "every record has them all"),
    NOTHING("table-id.include-database", FLINK, "every record has its database"),
    NOTHING("server-time-zone", FLINK, "times are written in UTC"),

    /* operation */
    FIXED("event.processing.failure.handling.mode", DEBEZIUM, fail, NO_DEAD_LETTER),
    FIXED("event.converting.failure.handling.mode", DEBEZIUM, fail, NO_DEAD_LETTER),
    NOTHING("max.batch.size", DEBEZIUM, NO_QUEUE),
    NOTHING("max.queue.size", DEBEZIUM, NO_QUEUE),
    NOTHING("max.queue.size.in.bytes", DEBEZIUM, NO_QUEUE),
    FIXED("queue.provider.type", DEBEZIUM, memory, NO_QUEUE),
    NOTHING("poll.interval.ms", DEBEZIUM, NO_QUEUE),
    NOTHING("poll.dispatch.interval.ms", DEBEZIUM, NO_QUEUE),
    NOTHING("executor.shutdown.timeout.ms", DEBEZIUM, "a run ends as soon as it can"),
    NOTHING("statistics.metrics.enabled", DEBEZIUM, NO_NOTIFICATIONS),
    NOTHING("custom.metric.tags", DEBEZIUM, NO_NOTIFICATIONS),
    NOTHING("custom.sanitize.pattern", DEBEZIUM, "values are not printed in messages"),
    NOTHING("guardrail.collections.*", DEBEZIUM, "any number of tables can be captured"),
    NOTHING("openlineage.integration.*", DEBEZIUM, NO_NOTIFICATIONS),
    NOTHING("create.slot.command.timeout", DEBEZIUM, "a slot is waited for as long as it takes"),
    NOTHING("internal.*", DEBEZIUM | CONNECT, "it is of the connector's own inside"),

    /* Debezium Server */
    NOTHING("debezium.sink.*", KEYS_OF_DEBEZIUM, "records go to standard output, --file or --exec"),
    NOTHING("debezium.format.*", KEYS_OF_DEBEZIUM, "records are JSON; --format writes others"),
    NOTHING("debezium.transforms*", KEYS_OF_DEBEZIUM, NO_TRANSFORMS),
    NOTHING("quarkus.*", KEYS_OF_DEBEZIUM, NO_HOOKS),

    /* Kafka Connect */
    FIXED("tasks.max", CONNECT, one, "a run is one task"),
    FIXED("value.converter", CONNECT, json,
          "records are JSON; --format=avro and --format=csv write others"),
    FIXED("value.converter.schemas.enable", CONNECT, only_false, NO_SCHEMAS),
    NOTHING("value.converter.*", CONNECT, "records are JSON; --set chooses how values are written"),
    FIXED("key.converter", CONNECT, json, "keys are JSON"),
    FIXED("key.converter.schemas.enable", CONNECT, only_false, NO_SCHEMAS),
    NOTHING("key.converter.*", CONNECT, "keys are JSON"),
    NOTHING("header.converter*", CONNECT, "records have no headers"),
    NOTHING("transforms*", CONNECT, NO_TRANSFORMS),
    NOTHING("predicates*", CONNECT, NO_TRANSFORMS),
    FIXED("errors.tolerance", CONNECT, none, NO_DEAD_LETTER),
    NOTHING("errors.*", CONNECT, NO_DEAD_LETTER),
    NOTHING("topic.creation.*", CONNECT, NO_TOPICS),
    NOTHING("topic.tracking.*", CONNECT, NO_TOPICS),
    NOTHING("offset.*", CONNECT, NO_STATE),
    NOTHING("offsets.*", CONNECT, NO_STATE),
    NOTHING("exactly.once.*", CONNECT, "--ack-mode says when a transaction is accepted"),
    NOTHING("transaction.boundary*", CONNECT, "--ack-mode says when a transaction is accepted"),
    NOTHING("config.*", CONNECT, NO_KAFKA),
    NOTHING("status.storage.*", CONNECT, NO_KAFKA),
    NOTHING("producer.*", CONNECT, NO_KAFKA),
    NOTHING("consumer.*", CONNECT, NO_KAFKA),
    NOTHING("admin.*", CONNECT, NO_KAFKA),
    NOTHING("bootstrap.servers", CONNECT, NO_KAFKA),
    NOTHING("group.id", CONNECT, NO_KAFKA),
    NOTHING("client.id", CONNECT, NO_KAFKA),
    NOTHING("plugin.path", CONNECT, NO_HOOKS),
    NOTHING("listeners*", CONNECT, NO_KAFKA),
    NOTHING("rest.*", CONNECT, NO_KAFKA),

    /* sinks and other tables */
    NOTHING("url", SINKS, OF_SINK),
    NOTHING("tablename", SINKS, OF_SINK),
    NOTHING("maxRetryTimes", SINKS, OF_SINK),
    NOTHING("retryWaitTime", SINKS, OF_SINK),
    NOTHING("batchsize", SINKS, OF_SINK),
    NOTHING("conflictMode", SINKS, OF_SINK),
    NOTHING("writeMode", SINKS, OF_SINK),
    NOTHING("topic", SINKS, OF_SINK),
    NOTHING("properties.*", SINKS, OF_SINK),
    NOTHING("key.format", SINKS, OF_SINK),
    NOTHING("key.fields*", SINKS, OF_SINK),
    NOTHING("value.format", SINKS, OF_SINK),
    NOTHING("value.fields-include", SINKS, OF_SINK),
    NOTHING("fields.*", SINKS, OF_SINK),
};

enum { NKEYS = sizeof keys / sizeof keys[0] };

/* ---- finding ---- */

static bool matches(const char *pattern, const char *name)
{
    size_t n = strlen(pattern);

    if (n > 0 && pattern[n - 1] == '*')
        return strncmp(pattern, name, n - 1) == 0;
    return strcmp(pattern, name) == 0;
}

const struct connector_key *connector_key_find(const char *name, unsigned where)
{
    for (int i = 0; i < NKEYS; i++)
        if ((keys[i].where & where) && matches(keys[i].name, name))
            return &keys[i];
    return NULL;
}

static char plain(char c)
{
    return c == '-' || c == '_' ? '.' : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static unsigned least_of(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

unsigned connector_key_distance(const char *one_name, const char *other)
{
    enum { MOST = 100 };
    unsigned row[MOST + 1];
    size_t n = strlen(other);

    if (n > MOST || strlen(one_name) > MOST)
        return MOST;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; *one_name; i++, one_name++) {
        unsigned corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned changed = corner + (plain(*one_name) != plain(other[j - 1]));

            corner = row[j];
            row[j] = least_of(changed, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[n];
}

const struct connector_key *connector_key_like(const char *name, unsigned where)
{
    const struct connector_key *nearest = NULL;
    unsigned least = strlen(name) > 5 ? 3 : 2; /* it has to be nearer than that */

    for (int i = 0; i < NKEYS; i++) {
        unsigned distance;

        if (!(keys[i].where & where) || strchr(keys[i].name, '*'))
            continue;
        distance = connector_key_distance(name, keys[i].name);
        if (distance < least) {
            least = distance;
            nearest = &keys[i];
        }
    }
    return nearest;
}

/* ---- the manual ---- */

/* Rows that say the same of their keys stand together. */
static bool says_the_same(const struct connector_key *a, const struct connector_key *b)
{
    return a->form == b->form && a->to == b->to && a->words == b->words &&
           (a->target == b->target || (a->target && b->target && !strcmp(a->target, b->target))) &&
           (a->why == b->why || (a->why && b->why && !strcmp(a->why, b->why)));
}

/* Words that are called otherwise here. */
static void print_words(const struct connector_key *key, FILE *to)
{
    if (key->form != FORM_CHOICE && key->form != FORM_MODE)
        return;
    for (const struct key_word *word = key->words; word->name; word++)
        if (word->value && strcmp(word->value, word->name) != 0)
            fprintf(to, " ;\n.Li %s\nis\n.Li %s", word->name, word->value);
}

static void print_form(const struct connector_key *key, FILE *to)
{
    static const struct {
        enum key_form form;
        const char *text;
    } forms[] = {
        {FORM_MILLISECONDS, "in milliseconds"},
        {FORM_DURATION, "a duration such as 30s"},
        {FORM_TABLES, "for schema.table alone"},
        {FORM_EXCLUDED_TABLES, "for schema.table alone"},
        {FORM_TABLE_NAME, "for schema.table alone, behind the schema's name"},
        {FORM_COLUMNS, "of all other columns"},
        {FORM_IDENTITIES, "where it is one for all tables"},
        {FORM_PREFIXES, "for all messages or none"},
        {FORM_INCREMENTAL, "incremental where it is true"},
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (forms[i].form == key->form)
            fprintf(to, "%s,\n%s", key->to == TARGET_LIBPQ ? "" : " ", forms[i].text);
}

/* What is done anyway; \& keeps a full stop from being one. */
static void print_fixed(const struct connector_key *key, FILE *to)
{
    for (const struct key_word *word = key->words; word->name && *word->name; word++)
        fprintf(to, "%s.Li \\&%s\n", word == key->words ? "" : "or\n", word->name);
    fprintf(to, "is what is done; others have no effect: %s", key->why);
}

static void print_effect(const struct connector_key *key, FILE *to)
{
    if (key->to == TARGET_OPTION)
        fprintf(to, ".Fl -%s", key->target);
    else if (key->to == TARGET_SETTING)
        fprintf(to, ".Fl -set Ns = Ns Li %s", key->target);
    else if (key->to == TARGET_LIBPQ)
        fprintf(to, ".Li %s\nof the connection", key->target);
    else if (key->form == FORM_CONNECTOR)
        fprintf(to, "whose file it is");
    else if (key->form == FORM_FIXED)
        print_fixed(key, to);
    else
        fprintf(to, "%s%s", key->form == FORM_REFUSED ? "an error: " : "no effect: ", key->why);
    print_form(key, to);
    print_words(key, to);
    fprintf(to, "\n");
}

static void print_group(unsigned where, const char *title, FILE *to)
{
    fprintf(to, ".Ss %s\n.Bl -tag -width Ds -compact\n", title);
    for (int i = 0; i < NKEYS; i++) {
        if (!(keys[i].where & where))
            continue;
        fprintf(to, ".It Li %s", keys[i].name);
        while (i + 1 < NKEYS && says_the_same(&keys[i], &keys[i + 1]) &&
               (keys[i + 1].where & where))
            fprintf(to, " , %s", keys[++i].name);
        fprintf(to, "\n");
        print_effect(&keys[i], to);
    }
    fprintf(to, ".El\n");
}

void connector_keys_print_mdoc(FILE *to)
{
    print_group(KEYS_OF_FLINK, "Keys of Flink CDC", to);
    print_group(KEYS_OF_DEBEZIUM, "Keys of Debezium", to);
    print_group(KEYS_OF_CONNECT, "Keys of Kafka Connect", to);
    print_group(KEYS_OF_SINKS, "Keys of sinks", to);
}
