/*
 * code_point - the characters of UTF-8 as numbers, which is how patterns and escapes speak of them.
 */
#ifndef BASE_CODE_POINT_H
#define BASE_CODE_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Writes the character at `to`, at most 4 bytes, and returns its end; code is one that UTF-8 has. */
char *code_point_put(char *to, uint32_t code);

/* Appends it. */
void code_point_add(struct buf *b, uint32_t code);

/*
 * The character at *text, which is not at its end; steps over it.  Where it is not valid UTF-8: over at
 * least one byte, and not over the end.
 */
uint32_t code_point_take(const char **text);

/* How many columns of a terminal it takes: 0, 1 or 2.  Source: the large blocks of EastAsianWidth. */
unsigned code_point_columns(uint32_t code);

/* Controls, and what turns the direction of writing around. */
bool code_point_is_control(uint32_t code);

#endif
