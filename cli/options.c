#include "cli/parsed.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/lsn.h"

/* A word that an option allows, and what it stands for.  Ends with a NULL name. */
struct choice {
    const char *name;
    int value;
};

enum kind {
    KIND_FLAG,    /* bool */
    KIND_STRING,  /* const char * */
    KIND_LIST,    /* struct string_list */
    KIND_CHOICE,  /* int-sized enum, by words */
    KIND_COUNT,   /* uint64_t */
    KIND_SECONDS, /* usec_t; fractions are fine */
    KIND_LSN,     /* lsn_t */
    KIND_UNTIL,   /* struct until */
    KIND_OPS,     /* unsigned: letters -> SKIP_* bits */
    KIND_SET,     /* int-sized enum: no argument, sets choices[0].value */
    KIND_HELP,
    KIND_VERSION,
    KIND_GROUP, /* no option: a heading of --help */
    KIND_LATER, /* not there yet, and not to be taken for the beginning of another one */
};

struct option_row {
    char letter; /* 0 = none */
    const char *name;
    enum kind kind;
    size_t offset;           /* of the member of struct options */
    const struct choice *choices;
    const char *what;        /* what the value is called, in messages */
    const char *placeholder; /* what the value is called, in --help */
    const char *help;
};

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

static const struct choice ack_modes[] = {
    {"written", ACK_WRITTEN},
    {"read", ACK_READ},
    {"reply", ACK_REPLY},
    {"deferred", ACK_DEFERRED},
    {NULL, 0},
};

static const struct choice action_ack[] = {{"", ACTION_ACK}, {NULL, 0}};
static const struct choice prompt_always[] = {{"", PROMPT_ALWAYS}, {NULL, 0}};
static const struct choice prompt_never[] = {{"", PROMPT_NEVER}, {NULL, 0}};

#define AT(member) offsetof(struct parsed, member)
#define GROUP(title) {0, NULL, KIND_GROUP, 0, NULL, NULL, NULL, title}

