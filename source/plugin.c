#include "source/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/decoderbufs.h"
#include "decode/pgoutput.h"
#include "decode/test_decoding.h"
#include "decode/wal2json.h"
#include "source/connection.h"
#include "source/server_error.h"

struct plugin_option {
    const char *name;
    const char *value;
    const char *instead_of; /* sent only where that one has been refused; NULL = always */
    bool optional;          /* versions that do not know it can be read, too */
};

/* ---- the table ---- */

#define NUMBERS_AS_STRINGS "numeric-data-types-as-string" /* since 2.6 */

#define WAL2JSON_COMMON                                                                            \
    {"include-xids", "1", NULL, false}, {"include-timestamp", "1", NULL, false},                   \
    {"include-lsn", "1", NULL, true}, {"include-type-oids", "1", NULL, true},                      \
    {NUMBERS_AS_STRINGS, "1", NULL, true}

/* What says that a number cannot be null tells null from NaN, where the plugin does not. */
#define WAL2JSON_METADATA {"include-not-null", "1", NUMBERS_AS_STRINGS, true}

static const struct plugin_option pgoutput_options[] = {{NULL, NULL, NULL, false}};

static const struct plugin_option wal2json_options[] = {
    {"format-version", "2", NULL, true}, WAL2JSON_COMMON, WAL2JSON_METADATA, {NULL, NULL, NULL, false},
};

static const struct plugin_option wal2json_rds_options[] = {
    {"format-version", "2", NULL, true}, WAL2JSON_COMMON, {NULL, NULL, NULL, false},
};

/* Only format 1 has chunks. */
static const struct plugin_option wal2json_streaming_options[] = {
    {"write-in-chunks", "1", NULL, false}, WAL2JSON_COMMON, WAL2JSON_METADATA, {NULL, NULL, NULL, false},
};

static const struct plugin_option wal2json_rds_streaming_options[] = {
    {"write-in-chunks", "1", NULL, false}, WAL2JSON_COMMON, {NULL, NULL, NULL, false},
};

static const struct plugin_option decoderbufs_options[] = {{NULL, NULL, NULL, false}};

static const struct plugin_option test_decoding_options[] = {
    {"include-xids", "1", NULL, false},
    {"include-timestamp", "1", NULL, false},
    {NULL, NULL, NULL, false},
};

static const char *const pgoutput_reserved[] = {"proto_version", "publication_names", "messages",
                                                "two_phase", "streaming", NULL};
/* include-default: expressions come unescaped, which breaks the JSON. */
static const char *const wal2json_reserved[] = {
    "format-version",    "write-in-chunks",  "include-xids",
    "include-timestamp", "include-lsn",      "include-schemas",
    "include-types",     "include-type-oids", "include-typmod",
    "include-not-null",  "include-transaction", "include-domain-data-type",
    NUMBERS_AS_STRINGS, "include-unchanged-toast", "include-default", NULL};
static const char *const decoderbufs_reserved[] = {"debug-mode", NULL};
/* skip-empty-xacts: PostgreSQL 15 leaves the BEGIN of a transaction out that has messages only. */
static const char *const test_decoding_reserved[] = {
    "include-xids", "include-timestamp", "skip-empty-xacts", "include-rewrites",
    "force-binary", "stream-changes",    NULL};

#define WAL2JSON(options)                                                                          \
    .library = "wal2json", .decoder = &decoder_wal2json, .sent = options,                          \
    .reserved = wal2json_reserved,                                                                 \
    .unidentified = "the plugin leaves updates and deletes of it out"

static const struct plugin plugins[] = {
    [PLUGIN_PGOUTPUT] = {.name = "pgoutput", .library = "pgoutput", .decoder = &decoder_pgoutput,
                         .sent = pgoutput_options, .reserved = pgoutput_reserved, .publishes = true,
                         .unidentified = "the server refuses updates and deletes of it while it is "
                                         "published",
                         .filters_columns = true, .tells_prepared = true},
    [PLUGIN_WAL2JSON] = {.name = "wal2json", WAL2JSON(wal2json_options)},
    [PLUGIN_WAL2JSON_RDS] = {.name = "wal2json_rds", WAL2JSON(wal2json_rds_options)},
    [PLUGIN_WAL2JSON_STREAMING] = {.name = "wal2json_streaming",
                                   WAL2JSON(wal2json_streaming_options)},
    [PLUGIN_WAL2JSON_RDS_STREAMING] = {.name = "wal2json_rds_streaming",
                                       WAL2JSON(wal2json_rds_streaming_options)},
    [PLUGIN_DECODERBUFS] = {.name = "decoderbufs", .library = "decoderbufs",
                            .decoder = &decoder_decoderbufs, .sent = decoderbufs_options,
                            .reserved = decoderbufs_reserved,
                            .unidentified = "the plugin leaves updates of it out, and deletes of it "
                                            "do not tell which row is gone",
                            .no_messages = "Plugin decoderbufs does not send logical messages."},
    [PLUGIN_TEST_DECODING] = {.name = "test_decoding", .library = "test_decoding",
                              .decoder = &decoder_test_decoding, .sent = test_decoding_options,
                              .reserved = test_decoding_reserved, .tells_prepared = true,
                              .unidentified = "deletes of it do not tell which row is gone"},
};

