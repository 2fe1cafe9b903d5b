#include "cli/properties.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/code_point.h"
#include "encode/scan.h"

/* More than anybody writes by hand: what is longer is another kind of file. */
enum { MOST_BYTES = 16 << 20, MOST_OF_A_PAIR = 1 << 20, MOST_PAIRS = 4096 };

struct reader {
    struct properties *p;
    const char *at, *end;
    unsigned line; /* of `at` */
    struct buf key, value;
    bool (*is_list)(const char *key); /* NULL = no key is */
};

/* ---- bytes ---- */

static bool read_bytes(struct buf *b, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = -1;

    if (fd < 0) {
        log_error("could not open \"%s\": %s", path, strerror(errno));
        return false;
    }
    do {
        n = read(fd, buf_reserve(b, 65536), 65536);
        if (n > 0)
            b->len += (size_t)n;
    } while ((n > 0 && b->len <= MOST_BYTES) || (n < 0 && errno == EINTR));
    if (n < 0)
        log_error("could not read \"%s\": %s", path, strerror(errno));
    else if (n > 0)
        log_error("\"%s\" is too large for a properties file", path);
    close(fd);
    return n == 0;
}

static bool at_break(const struct reader *r)
{
    return r->at == r->end || *r->at == '\n' || *r->at == '\r';
}

