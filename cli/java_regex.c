#include "cli/java_regex.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/code_point.h"
#include "cli/code_set.h"

enum { MOST_NESTED = 100, MOST_REPEATED = 255 /* RE_DUP_MAX of PostgreSQL */ };

/* A character of the pattern; within \Q…\E it means itself. */
struct element {
    uint32_t code;
    bool quoted;
};

struct translator {
    const struct element *at, *end;
    struct buf *out;
    const char *why; /* set where it fails */
    unsigned nested;
    bool ignore_case, dot_all; /* the flags in force */
    bool expand;       /* letters are given in both cases, rather than (?i) in front */
    bool must_expand;  /* (?i) would not do */
    bool has_letters;
};

static bool refuse(struct translator *t, const char *why)
{
    if (!t->why)
        t->why = why;
    return false;
}

/* ---- elements ---- */

static bool is_next(const struct translator *t, size_t ahead, char c)
{
    return (size_t)(t->end - t->at) > ahead && !t->at[ahead].quoted &&
           t->at[ahead].code == (uint32_t)c;
}

static bool skip_next(struct translator *t, char c)
{
    bool there = is_next(t, 0, c);

    t->at += there;
    return there;
}

/* Of the characters after `ahead`, whether they begin with this word. */
static bool is_word(const struct translator *t, const char *word)
{
    for (size_t i = 0; word[i]; i++)
        if (!is_next(t, i, word[i]))
            return false;
    return true;
}

static bool skip_word(struct translator *t, const char *word)
{
    bool there = is_word(t, word);

    t->at += there ? strlen(word) : 0;
    return there;
}

/* As numbers, without \Q and \E. */
static struct element *read_elements(const char *java, size_t *count)
{
    struct element *elements = xcalloc(strlen(java) + 1, sizeof *elements);
    bool quoted = false;

    *count = 0;
    while (*java) {
        if (java[0] == '\\' && java[1] == (quoted ? 'E' : 'Q')) {
            quoted = !quoted;
            java += 2;
            continue;
        }
        if (java[0] == '\\' && java[1] && !quoted) /* so that \\Q is a backslash and a Q */
            elements[(*count)++] = (struct element){code_point_take(&java), false};
        elements[(*count)++] = (struct element){code_point_take(&java), quoted};
    }
    return elements;
}

/* ---- escapes that are characters ---- */

static int hex_value(uint32_t c)
{
    return c >= '0' && c <= '9'   ? (int)(c - '0')
           : c >= 'a' && c <= 'f' ? (int)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (int)(c - 'A' + 10)
                                  : -1;
}

static bool is_letter(uint32_t c)
{
    return c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z';
}

