/*
 * wal2json_test - the decoder of wal2json: what every message of both formats gives, and what it
 * refuses, and where.
 *
 * In messages here ' stands for the double quote of JSON and ` for an apostrophe; ~ parts messages.
 * Message n of a stream (from 1) has the LSN 0/n00.  What comes of them is printed: "; " parts the
 * events of a message, " | " messages, and behind a ! stands what was logged.  Whether an old row is
 * a key or whole is a matter of table.c and not printed.  Payloads are handed over in blocks of
 * exactly their size, so that the address sanitizer sees a byte too many.
 */
#include "decode/wal2json.h"

#include "base/buf.h"
#include "decode/commit_time.h"
#include "decode/json_scan.h"
#include "decode/table.h"
#include "tests/unit/capture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the catalogs ---- */

/* There is one table in them, "known"; all others are as the messages show them. */
static enum outcome describe(void *arg, const char *schema, const char *table,
                             struct description *d)
{
    (void)arg;
    if (strcmp(table, "known") != 0)
        return OUTCOME_OK;
    *d = (struct description){
        .exists = true,
        .oid = 16400,
        .schema = xstrdup(schema),
        .name = xstrdup(table),
        .identity = 'd',
        .own_identity = 'd',
        .ncolumns = 2,
        .columns = xcalloc(2, sizeof(struct described_column)),
    };
    d->columns[0] = (struct described_column){
        .name = xstrdup("id"), .type_oid = 23, .typmod = -1, .type = xstrdup("integer"),
        .bare_type = xstrdup("integer"), .identity = true, .candidate = true,
    };
    d->columns[1] = (struct described_column){
        .name = xstrdup("n"), .type_oid = 1700, .typmod = -1, .type = xstrdup("numeric"),
        .bare_type = xstrdup("numeric"), .position = 1, .nullable = true, .toastable = true,
        .number = true,
    };
    return OUTCOME_OK;
}

/* Types that are asked for by name have OIDs of their own here. */
static enum outcome find_type(void *arg, const char *type, uint32_t *oid)
{
    static const char *const names[] = {
        "integer", "bytea", "?", "\"o ther\".\"T p\"", "\"o ther\".tp(1,2)", "\"q\"\"q\"",
        "\"My Enum\"", "\"My Enum\"[]", "My Enum", "\"a,}]b\".c",
    };

    (void)arg;
    *oid = 1003;
    for (uint32_t i = 0; i < COUNT(names); i++)
        if (strcmp(type, names[i]) == 0)
            *oid = 1001 + i;
    return OUTCOME_OK;
}

static enum outcome find_nothing(void *arg, const char *schema, const char *table,
                                 struct description *d)
{
    (void)arg, (void)schema, (void)table, (void)d;
    log_error("the catalogs are not there");
    return OUTCOME_UNAVAILABLE;
}

static struct describer describer = {.describe = describe, .find_type = find_type};
static struct describer no_describer = {.describe = find_nothing, .find_type = find_type};

/* ---- events as text ---- */

static void print_row(struct buf *b, const char *tag, const struct relation *r,
                      const struct value *row)
{
    static const char *const words[] = {
        [VALUE_ABSENT] = "absent", [VALUE_NULL] = "null", [VALUE_UNCHANGED] = "unchanged",
        [VALUE_LOST] = "lost",
        [VALUE_BINARY] = "binary",
    };

    buf_printf(b, " %s(", tag);
    for (int i = 0; i < r->ncolumns; i++) {
        buf_printf(b, "%s%s:%u=", i ? ", " : "", r->columns[i].name, r->columns[i].type_oid);
        if (row[i].kind == VALUE_TEXT)
            buf_add(b, row[i].data, row[i].len);
        else
            buf_add_str(b, words[row[i].kind]);
    }
    buf_add_char(b, ')');
}

static void print_change(struct buf *b, const struct change *c)
{
    static const char *const operations[] = {
        [OP_INSERT] = "insert", [OP_UPDATE] = "update", [OP_DELETE] = "delete",
    };

    buf_printf(b, "%s %s.%s " LSN_FMT, operations[c->op], c->relation->schema, c->relation->name,
               LSN_ARGS(c->lsn));
    if (c->old_row)
        print_row(b, "old", c->relation, c->old_row);
    if (c->new_row)
        print_row(b, "new", c->relation, c->new_row);
}

static void print_transaction(struct buf *b, const char *word, const struct transaction *t)
{
    buf_printf(b, "%s %u commit " LSN_FMT " end " LSN_FMT " time %lld%s", word, t->xid,
               LSN_ARGS(t->commit_lsn), LSN_ARGS(t->end_lsn), (long long)t->commit_time,
               t->changed ? " changed" : "");
}

static void print_message(struct buf *b, const struct event *e)
{
    const struct message *m = &e->message;

    buf_printf(b, "message " LSN_FMT " %s%s %s=", LSN_ARGS(m->lsn),
               m->transactional ? "transactional" : "free",
               e->transaction ? "" : " outside", m->prefix);
    buf_add(b, m->content, m->len);
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
    case EVENT_CHANGE:
        print_change(b, &e->change);
        break;
    case EVENT_TRUNCATE:
        buf_printf(b, "truncate %s.%s", e->relations[0]->schema, e->relations[0]->name);
        break;
    case EVENT_MESSAGE:
        print_message(b, e);
        break;
    default:
        buf_printf(b, "event %d", (int)e->kind);
        break;
    }
}

/* ---- a decoder at work ---- */

struct session {
    struct decoder *decoder;
    struct event event;
    struct buf out;
    unsigned messages;
    lsn_t lsn;
};

static void session_start(struct session *s)
{
    *s = (struct session){0};
    s->decoder = decoder_new(&(struct decoder_setup){
        .kind = &decoder_wal2json, .describer = &describer, .encoding = "UTF8",
    });
    buf_init(&s->out, 256);
}

static void session_end(struct session *s)
{
    decoder_free(s->decoder);
    buf_release(&s->out);
}

static void to_json(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        text[i] = text[i] == '\'' ? '"' : text[i] == '`' ? '\'' : text[i];
}

/* Takes all that one message gives, and prints it; the payload is the caller's. */
static enum outcome drain(struct session *s, char *payload, size_t len)
{
    enum outcome outcome;
    unsigned n = 0;

    memset(&s->event, 0xa5, sizeof s->event);
    s->lsn = ++s->messages * UINT64_C(0x100);
    outcome = decoder_take(s->decoder, s->lsn, payload, len, &s->event);
    for (; outcome == OUTCOME_OK && s->event.kind != EVENT_NONE;
         outcome = decoder_next(s->decoder, &s->event)) {
        buf_add_str(&s->out, n++ ? "; " : "");
        print_event(&s->out, &s->event);
        if (s->event.lsn != s->lsn)
            buf_printf(&s->out, " with another LSN");
    }
    return outcome;
}

/* A message of len bytes as it stands in the tests; in a block of exactly that size. */
static enum outcome feed(struct session *s, const char *text, size_t len)
{
    char *block = malloc(len ? len : 1);
    enum outcome outcome;

    if (!block)
        log_out_of_memory();
    if (len)
        memcpy(block, text, len);
    to_json(block, len);
    outcome = drain(s, len ? block : block + 1, len);
    free(block);
    return outcome;
}

/* All messages of a stream; the result is good until the next call. */
static const char *run(struct session *s, const char *stream)
{
    s->out.len = 0;
    log_forget();
    for (const char *p = stream;; p++) {
        size_t len = strcspn(p, "~");
        enum outcome outcome = feed(s, p, len);

        p += len;
        if (outcome != OUTCOME_OK) {
            buf_printf(&s->out, "! %s", logged());
            while (s->out.len && s->out.data[s->out.len - 1] == '\n')
                s->out.len--;
            break;
        }
        if (!*p)
            break;
        buf_add_str(&s->out, " | ");
    }
    buf_add_char(&s->out, '\0');
    return s->out.data;
}

