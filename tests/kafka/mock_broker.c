/*
 * mock_broker - a Kafka broker for tests: the mock cluster of librdkafka, in memory.
 *
 *   mock_broker [TOPIC:PARTITIONS]...
 *
 * Once it can be connected to, a line with its bootstrap servers goes to standard output.  It then
 * takes commands on standard input, one a line, and answers each with a line "ok":
 *
 *   topic NAME:PARTITIONS     a new topic
 *   rtt MILLISECONDS          every answer takes so long from now on
 *
 * It ends with status 0 when its standard input ends or SIGINT or SIGTERM comes, with 1 when
 * something fails.  Clients then find nobody there, and all messages are gone.
 *
 * What it keeps: 5 MiB a partition, as sent (a batch that is compressed counts as such), and 100000
 * batches at most; older ones go.  It knows idempotent and transactional producers, but consumers
 * see what has not been committed, too; topics are not compacted.  A topic that a client asks for
 * and that does not exist gets 4 partitions.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h> /* needs the one above */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PARTITIONS = 1000, MAX_RTT = 60000, LINE_SIZE = 1024 };

static const int32_t broker = 1; /* the only one */

static bool complain(const char *what, const char *reason)
{
    fprintf(stderr, "mock_broker: %s: %s\n", what, reason);
    return false;
}

/* A number from 0 to max, and nothing behind it. */
static bool parse_number(const char *text, long max, int *number)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 0 || n > max)
        return complain(text, "not a number, or too large");
    *number = (int)n;
    return true;
}

/* NAME:PARTITIONS */
static bool create_topic(rd_kafka_mock_cluster_t *cluster, const char *spec)
{
    char name[LINE_SIZE];
    const char *colon = strrchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : 0;
    int partitions;
    rd_kafka_resp_err_t err;

    if (len == 0 || len >= sizeof name)
        return complain(spec, "not NAME:PARTITIONS");
    memcpy(name, spec, len);
    name[len] = '\0';
    if (!parse_number(colon + 1, MAX_PARTITIONS, &partitions))
        return false;
    err = rd_kafka_mock_topic_create(cluster, name, partitions, 1);
    return err ? complain(spec, rd_kafka_err2str(err)) : true;
}

static bool set_rtt(rd_kafka_mock_cluster_t *cluster, const char *text)
{
    int ms;
    rd_kafka_resp_err_t err;

    if (!parse_number(text, MAX_RTT, &ms))
        return false;
    err = rd_kafka_mock_broker_set_rtt(cluster, broker, ms);
    return err ? complain(text, rd_kafka_err2str(err)) : true;
}

static bool obey(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    if (strncmp(line, "topic ", 6) == 0)
        return create_topic(cluster, line + 6);
    if (strncmp(line, "rtt ", 4) == 0)
        return set_rtt(cluster, line + 4);
    return complain(line, "unknown command");
}

static bool answer(const char *text)
{
    if (printf("%s\n", text) < 0 || fflush(stdout) != 0)
        return complain("standard output", strerror(errno));
    return true;
}

/* Waits for a signal, too, which is blocked everywhere else; false when no line comes any more. */
static bool next_line(char line[LINE_SIZE], const sigset_t *waiting)
{
    static char held[LINE_SIZE];
    static size_t len;
    char *end;

    while (!(end = memchr(held, '\n', len))) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        ssize_t n;

        if (len == sizeof held)
            return complain("standard input", "a line is too long");
        if (ppoll(&in, 1, NULL, waiting) < 0)
            return false;
        n = read(STDIN_FILENO, held + len, sizeof held - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
    }
    *end++ = '\0';
    memcpy(line, held, (size_t)(end - held));
    len -= (size_t)(end - held);
    memmove(held, end, len);
    return true;
}

static bool serve(rd_kafka_mock_cluster_t *cluster, char **topics, const sigset_t *waiting)
{
    char line[LINE_SIZE];

    for (; *topics; topics++)
        if (!create_topic(cluster, *topics))
            return false;
    if (!answer(rd_kafka_mock_cluster_bootstraps(cluster)))
        return false;
    while (next_line(line, waiting))
        if (!obey(cluster, line) || !answer("ok"))
            return false;
    return true;
}

/* Its only purpose is that ppoll() returns. */
static void on_signal(int number)
{
    (void)number;
}

/* Before librdkafka has threads: they leave these signals to the main one. */
static void prepare_signals(sigset_t *waiting)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, waiting);
    sigdelset(waiting, SIGINT);
    sigdelset(waiting, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* A mock cluster belongs to a client, which is not used otherwise. */
static rd_kafka_t *new_client(void)
{
    char reason[512] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client = NULL;

    /* Warnings, but not the notice that this client has no server. */
    if (rd_kafka_conf_set(conf, "log_level", "4", reason, sizeof reason) == RD_KAFKA_CONF_OK)
        client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!client) {
        rd_kafka_conf_destroy(conf);
        complain("librdkafka", reason);
    }
    return client;
}

int main(int argc, char **argv)
{
    sigset_t waiting;
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *cluster;
    bool ok;

    (void)argc;
    prepare_signals(&waiting);
    client = new_client();
    if (!client)
        return 1;
    cluster = rd_kafka_mock_cluster_new(client, 1);
    if (!cluster)
        complain("librdkafka", "no mock cluster");
    ok = cluster && serve(cluster, argv + 1, &waiting);
    if (cluster)
        rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(client);
    return ok ? 0 : 1;
}
