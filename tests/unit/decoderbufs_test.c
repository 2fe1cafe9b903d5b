/*
 * decoderbufs_test - the decoder: what messages give, and what it refuses.
 *
 * Messages are written down field by field in a small notation, read by put_fields():
 *
 *     1=42             field 1, a varint, maybe negative
 *     6:3ff8000000000000   field 6, a double in hexadecimal, highest digit first; or a float of 8
 *     3='public.t'     field 3, text
 *     9x00ff           field 9, bytes
 *     5{1='id' 3=1}    field 5, a message
 *     !ffff            bytes as they are
 *
 * Blanks part fields, | parts messages, and @1F0 stands for a keepalive with that position in place
 * of a message.  What comes of them is written down as well, by add_event().  Payloads are handed
 * over in blocks of exactly their size, so that the address sanitizer sees a byte read too many.
 */
#include "decode/decoderbufs.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#include "base/buf.h"
#include "decode/protobuf.h"
#include "tests/fuzz/decoderbufs_fuzz.c"
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
        perror("decoderbufs_test");
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

static void put_varint(struct buf *b, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_add_char(b, (char)(n | 0x80));
    buf_add_char(b, (char)n);
}

static void put_bytes(struct buf *b, unsigned long number, const char *bytes, size_t len)
{
    put_varint(b, number << 3 | PROTOBUF_BYTES);
    put_varint(b, len);
    buf_add(b, bytes, len);
}

static void put_hex(struct buf *b, const char *digits, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        char pair[3] = {digits[i], digits[i + 1], '\0'};

        buf_add_char(b, (char)strtoul(pair, NULL, 16));
    }
}

static void put_fixed(struct buf *b, unsigned long number, const char *digits, size_t len)
{
    uint64_t n = htole64(strtoull(digits, NULL, 16));

    put_varint(b, number << 3 | (len == 16 ? PROTOBUF_FIXED64 : PROTOBUF_FIXED32));
    buf_add(b, &n, len / 2);
}

static const char *put_fields(struct buf *b, const char *spec);

static const char *put_message(struct buf *b, unsigned long number, const char *spec)
{
    struct buf inner;

    buf_init(&inner, 64);
    spec = put_fields(&inner, spec);
    put_bytes(b, number, inner.data, inner.len);
    buf_release(&inner);
    return spec + (*spec == '}');
}

/* The field at spec; returns what follows it. */
static const char *put_field(struct buf *b, const char *spec)
{
    char *p;
    unsigned long number = strtoul(spec, &p, 10);
    size_t len = strcspn(p + 1, " |}");

    if (*p == '{')
        return put_message(b, number, p + 1);
    if (*p == '=' && p[1] == '\'') {
        len = strcspn(p + 2, "'");
        put_bytes(b, number, p + 2, len);
        return p + 2 + len + 1;
    }
    if (*p == '=') {
        put_varint(b, number << 3 | PROTOBUF_VARINT);
        put_varint(b, p[1] == '-' ? (uint64_t)strtoll(p + 1, NULL, 10) : strtoull(p + 1, NULL, 10));
    } else if (*p == ':') {
        put_fixed(b, number, p + 1, len);
    } else if (*p == 'x') {
        put_varint(b, number << 3 | PROTOBUF_BYTES);
        put_varint(b, len / 2);
        put_hex(b, p + 1, len);
    } else {
        put_hex(b, p + 1, len);
    }
    return p + 1 + len;
}

/* Up to } or | or the end, which it returns. */
static const char *put_fields(struct buf *b, const char *spec)
{
    while (*spec && *spec != '|' && *spec != '}') {
        if (*spec == ' ')
            spec++;
        else
            spec = put_field(b, spec);
    }
    return spec;
}

/* ---- a decoder at work ---- */

#define FIRST_LSN 0x1000

struct session {
    struct decoder *decoder;
    struct describer describer;
    bool exists;  /* tables do: see fuzz_describe() */
    struct buf events;
    char *block;  /* of the message taken last */
    lsn_t lsn;    /* of the next one */
    bool refused;
};

static void session_start_in(struct session *s, const char *encoding)
{
    struct decoder_setup setup = {
        .kind = &decoder_decoderbufs,
        .describer = &s->describer,
        .encoding = encoding,
    };

    *s = (struct session){.lsn = FIRST_LSN};
    s->describer = (struct describer){&s->exists, fuzz_describe, fuzz_find_type};
    s->decoder = decoder_new(&setup);
    buf_init(&s->events, 256);
    log_forget();
}

static void session_start(struct session *s)
{
    session_start_in(s, "UTF8");
}

static void session_end(struct session *s)
{
    decoder_free(s->decoder);
    buf_release(&s->events);
    free(s->block);
    s->block = NULL;
}

static void add_text(struct buf *b, const char *bytes, size_t len)
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

/* K(...), N(...): absent values are left out, so that the others tell their names. */
static void add_row(struct buf *b, const char *tag, const struct value *row,
                    const struct relation *r)
{
    const char *comma = "";

    buf_printf(b, " %s(", tag);
    for (unsigned i = 0; i < r->ncolumns; i++) {
        if (row[i].kind == VALUE_ABSENT)
            continue;
        buf_printf(b, "%s%s=", comma, r->columns[i].name);
        comma = ",";
        if (row[i].kind == VALUE_TEXT)
            add_text(b, row[i].data, row[i].len);
        else
            buf_add_str(b, row[i].kind == VALUE_NULL ? "null" : "unchanged");
    }
    buf_add_char(b, ')');
}

/* B7 a transaction begins, C7@1F0 it ends with that end_lsn, I U D schema.table and rows. */
static void add_event(struct buf *b, const struct event *e)
{
    const struct change *c = &e->change;

    if (b->len)
        buf_add_char(b, ' ');
    if (e->kind == EVENT_BEGIN) {
        buf_printf(b, "B%u", e->transaction->xid);
    } else if (e->kind == EVENT_COMMIT) {
        buf_printf(b, "C%u@%lX", e->transaction->xid, (unsigned long)e->transaction->end_lsn);
    } else if (e->kind == EVENT_CHANGE) {
        buf_printf(b, "%c %s.%s", "IUD"[c->op], c->relation->schema, c->relation->name);
        if (c->old_row)
            add_row(b, c->old_kind == OLD_KEY ? "K" : "O", c->old_row, c->relation);
        if (c->new_row)
            add_row(b, "N", c->new_row, c->relation);
    } else {
        buf_printf(b, "?%d", (int)e->kind);
    }
}

