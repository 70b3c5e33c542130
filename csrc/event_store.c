#include "event_store.h"

#include <string.h>

void event_store_init(struct event_store *s, struct arena *arena, uint32_t n_columns, uint32_t mask_words)
{
    memset(s, 0, sizeof *s);
    s->arena = arena;
    s->n_columns = n_columns;
    s->mask_words = mask_words;
}

void event_store_free(struct event_store *s)
{
    for (uint32_t i = 0; i < s->n_segments; i++) {
        arena_free(s->arena, s->segments[i].columns, s->n_columns * sizeof(struct column));
    }
    arena_free(s->arena, s->segments, s->capacity * sizeof(struct segment));
    arena_free(s->arena, s->dead, s->dead_capacity * sizeof(uint32_t));
    memset(s, 0, sizeof *s);
}

enum status event_store_open(struct event_store *s, uint32_t *id)
{
    uint32_t i = s->first_free;
    while (i < s->n_segments && s->segments[i].in_use) {
        i++;
    }
    void *columns = NULL;
    if (i == s->n_segments) {
        void *items = s->segments;
        enum status st = arena_reserve(s->arena, &items, &s->capacity, (uint64_t)s->n_segments + 1, sizeof(struct segment));
        s->segments = items;
        if (st != STATUS_OK) {
            return st;
        }
        void *dead = s->dead;
        st = arena_reserve(s->arena, &dead, &s->dead_capacity, s->capacity, sizeof(uint32_t));
        s->dead = dead;
        if (st != STATUS_OK) {
            return st;
        }
        columns = arena_alloc(s->arena, s->n_columns * sizeof(struct column));
        if (columns == NULL) {
            return STATUS_NO_MEMORY;
        }
        s->n_segments++;
    } else {
        columns = s->segments[i].columns;
    }
    memset(&s->segments[i], 0, sizeof s->segments[i]);
    if (s->n_columns > 0) {
        memset(columns, 0, s->n_columns * sizeof(struct column));
    }
    s->segments[i].columns = columns;
    s->segments[i].in_use = 1;
    s->first_free = i + 1;
    *id = i;
    return STATUS_OK;
}

void event_store_close(struct event_store *s, uint32_t id)
{
    ASSERT(s->segments[id].live == 0);
    s->segments[id].in_use = 0;
    s->segments[id].n_rows = 0;
    if (id < s->first_free) {
        s->first_free = id;
    }
}
