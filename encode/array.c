#include "encode/array.h"

#include <limits.h>

#include "encode/array_text.h"
#include "encode/value.h"

/* The brackets map one to one, so a count of the open ones is all that nesting needs. */
struct walk {
    struct buf *b;
    struct array_text text;
    const struct rule *element;
    size_t depth;
    size_t element_depth; /* where all elements must be; 0 before the first */
};

static bool add_element(struct walk *w)
{
    char small[ARRAY_TEXT_SMALL];
    struct array_element e;
    const char *text;
    size_t len;

    if (!array_text_element(&w->text, &e))
        return false;
    if (e.null) {
        buf_add(w->b, "null", 4);
        return true;
    }
    if (e.text.escaped && (!w->element->type || w->element->type->kind == TYPE_TEXT))
        return quoted_add_string(w->b, &e.text);
    text = array_text_plain(&w->text, &e, small, &len);
    return w->element->write(w->b, text, len, w->element);
}

/* Opens what has to be opened before the next element, and adds that. */
static bool add_down(struct walk *w)
{
    while (array_text_skip(&w->text, '{')) {
        buf_add_char(w->b, '[');
        w->depth++;
    }
    if (w->element_depth == 0)
        w->element_depth = w->depth;
    if (w->depth == 0 || w->depth != w->element_depth || w->text.s == w->text.end)
        return false;
    return add_element(w);
}

/* Closes what ends behind an element, up to the next delimiter or the end of the array. */
static bool add_up(struct walk *w)
{
    while (w->depth > 0) {
        if (array_text_skip(&w->text, w->text.delimiter)) {
            buf_add_char(w->b, ',');
            return true;
        }
        if (!array_text_skip(&w->text, '}'))
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
    return w->text.s == w->text.end;
}

bool array_add(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct walk w = {.b = b, .element = rule->element};
    bool added;

    array_text_init(&w.text, text, len, rule->type);
    if (!array_text_skip_bounds(&w.text, INT_MAX))
        return false;
    if (w.text.end - w.text.s == 2 && memcmp(w.text.s, "{}", 2) == 0) {
        buf_add(b, "[]", 2);
        return true;
    }
    added = add_all(&w);
    array_text_release(&w.text);
    return added;
}
