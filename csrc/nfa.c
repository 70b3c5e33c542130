/* Rows in, in event-time order; keyed states; deadlines. See nfa.h. */
#include "nfa.h"

#include <string.h>

#define NOT_LOOKED_UP (UINT32_MAX - 2) /* a slot, beside NO_SLOT and KEY_NULL */

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
    n->lag_timers = alloc_zeroed(arena, plan->n_keyspaces * sizeof *n->lag_timers);
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
    n->chunk_hashes = alloc_zeroed(arena, VM_BLOCK * sizeof *n->chunk_hashes);
    n->chunk_slots = alloc_zeroed(arena, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_slots);
    if (n->decisions == NULL || n->branching == NULL || n->open == NULL || n->chunk_hashes == NULL || n->chunk_slots == NULL || n->keyspaces == NULL || n->lag_timers == NULL || n->slots == NULL || n->heads == NULL || n->head_capacities == NULL ||
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
        timers_init(&n->lag_timers[i], arena);
        st = keyspace_init(&n->keyspaces[i], arena, plan, i);
    }
    if (st == STATUS_OK) {
        st = vm_init(&n->vm, arena, plan->max_registers);
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
    for (uint32_t i = 0; i < n->n_keyed; i++) {
        struct keyed *k = &n->keyed[i];
        arena_free(a, k->runs, k->runs_capacity * run_size(n, k->pattern));
        arena_free(a, k->held, k->held_capacity * sizeof *k->held);
    }
    arena_free(a, n->keyed, n->keyed_capacity * sizeof *n->keyed);
    for (uint32_t p = 0; p < plan->n_patterns && n->heads != NULL; p++) {
        arena_free(a, n->heads[p], n->head_capacities[p] * sizeof(uint32_t));
    }
    for (uint32_t i = 0; i < plan->n_keyspaces && n->keyspaces != NULL; i++) {
        keyspace_free(&n->keyspaces[i]);
        timers_free(&n->lag_timers[i]);
    }
    const size_t words = plan->mask_words;
    arena_free(a, n->keyspaces, plan->n_keyspaces * sizeof *n->keyspaces);
    arena_free(a, n->lag_timers, plan->n_keyspaces * sizeof *n->lag_timers);
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
    arena_free(a, n->chunk_hashes, VM_BLOCK * sizeof *n->chunk_hashes);
    arena_free(a, n->chunk_slots, plan->n_keyspaces * VM_BLOCK * sizeof *n->chunk_slots);
    arena_free(a, n->out, (size_t)n->out_capacity * n->largest_run);
    arena_free(a, n->done, n->done_capacity * sizeof *n->done);
    arena_free(a, n->sort_space, n->sort_capacity * sizeof *n->sort_space);
    arena_free(a, n->results.rows, n->results.rows_capacity * sizeof *n->results.rows);
    arena_free(a, n->results.events, n->results.events_capacity * sizeof *n->results.events);
    match_graph_free(&n->graph);
    timers_free(&n->timers);
    vm_free(&n->vm);
    memset(n, 0, sizeof *n);
}

/* ------------------------------------------------------------------ keyed states */

static enum status reserve_heads(struct nfa *n, uint32_t pattern, uint32_t slot)
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

static uint32_t head_of(const struct nfa *n, uint32_t pattern, uint32_t slot)
{
    return slot < n->head_capacities[pattern] ? n->heads[pattern][slot] : 0;
}

bool nfa_has_keyed(const struct nfa *n, uint32_t pattern, uint32_t slot)
{
    return head_of(n, pattern, slot) != 0;
}

