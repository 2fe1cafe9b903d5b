/*
 * table_test - tables and columns that plugins name: which relation and which rows become of them,
 * and when the catalogs are asked.
 *
 * A script is a list of lines, played in the dresses of one plugin after another (tables.h):
 *
 *     table public.t 100 d: id integer pk, a text, b numeric(10,2) not null
 *                       the catalogs have this table now: OID, replica identity, columns.  Behind the
 *                       identity may stand: since N, in OID (a partition of that), uncaptured.  A
 *                       column may be pk, uk (in another unique index), id (uk, and that is the
 *                       replica identity), not null, virtual, @N (attnum N, default: its place),
 *                       ^N (since transaction N); "- ^N" is one that transaction N has dropped
 *     gone public.t     they have it no longer
 *     seen FLOOR CEILING   what they say of transactions from now on; else that all that the script
 *                       has named so far have ended
 *     settled XID       what is known from the beginning of the stream
 *     soon, later       50 ms, two seconds pass
 *     begin XID         a transaction begins; the one before, if any, ends and has changed rows
 *     empty XID         one that has changed no rows passes, but tables, perhaps
 *     fail, fail types  the catalogs cannot be asked about tables, about types; up to
 *     mend
 *     says TEXT         what has been logged since the beginning or the last such line; or nothing
 *
 * and messages, each with the event that comes of it, how often the catalogs have been asked about a
 * table for it, and the version of the relation:
 *
 *     I public.t {id integer=1, a text=x}
 *     U public.t old{id integer=1} {id integer=2, a text=~}      ~ is an unchanged value; NaN
 *     U public.t same{id integer=1} {id integer=1, a text=x}     an old row that some repeat
 *     D public.t old{id integer=1}
 *     T public.t, public.u
 *     C public.t        asks whether it is captured
 *
 *     update public.t 100 d (id:23* a:25 b:1700/655366) key(1 - -) new(2 ~ null)
 *                       * is part of the identity, /N the type modifier, - absent, ? lost
 */
#include <time.h>

#include "base/clock.h"
#include "tests/unit/capture.h"
#include "tests/unit/tables.h"

/* ---- time ---- */

static usec_t ticks;

/* In place of the C library's: a second passes when the script says so. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    t->tv_sec = ticks / USEC_PER_SEC;
    t->tv_nsec = ticks % USEC_PER_SEC * 1000;
    return 0;
}

/* ---- a decoder at work ---- */

struct session {
    const struct dress *dress;
    struct fake_catalog catalog;
    struct describer describer;
    struct decoder *decoder;
    struct tables *tables;
    struct event event;
    bool in_transaction;
    bool fail, fail_types;
    bool seen;       /* the script says what the catalogs say of transactions */
    uint32_t newest; /* else that all up to this one have ended */
    unsigned asked;
};

static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    struct session *s = arg;

    s->asked++;
    if (s->fail)
        return OUTCOME_UNAVAILABLE;
    if (!s->seen)
        s->catalog.floor = s->catalog.ceiling = s->newest + 1;
    fake_describe(&s->catalog, schema, table, d);
    return OUTCOME_OK;
}

static enum outcome find_type(void *arg, const char *type, uint32_t *oid)
{
    struct session *s = arg;

    if (s->fail_types)
        return OUTCOME_UNAVAILABLE;
    *oid = fake_type_oid(type);
    return OUTCOME_OK;
}

/* The tables are driven without a format: a decoder of any kind is there for what it owns. */
static const struct decoder_kind nothing_kind = {.name = "nothing", .size = sizeof(struct decoder)};

static void session_start(struct session *s, const struct dress *dress)
{
    ticks = 100 * USEC_PER_SEC;
    *s = (struct session){.dress = dress};
    s->describer = (struct describer){s, describe, find_type};
    s->decoder = decoder_new(&(struct decoder_setup){
        .kind = &nothing_kind, .describer = &s->describer,
    });
    s->decoder->nan_is_null = dress->nan_is_null;
    s->tables = tables_new(dress->ways);
    s->newest = 900;
    tables_transaction_begins(s->tables);
    s->decoder->transaction.xid = 900;
    s->in_transaction = true;
}

static void session_end(struct session *s)
{
    tables_free(s->tables);
    decoder_free(s->decoder);
}

/* ---- words of scripts ---- */

/* A copy of what stands before the next of the characters in `until`; *p goes behind it. */
static char *take_until(const char **p, const char *until)
{
    size_t len = strcspn(*p, until);
    char *text = xstrndup(*p, len);

    *p += len + ((*p)[len] != '\0');
    return text;
}

static bool take_word(const char **p, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(*p, word, len) != 0)
        return false;
    *p += len;
    return true;
}

static uint32_t take_number(const char **p)
{
    char *end;
    unsigned long n = strtoul(*p, &end, 10);

    *p = end;
    return (uint32_t)n;
}

/* "numeric(10,2) not null": the type that the text begins with, and its modifier. */
static int take_type(const char **p, int32_t *typmod)
{
    int best = -1;
    size_t len = 0;

    *typmod = -1;
    for (size_t i = 0; i < COUNT(fake_types); i++) {
        const char *name = fake_types[i].name, *open = strchr(*p, '(');
        size_t n = strlen(name), head = strcspn(name, " ");

        if (i == T_TIMESTAMP && open && open == *p + head && strncmp(*p, name, head) == 0) {
            const char *digits = open + 1;

            *typmod = (int32_t)take_number(&digits);
            *p = digits + 1 + n - head;
            return T_TIMESTAMP;
        }
        if (strncmp(*p, name, n) == 0 && n > len) {
            best = (int)i;
            len = n;
        }
    }
    if (best < 0)
        return best;
    *p += len;
    if (**p == '(') {
        uint32_t first, second = 0;

        ++*p;
        first = take_number(p);
        if (**p == ',') {
            ++*p;
            second = take_number(p);
        }
        ++*p;
        *typmod = (int32_t)(best == T_NUMERIC ? (first << 16 | second) + 4 : first + 4);
    }
    return best;
}

/* ---- the catalogs of scripts ---- */

static void take_names(const char **p, char schema[FAKE_NAME], char name[FAKE_NAME])
{
    char *first = take_until(p, "."), *second = take_until(p, " ,");

    snprintf(schema, FAKE_NAME, "%s", first);
    snprintf(name, FAKE_NAME, "%s", second);
    free(first);
    free(second);
}

static void take_column(const char **p, struct fake_table *t)
{
    struct fake_column *c = &t->columns[t->ncolumns];
    char *name = take_until(p, " ");
    bool dropped = strcmp(name, "-") == 0;
    uint32_t bit;

    *c = (struct fake_column){.attnum = (uint16_t)(t->ncolumns + t->ndropped + 1)};
    snprintf(c->name, sizeof c->name, "%s", name);
    free(name);
    if (dropped)
        --*p;
    else
        c->type = take_type(p, &c->typmod);
    while (**p == ' ') {
        ++*p;
        bit = 1u << c->attnum;
        if (take_word(p, "pk")) {
            t->primary |= bit;
            c->not_null = true;
        } else if (take_word(p, "uk")) {
            t->unique |= bit;
        } else if (take_word(p, "id")) {
            t->unique |= bit;
            t->chosen = c->not_null = true;
        } else if (take_word(p, "not null")) {
            c->not_null = true;
        } else if (take_word(p, "virtual")) {
            c->computed_late = true;
        } else if (take_word(p, "@")) {
            c->attnum = (uint16_t)take_number(p);
        } else if (take_word(p, "^")) {
            c->since = take_number(p);
        }
    }
    if (dropped)
        t->dropped[t->ndropped++] = (struct dropped_column){c->attnum, c->since};
    else
        t->ncolumns++;
}

static struct fake_table *slot_for(struct fake_catalog *c, const char *schema, const char *name)
{
    const struct fake_table *found = fake_by_name(c, schema, name);

    if (found)
        return &c->tables[found - c->tables];
    for (size_t i = 0; i < FAKE_TABLES; i++)
        if (!c->tables[i].oid)
            return &c->tables[i];
    return NULL;
}

static void note_transaction(struct session *s, uint32_t xid)
{
    if (xid > s->newest && xid < UINT32_MAX / 2)
        s->newest = xid;
}

