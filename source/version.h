/*
 * version - which of the options need which server.
 */
#ifndef SOURCE_VERSION_H
#define SOURCE_VERSION_H

#include "cdcdump.h"
#include "cli/options.h"

/*
 * Refuses (OUTCOME_MISUSED) an option that a server of that version, as of PQserverVersion(), does
 * not know, before anything has been created there.
 */
enum outcome version_check(int server_version, const struct options *o);

#endif
