/*
 * test_decoding_test - the decoder of test_decoding's records: what every record gives, and what is
 * refused.  The records are real ones, of PostgreSQL 15, or made like them.
 *
 * Payloads are handed over in blocks of exactly their size, so that the address sanitizer sees a
 * byte read too many.
 */
#include "decode/test_decoding.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include "base/buf.h"
#include "base/log.h"
#include "decode/table.h"
#include "tests/fuzz/test_decoding_fuzz.c"
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
        perror("test_decoding_test");
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

/* ---- a catalog that knows no table, and every type that it is asked for ---- */

enum { FIRST_TYPE = 1000, MAX_TYPES = 64 };

static struct {
    char *names[MAX_TYPES];
    uint32_t n;
} types;

static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    (void)arg;
    (void)schema;
    (void)table;
    *d = (struct description){0};
    return OUTCOME_OK;
}

static enum outcome find_type(void *arg, const char *type, uint32_t *oid)
{
    uint32_t i = 0;

    (void)arg;
    while (i < types.n && strcmp(types.names[i], type) != 0)
        i++;
    if (i == MAX_TYPES)
        return OUTCOME_FAILED;
    if (i == types.n)
        types.names[types.n++] = xstrdup(type);
    *oid = FIRST_TYPE + i;
    return OUTCOME_OK;
}

static void forget_types(void)
{
    while (types.n > 0)
        free(types.names[--types.n]);
}

/* ---- a decoder at work ---- */

#define LSN UINT64_C(0x16b374d848)
#define LSN_TEXT "16/B374D848"

struct session {
    struct describer describer;
    struct decoder *decoder;
    struct event event;
    char *block; /* taken last; the event borrows from it */
    size_t len;
    lsn_t lsn;
    struct buf text; /* see run() */
};

static void session_start(struct session *s, const char *encoding)
{
    struct decoder_setup setup = {
        .kind = &decoder_test_decoding,
        .describer = &s->describer,
        .encoding = encoding,
        .last_commit = 0x500,
    };

    *s = (struct session){.lsn = LSN, .describer = {NULL, describe, find_type}};
    s->decoder = decoder_new(&setup);
    buf_init(&s->text, 64);
}

static void session_end(struct session *s)
{
    decoder_free(s->decoder);
    free(s->block);
    buf_release(&s->text);
}

/* Takes a record in a block of its own size; what the decoder leaves unset in the event shows. */
static bool take(struct session *s, const char *bytes, size_t len)
{
    free(s->block);
    s->block = malloc(len ? len : 1);
    if (!s->block)
        log_out_of_memory();
    memcpy(s->block, bytes, len);
    memset(&s->event, 0xa5, sizeof s->event);
    return decoder_take(s->decoder, s->lsn, len ? s->block : s->block + 1, len, &s->event) ==
           OUTCOME_OK;
}

/* ---- events as text ---- */

static void print_bytes(struct buf *b, const char *bytes, size_t len)
{
    buf_add_char(b, '\'');
    for (size_t i = 0; i < len; i++) {
        if ((bytes[i] >= ' ' && bytes[i] <= '~') || (bytes[i] & 0x80))
            buf_add_char(b, bytes[i]);
        else
            buf_printf(b, "\\%02x", (unsigned char)bytes[i]);
    }
    buf_add_char(b, '\'');
}

/* name[type]='value' for each column, but for those that are absent. */
static void print_row(struct buf *b, const char *tag, const struct relation *r,
                      const struct value *row)
{
    static const char *const words[] = {
        [VALUE_NULL] = "null",
        [VALUE_UNCHANGED] = "unchanged",
        [VALUE_TEXT] = "",
        [VALUE_BINARY] = "binary",
    };

    buf_printf(b, " %s(", tag);
    for (unsigned i = 0; i < r->ncolumns; i++) {
        const struct column *c = &r->columns[i];

        if (row[i].kind == VALUE_ABSENT)
            continue;
        buf_printf(b, "%s%s[%s]=%s", b->data[b->len - 1] == '(' ? "" : ",", c->name,
                   types.names[c->type_oid - FIRST_TYPE], words[row[i].kind]);
        if (row[i].kind == VALUE_TEXT)
            print_bytes(b, row[i].data, row[i].len);
    }
    buf_add_char(b, ')');
}

static void print_change(struct buf *b, const struct change *c)
{
    static const char *const operations[] = {
        [OP_INSERT] = "insert", [OP_UPDATE] = "update", [OP_DELETE] = "delete",
    };

    buf_printf(b, "%s %s.%s", operations[c->op], c->relation->schema, c->relation->name);
    if (c->old_row)
        print_row(b, c->old_kind == OLD_KEY ? "K" : "O", c->relation, c->old_row);
    if (c->new_row)
        print_row(b, "N", c->relation, c->new_row);
}

