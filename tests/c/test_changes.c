/* Marks and lists of changes against plain arrays, with allocations that fail. */
#include "changes.h"
#include "check.h"

#define THINGS 300

static bool changed[THINGS], frozen[THINGS];
static uint64_t births[THINGS];

static void check_same(const struct change_set *s, uint32_t n_changed)
{
    CHECK(s->n == n_changed);
    for (uint32_t i = 0; i < s->n; i++) {
        CHECK(changed[s->list[i].id] && births[s->list[i].id] == s->list[i].birth);
    }
    for (uint32_t i = 0; i < s->capacity && i < THINGS; i++) {
        CHECK(((s->marks[i] & MARK_CHANGED) != 0) == changed[i]);
        CHECK(((s->marks[i] & MARK_FROZEN) != 0) == frozen[i]);
    }
}

static void run(uint64_t of_seed)
{
    struct arena arena;
    struct change_set s;
    uint32_t n_changed = 0;
    seed_random(of_seed);
    arena_init(&arena);
    change_set_init(&s, &arena);
    memset(changed, 0, sizeof changed);
    memset(frozen, 0, sizeof frozen);
    for (uint32_t step = 0; step < 400; step++) {
        const uint32_t what = random_below(20);
        const uint32_t id = random_below(THINGS);
        arena.fail_after = random_below(4) == 0 ? 1 : 0;
        if (what == 0) {
            change_set_clear(&s);
            memset(changed, 0, sizeof changed);
            n_changed = 0;
        } else if (what == 1) {
            if (change_set_freeze(&s, random_below(THINGS), random_below(2) == 0) == STATUS_OK) {
                CHECK(s.next == 0);
                memset(frozen, 0, sizeof frozen);
            } else {
                /* the marks may have been made room for, and none has been taken away */
                CHECK(arena.fail_after == 0);
            }
        } else if (change_set_reserve(&s, id + 1) == STATUS_OK && what < 6) {
            s.marks[id] |= MARK_FROZEN;
            frozen[id] = true;
        } else if (id < s.capacity && change_set_add(&s, id, step) == STATUS_OK && !changed[id]) {
            changed[id] = true;
            births[id] = step;
            n_changed++;
        }
        check_same(&s, n_changed);
    }
    change_set_free(&s);
    CHECK(arena.bytes_used == 0);
    arena_free_all(&arena);
}

int main(void)
{
    for (uint64_t s = 1; s <= 20; s++) {
        run(s);
    }
    printf("%" PRIu64 " checks\n", n_checks);
    return 0;
}
