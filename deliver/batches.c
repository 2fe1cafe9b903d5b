#include "deliver/batches.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "deliver/command.h"
#include "deliver/file_name.h"

enum {
    KEPT = 64 * 1024,        /* bytes of buffer that an idle spool keeps */
    STOP_PATIENCE_SEC = 10,  /* for a command that runs when the run ends, */
    KILL_PATIENCE_SEC = 5,   /* and once it has got SIGTERM */
    MAX_DELAY_SEC = 30,
    NVARIABLES = 5,
};

/* What one command gets. */
struct spool {
    struct output output;
    char *schema, *table, *topic; /* NULL = none, or of several tables */
    bool mixed;        /* it has records of several tables, or of none */
    bool ended;
    uint64_t boundary; /* offset behind the last whole transaction */
    lsn_t first;       /* LSN of the first record */
};

struct batch {
    struct spool **list;
    size_t n;
    uint64_t records;
    usec_t begun; /* ticks, of its first record */
    lsn_t last;   /* LSN of the last transaction */
    bool whole;   /* nothing lies behind the last boundary */
};

struct batches {
    const struct options *o;
    uint64_t number; /* of the open batch */
    struct batch open;
    struct batch running;
    bool is_running; /* a batch, though maybe no command at the moment */
    size_t next;     /* the spool of it whose turn it is */
    struct command command;
    uint64_t tries;  /* of the spool that have failed */
    usec_t delay;    /* before the next one */
    usec_t retry_at; /* ticks; 0 = no try waits */
    usec_t stopped;  /* ticks, when batches_stop() was called; 0 = not */
    bool terminated; /* ... and the command has been sent SIGTERM */
    bool flush;
    bool parted;
    uint64_t accepted;
    uint64_t ended; /* commands */
    uint64_t written;
    unsigned generation;
    enum outcome outcome; /* a failure that batches_tend() has to tell of */
};

struct batches *batches_new(const struct options *o)
{
    struct batches *bs = xcalloc(1, sizeof *bs);

    bs->o = o;
    bs->number = 1;
    bs->command.unread = -1;
    if (o->per_table)
        file_raise_limit(); /* two descriptors for each spool */
    return bs;
}

static void free_spool(struct spool *s)
{
    output_close(&s->output);
    free(s->schema);
    free(s->table);
    free(s->topic);
    free(s);
}

static void release(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        free_spool(b->list[i]);
    free(b->list);
    *b = (struct batch){0};
}

void batches_free(struct batches *bs)
{
    if (!bs)
        return;
    command_kill(&bs->command);
    release(&bs->open);
    release(&bs->running);
    free(bs);
}

/* ---- collecting ---- */

static struct spool *spool_of(struct output *out)
{
    return (struct spool *)(void *)((char *)out - offsetof(struct spool, output));
}

static bool is_for(const struct batches *bs, const struct spool *s, const struct relation *r)
{
    if (s->ended)
        return false;
    return !bs->o->per_table ||
           (r && strcmp(s->schema, r->schema) == 0 && strcmp(s->table, r->name) == 0);
}

struct output *batches_find(struct batches *bs, const struct relation *r)
{
    for (size_t i = 0; i < bs->open.n; i++)
        if (is_for(bs, bs->open.list[i], r))
            return &bs->open.list[i]->output;
    return NULL;
}

static void set_table(struct spool *s, const struct relation *r, const char *server)
{
    struct file_name name = {.server = server, .schema = r->schema, .table = r->name};

    s->schema = xstrdup(r->schema);
    s->table = xstrdup(r->name);
    s->topic = file_name_make("{topic}", &name, 0);
}

static void forget_table(struct spool *s)
{
    free(s->schema);
    free(s->table);
    free(s->topic);
    s->schema = s->table = s->topic = NULL;
    s->mixed = true;
}

enum outcome batches_open(struct batches *bs, const struct relation *r, const char *server,
                          struct output **out)
{
    struct batch *b = &bs->open;
    struct spool *s = xcalloc(1, sizeof *s);
    enum outcome outcome = output_open_spool(&s->output);