/* clang-format off */
static const struct option_row rows[] = {
    GROUP("Instead of a capture"),
    {0, "ack", KIND_SET, AT(o.action), action_ack, NULL, NULL, "acknowledge what a run with --ack-mode=deferred has left pending in the state file"},
    GROUP("Connection options"),
    {'d', "dbname", KIND_STRING, AT(o.dbname), NULL, NULL, "DBNAME", "database, conninfo string or URI"},
    {'h', "host", KIND_STRING, AT(o.host), NULL, NULL, "HOST", "server host or socket directory"},
    {'p', "port", KIND_STRING, AT(o.port), NULL, NULL, "PORT", "server port"},
    {'U', "username", KIND_STRING, AT(o.user), NULL, NULL, "NAME", "role, with the REPLICATION attribute"},
    {'w', "no-password", KIND_SET, AT(o.prompt), prompt_never, NULL, NULL, "never ask for a password"},
    {'W', "password", KIND_SET, AT(o.prompt), prompt_always, NULL, NULL, "ask for a password first"},
    GROUP("What to capture"),
    {'S', "slot", KIND_STRING, AT(o.slot), NULL, NULL, "NAME", "replication slot; created when missing"},
    {'P', "plugin", KIND_CHOICE, AT(o.plugin), plugins, "plugin", "NAME", "decoding plugin: pgoutput, wal2json, wal2json_rds, wal2json_streaming, wal2json_rds_streaming, decoderbufs, test_decoding; default the slot's own, pgoutput for a new one"},
    {'m', "startup-mode", KIND_CHOICE, AT(o.mode), modes, "startup mode", "MODE", "what to begin with without a state file: initial (default), latest-offset, never, committed-offset, snapshot, initial_only, when_needed, always"},
    {'n', "schema", KIND_LIST, AT(o.schemas), NULL, NULL, "REGEX", "capture these schemas (repeatable)"},
    {'N', "exclude-schema", KIND_LIST, AT(o.exclude_schemas), NULL, NULL, "REGEX", "leave these schemas out"},
    {'t', "table", KIND_LIST, AT(o.tables), NULL, NULL, "REGEX", "capture these tables, by name or schema.name"},
    {'T', "exclude-table", KIND_LIST, AT(o.exclude_tables), NULL, NULL, "REGEX", "leave these tables out"},
    {0, "exclude-column", KIND_LIST, AT(o.exclude_columns), NULL, NULL, "REGEX", "leave out columns, by schema.table.column"},
    {0, "publication", KIND_STRING, AT(o.publication), NULL, NULL, "NAME", "publication; default cdcdump_SLOT"},
    {0, "publication-mode", KIND_CHOICE, AT(o.publication_mode), publication_modes, "publication mode", "MODE", "filtered (default), all-tables, existing"},
    {0, "replica-identity", KIND_STRING, AT(o.replica_identity), NULL, NULL, "WHAT", "set it on captured tables: keep (default), full, default, nothing, index:NAME"},
    {'o', "option", KIND_LIST, AT(o.plugin_options), NULL, NULL, "NAME[=VALUE]", "option for the plugin, such as binary or origin (pgoutput)"},
    {0, "temporary-slot", KIND_FLAG, AT(o.temporary_slot), NULL, NULL, NULL, "the slot lives as long as the connection"},
    {0, "drop-slot", KIND_LATER, 0, NULL, NULL, NULL, NULL},
    {0, "drop-slot-on-stop", KIND_FLAG, AT(o.drop_slot_on_stop), NULL, NULL, NULL, "drop slot and state at a regular end"},
    {0, "failover", KIND_FLAG, AT(o.failover), NULL, NULL, NULL, "create the slot as a failover slot (17+)"},
    {0, "two-phase", KIND_FLAG, AT(o.two_phase), NULL, NULL, NULL, "prepared transactions at PREPARE (15+); with --transactions"},
    GROUP("Rows (startup modes that read them)"),
    {0, "snapshot", KIND_CHOICE, AT(o.snapshot), snapshot_modes, "snapshot mode", "MODE", "consistent (default): all tables as of one point; incremental: chunk by chunk beside the stream"},
    {'j', "jobs", KIND_COUNT, AT(o.jobs), NULL, "number of jobs", "N", "connections that read rows (consistent; default 1)"},
    {0, "chunk-size", KIND_COUNT, AT(o.chunk_size), NULL, "chunk size", "ROWS", "rows of a chunk (incremental; default 8192)"},
    {0, "chunk-key", KIND_STRING, AT(o.chunk_key), NULL, NULL, "COLUMN", "read chunks in the order of this column (13+)"},
    {0, "snapshot-query", KIND_LIST, AT(o.snapshot_queries), NULL, NULL, "TABLE=SELECT", "read the rows of TABLE (schema.table) by this query"},
    GROUP("Records"),
    {'F', "format", KIND_CHOICE, AT(o.format), formats, "format", "FORMAT", "ndjson (default), csv, avro"},
    {0, "codec", KIND_CHOICE, AT(o.codec), codecs, "codec", "CODEC", "of Avro files: null, deflate (default), zstandard, snappy"},
    {'e', "envelope", KIND_CHOICE, AT(o.envelope), envelopes, "envelope", "SHAPE", "debezium (default), debezium-0.9, flink (default of csv), plain"},
    {0, "changelog-mode", KIND_CHOICE, AT(o.changelog), changelog_modes, "changelog mode", "MODE", "flink: all (default: updates with their old row), upsert"},
    {0, "types", KIND_CHOICE, AT(o.handling.profile), profiles, "types profile", "PROFILE", "how values are written: readable (default), debezium"},
    {0, "set", KIND_LIST, AT(settings), NULL, NULL, "NAME=VALUE", "a single rule for values by its Debezium name, such as decimal.handling.mode=double"},
    {0, "server-name", KIND_STRING, AT(o.server_name), NULL, NULL, "NAME", "source.name; default the database's name"},
    {'K', "key-delimiter", KIND_STRING, AT(key_delimiter), NULL, NULL, "STR", "write KEY STR VALUE, as kcat -K reads it"},
    {0, "tombstones", KIND_FLAG, AT(o.tombstones), NULL, NULL, NULL, "with -K: an empty value after each delete"},
    {0, "transactions", KIND_FLAG, AT(o.transactions), NULL, NULL, NULL, "records for BEGIN and END"},
    {0, "schema-events", KIND_FLAG, AT(o.schema_events), NULL, NULL, NULL, "records for a table's columns"},
    {0, "messages", KIND_FLAG, AT(o.messages), NULL, NULL, NULL, "records for pg_logical_emit_message (14+)"},
    {0, "heartbeat", KIND_SECONDS, AT(o.heartbeat), NULL, "heartbeat", "SECONDS", "a record every so often"},
    {0, "skip-ops", KIND_OPS, AT(o.skip_ops), NULL, NULL, "OPS", "leave out operations: letters of cudtm"},
    GROUP("Output and position"),
    {'f', "file", KIND_STRING, AT(o.file), NULL, NULL, "FILE", "write there instead of to standard output; with {schema}, {table}, {topic}, {lsn}, {date}: a file for each table"},
    {0, "rotate", KIND_STRING, AT(rotate), NULL, NULL, "SIZE|SECONDS", "begin another file when one has that size (10MB) or age"},
    {0, "state", KIND_STRING, AT(o.state_file), NULL, NULL, "FILE", "remember position and rows read, and go on from there"},
    {0, "ack-mode", KIND_CHOICE, AT(o.ack_mode), ack_modes, "ack mode", "MODE", "when a transaction is accepted: written (files), read (pipes), reply, deferred; default by output"},
    {0, "ack-fd", KIND_STRING, AT(ack_fd), NULL, NULL, "N", "reply: read acknowledged LSNs, a line each, from this descriptor"},
    {0, "ack-file", KIND_STRING, AT(o.ack_file), NULL, NULL, "FIFO", "reply: read them from this FIFO"},
    {0, "exec", KIND_STRING, AT(o.exec), NULL, NULL, "COMMAND", "output goes to the standard input of COMMAND, batch after batch"},
    {0, "batch-rows", KIND_COUNT, AT(o.batch_rows), NULL, "number of records", "N", "end a batch after N records (default 10000)"},
    {0, "batch-seconds", KIND_SECONDS, AT(o.batch_time), NULL, "batch time", "SECONDS", "end a batch after so long (default 5)"},
    {0, "per-table", KIND_FLAG, AT(per_table), NULL, NULL, NULL, "run COMMAND for each table of a batch"},
    {0, "exec-retries", KIND_COUNT, AT(o.exec_retries), NULL, "number of tries", "N", "try a batch again that often (default 2)"},
    {0, "dead-letter", KIND_STRING, AT(o.dead_letter), NULL, NULL, "FILE", "put there what cannot be decoded or encoded, and go on"},
    {0, "stall-timeout", KIND_SECONDS, AT(o.stall_timeout), NULL, "stall timeout", "SECONDS", "let go of the server when the reader stands still"},
    {'I', "startpos", KIND_LSN, AT(o.start_lsn), NULL, "start position", "LSN", "start elsewhere"},
    {0, "force", KIND_FLAG, AT(o.force), NULL, NULL, NULL, "let -I skip unread changes"},
    GROUP("When to end (at a transaction boundary)"),
    {'E', "until", KIND_UNTIL, AT(o.until), NULL, NULL, "LSN|now|TIME", "after the last transaction up to there"},
    {0, "count", KIND_COUNT, AT(o.count), NULL, "count", "N", "after N records"},
    {0, "idle-exit", KIND_SECONDS, AT(o.idle_exit), NULL, "idle time", "SECONDS", "when no change came for so long"},
    {0, "max-time", KIND_SECONDS, AT(o.max_time), NULL, "maximum time", "SECONDS", "after so long"},
    GROUP("Other"),
    {0, "retries", KIND_COUNT, AT(o.retries), NULL, "number of retries", "N", "for a server that is away; default endless once connected"},
    {0, "retry-delay", KIND_SECONDS, AT(o.retry_delay), NULL, "retry delay", "SECONDS", "first delay (default 1), doubling up to 30"},
    {0, "status-interval", KIND_SECONDS, AT(o.status_interval), NULL, "status interval", "SECONDS", "feedback to the server (default 10)"},
    {0, "progress", KIND_FLAG, AT(o.progress), NULL, NULL, NULL, "show how far a snapshot is (default on a terminal)"},
    {0, "stats", KIND_SECONDS, AT(o.stats), NULL, "statistics interval", "SECONDS", "report that often on standard error"},
    {'v', "verbose", KIND_FLAG, AT(verbose), NULL, NULL, NULL, "say more on standard error"},
    {'q', "quiet", KIND_FLAG, AT(quiet), NULL, NULL, NULL, "say errors only"},
    {0, "help", KIND_HELP, 0, NULL, NULL, NULL, "this text"},
    {'V', "version", KIND_VERSION, 0, NULL, NULL, NULL, "the version"},
};
/* clang-format on */

