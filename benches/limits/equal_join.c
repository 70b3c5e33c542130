/* The limit of `equal-join`: price < 50, followed_by_any price > 950 of the same type, within, no skip; every match written out.
 *
 * A queue of open starts per type, as a chain through one list that is indexed by start: its head moves on as starts run out of
 * their window, its tail as they come. A match is a row number in each of two columns.
 */
#include <stdint.h>
#include <stdlib.h>

#define NONE UINT32_MAX

struct queue {
    uint32_t head, tail;
};

struct start {
    int64_t row;
    uint32_t next;
};

/* Writes at most `capacity` matches to `first`, `last` and returns the number of all; -1 if memory ran out. */
__attribute__((visibility("default")))
int64_t limit_equal_join(const int64_t *ts, const int64_t *type, const double *price, int64_t n, int64_t n_types,
                         int64_t within, int64_t *first, int64_t *last, int64_t capacity)
{
    struct queue *queues = malloc((size_t)n_types * sizeof *queues);
    struct start *starts = malloc(((size_t)n + 1) * sizeof *starts);
    uint32_t n_starts = 0;
    int64_t matches = -1;

    if (!queues || !starts)
        goto done;
    matches = 0;
    for (int64_t t = 0; t < n_types; t++)
        queues[t] = (struct queue){NONE, NONE};
    for (int64_t i = 0; i < n; i++) {
        double p = price[i];
        if (p < 50.0) {
            struct queue *queue = &queues[type[i]];
            starts[n_starts] = (struct start){i, NONE};
            if (queue->head == NONE)
                queue->head = n_starts;
            else
                starts[queue->tail].next = n_starts;
            queue->tail = n_starts++;
        } else if (p > 950.0) {
            struct queue *queue = &queues[type[i]];
            uint32_t s = queue->head;
            while (s != NONE && ts[i] - ts[starts[s].row] >= within)
                s = starts[s].next;
            queue->head = s;
            for (; s != NONE; s = starts[s].next, matches++)
                if (matches < capacity) {
                    first[matches] = starts[s].row;
                    last[matches] = i;
                }
        }
    }
done:
    free(queues);
    free(starts);
    return matches;
}