static void print_transaction(struct buf *b, const char *word, const struct transaction *t)
{
    buf_printf(b, "%s xid=%u", word, t->xid);
    if (t->end_lsn)
        buf_printf(b, " end=" LSN_FMT, LSN_ARGS(t->end_lsn));
    if (t->commit_time)
        buf_printf(b, " time=%lld", (long long)t->commit_time);
    if (t->gid)
        buf_printf(b, " gid=%s", t->gid);
    if (t->prepared)
        buf_add_str(b, " prepared");
    if (t->changed)
        buf_add_str(b, " changed");
    if (t->commit_lsn)
        buf_add_str(b, " with a commit LSN");
}

static void print_event(struct buf *b, const struct event *e)
{
    switch (e->kind) {
    case EVENT_BEGIN:
        print_transaction(b, "begin", e->transaction);
        break;
    case EVENT_COMMIT:
        print_transaction(b, "commit", e->transaction);
        break;
    case EVENT_PREPARE:
        print_transaction(b, "prepare", e->transaction);
        break;
    case EVENT_COMMIT_PREPARED:
        print_transaction(b, "commit prepared", e->transaction);
        break;
    case EVENT_ROLLBACK_PREPARED:
        print_transaction(b, "rollback prepared", e->transaction);
        break;
    case EVENT_CHANGE:
        print_change(b, &e->change);
        break;
    case EVENT_TRUNCATE:
        buf_add_str(b, "truncate");
        for (uint32_t i = 0; i < e->ntruncated; i++)
            buf_printf(b, " %s.%s", e->relations[i]->schema, e->relations[i]->name);
        break;
    case EVENT_MESSAGE:
        buf_printf(b, "message %d ", e->message.transactional);
        print_bytes(b, e->message.prefix, strlen(e->message.prefix));
        print_bytes(b, e->message.content, e->message.len);
        break;
    default:
        buf_printf(b, "event %d", e->kind);
    }
}

/* What a record gives, or what was logged when it was refused; until the next record. */
static const char *run_bytes(struct session *s, const char *bytes, size_t len)
{
    log_forget();
    s->text.len = 0;
    if (take(s, bytes, len))
        print_event(&s->text, &s->event);
    else
        buf_add_str(&s->text, logged());
    buf_add_char(&s->text, '\0');
    return s->text.data;
}

static const char *run(struct session *s, const char *record)
{
    return run_bytes(s, record, strlen(record));
}

static void gives(struct session *s, const char *record, const char *expected)
{
    char *name = xasprintf("%.70s", expected);

    for (char *p = name; *p; p++)
        if (*p == '#' || *p == '\n')
            *p = ' ';
    is_str(run(s, record), expected, name);
    free(name);
}

/* ---- transactions ---- */

#define TIME_TEXT "2026-11-21 14:46:48.154068+00"
#define TIME "1795272408154068"

static void test_transactions(void)
{
    struct session s;

    session_start(&s, NULL);
    gives(&s, "BEGIN 788", "begin xid=788");
    ok(s.event.lsn == LSN && s.event.transaction->previous_commit == 0x500,
       "... with what an earlier run knew");
    gives(&s, "COMMIT 788 (at " TIME_TEXT ")", "commit xid=788 end=" LSN_TEXT " time=" TIME);
    gives(&s, "BEGIN 4294967295", "begin xid=4294967295");
    gives(&s, "COMMIT 4294967295", "commit xid=4294967295 end=" LSN_TEXT);
    gives(&s, "BEGIN", "begin xid=0");
    gives(&s, "table public.t: INSERT: id[integer]:1", "insert public.t N(id[integer]='1')");
    gives(&s, "COMMIT (at " TIME_TEXT ")", "commit xid=0 end=" LSN_TEXT " time=" TIME " changed");
    gives(&s, "BEGIN", "begin xid=0");
    gives(&s, "COMMIT", "commit xid=0 end=" LSN_TEXT);
    gives(&s, "BEGIN 7", "begin xid=7");
    gives(&s, "COMMIT", "commit xid=7 end=" LSN_TEXT);
    gives(&s, "BEGIN 8", "begin xid=8");
    decoder_restart(s.decoder);
    gives(&s, "BEGIN 8", "begin xid=8");
    decoder_leave(s.decoder);
    ok(strstr(run(&s, "COMMIT 8"), "has not begun"), "left means ended");
    session_end(&s);
}

