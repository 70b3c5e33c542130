/* The limit of `any3`: type 0, followed_by_any type 1, followed_by_any type 2, within, no skip; every match written out.
 *
 * The rows of type 0 and of type 1 are two growing lists; a row of type 2 walks the ones inside its window. `before[m]` is the
 * number of rows of type 0 that came before the m-th row of type 1. A match is a row number in each of three columns.
 */
#include <stdint.h>
#include <stdlib.h>

/* Writes at most `capacity` matches to `first`, `second`, `third` and returns the number of all; -1 if memory ran out. */
__attribute__((visibility("default")))
int64_t limit_any3(const int64_t *ts, const int64_t *type, int64_t n, int64_t within, int64_t *first, int64_t *second,
                   int64_t *third, int64_t capacity)
{
    int64_t *zeros = malloc(((size_t)n + 1) * sizeof *zeros);
    int64_t *ones = malloc(((size_t)n + 1) * sizeof *ones);
    int64_t *before = malloc(((size_t)n + 1) * sizeof *before);
    int64_t n_zeros = 0, n_ones = 0, low_zero = 0, low_one = 0, matches = -1;

    if (!zeros || !ones || !before)
        goto done;
    matches = 0;
    for (int64_t i = 0; i < n; i++) {
        if (type[i] == 0) {
            zeros[n_zeros++] = i;
        } else if (type[i] == 1) {
            before[n_ones] = n_zeros;
            ones[n_ones++] = i;
        } else if (type[i] == 2) {
            while (low_zero < n_zeros && ts[i] - ts[zeros[low_zero]] >= within)
                low_zero++;
            while (low_one < n_ones && before[low_one] <= low_zero)
                low_one++;
            for (int64_t m = low_one; m < n_ones; m++) {
                int64_t count = before[m] - low_zero;
                if (matches + count <= capacity)
                    for (int64_t j = 0; j < count; j++) {
                        first[matches + j] = zeros[low_zero + j];
                        second[matches + j] = ones[m];
                        third[matches + j] = i;
                    }
                matches += count;
            }
        }
    }
done:
    free(zeros);
    free(ones);
    free(before);
    return matches;
}