static bool is_letter_or_digit(uint32_t c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

/* As many digits as there are, from `least` to `most`. */
static bool take_digits(struct translator *t, uint32_t base, unsigned least, unsigned most,
                        uint32_t *code)
{
    unsigned n = 0;

    for (*code = 0; n < most && t->at < t->end; n++, t->at++) {
        int digit = t->at->quoted ? -1 : hex_value(t->at->code);

        if (digit < 0 || digit >= (int)base)
            break;
        *code = *code * base + (uint32_t)digit;
    }
    return n >= least || refuse(t, "an escape with too few digits");
}

static bool take_hex(struct translator *t, uint32_t *code)
{
    if (!skip_next(t, '{'))
        return take_digits(t, 16, 2, 2, code);
    return take_digits(t, 16, 1, 6, code) &&
           (skip_next(t, '}') || refuse(t, "\\x{ without an end"));
}

/* \0, with up to three digits and at most 0377. */
static bool take_octal(struct translator *t, uint32_t *code)
{
    unsigned most = t->at < t->end && t->at->code <= '3' ? 3 : 2;

    return take_digits(t, 8, 1, most, code);
}

static bool is_code(struct translator *t, uint32_t code)
{
    if (code == 0)
        return refuse(t, "a NUL character");
    return (code <= CODE_POINT_LAST && (code < 0xd800 || code > 0xdfff)) ||
           refuse(t, "an escape that is no character");
}

/* Behind a backslash, at a letter or digit that may stand for a character. */
static bool take_character_escape(struct translator *t, uint32_t *code)
{
    static const char from[] = "tnrfae", stands_for[] = "\t\n\r\f\a\x1b";
    uint32_t c = (t->at++)->code;
    const char *found = c < 128 ? strchr(from, (int)c) : NULL;

    if (found) {
        *code = (uint32_t)stands_for[found - from];
        return true;
    }
    switch (c) {
    case '0':
        return take_octal(t, code) && is_code(t, *code);
    case 'x':
        return take_hex(t, code) && is_code(t, *code);
    case 'u':
        return take_digits(t, 16, 4, 4, code) && is_code(t, *code);
    case 'c':
        if (t->at == t->end)
            return refuse(t, "\\c without a character");
        *code = (t->at++)->code ^ 64;
        return is_code(t, *code);
    case 'k':
        return refuse(t, "a back reference");
    case 'G':
    case 'R':
    case 'X':
    case 'N':
        return refuse(t, "\\G, \\R, \\X or \\N");
    case 'b':
    case 'B':
        return refuse(t, "a word boundary in a class");
    default:
        break;
    }
    if (c >= '1' && c <= '9')
        return refuse(t, "a back reference");
    if (is_letter(c))
        return refuse(t, "an escape that Java does not know");
    *code = c;
    return true;
}

/* ---- classes ---- */

/* Java's names of classes of ASCII. */
static const struct {
    const char *name, *characters;
    bool depends; /* with the case ignored, on the version of Java */
} properties[] = {
    {"{Lower}", "abcdefghijklmnopqrstuvwxyz", true},
    {"{Upper}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", true},
    {"{Alpha}", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", false},
    {"{Digit}", "0123456789", false},
    {"{Alnum}", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", false},
    {"{XDigit}", "0123456789abcdefABCDEF", false},
    {"{Punct}", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", false},
    {"{Blank}", " \t", false},
    {"{Space}", " \t\n\v\f\r", false},
};

static bool take_property(struct translator *t, struct code_set *s)
{
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        if (!skip_word(t, properties[i].name))
            continue;
        if (properties[i].depends && t->ignore_case)
            return refuse(t, "\\p{Lower} or \\p{Upper} with the case ignored");
        code_set_add_ascii(s, properties[i].characters);
        return true;
    }
    if (!skip_word(t, "{ASCII}"))
        return refuse(t, "a class of Unicode (\\p)");
    code_set_add(s, 0, 127);
    return true;
}

static void add_horizontal(struct code_set *s)
{
    static const uint32_t others[] = {' ', '\t', 0xa0, 0x1680, 0x180e, 0x202f, 0x205f, 0x3000};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        code_set_add(s, others[i], others[i]);
    code_set_add(s, 0x2000, 0x200a);
}

static void add_line_ends(struct code_set *s)
{
    code_set_add_ascii(s, "\n\r");
    code_set_add(s, 0x85, 0x85);
    code_set_add(s, 0x2028, 0x2029);
}

/* Behind a backslash: \d and its like.  False: no such one, unless t->why is set. */
static bool take_class_escape(struct translator *t, struct code_set *s)
{
    uint32_t c = t->at < t->end ? t->at->code : 0;

    if (c > 127 || !c || !strchr("dDwWsShHvVpP", (int)c))
        return false;
    t->at++;
    switch (c | 32) {
    case 'd':
        code_set_add_ascii(s, "0123456789");
        break;
    case 'w':
        code_set_add_ascii(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        break;
    case 's':
        code_set_add_ascii(s, " \t\n\v\f\r");
        break;
    case 'h':
        add_horizontal(s);
        break;
    case 'v':
        add_line_ends(s);
        code_set_add_ascii(s, "\v\f");
        break;
    default:
        if (!take_property(t, s))
            return false;
    }
    if (!(c & 32))
        code_set_complement(s);
    return true;
}

/* A single character in a class, or the end of a range. */
static bool take_class_character(struct translator *t, uint32_t *code)
{
    if (skip_next(t, '\\')) {
        if (t->at == t->end)
            return refuse(t, "a backslash at the end");
        if (strchr("dDwWsShHvVpP", t->at->code < 128 ? (int)t->at->code : 0))
            return refuse(t, "a class as the end of a range");
        return take_character_escape(t, code);
    }
    *code = (t->at++)->code;
    return true;
}

/* A character, or a range of them. */
static bool take_range(struct translator *t, struct code_set *s)
{
    uint32_t first, last;

    if (!take_class_character(t, &first))
        return false;
    last = first;
    if (is_next(t, 0, '-') && t->end - t->at > 1 && !is_next(t, 1, ']') && !is_next(t, 1, '[')) {
        t->at++;
        if (is_word(t, "&&"))
            return refuse(t, "a range that ends in &&");
        if (!take_class_character(t, &last))
            return false;
        if (last < first)
            return refuse(t, "a range that ends before it begins");
    }
    t->must_expand |= last > 127;
    code_set_add(s, first, last);
    return true;
}

/* A class that is being read: what was before the last &&, and what came since. */
struct class {
    struct code_set before, part;
    bool negated, has_before, has_nested, has_other;
};

static bool take_class(struct translator *t, struct code_set *s);

/* Ends what && or the end of the class ends. */
static bool close_part(struct translator *t, struct class *c)
{
    if (!c->has_nested && !c->has_other)
        return refuse(t, "&& without a class on both sides");
    if (c->has_before && c->has_nested && c->has_other)
        return refuse(t, "&& with more than one class behind it");
    if (t->ignore_case)
        code_set_add_other_case(&c->part);
    if (c->has_before) {
        code_set_intersect(&c->before, &c->part);
        code_set_release(&c->part);
    } else {
        c->before = c->part;
        c->part = (struct code_set){0};
    }
    c->has_before = true;
    c->has_nested = c->has_other = false;
    return true;
}

static bool take_nested(struct translator *t, struct class *c)
{
    struct code_set nested = {0};
    bool taken;

    if (c->negated)
        return refuse(t, "a class within a negated class");
    if (c->has_before && c->has_nested)
        return refuse(t, "&& with more than one class behind it");
    taken = take_class(t, &nested);
    code_set_add_all(&c->part, &nested);
    code_set_release(&nested);
    c->has_nested = true;
    return taken;
}

static bool take_class_escape_into(struct translator *t, struct class *c)
{
    struct code_set named = {0};
    bool taken;

    t->at++; /* the backslash */
    taken = take_class_escape(t, &named);
    code_set_add_all(&c->part, &named);
    code_set_release(&named);
    if (!taken)
        t->at--;
    return taken;
}

static bool take_class_item(struct translator *t, struct class *c)
{
    if (is_word(t, "&&")) {
        t->at += 2;
        if (c->negated)
            return refuse(t, "&& in a negated class");
        if (is_next(t, 0, '&'))
            return refuse(t, "&&&");
        return close_part(t, c);
    }
    if (skip_next(t, '['))
        return take_nested(t, c);
    c->has_other = true;
    if (is_next(t, 0, '\\') && take_class_escape_into(t, c))
        return true;
    return !t->why && take_range(t, &c->part);
}

/* Behind its [. */
static bool take_class(struct translator *t, struct code_set *s)
{
    struct class c = {.negated = skip_next(t, '^')};
    bool first = true, taken = ++t->nested <= MOST_NESTED || refuse(t, "nested too deeply");

    for (; taken && (first || !is_next(t, 0, ']')); first = false)
        taken = t->at < t->end ? take_class_item(t, &c) : refuse(t, "a class without an end");
    taken = taken && close_part(t, &c);
    t->at += taken;
    t->nested--;
    if (c.negated)
        code_set_complement(&c.before);
    code_set_add_all(s, &c.before);
    code_set_release(&c.before);
    code_set_release(&c.part);
    return taken && (s->count || refuse(t, "a class that has no character"));
}

/* ---- atoms ---- */

/*
 * What can be repeated, and what cannot.  A repeated assertion means nothing, and PostgreSQL knows
 * of none.
 */
enum atom { ATOM_NONE, ATOM_SOMETHING, ATOM_ASSERTION, ATOM_FLAGS };

static bool take_alternatives(struct translator *t);

/* The end, or before a last line end, but not within one of two characters. */
static void add_end(struct translator *t, bool line_end)
{
    bool last = t->nested == 0 && (t->at == t->end || is_next(t, 0, '|'));

    buf_add_str(t->out, !line_end || last
                            ? "$"
                            : "(?:$|(?=\\r\\n$|[\\r\\u0085\\u2028\\u2029]$)|(?<!\\r)(?=\\n$))");
}

static void add_boundary(struct translator *t, bool inside)
{
    static const char word[] = "[A-Za-z0-9_]";

    buf_printf(t->out, "(?:(?<=%s)(?%c%s)|(?<!%s)(?%c%s))", word, inside ? '=' : '!', word, word,
               inside ? '!' : '=', word);
}

static void add_set(struct translator *t, const struct code_set *s)
{
    code_set_print(s, t->out);
}

static void add_character(struct translator *t, uint32_t code)
{
    struct code_set s = {0};

    t->has_letters |= is_letter(code);
    t->must_expand |= code > 127;
    code_set_add(&s, code, code);
    if (t->ignore_case && t->expand)
        code_set_add_other_case(&s);
    add_set(t, &s);
    code_set_release(&s);
}

static void add_dot(struct translator *t)
{
    struct code_set s = {0};

    if (!t->dot_all)
        add_line_ends(&s);
    code_set_complement(&s);
    add_set(t, &s);
    code_set_release(&s);
}

static enum atom take_escape(struct translator *t)
{
    struct code_set s = {0};
    uint32_t code = t->at < t->end ? t->at->code : 0;
    bool taken;

    if (t->at == t->end) {
        refuse(t, "a backslash at the end");
        return ATOM_NONE;
    }
    if (code < 128 && strchr("AzZbB", (int)code)) {
        t->at++;
        if (code == 'A')
            buf_add_char(t->out, '^');
        else if ((code | 32) == 'z')
            add_end(t, code == 'Z');
        else
            add_boundary(t, code == 'B');
        return ATOM_ASSERTION;
    }
    taken = take_class_escape(t, &s);
    if (taken)
        add_set(t, &s);
    code_set_release(&s);
    if (!taken && !t->why && take_character_escape(t, &code)) {
        add_character(t, code);
        taken = true;
    }
    return taken ? ATOM_SOMETHING : ATOM_NONE;
}

/* (?i-s) and (?i: …: true where flags were read, and what ends them is next. */
static bool take_flags(struct translator *t)
{
    bool on = true;

    for (;; t->at++) {
        if (is_next(t, 0, '-') && on)
            on = false;
        else if (is_next(t, 0, 'i'))
            t->must_expand = true, t->ignore_case = on;
        else if (is_next(t, 0, 's'))
            t->dot_all = on;
        else
            break;
    }
    return is_next(t, 0, ')') || is_next(t, 0, ':') ||
           refuse(t, "a group or flag other than (?:, (?=, (?!, (?<=, (?<!, (?<name>, i and s");
}

/* Behind (?<; the name is not needed, as nothing can refer to it. */
static bool take_name(struct translator *t)
{
    while (t->at < t->end && is_letter_or_digit(t->at->code))
        t->at++;
    return skip_next(t, '>') || refuse(t, "a group's name without an end");
}

/* What stands behind a parenthesis before its alternatives. */
static enum atom open_group(struct translator *t)
{
    static const char *const looks[] = {"?=", "?!", "?<=", "?<!"};

    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        if (skip_word(t, looks[i])) {
            buf_printf(t->out, "(%s", looks[i]);
            return ATOM_ASSERTION;
        }
    }
    if (is_word(t, "?>")) {
        refuse(t, "an atomic group");
        return ATOM_NONE;
    }
    if (skip_word(t, "?<")) {
        buf_add_char(t->out, '(');
        return take_name(t) ? ATOM_SOMETHING : ATOM_NONE;
    }
    if (!skip_next(t, '?')) {
        buf_add_char(t->out, '(');
        return ATOM_SOMETHING;
    }
    if (!take_flags(t))
        return ATOM_NONE;
    if (skip_next(t, ')'))
        return ATOM_FLAGS;
    t->at++; /* the colon */
    buf_add_str(t->out, "(?:");
    return ATOM_SOMETHING;
}

/* Behind its parenthesis.  Flags hold to the end of the group that they are in. */
static enum atom take_group(struct translator *t)
{
    bool ignore_case = t->ignore_case, dot_all = t->dot_all;
    enum atom atom = open_group(t);

    if (atom == ATOM_NONE || atom == ATOM_FLAGS)
        return atom;
    if (++t->nested > MOST_NESTED)
        refuse(t, "nested too deeply");
    else if (take_alternatives(t) && !skip_next(t, ')'))
        refuse(t, "a group without an end");
    t->nested--;
    buf_add_char(t->out, ')');
    t->ignore_case = ignore_case;
    t->dot_all = dot_all;
    return t->why ? ATOM_NONE : atom;
}

static enum atom take_bracket(struct translator *t)
{
    struct code_set s = {0};
    bool taken = take_class(t, &s);

    if (taken)
        add_set(t, &s);
    code_set_release(&s);
    return taken ? ATOM_SOMETHING : ATOM_NONE;
}

static enum atom take_atom(struct translator *t)
{
    struct element e = *t->at++;

    if (e.quoted || e.code > 127 || !strchr("\\([.^$*+?{", (int)e.code)) {
        add_character(t, e.code);
        return ATOM_SOMETHING;
    }
    switch (e.code) {
    case '\\':
        return take_escape(t);
    case '(':
        return take_group(t);
    case '[':
        return take_bracket(t);
    case '.':
        add_dot(t);
        return ATOM_SOMETHING;
    case '^':
        buf_add_char(t->out, '^');
        return ATOM_ASSERTION;
    case '$':
        add_end(t, true);
        return ATOM_ASSERTION;
    default:
        refuse(t, "a repetition of nothing");
        return ATOM_NONE;
    }
}

/* ---- repetition ---- */

static bool take_count(struct translator *t, uint32_t *n)
{
    return take_digits(t, 10, 1, 9, n) &&
           (*n <= MOST_REPEATED || refuse(t, "a repetition of more than 255"));
}

/* Behind {. */
static bool take_bounds(struct translator *t)
{
    uint32_t least, most;

    if (t->at == t->end || hex_value(t->at->code) < 0 || hex_value(t->at->code) > 9)
        return refuse(t, "a { without a number behind it");
    if (!take_count(t, &least))
        return false;
    buf_printf(t->out, "{%u", (unsigned)least);
    if (skip_next(t, ',')) {
        buf_add_char(t->out, ',');
        if (!is_next(t, 0, '}')) {
            if (!take_count(t, &most))
                return false;
            if (most < least)
                return refuse(t, "a repetition whose end is before its beginning");
            buf_printf(t->out, "%u", (unsigned)most);
        }
    }
    buf_add_char(t->out, '}');
    return skip_next(t, '}') || refuse(t, "a { without an end");
}

/* Behind an atom.  As whole names are matched, lazy or not is the same. */
static bool take_repetition(struct translator *t, enum atom atom)
{
    bool bounds = is_next(t, 0, '{');

    if (!bounds && !is_next(t, 0, '*') && !is_next(t, 0, '+') && !is_next(t, 0, '?'))
        return true;
    if (atom != ATOM_SOMETHING)
        return refuse(t, "a repetition of what has no characters");
    if (!bounds)
        buf_add_char(t->out, (char)t->at->code);
    t->at++;
    if (bounds && !take_bounds(t))
        return false;
    if (is_next(t, 0, '+'))
        return refuse(t, "a possessive quantifier");
    skip_next(t, '?');
    if (is_next(t, 0, '{') || is_next(t, 0, '*') || is_next(t, 0, '+') || is_next(t, 0, '?'))
        return refuse(t, "a repetition of a repetition");
    return true;
}

/* ---- all of it ---- */

static bool take_alternatives(struct translator *t)
{
    while (t->at < t->end && !is_next(t, 0, ')')) {
        enum atom atom;

        if (skip_next(t, '|')) {
            buf_add_char(t->out, '|');
            continue;
        }
        atom = take_atom(t);
        if (atom == ATOM_NONE || !take_repetition(t, atom))
            return false;
    }
    return true;
}

static bool translate(struct translator *t)
{
    t->nested = 0;
    t->ignore_case = true;
    t->dot_all = false;
    t->out->len = 0;
    return take_alternatives(t) && (t->at == t->end || refuse(t, "a ) without a ("));
}

char *java_regex_translate(const char *java, const char **why)
{
    size_t count;
    struct element *elements = read_elements(java, &count);
    struct buf out;
    struct translator t = {.at = elements, .end = elements + count, .out = &out};
    bool translated;
    char *text = NULL;

    buf_init(&out, 256);
    translated = translate(&t);
    if (translated && t.must_expand) {
        t.at = elements;
        t.expand = true;
        translated = translate(&t);
    }
    if (translated)
        text = xasprintf("%s%.*s", t.has_letters && !t.expand ? "(?i)" : "", (int)out.len,
                         out.data);
    *why = t.why;
    buf_release(&out);
    free(elements);
    return text;
}

/* Only \, is taken for what it stands for: other escapes are the pattern's. */
static char *piece(const char *from, const char *to)
{
    char *text, *end;

    while (from < to && strchr(" \t\n\r\f", *from))
        from++;
    while (to > from && strchr(" \t\n\r\f", to[-1]))
        to--;
    text = end = xcalloc((size_t)(to - from) + 1, 1);
    for (; from < to; from++) {
        if (*from == '\\' && from + 1 < to && from[1] == ',')
            from++;
        else if (*from == '\\' && from + 1 < to)
            *end++ = *from++;
        *end++ = *from;
    }
    return text;
}

struct string_list java_regex_split(const char *list)
{
    struct string_list pieces = {xcalloc(strlen(list) + 1, sizeof(char *)), 0};
    const char *from = list, *at = list;

    for (;; at++) {
        if (*at == '\\' && at[1]) {
            at++;
        } else if (*at == ',' || *at == '\0') {
            char *text = piece(from, at);

            if (*text)
                pieces.items[pieces.count++] = text;
            else
                free(text);
            from = at + 1;
        }
        if (*at == '\0')
            return pieces;
    }
}
