/* The rules of snapshot/coverage.h one by one; judge_model_test.c tries them together. */
#include "snapshot/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/coverage_json.h"
#include "tests/unit/tap.h"

/* ---- tables: id is the row's key, place another column ---- */

enum { ID, PLACE, COLUMNS };
enum { ONE = 101, TWO = 102 };
enum { NO = -1 }; /* as a number: null; as an id: no such row */

static char schema[] = "public", name_one[] = "one", id_name[] = "id", place_name[] = "place";
static struct column columns[COLUMNS] = {{.name = id_name, .identity = true, .key = true},
                                         {.name = place_name}};
static struct relation relations[2] = {
    {.oid = ONE, .schema = schema, .name = name_one, .ncolumns = COLUMNS, .columns = columns,
     .version = 1},
    {.oid = TWO, .schema = schema, .name = name_one, .ncolumns = COLUMNS, .columns = columns,
     .version = 1},
};
static struct coverage c;
static struct key by_id, by_place;
static struct judge j;
static struct comparer comparer;

static void make_key(struct key *k, const char *column, bool own)
{
    *k = (struct key){.n = 1, .unique = own, .in_row_key = own, .plain = true};
    k->columns = xcalloc(1, sizeof *k->columns);
    k->columns[0] = (struct key_column){.name = xstrdup(column), .order = ORDER_NUMBER};
}

static struct covered_table *table(uint32_t oid)
{
    return coverage_find(&c, oid);
}

/* Two tables of which nothing has been read. */
static void fresh(void)
{
    coverage_release(&c);
    coverage_add(&c, TWO, "public.two")->order = &by_id;
    coverage_add(&c, ONE, "public.one")->order = &by_id;
    columns[PLACE].identity = false;
}

/* Likewise, and a row's place in the order is not its key. */
static void fresh_by_place(void)
{
    fresh();
    columns[PLACE].identity = true;
    table(ONE)->order = table(TWO)->order = &by_place;
}

static struct visibility snapshot(const char *text)
{
    struct visibility v;

    if (!visibility_parse(&v, text))
        ok(false, "cannot read %s", text);
    return v;
}

static void begin_step(const char *seen, lsn_t until)
{
    struct visibility v = snapshot(seen);

    coverage_begin(&c, &v, until);
}

static void extend(uint32_t oid, const char *to)
{
    static uint16_t positions[] = {0};
    struct value v = {.data = to, .kind = VALUE_TEXT};
    struct bound b = {.kind = BOUND_END};

    if (to) {
        v.len = (uint32_t)strlen(to);
        b = bound_of_row(&v, positions, 1);
    }
    coverage_extend(&c, table(oid), &b);
}

/* One chunk: up to `to`, NULL = all of it. */
static void chunk(uint32_t oid, const char *seen, lsn_t until, const char *to)
{
    begin_step(seen, until);
    extend(oid, to);
    coverage_finish(&c);
}

static bool usable(const char *seen)
{
    struct visibility v = snapshot(seen);
    bool answer = coverage_usable(&c, &v);

    visibility_release(&v);
    return answer;
}

static void pay(const char *seen)
{
    struct visibility v = snapshot(seen);

    coverage_pay(&c, &v);
    visibility_release(&v);
}

/* ---- changes ---- */

static void fill(struct value *row, char text[2][16], int id, int place, bool whole)
{
    memset(row, 0, COLUMNS * sizeof *row);
    for (int i = 0; i < COLUMNS; i++) {
        int n = i == ID ? id : place;

        snprintf(text[i], sizeof text[i], "%d", n);
        row[i] = (struct value){.data = text[i], .len = (uint32_t)strlen(text[i]),
                                .kind = n == NO ? VALUE_NULL : VALUE_TEXT};
    }
    if (!whole)
        row[PLACE] = (struct value){.kind = VALUE_ABSENT};
}

