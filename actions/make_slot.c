#include "actions/make_slot.h"

#include "base/log.h"

enum outcome make_slot_create(const struct options *o)
{
    (void)o;
    log_error("not there yet");
    return OUTCOME_MISUSED;
}

enum outcome make_slot_drop(const struct options *o)
{
    (void)o;
    log_error("not there yet");
    return OUTCOME_MISUSED;
}
