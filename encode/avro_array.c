#include "encode/avro_array.h"

#include <string.h>

#include "encode/array_text.h"
#include "encode/avro_value.h"
#include "encode/scan.h"

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

/* ---- arrays ---- */

static bool add_element(struct array_text *t, const struct rule *element, struct buf *b)
{
    char small[ARRAY_TEXT_SMALL];
    struct array_element e;
    const char *text;
    size_t len;

    if (!array_text_element(t, &e))
        return false;
    if (e.null) {
        avro_add_null(b);
        return true;
    }
    text = array_text_plain(t, &e, small, &len);
    return avro_add_in_union(b, text, len, element);
}

/* A brace where an element should be begins another dimension, and is none. */
static bool add_elements(struct array_text *t, const struct rule *element, struct buf *b)
{
    size_t at = open_block(b);
    int64_t count = 0;

    if (!array_text_skip(t, '{'))
        return false;
    if (array_text_skip(t, '}'))
        return t->s == t->end;
    do {
        if (!add_element(t, element, b))
            return false;
        count++;
    } while (array_text_skip(t, t->delimiter));
    close_block(b, at, count);
    return array_text_skip(t, '}') && t->s == t->end;
}

bool avro_array_add(struct buf *b, const char *text, size_t len, const struct rule *rule)
{
    struct array_text t;
    bool added;

    array_text_init(&t, text, len, rule->type);
    added = array_text_skip_bounds(&t, 1) && add_elements(&t, rule->element, b);
    array_text_release(&t);
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
