/* The geometric types, all made of float8; layouts as in PostgreSQL's geo_ops.c. */
#include "binary/form.h"

static void add_numbers(struct buf *b, struct reader *r, int n)
{
    for (int i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        float8_add(b, read_u64(r));
    }
}

bool binary_add_point(struct buf *b, struct reader *r)
{
    buf_add_char(b, '(');
    add_numbers(b, r, 2);
    buf_add_char(b, ')');
    return true;
}

static void add_points(struct buf *b, struct reader *r, uint32_t n)
{
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        binary_add_point(b, r);
    }
}

bool binary_add_lseg(struct buf *b, struct reader *r)
{
    buf_add_char(b, '[');
    add_points(b, r, 2);
    buf_add_char(b, ']');
    return true;
}

bool binary_add_box(struct buf *b, struct reader *r)
{
    add_points(b, r, 2);
    return true;
}

bool binary_add_line(struct buf *b, struct reader *r)
{
    buf_add_char(b, '{');
    add_numbers(b, r, 3);
    buf_add_char(b, '}');
    return true;
}

/* PostgreSQL's path_send: Byte closed, Int32 count, points. */
bool binary_add_path(struct buf *b, struct reader *r)
{
    unsigned closed = read_u8(r);
    uint32_t n = read_u32(r);

    buf_add_char(b, closed ? '(' : '[');
    add_points(b, r, n);
    buf_add_char(b, closed ? ')' : ']');
    return closed <= 1 && n > 0;
}

/* PostgreSQL's poly_send: Int32 count, points. */
bool binary_add_polygon(struct buf *b, struct reader *r)
{
    uint32_t n = read_u32(r);

    buf_add_char(b, '(');
    add_points(b, r, n);
    buf_add_char(b, ')');
    return n > 0;
}

bool binary_add_circle(struct buf *b, struct reader *r)
{
    buf_add_char(b, '<');
    binary_add_point(b, r);
    buf_add_char(b, ',');
    float8_add(b, read_u64(r));
    buf_add_char(b, '>');
    return true;
}
