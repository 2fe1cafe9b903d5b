/*
 * A model of tables that change while they are streamed: what a decoding plugin sends of a history
 * (table_history.h), and decode/table.c, which asks catalogs that may be far ahead of the stream.
 * What it makes of each message is compared with what pgoutput would have sent at that time.
 *
 * TABLE_SEED names the first seed, TABLE_ROUNDS how many follow; TABLE_SEED alone runs one and
 * prints it.  A history is read in one of four ways:
 *
 *   fresh    nothing is known before a message, and the catalogs are as they were when it was
 *            written: the event has to be the one of pgoutput, but for what the plugin loses;
 *   live     the catalogs are as of the end of the transaction; a transaction that changes tables
 *            changes no rows: likewise;
 *   ahead    the catalogs are ahead, now more and now less;
 *   backlog  they have been at the end of the history all the time, and no time passes: they must
 *            not be asked again and again.
 *
 * What may differ from pgoutput is an entry of `differences`, and each of them has to occur.
 */
#include <time.h>

#include "base/clock.h"
#include "tests/unit/table_history.h"

enum {
    FEW = 8, /* questions about a table that does not change */
    MOMENT = 50000, /* for so long the catalogs are not asked again about what is not clear, */
    WHILE = 2000000, /* and for so long about what is */
};

/* ---- time ---- */

static usec_t ticks;

/* In place of the C library's: seconds pass when a history says so. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    t->tv_sec = ticks / USEC_PER_SEC;
    t->tv_nsec = ticks % USEC_PER_SEC * 1000;
    return 0;
}

/* ---- how a history is read ---- */

enum reading { FRESH, LIVE, AHEAD, BACKLOG, READINGS };

static const char *const reading_names[] = {"fresh", "live", "ahead", "backlog"};

static struct {
    enum reading reading;
    const struct dress *dress;
} set;

static char wrong[512];

