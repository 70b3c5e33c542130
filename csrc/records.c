#include "records.h"

#include "ranks.h"

#include <string.h>

void records_init(struct records *r, struct arena *arena, const struct plan *plan)
{
    memset(r, 0, sizeof *r);
    r->arena = arena;
    r->plan = plan;
}

void records_free(struct records *r)
{
    if (r->arena == NULL) {
        return;
    }
    arena_free(r->arena, r->keyed, r->keyed_capacity * sizeof *r->keyed);
    arena_free(r->arena, r->nodes, r->nodes_capacity * sizeof *r->nodes);
    arena_free(r->arena, r->runs, r->runs_capacity * sizeof *r->runs);
    arena_free(r->arena, r->matches, r->matches_capacity * sizeof *r->matches);
    arena_free(r->arena, r->registers, r->registers_capacity * sizeof *r->registers);
    arena_free(r->arena, r->lags, r->lags_capacity * sizeof *r->lags);
    arena_free(r->arena, r->waiting, r->waiting_capacity * sizeof *r->waiting);
    arena_free(r->arena, r->places, r->places_capacity * sizeof *r->places);
    arena_free(r->arena, r->ranks, r->ranks_capacity * sizeof *r->ranks);
    arena_free(r->arena, r->events, r->events_capacity * sizeof *r->events);
    memset(r, 0, sizeof *r);
}

static enum status reserve(struct records *r, void *items, uint32_t *capacity, uint64_t n, size_t size)
{
    void *at; /* of whatever type the pointer is */
    memcpy(&at, items, sizeof at);
    const enum status st = arena_reserve(r->arena, &at, capacity, n, size);
    memcpy(items, &at, sizeof at);
    return st;
}

enum status records_reserve(struct records *r, struct record_counts n)
{
    enum status st = reserve(r, &r->keyed, &r->keyed_capacity, n.keyed, sizeof *r->keyed);
    st = st == STATUS_OK ? reserve(r, &r->nodes, &r->nodes_capacity, n.nodes, sizeof *r->nodes) : st;
    st = st == STATUS_OK ? reserve(r, &r->runs, &r->runs_capacity, n.runs, sizeof *r->runs) : st;
    st = st == STATUS_OK ? reserve(r, &r->matches, &r->matches_capacity, n.matches, sizeof *r->matches) : st;
    st = st == STATUS_OK ? reserve(r, &r->registers, &r->registers_capacity, n.registers, sizeof *r->registers) : st;
    return st == STATUS_OK ? reserve(r, &r->lags, &r->lags_capacity, n.lags, sizeof *r->lags) : st;
}

static enum status reserve_ranks(struct records *r, uint64_t n)
{
    void *ranks = r->ranks;
    const enum status st = arena_reserve(r->arena, &ranks, &r->ranks_capacity, 2 * n, sizeof *r->ranks);
    r->ranks = ranks;
    return st;
}

/* ------------------------------------------------------------------ one keyed state */

/* The place of an order among n ascending ones that has it, + 1. */
static uint64_t place_of(const struct ranked *orders, uint32_t n, uint64_t order)
{
    uint32_t low = 0;
    uint32_t high = n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (orders[middle].rank < order) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (uint64_t)low + 1;
}

