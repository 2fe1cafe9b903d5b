#include "capture/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/checks.h"
#include "capture/transport.h"
#include "source/captured.h"
#include "source/plugin.h"
#include "source/publication.h"
#include "source/version.h"

/* ---- before any server is asked ---- */

enum outcome session_open(struct session *s, const struct options *o, struct connector *connector)
{
    enum outcome outcome;

    *s = (struct session){.options = *o, .connector = connector};
    s->o = &s->options;
    outcome = delivery_load_state(&s->delivery, s->o);
    if (outcome == OUTCOME_OK && !connector)
        s->connector = connector_new(s->o);
    return outcome == OUTCOME_OK && !s->connector ? OUTCOME_MISUSED : outcome;
}

/* ---- is there a position to go on from? ---- */

/* A state file that was written before any row was accepted holds no position to go on from. */
static bool is_untouched(const struct session *s)
{
    const struct coverage *c = &s->delivery.state.coverage;

    if (!s->delivery.state.has_coverage || c->ntables == 0)
        return false;
    for (size_t i = 0; i < c->ntables; i++)
        if (covered_to(c->tables[i])->kind != BOUND_NONE)
            return false;
    return true;
}

/*
 * Whether the reader of a pipe may have got rows all the same, of chunks that were not accepted.  What
 * has become of them since lies behind the position that those were read beside, and is to be given
 * (snapshot/coverage.h), as long as the slot still has it.
 */
static bool has_begun(const struct session *s, const struct slot *slot)
{
    const struct state *st = &s->delivery.state;

    return s->o->snapshot == SNAPSHOT_INCREMENTAL && s->o->mode != MODE_ALWAYS && st->has_coverage &&
           !st->coverage.certain && !st->output.path && slot->exists &&
           slot->confirmed <= st->position.lsn;
}

/* The last run has ended by itself, as this one will: the slot that it made has gone with it. */
static bool has_left_slot(const struct session *s)
{
    return s->delivery.state.complete && mode_ends(s->o->mode);
}

bool session_has_position(const struct session *s)
{
    return s->prepared ||
           (s->delivery.resumed && (!is_untouched(s) || s->begun) && !has_left_slot(s));
}

/* ---- where a first run begins ---- */

/* -I: unread changes before it are lost to this capture, what the slot has let go of is gone. */
static enum outcome check_start_lsn(const struct session *s, lsn_t confirmed, lsn_t position)
{
    lsn_t start = s->o->start_lsn;

    if (start > position && !s->o->force) {
        log_error("starting at " LSN_FMT " would skip unread changes from " LSN_FMT " on",
                  LSN_ARGS(start), LSN_ARGS(position));
        log_hint("Add --force to skip them.");
        return OUTCOME_MISUSED;
    }
    if (start < confirmed) {
        log_error("position lost: replication slot \"%s\" has no changes before " LSN_FMT
                  ", but the start is to be " LSN_FMT,
                  s->o->slot, LSN_ARGS(confirmed), LSN_ARGS(start));
        return OUTCOME_POSITION_LOST;
    }
    if (start > s->system.flushed) {
        log_error("start position " LSN_FMT " lies beyond the server's WAL, which ends at " LSN_FMT,
                  LSN_ARGS(start), LSN_ARGS(s->system.flushed));
        return OUTCOME_MISUSED;
    }
    return OUTCOME_OK;
}

/* The position of the run: from the state, else from the slot as the mode says, or from -I. */
static enum outcome choose_start(struct session *s, PGconn *sql, const struct slot *slot,
                                 lsn_t created_at)
{
    bool goes_on = session_has_position(s);
    lsn_t start = goes_on      ? s->delivery.emitted.lsn
                  : created_at ? created_at
                               : slot->confirmed;
    lsn_t confirmed = created_at ? created_at : slot->confirmed;
    enum outcome outcome = OUTCOME_OK;

    if (s->o->start_lsn) {
        outcome = check_start_lsn(s, confirmed, start);
        start = s->o->start_lsn;
    } else if (!goes_on && !created_at && s->o->mode == MODE_LATEST_OFFSET) {
        outcome = system_wal_end(sql, &start);
    }
    return outcome == OUTCOME_OK ? delivery_begin(&s->delivery, start) : outcome;
}

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

