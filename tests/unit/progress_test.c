/*
 * progress_test - what a snapshot says, byte for byte, and the status line of base/log under it; how
 * far behind a stream is said to be.
 *
 * Standard error goes to a file; for the width of a terminal it goes to a pseudo-terminal.  In
 * what is expected, a return is written < and the erasing of a line's rest >, so <> erases it.
 */
#include "snapshot/progress.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include "base/clock.h"
#include "base/log.h"
#include "capture/session.h"
#include "tests/unit/tap.h"

#define MSEC INT64_C(1000)
#define SEC USEC_PER_SEC

/* ---- what goes to standard error ---- */

static struct {
    int file;
    char text[16384]; /* see logged() */
} capture;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void capture_start(void)
{
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);

    if (!file || standard_error < 0)
        die("progress_test");
    capture.file = fileno(file);
    if (dup2(capture.file, STDERR_FILENO) < 0)
        die("progress_test");
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_report_fd((void *)(intptr_t)standard_error); /* reports are for people */
#endif
}

/* Into capture.text, in the notation of this test. */
static const char *readable(const char *bytes, size_t len)
{
    char *p = capture.text;

    for (size_t i = 0; i < len; i++) {
        if (len - i >= 3 && memcmp(bytes + i, "\033[K", 3) == 0) {
            *p++ = '>';
            i += 2;
        } else {
            *p++ = bytes[i];
            if (p[-1] == '\r')
                p[-1] = '<';
        }
    }
    *p = '\0';
    return capture.text;
}

/* What has been written since the last call. */
static const char *logged(void)
{
    char bytes[sizeof capture.text - 1];
    ssize_t len = pread(STDERR_FILENO, bytes, sizeof bytes, 0);

    if (len < 0 || ftruncate(STDERR_FILENO, 0) != 0 || lseek(STDERR_FILENO, 0, SEEK_SET) != 0)
        die("progress_test: standard error");
    return readable(bytes, (size_t)len);
}

/* ---- the status line ---- */

static void test_status(void)
{
    log_status("reading");
    is_str(logged(), "<reading>", "a status line");
    log_status("reading on");
    is_str(logged(), "<reading on>", "takes the place of the one before");
    log_notice("by the way");
    is_str(logged(), "<>cdcdump: by the way\n", "a message erases it");
    log_detail("And more.");
    log_notice("again");
    is_str(logged(), "DETAIL:  And more.\ncdcdump: again\n", "... once");
    log_status("reading");
    log_hint("Wait.");
    is_str(logged(), "<reading><>HINT:  Wait.\n", "it comes back, and a hint erases it, too");
    log_status(NULL);
    log_status("");
    is_str(logged(), "", "nothing erases nothing");
    log_status("reading");
    log_status(NULL);
    log_status(NULL);
    log_status("reading");
    log_status("");
    is_str(logged(), "<reading><><reading><>", "NULL and \"\" erase it");
    log_status("reading");
    log_verbose("not to be seen");
    is_str(logged(), "<reading>", "a message that is not printed leaves it");
    log_error("no");
    is_str(logged(), "<>cdcdump: error: no\n", "an error erases it");
}

static void test_status_quiet(void)
{
    log_set_level(LOG_QUIET);
    log_status("reading");
    log_status(NULL);
    is_str(logged(), "", "quiet: nothing");
    log_set_level(LOG_NORMAL);
    log_status("reading");
    logged();
    log_set_level(LOG_QUIET);
    log_notice("by the way");
    log_error("no");
    is_str(logged(), "<>cdcdump: error: no\n", "... but what stands is erased by an error");
    log_set_level(LOG_NORMAL);
}

static void test_status_controls(void)
{
    log_status("a\tb\nc\033[31md\177e\xc2\x9b" "f\xc2\xa0g");
    is_str(logged(), "<a?b?c?[31md?e?f\xc2\xa0g>", "control characters do not get through");
    log_status(NULL);
    logged();
}

