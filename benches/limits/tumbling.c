/* The limit of `tumbling`: count, sum and max of price per key in windows of fixed size; rows in order of time.
 *
 * All windows of one span of time close together, so one row of accumulators by key is enough; the keys seen are listed to close them.
 * A result is a row in each of five columns.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

struct pane {
    int64_t count;
    double sum, max;
};

/* Writes at most `capacity` results and returns the number of all windows that hold an event; -1 if memory ran out. */
__attribute__((visibility("default")))
int64_t limit_tumbling(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t size,
                       int64_t *out_start, int64_t *out_key, int64_t *out_count, double *out_sum, double *out_max,
                       int64_t capacity)
{
    struct pane *panes = calloc((size_t)n_keys, sizeof *panes);
    int64_t *seen = malloc((size_t)n_keys * sizeof *seen);
    int64_t results = -1, n_seen = 0, end = INT64_MIN;

    if (!panes || !seen)
        goto done;
    results = 0;
    for (int64_t i = 0; i <= n; i++) {
        if (i == n || ts[i] >= end) {
            for (int64_t j = 0; j < n_seen; j++, results++) {
                struct pane *pane = &panes[seen[j]];
                if (results < capacity) {
                    out_start[results] = end - size;
                    out_key[results] = seen[j];
                    out_count[results] = pane->count;
                    out_sum[results] = pane->sum;
                    out_max[results] = pane->max;
                }
                pane->count = 0;
            }
            n_seen = 0;
            if (i == n)
                break;
            end = ts[i] - ts[i] % size + size;
        }
        struct pane *pane = &panes[key[i]];
        if (!pane->count) {
            seen[n_seen++] = key[i];
            *pane = (struct pane){0, 0.0, -INFINITY};
        }
        pane->count++;
        pane->sum += price[i];
        pane->max = price[i] > pane->max ? price[i] : pane->max;
    }
done:
    free(panes);
    free(seen);
    return results;
}