    if (outcome == OUTCOME_OK && bs->o->format == FORMAT_AVRO &&
        !output_use_container(&s->output, bs->o->codec))
        outcome = OUTCOME_FAILED;
    if (outcome != OUTCOME_OK) {
        free_spool(s);
        return outcome;
    }
    if (r && bs->o->per_table)
        set_table(s, r, server);
    b->list = realloc(b->list, (b->n + 1) * sizeof(*b->list));
    if (!b->list)
        log_out_of_memory();
    b->list[b->n++] = s;
    *out = &s->output;
    return OUTCOME_OK;
}

void batches_note(struct batches *bs, struct output *out, const struct relation *r,
                  const char *server, lsn_t lsn)
{
    struct spool *s = spool_of(out);

    if (!s->first)
        s->first = lsn;
    if (bs->o->per_table || s->mixed)
        return;
    if (r && !s->table)
        set_table(s, r, server);
    else if (!r || strcmp(s->schema, r->schema) != 0 || strcmp(s->table, r->name) != 0)
        forget_table(s);
}

void batches_end(struct batches *bs, struct output *out)
{
    spool_of(out)->ended = true;
    bs->generation++;
}

unsigned batches_generation(const struct batches *bs)
{
    return bs->generation;
}

static enum outcome write_out(struct output *out)
{
    enum outcome outcome = output_flush(out);

    if (outcome == OUTCOME_OK)
        buf_shrink(&out->pending, KEPT);
    return outcome;
}

static enum outcome close_marked(struct spool *s)
{
    struct container *c = s->output.container;

    if (!c || !container_has_marked(c))
        return OUTCOME_OK;
    return output_close_marked(&s->output) ? OUTCOME_OK : OUTCOME_FAILED;
}

static enum outcome close_full_block(struct spool *s)
{
    struct container *c = s->output.container;
    enum outcome outcome = close_marked(s);

    if (outcome != OUTCOME_OK)
        return outcome;
    s->boundary = container_is_empty(c) ? output_end(&s->output) : s->boundary;
    return !container_is_full(c) || output_close_all(&s->output) ? OUTCOME_OK : OUTCOME_FAILED;
}

enum outcome batches_added(struct batches *bs, struct output *out, unsigned records)
{
    struct batch *b = &bs->open;
    enum outcome outcome = OUTCOME_OK;

    if (records && b->records == 0)
        b->begun = clock_ticks();
    b->records += records;
    b->whole = false;
    for (unsigned i = 0; out->container && i < records; i++)
        container_added(out->container);
    if (out->container && container_is_full(out->container))
        outcome = close_full_block(spool_of(out));
    if (outcome == OUTCOME_OK && output_pending(out) >= OUTPUT_HIGH_WATER)
        outcome = write_out(out);
    return outcome;
}

static bool is_due(const struct batches *bs)
{
    const struct batch *b = &bs->open;

    return b->records > 0 && (bs->flush || b->records >= bs->o->batch_rows ||
                              clock_ticks() - b->begun >= bs->o->batch_time);
}

/* Blocks of containers end at the mark, so that nothing behind it has to be taken out of them. */
static enum outcome mark_spool(struct spool *s)
{
    struct container *c = s->output.container;
    enum outcome outcome = OUTCOME_OK;

    if (c && !container_is_empty(c)) {
        container_mark(c);
        outcome = close_marked(s);
    }
    s->boundary = output_end(&s->output);
    return outcome;
}

/* Spools of which everything was taken back are nothing to give. */
static void drop_empty(struct batch *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->list[i]->boundary > 0)
            b->list[kept++] = b->list[i];
        else
            free_spool(b->list[i]);
    }
    b->n = kept;
}

enum outcome batches_cut(struct batches *bs)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < bs->open.n && outcome == OUTCOME_OK; i++) {
        struct spool *s = bs->open.list[i];

