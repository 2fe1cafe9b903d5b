/*
 * value_test - every type's text -> JSON: the forms, the fallbacks, and anything else.
 *
 * Inputs are handed over in blocks of exactly their size, so that the address sanitizer sees a
 * byte read too many.  What comes out is judged by a JSON and UTF-8 checker of this file's own.
 */
#include "encode/value.h"

#include <stdlib.h>

#include "base/log.h"
#include "tests/unit/tap.h"

/* ---- a checker that shares nothing with the code under test ---- */

struct checker {
    const unsigned char *s;
    size_t n;
    size_t at;
};

static int look(const struct checker *c)
{
    return c->at < c->n ? c->s[c->at] : -1;
}

static bool eat(struct checker *c, int byte)
{
    if (look(c) != byte)
        return false;
    c->at++;
    return true;
}

static bool eat_word(struct checker *c, const char *word)
{
    for (; *word; word++) {
        if (!eat(c, *word))
            return false;
    }
    return true;
}

static size_t eat_digits(struct checker *c)
{
    size_t n = 0;

    while (look(c) >= '0' && look(c) <= '9') {
        c->at++;
        n++;
    }
    return n;
}

static bool check_number(struct checker *c)
{
    bool zero;

    eat(c, '-');
    zero = look(c) == '0';
    if ((zero ? !eat(c, '0') : eat_digits(c) == 0))
        return false;
    if (eat(c, '.') && eat_digits(c) == 0)
        return false;
    if (eat(c, 'e') || eat(c, 'E')) {
        if (!eat(c, '+'))
            eat(c, '-');
        return eat_digits(c) > 0;
    }
    return true;
}

/* One character by decoding it and asking whether it may be, and may be that long. */
static bool check_character(struct checker *c)
{
    int first = look(c);
    unsigned code;
    int more;

    if (first < 0x80)
        return eat(c, first);
    more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc0 || first >= 0xf8)
        return false;
    code = (unsigned)first & (0x3fu >> more);
    c->at++;
    for (int i = 0; i < more; i++, c->at++) {
        if (look(c) < 0 || (look(c) & 0xc0) != 0x80)
            return false;
        code = code << 6 | ((unsigned)look(c) & 0x3f);
    }
    return code >= (more == 1 ? 0x80u : more == 2 ? 0x800u : 0x10000u) && code <= 0x10ffff &&
           (code < 0xd800 || code > 0xdfff);
}

static bool is_utf8(const void *bytes, size_t n)
{
    struct checker c = {bytes, n, 0};

    while (c.at < n) {
        if (!check_character(&c))
            return false;
    }
    return true;
}

static bool check_string(struct checker *c)
{
    if (!eat(c, '"'))
        return false;
    while (!eat(c, '"')) {
        if (look(c) < 0x20)
            return false;
        if (!eat(c, '\\')) {
            if (!check_character(c))
                return false;
        } else if (eat(c, 'u')) {
            for (int i = 0; i < 4; i++, c->at++) {
                if (look(c) <= 0 || !strchr("0123456789abcdefABCDEF", look(c)))
                    return false;
            }
        } else if (look(c) <= 0 || !strchr("\"\\/bfnrt", look(c))) {
            return false;
        } else {
            c->at++;
        }
    }
    return true;
}

static bool check_value(struct checker *c, unsigned depth);

static bool check_container(struct checker *c, int open, int close, unsigned depth)
{
    eat(c, open);
    if (eat(c, close))
        return true;
    do {
        if (open == '{' && (!check_string(c) || !eat(c, ':')))
            return false;
        if (!check_value(c, depth + 1))
            return false;
    } while (eat(c, ','));
    return eat(c, close);
}

/* Compact JSON: white space is an error. */
static bool check_value(struct checker *c, unsigned depth)
{
    if (depth > 2000)
        return false;
    switch (look(c)) {
    case '{':
        return check_container(c, '{', '}', depth);
    case '[':
        return check_container(c, '[', ']', depth);
    case '"':
        return check_string(c);
    case 't':
        return eat_word(c, "true");
    case 'f':
        return eat_word(c, "false");
    case 'n':
        return eat_word(c, "null");
    default:
        return check_number(c);
    }
}

static bool is_compact_json(const struct buf *b)
{
    struct checker c = {(const unsigned char *)b->data, b->len, 0};

    return check_value(&c, 0) && c.at == c.n;
}

/* ---- types and a way to write one value ---- */

#define SCALAR(k) {.kind = (k)}
#define ARRAY(e, d) {.kind = TYPE_ARRAY, .delimiter = (d), .element = (e)}

