/*
 * The functions of the C library that are stood before.  The 64-bit names and the checked ones of
 * _FORTIFY_SOURCE are other functions of their own.  Every call is made directly: under a sanitizer
 * the next function of that name would be the sanitizer's.
 */
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/fault.h"

static struct fault of_fd(enum fault_call call, int fd)
{
    return (struct fault){.call = call, .fd = fd, .offset = -1};
}

static struct fault of_path(enum fault_call call, const char *path, const char *path2)
{
    return (struct fault){.call = call, .fd = -1, .offset = -1, .path = path, .path2 = path2};
}

static struct fault of_data(enum fault_call call, int fd, const void *data, size_t size)
{
    return (struct fault){.call = call, .fd = fd, .offset = -1, .data = data, .size = size};
}

/* ---- opening and closing ---- */

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    struct fault f = of_path(CALL_OPEN, path, NULL);

    f.flags = flags;
    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_openat, folder, path, flags, mode));
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(arguments, unsigned) : 0;
}

#define OPEN_BODY(folder)                                                                          \
    va_list arguments;                                                                             \
    mode_t mode;                                                                                   \
                                                                                                   \
    va_start(arguments, flags);                                                                    \
    mode = mode_of(flags, arguments);                                                              \
    va_end(arguments);                                                                             \
    return open_at(folder, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int openat(int folder, const char *path, int flags, ...)
{
    OPEN_BODY(folder);
}

int openat64(int folder, const char *path, int flags, ...)
{
    OPEN_BODY(folder);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags);
int __openat_2(int folder, const char *path, int flags)
{
    return open_at(folder, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
    struct fault f = of_fd(CALL_CLOSE, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_close, fd));
}

static int dup_to(int fd, int to, int flags)
{
    struct fault f = of_fd(CALL_DUP, fd);

    if (!fault_enter(&f))
        return -1;
    if (to < 0)
        return (int)fault_leave(&f, syscall(SYS_dup, fd));
    if (to == fd)
        return (int)fault_leave(&f, syscall(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : to);
    return (int)fault_leave(&f, syscall(SYS_dup3, fd, to, flags));
}

int dup(int fd)
{
    return dup_to(fd, -1, 0);
}

int dup2(int fd, int to)
{
    return dup_to(fd, to, 0);
}

int dup3(int fd, int to, int flags)
{
    if (fd == to) {
        errno = EINVAL;
        return -1;
    }
    return dup_to(fd, to, flags);
}

static int make_pipe(int fds[2], int flags)
{
    struct fault f = of_fd(CALL_PIPE, -1);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_pipe2, fds, flags));
}

int pipe(int fds[2])
{
    return make_pipe(fds, 0);
}

int pipe2(int fds[2], int flags)
{
    return make_pipe(fds, flags);
}

/* ---- reading and writing ---- */

ssize_t read(int fd, void *bytes, size_t size)
{
    struct fault f = of_data(CALL_READ, fd, NULL, size);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_read, fd, bytes, f.size));
}

ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room);
ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room)
{
    (void)room;
    return read(fd, bytes, size);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    struct fault f = of_data(CALL_WRITE, fd, bytes, size);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_write, fd, bytes, f.size));
}

ssize_t pread(int fd, void *bytes, size_t size, off_t at)
{
    struct fault f = of_data(CALL_PREAD, fd, NULL, size);

    f.offset = at;
    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_pread64, fd, bytes, f.size, at));
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t at)
{
    return pread(fd, bytes, size, at);
}

ssize_t __pread_chk(int fd, void *bytes, size_t size, off_t at, size_t room);
ssize_t __pread_chk(int fd, void *bytes, size_t size, off_t at, size_t room)
{
    (void)room;
    return pread(fd, bytes, size, at);
}

ssize_t __pread64_chk(int fd, void *bytes, size_t size, off64_t at, size_t room);
ssize_t __pread64_chk(int fd, void *bytes, size_t size, off64_t at, size_t room)
{
    (void)room;
    return pread(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    struct fault f = of_data(CALL_PWRITE, fd, bytes, size);

    f.offset = at;
    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_pwrite64, fd, bytes, f.size, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
    return pwrite(fd, bytes, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    struct fault f = of_fd(CALL_WRITEV, fd);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_writev, fd, parts, n));
}

