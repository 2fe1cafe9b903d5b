/*
 * copy_row - one line of COPY ... TO STDOUT, text format, as the values of a row.
 *
 * The line is the caller's, as PQgetCopyData() gives it: len bytes, the last of them '\n'; nothing
 * behind them is read.  Escapes are undone in place, so the line is overwritten, and the values
 * borrow from it for as long as the caller leaves it alone.  Nothing is allocated.
 *
 * Fields are parted by tabs.  A field that is \N and nothing else is VALUE_NULL, every other one
 * VALUE_TEXT.  Behind a backslash b f n r t v are the control characters of C, one to three octal
 * digits or x and one or two hexadecimal digits a byte (servers write neither, but the
 * documentation of COPY defines them); any other character, a tab included, stands for itself.
 * Whether the bytes are characters of the client's encoding is left to the server.
 */
#ifndef DECODE_COPY_ROW_H
#define DECODE_COPY_ROW_H

#include "cdcdump.h"

/*
 * Sets values[0..n).  A table without columns (n = 0) gives empty lines.
 *
 * False, with nothing logged and values and line in no particular state: the line does not end in
 * '\n', has a backslash right before it with nothing to escape, has not exactly n fields, or is
 * longer than 4 GB.
 */
bool copy_row_parse(char *line, size_t len, struct value *values, uint16_t n);

#endif
