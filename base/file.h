/*
 * file - what the C library leaves to be done about names of files.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>

/* Syncs the folder that holds path: a new or renamed file is durable only then (errno is set). */
bool file_sync_folder(const char *path);

/* The absolute name of a file that may not exist, though its folder does; the caller frees it. */
char *file_absolute_name(const char *path);

#endif
