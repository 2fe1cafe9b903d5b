/*
 * Avro: the schemas that an output begins with, and which of them a record has.  The records are
 * avro_record.c's, blocks and head of the file the container's.
 *
 * A head knows a list of schemas, the branches: one for each table and set of columns.  With one of
 * them the file's schema is that; with several it is their union, and every record is preceded by
 * the number of its own.  Which of the two is settled by the first record; into a union further
 * branches may come as long as the output has not begun.
 */
#include <stdlib.h>

#include "base/log.h"
#include "encode/avro_name.h"
#include "encode/avro_record.h"
#include "encode/avro_schema.h"
#include "encode/avro_value.h"

struct branch {
    cJSON *schema;
    char *text; /* of it, for comparison */
};

struct avro_branches {
    struct branch *list;
    unsigned n;
    bool together; /* a union */
    bool settled;  /* whether it is one can change no more */
};

/* ---- branches ---- */

static char *text_of(const cJSON *schema)
{
    char *text = cJSON_PrintUnformatted(schema);

    if (!text)
        log_out_of_memory();
    return text;
}

static void add_to_branches(struct avro_branches *bs, cJSON *schema)
{
    bs->list = realloc(bs->list, (bs->n + 1) * sizeof *bs->list);
    if (!bs->list)
        log_out_of_memory();
    bs->list[bs->n++] = (struct branch){.schema = schema, .text = text_of(schema)};
}

static void clear_branches(struct avro_branches *bs)
{
    for (unsigned i = 0; i < bs->n; i++) {
        cJSON_Delete(bs->list[i].schema);
        cJSON_free(bs->list[i].text);
    }
    free(bs->list);
    *bs = (struct avro_branches){0};
}

static int find_branch(const struct avro_branches *bs, const cJSON *schema)
{
    char *text = text_of(schema);
    int found = -1;

    for (unsigned i = 0; i < bs->n && found < 0; i++)
        if (strcmp(bs->list[i].text, text) == 0)
            found = (int)i;
    cJSON_free(text);
    return found;
}

/* Whether a set of columns of that table has that number already. */
static bool is_taken(const struct avro_branches *bs, const cJSON *schema)
{
    const char *namespace =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "namespace"));

    for (unsigned i = 0; i < bs->n; i++) {
        const char *other = cJSON_GetStringValue(
            cJSON_GetObjectItemCaseSensitive(bs->list[i].schema, "namespace"));

        if (namespace && other && strcmp(namespace, other) == 0)
            return true;
    }
    return false;
}

/* The branch of a table as the layout has it; -1, with *fresh a schema for a new one. */
static int branch_of(const struct encoder *e, const struct layout *l, cJSON **fresh)
{
    const struct avro_branches *bs = e->branches;

    for (unsigned number = 1;; number++) {
        cJSON *schema = avro_envelope(e->o, e->server, l, number);
        int found = find_branch(bs, schema);

        if (found < 0 && !is_taken(bs, schema)) {
            *fresh = schema;
            return -1;
        }
        cJSON_Delete(schema);
        if (found >= 0)
            return found;
    }
}

static void make_head(struct encoder *e)
{
    const struct avro_branches *bs = e->branches;
    const cJSON **schemas = xcalloc(bs->n, sizeof *schemas);
    cJSON *schema;
    char *text;

    for (unsigned i = 0; i < bs->n; i++)
        schemas[i] = bs->list[i].schema;
    schema = avro_join(schemas, bs->n, bs->together);
    text = text_of(schema);
    e->head.len = 0;
    buf_add_str(&e->head, text);
    cJSON_free(text);
    cJSON_Delete(schema);
    free(schemas);
}

/* ---- what the encoder asks for ---- */

static void set_clock(struct encoder *e)
{
    struct buf *b = &e->x.clock;

    b->len = 0;
    avro_add_long(b, e->x.now / 1000);
    avro_add_long(b, e->x.now);
    avro_add_long(b, e->x.now * 1000);
}

static void describe(struct encoder *e, struct layout *l)
{
    const struct relation *r = l->relation;
    struct buf *b = &l->table;
    cJSON *fresh;
    int branch = branch_of(e, l, &fresh);

    if (branch < 0)
        cJSON_Delete(fresh);
    l->branch = branch;
    if (e->o->envelope == ENVELOPE_FLINK) {
        avro_add_catalog_name(b, r->name);
        avro_add_catalog_name(b, r->schema);
        avro_add_catalog_name(b, e->database);
    } else {
        avro_add_catalog_name(b, r->schema);
        avro_add_catalog_name(b, r->name);
    }
}

