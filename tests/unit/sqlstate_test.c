/*
 * sqlstate_test - what is worth another try: the class of every SQLSTATE that a walsender, a slot or
 * a question is known to end with (PostgreSQL 12 to 18), and of what is none.
 */
#include "source/server_error.h"

#include <stdlib.h>

#include "tests/unit/tap.h"

/* One letter for each outcome: unavailable, misused, failed. */
static const struct {
    char outcome;
    const char *sqlstate;
    const char *what;
} known[] = {
    {'u', "55006", "replication slot \"s\" is active for PID 123"},
    {'m', "42704", "replication slot \"s\" does not exist"},
    {'m', "42710", "replication slot \"s\" already exists"},
    {'m', "42602", "replication slot name \"Bad-Name\" contains invalid character"},
    {'m', "55000", "replication slot \"s\" was not created in this database"},
    {'m', "22023", "option \"proto_version\" = \"1\" is unknown"},
    {'m', "58P01", "could not access file \"x\": No such file or directory"},
    {'m', "42501", "library \"x\" may not be used as an output plugin"},
    {'m', "53400", "all replication slots are in use"},
    {'u', "53300", "number of requested standby connections exceeds max_wal_senders"},
    {'u', "53100", "could not extend file: No space left on device"},
    {'u', "53200", "out of memory"},
    {'m', "28000", "no pg_hba.conf entry for host \"h\""},
    {'m', "28P01", "password authentication failed for user \"u\""},
    {'m', "3D000", "database \"d\" does not exist"},
    {'m', "0A000", "cannot enable failover for a temporary replication slot"},
    {'f', "XX000", "invalid memory alloc request size 1153433603"},
    {'f', "XX001", "invalid page in block 0 of relation base/1/2"},
    {'f', "54000", "out of memory: Cannot enlarge string buffer"},
    {'m', "22012", "division by zero, in a row filter"},
    {'m', "22003", "integer out of range, in a row filter"},
    {'m', "22P02", "invalid input syntax for type integer, in a row filter"},
    {'m', "42601", "conflicting or redundant options"},
    {'m', "42P01", "relation \"t\" does not exist"},
    {'m', "25006", "cannot execute CREATE PUBLICATION in a read-only transaction"},
    {'u', "57P01", "terminating connection due to administrator command"},
    {'u', "57P02", "terminating connection because of crash of another server process"},
    {'u', "57P03", "the database system is starting up"},
    {'m', "57P04", "terminating connection due to conflict with recovery: database dropped"},
    {'u', "57P05", "terminating connection due to idle-session timeout"},
    {'u', "57014", "canceling statement due to user request"},
    {'u', "40001", "canceling statement due to conflict with recovery"},
    {'u', "40P01", "deadlock detected"},
    {'u', "55P03", "could not obtain lock on relation \"t\""},
    {'f', "08P01", "invalid standby message type \"x\""},
    {'u', "08006", "connection failure"},
    {'u', "08003", "connection does not exist"},
    {'f', "58030", "could not read file: Input/output error"},
    {'f', "P0001", "an event trigger raises"},
    {'f', "72000", "snapshot too old"},
    {'f', "00000", "no error at all"},
};

static char letter_of(enum outcome outcome)
{
    return outcome == OUTCOME_UNAVAILABLE ? 'u'
           : outcome == OUTCOME_MISUSED   ? 'm'
           : outcome == OUTCOME_FAILED    ? 'f'
                                          : '?';
}

static void check_known(void)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char got = letter_of(outcome_of_sqlstate(known[i].sqlstate));

        ok(got == known[i].outcome, "%s, %s: %c", known[i].sqlstate, known[i].what, got);
    }
}

/* No answer is worth another try; whatever else there is ends the run, and never well. */
static void check_odd(void)
{
    static const char *const odd[] = {
        "5", "57", "57P", "0", "08", "ZZZZZ", "57p03", " 57P03", "?", "\n", "\xff\xff\xff\xff\xff",
        "99999999999999999999",
    };
    bool good = true;

    ok(outcome_of_sqlstate(NULL) == OUTCOME_UNAVAILABLE, "no SQLSTATE");
    ok(outcome_of_sqlstate("") == OUTCOME_UNAVAILABLE, "an empty one");
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        char *exact = strdup(odd[i]); /* so that a byte behind its end is noticed */

        if (!exact)
            return;
        if (letter_of(outcome_of_sqlstate(exact)) == '?') {
            tap_note("\"%s\"", odd[i]);
            good = false;
        }
        free(exact);
    }
    ok(good, "what is no SQLSTATE has a class, too");
}

/* The end of a run in good order, a lost position and the output are nothing that a code tells of. */
static void check_all(void)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    unsigned counts[3] = {0}, others = 0;
    char code[6] = "00000";

    for (unsigned n = 0; n < 36 * 36 * 36; n++) {
        char got;

        code[0] = digits[n % 36];
        code[1] = digits[n / 36 % 36];
        code[4] = digits[n / 36 / 36];
        got = letter_of(outcome_of_sqlstate(code));
        if (got == '?')
            others++;
        else
            counts[got == 'u' ? 0 : got == 'm' ? 1 : 2]++;
    }
    ok(others == 0, "every code has one of three classes");
    ok(counts[0] > 0 && counts[1] > 0 && counts[2] > counts[0] + counts[1],
       "most of them are not known, and no reason to try again");
}

int main(void)
{
    check_known();
    check_odd();
    check_all();
    return tap_done();
}
