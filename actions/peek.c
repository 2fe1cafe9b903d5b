#include "actions/peek.h"

#include "base/log.h"

enum outcome peek_run(const struct options *o)
{
    (void)o;
    log_error("not there yet");
    return OUTCOME_MISUSED;
}
