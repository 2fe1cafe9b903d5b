#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

bool file_write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);

        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return true;
}

bool file_sync_folder(const char *path)
{
    char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    int saved = errno;

    if (fd >= 0)
        close(fd);
    free(copy);
    errno = saved;
    return good;
}

bool file_is_missing(void)
{
    return errno == ENOENT || errno == ENOTDIR;
}

bool file_can_be_made(const char *path)
{
    char *copy = xstrdup(path);
    bool good = access(dirname(copy), W_OK | X_OK) == 0;
    int saved = errno;

    free(copy);
    errno = saved;
    return good;
}

char *file_absolute_name(const char *path)
{
    char *folder_copy = xstrdup(path), *name_copy = xstrdup(path);
    char *folder = realpath(dirname(folder_copy), NULL);
    char *name = folder ? xasprintf("%s/%s", folder, basename(name_copy)) : NULL;
    int saved = errno;

    free(folder);
    free(folder_copy);
    free(name_copy);
    errno = saved;
    return name;
}

static struct rlimit before;
static bool raised;

void file_raise_limit(void)
{
    struct rlimit limit;

    if (raised || getrlimit(RLIMIT_NOFILE, &before) != 0)
        return;
    limit = (struct rlimit){.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
    raised = setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

void file_restore_limit(void)
{
    if (raised)
        setrlimit(RLIMIT_NOFILE, &before);
}
