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
    if (len == 0 || scan_has_csv_mark(text, len))
        csv_add_quoted(b, text, len);
    else
        buf_add(b, text, len);
}

#endif
