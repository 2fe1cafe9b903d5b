/* What holds any number of other values: arrays, vectors, hstore, tsvector. */
#include "binary/binary.h"
#include "binary/form.h"

#define DIMENSIONS_MAX 6 /* PostgreSQL's MAXDIM */

#define LENGTH_NULL UINT32_MAX /* -1 in place of a length */

/* ---- arrays ---- */

struct dimension {
    uint32_t n;
    int32_t lower;
};

struct array {
    struct buf *b;
    struct reader *r;
    const struct type *type;
    uint32_t ndimensions;
    struct dimension dimensions[DIMENSIONS_MAX];
    uint64_t nelements;
    bool has_bounds; /* not all begin at 1 */
};

static bool read_dimension(struct array *a, struct dimension *d)
{
    d->n = read_u32(a->r);
    d->lower = (int32_t)read_u32(a->r);
    a->has_bounds |= d->lower != 1;
    /* an element takes four bytes at least, so that the product stays small enough to go on */
    a->nelements *= d->n;
    return a->nelements <= binary_left(a->r) / 4 &&
           (int64_t)d->lower + d->n - 1 <= INT32_MAX;
}

/*
 * PostgreSQL's array_send: Int32 count of dimensions, Int32 flags, Int32 OID of the element type,
 * which the catalog has told already; for each dimension Int32 size and lower bound.
 */
static bool read_dimensions(struct array *a)
{
    uint32_t flags, oid;

    a->ndimensions = read_u32(a->r);
    flags = read_u32(a->r);
    oid = read_u32(a->r);
    a->nelements = a->ndimensions > 0;
    if (a->ndimensions > DIMENSIONS_MAX || flags > 1 || oid == 0)
        return false;
    for (uint32_t i = 0; i < a->ndimensions; i++)
        if (!read_dimension(a, &a->dimensions[i]))
            return false;
    return true;
}

static void add_bounds(const struct array *a)
{
    for (uint32_t i = 0; i < a->ndimensions; i++) {
        int64_t lower = a->dimensions[i].lower;

        buf_add_char(a->b, '[');
        buf_add_i64(a->b, lower);
        buf_add_char(a->b, ':');
        buf_add_i64(a->b, lower + a->dimensions[i].n - 1);
        buf_add_char(a->b, ']');
    }
    buf_add_char(a->b, '=');
}

static bool is_null_word(const char *s, size_t len)
{
    if (len != 4)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((s[i] | 0x20) != "null"[i])
            return false;
    return true;
}

static bool is_escaped(char c)
{
    return c == '"' || c == '\\';
}

/* What array_out() takes for a reason to quote; white space is that of the C locale. */
static bool needs_quotes(const char *s, size_t len, char delimiter)
{
    if (len == 0 || is_null_word(s, len))
        return true;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (is_escaped(c) || c == '{' || c == '}' || c == delimiter || c == ' ' ||
            (c >= '\t' && c <= '\r'))
            return true;
    }
    return false;
}

/* Puts quotes around what was appended from start on, from its end backwards. */
static void quote(struct buf *b, size_t start)
{
    size_t more = 2;
    char *from, *to;

    for (size_t i = start; i < b->len; i++)
        more += is_escaped(b->data[i]);
    to = buf_reserve(b, more) + more;
    from = b->data + b->len;
    b->len += more;
    *--to = '"';
    while (from > b->data + start) {
        char c = *--from;

        *--to = c;
        if (is_escaped(c))
            *--to = '\\';
    }
    *--to = '"';
}

static bool add_element(struct array *a)
{
    struct buf *b = a->b;
    uint32_t len = read_u32(a->r);
    size_t start = b->len;
    const char *bytes;

    if (len == LENGTH_NULL) {
        buf_add(b, "NULL", 4);
        return true;
    }
    bytes = read_bytes(a->r, len);
    if (!bytes || !binary_to_text(b, bytes, len, a->type->element))
        return false;
    if (needs_quotes(b->data + start, b->len - start, a->type->delimiter))
        quote(b, start);
    return true;
}

