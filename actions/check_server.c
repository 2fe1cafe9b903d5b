#include "actions/check_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"

/* One row of all that is asked about.  Settings that a version does not have are NULL. */
static const char facts_question[] =
    "SELECT r.rolname AS name, quote_ident(r.rolname) AS role, r.rolsuper, r.rolreplication,"
    "       EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication') AS rds,"
    "       pg_is_in_recovery() AS standby, current_setting('wal_level') AS wal_level,"
    "       current_setting('hot_standby_feedback')::bool AS feedback,"
    "       current_setting('max_replication_slots') AS max_slots,"
    "       current_setting('max_wal_senders') AS max_walsenders,"
    "       current_setting('max_connections')::int"
    "         - current_setting('superuser_reserved_connections')::int"
    "         - coalesce(current_setting('reserved_connections', true)::int, 0) AS max_sessions,"
    "       current_setting('max_slot_wal_keep_size', true) AS keep_size,"
    "       nullif(current_setting('idle_replication_slot_timeout', true), '0') AS idle_timeout,"
    "       current_setting('wal_sender_timeout') AS sender_timeout,"
    "       (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout')"
    "         AS sender_timeout_ms"
    "  FROM pg_roles AS r WHERE r.rolname = current_user";

/*
 * What is in use of them, ours included: a walsender and a session.  A question of its own, as some
 * take the right to see it away.
 */
static const char use_question[] =
    "SELECT (SELECT count(*) FROM pg_replication_slots) AS slots,"
    "       (SELECT count(*) FROM pg_stat_replication) AS walsenders,"
    "       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    "         AS sessions";

struct facts {
    struct check *c;
    struct findings *found;
    const struct options *o;
    const PGresult *row;
    const PGresult *use; /* NULL = it cannot be seen */
};

static const char *text(const struct facts *f, const char *column)
{
    return result_string(f->row, 0, column);
}

static bool is(const struct facts *f, const char *column)
{
    return result_bool(f->row, 0, column);
}

static int64_t number(const struct facts *f, const char *column)
{
    return result_i64(f->row, 0, column);
}

static int64_t used(const struct facts *f, const char *what)
{
    return result_i64(f->use, 0, what);
}

/* *result: NULL where there is no answer, which ends no capture. */
static bool ask(struct check *c, enum finding_part part, const char *doing, const char *question,
                PGresult **result)
{
    findings_listen(&c->found, part);
    return findings_excuse(&c->found, sql_query(c->sql, doing, question, 0, NULL, result));
}

/* ---- role ---- */

static void tell_role(const struct facts *f)
{
    if (!f->c->walsender)
        return;
    findings_ok(f->found, PART_ROLE, "role \"%s\" may read changes: it %s", text(f, "name"),
                is(f, "rolsuper")         ? "is a superuser"
                : is(f, "rolreplication") ? "has the REPLICATION attribute"
                                          : "was given a walsender");
}

void check_server_refusal(struct check *c)
{
    struct finding *refused = findings_heard(&c->found);
    const size_t at = refused ? (size_t)(refused - c->found.list) : 0;
    PGresult *row = NULL, *use = NULL;
    struct facts f = {.c = c, .found = &c->found, .o = c->session.o};

    if (!refused)
        return;
    ask(c, PART_ROLE, "look up the role", facts_question, &row);
    ask(c, PART_SERVER, "look up what is in use", use_question, &use);
    f.row = row;
    f.use = use;
    refused = &c->found.list[at]; /* the list may have moved */
    if (row && !is(&f, "rolsuper") && !is(&f, "rolreplication"))
        finding_set_remedy(refused, xasprintf(is(&f, "rds") ? "GRANT rds_replication TO %s;"
                                                            : "ALTER ROLE %s REPLICATION;",
                                              text(&f, "role")));
    else if (row && use && used(&f, "walsenders") >= number(&f, "max_walsenders"))
        finding_set_remedy(refused,
                           xasprintf("ALTER SYSTEM SET max_wal_senders = %lld;",
                                     (long long)number(&f, "max_walsenders") + 5));
    PQclear(row);
    PQclear(use);
}

