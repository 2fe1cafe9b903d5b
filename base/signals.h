/*
 * signals - what the outside world asks of the process.
 *
 * The handlers only take notes and make signals_fd() readable, so that a poll() that includes it
 * misses nothing.  SIGINT and SIGTERM ask for a graceful end; the second of them finds the default
 * action in place again and ends the process at once.  So does SIGHUP where no file is to be opened
 * anew on it.  SIGPIPE is ignored: a closed output is
 * found by poll() and write().  Process-wide state, as signals are.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <stdbool.h>

/* Installs the handlers; once, before any connection is made. */
bool signals_install(bool hangup_reopens);

/* From now on the end of a child process makes signals_fd() readable, too. */
void signals_watch_children(void);

/* Readable when a signal has come since signals_drain(). */
int signals_fd(void);
void signals_drain(void);

/* Whether a signal has asked for the end.  Stays true. */
bool signals_stop(void);

/* Whether SIGHUP / SIGUSR1 has come since the last call. */
bool signals_take_hangup(void);
bool signals_take_report(void);

/* Ends the process the way a writer into a closed pipe ends: killed by SIGPIPE. */
_Noreturn void signals_die_of_pipe(void);

#endif
