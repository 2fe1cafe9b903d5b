/*
 * Tests of config: each key of the table with a value that is taken and one that is not, and what
 * follows from several keys.  The keys are those that the manual's list has, so none is left out.
 */
#include "cli/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/connector_keys.h"
#include "cli/parsed.h"
#include "cli/value_text.h"
#include "tests/unit/capture.h"
#include "tests/unit/tap.h"

static char path[] = "/tmp/config_test.XXXXXX";

/* ---- what a file becomes ---- */

static void add_list(struct buf *b, char mark, const struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        buf_printf(b, "%s%c%s", b->len ? " " : "", mark, list->items[i]);
}

/* option=value, @setting of libpq, +table, -table; "failed" where the file is refused. */
static const char *read_text(const char *text)
{
    static struct buf b;
    FILE *file = fopen(path, "wb");
    struct config c;

    if (!file || fputs(text, file) == EOF || fclose(file) != 0)
        exit(1);
    if (!b.data)
        buf_init(&b, 256);
    b.len = 0;
    log_forget();
    if (!config_read(&c, path))
        return "failed";
    for (size_t i = 0; i < c.count; i++)
        buf_printf(&b, "%s%s=%s", b.len ? " " : "", c.settings[i].option, c.settings[i].value);
    if (c.keep_publication)
        buf_add_str(&b, " keep");
    add_list(&b, '@', &c.connection_settings);
    add_list(&b, '+', &c.qualified_tables);
    add_list(&b, '-', &c.exclude_qualified_tables);
    buf_add_char(&b, '\0');
    return b.data;
}

static void becomes(const char *text, const char *expected, const char *name)
{
    const char *got = read_text(text);

    if (!is_str(got, expected, name))
        tap_note("said: %s", logged());
}

static bool says(const char *expected, const char *name)
{
    bool said = strstr(logged(), expected) != NULL;

    ok(said, "%s", name);
    if (!said)
        tap_note("said: %s", logged());
    return said;
}

static void is_refused(const char *text, const char *expected, const char *name)
{
    is_str(read_text(text), "failed", name);
    says(expected, name);
}

static void warns(const char *text, const char *expected, const char *name)
{
    ok(strcmp(read_text(text), "failed") != 0, "%s: taken", name);
    says(expected, name);
}

/* ---- each key ---- */

#define FLINK "connector=postgres-cdc\n"
#define CLASS "connector.class=io.debezium.connector.postgresql.PostgresConnector\nslot.name=s\n"