/* Takes a message, or what there is of it. */
static bool take(struct session *s, const char *bytes, size_t len)
{
    struct event e;
    enum outcome outcome;

    free(s->block);
    s->block = malloc(len ? len : 1);
    if (!s->block)
        log_out_of_memory();
    if (len)
        memcpy(s->block, bytes, len);
    memset(&e, 0xa5, sizeof e);
    outcome = decoder_take(s->decoder, s->lsn, len ? s->block : s->block + 1, len, &e);
    for (; outcome == OUTCOME_OK && e.kind != EVENT_NONE; outcome = decoder_next(s->decoder, &e)) {
        if (e.lsn != s->lsn || !e.transaction)
            buf_add_str(&s->events, " wrong");
        add_event(&s->events, &e);
    }
    s->lsn += 0x10;
    s->refused = outcome != OUTCOME_OK;
    return !s->refused;
}

static void keep_alive(struct session *s, const char *position)
{
    struct event e;

    memset(&e, 0xa5, sizeof e);
    decoder_keepalive(s->decoder, strtoull(position, NULL, 16), &e);
    if (e.kind != EVENT_NONE)
        add_event(&s->events, &e);
}

/* Takes all messages of a notation, up to one that is refused; returns the events of them. */
static const char *play(struct session *s, const char *spec)
{
    struct buf b;

    s->events.len = 0;
    s->refused = false;
    buf_init(&b, 256);
    while (spec && !s->refused) {
        const char *next = strchr(spec, '|');

        spec += strspn(spec, " ");
        b.len = 0;
        if (*spec == '@') {
            keep_alive(s, spec + 1);
        } else {
            put_fields(&b, spec);
            take(s, b.data, b.len);
        }
        spec = next ? next + 1 : NULL;
    }
    if (s->refused)
        buf_add_str(&s->events, " refused");
    buf_release(&b);
    buf_add_char(&s->events, '\0');
    return s->events.data;
}

static bool gives(struct session *s, const char *spec, const char *expected, const char *name)
{
    bool right = is_str(play(s, spec), expected, name);

    if (!right)
        tap_note("log: %s", logged());
    return right;
}

#define BEGIN "1=7 2=1600000000000005 4=3"
#define COMMIT "1=7 2=1600000000000005 4=4"
#define INSERT "1=7 2=5 3='s.t' 4=0 5{1='id' 2=23 3=1}"

/* ---- transactions ---- */

static void test_enclosed(void)
{
    const struct transaction *t;
    struct session s;

    session_start(&s);
    t = &s.decoder->transaction;
    gives(&s, BEGIN, "B7", "BEGIN");
    ok(t->commit_time == INT64_C(1600000000000005) && t->commit_lsn == 0 && t->end_lsn == 0 &&
       !t->changed && !t->gid && !t->prepared && s.decoder->in_transaction,
       "... tells of the transaction");
    gives(&s, INSERT, "I s.t N(id='1')", "a row");
    ok(t->changed, "... is a change of it");
    gives(&s, COMMIT, "C7@1020", "COMMIT stands at the end of its record");
    gives(&s, "1=8 4=3 | 1=8 4=4", "B8 C8@1040", "one without a time, and without a row");
    ok(!t->changed && t->commit_time == 0, "... has nothing of the one before");
    gives(&s, BEGIN " | @9000 | @A000 | " INSERT, "B7 I s.t N(id='1')", "keepalives mean nothing");
    decoder_restart(s.decoder);
    gives(&s, BEGIN " | " COMMIT, "B7 C7@1080", "a new connection starts outside of transactions");
    session_end(&s);
}

/* A row of transaction %d. */
#define ROW(xid) "1=" #xid " 3='s.t' 4=0 5{1='id' 2=23 3=1}"
#define GOT "I s.t N(id='1')"

/* Without BEGIN and COMMIT, each in a connection of its own. */
static const struct {
    const char *spec;
    const char *expected;
} alone[] = {
    {ROW(5), "B5 " GOT},
    {ROW(5) " | " ROW(5), "B5 " GOT " " GOT},
    {ROW(5) " | " ROW(6), "B5 " GOT " C5@0 B6 " GOT},
    {ROW(5) " | " ROW(6) " | " ROW(5), "B5 " GOT " C5@0 B6 " GOT " C6@0 B5 " GOT},
    {ROW(5) " | @2000", "B5 " GOT},
    {ROW(5) " | @2000 | @2000", "B5 " GOT},
    {ROW(5) " | @2000 | @1FFF", "B5 " GOT},
    {ROW(5) " | @2000 | @2001", "B5 " GOT " C5@2001"},
    {ROW(5) " | @2000 | @2000 | @1F00 | @2001 | @2002", "B5 " GOT " C5@2001"},
    {ROW(5) " | @2000 | " ROW(5) " | @2001 | @2001", "B5 " GOT " " GOT},
    {ROW(5) " | @2000 | " ROW(5) " | @2000 | @2001", "B5 " GOT " " GOT " C5@2001"},
    {ROW(5) " | @2000 | " ROW(6), "B5 " GOT " C5@2000 B6 " GOT},
    {ROW(5) " | @2000 | " ROW(5) " | " ROW(6), "B5 " GOT " " GOT " C5@0 B6 " GOT},
    {ROW(5) " | @2000 | @2000 | " ROW(6) " | " ROW(7),
     "B5 " GOT " C5@2000 B6 " GOT " C6@0 B7 " GOT},
    {ROW(5) " | @2000 | @3000 | " ROW(6) " | @3000", "B5 " GOT " C5@3000 B6 " GOT},
    {ROW(5) " | @2000 | @3000 | " ROW(6) " | " ROW(5),
     "B5 " GOT " C5@3000 B6 " GOT " C6@0 B5 " GOT},
    {"@1000 | @2000 | " ROW(5) " | @3000", "B5 " GOT},
    {ROW(5) " | @0 | @1", "B5 " GOT},
    {ROW(0) " | @1 | @2 | " ROW(0), "B0 " GOT " C0@2 B0 " GOT},
    /* An update that has not been sent is one of the transaction all the same. */
    {"1=5 3='s.t' 4=1 | " ROW(6), "B5 C5@0 B6 " GOT},
};

static void test_alone(void)
{
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
        struct session s;

        session_start(&s);
        gives(&s, alone[i].spec, alone[i].expected, alone[i].spec);
        session_end(&s);
    }
}

static void test_alone_restarted(void)
{
    struct session s;

    session_start(&s);
    play(&s, ROW(5) " | @2000");
    decoder_restart(s.decoder);
    gives(&s, "@3000 | @4000", "", "a new connection knows of no transaction");
    gives(&s, ROW(5) " | @3000 | @4000", "B5 " GOT " C5@4000", "... and begins the same anew");
    decoder_restart(s.decoder);
    gives(&s, ROW(5), "B5 " GOT, "... even when it had ended");
    decoder_restart(s.decoder);
    gives(&s, BEGIN " | " COMMIT, "B7 C7@1040", "... and may have another version of the plugin");
    session_end(&s);
}

