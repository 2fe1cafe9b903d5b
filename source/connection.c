#include "source/connection.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lsn.h"
#include "base/signals.h"
#include "source/server_error.h"

/* What text values rely on; pg_dump and libpqwalreceiver fix the same things for themselves. */
#define SESSION_OPTIONS                                                                            \
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c timezone=UTC "          \
    "-c bytea_output=hex -c lc_monetary=C -c quote_all_identifiers=off -c statement_timeout=0 "    \
    "-c lock_timeout=0 -c idle_in_transaction_session_timeout=0"

enum { MAX_PARAMS = 64, CONNECT_SECONDS = 30, CANCEL_USEC = 1000000 };

struct params {
    const char *keywords[MAX_PARAMS + 1];
    const char *values[MAX_PARAMS + 1];
    int n;
};

struct connector {
    const struct options *o;
    PQconninfoOption *parsed; /* of the connection string; NULL where none was given */
    char **keywords;          /* of o->connection_settings; their values stand in those */
    char *session_options;
    char *password; /* typed by the user; NULL = none */
    char *host;     /* where the last connection went; NULL = anywhere */
    char *hostaddr;
    char *port;
    unsigned first;   /* of the hosts that were named, the one to begin with */
    char *lists[3];   /* host, hostaddr, port, beginning with that one; NULL = as they were given */
    unsigned seconds; /* to give a connection attempt before another host is the first */
};

static const char *const list_names[] = {"host", "hostaddr", "port"};

/* ---- what was asked for ---- */

static const char *parsed_value(const struct connector *c, const char *keyword)
{
    for (const PQconninfoOption *p = c->parsed; p && p->keyword; p++)
        if (strcmp(p->keyword, keyword) == 0)
            return p->val;
    return NULL;
}

static bool is_conninfo(const char *dbname)
{
    return strncmp(dbname, "postgresql://", 13) == 0 || strncmp(dbname, "postgres://", 11) == 0 ||
           strchr(dbname, '=');
}

static bool parse_conninfo(struct connector *c)
{
    char *message = NULL;

    if (!c->o->dbname || !is_conninfo(c->o->dbname))
        return true;
    c->parsed = PQconninfoParse(c->o->dbname, &message);
    if (c->parsed)
        return true;
    log_error("could not read the connection string: %s", message ? message : "out of memory");
    PQfreemem(message);
    return false;
}

/* What libpq would take, one word or one for each host. */
static const char *list_value(const struct connector *c, int i)
{
    static const char *const variables[] = {"PGHOST", "PGHOSTADDR", "PGPORT"};
    const char *const options[] = {c->o->host, NULL, c->o->port};
    const char *value = parsed_value(c, list_names[i]);

    if (!value)
        value = options[i];
    return value ? value : getenv(variables[i]);
}

static unsigned count_items(const char *list)
{
    unsigned n = 1;

    for (; list && *list; list++)
        n += *list == ',';
    return n;
}

/* The list with its item number `first` in front; the caller frees it. */
static char *turned_list(const char *list, unsigned first)
{
    const char *cut = list;

    for (unsigned i = 0; i < first; i++)
        cut = strchr(cut, ',') + 1;
    return cut == list ? xstrdup(list)
                       : xasprintf("%s,%.*s", cut, (int)(cut - list) - 1, list);
}

unsigned connector_hosts(const struct connector *c)
{
    unsigned hosts = count_items(list_value(c, 0)), addresses = count_items(list_value(c, 1));

    return hosts > addresses ? hosts : addresses;
}

void connector_next_host(struct connector *c)
{
    unsigned n = connector_hosts(c);

    c->first = (c->first + 1) % n;
    for (int i = 0; i < 3; i++) {
        const char *list = list_value(c, i);

        free(c->lists[i]);
        c->lists[i] = list && n > 1 && count_items(list) == n ? turned_list(list, c->first) : NULL;
    }
}

/* What the file says, which comes behind the command line and before the environment. */
static const char *configured_value(const struct connector *c, const char *keyword)
{
    const struct string_list *settings = &c->o->connection_settings;
    const char *value = NULL;

    for (size_t i = 0; i < settings->count; i++)
        if (strcmp(c->keywords[i], keyword) == 0)
            value = settings->items[i] + strlen(keyword) + 1;
    return value;
}

