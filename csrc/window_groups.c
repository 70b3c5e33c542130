#include "window_groups.h"

#include <string.h>

void window_groups_init(struct window_groups *g, struct arena *arena)
{
    memset(g, 0, sizeof *g);
    g->arena = arena;
}

void window_groups_free(struct window_groups *g)
{
    if (g->arena != NULL) {
        for (uint32_t i = 0; i < g->n_groups; i++) {
            arena_free(g->arena, g->groups[i].panes, g->groups[i].capacity * sizeof *g->groups[i].panes);
        }
        arena_free(g->arena, g->groups, (size_t)g->capacity * sizeof *g->groups);
        arena_free(g->arena, g->table, (size_t)g->table_size * sizeof *g->table);
    }
    memset(g, 0, sizeof *g);
}

static uint32_t *chain_of(const struct window_groups *g, int64_t number)
{
    return &g->table[(uint32_t)mix64((uint64_t)number) & (g->table_size - 1)];
}

uint32_t window_groups_find(const struct window_groups *g, int64_t number)
{
    if (g->table_size == 0) {
        return NO_GROUP;
    }
    for (uint32_t at = *chain_of(g, number); at != 0; at = g->groups[at - 1].next) {
        if (g->groups[at - 1].number == number) {
            return at - 1;
        }
    }
    return NO_GROUP;
}

static enum status grow_table(struct window_groups *g)
{
    const uint32_t size = g->table_size == 0 ? 16 : g->table_size * 2;
    uint32_t *table = arena_alloc(g->arena, (size_t)size * sizeof *table);
    if (table == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(table, 0, (size_t)size * sizeof *table);
    arena_free(g->arena, g->table, (size_t)g->table_size * sizeof *g->table);
    g->table = table;
    g->table_size = size;
    for (uint32_t i = 0; i < g->n_groups; i++) {
        if (g->groups[i].in_use) {
            uint32_t *chain = chain_of(g, g->groups[i].number);
            g->groups[i].next = *chain;
            *chain = i + 1;
        }
    }
    return STATUS_OK;
}

enum status window_groups_open(struct window_groups *g, int64_t number, struct span span, uint32_t *id)
{
    ASSERT(window_groups_find(g, number) == NO_GROUP);
    if (g->n_live == g->table_size) {
        const enum status st = grow_table(g);
        if (st != STATUS_OK) {
            return st;
        }
    }
    uint32_t at;
    if (g->free_list != 0) {
        at = g->free_list - 1;
        g->free_list = g->groups[at].next;
    } else {
        void *groups = g->groups;
        const enum status st = arena_reserve(g->arena, &groups, &g->capacity, (uint64_t)g->n_groups + 1, sizeof *g->groups);
        g->groups = groups;
        if (st != STATUS_OK) {
            return st;
        }
        at = g->n_groups++;
    }
    uint32_t *chain = chain_of(g, number);
    g->groups[at] = (struct window_group){.number = number, .span = span, .next = *chain, .in_use = true};
    *chain = at + 1;
    g->n_live++;
    *id = at;
    return STATUS_OK;
}

void window_groups_close(struct window_groups *g, uint32_t id)
{
    uint32_t *link = chain_of(g, g->groups[id].number);
    while (*link != id + 1) {
        link = &g->groups[*link - 1].next;
    }
    *link = g->groups[id].next;
    arena_free(g->arena, g->groups[id].panes, g->groups[id].capacity * sizeof *g->groups[id].panes);
    g->groups[id] = (struct window_group){.next = g->free_list};
    g->free_list = id + 1;
    g->n_live--;
}

const char *window_groups_check(const struct window_groups *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->table_size; i++) {
        for (uint32_t at = g->table[i]; at != 0; at = g->groups[at - 1].next) {
            if (!g->groups[at - 1].in_use || chain_of(g, g->groups[at - 1].number) != &g->table[i]) {
                return "a group of windows stands in the wrong chain";
            }
            n++;
        }
    }
    return n == g->n_live ? NULL : "groups of windows are counted wrong";
}