/* ---- the server ---- */

static void tell_server(const struct facts *f)
{
    findings_ok(f->found, PART_SERVER, "PostgreSQL %s, a %s",
                PQparameterStatus(f->c->sql, "server_version"),
                is(f, "standby") ? "standby" : "primary");
}

/* From 19 on the server raises the level by itself. */
static void check_wal_level(const struct facts *f)
{
    if (!f->c->needs_slot)
        return;
    if (strcmp(text(f, "wal_level"), "logical") == 0 || PQserverVersion(f->c->sql) >= 190000)
        findings_ok(f->found, PART_SERVER, "wal_level is \"%s\"", text(f, "wal_level"));
    else
        findings_fail(f->found, PART_SERVER, OUTCOME_MISUSED,
                      "ALTER SYSTEM SET wal_level = logical;",
                      "wal_level is \"%s\", and must be \"logical\", which takes a restart of the "
                      "server",
                      text(f, "wal_level"));
}

static void check_standby(const struct facts *f)
{
    if (!is(f, "standby") || !f->c->needs_slot)
        return;
    if (f->c->makes_slot && PQserverVersion(f->c->sql) < 160000)
        findings_fail(f->found, PART_SERVER, OUTCOME_MISUSED, "target_session_attrs=read-write",
                      "before PostgreSQL 16 only a primary server gives changes");
    else if (f->c->makes_slot)
        findings_warn(f->found, PART_SERVER, NULL,
                      "wal_level of the primary has to be \"logical\", which cannot be seen from "
                      "this standby");
    if (f->c->makes_slot && f->o->failover)
        findings_fail(f->found, PART_SERVER, OUTCOME_MISUSED, "target_session_attrs=read-write",
                      "a failover slot cannot be created on a standby");
    if (!is(f, "feedback"))
        findings_warn(f->found, PART_SERVER,
                      "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();",
                      "hot_standby_feedback is off: the primary may remove rows that the slot "
                      "needs, which invalidates it");
}

static void check_free_slot(const struct facts *f)
{
    long long slots = used(f, "slots"), most = number(f, "max_slots");
    char *remedy = xasprintf("ALTER SYSTEM SET max_replication_slots = %lld;", most + 5);

    if (f->c->makes_slot && slots >= most)
        findings_fail(f->found, PART_SERVER, OUTCOME_MISUSED, remedy,
                      "all %lld replication slots are in use, and a greater max_replication_slots "
                      "takes a restart of the server",
                      most);
    else if (f->c->needs_slot)
        findings_ok(f->found, PART_SERVER, "%lld of %lld replication slots are in use", slots, most);
    free(remedy);
}

/* On a standby a second one keeps an eye on its timeline. */
static void check_walsenders(const struct facts *f)
{
    long long others = used(f, "walsenders") - 1, most = number(f, "max_walsenders");
    long long wanted = is(f, "standby") && f->c->needs_slot ? 2 : 1;
    char *remedy = xasprintf("ALTER SYSTEM SET max_wal_senders = %lld;", most + 5);

    if (f->c->walsender && others + wanted > most)
        findings_warn(f->found, PART_SERVER, remedy,
                      "%lld of %lld walsenders are in use, and the capture takes up to %lld; a "
                      "greater max_wal_senders takes a restart of the server",
                      others, most, wanted);
    else if (f->c->walsender)
        findings_ok(f->found, PART_SERVER, "%lld of %lld walsenders are in use", others, most);
    free(remedy);
}

