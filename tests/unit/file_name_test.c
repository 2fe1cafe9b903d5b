/*
 * Tests of file_name: placeholders, what must not be in the name of a file, numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deliver/file_name.h"
#include "tests/unit/tap.h"

enum { LSN = 0x16B3748 };

/* 2026-01-02 23:59:59.999999 UTC */
static const usec_t moment = 1767398399999999;

static const struct file_name shop = {
    .server = "shop", .schema = "public", .table = "orders", .lsn = LSN, .when = moment};

static void is_name(const char *pattern, const struct file_name *n, unsigned number,
                    const char *expected)
{
    char *name = file_name_make(pattern, n, number);

    is_str(name, expected, expected);
    free(name);
}

static void test_placeholders(void)
{
    is_name("{schema}", &shop, 0, "public");
    is_name("{table}", &shop, 0, "orders");
    is_name("{topic}", &shop, 0, "shop.public.orders");
    is_name("{lsn}", &shop, 0, "00000000016B3748");
    is_name("{date}", &shop, 0, "2026-01-02");
    is_name("a{table}b{table}{lsn}c", &shop, 0, "aordersborders00000000016B3748c");
    is_name("/x/{date}/{schema}/{table}.csv", &shop, 0, "/x/2026-01-02/public/orders.csv");
    is_name("plain", &shop, 0, "plain");
}

static void test_ends(void)
{
    struct file_name n = shop;

    n.lsn = UINT64_MAX;
    is_name("{lsn}", &n, 0, "FFFFFFFFFFFFFFFF");
    n.lsn = 0;
    is_name("{lsn}", &n, 0, "0000000000000000");
    n.when = 0;
    is_name("{date}", &n, 0, "1970-01-01");
    n.when = 86400 * USEC_PER_SEC - 1;
    is_name("{date}", &n, 0, "1970-01-01");
    n.when = 86400 * USEC_PER_SEC;
    is_name("{date}", &n, 0, "1970-01-02");
    n.when = 1709164800 * USEC_PER_SEC;
    is_name("{date}", &n, 0, "2024-02-29");
}

/* schema, table -> {schema}|{table} */
static void is_escaped(const char *schema, const char *table, const char *expected)
{
    struct file_name n = shop;

    n.schema = schema;
    n.table = table;
    is_name("{schema}|{table}", &n, 0, expected);
}

static void test_odd_names(void)
{
    is_escaped("a/b", "/", "a%2Fb|%2F");
    is_escaped("..", ".", "%2E.|%2E");
    is_escaped(".hidden", "a.b.", "%2Ehidden|a.b.");
    is_escaped("100%", "%2F", "100%25|%252F");
    is_escaped("a\nb", "\x01\x1f\x7f", "a%0Ab|%01%1F%7F");
    is_escaped("{table}", "{lsn}", "{table}|{lsn}");
    is_escaped("\xc3\xbc", "\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc|\xe2\x82\xac\xf0\x9f\x98\x80");
    is_escaped("\xfc", "a\xff\xfe", "%FC|a%FF%FE");
    is_escaped("\xc3\xbc\xfc", "\xc0\xaf", "%C3%BC%FC|%C0%AF"); /* the latter an overlong "/" */
    is_escaped("\xed\xa0\x80", "\xf4\x90\x80\x80", "%ED%A0%80|%F4%90%80%80");
    is_escaped(" ", "a b'\"\\*?", " |a b'\"\\*?");
}

