/*
 * findings - what --check has found, and how it is printed.
 *
 * A finding is a line: "ok: REASON", "warning: REASON; remedy: REMEDY" or "error: REASON; remedy:
 * REMEDY".  A remedy is there to be copied: SQL that ends in a semicolon, an option, or a sentence
 * where it is neither.  Findings are added in the order in which a capture would meet them, so that
 * the first error tells how that would end, and printed by part.
 *
 * What the capture's own functions log while they look becomes findings, too: the message is the
 * reason, with its details in parentheses, and the hint is the remedy.
 *
 * None is printed twice, whatever came between.  Control characters of names are printed as spaces,
 * and a remedy in SQL that has some is left out: copied, it would be about another name.
 */
#ifndef ACTIONS_FINDINGS_H
#define ACTIONS_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "cdcdump.h"

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_ERROR };

/* In the order in which they are printed. */
enum finding_part {
    PART_CONNECTION,
    PART_SERVER,
    PART_ROLE,
    PART_PLUGIN,
    PART_PUBLICATION,
    PART_TABLES,
    PART_SLOT,
    PART_STATE,
    PART_OUTPUT,
    PARTS,
};

struct finding {
    enum finding_level level;
    enum finding_part part;
    char *reason;
    char *remedy; /* NULL = none is known */
};

struct findings {
    struct finding *list;
    size_t count;
    enum outcome outcome;   /* of the first error: that of a capture; OUTCOME_OK = there is none */
    enum finding_part part; /* of what is logged now */
    size_t heard;           /* count when that began */
};

void findings_init(struct findings *f);
void findings_release(struct findings *f);

#define FINDING_PRINTF(n) __attribute__((format(printf, n, n + 1)))

/* remedy: copied; NULL = none. */
FINDING_PRINTF(3)
void findings_ok(struct findings *f, enum finding_part part, const char *fmt, ...);
FINDING_PRINTF(4)
void findings_warn(struct findings *f, enum finding_part part, const char *remedy, const char *fmt,
                   ...);

/* A capture would end with that outcome. */
FINDING_PRINTF(5)
void findings_fail(struct findings *f, enum finding_part part, enum outcome outcome,
                   const char *remedy, const char *fmt, ...);

/* From now on errors and warnings that are logged are findings of that part. */
void findings_listen(struct findings *f, enum finding_part part);

/* No more: what was asked has had that outcome, which is returned. */
enum outcome findings_heed(struct findings *f, enum outcome outcome);

/*
 * Likewise, of what a capture does not ask: a refusal is a warning and ends nothing.  False where
 * there was no answer.
 */
bool findings_excuse(struct findings *f, enum outcome outcome);

/* The last error that was heard, NULL where there was none. */
struct finding *findings_heard(const struct findings *f);

/* Another remedy, or reason, than was logged; takes the text over. */
void finding_set_remedy(struct finding *finding, char *remedy);
void finding_set_reason(struct finding *finding, char *reason);

/*
 * What has been found since there were `count` does not end the capture: errors become warnings,
 * and the outcome is what it was before.
 */
void findings_demote(struct findings *f, size_t count, enum outcome before);

/* Writes them to standard output.  OUTCOME_OUTPUT_FAILED is logged. */
enum outcome findings_print(const struct findings *f);

#endif
