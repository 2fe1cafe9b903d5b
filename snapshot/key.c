#include "snapshot/key.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void key_release(struct key *k)
{
    for (uint16_t i = 0; i < k->n; i++) {
        free(k->columns[i].name);
        free(k->columns[i].type);
        free(k->columns[i].collation);
    }
    free(k->columns);
    free(k->positions);
    *k = (struct key){0};
}

void bound_release(struct bound *b)
{
    for (uint16_t i = 0; i < b->n; i++)
        free(b->values[i]);
    free(b->values);
    *b = (struct bound){0};
}

struct bound bound_copy(const struct bound *b)
{
    struct bound copy = {.kind = b->kind, .n = b->n};

    if (b->n)
        copy.values = xcalloc(b->n, sizeof *copy.values);
    for (uint16_t i = 0; i < b->n; i++)
        copy.values[i] = xstrdup(b->values[i]);
    return copy;
}

struct bound bound_of_row(const struct value *row, const uint16_t *positions, uint16_t n)
{
    struct bound b = {.kind = BOUND_KEY, .n = n, .values = xcalloc(n, sizeof *b.values)};

    for (uint16_t i = 0; i < n; i++)
        b.values[i] = xstrndup(row[positions[i]].data, row[positions[i]].len);
    return b;
}

static int find_column(const struct relation *r, const char *name)
{
    for (int i = 0; i < r->ncolumns; i++)
        if (strcmp(r->columns[i].name, name) == 0)
            return i;
    return -1;
}

bool key_locate(struct key *k, const struct relation *r)
{
    if (k->of == r && k->version == r->version)
        return true;
    if (!k->positions)
        k->positions = xcalloc(k->n, sizeof *k->positions);
    for (uint16_t i = 0; i < k->n; i++) {
        int at = find_column(r, k->columns[i].name);

        if (at < 0) {
            log_error("column \"%s\", which the rows of table \"%s.%s\" are read in the order of, is "
                      "missing in its changes",
                      k->columns[i].name, r->schema, r->name);
            log_hint("Begin anew with another slot and without the state file.");
            return false;
        }
        k->positions[i] = (uint16_t)at;
    }
    k->of = r;
    k->version = r->version;
    return true;
}

/* ---- comparing ---- */

/* Sign of a whole number's text, and its digits without leading zeros. */
static int split_number(const char **digits, size_t *len)
{
    int sign = 1;

    if (*len > 0 && **digits == '-') {
        sign = -1;
        (*digits)++;
        (*len)--;
    }
    while (*len > 0 && **digits == '0') {
        (*digits)++;
        (*len)--;
    }
    return *len == 0 ? 0 : sign;
}

static int compare_numbers(const char *a, size_t na, const char *b, size_t nb)
{
    int sign_a = split_number(&a, &na), sign_b = split_number(&b, &nb);

    if (sign_a != sign_b || sign_a == 0)
        return sign_a - sign_b;
    if (na != nb)
        return na < nb ? -sign_a : sign_a;
    return sign_a * memcmp(a, b, na);
}

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);

    return order != 0 ? order : na < nb ? -1 : na > nb;
}

static int compare(const struct key_column *c, const struct value *v, const char *bound)
{
    size_t len = strlen(bound);

    return c->order == ORDER_NUMBER ? compare_numbers(v->data, v->len, bound, len)
                                    : compare_bytes(v->data, v->len, bound, len);
}

bool key_within(const struct key *k, const struct value *row, const struct bound *b,
                struct comparer *comparer)
{
    if (b->kind != BOUND_KEY)
        return b->kind == BOUND_END;
    for (uint16_t i = 0; i < k->n; i++)
        if (row[k->positions[i]].kind == VALUE_NULL)
            return false;
    if (!k->plain && comparer->collect)
        comparer->ask(comparer->arg, k, row, b);
    if (!k->plain)
        return comparer->collect ? false : comparer->answer(comparer->arg, k);
    for (uint16_t i = 0; i < k->n; i++) {
        int order = compare(&k->columns[i], &row[k->positions[i]], b->values[i]);

        if (order != 0)
            return order < 0;
    }
    return true;
}
