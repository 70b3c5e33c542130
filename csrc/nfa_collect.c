/* Keyed states and the events before, as records (records.h). What is collected is not changed. */
#include "nfa.h"

#include <string.h>

/* ------------------------------------------------------------------ nodes */

static struct record_node *append_node(struct records *r, struct event_ref event, uint64_t order, uint32_t parent, uint32_t stage)
{
    struct record_node *x = records_append_node(r);
    if (x != NULL) {
        *x = (struct record_node){.event = event, .order = order, .parent = parent, .stage = stage};
    }
    return x;
}

/* The place + 1 of a node among those of the keyed state that begin at `first`; adds the part of its chain that is not there. 0: no memory. */
static uint32_t collect_chain(const struct nfa *n, struct records *r, uint32_t first, uint32_t node)
{
    uint32_t missing = 0;
    uint32_t known = node;
    for (; known != 0 && r->places[known] == 0; known = n->graph.nodes[known].parent) {
        missing++;
    }
    const uint32_t parent = r->places[known]; /* 0 has none */
    if (missing == 0) {
        return parent;
    }
    void *nodes = r->nodes;
    if (arena_reserve(r->arena, &nodes, &r->nodes_capacity, (uint64_t)r->n_nodes + missing, sizeof *r->nodes) != STATUS_OK) {
        return 0;
    }
    r->nodes = nodes;
    r->n_nodes += missing;
    const uint32_t last = r->n_nodes - first; /* place + 1 of the node itself */
    uint32_t at = node;
    for (uint32_t i = 0; i < missing; i++) {
        const struct node *x = &n->graph.nodes[at];
        const uint32_t place = last - i;
        r->nodes[first + place - 1] = (struct record_node){
            .event = x->event, .order = x->order, .parent = i + 1 == missing ? parent : place - 1, .stage = x->stage};
        r->places[at] = place;
        at = x->parent;
    }
    return last;
}

/* Forgets the places of a chain's nodes. */
static void forget_chain(const struct nfa *n, struct records *r, uint32_t node)
{
    for (; node != 0 && r->places[node] != 0; node = n->graph.nodes[node].parent) {
        r->places[node] = 0;
    }
}

static enum status reserve_places(const struct nfa *n, struct records *r)
{
    const uint32_t before = r->places_capacity;
    void *places = r->places;
    const enum status st = arena_reserve(r->arena, &places, &r->places_capacity, n->graph.n_nodes, sizeof *r->places);
    r->places = places;
    if (r->places_capacity > before) {
        memset(r->places + before, 0, (r->places_capacity - before) * sizeof *r->places);
    }
    return st;
}

/* ------------------------------------------------------------------ keyed states */

static struct record_keyed *open_keyed(struct records *r)
{
    struct record_keyed *x = records_append_keyed(r);
    if (x != NULL) {
        *x = (struct record_keyed){.first_node = r->n_nodes, .first_run = r->n_runs, .first_match = r->n_matches,
                                   .first_register = r->n_registers};
    }
    return x;
}

static enum status collect_run(const struct nfa *n, struct records *r, uint32_t first, const struct pattern *p, const struct run *run)
{
    uint32_t node;
    if (run->node & SINGLE) {
        const struct record_node *x = append_node(r, run->only, run->start_order, 0, run->node & ~SINGLE);
        node = x == NULL ? 0 : r->n_nodes - first;
    } else {
        node = collect_chain(n, r, first, run->node);
    }
    struct record_run *x = node == 0 ? NULL : records_append_run(r);
    if (x == NULL) {
        return STATUS_NO_MEMORY;
    }
    *x = (struct record_run){.start_time = run->start_time, .start_order = run->start_order, .previous_time = run_previous_time(run),
                             .node = node, .state = run->state - p->first_state};
    for (uint32_t slot = 0; slot < p->n_registers; slot++) {
        uint64_t value = run->registers[slot];
        if (value != 0 && plan_register_is_node(n->plan, p, slot)) {
            value = collect_chain(n, r, first, (uint32_t)value);
            if (value == 0) {
                return STATUS_NO_MEMORY;
            }
        }
        uint64_t *at = records_append_register(r);
        if (at == NULL) {
            return STATUS_NO_MEMORY;
        }
        *at = value;
    }
    return STATUS_OK;
}