enum status nfa_open_keyed(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t *id)
{
    enum status st = reserve_heads(n, pattern, slot);
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

static void close_keyed(struct nfa *n, uint32_t id)
{
    struct keyed *k = &n->keyed[id];
    struct keyspace *space = &n->keyspaces[n->plan->patterns[k->pattern].keyspace];
    timers_cancel(&n->timers, id);
    arena_free(n->arena, k->runs, k->runs_capacity * run_size(n, k->pattern));
    arena_free(n->arena, k->held, k->held_capacity * sizeof *k->held);
    n->heads[k->pattern][k->slot] = 0;
    if (--space->slots[k->slot].users == 0) {
        keyspace_drop(space, k->slot);
    }
    k->runs = NULL;
    k->held = NULL;
    k->runs_capacity = 0;
    k->held_capacity = 0;
    k->slot = n->keyed_free;
    n->keyed_free = id + 1;
    n->n_keyed_live--;
}

/* ------------------------------------------------------------------ deadlines */

/* Never "never": at the end of input every deadline has passed. */
static event_time_t deadline_after(event_time_t t, int64_t wait)
{
    const event_time_t deadline = time_add(t, wait);
    return deadline == TIME_MAX ? TIME_MAX - 1 : deadline;
}

static event_time_t run_deadline(const struct nfa *n, const struct pattern *p, const struct run *run)
{
    const int64_t gap = n->plan->states[run->state].gap;
    event_time_t deadline = p->window > 0 ? deadline_after(run->start_time, p->window) : TIME_MAX;
    if (gap > 0) {
        const event_time_t by_gap = deadline_after(run_previous_time(run), gap);
        deadline = by_gap < deadline ? by_gap : deadline;
    }
    return deadline;
}

static event_time_t keyed_deadline(const struct nfa *n, const struct keyed *k)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    event_time_t deadline = TIME_MAX;
    if (p->has_gaps) {
        for (uint32_t i = 0; i < k->n_runs; i++) {
            const event_time_t d = run_deadline(n, p, run_at(k->runs, size, i));
            deadline = d < deadline ? d : deadline;
        }
    } else if (p->window > 0 && k->n_runs > 0) {
        deadline = deadline_after(k->runs->start_time, p->window); /* runs are ordered by start */
    }
    if (n->options.key_ttl > 0) {
        const event_time_t forgotten = deadline_after(k->last_time, n->options.key_ttl);
        deadline = forgotten < deadline ? forgotten : deadline;
    }
    return deadline;
}

enum status nfa_settle(struct nfa *n, uint32_t id)
{
    struct keyed *k = &n->keyed[id];
    if (k->n_runs == 0 && k->n_held == 0) {
        close_keyed(n, id);
        return STATUS_OK;
    }
    const struct pattern *p = &n->plan->patterns[k->pattern];
    if (p->window == 0 && !p->has_gaps && n->options.key_ttl == 0) {
        return STATUS_OK;
    }
    const event_time_t deadline = keyed_deadline(n, k);
    const uint32_t place = n->timers.place[id];
    if (deadline == TIME_MAX && place == NO_TIMER) {
        return STATUS_OK;
    }
    if (deadline == TIME_MAX) {
        timers_cancel(&n->timers, id);
        return STATUS_OK;
    }
    if (place != NO_TIMER && n->timers.heap[place].deadline == deadline) {
        return STATUS_OK;
    }
    k->overdue_after = deadline <= n->now ? nfa_position(n) : NO_POSITION;
    return timers_set(&n->timers, id, deadline, k->birth);
}

static void forget_key(struct nfa *n, struct keyed *k)
{
    n->counters.expired_keys++;
    n->counters.dropped_partials += k->n_runs;
    nfa_drop_runs(n, k, 0, k->n_runs);
    for (uint32_t i = 0; i < k->n_held; i++) {
        node_release(&n->graph, k->held[i].node);
    }
    n->n_held -= k->n_held;
    k->n_held = 0;
}

/* A call that fails reports nothing. */
static void take_back(struct nfa *n, enum status st, const struct results *before)
{
    if (UNLIKELY(st != STATUS_OK)) {
        n->results.n_rows = before->n_rows;
        n->results.n_events = before->n_events;
    }
}

