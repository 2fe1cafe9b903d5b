/*
 * avro_name - any name -> one that Avro allows, [A-Za-z_][A-Za-z0-9_]*, without two becoming one.
 *
 * What is not allowed becomes _uXXXX, four lower-case hexadecimal digits of a UTF-16 unit (two units
 * beyond the basic plane); an underscore that would read as the beginning of such becomes _u005f.
 * So the way back is unambiguous: "a b" is a_u0020b, and a column called a_u0020b is
 * a_u005fu0020b.
 */
#ifndef ENCODE_AVRO_NAME_H
#define ENCODE_AVRO_NAME_H

#include "base/buf.h"

/* Appends the name; bytes that are not UTF-8 count as the characters of Latin-1 they would be. */
void avro_add_name(struct buf *b, const char *name);

/* Whether the name is the same in Avro. */
bool avro_name_is_same(const char *name);

#endif