/* What the pipeline does with a transaction that it does not want. */
static void test_left(void)
{
    struct buf b;
    struct event e;
    struct session s;

    session_start(&s);
    buf_init(&b, 64);
    put_fields(&b, ROW(5));
    ok(decoder_take(s.decoder, 1, b.data, b.len, &e) == OUTCOME_OK && e.kind == EVENT_BEGIN,
       "a transaction begins");
    decoder_leave(s.decoder);
    ok(decoder_next(s.decoder, &e) == OUTCOME_OK && e.kind == EVENT_NONE, "... and is left");
    buf_release(&b);
    session_end(&s);
}

/* ---- names ---- */

/* As they are sent, and as the relation has them. */
static const struct {
    const char *table;
    const char *column;
    const char *expected;
} names[] = {
    {"public.t", "id", "I public.t N(id=null)"},
    {"\"S.c\".t", "\"Id\"", "I S.c.t N(Id=null)"},
    {"s.\"My \"\"T.x\"", "\"a\"\"b\"", "I s.My \"T.x N(a\"b=null)"},
    {"\"\"\"\".\"\"\"\"\"\"", "\"\"\"\"", "I \".\"\" N(\"=null)"},
    {"\"a.b\".\"c.d\"", "\".\"", "I a.b.c.d N(.=null)"},
    {"a.\"b \"", "\" \"", "I a.b  N( =null)"},
    {"s.t\xc3\xa9", "\xc3\xa9", "I s.t\xc3\xa9 N(\xc3\xa9=null)"},
};

static void test_names(void)
{
    struct session s;

    session_start(&s);
    play(&s, BEGIN);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *spec = xasprintf("1=7 3='%s' 4=0 5{1='%s' 2=25}", names[i].table, names[i].column);

        gives(&s, spec, names[i].expected, names[i].table);
        free(spec);
    }
    session_end(&s);
}

static void test_charset(void)
{
    struct session s;

    session_start_in(&s, "LATIN1");
    gives(&s, BEGIN " | 1=7 3x222ee9222e22e8222222 4=0 5{1xe9 2=25 8xe861} 5{1='b' 2=17 9xe9}"
          " 5{1='e' 2=9999 9xe9} 7{1xe9 2=1} 7{1='bytea' 2=1} 7{1='e' 2=1}",
          "B7 I .\xc3\xa9.\xc3\xa8\" N(\xc3\xa9='\\c3\\a8a',b='\\xe9',e='\\c3\\a9')",
          "names, texts and types are converted, bytes are not");
    session_end(&s);
    session_start_in(&s, "EUC_JP");
    gives(&s, BEGIN " | 1=7 3='s.t' 4=0 5{1='a' 2=25 8x61ff}", "B7 refused", "text that is none");
    ok(strstr(logged(), "in the encoding of the database, at byte 19") != NULL, "... and where");
    session_end(&s);
}

/* ---- values ---- */

/* The value of a column of that type, as sent and as text. */
static const struct {
    unsigned oid;
    const char *sent;
    const char *text;
} values[] = {
    {16, "7=1", "t"},
    {16, "7=0", "f"},
    {16, "7=2", "t"},
    {21, "3=-32768", "-32768"},
    {23, "3=2147483647", "2147483647"},
    {23, "3=-2147483648", "-2147483648"},
    {20, "4=9223372036854775807", "9223372036854775807"},
    {20, "4=-9223372036854775808", "-9223372036854775808"},
    {26, "4=4294967295", "4294967295"},
    {26, "4=-1", "4294967295"}, /* versions before 2021-08 */
    {0, "3=5", "5"},
    {0, "4=5", "5"},

    {700, "5:3f8ccccd", "1.1"},
    {700, "5:7fc00000", "NaN"},
    {700, "5:ff800000", "-Infinity"},
    {700, "5:80000000", "-0"},
    {700, "5:00000001", "1e-45"},
    {701, "6:3ff199999999999a", "1.1"},
    {701, "6:fff8000000000000", "NaN"},
    {701, "6:7ff0000000000000", "Infinity"},
    {701, "6:8000000000000000", "-0"},
    {701, "6:0000000000000001", "5e-324"},
    {701, "6:7fefffffffffffff", "1.7976931348623157e+308"},

    {1082, "3=0", "1970-01-01"},
    {1082, "3=10957", "2000-01-01"},
    {1082, "3=-719528", "0001-01-01 BC"},
    {1082, "3=-2440588", "4714-11-24 BC"},
    {1082, "3=2145042905", "5874897-12-31"},
    {1082, "3=-2147472692", "infinity"}, /* 2147483647 + 10957 */
    {1082, "3=-2147472691", "-infinity"},
    {1083, "4=0", "00:00:00"},
    {1083, "4=45296789000", "12:34:56.789"},
    {1083, "4=86400000000", "24:00:00"},
    {1114, "4=0", "1970-01-01 00:00:00"},
    {1114, "4=-1", "1969-12-31 23:59:59.999999"},
    {1114, "4=9223372036854775807", "infinity"},
    {1114, "4=-9223372036854775808", "-infinity"},
    {1114, "4=-210866803200000000", "4714-11-24 00:00:00 BC"},
    {1114, "4=-9222426057709551617", "294276-12-31 23:59:59.999999"}, /* has wrapped around */
    {1114, "4=-9223372036854775807", "294247-01-10 04:00:54.775809"},
    {1184, "4=1767323045678000", "2026-01-02 03:04:05.678+00"},
    {1184, "4=-9222426057709551617", "294276-12-31 23:59:59.999999+00"},
    {1184, "4=9223372036854775807", "infinity"},
    {790, "4=0", "$0.00"},
    {790, "4=-110", "-$1.10"},
    {790, "4=9223372036854775807", "$92,233,720,368,547,758.07"},
    {790, "4=-9223372036854775808", "-$92,233,720,368,547,758.08"},

    {1266, "6:0000000000000000", "00:00:00+00"},
    {1266, "6:8000000000000000", "00:00:00+00"},
    {1266, "6:42334d399d000000", "23:01:40+00"}, /* 82900000000 */
    {1266, "6:3ff0000000000000", "00:00:00.000001+00"},
    {1266, "6:bff0000000000000", "23:59:59.999999+00"},
    {1266, "6:c1fad27480000000", "22:00:00+00"}, /* -7200000000: 00:00+02 */
    {1266, "6:4240c3812edf8000", "15:59:58.999999+00"}, /* 143998999999 */
    {1266, "6:42341dd760000000", "24:00:00+00"},
    {1266, "6:42341dd760010000", "00:00:00.000001+00"},
    {1266, "8='12:00:00+02'", "12:00:00+02"},
    {1186, "8='1 day 02:03:00'", "1 day 02:03:00"},
    {1186, "6:0000000000000000", "00:00:00"},
    {1186, "6:c1fad27480000000", "-02:00:00"},
    {1186, "6:428322625bd00000", "730:30:00"}, /* a month */

    {600, "10{1:3ff8000000000000 2:c000000000000000}", "(1.5,-2)"},
    {600, "10{2:7ff0000000000000 3=5 1:7ff8000000000000 1:8000000000000000}", "(-0,Infinity)"},
    {17, "9x", "\\x"},
    {17, "9x00ff5c", "\\x00ff5c"},
    {17, "8='text'", "text"},
    {16825, "9='\\x01'", "\\x01"}, /* a domain over bytea: the server's text */
    {1007, "9='{1,NULL}'", "{1,NULL}"},
    {16400, "9x", ""},
    {25, "8=''", ""},
    {25, "8='a b'", "a b"},
    {1700, "8='12345678901234567890.10'", "12345678901234567890.10"},
    {1700, "8='NaN'", "NaN"},

    /* The last one counts. */
    {25, "3=5 8='a'", "a"},
    {23, "8='a' 3=5", "5"},
    {23, "11=1 3=5 99='x' 98=1 97:00000000 96:0000000000000000", "5"},
};

