#include "deliver/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/signals.h"

enum {
    INITIAL_BUFFER = OUTPUT_HIGH_WATER + 64 * 1024,
    SMALL_BUFFER = 16 * 1024, /* of one of many files */
    PIPE_SIZE = 1024 * 1024, /* what the kernel allows everybody, unless told otherwise */
};

static const char *name_of(const struct output *o)
{
    return o->given ? o->given : "standard output";
}

static enum outcome failed(const struct output *o, const char *doing)
{
    log_error("could not %s %s: %m", doing, name_of(o));
    return OUTCOME_OUTPUT_FAILED;
}

/* ---- opening ---- */

static void proc_path(int fd, char *path, size_t size)
{
    snprintf(path, size, "/proc/self/fd/%d", fd);
}

static char *absolute_path(const struct output *o)
{
    char link[64], path[PATH_MAX];
    ssize_t n;

    if (o->given)
        return realpath(o->given, NULL);
    proc_path(o->fd, link, sizeof link);
    n = readlink(link, path, sizeof path - 1);
    return n > 0 && path[0] == '/' ? xstrndup(path, (size_t)n) : NULL;
}

/* A file description of our own, so that O_NONBLOCK is seen by nobody else. */
static void own_description(struct output *o)
{
    char link[64];
    int fd;

    proc_path(o->fd, link, sizeof link);
    fd = open(link, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        o->small_writes = true;
        return;
    }
    if (o->opened)
        close(o->fd);
    o->fd = fd;
}

static enum outcome continue_file(struct output *o)
{
    char link[64];
    off_t end = lseek(o->fd, 0, SEEK_END);

    if (end < 0)
        return failed(o, "find the end of");
    o->offset = (uint64_t)end;
    o->begun = end > 0;
    o->path = absolute_path(o);
    proc_path(o->fd, link, sizeof link);
    o->read_fd = open(o->given ? o->given : link, O_RDONLY | O_CLOEXEC);
    o->read_error = o->read_fd < 0 ? errno : 0;
    return OUTCOME_OK;
}

static enum outcome classify(struct output *o)
{
    struct stat st;
    int flags = fcntl(o->fd, F_GETFL);

    if (flags < 0)
        return failed(o, "examine");
    if ((flags & O_ACCMODE) == O_RDONLY) {
        log_error("%s is not open for writing", name_of(o));
        return OUTCOME_OUTPUT_FAILED;
    }
    if (fstat(o->fd, &st) != 0)
        return failed(o, "examine");
    o->device = st.st_dev;
    o->inode = st.st_ino;
    o->kind = S_ISREG(st.st_mode)    ? OUTPUT_FILE
              : S_ISFIFO(st.st_mode) ? OUTPUT_PIPE
              : S_ISSOCK(st.st_mode) ? OUTPUT_SOCKET
                                     : OUTPUT_DEVICE;
    if (o->kind == OUTPUT_FILE)
        return continue_file(o);
    if (o->kind == OUTPUT_PIPE && fcntl(o->fd, F_SETPIPE_SZ, PIPE_SIZE) < 0)
        log_verbose("could not enlarge the pipe's buffer: %m");
    if (o->kind != OUTPUT_SOCKET)
        own_description(o);
    return OUTCOME_OK;
}

static enum outcome open_path(struct output *o)
{
    do
        o->fd = open(o->given, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    while (o->fd < 0 && errno == EINTR && !signals_stop());
    if (o->fd < 0 && errno == EINTR)
        return OUTCOME_STOPPED;
    if (o->fd < 0)
        return failed(o, "open");
    o->opened = true;
    return OUTCOME_OK;
}

/*
 * A file that has just been made, by us or by the shell, has its name for good only then.  What was
 * inherited may lie in a folder that is not ours to open or cannot be synced, or have no name any
 * more: there is nothing to be done about that.
 */
static enum outcome sync_name(const struct output *o)
{
    const char *path = o->opened ? o->given : o->path;

    if (o->kind != OUTPUT_FILE || !path || file_sync_folder(path))
        return OUTCOME_OK;
    if (!o->opened && (errno == EACCES || errno == EINVAL || file_is_missing()))
        return OUTCOME_OK;
    return failed(o, "sync the folder of");
}

enum outcome output_open(struct output *o, const char *path)
{
    enum outcome outcome = OUTCOME_OK;