static const struct type text_type = SCALAR(TYPE_TEXT);
static const struct type bool_type = SCALAR(TYPE_BOOL);
static const struct type integer_type = SCALAR(TYPE_INTEGER);
static const struct type float_type = SCALAR(TYPE_FLOAT);
static const struct type numeric_type = SCALAR(TYPE_NUMERIC);
static const struct type json_type = SCALAR(TYPE_JSON);
static const struct type date_type = SCALAR(TYPE_DATE);
static const struct type time_type = SCALAR(TYPE_TIME);
static const struct type timestamp_type = SCALAR(TYPE_TIMESTAMP);
static const struct type timestamptz_type = SCALAR(TYPE_TIMESTAMPTZ);
static const struct type interval_type = SCALAR(TYPE_INTERVAL);
static const struct type bytea_type = SCALAR(TYPE_BYTEA);
static const struct type hstore_type = SCALAR(TYPE_HSTORE);
static const struct type text_array = ARRAY(&text_type, ',');
static const struct type integer_array = ARRAY(&integer_type, ',');
static const struct type bool_array = ARRAY(&bool_type, ',');
static const struct type box_array = ARRAY(&text_type, ';');
static const struct type json_array = ARRAY(&json_type, ',');
static const struct type bytea_array = ARRAY(&bytea_type, ',');
static const struct type hstore_array = ARRAY(&hstore_type, ',');
static const struct type timestamptz_array = ARRAY(&timestamptz_type, ',');
static const struct type interval_array = ARRAY(&interval_type, ',');
static const struct type domain_array = ARRAY(&integer_array, ','); /* domain over int[] */
static const struct type bare_array = {.kind = TYPE_ARRAY};

static bool add_value(struct buf *b, const char *text, size_t len, const struct type *type)
{
    struct rule rule;
    bool added;

    rule_init(&rule, type, -1, &handling_default);
    added = rule.write(b, text, len, &rule);
    rule_release(&rule);
    return added;
}

/* Writes behind something that is there already, into a buffer that has to grow for it. */
static bool write_value(struct buf *b, const struct type *type, const char *text, size_t len)
{
    char *exact = malloc(len ? len : 1);
    bool written;

    if (!exact)
        log_out_of_memory();
    memcpy(exact, text, len);
    buf_release(b);
    buf_init(b, 1);
    written = add_value(b, len ? exact : exact + 1, len, type);
    free(exact);
    return written;
}

/* ---- golden values ---- */

struct golden {
    const struct type *type;
    const char *text;
    const char *json;
};

