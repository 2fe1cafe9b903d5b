#include "deliver/files.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "deliver/file_name.h"

enum {
    WAITING_MAX = OUTPUT_HIGH_WATER, /* bytes, in the buffers of all files */
    BLOCKS_MAX = 4 * 1024 * 1024,    /* bytes, in the open blocks of all files */
    KEPT_MAX = 4 * 1024 * 1024,      /* bytes, of memory in buffers that are empty */
    KEPT_LEAST = 16 * 1024,          /* of each */
};

struct file {
    char *schema, *table; /* NULL = of all tables */
    char *path;           /* complete */
    char *partial;        /* until then; the output borrows it */
    struct output output;
    uint64_t boundary; /* offset behind the last whole transaction */
    uint64_t accepted; /* the boundary, as of the last files_accept() */
    uint64_t counted;  /* bytes of it that have been added to `waiting` */
    uint32_t crc;      /* of what was accepted, */
    bool has_crc;      /* if it is known, */
    uint64_t checked;  /* up to there */
    usec_t begun;      /* ticks */
    bool unsynced;
    bool ended;    /* nothing more comes */
    bool complete; /* ... and all of it is on record when the state has been saved */
};

struct files {
    const struct options *o;
    struct state *state;
    const char *state_path;
    struct file **list;
    size_t n;
    uint64_t waiting; /* bytes appended since all were written out */
    bool owed;
    bool has_folders; /* those before the pattern's first placeholder are there, and durable */
    unsigned generation;
    uint64_t written; /* bytes, of files that are no more in the list */
};

struct files *files_new(const struct options *o, struct state *s, const char *state_path)
{
    struct files *fs = xcalloc(1, sizeof *fs);

    fs->o = o;
    fs->state = s;
    fs->state_path = state_path;
    /* blocks and buffers of many files come and go: what is given back is not to leave holes */
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    file_raise_limit(); /* two descriptors for each file: the default of 1024 is soon used up */
    return fs;
}

static void free_file(struct file *f)
{
    output_close(&f->output);
    free(f->schema);
    free(f->table);
    free(f->path);
    free(f->partial);
    free(f);
}

void files_free(struct files *fs)
{
    if (!fs)
        return;
    for (size_t i = 0; i < fs->n; i++)
        free_file(fs->list[i]);
    free(fs->list);
    free(fs);
}

static enum outcome failed(const char *doing, const char *path)
{
    log_error("could not %s \"%s\": %m", doing, path);
    return OUTCOME_OUTPUT_FAILED;
}

/* ---- names ---- */

static char *partial_of(const char *path)
{
    return xasprintf("%s.partial", path);
}

static enum outcome sync_folder(const char *path)
{
    return file_sync_folder(path) ? OUTCOME_OK : failed("sync the folder of", path);
}

/* What has that name; st->st_mode is 0 where nothing has. */
static enum outcome examine(const char *path, struct stat *st)
{
    if (lstat(path, st) == 0)
        return OUTCOME_OK;
    *st = (struct stat){0};
    return file_is_missing() ? OUTCOME_OK : failed("examine", path);
}

/* Whether nothing has that name; else errno is EEXIST, or why it cannot be told. */
static bool is_free(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return file_is_missing();
    errno = EEXIST;
    return false;
}

/*
 * One that is there may be of a run that was killed before its name was durable; unless it is
 * known.  What we may not read, or what cannot be synced, is none of ours.
 */
static enum outcome make_folder(const char *path, bool known)
{
    struct stat st;

    if (mkdir(path, 0777) == 0)
        return sync_folder(path);
    if (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return failed("create folder", path);
    if (known || file_sync_folder(path) || errno == EACCES || errno == EINVAL)
        return OUTCOME_OK;
    return failed("sync the folder of", path);
}

/*
 * The folders above a file, where the pattern has made them part of its name.  Those before its
 * first placeholder are known from the second file on.
 */
static enum outcome make_folders(struct files *fs, const char *path)
{
    size_t known = fs->has_folders ? strcspn(fs->o->file, "{") : 0;
    char *copy = xstrdup(path);
    enum outcome outcome = OUTCOME_OK;

    for (char *slash = strchr(copy + 1, '/'); slash && outcome == OUTCOME_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        outcome = make_folder(copy, (size_t)(slash - copy) < known);
        *slash = '/';
    }
    free(copy);
    fs->has_folders = outcome == OUTCOME_OK;
    return outcome;
}

/* A rename that replaces nothing, which not every file system can. */
static bool rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    return is_free(to) && rename(from, to) == 0;
}

