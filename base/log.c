#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"

static enum log_level current_level = LOG_NORMAL;
static bool last_was_printed = true;
static bool status_stands;
static struct buf *kept; /* where errors go that are not to be printed, or NULL */
static bool last_was_kept;

#define ERROR_PREFIX "cdcdump: error: "
#define ERASE_TO_END "\033[K"

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_get_level(void)
{
    return current_level;
}

static void write_stderr(const char *bytes, size_t len)
{
    if (write(STDERR_FILENO, bytes, len) < 0)
        return; /* nobody is left to tell */
}

/* What a message has to begin with to erase the status line. */
static const char *erase_status(void)
{
    const char *erase = status_stands ? "\r" ERASE_TO_END : "";

    status_stands = false;
    return erase;
}

/* One write per message, so that messages of several processes do not mix within a line. */
static void print(const char *prefix, const char *fmt, va_list args)
{
    char line[8192];
    int n = snprintf(line, sizeof line, "%s%s", erase_status(), prefix);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, args);
    size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);

    if (len > sizeof line - 2)
        len = sizeof line - 2;
    while (len > 0 && line[len - 1] == '\n')
        len--;
    line[len++] = '\n';
    write_stderr(line, len);
}

static void keep(const char *prefix, const char *fmt, va_list args)
{
    char line[8192];

    vsnprintf(line, sizeof line, fmt, args);
    buf_add_str(kept, prefix);
    buf_add_str(kept, line);
    buf_add_char(kept, '\n');
}

void log_keep_errors(struct buf *b)
{
    kept = b;
    last_was_kept = false;
}

void log_kept_errors(const struct buf *b)
{
    char *text = xasprintf(ERROR_PREFIX "%.*s", (int)b->len, b->data);

    write_stderr(text, strlen(text));
    free(text);
}

#define DEFINE_PRIMARY(name, prefix, least)                                                        \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list args;                                                                              \
                                                                                                   \
        last_was_printed = current_level >= (least);                                               \
        last_was_kept = kept && (least) == LOG_QUIET;                                              \
        if (!last_was_printed)                                                                     \
            return;                                                                                \
        va_start(args, fmt);                                                                       \
        if (last_was_kept)                                                                         \
            keep("", fmt, args);                                                                   \
        else                                                                                       \
            print(prefix, fmt, args);                                                              \
        va_end(args);                                                                              \
    }

DEFINE_PRIMARY(log_error, ERROR_PREFIX, LOG_QUIET)
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
        if (last_was_kept)                                                                         \
            keep(prefix, fmt, args);                                                               \
        else                                                                                       \
            print(prefix, fmt, args);                                                              \
        va_end(args);                                                                              \
    }

DEFINE_ADDITION(log_detail, "DETAIL:  ")
DEFINE_ADDITION(log_hint, "HINT:  ")

/* ---- the status line ---- */

static size_t terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Bytes of the character at s; a byte that begins none counts as one. */
static size_t character_length(const char *s)
{
    unsigned lead = (unsigned char)*s;
    size_t most = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    size_t len = 1;

    while (len < most && ((unsigned char)s[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* C0, DEL, and the C1 that terminals may obey as well: U+0080 to U+009F. */
static bool is_control(const char *s)
{
    unsigned char c = (unsigned char)s[0];

    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* As much of the line as fits; returns the end of what it wrote to [p, end). */
static char *put_columns(char *p, const char *end, const char *line, size_t columns)
{
    for (; *line && columns > 0; columns--) {
        size_t len = character_length(line);

        if ((size_t)(end - p) < len)
            break;
        if (is_control(line))
            *p++ = '?';
        else
            p = mempcpy(p, line, len);
        line += len;
    }
    return p;
}

void log_status(const char *line)
{
    char out[4096];
    char *p = out;
    bool wanted = line && *line;

    if (current_level == LOG_QUIET || (!wanted && !status_stands))
        return;
    *p++ = '\r';
    if (wanted)
        p = put_columns(p, out + sizeof out - sizeof ERASE_TO_END, line, terminal_width() - 1);
    p = mempcpy(p, ERASE_TO_END, sizeof ERASE_TO_END - 1);
    write_stderr(out, (size_t)(p - out));
    status_stands = wanted;
}

/* ---- memory ---- */

void log_out_of_memory(void)
{
    static const char message[] = "cdcdump: error: out of memory\n";
    const char *erase = erase_status();

    write_stderr(erase, strlen(erase));
    write_stderr(message, sizeof message - 1);
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