/* All of them in one decoder, as what one row leaves behind must not get into the next. */
static void test_values(void)
{
    struct session s;

    session_start(&s);
    play(&s, BEGIN);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char *spec = xasprintf("1=7 3='s.t%zu' 4=0 5{1='v' 2=%u %s}", i, values[i].oid,
                               values[i].sent);
        char *expected = xasprintf("I s.t%zu N(v='%s')", i, values[i].text);

        gives(&s, spec, expected, values[i].sent);
        free(spec);
        free(expected);
    }
    session_end(&s);
}

/* Values that no version of the plugin sends for the type. */
static const struct {
    unsigned oid;
    const char *sent;
} wrong_values[] = {
    {23, "3=2147483648"},
    {23, "3=-2147483649"},
    {23, "3=4294967295"},
    {1082, "3=2147483647"},
    {1083, "4=86400000001"},
    {1083, "4=-1"},
    {1114, "4=-210866803200000001"},
    {1184, "4=-9222426057709551616"},
    {1266, "6:7ff8000000000000"},
    {1266, "6:7ff0000000000000"},
    {1266, "6:3fe0000000000000"}, /* half a microsecond */
    {1266, "6:42441dd760000000"}, /* 48 hours */
    {1266, "6:c2341dd760000000"}, /* -24 hours */
    {1186, "6:7ff0000000000000"},
    {1186, "6:43e0000000000000"}, /* 2^63 */
    {1186, "6:3fe0000000000000"},
    {1700, "6:3ff0000000000000"},
    {25, "6:3ff0000000000000"},
    {600, "10{}"},
    {600, "10{1:3ff8000000000000}"},
    {600, "10{2:3ff8000000000000}"},
    {600, "10{1=1 2:3ff8000000000000}"},
    {600, "10{1:3ff8000000000000 2:3ff8000000000000 !0b}"},
    {16400, "10{1:3ff8000000000000 2:3ff8000000000000}"},
};

static void test_wrong_values(void)
{
    for (size_t i = 0; i < sizeof wrong_values / sizeof wrong_values[0]; i++) {
        char *spec = xasprintf(BEGIN " | 1=7 3='s.t' 4=0 5{1='v' 2=%u %s}", wrong_values[i].oid,
                               wrong_values[i].sent);
        struct session s;

        session_start(&s);
        play(&s, spec);
        ok(s.refused && strstr(logged(), "no value of the column's type"), "%u: %s",
           wrong_values[i].oid, wrong_values[i].sent);
        session_end(&s);
        free(spec);
    }
}

/* ---- rows ---- */

static const struct {
    const char *spec;
    const char *expected;
} rows[] = {
    {"4=0 5{1='a' 2=23 3=1} 5{1='b' 2=25 8='x'}", "I s.t N(a='1',b='x')"},
    {"4=0 5{1='a' 2=23} 5{1='b' 2=25}", "I s.t N(a=null,b=null)"},
    {"4=0", "I s.t N()"},
    {"4=1 5{1='a' 2=23 3=1} 5{1='b' 2=25 11=1}", "U s.t N(a='1',b=unchanged)"},
    {"4=1 5{1='a' 2=23 3=2} 5{1='b' 2=25 11=0} 6{1='a' 2=23 3=1} 6{1='b' 2=25}",
     "U s.t K(a='1') N(a='2',b=unchanged)"},
    {"4=1 5{1='a' 2=23 3=2} 5{1='b' 2=25 11=1} 6{1='a' 2=23 3=1} 6{1='b' 2=25 8='old'}",
     "U s.t K(a='1',b='old') N(a='2',b='old')"},
    {"4=1 5{1='a' 2=23 3=1} 5{1='b' 2=25 8='x'} 6{1='a' 2=23 3=1} 6{1='b' 2=25 11=1}",
     "U s.t K(a='1') N(a='1',b='x')"},
    {"4=1 5{1='a' 2=23 3=1} 5{1='b' 2=25 8='x'} 6{1='a' 2=23} 6{1='b' 2=25}",
     "U s.t K() N(a='1',b='x')"},
    {"4=2 6{1='a' 2=23 3=1} 6{1='b' 2=25}", "D s.t K(a='1')"},
    {"4=2 6{1='a' 2=23}", "D s.t K()"},
    {"4=2 6{1='a' 2=23} 6{1='b' 2=25 9='x'}", "D s.t K(b='x')"},
    {"4=2", "D s.t"},
    /* Fields come in any order, and rows may be mixed. */
    {"6{2=23 3=1 1='a'} 5{3=-7 2=23 1='a'} 6{8='x' 1='b' 2=25} 5{1='b' 8='y' 2=25} 4=0 4=1",
     "U s.t K(a='1',b='x') N(a='-7',b='y')"},
    {"7{1='integer' 2=0} 4=0 5{1='a' 2=23 3=1}", "I s.t N(a='1')"},
    {"4=0 5{1='a' 2=23 3=1} 8=1 9:00000000 10:0000000000000000 536870911='skipped'",
     "I s.t N(a='1')"},
};

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *spec = xasprintf("1=7 3='s.t' %s", rows[i].spec);
        struct session s;

        session_start(&s);
        play(&s, BEGIN);
        gives(&s, spec, rows[i].expected, rows[i].spec);
        ok(logged()[0] == '\0', "... without a word");
        session_end(&s);
        free(spec);
    }
}

