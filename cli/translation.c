#include "cli/translation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "cli/handling.h"
#include "cli/java_regex.h"
#include "cli/option_table.h"
#include "cli/parsed.h"
#include "cli/value_text.h"
#include "cli/variables.h"
#include "deliver/file_name.h"

/* ---- what is handed out ---- */

/* What lives as long as the process has to be found from somewhere, or it would count as lost. */
void *translation_keep(void *memory)
{
    static struct string_list kept;

    string_list_add(&kept, memory);
    return memory;
}

static const char *keep(char *text)
{
    return translation_keep(text);
}

void translation_fail(struct translation *t, const struct property *property)
{
    log_detail("That is line %u of \"%s\".", property->line, t->p->path);
    t->failed = true;
}

void translation_refuse(struct translation *t, const struct entry *e, const char *must_be)
{
    if (e->secret)
        log_error("invalid value for \"%s\": must be %s", e->property->key, must_be);
    else
        log_error("invalid value \"%s\" for \"%s\": must be %s", e->value, e->property->key,
                  must_be);
    translation_fail(t, e->property);
}

static void refuse_word(struct translation *t, const struct entry *e, const struct key_word *words)
{
    char *list = value_text_list(words);
    char *must_be = xasprintf("one of %s", list);

    translation_refuse(t, e, must_be);
    free(must_be);
    free(list);
}

bool translation_resolve(struct translation *t, struct entry *e)
{
    char *value;
    bool secret;

    if (!variables_resolve(t->p, e->property, &value, &secret)) {
        log_detail("That is for \"%s\", in line %u of \"%s\".", e->property->key, e->property->line,
                   t->p->path);
        t->failed = true;
        return false;
    }
    e->secret |= secret;
    e->value = keep(value);
    return true;
}

static void warn_without_effect(const struct entry *e, const char *why)
{
    log_warning("\"%s\" has no effect: %s", e->property->key, why);
}

/* ---- settings, and where they have no meaning ---- */

static bool takes_rows(const struct parsed *p)
{
    return mode_takes_snapshot(p->o.mode);
}

static bool reads_chunks(const struct parsed *p)
{
    return takes_rows(p) && p->o.snapshot == SNAPSHOT_INCREMENTAL;
}

static bool reads_at_once(const struct parsed *p)
{
    return takes_rows(p) && p->o.snapshot == SNAPSHOT_CONSISTENT;
}

static bool is_flink(const struct parsed *p)
{
    return p->o.envelope == ENVELOPE_FLINK;
}

static bool has_keys(const struct parsed *p)
{
    return p->key_delimiter;
}

/* Heartbeats of connectors are for their own sake, so that they can be done without. */
static bool carries_heartbeats(const struct parsed *p)
{
    return p->o.format == FORMAT_NDJSON && !is_flink(p) && !p->per_table &&
           !(p->o.file && file_name_has_placeholders(p->o.file));
}

static bool (*fit_of(const char *option))(const struct parsed *)
{
    static const struct {
        const char *option;
        bool (*fits)(const struct parsed *);
    } fits[] = {
        {"snapshot", takes_rows},     {"snapshot-query", takes_rows},
        {"jobs", reads_at_once},      {"chunk-size", reads_chunks},
        {"chunk-key", reads_chunks},  {"changelog-mode", is_flink},
        {"tombstones", has_keys},     {"heartbeat", carries_heartbeats},
    };

    for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++)
        if (strcmp(fits[i].option, option) == 0)
            return fits[i].fits;
    return NULL;
}

static struct setting *find_setting(const struct translation *t, const char *option)
{
    for (size_t i = 0; i < t->c->count; i++)
        if (strcmp(t->c->settings[i].option, option) == 0)
            return &t->c->settings[i];
    return NULL;
}

bool translation_has(const struct translation *t, const char *option)
{
    return find_setting(t, option) != NULL;
}

/* An option that can be given once is overwritten; what a connector does by itself, in silence. */
static struct setting *new_setting(struct translation *t, const struct entry *e, const char *option,
                                   const char *value)
{
    struct config *c = t->c;
    struct setting *old =
        option_by_name(option)->kind == KIND_LIST ? NULL : find_setting(t, option);

    if (!old) {
        c->settings = realloc(c->settings, (c->count + 1) * sizeof *c->settings);
        if (!c->settings)
            log_out_of_memory();
        return &c->settings[c->count++];
    }
    if (strcmp(old->value, value) != 0 && strncmp(old->key, "connector", 9) != 0)
        log_warning("\"%s\" has no effect: \"%s\" is --%s as well, and comes later", old->key,
                    e->property->key, option);
    return old;
}

