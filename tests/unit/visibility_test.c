#include "snapshot/visibility.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"

static bool sees(const char *snapshot, uint32_t xid)
{
    struct visibility v;
    bool answer;

    if (!visibility_parse(&v, snapshot))
        return false;
    answer = visibility_sees(&v, xid);
    visibility_release(&v);
    return answer;
}

static void check_rule(void)
{
    ok(sees("733:735:733", 732), "older than xmin: seen");
    ok(!sees("733:735:733", 733), "running: not seen");
    ok(sees("733:735:733", 734), "below xmax and not running: seen");
    ok(!sees("733:735:733", 735), "xmax itself: not seen");
    ok(!sees("733:735:733", 736), "later than xmax: not seen");
    ok(sees("10:10:", 9) && !sees("10:10:", 10), "nothing running");
    ok(!sees("10:20:10,15,19", 15) && sees("10:20:10,15,19", 16) && !sees("10:20:10,15,19", 19),
       "several running");
}

/* Ids in the stream have 32 bits, in snapshots 64. */
static void check_epochs(void)
{
    ok(sees("4294967400:4294967410:4294967400", 99), "epoch 1, older");
    ok(!sees("4294967400:4294967410:4294967400", 104), "epoch 1, running");
    ok(sees("4294967400:4294967410:4294967400", 105), "epoch 1, ended");
    ok(!sees("4294967400:4294967410:4294967400", 114), "epoch 1, later");
    ok(sees("4294967400:4294967410:4294967400", 4294967290u), "from before the wrap: seen");
    ok(!sees("4294967290:4294967295:4294967290", 5), "behind the wrap: not seen");
    ok(!sees("4294967290:4294967300:4294967290", 4294967290u), "running since before the wrap");
    ok(sees("100:200:", 4294967290u), "before the first id there is: frozen");
}

static void check_texts(void)
{
    static const char *const good[] = {"1:1:", "733:735:733", "10:20:10,15,19",
                                       "4294967400:4294967410:4294967400"};
    static const char *const bad[] = {"",       "1",        "1:2",     "a:b:",    "2:1:",   "1:2:3",
                                      "1:5:1,", "1:5:,1",   "1:5:3,2", "1:5:2,2", "1:5:0",  "0:1:",
                                      "1:5:x",  "-1:5:",    "1:2:1;",  " 1:2:",   "1:2:1 ", "1::",
                                      "1:99999999999999999999:"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct visibility v;
        char *text = NULL;

        if (visibility_parse(&v, good[i])) {
            text = visibility_text(&v);
            visibility_release(&v);
        }
        ok(text && strcmp(text, good[i]) == 0, "\"%s\" is read and written alike", good[i]);
        free(text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct visibility v;

        ok(!visibility_parse(&v, bad[i]), "\"%s\" is refused", bad[i]);
    }
}

int main(void)
{
    check_rule();
    check_epochs();
    check_texts();
    return tap_done();
}