struct example {
    const char *name;
    const char *stream;
    const char *expected;
};

static void test_examples(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct session s;

        session_start(&s);
        is_str(run(&s, examples[i].stream), examples[i].expected, examples[i].name);
        session_end(&s);
    }
}

/* ---- format 2 ---- */

/* As PostgreSQL 15.20 and wal2json 2.5 sent them. */
#define B2 "{'action':'B','xid':811,'timestamp':'2026-11-21 14:46:48.164197+00'," \
           "'lsn':'0/22460CF8','nextlsn':'0/22460D28'}"
#define C2 "{'action':'C','xid':811,'timestamp':'2026-11-21 14:46:48.164197+00'," \
           "'lsn':'0/22460CF8','nextlsn':'0/22460D28'}"
#define ROW2(action, lsn) "{'action':'" action "','xid':811,'timestamp':" \
                          "'2026-11-21 14:46:48.164197+00','lsn':'" lsn "','schema':'public',"
#define I2 ROW2("I", "0/22460C00") "'table':'later','columns':[{'name':'a','type':'integer'," \
           "'typeoid':23,'value':1,'optional':true}]}"

#define BEGUN "begin 811 commit 0/22460CF8 end 0/22460D28 time 1795272408164197"
#define DONE "commit 811 commit 0/22460CF8 end 0/22460D28 time 1795272408164197 changed"
#define INSERTED "insert public.later 0/22460C00 new(a:23=1)"

/* A change with the columns in the brackets of it. */
#define COLUMNS2(columns) B2 "~{'action':'I','schema':'s','table':'t','columns':[" columns "]}"
#define NEW2(row) BEGUN " | insert s.t 0/200 new(" row ")"

static const struct example format_2[] = {
    {"a transaction", B2 "~" I2 "~" C2, BEGUN " | " INSERTED " | " DONE},
    {"an empty one", B2 "~" C2,
     BEGUN " | commit 811 commit 0/22460CF8 end 0/22460D28 time 1795272408164197"},
    {"two of them", B2 "~" C2 "~" B2 "~" I2 "~" C2,
     BEGUN " | commit 811 commit 0/22460CF8 end 0/22460D28 time 1795272408164197 | "
     BEGUN " | " INSERTED " | " DONE},
    {"an update that has the key as old row",
     B2 "~" ROW2("U", "0/2245CA78") "'table':'My T:x','columns':[{'name':'id','type':'integer',"
     "'typeoid':23,'value':1,'optional':false},{'name':'a]b','type':'integer','typeoid':23,"
     "'value':3,'optional':true}],'identity':[{'name':'id','type':'integer','typeoid':23,"
     "'value':1}]}",
     BEGUN " | update public.My T:x 0/2245CA78 new(id:23=1, a]b:23=3)"},
    {"an update of the key",
     B2 "~" ROW2("U", "0/2245F510") "'table':'ui','columns':[{'name':'a','type':'integer',"
     "'typeoid':23,'value':1,'optional':false},{'name':'b','type':'text','typeoid':25,"
     "'value':'l','optional':false}],'identity':[{'name':'b','type':'text','typeoid':25,"
     "'value':'k'}]}",
     BEGUN " | update public.ui 0/2245F510 old(a:23=absent, b:25=k) new(a:23=1, b:25=l)"},
    {"an update without an old row",
     B2 "~" ROW2("U", "0/1") "'table':'t','columns':[{'name':'a','value':1}]}",
     BEGUN " | update public.t 0/1 new(a:0=1)"},
    {"a deletion with a null in the old row",
     B2 "~" ROW2("D", "0/2245C778") "'table':'full_t','identity':[{'name':'id','type':'integer',"
     "'typeoid':23,'value':1},{'name':'b','type':'text','typeoid':25,'value':null},{'name':'n',"
     "'type':'integer','typeoid':23,'value':5}]}",
     BEGUN " | delete public.full_t 0/2245C778 old(id:23=1, b:25=null, n:23=5)"},
    {"a truncation of two tables",
     B2 "~" ROW2("T", "0/2245DAB8") "'table':'part'}~" ROW2("T", "0/2245DAB8") "'table':'part1'}~"
     C2, BEGUN " | truncate public.part | truncate public.part1 | " DONE},
    {"a transactional message",
     B2 "~{'action':'M','xid':811,'timestamp':'2026-11-21 14:46:48.164197+00','lsn':'0/22460C80',"
     "'transactional':true,'prefix':'p','content':'hello\\\\x'}~" C2,
     BEGUN " | message 0/22460C80 transactional p=hello\\x | " DONE},
    {"one that is not",
     "{'action':'M','xid':null,'timestamp':null,'lsn':'0/22460CB8','transactional':false,"
     "'prefix':'p','content':'free'}", "message 0/22460CB8 free outside p=free"},
    {"one that is not, without an LSN, within a transaction",
     B2 "~{'action':'M','transactional':false,'prefix':'','content':''}~" C2,
     BEGUN " | message 0/200 free outside = | "
     "commit 811 commit 0/22460CF8 end 0/22460D28 time 1795272408164197"},

    {"without any option",
     "{'action':'B'}~{'action':'I','schema':'s','table':'t','columns':[{'name':'a',"
     "'type':'integer','value':1}]}~{'action':'C'}",
     "begin 0 commit 0/0 end 0/0 time 0 | insert s.t 0/200 new(a:1001=1) | "
     "commit 0 commit 0/0 end 0/300 time 0 changed"},
    {"before 2.3: no nextlsn", "{'action':'B','lsn':'0/2F8'}~{'action':'C','lsn':'0/1F8'}",
     "begin 0 commit 0/2F8 end 0/0 time 0 | ! cdcdump: error: could not decode the wal2json "
     "message at 0/200: B and C of the transaction do not agree, at byte 0"},
    {"before 2.3", "{'action':'B','lsn':'0/1F8'}~{'action':'C','lsn':'0/1F8'}",
     "begin 0 commit 0/1F8 end 0/0 time 0 | commit 0 commit 0/1F8 end 0/200 time 0"},
    {"a C that says more than its B", "{'action':'B'}~{'action':'C','lsn':'0/1F8',"
     "'timestamp':'1970-01-01 00:00:01+00','nextlsn':'0/250'}",
     "begin 0 commit 0/0 end 0/0 time 0 | commit 0 commit 0/1F8 end 0/250 time 1000000"},

    {"keys in another order, white space, unknown keys",
     B2 "~ { 'action'\t:\r\n'I' , 'x':{'y':[1,-0.5e+7,{'z':[]},[{}],true]},'table':'t','columns':["
     "\n {'value' : '1' , 'pos':[ ] ,'typeoid':25,'name':'a'} , {'typeoid':23,'value':-7,"
     "'name':'b','type':'int'}\n ] ,'schema':'s'\n} \n",
     NEW2("a:25=1, b:23=-7")},
    {"kinds of values",
     COLUMNS2("{'name':'a','value':true},{'name':'b','value':false},{'name':'c','value':null},"
              "{'name':'d','value':-12345678901234567890.50},{'name':'e','value':1e+300},"
              "{'name':'f','value':0.10},{'name':'g','value':'NaN'},{'name':'h','value':''}"),
     NEW2("a:0=true, b:0=false, c:0=null, d:0=-12345678901234567890.50, e:0=1e+300, f:0=0.10, "
          "g:0=NaN, h:0=")},
    {"no columns at all", COLUMNS2(""), NEW2("")},
    {"bytea", COLUMNS2("{'name':'a','typeoid':17,'value':'00ff'},{'value': '01','typeoid':17,"
                       "'name':'b'},{'name':'c','value':'','type':'bytea'},"
                       "{'name':'d','typeoid':17,"
                       "'value':null},{'name':'e','typeoid':16628,'type':'bytea','value':'\\\\x01'}"
                       ",{'name':'f','type':'bytea[]','value':'{}'}"),
     NEW2("a:17=\\x00ff, b:17=\\x01, c:1002=\\x, d:17=null, e:16628=\\x01, f:1003={}")},
    {"bytea in an old row", B2 "~{'action':'D','schema':'s','table':'t','identity':[{'name':'a',"
     "'typeoid':17,'value':'ff'}]}", BEGUN " | delete s.t 0/200 old(a:17=\\xff)"},
    {"OIDs above 2147483647 come as negative numbers",
     COLUMNS2("{'name':'a','typeoid':-1,'value':1},{'name':'b','typeoid':4294967295,'value':2},"
              "{'name':'c','typeoid':-2147483648,'value':3}"),
     NEW2("a:4294967295=1, b:4294967295=2, c:2147483648=3")},
    {"types that are not written in JSON",
     COLUMNS2("{'name':'a','type':'o ther'.'T p','value':1},{'name':'b','type':'o ther'.tp(1,2),"
              "'value':2},{'name':'c','type':'q''q','value':3},{'name':'d','value':4,"
              "'type':''My Enum''},{'name':'e','type':''My Enum'[]','value':5},{'name':'f','type': "
              "'My Enum' ,'value':6},{'name':'g','type':'a,}]b'.c,'value':7}"),
     NEW2("a:1004=1, b:1005=2, c:1006=3, d:1007=4, e:1008=5, f:1009=6, g:1010=7")},
    {"escapes", COLUMNS2("{'name':'\\u0061\\u0062','value':'\\'\\\\\\/\\b\\f\\n\\r\\t`'},"
                         "{'name':'c','value':'\\u00e9\\u20ac\\ud83d\\uDE00\\u0001.'}"),
     NEW2("ab:0=\"\\/\b\f\n\r\t', c:0=\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x01.")},
    {"what is not UTF-8 is passed on", COLUMNS2("{'name':'a','value':'\xff\x80\xc3'}"),
     NEW2("a:0=\xff\x80\xc3")},
    {"a null that must be a NaN",
     B2 "~{'action':'I','schema':'s','table':'known','columns':[{'name':'id','type':'integer',"
     "'value':1,'optional':false},{'name':'n','type':'numeric','value':null,'optional':false}]}",
     BEGUN " | insert s.known 0/200 new(id:23=1, n:1700=lost)"},
    {"a null that is one, an unchanged value that is left out",
     B2 "~{'action':'I','schema':'s','table':'known','columns':[{'name':'id','type':'integer',"
     "'value':1},{'name':'n','type':'numeric','value':null,'optional':true}]}"
     "~{'action':'U','schema':'s','table':'known','columns':[{'name':'id','type':'integer',"
     "'value':1}]}",
     BEGUN " | insert s.known 0/200 new(id:23=1, n:1700=null) | "
     "update s.known 0/300 new(id:23=1, n:1700=unchanged)"},
};

