#include "deliver/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "encode/json.h"
#include "encode/value.h"

static enum outcome failed(const struct dead_letters *dl, const char *doing)
{
    log_error("could not %s dead letter file \"%s\": %m", doing, dl->path);
    return OUTCOME_OUTPUT_FAILED;
}

/* Half a line is what a crash can have left: what follows is not to be spoilt by it. */
static enum outcome end_line(const struct dead_letters *dl)
{
    off_t end = lseek(dl->fd, 0, SEEK_END);
    char last = '\n';

    if (end > 0 && pread(dl->fd, &last, 1, end - 1) != 1)
        return failed(dl, "read");
    return last == '\n' || write(dl->fd, "\n", 1) == 1 ? OUTCOME_OK : failed(dl, "write to");
}

enum outcome dead_letters_open(struct dead_letters *dl, const char *path)
{
    struct stat st;

    *dl = (struct dead_letters){.path = path, .fd = -1};
    if (!path)
        return OUTCOME_OK;
    buf_init(&dl->message, 8192);
    buf_init(&dl->reason, 1024);
    dl->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (dl->fd < 0)
        return failed(dl, "open");
    if (fstat(dl->fd, &st) != 0)
        return failed(dl, "examine");
    dl->transient = !S_ISREG(st.st_mode);
    if (dl->transient)
        return OUTCOME_OK;
    if (!file_sync_folder(path))
        return failed(dl, "sync the folder of");
    return end_line(dl);
}

void dead_letters_close(struct dead_letters *dl)
{
    if (!dl->path)
        return;
    if (dl->fd >= 0)
        close(dl->fd);
    buf_release(&dl->message);
    buf_release(&dl->reason);
    *dl = (struct dead_letters){.fd = -1};
}

void dead_letters_keep(struct dead_letters *dl, const char *bytes, size_t len)
{
    if (!dl->path)
        return;
    dl->message.len = 0;
    buf_shrink(&dl->message, 1024 * 1024);
    buf_add(&dl->message, bytes, len);
}

/* A row as a line of COPY's text format. */
static void add_row(struct buf *b, const struct relation *r, const struct value *row)
{
    static const char plain[] = "\t\n\r\\", letters[] = "tnr\\";

    for (int i = 0; i < r->ncolumns; i++) {
        if (i > 0)
            buf_add_char(b, '\t');
        if (row[i].kind != VALUE_TEXT && row[i].kind != VALUE_BINARY)
            buf_add_str(b, "\\N");
        else
            for (uint32_t k = 0; k < row[i].len; k++) {
                const char *special = memchr(plain, row[i].data[k], sizeof plain - 1);

                if (special)
                    buf_add_char(b, '\\');
                buf_add_char(b, special ? letters[special - plain] : row[i].data[k]);
            }
    }
}

void dead_letters_keep_row(struct dead_letters *dl, const struct relation *r, const struct value *row)
{
    if (!dl->path)
        return;
    dl->message.len = 0;
    add_row(&dl->message, r, row);
}

/* ---- the reason ---- */

void dead_letters_listen(struct dead_letters *dl)
{
    if (!dl->path)
        return;
    dl->reason.len = 0;
    log_keep_errors(&dl->reason);
}

void dead_letters_give_up(struct dead_letters *dl)
{
    log_kept_errors(&dl->reason);
    dl->reason.len = 0;
}

bool dead_letters_heed(struct dead_letters *dl, enum outcome outcome)
{
    bool concerns = outcome == OUTCOME_FAILED || outcome == OUTCOME_MISUSED;

    if (!dl->path)
        return false;
    log_keep_errors(NULL);
    if (!concerns && dl->reason.len > 0)
        dead_letters_give_up(dl);
    return concerns;
}

/* ---- writing ---- */

static void add_lsn(struct buf *b, const char *name, lsn_t lsn)
{
    if (lsn)
        buf_printf(b, "\"%s\":\"" LSN_FMT "\",", name, LSN_ARGS(lsn));
    else
        buf_printf(b, "\"%s\":null,", name);
}

static void add_number(struct buf *b, const char *name, uint32_t n)
{
    if (n)
        buf_printf(b, "\"%s\":%u,", name, n);
    else
        buf_printf(b, "\"%s\":null,", name);
}

/* The reason quotes what it is about, which may be no UTF-8 at all. */
static void add_text(struct buf *b, const char *name, const char *text, size_t len)
{
    buf_printf(b, "\"%s\":", name);
    if (text && !json_add_string(b, text, len)) {
        struct buf plain;

        buf_init(&plain, len + 1);
        for (size_t i = 0; i < len; i++)
            buf_add_char(&plain, (unsigned char)text[i] < 0x80 ? text[i] : '?');
        json_add_string(b, plain.data, plain.len);
        buf_release(&plain);
    } else if (!text) {
        buf_add_str(b, "null");
    }
    buf_add_char(b, ',');
}

static void add_line(const struct dead_letters *dl, const struct dead_letter *d, struct buf *b)
{
    const struct relation *r = d->relation;
    size_t reason = dl->reason.len;

    while (reason > 0 && dl->reason.data[reason - 1] == '\n')
        reason--;
    buf_add_char(b, '{');
    add_lsn(b, "lsn", d->lsn);
    add_lsn(b, "commit_lsn", d->commit_lsn);
    add_number(b, "xid", d->xid);
    add_number(b, "seq", d->seq);
    add_text(b, "schema", r ? r->schema : NULL, r ? strlen(r->schema) : 0);
    add_text(b, "table", r ? r->name : NULL, r ? strlen(r->name) : 0);
    add_text(b, "reason", dl->reason.data, reason);
    buf_add_str(b, "\"bytes\":");
    json_add_base64(b, dl->message.data, dl->message.len);
    buf_add_str(b, "}\n");
}

/* The first line of the reason is enough for the log. */
static void warn(const struct dead_letters *dl, const struct dead_letter *d)
{
    int n = (int)strcspn(dl->reason.data, "\n");

    log_warning("left out the event at " LSN_FMT ": %.*s", LSN_ARGS(d->lsn), n, dl->reason.data);
    log_detail("It is in dead letter file \"%s\".", dl->path);
}

enum outcome dead_letters_add(struct dead_letters *dl, const struct dead_letter *d)
{
    struct buf line;
    enum outcome outcome = OUTCOME_OK;

    buf_add_char(&dl->reason, '\0');
    dl->reason.len--;
    warn(dl, d);
    buf_init(&line, 1024);
    add_line(dl, d, &line);
    if (!file_write_all(dl->fd, line.data, line.len))
        outcome = failed(dl, "write to");
    buf_release(&line);
    dl->unsynced = !dl->transient;
    dl->count++;
    return outcome;
}

bool dead_letters_take(struct dead_letters *dl, enum outcome *outcome, const struct dead_letter *d)
{
    if (!dead_letters_heed(dl, *outcome))
        return false;
    *outcome = dead_letters_add(dl, d);
    return true;
}

enum outcome dead_letters_sync(struct dead_letters *dl)
{
    if (!dl->unsynced)
        return OUTCOME_OK;
    if (fdatasync(dl->fd) != 0)
        return failed(dl, "sync");
    dl->unsynced = false;
    return OUTCOME_OK;
}