/* Beside the walsender: one for questions, and those that read rows. */
static void check_connections(const struct facts *f)
{
    bool reads = rows_are_wanted(&f->c->session.rows);
    bool at_once = reads && f->o->snapshot == SNAPSHOT_CONSISTENT;
    long long others = used(f, "sessions") - 1, most = number(f, "max_sessions");
    long long wanted = 1 + reads + (at_once ? (long long)f->o->jobs : 0);

    if (most - others < wanted)
        findings_warn(f->found, PART_SERVER, at_once && f->o->jobs > 1 ? "--jobs=1" : NULL,
                      "%lld of %lld connections are in use, and the capture takes up to %lld "
                      "(max_connections)",
                      others, most, wanted);
    else
        findings_ok(f->found, PART_SERVER, "%lld of %lld connections are in use", others, most);
}

static void check_sender_timeout(const struct facts *f)
{
    usec_t timeout = number(f, "sender_timeout_ms") * 1000;
    char *remedy = xasprintf("--stall-timeout=%lld", (long long)(timeout / 2 / USEC_PER_SEC));

    if (!f->c->needs_slot || timeout == 0)
        ;
    else if (timeout < 10 * USEC_PER_SEC)
        findings_warn(f->found, PART_SERVER,
                      "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();",
                      "wal_sender_timeout is only %s: a short delay of the network ends the "
                      "connection",
                      text(f, "sender_timeout"));
    else if (f->o->stall_timeout >= timeout)
        findings_warn(f->found, PART_SERVER, remedy,
                      "the stall timeout is not shorter than wal_sender_timeout (%s): the server "
                      "ends the connection before a reader that stands still is noticed",
                      text(f, "sender_timeout"));
    free(remedy);
}

/* What makes the server give a slot up. */
static void check_slot_limits(const struct facts *f)
{
    if (!f->c->needs_slot)
        return;
    if (*text(f, "keep_size") && strcmp(text(f, "keep_size"), "-1") != 0)
        findings_warn(f->found, PART_SERVER,
                      "ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();",
                      "max_slot_wal_keep_size is %s: a slot that is further behind is invalidated",
                      text(f, "keep_size"));
    if (*text(f, "idle_timeout"))
        findings_warn(f->found, PART_SERVER,
                      "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT "
                      "pg_reload_conf();",
                      "idle_replication_slot_timeout is %s: a slot that nobody reads for so long "
                      "is invalidated",
                      text(f, "idle_timeout"));
}

/* ---- the plugin ---- */

/*
 * Whether the library is in one of the folders that the server looks into; loading it to see is not
 * for us.  That needs more than most roles may.
 */
static const char may_look_question[] =
    "SELECT has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')"
    "   AND has_function_privilege('pg_config()', 'EXECUTE')"
    "   AND has_table_privilege('pg_config', 'SELECT')"
    "   AND pg_has_role('pg_read_server_files', 'USAGE')";

static const char library_question[] =
    "WITH path AS (SELECT replace(current_setting('dynamic_library_path'), '$libdir', setting)"
    "                  AS folders FROM pg_config WHERE name = 'PKGLIBDIR')"
    " SELECT EXISTS (SELECT FROM path, unnest(string_to_array(folders, ':')) AS folder,"
    "                       unnest('{.so,.dylib,.dll}'::text[]) AS ending"
    "                 WHERE (pg_stat_file(folder || '/' || $1 || ending, true)).size IS NOT NULL)"
    "        AS there";

static const char used_question[] =
    "SELECT FROM pg_replication_slots WHERE plugin = $1";

/* *there: a row where it can be seen; *used: the slots that have the plugin, where it cannot. */
static enum outcome look_for_library(PGconn *sql, const struct plugin *p, PGresult **there,
                                     PGresult **used)
{
    PGresult *may;
    enum outcome outcome = sql_query(sql, "look up privileges", may_look_question, 0, NULL, &may);
    bool seen = outcome == OUTCOME_OK && result_first(may)[0] == 't';

    PQclear(may);
    if (outcome != OUTCOME_OK)
        return outcome;
    return sql_query(sql, "look for the plugin", seen ? library_question : used_question, 1,
                     &p->library, seen ? there : used);
}