/* keyword=value, as given; libpq wants them apart. */
static void split_settings(struct connector *c)
{
    const struct string_list *settings = &c->o->connection_settings;

    c->keywords = xcalloc(settings->count + 1, sizeof *c->keywords);
    for (size_t i = 0; i < settings->count; i++)
        c->keywords[i] = xstrndup(settings->items[i], strcspn(settings->items[i], "="));
}

/* libpq's own connect_timeout is not honoured by PQconnectPoll(), so it is kept here. */
static unsigned connect_seconds(const struct connector *c)
{
    const char *given = parsed_value(c, "connect_timeout");
    unsigned long seconds;

    if (!given)
        given = configured_value(c, "connect_timeout");
    if (!given)
        given = getenv("PGCONNECT_TIMEOUT");
    seconds = given ? strtoul(given, NULL, 10) : 0;
    if (seconds == 0 || seconds > 3600)
        seconds = CONNECT_SECONDS;
    return (unsigned)seconds;
}

static char *ask_password(void)
{
    struct termios before, silent;
    char typed[1024];
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    ssize_t n = -1;

    if (fd >= 0 && tcgetattr(fd, &before) == 0) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(fd, TCSAFLUSH, &silent);
        if (write(fd, "Password: ", 10) == 10)
            n = read(fd, typed, sizeof typed - 1);
        tcsetattr(fd, TCSAFLUSH, &before);
        if (write(fd, "\n", 1) != 1)
            n = -1;
    }
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        log_error("could not ask for the password: there is no terminal");
        log_hint("PGPASSWORD, a password file or a service file can hold it.");
        return NULL;
    }
    typed[n] = '\0';
    return xstrndup(typed, strcspn(typed, "\n"));
}

struct connector *connector_new(const struct options *o)
{
    struct connector *c = xcalloc(1, sizeof *c);
    const char *given;

    c->o = o;
    split_settings(c);
    if (!parse_conninfo(c)) {
        connector_free(c);
        return NULL;
    }
    given = parsed_value(c, "options");
    if (!given)
        given = getenv("PGOPTIONS");
    c->session_options = xasprintf("%s %s", given ? given : "", SESSION_OPTIONS);
    /* libpq sends these two as settings of their own, behind the options: they would win */
    unsetenv("PGDATESTYLE");
    unsetenv("PGTZ");
    c->seconds = connect_seconds(c);
    if (o->prompt == PROMPT_ALWAYS && !(c->password = ask_password())) {
        connector_free(c);
        return NULL;
    }
    return c;
}

void connector_forget_host(struct connector *c)
{
    free(c->host);
    free(c->hostaddr);
    free(c->port);
    c->host = c->hostaddr = c->port = NULL;
}

void connector_free(struct connector *c)
{
    if (!c)
        return;
    connector_forget_host(c);
    for (int i = 0; i < 3; i++)
        free(c->lists[i]);
    PQconninfoFree(c->parsed);
    for (size_t i = 0; c->keywords && i < c->o->connection_settings.count; i++)
        free(c->keywords[i]);
    free(c->keywords);
    free(c->session_options);
    free(c->password);
    free(c);
}

/* ---- connecting ---- */

static void add_param(struct params *p, const char *keyword, const char *value)
{
    if (!value || p->n == MAX_PARAMS)
        return;
    p->keywords[p->n] = keyword;
    p->values[p->n++] = value;
}

/* Later entries win: defaults, the file, the command line, the connection string, what must be. */
static void collect_params(const struct connector *c, enum connection_kind kind, struct params *p)
{
    const struct options *o = c->o;

    add_param(p, "fallback_application_name", "cdcdump");
    add_param(p, "keepalives_idle", "60");
    add_param(p, "keepalives_interval", "10");
    add_param(p, "keepalives_count", "3");
    add_param(p, "tcp_user_timeout", "30000");
    for (size_t i = 0; i < o->connection_settings.count; i++)
        add_param(p, c->keywords[i], configured_value(c, c->keywords[i]));
    add_param(p, "host", o->host);
    add_param(p, "port", o->port);
    add_param(p, "user", o->user);
    if (!c->parsed)
        add_param(p, "dbname", o->dbname);
    for (const PQconninfoOption *q = c->parsed; q && q->keyword; q++)
        add_param(p, q->keyword, q->val);
    add_param(p, "password", c->password);
    for (int i = 0; i < 3; i++)
        add_param(p, list_names[i], c->lists[i]);
    add_param(p, "host", c->host);
    add_param(p, "hostaddr", c->hostaddr);
    add_param(p, "port", c->port);
    add_param(p, "options", c->session_options);
    add_param(p, "client_encoding", "UTF8");
    add_param(p, "replication", kind == CONNECTION_REPLICATION ? "database" : NULL);
}