__attribute__((format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
    va_list args;

    if (wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(wrong, sizeof wrong, fmt, args);
    va_end(args);
}

/* ---- what may differ ---- */

enum difference {
    D_LOOK,
    D_OLD_UNPROVEN,
    D_OLD_REPEATED,
    D_MISSING,
    D_NOT_THERE_YET,
    D_GONE_WHEN,
    D_PAST_COLUMN,
    D_VIRTUAL,
    D_MODIFIER_UNKNOWN,
    D_MODIFIER_OF_LOOK,
    D_NAN,
    D_LOST_SINCE,
    D_TRUNCATED,
    D_OLD_OF_PARTITION,
    D_OLD_ABSENT,
    D_OLD_GONE,
    D_IDENTITY_SHOWN,
    DIFFERENCES
};

static const char *const difference_names[DIFFERENCES] = {
    [D_LOOK] = "names, OID and replica identity are those of the catalogs when they were asked last: "
               "a message has no more than a name that others may have by now",
    [D_OLD_UNPROVEN] = "an old row is given as a key although it was whole: what is not in it may be "
                       "null or not written, and no look into the catalogs tells",
    [D_OLD_REPEATED] = "a key that has every column and is repeated is given as a whole old row",
    [D_MISSING] = "a column whose value was not sent is missing: the catalogs have it no longer",
    [D_NOT_THERE_YET] = "a column that was not there yet is marked as unchanged: the catalogs have it, "
                        "and the plugin leaves unchanged values out",
    [D_GONE_WHEN] = "a column that is no more is marked as unchanged: the catalogs are not those of the "
                    "time of the message, and it is not known when it has gone",
    [D_PAST_COLUMN] = "a column that is no more is among those of a deletion, without a value",
    [D_VIRTUAL] = "a virtual generated column that is something else by now has the null that was "
                  "sent, or the other way round",
    [D_MODIFIER_UNKNOWN] = "the type modifier is not known: the catalogs have another type by now",
    [D_MODIFIER_OF_LOOK] = "the type modifier is that of the catalogs when they were asked: none was sent",
    [D_NAN] = "a number that is NaN comes as a null, and is one or is lost",
    [D_OLD_OF_PARTITION] = "an old row of a partition with another replica identity than the table "
                           "above has no more than both say: pgoutput would make nulls up",
    [D_OLD_ABSENT] = "a whole old row lacks a column that was null: it may not have been there yet",
    [D_OLD_GONE] = "a whole old row has a null for a column that the transaction at hand has dropped",
    [D_IDENTITY_SHOWN] = "the columns of the replica identity are those of an old row, not of the "
                         "catalogs",
    [D_LOST_SINCE] = "a null is given as lost: the column could not be null until the transaction at hand, "
                     "and the plugin does not say that it can",
    [D_TRUNCATED] = "partitions are left out of a truncation as the catalogs say which are some",
};

static uint64_t differed[DIFFERENCES];

static bool differ(enum difference d)
{
    differed[d]++;
    return true;
}

/* ---- messages ---- */

static struct sent_column old_columns[FAKE_COLUMNS], new_columns[FAKE_COLUMNS];

static const struct fake_table *table_of(const struct entry *e)
{
    return &db.states[e->state].tables[e->table];
}

static const struct fake_table *given_of(const struct entry *e)
{
    return fake_given(&db.states[e->state], table_of(e));
}

static bool is_sent(const struct entry *e)
{
    const struct fake_table *t = table_of(e);

    if (e->op == OP_TRUNCATE)
        return set.dress->truncates;
    if (e->op == OP_INSERT || e->logged != OLD_NONE || fake_key(t))
        return true;
    if (e->op == OP_DELETE)
        return !set.dress->no_key_no_end;
    return !set.dress->no_key_no_row || (!set.dress->no_key_no_end && t->identity == 'i');
}

static bool is_lost(const struct cell *c)
{
    return c->nan && set.dress->nan_is_null;
}

/* The value of a column as it is sent; false when the column is left out for it. */
static bool value_of(const struct cell *c, bool unchanged, bool keep_null, struct value *v)
{
    *v = (struct value){.kind = VALUE_TEXT};
    if (unchanged) {
        v->kind = VALUE_UNCHANGED;
        return !(set.dress->ways & TABLES_OMIT_UNCHANGED);
    }
    if (c->null || is_lost(c)) {
        v->kind = VALUE_NULL;
        return keep_null || is_lost(c);
    }
    v->data = xstrdup(cell_text(c));
    v->len = (uint32_t)strlen(v->data);
    return true;
}

static void send_row(const struct fake_table *t, const struct cell *cells, uint32_t columns,
                     uint32_t unchanged, bool old, bool keep_nulls, struct sent_row *row)
{
    for (int i = 0; i < t->ncolumns; i++) {
        const struct fake_column *c = &t->columns[i];
        uint32_t bit = 1u << c->attnum;
        struct value v;

        if ((columns & bit) && value_of(&cells[c->attnum], unchanged & bit, keep_nulls, &v))
            row->columns[row->n++] =
                say_column(set.dress, old, c->name, c->type, c->typmod, c->not_null, v);
    }
}

static void send(const struct entry *e, struct sent_change *c)
{
    const struct fake_table *t = table_of(e);
    bool whole = e->logged == OLD_FULL;

    *c = (struct sent_change){
        .op = e->op,
        .lsn = 0x500,
        .schema = slice_of(t->schema),
        .table = slice_of(t->name),
        .new_row = {new_columns, 0},
        .old_row = {old_columns, 0},
        .old_sent = e->logged != OLD_NONE,
        .old_has_nulls = set.dress->old_nulls,
    };
    if (e->op != OP_DELETE)
        send_row(t, e->new, all_columns(t), e->unchanged, false, true, &c->new_row);
    if (e->logged != OLD_NONE)
        send_row(t, e->old, whole ? all_columns(t) : fake_key(t), 0, true,
                 whole && set.dress->old_nulls, &c->old_row);
    if (e->op == OP_UPDATE && !c->old_sent && (set.dress->ways & TABLES_REPEAT_KEY)) {
        c->old_sent = true;
        send_row(t, e->new, fake_key(t), e->unchanged, true, false, &c->old_row);
    }
}

static const struct sent_column *sent_as(const struct sent_row *row, const char *name)
{
    for (uint32_t i = 0; i < row->n; i++)
        if (strncmp(row->columns[i].name.data, name, row->columns[i].name.len + 1) == 0)
            return &row->columns[i];
    return NULL;
}

/* ---- the reader ---- */

/* What a table's name was looked up as last. */
struct look {
    const char *name;
    int state; /* -1 = not yet */
    int current; /* in the stream: what was read then */
    usec_t ticks;
    bool aged; /* a transaction has passed since that may have changed it */
    int read_current; /* likewise, of the message before: it may have made the reader look again */
    usec_t read_ticks;
};

/* How often the catalogs were asked about a name while its table did not change. */
struct quiet {
    struct fake_table own, given;
    int asked, allowed;
};

static struct {
    struct describer describer;
    struct decoder *decoder;
    struct tables *tables;
    struct event event;
    int state; /* of the catalogs as they are asked */
    uint32_t floor, ceiling;
    int at;      /* in the stream: whose commit they are as of */
    int current; /* in the stream: what is read */
    struct look looks[COUNT(table_names)];
    struct quiet quiet[COUNT(table_names)];
    int asked;
} reader;

static int name_index(const char *name)
{
    for (size_t i = 0; i < COUNT(table_names); i++)
        if (strcmp(table_names[i], name) == 0)
            return (int)i;
    return 0;
}

static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    struct look *l = &reader.looks[name_index(table)];
    struct fake_catalog *c = &db.states[reader.state];

    (void)arg;
    reader.asked++;
    *l = (struct look){l->name, reader.state, reader.current, ticks, false, reader.current, ticks};
    c->floor = reader.floor;
    c->ceiling = reader.ceiling;
    fake_describe(c, schema, table, d);
    TELL("    asked about %s: %s", table, d->exists ? d->name : "none");
    return OUTCOME_OK;
}

static enum outcome find_type(void *arg, const char *type, uint32_t *oid)
{
    (void)arg;
    *oid = fake_type_oid(type);
    return OUTCOME_OK;
}

static const struct decoder_kind nothing_kind = {.name = "nothing", .size = sizeof(struct decoder)};

static void start_reader(uint32_t settled)
{
    reader.describer = (struct describer){NULL, describe, find_type};
    reader.decoder = decoder_new(&(struct decoder_setup){
        .kind = &nothing_kind, .describer = &reader.describer,
    });
    reader.decoder->nan_is_null = set.dress->nan_is_null;
    reader.decoder->settled = settled;
    reader.tables = tables_new(set.dress->ways);
    for (size_t i = 0; i < COUNT(table_names); i++)
        reader.looks[i] = (struct look){.name = table_names[i], .state = -1};
}

static void end_reader(void)
{
    tables_free(reader.tables);
    decoder_free(reader.decoder);
}

static const struct fake_table *looked_up(const struct fake_table *own)
{
    const struct look *l = &reader.looks[name_index(own->name)];

    if (l->state < 0) {
        fail("the catalogs have not been asked about %s", own->name);
        return NULL;
    }
    return fake_by_name(&db.states[l->state], own->schema, own->name);
}

static const struct fake_table *looked_up_given(const struct fake_table *own)
{
    const struct fake_table *found = looked_up(own);

    return found ? fake_given(&db.states[reader.looks[name_index(own->name)].state], found) : NULL;
}

/* ---- what pgoutput would have sent ---- */

/* Whether the event has this value; names what it has instead. */
static bool is_value(const struct value *v, enum value_kind kind, const char *text)
{
    return v->kind == kind &&
           (kind != VALUE_TEXT || (v->len == strlen(text) && memcmp(v->data, text, v->len) == 0));
}

static bool is_in_old(const struct entry *e, const struct fake_column *c)
{
    return e->logged == OLD_FULL ||
           (e->logged == OLD_KEY && (fake_key(table_of(e)) & 1u << c->attnum));
}

static const char *value_text(const struct value *v)
{
    static const char *const words[] = {
        [VALUE_ABSENT] = "absent", [VALUE_NULL] = "null", [VALUE_UNCHANGED] = "unchanged",
        [VALUE_LOST] = "lost", [VALUE_BINARY] = "binary",
    };
    static char text[32];

    if (v->kind != VALUE_TEXT)
        return words[v->kind];
    snprintf(text, sizeof text, "%.*s", (int)v->len, v->data);
    return text;
}

/* A number that came as a null: whether it cannot be one is seen from the column. */
static bool check_lost(const char *row, const struct fake_column *c, const struct value *v,
                       bool never_null, bool told)
{
    if (never_null || (told && c->not_null) ? v->kind == VALUE_LOST
                                            : v->kind == VALUE_NULL || v->kind == VALUE_LOST)
        return differ(D_NAN);
    fail("%s row: %s is %s, and was NaN", row, c->name, value_text(v));
    return false;
}

/* Whether a number could not be null a moment ago, as far as the catalogs have said. */
static bool was_not_null(const struct entry *e, const struct fake_column *c)
{
    const struct look *l = &reader.looks[name_index(table_of(e)->name)];

    if (set.dress->nullables || !fake_types[c->type].number || l->aged ||
        ticks - l->ticks >= WHILE)
        return false;
    for (int i = e->state, from = l->current ? db.stream[l->current - 1].state : 0; i >= from; i--) {
        const struct fake_table *t = fake_by_oid(&db.states[i], table_of(e)->oid);
        const struct fake_column *then = t ? fake_column(t, c->name) : NULL;

        if (then && then->not_null)
            return true;
    }
    return false;
}

static void check_new_value(const struct entry *e, const struct fake_column *c,
                            const struct value *v)
{
    const struct cell *cell = &e->new[c->attnum];

    if (e->unchanged & 1u << c->attnum) {
        if (v->kind == VALUE_UNCHANGED && (given_of(e) != table_of(e) ||
                                           looked_up_given(table_of(e)) != looked_up(table_of(e))))
            return; /* the old row may not have it: see D_OLD_OF_PARTITION */
        if (is_in_old(e, c) ? !is_value(v, VALUE_TEXT, cell_text(cell)) : v->kind != VALUE_UNCHANGED)
            fail("new row: %s is %s, and was unchanged", c->name, value_text(v));
    } else if (cell->null) {
        if (v->kind == VALUE_LOST && was_not_null(e, c))
            differ(D_LOST_SINCE);
        else if (v->kind != VALUE_NULL)
            fail("new row: %s is %s, and was null", c->name, value_text(v));
    } else if (is_lost(cell)) {
        check_lost("new", c, v, false, set.dress->nullables || set.reading == FRESH);
    } else if (!is_value(v, VALUE_TEXT, cell_text(cell))) {
        fail("new row: %s is %s, and was %s", c->name, value_text(v), cell_text(cell));
    }
}

/* Of a column that is in the old row as it was written. */
static void check_old_value(const struct entry *e, const struct fake_column *c,
                            const struct value *v)
{
    const struct cell *cell = &e->old[c->attnum];

    if (cell->null) {
        if (v->kind != VALUE_NULL)
            fail("old row: %s is %s, and was null", c->name, value_text(v));
    } else if (is_lost(cell)) {
        check_lost("old", c, v, !set.dress->old_nulls, set.reading == FRESH);
    } else if (!is_value(v, VALUE_TEXT, cell_text(cell))) {
        fail("old row: %s is %s, and was %s", c->name, value_text(v), cell_text(cell));
    }
}

static void check_column(const struct column *c, const struct fake_table *given,
                         const struct fake_column *expected)
{
    if (!c->name)
        fail("a column without a name in the place of %s", expected->name);
    else if (strcmp(c->name, expected->name) != 0)
        fail("column %s in the place of %s", c->name, expected->name);
    else if (c->type_oid != fake_types[expected->type].oid)
        fail("column %s has type %u, and had %s", c->name, c->type_oid,
             fake_types[expected->type].name);
    else if (c->typmod != expected->typmod)
        fail("column %s has type modifier %d, and had %d", c->name, c->typmod, expected->typmod);
    else if (c->identity != fake_is_identity(given, expected) || c->key != c->identity)
        fail("column %s is%s part of the identity", c->name, c->identity ? "" : " not");
}

static void check_header(const struct relation *r, const struct fake_table *given)
{
    if (strcmp(r->schema, given->schema) != 0 || strcmp(r->name, given->name) != 0 ||
        r->oid != given->oid || r->identity != given->identity)
        fail("given as %s.%s %u %c instead of %s.%s %u %c", r->schema, r->name, r->oid, r->identity,
             given->schema, given->name, given->oid, given->identity);
}

static void check_relation(const struct relation *r, const struct fake_table *given)
{
    int n = 0;

    check_header(r, given);
    for (int i = 0; i < given->ncolumns; i++) {
        if (given->columns[i].computed_late)
            continue;
        if (n < r->ncolumns)
            check_column(&r->columns[n], given, &given->columns[i]);
        n++;
    }
    if (n != r->ncolumns)
        fail("%u columns instead of %d", r->ncolumns, n);
}

/* Whether a partition's old rows have other columns than the identity of the table above. */
static bool is_mixed(const struct fake_table *own, const struct fake_table *given)
{
    for (int i = 0; i < own->ncolumns; i++) {
        const struct fake_column *c = &own->columns[i], *above = fake_column(given, c->name);

        if (above && fake_is_identity(own, c) != fake_is_identity(given, above))
            return true;
    }
    return false;
}

/* Whether an old row has all columns of the relation, so that it is the same as key or whole. */
static bool is_complete(const struct relation *r, const struct value *row)
{
    for (int i = 0; i < r->ncolumns; i++)
        if (row[i].kind == VALUE_ABSENT || row[i].kind == VALUE_NULL)
            return false;
    return true;
}

/* A key that is NaN is given again, as neither row has a value to compare. */
static bool has_lost(const struct sent_change *m)
{
    for (uint32_t i = 0; i < m->old_row.n; i++)
        if (m->old_row.columns[i].value.kind == VALUE_NULL)
            return true;
    return false;
}

/* Whether an update's old row is nothing but a part of the new one. */
static bool is_repeated(const struct sent_change *m)
{
    if (m->op != OP_UPDATE || !(set.dress->ways & TABLES_REPEAT_KEY))
        return false;
    for (uint32_t i = 0; i < m->old_row.n; i++) {
        const struct value *old = &m->old_row.columns[i].value;
        const struct sent_column *new;
        char name[FAKE_NAME];

        snprintf(name, sizeof name, "%.*s", (int)m->old_row.columns[i].name.len,
                 m->old_row.columns[i].name.data);
        new = sent_as(&m->new_row, name);
        if (!new || new->value.kind != old->kind || new->value.len != old->len ||
            (old->len && memcmp(new->value.data, old->data, old->len) != 0))
            return false;
    }
    return true;
}

/* The event is the one of pgoutput, but for what was lost. */
static void check_exactly(const struct entry *e, const struct sent_change *m,
                          const struct change *c)
{
    const struct fake_table *own = table_of(e);
    const struct relation *r = c->relation;
    bool mixed = e->logged != OLD_NONE && c->old_kind != OLD_FULL && is_mixed(own, given_of(e));
    bool unproven = set.reading != FRESH && e->logged == OLD_FULL &&
                    (c->old_kind == OLD_KEY || (c->old_kind == OLD_NONE && is_repeated(m)));

    check_relation(r, given_of(e));
    for (int i = 0; i < r->ncolumns && !wrong[0]; i++) {
        const struct fake_column *column = fake_column(own, r->columns[i].name);

        if (c->new_row)
            check_new_value(e, column, &c->new_row[i]);
        if (!c->old_row || (unproven && c->old_row[i].kind == VALUE_ABSENT))
            continue;
        if (set.reading != FRESH && c->old_row[i].kind == VALUE_ABSENT && is_in_old(e, column) &&
            e->old[column->attnum].null && differ(D_OLD_ABSENT))
            continue;
        if (mixed && c->old_row[i].kind == VALUE_ABSENT && !r->columns[i].identity)
            differ(D_OLD_OF_PARTITION);
        else if (is_in_old(e, column))
            check_old_value(e, column, &c->old_row[i]);
        else if (c->old_row[i].kind != VALUE_ABSENT)
            fail("old row: %s is %s, and was not written", column->name,
                 value_text(&c->old_row[i]));
    }
    if (mixed && c->old_kind != e->logged)
        differ(D_OLD_OF_PARTITION);
    else if (unproven)
        differ(D_OLD_UNPROVEN);
    else if (c->old_kind != e->logged && !(c->old_row && e->logged && is_complete(r, c->old_row)))
        fail("old row of kind %d instead of %d", c->old_kind, e->logged);
}

/* ---- what has to be right whatever the catalogs say ---- */

static bool had_name(uint32_t oid, const char *name)
{
    for (int i = 0; i <= db.nstates; i++) {
        const struct fake_table *t = fake_by_oid(&db.states[i], oid);

        if (t && strcmp(t->name, name) == 0)
            return true;
    }
    return false;
}

/* Whether the catalogs have said so when they were asked about one of the names. */
static bool is_looked_up(const struct relation *r)
{
    for (size_t i = 0; i < COUNT(table_names); i++) {
        int state = reader.looks[i].state;
        const struct fake_table *t = state < 0 ? NULL : fake_by_oid(&db.states[state], r->oid);

        if (t && strcmp(r->schema, t->schema) == 0 && strcmp(r->name, t->name) == 0 &&
            r->identity == t->identity)
            return true;
    }
    return false;
}

/* A table that the catalogs do not have: its own name, and an OID that no other one has. */
static void check_gone(const struct relation *r, const struct fake_table *own)
{
    if (had_name(r->oid, own->name) && had_name(r->oid, r->name))
        return; /* under another name, maybe, that has been looked up meanwhile */
    if (strcmp(r->schema, own->schema) != 0 || strcmp(r->name, own->name) != 0 ||
        r->identity != 'd' || r->oid < UINT32_MAX - 1000)
        fail("%s, which is gone, is given as %s.%s %u %c", own->name, r->schema, r->name, r->oid,
             r->identity);
}

/* Whether a column may have been seen in old rows up to that time, or have been missing from them. */
static bool was_shown(const struct fake_table *own, int state, const struct fake_column *column,
                      bool shown)
{
    for (; state >= 0; state--) {
        const struct fake_table *t = fake_by_oid(&db.states[state], own->oid);

        if (t && t->identity == 'f')
            return true; /* rows are seen without their nulls */
        if (t && !(fake_key(t) & 1u << column->attnum) == !shown)
            return true;
        if (t && fake_column(t, column->name) &&
            !(fake_key(t) & 1u << fake_column(t, column->name)->attnum) == !shown)
            return true;
    }
    return false;
}

/* Whether another table has had that name before. */
static bool was_another(const struct fake_table *own, int state)
{
    for (; state >= 0; state--) {
        const struct fake_table *t = fake_by_name(&db.states[state], own->schema, own->name);

        if (t && t->oid != own->oid)
            return true;
    }
    return false;
}

static void check_looked_up(const struct relation *r, int state, const struct fake_table *own,
                            const struct fake_table *given)
{
    const struct fake_table *found = looked_up_given(own);

    if (found && (r->oid != found->oid || !is_looked_up(r)))
        check_header(r, found);
    else if (!found)
        check_gone(r, own);
    if (strcmp(r->name, given->name) != 0 || r->oid != given->oid || r->identity != given->identity)
        differ(D_LOOK);
    for (int i = 0; i < r->ncolumns && found; i++) {
        const struct fake_column *c = fake_column(found, r->columns[i].name);
        const struct fake_column *then = fake_column(own, r->columns[i].name);
        const struct fake_column *now = fake_column(looked_up(own), r->columns[i].name);

        if (!now || !c || r->columns[i].identity == fake_is_identity(found, c))
            continue;
        if (!then || then->type != c->type || then->attnum != now->attnum || /* another column */
            was_another(own, state) || was_shown(own, state, then, r->columns[i].identity))
            differ(D_IDENTITY_SHOWN);
        else
            fail("column %s is%s part of the identity", c->name,
                 r->columns[i].identity ? "" : " not");
    }
}

/* Whether the table has a column like that at some time up to the last look. */
static bool had_modifier(const struct fake_table *own, const struct fake_column *column,
                         const struct column *c)
{
    for (int i = reader.looks[name_index(own->name)].state; i >= 0; i--) {
        const struct fake_table *t = fake_by_name(&db.states[i], own->schema, own->name);

        for (int j = 0; t && j < t->ncolumns; j++)
            if ((strcmp(t->columns[j].name, c->name) == 0 ||
                 t->columns[j].attnum == column->attnum) &&
                fake_types[t->columns[j].type].oid == c->type_oid &&
                t->columns[j].typmod == c->typmod)
                return true;
    }
    return c->typmod == -1;
}

/* Of a column that the message tells of, in its new row or only in its old one. */
static void check_sent_type(const struct column *c, const struct fake_table *own,
                            const struct fake_column *column, bool new)
{
    const struct fake_table *found = looked_up(own);
    const struct fake_column *now = found ? fake_column(found, c->name) : NULL;
    bool told = set.dress->modifiers && (new || set.dress->old_types);

    if (c->type_oid != fake_types[column->type].oid) {
        fail("column %s has type %u, and had %s", c->name, c->type_oid,
             fake_types[column->type].name);
    } else if (c->typmod != column->typmod) {
        if (c->typmod == -1 && (!now || now->type != column->type || now->typmod != column->typmod))
            differ(D_MODIFIER_UNKNOWN);
        else if (!told && had_modifier(own, column, c))
            differ(D_MODIFIER_OF_LOOK);
        else
            fail("column %s has type modifier %d, and had %d", c->name, c->typmod, column->typmod);
    }
}

/* Whether the reader can know that a transaction had ended before the one at hand. */
static bool has_passed(uint32_t xid)
{
    uint32_t settled = reader.decoder->settled;

    for (int i = 0; i < reader.current; i++)
        if (db.stream[i].xid == xid)
            return true;
    return xid < FIRST_NORMAL_XID || (settled && precedes(xid, settled));
}

/* Whether all that the last look shows of a table's columns had happened before the message. */
static bool is_current(const struct fake_table *found)
{
    bool current = true;

    for (int i = 0; i < found->ncolumns; i++)
        current &= has_passed(found->columns[i].since);
    for (int i = 0; i < found->ndropped; i++)
        current &= has_passed(found->dropped[i].since);
    return current;
}

/* Whether the table has had a column since the beginning of a transaction of the stream. */
static bool has_gone_since(const struct entry *e, const char *name, int since)
{
    for (int state = e->state, from = since ? db.stream[since - 1].state : 0; state >= from; state--) {
        const struct fake_table *t = fake_by_oid(&db.states[state], table_of(e)->oid);

        if (t && fake_column(t, name))
            return true;
    }
    return false;
}

/*
 * Whether it may not be known that a column has gone: the catalogs do not show the time of the message,
 * or they were asked a moment ago and it went since.
 */
static bool has_just_gone(const struct entry *e, const char *name)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);
    const struct look *l = &reader.looks[name_index(own->name)];
    int since = reader.current;

    if (!l->aged && ticks - l->ticks < MOMENT)
        since = l->current;
    else if (ticks - l->read_ticks < MOMENT)
        since = l->read_current;
    if (!found || found->oid != own->oid || !is_current(found))
        return true;
    return has_gone_since(e, name, since);
}