static const struct golden goldens[] = {
    {NULL, "no type", "\"no type\""},
    {&text_type, "", "\"\""},
    {&text_type, "abc", "\"abc\""},
    {&text_type, "(30,40),(10,20)", "\"(30,40),(10,20)\""},
    {&text_type, "a\"b\\c/", "\"a\\\"b\\\\c/\""},
    {&text_type, "\n\r\t\b\f", "\"\\n\\r\\t\\b\\f\""},
    {&text_type, "\x01\x0b\x1f\x7f", "\"\\u0001\\u000b\\u001f\x7f\""},
    {&text_type, "sixteen bytes ok.and then \"some\" more than that",
     "\"sixteen bytes ok.and then \\\"some\\\" more than that\""},
    {&text_type, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
     "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {&text_type, "Gr\xc3\xbc\xc3\x9f" "e aus dem S\xc3\xbc" "den\n",
     "\"Gr\xc3\xbc\xc3\x9f" "e aus dem S\xc3\xbc" "den\\n\""},
    {&text_type, "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80"
                 "\xf4\x8f\xbf\xbf",
     "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80"
     "\xf4\x8f\xbf\xbf\""},

    {&bool_type, "t", "true"},
    {&bool_type, "f", "false"},
    {&bool_type, "true", "true"},
    {&bool_type, "false", "false"},
    {&bool_type, "", "\"\""},
    {&bool_type, "T", "\"T\""},
    {&bool_type, "tr", "\"tr\""},

    {&integer_type, "0", "0"},
    {&integer_type, "-1", "-1"},
    {&integer_type, "9223372036854775807", "9223372036854775807"},
    {&integer_type, "-9223372036854775808", "-9223372036854775808"},
    {&integer_type, "", "\"\""},
    {&integer_type, "-", "\"-\""},
    {&integer_type, "+1", "\"+1\""},
    {&integer_type, "01", "\"01\""},
    {&integer_type, "-01", "\"-01\""},
    {&integer_type, "1 ", "\"1 \""},
    {&integer_type, "1\n", "\"1\\n\""},
    {&integer_type, "12a", "\"12a\""},

    {&float_type, "0", "0"},
    {&float_type, "-0", "-0"},
    {&float_type, "50.5", "50.5"},
    {&float_type, "1e+20", "1e+20"},
    {&float_type, "1.5e-07", "1.5e-07"},
    {&float_type, "-2.2250738585072014e-308", "-2.2250738585072014e-308"},
    {&float_type, "NaN", "\"NaN\""},
    {&float_type, "Infinity", "\"Infinity\""},
    {&float_type, "-Infinity", "\"-Infinity\""},
    {&float_type, "", "\"\""},
    {&float_type, ".5", "\".5\""},
    {&float_type, "5.", "\"5.\""},
    {&float_type, "1e", "\"1e\""},
    {&float_type, "1e+", "\"1e+\""},
    {&float_type, "00.5", "\"00.5\""},
    {&float_type, "1.5x", "\"1.5x\""},

    {&numeric_type, "299.99", "\"299.99\""},
    {&numeric_type, "-0.00000000000000000000000001230", "\"-0.00000000000000000000000001230\""},
    {&numeric_type, "NaN", "\"NaN\""},

    {&json_type, "{\"brand\": \"TechCo\", \"model\": \"X1\"}",
     "{\"brand\":\"TechCo\",\"model\":\"X1\"}"},
    {&json_type, " \t\n\r{ } \n", "{}"},
    {&json_type, "[ ]", "[]"},
    {&json_type, "[ 1 , [ 2 , { \"a b\" : [ ] , \"\" : { } } ] , \" x \" ]",
     "[1,[2,{\"a b\":[],\"\":{}}],\" x \"]"},
    {&json_type, "12345678901234567890.12345678901234567890e-400",
     "12345678901234567890.12345678901234567890e-400"},
    {&json_type, "[true,false,null,-0,0.0,1E5,1e+5]", "[true,false,null,-0,0.0,1E5,1e+5]"},
    {&json_type, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\\u0000\"",
     "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\\u0000\""},
    {&json_type, "{\"\xc3\xa9\": \"\xe2\x82\xac\"}", "{\"\xc3\xa9\":\"\xe2\x82\xac\"}"},
    {&json_type, "{\"a\": 1, \"a\": 2}", "{\"a\":1,\"a\":2}"},
    {&json_type, "", "\"\""},
    {&json_type, "  ", "\"  \""},
    {&json_type, "{", "\"{\""},
    {&json_type, "[1 2]", "\"[1 2]\""},
    {&json_type, "[1,]", "\"[1,]\""},
    {&json_type, "[,1]", "\"[,1]\""},
    {&json_type, "{\"a\":1,}", "\"{\\\"a\\\":1,}\""},
    {&json_type, "{\"a\"}", "\"{\\\"a\\\"}\""},
    {&json_type, "{1:2}", "\"{1:2}\""},
    {&json_type, "[1}", "\"[1}\""},
    {&json_type, "{\"a\":1]", "\"{\\\"a\\\":1]\""},
    {&json_type, "1 2", "\"1 2\""},
    {&json_type, "]", "\"]\""},
    {&json_type, "01", "\"01\""},
    {&json_type, "1.", "\"1.\""},
    {&json_type, "-", "\"-\""},
    {&json_type, "tru", "\"tru\""},
    {&json_type, "True", "\"True\""},
    {&json_type, "nullx", "\"nullx\""},
    {&json_type, "NaN", "\"NaN\""},
    {&json_type, "\"a\nb\"", "\"\\\"a\\nb\\\"\""},
    {&json_type, "\"\\x\"", "\"\\\"\\\\x\\\"\""},
    {&json_type, "\"\\u12g4\"", "\"\\\"\\\\u12g4\\\"\""},
    {&json_type, "\"\\u12\"", "\"\\\"\\\\u12\\\"\""},
    {&json_type, "\"open", "\"\\\"open\""},
    {&json_type, "\xc2\xa0" "1", "\"\xc2\xa0" "1\""},

    {&date_type, "2023-05-01", "\"2023-05-01\""},
    {&date_type, "0001-01-01", "\"0001-01-01\""},
    {&date_type, "9999-12-31", "\"9999-12-31\""},
    {&date_type, "10000-01-01", "\"+10000-01-01\""},
    {&date_type, "5874897-12-31", "\"+5874897-12-31\""},
    {&date_type, "0001-12-31 BC", "\"0000-12-31\""},
    {&date_type, "0002-01-01 BC", "\"-0001-01-01\""},
    {&date_type, "0044-03-15 BC", "\"-0043-03-15\""},
    {&date_type, "4714-11-24 BC", "\"-4713-11-24\""},
    {&date_type, "10001-01-01 BC", "\"-10000-01-01\""},
    {&date_type, "infinity", "\"infinity\""},
    {&date_type, "-infinity", "\"-infinity\""},
    {&date_type, "", "\"\""},
    {&date_type, "05/01/2023", "\"05/01/2023\""},
    {&date_type, "23-05-01", "\"23-05-01\""},
    {&date_type, "02023-05-01", "\"02023-05-01\""},
    {&date_type, "2023-5-01", "\"2023-5-01\""},
    {&date_type, "2023-05-01 AD", "\"2023-05-01 AD\""},
    {&date_type, "0000-05-01 BC", "\"0000-05-01 BC\""},
    {&date_type, "1234567890-05-01", "\"1234567890-05-01\""},
    {&date_type, " BC", "\" BC\""},

    {&time_type, "12:34:56.789", "\"12:34:56.789\""},
    {&time_type, "00:00:00", "\"00:00:00\""},
    {&time_type, "24:00:00", "\"24:00:00\""},
    {&time_type, "12:34", "\"12:34\""},
    {&time_type, "12:34:56.", "\"12:34:56.\""},
    {&time_type, "12:34:56+02", "\"12:34:56+02\""},
    {&time_type, "a\"b", "\"a\\\"b\""},

    {&timestamp_type, "2023-05-01 12:34:56.789", "\"2023-05-01T12:34:56.789\""},
    {&timestamp_type, "2023-05-01 00:00:00", "\"2023-05-01T00:00:00\""},
    {&timestamp_type, "294276-12-31 23:59:59.999999", "\"+294276-12-31T23:59:59.999999\""},
    {&timestamp_type, "0044-03-15 12:00:00.5 BC", "\"-0043-03-15T12:00:00.5\""},
    {&timestamp_type, "infinity", "\"infinity\""},
    {&timestamp_type, "-infinity", "\"-infinity\""},
    {&timestamp_type, "2023-05-01T12:34:56", "\"2023-05-01T12:34:56\""},
    {&timestamp_type, "2023-05-01 12:34:56+00", "\"2023-05-01 12:34:56+00\""},
    {&timestamp_type, "Mon May 01 12:34:56 2023", "\"Mon May 01 12:34:56 2023\""},

    {&timestamptz_type, "2023-05-01 12:34:56.789+00", "\"2023-05-01T12:34:56.789Z\""},
    {&timestamptz_type, "2023-05-01 12:34:56+02", "\"2023-05-01T12:34:56+02:00\""},
    {&timestamptz_type, "2023-05-01 12:34:56+05:30", "\"2023-05-01T12:34:56+05:30\""},
    {&timestamptz_type, "2023-05-01 12:34:56-03:30:15", "\"2023-05-01T12:34:56-03:30:15\""},
    {&timestamptz_type, "0044-03-15 12:00:00+00 BC", "\"-0043-03-15T12:00:00Z\""},
    {&timestamptz_type, "10000-01-01 00:00:00-08", "\"+10000-01-01T00:00:00-08:00\""},
    {&timestamptz_type, "infinity", "\"infinity\""},
    {&timestamptz_type, "2023-05-01 12:34:56", "\"2023-05-01 12:34:56\""},
    {&timestamptz_type, "2023-05-01 12:34:56+2", "\"2023-05-01 12:34:56+2\""},
    {&timestamptz_type, "2023-05-01 12:34:56+00x", "\"2023-05-01 12:34:56+00x\""},
    {&timestamptz_type, "2023-05-01 12:34:56 CET", "\"2023-05-01 12:34:56 CET\""},

    {&interval_type, "1 year", "\"P1Y\""},
    {&interval_type, "-2 years +3 mons +4 days -04:05:06.7", "\"P-2Y3M4DT-4H-5M-6.7S\""},
    {&interval_type, "1 year 2 mons 3 days 04:05:06.7", "\"P1Y2M3DT4H5M6.7S\""},
    {&interval_type, "1 mon", "\"P1M\""},
    {&interval_type, "-1 days", "\"P-1D\""},
    {&interval_type, "-1 days +02:03:00", "\"P-1DT2H3M\""},
    {&interval_type, "00:00:00", "\"PT0S\""},
    {&interval_type, "0 years", "\"PT0S\""},
    {&interval_type, "00:00:00.5", "\"PT0.5S\""},
    {&interval_type, "-00:00:00.5", "\"PT-0.5S\""},
    {&interval_type, "-00:00:00.000001", "\"PT-0.000001S\""},
    {&interval_type, "00:00:10.500000", "\"PT10.5S\""},
    {&interval_type, "00:00:10.000000", "\"PT10S\""},
    {&interval_type, "3 days 00:00:00", "\"P3D\""},
    {&interval_type, "00:05:00", "\"PT5M\""},
    {&interval_type, "2562047788:00:54.775807", "\"PT2562047788H54.775807S\""},
    {&interval_type, "178956970 years 7 mons", "\"P178956970Y7M\""},
    {&interval_type, "99999999999999999999999999:00:00", "\"PT99999999999999999999999999H\""},
    {&interval_type, "infinity", "\"infinity\""},
    {&interval_type, "-infinity", "\"-infinity\""},
    {&interval_type, "", "\"\""},
    {&interval_type, "P1Y", "\"P1Y\""},
    {&interval_type, "@ 1 year", "\"@ 1 year\""},
    {&interval_type, "1 day 1 year", "\"1 day 1 year\""},
    {&interval_type, "1 day 1 day", "\"1 day 1 day\""},
    {&interval_type, "1 week", "\"1 week\""},
    {&interval_type, "1 day ", "\"1 day \""},
    {&interval_type, "1  day", "\"1  day\""},
    {&interval_type, "1 days01:00:00", "\"1 days01:00:00\""},
    {&interval_type, "01:02", "\"01:02\""},
    {&interval_type, "01:02:3", "\"01:02:3\""},
    {&interval_type, "01:02:03.", "\"01:02:03.\""},
    {&interval_type, "01:02:03 1 day", "\"01:02:03 1 day\""},
    {&interval_type, "- 1 day", "\"- 1 day\""},

    {&bytea_type, "\\x", "\"\""},
    {&bytea_type, "\\x00", "\"AA==\""},
    {&bytea_type, "\\xfb", "\"+w==\""},
    {&bytea_type, "\\xdead", "\"3q0=\""},
    {&bytea_type, "\\xDEADbe", "\"3q2+\""},
    {&bytea_type, "\\x48656c6c6f2c20776f726c6421", "\"SGVsbG8sIHdvcmxkIQ==\""},
    {&bytea_type, "\\xffffffffffff", "\"////////\""},
    {&bytea_type, "", "\"\""},
    {&bytea_type, "\\", "\"\\\\\""},
    {&bytea_type, "\\x0", "\"\\\\x0\""},
    {&bytea_type, "\\x0g", "\"\\\\x0g\""},
    {&bytea_type, "\\x00112g", "\"\\\\x00112g\""},
    {&bytea_type, "\\x001122 0", "\"\\\\x001122 0\""},
    {&bytea_type, "abc\\000\\377", "\"abc\\\\000\\\\377\""},

    {&text_array, "{Test1,Test2}", "[\"Test1\",\"Test2\"]"},
    {&text_array, "{}", "[]"},
    {&text_array, "{NULL,null,\"NULL\",\"\"}", "[null,null,\"NULL\",\"\"]"},
    {&text_array, "{\"a \\\"b\\\" \\\\c\",\"x,{y}\"}", "[\"a \\\"b\\\" \\\\c\",\"x,{y}\"]"},
    {&text_array, "{\"\xc3\xa9\\\\\xe2\x82\xac\",\xc3\xa9}",
     "[\"\xc3\xa9\\\\\xe2\x82\xac\",\"\xc3\xa9\"]"},
    {&text_array, "{{a,b},{c,NULL}}", "[[\"a\",\"b\"],[\"c\",null]]"},
    {&text_array, "{nullable,NULLS}", "[\"nullable\",\"NULLS\"]"},
    {&integer_array, "{1,NULL,-3}", "[1,null,-3]"},
    {&integer_array, "[0:2]={1,2,3}", "[1,2,3]"},
    {&integer_array, "[-1:0][2:3]={{1,2},{3,4}}", "[[1,2],[3,4]]"},
    {&integer_array, "{{{{{{1}}}}}}", "[[[[[[1]]]]]]"},
    {&integer_array, "{1,x}", "[1,\"x\"]"},
    {&bool_array, "{t,f,NULL}", "[true,false,null]"},
    {&box_array, "{(30,40),(10,20);(1,1),(0,0)}", "[\"(30,40),(10,20)\",\"(1,1),(0,0)\"]"},
    {&json_array, "{\"{\\\"a\\\": [1, 2]}\",1,null,\"\\\"\\\\u00e9\\\\n\\\"\"}",
     "[{\"a\":[1,2]},1,null,\"\\u00e9\\n\"]"},
    {&json_array, "{\"null\",\"{\\\"a\\\"\"}", "[null,\"{\\\"a\\\"\"]"},
    {&bytea_array, "{\"\\\\x48656c6c6f\",\"\\\\x\"}", "[\"SGVsbG8=\",\"\"]"},
    {&hstore_array, "{\"\\\"a\\\"=>\\\"1\\\", \\\"b\\\\\\\\c\\\"=>NULL\",\"\"}",
     "[{\"a\":\"1\",\"b\\\\c\":null},{}]"},
    {&timestamptz_array, "{\"2023-05-01 12:34:56+00\",infinity}",
     "[\"2023-05-01T12:34:56Z\",\"infinity\"]"},
    {&interval_array, "{\"1 year\",00:00:01}", "[\"P1Y\",\"PT1S\"]"},
    {&domain_array, "{\"{1,2}\",\"{}\",NULL}", "[[1,2],[],null]"},
    {&bare_array, "{a,b}", "[\"a\",\"b\"]"},
    {&text_array, "", "\"\""},
    {&text_array, "{", "\"{\""},
    {&text_array, "a", "\"a\""},
    {&text_array, "{a", "\"{a\""},
    {&text_array, "{a,}", "\"{a,}\""},
    {&text_array, "{,a}", "\"{,a}\""},
    {&text_array, "{a}}", "\"{a}}\""},
    {&text_array, "{a},b", "\"{a},b\""},
    {&text_array, "{a b}", "\"{a b}\""},
    {&text_array, "{\"a}", "\"{\\\"a}\""},
    {&text_array, "{\"a\"b}", "\"{\\\"a\\\"b}\""},
    {&text_array, "{a\"b\"}", "\"{a\\\"b\\\"}\""},
    {&text_array, "{a\\b}", "\"{a\\\\b}\""},
    {&text_array, "{\"a\\b\"}", "\"{\\\"a\\\\b\\\"}\""},
    {&text_array, "{{}}", "\"{{}}\""},
    {&text_array, "{{a},b}", "\"{{a},b}\""},
    {&text_array, "{a,{b}}", "\"{a,{b}}\""},
    {&text_array, "[0:1]{a,b}", "\"[0:1]{a,b}\""},
    {&text_array, "[0:]={a,b}", "\"[0:]={a,b}\""},
    {&text_array, "[]={a}", "\"[]={a}\""},
    {&text_array, "={a}", "\"={a}\""},

    {&hstore_type, "", "{}"},
    {&hstore_type, "\"a\"=>\"1\", \"b\"=>NULL", "{\"a\":\"1\",\"b\":null}"},
    {&hstore_type, "\"a\"=>\"NULL\"", "{\"a\":\"NULL\"}"},
    {&hstore_type, "\"\"=>\"\"", "{\"\":\"\"}"},
    {&hstore_type, "\"k\\\"1\\\\\"=>\"a, b=>c\n\"", "{\"k\\\"1\\\\\":\"a, b=>c\\n\"}"},
    {&hstore_type, "a=>1", "\"a=>1\""},
    {&hstore_type, "\"a\"", "\"\\\"a\\\"\""},
    {&hstore_type, "\"a\"=>", "\"\\\"a\\\"=>\""},
    {&hstore_type, "\"a\"=>\"1\", ", "\"\\\"a\\\"=>\\\"1\\\", \""},
    {&hstore_type, "\"a\"=>\"1\",\"b\"=>\"2\"",
     "\"\\\"a\\\"=>\\\"1\\\",\\\"b\\\"=>\\\"2\\\"\""},
    {&hstore_type, "NULL=>\"1\"", "\"NULL=>\\\"1\\\"\""},
    {&hstore_type, "\"a\"=>\"1", "\"\\\"a\\\"=>\\\"1\""},
};