enum status records_close_keyed(struct records *r)
{
    struct record_keyed *k = &r->keyed[r->n_keyed - 1];
    struct record_node *nodes = r->nodes + k->first_node;
    k->n_nodes = r->n_nodes - k->first_node;
    k->n_runs = r->n_runs - k->first_run;
    k->n_matches = r->n_matches - k->first_match;
    if (k->n_nodes == 1) {
        nodes[0].order = 1;
        for (uint32_t i = 0; i < k->n_runs; i++) {
            r->runs[k->first_run + i].start_order = 1;
        }
        for (uint32_t i = 0; i < k->n_matches; i++) {
            r->matches[k->first_match + i].start_order = 1;
        }
        return STATUS_OK;
    }
    const enum status st = reserve_ranks(r, k->n_nodes);
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < k->n_nodes; i++) {
        r->ranks[i] = (struct ranked){nodes[i].order, i};
    }
    struct ranked *orders = ranks_sort(r->ranks, r->ranks + k->n_nodes, k->n_nodes);
    uint32_t n = 0; /* distinct ones: several nodes have one event */
    for (uint32_t i = 0; i < k->n_nodes; i++) {
        const struct ranked x = orders[i];
        if (n == 0 || orders[n - 1].rank != x.rank) {
            orders[n++] = x;
        }
        nodes[x.item].order = n;
    }
    for (uint32_t i = 0; i < k->n_runs; i++) {
        struct record_run *run = &r->runs[k->first_run + i];
        run->start_order = place_of(orders, n, run->start_order);
    }
    for (uint32_t i = 0; i < k->n_matches; i++) {
        struct record_match *match = &r->matches[k->first_match + i];
        match->start_order = place_of(orders, n, match->start_order);
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ all of them */

/* Numbers of events: per segment, per row, + 1; made when the first row of a segment is met. */
struct numbers {
    const uint32_t *segment_rows;
    uint32_t **of_segment;
    uint32_t n_segments;
};

/* The number of an event, the next one if it has none yet; -1: no memory. */
static int64_t number_of(struct records *r, struct numbers *all, struct event_ref e)
{
    uint32_t *of_row = all->of_segment[e.segment];
    if (UNLIKELY(of_row == NULL)) {
        of_row = arena_alloc(r->arena, all->segment_rows[e.segment] * sizeof *of_row);
        if (of_row == NULL) {
            return -1;
        }
        memset(of_row, 0, all->segment_rows[e.segment] * sizeof *of_row);
        all->of_segment[e.segment] = of_row;
    }
    if (of_row[e.row] == 0) {
        void *items = r->events;
        struct event_ref *event = records_append(r, &items, &r->n_events, &r->events_capacity, sizeof *r->events);
        r->events = items;
        if (event == NULL) {
            return -1;
        }
        *event = e;
        of_row[e.row] = r->n_events;
    }
    return of_row[e.row] - 1;
}

struct arranging {
    struct records *r;
    struct numbers numbers;
    const struct record_columns *c;
    uint32_t keyed, nodes, runs, matches, registers; /* written so far */
};

static enum status arrange_keyed(struct arranging *a, const struct record_keyed *k)
{
    struct records *r = a->r;
    const struct record_columns *c = a->c;
    const struct pattern *p = &r->plan->patterns[k->pattern];
    const int64_t base = (int64_t)a->nodes - 1; /* what a place + 1 lacks to the node's number */
    c->keyed_pattern[a->keyed] = k->pattern;
    c->keyed_runs[a->keyed] = k->n_runs;
    c->keyed_matches[a->keyed] = k->n_matches;
    c->keyed_last_time[a->keyed] = k->last_time;
    c->keyed_overdue_after[a->keyed] = k->overdue_after;
    c->keyed_nodes[a->keyed] = k->n_nodes;
    c->keyed_birth[a->keyed++] = k->birth;
    for (uint32_t i = 0; i < k->n_nodes; i++) {
        const struct record_node *x = &r->nodes[k->first_node + i];
        const int64_t event = number_of(r, &a->numbers, x->event);
        if (event < 0) {
            return STATUS_NO_MEMORY;
        }
        c->node_event[a->nodes] = event;
        c->node_parent[a->nodes] = x->parent == 0 ? -1 : base + x->parent;
        c->node_stage[a->nodes] = x->stage;
        c->node_order[a->nodes++] = x->order;
    }
    for (uint32_t i = 0; i < k->n_runs; i++) {
        const struct record_run *x = &r->runs[k->first_run + i];
        c->run_start_time[a->runs] = x->start_time;
        c->run_start_order[a->runs] = x->start_order;
        c->run_previous_time[a->runs] = x->previous_time;
        c->run_node[a->runs] = base + x->node;
        c->run_state[a->runs++] = x->state;
    }
    for (uint32_t i = 0; i < k->n_matches; i++) {
        const struct record_match *x = &r->matches[k->first_match + i];
        c->match_start_time[a->matches] = x->start_time;
        c->match_start_order[a->matches] = x->start_order;
        c->match_node[a->matches++] = base + x->node;
    }
    for (uint32_t slot = 0; slot < p->n_registers && k->n_runs > 0; slot++) {
        const bool is_node = plan_register_is_node(r->plan, p, slot);
        for (uint32_t i = 0; i < k->n_runs; i++) {
            const uint64_t value = r->registers[k->first_register + i * p->n_registers + slot];
            c->registers[a->registers + i * p->n_registers + slot] = is_node && value != 0 ? (uint64_t)(base + 1) + value : value;
        }
    }
    a->registers += k->n_runs * p->n_registers;
    return STATUS_OK;
}

static enum status arrange_lags(struct arranging *a)
{
    struct records *r = a->r;
    for (uint32_t i = 0; i < r->n_lags; i++) {
        r->ranks[i] = (struct ranked){r->lags[i].position, i};
    }
    struct ranked *order = ranks_sort(r->ranks, r->ranks + r->n_lags, r->n_lags);
    for (uint32_t i = 0; i < r->n_lags; i++) {
        order[i].rank = r->lags[order[i].item].keyspace;
    }
    order = ranks_sort(order, order == r->ranks ? r->ranks + r->n_lags : r->ranks, r->n_lags);
    for (uint32_t i = 0; i < r->n_lags; i++) {
        const struct record_lag *x = &r->lags[order[i].item];
        a->c->lag_keyspace[i] = x->keyspace;
        a->c->lag_time[i] = x->time;
        a->c->lag_event[i] = number_of(r, &a->numbers, x->event);
        if (a->c->lag_event[i] < 0) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

static enum status arrange_all(struct arranging *a)
{
    struct records *r = a->r;
    const uint32_t n_refs = r->n_nodes + r->n_lags + r->n_waiting;
    enum status st = reserve_ranks(r, r->n_keyed > r->n_lags ? r->n_keyed : r->n_lags);
    void *events = r->events;
    if (st == STATUS_OK && n_refs >= r->n_nodes) {
        st = arena_reserve(r->arena, &events, &r->events_capacity, n_refs, sizeof *r->events);
        r->events = events;
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < r->n_keyed; i++) {
        r->ranks[i] = (struct ranked){r->keyed[i].birth, i};
    }
    const struct ranked *order = ranks_sort(r->ranks, r->ranks + r->n_keyed, r->n_keyed);
    for (uint32_t i = 0; i < r->n_keyed && st == STATUS_OK; i++) {
        st = arrange_keyed(a, &r->keyed[order[i].item]);
    }
    if (st == STATUS_OK) {
        st = arrange_lags(a);
    }
    for (uint32_t i = 0; i < r->n_waiting && st == STATUS_OK; i++) {
        a->c->waiting[i] = number_of(r, &a->numbers, r->waiting[i]);
        st = a->c->waiting[i] < 0 ? STATUS_NO_MEMORY : STATUS_OK;
    }
    return st;
}

enum status records_arrange(struct records *r, const uint32_t *segment_rows, uint32_t n_segments, const struct record_columns *c)
{
    struct arranging a = {.r = r, .c = c, .numbers = {.segment_rows = segment_rows, .n_segments = n_segments}};
    const size_t size = (size_t)n_segments * sizeof *a.numbers.of_segment;
    a.numbers.of_segment = arena_alloc(r->arena, size);
    if (a.numbers.of_segment == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(a.numbers.of_segment, 0, size);
    r->n_events = 0;
    const enum status st = arrange_all(&a);
    for (uint32_t i = 0; i < n_segments; i++) {
        arena_free(r->arena, a.numbers.of_segment[i], segment_rows[i] * sizeof **a.numbers.of_segment);
    }
    arena_free(r->arena, a.numbers.of_segment, size);
    return st;
}
