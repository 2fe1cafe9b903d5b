/*
 * copy_row_test - lines of COPY: what they give, and what is refused.
 *
 * Every line is parsed twice, once by the parser and once by its twin without vector code, in a
 * block of exactly its size, so that the address sanitizer sees a byte read or written too many.
 */
#include "decode/copy_row.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "tests/unit/tap.h"

bool portable_parse(char *line, size_t len, struct value *values, uint16_t n);

#undef COPY_ROW_SSE2
#define COPY_ROW_PORTABLE
#define copy_row_parse portable_parse
#include "decode/copy_row.c"
#undef copy_row_parse

enum { MOST_COLUMNS = 1600 };

typedef bool parse_function(char *line, size_t len, struct value *values, uint16_t n);

static parse_function *const parsers[] = {copy_row_parse, portable_parse};

/* ---- rows as text: fields in brackets, NULL for nulls ---- */

static void put_row(struct buf *b, const struct value *values, uint16_t n)
{
    for (int i = 0; i < n; i++) {
        if (values[i].kind == VALUE_NULL)
            buf_add_str(b, "NULL");
        else if (values[i].kind != VALUE_TEXT)
            buf_add_str(b, "?");
        else {
            buf_add_char(b, '[');
            buf_add(b, values[i].data, values[i].len);
            buf_add_char(b, ']');
        }
    }
}

/* Whether the line gives exactly the row; refused lines have no row (NULL). */
static bool parses_to(parse_function *parse, const char *line, size_t len, uint16_t n,
                      const char *row, size_t row_len)
{
    struct value *values = xcalloc(n, sizeof(*values));
    char *copy = xcalloc(len, 1);
    struct buf got;
    bool parsed;
    bool same;

    memcpy(copy, line, len);
    buf_init(&got, 64);
    parsed = parse(copy, len, values, n);
    if (parsed)
        put_row(&got, values, n);
    same = parsed == (row != NULL);
    if (parsed && row)
        same = got.len == row_len && (row_len == 0 || memcmp(got.data, row, row_len) == 0);
    if (!same)
        tap_note("     got: %.*s", (int)got.len, parsed ? got.data : "");
    buf_release(&got);
    free(copy);
    free(values);
    return same;
}

static bool check(const char *line, size_t len, uint16_t n, const char *row, size_t row_len)
{
    bool right = true;

    for (size_t i = 0; i < sizeof parsers / sizeof parsers[0]; i++)
        right &= parses_to(parsers[i], line, len, n, row, row_len);
    return right;
}

/* ---- by hand ---- */

struct example {
    const char *line; /* without its newline */
    uint16_t n;
    const char *row; /* NULL: refused */
    const char *name;
};

