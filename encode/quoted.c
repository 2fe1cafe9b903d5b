#include "encode/quoted.h"

#include "encode/json.h"

const char *quoted_read(const char *s, const char *end, struct quoted *quoted)
{
    if (s == end || *s++ != '"')
        return NULL;
    quoted->data = s;
    quoted->escaped = false;
    for (; s < end && *s != '"'; s++) {
        if (*s != '\\')
            continue;
        quoted->escaped = true;
        if (++s == end || (*s != '"' && *s != '\\'))
            return NULL;
    }
    if (s == end)
        return NULL;
    quoted->len = (size_t)(s - quoted->data);
    return s + 1;
}

/* Piece by piece, as no character can span a backslash. */
static bool add_unescaped(struct buf *b, const struct quoted *quoted)
{
    const char *s = quoted->data;
    const char *end = s + quoted->len;
    const char *backslash;

    while ((backslash = memchr(s, '\\', (size_t)(end - s))) != NULL) {
        if (!json_add_string_body(b, s, (size_t)(backslash - s)) ||
            !json_add_string_body(b, backslash + 1, 1))
            return false;
        s = backslash + 2;
    }
    return json_add_string_body(b, s, (size_t)(end - s));
}

bool quoted_add_string(struct buf *b, const struct quoted *quoted)
{
    if (!quoted->escaped)
        return json_add_string(b, quoted->data, quoted->len);
    buf_add_char(b, '"');
    if (!add_unescaped(b, quoted))
        return false;
    buf_add_char(b, '"');
    return true;
}

size_t quoted_unescape(char *p, const struct quoted *quoted)
{
    const char *s = quoted->data;
    const char *end = s + quoted->len;
    const char *start = p;

    while (s < end) {
        if (*s == '\\')
            s++;
        *p++ = *s++;
    }
    return (size_t)(p - start);
}
