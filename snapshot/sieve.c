#include "snapshot/sieve.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "decode/decoder.h"
#include "source/connection.h"

enum { FULL_BYTES = 256 * 1024, FULL_QUESTIONS = 4096 };

/* Questions about keys of one table; a column's values as the text of an array. */
struct group {
    const struct key *key;
    struct buf *arrays; /* of the rows' columns, then of the bounds' */
    size_t count;
    char *answers; /* t or f, one per question */
    size_t given;
};

struct sieve {
    struct coverage *coverage;
    struct decoder *decoder; /* looks ahead of the pipeline's */
    struct judge judge;
    struct comparer comparer; /* of the decoder here: notes questions */
    struct comparer answering;
    struct buf messages; /* struct stream_message, then its payload, one behind the other */
    size_t taken;
    struct group *groups;
    size_t ngroups;
    size_t nquestions;
};

/* ---- questions ---- */

static void add_element(struct buf *array, const char *text, size_t len)
{
    buf_add_str(array, array->len ? ",\"" : "{\"");
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            buf_add_char(array, '\\');
        buf_add_char(array, text[i]);
    }
    buf_add_char(array, '"');
}

static struct group *find_group(const struct sieve *s, const struct key *k)
{
    for (size_t i = 0; i < s->ngroups; i++)
        if (s->groups[i].key == k)
            return &s->groups[i];
    return NULL;
}

static struct group *add_group(struct sieve *s, const struct key *k)
{
    struct group *g;

    s->groups = realloc(s->groups, (s->ngroups + 1) * sizeof *s->groups);
    if (!s->groups)
        log_out_of_memory();
    g = &s->groups[s->ngroups++];
    *g = (struct group){.key = k, .arrays = xcalloc(2u * k->n, sizeof *g->arrays)};
    for (unsigned i = 0; i < 2u * k->n; i++)
        buf_init(&g->arrays[i], 256);
    return g;
}

static void ask(void *arg, const struct key *k, const struct value *row, const struct bound *b)
{
    struct sieve *s = arg;
    struct group *g = find_group(s, k);

    if (!g)
        g = add_group(s, k);
    for (uint16_t i = 0; i < k->n; i++) {
        const struct value *v = &row[k->positions[i]];

        add_element(&g->arrays[i], v->data, v->len);
        add_element(&g->arrays[k->n + i], b->values[i], strlen(b->values[i]));
    }
    g->count++;
    s->nquestions++;
}

/*
 * Both sides judge alike, but for one thing: a truncation that begins a table anew.  Of that table
 * nothing is asked any more then, and what is left of its answers is not wanted.
 */
static bool answer(void *arg, const struct key *k)
{
    struct group *g = find_group(arg, k);

    if (!g || g->given == g->count)
        return false; /* cannot be */
    return g->answers[g->given++] == 't';
}

static void add_row(struct buf *b, const struct key *k, char letter)
{
    for (uint16_t i = 0; i < k->n; i++) {
        const struct key_column *c = &k->columns[i];

        buf_printf(b, "%s%c%u::%s", i ? ", " : "ROW(", letter, i, c->type);
        if (c->collation)
            buf_printf(b, " COLLATE %s", c->collation);
    }
    buf_add_char(b, ')');
}

/* unnest($1::text[], …) AS q (k0, …, b0, …, n) */
static void add_arrays(struct buf *b, const struct key *k)
{
    buf_add_str(b, " FROM unnest(");
    for (unsigned i = 1; i <= 2u * k->n; i++)
        buf_printf(b, "%s$%u::text[]", i > 1 ? ", " : "", i);
    buf_add_str(b, ") WITH ORDINALITY AS q (");
    for (unsigned i = 0; i < 2u * k->n; i++)
        buf_printf(b, "%c%u, ", i < k->n ? 'k' : 'b', i < k->n ? i : i - k->n);
    buf_add(b, "n)", 3);
}

static enum outcome ask_group(struct group *g, PGconn *sql)
{
    const struct key *k = g->key;
    const char **params = xcalloc(2u * k->n, sizeof *params);
    struct buf b;
    PGresult *result;
    enum outcome outcome;

