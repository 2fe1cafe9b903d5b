#include "actions/check_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "capture/checks.h"
#include "decode/relation.h"
#include "source/captured.h"
#include "source/plugin.h"
#include "source/publication.h"

/* What is asked while the tables are looked at. */
struct look {
    struct check *c;
    struct findings *found;
    struct session *s;
    const struct options *o;
    const struct plugin *plugin;
    char *missing; /* the statement that the publication needs; NULL = none */
    bool reads;    /* rows of tables would be read */
};

/* What a capture does not ask; *result: NULL where there is no answer. */
static bool ask(const struct look *l, enum finding_part part, const char *question, int nparams,
                const char *const *params, PGresult **result)
{
    findings_listen(l->found, part);
    return findings_excuse(l->found, sql_query(l->c->sql, "look up the tables", question, nparams,
                                               params, result));
}

/* ---- selection ---- */

/* What has the patterns' names, but no changes of its own in the WAL.  $1 to $4: the patterns. */
static const char never_question[] =
    "SELECT format('%I.%I', c.schema, c.name) AS name, c.what, c.remedy"
    "  FROM (SELECT n.nspname::text AS schema, c.relname::text AS name, CASE"
    "          WHEN c.relkind = 'v' THEN 'a view, which has no changes of its own'"
    "          WHEN c.relkind = 'm' THEN 'a materialized view, which is not replicated'"
    "          WHEN c.relkind = 'f' THEN 'a foreign table, whose changes are elsewhere'"
    "          WHEN c.relpersistence = 'u' THEN 'unlogged, so that its changes are not in the WAL'"
    "          ELSE 'temporary' END AS what,"
    "        CASE WHEN c.relkind IN ('r', 'p') AND c.relpersistence = 'u'"
    "             THEN format('ALTER TABLE %I.%I SET LOGGED;', n.nspname, c.relname) END AS remedy"
    "   FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    "  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
    "    AND NOT (c.relkind IN ('r', 'p') AND c.relpersistence = 'p')"
    "    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS c"
    " WHERE " SELECTION_MATCHES("c.schema", "c.name") " ORDER BY 1";

static void check_never_captured(const struct look *l)
{
    const char *const params[] = {l->s->selection.params[0], l->s->selection.params[1],
                                  l->s->selection.params[2], l->s->selection.params[3]};
    PGresult *result = NULL;

    ask(l, PART_TABLES, never_question, SELECTION_NPARAMS, params, &result);
    for (int i = 0; i < PQntuples(result); i++)
        findings_warn(l->found, PART_TABLES, result_text(result, i, "remedy"),
                      "%s is never captured: it is %s", result_string(result, i, "name"),
                      result_string(result, i, "what"));
    PQclear(result);
}

static bool check_selection(const struct look *l)
{
    enum outcome outcome;

    findings_listen(l->found, PART_TABLES);
    outcome = selection_load(&l->s->selection, l->c->sql, l->o);
    findings_heed(l->found, outcome);
    if (l->s->selection.params[0])
        check_never_captured(l);
    return outcome == OUTCOME_OK;
}

/* ---- replica identity ---- */

/* Why ALTER TABLE … REPLICA IDENTITY would fail: $1 tables, $2 the index's name, or NULL. */
static const char alter_question[] =
    "SELECT format('%I.%I', n.nspname, c.relname) AS name,"
    "       pg_has_role(c.relowner, 'USAGE') AS owned,"
    "       $2::text IS NULL OR c.relkind = 'p' OR EXISTS (SELECT FROM pg_index AS i"
    "         JOIN pg_class AS x ON x.oid = i.indexrelid"
    "        WHERE i.indrelid = c.oid AND x.relname = $2 AND i.indisunique AND i.indimmediate"
    "          AND i.indpred IS NULL AND i.indexprs IS NULL"
    "          AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid"
    "                AND a.attnum = ANY (i.indkey) AND NOT a.attnotnull)) AS indexed"
    "  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND (c.oid = ANY ($1::oid[]) OR c.oid IN"
    "       (SELECT t.relid FROM unnest($1::oid[]) AS u (oid), pg_partition_tree(u.oid) AS t))"
    " ORDER BY n.nspname, c.relname";

static bool keeps_identity(const struct look *l)
{
    return strcmp(l->o->replica_identity, "keep") == 0 || session_is_rows_only(l->s);
}

