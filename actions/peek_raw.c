#include "actions/peek_raw.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "deliver/output.h"
#include "encode/value.h"
#include "source/connection.h"
#include "source/plugin.h"
#include "source/server_error.h"
#include "source/stream.h"
#include "source/system.h"

struct raw {
    const struct options *o;
    const struct slot *slot;
    PGconn *sql;
    struct slot_copy copy; /* of a slot that somebody reads */
    bool binary;           /* the function for binary output */
    char *options;         /* the plugin's: a text[] of names and values; owned */
    char upto[24];         /* where it ends */
    char count[24];        /* how many messages are enough; "" = no bound */
    struct output output;
    uint32_t xid;          /* of the last message, */
    uint64_t seq;          /* and its number there */
};

/* ---- what can be asked for ---- */

/* An option that has to do with what a message says, and nobody knows that here. */
static const char *asks_for_content(const struct options *o)
{
    const struct handling *h = &o->handling;
    bool shaped = o->envelope_given && o->envelope != ENVELOPE_PLAIN;

    return o->schemas.count                         ? "-n"
           : o->exclude_schemas.count               ? "-N"
           : o->tables.count                        ? "-t"
           : o->exclude_tables.count                ? "-T"
           : o->exclude_columns.count               ? "--exclude-column"
           : o->publication_given                   ? "--publication"
           : o->two_phase                           ? "--two-phase"
           : o->format == FORMAT_CSV                ? "-F csv"
           : o->format == FORMAT_AVRO               ? "-F avro"
           : shaped                                 ? "an envelope other than plain"
           : h->profile != handling_default.profile ? "--types"
           : o->key_delimiter                       ? "-K"
           : o->transactions                        ? "--transactions"
           : o->schema_events                       ? "--schema-events"
           : o->messages                            ? "--messages"
           : o->skip_ops                            ? "--skip-ops"
                                                    : NULL;
}

/* An option that the server's functions have nothing for. */
static const char *asks_for_stream(const struct options *o)
{
    return o->start_lsn         ? "-I"
           : o->until.timestamp ? "a timestamp for -E"
           : o->idle_exit       ? "--idle-exit"
           : o->max_time        ? "--max-time"
           : o->heartbeat       ? "--heartbeat"
                                : NULL;
}

