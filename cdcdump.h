/*
 * cdcdump.h - the vocabulary that every part of cdcdump shares.
 *
 * A change walks through the program one way:
 *
 *     source/  bytes of one replication message            (stream.h)
 *     decode/  those bytes -> struct event                 (pgoutput.h)
 *     encode/  struct event -> bytes of records            (encoder.h)
 *     deliver/ bytes -> output -> state file -> server     (delivery.h)
 *
 * This header holds the nouns of that walk and nothing that does work.  It depends on no other
 * header of cdcdump; every other one may include it.
 *
 * Units, everywhere: an LSN is a byte position in the write-ahead log; a time is a count of
 * microseconds since 1970-01-01 00:00:00 UTC; a length is a count of bytes.
 */
#ifndef CDCDUMP_H
#define CDCDUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CDCDUMP_VERSION "1.0.0"

/* ---- WAL positions ---- */

typedef uint64_t lsn_t; /* 0 (written 0/0) is "no position" */

#define LSN_FMT "%X/%X"
#define LSN_ARGS(lsn) (unsigned)((lsn) >> 32), (unsigned)(lsn)

typedef int64_t usec_t;

/* ---- how a part of the program, and in the end the program, came out ---- */

/*
 * What goes up from a function that can fail in more than one way.  The cause has been logged
 * where it was found; callers pass the outcome on or act on it, they do not log it again.
 */
enum outcome {
    OUTCOME_OK,
    OUTCOME_FAILED,        /* none of the following */
    OUTCOME_MISUSED,       /* options, configuration, state file, privileges, server settings */
    OUTCOME_UNAVAILABLE,   /* server, slot or state file is not available now: worth a retry */
    OUTCOME_POSITION_LOST, /* the slot cannot give the changes after our position */
    OUTCOME_OUTPUT_FAILED, /* the output did not take what it was given */
    OUTCOME_OUTPUT_CLOSED, /* the reader of the output pipe has gone */
    OUTCOME_STOPPED,       /* a signal asked for the end */
    OUTCOME_COLUMNS_CHANGED, /* what the output has begun with does not fit what comes now */
};

/* ---- types, columns, relations ---- */

/* How the text of a value is to be read; chosen once per type, see source/catalog.h. */
enum type_kind {
    TYPE_TEXT, /* whatever has no kind of its own: the server's text */
    TYPE_BOOL,
    TYPE_INTEGER,
    TYPE_FLOAT,
    TYPE_NUMERIC,
    TYPE_JSON,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_TIMESTAMPTZ,
    TYPE_INTERVAL,
    TYPE_BYTEA,
    TYPE_ARRAY,
    TYPE_HSTORE,
    /* from here on the text of all is simply that, but other forms tell them apart */
    TYPE_TIMETZ,
    TYPE_BIT, /* bit and bit varying */
    TYPE_MONEY,
    TYPE_POINT,
    TYPE_UUID,
    TYPE_ENUM,
    TYPE_OTHER, /* what Debezium has no form for: composite types, circles, tsquery, … */
    TYPE_KINDS,
};

/* What a type's send function makes of a value (-o binary=true); see binary/binary.h. */
enum binary_form {
    BINARY_UNKNOWN,        /* no send function, or one that cdcdump has not learned to read */
    BINARY_TEXT,           /* the text itself; of an enum its label */
    BINARY_VERSIONED_TEXT, /* a version byte, then the text */
    BINARY_BOOL,
    BINARY_CHAR, /* "char", one byte */
    BINARY_INT2,
    BINARY_INT4,
    BINARY_INT8,
    BINARY_UINT4, /* oid, xid, cid */
    BINARY_UINT8, /* xid8 */
    BINARY_FLOAT4,
    BINARY_FLOAT8,
    BINARY_NUMERIC,
    BINARY_MONEY,
    BINARY_DATE,
    BINARY_TIME,
    BINARY_TIMETZ,
    BINARY_TIMESTAMP,
    BINARY_TIMESTAMPTZ,
    BINARY_INTERVAL,
    BINARY_BYTEA,
    BINARY_BIT, /* bit and bit varying */
    BINARY_UUID,
    BINARY_INET, /* inet and cidr */
    BINARY_MACADDR,
    BINARY_MACADDR8,
    BINARY_POINT,
    BINARY_LSEG,
    BINARY_BOX,
    BINARY_LINE,
    BINARY_PATH,
    BINARY_POLYGON,
    BINARY_CIRCLE,
    BINARY_LSN,
    BINARY_TID,
    BINARY_SNAPSHOT,
    BINARY_ARRAY,
    BINARY_INT2VECTOR,
    BINARY_OIDVECTOR,
    BINARY_HSTORE,
    BINARY_TSVECTOR,
};

