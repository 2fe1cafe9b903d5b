#include "deliver/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

/*
 * What the last run has left for --ack, and nobody has acknowledged, is given again.  From now on it
 * cannot be acknowledged any more: not even when this run comes to nothing.
 */
static enum outcome drop_pending(struct delivery *d)
{
    log_notice("what the last run has given was not acknowledged: giving it again");
    return state_save(&d->state, d->state_path);
}

enum outcome delivery_load_state(struct delivery *d, const struct options *o)
{
    enum outcome outcome;

    *d = (struct delivery){
        .state_path = o->state_file, .lock = {.fd = -1}, .looks = o->action == ACTION_PEEK};
    d->output.fd = d->output.read_fd = d->replies.fd = -1;
    outcome = o->ack_mode == ACK_REPLY ? replies_open(&d->replies, o) : OUTCOME_OK;
    if (outcome != OUTCOME_OK || !d->state_path)
        return outcome;
    outcome = state_lock(&d->lock, d->state_path);
    if (outcome == OUTCOME_OK)
        outcome = state_load(&d->state, d->state_path, &d->resumed);
    if (outcome == OUTCOME_OK && d->resumed)
        d->emitted = d->accepted = d->recorded = d->state.position;
    if (outcome == OUTCOME_OK && d->state.pending)
        outcome = drop_pending(d);
    return outcome;
}

/* ---- the output and what the state knows of it ---- */

static enum outcome refuse_mode(enum ack_mode mode, bool file)
{
    log_error(file ? "ack mode \"%s\" needs a pipe, but the output is a regular file"
                   : "ack mode \"%s\" needs a regular file as output",
              mode == ACK_READ    ? "read"
              : mode == ACK_REPLY ? "reply"
                                  : "written");
    log_hint("Leave --ack-mode out: it follows from the output.");
    return OUTCOME_MISUSED;
}

static enum outcome choose_mode(struct delivery *d, const struct options *o)
{
    bool file = d->output.kind == OUTPUT_FILE;

    d->mode = o->ack_mode != ACK_BY_OUTPUT ? o->ack_mode : file ? ACK_WRITTEN : ACK_READ;
    if (d->mode == ACK_DEFERRED || d->mode == ACK_COMMAND || file == (d->mode == ACK_WRITTEN))
        return OUTCOME_OK;
    return refuse_mode(d->mode, file);
}

static bool is_same_file(const struct output *out, const struct accepted_file *accepted)
{
    return accepted->path && accepted->device == (uint64_t)out->device &&
           accepted->inode == (uint64_t)out->inode;
}

static enum outcome refuse_output(const char *path, const char *what)
{
    log_error("output file \"%s\" does not fit the state file: %s", path, what);
    log_hint("Put the file back as it was, or move it away and go on in a new, empty one.");
    return OUTCOME_MISUSED;
}

/* *intact: whether the accepted part is still what it was. */
static enum outcome check_accepted_part(const struct output *out,
                                        const struct accepted_file *accepted, bool *intact)
{
    *intact = true;
    if (!accepted->has_crc)
        return OUTCOME_OK;
    return output_compare(out, accepted->length, accepted->crc, intact);
}

/* The file of the last run: what lies behind the accepted part was never acknowledged. */
static enum outcome check_continued(const struct output *out, const struct accepted_file *accepted)
{
    enum outcome outcome;
    bool intact;


    if (out->offset == 0 && accepted->length > 0) {
        log_warning("output file \"%s\" has been emptied since the last run", accepted->path);
        return OUTCOME_OK;
    }
    if (out->offset < accepted->length)
        return refuse_output(accepted->path, "it is shorter than what was accepted");
    outcome = check_accepted_part(out, accepted, &intact);
    if (outcome == OUTCOME_OK && !intact)
        return refuse_output(accepted->path, "its accepted part has been changed");
    return outcome;
}

static enum outcome continue_output(struct output *out, const struct accepted_file *accepted)
{
    enum outcome outcome = check_continued(out, accepted);

