#include "encode/layout.h"

#include <stdlib.h>

#include "base/log.h"
#include "binary/binary.h"

void layouts_init(struct layouts *ls,
                  void (*init_rule)(struct rule *r, const struct type *type, int32_t typmod,
                                    const struct handling *h),
                  const struct handling *h)
{
    *ls = (struct layouts){.init_rule = init_rule, .handling = h};
}

static void clear(struct layout *l)
{
    for (uint16_t i = 0; i < l->ncolumns; i++)
        rule_release(&l->columns[i].rule);
    free(l->columns);
    l->columns = NULL;
    l->ncolumns = 0;
    l->prefixes.len = 0;
    l->table.len = 0;
    l->rows_of = 0;
    l->key_end = 0;
    l->has_key = false;
}

void layouts_release(struct layouts *ls)
{
    for (uint32_t i = 0; i < ls->count; i++)
        layout_release(&ls->by_index[i]);
    free(ls->by_index);
    layouts_init(ls, ls->init_rule, ls->handling);
}

void layouts_forget(struct layouts *ls)
{
    for (uint32_t i = 0; i < ls->count; i++)
        ls->by_index[i].version = 0;
}

void layout_release(struct layout *l)
{
    clear(l);
    buf_release(&l->prefixes);
    buf_release(&l->table);
    buf_release(&l->rows);
}

static void make_room(struct layouts *ls, uint32_t index)
{
    uint32_t count = ls->count ? ls->count : 16;

    while (count <= index)
        count *= 2;
    if (count == ls->count)
        return;
    ls->by_index = realloc(ls->by_index, count * sizeof(*ls->by_index));
    if (!ls->by_index)
        log_out_of_memory();
    for (uint32_t i = ls->count; i < count; i++)
        ls->by_index[i] = (struct layout){0};
    ls->count = count;
}

static void add_column(struct layout *l, const struct column *column, uint16_t index,
                       const struct layouts *ls)
{
    struct layout_column *c = &l->columns[l->ncolumns++];
    size_t start = l->prefixes.len;

    buf_add_char(&l->prefixes, ',');
    json_add_name(&l->prefixes, column->name);
    buf_add_char(&l->prefixes, ':');
    *c = (struct layout_column){
        .prefix = (uint32_t)start,
        .prefix_len = (uint32_t)(l->prefixes.len - start),
        .index = index,
        .key = column->key,
    };
    ls->init_rule(&c->rule, column->type, column->typmod, ls->handling);
    l->has_key |= column->key;
    if (column->key)
        l->key_end = l->ncolumns;
}

void layout_init(struct layout *l, const struct relation *r, const struct layouts *ls)
{
    if (!l->prefixes.data) {
        buf_init(&l->prefixes, 64u * (r->ncolumns + 1u));
        buf_init(&l->table, 256);
        buf_init(&l->rows, 512);
    }
    clear(l);
    l->columns = xcalloc(r->ncolumns, sizeof(*l->columns));
    for (uint16_t i = 0; i < r->ncolumns; i++)
        if (!r->columns[i].excluded)
            add_column(l, &r->columns[i], i, ls);
    buf_pad(&l->prefixes);
    l->relation = r;
    l->version = r->version;
}

struct layout *layouts_get(struct layouts *ls, const struct relation *r, bool *fresh)
{
    struct layout *l;

    if (r->index >= ls->count)
        make_room(ls, r->index);
    l = &ls->by_index[r->index];
    *fresh = l->version != r->version;
    if (*fresh)
        layout_init(l, r, ls);
    return l;
}

/* ---- rows ---- */

bool layout_cannot_write(const struct layout *l, const struct layout_column *c, lsn_t lsn,
                         const char *why)
{
    const struct relation *r = l->relation;

    log_error("could not write column \"%s\" of table \"%s.%s\" at " LSN_FMT ": %s",
              r->columns[c->index].name, r->schema, r->name, LSN_ARGS(lsn), why);
    return false;
}

bool layout_not_utf8(const struct layout *l, const struct layout_column *c, lsn_t lsn)
{
    layout_cannot_write(l, c, lsn, "the value is not valid UTF-8");
    log_hint("The database does not check encodings (SQL_ASCII): mend the row, or leave the "
             "column out with --exclude-column.");
    return false;
}

bool layout_text(const struct layout *l, const struct layout_column *c, const struct value *v,
                 struct buf *scratch, lsn_t lsn, struct slice *text)
{
    const struct type *type = c->rule.type;

    *text = (struct slice){v->data, v->len};
    if (v->kind == VALUE_TEXT || (type && type->binary == BINARY_TEXT))
        return true;
    scratch->len = 0;
    if (!binary_knows(type))
        return layout_cannot_write(
            l, c, lsn, "the binary form of its type is not known; leave -o binary out");
    if (!binary_to_text(scratch, v->data, v->len, type))
        return layout_cannot_write(l, c, lsn, "the value does not have its type's binary form");
    *text = (struct slice){scratch->data, (uint32_t)scratch->len};
    return true;
}

/* A value that is no text. */
static bool add_other(const struct layout *l, const struct layout_column *c, const struct value *v,
                      struct buf *b, struct buf *scratch, lsn_t lsn)
{
    struct slice text;

    switch (v->kind) {
    case VALUE_TEXT:
    case VALUE_BINARY:
        return layout_text(l, c, v, scratch, lsn, &text) &&
               (c->rule.write(b, text.data, text.len, &c->rule) || layout_not_utf8(l, c, lsn));
    case VALUE_UNCHANGED:
    case VALUE_LOST:
        value_add_placeholder(b, &c->rule);
        return true;
    case VALUE_NULL:
    case VALUE_ABSENT:
        break;
    }
    buf_add(b, "null", 4);
    return true;
}

bool layout_add_row(const struct layout *l, const struct value *row, enum row_part part,
                    struct buf *b, struct buf *scratch, lsn_t lsn)
{
    const struct layout_column *end = l->columns + (part == ROW_KEY ? l->key_end : l->ncolumns);
    const char *prefixes = l->prefixes.data;
    size_t start = b->len;

    for (const struct layout_column *c = l->columns; c < end; c++) {
        const struct value *v = &row[c->index];
        char *p;

        if ((part == ROW_KEY && !c->key) || v->kind == VALUE_ABSENT)
            continue;
        /* room for the value, too, where that is a string and has no escapes */
        p = buf_reserve(b, c->prefix_len + v->len + BUF_BLOCK);
        p = put_blocks(p, prefixes + c->prefix, c->prefix_len);
        if (v->kind == VALUE_TEXT && c->rule.string) {
            p = json_put_string(b, p, v->data, v->len);
            if (!p)
                return layout_not_utf8(l, c, lsn);
            buf_written(b, p);
            continue;
        }
        buf_written(b, p);
        if (v->kind != VALUE_TEXT) {
            if (!add_other(l, c, v, b, scratch, lsn))
                return false;
        } else if (!c->rule.write(b, v->data, v->len, &c->rule)) {
            return layout_not_utf8(l, c, lsn);
        }
    }
    /* every column was written with a comma before it; the first one's makes room for the brace */
    if (b->len == start)
        buf_add_char(b, '{');
    else
        b->data[start] = '{';
    buf_add_char(b, '}');
    return true;
}
