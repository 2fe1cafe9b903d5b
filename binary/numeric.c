#include "binary/form.h"

/* PostgreSQL's numeric.c: NUMERIC_SIGN_MASK and NUMERIC_EXT_SIGN_MASK, NUMERIC_DSCALE_MASK. */
enum {
    SIGN_POSITIVE = 0,
    SIGN_NEGATIVE = 0x4000,
    SIGN_NAN = 0xc000,
    SIGN_INFINITY = 0xd000,
    SIGN_MINUS_INFINITY = 0xf000,
    SCALE_MAX = 0x3fff,
    GROUP = 4, /* decimal digits in one of base 10000 */
};

struct numeric {
    uint16_t ndigits;
    int16_t weight; /* place of the first digit, in powers of 10000 */
    uint16_t sign;
    uint16_t scale; /* decimal digits to show behind the point */
    const char *digits;
};

/* PostgreSQL's numeric_send: Int16 ndigits, weight, sign, dscale, then the digits, Int16 each. */
static bool read_numeric(struct reader *r, struct numeric *n)
{
    n->ndigits = read_u16(r);
    n->weight = (int16_t)read_u16(r);
    n->sign = read_u16(r);
    n->scale = read_u16(r);
    n->digits = read_bytes(r, 2 * (size_t)n->ndigits);
    return n->digits && n->scale <= SCALE_MAX;
}

/* The digit with weight 10000^weight; those that were not sent are 0. */
static uint16_t digit_at(const struct numeric *n, int weight)
{
    int i = n->weight - weight;
    uint16_t digit = 0;

    if (i >= 0 && i < n->ndigits)
        memcpy(&digit, n->digits + 2 * i, sizeof digit);
    return be16toh(digit);
}

static bool has_valid_digits(const struct numeric *n)
{
    for (int i = 0; i < n->ndigits; i++)
        if (digit_at(n, n->weight - i) > 9999)
            return false;
    return true;
}

static void add_finite(struct buf *b, const struct numeric *n)
{
    int first = n->weight > 0 ? n->weight : 0;
    int scale = n->scale;
    char *p = buf_reserve(b, ((size_t)first + 1) * GROUP + (size_t)scale + 24);

    if (n->sign == SIGN_NEGATIVE)
        *p++ = '-';
    p = put_u64(p, digit_at(n, first));
    for (int weight = first - 1; weight >= 0; weight--)
        p = put_padded(p, digit_at(n, weight), GROUP);
    if (scale > 0)
        *p++ = '.';
    for (int weight = -1; scale > 0; weight--, scale -= GROUP)
        p = put_padded(p, digit_at(n, weight), GROUP);
    buf_written(b, p + scale); /* the last group may show more than the scale: scale <= 0 */
}

bool binary_add_numeric(struct buf *b, struct reader *r)
{
    struct numeric n;

    if (!read_numeric(r, &n) || !has_valid_digits(&n))
        return false;
    switch (n.sign) {
    case SIGN_POSITIVE:
    case SIGN_NEGATIVE:
        add_finite(b, &n);
        return true;
    case SIGN_NAN:
        buf_add_str(b, "NaN");
        return true;
    case SIGN_INFINITY:
        buf_add_str(b, "Infinity");
        return true;
    case SIGN_MINUS_INFINITY:
        buf_add_str(b, "-Infinity");
        return true;
    default:
        return false;
    }
}
