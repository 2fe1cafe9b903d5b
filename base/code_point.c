#include "base/code_point.h"

char *code_point_put(char *to, uint32_t code)
{
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    unsigned more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

    *to++ = (char)(heads[more] | code >> 6 * more);
    while (more-- > 0)
        *to++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return to;
}

void code_point_add(struct buf *b, uint32_t code)
{
    char *at = buf_reserve(b, 4);

    buf_written(b, code_point_put(at, code));
}

uint32_t code_point_take(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    unsigned more = *p < 0xc0 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
    uint32_t code = more ? *p & (0x3fu >> more) : *p;

    for (p++; more > 0 && (*p & 0xc0) == 0x80; p++, more--)
        code = code << 6 | (*p & 0x3fu);
    *text = (const char *)p;
    return code;
}
