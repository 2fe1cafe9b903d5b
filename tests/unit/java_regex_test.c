/*
 * Tests of java_regex and code_set: what becomes of a pattern, and which are refused, and why.
 * Whether the server then matches what Java matches is for tests/t/824_config_regex.t.
 */
#include "cli/java_regex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/code_set.h"
#include "tests/unit/tap.h"

#define NO_LINE_END "[^\\u000a\\u000d\\u0085\\u2028\\u2029]"
#define WORD "[A-Za-z0-9_]"
#define LINE_END "(?:$|(?=\\r\\n$|[\\r\\u0085\\u2028\\u2029]$)|(?<!\\r)(?=\\n$))"

static void becomes(const char *java, const char *expected)
{
    const char *why;
    char *got = java_regex_translate(java, &why);

    is_str(got ? got : why, expected, java);
    free(got);
}

static void is_refused(const char *java, const char *reason)
{
    const char *why = "(translated)";
    char *got = java_regex_translate(java, &why);

    is_str(got ? got : why, reason, java);
    free(got);
}

static void test_common(void)
{
    becomes("", "");
    becomes("public\\.orders", "(?i)public\\.orders");
    becomes("public.orders", "(?i)public" NO_LINE_END "orders");
    becomes("(products|documents)", "(?i)(products|documents)");
    becomes("a|b|", "(?i)a|b|");
    becomes("log_[0-9]{1,3}", "(?i)log_[0-9]{1,3}");
    becomes("a*b+c?d{2}e{2,}", "(?i)a*b+c?d{2}e{2,}");
    becomes("a*?b+?c??d{2}?e{2,}?", "(?i)a*b+c?d{2}e{2,}");
    becomes("_1\\.", "_1\\.");
    becomes("(?:a)(?=b)(?!c)(?<=d)(?<!e)", "(?i)(?:a)(?=b)(?!c)(?<=d)(?<!e)");
    becomes("(?<name1>a)", "(?i)(a)");
    becomes("a]b}-", "(?i)a\\]b\\}-");
    becomes("()", "()");
}

static void test_escapes(void)
{
    becomes("\\.\\*\\\\\\-\\_\\ ", "\\.\\*\\\\-_ ");
    becomes("\\x41\\x{42}\\u0043\\0104\\t\\n\\e", "(?i)ABCD\\u0009\\u000a\\u001b");
    becomes("\\cA", "\\u0001");
    becomes("\\d\\w\\s", "[0-9][0-9A-Z_a-z][\\u0009-\\u000d ]");
    becomes("\\D\\W\\S", "[^0-9][^0-9A-Z_a-z][^\\u0009-\\u000d ]");
    becomes("\\v\\h", "[\\u000a-\\u000d\\u0085\\u2028\\u2029]"
                      "[\\u0009 \\u00a0\xe1\x9a\x80\xe1\xa0\x8e\xe2\x80\x80-\xe2\x80\x8a\xe2\x80\xaf"
                      "\xe2\x81\x9f\xe3\x80\x80]");
    becomes("\\p{Digit}\\p{Alpha}\\P{Digit}\\p{ASCII}", "[0-9][A-Za-z][^0-9][\\u0001-\\u007f]");
    becomes("\\Qa.b*\\E*", "(?i)a\\.b\\**");
    becomes("\\Qa\\Q", "(?i)a\\\\Q");
    becomes("\\\\Q.\\\\E", "(?i)\\\\Q" NO_LINE_END "\\\\E");
    becomes("a\\Q\\Eb", "(?i)ab");
    is_refused("a\\", "a backslash at the end");
    is_refused("\\y", "an escape that Java does not know");
    is_refused("\\E", "an escape that Java does not know");
    is_refused("\\x4", "an escape with too few digits");
    is_refused("\\0", "an escape with too few digits");
    is_refused("\\u0000", "a NUL character");
    is_refused("\\x{110000}", "an escape that is no character");
    is_refused("\\ud83d\\ude00", "an escape that is no character");
    is_refused("\\x{41", "\\x{ without an end");
    is_refused("\\c", "\\c without a character");
}