    if (outcome != OUTCOME_OK || out->offset <= accepted->length)
        return outcome;
    log_notice("cutting output file \"%s\" back to the %" PRIu64 " bytes that were accepted",
               accepted->path, accepted->length);
    return output_cut(out, accepted->length);
}

/* *longer: whether the file of a run that did not end in good order is there, with more in it. */
static enum outcome check_longer(const struct accepted_file *accepted, bool *longer)
{
    struct stat st;

    *longer = false;
    if (accepted->complete)
        return OUTCOME_OK;
    if (stat(accepted->path, &st) == 0) {
        *longer = (uint64_t)st.st_dev == accepted->device && (uint64_t)st.st_ino == accepted->inode &&
                  (uint64_t)st.st_size > accepted->length;
        return OUTCOME_OK;
    }
    if (file_is_missing())
        return OUTCOME_OK;
    log_error("could not examine the previous output file \"%s\": %m", accepted->path);
    return OUTCOME_OUTPUT_FAILED;
}

/*
 * Another output than last time.  What the last run wrote into the old file but could not put on
 * record comes again, in the new one: without cutting the old one back it would stand in both.
 */
static enum outcome cut_previous_output(const struct accepted_file *accepted)
{
    struct output old;
    bool longer, intact = false;
    enum outcome outcome = check_longer(accepted, &longer);

    if (outcome != OUTCOME_OK || !longer || !accepted->has_crc)
        return outcome;
    outcome = output_open(&old, accepted->path);
    if (outcome == OUTCOME_OK)
        outcome = check_accepted_part(&old, accepted, &intact);
    if (outcome == OUTCOME_OK && intact) {
        log_notice("cutting the previous output file \"%s\" back to %" PRIu64 " bytes",
                   accepted->path, accepted->length);
        outcome = output_cut(&old, accepted->length);
    }
    output_close(&old);
    return outcome;
}

static bool has_name(const struct output *out, const struct accepted_file *accepted)
{
    return out->given && out->path && strcmp(out->path, accepted->path) == 0;
}

/*
 * With -f the name is the output.  An empty file of that name is what log rotation leaves behind;
 * one with content was put there by somebody.
 */
static enum outcome check_name(const struct output *out, const struct accepted_file *accepted)
{
    if (!has_name(out, accepted))
        return cut_previous_output(accepted);
    if (out->offset > 0)
        return refuse_output(out->path, "it is another file than the one that was written to");
    log_warning("output file \"%s\" has been replaced by an empty one since the last run", out->path);
    return OUTCOME_OK;
}

/* -f must not create the file that the state file misses: looks before anything is opened. */
static enum outcome check_not_missing(const struct delivery *d, const struct options *o)
{
    char *name;
    bool missing;

    if (!o->file || !d->resumed || !d->state.output.path || access(o->file, F_OK) == 0 ||
        !file_is_missing())
        return OUTCOME_OK;
    name = file_absolute_name(o->file);
    missing = name && strcmp(name, d->state.output.path) == 0;
    free(name);
    return missing ? refuse_output(o->file, "it is missing") : OUTCOME_OK;
}

/* Letters among the records would spoil both, and be cut off with what was not accepted. */
static enum outcome check_dead_letters(const struct delivery *d)
{
    struct stat st;

    if (!d->dead.path || fstat(d->dead.fd, &st) != 0 || st.st_dev != d->output.device ||
        st.st_ino != d->output.inode || !S_ISREG(st.st_mode))
        return OUTCOME_OK;
    log_error("dead letter file \"%s\" is the output", d->dead.path);
    log_hint("Give --dead-letter a file of its own.");
    return OUTCOME_MISUSED;
}

/* A file that the mode does not go with must not be created: looks before anything is opened. */
static enum outcome check_kind(const struct options *o)
{
    struct stat st;

    if (!o->file || (o->ack_mode != ACK_READ && o->ack_mode != ACK_REPLY))
        return OUTCOME_OK;
    if (stat(o->file, &st) != 0)
        return file_is_missing() ? refuse_mode(o->ack_mode, true) : OUTCOME_OK;
    return S_ISREG(st.st_mode) ? refuse_mode(o->ack_mode, true) : OUTCOME_OK;
}

