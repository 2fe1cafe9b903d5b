/*
 * binary - the bytes of a type's send function -> the text of its output function.
 *
 * With -o binary=true pgoutput sends values as their types' send functions write them.  Records
 * must not show that: what comes out here is, byte for byte, what the server would have sent as
 * text under the session settings of source/connection.c: DateStyle ISO, IntervalStyle postgres,
 * TimeZone UTC, bytea_output hex, extra_float_digits 3, lc_monetary C.  The text then goes
 * through the writers of encode/value.h like any other.
 *
 * Not known: composites, ranges and multiranges, whose bytes name the types of their parts by OID
 * or not at all; reg* types, which are OIDs of what the text shows by name; tsquery; and types of
 * extensions other than citext, hstore and ltree.
 */
#ifndef BINARY_BINARY_H
#define BINARY_BINARY_H

#include "base/buf.h"
#include "cdcdump.h"

/*
 * Whether values of the type can be read, for an array the elements as well.  To be asked when
 * a VALUE_BINARY has come: types without a send function come as text and need none of this.
 */
bool binary_knows(const struct type *type);

/*
 * Appends the text of a binary value.  False, with nothing appended, when the type's binary form
 * is not known here or the bytes do not have that form.
 */
bool binary_to_text(struct buf *b, const char *data, size_t len, const struct type *type);

#endif
