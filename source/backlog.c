#include "source/backlog.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/server_error.h"
#include "source/slot_keeper.h"
#include "source/slot_reader.h"
#include "source/transport.h"

enum {
    READERS = 2,
    LEAST_PIECE = 128 * 1024, /* of WAL */
    LARGEST = 4,              /* times catch_up_bytes is the largest piece, and */
    SMALLEST = 4,             /* a fourth of them the smallest one */
    FARTHEST = 16,            /* times catch_up_bytes behind restart_lsn it does not pay any more */
    LOOK_USEC = 100000,       /* for more WAL, when all has been read */
};

struct backlog {
    struct backlog_setup with;
    struct slot_reader readers[READERS];
    unsigned nreaders; /* that are connected */
    unsigned giving;   /* the one whose piece is, or was last, taken */
    bool alone;        /* another reader is not to be had */
    struct plugin_options chosen;
    char *arguments;   /* owned */
    struct slot_keeper keeper;
    lsn_t begin;       /* where the stretch that is being read begins, */
    lsn_t end;         /* and ends; 0 = not known yet */
    lsn_t asked;       /* everything before has been asked for */
    lsn_t given;       /* everything that committed before has been given */
    unsigned signs;    /* keepalives to be given, of that position */
    bool looked;       /* the end of the WAL has been looked up since the stretch has been read */
    usec_t next_look;  /* not before that, in ticks */
    usec_t asked_at;   /* ticks of the last piece's question */
};

/* ---- pieces ---- */

static uint64_t at_least(uint64_t n, uint64_t least)
{
    return n < least ? least : n;
}

/*
 * Half of what there is, so that both readers work; as much as has to be decoded again, so that this
 * never is the larger part; within the bounds.  The first one is small, so that something comes soon.
 */
static uint64_t piece_size(const struct backlog *b, uint64_t again)
{
    uint64_t unit = b->with.o->catch_up_bytes;
    uint64_t least = at_least(unit / SMALLEST, LEAST_PIECE);
    uint64_t most = at_least(unit * LARGEST, LEAST_PIECE);
    bool first = b->asked == b->begin;
    uint64_t wanted = first ? again / SMALLEST : at_least((b->end - b->begin) / READERS, again);
    uint64_t size = at_least(wanted, least);

    if (!b->with.yields)
        most = at_least(most, again / 2);
    return size < most ? size : most;
}

/* How far a copy has come last tells about where the other one is. */
static lsn_t restart_of(const struct backlog *b)
{
    return b->readers[0].restart > b->readers[1].restart ? b->readers[0].restart
                                                         : b->readers[1].restart;
}

static uint64_t decoded_again(const struct backlog *b)
{
    return restart_of(b) < b->asked ? b->asked - restart_of(b) : 0;
}

/* Where the next piece ends: at the end, if little would be left behind it. */
static lsn_t piece_end(const struct backlog *b)
{
    uint64_t size = piece_size(b, decoded_again(b));
    lsn_t upto = slot_reader_round(b->asked + size);

    if (b->end - b->asked < size + size / 2 || upto <= b->asked || upto >= b->end)
        return b->end;
    return upto;
}

static bool ask(struct backlog *b, struct slot_reader *r)
{
    lsn_t upto = piece_end(b);

    log_verbose("reading from " LSN_FMT " to " LSN_FMT " through SQL", LSN_ARGS(b->asked),
                LSN_ARGS(upto));
    b->asked_at = clock_ticks();
    if (!slot_reader_ask(r, b->asked, upto, b->arguments))
        return false;
    b->asked = upto;
    return true;
}

