/*
 * option_table - every option there is: the one table that the command line is read by, and --help,
 * the completions of shells and the properties files that use our own names.
 */
#ifndef CLI_OPTION_TABLE_H
#define CLI_OPTION_TABLE_H

#include <stddef.h>

#include "cli/options.h"

/* A word that an option allows, and what it stands for.  Ends with a NULL name. */
struct choice {
    const char *name;
    int value;
};

enum kind {
    KIND_FLAG,    /* bool */
    KIND_STRING,  /* const char * */
    KIND_LIST,    /* struct string_list */
    KIND_CHOICE,  /* int-sized enum, by words */
    KIND_COUNT,   /* uint64_t */
    KIND_SECONDS, /* usec_t; fractions are fine */
    KIND_LSN,     /* lsn_t */
    KIND_UNTIL,   /* struct until */
    KIND_OPS,     /* unsigned: letters -> SKIP_* bits */
    KIND_SET,     /* int-sized enum: no argument, sets choices[0].value */
    KIND_HELP,
    KIND_VERSION,
    KIND_GROUP, /* no option: a heading of --help */
};

struct option_row {
    char letter; /* 0 = none */
    const char *name;
    enum kind kind;
    size_t offset;           /* of the member of struct options */
    const struct choice *choices;
    const char *what;        /* what the value is called, in messages */
    const char *placeholder; /* what the value is called, in --help */
    const char *help;
    unsigned actions;        /* bits: 1 << enum action, with which it has a meaning; 0 = as its group */
};

/* Options in the order of --help, under their groups. */
extern const struct option_row option_rows[];
extern const size_t option_count;

/* NULL where there is none. */
const struct option_row *option_by_letter(int letter);
const struct option_row *option_by_name(const char *name);

/* The option that asks for that action; NULL for a capture. */
const struct option_row *option_of_action(enum action action);

/* Whether an option can go with an action. */
bool option_has_meaning(const struct option_row *row, enum action action);

#endif