/* Different names of tables give different names of files. */
static void test_injective(void)
{
    static const char *const names[] = {"a",   "%61", "a/b",  "a%2Fb", "a%252Fb", ".a",   "%2Ea",
                                        "..",  "%2E.", "%2E%2E", "\xfc", "%FC",     "%25FC", "\n",
                                        "%0A", "/",   "%2F",  "\xc3\xbc", "%C3%BC"};
    enum { N = sizeof names / sizeof *names };
    char *made[N];
    unsigned same = 0, bad = 0;

    for (size_t i = 0; i < N; i++) {
        struct file_name n = shop;

        n.table = names[i];
        made[i] = file_name_make("{table}", &n, 0);
        bad += strchr(made[i], '/') != NULL || made[i][0] == '.';
        for (size_t j = 0; j < i; j++)
            if (strcmp(made[i], made[j]) == 0) {
                same++;
                tap_note("%s: both of %s and of %s", made[i], names[i], names[j]);
            }
    }
    ok(same == 0, "no two names become one");
    ok(bad == 0, "none leads out of its folder or is hidden");
    for (size_t i = 0; i < N; i++)
        free(made[i]);
}

static void test_topics(void)
{
    struct file_name n = shop;

    n.server = "../x";
    n.schema = "a b\xc3\xbc";
    n.table = "c/d%-_.Z9\n";
    is_name("{topic}", &n, 0, ".._x.a_b__.c_d_-_.Z9_");
}

static void test_numbers(void)
{
    struct file_name n = shop;

    is_name("{table}.csv", &shop, 1, "orders_1.csv");
    is_name("{table}.csv", &shop, 4294967295u, "orders_4294967295.csv");
    is_name("{table}.csv.gz", &shop, 2, "orders.csv_2.gz");
    is_name("{table}", &shop, 1, "orders_1");
    is_name("a.b/{table}", &shop, 1, "a.b/orders_1");
    is_name("a/.{table}", &shop, 1, "a/.orders_1");
    is_name(".{table}", &shop, 1, ".orders_1");
    is_name("{schema}.{table}", &shop, 3, "public.orders_3");
    is_name("{topic}", &shop, 2, "shop.public.orders_2");
    is_name("{table}.d/{lsn}x.y", &shop, 1, "orders.d/00000000016B3748x_1.y");
    n.table = "a.b";
    is_name("{table}", &n, 1, "a.b_1");
}

static void is_unknown(const char *pattern, const char *expected)
{
    char *unknown = file_name_unknown(pattern);

    if (expected)
        is_str(unknown, expected, pattern);
    else
        ok(!unknown, "known: %s", pattern);
    free(unknown);
}

static void test_unknown(void)
{
    is_unknown("{schema}{table}{topic}{lsn}{date}", NULL);
    is_unknown("plain", NULL);
    is_unknown("", NULL);
    is_unknown("{tables}", "{tables}");
    is_unknown("{table}-{Table}.x", "{Table}");
    is_unknown("{}", "{}");
    is_unknown("{", "{");
    is_unknown("{table", "{table");
    is_unknown("{table}}", "}");
    is_unknown("}{table}", "}");
    is_unknown("{{table}}", "{{table}");
    is_unknown("{ table}", "{ table}");
}

static void test_kinds(void)
{
    static const struct {
        const char *pattern;
        bool any, tables;
    } cases[] = {
        {"a", false, false},          {"{lsn}", true, false},   {"{date}.{lsn}", true, false},
        {"{schema}", true, true},     {"{table}", true, true},  {"x{topic}", true, true},
        {"{tabl", true, false},       {"}", true, false},       {"table", false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ok(file_name_has_placeholders(cases[i].pattern) == cases[i].any, "%s: placeholders: %d",
           cases[i].pattern, cases[i].any);
        ok(file_name_tells_tables(cases[i].pattern) == cases[i].tables, "%s: tells tables: %d",
           cases[i].pattern, cases[i].tables);
    }
}

/* 63 bytes, each of them written as three. */
static void test_long(void)
{
    char table[64], expected[3 * 63 + 1] = "";
    struct file_name n = shop;

    memset(table, '/', 63);
    table[63] = '\0';
    for (int i = 0; i < 63; i++)
        memcpy(expected + 3 * i, "%2F", 4);
    n.table = table;
    is_name("{table}", &n, 0, expected);
}

int main(void)
{
    test_placeholders();
    test_ends();
    test_odd_names();
    test_injective();
    test_topics();
    test_numbers();
    test_unknown();
    test_kinds();
    test_long();
    return tap_done();
}