#define NGOLDENS (sizeof goldens / sizeof goldens[0])

static void test_goldens(struct buf *b)
{
    for (size_t i = 0; i < NGOLDENS; i++) {
        const struct golden *g = &goldens[i];
        char name[64];

        snprintf(name, sizeof name, "kind %d: %.40s", g->type ? (int)g->type->kind : -1, g->text);
        for (char *c = name; *c; c++) {
            if (*c < ' ' || *c > '~' || *c == '#')
                *c = '?'; /* TAP is lines of text, and # is TAP's own */
        }
        if (!write_value(b, g->type, g->text, strlen(g->text)))
            b->len = 0;
        is_text(b->data, b->len, g->json, name);
    }
}

/*
 * What holds for any input whatever: only text that is not UTF-8 is refused, and what is written
 * is one line of compact JSON in UTF-8.
 */
static bool holds(struct buf *b, const struct type *type, const char *text, size_t len)
{
    bool utf8 = is_utf8(text, len);
    bool written = write_value(b, type, text, len);
    bool right = written == utf8 &&
                 (!written || (is_compact_json(b) && is_utf8(b->data, b->len)));

    if (!right)
        tap_note("kind %d: %.*s -> %.*s", type ? (int)type->kind : -1, (int)len, text,
                 (int)b->len, b->data);
    return right;
}

