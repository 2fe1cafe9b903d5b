#include "cli/parsed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/file_name.h"

/* \t \n \r \0 \\ and \xHH, as kcat reads them.  The result is never longer than the text. */
static bool resolve_escapes(const char *text, char *out, size_t *len)
{
    static const char from[] = "tnr0\\", to[] = "\t\n\r\0\\";

    *len = 0;
    while (*text) {
        const char *found;
        unsigned hex;
        int used = 0;

        if (*text != '\\') {
            out[(*len)++] = *text++;
        } else if (text[1] == 'x' && sscanf(text + 2, "%2x%n", &hex, &used) == 1 && used > 0) {
            out[(*len)++] = (char)hex;
            text += 2 + used;
        } else if (text[1] && (found = strchr(from, text[1]))) {
            out[(*len)++] = to[found - from];
            text += 2;
        } else {
            return false;
        }
    }
    return *len > 0;
}

static bool check_key_delimiter(struct parsed *p)
{
    char *resolved;

    if (!p->key_delimiter) {
        if (!p->o.tombstones)
            return true;
        log_error("--tombstones needs keys");
        log_hint("Add -K, for example -K '\\t'.");
        return false;
    }
    resolved = xstrdup(p->key_delimiter);
    p->o.key_delimiter = resolved;
    if (resolve_escapes(p->key_delimiter, resolved, &p->o.key_delimiter_len) &&
        !memchr(resolved, '\n', p->o.key_delimiter_len))
        return true;
    log_error("invalid key delimiter \"%s\"", p->key_delimiter);
    log_hint("Give one or more characters other than a newline; \\t, \\r, \\\\, \\0 and \\xHH are "
             "understood.");
    return false;
}

static bool check_slot(const struct options *o)
{
    if (!o->slot && (o->action == ACTION_ACK || o->action == ACTION_LIST_SLOTS))
        return true; /* the state file knows it; all of them */
    if (!o->slot) {
        log_error("no replication slot given");
        log_hint(o->action == ACTION_CAPTURE || o->action == ACTION_CHECK
                     ? "Name it with -S; it is created when it does not exist."
                     : "Name it with -S.");
        return false;
    }
    if (strlen(o->slot) >= 1 && strlen(o->slot) <= 63 &&
        strspn(o->slot, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(o->slot))
        return true;
    log_error("invalid replication slot name \"%s\"", o->slot);
    log_hint("Replication slot names have 1 to 63 lower case letters, digits and underscores.");
    return false;
}

static bool check_slot_kind(const struct options *o)
{
    const char *kind = o->temporary_slot ? "--temporary-slot" : NULL;

    if (kind && o->state_file) {
        log_error("%s and --state cannot be used together", kind);
        log_detail("A temporary slot does not outlive its connection, so there is no position to "
                   "remember.");
        return false;
    }
    if (kind && o->failover) {
        log_error("%s and --failover cannot be used together", kind);
        return false;
    }
    if (o->two_phase && !o->transactions && o->action != ACTION_CREATE_SLOT) {
        log_error("--two-phase needs --transactions");
        log_detail("Without records for PREPARE, COMMIT PREPARED and ROLLBACK PREPARED nobody "
                   "could tell what became of the changes.");
        return false;
    }
    return true;
}

static bool check_replica_identity(const struct options *o)
{
    const char *what = o->replica_identity;

    if (strcmp(what, "keep") == 0 || strcmp(what, "full") == 0 || strcmp(what, "default") == 0 ||
        strcmp(what, "nothing") == 0 || (strncmp(what, "index:", 6) == 0 && what[6]))
        return true;
    log_error("invalid replica identity \"%s\": must be one of keep, full, default, nothing, "
              "index:NAME",
              what);
    return false;
}

/* Whether NAME[=VALUE] has that name; *value gets the value, "true" where there is none. */
static bool plugin_option_is(const char *text, const char *name, const char **value)
{
    size_t len = strcspn(text, "=");

    if (strlen(name) != len || strncmp(text, name, len) != 0)
        return false;
    *value = text[len] ? text + len + 1 : "true";
    return true;
}

/* What the plugin has to say of its options is for source/plugin.h, once it is known which it is. */
static bool check_plugin_options(struct options *o)
{
    const char *value;

    for (size_t i = 0; i < o->plugin_options.count; i++) {
        if (!plugin_option_is(o->plugin_options.items[i], "binary", &value))
            continue;
        o->binary = strcmp(value, "true") == 0 || strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
    }
    return true;
}

/* What does not go together with another option. */
static bool refuse_pair(const char *one, const char *other, const char *why)
{
    log_error("%s and %s cannot be used together", one, other);
    log_detail("%s", why);
    return false;
}

/* Records that are not about a row. */
static const char *other_records(const struct options *o)
{
    return o->transactions    ? "--transactions"
           : o->schema_events ? "--schema-events"
           : o->messages      ? "--messages"
           : o->heartbeat     ? "--heartbeat"
                              : NULL;
}

/* So many of a unit, in bytes; false: there is no such unit, or it is too much. */
static bool read_size(double n, const char *unit, uint64_t *size)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"B", 1},
                 {"kB", 1024},
                 {"MB", 1024 * 1024},
                 {"GB", 1024 * 1024 * 1024},
                 {"TB", 1024ull * 1024 * 1024 * 1024}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(unit, units[i].name) == 0 && n * (double)units[i].bytes < 1e18) {
            *size = (uint64_t)(n * (double)units[i].bytes);
            return true;
        }
    return false;
}