static void test_two_phases(void)
{
    struct session s;

    session_start(&s, NULL);
    run(&s, "BEGIN 1004");
    run(&s, "table public.allnull: INSERT: a[integer]:1 b[text]:'x'");
    gives(&s, "PREPARE TRANSACTION E'it''s \\\\a \"gid\"', txid 1004 (at " TIME_TEXT ")",
          "prepare xid=1004 end=" LSN_TEXT " time=" TIME " gid=it's \\a \"gid\" prepared changed");
    ok(!s.decoder->in_transaction && s.decoder->last_commit == 0x500, "... which is no commit");
    s.lsn = UINT64_C(0x16b374d900);
    gives(&s, "COMMIT PREPARED E'it''s \\\\a \"gid\"', txid 1004 (at " TIME_TEXT ")",
          "commit prepared xid=1004 end=16/B374D900 time=" TIME " gid=it's \\a \"gid\"");
    gives(&s, "ROLLBACK PREPARED 'back', txid 1005", "rollback prepared xid=1005 "
          "end=16/B374D900 gid=back");
    gives(&s, "ROLLBACK PREPARED 'a\\b'", "rollback prepared xid=0 end=16/B374D900 gid=a\\b");
    gives(&s, "COMMIT PREPARED '' (at " TIME_TEXT ")",
          "commit prepared xid=0 end=16/B374D900 time=" TIME " gid=");
    gives(&s, "COMMIT PREPARED E'\\\\''\\\\\\\\'''", "commit prepared xid=0 end=16/B374D900 "
          "gid=\\'\\\\'");
    run(&s, "BEGIN");
    gives(&s, "PREPARE TRANSACTION ' (at ', txid 0)'",
          "cdcdump: error: could not decode the test_decoding message at 16/B374D900: the message "
          "is too long, at byte 35\n");
    session_end(&s);
}

/* Identifiers of up to 200 bytes are taken, as far as their length goes. */
static void test_identifiers(void)
{
    char gid[301];

    memset(gid, 'g', sizeof gid);
    for (int len = 198; len <= 202; len++) {
        char *record = xasprintf("COMMIT PREPARED '%.*s'", len, gid);
        struct session s;
        bool taken;

        session_start(&s, NULL);
        taken = !strstr(run(&s, record), "identifier is too long");
        ok(taken == (len <= 200), "an identifier of %d bytes is %s", len,
           taken ? "taken" : "refused");
        session_end(&s);
        free(record);
    }
}

/* ---- changes ---- */

/* One decoder for all, as what one row leaves behind must not get into the next. */
static const struct {
    const char *record;
    const char *expected;
} changes[] = {
    {"table public.t: INSERT: id[integer]:1 \"Odd Name\"[text]:'x\"\\\n\t''\xc3\xa9' "
     "n[numeric]:1.50 b[bytea]:'\\x00ff' e[\"My Enum\"]:'a' v[character varying]:'vv' "
     "g[integer]:2 f[double precision]:NaN bo[boolean]:true a[integer[]]:'{1,NULL}' "
     "m[money]:'$1.10' dn[dnum]:'NaN' dbo[dbool]:'t' tz[time with time zone]:'12:00:00+02' "
     "bt[bit]:B'101' ts[timestamp with time zone]:'infinity' c[\"char\"]:'c' f4[real]:1.1",
     "insert public.t N(id[integer]='1',Odd Name[text]='x\"\\\\0a\\09'\xc3\xa9',"
     "n[numeric]='1.50',b[bytea]='\\x00ff',e[\"My Enum\"]='a',v[character varying]='vv',"
     "g[integer]='2',f[double precision]='NaN',bo[boolean]='t',a[integer[]]='{1,NULL}',"
     "m[money]='$1.10',dn[dnum]='NaN',dbo[dbool]='t',tz[time with time zone]='12:00:00+02',"
     "bt[bit]='101',ts[timestamp with time zone]='infinity',c[\"char\"]='c',f4[real]='1.1')"},
    {"table public.v: INSERT: a[numeric]:Infinity b[real]:-Infinity c[real]:1e+20 d[real]:-1.5e-07 "
     "e[bigint]:-9223372036854775808 f[boolean]:false g[bit varying]:B'' h[text]:'' i[text]:null "
     "j[oid]:4294967295 k[numeric]:123456789012345678901234567890.00100",
     "insert public.v N(a[numeric]='Infinity',b[real]='-Infinity',c[real]='1e+20',"
     "d[real]='-1.5e-07',e[bigint]='-9223372036854775808',f[boolean]='f',g[bit varying]='',"
     "h[text]='',i[text]=null,j[oid]='4294967295',"
     "k[numeric]='123456789012345678901234567890.00100')"},
    {"table public.w: INSERT: a[text]:'null' b[text]:'''' c[text]:'a''''b' d[text]:'''a''' "
     "e[text]:' new-tuple: x[y]:1' f[text]:'unchanged-toast-datum' g[text]:'] : [',",
     NULL},
    {"table public.w: INSERT: a[text]:'null' b[text]:'''' c[text]:'a''''b' d[text]:'''a''' "
     "e[text]:' new-tuple: x[y]:1' f[text]:'unchanged-toast-datum' g[text]:'] : ['",
     "insert public.w N(a[text]='null',b[text]=''',c[text]='a''b',d[text]=''a'',"
     "e[text]=' new-tuple: x[y]:1',f[text]='unchanged-toast-datum',g[text]='] : [')"},
    {"table \"S ch]\".\"T \"\"q\"\", x: INSERT:\": INSERT: id[integer]:1 "
     "\"a\"\"b\"[\"S ch]\".\"Ty\"\"p:e x\"]:'a' \"select\"[\"S ch]\".\"Ty\"\"p:e x\"[]]:'{a,b}' "
     "c[\"S ch]\".num]:'1.5' d[\"S ch]\".comp]:'(1,\"x y\")' \"old-key\"[\"char\"]:'c' "
     "\"UPPER\"[bit varying]:B'1' \"\xc3\xa9\"[name]:'n' f[bit[]]:'{101,111}'",
     "insert S ch].T \"q\", x: INSERT: N(id[integer]='1',a\"b[\"S ch]\".\"Ty\"\"p:e x\"]='a',"
     "select[\"S ch]\".\"Ty\"\"p:e x\"[]]='{a,b}',c[\"S ch]\".num]='1.5',"
     "d[\"S ch]\".comp]='(1,\"x y\")',old-key[\"char\"]='c',UPPER[bit varying]='1',"
     "\xc3\xa9[name]='n',f[bit[]]='{101,111}')"},
    {"table public.t2: UPDATE: id[integer]:1 big[text]:unchanged-toast-datum v[text]:'w'",
     "update public.t2 N(id[integer]='1',big[text]=unchanged,v[text]='w')"},
    {"table public.t2: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 "
     "big[text]:unchanged-toast-datum v[text]:null",
     "update public.t2 K(id[integer]='1') N(id[integer]='2',big[text]=unchanged,v[text]=null)"},
    {"table public.t2: DELETE: id[integer]:2", "delete public.t2 K(id[integer]='2')"},
    {"table public.t2: DELETE: id[integer]:2 v[text]:null", "delete public.t2 K(id[integer]='2')"},
    {"table public.nokey: DELETE: (no-tuple-data)", "delete public.nokey"},
    {"table public.allnull: UPDATE: old-key: new-tuple: a[integer]:1 b[text]:null",
     "update public.allnull K() N(a[integer]='1',b[text]=null)"},
    {"table public.allnull: DELETE:", "delete public.allnull K()"},
    {"table public.nocol: INSERT:", "insert public.nocol N()"},
    {"table \"public\".\"Quoted\": INSERT: \"id\"[\"name\"]:'1'",
     "insert public.Quoted N(id[\"name\"]='1')"},
};

