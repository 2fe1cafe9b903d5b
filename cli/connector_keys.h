/*
 * connector_keys - every key that a properties file may have beside our own options, and what
 * becomes of it here: one const table that config.c translates by and the manual's list is printed
 * from.
 *
 * Sources: the PostgreSQL connectors of Debezium 0.9.2 and 3.x and of Flink CDC, Kafka Connect's
 * worker and connector settings, and the sinks that stand beside them in the same examples.
 */
#ifndef CLI_CONNECTOR_KEYS_H
#define CLI_CONNECTOR_KEYS_H

#include <stdbool.h>
#include <stdio.h>

/* Where a key can stand; bits. */
enum {
    KEYS_OF_DEBEZIUM = 1,       /* in a file with connector.class */
    KEYS_BEHIND_DEBEZIUM = 2,   /* the same behind "debezium.", in a file with connector */
    KEYS_OF_FLINK = 4,          /* in a file with connector */
    KEYS_OF_CONNECT = 8,        /* Kafka Connect's own, beside those of Debezium */
    KEYS_OF_SINKS = 16,         /* of other tables of the same SQL */
};

enum key_form {
    FORM_TEXT,         /* taken as it is */
    FORM_DATABASE,     /* a name, whatever characters it has */
    FORM_NUMBER,       /* a whole number from least to most */
    FORM_FLAG,         /* true or false */
    FORM_MILLISECONDS, /* a whole number; 0 = not given */
    FORM_DURATION,     /* Flink's: 30s, 5 min, 500 (milliseconds); 0 = not given */
    FORM_CHOICE,       /* one of words */
    FORM_TABLES,       /* Java's regular expressions for schema.table */
    FORM_EXCLUDED_TABLES,
    FORM_REGEXES,      /* Java's regular expressions for something else */
    FORM_COLUMNS,      /* the same: what they do not match is left out */
    FORM_TABLE_NAME,   /* Flink's: belongs to schema-name */
    FORM_OPERATIONS,   /* c,u,d,t or none */
    FORM_PARAMETERS,   /* name=value;name=value */
    FORM_QUERIES,      /* schema.table,…: each has a key of its own behind this one, a SELECT */
    FORM_QUERY,        /* that one */
    FORM_IDENTITIES,   /* regex:IDENTITY,… */
    FORM_PREFIXES,     /* regular expressions for the prefixes of messages */
    FORM_RETRIES,      /* a whole number, or -1: endless */
    FORM_CONNECTOR,    /* which connector the file is of */
    FORM_MODE,         /* startup mode, one of words */
    FORM_INCREMENTAL,  /* true: incremental snapshot */
    FORM_FIXED,        /* nothing else than one of words is done here */
    FORM_NOTHING,      /* has no effect */
    FORM_REFUSED,      /* without its effect the output would be another */
};

/* A value and what it is called here; NULL: known, but not to be had. */
struct key_word {
    const char *name;
    const char *value;
};

enum key_target {
    TARGET_NONE,
    TARGET_OPTION,  /* a long option */
    TARGET_SETTING, /* a name of --set */
    TARGET_LIBPQ,   /* a keyword of a connection string */
};

struct connector_key {
    const char *name; /* a * at its end stands for any text, one in its middle for a table's name */
    unsigned where;
    enum key_form form;
    enum key_target to;
    const char *target;
    const struct key_word *words; /* end with a NULL name */
    const char *why;              /* what is said where it has no effect or is refused */
    unsigned least, most;         /* of a number */
    bool secret;                  /* the value is never printed */
};

/* The row for a key at one of these places; NULL where there is none. */
const struct connector_key *connector_key_find(const char *name, unsigned where);

/*
 * The known key at one of these places that looks most like this one, where it looks like a slip of
 * the pen; NULL = none does.  A second one is in further, NULL at the end, as our own options are.
 */
const struct connector_key *connector_key_like(const char *name, unsigned where);

/* How many letters have to be put in, taken out or changed; '.', '-' and '_' are the same. */
unsigned connector_key_distance(const char *one, const char *other);

/* The list of keys in the manual, in mdoc(7). */
void connector_keys_print_mdoc(FILE *to);

#endif