/* Of the transaction begun last.  A key that the update leaves alone is not sent. */
static enum verdict change(uint32_t oid, enum operation op, int id, int place, int new_id,
                           int new_place)
{
    struct value old[COLUMNS], new[COLUMNS];
    char texts[2][2][16];
    struct change ch = {.op = op, .relation = &relations[oid - ONE], .lsn = 1};
    bool full = columns[PLACE].identity;

    if (op == OP_DELETE || (op == OP_UPDATE && (full || id != new_id))) {
        fill(old, texts[0], id, place, full);
        ch.old_row = old;
        ch.old_kind = full ? OLD_FULL : OLD_KEY;
    }
    if (op == OP_INSERT || op == OP_UPDATE) {
        fill(new, texts[1], new_id, new_place, true);
        ch.new_row = new;
    }
    return judge_change(&j, table(oid), &ch, &comparer);
}

static void transaction(uint32_t xid)
{
    judge_begin(&j, &c, xid);
}

static enum verdict ins(uint32_t oid, int id)
{
    return change(oid, OP_INSERT, NO, NO, id, 0);
}

static enum verdict del(uint32_t oid, int id)
{
    return change(oid, OP_DELETE, id, 0, NO, NO);
}

static enum verdict upd(uint32_t oid, int from, int to)
{
    return change(oid, OP_UPDATE, from, 0, to, 0);
}

static enum verdict cut(uint32_t oid)
{
    return change(oid, OP_TRUNCATE, NO, NO, NO, NO);
}

#define GIVE VERDICT_GIVE
#define OUT VERDICT_LEAVE_OUT

/* ---- the rules ---- */

static void check_one_chunk(void)
{
    fresh();
    transaction(50);
    ok(ins(ONE, 1) == OUT && upd(ONE, 1, 1) == OUT && del(ONE, 1) == OUT && upd(ONE, 1, 2) == OUT,
       "nothing read: everything is left out");
    ok(c.nowed == 1 && c.owed[0] == 50 && !usable("40:60:50") && usable("51:51:"),
       "... and owed, once");
    chunk(ONE, "60:60:", 1000, "10");
    ok(c.nowed == 0, "the next step pays");
    transaction(60);
    ok(ins(ONE, 10) == GIVE && ins(ONE, -5) == GIVE && upd(ONE, 3, 3) == GIVE &&
           upd(ONE, 3, 10) == GIVE && del(ONE, 9) == GIVE,
       "within the chunk, not seen: given");
    ok(c.nowed == 0, "... and nothing is owed");
    ok(upd(ONE, 3, 11) == VERDICT_GIVE_DELETE, "an update out of the chunk is half a delete");
    ok(c.nowed == 1 && c.owed[0] == 60, "... and owed");
    c.nowed = 0;
    ok(upd(ONE, 11, 3) == VERDICT_GIVE_INSERT && c.nowed == 1, "one into it half an insert");
    ok(ins(ONE, 11) == OUT && upd(ONE, 11, 11) == OUT && del(ONE, 12) == OUT &&
           upd(ONE, 12, 13) == OUT && c.nowed == 1,
       "beyond it: left out");
    ok(ins(TWO, 1) == OUT, "the other table has not been read");
    transaction(59);
    ok(ins(ONE, 10) == OUT && upd(ONE, 3, 3) == OUT && del(ONE, 9) == OUT &&
           upd(ONE, 3, 11) == OUT && upd(ONE, 11, 3) == OUT && ins(ONE, 12) == OUT,
       "seen by the chunk: all left out");
    ok(c.nowed == 1 && c.owed[0] == 60, "... and not owed: later snapshots see it, too");
}

static void check_several_chunks(void)
{
    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    chunk(ONE, "60:65:60,62", 1010, "20");
    chunk(ONE, "70:70:", 1020, NULL);
    transaction(60);
    ok(ins(ONE, 20) == GIVE && ins(ONE, 21) == OUT && upd(ONE, 10, 21) == VERDICT_GIVE_DELETE &&
           upd(ONE, 21, 12) == VERDICT_GIVE_INSERT,
       "running during two chunks, seen by the third");
    transaction(61);
    ok(ins(ONE, 10) == GIVE && ins(ONE, 11) == OUT && del(ONE, 21) == OUT,
       "ended between the first and the second");
    transaction(59);
    ok(ins(ONE, 10) == OUT && ins(ONE, 20) == OUT && ins(ONE, 21) == OUT, "seen by all");
    transaction(70);
    ok(ins(ONE, 1) == GIVE && ins(ONE, 1000) == GIVE && upd(ONE, 1, 1000) == GIVE,
       "seen by none: the table is whole");
    ok(c.nowed == 0, "nothing is owed");
    ok(coverage_waiting(&c, 1000) == 2 && coverage_waiting(&c, 1020) == 0, "steps ahead");
    ok(!coverage_whole(&c) && coverage_is_needed(&c, 2000), "the other table is still to be read");
}

