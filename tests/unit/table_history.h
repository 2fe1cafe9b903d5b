/*
 * table_history - a small database whose tables and rows change, for tests of what is made of its
 * stream: every change as it is in the WAL, and the catalogs at every time.
 *
 * A history is a list of transactions, each drawn from a seed and its own number, so that one that
 * shows a failure can be made shorter by leaving parts out.  Transactions begin in another order
 * than they end; those that change a table wait for all that have changed its rows, so that the
 * order of their ends is the one that counts.
 */
#ifndef TESTS_UNIT_TABLE_HISTORY_H
#define TESTS_UNIT_TABLE_HISTORY_H

#include "tests/unit/tables.h"
#include "tests/unit/tap.h"

enum {
    MAX_ROWS = 4,
    MAX_STEPS = 40,
    MAX_OPS = 6, /* of a transaction */
    PARTS = MAX_STEPS * (MAX_OPS + 1), /* that can be left out: transactions and what they do */
    MAX_STATES = MAX_STEPS * MAX_OPS + 1,
    MAX_ENTRIES = MAX_STEPS * MAX_OPS,
    FIRST_NORMAL_XID = 3,
};

/* ---- chance ---- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t chance;

static int below(int n)
{
    chance = mix(chance);
    return (int)((chance >> 16) % (uint64_t)n);
}

static bool percent(int n)
{
    return below(100) < n;
}
/* ---- what a history is like ---- */

static struct {
    int steps;
    int ddl;    /* percent of transactions that change tables */
    bool mixed; /* such transactions change rows as well */
} history;

static bool telling;
static const bool *left_out; /* parts, when a history is made shorter */

#define TELL(...) (telling ? tap_note("  " __VA_ARGS__) : (void)0)

/* ---- the database ---- */

/* A value; the same id is the same text, whatever the type has become. */
struct cell {
    int id;
    bool null;
    bool nan;
    bool external; /* stored out of line */
};

/* Cells are found by attnum. */
struct row {
    bool there;
    struct cell cells[FAKE_ATTNUMS];
};

/* A change of a row, or a truncation of tables, as it is in the WAL. */
struct entry {
    enum operation op;
    int state; /* the catalogs at that time */
    int table;
    enum old_row logged;
    struct cell old[FAKE_ATTNUMS], new[FAKE_ATTNUMS];
    uint32_t unchanged; /* by attnum: of the new row, not written again */
    int truncated[FAKE_TABLES], ntruncated;
};

struct streamed {
    int step;
    uint32_t xid;
    int first, n; /* entries */
    int state;    /* of the catalogs at its commit, */
    uint32_t floor, ceiling; /* and what they say then of other transactions */
};

static struct {
    struct fake_catalog now;
    struct row rows[FAKE_TABLES][MAX_ROWS];
    uint16_t attnums[FAKE_TABLES]; /* given out so far */
    struct fake_catalog states[MAX_STATES];
    int nstates;
    struct entry entries[MAX_ENTRIES];
    int nentries;
    struct streamed stream[MAX_STEPS];
    int nstream;
    uint32_t next_xid, completed, first_xid, xid;
    uint32_t open[3]; /* transactions that have begun and not ended; 0 = none */
    uint32_t next_oid;
    int next_id;
} db;

static const char *const table_names[] = {"t", "u", "v", "p", "q", "r"};
static const char *const column_names[] = {"id", "a", "b", "c", "d", "e", "f", "g"};

static uint32_t take_xid(void)
{
    uint32_t xid = db.next_xid++;

    if (db.next_xid < FIRST_NORMAL_XID)
        db.next_xid = FIRST_NORMAL_XID;
    return xid;
}

static bool precedes(uint32_t a, uint32_t b)
{
    return a < FIRST_NORMAL_XID || (int32_t)(a - b) < 0;
}

static void complete(uint32_t xid)
{
    if (precedes(db.completed, xid))
        db.completed = xid;
}

static struct cell any_cell(const struct fake_column *c, bool key)
{
    const struct fake_type *type = &fake_types[c->type];
    struct cell cell = {.id = ++db.next_id};

    cell.null = c->computed_late || (!c->not_null && percent(30));
    cell.nan = !cell.null && !key && type->number && percent(15);
    cell.external = !cell.null && !cell.nan && type->toastable && percent(key ? 8 : 35);
    return cell;
}