    *o = (struct output){.fd = STDOUT_FILENO, .read_fd = -1, .given = path};
    buf_init(&o->pending, INITIAL_BUFFER);
    buf_init(&o->head, 256);
    if (path)
        outcome = open_path(o);
    if (outcome == OUTCOME_OK)
        outcome = classify(o);
    return outcome == OUTCOME_OK ? sync_name(o) : outcome;
}

enum outcome output_create(struct output *o, const char *path, bool *taken)
{
    *o = (struct output){.read_fd = -1, .given = path, .opened = true};
    o->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    *taken = o->fd < 0 && errno == EEXIST;
    if (*taken)
        return OUTCOME_OK;
    if (o->fd < 0)
        return failed(o, "create");
    buf_init(&o->pending, SMALL_BUFFER);
    buf_init(&o->head, 256);
    return classify(o);
}

enum outcome output_open_spool(struct output *o)
{
    const char *folder = getenv("TMPDIR");
    char *name;

    if (!folder || !*folder)
        folder = "/tmp";
    *o = (struct output){.read_fd = -1, .given = "a temporary file", .kind = OUTPUT_FILE};
    o->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (o->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        name = xasprintf("%s/cdcdump.XXXXXX", folder);
        o->fd = mkostemp(name, O_CLOEXEC);
        if (o->fd >= 0)
            unlink(name);
        free(name);
    }
    if (o->fd >= 0)
        o->read_fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
    if (o->read_fd < 0) {
        log_error("could not create a temporary file in \"%s\": %m", folder);
        return OUTCOME_OUTPUT_FAILED;
    }
    buf_init(&o->pending, SMALL_BUFFER);
    buf_init(&o->head, 256);
    return OUTCOME_OK;
}

/* Shells leave writing ends of the pipe with us by other numbers: bash does, of > >(reader). */
static void close_others(const struct output *o)
{
    enum { MOST = 1024 };
    struct stat st;

    for (int fd = STDERR_FILENO + 1; fd < MOST; fd++) {
        int flags = fd == o->fd ? -1 : fcntl(fd, F_GETFL);

        if (flags >= 0 && (flags & O_ACCMODE) == O_WRONLY && fstat(fd, &st) == 0 &&
            S_ISFIFO(st.st_mode) && st.st_dev == o->device && st.st_ino == o->inode)
            close(fd);
    }
}

/* Standard output itself has to be closed, too, or its reader would see no end. */
void output_hang_up(struct output *o)
{
    char link[64];
    int fd;

    if (o->hung_up)
        return;
    o->hung_up = true;
    if (o->kind == OUTPUT_SOCKET)
        shutdown(o->fd, SHUT_WR);
    if (o->kind != OUTPUT_PIPE)
        return;
    proc_path(o->fd, link, sizeof link);
    fd = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* to ask what is left in it */
    close(o->fd);
    o->fd = fd;
    close_others(o);
    if (!o->opened) {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && dup2(fd, STDOUT_FILENO) < 0)
            log_verbose("could not close standard output: %m");
        if (fd > STDERR_FILENO)
            close(fd);
    }
}

void output_close(struct output *o)
{
    if (o->read_fd >= 0)
        close(o->read_fd);
    if (o->fd > STDERR_FILENO)
        close(o->fd);
    free(o->path);
    buf_release(&o->pending);
    buf_release(&o->head);
    container_free(o->container);
    *o = (struct output){.fd = -1, .read_fd = -1};
}

/* ---- what stands around records ---- */

bool output_use_container(struct output *o, enum codec codec)
{
    o->container = container_new(codec);
    return o->container != NULL;
}

void output_set_head(struct output *o, const struct buf *head)
{
    o->head.len = 0;
    buf_add_buf(&o->head, head);
}

void output_begin(struct output *o)
{
    if (o->begun)
        return;
    o->begun = true;
    if (!o->container) {
        buf_add_buf(&o->pending, &o->head);
        return;
    }
    buf_add_char(&o->head, '\0');
    container_add_head(o->container, o->head.data, &o->pending);
    o->head.len--;
}

bool output_close_marked(struct output *o)
{
    output_begin(o);
    return container_close_marked(o->container, &o->pending);
}

bool output_close_all(struct output *o)
{
    output_begin(o);
    return container_close_all(o->container, &o->pending);
}

/* ---- writing ---- */

static bool can_take_small_write(const struct output *o)
{
    struct pollfd fd = {.fd = o->fd, .events = POLLOUT};

    return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLOUT | POLLERR));
}

/* One write; -1 with EAGAIN when nothing can be taken now. */
static ssize_t write_some(const struct output *o, const char *p, size_t n)
{
    if (o->kind == OUTPUT_SOCKET)
        return send(o->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!o->small_writes)
        return write(o->fd, p, n);
    if (can_take_small_write(o))
        return write(o->fd, p, n < PIPE_BUF ? n : PIPE_BUF);
    errno = EAGAIN;
    return -1;
}

/* All but the last byte that was sent, which tells whether a line has begun to leave. */
static void drop_sent(struct output *o)
{
    size_t gone = o->sent - 1;

    memmove(o->pending.data, o->pending.data + gone, o->pending.len - gone);
    o->pending.len -= gone;
    o->sent = 1;
}