/* The name with a number in front of its extension, as file_name.h has it, if it has one. */
static char *numbered(const char *path, unsigned number)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');

    if (!dot || (slash && dot == slash + 1))
        dot = path + strlen(path);
    return xasprintf("%.*s_%u%s", (int)(dot - path), path, number, dot);
}

/* Somebody may have put a file of the complete one's name there meanwhile. */
static enum outcome give_name(const char *partial, const char *path)
{
    char *name = xstrdup(path);
    enum outcome outcome = OUTCOME_OK;

    for (unsigned i = 1; !rename_new(partial, name); i++) {
        if (errno != EEXIST) {
            outcome = failed("rename", partial);
            break;
        }
        free(name);
        name = numbered(path, i);
    }
    if (outcome == OUTCOME_OK)
        outcome = sync_folder(name);
    free(name);
    return outcome;
}

/* ---- after a crash ---- */

static bool is_of(const struct stat *st, const struct accepted_file *a)
{
    return S_ISREG(st->st_mode) && (uint64_t)st->st_dev == a->device &&
           (uint64_t)st->st_ino == a->inode;
}

static enum outcome refuse(const char *path, const char *what)
{
    log_error("output file \"%s\" does not fit the state file: %s", path, what);
    log_hint("Put the file back as it was.");
    return OUTCOME_MISUSED;
}

static enum outcome remove_partial(const char *partial)
{
    if (unlink(partial) != 0 && errno != ENOENT)
        return failed("remove", partial);
    return sync_folder(partial);
}

/*
 * Whoever gave a file its name, or took away its last one, may have been killed before that was
 * durable.  The folder may be gone, too.
 */
static enum outcome sync_name(const char *path)
{
    return file_sync_folder(path) || file_is_missing() ? OUTCOME_OK
                                                       : failed("sync the folder of", path);
}

/* *fits: whether it begins with what was accepted; it may have been restored as another file. */
static enum outcome compare(const struct output *out, const struct accepted_file *a, bool *fits)
{
    *fits = out->offset >= a->length;
    if (!*fits || !a->has_crc)
        return OUTCOME_OK;
    return output_compare(out, a->length, a->crc, fits);
}

/* Where a complete one was, somebody else may have begun another one since. */
static enum outcome refuse_unfit(const struct output *out, const struct accepted_file *a,
                                 const char *partial)
{
    bool same = (uint64_t)out->device == a->device && (uint64_t)out->inode == a->inode;

    if (a->complete && !same)
        return OUTCOME_OK;
    return refuse(partial, out->offset < a->length ? "it is shorter than what was accepted"
                                                   : "its accepted part has been changed");
}

/* Cuts the file back to what was accepted; *ours, if that is well: it is to get its name. */
static enum outcome cut_back(const struct accepted_file *a, const char *partial, bool *ours)
{
    struct output out;
    enum outcome outcome = output_open(&out, partial);

    if (outcome == OUTCOME_OK)
        outcome = compare(&out, a, ours);
    if (outcome == OUTCOME_OK && !*ours)
        outcome = refuse_unfit(&out, a, partial);
    if (outcome == OUTCOME_OK && *ours && out.offset > a->length) {
        log_notice("cutting output file \"%s\" back to the %llu bytes that were accepted", partial,
                   (unsigned long long)a->length);
        outcome = output_cut(&out, a->length);
    }
    output_close(&out);
    return outcome;
}

/*
 * What is there of one file.  A complete one may have been taken away by its reader, and others may
 * use its name since.
 */
static enum outcome look_at(const struct accepted_file *a, const char *partial, bool *ours)
{
    struct stat st;
    enum outcome outcome = examine(a->path, &st);

    *ours = false;
    if (outcome == OUTCOME_OK && is_of(&st, a))
        return sync_name(a->path); /* it has its name */
    if (outcome == OUTCOME_OK)
        outcome = examine(partial, &st);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (a->length == 0 && S_ISREG(st.st_mode) && (a->inode == 0 || is_of(&st, a)))
        return remove_partial(partial);
    if (a->length > 0 && S_ISREG(st.st_mode))
        return cut_back(a, partial, ours);
    return a->length == 0 || a->complete ? sync_name(partial) : refuse(partial, "it is missing");
}

