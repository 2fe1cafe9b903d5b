#include "snapshot/key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/relation.h"
#include "source/connection.h"

void key_release(struct key *k)
{
    for (uint16_t i = 0; i < k->n; i++) {
        free(k->columns[i].name);
        free(k->columns[i].type);
        free(k->columns[i].collation);
    }
    free(k->columns);
    free(k->positions);
    *k = (struct key){0};
}

/* ---- out of the catalog ---- */

/* $2: the name of a column, or NULL for the identity index or the primary key. */
static const char key_question[] =
    "SELECT a.attname AS name, format_type(a.atttypid, -1) AS type,"
    "       CASE WHEN a.attcollation <> 0 THEN format('%I.%I', n.nspname, l.collname) END"
    "         AS collation,"
    "       CASE WHEN a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype,"
    "                 'oid'::regtype) THEN 'number'"
    "            WHEN a.atttypid IN ('uuid'::regtype, 'bytea'::regtype)"
    "              OR a.atttypid IN ('text'::regtype, 'varchar'::regtype)"
    "                 AND pg_encoding_to_char(d.encoding) IN ('UTF8', 'SQL_ASCII')"
    "                 AND (l.collname IN ('C', 'POSIX') AND n.nspname = 'pg_catalog'"
    "                      OR l.collname = 'default' AND d.datcollate IN ('C', 'POSIX')"
    "                         AND coalesce(to_jsonb(d)->>'datlocprovider', 'c') = 'c')"
    "            THEN 'bytes' ELSE 'server' END AS ordering,"
    "       a.attnotnull AND ($2::text IS NULL OR EXISTS (SELECT FROM pg_index AS u WHERE"
    "         u.indrelid = c.oid AND u.indisunique AND u.indnkeyatts = 1 AND u.indpred IS NULL"
    "         AND u.indisvalid AND u.indimmediate AND u.indkey[0] = a.attnum)) AS uniq,"
    "       EXISTS (SELECT FROM pg_index AS u WHERE u.indrelid = c.oid AND u.indkey[0] = a.attnum"
    "         AND u.indpred IS NULL AND u.indisvalid) AS indexed"
    "  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
    "  LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND $2::text IS NULL"
    "       AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END"
    "  LEFT JOIN pg_collation AS l ON l.oid = a.attcollation"
    "  LEFT JOIN pg_namespace AS n ON n.oid = l.collnamespace,"
    "  pg_database AS d"
    " WHERE c.oid = $1::oid AND d.datname = current_database() AND NOT a.attisdropped"
    "   AND CASE WHEN $2::text IS NULL THEN a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])"
    "            ELSE a.attname = $2::text END"
    " ORDER BY array_position(i.indkey::int2[], a.attnum)";

static enum key_order order_of(const char *text)
{
    return strcmp(text, "number") == 0  ? ORDER_NUMBER
           : strcmp(text, "bytes") == 0 ? ORDER_BYTES
                                        : ORDER_SERVER;
}

static void set_key(struct key *k, const PGresult *result)
{
    *k = (struct key){.n = (uint16_t)PQntuples(result), .unique = true, .plain = true};
    if (k->n == 0)
        return;
    k->columns = xcalloc(k->n, sizeof *k->columns);
    for (int i = 0; i < k->n; i++) {
        k->columns[i] = (struct key_column){
            .name = xstrdup(result_string(result, i, "name")),
            .type = xstrdup(result_string(result, i, "type")),
            .collation = result_copy(result, i, "collation"),
            .order = order_of(result_string(result, i, "ordering")),
        };
        k->unique &= result_bool(result, i, "uniq");
        k->plain &= k->columns[i].order != ORDER_SERVER;
    }
}

enum outcome key_load(struct key *k, PGconn *sql, uint32_t oid, const char *column, bool *indexed)
{
    char text[16];
    const char *const params[] = {text, column};
    PGresult *result;
    enum outcome outcome;

