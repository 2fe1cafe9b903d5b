/*
 * The order of keys.  KEY_SEED and KEY_ROUNDS choose other random values, and more of them.
 */
#include "snapshot/key.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/tap.h"

static uint64_t chance = 1;

static uint64_t draw(void)
{
    uint64_t x = chance += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static struct value text_value(const char *text)
{
    return (struct value){.data = text, .len = (uint32_t)strlen(text), .kind = VALUE_TEXT};
}

static const struct value null_value = {.kind = VALUE_NULL};

/* A value behind which memory ends: nothing may be read there. */
static struct value exact_value(const char *text)
{
    struct value v = text_value(text);
    char *copy = malloc(v.len ? v.len : 1);

    if (!copy)
        log_out_of_memory();
    memcpy(copy, text, v.len);
    v.data = copy;
    return v;
}

enum { MOST = 3 };

static bool within(const enum key_order *orders, uint16_t n, const struct value *row,
                   const char *const *bound)
{
    static uint16_t positions[MOST] = {0, 1, 2};
    struct key_column columns[MOST] = {{0}};
    struct key k = {.columns = columns, .n = n, .plain = true, .positions = positions};
    char *values[MOST];
    struct bound b = {.kind = BOUND_KEY, .n = n, .values = values};
    struct comparer nobody = {0};

    for (uint16_t i = 0; i < n; i++) {
        columns[i].order = orders[i];
        values[i] = (char *)(uintptr_t)bound[i];
    }
    return key_within(&k, row, &b, &nobody);
}

/* -1, 0, 1, asking in both directions. */
static int compare_as(enum key_order order, const char *a, const char *b)
{
    struct value va = exact_value(a), vb = exact_value(b);
    bool below = within(&order, 1, &va, &b), above = within(&order, 1, &vb, &a);

    free((void *)(uintptr_t)va.data);
    free((void *)(uintptr_t)vb.data);
    if (below && above)
        return 0;
    return below ? -1 : above ? 1 : 99;
}

/* ---- whole numbers ---- */

static void check_numbers(void)
{
    static const char *const rising[] = {
        "-9223372036854775808", "-9223372036854775807", "-1000000000000000000",
        "-999999999999999999",  "-2147483648",          "-100",
        "-99",                  "-10",                  "-9",
        "-1",                   "0",                    "1",
        "9",                    "10",                   "99",
        "100",                  "2147483647",           "4294967295",
        "999999999999999999",   "1000000000000000000",  "9223372036854775807",
        "18446744073709551615", "99999999999999999999", "100000000000000000000",
    };
    enum { N = sizeof rising / sizeof rising[0] };
    unsigned bad = 0;

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            if (compare_as(ORDER_NUMBER, rising[i], rising[j]) != (i > j) - (i < j)) {
                tap_note("%s and %s", rising[i], rising[j]);
                bad++;
            }
    ok(bad == 0, "whole numbers in order, %d pairs", N * N);
}

static void check_spellings(void)
{
    static const char *const same[][2] = {{"0", "-0"},    {"-0", "000"},   {"007", "7"},
                                          {"-007", "-7"}, {"-00", "0"},    {"0100", "100"},
                                          {"-0100", "-100"}};
    unsigned bad = 0;

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        bad += compare_as(ORDER_NUMBER, same[i][0], same[i][1]) != 0;
    ok(bad == 0, "leading zeros and the sign of zero mean nothing");
    ok(compare_as(ORDER_NUMBER, "009", "10") < 0 && compare_as(ORDER_NUMBER, "-010", "-9") < 0 &&
           compare_as(ORDER_NUMBER, "-01", "-0") < 0 && compare_as(ORDER_NUMBER, "-0", "01") < 0,
       "... between different numbers, too");
}

/* Numbers of every length; those near one another often. */
static int64_t draw_number(void)
{
    uint64_t n = draw() >> (draw() % 64);

    return draw() % 2 ? (int64_t)n : (int64_t)(0 - n);
}

static void check_random_numbers(uint64_t rounds)
{
    unsigned bad = 0;

    for (uint64_t i = 0; i < rounds && bad < 5; i++) {
        int64_t a = draw_number();
        int64_t b = draw() % 3 ? draw_number() : (int64_t)((uint64_t)a + draw() % 3 - 1);
        char ta[32], tb[32];

        snprintf(ta, sizeof ta, "%" PRId64, a);
        snprintf(tb, sizeof tb, "%" PRId64, b);
        if (compare_as(ORDER_NUMBER, ta, tb) == (a > b) - (a < b))
            continue;
        tap_note("%s and %s", ta, tb);
        bad++;
    }
    ok(bad == 0, "%llu pairs of random numbers", (unsigned long long)rounds);
}

/* ---- bytes ---- */

static void check_bytes(void)
{
    static const char *const rising[] = {"",   "\x01", " ",    "-1",       "0",       "00",  "1",
                                         "10", "2",    "A",    "AB",       "Z",       "a",   "a ",
                                         "aa", "b",    "\x7f", "\xc3\xa4", "\xc3\xb6", "\xff"};
    enum { N = sizeof rising / sizeof rising[0] };
    unsigned bad = 0;

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            if (compare_as(ORDER_BYTES, rising[i], rising[j]) != (i > j) - (i < j)) {
                tap_note("\"%s\" and \"%s\"", rising[i], rising[j]);
                bad++;
            }
    ok(bad == 0, "bytes in order, unsigned, shorter first, %d pairs", N * N);
}

/* ---- several columns, nulls ---- */

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void check_composite(uint64_t rounds)
{
    static const char *const words[] = {"", "a", "aa", "b"};
    static const enum key_order orders[] = {ORDER_NUMBER, ORDER_BYTES, ORDER_NUMBER};
    unsigned bad = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        int a[3], b[3], order = 0;
        char ta[2][16], tb[2][16];
        struct value row[3];
        const char *bound[3];

        for (int k = 0; k < 3; k++) {
            a[k] = (int)(draw() % 4);
            b[k] = (int)(draw() % 4);
            if (order == 0)
                order = sign(a[k] - b[k]);
        }
        for (int k = 0; k < 2; k++) {
            snprintf(ta[k], sizeof ta[k], "%d", 9 * a[2 * k] - 10);
            snprintf(tb[k], sizeof tb[k], "%d", 9 * b[2 * k] - 10);
            row[2 * k] = text_value(ta[k]);
            bound[2 * k] = tb[k];
        }
        row[1] = text_value(words[a[1]]);
        bound[1] = words[b[1]];
        bad += within(orders, 3, row, bound) != (order <= 0);
    }
    ok(bad == 0, "keys of three columns");
}

