/*
 * output - where the records go: a regular file, a pipe, a socket, a terminal or device.
 *
 * Records are appended to a buffer and written from there, as much as the other side takes at a
 * time; only a regular file is ever waited for.  Every byte has an offset: in a regular file its
 * place in the file, else the count of bytes before it in this run.  An inherited descriptor is
 * shared with other processes, so it is never switched to non-blocking: a pipe or terminal is
 * opened once more through /proc instead, and where that is not possible writes are kept so small
 * that poll() can promise they will not block (PIPE_BUF).
 *
 * An output may begin with a head, and records may go into it in blocks (encode/container.h): then
 * they are appended to the open block, and are pending when that is closed.
 */
#ifndef DELIVER_OUTPUT_H
#define DELIVER_OUTPUT_H

#include <sys/types.h>

#include "base/buf.h"
#include "cdcdump.h"
#include "encode/container.h"

enum output_kind {
    OUTPUT_FILE,
    OUTPUT_PIPE,
    OUTPUT_SOCKET,
    OUTPUT_DEVICE,
};

struct output {
    int fd;
    int read_fd;    /* the same regular file, for reading back; -1 = cannot be, */
    int read_error; /* because of that errno */
    enum output_kind kind;
    bool opened;       /* by us: from a path */
    bool small_writes; /* fd may block: see above */
    bool hung_up;      /* see output_hang_up() */
    const char *given; /* the path asked for, NULL = standard output */
    char *path;        /* absolute, NULL = unknown */
    dev_t device;
    ino_t inode;
    struct buf pending;
    size_t sent;     /* bytes of pending that have been written */
    uint64_t offset; /* of the next byte to be written */
    struct container *container; /* NULL = records have no blocks around them */
    struct buf head; /* what we have begun it with, or will; of a container the schema */
    bool begun;      /* that has been appended, or the file had content */
};

enum { OUTPUT_HIGH_WATER = 256 * 1024 }; /* pending bytes above which nothing more is decoded */

/* Opens path, or takes standard output for NULL.  A file is continued at its end. */
enum outcome output_open(struct output *o, const char *path);

/* Makes a new regular file, which must not be there yet (EEXIST is not logged: *taken). */
enum outcome output_create(struct output *o, const char *path, bool *taken);

/* Makes a file without a name in $TMPDIR, to be read back: what it holds need not be durable. */
enum outcome output_open_spool(struct output *o);

/*
 * Nothing more will be written: the reader of a pipe or socket sees its end.  How much it has taken
 * can still be asked.  Afterwards nothing is to be polled for.
 */
void output_hang_up(struct output *o);

void output_close(struct output *o);

/* Records go into blocks from now on. */
bool output_use_container(struct output *o, enum codec codec);

/* What the output is to begin with; too late once it has begun. */
void output_set_head(struct output *o, const struct buf *head);

/* Appends the head, unless the output has begun. */
void output_begin(struct output *o);

/*
 * Closes the block of what lies before the container's last mark, or of everything.  False when it
 * cannot be compressed: logged.
 */
bool output_close_marked(struct output *o);
bool output_close_all(struct output *o);

/* The buffer to append whole records to. */
static inline struct buf *output_buffer(struct output *o)
{
    return o->container ? container_block(o->container) : &o->pending;
}

static inline size_t output_pending(const struct output *o)
{
    return o->pending.len - o->sent;
}

/* The offset behind the last byte appended. */
static inline uint64_t output_end(const struct output *o)
{
    return o->offset + output_pending(o);
}

/*
 * Writes as much as goes without blocking.  OUTCOME_OK also when the output is full, see
 * output_pending(); OUTCOME_OUTPUT_CLOSED: the reader has gone; OUTCOME_OUTPUT_FAILED: logged.
 */
enum outcome output_flush(struct output *o);

/* Whether nobody is left at the other end of a pipe or socket. */
bool output_reader_has_gone(const struct output *o);

/*
 * How far the bytes have got: on their way to the disk, or taken by the reader of the pipe; 0 where
 * the kernel does not say.  Of a pipe that was hung up and that cannot be asked any more: all.
 */
uint64_t output_taken(const struct output *o);

/* Makes what was written to a regular file durable.  A failure is final. */
enum outcome output_sync(struct output *o);

/* Takes back everything from `end` on, which lies before output_end(): regular files only. */
enum outcome output_cut(struct output *o, uint64_t end);

/* Drops bytes from `end` on that are still in the buffer; any kind of output. */
void output_forget(struct output *o, uint64_t end);

/*
 * Reads up to n bytes of a regular file at an offset: how many there were, -1 when it cannot be
 * (errno is set).
 */
ssize_t output_read_at(const struct output *o, char *bytes, size_t n, uint64_t at);

/* Reads up to max bytes from the start of it into b; false when it cannot be. */
bool output_read_start(const struct output *o, struct buf *b, size_t max);

/* CRC-32 (zlib's) of the up to OUTPUT_CHECKED bytes before offset; false when not readable. */
enum { OUTPUT_CHECKED = 4096 };
bool output_check_value(const struct output *o, uint64_t offset, uint32_t *crc);

/*
 * *same: whether that is their check value; false also where the file is shorter.
 * OUTCOME_OUTPUT_FAILED: not readable; logged, and *same is as it was.
 */
enum outcome output_compare(const struct output *o, uint64_t offset, uint32_t crc, bool *same);

/* Closes a file that was opened by path and opens the path anew, for log rotation. */
enum outcome output_reopen(struct output *o);

#endif
