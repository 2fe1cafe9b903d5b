#include "snapshot/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "decode/copy_row.h"
#include "source/captured.h"
#include "source/connection.h"
#include "source/publication.h"

static void clear_table(struct plan_table *t)
{
    for (size_t i = 0; i < t->nsources; i++)
        free(t->sources[i].from);
    free(t->sources);
    free(t->name);
    free(t->quoted);
    free(t->fields);
    free(t->columns);
    free(t->filter);
    free(t->query);
    free(t->tree_filter);
    key_release(&t->key);
    *t = (struct plan_table){0};
}

void plan_release(struct plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        clear_table(&p->tables[i]);
    free(p->tables);
    relations_release(&p->relations);
    *p = (struct plan){0};
}

/* What a buffer holds, as a string of its own; the buffer is released. */
static char *take_text(struct buf *b)
{
    char *text = xstrndup(b->data, b->len);

    buf_release(b);
    return text;
}

static char *quoted_name(const char *schema, const char *name)
{
    struct buf b;

    buf_init(&b, 128);
    sql_add_identifier(&b, schema);
    buf_add_char(&b, '.');
    sql_add_identifier(&b, name);
    return take_text(&b);
}

static char *oid_text(uint32_t oid, char text[16])
{
    snprintf(text, 16, "%u", oid);
    return text;
}

static double result_double(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);

    return text ? strtod(text, NULL) : -1;
}

/* ---- may it be read ---- */

static enum outcome check_access(const struct plan_table *t, PGconn *sql)
{
    static const char question[] =
        "SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid,"
        "       'SELECT') AS readable, row_security_active(c.oid) AS hidden"
        "  FROM pg_class AS c WHERE c.oid = $1::oid";
    char oid[16];
    const char *const params[] = {oid_text(t->oid, oid)};
    PGresult *result;
    enum outcome outcome = sql_query(sql, "look up privileges", question, 1, params, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    if (!result_bool(result, 0, "readable")) {
        log_error("permission denied to read the rows of table %s", t->name);
        log_hint("The role needs GRANT SELECT ON %s, and USAGE on its schema; or leave the table "
                 "out with -T.",
                 t->quoted);
        outcome = OUTCOME_MISUSED;
    } else if (result_bool(result, 0, "hidden")) {
        log_error("row-level security would hide rows of table %s", t->name);
        log_hint("The role needs BYPASSRLS, or has to own the table; or leave the table out with "
                 "-T.");
        outcome = OUTCOME_MISUSED;
    }
    PQclear(result);
    return outcome;
}

/* ---- where its rows are ---- */

/* The whole tree, read through its root; foreign partitions have no changes and are left out. */
static void read_tree(struct plan_table *t, const PGresult *leaves, bool foreign)
{
    struct buf b;
    const char *comma = "";

    t->nsources = 1;
    t->sources[0] = (struct plan_source){.from = xstrdup(t->quoted)};
    for (int i = 0; i < PQntuples(leaves); i++)
        t->sources[0].bytes += (uint64_t)result_double(leaves, i, "bytes");
    t->sources[0].rows = t->rows;
    if (!foreign)
        return;
    buf_init(&b, 256);
    buf_add_str(&b, "tableoid IN (0");
    comma = ",";
    for (int i = 0; i < PQntuples(leaves); i++)
        if (result_bool(leaves, i, "plain"))
            buf_printf(&b, "%s%u", comma, result_u32(leaves, i, "oid"));
    buf_add_char(&b, ')');
    t->tree_filter = take_text(&b);
}

static void read_leaves(struct plan_table *t, const PGresult *leaves)
{
    for (int i = 0; i < PQntuples(leaves); i++) {
        const char *quoted = result_string(leaves, i, "quoted");

        if (!result_bool(leaves, i, "plain"))
            continue;
        t->sources[t->nsources++] = (struct plan_source){
            .from = xasprintf("ONLY %s", quoted),
            .oid = result_u32(leaves, i, "oid"),
            .bytes = (uint64_t)result_double(leaves, i, "bytes"),
            .rows = result_double(leaves, i, "rows"),
        };
    }
}

/* reltuples is of the last ANALYZE; the table may have grown since, and is not known to be empty. */
static const char leaves_question[] =
    "SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS quoted,"
    "       c.relkind = 'r' AND c.relpersistence = 'p' AS plain,"
    "       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    "         AND NOT row_security_active(c.oid) AS readable,"
    "       coalesce(z.bytes, 0) AS bytes,"
    "       CASE WHEN coalesce(z.bytes, 0) = 0 THEN 0 WHEN c.reltuples <= 0 OR c.relpages <= 0"
    "            THEN -1 ELSE c.reltuples::float8 * (z.bytes / 8192) / c.relpages END AS rows"
    "  FROM (SELECT $1::oid AS oid UNION SELECT l.relid FROM pg_partition_tree($1::oid) AS l) AS l"
    "  JOIN pg_class AS c ON c.oid = l.oid AND c.relkind <> 'p'"
    "  JOIN pg_namespace AS n ON n.oid = c.relnamespace,"
    "  LATERAL (SELECT CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) END AS bytes) AS z"
    " ORDER BY n.nspname, c.relname";

/*
 * Leaf by leaf where that is possible: only then can pieces be shared out.  The chunks of an
 * incremental snapshot go through the root, in the order of its key.
 */
static enum outcome load_sources(struct plan_table *t, const struct captured_context *x)
{
    char oid[16];
    const char *const params[] = {oid_text(t->oid, oid)};
    bool readable = true, foreign = false;
    PGresult *leaves;
    enum outcome outcome =
        sql_query(x->sql, "look up partitions", leaves_question, 1, params, &leaves);