static void test_changes(void)
{
    struct session s;

    session_start(&s, NULL);
    run(&s, "BEGIN 1");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        if (changes[i].expected)
            gives(&s, changes[i].record, changes[i].expected);
        else
            ok(strstr(run(&s, changes[i].record), "a blank is missing"), "refused: a comma");
    ok(s.event.change.lsn == LSN && s.event.transaction == &s.decoder->transaction,
       "a change has the wrapper's LSN and its transaction");
    session_end(&s);
}

static void test_truncations(void)
{
    struct session s;
    struct buf b;

    session_start(&s, NULL);
    run(&s, "BEGIN 1");
    gives(&s, "table public.t: TRUNCATE: (no-flags)", "truncate public.t");
    gives(&s, "table public.t, public.\"My T:x\": TRUNCATE: restart_seqs cascade",
          "truncate public.t public.My T:x");
    gives(&s, "table a.b, \"a, b\".\": TRUNCATE:\", c.d: TRUNCATE: cascade",
          "truncate a.b a, b.: TRUNCATE: c.d");
    gives(&s, "table a.b: TRUNCATE: restart_seqs", "truncate a.b");
    buf_init(&b, 64);
    buf_add_str(&b, "table s.t0");
    for (int i = 1; i < 1000; i++)
        buf_printf(&b, ", s.t%d", i);
    buf_add_str(&b, ": TRUNCATE: (no-flags)");
    run_bytes(&s, b.data, b.len);
    ok(s.event.ntruncated == 1000 && strcmp(s.event.relations[999]->name, "t999") == 0 &&
       strcmp(s.event.relations[0]->name, "t0") == 0, "a truncation of 1000 tables");
    ok(s.decoder->transaction.changed, "... is a change");
    buf_release(&b);
    session_end(&s);
}

/* ---- logical messages ---- */

