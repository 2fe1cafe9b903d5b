#include "encode/avro_array.h"

#include <strings.h>

#include "encode/avro_value.h"
#include "encode/quoted.h"
#include "encode/scan.h"

enum { SMALL = 1024 }; /* bytes of an element that needs no memory of its own to be unescaped */

/* ---- items of both ---- */

/* The byte is set to the count when that is known: see close_block(). */
static size_t open_block(struct buf *b)
{
    size_t at = b->len;

    buf_add_char(b, 0);
    return at;
}

/* Nothing at all is the empty block alone. */
static void close_block(struct buf *b, size_t at, int64_t count)
{
    if (count == 0)
        return;
    avro_set_long(b, at, count);
    buf_add_char(b, 0);
}

static bool skip_char(const char **s, const char *end, char c)
{
    if (*s == end || **s != c)
        return false;
    ++*s;
    return true;
}

/* ---- arrays ---- */

struct walk {
    struct buf *b;
    const char *s;
    const char *end;
    const struct rule *element;
    char delimiter;
    struct buf scratch; /* for long elements with escapes; no data unless there was one */
};

static bool skip_integer(struct walk *w)
{
    const char *start;

    skip_char(&w->s, w->end, '-');
    for (start = w->s; w->s < w->end && scan_is_digit(*w->s);)
        w->s++;
    return w->s > start;
}

/* [-1:0]= or nothing; the bounds of more than one dimension are none of these. */
static bool skip_bounds(struct walk *w)
{
    if (!skip_char(&w->s, w->end, '['))
        return true;
    return skip_integer(w) && skip_char(&w->s, w->end, ':') && skip_integer(w) &&
           skip_char(&w->s, w->end, ']') && skip_char(&w->s, w->end, '=');
}

static bool add_escaped(struct walk *w, const struct quoted *quoted)
{
    char small[SMALL];
    char *text = small;

    if (quoted->len > sizeof small) {
        if (!w->scratch.data)
            buf_init(&w->scratch, quoted->len);
        text = buf_reserve(&w->scratch, quoted->len);
    }
    return avro_add_in_union(w->b, text, quoted_unescape(text, quoted), w->element);
}

static bool add_quoted(struct walk *w)
{
    struct quoted quoted;

    w->s = quoted_read(w->s, w->end, &quoted);
    if (!w->s)
        return false;
    if (quoted.escaped)
        return add_escaped(w, &quoted);
    return avro_add_in_union(w->b, quoted.data, quoted.len, w->element);
}

/* What an element must be quoted for, apart from the delimiter: with a brace begins a dimension. */
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
        avro_add_null(w->b);
        return true;
    }
    return len > 0 && avro_add_in_union(w->b, start, len, w->element);
}

static bool add_elements(struct walk *w)
{
    size_t at = open_block(w->b);
    int64_t count = 0;

    if (!skip_char(&w->s, w->end, '{'))
        return false;
    if (skip_char(&w->s, w->end, '}'))
        return w->s == w->end;
    do {
        if (w->s == w->end || !(*w->s == '"' ? add_quoted(w) : add_unquoted(w)))
            return false;
        count++;
    } while (skip_char(&w->s, w->end, w->delimiter));
    close_block(w->b, at, count);
    return skip_char(&w->s, w->end, '}') && w->s == w->end;
}

bool avro_array_add(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct walk w = {
        .b = b,
        .s = text,
        .end = text + len,
        .element = rule->element,
        .delimiter = rule->type->delimiter ? rule->type->delimiter : ',',
    };
    bool added = skip_bounds(&w) && add_elements(&w);

    buf_release(&w.scratch);
    return added;
}

/* ---- maps ---- */

/* Straight to its place: what is unescaped is never longer than what is not. */
static bool add_string(struct buf *b, const struct quoted *quoted)
{
    size_t at = b->len;
    size_t len;

    if (!quoted->escaped)
        return avro_add_string(b, quoted->data, quoted->len);
    buf_add_char(b, 0);
    len = quoted_unescape(buf_reserve(b, quoted->len), quoted);
    b->len += len;
    avro_set_long(b, at, (int64_t)len);
    return scan_is_utf8(b->data + b->len - len, len);
}

static bool take_string(struct buf *b, const char **s, const char *end)
{
    struct quoted quoted;

    *s = quoted_read(*s, end, &quoted);
    return *s && add_string(b, &quoted);
}

static bool take_word(const char **s, const char *end, const char *word, size_t len)
{
    if ((size_t)(end - *s) < len || memcmp(*s, word, len) != 0)
        return false;
    *s += len;
    return true;
}

static bool take_pair(struct buf *b, const char **s, const char *end)
{
    if (!take_string(b, s, end) || !take_word(s, end, "=>", 2))
        return false;
    if (take_word(s, end, "NULL", 4)) {
        avro_add_null(b);
        return true;
    }
    buf_add_char(b, 2);
    return take_string(b, s, end);
}

bool avro_map_add(struct buf *b, const char *text, size_t len)
{
    const char *s = text;
    const char *end = text + len;
    size_t at = open_block(b);
    int64_t count = 0;

    if (len == 0)
        return true;
    do {
        if (!take_pair(b, &s, end))
            return false;
        count++;
    } while (take_word(&s, end, ", ", 2));
    close_block(b, at, count);
    return s == end;
}
