/* The limit of `disorder`: fraud's pattern over rows that arrive at most `bound` behind the highest time seen.
 *
 * One row per time (as in the stream), times in whole ticks: a ring with a place for each time that can still be waiting
 * sorts without comparing. A row is released once the watermark (highest time - bound - 1) has reached its time; the rest at the end.
 * The pattern itself is that of fraud.c.
 */
#include <stdint.h>
#include <stdlib.h>

#define NONE UINT32_MAX

struct place {
    int64_t ts; /* 0: empty; times of the stream begin at 1 */
    uint32_t key;
    double price;
};

struct start {
    int64_t ts;
    uint32_t next;
};

struct open_starts {
    uint32_t *head;
    struct start *pool;
    uint32_t used, free_list;
    int64_t within, matches;
};

static inline void take(struct open_starts *open, const struct place *row)
{
    if (row->price < 10.0) {
        uint32_t s = open->free_list;
        if (s != NONE)
            open->free_list = open->pool[s].next;
        else
            s = open->used++;
        open->pool[s] = (struct start){row->ts, open->head[row->key]};
        open->head[row->key] = s;
    } else if (row->price > 990.0) {
        uint32_t s = open->head[row->key];
        open->head[row->key] = NONE;
        while (s != NONE) {
            uint32_t next = open->pool[s].next;
            open->matches += row->ts - open->pool[s].ts < open->within;
            open->pool[s].next = open->free_list;
            open->free_list = s;
            s = next;
        }
    }
}

/* Returns the number of matches, -1 if memory ran out, -2 if a row is late or two rows have one time. */
__attribute__((visibility("default")))
int64_t limit_disorder(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t within,
                       int64_t bound)
{
    int64_t size = 1;
    while (size < 2 * (bound + 2))
        size *= 2;
    struct place *ring = calloc((size_t)size, sizeof *ring);
    struct open_starts open = {
        .head = malloc((size_t)n_keys * sizeof *open.head),
        .pool = malloc(((size_t)n + 1) * sizeof *open.pool), /* the untouched part costs nothing */
        .free_list = NONE,
        .within = within,
    };
    int64_t result = -1, released = 0, highest = 0;

    if (!ring || !open.head || !open.pool)
        goto done;
    for (int64_t k = 0; k < n_keys; k++)
        open.head[k] = NONE;

    for (int64_t i = 0; i < n; i++) {
        struct place *place = &ring[ts[i] & (size - 1)];
        if (ts[i] > highest) {
            highest = ts[i];
            for (; released < highest - bound - 1; released++) {
                struct place *row = &ring[(released + 1) & (size - 1)];
                if (row->ts) {
                    take(&open, row);
                    row->ts = 0;
                }
            }
        }
        if (ts[i] <= released || place->ts) {
            result = -2;
            goto done;
        }
        *place = (struct place){ts[i], (uint32_t)key[i], price[i]};
    }
    for (; released < highest; released++) {
        struct place *row = &ring[(released + 1) & (size - 1)];
        if (row->ts)
            take(&open, row);
    }
    result = open.matches;

done:
    free(ring);
    free(open.head);
    free(open.pool);
    return result;
}
