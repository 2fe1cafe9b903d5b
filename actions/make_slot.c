#include "actions/make_slot.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/publication.h"
#include "source/selection.h"
#include "source/slot.h"
#include "source/version.h"

/* One run of either action. */
struct maker {
    struct options options; /* of the user; the plugin is filled in */
    struct connector *connector;
    PGconn *sql;
    PGconn *walsender;
    struct slot slot; /* as it was found */
};

static enum outcome open_maker(struct maker *m, const struct options *o)
{
    enum outcome outcome;

    *m = (struct maker){.options = *o};
    m->connector = connector_new(&m->options);
    if (!m->connector)
        return OUTCOME_MISUSED;
    outcome = connector_connect(m->connector, CONNECTION_SQL, &m->sql);
    return outcome == OUTCOME_OK ? slot_find(m->sql, o->slot, &m->slot) : outcome;
}

/* What was asked for has not been done: a script that goes on with it has to know. */
static enum outcome close_maker(struct maker *m, enum outcome outcome, const char *doing)
{
    if (outcome == OUTCOME_STOPPED) {
        log_error("could not %s: interrupted", doing);
        outcome = OUTCOME_FAILED;
    }
    PQfinish(m->walsender);
    PQfinish(m->sql);
    connector_free(m->connector);
    return outcome;
}

/*
 * With --if-[not-]exists it counts what is in the end, whoever has done it: `said` has kept what
 * the server had to say.  Prints that, unless the slot is (or is not) there by now as was `asked`.
 */
static bool is_done_by_another(struct maker *m, enum outcome outcome, struct buf *said, bool asked,
                               bool exists)
{
    bool done;

    log_keep_errors(NULL);
    done = asked && outcome == OUTCOME_MISUSED &&
           slot_find(m->sql, m->options.slot, &m->slot) == OUTCOME_OK && m->slot.exists == exists;
    if (!done && said->len > 0)
        log_kept_errors(said);
    buf_release(said);
    return done;
}

/* ---- the publication ---- */

static enum outcome publication_exists(PGconn *sql, const char *name, bool *exists)
{
    PGresult *result;
    enum outcome outcome =
        sql_query(sql, "look up the publication", "SELECT FROM pg_publication WHERE pubname = $1",
                  1, &name, &result);

    *exists = PQntuples(result) > 0;
    PQclear(result);
    return outcome;
}

/* Runs a statement about the publication: its words before the name, and those behind it. */
static enum outcome run_about(PGconn *sql, const char *doing, const char *before, const char *name,
                              const char *after)
{
    enum outcome outcome;
    struct buf b;

    buf_init(&b, 256);
    buf_add_str(&b, before);
    sql_add_identifier(&b, name);
    buf_add(&b, after, strlen(after) + 1);
    outcome = sql_run(sql, doing, b.data);
    buf_release(&b);
    return outcome;
}

static enum outcome create_empty(PGconn *sql, const char *name)
{
    const char *with =
        PQserverVersion(sql) >= 130000 ? " WITH (publish_via_partition_root = true)" : "";
    enum outcome outcome =
        run_about(sql, "create the publication", "CREATE PUBLICATION ", name, with);

    if (outcome == OUTCOME_OK)
        log_notice("created publication \"%s\", which has no tables yet", name);
    return outcome;
}

/* As selection_load(), but that there is no table yet is no failure: count is 0 then. */
static enum outcome select_tables(PGconn *sql, const struct options *o, struct selection *s)
{
    struct buf said;
    enum outcome outcome;

    buf_init(&said, 256);
    log_keep_errors(&said);
    outcome = selection_load(s, sql, o);
    log_keep_errors(NULL);
    if (outcome == OUTCOME_MISUSED && s->oids && s->count == 0)
        outcome = OUTCOME_OK;
    else if (outcome != OUTCOME_OK && said.len > 0)
        log_kept_errors(&said);
    buf_release(&said);
    return outcome;
}

/* *made: there was none, and now there is, or may be where a signal came in between. */
static enum outcome prepare_publication(const struct maker *m, bool *made)
{
    const struct options *o = &m->options;
    struct selection selection = {0};
    bool exists, empty;
    enum outcome outcome = publication_exists(m->sql, o->publication, &exists);

    *made = false;
    if (outcome == OUTCOME_OK)
        outcome = select_tables(m->sql, o, &selection);
    empty = selection.count == 0 && o->publication_mode == PUBLICATION_FILTERED;
    if (outcome == OUTCOME_OK && !empty)
        outcome = publication_prepare(m->sql, o, &selection, true);
    else if (outcome == OUTCOME_OK && !exists)
        outcome = create_empty(m->sql, o->publication);
    selection_release(&selection);
    *made = !exists && (outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED);
    return outcome;
}

/* Unless somebody else has made that slot meanwhile, and counts on it; *left: it is still there. */
static enum outcome drop_publication(const struct maker *m, bool *left)
{
    const char *name = m->options.publication;
    struct slot slot;
    enum outcome outcome = slot_find(m->sql, m->options.slot, &slot);

    *left = false;
    if (outcome == OUTCOME_OK && !slot.exists)
        outcome = publication_exists(m->sql, name, left);
    if (outcome == OUTCOME_OK && *left)
        outcome =
            run_about(m->sql, "drop the publication", "DROP PUBLICATION IF EXISTS ", name, "");
    return outcome;
}

/* Why it fails has been said already, as a rule: the server has gone. */
static void take_back_publication(const struct maker *m)
{
    const char *name = m->options.publication;
    struct buf said;
    bool there;
    enum outcome outcome;

    buf_init(&said, 256);
    log_keep_errors(&said);
    outcome = drop_publication(m, &there);
    log_keep_errors(NULL);
    if (outcome != OUTCOME_OK)
        log_warning("publication \"%s\" has been left behind", name);
    else if (there)
        log_notice("dropped publication \"%s\" again", name);
    buf_release(&said);
}