static void test_messages(void)
{
    static const char zero[] = "message: transactional: 0 prefix: p, sz: 4 content:a\0bc";
    static const char in_prefix[] = "message: transactional: 0 prefix: p\0p, sz: 1 content:a";
    struct session s;

    session_start(&s, NULL);
    gives(&s, "message: transactional: 0 prefix: p, sz: 4 content:free", "message 0 'p''free'");
    ok(s.event.message.lsn == LSN && !s.event.transaction, "... outside of a transaction");
    gives(&s, "message: transactional: 0 prefix: , sz: 0 content:", "message 0 ''''");
    is_str(run_bytes(&s, zero, sizeof zero - 1), "message 0 'p''a\\00bc'", "a zero byte");
    ok(strstr(run_bytes(&s, in_prefix, sizeof in_prefix - 1), "does not have the length"),
       "... but not in a prefix");
    gives(&s, "message: transactional: 0 prefix: p, sz: 3 content:abc, sz: 19 content:x, sz: 2 "
          "content:yy", "message 0 'p, sz: 3 content:abc''x, sz: 2 content:yy'");
    gives(&s, "message: transactional: 0 prefix: , sz: , sz: 9, sz: 1 content:, sz: 1 content:x",
          "message 0 ', sz: , sz: 9, sz: 1 content:''x'");
    gives(&s, "message: transactional: 0 prefix: a\nb, sz: 2 content:\xff\n",
          "message 0 'a\\0ab''\xff\\0a'");
    ok(strstr(run(&s, "message: transactional: 1 prefix: p, sz: 1 content:x"),
              "outside of a transaction") && strstr(logged(), "skip-empty-xacts"),
       "a transactional message wants a transaction");
    run(&s, "BEGIN 5");
    gives(&s, "message: transactional: 0 prefix: p, sz: 1 content:x", "message 0 'p''x'");
    ok(!s.event.transaction && !s.decoder->transaction.changed, "... is not of the transaction");
    gives(&s, "message: transactional: 1 prefix: p, sz: 7 content:hello\\x",
          "message 1 'p''hello\\x'");
    ok(s.event.transaction && s.event.transaction->changed, "... is a change of it");
    session_end(&s);
}

/* ---- encodings ---- */

static void test_encodings(void)
{
    struct session s;

    session_start(&s, "LATIN1");
    run(&s, "BEGIN 1");
    gives(&s, "table public.\"t\xe4\": INSERT: id[integer]:2 \"n\xe4\"[\"t\xff\"]:'\xe9 '' \xff'",
          "insert public.t\xc3\xa4 N(id[integer]='2',"
          "n\xc3\xa4[\"t\xc3\xbf\"]='\xc3\xa9 ' \xc3\xbf')");
    gives(&s, "message: transactional: 1 prefix: pr\xe4, sz: 2 content:\xff\xe9",
          "message 1 'pr\xc3\xa4''\xff\xe9'");
    gives(&s, "message: transactional: 1 prefix: pr, sz: 2 content:\xff\xe9",
          "message 1 'pr''\xff\xe9'");
    session_end(&s);
    session_start(&s, "EUC_JP");
    run(&s, "BEGIN 1");
    gives(&s, "table public.\"\xc9\xbd\": INSERT: a[text]:'\xc6\xfc\xcb\xdc\xa1\xc1\xad\xa1'",
          "insert public.\xe8\xa1\xa8 "
          "N(a[text]='\xe6\x97\xa5\xe6\x9c\xac\xef\xbd\x9e\xe2\x91\xa0')");
    gives(&s, "table public.t: INSERT: a[text]:'\xc6\xfc\xcb'",
          "cdcdump: error: could not decode the test_decoding message at " LSN_TEXT ": a character "
          "that is not valid in the encoding of the database, at byte 35\n");
    session_end(&s);
    session_start(&s, "MULE_INTERNAL");
    ok(!s.decoder && strstr(logged(), "MULE_INTERNAL"), "no decoder for an encoding unknown");
    session_end(&s);
}

/* ---- refusals ---- */

