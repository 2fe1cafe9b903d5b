/*
 * pgoutput_test - the decoder: what every message gives, and what it refuses.
 *
 * Messages are written down field by field in a small notation, read by put_field():
 *
 *     8:1600000010   an integer of 8 bytes, in hexadecimal
 *     #4:2           the same, for a count or a length: the tests put other numbers there
 *     'public'       a string that ends in NUL
 *     =pen           the length (4 bytes) and the bytes of a value or content
 *     N              anything else stands for itself: tags, kinds of values
 *
 * Blanks part fields, | parts messages.  Payloads are handed over in blocks of exactly their size,
 * so that the address sanitizer sees a byte read too many.
 */
#include "decode/pgoutput.h"

#include <stdlib.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#include "base/buf.h"
#include "base/log.h"
#include "tests/unit/tap.h"

/* ---- what goes to standard error ---- */

/* Errors cannot be silenced, and what they say is part of the test: they go to a file. */
static struct {
    FILE *file;
    int standard_error; /* the real one */
    char *text;         /* see logged() */
    bool complaint;     /* of the undefined behaviour sanitizer, which does not end the program */
} capture;

static void capture_start(void)
{
    capture.standard_error = dup(STDERR_FILENO);
    capture.file = tmpfile();
    if (!capture.file || capture.standard_error < 0 ||
        dup2(fileno(capture.file), STDERR_FILENO) < 0) {
        perror("pgoutput_test");
        exit(1);
    }
#ifdef __SANITIZE_ADDRESS__
    /* Reports of the address sanitizer are for people. */
    __sanitizer_set_report_fd((void *)(intptr_t)capture.standard_error);
#endif
}

/* What has been written since log_forget(), until the next call. */
static const char *logged(void)
{
    off_t size = lseek(STDERR_FILENO, 0, SEEK_END);
    size_t len = size < 0 ? 0 : (size_t)size;

    free(capture.text);
    capture.text = xcalloc(len + 1, 1);
    if (pread(STDERR_FILENO, capture.text, len, 0) != (ssize_t)len)
        capture.text[0] = '\0';
    return capture.text;
}

static void log_forget(void)
{
    const char *found = strstr(logged(), "runtime error:");

    if (found) {
        capture.complaint = true;
        tap_note("%.300s", found);
    }
    if (ftruncate(STDERR_FILENO, 0) < 0 || lseek(STDERR_FILENO, 0, SEEK_SET) < 0)
        exit(1);
}

static void capture_end(void)
{
    log_forget();
    ok(!capture.complaint, "no undefined behaviour was reported");
    dup2(capture.standard_error, STDERR_FILENO);
    close(capture.standard_error);
    fclose(capture.file);
    free(capture.text);
}

static bool leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __lsan_do_recoverable_leak_check() != 0;
#else
    return false;
#endif
}

/* ---- messages ---- */

enum { MAX_MARKS = 16, MAX_MESSAGES = 32 };

/* Where a count or length stands. */
struct mark {
    size_t at;
    unsigned width;
};

struct payload {
    char *bytes;
    size_t len;
    struct mark marks[MAX_MARKS];
    unsigned nmarks;
};

static char *copy_bytes(const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);

    if (!copy)
        log_out_of_memory();
    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

/* Where a payload of that block begins: at its end if it is empty, for malloc(0) has one byte. */
static char *start_of(char *block, size_t len)
{
    return len ? block : block + 1;
}

static void put_integer(struct buf *b, unsigned width, uint64_t n)
{
    for (unsigned i = width; i-- > 0;)
        buf_add_char(b, (char)(n >> 8 * i));
}

static uint64_t get_integer(const char *bytes, unsigned width)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < width; i++)
        n = n << 8 | (unsigned char)bytes[i];
    return n;
}

/* The field text[0..len) of the notation above. */
static void put_field(struct buf *b, const char *text, size_t len, struct payload *m)
{
    bool counts = text[0] == '#' || text[0] == '=';
    const char *number = text + (text[0] == '#');
    unsigned width = text[0] == '=' ? 4 : (unsigned)(*number - '0');

    if (counts && m->nmarks < MAX_MARKS)
        m->marks[m->nmarks++] = (struct mark){.at = b->len, .width = width};
    if (text[0] == '=') {
        put_integer(b, 4, len - 1);
        buf_add(b, text + 1, len - 1);
    } else if (text[0] == '\'') {
        buf_add(b, text + 1, len - 2);
        buf_add_char(b, '\0');
    } else if (len > 1 && number[1] == ':') {
        put_integer(b, width, strtoull(number + 2, NULL, 16));
    } else {
        buf_add(b, text, len);
    }
}

/* One message, up to | or the end of the notation; returns what follows it, NULL for nothing. */
static const char *make_message(const char *spec, struct payload *m)
{
    struct buf b;

    *m = (struct payload){0};
    buf_init(&b, 64);
    while (*spec && *spec != '|') {
        size_t len = strcspn(spec, " |");

        if (len)
            put_field(&b, spec, len, m);
        spec += len + (spec[len] == ' ');
    }
    m->bytes = copy_bytes(b.data, b.len);
    m->len = b.len;
    buf_release(&b);
    return *spec ? spec + 1 : NULL;
}

/* ---- a decoder at work ---- */

/* Numbers other than those of enum event_kind. */
enum { REFUSED = 100, REFUSED_TOO_EARLY };

#define LSN UINT64_C(0x16b374d848)
#define LSN_TEXT "16/B374D848"

struct session {
    struct decoder *decoder;
    struct event event;
    struct payload message; /* decoded last; the event borrows from it */
    lsn_t lsn;
};

static void session_start(struct session *s, lsn_t last_commit)
{
    *s = (struct session){.lsn = LSN};
    s->decoder = decoder_new(&(struct decoder_setup){.kind = &decoder_pgoutput, .last_commit = last_commit});
}

static void session_end(struct session *s)
{
    decoder_free(s->decoder);
    free(s->message.bytes);
    s->message.bytes = NULL;
}

/* Decodes the len bytes of a block; what the decoder leaves unset in the event shows. */
static bool decode(struct session *s, char *block, size_t len)
{
    memset(&s->event, 0xa5, sizeof s->event);
    return decoder_take(s->decoder, s->lsn, start_of(block, len), len, &s->event) == OUTCOME_OK;
}

/* Decodes all messages of a notation: the kind of the last one's event, or how it was refused. */
static int run(struct session *s, const char *spec)
{
    const char *next = spec;

    log_forget();
    while (next) {
        free(s->message.bytes);
        next = make_message(next, &s->message);
        if (!decode(s, s->message.bytes, s->message.len))
            return next ? REFUSED_TOO_EARLY : REFUSED;
    }
    return (int)s->event.kind;
}

static bool gives(struct session *s, const char *spec, int expected, const char *name)
{
    int got = run(s, spec);

    if (!ok(got == expected, "%s", name))
        tap_note("%d in place of %d; log: %s", got, expected, logged());
    return got == expected;
}

/* ---- messages that occur again and again ---- */

/* Commit 1A/1000 .. 1A/1030, transaction 42; one second after the epoch of PostgreSQL */
#define BEGIN "B 8:1a00001000 8:f4240 4:2a"
#define COMMIT "C 1:0 8:1a00001000 8:1a00001030 8:f4240"

/* Relation 100, item (id int8 primary key, name text, big text) */
#define ID_COLUMN "1:1 'id' 4:14 4:ffffffff"
#define ITEM_COLUMNS ID_COLUMN " 1:0 'name' 4:19 4:ffffffff 1:0 'big' 4:413 4:24"
#define ITEM "R 4:64 'public' 'item' d #2:3 " ITEM_COLUMNS
#define INSERT "I 4:64 N #2:3 t =1 t =pen n"

/* Relation 101, everything (a, b) with replica identity full; relation 102 without any */
#define EVERYTHING "R 4:65 'public' 'everything' f #2:2 1:1 'a' 4:19 4:ffffffff " \
                   "1:1 'b' 4:11 4:ffffffff"
#define NOTHING "R 4:66 'public' 'nothing' n #2:2 1:0 'a' 4:19 4:ffffffff 1:0 'b' 4:19 4:ffffffff"

/* Relation 103, in which the second column is the replica identity */
#define INDEXED "R 4:67 'public' 'indexed' i #2:3 1:0 'a' 4:19 4:ffffffff " \
                "1:1 'b' 4:19 4:ffffffff 1:0 'c' 4:19 4:ffffffff"

