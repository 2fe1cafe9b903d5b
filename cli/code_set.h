/*
 * code_set - a set of characters, as ranges of code points: what a class of a regular expression
 * is.
 *
 * Ranges are sorted and do not touch.  A set owns its memory.  Code point 0 is in no set, for it is
 * in no text of PostgreSQL.
 */
#ifndef CLI_CODE_SET_H
#define CLI_CODE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { CODE_POINT_LAST = 0x10ffff };

struct code_range {
    uint32_t first, last; /* both are in it */
};

struct code_set {
    struct code_range *ranges;
    size_t count;
};

void code_set_release(struct code_set *s);

void code_set_add(struct code_set *s, uint32_t first, uint32_t last);
void code_set_add_all(struct code_set *s, const struct code_set *other);

/* Adds all characters of a text in ASCII. */
void code_set_add_ascii(struct code_set *s, const char *characters);

void code_set_complement(struct code_set *s);
void code_set_intersect(struct code_set *s, const struct code_set *other);

/* Adds the other case of every ASCII letter in it. */
void code_set_add_other_case(struct code_set *s);

bool code_set_has(const struct code_set *s, uint32_t code);

/* Whether it tells characters beyond ASCII apart. */
bool code_set_is_beyond_ascii(const struct code_set *s);

/* Appends it as PostgreSQL's regular expressions have it: a character or [ranges] or [^ranges]. */
void code_set_print(const struct code_set *s, struct buf *to);

#endif
