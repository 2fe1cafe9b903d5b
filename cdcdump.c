/*
 * cdcdump - writes the changes of PostgreSQL tables to standard output.
 *
 * main() wires: descriptors, signals, options, the capture, and what its outcome is to the shell.
 */
#include "cdcdump.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "actions/check.h"
#include "actions/list_slots.h"
#include "actions/make_slot.h"
#include "actions/peek.h"
#include "base/log.h"
#include "base/signals.h"
#include "capture/acknowledge.h"
#include "capture/capture.h"
#include "cli/options.h"
#include "source/plugin.h"

/* cdcdump(1), EXIT STATUS */
enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_MISUSED = 2,
    EXIT_UNAVAILABLE = 3,
    EXIT_POSITION_LOST = 4,
    EXIT_OUTPUT_FAILED = 5,
    EXIT_COLUMNS_CHANGED = 6,
};

/*
 * A file opened later must not become descriptor 0, 1 or 2 and be taken for what those are.  Read
 * only, so that a closed standard output is noticed and not taken for one that swallows all.
 */
static bool open_standard_descriptors(void)
{
    int fd = open("/dev/null", O_RDONLY);

    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = dup(fd);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static enum exit_status exit_status(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK:
    case OUTCOME_STOPPED:
        return EXIT_DONE;
    case OUTCOME_MISUSED:
        return EXIT_MISUSED;
    case OUTCOME_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case OUTCOME_POSITION_LOST:
        return EXIT_POSITION_LOST;
    case OUTCOME_OUTPUT_FAILED:
        return EXIT_OUTPUT_FAILED;
    case OUTCOME_COLUMNS_CHANGED:
        return EXIT_COLUMNS_CHANGED;
    case OUTCOME_OUTPUT_CLOSED:
        signals_die_of_pipe();
    case OUTCOME_FAILED:
        break;
    }
    return EXIT_FAILED;
}

static enum outcome run(const struct options *o)
{
    switch (o->action) {
    case ACTION_CAPTURE:
        break;
    case ACTION_ACK:
        return acknowledge_run(o);
    case ACTION_LIST_SLOTS:
        return list_slots_run(o);
    case ACTION_PEEK:
        return peek_run(o);
    case ACTION_CHECK:
        return check_run(o);
    case ACTION_CREATE_SLOT:
        return make_slot_create(o);
    case ACTION_DROP_SLOT:
        return make_slot_drop(o);
    }
    return capture_run(o);
}

int main(int argc, char **argv)
{
    static struct options o; /* its strings live as long as the process */

    if (!open_standard_descriptors())
        return EXIT_FAILED;
    switch (options_parse(&o, argc, argv)) {
    case OPTIONS_DONE:
        return EXIT_DONE;
    case OPTIONS_BAD:
        return EXIT_MISUSED;
    case OPTIONS_RUN:
        break;
    }
    if (o.plugin != PLUGIN_AS_SLOT && plugin_check(&o) != OUTCOME_OK) {
        options_hint_at_help();
        return EXIT_MISUSED;
    }
    if (!signals_install(o.file && o.ack_mode != ACK_DEFERRED))
        return EXIT_FAILED;
    if (o.exec)
        signals_watch_children();
    /* pauses of 50 µs are meant as such: the kernel's default slack is as much again */
    prctl(PR_SET_TIMERSLACK, 1000ul);
    return (int)exit_status(run(&o));
}
