#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

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

char *file_absolute_name(const char *path)
{
    char *folder_copy = xstrdup(path), *name_copy = xstrdup(path);
    char *folder = realpath(dirname(folder_copy), NULL);
    char *name = xasprintf("%s/%s", folder ? folder : "", basename(name_copy));

    free(folder);
    free(folder_copy);
    free(name_copy);
    return name;
}
