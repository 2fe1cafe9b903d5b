/*
 * array - {1,NULL,"a \"b\"",{..}} -> [1,null,"a \"b\"",[..]]
 *
 * Every element is written by the rule's own for elements.  The bounds that stand before an
 * array which does not count from 1 are left out.
 */
#ifndef ENCODE_ARRAY_H
#define ENCODE_ARRAY_H

#include "base/buf.h"
#include "cdcdump.h"
#include "encode/value.h"

/*
 * Appends the text of an array as a JSON array.  False, with what was appended by then left to
 * the caller to cut off, when it has another form than array_out() writes or is not valid UTF-8.
 */
bool array_add(struct buf *b, const char *text, size_t len, const struct rule *rule);

#endif
