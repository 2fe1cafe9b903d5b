#include "encode/json_text.h"

#include "encode/scan.h"

/*
 * Where the copy is.  No token gets longer, so room for the text's length is room enough.  The
 * bit of a level says whether it is an object; the array is large and set as far as it is used.
 */
struct walk {
    const char *s;
    const char *end;
    char *p;
    size_t depth;
    uint64_t objects[JSON_TEXT_DEPTH_MAX / 64];
};

static bool push(struct walk *w, bool object)
{
    size_t level = w->depth;

    if (level == JSON_TEXT_DEPTH_MAX)
        return false;
    if (level % 64 == 0)
        w->objects[level / 64] = 0;
    if (object)
        w->objects[level / 64] |= UINT64_C(1) << level % 64;
    else
        w->objects[level / 64] &= ~(UINT64_C(1) << level % 64);
    w->depth++;
    return true;
}

static bool in_object(const struct walk *w)
{
    size_t level = w->depth - 1;

    return w->objects[level / 64] >> level % 64 & 1;
}

/* Skips white space; returns the character behind it, or NUL, which starts no token, at the end. */
static inline char peek(struct walk *w)
{
    for (; w->s < w->end; w->s++) {
        char c = *w->s;

        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            return c;
    }
    return '\0';
}

static inline void copy_char(struct walk *w)
{
    *w->p++ = *w->s++;
}

static void copy_bytes(struct walk *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        copy_char(w);
}

static bool is_hex_digit(char c)
{
    return scan_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* At a backslash. */
static bool copy_escape(struct walk *w)
{
    size_t left = (size_t)(w->end - w->s);
    size_t n = left > 1 && w->s[1] == 'u' ? 6 : 2;

    if (left < n)
        return false;
    if (n == 2 && (w->s[1] == '\0' || !strchr("\"\\/bfnrt", w->s[1])))
        return false;
    for (size_t i = 2; i < n; i++) {
        if (!is_hex_digit(w->s[i]))
            return false;
    }
    copy_bytes(w, n);
    return true;
}

static bool copy_non_ascii(struct walk *w)
{
    size_t n = scan_copy_non_ascii(w->p, w->s, (size_t)(w->end - w->s));

    w->p += n;
    w->s += n;
    return n > 0;
}

/* At the opening quote. */
static bool copy_string(struct walk *w)
{
    copy_char(w);
    for (;;) {
        size_t n = scan_copy_clean(w->p, w->s, (size_t)(w->end - w->s));

        w->p += n;
        w->s += n;
        if (w->s == w->end)
            return false;
        if (*w->s == '"') {
            copy_char(w);
            return true;
        }
        if (*w->s == '\\' ? !copy_escape(w) : !copy_non_ascii(w))
            return false; /* raw control characters are no non-ASCII characters either */
    }
}

static const char *digits_end(const char *s, const char *end)
{
    while (s < end && scan_is_digit(*s))
        s++;
    return s;
}

/* One digit or more; NULL when there is none. */
static const char *some_digits_end(const char *s, const char *end)
{
    const char *behind = digits_end(s, end);

    return behind > s ? behind : NULL;
}

const char *json_text_number_end(const char *s, const char *end)
{
    if (s < end && *s == '-')
        s++;
    if (s < end && *s == '0')
        s++;
    else
        s = some_digits_end(s, end);
    if (s && s < end && *s == '.')
        s = some_digits_end(s + 1, end);
    if (s && s < end && (*s == 'e' || *s == 'E')) {
        s++;
        if (s < end && (*s == '+' || *s == '-'))
            s++;
        s = some_digits_end(s, end);
    }
    return s;
}

static bool copy_number(struct walk *w)
{
    const char *behind = json_text_number_end(w->s, w->end);

    if (behind)
        copy_bytes(w, (size_t)(behind - w->s));
    return behind != NULL;
}

static bool copy_word(struct walk *w, const char *word, size_t n)
{
    if ((size_t)(w->end - w->s) < n || memcmp(w->s, word, n) != 0)
        return false;
    copy_bytes(w, n);
    return true;
}

static bool copy_scalar(struct walk *w, char first)
{
    switch (first) {
    case '"':
        return copy_string(w);
    case 't':
        return copy_word(w, "true", 4);
    case 'f':
        return copy_word(w, "false", 5);
    case 'n':
        return copy_word(w, "null", 4);
    case '\0':
        return false;
    default:
        return copy_number(w);
    }
}

/* A member's name and the colon. */
static bool copy_name(struct walk *w)
{
    if (peek(w) != '"' || !copy_string(w) || peek(w) != ':')
        return false;
    copy_char(w);
    return true;
}

/* Copies a value down to its first scalar or empty container, which then is complete. */
static bool copy_down(struct walk *w)
{
    char first;

    while ((first = peek(w)) == '{' || first == '[') {
        if (!push(w, first == '{'))
            return false;
        copy_char(w);
        if (peek(w) == (first == '{' ? '}' : ']')) {
            copy_char(w);
            w->depth--;
            return true;
        }
        if (first == '{' && !copy_name(w))
            return false;
    }
    return copy_scalar(w, first);
}

/* Behind a complete value: copies what closes, up to where the next value stands or to the end. */
static bool copy_up(struct walk *w)
{
    while (w->depth > 0) {
        bool object = in_object(w);
        char next = peek(w);

        if (next == ',') {
            copy_char(w);
            return !object || copy_name(w);
        }
        if (next != (object ? '}' : ']'))
            return false;
        copy_char(w);
        w->depth--;
    }
    return true;
}

bool json_text_add(struct buf *b, const char *text, size_t len)
{
    struct walk w; /* not initialised as a whole: to clear all levels would be most of the work */

    w.s = text;
    w.end = text + len;
    w.p = buf_reserve(b, len);
    w.depth = 0;
    do {
        if (!copy_down(&w) || !copy_up(&w))
            return false;
    } while (w.depth > 0);
    peek(&w);
    buf_written(b, w.p);
    return w.s == w.end;
}