/* Type modifier of `v`, which the catalogs have with 24, when it is sent with these types. */
static int32_t typmod_with(const char *types)
{
    char *spec = xasprintf(BEGIN " | 1=7 3='s.before' 4=0 5{1='id' 2=23} 5{1='v' 2=1043}"
                           " 7{1='integer' 2=0} 7{1='character varying(30)' 2=0}"
                           " | 1=7 3='s.t' 4=0 5{1='id' 2=23 3=1} 5{1='v' 2=1043} %s", types);
    const struct relations *all;
    struct session s;
    int32_t typmod;

    session_start(&s);
    s.exists = true;
    play(&s, spec);
    all = &s.decoder->relations;
    typmod = all->count ? all->by_index[all->count - 1]->columns[1].typmod : -2;
    session_end(&s);
    free(spec);
    return typmod;
}

static void test_types(void)
{
    ok(typmod_with("7{1='integer' 2=0} 7{1='character varying(20)' 2=1}") == 24,
       "a type as the catalogs have it");
    ok(typmod_with("7{1='integer' 2=0} 7{1='character varying(30)' 2=1}") == 34,
       "a type as they had it then");
    ok(typmod_with("") == 24, "no types");
}

enum { MANY = RELATION_MAX_COLUMNS };

/* A row with `n` columns of each kind. */
static char *wide(unsigned new, unsigned old, unsigned types)
{
    struct buf b;

    buf_init(&b, 64 * MANY);
    buf_add_str(&b, BEGIN " | 1=7 3='s.t' 4=1");
    for (unsigned i = 0; i < new; i++)
        buf_printf(&b, " 5{1='c%u' 2=23 3=%u}", i, i);
    for (unsigned i = 0; i < old; i++)
        buf_printf(&b, " 6{1='c%u' 2=17 9x00%02x}", i, i % 256);
    for (unsigned i = 0; i < types; i++)
        buf_add_str(&b, " 7{1='integer' 2=0}");
    buf_add_char(&b, '\0');
    return b.data;
}

static void test_wide(void)
{
    static const unsigned counts[][4] = {
        {MANY, 0, MANY, true}, {MANY, MANY, 0, true}, {MANY + 1, 0, 0, false},
        {1, MANY + 1, 0, false}, {1, 0, MANY + 1, false},
    };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char *spec = wide(counts[i][0], counts[i][1], counts[i][2]);
        struct session s;

        session_start(&s);
        play(&s, spec);
        /* Two rows with different types of the same columns do not make a relation. */
        ok(counts[i][1] == MANY ? !strstr(logged(), "too many")
                                : s.refused == !counts[i][3] &&
                                  !!strstr(logged(), "too many columns") == !counts[i][3],
           "%u new, %u old columns, %u types", counts[i][0], counts[i][1], counts[i][2]);
        session_end(&s);
        free(spec);
    }
}

/* ---- losses ---- */

/* What is warned of, once, and not by a decoder that meets with something else. */
static const struct {
    const char *spec;
    const char *expected;
    const char *warning;
} losses[] = {
    {BEGIN " | 1=7 3='s.t' 4=0 5{1='v' 2=1266 6:0000000000000000}", "B7 I s.t N(v='00:00:00+00')",
     "in GMT, without its zone, as in column \"v\" of table \"s.t\""},
    {BEGIN " | 1=7 3='s.t' 4=2 6{1='v' 2=1266 6:0000000000000000}", "B7 D s.t K(v='00:00:00+00')",
     "in GMT, without its zone, as in column \"v\" of table \"s.t\""},
    {BEGIN " | 1=7 3='s.t' 4=0 5{1='v' 2=1266 8='12:00+02'}", "B7 I s.t N(v='12:00+02')", NULL},
    {BEGIN " | 1=7 3='s.t' 4=0 5{1='v' 2=1266}", "B7 I s.t N(v=null)", NULL},
    {BEGIN " | 1=7 3='s.t' 4=0 5{1='v' 2=1186 6:0000000000000000}", "B7 I s.t N(v='00:00:00')",
     "intervals without their days and months, as in column \"v\" of table \"s.t\""},
    {BEGIN " | 1=7 3='s.\"T\"' 4=1", "B7", "has not sent an update of table \"s.T\""},
    {BEGIN " | 1=7 3='s.t' 4=1 5{1='v' 2=25}", "B7 U s.t N(v=null)", NULL},

    {"1=7 3='s.t' 4=1 5{1='v' 2=25}", "B7 U s.t N(v=null)",
     "may be unchanged values, as in column \"v\" of table \"s.t\""},
    {"1=7 3='s.t' 4=1 5{1='v' 2=25} 7{1='text' 2=1}", "B7 U s.t N(v=null)",
     "may be unchanged values, as in column \"v\" of table \"s.t\""},
    {"1=7 3='s.t' 4=1 5{1='v' 2=25} 7{1='text' 2=0}", "B7 U s.t N(v=unchanged)", NULL},
    {"1=7 3='s.t' 4=1 5{1='v' 2=23}", "B7 U s.t N(v=null)", NULL},
    {"1=7 3='s.t' 4=1 5{1='v' 2=1184}", "B7 U s.t N(v=null)", NULL},
    {"1=7 3='s.t' 4=0 5{1='v' 2=25}", "B7 I s.t N(v=null)", NULL},
    {"1=7 3='s.t' 4=1 5{1='v' 2=25} 5{1='w' 2=25 11=1}", "B7 U s.t N(v=null,w=unchanged)", NULL},
};

static void test_losses(void)
{
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        struct session s;
        const char *found;
        bool right;

        session_start(&s);
        gives(&s, losses[i].spec, losses[i].expected, losses[i].spec);
        found = strstr(logged(), "warning: ");
        right = losses[i].warning ? found && strstr(found, losses[i].warning) : !found;
        if (!ok(right, "... %s", losses[i].warning ? losses[i].warning : "without a warning"))
            tap_note("log: %s", logged());
        log_forget();
        decoder_restart(s.decoder);
        play(&s, losses[i].spec);
        ok(!strstr(logged(), "warning: "), "... and no second time");
        session_end(&s);
    }
}

/* ---- refusals ---- */

