/*
 * metrics - the figures of a run in a file, for the textfile collector of Prometheus' node
 * exporter.
 *
 * Format: Prometheus' text exposition format, version 0.0.4.  Every sample has the labels slot and
 * database.  Units are bytes and seconds; what is not known is left out.
 *
 * The file is whole at any moment: it is written beside its place, under its name with ".tmp"
 * behind it, and renamed.  That name does not end in .prom, so no collector reads it; one that a
 * killed run has left is overwritten.  Its mode is 0644 whatever the umask is.  Only a regular file
 * is ever replaced.  That it cannot be written is a warning, once, and no more: capture goes on.
 */
#ifndef CAPTURE_METRICS_H
#define CAPTURE_METRICS_H

#include "cdcdump.h"

struct meter_figures;

struct metrics {
    const char *path; /* NULL = there is none */
    bool failing;     /* which has been said */
};

void metrics_write(struct metrics *m, const struct meter_figures *f);

#endif