static void check_library(struct check *c, const struct plugin *p)
{
    PGresult *used = NULL, *there = NULL;

    findings_listen(&c->found, PART_PLUGIN);
    if (!findings_excuse(&c->found, look_for_library(c->sql, p, &there, &used)))
        return;
    if (PQntuples(used) > 0)
        findings_ok(&c->found, PART_PLUGIN, "plugin \"%s\" is in use on the server", p->name);
    else if (!there && p->publishes)
        findings_ok(&c->found, PART_PLUGIN, "plugin \"%s\" comes with the server", p->name);
    else if (!there)
        findings_warn(&c->found, PART_PLUGIN, NULL,
                      "whether the server has the library of plugin \"%s\" cannot be seen by this "
                      "role",
                      p->name);
    else if (result_bool(there, 0, "there"))
        findings_ok(&c->found, PART_PLUGIN, "plugin \"%s\" is installed on the server", p->name);
    else
        findings_fail(&c->found, PART_PLUGIN, OUTCOME_MISUSED, p->publishes ? NULL : "-P pgoutput",
                      "the server does not have the library \"%s\" of plugin \"%s\"", p->library,
                      p->name);
    PQclear(used);
    PQclear(there);
}

static void check_plugin(struct check *c)
{
    const struct plugin *p = plugin_of(c->session.o->plugin);
    char *list = NULL, *remedy;

    if (!c->needs_slot)
        return;
    check_library(c, p);
    findings_listen(&c->found, PART_PLUGIN);
    findings_excuse(&c->found, plugin_setting(c->sql, p, &list));
    if (!list)
        return;
    remedy = xasprintf("ALTER SYSTEM SET output_plugin_libraries = %s; SELECT pg_reload_conf();",
                       list);
    findings_fail(&c->found, PART_PLUGIN, OUTCOME_MISUSED, remedy,
                  "the server does not allow the library \"%s\" as an output plugin "
                  "(output_plugin_libraries)",
                  p->library);
    free(remedy);
    free(list);
}

/* ---- transactions ---- */

/* What others do is hidden from most roles, but for the fact that they have a transaction. */
static const char running_question[] =
    "SELECT concat('the transaction of process ', pid,"
    "              ' (' || nullif(concat_ws(', ', nullif(application_name, ''), state), '') || ')',"
    "              to_char(xact_start AT TIME ZONE 'UTC',"
    "                      '\" since \"YYYY-MM-DD HH24:MI:SS\" UTC\"')) AS what,"
    "       format('SELECT pg_terminate_backend(%s);', pid) AS remedy"
    "  FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
    " UNION ALL SELECT format('prepared transaction \"%s\" of database \"%s\"', gid, database),"
    "        format('COMMIT PREPARED %L;', gid) FROM pg_prepared_xacts";

/* The creation of a slot waits until all of them have ended. */
static void check_running(struct check *c)
{
    PGresult *running = NULL;

    if (!c->makes_slot)
        return;
    ask(c, PART_SLOT, "look up running transactions", running_question, &running);
    for (int i = 0; i < PQntuples(running); i++)
        findings_warn(&c->found, PART_SLOT, result_string(running, i, "remedy"),
                      "the creation of the replication slot waits for %s",
                      result_string(running, i, "what"));
    PQclear(running);
}

/* How much there is of what is limited. */
static void check_room(struct facts *f)
{
    PGresult *use = NULL;

    if (!ask(f->c, PART_SERVER, "look up what is in use", use_question, &use))
        return;
    f->use = use;
    check_free_slot(f);
    check_walsenders(f);
    check_connections(f);
    PQclear(use);
}

void check_server(struct check *c)
{
    PGresult *row = NULL;
    struct facts f = {.c = c, .found = &c->found, .o = c->session.o};

    if (!ask(c, PART_SERVER, "look up settings", facts_question, &row))
        return;
    f.row = row;
    tell_role(&f);
    tell_server(&f);
    check_standby(&f);
    check_wal_level(&f);
    check_room(&f);
    check_sender_timeout(&f);
    check_slot_limits(&f);
    PQclear(row);
    check_plugin(c);
    check_running(c);
}