/* --rotate: SIZE with a unit, or SECONDS. */
static bool check_rotate(struct parsed *p)
{
    char *end;
    double n;

    if (!p->rotate)
        return true;
    n = strtod(p->rotate, &end);
    if (*end == '\0' && end > p->rotate && n >= 1.0 / USEC_PER_SEC && n < 1e9) {
        p->o.rotate_time = (usec_t)(n * USEC_PER_SEC);
        return true;
    }
    if (end > p->rotate && n > 0 && read_size(n, end, &p->o.rotate_size) && p->o.rotate_size > 0)
        return true;
    log_error("invalid rotation \"%s\": must be a number of seconds, or a size in B, kB, MB, GB or "
              "TB",
              p->rotate);
    return false;
}

/* --catch-up-bytes: a size with a unit, or in bytes. */
static bool check_catch_up(struct parsed *p)
{
    char *end;
    double n;

    if (!p->catch_up)
        return true;
    if (p->o.transport == TRANSPORT_STREAM)
        return refuse_pair("--catch-up-bytes", "--transport=stream",
                           "It is about reading through SQL.");
    n = strtod(p->catch_up, &end);
    if (end > p->catch_up && n >= 0 && read_size(n, *end ? end : "B", &p->o.catch_up_bytes))
        return true;
    log_error("invalid size \"%s\" for --catch-up-bytes: must be a number of bytes, or a size in B, "
              "kB, MB, GB or TB",
              p->catch_up);
    return false;
}

/* The slot functions read the slot that is there, once its transactions have been committed. */
static bool check_transport(struct parsed *p)
{
    const struct options *o = &p->o;
    const char *other = o->temporary_slot ? "--temporary-slot"
                        : o->two_phase    ? "--two-phase"
                        : o->failover     ? "--failover"
                                          : NULL;

    if (!check_catch_up(p))
        return false;
    if (o->transport != TRANSPORT_SQL || !other)
        return true;
    return refuse_pair("--transport=sql", other,
                       o->temporary_slot ? "Such a slot is the replication connection's alone."
                       : o->two_phase    ? "The slot functions are for committed transactions."
                                         : "Its changes have to wait for the standbys that keep it.");
}

static bool check_placeholders(struct options *o)
{
    char *unknown = file_name_unknown(o->file);
    const char *other = other_records(o);

    if (unknown) {
        log_error("unknown placeholder \"%s\" in the name of the output file", unknown);
        log_hint("There are {schema}, {table}, {topic}, {lsn} and {date}.");
        free(unknown);
        return false;
    }
    if (o->file[strlen(o->file) - 1] == '/') {
        log_error("the name of the output file ends in a slash: \"%s\"", o->file);
        return false;
    }
    o->many_files = true;
    o->per_table = file_name_tells_tables(o->file);
    if (other)
        return refuse_pair(other, "placeholders in -f",
                           "The files are of tables; that record is about none.");
    return true;
}