/* From here on nothing that is missing matters any more. */
static enum outcome call_complete(struct state *s, const char *state_path)
{
    for (size_t i = 0; i < s->nfiles; i++)
        s->files[i].complete = true;
    return state_path ? state_save(s, state_path) : OUTCOME_OK;
}

enum outcome files_recover(struct state *s, const char *state_path)
{
    bool *ours = xcalloc(s->nfiles + 1, sizeof *ours);
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < s->nfiles && outcome == OUTCOME_OK; i++) {
        char *partial = partial_of(s->files[i].path);

        outcome = look_at(&s->files[i], partial, &ours[i]);
        free(partial);
    }
    if (outcome == OUTCOME_OK && s->nfiles > 0)
        outcome = call_complete(s, state_path);
    for (size_t i = 0; i < s->nfiles && outcome == OUTCOME_OK; i++) {
        char *partial = partial_of(s->files[i].path);

        if (ours[i])
            outcome = give_name(partial, s->files[i].path);
        free(partial);
    }
    if (outcome == OUTCOME_OK)
        state_clear_files(s);
    free(ours);
    return outcome;
}

/* ---- beginning a file ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct file *find(struct files *fs, const struct relation *r)
{
    for (size_t i = 0; i < fs->n; i++) {
        struct file *f = fs->list[i];

        if (!f->ended && same_text(f->schema, r ? r->schema : NULL) &&
            same_text(f->table, r ? r->name : NULL))
            return f;
    }
    return NULL;
}

struct output *files_find(struct files *fs, const struct relation *r)
{
    struct file *f = find(fs, r);

    return f ? &f->output : NULL;
}

static struct file *file_of(struct output *out)
{
    return (struct file *)(void *)((char *)out - offsetof(struct file, output));
}

/* Reads back what was accepted only when there is more of it: each new file has all described. */
static void check(struct file *f)
{
    if (f->output.inode == 0 || (f->has_crc && f->checked == f->accepted))
        return;
    f->has_crc = output_check_value(&f->output, f->accepted, &f->crc);
    f->checked = f->accepted;
}

/* What the state file is to say of all files that are not complete yet. */
static void describe(struct files *fs)
{
    state_clear_files(fs->state);
    for (size_t i = 0; i < fs->n; i++) {
        struct file *f = fs->list[i];
        struct accepted_file *a = state_add_file(fs->state, f->path);

        check(f);
        a->device = (uint64_t)f->output.device;
        a->inode = (uint64_t)f->output.inode;
        a->length = f->accepted;
        a->complete = f->complete;
        a->has_crc = f->has_crc;
        a->crc = f->crc;
    }
}

/* NULL: it cannot be told which is; logged. */
static char *free_name(const struct files *fs, const struct file_name *n)
{
    char *name = NULL;
    bool found = false, told = true;

    for (unsigned number = 0; !found && told; number++) {
        char *partial;

        free(name);
        name = file_name_make(fs->o->file, n, number);
        partial = partial_of(name);
        found = is_free(name) && is_free(partial);
        told = found || errno == EEXIST;
        if (!told)
            failed("examine", name);
        free(partial);
    }
    if (told)
        return name;
    free(name);
    return NULL;
}

static enum outcome choose_path(struct files *fs, struct file *f, const struct file_name *n)
{
    char *name = free_name(fs, n);
    enum outcome outcome = name ? make_folders(fs, name) : OUTCOME_OUTPUT_FAILED;

    if (outcome == OUTCOME_OK)
        f->path = file_absolute_name(name);
    if (outcome == OUTCOME_OK && !f->path)
        outcome = failed("find the folder of", name);
    if (outcome == OUTCOME_OK)
        f->partial = partial_of(f->path);
    free(name);
    return outcome;
}

static void add_to_list(struct files *fs, struct file *f)
{
    fs->list = realloc(fs->list, (fs->n + 1) * sizeof(*fs->list));
    if (!fs->list)
        log_out_of_memory();
    fs->list[fs->n++] = f;
}

static void take_from_list(struct files *fs, const struct file *f)
{
    size_t i = 0;

    while (fs->list[i] != f)
        i++;
    memmove(fs->list + i, fs->list + i + 1, (fs->n - i - 1) * sizeof(*fs->list));
    fs->n--;
}

/* The state file names it first: whatever happens then, the next run knows of it. */
static enum outcome announce(struct files *fs)
{
    if (!fs->state_path)
        return OUTCOME_OK;
    describe(fs);
    return state_save(fs->state, fs->state_path);
}

