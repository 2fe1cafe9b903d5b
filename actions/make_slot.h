/*
 * make_slot - --create-slot and --drop-slot.
 */
#ifndef ACTIONS_MAKE_SLOT_H
#define ACTIONS_MAKE_SLOT_H

#include "cdcdump.h"
#include "cli/options.h"

enum outcome make_slot_create(const struct options *o);
enum outcome make_slot_drop(const struct options *o);

#endif