static void tell_table(const char *what, const struct fake_table *t)
{
    char text[512];
    int len = 0;

    if (!telling)
        return;
    for (int i = 0; i < t->ncolumns; i++) {
        const struct fake_column *c = &t->columns[i];
        char *type = type_text(c->type, c->typmod);

        len += snprintf(text + len, sizeof text - (size_t)len, "%s%s %s%s%s%s%s @%d ^%u",
                        i ? ", " : "", c->name, type, t->primary & 1u << c->attnum ? " pk" : "",
                        t->unique & 1u << c->attnum ? " uk" : "", c->not_null ? " not null" : "",
                        c->computed_late ? " virtual" : "", c->attnum, c->since);
        free(type);
    }
    tap_note("  %u: %s %s %u %c%s since %u in %u: %s", db.xid, what, t->name, t->oid, t->identity,
             t->chosen ? " (chosen)" : "", t->since, t->parent, text);
}

/* ---- tables ---- */

static int free_slot(void)
{
    for (int i = 0; i < FAKE_TABLES; i++)
        if (!db.now.tables[i].oid)
            return i;
    return -1;
}

/* A table that is there and, as asked for, is or is not partitioned; -1 = none. */
static int any_table(bool partitioned, bool plain)
{
    int from = below(FAKE_TABLES);

    for (int i = 0; i < FAKE_TABLES; i++) {
        int t = (from + i) % FAKE_TABLES;

        if (db.now.tables[t].oid && (db.now.tables[t].partitioned ? partitioned : plain))
            return t;
    }
    return -1;
}

static int slot_of(const struct fake_table *t)
{
    return (int)(t - db.now.tables);
}

/* The table, those above and below it; returns how many. */
static int family(int t, int list[FAKE_TABLES])
{
    const struct fake_table *top = fake_given(&db.now, &db.now.tables[t]);
    int n = 0;

    list[n++] = slot_of(top);
    for (int i = 0; i < FAKE_TABLES; i++)
        if (db.now.tables[i].oid && db.now.tables[i].parent == top->oid)
            list[n++] = i;
    return n;
}

static struct fake_column *column_of(int t, const char *name)
{
    const struct fake_column *c = fake_column(&db.now.tables[t], name);

    return c ? &db.now.tables[t].columns[c - db.now.tables[t].columns] : NULL;
}

static const char *free_column_name(int t)
{
    int from = below((int)COUNT(column_names));

    for (size_t i = 0; i < COUNT(column_names); i++) {
        const char *name = column_names[((size_t)from + i) % COUNT(column_names)];

        if (!column_of(t, name))
            return name;
    }
    return NULL;
}

static const char *free_table_name(void)
{
    int from = below((int)COUNT(table_names));

    for (size_t i = 0; i < COUNT(table_names); i++) {
        const char *name = table_names[((size_t)from + i) % COUNT(table_names)];

        if (!fake_by_name(&db.now, "public", name))
            return name;
    }
    return NULL;
}

static const struct fake_column *any_column(int t)
{
    const struct fake_table *table = &db.now.tables[t];

    return &table->columns[below(table->ncolumns)];
}

static void give_type(struct fake_column *c)
{
    c->type = below((int)COUNT(fake_types));
    c->typmod = -1;
    if (!fake_types[c->type].modified || percent(30))
        return;
    c->typmod = c->type == T_NUMERIC ? (10 << 16 | (1 + below(3))) + 4
                : c->type == T_VARCHAR ? 9 + below(3)
                                       : 3 + below(3);
}

/* Appends a column and fills it. */
static void append_column(int t, struct fake_column c, bool external)
{
    struct fake_table *table = &db.now.tables[t];

    c.attnum = ++db.attnums[t];
    c.since = db.xid;
    table->columns[table->ncolumns++] = c;
    for (int i = 0; i < MAX_ROWS; i++) {
        struct cell *cell = &db.rows[t][i].cells[c.attnum];

        *cell = (struct cell){.id = ++db.next_id};
        cell->null = !c.not_null && !external;
        cell->external = external;
    }
}

/* ---- changes of tables ---- */

