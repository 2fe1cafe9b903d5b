/*
 * code_point - the characters of UTF-8 as numbers, which is how patterns and escapes speak of them.
 */
#ifndef BASE_CODE_POINT_H
#define BASE_CODE_POINT_H

#include <stdint.h>

#include "base/buf.h"

/* Writes the character at `to`, at most 4 bytes, and returns its end; code is one that UTF-8 has. */
char *code_point_put(char *to, uint32_t code);

/* Appends it. */
void code_point_add(struct buf *b, uint32_t code);

/* The character at *text, which is valid UTF-8 and not at its end; steps over it. */
uint32_t code_point_take(const char **text);

#endif