/* ---- format 1 ---- */

#define HEAD1 "{'xid':811,'nextlsn':'0/22460D28','timestamp':'2026-11-21 14:46:48.164197+00'," \
              "'change':["
#define I1 "{'kind':'insert','schema':'public','table':'later','columnnames':['a'],'columntypes'" \
           ":['integer'],'columntypeoids':[23],'columnoptionals':[true],'columnvalues':[1]}"
#define M1 "{'kind':'message','transactional':true,'prefix':'p','content':'hello\\\\x'}"
#define F1 "{'kind':'message','transactional':false,'prefix':'p','content':'free'}"

#define BEGUN1 "begin 811 commit 0/0 end 0/22460D28 time 1795272408164197"
#define DONE1 "commit 811 commit 0/0 end 0/22460D28 time 1795272408164197 changed"
#define EMPTY1 "commit 811 commit 0/0 end 0/22460D28 time 1795272408164197"
#define INSERTED1(lsn) "insert public.later " lsn " new(a:23=1)"

static const struct example format_1[] = {
    {"a transaction in one message", HEAD1 I1 "," M1 "," I1 "]}",
     BEGUN1 "; " INSERTED1("0/0") "; message 0/0 transactional p=hello\\x; " INSERTED1("0/0") "; "
     DONE1},
    {"an empty one", HEAD1 "]}", BEGUN1 "; " EMPTY1},
    {"in chunks", HEAD1 "~" I1 "~," M1 "~," I1 "~]}",
     BEGUN1 " | " INSERTED1("0/200") " | message 0/300 transactional p=hello\\x | "
     INSERTED1("0/400") " | " DONE1},
    {"an empty one in chunks", HEAD1 "~]}", BEGUN1 " | " EMPTY1},
    {"in chunks of other sizes", HEAD1 I1 "~," I1 "," I1 "~~ \n~" I1 "]}",
     BEGUN1 "; " INSERTED1("0/0") " | " INSERTED1("0/200") "; " INSERTED1("0/200") " |  |  | "
     INSERTED1("0/500") "; " DONE1},
    {"without a comma, or with one too many", HEAD1 "," I1 I1 "]}",
     BEGUN1 "; " INSERTED1("0/0") "; " INSERTED1("0/0") "; " DONE1},
    {"a message of its own", "{'change':[" F1 "]}", "message 0/100 free outside p=free"},
    {"one with the stray comma of 2.5", "{'change':[," F1 "]}~" HEAD1 "]}",
     "message 0/100 free outside p=free | " BEGUN1 "; " EMPTY1},
    {"one that is not transactional within a transaction", HEAD1 F1 "]}",
     BEGUN1 "; message 0/0 free outside p=free; " EMPTY1},
    {"a document of nothing", "{'change':[]}", ""},
    {"an update of the key, parts in another order",
     HEAD1 "{'columnvalues':[1,'l'],'oldkeys':{'keyvalues':['k'],'x':1,'keynames':['b'],"
     "'keytypes':['text'],'keytypeoids':[25]},'columntypeoids':[23,25],'columnnames':['a','b'],"
     "'columntypes':['integer','text'],"
     "'pk':{'pknames':['b'],'pktypes':['text']},'columnpositions':[1,2],'columndefaults':[null,"
     "'1'],'table':'ui','schema':'public','kind':'update'}]}",
     BEGUN1 "; update public.ui 0/0 old(a:23=absent, b:25=k) new(a:23=1, b:25=l); " DONE1},
    {"a deletion",
     HEAD1 "{'kind':'delete','schema':'public','table':'ui','oldkeys':{'keynames':['b','c'],"
     "'keytypes':['text','bytea'],'keytypeoids':[25,17],'keyvalues':['l','ff']}}]}",
     BEGUN1 "; delete public.ui 0/0 old(b:25=l, c:17=\\xff); " DONE1},
    {"a deletion of a row that is all null",
     HEAD1 "{'kind':'delete','schema':'s','table':'t','oldkeys':{'keynames':[],'keytypes':[],"
     "'keyvalues':[]}}]}",
     BEGUN1 "; delete s.t 0/0 old(); " DONE1},
    {"a deletion of a row with a NaN",
     HEAD1 "{'kind':'delete','schema':'s','table':'known','oldkeys':{'keynames':['id','n'],"
     "'keytypes':['integer','numeric'],'keyvalues':[1,null]}}]}",
     BEGUN1 "; delete s.known 0/0 old(id:23=1, n:1700=lost); " DONE1},
    {"a truncation", HEAD1 "{'kind':'truncate','schema':'s','table':'t'}]}",
     BEGUN1 "; truncate s.t; " DONE1},
    {"a row without columns",
     HEAD1 "{'kind':'insert','schema':'s','table':'t','columnnames':[],'columntypes':[],"
     "'columnvalues':[]}]}", BEGUN1 "; insert s.t 0/0 new(); " DONE1},
    {"bytea, first and later, by OID and by name",
     HEAD1 "{'kind':'insert','schema':'s','table':'t','columnnames':['a','b','c'],"
     "'columntypeoids':[17,17,16628],'columnvalues':['00','','\\\\x01']},{'kind':'insert',"
     "'schema':'s','table':'u','columnnames':['a','b'],'columntypes':['bytea','bytea'],"
     "'columnvalues':[ 'ff', null]}]}",
     BEGUN1 "; insert s.t 0/0 new(a:17=\\x00, b:17=\\x, c:16628=\\x01); "
     "insert s.u 0/0 new(a:1002=\\xff, b:1002=null); " DONE1},
    {"types that are not written in JSON",
     HEAD1 "{'kind':'insert','schema':'s','table':'t','columnnames':['a','b','c','d','e'],"
     "'columntypes':['o ther'.'T p','o ther'.tp(1,2),'q''q',''My Enum'','o ther'.'T p'],"
     "'columnvalues':[1,2,3,4,5]}]}",
     BEGUN1 "; insert s.t 0/0 new(a:1004=1, b:1005=2, c:1006=3, d:1007=4, e:1004=5); " DONE1},
    {"types of one row are not those of the next",
     HEAD1 "{'kind':'insert','schema':'s','table':'t','columnnames':['a','b'],'columntypeoids':"
     "[17,17],'columntypes':['bytea','bytea'],'columnoptionals':[false,false],'columnvalues':["
     "'00','01']},{'kind':'insert','schema':'s','table':'u','columnnames':['a','b'],"
     "'columnvalues':['00','01']}]}",
     BEGUN1 "; insert s.t 0/0 new(a:17=\\x00, b:17=\\x01); insert s.u 0/0 new(a:0=00, b:0=01); "
     DONE1},
    {"version 1.0, pretty-print",
     "{\n\t'xid': 5,\n\t'timestamp': '2018-03-29 12:00:00+02',\n\t'change': [\n\t\t{\n\t\t\t'kind':"
     " 'insert',\n\t\t\t'schema': 's',\n\t\t\t'table': 't',\n\t\t\t'columnnames': ['a', 'b'],\n"
     "\t\t\t'columntypes': ['integer', 'bytea'],\n\t\t\t'columnvalues': [1, 'ff']\n\t\t}\n\t\t,{\n"
     "\t\t\t'kind': 'delete',\n\t\t\t'schema': 's',\n\t\t\t'table': 't',\n\t\t\t'oldkeys': {\n"
     "\t\t\t\t'keynames': ['a'],\n\t\t\t\t'keytypes': ['integer'],\n\t\t\t\t'keyvalues': [1]\n"
     "\t\t\t}\n\t\t}\n\t]\n}",
     "begin 5 commit 0/0 end 0/0 time 1522317600000000; insert s.t 0/0 new(a:1001=1, "
     "b:1002=\\xff); delete s.t 0/0 old(a:1001=1, b:1002=absent); "
     "commit 5 commit 0/0 end 0/0 time 1522317600000000 changed"},
    {"version 1.0, pretty-print in chunks",
     "{\n\t'xid': 5,\n\t'change': [~\t\t{\n\t\t\t'kind': 'delete',\n\t\t\t'schema': 's',\n\t\t\t"
     "'table': 't',\n\t\t\t'oldkeys': {\n\t\t\t\t'keynames': ['a'],\n\t\t\t\t'keyvalues': [1]\n\t"
     "\t\t}\n\t\t}~\t\t,{\n\t\t\t'kind': 'message',\n\t\t\t'transactional': true,\n\t\t\t'prefix':"
     " 'p',\n\t\t\t'content': 'c'\n\t\t}~\t]\n}",
     "begin 5 commit 0/0 end 0/0 time 0 | delete s.t 0/200 old(a:0=1) | message 0/300 "
     "transactional p=c | commit 5 commit 0/0 end 0/400 time 0 changed"},
    {"other keys around the changes",
     "{'a':{'b':[{}]},'xid':5,'change':[],'c':[1,[2]]}",
     "begin 5 commit 0/0 end 0/0 time 0; commit 5 commit 0/0 end 0/0 time 0"},
    {"a value that is left out of an update",
     HEAD1 "{'kind':'update','schema':'s','table':'known','columnnames':['id'],'columntypes':["
     "'integer'],'columnvalues':[1],'oldkeys':{'keynames':['id'],'keytypes':['integer'],"
     "'keyvalues':[1]}}]}",
     BEGUN1 "; update s.known 0/0 new(id:23=1, n:1700=unchanged); " DONE1},
};

