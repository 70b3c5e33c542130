/* Runs of the general engine as a compact set: after a restore.
 *
 * The events of the runs are taken one after the other, as if they had just come; that must give the very partial matches that the runs
 * are. It does unless some had been dropped, by a bound say, or the state was made up: then the pattern is run in general.
 */
#include "nfa.h"

#include <stdlib.h>
#include <string.h>

/* A node of the runs, in the order of events: where it stands in the automaton, and a name for the path up to it. */
struct step {
    uint64_t order;
    uint64_t path;
    uint32_t node;
    uint32_t state;
};

struct ending {
    uint64_t path;
    uint64_t states; /* of the pattern's own automaton, a bit a run */
    uint32_t state;
};

struct adoption {
    struct nfa *n;
    const struct compact_pattern *c;
    struct step *steps;
    uint32_t n_steps;
    uint32_t *places; /* node -> its step, + 1 */
    struct ending *endings;
    uint32_t n_endings;
};

static int by_order(const void *a, const void *b)
{
    const uint64_t x = ((const struct step *)a)->order;
    const uint64_t y = ((const struct step *)b)->order;
    return (x > y) - (x < y);
}

static int by_path(const void *a, const void *b)
{
    const uint64_t x = ((const struct ending *)a)->path;
    const uint64_t y = ((const struct ending *)b)->path;
    return (x > y) - (x < y);
}

static uint32_t class_of(const struct adoption *d, struct event_ref e)
{
    const struct segment *g = &d->n->events->segments[e.segment];
    return d->c->class_of[decision_index(&d->c->decision, g->masks + (size_t)e.row * d->n->plan->mask_words)];
}

/* The nodes of all runs, each once, in the order of events. */
static void list_steps(struct adoption *d, const struct keyed *k)
{
    const struct node *nodes = d->n->graph.nodes;
    for (uint32_t i = 0; i < k->n_runs; i++) {
        for (uint32_t at = k->runs[i].node; at != 0 && d->places[at] == 0; at = nodes[at].parent) {
            d->places[at] = 1;
            d->steps[d->n_steps++] = (struct step){.order = nodes[at].order, .node = at};
        }
    }
    qsort(d->steps, d->n_steps, sizeof *d->steps, by_order);
    for (uint32_t i = 0; i < d->n_steps; i++) {
        d->places[d->steps[i].node] = i + 1;
    }
}

/* Follows the take by which the node's event joined the path before; false: there is no such take. */
static bool follow(const struct adoption *d, struct step *s)
{
    const struct node *x = &d->n->graph.nodes[s->node];
    const struct compact_automaton *a = &d->c->automaton;
    uint32_t state = 0;
    uint64_t path = 0;
    if (x->parent != 0) {
        const struct step *before = &d->steps[d->places[x->parent] - 1];
        if (before->order >= s->order) {
            return false;
        }
        state = before->state;
        path = before->path;
    }
    const struct compact_cell *cell = compact_cell(a, state, class_of(d, x->event));
    const struct compact_take *t = &a->takes[cell->first_take];
    if (cell->n_takes == 0 || t->target == COMPACT_FINAL || t->stage != x->stage) {
        return false;
    }
    s->state = t->target;
    s->path = mix64(path ^ mix64(s->order * 0x9e3779b97f4a7c15ULL + x->stage + 1));
    return true;
}

/* Takes the events, each once. */
static enum status take_events(const struct adoption *d, struct compact_key *out, bool *fits)
{
    struct nfa *n = d->n;
    for (uint32_t i = 0; i < d->n_steps && *fits; i++) {
        const struct event_ref e = n->graph.nodes[d->steps[i].node].event;
        if (i > 0 && d->steps[i].order == d->steps[i - 1].order) {
            const struct event_ref same = n->graph.nodes[d->steps[i - 1].node].event;
            *fits = same.segment == e.segment && same.row == e.row;
        } else {
            const uint32_t class_ = class_of(d, e);
            *fits = !compact_is_empty(out) || ((d->c->starts >> class_) & 1);
            const event_time_t time = event_time(n->events, e);
            *fits = *fits && (compact_is_empty(out) || out->events[out->end - 1].time <= time);
            const enum status st = *fits ? compact_push(out, n->arena, &d->c->automaton, n->events, e, time, class_) : STATUS_OK;
            if (st != STATUS_OK) {
                return st;
            }
        }
        *fits = *fits && follow(d, &d->steps[i]);
    }
    return STATUS_OK;
}