/* Within a transaction, but for those with a `within` of false. */
static const struct {
    bool within;
    const char *record;
    const char *reason;
} refusals[] = {
    {true, "", "unknown kind of record, at byte 0"},
    {true, "insert", "unknown kind of record, at byte 0"},
    {true, "begin", "unknown kind of record, at byte 0"},
    {true, "BEGIN 2", "begins within another, at byte 5"},
    {false, "BEGIN ", "no transaction number, at byte 6"},
    {false, "BEGIN x", "no transaction number, at byte 6"},
    {false, "BEGIN -1", "no transaction number"},
    {false, "BEGIN 4294967296", "no transaction number"},
    {false, "BEGIN 99999999999999999999", "no transaction number"},
    {false, "BEGIN 1 ", "too long, at byte 7"},
    {false, "BEGINS", "too long"},
    {false, "COMMIT 1", "has not begun"},
    {false, "PREPARE TRANSACTION 'a'", "has not begun"},
    {true, "COMMIT 2", "is not the one that has begun"},
    {true, "COMMIT 1 (at 2026-11-21)", "this is no time, at byte 13"},
    {true, "COMMIT 1 (at " TIME_TEXT, "this is no time"},
    {true, "COMMIT 1 (at )", "this is no time"},
    {true, "COMMIT 1 (at " TIME_TEXT ") ", "too long"},
    {true, "COMMIT 1(at " TIME_TEXT ")", "too long, at byte 8"},
    {true, "PREPARE TRANSACTION a", "identifier is missing"},
    {true, "PREPARE TRANSACTION 'a", "not closed"},
    {true, "PREPARE TRANSACTION 'a', txid 2", "is not the one that has begun"},
    {true, "PREPARE TRANSACTION 'a', txid ", "no transaction number"},
    {true, "COMMIT PREPARED 'a'", "within another"},
    {true, "ROLLBACK PREPARED 'a'", "within another"},
    {false, "table public.t: INSERT: id[integer]:1", "outside of a transaction"},
    {false, "table public.t: TRUNCATE: (no-flags)", "outside of a transaction"},
    {true, "table ", "a name is missing, at byte 6"},
    {true, "table public", "a table without a schema, at byte 12"},
    {true, "table public.", "a name is missing"},
    {true, "table Public.t: DELETE: (no-tuple-data)", "a name is missing"},
    {true, "table \"\".t: DELETE: (no-tuple-data)", "a name is missing"},
    {true, "table \"public.t: DELETE: (no-tuple-data)", "not closed"},
    {true, "table \"public\"\".t", "not closed"},
    {true, "table public.t", "unknown kind of change"},
    {true, "table public.t: MERGE: a[b]:1", "unknown kind of change"},
    {true, "table public.t:INSERT: a[b]:1", "unknown kind of change"},
    {true, "table public.t, public.u: INSERT: a[b]:1", "several tables"},
    {true, "table public.t,public.u: TRUNCATE: (no-flags)", "unknown kind of change"},
    {true, "table public.t: TRUNCATE:", "flags are missing"},
    {true, "table public.t: TRUNCATE: flags", "flags are missing"},
    {true, "table public.t: TRUNCATE: (no-flags) cascade", "too long"},
    {true, "table public.t: TRUNCATE: cascade restart_seqs", "too long"},
    {true, "table public.t: INSERT: (no-tuple-data)", "without the new row"},
    {true, "table public.t: UPDATE: (no-tuple-data)", "without the new row"},
    {true, "table public.t: UPDATE: old-key: a[b]:1", "without the new row"},
    {true, "table public.t: UPDATE: old-key: a[b]:1 new-tuple: (no-tuple-data)",
     "without the new row"},
    {true, "table public.t: UPDATE: a[b]:1 new-tuple: a[b]:1", "too long"},
    {true, "table public.t: INSERT: a[b]:1 new-tuple: a[b]:1", "too long"},
    {true, "table public.t: DELETE: a[b]:1 new-tuple: a[b]:1", "too long"},
    {true, "table public.t: DELETE: (no-tuple-data) a[b]:1", "too long"},
    {true, "table public.t: DELETE: old-key: a[b]:1", "type is missing"},
    {true, "table public.t: INSERT:a[b]:1", "a blank is missing, at byte 23"},
    {true, "table public.t: INSERT:  a[b]:1", "a name is missing, at byte 24"},
    {true, "table public.t: INSERT: a[b]:1 ", "a name is missing"},
    {true, "table public.t: INSERT: a", "type is missing"},
    {true, "table public.t: INSERT: a:1", "type is missing"},
    {true, "table public.t: INSERT: a[]:1", "type's name does not end"},
    {true, "table public.t: INSERT: a[b", "type's name does not end"},
    {true, "table public.t: INSERT: a[b[]:1", "type's name does not end"},
    {true, "table public.t: INSERT: a[b[x]]:1", "type's name does not end"},
    {true, "table public.t: INSERT: a[\"b]:1", "type's name does not end"},
    {true, "table public.t: INSERT: a[", "type's name does not end"},
    {true, "table public.t: INSERT: a[b]", "value is missing"},
    {true, "table public.t: INSERT: a[b]1", "value is missing"},
    {true, "table public.t: INSERT: a[b]:", "no value"},
    {true, "table public.t: INSERT: a[b]: ", "no value"},
    {true, "table public.t: INSERT: a[b]:x", "no value"},
    {true, "table public.t: INSERT: a[b]:NULL", "no value"},
    {true, "table public.t: INSERT: a[b]:tru", "no value"},
    {true, "table public.t: INSERT: a[b]:-", "no value"},
    {true, "table public.t: INSERT: a[b]:.5", "no value"},
    {true, "table public.t: INSERT: a[b]:B1", "no value"},
    {true, "table public.t: INSERT: a[b]:b'1'", "no value"},
    {true, "table public.t: INSERT: a[b]:nulls", "a blank is missing"},
    {true, "table public.t: INSERT: a[b]:1x", "a blank is missing"},
    {true, "table public.t: INSERT: a[b]:'x", "not closed"},
    {true, "table public.t: INSERT: a[b]:'x''", "not closed"},
    {true, "table public.t: INSERT: a[b]:'", "not closed"},
    {true, "table public.t: INSERT: a[b]:B'", "not closed"},
    {true, "table public.t: INSERT: a[b]:'x'y", "a blank is missing"},
    {true, "table public.t: INSERT: a[b]:1 a[b]:2", "could not tell the columns"},
    {true, "message: transactional: 2 prefix: p, sz: 1 content:x", "this is no message"},
    {true, "message: transactional: ", "this is no message"},
    {true, "message: transactional: 1 prefix: p, sz: 2 content:x", "length that is told"},
    {true, "message: transactional: 1 prefix: p, sz: 0 content:x", "length that is told"},
    {true, "message: transactional: 1 prefix: p, sz:  content:", "length that is told"},
    {true, "message: transactional: 1 prefix: p, sz: -1 content:x", "length that is told"},
    {true, "message: transactional: 1 prefix: p, sz: 4294967297 content:x", "length that is told"},
    {true, "message: transactional: 1 prefix: p, sz: 18446744073709551617 content:x",
     "length that is told"},
    {true, "message: transactional: 1 prefix: ", "length that is told"},
    {true, "opening a streamed block for transaction TXN 1", "has not ended"},
    {true, "closing a streamed block for transaction", "has not ended"},
    {true, "streaming change for TXN 1", "has not ended"},
    {true, "streaming message: transactional: 1 prefix: p, sz: 1", "has not ended"},
    {true, "aborting streamed (sub)transaction TXN 1", "has not ended"},
    {true, "preparing streamed transaction TXN 'a', txid 1", "has not ended"},
    {true, "committing streamed transaction TXN 1", "has not ended"},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct session s;
        const char *got;

        session_start(&s, NULL);
        if (refusals[i].within)
            run(&s, "BEGIN 1");
        got = run(&s, refusals[i].record);
        if (!ok(strstr(got, refusals[i].reason) && strstr(got, " at " LSN_TEXT),
                "refused: %s", refusals[i].reason))
            tap_note("%s: %s", refusals[i].record, got);
        session_end(&s);
    }
}