static void add_column(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    struct fake_column c = {0};
    const char *name = free_column_name(list[0]);
    bool external;

    for (int i = 0; i < n; i++)
        if (db.attnums[list[i]] + 1 >= FAKE_ATTNUMS ||
            db.now.tables[list[i]].ncolumns == FAKE_COLUMNS)
            return;
    if (!name)
        return;
    snprintf(c.name, sizeof c.name, "%s", name);
    give_type(&c);
    c.not_null = percent(25);
    c.computed_late = !c.not_null && percent(8);
    external = !c.computed_late && fake_types[c.type].toastable && percent(20);
    for (int i = 0; i < n; i++) {
        append_column(list[i], c, external);
        db.now.tables[list[i]].since = db.xid;
        tell_table(external ? "add column, out of line:" : "add column:", &db.now.tables[list[i]]);
    }
}

static void drop_column(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    char name[FAKE_NAME];

    if (db.now.tables[t].ncolumns < 2)
        return;
    snprintf(name, sizeof name, "%s", any_column(t)->name);
    for (int i = 0; i < n; i++) {
        struct fake_table *table = &db.now.tables[list[i]];
        struct fake_column *c = column_of(list[i], name);
        uint32_t bit = 1u << c->attnum;

        if (table->primary & bit)
            table->primary = 0;
        if (table->unique & bit) {
            table->unique = 0;
            table->chosen = false;
        }
        table->dropped[table->ndropped++] = (struct dropped_column){c->attnum, db.xid};
        memmove(c, c + 1, (size_t)(table->columns + table->ncolumns - (c + 1)) * sizeof *c);
        table->ncolumns--;
        tell_table("drop column:", table);
    }
}

static void rename_column(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    const char *name = free_column_name(t);
    char before[FAKE_NAME];

    snprintf(before, sizeof before, "%s", any_column(t)->name);
    for (int i = 0; name && i < n; i++) {
        struct fake_column *c = column_of(list[i], before);

        if (!c)
            continue;
        snprintf(c->name, sizeof c->name, "%s", name);
        c->since = db.xid;
        tell_table("rename column:", &db.now.tables[list[i]]);
    }
}

static void change_type(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    struct fake_column to = *any_column(t);

    if (to.computed_late)
        return;
    if (percent(50) && fake_types[to.type].modified)
        to.typmod += to.typmod < 0 ? 20 : 1;
    else
        give_type(&to);
    for (int i = 0; i < n; i++) {
        struct fake_column *c = column_of(list[i], to.name);

        c->type = to.type;
        c->typmod = to.typmod;
        c->since = db.xid;
        for (int j = 0; j < MAX_ROWS; j++) {
            struct cell *cell = &db.rows[list[i]][j].cells[c->attnum];

            cell->external &= fake_types[to.type].toastable;
            cell->nan &= fake_types[to.type].number;
        }
        tell_table("change type:", &db.now.tables[list[i]]);
    }
}

static bool has_nulls(const int list[], int n, const char *name)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < MAX_ROWS; j++)
            if (db.rows[list[i]][j].there &&
                db.rows[list[i]][j].cells[column_of(list[i], name)->attnum].null)
                return true;
    return false;
}

static void set_not_null(const int list[], int n, const char *name, bool not_null)
{
    for (int i = 0; i < n; i++) {
        struct fake_column *c = column_of(list[i], name);

        if (c->not_null != not_null)
            c->since = db.xid;
        c->not_null = not_null;
    }
}

static void change_not_null(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    const struct fake_column *c = any_column(t);

    if (c->computed_late)
        return;
    if ((db.now.tables[t].primary | db.now.tables[t].unique) & 1u << c->attnum)
        return;
    if (!c->not_null && has_nulls(list, n, c->name))
        return;
    set_not_null(list, n, c->name, !c->not_null);
    for (int i = 0; i < n; i++)
        tell_table("set or drop not null:", &db.now.tables[list[i]]);
}

/* A primary key or another unique index, on one column or two; or neither any more. */
static void change_index(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    bool primary = percent(60), drop = percent(30);
    const char *names[2] = {any_column(t)->name, any_column(t)->name};
    int nnames = 1 + percent(25);

    for (int j = 0; j < nnames && !drop; j++) {
        if (column_of(t, names[j])->computed_late || (primary && has_nulls(list, n, names[j])))
            return;
        if (primary)
            set_not_null(list, n, names[j], true);
    }
    for (int i = 0; i < n; i++) {
        struct fake_table *table = &db.now.tables[list[i]];
        uint32_t *index = primary ? &table->primary : &table->unique;

        *index = 0;
        for (int j = 0; j < nnames && !drop; j++)
            *index |= 1u << column_of(list[i], names[j])->attnum;
        if (!primary)
            table->chosen = false;
        tell_table("change index:", table);
    }
}