/* ---- what is refused ---- */

/* Bytes in these are easy to count: they are what the last message begins with. */
#define NO(lsn, what, at) "! cdcdump: error: could not decode the wal2json message at " lsn ": " \
                          what ", at byte " #at
#define BEGIN2 "{'action':'B'}"
#define NO2(what, at) "begin 0 commit 0/0 end 0/0 time 0 | " NO("0/200", what, at)
#define ROW "'schema':'s','table':'t'"
#define CUT "the text is cut off"
#define BEGIN1 "{'xid':5,'change':["
#define NO1(what, at) "begin 5 commit 0/0 end 0/0 time 0 | " NO("0/200", what, at)
#define FRAGMENT "a fragment of a transaction whose beginning is missing"

static const struct example refused_streams[] = {
    {"an empty message", "", NO("0/100", CUT, 0)},
    {"no object", "[]", NO("0/100", "an object is expected", 0)},
    {"no JSON", " BEGIN", NO("0/100", "an object is expected", 1)},
    {"an empty object", " {}", NO("0/100", "an object without members", 0)},
    {"an unknown action", "{'action':'X'}", NO("0/100", "an unknown action", 11)},
    {"an action of two letters", "{'action':'II'}", NO("0/100", "an unknown action", 11)},
    {"an empty action", "{'action':''}", NO("0/100", "an unknown action", 11)},
    {"an action that is no string", "{'action':1}", NO("0/100", "a string is expected", 10)},
    {"B within B", BEGIN2 "~" BEGIN2, NO2("a transaction begins within another", 0)},
    {"C without B", "{'action':'C'}", NO("0/100", "a transaction ends that has not begun", 0)},
    {"C after C", BEGIN2 "~{'action':'C'}~{'action':'C'}",
     "begin 0 commit 0/0 end 0/0 time 0 | commit 0 commit 0/0 end 0/200 time 0 | "
     NO("0/300", "a transaction ends that has not begun", 0)},
    {"I outside", "{'action':'I'," ROW ",'columns':[]}",
     NO("0/100", "a change outside of a transaction", 0)},
    {"T outside", "{'action':'T'," ROW "}", NO("0/100", "a change outside of a transaction", 0)},
    {"a transactional message outside",
     "{'action':'M','transactional':true,'prefix':'','content':''}",
     NO("0/100", "a transactional message outside of a transaction", 0)},
    {"another xid in a row", B2 "~{'action':'I','xid':812," ROW ",'columns':[]}",
     BEGUN " | " NO("0/200", "a change of another transaction", 0)},
    {"another xid in a message",
     B2 "~{'action':'M','xid':812,'transactional':true,'prefix':'','content':''}",
     BEGUN " | " NO("0/200", "a message of another transaction", 0)},
    {"another xid in C", B2 "~{'action':'C','xid':812}",
     BEGUN " | " NO("0/200", "B and C of the transaction do not agree", 0)},
    {"another time in C", B2 "~{'action':'C','timestamp':'2026-11-21 14:46:48.164198+00'}",
     BEGUN " | " NO("0/200", "B and C of the transaction do not agree", 0)},
    {"another nextlsn in C", B2 "~{'action':'C','nextlsn':'0/22460D29'}",
     BEGUN " | " NO("0/200", "B and C of the transaction do not agree", 0)},
    {"an end before the commit", "{'action':'B','lsn':'0/200'}~{'action':'C'}",
     "begin 0 commit 0/200 end 0/0 time 0 | "
     NO("0/200", "the transaction ends before its commit", 0)},

    {"no schema", BEGIN2 "~{'action':'T','table':'t'}",
     NO2("a change without the name of its table", 0)},
    {"no table", BEGIN2 "~{'action':'T','schema':'s'}",
     NO2("a change without the name of its table", 0)},
    {"no columns", BEGIN2 "~{'action':'I'," ROW "}", NO2("a change without its new row", 0)},
    {"no columns", BEGIN2 "~{'action':'U'," ROW ",'identity':[]}",
     NO2("a change without its new row", 0)},
    {"no identity", BEGIN2 "~{'action':'D'," ROW "}", NO2("a deletion without the old row", 0)},
    {"columns too much", BEGIN2 "~{'action':'D'," ROW ",'identity':[],'columns':[]}",
     NO2("a change that has no new row has one", 0)},
    {"identity too much", BEGIN2 "~{'action':'I'," ROW ",'identity':[],'columns':[]}",
     NO2("a change that has no old row has one", 0)},
    {"identity of T", BEGIN2 "~{'action':'T'," ROW ",'identity':[]}",
     NO2("a change that has no old row has one", 0)},
    {"no content", BEGIN2 "~{'action':'M','transactional':true,'prefix':''}",
     NO2("a message that lacks something", 0)},
    {"no prefix", "{'action':'M','transactional':false,'content':''}",
     NO("0/100", "a message that lacks something", 0)},
    {"not known to be transactional", "{'action':'M','prefix':'','content':''}",
     NO("0/100", "a message that lacks something", 0)},

    {"a key that comes twice", "{'action':'B','xid':1,'xid':1}",
     NO("0/100", "a key comes twice", 23)},
    {"the first key that comes twice", "{'action':'B','action':'B'}",
     NO("0/100", "a key comes twice", 15)},
    {"an xid that is a string", "{'action':'B','xid':'1'}",
     NO("0/100", "a number of 32 bits is expected", 20)},
    {"an xid that is too large", "{'action':'B','xid':4294967296}",
     NO("0/100", "a number of 32 bits is expected", 20)},
    {"an xid that is far too large", "{'action':'B','xid':18446744073709551617}",
     NO("0/100", "a number of 32 bits is expected", 20)},
    {"an xid that is negative", "{'action':'B','xid':-1}",
     NO("0/100", "a number of 32 bits is expected", 20)},
    {"an xid with a fraction", "{'action':'B','xid':1.0}",
     NO("0/100", "a number of 32 bits is expected", 20)},
    {"an LSN that is none", "{'action':'B','lsn':'0/'}", NO("0/100", "an invalid LSN", 21)},
    {"an LSN with something behind", "{'action':'B','lsn':'0/1 '}",
     NO("0/100", "an invalid LSN", 21)},
    {"a time that is none", "{'action':'B','timestamp':'infinity'}",
     NO("0/100", "an invalid timestamp", 27)},
    {"something behind", "{'action':'B'} {",
     NO("0/100", "something stands behind the message", 15)},
    {"no comma", "{'action':'B' 'xid':1}",
     NO("0/100", "a comma or the end of an object is expected", 14)},
    {"no colon", "{'action' 'B'}", NO("0/100", "a colon is expected", 10)},
    {"a comma too many", "{'action':'B',}", NO("0/100", "a string is expected", 14)},
    {"a NUL between tokens", "{'action':'B'\x01}",
     NO("0/100", "a comma or the end of an object is expected", 13)},
};