off_t lseek(int fd, off_t to, int from)
{
    struct fault f = of_fd(CALL_LSEEK, fd);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_lseek, fd, to, from));
}

off64_t lseek64(int fd, off64_t to, int from)
{
    return lseek(fd, to, from);
}

/* ---- sockets ---- */

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *to,
               socklen_t n)
{
    struct fault f = of_data(CALL_SEND, fd, bytes, size);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_sendto, fd, bytes, f.size, flags, to, n));
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    return sendto(fd, bytes, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct fault f = of_fd(CALL_SEND, fd);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t recvfrom(int fd, void *bytes, size_t size, int flags, struct sockaddr *from, socklen_t *n)
{
    struct fault f = of_data(CALL_RECV, fd, NULL, size);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_recvfrom, fd, bytes, f.size, flags, from, n));
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    return recvfrom(fd, bytes, size, flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void *bytes, size_t size, size_t room, int flags);
ssize_t __recv_chk(int fd, void *bytes, size_t size, size_t room, int flags)
{
    (void)room;
    return recvfrom(fd, bytes, size, flags, NULL, NULL);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct fault f = of_fd(CALL_RECV, fd);

    if (!fault_enter(&f))
        return -1;
    return fault_leave(&f, syscall(SYS_recvmsg, fd, message, flags));
}

int socket(int domain, int type, int protocol)
{
    struct fault f = of_fd(CALL_SOCKET, -1);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_socket, domain, type, protocol));
}

int connect(int fd, const struct sockaddr *to, socklen_t n)
{
    struct fault f = of_fd(CALL_CONNECT, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_connect, fd, to, n));
}

static int poll_for(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
                    const sigset_t *mask)
{
    struct fault f = of_fd(CALL_POLL, -1);
    struct timespec left;

    f.size = n;
    if (!fault_enter(&f))
        return -1;
    if (timeout)
        left = *timeout; /* the kernel writes to it, the C library's caller does not expect that */
    return (int)fault_leave(&f, syscall(SYS_ppoll, fds, n, timeout ? &left : NULL, mask,
                                        (size_t)(_NSIG / 8)));
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
    struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    return poll_for(fds, n, ms < 0 ? NULL : &timeout, NULL);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room);
int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room)
{
    (void)room;
    return poll(fds, n, ms);
}

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    return poll_for(fds, n, timeout, mask);
}

/* ---- files ---- */

int fsync(int fd)
{
    struct fault f = of_fd(CALL_FSYNC, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    struct fault f = of_fd(CALL_FDATASYNC, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_fdatasync, fd));
}

int sync_file_range(int fd, off64_t from, off64_t size, unsigned flags)
{
    struct fault f = of_fd(CALL_SYNC_FILE_RANGE, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_sync_file_range, fd, from, size, flags));
}

int fallocate(int fd, int mode, off_t from, off_t size)
{
    struct fault f = of_fd(CALL_FALLOCATE, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_fallocate, fd, mode, from, size));
}

int ftruncate(int fd, off_t size)
{
    struct fault f = of_fd(CALL_FTRUNCATE, fd);

    f.offset = size;
    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_ftruncate, fd, size));
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    struct fault f = of_path(CALL_RENAME, from, to);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    struct fault f = of_path(CALL_UNLINK, path, NULL);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_unlinkat, folder, path, flags));
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    struct fault f = of_path(CALL_MKDIR, path, NULL);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int link(const char *from, const char *to)
{
    struct fault f = of_path(CALL_LINK, from, to);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int access(const char *path, int mode)
{
    struct fault f = of_path(CALL_ACCESS, path, NULL);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_faccessat, AT_FDCWD, path, mode));
}

static int stat_path(const char *path, struct stat *st, int flags)
{
    struct fault f = of_path(CALL_STAT, path, NULL);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_newfstatat, AT_FDCWD, path, st, flags));
}

int stat(const char *path, struct stat *st)
{
    return stat_path(path, st, 0);
}

int lstat(const char *path, struct stat *st)
{
    return stat_path(path, st, AT_SYMLINK_NOFOLLOW);
}

int fstat(int fd, struct stat *st)
{
    struct fault f = of_fd(CALL_FSTAT, fd);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH));
}