static void check_owed(void)
{
    fresh();
    for (uint32_t xid = 50; xid < 60; xid++) {
        transaction(xid);
        ins(ONE, 1);
        ins(TWO, 2);
    }
    ok(c.nowed == 10, "one entry a transaction");
    pay("55:60:55,57");
    ok(c.nowed == 2 && c.owed[0] == 55 && c.owed[1] == 57, "those that are visible are paid");
    ok(usable("57:60:57") == false && !usable("55:60:55") && usable("60:60:") && usable("58:60:58"),
       "a snapshot has to see all of them");
    ok(!usable("50:50:"), "... not one from before");
}

static void check_joined(void)
{
    fresh();
    begin_step("60:65:60,63", 1000);
    transaction(60);
    extend(ONE, NULL);
    extend(TWO, NULL);
    coverage_finish(&c);
    ok(coverage_whole(&c) && coverage_is_needed(&c, 999) && c.complete == 1, "two tables at once");
    transaction(60);
    ok(ins(ONE, 1) == GIVE && del(TWO, 7) == GIVE && cut(TWO) == GIVE && upd(TWO, 1, 2) == GIVE,
       "not seen: given, in both");
    transaction(61);
    ok(ins(ONE, 1) == OUT && del(TWO, 7) == OUT && cut(TWO) == OUT && upd(TWO, 1, 2) == OUT,
       "seen: left out");
    ok(c.nowed == 0 && covered_whole(table(TWO)), "nothing is owed or begun anew");
    coverage_forget(&c, &(struct position){.lsn = 1000, .rows = 0});
    ok(c.nsteps == 1, "a step that is not on record stays");
    coverage_forget(&c, &(struct position){.lsn = 999, .rows = 1});
    ok(c.nsteps == 1, "one that the stream has not passed stays");
    coverage_forget(&c, &(struct position){.lsn = 1000, .rows = 1});
    ok(c.nsteps == 0 && !coverage_is_needed(&c, 1000) && table(ONE)->nchunks == 0 &&
           table(ONE)->base.kind == BOUND_END,
       "passed and on record: forgotten");
    fresh();
    coverage_begin(&c, NULL, 500);
    extend(ONE, NULL);
    extend(TWO, NULL);
    coverage_finish(&c);
    transaction(3);
    ok(c.nsteps == 0 && ins(ONE, 1) == GIVE && cut(TWO) == GIVE,
       "a snapshot exported with the slot sees nothing of the stream");
}

static void check_forget(void)
{
    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    chunk(ONE, "61:61:", 1010, "20");
    chunk(ONE, "62:62:", 1020, "30");
    coverage_forget(&c, &(struct position){.lsn = 1010, .rows = 3});
    ok(c.nsteps == 1 && table(ONE)->nchunks == 1 && strcmp(table(ONE)->base.values[0], "20") == 0,
       "two of three steps passed");
    transaction(61);
    ok(ins(ONE, 20) == GIVE && ins(ONE, 25) == OUT, "the base needs no snapshot");
    transaction(62);
    ok(ins(ONE, 30) == GIVE && ins(ONE, 31) == OUT, "what is left still has one");
    ok(covered_at(table(ONE), &(struct position){.rows = 2})->n == 1 &&
           strcmp(covered_at(table(ONE), &(struct position){.rows = 3})->values[0], "30") == 0 &&
           !coverage_whole_at(&c, &(struct position){.rows = 3}),
       "as of a position");
    coverage_reset(&c);
    ok(c.nsteps == 0 && covered_to(table(ONE))->kind == BOUND_NONE && c.nunread == 2,
       "begun anew, all of it");
    coverage_remove(&c, ONE);
    ok(!table(ONE) && table(TWO) && c.nunread == 1, "a table is taken out");
}