/* Relation 104 has no columns at all */
#define EMPTY "R 4:68 '' 'empty' d #2:0"

#define BEGIN_PREPARE "b 8:1a00002000 8:1a00002040 8:f4240 4:2b 'gid-1'"
#define PREPARE "P 1:0 8:1a00002000 8:1a00002040 8:f4240 4:2b 'gid-1'"
#define COMMIT_PREPARED "K 1:0 8:1a00003000 8:1a00003030 8:1e8480 4:2b 'gid-1'"
#define ROLLBACK_PREPARED "r 1:0 8:1a00002040 8:1a00003050 8:f4240 8:1e8480 4:2b 'gid-1'"

/*
 * Valid streams with every message and every form of it.  In each the bytes behind a length are
 * such that no other length happens to fit.
 */
static const char *const goldens[] = {
    BEGIN " | O 8:0 'origin' | Y 4:4001 'public' 'mood' | " ITEM " | " INSERT
    " | U 4:64 N #2:3 t =1 t =ink u"
    " | U 4:64 K #2:3 t =1 n n N #2:3 t =2 t =ink u"
    " | D 4:64 K #2:3 t =2 n n"
    " | M 1:1 8:1a00000800 'audit' =hello"
    " | T #4:1 1:0 4:64 | " COMMIT,
    EVERYTHING " | " NOTHING " | " BEGIN " | I 4:65 N #2:2 t = b =\x7f\x01\x02"
    " | U 4:65 O #2:2 t =x b =\x01 N #2:2 u u"
    " | D 4:65 O #2:2 t =x n"
    " | T #4:2 1:3 4:66 4:65 | T #4:0 1:0 | " COMMIT,
    EMPTY " | M 1:0 8:1a00000900 '' = | " BEGIN " | I 4:68 N #2:0 | U 4:68 N #2:0"
    " | U 4:68 O #2:0 N #2:0 | D 4:68 K #2:0 | M 1:0 8:1a00000900 'p' =outside | " COMMIT
    " | " BEGIN " | " COMMIT,
    BEGIN_PREPARE " | " INDEXED " | I 4:67 N #2:3 u t =k u | U 4:67 K #2:3 n t =k n N #2:3 u u n"
    " | " PREPARE " | " BEGIN " | " COMMIT " | " COMMIT_PREPARED " | " ROLLBACK_PREPARED,
};

#define NGOLDENS (sizeof goldens / sizeof goldens[0])

/* ---- transactions ---- */

static void test_begin(void)
{
    const struct transaction *t;
    struct session s;

    session_start(&s, 0x500);
    gives(&s, BEGIN, EVENT_BEGIN, "Begin");
    t = s.event.transaction;
    ok(t->commit_lsn == UINT64_C(0x1a00001000) && t->end_lsn == 0 && t->xid == 42,
       "... tells of the commit, but for its end");
    ok(t->commit_time == INT64_C(946684801000000), "... and of its time");
    ok(t->previous_commit == 0x500, "... and of what the last run knew");
    ok(!t->changed && !t->gid && !t->prepared, "... and there has been no change");
    ok(s.event.lsn == LSN, "the event has the message's LSN");
    session_end(&s);
}

static void test_times(void)
{
    struct session s;

    session_start(&s, 0);
    run(&s, "B 8:1 8:ffffffffffffffff 4:0");
    ok(s.event.transaction->commit_time == INT64_C(946684799999999), "a time before 2000");
    run(&s, "C 1:0 8:1 8:2 8:0 | B 8:1 8:fffca2fec4c82000 4:ffffffff");
    ok(s.event.transaction->commit_time == INT64_C(0) && s.event.transaction->xid == UINT32_MAX,
       "1970 and the last xid");
    /* No server writes such a time; it must only not be undefined what comes of it. */
    ok(run(&s, "C 1:0 8:1 8:2 8:0 | B 8:1 8:7fffffffffffffff 4:0") == EVENT_BEGIN,
       "a time beyond all times");
    session_end(&s);
}

static void test_commit(void)
{
    const struct transaction *t;
    struct session s;

    session_start(&s, 0x500);
    gives(&s, BEGIN " | " ITEM " | " INSERT " | " COMMIT, EVENT_COMMIT, "Commit");
    t = s.event.transaction;
    ok(t->commit_lsn == UINT64_C(0x1a00001000) && t->end_lsn == UINT64_C(0x1a00001030) &&
       t->xid == 42 && t->commit_time == INT64_C(946684801000000) && t->previous_commit == 0x500,
       "... tells of the whole transaction");
    ok(t->changed && !t->gid && !t->prepared, "... which has changed something");
    ok(s.decoder->last_commit == UINT64_C(0x1a00001000), "... and is the last one now");
    gives(&s, "B 8:1a00001100 8:0 4:2b", EVENT_BEGIN, "the next Begin");
    ok(s.event.transaction->previous_commit == UINT64_C(0x1a00001000), "... knows it");
    ok(!s.event.transaction->changed && s.event.transaction->end_lsn == 0 &&
       s.event.transaction->xid == 43, "... and has nothing else of it");
    session_end(&s);
}

/* What stands between Begin and Commit, and whether it is a change. */
static const struct {
    const char *spec;
    bool changed;
    const char *name;
} contents[] = {
    {"", false, "nothing"},
    {ITEM " | ", false, "a relation"},
    {"Y 4:4001 'public' 'mood' | O 8:0 'origin' | ", false, "a type and an origin"},
    {"M 1:0 8:1 'p' =x | ", false, "a message that is not transactional"},
    {"M 1:1 8:1 'p' =x | ", true, "a transactional message"},
    {ITEM " | " INSERT " | ", true, "an insertion"},
    {ITEM " | " INSERT " | M 1:0 8:1 'p' =x | ", true, "an insertion and a message"},
    {ITEM " | U 4:64 N #2:3 t =1 u u | ", true, "an update"},
    {ITEM " | D 4:64 K #2:3 t =1 n n | ", true, "a deletion"},
    {ITEM " | T #4:1 1:0 4:64 | ", true, "a truncation"},
};

/* A transaction without a change is none, as far as the next one is concerned. */
static void test_contents(void)
{
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        lsn_t expected = contents[i].changed ? UINT64_C(0x1a00001000) : 0x500;
        char *spec = xasprintf(BEGIN " | %s" COMMIT, contents[i].spec);
        struct session s;
        bool right;

        session_start(&s, 0x500);
        right = run(&s, spec) == EVENT_COMMIT &&
                s.event.transaction->changed == contents[i].changed &&
                s.decoder->last_commit == expected && run(&s, BEGIN) == EVENT_BEGIN &&
                s.event.transaction->previous_commit == expected && !s.event.transaction->changed;
        ok(right, "a transaction with %s has %s", contents[i].name,
           contents[i].changed ? "changed" : "not changed");
        session_end(&s);
        free(spec);
    }
}

static void test_restart(void)
{
    struct session s;

    session_start(&s, 0);
    run(&s, BEGIN " | " ITEM " | " INSERT " | " COMMIT " | B 8:1a00001100 8:0 4:2b | " INSERT);
    decoder_restart(s.decoder);
    gives(&s, "M 1:0 8:1 'p' =x", EVENT_MESSAGE, "a new connection starts outside of transactions");
    gives(&s, "B 8:1a00001100 8:0 4:2b", EVENT_BEGIN, "... whatever was open");
    ok(s.event.transaction->previous_commit == UINT64_C(0x1a00001000) &&
       !s.event.transaction->changed, "... and what was open does not count");
    run(&s, ITEM);
    ok(s.event.relation->index == 0 && s.event.relation->version == 1,
       "relations are known across connections");
    decoder_restart(s.decoder);
    ok(run(&s, INSERT) == REFUSED && strstr(logged(), "outside of a transaction"),
       "no change before the next Begin");
    session_end(&s);
}

/* ---- two-phase commit ---- */