enum outcome connection_wait(const PGconn *conn, bool for_write, bool heed, usec_t ticks)
{
    struct pollfd fds[2] = {
        {.fd = PQsocket(conn), .events = for_write ? POLLOUT : POLLIN},
        {.fd = signals_fd(), .events = POLLIN},
    };

    for (;;) {
        usec_t left = ticks ? ticks - clock_ticks() : 0;
        int n;

        if (heed && signals_stop())
            return OUTCOME_STOPPED;
        if (ticks && left <= 0)
            return OUTCOME_UNAVAILABLE;
        log_flush();
        n = poll(fds, 2, ticks ? (int)(left / 1000 + 1) : -1);
        if (n > 0 && fds[0].revents)
            return OUTCOME_OK;
        if (n > 0)
            signals_drain();
    }
}

/* Takes the SQLSTATE out of a line like "… FATAL:  28P01: password …"; false where there is none. */
static bool take_sqlstate(char *line, char sqlstate[6])
{
    const char *end = line + strcspn(line, "\n");

    for (char *p = strstr(line, ":  "); p && p < end; p = strstr(p + 1, ":  ")) {
        char *code = p + 3;
        size_t n = strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (n != 5 || strncmp(code + 5, ": ", 2) != 0)
            continue;
        memcpy(sqlstate, code, 5);
        sqlstate[5] = '\0';
        memmove(code, code + 7, strlen(code + 7) + 1);
        return true;
    }
    return false;
}

