#include "match_graph.h"

#include <string.h>

enum status match_graph_init(struct match_graph *g, struct arena *arena, struct event_store *events)
{
    memset(g, 0, sizeof *g);
    g->arena = arena;
    g->events = events;
    const enum status st = match_graph_grow(g);
    if (st == STATUS_OK) {
        memset(&g->nodes[0], 0, sizeof g->nodes[0]);
        g->n_nodes = 1;
    }
    return st;
}

void match_graph_free(struct match_graph *g)
{
    if (g->arena != NULL) {
        arena_free(g->arena, g->nodes, (size_t)g->capacity * sizeof *g->nodes);
    }
    memset(g, 0, sizeof *g);
}

enum status match_graph_grow(struct match_graph *g)
{
    void *nodes = g->nodes;
    const enum status st = arena_reserve(g->arena, &nodes, &g->capacity, (uint64_t)g->capacity + 1, sizeof *g->nodes);
    g->nodes = nodes;
    return st;
}

/* Walks the longer chain up to the shorter's length, then both up to their roots, keeping the verdict of the earliest difference. */
int node_compare(const struct match_graph *g, uint32_t a, uint32_t b)
{
    const uint32_t length_a = g->nodes[a].length;
    const uint32_t length_b = g->nodes[b].length;
    int by_order = (length_a > length_b) - (length_a < length_b);
    int by_stage = 0;
    for (uint32_t n = length_a; n > length_b; n--) {
        a = g->nodes[a].parent;
    }
    for (uint32_t n = length_b; n > length_a; n--) {
        b = g->nodes[b].parent;
    }
    while (a != b) {
        const struct node *x = &g->nodes[a];
        const struct node *y = &g->nodes[b];
        if (x->order != y->order) {
            by_order = x->order < y->order ? -1 : 1;
        }
        if (x->stage != y->stage) {
            by_stage = x->stage < y->stage ? -1 : 1;
        }
        a = x->parent;
        b = y->parent;
    }
    return by_order != 0 ? by_order : by_stage;
}
