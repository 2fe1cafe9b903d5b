#include "source/selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/connection.h"

/* Ordinary and partitioned tables that write to the WAL, outside of the system's schemas. */
#define CANDIDATES                                                                                 \
    "(SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name"                            \
    "   FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"                       \
    "  WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'"                                   \
    "    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS c"

/*
 * ^(?:PATTERN)$, with options that must stand first, as in (?i)name, kept there.
 */
static char *anchor(const char *pattern)
{
    size_t options = 0;

    if (strncmp(pattern, "(?", 2) == 0) {
        size_t letters = strspn(pattern + 2, "bceimnpqstwx");

        if (letters > 0 && pattern[2 + letters] == ')')
            options = letters + 3;
    }
    return xasprintf("%.*s^(?:%s)$", (int)options, pattern, pattern + options);
}

static char *anchored_array(const struct string_list *patterns)
{
    struct string_list anchored = {xcalloc(patterns->count, sizeof(char *)), patterns->count};
    char *literal;

    for (size_t i = 0; i < patterns->count; i++)
        anchored.items[i] = anchor(patterns->items[i]);
    literal = sql_text_array(&anchored);
    for (size_t i = 0; i < patterns->count; i++)
        free((void *)(uintptr_t)anchored.items[i]);
    free(anchored.items);
    return literal;
}

/*
 * Each pattern by itself, so that the message can name the one that is wrong: as it was given, for
 * x)|(y is only wrong without anchors, and as it is used.
 */
static enum outcome check_patterns(PGconn *sql, const struct string_list *patterns)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < patterns->count && outcome == OUTCOME_OK; i++) {
        char *pattern = anchor(patterns->items[i]);
        const char *const params[] = {patterns->items[i], pattern};
        char doing[256];
        PGresult *result;

        snprintf(doing, sizeof doing, "use the pattern \"%s\"", patterns->items[i]);
        outcome = sql_query(sql, doing, "SELECT '' ~ $1, '' ~ $2", 2, params, &result);
        PQclear(result);
        free(pattern);
    }
    return outcome;
}

/* Warns about the patterns for which `matches`, an SQL condition on p.re and c, is never true. */
static enum outcome warn_unmatched(PGconn *sql, const struct string_list *patterns,
                                   const char *literal, const char *option, const char *matches)
{
    char question[1024];
    PGresult *result;
    enum outcome outcome;

    if (patterns->count == 0)
        return OUTCOME_OK;
    snprintf(question, sizeof question,
             "SELECT p.n FROM unnest($1::text[]) WITH ORDINALITY AS p (re, n)"
             " WHERE NOT EXISTS (SELECT FROM " CANDIDATES " WHERE %s) ORDER BY 1",
             matches);
    outcome = sql_query(sql, "match the patterns", question, 1, &literal, &result);
    if (outcome != OUTCOME_OK)
        return outcome;
    for (int i = 0; i < PQntuples(result); i++) {
        size_t n = strtoul(PQgetvalue(result, i, 0), NULL, 10);

        if (n >= 1 && n <= patterns->count)
            log_warning("the pattern \"%s\" of %s matches nothing", patterns->items[n - 1], option);
    }
    PQclear(result);
    return OUTCOME_OK;
}

struct pattern_option {
    const struct string_list *patterns;
    const char *literal;
    const char *option;
    const char *matches;
};