static bool begins_with(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/*
 * There is no call that tells the SQLSTATE of a refused connection, but with verbose errors it
 * stands in the message, with a line LOCATION, for every server that was asked.  Takes these out of
 * `message`; returns the last SQLSTATE, "" where no server answered.  libpq goes on to another server
 * only where the one before may be there later, so it is the last one that decides.
 */
static const char *split_sqlstates(char *message, char sqlstate[6])
{
    char *line = message, *next;

    sqlstate[0] = '\0';
    for (; line && *line; line = next) {
        if (begins_with(line, "LOCATION:")) {
            next = line + strcspn(line, "\n");
            next += *next == '\n';
            memmove(line, next, strlen(next) + 1);
            next = line;
            continue;
        }
        if (!begins_with(line, "DETAIL:") && !begins_with(line, "HINT:"))
            take_sqlstate(line, sqlstate);
        next = strchr(line, '\n');
        if (next)
            next++;
    }
    return sqlstate;
}

static void hint_at_refusal(const PGconn *conn, const char *sqlstate, enum connection_kind kind)
{
    if (PQconnectionNeedsPassword(conn) || strcmp(sqlstate, "28P01") == 0)
        log_hint("Give the role's password in PGPASSWORD, in the password file, or with -W.");
    else if (strcmp(sqlstate, "28000") == 0)
        log_hint("Where pg_hba.conf is the reason: a logical walsender needs a line for the "
                 "database itself, one for \"replication\" does not match it.");
    else if (strcmp(sqlstate, "42501") == 0 && kind == CONNECTION_REPLICATION)
        log_hint("The role needs the REPLICATION attribute: ALTER ROLE … REPLICATION.");
    else if (strcmp(sqlstate, "53300") == 0)
        log_hint("See the server's settings max_connections and max_wal_senders.");
    else if (strcmp(sqlstate, "3D000") == 0)
        log_hint("Name a database that is there with -d; psql -l lists them.");
}

static enum outcome refused(const PGconn *conn, enum connection_kind kind)
{
    char *message = xstrdup(PQerrorMessage(conn));
    char sqlstate[6];
    enum outcome outcome = outcome_of_sqlstate(split_sqlstates(message, sqlstate));

    /* libpq ran into something before any server was asked: a bad option, a missing service */
    if (!*sqlstate && PQsocket(conn) < 0 && !begins_with(message, "connection to server") &&
        !begins_with(message, "could not translate"))
        outcome = OUTCOME_MISUSED;
    if (PQconnectionNeedsPassword(conn))
        outcome = OUTCOME_MISUSED; /* and trying again would not bring one */
    log_error("could not connect: %s", message);
    hint_at_refusal(conn, sqlstate, kind);
    free(message);
    return outcome;
}

static enum outcome finish_connecting(PGconn *conn, usec_t deadline)
{
    bool heed = !signals_stop();

    for (;;) {
        PostgresPollingStatusType status = PQconnectPoll(conn);
        enum outcome outcome;

        if (status == PGRES_POLLING_OK)
            return OUTCOME_OK;
        if (status == PGRES_POLLING_FAILED)
            return OUTCOME_FAILED;
        outcome = connection_wait(conn, status == PGRES_POLLING_WRITING, heed, deadline);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

/* Notices of plugins and of DDL are for logs, not for the terminal. */
static void on_notice(void *arg, const char *message)
{
    (void)arg;
    log_verbose("server: %s", message);
}

/* One attempt.  OUTCOME_FAILED is not logged yet, for it may be for want of a password. */
static enum outcome try_connect(const struct connector *c, enum connection_kind kind,
                                PGconn **conn)
{
    struct params p = {.n = 0};
    enum outcome outcome;

    collect_params(c, kind, &p);
    *conn = PQconnectStartParams(p.keywords, p.values, 0);
    if (!*conn)
        log_out_of_memory();
    if (PQstatus(*conn) == CONNECTION_BAD)
        return OUTCOME_FAILED;
    PQsetNoticeProcessor(*conn, on_notice, NULL);
    PQsetErrorVerbosity(*conn, PQERRORS_VERBOSE);
    outcome = finish_connecting(*conn, clock_ticks() + (usec_t)c->seconds * USEC_PER_SEC);
    PQsetErrorVerbosity(*conn, PQERRORS_DEFAULT);
    if (outcome == OUTCOME_UNAVAILABLE)
        log_error("could not connect: no answer within %u seconds from \"%s\", port %s", c->seconds,
                  PQhost(*conn), PQport(*conn));
    return outcome;
}

static void keep_host(struct connector *c, const PGconn *conn)
{
    const char *addr = PQhostaddr(conn);

    if (c->host)
        return;
    c->host = xstrdup(PQhost(conn) ? PQhost(conn) : "");
    c->hostaddr = xstrdup(addr && c->host[0] != '/' ? addr : "");
    c->port = xstrdup(PQport(conn) ? PQport(conn) : "");
}

/*
 * A database that does not check encodings: the server would refuse to send the first text that is
 * not UTF-8, without saying where it stands.  So bytes come as they are and are checked here,
 * column by column.
 */
static enum outcome choose_encoding(PGconn *conn)
{
    const char *encoding = PQparameterStatus(conn, "server_encoding");

    if (!encoding || strcmp(encoding, "SQL_ASCII") != 0)
        return OUTCOME_OK;
    return sql_run(conn, "set the client encoding", "SET client_encoding = 'SQL_ASCII'");
}

/*
 * As among the session options, but known from later versions on: what a role or a database is set to
 * is not meant for a session that waits for a slow reader.
 */
static enum outcome lift_timeouts(PGconn *conn)
{
    int version = PQserverVersion(conn);

    if (version < 140000)
        return OUTCOME_OK;
    return sql_run(conn, "lift timeouts",
                   version < 170000 ? "SET idle_session_timeout = 0"
                                    : "SET idle_session_timeout = 0; SET transaction_timeout = 0");
}

/*
 * Others may have put functions and operators into the schemas that the role looks into, which fit our
 * statements better than the server's own: they would be run as this role.
 */
static enum outcome look_in_catalog(PGconn *conn)
{
    return sql_run(conn, "set the search path", "SET search_path = pg_catalog");
}

/*
 * libpq would wait for a host that does not answer until the time is up, and never get to the next
 * one: each of them is the first once.
 */
static enum outcome try_hosts(struct connector *c, enum connection_kind kind, PGconn **conn)
{
    unsigned left = c->host ? 1 : connector_hosts(c);

    for (;;) {
        enum outcome outcome = try_connect(c, kind, conn);

        if (outcome != OUTCOME_UNAVAILABLE)
            return outcome;
        if (!c->host)
            connector_next_host(c);
        if (--left == 0)
            return outcome;
        PQfinish(*conn);
    }
}

enum outcome connector_connect(struct connector *c, enum connection_kind kind, PGconn **conn)
{
    enum outcome outcome = try_hosts(c, kind, conn);

    if (outcome == OUTCOME_FAILED && PQconnectionNeedsPassword(*conn) && !c->password &&
        c->o->prompt != PROMPT_NEVER) {
        PQfinish(*conn);
        *conn = NULL;
        c->password = ask_password();
        if (!c->password)
            return OUTCOME_MISUSED;
        outcome = try_hosts(c, kind, conn);
    }
    if (outcome == OUTCOME_OK) {
        keep_host(c, *conn);
        outcome = choose_encoding(*conn);
        if (outcome == OUTCOME_OK)
            outcome = lift_timeouts(*conn);
        if (outcome == OUTCOME_OK && kind == CONNECTION_SQL)
            outcome = look_in_catalog(*conn);
        if (outcome == OUTCOME_OK)
            return OUTCOME_OK;
    } else if (outcome == OUTCOME_FAILED) {
        outcome = refused(*conn, kind);
    }
    PQfinish(*conn);
    *conn = NULL;
    return outcome;
}

/* ---- questions ---- */

/*
 * PQcancel() connects and waits for the end of that connection without any limit, so that it is
 * left to a process of its own, and to its fate where the server does not answer.
 */
void connection_cancel(PGconn *conn)
{
    enum { PAUSE_USEC = 2000 };
    PGcancel *handle = PQgetCancel(conn);
    usec_t deadline = clock_ticks() + CANCEL_USEC;
    char message[256];
    pid_t pid;

    log_flush(); /* what is held back is not the child's to print */
    pid = handle ? fork() : -1;
    if (pid == 0)
        _exit(PQcancel(handle, message, sizeof message) ? 0 : 1);
    while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_ticks() >= deadline)
            kill(pid, SIGKILL);
        clock_pause(PAUSE_USEC);
    }
    PQfreeCancel(handle);
}

/* The next result of what has been sent, NULL behind the last one. */
static enum outcome next_result(PGconn *conn, bool heed, usec_t ticks, PGresult **next)
{
    enum outcome outcome = OUTCOME_OK;

    *next = NULL;
    while (outcome == OUTCOME_OK && PQisBusy(conn)) {
        outcome = connection_wait(conn, false, heed, ticks);
        if (outcome == OUTCOME_OK && !PQconsumeInput(conn))
            break;
    }
    if (outcome == OUTCOME_OK)
        *next = PQgetResult(conn);
    return outcome;
}

/* Whether libpq gives the same result again until the copy has been dealt with. */
static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COPY_BOTH || status == PGRES_COPY_IN || status == PGRES_COPY_OUT;
}

