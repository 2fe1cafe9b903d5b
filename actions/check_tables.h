/*
 * check_tables - the part of --check that is about the tables and what the server sends of them:
 * selection, publication, replica identity, privileges, and what the records will lack.
 */
#ifndef ACTIONS_CHECK_TABLES_H
#define ACTIONS_CHECK_TABLES_H

#include "actions/check.h"

void check_tables(struct check *c);

#endif