/* A plugin that is asked for them tells the server, which makes the slot give them, for good. */
static const char *asks_for_prepared(const struct options *o)
{
    static const char *const names[] = {"two_phase", "two-phase"};

    for (size_t i = 0; i < o->plugin_options.count; i++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (strncmp(o->plugin_options.items[i], names[k], strlen(names[k])) == 0)
                return names[k];
    return NULL;
}

static enum outcome check_options(const struct options *o, const struct slot *slot)
{
    const char *content = asks_for_content(o), *stream = asks_for_stream(o);
    const char *prepared = slot->two_phase ? NULL : asks_for_prepared(o);

    if (prepared) {
        log_error("--peek and plugin option \"%s\" cannot be used together", prepared);
        log_detail("It would change the slot.");
        return OUTCOME_MISUSED;
    }
    if (!content && !stream)
        return OUTCOME_OK;
    log_error("%s and plugin \"%s\" cannot be used together", content ? content : stream,
              slot->plugin);
    if (content)
        log_detail("cdcdump does not know what the plugin's messages say: it prints them as they "
                   "are, in JSON.");
    else
        log_detail("Of a plugin that cdcdump does not know, the server is asked for what is "
                   "pending from the slot's position up to an LSN.");
    return OUTCOME_MISUSED;
}

/* ---- the question ---- */

/* NAME=VALUE, as the functions want it: a list in which names and values alternate. */
static char *plugin_options(const struct options *o)
{
    struct string_list list = {0};
    struct buf words; /* each with its NUL */
    const char *word;
    char *text;

    buf_init(&words, 256);
    for (size_t i = 0; i < o->plugin_options.count; i++) {
        const char *option = o->plugin_options.items[i];
        size_t len = strcspn(option, "=");

        buf_add(&words, option, len);
        buf_add_char(&words, '\0');
        buf_add_str(&words, option[len] ? option + len + 1 : "true");
        buf_add_char(&words, '\0');
    }
    list.items = xcalloc(2 * o->plugin_options.count + 1, sizeof *list.items);
    for (word = words.data; word < words.data + words.len; word += strlen(word) + 1)
        list.items[list.count++] = word;
    text = sql_text_array(&list);
    free(list.items);
    buf_release(&words);
    return text;
}

/*
 * The function goes on until what it has read reaches that LSN.  One of the user's may be where a
 * commit record begins, which is then included.
 */
static enum outcome find_end(struct raw *r)
{
    lsn_t end = 0;
    enum outcome outcome = system_wal_end(r->sql, &end);

    if (r->o->until.lsn && r->o->until.lsn < end)
        end = r->o->until.lsn + 1;
    snprintf(r->upto, sizeof r->upto, LSN_FMT, LSN_ARGS(end));
    if (r->o->count && r->o->count <= INT_MAX)
        snprintf(r->count, sizeof r->count, "%" PRIu64, r->o->count);
    return outcome;
}

/* In binary form a text is its bytes, and a bytea, too. */
static bool send_question(struct raw *r)
{
    char question[256];
    const char *const params[] = {*r->copy.name ? r->copy.name : r->o->slot, r->upto,
                                  *r->count ? r->count : NULL, r->options};

    snprintf(question, sizeof question,
             "SELECT lsn::text, xid::text, data FROM pg_catalog.pg_logical_slot_peek_%schanges("
             "$1, $2::pg_lsn, $3::int, VARIADIC $4::text[])",
             r->binary ? "binary_" : "");
    return PQsendQueryParams(r->sql, question, 4, NULL, params, NULL, NULL, 1) &&
           PQsetSingleRowMode(r->sql);
}

/* ---- waiting ---- */

/*
 * Until the output takes more or, if for_server, the server has something; OUTCOME_STOPPED where a
 * signal asks for the end.
 */
static enum outcome await(struct raw *r, bool for_server)
{
    const struct output *out = &r->output;
    bool watched = out->kind == OUTPUT_PIPE || out->kind == OUTPUT_SOCKET || !for_server;
    struct pollfd fds[] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = watched ? out->fd : -1, .events = output_pending(out) ? POLLOUT : 0},
        {.fd = for_server ? PQsocket(r->sql) : -1, .events = POLLIN},
    };

    if (signals_stop())
        return OUTCOME_STOPPED;
    if (poll(fds, 3, -1) > 0) {
        if (fds[0].revents)
            signals_drain();
        if (fds[1].revents & (POLLERR | POLLHUP))
            return OUTCOME_OUTPUT_CLOSED;
    }
    return signals_stop() ? OUTCOME_STOPPED : OUTCOME_OK;
}

/* Writes until no more than `rest` bytes wait. */
static enum outcome write_down_to(struct raw *r, size_t rest)
{
    enum outcome outcome = output_flush(&r->output);

    while (outcome == OUTCOME_OK && output_pending(&r->output) > rest) {
        outcome = await(r, false);
        if (outcome == OUTCOME_OK)
            outcome = output_flush(&r->output);
    }
    return outcome;
}

/* The next result, with what has been printed on its way while the server is silent. */
static enum outcome next_result(struct raw *r, PGresult **result)
{
    enum outcome outcome = OUTCOME_OK;

    *result = NULL;
    while (outcome == OUTCOME_OK && PQisBusy(r->sql)) {
        outcome = output_flush(&r->output);
        if (outcome == OUTCOME_OK)
            outcome = await(r, true);
        if (outcome == OUTCOME_OK && !PQconsumeInput(r->sql))
            break;
    }
    if (outcome == OUTCOME_OK)
        *result = PQgetResult(r->sql);
    return outcome;
}

/* ---- records ---- */

/* Bytes that may be anything are not text now and then, by chance. */
static void add_data(struct buf *b, const char *data, size_t len, bool binary)
{
    size_t start = b->len;

    buf_add_str(b, ",\"text\":");
    if (binary || !json_add_string(b, data, len)) {
        b->len = start;
        buf_add_str(b, ",\"base64\":");
        json_add_base64(b, data, len);
    }
    buf_add_str(b, "}\n");
}

static enum outcome print_row(struct raw *r, const PGresult *row)
{
    const char *data = result_string(row, 0, "data");
    int len = PQgetlength(row, 0, PQfnumber(row, "data"));
    uint32_t xid = result_u32(row, 0, "xid");
    struct buf *b = output_buffer(&r->output);

    if (xid != r->xid)
        r->seq = 0;
    r->xid = xid;
    buf_printf(b, "{\"op\":\"raw\",\"lsn\":\"" LSN_FMT "\",\"commit_lsn\":null,\"seq\":%" PRIu64
               ",\"xid\":%" PRIu32 ",\"ts\":null",
               LSN_ARGS(result_lsn(row, 0, "lsn")), ++r->seq, xid);
    add_data(b, data, (size_t)len, r->binary);
    return output_pending(&r->output) < OUTPUT_HIGH_WATER
               ? OUTCOME_OK
               : write_down_to(r, OUTPUT_HIGH_WATER / 2);
}

