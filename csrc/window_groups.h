/* The windows of a grid that some key has open: a group is one of them, with its panes, the windows of the single keys.
 *
 * All panes of a group fire and go at the same times, so they share one timer, and go together. Groups are found by their number in the
 * grid (a hash table) and reused when they are gone.
 */
#ifndef FYKE_WINDOW_GROUPS_H
#define FYKE_WINDOW_GROUPS_H

#include "arena.h"
#include "window_assign.h"

#define NO_GROUP UINT32_MAX

/* What the owner knows a pane by: its key and its record. */
struct window_pane {
    uint32_t slot;
    uint32_t id;
};

struct window_group {
    int64_t number;
    struct span span;
    struct window_pane *panes; /* in the order in which they came */
    uint32_t n_panes;
    uint32_t capacity;
    uint32_t next;    /* in the table's chain, or of the free ones; group + 1 */
    bool past;        /* its end has been reached */
    bool in_use;
};

struct window_groups {
    struct arena *arena;
    struct window_group *groups;
    uint32_t n_groups; /* ever used */
    uint32_t capacity;
    uint32_t n_live;
    uint32_t free_list; /* group + 1 */
    uint32_t *table;    /* group + 1, size a power of two */
    uint32_t table_size;
};

void window_groups_init(struct window_groups *g, struct arena *arena);
void window_groups_free(struct window_groups *g);
/* NO_GROUP if there is none. */
uint32_t window_groups_find(const struct window_groups *g, int64_t number);
/* A new group without panes; there must be none of this number. STATUS_NO_MEMORY leaves all as it was. */
MUST_CHECK enum status window_groups_open(struct window_groups *g, int64_t number, struct span span, uint32_t *id);
void window_groups_close(struct window_groups *g, uint32_t id);
/* STATUS_NO_MEMORY leaves the group as it was. */
MUST_CHECK static inline enum status window_groups_add(struct window_groups *g, uint32_t id, struct window_pane pane)
{
    struct window_group *into = &g->groups[id];
    if (UNLIKELY(into->n_panes == into->capacity)) {
        void *panes = into->panes;
        const enum status st = arena_reserve(g->arena, &panes, &into->capacity, (uint64_t)into->n_panes + 1, sizeof *into->panes);
        into->panes = panes;
        if (st != STATUS_OK) {
            return st;
        }
    }
    into->panes[into->n_panes++] = pane;
    return STATUS_OK;
}
/* The invariants in words; NULL if they hold. */
const char *window_groups_check(const struct window_groups *g);

#endif
