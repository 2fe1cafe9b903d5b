#include "source/publication.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"

struct publication {
    bool exists;
    bool all_tables;
};

static enum outcome find_publication(PGconn *sql, const char *name, struct publication *p)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up the publication",
                  "SELECT puballtables FROM pg_publication WHERE pubname = $1", 1, &name, &result);

    *p = (struct publication){0};
    if (outcome != OUTCOME_OK)
        return outcome;
    p->exists = PQntuples(result) == 1;
    p->all_tables = result_bool(result, 0, "puballtables");
    PQclear(result);
    return OUTCOME_OK;
}

enum outcome publication_as_found(PGconn *sql, struct options *o)
{
    struct publication p = {0};
    enum outcome outcome =
        o->keep_publication ? find_publication(sql, o->publication, &p) : OUTCOME_OK;

    if (p.exists)
        o->publication_mode = PUBLICATION_EXISTING;
    return outcome;
}

static enum outcome missing(const struct options *o)
{
    log_error("publication \"%s\" does not exist", o->publication);
    if (o->publication_mode == PUBLICATION_EXISTING)
        log_hint("Create it before the replication slot, or use another --publication-mode.");
    else
        log_hint("Changes made while it is missing cannot be decoded: if there were any, begin anew "
                 "with another slot and without the state file.");
    return OUTCOME_MISUSED;
}

/*
 * The tables that a filtered publication lists, as SQL over $1 (oid[] of the captured ones): from
 * 13 on without those that a captured ancestor publishes already; on 12, where partitioned tables
 * cannot be published, their leaves.
 */
static const char *published_tables(const PGconn *sql)
{
    if (PQserverVersion(sql) >= 130000)
        return "(SELECT t.oid FROM unnest($1::oid[]) AS t (oid) JOIN pg_class AS c ON c.oid = t.oid"
               "  WHERE NOT EXISTS (SELECT FROM pg_partition_ancestors(t.oid) AS a"
               "                     WHERE a.relid <> t.oid AND a.relid::oid = ANY ($1::oid[])))";
    return "(SELECT t.oid FROM unnest($1::oid[]) AS t (oid)"
           "   JOIN pg_class AS c ON c.oid = t.oid AND c.relkind = 'r'"
           " UNION SELECT l.relid::oid FROM unnest($1::oid[]) AS t (oid),"
           "   pg_partition_tree(t.oid) AS l WHERE l.isleaf)";
}

/*
 * The statement that the server itself puts together from names, so that quoting is its own; NULL
 * where it finds that there is none to run.
 */
static enum outcome generate(PGconn *sql, const char *generator, int nparams,
                             const char *const *params, char **statement)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up the published tables", generator, nparams, params, &result);

    *statement = PQntuples(result) > 0 ? xstrdup(result_first(result)) : NULL;
    PQclear(result);
    return outcome;
}

static enum outcome creation_filtered(PGconn *sql, const struct options *o,
                                      const struct selection *s, char **statement)
{
    const char *params[] = {s->oids, o->publication};
    const char *with = PQserverVersion(sql) >= 130000
                           ? " || ' WITH (publish_via_partition_root = true)'"
                           : "";
    char *generator =
        xasprintf("SELECT format('CREATE PUBLICATION %%I FOR TABLE ', $2::text)"
                  "  || string_agg(format('ONLY %%I.%%I', n.nspname, c.relname), ', '"
                  "                ORDER BY n.nspname, c.relname)%s"
                  "  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                  " WHERE c.oid IN %s",
                  with, published_tables(sql));
    enum outcome outcome = generate(sql, generator, 2, params, statement);

    free(generator);
    return outcome;
}

/* ALTER PUBLICATION … SET TABLE, only where the lists differ. */
static enum outcome keep_filtered(PGconn *sql, const struct options *o, const struct selection *s,
                                  char **statement)
{
    const char *params[] = {s->oids, o->publication};
    const char *tables = published_tables(sql);
    char *generator = xasprintf(
        "WITH wanted AS (SELECT oid FROM %s AS w (oid)),"
        "     listed AS (SELECT r.prrelid AS oid FROM pg_publication_rel AS r"
        "                  JOIN pg_publication AS p ON p.oid = r.prpubid WHERE p.pubname = $2)"
        " SELECT format('ALTER PUBLICATION %%I SET TABLE ', $2::text)"
        "  || string_agg(format('ONLY %%I.%%I', n.nspname, c.relname), ', '"
        "                ORDER BY n.nspname, c.relname)"
        "  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.oid IN (SELECT oid FROM wanted)"
        " HAVING EXISTS (SELECT oid FROM wanted EXCEPT SELECT oid FROM listed)"
        "     OR EXISTS (SELECT oid FROM listed EXCEPT SELECT oid FROM wanted)",
        tables);
    enum outcome outcome = generate(sql, generator, 2, params, statement);

    free(generator);
    return outcome;
}

