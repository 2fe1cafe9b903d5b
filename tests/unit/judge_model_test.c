/*
 * A model of the incremental snapshot: a small database, its stream, and a capture that reads rows
 * by chunks beside it, as capture/chunks.c and capture/pipeline.c do.  What is given goes into an
 * empty table of a reader, which in the end has to be that of the database.
 *
 * A history is made of steps, each drawn from the seed and its own number, so that a history that
 * fails can be made shorter by leaving steps out.  JUDGE_SEED names the first seed, JUDGE_ROUNDS
 * how many follow; JUDGE_SEED alone runs one and prints it.
 *
 * The database: transactions get their ids when they begin and commit in any order.  A commit is
 * in the stream at once and visible at once or later, as with synchronous replication; row locks
 * and those of tables last until it is visible, and whoever needs one does something else.
 */
#include "snapshot/judge.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/coverage_json.h"
#include "tests/unit/tap.h"

enum {
    TABLES = 2,
    KEYS = 41,
    CHUNK_KEYS = 12, /* of the column outside of the row's key */
    SLOTS = 6,       /* transactions at once */
    MAX_STEPS = 160,
    MAX_OPS = 2048,
    MAX_STREAM = 512,
    MAX_RECORDS = 16384,
    MAX_LEDGER = 2048,
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

enum variant {
    V_FILE,      /* output that is cut back after a crash: exactly once */
    V_PIPE,      /* output that is not: the reader replaces and deletes what is there */
    V_CHUNK_KEY, /* chunks by a column that is not part of the row's key; file or pipe */
    V_PREFIX,    /* chunks by the first column of the row's key */
    V_BULK,      /* all tables under one snapshot */
    V_SERVER,    /* as V_FILE, but the server compares: questions go ahead of judging */
    VARIANTS,
};

static const char *const variant_names[] = {"file",   "pipe",       "chunk key",
                                            "prefix", "consistent", "server"};

struct setting {
    enum variant variant;
    int keys;
    int steps;
    int chunk_size;
    int batch;      /* V_SERVER: transactions that wait together */
    int late;       /* percent of commits that are visible later */
    int truncates;  /* percent of operations */
    int crashes;    /* percent of steps */
    bool pipe;
    bool composite; /* the row's key has two columns */
    bool full[TABLES]; /* replica identity */
};

static struct setting set;
static bool telling;
static const bool *left_out; /* steps, when a history is made shorter */
static char wrong[256];

__attribute__((format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
    va_list args;

    if (wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(wrong, sizeof wrong, fmt, args);
    va_end(args);
}

#define TELL(...) (telling ? tap_note("  " __VA_ARGS__) : (void)0)

/* ---- the database ---- */

struct row {
    int value;
    int chunk; /* -1 = null */
};

struct cell {
    bool there;
    struct row row;
};

struct op {
    enum operation op;
    int table;
    int from, to; /* keys; from: of deletes and updates, to: of inserts and updates */
    struct row old, new;
    bool sends_old;
};

enum slot_state { FREE, ACTIVE, COMMITTED }; /* ... and not visible yet */

struct writer {
    enum slot_state state;
    uint64_t xid;
    struct op ops[32];
    int nops;
    bool truncated[TABLES];
};

struct streamed {
    uint32_t xid;
    lsn_t end;
    int first, n; /* in ops */
};

static struct {
    struct cell now[TABLES][KEYS]; /* for whoever holds the row's lock */
    struct cell seen[TABLES][KEYS]; /* by snapshots */
    int lock[TABLES][KEYS];         /* slot + 1 */
    struct writer writers[SLOTS];
    uint64_t next_xid, completed;
    int next_value;
    lsn_t wal;
    struct op ops[MAX_OPS];
    int nops;
    struct streamed stream[MAX_STREAM];
    int nstream;
} db;

static void start_database(void)
{
    memset(&db, 0, sizeof db);
    db.next_xid = percent(50) ? ((uint64_t)5 << 32) - (uint64_t)below(40) : 700;
    db.completed = db.next_xid - 1;
    db.wal = 1000;
    for (int t = 0; t < TABLES; t++)
        for (int k = 0; k < set.keys; k++)
            if (percent(60)) {
                struct row row = {++db.next_value, percent(15) ? -1 : below(CHUNK_KEYS)};

                db.now[t][k] = db.seen[t][k] = (struct cell){true, row};
                TELL("at first: table %d has %d, value %d, chunk key %d", t, k, row.value,
                     row.chunk);
            }
}

static void release(int slot, bool committed)
{
    struct writer *w = &db.writers[slot];

    for (int t = 0; t < TABLES; t++)
        for (int k = 0; k < KEYS; k++) {
            if (db.lock[t][k] != slot + 1)
                continue;
            db.lock[t][k] = 0;
            if (committed)
                db.seen[t][k] = db.now[t][k];
            else
                db.now[t][k] = db.seen[t][k];
        }
    if (w->xid > db.completed)
        db.completed = w->xid;
    w->state = FREE;
}

static int any_slot(enum slot_state state)
{
    int from = below(SLOTS);

    for (int i = 0; i < SLOTS; i++)
        if (db.writers[(from + i) % SLOTS].state == state)
            return (from + i) % SLOTS;
    return -1;
}

static void begin_writer(void)
{
    int slot = any_slot(FREE);

    if (slot < 0)
        return;
    db.writers[slot] = (struct writer){.state = ACTIVE, .xid = db.next_xid};
    TELL("%u begins", (uint32_t)db.next_xid);
    db.next_xid += percent(90) ? 1 : 2;
}

static bool take_lock(int slot, int t, int k)
{
    if (db.lock[t][k] != 0 && db.lock[t][k] != slot + 1)
        return false;
    db.lock[t][k] = slot + 1;
    return true;
}

static bool take_table(int slot, int t)
{
    for (int k = 0; k < KEYS; k++)
        if (db.lock[t][k] != 0 && db.lock[t][k] != slot + 1)
            return false;
    for (int k = 0; k < KEYS; k++)
        db.lock[t][k] = slot + 1;
    return true;
}

static void note_op(struct writer *w, struct op op)
{
    static const char *const names[] = {"insert", "update", "delete", "truncate"};

    op.sends_old = op.op == OP_DELETE ||
                   (op.op == OP_UPDATE && (set.full[op.table] || op.from != op.to || percent(5)));
    db.wal += 1 + (lsn_t)below(3);
    w->ops[w->nops++] = op;
    TELL("%u: table %d: %s %d -> %d, value %d, chunk key %d -> %d", (uint32_t)w->xid, op.table,
         names[op.op], op.from, op.to, op.new.value, op.old.chunk, op.new.chunk);
}

static void truncate_table(int slot, int t)
{
    struct writer *w = &db.writers[slot];

    if (!take_table(slot, t))
        return;
    w->truncated[t] = true;
    for (int k = 0; k < KEYS; k++)
        db.now[t][k].there = false;
    note_op(w, (struct op){.op = OP_TRUNCATE, .table = t});
}

static void work(void)
{
    int slot = any_slot(ACTIVE), t = below(TABLES), k = below(set.keys), to = k;
    struct writer *w = &db.writers[slot < 0 ? 0 : slot];
    struct op op = {.table = t};

    if (slot < 0 || w->nops == 32)
        return;
    if (percent(set.truncates)) {
        truncate_table(slot, t);
        return;
    }
    if (!take_lock(slot, t, k))
        return;
    op.old = db.now[t][k].row;
    op.new = (struct row){++db.next_value, percent(15) ? -1 : below(CHUNK_KEYS)};
    if (percent(40))
        op.new.chunk = op.old.chunk;
    if (!db.now[t][k].there) {
        op.op = OP_INSERT;
    } else if (percent(30)) {
        op.op = OP_DELETE;
    } else {
        op.op = OP_UPDATE;
        to = percent(50) ? below(set.keys) : k;
        if (to != k && (!take_lock(slot, t, to) || db.now[t][to].there))
            to = k;
    }
    op.from = k;
    op.to = to;
    db.now[t][k].there = false;
    if (op.op != OP_DELETE)
        db.now[t][to] = (struct cell){true, op.new};
    note_op(w, op);
}

static void become_visible(void)
{
    int slot = any_slot(COMMITTED);

    if (slot < 0)
        return;
    TELL("%u is visible", (uint32_t)db.writers[slot].xid);
    release(slot, true);
}

static void end_writer(bool commit)
{
    int slot = any_slot(ACTIVE);
    struct writer *w = &db.writers[slot < 0 ? 0 : slot];

    if (slot < 0)
        return;
    TELL("%u %s", (uint32_t)w->xid, commit ? "commits" : "aborts");
    db.wal += 5;
    if (!commit) {
        release(slot, false);
        return;
    }
    if (w->nops && db.nstream < MAX_STREAM && db.nops + w->nops <= MAX_OPS) {
        memcpy(db.ops + db.nops, w->ops, (size_t)w->nops * sizeof *w->ops);
        db.stream[db.nstream++] = (struct streamed){(uint32_t)w->xid, db.wal, db.nops, w->nops};
        db.nops += w->nops;
    }
    w->state = COMMITTED;
    if (!percent(set.late)) {
        TELL("%u is visible", (uint32_t)w->xid);
        release(slot, true);
    }
}

static int compare_xids(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static struct visibility take_snapshot(void)
{
    struct visibility v = {.xmax = db.completed + 1, .xmin = db.completed + 1};

    v.xip = xcalloc(SLOTS, sizeof *v.xip);
    for (int i = 0; i < SLOTS; i++)
        if (db.writers[i].state != FREE && db.writers[i].xid < v.xmax)
            v.xip[v.nxip++] = db.writers[i].xid;
    qsort(v.xip, v.nxip, sizeof *v.xip, compare_xids);
    if (v.nxip)
        v.xmin = v.xip[0];
    return v;
}

/* Whether a table can be locked for reading. */
static bool is_readable(int t)
{
    for (int i = 0; i < SLOTS; i++)
        if (db.writers[i].state != FREE && db.writers[i].truncated[t])
            return false;
    return true;
}

/* ---- the reader ---- */

struct record {
    char op; /* r c u d t */
    int table;
    int from, to;
    struct row row;
    int event; /* its number in the stream; of rows none */
};

static struct {
    struct record records[MAX_RECORDS];
    int n;
} out;

static void give(struct record r)
{
    TELL("given: %c table %d, %d -> %d, value %d, chunk key %d", r.op, r.table, r.from, r.to,
         r.row.value, r.row.chunk);
    if (out.n < MAX_RECORDS)
        out.records[out.n++] = r;
    else
        fail("too many records");
}

static bool is_strict(void)
{
    return !set.pipe && set.variant != V_CHUNK_KEY;
}

static void apply(struct cell model[TABLES][KEYS], const struct record *r, int i)
{
    struct cell *rows = model[r->table];
    bool moved = r->op == 'u' && r->from != r->to;

    if (r->op == 't') {
        memset(rows, 0, sizeof *model);
        return;
    }
    if (is_strict() && (r->op == 'd' || r->op == 'u') && !rows[r->from].there)
        fail("record %d: %c of table %d, row %d, which is not there", i, r->op, r->table, r->from);
    if (is_strict() && (r->op == 'c' || r->op == 'r' || moved) && rows[r->to].there)
        fail("record %d: %c of table %d, row %d, which is there", i, r->op, r->table, r->to);
    if (r->op == 'd' || moved)
        rows[r->from].there = false;
    if (r->op != 'd')
        rows[r->to] = (struct cell){true, r->row};
}

/* once: one that takes each event of the stream when it comes first, and leaves it out after that. */
static void check_reader(bool once)
{
    struct cell model[TABLES][KEYS] = {0};
    bool taken[MAX_OPS] = {false};

    for (int i = 0; i < out.n && !wrong[0]; i++) {
        const struct record *r = &out.records[i];

        if (!once || r->op == 'r' || !taken[r->event])
            apply(model, r, i);
        if (r->op != 'r')
            taken[r->event] = true;
    }
    for (int t = 0; t < TABLES; t++)
        for (int k = 0; k < KEYS; k++) {
            const struct cell *a = &model[t][k], *b = &db.seen[t][k];

            if (a->there != b->there)
                fail("table %d, row %d: the reader%s %s it", t, k,
                     once ? " (of each event once)" : "", a->there ? "still has" : "lacks");
            else if (a->there &&
                     (a->row.value != b->row.value || a->row.chunk != b->row.chunk))
                fail("table %d, row %d: the reader has value %d instead of %d", t, k, a->row.value,
                     b->row.value);
        }
}

/* ---- the capture ---- */

enum { COL_VALUE, COL_A, COL_CHUNK, COL_B, COLUMNS };

struct entry {
    int end; /* of the output */
    struct position position;
};

static struct {
    struct coverage coverage;
    struct relation relations[TABLES];
    struct column columns[TABLES][COLUMNS];
    struct key keys[TABLES];
    struct position emitted, recorded;
    struct entry ledger[MAX_LEDGER];
    int nledger, taken;
    int next; /* in the stream */
    cJSON *state;
    int recorded_end;
    bool anew; /* a table was begun anew, behind a truncation */
    bool settled;
    struct judge judge;
    struct comparer comparer;
} cap;

static char numbers[512][8], bytes[KEYS][4];
static char *column_names[] = {"value", "a", "chunk", "b"};

static struct value text_value(const char *text)
{
    return (struct value){.data = text, .len = (uint32_t)strlen(text), .kind = VALUE_TEXT};
}

static struct value number(int n)
{
    return text_value(numbers[(n % 250) + 250]);
}

/* A row as messages have it: only what belongs to the replica identity, or all of it. */
static void fill_row(struct value *v, int key, struct row row, bool whole)
{
    memset(v, 0, COLUMNS * sizeof *v);
    v[COL_A] = number(set.composite ? key % 7 - 3 : key - 20);
    if (set.composite)
        v[COL_B] = text_value(bytes[key / 7]);
    else if (whole)
        v[COL_B] = text_value("b");
    if (!whole)
        return;
    v[COL_VALUE] = number(row.value);
    v[COL_CHUNK] = number(row.chunk - 5);
    if (row.chunk < 0)
        v[COL_CHUNK] = (struct value){.kind = VALUE_NULL};
}

static void describe(int t)
{
    struct relation *r = &cap.relations[t];
    struct key *k = &cap.keys[t];
    bool by_chunk = set.variant == V_CHUNK_KEY, prefix = set.variant == V_PREFIX;

    *r = (struct relation){.oid = 100 + (uint32_t)t,
                           .schema = (char *)(uintptr_t)"public",
                           .name = (char *)(uintptr_t)(t ? "two" : "one"),
                           .identity = set.full[t] ? 'f' : 'd',
                           .ncolumns = COLUMNS,
                           .columns = cap.columns[t],
                           .index = (uint32_t)t,
                           .version = 1,
                           .captured = true};
    for (int i = 0; i < COLUMNS; i++) {
        bool key = i == COL_A || (set.composite && i == COL_B);

        cap.columns[t][i] = (struct column){
            .name = column_names[i], .identity = key || set.full[t], .key = key};
    }
    *k = (struct key){.n = set.composite && !by_chunk && !prefix ? 2 : 1,
                      .unique = !by_chunk && !prefix,
                      .in_row_key = !by_chunk,
                      .plain = set.variant != V_SERVER};
    k->columns = xcalloc(k->n, sizeof *k->columns);
    if (by_chunk)
        k->columns[0] = (struct key_column){.name = xstrdup("chunk"), .order = ORDER_NUMBER};
    else if (set.composite)
        k->columns[0] = (struct key_column){.name = xstrdup("b"), .order = ORDER_BYTES};
    if (!by_chunk && !prefix)
        k->columns[k->n - 1] = (struct key_column){.name = xstrdup("a"), .order = ORDER_NUMBER};
}

/* ---- questions to the server ---- */

static struct {
    bool answers[TABLES][MAX_OPS * 2];
    int given[TABLES], known[TABLES];
} asked;

static void ask(void *arg, const struct key *k, const struct value *row, const struct bound *b)
{
    struct key plain = *k;
    struct comparer nobody = {0};
    int t = (int)(k - cap.keys);

    (void)arg;
    plain.plain = true;
    asked.answers[t][asked.known[t]++] = key_within(&plain, row, b, &nobody);
}

static bool answer(void *arg, const struct key *k)
{
    int t = (int)(k - cap.keys);

    (void)arg;
    if (asked.given[t] == asked.known[t]) {
        fail("an answer without a question");
        return false;
    }
    return asked.answers[t][asked.given[t]++];
}

/* ---- positions ---- */

static void mark(lsn_t lsn)
{
    if (lsn > cap.emitted.lsn)
        cap.emitted.lsn = lsn;
    cap.emitted.rows = cap.coverage.complete;
    if (cap.nledger < MAX_LEDGER)
        cap.ledger[cap.nledger++] = (struct entry){out.n, cap.emitted};
    else
        fail("too many positions");
}

static void record(const struct entry *e)
{
    cJSON_Delete(cap.state);
    cap.state = coverage_to_json(&cap.coverage, &e->position);
    cap.recorded = e->position;
    cap.recorded_end = e->end;
    coverage_forget(&cap.coverage, &cap.recorded);
    TELL("recorded: %llu, step %llu", (unsigned long long)cap.recorded.lsn,
         (unsigned long long)cap.recorded.rows);
}

static void record_some(void)
{
    if (cap.taken == cap.nledger)
        return;
    cap.taken += 1 + (percent(50) ? 0 : below(cap.nledger - cap.taken));
    record(&cap.ledger[cap.taken - 1]);
}

static void attach(void)
{
    for (int t = 0; t < TABLES; t++) {
        struct covered_table *c = coverage_find(&cap.coverage, 100 + (uint32_t)t);

        c->order = &cap.keys[t];
        if (covered_to(c)->kind != BOUND_KEY)
            continue;
        if (c->key.count != cap.keys[t].n || covered_to(c)->n != cap.keys[t].n)
            fail("the state has a key of %zu columns", c->key.count);
        for (size_t i = 0; i < c->key.count && !wrong[0]; i++)
            if (strcmp(c->key.items[i], cap.keys[t].columns[i].name) != 0)
                fail("the state has key column %s", c->key.items[i]);
    }
    cap.settled = false;
}

static void start_capture(void)
{
    memset(&cap, 0, sizeof cap);
    out.n = 0;
    cap.emitted.lsn = db.wal;
    for (int t = TABLES; t-- > 0;) {
        describe(t);
        coverage_add(&cap.coverage, 100 + (uint32_t)t, t ? "public.two" : "public.one");
    }
    attach();
    record(&(struct entry){0, cap.emitted});
}

/* Where the output stood when all of it could be accepted. */
static int boundary(void)
{
    return cap.nledger ? cap.ledger[cap.nledger - 1].end : cap.recorded_end;
}

/*
 * A run that ends in good order has given nothing that is not on record, unless it was stopped in a
 * chunk; what went before may have.
 */
static bool end_run(void)
{
    bool whole = out.n == boundary();

    if (!percent(30))
        return false;
    while (cap.taken < cap.nledger)
        record_some();
    TELL("the end of the run");
    return whole && coverage_is_certain(&cap.coverage);
}

static void begin_again(void)
{
    bool certain = end_run();
    char *text = cJSON_PrintUnformatted(cap.state);
    cJSON *json = cJSON_Parse(text);

    TELL("going on at %llu, step %llu: %s", (unsigned long long)cap.recorded.lsn,
         (unsigned long long)cap.recorded.rows, text);
    coverage_release(&cap.coverage);
    if (!coverage_from_json(&cap.coverage, json))
        fail("refused the state %s", text);
    if (cap.coverage.last != cap.recorded.rows)
        fail("the state has step %llu", (unsigned long long)cap.coverage.last);
    free(text);
    cJSON_Delete(json);
    if (!set.pipe)
        out.n = cap.recorded_end;
    cap.coverage.uncertain =
        set.pipe && !certain && (!coverage_whole(&cap.coverage) || cap.coverage.nsteps > 0);
    cap.coverage.given_before = cap.coverage.uncertain ? db.wal : 0;
    attach();
    cap.emitted = cap.recorded;
    cap.nledger = cap.taken = 0;
    cap.next = 0;
    while (cap.next < db.nstream && db.stream[cap.next].end <= cap.emitted.lsn)
        cap.next++;
    record(&(struct entry){out.n, cap.emitted});
}

/* ---- the stream ---- */

static void judge_op(const struct op *op, struct comparer *comparer)
{
    struct covered_table *t = coverage_find(&cap.coverage, 100 + (uint32_t)op->table);
    struct value old[COLUMNS], new[COLUMNS];
    struct change c = {.op = op->op, .relation = &cap.relations[op->table], .lsn = 1};
    enum verdict verdict = VERDICT_GIVE;
    struct record r = {.table = op->table,
                       .from = op->from,
                       .to = op->to,
                       .row = op->new,
                       .event = (int)(op - db.ops)};

    if (op->sends_old) {
        fill_row(old, op->from, op->old, set.full[op->table]);
        c.old_row = old;
        c.old_kind = set.full[op->table] ? OLD_FULL : OLD_KEY;
    }
    if (op->op == OP_INSERT || op->op == OP_UPDATE) {
        fill_row(new, op->to, op->new, true);
        c.new_row = new;
    }
    if (!cap.settled)
        verdict = judge_change(&cap.judge, t, &c, comparer);
    cap.anew |= t->nchunks > 0 && covered_to(t)->kind == BOUND_NONE;
    if (comparer->collect || verdict == VERDICT_LEAVE_OUT)
        return;
    if (verdict == VERDICT_UNKNOWN)
        fail("cannot tell the row of a change");
    r.op = "cudt"[op->op];
    if (verdict == VERDICT_GIVE_DELETE)
        r.op = 'd';
    if (verdict == VERDICT_GIVE_INSERT)
        r.op = 'c';
    give(r);
}

static void judge_streamed(const struct streamed *s, struct comparer *comparer)
{
    if (!cap.settled && !comparer->collect)
        cap.settled = !coverage_is_needed(&cap.coverage, cap.emitted.lsn);
    if (!cap.settled)
        judge_begin(&cap.judge, &cap.coverage, s->xid);
    for (int i = 0; i < s->n; i++)
        if (!comparer->collect || db.ops[s->first + i].op != OP_TRUNCATE)
            judge_op(&db.ops[s->first + i], comparer);
}

static void take_stream(int n)
{
    struct comparer collecting = {.collect = true, .ask = ask}, answering = {.answer = answer};

    if (set.variant == V_BULK && !coverage_whole(&cap.coverage))
        return;
    if (n > db.nstream - cap.next)
        n = db.nstream - cap.next;
    memset(asked.given, 0, sizeof asked.given);
    memset(asked.known, 0, sizeof asked.known);
    for (int i = 0; i < n && set.variant == V_SERVER; i++)
        judge_streamed(&db.stream[cap.next + i], &collecting);
    for (int i = 0; i < n; i++) {
        const struct streamed *s = &db.stream[cap.next++];

        TELL("stream: %u", s->xid);
        judge_streamed(s, &answering);
        mark(s->end);
    }
    if (cap.next == db.nstream && (percent(20) || coverage_is_behind(&cap.coverage, cap.emitted.lsn)))
        mark(db.wal); /* a keepalive */
}

/* ---- rows ---- */

static void give_row(int t, int k)
{
    give((struct record){.op = 'r', .table = t, .from = k, .to = k, .row = db.seen[t][k].row});
}

static int bound_number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

/* The order of the chunks; nulls last. */
static int place_of(int t, int k)
{
    int chunk = db.seen[t][k].row.chunk;

    if (set.variant == V_PREFIX)
        return k / 7;
    if (set.variant != V_CHUNK_KEY)
        return k;
    return chunk < 0 ? INT32_MAX : chunk;
}

static int place_of_bound(const struct bound *b)
{
    if (b->kind == BOUND_NONE)
        return -1;
    if (set.variant == V_CHUNK_KEY)
        return bound_number(b->values[0]) + 5;
    if (set.variant == V_PREFIX)
        return b->values[0][0] - 'B';
    if (set.composite)
        return (b->values[0][0] - 'B') * 7 + bound_number(b->values[1]) + 3;
    return bound_number(b->values[0]) + 20;
}

/* The next row in order behind `after`, a place and a key. */
static int next_row(int t, int after, int after_key)
{
    int best = -1;

    for (int k = 0; k < KEYS; k++) {
        int at = place_of(t, k);

        if (db.seen[t][k].there && (at > after || (at == after && k > after_key)) &&
            (best < 0 || at < place_of(t, best)))
            best = k;
    }
    return best;
}

static void give_nulls(int t)
{
    for (int k = 0; k < KEYS; k++)
        if (db.seen[t][k].there && db.seen[t][k].row.chunk < 0)
            give_row(t, k);
}

static void read_rows(int t, struct covered_table *c)
{
    bool by_chunk = set.variant == V_CHUNK_KEY, breaks = cap.keys[t].unique && percent(5);
    int at = place_of_bound(covered_to(c)), last = KEYS, rows = 0, k;
    int limit = breaks ? below(set.chunk_size) : set.chunk_size;
    struct bound to = {.kind = BOUND_END};

    while ((k = next_row(t, at, last)) >= 0) {
        int place = place_of(t, k);

        if (place == INT32_MAX || (rows >= limit && place != at))
            break;
        give_row(t, k);
        at = place;
        last = k;
        rows++;
    }
    if (rows >= set.chunk_size || breaks) {
        struct value v[COLUMNS];

        if (rows == 0)
            return;
        fill_row(v, last, db.seen[t][last].row, true);
        key_locate(&cap.keys[t], &cap.relations[t]);
        to = bound_of_row(v, cap.keys[t].positions, cap.keys[t].n);
    } else if (by_chunk) {
        give_nulls(t);
    }
    coverage_extend(&cap.coverage, c, &to);
}

/* The run ends after some rows of the chunk: nothing tells that they have been given. */
static void break_off(int t, const struct covered_table *c)
{
    int at = place_of_bound(covered_to(c)), last = KEYS;

    for (int rows = 1 + below(set.chunk_size); rows > 0; rows--) {
        int k = next_row(t, at, last);

        if (k < 0 || place_of(t, k) == INT32_MAX)
            break;
        give_row(t, k);
        at = place_of(t, k);
        last = k;
    }
    begin_again();
}

static void read_chunk(void)
{
    struct covered_table *c = NULL;
    struct visibility seen;
    int t = 0;

    for (; t < TABLES; t++) {
        c = coverage_find(&cap.coverage, 100 + (uint32_t)t);
        if (!covered_whole(c))
            break;
    }
    if (t == TABLES || !is_readable(t) || coverage_is_behind(&cap.coverage, cap.emitted.lsn) ||
        coverage_waiting(&cap.coverage, cap.emitted.lsn) > 8)
        return;
    seen = take_snapshot();
    if (!coverage_usable(&cap.coverage, &seen)) {
        TELL("a snapshot that cannot be used");
        visibility_release(&seen);
        return;
    }
    coverage_begin(&cap.coverage, &seen, db.wal);
    TELL("step %llu: table %d, up to %llu", (unsigned long long)cap.coverage.last, t,
         (unsigned long long)db.wal);
    cap.settled = false;
    if (percent(set.crashes)) {
        break_off(t, c);
        return;
    }
    read_rows(t, c);
    coverage_finish(&cap.coverage);
    mark(0);
}

static void read_bulk(bool exported)
{
    struct visibility seen;

    if (coverage_whole(&cap.coverage) || !is_readable(0) || !is_readable(1))
        return;
    seen = take_snapshot();
    coverage_begin(&cap.coverage, exported ? NULL : &seen, db.wal);
    TELL("step %llu: all tables%s", (unsigned long long)cap.coverage.last,
         exported ? ", exported snapshot" : "");
    cap.settled = false;
    for (int t = 0; t < TABLES; t++) {
        for (int k = 0; k < KEYS; k++)
            if (db.seen[t][k].there)
                give_row(t, k);
        coverage_extend(&cap.coverage, coverage_find(&cap.coverage, 100 + (uint32_t)t),
                        &(struct bound){.kind = BOUND_END});
    }
    coverage_finish(&cap.coverage);
    mark(0);
    visibility_release(&seen);
}

static void read_some(void)
{
    if (set.variant == V_BULK)
        read_bulk(false);
    else
        read_chunk();
}

static void pay(void)
{
    struct visibility seen = take_snapshot();

    coverage_pay(&cap.coverage, &seen);
    visibility_release(&seen);
}

/* ---- a history ---- */

static void settle_history(uint64_t seed)
{
    chance = mix(seed);
    set = (struct setting){
        .variant = (enum variant)(seed % VARIANTS),
        .keys = percent(50) ? 2 + below(6) : KEYS,
        .steps = 20 + below(MAX_STEPS - 20),
        .chunk_size = 1 + below(percent(50) ? 3 : 12),
        .batch = 1 + below(6),
        .late = percent(30) ? 0 : below(80),
        .truncates = percent(40) ? 0 : below(12),
        .crashes = percent(40) ? 0 : below(8),
        .composite = percent(30),
    };
    set.pipe = set.variant == V_PIPE;
    if (set.variant == V_CHUNK_KEY || set.variant == V_PREFIX || set.variant == V_SERVER)
        set.pipe = percent(30);
    set.composite |= set.variant == V_PREFIX;
    if (set.variant == V_CHUNK_KEY && percent(80))
        set.keys = 1 + below(4); /* the same rows again and again */
    for (int t = 0; t < TABLES; t++)
        set.full[t] = set.variant == V_CHUNK_KEY || percent(40);
}

static void step(void)
{
    int what = below(100);

    if (what < 8)
        begin_writer();
    else if (what < 45)
        work();
    else if (what < 56)
        end_writer(percent(85));
    else if (what < 62)
        become_visible();
    else if (what < 76)
        read_some();
    else if (what < 90)
        take_stream(1 + below(set.batch));
    else if (what < 97)
        record_some();
    else if (what < 98)
        pay();
    else if (percent(set.crashes * 10))
        begin_again();
}

static void finish_history(void)
{
    while (any_slot(ACTIVE) >= 0)
        end_writer(percent(80));
    while (any_slot(COMMITTED) >= 0)
        become_visible();
    for (int i = 0; i < 2000 && !wrong[0]; i++) {
        if (coverage_whole(&cap.coverage) && cap.next == db.nstream)
            return;
        if (percent(50))
            read_some();
        else
            take_stream(1 + below(set.batch));
        if (percent(20))
            record_some();
        if (percent(set.crashes) && i < 200)
            begin_again();
    }
    fail("the end is not reached");
}

static void end_capture(void)
{
    for (int t = 0; t < TABLES; t++)
        key_release(&cap.keys[t]);
    coverage_release(&cap.coverage);
    cJSON_Delete(cap.state);
}

/* Whether all went well; else `wrong` says what did not. */
static bool run(uint64_t seed)
{
    wrong[0] = '\0';
    settle_history(seed);
    start_database();
    start_capture();
    if (set.variant == V_BULK && percent(40))
        read_bulk(true);
    for (int i = 0; i < set.steps && !wrong[0]; i++) {
        chance = mix(seed * 1000 + (uint64_t)i);
        if (!left_out || !left_out[i])
            step();
    }
    chance = mix(seed ^ 0x5555);
    finish_history();
    if (!wrong[0])
        check_reader(false);
    if (!wrong[0] && set.pipe && !cap.anew) /* see coverage.h */
        check_reader(true);
    end_capture();
    return !wrong[0];
}

/* Leaves out what the failure does not need, and prints what remains. */
static void explain(uint64_t seed)
{
    static bool without[MAX_STEPS];
    bool shorter = true;
    int n = 0;

    memset(without, 0, sizeof without);
    left_out = without;
    while (shorter) {
        shorter = false;
        for (int i = 0; i < set.steps; i++) {
            if (without[i])
                continue;
            without[i] = true;
            if (run(seed))
                without[i] = false;
            else
                shorter = true;
        }
    }
    for (int i = 0; i < set.steps; i++)
        n += !without[i];
    telling = true;
    tap_note("seed %llu: %s%s, %d keys, chunks of %d, %d steps, %s", (unsigned long long)seed,
             variant_names[set.variant], set.pipe ? ", pipe" : "", set.keys, set.chunk_size, n,
             set.full[0] ? "identity full" : "identity default");
    run(seed);
    tap_note("seed %llu: %s", (unsigned long long)seed, wrong);
    telling = false;
    left_out = NULL;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    uint64_t seed = number_of("JUDGE_SEED", 1);
    uint64_t rounds = number_of("JUDGE_ROUNDS", getenv("JUDGE_SEED") ? 1 : 20000);
    uint64_t failed[VARIANTS] = {0}, runs[VARIANTS] = {0};

    log_set_level(LOG_QUIET);
    for (int i = 0; i < 512; i++)
        snprintf(numbers[i], sizeof numbers[i], "%d", i - 250);
    for (int i = 0; i < KEYS; i++)
        snprintf(bytes[i], sizeof bytes[i], "%c%s", 'B' + i, i % 2 ? "x" : "");
    for (uint64_t i = 0; i < rounds; i++) {
        enum variant v = (enum variant)((seed + i) % VARIANTS);

        runs[v]++;
        if (!run(seed + i) && failed[v]++ == 0)
            explain(seed + i);
    }
    for (int v = 0; v < VARIANTS; v++)
        ok(failed[v] == 0, "%s: %llu of %llu histories end right", variant_names[v],
           (unsigned long long)(runs[v] - failed[v]), (unsigned long long)runs[v]);
    return tap_done();
}
