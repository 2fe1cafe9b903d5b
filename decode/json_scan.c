#include "decode/json_scan.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/code_point.h"

void json_scan_init(struct json_scan *s, char *text, size_t len, struct charset *charset)
{
    *s = (struct json_scan){
        .start = text, .p = text, .end = text + len, .charset = charset,
    };
    if (len > UINT32_MAX)
        json_fail_at(s, text, "the text is too long");
}

bool json_fail_at(struct json_scan *s, const char *at, const char *wrong)
{
    if (s->wrong)
        return false;
    s->wrong = wrong;
    s->wrong_at = (size_t)(at - s->start);
    return false;
}

/* What is missing at the next byte: the rest of the text, if there is no next byte. */
static bool expected(struct json_scan *s, const char *wrong)
{
    return json_fail_at(s, s->p, s->p == s->end ? "the text is cut off" : wrong);
}

/* ---- strings ---- */

/* Bytes that a string cannot just go on with: its end, an escape, a control character. */
static bool is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

/* The first special byte; end when there is none.  Most strings are shorter than 16 bytes. */
static char *run_end(char *p, char *end)
{
#ifdef __SSE2__
    const __m128i last_control = _mm_set1_epi8(0x1f);

    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        int special = _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));

        if (special)
            return p + __builtin_ctz((unsigned)special);
    }
#endif
    while (p < end && !is_special(*p))
        p++;
    return p;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX at s->p; -1 when they are not there. */
static int32_t take_hex(struct json_scan *s)
{
    int32_t code = 0;

    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(s->p[i]);

        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    s->p += 4;
    return code;
}

/*
 * Behind \u; a character takes fewer bytes than its escape, so `to` never comes too far.  Among
 * characters of another encoding there can be none but ASCII: servers escape nothing else.
 */
static char *unescape_unicode(struct json_scan *s, char *to)
{
    int32_t code = take_hex(s);
    int32_t low;

    if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff) || (s->charset && code > 0x7f))
        return NULL;
    if (code < 0xd800 || code > 0xdbff)
        return code_point_put(to, (uint32_t)code);
    if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
        return NULL;
    s->p += 2;
    low = take_hex(s);
    if (low < 0xdc00 || low > 0xdfff)
        return NULL;
    return code_point_put(to, 0x10000 + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

/* The escape at s->p, a backslash; returns where the text goes on, NULL when it is none. */
static char *unescape(struct json_scan *s, char *to)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char characters[] = "\"\\/\b\f\n\r\t";
    const char *found;

    s->p++;
    if (s->p == s->end)
        return NULL;
    if (*s->p == 'u') {
        s->p++;
        return unescape_unicode(s, to);
    }
    found = memchr(letters, *s->p, sizeof letters - 1);
    if (!found)
        return NULL;
    s->p++;
    *to = characters[found - letters];
    return to + 1;
}

/* The rest of a string that is clean up to s->p, where an escape stands or something is wrong. */
static bool unescape_rest(struct json_scan *s, char *start, struct slice *out)
{
    char *to = s->p;

    while (s->p < s->end && *s->p != '"') {
        char *at = s->p;
        char *run;

        if (*at != '\\')
            return json_fail_at(s, at, "a control character in a string");
        to = unescape(s, to);
        if (!to)
            return json_fail_at(s, at, "an invalid escape in a string");
        run = s->p;
        s->p = run_end(run, s->end);
        memmove(to, run, (size_t)(s->p - run));
        to += s->p - run;
    }
    if (s->p == s->end)
        return expected(s, NULL);
    s->p++;
    *to = '\0';
    *out = (struct slice){start, (uint32_t)(to - start)};
    return true;
}

bool json_bytes(struct json_scan *s, struct slice *out)
{
    char *start;

    if (json_peek(s) != '"')
        return expected(s, "a string is expected");
    start = ++s->p;
    s->p = run_end(start, s->end);
    if (s->p == s->end || *s->p != '"')
        return unescape_rest(s, start, out);
    *out = (struct slice){start, (uint32_t)(s->p - start)};
    *s->p++ = '\0';
    return true;
}

bool json_convert(struct json_scan *s, struct slice *out)
{
    char *text = s->start + (out->data - s->start); /* the same place, to be written to */
    size_t len = (size_t)out->len + 1;

    if (!s->charset)
        return true;
    if (!charset_convert(s->charset, &text, &len))
        return json_fail_at(s, out->data + len,
                            "a character that is not valid in the encoding of the database");
    if (len > UINT32_MAX)
        return json_fail_at(s, out->data, "the text is too long");
    *out = (struct slice){text, (uint32_t)len - 1};
    return true;
}

bool json_string(struct json_scan *s, struct slice *out)
{
    return json_bytes(s, out) && json_convert(s, out);
}

/* ---- values ---- */

