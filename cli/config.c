#include "cli/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "cli/connector_keys.h"
#include "cli/option_table.h"
#include "cli/properties.h"
#include "cli/translation.h"
#include "cli/value_text.h"

/* Whose keys the file has. */
struct dialect {
    const struct property *connector; /* the key that says so; NULL = none does */
    bool flink;
    unsigned plain;  /* where keys without a prefix stand: bits of connector_keys.h, */
    unsigned behind; /* and keys behind it */
    const char *prefix;
};

/* ---- which connector ---- */

/* A file that names none is read as what its keys look like. */
static bool looks_like_flink(const struct properties *p)
{
    static const char *const keys[] = {"schema-name", "table-name", "database-name",
                                       "decoding.plugin.name", "scan.startup.mode"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (properties_find(p, keys[i]))
            return true;
    return false;
}

static bool is_class(const char *name)
{
    return strcmp(name, "io.debezium.connector.postgresql.PostgresConnector") == 0 ||
           strcmp(name, "PostgresConnector") == 0 || strcmp(name, "Postgres") == 0;
}

static void refuse_connector(struct translation *t, const struct property *connector,
                             const char *must_be)
{
    log_error("invalid value \"%s\" for \"%s\": must be %s", connector->value, connector->key,
              must_be);
    translation_fail(t, connector);
}

static void check_connector(struct translation *t, const struct dialect *d)
{
    static const char *const sinks[] = {"adbpg",   "kafka", "upsert-kafka",
                                        "datagen", "jdbc",  "print"};
    char *name = value_text_trim(d->connector->value);
    bool sink = false;

    for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++)
        sink |= d->flink && strcmp(name, sinks[i]) == 0;
    if (sink) {
        log_error("connector \"%s\" is no source of changes: must be one of postgres-cdc, "
                  "adbpg-cdc",
                  name);
        translation_fail(t, d->connector);
        log_hint("Only the WITH clause of the source table goes into the file.");
    } else if (d->flink && strcmp(name, "postgres-cdc") != 0 && strcmp(name, "adbpg-cdc") != 0) {
        refuse_connector(t, d->connector, "one of postgres-cdc, adbpg-cdc");
    } else if (!d->flink && !is_class(name)) {
        refuse_connector(t, d->connector, "io.debezium.connector.postgresql.PostgresConnector");
    }
    free(name);
}

static struct dialect find_dialect(struct translation *t)
{
    const struct property *flink = properties_find(t->p, "connector");
    const struct property *debezium = properties_find(t->p, "connector.class");
    struct dialect d = {.flink = flink || (!debezium && looks_like_flink(t->p))};

    if (!debezium)
        debezium = properties_find(t->p, "debezium.source.connector.class");
    d.connector = flink ? flink : debezium;
    d.plain = d.flink ? KEYS_OF_FLINK : KEYS_OF_DEBEZIUM | KEYS_OF_CONNECT;
    d.behind = d.flink ? KEYS_BEHIND_DEBEZIUM : KEYS_OF_DEBEZIUM;
    d.prefix = d.flink ? "debezium." : "debezium.source.";
    if (flink && debezium) {
        log_error("\"%s\" and \"%s\" cannot be used together", flink->key, debezium->key);
        translation_fail(t, debezium);
    } else if (d.connector) {
        check_connector(t, &d);
    }
    return d;
}

/* ---- unknown keys ---- */

/* Our own options that look like this one. */
static const char *option_like(const char *name)
{
    unsigned least = strlen(name) > 5 ? 3 : 2;
    const char *nearest = NULL;

    for (size_t i = 0; i < option_count; i++) {
        unsigned distance;

        if (!option_rows[i].name)
            continue;
        distance = connector_key_distance(name, option_rows[i].name);
        if (distance < least) {
            least = distance;
            nearest = option_rows[i].name;
        }
    }
    return nearest;
}

/*
 * A key of the other connector, which is plain enough; in a file of Flink CDC those of Debezium
 * stand behind debezium.
 */
