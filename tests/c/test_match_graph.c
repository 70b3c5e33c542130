/* The graph of taken events against copies of whole chains: nodes live as long as they are reached, and compare as their chains do. */
#include "check.h"
#include "match_graph.h"

#define RUNS 40
#define LONGEST 12
#define SEGMENTS 4

struct link {
    uint64_t order;
    uint32_t stage;
    uint32_t segment;
    uint32_t row;
};

struct chain {
    uint32_t node; /* 0: no run here */
    uint32_t length;
    struct link links[LONGEST];
};

static struct chain runs[RUNS];
static uint64_t next_order;

static void check_chain(const struct match_graph *g, const struct chain *c)
{
    uint32_t at = c->node;
    for (uint32_t i = c->length; i > 0; i--) {
        const struct node *n = &g->nodes[at];
        const struct link *l = &c->links[i - 1];
        CHECK(at != 0 && n->references > 0 && n->length == i);
        CHECK(n->order == l->order && n->stage == l->stage && n->event.segment == l->segment && n->event.row == l->row);
        at = n->parent;
    }
    CHECK(at == 0);
}

/* A run that goes on from another one, or starts: the event is shared by whoever takes it now. */
static void extend(struct match_graph *g)
{
    const struct chain *from = &runs[random_below(RUNS)];
    struct chain *to = &runs[random_below(RUNS)];
    if (to->node != 0 || from->length == LONGEST) {
        return;
    }
    next_order += random_below(2); /* an event taken twice has one order */
    const struct link l = {next_order + 1, random_below(3), random_below(SEGMENTS), random_below(100)};
    const uint32_t live = g->n_live;
    g->arena->fail_after = random_below(4) == 0 ? 1 : 0;
    const uint32_t id = node_new(g, (struct event_ref){l.segment, l.row}, l.order, l.stage, from->node);
    g->arena->fail_after = 0;
    if (id == 0) {
        CHECK(g->n_live == live);
        check_chain(g, from);
        return;
    }
    struct chain copy = *from;
    copy.node = id;
    copy.links[copy.length++] = l;
    *to = copy;
}

static void drop(struct match_graph *g, struct chain *c)
{
    node_release(g, c->node);
    memset(c, 0, sizeof *c);
}

/* First event first by order, a shorter prefix first; then by stages. */
static int compare(const struct chain *a, const struct chain *b)
{
    const uint32_t n = a->length < b->length ? a->length : b->length;
    for (uint32_t i = 0; i < n; i++) {
        if (a->links[i].order != b->links[i].order) {
            return a->links[i].order < b->links[i].order ? -1 : 1;
        }
    }
    if (a->length != b->length) {
        return a->length < b->length ? -1 : 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (a->links[i].stage != b->links[i].stage) {
            return a->links[i].stage < b->links[i].stage ? -1 : 1;
        }
    }
    return 0;
}

static void check_all(const struct match_graph *g, const struct event_store *s)
{
    uint32_t live = 0;
    uint64_t by_segment[SEGMENTS] = {0};
    for (uint32_t i = 1; i < g->n_nodes; i++) {
        if (g->nodes[i].references > 0) {
            live++;
            by_segment[g->nodes[i].event.segment]++;
        }
    }
    CHECK(g->n_live == live && s->live == live);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        CHECK(s->segments[i].live == by_segment[i]);
    }
    for (uint32_t i = 0; i < RUNS; i++) {
        check_chain(g, &runs[i]);
        const uint32_t j = random_below(RUNS);
        CHECK(node_compare(g, runs[i].node, runs[j].node) == compare(&runs[i], &runs[j]));
    }
}

static void test(void)
{
    struct arena a;
    struct event_store s;
    struct match_graph g;
    arena_init(&a);
    event_store_init(&s, &a, 0, 1);
    for (uint32_t i = 0, id; i < SEGMENTS; i++) {
        CHECK(event_store_open(&s, &id) == STATUS_OK && id == i);
        s.segments[i].pinned = 1;
    }
    CHECK(match_graph_init(&g, &a, &s) == STATUS_OK);
    memset(runs, 0, sizeof runs);
    next_order = 0;
    for (int step = 0; step < 1500; step++) {
        const uint32_t what = random_below(8);
        if (what < 5) {
            extend(&g);
        } else if (what < 6 && runs[0].node != 0 && runs[1].node == 0) {
            node_retain(&g, runs[0].node);
            runs[1] = runs[0];
        } else {
            drop(&g, &runs[random_below(RUNS)]);
        }
        check_all(&g, &s);
    }
    for (uint32_t i = 0; i < RUNS; i++) {
        drop(&g, &runs[i]);
    }
    check_all(&g, &s);
    CHECK(g.n_live == 0);
    match_graph_free(&g);
    event_store_free(&s);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 6);
}
