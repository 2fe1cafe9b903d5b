#include "cli/parsed.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lsn.h"
#include "cli/config.h"
#include "cli/help.h"
#include "cli/option_table.h"

/* ---- values ---- */

static void list_choices(const struct choice *choices, char *text, size_t size)
{
    size_t len = 0;

    text[0] = '\0';
    for (; choices->name && len < size; choices++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "", choices->name);
}

static bool set_choice(const struct option_row *row, int *to, const char *arg)
{
    char allowed[512];

    for (const struct choice *c = row->choices; c->name; c++) {
        if (strcmp(c->name, arg) == 0) {
            *to = c->value;
            return true;
        }
    }
    list_choices(row->choices, allowed, sizeof allowed);
    log_error("invalid %s \"%s\": must be one of %s", row->what, arg, allowed);
    return false;
}

static bool set_count(const struct option_row *row, uint64_t *to, const char *arg)
{
    char *end;

    errno = 0;
    *to = strtoull(arg, &end, 10);
    if (isdigit((unsigned char)*arg) && *end == '\0' && errno == 0)
        return true;
    log_error("invalid %s \"%s\": must be a whole number from 0 on", row->what, arg);
    return false;
}

static bool set_seconds(const struct option_row *row, usec_t *to, const char *arg)
{
    char *end;
    double seconds;

    errno = 0;
    seconds = strtod(arg, &end);
    if ((isdigit((unsigned char)*arg) || *arg == '.') && end != arg && *end == '\0' &&
        errno == 0 && seconds > 0 && seconds <= 1e9) {
        *to = (usec_t)(seconds * (double)USEC_PER_SEC);
        if (*to > 0)
            return true;
    }
    log_error("invalid %s \"%s\": must be a number of seconds greater than 0", row->what, arg);
    return false;
}

static bool set_lsn(const struct option_row *row, lsn_t *to, const char *arg)
{
    if (lsn_parse(arg, to) && *to != 0)
        return true;
    log_error("invalid %s \"%s\": must be an LSN such as 16/B374D848", row->what, arg);
    return false;
}

/* A value with a slash between hexadecimal digits was meant as an LSN, else it is a time. */
static bool set_until(struct until *to, const char *arg)
{
    *to = (struct until){0};
    if (strcmp(arg, "now") == 0) {
        to->now = true;
        return true;
    }
    if (lsn_parse(arg, &to->lsn)) {
        if (to->lsn != 0)
            return true;
    } else if (*arg != '\0') {
        to->timestamp = arg;
        return true;
    }
    log_error("invalid end \"%s\": must be an LSN, \"now\" or a timestamp", arg);
    return false;
}

static bool set_ops(unsigned *to, const char *arg)
{
    static const char letters[] = "cudtm";

    if (strcmp(arg, "none") == 0) {
        *to = 0;
        return true;
    }
    for (const char *p = arg; *p; p++) {
        const char *found = strchr(letters, *p);

        if (!found) {
            log_error("invalid operation \"%c\" in \"%s\": must be letters of %s", *p, arg, letters);
            log_detail("These are c (insert), u (update), d (delete), t (truncate) and m (message).");
            return false;
        }
        *to |= 1u << (found - letters);
    }
    return true;
}

void string_list_add(struct string_list *list, const char *item)
{
    list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
    if (!list->items)
        log_out_of_memory();
    list->items[list->count++] = item;
}

static bool set_value(const struct option_row *row, struct parsed *p, const char *arg)
{
    void *to = (char *)p + row->offset;

    switch (row->kind) {
    case KIND_FLAG:
        *(bool *)to = true;
        return true;
    case KIND_STRING:
        *(const char **)to = arg;
        return true;
    case KIND_LIST:
        string_list_add(to, arg);
        return true;
    case KIND_CHOICE:
        return set_choice(row, to, arg);
    case KIND_COUNT:
        return set_count(row, to, arg);
    case KIND_SECONDS:
        return set_seconds(row, to, arg);
    case KIND_LSN:
        return set_lsn(row, to, arg);
    case KIND_UNTIL:
        return set_until(to, arg);
    case KIND_OPS:
        return set_ops(to, arg);
    case KIND_SET:
        *(int *)to = row->choices[0].value;
        return true;
    case KIND_HELP:
    case KIND_VERSION:
    case KIND_GROUP:
        break;
    }
    return false;
}

/* ---- the command line ---- */

enum { MOST_OPTIONS = 128 };

/* Which options the command line has. */
struct given {
    bool rows[MOST_OPTIONS];
};

/* getopt_long's view of the table; val is the row's number + 256 so that it is never a letter. */
static void build_getopt(struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* tell a missing value from an unknown option */
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        int has_arg = row->placeholder ? required_argument : no_argument;

        if (row->kind == KIND_GROUP)
            continue;
        *longs++ = (struct option){row->name, has_arg, NULL, 256 + (int)i};
        if (row->letter) {
            *shorts++ = row->letter;
            if (has_arg == required_argument)
                *shorts++ = ':';
        }
    }
    *longs = (struct option){0};
    *shorts = '\0';
}

