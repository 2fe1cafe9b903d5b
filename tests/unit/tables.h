/*
 * tables - a small catalog for tests of decode/table.c, and plugins' rows of its tables.
 *
 * The catalog is a plain value, so that a test can keep one for every moment of a history.  It is
 * described as source/catalog.c describes the server's.  A dress is what a plugin's messages say of
 * a row beside its values: the types in one way or another, the old row with or without its nulls.
 */
#ifndef TESTS_UNIT_TABLES_H
#define TESTS_UNIT_TABLES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "decode/table.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- types ---- */

struct fake_type {
    const char *name;     /* with its quotes */
    const char *modified; /* the same with a modifier: a format for one number or two */
    uint32_t oid;
    bool toastable;
    bool number;
};

enum { T_INTEGER, T_BIGINT, T_TEXT, T_VARCHAR, T_NUMERIC, T_DOUBLE, T_TIMESTAMP, T_ENUM, T_ARRAY };

static const struct fake_type fake_types[] = {
    [T_INTEGER] = {"integer", NULL, 23, false, false},
    [T_BIGINT] = {"bigint", NULL, 20, false, false},
    [T_TEXT] = {"text", NULL, 25, true, false},
    [T_VARCHAR] = {"character varying", "character varying(%d)", 1043, true, false},
    [T_NUMERIC] = {"numeric", "numeric(%d,%d)", 1700, true, true},
    [T_DOUBLE] = {"double precision", NULL, 701, false, true},
    [T_TIMESTAMP] = {"timestamp without time zone", "timestamp(%d) without time zone", 1114, false,
                     false},
    [T_ENUM] = {"\"My Enum\"", NULL, 50001, false, false},
    [T_ARRAY] = {"\"My Enum\"[]", NULL, 50002, true, false},
};

/* The text of a type with a modifier, as format_type() gives it; typmod -1 = without. */
static inline char *type_text(int type, int32_t typmod)
{
    const struct fake_type *t = &fake_types[type];
    char text[64];

    if (typmod < 0 || !t->modified)
        return xstrdup(t->name);
    if (type == T_NUMERIC)
        snprintf(text, sizeof text, "numeric(%d,%d)", (typmod - 4) >> 16, (typmod - 4) & 0xffff);
    else if (type == T_VARCHAR)
        snprintf(text, sizeof text, "character varying(%d)", typmod - 4);
    else
        snprintf(text, sizeof text, "timestamp(%d) without time zone", typmod);
    return xstrdup(text);
}

static inline void without_quotes(char *text)
{
    char *out = text;

    for (; *text; text++)
        if (*text != '"')
            *out++ = *text;
    *out = '\0';
}

/* ---- tables ---- */

enum { FAKE_NAME = 24, FAKE_COLUMNS = 12, FAKE_TABLES = 8, FAKE_ATTNUMS = 32 };

struct fake_column {
    char name[FAKE_NAME];
    int type;
    int32_t typmod;
    bool not_null;
    bool computed_late;
    uint16_t attnum; /* from 1, below FAKE_ATTNUMS */
    uint32_t since;
};

/* Sets of columns are bits by attnum. */
struct fake_table {
    uint32_t oid; /* 0 = there is none */
    char schema[FAKE_NAME];
    char name[FAKE_NAME];
    char identity;
    uint32_t since;
    uint32_t parent; /* OID of the table that it is a partition of */
    bool partitioned;
    bool uncaptured;
    uint32_t primary;
    uint32_t unique; /* another unique index, not to speak of */
    bool chosen;     /* ... that is the replica identity where that is an index */
    uint16_t ncolumns;
    struct fake_column columns[FAKE_COLUMNS];
    uint16_t ndropped;
    struct dropped_column dropped[FAKE_ATTNUMS];
};

struct fake_catalog {
    struct fake_table tables[FAKE_TABLES];
    uint32_t floor, ceiling;
};

