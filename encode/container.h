/*
 * container - records -> the blocks of an Avro object container file.
 *
 * Source: Avro specification 1.11, "Object Container Files".  The file begins with a head (magic,
 * metadata avro.schema and avro.codec, sync marker), then come blocks: count of records, count of
 * bytes after the codec, the bytes, the sync marker.
 *
 * Records are appended to the open block.  A block is closed, which means compressed and appended
 * to the output, when it is large enough or when somebody waits for it.  What was marked last, the
 * end of the last whole transaction, is where a closed block ends if anything lies behind it: whole
 * transactions and the beginning of one that may be taken back never share a block.
 */
#ifndef ENCODE_CONTAINER_H
#define ENCODE_CONTAINER_H

#include "base/buf.h"
#include "cdcdump.h"

enum codec { CODEC_NULL, CODEC_DEFLATE, CODEC_ZSTANDARD, CODEC_SNAPPY };

/* As the metadata of a file have it. */
const char *container_codec_name(enum codec codec);

enum { CONTAINER_SYNC = 16, CONTAINER_BLOCK = 128 * 1024 }; /* bytes, before the codec */

struct container;

/*
 * Owns its memory; the codec's, kept from block to block, is that of all containers there are.
 * NULL when the system has no random bytes for the sync marker, which has been logged.
 */
struct container *container_new(enum codec codec);
void container_free(struct container *c);

/*
 * Appends a head to b.  The sync marker, which is its end, is that of the container: random unless
 * container_set_sync() has chosen it, as a file that is continued has to keep its own.  All that
 * precedes it is the same for the same codec and schema, so a file is known by its first bytes.
 */
void container_add_head(const struct container *c, const char *schema, struct buf *b);
void container_set_sync(struct container *c, const char sync[CONTAINER_SYNC]);

/* The open block: append one record, then call container_added(). */
struct buf *container_block(struct container *c);
void container_added(struct container *c);

/* Everything added so far makes whole transactions. */
void container_mark(struct container *c);

/* Whether all that was added is in closed blocks. */
bool container_is_empty(const struct container *c);

/* Whether anything lies before the mark: whether there is a block for container_close_marked(). */
bool container_has_marked(const struct container *c);

/* Whether the open block has its size. */
static inline bool container_is_full(struct container *c)
{
    return container_block(c)->len >= CONTAINER_BLOCK;
}

/*
 * Closes a block of all that lies before the mark, appending it to out, or none when that is
 * nothing.  container_close_all() does so, and closes another one of what lies behind.  False when
 * the codec fails, which has been logged; the block that it was about is still open then.
 */
bool container_close_marked(struct container *c, struct buf *out);
bool container_close_all(struct container *c, struct buf *out);

/* Keeps no more than so much memory for blocks to come: where there are many containers. */
void container_shrink(struct container *c, size_t cap);

/* Takes back what was added since the mark and is in no closed block. */
void container_forget(struct container *c);

#endif