static bool is_elsewhere(const struct dialect *d, struct entry *e)
{
    const unsigned all = KEYS_OF_DEBEZIUM | KEYS_OF_FLINK | KEYS_OF_CONNECT;
    bool behind;

    if (e->name != e->property->key)
        return false;
    e->row = connector_key_find(e->name, all);
    if (!e->row)
        return false;
    behind = d->flink && (e->row->where & KEYS_BEHIND_DEBEZIUM);
    if (e->row->form != FORM_NOTHING && e->row->form != FORM_FIXED)
        log_warning("\"%s\" is no key of %s%s%s%s: taken as it is elsewhere", e->name,
                    d->flink ? "a connector of Flink CDC" : "Debezium's connector",
                    behind ? ", where it is \"debezium." : "", behind ? e->name : "",
                    behind ? "\"" : "");
    return true;
}

static void take_unknown(struct translation *t, const struct dialect *d, const struct entry *e)
{
    const char *key = e->property->key;
    unsigned where = e->name == key ? d->plain : d->behind;
    const struct connector_key *like = connector_key_like(e->name, where);
    const char *own = option_like(e->name);
    bool matters = own || (like && like->form != FORM_NOTHING && like->form != FORM_FIXED);

    if (!matters) {
        log_warning("\"%s\" has no effect: it is not known", key);
        return;
    }
    log_error("unknown key \"%s\"", key);
    translation_fail(t, e->property);
    if (like)
        log_hint("There is \"%.*s%s\".", (int)(e->name - key), key, like->name);
    else if (own)
        log_hint("There is \"%s\".", own);
}

/* ---- our own options ---- */

static bool stands_alone(const struct option_row *row)
{
    return row->kind == KIND_HELP || row->kind == KIND_VERSION ||
           strcmp(row->name, "config") == 0 ||
           (row->kind == KIND_SET && row == option_of_action((enum action)row->choices->value));
}

static void take_own(struct translation *t, struct entry *e, const struct option_row *row)
{
    static const struct key_word words[] = {
        {"true", "1"}, {"", "1"}, {"false", NULL}, {NULL, NULL}};
    const struct key_word *word;

    if (stands_alone(row)) {
        log_error("\"%s\" cannot stand in a file", e->property->key);
        translation_fail(t, e->property);
        return;
    }
    if (!translation_resolve(t, e))
        return;
    if (row->placeholder) {
        translation_set(t, e, row->name, e->value);
        return;
    }
    word = value_text_word(e->value, words);
    if (!word)
        translation_refuse(t, e, "one of true, false");
    else if (word->value)
        translation_set(t, e, row->name, "");
}

/* ---- all keys ---- */

/* What is taken when: first the connector's keys, then those behind debezium., then our own. */
enum { TURNS = 3 };

static const struct option_row *own_option(const char *key)
{
    const struct option_row *row = option_by_name(strncmp(key, "--", 2) == 0 ? key + 2 : key);

    return row && row->kind != KIND_GROUP ? row : NULL;
}

static void take_known(struct translation *t, struct entry *e)
{
    e->secret = e->row->secret;
    if (e->row->form == FORM_NOTHING || e->row->form == FORM_REFUSED || translation_resolve(t, e))
        translation_take(t, e);
}

static void take_key(struct translation *t, const struct dialect *d,
                     const struct property *property, int turn)
{
    struct entry e = {.property = property, .name = property->key};
    size_t n = strlen(d->prefix);
    const struct option_row *own;
    int its_turn = 0;

    if (strncmp(e.name, d->prefix, n) == 0 && e.name[n]) {
        e.name += n;
        its_turn = 1;
    }
    e.row = connector_key_find(e.name, its_turn ? d->behind : d->plain);
    if (!e.row && strcmp(e.name, "password") == 0)
        e.row = connector_key_find(e.name, KEYS_OF_FLINK);
    own = e.row || its_turn ? NULL : own_option(e.name);
    if (!e.row && !own)
        e.row = connector_key_find(e.name, KEYS_OF_SINKS);
    if (own)
        its_turn = 2;
    if (its_turn != turn)
        return;
    if (own)
        take_own(t, &e, own);
    else if (!e.row && !is_elsewhere(d, &e))
        take_unknown(t, d, &e);
    else
        take_known(t, &e);
}

