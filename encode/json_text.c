#include "encode/json_text.h"

#include "encode/scan.h"

/* Where the copy is.  No token gets longer, so room for the text's length is room enough. */
struct walk {
    const char *s;
    const char *end;
    char *p;
};

/*
 * The containers that are open.  The bit of a level says whether it is an object; the array is
 * large and set as far as it is used.
 */
struct levels {
    size_t depth;
    uint64_t objects[JSON_TEXT_DEPTH_MAX / 64];
};

static bool push(struct levels *l, bool object)
{
    size_t level = l->depth;

    if (level == JSON_TEXT_DEPTH_MAX)
        return false;
    if (level % 64 == 0)
        l->objects[level / 64] = 0;
    if (object)
        l->objects[level / 64] |= UINT64_C(1) << level % 64;
    else
        l->objects[level / 64] &= ~(UINT64_C(1) << level % 64);
    l->depth++;
    return true;
}

static bool in_object(const struct levels *l)
{
    size_t level = l->depth - 1;

    return l->objects[level / 64] >> level % 64 & 1;
}

/* ---- tokens: all copy one, of the n bytes at s, and return its length, or 0 if it is none ---- */

static bool is_hex_digit(char c)
{
    return scan_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* At a backslash. */
static size_t copy_escape(char *p, const char *s, size_t n)
{
    size_t length = n > 1 && s[1] == 'u' ? 6 : 2;

    if (n < length)
        return 0;
    if (length == 2 && (s[1] == '\0' || !strchr("\"\\/bfnrt", s[1])))
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (!is_hex_digit(s[i]))
            return 0;
    }
    memcpy(p, s, length);
    return length;
}

/* At the opening quote. */
static size_t copy_string(char *p, const char *s, size_t n)
{
    size_t i = 1;

    *p = '"';
    for (;;) {
        size_t more;

        i += scan_copy_clean(p + i, s + i, n - i);
        if (i == n)
            return 0;
        if (s[i] == '"') {
            p[i] = '"';
            return i + 1;
        }
        /* raw control characters are no non-ASCII characters either */
        more = s[i] == '\\' ? copy_escape(p + i, s + i, n - i)
                             : scan_copy_non_ascii(p + i, s + i, n - i);
        if (more == 0)
            return 0;
        i += more;
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

static size_t copy_number(char *p, const char *s, size_t n)
{
    const char *behind = json_text_number_end(s, s + n);
    size_t length = behind ? (size_t)(behind - s) : 0;

    put_few(p, s, length);
    return length;
}

static size_t copy_word(char *p, const char *s, size_t n, const char *word, size_t length)
{
    if (n < length || memcmp(s, word, length) != 0)
        return 0;
    memcpy(p, word, length);
    return length;
}

static size_t copy_scalar(char *p, const char *s, size_t n)
{
    switch (*s) {
    case '"':
        return copy_string(p, s, n);
    case 't':
        return copy_word(p, s, n, "true", 4);
    case 'f':
        return copy_word(p, s, n, "false", 5);
    case 'n':
        return copy_word(p, s, n, "null", 4);
    default:
        return copy_number(p, s, n);
    }
}

/* ---- what is between them ---- */

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Skips white space; returns the character behind it, or NUL, which starts no token, at the end. */
static inline char peek(struct walk *w)
{
    while (w->s < w->end && is_space(*w->s))
        w->s++;
    return w->s < w->end ? *w->s : '\0';
}

static inline void copy_char(struct walk *w)
{
    *w->p++ = *w->s++;
}

/* Behind a token of that length, which has been copied; false when it is none. */
static inline bool pass(struct walk *w, size_t length)
{
    w->s += length;
    w->p += length;
    return length > 0;
}

/* A member's name and the colon. */
static inline bool copy_name(struct walk *w)
{
    if (peek(w) != '"' || !pass(w, copy_string(w->p, w->s, (size_t)(w->end - w->s))) ||
        peek(w) != ':')
        return false;
    copy_char(w);
    return true;
}

/* Copies a value down to its first scalar or empty container, which then is complete. */
static inline bool copy_down(struct walk *w, struct levels *l)
{
    char first;

    while ((first = peek(w)) == '{' || first == '[') {
        if (!push(l, first == '{'))
            return false;
        copy_char(w);
        if (peek(w) == (first == '{' ? '}' : ']')) {
            copy_char(w);
            l->depth--;
            return true;
        }
        if (first == '{' && !copy_name(w))
            return false;
    }
    return w->s < w->end && pass(w, copy_scalar(w->p, w->s, (size_t)(w->end - w->s)));
}

/* Behind a complete value: copies what closes, up to where the next value stands or to the end. */
static inline bool copy_up(struct walk *w, struct levels *l)
{
    while (l->depth > 0) {
        bool object = in_object(l);
        char next = peek(w);

        if (next == ',') {
            copy_char(w);
            return !object || copy_name(w);
        }
        if (next != (object ? '}' : ']'))
            return false;
        copy_char(w);
        l->depth--;
    }
    return true;
}

bool json_text_add(struct buf *b, const char *text, size_t len)
{
    struct walk w = {.s = text, .end = text + len, .p = buf_reserve(b, len)};
    struct levels l; /* not initialised as a whole: to clear all of it would be most of the work */

    l.depth = 0;
    do {
        if (!copy_down(&w, &l) || !copy_up(&w, &l))
            return false;
    } while (l.depth > 0);
    peek(&w);
    buf_written(b, w.p);
    return w.s == w.end;
}
