#include "decode/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { DOUBT_USEC = 50000, REFRESH_USEC = 2000000 };

/* A column as messages name it. */
struct named_column {
    char *name;
    uint32_t name_len;
    char *type; /* as sent last; NULL = not yet */
    uint32_t type_len;
    uint32_t type_oid; /* likewise; 0 = not said */
    uint16_t position; /* among the relation's columns */
    uint16_t number_in_table; /* 0 = not known */
    uint32_t since;    /* the transaction that has made it what it is, as the catalogs say; ... */
    bool settled;      /* ... which is known to have ended before */
    bool left_out;     /* has no place among them */
    bool identity;
    bool candidate;
    bool nullable;
    bool toastable;
    bool number;
    bool warned; /* a lost value has been warned about */
};

/* A table under the name that messages have for it. */
struct table {
    char *schema;
    char *name;
    uint32_t schema_len;
    uint32_t name_len;
    struct relation *relation; /* that its rows are given as; NULL until looked at */
    uint32_t version;          /* of the relation, that the columns here were made for */
    uint32_t generation;       /* when the catalogs were asked last, */
    uint32_t epoch;            /* likewise */
    uint64_t transaction;      /* and in which transaction */
    uint32_t own_oid;
    bool elsewhere;
    bool captured;
    bool full;  /* old rows are whole, but for nulls */
    bool shown; /* messages have had another replica identity than the catalogs */
    uint32_t since;
    struct named_column *columns; /* in the order of messages */
    uint16_t ncolumns;
};

/* A look into the catalogs: transactions before floor had ended, those from ceiling on not begun. */
struct horizon {
    uint32_t floor;
    uint32_t ceiling;
};

enum { HORIZONS = 16, ENDED = 256 };

struct tables {
    unsigned ways;
    struct table **all;
    uint32_t count;
    struct table **buckets; /* open addressing; NULL = free */
    uint32_t nbuckets;      /* a power of two, or 0 */
    struct table *last;
    uint32_t generation; /* counts up every DOUBT_USEC */
    uint32_t epoch;      /* counts up every REFRESH_USEC, and with the former when there is reason */
    bool suspect;
    bool warned; /* that a null may be a lost number */
    usec_t since;        /* ticks when they counted up last */
    usec_t epoch_since;
    uint64_t transactions; /* begun so far */
    struct horizon horizons[HORIZONS]; /* the last ones, in turn */
    uint32_t nhorizons;
    uint32_t ended[ENDED]; /* transactions that the stream has had last, in turn */
    uint32_t nended;
    uint32_t nameless;   /* OIDs given to tables that are no more */
};

struct tables *tables_new(unsigned ways)
{
    struct tables *ts = xcalloc(1, sizeof *ts);

    ts->ways = ways;
    ts->generation = ts->epoch = 1;
    return ts;
}

static void clear_columns(struct table *t)
{
    for (int i = 0; i < t->ncolumns; i++) {
        free(t->columns[i].name);
        free(t->columns[i].type);
    }
    free(t->columns);
    t->columns = NULL;
    t->ncolumns = 0;
}

void tables_free(struct tables *ts)
{
    if (!ts)
        return;
    for (uint32_t i = 0; i < ts->count; i++) {
        clear_columns(ts->all[i]);
        free(ts->all[i]->schema);
        free(ts->all[i]->name);
        free(ts->all[i]);
    }
    free(ts->all);
    free(ts->buckets);
    free(ts);
}

void description_release(struct description *d)
{
    for (int i = 0; i < d->ncolumns; i++) {
        free(d->columns[i].name);
        free(d->columns[i].type);
        free(d->columns[i].bare_type);
    }
    free(d->columns);
    free(d->schema);
    free(d->name);
    *d = (struct description){0};
}

/* ---- when the catalogs are to be asked again ---- */

/*
 * A message that can be read in two ways is read by what the catalogs say, and they are asked every
 * so often for that (or, where more is at stake, once in the transaction).  What no message shows,
 * as another replica identity, is found out by asking about each table in use now and then, and
 * sooner when a transaction has passed that may have changed them.
 */
