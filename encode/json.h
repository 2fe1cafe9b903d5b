/*
 * json - the pieces of JSON that the value writers are made of.
 *
 * json_add_string() and json_add_base64() live here as well; value.h declares them, because the
 * rest of the encoders needs them, too.
 *
 * Every function that returns bool returns false when the text is not what it must be, and
 * leaves what it had appended by then to the caller to cut off.
 */
#ifndef ENCODE_JSON_H
#define ENCODE_JSON_H

#include "encode/value.h"

/* Appends text as it stands between the quotes of a JSON string.  False on invalid UTF-8. */
bool json_add_string_body(struct buf *b, const char *text, size_t len);

/* Appends as base64, in quotes, the bytes that an even number of hex digits stands for. */
bool json_add_base64_of_hex(struct buf *b, const char *hex, size_t len);

#endif
