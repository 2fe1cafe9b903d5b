/*
 * sieve - lets the server compare the keys that only it can compare, many at a time.
 *
 * While a table whose key has an order of the server's own is read in chunks, messages of the
 * stream do not go to the pipeline at once.  The sieve looks through them, notes what has to be
 * compared, and keeps them until what has arrived is used up or much has gathered; then one
 * question goes to the server and the messages go on, in their order, with the answers at hand.
 */
#ifndef SNAPSHOT_SIEVE_H
#define SNAPSHOT_SIEVE_H

#include <libpq-fe.h>

#include "cdcdump.h"
#include "decode/decoder.h"
#include "snapshot/judge.h"
#include "source/stream.h"

struct sieve;

/*
 * Borrows the coverage and takes over the decoder, which is for looking ahead.  Has to see a stream
 * from the beginning of its connection.
 */
struct sieve *sieve_new(struct coverage *c, struct decoder *decoder);
void sieve_free(struct sieve *s);

/* Looks at a message and keeps a copy of it. */
enum outcome sieve_add(struct sieve *s, const struct stream_message *m);

/* Whether nothing is kept. */
bool sieve_is_empty(const struct sieve *s);

/* Whether so much is kept that it is time to ask. */
bool sieve_is_full(const struct sieve *s);

/* Asks the server what is to be asked. */
enum outcome sieve_resolve(struct sieve *s, PGconn *sql);

/* After that, the oldest message that is kept; false when there is none.  Borrowed until the next. */
bool sieve_take(struct sieve *s, struct stream_message *m);

/* Gives the answers, for the messages that sieve_take() has given. */
struct comparer *sieve_comparer(struct sieve *s);

#endif
