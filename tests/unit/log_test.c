/*
 * log_test - messages as JSON, byte for byte but for their time, and what becomes of them at ends.
 *
 * Text, and the status line, are progress_test's.
 */
#include "base/log.h"

#include <sys/wait.h>

#include "tests/unit/capture.h"

/* What has been printed since the last call, every time stamp being replaced by T. */
static const char *printed(void)
{
    static const char key[] = "{\"ts\":\"";
    enum { STAMP = sizeof "2026-01-02T03:04:05.678901Z" - 1 };
    char *p, *to;

    logged();
    p = to = capture.text;
    while (*p) {
        bool stamp = strncmp(p, key, sizeof key - 1) == 0 && strlen(p) >= sizeof key - 1 + STAMP;

        *to++ = *p++;
        if (!stamp)
            continue;
        memmove(to, p, sizeof key - 2);
        to += sizeof key - 2;
        *to++ = 'T';
        p += sizeof key - 2 + STAMP;
    }
    *to = '\0';
    return capture.text;
}

static void is_printed(const char *expected, const char *name)
{
    if (!ok(strcmp(printed(), expected) == 0, "%s", name))
        tap_note("got: %sexpected: %s", capture.text, expected);
    log_forget();
}

#define LINE(level, rest) "{\"ts\":\"T\",\"level\":\"" level "\",\"message\":" rest "}\n"

static void test_members(void)
{
    log_error("a \"%s\"", "name");
    is_printed("", "a message is held back");
    log_detail("More.");
    log_hint("Try %d.", 1);
    log_sqlstate("42501");
    log_flush();
    is_printed(LINE("error", "\"a \\\"name\\\"\",\"detail\":\"More.\",\"hint\":\"Try 1.\","
                             "\"sqlstate\":\"42501\""),
               "all members");
    log_flush();
    is_printed("", "printed once");
    log_warning("one");
    log_hint("h");
    log_detail("d 1");
    log_detail("d 2\nd 3");
    log_notice("two");
    is_printed(LINE("warning", "\"one\",\"detail\":\"d 1\\nd 2\\nd 3\",\"hint\":\"h\""),
               "the next message prints it; several details are lines of one");
    log_flush();
    is_printed(LINE("info", "\"two\""), "nothing is left for the next");
    log_error("of the past");
    log_flush();
    log_hint("Late.");
    log_detail("Later.");
    log_flush();
    is_printed(LINE("error", "\"of the past\"")
                   LINE("info", "\"of the past\",\"detail\":\"Later.\",\"hint\":\"Late.\""),
               "what comes late does not make it two errors");
}

static void test_levels(void)
{
    log_verbose("not");
    log_detail("Nor this.");
    log_flush();
    is_printed("", "debug is for -v");
    log_set_level(LOG_VERBOSE);
    log_verbose("yes");
    log_detail("And this.");
    log_flush();
    is_printed(LINE("debug", "\"yes\",\"detail\":\"And this.\""), "... which has it");
    log_set_level(LOG_QUIET);
    log_error("e");
    log_warning("w");
    log_hint("H.");
    log_notice("n");
    log_sqlstate("42501");
    log_flush();
    is_printed(LINE("error", "\"e\""), "-q: errors alone, and nothing of others sticks to them");
    log_set_level(LOG_NORMAL);
    log_status("a line");
    is_printed("", "no status line");
}

static void test_sqlstate(void)
{
    static const char *const refused[] = {"", "4250", "425012", "42\"01", "42 01"};

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        log_error("x");
        log_sqlstate(refused[i]);
        log_flush();
        if (strlen(refused[i]) == 4)
            is_printed(LINE("error", "\"x\",\"sqlstate\":\"4250\""), "a code of another length");
        else
            is_printed(LINE("error", "\"x\""), "no code");
    }
}

static void escaped(const char *text, const char *expected)
{
    struct buf line;

    buf_init(&line, 256);
    buf_printf(&line, LINE("info", "\"%s\""), expected);
    buf_add_char(&line, '\0');
    log_notice("%s", text);
    log_flush();
    is_printed(line.data, expected);
    buf_release(&line);
}

#define BAD "\xef\xbf\xbd"

