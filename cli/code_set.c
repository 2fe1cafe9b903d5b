#include "cli/code_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/code_point.h"

void code_set_release(struct code_set *s)
{
    free(s->ranges);
    *s = (struct code_set){0};
}

/* Takes out the ranges from `from` up to before `to`, and puts one in their place. */
static void replace(struct code_set *s, size_t from, size_t to, struct code_range range)
{
    if (from == to) {
        s->ranges = realloc(s->ranges, (s->count + 1) * sizeof *s->ranges);
        if (!s->ranges)
            log_out_of_memory();
    }
    memmove(s->ranges + from + 1, s->ranges + to, (s->count - to) * sizeof *s->ranges);
    s->count = s->count - (to - from) + 1;
    s->ranges[from] = range;
}

void code_set_add(struct code_set *s, uint32_t first, uint32_t last)
{
    struct code_range range = {first ? first : 1, last};
    size_t from = 0, to;

    if (range.first > range.last)
        return;
    while (from < s->count && s->ranges[from].last + 1 < range.first)
        from++;
    for (to = from; to < s->count && s->ranges[to].first <= range.last + 1; to++) {
        if (s->ranges[to].first < range.first)
            range.first = s->ranges[to].first;
        if (s->ranges[to].last > range.last)
            range.last = s->ranges[to].last;
    }
    replace(s, from, to, range);
}

void code_set_add_all(struct code_set *s, const struct code_set *other)
{
    for (size_t i = 0; i < other->count; i++)
        code_set_add(s, other->ranges[i].first, other->ranges[i].last);
}

void code_set_add_ascii(struct code_set *s, const char *characters)
{
    for (; *characters; characters++)
        code_set_add(s, (unsigned char)*characters, (unsigned char)*characters);
}

void code_set_complement(struct code_set *s)
{
    struct code_set rest = {0};
    uint32_t next = 1;

    for (size_t i = 0; i < s->count; i++) {
        code_set_add(&rest, next, s->ranges[i].first - 1);
        next = s->ranges[i].last + 1;
    }
    code_set_add(&rest, next, CODE_POINT_LAST);
    code_set_release(s);
    *s = rest;
}

/* What both have is what is not missing in either. */
void code_set_intersect(struct code_set *s, const struct code_set *other)
{
    struct code_set missing = {0};

    code_set_add_all(&missing, other);
    code_set_complement(&missing);
    code_set_complement(s);
    code_set_add_all(s, &missing);
    code_set_complement(s);
    code_set_release(&missing);
}

void code_set_add_other_case(struct code_set *s)
{
    for (uint32_t c = 'A'; c <= 'Z'; c++) {
        if (code_set_has(s, c) || code_set_has(s, c + 32)) {
            code_set_add(s, c, c);
            code_set_add(s, c + 32, c + 32);
        }
    }
}

bool code_set_has(const struct code_set *s, uint32_t code)
{
    for (size_t i = 0; i < s->count; i++)
        if (code >= s->ranges[i].first && code <= s->ranges[i].last)
            return true;
    return false;
}

bool code_set_is_beyond_ascii(const struct code_set *s)
{
    bool all = s->count && s->ranges[s->count - 1].last == CODE_POINT_LAST &&
               s->ranges[s->count - 1].first <= 128;

    return !all && s->count && s->ranges[s->count - 1].last > 127;
}

static void print_code(uint32_t code, const char *special, struct buf *to)
{
    if (code < 128 && strchr(special, (int)code)) {
        buf_add_char(to, '\\');
        buf_add_char(to, (char)code);
    } else if (code < 32 || (code >= 127 && code <= 160) || code == 0x2028 || code == 0x2029) {
        buf_printf(to, "\\u%04x", (unsigned)code);
    } else if (code >= 0xd800 && code < 0xe000) {
        buf_printf(to, "\\u%04x", (unsigned)code); /* the end of a range: no text has it */
    } else if (code == CODE_POINT_LAST) {
        buf_add_str(to, "\\U0010ffff");
    } else {
        code_point_add(to, code);
    }
}

static void print_ranges(const struct code_set *s, struct buf *to)
{
    static const char special[] = "\\[]^-";

    for (size_t i = 0; i < s->count; i++) {
        const struct code_range *r = &s->ranges[i];

        print_code(r->first, special, to);
        if (r->last > r->first + 1)
            buf_add_char(to, '-');
        if (r->last > r->first)
            print_code(r->last, special, to);
    }
}

/* Never an empty bracket, which would not be one. */
void code_set_print(const struct code_set *s, struct buf *to)
{
    struct code_set rest = {0};

    if (s->count == 1 && s->ranges[0].first == s->ranges[0].last) {
        print_code(s->ranges[0].first, "\\[](){}.*+?^$|", to);
        return;
    }
    code_set_add_all(&rest, s);
    code_set_complement(&rest);
    if (s->count == 0) {
        buf_add_str(to, "(?!)");
    } else if (rest.count == 0) {
        buf_add_char(to, '.');
    } else if (s->ranges[s->count - 1].last == CODE_POINT_LAST) {
        buf_add_str(to, "[^");
        print_ranges(&rest, to);
        buf_add_char(to, ']');
    } else {
        buf_add_char(to, '[');
        print_ranges(s, to);
        buf_add_char(to, ']');
    }
    code_set_release(&rest);
}
