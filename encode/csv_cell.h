/*
 * csv_cell - a cell of CSV as PostgreSQL's COPY writes and reads it (encode/csv.c).  NULL is nothing.
 */
#ifndef ENCODE_CSV_CELL_H
#define ENCODE_CSV_CELL_H

#include "base/buf.h"
#include "encode/scan.h"

static inline void csv_add_quoted(struct buf *b, const char *text, size_t len)
{
    char *p = buf_reserve(b, 2 * len + 2);

    *p++ = '"';
    p = scan_copy_doubling_quotes(p, text, len);
    *p++ = '"';
    buf_written(b, p);
}

/* In quotes where that has to be: an empty text, unlike NULL, is "". */
static inline void csv_add_cell(struct buf *b, const char *text, size_t len)
{
    unsigned found = scan_copy_cell(buf_reserve(b, len), text, len);

    if (len == 0 || (found & SCAN_CSV_MARK))
        csv_add_quoted(b, text, len);
    else
        b->len += len;
}

/* The same and a comma behind it; false where the text is not valid UTF-8. */
static inline bool csv_add_text(struct buf *b, const char *text, size_t len)
{
    char *p = buf_reserve(b, len + 1);
    unsigned found = scan_copy_cell(p, text, len);

    if ((found & SCAN_NON_ASCII) && !scan_is_utf8(text, len))
        return false;
    if (len == 0 || (found & SCAN_CSV_MARK)) {
        csv_add_quoted(b, text, len);
        buf_add_char(b, ',');
    } else {
        p[len] = ',';
        b->len += len + 1;
    }
    return true;
}

#endif
