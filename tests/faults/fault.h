/*
 * fault - faults at single system calls of a program, armed from outside while it runs.
 *
 * A shared object for LD_PRELOAD.  CDCTEST_FAULT_CONTROL names a file, struct fault_control, that
 * is mapped by the program and written by the test (tests/lib/CdcTest/Faults.pm knows the same
 * layout; all numbers are in the machine's byte order).  Only a program with the name that is in it
 * takes part; it takes the variables out of its environment, so that what it starts is let alone,
 * unless `children` is set.
 *
 * calls.c stands before the functions of the C library.  Each asks fault_enter() what is to happen,
 * makes the system call itself, without the C library's own function, and tells fault_leave().
 * Nothing here allocates memory, and errno is that of the call.
 */
#ifndef TESTS_FAULTS_FAULT_H
#define TESTS_FAULTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The order is that of Faults.pm: the number of a call is its bit in fault_rule.calls. */
enum fault_call {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_READ,
    CALL_WRITE,
    CALL_PREAD,
    CALL_PWRITE,
    CALL_WRITEV,
    CALL_SEND,
    CALL_RECV,
    CALL_FSYNC,
    CALL_FDATASYNC,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_FTRUNCATE,
    CALL_MKDIR,
    CALL_LINK,
    CALL_LSEEK,
    CALL_STAT,
    CALL_FSTAT,
    CALL_ACCESS,
    CALL_POLL,
    CALL_FCNTL,
    CALL_IOCTL,
    CALL_CONNECT,
    CALL_SOCKET,
    CALL_FORK,
    CALL_EXEC,
    CALL_SPAWN,
    CALL_WAITPID,
    CALL_PIPE,
    CALL_DUP,
    CALL_KILL,
    CALL_NANOSLEEP,
    CALL_SYNC_FILE_RANGE,
    CALL_FALLOCATE,
    CALLS
};

enum fault_action {
    ACTION_WATCH,       /* nothing: the call is only counted */
    ACTION_ERROR,       /* not made; -1 with errno arg.  close() is made: there is no other way */
    ACTION_ERROR_AFTER, /* made, and said to have failed with errno arg */
    ACTION_SHORT,       /* of at most arg bytes */
    ACTION_KILL_BEFORE,
    ACTION_KILL_AFTER,
    ACTION_KILL_TORN, /* after half of the bytes */
    ACTION_SIGNAL,    /* arg is raised before */
    ACTION_DELAY,     /* arg nanoseconds before */
    ACTION_CUT,       /* the connection is shut down in both directions before */
};

enum {
    FAULT_RULES = 32,
    FAULT_PATHS = 4,
    FAULT_PATH_SIZE = 128,
    FAULT_TRACE_START = 36864, /* in the file: a whole page */
    FAULT_TRACE_SIZE = 64 * 1024 * 1024,
};

#define FAULT_MAGIC UINT64_C(0x31544c5541464443) /* "CDFAULT1" */

/* 1024 bytes.  seen, fired, last_call and last_path are the program's, the others the test's. */
struct fault_rule {
    uint64_t armed;
    uint64_t calls; /* set of bits: 1 << enum fault_call */
    uint64_t action;
    int64_t arg;
    uint64_t nth;   /* from that matching call on, the first is 1, */
    uint64_t times; /* so often in all; 0 = for ever, */
    uint64_t every; /* each so manieth only */
    uint64_t seen;
    uint64_t fired;
    uint64_t last_call;
    char paths[FAULT_PATHS][FAULT_PATH_SIZE]; /* one of them is part of the path; none = any path */
    char except[FAULT_PATH_SIZE];             /* that is not */
    char last_path[256];
    uint64_t fd; /* only calls of that descriptor, 0 = of any */
    char unused[40];
};

/* 1024 bytes, then the rules, and from FAULT_TRACE_START on the trace. */
struct fault_control {
    uint64_t magic;
    uint64_t pid;      /* of the program that has come last */
    uint64_t attached; /* how many have come */
    uint64_t children;
    int64_t realtime; /* nanoseconds to be added to that clock, */
    int64_t monotonic;
    uint64_t trace;      /* 1 = on */
    uint64_t trace_data; /* with so many bytes of what is written or sent */
    uint64_t trace_at;   /* bytes of the trace that are taken */
    uint64_t trace_lost; /* calls that had no room */
    char program[64];    /* base name */
    uint64_t counts[64]; /* by enum fault_call */
    char unused[368];
    struct fault_rule rules[FAULT_RULES];
};

/* One call in the trace; path, path2 and data follow, then up to 7 bytes of padding. */
struct fault_entry {
    uint32_t length; /* with all of that; written last, 0 = not yet */
    uint32_t call;
    uint64_t nth; /* among those of its name */
    uint64_t at;  /* nanoseconds of CLOCK_MONOTONIC */
    int64_t result;
    uint64_t size;
    int64_t offset; /* at which was read or written; -1 = there is none */
    uint32_t pid;
    int32_t fd;
    int32_t error;
    uint32_t flags; /* of open; command of fcntl and ioctl */
    uint32_t rule;  /* that fired, from 1; 0 = none */
    uint16_t path_length;
    uint16_t path2_length;
    uint32_t data_length;
    uint32_t unused;
};

/* A call that is being made.  calls.c fills in what there is; fd is -1 where there is none. */
struct fault {
    enum fault_call call;
    int fd;
    const char *path, *path2;
    const void *data;
    size_t size; /* fault_enter() makes it smaller for a short call */
    int64_t offset;
    int flags;
    /* fault_enter()'s: */
    uint64_t nth;
    uint32_t rule;
    enum fault_action action;
    int64_t arg;
    char resolved[256];
};

#define FAULT_HIDDEN __attribute__((visibility("hidden")))

/* False: the call is not to be made, and has failed with errno. */
FAULT_HIDDEN bool fault_enter(struct fault *f);

/* What the call is to return. */
FAULT_HIDDEN long fault_leave(struct fault *f, long result);

/* Nanoseconds to be added to a clock. */
FAULT_HIDDEN int64_t fault_clock_offset(int clock);

#endif
