#include "source/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

/* One node per type ever looked up; the nodes never move, relations point at them. */
struct known_type {
    uint32_t declared_oid; /* what was asked for: may be a domain */
    struct type type;
    struct known_type *next;
};

struct catalog {
    struct connector *connector;
    const struct options *o;
    const struct selection *selection;
    PGconn *sql;
    usec_t last_used;
    struct known_type *types;
    struct describer describer;
};

static const struct type text_type = {.kind = TYPE_TEXT, .typmod = -1};

struct catalog *catalog_new(struct connector *connector, const struct options *o,
                            const struct selection *selection)
{
    struct catalog *c = xcalloc(1, sizeof *c);

    c->connector = connector;
    c->o = o;
    c->selection = selection;
    return c;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    catalog_disconnect(c);
    while (c->types) {
        struct known_type *next = c->types->next;

        free(c->types);
        c->types = next;
    }
    free(c);
}

enum outcome catalog_connection(struct catalog *c, PGconn **sql)
{
    enum outcome outcome = OUTCOME_OK;

    c->last_used = clock_ticks();
    if (c->sql && PQstatus(c->sql) != CONNECTION_OK)
        catalog_disconnect(c);
    if (!c->sql)
        outcome = connector_connect(c->connector, CONNECTION_SQL, &c->sql);
    *sql = c->sql;
    return outcome;
}

void catalog_disconnect(struct catalog *c)
{
    PQfinish(c->sql);
    c->sql = NULL;
}

void catalog_tidy(struct catalog *c, usec_t ticks)
{
    enum { KEEP_SEC = 5 };

    if (c->sql && ticks - c->last_used > KEEP_SEC * USEC_PER_SEC)
        catalog_disconnect(c);
}

/* ---- types ---- */

static struct known_type *find_type(const struct catalog *c, uint32_t oid)
{
    struct known_type *t = c->types;

    while (t && t->declared_oid != oid)
        t = t->next;
    return t;
}

static struct known_type *add_type(struct catalog *c, uint32_t oid)
{
    struct known_type *t = xcalloc(1, sizeof *t);

    t->declared_oid = oid;
    t->type = (struct type){.oid = oid, .kind = TYPE_TEXT, .delimiter = ',', .typmod = -1};
    t->next = c->types;
    c->types = t;
    return t;
}

/* What the text looks like is up to the output function, whatever the type is called. */
static enum type_kind kind_of_output(const char *function)
{
    static const struct {
        const char *function;
        enum type_kind kind;
    } known[] = {
        {"boolout", TYPE_BOOL},          {"int2out", TYPE_INTEGER},
        {"int4out", TYPE_INTEGER},       {"int8out", TYPE_INTEGER},
        {"oidout", TYPE_INTEGER},        {"float4out", TYPE_FLOAT},
        {"float8out", TYPE_FLOAT},       {"numeric_out", TYPE_NUMERIC},
        {"json_out", TYPE_JSON},         {"jsonb_out", TYPE_JSON},
        {"date_out", TYPE_DATE},         {"time_out", TYPE_TIME},
        {"timestamp_out", TYPE_TIMESTAMP}, {"timestamptz_out", TYPE_TIMESTAMPTZ},
        {"interval_out", TYPE_INTERVAL}, {"byteaout", TYPE_BYTEA},
        {"array_out", TYPE_ARRAY},       {"hstore_out", TYPE_HSTORE},
        {"timetz_out", TYPE_TIMETZ},     {"bit_out", TYPE_BIT},
        {"varbit_out", TYPE_BIT},        {"cash_out", TYPE_MONEY},
        {"point_out", TYPE_POINT},       {"uuid_out", TYPE_UUID},
        {"enum_out", TYPE_ENUM},
        /* texts that Debezium takes for such */
        {"textout", TYPE_TEXT},          {"varcharout", TYPE_TEXT},
        {"bpcharout", TYPE_TEXT},        {"charout", TYPE_TEXT},
        {"nameout", TYPE_TEXT},          {"citextout", TYPE_TEXT},
        {"xml_out", TYPE_TEXT},          {"inet_out", TYPE_TEXT},
        {"cidr_out", TYPE_TEXT},         {"macaddr_out", TYPE_TEXT},
        {"macaddr8_out", TYPE_TEXT},     {"range_out", TYPE_TEXT},
        {"tsvectorout", TYPE_TEXT},      {"ltree_out", TYPE_TEXT},
        {"isn_out", TYPE_TEXT},          {"ean13_out", TYPE_TEXT},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].function, function) == 0)
            return known[i].kind;
    return TYPE_OTHER;
}