enum { NROWS = sizeof rows / sizeof rows[0] };

/* ---- --help ---- */

enum { HELP_COLUMN = 30, HELP_WIDTH = 79 };

/* Prints text from HELP_COLUMN on, broken between words. */
static void print_wrapped(const char *text, size_t column)
{
    if (column + 1 > HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    for (; column < HELP_COLUMN; column++)
        putchar(' ');
    while (*text) {
        size_t word = strcspn(text, " ");

        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        if (column > HELP_COLUMN) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, word, stdout);
        column += word;
        text += word + (text[word] == ' ');
    }
    putchar('\n');
}

static void print_row_help(const struct option_row *row)
{
    int column;

    if (row->kind == KIND_LATER)
        return;
    if (row->kind == KIND_GROUP) {
        printf("\n%s:\n", row->help);
        return;
    }
    column = row->letter ? printf("  -%c, ", row->letter) : printf("      ");
    column += printf("--%s", row->name);
    if (row->placeholder)
        column += printf("=%s", row->placeholder);
    print_wrapped(row->help, (size_t)column);
}

static void print_help(void)
{
    printf("cdcdump writes the rows and changes of PostgreSQL tables to standard output.\n\n"
           "Usage:\n  cdcdump [OPTION]... [DBNAME | CONNINFO | URI]\n");
    for (int i = 0; i < NROWS; i++)
        print_row_help(&rows[i]);
    printf("\nExit status: 0 done, 1 other failure, 2 something to change, 3 try again later,\n"
           "4 position lost, 5 output failed, 6 columns changed.  See cdcdump(1).\n");
}

