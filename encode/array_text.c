#include "encode/array_text.h"

#include <strings.h>

#include "encode/scan.h"

void array_text_init(struct array_text *t, const char *text, size_t len, const struct type *type)
{
    *t = (struct array_text){
        .s = text,
        .end = text + len,
        .delimiter = type->delimiter ? type->delimiter : ',',
    };
}

static bool skip_integer(struct array_text *t)
{
    const char *start;

    array_text_skip(t, '-');
    start = t->s;
    while (t->s < t->end && scan_is_digit(*t->s))
        t->s++;
    return t->s > start;
}

bool array_text_skip_bounds(struct array_text *t, int dimensions)
{
    int n = 0;

    for (; n < dimensions && array_text_skip(t, '['); n++)
        if (!skip_integer(t) || !array_text_skip(t, ':') || !skip_integer(t) ||
            !array_text_skip(t, ']'))
            return false;
    return n == 0 || array_text_skip(t, '=');
}

/* What an element must be quoted for, apart from the delimiter. */
static inline bool needs_quotes(char c)
{
    static const bool needs[256] = {
        ['{'] = true,  ['}'] = true,  ['"'] = true,  ['\\'] = true, [' '] = true,
        ['\t'] = true, ['\n'] = true, ['\v'] = true, ['\f'] = true, ['\r'] = true,
    };

    return needs[(unsigned char)c];
}

bool array_text_element(struct array_text *t, struct array_element *e)
{
    const char *start = t->s, *s = start, *end = t->end;
    char delimiter = t->delimiter;
    size_t len;

    e->null = false;
    if (s < end && *s == '"') {
        t->s = quoted_read(s, end, &e->text);
        return t->s != NULL;
    }
    while (s < end && *s != delimiter && !needs_quotes(*s))
        s++;
    t->s = s;
    len = (size_t)(s - start);
    e->text = (struct quoted){.data = start, .len = len};
    e->null = len == 4 && strncasecmp(start, "NULL", 4) == 0;
    return len > 0;
}

const char *array_text_plain(struct array_text *t, const struct array_element *e, char *small,
                             size_t *len)
{
    char *text = small;

    *len = e->text.len;
    if (!e->text.escaped)
        return e->text.data;
    if (e->text.len > ARRAY_TEXT_SMALL) {
        if (!t->scratch.data)
            buf_init(&t->scratch, e->text.len);
        text = buf_reserve(&t->scratch, e->text.len);
    }
    *len = quoted_unescape(text, &e->text);
    return text;
}
