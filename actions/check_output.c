#include "actions/check_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "deliver/replies.h"

enum { LITTLE_ROOM = 500 * 1024 * 1024 };

static bool fail(struct check *c, const char *remedy, const char *what, const char *path)
{
    findings_fail(&c->found, PART_OUTPUT, OUTCOME_OUTPUT_FAILED, remedy,
                  "%s \"%s\" cannot be written: %s", what, path, strerror(errno));
    return false;
}

/* The folder that a file would be made in, or the nearest one that is there already. */
static char *folder_of(const char *path, bool nearest)
{
    char *folder = xstrdup(path);
    struct stat st;

    for (;;) {
        char *slash = strrchr(folder, '/');
        bool root = slash == folder;

        if (!slash) {
            free(folder);
            return xstrdup(".");
        }
        slash[root] = '\0';
        if (root || !nearest || stat(folder, &st) == 0)
            return folder;
    }
}

/* Whether it can be written, or made. */
static bool check_file(struct check *c, const char *what, const char *path)
{
    struct stat st;
    char *folder;
    bool good;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return fail(c, NULL, what, path);
    }
    if (access(path, W_OK) == 0)
        return true;
    if (!file_is_missing())
        return fail(c, NULL, what, path);
    folder = folder_of(path, false);
    good = access(folder, W_OK | X_OK) == 0 || fail(c, NULL, what, path);
    free(folder);
    return good;
}

static void check_room(struct check *c, const char *folder)
{
    struct statvfs fs;
    unsigned long long left;

    if (statvfs(folder, &fs) != 0)
        return;
    left = (unsigned long long)fs.f_bavail * fs.f_frsize;
    if (fs.f_blocks > 0 && left < LITTLE_ROOM)
        findings_warn(&c->found, PART_OUTPUT, NULL, "only %llu MB are free in the folder \"%s\"",
                      left / 1024 / 1024, folder);
}

static void check_room_of(struct check *c, const char *path)
{
    char *folder = folder_of(path, true);

    check_room(c, folder);
    free(folder);
}

/* ---- where records go ---- */

static enum outcome look_at_output(struct check *c)
{
    findings_listen(&c->found, PART_OUTPUT);
    return findings_heed(&c->found,
                         delivery_look_at_output(&c->session.delivery, c->session.o));
}

/* Folders of files with placeholders are made as they are needed. */
static void check_many(struct check *c, const char *pattern)
{
    char *fixed = xstrndup(pattern, strcspn(pattern, "{")), *folder = folder_of(fixed, true);

    if (access(folder, W_OK | X_OK) != 0)
        fail(c, NULL, "folder", folder);
    else if (look_at_output(c) == OUTCOME_OK)
        findings_ok(&c->found, PART_OUTPUT, "output goes to files \"%s\"", pattern);
    check_room(c, folder);
    free(folder);
    free(fixed);
}

static void check_one(struct check *c, const char *path)
{
    struct stat st;

    if (!check_file(c, "output file", path) || look_at_output(c) != OUTCOME_OK)
        return;
    if (stat(path, &st) != 0)
        findings_ok(&c->found, PART_OUTPUT, "output file \"%s\" would be created", path);
    else
        findings_ok(&c->found, PART_OUTPUT, "output file \"%s\" can be written", path);
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode))
        check_room_of(c, path);
}