/* ---- truncations ---- */

static void check_truncate(void)
{
    fresh();
    transaction(50);
    ok(cut(ONE) == OUT && c.nowed == 1, "nothing read: left out, owed");
    c.nowed = 0;
    chunk(ONE, "60:60:", 1000, "10");
    transaction(60);
    ok(cut(ONE) == GIVE && ins(ONE, 1) == GIVE && ins(ONE, 11) == OUT, "not seen: given");
    ok(covered_to(table(ONE))->kind == BOUND_KEY && c.last == 1,
       "... and the table is gone on with");
    transaction(59);
    ok(cut(ONE) == OUT && c.last == 1, "seen by all steps: left out");

    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    chunk(ONE, "61:61:", 1010, NULL);
    transaction(60);
    ok(ins(ONE, 5) == GIVE, "between two steps: before it");
    ok(cut(ONE) == GIVE, "... the truncation is given");
    ok(c.last == 3 && c.complete == 3 && covered_to(table(ONE))->kind == BOUND_NONE &&
           c.nunread == 2,
       "... and the table begun anew");
    ok(ins(ONE, 5) == OUT && ins(ONE, 50) == OUT && c.nowed == 0,
       "... what comes after it is left out, and the second step has seen it");
    ok(cut(ONE) == OUT && c.last == 3, "... another truncation, too");
    transaction(62);
    ok(ins(ONE, 5) == OUT && c.nowed == 1 && c.owed[0] == 62, "a later transaction is owed");
    chunk(ONE, "62:64:62", 1020, "7");
    transaction(62);
    ok(ins(ONE, 5) == GIVE && ins(ONE, 8) == OUT, "the table is read again: not seen");
    transaction(63);
    ok(ins(ONE, 5) == OUT && del(ONE, 5) == OUT && upd(ONE, 5, 8) == OUT, "... seen");
    transaction(60);
    ok(ins(ONE, 5) == OUT, "... one from before");
    coverage_forget(&c, &(struct position){.lsn = 1010, .rows = 3});
    ok(c.nsteps == 1 && table(ONE)->base.kind == BOUND_NONE && table(ONE)->nchunks == 1,
       "the base is that of the table begun anew");
}

/* ---- uncertain ---- */

static void check_uncertain(void)
{
    fresh();
    c.uncertain = true;
    transaction(50);
    ok(del(ONE, 5) == GIVE && ins(ONE, 5) == OUT && upd(ONE, 5, 5) == OUT &&
           upd(ONE, 5, 6) == VERDICT_GIVE_DELETE && cut(ONE) == GIVE,
       "uncertain: what takes a row away that is to be read is given");
    ok(c.nowed == 1, "... and owed all the same");
    chunk(ONE, "60:60:", 1000, "10");
    transaction(50);
    ok(del(ONE, 5) == GIVE && ins(ONE, 5) == GIVE && upd(ONE, 5, 5) == GIVE,
       "rows that have been read: what they show is given again");
    ok(del(ONE, 15) == GIVE && ins(ONE, 15) == OUT && upd(ONE, 15, 16) == VERDICT_GIVE_DELETE,
       "rows that have not been, by a transaction that a step sees");
    ok(upd(ONE, 15, 5) == GIVE, "an update into it may find its old row");
    ok(upd(ONE, 5, 15) == VERDICT_GIVE_DELETE, "one out of it");
    ok(cut(ONE) == GIVE && c.last == 1 && covered_to(table(ONE))->kind == BOUND_KEY,
       "a truncation is given, what follows it comes, too");
}

/* ---- chunks by another column ---- */

static enum verdict at_place(enum operation op, int id, int place, int new_id, int new_place)
{
    return change(ONE, op, id, place, new_id, new_place);
}