/* One reader does where there is no slot or connection for another. */
static void open_second(struct stream *s)
{
    struct backlog *b = s->way;
    struct slot_reader *r = &b->readers[b->nreaders];
    struct plugin_options chosen = b->chosen;
    struct buf why;

    buf_init(&why, 256);
    log_keep_errors(&why);
    b->alone = slot_reader_open(r, s, b->with.connector, b->with.o, &chosen) != OUTCOME_OK ||
               r->at > b->asked || chosen.refused != b->chosen.refused;
    log_keep_errors(NULL);
    if (b->alone) {
        if (why.len == 0)
            buf_add_str(&why, "the other one's copy of the slot is another");
        log_verbose("reading with one connection: %.*s", (int)why.len, why.data);
        slot_reader_close(r);
    } else {
        b->nreaders++;
    }
    buf_release(&why);
}

static bool is_pinned(const struct backlog *b)
{
    return b->with.yields && decoded_again(b) > FARTHEST * b->with.o->catch_up_bytes &&
           decoded_again(b) > FARTHEST * (uint64_t)LEAST_PIECE;
}

/* Keeps the readers busy, beginning with the one that gives next; false: a connection is lost. */
static bool ask_for_pieces(struct stream *s)
{
    struct backlog *b = s->way;

    for (unsigned i = 0; i < READERS && b->asked < b->end && !is_pinned(b); i++) {
        unsigned n = (b->giving + i) % READERS;

        if (n >= b->nreaders && !b->alone)
            open_second(s);
        if (n < b->nreaders && b->readers[n].upto == 0 && !ask(b, &b->readers[n]))
            return false;
    }
    return true;
}

static bool is_reading(const struct backlog *b)
{
    return b->readers[0].upto || b->readers[1].upto;
}

/* Between pieces, so that a keepalive is none within a transaction. */
static bool is_between(const struct backlog *b)
{
    const struct slot_reader *r = &b->readers[b->giving];

    return r->upto == 0 || !r->headed;
}

/*
 * The giver's piece has been taken.  Where another one follows it that begins at its end; else it has
 * come as far as the copy is.  Looking for more takes its time as well: the more, the less often.
 */
static void end_piece(struct backlog *b, lsn_t upto)
{
    struct slot_reader *r = &b->readers[b->giving], *other = &b->readers[!b->giving];
    usec_t now = clock_ticks(), rest = 2 * (now - b->asked_at);

    if (other->upto) {
        b->given = upto;
        b->giving = !b->giving;
    } else {
        b->given = b->asked = r->at;
        b->looked = false;
        b->next_look = now;
        if (b->nreaders == READERS) /* a copy that is not used would hold back WAL */
            b->giving = !b->giving;
        if (r->at < upto || b->with.stays) /* the server had not flushed more by then */
            b->next_look += rest > LOOK_USEC ? rest : LOOK_USEC;
        if (b->end > b->asked)
            b->end = b->asked;
    }
    b->signs = 1;
}

/* ---- the slot, and the end of the WAL ---- */

/* A stretch of what there is by now, to the end of the run at most. */
static void begin_stretch(struct backlog *b)
{
    lsn_t end = b->keeper.wal_end;

    if (b->with.end > b->asked && b->with.end < end)
        end = b->with.end;
    b->begin = b->asked;
    b->end = end > b->asked ? end : b->asked;
    b->looked = true;
    b->next_look = clock_ticks() + LOOK_USEC;
}

/* Takes the keeper's answer, if there is one. */
static enum stream_step heed_keeper(struct stream *s, enum outcome *outcome)
{
    struct backlog *b = s->way;

    switch (slot_keeper_take(&b->keeper, outcome)) {
    case SLOT_KEEPER_NONE:
        return STREAM_NONE;
    case SLOT_KEEPER_ANSWERED:
        if (b->signs == 0 && is_between(b))
            b->signs = 1;
        if (b->keeper.wal_end > s->received)
            s->received = b->keeper.wal_end;
        if (b->asked >= b->end && !is_reading(b))
            begin_stretch(b);
        return STREAM_NONE;
    case SLOT_KEEPER_DISTURBED:
        *outcome = OUTCOME_UNAVAILABLE;
        return STREAM_ENDED;
    case SLOT_KEEPER_FAILED:
        break;
    }
    return *outcome == OUTCOME_UNAVAILABLE ? STREAM_ENDED : STREAM_FAILED;
}

