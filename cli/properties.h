/*
 * properties - the form of properties files; what keys mean is config's to say.
 *
 * Two forms, which may be mixed line by line.  That of java.util.Properties:
 *
 *     key=value        also `key: value` and `key value`; blanks around are left out
 *     # or ! begins a comment line
 *     a backslash at the end of a line goes on in the next one, whose leading blanks are left out
 *     \t \n \r \f \uXXXX; any other character behind a backslash stands for itself
 *
 * and that of a Flink table's WITH clause, where a line begins with a quote:
 *
 *     'key' = 'value',   '' is a quote; several on a line; -- begins a comment
 *
 * Files are UTF-8, with or without a byte order mark, with any line ends.  Blanks at the end of a
 * value belong to it, as in Java.  Of equal keys the last one counts, with a warning; of those that
 * the caller says are lists all do, an item each.
 */
#ifndef CLI_PROPERTIES_H
#define CLI_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>

struct property {
    char *key;
    char *value;
    unsigned line; /* from 1: where it begins */
};

struct properties {
    const char *path; /* borrowed */
    struct property *items;
    size_t count;
};

/*
 * False: the file cannot be read or is none of that form (logged; nothing to release).  is_list
 * says whether a key may be there more than once; NULL: none may.
 */
bool properties_read(struct properties *p, const char *path, bool (*is_list)(const char *key));
void properties_release(struct properties *p);

/* The first with that key; NULL where there is none. */
const struct property *properties_find(const struct properties *p, const char *key);

#endif
