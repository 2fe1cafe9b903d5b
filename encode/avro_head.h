/*
 * avro_head - the beginning of an Avro object container file, read back.
 *
 * Source: Avro specification 1.11, "Object Container Files".  Any writer's file is understood: the
 * metadata are a map, in blocks, in any order.
 */
#ifndef ENCODE_AVRO_HEAD_H
#define ENCODE_AVRO_HEAD_H

#include "base/reader.h"
#include "encode/container.h"

/* Borrows from the bytes that were read. */
struct avro_head {
    const char *schema;
    size_t schema_len;
    const char *codec; /* len 0 = not said: null */
    size_t codec_len;
    const char *sync; /* CONTAINER_SYNC bytes */
};

/* False when the bytes do not begin with a whole head. */
bool avro_head_read(struct avro_head *h, const char *bytes, size_t len);

/* What every block begins with: count of records, count of bytes.  False when it is neither. */
bool avro_block_read(struct reader *r, int64_t *count, int64_t *size);

bool avro_head_has_codec(const struct avro_head *h, enum codec codec);

#endif
