#include "actions/peek.h"

#include <stdio.h>
#include <string.h>

#include "actions/peek_raw.h"
#include "base/log.h"
#include "capture/capture.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/slot.h"

static enum outcome missing_slot(const struct options *o)
{
    log_error("replication slot \"%s\" does not exist", o->slot);
    log_hint("--list-slots shows which there are.");
    return OUTCOME_MISUSED;
}

/* ---- the slot ---- */

/* A reader who asks a slot for prepared transactions makes it one that gives them, for good. */
static enum outcome check_two_phase(const struct slot *slot, const struct options *o)
{
    if (!o->two_phase || slot->two_phase)
        return OUTCOME_OK;
    log_error("replication slot \"%s\" does not give prepared transactions before they are "
              "committed",
              o->slot);
    log_hint("Leave --two-phase out: it would change the slot.");
    return OUTCOME_MISUSED;
}

static enum outcome refuse_plugin(const struct slot *slot, const struct options *o)
{
    log_error("replication slot \"%s\" was created for plugin \"%s\", not for \"%s\"", o->slot,
              slot->plugin, plugin_of(o->plugin)->library);
    log_hint("Without -P its messages are printed as they are.");
    return OUTCOME_MISUSED;
}

/*
 * What makes a slot unreadable for a capture does so for a look at it.  The messages of an unknown
 * plugin are not read, so that it counts as a known one here, and as one without two phases.
 */
static enum outcome check_slot(PGconn *sql, const struct slot *slot, const struct options *o,
                               bool known)
{
    struct system here = {.database = PQdb(sql), .version = PQserverVersion(sql)};
    struct slot like = *slot;

    if (!known && slot->logical) {
        snprintf(like.plugin, sizeof like.plugin, "%s", plugin_of(o->plugin)->library);
        like.two_phase = false;
    }
    return slot_check(&like, o, &here);
}

/* ---- the publication ---- */

/*
 * Which there are, and which of them the slot's reader asks for, as far as the role may know: the
 * server remembers publications for no slot.
 */
static enum outcome hint_at_publications(PGconn *sql, const struct options *o)
{
    static const char question[] =
        "SELECT (SELECT string_agg(format('\"%s\"', pubname), ', ' ORDER BY pubname)"
        "          FROM pg_publication) AS names,"
        "       (SELECT substring(a.query FROM 'publication_names\"? +''((?:[^'']|'''')*)''')"
        "          FROM pg_replication_slots AS s"
        "          JOIN pg_stat_activity AS a ON a.pid = s.active_pid"
        "         WHERE s.slot_name = $1) AS reads";
    PGresult *result;
    const char *names, *reads;
    enum outcome outcome =
        sql_query(sql, "look up the publications", question, 1, &o->slot, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    names = result_text(result, 0, "names");
    reads = result_text(result, 0, "reads");
    if (reads)
        log_detail("Who reads the slot now has asked for %s.", reads);
    if (names)
        log_hint("Name the one that the slot is read with by --publication; the database has %s.",
                 names);
    else
        log_hint("The database has no publication, so that nothing can be read from this slot.");
    PQclear(result);
    return OUTCOME_MISUSED;
}

static enum outcome check_publication(PGconn *sql, const struct options *o)
{
    PGresult *result;
    bool exists;
    enum outcome outcome =
        sql_query(sql, "look up the publication",
                  "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)", 1,
                  &o->publication, &result);

    if (outcome != OUTCOME_OK)
        return outcome;
    exists = result_first(result)[0] == 't';
    PQclear(result);
    if (exists)
        return OUTCOME_OK;
    log_error("publication \"%s\" does not exist", o->publication);
    return hint_at_publications(sql, o);
}

/* ---- both ---- */

/*
 * Of several hosts, those that have no such slot, or have it from their primary, leave it to the
 * ones behind them.  *sql is the caller's to PQfinish(), whatever comes out.
 */
static enum outcome connect(struct connector *connector, const struct options *o, PGconn **sql,
                            struct slot *slot)
{
    unsigned hosts = connector_hosts(connector);

    for (;;) {
        enum outcome outcome = connector_connect(connector, CONNECTION_SQL, sql);

        if (outcome == OUTCOME_OK)
            outcome = slot_find(*sql, o->slot, slot);
        if (outcome != OUTCOME_OK || (slot->exists && !slot->synced) || --hosts == 0)
            return outcome;
        log_notice("replication slot \"%s\" cannot be read here: trying the next host", o->slot);
        PQfinish(*sql);
        *sql = NULL;
        connector_forget_host(connector);
        connector_next_host(connector);
    }
}

/* *raw: nobody but the plugin's authors knows what its messages say. */
static enum outcome look(PGconn *sql, const struct options *o, const struct slot *slot, bool *raw)
{
    struct options with = *o;
    enum outcome outcome;

    *raw = false;
    if (!slot->exists)
        return missing_slot(o);
    *raw = slot->logical && plugin_name_of_library(slot->plugin) == PLUGIN_AS_SLOT;
    if (*raw && o->plugin != PLUGIN_AS_SLOT)
        return refuse_plugin(slot, o);
    if (with.plugin == PLUGIN_AS_SLOT)
        with.plugin = plugin_name_of_library(slot->plugin);
    outcome = check_slot(sql, slot, &with, !*raw);
    if (outcome != OUTCOME_OK || *raw)
        return outcome;
    outcome = check_two_phase(slot, o);
    return outcome == OUTCOME_OK && plugin_of(with.plugin)->publishes ? check_publication(sql, o)
                                                                      : outcome;
}

enum outcome peek_run(const struct options *o)
{
    struct connector *connector = connector_new(o);
    struct slot slot;
    PGconn *sql = NULL;
    bool raw = false;
    enum outcome outcome = OUTCOME_MISUSED;

    if (!connector)
        return outcome;
    outcome = connect(connector, o, &sql, &slot);
    if (outcome == OUTCOME_OK)
        outcome = look(sql, o, &slot, &raw);
    if (outcome == OUTCOME_OK && raw)
        outcome = peek_raw(sql, o, &slot);
    PQfinish(sql);
    if (outcome == OUTCOME_OK && !raw)
        return capture_run_over(o, connector);
    connector_free(connector);
    return outcome;
}
