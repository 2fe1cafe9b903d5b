/*
 * help - what --help and --version print, from the table of options, within 80 columns.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdbool.h>

/* False: standard output does not take it, which has been said. */
bool help_print(void);
bool help_print_version(void);

#endif
