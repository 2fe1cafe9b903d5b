/* scan_portable_test - the twin of encode/scan.h that has no vectors. */
#define SCAN_PORTABLE
#include "tests/unit/scan_cases.h"

int main(void)
{
    return run_cases();
}