void tables_transaction_begins(struct tables *ts)
{
    usec_t now = clock_ticks();

    ts->transactions++;
    if (now - ts->since < DOUBT_USEC)
        return;
    ts->since = now;
    ts->generation++;
    if (!ts->suspect && now - ts->epoch_since < REFRESH_USEC)
        return;
    ts->suspect = false;
    ts->epoch_since = now;
    ts->epoch++;
}

void tables_transaction_ends(struct tables *ts, uint32_t xid, bool changed)
{
    ts->suspect |= !changed;
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

static uint32_t without_modifier(const char *type, uint32_t len)
{
    const char *end = len ? memchr(type, '(', len) : NULL;

    return end ? (uint32_t)(end - type) : len;
}

/* Old rows may lack the modifier. */
static bool has_type(const struct named_column *c, const struct sent_column *sent, bool old)
{
    uint32_t len = old ? without_modifier(sent->type.data, sent->type.len) : sent->type.len;
    uint32_t have = old && c->type ? without_modifier(c->type, c->type_len) : c->type_len;

    if (!c->type || c->type_oid != sent->type_oid)
        return false;
    if (old && sent->type_oid && (len == 0 || have == 0))
        return true; /* decoderbufs has the types of new rows only */
    return have == len && (len == 0 || memcmp(c->type, sent->type.data, len) == 0);
}

/* The column that was sent, from *next on: messages have them in the table's order. */
static struct named_column *locate(const struct table *t, const struct sent_column *sent, bool old,
                                   uint16_t *next)
{
    for (uint16_t i = *next; i < t->ncolumns; i++) {
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
        if (c->left_out && sent->columns[j].value.kind == VALUE_TEXT)
            return false;
        if (c->left_out)
            continue;
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

/* Whether transaction a is before b, as numbers that wrap around. */
static bool precedes(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/*
 * Whether transaction `since`, which has changed a table's definition, had ended before the one at
 * hand has changed the table.  That its number is smaller does not tell: it may have ended later.
 * Ended before it in the stream it has, as the one waits for the other's lock.
 */
static bool had_ended(const struct tables *ts, const struct decoder *d, uint32_t since)
{
    enum { FIRST_NORMAL = 3 };
    uint32_t xid = d->transaction.xid;

    if (since < FIRST_NORMAL || (d->settled && precedes(since, d->settled)))
        return true;
    for (uint32_t i = 0; i < ts->nended && i < ENDED; i++)
        if (ts->ended[i] == since)
            return true;
    for (uint32_t i = 0; i < ts->nhorizons && i < HORIZONS; i++)
        if (precedes(since, ts->horizons[i].floor) && !precedes(xid, ts->horizons[i].ceiling))
            return true;
    return false;
}

/*
 * Old rows of most plugins lack what is null and what is not part of the identity, and the two look
 * alike.  Nulls are made of what is missing only where it is sure that the identity was FULL.
 */
static enum fit place_old(struct tables *ts, const struct decoder *d, const struct table *t,
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
        return t->elsewhere ? FITS_MAYBE : FITS_NOT;
    if (!t->full)
        return FITS;
    if (c->old_has_nulls || !look.required || !had_ended(ts, d, t->since))
        return FITS_MAYBE;
    *kind = OLD_FULL;
    return look.more_than_key ? FITS : FITS_DOUBTFUL;
}

static enum fit try(struct tables *ts, const struct decoder *d, const struct table *t,
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

/* ---- what the catalogs say, beside the message ---- */

/* A column of the relation that is to be made: of the message, of the catalogs, known, or several. */
struct source {
    const struct sent_column *sent;
    const struct described_column *described;
    const struct named_column *known;
    bool omitted; /* from the new row, which does not have its value */
};

struct sources {
    struct source *list;
    uint16_t n;
    uint16_t cap;
};

static void add_source(struct sources *s, struct source source)
{
    if (s->n < s->cap)
        s->list[s->n++] = source;
}

static bool same_name(struct slice a, struct slice b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static struct slice name_of(const struct described_column *c)
{
    return (struct slice){c->name, (uint32_t)strlen(c->name)};
}

/* The column of that name, which is most likely number `guess`. */
static const struct described_column *described(const struct description *x, struct slice name,
                                                uint32_t guess)
{
    for (uint32_t n = 0; n < x->ncolumns; n++) {
        const struct described_column *c = &x->columns[(guess + n) % x->ncolumns];

        if (same_name(name_of(c), name))
            return c;
    }
    return NULL;
}

static struct slice source_name(const struct source *s)
{
    if (s->sent)
        return s->sent->name;
    if (s->known)
        return (struct slice){s->known->name, s->known->name_len};
    return name_of(s->described);
}

static const struct sent_column *sent_as(const struct sent_row *row, struct slice name)
{
    for (uint32_t i = 0; i < row->n; i++)
        if (same_name(row->columns[i].name, name))
            return &row->columns[i];
    return NULL;
}

static bool is_in(const struct sources *s, struct slice name)
{
    for (int i = 0; i < s->n; i++)
        if (same_name(source_name(&s->list[i]), name))
            return true;
    return false;
}

/* What a relation is made of. */
struct look {
    const struct tables *ts;
    const struct decoder *d;
    const struct table *t;
    const struct description *x;
    const struct sent_change *c;
    bool omits; /* the new row may lack columns */
    bool shown; /* the old row, which is no whole row, shows another identity than the catalogs do */
};

/*
 * A column that the catalogs have under another name.  Which of the names it had is not known: it has
 * the new one if that was there before the change.
 */
static struct source renamed(const struct look *l, const struct named_column *known)
{
    for (int i = 0; i < l->x->ncolumns; i++) {
        const struct described_column *desc = &l->x->columns[i];

        if (!known->number_in_table || desc->number_in_table != known->number_in_table ||
            l->x->own_oid != l->t->own_oid)
            continue;
        return (struct source){.described = desc,
                               .known = had_ended(l->ts, l->d, desc->since) ? NULL : known};
    }
    return (struct source){.known = known};
}

/* Column i of those that are known or, without any, of those that the catalogs have. */
static struct source usual(const struct look *l, uint32_t i)
{
    const struct named_column *known;
    const struct described_column *desc;

    if (!l->t->relation)
        return (struct source){.described = &l->x->columns[i]};
    known = &l->t->columns[i];
    desc = described(l->x, (struct slice){known->name, known->name_len}, i);
    return desc ? (struct source){.described = desc, .known = known} : renamed(l, known);
}

static uint32_t count_usual(const struct look *l)
{
    return l->t->relation ? l->t->ncolumns : l->x->ncolumns;
}

/* The number of the usual column of that name from number i on; the count of them if there is none. */
static uint32_t find_usual(const struct look *l, struct slice name, uint32_t i)
{
    for (; i < count_usual(l); i++) {
        struct source source = usual(l, i);

        if (same_name(source_name(&source), name))
            break;
    }
    return i;
}

/* Usual columns that are not in the message, and that it may have left out. */
static void add_omitted(const struct look *l, struct sources *s, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct source source = usual(l, i);
        struct slice name = source_name(&source);

        if (sent_as(&l->c->new_row, name) || is_in(s, name))
            continue;
        source.omitted = true;
        source.sent = sent_as(&l->c->old_row, name);
        if (source.sent || (source.described && source.described->toastable) ||
            (source.known && !source.known->number_in_table)) /* gone, but when? */
            add_source(s, source);
    }
}

static bool is_known(const struct look *l, const struct described_column *desc)
{
    for (int i = 0; i < l->t->ncolumns; i++) {
        const struct named_column *c = &l->t->columns[i];

        if (same_name((struct slice){c->name, c->name_len},
                      name_of(desc)) ||
            (c->number_in_table == desc->number_in_table && l->x->own_oid == l->t->own_oid))
            return true;
    }
    return false;
}

/* One that was there before, and that no message has had so far. */
static void add_unknown(const struct look *l, struct sources *s, const struct described_column *desc)
{
    if (desc->toastable && !is_known(l, desc) && had_ended(l->ts, l->d, desc->since) &&
        !is_in(s, name_of(desc)))
        add_source(s, (struct source){.described = desc, .omitted = true});
}

/* The row is complete, or lacks what can be stored out of line; that has its usual place. */
static void sources_of_new(const struct look *l, struct sources *s)
{
    const struct sent_row *row = &l->c->new_row;
    uint32_t next = 0;

    for (uint32_t j = 0; j < row->n; j++) {
        const struct sent_column *sent = &row->columns[j];
        uint32_t place = l->omits ? find_usual(l, sent->name, next) : 0;

        if (is_in(s, sent->name))
            continue;
        if (l->omits && place < count_usual(l)) {
            add_omitted(l, s, next, place);
            next = place + 1;
        }
        add_source(s, (struct source){.sent = sent, .described = described(l->x, sent->name, j)});
    }
    if (!l->omits)
        return;
    add_omitted(l, s, 0, count_usual(l));
    for (uint32_t j = 0; j < l->c->old_row.n; j++)
        if (!is_in(s, l->c->old_row.columns[j].name))
            add_source(s, (struct source){.sent = &l->c->old_row.columns[j], .omitted = true});
    for (uint32_t i = 0; l->t->relation && i < l->x->ncolumns; i++)
        add_unknown(l, s, &l->x->columns[i]);
}

/* Without a new row: the columns that are known, and those of the old row. */
static void sources_of_rest(const struct look *l, struct sources *s)
{
    const struct sent_row *old = &l->c->old_row;

    for (uint32_t i = 0; i < count_usual(l); i++) {
        struct source source = usual(l, i);

        source.sent = sent_as(old, source_name(&source));
        add_source(s, source);
    }
    for (uint32_t j = 0; j < old->n; j++)
        if (!is_in(s, old->columns[j].name))
            add_source(s, (struct source){.sent = &old->columns[j],
                                          .described = described(l->x, old->columns[j].name, j)});
}

/* ---- types ---- */

/* Plugins differ in what they quote: quotes are passed over on both sides. */
static bool same_type_text(struct slice sent, const char *type)
{
    const char *p = sent.data, *end = sent.data + sent.len;

    for (;; p++, type++) {
        while (p < end && *p == '"')
            p++;
        while (*type == '"')
            type++;
        if (p == end || !*type)
            return p == end && !*type;
        if (*p != *type)
            return false;
    }
}

static bool is_described_type(const struct look *l, const struct sent_column *sent,
                              const struct described_column *d)
{
    if (sent->type_oid && sent->type_oid != d->type_oid)
        return false;
    return sent->type.len == 0 || same_type_text(sent->type, d->type) ||
           ((l->ts->ways & TABLES_BARE_TYPES) && same_type_text(sent->type, d->bare_type));
}

static enum outcome find_type(const struct describer *who, const struct sent_column *sent,
                              uint32_t *oid)
{
    char *type;
    enum outcome outcome;

    *oid = sent->type_oid;
    if (*oid || sent->type.len == 0)
        return OUTCOME_OK;
    type = xstrndup(sent->type.data, sent->type.len);
    outcome = who->find_type(who->arg, type, oid);
    free(type);
    return outcome;
}

/* The type modifier of what format_type() writes with a precision or length; -1 = has none. */
static int32_t modifier(struct slice type)
{
    static const struct {
        const char *name;
        int32_t header; /* what PostgreSQL adds to it */
    } known[] = {
        {"numeric(", 4}, {"character varying(", 4}, {"character(", 4}, {"bit(", 0},
        {"bit varying(", 0}, {"timestamp(", 0}, {"time(", 0},
    };
    char text[64];
    unsigned length;
    int scale = 0;

    snprintf(text, sizeof text, "%.*s", (int)(type.len < sizeof text ? type.len : 0), type.data);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t len = strlen(known[i].name);

        if (strncmp(text, known[i].name, len) != 0 ||
            sscanf(text + len, "%u,%d", &length, &scale) < 1 || length > 10485760)
            continue;
        if (i == 0)
            length = length << 16 | ((unsigned)scale & 0x7ff);
        return (int32_t)length + known[i].header;
    }
    return -1;
}

static enum outcome choose_type(const struct look *l, const struct source *s,
                                struct column *column)
{
    const struct table *t = l->t;
    bool kept = s->known && s->known->type && !s->known->left_out &&
                t->version == t->relation->version;
    const struct column *before = kept ? &t->relation->columns[s->known->position] : NULL;

    column->typmod = s->sent ? modifier(s->sent->type) : -1;
    if (s->sent && !(s->described && is_described_type(l, s->sent, s->described)))
        return find_type(l->d->describer, s->sent, &column->type_oid);
    if (!s->sent && before) { /* what messages have said of it holds */
        column->type_oid = before->type_oid;
        column->typmod = before->typmod;
    } else if (s->described) {
        column->type_oid = s->described->type_oid;
        column->typmod = s->described->typmod;
    }
    return OUTCOME_OK;
}

/* ---- the relation ---- */

/* What is sent for a virtual column is null; a value says that it was another one. */
static bool is_left_out(const struct source *s)
{
    return s->described && s->described->computed_late &&
           !(s->sent && s->sent->value.kind == VALUE_TEXT);
}

/* The place of column i: rows of a partition are in the order of the table above it. */
static uint16_t rank(const struct sources *s, const struct description *x, int i)
{
    const struct described_column *mine = s->list[i].described;
    uint16_t before = 0;

    for (int j = 0; j < s->n; j++) {
        const struct described_column *other = s->list[j].described;
        bool first = j < i;

        if (is_left_out(&s->list[j]))
            continue;
        if (x->elsewhere && (mine || other))
            first = mine && other ? other->position < mine->position : other != NULL;
        before = (uint16_t)(before + (j != i && first));
    }
    return before;
}

static bool was_identity(const struct look *l, struct slice name)
{
    for (int i = 0; i < l->t->ncolumns; i++)
        if (same_name((struct slice){l->t->columns[i].name, l->t->columns[i].name_len}, name))
            return l->t->columns[i].identity;
    return false;
}

/* What messages have shown holds until others show something else. */
static bool is_identity(const struct look *l, const struct source *s)
{
    if (l->shown)
        return sent_as(&l->c->old_row, source_name(s)) != NULL;
    if (l->t->shown)
        return was_identity(l, source_name(s));
    return s->described && s->described->identity;
}

/*
 * An old row that is not whole is the replica identity, as it was then.  One of a table that has
 * identity FULL now may lack nulls only.  Of a table that is no more nothing else is known.
 */
static bool shows_identity(const struct look *l, const struct sources *s)
{
    bool whole = true, required = true, same = true;

    if (!l->c->old_sent || l->x->elsewhere)
        return false;
    if (!l->x->exists)
        return true;
    for (int i = 0; i < s->n; i++) {
        const struct described_column *desc = s->list[i].described;
        bool sent = sent_as(&l->c->old_row, source_name(&s->list[i])) != NULL;

        if (is_left_out(&s->list[i]))
            continue;
        whole &= sent;
        required &= sent || !desc || desc->nullable;
        same &= sent == (desc && desc->identity);
    }
    return !whole && !same && (l->x->own_identity != 'f' || !required || l->c->old_has_nulls);
}

static enum outcome make_relation(const struct look *l, const struct sources *s, struct relation *r)
{
    const struct description *x = l->x;
    const struct table *t = l->t;

    r->schema = xstrdup(x->exists ? x->schema : t->schema);
    r->name = xstrdup(x->exists ? x->name : t->name);
    r->identity = x->exists ? x->identity : 'd';
    r->columns = xcalloc(s->n, sizeof *r->columns);
    for (int i = 0; i < s->n; i++) {
        struct slice name = source_name(&s->list[i]);
        struct column *column = &r->columns[rank(s, x, i)];
        enum outcome outcome;

        if (is_left_out(&s->list[i]))
            continue;
        r->ncolumns++;
        column->name = xstrndup(name.data, name.len);
        column->identity = column->key = is_identity(l, &s->list[i]);
        outcome = choose_type(l, &s->list[i], column);
        if (outcome != OUTCOME_OK) {
            r->ncolumns = s->n; /* cleared by it: columns that are not made yet are empty */
            return outcome;
        }
    }
    return OUTCOME_OK;
}

/* As far as the message says. */
static bool is_number(const struct sent_column *sent)
{
    enum { FLOAT4_OID = 700, FLOAT8_OID = 701, NUMERIC_OID = 1700 };

    return sent && (sent->type_oid == FLOAT4_OID || sent->type_oid == FLOAT8_OID ||
                    sent->type_oid == NUMERIC_OID);
}

static struct named_column name_column(const struct look *l, const struct sources *s, int i)
{
    const struct source *source = &s->list[i];
    struct slice name = source_name(source);
    const struct described_column *desc = source->described;
    struct named_column column = {
        .name = xstrndup(name.data, name.len),
        .name_len = name.len,
        .left_out = is_left_out(source),
        .number_in_table = desc ? desc->number_in_table
                           : source->known ? source->known->number_in_table : 0,
        .position = is_left_out(source) ? 0 : rank(s, l->x, i),
        .identity = is_identity(l, source),
        .candidate = !desc || desc->candidate,
        .nullable = !desc || desc->nullable || !had_ended(l->ts, l->d, desc->since),
        .toastable = source->omitted || !desc || desc->toastable,
        .since = desc ? desc->since : 0,
        .number = (desc && desc->number) || is_number(source->sent),
    };

    if (source->sent) {
        column.type = source->sent->type.len
                          ? xstrndup(source->sent->type.data, source->sent->type.len)
                          : xstrdup("");
        column.type_len = source->sent->type.len;
        column.type_oid = source->sent->type_oid;
    } else if (source->known && source->known->type) {
        column.type = xstrdup(source->known->type);
        column.type_len = source->known->type_len;
        column.type_oid = source->known->type_oid;
    }
    return column;
}

static void keep(struct tables *ts, struct table *t, const struct look *l, const struct sources *s)
{
    const struct description *x = l->x;
    struct named_column *columns = xcalloc(s->n, sizeof *columns);

    for (int i = 0; i < s->n; i++)
        columns[i] = name_column(l, s, i);
    clear_columns(t);
    t->columns = columns;
    t->ncolumns = s->n;
    t->elsewhere = x->elsewhere;
    t->captured = !x->uncaptured;
    t->full = x->exists && x->own_identity == 'f' && !l->shown;
    t->shown = l->shown || (t->shown && x->own_oid == t->own_oid && !l->c->old_sent);
    t->since = x->since;
    t->own_oid = x->own_oid;
    t->generation = ts->generation;
    t->epoch = ts->epoch;
    t->transaction = ts->transactions;
}

/* One that stands for a table without one, and that no table has. */
static uint32_t choose_oid(struct tables *ts, struct decoder *d, const struct table *t,
                           const struct description *x)
{
    if (x->exists)
        return x->oid;
    if (t->relation && !t->elsewhere)
        return t->relation->oid;
    while (relations_find(&d->relations, UINT32_MAX - ts->nameless))
        ts->nameless++;
    return UINT32_MAX - ts->nameless;
}

static enum outcome rebuild(struct tables *ts, struct table *t, struct decoder *d,
                            const struct sent_change *c, const struct description *x)
{
    struct look l = {
        .ts = ts, .d = d, .t = t, .x = x, .c = c,
        .omits = c->op == OP_UPDATE && (ts->ways & TABLES_OMIT_UNCHANGED),
    };
    uint32_t most = c->new_row.n + c->old_row.n + x->ncolumns + t->ncolumns;
    struct sources s = {.cap = (uint16_t)(most < UINT16_MAX ? most : UINT16_MAX)};
    struct relation r = {.oid = choose_oid(ts, d, t, x)};
    enum outcome outcome;
    bool changed;

    s.list = xcalloc(s.cap, sizeof *s.list);
    if (c->op == OP_INSERT || c->op == OP_UPDATE)
        sources_of_new(&l, &s);
    else
        sources_of_rest(&l, &s);
    l.shown = shows_identity(&l, &s);
    outcome = make_relation(&l, &s, &r);
    if (outcome == OUTCOME_OK && r.ncolumns > RELATION_MAX_COLUMNS) {
        log_error("table \"%s.%s\" has %d columns at " LSN_FMT, t->schema, t->name, r.ncolumns,
                  LSN_ARGS(c->lsn));
        outcome = OUTCOME_FAILED;
    }
    if (outcome == OUTCOME_OK) {
        keep(ts, t, &l, &s);
        t->relation = relations_put(&d->relations, &r, &changed);
        t->version = t->relation->version;
    } else {
        relation_clear(&r);
    }
    free(s.list);
    return outcome;
}

/* Asks the catalogs and makes the relation that the message needs. */
static enum outcome ask(struct tables *ts, struct table *t, struct decoder *d,
                         const struct sent_change *c)
{
    struct description x = {0};
    enum outcome outcome = d->describer->describe(d->describer->arg, t->schema, t->name, &x);

    if (outcome == OUTCOME_OK && x.exists)
        ts->horizons[ts->nhorizons++ % HORIZONS] = (struct horizon){x.floor, x.ceiling};
    if (outcome == OUTCOME_OK)
        outcome = rebuild(ts, t, d, c, &x);
    description_release(&x);
    return outcome;
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

/* In columns that are sure to have been there. */
static void nulls_for_absent(const struct tables *ts, const struct decoder *d, struct table *t,
                             struct value *row)
{
    for (int i = 0; i < t->ncolumns; i++) {
        struct named_column *c = &t->columns[i];

        if (c->left_out || row[c->position].kind != VALUE_ABSENT || !c->number_in_table)
            continue;
        c->settled = c->settled || had_ended(ts, d, c->since);
        if (c->settled)
            row[c->position].kind = VALUE_NULL;
    }
}

static void fill_event(const struct tables *ts, struct decoder *d, struct table *t,
                       const struct sent_change *c, enum old_row old_kind, struct event *e)
{
    if (old_kind == OLD_KEY && c->op == OP_UPDATE && (ts->ways & TABLES_REPEAT_KEY) &&
        repeats_key(d, t))
        old_kind = OLD_NONE;
    if (old_kind == OLD_FULL && !c->old_has_nulls)
        nulls_for_absent(ts, d, t, d->old_row);
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
    enum outcome outcome = t->relation ? OUTCOME_OK : ask(ts, t, d, &nothing);

    *captured = t->captured;
    return outcome;
}

enum outcome tables_change(struct tables *ts, struct decoder *d, const struct sent_change *c,
                           struct event *e)
{
    struct table *t = find(ts, c->schema, c->table);
    enum old_row old_kind = OLD_NONE;
    enum fit fit = try(ts, d, t, c, &old_kind);

    if (fit == FITS_NOT || (fit == FITS_MAYBE && t->generation != ts->generation) ||
        (fit == FITS_DOUBTFUL && t->transaction != ts->transactions) || t->epoch != ts->epoch) {
        enum outcome outcome = ask(ts, t, d, c);

        if (outcome != OUTCOME_OK)
            return outcome;
        fit = try(ts, d, t, c, &old_kind);
    }
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

        if (!t->relation || t->version != t->relation->version || t->epoch != ts->epoch) {
            enum outcome outcome = ask(ts, t, d, &nothing);

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
