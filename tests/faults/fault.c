#include "tests/faults/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct fault_rule) == 1024, "Faults.pm counts on it");
_Static_assert(offsetof(struct fault_control, rules) == 1024, "Faults.pm counts on it");
_Static_assert(sizeof(struct fault_entry) == 80, "Faults.pm counts on it");
_Static_assert(sizeof(struct fault_control) <= FAULT_TRACE_START, "the trace comes behind");

static struct fault_control *control; /* NULL = this program is let alone */
static char *trace_area;
static long own_pid;

static uint64_t load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static uint64_t count_up(uint64_t *p)
{
    return __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL);
}

/* ---- the beginning ---- */

static bool has_name(const char *wanted)
{
    char path[4096];
    long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
    const char *slash;

    if (n <= 0)
        return false;
    path[n] = '\0';
    slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, wanted) == 0;
}

static struct fault_control *map_control(const char *path)
{
    size_t size = FAULT_TRACE_START + (size_t)FAULT_TRACE_SIZE;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *p;

    if (fd < 0)
        return NULL;
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    syscall(SYS_close, fd);
    if (p == MAP_FAILED)
        return NULL;
    if (((struct fault_control *)p)->magic == FAULT_MAGIC)
        return p;
    munmap(p, size);
    return NULL;
}

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("CDCTEST_FAULT_CONTROL");
    struct fault_control *c = path ? map_control(path) : NULL;

    if (!c)
        return;
    if (!has_name(c->program) && !(c->children && getenv("CDCTEST_FAULT_CHILD"))) {
        munmap(c, FAULT_TRACE_START + (size_t)FAULT_TRACE_SIZE);
        return;
    }
    if (c->children) {
        const char *self = getenv("CDCTEST_FAULT_SELF");

        setenv("CDCTEST_FAULT_CHILD", "1", 1);
        if (self) /* alone: no sanitizer that the program may need before it */
            setenv("LD_PRELOAD", self, 1);
    } else {
        unsetenv("CDCTEST_FAULT_CONTROL");
        unsetenv("LD_PRELOAD");
    }
    own_pid = syscall(SYS_getpid);
    trace_area = (char *)c + FAULT_TRACE_START;
    c->pid = (uint64_t)own_pid;
    count_up(&c->attached);
    control = c;
}

/* A child that was forked and has not called exec yet is another process, too. */
static bool is_active(void)
{
    return control && (control->children || syscall(SYS_getpid) == own_pid);
}

/* ---- paths ---- */

/* Writes the digits of a descriptor behind prefix. */
static void proc_name(char *name, int fd)
{
    static const char prefix[] = "/proc/self/fd/";
    char digits[12];
    size_t n = 0, at = sizeof prefix - 1;

    memcpy(name, prefix, sizeof prefix);
    do
        digits[n++] = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (n > 0)
        name[at++] = digits[--n];
    name[at] = '\0';
}

/* Of long paths the end is kept: that is what tells them apart. */
static void resolve(struct fault *f)
{
    char name[32], path[4096];
    long n;
    size_t skip;

    if (f->path || f->fd < 0)
        return;
    proc_name(name, f->fd);
    n = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
    if (n < 0)
        n = 0;
    skip = (size_t)n >= sizeof f->resolved ? (size_t)n - (sizeof f->resolved - 1) : 0;
    memcpy(f->resolved, path + skip, (size_t)n - skip);
    f->resolved[(size_t)n - skip] = '\0';
    f->path = f->resolved;
}

static bool is_in_paths(const struct fault *f, const char *part)
{
    return (f->path && strstr(f->path, part)) || (f->path2 && strstr(f->path2, part));
}

static bool path_matches(const struct fault_rule *r, struct fault *f)
{
    bool wanted = r->paths[0][0] == '\0';

    if (wanted && !r->except[0])
        return true;
    resolve(f);
    for (int i = 0; i < FAULT_PATHS && !wanted && r->paths[i][0]; i++)
        wanted = is_in_paths(f, r->paths[i]);
    return wanted && !(r->except[0] && is_in_paths(f, r->except));
}

/* ---- rules ---- */

static bool fires(const struct fault_rule *r, uint64_t seen)
{
    return seen >= r->nth && (r->times == 0 || r->fired < r->times) &&
           (r->every < 2 || (seen - r->nth) % r->every == 0);
}

static void note_firing(struct fault_rule *r, struct fault *f)
{
    size_t n;

    resolve(f);
    r->last_call = (uint64_t)f->call;
    n = f->path ? strnlen(f->path, sizeof r->last_path - 1) : 0;
    memcpy(r->last_path, f->path ? f->path : "", n);
    r->last_path[n] = '\0';
    count_up(&r->fired);
}

static void wait_for(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    while (syscall(SYS_nanosleep, &t, &t) != 0 && errno == EINTR)
        ;
}

static size_t smaller(size_t size, size_t most)
{
    return size < most ? size : most;
}

/* Delays and short calls go with any other fault. */
static void apply(const struct fault_rule *r, uint32_t number, struct fault *f)
{
    if (r->action == ACTION_DELAY) {
        wait_for(r->arg);
    } else if (r->action == ACTION_SHORT) {
        f->size = smaller(f->size, (size_t)r->arg);
    } else if (r->action != ACTION_WATCH) {
        f->rule = number;
        f->action = (enum fault_action)r->action;
        f->arg = r->arg;
    }
}