/* ---- creating ---- */

static enum outcome is_there_already(const struct maker *m)
{
    const struct options *o = &m->options;
    const struct slot *s = &m->slot;
    const char *plugin = plugin_of(o->plugin)->library;

    if (!o->if_not_exists) {
        log_error("could not create the replication slot: replication slot \"%s\" already exists",
                  o->slot);
        log_hint("With --if-not-exists that is fine.");
        return OUTCOME_MISUSED;
    }
    log_notice("replication slot \"%s\" is there already", o->slot);
    if (!s->logical)
        log_detail("It is a physical slot.");
    else if (strcmp(s->plugin, plugin) != 0)
        log_detail("Its plugin is \"%s\", not \"%s\".", s->plugin, plugin);
    else if (strcmp(s->database, PQdb(m->sql)) != 0)
        log_detail("It belongs to database \"%s\", not to \"%s\".", s->database, PQdb(m->sql));
    else if (s->two_phase != o->two_phase)
        log_detail("It was created %s --two-phase.", s->two_phase ? "with" : "without");
    else if (s->failover != o->failover)
        log_detail("It is %s failover slot.", s->failover ? "a" : "no");
    return OUTCOME_OK;
}

static enum outcome create_slot(struct maker *m)
{
    const struct options *o = &m->options;
    struct created_slot created;
    struct buf said;
    enum outcome outcome;

    buf_init(&said, 256);
    if (o->if_not_exists)
        log_keep_errors(&said);
    outcome = slot_create(m->walsender, m->sql, o, false, &created);
    return is_done_by_another(m, outcome, &said, o->if_not_exists, true) ? is_there_already(m)
                                                                         : outcome;
}

/* The slot is created last: it makes the server keep WAL. */
static enum outcome create(struct maker *m)
{
    const struct options *o = &m->options;
    bool publishes = plugin_of(o->plugin)->publishes, made = false;
    enum outcome outcome = version_check(PQserverVersion(m->sql), o);

    if (outcome == OUTCOME_OK && m->slot.exists)
        return is_there_already(m);
    if (outcome == OUTCOME_OK)
        outcome = connector_connect(m->connector, CONNECTION_REPLICATION, &m->walsender);
    if (outcome == OUTCOME_OK && publishes)
        outcome = publication_as_found(m->sql, &m->options);
    if (outcome == OUTCOME_OK && publishes)
        outcome = prepare_publication(m, &made);
    if (outcome == OUTCOME_OK)
        outcome = create_slot(m);
    if (outcome != OUTCOME_OK && made)
        take_back_publication(m);
    return outcome;
}

enum outcome make_slot_create(const struct options *o)
{
    struct maker m;
    enum outcome outcome = open_maker(&m, o);

    if (o->plugin == PLUGIN_AS_SLOT)
        m.options.plugin = PLUGIN_PGOUTPUT;
    if (outcome == OUTCOME_OK)
        outcome = plugin_check(&m.options);
    if (outcome == OUTCOME_OK)
        outcome = create(&m);
    return close_maker(&m, outcome, "create the replication slot");
}

/* ---- dropping ---- */

static enum outcome is_not_there(const struct options *o)
{
    if (o->if_exists) {
        log_notice("replication slot \"%s\" does not exist", o->slot);
        return OUTCOME_OK;
    }
    log_error("could not drop the replication slot: replication slot \"%s\" does not exist",
              o->slot);
    log_hint("With --if-exists that is fine.");
    return OUTCOME_MISUSED;
}

static enum outcome check_droppable(const struct slot *s, const char *name)
{
    if (!s->logical) {
        log_error("replication slot \"%s\" is a physical slot", name);
        log_hint("A standby or an archiver uses it.  Where that is not so: "
                 "SELECT pg_drop_replication_slot('%s');",
                 name);
        return OUTCOME_MISUSED;
    }
    if (s->synced) {
        log_error("replication slot \"%s\" is being synchronized from the primary server", name);
        log_hint("Drop it there, and it goes here, too.");
        return OUTCOME_MISUSED;
    }
    return OUTCOME_OK;
}

/* A publication that is there because of the slot, as far as can be seen from its name. */
static void hint_at_publication(const struct maker *m)
{
    bool exists;

    if (strcmp(m->slot.database, PQdb(m->sql)) == 0 &&
        publication_exists(m->sql, m->options.publication, &exists) == OUTCOME_OK && exists)
        log_hint("Where nothing else needs its publication: DROP PUBLICATION %s;",
                 m->options.publication);
}

static enum outcome drop(struct maker *m)
{
    const struct options *o = &m->options;
    struct buf said;
    enum outcome outcome = check_droppable(&m->slot, o->slot);

    if (outcome != OUTCOME_OK)
        return outcome;
    buf_init(&said, 256);
    if (o->if_exists)
        log_keep_errors(&said);
    outcome = slot_drop(m->sql, o->slot);
    if (is_done_by_another(m, outcome, &said, o->if_exists, false))
        return is_not_there(o);
    if (outcome == OUTCOME_OK)
        hint_at_publication(m);
    return outcome;
}

enum outcome make_slot_drop(const struct options *o)
{
    struct maker m;
    enum outcome outcome = open_maker(&m, o);

    if (outcome == OUTCOME_OK)
        outcome = m.slot.exists ? drop(&m) : is_not_there(o);
    return close_maker(&m, outcome, "drop the replication slot");
}