/* The last message is refused, and that is why. */
static const struct {
    const char *spec;
    const char *reason;
} refusals[] = {
    {"", "the operation is missing, at byte 0"},
    {BEGIN " | ", "the operation is missing, at byte 0"},
    {"1=7", "the operation is missing"},
    {"4=3", "the transaction's identifier is missing"},
    {"1=7 4=0 5{1='a' 2=23}", "the name of the table is missing"},
    {"1=7 4=2", "the name of the table is missing"},
    {"1=7 3='s.t' 4=-1", "unknown operation, at byte 7"},
    {"1=7 3='s.t' 4=5", "unknown operation"},
    {"1=4294967296 4=3", "identifier is out of range"},
    {"1=-1 4=3", "identifier is out of range"},
    {"1='7' 4=3", "a field has the wrong type"},
    {"1=7 4:00000003", "a field has the wrong type"},
    {"1=7 2:0000000000000000 4=3", "a field has the wrong type"},
    {"1=7 3=5 4=0", "a field has the wrong type"},
    {"1=7 3='s.t' 4=0 5=1", "a field has the wrong type"},
    {"1=7 3='s.t' 4=0 6:00000000", "a field has the wrong type"},
    {"1=7 3='s.t' 4=0 7=1", "a field has the wrong type"},

    {BEGIN " | " BEGIN, "begins within another"},
    {COMMIT, "has not begun"},
    {BEGIN " | " COMMIT " | " COMMIT, "has not begun"},
    {BEGIN " | " COMMIT " | " INSERT, "outside of a transaction"},
    {BEGIN " | 1=8 4=4", "of another transaction"},
    {BEGIN " | 1=8 3='s.t' 4=2", "of another transaction"},
    {INSERT " | " COMMIT, "enclosed where others were not"},
    {INSERT " | @2000 | @2001 | " BEGIN, "enclosed where others were not"},
    {INSERT " | @2000 | @2001 | " INSERT, "had come to its end"},

    {"1=7 3='' 4=2", "a name is empty"},
    {"1=7 3='t' 4=2", "has no schema"},
    {"1=7 3='\"s\"' 4=2", "has no schema"},
    {"1=7 3='\"s\"t' 4=2", "has no schema"},
    {"1=7 3='.t' 4=2", "a name is empty"},
    {"1=7 3='s.' 4=2", "a name is empty"},
    {"1=7 3='\"\".t' 4=2", "a name is empty"},
    {"1=7 3='s.\"\"' 4=2", "a name is empty"},
    {"1=7 3='\"' 4=2", "a quote is missing"},
    {"1=7 3='\"s.t' 4=2", "a quote is missing"},
    {"1=7 3='\"s\"\".t' 4=2", "a quote is missing"},
    {"1=7 3='s.\"t' 4=2", "a quote is missing"},
    {"1=7 3='s.\"t\"\"' 4=2", "a quote is missing"},
    {"1=7 3='s.t.u' 4=2", "something follows the name of the table"},
    {"1=7 3='s.\"t\"u' 4=2", "something follows the name of the table"},

    {"1=7 3='s.t' 4=0 5{}", "a column without a name"},
    {"1=7 3='s.t' 4=0 5{2=23 3=1}", "a column without a name"},
    {"1=7 3='s.t' 4=0 5{1='' 2=23}", "a name is empty"},
    {"1=7 3='s.t' 4=0 5{1='a.b' 2=23}", "something follows the name of a column"},
    {"1=7 3='s.t' 4=0 5{1='\"a\"b' 2=23}", "something follows the name of a column"},
    {"1=7 3='s.t' 4=0 5{1='\"a' 2=23}", "a quote is missing"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=4294967296}", "the OID of a type is out of range"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=-1}", "the OID of a type is out of range"},
    {"1=7 3='s.t' 4=0 5{1=5 2=23}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 2='x'}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 3:00000000}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 5=1}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 6:00000000}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 8=1}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 9=1}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 10=1}", "a field of a column has the wrong type"},
    {"1=7 3='s.t' 4=0 5{1='a' 11=''}", "a field of a column has the wrong type"},

    {"1=7 3='s.t' 4=0 5{1='a' 2=23} 7{1='x'}", "lacks a part"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=23} 7{2=1}", "lacks a part"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=23} 7{1='' 2=1}", "lacks a part"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=23} 7{1='x' 2=1} 7{1='x' 2=1}", "as many types as columns"},
    {"1=7 3='s.t' 4=0 5{1='a' 2=23} 5{1='b' 2=23} 7{1='x' 2=1}", "as many types as columns"},
    {"1=7 3='s.t' 4=2 6{1='a' 2=23 3=1} 7{1='x' 2=1}", "as many types as columns"},
    {"1=7 3='s.t' 4=1 6{1='a' 2=23 3=1}", "an update without the new row"},

    /* varints: without an end, of 11 bytes, of 65 bits; tags of no field, and of too large a one */
    {"1=7 4=3 !80", "a broken field, at byte 4"},
    {"1=7 4=3 !1080", "a broken integer"},
    {"1=7 4=3 !1080808080808080808080", "a broken integer"},
    {"1=7 4=3 !108080808080808080808000", "a broken integer"},
    {"1=7 4=3 !10ffffffffffffffffff02", "a broken integer"},
    {"1=7 4=3 !10ffffffffffffffffff7f", "a broken integer"},
    {"1=7 4=3 !00", "a broken field"},
    {"1=7 4=3 !0700", "a broken field"},
    {"1=7 4=3 !808080808000", "a broken field"},
    {"1=7 4=3 !f8ffffffff0f", "a broken field"},
    {"1=7 4=3 !808080808001", "a broken field"},
    {"1=7 4=3 !8880808080808080808000", "a broken field"},

    /* lengths */
    {"1=7 4=0 !1a", "a broken length"},
    {"1=7 4=0 !1a80", "a broken length"},
    {"1=7 4=0 !1affffffffffffffffffff", "a broken length"},
    {"1=7 4=0 !1a04732e74", "longer than the message"},
    {"1=7 4=0 !1affffffff0f732e74", "longer than the message"},
    {"1=7 4=0 !1a8080808010732e74", "longer than the message"},
    {"1=7 4=0 !1affffffffffffffffff01732e74", "longer than the message"},
    {"1=7 3='s.t' 4=0 !2a040a016110", "a broken integer"},
    {"1=7 3='s.t' 4=0 5{!0a0261}", "longer than the message"},
    {"1=7 3='s.t' 4=0 5{1='a' !420261} 5{1='b'}", "longer than the message"},
    {"1=7 3='s.t' 4=0 5{1='a'} 7{!0a0261}", "longer than the message"},
    {"1=7 3='s.t' 4=0 5{1='a' !2d000000} 5{1='b'}", "too short"},
    {"1=7 3='s.t' 4=0 5{1='a' !3100000000000000}", "too short"},
    {"1=7 4=3 !4d00", "too short"},
    {"1=7 4=3 !4100000000000000", "too short"},

    /* groups, and wire types that there are none of */
    {"1=7 4=3 !4b4c", "unknown kind of field"},
    {"1=7 4=3 !4c", "unknown kind of field"},
    {"1=7 4=3 !4e00", "unknown kind of field"},
    {"1=7 4=3 !4f00", "unknown kind of field"},
    {"1=7 3='s.t' 4=0 5{1='a' !e3060ae406}", "unknown kind of field"},

    /* the text of debug-mode, and JSON */
    {"!747869645b3832375d2c20636f6d6d6974", "could not decode the decoderbufs message at 0/1000"},
    {"!7b22616374696f6e223a2242227d", "could not decode the decoderbufs message at 0/1000"},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct session s;
        bool right;

        session_start(&s);
        play(&s, refusals[i].spec);
        right = s.refused && strstr(logged(), "could not decode the decoderbufs message at ") &&
                strstr(logged(), refusals[i].reason);
        if (!ok(right, "%s", refusals[i].spec))
            tap_note("%s; log: %s", s.events.data, logged());
        session_end(&s);
    }
}

