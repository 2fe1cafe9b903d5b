#include "snapshot/progress.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    LINE_USEC = 250000,    /* the line is redrawn that often */
    WINDOW_USEC = 5000000, /* rates are those of the last so many microseconds */
    LONGEST_SEC = 3600000, /* 1,000 hours: a longer time left is no knowledge */
};

/* The ring holds the window: samples are at least LINE_USEC apart. */
_Static_assert(PROGRESS_SAMPLES > WINDOW_USEC / LINE_USEC + 2, "too few samples for the window");

/* What can be said now; negative = unknown. */
struct outlook {
    struct progress_rates per_second;
    int percent;
    int64_t seconds_left;
};

/* ---- rates ---- */

static struct progress_sample *newest(struct progress *p)
{
    return &p->samples[(p->oldest + p->count - 1) % PROGRESS_SAMPLES];
}

/* Nothing that was measured before means anything any more. */
static void restart_samples(struct progress *p, struct progress_sample sample)
{
    p->oldest = 0;
    p->count = 1;
    p->samples[0] = sample;
}

/* Keeps the newest one whatever its age, for there must be something to compare with. */
static void drop_old_samples(struct progress *p, usec_t now)
{
    while (p->count > 1 && now - p->samples[p->oldest].at > WINDOW_USEC) {
        p->oldest = (p->oldest + 1) % PROGRESS_SAMPLES;
        p->count--;
    }
}

static void add_sample(struct progress *p, struct progress_sample sample)
{
    if (sample.at - newest(p)->at < LINE_USEC)
        return;
    if (p->count == PROGRESS_SAMPLES) {
        p->oldest = (p->oldest + 1) % PROGRESS_SAMPLES;
        p->count--;
    }
    p->count++;
    *newest(p) = sample;
}

/* Per second; in floating point, for the product may be too long for an integer. */
static int64_t rate(uint64_t before, uint64_t after, usec_t elapsed)
{
    double r;

    if (elapsed <= 0)
        return -1;
    r = (double)(after - before) * (double)USEC_PER_SEC / (double)elapsed;
    return r < 1e18 ? (int64_t)(r + 0.5) : -1;
}

/* No sample that is kept is later or more than the figures are. */
struct progress_rates progress_rates(struct progress *p, uint64_t count, uint64_t bytes,
                                     usec_t now)
{
    struct progress_sample current = {.at = now, .count = count, .bytes = bytes};
    const struct progress_sample *base;
    struct progress_rates rates;

    if (p->count == 0 || now < newest(p)->at || count < newest(p)->count ||
        bytes < newest(p)->bytes)
        restart_samples(p, current);
    drop_old_samples(p, now);
    base = &p->samples[p->oldest];
    rates = (struct progress_rates){
        .count = rate(base->count, count, now - base->at),
        .bytes = rate(base->bytes, bytes, now - base->at),
    };
    add_sample(p, current);
    return rates;
}

/* ---- outlook ---- */

static int percent_done(double share)
{
    if (!(share >= 0)) /* neither is it a number, perhaps */
        return -1;
    return share >= 1 ? 100 : (int)(share * 100 + 1e-9); /* 0.29 * 100 is a little less than 29 */
}

/* Rounded up: there are not "0s left" before the end, which an estimated share may claim early. */
static int64_t seconds_left(double share, usec_t elapsed)
{
    double seconds;

    if (!(share > 0 && share < 1) || elapsed <= 0)
        return -1;
    seconds = (double)elapsed / (double)USEC_PER_SEC * (1 - share) / share;
    if (!(seconds < LONGEST_SEC))
        return -1;
    return (int64_t)seconds + (seconds > (double)(int64_t)seconds);
}

static struct outlook look(struct progress *p, const struct progress_figures *f, usec_t now)
{
    return (struct outlook){
        .per_second = progress_rates(p, f->rows, f->bytes, now),
        .percent = percent_done(f->share),
        .seconds_left = seconds_left(f->share, now - p->started),
    };
}

/* ---- for people ---- */

void progress_add_grouped(struct buf *b, uint64_t n)
{
    char digits[20];
    size_t count = (size_t)(put_u64(digits, n) - digits);

    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            buf_add_char(b, ',');
        buf_add_char(b, digits[i]);
    }
}

static void put_count(struct buf *b, uint64_t n, const char *noun)
{
    progress_add_grouped(b, n);
    buf_printf(b, " %s%s", noun, n == 1 ? "" : "s");
}

void progress_add_rounded(struct buf *b, uint64_t n)
{
    uint64_t unit = 1;

    while (n / unit >= 1000)
        unit *= 10;
    progress_add_grouped(b, (n + unit / 2) / unit * unit);
}

