#include "encode/hstore.h"

#include "encode/quoted.h"

/* Whether the n bytes of word stand at s. */
static bool is_at(const char *s, const char *end, const char *word, size_t n)
{
    return (size_t)(end - s) >= n && memcmp(s, word, n) == 0;
}

/* Adds the string at s; returns where it ends, or NULL. */
static const char *add_string(struct buf *b, const char *s, const char *end)
{
    struct quoted quoted;
    const char *behind = quoted_read(s, end, &quoted);

    return behind && quoted_add_string(b, &quoted) ? behind : NULL;
}

static const char *add_value(struct buf *b, const char *s, const char *end)
{
    if (!is_at(s, end, "NULL", 4))
        return add_string(b, s, end);
    buf_add(b, "null", 4);
    return s + 4;
}

static const char *add_pair(struct buf *b, const char *s, const char *end)
{
    s = add_string(b, s, end);
    if (!s || !is_at(s, end, "=>", 2))
        return NULL;
    buf_add_char(b, ':');
    return add_value(b, s + 2, end);
}

bool hstore_add(struct buf *b, const char *text, size_t len)
{
    const char *s = text;
    const char *end = text + len;

    buf_add_char(b, '{');
    while (s && s < end) {
        s = add_pair(b, s, end);
        if (!s || s == end)
            break;
        if (!is_at(s, end, ", ", 2) || end - s == 2)
            return false;
        buf_add_char(b, ',');
        s += 2;
    }
    buf_add_char(b, '}');
    return s != NULL;
}