/* The output is a command's input. */
static bool check_command(struct parsed *p)
{
    struct options *o = &p->o;
    const char *other = other_records(o);
    const char *output = o->file                        ? "-f"
                         : p->rotate                    ? "--rotate"
                         : o->ack_mode != ACK_BY_OUTPUT ? "--ack-mode"
                                                        : NULL;

    if (!*o->exec) {
        log_error("the command of --exec is empty");
        return false;
    }
    if (output)
        return refuse_pair("--exec", output,
                           "The output goes to the command, which accepts a batch by exiting with 0.");
    if (p->per_table && other)
        return refuse_pair(other, "--per-table",
                           "The batches are of tables; that record is about none.");
    if (o->batch_rows == 0) {
        log_error("invalid number of records 0: must be from 1 on");
        return false;
    }
    o->per_table = p->per_table;
    o->ack_mode = ACK_COMMAND;
    return true;
}

/* Where the reader's replies come from. */
static bool check_replies(struct parsed *p)
{
    struct options *o = &p->o;
    char *end;
    unsigned long fd;

    if ((p->ack_fd || o->ack_file) && o->ack_mode != ACK_REPLY) {
        log_error("%s needs --ack-mode=reply", p->ack_fd ? "--ack-fd" : "--ack-file");
        return false;
    }
    if (o->ack_mode == ACK_REPLY && !p->ack_fd == !o->ack_file) {
        log_error("--ack-mode=reply needs %s", p->ack_fd ? "one of --ack-fd and --ack-file, not both"
                                                         : "--ack-fd or --ack-file");
        log_hint("That is where the reader writes the LSNs that it is done with.");
        return false;
    }
    if (!p->ack_fd)
        return true;
    errno = 0;
    fd = strtoul(p->ack_fd, &end, 10);
    if (*p->ack_fd < '0' || *p->ack_fd > '9' || *end || errno || fd > INT_MAX) {
        log_error("invalid descriptor \"%s\": must be a whole number from 0 on", p->ack_fd);
        return false;
    }
    o->ack_fd = (int)fd;
    if (fcntl(o->ack_fd, F_GETFD) < 0) { /* now: later the number may be that of something of ours */
        log_error("acknowledgments cannot be read from the descriptor of --ack-fd: it is not open");
        return false;
    }
    return true;
}

/* What acknowledging later needs, and cannot be had with. */
static bool check_deferred(const struct options *o)
{
    if (o->action == ACTION_ACK && !o->state_file) {
        log_error("--ack needs --state");
        return false;
    }
    if (o->ack_mode != ACK_DEFERRED)
        return true;
    if (!o->state_file) {
        log_error("--ack-mode=deferred needs --state");
        log_detail("What is to be acknowledged by --ack is in the state file.");
        return false;
    }
    if (o->many_files)
        return refuse_pair("--ack-mode=deferred", "placeholders in -f",
                           "Files get their names when they are accepted.");
    if (o->drop_slot_on_stop)
        return refuse_pair("--ack-mode=deferred", "--drop-slot-on-stop",
                           "The slot is what has the unacknowledged changes.");
    return true;
}

static bool check_output(struct parsed *p)
{
    struct options *o = &p->o;

    if (o->file && strcmp(o->file, "-") == 0)
        o->file = NULL;
    if (o->file && !*o->file) {
        log_error("the output file has an empty name");
        return false;
    }
    if (o->exec)
        return check_command(p);
    if (p->batch_given) {
        log_error("--batch-rows, --batch-seconds, --per-table and --exec-retries need --exec");
        return false;
    }
    if (o->file && file_name_has_placeholders(o->file))
        return check_placeholders(o) && check_rotate(p);
    if (p->rotate) {
        log_error("--rotate needs placeholders in the name of the output file");
        log_hint("For example -f '{schema}.{table}-{lsn}.ndjson'.");
        return false;
    }
    return true;
}