static void fill_state(struct session *s)
{
    struct state *st = &s->delivery.state;

    st->complete = false;
    st->slot_created |= s->created;
    if (s->delivery.resumed)
        return;
    set_text(&st->system_identifier, s->system.identifier);
    st->timeline = s->system.timeline;
    set_text(&st->database, s->system.database);
    set_text(&st->slot, s->o->slot);
    set_text(&st->plugin, plugin_of(s->o->plugin)->library);
    set_text(&st->publication, checks_publication(s));
}

/* ---- the rows of tables ---- */

/* Modes that read rows do so where no state file says that they have been read. */
static enum outcome plan_rows(struct session *s)
{
    struct state *st = &s->delivery.state;
    bool takes = mode_takes_snapshot(s->o->mode);
    bool again = s->delivery.resumed && st->has_coverage && !is_untouched(s);

    rows_init(&s->rows, &(struct rows_context){.o = s->o,
                                               .connector = s->connector,
                                               .catalog = s->catalog,
                                               .selection = &s->selection,
                                               .pipeline = &s->pipeline,
                                               .delivery = &s->delivery});
    if (s->o->mode == MODE_ALWAYS) {
        coverage_reset(&st->coverage);
        again = false;
    }
    if (takes && (!s->delivery.resumed || s->o->mode == MODE_ALWAYS))
        st->has_coverage = true;
    if (!st->has_coverage || !(takes || coverage_is_needed(&st->coverage, st->position.lsn)))
        return OUTCOME_OK;
    st->coverage.uncertain = s->delivery.resumed && !st->coverage.certain &&
                             s->o->mode != MODE_ALWAYS &&
                             s->o->snapshot == SNAPSHOT_INCREMENTAL &&
                             !delivery_is_exact(&s->delivery) &&
                             coverage_is_needed(&st->coverage, st->position.lsn);
    st->coverage.given_before = st->coverage.uncertain ? s->system.flushed : 0;
    if (s->o->start_lsn && !session_has_position(s)) {
        log_error("a start position cannot be chosen for a snapshot");
        log_hint("Leave -I out, or use a startup mode that does not read rows.");
        return OUTCOME_MISUSED;
    }
    return rows_plan(&s->rows, again);
}

/*
 * Rows are to be read beside a slot that is there already.  Transactions that may have been running
 * when the publication got its tables have to end first.  And a slot that is older than the
 * publication cannot be read from its own position: what has committed up to here is in the rows
 * then, once nothing of it is running any more.
 */
static enum outcome prepare_join(struct session *s, PGconn *sql, lsn_t *start)
{
    struct publication_look look;
    enum outcome outcome = publication_look(sql, s->o, &look);

    if (outcome != OUTCOME_OK || !(look.young || look.young_tables))
        return outcome;
    log_verbose("the publication, or a table of it, may be younger than the replication slot");
    if (look.young && !session_has_position(s))
        return system_quiet_point(sql, start);
    return system_await_running(sql, "rows are read, as they may have changed tables that were not "
                                     "published yet");
}

/* ---- what the records ask for ---- */

/* Tables as the last run has met them when its output could not carry them. */
static enum outcome expect_again(struct session *s)
{
    struct state *st = &s->delivery.state;
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < st->nexpected && outcome == OUTCOME_OK; i++) {
        outcome = catalog_describe(s->catalog, &st->expected[i]);
        if (outcome == OUTCOME_OK)
            placing_expect(&s->pipeline.placing, &st->expected[i]);
    }
    return outcome;
}

/* The tables by name and columns, where records or what they begin with depend on them. */
static enum outcome check_captured(struct session *s, PGconn *sql)
{
    const struct options *o = s->o;
    bool old_rows = checks_want_old_rows(s);
    bool one_table =
        o->format == FORMAT_CSV && o->envelope == ENVELOPE_FLINK && !o->per_table;
    struct relations captured;
    enum outcome outcome;

    if (!old_rows && !encoder_has_head(s->pipeline.encoder))
        return OUTCOME_OK;
    relations_init(&captured);
    outcome = captured_load(&captured, &(struct captured_context){.sql = sql,
                                                                  .o = o,
                                                                  .selection = &s->selection,
                                                                  .catalog = s->catalog});
    if (outcome == OUTCOME_OK && ((one_table && !checks_one_table(&captured)) ||
                                  (old_rows && !checks_identities(s, &captured))))
        outcome = OUTCOME_MISUSED;
    for (uint32_t i = 0; i < captured.count && outcome == OUTCOME_OK; i++)
        placing_expect(&s->pipeline.placing, captured.by_index[i]);
    if (outcome == OUTCOME_OK)
        outcome = expect_again(s);
    relations_release(&captured);
    return outcome;
}