/* The statement for the table of that name, NULL where none is needed. */
static const char *statement_for(const PGresult *statements, const char *name)
{
    char *start = xasprintf("ALTER TABLE %s REPLICA ", name);
    const char *found = NULL;

    for (int i = 0; i < PQntuples(statements) && !found; i++)
        if (strncmp(PQgetvalue(statements, i, 0), start, strlen(start)) == 0)
            found = PQgetvalue(statements, i, 0);
    free(start);
    return found;
}

static void judge_identity(const struct look *l, const PGresult *tables, int i,
                           const char *statement)
{
    const char *name = result_string(tables, i, "name");
    char *remedy = xasprintf("%s;", statement);

    if (!result_bool(tables, i, "owned"))
        findings_fail(l->found, PART_TABLES, OUTCOME_MISUSED, remedy,
                      "the replica identity of table %s cannot be set: this role does not own it",
                      name);
    else if (!result_bool(tables, i, "indexed"))
        findings_fail(l->found, PART_TABLES, OUTCOME_MISUSED, "--replica-identity=full",
                      "table %s has no index \"%s\" that can be its replica identity: unique, not "
                      "deferrable, of whole columns that cannot be null",
                      name, l->o->replica_identity + strlen("index:"));
    else
        findings_ok(l->found, PART_TABLES, "the replica identity of table %s would be set: %s",
                    name, statement);
    free(remedy);
}

static void check_identity(const struct look *l)
{
    bool by_index = strncmp(l->o->replica_identity, "index:", 6) == 0;
    const char *const params[] = {l->s->selection.oids,
                                  by_index ? l->o->replica_identity + 6 : NULL};
    PGresult *statements = NULL, *tables = NULL;
    enum outcome outcome;

    if (keeps_identity(l))
        return;
    findings_listen(l->found, PART_TABLES);
    outcome = publication_identity_statements(l->c->sql, l->o, &l->s->selection, &statements);
    if (findings_heed(l->found, outcome) == OUTCOME_OK)
        ask(l, PART_TABLES, alter_question, 2, params, &tables);
    for (int i = 0; i < PQntuples(tables); i++) {
        const char *statement = statement_for(statements, result_string(tables, i, "name"));

        if (statement)
            judge_identity(l, tables, i, statement);
    }
    PQclear(tables);
    PQclear(statements);
}

/* ---- publication ---- */

