/* One event against the runs of one key.
 *
 * A run in state s looks at the edges of s in order; each open edge gives one successor: a take (the event joins), an ignore (same
 * events, maybe another state). A stop ends the run and all its successors of this event, but not what it completed. No open edge: the
 * run ends. The start state is a run that has taken nothing and is always there.
 */
#include "nfa.h"

#include <string.h>

static const struct event_ref *node_event(const void *graph, uint64_t node)
{
    return node == 0 ? NULL : &((const struct match_graph *)graph)->nodes[node].event;
}

static bool bit_is_set(const uint64_t *mask, uint32_t bit)
{
    return (mask[bit >> 6] >> (bit & 63)) & 1;
}

static bool is_quiet(const struct nfa *n, const struct state *s)
{
    if (!s->quiet) {
        return false;
    }
    const uint64_t *care = n->plan->cares + s->first_care;
    for (uint32_t w = 0; w < n->plan->mask_words; w++) {
        if (n->mask[w] & care[w]) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ guards */

/* A condition on the partial match, at most once for a run and an event. Sets the failure if a callable raised. */
static bool condition_holds(struct nfa *n, const struct run *run, uint32_t index)
{
    if (n->condition_stamps[index] == n->stamp) {
        return n->condition_values[index];
    }
    const struct condition *c = &n->plan->conditions[index];
    bool value;
    if (c->program == NO_PROGRAM) {
        const int answer = n->callback(n->callback_context, c->callable, n->event, run->node);
        if (answer < 0) {
            n->failure.status = STATUS_CALLBACK;
        }
        value = answer > 0;
    } else {
        const struct vm_input input = {
            .store = n->events,
            .segment = n->event.segment,
            .first_row = n->event.row,
            .prev_refs = &n->previous,
            .run_registers = run->registers,
            .node_event = node_event,
            .graph = &n->graph,
        };
        value = vm_holds(&n->vm, n->plan, &n->plan->programs[c->program], &input);
    }
    n->condition_stamps[index] = n->stamp;
    n->condition_values[index] = value;
    return value;
}

static bool guard_code(struct nfa *n, const struct run *run, const struct guard *g)
{
    const struct guard_step *steps = n->plan->guard_steps + g->arg;
    bool value = true;
    for (uint32_t i = 0; i < g->n_steps; i++) {
        switch (steps[i].op) {
        case GUARD_BIT:
            value = bit_is_set(n->mask, steps[i].arg);
            break;
        case GUARD_CONDITION:
            value = condition_holds(n, run, steps[i].arg);
            break;
        case GUARD_NOT:
            value = !value;
            break;
        case GUARD_JUMP_FALSE:
            i = value ? i : steps[i].arg - 1;
            break;
        case GUARD_JUMP_TRUE:
            i = value ? steps[i].arg - 1 : i;
            break;
        default:
            value = steps[i].op == GUARD_TRUE;
        }
    }
    return value;
}

static inline bool guard_holds(struct nfa *n, const struct run *run, uint32_t index)
{
    const struct guard *g = &n->plan->guards[index];
    switch (g->kind) {
    case GUARD_ALWAYS:
        return true;
    case GUARD_NEVER:
        return false;
    case GUARD_IF_BIT:
        return bit_is_set(n->mask, g->arg);
    case GUARD_UNLESS_BIT:
        return !bit_is_set(n->mask, g->arg);
    default:
        return guard_code(n, run, g);
    }
}

/* ------------------------------------------------------------------ registers */

static double register_f64(const uint64_t *r)
{
    double x;
    memcpy(&x, r, 8);
    return x;
}

static void update_value(struct nfa *n, struct run *run, const struct update *u)
{
    const struct column *c = &n->events->segments[n->event.segment].columns[u->column];
    if (column_is_null(c, n->event.row)) {
        return;
    }
    uint64_t *slot = &run->registers[u->slot];
    if (u->kind == UPDATE_VALUES) {
        if ((int64_t)*slot >= 0) {
            ++*slot;
        }
        return;
    }
    const bool first = run->registers[u->count_slot] == 0;
    if (u->kind == UPDATE_SUM_F || u->kind == UPDATE_MIN_F || u->kind == UPDATE_MAX_F) {
        const double x = ((const double *)c->data)[n->event.row];
        double y = register_f64(slot);
        y = u->kind == UPDATE_SUM_F ? y + x : first || (u->kind == UPDATE_MIN_F ? x < y : x > y) ? x : y;
        memcpy(slot, &y, 8);
        return;
    }
    const int64_t x = ((const int64_t *)c->data)[n->event.row];
    int64_t y = (int64_t)*slot;
    if (u->kind == UPDATE_SUM_I) {
        if (__builtin_add_overflow(x, y, &y)) {
            run->registers[u->count_slot] = UINT64_MAX; /* the sum is null from here on */
        }
    } else if (first || (u->kind == UPDATE_MIN_I ? x < y : x > y)) {
        y = x;
    }
    *slot = (uint64_t)y;
}

static void update_registers(struct nfa *n, struct run *run, const struct stage_updates *stage)
{
    const struct update *updates = n->plan->updates + stage->first;
    for (uint32_t i = 0; i < stage->n; i++) {
        const struct update *u = &updates[i];
        switch (u->kind) {
        case UPDATE_EVENTS:
            run->registers[u->slot]++;
            break;
        case UPDATE_FIRST:
            if (run->registers[u->slot] == 0) {
                run->registers[u->slot] = run->node;
            }
            break;
        case UPDATE_LAST:
            run->registers[u->slot] = run->node;
            break;
        default:
            update_value(n, run, u);
        }
    }
}

/* ------------------------------------------------------------------ successors */

static struct run *push_successor(struct nfa *n, const struct run *run, size_t size)
{
    void *out = n->out;
    const enum status st = arena_reserve(n->arena, &out, &n->out_capacity, (uint64_t)n->n_out + 1, n->largest_run);
    n->out = out;
    if (UNLIKELY(st != STATUS_OK)) {
        return NULL;
    }
    struct run *next = run_at(n->out, size, n->n_out++);
    memcpy(next, run, size);
    return next;
}

static enum status take(struct nfa *n, const struct keyed *k, const struct run *run, const struct edge *e, size_t size)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const uint32_t node = node_new(&n->graph, n->event, n->order, e->stage, run->node);
    if (UNLIKELY(node == 0)) {
        return STATUS_NO_MEMORY;
    }
    struct run first = *run;
    if (run->node == 0) {
        first.start_time = n->now;
        first.start_order = n->order;
    }
    enum status st = STATUS_OK;
    if (n->plan->states[e->target].kind == STATE_FINAL) {
        st = nfa_complete(n, &first, node);
    } else {
        struct run *next = push_successor(n, run, size);
        if (next == NULL) {
            st = STATUS_NO_MEMORY;
        } else {
            next->start_time = first.start_time;
            next->start_order = first.start_order;
            next->previous_time = n->now;
            next->node = node;
            next->state = e->target;
            node_retain(&n->graph, node);
            update_registers(n, next, &n->plan->stages[p->first_stage + e->stage]);
            if (guard_holds(n, run, e->final_guard)) {
                st = nfa_complete(n, &first, node);
            }
        }
    }
    node_release(&n->graph, node);
    return st;
}

static enum status ignore(struct nfa *n, const struct run *run, const struct edge *e, size_t size)
{
    if (n->plan->states[e->target].kind == STATE_FINAL) {
        return nfa_complete(n, run, run->node);
    }
    struct run *next = push_successor(n, run, size);
    if (UNLIKELY(next == NULL)) {
        return STATUS_NO_MEMORY;
    }
    next->state = e->target;
    node_retain(&n->graph, next->node);
    return STATUS_OK;
}

/* Appends the successors of one run to n->out and what it completes to n->done. */
static enum status step_run(struct nfa *n, const struct keyed *k, const struct run *run, size_t size)
{
    const struct state *s = &n->plan->states[run->state];
    const uint32_t before = n->n_out;
    bool stopped = false;
    n->stamp++;
    for (uint32_t i = 0; i < s->n_edges; i++) {
        const struct edge *e = &n->plan->edges[s->first_edge + i];
        if (e->gap_guarded && n->now >= time_add(run->previous_time, e->gap)) {
            continue;
        }
        if (!guard_holds(n, run, e->guard)) {
            continue;
        }
        enum status st = STATUS_OK;
        if (e->action == EDGE_STOP) {
            stopped = true;
        } else if (e->action == EDGE_TAKE) {
            st = take(n, k, run, e, size);
        } else {
            st = ignore(n, run, e, size);
        }
        if (UNLIKELY(st != STATUS_OK)) {
            return st;
        }
    }
    if (UNLIKELY(n->failure.status != STATUS_OK)) {
        return n->failure.status;
    }
    if (stopped) {
        n->counters.stopped++;
        while (n->n_out > before) {
            node_release(&n->graph, run_at(n->out, size, --n->n_out)->node);
        }
    }
    return STATUS_OK;
}

static enum status append_runs(struct nfa *n, struct keyed *k, uint32_t at, size_t size)
{
    const uint64_t total = (uint64_t)at + n->n_out;
    void *runs = k->runs;
    const enum status st = arena_reserve(n->arena, &runs, &k->runs_capacity, total, size);
    k->runs = runs;
    if (st == STATUS_OK) {
        memcpy(run_at(k->runs, size, at), n->out, n->n_out * size);
        n->n_runs += total;
        n->n_runs -= k->n_runs;
        k->n_runs = (uint32_t)total;
    }
    return st;
}

enum status nfa_step_key(struct nfa *n, struct keyed *k)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const struct state *states = n->plan->states;
    const size_t size = run_size(n, k->pattern);
    uint32_t i = 0;
    while (i < k->n_runs && is_quiet(n, &states[run_at(k->runs, size, i)->state])) {
        i++;
    }
    n->n_out = 0;
    n->n_done = 0;
    enum status st = STATUS_OK;
    const uint32_t kept = i;
    for (; i < k->n_runs && st == STATUS_OK; i++) {
        struct run *run = run_at(k->runs, size, i);
        if (is_quiet(n, &states[run->state])) {
            if (push_successor(n, run, size) == NULL) {
                st = STATUS_NO_MEMORY;
            }
            node_retain(&n->graph, run->node);
        } else {
            st = step_run(n, k, run, size);
        }
    }
    if (st == STATUS_OK && !is_quiet(n, &states[p->first_state])) {
        memset(n->start_run, 0, size);
        n->start_run->state = p->first_state;
        st = step_run(n, k, n->start_run, size);
    }
    if (st != STATUS_OK) {
        return st; /* the engine is poisoned by its caller: nothing more is asked of these runs */
    }
    for (i = kept; i < k->n_runs; i++) {
        node_release(&n->graph, run_at(k->runs, size, i)->node);
    }
    return append_runs(n, k, kept, size);
}