/* Columns of a row, from byte 0 on; the row is put around them. */
#define ROW_HEAD "{'action':'I'," ROW ",'columns':["

static const struct {
    const char *name;
    const char *columns;
    const char *wrong;
    size_t at; /* in columns; SIZE_MAX = it is the message as a whole that is wrong */
} refused_columns[] = {
    {"no array", "", CUT, 0},
    {"a column that is no object", "1]}", "an object is expected", 0},
    {"a column that is an array", "[]]}", "an object is expected", 0},
    {"a column without a value", "{'name':'a'}]}", "a column without its name or value", 11},
    {"a column without a name", "{'value':1}]}", "a column without its name or value", 10},
    {"an empty column", "{}]}", "a column without its name or value", 1},
    {"a name twice", "{'name':'a','name':'a','value':1}]}", "a key comes twice", 13},
    {"a value twice", "{'name':'a','value':1,'value':1}]}", "a key comes twice", 23},
    {"a name that is no string", "{'name':1,'value':1}]}", "a string is expected", 8},
    {"a type that is null", "{'name':'a','type':null,'value':1}]}", "a string is expected", 19},
    {"a type that does not end", "{'name':'a','type':'b'.c(,'value':1}]}", CUT, 38},
    {"a type with something behind", "{'name':'a','type':'b'.c:'value':1}]}",
     "a column without its name or value", 34},
    {"a typeoid with a fraction", "{'name':'a','typeoid':1.5,'value':1}]}",
     "a number of 32 bits is expected", 22},
    {"a typeoid that is too large", "{'name':'a','typeoid':4294967296,'value':1}]}",
     "a number of 32 bits is expected", 22},
    {"a typeoid that is too small", "{'name':'a','typeoid':-2147483649,'value':1}]}",
     "a number of 32 bits is expected", 22},
    {"a typeoid that is minus nothing", "{'name':'a','typeoid':-0,'value':1}]}",
     "a number of 32 bits is expected", 22},
    {"optional that is a number", "{'name':'a','value':1,'optional':1}]}",
     "true or false is expected", 33},
    {"a value that is an object", "{'name':'a','value':{}}]}",
     "a string, a number, true, false or null is expected", 20},
    {"a value that is an array", "{'name':'a','value':[1]}]}",
     "a string, a number, true, false or null is expected", 20},
    {"a value that is nothing", "{'name':'a','value':}]}",
     "a string, a number, true, false or null is expected", 20},
    {"a value that is a word", "{'name':'a','value':NaN}]}",
     "a string, a number, true, false or null is expected", 20},
    {"a word that goes on", "{'name':'a','value':nulls}]}",
     "a comma or the end of an object is expected", 24},
    {"a number that begins with 0", "{'name':'a','value':01}]}",
     "a comma or the end of an object is expected", 21},
    {"a sign alone", "{'name':'a','value':-}]}", "an invalid number", 21},
    {"a point without digits", "{'name':'a','value':1.}]}", "an invalid number", 22},
    {"an exponent without digits", "{'name':'a','value':1e+}]}", "an invalid number", 23},
    {"a plus", "{'name':'a','value':+1}]}",
     "a string, a number, true, false or null is expected", 20},
    {"a bytea that is a number", "{'name':'a','typeoid':17,'value':12}]}",
     "a value of type bytea is no hexadecimal string", SIZE_MAX},
    {"a bytea that is true", "{'name':'a','type':'bytea','value':true}]}",
     "a value of type bytea is no hexadecimal string", SIZE_MAX},
    {"a control character", "{'name':'a','value':'\n'}]}", "a control character in a string", 21},
    {"a control character behind an escape", "{'name':'a','value':'\\n\x1f'}]}",
     "a control character in a string", 23},
    {"an unknown escape", "{'name':'a','value':'x\\x'}]}", "an invalid escape in a string", 22},
    {"\\u0000", "{'name':'a','value':'\\u0000'}]}", "an invalid escape in a string", 21},
    {"\\u with three digits", "{'name':'a','value':'\\u123'}]}",
     "an invalid escape in a string", 21},
    {"\\u with other digits", "{'name':'a','value':'\\u12g4'}]}",
     "an invalid escape in a string", 21},
    {"a low surrogate", "{'name':'a','value':'\\udc00'}]}", "an invalid escape in a string", 21},
    {"a high surrogate", "{'name':'a','value':'\\ud800'}]}", "an invalid escape in a string", 21},
    {"a high surrogate before another", "{'name':'a','value':'.\\ud800\\ud800'}]}",
     "an invalid escape in a string", 22},
    {"a high surrogate before something else", "{'name':'a','value':'\\ud800\\n    '}]}",
     "an invalid escape in a string", 21},
    {"a key with an invalid escape", "{'name':'a','va\\lue':1}]}",
     "an invalid escape in a string", 15},
    {"a comma too many", "{'name':'a','value':1},]}", "an object is expected", 23},
    {"the wrong bracket", "{'name':'a','value':1}}",
     "a comma or the end of an array is expected", 22},
};

