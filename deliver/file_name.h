/*
 * file_name - names of output files with placeholders: -f 'out/{schema}/{table}-{lsn}.csv'.
 *
 *     {schema} {table}  of the records in the file
 *     {topic}           <server>.<schema>.<table>, what is not [A-Za-z0-9._-] replaced by "_", as in
 *                       Debezium's names of topics
 *     {lsn}             of the file's first record, 16 hexadecimal digits, so that names sort
 *     {date}            when the file was begun: YYYY-MM-DD, UTC
 *
 * In {schema} and {table} what must not be in the name of a file is written as %XX: "/", "%", control
 * characters, bytes that are not UTF-8, and a "." at the beginning.
 */
#ifndef DELIVER_FILE_NAME_H
#define DELIVER_FILE_NAME_H

#include "cdcdump.h"

/* Whether a pattern has placeholders; of those that tell tables apart. */
bool file_name_has_placeholders(const char *pattern);
bool file_name_tells_tables(const char *pattern);

/* The placeholder that is not known, with its braces, which the caller frees; NULL when all are. */
char *file_name_unknown(const char *pattern);

/* What a name is made of.  schema and table are NULL where the pattern does not tell tables. */
struct file_name {
    const char *server;
    const char *schema;
    const char *table;
    lsn_t lsn;
    usec_t when;
};

/*
 * The name; number 0 gives it as it is, others put _1, _2 … in front of the pattern's extension: what
 * follows the last dot that the pattern itself has behind its placeholders.  The caller frees it.
 */
char *file_name_make(const char *pattern, const struct file_name *n, unsigned number);

#endif
