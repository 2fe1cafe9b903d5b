/*
 * Floats as float8out() and float4out() write them since PostgreSQL 12: the fewest digits that
 * lie strictly between the neighbours' halfway marks, of those the ones closest to the value.
 * Digits exactly on a mark do not count, so that a reader need not round half to even.
 *
 * The digits come from exact integer arithmetic, after Steele and White ("How to Print
 * Floating-Point Numbers Accurately", 1990) with the scaling of Burger and Dybvig (1996).
 */
#include "binary/form.h"

/*
 * The largest number is what a subnormal is scaled up to: 2^54 * 10^308 or 4 * 10^324, times 10
 * for the estimate and 10 for the next digit; below 1130 bits.
 */
#define WORDS 36

#define DIGITS_MAX 17 /* that a float8 needs at most */

struct big {
    uint32_t words[WORDS]; /* lowest first; 0 when not in use, but in sums */
    size_t n;              /* words in use; the highest is not 0 */
};

struct decimal {
    char digits[DIGITS_MAX];
    int n;
    int point; /* 0.DIGITS * 10^point */
};

/* A finite value above 0: mantissa * 2^exponent. */
struct binary {
    uint64_t mantissa;
    int exponent;
    bool narrow; /* a power of 2: the neighbour below is half as far as the one above */
};

/* ---- large numbers ---- */

static void big_multiply(struct big *a, uint32_t factor)
{
    uint64_t carry = 0;

    for (size_t i = 0; i < a->n; i++) {
        carry += (uint64_t)a->words[i] * factor;
        a->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && a->n < WORDS)
        a->words[a->n++] = (uint32_t)carry;
}

static void big_multiply_power_of_10(struct big *a, int power)
{
    for (; power >= 9; power -= 9)
        big_multiply(a, 1000000000);
    for (; power > 0; power--)
        big_multiply(a, 10);
}

/* n * 2^shift */
static struct big big_make(uint64_t n, int shift)
{
    struct big a = {.n = (size_t)shift / 32};

    for (; n && a.n < WORDS; n >>= 32)
        a.words[a.n++] = (uint32_t)n;
    big_multiply(&a, UINT32_C(1) << shift % 32);
    return a;
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;)
        if (a->words[i] != b->words[i])
            return a->words[i] < b->words[i] ? -1 : 1;
    return 0;
}

static struct big big_sum(const struct big *a, const struct big *b)
{
    struct big sum; /* words that are not in use stay as they are: this is the inner loop */
    uint64_t carry = 0;

    sum.n = a->n > b->n ? a->n : b->n;
    for (size_t i = 0; i < sum.n; i++) {
        carry += (uint64_t)a->words[i] + b->words[i];
        sum.words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && sum.n < WORDS)
        sum.words[sum.n++] = (uint32_t)carry;
    return sum;
}

/* b <= a */
static void big_subtract(struct big *a, const struct big *b)
{
    uint64_t borrow = 0;

    for (size_t i = 0; i < a->n; i++) {
        uint64_t word = (uint64_t)a->words[i] - (i < b->n ? b->words[i] : 0) - borrow;

        a->words[i] = (uint32_t)word;
        borrow = word >> 63;
    }
    while (a->n > 0 && a->words[a->n - 1] == 0)
        a->n--;
}

/* a / b, which is below 10; the remainder stays in a. */
static int big_divide(struct big *a, const struct big *b)
{
    int quotient = 0;

    for (; big_compare(a, b) >= 0; quotient++)
        big_subtract(a, b);
    return quotient;
}

/* ---- digits ---- */

/* The value, and how far it is to the halfway marks, in units of 1/scale. */
struct generator {
    struct big value;
    struct big above;
    struct big below;
    struct big scale;
};

static bool reaches_above(const struct generator *g)
{
    struct big sum = big_sum(&g->value, &g->above);

    return big_compare(&sum, &g->scale) > 0;
}

/* Scales the value so that it and what may be written for it is a fraction; returns its point. */
static int scale(struct generator *g, struct binary v)
{
    int up = v.exponent > 0 ? v.exponent : 0;
    int bits = 64 - __builtin_clzll(v.mantissa) + v.exponent;
    int point = bits * 78913 / 262144 - 1; /* by log10(2), a little low */

    g->value = big_make(v.mantissa * 4, up);
    g->above = big_make(2, up);
    g->below = big_make(v.narrow ? 1 : 2, up);
    g->scale = big_make(4, up - v.exponent);
    big_multiply_power_of_10(&g->scale, point);
    big_multiply_power_of_10(&g->value, -point);
    big_multiply_power_of_10(&g->above, -point);
    big_multiply_power_of_10(&g->below, -point);
    for (; reaches_above(g); point++)
        big_multiply(&g->scale, 10);
    return point;
}

/* The last digit is rounded to the nearest; at half, to an even one. */
static int round_last(const struct generator *g, int digit)
{
    struct big twice = big_sum(&g->value, &g->value);
    int half = big_compare(&twice, &g->scale);

    return digit + (half > 0 || (half == 0 && digit % 2));
}