static bool check_position(const struct options *o)
{
    if (o->force && !o->start_lsn) {
        log_error("--force needs -I");
        return false;
    }
    return true;
}

/* A number that has to lie between two others. */
static bool check_range(const char *option, uint64_t n, uint64_t least, uint64_t most)
{
    if (n >= least && n <= most)
        return true;
    log_error("invalid %s %llu: must be from %llu to %llu", option, (unsigned long long)n,
              (unsigned long long)least, (unsigned long long)most);
    return false;
}

static bool check_snapshot_queries(const struct options *o)
{
    for (size_t i = 0; i < o->snapshot_queries.count; i++) {
        const char *text = o->snapshot_queries.items[i];
        const char *equals = strchr(text, '=');
        const char *dot = strchr(text, '.');

        if (equals && dot && dot > text && dot + 1 < equals && equals[1])
            continue;
        log_error("invalid snapshot query \"%s\": must be schema.table=SELECT …", text);
        return false;
    }
    return true;
}

/* Options that belong to chunks, or to rows, have no meaning elsewhere. */
static bool check_snapshot_use(const struct parsed *p)
{
    const struct options *o = &p->o;
    const char *chunks = o->chunk_key ? "--chunk-key" : p->chunk_size_given ? "--chunk-size" : NULL;
    const char *given = p->jobs_given               ? "--jobs"
                        : o->snapshot_queries.count ? "--snapshot-query"
                        : p->snapshot_given         ? "--snapshot"
                                                    : NULL;

    if (chunks && o->snapshot != SNAPSHOT_INCREMENTAL) {
        log_error("%s needs --snapshot=incremental", chunks);
        return false;
    }
    if (given && !mode_takes_snapshot(o->mode)) {
        log_error("%s needs a startup mode that reads rows", given);
        log_hint("These are initial, snapshot, initial_only, when_needed and always.");
        return false;
    }
    return true;
}

/* An incremental snapshot lives beside the stream and tells transactions apart by their end. */
static bool check_incremental(const struct options *o)
{
    if (o->snapshot != SNAPSHOT_INCREMENTAL)
        return true;
    if (o->mode == MODE_INITIAL_ONLY) {
        log_error("--snapshot=incremental and -m initial_only cannot be used together");
        log_detail("Rows as of one point in time are what a consistent snapshot gives.");
        log_hint("Use -m snapshot for rows and the changes that were made while they were read.");
        return false;
    }
    if (o->two_phase) {
        log_error("--snapshot=incremental and --two-phase cannot be used together");
        log_detail("Rows show a transaction when it has committed, not when it is prepared.");
        return false;
    }
    if (o->binary) {
        log_error("--snapshot=incremental and -o binary cannot be used together");
        log_detail("Keys are compared by their text.");
        return false;
    }
    if (o->jobs > 1)
        log_warning("an incremental snapshot reads with one connection: --jobs has no effect");
    return true;
}

static bool check_snapshot(const struct parsed *p)
{
    const struct options *o = &p->o;

    return check_range("number of jobs", o->jobs, 1, 64) &&
           check_range("chunk size", o->chunk_size, 1, 1000000000) && check_snapshot_queries(o) &&
           check_snapshot_use(p) && check_incremental(o);
}

static bool apply_settings(struct parsed *p)
{
    for (size_t i = 0; i < p->settings.count; i++)
        if (!handling_set(&p->o.handling, p->settings.items[i]))
            return false;
    return true;
}

static const char *has_no_effect_on_avro(const struct handling *h)
{
    return h->placeholder != handling_default.placeholder    ? "unavailable.value.placeholder"
           : h->money_digits != handling_default.money_digits ? "money.fraction.digits"
           : h->unknown_as_bytes                              ? "include.unknown.datatypes"
                                                              : NULL;
}