void progress_add_duration(struct buf *b, int64_t seconds)
{
    if (seconds < 60)
        buf_printf(b, "%" PRId64 "s", seconds);
    else if (seconds < 3600)
        buf_printf(b, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
    else
        buf_printf(b, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
}

static void show_line(const struct progress_figures *f, const struct outlook *o)
{
    struct buf b;

    buf_init(&b, 256);
    buf_add_str(&b, "snapshot: ");
    if (f->table)
        buf_printf(&b, "%s  ", f->table);
    put_count(&b, f->rows, "row");
    if (o->per_second.count >= 0) {
        buf_add_str(&b, "  ");
        progress_add_rounded(&b, (uint64_t)o->per_second.count);
        buf_add_str(&b, " rows/s");
    }
    if (o->percent >= 0)
        buf_printf(&b, "  %d%%", o->percent);
    if (o->seconds_left >= 0) {
        buf_add_str(&b, "  ");
        progress_add_duration(&b, o->seconds_left);
        buf_add_str(&b, " left");
    }
    buf_add_char(&b, '\0');
    log_status(b.data);
    buf_release(&b);
}

/* ---- for programs ---- */

static void add_if_known(struct log_figures *f, const char *name, int64_t n)
{
    if (n >= 0)
        log_figure_u64(f, name, (uint64_t)n);
}

static void show_stats(const struct progress_figures *f, const struct outlook *o)
{
    struct log_figures said;
    char share[16];

    log_figures_init(&said);
    if (f->table)
        log_figure_text(&said, "table", f->table);
    log_figure_u64(&said, "rows", f->rows);
    add_if_known(&said, "rows_per_second", o->per_second.count);
    log_figure_u64(&said, "bytes", f->bytes);
    add_if_known(&said, "bytes_per_second", o->per_second.bytes);
    /* not %.2f, whose point depends on the locale */
    snprintf(share, sizeof share, "%d.%02d", o->percent / 100, o->percent % 100);
    if (o->percent >= 0)
        log_figure(&said, "share", share);
    add_if_known(&said, "seconds_left", o->seconds_left);
    log_notice_figures(&said, "snapshot:%s", said.text.data);
    log_figures_release(&said);
}

/* ---- when ---- */

void progress_init(struct progress *p, bool line, usec_t every, usec_t now)
{
    *p = (struct progress){
        .line = line,
        .every = every,
        .started = now,
        .next_line = now + LINE_USEC,
        .next_stats = now + every,
    };
    restart_samples(p, (struct progress_sample){.at = now});
}

void progress_restart(struct progress *p, uint64_t count, uint64_t bytes, usec_t now)
{
    restart_samples(p, (struct progress_sample){.at = now, .count = count, .bytes = bytes});
}

usec_t progress_due(const struct progress *p)
{
    usec_t line = p->line ? p->next_line : INT64_MAX;
    usec_t stats = p->every > 0 ? p->next_stats : INT64_MAX;

    return line < stats ? line : stats;
}

/* Whether *next has come; moves it on, along its own grid if that is still ahead. */
static bool is_due(usec_t *next, usec_t every, usec_t now)
{
    bool due = now >= *next;

    if (due)
        *next += every;
    if (*next <= now || *next - now > every) /* late by more than an interval; set back */
        *next = now + every;
    return due;
}

struct progress_dues progress_take_dues(struct progress *p, usec_t now)
{
    bool line = p->line && is_due(&p->next_line, LINE_USEC, now);
    bool stats = p->every > 0 && is_due(&p->next_stats, p->every, now);

    return (struct progress_dues){.line = p->line && (line || stats), .stats = stats};
}

void progress_show(struct progress *p, const struct progress_figures *f, usec_t now)
{
    struct progress_dues dues = progress_take_dues(p, now);
    struct outlook o;

    if (!dues.line && !dues.stats)
        return;
    o = look(p, f, now);
    if (dues.stats)
        show_stats(f, &o);
    if (dues.line)
        show_line(f, &o);
}

void progress_end(struct progress *p, const struct progress_figures *f, unsigned tables, usec_t now)
{
    usec_t elapsed = now > p->started ? now - p->started : 0;
    struct buf b;

    buf_init(&b, 128);
    buf_add_str(&b, "read ");
    put_count(&b, f->rows, "row");
    buf_add_str(&b, " of ");
    put_count(&b, tables, "table");
    buf_add_str(&b, " in ");
    if (elapsed < 60 * USEC_PER_SEC)
        buf_printf(&b, "%d.%d seconds", (int)(elapsed / USEC_PER_SEC),
                   (int)(elapsed % USEC_PER_SEC / (USEC_PER_SEC / 10)));
    else
        progress_add_duration(&b, elapsed / USEC_PER_SEC);
    log_notice("%.*s", (int)b.len, b.data); /* which erases the line */
    buf_release(&b);
    p->line = false;
    p->every = 0;
}