static void test_prepare(void)
{
    const struct transaction *t;
    struct session s;

    session_start(&s, 0x500);
    gives(&s, BEGIN_PREPARE, EVENT_BEGIN, "Begin Prepare");
    t = s.event.transaction;
    ok(t->xid == 43 && t->prepared && t->commit_time == INT64_C(946684801000000) &&
       !t->changed && t->previous_commit == 0x500, "... tells of the transaction");
    is_str(t->gid, "gid-1", "... and its identifier");
    gives(&s, ITEM " | " INSERT " | " PREPARE, EVENT_PREPARE, "Prepare");
    t = s.event.transaction;
    ok(t->xid == 43 && t->prepared && t->changed && t->end_lsn == UINT64_C(0x1a00002040) &&
       t->commit_time == INT64_C(946684801000000), "... tells the same");
    is_str(t->gid, "gid-1", "... and the identifier once more");
    gives(&s, BEGIN, EVENT_BEGIN, "a plain transaction after it");
    ok(!s.event.transaction->gid && !s.event.transaction->prepared &&
       s.event.transaction->end_lsn == 0, "... has nothing of two phases");
    ok(s.event.transaction->previous_commit == 0x500,
       "... and follows the last commit, as the prepared one has not committed");
    session_end(&s);
}

static void test_commit_prepared(void)
{
    const struct transaction *t;
    struct session s;

    session_start(&s, 0x500);
    /* A restart after Prepare yields it alone. */
    gives(&s, COMMIT_PREPARED, EVENT_COMMIT_PREPARED, "Commit Prepared");
    t = s.event.transaction;
    ok(t->xid == 43 && t->commit_lsn == UINT64_C(0x1a00003000) &&
       t->end_lsn == UINT64_C(0x1a00003030) && t->commit_time == INT64_C(946684802000000) &&
       !t->prepared, "... tells of the transaction");
    is_str(t->gid, "gid-1", "... and its identifier");
    gives(&s, ROLLBACK_PREPARED, EVENT_ROLLBACK_PREPARED, "Rollback Prepared");
    t = s.event.transaction;
    ok(t->xid == 43 && t->commit_lsn == 0 && t->end_lsn == UINT64_C(0x1a00003050) &&
       t->commit_time == INT64_C(946684802000000), "... tells of the transaction");
    is_str(t->gid, "gid-1", "... and its identifier");
    ok(run(&s, BEGIN_PREPARE " | " PREPARE) == EVENT_PREPARE && !s.event.transaction->changed,
       "a prepared transaction without a change");
    session_end(&s);
}

/* %s is the identifier; the last message is the one that is asked about. */
static const struct {
    const char *spec;
    int kind;
    const char *name;
} identified[] = {
    {"b 8:1 8:2 8:0 4:2b '%s'", EVENT_BEGIN, "Begin Prepare"},
    {"K 1:0 8:1 8:2 8:0 4:2b '%s'", EVENT_COMMIT_PREPARED, "Commit Prepared"},
    {"r 1:0 8:1 8:2 8:0 8:0 4:2b '%s'", EVENT_ROLLBACK_PREPARED, "Rollback Prepared"},
};

/* Whether an identifier of len bytes is taken, whole; or is refused for its length. */
static bool takes_identifier(size_t i, size_t len, bool expected)
{
    const char *hole = strchr(identified[i].spec, '%');
    char *gid = xcalloc(len + 1, 1);
    struct session s;
    char *spec;
    bool right;
    int got;

    memset(gid, 'g', len);
    spec = xasprintf("%.*s%s%s", (int)(hole - identified[i].spec), identified[i].spec, gid,
                     hole + 2);
    session_start(&s, 0);
    got = run(&s, spec);
    if (expected)
        right = got == identified[i].kind && strcmp(s.event.transaction->gid, gid) == 0;
    else
        right = got == REFUSED && strstr(logged(), "identifier is too long");
    session_end(&s);
    free(gid);
    free(spec);
    return right;
}

static void test_identifiers(void)
{
    for (size_t i = 0; i < sizeof identified / sizeof identified[0]; i++) {
        const char *name = identified[i].name;

        ok(takes_identifier(i, 0, true) && takes_identifier(i, 1, true) &&
           takes_identifier(i, 199, true) && takes_identifier(i, 200, true),
           "%s: identifiers of up to 200 bytes", name);
        ok(takes_identifier(i, 201, false) && takes_identifier(i, 202, false) &&
           takes_identifier(i, 5000, false), "%s: no longer ones", name);
    }
}

/* ---- relations ---- */

static bool is_column(const struct column *c, const char *name, uint32_t oid, int32_t typmod)
{
    return strcmp(c->name, name) == 0 && c->type_oid == oid && c->typmod == typmod &&
           !c->excluded && !c->type_name;
}

static void test_relation(void)
{
    const struct relation *r;
    struct session s;

    session_start(&s, 0);
    gives(&s, ITEM, EVENT_RELATION, "Relation");
    r = s.event.relation;
    ok(!s.event.transaction, "... outside of a transaction");
    is_str(r->schema, "public", "... its schema");
    is_str(r->name, "item", "... its name");
    ok(r->oid == 100 && r->identity == 'd' && r->ncolumns == 3, "... its columns");
    ok(is_column(&r->columns[0], "id", 20, -1) && is_column(&r->columns[1], "name", 25, -1) &&
       is_column(&r->columns[2], "big", 1043, 36), "... their names and types");
    ok(r->columns[0].identity && r->columns[0].key && !r->columns[1].identity &&
       !r->columns[1].key && !r->columns[2].identity, "... and the key");
    ok(r->index == 0 && r->version == 1 && !r->described && !r->captured, "... as a first one");
    run(&s, BEGIN " | " EMPTY);
    is_str(s.event.relation->schema, "pg_catalog", "no schema means pg_catalog");
    ok(s.event.relation->ncolumns == 0 && s.event.relation->index == 1 &&
       s.event.relation->version == 2, "a relation without columns");
    gives(&s, "R 4:0 '' '' n 2:2 1:fe 'a' 4:19 4:0 1:ff 'b' 4:19 4:0", EVENT_RELATION,
          "no OID, no name, and flags that nobody knows");
    r = s.event.relation;
    ok(!r->columns[0].identity && !r->columns[0].key && r->columns[1].identity &&
       r->columns[1].key, "... of which only the first tells of the key");
    session_end(&s);
}

static void test_same_relation(void)
{
    struct relation *r;
    struct session s;

    session_start(&s, 0);
    run(&s, ITEM);
    r = s.event.relation;
    gives(&s, ITEM, EVENT_RELATION, "again, before the catalog has described it: an event");
    ok(s.event.relation == r && r->version == 1, "... of the same version");
    r->described = r->captured = true;
    r->columns[1].excluded = true;
    gives(&s, ITEM, EVENT_NONE, "again, after that: nothing");
    ok(r->version == 1 && r->index == 0 && r->described && r->captured && r->columns[1].excluded,
       "... and what the catalog has said stays");
    decoder_restart(s.decoder);
    gives(&s, BEGIN " | " ITEM, EVENT_NONE, "again, in another connection: nothing");
    ok(r->version == 1 && r->described, "... new, either");
    session_end(&s);
}

/* One thing other than in ITEM each. */
static const struct {
    const char *spec;
    const char *name;
} altered[] = {
    {"R 4:64 'other' 'item' d 2:3 " ITEM_COLUMNS, "schema"},
    {"R 4:64 'public' 'items' d 2:3 " ITEM_COLUMNS, "name"},
    {"R 4:64 'public' 'item' f 2:3 " ITEM_COLUMNS, "identity"},
    {"R 4:64 'public' 'item' d 2:4 " ITEM_COLUMNS " 1:0 'x' 4:19 4:ffffffff", "a column more"},
    {"R 4:64 'public' 'item' d 2:1 " ID_COLUMN, "fewer columns"},
    {"R 4:64 'public' 'item' d 2:0", "no columns"},
    {"R 4:64 'public' 'item' d 2:3 " ID_COLUMN " 1:0 'nom' 4:19 4:ffffffff 1:0 'big' 4:413 4:24",
     "name of a column"},
    {"R 4:64 'public' 'item' d 2:3 " ID_COLUMN " 1:0 'name' 4:1a 4:ffffffff 1:0 'big' 4:413 4:24",
     "type of a column"},
    {"R 4:64 'public' 'item' d 2:3 " ID_COLUMN " 1:0 'name' 4:19 4:ffffffff 1:0 'big' 4:413 4:25",
     "type modifier of a column"},
    {"R 4:64 'public' 'item' d 2:3 " ID_COLUMN " 1:1 'name' 4:19 4:ffffffff 1:0 'big' 4:413 4:24",
     "key"},
    {"R 4:64 'public' 'item' d 2:3 " ID_COLUMN " 1:0 'big' 4:413 4:24 1:0 'name' 4:19 4:ffffffff",
     "order of columns"},
};

