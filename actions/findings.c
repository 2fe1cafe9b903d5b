#include "actions/findings.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

void findings_init(struct findings *f)
{
    *f = (struct findings){.outcome = OUTCOME_OK};
}

void findings_release(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->list[i].reason);
        free(f->list[i].remedy);
    }
    free(f->list);
    *f = (struct findings){.outcome = OUTCOME_OK};
}

/* ---- adding ---- */

/* Takes both texts over. */
static void add(struct findings *f, enum finding_level level, enum finding_part part, char *reason,
                char *remedy)
{
    f->list = realloc(f->list, (f->count + 1) * sizeof *f->list);
    if (!f->list)
        log_out_of_memory();
    f->list[f->count++] = (struct finding){level, part, reason, remedy};
}

static char *format(const char *fmt, va_list args)
{
    char *text;

    if (vasprintf(&text, fmt, args) < 0)
        log_out_of_memory();
    return text;
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

void findings_ok(struct findings *f, enum finding_part part, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(f, FINDING_OK, part, format(fmt, args), NULL);
    va_end(args);
}

void findings_warn(struct findings *f, enum finding_part part, const char *remedy, const char *fmt,
                   ...)
{
    va_list args;

    va_start(args, fmt);
    add(f, FINDING_WARNING, part, format(fmt, args), copy_of(remedy));
    va_end(args);
}

static void set_outcome(struct findings *f, enum outcome outcome)
{
    if (f->outcome == OUTCOME_OK)
        f->outcome = outcome;
}

void findings_fail(struct findings *f, enum finding_part part, enum outcome outcome,
                   const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(f, FINDING_ERROR, part, format(fmt, args), copy_of(remedy));
    va_end(args);
    set_outcome(f, outcome);
}

void finding_set_remedy(struct finding *finding, char *remedy)
{
    free(finding->remedy);
    finding->remedy = remedy;
}

void finding_set_reason(struct finding *finding, char *reason)
{
    free(finding->reason);
    finding->reason = reason;
}

void findings_demote(struct findings *f, size_t count, enum outcome before)
{
    for (size_t i = count; i < f->count; i++)
        if (f->list[i].level == FINDING_ERROR)
            f->list[i].level = FINDING_WARNING;
    f->outcome = before;
}

/* ---- what is logged ---- */

/* Without the period of a sentence, which a line of ours does not end with. */
static size_t length_of_sentence(const char *text)
{
    size_t len = strlen(text);

    while (len > 0 && (text[len - 1] == '.' || isspace((unsigned char)text[len - 1])))
        len--;
    return len;
}

/* A sentence within a line; names at its beginning stay as they are. */
static void add_detail(struct finding *last, const char *text)
{
    int first = (unsigned char)text[0];
    bool word = isupper(first) && (islower((unsigned char)text[1]) || text[1] == ' ');

    finding_set_reason(last, xasprintf("%s (%c%.*s)", last->reason, word ? tolower(first) : first,
                                       (int)length_of_sentence(text + 1), text + 1));
}

static void add_hint(struct finding *last, const char *text)
{
    int len = (int)length_of_sentence(text);

    finding_set_remedy(last, last->remedy ? xasprintf("%s; %.*s", last->remedy, len, text)
                                          : xstrndup(text, (size_t)len));
}

static void hear(void *arg, enum log_part part, const char *text)
{
    struct findings *f = arg;
    struct finding *last = f->count > f->heard ? &f->list[f->count - 1] : NULL;

    if (part == LOG_PART_ERROR || part == LOG_PART_WARNING)
        add(f, part == LOG_PART_ERROR ? FINDING_ERROR : FINDING_WARNING, f->part,
            xstrdup(text), NULL);
    else if (last && *text && part == LOG_PART_DETAIL)
        add_detail(last, text);
    else if (last && part == LOG_PART_HINT)
        add_hint(last, text);
}

void findings_listen(struct findings *f, enum finding_part part)
{
    f->part = part;
    f->heard = f->count;
    log_divert(hear, f);
}

struct finding *findings_heard(const struct findings *f)
{
    for (size_t i = f->count; i-- > f->heard;)
        if (f->list[i].level == FINDING_ERROR)
            return &f->list[i];
    return NULL;
}

enum outcome findings_heed(struct findings *f, enum outcome outcome)
{
    log_divert(NULL, NULL);
    if (outcome == OUTCOME_OK)
        return outcome;
    if (!findings_heard(f) && outcome != OUTCOME_STOPPED)
        add(f, FINDING_ERROR, f->part, xstrdup("the server did not answer"), NULL);
    set_outcome(f, outcome);
    return outcome;
}

bool findings_excuse(struct findings *f, enum outcome outcome)
{
    enum outcome before = f->outcome;

    findings_heed(f, outcome);
    if (outcome != OUTCOME_OK && outcome != OUTCOME_UNAVAILABLE)
        findings_demote(f, f->heard, before);
    return outcome == OUTCOME_OK;
}

/* ---- printing ---- */

/* Bytes of the control character that the text begins with, 0 where it is none: C0, DEL and C1. */
static size_t control_length(const char *text)
{
    unsigned char c = (unsigned char)text[0];

    if (c == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0)
        return 2;
    return (c > 0 && c < ' ') || c == 0x7f;
}

/* A finding is one line, whatever a name or a server's message has in it. */
static void add_line(struct buf *b, const char *text)
{
    bool gap = false;

    while (*text) {
        size_t control = control_length(text);

        if (gap && !control && *text != ' ' && b->data[b->len - 1] != ' ')
            buf_add_char(b, ' ');
        gap = control > 0;
        if (!control)
            buf_add_char(b, *text);
        text += control ? control : 1;
    }
}

/* SQL can be copied as long as all of it can be seen. */
static bool is_copyable(const char *remedy)
{
    bool sql = *remedy && remedy[strlen(remedy) - 1] == ';';

    while (sql && *remedy && !control_length(remedy))
        remedy++;
    return !sql || !*remedy;
}

static void add_finding(struct buf *b, const struct finding *finding)
{
    static const char *const levels[] = {"ok: ", "warning: ", "error: "};

    buf_add_str(b, levels[finding->level]);
    add_line(b, finding->reason);
    if (finding->remedy && finding->level != FINDING_OK && is_copyable(finding->remedy)) {
        buf_add_str(b, "; remedy: ");
        add_line(b, finding->remedy);
    }
    buf_add_char(b, '\n');
}

/* Order of what is said; alike, of when it was found. */
static int compare(const void *a, const void *b)
{
    const struct finding *first = *(struct finding *const *)a, *second = *(struct finding *const *)b;
    int order = strcmp(first->reason, second->reason);

    if (order == 0)
        order = (first->level > second->level) - (first->level < second->level);
    return order ? order : (first > second) - (first < second);
}

/* Of findings that say the same the first is left: hosts are alike, and so are refusals. */
static bool *find_repeated(const struct findings *f)
{
    bool *repeated = xcalloc(f->count, sizeof *repeated);
    struct finding **sorted = xcalloc(f->count, sizeof *sorted);

    for (size_t i = 0; i < f->count; i++)
        sorted[i] = &f->list[i];
    qsort(sorted, f->count, sizeof *sorted, compare);
    for (size_t i = 1; i < f->count; i++)
        repeated[sorted[i] - f->list] = sorted[i]->level == sorted[i - 1]->level &&
                                        strcmp(sorted[i]->reason, sorted[i - 1]->reason) == 0;
    free(sorted);
    return repeated;
}

enum outcome findings_print(const struct findings *f)
{
    bool *repeated = find_repeated(f);
    enum outcome outcome = OUTCOME_OK;
    struct buf b;

    buf_init(&b, 4096);
    for (int part = 0; part < PARTS; part++)
        for (size_t i = 0; i < f->count; i++)
            if ((int)f->list[i].part == part && !repeated[i])
                add_finding(&b, &f->list[i]);
    if (!file_write_all(STDOUT_FILENO, b.data, b.len)) {
        outcome = errno == EPIPE ? OUTCOME_OUTPUT_CLOSED : OUTCOME_OUTPUT_FAILED;
        if (outcome == OUTCOME_OUTPUT_FAILED)
            log_error("could not write to standard output: %m");
    }
    free(repeated);
    buf_release(&b);
    return outcome;
}
