#include "source/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/server_error.h"
#include "source/transport.h"

void stream_init(struct stream *s, const struct options *o, lsn_t start)
{
    *s = (struct stream){
        .looks = o->action == ACTION_PEEK,
        .plugin = plugin_of(o->plugin),
        .publication = o->publication,
        .chunks = o->plugin == PLUGIN_WAL2JSON_STREAMING ||
                  o->plugin == PLUGIN_WAL2JSON_RDS_STREAMING,
        .selects = o->schemas.count + o->exclude_schemas.count + o->tables.count +
                       o->exclude_tables.count + o->qualified_tables.count +
                       o->exclude_qualified_tables.count > 0,
        .received = start,
    };
}

/* ---- what the server says ---- */

static void hint_at_publication(const struct stream *s)
{
    if (s->looks)
        log_hint("The publication did not exist at that point of the WAL, and no capture of this "
                 "slot would get past it.  -I LSN begins to look behind it.");
    else
        log_hint("The publication did not exist at that point of the WAL.  Begin anew with another "
                 "slot, or leave the changes up to now out with -m latest-offset and no state "
                 "file.");
}

/* The server repeats a plugin's warning for every row that it is about: once is enough. */
static bool is_news(struct stream *s, const char *message)
{
    for (size_t i = 0; i < s->nwarnings; i++)
        if (strcmp(s->warnings[i], message) == 0)
            return false;
    if (s->nwarnings == STREAM_MAX_WARNINGS)
        return false;
    s->warnings[s->nwarnings++] = xstrdup(message);
    return true;
}

/*
 * Changes of a failover slot are held back until the standbys of synchronized_standby_slots have
 * them (17+).  While it waits the server warns, and when it has to stop meanwhile it fails, with
 * SQLSTATEs of slots that are lost.  What tells these apart in any language is who says it.
 */
static bool waits_for_standby(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function && strcmp(function, "StandbySlotsHaveCaughtup") == 0;
}

/*
 * PostgreSQL 18 does not fail on a publication that is not there at some point of the WAL: it
 * warns (SQLSTATE 55000) and leaves the changes out.  Seen here, it is as fatal as it is on 17.
 */
static void on_notice(void *arg, const PGresult *result)
{
    struct stream *s = arg;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), *severity;

    if (waits_for_standby(result)) {
        if (is_news(s, message ? message : ""))
            server_warning(NULL, result, "get changes that a standby does not have yet");
        return;
    }
    if (s->plugin->publishes && strcmp(result_sqlstate(result), "55000") == 0) {
        s->unpublished = true;
        if (!s->yields)
            server_error(NULL, result, "read all changes");
        if (!s->yields)
            hint_at_publication(s);
        return;
    }
    severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && strcmp(severity, "WARNING") == 0 && !s->selects &&
        is_news(s, message ? message : ""))
        log_warning("the server warns: %s", message);
    else
        log_verbose("server: %s", message ? message : "");
}

void stream_take_notices(struct stream *s, PGconn *conn)
{
    PQsetNoticeReceiver(conn, on_notice, s);
}

/* Texts of internal errors are never translated. */
static void hint_at_cause(const struct stream *s, const char *sqlstate, const char *message)
{
    bool too_large = message && strstr(message, "invalid memory alloc request size");

    if (s->plugin->publishes && s->begun && strncmp(sqlstate, "22", 2) == 0)
        log_hint("Where the row filter of publication \"%s\" is the reason: the server decodes with "
                 "the publication as it was when the change was made, so altering it does not help "
                 "this slot.  Alter it and begin anew with another slot.",
                 s->publication);
    else if (s->plugin->publishes && strcmp(sqlstate, "XX000") == 0 && too_large)
        log_hint("If a very large value is the reason, -o binary=true (PostgreSQL 14 and later) may "
                 "get past it.");
    else if (s->chunks && strcmp(sqlstate, "54000") == 0)
        log_hint("Format version 1 of wal2json holds whole transactions; -P wal2json uses version 2, "
                 "which does not.");
}

/* An internal error in mid-stream that is not about the size of a value: the WAL, as a rule. */
static bool is_unreadable(const struct stream *s, const char *sqlstate, const char *message)
{
    return s->begun && strcmp(sqlstate, "XX000") == 0 && message &&
           !strstr(message, "invalid memory alloc request size") &&
           !strstr(message, "string buffer exceeds");
}

/* Before the stream and in it, these do not mean what they mean elsewhere. */
enum outcome stream_error(struct stream *s, const PGconn *conn, const PGresult *result,
                          const char *doing)
{
    enum outcome outcome = server_error(conn, result, doing);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = result_sqlstate(result);

    if (waits_for_standby(result))
        return OUTCOME_UNAVAILABLE;
    if (s->plugin->publishes && strcmp(sqlstate, "42704") == 0) {
        hint_at_publication(s);
        return OUTCOME_POSITION_LOST;
    }
    if (strcmp(sqlstate, "58P01") == 0 && message && strstr(message, s->plugin->library))
        return outcome; /* the plugin's library is not there */
    if (strcmp(sqlstate, "55000") == 0 || strcmp(sqlstate, "58P01") == 0) {
        log_hint("The slot cannot give these changes any more: drop it and begin anew.");
        return OUTCOME_POSITION_LOST;
    }
    hint_at_cause(s, sqlstate, message);
    s->unreadable = is_unreadable(s, sqlstate, message);
    return outcome;
}

/* ---- the transport's part ---- */

bool stream_read(struct stream *s)
{
    return s->transport->read(s);
}

enum stream_step stream_next(struct stream *s, struct stream_message *m, enum outcome *outcome)
{
    return s->transport->next(s, m, outcome);
}

bool stream_feedback(struct stream *s, lsn_t flushed, bool ask_reply)
{
    return s->transport->feedback(s, s->looks ? 0 : flushed, ask_reply);
}

nfds_t stream_watch(const struct stream *s, struct pollfd *fds)
{
    return s->transport ? s->transport->watch(s, fds) : 0;
}

usec_t stream_due(const struct stream *s)
{
    return s->transport && s->transport->due ? s->transport->due(s) : INT64_MAX;
}

void stream_finish(struct stream *s)
{
    if (s->transport)
        s->transport->finish(s);
    stream_close(s);
}

void stream_close(struct stream *s)
{
    if (s->transport)
        s->transport->close(s);
    for (size_t i = 0; i < s->nwarnings; i++)
        free(s->warnings[i]);
    *s = (struct stream){0};
}
