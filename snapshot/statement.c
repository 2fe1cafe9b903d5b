#include "snapshot/statement.h"

#include "base/buf.h"
#include "base/log.h"
#include "source/connection.h"

/* What a buffer holds, as a string of its own; the buffer is released. */
static char *take_text(struct buf *b)
{
    char *text = xstrndup(b->data, b->len);

    buf_release(b);
    return text;
}

static void add_select(struct buf *b, const struct plan_table *t, const char *from)
{
    buf_printf(b, "COPY (SELECT %s FROM ", t->columns);
    if (t->query)
        buf_printf(b, "(%s\n) AS q", t->query);
    else
        buf_add_str(b, from);
}

/* Puts WHERE before the first condition and AND before every other. */
static void add_condition(struct buf *b, bool *any)
{
    buf_add_str(b, *any ? " AND " : " WHERE ");
    *any = true;
}

static void add_filters(struct buf *b, const struct plan_table *t, bool *any)
{
    const char *filters[] = {t->query ? NULL : t->filter, t->query ? NULL : t->tree_filter};

    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        if (!filters[i])
            continue;
        add_condition(b, any);
        buf_printf(b, "(%s)", filters[i]);
    }
}

char *statement_of_source(const struct plan_table *t, const struct plan_source *s, uint64_t from,
                          uint64_t to)
{
    struct buf b;
    bool any = false;

    buf_init(&b, 512);
    add_select(&b, t, s->from);
    add_filters(&b, t, &any);
    if (from) {
        add_condition(&b, &any);
        buf_printf(&b, "ctid >= '(%llu,0)'", (unsigned long long)from);
    }
    if (to) {
        add_condition(&b, &any);
        buf_printf(&b, "ctid < '(%llu,0)'", (unsigned long long)to);
    }
    buf_add_str(&b, ") TO STDOUT");
    return take_text(&b);
}

static void add_literal(struct buf *b, PGconn *sql, const char *text)
{
    char *quoted = PQescapeLiteral(sql, text, strlen(text));

    if (!quoted)
        log_out_of_memory();
    buf_add_str(b, quoted);
    PQfreemem(quoted);
}

static void add_key_list(struct buf *b, const struct key *k)
{
    for (uint16_t i = 0; i < k->n; i++) {
        if (i)
            buf_add_str(b, ", ");
        sql_add_identifier(b, k->columns[i].name);
    }
}

/* (k1, k2) > ('a', 'b'): literals without a type take that of the column, collation and all. */
static void add_after(struct buf *b, const struct key *k, const struct bound *after, PGconn *sql)
{
    buf_add_char(b, '(');
    add_key_list(b, k);
    buf_add_str(b, ") > (");
    for (uint16_t i = 0; i < k->n; i++) {
        if (i)
            buf_add_str(b, ", ");
        add_literal(b, sql, after->values[i]);
    }
    buf_add_char(b, ')');
}

char *statement_of_chunk(const struct plan_table *t, const struct bound *after, uint64_t rows,
                         PGconn *sql)
{
    const struct key *k = &t->key;
    struct buf b;
    bool any = false;

    buf_init(&b, 512);
    add_select(&b, t, t->nsources ? t->sources[0].from : t->quoted); /* none: it has just gone */
    add_filters(&b, t, &any);
    if (k->n && after->kind == BOUND_KEY) {
        add_condition(&b, &any);
        add_after(&b, k, after, sql);
    } else if (k->n && !k->unique) {
        add_condition(&b, &any);
        add_key_list(&b, k);
        buf_add_str(&b, " IS NOT NULL");
    }
    if (k->n) {
        buf_add_str(&b, " ORDER BY ");
        add_key_list(&b, k);
        buf_printf(&b, " FETCH FIRST %llu ROWS %s", (unsigned long long)rows,
                   k->unique ? "ONLY" : "WITH TIES");
    }
    buf_add_str(&b, ") TO STDOUT");
    return take_text(&b);
}

char *statement_of_nulls(const struct plan_table *t)
{
    struct buf b;
    bool any = false;

    buf_init(&b, 512);
    add_select(&b, t, t->nsources ? t->sources[0].from : t->quoted); /* none: it has just gone */
    add_filters(&b, t, &any);
    add_condition(&b, &any);
    add_key_list(&b, &t->key);
    buf_add_str(&b, " IS NULL) TO STDOUT");
    return take_text(&b);
}