/* Help that could not be written is a failure like any other output that could not. */
static enum options_result print_about(enum kind kind)
{
    if (kind == KIND_HELP)
        print_help();
    else
        puts("cdcdump " CDCDUMP_VERSION);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return OPTIONS_DONE;
    log_error("could not write to standard output: %m");
    return OPTIONS_BAD;
}

/* ---- values ---- */

static void list_choices(const struct choice *choices, char *text, size_t size)
{
    size_t len = 0;

    text[0] = '\0';
    for (; choices->name && len < size; choices++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "", choices->name);
}

static bool set_choice(const struct option_row *row, int *to, const char *arg)
{
    char allowed[512];

    for (const struct choice *c = row->choices; c->name; c++) {
        if (strcmp(c->name, arg) == 0) {
            *to = c->value;
            return true;
        }
    }
    list_choices(row->choices, allowed, sizeof allowed);
    log_error("invalid %s \"%s\": must be one of %s", row->what, arg, allowed);
    return false;
}

static bool set_count(const struct option_row *row, uint64_t *to, const char *arg)
{
    char *end;

    errno = 0;
    *to = strtoull(arg, &end, 10);
    if (isdigit((unsigned char)*arg) && *end == '\0' && errno == 0)
        return true;
    log_error("invalid %s \"%s\": must be a whole number from 0 on", row->what, arg);
    return false;
}