/* It is a shell that runs the command, which is not tried. */
static void check_command(struct check *c)
{
    const char *folder = getenv("TMPDIR");

    if (!folder || !*folder)
        folder = "/tmp";
    if (access("/bin/sh", X_OK) != 0)
        fail(c, NULL, "the shell of --exec", "/bin/sh");
    else if (access(folder, W_OK | X_OK) != 0)
        fail(c, "set TMPDIR to a folder that can be written to", "folder", folder);
    else
        findings_ok(&c->found, PART_OUTPUT,
                    "output goes to the command of --exec, which is not tried");
    check_room(c, folder);
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    char *name = file_absolute_name(a), *other = file_absolute_name(b);
    bool same = name && other && strcmp(name, other) == 0;

    free(name);
    free(other);
    if (stat(a, &first) != 0 || stat(b, &second) != 0)
        return same;
    return S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* Ours is another one than the capture will have. */
static void check_standard_output(struct check *c)
{
    static const char *const needs[] = {
        [ACK_BY_OUTPUT] = "",
        [ACK_WRITTEN] = ", and has to be a regular file for --ack-mode=written",
        [ACK_READ] = ", and has to be a pipe for --ack-mode=read",
        [ACK_REPLY] = ", and must not be a regular file for --ack-mode=reply",
        [ACK_DEFERRED] = "",
        [ACK_COMMAND] = "",
    };

    findings_ok(&c->found, PART_OUTPUT, "output goes to standard output, which is not looked at%s",
                needs[c->session.o->ack_mode]);
}

static void check_records(struct check *c)
{
    const struct options *o = c->session.o;

    if (o->dead_letter && o->file && !o->many_files && is_same_file(o->dead_letter, o->file))
        findings_fail(&c->found, PART_OUTPUT, OUTCOME_MISUSED,
                      "give --dead-letter a file of its own",
                      "dead letter file \"%s\" is the output", o->dead_letter);
    else if (o->exec)
        check_command(c);
    else if (o->many_files)
        check_many(c, o->file);
    else if (o->file)
        check_one(c, o->file);
    else
        check_standard_output(c);
}

/* ---- what else is read and written ---- */

/* To open a FIFO would wake up whoever waits to write to it. */
static void check_ack_file(struct check *c)
{
    const char *path = c->session.o->ack_file;
    char *remedy = xasprintf("mkfifo %s", path);
    struct stat st;

    if (stat(path, &st) != 0)
        findings_fail(&c->found, PART_OUTPUT, OUTCOME_MISUSED, file_is_missing() ? remedy : NULL,
                      "acknowledgments cannot be read from %s: %s", path, strerror(errno));
    else if (!S_ISFIFO(st.st_mode))
        findings_fail(&c->found, PART_OUTPUT, OUTCOME_MISUSED, NULL,
                      "acknowledgments cannot be read from %s: it is not a FIFO", path);
    else if (access(path, R_OK | W_OK) != 0)
        findings_fail(&c->found, PART_OUTPUT, OUTCOME_MISUSED, NULL,
                      "acknowledgments cannot be read from %s: %s", path, strerror(errno));
    else
        findings_ok(&c->found, PART_OUTPUT, "acknowledgments come from FIFO \"%s\"", path);
    free(remedy);
}

void check_output_replies(struct check *c)
{
    struct replies replies;

    if (c->session.o->ack_mode != ACK_REPLY)
        return;
    if (c->session.o->ack_file) {
        check_ack_file(c);
        return;
    }
    findings_listen(&c->found, PART_OUTPUT);
    findings_heed(&c->found, replies_open(&replies, c->session.o));
    replies_close(&replies);
}

/* Figures are not worth the end of a capture. */
static void check_metrics(struct check *c)
{
    const char *path = c->session.o->metrics_file;

    if (!file_can_be_made(path))
        findings_warn(&c->found, PART_OUTPUT, NULL, "metrics file \"%s\" cannot be written: %s",
                      path, strerror(errno));
    else
        findings_ok(&c->found, PART_OUTPUT, "metrics file \"%s\" can be written", path);
}

void check_output(struct check *c)
{
    const struct options *o = c->session.o;

    if (o->dead_letter && check_file(c, "dead letter file", o->dead_letter))
        findings_ok(&c->found, PART_OUTPUT, "dead letter file \"%s\" can be written",
                    o->dead_letter);
    check_records(c);
    if (o->metrics_file)
        check_metrics(c);
}
