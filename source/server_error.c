#include "source/server_error.h"

#include <string.h>

#include "base/log.h"

/* The longest prefix of an SQLSTATE that decides; first match wins. */
struct sqlstate_class {
    const char *prefix;
    enum outcome outcome;
};

static const struct sqlstate_class classes[] = {
    {"08P01", OUTCOME_FAILED},      /* protocol violation: our mistake */
    {"08", OUTCOME_UNAVAILABLE},    /* connection exceptions */
    {"0A", OUTCOME_MISUSED},        /* feature not supported */
    {"22", OUTCOME_MISUSED},        /* data exception: a bad option value, a row filter */
    {"25006", OUTCOME_MISUSED},     /* read-only: a standby */
    {"28", OUTCOME_MISUSED},        /* authentication, pg_hba.conf */
    {"3D", OUTCOME_MISUSED},        /* no such database */
    {"40", OUTCOME_UNAVAILABLE},    /* rolled back, conflict with recovery */
    {"42", OUTCOME_MISUSED},        /* privileges, names, syntax */
    {"53400", OUTCOME_MISUSED},     /* all replication slots are in use */
    {"53", OUTCOME_UNAVAILABLE},    /* connections, memory, disk */
    {"55006", OUTCOME_UNAVAILABLE}, /* slot is active */
    {"55P03", OUTCOME_UNAVAILABLE}, /* lock not available */
    {"55", OUTCOME_MISUSED},        /* wal_level, wrong kind of slot */
    {"57P04", OUTCOME_MISUSED},     /* database dropped */
    {"57", OUTCOME_UNAVAILABLE},    /* shutdown, crash, starting up, cancelled */
    {"58P01", OUTCOME_MISUSED},     /* plugin's library is not there */
    {"", OUTCOME_FAILED},
};

enum outcome outcome_of_sqlstate(const char *sqlstate)
{
    const struct sqlstate_class *c = classes;

    if (!sqlstate || !*sqlstate)
        return OUTCOME_UNAVAILABLE;
    while (strncmp(sqlstate, c->prefix, strlen(c->prefix)) != 0)
        c++;
    return c->outcome;
}

const char *result_sqlstate(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return sqlstate ? sqlstate : "";
}

/* DETAIL and the like belong to the message before them. */
static enum outcome report(void (*say)(const char *fmt, ...), const PGconn *conn,
                           const PGresult *result, const char *doing)
{
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

    say("could not %s: %s", doing, primary ? primary : PQerrorMessage(conn));
    if (!primary)
        return OUTCOME_UNAVAILABLE;
    log_sqlstate(result_sqlstate(result));
    if (detail)
        log_detail("%s", detail);
    if (context)
        log_detail("%s", context);
    if (hint)
        log_hint("%s", hint);
    if (strcmp(result_sqlstate(result), "57P04") == 0)
        log_hint("The database has been dropped.");
    return outcome_of_sqlstate(result_sqlstate(result));
}

enum outcome server_error(const PGconn *conn, const PGresult *result, const char *doing)
{
    return report(log_error, conn, result, doing);
}

enum outcome server_warning(const PGconn *conn, const PGresult *result, const char *doing)
{
    return report(log_warning, conn, result, doing);
}