/* Of $1 the tables, $2 the publication. */
static const char rights_question[] =
    "SELECT pg_is_in_recovery() AS standby,"
    "       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,"
    "       has_database_privilege(current_database(), 'CREATE') AS creates,"
    "       coalesce((SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication"
    "                  WHERE pubname = $2), true) AS owned,"
    "       (SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname,"
    "                          c.relname)"
    "          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    "         WHERE c.oid = ANY ($1::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE')"
    /* from 13 on a partition comes with the table above it, and is not named */
    "           AND (current_setting('server_version_num')::int < 130000 OR NOT EXISTS"
    "                (SELECT FROM pg_partition_ancestors(c.oid) AS a"
    "                  WHERE a.relid <> c.oid AND a.relid::oid = ANY ($1::oid[]))))"
    "         AS foreign_tables";

/* Why the statement would be refused, NULL where it would not; the caller frees it. */
static char *why_refused(const struct look *l, const PGresult *rights, bool exists)
{
    const char *foreign = result_text(rights, 0, "foreign_tables");
    bool all = l->o->publication_mode == PUBLICATION_ALL_TABLES;

    if (result_bool(rights, 0, "standby"))
        return xstrdup("the server is a standby, which gets it from the primary");
    if (result_bool(rights, 0, "super"))
        return NULL;
    if (all)
        return xstrdup("FOR ALL TABLES needs a superuser");
    if (exists && !result_bool(rights, 0, "owned"))
        return xstrdup("this role does not own it");
    if (!exists && !result_bool(rights, 0, "creates"))
        return xstrdup("this role may not create any in the database");
    return foreign ? xasprintf("this role does not own %s", foreign) : NULL;
}

static void check_statement(const struct look *l)
{
    const char *const params[] = {l->s->selection.oids, l->o->publication};
    bool exists = strncmp(l->missing, "ALTER", 5) == 0;
    char *remedy = xasprintf("%s;", l->missing), *why;
    PGresult *rights = NULL;

    if (ask(l, PART_PUBLICATION, rights_question, 2, params, &rights)) {
        why = why_refused(l, rights, exists);
        if (why)
            findings_fail(l->found, PART_PUBLICATION, OUTCOME_MISUSED, remedy,
                          "publication \"%s\" cannot be %s: %s", l->o->publication,
                          exists ? "altered" : "created", why);
        else
            findings_ok(l->found, PART_PUBLICATION, "publication \"%s\" would be %s: %s",
                        l->o->publication, exists ? "altered" : "created", l->missing);
        free(why);
    }
    PQclear(rights);
    free(remedy);
}

/* What an existing one leaves out, of the operations that are not left out anyway. */
static const char publishes_question[] =
    "SELECT string_agg(v.op, ', ' ORDER BY v.bit) AS missing, quote_ident(p.pubname) AS name"
    "  FROM pg_publication AS p, LATERAL (VALUES (1, 'insert', pubinsert),"
    "         (2, 'update', pubupdate), (4, 'delete', pubdelete),"
    "         (8, 'truncate', pubtruncate)) AS v (bit, op, sent)" /* as enum skip_op */
    " WHERE p.pubname = $1 AND NOT v.sent AND v.bit & $2::int = 0 GROUP BY 2";

static void check_published_operations(const struct look *l)
{
    char skipped[16];
    const char *const params[] = {l->o->publication, skipped};
    PGresult *result = NULL;

    snprintf(skipped, sizeof skipped, "%u", l->o->skip_ops);
    ask(l, PART_PUBLICATION, publishes_question, 2, params, &result);
    if (PQntuples(result) > 0) {
        char *remedy =
            xasprintf("ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');",
                      result_string(result, 0, "name"));

        findings_warn(l->found, PART_PUBLICATION, remedy, "publication \"%s\" does not send: %s",
                      l->o->publication, result_string(result, 0, "missing"));
        free(remedy);
    }
    PQclear(result);
}

/* Whether the stream begins where the slot is, and no earlier run has decoded from there. */
static bool begins_at_slot(const struct look *l)
{
    return l->c->slot.exists && !session_has_position(l->s) &&
           !mode_takes_snapshot(l->o->mode) && l->o->mode != MODE_LATEST_OFFSET;
}

/*
 * A slot that is older than its publication: what lies in between cannot be decoded.  One that
 * captures make is there before their slot.
 */
static void check_age(const struct look *l)
{
    static const char remedy[] =
        "where the capture ends with \"publication does not exist\", begin at the end of the WAL "
        "with -m latest-offset";
    struct publication_look look = {0};
    bool missing = l->missing && strncmp(l->missing, "CREATE", 6) == 0;

    if (!begins_at_slot(l) || !(missing || l->o->publication_given))
        return;
    if (missing) {
        findings_warn(l->found, PART_PUBLICATION, remedy,
                      "publication \"%s\" would be younger than replication slot \"%s\": changes "
                      "from before it is created cannot be decoded",
                      l->o->publication, l->o->slot);
        return;
    }
    findings_listen(l->found, PART_PUBLICATION);
    findings_heed(l->found, publication_look(l->c->sql, l->o, &look));
    if (look.young)
        findings_warn(l->found, PART_PUBLICATION, remedy,
                      "publication \"%s\" may be younger than replication slot \"%s\": changes "
                      "from before it was created cannot be decoded",
                      l->o->publication, l->o->slot);
}

static void check_publication(struct look *l)
{
    bool may_create = !session_has_position(l->s);
    enum outcome outcome;

    if (!l->plugin->publishes || session_is_rows_only(l->s))
        return;
    findings_listen(l->found, PART_PUBLICATION);
    outcome = publication_statement(l->c->sql, l->o, &l->s->selection, may_create, &l->missing);
    if (findings_heed(l->found, outcome) != OUTCOME_OK)
        return;
    if (l->missing) {
        check_statement(l);
    } else {
        findings_ok(l->found, PART_PUBLICATION, "publication \"%s\" is there", l->o->publication);
    }
    check_age(l);
    check_published_operations(l);
}

/* ---- each table ---- */

/*
 * Of every table ($1 oids, $2 for each the columns that come, as text[]) all that is said of it, and
 * its number among them, from 1.
 */
static const char tables_question[] =
    "SELECT w.number, format('%I.%I', n.nspname, c.relname) AS name,"
    "       c.relkind = 'p' AS partitioned, x.relname AS index,"
    "       (SELECT string_agg(a.attname, ', ' ORDER BY k.n)"
    "          FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (id, n)"
    "          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.id) AS key,"
    "       (SELECT count(*) FROM pg_partition_tree(c.oid) AS t WHERE t.isleaf"
    "           AND c.relkind = 'p') AS partitions,"
    "       (SELECT string_agg(format('%I.%I', m.nspname, p.relname), ', ' ORDER BY p.oid)"
    "          FROM pg_partition_tree(c.oid) AS t JOIN pg_class AS p ON p.oid = t.relid"
    "          JOIN pg_namespace AS m ON m.oid = p.relnamespace"
    "         WHERE t.isleaf AND p.relkind = 'r' AND c.relkind = 'p'"
    "           AND p.relreplident <> c.relreplident) AS other_partitions,"
    "       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    "         AS readable,"
    "       row_security_active(c.oid) AS hidden, quote_ident(current_user) AS role,"
    "       quote_ident(n.nspname) AS schema, absent.generated, absent.plain"
    "  FROM unnest($1::oid[], $2::text[]) WITH ORDINALITY AS w (oid, columns, number)"
    "  JOIN pg_class AS c ON c.oid = w.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND CASE c.relreplident"
    "                  WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END"
    "  LEFT JOIN pg_class AS x ON x.oid = i.indexrelid,"
    "       LATERAL (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum)"
    "                         FILTER (WHERE a.attgenerated <> '') AS generated,"
    "                       string_agg(a.attname, ', ' ORDER BY a.attnum)"
    "                         FILTER (WHERE a.attgenerated = '') AS plain"
    "                  FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0"
    "                   AND NOT a.attisdropped"
    "                   AND NOT a.attname::text = ANY (w.columns::text[])) AS absent"
    " ORDER BY w.number";

/* One table: its relation, and its row of the answer to tables_question. */
struct table {
    const struct look *l;
    const struct relation *r;
    const PGresult *rows;
    int row;
    const char *name;
    const char *filter;
};

/* NULL where there is none, and likewise "". */
static const char *text(const struct table *t, const char *column)
{
    return result_text(t->rows, t->row, column);
}

static const char *string(const struct table *t, const char *column)
{
    return result_string(t->rows, t->row, column);
}

static bool is(const struct table *t, const char *column)
{
    return result_bool(t->rows, t->row, column);
}

static void add_identity(struct buf *b, const struct table *t)
{
    const char *index = text(t, "index"), *key = text(t, "key");

    if (t->r->identity == 'f')
        buf_add_str(b, "replica identity full; updates and deletes carry the old row");
    else if (t->r->identity == 'i' && index)
        buf_printf(b, "replica identity index %s (%s); updates carry the old key", index, key);
    else
        buf_printf(b, "replica identity default (primary key %s); updates carry the old key", key);
}

static bool is_identified(const struct table *t)
{
    return t->r->identity == 'f' || text(t, "key");
}

static void add_partitions(struct buf *b, const struct table *t)
{
    if (!is(t, "partitioned"))
        return;
    buf_printf(b, "; changes of its partitions (%s) come under its name",
               string(t, "partitions"));
}

static void tell_table(const struct table *t)
{
    struct buf b;

    buf_init(&b, 256);
    if (is_identified(t))
        add_identity(&b, t);
    else
        buf_add_str(&b, t->r->identity == 'n'   ? "replica identity nothing"
                        : t->r->identity == 'i' ? "replica identity index, which has been dropped"
                                                : "replica identity default without a primary key");
    add_partitions(&b, t);
    if (t->filter)
        buf_printf(&b, "; rows where %s", t->filter);
    buf_add_char(&b, '\0');
    if (is_identified(t) || session_is_rows_only(t->l->s)) {
        findings_ok(t->l->found, PART_TABLES, "table %s: %s", t->name, b.data);
    } else {
        char *remedy = xasprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t->name);

        findings_warn(t->l->found, PART_TABLES, remedy, "table %s: %s; %s", t->name, b.data,
                      t->l->plugin->unidentified);
        free(remedy);
    }
    buf_release(&b);
}

