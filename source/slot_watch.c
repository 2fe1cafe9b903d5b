#include "source/slot_watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "source/connection.h"
#include "source/slot_copy.h"

#define UTC_TIME(t)                                                                                \
    "pg_catalog.to_char(" t " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define SHORT_TIME(t)                                                                              \
    "pg_catalog.to_char(" t " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')"
#define SIZE(n) "pg_catalog.replace(pg_catalog.pg_size_pretty(" n "), 'bytes', 'B')"
#define FIELD(name) "pg_catalog.jsonb_object_field_text(s.j, '" name "')"

/*
 * Columns come with versions, as in source/slot.c; on 16 `conflicting` is also true where WAL was
 * removed, but conflicts there are on standbys alone.  How far a walsender has got (r), and what
 * sessions do (a, b.state), is NULL for those who may not see it; who has a transaction id is not.
 *
 * b: the oldest transaction, where it holds the slot back: it was running at the last checkpoint,
 * which the reader has gone beyond, but restart_lsn cannot.  (WAL from the last checkpoint on is
 * there anyway.)  While a slot is being created, every transaction is waited for.
 *
 * y: the first physical slot of synchronized_standby_slots (17+) that is not where it should be.
 *
 * Nothing that others have put into the search_path must be called: see source/slot.c.
 */
static const char before_checkpoint[] =
    "SELECT s.slot_name AS name, s.plugin, s.database, s.reader AS active_pid,"
    "       coalesce(" FIELD("invalidation_reason") ","
    "                CASE WHEN w.standby AND " FIELD("conflicting") "::bool THEN 'conflicting' END,"
    "                " FIELD("wal_status") ") AS state,"
    "       s.confirmed_flush_lsn AS confirmed_lsn,"
    "       d.lag AS lag_bytes, d.retained AS retained_bytes,"
    "       " UTC_TIME(FIELD("inactive_since") "::timestamptz") " AS inactive_since,"
    "       s.temporary, " FIELD("two_phase") "::bool AS two_phase,"
    "       " FIELD("failover") "::bool AS failover, " FIELD("synced") "::bool AS synced,"
    /* of use to people */
    "       " SIZE("d.lag") " AS lag, " SIZE("d.retained") " AS retained,"
    "       " SHORT_TIME(FIELD("inactive_since") "::timestamptz") " AS idle_since,"
    /* of use to the reasons */
    "       s.active, pg_catalog.quote_literal(s.slot_name) AS quoted_name,"
    "       " FIELD("wal_status") " AS wal_status,"
    "       coalesce(" FIELD("wal_status") " = 'lost', false)"
    "         OR coalesce(" FIELD("conflicting") "::bool, false)"
    "         OR " FIELD("invalidation_reason") " IS NOT NULL AS lost,"
    "       coalesce(" FIELD("synced") "::bool AND w.standby, false) AS synchronizing,"
    "       " SIZE(FIELD("safe_wal_size") "::int8") " AS safe,"
    "       coalesce(" FIELD("safe_wal_size") "::int8 < d.retained, false) AS close_to_limit,"
    "       nullif(pg_catalog.current_setting('idle_replication_slot_timeout', true), '0')"
    "         AS idle_timeout,"
    "       r.pid IS NOT NULL AS streams, r.pid IS NOT NULL AND r.state IS NULL AS hidden,"
    "       CASE WHEN r.sent_lsn > s.confirmed_flush_lsn"
    "            THEN " SIZE("(r.sent_lsn - s.confirmed_flush_lsn)::int8") " END AS unacknowledged,"
    "       coalesce(r.state = 'startup', false) AS startup,"
    "       coalesce(r.sent_lsn, s.confirmed_flush_lsn) AS sent_lsn,"
    "       a.application_name, pg_catalog.host(a.client_addr) AS client,"
    "       coalesce(a.wait_event = 'WalSenderWriteData', false) AS blocked,"
    "       pg_catalog.quote_ident(current_user) AS role,"
    "       b.pid AS blocker_pid, b.application_name AS blocker_name, b.client AS blocker_client,"
    "       b.state AS blocker_state, b.since AS blocker_since, b.gid AS blocker_gid,"
    "       pg_catalog.quote_literal(b.gid) AS quoted_gid,"
    "       y.name AS standby_slot, y.what AS standby_what"
    "  FROM (SELECT p.*, pg_catalog.to_jsonb(p) AS j,"
    "               coalesce(p.active_pid, " SLOT_COPY_READER("p") ") AS reader"
    "          FROM pg_replication_slots AS p) AS s"
    " CROSS JOIN (SELECT r AS standby, CASE WHEN r THEN greatest(pg_last_wal_receive_lsn(),"
    "                                                            pg_last_wal_replay_lsn())"
    "                                       ELSE pg_current_wal_flush_lsn() END AS wal_end"
    "               FROM pg_is_in_recovery() AS r) AS w"
    " CROSS JOIN LATERAL"
    "       (SELECT CASE WHEN s.confirmed_flush_lsn > w.wal_end THEN 0"
    "                    ELSE (w.wal_end - s.confirmed_flush_lsn)::int8 END AS lag,"
    "               CASE WHEN s.restart_lsn > w.wal_end THEN 0"
    "                    ELSE (w.wal_end - s.restart_lsn)::int8 END AS retained) AS d"
    " CROSS JOIN ";

static const char checkpoint[] = "pg_control_checkpoint()";
static const char no_checkpoint[] = "(SELECT NULL::pg_lsn AS redo_lsn, NULL::text AS next_xid)";

static const char behind_checkpoint[] =
    " AS c"
    "  LEFT JOIN pg_stat_replication AS r ON r.pid = s.reader"
    "  LEFT JOIN pg_stat_activity AS a ON a.pid = s.reader"
    "  LEFT JOIN LATERAL"
    "       (SELECT * FROM"
    "         (SELECT pid, application_name, pg_catalog.host(client_addr) AS client, state,"
    "                 " SHORT_TIME("xact_start") " AS since, NULL AS gid, backend_xid AS xid"
    "            FROM pg_stat_activity WHERE pid IS DISTINCT FROM s.reader"
    "          UNION ALL"
    "          SELECT NULL, NULL, NULL, NULL, " SHORT_TIME("prepared") ", gid, transaction"
    "            FROM pg_prepared_xacts) AS t"
    "         WHERE s.active AND xid IS NOT NULL"
    "           AND (s.confirmed_flush_lsn IS NULL"
    "                OR s.restart_lsn < c.redo_lsn AND s.confirmed_flush_lsn > c.redo_lsn"
    "                   AND age(xid) > age(pg_catalog.split_part(c.next_xid, ':', 2)::xid))"
    "         ORDER BY age(xid) DESC LIMIT 1) AS b ON true"
    "  LEFT JOIN LATERAL"
    "       (SELECT n.name, CASE WHEN p.slot_name IS NULL THEN 'which does not exist'"
    "                            WHEN NOT p.active THEN 'which no standby uses at the moment'"
    "                            WHEN p.restart_lsn IS NULL THEN 'which is invalidated or unused'"
    "                            ELSE 'which is at ' || p.restart_lsn::text END AS what"
    "          FROM (SELECT pg_catalog.btrim(e.part, ' \"') AS name, e.n"
    "                  FROM pg_catalog.unnest(pg_catalog.string_to_array("
    "                         pg_catalog.current_setting('synchronized_standby_slots', true), ','))"
    "                       WITH ORDINALITY AS e (part, n)) AS n"
    "          LEFT JOIN pg_replication_slots AS p ON p.slot_name::text = n.name"
    "         WHERE n.name <> '' AND s.active AND " FIELD("failover") "::bool AND d.lag > 0"
    "           AND (p.slot_name IS NULL OR NOT p.active OR p.restart_lsn IS NULL"
    "                OR a.wait_event = 'WaitForStandbyConfirmation'"
    "                   AND p.restart_lsn < w.wal_end)"
    "         ORDER BY n.n LIMIT 1) AS y ON true"
    " WHERE s.slot_type = 'logical' AND ($1::text IS NULL OR s.slot_name::text = $1)"
    " ORDER BY s.slot_name COLLATE \"C\"";

/* A row of the answer, and the texts that are made of it. */
struct look {
    const PGresult *rows;
    int row;
    const char *holder;
    struct buf reason;
    struct buf remedy;
};

static const char *text(const struct look *l, const char *column)
{
    return result_text(l->rows, l->row, column);
}

static bool is(const struct look *l, const char *column)
{
    return result_bool(l->rows, l->row, column);
}

/* Between two reasons, or two remedies. */
static void separate(struct buf *b)
{
    if (b->len)
        buf_add_str(b, "; ");
}

/* "process 123 (psql, 10.0.0.5, idle in transaction since …)": what of that is known. */
static void add_process(struct buf *b, const char *pid, const char *const details[3],
                        const char *since)
{
    const char *before = " (";

    buf_printf(b, "process %s", pid);
    for (int i = 0; i < 3; i++) {
        if (!details[i] || !*details[i])
            continue;
        buf_printf(b, "%s%s", before, details[i]);
        before = ", ";
        if (i == 2 && since)
            buf_printf(b, " since %s", since);
    }
    if (*before == ',')
        buf_add_char(b, ')');
}

static char *take_text(struct buf *b)
{
    char *copy = b->len ? xstrndup(b->data, b->len) : NULL;

    buf_release(b);
    return copy;
}

/* Who holds the slot, NULL when nobody does; the caller frees it. */
static char *name_holder(const struct look *l)
{
    const char *const details[3] = {text(l, "application_name"), text(l, "client"), NULL};
    const char *pid = text(l, "active_pid");
    struct buf b;

    buf_init(&b, 64);
    if (pid)
        add_process(&b, pid, details, NULL);
    return take_text(&b);
}

/* The oldest transaction that the slot is held back by, if any: who has it, and how to end it. */
static bool add_blocker(struct look *l)
{
    const char *pid = text(l, "blocker_pid"), *gid = text(l, "blocker_gid");
    const char *const details[3] = {text(l, "blocker_name"), text(l, "blocker_client"),
                                    text(l, "blocker_state")};

    if (gid) {
        buf_printf(&l->reason, "prepared transaction \"%s\" of %s", gid, text(l, "blocker_since"));
        separate(&l->remedy);
        buf_printf(&l->remedy, "COMMIT PREPARED %s; or ROLLBACK PREPARED %s;",
                   text(l, "quoted_gid"), text(l, "quoted_gid"));
    } else if (pid) {
        buf_add_str(&l->reason, "the transaction of ");
        add_process(&l->reason, pid, details, text(l, "blocker_since"));
        separate(&l->remedy);
        buf_printf(&l->remedy, "SELECT pg_terminate_backend(%s);", pid);
    }
    return gid || pid;
}

static void explain_lost(struct look *l)
{
    buf_printf(&l->reason,
               "invalidated (%s): what it has not given yet is lost, drop it and take a new "
               "snapshot",
               text(l, "state"));
    buf_printf(&l->remedy, "SELECT pg_drop_replication_slot(%s);", text(l, "quoted_name"));
}

static void explain_idle(struct look *l)
{
    const char *since = text(l, "idle_since"), *timeout = text(l, "idle_timeout");

    buf_add_str(&l->reason, "nobody reads it");
    if (since)
        buf_printf(&l->reason, " since %s", since);
    if (timeout)
        buf_printf(&l->reason, ", and idle_replication_slot_timeout (%s) will invalidate it",
                   timeout);
    buf_printf(&l->remedy, "if nobody will: SELECT pg_drop_replication_slot(%s);",
               text(l, "quoted_name"));
}

static void explain_creation(struct look *l)
{
    size_t start;

    buf_printf(&l->reason, "being created by %s", l->holder);
    start = l->reason.len;
    buf_add_str(&l->reason, ", which waits for the end of ");
    if (!add_blocker(l))
        l->reason.len = start;
}

static void explain_standby(struct look *l)
{
    const char *name = text(l, "standby_slot");

    buf_printf(&l->reason, "waits for standby slot \"%s\" (synchronized_standby_slots), %s", name,
               text(l, "standby_what"));
    buf_printf(&l->remedy,
               "start that standby, or take \"%s\" out of the setting synchronized_standby_slots",
               name);
}

static void explain_hidden(struct look *l)
{
    buf_printf(&l->reason, "read by %s; how far, only members of pg_read_all_stats can see",
               l->holder);
    buf_printf(&l->remedy, "GRANT pg_read_all_stats TO %s;", text(l, "role"));
}

/* A reader acknowledges now and then, so it is well if it is little that is left. */
static void explain_streaming(struct look *l)
{
    if (is(l, "startup"))
        buf_printf(&l->reason, "held by %s, which has not begun to read", l->holder);
    else if (text(l, "unacknowledged"))
        buf_printf(&l->reason,
                   "read by %s, which has acknowledged nothing beyond %s yet, %s less than the "
                   "server has decoded for it",
                   l->holder, text(l, "confirmed_lsn"), text(l, "unacknowledged"));
    else
        buf_printf(&l->reason, "read by %s, for which the server is decoding WAL behind %s",
                   l->holder, text(l, "sent_lsn"));
    if (is(l, "blocked"))
        buf_add_str(&l->reason, ", and nothing more is taken from its connection");
}

/* Somebody holds it. */
static void explain_active(struct look *l)
{
    bool lags = result_i64(l->rows, l->row, "lag_bytes") > 0;

    if (!text(l, "confirmed_lsn"))
        explain_creation(l);
    else if (!lags)
        return;
    else if (text(l, "standby_slot"))
        explain_standby(l);
    else if (is(l, "hidden"))
        explain_hidden(l);
    else if (is(l, "streams"))
        explain_streaming(l);
    else
        buf_printf(&l->reason, "held by %s, which reads by SQL functions", l->holder);
}

/* Whatever its reader does, WAL is kept from before that transaction on. */
static void explain_retention(struct look *l)
{
    size_t start = l->reason.len;

    if (!text(l, "confirmed_lsn"))
        return;
    separate(&l->reason);
    if (add_blocker(l))
        buf_add_str(&l->reason, " holds back its restart_lsn");
    else
        l->reason.len = start;
}

/* How long the WAL that it needs will be there. */
static void explain_risk(struct look *l)
{
    const char *safe = text(l, "safe"), *status = text(l, "wal_status");
    bool unreserved = status && strcmp(status, "unreserved") == 0;

    if (!unreserved && !(safe && is(l, "close_to_limit")))
        return;
    separate(&l->reason);
    if (unreserved)
        buf_add_str(&l->reason, "the next checkpoint will remove WAL that it needs");
    else
        buf_printf(&l->reason, "another %s of WAL will invalidate it (max_slot_wal_keep_size)",
                   safe);
    separate(&l->remedy);
    buf_add_str(&l->remedy, "raise max_slot_wal_keep_size");
}

static void explain(struct look *l, struct watched_slot *slot)
{
    slot->name = xstrdup(result_string(l->rows, l->row, "name"));
    slot->lost = is(l, "lost");
    l->holder = slot->holder = name_holder(l);
    buf_init(&l->reason, 256);
    buf_init(&l->remedy, 128);
    if (slot->lost) {
        explain_lost(l);
    } else if (is(l, "synchronizing")) {
        buf_add_str(&l->reason, "being synchronized from the primary");
    } else {
        if (slot->holder)
            explain_active(l);
        else
            explain_idle(l);
        explain_retention(l);
        explain_risk(l);
    }
    slot->reason = take_text(&l->reason);
    slot->remedy = take_text(&l->remedy);
}

/* The last checkpoint is everybody's to see, unless an administrator has withdrawn that. */
static enum outcome ask(PGconn *sql, const char *name, PGresult **rows)
{
    char *statement;
    enum outcome outcome =
        sql_query(sql, "look up privileges",
                  "SELECT has_function_privilege('pg_control_checkpoint()'::text, 'execute'::text)",
                  0, NULL, rows);

    if (outcome != OUTCOME_OK)
        return outcome;
    statement = xasprintf("%s%s%s", before_checkpoint,
                          result_first(*rows)[0] == 't' ? checkpoint : no_checkpoint,
                          behind_checkpoint);
    PQclear(*rows);
    outcome = sql_query(sql, "look up the replication slots", statement, 1, &name, rows);
    free(statement);
    return outcome;
}

enum outcome slot_watch(PGconn *sql, const char *name, struct slot_watch *w)
{
    enum outcome outcome;

    *w = (struct slot_watch){0};
    outcome = ask(sql, name, &w->rows);
    if (outcome != OUTCOME_OK)
        return outcome;
    w->count = PQntuples(w->rows);
    w->slots = xcalloc((size_t)w->count, sizeof *w->slots);
    for (int i = 0; i < w->count; i++) {
        struct look look = {.rows = w->rows, .row = i};

        explain(&look, &w->slots[i]);
    }
    return OUTCOME_OK;
}

void slot_watch_release(struct slot_watch *w)
{
    for (int i = 0; i < w->count; i++) {
        free(w->slots[i].name);
        free(w->slots[i].holder);
        free(w->slots[i].reason);
        free(w->slots[i].remedy);
    }
    free(w->slots);
    PQclear(w->rows);
    *w = (struct slot_watch){0};
}