/* ---- connecting ---- */

/* Tables, replica identities, publication: in the order in which the server needs them. */
static enum outcome prepare_source(struct session *s, PGconn *sql)
{
    enum outcome outcome;

    selection_release(&s->selection); /* of an attempt that failed later on */
    outcome = selection_load(&s->selection, sql, s->o);
    if (outcome != OUTCOME_OK || session_is_rows_only(s))
        return outcome; /* which has no use for a publication, but heeds one that is there */
    outcome = publication_set_identity(sql, s->o, &s->selection,
                                       !s->delivery.resumed && !session_only_looks(s));
    return outcome == OUTCOME_OK && plugin_of(s->o->plugin)->publishes
               ? publication_prepare(sql, s->o, &s->selection, !session_has_position(s))
               : outcome;
}

/* A new slot, and the snapshot that comes with it where rows are to be read. */
static enum outcome create_slot(struct session *s, PGconn *sql, PGconn *walsender,
                                lsn_t *created_at)
{
    bool export = rows_are_wanted(&s->rows) && s->o->snapshot == SNAPSHOT_CONSISTENT;
    struct created_slot created;
    enum outcome outcome = slot_create(walsender, sql, s->o, export, &created);

    if (created.too_large) {
        log_verbose("too many transactions are running for a snapshot to be exported: joining");
        export = false;
        outcome = checks_primary(sql);
        if (outcome == OUTCOME_OK)
            outcome = slot_create(walsender, sql, s->o, false, &created);
    }
    if (outcome != OUTCOME_OK)
        return outcome;
    s->created = true;
    *created_at = created.consistent_point;
    return export ? rows_begin_bulk(&s->rows, created.snapshot, created.consistent_point)
                  : OUTCOME_OK;
}

/* Whether rows are read under a snapshot of their own, beside a stream. */
static bool reads_beside(const struct session *s, const struct slot *slot)
{
    return rows_are_wanted(&s->rows) && !session_is_rows_only(s) &&
           (slot->exists || s->o->snapshot == SNAPSHOT_INCREMENTAL);
}

/* The slot, and where its stream begins. */
static enum outcome prepare_slot(struct session *s, PGconn *sql, PGconn *walsender,
                                 struct slot *slot)
{
    bool own = reads_beside(s, slot);
    lsn_t created_at = 0;
    enum outcome outcome = own ? checks_primary(sql) : OUTCOME_OK;

    if (outcome == OUTCOME_OK && own)
        outcome = system_await_commits(sql);
    if (outcome == OUTCOME_OK && own && s->o->two_phase)
        outcome = system_await_prepared(sql); /* their PREPARE may lie before the slot's position */
    if (outcome != OUTCOME_OK)
        return outcome;
    if (session_is_rows_only(s))
        slot->confirmed = s->system.flushed; /* of no further use */
    else if (!slot->exists)
        outcome = create_slot(s, sql, walsender, &created_at);
    else if (rows_are_wanted(&s->rows))
        outcome = prepare_join(s, sql, &slot->confirmed);
    if (outcome != OUTCOME_OK)
        return outcome;
    fill_state(s);
    return choose_start(s, sql, slot, created_at);
}

/*
 * A run that ends by itself once rows have been given: with nothing left to read there is nothing
 * left to do, but for changes that were made while they were read.
 */
static bool has_ended(const struct session *s)
{
    const struct state *st = &s->delivery.state;

    if (session_is_rows_only(s))
        return !rows_are_wanted(&s->rows);
    return s->delivery.resumed && mode_ends(s->o->mode) && !rows_are_wanted(&s->rows) &&
           st->complete;
}

/* A table that comes later has no part in a snapshot whose slot is no more. */
static bool is_too_late(const struct session *s, const struct slot *slot)
{
    if (!has_left_slot(s) || session_is_rows_only(s) || !rows_are_wanted(&s->rows) || slot->exists)
        return false;
    log_error("the snapshot of state file \"%s\" is complete and its replication slot has been "
              "dropped",
              s->o->state_file);
    log_hint("Use another state file, and slot, for tables that have come since.");
    return true;
}