/* Every rule counts; of those that fire the first has its way. */
static void judge(struct fault *f)
{
    for (uint32_t i = 0; i < FAULT_RULES; i++) {
        struct fault_rule *r = &control->rules[i];

        if (!load(&r->armed) || !(r->calls >> f->call & 1) || (r->fd && (int)r->fd != f->fd) ||
            !path_matches(r, f))
            continue;
        if (!fires(r, count_up(&r->seen)) || f->rule)
            continue;
        note_firing(r, f);
        apply(r, i + 1, f);
    }
}

/* ---- the trace ---- */

static size_t data_length(const struct fault *f, long result)
{
    uint64_t n = control->trace_data;

    if (!f->data || result <= 0)
        return 0;
    return (uint64_t)result < n ? (size_t)result : (size_t)n;
}

static uint64_t now(void)
{
    struct timespec t;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Room for so many bytes, NULL when there is no more. */
static char *reserve(size_t length)
{
    uint64_t at = __atomic_fetch_add(&control->trace_at, length, __ATOMIC_ACQ_REL);

    if (at + length <= FAULT_TRACE_SIZE)
        return trace_area + at;
    count_up(&control->trace_lost);
    return NULL;
}

static void add_entry(struct fault *f, long result, int error)
{
    size_t path, path2, data, length;
    struct fault_entry e;
    char *p;

    resolve(f);
    path = f->path ? strnlen(f->path, 4096) : 0;
    path2 = f->path2 ? strnlen(f->path2, 4096) : 0;
    data = data_length(f, result);
    length = (sizeof e + path + path2 + data + 7) / 8 * 8;
    p = reserve(length);
    if (!p)
        return;
    e = (struct fault_entry){.call = (uint32_t)f->call, .nth = f->nth, .at = now(),
                             .result = result, .size = f->size, .offset = f->offset,
                             .pid = (uint32_t)syscall(SYS_getpid), .fd = f->fd,
                             .error = result < 0 ? error : 0, .flags = (uint32_t)f->flags,
                             .rule = f->rule, .path_length = (uint16_t)path,
                             .path2_length = (uint16_t)path2, .data_length = (uint32_t)data};
    memcpy(p, &e, sizeof e);
    memcpy(p + sizeof e, f->path ? f->path : "", path);
    memcpy(p + sizeof e + path, f->path2 ? f->path2 : "", path2);
    if (data > 0)
        memcpy(p + sizeof e + path + path2, f->data, data);
    __atomic_store_n((uint32_t *)(void *)p, (uint32_t)length, __ATOMIC_RELEASE);
}

static void trace(struct fault *f, long result, int error)
{
    if (load(&control->trace))
        add_entry(f, result, error);
}

/* ---- calls ---- */

static void raise_signal(long number)
{
    syscall(SYS_kill, syscall(SYS_getpid), number);
}

static void die(void)
{
    for (;;)
        raise_signal(SIGKILL);
}

/* What comes before the call; false: the call does not come. */
static bool act(struct fault *f)
{
    switch (f->action) {
    case ACTION_ERROR:
        if (f->call != CALL_CLOSE)
            return false;
        f->action = ACTION_ERROR_AFTER;
        break;
    case ACTION_KILL_BEFORE:
        trace(f, -1, 0);
        die();
        break;
    case ACTION_KILL_TORN:
        f->size = f->size / 2;
        break;
    case ACTION_SIGNAL:
        raise_signal((long)f->arg);
        break;
    case ACTION_CUT:
        syscall(SYS_shutdown, f->fd, SHUT_RDWR);
        break;
    default:
        break;
    }
    return true;
}

bool fault_enter(struct fault *f)
{
    int saved = errno;

    f->rule = 0;
    f->action = ACTION_WATCH;
    if (!is_active())
        return true;
    f->nth = count_up(&control->counts[f->call]);
    judge(f);
    if (f->call == CALL_CLOSE && load(&control->trace))
        resolve(f); /* afterwards it is too late */
    if (!act(f)) {
        trace(f, -1, (int)f->arg);
        errno = (int)f->arg;
        return false;
    }
    errno = saved;
    return true;
}

/* Where in a file the bytes went that were written at its current offset. */
static void find_offset(struct fault *f, long result)
{
    long at;

    if (f->call != CALL_WRITE || result <= 0 || !load(&control->trace))
        return;
    at = syscall(SYS_lseek, f->fd, 0L, SEEK_CUR);
    if (at >= result)
        f->offset = at - result;
}

long fault_leave(struct fault *f, long result)
{
    int error = errno;

    if (!is_active())
        return result;
    find_offset(f, result);
    trace(f, result, error);
    if (f->action == ACTION_KILL_AFTER || f->action == ACTION_KILL_TORN)
        die();
    if (f->action == ACTION_ERROR_AFTER && result >= 0) {
        result = -1;
        error = (int)f->arg;
    }
    errno = error;
    return result;
}

int64_t fault_clock_offset(int clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return control ? __atomic_load_n(&control->realtime, __ATOMIC_ACQUIRE) : 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        return control ? __atomic_load_n(&control->monotonic, __ATOMIC_ACQUIRE) : 0;
    default:
        return 0;
    }
}