static bool fits(struct encoder *e, const struct relation *r)
{
    struct layout l = {0};
    cJSON *fresh;
    bool found;

    layout_init(&l, r, &e->x.layouts);
    found = branch_of(e, &l, &fresh) >= 0;
    if (!found)
        cJSON_Delete(fresh);
    layout_release(&l);
    return found;
}

static bool expect(struct encoder *e, const struct relation *r)
{
    struct avro_branches *bs = e->branches;
    struct layout l = {0};
    cJSON *fresh;

    if (e->o->per_table)
        clear_branches(bs); /* a head has one table */
    if (bs->settled && !bs->together)
        return false;
    layout_init(&l, r, &e->x.layouts);
    if (branch_of(e, &l, &fresh) < 0)
        add_to_branches(bs, fresh);
    layout_release(&l);
    bs->together = bs->n > 1;
    make_head(e);
    layouts_forget(&e->x.layouts);
    layouts_forget(&e->x.row_layouts);
    return true;
}

static void begin_anew(struct encoder *e)
{
    e->branches->settled = false;
}

/* Whether a schema is one of this envelope, which its first field tells, and of this server. */
static bool is_ours(const struct encoder *e, const cJSON *schema)
{
    const char *first = e->o->envelope == ENVELOPE_FLINK   ? "row_kind"
                        : e->o->envelope == ENVELOPE_PLAIN ? "op"
                                                           : "before";
    const cJSON *fields = cJSON_GetObjectItemCaseSensitive(schema, "fields");
    const char *field = cJSON_GetStringValue(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(fields, 0), "name"));
    const char *namespace =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "namespace"));
    struct buf server;
    bool ours;

    buf_init(&server, 64);
    avro_add_name(&server, e->server);
    buf_add_char(&server, '.');
    ours = field && namespace && strcmp(field, first) == 0 &&
           strncmp(namespace, server.data, server.len) == 0;
    buf_release(&server);
    return ours;
}

static bool adopt(struct encoder *e, const char *bytes, size_t len)
{
    bool together;
    cJSON *all = avro_part(bytes, len, &together), *schema;

    if (!all || !is_ours(e, all->child)) {
        cJSON_Delete(all);
        return false;
    }
    clear_branches(e->branches);
    while ((schema = cJSON_DetachItemFromArray(all, 0)) != NULL)
        add_to_branches(e->branches, schema);
    cJSON_Delete(all);
    e->branches->together = together;
    e->branches->settled = true;
    make_head(e);
    layouts_forget(&e->x.layouts);
    layouts_forget(&e->x.row_layouts);
    return true;
}

static const struct avro_record *record_of(const struct encoder *e)
{
    return e->o->envelope == ENVELOPE_FLINK   ? &avro_flink
           : e->o->envelope == ENVELOPE_PLAIN ? &avro_plain
                                              : &avro_debezium;
}

static void begin(struct encoder *e, const struct transaction *t)
{
    record_of(e)->begin(e, t);
}

/* The number of the branch in front of a record, where there are several. */
static void add_start(struct encoder *e, const struct layout *l, struct buf *b)
{
    e->branches->settled = true;
    if (e->branches->together)
        avro_add_long(b, l->branch);
}

static bool change(struct encoder *e, const struct transaction *t, const struct change *c,
                   enum row_kind kind, const struct layout *l, struct buf *b)
{
    add_start(e, l, b);
    return record_of(e)->change(e, t, c, kind, l, b);
}

static void describe_rows(struct encoder *e, struct layout *l, enum row_mark mark)
{
    record_of(e)->describe_rows(e, l, mark);
}

static bool row(struct encoder *e, const struct value *values, const struct layout *l,
                struct buf *b)
{
    add_start(e, l, b);
    return record_of(e)->row(e, values, l, b);
}

static void open_avro(struct encoder *e)
{
    e->branches = xcalloc(1, sizeof *e->branches);
}

static void close_avro(struct encoder *e)
{
    clear_branches(e->branches);
    free(e->branches);
}

const struct format format_avro = {
    .init_rule = avro_rule_init,
    .open = open_avro,
    .close = close_avro,
    .set_clock = set_clock,
    .describe = describe,
    .describe_rows = describe_rows,
    .begin = begin,
    .change = change,
    .row = row,
    .fits = fits,
    .expect = expect,
    .begin_anew = begin_anew,
    .adopt = adopt,
};