static void forget_tables(struct session *s)
{
    rows_release(&s->rows);
    pipeline_release(&s->pipeline);
}

static struct decoder *new_decoder(const struct session *s, const PGconn *conn)
{
    return decoder_new(&(struct decoder_setup){
        .kind = plugin_of(s->o->plugin)->decoder,
        .describer = catalog_describer(s->catalog),
        .encoding = PQparameterStatus(conn, "server_encoding"),
        .last_commit = s->delivery.recorded.commit_lsn,
    });
}

enum outcome session_look_for_slot(struct session *s, const struct slot *slot)
{
    bool unused = session_is_rows_only(s) || has_left_slot(s);
    bool must_exist = session_has_position(s) || s->o->mode == MODE_COMMITTED_OFFSET ||
                      (s->o->start_lsn && !mode_takes_snapshot(s->o->mode));

    if (!slot->exists && must_exist && !unused) /* a new one has nothing from before */
        return checks_slot_missing(s);
    return OUTCOME_OK;
}

enum outcome session_look_at_tables(struct session *s, PGconn *sql, const struct slot *slot)
{
    struct decoder *decoder;
    enum outcome outcome = OUTCOME_OK;

    if (handling_mode(&s->o->handling, (int)s->o->handling.decimals))
        outcome = system_money_places(sql, &s->options.handling.money_places);
    decoder = outcome == OUTCOME_OK ? new_decoder(s, sql) : NULL;
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!decoder)
        return OUTCOME_MISUSED;
    pipeline_init(&s->pipeline, s->o, s->catalog, &s->delivery, &s->bounds, decoder,
                  s->system.database);
    outcome = check_captured(s, sql);
    if (outcome == OUTCOME_OK)
        outcome = plan_rows(s);
    if (outcome == OUTCOME_OK && is_too_late(s, slot))
        outcome = OUTCOME_MISUSED;
    if (outcome != OUTCOME_OK)
        forget_tables(s);
    return outcome;
}

enum outcome session_look_at_start(const struct session *s, PGconn *sql, const struct slot *slot,
                                   bool *needed)
{
    bool begins = s->o->start_lsn && slot->exists && !session_is_rows_only(s);
    enum outcome outcome = OUTCOME_OK;

    *needed = !has_ended(s);
    if (*needed && reads_beside(s, slot))
        outcome = checks_primary(sql);
    if (outcome == OUTCOME_OK && *needed && begins)
        outcome = check_start_lsn(s, slot->confirmed,
                                  session_has_position(s) ? s->delivery.emitted.lsn
                                                          : slot->confirmed);
    return outcome;
}

static enum outcome end_at_once(struct session *s)
{
    log_notice(s->delivery.resumed ? "the rows have been read already: there is nothing left to do"
                                   : "there are no rows to read");
    s->pipeline.finished = true;
    if (s->delivery.resumed)
        return OUTCOME_OK;
    fill_state(s);
    return delivery_begin(&s->delivery, s->system.flushed);
}

/* All that only the first connect does.  The slot is created last: it makes the server keep WAL. */
static enum outcome prepare(struct session *s, PGconn *sql, PGconn *walsender, struct slot *slot)
{
    enum outcome outcome = session_look_for_slot(s, slot);

    if (outcome == OUTCOME_OK)
        outcome = bounds_init(&s->bounds, s->o, sql);
    if (outcome == OUTCOME_OK)
        outcome = delivery_open_output(&s->delivery, s->o);
    if (outcome == OUTCOME_OK)
        outcome = prepare_source(s, sql);
    if (outcome == OUTCOME_OK)
        outcome = session_look_at_tables(s, sql, slot);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = has_ended(s) ? end_at_once(s) : prepare_slot(s, sql, walsender, slot);
    s->prepared = outcome == OUTCOME_OK;
    if (!s->prepared)
        forget_tables(s);
    return outcome;
}

static enum outcome prepare_again(struct session *s, PGconn *sql, const struct slot *slot)
{
    if (!slot->exists)
        return checks_slot_missing(s);
    return plugin_of(s->o->plugin)->publishes ? publication_prepare(sql, s->o, &s->selection, false)
                                              : OUTCOME_OK;
}

/*
 * Between the look at the slot and START_REPLICATION somebody may have moved it; the server would
 * not say so.  Now it is ours, and a second look is final.
 */