/* In mid-transaction and after rows, as ALTER TABLE has it. */
static void test_altered_relation(void)
{
    for (size_t i = 0; i < sizeof altered / sizeof altered[0]; i++) {
        struct relation *r;
        struct session s;
        bool right;

        session_start(&s, 0);
        run(&s, EMPTY " | " ITEM);
        r = s.event.relation;
        r->described = true;
        right = run(&s, BEGIN " | " INSERT) == EVENT_CHANGE &&
                run(&s, altered[i].spec) == EVENT_RELATION && s.event.relation == r &&
                r->version == 3 && r->index == 1 && r->oid == 100 && !r->described;
        r->described = true;
        /* And back: again something new. */
        right &= run(&s, ITEM) == EVENT_RELATION && r->version == 4 && r->index == 1 &&
                 !r->described && run(&s, INSERT) == EVENT_CHANGE &&
                 s.event.change.relation == r && r->ncolumns == 3;
        ok(right, "another version for another %s", altered[i].name);
        session_end(&s);
    }
}

enum { MANY = 5000 };

/* OIDs near each other, far from each other, and equal in their low bits; all different. */
static uint32_t many_oid(unsigned i)
{
    return i % 3 == 0 ? 16384 + i : i % 3 == 1 ? i << 16 : UINT32_MAX - i * 7;
}

static bool describe_many(struct session *s, const char *suffix, int expected)
{
    for (unsigned i = 0; i < MANY; i++) {
        char *spec = xasprintf("R 4:%x 's' 't%u%s' d 2:1 " ID_COLUMN, many_oid(i), i, suffix);
        bool right = run(s, spec) == expected && s->event.relation->index == i;

        free(spec);
        if (!right)
            return false;
        s->event.relation->described = true;
    }
    return true;
}

static bool find_many(struct session *s, uint32_t first_version, const char *suffix)
{
    for (unsigned i = 0; i < MANY; i++) {
        const struct relation *r = relations_find(&s->decoder->relations, many_oid(i));
        char *name = xasprintf("t%u%s", i, suffix);
        bool right = r && r->oid == many_oid(i) && r->index == i &&
                     r->version == first_version + i && strcmp(r->name, name) == 0 &&
                     s->decoder->relations.by_index[i] == r;

        free(name);
        if (!right)
            return false;
    }
    return true;
}

static void test_many_relations(void)
{
    struct session s;

    session_start(&s, 0);
    ok(describe_many(&s, "", EVENT_RELATION), "%d relations", MANY);
    ok(s.decoder->relations.count == MANY && find_many(&s, 1, ""), "... are all known");
    ok(describe_many(&s, "", EVENT_NONE) && find_many(&s, 1, ""), "... and the same, once more");
    ok(!relations_find(&s.decoder->relations, 7) && !relations_find(&s.decoder->relations, 16385),
       "... and no others are");
    ok(describe_many(&s, "x", EVENT_RELATION) && find_many(&s, MANY + 1, "x"),
       "... and all renamed: new versions, the old indexes");
    ok(s.decoder->relations.count == MANY, "... and no more of them");
    session_end(&s);
}

/* ---- rows ---- */

static void print_bytes(struct buf *b, const char *bytes, size_t len)
{
    buf_add_char(b, '\'');
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] >= ' ' && bytes[i] <= '~')
            buf_add_char(b, bytes[i]);
        else
            buf_printf(b, "\\%02x", (unsigned char)bytes[i]);
    }
    buf_add_char(b, '\'');
}

static void print_row(struct buf *b, const char *tag, const struct value *row, unsigned n)
{
    static const char *const words[] = {
        [VALUE_ABSENT] = "absent",
        [VALUE_NULL] = "null",
        [VALUE_UNCHANGED] = "unchanged",
        [VALUE_TEXT] = "",
        [VALUE_BINARY] = "x",
    };

    buf_printf(b, " %s(", tag);
    for (unsigned i = 0; i < n; i++) {
        const struct value *v = &row[i];

        buf_printf(b, "%s%s", i ? "," : "", words[v->kind]);
        if (v->kind == VALUE_TEXT || v->kind == VALUE_BINARY)
            print_bytes(b, v->data, v->len);
    }
    buf_add_char(b, ')');
}

static void print_change(struct buf *b, const struct change *c)
{
    static const char *const operations[] = {
        [OP_INSERT] = "I", [OP_UPDATE] = "U", [OP_DELETE] = "D",
    };
    static const char *const olds[] = {[OLD_NONE] = "?", [OLD_KEY] = "K", [OLD_FULL] = "O"};

    buf_add_str(b, operations[c->op]);
    if (c->old_row)
        print_row(b, olds[c->old_kind], c->old_row, c->relation->ncolumns);
    else if (c->old_kind != OLD_NONE)
        buf_add_str(b, " no old row");
    if (c->new_row)
        print_row(b, "N", c->new_row, c->relation->ncolumns);
}

/* A change, and what it looks like to those who get it. */
static const struct {
    const char *spec;
    const char *expected;
} changes[] = {
    {"I 4:64 N 2:3 t =1 t =pen t =some", "I N('1','pen','some')"},
    {"I 4:64 N 2:3 t = n t =a", "I N('',null,'a')"},
    {"I 4:64 N 2:3 b =\x01\x02 t =\x01 b =", "I N(x'\\01\\02','\\01',x'')"},
    {"I 4:64 N 2:3 t 4:4 4:61006200 t 4:1 1:0 b 4:2 2:0", "I N('a\\00b\\00','\\00',x'\\00\\00')"},
    {"I 4:64 N 2:3 t =1 u u", "I N('1',unchanged,unchanged)"},
    {"I 4:64 N 2:3 n n n", "I N(null,null,null)"},
    {"I 4:64 N 2:3 t =ntub t =N n", "I N('ntub','N',null)"},

    {"U 4:64 N 2:3 t =1 t =ink u", "U N('1','ink',unchanged)"},
    {"U 4:64 N 2:3 u u u", "U N(unchanged,unchanged,unchanged)"},

    {"U 4:64 K 2:3 t =1 n n N 2:3 t =2 t =ink u", "U K('1',absent,absent) N('2','ink',unchanged)"},
    {"U 4:64 K 2:3 t =1 n n N 2:3 t =2 n n", "U K('1',absent,absent) N('2',null,null)"},
    {"U 4:64 K 2:3 t =1 n n N 2:3 u t =x u", "U K('1',absent,absent) N('1','x',unchanged)"},
    {"U 4:64 K 2:3 b =1 n n N 2:3 u t =x n", "U K(x'1',absent,absent) N(x'1','x',null)"},
    {"U 4:64 K 2:3 n n n N 2:3 u t =x n", "U K(null,absent,absent) N(unchanged,'x',null)"},
    {"U 4:64 K 2:3 u n n N 2:3 u t =x n", "U K(unchanged,absent,absent) N(unchanged,'x',null)"},
    {"U 4:64 K 2:3 t =1 t =a b =b N 2:3 t =2 u u",
     "U K('1',absent,absent) N('2',unchanged,unchanged)"},
    {"U 4:64 K 2:3 t =1 u u N 2:3 t =2 u t =b", "U K('1',absent,absent) N('2',unchanged,'b')"},

    {"U 4:64 O 2:3 t =1 t =a t =b N 2:3 t =2 t =c t =d", "U O('1','a','b') N('2','c','d')"},
    {"U 4:64 O 2:3 t =1 t =a t =b N 2:3 u u u", "U O('1','a','b') N('1','a','b')"},
    {"U 4:64 O 2:3 t =1 t =a t =b N 2:3 n n n", "U O('1','a','b') N(null,null,null)"},
    {"U 4:64 O 2:3 n b =a t = N 2:3 u u u", "U O(null,x'a','') N(unchanged,x'a','')"},
    {"U 4:64 O 2:3 u u u N 2:3 u u t =x",
     "U O(unchanged,unchanged,unchanged) N(unchanged,unchanged,'x')"},
    {"U 4:65 O 2:2 t =x b =y N 2:2 u b =z", "U O('x',x'y') N('x',x'z')"},
    {"U 4:65 K 2:2 t =x b =y N 2:2 u u", "U K('x',x'y') N('x',x'y')"},

    {"D 4:64 K 2:3 t =1 n n", "D K('1',absent,absent)"},
    {"D 4:64 K 2:3 t =1 t =a u", "D K('1',absent,absent)"},
    {"D 4:64 O 2:3 t =1 n b =x", "D O('1',null,x'x')"},
    {"D 4:65 O 2:2 t =x n", "D O('x',null)"},

    {"U 4:66 K 2:2 t =x t =y N 2:2 u u", "U K(absent,absent) N(unchanged,unchanged)"},
    {"D 4:66 K 2:2 n n", "D K(absent,absent)"},
    {"U 4:67 K 2:3 n t =k n N 2:3 u u n", "U K(absent,'k',absent) N(unchanged,'k',null)"},

    {"I 4:68 N 2:0", "I N()"},
    {"U 4:68 N 2:0", "U N()"},
    {"U 4:68 O 2:0 N 2:0", "U O() N()"},
    {"U 4:68 K 2:0 N 2:0", "U K() N()"},
    {"D 4:68 O 2:0", "D O()"},
    {"D 4:68 K 2:0", "D K()"},
};