/* A partition is written down with its own identity, and comes as the table above it. */
static void check_partitions(const struct table *t)
{
    const char *others = text(t, "other_partitions");

    if (others)
        findings_warn(t->l->found, PART_TABLES, NULL,
                      "partitions of table %s have another replica identity than it: %s", t->name,
                      others);
}

static void check_absent_columns(const struct table *t)
{
    if (text(t, "generated"))
        findings_warn(t->l->found, PART_TABLES, NULL, "table %s: generated columns are not sent: %s",
                      t->name, text(t, "generated"));
    if (text(t, "plain"))
        findings_warn(t->l->found, PART_TABLES, NULL,
                      "table %s: the publication's column list leaves out: %s", t->name,
                      text(t, "plain"));
}

/* ---- what the format and the plugin cannot hold ---- */

/* Whether Avro's type has no place for some values, by the rules in force (encode/avro_value.h). */
static bool is_narrow_in_avro(const struct column *c, const struct handling *h)
{
    if (c->excluded || !c->type)
        return false;
    switch (c->type->kind) {
    case TYPE_NUMERIC:
        return h->decimals <= DECIMAL_PRECISE && c->typmod >= 0;
    case TYPE_DATE:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return h->times != TIME_ISOSTRING;
    default:
        return false;
    }
}

