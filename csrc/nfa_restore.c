/* The tables of a snapshot put back into a fresh engine. They may come from anywhere: every number is checked before it is used, and what
 * they make holds the invariants of nfa_check. Cost: O(records), a look-up of each key.
 */
#include "nfa.h"

#include <string.h>

struct restoring {
    struct nfa *n;
    const struct nfa_tables *t;
    uint32_t *highest_stage; /* of a node and those before it */
    uint32_t *uses;          /* of a node, by nodes, runs, matches and registers */
    uint32_t *ids;           /* of a node in the graph; 0: not made yet, for only one run holds it, and may need none */
    struct run *run;
    uint32_t next_run, next_match;
    uint64_t next_register;
    const char *reason;
};

static enum status refuse(struct restoring *r, const char *reason)
{
    r->reason = reason;
    return STATUS_BAD_SNAPSHOT;
}

static void count_uses(struct restoring *r)
{
    const struct nfa_tables *t = r->t;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (t->node_parent[i] >= 0) {
            r->uses[t->node_parent[i]]++;
        }
    }
    for (uint32_t i = 0; i < t->n_runs; i++) {
        if (t->run_node[i] >= 0 && t->run_node[i] < t->n_nodes) {
            r->uses[t->run_node[i]]++;
        }
    }
    for (uint32_t i = 0; i < t->n_matches; i++) {
        if (t->match_node[i] >= 0 && t->match_node[i] < t->n_nodes) {
            r->uses[t->match_node[i]]++;
        }
    }
}

/* The id of a node whose number has been checked; 0: no memory. */
static uint32_t made(struct restoring *r, int64_t number)
{
    const struct nfa_tables *t = r->t;
    if (r->ids[number] == 0) {
        const int64_t parent = t->node_parent[number];
        r->ids[number] = node_new(&r->n->graph, t->events[t->node_event[number]], t->node_order[number], t->node_stage[number],
                                  parent < 0 ? 0 : r->ids[parent]);
    }
    return r->ids[number];
}

/* Checks all nodes, and makes those that more than one run needs. */
static enum status restore_nodes(struct restoring *r)
{
    const struct nfa_tables *t = r->t;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        const int64_t event = t->node_event[i];
        const int64_t parent = t->node_parent[i];
        if (event < 0 || event >= t->n_events || parent < -1 || parent >= i) {
            return refuse(r, "a node refers to an event or node that is not there");
        }
        if (parent >= 0 && t->node_order[i] < t->node_order[parent]) {
            return refuse(r, "the events of a partial match are out of order");
        }
        const uint32_t stage = t->node_stage[i];
        r->highest_stage[i] = parent >= 0 && r->highest_stage[parent] > stage ? r->highest_stage[parent] : stage;
    }
    count_uses(r);
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        const int64_t parent = t->node_parent[i];
        if ((parent >= 0 && made(r, parent) == 0) || ((parent >= 0 || r->uses[i] > 1) && made(r, i) == 0)) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