/*
 * Takes the results of what has been sent; the last one counts.  A server that ends the session says
 * why, and libpq adds an error of its own about the connection: then it is the server's that counts.
 */
static enum outcome take_results(PGconn *conn, bool heed, usec_t ticks, PGresult **got)
{
    for (;;) {
        PGresult *next;
        enum outcome outcome = next_result(conn, heed, ticks, &next);

        if (outcome != OUTCOME_OK || !next)
            return outcome;
        if (*result_sqlstate(*got) && !*result_sqlstate(next)) {
            PQclear(next);
            continue;
        }
        PQclear(*got);
        *got = next;
        if (is_copy(next))
            return OUTCOME_OK;
    }
}

/* Waits for the answer to a statement that has been sent (`sent`: whether that went well). */
static enum outcome await_result(PGconn *conn, int sent, PGresult **got)
{
    enum outcome outcome = OUTCOME_OK;

    *got = NULL;
    if (sent)
        outcome = take_results(conn, !signals_stop(), 0, got);
    if (outcome == OUTCOME_OK)
        return OUTCOME_OK;
    connection_cancel(conn);
    take_results(conn, false, clock_ticks() + CANCEL_USEC, got);
    PQclear(*got);
    *got = NULL;
    return outcome;
}

static enum outcome take_result(PGconn *conn, const char *doing, int sent, PGresult **result)
{
    PGresult *got;
    enum outcome outcome = await_result(conn, sent, &got);
    ExecStatusType status = PQresultStatus(got);

