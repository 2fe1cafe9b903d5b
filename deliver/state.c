#include "deliver/state.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/lsn.h"
#include "decode/relation.h"
#include "snapshot/coverage_json.h"

enum { FORMAT_VERSION = 1, MAX_SIZE = 256 * 1024 * 1024 };

void state_clear_files(struct state *s)
{
    for (size_t i = 0; i < s->nfiles; i++)
        free(s->files[i].path);
    free(s->files);
    s->files = NULL;
    s->nfiles = 0;
}

struct accepted_file *state_add_file(struct state *s, const char *path)
{
    s->files = realloc(s->files, (s->nfiles + 1) * sizeof *s->files);
    if (!s->files)
        log_out_of_memory();
    s->files[s->nfiles] = (struct accepted_file){.path = xstrdup(path)};
    return &s->files[s->nfiles++];
}

static struct relation copy_of(const struct relation *r)
{
    struct relation copy = {
        .oid = r->oid,
        .schema = xstrdup(r->schema),
        .name = xstrdup(r->name),
        .identity = r->identity,
        .ncolumns = r->ncolumns,
        .columns = xcalloc(r->ncolumns, sizeof *r->columns),
    };

    for (int i = 0; i < r->ncolumns; i++)
        copy.columns[i] = (struct column){
            .name = xstrdup(r->columns[i].name),
            .type_oid = r->columns[i].type_oid,
            .typmod = r->columns[i].typmod,
            .identity = r->columns[i].identity,
        };
    return copy;
}

static void add_expected(struct state *s, struct relation *r)
{
    s->expected = realloc(s->expected, (s->nexpected + 1) * sizeof *s->expected);
    if (!s->expected)
        log_out_of_memory();
    s->expected[s->nexpected++] = *r;
}

void state_expect(struct state *s, const struct relation *r)
{
    struct relation copy;

    s->expected_at = s->position.lsn;
    for (size_t i = 0; i < s->nexpected; i++)
        if (relation_same(&s->expected[i], r))
            return;
    copy = copy_of(r);
    add_expected(s, &copy);
}

void state_forget_expected(struct state *s)
{
    for (size_t i = 0; i < s->nexpected; i++)
        relation_clear(&s->expected[i]);
    free(s->expected);
    s->expected = NULL;
    s->nexpected = 0;
}

void state_release(struct state *s)
{
    state_forget_expected(s);
    state_clear_files(s);
    free(s->system_identifier);
    free(s->database);
    free(s->slot);
    free(s->plugin);
    free(s->publication);
    free(s->output.path);
    coverage_release(&s->coverage);
    *s = (struct state){0};
}

/* The name that a rename must replace: that of the file itself where path is a symbolic link. */
static char *resolved(const char *path)
{
    char *real = realpath(path, NULL);

    return real ? real : xstrdup(path);
}

/* ---- the lock ---- */

/* The file may have been removed by the process that held it before we got hold of it. */
static bool still_there(const struct state_lock *lock)
{
    struct stat ours, theirs;

    return fstat(lock->fd, &ours) == 0 && stat(lock->path, &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static enum outcome held_by_other(const struct state_lock *lock, const char *path)
{
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(lock->fd, F_GETLK, &holder) == 0 && holder.l_type != F_UNLCK && holder.l_pid > 0)
        log_error("state file \"%s\" is in use by process %d", path, (int)holder.l_pid);
    else
        log_error("state file \"%s\" is in use by another process", path);
    return OUTCOME_UNAVAILABLE;
}

/* A disk that is full or broken may be mended: it is none of what the command line has wrong. */
static enum outcome lock_failed(const struct state_lock *lock, const char *doing)
{
    bool of_disk = errno == EIO || errno == ENOSPC || errno == EDQUOT;

    log_error("could not %s \"%s\": %m", doing, lock->path);
    return of_disk ? OUTCOME_OUTPUT_FAILED : OUTCOME_MISUSED;
}

static enum outcome take_lock(const struct state_lock *lock, const char *path)
{
    struct flock wanted = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int result;

    do
        result = fcntl(lock->fd, F_SETLK, &wanted);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return OUTCOME_OK;
    if (errno == EACCES || errno == EAGAIN)
        return held_by_other(lock, path);
    return lock_failed(lock, "lock");
}

static char *lock_path(const char *path)
{
    char *real = resolved(path), *lock = xasprintf("%s.lock", real);

    free(real);
    return lock;
}

enum outcome state_lock(struct state_lock *lock, const char *path)
{
    enum outcome outcome = OUTCOME_OK;

    lock->path = lock_path(path);
    while (outcome == OUTCOME_OK) {
        lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock->fd < 0)
            return lock_failed(lock, "open");
        outcome = take_lock(lock, path);
        if (outcome == OUTCOME_OK && still_there(lock))
            return OUTCOME_OK;
        close(lock->fd);
        lock->fd = -1;
    }
    return outcome;
}

