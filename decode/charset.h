/*
 * charset - text in the encoding of a database -> UTF-8.
 *
 * pgoutput's texts are converted by the server.  The walsender hands on what other plugins write as
 * it is: in the encoding of the database, whatever client_encoding says.
 *
 * A character becomes what the server's own conversion makes of it, which has been compared for
 * every character of every encoding (PostgreSQL 15, glibc 2.36).  The tables are those of iconv(3);
 * encodings of one byte per character are asked for once, byte by byte, as iconv would else compose
 * letters and accents that follow each other.
 */
#ifndef DECODE_CHARSET_H
#define DECODE_CHARSET_H

#include "cdcdump.h"

struct charset;

/*
 * What converts from that encoding, named as the server does (SHOW server_encoding).  *charset is
 * NULL for one that needs no conversion: UTF8, and SQL_ASCII, of which nothing is known.
 * OUTCOME_MISUSED, logged with a hint, for one that cannot be converted here.
 */
enum outcome charset_new(const char *server_encoding, struct charset **charset);
void charset_free(struct charset *charset);

/*
 * A new message, with texts of at most `size` bytes altogether.  What has been converted before is
 * gone.  Costs nothing until there is something to convert.  charset may be NULL here and below.
 */
void charset_begin(struct charset *charset, size_t size);

/*
 * Makes *text and *len the same text in UTF-8.  If it is all ASCII it stays where it is, else it
 * moves to memory of the charset's, where it may be written to and stays until charset_begin().
 * False when it is not valid in the encoding: then nothing moves and *len is where the first such
 * character begins.
 */
bool charset_convert(struct charset *charset, char **text, size_t *len);

#endif