/* As far as the reader can know: of types that users have made nothing is known. */
static bool may_be_toasted(uint32_t type_oid)
{
    if (type_oid >= 50000)
        return true;
    for (size_t i = 0; i < COUNT(fake_types); i++)
        if (fake_types[i].oid == type_oid)
            return fake_types[i].toastable;
    return false;
}

static void check_new_row(const struct entry *e, const struct sent_change *m,
                          const struct change *c)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);
    const struct relation *r = c->relation;

    for (int i = 0; i < r->ncolumns; i++) {
        const struct fake_column *column = fake_column(own, r->columns[i].name);
        const struct fake_column *now = found ? fake_column(found, r->columns[i].name) : NULL;
        bool told = sent_as(&m->new_row, r->columns[i].name) != NULL;

        bool marked = !told && !column && c->new_row[i].kind == VALUE_UNCHANGED &&
                      e->op == OP_UPDATE && (set.dress->ways & TABLES_OMIT_UNCHANGED) &&
                      may_be_toasted(r->columns[i].type_oid);

        if (marked && now)
            differ(D_NOT_THERE_YET);
        else if (marked && has_just_gone(e, r->columns[i].name))
            differ(D_GONE_WHEN);
        else if (!column || (!told && !(e->unchanged & 1u << column->attnum)))
            fail("new row: %s is %s, and was not sent", r->columns[i].name,
                 value_text(&c->new_row[i]));
        else
            check_new_value(e, column, &c->new_row[i]);
        if (column && column->computed_late)
            differ(D_VIRTUAL);
    }
}

