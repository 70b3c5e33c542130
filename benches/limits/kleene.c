/* The limit of `kleene`: its matches counted without enumerating them.
 *
 * Within a window a 0 followed by k 1s and a 2 is 2^k - 1 matches. From the newest event back, `ones` doubles at each 1, so a 2 pays for
 * the events of its window; what one loop for this pattern alone can do while windows hold tens of events, as here. Counts wrap.
 */
#include <stdint.h>

/* Returns the number of matches modulo 2^64. */
__attribute__((visibility("default")))
uint64_t limit_kleene(const int64_t *ts, const int64_t *type, int64_t n, int64_t within)
{
    uint64_t matches = 0;

    for (int64_t i = 0; i < n; i++) {
        if (type[i] != 2)
            continue;
        uint64_t ways = 1;
        for (int64_t k = i - 1; k >= 0 && ts[i] - ts[k] < within; k--) {
            if (type[k] == 1)
                ways *= 2;
            else if (type[k] == 0)
                matches += ways - 1;
        }
    }
    return matches;
}