/* What a run with several files has left is completed, whatever the output is now. */
static enum outcome open_many(struct delivery *d, const struct options *o)
{
    const struct accepted_file *accepted = &d->state.output;
    enum outcome outcome = files_recover(&d->state, d->state_path);

    if (outcome != OUTCOME_OK || !(o->many_files || o->exec))
        return outcome;
    d->output = (struct output){.fd = -1, .read_fd = -1, .kind = OUTPUT_FILE};
    outcome = choose_mode(d, o);
    if (outcome == OUTCOME_OK && accepted->path)
        outcome = cut_previous_output(accepted);
    if (outcome == OUTCOME_OK && o->many_files)
        d->files = files_new(o, &d->state, d->state_path);
    else if (outcome == OUTCOME_OK)
        d->batches = batches_new(o);
    return outcome;
}

/* Bytes that are no text do a terminal no good. */
static enum outcome use_container(struct delivery *d, const struct options *o)
{
    if (isatty(d->output.fd)) {
        log_error("Avro is not written to a terminal");
        log_hint("Redirect standard output, pipe it into a program that reads Avro, or use -f.");
        return OUTCOME_MISUSED;
    }
    return output_use_container(&d->output, o->codec) ? OUTCOME_OK : OUTCOME_FAILED;
}

enum outcome delivery_open_output(struct delivery *d, const struct options *o)
{
    const struct accepted_file *accepted = &d->state.output;
    enum outcome outcome;

    if (d->output.fd >= 0 || delivery_has_many(d))
        return OUTCOME_OK; /* by an earlier attempt to connect */
    if (d->dead.path)
        dead_letters_close(&d->dead);
    outcome = dead_letters_open(&d->dead, o->dead_letter);
    if (outcome == OUTCOME_OK)
        outcome = open_many(d, o);
    if (outcome != OUTCOME_OK || delivery_has_many(d))
        return outcome;
    outcome = check_not_missing(d, o);
    if (outcome == OUTCOME_OK)
        outcome = check_kind(o);
    if (outcome == OUTCOME_OK)
        outcome = output_open(&d->output, o->file);
    if (outcome == OUTCOME_OK)
        outcome = check_dead_letters(d);
    if (outcome == OUTCOME_OK)
        outcome = choose_mode(d, o);
    if (outcome == OUTCOME_OK && o->format == FORMAT_AVRO)
        outcome = use_container(d, o);
    d->continues = outcome == OUTCOME_OK && accepted->path && is_same_file(&d->output, accepted);
    if (outcome == OUTCOME_OK && accepted->path)
        outcome = d->continues ? continue_output(&d->output, accepted)
                               : check_name(&d->output, accepted);
    d->boundary = output_end(&d->output);
    return outcome;
}

enum outcome delivery_look_at_output(struct delivery *d, const struct options *o)
{
    const struct accepted_file *accepted = &d->state.output;
    enum outcome outcome = check_not_missing(d, o);
    struct stat st;

    if (outcome == OUTCOME_OK)
        outcome = check_kind(o);
    if (outcome != OUTCOME_OK || !o->file || stat(o->file, &st) != 0 || !S_ISREG(st.st_mode))
        return outcome;
    outcome = output_open(&d->output, o->file); /* which changes nothing of a file that is there */
    if (outcome == OUTCOME_OK)
        outcome = choose_mode(d, o);
    if (outcome != OUTCOME_OK || !accepted->path)
        return outcome;
    if (is_same_file(&d->output, accepted))
        return check_continued(&d->output, accepted);
    return has_name(&d->output, accepted) ? check_name(&d->output, accepted) : OUTCOME_OK;
}

/* ---- on record ---- */

static void describe_output(struct delivery *d, uint64_t length)
{
    struct accepted_file *accepted = &d->state.output;
    const struct output *out = &d->output;

    free(accepted->path);
    *accepted = (struct accepted_file){0};
    if (out->kind != OUTPUT_FILE || delivery_has_many(d))
        return;
    accepted->path = xstrdup(out->path ? out->path : "");
    accepted->device = (uint64_t)out->device;
    accepted->inode = (uint64_t)out->inode;
    accepted->length = length;
    accepted->complete = d->complete;
    accepted->has_crc = output_check_value(out, length, &accepted->crc);
}