    if (outcome != OUTCOME_OK)
        return outcome;
    t->sources = xcalloc((size_t)PQntuples(leaves) + 1, sizeof *t->sources);
    for (int i = 0; i < PQntuples(leaves); i++) {
        double rows = result_double(leaves, i, "rows");

        foreign |= !result_bool(leaves, i, "plain");
        readable &= result_bool(leaves, i, "readable") || !result_bool(leaves, i, "plain");
        t->bytes += (uint64_t)result_double(leaves, i, "bytes");
        t->rows = rows < 0 || t->rows < 0 ? -1 : t->rows + rows;
    }
    if (t->partitioned && (!readable || x->o->snapshot == SNAPSHOT_INCREMENTAL))
        read_tree(t, leaves, foreign);
    else
        read_leaves(t, leaves);
    PQclear(leaves);
    return OUTCOME_OK;
}

/* ---- the key that chunks are cut by ---- */

/* A key that a publication's column list leaves out cannot be told of a change. */
static void check_key_is_sent(struct plan_table *t)
{
    struct key *k = &t->key;
    bool sent = true;

    k->in_row_key = true;
    for (uint16_t i = 0; i < k->n; i++) {
        const struct column *c = relation_column(t->relation, k->columns[i].name);

        sent &= c != NULL;
        k->in_row_key &= c && c->key;
    }
    if (!sent)
        key_release(k);
}

static enum outcome check_chunk_key(const struct plan_table *t, const char *name, bool indexed)
{
    const struct relation *r = t->relation;
    const struct column *c = relation_column(r, name);

    if (!c || (r->identity != 'f' && !c->identity)) {
        log_error("column \"%s\" of table %s cannot be the chunk key: changes do not tell its old "
                  "value",
                  name, t->name);
        log_hint("Use --replica-identity=full, or leave --chunk-key out.");
        return OUTCOME_MISUSED;
    }
    if (!indexed)
        log_warning("no index begins with the chunk key \"%s\" of table %s: the whole table is "
                    "sorted for each chunk",
                    name, t->name);
    return OUTCOME_OK;
}

/* --chunk-key where the table has that column, else the identity's index, else the primary key. */
static enum outcome load_key(struct plan *p, struct plan_table *t, const struct captured_context *x)
{
    const char *given = x->o->chunk_key;
    bool indexed;
    enum outcome outcome = OUTCOME_OK;

    if (x->o->snapshot != SNAPSHOT_INCREMENTAL)
        return OUTCOME_OK;
    if (given)
        outcome = key_load(&t->key, x->sql, t->oid, given, &indexed);
    p->chunk_key_used |= given && t->key.n > 0;
    if (outcome == OUTCOME_OK && t->key.n > 0)
        outcome = check_chunk_key(t, given, indexed);
    else if (outcome == OUTCOME_OK)
        outcome = key_load(&t->key, x->sql, t->oid, NULL, &indexed);
    if (outcome == OUTCOME_OK)
        check_key_is_sent(t);
    return outcome;
}

/* ---- the columns that are read ---- */

static bool is_wanted(const struct plan_table *t, const struct column *c)
{
    if (!c->excluded)
        return true;
    for (uint16_t i = 0; i < t->key.n; i++)
        if (strcmp(t->key.columns[i].name, c->name) == 0)
            return true;
    return false;
}

/* present: whether what is read has that column. */
static void choose_fields(struct plan_table *t, const bool *present)
{
    const struct relation *r = t->relation;
    struct buf b;

    buf_init(&b, 256);
    t->fields = xcalloc(r->ncolumns + 1u, sizeof *t->fields);
    for (uint16_t i = 0; i < r->ncolumns; i++) {
        if ((present && !present[i]) || !is_wanted(t, &r->columns[i]))
            continue;
        if (t->nfields)
            buf_add_str(&b, ", ");
        sql_add_identifier(&b, r->columns[i].name);
        t->fields[t->nfields++] = i;
    }
    t->columns = take_text(&b);
}

static enum outcome refuse_query(const struct plan_table *t, const char *column, const char *what)
{
    log_error("the snapshot query of table %s %s \"%s\"", t->name, what, column);
    log_hint("Its columns must have the names and types of the table's; those of the key must be "
             "there, others may be left out.");
    return OUTCOME_MISUSED;
}

static enum outcome match_columns(struct plan_table *t, const PGresult *result)
{
    struct relation *r = t->relation;
    bool *present = xcalloc(r->ncolumns + 1u, sizeof *present);
    enum outcome outcome = OUTCOME_OK;

