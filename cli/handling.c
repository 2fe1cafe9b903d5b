#include "cli/handling.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "encode/scan.h"

#define PLACEHOLDER "__debezium_unavailable_value"

const struct handling handling_default = {
    .money_digits = 2,
    .money_places = 2,
    .placeholder = PLACEHOLDER,
    .placeholder_len = sizeof PLACEHOLDER - 1,
};

enum kind { KIND_MODE, KIND_BOOL, KIND_DIGITS, KIND_PLACEHOLDER };

struct property {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *const *values; /* of a mode: the first is mode 1; ends with NULL */
};

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define AT(member) offsetof(struct handling, member)

static const struct property properties[] = {
    {"decimal.handling.mode", KIND_MODE, AT(decimals), VALUES("precise", "double", "string")},
    {"time.precision.mode", KIND_MODE, AT(times),
     VALUES("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds",
            "nanoseconds")},
    {"interval.handling.mode", KIND_MODE, AT(intervals), VALUES("numeric", "string")},
    {"binary.handling.mode", KIND_MODE, AT(binaries),
     VALUES("bytes", "base64", "base64-url-safe", "hex")},
    {"hstore.handling.mode", KIND_MODE, AT(hstores), VALUES("json", "map")},
    {"unavailable.value.placeholder", KIND_PLACEHOLDER, 0, NULL},
    {"money.fraction.digits", KIND_DIGITS, AT(money_digits), NULL},
    {"include.unknown.datatypes", KIND_BOOL, AT(unknown_as_bytes), NULL},
};

enum { NPROPERTIES = sizeof properties / sizeof properties[0] };

static bool refuse(const struct property *p, const char *value, const char *allowed)
{
    log_error("invalid value \"%s\" for %s: must be %s", value, p->name, allowed);
    return false;
}

static bool set_mode(const struct property *p, int *mode, const char *value)
{
    char allowed[256] = "one of ";

    for (int i = 0; p->values[i]; i++) {
        size_t len = strlen(allowed);

        if (strcmp(value, p->values[i]) == 0) {
            *mode = i + 1;
            return true;
        }
        snprintf(allowed + len, sizeof allowed - len, "%s%s", i ? ", " : "", p->values[i]);
    }
    return refuse(p, value, allowed);
}

static bool set_bool(const struct property *p, bool *to, const char *value)
{
    *to = strcmp(value, "true") == 0;
    return *to || strcmp(value, "false") == 0 || refuse(p, value, "true or false");
}

/* As many as money can have: an int8 has 19. */
static bool set_digits(const struct property *p, unsigned *to, const char *value)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (*value < '0' || *value > '9' || *end || n > 18)
        return refuse(p, value, "a number from 0 to 18");
    *to = (unsigned)n;
    return true;
}

/* Of a character that is one. */
static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c <= 'F' ? c - 'A' + 10 : c - 'a' + 10;
}

/* The bytes that the digits stand for; NULL when they are not all digits, two for each byte. */
static char *read_hex(const char *hex, size_t *len)
{
    char *bytes;

    *len = strlen(hex) / 2;
    if (strlen(hex) % 2 || strspn(hex, "0123456789abcdefABCDEF") != 2 * *len)
        return NULL;
    bytes = xcalloc(*len + 1, 1);
    for (size_t i = 0; i < *len; i++)
        bytes[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return bytes;
}

/* hex:… gives its bytes, which live as long as the program: there is one placeholder in a run. */
static bool set_placeholder(const struct property *p, struct handling *h, const char *value)
{
    const char *allowed = "UTF-8 text, or hex: and an even number of hexadecimal digits for one";
    char *bytes;
    size_t len;

    if (strncmp(value, "hex:", 4) != 0) {
        h->placeholder = value;
        h->placeholder_len = strlen(value);
        return scan_is_utf8(value, strlen(value)) || refuse(p, value, allowed);
    }
    bytes = read_hex(value + 4, &len);
    if (!bytes || !scan_is_utf8(bytes, len)) {
        free(bytes);
        return refuse(p, value, allowed);
    }
    h->placeholder = bytes;
    h->placeholder_len = len;
    return true;
}

static bool set(const struct property *p, struct handling *h, const char *value)
{
    void *to = (char *)h + p->offset;

    switch (p->kind) {
    case KIND_MODE:
        return set_mode(p, to, value);
    case KIND_BOOL:
        return set_bool(p, to, value);
    case KIND_DIGITS:
        return set_digits(p, to, value);
    case KIND_PLACEHOLDER:
        return set_placeholder(p, h, value);
    }
    return false;
}

static bool unknown(const char *text, size_t len)
{
    char names[512] = "";

    for (int i = 0; i < NPROPERTIES; i++) {
        size_t used = strlen(names);

        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", properties[i].name);
    }
    log_error("unknown setting \"%.*s\": must be one of %s", (int)len, text, names);
    return false;
}

bool handling_set(struct handling *h, const char *text)
{
    size_t len = strcspn(text, "=");

    for (int i = 0; i < NPROPERTIES; i++) {
        if (strlen(properties[i].name) != len || strncmp(properties[i].name, text, len) != 0)
            continue;
        if (text[len])
            return set(&properties[i], h, text + len + 1);
        log_error("setting \"%s\" has no value", text);
        log_hint("Write NAME=VALUE.");
        return false;
    }
    return unknown(text, len);
}
