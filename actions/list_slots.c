#include "actions/list_slots.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/code_point.h"
#include "base/log.h"
#include "base/signals.h"
#include "deliver/output.h"
#include "encode/csv_cell.h"
#include "encode/value.h"
#include "source/connection.h"
#include "source/slot.h"
#include "source/slot_watch.h"

/* ---- for programs ---- */

enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_BOOL };

struct field {
    const char *name;
    enum field_kind kind;
    int version; /* of the server, that has it from there on */
};

static const struct field fields[] = {
    {"name", FIELD_TEXT, 0},
    {"plugin", FIELD_TEXT, 0},
    {"database", FIELD_TEXT, 0},
    {"active_pid", FIELD_NUMBER, 0},
    {"state", FIELD_TEXT, 130000},
    {"confirmed_lsn", FIELD_TEXT, 0},
    {"lag_bytes", FIELD_NUMBER, 0},
    {"retained_bytes", FIELD_NUMBER, 0},
    {"inactive_since", FIELD_TEXT, 170000},
    {"temporary", FIELD_BOOL, 0},
    {"two_phase", FIELD_BOOL, 140000},
    {"failover", FIELD_BOOL, 170000},
    {"synced", FIELD_BOOL, 170000},
    {"reason", FIELD_TEXT, 0},
};

enum { NFIELDS = sizeof fields / sizeof fields[0] };