static const struct option_row *find_row(int val)
{
    return val >= 256 ? &option_rows[val - 256] : option_by_letter(val);
}

void options_hint_at_help(void)
{
    log_hint("Try \"cdcdump --help\" for more information.");
}

static enum options_result usage_error(void)
{
    options_hint_at_help();
    return OPTIONS_BAD;
}

/* The word on the command line that getopt_long stumbled over. */
static const char *culprit(char **argv)
{
    static char letter[3] = "-x";

    if (optopt > 0 && optopt < 256) {
        letter[1] = (char)optopt;
        return letter;
    }
    return argv[optind - 1];
}

#define AT(member) offsetof(struct parsed, member)

/* Options whose default is as good a value as any: that they were given says something. */
static void note_given(struct parsed *p, const struct option_row *row)
{
    p->o.retries_given |= row->offset == AT(o.retries);
    p->o.envelope_given |= row->offset == AT(o.envelope);
    p->o.format_given |= row->offset == AT(o.format);
    p->o.publication_given |= row->offset == AT(o.publication);
    p->o.publication_mode_given |= row->offset == AT(o.publication_mode);
    p->snapshot_given |= row->offset == AT(o.snapshot);
    p->jobs_given |= row->offset == AT(o.jobs);
    p->chunk_size_given |= row->offset == AT(o.chunk_size);
    p->changelog_given |= row->offset == AT(o.changelog);
    p->codec_given |= row->offset == AT(o.codec);
    p->batch_given |= row->offset == AT(o.batch_rows) || row->offset == AT(o.batch_time) ||
                      row->offset == AT(per_table) || row->offset == AT(o.exec_retries);
    p->types_given |= row->offset == AT(o.handling.profile) || row->offset == AT(settings);
}

/* Of two different actions, which both go to the same place, none is meant. */
static bool is_second_action(const struct parsed *p, const struct option_row *row)
{
    if (row->offset != AT(o.action) || p->o.action == ACTION_CAPTURE ||
        row->choices->value == (int)p->o.action)
        return false;
    log_error("--%s and --%s cannot be used together", option_of_action(p->o.action)->name,
              row->name);
    return true;
}

static bool is_second_config(const struct parsed *p, const struct option_row *row)
{
    if (row->offset != AT(o.config) || !p->o.config)
        return false;
    log_error("--config can be given once");
    return true;
}

static enum options_result take_word(struct parsed *p, struct given *given,
                                     const struct option_row *row)
{
    if (row->kind == KIND_HELP || row->kind == KIND_VERSION)
        return (row->kind == KIND_HELP ? help_print() : help_print_version()) ? OPTIONS_DONE
                                                                             : OPTIONS_BAD;
    if (is_second_action(p, row) || is_second_config(p, row) || !set_value(row, p, optarg))
        return usage_error();
    given->rows[row - option_rows] = true;
    note_given(p, row);
    return OPTIONS_RUN;
}

static enum options_result parse_words(struct parsed *p, struct given *given, int argc, char **argv)
{
    struct option longs[MOST_OPTIONS + 1];
    char shorts[2 * MOST_OPTIONS + 2];
    enum options_result result = OPTIONS_RUN;
    int val;

    build_getopt(longs, shorts);
    opterr = 0;
    while (result == OPTIONS_RUN && (val = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct option_row *row = val == '?' || val == ':' ? NULL : find_row(val);

        if (!row) {
            log_error(val == ':' ? "option \"%s\" needs a value"
                                 : "unrecognized or ambiguous option \"%s\"",
                      culprit(argv));
            return usage_error();
        }
        result = take_word(p, given, row);
    }
    return result;
}

static enum options_result parse_operands(struct parsed *p, struct given *given, int argc,
                                          char **argv)
{
    if (optind < argc && !p->o.dbname) {
        p->o.dbname = argv[optind++];
        given->rows[option_by_name("dbname") - option_rows] = true;
    }
    if (optind == argc)
        return OPTIONS_RUN;
    log_error("too many command-line arguments (first is \"%s\")", argv[optind]);
    return usage_error();
}

/* Of an option that a capture has no use for. */
static const struct option_row *action_that_needs(const struct option_row *row)
{
    enum action action = ACTION_CAPTURE;

    while (!option_has_meaning(row, action))
        action++;
    return option_of_action(action);
}

/* An option that an action has no use for is not meant. */
static enum options_result check_meaning(const struct parsed *p, const struct given *given)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];

        if (!given->rows[i] || option_has_meaning(row, p->o.action))
            continue;
        if (p->o.action == ACTION_CAPTURE)
            log_error("--%s needs --%s", row->name, action_that_needs(row)->name);
        else
            log_error("--%s and --%s cannot be used together", option_of_action(p->o.action)->name,
                      row->name);
        return usage_error();
    }
    return OPTIONS_RUN;
}