static void test_ends(void)
{
    becomes("^a$", "(?i)^a$");
    becomes("a$|b\\Z|c\\z", "(?i)a$|b$|c$");
    becomes("a$b", "(?i)a" LINE_END "b");
    becomes("(a$)\\Z", "(?i)(a" LINE_END ")$");
    becomes("(?!.*_old$).*", "(?i)(?!" NO_LINE_END "*_old" LINE_END ")" NO_LINE_END "*");
    becomes("\\Aa\\z", "(?i)^a$");
    becomes("\\b", "(?:(?<=" WORD ")(?!" WORD ")|(?<!" WORD ")(?=" WORD "))");
    becomes("\\B", "(?:(?<=" WORD ")(?=" WORD ")|(?<!" WORD ")(?!" WORD "))");
}

static void test_classes(void)
{
    becomes("[abc]", "[A-Ca-c]");
    becomes("[^b]", "[^Bb]");
    becomes("[a-z&&[^b]]", "[AC-Zac-z]");
    becomes("[a-z&&b-d&&c]", "[Cc]");
    becomes("[a-c[x-z]]", "[A-CX-Za-cx-z]");
    becomes("[a&b]", "[&ABab]");
    becomes("[]a]", "[A\\]a]");
    becomes("[^]a]", "[^A\\]a]");
    becomes("[a-]", "[\\-Aa]");
    becomes("[-a]", "[\\-Aa]");
    becomes("[\\w.-]", "[\\-.0-9A-Z_a-z]");
    becomes("[\\[\\]^\\\\]", "[\\[-\\^]");
    becomes("[\\Q]-\\E]", "[\\-\\]]");
    becomes("[.$|()*+?{}]", "[$(-+.?{-}]");
    becomes("[\\s\\S]", ".");
    becomes("[_]", "_");
    becomes("[\\x61-\\x63]", "[A-Ca-c]");
    is_refused("[a&&b]", "a class that has no character");
    is_refused("[^\\s\\S]", "a class that has no character");
    is_refused("[a", "a class without an end");
    is_refused("[a-", "a class without an end");
    is_refused("[", "a class without an end");
    is_refused("[]", "a class without an end");
    is_refused("[z-a]", "a range that ends before it begins");
    is_refused("[a-\\d]", "a class as the end of a range");
    is_refused("[^a&&b]", "&& in a negated class");
    is_refused("[^a[b]]", "a class within a negated class");
    is_refused("[a&&]", "&& without a class on both sides");
    is_refused("[&&a]", "&& without a class on both sides");
    is_refused("[a&&&b]", "&&&");
    is_refused("[a-z&&[b]c]", "&& with more than one class behind it");
    is_refused("[a-z&&[b][c]]", "&& with more than one class behind it");
    is_refused("[\\b]", "a word boundary in a class");
    is_refused("\\p{Lower}", "\\p{Lower} or \\p{Upper} with the case ignored");
}

static void test_case(void)
{
    becomes("a\xc3\xa9", "[Aa]\xc3\xa9");
    becomes("[\xc3\xa9-\xc3\xbc]x", "[\xc3\xa9-\xc3\xbc][Xx]");
    becomes("(?-i)aB", "aB");
    becomes("a(?-i)b|c", "[Aa]b|c");
    becomes("(a(?-i)b)c", "([Aa]b)[Cc]");
    becomes("(?-i:a[b])c", "(?:ab)[Cc]");
    becomes("(?-i)\\p{Lower}(?i)a", "[a-z][Aa]");
    becomes("(?s).a", "(?i).a");
    becomes("(?s:.).", "(?:.)" NO_LINE_END);
    becomes("(?s-s).", NO_LINE_END);
}