    for (int i = 0; i < PQnfields(result) && outcome == OUTCOME_OK; i++) {
        const struct column *c = relation_column(r, PQfname(result, i));

        if (!c)
            outcome = refuse_query(t, PQfname(result, i), "gives a column that is not published,");
        else if (c->type_oid != PQftype(result, i))
            outcome = refuse_query(t, c->name, "gives another type to column");
        else
            present[c - r->columns] = true;
    }
    for (int i = 0; i < r->ncolumns && outcome == OUTCOME_OK; i++)
        if (r->columns[i].key && !present[i])
            outcome = refuse_query(t, r->columns[i].name, "leaves out column");
    if (outcome == OUTCOME_OK)
        choose_fields(t, present);
    free(present);
    return outcome;
}

/* The query of --snapshot-query for the table, NULL = none. */
static const char *find_query(const struct options *o, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < o->snapshot_queries.count; i++) {
        const char *text = o->snapshot_queries.items[i];

        if (strncmp(text, name, len) == 0 && text[len] == '=')
            return text + len + 1;
    }
    return NULL;
}

static enum outcome load_fields(struct plan_table *t, const struct captured_context *x)
{
    const char *query = find_query(x->o, t->name);
    size_t len;
    PGresult *result;
    char *question, *doing;
    enum outcome outcome;

    if (!query) {
        choose_fields(t, NULL);
        return OUTCOME_OK;
    }
    len = strlen(query);
    while (len > 0 && strchr("; \t\n", query[len - 1]))
        len--;
    t->query = xstrndup(query, len);
    question = xasprintf("SELECT * FROM (%s\n) AS q LIMIT 0", t->query);
    doing = xasprintf("use the snapshot query of table %s", t->name);
    outcome = sql_query_as_role(x->sql, doing, question, 0, NULL, &result);
    free(question);
    free(doing);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_UNAVAILABLE ? outcome : OUTCOME_MISUSED;
    outcome = match_columns(t, result);
    PQclear(result);
    return outcome;
}

/* ---- the plan ---- */

static enum outcome ask_fingerprint(uint32_t oid, PGconn *sql, char value[33])
{
    char question[512];
    PGresult *result;
    enum outcome outcome;

    snprintf(question, sizeof question, "SELECT " PLAN_COLUMNS_FINGERPRINT, oid);
    outcome = sql_query(sql, "look up columns", question, 0, NULL, &result);
    if (outcome == OUTCOME_OK)
        snprintf(value, 33, "%s", result_first(result));
    PQclear(result);
    return outcome;
}

static enum outcome load_table(struct plan *p, struct plan_table *t, const struct captured_context *x,
                               const PGresult *tables, int i)
{
    enum outcome outcome;

    *t = (struct plan_table){.oid = result_u32(tables, i, "oid")};
    t->partitioned = result_bool(tables, i, "partitioned");
    t->filter = result_copy(tables, i, "filter");
    outcome = ask_fingerprint(t->oid, x->sql, t->fingerprint);
    if (outcome == OUTCOME_OK)
        outcome = captured_relation(&p->relations, x, tables, i, &t->relation);
    if (outcome != OUTCOME_OK || !t->relation->captured)
        return outcome;
    t->name = xasprintf("%s.%s", t->relation->schema, t->relation->name);
    t->quoted = quoted_name(t->relation->schema, t->relation->name);
    outcome = check_access(t, x->sql);
    if (outcome == OUTCOME_OK)
        outcome = load_sources(t, x);
    if (outcome == OUTCOME_OK)
        outcome = load_key(p, t, x);
    return outcome == OUTCOME_OK ? load_fields(t, x) : outcome;
}