static const struct example examples[] = {
    {"", 0, "", "no columns"},
    {"", 1, "[]", "one empty field"},
    {"\t", 2, "[][]", "two empty fields"},
    {"1\tone\t", 3, "[1][one][]", "the last field empty"},
    {"\t\tx", 3, "[][][x]", "the first fields empty"},
    {"0123456789abcdef", 1, "[0123456789abcdef]", "a block"},
    {"0123456789abcde\tf", 2, "[0123456789abcde][f]", "a tab at a block's end"},
    {"0123456789abcdef\tg", 2, "[0123456789abcdef][g]", "a tab at a block's beginning"},
    {"a\rb\nc\x80\xff", 1, "[a\rb\nc\x80\xff]", "what is no tab or backslash stands for itself"},

    {"\\N", 1, "NULL", "null alone"},
    {"\\N\t\\N\t\\N", 3, "NULLNULLNULL", "nulls only"},
    {"a\t\\N\tb", 3, "[a]NULL[b]", "null between"},
    {"\\N\t\t\\N", 3, "NULL[]NULL", "null and empty"},
    {"\\\\N", 1, "[\\N]", "the text \\N"},
    {"\\\\N\t\\N\t\\\\N", 3, "[\\N]NULL[\\N]", "the text \\N around null"},
    {"\\Nx\tx\\N\t\\N\\N", 3, "[Nx][xN][NN]", "\\N that is not all of the field"},
    {"\\N\\", 1, NULL, "\\N and a lone backslash"},
    {"\\n\tN\t\\\tN", 3, "[\n][N][\tN]", "what only looks like null"},
    {"0123456789abcd\\N", 1, "[0123456789abcdN]", "\\N at a line's end"},
    {"0123456789abc\t\\N\tx", 3, "[0123456789abc]NULL[x]", "null at a block's end"},
    {"0123456789abcd\t\\N\tx", 3, "[0123456789abcd]NULL[x]", "null across two blocks"},

    {"\\b\\f\\n\\r\\t\\v\\\\", 1, "[\b\f\n\r\t\v\\]", "the escapes of servers"},
    {"\\b\t\\f\t\\n\t\\r\t\\t\t\\v\t\\\\", 7, "[\b][\f][\n][\r][\t][\v][\\]", "one to a field"},
    {"x\\ty\\\\z\\nw", 1, "[x\ty\\z\nw]", "between other characters"},
    {"\\\\x00ff\tb", 2, "[\\x00ff][b]", "a bytea"},
    {"\\\\\\\\\\\\", 1, "[\\\\\\]", "backslashes"},
    {"\\\\\\\\\\\\\\", 1, NULL, "an odd number of backslashes"},
    {"\\\\\t\\\\", 2, "[\\][\\]", "a tab behind an escaped backslash"},
    {"a\\\tb", 1, "[a\tb]", "an escaped tab"},
    {"a\\\tb", 2, NULL, "... parts nothing"},
    {"a\\\nb", 1, "[a\nb]", "an escaped newline"},
    {"\\.\\a\\\"\\'\\ \\B\\X41\\8\\9", 1, "[.a\"' BX4189]", "characters without a meaning"},
    {"\\\xc3\xa4", 1, "[\xc3\xa4]", "a character of two bytes"},
    {"0123456789abcde\\t0123456789abcde\\t", 1, "[0123456789abcde\t0123456789abcde\t]",
     "escapes across blocks"},

    {"\\101\\60\\7x\\1012", 1, "[A0\ax\101" "2]", "octal"},
    {"\\18\\779\\5n", 1, "[\1" "8?9\5n]", "octal ends before other digits"},
    {"\\377\\400\\777", 1, "[\xff\x00\xff]", "octal keeps eight bits"}, /* see test_nul() */
    {"\\x41\\x4a\\x4A\\xff", 1, "[AJJ\xff]", "hexadecimal"},
    {"\\x9\t\\x9g\t\\x414", 3, "[\t][\tg][A4]", "hexadecimal with fewer and more digits"},
    {"\\x\t\\xg\t\\xx41\t\\x\\x41", 4, "[x][xg][xx41][xA]", "\\x without digits"},
    {"\\x4", 1, "[\4]", "hexadecimal at the end"},
    {"\\x", 1, "[x]", "\\x at the end"},
    {"\\1", 1, "[\1]", "octal at the end"},
    {"\\11\\\\\\x5c\\134N\\x09\\t", 1, "[\t\\\\\\N\t\t]", "what gives specials once more"},
    {"\\x5cN", 1, "[\\N]", "\\N written otherwise is no null"},

    {"a", 0, NULL, "a field too many for no columns"},
    {"\t", 0, NULL, "two too many for no columns"},
    {"\\N", 0, NULL, "a null too many for no columns"},
    {"a", 2, NULL, "a field too few"},
    {"", 2, NULL, "no field for two columns"},
    {"a\tb", 1, NULL, "a field too many"},
    {"a\t", 1, NULL, "an empty field too many"},
    {"\\N\t", 1, NULL, "an empty field too many behind null"},
    {"a\t\\N", 1, NULL, "a null too many"},
    {"\\N\t\\N", 3, NULL, "a null too few"},
    {"\\N\t\\N\t\\N", 2, NULL, "a null too many behind nulls"},
    {"\\", 1, NULL, "a lone backslash"},
    {"abc\\", 1, NULL, "a lone backslash at the end"},
    {"abc\t\\", 2, NULL, "a lone backslash as the last field"},
    {"0123456789abcdef0123456789abcd\\", 1, NULL, "a lone backslash at the end of a block"},
};

static void test_examples(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *e = &examples[i];
        char *line = xasprintf("%s\n", e->line);
        size_t row_len = e->row ? strlen(e->row) : 0;

        if (strstr(e->line, "\\400")) /* the row has a NUL in it */
            row_len = 5;
        ok(check(line, strlen(line), e->n, e->row, row_len), "%s", e->name);
        free(line);
    }
}

static void test_without_newline(void)
{
    static const char *const lines[] = {"", "a", "a\tb", "\\N", "\\", "\\\\", "a\n\t"};
    bool right = true;

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        for (uint16_t n = 0; n < 4; n++)
            right &= check(lines[i], strlen(lines[i]), n, NULL, 0);
    ok(right, "a line without its newline");
}

static void test_nul(void)
{
    static const char line[] = "a\0b\t\\0\t\\x00\0\n";
    static const char row[] = "[a\0b][\0][\0\0]";

    ok(check(line, sizeof line - 1, 3, row, sizeof row - 1), "NUL bytes stand for themselves");
}

