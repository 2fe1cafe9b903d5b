/*
 * config - properties files: those of Flink CDC's and Debezium's connectors, and our own options.
 *
 * config_read() reads `key=value` (properties.h) and says, for every key that has a meaning here,
 * which option has that meaning and which value (CONTRACT, section 8; connector_keys.h).  What has
 * none is warned about, with the reason; an invalid value is an error that names the key and what
 * it may be.  The options are set by whoever reads the command line, which wins.
 *
 *   - `connector` makes it a file of Flink CDC, `connector.class` one of Debezium (also as Debezium
 *     Server has it, behind debezium.source.); in the former, Debezium's keys are behind debezium.
 *     A key of the other one is taken all the same, with a warning.
 *   - Our own long options can stand in any file, with or without --; flags are true, false or
 *     empty, and those that can be given several times add up.  password=… is the password itself.
 *   - Of two keys that become the same option the later counts, with a warning: first those of the
 *     connector, then those behind debezium., then our own.
 *   - A key that nobody knows is an error where it looks like a known one, or where the file names
 *     no connector: it was to do something.  Elsewhere it is warned about.
 *
 * All strings live as long as the process.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "cli/options.h"

struct parsed;

struct setting {
    const char *option; /* the long name of an option */
    const char *value;  /* as on the command line; of flags, which are set then, unused */
    const char *key;    /* as in the file, for messages */
    unsigned line;      /* from 1 */
    bool secret;        /* the value must not be printed */
    /*
     * NULL = always; else it is to be asked when the settings before it have been taken.  False:
     * the key means nothing in such a run, and the setting is left out without a word.
     */
    bool (*fits)(const struct parsed *p);
};

struct config {
    const char *path;
    struct setting *settings;
    size_t count;
    struct string_list connection_settings; /* keyword=value of libpq; passwords are here, too */
    struct string_list qualified_tables;    /* see struct options */
    struct string_list exclude_qualified_tables;
    bool keep_publication; /* see struct options */
};

/* False: something is wrong and has been said. */
bool config_read(struct config *c, const char *path);

#endif