void translation_set(struct translation *t, const struct entry *e, const char *option,
                     const char *value)
{
    struct setting *s = new_setting(t, e, option, value);

    *s = (struct setting){
        .option = option,
        .value = value,
        .key = keep(xstrdup(e->property->key)),
        .line = e->property->line,
        .secret = e->secret,
        .fits = e->row ? fit_of(option) : NULL,
    };
}

/* NAME=VALUE for --set, whose words are small; connectors take them in any case. */
static const char *setting_text(const struct entry *e, const char *value)
{
    char *text = xasprintf("%s=%s", e->row->target, value);

    if (strcmp(e->row->target, "unavailable.value.placeholder") != 0)
        for (char *p = text; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p + 32);
    return keep(text);
}

/* Where the row of the key says. */
static void set_target(struct translation *t, const struct entry *e, const char *value)
{
    struct handling tried = handling_default;
    struct buf unprinted;
    const char *text;
    bool taken;

    if (e->row->to == TARGET_OPTION) {
        translation_set(t, e, e->row->target, value);
        return;
    }
    text = e->row->to == TARGET_SETTING ? setting_text(e, value)
                                        : keep(xasprintf("%s=%s", e->row->target, value));
    if (e->row->to == TARGET_LIBPQ) {
        string_list_add(&t->c->connection_settings, text);
        return;
    }
    buf_init(&unprinted, 64);
    log_keep_errors(e->secret ? &unprinted : NULL);
    taken = handling_set(&tried, text);
    log_keep_errors(NULL);
    buf_release(&unprinted);
    if (!taken && e->secret)
        log_error("invalid value for \"%s\"", e->property->key);
    if (taken)
        translation_set(t, e, "set", text);
    else
        translation_fail(t, e->property);
}

/* ---- forms of values ---- */

static void take_text(struct translation *t, const struct entry *e)
{
    const char *value = e->row->secret ? e->value : keep(value_text_trim(e->value));
    bool option = e->row->to == TARGET_OPTION;

    if (option && !*value)
        translation_refuse(t, e, "something");
    else if (*value)
        set_target(t, e, value);
}

/* Names that could be taken for a connection string are given as one. */
static void take_database(struct translation *t, const struct entry *e)
{
    const char *name = keep(value_text_trim(e->value));
    struct buf b;

    if (!*name) {
        translation_refuse(t, e, "the name of a database");
        return;
    }
    if (!strchr(name, '=') && !strstr(name, "://")) {
        set_target(t, e, name);
        return;
    }
    buf_init(&b, 64);
    buf_add_str(&b, "dbname='");
    for (const char *p = name; *p; p++) {
        if (*p == '\'' || *p == '\\')
            buf_add_char(&b, '\\');
        buf_add_char(&b, *p);
    }
    buf_add_char(&b, '\'');
    set_target(t, e, keep(xstrndup(b.data, b.len)));
    buf_release(&b);
}

static void take_number(struct translation *t, const struct entry *e, const char *text)
{
    uint64_t n;
    char must_be[80];

    if (value_text_number(text, e->row->least, e->row->most, &n)) {
        set_target(t, e, text);
        return;
    }
    snprintf(must_be, sizeof must_be, "a whole number from %u to %u", e->row->least, e->row->most);
    translation_refuse(t, e, must_be);
}

static void take_retries(struct translation *t, const struct entry *e, const char *text)
{
    uint64_t n;

    if (strcmp(text, "-1") == 0)
        return; /* endless, as it is anyway */
    if (value_text_number(text, 0, UINT32_MAX, &n))
        set_target(t, e, text);
    else
        translation_refuse(t, e, "a whole number from 0 on, or -1");
}

static void take_flag(struct translation *t, const struct entry *e, const char *text)
{
    static const struct key_word words[] = {{"true", "true"}, {"false", "false"}, {NULL, NULL}};
    const struct key_word *word = value_text_word(text, words);

    if (!word)
        refuse_word(t, e, words);
    else if (strcmp(word->name, "true") == 0)
        set_target(t, e, "");
}

