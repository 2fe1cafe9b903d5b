#include "source/captured.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/publication.h"

/*
 * The columns that are sent, as pgoutput describes them.  Generated ones are not, but from 18 on where
 * the publication's options or a column list have them; before, its list of columns may name them
 * all the same.  Other plugins ($3) send all that are stored.
 */
static const char columns_question[] =
    "SELECT a.attname AS name, a.atttypid AS type, a.atttypmod AS typmod,"
    "       CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE coalesce(a.attnum ="
    "         ANY (SELECT unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index AS i WHERE i.indrelid = c.oid AND"
    "              CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END),"
    "         false) END AS identity"
    "  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
    " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped"
    "   AND CASE WHEN $3::bool THEN a.attgenerated <> 'v'"
    "            WHEN $2::text[] IS NULL THEN a.attgenerated = ''"
    "            ELSE a.attname::text = ANY ($2::text[]) AND (a.attgenerated = ''"
    "                 OR current_setting('server_version_num')::int >= 180000) END"
    " ORDER BY a.attnum";

static void set_columns(struct relation *r, const PGresult *result)
{
    r->ncolumns = (uint16_t)PQntuples(result);
    r->columns = xcalloc(r->ncolumns, sizeof *r->columns);
    for (int i = 0; i < r->ncolumns; i++) {
        r->columns[i].name = xstrdup(result_string(result, i, "name"));
        r->columns[i].type_oid = result_u32(result, i, "type");
        r->columns[i].typmod = result_i32(result, i, "typmod");
        r->columns[i].identity = result_bool(result, i, "identity");
    }
}

enum outcome captured_relation(struct relations *list, const struct captured_context *x,
                               const PGresult *tables, int i, struct relation **relation)
{
    struct relation r = {.oid = result_u32(tables, i, "oid")};
    char oid[16];
    const char *const params[] = {oid, result_text(tables, i, "columns"),
                                  plugin_of(x->o->plugin)->filters_columns ? "f" : "t"};
    PGresult *result;
    bool changed;
    enum outcome outcome;

    snprintf(oid, sizeof oid, "%u", r.oid);
    outcome = sql_query(x->sql, "look up columns", columns_question, 3, params, &result);
    if (outcome != OUTCOME_OK)
        return outcome;
    r.schema = xstrdup(result_string(tables, i, "schema"));
    r.name = xstrdup(result_string(tables, i, "name"));
    r.identity = result_string(tables, i, "identity")[0];
    set_columns(&r, result);
    PQclear(result);
    *relation = relations_put(list, &r, &changed);
    return (*relation)->described ? OUTCOME_OK : catalog_describe(x->catalog, *relation);
}

enum outcome captured_load(struct relations *list, const struct captured_context *x)
{
    PGresult *tables;
    struct relation *relation;
    enum outcome outcome = publication_tables(x->sql, x->o, x->selection, &tables);

    for (int i = 0; i < PQntuples(tables) && outcome == OUTCOME_OK; i++)
        outcome = captured_relation(list, x, tables, i, &relation);
    PQclear(tables);
    return outcome;
}