static bool set_seconds(const struct option_row *row, usec_t *to, const char *arg)
{
    char *end;
    double seconds;

    errno = 0;
    seconds = strtod(arg, &end);
    if ((isdigit((unsigned char)*arg) || *arg == '.') && end != arg && *end == '\0' &&
        errno == 0 && seconds > 0 && seconds <= 1e9) {
        *to = (usec_t)(seconds * (double)USEC_PER_SEC);
        if (*to > 0)
            return true;
    }
    log_error("invalid %s \"%s\": must be a number of seconds greater than 0", row->what, arg);
    return false;
}

static bool set_lsn(const struct option_row *row, lsn_t *to, const char *arg)
{
    if (lsn_parse(arg, to) && *to != 0)
        return true;
    log_error("invalid %s \"%s\": must be an LSN such as 16/B374D848", row->what, arg);
    return false;
}

/* A value with a slash between hexadecimal digits was meant as an LSN, else it is a time. */
static bool set_until(struct until *to, const char *arg)
{
    *to = (struct until){0};
    if (strcmp(arg, "now") == 0) {
        to->now = true;
        return true;
    }
    if (lsn_parse(arg, &to->lsn)) {
        if (to->lsn != 0)
            return true;
    } else if (*arg != '\0') {
        to->timestamp = arg;
        return true;
    }
    log_error("invalid end \"%s\": must be an LSN, \"now\" or a timestamp", arg);
    return false;
}

static bool set_ops(unsigned *to, const char *arg)
{
    static const char letters[] = "cudtm";

    if (strcmp(arg, "none") == 0) {
        *to = 0;
        return true;
    }
    for (const char *p = arg; *p; p++) {
        const char *found = strchr(letters, *p);

        if (!found) {
            log_error("invalid operation \"%c\" in \"%s\": must be letters of %s", *p, arg, letters);
            log_detail("These are c (insert), u (update), d (delete), t (truncate) and m (message).");
            return false;
        }
        *to |= 1u << (found - letters);
    }
    return true;
}

static void add_to_list(struct string_list *list, const char *arg)
{
    list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
    if (!list->items)
        log_out_of_memory();
    list->items[list->count++] = arg;
}

static bool set_value(const struct option_row *row, struct parsed *p, const char *arg)
{
    void *to = (char *)p + row->offset;

    switch (row->kind) {
    case KIND_FLAG:
        *(bool *)to = true;
        return true;
    case KIND_STRING:
        *(const char **)to = arg;
        return true;
    case KIND_LIST:
        add_to_list(to, arg);
        return true;
    case KIND_CHOICE:
        return set_choice(row, to, arg);
    case KIND_COUNT:
        return set_count(row, to, arg);
    case KIND_SECONDS:
        return set_seconds(row, to, arg);
    case KIND_LSN:
        return set_lsn(row, to, arg);
    case KIND_UNTIL:
        return set_until(to, arg);
    case KIND_OPS:
        return set_ops(to, arg);
    case KIND_SET:
        *(int *)to = row->choices[0].value;
        return true;
    case KIND_LATER:
        log_error("option \"--%s\" is not supported yet", row->name);
        break;
    case KIND_HELP:
    case KIND_VERSION:
    case KIND_GROUP:
        break;
    }
    return false;
}

/* ---- the command line ---- */

/* getopt_long's view of the table; val is the row's number + 256 so that it is never a letter. */
static void build_getopt(struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* tell a missing value from an unknown option */
    for (int i = 0; i < NROWS; i++) {
        int has_arg = rows[i].placeholder ? required_argument : no_argument;

        if (rows[i].kind == KIND_GROUP)
            continue;
        *longs++ = (struct option){rows[i].name, has_arg, NULL, 256 + i};
        if (rows[i].letter) {
            *shorts++ = rows[i].letter;
            if (has_arg == required_argument)
                *shorts++ = ':';
        }
    }
    *longs = (struct option){0};
    *shorts = '\0';
}

static const struct option_row *find_row(int val)
{
    if (val >= 256)
        return &rows[val - 256];
    for (int i = 0; i < NROWS; i++)
        if (rows[i].letter == val)
            return &rows[i];
    return NULL;
}

void options_hint_at_help(void)
{
    log_hint("Try \"cdcdump --help\" for more information.");
}