static const struct {
    const char *key, *valid, *expected, *invalid, *must_be;
} cases[] = {
    {"connector", "postgres-cdc", "", "mysql-cdc", "one of postgres-cdc, adbpg-cdc"},
    {"hostname", "h", "host=h", "", "something"},
    {"port", "6000", "port=6000", "0", "a whole number from 1 to 65535"},
    {"username", "u", "username=u", "", "something"},
    {"password", "p ", "@password=p ", NULL, NULL},
    {"database-name", " d ", "dbname=d", "", "the name of a database"},
    {"connect.timeout", "1500 ms", "@connect_timeout=2", "soon", "a whole number with a unit"},
    {"connect.max-retries", "5", "retries=5", "-2", "a whole number from 0 on, or -1"},
    {"slot.name", "s", "slot=s", "", "something"},
    {"decoding.plugin.name", "WAL2JSON", "plugin=wal2json", "test_decoding",
     "one of pgoutput, wal2json, wal2json_rds, wal2json_streaming, wal2json_rds_streaming, "
     "decoderbufs"},
    {"schema-name", "p.*,Q", "schema=(?i)p[^\\u000a\\u000d\\u0085\\u2028\\u2029]* schema=(?i)Q",
                                      "(",
     NULL},
    {"table-name", "", NULL, NULL, NULL}, /* see test_table_name() */
    {"scan.startup.mode", "Latest-Offset", "startup-mode=latest-offset", "never",
     "one of initial, latest-offset, snapshot, committed-offset"},
    {"scan.incremental.snapshot.enabled", "TRUE", "snapshot=incremental", "yes",
     "one of true, false"},
    {"scan.incremental.snapshot.chunk.size", "2", "chunk-size=2", "1",
     "a whole number from 2 to 1000000000"},
    {"scan.incremental.snapshot.chunk.key-column", "Id", "chunk-key=Id", "", "something"},
    {"changelog-mode", "UPSERT", "envelope=flink changelog-mode=upsert", "both",
     "one of all, upsert"},
    {"heartbeat.interval.ms", "2min", "status-interval=120", "x", "a whole number with a unit"},
    {"heartbeat.interval", "500", "status-interval=0.500000", "-1", "a whole number with a unit"},

    {"connector.class", "io.debezium.connector.postgresql.PostgresConnector", "slot=debezium",
     "io.debezium.connector.mysql.MySqlConnector",
     "io.debezium.connector.postgresql.PostgresConnector"},
    {"name", "job", "@application_name=job", NULL, NULL},
    {"database.hostname", " h ", "host=h", "", "something"},
    {"database.port", "5433", "port=5433", "5432x", "a whole number from 1 to 65535"},
    {"database.user", "u", "username=u", "", "something"},
    {"database.password", "p=:", "@password=p=:", NULL, NULL},
    {"database.dbname", "a='b\\\\c", "dbname=dbname='a=\\'b\\\\c'", "", "the name of a database"},
    {"database.sslmode", "VERIFY_CA", "@sslmode=verify-ca", "on",
     "one of disable, allow, prefer, require, verify-ca, verify_ca, verify-full, verify_full"},
    {"database.sslcert", "c", "@sslcert=c", NULL, NULL},
    {"database.sslkey", "k", "@sslkey=k", NULL, NULL},
    {"database.sslpassword", " x", "@sslpassword=x", NULL, NULL},
    {"database.sslrootcert", "r", "@sslrootcert=r", NULL, NULL},
    {"database.tcpKeepAlive", "false", "@keepalives=0", "1", "one of true, false"},
    {"errors.max.retries", "-1", "", "x", "a whole number from 0 on, or -1"},
    {"retriable.restart.connector.wait.ms", "2500", "retry-delay=2.500000", "2s",
     "a whole number of milliseconds"},
    {"plugin.name", "wal2json_rds", "plugin=wal2json_rds", "",
     "one of pgoutput, wal2json, wal2json_rds, wal2json_streaming, wal2json_rds_streaming, "
     "decoderbufs"},
    {"slot.drop.on.stop", "true", "drop-slot-on-stop=", "1", "one of true, false"},
    {"slot.drop_on_stop", "false", "", "x", "one of true, false"},
    {"slot.failover", "True", "failover=", "", "one of true, false"},
    {"slot.stream.params", "a=1;; b=2;", "option=a=1 option=b=2", "a=1;b", "name=value;name=value"},
    {"publication.name", "p", "publication=p keep", "", "something"},
    {"publication.autocreate.mode", "ALL_TABLES", "publication-mode=all-tables", "some",
     "one of all_tables, filtered, disabled"},
    {"replica.identity.autoset.values", ".*:INDEX i", "replica-identity=index:i", ".*:SOME",
     "TABLES:IDENTITY"},
    {"status.update.interval.ms", "5000", "status-interval=5", "-1",
     "a whole number of milliseconds"},
    {"schema.include.list", "s", "schema=(?i)s", "[", NULL},
    {"schema.whitelist", "s_1", "schema=(?i)s_1", "*", NULL},
    {"schema.exclude.list", "s", "exclude-schema=(?i)s", "+", NULL},
    {"schema.blacklist", "1", "exclude-schema=1", "a++", NULL},
    {"table.include.list", "a.b, c\\\\.d", "+a.b +c\\.d", "s.products_[0-9]{1,3}", NULL},
    {"table.whitelist", "s.t", "+s.t", "s.(", NULL},
    {"table.exclude.list", "a.b", "-a.b", "a.\\\\pL", NULL},
    {"table.blacklist", "a.b", "-a.b", "(?>a).b", NULL},
    {"column.exclude.list", "s\\\\.t\\\\.c", "exclude-column=(?i)s\\.t\\.c", "(", NULL},
    {"column.blacklist", "s\\\\.t\\\\.c", "exclude-column=(?i)s\\.t\\.c", "(", NULL},
    {"column.include.list", "s\\\\.t\\\\.c,s\\\\.u",
                                                                      "exclude-column=(?i)(?!(?:s\\.t\\.c|s\\.u)$).*",
     "a)|(b", NULL},
    {"column.whitelist", "s", "exclude-column=(?i)(?!(?:s)$).*", "(", NULL},
    {"skipped.operations", "c, t,t", "skip-ops=ct", "c,x", "a list of c, u, d and t, or none"},
    {"message.prefix.include.list", ".*", "messages=", NULL, NULL},
    {"message.prefix.exclude.list", ".*", "", NULL, NULL},
    {"snapshot.mode", "Schema_Only", "startup-mode=schema_only", "sometimes",
     "one of initial, always, never, no_data, initial_only, when_needed, schema_only, "
     "schema_only_recovery, recovery, exported"},
    {"incremental.snapshot.chunk.size", "100", "chunk-size=100", "0",
     "a whole number from 1 to 1000000000"},
    {"snapshot.max.threads", "64", "jobs=64", "65", "a whole number from 1 to 64"},
    {"snapshot.select.statement.overrides", "s.t\nsnapshot.select.statement.overrides.s.t=SELECT 1",
     "snapshot-query=s.t=SELECT 1", "s.u", NULL},
    {"database.server.name", "srv", "server-name=srv", "", "something"},
    {"topic.prefix", "srv", "server-name=srv", "", "something"},
    {"provide.transaction.metadata", "true", "transactions=", "on", "one of true, false"},
    {"tombstones.on.delete", "true", "tombstones=", "2", "one of true, false"},
    {"decimal.handling.mode", "Double", "set=decimal.handling.mode=double", "x", NULL},
    {"time.precision.mode", "connect", "set=time.precision.mode=connect", "x", NULL},
    {"interval.handling.mode", "string", "set=interval.handling.mode=string", "x", NULL},
    {"binary.handling.mode", "hex", "set=binary.handling.mode=hex", "x", NULL},
    {"hstore.handling.mode", "map", "set=hstore.handling.mode=map", "x", NULL},
    {"money.fraction.digits", "3", "set=money.fraction.digits=3", "x", NULL},
    {"include.unknown.datatypes", "TRUE", "set=include.unknown.datatypes=true", "x", NULL},
    {"unavailable.value.placeholder", "Gone", "set=unavailable.value.placeholder=Gone", "hex:0",
     NULL},
    {"toasted.value.placeholder", "Gone", "set=unavailable.value.placeholder=Gone", NULL, NULL},
    {"read.only", "true", "", NULL, NULL},
    {"tasks.max", "1", "", NULL, NULL},
    {"value.converter", "org.apache.kafka.connect.json.JsonConverter", "", NULL, NULL},
    {"value.converter.schemas.enable", "FALSE", "", NULL, NULL},
    {"key.converter", "org.apache.kafka.connect.json.JsonConverter", "", NULL, NULL},
    {"key.converter.schemas.enable", "false", "", NULL, NULL},
};