/* libpq knows whole seconds alone. */
static void set_time(struct translation *t, const struct entry *e, uint64_t usec)
{
    if (usec == 0)
        return; /* connectors: never, or as long as it takes */
    if (e->row->to == TARGET_LIBPQ)
        usec = (usec + 999999) / 1000000 * 1000000;
    set_target(t, e, keep(value_text_seconds(usec)));
}

static void take_milliseconds(struct translation *t, const struct entry *e, const char *text)
{
    uint64_t n;

    if (value_text_number(text, 0, 1000000000000, &n))
        set_time(t, e, n * 1000);
    else
        translation_refuse(t, e, "a whole number of milliseconds");
}

static void take_duration(struct translation *t, const struct entry *e, const char *text)
{
    uint64_t usec;

    if (value_text_duration(text, &usec))
        set_time(t, e, usec);
    else
        translation_refuse(t, e, "a whole number with a unit, such as 30s, 5 min or 500 ms");
}

/* NULL: it is none of the words, or none that can be had here (said). */
static const struct key_word *find_word(struct translation *t, const struct entry *e,
                                        const char *text)
{
    const struct key_word *word = value_text_word(text, e->row->words);

    if (!word) {
        refuse_word(t, e, e->row->words);
        return NULL;
    }
    if (word->value)
        return word;
    log_error("\"%s\" cannot be \"%s\": %s", e->property->key, word->name, e->row->why);
    translation_fail(t, e->property);
    return NULL;
}

static void take_mode(struct translation *t, const struct entry *e, const char *text)
{
    const struct key_word *word = find_word(t, e, text);
    struct asked_mode *asked =
        strcmp(e->row->name, "snapshot.mode") == 0 ? &t->snapshot_mode : &t->startup_mode;

    if (word)
        *asked = (struct asked_mode){e->property, word->value};
}

static void take_choice(struct translation *t, const struct entry *e, const char *text)
{
    const struct key_word *word = find_word(t, e, text);

    if (!word)
        return;
    if (e->row->form != FORM_INCREMENTAL)
        set_target(t, e, word->value);
    else if (strcmp(word->value, "true") == 0) {
        t->incremental = e->property;
        set_target(t, e, "incremental");
    }
}

static void take_fixed(const struct entry *e, const char *text)
{
    if (!value_text_word(text, e->row->words))
        warn_without_effect(e, e->row->why);
}

/* --skip-ops has the letters without commas. */
static void take_operations(struct translation *t, const struct entry *e, const char *text)
{
    char letters[8] = "";
    size_t n = 0;

    for (const char *p = text; *p; p += strspn(p, ", \t")) {
        size_t len = strcspn(p, ", \t");

        if (len == 4 && strncmp(p, "none", 4) == 0 && n == 0 && !p[4]) {
            set_target(t, e, "none");
            return;
        }
        if (len != 1 || !strchr("cudt", *p)) {
            translation_refuse(t, e, "a list of c, u, d and t, or none");
            return;
        }
        if (!strchr(letters, *p))
            letters[n++] = *p;
        p += len;
    }
    if (n)
        set_target(t, e, keep(xstrdup(letters)));
}

static void take_parameters(struct translation *t, const struct entry *e, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, ";");
        char *given = xstrndup(text, n);
        const char *one = keep(value_text_trim(given));

        free(given);
        text += n + (text[n] == ';');
        if (!*one)
            continue;
        if (strchr(one, '=') && *one != '=')
            set_target(t, e, one);
        else
            translation_refuse(t, e, "name=value;name=value …");
    }
}

/* ---- patterns ---- */

static bool check_pattern(struct translation *t, const struct entry *e, const char *java,
                          char **pattern)
{
    const char *why;

    *pattern = java_regex_translate(java, &why);
    if (*pattern)
        return true;
    if (e->secret)
        log_error("a pattern of \"%s\" cannot be used: %s", e->property->key, why);
    else
        log_error("the pattern \"%s\" of \"%s\" cannot be used: %s", java, e->property->key, why);
    translation_fail(t, e->property);
    if (strchr(e->value, ','))
        log_hint("A comma ends a pattern; one that belongs to it is written as \\,.");
    return false;
}