/* What is left is so little that the other transport takes over. */
static bool is_caught_up(const struct backlog *b)
{
    return !b->with.stays && b->looked &&
           b->end - b->asked <= b->with.o->catch_up_bytes / SMALLEST;
}

static enum stream_step connection_lost(enum outcome *outcome)
{
    log_warning("lost the connection to the server");
    *outcome = OUTCOME_UNAVAILABLE;
    return STREAM_ENDED;
}

/* No piece is being taken: asks for some, or whether there are any. */
static enum stream_step go_on(struct stream *s, enum outcome *outcome)
{
    struct backlog *b = s->way;
    bool good = true;

    if (is_caught_up(b)) {
        log_verbose("caught up through SQL at " LSN_FMT, LSN_ARGS(b->given));
        return STREAM_OVER;
    }
    if (b->asked < b->end && is_pinned(b)) {
        log_verbose("not reading through SQL: with each piece the server would decode the WAL from "
                    LSN_FMT " on again, as the slot has no later point to begin at",
                    LSN_ARGS(restart_of(b)));
        s->unfit = true;
        return STREAM_OVER;
    }
    if (b->asked < b->end)
        good = ask_for_pieces(s);
    else if (clock_ticks() >= b->next_look)
        good = slot_keeper_ask(&b->keeper, true);
    return good ? STREAM_NONE : connection_lost(outcome);
}

/* ---- messages ---- */

static enum stream_step give_sign(struct backlog *b, struct stream_message *m)
{
    b->signs--;
    *m = (struct stream_message){
        .kind = STREAM_KEEPALIVE, .wal_end = b->given, .sent = b->keeper.server_now};
    return STREAM_MESSAGE;
}

/*
 * The functions decode a piece whole: with an error what precedes it is not given, either.  The other
 * transport gives that, and then says what is wrong, if it meets it, too.
 */
static enum stream_step give_way(struct stream *s, const char *why, size_t len)
{
    log_verbose("not reading through SQL: %.*s", (int)len, why);
    s->unfit = true;
    return STREAM_OVER;
}

static enum stream_step failed(struct stream *s, const struct slot_reader *r, enum outcome *outcome)
{
    bool ended = strncmp(result_sqlstate(r->fetcher.result), "57P", 3) == 0; /* session or server */
    enum stream_step step;
    struct buf why;

    if (ended) {
        *outcome = stream_error(s, r->fetcher.conn, r->fetcher.result, "read changes");
        return *outcome == OUTCOME_UNAVAILABLE ? STREAM_ENDED : STREAM_FAILED;
    }
    buf_init(&why, 256);
    log_keep_errors(&why);
    (void)stream_error(s, r->fetcher.conn, r->fetcher.result, "read changes");
    log_keep_errors(NULL);
    step = give_way(s, why.data, why.len);
    buf_release(&why);
    return step;
}

/* The next message of the piece that is being taken; STREAM_NONE with no such piece: its end. */
static enum stream_step take(struct stream *s, struct stream_message *m, enum outcome *outcome)
{
    struct backlog *b = s->way;
    struct slot_reader *r = &b->readers[b->giving];
    lsn_t upto = r->upto;

    switch (slot_reader_next(r, m)) {
    case SLOT_READER_MESSAGE:
        if (m->lsn > s->received)
            s->received = m->lsn;
        return STREAM_MESSAGE;
    case SLOT_READER_WAIT:
        return STREAM_NONE;
    case SLOT_READER_DONE:
        end_piece(b, upto);
        return ask_for_pieces(s) ? give_sign(b, m) : connection_lost(outcome);
    case SLOT_READER_LOST:
        log_warning("lost the connection: %s", PQerrorMessage(r->fetcher.conn));
        *outcome = OUTCOME_UNAVAILABLE;
        return STREAM_ENDED;
    case SLOT_READER_FAILED:
        return failed(s, r, outcome);
    case SLOT_READER_BROKEN:
        break;
    }
    *outcome = OUTCOME_FAILED;
    return STREAM_FAILED;
}