void state_unlock(struct state_lock *lock)
{
    if (lock->path && lock->fd >= 0) {
        unlink(lock->path); /* still held: whoever waits for it finds out, see still_there() */
        close(lock->fd);
    }
    free(lock->path);
    *lock = (struct state_lock){.fd = -1};
}

/* No lock file is there while nobody holds it: then one has to be made. */
enum outcome state_look_at_lock(const char *path)
{
    struct state_lock lock = {.path = lock_path(path)};
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum outcome outcome = OUTCOME_OK;

    lock.fd = open(lock.path, O_RDWR | O_CLOEXEC);
    if (lock.fd >= 0 && fcntl(lock.fd, F_GETLK, &holder) == 0 && holder.l_type != F_UNLCK)
        outcome = held_by_other(&lock, path);
    else if (lock.fd < 0 && !(file_is_missing() && file_can_be_made(lock.path)))
        outcome = lock_failed(&lock, "open");
    if (lock.fd >= 0)
        close(lock.fd);
    free(lock.path);
    return outcome;
}

/* ---- reading ---- */

static enum outcome refused(const char *path, const char *what)
{
    log_error("state file \"%s\" is not usable: %s", path, what);
    log_hint("It has been left as it is.  To begin anew, move it away and choose a startup mode.");
    return OUTCOME_MISUSED;
}

static bool read_all(int fd, char *text, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, text + len, size - len);

        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            len += (size_t)n;
    }
    return true;
}

/* The file's text, NULL (errno is set) when it cannot be read or is too large to be one. */
static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), saved;
    struct stat st;
    char *text = NULL;
    bool good;

    if (fd < 0)
        return NULL;
    good = fstat(fd, &st) == 0;
    if (good && st.st_size > MAX_SIZE) {
        errno = EFBIG;
        good = false;
    }
    if (good) {
        text = xcalloc((size_t)st.st_size + 1, 1);
        good = read_all(fd, text, (size_t)st.st_size);
    }
    saved = errno;
    close(fd);
    if (!good) {
        free(text);
        text = NULL;
    }
    errno = saved;
    return text;
}

static uint32_t check_value(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    uint32_t crc;

    if (!text)
        log_out_of_memory();
    crc = (uint32_t)crc32(0, (const unsigned char *)text, (uInt)strlen(text));
    cJSON_free(text);
    return crc;
}

/* Takes crc32 out of the object and compares it with the rest. */
static bool is_whole(cJSON *json)
{
    cJSON *crc = cJSON_DetachItemFromObjectCaseSensitive(json, "crc32");
    char expected[16];
    bool good;

    snprintf(expected, sizeof expected, "%08" PRIx32, check_value(json));
    good = cJSON_IsString(crc) && strcmp(crc->valuestring, expected) == 0;
    cJSON_Delete(crc);
    return good;
}

static const char *text_member(const cJSON *json, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static bool take_text(const cJSON *json, const char *name, char **to)
{
    const char *text = text_member(json, name);

    *to = text ? xstrdup(text) : NULL;
    return text != NULL;
}

static bool take_lsn(const cJSON *json, const char *name, lsn_t *to)
{
    const char *text = text_member(json, name);

    return text && lsn_parse(text, to);
}

static bool take_u64(const cJSON *json, const char *name, uint64_t *to)
{
    const char *text = text_member(json, name);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *to = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool take_u32(const cJSON *json, const char *name, uint32_t *to)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > UINT32_MAX)
        return false;
    *to = (uint32_t)item->valuedouble;
    return (double)*to == item->valuedouble;
}

