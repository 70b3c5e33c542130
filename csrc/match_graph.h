/* The events that partial matches have taken, shared: a node is one event in one stage and points at the node before it.
 *
 *        a1 <- b1 <- b2        run 1 ends at b2, run 2 at b1: they share a1 <- b1
 *               ^
 *               c1 (another run)
 *
 * A node lives while a run, a result being built or another node refers to it; node 0 is "none". Releasing walks up the chain
 * in a loop, no recursion. Ids are u32 and stay valid when the array grows.
 */
#ifndef FYKE_MATCH_GRAPH_H
#define FYKE_MATCH_GRAPH_H

#include "event_store.h"

struct node {
    uint64_t order; /* the event's place in release order: unique, ascending, survives compaction */
    struct event_ref event;
    uint32_t parent;
    uint32_t references;
    uint32_t stage;
    uint32_t length; /* nodes in the chain */
};

struct match_graph {
    struct arena *arena;
    struct event_store *events;
    struct node *nodes;
    uint32_t n_nodes; /* ever used, node 0 included */
    uint32_t capacity;
    uint32_t free_list; /* linked through parent */
    uint32_t n_live;
};

MUST_CHECK enum status match_graph_init(struct match_graph *g, struct arena *arena, struct event_store *events);
void match_graph_free(struct match_graph *g);
MUST_CHECK enum status match_graph_grow(struct match_graph *g);

/* A node with one reference, the caller's; takes over the caller's references on parent and on the event's segment. 0: no memory. */
static inline uint32_t node_adopt(struct match_graph *g, struct event_ref event, uint64_t order, uint32_t stage, uint32_t parent)
{
    uint32_t id = g->free_list;
    if (LIKELY(id != 0)) {
        g->free_list = g->nodes[id].parent;
    } else {
        if (UNLIKELY(g->n_nodes == g->capacity) && match_graph_grow(g) != STATUS_OK) {
            return 0;
        }
        id = g->n_nodes++;
    }
    struct node *n = &g->nodes[id];
    n->order = order;
    n->event = event;
    n->parent = parent;
    n->references = 1;
    n->stage = stage;
    n->length = parent != 0 ? g->nodes[parent].length + 1 : 1;
    g->n_live++;
    return id;
}

/* As node_adopt, with a reference of its own on the event's segment. */
static inline uint32_t node_append(struct match_graph *g, struct event_ref event, uint64_t order, uint32_t stage, uint32_t parent)
{
    event_retain(g->events, event.segment);
    const uint32_t id = node_adopt(g, event, order, stage, parent);
    if (UNLIKELY(id == 0)) {
        event_release(g->events, event.segment);
    }
    return id;
}

/* As node_append, but the caller keeps its reference on parent. */
static inline uint32_t node_new(struct match_graph *g, struct event_ref event, uint64_t order, uint32_t stage, uint32_t parent)
{
    const uint32_t id = node_append(g, event, order, stage, parent);
    if (parent != 0 && id != 0) {
        g->nodes[parent].references++;
    }
    return id;
}

static inline void node_retain(struct match_graph *g, uint32_t id)
{
    g->nodes[id].references++;
}

static inline void node_release(struct match_graph *g, uint32_t id)
{
    while (id != 0 && --g->nodes[id].references == 0) {
        struct node *n = &g->nodes[id];
        const uint32_t parent = n->parent;
        event_release(g->events, n->event.segment);
        n->parent = g->free_list;
        g->free_list = id;
        g->n_live--;
        id = parent;
    }
}

/* Compares two chains by the orders of their events, first event first, a shorter prefix first; then by stages. */
int node_compare(const struct match_graph *g, uint32_t a, uint32_t b);

#endif