static void add_name(struct buf *b, const char *name)
{
    buf_printf(b, "%s%s", b->len ? ", " : "", name);
}

static void check_format(const struct table *t)
{
    const struct options *o = t->l->o;
    struct buf narrow, zoned;

    buf_init(&narrow, 64);
    buf_init(&zoned, 64);
    for (int i = 0; i < t->r->ncolumns; i++) {
        const struct column *c = &t->r->columns[i];

        if (o->format == FORMAT_AVRO && is_narrow_in_avro(c, &o->handling))
            add_name(&narrow, c->name);
        if (o->plugin == PLUGIN_DECODERBUFS && c->type && c->type->kind == TYPE_TIMETZ)
            add_name(&zoned, c->name);
    }
    if (narrow.len)
        findings_warn(t->l->found, PART_TABLES,
                      "--set decimal.handling.mode=string --set time.precision.mode=isostring",
                      "table %s: Avro holds no NaN or infinity in columns: %.*s", t->name,
                      (int)narrow.len, narrow.data);
    if (zoned.len)
        findings_warn(t->l->found, PART_TABLES, NULL,
                      "table %s: plugin \"decoderbufs\" gives the time of day in GMT in columns: "
                      "%.*s",
                      t->name, (int)zoned.len, zoned.data);
    buf_release(&narrow);
    buf_release(&zoned);
}

/* ---- reading rows ---- */

/* The first that is refused ends a capture; here they are all named. */
static bool check_access(const struct table *t)
{
    const char *role = string(t, "role");
    bool readable = is(t, "readable"), hidden = is(t, "hidden");
    char *remedy = readable ? xasprintf("ALTER ROLE %s BYPASSRLS;", role)
                            : xasprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %s;",
                                        string(t, "schema"), role, t->name, role);

    if (!readable)
        findings_fail(t->l->found, PART_TABLES, OUTCOME_MISUSED, remedy,
                      "table %s: permission denied to read its rows", t->name);
    else if (hidden)
        findings_fail(t->l->found, PART_TABLES, OUTCOME_MISUSED, remedy,
                      "table %s: row-level security would hide rows", t->name);
    free(remedy);
    return readable && !hidden;
}

/* False where rows are to be read that this role cannot read. */
static bool check_table(const struct table *t)
{
    tell_table(t);
    check_partitions(t);
    check_absent_columns(t);
    check_format(t);
    return !t->l->reads || check_access(t);
}

/* What tables_question asks about: $1 and $2, to be freed by the caller. */
static void name_tables(struct relation *const *list, size_t count, char *params[2])
{
    struct string_list oids = {xcalloc(count, sizeof(char *)), count};
    struct string_list columns = {xcalloc(count, sizeof(char *)), count};

    for (size_t i = 0; i < count; i++) {
        const struct relation *r = list[i];
        struct string_list names = {xcalloc(r->ncolumns, sizeof(char *)), r->ncolumns};

        for (int j = 0; j < r->ncolumns; j++)
            names.items[j] = r->columns[j].name;
        oids.items[i] = xasprintf("%u", r->oid);
        columns.items[i] = sql_text_array(&names);
        free(names.items);
    }
    params[0] = sql_text_array(&oids);
    params[1] = sql_text_array(&columns);
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)oids.items[i]);
        free((void *)(uintptr_t)columns.items[i]);
    }
    free(oids.items);
    free(columns.items);
}

/* As --replica-identity would leave it. */
static char coming_identity(const struct look *l, char now)
{
    return keeps_identity(l) ? now : l->o->replica_identity[0];
}