/* ---- widths ---- */

static bool is_erased_behind(const char *bytes, size_t len)
{
    return len >= 3 && memcmp(bytes + len - 3, "\033[K", 3) == 0;
}

/* The status line on a terminal of so many columns; it may arrive in pieces. */
static const char *on_terminal(int terminal, unsigned short columns, const char *line)
{
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    char bytes[4096];
    size_t len = 0;
    struct pollfd p = {.fd = terminal, .events = POLLIN};

    if (ioctl(terminal, TIOCSWINSZ, &size) != 0)
        die("progress_test: TIOCSWINSZ");
    log_status(line);
    while (!is_erased_behind(bytes, len) && len < sizeof bytes && poll(&p, 1, 5000) > 0) {
        ssize_t n = read(terminal, bytes + len, sizeof bytes - len);

        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return readable(bytes, len);
}

/* Standard error becomes a terminal that passes bytes on as they are; returns its other end. */
static int open_terminal(void)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    struct termios mode;
    const char *name;
    int user_end;

    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        return -1;
    name = ptsname(terminal);
    user_end = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    if (user_end < 0 || tcgetattr(user_end, &mode) != 0)
        return -1;
    cfmakeraw(&mode);
    if (tcsetattr(user_end, TCSANOW, &mode) != 0 || dup2(user_end, STDERR_FILENO) < 0)
        return -1;
    close(user_end);
    return terminal;
}

static void test_width(void)
{
    static const char line[] = "0123456789";
    static const char greek[] = "αβγδε";
    int terminal = open_terminal();
    char wide[2001];

    if (terminal < 0) {
        ok(true, "# SKIP no pseudo-terminal");
        return;
    }
    is_str(on_terminal(terminal, 20, line), "<0123456789>", "a line shorter than the terminal");
    is_str(on_terminal(terminal, 11, line), "<0123456789>", "a line that just fits");
    is_str(on_terminal(terminal, 10, line), "<012345678>", "one column too many");
    is_str(on_terminal(terminal, 2, line), "<0>", "two columns");
    is_str(on_terminal(terminal, 6, "表é表表"), "<表é表>", "wide characters take two columns");
    is_str(on_terminal(terminal, 5, "表é表表"), "<表é>", "half of one is not shown");
    is_str(on_terminal(terminal, 1, line), "<>", "one column");
    is_str(on_terminal(terminal, 6, greek), "<αβγδε>", "characters count, not bytes");
    is_str(on_terminal(terminal, 5, greek), "<αβγδ>", "... and are not cut");
    is_str(on_terminal(terminal, 3, "€𝄞x"), "<€𝄞>", "... even long ones");
    is_str(on_terminal(terminal, 4, "\xce\xe2\x82\x80\x80\x80"), "<?\xe2\x82\x80?>",
           "bytes that are no characters count as one each, and are not shown");
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    ok(strlen(on_terminal(terminal, 0, wide)) == 2 + 79, "unknown width: 80");
    ok(strlen(on_terminal(terminal, 1000, wide)) == 2 + 999, "a wide terminal");
    dup2(capture.file, STDERR_FILENO);
    close(terminal);
    log_status(wide);
    ok(strlen(logged()) == 2 + 79, "no terminal: 80");
    log_status(NULL);
    logged();
}

/* ---- the line ---- */

static const char products[] = "public.products";

/* 305,000 rows/s; 412,000 of them are 41%. */
static struct progress_figures figures_at(usec_t elapsed)
{
    uint64_t rows = (uint64_t)(elapsed * 305 / 1000);

    return (struct progress_figures){
        .table = products, .rows = rows, .bytes = rows * 240, .share = (double)rows / 1004878};
}

static const char *shown(struct progress *p, const struct progress_figures *f, usec_t now)
{
    progress_show(p, f, now);
    return logged();
}

