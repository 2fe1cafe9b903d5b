#include "cli/variables.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

/* A path as it is meant in the file at `base`. */
static char *path_beside(const char *base, const char *path)
{
    const char *slash = strrchr(base, '/');

    if (*path == '/' || !slash)
        return xstrdup(path);
    return xasprintf("%.*s/%s", (int)(slash - base), base, path);
}

/* text is PATH:KEY. */
static bool add_from_file(struct buf *to, const char *base, const char *text)
{
    const char *colon = strchr(text, ':');
    struct properties file;
    const struct property *found;
    char *path, *beside;

    if (!colon || colon == text || !colon[1]) {
        log_error("invalid variable \"${file:%s}\": must be ${file:PATH:KEY}", text);
        return false;
    }
    path = xstrndup(text, (size_t)(colon - text));
    beside = path_beside(base, path);
    free(path);
    if (!properties_read(&file, beside, NULL)) {
        free(beside);
        return false;
    }
    found = properties_find(&file, colon + 1);
    if (found)
        buf_add_str(to, found->value);
    else
        log_error("\"%s\" has no key \"%s\"", beside, colon + 1);
    properties_release(&file);
    free(beside);
    return found;
}

static bool add_from_environment(struct buf *to, const char *name)
{
    const char *value = getenv(name);

    if (value)
        buf_add_str(to, value);
    else
        log_error("the environment has no variable \"%s\"", name);
    return value;
}

/* inner is what stands between the braces. */
static bool add_variable(struct buf *to, const struct properties *p, const char *inner,
                         bool *secret)
{
    if (strncmp(inner, "env:", 4) == 0)
        return add_from_environment(to, inner + 4);
    if (strncmp(inner, "file:", 5) == 0) {
        *secret = true;
        return add_from_file(to, p->path, inner + 5);
    }
    log_error("unknown provider \"%.*s\" in \"${%s}\": must be one of file, env",
              (int)strcspn(inner, ":"), inner, inner);
    return false;
}

bool variables_resolve(const struct properties *p, const struct property *property, char **value,
                       bool *secret)
{
    const char *at = property->value;
    struct buf b;
    bool done = true;

    *secret = false;
    buf_init(&b, 64);
    while (*at && done) {
        const char *end = strncmp(at, "${", 2) == 0 ? strchr(at, '}') : NULL;
        char *inner = end ? xstrndup(at + 2, (size_t)(end - at) - 2) : NULL;

        if (inner && strchr(inner, ':')) {
            done = add_variable(&b, p, inner, secret);
            at = end + 1;
        } else {
            buf_add_char(&b, *at++);
        }
        free(inner);
    }
    *value = done ? xstrndup(b.data, b.len) : NULL;
    buf_release(&b);
    return done;
}
