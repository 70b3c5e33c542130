/* Bounded disorder: rows wait here until the watermark passes them and leave in (event time, arrival) order.
 *
 *   items: [ gone | waiting, sorted ............ | free ]
 *                 head                      tail
 *
 * The watermark advances row by row in arrival order: a row is judged against the rows before it, whatever its batch. Rows that
 * arrive in order are appended; a few that do not are inserted from the end (cost: how far back they belong); a batch of them is
 * sorted (stable, natural merge) and merged.
 */
#ifndef FYKE_REORDER_H
#define FYKE_REORDER_H

#include "event_store.h"

struct waiting {
    event_time_t time;
    struct event_ref event;
};

struct reorder {
    struct arena *arena;
    struct waiting *items;
    uint32_t capacity;
    uint32_t head;
    uint32_t tail;
    struct waiting *scratch;
    uint32_t scratch_capacity;
};

/* W: no more events with time <= W. */
struct watermark {
    int64_t out_of_order;
    event_time_t highest; /* highest time seen; TIME_MIN: none */
    event_time_t current; /* never falls */
};

static inline void watermark_see(struct watermark *w, event_time_t t)
{
    if (t > w->highest) {
        w->highest = t;
        const event_time_t passed = time_sub(time_sub(t, w->out_of_order), 1);
        if (passed > w->current) {
            w->current = passed;
        }
    }
}

void reorder_init(struct reorder *r, struct arena *arena);
void reorder_free(struct reorder *r);

/* Adds n rows that came in this order; the array is used as scratch. Fails without having added any. */
MUST_CHECK enum status reorder_add(struct reorder *r, struct waiting *rows, uint32_t n);

/* How many waiting rows have time <= watermark; they are items[head ...]. The caller steps them and then moves head on. */
uint32_t reorder_due(const struct reorder *r, event_time_t watermark);

/* The first n rows have been stepped: gives their references back. */
void reorder_consume(struct reorder *r, struct event_store *s, uint32_t n);

static inline uint32_t reorder_size(const struct reorder *r)
{
    return r->tail - r->head;
}

#endif