static inline const struct fake_table *fake_by_oid(const struct fake_catalog *c, uint32_t oid)
{
    for (size_t i = 0; oid && i < FAKE_TABLES; i++)
        if (c->tables[i].oid == oid)
            return &c->tables[i];
    return NULL;
}

static inline const struct fake_table *fake_by_name(const struct fake_catalog *c,
                                                    const char *schema, const char *name)
{
    for (size_t i = 0; i < FAKE_TABLES; i++)
        if (c->tables[i].oid && strcmp(c->tables[i].schema, schema) == 0 &&
            strcmp(c->tables[i].name, name) == 0)
            return &c->tables[i];
    return NULL;
}

/* The table that rows are given as. */
static inline const struct fake_table *fake_given(const struct fake_catalog *c,
                                                  const struct fake_table *t)
{
    while (t->parent)
        t = fake_by_oid(c, t->parent);
    return t;
}

static inline const struct fake_column *fake_column(const struct fake_table *t, const char *name)
{
    for (int i = 0; i < t->ncolumns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

/* The columns of the index that is the replica identity; none with FULL. */
static inline uint32_t fake_key(const struct fake_table *t)
{
    switch (t->identity) {
    case 'd':
        return t->primary;
    case 'i':
        return t->chosen ? t->unique : 0;
    default:
        return 0;
    }
}

static inline bool fake_is_identity(const struct fake_table *t, const struct fake_column *c)
{
    return t->identity == 'f' || (fake_key(t) & 1u << c->attnum) != 0;
}

/* As the catalogs are asked about a table. */
static inline void fake_describe(const struct fake_catalog *catalog, const char *schema,
                                 const char *name, struct description *d)
{
    const struct fake_table *own = fake_by_name(catalog, schema, name), *given;

    *d = (struct description){.floor = catalog->floor, .ceiling = catalog->ceiling};
    if (!own)
        return;
    given = fake_given(catalog, own);
    d->exists = true;
    d->uncaptured = given->uncaptured;
    d->oid = given->oid;
    d->schema = xstrdup(given->schema);
    d->name = xstrdup(given->name);
    d->identity = given->identity;
    d->elsewhere = given != own;
    d->own_identity = own->identity;
    d->since = own->since;
    d->own_oid = own->oid;
    d->ndropped = own->ndropped;
    d->dropped = xcalloc(own->ndropped, sizeof *d->dropped);
    memcpy(d->dropped, own->dropped, own->ndropped * sizeof *d->dropped);
    d->ncolumns = own->ncolumns;
    d->columns = xcalloc(own->ncolumns, sizeof *d->columns);
    for (int i = 0; i < own->ncolumns; i++) {
        const struct fake_column *c = &own->columns[i], *above = fake_column(given, c->name);

        d->columns[i] = (struct described_column){
            .name = xstrdup(c->name),

            .type_oid = fake_types[c->type].oid,
            .typmod = c->typmod,
            .type = type_text(c->type, c->typmod),
            .bare_type = type_text(c->type, -1),
            .position = above ? above->attnum : UINT16_MAX,
            .identity = above && fake_is_identity(given, above),
            .candidate = ((own->primary | own->unique) & 1u << c->attnum) != 0,
            .nullable = !c->not_null,
            .toastable = fake_types[c->type].toastable,
            .number = fake_types[c->type].number,
            .number_in_table = c->attnum,
            .since = c->since,
            .computed_late = c->computed_late,
        };
    }
}

/* The OID of the type that is written so; 0 = there is none. */
static inline uint32_t fake_type_oid(const char *type)
{
    char *text = xstrdup(type), *open, *close;
    uint32_t oid = 0;

    without_quotes(text);
    open = strchr(text, '(');
    close = open ? strchr(open, ')') : NULL;
    if (close)
        memmove(open, close + 1, strlen(close + 1) + 1);
    for (size_t i = 0; i < COUNT(fake_types); i++) {
        char *name = type_text((int)i, -1);

        without_quotes(name);
        if (strcmp(name, text) == 0)
            oid = fake_types[i].oid;
        free(name);
    }
    free(text);
    return oid;
}

/* ---- what a plugin says ---- */

struct dress {
    const char *name;
    unsigned ways;
    bool types;     /* of new rows, as text ... */
    bool modifiers; /* ... with their modifiers */
    bool unquoted;  /* ... and without quotes */
    bool oids;
    bool old_types; /* of old rows as well */
    bool nullables;
    bool old_nulls;   /* old rows of tables with identity FULL have their nulls */
    bool nan_is_null; /* numbers that are NaN */
    bool no_key_no_row; /* an update of a row without an identity is not sent, */
    bool no_key_no_end; /* and no deletion */
    bool truncates;
};

enum {
    TEST_DECODING,
    WAL2JSON_1,     /* format 1, without OIDs, as wal2json_rds has it */
    WAL2JSON_1_OID, /* format 1 */
    WAL2JSON_2,     /* format 2 */
    DECODERBUFS,
    DECODERBUFS_OLD, /* without the types' names */
    DRESSES
};

#define WAL2JSON_WAYS (TABLES_OMIT_UNCHANGED | TABLES_REPEAT_KEY)

static const struct dress dresses[DRESSES] = {
    [TEST_DECODING] = {.name = "test_decoding", .ways = TABLES_BARE_TYPES, .types = true,
                       .old_types = true, .truncates = true},
    [WAL2JSON_1] = {.name = "wal2json_rds", .ways = WAL2JSON_WAYS, .types = true,
                    .modifiers = true, .unquoted = true, .old_types = true, .nan_is_null = true,
                    .no_key_no_row = true, .no_key_no_end = true},
    [WAL2JSON_1_OID] = {.name = "wal2json 1", .ways = WAL2JSON_WAYS, .types = true,
                        .modifiers = true, .unquoted = true, .oids = true, .old_types = true,
                        .nullables = true, .nan_is_null = true, .no_key_no_row = true,
                        .no_key_no_end = true},
    [WAL2JSON_2] = {.name = "wal2json 2", .ways = WAL2JSON_WAYS, .types = true, .modifiers = true,
                    .unquoted = true, .oids = true, .old_types = true, .nullables = true,
                    .old_nulls = true, .nan_is_null = true, .no_key_no_row = true,
                    .no_key_no_end = true, .truncates = true},
    [DECODERBUFS] = {.name = "decoderbufs", .types = true, .modifiers = true, .oids = true,
                     .nullables = true, .no_key_no_row = true},
    [DECODERBUFS_OLD] = {.name = "decoderbufs 0.9", .oids = true, .no_key_no_row = true},
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, (uint32_t)strlen(text)};
}

/* What a message says of a column beside its value; type < 0 = nothing of its type. */
static inline struct sent_column say_column(const struct dress *dress, bool old, const char *name,
                                            int type, int32_t typmod, bool not_null,
                                            struct value value)
{
    struct sent_column c = {.name = slice_of(xstrdup(name)), .value = value};
    char *text;

    if (type >= 0 && (old ? dress->old_types : dress->types)) {
        text = type_text(type, dress->modifiers ? typmod : -1);
        if (dress->unquoted && text[strlen(text) - 1] != ']')
            without_quotes(text);
        c.type = slice_of(text);
    } else {
        c.type = slice_of(xstrdup(""));
    }
    if (type >= 0 && dress->oids)
        c.type_oid = fake_types[type].oid;
    if (dress->nullables && !old)
        c.nullable = not_null ? NULLABLE_NO : NULLABLE_YES;
    return c;
}

static inline void unsay_row(struct sent_row *row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        free((char *)(uintptr_t)row->columns[i].name.data);
        free((char *)(uintptr_t)row->columns[i].type.data);
        free((char *)(uintptr_t)row->columns[i].value.data);
    }
    row->n = 0;
}

#endif