static bool take_file(const cJSON *item, struct accepted_file *out)
{
    const char *crc;

    if (!take_text(item, "path", &out->path) || !take_u64(item, "device", &out->device) ||
        !take_u64(item, "inode", &out->inode) || !take_u64(item, "length", &out->length))
        return false;
    out->complete = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "complete"));
    crc = text_member(item, "crc32");
    out->has_crc = crc != NULL;
    if (crc)
        out->crc = (uint32_t)strtoul(crc, NULL, 16);
    return true;
}

static bool take_output(const cJSON *json, struct accepted_file *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "output");

    return cJSON_IsNull(item) || take_file(item, out);
}

static bool take_files(const cJSON *json, struct state *s)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "files"), *item;

    cJSON_ArrayForEach(item, list)
    {
        struct accepted_file file = {0};
        bool good = take_file(item, &file);

        if (good) {
            struct accepted_file *added = state_add_file(s, file.path);
            char *path = added->path;

            *added = file;
            added->path = path;
        }
        free(file.path);
        if (!good)
            return false;
    }
    return true;
}

static bool take_column(const cJSON *json, struct column *c)
{
    const cJSON *typmod = cJSON_GetObjectItemCaseSensitive(json, "typmod");

    c->typmod = cJSON_IsNumber(typmod) ? typmod->valueint : -1;
    c->identity = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "identity"));
    return take_text(json, "name", &c->name) && take_u32(json, "type", &c->type_oid);
}

static bool take_relation(const cJSON *json, struct relation *r)
{
    const cJSON *columns = cJSON_GetObjectItemCaseSensitive(json, "columns"), *column;
    const char *identity = text_member(json, "identity");
    int n = cJSON_GetArraySize(columns);
    bool good = take_u32(json, "oid", &r->oid) & take_text(json, "schema", &r->schema) &
                take_text(json, "table", &r->name);

    if (!good || !identity || n > RELATION_MAX_COLUMNS)
        return false;
    r->identity = *identity;
    r->columns = xcalloc((size_t)n + 1, sizeof *r->columns);
    cJSON_ArrayForEach(column, columns)
        good &= take_column(column, &r->columns[r->ncolumns++]);
    return good;
}

static bool take_expected(const cJSON *json, struct state *s)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "expected"))
    {
        struct relation r = {0};
        bool good = take_relation(item, &r);

        add_expected(s, &r);
        if (!good)
            return false;
    }
    s->expected_at = s->position.lsn;
    return true;
}

static bool take_phase(const cJSON *json, struct state *s)
{
    const char *phase = text_member(json, "phase");
    const cJSON *snapshot = cJSON_GetObjectItemCaseSensitive(json, "snapshot");

    s->slot_created = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "slot_created"));
    s->complete = phase && strcmp(phase, "complete") == 0;
    s->has_coverage = cJSON_IsObject(snapshot);
    if (s->has_coverage && !coverage_from_json(&s->coverage, snapshot))
        return false;
    s->position.rows = s->coverage.last;
    return phase && (s->complete || strcmp(phase, "streaming") == 0 ||
                     (s->has_coverage && strcmp(phase, "snapshot") == 0));
}

static bool take_members(const cJSON *json, struct state *s)
{
    uint64_t time = 0;
    bool good = take_text(json, "system_identifier", &s->system_identifier) &
                take_text(json, "database", &s->database) & take_text(json, "slot", &s->slot) &
                take_text(json, "plugin", &s->plugin) &
                take_text(json, "publication", &s->publication);

    good = good && take_u32(json, "timeline", &s->timeline) &&
           take_lsn(json, "lsn", &s->position.lsn) && s->position.lsn != 0 &&
           take_lsn(json, "commit_lsn", &s->position.commit_lsn) &&
           take_u32(json, "xid", &s->position.xid) && take_u64(json, "commit_time_us", &time) &&
           take_phase(json, s) && take_output(json, &s->output) && take_files(json, s) &&
           take_expected(json, s);
    s->position.commit_time = (usec_t)time;
    return good;
}

