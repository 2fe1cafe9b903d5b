/*
 * capture - what the code under test writes to standard error, for tests of what it says.
 *
 * Errors cannot be silenced, and what they say is part of the test: they go to a file.  One C file
 * includes this, between capture_start() and capture_end().
 */
#ifndef TESTS_UNIT_CAPTURE_H
#define TESTS_UNIT_CAPTURE_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#include "base/log.h"
#include "tests/unit/tap.h"

static struct {
    FILE *file;
    int standard_error; /* the real one */
    char *text;         /* see logged() */
    bool complaint;     /* of the undefined behaviour sanitizer, which does not end the program */
} capture;

static inline void capture_start(void)
{
    capture.standard_error = dup(STDERR_FILENO);
    capture.file = tmpfile();
    if (!capture.file || capture.standard_error < 0 ||
        dup2(fileno(capture.file), STDERR_FILENO) < 0) {
        perror("capture_start");
        exit(1);
    }
#ifdef __SANITIZE_ADDRESS__
    /* Reports of the address sanitizer are for people. */
    __sanitizer_set_report_fd((void *)(intptr_t)capture.standard_error);
#endif
}

/* What has been written since log_forget(), until the next call. */
static inline const char *logged(void)
{
    off_t size = lseek(STDERR_FILENO, 0, SEEK_END);
    size_t len = size < 0 ? 0 : (size_t)size;

    free(capture.text);
    capture.text = xcalloc(len + 1, 1);
    if (pread(STDERR_FILENO, capture.text, len, 0) != (ssize_t)len)
        capture.text[0] = '\0';
    return capture.text;
}

static inline void log_forget(void)
{
    const char *found = strstr(logged(), "runtime error:");

    if (found) {
        capture.complaint = true;
        tap_note("%.300s", found);
    }
    if (ftruncate(STDERR_FILENO, 0) < 0 || lseek(STDERR_FILENO, 0, SEEK_SET) < 0)
        exit(1);
}

static inline void capture_end(void)
{
    log_forget();
    ok(!capture.complaint, "no undefined behaviour was reported");
    dup2(capture.standard_error, STDERR_FILENO);
    close(capture.standard_error);
    fclose(capture.file);
    free(capture.text);
}

static inline bool leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __lsan_do_recoverable_leak_check() != 0;
#else
    return false;
#endif
}

#endif
