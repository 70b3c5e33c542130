/* The limit of `many`: patterns j = 0..N-1: price < 1 + 0.01 j, followed_by price > 999 - 0.01 j, by key, within, no skip; counted.
 *
 * The conditions are nested: a price that begins (or ends) pattern j does so for every later pattern, too. So a start is open for the
 * patterns begin..end-1, and an ending price that holds from pattern e on closes those at max(begin, e) and above: they are its matches.
 * This uses all that is known of the patterns, as no engine for any patterns can.
 */
#include <stdint.h>
#include <stdlib.h>

#define NONE UINT32_MAX

struct start {
    int64_t ts;
    uint32_t begin, end, next;
};

/* Returns the first j of 0..n_patterns-1 with price < low[j] (low ascends), n_patterns if there is none. */
static uint32_t first_above(const double *low, uint32_t n_patterns, double price)
{
    uint32_t from = 0, to = n_patterns;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (price < low[mid])
            to = mid;
        else
            from = mid + 1;
    }
    return from;
}

/* Returns the first j with price > high[j] (high descends), n_patterns if there is none. */
static uint32_t first_below(const double *high, uint32_t n_patterns, double price)
{
    uint32_t from = 0, to = n_patterns;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (price > high[mid])
            to = mid;
        else
            from = mid + 1;
    }
    return from;
}

/* Returns the number of matches of all patterns, -1 if memory ran out. `low`, `high`: the bounds of each pattern. */
__attribute__((visibility("default")))
int64_t limit_many(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t within,
                   const double *low, const double *high, int64_t n_patterns)
{
    uint32_t *head = malloc((size_t)n_keys * sizeof *head);
    struct start *pool = malloc(((size_t)n + 1) * sizeof *pool); /* the untouched part costs nothing */
    uint32_t used = 0, free_list = NONE, patterns = (uint32_t)n_patterns;
    int64_t matches = -1;

    if (!head || !pool)
        goto done;
    matches = 0;
    for (int64_t k = 0; k < n_keys; k++)
        head[k] = NONE;
    double lowest = low[patterns - 1], highest = high[patterns - 1];
    for (int64_t i = 0; i < n; i++) {
        double p = price[i];
        if (p > highest) {
            uint32_t from = first_below(high, patterns, p);
            uint32_t *link = &head[key[i]];
            while (*link != NONE) {
                struct start *s = &pool[*link];
                uint32_t close = s->begin > from ? s->begin : from;
                int expired = ts[i] - s->ts >= within;
                if (!expired && close < s->end) {
                    matches += s->end - close;
                    s->end = close;
                }
                if (expired || s->begin == s->end) {
                    uint32_t gone = *link;
                    *link = s->next;
                    s->next = free_list;
                    free_list = gone;
                } else {
                    link = &s->next;
                }
            }
        }
        if (p < lowest) {
            uint32_t s = free_list;
            if (s != NONE)
                free_list = pool[s].next;
            else
                s = used++;
            pool[s] = (struct start){ts[i], first_above(low, patterns, p), patterns, head[key[i]]};
            head[key[i]] = s;
        }
    }
done:
    free(head);
    free(pool);
    return matches;
}
