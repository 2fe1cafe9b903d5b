#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/charset.h"

struct decoder *decoder_new(const struct decoder_setup *setup)
{
    struct decoder *d = xcalloc(1, setup->kind->size);

    d->kind = setup->kind;
    d->describer = setup->describer;
    d->last_commit = setup->last_commit;
    relations_init(&d->relations);
    d->old_row = xcalloc(RELATION_MAX_COLUMNS, sizeof *d->old_row);
    d->new_row = xcalloc(RELATION_MAX_COLUMNS, sizeof *d->new_row);
    if (d->kind->init)
        d->kind->init(d);
    if (d->kind->unconverted && setup->encoding &&
        charset_new(setup->encoding, &d->charset) != OUTCOME_OK) {
        decoder_free(d);
        return NULL;
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    if (d->kind->release)
        d->kind->release(d);
    charset_free(d->charset);
    relations_release(&d->relations);
    free(d->old_row);
    free(d->new_row);
    free(d->truncated);
    free(d);
}

void decoder_restart(struct decoder *d)
{
    d->in_transaction = false;
    if (d->kind->restart)
        d->kind->restart(d);
}

void decoder_leave(struct decoder *d)
{
    d->in_transaction = false;
}

enum outcome decoder_take(struct decoder *d, lsn_t lsn, char *payload, size_t len, struct event *e)
{
    e->kind = EVENT_NONE;
    e->lsn = lsn;
    e->transaction = NULL;
    d->in_change = false;
    return d->kind->take(d, lsn, payload, len, e);
}

enum outcome decoder_next(struct decoder *d, struct event *e)
{
    e->kind = EVENT_NONE;
    return d->kind->next ? d->kind->next(d, e) : OUTCOME_OK;
}

void decoder_keepalive(struct decoder *d, lsn_t wal_end, struct event *e)
{
    e->kind = EVENT_NONE;
    if (d->kind->keepalive)
        d->kind->keepalive(d, wal_end, e);
}

/* ---- for the formats ---- */

void decoder_begin(struct decoder *d, struct event *e)
{
    d->in_transaction = true;
    d->transaction.previous_commit = d->last_commit;
    e->kind = EVENT_BEGIN;
    e->transaction = &d->transaction;
}

/* Its LSN becomes "the last commit" when it has committed something. */
void decoder_end(struct decoder *d, struct event *e, enum event_kind kind)
{
    d->in_transaction = false;
    if ((d->transaction.changed && !d->transaction.prepared) || kind == EVENT_COMMIT_PREPARED)
        d->last_commit = d->transaction.commit_lsn;
    e->kind = kind;
    e->transaction = &d->transaction;
}

bool decoder_keep_gid(struct decoder *d, const char *gid, size_t len)
{
    bool fits = len < sizeof d->gid;

    if (!fits)
        len = sizeof d->gid - 1;
    memcpy(d->gid, gid, len);
    d->gid[len] = '\0';
    d->transaction.gid = d->gid;
    return fits;
}

void decoder_reserve_truncated(struct decoder *d, uint32_t n)
{
    if (n <= d->truncated_cap)
        return;
    free(d->truncated);
    d->truncated = xcalloc(n, sizeof(struct relation *));
    d->truncated_cap = n;
}

/*
 * Never a null: it stands in the old row of a partition whose identity is not FULL while that of
 * the table above, as which it is sent, is.
 */
void decoder_fill_unchanged(const struct relation *relation, const struct value *old,
                            struct value *new)
{
    for (int i = 0; i < relation->ncolumns; i++)
        if (new[i].kind == VALUE_UNCHANGED &&
            (old[i].kind == VALUE_TEXT || old[i].kind == VALUE_BINARY))
            new[i] = old[i];
}