/* Columns that were written are there, those that were sent in the order of the message. */
static void check_columns_there(const struct entry *e, const struct sent_change *m,
                                const struct relation *r)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);
    bool elsewhere = found && found->parent;
    int last = -1;

    for (int i = 0; i < own->ncolumns; i++) {
        const struct fake_column *column = &own->columns[i];
        const struct fake_column *now = found ? fake_column(found, column->name) : NULL;
        const struct sent_column *new = sent_as(&m->new_row, column->name);
        const struct sent_column *sent = new ? new : sent_as(&m->old_row, column->name);
        int at = 0;

        while (at < r->ncolumns && strcmp(r->columns[at].name, column->name) != 0)
            at++;
        if (at == r->ncolumns && (column->computed_late || (!sent && e->op == OP_DELETE)))
            continue;
        if (at == r->ncolumns && sent && now && now->computed_late && sent->value.kind == VALUE_NULL &&
            differ(D_VIRTUAL))
            continue;
        if (at == r->ncolumns && sent)
            fail("column %s was sent and is missing", column->name);
        else if (at == r->ncolumns)
            differ(D_MISSING);
        else if (new && !elsewhere && at < last)
            fail("column %s is not in its place", column->name);
        else if (new && at > last)
            last = at;
    }
}

static void check_columns(const struct entry *e, const struct sent_change *m,
                          const struct relation *r)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);

    for (int i = 0; i < r->ncolumns; i++) {
        const char *name = r->columns[i].name;
        const struct fake_column *column = fake_column(own, name);
        bool new = sent_as(&m->new_row, name) != NULL;

        for (int j = 0; j < i; j++)
            if (strcmp(r->columns[j].name, name) == 0)
                fail("two columns %s", name);
        if (new || sent_as(&m->old_row, name))
            check_sent_type(&r->columns[i], own, column, new);
        else if (!column && !(found && fake_column(found, name)) && e->op == OP_DELETE)
            differ(D_PAST_COLUMN);
        else if (e->op == OP_UPDATE && (set.dress->ways & TABLES_OMIT_UNCHANGED) &&
                 has_just_gone(e, name))
            continue; /* see check_new_row() */
        else if (!column && !(found && fake_column(found, name)))
            fail("column %s is neither in the message nor in the catalogs", name);
    }
    check_columns_there(e, m, r);
}