/* That much has been accepted: what the state file is to say, or is to have pending. */
static void accept(struct delivery *d, const struct ledger_entry *entry)
{
    d->state.position = entry->position;
    if (d->state.nexpected && entry->position.lsn > d->state.expected_at)
        state_forget_expected(&d->state); /* they have come */
    if (d->state_path)
        describe_output(d, entry->end);
    d->accepted = entry->position;
    d->accepted_end = entry->end;
}

static enum outcome save(struct delivery *d)
{
    enum outcome outcome = dead_letters_sync(&d->dead);

    if (outcome == OUTCOME_OK && d->state_path)
        outcome = state_save(&d->state, d->state_path);

    if (outcome != OUTCOME_OK)
        return outcome;
    d->recorded = d->accepted;
    if (d->mode == ACK_DEFERRED) {
        free(d->base);
        d->base = state_text(&d->state);
    }
    return OUTCOME_OK;
}

/* Accepted, and on record unless that is for --ack to do. */
static enum outcome record(struct delivery *d, const struct ledger_entry *entry)
{
    enum outcome outcome = OUTCOME_OK;

    accept(d, entry);
    if (d->mode != ACK_DEFERRED)
        outcome = save(d);
    if (outcome == OUTCOME_OK && d->state.has_coverage)
        coverage_forget(&d->state.coverage, &d->accepted);
    return outcome;
}

enum outcome delivery_begin(struct delivery *d, lsn_t lsn)
{
    struct ledger_entry entry = {.end = d->boundary, .position = d->state.position};

    entry.position.lsn = lsn;
    d->emitted = entry.position;
    d->state.coverage.certain = false;
    d->ledger = (struct ledger){0}; /* of positions that were given up, if any */
    d->shown = d->shown_whole = d->sent = 0;
    replies_forget(&d->replies);
    accept(d, &entry);
    return save(d);
}

/* All that makes whole transactions is in the output's buffer, or has left it. */
static void note_boundary(struct delivery *d)
{
    d->boundary = output_end(&d->output);
    ledger_add(&d->ledger, d->boundary, d->shown_whole, &d->emitted);
    d->shown_whole = 0;
}

void delivery_mark(struct delivery *d, const struct position *position)
{
    struct container *c = d->output.container;

    d->emitted = *position;
    if (d->shown > d->shown_whole)
        d->shown_whole = d->shown;
    d->shown = 0;
    if (d->files) {
        files_mark(d->files);
        d->boundary += files_owe(d->files);
        ledger_add(&d->ledger, d->boundary, 0, position);
        return;
    }
    if (d->batches) {
        d->boundary = batches_last(d->batches);
        ledger_add(&d->ledger, d->boundary, 0, position);
        batches_mark(d->batches, d->sent);
        return;
    }
    if (c)
        container_mark(c);
    if (!c || container_is_empty(c))
        note_boundary(d);
}

void delivery_part(struct delivery *d)
{
    if (d->batches)
        batches_part(d->batches, d->sent);
}

/* Whole transactions first: what is behind them may have to be taken back. */
enum outcome delivery_close_block(struct delivery *d)
{
    struct container *c = d->output.container;

    if (!c || !container_has_marked(c))
        return OUTCOME_OK;
    if (!output_close_marked(&d->output))
        return OUTCOME_FAILED;
    note_boundary(d);
    return OUTCOME_OK;
}

enum outcome delivery_added_to_block(struct delivery *d, unsigned records)
{
    struct container *c = d->output.container;
    enum outcome outcome;

    for (unsigned i = 0; i < records; i++)
        container_added(c);
    if (!container_is_full(c))
        return OUTCOME_OK;
    outcome = delivery_close_block(d);
    if (outcome == OUTCOME_OK && container_is_full(c) && !output_close_all(&d->output))
        outcome = OUTCOME_FAILED;
    return outcome;
}

