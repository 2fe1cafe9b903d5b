/*
 * avro_array - {1,NULL,"a \"b\""} -> Avro's array of ["null", T], "a"=>"1", "b"=>NULL -> its map.
 *
 * Both are one block of items, with their count before it, and an empty one as the end.
 */
#ifndef ENCODE_AVRO_ARRAY_H
#define ENCODE_AVRO_ARRAY_H

#include "encode/value.h"

/*
 * Appends the text of an array, each element by rule->element.  False, with what was appended by
 * then left to the caller to cut off, when it has more than one dimension, another form than
 * array_out() writes, or an element that T does not hold.
 */
bool avro_array_add(struct buf *b, const char *text, size_t len, const struct rule *rule);

/* Likewise the text of an hstore as a map of ["null", "string"]. */
bool avro_map_add(struct buf *b, const char *text, size_t len);

#endif
