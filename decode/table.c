#include "decode/table_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { DOUBT_USEC = 50000, REFRESH_USEC = 2000000, REFRESH_SHARE = 10, REFRESH_CREDIT_USEC = 3000000 };

struct tables *tables_new(unsigned ways)
{
    struct tables *ts = xcalloc(1, sizeof *ts);

    ts->ways = ways;
    ts->generation = ts->epoch = 1;
    ts->refresh_credit = REFRESH_CREDIT_USEC;
    ts->credited_at = clock_ticks();
    return ts;
}

void tables_free(struct tables *ts)
{
    if (!ts)
        return;
    for (uint32_t i = 0; i < ts->count; i++) {
        table_clear_columns(ts->all[i]);
        description_release(&ts->all[i]->described);
        free(ts->all[i]->schema);
        free(ts->all[i]->name);
        free(ts->all[i]);
    }
    free(ts->all);
    free(ts->buckets);
    free(ts);
}

/* ---- when the catalogs are to be asked again ---- */

/* Looks without need take no more than a tenth of the time, but for the first seconds of them. */
static bool may_refresh(struct tables *ts)
{
    usec_t now = clock_ticks();

    ts->refresh_credit += (now - ts->credited_at) / REFRESH_SHARE;
    if (ts->refresh_credit > REFRESH_CREDIT_USEC)
        ts->refresh_credit = REFRESH_CREDIT_USEC;
    ts->credited_at = now;
    return ts->refresh_credit > 0;
}

static enum outcome refresh(struct tables *ts, struct table *t, struct decoder *d,
                            const struct sent_change *c)
{
    usec_t before = clock_ticks();
    enum outcome outcome = table_look(ts, t, d, c, false);

    ts->refresh_credit -= clock_ticks() - before;
    return outcome;
}

/*
 * What the catalogs have said holds for all transactions that had ended when they were asked.  For
 * later ones a message that can be read in two ways makes us ask again every so often (or, where more
 * is at stake, once in the transaction).  What no message shows, as another replica identity, is found
 * out by looking at each table in use anew when a transaction has passed that may have changed it,
 * which plugins show without rows, and now and then, as it may have changed rows as well.
 */
void tables_transaction_begins(struct tables *ts)
{
    usec_t now = clock_ticks();

    ts->transactions++;
    if (now - ts->since >= DOUBT_USEC) {
        ts->since = now;
        ts->generation++;
    }
    if (now - ts->epoch_since >= REFRESH_USEC) {
        ts->epoch_since = now;
        ts->epoch++;
    }
}

void tables_transaction_ends(struct tables *ts, uint32_t xid, bool changed)
{
    ts->suspicions += !changed;
    ts->ended[ts->nended++ % ENDED] = xid;
}

/* ---- tables by name ---- */

static bool is_named(const struct table *t, struct slice schema, struct slice name)
{
    return t->name_len == name.len && t->schema_len == schema.len &&
           memcmp(t->name, name.data, name.len) == 0 &&
           memcmp(t->schema, schema.data, schema.len) == 0;
}

/* FNV-1a */
static uint32_t hash(uint32_t h, const char *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    return (h ^ 0xff) * 16777619u;
}

static uint32_t hash_names(struct slice schema, struct slice name)
{
    return hash(hash(2166136261u, schema.data, schema.len), name.data, name.len);
}

static struct table **bucket(struct table **buckets, uint32_t nbuckets, struct slice schema,
                             struct slice name)
{
    for (uint32_t i = hash_names(schema, name);; i++) {
        struct table **b = &buckets[i & (nbuckets - 1)];

        if (!*b || is_named(*b, schema, name))
            return b;
    }
}