static void define(struct session *s, const char *p)
{
    struct fake_catalog *c = &s->catalog;
    struct fake_table t = {0};

    take_names(&p, t.schema, t.name);
    t.oid = take_number(&p);
    t.identity = p[1];
    p += 2;
    while (*p == ' ') {
        p++;
        if (take_word(&p, "since "))
            t.since = take_number(&p);
        else if (take_word(&p, "in "))
            t.parent = take_number(&p);
        else if (take_word(&p, "uncaptured"))
            t.uncaptured = true;
    }
    for (p += strspn(p, ": "); *p; p += strspn(p, ", "))
        take_column(&p, &t);
    note_transaction(s, t.since);
    for (int i = 0; i < t.ncolumns; i++)
        note_transaction(s, t.columns[i].since);
    for (int i = 0; i < t.ndropped; i++)
        note_transaction(s, t.dropped[i].since);
    *slot_for(c, t.schema, t.name) = t;
}

static void forget(struct fake_catalog *c, const char *p)
{
    char schema[FAKE_NAME], name[FAKE_NAME];

    take_names(&p, schema, name);
    slot_for(c, schema, name)->oid = 0;
}

/* ---- the messages of scripts ---- */

enum { ROW_COLUMNS = 64 };

static struct sent_column old_columns[ROW_COLUMNS], new_columns[ROW_COLUMNS];

/* The event borrows from it until the next one. */
static struct sent_change message;

/* The value of a column; false when the plugin does not send it at all. */
static bool make_value(const struct session *s, bool old, int type, const char *text,
                       struct value *v)
{
    *v = (struct value){.kind = VALUE_TEXT};
    if (strcmp(text, "~") == 0) {
        v->kind = VALUE_UNCHANGED;
        return !(s->dress->ways & TABLES_OMIT_UNCHANGED);
    }
    if (strcmp(text, "null") == 0) {
        v->kind = VALUE_NULL;
        return !old || s->dress->old_nulls;
    }
    if (strcmp(text, "NaN") == 0 && type >= 0 && fake_types[type].number && s->dress->nan_is_null) {
        v->kind = VALUE_NULL;
        return true;
    }
    v->data = xstrdup(text);
    v->len = (uint32_t)strlen(text);
    return true;
}

/* {NAME TYPE=VALUE, ...}, where a type may end with "not null"; NAME=VALUE has none. */
static void take_row(const struct session *s, const char **p, bool old, struct sent_row *row)
{
    ++*p;
    while (**p && **p != '}') {
        size_t len = strcspn(*p, " =");
        char *name = xstrndup(*p, len), *text;
        int32_t typmod = -1;
        int type = -1;
        bool not_null;
        struct value v;

        *p += len;
        if (**p == ' ') {
            ++*p;
            type = take_type(p, &typmod);
        }
        not_null = take_word(p, " not null");
        ++*p;
        len = strcspn(*p, ",}");
        text = xstrndup(*p, len);
        *p += len;
        *p += strspn(*p, ", ");
        if (make_value(s, old, type, text, &v))
            row->columns[row->n++] = say_column(s->dress, old, name, type, typmod, not_null, v);
        free(name);
        free(text);
    }
    *p += strspn(*p, "} ");
}

static enum outcome change(struct session *s, const char *p)
{
    struct sent_change *c = &message;
    char schema[FAKE_NAME], name[FAKE_NAME];

    *c = (struct sent_change){
        .op = *p == 'I' ? OP_INSERT : *p == 'U' ? OP_UPDATE : OP_DELETE,
        .lsn = 0x500,
        .old_row = {old_columns, 0},
        .new_row = {new_columns, 0},
        .old_has_nulls = s->dress->old_nulls,
    };

    p += 2;
    take_names(&p, schema, name);
    c->schema = slice_of(schema);
    c->table = slice_of(name);
    while (*p) {
        bool repeated = take_word(&p, "same"), old = repeated || take_word(&p, "old");

        take_row(s, &p, old, old ? &c->old_row : &c->new_row);
        if (repeated && !(s->dress->ways & TABLES_REPEAT_KEY))
            unsay_row(&c->old_row);
        else
            c->old_sent |= old;
    }
    s->decoder->transaction.changed = true;
    return tables_change(s->tables, s->decoder, c, &s->event);
}

static enum outcome is_captured(struct session *s, const char *p)
{
    char schema[FAKE_NAME], name[FAKE_NAME];
    struct sent_change c = {.op = OP_INSERT};
    bool captured = false;
    enum outcome outcome;

    p += 2;
    take_names(&p, schema, name);
    c.schema = slice_of(schema);
    c.table = slice_of(name);
    outcome = tables_captured(s->tables, s->decoder, &c, &captured);
    s->event.kind = captured ? EVENT_NONE : EVENT_MESSAGE;
    return outcome;
}

static enum outcome truncate_tables(struct session *s, const char *p)
{
    char schemas[8][FAKE_NAME], names[8][FAKE_NAME];
    struct sent_table tables[8];
    uint32_t n = 0;

    for (p += 2; *p && n < COUNT(tables); p += strspn(p, " "), n++) {
        take_names(&p, schemas[n], names[n]);
        tables[n] = (struct sent_table){slice_of(schemas[n]), slice_of(names[n])};
    }
    return tables_truncate(s->tables, s->decoder, tables, n, &s->event);
}

/* ---- events as text ---- */

static struct {
    char data[1024];
    size_t len;
} text;

__attribute__((format(printf, 1, 2))) static void add(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    text.len += (size_t)vsnprintf(text.data + text.len, sizeof text.data - text.len, fmt, args);
    va_end(args);
}

static void add_relation(const struct relation *r)
{
    add(" %s.%s %u %c (", r->schema, r->name, r->oid, r->identity);
    for (int i = 0; i < r->ncolumns; i++) {
        const struct column *c = &r->columns[i];

        add("%s%s:%u", i ? " " : "", c->name, c->type_oid);
        if (c->typmod != -1)
            add("/%d", c->typmod);
        if (c->identity)
            add("*");
        if (c->key != c->identity)
            add("!");
    }
    add(")");
}

static void add_row(const char *tag, const struct relation *r, const struct value *row)
{
    static const char *const words[] = {
        [VALUE_ABSENT] = "-", [VALUE_NULL] = "null", [VALUE_UNCHANGED] = "~", [VALUE_LOST] = "?",
        [VALUE_BINARY] = "binary",
    };

    add(" %s(", tag);
    for (int i = 0; i < r->ncolumns; i++) {
        add("%s", i ? " " : "");
        if (row[i].kind == VALUE_TEXT)
            add("%.*s", (int)row[i].len, row[i].data);
        else
            add("%s", words[row[i].kind]);
    }
    add(")");
}

static void add_change(const struct event *e)
{
    static const char *const operations[] = {
        [OP_INSERT] = "insert", [OP_UPDATE] = "update", [OP_DELETE] = "delete",
    };
    const struct change *c = &e->change;

    add("%s", operations[c->op]);
    add_relation(c->relation);
    if (c->old_row)
        add_row(c->old_kind == OLD_KEY ? "key" : c->old_kind == OLD_FULL ? "full" : "none",
                c->relation, c->old_row);
    else if (c->old_kind != OLD_NONE)
        add(" an old kind without an old row");
    if (c->new_row)
        add_row("new", c->relation, c->new_row);
    if (c->relation != e->relation || c->lsn != 0x500 || !e->transaction)
        add(" and the event is not whole");
}

static void add_event(enum outcome outcome, const struct event *e)
{
    text.len = 0;
    text.data[0] = '\0';
    if (outcome != OUTCOME_OK) {
        add("outcome %d", outcome);
    } else if (e->kind == EVENT_CHANGE) {
        add_change(e);
    } else if (e->kind == EVENT_TRUNCATE) {
        add("truncate");
        for (uint32_t i = 0; i < e->ntruncated; i++)
            add_relation(e->relations[i]);
    } else {
        add("%s", e->kind == EVENT_NONE ? "nothing" : "another event");
    }
}

static uint32_t version_of(enum outcome outcome, const struct event *e)
{
    if (outcome == OUTCOME_OK && e->kind == EVENT_CHANGE)
        return e->relation->version;
    return outcome == OUTCOME_OK && e->kind == EVENT_TRUNCATE ? e->relations[0]->version : 0;
}

/* ---- scripts ---- */

struct line {
    const char *line;
    const char *event; /* of messages */
    unsigned asked;
    uint32_t version; /* 0 = not to speak of */
};

static void pass(struct session *s, bool changed)
{
    if (s->in_transaction)
        tables_transaction_ends(s->tables, s->decoder->transaction.xid, changed);
    s->in_transaction = false;
}

static void begin(struct session *s, uint32_t xid)
{
    pass(s, true);
    note_transaction(s, xid);
    tables_transaction_begins(s->tables);
    s->decoder->transaction = (struct transaction){.xid = xid};
    s->in_transaction = true;
}

