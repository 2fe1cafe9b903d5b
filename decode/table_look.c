#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/table_internal.h"

void description_release(struct description *d)
{
    for (int i = 0; i < d->ncolumns; i++) {
        free(d->columns[i].name);
        free(d->columns[i].type);
        free(d->columns[i].bare_type);
    }
    free(d->columns);
    free(d->dropped);
    free(d->schema);
    free(d->name);
    *d = (struct description){0};
}

void table_clear_columns(struct table *t)
{
    for (int i = 0; i < t->ncolumns; i++) {
        free(t->columns[i].name);
        free(t->columns[i].type);
    }
    free(t->columns);
    t->columns = NULL;
    t->ncolumns = 0;
}

/* Whether transaction a is before b, as numbers that wrap around. */
static bool precedes(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

bool table_had_ended(const struct tables *ts, const struct decoder *d, uint32_t since)
{
    enum { FIRST_NORMAL = 3 };
    uint32_t xid = d->transaction.xid;

    if (since < FIRST_NORMAL || (d->settled && precedes(since, d->settled)))
        return true;
    for (uint32_t i = 0; i < ts->nended && i < ENDED; i++)
        if (ts->ended[i] == since)
            return true;
    for (uint32_t i = 0; i < ts->nhorizons && i < HORIZONS; i++)
        if (ts->horizons[i].floor && precedes(since, ts->horizons[i].floor) &&
            !precedes(xid, ts->horizons[i].ceiling))
            return true;
    return false;
}

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

/* Before number `at`. */
static void insert_source(struct sources *s, uint16_t at, struct source source)
{
    if (s->n == s->cap)
        return;
    memmove(s->list + at + 1, s->list + at, (size_t)(s->n - at) * sizeof *s->list);
    s->list[at] = source;
    s->n++;
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

/* Who says what the replica identity is. */
enum identity_source {
    IDENTITY_OF_CATALOGS,
    IDENTITY_OF_MESSAGE, /* its old row, which is no whole row */
    IDENTITY_AS_KNOWN,   /* an earlier message, which the catalogs contradict */
};

/* What a relation is made of. */
struct look {
    const struct tables *ts;
    const struct decoder *d;
    const struct table *t;
    const struct description *x;
    const struct sent_change *c;
    bool omits;   /* the new row may lack columns */
    bool current; /* the catalogs' columns are those that the change has met */
    enum identity_source identity;
};

/* Whether all that the catalogs say of the table's columns had happened before the change. */
static bool is_current(const struct look *l)
{
    bool current = l->x->exists;

    for (int i = 0; i < l->x->ncolumns && current; i++)
        current = table_had_ended(l->ts, l->d, l->x->columns[i].since);
    for (int i = 0; i < l->x->ndropped && current; i++)
        current = table_had_ended(l->ts, l->d, l->x->dropped[i].since);
    return current;
}

/* Whether the column had been dropped before; one without a number when all that are dropped had. */
static bool is_gone(const struct look *l, const struct named_column *known)
{
    bool all = l->x->ndropped > 0;

    for (int i = 0; i < l->x->ndropped; i++) {
        bool gone = table_had_ended(l->ts, l->d, l->x->dropped[i].since);

        if (known->number_in_table && l->x->dropped[i].number_in_table == known->number_in_table)
            return gone;
        all &= gone;
    }
    return all && !known->number_in_table;
}

/*
 * A column that the catalogs have under another name.  Which of the names it had is not known: it has
 * the new one if that was there before the change.
 */
static struct source renamed(const struct look *l, const struct named_column *known)
{
    bool same_table = l->x->exists && l->x->own_oid == l->t->own_oid;

    for (int i = 0; i < l->x->ncolumns && same_table && known->number_in_table; i++) {
        const struct described_column *desc = &l->x->columns[i];

        if (desc->number_in_table != known->number_in_table)
            continue;
        if (sent_as(&l->c->new_row, name_of(desc)) || sent_as(&l->c->old_row, name_of(desc)))
            return (struct source){0}; /* the message has the new name */
        return (struct source){.described = desc,
                               .known = table_had_ended(l->ts, l->d, desc->since) ? NULL : known};
    }
    if (same_table && is_gone(l, known))
        return (struct source){0};
    return (struct source){.known = known};
}

/* Whether the columns that messages have shown count, and not those that the catalogs have. */
static bool goes_by_known(const struct look *l)
{
    return l->t->relation && !l->current && !(l->x->exists && l->x->own_oid != l->t->own_oid);
}

/* Column i of those that are known, or that the catalogs have; nothing = it is not there any more. */
static struct source usual(const struct look *l, uint32_t i)
{
    const struct named_column *known;
    const struct described_column *desc;

    if (!goes_by_known(l))
        return (struct source){.described = &l->x->columns[i]};
    known = &l->t->columns[i];
    desc = described(l->x, (struct slice){known->name, known->name_len}, i);
    if (desc && known->number_in_table && desc->number_in_table != known->number_in_table &&
        l->x->own_oid == l->t->own_oid)
        desc = NULL; /* another one has that name now */
    return desc ? (struct source){.described = desc, .known = known} : renamed(l, known);
}

static uint32_t count_usual(const struct look *l)
{
    return goes_by_known(l) ? l->t->ncolumns : l->x->ncolumns;
}

static bool is_nothing(const struct source *s)
{
    return !s->sent && !s->described && !s->known;
}

/* The number of the usual column of that name from number i on; the count of them if there is none. */
static uint32_t find_usual(const struct look *l, struct slice name, uint32_t i)
{
    for (; i < count_usual(l); i++) {
        struct source source = usual(l, i);

        if (!is_nothing(&source) && same_name(source_name(&source), name))
            break;
    }
    return i;
}

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

/* What messages have said of its type. */
static struct sent_column type_as_known(const struct named_column *known)
{
    return (struct sent_column){
        .type = {known->type, known->type_len}, .type_oid = known->type_oid,
    };
}

static bool is_shown_type(const struct named_column *known, const struct sent_column *sent)
{
    return known->type_oid == sent->type_oid &&
           same_name((struct slice){known->type, known->type_len}, sent->type);
}

/* Whether the catalogs still have the type that messages have shown; as far as they have. */
static bool is_type_as_known(const struct look *l, const struct named_column *known,
                             const struct described_column *desc)
{
    const struct sent_column shown = type_as_known(known);

    return !known->type || is_described_type(l, &shown, desc);
}

/* Whether values of a column that is not in the message can be stored out of line. */
static bool is_usually_toastable(const struct look *l, const struct source *s)
{
    if (s->described && (!s->known || is_type_as_known(l, s->known, s->described) ||
                         table_had_ended(l->ts, l->d, s->described->since)))
        return s->described->toastable;
    return s->known && s->known->toastable;
}

/* Usual columns that are not in the message, and that it may have left out. */
static void add_omitted(const struct look *l, struct sources *s, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct source source = usual(l, i);
        struct slice name;

        if (is_nothing(&source))
            continue;
        name = source_name(&source);
        if (sent_as(&l->c->new_row, name) || is_in(s, name))
            continue;
        source.omitted = true;
        source.sent = sent_as(&l->c->old_row, name);
        if (source.sent || ((source.described || !source.known->number_in_table) &&
                            is_usually_toastable(l, &source)))
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

/* A column that is virtual now and has a value was another one then. */
static const struct described_column *described_as(const struct look *l,
                                                   const struct sent_column *sent, uint32_t guess)
{
    const struct described_column *desc = described(l->x, sent->name, guess);
    const struct sent_column *old = sent_as(&l->c->old_row, sent->name);

    if (desc && desc->computed_late &&
        (sent->value.kind != VALUE_NULL || (old && old->value.kind != VALUE_NULL)))
        return NULL;
    return desc;
}

/* Columns of the old row that nothing else has, each behind the one that is before it there. */
static void add_rest_of_old(const struct look *l, struct sources *s)
{
    const struct sent_row *old = &l->c->old_row;
    uint16_t at = 0;

    for (uint32_t j = 0; j < old->n; j++) {
        uint16_t i = 0;

        while (i < s->n && !same_name(source_name(&s->list[i]), old->columns[j].name))
            i++;
        if (i == s->n)
            insert_source(s, i = at, (struct source){
                                         .sent = &old->columns[j],
                                         .described = described_as(l, &old->columns[j], j),
                                         .omitted = l->omits});
        at = (uint16_t)(i + 1);
    }
}

/* One that was there before, and that no message has had so far. */
static void add_unknown(const struct look *l, struct sources *s, const struct described_column *desc)
{
    if (desc->toastable && !is_known(l, desc) && table_had_ended(l->ts, l->d, desc->since) &&
        !is_in(s, name_of(desc)))
        add_source(s, (struct source){.described = desc, .omitted = true});
}

static const struct named_column *known_as(const struct look *l, struct slice name)
{
    for (int i = 0; i < l->t->ncolumns && l->x->own_oid == l->t->own_oid; i++)
        if (same_name((struct slice){l->t->columns[i].name, l->t->columns[i].name_len}, name))
            return &l->t->columns[i];
    return NULL;
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
        add_source(s, (struct source){.sent = sent,
                                      .described = described_as(l, sent, j),
                                      .known = known_as(l, sent->name)});
    }
    if (!l->omits)
        return;
    add_omitted(l, s, 0, count_usual(l));
    add_rest_of_old(l, s);
    for (uint32_t i = 0; goes_by_known(l) && i < l->x->ncolumns; i++)
        add_unknown(l, s, &l->x->columns[i]);
}

/* Without a new row: the columns that are known, and those of the old row. */
static void sources_of_rest(const struct look *l, struct sources *s)
{
    const struct sent_row *old = &l->c->old_row;

    for (uint32_t i = 0; i < count_usual(l); i++) {
        struct source source = usual(l, i);

        if (is_nothing(&source) || is_in(s, source_name(&source)))
            continue;
        source.sent = sent_as(old, source_name(&source));
        add_source(s, source);
    }
    add_rest_of_old(l, s);
    for (uint32_t i = 0; goes_by_known(l) && i < l->x->ncolumns; i++)
        if (!is_known(l, &l->x->columns[i]) && !is_in(s, name_of(&l->x->columns[i])) &&
            table_had_ended(l->ts, l->d, l->x->columns[i].since))
            add_source(s, (struct source){.described = &l->x->columns[i]});
}

/* ---- types ---- */

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

/* An old row may have no more than the OID of a type that new rows have told of. */
static bool says_less(const struct sent_column *sent, const struct named_column *known)
{
    return known && known->type && sent->type_oid && sent->type.len == 0 && known->type_len > 0 &&
           sent->type_oid == known->type_oid;
}

/* What messages have said of a column's type holds, unless it has been changed since. */
static bool keeps_type(const struct look *l, const struct source *s)
{
    if (!s->known || !s->known->type)
        return false;
    return s->sent || !s->described || is_type_as_known(l, s->known, s->described) ||
           !table_had_ended(l->ts, l->d, s->described->since);
}

static enum outcome choose_type(const struct look *l, const struct source *s,
                                struct column *column)
{
    const struct table *t = l->t;
    bool same_relation = t->relation && t->version == t->relation->version;
    bool kept = keeps_type(l, s) && (!s->sent || says_less(s->sent, s->known));
    struct sent_column shown;

    if (kept && same_relation && !s->known->left_out) {
        column->type_oid = t->relation->columns[s->known->position].type_oid;
        column->typmod = t->relation->columns[s->known->position].typmod;
        return OUTCOME_OK;
    }
    shown = kept ? type_as_known(s->known) : s->sent ? *s->sent : (struct sent_column){0};
    column->typmod = modifier(shown.type);
    if ((kept || s->sent) && !(s->described && is_described_type(l, &shown, s->described)))
        return find_type(l->d->describer, &shown, &column->type_oid);
    if (s->described) {
        column->type_oid = s->described->type_oid;
        column->typmod = s->described->typmod;
    }
    return OUTCOME_OK;
}

/* ---- the relation ---- */

/* What is sent for a virtual column is null. */
static bool is_left_out(const struct source *s)
{
    return s->described && s->described->computed_late;
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
        if (x->elsewhere && (!mine != !other))
            first = other != NULL;
        else if (x->elsewhere && mine && other->position != mine->position)
            first = other->position < mine->position;
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

static bool is_identity(const struct look *l, const struct source *s)
{
    if (l->identity == IDENTITY_OF_MESSAGE)
        return sent_as(&l->c->old_row, source_name(s)) != NULL;
    if (l->identity == IDENTITY_AS_KNOWN)
        return was_identity(l, source_name(s));
    return s->described && s->described->identity;
}

/* A delete without an old row tells nothing: the catalogs have to have that column still. */
static bool is_still_described(const struct look *l, const struct named_column *c, uint32_t i)
{
    const struct described_column *desc = described(l->x, (struct slice){c->name, c->name_len}, i);
    struct source other = {0};

    if (desc)
        return is_type_as_known(l, c, desc);
    other = renamed(l, c);
    return !l->current && other.known;
}

static bool is_as_known(const struct look *l, const struct named_column *c, uint32_t i)
{
    struct slice name = {c->name, c->name_len};
    const struct sent_column *sent = sent_as(&l->c->new_row, name);

    if (l->c->new_row.n > 0)
        return sent && (!c->type || is_shown_type(c, sent));
    if (l->c->old_sent)
        return sent_as(&l->c->old_row, name) != NULL;
    return is_still_described(l, c, i);
}

/* A new row without those columns, or with others of their names, is from another time. */
static bool has_known_identity(const struct look *l)
{
    for (uint32_t i = 0; i < l->t->ncolumns; i++)
        if (l->t->columns[i].identity && !is_as_known(l, &l->t->columns[i], i))
            return false;
    return true;
}

/*
 * An old row that is not whole is the replica identity, as it was then.  One of a table that has
 * identity FULL now may lack nulls only.  Of a table that is no more nothing else is known.  What
 * messages have shown holds until others show something else.
 */
static enum identity_source who_tells_identity(const struct look *l, const struct sources *s)
{
    bool whole = true, required = true, same = true, candidates = true;
    bool full = l->x->own_identity == 'f' && table_had_ended(l->ts, l->d, l->x->since);
    bool known = l->t->shown && !full && l->x->own_oid == l->t->own_oid && has_known_identity(l);

    if (!l->c->old_sent || l->x->elsewhere || l->t->shows >= SHOWS_MAX)
        return known ? IDENTITY_AS_KNOWN : IDENTITY_OF_CATALOGS;
    if (!l->x->exists)
        return IDENTITY_OF_MESSAGE;
    for (int i = 0; i < s->n; i++) {
        const struct described_column *desc = s->list[i].described;
        bool sent = sent_as(&l->c->old_row, source_name(&s->list[i])) != NULL;

        if (is_left_out(&s->list[i]))
            continue;
        whole &= sent;
        required &= sent || !desc || desc->nullable || !table_had_ended(l->ts, l->d, desc->since);
        same &= sent == (desc && desc->identity);
        candidates &= !sent || !desc || desc->candidate;
    }
    if (whole || same)
        return IDENTITY_OF_CATALOGS;
    if (l->c->old_has_nulls || !required)
        return IDENTITY_OF_MESSAGE;
    /* it lacks what may be null: a key, or all that a row with identity FULL had */
    return candidates && l->x->own_identity != 'f' ? IDENTITY_OF_MESSAGE : IDENTITY_OF_CATALOGS;
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

/* With or without a modifier. */
static bool is_type(const struct sent_column *sent, const char *type)
{
    size_t len = strlen(type);

    return sent->type.len >= len && memcmp(sent->type.data, type, len) == 0 &&
           (sent->type.len == len || sent->type.data[len] == '(' || sent->type.data[len] == ' ');
}

/* Types of a fixed length never are; of others nothing is known without the catalogs. */
static bool may_be_toasted(const struct sent_column *sent)
{
    static const uint32_t fixed[] = {16,  18,  19,  20,   21,   23,   26,   600,  700,  701,
                                     790, 829, 1082, 1083, 1114, 1184, 1186, 1266, 2950};

    static const char *const names[] = {"boolean", "smallint", "integer", "bigint", "real",
                                        "double precision", "date", "timestamp", "time", "uuid"};

    for (size_t i = 0; sent && i < sizeof fixed / sizeof fixed[0]; i++)
        if (sent->type_oid == fixed[i])
            return false;
    for (size_t i = 0; sent && !sent->type_oid && i < sizeof names / sizeof names[0]; i++)
        if (is_type(sent, names[i]))
            return false;
    return true;
}

/* As far as the message says. */
static bool is_number(const struct sent_column *sent)
{
    enum { FLOAT4_OID = 700, FLOAT8_OID = 701, NUMERIC_OID = 1700 };

    if (sent && !sent->type_oid)
        return is_type(sent, "numeric") || is_type(sent, "real") || is_type(sent, "double precision");
    return sent && (sent->type_oid == FLOAT4_OID || sent->type_oid == FLOAT8_OID ||
                    sent->type_oid == NUMERIC_OID);
}

/* By the type that it had in the message, where that is another one now. */
static bool is_toastable(const struct look *l, const struct source *s)
{
    if (!s->sent)
        return is_usually_toastable(l, s);
    if (s->described && is_described_type(l, s->sent, s->described))
        return s->described->toastable;
    if (s->known && s->known->type && is_shown_type(s->known, s->sent))
        return s->known->toastable;
    return may_be_toasted(s->sent);
}

static struct named_column name_column(const struct look *l, const struct sources *s, int i)
{
    const struct source *source = &s->list[i];
    struct slice name = source_name(source);
    const struct described_column *desc = source->described;
    const struct named_column *known = source->known;
    struct named_column column = {
        .name = xstrndup(name.data, name.len),
        .name_len = name.len,
        .left_out = is_left_out(source),
        .number_in_table = desc ? desc->number_in_table : known ? known->number_in_table : 0,
        .position = is_left_out(source) ? 0 : rank(s, l->x, i),
        .identity = is_identity(l, source),
        .candidate = !desc || desc->candidate,
        .nullable = !desc || desc->nullable || !table_had_ended(l->ts, l->d, desc->since) ||
                    (source->sent && !is_described_type(l, source->sent, desc)),
        .undescribed = !desc,
        .toastable = source->omitted || is_toastable(l, source),
        .warned = known && known->warned,
        .since = desc ? desc->since : 0,
        .number = source->sent          ? is_number(source->sent)
                  : known && known->type ? known->number
                                         : desc && desc->number,
    };

    if (source->sent && !says_less(source->sent, known)) {
        column.type = source->sent->type.len
                          ? xstrndup(source->sent->type.data, source->sent->type.len)
                          : xstrdup("");
        column.type_len = source->sent->type.len;
        column.type_oid = source->sent->type_oid;
    } else if (keeps_type(l, source)) {
        column.type = xstrdup(known->type);
        column.type_len = known->type_len;
        column.type_oid = known->type_oid;
    }
    return column;
}

static void keep(struct tables *ts, struct table *t, const struct look *l, const struct sources *s)
{
    const struct description *x = l->x;
    struct named_column *columns = xcalloc(s->n, sizeof *columns);

    for (int i = 0; i < s->n; i++)
        columns[i] = name_column(l, s, i);
    table_clear_columns(t);
    t->columns = columns;
    t->ncolumns = s->n;
    t->elsewhere = x->elsewhere;
    t->captured = !x->uncaptured;
    t->shows = x->own_oid != t->own_oid ? 0 : t->shows + (l->identity == IDENTITY_OF_MESSAGE);
    t->shown = l->identity != IDENTITY_OF_CATALOGS;
    t->full = x->exists && x->own_identity == 'f' && !t->shown;
    t->full_for_sure =
        t->full && ((t->full_for_sure && x->own_oid == t->own_oid && x->since == t->since) ||
                    table_had_ended(ts, l->d, x->since));
    t->since = x->since;
    t->own_oid = x->own_oid;
    t->generation = ts->generation;
    t->epoch = ts->epoch;
    t->suspicions = ts->suspicions;
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
    l.current = is_current(&l);
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
    l.identity = who_tells_identity(&l, &s);
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
static enum outcome ask(struct tables *ts, struct table *t, struct decoder *d)
{
    struct description x = {0};
    enum outcome outcome = d->describer->describe(d->describer->arg, t->schema, t->name, &x);

    if (outcome != OUTCOME_OK) {
        description_release(&x);
        return outcome;
    }
    ts->horizons[ts->nhorizons++ % HORIZONS] = (struct horizon){x.floor, x.ceiling};
    description_release(&t->described);
    t->described = x;
    t->looked = true;
    return OUTCOME_OK;
}

bool table_is_fresh(const struct table *t, const struct decoder *d)
{
    uint32_t xid = d->transaction.xid;

    return t->looked && xid && t->described.floor && precedes(xid, t->described.floor);
}

enum outcome table_look(struct tables *ts, struct table *t, struct decoder *d,
                        const struct sent_change *c, bool alone)
{
    enum outcome outcome = table_is_fresh(t, d) ? OUTCOME_OK : ask(ts, t, d);
    struct description x = t->described;

    if (outcome != OUTCOME_OK)
        return outcome;
    if (alone) {
        table_clear_columns(t);
        x.ncolumns = x.ndropped = 0;
    }
    return rebuild(ts, t, d, c, &x);
}