static enum stream_step next(struct stream *s, struct stream_message *m, enum outcome *outcome)
{
    struct backlog *b = s->way;
    enum stream_step step = heed_keeper(s, outcome);

    if (step == STREAM_NONE && b->signs > 0 && is_between(b))
        return give_sign(b, m);
    if (step == STREAM_NONE && b->readers[b->giving].upto == 0)
        step = go_on(s, outcome);
    if (step == STREAM_NONE && b->readers[b->giving].upto)
        step = take(s, m, outcome);
    s->working = is_reading(b);
    return s->unpublished ? give_way(s, "a publication is missing", 24) : step;
}

static bool read_sockets(struct stream *s)
{
    struct backlog *b = s->way;
    struct slot_reader *r = &b->readers[b->giving];

    return (r->upto == 0 || fetcher_receive(&r->fetcher)) && slot_keeper_receive(&b->keeper) &&
           slot_keeper_ask(&b->keeper, false);
}

static nfds_t watch(const struct stream *s, struct pollfd *fds)
{
    const struct backlog *b = s->way;
    const struct slot_reader *r = &b->readers[b->giving];
    nfds_t n = 0;

    if (r->upto)
        fds[n++] = (struct pollfd){.fd = PQsocket(r->fetcher.conn), .events = POLLIN};
    if (b->keeper.busy)
        fds[n++] = (struct pollfd){.fd = PQsocket(b->keeper.conn), .events = POLLIN};
    return n;
}

static usec_t due(const struct stream *s)
{
    const struct backlog *b = s->way;

    return is_reading(b) || b->keeper.busy ? INT64_MAX : b->next_look;
}

/* ---- feedback, ending ---- */

static bool feedback(struct stream *s, lsn_t flushed, bool ask_reply)
{
    struct backlog *b = s->way;

    if (b->nreaders == 0)
        return true; /* nothing has been begun: the slot stays where it is */
    if (flushed > b->keeper.goal)
        b->keeper.goal = flushed;
    return slot_keeper_ask(&b->keeper, ask_reply);
}

static void close_readers(struct backlog *b)
{
    for (unsigned i = 0; i < READERS; i++)
        slot_reader_close(&b->readers[i]);
}

static void finish(struct stream *s)
{
    struct backlog *b = s->way;

    close_readers(b);
    slot_keeper_finish(&b->keeper);
}

static void close_connections(struct stream *s)
{
    struct backlog *b = s->way;

    close_readers(b);
    slot_keeper_close(&b->keeper);
    free(b->arguments);
    free(b);
}

static const struct transport transport = {
    .read = read_sockets,
    .next = next,
    .feedback = feedback,
    .watch = watch,
    .due = due,
    .finish = finish,
    .close = close_connections,
};

/* ---- starting ---- */

enum outcome backlog_start(struct stream *s, const struct backlog_setup *setup)
{
    struct backlog *b = xcalloc(1, sizeof *b);
    enum outcome outcome;

    stream_init(s, setup->o, setup->start);
    s->transport = &transport;
    s->way = b;
    b->with = *setup;
    b->asked = b->given = setup->start;
    b->chosen = plugin_first_options(setup->o);
    slot_keeper_init(&b->keeper, setup->connector, setup->o->slot, setup->confirmed);
    outcome = slot_reader_open(&b->readers[0], s, setup->connector, setup->o, &b->chosen);
    if (outcome == OUTCOME_OK)
        outcome = slot_keeper_open(&b->keeper);
    if (outcome != OUTCOME_OK)
        return outcome;
    b->nreaders = 1;
    s->begun = s->yields = true;
    b->arguments = slot_reader_arguments(&b->readers[0], setup->o, &b->chosen);
    s->nan_is_null = plugin_nan_is_null(setup->o, &b->chosen);
    log_verbose("reading through SQL from " LSN_FMT, LSN_ARGS(setup->start));
    return OUTCOME_OK;
}