static void test_line(void)
{
    struct progress p;
    struct progress_figures f;
    usec_t now = 1000 * SEC;
    bool right = true;

    progress_init(&p, true, 0, now);
    ok(progress_due(&p) == now + 250 * MSEC, "the line is first due after a quarter of a second");
    f = figures_at(0);
    is_str(shown(&p, &f, now), "", "nothing before");
    for (int i = 1; i <= 5; i++) {
        now = progress_due(&p);
        f = figures_at(now - 1000 * SEC);
        right &= *shown(&p, &f, now - 1) == '\0' && *shown(&p, &f, now) == '<';
        right &= progress_due(&p) == now + 250 * MSEC;
    }
    ok(right, "four times a second");
    f = (struct progress_figures){products, 412000, 98880000, 0.41};
    is_str(shown(&p, &f, now + 250 * MSEC),
           "<snapshot: public.products  412,000 rows  275,000 rows/s  41%  3s left>",
           "everything is known");
    log_notice("by the way");
    logged();
    is_str(shown(&p, &f, now + 400 * MSEC), "", "after a message nothing before it is due");
    f.share = 0.29;
    is_str(shown(&p, &f, now + 500 * MSEC),
           "<snapshot: public.products  412,000 rows  235,000 rows/s  29%  5s left>",
           "... then it comes back");
}

static void test_unknown(void)
{
    struct progress p;
    struct progress_figures f = {.rows = 1, .share = -1};

    progress_init(&p, true, 0, 0);
    is_str(shown(&p, &f, 250 * MSEC), "<snapshot: 1 row  4 rows/s>", "no table, no share");
    f = (struct progress_figures){products, 1, 0, 0};
    is_str(shown(&p, &f, 500 * MSEC), "<snapshot: public.products  1 row  2 rows/s  0%>",
           "nothing done, so no time left");
    f.share = 1;
    is_str(shown(&p, &f, 750 * MSEC), "<snapshot: public.products  1 row  1 rows/s  100%>",
           "all done by estimate, so no time left");
    f.share = 17.5;
    is_str(shown(&p, &f, 1000 * MSEC), "<snapshot: public.products  1 row  1 rows/s  100%>",
           "more than all");
    f.share = 0.0 / 0.0;
    is_str(shown(&p, &f, 1250 * MSEC), "<snapshot: public.products  1 row  1 rows/s>",
           "a share that is no number");
    f.share = 1e-300;
    is_str(shown(&p, &f, 1500 * MSEC), "<snapshot: public.products  1 row  1 rows/s  0%>",
           "a time left beyond all reason");
    f.rows = 0;
    f.share = 0.5;
    is_str(shown(&p, &f, 1750 * MSEC), "<snapshot: public.products  0 rows  50%  2s left>",
           "rows that become fewer have no rate");
    is_str(shown(&p, &f, 2000 * MSEC),
           "<snapshot: public.products  0 rows  0 rows/s  50%  2s left>", "none is a rate");
}

/* The line of a snapshot that has done that share after so many seconds. */
static void time_left(double share, usec_t seconds, const char *expected)
{
    struct progress p;
    struct progress_figures f = {.share = share};

    progress_init(&p, true, 0, 5 * SEC);
    is_str(shown(&p, &f, (5 + seconds) * SEC), expected, expected);
}

static void test_time_left(void)
{
    time_left(0.999, 1, "<snapshot: 0 rows  0 rows/s  99%  1s left>");
    time_left(0.5, 59, "<snapshot: 0 rows  0 rows/s  50%  59s left>");
    time_left(0.5, 60, "<snapshot: 0 rows  0 rows/s  50%  1m00s left>");
    time_left(0.5, 125, "<snapshot: 0 rows  0 rows/s  50%  2m05s left>");
    time_left(0.5, 3599, "<snapshot: 0 rows  0 rows/s  50%  59m59s left>");
    time_left(0.5, 3600, "<snapshot: 0 rows  0 rows/s  50%  1h00m left>");
    time_left(0.5, 4320, "<snapshot: 0 rows  0 rows/s  50%  1h12m left>");
    time_left(0.5, 360000, "<snapshot: 0 rows  0 rows/s  50%  100h00m left>");
}