enum { NCASES = sizeof cases / sizeof cases[0] };

/* A file with that key alone, beside the one that says whose it is. */
static char *file_of(const char *key, const char *value, bool flink)
{
    bool says_it = strncmp(key, "connector", 9) == 0 && key[9] != '-';

    return xasprintf("%s%s=%s\n", says_it ? "" : flink ? FLINK : CLASS, key, value);
}

static const char *without_slot(const char *got)
{
    return strncmp(got, "slot=s", 6) == 0 && (got[6] == ' ' || !got[6]) ? got + 6 + (got[6] == ' ')
                                                                       : got;
}

static bool is_of_flink(const char *key)
{
    return connector_key_find(key, KEYS_OF_FLINK) != NULL;
}

static void test_valid(void)
{
    for (int i = 0; i < NCASES; i++) {
        const char *key = cases[i].key;
        char *text;
        const char *got;

        if (!cases[i].expected)
            continue;
        text = file_of(key, cases[i].valid, is_of_flink(key));
        got = read_text(text);
        is_str(strcmp(key, "slot.name") ? without_slot(got) : got, cases[i].expected, key);
        if (strcmp(key, "connector.class") != 0)
            ok(!*logged(), "%s: nothing is said", key);
        if (*logged())
            tap_note("said: %s", logged());
        free(text);
    }
}