static enum outcome creation_of_all(PGconn *sql, const struct options *o, char **statement)
{
    const char *generator =
        PQserverVersion(sql) >= 130000
            ? "SELECT format('CREATE PUBLICATION %I FOR ALL TABLES"
              " WITH (publish_via_partition_root = true)', $1::text)"
            : "SELECT format('CREATE PUBLICATION %I FOR ALL TABLES', $1::text)";

    return generate(sql, generator, 1, &o->publication, statement);
}

/* Whether what is there is of the kind that the mode keeps. */
static enum outcome check_kind(const struct options *o, const struct publication *p)
{
    bool all_tables = o->publication_mode == PUBLICATION_ALL_TABLES;

    if (o->publication_mode == PUBLICATION_EXISTING || p->all_tables == all_tables)
        return OUTCOME_OK;
    log_error("publication \"%s\" %s FOR ALL TABLES", o->publication,
              p->all_tables ? "is" : "is not");
    log_hint("Use --publication-mode=existing to take it as it is, or name another one with "
             "--publication.");
    return OUTCOME_MISUSED;
}

/* Tables that were asked for by name and that an existing publication does not send. */
static enum outcome warn_unpublished(PGconn *sql, const struct options *o,
                                     const struct selection *s)
{
    static const char question[] =
        "SELECT format('%s', t.oid::regclass) FROM unnest($1::oid[]) AS t (oid)"
        " WHERE NOT EXISTS (SELECT FROM pg_get_publication_tables($2) AS p,"
        "                          pg_partition_tree(p.relid) AS l WHERE l.relid = t.oid)"
        "   AND NOT EXISTS (SELECT FROM pg_get_publication_tables($2) AS p WHERE p.relid = t.oid)"
        "   AND NOT EXISTS (SELECT FROM pg_get_publication_tables($2) AS p,"
        "                          pg_partition_ancestors(p.relid) AS a WHERE a.relid = t.oid)";
    const char *params[] = {s->oids, o->publication};
    PGresult *result;
    enum outcome outcome;

    if (o->tables.count + o->qualified_tables.count + o->schemas.count == 0)
        return OUTCOME_OK;
    outcome = sql_query(sql, "look up the published tables", question, 2, params, &result);
    for (int i = 0; i < PQntuples(result); i++)
        log_warning("publication \"%s\" does not send the changes of table %s", o->publication,
                    PQgetvalue(result, i, 0));
    PQclear(result);
    return outcome;
}

/* What makes it, or keeps it, what the mode says; NULL = it is that already. */
static enum outcome choose_statement(PGconn *sql, const struct options *o, const struct selection *s,
                                     const struct publication *p, char **statement)
{
    enum outcome outcome;

    if (!p->exists)
        return o->publication_mode == PUBLICATION_FILTERED ? creation_filtered(sql, o, s, statement)
                                                           : creation_of_all(sql, o, statement);
    outcome = check_kind(o, p);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (o->publication_mode == PUBLICATION_FILTERED)
        return keep_filtered(sql, o, s, statement);
    return o->publication_mode == PUBLICATION_EXISTING ? warn_unpublished(sql, o, s) : OUTCOME_OK;
}

static enum outcome find_statement(PGconn *sql, const struct options *o, const struct selection *s,
                                   bool may_create, struct publication *p, char **statement)
{
    enum outcome outcome = find_publication(sql, o->publication, p);

    *statement = NULL;
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!p->exists && (!may_create || o->publication_mode == PUBLICATION_EXISTING))
        return missing(o);
    return choose_statement(sql, o, s, p, statement);
}

enum outcome publication_statement(PGconn *sql, const struct options *o, const struct selection *s,
                                   bool may_create, char **statement)
{
    struct publication p;

    return find_statement(sql, o, s, may_create, &p, statement);
}

static void tell(const struct options *o, const struct publication *before)
{
    if (before->exists)
        log_notice("altered publication \"%s\": it now sends just the captured tables",
                   o->publication);
    else
        log_notice("created publication \"%s\"%s", o->publication,
                   o->publication_mode == PUBLICATION_ALL_TABLES ? " for all tables" : "");
}