static bool run_command(struct session *s, const char *p)
{
    if (take_word(&p, "table ")) {
        define(s, p);
    } else if (take_word(&p, "gone ")) {
        forget(&s->catalog, p);
    } else if (take_word(&p, "seen ")) {
        s->seen = true;
        s->catalog.floor = take_number(&p);
        s->catalog.ceiling = take_number(&p);
    } else if (take_word(&p, "settled ")) {
        s->decoder->settled = take_number(&p);
    } else if (take_word(&p, "soon")) {
        ticks += 50000;
    } else if (take_word(&p, "later")) {
        ticks += 2 * USEC_PER_SEC;
    } else if (take_word(&p, "begin ")) {
        begin(s, take_number(&p));
    } else if (take_word(&p, "empty ")) {
        begin(s, take_number(&p));
        pass(s, false);
    } else if (take_word(&p, "fail types")) {
        s->fail_types = true;
    } else if (take_word(&p, "fail")) {
        s->fail = true;
    } else if (take_word(&p, "mend")) {
        s->fail = s->fail_types = false;
    } else {
        return false;
    }
    return true;
}

static enum outcome run_message(struct session *s, const char *line)
{
    switch (*line) {
    case 'T':
        return truncate_tables(s, line);
    case 'C':
        return is_captured(s, line);
    default:
        return change(s, line);
    }
}

static bool has_said(const struct session *s, const char *expected)
{
    const char *said = logged();
    bool right = strcmp(expected, "nothing") == 0 ? !*said : strstr(said, expected) != NULL;

    if (!right)
        tap_note("%s: says %s instead of %s", s->dress->name, *said ? said : "nothing", expected);
    log_forget();
    return right;
}

/* Whether a line does what it should; tells what it does instead. */
static bool run_line(struct session *s, const struct line *line)
{
    const char *p = line->line;
    unsigned before = s->asked;
    enum outcome outcome;
    uint32_t version;

    if (take_word(&p, "says "))
        return has_said(s, p);
    if (run_command(s, line->line))
        return true;
    memset(&s->event, 0xa5, sizeof s->event);
    s->event.lsn = 0x500;
    outcome = run_message(s, line->line);
    add_event(outcome, &s->event);
    version = version_of(outcome, &s->event);
    unsay_row(&message.old_row);
    unsay_row(&message.new_row);
    if (strcmp(text.data, line->event) == 0 && s->asked - before == line->asked &&
        (version == line->version || line->version == 0))
        return true;
    tap_note("%s: %s", s->dress->name, line->line);
    tap_note("     got: %s, asked %u, version %u", text.data, s->asked - before, version);
    tap_note("expected: %s, asked %u, version %u", line->event, line->asked, line->version);
    return false;
}

#define ALL ((1u << DRESSES) - 1)
#define ONLY(dress) (1u << (dress))
#define WAL2JSON (ONLY(WAL2JSON_1) | ONLY(WAL2JSON_1_OID) | ONLY(WAL2JSON_2))
#define NAMED (ALL & ~ONLY(DECODERBUFS_OLD))

/* Plays a script in each of the dresses that are bits of `in`; goes on to the end in any case. */
static void play(const char *name, unsigned in, const struct line *lines, size_t n)
{
    bool right = true;

    for (unsigned i = 0; i < DRESSES; i++) {
        struct session s;

        if (!(in & ONLY(i)))
            continue;
        log_forget();
        session_start(&s, &dresses[i]);
        for (size_t j = 0; j < n; j++)
            right &= run_line(&s, &lines[j]);
        session_end(&s);
    }
    ok(right, "%s", name);
}

#define PLAY(name, in, ...)                                                                        \
    do {                                                                                           \
        static const struct line lines[] = {__VA_ARGS__};                                          \
        play(name, in, lines, COUNT(lines));                                                       \
    } while (0)

#define DO(line) {(line), NULL, 0, 0}

/* ---- what a table is ---- */

static void test_steady(void)
{
    PLAY("asked once, one version", ALL,
         DO("table public.t 100 d: id integer pk, a text, n numeric(10,2) not null"),
         {"I public.t {id integer not null=1, a text=x, n numeric(10,2) not null=1.50}",
          "insert public.t 100 d (id:23* a:25 n:1700/655366) new(1 x 1.50)", 1, 1},
         {"U public.t same{id integer=1} {id integer not null=1, a text=~, "
          "n numeric(10,2) not null=2}",
          "update public.t 100 d (id:23* a:25 n:1700/655366) new(1 ~ 2)", 0, 1},
         {"U public.t old{id integer=1} {id integer not null=2, a text=~, "
          "n numeric(10,2) not null=2}",
          "update public.t 100 d (id:23* a:25 n:1700/655366) key(1 - -) new(2 ~ 2)", 0, 1},
         {"U public.t same{id integer=2} {id integer not null=2, a text=null, "
          "n numeric(10,2) not null=2}",
          "update public.t 100 d (id:23* a:25 n:1700/655366) new(2 null 2)", 0, 1},
         {"D public.t old{id integer=2}",
          "delete public.t 100 d (id:23* a:25 n:1700/655366) key(2 - -)", 0, 1},
         {"T public.t", "truncate public.t 100 d (id:23* a:25 n:1700/655366)", 0, 1},
         DO("begin 901"),
         {"I public.t {id integer not null=3, a text=, n numeric(10,2) not null=0}",
          "insert public.t 100 d (id:23* a:25 n:1700/655366) new(3  0)", 0, 1},
         DO("says nothing"));
    PLAY("a deletion first", ALL,
         DO("table public.t 100 d: id integer pk, v character varying(5)"),
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* v:1043/9) key(1 -)", 1, 1},
         {"D public.t old{id integer=2}", "delete public.t 100 d (id:23* v:1043/9) key(2 -)", 0, 1},
         {"I public.t {id integer=1, v character varying(5)=x}",
          "insert public.t 100 d (id:23* v:1043/9) new(1 x)", 0, 1},
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* v:1043/9) key(1 -)", 0, 1},
         {"I public.t {id integer=2, v character varying(5)=x}",
          "insert public.t 100 d (id:23* v:1043/9) new(2 x)", 0, 1});
    PLAY("an update with an unchanged value first", WAL2JSON,
         DO("table public.t 100 d: a text, id integer pk, b text, c integer"),
         {"U public.t same{id integer=1} {a text=~, id integer=1, b text=~, c integer=2}",
          "update public.t 100 d (a:25 id:23* b:25 c:23) new(~ 1 ~ 2)", 1, 1},
         {"U public.t same{id integer=1} {a text=x, id integer=1, b text=~, c integer=3}",
          "update public.t 100 d (a:25 id:23* b:25 c:23) new(x 1 ~ 3)", 0, 1},
         {"U public.t same{id integer=1} {a text=~, id integer=1, b text=y, c integer=4}",
          "update public.t 100 d (a:25 id:23* b:25 c:23) new(~ 1 y 4)", 0, 1},
         {"I public.t {a text=x, id integer=2, b text=y, c integer=4}",
          "insert public.t 100 d (a:25 id:23* b:25 c:23) new(x 2 y 4)", 0, 1});
    PLAY("two tables", ALL,
         DO("table public.t 100 d: id integer pk"),
         DO("table other.t 101 n: id bigint"),
         {"I public.t {id integer=1}", "insert public.t 100 d (id:23*) new(1)", 1, 1},
         {"I other.t {id bigint=1}", "insert other.t 101 n (id:20) new(1)", 1, 2},
         {"I public.t {id integer=2}", "insert public.t 100 d (id:23*) new(2)", 0, 1},
         {"I other.t {id bigint=2}", "insert other.t 101 n (id:20) new(2)", 0, 2});
}