static void test_invalid(void)
{
    for (int i = 0; i < NCASES; i++) {
        const char *key = cases[i].key;
        bool flink = is_of_flink(key);
        char *text, *detail;

        if (!cases[i].invalid)
            continue;
        text = file_of(key, cases[i].invalid, flink);
        is_str(read_text(text), "failed", key);
        if (cases[i].must_be) {
            char *error = xasprintf("error: invalid value \"%s\" for \"%s\": must be %s",
                                    cases[i].invalid, key, cases[i].must_be);

            says(error, key);
            free(error);
        } else {
            says(key, key); /* the rest is for the part that found it */
        }
        detail = xasprintf("DETAIL:  That is line %d of \"%s\".",
                           strncmp(text, key, strlen(key)) == 0 ? 1 : flink ? 2 : 3, path);
        says(detail, key);
        free(detail);
        free(text);
    }
}

/* ---- all keys of the manual ---- */

static bool has_case(const char *key)
{
    for (int i = 0; i < NCASES; i++)
        if (strcmp(cases[i].key, key) == 0)
            return true;
    return false;
}

/* Those without a case have no effect, and that is said; or they are refused. */
static void test_key(const char *name, bool flink, unsigned *warned, unsigned *refused)
{
    char *key = xstrdup(name), *text, *warning, *error;
    const char *got;

    if (key[strlen(key) - 1] == '*')
        snprintf(key + strlen(key) - 1, 2, "x");
    text = file_of(key, "x", flink);
    warning = xasprintf("warning: \"%s\" has no effect: ", key);
    error = xasprintf("error: \"%s\" cannot be used: ", key);
    got = without_slot(read_text(text));
    if (!*got && strstr(logged(), warning))
        ++*warned;
    else if (strcmp(got, "failed") == 0 && strstr(logged(), error))
        ++*refused;
    else
        ok(false, "%s has no case, and becomes %s", key, got);
    free(key);
    free(text);
    free(warning);
    free(error);
}

static void test_manual(void)
{
    FILE *list = tmpfile();
    char line[2000];
    unsigned known = 0, warned = 0, refused = 0;
    bool flink = false;

    connector_keys_print_mdoc(list);
    rewind(list);
    while (fgets(line, sizeof line, list)) {
        char *rest = line + strlen(".It Li ");

        if (strncmp(line, ".Ss ", 4) == 0)
            flink = strstr(line, "Flink") != NULL;
        if (strncmp(line, ".It Li ", 7) != 0)
            continue;
        for (char *key = strsep(&rest, " \n"); key; key = strsep(&rest, " \n")) {
            if (!*key || strcmp(key, ",") == 0)
                continue;
            if (has_case(key))
                known++;
            else
                test_key(key, flink, &warned, &refused);
        }
    }
    fclose(list);
    ok(known >= NCASES, "the manual has all %d keys with a case (%u)", NCASES, known);
    ok(warned > 100, "%u keys have no effect, and it is said why", warned);
    ok(refused >= 4, "%u keys are refused", refused);
}

/* ---- several keys ---- */

#define NAMES FLINK "schema-name=public\n"