enum outcome publication_prepare(PGconn *sql, const struct options *o, const struct selection *s,
                                 bool may_create)
{
    struct publication p;
    char *statement;
    enum outcome outcome = find_statement(sql, o, s, may_create, &p, &statement);

    if (outcome != OUTCOME_OK || !statement)
        return outcome;
    log_verbose("%s", statement);
    outcome = sql_run(sql, p.exists ? "alter the publication" : "create the publication", statement);
    if (outcome == OUTCOME_MISUSED)
        log_hint("A role that owns the tables can run: %s", statement);
    if (outcome == OUTCOME_OK)
        tell(o, &p);
    free(statement);
    return outcome;
}

/* ---- what it sends ---- */

/* Column lists and row filters came with 15, and with them columns in pg_publication_tables. */
static const char *listed_tables(const PGconn *sql)
{
    if (PQserverVersion(sql) >= 150000)
        return "SELECT schemaname, tablename, attnames::text[] AS columns, rowfilter AS filter"
               "  FROM pg_publication_tables WHERE pubname = $2";
    return "SELECT schemaname, tablename, NULL::text[] AS columns, NULL::text AS filter"
           "  FROM pg_publication_tables WHERE pubname = $2";
}

enum outcome publication_tables(PGconn *sql, const struct options *o, const struct selection *s,
                                PGresult **result)
{
    const char *const params[] = {s->oids, o->publication};
    struct publication p = {0};
    enum outcome outcome = OUTCOME_OK;
    char *tables, *question;

    if (plugin_of(o->plugin)->publishes)
        outcome = find_publication(sql, o->publication, &p);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (p.exists)
        tables = xstrdup(listed_tables(sql));
    else
        tables = xasprintf("SELECT n.nspname AS schemaname, c.relname AS tablename,"
                           "       NULL::text[] AS columns, NULL::text AS filter"
                           "  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                           " WHERE c.oid IN %s AND $2::text IS NOT NULL",
                           published_tables(sql));
    question = xasprintf("SELECT c.oid, n.nspname AS schema, c.relname AS name,"
                         "       c.relkind = 'p' AS partitioned, c.relreplident AS identity,"
                         "       t.columns, t.filter"
                         "  FROM (%s) AS t JOIN pg_namespace AS n ON n.nspname = t.schemaname"
                         "  JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename"
                         " WHERE c.relkind IN ('r', 'p') AND $1::oid[] IS NOT NULL ORDER BY n.nspname, c.relname",
                         tables);
    outcome = sql_query(sql, "look up the published tables", question, 2, params, result);
    free(tables);
    free(question);
    return outcome;
}

enum outcome publication_look(PGconn *sql, const struct options *o, struct publication_look *l)
{
    static const char question[] =
        "SELECT p.puballtables AS all_tables, age(p.xmin) BETWEEN 0 AND age(s.catalog_xmin) AS young,"
        "       EXISTS (SELECT FROM pg_publication_rel AS r WHERE r.prpubid = p.oid"
        "                 AND age(r.xmin) BETWEEN 0 AND age(s.catalog_xmin)) AS young_tables"
        "  FROM pg_publication AS p LEFT JOIN pg_replication_slots AS s ON s.slot_name = $2"
        " WHERE p.pubname = $1";
    const char *const params[] = {o->publication, o->slot};
    PGresult *result;
    enum outcome outcome;

    *l = (struct publication_look){.all_tables = true};
    if (!plugin_of(o->plugin)->publishes)
        return OUTCOME_OK;
    outcome = sql_query(sql, "look up the publication", question, 2, params, &result);
    *l = (struct publication_look){0};
    if (outcome == OUTCOME_OK) {
        l->all_tables = result_bool(result, 0, "all_tables");
        l->young = result_bool(result, 0, "young");
        l->young_tables = result_bool(result, 0, "young_tables");
    }
    PQclear(result);
    return outcome;
}

/* ---- replica identity ---- */

/* The captured tables that hold rows: partitions have identities of their own. */
#define TABLES_WITH_ROWS                                                                           \
    "(SELECT c.oid, c.relreplident, format('%I.%I', n.nspname, c.relname) AS name"                 \
    "   FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"                       \
    "  WHERE c.relkind = 'r' AND (c.oid = ANY ($1::oid[]) OR c.oid IN"                             \
    "        (SELECT l.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_tree(t.oid) AS l"     \
    "          WHERE l.isleaf))) AS c"