/* A type as values are formatted: domains are already resolved to their base type. */
struct type {
    uint32_t oid; /* of the base type, so that equal oid means equal wire format */
    enum type_kind kind;
    enum binary_form binary;    /* what it is sent as with -o binary=true */
    char delimiter;             /* arrays: between elements, ',' but for box */
    int32_t typmod;             /* domains: what they are declared with; -1 = nothing */
    const struct type *element; /* arrays: type of the elements, else NULL */
};

/* One column of one relation, in the order in which tuples carry them. */
struct column {
    char *name;
    uint32_t type_oid; /* as declared, before domains are resolved */
    int32_t typmod;
    bool identity;           /* part of the replica identity, as the server says */
    bool key;                /* part of the record's key: see relation.h */
    bool excluded;           /* by --exclude-column: never printed */
    const struct type *type; /* owned by the catalog; NULL until described */
    char *type_name;         /* as format_type() writes it; NULL unless asked for */
};

/*
 * A table as the stream described it last.  Owned by the decoder's relation cache, which gives
 * a relation the same `index` for ever and a new `version` whenever its description changes, so
 * that others can keep what they worked out for (index, version).
 */
struct relation {
    uint32_t oid;
    char *schema;
    char *name;
    char identity; /* replica identity: d(efault) n(othing) f(ull) i(ndex) */
    uint16_t ncolumns;
    struct column *columns;
    uint32_t index;   /* dense, from 0, per relation cache */
    uint32_t version; /* from 1, unique over the whole cache */
    bool described;   /* the catalog has filled in type, key, excluded, captured */
    bool captured;    /* selected by -n -N -t -T */
};

/* ---- values, rows, changes ---- */

/* Borrowed text, not NUL-terminated. */
struct slice {
    const char *data;
    uint32_t len;
};

enum value_kind {
    VALUE_ABSENT,    /* not sent: a column outside of the key in an old-key row */
    VALUE_NULL,      /* SQL NULL */
    VALUE_UNCHANGED, /* an unchanged out-of-line (TOAST) value that the server did not send */
    VALUE_LOST,      /* one that the plugin could not send: nothing but this change had it */
    VALUE_TEXT,      /* the type's output function's text */
    VALUE_BINARY,    /* the type's send function's bytes */
};

/* Borrows from the message it was decoded from; not NUL-terminated. */
struct value {
    const char *data;
    uint32_t len;
    enum value_kind kind;
};

/* One transaction, known whole from its Begin on. */
struct transaction {
    uint32_t xid;
    lsn_t commit_lsn;      /* start of the commit record; 0 = not told, or not written: see prepared */
    lsn_t end_lsn;         /* end of the commit (or prepare) record; 0 = not known yet */
    lsn_t previous_commit; /* commit_lsn of the transaction before it in the stream; 0 = none */
    usec_t commit_time;    /* 0 = not told, or not yet */
    bool changed;    /* the stream has carried a change or message of it */
    const char *gid; /* two-phase transactions: global identifier, else NULL */
    bool prepared;   /* stands prepared: has no commit record yet, and may never have one */
};

enum old_row { OLD_NONE, OLD_KEY, OLD_FULL };

enum operation { OP_INSERT, OP_UPDATE, OP_DELETE, OP_TRUNCATE };

/* Flink's: what a record of one row says; an update can be two records. */
enum row_kind { RECORD_INSERT, RECORD_UPDATE_BEFORE, RECORD_UPDATE_AFTER, RECORD_DELETE };

/* What kind of snapshot a row was read by, as its record says. */
enum row_mark { ROW_CONSISTENT, ROW_LAST, ROW_INCREMENTAL };

/* One row change, or the truncation of one table.  Borrows everything. */
struct change {
    enum operation op;
    const struct relation *relation;
    lsn_t lsn; /* the change's own; 0 = not told */
    uint32_t seq; /* place in its transaction, from 1: (commit_lsn, seq) names it for ever */
    enum old_row old_kind;
    const struct value *old_row; /* relation->ncolumns values, or NULL */
    const struct value *new_row; /* likewise; unchanged values filled in where old_row has them */
};

/* A pg_logical_emit_message(). */
struct message {
    lsn_t lsn;    /* end of its record */
    uint32_t seq; /* as of a change; 0 outside of a transaction */
    bool transactional;
    const char *prefix; /* NUL-terminated */
    const char *content;
    uint32_t len;
};

/*
 * A point up to which output can be accepted: the end of a transaction, or a later point with
 * no captured change in between.  lsn is where to go on; the rest tells of the last transaction.
 */
struct position {
    lsn_t lsn;
    uint64_t rows; /* the snapshot's last step whose rows lie before; see snapshot/coverage.h */
    lsn_t commit_lsn;
    uint32_t xid;
    usec_t commit_time;
};

#endif