static void change_identity(int t)
{
    struct fake_table *table = &db.now.tables[t];
    bool usable = table->unique != 0;
    char identity;

    for (int i = 0; i < table->ncolumns; i++)
        if ((table->unique & 1u << table->columns[i].attnum) && !table->columns[i].not_null)
            usable = false;
    identity = "ddffni"[below(6)];
    if (identity == 'i' && !usable)
        return;
    if (identity != table->identity)
        table->since = db.xid;
    table->identity = identity;
    table->chosen = identity == 'i';
    tell_table("change identity:", table);
}

static void rename_table(int t)
{
    struct fake_table *table = &db.now.tables[t];
    const char *name = free_table_name();

    if (!name)
        return;
    TELL("%u: %s is %s from now on", db.xid, table->name, name);
    snprintf(table->name, sizeof table->name, "%s", name);
    table->since = db.xid;
}

static void drop_table(int t)
{
    int list[FAKE_TABLES], n = family(t, list);
    bool all = db.now.tables[t].partitioned;

    for (int i = 0; i < n; i++)
        if (all || list[i] == t) {
            tell_table("drop", &db.now.tables[list[i]]);
            db.now.tables[list[i]].oid = 0;
            memset(db.rows[list[i]], 0, sizeof db.rows[list[i]]);
        }
}

static int start_table(void)
{
    const char *name = free_table_name();
    int t = free_slot();

    if (!name || t < 0)
        return -1;
    db.now.tables[t] = (struct fake_table){
        .oid = db.next_oid++, .identity = 'd', .since = db.xid, .schema = "public",
    };
    snprintf(db.now.tables[t].name, FAKE_NAME, "%s", name);
    db.attnums[t] = 0;
    memset(db.rows[t], 0, sizeof db.rows[t]);
    return t;
}

static void create_table(bool partitioned)
{
    int t = start_table(), n = 1 + below(5);
    struct fake_table *table = &db.now.tables[t < 0 ? 0 : t];

    if (t < 0)
        return;
    table->partitioned = partitioned;
    for (int i = 0; i < n; i++) {
        struct fake_column c = {0};

        snprintf(c.name, sizeof c.name, "%s", i == 0 ? "id" : free_column_name(t));
        give_type(&c);
        c.not_null = percent(30);
        c.computed_late = i > 0 && !c.not_null && percent(5);
        append_column(t, c, false);
    }
    if (percent(70)) {
        table->columns[0].not_null = true;
        table->primary = 1u << 1;
    }
    if (percent(30))
        change_identity(t);
    tell_table("create", table);
}

/* A table like the partitioned one, its columns in another order, and a partition or not yet. */
static void create_like(int root)
{
    int t = start_table();
    const struct fake_table *above = &db.now.tables[root];
    struct fake_table *table = &db.now.tables[t < 0 ? 0 : t];
    int from = below(above->ncolumns);

    if (t < 0)
        return;
    if (percent(30))
        db.attnums[t]++; /* there was another column once */
    for (int i = 0; i < above->ncolumns; i++) {
        const struct fake_column *c = &above->columns[(from + i) % above->ncolumns];

        append_column(t, *c, false);
        if (above->primary & 1u << c->attnum)
            table->primary |= 1u << db.attnums[t];
        if (above->unique & 1u << c->attnum)
            table->unique |= 1u << db.attnums[t];
    }
    if (percent(70))
        table->parent = above->oid;
    tell_table("create", table);
}

static bool is_like(const struct fake_table *t, const struct fake_table *root)
{
    for (int i = 0; i < root->ncolumns; i++) {
        const struct fake_column *b = &root->columns[i], *a = fake_column(t, b->name);

        if (!a || a->type != b->type || a->typmod != b->typmod || a->not_null != b->not_null ||
            a->computed_late != b->computed_late ||
            !(t->primary & 1u << a->attnum) != !(root->primary & 1u << b->attnum))
            return false;
    }
    return t->ncolumns == root->ncolumns;
}

static void attach_or_detach(void)
{
    int root = any_table(true, false), t = any_table(false, true);
    struct fake_table *table = &db.now.tables[t < 0 ? 0 : t];

    if (root < 0 || t < 0)
        return;
    if (!table->parent && !is_like(table, &db.now.tables[root]))
        return;
    table->parent = table->parent ? 0 : db.now.tables[root].oid;
    table->since = db.xid;
    tell_table(table->parent ? "attach" : "detach", table);
}