    snprintf(text, sizeof text, "%u", oid);
    outcome = sql_query(sql, "look up the key", key_question, 2, params, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    set_key(k, result);
    *indexed = result_bool(result, 0, "indexed");
    PQclear(result);
    return OUTCOME_OK;
}

/* ---- bounds ---- */

void bound_release(struct bound *b)
{
    for (uint16_t i = 0; i < b->n; i++)
        free(b->values[i]);
    free(b->values);
    *b = (struct bound){0};
}

struct bound bound_copy(const struct bound *b)
{
    struct bound copy = {.kind = b->kind, .n = b->n};

    if (b->n)
        copy.values = xcalloc(b->n, sizeof *copy.values);
    for (uint16_t i = 0; i < b->n; i++)
        copy.values[i] = xstrdup(b->values[i]);
    return copy;
}

struct bound bound_of_row(const struct value *row, const uint16_t *positions, uint16_t n)
{
    struct bound b = {.kind = BOUND_KEY, .n = n, .values = xcalloc(n, sizeof *b.values)};

    for (uint16_t i = 0; i < n; i++)
        b.values[i] = xstrndup(row[positions[i]].data, row[positions[i]].len);
    return b;
}

bool key_locate(struct key *k, const struct relation *r)
{
    if (k->of == r && k->version == r->version)
        return true;
    if (!k->positions)
        k->positions = xcalloc(k->n, sizeof *k->positions);
    for (uint16_t i = 0; i < k->n; i++) {
        const struct column *c = relation_column(r, k->columns[i].name);

        if (!c) {
            log_error("column \"%s\", which the rows of table \"%s.%s\" are read in the order of, is "
                      "missing in its changes",
                      k->columns[i].name, r->schema, r->name);
            log_hint("Begin anew with another slot and without the state file.");
            return false;
        }
        k->positions[i] = (uint16_t)(c - r->columns);
    }
    k->of = r;
    k->version = r->version;
    return true;
}

/* ---- comparing ---- */

/* Sign of a whole number's text, and its digits without leading zeros. */
static int split_number(const char **digits, size_t *len)
{
    int sign = 1;

    if (*len > 0 && **digits == '-') {
        sign = -1;
        (*digits)++;
        (*len)--;
    }
    while (*len > 0 && **digits == '0') {
        (*digits)++;
        (*len)--;
    }
    return *len == 0 ? 0 : sign;
}

static int compare_numbers(const char *a, size_t na, const char *b, size_t nb)
{
    int sign_a = split_number(&a, &na), sign_b = split_number(&b, &nb);

    if (sign_a != sign_b || sign_a == 0)
        return sign_a - sign_b;
    if (na != nb)
        return na < nb ? -sign_a : sign_a;
    return sign_a * memcmp(a, b, na);
}

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);

    return order != 0 ? order : na < nb ? -1 : na > nb;
}

static int compare(const struct key_column *c, const struct value *v, const char *bound)
{
    size_t len = strlen(bound);

    return c->order == ORDER_NUMBER ? compare_numbers(v->data, v->len, bound, len)
                                    : compare_bytes(v->data, v->len, bound, len);
}

bool key_within(const struct key *k, const struct value *row, const struct bound *b,
                struct comparer *comparer)
{
    if (b->kind != BOUND_KEY)
        return b->kind == BOUND_END;
    for (uint16_t i = 0; i < k->n; i++)
        if (row[k->positions[i]].kind == VALUE_NULL)
            return false;
    if (!k->plain && comparer->collect)
        comparer->ask(comparer->arg, k, row, b);
    if (!k->plain)
        return comparer->collect ? false : comparer->answer(comparer->arg, k);
    for (uint16_t i = 0; i < k->n; i++) {
        int order = compare(&k->columns[i], &row[k->positions[i]], b->values[i]);

        if (order != 0)
            return order < 0;
    }
    return true;
}