static enum options_result usage_error(void)
{
    options_hint_at_help();
    return OPTIONS_BAD;
}

/* The word on the command line that getopt_long stumbled over. */
static const char *culprit(char **argv)
{
    static char letter[3] = "-x";

    if (optopt > 0 && optopt < 256) {
        letter[1] = (char)optopt;
        return letter;
    }
    return argv[optind - 1];
}

/* Options whose default is as good a value as any: that they were given says something. */
static void note_given(struct parsed *p, const struct option_row *row)
{
    p->o.retries_given |= row->offset == AT(o.retries);
    p->o.publication_given |= row->offset == AT(o.publication);
    p->o.publication_mode_given |= row->offset == AT(o.publication_mode);
    p->snapshot_given |= row->offset == AT(o.snapshot);
    p->jobs_given |= row->offset == AT(o.jobs);
    p->chunk_size_given |= row->offset == AT(o.chunk_size);
    p->changelog_given |= row->offset == AT(o.changelog);
    p->codec_given |= row->offset == AT(o.codec);
    p->batch_given |= row->offset == AT(o.batch_rows) || row->offset == AT(o.batch_time) ||
                      row->offset == AT(per_table) || row->offset == AT(o.exec_retries);
    p->types_given |= row->offset == AT(o.handling.profile) || row->offset == AT(settings);
}

static enum options_result parse_words(struct parsed *p, int argc, char **argv)
{
    struct option longs[NROWS + 1];
    char shorts[2 * NROWS + 2];
    int val;

    build_getopt(longs, shorts);
    opterr = 0;
    while ((val = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct option_row *row = val == '?' || val == ':' ? NULL : find_row(val);

        if (!row) {
            log_error(val == ':' ? "option \"%s\" needs a value"
                                 : "unrecognized or ambiguous option \"%s\"",
                      culprit(argv));
            return usage_error();
        }
        if (row->kind == KIND_HELP || row->kind == KIND_VERSION)
            return print_about(row->kind);
        if (!set_value(row, p, optarg))
            return usage_error();
        note_given(p, row);
    }
    return OPTIONS_RUN;
}

static enum options_result parse_operands(struct parsed *p, int argc, char **argv)
{
    if (optind < argc && !p->o.dbname)
        p->o.dbname = argv[optind++];
    if (optind == argc)
        return OPTIONS_RUN;
    log_error("too many command-line arguments (first is \"%s\")", argv[optind]);
    return usage_error();
}

enum options_result options_parse(struct options *o, int argc, char **argv)
{
    struct parsed p = {
        .o = {.replica_identity = "keep",
              .handling = handling_default,
              .codec = CODEC_DEFLATE,
              .retries = UINT64_MAX,
              .retry_delay = USEC_PER_SEC,
              .jobs = 1,
              .chunk_size = 8192,
              .ack_fd = -1,
              .batch_rows = 10000,
              .batch_time = 5 * USEC_PER_SEC,
              .exec_retries = 2,
              .status_interval = 10 * USEC_PER_SEC},
    };
    enum options_result result;

    /* getopt reports mistakes as '?', so -? cannot be a row; PostgreSQL's programs have it. */
    if (argc == 2 && strcmp(argv[1], "-?") == 0)
        return print_about(KIND_HELP);
    result = parse_words(&p, argc, argv);
    if (result == OPTIONS_RUN)
        result = parse_operands(&p, argc, argv);
    if (result == OPTIONS_RUN && !parsed_check(&p))
        result = usage_error();
    free(p.settings.items);
    log_set_level(p.quiet ? LOG_QUIET : p.verbose ? LOG_VERBOSE : LOG_NORMAL);
    *o = p.o;
    return result;
}

bool mode_takes_snapshot(enum startup_mode mode)
{
    return mode != MODE_LATEST_OFFSET && mode != MODE_NEVER && mode != MODE_COMMITTED_OFFSET;
}

bool mode_ends(enum startup_mode mode)
{
    return mode == MODE_SNAPSHOT || mode == MODE_INITIAL_ONLY;
}
