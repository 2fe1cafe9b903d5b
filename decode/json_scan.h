/*
 * json_scan - the tokens of a JSON text in the order in which they stand, without a tree.
 *
 *     for (size_t n = 0; json_member(s, n, &key); n++)
 *         if (!… json_string(s, &slice) or json_skip(s) or …)
 *             return false;
 *     return !s->wrong;
 *
 * The text is the caller's and is rewritten in place: a string is unescaped where it stands and
 * ends in a NUL then, which takes the place of its closing quote at the latest.  The opening quote
 * and all that stands before it are left alone, so that what has been read already stays as it
 * is.  Numbers keep their digits; nothing is converted that a caller does not ask for.
 *
 * Grammar: RFC 8259, with these limits: no \u0000, as PostgreSQL has no such character, no half of
 * a surrogate pair, at most 4 GB.  Strings may be in the encoding of a database, all of which have
 * ASCII as it is; those with other characters move to memory of the charset's.  What is said to be
 * UTF-8 is not checked.
 *
 * Every function that returns bool returns false at the first thing that is wrong and leaves in
 * `wrong` what it is and in `wrong_at` where.  Nothing is logged here.
 */
#ifndef DECODE_JSON_SCAN_H
#define DECODE_JSON_SCAN_H

#include "cdcdump.h"
#include "decode/charset.h"
#include "decode/table.h"

/* Containers in containers that json_skip() walks through. */
enum { JSON_SCAN_DEPTH_MAX = 64 };

struct json_scan {
    char *start;
    char *p; /* next byte */
    char *end;
    struct charset *charset; /* of the caller's; see charset.h */
    const char *wrong; /* NULL as long as all is well */
    size_t wrong_at;   /* byte, counted from 0; the length of the text where that ends too early */
};

/* charset_begin(charset, len) has been called; NULL for text in UTF-8. */
void json_scan_init(struct json_scan *s, char *text, size_t len, struct charset *charset);

/* What a caller finds wrong with the byte at `at`; false.  What was wrong first stays. */
bool json_fail_at(struct json_scan *s, const char *at, const char *wrong);

/* The first byte of the next token, which stays where it is; '\0' at the end. */
static inline char json_peek(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
    return s->p < s->end ? *s->p : '\0';
}

/* Whether nothing but white space is left. */
static inline bool json_at_end(struct json_scan *s)
{
    json_peek(s);
    return s->p == s->end;
}

/* Takes one of { } [ ] , : if it is the next token. */
static inline bool json_take(struct json_scan *s, char c)
{
    if (json_peek(s) != c || s->p == s->end)
        return false;
    s->p++;
    return true;
}

/*
 * Opens an object (n = 0) or goes on to its member n, takes the key and the colon.  False without
 * a `wrong` behind the last member.
 */
bool json_member(struct json_scan *s, size_t n, struct slice *key);

/* Likewise for an array: the element is the next token. */
bool json_element(struct json_scan *s, size_t n);

/* Takes the bracket of an array that is walked through in another way. */
bool json_open_array(struct json_scan *s);

/* A string, unescaped and in UTF-8; out->data[out->len] is NUL. */
bool json_string(struct json_scan *s, struct slice *out);

/* Likewise, but bytes are not taken for characters: out->data[-1] is the quote. */
bool json_bytes(struct json_scan *s, struct slice *out);

/* Makes of such a string one of text, as json_string() does; it has to end in a NUL. */
bool json_convert(struct json_scan *s, struct slice *text);

/* Whether something borrows from the text itself: what has been converted does not. */
static inline bool json_holds(const struct json_scan *s, const char *p)
{
    return p >= s->start && p <= s->end;
}

/*
 * What stands for the value of a column: a string, a number's text or "true" or "false" as
 * VALUE_TEXT, null as VALUE_NULL.  Only behind a string there is a NUL.
 */
bool json_value(struct json_scan *s, struct value *out);

bool json_boolean(struct json_scan *s, bool *out);

/* A whole number of 0 to UINT32_MAX; json_oid() takes -1 for 4294967295 and so on as well. */
bool json_u32(struct json_scan *s, uint32_t *out);
bool json_oid(struct json_scan *s, uint32_t *out);

/* Takes a null if it is the next token. */
bool json_take_null(struct json_scan *s);

/* Any value whatever. */
bool json_skip(struct json_scan *s);

/* The place of a key among n names; n when it is none of them. */
unsigned json_which(const struct slice *key, const struct slice *names, unsigned n);

#define JSON_NAME(literal) {literal, sizeof(literal) - 1}

#endif