static void test_table_name(void)
{
    becomes(NAMES "table-name=(products|documents)\n",
            "schema=(?i)public +public.(products|documents)",
            "schema-name and table-name");
    ok(!*logged(), "nothing is said");
    becomes(NAMES "table-name=a,public.b\n", "schema=(?i)public +public.a +public.b",
            "the whole is a list");
    ok(!*logged(), "nothing is said");
    warns(NAMES "table-name=products|documents\n", "alternatives need parentheses",
          "an alternative without parentheses");
    warns(NAMES "table-name=products,documents\n",
          "\"documents\" of \"table-name\" matches no table",
          "a piece without a schema");
    warns(NAMES "table-name=products_*\n", "ends in any number of \"_\": any text is .*",
          "a wildcard of file names");
    is_refused(NAMES "table-name=p_[0-9]{1,3}\n",
               "the pattern \"public.p_[0-9]{1\" of \"table-name\" cannot be used: a { without an end",
               "a comma in a pattern");
    says("HINT:  A comma ends a pattern", "and how it is written");
    becomes(NAMES "table-name=p_[0-9]{1\\\\,3}\n", "schema=(?i)public +public.p_[0-9]{1,3}",
            "written so");
    is_refused(FLINK "table-name=x\n", "\"table-name\" needs \"schema-name\"",
               "without schema-name");
    setenv("CDC_TEST", "sales", 1);
    becomes(FLINK "schema-name=${env:CDC_TEST}\ntable-name=x\n", "schema=(?i)sales +sales.x",
            "with a variable");
}

static void test_modes(void)
{
    becomes(FLINK "debezium.snapshot.mode=never\n", "startup-mode=never", "Debezium's mode alone");
    becomes(FLINK "scan.startup.mode=snapshot\n", "startup-mode=snapshot", "Flink's mode alone");
    becomes(FLINK "scan.startup.mode=snapshot\ndebezium.snapshot.mode=never\n",
            "startup-mode=never",
            "both");
    says("warning: \"scan.startup.mode\" has no effect", "and which does not count");
    becomes(FLINK "scan.startup.mode=initial\ndebezium.snapshot.mode=initial\n",
            "startup-mode=initial",
            "the same by both");
    ok(!*logged(), "nothing is said");
    becomes(FLINK "scan.incremental.snapshot.enabled=true\nscan.startup.mode=snapshot\n"
                  "debezium.snapshot.mode=never\n",
            "startup-mode=snapshot snapshot=incremental", "both, and incremental");
    says("warning: \"debezium.snapshot.mode\" has no effect", "and which does not count");
    becomes(FLINK "scan.incremental.snapshot.enabled=true\ndebezium.snapshot.mode=never\n",
            "snapshot=incremental", "Debezium's mode alone, and incremental");
    says("warning: \"debezium.snapshot.mode\" has no effect", "it does not count either");
    is_refused(CLASS "snapshot.mode=custom\n", "\"snapshot.mode\" cannot be \"custom\": ",
               "custom");
    is_refused(CLASS "publication.autocreate.mode=no_tables\n", "cannot be \"no_tables\": ",
               "no_tables");
}