enum status nfa_collect_keyed(const struct nfa *n, struct records *r, uint32_t id)
{
    const struct keyed *k = &n->keyed[id];
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    struct record_keyed *x = open_keyed(r);
    enum status st = x == NULL ? STATUS_NO_MEMORY : reserve_places(n, r);
    if (st != STATUS_OK) {
        return st;
    }
    const uint32_t first = x->first_node;
    x->birth = k->birth;
    x->last_time = k->last_time;
    x->overdue_after = k->overdue_after;
    x->pattern = k->pattern;
    for (uint32_t i = 0; i < k->n_runs && st == STATUS_OK; i++) {
        st = collect_run(n, r, first, p, run_at(k->runs, size, i));
    }
    for (uint32_t i = 0; i < k->n_held && st == STATUS_OK; i++) {
        const uint32_t node = collect_chain(n, r, first, k->held[i].node);
        struct record_match *match = node == 0 ? NULL : records_append_match(r);
        if (match == NULL) {
            st = STATUS_NO_MEMORY;
        } else {
            *match = (struct record_match){k->held[i].start_time, k->held[i].start_order, node};
        }
    }
    for (uint32_t i = 0; i < k->n_runs; i++) {
        const struct run *run = run_at(k->runs, size, i);
        forget_chain(n, r, run->node & SINGLE ? 0 : run->node);
        for (uint32_t slot = 0; slot < p->n_registers; slot++) {
            if (plan_register_is_node(n->plan, p, slot)) {
                forget_chain(n, r, (uint32_t)run->registers[slot]);
            }
        }
    }
    for (uint32_t i = 0; i < k->n_held; i++) {
        forget_chain(n, r, k->held[i].node);
    }
    return st == STATUS_OK ? records_close_keyed(r) : st;
}

/* The bits of a strict sequence as the runs of a general engine, each with nodes of its own: the same bytes, however the pattern is run. */
enum status nfa_collect_strict(const struct nfa *n, struct records *r, uint32_t id)
{
    struct strict_key *k = strict_at(&n->strict, id);
    const struct sequence *q = &n->sequences[k->pattern];
    const event_time_t latest = event_time(n->events, *strict_event(k, 0));
    struct record_keyed *x = open_keyed(r);
    if (x == NULL) {
        return STATUS_NO_MEMORY;
    }
    const uint32_t first = x->first_node;
    x->birth = k->birth;
    x->last_time = latest;
    x->overdue_after = nfa_strict_deadline(n, id) <= latest ? event_position(n->events, *strict_event(k, 0)) : NO_POSITION;
    x->pattern = k->pattern;
    const uint32_t longest = bits_length(k->bits);
    for (uint32_t bit = longest; bit-- > 0;) {
        if (!((k->bits >> bit) & 1)) {
            continue;
        }
        for (uint32_t i = 0; i <= bit; i++) {
            if (append_node(r, *strict_event(k, bit - i), longest - (bit - i), i == 0 ? 0 : r->n_nodes - first, q->places[i].stage) == NULL) {
                return STATUS_NO_MEMORY;
            }
        }
        struct record_run *run = records_append_run(r);
        if (run == NULL) {
            return STATUS_NO_MEMORY;
        }
        *run = (struct record_run){.start_time = event_time(n->events, *strict_event(k, bit)), .start_order = longest - bit,
                                   .previous_time = latest, .node = r->n_nodes - first, .state = bit + 1};
    }
    return records_close_keyed(r);
}

#define COMPACT_MOST (1U << 24)

/* A path as the runs that a general engine has of it: one in each of the states that stand for its own. */
static enum status collect_path(const struct nfa *n, struct records *r, const struct compact_key *k, uint32_t state, uint32_t start,
                                uint32_t node, event_time_t latest)
{
    const struct compact_plan *c = n->compacts[k->pattern].plan;
    for (uint64_t states = n->plan->compact_sets[n->plan->compact_states[c->first_state + state].first_set]; states != 0; states &= states - 1) {
        struct record_run *run = records_append_run(r);
        if (run == NULL) {
            return STATUS_NO_MEMORY;
        }
        *run = (struct record_run){.start_time = k->events[start].time, .start_order = start + 1U, .previous_time = latest, .node = node,
                                   .state = (uint32_t)__builtin_ctzll(states)};
    }
    return STATUS_OK;
}

static enum status collect_paths(const struct nfa *n, struct records *r, const struct compact_key *k, uint32_t first, struct compact_walk *w)
{
    const struct compact_take *takes = n->compacts[k->pattern].automaton.takes;
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        struct compact_frame *f = &w->stack[w->depth - 1];
        if (f->at >= w->ends[f->state]) {
            if (--w->depth == 0) {
                break;
            }
            continue;
        }
        const struct compact_item item = k->lists[f->state].items[f->at++];
        const struct compact_event *e = &k->events[item.event];
        const struct compact_take *t = &takes[item.take];
        if (append_node(r, e->event, item.event + 1U, f->node, t->stage) == NULL) {
            return STATUS_NO_MEMORY;
        }
        const uint32_t start = w->depth == 1 ? item.event : w->stack[1].event;
        st = compact_enter(w, r->arena, t->target, item);
        if (st == STATUS_OK) {
            w->stack[w->depth - 1].node = r->n_nodes - first;
            st = collect_path(n, r, k, t->target, start, r->n_nodes - first, e->time);
        }
    }
    return st;
}