static const char *filter_of(const PGresult *tables, uint32_t oid)
{
    for (int i = 0; i < PQntuples(tables); i++)
        if (result_u32(tables, i, "oid") == oid)
            return result_text(tables, i, "filter");
    return NULL;
}

static void tell_count(const struct look *l, size_t n)
{
    if (n == 0)
        findings_warn(l->found, PART_TABLES, NULL, "no table that is sent is captured");
    else
        findings_ok(l->found, PART_TABLES, "%zu %s captured", n, n == 1 ? "table is" : "tables are");
}

/* Those that are captured, in one question; false where some rows that are to be read cannot be. */
static bool check_listed(const struct look *l, struct relation **list, size_t count,
                         const PGresult *tables)
{
    char *params[2];
    PGresult *rows = NULL;
    bool good = true;

    name_tables(list, count, params);
    ask(l, PART_TABLES, tables_question, 2, (const char *const *)params, &rows);
    for (int i = 0; i < PQntuples(rows); i++) {
        const struct relation *r = list[result_u32(rows, i, "number") - 1];

        good &= check_table(&(struct table){l, r, rows, i, result_string(rows, i, "name"),
                                            filter_of(tables, r->oid)});
    }
    for (size_t i = 0; i < count; i++)
        list[i]->identity = coming_identity(l, list[i]->identity);
    PQclear(rows);
    free(params[0]);
    free(params[1]);
    return good;
}

/* Every table, and whether all the rows that are to be read can be. */
static bool check_each(const struct look *l, struct relations *captured)
{
    const struct captured_context x = {l->c->sql, l->o, &l->s->selection, l->s->catalog};
    struct relation **list;
    size_t count = 0;
    PGresult *tables = NULL;
    enum outcome outcome;
    bool good;

    findings_listen(l->found, PART_TABLES);
    outcome = publication_tables(l->c->sql, l->o, &l->s->selection, &tables);
    if (outcome == OUTCOME_OK)
        outcome = captured_load(captured, &x);
    findings_heed(l->found, outcome);
    list = xcalloc(captured->count, sizeof *list);
    for (uint32_t i = 0; i < captured->count; i++)
        if (captured->by_index[i]->captured)
            list[count++] = captured->by_index[i];
    tell_count(l, count);
    good = check_listed(l, list, count, tables);
    free(list);
    PQclear(tables);
    return good && outcome == OUTCOME_OK;
}

/* ---- all of it ---- */

/*
 * What the capture asks of the tables, but for what has been found already: identities that would
 * be others by then, and rows that cannot be read.
 */
static void look_as_capture(const struct look *l, const struct relations *captured, bool readable)
{
    struct session *s = l->s;
    const struct options given = s->options;
    enum outcome outcome = OUTCOME_OK;

    findings_listen(l->found, PART_TABLES);
    if (checks_want_old_rows(s) && !checks_identities(s, captured))
        outcome = OUTCOME_MISUSED;
    if (findings_heed(l->found, outcome) != OUTCOME_OK)
        finding_set_remedy(findings_heard(l->found), xstrdup("--replica-identity=full"));
    s->options.changelog = CHANGELOG_UPSERT;
    if (!readable)
        s->options.mode = MODE_NEVER;
    findings_listen(l->found, PART_TABLES);
    outcome = findings_heed(l->found, session_look_at_tables(s, l->c->sql, &l->c->slot));
    l->c->planned = outcome == OUTCOME_OK;
    s->options.changelog = given.changelog;
    s->options.mode = given.mode;
}

void check_tables(struct check *c)
{
    struct session *s = &c->session;
    struct look l = {.c = c, .found = &c->found, .s = s, .o = s->o};
    const char *publication = s->o->publication;
    struct relations captured;
    bool readable;

    l.plugin = plugin_of(s->o->plugin);
    l.reads = s->o->mode == MODE_ALWAYS ||
              (mode_takes_snapshot(s->o->mode) &&
               !(s->delivery.resumed && !s->delivery.state.has_coverage));
    if (!check_selection(&l))
        return;
    check_identity(&l);
    check_publication(&l);
    if (l.missing)
        s->options.publication = ""; /* what it will send, not what it sends now */
    relations_init(&captured);
    readable = check_each(&l, &captured);
    look_as_capture(&l, &captured, readable);
    relations_release(&captured);
    s->options.publication = publication;
    free(l.missing);
}