static void check_nulls(void)
{
    static const enum key_order orders[] = {ORDER_NUMBER, ORDER_BYTES};
    const char *bound[] = {"5", "m"};
    struct value first[] = {null_value, text_value("a")};
    struct value last[] = {text_value("5"), null_value}, inner[] = {text_value("4"), null_value};
    struct value plain[] = {text_value("4"), text_value("z")};

    ok(!within(orders, 1, first, bound), "null comes behind every key");
    ok(!within(orders, 2, first, bound) && !within(orders, 2, last, bound) &&
           !within(orders, 2, inner, bound),
       "a key of which a part is null is read with the nulls, at the end");
    ok(within(orders, 2, plain, bound), "... and the same without is not");
}

/* ---- bounds ---- */

static void check_bounds(void)
{
    static uint16_t positions[] = {2, 0};
    struct key k = {.n = 2, .plain = true, .positions = positions};
    struct value row[] = {text_value("second"), text_value("other"), text_value("first")};
    struct value nulls[] = {null_value, null_value, null_value};
    struct bound none = {.kind = BOUND_NONE}, end = {.kind = BOUND_END}, b, copy;
    struct comparer nobody = {0};

    ok(!key_within(&k, row, &none, &nobody) && !key_within(&k, nulls, &none, &nobody),
       "nothing is within no bound");
    ok(key_within(&k, row, &end, &nobody) && key_within(&k, nulls, &end, &nobody),
       "everything is within the end");
    row[0].len = 3;
    row[2] = exact_value("first");
    b = bound_of_row(row, positions, 2);
    free((void *)(uintptr_t)row[2].data);
    ok(b.kind == BOUND_KEY && b.n == 2 && strcmp(b.values[0], "first") == 0 &&
           strcmp(b.values[1], "sec") == 0,
       "the bound of a row: its key's columns, in their order, owned");
    copy = bound_copy(&b);
    bound_release(&b);
    ok(b.n == 0 && !b.values && b.kind == BOUND_NONE, "released");
    ok(copy.kind == BOUND_KEY && copy.n == 2 && strcmp(copy.values[0], "first") == 0 &&
           strcmp(copy.values[1], "sec") == 0,
       "a copy lives on");
    bound_release(&copy);
    copy = bound_copy(&end);
    ok(copy.kind == BOUND_END && copy.n == 0 && !copy.values, "a copy of the end");
    bound_release(&copy);
}

