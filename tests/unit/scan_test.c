/* scan_test - encode/scan.h as it is on this machine: with vectors, where it has them. */
#include "tests/unit/scan_cases.h"

int main(void)
{
    return run_cases();
}
