#include "snapshot/visibility.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"

void visibility_release(struct visibility *v)
{
    free(v->xip);
    *v = (struct visibility){0};
}

/* A decimal number that ends at `end`; moves *p behind the end character. */
static bool take_number(const char **p, char end, uint64_t *n)
{
    char *stop;

    if (!isdigit((unsigned char)**p))
        return false;
    errno = 0;
    *n = strtoull(*p, &stop, 10);
    if (errno != 0 || (*stop != end && *stop != '\0'))
        return false;
    *p = *stop ? stop + 1 : stop;
    return *stop == end;
}

static size_t count_commas(const char *p)
{
    size_t n = 0;

    for (; *p; p++)
        n += *p == ',';
    return n;
}

/* The list behind the second colon, which may be empty. */
static bool take_running(struct visibility *v, const char *p)
{
    if (!*p)
        return true;
    v->xip = xcalloc(count_commas(p) + 1, sizeof *v->xip);
    while (*p) {
        uint64_t *xid = &v->xip[v->nxip++];
        bool more = take_number(&p, ',', xid);

        if (!more && *p)
            return false;
        if (*xid < v->xmin || *xid >= v->xmax || (v->nxip > 1 && *xid <= xid[-1]) || (more && !*p))
            return false;
    }
    return true;
}

bool visibility_parse(struct visibility *v, const char *text)
{
    *v = (struct visibility){0};
    if (take_number(&text, ':', &v->xmin) && take_number(&text, ':', &v->xmax) &&
        v->xmin <= v->xmax && v->xmin > 0 && take_running(v, text))
        return true;
    visibility_release(v);
    return false;
}

char *visibility_text(const struct visibility *v)
{
    struct buf b;
    char *text;

    buf_init(&b, 64);
    buf_add_u64(&b, v->xmin);
    buf_add_char(&b, ':');
    buf_add_u64(&b, v->xmax);
    buf_add_char(&b, ':');
    for (uint32_t i = 0; i < v->nxip; i++) {
        if (i)
            buf_add_char(&b, ',');
        buf_add_u64(&b, v->xip[i]);
    }
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

static bool is_running(const struct visibility *v, uint64_t xid)
{
    uint32_t from = 0, to = v->nxip;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (v->xip[middle] < xid)
            from = middle + 1;
        else
            to = middle;
    }
    return from < v->nxip && v->xip[from] == xid;
}

bool visibility_sees(const struct visibility *v, uint32_t xid)
{
    int32_t distance = (int32_t)(xid - (uint32_t)v->xmax);
    uint64_t whole = v->xmax + (uint64_t)(int64_t)distance;

    if (distance < 0 && (uint64_t)-(int64_t)distance > v->xmax)
        return true; /* below zero: long frozen */
    return whole < v->xmin || (whole < v->xmax && !is_running(v, whole));
}