/* ---- the server compares ---- */

static struct {
    int asked, answered;
    const struct key *about;
    bool answers[2];
} server;

static void ask(void *arg, const struct key *k, const struct value *row, const struct bound *b)
{
    (void)row;
    (void)b;
    server.about = arg == &server ? k : NULL;
    server.asked++;
}

static bool answer(void *arg, const struct key *k)
{
    server.about = arg == &server ? k : NULL;
    return server.answers[server.answered++];
}

static void check_server(void)
{
    static uint16_t positions[] = {0};
    struct key k = {.n = 1, .positions = positions};
    struct value row = text_value("x"), null = null_value;
    char *values[] = {(char *)(uintptr_t)"y"};
    struct bound b = {.kind = BOUND_KEY, .n = 1, .values = values};
    struct bound none = {.kind = BOUND_NONE}, end = {.kind = BOUND_END};
    struct comparer collect = {.collect = true, .ask = ask, .arg = &server};
    struct comparer give = {.answer = answer, .arg = &server};

    ok(!key_within(&k, &row, &b, &collect) && server.asked == 1 && server.about == &k,
       "a question is noted");
    server.answers[0] = true;
    ok(key_within(&k, &row, &b, &give) && !key_within(&k, &row, &b, &give) &&
           server.answered == 2 && server.about == &k,
       "answers are taken");
    ok(!key_within(&k, &null, &b, &collect) && !key_within(&k, &row, &none, &collect) &&
           key_within(&k, &row, &end, &collect) && !key_within(&k, &null, &b, &give) &&
           !key_within(&k, &row, &none, &give) && key_within(&k, &row, &end, &give) &&
           server.asked == 1 && server.answered == 2,
       "what needs no server is not asked for");
}

/* ---- the columns in a relation ---- */

/* Whether nothing, or something with that word, was logged by key_locate(). */
static bool locate(struct key *k, const struct relation *r, const char *word)
{
    char text[512] = "";
    FILE *file = tmpfile();
    int keep = dup(2);
    size_t n;
    bool found;

    fflush(stderr);
    if (!file || keep < 0 || dup2(fileno(file), 2) < 0)
        return false;
    found = key_locate(k, r);
    fflush(stderr);
    dup2(keep, 2);
    close(keep);
    rewind(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    if (found || !word)
        return found && !word && n == 0;
    return strstr(text, word) && strstr(text, "Begin anew");
}

static void check_locate(void)
{
    static char a[] = "a", b[] = "b", c[] = "c", upper[] = "A";
    static char schema[] = "public", name[] = "t";
    struct column columns[] = {{.name = c}, {.name = b}, {.name = a}}, other[] = {{.name = upper}};
    struct relation r = {
        .schema = schema, .name = name, .ncolumns = 3, .columns = columns, .version = 1};
    struct relation twin = r;
    struct key k = {.n = 2};

    k.columns = xcalloc(2, sizeof *k.columns);
    k.columns[0] = (struct key_column){.name = xstrdup("a"), .type = xstrdup("int")};
    k.columns[1] = (struct key_column){.name = xstrdup("c"), .collation = xstrdup("\"C\"")};
    ok(locate(&k, &r, NULL) && k.positions[0] == 2 && k.positions[1] == 0, "columns are found");
    columns[2].name = c;
    columns[0].name = a;
    ok(locate(&k, &r, NULL) && k.positions[0] == 2, "the same version is not looked at again");
    r.version = 2;
    ok(locate(&k, &r, NULL) && k.positions[0] == 0 && k.positions[1] == 2, "a new version is");
    twin.version = 2;
    twin.ncolumns = 2;
    ok(locate(&k, &twin, "\"c\""), "a column that is missing is an error, and named");
    twin.columns = other;
    twin.ncolumns = 1;
    ok(locate(&k, &twin, "\"a\""), "names differ in case, too");
    ok(locate(&k, &r, NULL) && k.positions[0] == 0 && k.positions[1] == 2,
       "the other relation is still known, or found again");
    key_release(&k);
    ok(!k.columns && !k.positions && k.n == 0, "released");
}

int main(void)
{
    uint64_t rounds = number_of("KEY_ROUNDS", 200000);

    chance = number_of("KEY_SEED", 1);
    check_numbers();
    check_spellings();
    check_random_numbers(rounds);
    check_bytes();
    check_composite(rounds);
    check_nulls();
    check_bounds();
    check_server();
    check_locate();
    return tap_done();
}