static void test_habits(void)
{
    becomes("connector=adbpg-cdc\n", "replica-identity=full",
            "adbpg-cdc sets the replica identity");
    becomes("connector=adbpg-cdc\nreplica-identity=keep\n", "replica-identity=keep",
            "unless the file has another");
    ok(!*logged(), "nothing is said");
    warns("connector=adbpg-cdc\ndecoding.plugin.name=wal2json\n", "knows pgoutput alone",
          "its plugin");
    becomes(FLINK "changelog-mode=all\nenvelope=plain\n", "envelope=plain changelog-mode=all",
            "changelog-mode, and an envelope");
    becomes(CLASS "publication.name=p\npublication.autocreate.mode=filtered\n",
            "slot=s publication=p publication-mode=filtered", "a publication and its mode");
    warns(CLASS "replica.identity.autoset.values=s.t:FULL\n", "has no effect",
          "identities of some");
    warns(CLASS "replica.identity.autoset.values=.*:FULL,s.t:DEFAULT\n", "has no effect",
          "of several");
    warns(CLASS "message.prefix.include.list=a\n", "has an effect on all messages", "prefixes");
    warns(CLASS "snapshot.select.statement.overrides.s.t=SELECT\n", "does not name the table",
          "a query whose table is not named");
    becomes(CLASS "tasks.max=2\n", "slot=s", "two tasks");
    says("warning: \"tasks.max\" has no effect: a run is one task", "are one");
    becomes(CLASS "heartbeat.interval.ms=0\nheartbeat=3\n", "slot=s heartbeat=3", "no heartbeat");
    becomes(CLASS "heartbeat.interval.ms=1500\n", "slot=s heartbeat=1.500000",
            "Debezium's heartbeat");
    becomes(FLINK "debezium.heartbeat.interval.ms=1500\n", "status-interval=1.500000",
            "within Flink it has no records");
}

static void test_two_for_one(void)
{
    becomes(CLASS "slot=t\n", "slot=t", "our own option comes later");
    says("warning: \"slot.name\" has no effect: \"slot\" is --slot as well", "and it is said");
    becomes(FLINK "debezium.slot.name=b\nslot.name=a\n", "slot=b", "then what is behind debezium.");
    becomes(CLASS "topic.prefix=a\ndatabase.server.name=b\n", "slot=s server-name=b",
            "then the line");
    becomes(CLASS "topic.prefix=a\ndatabase.server.name=a\n", "slot=s server-name=a",
            "the same twice");
    ok(!*logged(), "nothing is said");
    becomes(CLASS "table.include.list=a.b\ntable.whitelist=c.d\n", "slot=s +a.b +c.d",
            "lists add up");
}

/* ---- our own options ---- */

static void test_own(void)
{
    becomes("slot=s\n--format=csv\nheartbeat=3\nset=hstore.handling.mode=map\nformt=csv\n", "failed",
            "a typo");
    becomes("slot=s\n--format=csv\nheartbeat=3\nset=hstore.handling.mode=map\n",
            "slot=s format=csv heartbeat=3 set=hstore.handling.mode=map", "long options");
    becomes("slot=s\ntable=a\nstate=f\ntable=b\n--table=a\nstate=g\n",
            "slot=s table=a state=g table=b table=a", "those that can be repeated add up");
    says("warning: \"state\" is given twice in", "what counts once is told");
    ok(!strstr(logged(), "\"table\""), "and the others are not");
    becomes("failover=true\ntransactions=\nmessages=false\nverbose=TRUE\nno-password=true\n",
            "failover= transactions= verbose= no-password=", "flags");
    is_refused("failover=1\n", "invalid value \"1\" for \"failover\": must be one of true, false",
               "a flag with something else");
    becomes("password=true\n", "@password=true", "password is the password");
    becomes("--password=true\n", "password=", "--password is the option");
    becomes("key-delimiter=\\t\n", "key-delimiter=\t", "nothing is taken from a value");
    is_refused("config=x\n", "\"config\" cannot stand in a file", "another file");
    is_refused("peek=true\n", "\"peek\" cannot stand in a file", "an action");
    is_refused("--help=\n", "\"--help\" cannot stand in a file", "--help");
    becomes("slot.name=a\ntable.include.list=x.y\n", "slot=a +x.y", "Debezium's keys, unnamed");
    becomes("schema-name=a\ntable-name=b\n", "schema=(?i)a +a.b", "Flink's keys, unnamed");
    becomes("debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector\n"
            "debezium.source.database.port=1\n",
            "port=1 slot=debezium", "Debezium Server");
    warns("slot=s\ndebezium.sink.type=kafka\nquarkus.log.level=INFO\n",
          "\"debezium.sink.type\" has no",
          "and what is not its source's");
}