/* A copy with '?' for bytes that are no UTF-8, which names in SQL_ASCII databases may have. */
static char *valid_copy(const char *text)
{
    char *copy = xstrdup(text);

    if (!scan_is_utf8(copy, strlen(copy)))
        for (char *p = copy; *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
    return copy;
}

/* NULL = SQL NULL; the caller frees it. */
static char *field_text(const struct slot_watch *w, int i, const struct field *f)
{
    const char *text =
        strcmp(f->name, "reason") == 0 ? w->slots[i].reason : result_text(w->rows, i, f->name);

    return text ? valid_copy(text) : NULL;
}

static void add_json_value(struct buf *b, const char *text, enum field_kind kind)
{
    if (!text)
        buf_add_str(b, "null");
    else if (kind == FIELD_NUMBER)
        buf_add_str(b, text);
    else if (kind == FIELD_BOOL)
        buf_add_str(b, text[0] == 't' ? "true" : "false");
    else
        json_add_string(b, text, strlen(text));
}

static void add_csv_value(struct buf *b, const char *text)
{
    if (text)
        csv_add_cell(b, text, strlen(text));
}

/* One slot as an object or a line of CSV; i = -1: the header of CSV. */
static void add_record(struct buf *b, const struct slot_watch *w, int i, int version, bool csv)
{
    const char *before = csv ? "" : "{";

    for (const struct field *f = fields; f < fields + NFIELDS; f++) {
        char *text;

        if (version < f->version)
            continue;
        buf_add_str(b, before);
        before = ",";
        text = i < 0 ? xstrdup(f->name) : field_text(w, i, f);
        if (csv) {
            add_csv_value(b, text);
        } else {
            buf_printf(b, "\"%s\":", f->name);
            add_json_value(b, text, f->kind);
        }
        free(text);
    }
    buf_add_str(b, csv ? "\n" : "}\n");
}

static void add_records(struct buf *b, const struct slot_watch *w, int version, bool csv)
{
    for (int i = csv ? -1 : 0; i < w->count; i++)
        add_record(b, w, i, version, csv);
}

/* ---- for people ---- */

struct table_column {
    const char *heading;
    const char *source; /* column of the rows */
    bool right;
    bool name; /* can be long, and is cut where a terminal has no room for it */
};

static const struct table_column columns[] = {
    {"name", "name", false, true},      {"plugin", "plugin", false, true},
    {"database", "database", false, true}, {"pid", "active_pid", true, false},
    {"state", "state", false, false},   {"confirmed", "confirmed_lsn", false, false},
    {"lag", "lag", true, false},        {"retained", "retained", true, false},
};

enum { NCOLUMNS = sizeof columns / sizeof columns[0], LEAST_NAME = 8, TERMINAL_WIDTH = 80 };

struct table {
    char **cells; /* row by row, the headings first */
    int nrows;
    unsigned width[NCOLUMNS]; /* in columns of the terminal */
};

/* A copy that does nothing to a terminal but take its room. */
static char *printable_copy(const char *text)
{
    char *copy = valid_copy(text), *to = copy;
    const char *next = copy;

    while (*next) {
        const char *p = next;

        if (code_point_is_control(code_point_take(&next)))
            *to++ = '?';
        else
            to = (char *)memmove(to, p, (size_t)(next - p)) + (next - p);
    }
    *to = '\0';
    return copy;
}

/* The width of len bytes, or of as many of them as fit into `most` columns: *fits. */
static unsigned text_width(const char *text, size_t len, unsigned most, size_t *fits)
{
    const char *end = text + len, *next = text;
    unsigned width = 0;

    *fits = 0;
    while (next < end) {
        unsigned w = code_point_columns(code_point_take(&next));

        if (width + w > most)
            break;
        width += w;
        *fits = (size_t)(next - text);
    }
    return width;
}

static unsigned whole_width(const char *text)
{
    size_t fits;

    return text_width(text, strlen(text), ~0u / 2, &fits);
}

static void table_init(struct table *t, const struct slot_watch *w)
{
    t->nrows = w->count + 1;
    t->cells = xcalloc((size_t)t->nrows * NCOLUMNS, sizeof *t->cells);
    for (int c = 0; c < NCOLUMNS; c++) {
        t->width[c] = 0;
        for (int i = 0; i < t->nrows; i++) {
            char **cell = &t->cells[i * NCOLUMNS + c];

            if (i == 0)
                *cell = xstrdup(columns[c].heading);
            else
                *cell = printable_copy(result_string(w->rows, i - 1, columns[c].source));
            if (whole_width(*cell) > t->width[c])
                t->width[c] = whole_width(*cell);
        }
    }
}

static void table_release(struct table *t)
{
    for (int i = 0; i < t->nrows * NCOLUMNS; i++)
        free(t->cells[i]);
    free(t->cells);
}

/* Takes room from the widest column of names, again and again, until the lines fit. */
static void table_narrow(struct table *t, unsigned most)
{
    for (;;) {
        unsigned total = 0;
        int widest = 0;

        for (int c = 0; c < NCOLUMNS; c++) {
            total += t->width[c] + 2;
            if (columns[c].name && t->width[c] > t->width[widest])
                widest = c;
        }
        if (total <= most + 2 || t->width[widest] <= LEAST_NAME)
            return;
        t->width[widest]--;
    }
}

static void add_blanks(struct buf *b, unsigned n)
{
    while (n-- > 0)
        buf_add_char(b, ' ');
}

static void add_cell(struct buf *b, const char *text, unsigned room, bool right)
{
    size_t len = strlen(text), fits;
    unsigned width = text_width(text, len, room, &fits);
    bool cut = fits < len;

    if (cut)
        width = text_width(text, len, room - 1, &fits) + 1;
    if (right)
        add_blanks(b, room - width);
    buf_add(b, text, fits);
    if (cut)
        buf_add_str(b, "…");
    if (!right)
        add_blanks(b, room - width);
}

static void add_table(struct buf *b, const struct table *t)
{
    for (int i = 0; i < t->nrows; i++) {
        for (int c = 0; c < NCOLUMNS; c++) {
            add_cell(b, t->cells[i * NCOLUMNS + c], t->width[c], columns[c].right);
            buf_add_str(b, "  ");
        }
        while (b->data[b->len - 1] == ' ')
            b->len--;
        buf_add_char(b, '\n');
    }
}

/* Breaks text between words, with `indent` blanks before each further line. */
static void add_wrapped(struct buf *b, const char *text, unsigned indent, unsigned most)
{
    unsigned column = 0;
    size_t fits;

    while (*text) {
        size_t len = strcspn(text, " ");
        unsigned width = text_width(text, len, ~0u / 2, &fits);

        if (column > 0 && column + 1 + width > most) {
            buf_add_char(b, '\n');
            add_blanks(b, indent);
            column = indent;
        } else if (column > 0) {
            buf_add_char(b, ' ');
            column++;
        }
        buf_add(b, text, len);
        column += width;
        text += len;
        text += strspn(text, " ");
    }
    buf_add_char(b, '\n');
}

/* What is not the usual about a slot, in the words of the server's columns. */
static void add_kind(struct buf *b, const struct slot_watch *w, int i)
{
    static const char *const words[] = {"temporary", "two_phase", "failover", "synced"};
    const char *before = " (";

    for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
        if (!result_bool(w->rows, i, words[k]))
            continue;
        buf_printf(b, "%s%s", before, words[k]);
        before = ", ";
    }
    if (*before == ',')
        buf_add_char(b, ')');
}