/* One decoder for all, as what one row leaves behind must not get into the next. */
static void test_changes(void)
{
    struct session s;
    struct buf b;

    session_start(&s, 0);
    buf_init(&b, 64);
    run(&s, ITEM " | " EVERYTHING " | " NOTHING " | " INDEXED " | " EMPTY " | " BEGIN);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        int kind;

        b.len = 0;
        kind = run(&s, changes[i].spec);
        if (kind == EVENT_CHANGE)
            print_change(&b, &s.event.change);
        else
            buf_printf(&b, "%d %s", kind, logged());
        is_text(b.data, b.len, changes[i].expected, changes[i].expected);
    }
    buf_release(&b);
    session_end(&s);
}

static void test_change_event(void)
{
    struct session s;

    session_start(&s, 0);
    run(&s, EMPTY " | " ITEM " | " BEGIN);
    s.lsn = UINT64_C(0x1a00000980);
    gives(&s, INSERT, EVENT_CHANGE, "a change");
    ok(s.event.lsn == s.lsn && s.event.change.lsn == s.lsn, "... has its own LSN");
    ok(s.event.transaction && s.event.transaction->xid == 42 && s.event.transaction->changed,
       "... and its transaction, which has changed now");
    ok(s.event.change.relation == s.decoder->relations.by_index[1], "... and its relation");
    ok(s.event.change.new_row[1].data == s.message.bytes + 19, "... and borrows its values");
    run(&s, "D 4:64 K 2:3 t =1 n n");
    ok(s.event.change.op == OP_DELETE && !s.event.change.new_row, "a deletion has no new row");
    run(&s, INSERT);
    ok(s.event.change.op == OP_INSERT && !s.event.change.old_row &&
       s.event.change.old_kind == OLD_NONE, "an insertion has no old row");
    session_end(&s);
}

/* ---- as wide as can be ---- */

static char *wide_relation(unsigned n)
{
    struct buf b;

    buf_init(&b, 64 * (size_t)n);
    buf_printf(&b, "R 4:c8 'public' 'wide' f 2:%x", n);
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, " 1:1 'column_%u' 4:19 4:ffffffff", i);
    buf_add_char(&b, '\0');
    return b.data;
}

/* A tuple of n values that tell their places, or that are all of one kind. */
static void add_wide_tuple(struct buf *b, unsigned n, const char *kind)
{
    buf_printf(b, " 2:%x", n);
    for (unsigned i = 0; i < n; i++) {
        if (kind)
            buf_printf(b, " %s", kind);
        else
            buf_printf(b, " t =%u", i);
    }
}

static char *wide_update(unsigned n)
{
    struct buf b;

    buf_init(&b, 64 * (size_t)n);
    buf_add_str(&b, "U 4:c8 O");
    add_wide_tuple(&b, n, NULL);
    buf_add_str(&b, " N");
    add_wide_tuple(&b, n, "u");
    buf_add_char(&b, '\0');
    return b.data;
}

/* Whether both rows say "0", "1", "2" ... */
static bool is_wide_row(const struct change *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%u", i);
        const struct value *old = &c->old_row[i], *new = &c->new_row[i];

        if (old->kind != VALUE_TEXT || old->len != (uint32_t)len || new->kind != VALUE_TEXT ||
            new->len != old->len || new->data != old->data || memcmp(old->data, text, old->len))
            return false;
    }
    return c->relation->ncolumns == n;
}

static void test_wide(void)
{
    char *relation = wide_relation(1664), *update = wide_update(1664);
    char *too_wide = wide_relation(1665), *too_wide_update = wide_update(1665);
    struct session s;

    session_start(&s, 0);
    gives(&s, relation, EVENT_RELATION, "1664 columns");
    run(&s, BEGIN);
    gives(&s, update, EVENT_CHANGE, "... and rows of them");
    ok(is_wide_row(&s.event.change, 1664), "... with every value in its place");
    ok(run(&s, too_wide_update) == REFUSED, "... but no row of 1665");
    session_end(&s);
    session_start(&s, 0);
    ok(run(&s, too_wide) == REFUSED && strstr(logged(), "no description"), "no 1665 columns");
    session_end(&s);
    free(relation);
    free(update);
    free(too_wide);
    free(too_wide_update);
}

/* ---- truncations, messages, and what is nothing ---- */

static void test_truncate(void)
{
    struct session s;
    struct relation **all;

    session_start(&s, 0);
    run(&s, ITEM " | " EVERYTHING " | " NOTHING " | " BEGIN);
    all = s.decoder->relations.by_index;
    gives(&s, "T 4:0 1:0", EVENT_TRUNCATE, "a truncation of nothing");
    ok(s.event.ntruncated == 0 && s.event.transaction && s.event.transaction->xid == 42,
       "... in its transaction");
    gives(&s, "T 4:1 1:3 4:65", EVENT_TRUNCATE, "a truncation of one relation");
    ok(s.event.ntruncated == 1 && s.event.relations[0] == all[1], "... and which");
    gives(&s, "T 4:4 1:ff 4:66 4:64 4:65 4:64", EVENT_TRUNCATE, "a truncation of several");
    ok(s.event.ntruncated == 4 && s.event.relations[0] == all[2] &&
       s.event.relations[1] == all[0] && s.event.relations[2] == all[1] &&
       s.event.relations[3] == all[0], "... in order");
    gives(&s, "T 4:2 1:0 4:65 4:64", EVENT_TRUNCATE, "fewer after more");
    ok(s.event.ntruncated == 2 && s.event.relations[0] == all[1] &&
       s.event.relations[1] == all[0], "... are fewer");
    session_end(&s);
}

/* Every relation of the many, backwards. */
static void test_truncate_many(void)
{
    struct session s;
    struct buf b;
    bool right = true;

    session_start(&s, 0);
    describe_many(&s, "", EVENT_RELATION);
    buf_init(&b, 64);
    buf_printf(&b, BEGIN " | T 4:%x 1:0", MANY);
    for (unsigned i = MANY; i-- > 0;)
        buf_printf(&b, " 4:%x", many_oid(i));
    buf_add_char(&b, '\0');
    gives(&s, b.data, EVENT_TRUNCATE, "a truncation of 5000 relations");
    for (unsigned i = 0; i < MANY && right; i++)
        right = s.event.relations[i]->index == MANY - 1 - i;
    ok(right && s.event.ntruncated == MANY, "... in order");
    buf_release(&b);
    session_end(&s);
}

static void test_messages(void)
{
    const struct message *m;
    struct session s;

    session_start(&s, 0);
    m = &s.event.message;
    gives(&s, "M 1:0 8:1a00000800 'audit' =hello", EVENT_MESSAGE, "a message");
    ok(m->lsn == UINT64_C(0x1a00000800) && !m->transactional && !s.event.transaction &&
       s.event.lsn == LSN, "... outside of a transaction");
    is_str(m->prefix, "audit", "... its prefix");
    is_text(m->content, m->len, "hello", "... its content");
    gives(&s, BEGIN " | M 1:1 8:1a00000900 '' =", EVENT_MESSAGE, "a transactional message");
    ok(m->transactional && s.event.transaction && s.event.transaction->xid == 42 &&
       s.event.transaction->changed, "... in its transaction");
    ok(m->len == 0 && m->content && m->prefix[0] == '\0', "... with nothing in it");
    gives(&s, "M 1:0 8:1 'p' 4:3 1:61 1:0 1:62", EVENT_MESSAGE,
          "a message that is not transactional within one");
    ok(!m->transactional && !s.event.transaction, "... is not of it");
    ok(m->len == 3 && memcmp(m->content, "a\0b", 3) == 0, "... and may be binary");
    session_end(&s);
}

