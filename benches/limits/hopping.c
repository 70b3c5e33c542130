/* The limit of `hopping`, and of `tumbling` out of order: count, sum and max of price per key in windows of `size` every `every`
 * (which divides `size`); rows arrive at most `bound` behind the highest time seen.
 *
 * A slice is `every` long and each window is so many slices: a row goes into one slice only, of a ring that holds all slices that an
 * open window can need. When the watermark (highest time - bound - 1) passes a window's end its slices are merged key by key.
 * A result is a row in each of five columns.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

struct pane {
    int64_t count;
    double sum, max;
};

struct results {
    int64_t *start, *key, *count;
    double *sum, *max;
    int64_t n, capacity;
};

static const struct pane EMPTY = {0, 0.0, -INFINITY};

static inline void put(struct results *out, int64_t start, int64_t key, const struct pane *pane)
{
    if (out->n < out->capacity) {
        out->start[out->n] = start;
        out->key[out->n] = key;
        out->count[out->n] = pane->count;
        out->sum[out->n] = pane->sum;
        out->max[out->n] = pane->max;
    }
    out->n++;
}

struct ring {
    struct pane *panes; /* a row of n_keys panes for each place */
    int64_t places, per_window, n_keys;
};

/* Emits the window that ends with slice `last`, and empties its first slice, which no later window needs. */
static void close_window(struct ring *ring, int64_t last, int64_t every, struct results *out)
{
    int64_t first = last - ring->per_window + 1;

    for (int64_t k = 0; k < ring->n_keys; k++) {
        struct pane whole = EMPTY;
        for (int64_t s = first; s <= last; s++) {
            const struct pane *pane = &ring->panes[(s & (ring->places - 1)) * ring->n_keys + k];
            whole.count += pane->count;
            whole.sum += pane->sum;
            whole.max = pane->max > whole.max ? pane->max : whole.max;
        }
        if (whole.count)
            put(out, first * every, k, &whole);
        ring->panes[(first & (ring->places - 1)) * ring->n_keys + k] = EMPTY;
    }
}

/* Times are positive. Writes at most `capacity` results; returns the number of all, -1 if memory ran out, -2 if a row is late. */
__attribute__((visibility("default")))
int64_t limit_hopping(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t size,
                      int64_t every, int64_t bound, int64_t *out_start, int64_t *out_key, int64_t *out_count, double *out_sum,
                      double *out_max, int64_t capacity)
{
    struct ring ring = {.places = 1, .per_window = size / every, .n_keys = n_keys};
    while (ring.places < ring.per_window + bound / every + 2)
        ring.places *= 2;
    ring.panes = malloc((size_t)(ring.places * n_keys) * sizeof *ring.panes);
    struct results out = {out_start, out_key, out_count, out_sum, out_max, 0, capacity};
    int64_t highest = 0, open = 0, slice_begin = 0, slice = 0; /* slices before `open` take no more rows */

    if (!ring.panes)
        return -1;
    for (int64_t i = 0; i < ring.places * n_keys; i++)
        ring.panes[i] = EMPTY;
    for (int64_t i = 0; i < n; i++) {
        if (ts[i] > highest) {
            highest = ts[i];
            for (; (open + 1) * every <= highest - bound; open++)
                close_window(&ring, open, every, &out);
        }
        if (ts[i] - slice_begin < 0 || ts[i] - slice_begin >= every) { /* one division a slice, not one a row, in order */
            slice = ts[i] / every;
            slice_begin = slice * every;
        }
        if (slice < open) {
            out.n = -2;
            break;
        }
        struct pane *pane = &ring.panes[(slice & (ring.places - 1)) * n_keys + key[i]];
        pane->count++;
        pane->sum += price[i];
        pane->max = price[i] > pane->max ? price[i] : pane->max;
    }
    if (out.n >= 0)
        for (int64_t last = highest / every + ring.per_window; open < last; open++)
            close_window(&ring, open, every, &out);
    free(ring.panes);
    return out.n;
}
