/* Life of the engine and of keyed states; restore; invariants. See nfa.h. */
#include "nfa.h"

#include <string.h>


static void *alloc_zeroed(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

enum status nfa_init(struct nfa *n, struct arena *arena, const struct plan *plan, struct event_store *events,
                     const struct nfa_options *options)
{
    memset(n, 0, sizeof *n);
    n->arena = arena;
    n->plan = plan;
    n->events = events;
    n->options = *options;
    timers_init(&n->timers, arena);
    timers_init(&n->strict_timers, arena);
    n->largest_run = sizeof(struct run);
    for (uint32_t p = 0; p < plan->n_patterns; p++) {
        if (run_size(n, p) > n->largest_run) {
            n->largest_run = (uint32_t)run_size(n, p);
        }
        n->every_row |= plan->patterns[p].every_row != 0;
    }
    for (uint32_t i = 0; i < plan->n_keyspaces; i++) {
        n->every_row |= plan->keyspaces[i].needs_lag != 0;
    }
    const size_t words = plan->mask_words;
    n->keyspaces = alloc_zeroed(arena, plan->n_keyspaces * sizeof *n->keyspaces);
    n->slots = alloc_zeroed(arena, plan->n_keyspaces * sizeof *n->slots);
    n->heads = alloc_zeroed(arena, plan->n_patterns * sizeof *n->heads);
    n->head_capacities = alloc_zeroed(arena, plan->n_patterns * sizeof *n->head_capacities);
    n->condition_values = alloc_zeroed(arena, plan->n_conditions);
    n->condition_stamps = alloc_zeroed(arena, plan->n_conditions * sizeof *n->condition_stamps);
    n->start_run = alloc_zeroed(arena, n->largest_run);
    n->branching = alloc_zeroed(arena, n->largest_run);
    for (uint32_t i = 0; i < plan->n_states; i++) {
        n->most_edges = plan->states[i].n_edges > n->most_edges ? plan->states[i].n_edges : n->most_edges;
    }
    n->open = alloc_zeroed(arena, n->most_edges * sizeof *n->open);
    n->decisions = alloc_zeroed(arena, plan->n_states * sizeof *n->decisions);
    n->care = alloc_zeroed(arena, words * sizeof *n->care);
    n->chunk_masks = alloc_zeroed(arena, VM_BLOCK * words * sizeof *n->chunk_masks);
    n->chunk_refs = alloc_zeroed(arena, VM_BLOCK * sizeof *n->chunk_refs);
    n->chunk_previous = alloc_zeroed(arena, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_previous);
    n->chunk_keys = alloc_zeroed(arena, VM_BLOCK * sizeof *n->chunk_keys);
    n->chunk_hashes = alloc_zeroed(arena, VM_BLOCK * sizeof *n->chunk_hashes);
    n->chunk_slots = alloc_zeroed(arena, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_slots);
    if (n->decisions == NULL || n->branching == NULL || n->open == NULL || n->chunk_keys == NULL || n->chunk_hashes == NULL ||
        n->chunk_slots == NULL || n->keyspaces == NULL || n->slots == NULL || n->heads == NULL || n->head_capacities == NULL ||
        n->condition_values == NULL || n->condition_stamps == NULL || n->start_run == NULL || n->care == NULL ||
        n->chunk_masks == NULL || n->chunk_refs == NULL || n->chunk_previous == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < (size_t)plan->n_keyspaces * VM_BLOCK; i++) {
        n->chunk_slots[i] = NOT_LOOKED_UP; /* and stays so where there is no lag */
    }
    n->bounded = options->max_partials > 0 || options->max_memory > 0;
    n->single = plan->n_patterns == 1 && plan->patterns[0].every_row && plan->keyspaces[0].needs_lag && options->key_ttl == 0;
    for (uint32_t p = 0; p < plan->n_patterns; p++) {
        for (uint32_t w = 0; w < words; w++) {
            n->care[w] |= plan->cares[plan->patterns[p].first_care + w];
        }
    }
    enum status st = match_graph_init(&n->graph, arena, events);
    for (uint32_t i = 0; i < plan->n_keyspaces && st == STATUS_OK; i++) {
        st = keyspace_init(&n->keyspaces[i], arena, plan, i);
    }
    if (st == STATUS_OK) {
        st = vm_init(&n->vm, arena, plan->max_registers);
    }
    if (st == STATUS_OK) {
        st = nfa_lag_init(n);
    }
    if (st == STATUS_OK) {
        st = nfa_strict_init(n);
    }
    if (st == STATUS_OK) {
        st = nfa_compact_init(n);
    }
    if (st == STATUS_OK) {
        st = nfa_dispatch_init(n);
    }
    return st == STATUS_OK ? nfa_decide(n) : st;
}

/* The arena frees what came from its chunks; only large blocks are freed one by one, so walk everything that can be large. */
void nfa_free(struct nfa *n)
{
    if (n->arena == NULL) {
        return;
    }
    struct arena *a = n->arena;
    const struct plan *plan = n->plan;
    nfa_changes_free(n);
    for (uint32_t i = 0; i < n->n_keyed; i++) {
        struct keyed *k = &n->keyed[i];
        nfa_free_runs(n, k);
        arena_free(a, k->held, k->held_capacity * sizeof *k->held);
    }
    arena_free(a, n->keyed, n->keyed_capacity * sizeof *n->keyed);
    for (uint32_t p = 0; p < plan->n_patterns && n->heads != NULL; p++) {
        arena_free(a, n->heads[p], n->head_capacities[p] * sizeof(uint32_t));
    }
    for (uint32_t i = 0; i < plan->n_keyspaces && n->keyspaces != NULL; i++) {
        keyspace_free(&n->keyspaces[i]);
    }
    const size_t words = plan->mask_words;
    arena_free(a, n->keyspaces, plan->n_keyspaces * sizeof *n->keyspaces);
    arena_free(a, n->slots, plan->n_keyspaces * sizeof *n->slots);
    arena_free(a, n->heads, plan->n_patterns * sizeof *n->heads);
    arena_free(a, n->head_capacities, plan->n_patterns * sizeof *n->head_capacities);
    arena_free(a, n->condition_values, plan->n_conditions);
    arena_free(a, n->condition_stamps, plan->n_conditions * sizeof *n->condition_stamps);
    arena_free(a, n->start_run, n->largest_run);
    arena_free(a, n->branching, n->largest_run);
    arena_free(a, n->decisions, plan->n_states * sizeof *n->decisions);
    arena_free(a, n->outcomes, n->outcomes_capacity * sizeof *n->outcomes);
    arena_free(a, n->decision_edges, n->decision_edges_capacity * sizeof *n->decision_edges);
    arena_free(a, n->open, n->most_edges * sizeof *n->open);
    arena_free(a, n->care, words * sizeof *n->care);
    arena_free(a, n->chunk_masks, VM_BLOCK * words * sizeof *n->chunk_masks);
    arena_free(a, n->chunk_refs, VM_BLOCK * sizeof *n->chunk_refs);
    arena_free(a, n->chunk_previous, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_previous);
    arena_free(a, n->chunk_keys, VM_BLOCK * sizeof *n->chunk_keys);
    arena_free(a, n->chunk_hashes, VM_BLOCK * sizeof *n->chunk_hashes);
    arena_free(a, n->chunk_slots, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_slots);
    arena_free(a, n->out, (size_t)n->out_capacity * n->largest_run);
    arena_free(a, n->done, n->done_capacity * sizeof *n->done);
    arena_free(a, n->sort_space, n->sort_capacity * sizeof *n->sort_space);
    arena_free(a, n->results.rows, n->results.rows_capacity * sizeof *n->results.rows);
    arena_free(a, n->results.events, n->results.events_capacity * sizeof *n->results.events);
    nfa_dispatch_free(n);
    nfa_compact_free(n);
    nfa_strict_free(n);
    nfa_lag_free(n);
    match_graph_free(&n->graph);
    timers_free(&n->timers);
    vm_free(&n->vm);
    memset(n, 0, sizeof *n);
}

/* ------------------------------------------------------------------ keyed states */

enum status nfa_reserve_heads(struct nfa *n, uint32_t pattern, uint32_t slot)
{
    const uint32_t before = n->head_capacities[pattern];
    void *heads = n->heads[pattern];
    const enum status st = arena_reserve(n->arena, &heads, &n->head_capacities[pattern], (uint64_t)slot + 1, sizeof(uint32_t));
    n->heads[pattern] = heads;
    for (uint32_t i = before; i < n->head_capacities[pattern]; i++) {
        n->heads[pattern][i] = 0;
    }
    return st;
}

bool nfa_has_keyed(const struct nfa *n, uint32_t pattern, uint32_t slot)
{
    return head_of(n, pattern, slot) != 0;
}

enum status nfa_open_keyed(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t *id)
{
    enum status st = nfa_reserve_heads(n, pattern, slot);
    if (st != STATUS_OK) {
        return st;
    }
    uint32_t i;
    if (n->keyed_free != 0) {
        i = n->keyed_free - 1;
        n->keyed_free = n->keyed[i].slot;
    } else {
        void *keyed = n->keyed;
        st = arena_reserve(n->arena, &keyed, &n->keyed_capacity, (uint64_t)n->n_keyed + 1, sizeof *n->keyed);
        n->keyed = keyed;
        if (st == STATUS_OK) {
            st = timers_reserve_owners(&n->timers, n->n_keyed + 1);
        }
        if (st != STATUS_OK) {
            return st;
        }
        i = n->n_keyed++;
    }
    struct keyed *k = &n->keyed[i];
    memset(k, 0, sizeof *k);
    k->pattern = pattern;
    k->slot = slot;
    k->birth = n->births++;
    k->overdue_after = NO_POSITION;
    k->last_time = TIME_MIN;
    n->heads[pattern][slot] = i + 1;
    n->keyspaces[n->plan->patterns[pattern].keyspace].slots[slot].users++;
    n->n_keyed_live++;
    *id = i;
    return STATUS_OK;
}

void nfa_close_keyed(struct nfa *n, uint32_t id)
{
    struct keyed *k = &n->keyed[id];
    struct keyspace *space = &n->keyspaces[n->plan->patterns[k->pattern].keyspace];
    if (UNLIKELY(n->changes != NULL)) {
        nfa_gone(n, CHANGED_KEYED, id, k->birth);
    }
    timers_cancel(&n->timers, id);
    nfa_free_runs(n, k);
    arena_free(n->arena, k->held, k->held_capacity * sizeof *k->held);
    n->heads[k->pattern][k->slot] = 0;
    if (--space->slots[k->slot].users == 0) {
        keyspace_drop(space, k->slot);
    }
    k->held = NULL;
    k->held_capacity = 0;
    k->slot = n->keyed_free;
    n->keyed_free = id + 1;
    n->n_keyed_live--;
}

/* ------------------------------------------------------------------ restore */

enum status nfa_restore_run(struct nfa *n, uint32_t id, const struct run *run)
{
    struct keyed *k = &n->keyed[id];
    const size_t size = run_size(n, k->pattern);
    const enum status st = nfa_reserve_runs(n, k, k->n_runs, (uint64_t)k->n_runs + 1);
    if (st == STATUS_OK) {
        memcpy(run_at(k->runs, size, k->n_runs++), run, size);
        if (run->node & SINGLE) {
            event_retain(n->events, run->only.segment);
            n->n_single++;
        } else {
            node_retain(&n->graph, run->node);
        }
        n->n_runs++;
    }
    return st;
}

enum status nfa_restore_held(struct nfa *n, uint32_t id, struct completed held)
{
    struct keyed *k = &n->keyed[id];
    void *all = k->held;
    const enum status st = arena_reserve(n->arena, &all, &k->held_capacity, (uint64_t)k->n_held + 1, sizeof *k->held);
    k->held = all;
    if (st == STATUS_OK) {
        k->held[k->n_held++] = held;
        node_retain(&n->graph, held.node);
        n->n_held++;
    }
    return st;
}

/* ------------------------------------------------------------------ invariants */

static const char *check_keyed(const struct nfa *n, const struct keyed *k, uint64_t *references, uint64_t *n_single)
{
    const size_t size = run_size(n, k->pattern);
    uint64_t order = 0;
    for (uint32_t i = 0; i < k->n_runs; i++) {
        const struct run *run = run_at(k->runs, size, i);
        if (run->node == 0) {
            return "a run holds no event";
        }
        if (run->start_order < order) {
            return "the runs of a key are not ordered by their first event";
        }
        order = run->start_order;
        *n_single += run->node & SINGLE ? 1 : 0;
        if (!(run->node & SINGLE)) {
            references[run->node]++;
        }
    }
    const char *reason = nfa_index_check(n, k);
    if (reason != NULL) {
        return reason;
    }
    for (uint32_t i = 0; i < k->n_held; i++) {
        references[k->held[i].node]++;
        if (i > 0 && node_compare(&n->graph, k->held[i - 1].node, k->held[i].node) >= 0) {
            return "the held matches of a key are not in order";
        }
    }
    return NULL;
}

const char *nfa_check(const struct nfa *n)
{
    const struct match_graph *g = &n->graph;
    const size_t bytes = g->n_nodes * sizeof(uint64_t);
    uint64_t *references = arena_alloc(n->arena, bytes);
    if (references == NULL) {
        return "no memory for the check";
    }
    memset(references, 0, bytes);
    const char *reason = timers_check(&n->timers);
    reason = reason == NULL ? nfa_strict_check(n) : reason;
    reason = reason == NULL ? nfa_compact_check(n) : reason;
    uint64_t n_runs = 0;
    uint64_t n_single = 0;
    for (uint32_t i = 0; i < n->n_keyed && reason == NULL; i++) {
        const struct keyed *k = &n->keyed[i];
        if (k->runs != NULL || k->held != NULL) {
            n_runs += k->n_runs;
            reason = check_keyed(n, k, references, &n_single);
        }
    }
    uint32_t live = 0;
    for (uint32_t i = 1; i < g->n_nodes && reason == NULL; i++) {
        if (g->nodes[i].references > 0) {
            references[g->nodes[i].parent]++;
        }
    }
    for (uint32_t free = g->free_list; free != 0 && reason == NULL; free = g->nodes[free].parent) {
        references[free] = UINT64_MAX;
    }
    for (uint32_t i = 1; i < g->n_nodes && reason == NULL; i++) {
        if (references[i] != UINT64_MAX) {
            live++;
            if (references[i] != g->nodes[i].references) {
                reason = "a node's reference count is wrong";
            }
        }
    }
    if (reason == NULL && live != g->n_live) {
        reason = "the count of live nodes is wrong";
    }
    if (reason == NULL && (n_runs != n->n_runs || n_single != n->n_single)) {
        reason = "the count of runs is wrong";
    }
    arena_free(n->arena, references, bytes);
    return reason;
}
