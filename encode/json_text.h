/*
 * json_text - JSON that comes from the server: checked, and copied without the white space.
 *
 * The server has checked it before, but a line of output must be JSON whatever the stream says.
 * Digits of numbers and escapes in strings stay as they are.
 */
#ifndef ENCODE_JSON_TEXT_H
#define ENCODE_JSON_TEXT_H

#include "base/buf.h"
#include "cdcdump.h"

/* Containers in containers; what is nested deeper is refused.  The server stops well before. */
#define JSON_TEXT_DEPTH_MAX 65536

/*
 * Appends the JSON text without the white space between its tokens.  False when it is not JSON
 * or not valid UTF-8; what was appended by then is the caller's to cut off.
 */
bool json_text_add(struct buf *b, const char *text, size_t len);

/* The end of the number that starts at s, by JSON's grammar; NULL when none starts there. */
const char *json_text_number_end(const char *s, const char *end);

#endif