/* Whether the look into the catalogs shows that the table was the same at that time. */
static bool is_proven(const struct entry *e)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);
    uint32_t settled = reader.decoder->settled;

    if (!found || !settled || found->identity != 'f' || !precedes(found->since, settled) ||
        found->ncolumns != own->ncolumns)
        return false;
    for (int i = 0; i < found->ncolumns; i++) {
        const struct fake_column *c = &found->columns[i];

        if (!precedes(c->since, settled) || !fake_column(own, c->name))
            return false;
    }
    for (int i = 0; i < found->ndropped; i++)
        if (!precedes(found->dropped[i].since, settled))
            return false;
    return true;
}

/* Where the event has no old row. */
static void check_no_old_row(const struct entry *e, const struct sent_change *m)
{
    const struct fake_table *own = table_of(e), *found = looked_up(own);

    if (!m->old_sent || (e->logged == OLD_NONE && is_repeated(m)))
        return;
    if (found && found->parent && (is_mixed(found, looked_up_given(own)) || found->oid != own->oid ||
                                   is_mixed(own, given_of(e)))) {
        differ(D_OLD_OF_PARTITION);
        return;
    }
    if (is_repeated(m) && e->logged == OLD_FULL && !is_proven(e))
        differ(D_OLD_UNPROVEN);
    else
        fail("the old row is missing");
}