/* An identity that is to be sent has to be that of the partition and of the table it comes as. */
#define TABLES_AND_PARTITIONS                                                                      \
    "(SELECT c.oid, c.relkind, c.relreplident, format('%I.%I', n.nspname, c.relname) AS name"      \
    "   FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"                       \
    "  WHERE c.relkind IN ('r', 'p') AND (c.oid = ANY ($1::oid[]) OR c.oid IN"                     \
    "        (SELECT l.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_tree(t.oid) AS l))) AS c"

/* Of tables called c: those that the publication of that name has, all where it is NULL. */
#define IS_PUBLISHED_BY(name)                                                                      \
    "(" name "::text IS NULL OR EXISTS (SELECT FROM pg_publication_tables AS p"                    \
    "    JOIN pg_namespace AS n ON n.nspname = p.schemaname"                                       \
    "    JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = p.tablename"                 \
    "   WHERE p.pubname = " name " AND (t.oid = c.oid OR t.oid IN"                                 \
    "         (SELECT a.relid::oid FROM pg_partition_ancestors(c.oid) AS a))))"

/* The publication that need not have all the captured tables, or NULL. */
static const char *narrower_publication(const struct options *o)
{
    return o->publication_mode == PUBLICATION_EXISTING ? o->publication : NULL;
}

/* $2: d, f, n or i; $3: the index's name. */
static const char identity_generator[] =
    "SELECT 'ALTER TABLE ' || c.name || ' REPLICA IDENTITY ' || CASE $2::text WHEN 'd' THEN "
    "'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE format('USING INDEX %I', $3::text) "
    "END FROM " TABLES_AND_PARTITIONS " WHERE (c.relkind = 'r' OR $2::text <> 'i') AND CASE WHEN $2::text <> 'i' THEN c.relreplident <> $2::\"char\""
    " ELSE NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid"
    "                   WHERE i.indrelid = c.oid AND i.indisreplident AND x.relname = $3::text) END"
    " AND " IS_PUBLISHED_BY("$4") " ORDER BY c.name";

enum outcome publication_identity_statements(PGconn *sql, const struct options *o,
                                             const struct selection *s, PGresult **result)
{
    const char kind[2] = {o->replica_identity[0], '\0'};
    const char *params[] = {s->oids, kind,
                            kind[0] == 'i' ? o->replica_identity + strlen("index:") : "",
                            narrower_publication(o)};

    return sql_query(sql, "look up replica identities", identity_generator, 4, params, result);
}

static enum outcome apply_identity(PGconn *sql, const struct options *o, const struct selection *s)
{
    PGresult *result;
    enum outcome outcome = publication_identity_statements(sql, o, s, &result);

    for (int i = 0; i < PQntuples(result) && outcome == OUTCOME_OK; i++) {
        outcome = sql_run(sql, "set the replica identity", PQgetvalue(result, i, 0));
        if (outcome == OUTCOME_OK)
            log_notice("%s", PQgetvalue(result, i, 0));
    }
    PQclear(result);
    return outcome;
}

static enum outcome warn_without_identity(PGconn *sql, const struct options *o,
                                          const struct selection *s)
{
    static const char question[] =
        "SELECT c.name FROM " TABLES_WITH_ROWS
        " WHERE (c.relreplident = 'n' OR c.relreplident IN ('d', 'i') AND NOT EXISTS"
        "       (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid"
        "           AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END))"
        "   AND " IS_PUBLISHED_BY("$2")
        " ORDER BY c.name";
    const char *const params[] = {s->oids, narrower_publication(o)};
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up replica identities", question, 2, params, &result);

    for (int i = 0; i < PQntuples(result); i++)
        log_warning("table %s has no replica identity: %s", PQgetvalue(result, i, 0),
                    plugin_of(o->plugin)->unidentified);
    if (PQntuples(result) > 0)
        log_hint("Add a primary key, use --replica-identity=full, or leave the table out with -T.");
    PQclear(result);
    return outcome;
}

enum outcome publication_set_identity(PGconn *sql, const struct options *o,
                                      const struct selection *s, bool warn)
{
    enum outcome outcome = OUTCOME_OK;

    if (strcmp(o->replica_identity, "keep") != 0)
        outcome = apply_identity(sql, o, s);
    return outcome == OUTCOME_OK && warn ? warn_without_identity(sql, o, s) : outcome;
}
