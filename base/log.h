/*
 * log - what cdcdump says to people, on standard error.
 *
 * PostgreSQL's message style: lower case, no final period, "could not" for what may work later,
 * names in double quotes, the reason last; details and hints are whole sentences.  A failure is
 * logged once, where its cause is known.  Standard output belongs to data alone.
 *
 * The level, whether a status line stands and where errors go are the only process-wide state, as
 * they are properties of the process's stderr.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };

enum log_format { LOG_TEXT, LOG_JSON };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))

/* A primary message.  With LOG_QUIET only errors are printed. */
LOG_PRINTF void log_error(const char *fmt, ...);
LOG_PRINTF void log_warning(const char *fmt, ...);
LOG_PRINTF void log_notice(const char *fmt, ...);  /* what a person wants to know anyway */
LOG_PRINTF void log_verbose(const char *fmt, ...); /* with -v only */

/* More about the primary message before it, and printed if that one was. */
LOG_PRINTF void log_detail(const char *fmt, ...);
LOG_PRINTF void log_hint(const char *fmt, ...);

struct buf;

/*
 * From now on errors, and the details and hints that belong to them, are appended to b instead of
 * being printed: a line each, without the program's name.  NULL: no more.  Warnings are printed.
 */
void log_keep_errors(struct buf *b);

/* Prints what was kept so, as it would have been. */
void log_kept_errors(const struct buf *b);

/*
 * A line at the bottom of a terminal, in place of the one before; NULL or "" erases it.  Any
 * message erases it, too, and the next log_status() brings it back.  Whether stderr is a terminal
 * is for the caller to know.
 *
 * It never wraps, as a wrapped line could not be erased: it is cut to the terminal's width less
 * one, a UTF-8 character counted as one column, and a control character is shown as '?'.
 * With LOG_QUIET nothing is printed.
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