static void test_nothing(void)
{
    struct session s;

    session_start(&s, 0);
    s.lsn = 0;
    gives(&s, "Y 4:4001 'public' 'mood'", EVENT_NONE, "Type");
    ok(s.event.lsn == 0 && !s.event.transaction, "... and an LSN that the server did not say");
    gives(&s, BEGIN " | O 8:1234 'some_origin'", EVENT_NONE, "Origin");
    gives(&s, "Y 4:4001 '' '' | O 8:0 ''", EVENT_NONE, "both of them without names");
    session_end(&s);
}

/* ---- refusals ---- */

#define ROW3 " 2:3 t =1 t =a t =b"

/* The last message is refused, and that is why. */
static const struct {
    const char *spec;
    const char *reason;
} refusals[] = {
    {"", "the message is empty"},
    {BEGIN " | ", "the message is empty"},

    {BEGIN " | " BEGIN, "begins within another"},
    {BEGIN " | " BEGIN_PREPARE, "begins within another"},
    {BEGIN_PREPARE " | " BEGIN, "begins within another"},
    {BEGIN_PREPARE " | " BEGIN_PREPARE, "begins within another"},
    {COMMIT, "has not begun"},
    {BEGIN " | " COMMIT " | " COMMIT, "has not begun"},
    {BEGIN_PREPARE " | C 1:0 8:0 8:1a00002040 8:0", "has not begun"},
    {BEGIN_PREPARE " | " PREPARE " | " COMMIT, "has not begun"},
    {BEGIN " | C 1:1 8:1a00001000 8:1a00001030 8:0", "unknown flags"},
    {BEGIN " | C 1:80 8:1a00001000 8:1a00001030 8:0", "unknown flags"},
    {BEGIN " | C 1:0 8:1a00001001 8:1a00001030 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1a00000fff 8:1a00001030 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1b00001000 8:1b00001030 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1a00001000 8:1a00001000 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1a00001000 8:1a00000fff 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1a00001000 8:0 8:0", "do not agree"},
    {BEGIN " | C 1:0 8:1a00001000 8:1900001030 8:0", "do not agree"},

    {PREPARE, "has not begun"},
    {BEGIN " | " PREPARE, "has not begun"},
    {BEGIN_PREPARE " | " PREPARE " | " PREPARE, "has not begun"},
    {BEGIN_PREPARE " | P 1:1 8:1a00002000 8:1a00002040 8:f4240 4:2b 'gid-1'", "unknown flags"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002000 8:1a00002040 8:f4240 4:2b 'gid-2'", "do not agree"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002000 8:1a00002040 8:f4240 4:2b 'gid'", "do not agree"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002000 8:1a00002040 8:f4240 4:2b ''", "do not agree"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002000 8:1a00002041 8:f4240 4:2b 'gid-1'", "do not agree"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002040 8:1a00002040 8:f4240 4:2b 'gid-1'", "do not agree"},
    {BEGIN_PREPARE " | P 1:0 8:1a00002000 8:1a00002040 8:f4240 4:2c 'gid-1'", "do not agree"},
    {BEGIN " | " COMMIT_PREPARED, "within a transaction"},
    {BEGIN_PREPARE " | " COMMIT_PREPARED, "within a transaction"},
    {"K 1:1 8:1a00003000 8:1a00003030 8:0 4:2b 'gid-1'", "unknown flags"},
    {BEGIN " | " ROLLBACK_PREPARED, "within a transaction"},
    {BEGIN_PREPARE " | " ROLLBACK_PREPARED, "within a transaction"},
    {"r 1:1 8:1 8:2 8:0 8:0 4:2b 'gid-1'", "unknown flags"},

    {"R 4:64 'public' 'item' x 2:0", "no description"},
    {"R 4:64 'public' 'item' D 2:0", "no description"},
    {"R 4:64 'public' 'item' 1:0 2:0", "no description"},
    {"R 4:64 'public' 'item' 1:ff 2:0", "no description"},
    {"R 4:64 'public' 'item' d 2:ffff " ITEM_COLUMNS, "no description"},
    {"R 4:64 'public' 'item' d 2:8000 " ITEM_COLUMNS, "no description"},
    {"R 4:64 'public' 'item' d 2:680 " ITEM_COLUMNS, "too short"},
    {"R 4:64 'public' 'item' d 2:2 " ITEM_COLUMNS, "too long"},

    {ITEM " | " INSERT, "outside of a transaction"},
    {ITEM " | U 4:64 N" ROW3, "outside of a transaction"},
    {ITEM " | D 4:64 O" ROW3, "outside of a transaction"},
    {ITEM " | T 4:1 1:0 4:64", "outside of a transaction"},
    {"T 4:0 1:0", "outside of a transaction"},
    {ITEM " | " BEGIN " | " COMMIT " | " INSERT, "outside of a transaction"},
    {ITEM " | " BEGIN_PREPARE " | " PREPARE " | " INSERT, "outside of a transaction"},

    {BEGIN " | " INSERT, "has not been described"},
    {BEGIN " | " EMPTY " | U 4:64 N" ROW3, "has not been described"},
    {BEGIN " | " EMPTY " | D 4:0 O 2:0", "has not been described"},
    {BEGIN " | " ITEM " | T 4:1 1:0 4:65", "has not been described"},
    {BEGIN " | " ITEM " | T 4:2 1:0 4:64 4:65", "has not been described"},

    {ITEM " | " BEGIN " | I 4:64 K" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | I 4:64 O" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | I 4:64 x" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | I 4:64 O" ROW3 " N" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 K" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 O" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 x" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 K" ROW3 " O" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 O" ROW3 " K" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 O" ROW3 " O" ROW3 " N" ROW3, "without the new row"},
    {ITEM " | " BEGIN " | U 4:64 N" ROW3 " N" ROW3, "too long"},
    {ITEM " | " BEGIN " | D 4:64 N" ROW3, "without the old row"},
    {ITEM " | " BEGIN " | D 4:64 x" ROW3, "without the old row"},
    {ITEM " | " BEGIN " | D 4:64 K" ROW3 " N" ROW3, "too long"},

    {ITEM " | " BEGIN " | I 4:64 N 2:2 t =1 t =a", "the relation's columns"},
    {ITEM " | " BEGIN " | I 4:64 N 2:4 t =1 t =a n n", "the relation's columns"},
    {ITEM " | " BEGIN " | I 4:64 N 2:0", "the relation's columns"},
    {ITEM " | " BEGIN " | I 4:64 N 2:ffff", "the relation's columns"},
    {ITEM " | " BEGIN " | I 4:64 N 2:8003 n n n", "the relation's columns"},
    {ITEM " | " BEGIN " | U 4:64 K 2:1 t =1 N" ROW3, "the relation's columns"},
    {ITEM " | " BEGIN " | U 4:64 O 2:4 n n n n N" ROW3, "the relation's columns"},
    {ITEM " | " BEGIN " | U 4:64 O" ROW3 " N 2:2 n n", "the relation's columns"},
    {ITEM " | " BEGIN " | D 4:64 K 2:1 t =1", "the relation's columns"},
    {EMPTY " | " BEGIN " | I 4:68 N 2:1 n", "the relation's columns"},
    {ITEM " | R 4:64 '' 'item' d 2:1 " ID_COLUMN " | " BEGIN " | " INSERT,
     "the relation's columns"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 t =1 x n", "unknown kind of value"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 1:0 n n", "unknown kind of value"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n T", "unknown kind of value"},
    {ITEM " | " BEGIN " | U 4:64 K 2:3 t =1 n x N" ROW3, "unknown kind of value"},
    {ITEM " | " BEGIN " | U 4:64 K" ROW3 " N 2:3 n n 1:ff", "unknown kind of value"},
    {ITEM " | " BEGIN " | D 4:64 O 2:3 t =1 n N", "unknown kind of value"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n t 4:ffffffff", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 t 4:ffffffff n n", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n b 4:ffffffff 1:0", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n t 4:80000000 1:0", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n t 4:7fffffff 1:0", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n t 4:2 1:0", "longer than the message"},
    {ITEM " | " BEGIN " | D 4:64 K 2:3 b 4:ffffffff n n", "longer than the message"},
    {ITEM " | " BEGIN " | I 4:64 N 2:3 n n t 4:1 1:0 1:0", "too long"},

    {BEGIN " | T 4:ffffffff 1:0", "too short"},
    {ITEM " | " BEGIN " | T 4:ffffffff 1:0 4:64", "too short"},
    {ITEM " | " BEGIN " | T 4:40000000 1:0", "too short"}, /* times 4 it is 0, in 32 bits */
    {ITEM " | " BEGIN " | T 4:40000001 1:0 4:64", "too short"}, /* and 4 */
    {ITEM " | " BEGIN " | T 4:80000001 1:0 4:64", "too short"},
    {ITEM " | " BEGIN " | T 4:2 1:0 4:64", "too short"},
    {ITEM " | " BEGIN " | T 4:2 1:0 4:64 2:0 1:0", "too short"},
    {ITEM " | " BEGIN " | T 4:1 1:0 4:64 4:64", "too long"},
    {BEGIN " | T 4:0 1:0 4:64", "too long"},

    {"M 1:0 8:1 'p' 4:ffffffff 1:0", "longer than the message"},
    {"M 1:0 8:1 'p' 4:80000000 1:0", "longer than the message"},
    {"M 1:0 8:1 'p' 4:2 1:0", "longer than the message"},
    {"M 1:0 8:1 'p' 4:1 2:0", "too long"},
    {"M 1:1 8:1 'p' =x", "outside of a transaction"},
    {BEGIN " | " COMMIT " | M 1:1 8:1 'p' =x", "outside of a transaction"},
};

#define NREFUSALS (sizeof refusals / sizeof refusals[0])

static void test_refusals(void)
{
    for (size_t i = 0; i < NREFUSALS; i++) {
        struct session s;
        int got;
        bool right;

        session_start(&s, 0);
        got = run(&s, refusals[i].spec);
        right = got == REFUSED && strstr(logged(), " at " LSN_TEXT ": ") &&
                strstr(logged(), refusals[i].reason);
        if (!ok(right, "refusal %zu: %s", i, refusals[i].reason))
            tap_note("%s: %d, log: %s", refusals[i].spec, got, logged());
        session_end(&s);
    }
    ok(!leaks(), "nothing leaks after refusals");
}

static void test_refusal_text(void)
{
    struct session s;

    session_start(&s, 0);
    s.lsn = UINT64_C(0x100000002);
    run(&s, "I");
    is_str(logged(), "cdcdump: error: could not decode the pgoutput message at 1/2: a change "
           "outside of a transaction\nDETAIL:  The message is of type 0x49.\n", "a refusal's text");
    session_end(&s);
    session_start(&s, 0);
    s.lsn = 0;
    run(&s, "1:ff");
    is_str(logged(), "cdcdump: error: could not decode the pgoutput message at 0/0: unknown type "
           "of message\nDETAIL:  The message is of type 0xff.\n", "... without an LSN");
    session_end(&s);
}

/* S, E, c, A and p among them: unfinished transactions are never asked for. */
static void test_unknown_tags(void)
{
    bool right = true;

    for (unsigned tag = 0; tag < 256; tag++) {
        char *alone = xasprintf("1:%x", tag);
        char *within = xasprintf(BEGIN " | 1:%x 8:0 8:0 8:0", tag);
        bool known = tag && strchr("BCIUDRTMYObPKr", (int)tag);
        struct session s;

        session_start(&s, 0);
        right &= run(&s, alone) == REFUSED && !strstr(logged(), "unknown type") == known;
        session_end(&s);
        session_start(&s, 0);
        right &= known || (run(&s, within) == REFUSED && strstr(logged(), "unknown type"));
        session_end(&s);
        free(alone);
        free(within);
    }
    ok(right, "242 types of message are not known, and none has no content");
}

/* ---- every message damaged ---- */

struct script {
    struct payload messages[MAX_MESSAGES];
    size_t n;
};

static void script_make(struct script *script, const char *spec)
{
    script->n = 0;
    while (spec && script->n < MAX_MESSAGES)
        spec = make_message(spec, &script->messages[script->n++]);
}

static void script_release(struct script *script)
{
    for (size_t i = 0; i < script->n; i++)
        free(script->messages[i].bytes);
}

/* Decodes the script up to message i, which stands in the block in place of its own. */
static bool accepts(const struct script *script, size_t i, char *block, size_t len)
{
    struct session s;
    bool accepted = true;

    session_start(&s, 0);
    for (size_t j = 0; j < i && accepted; j++)
        accepted = decode(&s, script->messages[j].bytes, script->messages[j].len);
    if (!accepted)
        tap_note("message %zu is refused although it is right: %s", i, logged());
    accepted = accepted && decode(&s, block, len);
    session_end(&s);
    return accepted;
}

/* The same for bytes that do not stand in a block of their size yet. */
static bool accepts_bytes(const struct script *script, size_t i, const char *bytes, size_t len)
{
    char *block = copy_bytes(bytes, len);
    bool accepted = accepts(script, i, block, len);

    free(block);
    return accepted;
}

/*
 * No message has a part that would be one by itself: counts, lengths or a NUL always tell where
 * it ends.  So every cut is refused, and so is everything behind the end.
 */
static bool refuses_other_sizes(const struct script *script, size_t i)
{
    static const char more[] = {'\0', '\xff', 'n', 'N', 'K', 'B'};
    const struct payload *m = &script->messages[i];
    char *longer = xcalloc(m->len + 1, 1);
    bool right = true;

    for (size_t len = 0; len < m->len; len++) {
        if (accepts_bytes(script, i, m->bytes, len)) {
            tap_note("message %zu, %c, cut at byte %zu is accepted", i, m->bytes[0], len);
            right = false;
        }
    }
    memcpy(longer, m->bytes, m->len);
    for (size_t j = 0; j < sizeof more; j++) {
        longer[m->len] = more[j];
        right &= !accepts(script, i, longer, m->len + 1);
    }
    free(longer);
    return right;
}

/* Other counts and lengths than those that are right. */
static bool refuses_other_lengths(const struct script *script, size_t i)
{
    const struct payload *m = &script->messages[i];
    bool right = true;

    for (unsigned j = 0; j < m->nmarks; j++) {
        const struct mark *mark = &m->marks[j];
        uint64_t n = get_integer(m->bytes + mark->at, mark->width);
        uint64_t all = UINT64_MAX >> (64 - 8 * mark->width);
        uint64_t others[] = {all, all / 2, all / 2 + 1, all / 4 + 1, all - n, n + 1, n + 256,
                             n ? n - 1 : 1, n ? 0 : 4, m->len, m->len - mark->at};

        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            struct buf b;

            if (others[k] == n)
                continue;
            buf_init(&b, m->len);
            buf_add(&b, m->bytes, mark->at);
            put_integer(&b, mark->width, others[k]);
            buf_add(&b, m->bytes + b.len, m->len - b.len);
            if (accepts_bytes(script, i, b.data, b.len)) {
                tap_note("message %zu, %c, is accepted with %llx for %llx at %zu", i, m->bytes[0],
                         (unsigned long long)others[k], (unsigned long long)n, mark->at);
                right = false;
            }
            buf_release(&b);
        }
    }
    return right;
}

static void test_damaged(void)
{
    for (size_t g = 0; g < NGOLDENS; g++) {
        struct script script;
        bool sizes = true, lengths = true, whole = true;

        log_forget();
        script_make(&script, goldens[g]);
        for (size_t i = 0; i < script.n; i++) {
            const struct payload *m = &script.messages[i];

            whole &= accepts(&script, i, m->bytes, m->len);
            sizes &= refuses_other_sizes(&script, i);
            lengths &= refuses_other_lengths(&script, i);
        }
        ok(whole, "stream %zu: %zu messages are accepted", g, script.n);
        ok(sizes, "stream %zu: cut at any byte, or one byte too long, they are refused", g);
        ok(lengths, "stream %zu: with other counts and lengths they are refused", g);
        script_release(&script);
    }
    ok(!leaks(), "nothing leaks after damaged messages");
}

/* ---- mutations ---- */

enum { MUTATIONS = 200000 };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool lies_within(const char *p, size_t len, const char *block, size_t size)
{
    return p >= block && p <= block + size && len <= (size_t)(block + size - p);
}

/* Whether a row is one of the relation's, with all values within the message. */
static bool row_holds(const struct change *c, const struct value *row, const char *p, size_t size)
{
    for (unsigned i = 0; i < c->relation->ncolumns; i++) {
        const struct value *v = &row[i];

        if (v->kind == VALUE_TEXT || v->kind == VALUE_BINARY) {
            if (!lies_within(v->data, v->len, p, size))
                return false;
        } else if (v->kind == VALUE_ABSENT) {
            if (row != c->old_row || c->old_kind != OLD_KEY || c->relation->columns[i].identity)
                return false;
        } else if (v->kind != VALUE_NULL && v->kind != VALUE_UNCHANGED) {
            return false;
        }
    }
    return true;
}

static bool change_holds(const struct change *c, const char *p, size_t size)
{
    if (!c->relation || (c->op == OP_INSERT && c->old_row) || (c->op == OP_DELETE && !c->old_row) ||
        (c->op == OP_DELETE) != !c->new_row || (c->old_kind == OLD_NONE) != !c->old_row)
        return false;
    return (!c->old_row || row_holds(c, c->old_row, p, size)) &&
           (!c->new_row || row_holds(c, c->new_row, p, size));
}

/* Whether a relation can be used: the lengths are there for the address sanitizer to look at. */
static bool relation_holds(const struct relation *r)
{
    size_t len = strlen(r->schema) + strlen(r->name);

    for (unsigned i = 0; i < r->ncolumns; i++)
        len += strlen(r->columns[i].name);
    return r->schema[0] && r->version && r->ncolumns <= RELATION_MAX_COLUMNS && len < 1000;
}

/* What holds for the event of any message that is accepted; open: within a transaction. */
static bool event_holds(const struct event *e, const char *p, size_t size, bool *open)
{
    bool was_open = *open;
    bool right = true;

    if (e->kind == EVENT_BEGIN || e->kind == EVENT_COMMIT || e->kind == EVENT_PREPARE)
        *open = e->kind == EVENT_BEGIN;
    switch (e->kind) {
    case EVENT_NONE:
        return !e->transaction;
    case EVENT_RELATION:
        return !e->transaction && relation_holds(e->relation);
    case EVENT_BEGIN:
        return !was_open && e->transaction && !e->transaction->changed;
    case EVENT_COMMIT:
        return was_open && e->transaction && !e->transaction->gid &&
               e->transaction->end_lsn > e->transaction->commit_lsn;
    case EVENT_PREPARE:
        return was_open && e->transaction && strlen(e->transaction->gid) <= 200;
    case EVENT_COMMIT_PREPARED:
    case EVENT_ROLLBACK_PREPARED:
        return !was_open && e->transaction && strlen(e->transaction->gid) <= 200;
    case EVENT_CHANGE:
        return was_open && e->transaction && e->transaction->changed &&
               change_holds(&e->change, p, size);
    case EVENT_TRUNCATE:
        for (uint32_t i = 0; i < e->ntruncated; i++)
            right &= relation_holds(e->relations[i]);
        return right && was_open && e->transaction && e->transaction->changed;
    case EVENT_MESSAGE:
        return lies_within(e->message.prefix, strlen(e->message.prefix) + 1, p, size) &&
               lies_within(e->message.content, e->message.len, p, size) &&
               e->message.transactional == (e->transaction != NULL) &&
               (was_open || !e->message.transactional);
    }
    return false;
}

/* One to three bytes changed, mostly into some that mean something. */
static void mutate_bytes(struct buf *b, uint64_t *state)
{
    static const char telling[] = "BCRYOIUDTMbPKrNOKtnubdnfi\0\0\0\1\1\2\x7f\x80\xff";

    for (uint64_t n = 1 + random_next(state) % 3; n > 0 && b->len > 0; n--) {
        char *byte = &b->data[random_next(state) % b->len];
        uint64_t r = random_next(state);

        if (r % 4 == 0)
            *byte = (char)(r >> 8);
        else if (r % 4 == 1)
            *byte = (char)(*byte ^ 1 << (r >> 8) % 8);
        else
            *byte = telling[(r >> 8) % (sizeof telling - 1)];
    }
}

static void mutate_length(struct buf *b, const struct payload *m, uint64_t *state)
{
    static const uint64_t others[] = {
        0, 1, 2, 3, 255, 256, 1664, 1665, 32767, 32768, 65535, 0x3fffffff, 0x40000000,
        0x40000001, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
    };
    const struct mark *mark = &m->marks[random_next(state) % m->nmarks];
    uint64_t n = get_integer(m->bytes + mark->at, mark->width);
    uint64_t r = random_next(state);

    if (r % 2)
        n = others[(r >> 8) % (sizeof others / sizeof others[0])];
    else
        n += (r >> 8) % 9 - 4;
    b->len = mark->at;
    put_integer(b, mark->width, n);
    b->len = m->len;
}

/* Puts a damaged copy of message m, or of some other one, into b. */
static void mutate(struct buf *b, const struct script *script, const struct payload *m,
                   uint64_t *state)
{
    uint64_t how = random_next(state) % 8;

    if (how == 0)
        m = &script->messages[random_next(state) % script->n];
    b->len = 0;
    buf_add(b, m->bytes, m->len);
    if (how > 3)
        mutate_bytes(b, state);
    else if (how > 1 && m->nmarks)
        mutate_length(b, m, state);
    else if (how == 1)
        b->len = random_next(state) % (m->len + 1);
}

/* The script with message i replaced, until a message is refused; how many were accepted. */
static size_t decode_mutated(const struct script *script, size_t i, const struct buf *mutated,
                             bool *right)
{
    char *block = copy_bytes(mutated->data, mutated->len);
    struct session s;
    bool open = false;
    size_t j = 0;

    session_start(&s, 0);
    for (; j < script->n && *right; j++) {
        char *bytes = j == i ? block : script->messages[j].bytes;
        size_t len = j == i ? mutated->len : script->messages[j].len;

        if (!decode(&s, bytes, len))
            break;
        *right = event_holds(&s.event, start_of(bytes, len), len, &open);
    }
    session_end(&s);
    free(block);
    return j;
}

static void test_mutations(void)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    struct script scripts[NGOLDENS];
    unsigned refused = 0, survived = 0, whole = 0, round = 0;
    struct buf mutated;
    bool right = true;

    buf_init(&mutated, 256);
    for (size_t g = 0; g < NGOLDENS; g++)
        script_make(&scripts[g], goldens[g]);
    for (; round < MUTATIONS && right; round++) {
        const struct script *script = &scripts[random_next(&state) % NGOLDENS];
        size_t i = random_next(&state) % script->n;
        size_t accepted;

        mutate(&mutated, script, &script->messages[i], &state);
        accepted = decode_mutated(script, i, &mutated, &right);
        refused += accepted == i;
        survived += accepted > i;
        whole += accepted == script->n;
        if (round % 256 == 0)
            log_forget();
    }
    if (!ok(right, "%d mutations: what is accepted is right", MUTATIONS))
        tap_note("mutation %u, seeded as it is", round);
    /* Else the mutations would be too coarse, or none at all. */
    ok(refused > MUTATIONS / 5 && survived > MUTATIONS / 5 && whole > MUTATIONS / 20,
       "... %u mutants refused, %u accepted, %u streams to the end", refused, survived, whole);
    for (size_t g = 0; g < NGOLDENS; g++)
        script_release(&scripts[g]);
    buf_release(&mutated);
    log_forget();
    ok(!leaks(), "nothing leaks after mutations");
}

int main(void)
{
    capture_start();
    test_begin();
    test_times();
    test_commit();
    test_contents();
    test_restart();
    test_prepare();
    test_commit_prepared();
    test_identifiers();
    test_relation();
    test_same_relation();
    test_altered_relation();
    test_many_relations();
    test_changes();
    test_change_event();
    test_wide();
    test_truncate();
    test_truncate_many();
    test_messages();
    test_nothing();
    test_refusals();
    test_refusal_text();
    test_unknown_tags();
    test_damaged();
    test_mutations();
    capture_end();
    return tap_done();
}