/* "NAME (two_phase): why it does not move", and what to do; nothing where nothing is to be said. */
static void add_note(struct buf *b, const struct slot_watch *w, int i, unsigned most)
{
    enum { INDENT = 4 };
    const struct watched_slot *s = &w->slots[i];
    struct buf line;
    char *text;

    buf_init(&line, 256);
    buf_add_str(&line, s->name);
    add_kind(&line, w, i);
    if (s->reason)
        buf_printf(&line, ": %s", s->reason);
    buf_add_char(&line, '\0');
    if (strcmp(line.data, s->name) != 0) {
        text = printable_copy(line.data);
        add_wrapped(b, text, INDENT, most);
        free(text);
    }
    buf_release(&line);
    if (s->reason && s->remedy) {
        text = printable_copy(s->remedy);
        add_blanks(b, INDENT);
        add_wrapped(b, text, INDENT, most - INDENT);
        free(text);
    }
}

static void add_notes(struct buf *b, const struct slot_watch *w, unsigned most)
{
    size_t before = b->len;

    buf_add_char(b, '\n');
    for (int i = 0; i < w->count; i++)
        add_note(b, w, i, most);
    if (b->len == before + 1)
        b->len = before;
}

static void add_listing(struct buf *b, const struct slot_watch *w)
{
    struct winsize size;
    unsigned width = TERMINAL_WIDTH;
    struct table table;

    table_init(&table, w);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        if (size.ws_col >= TERMINAL_WIDTH / 2)
            width = size.ws_col;
        table_narrow(&table, width);
    }
    add_table(b, &table);
    add_notes(b, w, width);
    table_release(&table);
}

/* ---- */

static enum outcome write_out(const struct buf *b)
{
    struct output out;
    enum outcome outcome = output_open(&out, NULL);

    if (outcome == OUTCOME_OK) {
        buf_add_buf(output_buffer(&out), b);
        outcome = output_flush(&out);
    }
    while (outcome == OUTCOME_OK && output_pending(&out) > 0) {
        struct pollfd fds[2] = {{.fd = out.fd, .events = POLLOUT},
                                {.fd = signals_fd(), .events = POLLIN}};

        poll(fds, 2, -1);
        outcome = signals_stop() ? OUTCOME_STOPPED : output_flush(&out);
    }
    output_close(&out);
    return outcome;
}

/* -S names one that is not among the logical slots. */
static enum outcome not_listed(PGconn *sql, const char *name)
{
    struct slot slot;
    enum outcome outcome = slot_find(sql, name, &slot);

    if (outcome != OUTCOME_OK)
        return outcome;
    if (slot.exists)
        log_error("replication slot \"%s\" is a physical slot", name);
    else
        log_error("replication slot \"%s\" does not exist", name);
    return OUTCOME_MISUSED;
}

static enum outcome list(PGconn *sql, const struct options *o)
{
    struct slot_watch watch;
    enum outcome outcome = slot_watch(sql, o->slot, &watch);
    struct buf b;

    if (outcome == OUTCOME_OK && watch.count == 0 && o->slot)
        outcome = not_listed(sql, o->slot);
    if (outcome == OUTCOME_OK) {
        buf_init(&b, 4096);
        if (watch.count == 0)
            log_notice("there are no logical replication slots");
        if (o->format_given)
            add_records(&b, &watch, PQserverVersion(sql), o->format == FORMAT_CSV);
        else
            add_listing(&b, &watch);
        outcome = write_out(&b);
        buf_release(&b);
    }
    slot_watch_release(&watch);
    return outcome;
}

enum outcome list_slots_run(const struct options *o)
{
    struct connector *connector = connector_new(o);
    PGconn *sql = NULL;
    enum outcome outcome =
        connector ? connector_connect(connector, CONNECTION_SQL, &sql) : OUTCOME_MISUSED;

    if (outcome == OUTCOME_OK)
        outcome = list(sql, o);
    if (outcome == OUTCOME_STOPPED) {
        log_error("could not list the replication slots: interrupted");
        outcome = OUTCOME_FAILED;
    }
    PQfinish(sql);
    connector_free(connector);
    return outcome;
}