static void advance(struct output *o, size_t n)
{
    o->sent += n;
    o->offset += n;
    if (o->sent < o->pending.len) {
        if (o->sent > OUTPUT_HIGH_WATER)
            drop_sent(o);
        return;
    }
    o->sent = o->pending.len = 0;
    buf_shrink(&o->pending, 4 * INITIAL_BUFFER); /* one huge record need not cost us for ever */
}

enum outcome output_flush(struct output *o)
{
    while (output_pending(o) > 0) {
        ssize_t n = write_some(o, o->pending.data + o->sent, output_pending(o));

        if (n >= 0)
            advance(o, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return OUTCOME_OK;
        else if (errno == EPIPE || errno == ECONNRESET)
            return OUTCOME_OUTPUT_CLOSED;
        else if (errno != EINTR)
            return failed(o, "write to");
    }
    return OUTCOME_OK;
}

bool output_reader_has_gone(const struct output *o)
{
    struct pollfd fd = {.fd = o->fd};

    return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLERR | POLLHUP));
}

uint64_t output_taken(const struct output *o)
{
    int unread = 0;

    /* without a descriptor it was hung up: its reader says by itself what it is done with */
    if (o->kind == OUTPUT_PIPE && o->fd >= 0 && ioctl(o->fd, FIONREAD, &unread) != 0)
        return 0;
    if (o->kind == OUTPUT_SOCKET && (ioctl(o->fd, SIOCOUTQ, &unread) != 0 || output_reader_has_gone(o)))
        return 0; /* the kernel has thrown away what was not read: nothing more is known */
    if (unread < 0 || (uint64_t)unread > o->offset)
        return 0;
    return o->offset - (uint64_t)unread;
}

enum outcome output_sync(struct output *o)
{
    return fdatasync(o->fd) == 0 ? OUTCOME_OK : failed(o, "sync");
}

/* ---- taking back ---- */

void output_forget(struct output *o, uint64_t end)
{
    if (end >= o->offset && end < output_end(o))
        o->pending.len -= (size_t)(output_end(o) - end);
    o->begun = output_end(o) > 0;
}

enum outcome output_cut(struct output *o, uint64_t end)
{
    if (end >= o->offset) {
        output_forget(o, end);
        return OUTCOME_OK;
    }
    o->pending.len = o->sent = 0;
    if (ftruncate(o->fd, (off_t)end) != 0 || lseek(o->fd, (off_t)end, SEEK_SET) < 0)
        return failed(o, "cut back");
    o->offset = end;
    o->begun = end > 0;
    return output_sync(o);
}

/* ---- reading back, opening anew ---- */

ssize_t output_read_at(const struct output *o, char *bytes, size_t n, uint64_t at)
{
    size_t have = 0;

    if (o->read_fd < 0) {
        errno = o->read_error;
        return -1;
    }
    while (have < n) {
        ssize_t got = pread(o->read_fd, bytes + have, n - have, (off_t)(at + have));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

bool output_read_start(const struct output *o, struct buf *b, size_t max)
{
    ssize_t n;

    b->len = 0;
    n = output_read_at(o, buf_reserve(b, max), max, 0);
    if (n > 0)
        b->len = (size_t)n;
    return n >= 0;
}

/* 1: that is *crc; 0: the file is shorter; -1: not readable (errno is set). */
static int check_value(const struct output *o, uint64_t offset, uint32_t *crc)
{
    char bytes[OUTPUT_CHECKED];
    size_t n = offset < sizeof bytes ? (size_t)offset : sizeof bytes;
    ssize_t got = output_read_at(o, bytes, n, offset - n);

    if (got != (ssize_t)n)
        return got < 0 ? -1 : 0;
    *crc = (uint32_t)crc32(0, (const Bytef *)bytes, (uInt)n);
    return 1;
}

bool output_check_value(const struct output *o, uint64_t offset, uint32_t *crc)
{
    return check_value(o, offset, crc) > 0;
}

enum outcome output_compare(const struct output *o, uint64_t offset, uint32_t crc, bool *same)
{
    uint32_t found;
    int readable = check_value(o, offset, &found);

    if (readable < 0)
        return failed(o, "read back");
    *same = readable > 0 && found == crc;
    return OUTCOME_OK;
}

enum outcome output_reopen(struct output *o)
{
    const char *path = o->given;
    struct container *container = o->container;
    struct buf head = o->head;
    enum outcome outcome;

    o->container = NULL;
    o->head = (struct buf){0};
    output_close(o);
    outcome = output_open(o, path);
    buf_release(&o->head);
    o->container = container;
    o->head = head;
    if (o->begun)
        o->head.len = 0;
    return outcome;
}