/* What does something else than most people think. */
static void warn_about_pattern(const struct entry *e, const char *java)
{
    size_t n = strlen(java);
    bool plain = strcspn(java, "|[(\\.*+?{") == n;
    bool open = false;
    int depth = 0;

    if (e->secret)
        return;
    for (const char *p = java; *p; p++) {
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '[' || *p == '(')
            depth++;
        else if (*p == ']' || *p == ')')
            depth--;
        else
            open |= *p == '|' && depth == 0 && !strchr(p + 1, '.');
    }
    if (open)
        log_warning("\"%s\" of \"%s\" matches no table by what is behind the |: alternatives need "
                    "parentheses, as in schema.(one|two)",
                    java, e->property->key);
    else if (plain)
        log_warning("\"%s\" of \"%s\" matches no table: patterns are for schema.table", java,
                    e->property->key);
    else if (n >= 2 && java[n - 1] == '*' && !strchr(".])}", java[n - 2]))
        log_warning("\"%s\" of \"%s\" ends in any number of \"%c\": any text is .*", java,
                    e->property->key, java[n - 2]);
}

static void take_tables(struct translation *t, const struct entry *e, const char *list)
{
    struct string_list pieces = java_regex_split(list);
    struct string_list *to = e->row->form == FORM_EXCLUDED_TABLES ? &t->c->exclude_qualified_tables
                                                                  : &t->c->qualified_tables;

    for (size_t i = 0; i < pieces.count; i++) {
        const char *piece = translation_keep((void *)(uintptr_t)pieces.items[i]);
        char *pattern;

        if (!check_pattern(t, e, piece, &pattern))
            continue;
        free(pattern);
        warn_about_pattern(e, piece);
        string_list_add(to, piece);
    }
    free(pieces.items);
}

/* Flink joins the two by a dot, whatever they are, and takes the whole for a list. */
static void take_table_name(struct translation *t, const struct entry *e)
{
    struct entry schema = {.property = properties_find(t->p, "schema-name")};
    char *list;

    if (!schema.property) {
        log_error("\"%s\" needs \"schema-name\"", e->property->key);
        translation_fail(t, e->property);
        return;
    }
    if (!translation_resolve(t, &schema))
        return;
    list = xasprintf("%s.%s", schema.value, e->value);
    take_tables(t, e, list);
    free(list);
}

static void take_regexes(struct translation *t, const struct entry *e)
{
    struct string_list pieces = java_regex_split(e->value);

    for (size_t i = 0; i < pieces.count; i++) {
        char *pattern;

        if (check_pattern(t, e, pieces.items[i], &pattern))
            set_target(t, e, keep(pattern));
        free((void *)(uintptr_t)pieces.items[i]);
    }
    free(pieces.items);
}

/* Left out is what none of them matches. */
static void take_columns(struct translation *t, const struct entry *e)
{
    struct string_list pieces = java_regex_split(e->value);
    char *pattern, *others;
    struct buf b;

    buf_init(&b, 128);
    for (size_t i = 0; i < pieces.count; i++) {
        buf_printf(&b, "%s%s", b.len ? "|" : "", pieces.items[i]);
        if (check_pattern(t, e, pieces.items[i], &pattern))
            free(pattern);
        free((void *)(uintptr_t)pieces.items[i]);
    }
    others = xasprintf("(?!(?:%.*s)\\z)[\\s\\S]*", (int)b.len, b.data);
    if (pieces.count && !t->failed && check_pattern(t, e, others, &pattern))
        set_target(t, e, keep(pattern));
    free(others);
    buf_release(&b);
    free(pieces.items);
}

static void take_prefixes(struct translation *t, const struct entry *e, const char *text)
{
    bool all = strcmp(text, ".*") == 0;

    if (strstr(e->row->name, "exclude") && all)
        return;
    set_target(t, e, "");
    if (!all)
        log_warning("\"%s\" has an effect on all messages: they are not told apart by prefixes",
                    e->property->key);
}

/* ---- lists with more in them ---- */

static bool identity_of(const char *text, char *identity, size_t size)
{
    static const char *const names[] = {"default", "full", "nothing"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(names[i], text) == 0) {
            snprintf(identity, size, "%s", names[i]);
            return true;
        }
    }
    if (strncasecmp(text, "index ", 6) != 0 || strlen(text) - 6 > 63)
        return false;
    snprintf(identity, size, "index:%s", text + 6 + strspn(text + 6, " "));
    return true;
}