/* Of that many rows after one second. */
static void grouped(uint64_t rows, const char *expected)
{
    struct progress p;
    struct progress_figures f = {.rows = rows, .share = -1};

    progress_init(&p, true, 0, 0);
    is_str(shown(&p, &f, SEC), expected, expected);
}

static void test_grouping(void)
{
    grouped(0, "<snapshot: 0 rows  0 rows/s>");
    grouped(999, "<snapshot: 999 rows  999 rows/s>");
    grouped(1000, "<snapshot: 1,000 rows  1,000 rows/s>");
    grouped(1004, "<snapshot: 1,004 rows  1,000 rows/s>");
    grouped(1005, "<snapshot: 1,005 rows  1,010 rows/s>");
    grouped(99950, "<snapshot: 99,950 rows  100,000 rows/s>");
    grouped(123456, "<snapshot: 123,456 rows  123,000 rows/s>");
    grouped(1234567, "<snapshot: 1,234,567 rows  1,230,000 rows/s>");
    grouped(UINT64_MAX, "<snapshot: 18,446,744,073,709,551,615 rows>");
}

/* ---- rates ---- */

/* Fast for ten seconds, then slow: five seconds later nothing is left of the fast ones. */
static void test_window(void)
{
    struct progress p;
    struct progress_figures f = {.share = -1};
    usec_t now = 0;

    progress_init(&p, true, 0, now);
    for (; now < 10 * SEC; now += 50 * MSEC, f.rows += 50000)
        progress_show(&p, &f, now);
    logged();
    is_str(shown(&p, &f, now), "<snapshot: 10,000,000 rows  1,000,000 rows/s>", "ten fast seconds");
    for (; now < 12 * SEC + 500 * MSEC; now += 50 * MSEC, f.rows += 5000)
        progress_show(&p, &f, now);
    logged();
    is_str(shown(&p, &f, now), "<snapshot: 10,250,000 rows  550,000 rows/s>", "2.5 slow ones");
    for (; now < 15 * SEC; now += 50 * MSEC, f.rows += 5000)
        progress_show(&p, &f, now);
    logged();
    is_str(shown(&p, &f, now), "<snapshot: 10,500,000 rows  100,000 rows/s>", "2.5 more");
    is_str(shown(&p, &f, 100 * SEC), "<snapshot: 10,500,000 rows  0 rows/s>",
           "nothing for a long time");
}

/* The same with a message twenty times a second: the window is no shorter. */
static void test_window_of_stats(void)
{
    struct progress p;
    struct progress_figures f = {.share = -1};
    usec_t now = 0;

    progress_init(&p, false, 50 * MSEC, now);
    for (; now < 12 * SEC + 500 * MSEC; now += 50 * MSEC) {
        shown(&p, &f, now);
        f.rows += now < 10 * SEC ? 50000 : 5000;
    }
    is_str(shown(&p, &f, now),
           "cdcdump: snapshot: rows=10250000 rows_per_second=550000 bytes=0 bytes_per_second=0\n",
           "messages more often than the line");
}

/* ---- clocks ---- */