/* Keeps the buckets at most half full. */
static void grow(struct tables *ts)
{
    uint32_t nbuckets = ts->nbuckets ? 2 * ts->nbuckets : 64;
    struct table **buckets;

    if (2 * (ts->count + 1) <= ts->nbuckets)
        return;
    buckets = xcalloc(nbuckets, sizeof(*buckets));
    for (uint32_t i = 0; i < ts->count; i++) {
        struct table *t = ts->all[i];

        *bucket(buckets, nbuckets, (struct slice){t->schema, t->schema_len},
                (struct slice){t->name, t->name_len}) = t;
    }
    free(ts->buckets);
    ts->buckets = buckets;
    ts->nbuckets = nbuckets;
    ts->all = realloc(ts->all, nbuckets / 2 * sizeof(*ts->all));
    if (!ts->all)
        log_out_of_memory();
}

static struct table *find(struct tables *ts, struct slice schema, struct slice name)
{
    struct table **b, *t;

    if (ts->last && is_named(ts->last, schema, name))
        return ts->last;
    grow(ts);
    b = bucket(ts->buckets, ts->nbuckets, schema, name);
    if (!*b) {
        t = xcalloc(1, sizeof *t);
        t->schema = xstrndup(schema.data, schema.len);
        t->schema_len = schema.len;
        t->name = xstrndup(name.data, name.len);
        t->name_len = name.len;
        ts->all[ts->count++] = *b = t;
    }
    ts->last = *b;
    return *b;
}

/* ---- a message beside what is known ---- */

static bool has_name(const struct named_column *c, const struct sent_column *sent)
{
    return c->name_len == sent->name.len && memcmp(c->name, sent->name.data, c->name_len) == 0;
}

static bool has_type(const struct named_column *c, const struct sent_column *sent, bool old)
{
    if (!c->type || c->type_oid != sent->type_oid)
        return false;
    if (old && sent->type_oid && (sent->type.len == 0 || c->type_len == 0))
        return true; /* decoderbufs has the types of new rows only */
    return c->type_len == sent->type.len &&
           (sent->type.len == 0 || memcmp(c->type, sent->type.data, sent->type.len) == 0);
}

/*
 * The column that was sent, from *next on: messages have them in the table's order, and another order
 * in a new row tells that columns are not those that they were.
 */
static struct named_column *locate(const struct table *t, const struct sent_column *sent, bool old,
                                   uint16_t *next)
{
    uint16_t most = old ? t->ncolumns : (uint16_t)(t->ncolumns - *next);

    for (uint16_t n = 0; n < most; n++) {
        uint16_t i = (uint16_t)((*next + n) % t->ncolumns);
        struct named_column *c = &t->columns[i];

        if (!has_name(c, sent))
            continue;
        *next = (uint16_t)(i + 1);
        return has_type(c, sent, old) ? c : NULL;
    }
    return NULL;
}

/* How a message fits what is known of its table, the best first. */
enum fit {
    FITS,
    FITS_MAYBE,    /* may be read otherwise, if the table is not what it was a moment ago */
    FITS_DOUBTFUL, /* likewise, and what is at stake are values */
    FITS_OTHERWISE, /* shows another replica identity than the known one */
    FITS_NOT,      /* other columns: the catalogs have to be asked */
};

static void warn_lost(const struct decoder *d, bool *warned, const char *what,
                      const struct table *t, const struct named_column *c)
{
    if (*warned || d->silent || !t->captured)
        return;
    *warned = true;
    log_warning("%s column \"%s\" of table \"%s.%s\"", what, c->name, t->schema, t->name);
    log_detail("This version of plugin wal2json sends numbers that are NaN or infinite as null; from "
               "2.6 on it has a way to send them.");
}

/* A null that cannot be one is a number that the plugin has no text for; another may be one. */
static void mark_lost(struct tables *ts, const struct decoder *d, const struct table *t,
                      struct named_column *c, const struct sent_column *sent, bool never_null,
                      struct value *v)
{
    bool nullable = sent->nullable == NULLABLE_NOT_SAID ? c->nullable : sent->nullable == NULLABLE_YES;