static void test_unknown(void)
{
    is_refused("slt=s\n", "error: unknown key \"slt\"\nDETAIL:  That is line 1 of",
               "an own option");
    says("HINT:  There is \"slot\".", "and which was meant");
    warns("slot=s\nsomething.else=s\n", "\"something.else\" has no effect: it is not known",
          "no connector, and like nothing");
    is_refused(CLASS "table.whitelsit=s.t\n", "unknown key \"table.whitelsit\"",
               "a slip of the pen");
    says("HINT:  There is \"table.whitelist\".", "and what was meant");
    is_refused(FLINK "table_name=t\n", "unknown key \"table_name\"", "another separator");
    is_refused(FLINK "debezium.slot-name=t\n", "There is \"debezium.slot.name\"",
               "behind debezium.");
    is_refused(CLASS "slot.nam=s\n", "There is \"slot.name\"", "a letter less");
    becomes(CLASS "some.new.key=1\nsnapshot.delay.mss=1\n", "slot=s",
            "unknown, and like none that matters");
    says("warning: \"some.new.key\" has no effect: it is not known", "is warned about");
    says("warning: \"snapshot.delay.mss\" has no effect: it is not known", "the other, too");
    becomes(FLINK "slot.name=s\nsnapshot.mode=never\nslot.drop_on_stop=true\n",
            "slot=s drop-slot-on-stop= startup-mode=never", "Debezium's keys without debezium.");
    says("warning: \"snapshot.mode\" is no key of a connector of Flink CDC, where it is "
         "\"debezium.snapshot.mode\": taken",
         "and what it is called");
    is_refused(FLINK "snapshot.mode=x\n", "invalid value \"x\" for \"snapshot.mode\"",
               "with a value that is none");
    becomes(CLASS "schema-name=a\ntable-name=x\n", "slot=s schema=(?i)a +a.x", "Flink's keys");
    says("warning: \"table-name\" is no key of Debezium's connector: taken", "and what they are");
    warns(CLASS "chunk-meta.group.size=3\n", "has no effect: chunks are cut",
          "one without an effect");
    is_refused("connector=adbpg\nurl=jdbc:x\n", "connector \"adbpg\" is no source of changes",
               "a sink");
    says("adbpg-cdc\nDETAIL:  That is line 1 of ", "and where it stands");
    ok(!strstr(logged(), "url"), "and nothing more is said of it");
    is_refused("connector=upsert-kafka\n", "connector \"upsert-kafka\" is no source",
               "another one");
    warns(FLINK "conflictMode=ignore\n", "\"conflictMode\" has no effect: it is of a sink",
          "a key of a sink");
    is_refused(FLINK CLASS, "cannot be used together", "two connectors");
}

static void test_all_errors(void)
{
    is_refused(CLASS "database.port=x\nplugin.name=y\nslt.name=z\n", "invalid value \"x\"",
               "three errors: the first");
    says("invalid value \"y\" for \"plugin.name\"", "the second");
    says("unknown key \"slt.name\"", "the third");
}

/* ---- secrets ---- */

static void write_secret(const char *name)
{
    FILE *file = fopen(name, "wb");

    if (!file || fputs("p=hush\n", file) == EOF || fclose(file) != 0)
        exit(1);
}

static void test_secrets(void)
{
    char *name = xasprintf("%s.secret", path), *text;
    static const char *const keys[] = {"database.port", "plugin.name", "table.include.list",
                                       "decimal.handling.mode", "slot.drop.on.stop", "slot.failover"};

    write_secret(name);
    text = xasprintf(CLASS "database.password=${file:%s:p}\n", name);
    becomes(text, "slot=s @password=hush", "a password from a file");
    free(text);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        text = xasprintf(CLASS "%s=${file:%s:p}[\n", keys[i], name);
        is_refused(text, keys[i], keys[i]);
        ok(!strstr(logged(), "hush"), "%s: a value from a file is not printed", keys[i]);
        free(text);
    }
    is_refused(CLASS "database.password=${file:/nowhere:p}\n", "could not open \"/nowhere\"",
               "a password that is not there");
    says("DETAIL:  That is for \"database.password\", in line 3 of", "and whose it is");
    becomes(CLASS "transforms=${vault:x:y}\n", "slot=s", "what has no effect needs no value");
    unlink(name);
    free(name);
}