static void test_refused_columns(void)
{
    for (size_t i = 0; i < COUNT(refused_columns); i++) {
        size_t at = refused_columns[i].at;
        struct session s;
        char *stream = xasprintf(BEGIN2 "~" ROW_HEAD "%s", refused_columns[i].columns);
        char *expected = xasprintf(NO2("%s", %zu), refused_columns[i].wrong,
                                   at == SIZE_MAX ? 0 : strlen(ROW_HEAD) + at);

        session_start(&s);
        is_str(run(&s, stream), expected, refused_columns[i].name);
        session_end(&s);
        free(stream);
        free(expected);
    }
}

static const struct example refused_documents[] = {
    {"a change without its document", I1, NO("0/100", FRAGMENT, 0)},
    {"a later change without its document", "," I1, NO("0/100", FRAGMENT, 0)},
    {"an end without its document", " ]}", NO("0/100", FRAGMENT, 1)},
    {"an end after the end", BEGIN1 "]}~]}",
     "begin 5 commit 0/0 end 0/0 time 0; commit 5 commit 0/0 end 0/0 time 0 | "
     NO("0/200", FRAGMENT, 0)},
    {"a document within another", BEGIN1 "~" BEGIN1, NO1("a transaction begins within another", 0)},
    {"a document without xid within another", BEGIN1 "~{'change':[]}",
     NO1("a transaction begins within another", 0)},
    {"B within a document", BEGIN1 "~" BEGIN2, NO1("a transaction begins within another", 0)},
    {"a document within B", BEGIN2 "~" BEGIN1, NO2("a transaction begins within another", 0)},
    {"a free message within B", BEGIN2 "~{'change':[" F1 "]}",
     NO2("a transaction begins within another", 0)},
    {"a change without a transaction", "{'change':[" I1 "]}",
     NO("0/100", "a change outside of a transaction", 11)},
    {"a transactional message without a transaction", "{'change':[" M1 "]}",
     NO("0/100", "a transactional message outside of a transaction", 11)},
    {"no change", "{'xid':5}", NO("0/100", "an object without changes", 0)},
    {"a change that is no array", "{'change':{}}", NO("0/100", "an array is expected", 10)},
    {"an xid twice", "{'xid':5,'xid':5,'change':[]}", NO("0/100", "a key comes twice", 10)},
    {"an xid that is null", "{'xid':null,'change':[]}",
     NO("0/100", "a number of 32 bits is expected", 7)},
    {"a nextlsn behind the changes", BEGIN1 "~],'nextlsn':'0/1'}",
     NO1("this key stands behind the changes", 3)},
    {"something behind", BEGIN1 "~]} {'xid':6}",
     NO1("something stands behind the end of the transaction", 3)},
    {"an end that is cut", BEGIN1 "~]", NO1(CUT, 1)},
    {"an end of something else", BEGIN1 "~]]",
     NO1("a comma or the end of an object is expected", 1)},
    {"a comma before the end", BEGIN1 "~,]}", NO1("an object is expected", 1)},
    {"two commas", BEGIN1 "~,," I1, NO1("an object is expected", 1)},
    {"a comma alone", BEGIN1 "~,", NO1(CUT, 1)},
    {"a change that is no object", BEGIN1 "~1", NO1("an object is expected", 0)},
    {"an end of the wrong kind", BEGIN1 "~}", NO1("an object is expected", 0)},
    {"no kind", BEGIN1 "~,{" ROW "}", NO1("a change without its kind", 1)},
    {"an unknown kind", BEGIN1 "~{'kind':'upsert'}", NO1("an unknown kind of change", 9)},
    {"no table", BEGIN1 "~{'kind':'insert','schema':'s','columnnames':[],'columnvalues':[]}",
     NO1("a change without the name of its table", 0)},
    {"no new row", BEGIN1 "~{'kind':'update'," ROW "}", NO1("a change without its new row", 0)},
    {"no old row", BEGIN1 "~{'kind':'delete'," ROW "}", NO1("a deletion without the old row", 0)},
    {"a new row too many", BEGIN1 "~{'kind':'delete'," ROW ",'oldkeys':{},'columnnames':[],"
     "'columnvalues':[]}", NO1("a change that has no new row has one", 0)},
    {"an old row too many", BEGIN1 "~{'kind':'truncate'," ROW ",'oldkeys':{}}",
     NO1("a change that has no old row has one", 0)},
    {"no content", BEGIN1 "~{'kind':'message','transactional':true,'prefix':''}",
     NO1("a message that lacks something", 0)},
    {"no values", BEGIN1 "~{'columnnames':['a']}", NO1("a row without names or values", 20)},
    {"no names", BEGIN1 "~{'columnvalues':['a']}", NO1("a row without names or values", 21)},
    {"no old values", BEGIN1 "~{'oldkeys':{'keynames':['a']}}",
     NO1("a row without names or values", 28)},
    {"fewer names", BEGIN1 "~{'columnvalues':[1,2],'columnnames':['a']}",
     NO1("arrays of different length for the columns of a row", 40)},
    {"more names", BEGIN1 "~{'columnvalues':[1],'columnnames':['a','b']}",
     NO1("arrays of different length for the columns of a row", 39)},
    {"no optionals, as without types", BEGIN1 "~{'columnvalues':[1],'columnoptionals':[]}",
     NO1("arrays of different length for the columns of a row", 39)},
    {"an array twice", BEGIN1 "~{'columnvalues':[1],'columnvalues':[1]}",
     NO1("a key comes twice", 21)},
    {"an array that is none", BEGIN1 "~{'columnvalues':1", NO1("an array is expected", 16)},
    {"a value that is an array", BEGIN1 "~{'columnvalues':[[]]",
     NO1("a string, a number, true, false or null is expected", 17)},
    {"a name that is a number", BEGIN1 "~{'columnnames':[1]", NO1("a string is expected", 16)},
    {"an optional that is null", BEGIN1 "~{'columnoptionals':[null]",
     NO1("true or false is expected", 20)},
    {"a bytea that is a number", BEGIN1 "~{'kind':'insert'," ROW ",'columnnames':['a'],"
     "'columntypeoids':[17],'columnvalues':[1]}",
     NO1("a value of type bytea is no hexadecimal string", 0)},
};

