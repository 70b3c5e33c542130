/* One heap of deadlines over all keys: the next one to fire is at the root; equal deadlines fire in order of birth.
 *
 * An entry belongs to an owner (a keyed state's index) that knows its place in the heap, so that a timer can be moved or taken
 * out in O(log n) and the heap never holds more entries than there are live owners.
 */
#ifndef FYKE_TIMERS_H
#define FYKE_TIMERS_H

#include "arena.h"
#include "base.h"

#define NO_TIMER UINT32_MAX

struct timer {
    event_time_t deadline;
    uint64_t birth;
    uint32_t owner;
};

struct timers {
    struct arena *arena;
    struct timer *heap;
    uint32_t n;
    uint32_t capacity;
    uint32_t *place; /* owner -> index in heap, or NO_TIMER */
    uint32_t place_capacity;
};

void timers_init(struct timers *t, struct arena *arena);
void timers_free(struct timers *t);
/* Makes room for owners below n_owners; new ones have no timer. */
MUST_CHECK enum status timers_reserve_owners(struct timers *t, uint32_t n_owners);
/* Sets or moves the owner's timer. */
MUST_CHECK enum status timers_set(struct timers *t, uint32_t owner, event_time_t deadline, uint64_t birth);
/* Moves the timer of an owner that has one. */
void timers_move(struct timers *t, uint32_t owner, event_time_t deadline);
void timers_cancel(struct timers *t, uint32_t owner);
/* The invariants in words; NULL if they hold. */
const char *timers_check(const struct timers *t);

static inline event_time_t timers_next(const struct timers *t)
{
    return t->n == 0 ? TIME_MAX : t->heap[0].deadline;
}

#endif
