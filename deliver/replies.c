#include "deliver/replies.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/lsn.h"

enum { MOST_READS = 16 }; /* there is more to do than to read replies */

/* ---- opening ---- */

static enum outcome refuse(const char *name, const char *what)
{
    log_error("acknowledgments cannot be read from %s: %s", name, what);
    return OUTCOME_MISUSED;
}

static enum outcome take_descriptor(struct replies *r, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    r->name = "the descriptor of --ack-fd";
    if (flags < 0 || fstat(fd, &st) != 0)
        return refuse(r->name, "it is not open");
    if ((flags & O_ACCMODE) == O_WRONLY)
        return refuse(r->name, "it is not open for reading");
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return refuse(r->name, "it is not a pipe, FIFO, socket or terminal");
    r->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return r->fd >= 0 ? OUTCOME_OK : refuse(r->name, strerror(errno));
}

/* With a writer of our own a FIFO does not end when those who reply open and close it each time. */
static enum outcome open_fifo(struct replies *r, const char *path)
{
    struct stat st;

    r->name = path;
    if (stat(path, &st) != 0)
        return refuse(path, strerror(errno));
    if (!S_ISFIFO(st.st_mode))
        return refuse(path, "it is not a FIFO");
    r->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    r->endless = true;
    return r->fd >= 0 ? OUTCOME_OK : refuse(path, strerror(errno));
}

enum outcome replies_open(struct replies *r, const struct options *o)
{
    *r = (struct replies){.fd = -1};
    return o->ack_file ? open_fifo(r, o->ack_file) : take_descriptor(r, o->ack_fd);
}

void replies_forget(struct replies *r)
{
    r->highest = r->last = (struct reply){0};
}

void replies_close(struct replies *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

/* ---- lines ---- */

static bool parse_lsn(const char *text, lsn_t *lsn)
{
    char *end;

    if (lsn_parse(text, lsn))
        return *lsn != 0;
    errno = 0;
    *lsn = strtoull(text, &end, 10);
    return strspn(text, "0123456789") == strlen(text) && errno == 0 && *lsn != 0;
}

static enum outcome refuse_line(const struct replies *r, const char *line, const char *what)
{
    char shown[REPLY_MAX + 1];
    size_t n = 0;

    for (; n < REPLY_MAX && line[n]; n++)
        shown[n] = line[n] < ' ' || line[n] > '~' ? '?' : line[n];
    shown[n] = '\0';
    log_error("the acknowledgment \"%s\", read from %s, %s", shown, r->name, what);
    log_detail("A line has the LSN up to which the reader is done, such as 16/B374D848.");
    return OUTCOME_OUTPUT_FAILED;
}

static enum outcome take_line(struct replies *r, char *line, uint64_t taken, lsn_t sent)
{
    lsn_t lsn;
    size_t n;

    line += strspn(line, " \t");
    for (n = strlen(line); n > 0 && strchr(" \t\r", line[n - 1]); n--)
        line[n - 1] = '\0';
    if (n == 0)
        return OUTCOME_OK;
    if (!parse_lsn(line, &lsn))
        return refuse_line(r, line, "is no LSN");
    if (lsn > sent)
        return refuse_line(r, line, "lies beyond all that this run has sent");
    r->count++;
    r->last = (struct reply){.lsn = lsn, .taken = taken};
    if (lsn >= r->highest.lsn)
        r->highest = r->last;
    return OUTCOME_OK;
}

static enum outcome take_bytes(struct replies *r, const char *p, size_t n, uint64_t taken, lsn_t sent)
{
    enum outcome outcome = OUTCOME_OK;

    for (; n > 0 && outcome == OUTCOME_OK; p++, n--) {
        char c = *p ? *p : '?';

        if (r->len == REPLY_MAX - 1) {
            r->line[r->len] = '\0';
            return refuse_line(r, r->line, "is too long");
        }
        r->line[r->len++] = c;
        if (c != '\n')
            continue;
        r->line[r->len - 1] = '\0';
        r->len = 0;
        outcome = take_line(r, r->line, taken, sent);
    }
    return outcome;
}

/* The descriptor may be shared with others and may block: it is asked first. */
static bool is_readable(const struct replies *r)
{
    struct pollfd fd = {.fd = r->fd, .events = POLLIN};

    return poll(&fd, 1, 0) == 1 && fd.revents;
}

enum outcome replies_read(struct replies *r, const struct output *out, lsn_t sent)
{
    enum outcome outcome = OUTCOME_OK;

    for (int i = 0; i < MOST_READS && !r->ended && outcome == OUTCOME_OK && is_readable(r); i++) {
        char bytes[4096];
        ssize_t n = read(r->fd, bytes, sizeof bytes);

        if (n > 0)
            outcome = take_bytes(r, bytes, (size_t)n, output_taken(out), sent);
        else if (n == 0 || (errno != EINTR && errno != EAGAIN))
            r->ended = true;
        else if (errno == EAGAIN)
            break;
    }
    return outcome;
}