static void test_clocks(void)
{
    struct progress p;
    struct progress_figures f = {.rows = 100, .bytes = 100, .share = 0.5};

    progress_init(&p, true, 10 * SEC, 1000 * SEC);
    is_str(shown(&p, &f, 900 * SEC), "", "the clock goes back: nothing is due");
    ok(progress_due(&p) == 900 * SEC + 250 * MSEC, "... for no longer than usual");
    is_str(shown(&p, &f, 900 * SEC + 250 * MSEC), "<snapshot: 100 rows  50%>",
           "... and then nothing is known of rates");
    f.rows = 200;
    is_str(shown(&p, &f, 900 * SEC + 500 * MSEC), "<snapshot: 200 rows  400 rows/s  50%>",
           "... but soon again");
    shown(&p, &f, 5000 * SEC);
    ok(progress_due(&p) == 5000 * SEC + 250 * MSEC, "after a leap forward once, not many times");
    is_str(shown(&p, &f, 5000 * SEC), "", "no time at all: nothing");
    progress_init(&p, false, 1, 0);
    is_str(shown(&p, &f, 0), "", "the shortest interval");
    progress_init(&p, true, 0, 0);
    p.next_line = 0;
    is_str(shown(&p, &f, 0), "<snapshot: 200 rows  50%>", "no time has passed: no rates");
    log_status(NULL);
    logged();
}

/* ---- messages ---- */

static void test_stats(void)
{
    struct progress p;
    struct progress_figures f = {products, 412000, 98880000, 0.41};

    progress_init(&p, false, 2 * SEC, 0);
    ok(progress_due(&p) == 2 * SEC, "the first message is due after an interval");
    is_str(shown(&p, &f, 2 * SEC - 1), "", "nothing before");
    is_str(shown(&p, &f, 2 * SEC),
           "cdcdump: snapshot: table=public.products rows=412000 rows_per_second=206000 "
           "bytes=98880000 bytes_per_second=49440000 share=0.41 seconds_left=3\n",
           "everything is known");
    ok(progress_due(&p) == 4 * SEC, "the next one");
    f = (struct progress_figures){.rows = 412001, .share = -1};
    f.bytes = 98880001;
    is_str(shown(&p, &f, 5 * SEC),
           "cdcdump: snapshot: rows=412001 rows_per_second=82400 bytes=98880001 "
           "bytes_per_second=19776000\n",
           "no table, no share");
    ok(progress_due(&p) == 6 * SEC, "a late one does not shift the others");
    f.share = 1;
    is_str(shown(&p, &f, 60 * SEC),
           "cdcdump: snapshot: rows=412001 rows_per_second=0 bytes=98880001 bytes_per_second=0 "
           "share=1.00\n",
           "all done");
    f.share = 0.07;
    f.rows = 0;
    is_str(shown(&p, &f, 100 * SEC),
           "cdcdump: snapshot: rows=0 bytes=98880001 share=0.07 seconds_left=1329\n",
           "rates that are not known");
}

static void test_both(void)
{
    struct progress p;
    struct progress_figures f = {products, 1000, 2000, -1};

    progress_init(&p, true, SEC, 0);
    ok(progress_due(&p) == 250 * MSEC, "the earlier one is due");
    shown(&p, &f, 750 * MSEC);
    is_str(shown(&p, &f, SEC),
           "<>cdcdump: snapshot: table=public.products rows=1000 rows_per_second=1000 bytes=2000 "
           "bytes_per_second=2000\n"
           "<snapshot: public.products  1,000 rows  1,000 rows/s>",
           "a message and at once the line again");
    p.next_stats = SEC + 100 * MSEC;
    ok(progress_due(&p) == SEC + 100 * MSEC, "a message may be due earlier");
    ok(strchr(shown(&p, &f, SEC + 100 * MSEC), '\n') && strstr(capture.text, "\n<snapshot: "),
       "... and brings the line along, too");
    log_status(NULL);
    logged();
}

static void test_neither(void)
{
    struct progress p;
    struct progress_figures f = {products, 1000, 2000, -1};

    progress_init(&p, false, 0, 0);
    ok(progress_due(&p) == INT64_MAX, "never due");
    is_str(shown(&p, &f, 1000 * SEC), "", "nothing is shown");
}

/* ---- the end ---- */