static void test_types(void)
{
    PLAY("types and modifiers", ALL,
         DO("table public.t 100 n: v character varying(5), n numeric(10,2), m numeric, "
            "s timestamp(3) without time zone, e \"My Enum\", f \"My Enum\"[]"),
         {"I public.t {v character varying(5)=a, n numeric(10,2)=1, m numeric=2, "
          "s timestamp(3) without time zone=b, e \"My Enum\"=c, f \"My Enum\"[]=d}",
          "insert public.t 100 n (v:1043/9 n:1700/655366 m:1700 s:1114/3 e:50001 f:50002) "
          "new(a 1 2 b c d)", 1, 1});
    PLAY("types without the catalogs", ONLY(WAL2JSON_1) | ONLY(WAL2JSON_2) | ONLY(DECODERBUFS),
         {"I public.t {v character varying(5)=a, n numeric(10,2)=1, m numeric=2, "
          "s timestamp(3) without time zone=b, e \"My Enum\"=c, f \"My Enum\"[]=d}",
          "insert public.t 4294967295 d (v:1043/9 n:1700/655366 m:1700 s:1114/3 e:50001 f:50002) "
          "new(a 1 2 b c d)", 1, 1});
    PLAY("types without the catalogs or modifiers", ONLY(TEST_DECODING) | ONLY(DECODERBUFS_OLD),
         {"I public.t {v character varying(5)=a, n numeric(10,2)=1, e \"My Enum\"=c, "
          "f \"My Enum\"[]=d}",
          "insert public.t 4294967295 d (v:1043 n:1700 e:50001 f:50002) new(a 1 c d)", 1, 1});
    PLAY("types that are not said", ALL,
         DO("table public.t 100 d: id integer pk, n numeric(10,2)"),
         {"I public.t {id=1, n=2}", "insert public.t 100 d (id:23* n:1700/655366) new(1 2)", 1, 1},
         {"D public.t old{id=1}", "delete public.t 100 d (id:23* n:1700/655366) key(1 -)", 0, 1});
    PLAY("a modifier in the middle of a type, in a key", ALL,
         DO("table public.t 100 d: id timestamp(3) without time zone pk, a integer"),
         {"I public.t {id timestamp(3) without time zone=1, a integer=2}",
          "insert public.t 100 d (id:1114/3* a:23) new(1 2)", 1, 1},
         {"D public.t old{id timestamp(3) without time zone=1}",
          "delete public.t 100 d (id:1114/3* a:23) key(1 -)", 0, 1});
    PLAY("another modifier than the catalogs have by now", NAMED & ~ONLY(TEST_DECODING),
         DO("table public.t 100 n: n numeric(12,4), m numeric(12,4)"),
         {"I public.t {n numeric(10,2)=1, m numeric=1.23456}",
          "insert public.t 100 n (n:1700/655366 m:1700) new(1 1.23456)", 1, 1});
    PLAY("... where the plugin has none", ONLY(TEST_DECODING) | ONLY(DECODERBUFS_OLD),
         DO("table public.t 100 n: n numeric(12,4)"),
         {"I public.t {n numeric(10,2)=1}", "insert public.t 100 n (n:1700/786440) new(1)", 1, 1});
    PLAY("another type than the catalogs have by now", ALL,
         DO("table public.t 100 d: id bigint pk, a text"),
         {"I public.t {id integer=1, a integer=2}",
          "insert public.t 100 d (id:23* a:23) new(1 2)", 1, 1},
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* a:23) key(1 -)", 0, 1},
         {"I public.t {id bigint=1, a text=2}",
          "insert public.t 100 d (id:20* a:25) new(1 2)", 0, 2});
}

/* ---- columns ---- */

static void test_columns(void)
{
    PLAY("columns are added, dropped, renamed, of another type", ALL,
         DO("table public.t 100 d: id integer pk, a text, b text"),
         {"I public.t {id integer=1, a text=x, b text=y}",
          "insert public.t 100 d (id:23* a:25 b:25) new(1 x y)", 1, 1},
         DO("table public.t 100 d: id integer pk, a text, b text, c integer ^901"), DO("begin 902"),
         {"I public.t {id integer=1, a text=x, b text=y, c integer=null}",
          "insert public.t 100 d (id:23* a:25 b:25 c:23) new(1 x y null)", 1, 2},
         DO("table public.t 100 d: id integer pk, - ^903, b text, c integer ^901"), DO("begin 904"),
         {"I public.t {id integer=1, b text=y, c integer=5}",
          "insert public.t 100 d (id:23* b:25 c:23) new(1 y 5)", 1, 3},
         DO("table public.t 100 d: id integer pk, - ^903, d text ^905, c integer ^901"),
         DO("begin 906"),
         {"I public.t {id integer=1, d text=y, c integer=5}",
          "insert public.t 100 d (id:23* d:25 c:23) new(1 y 5)", 1, 4},
         DO("table public.t 100 d: id integer pk, - ^903, d text ^905, c bigint ^907"),
         DO("begin 908"),
         {"I public.t {id integer=1, d text=y, c bigint=5}",
          "insert public.t 100 d (id:23* d:25 c:20) new(1 y 5)", 1, 5},
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* d:25 c:20) key(1 - -)", 0, 5},
         {"I public.t {id integer=1, d text=y, c bigint=5}",
          "insert public.t 100 d (id:23* d:25 c:20) new(1 y 5)", 0, 5});
    PLAY("a column is dropped and added again", ALL,
         DO("table public.t 100 d: id integer pk, a text, b text"),
         {"I public.t {id integer=1, a text=x, b text=y}",
          "insert public.t 100 d (id:23* a:25 b:25) new(1 x y)", 1, 1},
         DO("table public.t 100 d: id integer pk, - ^901, b text, a text ^901"), DO("begin 902"),
         {"I public.t {id integer=1, b text=y, a text=z}",
          "insert public.t 100 d (id:23* b:25 a:25) new(1 y z)", 1, 2});
    PLAY("a column is dropped: unchanged values are not marked any more", WAL2JSON,
         DO("table public.t 100 d: id integer pk, a text, b integer"),
         {"I public.t {id integer=1, a text=x, b integer=2}",
          "insert public.t 100 d (id:23* a:25 b:23) new(1 x 2)", 1, 1},
         {"U public.t same{id integer=1} {id integer=1, a text=~, b integer=3}",
          "update public.t 100 d (id:23* a:25 b:23) new(1 ~ 3)", 0, 1},
         DO("table public.t 100 d: id integer pk, - ^910, b integer"),
         DO("empty 910"), DO("begin 911"),
         {"U public.t same{id integer=1} {id integer=1, b integer=4}",
          "update public.t 100 d (id:23* b:23) new(1 4)", 1, 2},
         {"U public.t same{id integer=1} {id integer=1, b integer=5}",
          "update public.t 100 d (id:23* b:23) new(1 5)", 0, 2});
    PLAY("a column is dropped that is never out of line", WAL2JSON,
         DO("table public.t 100 d: id integer pk, a integer, b text"),
         {"I public.t {id integer=1, a integer=2, b text=x}",
          "insert public.t 100 d (id:23* a:23 b:25) new(1 2 x)", 1, 1},
         DO("table public.t 100 d: id integer pk, - ^902, b text"), DO("begin 902"),
         {"U public.t same{id integer=1} {id integer=1, b text=y}",
          "update public.t 100 d (id:23* b:25) new(1 y)", 1, 2});
    PLAY("a column is added with values out of line", WAL2JSON,
         DO("table public.t 100 d: id integer pk"),
         {"I public.t {id integer=1}", "insert public.t 100 d (id:23*) new(1)", 1, 1},
         DO("table public.t 100 d since 910: id integer pk, a text ^910"),
         DO("empty 910"), DO("begin 911"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 1, 2});
    PLAY("a column is named twice", ALL,
         DO("table public.t 100 d: id integer pk"),
         {"I public.t {id integer=1, id integer=1}", "outcome 1", 1, 0},
         DO("says could not tell the columns of table \"public.t\" at 0/500"));
    PLAY("a virtual column", ALL,
         DO("table public.t 100 d: v integer virtual, id integer pk, a text"),
         {"I public.t {v integer=null, id integer=1, a text=x}",
          "insert public.t 100 d (id:23* a:25) new(1 x)", 1, 1},
         {"U public.t old{id integer=1} {v integer=null, id integer=2, a text=~}",
          "update public.t 100 d (id:23* a:25) key(1 -) new(2 ~)", 0, 1},
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* a:25) key(1 -)", 0, 1});
    PLAY("a column that has become virtual, and was null at first", ALL,
         DO("table public.t 100 d: id integer pk, v integer virtual ^950"),
         {"I public.t {id integer=1, v integer=null}", "insert public.t 100 d (id:23*) new(1)", 1, 1},
         {"I public.t {id integer=2, v integer=5}",
          "insert public.t 100 d (id:23* v:23) new(2 5)", 0, 2});
    PLAY("a column that has become virtual", ALL,
         DO("table public.t 100 d: id integer pk, v integer virtual ^950"),
         {"I public.t {id integer=1, v integer=5}",
          "insert public.t 100 d (id:23* v:23) new(1 5)", 1, 1});
}

/* ---- replica identities ---- */