static enum status open_keyed(struct restoring *r, uint32_t pattern, int64_t node, uint32_t *id)
{
    struct nfa *n = r->n;
    struct keyspace *space = &n->keyspaces[n->plan->patterns[pattern].keyspace];
    uint32_t slot = 0;
    const enum status st = keyspace_slot(space, n->events, r->t->events[r->t->node_event[node]], true, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    if (slot == KEY_NULL) {
        return refuse(r, "a partial match has no key");
    }
    if (nfa_has_keyed(n, pattern, slot)) {
        return refuse(r, "a key is there twice");
    }
    return nfa_open_keyed(n, pattern, slot, id);
}

static bool may_hold(const struct restoring *r, const struct pattern *p, int64_t node)
{
    return node >= 0 && node < r->t->n_nodes && r->highest_stage[node] < p->n_stages;
}

static enum status read_run(struct restoring *r, const struct pattern *p)
{
    const struct nfa_tables *t = r->t;
    const uint32_t at = r->next_run++;
    const int64_t node = t->run_node[at];
    if (!may_hold(r, p, node) || t->run_state[at] >= p->n_states) {
        return refuse(r, "a run refers to a node, stage or state that is not there");
    }
    r->run->start_time = t->run_start_time[at];
    r->run->start_order = t->run_start_order[at];
    r->run->previous_time = t->run_previous_time[at];
    r->run->state = p->first_state + t->run_state[at];
    const uint32_t kind = r->n->plan->states[r->run->state].kind;
    if (kind != STATE_NORMAL && kind != STATE_PENDING) {
        return refuse(r, "a run is in a state that no run waits in");
    }
    const bool alone = r->ids[node] == 0 && t->node_order[node] == r->run->start_order && t->run_previous_time[at] == r->run->start_time;
    if (alone && p->n_registers == 0 && p->strategy != STRATEGY_STRICT) {
        r->run->only = t->events[t->node_event[node]];
        r->run->node = SINGLE | t->node_stage[node];
    } else if ((r->run->node = made(r, node)) == 0) {
        return STATUS_NO_MEMORY;
    }
    if (p->n_registers > t->n_registers - r->next_register) {
        return refuse(r, "a run has no registers");
    }
    for (uint32_t slot = 0; slot < p->n_registers; slot++) {
        uint64_t value = t->registers[r->next_register++];
        if (value != 0 && plan_register_is_node(r->n->plan, p, slot)) {
            if (value > t->n_nodes) {
                return refuse(r, "a register refers to a node that is not there");
            }
            value = made(r, (int64_t)value - 1);
            if (value == 0) {
                return STATUS_NO_MEMORY;
            }
        }
        r->run->registers[slot] = value;
    }
    return STATUS_OK;
}

/* Room for all that a keyed state holds; it has just been opened. */
static enum status reserve_keyed(struct nfa *n, uint32_t id, uint32_t n_runs, uint32_t n_matches)
{
    struct keyed *k = &n->keyed[id];
    const size_t size = run_size(n, k->pattern);
    if (n_runs > 0) {
        k->runs = arena_alloc(n->arena, n_runs * size);
        k->runs_capacity = k->runs == NULL ? 0 : n_runs;
    }
    if (n_matches > 0) {
        k->held = arena_alloc(n->arena, n_matches * sizeof *k->held);
        k->held_capacity = k->held == NULL ? 0 : n_matches;
    }
    return k->runs_capacity < n_runs || k->held_capacity < n_matches ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status restore_keyed(struct restoring *r, uint32_t at)
{
    const struct nfa_tables *t = r->t;
    struct nfa *n = r->n;
    const uint32_t pattern = t->keyed_pattern[at];
    const uint32_t n_runs = t->keyed_runs[at];
    const uint32_t n_matches = t->keyed_matches[at];
    if (pattern >= n->plan->n_patterns || (n_runs == 0 && n_matches == 0)) {
        return refuse(r, "a keyed state belongs to no pattern, or is empty");
    }
    if (n_runs > t->n_runs - r->next_run || n_matches > t->n_matches - r->next_match) {
        return refuse(r, "a keyed state lacks records");
    }
    const struct pattern *p = &n->plan->patterns[pattern];
    const int64_t first = n_runs > 0 ? t->run_node[r->next_run] : t->match_node[r->next_match];
    if (!may_hold(r, p, first)) {
        return refuse(r, "what a keyed state holds first refers to a node or stage that is not there");
    }
    uint32_t id = 0;
    enum status st = open_keyed(r, pattern, first, &id);
    if (st == STATUS_OK) {
        st = reserve_keyed(n, id, n_runs, n_matches);
    }
    uint64_t order = 0;
    for (uint32_t i = 0; i < n_runs && st == STATUS_OK; i++) {
        st = read_run(r, p);
        if (st == STATUS_OK && r->run->start_order < order) {
            st = refuse(r, "the runs of a key are out of order");
        }
        order = r->run->start_order;
        if (st == STATUS_OK) {
            st = nfa_restore_run(n, id, r->run);
        }
    }
    for (uint32_t i = 0; i < n_matches && st == STATUS_OK; i++) {
        const uint32_t held = r->next_match++;
        if (!may_hold(r, p, t->match_node[held])) {
            return refuse(r, "a held match refers to a node or stage that is not there");
        }
        const uint32_t node = made(r, t->match_node[held]);
        st = node == 0 ? STATUS_NO_MEMORY
                       : nfa_restore_held(n, id, (struct completed){t->match_start_order[held], t->match_start_time[held], node});
        const struct completed *all = n->keyed[id].held;
        if (st == STATUS_OK && i > 0 && node_compare(&n->graph, all[i - 1].node, all[i].node) >= 0) {
            st = refuse(r, "the held matches of a key are out of order");
        }
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (p->strategy == STRATEGY_STRICT) {
        st = nfa_strict_adopt(n, id);
        return st == STATUS_BAD_SNAPSHOT ? refuse(r, "the runs of a key are not those of a strict sequence") : st;
    }
    n->keyed[id].last_time = t->keyed_last_time[at];
    st = nfa_settle(n, id);
    n->keyed[id].overdue_after = t->keyed_overdue_after[at];
    return st;
}

static enum status restore_lags(struct restoring *r)
{
    const struct nfa_tables *t = r->t;
    struct nfa *n = r->n;
    for (uint32_t i = 0; i < t->n_lags; i++) {
        const uint32_t keyspace = t->lag_keyspace[i];
        const int64_t event = t->lag_event[i];
        if (keyspace >= n->plan->n_keyspaces || !n->plan->keyspaces[keyspace].needs_lag || event < 0 || event >= t->n_events) {
            return refuse(r, "the latest event of a key is not there");
        }
        uint32_t slot = 0;
        enum status st = keyspace_slot(&n->keyspaces[keyspace], n->events, t->events[event], true, &slot);
        if (st == STATUS_OK && slot == KEY_NULL) {
            st = refuse(r, "the latest event of a key has no key");
        }
        if (st == STATUS_OK) {
            st = nfa_restore_last(n, keyspace, slot, t->lag_time[i], t->events[event]);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

static enum status restore_all(struct restoring *r)
{
    const struct nfa_tables *t = r->t;
    enum status st = restore_nodes(r);
    for (uint32_t i = 0; i < t->n_keyed && st == STATUS_OK; i++) {
        st = restore_keyed(r, i);
    }
    if (st == STATUS_OK && (r->next_run != t->n_runs || r->next_match != t->n_matches || r->next_register != t->n_registers)) {
        st = refuse(r, "records that belong to no key");
    }
    for (uint32_t i = 0; i < t->n_nodes && st == STATUS_OK; i++) {
        node_release(&r->n->graph, r->ids[i]); /* held by runs now, or by nobody */
    }
    for (uint32_t p = 0; p < r->n->plan->n_patterns && st == STATUS_OK; p++) {
        st = r->n->compacts[p].on ? nfa_compact_adopt(r->n, p) : STATUS_OK;
    }
    return st == STATUS_OK ? restore_lags(r) : st;
}

/* Counted beforehand, so that what keys need is made at once. */
#define FEW_PATTERNS 16

/* Room for all keyed states and keys at once. */
static enum status reserve_all(struct nfa *n, const struct nfa_tables *t)
{
    void *keyed = n->keyed;
    enum status st = arena_reserve(n->arena, &keyed, &n->keyed_capacity, t->n_keyed, sizeof *n->keyed);
    n->keyed = keyed;
    if (st == STATUS_OK) {
        st = timers_reserve_owners(&n->timers, t->n_keyed);
    }
    for (uint32_t p = 0; p < n->plan->n_patterns && p < FEW_PATTERNS && st == STATUS_OK; p++) {
        uint32_t n_keys = 0;
        for (uint32_t i = 0; i < t->n_keyed; i++) {
            n_keys += t->keyed_pattern[i] == p;
        }
        st = keyspace_reserve(&n->keyspaces[n->plan->patterns[p].keyspace], n_keys);
        if (st == STATUS_OK && n_keys > 0) {
            st = nfa_reserve_heads(n, p, n_keys - 1);
        }
    }
    return st;
}

enum status nfa_restore(struct nfa *n, const struct nfa_tables *t, const char **reason)
{
    struct restoring r = {.n = n, .t = t};
    const size_t size = (size_t)t->n_nodes * sizeof(uint32_t);
    ASSERT(n->graph.n_nodes == 1);
    r.highest_stage = arena_alloc(n->arena, size);
    r.uses = arena_alloc(n->arena, size);
    r.ids = arena_alloc(n->arena, size);
    r.run = arena_alloc(n->arena, n->largest_run);
    enum status st = r.highest_stage == NULL || r.uses == NULL || r.ids == NULL || r.run == NULL ? STATUS_NO_MEMORY : reserve_all(n, t);
    if (st == STATUS_OK) {
        memset(r.uses, 0, size);
        memset(r.ids, 0, size);
        st = restore_all(&r);
    }
    arena_free(n->arena, r.highest_stage, size);
    arena_free(n->arena, r.uses, size);
    arena_free(n->arena, r.ids, size);
    arena_free(n->arena, r.run, n->largest_run);
    *reason = r.reason;
    return st;
}