/* What the bytes look like is up to the send function: an enum is told by it, too. */
static enum binary_form form_of_send(const char *function)
{
    static const struct {
        const char *function;
        enum binary_form form;
    } known[] = {
        {"array_send", BINARY_ARRAY},             {"bit_send", BINARY_BIT},
        {"boolsend", BINARY_BOOL},                {"box_send", BINARY_BOX},
        {"bpcharsend", BINARY_TEXT},              {"byteasend", BINARY_BYTEA},
        {"cash_send", BINARY_MONEY},              {"charsend", BINARY_CHAR},
        {"cidr_send", BINARY_INET},               {"cidsend", BINARY_UINT4},
        {"circle_send", BINARY_CIRCLE},           {"citextsend", BINARY_TEXT},
        {"date_send", BINARY_DATE},               {"enum_send", BINARY_TEXT},
        {"float4send", BINARY_FLOAT4},            {"float8send", BINARY_FLOAT8},
        {"hstore_send", BINARY_HSTORE},           {"inet_send", BINARY_INET},
        {"int2send", BINARY_INT2},                {"int2vectorsend", BINARY_INT2VECTOR},
        {"int4send", BINARY_INT4},                {"int8send", BINARY_INT8},
        {"interval_send", BINARY_INTERVAL},       {"json_send", BINARY_TEXT},
        {"jsonb_send", BINARY_VERSIONED_TEXT},    {"jsonpath_send", BINARY_VERSIONED_TEXT},
        {"line_send", BINARY_LINE},               {"lquery_send", BINARY_VERSIONED_TEXT},
        {"lseg_send", BINARY_LSEG},               {"ltree_send", BINARY_VERSIONED_TEXT},
        {"ltxtq_send", BINARY_VERSIONED_TEXT},    {"macaddr8_send", BINARY_MACADDR8},
        {"macaddr_send", BINARY_MACADDR},         {"namesend", BINARY_TEXT},
        {"numeric_send", BINARY_NUMERIC},         {"oidsend", BINARY_UINT4},
        {"oidvectorsend", BINARY_OIDVECTOR},      {"path_send", BINARY_PATH},
        {"pg_lsn_send", BINARY_LSN},              {"pg_snapshot_send", BINARY_SNAPSHOT},
        {"point_send", BINARY_POINT},             {"poly_send", BINARY_POLYGON},
        {"textsend", BINARY_TEXT},                {"tidsend", BINARY_TID},
        {"time_send", BINARY_TIME},               {"timestamp_send", BINARY_TIMESTAMP},
        {"timestamptz_send", BINARY_TIMESTAMPTZ}, {"timetz_send", BINARY_TIMETZ},
        {"tsvectorsend", BINARY_TSVECTOR},        {"txid_snapshot_send", BINARY_SNAPSHOT},
        {"unknownsend", BINARY_TEXT},             {"uuid_send", BINARY_UUID},
        {"varbit_send", BINARY_BIT},              {"varcharsend", BINARY_TEXT},
        {"xid8send", BINARY_UINT8},               {"xidsend", BINARY_UINT4},
        {"xml_send", BINARY_TEXT},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].function, function) == 0)
            return known[i].form;
    return BINARY_UNKNOWN;
}

/*
 * The types asked for, with base types and element types down to the last.  base: the type below
 * all domains.  A domain's output function is that of its base type.
 */
