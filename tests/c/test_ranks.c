/* Sorting by ranks against insertion: the same order, equal ranks in the order they came. */
#include "check.h"
#include "ranks.h"

#define MOST 3000

static struct ranked items[MOST], space[MOST], expected[MOST];

static int compare(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return (x->item > y->item) - (x->item < y->item); /* numbered as they came */
}

int main(void)
{
    for (uint64_t s = 1; s <= 60; s++) {
        seed_random(s);
        const uint32_t n = random_below(s % 3 == 0 ? MOST : 40);
        const uint64_t mask = s % 4 == 0 ? UINT64_MAX : s % 4 == 1 ? 7 : s % 4 == 2 ? 0xff00ff0000 : 0xffffff;
        for (uint32_t i = 0; i < n; i++) {
            items[i] = (struct ranked){s % 5 == 0 ? i / 3 : random_u64() & mask, i};
            expected[i] = items[i];
        }
        qsort(expected, n, sizeof *expected, compare);
        const struct ranked *sorted = ranks_sort(items, space, n);
        for (uint32_t i = 0; i < n; i++) {
            CHECK(sorted[i].rank == expected[i].rank && sorted[i].item == expected[i].item);
        }
    }
    printf("%" PRIu64 " checks\n", n_checks);
    return 0;
}
