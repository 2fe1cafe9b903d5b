#include "source/selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "cli/java_regex.h"
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

/* The server's form of a pattern for schema.table; it was tried when the file was read. */
static char *translated(const char *java)
{
    const char *why;
    char *pattern = java_regex_translate(java, &why);

    return pattern ? pattern : xstrdup("(?!)");
}

static struct string_list translated_list(const struct string_list *patterns)
{
    struct string_list list = {xcalloc(patterns->count + 1, sizeof(char *)), patterns->count};

    for (size_t i = 0; i < patterns->count; i++)
        list.items[i] = translated(patterns->items[i]);
    return list;
}

static void free_list(struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((void *)(uintptr_t)list->items[i]);
    free(list->items);
}

/* The first ones are qualified: the array's subscripts say how many. */
static char *anchored_array(const struct string_list *qualified, const struct string_list *patterns)
{
    size_t n = qualified->count, count = n + patterns->count;
    struct string_list anchored = {xcalloc(count + 1, sizeof(char *)), count};
    char *elements, *literal;

    for (size_t i = 0; i < count; i++)
        anchored.items[i] = anchor(i < n ? qualified->items[i] : patterns->items[i - n]);
    elements = sql_text_array(&anchored);
    literal = n == 0 ? xstrdup(elements)
                     : xasprintf("[%lld:%zu]=%s", 1 - (long long)n, patterns->count, elements);
    free(elements);
    free_list(&anchored);
    return literal;
}

/*
 * Each pattern by itself, so that the message can name the one that is wrong: as it was given, for
 * x)|(y is only wrong without anchors, and as it is used.
 */
static enum outcome check_patterns(PGconn *sql, const struct string_list *patterns,
                                   const struct string_list *as_given)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < patterns->count && outcome == OUTCOME_OK; i++) {
        char *pattern = anchor(patterns->items[i]);
        const char *const params[] = {patterns->items[i], pattern};
        char doing[256];
        PGresult *result;

        snprintf(doing, sizeof doing, "use the pattern \"%s\"", as_given->items[i]);
        outcome = sql_query(sql, doing, "SELECT '' ~ $1, '' ~ $2", 2, params, &result);
        PQclear(result);
        free(pattern);
    }
    return outcome;
}

/* Patterns that come from one place. */
struct pattern_option {
    const struct string_list *given;    /* as the user wrote them */
    const struct string_list *patterns; /* the same in the server's form */
    const char *of;                     /* what they are patterns of, for messages */
    const char *matches;                /* SQL: whether p.re matches something of table c */
};

/* Warns about the patterns that match nothing. */
static enum outcome warn_unmatched(PGconn *sql, const struct pattern_option *option)
{
    static const struct string_list none = {0};
    char *literal = anchored_array(&none, option->patterns);
    const char *const params[] = {literal};
    char question[1024];
    PGresult *result;
    enum outcome outcome;

    snprintf(question, sizeof question,
             "SELECT p.n FROM unnest($1::text[]) WITH ORDINALITY AS p (re, n)"
             " WHERE NOT EXISTS (SELECT FROM " CANDIDATES " WHERE %s) ORDER BY 1",
             option->matches);
    outcome = sql_query(sql, "match the patterns", question, 1, params, &result);
    free(literal);
    for (int i = 0; i < PQntuples(result); i++) {
        size_t n = strtoul(PQgetvalue(result, i, 0), NULL, 10);

        if (n >= 1 && n <= option->given->count)
            log_warning("the pattern \"%s\" of %s matches nothing", option->given->items[n - 1],
                        option->of);
    }
    PQclear(result);
    return outcome;
}

static enum outcome check_all_patterns(PGconn *sql, const struct options *o,
                                       const struct string_list *qualified,
                                       const struct string_list *exclude_qualified)
{
    static const char by_schema[] = "c.schema ~ p.re";
    static const char by_table[] = "c.name ~ p.re OR c.schema || '.' || c.name ~ p.re";
    static const char by_both[] = "(c.schema || '.' || c.name) COLLATE \"C\" ~ p.re";
    static const char by_column[] =
        "EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0"
        "           AND c.schema || '.' || c.name || '.' || a.attname ~ p.re)";
    const struct pattern_option all[] = {
        {&o->schemas, &o->schemas, "--schema", by_schema},
        {&o->exclude_schemas, &o->exclude_schemas, "--exclude-schema", by_schema},
        {&o->tables, &o->tables, "--table", by_table},
        {&o->qualified_tables, qualified, "the tables in the configuration", by_both},
        {&o->exclude_tables, &o->exclude_tables, "--exclude-table", by_table},
        {&o->exclude_qualified_tables, exclude_qualified,
         "the tables to leave out in the configuration", by_both},
        {&o->exclude_columns, &o->exclude_columns, "--exclude-column", by_column},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        enum outcome outcome = check_patterns(sql, all[i].patterns, all[i].given);

        if (outcome == OUTCOME_OK && all[i].given->count)
            outcome = warn_unmatched(sql, &all[i]);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

/* What is asked of the server, once the patterns are found to be such. */
static enum outcome prepare_patterns(struct selection *s, PGconn *sql, const struct options *o)
{
    static const struct string_list none = {0};
    struct string_list qualified = translated_list(&o->qualified_tables);
    struct string_list exclude_qualified = translated_list(&o->exclude_qualified_tables);
    enum outcome outcome;

    *s = (struct selection){
        .params = {anchored_array(&none, &o->schemas), anchored_array(&none, &o->exclude_schemas),
                   anchored_array(&qualified, &o->tables),
                   anchored_array(&exclude_qualified, &o->exclude_tables)},
        .exclude_columns = anchored_array(&none, &o->exclude_columns),
    };
    outcome = check_all_patterns(sql, o, &qualified, &exclude_qualified);
    free_list(&qualified);
    free_list(&exclude_qualified);
    return outcome;
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
                    o->exclude_tables.count || o->qualified_tables.count ||
                    o->exclude_qualified_tables.count;
    enum outcome outcome = prepare_patterns(s, sql, o);

    if (outcome == OUTCOME_OK)
        outcome = find_tables(s, sql);
    if (outcome == OUTCOME_OK)
        outcome = warn_covered(s, sql, o);
    if (outcome != OUTCOME_OK || s->count > 0)
        return outcome;
    if (!patterns && o->publication_mode != PUBLICATION_FILTERED)
        return OUTCOME_OK; /* tables may come later, and the publication will have them */
    log_error(patterns ? "no table matches" : "the database has no table to capture");
    log_hint(o->qualified_tables.count
                 ? "A pattern of a file has to match the whole of schema.table."
                 : "A pattern has to match the whole of a table's name, or of schema.table, and is "
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
