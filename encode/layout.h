/*
 * layout - what is worked out once per relation so that it need not be per row.
 *
 * For each printed column the bytes `,"name":` and the writer of its type.  Kept per
 * relation->index and made anew when relation->version has changed.
 */
#ifndef ENCODE_LAYOUT_H
#define ENCODE_LAYOUT_H

#include "base/buf.h"
#include "cdcdump.h"
#include "encode/value.h"

struct layout_column {
    uint32_t prefix; /* of `,"name":` in layout.prefixes */
    uint32_t prefix_len;
    uint16_t index; /* of the column in rows */
    bool key;
    struct rule rule;
};

struct layout {
    uint32_t version; /* of the relation it was made for; 0 = never */
    const struct relation *relation;
    struct layout_column *columns; /* the printed ones */
    uint16_t ncolumns;
    uint16_t key_end; /* behind the last one of the key */
    bool has_key;
    struct buf prefixes;
    struct buf table; /* the envelope's fragment that names the table */
    struct buf rows;  /* its fragment for rows of a snapshot, */
    uint32_t rows_of; /* of that one; 0 = none yet */
    enum row_mark rows_mark;
    int branch;       /* Avro: which schema of a union is the table's */
    uint64_t changes; /* of the open transaction, for its END record */
};

/* All relations' layouts. */
struct layouts {
    struct layout *by_index;
    uint32_t count;
    void (*init_rule)(struct rule *r, const struct type *type, int32_t typmod,
                      const struct handling *h);
    const struct handling *handling;
};

void layouts_init(struct layouts *ls,
                  void (*init_rule)(struct rule *r, const struct type *type, int32_t typmod,
                                    const struct handling *h),
                  const struct handling *h);
void layouts_release(struct layouts *ls);

/*
 * The layout of a described relation, made or renewed if need be; *fresh tells the caller to fill
 * in layout->table.  Stays valid until the next call for another relation.
 */
struct layout *layouts_get(struct layouts *ls, const struct relation *r, bool *fresh);

/* All of them are made anew when they are asked for next: what envelopes have put in is out of date. */
void layouts_forget(struct layouts *ls);

/* A layout that is in no list: like one of ls, with nothing in it of the envelope's. */
void layout_init(struct layout *l, const struct relation *r, const struct layouts *ls);
void layout_release(struct layout *l);

enum row_part { ROW_ALL, ROW_KEY };

/*
 * Appends a row as a JSON object: all printed columns that were sent, or those of the key.  An
 * unchanged value that nothing fills becomes the placeholder.  scratch is used for the text of
 * binary values.  False when a value cannot be written: logged, with table, column and lsn.
 */
bool layout_add_row(const struct layout *l, const struct value *row, enum row_part part,
                    struct buf *b, struct buf *scratch, lsn_t lsn);

/*
 * The server's text of a value that was sent (VALUE_TEXT or VALUE_BINARY): borrows from the value,
 * or from scratch.  False when it cannot be had: logged.
 */
bool layout_text(const struct layout *l, const struct layout_column *c, const struct value *v,
                 struct buf *scratch, lsn_t lsn, struct slice *text);

/* Says that a value cannot be written, and why; returns false. */
bool layout_cannot_write(const struct layout *l, const struct layout_column *c, lsn_t lsn,
                         const char *why);

/* Likewise where the text is not valid UTF-8, with what can be done about it. */
bool layout_not_utf8(const struct layout *l, const struct layout_column *c, lsn_t lsn);

#endif
