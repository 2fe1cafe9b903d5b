#include "capture/placing.h"

#include "base/log.h"
#include "encode/avro_head.h"

void placing_init(struct placing *pl, const struct options *o, struct encoder *encoder,
                  struct delivery *delivery)
{
    *pl = (struct placing){
        .o = o,
        .encoder = encoder,
        .delivery = delivery,
        .framed = encoder_has_head(encoder),
    };
}

void placing_look_again(struct placing *pl)
{
    pl->opened = false;
    pl->relation = NULL;
}

void placing_expect(struct placing *pl, const struct relations *captured)
{
    for (uint32_t i = 0; pl->framed && i < captured->count; i++)
        if (captured->by_index[i]->captured && !encoder_fits(pl->encoder, captured->by_index[i]))
            encoder_expect(pl->encoder, captured->by_index[i]);
}

/* ---- an output that goes on ---- */

static enum outcome refuse(const struct output *out, const char *what)
{
    log_error("output file \"%s\" cannot be continued: %s", out->path ? out->path : "", what);
    log_hint("Write to another file, or to a new one.");
    return OUTCOME_MISUSED;
}

static enum outcome adopt_container(struct placing *pl, const struct output *out,
                                    const struct buf *start)
{
    struct avro_head head;

    if (!avro_head_read(&head, start->data, start->len))
        return refuse(out, "it does not begin as an Avro object container file");
    if (!avro_head_has_codec(&head, pl->o->codec))
        return refuse(out, "its blocks have another codec");
    container_set_sync(out->container, head.sync);
    return encoder_adopt(pl->encoder, head.schema, head.schema_len)
               ? OUTCOME_OK
               : refuse(out, "its records are of another kind");
}

static enum outcome adopt(struct placing *pl, const struct output *out)
{
    enum { START_MAX = 16 * 1024 * 1024 };
    struct buf start;
    enum outcome outcome = OUTCOME_OK;

    buf_init(&start, 4096);
    if (!output_read_start(out, &start, START_MAX))
        outcome = refuse(out, "it cannot be read");
    else if (out->container)
        outcome = adopt_container(pl, out, &start);
    else if (!encoder_adopt(pl->encoder, start.data, start.len))
        outcome = refuse(out, "it does not begin with the header of this format");
    buf_release(&start);
    return outcome;
}

/* ---- records ---- */

static enum outcome columns_changed(const struct placing *pl, const struct relation *r)
{
    const struct output *out = &pl->delivery->output;
    bool file = out->kind == OUTPUT_FILE;

    log_error("the output cannot carry the columns of table \"%s.%s\", which are not those that it "
              "has begun with",
              r->schema, r->name);
    log_hint(file ? "Move the file away, put an empty one in its place and run again: what is missing "
                    "follows."
                  : "Run again, with an output of its own for what follows.");
    return OUTCOME_COLUMNS_CHANGED;
}

static enum outcome find_framed(struct placing *pl, const struct relation *r)
{
    struct output *out = &pl->delivery->output;
    enum outcome outcome = OUTCOME_OK;

    if (!pl->opened && out->begun)
        outcome = adopt(pl, out);
    if (outcome != OUTCOME_OK)
        return outcome;
    pl->opened = true;
    if (!encoder_fits(pl->encoder, r)) {
        if (out->begun || !encoder_expect(pl->encoder, r))
            return columns_changed(pl, r);
    }
    if (!out->begun)
        output_set_head(out, encoder_head(pl->encoder));
    if (!out->container)
        output_begin(out);
    pl->relation = r;
    pl->version = r->version;
    return OUTCOME_OK;
}

enum outcome placing_find(struct placing *pl, const struct relation *r, struct buf **b)
{
    bool known = !pl->framed || (pl->relation == r && pl->version == r->version);
    enum outcome outcome = known ? OUTCOME_OK : find_framed(pl, r);

    *b = output_buffer(&pl->delivery->output);
    return outcome;
}

enum outcome placing_finish(struct placing *pl)
{
    struct output *out = &pl->delivery->output;
    const struct buf *head = encoder_head(pl->encoder);

    if (!pl->framed || out->begun || head->len == 0)
        return OUTCOME_OK;
    output_set_head(out, head);
    output_begin(out);
    delivery_mark(pl->delivery, &pl->delivery->emitted);
    return OUTCOME_OK;
}