static bool check_avro(const struct parsed *p)
{
    const struct options *o = &p->o;

    if (o->envelope == ENVELOPE_DEBEZIUM_09) {
        log_error("invalid envelope for Avro: must be one of debezium, flink, plain");
        return false;
    }
    if (o->key_delimiter)
        return refuse_pair("-F avro", "-K", "Keys stand before lines of NDJSON.");
    if (o->handling.profile == TYPES_DEBEZIUM)
        return refuse_pair("-F avro", "--types=debezium",
                           "Avro has logical types of its own; --set changes single ones.");
    if (has_no_effect_on_avro(&o->handling))
        return refuse_pair("-F avro", has_no_effect_on_avro(&o->handling),
                           "Avro has a list of the columns that were not sent, and texts.");
    if (o->handling.times && o->handling.times != TIME_ISOSTRING) {
        log_error("invalid time.precision.mode for Avro: must be isostring");
        log_detail("Without it dates and times have Avro's logical types, in microseconds.");
        return false;
    }
    return true;
}

static bool check_csv(const struct parsed *p)
{
    const struct options *o = &p->o;

    if (o->envelope != ENVELOPE_FLINK && o->envelope != ENVELOPE_DEBEZIUM) {
        log_error("invalid envelope for CSV: must be one of flink, debezium");
        return false;
    }
    if (o->key_delimiter)
        return refuse_pair("-F csv", "-K", "Keys stand before lines of NDJSON.");
    if (p->types_given && o->envelope == ENVELOPE_FLINK)
        return refuse_pair("-F csv -e flink", p->settings.count ? "--set" : "--types",
                           "The cells are PostgreSQL's own texts, as COPY writes them.");
    return true;
}

static bool check_envelope(struct parsed *p)
{
    struct options *o = &p->o;
    const char *other = other_records(o);

    if (o->envelope == ENVELOPE_OF_FORMAT)
        o->envelope = o->format == FORMAT_CSV ? ENVELOPE_FLINK : ENVELOPE_DEBEZIUM;
    if (p->changelog_given && o->envelope != ENVELOPE_FLINK) {
        log_error("--changelog-mode needs -e flink");
        return false;
    }
    if (other && o->format != FORMAT_NDJSON)
        return refuse_pair(other, o->format == FORMAT_CSV ? "-F csv" : "-F avro",
                           "CSV and Avro carry changes of rows alone.");
    if (other && o->envelope == ENVELOPE_FLINK)
        return refuse_pair(other, "-e flink", "That envelope carries changes of rows alone.");
    if (p->codec_given && o->format != FORMAT_AVRO) {
        log_error("--codec needs -F avro");
        return false;
    }
    return o->format == FORMAT_CSV    ? check_csv(p)
           : o->format == FORMAT_AVRO ? check_avro(p)
                                      : true;
}

static bool check_list_format(const struct options *o)
{
    if (o->action != ACTION_LIST_SLOTS || o->format != FORMAT_AVRO)
        return true;
    log_error("invalid format for --list-slots: must be one of ndjson, csv");
    return false;
}

/* What is pending is what there is by now; who wants to see more comes says how long. */
static bool check_peek(struct options *o)
{
    const struct until *until = &o->until;

    if (o->action != ACTION_PEEK)
        return true;
    if (o->file && file_name_has_placeholders(o->file))
        return refuse_pair("--peek", "placeholders in -f", "Nothing that is looked at is accepted.");
    o->mode = MODE_COMMITTED_OFFSET;
    o->publication_mode = PUBLICATION_EXISTING;
    o->force = true;
    if (!until->now && !until->lsn && !until->timestamp && !o->idle_exit && !o->max_time)
        o->until.now = true;
    return true;
}

bool parsed_check(struct parsed *p)
{
    struct options *o = &p->o;

    if (p->quiet && p->verbose) {
        log_error("-q and -v cannot be used together");
        return false;
    }
    if (!o->publication)
        o->publication = o->slot ? xasprintf("cdcdump_%s", o->slot) : "";
    return apply_settings(p) && check_slot(o) && check_slot_kind(o) && check_replica_identity(o) &&
           check_plugin_options(o) && check_key_delimiter(p) && check_envelope(p) &&
           check_output(p) && check_replies(p) && check_deferred(o) &&
           check_position(o) && check_transport(p) && check_snapshot(p) && check_list_format(o) && check_peek(o);
}