static void test_identities(void)
{
    PLAY("a key of two columns, not the first", ALL,
         DO("table public.t 100 d: a text, x integer pk, b text, y integer pk"),
         {"U public.t old{x integer=1, y integer=2} {a text=p, x integer=1, b text=~, y integer=3}",
          "update public.t 100 d (a:25 x:23* b:25 y:23*) key(- 1 - 2) new(p 1 ~ 3)", 1, 1},
         {"D public.t old{x integer=1, y integer=3}",
          "delete public.t 100 d (a:25 x:23* b:25 y:23*) key(- 1 - 3)", 0, 1});
    PLAY("an index", ALL,
         DO("table public.t 100 i: id integer pk, code text id"),
         {"U public.t old{code text=a} {id integer=1, code text=b}",
          "update public.t 100 i (id:23 code:25*) key(- a) new(1 b)", 1, 1},
         {"U public.t same{code text=b} {id integer=2, code text=b}",
          "update public.t 100 i (id:23 code:25*) new(2 b)", 0, 1},
         {"D public.t old{code text=b}", "delete public.t 100 i (id:23 code:25*) key(- b)", 0, 1});
    PLAY("nothing", ONLY(TEST_DECODING) | ONLY(DECODERBUFS),
         DO("table public.t 100 n: id integer pk, a text"),
         {"U public.t {id integer=1, a text=~}", "update public.t 100 n (id:23 a:25) new(1 ~)", 1, 1},
         {"D public.t", "delete public.t 100 n (id:23 a:25)", 0, 1});
    PLAY("a key that is stored out of line", ALL,
         DO("table public.t 100 d: id text pk, a text"),
         {"U public.t old{id text=long} {id text=~, a text=x}",
          "update public.t 100 d (id:25* a:25) key(long -) new(long x)", 1, 1});
    PLAY("full", ALL,
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, a text ^700, b text ^700"),
         {"U public.t old{id integer=1, a text=x, b text=big} {id integer=1, a text=y, b text=~}",
          "update public.t 100 f (id:23* a:25* b:25*) full(1 x big) new(1 y big)", 1, 1},
         {"U public.t old{id integer=1, a text=null, b text=big} {id integer=1, a text=y, b text=~}",
          "update public.t 100 f (id:23* a:25* b:25*) full(1 null big) new(1 y big)", 0, 1},
         {"D public.t old{id integer=1, a text=x, b text=null}",
          "delete public.t 100 f (id:23* a:25* b:25*) full(1 x null)", 0, 1});
    PLAY("full, and no column that cannot be null", ALL,
         DO("settled 800"),
         DO("table public.t 100 f since 700: a text, b text"),
         {"D public.t old{a text=x, b text=y}", "delete public.t 100 f (a:25* b:25*) full(x y)", 1, 1},
         {"D public.t old{a text=null, b text=null}",
          "delete public.t 100 f (a:25* b:25*) full(null null)", 0, 1});
    PLAY("changes of the identity, with rows that show them", ALL,
         DO("table public.t 100 d: id integer pk, code text uk not null, a text"),
         {"D public.t old{id integer=1}",
          "delete public.t 100 d (id:23* code:25 a:25) key(1 - -)", 1, 1},
         DO("table public.t 100 i since 902: id integer pk, code text id, a text"),
         DO("empty 902"), DO("begin 903"),
         {"D public.t old{code text=x}",
          "delete public.t 100 i (id:23 code:25* a:25) key(- x -)", 1, 2},
         DO("table public.t 100 f since 904: id integer pk, code text uk not null, a text"),
         DO("empty 904"), DO("begin 905"),
         {"D public.t old{id integer=1, code text=x, a text=y}",
          "delete public.t 100 f (id:23* code:25* a:25*) full(1 x y)", 1, 3},
         DO("table public.t 100 d since 906: id integer pk, code text uk not null, a text"),
         DO("empty 906"), DO("begin 907"),
         {"D public.t old{id integer=1}",
          "delete public.t 100 d (id:23* code:25 a:25) key(1 - -)", 1, 4});
    PLAY("changes of the identity that rows do not show", ALL,
         DO("table public.t 100 n: id integer, a text"),
         {"I public.t {id integer=1, a text=x}", "insert public.t 100 n (id:23 a:25) new(1 x)", 1, 1},
         DO("table public.t 100 d since 902: id integer pk ^902, a text"),
         DO("empty 902"), DO("begin 903"),
         {"I public.t {id integer=2, a text=x}", "insert public.t 100 d (id:23* a:25) new(2 x)", 1, 2},
         {"I public.t {id integer=3, a text=x}", "insert public.t 100 d (id:23* a:25) new(3 x)", 0, 2});
    PLAY("full, and a key later", ALL & ~ONLY(WAL2JSON_2),
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer, a text, b text"),
         {"I public.t {id integer=1, a text=x, b text=y}",
          "insert public.t 100 f (id:23* a:25* b:25*) new(1 x y)", 1, 1},
         DO("table public.t 100 d since 902: id integer pk ^902, a text, b text"),
         DO("empty 902"), DO("begin 903"),
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* a:25 b:25) key(1 - -)", 1, 2});
}