/* What follows the command is a number or an address, and goes on as it is. */
#define COMMAND_BODY(call, number)                                                                 \
    struct fault f = of_fd(call, fd);                                                              \
    va_list arguments;                                                                             \
    void *argument;                                                                                \
                                                                                                   \
    va_start(arguments, command);                                                                  \
    argument = va_arg(arguments, void *);                                                          \
    va_end(arguments);                                                                             \
    f.flags = (int)command;                                                                        \
    if (!fault_enter(&f))                                                                          \
        return -1;                                                                                 \
    return (int)fault_leave(&f, syscall(number, fd, command, argument))

int fcntl(int fd, int command, ...)
{
    COMMAND_BODY(CALL_FCNTL, SYS_fcntl);
}

int fcntl64(int fd, int command, ...)
{
    COMMAND_BODY(CALL_FCNTL, SYS_fcntl);
}

int ioctl(int fd, unsigned long command, ...)
{
    COMMAND_BODY(CALL_IOCTL, SYS_ioctl);
}

/* ---- processes: these have work of their own to do in the C library ---- */

/* dlsym() gives an object pointer; a function pointer is read from the same bytes. */
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
                                                                                                   \
    if (!next)                                                                                     \
    *(void **)(&next) = dlsym(RTLD_NEXT, #name)

pid_t fork(void)
{
    struct fault f = of_fd(CALL_FORK, -1);
    NEXT(fork);
    if (!fault_enter(&f))
        return -1;
    return (pid_t)fault_leave(&f, next());
}

int execve(const char *path, char *const arguments[], char *const environment[])
{
    struct fault f = of_path(CALL_EXEC, path, NULL);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_execve, path, arguments, environment));
}

int execv(const char *path, char *const arguments[])
{
    return execve(path, arguments, environ);
}

int execvpe(const char *path, char *const arguments[], char *const environment[])
{
    struct fault f = of_path(CALL_EXEC, path, NULL);
    NEXT(execvpe);
    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, next(path, arguments, environment));
}

int execvp(const char *path, char *const arguments[])
{
    return execvpe(path, arguments, environ);
}

/* Returns an error number. */
static int spawned(struct fault *f, int error)
{
    long result;

    errno = error;
    result = fault_leave(f, error == 0 ? 0 : -1);
    return result == 0 ? 0 : errno;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const arguments[],
                char *const environment[])
{
    struct fault f = of_path(CALL_SPAWN, path, NULL);
    NEXT(posix_spawn);
    if (!fault_enter(&f))
        return errno;
    return spawned(&f, next(pid, path, actions, attributes, arguments, environment));
}

int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[],
                 char *const environment[])
{
    struct fault f = of_path(CALL_SPAWN, path, NULL);
    NEXT(posix_spawnp);
    if (!fault_enter(&f))
        return errno;
    return spawned(&f, next(pid, path, actions, attributes, arguments, environment));
}

pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    struct fault f = of_fd(CALL_WAITPID, -1);

    if (!fault_enter(&f))
        return -1;
    return (pid_t)fault_leave(&f, syscall(SYS_wait4, pid, status, options, usage));
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    return wait4(pid, status, options, NULL);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    struct fault f = of_fd(CALL_WAITPID, -1);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_waitid, type, id, info, options, NULL));
}

int kill(pid_t pid, int number)
{
    struct fault f = of_fd(CALL_KILL, -1);

    f.flags = number;
    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_kill, pid, number));
}

/* ---- time ---- */

static void add_nanoseconds(struct timespec *t, int64_t ns)
{
    int64_t sum = t->tv_nsec + ns % 1000000000;

    t->tv_sec += ns / 1000000000 + sum / 1000000000;
    t->tv_nsec = sum % 1000000000;
    if (t->tv_nsec < 0) {
        t->tv_nsec += 1000000000;
        t->tv_sec--;
    }
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    long result = syscall(SYS_clock_gettime, clock, t);

    if (result == 0)
        add_nanoseconds(t, fault_clock_offset(clock));
    return (int)result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    struct fault f = of_fd(CALL_NANOSLEEP, -1);

    if (!fault_enter(&f))
        return -1;
    return (int)fault_leave(&f, syscall(SYS_nanosleep, wanted, left));
}

/* Returns an error number. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left)
{
    struct fault f = of_fd(CALL_NANOSLEEP, -1);

    if (!fault_enter(&f))
        return errno;
    return spawned(&f, syscall(SYS_clock_nanosleep, clock, flags, wanted, left) == 0 ? 0 : errno);
}