static void test_refused(void)
{
    is_refused("a*+", "a possessive quantifier");
    is_refused("a++", "a possessive quantifier");
    is_refused("a?+", "a possessive quantifier");
    is_refused("a{2}+", "a possessive quantifier");
    is_refused("(?>a)", "an atomic group");
    is_refused("(a)\\1", "a back reference");
    is_refused("(?<n>a)\\k<n>", "a back reference");
    is_refused("\\pL", "a class of Unicode (\\p)");
    is_refused("\\p{IsLatin}", "a class of Unicode (\\p)");
    is_refused("\\p{", "a class of Unicode (\\p)");
    is_refused("\\R", "\\G, \\R, \\X or \\N");
    is_refused("\\G", "\\G, \\R, \\X or \\N");
    for (const char *flag = "dmuxU"; *flag; flag++) {
        char pattern[] = "(?_)a";

        pattern[2] = *flag;
        is_refused(pattern,
        "a group or flag other than (?:, (?=, (?!, (?<=, (?<!, (?<name>, i and s");
    }
    is_refused("(?P<a>b)",
               "a group or flag other than (?:, (?=, (?!, (?<=, (?<!, (?<name>, i and s");
    is_refused("(?<a", "a group's name without an end");
    is_refused("(?", "a group or flag other than (?:, (?=, (?!, (?<=, (?<!, (?<name>, i and s");
    is_refused("(a", "a group without an end");
    is_refused("a)", "a ) without a (");
    is_refused("*a", "a repetition of nothing");
    is_refused("a|*", "a repetition of nothing");
    is_refused("(+a)", "a repetition of nothing");
    is_refused("a**", "a repetition of a repetition");
    is_refused("a{2}{3}", "a repetition of a repetition");
    is_refused("^*", "a repetition of what has no characters");
    is_refused("(?=a)+", "a repetition of what has no characters");
    is_refused("a{x}", "a { without a number behind it");
    is_refused("a{,3}", "a { without a number behind it");
    is_refused("products_[0-9]{1", "a { without an end");
    is_refused("a{2,1}", "a repetition whose end is before its beginning");
    is_refused("a{256}", "a repetition of more than 255");
    is_refused("a{1,99999999999}", "a repetition of more than 255");
}

/* As deep as somebody likes. */
static void test_depth(void)
{
    enum { DEEP = 100000 };
    char *pattern = xcalloc(DEEP + 1, 1);
    const char *why;

    for (const char *p = "(["; *p; p++) {
        memset(pattern, *p, DEEP);
        ok(!java_regex_translate(pattern, &why) && strcmp(why, "nested too deeply") == 0,
           "a hundred thousand of %c", *p);
    }
    free(pattern);
}

static void splits(const char *list, const char *expected)
{
    struct string_list pieces = java_regex_split(list);
    char text[200] = "";

    for (size_t i = 0; i < pieces.count; i++) {
        size_t len = strlen(text);

        snprintf(text + len, sizeof text - len, "<%s>", pieces.items[i]);
        free((void *)(uintptr_t)pieces.items[i]);
    }
    free(pieces.items);
    is_str(text, expected, list);
}

static void test_lists(void)
{
    splits("", "");
    splits("a", "<a>");
    splits("a,b", "<a><b>");
    splits(" a b\t,\f b ,", "<a b><b>");
    splits(",,a,,", "<a>");
    splits("a{1\\,3},b", "<a{1,3}><b>");
    splits("a\\.b,c\\\\,d", "<a\\.b><c\\\\><d>");
    splits("[a,b]", "<[a><b]>");
    splits("a\\", "<a\\>");
    splits("\\,", "<,>");
}

static bool is_member(const bool *model, uint32_t code)
{
    return code > 0 && code < 300 && model[code];
}

/* Against a model of flags, with ranges that touch, overlap and lie within one another. */
static void test_sets(void)
{
    unsigned wrong = 0, seed = 1;

    for (int round = 0; round < 300; round++) {
        struct code_set s = {0};
        bool model[300] = {false};

        for (int i = 0; i < 12; i++) {
            uint32_t first = (seed = seed * 1103515245 + 12345) >> 16 & 255;
            uint32_t last = first + ((seed >> 8) & 15);

            code_set_add(&s, first, last);
            for (uint32_t c = first; c <= last; c++)
                model[c] = true;
        }
        for (uint32_t c = 0; c < 300; c++)
            wrong += code_set_has(&s, c) != is_member(model, c);
        for (size_t i = 1; i < s.count; i++)
            wrong += s.ranges[i].first <= s.ranges[i - 1].last + 1;
        code_set_complement(&s);
        for (uint32_t c = 1; c < 300; c++)
            wrong += code_set_has(&s, c) == is_member(model, c);
        wrong += !code_set_has(&s, CODE_POINT_LAST) || code_set_has(&s, 0);
        code_set_release(&s);
    }
    ok(wrong == 0, "sets are what was added, and complements the rest (%u wrong)", wrong);
}

int main(void)
{
    test_common();
    test_escapes();
    test_ends();
    test_classes();
    test_case();
    test_refused();
    test_depth();
    test_lists();
    test_sets();
    return tap_done();
}
