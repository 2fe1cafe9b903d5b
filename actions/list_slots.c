#include "actions/list_slots.h"

#include "base/log.h"

enum outcome list_slots_run(const struct options *o)
{
    (void)o;
    log_error("not there yet");
    return OUTCOME_MISUSED;
}