static void check_old_row(const struct entry *e, const struct sent_change *m,
                          const struct change *c)
{
    const struct fake_table *own = table_of(e);
    const struct look *l = &reader.looks[name_index(own->name)];
    const struct relation *r = c->relation;

    if (!m->old_sent) {
        fail("an old row that was not sent");
        return;
    }
    for (int i = 0; i < r->ncolumns; i++) {
        const struct fake_column *column = fake_column(own, r->columns[i].name);
        const struct value *v = &c->old_row[i];

        if (sent_as(&m->old_row, r->columns[i].name)) {
            if (c->old_kind == OLD_KEY && v->kind == VALUE_ABSENT && looked_up(own) &&
                looked_up(own)->parent && !r->columns[i].identity)
                differ(D_OLD_OF_PARTITION);
            else if (e->logged != OLD_NONE)
                check_old_value(e, column, v);
            else if (!is_lost(&e->new[column->attnum]) &&
                     !is_value(v, VALUE_TEXT, cell_text(&e->new[column->attnum])))
                fail("old row: %s is %s instead of what is repeated", column->name, value_text(v));
        } else if (v->kind == VALUE_ABSENT) {
            if (c->old_kind == OLD_FULL)
                differ(D_OLD_ABSENT);
        } else if (v->kind == VALUE_NULL && c->old_kind == OLD_FULL && !column && !l->aged &&
                   ticks - l->ticks < WHILE && has_gone_since(e, r->columns[i].name, l->current)) {
            differ(D_OLD_GONE);
        } else if (!(v->kind == VALUE_NULL && c->old_kind == OLD_FULL && e->logged == OLD_FULL &&
                     column && e->old[column->attnum].null)) {
            fail("old row: %s is %s, and was not sent", r->columns[i].name, value_text(v));
        }
    }
    if (e->logged == OLD_NONE && c->old_kind == OLD_FULL && is_complete(r, c->old_row))
        differ(D_OLD_REPEATED);
    else if (e->logged == OLD_NONE && looked_up(own) && looked_up(own)->parent &&
             looked_up(own)->identity == 'f')
        differ(D_OLD_REPEATED);
    else if (e->logged == OLD_NONE && !has_lost(m))
        fail("the key is repeated as an old row");
    else if (e->logged == OLD_FULL && c->old_kind == OLD_KEY && !is_complete(r, c->old_row) &&
             (is_proven(e) ? (fail("a whole old row is given as a key"), true) : true))
        differ(D_OLD_UNPROVEN);
}