static void check_by_place(void)
{
    fresh_by_place();
    chunk(ONE, "60:60:", 1000, "10");
    transaction(60);
    ok(at_place(OP_INSERT, NO, NO, 1, 10) == GIVE && at_place(OP_INSERT, NO, NO, 2, 11) == OUT &&
           at_place(OP_INSERT, NO, NO, 3, NO) == OUT,
       "the place decides; null is behind all");
    ok(at_place(OP_UPDATE, 1, 5, 1, 11) == VERDICT_GIVE_DELETE &&
           at_place(OP_UPDATE, 1, 11, 1, 5) == VERDICT_GIVE_INSERT &&
           at_place(OP_UPDATE, 1, 5, 1, NO) == VERDICT_GIVE_DELETE && table(ONE)->nmoved == 0,
       "halves, beside rows that are still to be read");
    chunk(ONE, "61:61:", 1010, "20");
    transaction(60);
    ok(at_place(OP_UPDATE, 7, 5, 7, 15) == GIVE && table(ONE)->nmoved == 1,
       "a row that was given at its new place, too: given whole and noted");
    ok(at_place(OP_UPDATE, 7, 15, 7, 16) == GIVE && at_place(OP_DELETE, 7, 16, NO, NO) == GIVE,
       "... and so are its further changes");
    ok(at_place(OP_INSERT, NO, NO, 7, 15) == GIVE && at_place(OP_INSERT, NO, NO, 8, 15) == OUT,
       "... and a new row of that key, but of no other");
    ok(at_place(OP_INSERT, NO, NO, 7, 25) == OUT &&
           at_place(OP_UPDATE, 7, 15, 7, 25) == VERDICT_GIVE_DELETE,
       "... as far as has been read");
    ok(at_place(OP_DELETE, 9, 5, NO, NO) == GIVE && at_place(OP_INSERT, NO, NO, 9, 15) == GIVE,
       "a key that was freed and taken elsewhere");
    ok(at_place(OP_UPDATE, 10, 5, 11, 6) == GIVE && at_place(OP_UPDATE, 12, 15, 10, 16) == GIVE,
       "... by updates of the key");
    coverage_forget(&c, &(struct position){.lsn = 1009, .rows = 2});
    ok(c.nsteps == 1 && at_place(OP_INSERT, NO, NO, 7, 15) == GIVE, "kept as long as the step");
    coverage_forget(&c, &(struct position){.lsn = 1010, .rows = 2});
    ok(table(ONE)->nmoved == 0, "... and forgotten with it");
    columns[PLACE].identity = false;
    ok(at_place(OP_DELETE, 1, 5, NO, NO) == VERDICT_UNKNOWN &&
           at_place(OP_UPDATE, 1, 5, 1, 6) == VERDICT_UNKNOWN,
       "without the old place it cannot be told");
    ok(at_place(OP_INSERT, NO, NO, 1, 5) == GIVE, "... of an insert it can");
}

/* ---- tables without a key ---- */

static void check_keyless(void)
{
    struct key none = {.unique = true, .plain = true};

    fresh();
    table(ONE)->order = &none;
    transaction(60);
    ok(ins(ONE, 1) == OUT && del(ONE, 1) == OUT && cut(ONE) == OUT, "no key: nothing read");
    chunk(ONE, "60:60:", 1000, NULL);
    transaction(60);
    ok(ins(ONE, 1) == GIVE && del(ONE, 1) == GIVE && upd(ONE, 1, 2) == GIVE, "... all at once");
    transaction(59);
    ok(ins(ONE, 1) == OUT && del(ONE, 1) == OUT && cut(ONE) == OUT, "... and seen");
    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    table(ONE)->order = NULL;
    transaction(60);
    ok(ins(ONE, 1) == VERDICT_UNKNOWN, "an order that is not known");
}

/* ---- state file ---- */

static char *text_at(struct position p)
{
    cJSON *json = coverage_to_json(&c, &p);
    char *text = cJSON_PrintUnformatted(json);

    cJSON_Delete(json);
    return text;
}

static bool load(const char *text)
{
    cJSON *json = cJSON_Parse(text);
    bool good;

    coverage_release(&c);
    good = json && coverage_from_json(&c, json);
    cJSON_Delete(json);
    return good;
}