static void test_cuts(struct buf *b)
{
    bool right = true;

    for (size_t i = 0; i < NGOLDENS; i++) {
        for (size_t len = 0; len < strlen(goldens[i].text); len++)
            right &= holds(b, goldens[i].type, goldens[i].text, len);
    }
    ok(right, "every input cut at every byte gives JSON");
}

/* Every type gets every other type's texts. */
static void test_mixed_up(struct buf *b)
{
    bool right = true;

    for (size_t i = 0; i < NGOLDENS; i++) {
        for (size_t j = 0; j < NGOLDENS; j++)
            right &= holds(b, goldens[i].type, goldens[j].text, strlen(goldens[j].text));
    }
    ok(right, "texts of another type give JSON");
}

/* ---- UTF-8 ---- */

static const struct {
    const char *bytes;
    const char *name;
} malformed[] = {
    {"\x80", "a continuation byte alone"},
    {"\xbf", "the last continuation byte alone"},
    {"\xc3", "2 bytes, cut off"},
    {"\xc3(", "2 bytes, ASCII in place of the second"},
    {"\xc3\xc3", "2 bytes, a lead in place of the second"},
    {"\xc0\x80", "overlong NUL"},
    {"\xc1\xbf", "overlong, 2 bytes"},
    {"\xe0\x9f\xbf", "overlong, 3 bytes"},
    {"\xf0\x8f\xbf\xbf", "overlong, 4 bytes"},
    {"\xe2\x82", "3 bytes, cut off"},
    {"\xe2\x82(", "3 bytes, ASCII in place of the third"},
    {"\xed\xa0\x80", "first surrogate"},
    {"\xed\xbf\xbf", "last surrogate"},
    {"\xf0\x9f\x98", "4 bytes, cut off"},
    {"\xf0\x9f\x98(", "4 bytes, ASCII in place of the fourth"},
    {"\xf4\x90\x80\x80", "above U+10FFFF"},
    {"\xf5\x80\x80\x80", "lead byte f5"},
    {"\xf8\x88\x80\x80\x80", "5 bytes"},
    {"\xfe", "byte fe"},
    {"\xff", "byte ff"},
};

