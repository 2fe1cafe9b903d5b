#include "actions/check_slot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/lsn.h"
#include "capture/checks.h"
#include "source/plugin.h"
#include "source/slot_watch.h"

/* ---- the state file ---- */

static void tell_state(struct check *c)
{
    const struct options *o = c->session.o;
    const struct delivery *d = &c->session.delivery;

    if (!d->resumed)
        findings_ok(&c->found, PART_STATE,
                    "state file \"%s\" is not there yet: this is the first run", o->state_file);
    else
        findings_ok(&c->found, PART_STATE, "state file \"%s\" is whole: it is at " LSN_FMT,
                    o->state_file, LSN_ARGS(d->state.position.lsn));
}

/* What a deferred run has given and nobody has acknowledged. */
static void warn_of_pending(struct check *c)
{
    const char *path = c->session.o->state_file;
    struct state pending = {0};
    bool found;

    if (!c->session.delivery.state.pending)
        return;
    findings_listen(&c->found, PART_STATE);
    if (findings_heed(&c->found, state_load_pending(&pending, path, &found)) == OUTCOME_OK) {
        char *remedy = xasprintf("cdcdump --ack --state=%s", path);

        findings_warn(&c->found, PART_STATE, remedy,
                      "what the last run has given up to " LSN_FMT
                      " was not acknowledged, and would be given again",
                      LSN_ARGS(pending.position.lsn));
        free(remedy);
    }
    state_release(&pending);
}

/* As delivery_load_state(), without holding or changing anything. */
void check_slot_state(struct check *c)
{
    struct delivery *d = &c->session.delivery;
    const struct options *o = c->session.o;
    enum outcome outcome;

    d->state_path = o->state_file;
    if (!o->state_file)
        return;
    findings_listen(&c->found, PART_STATE);
    outcome = state_look_at_lock(o->state_file);
    if (outcome == OUTCOME_OK)
        outcome = state_load(&d->state, o->state_file, &d->resumed);
    if (findings_heed(&c->found, outcome) != OUTCOME_OK) {
        d->resumed = false;
        return;
    }
    if (d->resumed)
        d->emitted = d->accepted = d->recorded = d->state.position;
    tell_state(c);
    warn_of_pending(c);
}

/* ---- the slot ---- */

static void tell_slot(struct check *c, const struct slot_watch *w)
{
    const struct slot *slot = &c->slot;
    const char *lag = w->count ? result_text(w->rows, 0, "lag") : NULL;

    findings_ok(&c->found, PART_SLOT,
                "replication slot \"%s\" of plugin \"%s\" can be read: it is at " LSN_FMT "%s%s%s",
                c->session.o->slot, slot->plugin, LSN_ARGS(slot->confirmed), lag ? ", " : "",
                lag ? lag : "", lag ? " behind" : "");
}

/* What holds it back.  That nobody reads it is what the capture is to change. */
static void warn_of_slot(struct check *c, const struct slot_watch *w)
{
    const struct watched_slot *watched = w->count ? &w->slots[0] : NULL;

    if (!watched || !watched->reason || watched->lost ||
        (!watched->holder && !strchr(watched->reason, ';')))
        return;
    findings_warn(&c->found, PART_SLOT, watched->remedy, "replication slot \"%s\": %s",
                  c->session.o->slot, watched->reason);
}

/* Somebody else reads it: who that is. */
static void name_holder(struct check *c, const struct slot_watch *w, struct finding *in_use)
{
    if (!w->count || !w->slots[0].holder)
        return;
    finding_set_reason(in_use, xasprintf("replication slot \"%s\" is in use by %s",
                                         c->session.o->slot, w->slots[0].holder));
    finding_set_remedy(in_use,
                       xasprintf("SELECT pg_terminate_backend(%d);", c->slot.active_pid));
}

/* A new snapshot takes the place of a position that is lost, as session_renew() has it. */
static void renew(struct check *c, size_t count, enum outcome before)
{
    struct session *s = &c->session;

    findings_demote(&c->found, count, before);
    findings_warn(&c->found, PART_SLOT, NULL,
                  "the capture would take a new snapshot, as its startup mode says");
    s->delivery.resumed = false;
    coverage_reset(&s->delivery.state.coverage);
    c->slot.exists = c->slot.exists && !c->slot.lost;
}

static void look_at_watch(struct check *c, enum outcome outcome, size_t heard)
{
    struct slot_watch w;
    bool there = c->slot.exists;

    if (!there)
        return;
    findings_listen(&c->found, PART_SLOT);
    if (findings_excuse(&c->found, slot_watch(c->sql, c->session.o->slot, &w))) {
        if (outcome == OUTCOME_OK)
            tell_slot(c, &w);
        else if (c->slot.active && outcome == OUTCOME_UNAVAILABLE)
            name_holder(c, &w, &c->found.list[heard]);
        warn_of_slot(c, &w);
    }
    slot_watch_release(&w);
}

bool check_slot(struct check *c)
{
    struct session *s = &c->session;
    size_t count = c->found.count;
    enum outcome before = c->found.outcome, outcome;
    struct finding *heard;

    findings_listen(&c->found, PART_SLOT);
    outcome = session_look_at_slot(s, c->sql, c->walsender, &c->slot);
    findings_heed(&c->found, outcome);
    heard = findings_heard(&c->found);
    look_at_watch(c, outcome, heard ? (size_t)(heard - c->found.list) : 0);
    if (outcome == OUTCOME_POSITION_LOST && s->o->mode == MODE_WHEN_NEEDED) {
        renew(c, count, before);
        return true;
    }
    return outcome == OUTCOME_OK;
}

void check_slot_presence(struct check *c)
{
    size_t count = c->found.count;
    enum outcome before = c->found.outcome, outcome;
    struct session *s = &c->session;

    c->makes_slot = false;
    if (!c->needs_slot || c->slot.exists)
        return;
    findings_listen(&c->found, PART_SLOT);
    outcome = findings_heed(&c->found, session_look_for_slot(s, &c->slot));
    if (outcome == OUTCOME_POSITION_LOST && s->o->mode == MODE_WHEN_NEEDED) {
        renew(c, count, before);
        outcome = OUTCOME_OK;
    }
    c->makes_slot = outcome == OUTCOME_OK;
    if (c->makes_slot)
        findings_ok(&c->found, PART_SLOT, "replication slot \"%s\" would be created%s", s->o->slot,
                    s->o->temporary_slot ? ", for the time of the run" : "");
}

void check_slot_start(struct check *c)
{
    bool needed;

    if (!c->planned)
        return;
    findings_listen(&c->found, PART_SLOT);
    if (findings_heed(&c->found, session_look_at_start(&c->session, c->sql, &c->slot, &needed)) ==
            OUTCOME_OK &&
        !needed)
        findings_ok(&c->found, PART_SLOT, "there is nothing left to do: all rows have been given");
}
