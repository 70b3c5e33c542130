/* The table of groups against a plain array of numbers. */
#include "check.h"
#include "window_groups.h"

#define NUMBERS 80

static uint32_t group_of[NUMBERS]; /* the model: NO_GROUP if it is not open */

static void test(void)
{
    struct arena a;
    struct window_groups g;
    arena_init(&a);
    window_groups_init(&g, &a);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        group_of[i] = NO_GROUP;
    }
    for (uint32_t step = 0; step < 600; step++) {
        const uint32_t n = random_below(NUMBERS);
        const int64_t number = ((int64_t)n - NUMBERS / 2) * 1000003;
        CHECK(window_groups_find(&g, number) == group_of[n]);
        if (group_of[n] != NO_GROUP) {
            window_groups_close(&g, group_of[n]);
            group_of[n] = NO_GROUP;
        } else {
            a.fail_after = random_below(4) == 0 ? 1 + random_below(2) : 0;
            uint32_t id = 0;
            const enum status st = window_groups_open(&g, number, (struct span){number, number + 1}, &id);
            a.fail_after = 0;
            if (st == STATUS_OK) {
                group_of[n] = id;
                CHECK(g.groups[id].number == number && g.groups[id].n_panes == 0 && !g.groups[id].past);
            } else {
                CHECK(st == STATUS_NO_MEMORY && window_groups_find(&g, number) == NO_GROUP);
            }
        }
        CHECK(window_groups_check(&g) == NULL);
    }
    window_groups_free(&g);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 30);
}