/* regex:IDENTITY, where there is one, and for all tables: we have one setting for all. */
static void take_identities(struct translation *t, const struct entry *e, const char *text)
{
    const char *colon = strrchr(text, ':');
    char identity[80];

    if (!colon || !identity_of(colon + 1, identity, sizeof identity)) {
        translation_refuse(t, e,
                           "TABLES:IDENTITY, with DEFAULT, FULL, NOTHING or INDEX and a name");
        return;
    }
    if (!strchr(text, ',') && (strncmp(text, ".*:", 3) == 0 ||
                               strncmp(text, ".*\\..*:", 7) == 0 ||
                               strncmp(text, ".*..*:", 6) == 0))
        set_target(t, e, keep(xstrdup(identity)));
    else
        warn_without_effect(e, "--replica-identity is for all captured tables; .*:FULL says that");
}

static void take_query(struct translation *t, const struct entry *list, const char *table)
{
    char *key = xasprintf("%s.%s", list->property->key, table);
    struct entry query = {.property = properties_find(t->p, key), .secret = list->secret};

    if (!query.property) {
        log_error("\"%s\" names table \"%s\", but there is no \"%s\"", list->property->key, table,
                  key);
        translation_fail(t, list->property);
    } else if (translation_resolve(t, &query)) {
        query.row = list->row;
        set_target(t, &query, keep(xasprintf("%s=%s", table, query.value)));
    }
    free(key);
}

static void take_queries(struct translation *t, const struct entry *e)
{
    struct string_list tables = java_regex_split(e->value);

    for (size_t i = 0; i < tables.count; i++) {
        take_query(t, e, tables.items[i]);
        free((void *)(uintptr_t)tables.items[i]);
    }
    free(tables.items);
}

/* Only those that are named are used. */
static void warn_about_query(const struct translation *t, const struct entry *e)
{
    size_t list_len = strlen(e->property->key) - strlen(e->name) + strlen(e->row->name) - 2;
    char *list_key = xstrndup(e->property->key, list_len);
    const struct property *list = properties_find(t->p, list_key);

    if (!list || !strstr(list->value, e->property->key + list_len + 1))
        log_warning("\"%s\" has no effect: \"%s\" does not name the table", e->property->key,
                    list_key);
    free(list_key);
}

/* ---- one key ---- */

static void refuse_key(struct translation *t, const struct entry *e)
{
    log_error("\"%s\" cannot be used: %s", e->property->key, e->row->why);
    translation_fail(t, e->property);
}

/* Forms whose value has no blanks around it. */
static void take_trimmed(struct translation *t, const struct entry *e)
{
    const char *text = keep(value_text_trim(e->value));

    switch (e->row->form) {
    case FORM_NUMBER:
        take_number(t, e, text);
        break;
    case FORM_RETRIES:
        take_retries(t, e, text);
        break;
    case FORM_FLAG:
        take_flag(t, e, text);
        break;
    case FORM_MILLISECONDS:
        take_milliseconds(t, e, text);
        break;
    case FORM_DURATION:
        take_duration(t, e, text);
        break;
    case FORM_MODE:
        take_mode(t, e, text);
        break;
    case FORM_FIXED:
        take_fixed(e, text);
        break;
    case FORM_OPERATIONS:
        take_operations(t, e, text);
        break;
    case FORM_PARAMETERS:
        take_parameters(t, e, text);
        break;
    case FORM_IDENTITIES:
        take_identities(t, e, text);
        break;
    case FORM_PREFIXES:
        take_prefixes(t, e, text);
        break;
    default:
        take_choice(t, e, text);
    }
}

void translation_take(struct translation *t, const struct entry *e)
{
    switch (e->row->form) {
    case FORM_TEXT:
        take_text(t, e);
        break;
    case FORM_DATABASE:
        take_database(t, e);
        break;
    case FORM_TABLES:
    case FORM_EXCLUDED_TABLES:
        take_tables(t, e, e->value);
        break;
    case FORM_TABLE_NAME:
        take_table_name(t, e);
        break;
    case FORM_REGEXES:
        take_regexes(t, e);
        break;
    case FORM_COLUMNS:
        take_columns(t, e);
        break;
    case FORM_QUERIES:
        take_queries(t, e);
        break;
    case FORM_QUERY:
        warn_about_query(t, e);
        break;
    case FORM_NOTHING:
        warn_without_effect(e, e->row->why);
        break;
    case FORM_REFUSED:
        refuse_key(t, e);
        break;
    case FORM_CONNECTOR:
        break;
    default:
        take_trimmed(t, e);
    }
}