static enum outcome create(struct files *fs, struct file *f, const struct file_name *n)
{
    bool taken = true;
    enum outcome outcome = OUTCOME_OK;

    while (taken && outcome == OUTCOME_OK) {
        free(f->path);
        free(f->partial);
        f->path = f->partial = NULL;
        outcome = choose_path(fs, f, n);
        if (outcome == OUTCOME_OK)
            outcome = announce(fs);
        if (outcome == OUTCOME_OK)
            outcome = output_create(&f->output, f->partial, &taken);
    }
    return outcome == OUTCOME_OK ? sync_folder(f->partial) : outcome;
}

enum outcome files_open(struct files *fs, const struct relation *r, const char *server, lsn_t lsn,
                        struct output **out)
{
    struct file *f = xcalloc(1, sizeof *f);
    struct file_name name = {.server = server, .lsn = lsn, .when = clock_now()};
    enum outcome outcome;

    f->output.fd = f->output.read_fd = -1;
    f->begun = clock_ticks();
    if (r) {
        name.schema = f->schema = xstrdup(r->schema);
        name.table = f->table = xstrdup(r->name);
    }
    add_to_list(fs, f);
    outcome = create(fs, f, &name);
    if (outcome == OUTCOME_OK && fs->o->format == FORMAT_AVRO &&
        !output_use_container(&f->output, fs->o->codec))
        outcome = OUTCOME_FAILED;
    if (outcome != OUTCOME_OK) {
        take_from_list(fs, f);
        free_file(f);
        return outcome;
    }
    *out = &f->output;
    return OUTCOME_OK;
}

/* ---- writing ---- */

/* Of a file with blocks: what lies before the mark. */
static enum outcome close_marked(struct file *f)
{
    if (!f->output.container || !container_has_marked(f->output.container))
        return OUTCOME_OK;
    if (!output_close_marked(&f->output))
        return OUTCOME_FAILED;
    f->boundary = output_end(&f->output);
    return OUTCOME_OK;
}

/* Memory does not grow with the number of files: of many, each keeps little. */
static void shrink(const struct files *fs, struct file *f)
{
    size_t keep = KEPT_MAX / fs->n;

    if (keep < KEPT_LEAST)
        keep = KEPT_LEAST;
    if (output_pending(&f->output) == 0)
        buf_shrink(&f->output.pending, keep);
    if (f->output.container)
        container_shrink(f->output.container, keep);
}

static enum outcome write_out(const struct files *fs, struct file *f)
{
    enum outcome outcome;

    f->unsynced |= output_pending(&f->output) > 0;
    outcome = output_flush(&f->output);
    shrink(fs, f);
    return outcome;
}

static enum outcome close_blocks(struct file *f)
{
    struct container *c = f->output.container;
    enum outcome outcome = close_marked(f);

    if (outcome == OUTCOME_OK && c && !container_is_empty(c) && !output_close_all(&f->output))
        outcome = OUTCOME_FAILED;
    return outcome;
}

/* All that has been appended, in blocks or out of them. */
static uint64_t extent(const struct file *f)
{
    return output_end(&f->output) +
           (f->output.container ? container_block(f->output.container)->len : 0);
}

/* Many tables have many buffers and blocks: all go when they are too much together. */
static enum outcome relieve(struct files *fs)
{
    enum outcome outcome = OUTCOME_OK;

    fs->waiting = 0;
    for (size_t i = 0; i < fs->n && outcome == OUTCOME_OK; i++) {
        outcome = close_blocks(fs->list[i]);
        if (outcome == OUTCOME_OK)
            outcome = write_out(fs, fs->list[i]);
        fs->list[i]->counted = extent(fs->list[i]);
    }
    return outcome;
}

static enum outcome add_to_block(const struct files *fs, struct file *f, unsigned records)
{
    struct container *c = f->output.container;
    enum outcome outcome = OUTCOME_OK;

    for (unsigned i = 0; i < records; i++)
        container_added(c);
    if (!container_is_full(c))
        return OUTCOME_OK;
    outcome = close_marked(f);
    if (outcome == OUTCOME_OK && container_is_full(c) && !output_close_all(&f->output))
        outcome = OUTCOME_FAILED;
    return outcome == OUTCOME_OK ? write_out(fs, f) : outcome;
}

enum outcome files_added(struct files *fs, struct output *out, unsigned records)
{
    struct file *f = file_of(out);
    uint64_t now = extent(f);
    enum outcome outcome = OUTCOME_OK;