static enum outcome check_all_patterns(const struct selection *s, PGconn *sql,
                                       const struct options *o)
{
    static const char by_schema[] = "c.schema ~ p.re";
    static const char by_table[] = "c.name ~ p.re OR c.schema || '.' || c.name ~ p.re";
    static const char by_column[] =
        "EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0"
        "           AND c.schema || '.' || c.name || '.' || a.attname ~ p.re)";
    const struct pattern_option all[] = {
        {&o->schemas, s->params[0], "--schema", by_schema},
        {&o->exclude_schemas, s->params[1], "--exclude-schema", by_schema},
        {&o->tables, s->params[2], "--table", by_table},
        {&o->exclude_tables, s->params[3], "--exclude-table", by_table},
        {&o->exclude_columns, s->exclude_columns, "--exclude-column", by_column},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        enum outcome outcome = check_patterns(sql, all[i].patterns);

        if (outcome == OUTCOME_OK)
            outcome = warn_unmatched(sql, all[i].patterns, all[i].literal, all[i].option,
                                     all[i].matches);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

static enum outcome find_tables(struct selection *s, PGconn *sql)
{
    static const char question[] =
        "SELECT count(*), array_agg(c.oid ORDER BY c.schema, c.name)::oid[]"
        "  FROM " CANDIDATES " WHERE " SELECTION_MATCHES("c.schema", "c.name");
    const char *params[SELECTION_NPARAMS];
    PGresult *result;
    enum outcome outcome;

    for (int i = 0; i < SELECTION_NPARAMS; i++)
        params[i] = s->params[i];
    outcome = sql_query(sql, "look up the tables", question, SELECTION_NPARAMS, params, &result);
    if (outcome != OUTCOME_OK)
        return outcome;
    s->count = strtoul(result_first(result), NULL, 10);
    s->oids = xstrdup(s->count ? PQgetvalue(result, 0, 1) : "{}");
    PQclear(result);
    return OUTCOME_OK;
}

/*
 * Partitions that are left out while a table above them is not: a publication made here sends
 * their rows as that table's, and nothing in the stream tells them apart.
 */
static enum outcome warn_covered(const struct selection *s, PGconn *sql, const struct options *o)
{
    static const char question[] =
        "SELECT format('%I.%I', c.schema, c.name), (array_agg(a.relid ORDER BY a.n DESC))[1]"
        "  FROM " CANDIDATES ", pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, n)"
        " WHERE a.relid <> c.oid AND a.relid::oid = ANY ($5::oid[])"
        "   AND " SELECTION_EXCLUDES("c.schema", "c.name")
        "   AND $1::text[] IS NOT NULL AND $3::text[] IS NOT NULL" /* of use to the others only */
        " GROUP BY 1 ORDER BY 1";
    const char *const params[] = {s->params[0], s->params[1], s->params[2], s->params[3], s->oids};
    PGresult *result;
    enum outcome outcome;

    if (o->publication_mode == PUBLICATION_EXISTING || PQserverVersion(sql) < 130000)
        return OUTCOME_OK;
    outcome = sql_query(sql, "look up partitions", question, 5, params, &result);
    for (int i = 0; i < PQntuples(result); i++)
        log_warning("partition %s is not left out: its rows come as those of table %s",
                    PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
    PQclear(result);
    return outcome;
}

enum outcome selection_load(struct selection *s, PGconn *sql, const struct options *o)
{
    bool patterns = o->schemas.count || o->tables.count || o->exclude_schemas.count ||
                    o->exclude_tables.count;
    enum outcome outcome;

    *s = (struct selection){
        .params = {anchored_array(&o->schemas), anchored_array(&o->exclude_schemas),
                   anchored_array(&o->tables), anchored_array(&o->exclude_tables)},
        .exclude_columns = anchored_array(&o->exclude_columns),
    };
    outcome = check_all_patterns(s, sql, o);
    if (outcome == OUTCOME_OK)
        outcome = find_tables(s, sql);
    if (outcome == OUTCOME_OK)
        outcome = warn_covered(s, sql, o);
    if (outcome != OUTCOME_OK || s->count > 0)
        return outcome;
    if (!patterns && o->publication_mode != PUBLICATION_FILTERED)
        return OUTCOME_OK; /* tables may come later, and the publication will have them */
    log_error(patterns ? "no table matches" : "the database has no table to capture");
    log_hint("A pattern has to match the whole of a table's name, or of schema.table, and is "
             "case-sensitive.");
    return OUTCOME_MISUSED;
}

void selection_release(struct selection *s)
{
    for (int i = 0; i < SELECTION_NPARAMS; i++)
        free(s->params[i]);
    free(s->exclude_columns);
    free(s->oids);
    *s = (struct selection){0};
}