/* Of the file itself, or of what is pending in it, if that is asked for. */
static bool take_state(const cJSON *json, bool pending, struct state *s)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "pending");

    s->pending = item != NULL;
    return take_members(item && pending ? item : json, s);
}

static enum outcome parse(struct state *s, const char *path, const char *text, bool pending)
{
    cJSON *json = cJSON_Parse(text);
    uint32_t version = 0;
    enum outcome outcome = OUTCOME_OK;

    if (!cJSON_IsObject(json))
        outcome = refused(path, "it is not a JSON object, or was torn when it was written");
    else if (!take_u32(json, "cdcdump_state", &version))
        outcome = refused(path, "it was not written by cdcdump");
    else if (version > FORMAT_VERSION)
        outcome = refused(path, "it was written by a newer version of cdcdump");
    else if (!is_whole(json))
        outcome = refused(path, "its check value does not fit: it was torn or edited");
    else if (!take_state(json, pending, s))
        outcome = refused(path, "something that belongs in it is missing");
    cJSON_Delete(json);
    return outcome;
}

static enum outcome load(struct state *s, const char *path, bool pending, bool *found)
{
    char *text = read_file(path);
    enum outcome outcome;

    *s = (struct state){0};
    *found = text != NULL || errno != ENOENT;
    if (!text && !*found)
        return OUTCOME_OK;
    if (!text) {
        log_error("could not read state file \"%s\": %m", path);
        return OUTCOME_MISUSED;
    }
    outcome = parse(s, path, text, pending);
    free(text);
    if (outcome != OUTCOME_OK)
        state_release(s);
    return outcome;
}

enum outcome state_load(struct state *s, const char *path, bool *found)
{
    return load(s, path, false, found);
}

enum outcome state_load_pending(struct state *s, const char *path, bool *found)
{
    return load(s, path, true, found);
}

/* ---- writing ---- */

static void add_u64(cJSON *json, const char *name, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    cJSON_AddStringToObject(json, name, text);
}

static void add_lsn(cJSON *json, const char *name, lsn_t lsn)
{
    char text[24];

    snprintf(text, sizeof text, LSN_FMT, LSN_ARGS(lsn));
    cJSON_AddStringToObject(json, name, text);
}

static void add_crc(cJSON *json, uint32_t crc)
{
    char text[16];

    snprintf(text, sizeof text, "%08" PRIx32, crc);
    cJSON_AddStringToObject(json, "crc32", text);
}

static void add_file(cJSON *item, const struct accepted_file *out)
{
    cJSON_AddStringToObject(item, "path", out->path);
    add_u64(item, "device", out->device);
    add_u64(item, "inode", out->inode);
    add_u64(item, "length", out->length);
    if (out->has_crc)
        add_crc(item, out->crc);
    cJSON_AddBoolToObject(item, "complete", out->complete);
}

static void add_output(cJSON *json, const struct accepted_file *out)
{
    if (out->path)
        add_file(cJSON_AddObjectToObject(json, "output"), out);
    else
        cJSON_AddNullToObject(json, "output");
}