/* Formats a text around bytes in the right form of the type, so that only UTF-8 is wrong. */
static bool refuses(struct buf *b, const struct type *type, const char *fmt, const char *bytes)
{
    const char *hole = strchr(fmt, '@');
    char text[128];
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - fmt), fmt, bytes, hole + 1);

    return !write_value(b, type, text, (size_t)n);
}

static void test_malformed_utf8(struct buf *b)
{
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        const char *bytes = malformed[i].bytes;
        bool refused = refuses(b, &text_type, "@", bytes) &&
                       refuses(b, &text_type, "long enough for a vector @ and then more", bytes) &&
                       refuses(b, &json_type, "{\"a\": \"@\"}", bytes) &&
                       refuses(b, &json_type, "@", bytes) &&
                       refuses(b, &text_array, "{a,@}", bytes) &&
                       refuses(b, &text_array, "{\"\\\\ @\"}", bytes) &&
                       refuses(b, &json_array, "{\"\\\"@\\\"\"}", bytes) &&
                       refuses(b, &hstore_type, "\"a\"=>\"@\"", bytes);

        for (size_t kind = TYPE_TEXT; kind <= TYPE_HSTORE; kind++) {
            struct type type = {.kind = (enum type_kind)kind};

            refused &= refuses(b, &type, "@", bytes);
        }
        ok(refused, "refused: %s", malformed[i].name);
    }
}