static const char types_question[] =
    "WITH RECURSIVE asked (oid) AS ("
    "    SELECT unnest($1::oid[])"
    "  UNION"
    "    SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END"
    "      FROM asked AS a JOIN pg_type AS t ON t.oid = a.oid"
    "     WHERE t.typtype = 'd' OR t.typelem <> 0)"
    " SELECT t.oid, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE 0 END AS base,"
    "        t.typelem AS element, p.proname AS output, coalesce(e.typdelim, ',') AS delimiter,"
    "        coalesce(s.proname, '') AS send, t.typtypmod AS typmod"
    "   FROM asked AS a JOIN pg_type AS t ON t.oid = a.oid JOIN pg_proc AS p ON p.oid = t.typoutput"
    "   LEFT JOIN pg_proc AS s ON s.oid = t.typsend"
    "   LEFT JOIN pg_type AS e ON e.oid = t.typelem";

static void add_types(struct catalog *c, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        uint32_t oid = result_u32(result, i, "oid");
        struct known_type *t = find_type(c, oid);

        if (!t)
            t = add_type(c, oid);
        t->type.kind = kind_of_output(result_string(result, i, "output"));
        t->type.binary = form_of_send(result_string(result, i, "send"));
        t->type.delimiter = result_string(result, i, "delimiter")[0];
    }
}

/* A domain is its base type; one over another domain has the typmod of that, if any. */
static void take_base(struct type *domain, const struct type *base, int32_t typmod)
{
    *domain = *base;
    if (typmod >= 0)
        domain->typmod = typmod;
}

/* Arrays point at their elements' types, domains become copies of their base types. */
static void link_types(struct catalog *c, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct known_type *t = find_type(c, result_u32(result, i, "oid"));
        struct known_type *element = find_type(c, result_u32(result, i, "element"));

        if (t->type.kind == TYPE_ARRAY)
            t->type.element = element ? &element->type : &text_type;
    }
    /* a domain over a domain needs its base linked first: as many rounds as there are rows */
    for (int round = 0; round < PQntuples(result); round++) {
        for (int i = 0; i < PQntuples(result); i++) {
            struct known_type *base = find_type(c, result_u32(result, i, "base"));

            if (base)
                take_base(&find_type(c, result_u32(result, i, "oid"))->type, &base->type,
                          result_i32(result, i, "typmod"));
        }
    }
}

static enum outcome load_types(struct catalog *c, PGconn *sql, const struct relation *r)
{
    struct buf oids;
    PGresult *result;
    const char *param;
    enum outcome outcome = OUTCOME_OK;

    buf_init(&oids, 256);
    for (int i = 0; i < r->ncolumns; i++)
        if (!find_type(c, r->columns[i].type_oid))
            buf_printf(&oids, "%s%u", oids.len ? "," : "{", r->columns[i].type_oid);
    if (oids.len > 0) {
        buf_add(&oids, "}", 2);
        param = oids.data;
        outcome = sql_query(sql, "look up types", types_question, 1, &param, &result);
        if (outcome == OUTCOME_OK) {
            add_types(c, result);
            link_types(c, result);
            PQclear(result);
        }
    }
    buf_release(&oids);
    return outcome;
}

static void set_types(struct catalog *c, struct relation *r)
{
    for (int i = 0; i < r->ncolumns; i++) {
        struct column *column = &r->columns[i];
        struct known_type *t = find_type(c, column->type_oid);

        if (!t) {
            log_verbose("type %u of column \"%s.%s.%s\" no longer exists: its values are text",
                        column->type_oid, r->schema, r->name, column->name);
            t = add_type(c, column->type_oid);
        }
        column->type = &t->type;
    }
}

/* ---- selection and columns ---- */

/* A partition is captured with any of its ancestors, unless it is left out itself. */
static enum outcome decide_captured(struct catalog *c, PGconn *sql, struct relation *r)
{
    static const char question[] =
        "SELECT $5 !~ '^pg_' AND $5 <> 'information_schema' AND"
        "       (" SELECTION_MATCHES("$5::text", "$6::text")
        "        OR NOT " SELECTION_EXCLUDES("$5::text", "$6::text") " AND EXISTS"
        "           (SELECT FROM pg_partition_ancestors($7::oid) AS a"
        "              JOIN pg_class AS c ON c.oid = a.relid"
        "              JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        "             WHERE " SELECTION_MATCHES("n.nspname::text", "c.relname::text") "))"
        "       AS captured";
    char oid[16];
    const char *params[7] = {c->selection->params[0], c->selection->params[1],
                             c->selection->params[2], c->selection->params[3],
                             r->schema,               r->name,
                             oid};
    PGresult *result;
    enum outcome outcome;

    snprintf(oid, sizeof oid, "%u", r->oid);
    outcome = sql_query(sql, "look up a table", question, 7, params, &result);
    if (outcome == OUTCOME_OK)
        r->captured = result_bool(result, 0, "captured");
    PQclear(result);
    return outcome;
}