static enum outcome check_after_start(struct session *s, PGconn *sql)
{
    struct slot slot;
    enum outcome outcome = slot_find(sql, *s->copy.name ? s->copy.name : s->o->slot, &slot);

    s->pipeline.decoder->settled = slot.catalog_xmin;
    if (outcome != OUTCOME_OK)
        return outcome;
    return slot.exists ? checks_slot_position(s, &slot) : checks_slot_missing(s);
}

/* Without -P the state file, or a slot that is there, says what the slot is read with. */
static enum outcome choose_plugin(struct session *s, const struct slot *slot)
{
    bool usable = slot->exists && slot->logical;
    const char *library = s->delivery.resumed ? s->delivery.state.plugin : usable ? slot->plugin : "";

    if (s->prepared)
        return OUTCOME_OK;
    if (s->options.plugin == PLUGIN_AS_SLOT && usable && strcmp(slot->plugin, library) != 0) {
        log_error("replication slot \"%s\" was created for plugin \"%s\", not for \"%s\"", s->o->slot,
                  slot->plugin, library);
        log_detail("State file \"%s\" belongs to a slot of plugin \"%s\".", s->o->state_file, library);
        log_hint("The slot has been dropped and created again: to begin anew, move the state file "
                 "away.");
        return OUTCOME_MISUSED;
    }
    if (s->options.plugin == PLUGIN_AS_SLOT)
        s->options.plugin = plugin_name_of_library(library);
    if (s->options.plugin == PLUGIN_AS_SLOT)
        s->options.plugin = PLUGIN_PGOUTPUT;
    log_verbose("reading with plugin \"%s\"", plugin_of(s->o->plugin)->name);
    return plugin_check(s->o);
}

enum outcome session_look_at_server(struct session *s, PGconn *sql, PGconn *walsender,
                                    struct slot *slot)
{
    enum outcome outcome;

    *slot = (struct slot){0};
    system_release(&s->system);
    s->copy.name[0] = '\0';
    outcome = system_identify(walsender, &s->system);
    if (outcome == OUTCOME_OK && !session_is_rows_only(s))
        outcome = slot_find(sql, s->o->slot, slot);
    if (outcome == OUTCOME_OK)
        outcome = choose_plugin(s, slot);
    if (outcome == OUTCOME_OK)
        outcome = version_check(s->system.version, s->o);
    if (outcome == OUTCOME_OK && !s->prepared)
        outcome = publication_as_found(sql, &s->options);
    if (!s->prepared)
        s->begun = has_begun(s, slot);
    return outcome;
}

enum outcome session_look_at_slot(struct session *s, PGconn *sql, PGconn *walsender,
                                  struct slot *slot)
{
    enum outcome outcome = OUTCOME_OK;

    if (session_has_position(s))
        outcome = checks_system(s, walsender);
    else if (s->delivery.resumed)
        outcome = checks_state(s);
    if (outcome == OUTCOME_OK && slot->exists)
        outcome = checks_slot(s, sql, slot);
    if (outcome == OUTCOME_OK && slot->active && session_only_looks(s))
        outcome = checks_copy_slot(s, sql, walsender, slot);
    if (outcome == OUTCOME_OK && slot->exists && session_has_position(s))
        outcome = checks_slot_position(s, slot);
    return outcome;
}

static enum outcome connect_and_check(struct session *s, PGconn *sql, PGconn **walsender)
{
    struct slot slot;
    enum outcome outcome = connector_connect(s->connector, CONNECTION_REPLICATION, walsender);

    if (outcome == OUTCOME_OK)
        outcome = session_look_at_server(s, sql, *walsender, &slot);
    if (outcome == OUTCOME_OK)
        outcome = session_look_at_slot(s, sql, *walsender, &slot);
    if (outcome != OUTCOME_OK)
        return outcome;
    return s->prepared ? prepare_again(s, sql, &slot) : prepare(s, sql, *walsender, &slot);
}

/* A decoder that looks ahead of the pipeline's, which has found the encoding good and does the talking. */
static struct decoder *new_scout(const struct session *s, const PGconn *sql)
{
    struct decoder *scout = new_decoder(s, sql);

    scout->silent = true;
    scout->settled = s->pipeline.decoder->settled;
    scout->nan_is_null = s->stream.nan_is_null;
    return scout;
}