    if (!d->nan_is_null || !c->number)
        return;
    if (nullable && !never_null) {
        warn_lost(d, &ts->warned, "a null may stand for NaN or infinity, first in", t, c);
        return;
    }
    v->kind = VALUE_LOST;
    warn_lost(d, &c->warned, "the plugin has not sent a value that is NaN or infinite, of", t, c);
}

/* Lays what was sent onto the relation's columns, all of which are VALUE_ABSENT before. */
static bool place(struct tables *ts, const struct decoder *d, const struct table *t,
                  const struct sent_change *change, bool old, struct value *row)
{
    const struct sent_row *sent = old ? &change->old_row : &change->new_row;
    bool never_null = old && !change->old_has_nulls;
    uint16_t next = 0;

    for (int i = 0; i < t->relation->ncolumns; i++)
        row[i] = (struct value){.kind = VALUE_ABSENT};
    for (uint32_t j = 0; j < sent->n; j++) {
        struct named_column *c = locate(t, &sent->columns[j], old, &next);

        if (!c)
            return false;
        if (c->left_out && sent->columns[j].value.kind != VALUE_NULL)
            return false;
        if (c->left_out)
            continue;
        if (row[c->position].kind != VALUE_ABSENT)
            return false; /* named twice */
        row[c->position] = sent->columns[j].value;
        if (sent->columns[j].value.kind == VALUE_NULL)
            mark_lost(ts, d, t, c, &sent->columns[j], never_null, &row[c->position]);
    }
    return true;
}

static enum fit place_new(struct tables *ts, const struct decoder *d, const struct table *t,
                          const struct sent_change *c)
{
    bool omits = c->op == OP_UPDATE && (ts->ways & TABLES_OMIT_UNCHANGED);
    enum fit fit = FITS;

    if (!place(ts, d, t, c, false, d->new_row))
        return FITS_NOT;
    for (int i = 0; i < t->ncolumns; i++) {
        const struct named_column *column = &t->columns[i];

        if (column->left_out || d->new_row[column->position].kind != VALUE_ABSENT)
            continue;
        if (!omits || !column->toastable)
            return FITS_NOT;
        d->new_row[column->position].kind = VALUE_UNCHANGED;
        fit = FITS_MAYBE; /* or the column has been dropped */
    }
    return fit;
}

/* What the columns of an old row say of the replica identity that it was written with. */
struct old_look {
    bool complete;      /* every column */
    bool required;      /* every one that cannot be null */
    bool more_than_key; /* a column that no key could have */
    bool outside;       /* a column outside of the identity as it is known */
    bool whole_key;     /* every column of that identity */
};

static struct old_look look_at_old(const struct table *t, const struct value *row)
{
    struct old_look look = {.complete = true, .required = true, .whole_key = true};

    for (int i = 0; i < t->ncolumns; i++) {
        const struct named_column *c = &t->columns[i];
        bool sent;

        if (c->left_out)
            continue;
        sent = row[c->position].kind != VALUE_ABSENT;
        look.complete &= sent;
        look.required &= sent || c->nullable;
        look.more_than_key |= sent && !c->candidate;
        look.outside |= sent && !c->identity;
        look.whole_key &= sent || !c->identity;
    }
    return look;
}

/* What has been sure stays so while the catalogs go on saying it. */
static bool is_full_for_sure(const struct tables *ts, const struct decoder *d, struct table *t)
{
    t->full_for_sure = t->full_for_sure || table_had_ended(ts, d, t->since);
    return t->full_for_sure;
}

/*
 * Old rows of most plugins lack what is null and what is not part of the identity, and the two look
 * alike.  Nulls are made of what is missing only where it is sure that the identity was FULL.
 */