/* A query that names no table would be ignored in silence. */
static enum outcome check_queries(const struct plan *p, const struct options *o)
{
    for (size_t i = 0; i < o->snapshot_queries.count; i++) {
        const char *text = o->snapshot_queries.items[i];
        bool used = false;

        for (size_t n = 0; n < p->count; n++)
            used |= find_query(o, p->tables[n].name) &&
                    strncmp(text, p->tables[n].name, strlen(p->tables[n].name)) == 0 &&
                    text[strlen(p->tables[n].name)] == '=';
        if (!used) {
            log_error("the snapshot query \"%s\" is for no captured table", text);
            log_hint("It begins with schema.table=, without quotes.");
            return OUTCOME_MISUSED;
        }
    }
    return OUTCOME_OK;
}

enum outcome plan_make(struct plan *p, const struct captured_context *x)
{
    PGresult *tables;
    enum outcome outcome = publication_tables(x->sql, x->o, x->selection, &tables);

    *p = (struct plan){0};
    if (outcome != OUTCOME_OK)
        return outcome;
    relations_init(&p->relations);
    p->tables = xcalloc((size_t)PQntuples(tables) + 1, sizeof *p->tables);
    for (int i = 0; i < PQntuples(tables) && outcome == OUTCOME_OK; i++) {
        struct plan_table *t = &p->tables[p->count];

        outcome = load_table(p, t, x, tables, i);
        if (outcome == OUTCOME_OK && !t->relation->captured)
            clear_table(t);
        else
            p->count++;
    }
    PQclear(tables);
    if (outcome == OUTCOME_OK && x->o->chunk_key && p->count > 0 && !p->chunk_key_used) {
        log_error("no captured table has the chunk key \"%s\"", x->o->chunk_key);
        outcome = OUTCOME_MISUSED;
    }
    return outcome == OUTCOME_OK ? check_queries(p, x->o) : outcome;
}

enum outcome plan_renew(struct plan *p, struct plan_table *t, const struct captured_context *x,
                        bool *found)
{
    struct plan_table fresh = {0};
    PGresult *tables;
    enum outcome outcome = publication_tables(x->sql, x->o, x->selection, &tables);

    *found = false;
    if (outcome != OUTCOME_OK)
        return outcome;
    for (int i = 0; i < PQntuples(tables) && !*found; i++) {
        *found = result_u32(tables, i, "oid") == t->oid;
        if (*found)
            outcome = load_table(p, &fresh, x, tables, i);
    }
    PQclear(tables);
    *found = *found && outcome == OUTCOME_OK && fresh.relation->captured;
    if (*found) {
        fresh.read = true;
        fresh.given = t->given;
        fresh.given_bytes = t->given_bytes;
        clear_table(t);
        *t = fresh;
    } else {
        clear_table(&fresh);
    }
    return outcome;
}

void plan_remove(struct plan *p, struct plan_table *t)
{
    size_t at = (size_t)(t - p->tables);

    clear_table(t);
    memmove(t, t + 1, (p->count - at - 1) * sizeof *t);
    p->count--;
}

/* Also over sessions that find what others have put into the database (CONNECTION_ROWS). */
enum outcome plan_fingerprint(const struct plan *p, PGconn *sql, char **value)
{
    static const char question[] =
        "SELECT md5(coalesce(pg_catalog.string_agg(pg_catalog.format('%s %s %s %s %s %s %s %s %s', c.oid,"
        "         c.relfilenode, c.relname, c.relnamespace, a.attnum, a.attname, a.atttypid, a.atttypmod,"
        "         a.attisdropped), ',' ORDER BY c.oid, a.attnum), ''))"
        "  FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.oid = ANY ($1::oid[])"
        "    OR c.oid IN (SELECT l.relid::oid FROM pg_catalog.unnest($1::oid[]) AS t (oid),"
        "                        pg_catalog.pg_partition_tree(t.oid) AS l)";
    struct buf oids;
    const char *param;
    PGresult *result;
    enum outcome outcome;

    buf_init(&oids, 256);
    for (size_t i = 0; i < p->count; i++)
        buf_printf(&oids, "%s%u", i ? "," : "{", p->tables[i].oid);
    buf_add(&oids, p->count ? "}" : "{}", p->count ? 2 : 3);
    param = oids.data;
    outcome = sql_query(sql, "look up the tables", question, 1, &param, &result);
    *value = outcome == OUTCOME_OK ? xstrdup(result_first(result)) : NULL;
    PQclear(result);
    buf_release(&oids);
    return outcome;
}

bool plan_parse_row(const struct plan_table *t, char *line, size_t len, struct value *values,
                    struct value *scratch)
{
    if (t->nfields == t->relation->ncolumns)
        return copy_row_parse(line, len, values, t->nfields);
    if (!copy_row_parse(line, len, scratch, t->nfields))
        return false;
    for (uint16_t i = 0; i < t->relation->ncolumns; i++)
        values[i].kind = VALUE_ABSENT;
    for (uint16_t i = 0; i < t->nfields; i++)
        values[t->fields[i]] = scratch[i];
    return true;
}