/* ---- whether settings fit ---- */

static bool fits(const char *text, const char *option, const struct parsed *p)
{
    struct config c;
    FILE *file = fopen(path, "wb");

    if (!file || fputs(text, file) == EOF || fclose(file) != 0 || !config_read(&c, path))
        exit(1);
    for (size_t i = 0; i < c.count; i++)
        if (strcmp(c.settings[i].option, option) == 0)
            return !c.settings[i].fits || c.settings[i].fits(p);
    return false;
}

static void test_fits(void)
{
    struct parsed p = {.o = {.mode = MODE_INITIAL, .envelope = ENVELOPE_DEBEZIUM}};
    const char *incremental = FLINK "scan.incremental.snapshot.enabled=true\n"
                                    "scan.incremental.snapshot.chunk.size=9\nchangelog-mode=all\n";
    const char *debezium = CLASS "tombstones.on.delete=true\nheartbeat.interval.ms=1\n"
                                 "snapshot.max.threads=2\n";

    ok(fits(incremental, "snapshot", &p), "incremental, where rows are read");
    ok(!fits(incremental, "chunk-size", &p), "no chunks where they are read at once");
    ok(fits(debezium, "jobs", &p), "jobs there");
    ok(!fits(incremental, "changelog-mode", &p), "changelog-mode is of Flink's envelope");
    ok(fits(debezium, "heartbeat", &p) && !fits(debezium, "tombstones", &p), "heartbeats, no keys");
    p.o.snapshot = SNAPSHOT_INCREMENTAL;
    p.o.envelope = ENVELOPE_FLINK;
    p.key_delimiter = ":";
    ok(fits(incremental, "chunk-size", &p) && !fits(debezium, "jobs", &p), "chunks, no jobs");
    ok(fits(incremental, "changelog-mode", &p) && !fits(debezium, "heartbeat", &p),
       "Flink's envelope has its mode, and no heartbeats");
    ok(fits(debezium, "tombstones", &p), "tombstones with keys");
    p.o.mode = MODE_NEVER;
    ok(!fits(incremental, "snapshot", &p) && !fits(incremental, "chunk-size", &p),
       "nothing of that where no rows are read");
    ok(fits("chunk-size=3\n", "chunk-size", &p), "our own options are always meant");
}

/* ---- values ---- */

static void test_durations(void)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},           {"1", 1000},           {"30s", 30000000},     {"5 min", 300000000},
        {"5m", 300000000},  {"2 H", 7200000000},   {"1day", 86400000000}, {"7ms", 7000},
        {"1 ns", 1},        {"1500 nanos", 2},     {"3 micros", 3},       {"3\xc2\xb5s", 3},
        {"2 Minutes", 120000000}, {"11574 d", 11574ull * 86400000000},
    };
    static const char *const bad[] = {"", "s", "-1s", "1.5s", "1 fortnight", "1s2", "30 s sec",
                                      "PT30S",
                                      "11575 d", "99999999999999999999s", "1 ,", "1 s "};
    uint64_t usec;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ok(value_text_duration(good[i].text, &usec) && usec == good[i].usec, "%s", good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ok(!value_text_duration(bad[i], &usec), "no duration: \"%s\"", bad[i]);
}

int main(void)
{
    int fd = mkstemp(path);

    if (fd < 0)
        return 1;
    close(fd);
    capture_start();
    test_valid();
    test_invalid();
    test_manual();
    test_table_name();
    test_modes();
    test_habits();
    test_two_for_one();
    test_own();
    test_unknown();
    test_all_errors();
    test_secrets();
    test_fits();
    test_durations();
    capture_end();
    unlink(path);
    return tap_done();
}