/* ---- recorded messages ---- */

/* From PostgreSQL 15.20 and decoderbufs 2.1.2: every type that the plugin knows, and some more. */
static const struct {
    const char *message; /* in hexadecimal */
    const char *expected;
} recorded[] = {
    {"08bc0610cbb495d5a89998032003",
     "B828"},
    {"08bc0610cbb495d5a89998031a087075626c69632e7420012a080a026964101718012a100a0173101518fefffff"
     "fffffffffff012a100a016c101420808080808080808080012a0b0a016f101a20ffffffff0f2a0c0a02663410bc"
     "052dcdcc8c3f2a100a02663810bd0531000000000000f87f2a080a02626f101038012a0e0a02636810920842056"
     "1622020202a0a0a0276631093084201772a0e0a0274781019420678220a27c3a92a0c0a016e10a40d4204312e35"
     "302a0e0a016a107242077b2261223a317d2a110a026a6210da1d42087b2261223a20317d2a0c0a0178108e01420"
     "43c612f3e2a0c0a02627410980c42033130312a0b0a027662109a0c420231312a2c0a0175108617422431313131"
     "313131312d323232322d333333332d343434342d3535353535353535353535352a170a02697610a209420e31206"
     "461792030323a30333a30302a110a016d1096062092ffffffffffffffff012a100a02747310da0820b097ddb2ef"
     "eb91032a110a02747a10a00920ffffffffffffffff7f2a0a0a016410ba0818e79f012a0e0a02746910bb082088c"
     "c98dfa8012a110a0374747a10f20931000000d088c320422a090a016210114a0200ff2a1a0a017010d804521209"
     "000000000000f83f1100000000000000402a0a0a016510b183014a01612a100a016110ef074a087b312c4e554c4"
     "c7d2a0d0a02646e10b783014a034e614e2a0e0a02646210b983014a045c7830312a0b0a02646910bb83014a0135"
     "2a110a016810bd83014a082261223d3e2231222a0d0a017210c01e4a055b312c32292a080a016310124201632a0"
     "a0a026e6d10134a026e6d2a090a027869101c4a01352a100a02697010e5064a07312e322e332e342a110a037473"
     "76109e1c4a07276127202762272a100a02706110da044a075b28312c32295d2a120a02626110e9074a097b225c5"
     "c783030227d2a090a03626967101958013a0b0a07696e746567657210003a0c0a08736d616c6c696e7410013a0a"
     "0a06626967696e7410013a070a036f696410013a080a047265616c10013a140a10646f75626c652070726563697"
     "3696f6e10013a0b0a07626f6f6c65616e10013a100a0c63686172616374657228352910013a190a156368617261"
     "637465722076617279696e672832302910013a080a047465787410013a110a0d6e756d657269632831302c32291"
     "0003a080a046a736f6e10013a090a056a736f6e6210013a070a03786d6c10013a0a0a0662697428332910013a0f"
     "0a0b6269742076617279696e6710013a080a047575696410013a0c0a08696e74657276616c10013a090a056d6f6"
     "e657910013a1f0a1b74696d657374616d7020776974686f75742074696d65207a6f6e6510013a1c0a1874696d65"
     "7374616d7020776974682074696d65207a6f6e6510013a080a046461746510013a1a0a1674696d6520776974686"
     "f75742074696d65207a6f6e6510013a170a1374696d6520776974682074696d65207a6f6e6510013a090a056279"
     "74656110013a090a05706f696e7410013a0d0a09224d7920456e756d2210013a0d0a09696e74656765725b5d100"
     "13a080a04646e756d10013a0a0a0664627974656110013a080a0464696e7410013a0a0a066873746f726510013a"
     "0d0a09696e743472616e676510013a0a0a0622636861722210013a080a046e616d6510013a070a0378696410013"
     "a080a04696e657410013a0c0a087473766563746f7210013a080a047061746810013a0b0a0762797465615b5d10"
     "013a080a04746578741001",
     "U public.t N(id='1',s='-2',l='-9223372036854775808',o='4294967295',f4='1.1',f8='NaN',bo='t"
     "',ch='ab   ',vc='w',tx='x\"\\0a'\\c3\\a9',n='1.50',j='{\"a\":1}',jb='{\"a\": 1}',x='<a/>',"
     "bt='101',vb='11',u='11111111-2222-3333-4444-555555555555',iv='1 day 02:03:00',m='-$1.10',t"
     "s='2026-01-02 03:04:05.678',tz='infinity',d='2026-01-02',ti='12:34:56.789',ttz='10:00:00+0"
     "0',b='\\x00ff',p='(1.5,2)',e='a',a='{1,NULL}',dn='NaN',db='\\x01',di='5',h='\"a\"=>\"1\"',"
     "r='[1,2)',c='c',nm='nm',xi='5',ip='1.2.3.4',tsv=''a' 'b'',pa='[(1,2)]',ba='{\"\\\\x00\"}',"
     "big=unchanged)"},
    {"08bc0610cbb495d5a89998032004",
     "C828@1020"},
    {"08bf0610dcbe95d5a89998032003",
     "B831"},
    {"08bf0610dcbe95d5a89998031a087075626c69632e74200232080a0269641017180232050a0173101532050a016"
     "c101432050a016f101a32070a02663410bc0532070a02663810bd0532060a02626f101032070a02636810920832"
     "070a02766310930832060a027478101932060a016e10a40d32050a016a107232070a026a6210da1d32060a01781"
     "08e0132070a02627410980c32070a027662109a0c32060a017510861732070a02697610a20932060a016d109606"
     "32070a02747310da0832070a02747a10a00932060a016410ba0832070a02746910bb0832080a0374747a10f2093"
     "2050a0162101132060a017010d80432070a016510b1830132060a016110ef0732080a02646e10b7830132080a02"
     "646210b9830132080a02646910bb830132070a016810bd830132060a017210c01e32050a0163101232060a026e6"
     "d101332060a027869101c32070a02697010e50632080a03747376109e1c32070a02706110da0432070a02626110"
     "e90732070a036269671019",
     "D public.t K(id='2')"},
    {"08bf0610dcbe95d5a89998032004",
     "C831@1050"},
    {"08c10610abc695d5a89998032003",
     "B833"},
    {"08c10610abc695d5a89998031a0d7075626c69632e66756c6c5f7420012a080a026964101718012a080a0161101"
     "94201612a050a016210192a070a016e1017180532080a0269641017180132080a0161101942016132050a016210"
     "1932050a016e10173a0b0a07696e746567657210003a080a047465787410013a080a047465787410013a0b0a076"
     "96e74656765721001",
     "U public.full_t K(id='1',a='a') N(id='1',a='a',b=null,n='5')"},
    {"08c10610abc695d5a89998032004",
     "C833@1080"},
    {"08c40610a9c895d5a89998032003",
     "B836"},
    {"08c40610a9c895d5a89998031a0c7075626c69632e6e6f6b65792001",
     ""},
    {"08c40610a9c895d5a89998032004",
     "C836@10B0"},
    {"08c60610fec995d5a89998032003",
     "B838"},
    {"08c60610fec995d5a89998031a1022532e63222e224d79202222542e782220002a080a026964101718012a0c0a0"
     "6226122226222101718023a0b0a07696e746567657210003a0b0a07696e74656765721001",
     "I S.c.My \"T.x N(id='1',a\"b='2')"},
    {"08c60610fec995d5a89998032004",
     "C838@10E0"},
};