static void ends(uint64_t rows, unsigned tables, usec_t elapsed, const char *expected)
{
    struct progress p;
    struct progress_figures f = {.rows = rows, .share = 1};
    char *line = xasprintf("cdcdump: %s\n", expected);

    progress_init(&p, true, SEC, 7 * SEC);
    progress_end(&p, &f, tables, 7 * SEC + elapsed);
    ok(strcmp(logged(), line) == 0, "%s", expected);
    free(line);
    ok(progress_due(&p) == INT64_MAX, "... and nothing is due any more");
}

static void test_end(void)
{
    struct progress p;
    struct progress_figures f = {products, 100, 0, -1};

    ends(1003221, 3, 2199 * MSEC, "read 1,003,221 rows of 3 tables in 2.1 seconds");
    ends(1, 1, 0, "read 1 row of 1 table in 0.0 seconds");
    ends(0, 0, -100 * SEC, "read 0 rows of 0 tables in 0.0 seconds");
    ends(0, 1000, 60 * SEC - 1, "read 0 rows of 1,000 tables in 59.9 seconds");
    ends(2, 1, 125 * SEC, "read 2 rows of 1 table in 2m05s");
    ends(2, 1, 4320 * SEC, "read 2 rows of 1 table in 1h12m");
    progress_init(&p, true, 0, 0);
    shown(&p, &f, SEC);
    progress_end(&p, &f, 1, SEC);
    is_str(logged(), "<>cdcdump: read 100 rows of 1 table in 1.0 seconds\n", "the line is erased");
    is_str(shown(&p, &f, 100 * SEC), "", "... for good");
}

/* ---- the stream's figures ---- */

static struct options options;
static struct session session;
static struct meter *const meter = &session.meter;

/* A capture that has given and acknowledged a transaction of that age; nothing is behind. */
static void begin_stream(usec_t age)
{
    struct position *emitted = &session.delivery.emitted;

    memset(&session, 0, sizeof session);
    session.o = &options;
    meter_begin(meter, &session);
    *emitted = (struct position){.lsn = 0x1000, .xid = 7, .commit_time = clock_now() - age};
    session.delivery.recorded = *emitted;
    session.pipeline.last_change = clock_ticks() - age;
    meter->received = meter->wal_end = 0x1000;
}

/* A transaction that is given now; a keepalive has no transaction of its own. */
static void give(lsn_t lsn, uint32_t xid, usec_t age)
{
    struct delivery *d = &session.delivery;

    d->emitted.lsn = meter->received = meter->wal_end = lsn;
    if (xid) {
        d->emitted.xid = xid;
        d->emitted.commit_time = age < 0 ? 0 : clock_now() - age;
    }
    ledger_add(&d->ledger, lsn, lsn, &d->emitted);
}

/* The part of the message on SIGUSR1 that begins so, up to the next one. */
static const char *report_of(const char *part)
{
    char *found, *end;

    meter_report(meter, &session);
    logged();
    found = strstr(capture.text, part);
    if (!found)
        return "";
    end = strpbrk(found + 2, ";\n");
    if (end)
        *end = '\0';
    return found;
}

static void is_lag(const char *expected, const char *name)
{
    is_str(report_of("; lag"), expected, name);
}

static void test_lag(void)
{
    begin_stream(24 * 3600 * SEC);
    is_lag("; lag at least 0 B, 0.0 s", "nothing is behind, however old it is");
    give(0x1200, 0, 0);
    is_lag("; lag at least 512 B, 0.0 s", "a keepalive is bytes, and no time");
    give(0x1c00, 8, 3600 * SEC + MSEC);
    give(0x2000, 9, 0);
    is_lag("; lag at least 4.0 kB, 1h00m", "the oldest that is not acknowledged counts");
    session.delivery.ledger.count = 0; /* accepted, and not on record yet: --ack-mode=deferred */
    is_lag("; lag at least 4.0 kB, 1h00m", "... also when the ledger has let go of it");
    session.delivery.recorded = session.delivery.emitted;
    is_lag("; lag at least 0 B, 0.0 s", "... until it is");
    begin_stream(0);
    give(0x1400, 8, -1);
    is_lag("; lag at least 1.0 kB", "a plugin that does not tell when transactions commit");
}

