/* The tables of a snapshot put back into a fresh engine. They may come from anywhere: every number is checked before it is used, and what
 * they make holds the invariants of nfa_check. Cost: O(records), a look-up of each key.
 */
#include "nfa.h"

#include <string.h>

struct restoring {
    struct nfa *n;
    const struct nfa_tables *t;
    uint32_t *highest_stage; /* of a node and those before it */
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

/* Nodes in the order of the table get the ids 1, 2, ...: the graph is fresh. */
static enum status restore_nodes(struct restoring *r)
{
    const struct nfa_tables *t = r->t;
    struct match_graph *g = &r->n->graph;
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
        if (node_new(g, t->events[event], t->node_order[i], stage, (uint32_t)(parent + 1)) == 0) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

static enum status open_keyed(struct restoring *r, uint32_t pattern, uint32_t node, uint32_t *id)
{
    struct nfa *n = r->n;
    struct keyspace *space = &n->keyspaces[n->plan->patterns[pattern].keyspace];
    uint32_t slot = 0;
    const enum status st = keyspace_slot(space, n->events, n->graph.nodes[node].event, true, &slot);
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

/* The id of a node that the pattern may hold, from its number; 0: it may not. */
static uint32_t node_of(const struct restoring *r, const struct pattern *p, int64_t number)
{
    return number >= 0 && number < r->t->n_nodes && r->highest_stage[number] < p->n_stages ? (uint32_t)number + 1 : 0;
}

static enum status read_run(struct restoring *r, const struct pattern *p)
{
    const struct nfa_tables *t = r->t;
    const uint32_t at = r->next_run++;
    r->run->node = node_of(r, p, t->run_node[at]);
    if (r->run->node == 0 || t->run_state[at] >= p->n_states) {
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
    if (p->n_registers > t->n_registers - r->next_register) {
        return refuse(r, "a run has no registers");
    }
    for (uint32_t slot = 0; slot < p->n_registers; slot++) {
        const uint64_t value = t->registers[r->next_register++]; /* a node's number + 1 is its id */
        if (plan_register_is_node(r->n->plan, p, slot) && value > t->n_nodes) {
            return refuse(r, "a register refers to a node that is not there");
        }
        r->run->registers[slot] = value;
    }
    return STATUS_OK;
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
    uint32_t id = 0;
    bool opened = false;
    uint64_t order = 0;
    for (uint32_t i = 0; i < n_runs; i++) {
        enum status st = read_run(r, p);
        if (st == STATUS_OK && r->run->start_order < order) {
            st = refuse(r, "the runs of a key are out of order");
        }
        order = r->run->start_order;
        if (st == STATUS_OK && !opened) {
            st = open_keyed(r, pattern, r->run->node, &id);
            opened = true;
        }
        if (st == STATUS_OK) {
            st = nfa_restore_run(n, id, r->run);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    for (uint32_t i = 0; i < n_matches; i++) {
        const uint32_t held = r->next_match++;
        const uint32_t node = node_of(r, p, t->match_node[held]);
        enum status st = node == 0 ? refuse(r, "a held match refers to a node or stage that is not there") : STATUS_OK;
        if (st == STATUS_OK && !opened) {
            st = open_keyed(r, pattern, node, &id);
            opened = true;
        }
        if (st == STATUS_OK) {
            st = nfa_restore_held(n, id, (struct completed){t->match_start_order[held], t->match_start_time[held], node});
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    if (p->strategy == STRATEGY_STRICT) {
        const enum status st = nfa_strict_adopt(n, id);
        return st == STATUS_BAD_SNAPSHOT ? refuse(r, "the runs of a key are not those of a strict sequence") : st;
    }
    n->keyed[id].last_time = t->keyed_last_time[at];
    const enum status st = nfa_settle(n, id);
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
    for (uint32_t id = 1; id <= t->n_nodes && st == STATUS_OK; id++) {
        node_release(&r->n->graph, id); /* held by runs now, or by nobody */
    }
    return st == STATUS_OK ? restore_lags(r) : st;
}

enum status nfa_restore(struct nfa *n, const struct nfa_tables *t, const char **reason)
{
    struct restoring r = {.n = n, .t = t};
    const size_t stages = (size_t)t->n_nodes * sizeof *r.highest_stage;
    ASSERT(n->graph.n_nodes == 1);
    r.highest_stage = arena_alloc(n->arena, stages);
    r.run = arena_alloc(n->arena, n->largest_run);
    const enum status st = r.highest_stage == NULL || r.run == NULL ? STATUS_NO_MEMORY : restore_all(&r);
    arena_free(n->arena, r.highest_stage, stages);
    arena_free(n->arena, r.run, n->largest_run);
    *reason = r.reason;
    return st;
}