/* All runs of one key that are due at this instant: one call, as one event is. */
static enum status fire_keyed(struct nfa *n, uint32_t id, event_time_t deadline)
{
    struct keyed *k = &n->keyed[id];
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    const bool overdue = k->overdue_after != NO_POSITION;
    const uint32_t cause = overdue ? CAUSE_AFTER : CAUSE_TIME;
    const uint64_t cause_value = overdue ? k->overdue_after : (uint64_t)deadline;
    const struct results before = n->results;
    enum status st = STATUS_OK;
    uint32_t kept = 0;
    n->n_done = 0;
    k->overdue_after = NO_POSITION;
    for (uint32_t i = 0; i < k->n_runs; i++) {
        struct run *run = run_at(k->runs, size, i);
        if (st != STATUS_OK || run_deadline(n, p, run) > deadline) {
            const uint32_t n_moved = p->has_gaps ? 1 : k->n_runs - i; /* without gaps what is due is a prefix */
            if (kept != i) {
                memmove(run_at(k->runs, size, kept), run, n_moved * size);
            }
            kept += n_moved;
            i += n_moved - 1;
            continue;
        }
        const bool pending = n->plan->states[run->state].kind == STATE_PENDING;
        if ((pending || n->options.timeouts) && run_node(n, run) == 0) {
            st = STATUS_NO_MEMORY;
        } else if (pending) {
            st = nfa_complete(n, run, run->node);
        } else if (n->options.timeouts) {
            st = nfa_report(n, k, RESULT_TIMEOUT, run->node, cause, cause_value, deadline);
        } else {
            n->counters.timeouts++;
        }
        run_release(n, run);
    }
    n->n_runs -= k->n_runs - kept;
    k->n_runs = kept;
    if (st == STATUS_OK) {
        st = nfa_emit(n, k, cause, cause_value, deadline);
        take_back(n, st, &before);
    }
    if (st == STATUS_OK && n->options.key_ttl > 0 && deadline_after(k->last_time, n->options.key_ttl) <= deadline) {
        forget_key(n, k);
    }
    return st == STATUS_OK ? nfa_settle(n, id) : st;
}

static void forget_last(struct nfa *n, struct keyspace *space, uint32_t slot)
{
    struct key_slot *s = &space->slots[slot];
    if (s->last.segment != NO_SEGMENT) {
        event_release(n->events, s->last.segment);
        s->last.segment = NO_SEGMENT;
        if (--s->users == 0) {
            keyspace_drop(space, slot);
        }
    }
}