static void check_round_trip(void)
{
    struct position behind = {.lsn = 1000, .rows = 2}, newest = {.lsn = 1005, .rows = 3};
    char *text, *again;

    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    chunk(ONE, "60:64:60,62", 1010, "20");
    chunk(ONE, "70:70:", 1020, "30");
    coverage_owe(&c, 4294967295u);
    covered_add_moved(table(ONE), UINT64_MAX, 2);
    table(TWO)->filled_to = 0x100000001;
    text = text_at(behind);
    is_str(text,
           "{\"step\":\"2\",\"certain\":false,\"snapshots\":[{\"step\":\"2\",\"seen\":\"60:64:60,62\","
           "\"until\":\"0/3F2\"}],\"owed\":[4294967295],\"tables\":["
           "{\"oid\":101,\"table\":\"public.one\",\"key\":[\"id\"],\"read\":[\"10\"],"
           "\"moved\":[{\"row\":\"18446744073709551615\",\"step\":\"2\"}],"
           "\"chunks\":[{\"step\":\"2\",\"to\":[\"20\"]}]},"
           "{\"oid\":102,\"table\":\"public.two\",\"read\":\"none\",\"filled_to\":\"1/1\"}]}",
           "as of a position behind the newest step");
    ok(load(text), "is read");
    again = text_at(behind);
    is_str(again, text, "... and written alike");
    free(again);
    ok(c.last == 2 && c.complete == 2 && c.nunread == 2 &&
           !usable("4294967290:4294967296:4294967295") &&
           covered_has_moved(table(ONE), UINT64_MAX) && table(TWO)->filled_to == 0x100000001,
       "... all of it");
    table(ONE)->order = table(TWO)->order = &by_id;
    transaction(60);
    ok(ins(ONE, 20) == GIVE && ins(ONE, 21) == OUT, "... judges as before: not seen");
    transaction(61);
    ok(ins(ONE, 10) == GIVE && ins(ONE, 11) == OUT, "... seen");
    free(text);
    chunk(ONE, "70:70:", 1020, NULL);
    text = text_at(newest);
    ok(load(text) && c.nunread == 1 && covered_whole(table(ONE)) && c.nsteps == 2,
       "goes on and is written again");
    free(text);
}

#define TABLE "{\"oid\":101,\"table\":\"public.one\","