/* ---- nesting, numbers of columns ---- */

static char *repeat(const char *what, unsigned n)
{
    struct buf b;
    char *text;

    buf_init(&b, 64);
    for (unsigned i = 0; i < n; i++)
        buf_add_str(&b, what);
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

/* depth containers in one another as the value of an unknown key. */
static bool takes_nested(const char *open, const char *middle, const char *close, unsigned depth)
{
    struct session s;
    char *opened = repeat(open, depth), *closed = repeat(close, depth);
    char *stream = xasprintf("{'action':'B','x':%s%s%s}", opened, middle, closed);
    bool taken;

    session_start(&s);
    taken = !strchr(run(&s, stream), '!');
    if (!taken && !strstr(s.out.data, "nested too deep"))
        tap_note("%.200s", s.out.data);
    session_end(&s);
    free(opened);
    free(closed);
    free(stream);
    return taken;
}

static void test_nesting(void)
{
    ok(takes_nested("[", "1", "]", 64) && !takes_nested("[", "1", "]", 65),
       "arrays are skipped up to a depth of 64");
    ok(takes_nested("{'a':", "{}", "}", 63) && !takes_nested("{'a':", "{}", "}", 64),
       "and so are objects");
    ok(!takes_nested("[", "", "", 1000000) && !takes_nested("{'a':", "", "", 1000000),
       "a million of them is no more than 65");
}

static bool takes_columns(const char *head, const char *column, const char *tail, unsigned n)
{
    struct session s;
    struct buf b;
    bool taken;

    buf_init(&b, 64);
    buf_add_str(&b, head);
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, column, i ? "," : "", i);
    buf_add_str(&b, tail);
    buf_add_char(&b, '\0');
    session_start(&s);
    taken = !strchr(run(&s, b.data), '!');
    if (!taken && !strstr(s.out.data, "more columns than a table can have"))
        tap_note("%.200s", s.out.data);
    session_end(&s);
    buf_release(&b);
    return taken;
}

static void test_many_columns(void)
{
    const char *head = BEGIN2 "~" ROW_HEAD, *column = "%s{'name':'c%u','value':1}";
    const char *old = BEGIN2 "~{'action':'D'," ROW ",'identity':[";

    ok(takes_columns(head, column, "]}", RELATION_MAX_COLUMNS), "as many columns as there can be");
    ok(!takes_columns(head, column, "]}", RELATION_MAX_COLUMNS + 1), "... and no more");
    ok(!takes_columns(head, column, "]}", 100000), "... by far");
    ok(!takes_columns(old, column, "]}", RELATION_MAX_COLUMNS + 1), "... nor in an old row");
    ok(!takes_columns(BEGIN1 "{'columnvalues':[", "%s%u", "]", RELATION_MAX_COLUMNS + 1),
       "... nor in format 1");
}

/* ---- cut off at every byte ---- */

static const char *const cut[] = {
    B2 "~" I2 "~" C2,
    B2 "~{'action':'U','x':[{'y':1.5e5},'\\ud83d\\ude00'],'schema':'\\n','table':'t','columns':[{"
    "'name':'a','typeoid':17,'value':'00'},{'name':'b','value':-1.5e-7}],'identity':[{'name':'a',"
    "'value':null}]} \n",
    "{'action':'M','xid':null,'transactional':false,'prefix':'p','content':'\\u00e9'}",
    HEAD1 I1 "," M1 "]}\n",
    HEAD1 "~" I1 "~," M1 "~]}",
    "{'change':[," F1 "]}",
};

/* Whether an error was logged whose place is the end or the beginning of the token before it. */
static bool fails_near(size_t end)
{
    const char *place = strstr(logged(), ", at byte ");
    size_t at = place ? strtoul(place + strlen(", at byte "), NULL, 10) : end + 1;

    return at <= end && end - at < strlen("\\ud83d\\ude00");
}

/* How the first len bytes of the last message come out. */
static bool cut_is_right(const char *stream, const char *last, size_t whole, size_t len)
{
    char *before = xstrndup(stream, (size_t)(last - stream));
    bool accepted, right = true;
    struct session s;

    if (*before)
        before[strlen(before) - 1] = '\0';
    session_start(&s);
    if (*before)
        run(&s, before);
    log_forget();
    accepted = feed(&s, last, len) == OUTCOME_OK;
    if (accepted) {
        /* An event may come that is whole, but never the end of what is not. */
        right = len == whole || s.decoder->in_transaction || s.event.kind == EVENT_NONE;
    } else {
        right = fails_near(len);
    }
    if (!right)
        tap_note("%zu bytes: %s", len, accepted ? "accepted" : logged());
    session_end(&s);
    free(before);
    return right;
}

/* Where the message of which p is a part ends, without the blanks there. */
static size_t length_at(const char *p)
{
    size_t len = strcspn(p, "~");

    while (len && (p[len - 1] == '\n' || p[len - 1] == ' '))
        len--;
    return len;
}

static void test_cut(void)
{
    for (size_t i = 0; i < COUNT(cut); i++) {
        bool right = true;
        unsigned n = 0;

        for (const char *p = cut[i]; right; p++) {
            size_t whole = length_at(p);

            for (size_t len = 0; len < whole && right; len++, n++)
                right = cut_is_right(cut[i], p, whole, len);
            p += strcspn(p, "~");
            if (!*p)
                break;
        }
        ok(right, "stream %zu, cut in %u places", i + 1, n);
    }
}

/* ---- the decoder itself ---- */

static void test_restart(void)
{
    struct session s;

    session_start(&s);
    run(&s, HEAD1 "~" I1);
    decoder_restart(s.decoder);
    is_str(run(&s, "," I1), NO("0/300", FRAGMENT, 0), "a new connection is outside of a document");
    decoder_restart(s.decoder);
    s.messages = 0;
    is_str(run(&s, HEAD1 "]}"), BEGUN1 "; " EMPTY1, "... and goes on with the next one");
    run(&s, B2);
    decoder_restart(s.decoder);
    s.messages = 0;
    is_str(run(&s, B2), BEGUN, "... likewise in format 2");
    session_end(&s);
}

static void test_leave(void)
{
    char payload[] = HEAD1 I1 "]}";
    struct session s;

    session_start(&s);
    to_json(payload, sizeof payload - 1);
    ok(decoder_take(s.decoder, 1, payload, sizeof payload - 1, &s.event) == OUTCOME_OK &&
       s.event.kind == EVENT_BEGIN, "a transaction that is not wanted");
    decoder_leave(s.decoder);
    ok(decoder_next(s.decoder, &s.event) == OUTCOME_OK && s.event.kind == EVENT_NONE,
       "... has no more events");
    session_end(&s);
}

static void test_unavailable(void)
{
    struct session s;

    session_start(&s);
    s.decoder->describer = &no_describer;
    log_forget();
    feed(&s, B2, strlen(B2));
    ok(feed(&s, I2, strlen(I2)) == OUTCOME_UNAVAILABLE, "catalogs that are not there");
    is_str(logged(), "cdcdump: error: the catalogs are not there\n", "... are complained of once");
    session_end(&s);
}

