/*
 * avro_name - any name -> one that Avro allows, [A-Za-z_][A-Za-z0-9_]*, without two becoming one.
 *
 * What is not allowed becomes _uXXXX, four lower-case hexadecimal digits of a UTF-16 unit (two of
 * them beyond the basic plane); an underscore that would read as the beginning of such becomes
 * _u005f.  So the way back is unambiguous: "a b" is a_u0020b, and a column called a_u0020b is
 * a_u005fu0020b.
 *
 * A byte that is not UTF-8 becomes a low surrogate with no high one before it, _udc80 to _udcff,
 * which no character is; the empty name becomes _u0000.
 */
#ifndef ENCODE_AVRO_NAME_H
#define ENCODE_AVRO_NAME_H

#include "base/buf.h"

/*
 * Appends the name of a field, or one part of a namespace.  Not for that of a record, which must
 * not be called int or string or as another of Avro's own types, in whatever namespace.
 */
void avro_add_name(struct buf *b, const char *name);

#endif