bool nfa_compact_fits_records(const struct nfa *n, uint32_t id)
{
    const struct compact_key *k = &n->compact_keys[id];
    return k->lists == NULL || compact_partials(k, &n->compacts[k->pattern].automaton) <= COMPACT_MOST;
}

/* A compact set as the partial matches it stands for, one by one. */
enum status nfa_collect_compact(const struct nfa *n, struct records *r, uint32_t id)
{
    const struct compact_key *k = &n->compact_keys[id];
    const struct compact_automaton *a = &n->compacts[k->pattern].automaton;
    if (!nfa_compact_fits_records(n, id)) {
        return STATUS_TOO_MANY_PARTIALS;
    }
    struct record_keyed *x = open_keyed(r);
    if (x == NULL) {
        return STATUS_NO_MEMORY;
    }
    const uint32_t first = x->first_node;
    x->birth = k->birth;
    x->last_time = k->events[k->end - 1].time;
    x->overdue_after = NO_POSITION;
    x->pattern = k->pattern;
    struct compact_walk w;
    memset(&w, 0, sizeof w);
    enum status st = compact_begin(&w, r->arena, a, k, COMPACT_OPEN);
    if (st == STATUS_OK) {
        st = collect_paths(n, r, k, first, &w);
    }
    compact_walk_free(&w, r->arena);
    return st == STATUS_OK ? records_close_keyed(r) : st;
}

/* ------------------------------------------------------------------ the whole */

enum status nfa_collect_lag(const struct nfa *n, struct records *r, uint32_t keyspace, uint32_t slot)
{
    const struct key_slot *s = &n->keyspaces[keyspace].slots[slot];
    struct record_lag *x = records_append_lag(r);
    if (x == NULL) {
        return STATUS_NO_MEMORY;
    }
    *x = (struct record_lag){.time = s->last_time, .position = event_position(n->events, s->last), .event = s->last, .keyspace = keyspace};
    return STATUS_OK;
}

static enum status collect_lags(const struct nfa *n, struct records *r, uint32_t keyspace)
{
    const struct keyspace *space = &n->keyspaces[keyspace];
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < space->table_size && st == STATUS_OK; i++) {
        if (space->table[i] != 0 && space->slots[space->table[i] - 1].last.segment != NO_SEGMENT) {
            st = nfa_collect_lag(n, r, keyspace, space->table[i] - 1);
        }
    }
    return st;
}

enum status nfa_reserve_records(const struct nfa *n, struct records *r)
{
    uint64_t places = 0; /* of the longest strict sequence: its runs do not share their nodes */
    uint64_t registers = 0;
    uint64_t lags = 0;
    for (uint32_t p = 0; p < n->plan->n_patterns; p++) {
        places = n->sequences[p].n_places > places ? n->sequences[p].n_places : places;
        registers = n->plan->patterns[p].n_registers > registers ? n->plan->patterns[p].n_registers : registers;
    }
    for (uint32_t k = 0; k < n->plan->n_keyspaces; k++) {
        lags += n->plan->keyspaces[k].needs_lag ? n->keyspaces[k].n_keys : 0;
    }
    return records_reserve(r, (struct record_counts){
        .keyed = (uint64_t)n->n_keyed_live + n->strict.n_live + n->n_compact_keys, .nodes = n->graph.n_live + n->n_single + n->strict.n_runs * places,
        .runs = n->n_runs + n->strict.n_runs, .matches = n->n_held, .registers = n->n_runs * registers, .lags = lags});
}

enum status nfa_collect(const struct nfa *n, struct records *r)
{
    enum status st = nfa_reserve_records(n, r);
    for (uint32_t i = 0; i < n->n_keyed && st == STATUS_OK; i++) {
        if (keyed_holds(&n->keyed[i])) {
            st = nfa_collect_keyed(n, r, i);
        }
    }
    for (uint32_t i = 0; i < n->strict.n_records && st == STATUS_OK; i++) {
        if (strict_at(&n->strict, i)->bits != 0) {
            st = nfa_collect_strict(n, r, i);
        }
    }
    for (uint32_t i = 0; i < n->n_compact_keys && st == STATUS_OK; i++) {
        if (n->compact_keys[i].lists != NULL) {
            st = nfa_collect_compact(n, r, i);
        }
    }
    for (uint32_t i = 0; i < n->plan->n_keyspaces && st == STATUS_OK; i++) {
        st = n->plan->keyspaces[i].needs_lag ? collect_lags(n, r, i) : STATUS_OK;
    }
    return st;
}
