#include "timers.h"

#include <string.h>

void timers_init(struct timers *t, struct arena *arena)
{
    memset(t, 0, sizeof *t);
    t->arena = arena;
}

void timers_free(struct timers *t)
{
    if (t->arena != NULL) {
        arena_free(t->arena, t->heap, (size_t)t->capacity * sizeof *t->heap);
        arena_free(t->arena, t->place, (size_t)t->place_capacity * sizeof *t->place);
    }
    memset(t, 0, sizeof *t);
}

enum status timers_reserve_owners(struct timers *t, uint32_t n_owners)
{
    const uint32_t before = t->place_capacity;
    void *place = t->place;
    const enum status st = arena_reserve(t->arena, &place, &t->place_capacity, n_owners, sizeof *t->place);
    t->place = place;
    for (uint32_t i = before; i < t->place_capacity; i++) {
        t->place[i] = NO_TIMER;
    }
    return st;
}

/* A heap of four ways is half as deep as one of two, and the children of an entry lie in two cache lines. */
#define WAYS 4
#define PARENT(i) (((i) - 1) / WAYS)
#define CHILD(i) (WAYS * (i) + 1)

static bool before(const struct timer *a, const struct timer *b)
{
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->birth < b->birth;
}

static void put(struct timers *t, uint32_t i, struct timer timer)
{
    t->heap[i] = timer;
    t->place[timer.owner] = i;
}

static void sift_up(struct timers *t, uint32_t i)
{
    const struct timer timer = t->heap[i];
    while (i > 0 && before(&timer, &t->heap[PARENT(i)])) {
        put(t, i, t->heap[PARENT(i)]);
        i = PARENT(i);
    }
    put(t, i, timer);
}

static void sift_down(struct timers *t, uint32_t i)
{
    const struct timer timer = t->heap[i];
    for (;;) {
        const uint64_t first = CHILD((uint64_t)i);
        if (first >= t->n) {
            break;
        }
        const uint32_t end = t->n - first < WAYS ? t->n : (uint32_t)first + WAYS;
        uint32_t child = (uint32_t)first;
        for (uint32_t other = child + 1; other < end; other++) {
            child = before(&t->heap[other], &t->heap[child]) ? other : child;
        }
        if (!before(&t->heap[child], &timer)) {
            break;
        }
        put(t, i, t->heap[child]);
        i = child;
    }
    put(t, i, timer);
}

void timers_move(struct timers *t, uint32_t owner, event_time_t deadline)
{
    const uint32_t i = t->place[owner];
    t->heap[i].deadline = deadline;
    sift_up(t, i);
    sift_down(t, t->place[owner]);
}

enum status timers_set(struct timers *t, uint32_t owner, event_time_t deadline, uint64_t birth)
{
    if (t->place[owner] != NO_TIMER) {
        t->heap[t->place[owner]].birth = birth;
        timers_move(t, owner, deadline);
        return STATUS_OK;
    }
    void *heap = t->heap;
    const enum status st = arena_reserve(t->arena, &heap, &t->capacity, (uint64_t)t->n + 1, sizeof *t->heap);
    t->heap = heap;
    if (st != STATUS_OK) {
        return st;
    }
    t->heap[t->n] = (struct timer){deadline, birth, owner};
    sift_up(t, t->n++);
    return STATUS_OK;
}

void timers_cancel(struct timers *t, uint32_t owner)
{
    const uint32_t i = t->place[owner];
    if (i == NO_TIMER) {
        return;
    }
    t->place[owner] = NO_TIMER;
    const struct timer last = t->heap[--t->n];
    if (i < t->n) {
        put(t, i, last);
        sift_up(t, i);
        sift_down(t, t->place[last.owner]);
    }
}

const char *timers_check(const struct timers *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->place[t->heap[i].owner] != i) {
            return "a timer's owner does not know its place in the heap";
        }
        if (i > 0 && before(&t->heap[i], &t->heap[PARENT(i)])) {
            return "a timer stands below a later one";
        }
    }
    return NULL;
}
