#include "cli/config.h"

#include "base/log.h"

bool config_read(struct config *c, const char *path)
{
    c->path = path;
    log_error("not there yet");
    return false;
}
