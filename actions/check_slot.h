/*
 * check_slot - the part of --check that is about the slot, the state file and their agreement.
 */
#ifndef ACTIONS_CHECK_SLOT_H
#define ACTIONS_CHECK_SLOT_H

#include "actions/check.h"

/* The state file: readable, whole, held by nobody.  Fills in the session's delivery. */
void check_slot_state(struct check *c);

/* The slot, where there is one, beside the state file; false: it is not one to read from. */
bool check_slot(struct check *c);

/* A slot that is not there. */
void check_slot_presence(struct check *c);

/* Where the capture would begin. */
void check_slot_start(struct check *c);

#endif