/* Every special byte at every place of a text of every length up to some vectors. */
static void test_places(struct buf *b)
{
    static const char *const specials[] = {
        "\"", "\\", "\n", "\x1f", "\xc3\xa9", "\xf0\x9f\x98\x80",
    };
    bool right = true;

    for (size_t len = 0; len < 70; len++) {
        for (size_t at = 0; at <= len; at++) {
            for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
                char text[80];
                size_t n = strlen(specials[i]);

                memset(text, 'x', sizeof text);
                memcpy(text + at, specials[i], n);
                right &= holds(b, &text_type, text, len + n);
                right &= b->len >= len + n + 2 && memchr(b->data, '\n', b->len) == NULL;
            }
        }
    }
    ok(right, "special bytes are found at every place");
}

/* ---- sizes ---- */

static void test_nul(struct buf *b)
{
    ok(write_value(b, &text_type, "a\0b", 3), "text with a NUL byte is written");
    is_text(b->data, b->len, "\"a\\u0000b\"", "a NUL byte is escaped");
    ok(write_value(b, &json_type, "1\0", 2), "JSON with a NUL byte is written");
    is_text(b->data, b->len, "\"1\\u0000\"", "... as a string");
}

static void test_appends(struct buf *b)
{
    buf_release(b);
    buf_init(b, 0);
    buf_add_str(b, "x:");
    add_value(b, "[1, 2", 5, &json_type);
    add_value(b, "1 day 25", 8, &interval_type);
    add_value(b, "{a,\"b", 5, &text_array);
    is_text(b->data, b->len, "x:\"[1, 2\"\"1 day 25\"\"{a,\\\"b\"",
            "an attempt that fails leaves what was before");
}

/* n times open, then n times close, around the middle. */
static bool nested(struct buf *b, const struct type *type, const char *brackets, size_t n)
{
    struct buf text;
    bool written;

    buf_init(&text, 2 * n + 1);
    memset(buf_reserve(&text, n), brackets[0], n);
    text.len += n;
    buf_add_char(&text, '1');
    memset(buf_reserve(&text, n), brackets[1], n);
    text.len += n;
    written = write_value(b, type, text.data, text.len);
    buf_release(&text);
    return written;
}

static void test_depth(struct buf *b)
{
    ok(nested(b, &json_type, "[]", 1000) && b->len == 2001 && is_compact_json(b),
       "JSON 1000 levels deep");
    ok(nested(b, &json_type, "[]", 65536) && b->len == 131073 && b->data[0] == '[',
       "JSON 65536 levels deep");
    ok(nested(b, &json_type, "[]", 65537) && b->data[0] == '"', "JSON deeper than that: a string");
    ok(nested(b, &json_type, "[]", 1000000) && b->data[0] == '"', "JSON a million levels deep");
    ok(nested(b, &integer_array, "{}", 1000000) && b->len == 2000001 && b->data[999999] == '[' &&
       b->data[1000001] == ']', "array a million levels deep");
}

/* Objects and arrays in turn, across the words that the levels are kept in. */
static void test_mixed_depth(struct buf *b)
{
    struct buf text;

    buf_init(&text, 4096);
    for (int i = 0; i < 200; i++)
        buf_add_str(&text, i % 3 ? "{\"a\": " : "[1, ");
    buf_add_str(&text, "{}");
    for (int i = 199; i >= 0; i--)
        buf_add_str(&text, i % 3 ? ", \"b\": []}" : ", 2]");
    ok(write_value(b, &json_type, text.data, text.len) && b->data[0] == '[' && is_compact_json(b),
       "objects and arrays in turn, 200 levels");
    text.data[text.len - 1] = '}';
    ok(write_value(b, &json_type, text.data, text.len) && b->data[0] == '"',
       "... closed by the wrong bracket: a string");
    buf_release(&text);
}

/* Elements with escapes that do not fit the small room on the stack. */
static void test_long_elements(struct buf *b)
{
    struct buf text;
    bool right = true;

    buf_init(&text, 4096);
    for (size_t len = 1000; len < 20000; len += 617) {
        text.len = 0;
        buf_add_str(&text, "{\"\\\"");
        for (size_t i = 0; i < len; i++)
            buf_add_char(&text, 'y');
        buf_add_str(&text, "\\\"\",\"{\\\"k\\\": 1}\",7}");
        right &= write_value(b, &json_array, text.data, text.len) && is_compact_json(b) &&
                 b->len == len + 14 && memcmp(b->data + len + 4, "{\"k\":1},7]", 10) == 0;
    }
    ok(right, "long array elements with escapes");
    buf_release(&text);
}