static void test_zero_bytes(void)
{
    static const char record[] = "table public.t: INSERT: \"a\0b\"[text]:'x'";
    struct session s;

    session_start(&s, NULL);
    run(&s, "BEGIN 1");
    ok(strstr(run_bytes(&s, record, sizeof record - 1), "a zero byte within a text, at byte 26"),
       "no zero byte but in the content of a message");
    session_end(&s);
}

/* ---- as wide as can be ---- */

static void add_columns(struct buf *b, int n)
{
    for (int i = 0; i < n; i++)
        buf_printf(b, " c%d[text]:'%d'", i, i);
}

static void test_wide(void)
{
    struct session s;
    struct buf b;

    session_start(&s, NULL);
    buf_init(&b, 64);
    run(&s, "BEGIN 1");
    buf_add_str(&b, "table public.wide: UPDATE: old-key:");
    add_columns(&b, RELATION_MAX_COLUMNS);
    buf_add_str(&b, " new-tuple:");
    add_columns(&b, RELATION_MAX_COLUMNS);
    ok(take(&s, b.data, b.len) && s.event.change.relation->ncolumns == RELATION_MAX_COLUMNS &&
       s.event.change.new_row[1663].len == 4, "1664 columns in both rows");
    buf_add_str(&b, " more[text]:null");
    ok(strstr(run_bytes(&s, b.data, b.len), "too many columns"), "... and no more");
    buf_release(&b);
    session_end(&s);
}

/* ---- every record cut ---- */

/* Where a record can end, as a text has no length: a shorter one is another record. */
struct whole {
    const char *record;
    const char *ends; /* beginnings of it that are records, each up to a | */
};

static const struct whole wholes[] = {
    {"table public.t: UPDATE: old-key: \"i\"\"d\"[\"My \"\"T\"[]]:'a''b' new-tuple: "
     "\"i\"\"d\"[\"My \"\"T\"[]]:B'1' n[real]:null",
     "table public.t: UPDATE:|"
     "table public.t: UPDATE: old-key: \"i\"\"d\"[\"My \"\"T\"[]]:'a''b' "
     "new-tuple: \"i\"\"d\"[\"My \"\"T\"[]]:B'1'|"},
    {"table public.t: DELETE: (no-tuple-data)", "table public.t: DELETE:|"},
    {"table public.t: INSERT: b[boolean]:true c[text]:unchanged-toast-datum",
     "table public.t: INSERT:|table public.t: INSERT: b[boolean]:true|"},
    {"table a.b, \"c\".d: TRUNCATE: restart_seqs cascade",
     "table a.b, \"c\".d: TRUNCATE: restart_seqs|"},
    {"message: transactional: 1 prefix: p, sz: 5 content:hello", ""},
    {"PREPARE TRANSACTION E'a''\\\\b', txid 1 (at " TIME_TEXT ")",
     "PREPARE TRANSACTION E'a'|"
     "PREPARE TRANSACTION E'a''\\\\b'|PREPARE TRANSACTION E'a''\\\\b', txid 1|"},
    {"COMMIT 1 (at " TIME_TEXT ")", "COMMIT|COMMIT 1|"},
};