static bool take_literal(struct json_scan *s, const char *literal, size_t len)
{
    json_peek(s);
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, literal, len) != 0)
        return false;
    s->p += len;
    return true;
}

bool json_take_null(struct json_scan *s)
{
    return take_literal(s, "null", 4);
}

bool json_boolean(struct json_scan *s, bool *out)
{
    *out = take_literal(s, "true", 4);
    return *out || take_literal(s, "false", 5) || expected(s, "true or false is expected");
}

static bool take_digits(struct json_scan *s)
{
    char *start = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > start;
}

static bool take_byte(struct json_scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* [-] 0 | 1-9 digits [. digits] [e [+-] digits] */
static bool take_number(struct json_scan *s)
{
    take_byte(s, '-');
    if (!take_byte(s, '0') && !take_digits(s))
        return false;
    if (take_byte(s, '.') && !take_digits(s))
        return false;
    if (!take_byte(s, 'e') && !take_byte(s, 'E'))
        return true;
    if (!take_byte(s, '+'))
        take_byte(s, '-');
    return take_digits(s);
}

static bool number(struct json_scan *s, struct value *out)
{
    char *start = s->p;

    if (!take_number(s))
        return expected(s, "an invalid number");
    *out = (struct value){start, (uint32_t)(s->p - start), VALUE_TEXT};
    return true;
}

bool json_value(struct json_scan *s, struct value *out)
{
    char c = json_peek(s);
    char *start = s->p;
    struct slice slice;

    if (c == '"') {
        if (!json_string(s, &slice))
            return false;
        *out = (struct value){slice.data, slice.len, VALUE_TEXT};
        return true;
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return number(s, out);
    if (take_literal(s, "true", 4) || take_literal(s, "false", 5)) {
        *out = (struct value){start, (uint32_t)(s->p - start), VALUE_TEXT};
        return true;
    }
    *out = (struct value){.kind = VALUE_NULL};
    return take_literal(s, "null", 4) ||
           expected(s, "a string, a number, true, false or null is expected");
}

/* Digits alone, that is without a sign, of a number of at most UINT32_MAX. */
static bool digits_u32(const char *p, const char *end, uint32_t *out)
{
    uint64_t n = 0;

    if (p == end || end - p > 10)
        return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *out = (uint32_t)n;
    return n <= UINT32_MAX;
}

bool json_u32(struct json_scan *s, uint32_t *out)
{
    struct value v;

    json_peek(s);
    if (s->p == s->end || *s->p < '0' || *s->p > '9')
        return expected(s, "a number of 32 bits is expected");
    if (!number(s, &v))
        return false;
    return digits_u32(v.data, v.data + v.len, out) ||
           json_fail_at(s, v.data, "a number of 32 bits is expected");
}

bool json_oid(struct json_scan *s, uint32_t *out)
{
    char *start;

    if (json_peek(s) != '-')
        return json_u32(s, out);
    start = s->p++;
    if (!json_u32(s, out))
        return false;
    *out = -*out;
    return *out > INT32_MAX || json_fail_at(s, start, "a number of 32 bits is expected");
}

/* ---- objects and arrays ---- */

bool json_open_array(struct json_scan *s)
{
    return json_take(s, '[') || expected(s, "an array is expected");
}

/* Whether there is an item n; takes what stands before it. */
static bool item(struct json_scan *s, size_t n, char open, char close, const char *wrong)
{
    if (n > 0) {
        if (json_take(s, ','))
            return true;
        return !json_take(s, close) && expected(s, wrong);
    }
    if (!json_take(s, open))
        return expected(s, open == '{' ? "an object is expected" : "an array is expected");
    return !json_take(s, close);
}

bool json_member(struct json_scan *s, size_t n, struct slice *key)
{
    if (!item(s, n, '{', '}', "a comma or the end of an object is expected"))
        return false;
    if (!json_bytes(s, key))
        return false;
    return json_take(s, ':') || expected(s, "a colon is expected");
}

bool json_element(struct json_scan *s, size_t n)
{
    return item(s, n, '[', ']', "a comma or the end of an array is expected");
}

static bool skip(struct json_scan *s, unsigned depth)
{
    char c = json_peek(s);
    struct slice text;
    struct value v;

    if (c == '"')
        return json_bytes(s, &text);
    if (c != '{' && c != '[')
        return json_value(s, &v);
    if (depth == 0)
        return json_fail_at(s, s->p, "objects and arrays are nested too deep");
    for (size_t n = 0; c == '{' ? json_member(s, n, &text) : json_element(s, n); n++)
        if (!skip(s, depth - 1))
            return false;
    return !s->wrong;
}

bool json_skip(struct json_scan *s)
{
    return skip(s, JSON_SCAN_DEPTH_MAX);
}

unsigned json_which(const struct slice *key, const struct slice *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (names[i].len == key->len && memcmp(names[i].data, key->data, key->len) == 0)
            return i;
    return n;
}