static void add_column_arrays(const struct relation *r, char **names, char **types, char **typmods)
{
    struct string_list list = {xcalloc(r->ncolumns, sizeof(char *)), r->ncolumns};
    struct buf t, m;

    buf_init(&t, 256);
    buf_init(&m, 256);
    for (int i = 0; i < r->ncolumns; i++) {
        list.items[i] = r->columns[i].name;
        buf_printf(&t, "%s%u", i ? "," : "{", r->columns[i].type_oid);
        buf_printf(&m, "%s%d", i ? "," : "{", r->columns[i].typmod);
    }
    buf_add_str(&t, r->ncolumns ? "}" : "{}");
    buf_add_str(&m, r->ncolumns ? "}" : "{}");
    *names = sql_text_array(&list);
    *types = xstrndup(t.data, t.len);
    *typmods = xstrndup(m.data, m.len);
    free(list.items);
    buf_release(&t);
    buf_release(&m);
}

static const char columns_question[] =
    "SELECT ($1::text || '.' || $2::text || '.' || x.name) ~ ANY ($3::text[]) AS excluded,"
    "       x.name = ANY (k.columns) AS in_key,"
    "       k.columns OPERATOR(pg_catalog.<@) $5::text[]"
    "         AND k.columns OPERATOR(pg_catalog.<>) '{}' AS key_is_whole,"
    "       pg_catalog.format_type(x.type, x.typmod) AS type_name"
    "  FROM unnest($5::text[], $6::oid[], $7::int[]) WITH ORDINALITY AS x (name, type, typmod, n),"
    "       (SELECT coalesce(pg_catalog.array_agg(a.attname::text), '{}')"
    "          FROM pg_index AS i JOIN pg_attribute AS a"
    "            ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])"
    "         WHERE i.indrelid = $4::oid AND i.indisprimary) AS k (columns)"
    " ORDER BY x.n";

static void set_column(const struct catalog *c, const struct relation *r, struct column *column,
                       const PGresult *result, int i)
{
    bool full = r->identity == 'f';
    bool whole_key = result_bool(result, i, "key_is_whole");

    column->excluded = result_bool(result, i, "excluded");
    column->key = column->identity;
    if (full && whole_key)
        column->key = result_bool(result, i, "in_key");
    else if (full)
        column->key = !column->excluded; /* every column is the identity of such a row */
    if (column->excluded && column->key) {
        log_warning("column \"%s.%s.%s\" is part of the table's key and is not left out", r->schema,
                    r->name, column->name);
        column->excluded = false;
    }
    if (c->o->schema_events) {
        free(column->type_name);
        column->type_name = xstrdup(result_string(result, i, "type_name"));
    }
}

/* What the message itself tells is enough for most. */
static bool describe_plainly(const struct catalog *c, struct relation *r)
{
    if (r->identity == 'f' || c->o->schema_events || c->o->exclude_columns.count > 0)
        return false;
    for (int i = 0; i < r->ncolumns; i++) {
        r->columns[i].excluded = false;
        r->columns[i].key = r->columns[i].identity;
    }
    return true;
}

static enum outcome describe_columns(struct catalog *c, PGconn *sql, struct relation *r)
{
    char oid[16], *names, *types, *typmods;
    PGresult *result;
    enum outcome outcome;

    snprintf(oid, sizeof oid, "%u", r->oid);
    add_column_arrays(r, &names, &types, &typmods);
    outcome = sql_query_as_role(sql, "look up columns", columns_question, 7,
                        (const char *const[]){r->schema, r->name, c->selection->exclude_columns,
                                              oid, names, types, typmods},
                        &result);
    for (int i = 0; i < PQntuples(result) && i < r->ncolumns; i++)
        set_column(c, r, &r->columns[i], result, i);
    PQclear(result);
    free(names);
    free(types);
    free(typmods);
    return outcome;
}

