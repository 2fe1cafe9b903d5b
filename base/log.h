/*
 * log - what cdcdump says to people, on standard error.
 *
 * PostgreSQL's message style: lower case, no final period, "could not" for what may work later,
 * names in double quotes, the reason last; details and hints are whole sentences.  A failure is
 * logged once, where its cause is known.  Standard output belongs to data alone.
 *
 * With LOG_JSON every message is an object on a line of its own, for programs:
 *
 *     {"ts":"2026-01-02T03:04:05.678901Z","level":"error","message":"could not …",
 *      "detail":"…","hint":"…","sqlstate":"42501","stats":{"rows":1}}
 *
 * Level is error, warning, info or debug (what -v adds); the members behind "message" are there
 * when they say something, several details or hints as lines of one.  Control characters are
 * escaped, bytes that are not UTF-8 become U+FFFD.  As the further members come by calls of their
 * own, a message is held back until log_flush(), the next message or the end of the program.  One
 * that comes when its message has gone already makes a line of level info with that message again.
 *
 * The level, the format, whether a status line stands, the message that is held back and where
 * errors go are the only process-wide state, as they are properties of the process's stderr.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/buf.h"

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };

enum log_format { LOG_TEXT, LOG_JSON };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Of all messages from now on; text at first. */
void log_set_format(enum log_format format);

/*
 * Prints the message that is held back, if any.  Before anything that may wait, end the process
 * other than by exit(), or make another one that goes on with this program.
 */
void log_flush(void);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))

/* A primary message.  With LOG_QUIET only errors are printed. */
LOG_PRINTF void log_error(const char *fmt, ...);
LOG_PRINTF void log_warning(const char *fmt, ...);
LOG_PRINTF void log_notice(const char *fmt, ...);  /* what a person wants to know anyway */
LOG_PRINTF void log_verbose(const char *fmt, ...); /* with -v only */

/* More about the primary message before it, and printed if that one was. */
LOG_PRINTF void log_detail(const char *fmt, ...);
LOG_PRINTF void log_hint(const char *fmt, ...);

/* The server's code of the error; "" = none.  In JSON alone. */
void log_sqlstate(const char *sqlstate);

/*
 * Figures of a message for programs: in text " name=value" each, in JSON members of "stats".  Names
 * are constants of lower case letters and _.
 */
struct log_figures {
    struct buf text; /* ends with a zero byte that does not count */
    struct buf json;
};

void log_figures_init(struct log_figures *f);
void log_figures_release(struct log_figures *f);
void log_figure(struct log_figures *f, const char *name, const char *number); /* as JSON has it */
void log_figure_u64(struct log_figures *f, const char *name, uint64_t n);
void log_figure_text(struct log_figures *f, const char *name, const char *text);

/*
 * log_notice() with figures: the message is the caller's, with f->text.data in it or without.  It was
 * asked for, and is printed with LOG_QUIET, too.
 */
__attribute__((format(printf, 2, 3))) void log_notice_figures(const struct log_figures *f,
                                                              const char *fmt, ...);

/*
 * From now on errors, and the details and hints that belong to them, are appended to b instead of
 * being printed: a line each, without the program's name.  NULL: no more.  Warnings are printed.
 */
void log_keep_errors(struct buf *b);

/* Prints what was kept so, as it would have been. */
void log_kept_errors(const struct buf *b);

enum log_part {
    LOG_PART_ERROR,
    LOG_PART_WARNING,
    LOG_PART_INFO,
    LOG_PART_DEBUG,
    LOG_PART_DETAIL,
    LOG_PART_HINT,
};

typedef void log_taker(void *arg, enum log_part part, const char *text);

/*
 * From now on errors and warnings, with the details and hints that belong to them, are given to
 * take() instead of being printed, part by part.  NULL: no more.
 */
void log_divert(log_taker *take, void *arg);

/*
 * A line at the bottom of a terminal, in place of the one before; NULL or "" erases it.  Any
 * message erases it, too, and the next log_status() brings it back.  Whether stderr is a terminal
 * is for the caller to know.
 *
 * It never wraps, as a wrapped line could not be erased: it is cut to the terminal's width less
 * one, where a UTF-8 character counts as one column, or two where it is wide, and a control
 * character, or a byte of none, is shown as '?'.  With LOG_QUIET or LOG_JSON nothing is printed.
 */
void log_status(const char *line);

/* Says so and exits with status 1: nothing sensible can be done, and nothing is acknowledged. */
_Noreturn void log_out_of_memory(void);

/* malloc, realloc-free copies and calloc that end the program rather than return NULL. */
void *xcalloc(unsigned long n, unsigned long size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, unsigned long n);
LOG_PRINTF char *xasprintf(const char *fmt, ...);

#endif
