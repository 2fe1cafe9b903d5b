/*
 * parsed - the command line as it was typed, and the one pass that checks it.
 *
 * Between options.c, which reads words, and the const struct options that everybody else sees.
 */
#ifndef CLI_PARSED_H
#define CLI_PARSED_H

#include "cli/options.h"

/* What parsing needs beside the struct that is handed out. */
struct parsed {
    struct options o;
    struct string_list settings;
    bool verbose, quiet;
    bool snapshot_given, jobs_given, chunk_size_given;
    bool changelog_given, types_given, codec_given;
    const char *key_delimiter; /* as typed, */
    const char *rotate;        /* likewise, */
    const char *catch_up;      /* likewise, */
    const char *ack_fd;        /* likewise */
    bool per_table, batch_given;
};

/*
 * Checks everything that can be checked without a server, and fills in what follows from other
 * options.  False: something is wrong and has been said.
 */
bool parsed_check(struct parsed *p);

#endif