static void change_tables(void)
{
    int t = any_table(true, true), root = any_table(true, false), what = below(100);

    if (t < 0 || what < 6)
        create_table(percent(20));
    else if (what < 12 && root >= 0)
        create_like(root);
    else if (what < 24)
        add_column(t);
    else if (what < 36)
        drop_column(t);
    else if (what < 44)
        rename_column(t);
    else if (what < 54)
        change_type(t);
    else if (what < 60)
        change_not_null(t);
    else if (what < 70)
        change_index(t);
    else if (what < 82)
        change_identity(t);
    else if (what < 86)
        rename_table(t);
    else if (what < 90)
        drop_table(t);
    else
        attach_or_detach();
    db.states[++db.nstates] = db.now;
}

/* ---- changes of rows ---- */

static struct entry *new_entry(enum operation op, int t)
{
    struct entry *e = &db.entries[db.nentries++];

    *e = (struct entry){.op = op, .state = db.nstates, .table = t};
    return e;
}

static const char *cell_text(const struct cell *c)
{
    static char texts[8][16];
    static unsigned next;
    char *text = texts[next++ % COUNT(texts)];

    if (c->nan)
        return "NaN";
    snprintf(text, sizeof texts[0], "%d", c->id);
    return text;
}

static void tell_cells(const char *tag, const struct fake_table *t, const struct cell *cells,
                       uint32_t unchanged, uint32_t only)
{
    char text[256] = "";
    int len = 0;

    if (!telling)
        return;
    for (int i = 0; i < t->ncolumns; i++) {
        uint16_t n = t->columns[i].attnum;

        if (only & 1u << n)
            len += snprintf(text + len, sizeof text - (size_t)len, " %s=%s%s", t->columns[i].name,
                            cells[n].null ? "null" : cell_text(&cells[n]),
                            unchanged & 1u << n ? " (unchanged)" : "");
    }
    tap_note("      %s%s", tag, text);
}

static uint32_t all_columns(const struct fake_table *t)
{
    uint32_t all = 0;

    for (int i = 0; i < t->ncolumns; i++)
        all |= 1u << t->columns[i].attnum;
    return all;
}

static void tell_entry(const struct entry *e)
{
    static const char *const names[] = {"insert", "update", "delete", "truncate"};
    const struct fake_table *t = &db.states[e->state].tables[e->table];

    TELL("%u: %s %s", db.xid, names[e->op], t->name);
    if (e->logged != OLD_NONE)
        tell_cells(e->logged == OLD_KEY ? "key" : "full", t, e->old, 0,
                   e->logged == OLD_KEY ? fake_key(t) : all_columns(t));
    if (e->op == OP_INSERT || e->op == OP_UPDATE)
        tell_cells("new", t, e->new, e->unchanged, all_columns(t));
}

static void insert_row(int t, struct row *row)
{
    const struct fake_table *table = &db.now.tables[t];
    struct entry *e = new_entry(OP_INSERT, t);

    row->there = true;
    for (int i = 0; i < table->ncolumns; i++) {
        const struct fake_column *c = &table->columns[i];

        row->cells[c->attnum] = any_cell(c, fake_key(table) & 1u << c->attnum);
    }
    memcpy(e->new, row->cells, sizeof e->new);
}

/* What is written of the row before: all of it, or the key where that matters, or nothing. */
static void log_old(struct entry *e, const struct fake_table *t, const struct row *row,
                    bool matters)
{
    memcpy(e->old, row->cells, sizeof e->old);
    if (t->identity == 'f')
        e->logged = OLD_FULL;
    else if (fake_key(t) && matters)
        e->logged = OLD_KEY;
}

static void update_row(int t, struct row *row)
{
    const struct fake_table *table = &db.now.tables[t];
    struct entry *e = new_entry(OP_UPDATE, t);
    struct row before = *row;
    bool key_matters = false;

    for (int i = 0; i < table->ncolumns; i++) {
        const struct fake_column *c = &table->columns[i];
        bool key = fake_key(table) & 1u << c->attnum;

        if (!c->computed_late && percent(key ? 15 : 40)) {
            row->cells[c->attnum] = any_cell(c, key);
            key_matters |= key;
        } else if (before.cells[c->attnum].external) {
            e->unchanged |= 1u << c->attnum;
            key_matters |= key;
        }
    }
    memcpy(e->new, row->cells, sizeof e->new);
    log_old(e, table, &before, key_matters);
}

