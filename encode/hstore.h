/*
 * hstore - "a"=>"1", "b"=>NULL -> {"a":"1","b":null}
 */
#ifndef ENCODE_HSTORE_H
#define ENCODE_HSTORE_H

#include "base/buf.h"
#include "cdcdump.h"

/*
 * Appends the text of an hstore as an object.  False, with what was appended by then left to the
 * caller to cut off, when it has another form than hstore_out() writes or is not valid UTF-8.
 */
bool hstore_add(struct buf *b, const char *text, size_t len);

#endif