static bool add_dimension(struct array *a, uint32_t d)
{
    buf_add_char(a->b, '{');
    for (uint32_t i = 0; i < a->dimensions[d].n; i++) {
        if (i > 0)
            buf_add_char(a->b, a->type->delimiter);
        if (d + 1 < a->ndimensions ? !add_dimension(a, d + 1) : !add_element(a))
            return false;
    }
    buf_add_char(a->b, '}');
    return true;
}

bool binary_add_array(struct buf *b, struct reader *r, const struct type *type)
{
    struct array a = {.b = b, .r = r, .type = type};

    if (!read_dimensions(&a))
        return false;
    if (a.nelements == 0) {
        buf_add(b, "{}", 2);
        return true;
    }
    if (a.has_bounds)
        add_bounds(&a);
    return add_dimension(&a, 0);
}

/* ---- int2vector and oidvector: sent as arrays, written as words ---- */

static bool read_vector(struct reader *r, struct array *a)
{
    *a = (struct array){.r = r};
    return read_dimensions(a) && a->ndimensions <= 1;
}

bool binary_add_int2vector(struct buf *b, struct reader *r)
{
    struct array a;

    if (!read_vector(r, &a))
        return false;
    for (uint64_t i = 0; i < a.nelements; i++) {
        if (i > 0)
            buf_add_char(b, ' ');
        if (read_u32(r) != 2)
            return false;
        buf_add_i64(b, (int16_t)read_u16(r));
    }
    return true;
}

bool binary_add_oidvector(struct buf *b, struct reader *r)
{
    struct array a;

    if (!read_vector(r, &a))
        return false;
    for (uint64_t i = 0; i < a.nelements; i++) {
        if (i > 0)
            buf_add_char(b, ' ');
        if (read_u32(r) != 4)
            return false;
        buf_add_u64(b, read_u32(r));
    }
    return true;
}

/* ---- hstore ---- */

/* A string with its length before it; always in quotes. */
static bool add_hstore_string(struct buf *b, struct reader *r, uint32_t len)
{
    const char *bytes = read_bytes(r, len);
    size_t start = b->len;

    if (!bytes)
        return false;
    buf_add(b, bytes, len);
    quote(b, start);
    return true;
}

static bool add_pair(struct buf *b, struct reader *r)
{
    uint32_t len;

    if (!add_hstore_string(b, r, read_u32(r)))
        return false;
    buf_add(b, "=>", 2);
    len = read_u32(r);
    if (len != LENGTH_NULL)
        return add_hstore_string(b, r, len);
    buf_add(b, "NULL", 4);
    return true;
}

/* hstore_send: Int32 count of pairs; for each Int32 length and bytes of key and of value. */
bool binary_add_hstore(struct buf *b, struct reader *r)
{
    uint32_t n = read_u32(r);

    for (uint32_t i = 0; i < n && !r->failed; i++) {
        if (i > 0)
            buf_add(b, ", ", 2);
        if (!add_pair(b, r))
            return false;
    }
    return true;
}

/* ---- tsvector ---- */

/* In single quotes, where they and backslashes are doubled. */
static void add_lexeme(struct buf *b, const char *s)
{
    buf_add_char(b, '\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            buf_add_char(b, *s);
        buf_add_char(b, *s);
    }
    buf_add_char(b, '\'');
}

/* A weight in the upper two bits, of which the default is not shown, and a position. */
static void add_position(struct buf *b, unsigned position)
{
    unsigned weight = position >> 14;

    buf_add_u64(b, position & 0x3fff);
    if (weight)
        buf_add_char(b, (char)('D' - (int)weight));
}

/*
 * PostgreSQL's tsvectorsend: Int32 count; for each lexeme a string that ends in NUL, Int16 count
 * of positions, Int16 for each position.
 */
bool binary_add_tsvector(struct buf *b, struct reader *r)
{
    uint32_t n = read_u32(r);

    for (uint32_t i = 0; i < n && !r->failed; i++) {
        unsigned npositions;

        if (i > 0)
            buf_add_char(b, ' ');
        add_lexeme(b, read_string(r));
        npositions = read_u16(r);
        for (unsigned k = 0; k < npositions && !r->failed; k++) {
            buf_add_char(b, k ? ',' : ':');
            add_position(b, read_u16(r));
        }
    }
    return true;
}
