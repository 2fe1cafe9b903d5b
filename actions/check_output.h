/*
 * check_output - the part of --check that is about where records go.  Standard output is what the
 * findings go to: what it will be for the capture cannot be seen.
 */
#ifndef ACTIONS_CHECK_OUTPUT_H
#define ACTIONS_CHECK_OUTPUT_H

#include "actions/check.h"

/* Where acknowledgments come from, which a capture looks at first of all. */
void check_output_replies(struct check *c);

void check_output(struct check *c);

#endif
