/* What an operator of two inputs takes in a step: the rows of both in the order in which they count, and the watermarks between.
 *
 * A watermark of origin o stands after all rows of origin o. The arrays are borrowed for the step.
 */
#ifndef FYKE_ARRIVALS_H
#define FYKE_ARRIVALS_H

#include "event_store.h"

enum { LEFT = 0, RIGHT = 1 };

struct arrivals {
    const uint8_t *inputs;   /* of each row: LEFT or RIGHT */
    const uint32_t *rows;    /* its place in the segment of its input */
    const uint64_t *origins; /* ascending, not strictly */
    uint32_t n_rows;
    const uint64_t *mark_origins; /* strictly ascending, as are the times */
    const event_time_t *mark_times;
    uint32_t n_marks;
    uint32_t segments[2]; /* of each input, in its own event store */
};

static inline struct event_ref arrivals_event(const struct arrivals *a, uint32_t i)
{
    return (struct event_ref){a->segments[a->inputs[i]], a->rows[i]};
}

/* A row that a join gives: the rows it is made of (segment NO_SEGMENT: none), its time in the stream and its origin. */
struct joined {
    struct event_ref sides[2];
    event_time_t time;
    uint64_t origin;
};

/* What a step of a join gives; places are those of the rows in the arrivals. */
struct join_results {
    struct joined *rows;
    uint32_t n_rows, rows_capacity;
    uint32_t *late;
    uint32_t n_late, late_capacity;
    uint32_t *null_keys;
    uint32_t n_null_keys, null_keys_capacity;
};

static inline void join_results_free(struct join_results *r, struct arena *a)
{
    arena_free(a, r->rows, (size_t)r->rows_capacity * sizeof *r->rows);
    arena_free(a, r->late, (size_t)r->late_capacity * sizeof *r->late);
    arena_free(a, r->null_keys, (size_t)r->null_keys_capacity * sizeof *r->null_keys);
    *r = (struct join_results){0};
}

MUST_CHECK static inline enum status join_results_reserve(struct join_results *r, struct arena *a, uint64_t more)
{
    void *rows = r->rows;
    const enum status st = arena_reserve(a, &rows, &r->rows_capacity, r->n_rows + more, sizeof *r->rows);
    r->rows = rows;
    return st;
}

/* Appends a place to one of the lists. */
MUST_CHECK static inline enum status join_results_note(uint32_t **list, uint32_t *n, uint32_t *capacity, struct arena *a, uint32_t place)
{
    void *items = *list;
    const enum status st = arena_reserve(a, &items, capacity, (uint64_t)*n + 1, sizeof **list);
    *list = items;
    if (st == STATUS_OK) {
        (*list)[(*n)++] = place;
    }
    return st;
}

#endif