/* Where old rows lack what is null and what is no key, nulls are made up only if that is sure. */
static void test_doubts(void)
{
    enum { SILENT = ALL & ~ONLY(WAL2JSON_2) };

    PLAY("full, since when is not known", SILENT,
         DO("table public.t 100 f since 890: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 1, 1},
         {"D public.t old{id integer=1, a text=x}",
          "delete public.t 100 f (id:23* a:25*) full(1 x)", 0, 1});
    PLAY("full, since a time before the stream began", SILENT,
         DO("settled 891"),
         DO("table public.t 100 f since 890: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 1, 1});
    PLAY("full, since ever", SILENT,
         DO("table public.t 100 f since 2: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 1, 1});
    PLAY("full, since a transaction that the stream has had", SILENT,
         DO("table public.t 100 f since 905: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 1, 1},
         DO("begin 905"), DO("begin 901"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 0, 1});
    PLAY("full, for transactions behind the look", SILENT,
         DO("seen 895 905"),
         DO("table public.t 100 f since 890: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 1, 1},
         DO("begin 904"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 0, 1},
         DO("begin 905"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 1, 1});
    PLAY("... but not if what made it so ran beside the look", SILENT,
         DO("seen 890 905"),
         DO("table public.t 100 f since 890: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 1, 1},
         DO("begin 905"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) key(1 -)", 0, 1});
    PLAY("full, and numbers of transactions that begin again", SILENT,
         DO("settled 5"),
         DO("table public.t 100 f since 4294967290: id integer pk, a text"),
         DO("begin 6"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 1, 1});
    PLAY("a row that may be a key is asked about in each transaction", SILENT,
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, a text"),
         {"D public.t old{id integer=1}", "delete public.t 100 f (id:23* a:25*) full(1 null)", 1, 1},
         {"D public.t old{id integer=2}", "delete public.t 100 f (id:23* a:25*) full(2 null)", 0, 1},
         DO("begin 901"),
         {"D public.t old{id integer=3}", "delete public.t 100 f (id:23* a:25*) full(3 null)", 1, 1},
         {"D public.t old{id integer=4}", "delete public.t 100 f (id:23* a:25*) full(4 null)", 0, 1},
         DO("table public.t 100 d since 902: id integer pk, a text"),
         DO("begin 902"), DO("begin 903"),
         {"D public.t old{id integer=5}", "delete public.t 100 d (id:23* a:25) key(5 -)", 1, 2});
    PLAY("full now, a key of another index then", SILENT,
         DO("table public.t 100 f since 950: id integer pk, code text not null, a text"),
         {"D public.t old{code text=x}",
          "delete public.t 100 f (id:23 code:25* a:25) key(- x -)", 1, 1});
    PLAY("full when last asked: a row that lacks what cannot be null is not whole", SILENT,
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, code text not null, a text"),
         {"I public.t {id integer=1, code text=x, a text=y}",
          "insert public.t 100 f (id:23* code:25* a:25*) new(1 x y)", 1, 1},
         DO("begin 901"),
         {"D public.t old{code text=x}",
          "delete public.t 100 f (id:23* code:25* a:25*) key(- x -)", 0, 1});
    PLAY("default now, full then", ALL,
         DO("table public.t 100 d since 950: id integer pk, a text, b text"),
         {"D public.t old{id integer=1, a text=x, b text=y}",
          "delete public.t 100 d (id:23* a:25 b:25) full(1 x y)", 1, 1});
    PLAY("default now, full then, with nulls", SILENT,
         DO("table public.t 100 d since 950: id integer pk, a text, b text"),
         {"D public.t old{id integer=1, a text=x}",
          "delete public.t 100 d (id:23* a:25 b:25) key(1 x -)", 1, 1});
    PLAY("... which are sent", ONLY(WAL2JSON_2),
         DO("table public.t 100 d since 950: id integer pk, a text, b text"),
         {"D public.t old{id integer=1, a text=x, b text=null}",
          "delete public.t 100 d (id:23* a:25 b:25) full(1 x null)", 1, 1});
    PLAY("full, a column that is added later", SILENT,
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, a text, c text ^950"),
         {"D public.t old{id integer=1, a text=x}",
          "delete public.t 100 f (id:23* a:25* c:25*) full(1 x -)", 1, 1},
         DO("begin 950"), DO("begin 951"),
         {"D public.t old{id integer=1, a text=x}",
          "delete public.t 100 f (id:23* a:25* c:25*) full(1 x null)", 0, 1});
    PLAY("full, a column that has been dropped", ALL,
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, a text, b text"),
         {"I public.t {id integer=1, a text=x, b text=y}",
          "insert public.t 100 f (id:23* a:25* b:25*) new(1 x y)", 1, 1},
         DO("table public.t 100 f since 700: id integer pk, a text, - ^902"),
         DO("empty 902"), DO("begin 903"),
         {"D public.t old{id integer=1, a text=x}",
          "delete public.t 100 f (id:23* a:25*) full(1 x)", 1, 2});
}

/* ---- numbers that the plugin has no text for ---- */

static void test_lost(void)
{
    PLAY("NaN is sent", ONLY(TEST_DECODING) | ONLY(DECODERBUFS) | ONLY(DECODERBUFS_OLD),
         DO("table public.t 100 f since 2: id integer pk, n numeric, d double precision not null"),
         {"U public.t old{id integer=1, n numeric=NaN, d double precision not null=NaN} "
          "{id integer=1, n numeric=NaN, d double precision not null=NaN}",
          "update public.t 100 f (id:23* n:1700* d:701*) full(1 NaN NaN) new(1 NaN NaN)", 1, 1},
         {"I public.t {id integer=2, n numeric=null, d double precision not null=1}",
          "insert public.t 100 f (id:23* n:1700* d:701*) new(2 null 1)", 0, 1},
         DO("says nothing"));
    PLAY("NaN is null, or lost where that cannot be", WAL2JSON,
         DO("table public.t 100 d: id integer pk, n numeric, d double precision not null"),
         {"I public.t {id integer not null=1, n numeric=NaN, d double precision not null=1}",
          "insert public.t 100 d (id:23* n:1700 d:701) new(1 null 1)", 1, 1},
         DO("says a null may stand for NaN or infinity, first in column \"n\" of table \"public.t\""),
         {"I public.t {id integer not null=1, n numeric=null, d double precision not null=NaN}",
          "insert public.t 100 d (id:23* n:1700 d:701) new(1 null ?)", 0, 1},
         DO("says the plugin has not sent a value that is NaN or infinite, of column \"d\" of table"),
         {"U public.t same{id integer=1} {id integer not null=1, n numeric=~, "
          "d double precision not null=NaN}",
          "update public.t 100 d (id:23* n:1700 d:701) new(1 ~ ?)", 0, 1},
         DO("says nothing"));
    PLAY("an old row that lacks its nulls has no null", ONLY(WAL2JSON_1) | ONLY(WAL2JSON_1_OID),
         DO("settled 800"),
         DO("table public.t 100 f since 700: id integer pk, n numeric, m numeric, a text"),
         {"D public.t old{id integer=1, n numeric=NaN, m numeric=null, a text=null}",
          "delete public.t 100 f (id:23* n:1700* m:1700* a:25*) full(1 ? null null)", 1, 1});
    PLAY("... nor that of a table that is no more", ONLY(WAL2JSON_1) | ONLY(WAL2JSON_1_OID),
         {"D public.t old{id integer=1, n numeric(10,2)=NaN, d double precision=NaN}",
          "delete public.t 4294967295 d (id:23* n:1700/655366* d:701*) key(1 ? ?)", 1, 1});
    PLAY("a column that cannot be null any more", WAL2JSON,
         DO("table public.t 100 d: id integer pk, n numeric not null ^950"),
         {"I public.t {id integer not null=1, n numeric=null}",
          "insert public.t 100 d (id:23* n:1700) new(1 null)", 1, 1});
}

/* ---- catalogs that are ahead ---- */

static void test_ahead(void)
{
    PLAY("a table that is no more", ALL,
         {"I public.t {id integer=1, a integer=2}",
          "insert public.t 4294967295 d (id:23 a:23) new(1 2)", 1, 1},
         {"I public.t {id integer=2, a integer=2}",
          "insert public.t 4294967295 d (id:23 a:23) new(2 2)", 0, 1},
         {"U public.t old{id integer=2} {id integer=3, a integer=2}",
          "update public.t 4294967295 d (id:23* a:23) key(2 -) new(3 2)", 0, 2},
         {"D public.t old{id integer=3}", "delete public.t 4294967295 d (id:23* a:23) key(3 -)", 0, 2},
         {"I public.t {id integer=4, a integer=2}",
          "insert public.t 4294967295 d (id:23* a:23) new(4 2)", 0, 2},
         {"I public.u {id integer=1}", "insert public.u 4294967294 d (id:23) new(1)", 1, 3},
         {"T public.v", "truncate public.v 4294967293 d ()", 1, 4});
    PLAY("a column that is no more, whose values are not always sent", WAL2JSON,
         DO("table public.t 100 d: id integer pk, - ^950"),
         {"I public.t {id integer=1, a text=x}", "insert public.t 100 d (id:23* a:25) new(1 x)", 1, 1},
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1},
         {"I public.t {id integer=1, a text=x}", "insert public.t 100 d (id:23* a:25) new(1 x)", 0, 1},
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1},
         DO("begin 950"), DO("begin 951"),
         {"U public.t same{id integer=1} {id integer=1}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1},
         DO("soon"), DO("begin 952"),
         {"U public.t same{id integer=1} {id integer=1}",
          "update public.t 100 d (id:23*) new(1)", 1, 2});
    PLAY("... as a transaction with rows has dropped it", WAL2JSON,
         DO("table public.t 100 d: id integer pk, e text, - ^904"), DO("seen 2000 2000"),
         {"I public.t {id integer=1, e text=x, a text=y}",
          "insert public.t 100 d (id:23* e:25 a:25) new(1 x y)", 1, 1},
         {"U public.t same{id integer=1} {id integer=1, e text=~, a text=~}",
          "update public.t 100 d (id:23* e:25 a:25) new(1 ~ ~)", 0, 1},
         DO("begin 904"),
         {"I public.t {id integer=1, e text=x, a text=y}",
          "insert public.t 100 d (id:23* e:25 a:25) new(1 x y)", 0, 1},
         DO("begin 903"),
         {"U public.t same{id integer=1} {id integer=1, e text=~}",
          "update public.t 100 d (id:23* e:25) new(1 ~)", 0, 2});
    PLAY("... nor in the old row", WAL2JSON,
         DO("table public.t 100 f since 2: id integer pk, - ^950, c integer"),
         {"U public.t old{id integer=1, b text=big, c integer=2} {id integer=1, b text=~, c integer=3}",
          "update public.t 100 f (id:23* b:25 c:23*) full(1 big 2) new(1 big 3)", 1, 1});
    PLAY("a column of the old row that was not known", WAL2JSON,
         DO("table public.t 100 n: id integer pk, a integer"),
         {"I public.t {id integer=1, a integer=2}",
          "insert public.t 100 n (id:23 a:23) new(1 2)", 1, 1},
         DO("table public.t 100 f since 950: id integer pk, a integer, b text ^950, c integer ^951"),
         DO("begin 960"),
         {"U public.t old{id integer=1, a integer=2, b text=x, c integer=3} "
          "{id integer=1, a integer=5, b text=~, c integer=3}",
          "update public.t 100 f (id:23* a:23* b:25* c:23*) full(1 2 x 3) new(1 5 x 3)", 1, 2});
    PLAY("an old row of a renamed column", ALL,
         DO("table public.t 100 f since 2: id integer pk, b integer, g text, a integer"),
         {"I public.t {id integer=1, b integer=2, g text=3, a integer=4}",
          "insert public.t 100 f (id:23* b:23* g:25* a:23*) new(1 2 3 4)", 1, 1},
         DO("table public.t 100 f since 2: id integer pk, b integer, e text ^950, a integer"),
         DO("begin 950"),
         {"D public.t old{id integer=1, b integer=2, e text=3, a integer=4}",
          "delete public.t 100 f (id:23* b:23* e:25* a:23*) full(1 2 3 4)", 1, 2});
    PLAY("what a deletion does not have keeps its type", ALL,
         DO("table public.t 100 d: id integer pk, a integer, b integer"),
         {"I public.t {id integer=1, a integer=5, b integer=7}",
          "insert public.t 100 d (id:23* a:23 b:23) new(1 5 7)", 1, 1},
         DO("table public.t 100 d: id integer, a text ^950, b integer pk ^950"),
         DO("later"), DO("begin 902"),
         {"D public.t old{b integer=7}",
          "delete public.t 100 d (id:23 a:23 b:23*) key(- - 7)", 1, 2},
         {"I public.t {id integer=1, a integer=5, b integer=7}",
          "insert public.t 100 d (id:23 a:23 b:23*) new(1 5 7)", 0, 2});
    PLAY("... but not when the change has passed", ALL,
         DO("table public.t 100 d: id integer pk, a integer"),
         {"I public.t {id integer=1, a integer=5}",
          "insert public.t 100 d (id:23* a:23) new(1 5)", 1, 1},
         DO("table public.t 100 d: id integer pk, a text ^902"),
         DO("empty 902"), DO("begin 903"),
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* a:25) key(1 -)", 1, 2});
}

static void test_renamed(void)
{
    PLAY("a renamed column", ALL,
         DO("table public.t 100 d: id integer pk, x text"),
         {"I public.t {id integer=1, x text=2}", "insert public.t 100 d (id:23* x:25) new(1 2)", 1, 1},
         DO("table public.t 100 d: id integer pk, y text ^950"),
         DO("begin 960"),
         {"U public.t same{id integer=1} {id integer=1, y text=3}",
          "update public.t 100 d (id:23* y:25) new(1 3)", 1, 2});
    PLAY("... that was looked up under both names", WAL2JSON,
         DO("table public.t 100 d: id integer pk, x text"),
         {"I public.t {id integer=1, x text=2}", "insert public.t 100 d (id:23* x:25) new(1 2)", 1, 1},
         DO("table public.t 100 d: id integer pk, y text ^950"),
         DO("later"), DO("begin 906"),
         {"I public.t {id integer=1, x text=2}", "insert public.t 100 d (id:23* x:25) new(1 2)", 1, 1},
         {"U public.t same{id integer=1} {id integer=1, x text=~}",
          "update public.t 100 d (id:23* x:25) new(1 ~)", 0, 1},
         DO("begin 950"), DO("begin 960"),
         {"U public.t same{id integer=1} {id integer=1, y text=3}",
          "update public.t 100 d (id:23* y:25) new(1 3)", 1, 2});
    PLAY("a renamed key", ALL,
         DO("table public.t 100 d: k integer pk ^950, x text"),
         {"I public.t {id integer=1, x text=2}", "insert public.t 100 d (id:23 x:25) new(1 2)", 1, 1},
         {"D public.t old{id integer=1}", "delete public.t 100 d (id:23* x:25) key(1 -)", 0, 2},
         {"I public.t {id integer=1, x text=2}", "insert public.t 100 d (id:23* x:25) new(1 2)", 0, 2},
         DO("begin 950"), DO("begin 960"),
         {"I public.t {k integer=1, x text=2}", "insert public.t 100 d (k:23* x:25) new(1 2)", 1, 3});
}

static void test_backlog(void)
{
    PLAY("full then, default now: asked once a while", ALL & ~ONLY(WAL2JSON_2),
         DO("table public.t 100 d since 950: id integer pk, a integer, b integer"),
         {"I public.t {id integer=1, a integer=1, b integer=1}",
          "insert public.t 100 d (id:23* a:23 b:23) new(1 1 1)", 1, 1},
         {"D public.t old{id integer=1, a integer=1}",
          "delete public.t 100 d (id:23* a:23 b:23) key(1 1 -)", 0, 1},
         {"D public.t old{id integer=1, b integer=1}",
          "delete public.t 100 d (id:23* a:23 b:23) key(1 - 1)", 0, 1},
         {"D public.t old{id integer=1}",
          "delete public.t 100 d (id:23* a:23 b:23) key(1 - -)", 0, 1},
         {"D public.t old{id integer=1, a integer=1, b integer=1}",
          "delete public.t 100 d (id:23* a:23 b:23) full(1 1 1)", 0, 1});
    PLAY("another table of that name by now", ALL,
         DO("table public.t 100 f since 2: id integer pk, b integer, c integer, a integer"),
         {"I public.t {id integer=1, b integer=2, c integer=3, a integer=4}",
          "insert public.t 100 f (id:23* b:23* c:23* a:23*) new(1 2 3 4)", 1, 1},
         DO("table public.t 200 d since 950: id integer pk, c bigint"),
         DO("later"), DO("begin 909"),
         {"D public.t old{id integer=1, b integer=2, c integer=3, a integer=4}",
          "delete public.t 200 d (id:23* b:23 c:23 a:23) full(1 2 3 4)", 1, 2});
}

/* ---- partitions ---- */

static void test_partitions(void)
{
    PLAY("rows are those of the table above, in its order", ALL,
         DO("table public.r 100 d: id integer pk, a text, b integer"),
         DO("table public.p 101 d in 100: b integer, id integer pk, a text"),
         DO("table public.q 102 d in 100: - ^2, a text, b integer, id integer pk"),
         {"I public.p {b integer=1, id integer=2, a text=3}",
          "insert public.r 100 d (id:23* a:25 b:23) new(2 3 1)", 1, 1},
         {"I public.q {a text=1, b integer=2, id integer=3}",
          "insert public.r 100 d (id:23* a:25 b:23) new(3 1 2)", 1, 1},
         {"U public.p same{id integer=2} {b integer=1, id integer=2, a text=~}",
          "update public.r 100 d (id:23* a:25 b:23) new(2 ~ 1)", 0, 1},
         {"D public.q old{id integer=3}",
          "delete public.r 100 d (id:23* a:25 b:23) key(3 - -)", 0, 1},
         {"I public.p {b integer=1, id integer=2, a text=3}",
          "insert public.r 100 d (id:23* a:25 b:23) new(2 3 1)", 0, 1});
    PLAY("two levels", ALL,
         DO("table public.r 100 d: id integer pk"),
         DO("table public.m 101 d in 100: id integer pk"),
         DO("table public.p 102 d in 101: id integer pk"),
         {"I public.p {id integer=1}", "insert public.r 100 d (id:23*) new(1)", 1, 1});
    PLAY("attached and detached", ALL,
         DO("table public.r 100 d: id integer pk, a text"),
         DO("table public.p 101 d: id integer pk, a text"),
         {"I public.p {id integer=1, a text=x}", "insert public.p 101 d (id:23* a:25) new(1 x)", 1, 1},
         DO("table public.p 101 d since 902 in 100: id integer pk, a text"),
         DO("empty 902"), DO("begin 903"),
         {"I public.p {id integer=1, a text=x}", "insert public.r 100 d (id:23* a:25) new(1 x)", 1, 2},
         DO("table public.p 101 d since 904: id integer pk, a text"),
         DO("empty 904"), DO("begin 905"),
         {"I public.p {id integer=1, a text=x}", "insert public.p 101 d (id:23* a:25) new(1 x)", 1, 0});
    PLAY("a partition that is no more", ALL,
         DO("table public.r 100 d: id integer pk, a text"),
         DO("table public.p 101 d in 100: id integer pk, a text"),
         DO("table public.q 102 d in 100: id integer pk, a text"),
         {"I public.q {id integer=1, a text=x}", "insert public.r 100 d (id:23* a:25) new(1 x)", 1, 1},
         {"I public.p {id integer=1, a text=x}", "insert public.r 100 d (id:23* a:25) new(1 x)", 1, 1},
         DO("gone public.p"),
         DO("later"), DO("begin 902"),
         {"I public.p {id integer=1, a text=x}",
          "insert public.p 4294967295 d (id:23 a:25) new(1 x)", 1, 2},
         {"I public.q {id integer=1, a text=x}", "insert public.r 100 d (id:23* a:25) new(1 x)", 1, 1},
         {"I public.p {id integer=1, a text=x}",
          "insert public.p 4294967295 d (id:23 a:25) new(1 x)", 0, 2});
    PLAY("a renamed key", ALL,
         DO("table public.r 100 d: id integer pk, x text"),
         DO("table public.p 101 d in 100: id integer pk, x text"),
         {"I public.p {id integer=1, x text=2}", "insert public.r 100 d (id:23* x:25) new(1 2)", 1, 1},
         DO("table public.r 100 d: k integer pk ^950, x text"),
         DO("table public.p 101 d in 100: k integer pk ^950, x text"),
         DO("begin 960"),
         {"D public.p old{k integer=1}", "delete public.r 100 d (k:23* x:25) key(1 -)", 1, 2});
    PLAY("its own identity is what is written", ALL,
         DO("table public.r 100 d: id integer pk, a text"),
         DO("table public.p 101 f since 2 in 100: id integer pk, a text"),
         {"D public.p old{id integer=1, a text=x}",
          "delete public.r 100 d (id:23* a:25) key(1 -)", 1, 1});
    PLAY("... even if the one above is full", ALL,
         DO("table public.r 100 f since 2: id integer pk, a text"),
         DO("table public.p 101 d since 2 in 100: id integer pk, a text"),
         {"D public.p old{id integer=1}", "delete public.r 100 f (id:23* a:25*) key(1 -)", 1, 1});
    PLAY("a key that is repeated, and none above", WAL2JSON,
         DO("table public.r 100 n: id text"),
         DO("table public.p 101 d in 100: id text pk"),
         {"U public.p same{id text=1} {id text=1}", "update public.r 100 n (id:25) new(1)", 1, 1});
    PLAY("the type that is known is that of the rows", ALL,
         DO("table public.r 100 d: id bigint pk ^950"),
         DO("table public.p 101 d in 100: id bigint pk ^950"),
         {"I public.p {id integer=1}", "insert public.r 100 d (id:23*) new(1)", 1, 1},
         DO("later"), DO("begin 902"),
         {"T public.r", "truncate public.r 100 d (id:20*)", 1, 0},
         {"I public.p {id integer=1}", "insert public.r 100 d (id:23*) new(1)", 0, 0});
}

static void test_truncations(void)
{
    PLAY("tables, but not partitions", ALL,
         DO("table public.t 100 d: id integer pk"),
         DO("table public.r 101 f: a text"),
         DO("table public.p 102 f in 101: a text"),
         {"T public.p", "nothing", 1, 0},
         {"T public.t, public.r, public.p",
          "truncate public.t 100 d (id:23*) public.r 101 f (a:25*)", 2, 0},
         {"T public.r", "truncate public.r 101 f (a:25*)", 0, 0},
         {"T public.p", "nothing", 0, 0},
         {"I public.t {id integer=1}", "insert public.t 100 d (id:23*) new(1)", 0, 0});
    PLAY("attached meanwhile", ALL,
         DO("table public.r 100 d: id integer pk"),
         DO("table public.p 101 d: id integer pk"),
         {"T public.p", "truncate public.p 101 d (id:23*)", 1, 1},
         DO("table public.p 101 d since 902 in 100: id integer pk"),
         DO("empty 902"), DO("begin 903"),
         {"T public.r, public.p", "truncate public.r 100 d (id:23*)", 2, 0},
         {"T public.p", "nothing", 0, 0});
}

/* ---- when the catalogs are asked ---- */

static void test_looks(void)
{
    PLAY("tables in use are looked at now and then", ALL,
         DO("table public.t 100 d: id integer pk"),
         DO("table public.u 101 d: id integer pk"),
         {"I public.t {id integer=1}", "insert public.t 100 d (id:23*) new(1)", 1, 1},
         {"I public.u {id integer=1}", "insert public.u 101 d (id:23*) new(1)", 1, 2},
         DO("soon"), DO("begin 901"),
         {"I public.t {id integer=2}", "insert public.t 100 d (id:23*) new(2)", 0, 1},
         DO("later"),
         {"I public.t {id integer=3}", "insert public.t 100 d (id:23*) new(3)", 0, 1},
         DO("begin 902"),
         {"I public.t {id integer=4}", "insert public.t 100 d (id:23*) new(4)", 1, 1},
         {"I public.t {id integer=5}", "insert public.t 100 d (id:23*) new(5)", 0, 1},
         {"I public.u {id integer=2}", "insert public.u 101 d (id:23*) new(2)", 1, 2},
         DO("begin 903"),
         {"I public.u {id integer=3}", "insert public.u 101 d (id:23*) new(3)", 0, 2});
    PLAY("what is not clear is asked about more often", WAL2JSON,
         DO("table public.t 100 d: id integer pk, a text"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 1, 1},
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1},
         DO("soon"), DO("begin 901"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 1, 1},
         DO("begin 902"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1});
    PLAY("what the catalogs have told holds for all that had ended then", WAL2JSON,
         DO("table public.t 100 d: id integer pk, a text"), DO("seen 950 960"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 1, 1},
         DO("later"), DO("begin 949"),
         {"U public.t same{id integer=1} {id integer=1, a text=~}",
          "update public.t 100 d (id:23* a:25) new(1 ~)", 0, 1},
         {"I public.t {id integer=1, b text=x}", "insert public.t 100 d (id:23* b:25) new(1 x)", 0, 2},
         DO("later"), DO("begin 950"),
         {"I public.t {id integer=1, b text=x}", "insert public.t 100 d (id:23* b:25) new(1 x)", 1, 2});
    PLAY("the catalogs do not answer", ALL,
         DO("table public.t 100 d: id integer pk"),
         DO("fail"),
         {"I public.t {id integer=1}", "outcome 3", 1, 0},
         {"T public.t", "outcome 3", 1, 0},
         DO("mend"),
         {"I public.t {id integer=1}", "insert public.t 100 d (id:23*) new(1)", 1, 1},
         DO("fail"),
         {"I public.t {id integer=2}", "insert public.t 100 d (id:23*) new(2)", 0, 1},
         DO("begin 901"),
         {"I public.t {id integer=2, a text=x}", "outcome 3", 1, 0},
         DO("mend"),
         {"I public.t {id integer=2, a text=x}", "insert public.t 100 d (id:23* a:25) new(2 x)", 1, 2});
    PLAY("... about types", ONLY(TEST_DECODING) | ONLY(WAL2JSON_1),
         DO("fail types"),
         {"I public.t {id integer=1, a text=x}", "outcome 3", 1, 0},
         DO("mend"),
         {"I public.t {id integer=1, a text=x}",
          "insert public.t 4294967295 d (id:23 a:25) new(1 x)", 0, 1});
    PLAY("captured or not", ALL,
         DO("table public.t 100 d: id integer pk"),
         DO("table public.u 101 d uncaptured: id integer pk"),
         {"C public.t", "nothing", 1, 0},
         {"C public.u", "another event", 1, 0},
         {"C public.t", "nothing", 0, 0},
         {"C public.gone", "nothing", 1, 0});
}

/* ---- as wide as can be ---- */

static void test_wide(void)
{
    static struct sent_column columns[RELATION_MAX_COLUMNS + 1];
    struct sent_change c = {
        .op = OP_INSERT, .lsn = 0x500, .schema = slice_of("public"), .table = slice_of("wide"),
        .new_row = {columns, 0},
    };
    struct session s;

    session_start(&s, &dresses[WAL2JSON_2]);
    for (int i = 0; i < RELATION_MAX_COLUMNS; i++) {
        char name[16];

        snprintf(name, sizeof name, "c%d", i);
        columns[c.new_row.n++] =
            say_column(s.dress, false, name, T_INTEGER, -1, false, (struct value){.kind = VALUE_NULL});
    }
    ok(tables_change(s.tables, s.decoder, &c, &s.event) == OUTCOME_OK &&
           s.event.relation->ncolumns == RELATION_MAX_COLUMNS &&
           strcmp(s.event.relation->columns[1663].name, "c1663") == 0,
       "1664 columns");
    columns[c.new_row.n++] =
        say_column(s.dress, false, "more", T_INTEGER, -1, false, (struct value){.kind = VALUE_NULL});
    log_forget();
    ok(tables_change(s.tables, s.decoder, &c, &s.event) == OUTCOME_FAILED &&
           strstr(logged(), "has 1665 columns at 0/500"),
       "... and no more");
    unsay_row(&c.new_row);
    session_end(&s);
}

static void test_many_tables(void)
{
    struct session s;
    bool right = true;

    session_start(&s, &dresses[TEST_DECODING]);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            char line[64], expected[96];

            snprintf(line, sizeof line, "I public.t%d {id integer=%d}", i, round);
            snprintf(expected, sizeof expected, "insert public.t%d %u d (id:23) new(%d)", i,
                     UINT32_MAX - (unsigned)i, round);
            right = right && run_line(&s, &(struct line){line, expected, round == 0,
                                                         (uint32_t)i + 1});
        }
    ok(right, "a thousand tables");
    session_end(&s);
}

int main(void)
{
    capture_start();
    test_steady();
    test_types();
    test_columns();
    test_identities();
    test_doubts();
    test_lost();
    test_ahead();
    test_renamed();
    test_backlog();
    test_partitions();
    test_truncations();
    test_looks();
    test_wide();
    test_many_tables();
    capture_end();
    return tap_done();
}