/* ---- the answer ---- */

/* Somebody reads the slot, or the plugin's output is binary: asked otherwise, once each. */
static enum outcome ask_otherwise(struct raw *r, const char *sqlstate, bool *again)
{
    bool in_use = strcmp(sqlstate, "55006") == 0 && !*r->copy.name;
    bool is_binary = strcmp(sqlstate, "0A000") == 0 && !r->binary;

    *again = in_use || is_binary;
    if (!*again)
        return OUTCOME_OK;
    if (is_binary)
        r->binary = true;
    if (!in_use && !*r->copy.name)
        return OUTCOME_OK;
    /* with the error the old one has gone */
    return slot_copy_make(r->sql, in_use ? r->sql : NULL, r->o->slot, r->slot->two_phase,
                            &r->copy);
}

/* Takes all results; *refused is the error, if there was one. */
static enum outcome take_answer(struct raw *r, PGresult **refused)
{
    enum outcome outcome;

    *refused = NULL;
    for (;;) {
        PGresult *result;

        outcome = next_result(r, &result);
        if (outcome != OUTCOME_OK || !result)
            return outcome;
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
            outcome = print_row(r, result);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR && !*refused)
            *refused = result;
        else
            PQclear(result);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

/* The server is still busy with what nobody wants any more. */
static void abandon(struct raw *r, enum outcome outcome)
{
    if (outcome != OUTCOME_OK)
        connection_cancel(r->sql);
}

static enum outcome ask(struct raw *r)
{
    for (;;) {
        PGresult *refused = NULL;
        bool again = false;
        enum outcome outcome = OUTCOME_OK;

        if (!send_question(r))
            return server_error(r->sql, NULL, "look at the changes");
        outcome = take_answer(r, &refused);
        abandon(r, outcome);
        if (outcome == OUTCOME_OK && refused)
            outcome = ask_otherwise(r, result_sqlstate(refused), &again);
        if (outcome == OUTCOME_OK && refused && !again)
            outcome = server_error(r->sql, refused, "look at the changes");
        PQclear(refused);
        if (outcome != OUTCOME_OK || !again)
            return outcome;
    }
}

/* After a signal: the buffer holds whole lines, for which the reader is given a moment. */
static enum outcome write_last(struct raw *r)
{
    enum { GRACE_USEC = 1000000, STEP_USEC = 10000 };
    usec_t deadline = clock_ticks() + GRACE_USEC;
    enum outcome outcome = output_flush(&r->output);

    while (outcome == OUTCOME_OK && output_pending(&r->output) && clock_ticks() < deadline) {
        clock_pause(STEP_USEC);
        outcome = output_flush(&r->output);
    }
    return outcome;
}

/* Whatever has ended it, what came before is printed. */
static enum outcome finish(struct raw *r, enum outcome outcome)
{
    enum outcome end = OUTCOME_OK;

    if (outcome == OUTCOME_OUTPUT_FAILED || outcome == OUTCOME_OUTPUT_CLOSED)
        return outcome;
    if (!signals_stop())
        end = write_down_to(r, 0);
    if (signals_stop())
        end = write_last(r);
    if (end == OUTCOME_OK && r->output.kind == OUTPUT_FILE)
        end = output_sync(&r->output);
    return end == OUTCOME_OK ? outcome : end;
}

enum outcome peek_raw(PGconn *sql, const struct options *o, const struct slot *slot)
{
    struct raw r = {.o = o, .slot = slot, .sql = sql};
    enum outcome outcome = check_options(o, slot);

    if (outcome != OUTCOME_OK)
        return outcome;
    log_verbose("plugin \"%s\" is not known: printing its messages as they are", slot->plugin);
    outcome = output_open(&r.output, o->file);
    if (outcome != OUTCOME_OK)
        return outcome;
    r.options = plugin_options(o);
    outcome = find_end(&r);
    if (outcome == OUTCOME_OK) /* how a plugin calls types depends on it */
        outcome = sql_run(sql, "set the search path", "RESET search_path");
    if (outcome == OUTCOME_OK)
        outcome = finish(&r, ask(&r));
    free(r.options);
    output_close(&r.output);
    return outcome;
}