/* Whether the runs are all the paths there are, each in states that go on as one. */
static bool are_all(struct adoption *d, const struct keyed *k, const struct compact_key *out)
{
    const struct plan *plan = d->n->plan;
    const uint32_t first_state = plan->patterns[k->pattern].first_state;
    for (uint32_t i = 0; i < k->n_runs; i++) {
        const struct step *s = &d->steps[d->places[k->runs[i].node] - 1];
        d->endings[i] = (struct ending){s->path, (uint64_t)1 << (k->runs[i].state - first_state), s->state};
    }
    qsort(d->endings, k->n_runs, sizeof *d->endings, by_path);
    uint64_t n_paths = 0;
    for (uint32_t i = 0; i < k->n_runs; n_paths++) {
        const uint64_t path = d->endings[i].path;
        const struct compact_state *s = &plan->compact_states[d->c->plan->first_state + d->endings[i].state];
        uint64_t states = 0;
        for (; i < k->n_runs && d->endings[i].path == path; i++) {
            states |= d->endings[i].states;
        }
        bool known = false;
        for (uint32_t j = 0; j < s->n_sets && !known; j++) {
            known = plan->compact_sets[s->first_set + j] == states;
        }
        if (!known) {
            return false;
        }
    }
    return n_paths == compact_partials(out, &d->c->automaton);
}

/* Fills `out`, which is open and empty, from the runs; `fits` says whether that could be. */
static enum status adopt(struct nfa *n, const struct keyed *k, struct compact_key *out, bool *fits)
{
    for (uint32_t i = 0; i < k->n_runs; i++) { /* those of one event may have no node yet; there are no registers */
        if (run_node(n, &k->runs[i]) == 0) {
            return STATUS_NO_MEMORY;
        }
    }
    struct adoption d = {.n = n, .c = &n->compacts[k->pattern]};
    const size_t n_nodes = n->graph.n_nodes;
    d.steps = arena_alloc(n->arena, n_nodes * sizeof *d.steps);
    d.places = arena_alloc(n->arena, n_nodes * sizeof *d.places);
    d.endings = arena_alloc(n->arena, k->n_runs * sizeof *d.endings);
    enum status st = d.steps == NULL || d.places == NULL || d.endings == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (st == STATUS_OK) {
        memset(d.places, 0, n_nodes * sizeof *d.places);
        list_steps(&d, k);
        *fits = k->n_held == 0;
        st = take_events(&d, out, fits);
        *fits = st == STATUS_OK && *fits && are_all(&d, k, out);
    }
    arena_free(n->arena, d.steps, n_nodes * sizeof *d.steps);
    arena_free(n->arena, d.places, n_nodes * sizeof *d.places);
    arena_free(n->arena, d.endings, k->n_runs * sizeof *d.endings);
    return st;
}

/* The first time to see whether it can be done, the second time to do it. */
static enum status adopt_key(struct nfa *n, uint32_t id, bool seriously, bool *fits)
{
    struct keyed *k = &n->keyed[id];
    const uint32_t pattern = k->pattern;
    const uint32_t slot = k->slot;
    struct compact_key made;
    enum status st = compact_open(&made, n->arena, &n->compacts[pattern].automaton);
    if (st != STATUS_OK) {
        return st;
    }
    st = adopt(n, k, &made, fits);
    if (st != STATUS_OK || !*fits || !seriously) {
        compact_close(&made, n->arena, &n->compacts[pattern].automaton, n->events);
        return st;
    }
    n->keyspaces[n->plan->patterns[pattern].keyspace].slots[slot].users++; /* for the time between the two */
    nfa_drop_runs(n, k, 0, k->n_runs);
    nfa_close_keyed(n, id);
    st = nfa_compact_install(n, pattern, slot, &made);
    n->keyspaces[n->plan->patterns[pattern].keyspace].slots[slot].users--;
    return st;
}

enum status nfa_compact_adopt(struct nfa *n, uint32_t pattern)
{
    bool fits = true;
    for (uint32_t seriously = 0; seriously < 2 && fits; seriously++) {
        for (uint32_t i = 0; i < n->n_keyed && fits; i++) {
            if (n->keyed[i].pattern != pattern || (n->keyed[i].runs == NULL && n->keyed[i].held == NULL)) {
                continue;
            }
            const enum status st = adopt_key(n, i, seriously != 0, &fits);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    n->compacts[pattern].on = fits;
    return STATUS_OK;
}