static void test_escapes(void)
{
    escaped("\"\\/", "\\\"\\\\/");
    escaped("a\nb\tc\rd\x1b[Ke\x7f", "a\\nb\\u0009c\\u000dd\\u001b[Ke\\u007f");
    escaped("\xc2\x80\xc2\x9f\xc2\xa0", "\\u0080\\u009f\xc2\xa0");
    escaped("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    escaped("\xff\x80x", BAD BAD "x");
    escaped("\xc0\x80", BAD BAD);
    escaped("\xc1\xbf", BAD BAD);
    escaped("\xe0\x9f\xbf", BAD BAD BAD);
    escaped("\xe0\xa0\x80", "\xe0\xa0\x80");
    escaped("\xed\x9f\xbf", "\xed\x9f\xbf");
    escaped("\xed\xa0\x80", BAD BAD BAD);
    escaped("\xf0\x8f\xbf\xbf", BAD BAD BAD BAD);
    escaped("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
    escaped("\xf4\x90\x80\x80", BAD BAD BAD BAD);
    escaped("\xf5\x80\x80\x80", BAD BAD BAD BAD);
    escaped("a\xe2\x82", "a" BAD BAD);
    escaped("\xe2\x82"
            "a",
            BAD BAD "a");
    escaped("\xc3", BAD);
    escaped("\xf0\x9f\x98", BAD BAD BAD);
    escaped("", "");
    escaped("line\n\n", "line");
}

/* Longer than any message may be: cut, in the middle of a character, and still a line of JSON. */
static void test_long(void)
{
    char text[20001];
    const char *line;

    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    log_notice("%s", text);
    log_flush();
    line = printed();
    ok(strlen(line) > 8000 && strcmp(line + strlen(line) - 3, "\"}\n") == 0 &&
           strchr(line, '\n') == line + strlen(line) - 1,
       "a long message is cut");
    ok(strstr(line, BAD) != NULL, "... and what is cut in two replaced");
    log_forget();
}

static void test_figures(void)
{
    struct log_figures f;

    log_figures_init(&f);
    log_notice_figures(&f, "none:%s", f.text.data);
    log_figure_u64(&f, "n", UINT64_MAX);
    log_figure(&f, "share", "0.41");
    log_figure_text(&f, "table", "public.\"a b\"");
    log_notice_figures(&f, "some:%s", f.text.data);
    log_flush();
    is_printed(LINE("info", "\"none:\",\"stats\":{}")
                   LINE("info", "\"some: n=18446744073709551615 share=0.41 "
                                "table=public.\\\"a b\\\"\","
                                "\"stats\":{\"n\":18446744073709551615,\"share\":0.41,"
                                "\"table\":\"public.\\\"a b\\\"\"}"),
               "figures are in the message, and members");
    log_set_level(LOG_QUIET);
    log_error("e");
    log_notice("not");
    log_notice_figures(&f, "asked:");
    log_notice("not");
    log_flush();
    log_set_level(LOG_NORMAL);
    is_printed(LINE("error", "\"e\"")
                   LINE("info", "\"asked:\",\"stats\":{\"n\":18446744073709551615,\"share\":0.41,"
                                "\"table\":\"public.\\\"a b\\\"\"}"),
               "figures that were asked for are printed by a quiet log, too");
    log_figures_release(&f);
}

static void test_kept(void)
{
    struct buf b;

    buf_init(&b, 64);
    log_keep_errors(&b);
    log_error("could not: first\nline");
    log_sqlstate("22003");
    log_detail("D.");
    log_hint("H.");
    log_warning("meanwhile");
    log_keep_errors(NULL);
    log_flush();
    is_printed(LINE("warning", "\"meanwhile\""), "errors that are kept are not printed");
    is_text(b.data, b.len, "could not: first\nline\nDETAIL:  D.\nHINT:  H.\n",
            "... but there as text");
    log_kept_errors(&b);
    log_flush();
    is_printed(LINE("error", "\"could not: first\\nline\",\"detail\":\"D.\",\"hint\":\"H.\""),
               "printed after all: with its parts");
    b.len = 0;
    log_kept_errors(&b);
    log_flush();
    is_printed(LINE("error", "\"\""), "nothing was kept");
    buf_release(&b);
}

/* The same with text. */
static void test_kept_text(void)
{
    struct buf b;

    buf_init(&b, 64);
    buf_add_str(&b, "could not: x\nDETAIL:  D.\nmore\nHINT:  H.\n");
    log_set_format(LOG_TEXT);
    log_kept_errors(&b);
    is_printed("cdcdump: error: could not: x\nDETAIL:  D.\nmore\nHINT:  H.\n", "as text");
    log_status("a line");
    log_kept_errors(&b);
    ok(strstr(printed(), "\r\033[Kcdcdump: error: could not: x\n") != NULL,
       "... the line is erased");
    log_forget();
    log_set_format(LOG_JSON);
    buf_release(&b);
}

/* A process that ends so, with a message held back. */
static void ends(void (*end)(void), const char *expected, const char *name)
{
    pid_t pid;
    int status;

    log_flush();
    log_forget();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        log_error("last");
        log_hint("Word.");
        end();
    }
    waitpid(pid, &status, 0);
    is_printed(expected, name);
}

static void by_exit(void)
{
    fclose(stdout); /* what the parent has to say is the parent's */
    exit(0);
}

static void test_ends(void)
{
    ends(by_exit, LINE("error", "\"last\",\"hint\":\"Word.\""), "exit() prints what is held back");
    ends(log_out_of_memory,
         LINE("error", "\"last\",\"hint\":\"Word.\"") LINE("error", "\"out of memory\""),
         "out of memory");
    log_error("before");
    log_set_format(LOG_TEXT);
    log_error("after");
    is_printed(LINE("error", "\"before\"") "cdcdump: error: after\n", "another format");
}

int main(void)
{
    capture_start();
    log_set_format(LOG_JSON);
    test_members();
    test_levels();
    test_sqlstate();
    test_escapes();
    test_long();
    test_figures();
    test_kept();
    test_kept_text();
    test_ends();
    capture_end();
    return tap_done();
}