static enum fit place_old(struct tables *ts, const struct decoder *d, struct table *t,
                          const struct sent_change *c, enum old_row *kind)
{
    struct old_look look;

    *kind = OLD_NONE;
    if (!c->old_sent)
        return FITS;
    if (!place(ts, d, t, c, true, d->old_row))
        return FITS_NOT;
    look = look_at_old(t, d->old_row);
    *kind = look.complete && (t->full || look.outside) ? OLD_FULL : OLD_KEY;
    if (look.complete)
        return FITS;
    if (!t->full && (look.outside || !look.whole_key))
        return t->elsewhere || t->shows >= SHOWS_MAX ? FITS_MAYBE : FITS_OTHERWISE;
    if (!t->full)
        return FITS;
    if (c->old_has_nulls || !look.required || !is_full_for_sure(ts, d, t))
        return FITS_MAYBE;
    *kind = OLD_FULL;
    return look.more_than_key ? FITS : FITS_DOUBTFUL;
}

static enum fit try(struct tables *ts, const struct decoder *d, struct table *t,
                    const struct sent_change *c, enum old_row *old_kind)
{
    enum fit fit = FITS, old;

    if (!t->relation || t->version != t->relation->version)
        return FITS_NOT;
    if (c->op != OP_DELETE)
        fit = place_new(ts, d, t, c);
    if (fit == FITS_NOT)
        return fit;
    old = place_old(ts, d, t, c, old_kind);
    return old > fit ? old : fit;
}

/* ---- events ---- */

