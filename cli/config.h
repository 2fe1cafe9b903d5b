/*
 * config - properties files: those of Flink CDC's and Debezium's connectors, and our own options.
 *
 * config_read() reads `key=value` and says, for every key that has a meaning here, which option has
 * that meaning and which value (CONTRACT, section 8).  What has none is warned about, with the
 * reason; an invalid value is an error that names the key and what it may be.  The options are set
 * by whoever reads the command line, which wins.
 *
 * All strings live as long as the process.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "cli/options.h"

struct setting {
    const char *option; /* the long name of an option */
    const char *value;  /* as on the command line; of flags, which are set then, unused */
    const char *key;    /* as in the file, for messages */
    unsigned line;      /* from 1 */
};

struct config {
    const char *path;
    struct setting *settings;
    size_t count;
    struct string_list connection_settings; /* keyword=value of libpq; passwords are here, too */
    struct string_list qualified_tables;    /* see struct options */
    struct string_list exclude_qualified_tables;
};

/* False: something is wrong and has been said. */
bool config_read(struct config *c, const char *path);

#endif
