/* The limit of `any3-count`: any3's matches counted without enumerating them, O(1) amortised an event.
 *
 * `pairs` is the number of (0, 1) pairs whose 0 is inside the window. A 0 that leaves takes with it one pair for each 1 since it came,
 * which is the difference of two counts of 1s. Counts are uint64: they wrap, as they would in any engine that does not flag it.
 */
#include <stdint.h>
#include <stdlib.h>

/* Returns the number of matches modulo 2^64, UINT64_MAX if memory ran out. */
__attribute__((visibility("default")))
uint64_t limit_any3_count(const int64_t *ts, const int64_t *type, int64_t n, int64_t within)
{
    struct zero {
        int64_t ts;
        uint64_t ones_before;
    } *zeros = malloc(((size_t)n + 1) * sizeof *zeros);
    int64_t low = 0, n_zeros = 0;
    uint64_t ones = 0, pairs = 0, matches = 0;

    if (!zeros)
        return UINT64_MAX;
    for (int64_t i = 0; i < n; i++) {
        for (; low < n_zeros && ts[i] - zeros[low].ts >= within; low++)
            pairs -= ones - zeros[low].ones_before;
        if (type[i] == 0) {
            zeros[n_zeros++] = (struct zero){ts[i], ones};
        } else if (type[i] == 1) {
            ones++;
            pairs += (uint64_t)(n_zeros - low);
        } else if (type[i] == 2) {
            matches += pairs;
        }
    }
    free(zeros);
    return matches;
}