const struct plugin *plugin_of(enum plugin_name name)
{
    return &plugins[name == PLUGIN_AS_SLOT ? PLUGIN_PGOUTPUT : name];
}

enum plugin_name plugin_name_of_library(const char *library)
{
    for (int i = PLUGIN_PGOUTPUT; i <= PLUGIN_TEST_DECODING; i++)
        if (strcmp(plugins[i].library, library) == 0)
            return (enum plugin_name)i;
    return PLUGIN_AS_SLOT;
}

/* ---- the user's options ---- */

/* Whether NAME[=VALUE] has that name. */
static bool is_option(const char *text, const char *name)
{
    size_t len = strcspn(text, "=");

    return strlen(name) == len && strncmp(text, name, len) == 0;
}

static bool check_reserved(const struct plugin *p, const char *text)
{
    for (const char *const *r = p->reserved; *r; r++) {
        if (!is_option(text, *r))
            continue;
        log_error("plugin option \"%s\" is set by cdcdump itself", *r);
        if (!p->publishes)
            log_detail("It decides what cdcdump has to read.");
        else
            log_hint("Use --publication, --messages or --two-phase.  Transactions are read when "
                     "they have committed; streaming of unfinished ones is not supported.");
        return false;
    }
    if (!p->publishes || is_option(text, "binary") || is_option(text, "origin"))
        return true; /* other plugins have many, and say themselves what they do not know */
    log_error("unrecognized plugin option \"%s\"", text);
    log_hint("pgoutput knows binary (14+) and origin (16+).");
    return false;
}

/* Options of cdcdump's own that the plugin has no use for. */
static bool check_use(const struct options *o, const struct plugin *p)
{
    const char *publication = o->publication_given        ? "--publication"
                              : o->publication_mode_given ? "--publication-mode"
                                                          : NULL;

    if (!p->publishes && publication) {
        log_error("%s and plugin \"%s\" cannot be used together", publication, p->name);
        log_detail("Publications are pgoutput's: other plugins send the changes of all tables.");
        return false;
    }
    if (o->two_phase && !p->tells_prepared) {
        log_error("--two-phase and plugin \"%s\" cannot be used together", p->name);
        log_detail("The plugin gives prepared transactions when they are committed.");
        return false;
    }
    if (o->messages && p->no_messages) {
        log_error("--messages and plugin \"%s\" cannot be used together", p->name);
        log_detail("%s", p->no_messages);
        return false;
    }
    return true;
}

enum outcome plugin_check(const struct options *o)
{
    const struct plugin *p = plugin_of(o->plugin);

    for (size_t i = 0; i < o->plugin_options.count; i++)
        if (!check_reserved(p, o->plugin_options.items[i]))
            return OUTCOME_MISUSED;
    return check_use(o, p) ? OUTCOME_OK : OUTCOME_MISUSED;
}

/* ---- what a stream is started with ---- */

static void add_literal(struct buf *b, PGconn *conn, const char *text)
{
    char *quoted = PQescapeLiteral(conn, text, strlen(text));

    if (!quoted)
        log_out_of_memory();
    buf_add_str(b, quoted);
    PQfreemem(quoted);
}

/* A list that is being written. */
struct option_list {
    struct buf *b;
    PGconn *conn; /* whose rules for quotes hold */
    enum plugin_list form;
    bool begun;
};

static void add_option(struct option_list *list, const char *name, const char *value)
{
    if (list->begun)
        buf_add_str(list->b, ", ");
    list->begun = true;
    if (list->form == PLUGIN_COMMAND)
        sql_add_identifier(list->b, name);
    else
        add_literal(list->b, list->conn, name);
    buf_add_str(list->b, list->form == PLUGIN_COMMAND ? " " : ", ");
    add_literal(list->b, list->conn, value);
}

/* publication_names is itself a list of identifiers inside of a literal. */
static void add_publication(struct option_list *list, const char *publication)
{
    struct buf quoted;

    buf_init(&quoted, 128);
    sql_add_identifier(&quoted, publication);
    buf_add_char(&quoted, '\0');
    add_option(list, "publication_names", quoted.data);
    buf_release(&quoted);
}

/* Protocol version 1 says all that is printed; two-phase commit came with 3. */
static void add_pgoutput(struct option_list *list, const struct options *o)
{
    add_option(list, "proto_version", o->two_phase ? "3" : "1");
    add_publication(list, o->publication);
    if (o->messages)
        add_option(list, "messages", "true");
    if (o->two_phase)
        add_option(list, "two_phase", "on");
}

