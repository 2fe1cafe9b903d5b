#include "base/lsn.h"

#include <ctype.h>
#include <stdlib.h>

/* Reads 1 to 8 hexadecimal digits; NULL when there are none or more. */
static const char *parse_half(const char *p, uint32_t *half)
{
    char *end;

    if (!isxdigit((unsigned char)*p))
        return NULL;
    *half = (uint32_t)strtoul(p, &end, 16);
    return end - p <= 8 && p[1] != 'x' && p[1] != 'X' ? end : NULL;
}

bool lsn_parse(const char *text, lsn_t *lsn)
{
    uint32_t high, low;
    const char *p = parse_half(text, &high);

    if (!p || *p != '/')
        return false;
    p = parse_half(p + 1, &low);
    if (!p || *p != '\0')
        return false;
    *lsn = (lsn_t)high << 32 | low;
    return true;
}