/* All that has been marked: files take what they are given. */
static enum outcome accept_files(struct delivery *d)
{
    struct ledger_entry entry;
    enum outcome outcome = OUTCOME_OK;

    if (!ledger_take(&d->ledger, d->boundary, LEDGER_ANY_LSN, &entry))
        return OUTCOME_OK;
    outcome = files_accept(d->files);
    d->output.offset = files_written(d->files);
    if (outcome == OUTCOME_OK)
        outcome = record(d, &entry);
    return outcome == OUTCOME_OK ? files_complete(d->files) : outcome;
}

/* Positions behind which nothing was sent need no reply. */
static bool take_replied(struct delivery *d, struct ledger_entry *entry)
{
    bool quiet = ledger_take(&d->ledger, d->accepted_end, LEDGER_ANY_LSN, entry);
    bool highest = ledger_take(&d->ledger, d->replies.highest.taken, d->replies.highest.lsn, entry);
    bool last = ledger_take(&d->ledger, d->replies.last.taken, d->replies.last.lsn, entry);

    return quiet || highest || last;
}

static bool take_accepted(struct delivery *d, struct ledger_entry *entry)
{
    if (d->mode == ACK_REPLY)
        return take_replied(d, entry);
    return ledger_take(&d->ledger,
                       d->batches ? batches_accepted(d->batches)
                       : d->looks ? d->output.offset
                                  : output_taken(&d->output),
                       LEDGER_ANY_LSN, entry);
}

enum outcome delivery_accept(struct delivery *d)
{
    struct ledger_entry entry;
    enum outcome outcome = OUTCOME_OK;

    if (d->files)
        return accept_files(d);
    if (!take_accepted(d, &entry))
        return OUTCOME_OK;
    if (d->output.kind == OUTPUT_FILE && !d->batches)
        outcome = output_sync(&d->output);
    return outcome == OUTCOME_OK ? record(d, &entry) : outcome;
}

/* ---- those who take the output ---- */

/* What was replied before a line that is no reply is good. */
static enum outcome take_replies(struct delivery *d)
{
    lsn_t sent = d->sent > d->emitted.lsn ? d->sent : d->emitted.lsn;
    enum outcome outcome = replies_read(&d->replies, &d->output, sent);

    if (outcome != OUTCOME_OK && delivery_accept(d) != OUTCOME_OK)
        log_detail("What was acknowledged before it could not be put on record.");
    return outcome;
}

enum outcome delivery_accept_last(struct delivery *d)
{
    if (d->mode == ACK_REPLY)
        take_replies(d);
    return delivery_accept(d);
}

enum outcome delivery_check_replies(struct delivery *d, bool patience_over)
{
    enum outcome outcome;

    if (d->mode != ACK_REPLY || !(d->replies.ended || patience_over))
        return OUTCOME_OK;
    outcome = delivery_accept(d);
    if (outcome != OUTCOME_OK || d->stopping || (d->ending && delivery_is_whole(d)))
        return outcome;
    log_error(d->replies.ended ? "the reader has closed %s and acknowledges nothing more"
                               : "no acknowledgment comes from %s",
              d->replies.name);
    log_detail("Acknowledged up to " LSN_FMT ", given up to " LSN_FMT ".",
               LSN_ARGS(d->recorded.lsn), LSN_ARGS(d->emitted.lsn));
    return OUTCOME_OUTPUT_FAILED;
}

enum outcome delivery_tend(struct delivery *d)
{
    enum outcome outcome;

    if (d->batches) {
        outcome = batches_tend(d->batches);
        d->output.offset = batches_written(d->batches);
        if (outcome != OUTCOME_OK && delivery_accept(d) != OUTCOME_OK)
            log_detail("The batches before it could not be put on record.");
        return outcome;
    }
    if (d->mode != ACK_REPLY)
        return OUTCOME_OK;
    outcome = take_replies(d);
    if (d->ending && output_pending(&d->output) == 0)
        output_hang_up(&d->output); /* for a reader that replies when it has come to the end */
    if (outcome != OUTCOME_OK || d->ending)
        return outcome;
    if (d->replies.ended && output_reader_has_gone(&d->output))
        return OUTCOME_OUTPUT_CLOSED;
    return delivery_check_replies(d, false);
}

