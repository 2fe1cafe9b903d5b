#include "actions/check.h"

#include <stdlib.h>
#include <string.h>

#include "actions/check_output.h"
#include "actions/check_server.h"
#include "actions/check_slot.h"
#include "actions/check_tables.h"
#include "base/log.h"
#include "base/signals.h"

/* ---- the connections ---- */

static void tell_connection(struct check *c)
{
    const char *host = PQhost(c->sql);

    findings_ok(&c->found, PART_CONNECTION, "connected to database \"%s\" as \"%s\" at %s, port %s",
                PQdb(c->sql), PQuser(c->sql), host && *host ? host : "the default socket",
                PQport(c->sql));
}

/* What libpq has found is told; what to do, only where the server has answered. */
static void hint_at_server(const struct findings *f, enum outcome outcome)
{
    struct finding *heard = findings_heard(f);

    if (heard && !heard->remedy && outcome == OUTCOME_UNAVAILABLE)
        finding_set_remedy(heard,
                           xstrdup("start the server, or name its host and port with -h and -p"));
}

static enum outcome connect(struct check *c)
{
    struct session *s = &c->session;
    enum outcome outcome;

    findings_listen(&c->found, PART_CONNECTION);
    outcome = findings_heed(&c->found, catalog_connection(s->catalog, &c->sql));
    if (outcome != OUTCOME_OK) {
        hint_at_server(&c->found, outcome);
        return outcome;
    }
    tell_connection(c);
    findings_listen(&c->found, PART_ROLE);
    outcome = connector_connect(s->connector, CONNECTION_REPLICATION, &c->walsender);
    findings_heed(&c->found, outcome);
    if (outcome != OUTCOME_OK)
        check_server_refusal(c);
    return outcome;
}

static void disconnect(struct check *c)
{
    PQfinish(c->walsender);
    c->walsender = c->sql = NULL;
    catalog_disconnect(c->session.catalog);
    connector_forget_host(c->session.connector);
}

/* ---- one server ---- */

/* As far as it goes without a walsender, which knows more: see session_look_at_server(). */
static void look_without_walsender(struct check *c)
{
    struct session *s = &c->session;

    s->system.version = PQserverVersion(c->sql);
    s->system.database = xstrdup(PQdb(c->sql));
    findings_listen(&c->found, PART_SLOT);
    if (!session_is_rows_only(s))
        findings_heed(&c->found, slot_find(c->sql, s->o->slot, &c->slot));
}

/* What the capture asks of the server itself and of the slot; false: that is not the right one. */
static bool look_at_server(struct check *c)
{
    struct session *s = &c->session;
    enum outcome outcome;

    findings_listen(&c->found, PART_SERVER);
    outcome = session_look_at_server(s, c->sql, c->walsender, &c->slot);
    if (findings_heed(&c->found, outcome) == OUTCOME_OK && check_slot(c))
        check_slot_presence(c);
    return !s->elsewhere;
}

/* A server that is the wrong one just now leaves those behind it in the list of hosts. */
static void look_at_servers(struct check *c)
{
    struct session *s = &c->session;
    unsigned hosts = connector_hosts(s->connector);

    for (unsigned i = 0; i < hosts; i++) {
        size_t count = c->found.count;
        enum outcome before = c->found.outcome;
        bool good;

        s->elsewhere = false;
        if (i > 0)
            connector_next_host(s->connector);
        if (connect(c) != OUTCOME_OK) {
            if (c->sql) {
                look_without_walsender(c);
                check_slot_presence(c);
            }
            return;
        }
        good = look_at_server(c);
        if (good || i + 1 == hosts || signals_stop())
            return;
        findings_demote(&c->found, count, before);
        disconnect(c);
    }
}

/* ---- all of it ---- */

static void open_session(struct check *c, const struct options *o)
{
    struct session *s = &c->session;

    *s = (struct session){.options = *o};
    s->o = &s->options;
    findings_listen(&c->found, PART_CONNECTION);
    s->connector = connector_new(s->o);
    findings_heed(&c->found, s->connector ? OUTCOME_OK : OUTCOME_MISUSED);
    s->delivery.lock.fd = s->delivery.output.fd = s->delivery.output.read_fd = -1;
    s->delivery.replies.fd = -1;
    check_output_replies(c);
    check_slot_state(c);
    s->catalog = catalog_new(s->connector, s->o, &s->selection);
}

/* --until as the server reads it. */
static void check_bounds(struct check *c)
{
    findings_listen(&c->found, PART_SERVER);
    findings_heed(&c->found, bounds_init(&c->session.bounds, c->session.o, c->sql));
}

static void look(struct check *c)
{
    c->needs_slot = !session_is_rows_only(&c->session);
    if (c->session.connector)
        look_at_servers(c);
    if (c->sql)
        check_bounds(c);
    check_output(c);
    if (!c->sql)
        return;
    check_tables(c);
    check_slot_start(c);
    check_server(c);
}

enum outcome check_run(const struct options *o)
{
    struct check c = {.sql = NULL};
    enum outcome outcome, printed;

    if (log_get_level() == LOG_NORMAL)
        log_set_level(LOG_QUIET); /* what a capture says of its doings is not true here */
    findings_init(&c.found);
    open_session(&c, o);
    look(&c);
    outcome = c.found.outcome;
    printed = findings_print(&c.found);
    if (signals_stop()) {
        log_error("stopped by a signal before all has been looked at");
        outcome = OUTCOME_FAILED; /* which says nothing of the capture */
    }
    PQfinish(c.walsender);
    c.session.prepared = c.planned; /* for what there is to be released */
    session_close(&c.session);
    findings_release(&c.found);
    return printed == OUTCOME_OK ? outcome : printed;
}