        if (s->output.container)
            container_forget(s->output.container);
        if (s->boundary != output_end(&s->output))
            outcome = output_cut(&s->output, s->boundary);
    }
    drop_empty(&bs->open);
    if (bs->open.n == 0)
        bs->open.records = 0;
    bs->open.whole = true;
    bs->generation++;
    return outcome;
}

/* ---- handing over ---- */

/* The open batch begins to run. */
static enum outcome hand_over(struct batches *bs)
{
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < bs->open.n && outcome == OUTCOME_OK; i++)
        outcome = write_out(&bs->open.list[i]->output);
    if (outcome != OUTCOME_OK)
        return outcome;
    drop_empty(&bs->open);
    bs->running = bs->open;
    bs->open = (struct batch){0};
    bs->is_running = true;
    bs->next = 0;
    bs->tries = 0;
    bs->number++;
    bs->generation++;
    return OUTCOME_OK;
}

static enum outcome hand_over_if_due(struct batches *bs)
{
    bool can = bs->open.whole && !bs->is_running && !bs->stopped;

    return can && is_due(bs) ? hand_over(bs) : OUTCOME_OK;
}

void batches_mark(struct batches *bs, lsn_t lsn)
{
    for (size_t i = 0; i < bs->open.n && bs->outcome == OUTCOME_OK; i++)
        bs->outcome = mark_spool(bs->open.list[i]);
    bs->open.whole = true;
    bs->parted = false;
    if (bs->open.records > 0)
        bs->open.last = lsn;
    if (bs->outcome == OUTCOME_OK)
        bs->outcome = hand_over_if_due(bs);
}

void batches_part(struct batches *bs, lsn_t lsn)
{
    if (!is_due(bs) || bs->is_running)
        return;
    batches_mark(bs, lsn);
    bs->parted = true;
}

bool batches_have_parted(const struct batches *bs)
{
    return bs->parted;
}

/* ---- running ---- */

static void set_lsn(char text[24], lsn_t lsn)
{
    snprintf(text, 24, LSN_FMT, LSN_ARGS(lsn));
}

