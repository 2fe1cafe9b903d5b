/*
 * coverage_json - a coverage as a member of the state file; deliver/state.h describes it.
 */
#ifndef SNAPSHOT_COVERAGE_JSON_H
#define SNAPSHOT_COVERAGE_JSON_H

#include <cjson/cJSON.h>

#include "snapshot/coverage.h"

/* What of it belongs to that position. */
cJSON *coverage_to_json(const struct coverage *c, const struct position *position);

/* Fills *c, empty before; false when the object is not one of ours. */
bool coverage_from_json(struct coverage *c, const cJSON *json);

#endif
