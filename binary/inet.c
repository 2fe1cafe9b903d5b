#include "binary/form.h"

enum { FAMILY_INET = 2, FAMILY_INET6 = 3 }; /* PGSQL_AF_INET, PGSQL_AF_INET6 */

#define NWORDS 8 /* of an IPv6 address */

struct run {
    int start;
    int len;
};

static char *put_ipv4(char *p, const unsigned char *bytes)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            *p++ = '.';
        p = put_u64(p, bytes[i]);
    }
    return p;
}

static char *put_word(char *p, unsigned word)
{
    int shift = 12;

    while (shift > 0 && word >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[word >> shift & 15];
    return p;
}

/* The first of the longest runs of zeros; one zero alone is none. */
static struct run find_zeros(const unsigned *words)
{
    struct run best = {-1, 1};
    struct run run = {0, 0};

    for (int i = 0; i < NWORDS; i++) {
        run.len = words[i] == 0 ? run.len + 1 : 0;
        run.start = i - run.len + 1;
        if (run.len > best.len)
            best = run;
    }
    return best.start < 0 ? (struct run){-1, 0} : best;
}

/* Addresses that PostgreSQL's pg_inet_net_ntop takes for an IPv4 one: ::a.b.c.d, ::ffff:a.b.c.d */
static bool holds_ipv4(const unsigned *words, struct run zeros)
{
    return zeros.start == 0 &&
           (zeros.len == 6 || (zeros.len == 7 && words[7] != 1) ||
            (zeros.len == 5 && words[5] == 0xffff));
}

static char *put_ipv6(char *p, const unsigned char *bytes)
{
    unsigned words[NWORDS];
    struct run zeros;
    int i = 0;

    for (int w = 0; w < NWORDS; w++)
        words[w] = (unsigned)bytes[2 * w] << 8 | bytes[2 * w + 1];
    zeros = find_zeros(words);
    while (i < NWORDS) {
        if (i > 0 || i == zeros.start)
            *p++ = ':';
        if (i == zeros.start) {
            i += zeros.len;
            if (i == NWORDS)
                *p++ = ':';
        } else if (i == 6 && holds_ipv4(words, zeros)) {
            return put_ipv4(p, bytes + 12);
        } else {
            p = put_word(p, words[i++]);
        }
    }
    return p;
}

/*
 * PostgreSQL's inet_send and cidr_send: Byte family, bits, whether it is a cidr, count of bytes,
 * then the bytes of the address.  An inet of all bits does not show them, a cidr does.
 */
bool binary_add_inet(struct buf *b, struct reader *r)
{
    unsigned family = read_u8(r);
    unsigned bits = read_u8(r);
    unsigned cidr = read_u8(r);
    unsigned n = read_u8(r);
    const unsigned char *bytes = (const unsigned char *)read_bytes(r, n);
    char *p = buf_reserve(b, 64);

    if (!bytes || cidr > 1 || bits > 8 * n)
        return false;
    if (family == FAMILY_INET && n == 4)
        p = put_ipv4(p, bytes);
    else if (family == FAMILY_INET6 && n == 16)
        p = put_ipv6(p, bytes);
    else
        return false;
    if (cidr || bits < 8 * n) {
        *p++ = '/';
        p = put_u64(p, bits);
    }
    buf_written(b, p);
    return true;
}

static bool add_mac(struct buf *b, struct reader *r, size_t n)
{
    const char *bytes = read_bytes(r, n);
    char *p = buf_reserve(b, 3 * n);

    for (size_t i = 0; bytes && i < n; i++) {
        if (i > 0)
            *p++ = ':';
        p = put_hex_byte(p, (unsigned char)bytes[i]);
    }
    buf_written(b, p);
    return true;
}

bool binary_add_macaddr(struct buf *b, struct reader *r)
{
    return add_mac(b, r, 6);
}

bool binary_add_macaddr8(struct buf *b, struct reader *r)
{
    return add_mac(b, r, 8);
}