static enum status fire_lags(struct nfa *n, uint32_t index, event_time_t time)
{
    struct timers *t = &n->lag_timers[index];
    while (t->n > 0 && t->heap[0].deadline <= time) {
        const uint32_t slot = t->heap[0].owner;
        const event_time_t due = deadline_after(n->keyspaces[index].slots[slot].last_time, n->options.key_ttl);
        if (due <= time) {
            timers_cancel(t, slot);
            n->counters.expired_keys++;
            forget_last(n, &n->keyspaces[index], slot);
        } else {
            const enum status st = timers_set(t, slot, due, 0);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

enum status nfa_fire(struct nfa *n, event_time_t time)
{
    while (n->timers.n > 0 && n->timers.heap[0].deadline <= time) {
        const struct timer due = n->timers.heap[0];
        const enum status st = fire_keyed(n, due.owner, due.deadline);
        if (UNLIKELY(st != STATUS_OK)) {
            n->failure.status = st;
            n->failure.position = NO_POSITION;
            n->failure.time = due.deadline;
            return st;
        }
    }
    for (uint32_t i = 0; i < n->plan->n_keyspaces && n->options.key_ttl > 0; i++) {
        const enum status st = fire_lags(n, i, time);
        if (st != STATUS_OK) {
            n->failure.status = st;
            return st;
        }
    }
    return STATUS_OK;
}

enum status nfa_report_held(struct nfa *n)
{
    for (uint32_t i = 0; i < n->n_keyed; i++) {
        struct keyed *k = &n->keyed[i];
        if (k->runs == NULL && k->held == NULL) {
            continue;
        }
        for (uint32_t j = 0; j < k->n_held; j++) {
            const enum status st = nfa_report(n, k, RESULT_HELD, k->held[j].node, CAUSE_END, 0, TIME_MAX);
            if (st != STATUS_OK) {
                n->failure.status = st;
                return st;
            }
            node_release(&n->graph, k->held[j].node);
        }
        n->n_held -= k->n_held;
        k->n_held = 0;
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ bounds */

static enum status fail_limit(struct nfa *n, enum status status, const struct keyed *k, uint64_t given, uint64_t limit)
{
    n->failure = (struct failure){.status = status, .pattern = k->pattern, .position = nfa_position(n),
                                  .given = (int64_t)given, .limit = (int64_t)limit};
    return status;
}

static enum status bound_partials(struct nfa *n, struct keyed *k)
{
    const uint64_t limit = n->options.max_partials;
    if (limit == 0 || k->n_runs <= limit) {
        return STATUS_OK;
    }
    if (n->options.max_partials_policy == LIMIT_ERROR) {
        return fail_limit(n, STATUS_TOO_MANY_PARTIALS, k, k->n_runs, limit);
    }
    const uint32_t surplus = k->n_runs - (uint32_t)limit;
    n->counters.dropped_partials += surplus;
    nfa_drop_runs(n, k, n->options.max_partials_policy == LIMIT_DROP_OLDEST ? 0 : (uint32_t)limit, surplus);
    return STATUS_OK;
}

static uint64_t memory_in_use(const struct nfa *n)
{
    return n->payload_bytes + n->graph.n_live * sizeof(struct node) + n->n_runs * n->largest_run +
           n->n_keyed_live * (sizeof(struct keyed) + sizeof(struct key_slot));
}

/* Over the memory bound: an error, or drop this key's newest runs, or the runs whose deadline is next (of this key without deadlines). */
static enum status bound_memory(struct nfa *n, uint32_t id)
{
    const uint64_t limit = n->options.max_memory;
    if (limit == 0 || memory_in_use(n) <= limit) {
        return STATUS_OK;
    }
    struct keyed *k = &n->keyed[id];
    if (n->options.max_memory_policy == LIMIT_ERROR) {
        return fail_limit(n, STATUS_TOO_MUCH_MEMORY, k, memory_in_use(n), limit);
    }
    enum status st = STATUS_OK;
    while (st == STATUS_OK && memory_in_use(n) > limit && n->n_runs > 0) {
        const bool newest = n->options.max_memory_policy == LIMIT_DROP_NEWEST;
        const uint32_t victim = !newest && n->timers.n > 0 ? n->timers.heap[0].owner : id;
        struct keyed *v = &n->keyed[victim];
        if (v->n_runs == 0) {
            break;
        }
        nfa_drop_runs(n, v, newest ? v->n_runs - 1 : 0, 1);
        n->counters.dropped_partials++;
        if (victim != id) {
            st = nfa_settle(n, victim);
        }
    }
    return st;
}

/* ------------------------------------------------------------------ rows */

static bool concerns(const struct nfa *n, const struct pattern *p)
{
    if (p->every_row) {
        return true;
    }
    for (uint32_t w = 0; w < n->plan->mask_words; w++) {
        if (n->mask[w] & n->plan->cares[p->first_care + w]) {
            return true;
        }
    }
    return false;
}

static bool can_start(const struct nfa *n, const struct pattern *p)
{
    if (!p->start_quiet) {
        return true;
    }
    for (uint32_t w = 0; w < n->plan->mask_words; w++) {
        if (n->mask[w] & n->plan->cares[p->first_start_care + w]) {
            return true;
        }
    }
    return false;
}

/* Steps one keyed state with the current event, reports what that completes, and sets its timer. */
static inline enum status step_keyed(struct nfa *n, const struct pattern *p, uint32_t id)
{
    struct keyed *k = &n->keyed[id];
    k->last_time = n->now;
    enum status st = nfa_step_key(n, k);
    if (st == STATUS_OK && (n->n_done > 0 || k->n_held > 0)) {
        const struct results before = n->results;
        st = nfa_emit(n, k, CAUSE_EVENT, nfa_position(n), n->now);
        take_back(n, st, &before);
    }
    if (st == STATUS_OK && n->bounded) {
        st = bound_partials(n, k);
        if (st == STATUS_OK) {
            st = bound_memory(n, id);
        }
    }
    if (st == STATUS_OK && (k->n_runs == 0 || p->window > 0 || p->has_gaps || n->options.key_ttl > 0)) {
        st = nfa_settle(n, id);
    }
    return st;
}

static enum status step_pattern(struct nfa *n, uint32_t index)
{
    const struct pattern *p = &n->plan->patterns[index];
    struct keyspace *space = &n->keyspaces[p->keyspace];
    uint32_t *slot = &n->slots[p->keyspace];
    const bool starts = can_start(n, p);
    if (*slot == NOT_LOOKED_UP || (*slot == NO_SLOT && starts)) {
        const enum status st = keyspace_slot(space, n->events, n->event, starts, slot);
        if (st != STATUS_OK) {
            return st;
        }
        if (*slot == KEY_NULL) {
            n->counters.null_keys++;
        }
    }
    if (*slot >= NOT_LOOKED_UP) {
        return STATUS_OK;
    }
    uint32_t head = head_of(n, index, *slot);
    enum status st = STATUS_OK;
    if (head == 0) {
        if (!starts) {
            return STATUS_OK;
        }
        st = nfa_open_keyed(n, index, *slot, &head);
        head++;
    }
    if (st == STATUS_OK) {
        const uint32_t n_keys = space->n_keys;
        n->previous = n->chunk_previous[(size_t)p->keyspace * VM_BLOCK + n->row];
        st = step_keyed(n, p, head - 1);
        if (space->n_keys != n_keys) {
            *slot = NO_SLOT; /* the key has gone with its last state */
        }
    }
    return st;
}

static enum status fail_row(struct nfa *n, enum status st, uint32_t pattern)
{
    n->failure.status = st;
    n->failure.position = nfa_position(n);
    n->failure.time = n->now;
    n->failure.pattern = pattern;
    return st;
}

/* Time comes first: what is due before the row; then the row becomes the current one. */
static inline enum status enter_row(struct nfa *n, const struct waiting *row, uint32_t i)
{
    if (UNLIKELY(timers_next(&n->timers) <= row->time || n->options.key_ttl > 0)) {
        const enum status st = nfa_fire(n, row->time);
        if (st != STATUS_OK) {
            return st;
        }
    }
    n->order++;
    n->event = row->event;
    n->now = row->time;
    n->row = i;
    n->mask = n->chunk_masks + (size_t)i * n->plan->mask_words;
    return STATUS_OK;
}

static enum status step_row(struct nfa *n, const struct waiting *row, uint32_t i)
{
    enum status st = enter_row(n, row, i);
    for (uint32_t k = 0; k < n->plan->n_keyspaces; k++) {
        n->slots[k] = n->chunk_slots[(size_t)k * VM_BLOCK + i];
    }
    for (uint32_t p = 0; p < n->plan->n_patterns && st == STATUS_OK; p++) {
        if (concerns(n, &n->plan->patterns[p])) {
            st = step_pattern(n, p);
            if (UNLIKELY(st != STATUS_OK)) {
                return fail_row(n, st, p);
            }
        }
    }
    return st;
}

/* The key's latest event becomes its next one's previous; the reference on the one before goes to the caller. */
static enum status remember(struct nfa *n, uint32_t index, uint32_t slot, event_time_t time, struct event_ref event,
                            struct event_ref *previous)
{
    struct key_slot *s = &n->keyspaces[index].slots[slot];
    *previous = s->last;
    event_retain(n->events, event.segment);
    if (UNLIKELY(s->last.segment == NO_SEGMENT)) {
        s->users++;
        if (n->options.key_ttl > 0) {
            enum status st = timers_reserve_owners(&n->lag_timers[index], slot + 1);
            if (st == STATUS_OK) {
                st = timers_set(&n->lag_timers[index], slot, deadline_after(time, n->options.key_ttl), 0);
            }
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    s->last = event;
    s->last_time = time;
    return STATUS_OK;
}

#define AHEAD 8

/* Hints for the keyed states of the rows to come, in steps that each need what the one before has brought. */
static inline void prefetch_keyed(const struct nfa *n, const uint32_t *heads, uint32_t row, uint32_t n_rows, size_t size)
{
    if (row + 2 * AHEAD >= n_rows) {
        return;
    }
    if (heads[row + 2 * AHEAD] != 0) {
        const char *runs = (const char *)n->keyed[heads[row + 2 * AHEAD] - 1].runs;
        __builtin_prefetch(runs);
        __builtin_prefetch(runs + 64);
    }
    if (heads[row + AHEAD] != 0) {
        const struct keyed *k = &n->keyed[heads[row + AHEAD] - 1];
        for (uint32_t i = 0; i < k->n_runs && i < 3; i++) {
            const uint32_t node = run_at(k->runs, size, i)->node;
            __builtin_prefetch(&n->graph.nodes[node & SINGLE ? 0 : node]);
        }
    }
    if (heads[row + AHEAD / 2] != 0) {
        const struct keyed *k = &n->keyed[heads[row + AHEAD / 2] - 1];
        if (k->n_runs > 0 && !(k->runs->node & SINGLE)) { /* the oldest run has the longest chain, and is the likeliest to end */
            __builtin_prefetch(&n->graph.nodes[n->graph.nodes[k->runs->node].parent]);
        }
    }
}

/* Every row steps one pattern, whose keys' slots are known: nothing is left to decide per row. */
static enum status step_single(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    const struct pattern *p = &n->plan->patterns[0];
    const uint32_t *slots = n->chunk_slots + (size_t)p->keyspace * VM_BLOCK;
    const struct event_ref *previous = n->chunk_previous + (size_t)p->keyspace * VM_BLOCK;
    const size_t size = run_size(n, 0);
    for (uint32_t i = 0; i < n_rows; i++) {
        n->hints[i] = slots[i] < NOT_LOOKED_UP ? head_of(n, 0, slots[i]) : 0;
        __builtin_prefetch(&n->keyed[n->hints[i] - (n->hints[i] != 0)]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        prefetch_keyed(n, n->hints, i, n_rows, size);
        enum status st = enter_row(n, &rows[i], i);
        if (UNLIKELY(st != STATUS_OK)) {
            return st;
        }
        if (UNLIKELY(slots[i] >= NOT_LOOKED_UP)) {
            n->counters.null_keys++;
            continue;
        }
        n->previous = previous[i];
        uint32_t id = head_of(n, 0, slots[i]) - 1;
        if (UNLIKELY(id == UINT32_MAX)) {
            st = nfa_open_keyed(n, 0, slots[i], &id);
        }
        if (st == STATUS_OK) {
            st = step_keyed(n, p, id);
        }
        if (UNLIKELY(st != STATUS_OK)) {
            return fail_row(n, st, 0);
        }
    }
    return STATUS_OK;
}

/* The slots of a chunk's keys, made where there are none, into chunk_slots. */
static enum status lag_slots(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    struct keyspace *space = &n->keyspaces[index];
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    if (!space->integer) {
        for (uint32_t i = 0; i < n_rows; i++) {
            const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct column *c = &n->events->segments[rows[i].event.segment].columns[space->columns[0]];
        n->chunk_hashes[i] = keyspace_hash(((const int64_t *)c->data)[rows[i].event.row]);
        keyspace_prefetch_table(space, n->chunk_hashes[i]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        if (i + 3 * AHEAD < n_rows) {
            keyspace_prefetch_slot(space, n->chunk_hashes[i + 3 * AHEAD]);
        }
        const struct column *c = &n->events->segments[rows[i].event.segment].columns[space->columns[0]];
        slots[i] = keyspace_find(space, n->chunk_hashes[i], ((const int64_t *)c->data)[rows[i].event.row]);
        if (UNLIKELY(slots[i] == NO_SLOT || column_is_null(c, rows[i].event.row))) {
            const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

static bool ascending(const struct waiting *rows, uint32_t n_rows)
{
    for (uint32_t i = 1; i < n_rows; i++) {
        if (rows[i].event.row != rows[i - 1].event.row + 1 || rows[i].event.segment != rows[0].event.segment) {
            return false;
        }
    }
    return true;
}

/* Whether the rows lie one after the other in one segment, as they do when nothing was out of order. */
static bool consecutive(const struct waiting *rows, uint32_t n_rows)
{
    return rows[n_rows - 1].event.row - rows[0].event.row == n_rows - 1 && ascending(rows, n_rows);
}

/* The key's previous event of each row of a chunk, then the conditions that read it, over the whole chunk. */
static enum status lag_chunk(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    const struct plan *plan = n->plan;
    struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    const bool expires = n->options.key_ttl > 0;
    enum status st = expires ? STATUS_OK : lag_slots(n, index, rows, n_rows);
    for (uint32_t i = 0; i < n_rows && st == STATUS_OK; i++) {
        if (expires) {
            st = fire_lags(n, index, rows[i].time);
            if (st == STATUS_OK) {
                st = keyspace_slot(&n->keyspaces[index], n->events, rows[i].event, true, &slots[i]);
            }
        }
        previous[i].segment = NO_SEGMENT;
        if (st == STATUS_OK && slots[i] < NOT_LOOKED_UP) {
            st = remember(n, index, slots[i], rows[i].time, rows[i].event, &previous[i]);
        }
        n->chunk_refs[i] = rows[i].event;
        if (expires || (slots[i] == KEY_NULL && !n->single)) {
            slots[i] = NOT_LOOKED_UP; /* the key may be gone when its row's turn comes; a missing one is counted then */
        }
    }
    const uint32_t program = plan->keyspaces[index].lag_program;
    if (st == STATUS_OK && program != NO_PROGRAM) {
        const bool in_place = consecutive(rows, n_rows);
        const struct vm_input input = {.store = n->events, .segment = rows[0].event.segment, .first_row = rows[0].event.row,
                                       .refs = in_place ? NULL : n->chunk_refs, .prev_refs = previous};
        vm_run(&n->vm, plan, &plan->programs[program], &input, n_rows, n->chunk_masks, plan->mask_words);
    }
    return st;
}

static enum status step_chunk(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    const struct plan *plan = n->plan;
    const size_t words = plan->mask_words;
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct segment *g = &n->events->segments[rows[i].event.segment];
        for (size_t w = 0; w < words; w++) {
            n->chunk_masks[i * words + w] = g->masks[rows[i].event.row * words + w];
        }
    }
    for (uint32_t k = 0; k < plan->n_keyspaces; k++) {
        if (plan->keyspaces[k].needs_lag) {
            const enum status st = lag_chunk(n, k, rows, n_rows);
            if (st != STATUS_OK) {
                n->failure.status = st;
                return st;
            }
        }
    }
    n->counters.rows_stepped += n_rows;
    enum status st = n->single ? step_single(n, rows, n_rows) : STATUS_OK;
    for (uint32_t i = 0; i < n_rows && st == STATUS_OK && !n->single; i++) {
        st = step_row(n, &rows[i], i);
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t k = 0; k < plan->n_keyspaces; k++) {
        const struct event_ref *previous = n->chunk_previous + (size_t)k * VM_BLOCK;
        for (uint32_t i = 0; plan->keyspaces[k].needs_lag && i < n_rows; i++) {
            if (previous[i].segment != NO_SEGMENT) {
                event_release(n->events, previous[i].segment);
            }
        }
    }
    return STATUS_OK;
}

enum status nfa_step_rows(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    for (uint32_t i = 0; i < n_rows; i += VM_BLOCK) {
        const enum status st = step_chunk(n, rows + i, n_rows - i < VM_BLOCK ? n_rows - i : VM_BLOCK);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ restore */

enum status nfa_restore_run(struct nfa *n, uint32_t id, const struct run *run)
{
    struct keyed *k = &n->keyed[id];
    const size_t size = run_size(n, k->pattern);
    void *runs = k->runs;
    const enum status st = arena_reserve(n->arena, &runs, &k->runs_capacity, (uint64_t)k->n_runs + 1, size);
    k->runs = runs;
    if (st == STATUS_OK) {
        memcpy(run_at(k->runs, size, k->n_runs++), run, size);
        node_retain(&n->graph, run->node);
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

enum status nfa_restore_last(struct nfa *n, uint32_t keyspace, uint32_t slot, event_time_t time, struct event_ref event)
{
    struct event_ref previous;
    const enum status st = remember(n, keyspace, slot, time, event, &previous);
    if (st == STATUS_OK && previous.segment != NO_SEGMENT) {
        event_release(n->events, previous.segment);
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