    *result = NULL;
    if (outcome != OUTCOME_OK)
        return outcome;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *result = got;
        return OUTCOME_OK;
    }
    if (is_copy(got)) {
        log_error("could not %s: unexpected answer of the server", doing);
        outcome = OUTCOME_FAILED;
    } else {
        outcome = server_error(conn, got, doing);
    }
    PQclear(got);
    return outcome;
}

enum outcome walsender_ask(PGconn *conn, const char *command, PGresult **result)
{
    return await_result(conn, PQsendQuery(conn, command), result);
}

enum outcome sql_query(PGconn *conn, const char *doing, const char *sql, int nparams,
                       const char *const *params, PGresult **result)
{
    return take_result(conn, doing,
                       PQsendQueryParams(conn, sql, nparams, NULL, params, NULL, NULL, 0), result);
}

enum outcome sql_query_as_role(PGconn *conn, const char *doing, const char *sql, int nparams,
                               const char *const *params, PGresult **result)
{
    enum outcome outcome = sql_run(conn, "set the search path", "RESET search_path");

    *result = NULL;
    if (outcome == OUTCOME_OK)
        outcome = sql_query(conn, doing, sql, nparams, params, result);
    if (outcome == OUTCOME_OK)
        outcome = look_in_catalog(conn);
    else if (PQstatus(conn) == CONNECTION_OK && PQtransactionStatus(conn) == PQTRANS_IDLE)
        (void)look_in_catalog(conn);
    if (outcome != OUTCOME_OK) {
        PQclear(*result);
        *result = NULL;
    }
    return outcome;
}

enum outcome walsender_query(PGconn *conn, const char *doing, const char *command,
                             PGresult **result)
{
    return take_result(conn, doing, PQsendQuery(conn, command), result);
}

enum outcome sql_run(PGconn *conn, const char *doing, const char *sql)
{
    PGresult *result;
    enum outcome outcome = walsender_query(conn, doing, sql, &result);

    PQclear(result);
    return outcome;
}

void sql_add_identifier(struct buf *b, const char *name)
{
    buf_add_char(b, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_add_char(b, '"');
        buf_add_char(b, *name);
    }
    buf_add_char(b, '"');
}

char *sql_text_array(const struct string_list *list)
{
    struct buf b;
    char *text;

    buf_init(&b, 64);
    buf_add_char(&b, '{');
    for (size_t i = 0; i < list->count; i++) {
        buf_add_str(&b, i ? ",\"" : "\"");
        for (const char *p = list->items[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                buf_add_char(&b, '\\');
            buf_add_char(&b, *p);
        }
        buf_add_char(&b, '"');
    }
    buf_add_char(&b, '}');
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

const char *result_text(const PGresult *result, int row, const char *column)
{
    int i = PQfnumber(result, column);

    if (i < 0 || row >= PQntuples(result) || PQgetisnull(result, row, i))
        return NULL;
    return PQgetvalue(result, row, i);
}

const char *result_string(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);

    return text ? text : "";
}

const char *result_first(const PGresult *result)
{
    return PQntuples(result) > 0 && PQnfields(result) > 0 ? PQgetvalue(result, 0, 0) : "";
}

char *result_copy(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);

    return text ? xstrdup(text) : NULL;
}

uint32_t result_u32(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);

    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

int32_t result_i32(const PGresult *result, int row, const char *column)
{
    return (int32_t)strtol(result_string(result, row, column), NULL, 10);
}

int64_t result_i64(const PGresult *result, int row, const char *column)
{
    return strtoll(result_string(result, row, column), NULL, 10);
}

bool result_bool(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);

    return text && text[0] == 't';
}

lsn_t result_lsn(const PGresult *result, int row, const char *column)
{
    const char *text = result_text(result, row, column);
    lsn_t lsn;

    return text && lsn_parse(text, &lsn) ? lsn : 0;
}