/* Nothing that was sent is wrong, and nothing is there that was not. */
static void check_soundly(const struct entry *e, const struct sent_change *m,
                          const struct change *c)
{
    check_looked_up(c->relation, e->state, table_of(e), given_of(e));
    if (!wrong[0])
        check_columns(e, m, c->relation);
    if (!wrong[0] && c->new_row)
        check_new_row(e, m, c);
    if (!wrong[0] && c->old_row)
        check_old_row(e, m, c);
    else if (!wrong[0])
        check_no_old_row(e, m);
}

/* ---- events ---- */

static void tell_event(const struct change *c)
{
    char text[512];
    int len = 0;

    if (!telling)
        return;
    for (int i = 0; i < c->relation->ncolumns; i++) {
        const struct column *column = &c->relation->columns[i];

        len += snprintf(text + len, sizeof text - (size_t)len, " %s:%u/%d%s", column->name,
                        column->type_oid, column->typmod, column->identity ? "*" : "");
        if (c->old_row)
            len += snprintf(text + len, sizeof text - (size_t)len, " %s(%s)",
                            c->old_kind == OLD_FULL ? "full" : "key", value_text(&c->old_row[i]));
        if (c->new_row)
            len += snprintf(text + len, sizeof text - (size_t)len, " new(%s)",
                            value_text(&c->new_row[i]));
    }
    tap_note("      given as %s %u %c, version %u:%s", c->relation->name, c->relation->oid,
             c->relation->identity, c->relation->version, text);
}

static bool is_doubtful(const struct sent_change *m, const struct fake_table *found)
{
    return m->old_sent && found && found->identity == 'f' && m->old_row.n < found->ncolumns;
}

/* A backlog is read with few questions: the catalogs do not change meanwhile. */
static void count_questions(const struct entry *e, const struct sent_change *m, bool known,
                            int asked)
{
    const struct fake_table *own = table_of(e), *given = given_of(e);
    struct quiet *q = &reader.quiet[name_index(own->name)];

    if (memcmp(&q->own, own, sizeof *own) != 0 || memcmp(&q->given, given, sizeof *given) != 0)
        *q = (struct quiet){.own = *own, .given = *given};
    q->asked += asked;
    q->allowed += is_doubtful(m, looked_up(own));
    if (asked && known && precedes(reader.decoder->transaction.xid, reader.floor))
        fail("the catalogs are asked about %s, and have told what they know", own->name);
    if (q->asked > FEW + q->allowed)
        fail("the catalogs are asked about %s again and again", own->name);
}

static void read_change(const struct entry *e)
{
    struct sent_change m;
    struct look *l = &reader.looks[name_index(table_of(e)->name)];
    bool known = l->state >= 0;
    int before = reader.asked;

    send(e, &m);
    memset(&reader.event, 0xa5, sizeof reader.event);
    reader.event.lsn = 0x500;
    reader.decoder->transaction.changed = true;
    TELL("  read: %s of %s", e->op == OP_INSERT ? "insert" : e->op == OP_UPDATE ? "update" : "delete",
         table_of(e)->name);
    if (tables_change(reader.tables, reader.decoder, &m, &reader.event) != OUTCOME_OK) {
        fail("the message is refused");
    } else {
        const struct change *c = &reader.event.change;

        tell_event(c);
        if (reader.asked > before + 2)
            fail("the catalogs are asked %d times about one message", reader.asked - before);
        if (set.reading == FRESH || set.reading == LIVE)
            check_exactly(e, &m, c);
        else
            check_soundly(e, &m, c);
        if (set.reading == BACKLOG && !wrong[0])
            count_questions(e, &m, known, reader.asked - before);
    }
    l->read_current = reader.current;
    l->read_ticks = ticks;
    unsay_row(&m.new_row);
    unsay_row(&m.old_row);
}

/* The relations are, in turn, those of the tables that are not partitions as far as is known. */
static void check_truncation(const struct entry *e, const int *list, int n)
{
    const struct fake_catalog *then = &db.states[e->state];
    uint32_t at = 0;

    for (int i = 0; i < n && !wrong[0]; i++) {
        const struct fake_table *own = &then->tables[list[i]], *found = looked_up(own);
        bool out = found && found->parent, was_out = own->parent != 0;

        if (out != was_out) {
            if (set.reading == FRESH || set.reading == LIVE)
                fail("%s is %s the truncation", own->name, out ? "missing from" : "part of");
            differ(D_TRUNCATED);
        }
        if (out)
            continue;
        if (at >= reader.event.ntruncated)
            fail("%s is missing from the truncation", own->name);
        else if (set.reading == FRESH || set.reading == LIVE)
            check_relation(reader.event.relations[at], own);
        else
            check_looked_up(reader.event.relations[at], e->state, own, own);
        at++;
    }
    if (!wrong[0] && (at != (reader.event.kind == EVENT_TRUNCATE ? reader.event.ntruncated : 0) ||
                      (at == 0) != (reader.event.kind == EVENT_NONE)))
        fail("%u tables are truncated", reader.event.ntruncated);
}

static void read_truncation(const struct entry *e)
{
    struct sent_table names[FAKE_TABLES];
    bool alone = set.dress == &dresses[WAL2JSON_2];

    TELL("  read: truncate");
    reader.decoder->transaction.changed = true;
    for (int i = 0; i < e->ntruncated && !wrong[0]; i += alone ? 1 : e->ntruncated) {
        int n = alone ? 1 : e->ntruncated;

        for (int j = 0; j < n; j++) {
            const struct fake_table *t = &db.states[e->state].tables[e->truncated[i + j]];

            names[j] = (struct sent_table){slice_of(t->schema), slice_of(t->name)};
        }
        if (tables_truncate(reader.tables, reader.decoder, names, (uint32_t)n, &reader.event) !=
            OUTCOME_OK)
            fail("the truncation is refused");
        else
            check_truncation(e, e->truncated + i, n);
    }
}

static void read_entry(const struct entry *e)
{
    if (set.reading == FRESH) {
        reader.state = e->state;
        start_reader(db.next_xid);
        tables_transaction_begins(reader.tables);
        reader.decoder->transaction = (struct transaction){.xid = db.next_xid};
    }
    if (e->op == OP_TRUNCATE)
        read_truncation(e);
    else
        read_change(e);
    if (set.reading == FRESH)
        end_reader();
}