static void take_hex(struct session *s, const char *digits)
{
    struct buf b;

    buf_init(&b, 2048);
    put_hex(&b, digits, strlen(digits));
    take(s, b.data, b.len);
    buf_release(&b);
}

static void test_recorded(void)
{
    struct session s;

    session_start(&s);
    for (size_t i = 0; i < sizeof recorded / sizeof recorded[0]; i++) {
        s.events.len = 0;
        take_hex(&s, recorded[i].message);
        is_text(s.events.data, s.events.len, recorded[i].expected, "a recorded message");
    }
    session_end(&s);
}

/* ---- broken messages ---- */

static bool is_boundary(const char *bytes, size_t len, size_t cut)
{
    struct reader r = {.p = bytes, .end = bytes + len};
    struct protobuf_field f;

    while (r.p < bytes + cut)
        if (protobuf_next(&r, &f))
            return false;
    return r.p == bytes + cut;
}

/* Whether every beginning of the message is refused, but for those that end where a field does. */
static bool refuses_beginnings(const char *bytes, size_t len)
{
    bool right = true;

    for (size_t cut = 0; cut < len; cut++) {
        struct session s;

        session_start(&s);
        take(&s, bytes, cut);
        if (!s.refused && !is_boundary(bytes, len, cut)) {
            tap_note("cut at byte %zu", cut);
            right = false;
        }
        session_end(&s);
    }
    return right;
}

static void test_truncated(void)
{
    for (size_t i = 0; i < sizeof recorded / sizeof recorded[0]; i++) {
        struct buf b;

        buf_init(&b, 2048);
        put_hex(&b, recorded[i].message, strlen(recorded[i].message));
        ok(refuses_beginnings(b.data, b.len), "no beginnings of recorded message %zu", i);
        buf_release(&b);
    }
}

/* ---- mutations ---- */

#define CORPUS "tests/fuzz/corpus/decoderbufs"

enum { MUTATIONS = 20000, MAX_SEEDS = 64, MAX_SEED = 4096, ROOM = 3 * MAX_SEED };

static struct {
    unsigned char *bytes[MAX_SEEDS];
    size_t len[MAX_SEEDS];
    unsigned n;
} seeds;

static void add_seed(const char *name)
{
    char *path = xasprintf(CORPUS "/%s", name);
    FILE *file = fopen(path, "rb");

    if (file && seeds.n < MAX_SEEDS) {
        seeds.bytes[seeds.n] = xcalloc(MAX_SEED, 1);
        seeds.len[seeds.n] = fread(seeds.bytes[seeds.n], 1, MAX_SEED, file);
        seeds.n++;
    }
    if (file)
        fclose(file);
    free(path);
}

static void read_seeds(void)
{
    struct dirent **entries;
    int n = scandir(CORPUS, &entries, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.')
            add_seed(entries[i]->d_name);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* xorshift64*: the same inputs every time. */
static unsigned random_below(unsigned n)
{
    static uint64_t state = UINT64_C(88172645463325252);

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (unsigned)((state * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* Changes a byte, or copies, moves or cuts out some, all of it within room for ROOM. */
static size_t mutate(unsigned char *bytes, size_t len)
{
    static const unsigned char likely[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x0a, 0x10, 0x2a, 0x32, '"'};
    unsigned at = random_below((unsigned)len), other = random_below((unsigned)len);
    unsigned most = (unsigned)len - (at > other ? at : other);
    unsigned n = 1 + random_below(most < 64 ? most : 64);

    switch (random_below(6)) {
    case 0:
        bytes[at] ^= (unsigned char)(1u << random_below(8));
        return len;
    case 1:
        bytes[at] = likely[random_below(sizeof likely)];
        return len;
    case 2:
        bytes[at] = (unsigned char)random_below(256);
        return len;
    case 3:
        memmove(bytes + at, bytes + other, n);
        return len;
    case 4:
        memmove(bytes + at, bytes + at + n, len - at - n);
        return len > n ? len - n : len;
    default:
        if (len + n > ROOM)
            return len;
        memmove(bytes + at + n, bytes + at, len - at);
        return len + n;
    }
}

/* Nothing may come of them that the sanitizers or the checks of the fuzz target object to. */
static void test_mutations(void)
{
    unsigned char *bytes = xcalloc(ROOM, 1);

    read_seeds();
    for (unsigned i = 0; i < MUTATIONS && seeds.n; i++) {
        unsigned seed = i % seeds.n;
        size_t len = seeds.len[seed];

        memcpy(bytes, seeds.bytes[seed], len);
        for (unsigned n = i < seeds.n ? 0 : 1 + random_below(4); n > 0 && len > 1; n--)
            len = mutate(bytes, len);
        LLVMFuzzerTestOneInput(bytes, len);
        if (i % 1000 == 0)
            log_forget();
    }
    ok(seeds.n > 0, "%d mutations of the seeds in " CORPUS, MUTATIONS);
    for (unsigned i = 0; i < seeds.n; i++)
        free(seeds.bytes[i]);
    free(bytes);
}

int main(void)
{
    capture_start();
    test_enclosed();
    test_alone();
    test_alone_restarted();
    test_left();
    test_names();
    test_charset();
    test_values();
    test_wrong_values();
    test_rows();
    test_types();
    test_wide();
    test_losses();
    test_refusals();
    test_recorded();
    test_truncated();
    test_mutations();
    ok(!leaks(), "nothing is left behind");
    capture_end();
    return tap_done();
}
