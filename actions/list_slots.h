/*
 * list_slots - --list-slots.
 */
#ifndef ACTIONS_LIST_SLOTS_H
#define ACTIONS_LIST_SLOTS_H

#include "cdcdump.h"
#include "cli/options.h"

enum outcome list_slots_run(const struct options *o);

#endif