static bool is_end(const char *ends, const char *record, size_t len)
{
    for (const char *next; (next = strchr(ends, '|')); ends = next + 1)
        if ((size_t)(next - ends) == len && memcmp(ends, record, len) == 0)
            return true;
    return false;
}

static void test_cuts(void)
{
    for (size_t i = 0; i < sizeof wholes / sizeof wholes[0]; i++) {
        size_t all = strlen(wholes[i].record);
        bool right = true;

        for (size_t len = 0; len <= all; len++) {
            struct session s;
            bool taken;

            session_start(&s, NULL);
            run(&s, "BEGIN 1");
            taken = take(&s, wholes[i].record, len);
            if (taken != (len == all || is_end(wholes[i].ends, wholes[i].record, len))) {
                tap_note("%.*s", (int)len, wholes[i].record);
                right = false;
            }
            session_end(&s);
        }
        ok(right, "cut: %.40s", wholes[i].record);
    }
}

/* ---- mutations of real streams ---- */

enum { MUTATIONS = 20000, MAX_SEEDS = 64, CORPUS_BYTES = 65536 };

#define CORPUS "tests/fuzz/corpus/test_decoding"

struct seed {
    char *bytes;
    size_t len;
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool read_seed(const char *name, struct seed *seed)
{
    char *path = xasprintf(CORPUS "/%s", name);
    FILE *file = fopen(path, "rb");

    free(path);
    if (!file)
        return false;
    seed->bytes = xcalloc(CORPUS_BYTES, 1);
    seed->len = fread(seed->bytes, 1, CORPUS_BYTES, file);
    fclose(file);
    return seed->len > 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static size_t read_corpus(struct seed *seeds)
{
    struct dirent **names = NULL;
    int found = scandir(CORPUS, &names, NULL, compare_names);
    size_t n = 0;

    for (int i = 0; i < found; i++) {
        if (names[i]->d_name[0] != '.' && n < MAX_SEEDS && read_seed(names[i]->d_name, &seeds[n]))
            n++;
        free(names[i]);
    }
    free(names);
    return n;
}

/* One to four bytes changed, mostly into some that mean something; or a part cut out or doubled. */
static void mutate(struct buf *b, uint64_t *state)
{
    static const char telling[] = "'\"[]: ,.()\\\x1e\x1e 0B1-e\xff\xa1\x8f\0";
    size_t at = random_next(state) % b->len, len = random_next(state) % (b->len - at) % 64;
    uint64_t how = random_next(state) % 8;

    if (how == 0) {
        memmove(b->data + at, b->data + at + len, b->len - at - len);
        b->len -= len;
    } else if (how == 1) {
        buf_reserve(b, len);
        memmove(b->data + at + len, b->data + at, b->len - at);
        b->len += len;
    }
    for (uint64_t n = random_next(state) % 4 + (how > 1); n > 0; n--) {
        uint64_t r = random_next(state);

        at = (r >> 16) % b->len;
        b->data[at] = r % 4 ? telling[(r >> 8) % (sizeof telling - 1)] : (char)(r >> 8);
    }
}

static void test_mutations(void)
{
    struct seed seeds[MAX_SEEDS];
    size_t n = read_corpus(seeds);
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    struct buf b;

    if (!ok(n > 0, "%zu seeds in " CORPUS, n))
        return;
    buf_init(&b, CORPUS_BYTES);
    for (unsigned i = 0; i < MUTATIONS; i++) {
        const struct seed *seed = &seeds[random_next(&state) % n];

        b.len = 0;
        buf_add(&b, seed->bytes, seed->len);
        mutate(&b, &state);
        LLVMFuzzerTestOneInput((const unsigned char *)b.data, b.len);
        if (i % 256 == 0)
            log_forget();
    }
    ok(true, "%d mutations of them", MUTATIONS);
    buf_release(&b);
    while (n > 0)
        free(seeds[--n].bytes);
}

int main(void)
{
    capture_start();
    test_transactions();
    test_two_phases();
    test_identifiers();
    test_changes();
    test_truncations();
    test_messages();
    test_encodings();
    test_refusals();
    test_zero_bytes();
    test_wide();
    test_cuts();
    test_mutations();
    forget_types();
    capture_end();
    return tap_done();
}
