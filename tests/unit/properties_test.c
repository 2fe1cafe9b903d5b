/*
 * Tests of properties and variables: what stands in a file, as java.util.Properties and Flink read
 * it, and what is said about files that are something else.
 */
#include "cli/properties.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/code_point.h"
#include "cli/variables.h"
#include "tests/unit/capture.h"
#include "tests/unit/tap.h"

static char path[] = "/tmp/properties_test.XXXXXX";

static void write_file(const char *to, const char *bytes, size_t n)
{
    FILE *file = fopen(to, "wb");

    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        perror(to);
        exit(1);
    }
}

/* key>value|key>value, each behind its line. */
static char *gist(const struct properties *p)
{
    struct buf b;
    char *text;

    buf_init(&b, 64);
    for (size_t i = 0; i < p->count; i++)
        buf_printf(&b, "%s%u:%s>%s", i ? "|" : "", p->items[i].line, p->items[i].key,
                   p->items[i].value);
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

static void reads(const char *bytes, const char *expected, const char *name)
{
    struct properties p;
    char *got;

    log_forget();
    write_file(path, bytes, strlen(bytes));
    if (!properties_read(&p, path, NULL)) {
        ok(false, "%s: is read", name);
        tap_note("%s", logged());
        return;
    }
    got = gist(&p);
    is_str(got, expected, name);
    free(got);
    properties_release(&p);
}

static void refuses_bytes(const char *bytes, size_t n, const char *expected, const char *name)
{
    struct properties p;
    bool read;

    log_forget();
    write_file(path, bytes, n);
    read = properties_read(&p, path, NULL);
    ok(!read && strstr(logged(), expected), "%s: refused", name);
    if (read)
        properties_release(&p);
    if (!strstr(logged(), expected))
        tap_note("said: %s", logged());
}

static void refuses(const char *bytes, const char *expected, const char *name)
{
    refuses_bytes(bytes, strlen(bytes), expected, name);
}

/* ---- java.util.Properties: Java 17 reads the same, but for the byte order mark ---- */

static void test_lines(void)
{
    reads("a=b\n", "1:a>b", "key=value");
    reads("a = b\n", "1:a>b", "with blanks");
    reads("a: b\nc :d\n", "1:a>b|2:c>d", "with a colon");
    reads("a b c\n", "1:a>b c", "with a blank alone");
    reads("a\t=\tb", "1:a>b", "tabs, and no line end");
    reads("a==b\nc=:d\ne: = f\n", "1:a>=b|2:c>:d|3:e>= f", "only the first separator is one");
    reads("  \t a=b\n\n   \nc=d", "1:a>b|4:c>d", "blanks in front, empty lines");
    reads("a=b  \n", "1:a>b  ", "blanks at the end of a value stay");
    reads("a\nb=\n", "1:a>|2:b>", "no value");
    reads("# c=d\n ! e=f\na=b # no comment\n", "3:a>b # no comment", "comments");
    reads("#a=b\\\nc=d\n", "2:c>d", "a comment does not go on in the next line");
    reads("a=b\r\nc=d\re=f\n", "1:a>b|2:c>d|3:e>f", "all kinds of line ends");
    reads("\xef\xbb\xbf" "a=b\n", "1:a>b", "a byte order mark");
    reads("", "", "an empty file");
    reads("a=\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", "1:a>\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
          "UTF-8");
}

static void test_continuation(void)
{
    reads("a=b\\\n   c\\\n\td\ne=f", "1:a>bcd|4:e>f", "a line that goes on");
    reads("a=b\\\r\n  c\r\n", "1:a>bc", "with \\r\\n");
    reads("a=b\\\\\nc=d\n", "1:a>b\\|2:c>d", "two backslashes are one, and the line ends");
    reads("a=b\\\\\\\nc=d\n", "1:a>b\\c=d", "three go on");
    reads("a=b\\\n# c\nd=e", "1:a>b# c|3:d>e", "no comment within a value");
    reads("a=b\\\n\nc=d", "1:a>b|3:c>d", "an empty line ends it");
    reads("a=b\\", "1:a>b", "the file ends there");
    reads("a\\\n  b=c\n", "1:ab>c", "a key goes on");
    reads("a\\\n = \\\n  b\n", "1:a>b", "between the parts");
}

static void test_escapes(void)
{
    reads("a=\\t\\n\\r\\f|\\\\|\\:\\=\\#\\!\\ |\\q\n", "1:a>\t\n\r\f|\\|:=#! |q", "in a value");
    reads("a\\ b\\=c\\:d=e\n", "1:a b=c:d>e", "in a key");
    reads("a=\\u0041\\u00e4\\u20AC\\ud83d\\ude00\n",
          "1:a>A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\\u");
    reads("p=public\\\\.orders\n", "1:p>public\\.orders", "a pattern");
    refuses("a=b\nc=\\u12", "line 2 of", "\\u12");
    refuses("a=\\u12g4", "four hexadecimal digits", "\\u12g4");
    refuses("a=\\u0000", "cannot be part of a value", "\\u0000");
    refuses("a=\\ud83d", "half a character", "\\ud83d alone");
    refuses("a=\\ud83d\\u0041", "half a character", "\\ud83d before another");
    refuses("a=\\ude00", "half a character", "\\ude00 alone");
}

static void test_twice(void)
{
    reads("a=1\nb=2\na=3\n", "3:a>3|2:b>2", "the last of equal keys counts");
    ok(strstr(logged(), "warning: \"a\" is given twice in \"") &&
           strstr(logged(), "\", in lines 1 and 3: the last one counts"),
       "and it is said");
    reads("a=1\nA=2\n", "1:a>1|2:A>2", "case matters");
    ok(!*logged(), "and nothing is said");
}

static bool is_a(const char *key)
{
    return strcmp(key, "a") == 0;
}

static void test_list(void)
{
    static const char bytes[] = "a=1\nb=2\na=1\na=3\nb=4\n";
    struct properties p;
    char *got;

    log_forget();
    write_file(path, bytes, strlen(bytes));
    if (!properties_read(&p, path, is_a)) {
        ok(false, "keys that are lists are read");
        return;
    }
    got = gist(&p);
    is_str(got, "1:a>1|5:b>4|3:a>1|4:a>3", "all items of a list count, of others the last");
    free(got);
    ok(!strstr(logged(), "\"a\"") && strstr(logged(), "warning: \"b\" is given twice"),
       "that is said of the others alone");
    properties_release(&p);
}

/* ---- the WITH clause ---- */

static void test_with(void)
{
    reads("'a' = 'b',\n'c.d'='e'\n", "1:a>b|2:c.d>e", "lines");
    reads("  'a'  =  'b'  ,  'c'='d','e' = 'f'", "1:a>b|1:c>d|1:e>f", "several on a line");
    reads("'a' = 'it''s',\n'b' = ''\n'c' = ''''", "1:a>it's|2:b>|3:c>'", "quotes");
    reads("'a' = 'x\\.y\\t=:#',", "1:a>x\\.y\\t=:#", "a backslash is one, and all else, too");
    reads("'a' = ' b ', -- why\n-- 'c' = 'd',\n--\n'e' = 'f'", "1:a> b |4:e>f", "comments");
    reads("'a' = 'b',\nc=d\n'e'='f'\n# g\n", "1:a>b|2:c>d|3:e>f", "beside the other form");
    reads("a='b'\n", "1:a>'b'", "quotes around a value alone are part of it");
    refuses("'a' = 'b\n", "line 1 of", "no closing quote");
    refuses("'a = b\n'", "has no end", "nor of the key");
    refuses("x=y\n'a' 'b'\n", "line 2 of", "no =");
    refuses("'a' = b\n", "single quotes", "a value without quotes");
    refuses("'a' = 'b' 'c' = 'd'", "expected a comma", "no comma");
    refuses("'' = 'b'", "there is no key", "an empty key");
    refuses("=b\n", "there is no key", "an empty key in the other form");
    refuses("CREATE TEMPORARY TABLE t (\n", "this is SQL", "CREATE TABLE");
    ok(strstr(logged(),
       "HINT:  Of a CREATE TABLE take what stands between the parentheses of its WITH "
                        "clause"),
       "and it is said what to take");
    refuses("'a' = 'b'\n);\n", "line 2 of", "the end of the clause");
    refuses("'a' = 'b' );", "this is SQL", "the same on the line");
    refuses(" with (\n", "this is SQL", "its beginning");
    refuses(") WITH (\n", "this is SQL", "both");
}

/* ---- what is none ---- */

static void test_others(void)
{
    struct properties p;
    size_t n = 2u << 20;
    char *big = xcalloc(n + 1, 1);

    refuses_bytes("a=b\nc=\0d\n", 9, "line 2 of", "a NUL byte");
    ok(strstr(logged(), "a NUL byte"), "and it is called so");
    refuses("a=b\n\nc=\xe4\n", "line 3 of", "another encoding");
    ok(strstr(logged(), "this is not UTF-8"), "and it is called so");
    refuses_bytes("\xff\xfe" "a\0=\0", 6, "line 1 of", "UTF-16");
    memset(big, 'x', n);
    refuses_bytes(big, n, "too long", "a line of two megabytes");
    for (size_t i = 0; i + 2 <= n; i += 2)
        memcpy(big + i, "\\\n", 2);
    refuses_bytes(big, n, "there is no key", "a line that goes on for two megabytes");
    for (size_t i = 0; i + 8 <= n; i += 8)
        snprintf(big + i, 9, "k%06zu\n", i / 8);
    refuses_bytes(big, n - 1, "too many keys", "a quarter of a million keys");
    free(big);
    log_forget();
    ok(!properties_read(&p, "/", NULL), "a folder is refused");
    ok(strstr(logged(), "could not read \"/\": Is a directory"), "and called so");
    log_forget();
    ok(!properties_read(&p, "/nowhere/x", NULL), "a file that is not there is refused");
    ok(strstr(logged(), "could not open \"/nowhere/x\": No such file or directory"), "and named");
    log_forget();
    ok(!properties_read(&p, "/dev/zero", NULL), "a file without an end is refused");
}

/* ---- variables ---- */

static void resolves(const struct properties *p, const char *value, const char *expected,
                     bool secret, const char *name)
{
    const struct property property = {.value = (char *)(uintptr_t)value};
    char *got = NULL;
    bool is_secret;

    log_forget();
    if (ok(variables_resolve(p, &property, &got, &is_secret), "%s: resolved", name)) {
        is_str(got, expected, name);
        ok(is_secret == secret, "%s: secret or not", name);
    } else {
        tap_note("%s", logged());
    }
    free(got);
}

static void cannot_resolve(const struct properties *p, const char *value, const char *expected)
{
    const struct property property = {.value = (char *)(uintptr_t)value};
    char *got;
    bool secret;

    log_forget();
    ok(!variables_resolve(p, &property, &got, &secret) && strstr(logged(), expected),
       "%s: refused", value);
    if (!strstr(logged(), expected))
        tap_note("said: %s", logged());
    ok(!strstr(logged(), "hush"), "%s: no value is printed", value);
}

static void test_variables(void)
{
    const struct properties p = {.path = path};
    const char *name = strrchr(path, '/') + 1;
    char value[200], said[200];

    write_file(path, "pw=hush\nx\\:y=z\nnested=${env:HOME}\n", 34);
    setenv("CDC_TEST", "v", 1);
    unsetenv("CDC_NONE");
    resolves(&p, "plain", "plain", false, "no variable");
    resolves(&p, "a${env:CDC_TEST}b${env:CDC_TEST}", "avbv", false, "${env:} within text, twice");
    resolves(&p, "${x} $ {env:A} $${ ${", "${x} $ {env:A} $${ ${", false, "what is none");
    snprintf(value, sizeof value, "<${file:%s:pw}>", path);
    resolves(&p, value, "<hush>", true, "${file:} by its path");
    snprintf(value, sizeof value, "${file:%s:x:y}", name);
    resolves(&p, value, "z", true, "${file:} beside the file; a key with a colon");
    snprintf(value, sizeof value, "${file:%s:nested}", name);
    resolves(&p, value, "${env:HOME}", true, "what was put in is not looked at again");
    snprintf(value, sizeof value, "${file:%s:none}", name);
    snprintf(said, sizeof said, "\"%s\" has no key \"none\"", path);
    cannot_resolve(&p, value, said);
    cannot_resolve(&p, "${file:/nowhere/x:pw}", "could not open \"/nowhere/x\"");
    cannot_resolve(&p, "${file:pw}", "must be ${file:PATH:KEY}");
    cannot_resolve(&p, "${file::pw}", "must be ${file:PATH:KEY}");
    cannot_resolve(&p, "${env:CDC_NONE}", "the environment has no variable \"CDC_NONE\"");
    cannot_resolve(&p, "x${vault:a:b}",
                   "unknown provider \"vault\" in \"${vault:a:b}\": must be one of "
                                        "file, env");
}

/* ---- code points ---- */

static void test_code_points(void)
{
    static const uint32_t codes[] = {1,      0x7f,   0x80,   0x7ff,   0x800,
                                     0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    unsigned wrong = 0;
    struct buf b;

    buf_init(&b, 64);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        code_point_add(&b, codes[i]);
    buf_add_char(&b, '\0');
    ok(b.len == 1 + 1 + 2 + 2 + 3 * 4 + 4 + 4 + 1, "as many bytes as UTF-8 has");
    for (const char *at = b.data, *end = b.data + b.len - 1; at < end;) {
        static size_t i;

        wrong += code_point_take(&at) != codes[i++];
    }
    ok(wrong == 0, "the same characters come back");
    buf_release(&b);
}

int main(void)
{
    int fd = mkstemp(path);

    if (fd < 0)
        return 1;
    close(fd);
    capture_start();
    test_lines();
    test_continuation();
    test_escapes();
    test_twice();
    test_list();
    test_with();
    test_others();
    test_variables();
    test_code_points();
    capture_end();
    unlink(path);
    return tap_done();
}
