#include "source/version.h"

#include <string.h>

#include "base/log.h"
#include "source/plugin.h"

static bool asks_for_origin(const struct options *o)
{
    for (size_t i = 0; i < o->plugin_options.count; i++)
        if (strncmp(o->plugin_options.items[i], "origin", strlen("origin")) == 0)
            return true;
    return false;
}

enum outcome version_check(int server_version, const struct options *o)
{
    bool publishes = plugin_of(o->plugin)->publishes;
    const struct {
        bool asked;
        int major;
        const char *what;
    } needs[] = {
        {true, 12, "cdcdump"},
        {o->chunk_key != NULL, 13, "--chunk-key"}, /* FETCH FIRST … WITH TIES */
        {o->messages && publishes, 14, "--messages"},
        {o->binary && publishes, 14, "-o binary"},
        {o->two_phase, 15, "--two-phase"},
        {asks_for_origin(o) && publishes, 16, "-o origin"},
        {o->failover, 17, "--failover"},
    };

    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        if (!needs[i].asked || server_version >= needs[i].major * 10000)
            continue;
        log_error("%s needs PostgreSQL %d or later", needs[i].what, needs[i].major);
        log_detail("The server's version is %d.%d.", server_version / 10000, server_version % 10000);
        return OUTCOME_MISUSED;
    }
    return OUTCOME_OK;
}