static const char *const hostile[] = {
    "{}",
    "[]",
    "7",
    "\"\"",
    "{\"step\":3}",
    "{\"step\":\"\"}",
    "{\"step\":\"-1\"}",
    "{\"step\":\"1x\"}",
    "{\"step\":\"99999999999999999999\"}",
    "{\"step\":\"1\",\"owed\":[\"x\"]}",
    "{\"step\":\"1\",\"owed\":[-1]}",
    "{\"step\":\"1\",\"owed\":[4294967296]}",
    "{\"step\":\"1\",\"owed\":[1,[2]]}",
    "{\"step\":\"1\",\"snapshots\":[{}]}",
    "{\"step\":\"1\",\"snapshots\":[3]}",
    "{\"step\":\"1\",\"snapshots\":[{\"step\":\"0\",\"seen\":\"1:1:\",\"until\":\"0/1\"}]}",
    "{\"step\":\"1\",\"snapshots\":[{\"step\":\"2\",\"seen\":\"1:1:\",\"until\":\"0/1\"}]}",
    "{\"step\":\"1\",\"snapshots\":[{\"step\":\"1\",\"seen\":\"1:x:\",\"until\":\"0/1\"}]}",
    "{\"step\":\"1\",\"snapshots\":[{\"step\":\"1\",\"seen\":\"1:1:\",\"until\":\"01\"}]}",
    "{\"step\":\"2\",\"snapshots\":[{\"step\":\"2\",\"seen\":\"1:1:\",\"until\":\"0/1\"},"
    "{\"step\":\"1\",\"seen\":\"1:1:\",\"until\":\"0/1\"}]}",
    "{\"step\":\"2\",\"snapshots\":[{\"step\":\"2\",\"seen\":\"1:3:1,2\",\"until\":\"0/1\"},"
    "{\"step\":\"2\",\"seen\":\"1:3:1,2\",\"until\":\"0/1\"}]}",
    "{\"step\":\"1\",\"tables\":[{}]}",
    "{\"step\":\"1\",\"tables\":[{\"oid\":0,\"table\":\"x\",\"read\":\"all\"}]}",
    "{\"step\":\"1\",\"tables\":[{\"oid\":4294967296,\"table\":\"x\",\"read\":\"all\"}]}",
    "{\"step\":\"1\",\"tables\":[{\"oid\":\"1\",\"table\":\"x\",\"read\":\"all\"}]}",
    "{\"step\":\"1\",\"tables\":[{\"oid\":1,\"table\":7,\"read\":\"all\"}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"all\"}," TABLE "\"read\":\"all\"}]}",
    "{\"step\":\"1\",\"tables\":[{\"oid\":101,\"table\":\"x\"}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"some\"}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":7}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[7]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"7\",null]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":{\"a\":\"b\"}}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"all\",\"filled_to\":\"x\"}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\"],\"key\":\"id\"}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\"],\"key\":[]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\"],\"key\":[1]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\"],\"key\":[\"id\",2]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\"],\"key\":[\"id\",\"place\"]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":[\"1\",\"2\"],\"key\":[\"id\"]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE
    "\"read\":[\"1\"],\"key\":[\"id\"],\"chunks\":[{\"step\":\"1\",\"to\":[\"1\",\"2\"]}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"chunks\":[{}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"chunks\":[7]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"chunks\":[{\"step\":\"1\"}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"chunks\":[{\"to\":[\"1\"]}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE
    "\"read\":\"none\",\"chunks\":[{\"step\":\"1\",\"to\":[\"1\",2]}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE
    "\"read\":\"none\",\"chunks\":[{\"step\":\"2\",\"to\":[\"1\"]}]}]}",
    "{\"step\":\"2\",\"tables\":[" TABLE "\"read\":\"none\",\"key\":[\"id\"],\"chunks\":["
    "{\"step\":\"2\",\"to\":[\"1\"]},{\"step\":\"1\",\"to\":[\"2\"]}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"moved\":[{}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"moved\":[{\"row\":\"1\"}]}]}",
    "{\"step\":\"1\",\"tables\":[" TABLE "\"read\":\"none\",\"moved\":[1]}]}",
};

static void check_hostile(void)
{
    unsigned bad = 0;

    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++)
        if (load(hostile[i])) {
            tap_note("read: %s", hostile[i]);
            bad++;
        }
    ok(bad == 0, "%zu states are refused", sizeof hostile / sizeof hostile[0]);
}

/* Every prefix, and every byte replaced: refused or read, never more than that. */
static void check_damaged(void)
{
    static const char letters[] = "\"[]{},:0a9-";
    struct position p = {.lsn = 1000, .rows = 2};
    unsigned read = 0, refused = 0;
    char *text;
    size_t len;

    fresh();
    chunk(ONE, "60:60:", 1000, "10");
    chunk(ONE, "60:64:60,62", 1010, "20");
    coverage_owe(&c, 7);
    covered_add_moved(table(ONE), 3, 2);
    text = text_at(p);
    len = strlen(text);
    for (size_t i = 0; i < len; i++)
        for (size_t n = 0; n < sizeof letters; n++) {
            char keep = text[i];

            text[i] = letters[n];
            if (load(text))
                read++;
            else
                refused++;
            text[i] = keep;
        }
    free(text);
    ok(read > 0 && refused > 0, "damaged states: %u read, %u refused", read, refused);
}

int main(void)
{
    log_set_level(LOG_NORMAL);
    make_key(&by_id, "id", true);
    make_key(&by_place, "place", false);
    check_one_chunk();
    check_several_chunks();
    check_owed();
    check_joined();
    check_forget();
    check_truncate();
    check_uncertain();
    check_by_place();
    check_keyless();
    check_round_trip();
    check_hostile();
    check_damaged();
    coverage_release(&c);
    key_release(&by_id);
    key_release(&by_place);
    return tap_done();
}
