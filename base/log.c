#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/code_point.h"

enum { MESSAGE_MAX = 8192 }; /* bytes of one, with its end */

static enum log_level current_level = LOG_NORMAL;
static enum log_format current_format = LOG_TEXT;
static bool last_was_printed = true;
static bool status_stands;
static struct buf *kept; /* where errors go that are not to be printed, or NULL */
static bool last_was_kept;
static log_taker *diverted; /* who gets errors and warnings instead, or NULL */
static void *diverted_arg;
static bool last_was_diverted;

#define ERASE_TO_END "\033[K"

static const struct {
    const char *prefix; /* in text */
    const char *kept;   /* among the errors that are kept */
    const char *level;  /* in JSON; NULL = more about the message before */
    enum log_level least;
} parts[] = {
    [LOG_PART_ERROR] = {"cdcdump: error: ", "", "error", LOG_QUIET},
    [LOG_PART_WARNING] = {"cdcdump: warning: ", "", "warning", LOG_NORMAL},
    [LOG_PART_INFO] = {"cdcdump: ", "", "info", LOG_NORMAL},
    [LOG_PART_DEBUG] = {"cdcdump: ", "", "debug", LOG_VERBOSE},
    [LOG_PART_DETAIL] = {"DETAIL:  ", "DETAIL:  ", NULL, LOG_QUIET},
    [LOG_PART_HINT] = {"HINT:  ", "HINT:  ", NULL, LOG_QUIET},
};

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_get_level(void)
{
    return current_level;
}

/* One call per message, so that messages of several processes do not mix within a line. */
static void write_stderr(const struct iovec *pieces, int n)
{
    if (writev(STDERR_FILENO, pieces, n) < 0)
        return; /* nobody is left to tell */
}

static struct iovec piece(const char *text)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
}

static struct iovec piece_of(const struct buf *b)
{
    return (struct iovec){.iov_base = b->data, .iov_len = b->len};
}

/* What a message has to begin with to erase the status line. */
static const char *erase_status(void)
{
    const char *erase = status_stands ? "\r" ERASE_TO_END : "";

    status_stands = false;
    return erase;
}

/* ---- text ---- */

static void print_text(enum log_part part, const char *text)
{
    const struct iovec pieces[] = {piece(erase_status()), piece(parts[part].prefix), piece(text),
                                   piece("\n")};

    write_stderr(pieces, 4);
}

/* ---- JSON ---- */

/* The last message; its members as they stand between quotes. */
static struct {
    bool waits;    /* it has not been printed */
    char head[96]; /* up to the message */
    struct buf message;
    struct buf detail;
    struct buf hint;
    char sqlstate[6];
    struct buf stats; /* an object, or nothing */
} held;

