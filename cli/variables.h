/*
 * variables - ${PROVIDER:…} within the values of properties files.
 *
 *     ${file:PATH:KEY}   the value of KEY in the properties file PATH, which is relative to the
 *                        folder of the file that names it (Kafka's FileConfigProvider, KIP-297)
 *     ${env:NAME}        an environment variable (Kafka's EnvVarConfigProvider)
 *
 * As in Kafka the first colons count, what was put in is not looked at again, and ${…} without a
 * colon is text.
 */
#ifndef CLI_VARIABLES_H
#define CLI_VARIABLES_H

#include <stdbool.h>

#include "cli/properties.h"

/*
 * The value with everything put in: *value is the caller's to free.  *secret: some of it came from
 * a file, so that it must not be printed.  False: something is not there, or not known (logged
 * without its place).
 */
bool variables_resolve(const struct properties *p, const struct property *property, char **value,
                       bool *secret);

#endif