static void test_base64(struct buf *b)
{
    static const char *const expected[] = {
        "\"\"", "\"Zg==\"", "\"Zm8=\"", "\"Zm9v\"", "\"Zm9vYg==\"", "\"Zm9vYmE=\"", "\"Zm9vYmFy\"",
    };

    for (size_t n = 0; n <= 6; n++) {
        char *bytes = malloc(n ? n : 1);

        if (!bytes)
            log_out_of_memory();
        memcpy(bytes, "foobar", n);
        buf_release(b);
        buf_init(b, 1);
        json_add_base64(b, bytes, n);
        is_text(b->data, b->len, expected[n], "base64 of bytes");
        free(bytes);
    }
}

/* The way through hex digits gives what the way through bytes gives. */
static void test_base64_ways(struct buf *b)
{
    char hex[2 + 2 * 300];
    unsigned char bytes[300];
    struct buf direct;
    bool same = true;

    buf_init(&direct, 1);
    for (size_t n = 0; n <= 300; n++) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(i * 89 + n);
        memcpy(hex, "\\x", 2);
        for (size_t i = 0; i < 2 * n; i++)
            hex[2 + i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
        direct.len = 0;
        json_add_base64(&direct, bytes, n);
        same &= write_value(b, &bytea_type, hex, 2 + 2 * n) && b->len == direct.len &&
                memcmp(b->data, direct.data, b->len) == 0;
    }
    ok(same, "bytea and bytes have the same base64");
    buf_release(&direct);
}

/* ---- anything at all ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Characters that mean something to somebody, as random bytes alone never get anywhere. */
static size_t random_tokens(uint64_t *state, char *text, size_t size)
{
    static const char *const tokens[] = {
        "{", "}", "[", "]", ",", ";", ":", "\"", "\"", "\\", "\\\"", "\\\\", "\\u00", "=>", ", ",
        "NULL", "null", "true", "t", "0", "1", "12", "2023", "-", "+", ".", "e", " ", "\n", "\x01",
        "\\x", "ab", "\xc3\xa9", "\xe2\x82\xac", "\xc3", " BC", " year", " mons", " day",
        "00:00:00", "2023-05-01", "a", "\"a\"", "\"a\"=>\"b\"", "infinity",
    };
    size_t ntokens = random_next(state) % 12;
    size_t len = 0;

    for (size_t i = 0; i < ntokens; i++) {
        const char *token = tokens[random_next(state) % (sizeof tokens / sizeof tokens[0])];
        size_t n = strlen(token);

        if (len + n > size)
            break;
        memcpy(text + len, token, n);
        len += n;
    }
    return len;
}

static size_t random_bytes(uint64_t *state, char *text, size_t size)
{
    size_t len = random_next(state) % size;
    unsigned limit = random_next(state) % 2 ? 256 : 128;

    for (size_t i = 0; i < len; i++)
        text[i] = (char)(random_next(state) % limit);
    return len;
}

/* A golden text with one byte changed. */
static size_t random_change(uint64_t *state, char *text, size_t size)
{
    const char *golden = goldens[random_next(state) % NGOLDENS].text;
    size_t len = strlen(golden);

    if (len == 0 || len > size)
        return 0;
    memcpy(text, golden, len);
    text[random_next(state) % len] = (char)random_next(state);
    return len;
}

static void test_random(struct buf *b)
{
    static const struct type *const types[] = {
        &text_type, &bool_type, &integer_type, &float_type, &numeric_type, &json_type, &date_type,
        &time_type, &timestamp_type, &timestamptz_type, &interval_type, &bytea_type, &hstore_type,
        &text_array, &integer_array, &box_array, &json_array, &bytea_array, &hstore_array,
        &interval_array, &domain_array,
    };
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        unsigned wrong = 0;

        for (int round = 0; round < 10000; round++) {
            char text[96];

            wrong += !holds(b, types[i], text, random_tokens(&state, text, sizeof text));
            wrong += !holds(b, types[i], text, random_bytes(&state, text, 64));
            wrong += !holds(b, types[i], text, random_change(&state, text, sizeof text));
        }
        ok(wrong == 0, "30000 random texts, kind %d, element %d", (int)types[i]->kind,
           types[i]->element ? (int)types[i]->element->kind : -1);
    }
}

int main(void)
{
    struct buf b;

    buf_init(&b, 1);
    test_goldens(&b);
    test_cuts(&b);
    test_mixed_up(&b);
    test_malformed_utf8(&b);
    test_places(&b);
    test_nul(&b);
    test_appends(&b);
    test_depth(&b);
    test_mixed_depth(&b);
    test_long_elements(&b);
    test_base64(&b);
    test_base64_ways(&b);
    test_random(&b);
    buf_release(&b);
    return tap_done();
}