static char *describe_end(int status, bool whole)
{
    if (WIFSIGNALED(status))
        return xasprintf("was ended by signal %d: %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return xasprintf("failed with exit status %d", WEXITSTATUS(status));
    return xstrdup(whole ? "has exited" : "has exited without reading all of its input");
}

/* A try has failed: there is another one in a while, or that was the last.  Takes how. */
static enum outcome try_failed(struct batches *bs, char *how)
{
    const usec_t ceiling = MAX_DELAY_SEC * USEC_PER_SEC;
    const usec_t most = bs->o->retry_delay > ceiling ? bs->o->retry_delay : ceiling;
    enum outcome outcome = OUTCOME_OK;

    if (bs->stopped) {
        log_verbose("the command %s", how);
    } else if (bs->tries < bs->o->exec_retries) {
        bs->delay = bs->tries++ == 0 ? bs->o->retry_delay : bs->delay * 2;
        if (bs->delay > most)
            bs->delay = most;
        bs->retry_at = clock_ticks() + bs->delay;
        log_warning("the command %s: trying the batch again in %.3g seconds", how,
                    (double)bs->delay / (double)USEC_PER_SEC);
    } else {
        log_error("the command %s", how);
        log_detail("The command is: %s", bs->o->exec);
        log_hint("Nothing of this batch has been acknowledged: the next run gives it again.");
        outcome = OUTCOME_OUTPUT_FAILED;
    }
    free(how);
    return outcome;
}

static enum outcome start(struct batches *bs)
{
    const struct spool *s = bs->running.list[bs->next];
    char first[24], last[24];
    const struct command_variable variables[NVARIABLES] = {
        {"CDCDUMP_LSN", last},        {"CDCDUMP_FIRST_LSN", first}, {"CDCDUMP_SCHEMA", s->schema},
        {"CDCDUMP_TABLE", s->table}, {"CDCDUMP_TOPIC", s->topic},
    };

    set_lsn(first, s->first);
    set_lsn(last, bs->running.last);
    bs->retry_at = 0;
    log_verbose("running the command for the batch up to %s, %llu bytes", last,
                (unsigned long long)s->boundary);
    return command_start(&bs->command, bs->o->exec, s->output.fd, variables, NVARIABLES)
               ? OUTCOME_OK
               : try_failed(bs, xstrdup("could not be started"));
}

static enum outcome command_ended(struct batches *bs, uint64_t given, uint64_t unread)
{
    bool whole = given == bs->running.list[bs->next]->boundary && unread == 0;

    bs->ended++;
    bs->written += given;
    if (!whole || !WIFEXITED(bs->command.status) || WEXITSTATUS(bs->command.status) != 0)
        return try_failed(bs, describe_end(bs->command.status, whole));
    bs->tries = 0;
    bs->next++;
    return OUTCOME_OK;
}

/* A command that does not come to its end after the run was asked to. */
static void hurry(struct batches *bs)
{
    usec_t since = clock_ticks() - bs->stopped;

    if (!bs->terminated && since >= STOP_PATIENCE_SEC * USEC_PER_SEC) {
        bs->terminated = true;
        log_warning("the command does not come to its end: sending it SIGTERM");
        command_signal(&bs->command, SIGTERM);
    } else if (since >= (STOP_PATIENCE_SEC + KILL_PATIENCE_SEC) * USEC_PER_SEC) {
        command_signal(&bs->command, SIGKILL);
    }
}

static enum outcome tend_command(struct batches *bs)
{
    uint64_t given, unread;

    if (bs->stopped)
        hurry(bs);
    return command_has_ended(&bs->command, &given, &unread) ? command_ended(bs, given, unread)
                                                            : OUTCOME_OK;
}

static bool can_start(const struct batches *bs)
{
    return bs->is_running && !bs->command.pid && !bs->stopped && bs->next < bs->running.n &&
           (!bs->retry_at || clock_ticks() >= bs->retry_at);
}

enum outcome batches_tend(struct batches *bs)
{
    enum outcome outcome = bs->outcome;

    if (outcome == OUTCOME_OK && bs->command.pid)
        outcome = tend_command(bs);
    if (bs->is_running && !bs->command.pid && bs->next == bs->running.n) {
        bs->accepted = bs->number - 1;
        bs->is_running = false;
        release(&bs->running);
    }
    if (outcome == OUTCOME_OK)
        outcome = hand_over_if_due(bs);
    return outcome == OUTCOME_OK && can_start(bs) ? start(bs) : outcome;
}

uint64_t batches_last(const struct batches *bs)
{
    return bs->open.records > 0 ? bs->number : bs->number - 1;
}

uint64_t batches_accepted(const struct batches *bs)
{
    return bs->accepted;
}

bool batches_are_full(const struct batches *bs)
{
    return bs->is_running && is_due(bs);
}

uint64_t batches_progress(const struct batches *bs)
{
    return bs->ended + bs->written + command_given(&bs->command);
}

uint64_t batches_written(const struct batches *bs)
{
    return bs->written;
}

usec_t batches_due(const struct batches *bs)
{
    usec_t due = INT64_MAX;

    if (bs->stopped)
        return clock_ticks() + USEC_PER_SEC;
    if (bs->open.records > 0 && !bs->is_running && bs->open.whole)
        due = bs->open.begun + bs->o->batch_time;
    if (bs->retry_at && !bs->command.pid && bs->retry_at < due)
        due = bs->retry_at;
    return due;
}

/* ---- the end ---- */

void batches_flush(struct batches *bs)
{
    bs->flush = true;
}

void batches_stop(struct batches *bs)
{
    if (!bs->stopped)
        bs->stopped = clock_ticks();
}

bool batches_are_over(const struct batches *bs)
{
    return bs->stopped && !bs->command.pid;
}
