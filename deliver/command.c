#include "deliver/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

extern char **environ;

/* ---- its environment ---- */

static bool is_of(const char *setting, const char *name)
{
    size_t n = strlen(name);

    return strncmp(setting, name, n) == 0 && setting[n] == '=';
}

static bool is_replaced(const char *setting, const struct command_variable *variables, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_of(setting, variables[i].name))
            return true;
    return false;
}

/* Ours, but for those variables; the last `n` entries at most are to be freed. */
static char **make_environment(const struct command_variable *variables, size_t n, size_t *own)
{
    size_t count = 0, used = 0;
    char **list;

    while (environ[count])
        count++;
    list = xcalloc(count + n + 1, sizeof *list);
    for (size_t i = 0; i < count; i++)
        if (!is_replaced(environ[i], variables, n))
            list[used++] = environ[i];
    *own = used;
    for (size_t i = 0; i < n; i++)
        if (variables[i].value)
            list[used++] = xasprintf("%s=%s", variables[i].name, variables[i].value);
    return list;
}

static void free_environment(char **list, size_t own)
{
    for (size_t i = own; list[i]; i++)
        free(list[i]);
    free(list);
}

/* ---- beginning ---- */

static void default_signals(void)
{
    static const int list[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGXFSZ, SIGCHLD};

    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        signal(list[i], SIG_DFL);
}

/* In the child: nothing but what may be called after fork(). */
_Noreturn static void become(const char *text, char *const *environment, int input, pid_t parent)
{
    char *const arguments[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)text, NULL};

    default_signals();
    file_restore_limit();
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || dup2(input, STDIN_FILENO) < 0)
        _exit(126);
    execve("/bin/sh", arguments, environment);
    _exit(127);
}

/*
 * In the other child.  Everything but the two descriptors is closed: others may wait for their end.
 * What is meant for the command is not to end its input early: this ends when the input is whole, or
 * when nobody reads it.
 */
_Noreturn static void feed(int from, int to, pid_t group)
{
    static char bytes[64 * 1024];
    ssize_t n;

    default_signals();
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    setpgid(0, group);
    if (dup2(from, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0 ||
        close_range(STDERR_FILENO, ~0u, 0) != 0)
        _exit(1);
    while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || !file_write_all(STDOUT_FILENO, bytes, (size_t)n))
            _exit(1);
    }
    _exit(0);
}

static bool fail(const char *doing)
{
    log_warning("could not %s for the command: %m", doing);
    return false;
}

/* The two processes; ends: of the pipe between them. */
static bool start_both(struct command *c, const char *text, char *const *environment,
                       const int ends[2])
{
    pid_t parent = getpid();

    log_flush(); /* what is held back is not the child's to print */
    c->pid = fork();
    if (c->pid == 0)
        become(text, environment, ends[0], parent);
    if (c->pid < 0) {
        c->pid = 0;
        return fail("start a process");
    }
    setpgid(c->pid, c->pid); /* here, too: whoever comes first */
    c->feeder = fork();
    if (c->feeder == 0)
        feed(c->file, ends[1], c->pid);
    if (c->feeder > 0) {
        setpgid(c->feeder, c->pid);
        return true;
    }
    c->feeder = 0;
    fail("start a process");
    command_kill(c);
    return false;
}

bool command_start(struct command *c, const char *text, int file,
                   const struct command_variable *variables, size_t n)
{
    size_t own;
    char **environment;
    int ends[2];
    bool started;

    *c = (struct command){.file = file, .unread = -1};
    if (lseek(file, 0, SEEK_SET) != 0)
        return fail("go to the beginning of a temporary file");
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail("create a pipe");
    c->unread = ends[0];
    environment = make_environment(variables, n, &own);
    started = start_both(c, text, environment, ends);
    free_environment(environment, own);
    close(ends[1]);
    if (!started && c->unread >= 0) {
        close(c->unread);
        c->unread = -1;
    }
    return started;
}

/* ---- its end ---- */

uint64_t command_given(const struct command *c)
{
    off_t at = c->pid ? lseek(c->file, 0, SEEK_CUR) : 0;

    return at > 0 ? (uint64_t)at : 0;
}

static uint64_t left_in_pipe(const struct command *c)
{
    int left = 0;

    return ioctl(c->unread, FIONREAD, &left) == 0 && left >= 0 ? (uint64_t)left : 1;
}

/*
 * Nobody reads any more.  A feeder that has more to give fills the pipe, one that has not ends by
 * itself: which it is shows within a moment.  True: it has given everything.
 */
static bool end_feeder(struct command *c)
{
    enum { STEPS = 2000, STEP_USEC = 1000 };
    pid_t ended = 0;
    int status = 0;

    for (int i = 0; i < STEPS && c->feeder > 0 && ended == 0 && left_in_pipe(c) == 0; i++) {
        ended = waitpid(c->feeder, &status, WNOHANG);
        if (ended == 0)
            clock_pause(STEP_USEC);
    }
    if (c->feeder > 0 && ended == 0) {
        kill(c->feeder, SIGKILL);
        while (waitpid(c->feeder, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    c->feeder = 0;
    return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool command_has_ended(struct command *c, uint64_t *given, uint64_t *unread)
{
    if (c->pid == 0 || waitpid(c->pid, &c->status, WNOHANG) != c->pid)
        return false;
    *unread = !end_feeder(c);
    *given = command_given(c);
    *unread += left_in_pipe(c);
    close(c->unread);
    c->unread = -1;
    c->pid = 0;
    return true;
}

void command_signal(const struct command *c, int signo)
{
    if (c->pid > 0)
        kill(-c->pid, signo);
}

void command_kill(struct command *c)
{
    enum { PATIENCE_USEC = 2000000, STEP_USEC = 10000 };
    usec_t deadline = clock_ticks() + PATIENCE_USEC;
    uint64_t given, unread;

    if (c->pid == 0)
        return;
    command_signal(c, SIGTERM);
    while (!command_has_ended(c, &given, &unread)) {
        if (clock_ticks() >= deadline)
            command_signal(c, SIGKILL);
        clock_pause(STEP_USEC);
    }
}