enum outcome catalog_describe(struct catalog *c, struct relation *r)
{
    PGconn *sql;
    enum outcome outcome = catalog_connection(c, &sql);

    if (outcome == OUTCOME_OK)
        outcome = decide_captured(c, sql, r);
    if (outcome == OUTCOME_OK && r->captured)
        outcome = load_types(c, sql, r);
    if (outcome == OUTCOME_OK && r->captured) {
        set_types(c, r);
        outcome = describe_plainly(c, r) ? OUTCOME_OK : describe_columns(c, sql, r);
    }
    r->described = outcome == OUTCOME_OK;
    return outcome;
}

/* ---- for decoders: tables and types by their names ---- */

/*
 * $5, $6: the names; $7: whether rows are given under the name of the topmost captured table.  A row
 * per column, or one without a column name.
 */
static const char table_question[] =
    "WITH own AS (SELECT c.oid, c.relreplident, c.xmin FROM pg_class AS c JOIN pg_namespace AS n"
    "               ON n.oid = c.relnamespace"
    "             WHERE n.nspname = $5 AND c.relname = $6 AND c.relkind IN ('r', 'p')),"
    "     given AS (SELECT coalesce("
    "               (SELECT c.oid FROM own, pg_catalog.pg_partition_ancestors(own.oid) WITH ORDINALITY AS a (oid, n)"
    "                  JOIN pg_class AS c ON c.oid = a.oid"
    "                  JOIN pg_namespace AS s ON s.oid = c.relnamespace"
    "                 WHERE $7::bool AND " SELECTION_MATCHES("s.nspname::text", "c.relname::text")
    "                 ORDER BY a.n DESC LIMIT 1), (SELECT own.oid FROM own)) AS oid)"
    " SELECT g.oid, own.oid AS own_oid, s.nspname AS schema, g.relname AS name,"
    "        " SELECTION_MATCHES("s.nspname::text", "g.relname::text") " AS captured, g.relreplident AS identity,"
    "        own.relreplident AS own_identity, own.xmin AS since, g.oid <> own.oid AS elsewhere,"
    "        a.attname AS column, a.atttypid AS type_oid, a.atttypmod AS typmod,"
    "        pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, pg_catalog.format_type(a.atttypid, NULL) AS bare_type,"
    "        b.attnum AS position, NOT a.attnotnull AS nullable, a.attnum, a.xmin AS column_since, a.attisdropped AS dropped,"
    "        a.attlen = -1 AS toastable," /* whatever the storage is now: values stay where they are */
    "        (pg_catalog.txid_snapshot_xmin(t.seen) OPERATOR(pg_catalog.&) 4294967295)::text AS floor,"
    "        (pg_catalog.txid_snapshot_xmax(t.seen) OPERATOR(pg_catalog.&) 4294967295)::text AS ceiling,"
    "        a.atttypid IN (700, 701, 1700) AS number, a.attgenerated = 'v' AS computed_late,"
    "        CASE g.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE coalesce(b.attnum ="
    "          ANY (SELECT pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index AS i WHERE i.indrelid = g.oid AND"
    "               CASE g.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END),"
    "          false) END AS in_identity,"
    "        a.attnum = ANY (SELECT pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index AS i WHERE i.indrelid = own.oid AND"
    "                        i.indisunique AND i.indimmediate AND i.indpred IS NULL) AS candidate"
    "   FROM own, pg_catalog.txid_current_snapshot() AS t (seen), given JOIN pg_class AS g ON g.oid = given.oid"
    "   JOIN pg_namespace AS s ON s.oid = g.relnamespace"
    "   LEFT JOIN pg_attribute AS a ON a.attrelid = (SELECT own.oid FROM own) AND a.attnum > 0"
    "   LEFT JOIN pg_attribute AS b ON b.attrelid = g.oid AND b.attname = a.attname"
    "  ORDER BY a.attnum";