struct plugin_options plugin_first_options(const struct options *o)
{
    const struct plugin *p = plugin_of(o->plugin);
    struct plugin_options chosen = {0};

    for (unsigned i = 0; p->sent[i].name && o->temporary_slot; i++)
        if (strcmp(p->sent[i].name, NUMBERS_AS_STRINGS) == 0)
            chosen.refused |= 1u << i;
    return chosen;
}

static bool is_refused(const struct plugin *p, const struct plugin_options *chosen, const char *name)
{
    for (unsigned i = 0; p->sent[i].name; i++)
        if (strcmp(p->sent[i].name, name) == 0)
            return (chosen->refused & 1u << i) != 0;
    return false;
}

static bool is_sent(const struct plugin *p, const struct plugin_options *chosen, unsigned i)
{
    const struct plugin_option *option = &p->sent[i];

    return !(chosen->refused & 1u << i) &&
           (!option->instead_of || is_refused(p, chosen, option->instead_of));
}

bool plugin_add_options(struct buf *b, PGconn *conn, enum plugin_list form, const struct options *o,
                        const struct plugin_options *chosen)
{
    const struct plugin *p = plugin_of(o->plugin);
    struct option_list list = {.b = b, .conn = conn, .form = form};

    if (p->publishes)
        add_pgoutput(&list, o);
    for (unsigned i = 0; p->sent[i].name; i++)
        if (is_sent(p, chosen, i))
            add_option(&list, p->sent[i].name, p->sent[i].value);
    for (size_t i = 0; i < o->plugin_options.count; i++) {
        const char *text = o->plugin_options.items[i];
        size_t len = strcspn(text, "=");
        char *name = xstrndup(text, len);

        add_option(&list, name, text[len] ? text + len + 1 : "true");
        free(name);
    }
    return list.begun;
}

/* The plugin's own words differ from version to version; the option's name is in quotes in all. */
static bool names_option(const PGresult *error, const char *option)
{
    const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    char quoted[64];

    snprintf(quoted, sizeof quoted, "\"%s\"", option);
    return message && strstr(message, quoted);
}

bool plugin_yields(const struct options *o, struct plugin_options *chosen, const PGresult *error)
{
    const struct plugin *p = plugin_of(o->plugin);

    for (unsigned i = 0; p->sent[i].name; i++) {
        if (!p->sent[i].optional || !is_sent(p, chosen, i) || !names_option(error, p->sent[i].name))
            continue;
        log_verbose("plugin \"%s\" does not know option \"%s\": trying again without it",
                    p->library, p->sent[i].name);
        chosen->refused |= 1u << i;
        return true;
    }
    return false;
}

bool plugin_nan_is_null(const struct options *o, const struct plugin_options *chosen)
{
    return is_refused(plugin_of(o->plugin), chosen, NUMBERS_AS_STRINGS);
}

/* ---- what the server allows ---- */

/*
 * The setting is there from the minor releases of August 2026 on, and hidden from roles that have not
 * the privileges of pg_read_all_settings.
 */
static const char setting_question[] =
    "WITH setting AS (SELECT setting AS value FROM pg_settings"
    "                  WHERE name = 'output_plugin_libraries'),"
    "     allowed AS (SELECT coalesce(replace(m[1], '\"\"', '\"'), lower(m[2])) AS name FROM setting,"
    "                   regexp_matches(value, '\"((?:[^\"]|\"\")*)\"|([^,\"\\s]+)', 'g') AS m),"
    /* a list that was set as one string is one name: the parts were meant */
    "     meant AS (SELECT btrim(p.name) AS name, row_number() OVER () AS n"
    "                 FROM allowed, regexp_split_to_table(allowed.name, ',') AS p (name))"
    " SELECT (SELECT coalesce(string_agg(quote_ident(name), ', ' ORDER BY n) || ', ', '') FROM meant"
    "          WHERE name NOT IN ('', $1)) || quote_ident($1::text) AS setting"
    "   FROM setting WHERE $1 NOT IN (SELECT name FROM allowed)";

enum outcome plugin_setting(PGconn *sql, const struct plugin *p, char **list)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up the server's setting", setting_question, 1, &p->library, &result);

    *list = PQntuples(result) == 1 ? xstrdup(PQgetvalue(result, 0, 0)) : NULL;
    PQclear(result);
    return outcome;
}

void plugin_hint_at_setting(PGconn *sql, const struct plugin *p, bool forbidden)
{
    char *list;

    if (plugin_setting(sql, p, &list) != OUTCOME_OK)
        return;
    if (list)
        log_hint("A superuser can allow it: ALTER SYSTEM SET output_plugin_libraries = %s; SELECT "
                 "pg_reload_conf();",
                 list);
    else if (forbidden && !p->publishes)
        log_hint("A superuser can allow it: SHOW output_plugin_libraries tells the list, to which "
                 "ALTER SYSTEM SET output_plugin_libraries = …, %s adds the plugin.",
                 p->library);
    free(list);
}
