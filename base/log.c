#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum log_level current_level = LOG_NORMAL;
static bool last_was_printed = true;

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_get_level(void)
{
    return current_level;
}

/* One write per message, so that messages of several processes do not mix within a line. */
static void print(const char *prefix, const char *fmt, va_list args)
{
    char line[8192];
    int n = snprintf(line, sizeof line, "%s", prefix);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, args);
    size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);

    if (len > sizeof line - 2)
        len = sizeof line - 2;
    while (len > 0 && line[len - 1] == '\n')
        len--;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody is left to tell */
}

#define DEFINE_PRIMARY(name, prefix, least)                                                        \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list args;                                                                              \
                                                                                                   \
        last_was_printed = current_level >= (least);                                               \
        if (!last_was_printed)                                                                     \
            return;                                                                                \
        va_start(args, fmt);                                                                       \
        print(prefix, fmt, args);                                                                  \
        va_end(args);                                                                              \
    }

DEFINE_PRIMARY(log_error, "cdcdump: error: ", LOG_QUIET)
DEFINE_PRIMARY(log_warning, "cdcdump: warning: ", LOG_NORMAL)
DEFINE_PRIMARY(log_notice, "cdcdump: ", LOG_NORMAL)
DEFINE_PRIMARY(log_verbose, "cdcdump: ", LOG_VERBOSE)

#define DEFINE_ADDITION(name, prefix)                                                              \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list args;                                                                              \
                                                                                                   \
        if (!last_was_printed)                                                                     \
            return;                                                                                \
        va_start(args, fmt);                                                                       \
        print(prefix, fmt, args);                                                                  \
        va_end(args);                                                                              \
    }

DEFINE_ADDITION(log_detail, "DETAIL:  ")
DEFINE_ADDITION(log_hint, "HINT:  ")

void log_out_of_memory(void)
{
    static const char message[] = "cdcdump: error: out of memory\n";

    if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
        _exit(1);
    _exit(1);
}

void *xcalloc(unsigned long n, unsigned long size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        log_out_of_memory();
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, unsigned long n)
{
    char *copy = xcalloc(n + 1, 1);

    memcpy(copy, s, n);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    char *s = NULL;

    va_start(args, fmt);
    if (vasprintf(&s, fmt, args) < 0)
        log_out_of_memory();
    va_end(args);
    return s;
}
