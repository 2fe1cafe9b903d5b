/*
 * check_server - the server's part of --check: role, settings, limits, plugin, running
 * transactions.
 */
#ifndef ACTIONS_CHECK_SERVER_H
#define ACTIONS_CHECK_SERVER_H

#include "actions/check.h"

/* After a walsender was refused while ordinary connections are not: the remedy for this role. */
void check_server_refusal(struct check *c);

/* Version, role, settings and limits, as far as a capture depends on them; the plugin. */
void check_server(struct check *c);

#endif