    for (unsigned i = 0; i < 2u * k->n; i++) {
        buf_add(&g->arrays[i], "}", 2);
        params[i] = g->arrays[i].data;
    }
    buf_init(&b, 512);
    buf_add_str(&b, "SELECT pg_catalog.string_agg(CASE WHEN ");
    add_row(&b, k, 'k');
    buf_add_str(&b, " <= ");
    add_row(&b, k, 'b');
    buf_add_str(&b, " THEN 't' ELSE 'f' END, ''::text ORDER BY n)");
    add_arrays(&b, k);
    outcome = sql_query_as_role(sql, "compare keys", b.data, 2 * k->n, params, &result);
    buf_release(&b);
    free(params);
    if (outcome != OUTCOME_OK)
        return outcome;
    g->answers = xstrdup(result_first(result));
    PQclear(result);
    if (strlen(g->answers) == g->count)
        return OUTCOME_OK;
    log_error("could not compare keys: unexpected answer");
    return OUTCOME_FAILED;
}

enum outcome sieve_resolve(struct sieve *s, PGconn *sql)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < s->ngroups && outcome == OUTCOME_OK; i++)
        outcome = ask_group(&s->groups[i], sql);
    return outcome;
}

/* ---- messages ---- */

static void clear_questions(struct sieve *s)
{
    for (size_t i = 0; i < s->ngroups; i++) {
        for (unsigned n = 0; n < 2u * s->groups[i].key->n; n++)
            buf_release(&s->groups[i].arrays[n]);
        free(s->groups[i].arrays);
        free(s->groups[i].answers);
    }
    s->ngroups = 0;
    s->nquestions = 0;
}

struct sieve *sieve_new(struct coverage *c, struct decoder *decoder)
{
    struct sieve *s = xcalloc(1, sizeof *s);

    s->coverage = c;
    for (size_t i = 0; i < c->ntables; i++) /* relations of the last connection are no more */
        if (c->tables[i]->order)
            c->tables[i]->order->of = NULL;
    s->comparer = (struct comparer){.collect = true, .ask = ask, .arg = s};
    s->answering = (struct comparer){.answer = answer, .arg = s};
    s->decoder = decoder;
    buf_init(&s->messages, 4096);
    return s;
}

void sieve_free(struct sieve *s)
{
    if (!s)
        return;
    clear_questions(s);
    free(s->groups);
    decoder_free(s->decoder);
    buf_release(&s->messages);
    free(s);
}

static enum outcome look_at_event(struct sieve *s, const struct event *e)
{
    struct covered_table *t;

    if (e->kind == EVENT_BEGIN)
        judge_begin(&s->judge, s->coverage, e->transaction->xid);
    if (e->kind != EVENT_CHANGE)
        return OUTCOME_OK;
    t = coverage_find(s->coverage, e->change.relation->oid);
    if (!t || !t->order || t->order->plain)
        return OUTCOME_OK;
    return judge_change(&s->judge, t, &e->change, &s->comparer) == VERDICT_UNKNOWN
               ? OUTCOME_MISUSED
               : OUTCOME_OK;
}

static enum outcome look_at(struct sieve *s, const struct stream_message *m)
{
    struct event e;
    enum outcome outcome = OUTCOME_OK;

    if (m->kind == STREAM_KEEPALIVE)
        decoder_keepalive(s->decoder, m->wal_end, &e);
    else
        outcome = decoder_take(s->decoder, m->lsn, m->payload, m->len, &e);
    while (outcome == OUTCOME_OK && e.kind != EVENT_NONE) {
        outcome = look_at_event(s, &e);
        if (outcome == OUTCOME_OK)
            outcome = decoder_next(s->decoder, &e);
    }
    return outcome;
}

/* Kept before it is looked at, as that may rewrite it. */
enum outcome sieve_add(struct sieve *s, const struct stream_message *m)
{
    buf_add(&s->messages, m, sizeof *m);
    buf_add(&s->messages, m->payload ? m->payload : "", m->len);
    return look_at(s, m);
}

bool sieve_is_empty(const struct sieve *s)
{
    return s->taken == s->messages.len;
}

bool sieve_is_full(const struct sieve *s)
{
    return s->messages.len >= FULL_BYTES || s->nquestions >= FULL_QUESTIONS;
}

bool sieve_take(struct sieve *s, struct stream_message *m)
{
    if (sieve_is_empty(s)) {
        clear_questions(s);
        s->messages.len = s->taken = 0;
        buf_shrink(&s->messages, FULL_BYTES);
        return false;
    }
    memcpy(m, s->messages.data + s->taken, sizeof *m);
    m->payload = s->messages.data + s->taken + sizeof *m;
    s->taken += sizeof *m + m->len;
    return true;
}

struct comparer *sieve_comparer(struct sieve *s)
{
    return &s->answering;
}
