/*
 * table - tables and columns that a plugin names -> relations, and rows in the order of their columns.
 *
 * pgoutput describes a relation before its first row.  The other plugins name the table and the
 * columns in every message, with more or less of their types, and leave out what they please.  Here
 * such a row is laid onto a relation as pgoutput would have described it: the message says which
 * columns there were and what they hold; the catalogs, asked once per table and again when a message
 * does not fit what is known, say the rest (types that were not sent, type modifiers, the replica
 * identity, the partitioned table above).  The catalogs are as of now and the stream is as of then,
 * so where the two disagree the message is right.
 */
#ifndef DECODE_TABLE_H
#define DECODE_TABLE_H

#include "decode/decoder.h"

/* ---- what a message says ---- */

enum sent_nullable { NULLABLE_NOT_SAID, NULLABLE_NO, NULLABLE_YES };

struct sent_column {
    struct slice name; /* as it is in the catalogs: without quotes around it */
    struct slice type; /* as the plugin writes it, quotes and modifier and all; len 0 = not said */
    uint32_t type_oid; /* 0 = not said */
    enum sent_nullable nullable;
    struct value value; /* VALUE_TEXT (the output function's text), VALUE_NULL or VALUE_UNCHANGED */
};

/* Columns in the table's order; those that were not sent are not there. */
struct sent_row {
    struct sent_column *columns; /* room for RELATION_MAX_COLUMNS */
    uint32_t n;
};

struct sent_change {
    enum operation op; /* any but OP_TRUNCATE */
    lsn_t lsn;         /* the change's own; 0 = not said */
    struct slice schema;
    struct slice table;
    struct sent_row new_row; /* of an insert or update: all columns, but see TABLES_OMIT_UNCHANGED */
    bool old_sent;
    bool old_has_nulls;      /* of the old row's columns none is left out for being null */
    struct sent_row old_row; /* if old_sent; without old_has_nulls a null in it is a lost number */
};

struct sent_table {
    struct slice schema;
    struct slice table;
};

/* ---- what the catalogs say ---- */

struct described_column {
    char *name;
    uint32_t type_oid;
    int32_t typmod;
    char *type;         /* as format_type() writes it with its modifier */
    char *bare_type;    /* and without */
    uint16_t position;  /* among the columns of the table that the rows are given as */
    bool identity;      /* in the replica identity of that table */
    bool candidate;     /* in some index that could be a replica identity */
    bool nullable;
    bool toastable;     /* values can be stored out of line, and then be left out of an update */
    bool number;        /* numeric, float4 or float8 */
    uint16_t number_in_table; /* attnum of the table itself */
    uint32_t since;     /* the transaction that wrote what is known of it */
    bool computed_late; /* a virtual generated column: what is sent for it means nothing */
};

/* What is left of a column that has been dropped. */
struct dropped_column {
    uint16_t number_in_table;
    uint32_t since; /* the transaction that has dropped it */
};

/* A table by its name, as of now.  Strings and columns are owned: see description_release(). */
struct description {
    bool exists;
    bool uncaptured;    /* nobody asks for its changes */
    uint32_t oid;       /* of the table that the rows are given as: itself, or one above it */
    char *schema;       /* likewise */
    char *name;
    char identity;      /* likewise: d n f i */
    bool elsewhere;     /* it is a partition, and they are given as rows of a table above it */
    char own_identity;  /* of the table itself, which is what is logged */
    uint32_t since;     /* the transaction that wrote own_identity, or something else about it */
    uint32_t own_oid;
    uint32_t floor;     /* transactions before this one had ended when the catalogs were asked ... */
    uint32_t ceiling;   /* ... and those from this one on had not begun */
    uint16_t ncolumns;
    struct described_column *columns; /* in the order of the table itself */
    uint16_t ndropped;
    struct dropped_column *dropped;
};

void description_release(struct description *d);

/* Who looks tables and types up: source/catalog.h. */
struct describer {
    void *arg;
    /* Fills *d; exists = false where there is no such table (any more). */
    enum outcome (*describe)(void *arg, const char *schema, const char *table,
                             struct description *d);
    /* The OID of the type that is written so, with or without a modifier; 0 = there is none. */
    enum outcome (*find_type)(void *arg, const char *type, uint32_t *oid);
};

/* ---- from the one to the other ---- */

/* Ways of the plugin. */
enum tables_ways {
    TABLES_OMIT_UNCHANGED = 1, /* a value that an update left out of line is not in the message */
    TABLES_BARE_TYPES = 4,     /* types come without their modifiers */
    TABLES_REPEAT_KEY = 2,     /* an update has the key as old row even where it did not change */
};

struct tables;

struct tables *tables_new(unsigned ways); /* bits of enum tables_ways */
void tables_free(struct tables *ts);

/* What is known of tables may be out of date from the beginning of a transaction on ... */
void tables_transaction_begins(struct tables *ts);

/* ... and is, perhaps, after one that has changed no rows: it may have changed a table's columns. */
void tables_transaction_ends(struct tables *ts, uint32_t xid, bool changed);

/* Whether the change's table is captured: of others nothing need be said.  OUTCOME_OK, or logged. */
enum outcome tables_captured(struct tables *ts, struct decoder *d, const struct sent_change *c,
                             bool *captured);

/*
 * Makes *e the event of a change, with the rows in d->old_row and d->new_row.  Outcomes other than
 * OUTCOME_OK have been logged.
 */
enum outcome tables_change(struct tables *ts, struct decoder *d, const struct sent_change *c,
                           struct event *e);

/*
 * Makes *e the event of a truncation of n tables, or EVENT_NONE where none is left.  Partitions that are given as rows of a table above them are left out, as that one has not
 * been emptied.
 */
enum outcome tables_truncate(struct tables *ts, struct decoder *d, const struct sent_table *names,
                             uint32_t n, struct event *e);

#endif