nfds_t delivery_watch(const struct delivery *d, struct pollfd *fds)
{
    if (d->mode != ACK_REPLY || d->replies.ended)
        return 0;
    *fds = (struct pollfd){.fd = d->replies.fd, .events = POLLIN};
    return 1;
}

/* ---- the outputs of many ---- */

struct output *delivery_find(struct delivery *d, const struct relation *r)
{
    return d->files ? files_find(d->files, r) : batches_find(d->batches, r);
}

enum outcome delivery_begin_output(struct delivery *d, const struct relation *r, const char *server,
                                   lsn_t lsn, struct output **out)
{
    return d->files ? files_open(d->files, r, server, lsn, out)
                    : batches_open(d->batches, r, server, out);
}

enum outcome delivery_end_output(struct delivery *d, struct output *out)
{
    if (d->files)
        return files_end(d->files, out);
    batches_end(d->batches, out);
    return OUTCOME_OK;
}

unsigned delivery_generation(const struct delivery *d)
{
    return d->files     ? files_generation(d->files)
           : d->batches ? batches_generation(d->batches)
                        : 0;
}

void delivery_note(struct delivery *d, struct output *out, const struct relation *r,
                   const char *server, lsn_t lsn)
{
    if (d->batches)
        batches_note(d->batches, out, r, server, lsn);
}

enum outcome delivery_other_output(struct delivery *d, const char *server, lsn_t lsn,
                                   struct output **out)
{
    enum outcome outcome = OUTCOME_OK;

    *out = &d->output;
    if (!d->batches)
        return OUTCOME_OK;
    *out = batches_find(d->batches, NULL);
    if (!*out)
        outcome = batches_open(d->batches, NULL, server, out);
    if (outcome == OUTCOME_OK)
        batches_note(d->batches, *out, NULL, server, lsn);
    return outcome;
}

enum outcome delivery_settle(struct delivery *d)
{
    enum outcome outcome = delivery_close_block(d);

    if (outcome == OUTCOME_OK)
        outcome = delivery_flush(d);
    return outcome == OUTCOME_OK ? delivery_accept(d) : outcome;
}

/* The state file first: whatever the next run finds behind it then is not accepted. */
enum outcome delivery_empty_output(struct delivery *d)
{
    struct ledger_entry entry = {.end = 0, .position = d->accepted};
    enum outcome outcome;

    accept(d, &entry);
    outcome = save(d);
    if (outcome != OUTCOME_OK)
        return outcome;
    d->ledger = (struct ledger){0};
    d->boundary = 0;
    ledger_add(&d->ledger, 0, 0, &d->emitted);
    return output_cut(&d->output, 0);
}

/* ---- ending, rotating ---- */

/* The end of the line that has begun to leave: half a record would spoil the reader's last line. */
static uint64_t end_of_line(const struct output *out)
{
    const char *from = out->pending.data + out->sent;
    const char *newline = memchr(from, '\n', output_pending(out));
    bool at_start = out->sent == 0 || out->pending.data[out->sent - 1] == '\n';

    if (at_start || !newline)
        return out->offset;
    return out->offset + (uint64_t)(newline - from) + 1;
}

enum outcome delivery_cut_unfinished(struct delivery *d)
{
    struct output *out = &d->output;
    enum outcome outcome = OUTCOME_OK;

    if (d->files)
        return files_cut(d->files);
    if (d->batches)
        return batches_cut(d->batches);
    if (out->container) {
        container_forget(out->container);
        outcome = delivery_close_block(d);
    }
    if (outcome != OUTCOME_OK || d->boundary == output_end(out))
        return outcome;
    if (out->kind == OUTPUT_FILE)
        return output_cut(out, d->boundary);
    if (d->boundary >= out->offset)
        output_forget(out, d->boundary);
    else if (!out->container) /* blocks that have begun to leave go whole */
        output_forget(out, end_of_line(out));
    return OUTCOME_OK;
}

