/*
 * array_text - the pieces of array_out()'s text that every reader of it has to know: brackets,
 * bounds, elements in quotes and without.  Nesting is the reader's affair.
 */
#ifndef ENCODE_ARRAY_TEXT_H
#define ENCODE_ARRAY_TEXT_H

#include "base/buf.h"
#include "cdcdump.h"
#include "encode/quoted.h"

struct array_text {
    const char *s; /* what comes next */
    const char *end;
    char delimiter;
    struct buf scratch; /* for long elements with escapes; no data unless there was one */
};

/* Borrows the text.  array_text_release() frees what long elements have needed. */
void array_text_init(struct array_text *t, const char *text, size_t len, const struct type *type);

static inline void array_text_release(struct array_text *t)
{
    buf_release(&t->scratch);
}

/* Skips the character if it comes next. */
static inline bool array_text_skip(struct array_text *t, char c)
{
    if (t->s == t->end || *t->s != c)
        return false;
    t->s++;
    return true;
}

/* Skips [2:3][-1:0]= in front of an array, for up to so many dimensions; nothing is fine, too. */
bool array_text_skip_bounds(struct array_text *t, int dimensions);

struct array_element {
    bool null;
    struct quoted text; /* still escaped, where it was in quotes and has escapes */
};

/* Reads the element that comes next; false when there is none. */
bool array_text_element(struct array_text *t, struct array_element *e);

/* Its text without escapes: as it is, in `small`, of SMALL bytes, or in the scratch. */
enum { ARRAY_TEXT_SMALL = 1024 };
const char *array_text_plain(struct array_text *t, const struct array_element *e, char *small,
                             size_t *len);

#endif