/* ---- a history ---- */

/* Where the catalogs are while transaction i is read. */
static void place_catalogs(int i)
{
    int ahead = set.reading == AHEAD && percent(40) ? below(db.nstream - i) : 0;
    const struct streamed *s;

    if (set.reading == BACKLOG)
        ahead = db.nstream - 1 - i;
    if (i + ahead > reader.at)
        reader.at = i + ahead;
    s = &db.stream[reader.at];
    reader.state = s->state;
    reader.floor = s->floor;
    reader.ceiling = s->ceiling;
}

static void read_transaction(int i)
{
    const struct streamed *s = &db.stream[i];
    bool changed = false;

    chance = mix(mix((uint64_t)s->step) ^ (uint64_t)history.steps * 7919);
    for (int j = s->first; j < s->first + s->n; j++)
        changed |= is_sent(&db.entries[j]);
    reader.current = i;
    place_catalogs(i);
    if (set.reading == LIVE)
        ticks += MOMENT; /* after one that may have changed tables they are asked again */
    else if (set.reading == AHEAD)
        ticks += percent(10) ? 3 * USEC_PER_SEC : percent(30) ? MOMENT : below(MOMENT / 2);
    TELL("transaction %u is read, the catalogs are as of %u", s->xid, db.stream[reader.at].xid);
    if (set.reading != FRESH) {
        tables_transaction_begins(reader.tables);
        reader.decoder->transaction = (struct transaction){.xid = s->xid};
    }
    for (int j = s->first; j < s->first + s->n && !wrong[0]; j++)
        if (is_sent(&db.entries[j]))
            read_entry(&db.entries[j]);
    if (set.reading != FRESH)
        tables_transaction_ends(reader.tables, s->xid, changed);
    for (size_t j = 0; j < COUNT(reader.quiet) && !changed; j++)
        reader.quiet[j].allowed += reader.looks[j].aged = true; /* it may have changed tables */
}

static void read_history(uint64_t seed)
{
    chance = mix(seed ^ 0x5555);
    ticks = 100 * USEC_PER_SEC;
    reader.at = 0;
    memset(reader.quiet, 0, sizeof reader.quiet);
    if (set.reading != FRESH)
        start_reader(percent(60) ? db.first_xid : 0);
    for (int i = 0; i < db.nstream && !wrong[0]; i++)
        read_transaction(i);
    if (set.reading == LIVE && history.ddl == 0 && !wrong[0] &&
        reader.decoder->relations.versions != reader.decoder->relations.count)
        fail("%u versions of %u relations that do not change", reader.decoder->relations.versions,
             reader.decoder->relations.count);
    if (set.reading != FRESH)
        end_reader();
}

static void settle_history(uint64_t seed)
{
    chance = mix(seed);
    set.reading = (enum reading)(seed % READINGS);
    set.dress = &dresses[seed / READINGS % DRESSES];
    history.steps = 5 + below(MAX_STEPS - 5);
    history.ddl = percent(10) ? 0 : 10 + below(40);
    history.mixed = set.reading != LIVE && percent(60);
}

/* Whether all went well; else `wrong` says what did not. */
static bool run(uint64_t seed)
{
    wrong[0] = '\0';
    settle_history(seed);
    make_history(seed);
    read_history(seed);
    return !wrong[0];
}

/* Whether two failures are of the same kind: they end with the same words. */
static bool is_alike(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);

    return n >= 8 && m >= 8 && memcmp(a + n - 8, b + m - 8, 8) == 0;
}

/* Leaves out what the failure does not need, and prints what remains. */
static void explain(uint64_t seed)
{
    static bool without[PARTS];
    char first[sizeof wrong];
    bool shorter = true;
    int n = 0;

    memcpy(first, wrong, sizeof first);

    memset(without, 0, sizeof without);
    left_out = without;
    while (shorter) {
        shorter = false;
        for (int i = 0; i < history.steps * (MAX_OPS + 1); i++) {
            if (without[i])
                continue;
            without[i] = true;
            if (run(seed) || !is_alike(wrong, first))
                without[i] = false;
            else
                shorter |= i % (MAX_OPS + 1) == 0;
        }
    }
    for (int i = 0; i < history.steps; i++)
        n += !without[i * (MAX_OPS + 1)];
    telling = true;
    tap_note("seed %llu: %s, %s, %d transactions", (unsigned long long)seed,
             reading_names[set.reading], set.dress->name, n);
    run(seed);
    tap_note("seed %llu: %s", (unsigned long long)seed, wrong);
    telling = false;
    left_out = NULL;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    uint64_t seed = number_of("TABLE_SEED", 1);
    uint64_t rounds = number_of("TABLE_ROUNDS", getenv("TABLE_SEED") ? 1 : 12000);
    uint64_t failed[READINGS] = {0}, runs[READINGS] = {0};

    log_set_level(LOG_QUIET);
    for (uint64_t i = 0; i < rounds; i++) {
        enum reading r = (enum reading)((seed + i) % READINGS);

        runs[r]++;
        if (run(seed + i))
            continue;
        if (failed[r]++ == 0)
            explain(seed + i);
        else if (failed[r] <= 20)
            tap_note("seed %llu: %s, %s: %s", (unsigned long long)(seed + i), reading_names[r],
                     set.dress->name, wrong);
    }
    for (int r = 0; r < READINGS; r++)
        ok(failed[r] == 0, "%s: %llu of %llu histories are read right", reading_names[r],
           (unsigned long long)(runs[r] - failed[r]), (unsigned long long)runs[r]);
    for (int d = 0; d < DIFFERENCES && rounds > 1000; d++)
        if (!ok(differed[d] > 0, "it occurs that %s", difference_names[d]))
            tap_note("an entry of the list that is not needed");
    return tap_done();
}
