#include "ranks.h"

#include <string.h>

#define FEW 24 /* up to so many are inserted one by one */

static void insert_each(struct ranked *items, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const struct ranked x = items[i];
        uint32_t at = i;
        for (; at > 0 && items[at - 1].rank > x.rank; at--) {
            items[at] = items[at - 1];
        }
        items[at] = x;
    }
}

struct ranked *ranks_sort(struct ranked *items, struct ranked *space, uint32_t n)
{
    if (n <= FEW) {
        insert_each(items, n);
        return items;
    }
    uint64_t differ = 0;
    bool in_order = true;
    for (uint32_t i = 1; i < n; i++) {
        differ |= items[i].rank ^ items[0].rank;
        in_order &= items[i].rank >= items[i - 1].rank;
    }
    if (in_order) {
        return items;
    }
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        if (((differ >> shift) & 255) == 0) {
            continue;
        }
        uint32_t places[256] = {0};
        for (uint32_t i = 0; i < n; i++) {
            places[(items[i].rank >> shift) & 255]++;
        }
        for (uint32_t digit = 0, sum = 0; digit < 256; digit++) {
            const uint32_t count = places[digit];
            places[digit] = sum;
            sum += count;
        }
        for (uint32_t i = 0; i < n; i++) {
            space[places[(items[i].rank >> shift) & 255]++] = items[i];
        }
        struct ranked *sorted = space;
        space = items;
        items = sorted;
    }
    return items;
}
