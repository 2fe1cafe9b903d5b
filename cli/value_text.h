/*
 * value_text - how connectors write the values of their keys: words, numbers, times.
 */
#ifndef CLI_VALUE_TEXT_H
#define CLI_VALUE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/connector_keys.h"

/* A copy without blanks around it; the caller frees it. */
char *value_text_trim(const char *text);

/* The word that the text is, whatever its case; NULL = none. */
const struct key_word *value_text_word(const char *text, const struct key_word *words);

/* The words that can be had, with commas between; the caller frees it. */
char *value_text_list(const struct key_word *words);

/* A whole number from least to most, without a sign. */
bool value_text_number(const char *text, uint64_t least, uint64_t most, uint64_t *n);

/*
 * A duration as Flink reads it: a whole number and a unit, from nanoseconds to days; without a unit
 * it is of milliseconds.  Rounded to microseconds, up; at most some 30 years.
 */
bool value_text_duration(const char *text, uint64_t *usec);

/* Seconds with a fraction where there is one; the caller frees it. */
char *value_text_seconds(uint64_t usec);

#endif
