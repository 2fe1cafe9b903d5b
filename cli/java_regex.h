/*
 * java_regex - the regular expressions of Java (java.util.regex) as PostgreSQL's.
 *
 * Connectors compile their patterns with CASE_INSENSITIVE and match whole names.  What is given
 * here matches the same names when it is anchored as source/selection.c does, whatever the
 * collation is:
 *
 *   - case is ignored for ASCII letters alone; \d \w \s \b and \p{Alpha} and the like are of ASCII
 *     (\b as from Java 19 on)
 *   - . is no line end, unless (?s); $ and \Z are before a last line end, too
 *   - classes with unions, intersections and ranges become plain ones; \Q…\E, escapes, flags
 *     within the pattern (i and s), named groups and lazy quantifiers are written in other words
 *
 * What cannot be said in PostgreSQL's, or has had other meanings in other versions of Java, is
 * refused: possessive quantifiers, atomic groups, back references, classes of Unicode, \G \R \X,
 * the flags d m u x U, repetitions of more than 255, && or [ within a negated class.
 *
 * Patterns in lists are separated by commas; a comma of a pattern is written as \,.
 */
#ifndef CLI_JAVA_REGEX_H
#define CLI_JAVA_REGEX_H

#include "cli/options.h"

/*
 * The pattern, which is the caller's to free; options such as (?i) stand first.  NULL: it cannot be
 * translated, and *why says in a few words why not.  java is valid UTF-8.
 */
char *java_regex_translate(const char *java, const char **why);

/* The patterns of a list, without blanks around them, the caller's to free; no empty ones. */
struct string_list java_regex_split(const char *list);

#endif