static void change_rows(void)
{
    int t = any_table(false, true);
    struct row *row = &db.rows[t < 0 ? 0 : t][below(MAX_ROWS)];

    if (t < 0)
        return;
    if (!row->there) {
        insert_row(t, row);
    } else if (percent(70)) {
        update_row(t, row);
    } else {
        log_old(new_entry(OP_DELETE, t), &db.now.tables[t], row, true);
        row->there = false;
    }
    tell_entry(&db.entries[db.nentries - 1]);
}

static void truncate_some(void)
{
    int t = any_table(true, true), list[FAKE_TABLES], n;
    struct entry *e;

    if (t < 0)
        return;
    n = family(t, list);
    e = new_entry(OP_TRUNCATE, t);
    e->truncated[e->ntruncated++] = t;
    for (int i = 0; i < n; i++)
        if (list[i] != t && db.now.tables[t].partitioned)
            e->truncated[e->ntruncated++] = list[i];
    for (int i = 0; i < e->ntruncated; i++)
        memset(db.rows[e->truncated[i]], 0, sizeof db.rows[0]);
    tell_entry(e);
}

/* ---- transactions ---- */

/* Transactions begin in another order than they end. */
static void choose_xid(void)
{
    uint32_t *open = &db.open[below((int)COUNT(db.open))];

    if (*open == 0 && percent(40))
        *open = take_xid();
    if (*open && percent(15)) { /* aborted */
        complete(*open);
        *open = 0;
    }
    open = &db.open[below((int)COUNT(db.open))];
    db.xid = *open && percent(60) ? *open : take_xid();
    if (db.xid == *open)
        *open = 0;
}

static void commit(int step, int first)
{
    struct streamed *s = &db.stream[db.nstream++];

    complete(db.xid);
    *s = (struct streamed){
        .step = step, .xid = db.xid, .first = first, .n = db.nentries - first, .state = db.nstates,
    };
    s->ceiling = db.completed + 1 < FIRST_NORMAL_XID ? FIRST_NORMAL_XID : db.completed + 1;
    s->floor = s->ceiling;
    for (size_t i = 0; i < COUNT(db.open); i++)
        if (db.open[i] && precedes(db.open[i], s->floor))
            s->floor = db.open[i];
}

/* Part `part` of the history is drawn from here on; whether it is wanted. */
static bool begin_part(uint64_t seed, int part)
{
    chance = mix(seed * PARTS * 2 + (uint64_t)part);
    return !left_out || !left_out[part];
}

static void step(uint64_t seed, int number)
{
    int part = number * (MAX_OPS + 1), n, first = db.nentries;
    bool tables;

    if (!begin_part(seed, part))
        return;
    tables = percent(history.ddl);
    n = 1 + below(MAX_OPS - 1);
    choose_xid();
    for (int i = 0; i < n; i++) {
        if (!begin_part(seed, part + 1 + i))
            continue;
        if (tables && (!history.mixed || percent(50)))
            change_tables();
        else if (percent(6))
            truncate_some();
        else
            change_rows();
    }
    commit(number, first);
}

static void start_database(void)
{
    memset(&db.now, 0, sizeof db.now);
    memset(db.rows, 0, sizeof db.rows);
    memset(db.open, 0, sizeof db.open);
    db.nentries = db.nstream = db.nstates = db.next_id = 0;
    db.next_oid = 100;
    db.next_xid = percent(20) ? UINT32_MAX - (uint32_t)below(30) : 700;
    db.first_xid = db.next_xid;
    db.completed = db.first_xid - 1;
    db.xid = percent(50) ? 2 : db.first_xid - 50;
    for (int i = 1 + below(2); i > 0; i--)
        create_table(false);
    if (percent(50)) {
        create_table(true);
        for (int i = 1 + below(2); i > 0; i--)
            if (any_table(true, false) >= 0)
                create_like(any_table(true, false));
    }
    db.states[0] = db.now;
}

static void make_history(uint64_t seed)
{
    start_database();
    for (int i = 0; i < history.steps; i++)
        step(seed, i);
}

#endif
