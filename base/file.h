/*
 * file - what the C library leaves to be done about names of files.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Lets the process have as many descriptors as it is allowed to, and back: for programs that it
 * starts.  The latter may be called after fork().
 */
void file_raise_limit(void);
void file_restore_limit(void);

/* Writes all of it, waiting where that takes time; false when it cannot (errno is set). */
bool file_write_all(int fd, const char *bytes, size_t n);

/* Syncs the folder that holds path: a new or renamed file is durable only then (errno is set). */
bool file_sync_folder(const char *path);

/* Whether errno says that there is no file of a name, rather than that it cannot be looked at. */
bool file_is_missing(void);

/* Whether a file of that name could be made in its folder, as far as permissions tell (errno is set). */
bool file_can_be_made(const char *path);

/*
 * The absolute name of a file that may not exist, though its folder does; the caller frees it.  NULL:
 * the folder cannot be found (errno is set).
 */
char *file_absolute_name(const char *path);

#endif
