#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

static volatile sig_atomic_t stop_seen, hangup_seen, report_seen;
static int wake_pipe[2] = {-1, -1};

static void wake(void)
{
    int saved = errno;

    /* A full pipe is as readable as it gets. */
    if (write(wake_pipe[1], "", 1) < 0)
        errno = saved;
    errno = saved;
}

static void on_stop(int signo)
{
    (void)signo;
    stop_seen = 1;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    wake();
}

static void on_note(int signo)
{
    if (signo == SIGHUP)
        hangup_seen = 1;
    else
        report_seen = 1;
    wake();
}

/*
 * What only takes a note is not to fail a call on a slow file system: SA_RESTART; poll() returns
 * all the same.  What asks for the end has to get us out of the opening of a FIFO.
 */
static void handle(int signo, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&action.sa_mask);
    sigaction(signo, &action, NULL);
}

/* Under nohup, and whatever else starts programs with SIGHUP ignored, it stays so. */
static void end_on_hangup(void)
{
    struct sigaction before;

    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        handle(SIGHUP, on_stop, 0);
}

bool signals_install(bool hangup_reopens)
{
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_error("could not create a pipe: %m");
        return false;
    }
    handle(SIGINT, on_stop, 0);
    handle(SIGTERM, on_stop, 0);
    if (hangup_reopens)
        handle(SIGHUP, on_note, SA_RESTART);
    else
        end_on_hangup();
    handle(SIGUSR1, on_note, SA_RESTART);
    handle(SIGPIPE, SIG_IGN, 0);
    handle(SIGXFSZ, SIG_IGN, 0); /* the write fails instead, and says why */
    return true;
}

static void on_child(int signo)
{
    (void)signo;
    wake();
}

void signals_watch_children(void)
{
    handle(SIGCHLD, on_child, SA_NOCLDSTOP | SA_RESTART);
}

int signals_fd(void)
{
    return wake_pipe[0];
}

void signals_drain(void)
{
    char bytes[64];

    while (read(wake_pipe[0], bytes, sizeof bytes) > 0)
        continue;
}

bool signals_stop(void)
{
    return stop_seen;
}

static bool take(volatile sig_atomic_t *note)
{
    if (!*note)
        return false; /* and is not written to: a signal could come just now */
    *note = 0;
    return true;
}

bool signals_take_hangup(void)
{
    return take(&hangup_seen);
}

bool signals_take_report(void)
{
    return take(&report_seen);
}

void signals_die_of_pipe(void)
{
    log_flush();
    handle(SIGPIPE, SIG_DFL, 0);
    raise(SIGPIPE);
    _exit(128 + SIGPIPE); /* SIGPIPE is blocked: the nearest thing to it */
}
