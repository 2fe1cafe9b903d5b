#include "encode/array.h"

#include <strings.h>

#include "encode/quoted.h"
#include "encode/scan.h"
#include "encode/value.h"

/* The brackets map one to one, so a count of the open ones is all that nesting needs. */
struct walk {
    struct buf *b;
    const char *s;
    const char *end;
    const struct rule *element;
    char delimiter;
    size_t depth;
    size_t element_depth; /* where all elements must be; 0 before the first */
    struct buf scratch;   /* for long elements with escapes; no data unless there was one */
};

static bool skip_integer(struct walk *w)
{
    const char *start;

    if (w->s < w->end && *w->s == '-')
        w->s++;
    start = w->s;
    while (w->s < w->end && scan_is_digit(*w->s))
        w->s++;
    return w->s > start;
}

static bool skip_char(struct walk *w, char c)
{
    if (w->s == w->end || *w->s != c)
        return false;
    w->s++;
    return true;
}

/* [2:3][-1:0]= or nothing. */
static bool skip_bounds(struct walk *w)
{
    bool any = false;

    while (skip_char(w, '[')) {
        if (!skip_integer(w) || !skip_char(w, ':') || !skip_integer(w) || !skip_char(w, ']'))
            return false;
        any = true;
    }
    return !any || skip_char(w, '=');
}

/* Where to unescape to: the caller's small room if it is enough. */
static char *unescape_room(struct walk *w, char *small, size_t size, size_t len)
{
    if (len <= size)
        return small;
    if (!w->scratch.data)
        buf_init(&w->scratch, len);
    return buf_reserve(&w->scratch, len);
}

static bool add_escaped(struct walk *w, const struct quoted *quoted)
{
    char small[1024];
    char *text;

    if (!w->element->type || w->element->type->kind == TYPE_TEXT)
        return quoted_add_string(w->b, quoted);
    text = unescape_room(w, small, sizeof small, quoted->len);
    return w->element->write(w->b, text, quoted_unescape(text, quoted), w->element);
}

static bool add_quoted(struct walk *w)
{
    struct quoted quoted;

    w->s = quoted_read(w->s, w->end, &quoted);
    if (!w->s)
        return false;
    if (quoted.escaped)
        return add_escaped(w, &quoted);
    return w->element->write(w->b, quoted.data, quoted.len, w->element);
}

/* What an element must be quoted for, apart from the delimiter. */
static bool needs_quotes(char c)
{
    return c == '{' || c == '}' || c == '"' || c == '\\' || c == ' ' || (c >= '\t' && c <= '\r');
}

static bool add_unquoted(struct walk *w)
{
    const char *start = w->s;
    size_t len;

    while (w->s < w->end && *w->s != w->delimiter && !needs_quotes(*w->s))
        w->s++;
    len = (size_t)(w->s - start);
    if (len == 4 && strncasecmp(start, "NULL", 4) == 0) {
        buf_add(w->b, "null", 4);
        return true;
    }
    return len > 0 && w->element->write(w->b, start, len, w->element);
}

/* Opens what has to be opened before the next element, and adds that. */
static bool add_down(struct walk *w)
{
    while (skip_char(w, '{')) {
        buf_add_char(w->b, '[');
        w->depth++;
    }
    if (w->element_depth == 0)
        w->element_depth = w->depth;
    if (w->depth == 0 || w->depth != w->element_depth || w->s == w->end)
        return false;
    return *w->s == '"' ? add_quoted(w) : add_unquoted(w);
}

/* Closes what ends behind an element, up to the next delimiter or the end of the array. */
static bool add_up(struct walk *w)
{
    while (w->depth > 0) {
        if (skip_char(w, w->delimiter)) {
            buf_add_char(w->b, ',');
            return true;
        }
        if (!skip_char(w, '}'))
            return false;
        buf_add_char(w->b, ']');
        w->depth--;
    }
    return true;
}

static bool add_all(struct walk *w)
{
    do {
        if (!add_down(w) || !add_up(w))
            return false;
    } while (w->depth > 0);
    return w->s == w->end;
}

bool array_add(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct walk w = {
        .b = b,
        .s = text,
        .end = text + len,
        .element = rule->element,
        .delimiter = rule->type->delimiter ? rule->type->delimiter : ',',
    };
    bool added;

    if (!skip_bounds(&w))
        return false;
    if (w.end - w.s == 2 && memcmp(w.s, "{}", 2) == 0) {
        buf_add(b, "[]", 2);
        return true;
    }
    added = add_all(&w);
    buf_release(&w.scratch);
    return added;
}