/* Steps over a line end: \n, \r\n or \r. */
static void take_break(struct reader *r)
{
    if (r->at == r->end)
        return;
    if (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n')
        r->at++;
    r->at++;
    r->line++;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

static void skip_line(struct reader *r)
{
    while (!at_break(r))
        r->at++;
}

static bool refuse(const struct reader *r, unsigned line, const char *what)
{
    log_error("line %u of \"%s\": %s", line, r->p->path, what);
    return false;
}

/*
 * What no text has, before anything is taken for text: the number of the line is all that can be
 * told.
 */
static bool check_bytes(const struct reader *r)
{
    const char *begin = r->at;
    unsigned line = 1;

    while (begin < r->end) {
        const char *stop = memchr(begin, '\n', (size_t)(r->end - begin));
        size_t n = (size_t)((stop ? stop : r->end) - begin);

        if (memchr(begin, '\0', n))
            return refuse(r, line, "a NUL byte: this is no text file");
        if (!scan_is_utf8(begin, n))
            return refuse(r, line, "this is not UTF-8");
        if (n > MOST_OF_A_PAIR)
            return refuse(r, line, "too long");
        begin += n + (stop != NULL);
        line++;
    }
    return true;
}

/* ---- pairs ---- */

/* What another pair with the key of this one replaces; NULL = nothing. */
static struct property *find_replaced(const struct reader *r)
{
    struct property *items = r->p->items;

    for (size_t i = 0; i < r->p->count; i++)
        if (strlen(items[i].key) == r->key.len &&
            memcmp(items[i].key, r->key.data, r->key.len) == 0)
            return r->is_list && r->is_list(items[i].key) ? NULL : &items[i];
    return NULL;
}

static bool keep_pair(struct reader *r, unsigned line)
{
    struct properties *p = r->p;
    struct property *kept = find_replaced(r);

    if (!kept && p->count == MOST_PAIRS)
        return refuse(r, line, "there are too many keys");
    if (kept) {
        log_warning("\"%s\" is given twice in \"%s\", in lines %u and %u: the last one counts",
                    kept->key, p->path, kept->line, line);
        free(kept->value);
    } else {
        p->items = realloc(p->items, (p->count + 1) * sizeof *p->items);
        if (!p->items)
            log_out_of_memory();
        kept = &p->items[p->count++];
        kept->key = xstrndup(r->key.data, r->key.len);
    }
    kept->value = xstrndup(r->value.data, r->value.len);
    kept->line = line;
    return true;
}

static bool begins_word(const struct reader *r, const char *word)
{
    size_t n = strlen(word);

    return (size_t)(r->end - r->at) >= n && strncasecmp(r->at, word, n) == 0 &&
           (r->at + n == r->end || strchr(" \t\r\n(;", r->at[n]));
}

/* People paste the whole statement. */
static bool is_sql(const struct reader *r)
{
    static const char *const words[] = {"CREATE", "WITH", "INSERT", "SELECT", "BEGIN", "END"};

    if (*r->at == '(' || *r->at == ')')
        return true;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (begins_word(r, words[i]))
            return true;
    return false;
}

static bool refuse_sql(const struct reader *r, unsigned line)
{
    refuse(r, line, "this is SQL");
    log_hint("Of a CREATE TABLE take what stands between the parentheses of its WITH clause: "
             "'key' = 'value', …");
    return false;
}

/* ---- key=value ---- */

static bool take_hex4(struct reader *r, uint32_t *code)
{
    *code = 0;
    if (r->end - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++, r->at++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = *r->at ? strchr(digits, *r->at) : NULL;

        if (!digit)
            return false;
        *code = *code << 4 | (uint32_t)((digit - digits) & 15);
    }
    return true;
}

/* Behind \u; two of them make a character beyond the first 65536. */
static bool take_unicode(struct reader *r, struct buf *to)
{
    uint32_t code, low;

    if (!take_hex4(r, &code))
        return refuse(r, r->line, "\\u needs four hexadecimal digits");
    if (code == 0)
        return refuse(r, r->line, "\\u0000 cannot be part of a value");
    if (code >= 0xd800 && code < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' &&
        r->at[1] == 'u') {
        r->at += 2;
        if (!take_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return refuse(r, r->line, "\\u gives half a character");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code >= 0xd800 && code < 0xe000)
        return refuse(r, r->line, "\\u gives half a character");
    code_point_add(to, code);
    return true;
}

/* At a backslash. */
static bool take_escape(struct reader *r, struct buf *to)
{
    static const char from[] = "tnrf", stands_for[] = "\t\n\r\f";
    const char *found;

    r->at++;
    if (at_break(r)) {
        take_break(r);
        skip_blanks(r);
        return true;
    }
    if (*r->at == 'u') {
        r->at++;
        return take_unicode(r, to);
    }
    found = strchr(from, *r->at);
    buf_add_char(to, found ? stands_for[found - from] : *r->at);
    r->at++;
    return true;
}

/* Up to the end of the line or, of a key, to what ends it. */
static bool take_text(struct reader *r, struct buf *to, bool key)
{
    to->len = 0;
    while (!at_break(r) && !(key && (is_blank(*r->at) || *r->at == '=' || *r->at == ':'))) {
        if (*r->at != '\\')
            buf_add_char(to, *r->at++);
        else if (!take_escape(r, to))
            return false;
        if (to->len > MOST_OF_A_PAIR)
            return refuse(r, r->line, "too long");
    }
    return true;
}

/* A backslash at the end of a line may stand between the parts, too. */
static void skip_between(struct reader *r)
{
    for (skip_blanks(r); r->at < r->end && *r->at == '\\'; skip_blanks(r)) {
        struct reader next = *r;

        next.at++;
        if (!at_break(&next))
            return;
        take_break(&next);
        r->at = next.at;
        r->line = next.line;
    }
}

static bool take_line(struct reader *r)
{
    unsigned line = r->line;

    if (is_sql(r))
        return refuse_sql(r, line);
    if (!take_text(r, &r->key, true))
        return false;
    skip_between(r);
    if (r->at < r->end && (*r->at == '=' || *r->at == ':')) {
        r->at++;
        skip_between(r);
    }
    if (!take_text(r, &r->value, false))
        return false;
    if (r->key.len == 0)
        return refuse(r, line, "there is no key");
    return keep_pair(r, line);
}

/* ---- 'key' = 'value' ---- */

static bool take_quoted(struct reader *r, struct buf *to)
{
    if (r->at == r->end || *r->at != '\'')
        return refuse(r, r->line, "expected a text in single quotes: 'key' = 'value',");
    to->len = 0;
    for (r->at++; !at_break(r); r->at++) {
        if (*r->at == '\'' && (r->at + 1 == r->end || r->at[1] != '\''))
            break;
        r->at += *r->at == '\'';
        buf_add_char(to, *r->at);
    }
    if (at_break(r))
        return refuse(r, r->line, "a text in single quotes has no end");
    r->at++;
    return true;
}

static bool at_comment(const struct reader *r)
{
    return r->end - r->at >= 2 && r->at[0] == '-' && r->at[1] == '-' &&
           (r->end - r->at == 2 || is_blank(r->at[2]) || strchr("\r\n", r->at[2]));
}

/* The pairs of a line. */
static bool take_with_line(struct reader *r)
{
    unsigned line = r->line;

    do {
        if (!take_quoted(r, &r->key))
            return false;
        skip_blanks(r);
        if (r->at == r->end || *r->at != '=')
            return refuse(r, line, "expected = behind the key: 'key' = 'value',");
        r->at++;
        skip_blanks(r);
        if (!take_quoted(r, &r->value))
            return false;
        if (r->key.len == 0)
            return refuse(r, line, "there is no key");
        if (!keep_pair(r, line))
            return false;
        skip_blanks(r);
        if (r->at < r->end && *r->at == ',') {
            r->at++;
            skip_blanks(r);
        } else if (!at_break(r) && !at_comment(r)) {
            return is_sql(r) ? refuse_sql(r, line)
                             : refuse(r, line, "expected a comma behind the value");
        }
    } while (!at_break(r) && !at_comment(r));
    return true;
}

/* ---- files ---- */

static bool take_all(struct reader *r)
{
    for (;; take_break(r)) {
        skip_blanks(r);
        if (r->at == r->end)
            return true;
        if (at_break(r))
            continue;
        if (*r->at == '\'') {
            if (!take_with_line(r))
                return false;
        } else if (*r->at != '#' && *r->at != '!' && !at_comment(r)) {
            if (!take_line(r))
                return false;
        }
        if (!at_break(r))
            skip_line(r);
    }
}

bool properties_read(struct properties *p, const char *path, bool (*is_list)(const char *key))
{
    struct reader r = {.p = p, .line = 1, .is_list = is_list};
    struct buf bytes;
    bool read;

    *p = (struct properties){.path = path};
    buf_init(&bytes, 65536);
    buf_init(&r.key, 64);
    buf_init(&r.value, 256);
    read = read_bytes(&bytes, path);
    r.at = bytes.data;
    r.end = bytes.data + bytes.len;
    if (read && bytes.len >= 3 && memcmp(r.at, "\xef\xbb\xbf", 3) == 0)
        r.at += 3;
    read = read && check_bytes(&r) && take_all(&r);
    buf_release(&bytes);
    buf_release(&r.key);
    buf_release(&r.value);
    if (!read)
        properties_release(p);
    return read;
}

void properties_release(struct properties *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    *p = (struct properties){0};
}

const struct property *properties_find(const struct properties *p, const char *key)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->items[i].key, key) == 0)
            return &p->items[i];
    return NULL;
}
