/*
 * translation - one key of a properties file after the other becomes settings.
 *
 * What depends on other keys of the file is collected here and said by config.c at the end.
 */
#ifndef CLI_TRANSLATION_H
#define CLI_TRANSLATION_H

#include "cli/config.h"
#include "cli/connector_keys.h"
#include "cli/properties.h"

struct entry {
    const struct property *property;    /* as in the file */
    const char *name;                   /* the key without debezium. in front */
    const struct connector_key *row;    /* NULL for our own options */
    const char *value;                  /* with variables put in; lives as long as the process */
    bool secret;                        /* the value must not be printed */
};

/* A startup mode that the file asks for, by one of two keys. */
struct asked_mode {
    const struct property *property; /* NULL = it does not */
    const char *mode;                /* as our option has it */
};

struct translation {
    struct config *c;
    const struct properties *p;
    bool failed;
    struct asked_mode snapshot_mode, startup_mode; /* Debezium's and Flink's */
    const struct property *incremental;            /* that asks for it */
};

/* Translates the value of a key that is in the table; failed is set where it is invalid. */
void translation_take(struct translation *t, const struct entry *e);

/* A setting, as if the file had our own option; the value lives as long as the process. */
void translation_set(struct translation *t, const struct entry *e, const char *option,
                     const char *value);

/* Whether there is a setting for that option. */
bool translation_has(const struct translation *t, const char *option);

/* The value with its variables; false: failed is set, and it has been said why. */
bool translation_resolve(struct translation *t, struct entry *e);

/* Says where the key of the error before stands, and that the file is not to be used. */
void translation_fail(struct translation *t, const struct property *property);

/* Says that a value is invalid, and what it must be; it is not printed where it is a secret. */
void translation_refuse(struct translation *t, const struct entry *e, const char *must_be);

/* Keeps memory for as long as the process lives, as options borrow from it; returns it. */
void *translation_keep(void *memory);

#endif
