#include "deliver/file_name.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "encode/scan.h"

enum placeholder { NAME_SCHEMA, NAME_TABLE, NAME_TOPIC, NAME_LSN, NAME_DATE, NAME_UNKNOWN };

static const char *const placeholders[] = {
    [NAME_SCHEMA] = "{schema}", [NAME_TABLE] = "{table}", [NAME_TOPIC] = "{topic}",
    [NAME_LSN] = "{lsn}",       [NAME_DATE] = "{date}",
};

/* Which one stands at p; NULL behind the last brace is none. */
static enum placeholder placeholder_at(const char *p, size_t *len)
{
    *len = strcspn(p, "}");
    *len += p[*len] == '}';
    for (int i = 0; i < NAME_UNKNOWN; i++)
        if (strlen(placeholders[i]) == *len && strncmp(p, placeholders[i], *len) == 0)
            return (enum placeholder)i;
    return NAME_UNKNOWN;
}

bool file_name_has_placeholders(const char *pattern)
{
    return strpbrk(pattern, "{}") != NULL;
}

bool file_name_tells_tables(const char *pattern)
{
    return strstr(pattern, "{schema}") || strstr(pattern, "{table}") || strstr(pattern, "{topic}");
}

char *file_name_unknown(const char *pattern)
{
    size_t len;

    for (const char *p = pattern; (p = strpbrk(p, "{}")) != NULL; p += len)
        if (placeholder_at(p, &len) == NAME_UNKNOWN)
            return xstrndup(p, len);
    return NULL;
}

/* ---- pieces ---- */

static void add_escaped(struct buf *b, const char *name)
{
    bool utf8 = scan_is_utf8(name, strlen(name));

    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c < 0x20 || c == 0x7f || c == '/' || c == '%' || (c >= 0x80 && !utf8) ||
            (c == '.' && p == name))
            buf_printf(b, "%%%02X", c);
        else
            buf_add_char(b, *p);
    }
}

static void add_topic_part(struct buf *b, const char *name)
{
    for (; *name; name++) {
        char c = *name;
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || scan_is_digit(c) ||
                    c == '.' || c == '_' || c == '-';

        buf_add_char(b, good ? c : '_');
    }
}

static void add_topic(struct buf *b, const struct file_name *n)
{
    add_topic_part(b, n->server);
    buf_add_char(b, '.');
    add_topic_part(b, n->schema);
    buf_add_char(b, '.');
    add_topic_part(b, n->table);
}

static void add_date(struct buf *b, usec_t when)
{
    time_t seconds = (time_t)(when / USEC_PER_SEC);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    buf_printf(b, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

static void add_piece(struct buf *b, enum placeholder what, const struct file_name *n)
{
    switch (what) {
    case NAME_SCHEMA:
        add_escaped(b, n->schema);
        break;
    case NAME_TABLE:
        add_escaped(b, n->table);
        break;
    case NAME_TOPIC:
        add_topic(b, n);
        break;
    case NAME_LSN:
        buf_printf(b, "%016llX", (unsigned long long)n->lsn);
        break;
    case NAME_DATE:
        add_date(b, n->when);
        break;
    case NAME_UNKNOWN:
        break;
    }
}

/* ---- the name ---- */

/* How long the extension is: what follows a dot of the pattern's own, behind all placeholders. */
static size_t extension_length(const char *pattern)
{
    const char *end = strrchr(pattern, '}');
    const char *last = end ? end + 1 : pattern;
    const char *slash = strrchr(last, '/');
    const char *dot = strrchr(slash ? slash + 1 : last, '.');

    return dot && !(slash && dot == slash + 1) ? strlen(dot) : 0;
}

static char *numbered(const struct buf *b, const char *pattern, unsigned number)
{
    size_t at = b->len - extension_length(pattern);

    return xasprintf("%.*s_%u%.*s", (int)at, b->data, number, (int)(b->len - at), b->data + at);
}

char *file_name_make(const char *pattern, const struct file_name *n, unsigned number)
{
    struct buf b;
    size_t len;
    char *name;

    buf_init(&b, 256);
    for (const char *p = pattern; *p; p += len) {
        if (*p == '{') {
            add_piece(&b, placeholder_at(p, &len), n);
        } else {
            len = strcspn(p, "{");
            buf_add(&b, p, len);
        }
    }
    name = number ? numbered(&b, pattern, number) : xstrndup(b.data, b.len);
    buf_release(&b);
    return name;
}