static bool same_value(const struct value *a, const struct value *b)
{
    return a->kind == b->kind && a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Whether the old row is nothing but the key that the new one has, too. */
static bool repeats_key(const struct decoder *d, const struct table *t)
{
    for (int i = 0; i < t->relation->ncolumns; i++)
        if (d->old_row[i].kind != VALUE_ABSENT && !same_value(&d->old_row[i], &d->new_row[i]))
            return false;
    return true;
}

/* A partition's old row says as much as the identity of the table above it asks for. */
static enum old_row keep_identity(const struct relation *r, struct value *row)
{
    for (int i = 0; i < r->ncolumns; i++)
        if (!r->columns[i].identity)
            row[i].kind = VALUE_ABSENT;
    return OLD_KEY;
}

/*
 * In columns that are sure to have been there: one that is unchanged would have been in the old
 * row.
 */
static void nulls_for_absent(const struct tables *ts, const struct decoder *d, struct table *t,
                             const struct sent_change *change, struct value *row)
{
    for (int i = 0; i < t->ncolumns; i++) {
        struct named_column *c = &t->columns[i];

        if (c->left_out || c->undescribed || row[c->position].kind != VALUE_ABSENT ||
            (change->op == OP_UPDATE && d->new_row[c->position].kind == VALUE_UNCHANGED))
            continue;
        c->settled = c->settled || table_had_ended(ts, d, c->since);
        if (c->settled)
            row[c->position].kind = VALUE_NULL;
    }
}

static void fill_event(const struct tables *ts, struct decoder *d, struct table *t,
                       const struct sent_change *c, enum old_row old_kind, struct event *e)
{
    bool key = old_kind == OLD_KEY || (old_kind == OLD_FULL && t->elsewhere && !t->full);

    if (key && c->op == OP_UPDATE && (ts->ways & TABLES_REPEAT_KEY) && repeats_key(d, t))
        old_kind = OLD_NONE;
    if (old_kind == OLD_FULL && t->elsewhere && t->relation->identity != 'f')
        old_kind = keep_identity(t->relation, d->old_row);
    if (old_kind == OLD_FULL && !c->old_has_nulls)
        nulls_for_absent(ts, d, t, c, d->old_row);
    e->kind = EVENT_CHANGE;
    e->transaction = &d->transaction;
    e->relation = t->relation;
    e->change = (struct change){
        .op = c->op,
        .relation = t->relation,
        .lsn = c->lsn,
        .old_kind = old_kind,
        .old_row = old_kind != OLD_NONE ? d->old_row : NULL,
        .new_row = c->op != OP_DELETE ? d->new_row : NULL,
    };
    if (e->change.old_row && e->change.new_row)
        decoder_fill_unchanged(t->relation, d->old_row, d->new_row);
}

enum outcome tables_captured(struct tables *ts, struct decoder *d, const struct sent_change *c,
                             bool *captured)
{
    const struct sent_change nothing = {.op = OP_TRUNCATE};
    struct table *t = find(ts, c->schema, c->table);
    enum outcome outcome = t->relation ? OUTCOME_OK : table_look(ts, t, d, &nothing, false);

    *captured = t->captured;
    return outcome;
}

/* Whether the message can be read only after another look at the table. */
static bool needs_look(const struct tables *ts, const struct table *t, bool fresh, enum fit fit)
{
    if (fit >= FITS_OTHERWISE)
        return true;
    if (fit == FITS_DOUBTFUL || (fit == FITS_MAYBE && fresh)) /* which takes no question */
        return t->transaction != ts->transactions;
    return fit == FITS_MAYBE && t->generation != ts->generation;
}

/* Whether the table may be another one by now, though the message does not show it. */
static bool is_due(const struct tables *ts, const struct table *t, bool fresh)
{
    return t->suspicions != ts->suspicions || (!fresh && t->epoch != ts->epoch);
}

/* Brings the table up to date where that is needed, or due. */
static enum outcome look(struct tables *ts, struct table *t, struct decoder *d,
                         const struct sent_change *c, enum fit *fit, enum old_row *old_kind)
{
    bool fresh = table_is_fresh(t, d);
    bool needed = needs_look(ts, t, fresh, *fit);
    enum outcome outcome;

    if (!needed && (!is_due(ts, t, fresh) || !may_refresh(ts)))
        return OUTCOME_OK;
    outcome = needed ? table_look(ts, t, d, c, false) : refresh(ts, t, d, c);
    if (outcome == OUTCOME_OK)
        *fit = try(ts, d, t, c, old_kind);
    if (outcome == OUTCOME_OK && *fit == FITS_OTHERWISE)
        t->shows++; /* looking has not helped, and will not */
    if (outcome == OUTCOME_OK && *fit == FITS_NOT) {
        outcome = table_look(ts, t, d, c, true);
        *fit = try(ts, d, t, c, old_kind);
    }
    return outcome;
}

enum outcome tables_change(struct tables *ts, struct decoder *d, const struct sent_change *c,
                           struct event *e)
{
    struct table *t = find(ts, c->schema, c->table);
    enum old_row old_kind = OLD_NONE;
    enum fit fit = try(ts, d, t, c, &old_kind);
    enum outcome outcome = look(ts, t, d, c, &fit, &old_kind);

    if (outcome != OUTCOME_OK)
        return outcome;
    if (fit == FITS_NOT) {
        log_error("could not tell the columns of table \"%s.%s\" at " LSN_FMT, t->schema, t->name,
                  LSN_ARGS(c->lsn ? c->lsn : e->lsn));
        return OUTCOME_FAILED;
    }
    fill_event(ts, d, t, c, old_kind, e);
    return OUTCOME_OK;
}

enum outcome tables_truncate(struct tables *ts, struct decoder *d, const struct sent_table *names,
                             uint32_t n, struct event *e)
{
    const struct sent_change nothing = {.op = OP_TRUNCATE};

    decoder_reserve_truncated(d, n);
    e->ntruncated = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct table *t = find(ts, names[i].schema, names[i].table);

        if (!t->relation || t->version != t->relation->version ||
            is_due(ts, t, table_is_fresh(t, d))) {
            enum outcome outcome = table_look(ts, t, d, &nothing, false);

            if (outcome != OUTCOME_OK)
                return outcome;
        }
        if (!t->elsewhere)
            d->truncated[e->ntruncated++] = t->relation;
    }
    e->kind = e->ntruncated ? EVENT_TRUNCATE : EVENT_NONE;
    e->transaction = &d->transaction;
    e->relations = d->truncated;
    return OUTCOME_OK;
}
