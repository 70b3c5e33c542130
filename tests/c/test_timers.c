/* The deadline heap against a plain array that is searched for its earliest entry. */
#include "check.h"
#include "timers.h"

#define OWNERS 64

struct entry {
    bool set;
    event_time_t deadline;
    uint64_t birth;
};

static struct entry model[OWNERS];

static uint32_t earliest(void)
{
    uint32_t best = OWNERS;
    for (uint32_t i = 0; i < OWNERS; i++) {
        if (!model[i].set) {
            continue;
        }
        if (best == OWNERS || model[i].deadline < model[best].deadline ||
            (model[i].deadline == model[best].deadline && model[i].birth < model[best].birth)) {
            best = i;
        }
    }
    return best;
}

static void check_same(const struct timers *t)
{
    CHECK(timers_check(t) == NULL);
    uint32_t n = 0;
    for (uint32_t i = 0; i < OWNERS; i++) {
        n += model[i].set;
        if (i < t->place_capacity) {
            CHECK((t->place[i] != NO_TIMER) == model[i].set);
        }
    }
    CHECK(t->n == n);
    const uint32_t first = earliest();
    CHECK(timers_next(t) == (first == OWNERS ? TIME_MAX : model[first].deadline));
    if (first != OWNERS) {
        CHECK(t->heap[0].owner == first && t->heap[0].birth == model[first].birth);
    }
}

static void set(struct timers *t, uint64_t birth)
{
    const uint32_t owner = random_below(OWNERS);
    const event_time_t deadline = random_below(10) == 0 ? TIME_MAX - 1 : (event_time_t)random_below(50) - 25;
    const bool fails = random_below(5) == 0;
    t->arena->fail_after = fails ? 1 : 0;
    const enum status reserved = timers_reserve_owners(t, owner + 1);
    t->arena->fail_after = 0;
    if (reserved != STATUS_OK) {
        check_same(t);
        CHECK(timers_reserve_owners(t, owner + 1) == STATUS_OK);
    }
    t->arena->fail_after = fails ? 1 : 0;
    const enum status st = timers_set(t, owner, deadline, model[owner].set ? model[owner].birth : birth);
    t->arena->fail_after = 0;
    if (st == STATUS_OK) { /* else nothing has changed */
        model[owner].birth = model[owner].set ? model[owner].birth : birth;
        model[owner].set = true;
        model[owner].deadline = deadline;
    }
}

static void cancel(struct timers *t)
{
    const uint32_t owner = random_below(OWNERS);
    if (owner < t->place_capacity) {
        timers_cancel(t, owner);
        model[owner].set = false;
    }
}

static void test(void)
{
    struct arena a;
    struct timers t;
    arena_init(&a);
    timers_init(&t, &a);
    memset(model, 0, sizeof model);
    check_same(&t);
    for (uint64_t step = 0; step < 2000; step++) {
        if (random_below(3) > 0) {
            set(&t, step);
        } else {
            cancel(&t);
        }
        check_same(&t);
    }
    while (t.n > 0) { /* what is left comes out in order */
        const uint32_t owner = t.heap[0].owner;
        CHECK(owner == earliest());
        timers_cancel(&t, owner);
        model[owner].set = false;
    }
    timers_free(&t);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 20);
}