static void test_whole_fields(void)
{
    char line[] = "one\t\\ntwo\t\\N\n";
    struct value v[3];

    ok(copy_row_parse(line, strlen(line), v, 3) && v[0].data == line && v[0].len == 3 &&
           v[1].data > line && v[1].data + v[1].len < line + sizeof line,
       "values borrow from the line");
    ok(v[2].kind == VALUE_NULL && v[2].len == 0 && !v[2].data, "a null has no bytes");
}

/* ---- many columns ---- */

/* Fields that name their column; every seventh is null. */
static void put_many(struct buf *line, struct buf *row, int n)
{
    for (int i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(line, '\t');
        if (i % 7 == 0) {
            buf_add_str(line, "\\N");
            buf_add_str(row, "NULL");
        } else {
            buf_printf(line, "%d\\n", i);
            buf_printf(row, "[%d\n]", i);
        }
    }
    buf_add_char(line, '\n');
}

static void test_many_columns(void)
{
    struct buf line;
    struct buf row;

    buf_init(&line, 16384);
    buf_init(&row, 16384);
    put_many(&line, &row, MOST_COLUMNS);
    ok(check(line.data, line.len, MOST_COLUMNS, row.data, row.len), "%d columns", MOST_COLUMNS);
    ok(check(line.data, line.len, MOST_COLUMNS - 1, NULL, 0), "... are one too many");
    ok(check(line.data, line.len, MOST_COLUMNS + 1, NULL, 0), "... are one too few");
    line.len = 0;
    for (int i = 1; i < UINT16_MAX; i++)
        buf_add_char(&line, '\t');
    buf_add_char(&line, '\n');
    row.len = 0;
    for (int i = 0; i < UINT16_MAX; i++)
        buf_add_str(&row, "[]");
    ok(check(line.data, line.len, UINT16_MAX, row.data, row.len), "%d columns", UINT16_MAX);
    buf_release(&row);
    buf_release(&line);
}

/* ---- at random ---- */

enum { ROWS = 20000, LINES = 200000 };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* As CopyAttributeOutText() of the server does it. */
static void put_escaped(struct buf *line, char c)
{
    static const char plain[] = "\b\f\n\r\t\v\\";
    static const char escaped[] = "bfnrtv\\";
    const char *found = c ? strchr(plain, c) : NULL;

    if (found)
        buf_add_char(line, '\\');
    buf_add_char(line, found ? escaped[found - plain] : c);
}

/* Of any bytes, or mostly of those that matter; mostly short. */
static void put_random_value(struct buf *line, struct buf *row, uint64_t *state)
{
    static const char mean[] = "\\\\\\NNntx01789abf\t\n.";
    size_t len = random_next(state) % (random_next(state) % 8 ? 12 : 100);
    bool any = random_next(state) % 3 == 0;

    if (random_next(state) % 6 == 0) {
        buf_add_str(line, "\\N");
        buf_add_str(row, "NULL");
        return;
    }
    buf_add_char(row, '[');
    while (len-- > 0) {
        char c = any ? (char)(unsigned char)random_next(state)
                     : mean[random_next(state) % (sizeof mean - 1)];

        buf_add_char(row, c);
        put_escaped(line, c);
    }
    buf_add_char(row, ']');
}

static void test_round_trip(void)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    struct buf line;
    struct buf row;
    unsigned i = 0;
    bool right = true;

    buf_init(&line, 4096);
    buf_init(&row, 4096);
    for (; i < ROWS && right; i++) {
        uint16_t n = (uint16_t)(1 + random_next(&state) % 12);

        line.len = row.len = 0;
        for (int column = 0; column < n; column++) {
            if (column > 0)
                buf_add_char(&line, '\t');
            put_random_value(&line, &row, &state);
        }
        buf_add_char(&line, '\n');
        right = check(line.data, line.len, n, row.data, row.len);
    }
    ok(right, "%d random rows, escaped and parsed", ROWS);
    if (!right)
        tap_note("row %u: %.*s", i, (int)line.len, line.data);
    buf_release(&row);
    buf_release(&line);
}

/* The rules, byte by byte and without any haste: what the parser has to agree with. */
struct model {
    const char *s;
    const char *end; /* the newline */
    struct buf *row;
};

static int digit(const struct model *m, int base)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *found = m->s < m->end && *m->s ? strchr(digits, *m->s) : NULL;
    int value = !found ? base : (int)(found - digits) > 15 ? (int)(found - digits) - 6
                                                            : (int)(found - digits);

    return value < base ? value : -1;
}

static void model_digits(struct model *m, int base, int most)
{
    int n = 0;

    for (; most > 0 && digit(m, base) >= 0; most--) {
        n = n * base + digit(m, base);
        m->s++;
    }
    buf_add_char(m->row, (char)(unsigned char)(n & 255));
}

