/* Items in the order of their ranks: by the digits of the ranks, lowest first, so that equal ranks keep their order. O(n) a digit that
 * differs; what is in order already costs one look.
 */
#ifndef FYKE_RANKS_H
#define FYKE_RANKS_H

#include "base.h"

struct ranked {
    uint64_t rank;
    uint32_t item;
};

/* Sorts n items, with room for as many in `space`. Returns the one of the two that holds the result. */
MUST_CHECK struct ranked *ranks_sort(struct ranked *items, struct ranked *space, uint32_t n);

#endif
