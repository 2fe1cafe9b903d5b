#include "capture/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "capture/meter.h"

/* ---- the format ---- */

/* In the value of a label \, " and line ends are escaped; the rest is UTF-8 as it is. */
static void add_label(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n') {
            buf_add_str(b, "\\n");
            continue;
        }
        if (*value == '\\' || *value == '"')
            buf_add_char(b, '\\');
        buf_add_char(b, *value);
    }
    buf_add_char(b, '"');
}

/* Everything of a sample but its value; label: a third one, "" = none. */
static void begin(struct buf *b, const struct meter_figures *f, const char *name, const char *type,
                  const char *help, const char *label, const char *value)
{
    buf_printf(b, "# HELP cdcdump_%s %s\n# TYPE cdcdump_%s %s\ncdcdump_%s{", name, help, name, type,
               name);
    add_label(b, "slot", f->slot);
    buf_add_char(b, ',');
    add_label(b, "database", f->database);
    if (*label) {
        buf_add_char(b, ',');
        add_label(b, label, value);
    }
    buf_add_str(b, "} ");
}

static void add_number(struct buf *b, const struct meter_figures *f, const char *name,
                       const char *type, const char *help, uint64_t n)
{
    begin(b, f, name, type, help, "", "");
    buf_printf(b, "%" PRIu64 "\n", n);
}

static void add_counter(struct buf *b, const struct meter_figures *f, const char *name,
                        const char *help, uint64_t n)
{
    add_number(b, f, name, "counter", help, n);
}

static void add_gauge(struct buf *b, const struct meter_figures *f, const char *name,
                      const char *help, uint64_t n)
{
    add_number(b, f, name, "gauge", help, n);
}

/* Not %f, whose point depends on the locale.  Nothing where the time is negative: not known. */
static void add_seconds(struct buf *b, const struct meter_figures *f, const char *name,
                        const char *help, usec_t time)
{
    if (time < 0)
        return;
    begin(b, f, name, "gauge", help, "", "");
    buf_printf(b, "%" PRId64 ".%06d\n", time / USEC_PER_SEC, (int)(time % USEC_PER_SEC));
}

static void add_info(struct buf *b, const struct meter_figures *f, const char *name,
                     const char *help, const char *label, const char *value)
{
    begin(b, f, name, "gauge", help, label, value);
    buf_add_str(b, "1\n");
}

/* ---- the figures ---- */

static const char *const outcomes[] = {
    [OUTCOME_OK] = "done",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_MISUSED] = "misused",
    [OUTCOME_UNAVAILABLE] = "unavailable",
    [OUTCOME_POSITION_LOST] = "position_lost",
    [OUTCOME_OUTPUT_FAILED] = "output_failed",
    [OUTCOME_OUTPUT_CLOSED] = "output_closed",
    [OUTCOME_STOPPED] = "stopped",
    [OUTCOME_COLUMNS_CHANGED] = "columns_changed",
};

static void add_run(struct buf *b, const struct meter_figures *f)
{
    add_info(b, f, "build_info", "The program.", "version", CDCDUMP_VERSION);
    add_gauge(b, f, "running", "Whether the capture runs.", !f->ended);
    add_gauge(b, f, "connected", "Whether changes are streamed from the server.", f->connected);
    add_seconds(b, f, "start_time_seconds", "When the run began, since 1970.", f->started);
    if (f->ended)
        add_info(b, f, "exit_info", "How the run has ended.", "outcome", outcomes[f->outcome]);
    add_counter(b, f, "reconnects_total", "Connections after the first.", f->reconnects);
}

static void add_counts(struct buf *b, const struct meter_figures *f)
{
    add_counter(b, f, "records_total", "Records written, rows of tables included.", f->records);
    add_counter(b, f, "written_bytes_total", "Bytes that the output has taken.", f->bytes);
    add_counter(b, f, "transactions_total", "Transactions of the stream given whole.",
                f->transactions);
    add_counter(b, f, "dead_letters_total", "Changes and rows put into the dead letter file.",
                f->dead_letters);
    add_gauge(b, f, "output_stalled", "Whether the output has taken nothing for a second or more.",
              f->stalled > 0);
    if (!f->reads_rows)
        return;
    add_counter(b, f, "snapshot_rows_total", "Rows of tables that were read.", f->rows.rows);
    if (!(f->rows.share >= 0))
        return;
    begin(b, f, "snapshot_done_ratio", "gauge", "How much of the rows has been read, 0 to 1.", "",
          "");
    buf_printf(b, f->rows.share < 1 ? "0.%04d\n" : "1\n", (int)(f->rows.share * 10000));
}

static void add_positions(struct buf *b, const struct meter_figures *f)
{
    if (f->received)
        add_gauge(b, f, "received_lsn", "WAL position up to which the server has sent.",
                  f->received);
    if (f->written)
        add_gauge(b, f, "written_lsn", "WAL position behind what was written whole.", f->written);
    if (f->acknowledged)
        add_gauge(b, f, "acknowledged_lsn", "WAL position that is on record and acknowledged.",
                  f->acknowledged);
    if (f->wal_end) {
        add_gauge(b, f, "server_lsn", "End of the server's WAL, as it was last heard of.",
                  f->wal_end);
        add_seconds(b, f, "server_lsn_age_seconds", "How long ago that was.", f->wal_end_age);
    }
    if (f->lag_bytes >= 0)
        add_gauge(b, f, "lag_bytes", "From the acknowledged position to the end of the WAL.",
                  (uint64_t)f->lag_bytes);
    add_seconds(b, f, "lag_seconds",
                "Age of the oldest transaction that is not acknowledged, 0 for none.", f->lag);
    if (f->last_commit)
        add_seconds(b, f, "last_commit_timestamp_seconds",
                    "When the last transaction that was written committed, since 1970.",
                    f->last_commit);
}

/* ---- the file ---- */

static bool write_temporary(const char *path, const struct buf *b)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    bool good = fd >= 0 && fchmod(fd, 0644) == 0 && file_write_all(fd, b->data, b->len);
    int saved = errno;

    if (fd >= 0 && close(fd) != 0 && good)
        return false;
    errno = saved;
    return good;
}

/* A device or a pipe is not to be replaced, nor is a link. */
static bool is_replaceable(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    return S_ISREG(st.st_mode);
}

static bool replace(const char *path, const struct buf *b)
{
    char *temporary = xasprintf("%s.tmp", path);
    bool good = is_replaceable(path) && is_replaceable(temporary) &&
                write_temporary(temporary, b) && rename(temporary, path) == 0;
    int saved = errno;

    free(temporary);
    errno = saved;
    return good;
}

void metrics_write(struct metrics *m, const struct meter_figures *f)
{
    struct buf b;
    bool good;

    buf_init(&b, 4096);
    add_run(&b, f);
    add_counts(&b, f);
    add_positions(&b, f);
    good = replace(m->path, &b);
    if (!good && !m->failing) {
        log_warning("could not write metrics file \"%s\": %s", m->path,
                    errno == EEXIST ? "it is not a regular file" : strerror(errno));
        log_detail("The capture goes on without it; it is tried again.");
    } else if (good && m->failing) {
        log_notice("metrics file \"%s\" is written again", m->path);
    }
    m->failing = !good;
    buf_release(&b);
}