/* At the character behind a backslash. */
static void model_escape(struct model *m)
{
    static const char letters[] = "bfnrtv";
    const char *found = *m->s ? strchr(letters, *m->s) : NULL;

    if (digit(m, 8) >= 0) {
        model_digits(m, 8, 3);
        return;
    }
    m->s++;
    if (m->s[-1] == 'x' && digit(m, 16) >= 0)
        model_digits(m, 16, 2);
    else
        buf_add_char(m->row, found ? "\b\f\n\r\t\v"[found - letters] : m->s[-1]);
}

/* The row of n fields in m->row, or false. */
static bool model_parse(struct model *m, int n)
{
    for (int i = 1;; i++) {
        size_t left = (size_t)(m->end - m->s);
        bool null = left >= 2 && memcmp(m->s, "\\N", 2) == 0 && (left == 2 || m->s[2] == '\t');

        m->s += null ? 2 : 0;
        buf_add_str(m->row, null ? "NULL" : "[");
        for (; m->s < m->end && *m->s != '\t';) {
            if (*m->s++ != '\\')
                buf_add_char(m->row, m->s[-1]);
            else if (m->s == m->end)
                return false;
            else
                model_escape(m);
        }
        buf_add_str(m->row, null ? "" : "]");
        if (m->s == m->end)
            return i == n;
        m->s++;
    }
}

/* Whether the parsers and the model agree on a line of n fields; behind it is room for a newline. */
static bool agrees(char *line, size_t len, uint16_t n, bool *accepted)
{
    struct buf row;
    struct model m = {.s = line, .end = line + len, .row = &row};
    bool right;

    buf_init(&row, 1024);
    line[len] = '\n';
    *accepted = model_parse(&m, n);
    right = check(line, len + 1, n, *accepted ? row.data : NULL, row.len);
    if (!right)
        tap_note("%d fields: %.*s", n, (int)len, line);
    buf_release(&row);
    return right;
}

/* What matters, wherever in a block, or across two, it may stand. */
static void test_places(void)
{
    static const struct {
        const char *text;
        uint16_t n;
    } parts[] = {
        {"\tb", 2},          {"\t", 2},         {"\\N", 1},
        {"\t\\N", 2},        {"\t\\N\tx", 3},   {"\t\\Nx\t", 3},
        {"\t\\\\N\t", 3},    {"\t\\tx\t\\N", 3}, {"x\\\\\ty", 2},
        {"\\x41\\101\t", 2}, {"\\\tb\\\\", 1},  {"\\", 1},
        {"\t\\", 2},         {"\t\\\\\\", 2},
    };
    enum { MOST_BEFORE = 140, MOST_BEHIND = 70 };
    bool right = true, accepted;
    char line[MOST_BEFORE + MOST_BEHIND + 16];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (size_t before = 0; before <= MOST_BEFORE; before++)
            for (size_t behind = 0; behind <= MOST_BEHIND; behind += 23) {
                size_t len = strlen(parts[i].text);

                memset(line, 'a', before);
                memcpy(line + before, parts[i].text, len);
                memset(line + before + len, 'z', behind);
                right &= agrees(line, before + len + behind, parts[i].n, &accepted);
            }
    ok(right, "tabs, nulls and escapes at any place of a line");
}

static void test_hostile(void)
{
    static const char mean[] = "\\\\\\\\N\t\tnbfrvtx0123789aAfF\n.";
    uint64_t state = UINT64_C(0x2545f4914f6cdd1d);
    unsigned count = 0;
    unsigned i = 0;
    bool right = true;

    for (; i < LINES && right; i++) {
        char line[256];
        size_t len = random_next(&state) % (i % 4 ? 70 : 200);
        uint16_t n = 0;
        bool accepted;

        for (size_t at = 0; at < len; at++) {
            line[at] = mean[random_next(&state) % (sizeof mean - 1)];
            n = (uint16_t)(n + (line[at] == '\t' && (at == 0 || line[at - 1] != '\\')));
        }
        n = (uint16_t)(n + 1 - (random_next(&state) % 5 == 0 && n > 0));
        right = agrees(line, len, n, &accepted);
        count += accepted;
    }
    ok(right, "%d lines of nothing but trouble, against a model", LINES);
    ok(count > LINES / 5 && count < LINES - LINES / 10, "... of which some are rows: %u", count);
}

int main(void)
{
    test_examples();
    test_without_newline();
    test_nul();
    test_whole_fields();
    test_many_columns();
    test_round_trip();
    test_places();
    test_hostile();
    return tap_done();
}