static void test_lag_unread(void)
{
    begin_stream(3600 * SEC + MSEC);
    session.pipeline.last_change = clock_ticks();
    meter->wal_end = 0x1000 + (lsn_t)3 * 1024 * 1024 * 1024;
    meter->asked = true;
    is_lag("; lag 3.0 GB, 1h00m", "catching up: as old as what was read last");
    begin_stream(24 * 3600 * SEC);
    meter->wal_end = 0x1000 + 150000;
    meter->unread_since = clock_ticks() - 120 * SEC - MSEC;
    meter->asked = true;
    is_lag("; lag 146 kB, 2m00s", "nothing to read for a day, then something for two minutes");
    meter->wal_end_at = clock_ticks() - 300 * SEC;
    is_lag("; lag 146 kB, 2m00s (5m00s ago)", "... and since when that is known");
    meter->received = 0x1000 + 150000;
    session.delivery.recorded.lsn = session.delivery.emitted.lsn = meter->received;
    is_lag("; lag 0 B, 0.0 s (5m00s ago)", "... until it is read");
}

static void is_counts(const char *expected, const char *name)
{
    char *end;

    meter_report(meter, &session);
    logged();
    end = strchr(capture.text, ';');
    if (end)
        *end = '\0';
    is_str(capture.text, expected, name);
}

static void test_counts(void)
{
    begin_stream(0);
    session.delivery.output.offset = 500;
    meter_connected(meter, &session, clock_ticks());
    is_counts("cdcdump: 0 records, 0 bytes", "what the file had before is not counted");
    session.pipeline.records = 10;
    session.delivery.output.offset = 1500;
    is_counts("cdcdump: 10 records, 1000 bytes", "records and bytes");
    session.delivery.output.offset = 1200;
    is_counts("cdcdump: 10 records, 1000 bytes", "a file that is cut back");
    session.delivery.output.offset = 1300;
    session.pipeline.records = 3;
    is_counts("cdcdump: 13 records, 1100 bytes", "a pipeline that begins anew");
    session.delivery.output.offset = 1400;
    meter_output_ends(meter, &session);
    session.delivery.output.offset = 0;
    meter_output_begins(meter, &session);
    session.delivery.output.offset = 70;
    is_counts("cdcdump: 13 records, 1270 bytes", "a file that is opened anew");
    session.delivery.output.offset = 80;
    meter_connected(meter, &session, clock_ticks());
    is_counts("cdcdump: 13 records, 1280 bytes", "another connection");
    ok(strstr(report_of("; running"), ", 1 reconnect") != NULL, "... which is counted");
    meter_end(meter, &session, OUTCOME_OK);
}

/* Without meter_begin(), as for those who run a loop and tell nothing. */
static void test_no_meter(void)
{
    memset(&session, 0, sizeof session);
    session.o = &options;
    ok(meter_due(meter, &session) == INT64_MAX, "a meter that was not begun is never due");
    meter_connected(meter, &session, clock_ticks());
    meter_tend(meter, &session, clock_ticks());
    is_str(logged(), "", "... tells nothing");
    is_str(report_of("cdcdump:"), "cdcdump: 0 records, 0 bytes", "... and answers");
}

int main(void)
{
    capture_start();
    test_status();
    test_status_quiet();
    test_status_controls();
    test_width();
    test_line();
    test_unknown();
    test_time_left();
    test_grouping();
    test_window();
    test_window_of_stats();
    test_clocks();
    test_stats();
    test_both();
    test_neither();
    test_end();
    test_lag();
    test_lag_unread();
    test_counts();
    test_no_meter();
    return tap_done();
}