/* The state file first says that they are complete, then that there are none. */
static enum outcome complete_files(struct delivery *d, const struct ledger_entry *entry)
{
    enum outcome outcome = files_end_all(d->files);

    for (int i = 0; i < 2 && outcome == OUTCOME_OK; i++) {
        outcome = files_accept(d->files);
        if (outcome == OUTCOME_OK)
            outcome = record(d, entry);
        if (outcome == OUTCOME_OK)
            outcome = files_complete(d->files);
    }
    return outcome;
}

void delivery_end(struct delivery *d, bool stopping)
{
    d->ending = true;
    d->stopping |= stopping;
    if (d->batches && stopping)
        batches_stop(d->batches);
    else if (d->batches)
        batches_flush(d->batches);
}

enum outcome delivery_leave_pending(struct delivery *d)
{
    bool nothing = d->accepted.lsn == d->recorded.lsn && d->accepted.rows == d->recorded.rows &&
                   !d->state.complete && d->state.nexpected == 0;

    if (d->mode != ACK_DEFERRED || !d->base || nothing)
        return OUTCOME_OK;
    if (dead_letters_sync(&d->dead) != OUTCOME_OK)
        return OUTCOME_OUTPUT_FAILED;
    d->left_pending = true;
    return state_save_pending(&d->state, d->base, d->state_path);
}

enum outcome delivery_complete(struct delivery *d)
{
    struct ledger_entry entry = {.end = d->boundary, .position = d->accepted};

    if (d->files && delivery_is_whole(d)) {
        d->state.coverage.certain = coverage_is_certain(&d->state.coverage);
        return complete_files(d, &entry);
    }
    if (!delivery_is_whole(d) ||
        (!delivery_is_exact(d) && !d->state.complete && !d->state.has_coverage))
        return OUTCOME_OK;
    d->complete = true;
    /* the run may have been stopped in a chunk of which rows had left */
    d->state.coverage.certain =
        coverage_is_certain(&d->state.coverage) &&
        (d->batches ? !batches_have_parted(d->batches) : d->boundary == output_end(&d->output));
    return record(d, &entry);
}

enum outcome delivery_rotate(struct delivery *d)
{
    const struct position now = d->emitted;

    delivery_mark(d, &now);
    return delivery_settle(d);
}

/* At the end of a transaction, so that all of them are complete at once. */
static enum outcome end_files(struct delivery *d)
{
    enum outcome outcome = files_end_all(d->files);

    return outcome == OUTCOME_OK ? delivery_rotate(d) : outcome;
}

enum outcome delivery_reopen(struct delivery *d)
{
    struct ledger_entry entry;
    enum outcome outcome = OUTCOME_OK;

    if (d->files)
        return end_files(d);
    if (!d->output.opened || d->output.kind != OUTPUT_FILE)
        return OUTCOME_OK;
    outcome = delivery_settle(d);
    if (outcome == OUTCOME_OK)
        outcome = output_reopen(&d->output);
    if (outcome != OUTCOME_OK)
        return outcome;
    log_verbose("opened \"%s\" anew", d->output.given);
    d->boundary = output_end(&d->output);
    entry = (struct ledger_entry){.end = d->boundary, .position = d->accepted};
    return record(d, &entry);
}

enum outcome delivery_expect(struct delivery *d, const struct relation *r)
{
    struct ledger_entry entry = {.end = d->accepted_end, .position = d->accepted};

    state_expect(&d->state, r);
    return record(d, &entry);
}

void delivery_forget_state(struct delivery *d)
{
    if (!d->state_path)
        return;
    if (unlink(d->state_path) != 0 && errno != ENOENT)
        log_warning("could not remove state file \"%s\": %m", d->state_path);
    else
        log_notice("removed state file \"%s\", as its slot has been dropped", d->state_path);
}

void delivery_close(struct delivery *d)
{
    files_free(d->files);
    batches_free(d->batches);
    replies_close(&d->replies);
    dead_letters_close(&d->dead);
    free(d->base);
    output_close(&d->output);
    state_release(&d->state);
    state_unlock(&d->lock);
}
