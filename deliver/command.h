/*
 * command - a COMMAND of --exec that runs: what it is given on its standard input, how it ends.
 *
 * It runs by /bin/sh -c in a process group of its own, so that Ctrl-C does not reach it before its
 * input is whole, with the signals' default actions and no descriptor of ours but standard output and
 * error.  Its input is a pipe, which a process beside it fills from a file: so it never sees an early
 * end of its input, not even when cdcdump dies in the middle.  In that case the shell gets SIGTERM.
 * Its end is noticed by SIGCHLD (base/signals.h).
 */
#ifndef DELIVER_COMMAND_H
#define DELIVER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cdcdump.h"

struct command {
    pid_t pid;    /* 0 = none runs */
    pid_t feeder; /* who fills the pipe */
    int file;     /* what it reads from; its offset tells how far it has got */
    int unread;   /* our end of the pipe, to see what has not been read */
    int status;   /* as waitpid() gives it, when the command has ended */
};

/* What a variable of the command's environment is set to; value NULL = not set. */
struct command_variable {
    const char *name;
    const char *value;
};

/*
 * Starts it with all of the file (borrowed until it has ended) as its input.  False when that is not
 * possible now, which has been warned of.
 */
bool command_start(struct command *c, const char *text, int file,
                   const struct command_variable *variables, size_t n);

/* How many bytes it has been given. */
uint64_t command_given(const struct command *c);

/* Whether it has ended; c->pid is 0 then, and *unread is 0 if it has read all that there was. */
bool command_has_ended(struct command *c, uint64_t *given, uint64_t *unread);

/* Sends a signal to its process group. */
void command_signal(const struct command *c, int signo);

/* Ends it if it runs: SIGTERM, and SIGKILL a moment later. */
void command_kill(struct command *c);

#endif