/* Length of the character at s, which ends with a zero byte; 0 where none is encoded well. */
static size_t valid_length(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (p[0] > 0xf4 || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* C0, DEL, and the C1 that terminals may obey as well: U+0080 to U+009F. */
static bool is_control(const char *s)
{
    unsigned char c = (unsigned char)s[0];

    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* Whole characters at a time: whatever happens, what stands there can be put between quotes. */
static void add_escaped(struct buf *b, const char *text)
{
    while (*text) {
        size_t len = valid_length(text);
        unsigned char c = (unsigned char)*text;

        if (len == 0)
            buf_add_str(b, "\xef\xbf\xbd"); /* U+FFFD */
        else if (c == '"' || c == '\\')
            buf_add(b, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            buf_add_str(b, "\\n");
        else if (is_control(text))
            buf_printf(b, "\\u%04x", len == 2 ? (unsigned char)text[1] : c);
        else
            buf_add(b, text, len);
        text += len ? len : 1;
    }
}

static void make_head(char *head, size_t size, const char *level)
{
    usec_t now = clock_now();
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm t;

    gmtime_r(&seconds, &t);
    snprintf(head, size, "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\",\"level\":\"%s\",",
             t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
             (int)(now % USEC_PER_SEC), level);
}

static void print_held(void)
{
    bool detail = held.detail.len > 0, hint = held.hint.len > 0, stats = held.stats.len > 0;
    const struct iovec pieces[] = {
        piece(held.head),
        piece("\"message\":\""),
        piece_of(&held.message),
        piece(detail ? "\",\"detail\":\"" : ""),
        piece_of(&held.detail),
        piece(hint ? "\",\"hint\":\"" : ""),
        piece_of(&held.hint),
        piece(*held.sqlstate ? "\",\"sqlstate\":\"" : ""),
        piece(held.sqlstate),
        piece(stats ? "\",\"stats\":" : "\""),
        piece_of(&held.stats),
        piece("}\n"),
    };
    int saved = errno;

    held.waits = false;
    write_stderr(pieces, sizeof pieces / sizeof pieces[0]);
    errno = saved;
    held.detail.len = held.hint.len = held.stats.len = 0;
    held.sqlstate[0] = '\0';
}

void log_flush(void)
{
    if (held.waits)
        print_held();
}

static void hold(const char *level, const char *text)
{
    log_flush();
    make_head(held.head, sizeof held.head, level);
    held.message.len = 0;
    add_escaped(&held.message, text);
    held.waits = true;
}

/* More of the message before; where that has gone it is said again, and does not count twice. */
static void recall(void)
{
    if (held.waits)
        return;
    make_head(held.head, sizeof held.head, parts[LOG_PART_INFO].level);
    held.waits = true;
}

static void add_to_message(struct buf *member, const char *text)
{
    recall();
    if (member->len)
        buf_add_str(member, "\\n");
    add_escaped(member, text);
}

static void print_json(enum log_part part, const char *text)
{
    if (parts[part].level)
        hold(parts[part].level, text);
    else
        add_to_message(part == LOG_PART_DETAIL ? &held.detail : &held.hint, text);
}

void log_set_format(enum log_format format)
{
    static bool begun;

    log_flush();
    current_format = format;
    if (begun || format != LOG_JSON)
        return;
    begun = true;
    buf_init(&held.message, 256);
    buf_init(&held.detail, 256);
    buf_init(&held.hint, 256);
    buf_init(&held.stats, 256);
    atexit(log_flush);
}

/* ---- both ---- */

static void print(enum log_part part, const char *text)
{
    if (current_format == LOG_JSON)
        print_json(part, text);
    else
        print_text(part, text);
}

__attribute__((format(printf, 2, 0))) static void say(enum log_part part, const char *fmt,
                                                      va_list args)
{
    char text[MESSAGE_MAX];
    size_t len;

    if (parts[part].level) {
        last_was_diverted = diverted && (part == LOG_PART_ERROR || part == LOG_PART_WARNING);
        last_was_printed = last_was_diverted || current_level >= parts[part].least;
        last_was_kept = kept && part == LOG_PART_ERROR;
    }
    if (!last_was_printed)
        return;
    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = '\0';
    if (last_was_diverted) {
        diverted(diverted_arg, part, text);
        return;
    }
    if (last_was_kept) {
        buf_add_str(kept, parts[part].kept);
        buf_add_str(kept, text);
        buf_add_char(kept, '\n');
        return;
    }
    len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    print(part, text);
}

#define DEFINE(name, part)                                                                         \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, fmt);                                                                       \
        say(part, fmt, args);                                                                      \
        va_end(args);                                                                              \
    }

DEFINE(log_error, LOG_PART_ERROR)
DEFINE(log_warning, LOG_PART_WARNING)
DEFINE(log_notice, LOG_PART_INFO)
DEFINE(log_verbose, LOG_PART_DEBUG)
DEFINE(log_detail, LOG_PART_DETAIL)
DEFINE(log_hint, LOG_PART_HINT)

void log_sqlstate(const char *sqlstate)
{
    size_t len = strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (current_format != LOG_JSON || !last_was_printed || last_was_kept || last_was_diverted)
        return;
    if (len == 0 || len >= sizeof held.sqlstate || sqlstate[len])
        return;
    recall();
    memcpy(held.sqlstate, sqlstate, len + 1);
}

/* ---- errors that are kept ---- */

void log_keep_errors(struct buf *b)
{
    kept = b;
    last_was_kept = false;
}

void log_divert(log_taker *take, void *arg)
{
    diverted = take;
    diverted_arg = arg;
    last_was_diverted = false;
}

/* The next line that begins one of the parts that say more, or the end. */
static char *next_part(char *text, const char *end)
{
    for (char *line = text; (line = memchr(line, '\n', (size_t)(end - line))) != NULL;) {
        line++;
        if (strncmp(line, parts[LOG_PART_DETAIL].kept, strlen(parts[LOG_PART_DETAIL].kept)) == 0 ||
            strncmp(line, parts[LOG_PART_HINT].kept, strlen(parts[LOG_PART_HINT].kept)) == 0)
            return line;
    }
    return NULL;
}

static void print_kept(char *text)
{
    const char *end = text + strlen(text);
    enum log_part part = LOG_PART_ERROR;

    while (text) {
        char *next = next_part(text, end);

        if (next)
            next[-1] = '\0';
        print(part, text + strlen(parts[part].kept));
        part = next && *next == *parts[LOG_PART_DETAIL].kept ? LOG_PART_DETAIL : LOG_PART_HINT;
        text = next;
    }
}

void log_kept_errors(const struct buf *b)
{
    size_t len = b->len;
    char *text;

    while (len > 0 && b->data[len - 1] == '\n')
        len--;
    text = xstrndup(b->data, len);
    last_was_printed = true;
    last_was_kept = false;
    print_kept(text);
    free(text);
}

/* ---- figures ---- */

void log_figures_init(struct log_figures *f)
{
    buf_init(&f->text, 256);
    buf_init(&f->json, 256);
    f->text.data[0] = '\0';
}

void log_figures_release(struct log_figures *f)
{
    buf_release(&f->text);
    buf_release(&f->json);
}

static void add_figure(struct log_figures *f, const char *name, const char *value)
{
    buf_printf(&f->text, " %s=%s", name, value);
    buf_add_char(&f->text, '\0');
    f->text.len--;
    buf_printf(&f->json, "%s\"%s\":", f->json.len ? "," : "", name);
}

void log_figure(struct log_figures *f, const char *name, const char *number)
{
    add_figure(f, name, number);
    buf_add_str(&f->json, number);
}

void log_figure_u64(struct log_figures *f, const char *name, uint64_t n)
{
    char digits[21];

    *put_u64(digits, n) = '\0';
    log_figure(f, name, digits);
}

void log_figure_text(struct log_figures *f, const char *name, const char *text)
{
    add_figure(f, name, text);
    buf_add_char(&f->json, '"');
    add_escaped(&f->json, text);
    buf_add_char(&f->json, '"');
}

void log_notice_figures(const struct log_figures *f, const char *fmt, ...)
{
    enum log_level level = current_level;
    va_list args;

    if (level == LOG_QUIET)
        current_level = LOG_NORMAL;
    va_start(args, fmt);
    say(LOG_PART_INFO, fmt, args);
    va_end(args);
    current_level = level;
    if (current_format != LOG_JSON || !last_was_printed)
        return;
    buf_reserve(&held.stats, f->json.len + 2); /* all of it or nothing */
    buf_add_char(&held.stats, '{');
    buf_add_buf(&held.stats, &f->json);
    buf_add_char(&held.stats, '}');
}

/* ---- the status line ---- */

static size_t terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* As much of the line as fits; returns the end of what it wrote to [p, end). */
static char *put_columns(char *p, const char *end, const char *line, size_t columns)
{
    while (*line) {
        const char *next = line;
        uint32_t code = code_point_take(&next);
        size_t len = (size_t)(next - line), width = code_point_columns(code);

        if ((size_t)(end - p) < len || width > columns)
            break;
        columns -= width;
        if (code_point_is_control(code))
            *p++ = '?';
        else
            p = mempcpy(p, line, len);
        line = next;
    }
    return p;
}

void log_status(const char *line)
{
    char out[4096];
    char *p = out;
    bool wanted = line && *line;

    if (current_level == LOG_QUIET || current_format == LOG_JSON || (!wanted && !status_stands))
        return;
    *p++ = '\r';
    if (wanted)
        p = put_columns(p, out + sizeof out - sizeof ERASE_TO_END, line, terminal_width() - 1);
    p = mempcpy(p, ERASE_TO_END, sizeof ERASE_TO_END - 1);
    write_stderr(&(struct iovec){.iov_base = out, .iov_len = (size_t)(p - out)}, 1);
    status_stands = wanted;
}

/* ---- memory ---- */

/* What there is of the message that is held back is well-formed at any moment. */
void log_out_of_memory(void)
{
    static const char reason[] = "out of memory";
    char head[sizeof held.head];
    const struct iovec text[] = {piece(erase_status()), piece(parts[LOG_PART_ERROR].prefix),
                                 piece(reason), piece("\n")};

    log_flush();
    if (current_format == LOG_JSON) {
        make_head(head, sizeof head, parts[LOG_PART_ERROR].level);
        write_stderr((const struct iovec[]){piece(head), piece("\"message\":\""), piece(reason),
                                            piece("\"}\n")},
                     4);
    } else {
        write_stderr(text, 4);
    }
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
