/*
 * quoted - "strings" with \" and \\ in them, as array_out() and hstore_out() write them.
 *
 * A quoted string is passed around as what stands between its quotes, still escaped.  The server
 * escapes nothing but quotes and backslashes, and nothing else is taken for an escape.
 */
#ifndef ENCODE_QUOTED_H
#define ENCODE_QUOTED_H

#include "base/buf.h"
#include "cdcdump.h"

struct quoted {
    const char *data;
    size_t len;
    bool escaped; /* there is at least one backslash in it */
};

/* Reads the quoted string at s; returns where it ends, or NULL when there is none. */
const char *quoted_read(const char *s, const char *end, struct quoted *quoted);

/* Appends it, unescaped, as a JSON string.  False on invalid UTF-8. */
bool quoted_add_string(struct buf *b, const struct quoted *quoted);

/* Unescapes into the room at p, for which quoted->len is enough; returns the length. */
size_t quoted_unescape(char *p, const struct quoted *quoted);

#endif
