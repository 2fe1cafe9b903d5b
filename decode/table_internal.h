/*
 * table_internal - what is known of a table, for the two halves of table.h: table.c lays messages onto
 * it, table_look.c makes it out of a message and the catalogs.
 */
#ifndef DECODE_TABLE_INTERNAL_H
#define DECODE_TABLE_INTERNAL_H

#include "base/clock.h"
#include "decode/table.h"

/* A column as messages name it. */
struct named_column {
    char *name;
    uint32_t name_len;
    char *type; /* as sent last; NULL = not yet */
    uint32_t type_len;
    uint32_t type_oid; /* likewise; 0 = not said */
    uint16_t position; /* among the relation's columns */
    uint16_t number_in_table; /* 0 = not known */
    uint32_t since;    /* the transaction that has made it what it is, as the catalogs say; ... */
    bool settled;      /* ... which is known to have ended before */
    bool left_out;     /* has no place among them */
    bool undescribed;  /* the catalogs do not have it (any more) */
    bool identity;
    bool candidate;
    bool nullable;
    bool toastable;
    bool number;
    bool warned; /* a lost value has been warned about */
};

/* A table under the name that messages have for it. */
struct table {
    char *schema;
    char *name;
    uint32_t schema_len;
    uint32_t name_len;
    struct relation *relation; /* that its rows are given as; NULL until looked at */
    uint32_t version;          /* of the relation, that the columns here were made for */
    struct description described; /* what the catalogs said last */
    bool looked;
    uint32_t generation;       /* when that was taken into account last, */
    uint32_t epoch;            /* likewise */
    uint32_t suspicions;
    uint64_t transaction;      /* and in which transaction */
    uint32_t own_oid;
    bool elsewhere;
    bool captured;
    bool full;  /* old rows are whole, but for nulls */
    bool full_for_sure; /* ... and were when the change was made */
    uint32_t since;     /* the transaction that has written what the catalogs say of the identity */
    unsigned shows; /* how often they have shown one: two different keys tell little, many nothing */
    bool shown; /* messages have had another replica identity than the catalogs */
    struct named_column *columns; /* in the order of messages */
    uint16_t ncolumns;
};

/* A look into the catalogs: transactions before floor had ended, those from ceiling on not begun. */
struct horizon {
    uint32_t floor;
    uint32_t ceiling;
};

enum { HORIZONS = 16, ENDED = 4096, SHOWS_MAX = 4 };

struct tables {
    unsigned ways;
    struct table **all;
    uint32_t count;
    struct table **buckets; /* open addressing; NULL = free */
    uint32_t nbuckets;      /* a power of two, or 0 */
    struct table *last;
    uint32_t generation; /* counts up every DOUBT_USEC */
    uint32_t epoch;      /* counts up every REFRESH_USEC */
    uint32_t suspicions; /* transactions without rows so far */
    bool warned; /* that a null may be a lost number */
    usec_t since;        /* ticks when they counted up last */
    usec_t epoch_since;
    usec_t refresh_credit; /* time that may be spent on looks without need, as of ... */
    usec_t credited_at;
    uint64_t transactions; /* begun so far */
    struct horizon horizons[HORIZONS]; /* the last ones, in turn */
    uint32_t nhorizons;
    uint32_t ended[ENDED]; /* transactions that the stream has had last, in turn */
    uint32_t nended;
    uint32_t nameless;   /* OIDs given to tables that are no more */
};

void table_clear_columns(struct table *t);

/*
 * Whether transaction `since`, which has changed a table's definition, had ended before the one at
 * hand has changed the table.  That its number is smaller does not tell: it may have ended later.
 * Ended before it in the stream it has, as the one waits for the other's lock.
 */
bool table_had_ended(const struct tables *ts, const struct decoder *d, uint32_t since);

/* Whether what the catalogs have said is from after the end of the transaction at hand. */
bool table_is_fresh(const struct table *t, const struct decoder *d);

/*
 * Asks the catalogs, unless that is fresh, and makes the relation that the message needs; *t is then as of now.  alone: of the
 * columns that message alone is to say what they are, as it cannot be brought together with the rest.
 */
enum outcome table_look(struct tables *ts, struct table *t, struct decoder *d,
                        const struct sent_change *c, bool alone);

#endif