    fs->owed = true;
    if (now > f->counted)
        fs->waiting += now - f->counted;
    if (out->container)
        outcome = add_to_block(fs, f, records);
    f->counted = extent(f);
    if (outcome == OUTCOME_OK && fs->waiting >= (out->container ? BLOCKS_MAX : WAITING_MAX))
        outcome = relieve(fs);
    return outcome;
}

static bool is_due(const struct files *fs, const struct file *f, usec_t ticks)
{
    return (fs->o->rotate_size && extent(f) >= fs->o->rotate_size) ||
           (fs->o->rotate_time && ticks - f->begun >= fs->o->rotate_time);
}

static void end_file(struct files *fs, struct file *f)
{
    f->ended = fs->owed = true;
    fs->generation++;
}

void files_mark(struct files *fs)
{
    usec_t ticks = fs->o->rotate_time ? clock_ticks() : 0;

    for (size_t i = 0; i < fs->n; i++) {
        struct file *f = fs->list[i];
        struct container *c = f->output.container;

        if (c)
            container_mark(c);
        if (!c || container_is_empty(c))
            f->boundary = output_end(&f->output);
        if (!f->ended && is_due(fs, f, ticks))
            end_file(fs, f);
    }
}

usec_t files_due(const struct files *fs)
{
    usec_t due = INT64_MAX;

    for (size_t i = 0; i < fs->n && fs->o->rotate_time; i++) {
        const struct file *f = fs->list[i];

        if (!f->ended && f->begun + fs->o->rotate_time < due)
            due = f->begun + fs->o->rotate_time;
    }
    return due;
}

unsigned files_generation(const struct files *fs)
{
    return fs->generation;
}

bool files_owe(const struct files *fs)
{
    return fs->owed;
}

/* ---- accepting ---- */

/* Whether anything lies behind the last mark. */
static bool is_behind_mark(const struct file *f)
{
    return f->boundary != output_end(&f->output) ||
           (f->output.container && !container_is_empty(f->output.container));
}

static enum outcome accept_file(const struct files *fs, struct file *f)
{
    enum outcome outcome = close_marked(f);

    if (outcome == OUTCOME_OK)
        outcome = write_out(fs, f);
    if (outcome == OUTCOME_OK && f->unsynced)
        outcome = output_sync(&f->output);
    if (outcome != OUTCOME_OK)
        return outcome;
    f->unsynced = false;
    f->accepted = f->boundary;
    f->complete = f->ended && !is_behind_mark(f);
    return OUTCOME_OK;
}

enum outcome files_accept(struct files *fs)
{
    enum outcome outcome = OUTCOME_OK;

    fs->owed = false;
    for (size_t i = 0; i < fs->n && outcome == OUTCOME_OK; i++) {
        outcome = accept_file(fs, fs->list[i]);
        fs->owed |= is_behind_mark(fs->list[i]);
    }
    if (outcome == OUTCOME_OK)
        describe(fs);
    return outcome;
}

enum outcome files_complete(struct files *fs)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = fs->n; i-- > 0 && outcome == OUTCOME_OK;) {
        struct file *f = fs->list[i];

        if (!f->complete)
            continue;
        outcome = f->accepted > 0 ? give_name(f->partial, f->path) : remove_partial(f->partial);
        if (outcome == OUTCOME_OK) {
            fs->written += f->output.offset;
            take_from_list(fs, f);
            free_file(f);
        }
    }
    return outcome;
}

/* ---- ending ---- */

enum outcome files_end(struct files *fs, struct output *out)
{
    struct file *f = file_of(out);

    end_file(fs, f);
    return close_blocks(f);
}

enum outcome files_end_all(struct files *fs)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < fs->n && outcome == OUTCOME_OK; i++)
        outcome = files_end(fs, &fs->list[i]->output);
    return outcome;
}

enum outcome files_cut(struct files *fs)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < fs->n && outcome == OUTCOME_OK; i++) {
        struct file *f = fs->list[i];

        if (f->output.container)
            container_forget(f->output.container);
        outcome = close_marked(f);
        if (outcome == OUTCOME_OK && f->boundary != output_end(&f->output))
            outcome = output_cut(&f->output, f->boundary);
    }
    return outcome;
}

uint64_t files_written(const struct files *fs)
{
    uint64_t n = fs->written;

    for (size_t i = 0; i < fs->n; i++)
        n += output_end(&fs->list[i]->output);
    return n;
}