/* Who judges the changes, and who compares keys for that. */
static void attach_coverage(struct session *s, const PGconn *sql)
{
    struct coverage *c = &s->delivery.state.coverage;
    bool compares = false;

    if (!s->delivery.state.has_coverage)
        return;
    for (size_t i = 0; i < c->ntables; i++)
        compares |= c->tables[i]->order && !c->tables[i]->order->plain;
    if (compares && s->o->snapshot == SNAPSHOT_INCREMENTAL &&
        coverage_is_needed(c, s->delivery.emitted.lsn))
        s->sieve = sieve_new(c, new_scout(s, sql));
    pipeline_set_coverage(&s->pipeline, c, &s->rows.plan.relations,
                          s->sieve ? sieve_comparer(s->sieve) : NULL);
    s->pipeline.covers_new = s->rows.all_tables;
}

/* Rows that have no exported snapshot to be read under take their own. */
static enum outcome begin_rows(struct session *s)
{
    if (!rows_are_wanted(&s->rows) || s->o->snapshot == SNAPSHOT_INCREMENTAL || s->rows.bulk)
        return OUTCOME_OK;
    return rows_begin_bulk(&s->rows, NULL, 0);
}

static enum outcome start_streaming(struct session *s, PGconn *sql, PGconn *walsender)
{
    enum outcome outcome;

    s->started = true;
    outcome = transport_start(s, sql, walsender);
    s->streamed |= outcome == OUTCOME_OK;
    s->refused = outcome == OUTCOME_MISUSED && !s->streamed && !s->delivery.resumed;
    if (outcome == OUTCOME_MISUSED)
        plugin_hint_at_setting(sql, plugin_of(s->o->plugin), s->stream.forbidden);
    s->pipeline.decoder->nan_is_null = s->stream.nan_is_null;
    return outcome == OUTCOME_OK ? check_after_start(s, sql) : outcome;
}

static enum outcome connect_once(struct session *s)
{
    PGconn *sql, *walsender = NULL;
    enum outcome outcome;

    s->started = s->elsewhere = false;
    if (!s->catalog)
        s->catalog = catalog_new(s->connector, s->o, &s->selection);
    catalog_disconnect(s->catalog);
    connector_forget_host(s->connector);
    outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = connect_and_check(s, sql, &walsender);
    if (outcome != OUTCOME_OK || s->pipeline.finished || session_is_rows_only(s))
        PQfinish(walsender);
    else
        outcome = start_streaming(s, sql, walsender);
    if (outcome != OUTCOME_OK || s->pipeline.finished)
        return outcome;
    s->delivery.state.timeline = s->system.timeline; /* not before all has been found good */
    attach_coverage(s, sql);
    return begin_rows(s);
}

/* A server that is the wrong one just now leaves those behind it in the list of hosts. */
enum outcome session_connect(struct session *s)
{
    unsigned hosts = connector_hosts(s->connector);
    enum outcome outcome = connect_once(s);

    for (unsigned i = 1; i < hosts && outcome == OUTCOME_UNAVAILABLE && s->elsewhere; i++) {
        stream_close(&s->stream);
        connector_next_host(s->connector);
        log_notice("trying the next host");
        outcome = connect_once(s);
    }
    if (outcome == OUTCOME_UNAVAILABLE && s->elsewhere)
        connector_next_host(s->connector);
    return outcome;
}

enum outcome session_follow_timeline(struct session *s)
{
    struct state *st = &s->delivery.state;
    struct system now = {.timeline = st->timeline};
    enum outcome outcome = OUTCOME_OK;

    if (!s->system.standby || !stream_is_open(&s->stream))
        return OUTCOME_OK;
    if (!s->observer)
        outcome = connector_connect(s->connector, CONNECTION_REPLICATION, &s->observer);
    if (outcome == OUTCOME_OK)
        outcome = system_identify(s->observer, &now);
    if (outcome == OUTCOME_OK && now.timeline != st->timeline) {
        log_notice("the server has gone on to timeline %u", now.timeline);
        st->timeline = now.timeline;
    }
    system_release(&now);
    return outcome;
}

void session_disconnect(struct session *s)
{
    stream_close(&s->stream);
    PQfinish(s->observer);
    s->observer = NULL;
    if (s->catalog)
        catalog_disconnect(s->catalog);
    sieve_free(s->sieve);
    s->sieve = NULL;
    if (s->prepared)
        pipeline_interrupt(&s->pipeline);
}