static void take_column(struct described_column *c, const PGresult *result, int i)
{
    const char *position = result_text(result, i, "position");

    c->name = result_copy(result, i, "column");
    c->type_oid = result_u32(result, i, "type_oid");
    c->typmod = result_i32(result, i, "typmod");
    c->type = result_copy(result, i, "type");
    c->bare_type = result_copy(result, i, "bare_type");
    c->position = position ? (uint16_t)strtoul(position, NULL, 10) : UINT16_MAX;
    c->identity = result_bool(result, i, "in_identity");
    c->candidate = result_bool(result, i, "candidate");
    c->nullable = result_bool(result, i, "nullable");
    c->toastable = result_bool(result, i, "toastable");
    c->number_in_table = (uint16_t)result_u32(result, i, "attnum");
    c->since = result_u32(result, i, "column_since");
    c->number = result_bool(result, i, "number");
    c->computed_late = result_bool(result, i, "computed_late");
}

static void take_table(struct description *d, const PGresult *result)
{
    d->exists = true;
    d->oid = result_u32(result, 0, "oid");
    d->schema = xstrdup(result_string(result, 0, "schema"));
    d->name = xstrdup(result_string(result, 0, "name"));
    d->identity = result_string(result, 0, "identity")[0];
    d->own_identity = result_string(result, 0, "own_identity")[0];
    d->uncaptured = !result_bool(result, 0, "captured");
    d->since = result_u32(result, 0, "since");
    d->own_oid = result_u32(result, 0, "own_oid");
    d->floor = result_u32(result, 0, "floor");
    d->ceiling = result_u32(result, 0, "ceiling");
    d->elsewhere = result_bool(result, 0, "elsewhere");
    if (!result_text(result, 0, "column"))
        return;
    d->columns = xcalloc((size_t)PQntuples(result), sizeof *d->columns);
    d->dropped = xcalloc((size_t)PQntuples(result), sizeof *d->dropped);
    for (int i = 0; i < PQntuples(result); i++) {
        if (result_bool(result, i, "dropped"))
            d->dropped[d->ndropped++] = (struct dropped_column){
                .number_in_table = (uint16_t)result_u32(result, i, "attnum"),
                .since = result_u32(result, i, "column_since"),
            };
        else
            take_column(&d->columns[d->ncolumns++], result, i);
    }
}

/* Of a table that is not there: when that was. */
static enum outcome note_horizon(PGconn *sql, struct description *d)
{
    static const char question[] =
        "SELECT (txid_snapshot_xmin(t.seen) & 4294967295)::text AS floor,"
        "       (txid_snapshot_xmax(t.seen) & 4294967295)::text AS ceiling"
        "  FROM txid_current_snapshot() AS t (seen)";
    PGresult *result;
    enum outcome outcome = sql_query(sql, "look up running transactions", question, 0, NULL, &result);

    if (outcome == OUTCOME_OK) {
        d->floor = result_u32(result, 0, "floor");
        d->ceiling = result_u32(result, 0, "ceiling");
    }
    PQclear(result);
    return outcome;
}

static enum outcome look_up(PGconn *sql, const struct catalog *c, const char *schema,
                            const char *table, struct description *d)
{
    char *const *selection = c->selection->params;
    PGresult *result;
    enum outcome outcome =
        sql_query_as_role(sql, "look up a table", table_question, 7,
                  (const char *const[]){selection[0], selection[1], selection[2], selection[3], schema,
                                        table, PQserverVersion(sql) >= 130000 ? "t" : "f"},
                  &result);

    if (outcome == OUTCOME_OK && PQntuples(result) > 0)
        take_table(d, result);
    PQclear(result);
    return outcome;
}

static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    const struct catalog *c = arg;
    PGconn *sql;
    enum outcome outcome = catalog_connection(arg, &sql);

    *d = (struct description){0};
    if (outcome == OUTCOME_OK)
        outcome = look_up(sql, c, schema, table, d);
    if (outcome != OUTCOME_OK || d->exists)
        return outcome;
    outcome = note_horizon(sql, d);
    /* Again, as it may have been created since: it was gone then only if it is not there now. */
    return outcome == OUTCOME_OK ? look_up(sql, c, schema, table, d) : outcome;
}