static void add_files(cJSON *json, const struct state *s)
{
    cJSON *list;

    if (s->nfiles == 0)
        return;
    list = cJSON_AddArrayToObject(json, "files");
    for (size_t i = 0; i < s->nfiles; i++) {
        cJSON *item = cJSON_CreateObject();

        add_file(item, &s->files[i]);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_columns(cJSON *json, const struct relation *r)
{
    cJSON *list = cJSON_AddArrayToObject(json, "columns");

    for (int i = 0; i < r->ncolumns; i++) {
        cJSON *item = cJSON_CreateObject();

        cJSON_AddStringToObject(item, "name", r->columns[i].name);
        cJSON_AddNumberToObject(item, "type", r->columns[i].type_oid);
        cJSON_AddNumberToObject(item, "typmod", r->columns[i].typmod);
        cJSON_AddBoolToObject(item, "identity", r->columns[i].identity);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_expected_to(cJSON *json, const struct state *s)
{
    cJSON *list;

    if (s->nexpected == 0)
        return;
    list = cJSON_AddArrayToObject(json, "expected");
    for (size_t i = 0; i < s->nexpected; i++) {
        const struct relation *r = &s->expected[i];
        cJSON *item = cJSON_CreateObject();

        cJSON_AddNumberToObject(item, "oid", r->oid);
        cJSON_AddStringToObject(item, "schema", r->schema);
        cJSON_AddStringToObject(item, "table", r->name);
        cJSON_AddStringToObject(item, "identity", (const char[]){r->identity, '\0'});
        add_columns(item, r);
        cJSON_AddItemToArray(list, item);
    }
}

static const char *phase(const struct state *s)
{
    if (s->complete)
        return "complete";
    return s->has_coverage && !coverage_whole_at(&s->coverage, &s->position) ? "snapshot"
                                                                             : "streaming";
}

static void add_members(cJSON *json, const struct state *s)
{
    cJSON_AddStringToObject(json, "system_identifier", s->system_identifier);
    cJSON_AddNumberToObject(json, "timeline", s->timeline);
    cJSON_AddStringToObject(json, "database", s->database);
    cJSON_AddStringToObject(json, "slot", s->slot);
    cJSON_AddStringToObject(json, "plugin", s->plugin);
    cJSON_AddStringToObject(json, "publication", s->publication);
    add_lsn(json, "lsn", s->position.lsn);
    add_lsn(json, "commit_lsn", s->position.commit_lsn);
    cJSON_AddNumberToObject(json, "xid", s->position.xid);
    add_u64(json, "commit_time_us", (uint64_t)s->position.commit_time);
    cJSON_AddStringToObject(json, "phase", phase(s));
    cJSON_AddBoolToObject(json, "slot_created", s->slot_created);
    if (s->has_coverage)
        cJSON_AddItemToObject(json, "snapshot", coverage_to_json(&s->coverage, &s->position));
    else
        cJSON_AddNullToObject(json, "snapshot");
    add_output(json, &s->output);
    add_files(json, s);
    add_expected_to(json, s);
}

/* Takes json. */
static char *checked_text(cJSON *json)
{
    char *text;

    add_crc(json, check_value(json));
    text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text)
        log_out_of_memory();
    return text;
}

char *state_text(const struct state *s)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, "cdcdump_state", FORMAT_VERSION);
    add_members(json, s);
    return checked_text(json);
}

static char *text_with_pending(const struct state *s, const char *base)
{
    cJSON *json = cJSON_Parse(base);

    if (!json)
        log_out_of_memory();
    cJSON_DeleteItemFromObjectCaseSensitive(json, "crc32");
    add_members(cJSON_AddObjectToObject(json, "pending"), s);
    return checked_text(json);
}

static bool write_durably(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good;
    int saved;

    if (fd < 0)
        return false;
    good = file_write_all(fd, text, strlen(text)) && file_write_all(fd, "\n", 1) && fsync(fd) == 0;
    saved = errno;
    if (close(fd) != 0 && good)
        return false;
    errno = saved;
    return good;
}

/* Takes text. */
static enum outcome save(char *text, const char *path)
{
    char *real = resolved(path);
    char *temporary = xasprintf("%s.tmp", real);
    enum outcome outcome = OUTCOME_OK;

    if (!write_durably(temporary, text) || rename(temporary, real) != 0 || !file_sync_folder(real)) {
        log_error("could not write state file \"%s\": %m", path);
        outcome = OUTCOME_OUTPUT_FAILED;
    }
    free(text);
    free(temporary);
    free(real);
    return outcome;
}

enum outcome state_save(const struct state *s, const char *path)
{
    return save(state_text(s), path);
}

enum outcome state_save_pending(const struct state *s, const char *base, const char *path)
{
    return save(text_with_pending(s, base), path);
}
