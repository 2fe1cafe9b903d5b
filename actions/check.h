/*
 * check - --check.
 */
#ifndef ACTIONS_CHECK_H
#define ACTIONS_CHECK_H

#include "cdcdump.h"
#include "cli/options.h"

enum outcome check_run(const struct options *o);

#endif
