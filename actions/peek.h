/*
 * peek - --peek.
 */
#ifndef ACTIONS_PEEK_H
#define ACTIONS_PEEK_H

#include "cdcdump.h"
#include "cli/options.h"

enum outcome peek_run(const struct options *o);

#endif