/* ---- beginning anew, and ending ---- */

static void forget_position(struct session *s)
{
    struct delivery *d = &s->delivery;

    if (s->prepared) {
        rows_release(&s->rows);
        pipeline_release(&s->pipeline);
    }
    s->prepared = s->created = false;
    d->resumed = false;
    d->state.slot_created = false;
    d->state.position = (struct position){.rows = d->state.coverage.last};
    d->state.has_coverage = true;
    coverage_reset(&d->state.coverage);
}

enum outcome session_renew(struct session *s)
{
    bool useless = s->started; /* it was the slot that could not give the changes */
    PGconn *sql;
    struct slot slot;
    enum outcome outcome;

    log_notice("taking a new snapshot, as the startup mode asks");
    outcome = s->prepared ? delivery_cut_unfinished(&s->delivery) : OUTCOME_OK;
    if (outcome == OUTCOME_OK && s->prepared)
        outcome = delivery_settle(&s->delivery);
    session_disconnect(s);
    if (outcome == OUTCOME_OK)
        outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = slot_find(sql, s->o->slot, &slot);
    if (outcome == OUTCOME_OK && slot.exists && (useless || slot.lost))
        outcome = slot_drop(sql, s->o->slot);
    if (outcome != OUTCOME_OK)
        return outcome;
    forget_position(s);
    s->renewed = true;
    return OUTCOME_OK;
}

void session_tell_slot(struct session *s)
{
    struct buf why;
    PGconn *sql;
    enum outcome outcome;

    if (!s->streamed || session_only_looks(s))
        return;
    buf_init(&why, 256);
    log_keep_errors(&why);
    catalog_disconnect(s->catalog); /* the server may have come back since */
    outcome = catalog_connection(s->catalog, &sql);
    if (outcome == OUTCOME_OK)
        outcome = slot_advance(sql, s->o->slot, s->delivery.recorded.lsn);
    log_keep_errors(NULL);
    if (outcome != OUTCOME_OK)
        log_verbose("the slot could not be told: %.*s", (int)why.len, why.data);
    buf_release(&why);
}

bool session_is_complete(const struct session *s)
{
    const struct delivery *d = &s->delivery;

    if (!mode_ends(s->o->mode) || rows_are_wanted(&s->rows) || rows_hold_stream(&s->rows))
        return false;
    return session_is_rows_only(s) || d->state.complete ||
           (s->snapshot_end && d->emitted.lsn >= s->snapshot_end);
}

static enum outcome drop_slot(struct session *s)
{
    PGconn *sql;
    enum outcome outcome = catalog_connection(s->catalog, &sql);

    return outcome == OUTCOME_OK ? slot_drop(sql, s->o->slot) : outcome;
}

/* A slot that this capture has made and that nothing will be read from. */
static bool is_left_over(const struct session *s)
{
    const struct state *st = &s->delivery.state;

    if (s->o->temporary_slot || s->delivery.left_pending)
        return false;
    if (s->created && s->refused)
        return true;
    if (!st->has_coverage)
        return false;
    if (s->created && s->delivery.recorded.rows == 0 &&
        !coverage_whole_at(&st->coverage, &s->delivery.recorded))
        return true;
    if (s->o->mode != MODE_SNAPSHOT)
        return false;
    return (st->slot_created && st->complete) || (s->created && !s->delivery.state_path);
}

enum outcome session_leave_slot(struct session *s, bool orderly)
{
    enum outcome outcome = OUTCOME_OK;

    if (session_only_looks(s))
        return OUTCOME_OK;
    if (s->o->drop_slot_on_stop && orderly && !session_is_rows_only(s)) {
        outcome = drop_slot(s);
        if (outcome == OUTCOME_OK)
            delivery_forget_state(&s->delivery);
    } else if (is_left_over(s)) {
        outcome = drop_slot(s);
    }
    return outcome;
}

void session_close(struct session *s)
{
    stream_close(&s->stream);
    PQfinish(s->observer);
    sieve_free(s->sieve);
    if (s->prepared) {
        rows_release(&s->rows);
        pipeline_release(&s->pipeline);
    }
    catalog_free(s->catalog);
    selection_release(&s->selection);
    system_release(&s->system);
    connector_free(s->connector);
    delivery_close(&s->delivery);
}
