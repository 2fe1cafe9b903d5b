#include "cli/value_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/log.h"

static const char blanks[] = " \t\n\r\f\v";

char *value_text_trim(const char *text)
{
    size_t n;

    text += strspn(text, blanks);
    for (n = strlen(text); n > 0 && strchr(blanks, text[n - 1]); n--)
        ;
    return xstrndup(text, n);
}

const struct key_word *value_text_word(const char *text, const struct key_word *words)
{
    for (; words->name; words++)
        if (strcasecmp(words->name, text) == 0)
            return words;
    return NULL;
}

char *value_text_list(const struct key_word *words)
{
    struct buf b;
    char *text;

    buf_init(&b, 128);
    for (; words->name; words++)
        if (words->value)
            buf_printf(&b, "%s%s", b.len ? ", " : "", words->name);
    text = xstrndup(b.data, b.len);
    buf_release(&b);
    return text;
}

/* Digits alone; false where they are none or more than fit. */
static bool take_digits(const char **text, uint64_t *n)
{
    const char *begin = *text;

    for (*n = 0; **text >= '0' && **text <= '9'; (*text)++) {
        if (*n > (UINT64_MAX - 9) / 10)
            return false;
        *n = *n * 10 + (uint64_t)(**text - '0');
    }
    return *text > begin;
}

bool value_text_number(const char *text, uint64_t least, uint64_t most, uint64_t *n)
{
    return take_digits(&text, n) && !*text && *n >= least && *n <= most;
}

bool value_text_duration(const char *text, uint64_t *usec)
{
    static const struct {
        const char *names; /* with blanks around each */
        uint64_t nsec;
    } units[] = {
        {" ns nano nanos nanosecond nanoseconds ", 1},
        {" µs micro micros microsecond microseconds ", 1000},
        {"  ms milli millis millisecond milliseconds ", 1000000},
        {" s sec secs second seconds ", 1000000000},
        {" min m minute minutes ", 60ull * 1000000000},
        {" h hour hours ", 3600ull * 1000000000},
        {" d day days ", 86400ull * 1000000000},
    };
    const uint64_t most = 1000000000ull * 1000000000;
    uint64_t n;

    if (!take_digits(&text, &n))
        return false;
    text += strspn(text, blanks);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        char unit[20];

        snprintf(unit, sizeof unit, " %s ", text);
        if (strlen(text) + 2 >= sizeof unit || strpbrk(text, blanks) ||
            !strcasestr(units[i].names, unit))
            continue;
        if (n > most / units[i].nsec)
            return false;
        *usec = (n * units[i].nsec + 999) / 1000;
        return true;
    }
    return false;
}

char *value_text_seconds(uint64_t usec)
{
    unsigned long long whole = usec / 1000000, rest = usec % 1000000;

    return rest ? xasprintf("%llu.%06llu", whole, rest) : xasprintf("%llu", whole);
}