/* ---- --config ---- */

static bool is_given(const struct given *given, const char *name)
{
    return given->rows[option_by_name(name) - option_rows];
}

/* What may not be printed is not repeated in the message either. */
static bool set_from_file(struct parsed *p, const struct option_row *row,
                          const struct setting *setting)
{
    struct buf unprinted;
    bool taken;

    if (!setting->secret)
        return set_value(row, p, setting->value);
    buf_init(&unprinted, 256);
    log_keep_errors(&unprinted);
    taken = set_value(row, p, setting->value);
    log_keep_errors(NULL);
    buf_release(&unprinted);
    if (!taken)
        log_error("invalid value for \"%s\"", setting->key);
    return taken;
}

/* A file tells of a capture: what an action has no use for is not its concern. */
static bool take_setting(struct parsed *p, const struct given *given, const struct config *c,
                         const struct setting *setting)
{
    const struct option_row *row = option_by_name(setting->option);

    if (given->rows[row - option_rows] || !option_has_meaning(row, p->o.action) ||
        (setting->fits && !setting->fits(p)))
        return true;
    if (!set_from_file(p, row, setting)) {
        log_detail("That is line %u of \"%s\", with key \"%s\".", setting->line, c->path,
                   setting->key);
        return false;
    }
    note_given(p, row);
    return true;
}

static bool read_config(struct parsed *p, const struct given *given)
{
    struct config c = {0};
    bool good = true;

    if (!config_read(&c, p->o.config))
        return false;
    for (size_t i = 0; i < c.count; i++)
        good &= take_setting(p, given, &c, &c.settings[i]);
    p->o.connection_settings = c.connection_settings;
    p->o.keep_publication = c.keep_publication && !is_given(given, "publication") &&
                            !is_given(given, "publication-mode");
    if (!is_given(given, "table"))
        p->o.qualified_tables = c.qualified_tables;
    if (!is_given(given, "exclude-table"))
        p->o.exclude_qualified_tables = c.exclude_qualified_tables;
    return good;
}

/* ---- all of it ---- */

static void set_log(const struct parsed *p)
{
    log_set_format(p->o.log_format);
    log_set_level(p->quiet ? LOG_QUIET : p->verbose ? LOG_VERBOSE : LOG_NORMAL);
}

/* What is wrong with the command line itself is said in the format that it asks for. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--log-format=json") == 0 ||
            (i + 1 < argc && strcmp(argv[i], "--log-format") == 0 && strcmp(argv[i + 1], "json") == 0))
            return true;
    return false;
}

static enum options_result parse_all(struct parsed *p, int argc, char **argv)
{
    struct given given = {0};
    enum options_result result = parse_words(p, &given, argc, argv);

    if (result == OPTIONS_RUN)
        result = parse_operands(p, &given, argc, argv);
    set_log(p);
    if (result == OPTIONS_RUN)
        result = check_meaning(p, &given);
    if (result == OPTIONS_RUN && p->o.config && !read_config(p, &given))
        return OPTIONS_BAD;
    set_log(p);
    return result == OPTIONS_RUN && !parsed_check(p) ? usage_error() : result;
}

enum options_result options_parse(struct options *o, int argc, char **argv)
{
    struct parsed p = {
        .o = {.replica_identity = "keep",
              .handling = handling_default,
              .codec = CODEC_DEFLATE,
              .retries = UINT64_MAX,
              .retry_delay = USEC_PER_SEC,
              .jobs = 1,
              .chunk_size = 8192,
              .ack_fd = -1,
              .batch_rows = 10000,
              .catch_up_bytes = 64 * 1024 * 1024,
              .batch_time = 5 * USEC_PER_SEC,
              .exec_retries = 2,
              .status_interval = 10 * USEC_PER_SEC},
    };
    enum options_result result;

    /* getopt reports mistakes as '?', so -? cannot be a row; PostgreSQL's programs have it. */
    if (argc == 2 && strcmp(argv[1], "-?") == 0)
        return help_print() ? OPTIONS_DONE : OPTIONS_BAD;
    if (wants_json(argc, argv))
        log_set_format(LOG_JSON);
    result = parse_all(&p, argc, argv);
    free(p.settings.items);
    *o = p.o;
    return result;
}

bool mode_takes_snapshot(enum startup_mode mode)
{
    return mode != MODE_LATEST_OFFSET && mode != MODE_NEVER && mode != MODE_COMMITTED_OFFSET;
}

bool mode_ends(enum startup_mode mode)
{
    return mode == MODE_SNAPSHOT || mode == MODE_INITIAL_ONLY;
}
