/* The limit of `fraud`: price < 10, followed_by price > 990, by key, within, no skip.
 *
 * Every open start of a key is matched by the next big price of that key and is gone then, so the open starts of a key
 * are a chain that only grows at its head and is emptied as a whole. Chains live in one pool with a free list; a start
 * whose window is over stays in its chain until then. Keys are dense (0..n_keys-1), as they come in the stream.
 */
#include <stdint.h>
#include <stdlib.h>

#define NONE UINT32_MAX

struct start {
    int64_t ts;
    uint32_t next;
};

/* Returns the number of matches, -1 if memory ran out. Times and `within` in the same unit; the window's end is exclusive. */
__attribute__((visibility("default")))
int64_t limit_fraud(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t within)
{
    uint32_t *head = malloc((size_t)n_keys * sizeof *head);
    uint32_t capacity = 1024, used = 0, free_list = NONE;
    struct start *pool = malloc(capacity * sizeof *pool);
    int64_t matches = 0;

    if (!head || !pool)
        goto out_of_memory;
    for (int64_t k = 0; k < n_keys; k++)
        head[k] = NONE;

    for (int64_t i = 0; i < n; i++) {
        double p = price[i];
        if (p < 10.0) {
            uint32_t s = free_list;
            if (s != NONE) {
                free_list = pool[s].next;
            } else {
                if (used == capacity) {
                    struct start *more = realloc(pool, 2 * (size_t)capacity * sizeof *pool);
                    if (!more)
                        goto out_of_memory;
                    pool = more;
                    capacity *= 2;
                }
                s = used++;
            }
            pool[s] = (struct start){ts[i], head[key[i]]};
            head[key[i]] = s;
        } else if (p > 990.0) {
            uint32_t s = head[key[i]];
            head[key[i]] = NONE;
            while (s != NONE) {
                uint32_t next = pool[s].next;
                matches += ts[i] - pool[s].ts < within;
                pool[s].next = free_list;
                free_list = s;
                s = next;
            }
        }
    }
    free(head);
    free(pool);
    return matches;

out_of_memory:
    free(head);
    free(pool);
    return -1;
}