static void generate(struct decimal *d, struct binary v)
{
    struct generator g;
    bool low = false, high = false;

    d->point = scale(&g, v);
    d->n = 0;
    while (!low && !high && d->n < DIGITS_MAX) {
        int digit;

        big_multiply(&g.value, 10);
        big_multiply(&g.above, 10);
        big_multiply(&g.below, 10);
        digit = big_divide(&g.value, &g.scale);
        low = big_compare(&g.value, &g.below) < 0;
        high = reaches_above(&g);
        if (low && high)
            digit = round_last(&g, digit);
        else if (high)
            digit++;
        d->digits[d->n++] = (char)('0' + digit);
    }
}

/*
 * The common case, found quickly: up to 15 digits, of which few are behind the point.  n / 10^i
 * is one correct rounding of exact operands, and no halfway mark, which takes 54 bits, is an n
 * below 2^53 over 10^i.  So when it gives the value, n has its digits; and as no two decimals of
 * 15 digits share a float8, no others are as few.
 */
static bool find_short(struct decimal *d, double value)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};

    for (int i = 0; i < (int)(sizeof powers / sizeof powers[0]) && value * powers[i] < 1e15; i++) {
        uint64_t n = (uint64_t)(value * powers[i] + 0.5);
        char digits[20];

        if (n == 0 || (double)n / powers[i] != value)
            continue;
        for (d->point = -i; n % 10 == 0; d->point++)
            n /= 10;
        d->n = (int)(put_u64(digits, n) - digits);
        d->point += d->n;
        memcpy(d->digits, digits, (size_t)d->n);
        return true;
    }
    return false;
}

/* ---- layout ---- */

/* exponent: of the first digit. */
static char *put_scientific(char *p, const struct decimal *d, int exponent)
{
    *p++ = d->digits[0];
    if (d->n > 1)
        *p++ = '.';
    for (int i = 1; i < d->n; i++)
        *p++ = d->digits[i];
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    return put_padded(p, (uint64_t)(exponent < 0 ? -exponent : exponent), 2);
}

static char *put_plain(char *p, const struct decimal *d)
{
    int i = d->point < 0 ? d->point : 0;

    if (d->point <= 0)
        *p++ = '0';
    for (; i < d->point; i++)
        *p++ = i < d->n ? d->digits[i] : '0';
    if (i < d->n)
        *p++ = '.';
    for (; i < d->n; i++)
        *p++ = i < 0 ? '0' : d->digits[i];
    return p;
}

/* Plain from 0.0001 up to as many digits as printf's %g would do it with: plain_digits. */
static void add_decimal(struct buf *b, const struct decimal *d, int plain_digits)
{
    char *p = buf_reserve(b, 32);

    if (d->point > -4 && d->point <= plain_digits)
        p = put_plain(p, d);
    else
        p = put_scientific(p, d, d->point - 1);
    buf_written(b, p);
}

static void add_not_finite(struct buf *b, bool negative, bool nan)
{
    if (nan)
        buf_add_str(b, "NaN");
    else
        buf_add_str(b, negative ? "-Infinity" : "Infinity");
}

/* IEEE 754: sign, biased exponent, mantissa without the 1 that all but subnormals begin with. */
struct layout {
    int mantissa_bits;
    int exponent_bits;
    int plain_digits; /* FLT_DIG, DBL_DIG */
};

/* known: the decimal, if it is known already, else NULL. */
static void add_float(struct buf *b, uint64_t bits, struct layout l, const struct decimal *known)
{
    uint64_t hidden = UINT64_C(1) << l.mantissa_bits;
    uint64_t mantissa = bits & (hidden - 1);
    int top = (1 << l.exponent_bits) - 1;
    int biased = (int)(bits >> l.mantissa_bits & (uint64_t)top);
    bool negative = bits >> l.mantissa_bits >> l.exponent_bits & 1;
    struct binary v = {.narrow = mantissa == 0 && biased > 1};
    struct decimal d = {.digits = "0", .n = 1, .point = 1};

    if (biased == top) {
        add_not_finite(b, negative, mantissa != 0);
        return;
    }
    v.mantissa = biased > 0 ? mantissa | hidden : mantissa;
    v.exponent = (biased > 0 ? biased : 1) - top / 2 - l.mantissa_bits;
    if (negative)
        buf_add_char(b, '-');
    if (v.mantissa != 0 && !known)
        generate(&d, v);
    add_decimal(b, known ? known : &d, l.plain_digits);
}

void float8_add(struct buf *b, uint64_t bits)
{
    uint64_t magnitude = bits & INT64_MAX;
    struct decimal d;
    double value;

    memcpy(&value, &magnitude, sizeof value);
    add_float(b, bits, (struct layout){52, 11, 15}, find_short(&d, value) ? &d : NULL);
}

bool binary_add_float8(struct buf *b, struct reader *r)
{
    float8_add(b, read_u64(r));
    return true;
}

/* Not by the quick way: a float4's few digits are not those of the float8 that it is, too. */
bool binary_add_float4(struct buf *b, struct reader *r)
{
    add_float(b, read_u32(r), (struct layout){23, 8, 6}, NULL);
    return true;
}