/* A message, and what it gives in a database of that encoding. */
static const struct {
    const char *encoding;
    struct example example;
} encoded[] = {
    {"LATIN1", {"texts are converted", BEGIN1 "{'kind':'insert','schema':'s','table':'\xe4',"
     "'columnnames':['\xe9'],'columntypes':['\xff'],'columnvalues':['\xfc\\n']},"
     "{'kind':'delete','schema':'s','table':'\xe4','oldkeys':{'keynames':['\xe9'],'keytypes':["
     "'\xff'],'keyvalues':['\\u000b\xff']}}]}",
     "begin 5 commit 0/0 end 0/0 time 0; insert s.\xc3\xa4 0/0 new(\xc3\xa9:1003=\xc3\xbc\n); "
     "delete s.\xc3\xa4 0/0 old(\xc3\xa9:1003=\x0b\xc3\xbf); "
     "commit 5 commit 0/0 end 0/0 time 0 changed"}},
    {"LATIN1", {"a bytea that cannot be one", BEGIN2 "~" ROW_HEAD
     "{'name':'a','typeoid':17,'value':'\xe9'}]}",
     NO2("a value of type bytea is no hexadecimal string", 0)}},
    {"WIN1252", {"a prefix is text, content is not",
     "{'action':'M','transactional':false,'prefix':'\x80','content':'\x80\x81'}",
     "message 0/100 free outside \xe2\x82\xac=\x80\x81"}},
    {"WIN1252", {"what is skipped is not looked at",
     BEGIN2 "~{'action':'C','\x81':['\x81']}",
     "begin 0 commit 0/0 end 0/0 time 0 | commit 0 commit 0/0 end 0/200 time 0"}},
    {"WIN1252", {"a character that there is not", BEGIN2 "~{'action':'T','table':'a\x81'}",
     NO2("a character that is not valid in the encoding of the database", 24)}},
    {"WIN1252", {"an escape for what is not ASCII", BEGIN2 "~{'action':'T','table':'\\u00e9'}",
     NO2("an invalid escape in a string", 23)}},
    {"EUC_JP", {"characters of several bytes", BEGIN2 "~" ROW_HEAD
     "{'name':'\xa4\xa2','typeoid':25,'value':'.\xc6\xfc\xcb\xdc.'}]}",
     "begin 0 commit 0/0 end 0/0 time 0 | insert s.t 0/200 new(\xe3\x81\x82:25="
     ".\xe6\x97\xa5\xe6\x9c\xac.)"}},
    {"SQL_ASCII", {"an encoding of which nothing is known",
     "{'action':'M','transactional':false,'prefix':'\xe9','content':'\xe9'}",
     "message 0/100 free outside \xe9=\xe9"}},
};

static void test_encodings(void)
{
    for (size_t i = 0; i < COUNT(encoded); i++) {
        const struct example *x = &encoded[i].example;
        struct decoder_setup setup = {
            .kind = &decoder_wal2json, .describer = &describer, .encoding = encoded[i].encoding,
        };
        struct session s;

        session_start(&s);
        decoder_free(s.decoder);
        s.decoder = decoder_new(&setup);
        is_str(run(&s, x->stream), x->expected, x->name);
        session_end(&s);
    }
}

static void test_nan(void)
{
    struct session s;

    session_start(&s);
    ok(s.decoder->nan_is_null, "NaN may be null at first");
    s.decoder->nan_is_null = false;
    is_str(run(&s, B2 "~{'action':'I','schema':'s','table':'known','columns':[{'name':'id',"
                      "'type':'integer','value':1},{'name':'n','type':'numeric','value':null,"
                      "'optional':false}]}"),
           BEGUN " | insert s.known 0/200 new(id:23=1, n:1700=null)", "... until somebody says no");
    session_end(&s);
}

/* ---- commit_time ---- */

static const struct {
    const char *text;
    usec_t time; /* -1 = refused */
} times[] = {
    {"1970-01-01 00:00:00+00", 0},
    {"2026-11-21 14:46:48.154068+00", INT64_C(1795272408154068)},
    {"2026-11-21 14:46:48.15+00", INT64_C(1795272408150000)},
    {"2026-11-21 15:46:48+01", INT64_C(1795272408000000)},
    {"2026-11-21 20:16:48+05:30", INT64_C(1795272408000000)},
    {"2026-11-21 09:16:48-05:30", INT64_C(1795272408000000)},
    {"2026-11-21 15:06:20+00:19:32", INT64_C(1795272408000000)},
    {"2000-02-29 23:59:59.999999+00", INT64_C(951868799999999)},
    {"2000-02-29 23:59:60+00", INT64_C(951868800000000)},
    {"1969-12-31 23:59:59.999998+00", -2},
    {"2400-02-29 00:00:00+00", INT64_C(13574563200000000)},
    {"99999-12-31 23:59:59.999999+00", INT64_C(3093527980799999999)},
    {"294276-12-31 23:59:59.999999+00", -1},
    {"0001-01-01 00:00:00+00", INT64_C(-62135596800000000)},
    {"", -1},
    {"infinity", -1},
    {"2026-11-21", -1},
    {"2026-11-21 14:46:48", -1},
    {"2026-11-21 14:46+00", -1},
    {"2026-11-21T14:46:48+00", -1},
    {"2026-11-21 14:46:48Z", -1},
    {"2026-11-21 14:46:48+0", -1},
    {"2026-11-21 14:46:48+00:", -1},
    {"2026-11-21 14:46:48+00:0", -1},
    {"2026-11-21 14:46:48+00:00:00:00", -1},
    {"2026-11-21 14:46:48+16", -1},
    {"2026-11-21 14:46:48.+00", -1},
    {"2026-11-21 14:46:48.1234567+00", -1},
    {"2026-11-21 14:46:48+00 BC", -1},
    {"2026-11-21 14:46:48+00 ", -1},
    {" 2026-11-21 14:46:48+00", -1},
    {"2026-13-01 00:00:00+00", -1},
    {"2026-00-01 00:00:00+00", -1},
    {"2026-02-29 00:00:00+00", -1},
    {"1900-02-29 00:00:00+00", -1},
    {"2026-04-31 00:00:00+00", -1},
    {"2026-01-00 00:00:00+00", -1},
    {"2026-01-01 24:00:00+00", -1},
    {"2026-01-01 00:60:00+00", -1},
    {"2026-01-01 00:00:61+00", -1},
    {"0000-01-01 00:00:00+00", -1},
    {"999-01-01 00:00:00+00", -1},
    {"1000000-01-01 00:00:00+00", -1},
    {"99999-12-31 23:59:60.999999-15:59:59", INT64_C(3093528038399999999)},
};

static void test_times(void)
{
    for (size_t i = 0; i < COUNT(times); i++) {
        size_t len = strlen(times[i].text);
        char *block = malloc(len ? len : 1);
        usec_t got = -1;
        bool taken;

        if (!block)
            log_out_of_memory();
        memcpy(block, times[i].text, len);
        taken = commit_time_parse(len ? block : block + 1, len, &got);
        if (!ok(got == times[i].time && taken == (got != -1), "time \"%s\"", times[i].text))
            tap_note("%lld", (long long)got);
        free(block);
    }
}

int main(void)
{
    capture_start();
    test_examples(format_2, COUNT(format_2));
    test_examples(format_1, COUNT(format_1));
    test_examples(refused_streams, COUNT(refused_streams));
    test_refused_columns();
    test_examples(refused_documents, COUNT(refused_documents));
    test_nesting();
    test_many_columns();
    test_cut();
    test_restart();
    test_leave();
    test_unavailable();
    test_encodings();
    test_nan();
    test_times();
    log_forget();
    ok(!leaks(), "nothing leaks");
    capture_end();
    return tap_done();
}