/* Names are compared as texts, so that none is an error; quotes are not everywhere the same. */
static enum outcome find_type_by_name(void *arg, const char *type, uint32_t *oid)
{
    static const char question[] =
        "SELECT t.oid FROM pg_type AS t"
        " WHERE pg_catalog.replace(pg_catalog.format_type(t.oid, NULL), '\"', '') ="
        "       CASE WHEN $1::text LIKE 'interval%' AND $1 NOT LIKE '%]' THEN 'interval'::text"
        "            ELSE pg_catalog.regexp_replace(pg_catalog.replace($1, '\"', ''),"
        "                                           '\\([^)]*\\)', '') END"
        " ORDER BY t.oid LIMIT 1";
    struct catalog *c = arg;
    PGconn *sql;
    PGresult *result;
    enum outcome outcome = catalog_connection(c, &sql);

    *oid = 0;
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = sql_query_as_role(sql, "look up a type", question, 1, &type, &result);
    if (outcome == OUTCOME_OK && PQntuples(result) > 0)
        *oid = result_u32(result, 0, "oid");
    PQclear(result);
    return outcome;
}

struct describer *catalog_describer(struct catalog *c)
{
    c->describer = (struct describer){.arg = c, .describe = describe, .find_type = find_type_by_name};
    return &c->describer;
}

/* ---- values that were not sent ---- */

static void add_name(struct buf *b, const char *before, const char *name)
{
    buf_add_str(b, before);
    sql_add_identifier(b, name);
}

/*
 * The statement, which always gives one row, with the end of the WAL first; *nparams: how many keys
 * it is given by, 0 = there is no key to go by.
 */
static char *unchanged_question(const struct relation *r, const struct value *row, char **params,
                                int *nparams)
{
    struct buf b;
    char *text;

    buf_init(&b, 256);
    buf_add_str(&b, "SELECT w.lsn, w.seen, t.* FROM (SELECT pg_current_wal_insert_lsn() AS lsn,"
                    " txid_current_snapshot() AS seen) AS w LEFT JOIN LATERAL (SELECT true");
    for (int i = 0; i < r->ncolumns; i++)
        if (row[i].kind == VALUE_UNCHANGED)
            add_name(&b, ", ", r->columns[i].name);
    add_name(&b, " FROM ", r->schema);
    add_name(&b, ".", r->name);
    *nparams = 0;
    for (int i = 0; i < r->ncolumns; i++) {
        if (!r->columns[i].key || row[i].kind != VALUE_TEXT)
            continue;
        add_name(&b, *nparams ? " AND " : " WHERE ", r->columns[i].name);
        buf_printf(&b, " = $%d", *nparams + 1);
        params[(*nparams)++] = xstrndup(row[i].data, row[i].len);
    }
    buf_add_str(&b, ") AS t ON true");
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

static void take_unchanged(const struct relation *r, struct value *row, const PGresult *result)
{
    int field = 3;

    for (int i = 0; i < r->ncolumns; i++) {
        if (row[i].kind != VALUE_UNCHANGED)
            continue;
        row[i] = (struct value){
            .data = PQgetvalue(result, 0, field),
            .len = (uint32_t)PQgetlength(result, 0, field),
            .kind = PQgetisnull(result, 0, field) ? VALUE_NULL : VALUE_TEXT,
        };
        field++;
    }
}

enum outcome catalog_read_unchanged(struct catalog *c, const struct relation *r, struct value *row,
                                    PGresult **result, lsn_t *when, const char **seen)
{
    char **params = xcalloc(r->ncolumns + 1u, sizeof *params);
    int nparams;
    char *question = unchanged_question(r, row, params, &nparams);
    PGconn *sql;
    enum outcome outcome = catalog_connection(c, &sql);

    *result = NULL;
    *when = 0;
    *seen = NULL;
    if (outcome == OUTCOME_OK && nparams > 0)
        outcome = sql_query_as_role(sql, "read a value that was not sent", question, nparams,
                            (const char *const *)params, result);
    if (*result) {
        *when = result_lsn(*result, 0, "lsn");
        *seen = result_text(*result, 0, "seen");
        if (PQntuples(*result) == 1 && !PQgetisnull(*result, 0, 2))
            take_unchanged(r, row, *result);
    }
    for (int i = 0; i < nparams; i++)
        free(params[i]);
    free(params);
    free(question);
    return outcome;
}