/* ---- what follows from several keys ---- */

static void set_by(struct translation *t, const struct property *property, const char *option,
                   const char *value)
{
    struct entry e = {.property = property, .name = property->key};

    if (!translation_has(t, option))
        translation_set(t, &e, option, value);
}

static void warn_about_modes(const struct asked_mode *loser, const struct asked_mode *winner,
                             const char *why)
{
    if (loser->property && (!winner->property || strcmp(loser->mode, winner->mode) != 0))
        log_warning("\"%s\" has no effect: %s", loser->property->key, why);
}

/*
 * With incremental snapshots Flink gives Debezium a mode of its own, without them it does not heed
 * scan.startup.mode; that is taken all the same where it is alone, as its documents say nothing of
 * that.
 */
static void decide_mode(struct translation *t)
{
    const struct asked_mode *winner = &t->startup_mode;

    if (t->incremental) {
        warn_about_modes(&t->snapshot_mode, winner,
                         "an incremental snapshot begins as \"scan.startup.mode\" says");
    } else if (t->snapshot_mode.property) {
        winner = &t->snapshot_mode;
        warn_about_modes(&t->startup_mode, winner,
                         "without an incremental snapshot \"debezium.snapshot.mode\" counts");
    }
    if (winner->property)
        set_by(t, winner->property, "startup-mode", winner->mode);
}

/* What connectors do without being asked. */
static void add_habits(struct translation *t, const struct dialect *d)
{
    const struct property *changelog = properties_find(t->p, "changelog-mode");
    bool adbpg = d->connector && strncmp(d->connector->value, "adbpg-cdc", 9) == 0;

    if (adbpg)
        set_by(t, d->connector, "replica-identity", "full");
    if (d->connector && !d->flink)
        set_by(t, d->connector, "slot", "debezium");
    if (d->flink && changelog)
        set_by(t, changelog, "envelope", "flink");
    for (size_t i = 0; i < t->p->count; i++) {
        const struct property *property = &t->p->items[i];
        const char *end = strstr(property->key, "publication.name");

        if (end && strcmp(end, "publication.name") == 0)
            t->c->keep_publication = !translation_has(t, "publication-mode");
        if (adbpg && strcmp(property->key, "decoding.plugin.name") == 0 &&
            strcasecmp(property->value, "pgoutput") != 0)
            log_warning("\"%s\": adbpg-cdc itself knows pgoutput alone", property->key);
    }
}

/* Settings that may be left out come last, when it is known whether they fit. */
static void hand_out(struct config *c)
{
    struct setting *ordered = xcalloc(c->count + 1, sizeof *ordered);
    size_t n = 0;

    for (int fits = 0; fits < 2; fits++)
        for (size_t i = 0; i < c->count; i++)
            if ((c->settings[i].fits != NULL) == fits)
                ordered[n++] = c->settings[i];
    free(c->settings);
    c->settings = translation_keep(ordered);
    translation_keep(c->connection_settings.items);
    translation_keep(c->qualified_tables.items);
    translation_keep(c->exclude_qualified_tables.items);
}

/* --table and its like can be given several times; no connector has a key of such a name. */
static bool is_own_list(const char *key)
{
    const struct option_row *row = own_option(key);

    return row && row->kind == KIND_LIST;
}

bool config_read(struct config *c, const char *path)
{
    struct properties p;
    struct translation t = {.c = c, .p = &p};
    struct dialect d;

    *c = (struct config){.path = path};
    if (!properties_read(&p, path, is_own_list))
        return false;
    d = find_dialect(&t);
    for (int turn = 0; turn < TURNS && !(t.failed && turn == 0); turn++)
        for (size_t i = 0; i < p.count; i++)
            take_key(&t, &d, &p.items[i], turn);
    if (!t.failed) {
        decide_mode(&t);
        add_habits(&t, &d);
    }
    hand_out(c);
    properties_release(&p);
    return !t.failed;
}
