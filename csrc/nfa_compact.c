/* Patterns whose partial matches are a compact set (compact.h): the same matches as the general engine's, in the same order.
 *
 * Partial matches are never looked at one by one, so this is run only where nobody asks for them: no time-outs reported, no bounds on
 * partial matches, no key_ttl, no skip strategy. A timer frees the key once the last match that it could begin is over; what leaves the
 * window before that leaves with the key's next event.
 */
#include "nfa.h"

#include <string.h>

/* ------------------------------------------------------------------ loading */

static enum status tabulate(struct nfa *n, struct compact_pattern *c)
{
    const uint32_t *guards = n->plan->compact_conditions + c->plan->first_condition;
    struct decision *d = &c->decision;
    d->first_outcome = NO_DECISION;
    for (uint32_t i = 0; i < c->plan->n_conditions; i++) {
        if (!nfa_collect_guard(n, d, guards[i])) {
            return STATUS_BAD_PLAN; /* each condition is a bit */
        }
    }
    nfa_arrange_bits(d);
    c->class_of = arena_alloc(n->arena, sizeof *c->class_of << d->n_bits);
    if (c->class_of == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint64_t *mask = n->chunk_masks; /* nothing else uses it yet */
    n->mask = mask;
    for (uint32_t k = 0; k < 1U << d->n_bits; k++) {
        nfa_combine_bits(d, k, mask);
        c->class_of[k] = 0;
        for (uint32_t i = 0; i < c->plan->n_conditions; i++) {
            c->class_of[k] = (uint8_t)(c->class_of[k] | nfa_bits_hold(n, guards[i]) << i);
        }
    }
    return STATUS_OK;
}

/* What events of each class do at all. */
static void sum_up(struct compact_pattern *c)
{
    const struct compact_automaton *a = &c->automaton;
    for (uint32_t class_ = 0; class_ < a->n_classes; class_++) {
        for (uint32_t q = 0; q < a->n_states; q++) {
            const struct compact_cell *cell = compact_cell(a, q, class_);
            for (uint32_t i = 0; i < cell->n_takes; i++) {
                const bool final = a->takes[cell->first_take + i].target == COMPACT_FINAL;
                *(final ? &c->completes : q == 0 ? &c->starts : &c->extends) |= (uint64_t)1 << class_;
            }
        }
    }
}

enum status nfa_compact_init(struct nfa *n)
{
    const struct plan *plan = n->plan;
    timers_init(&n->compact_timers, n->arena);
    n->compacts = arena_alloc(n->arena, plan->n_patterns * sizeof *n->compacts);
    if (n->compacts == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(n->compacts, 0, plan->n_patterns * sizeof *n->compacts);
    for (uint32_t p = 0; p < plan->n_patterns; p++) {
        if (plan->patterns[p].strategy != STRATEGY_COMPACT) {
            continue;
        }
        struct compact_pattern *c = &n->compacts[p];
        c->plan = &plan->compacts[plan->patterns[p].compact];
        c->automaton = (struct compact_automaton){.cells = plan->compact_cells + c->plan->first_cell, .takes = plan->compact_takes,
                                                  .n_states = c->plan->n_states, .n_classes = 1U << c->plan->n_conditions,
                                                  .counts = n->options.limited != 0};
        const enum status st = tabulate(n, c);
        if (st != STATUS_OK) {
            return st;
        }
        sum_up(c);
        c->on = true;
    }
    return STATUS_OK;
}

void nfa_compact_free(struct nfa *n)
{
    for (uint32_t i = 0; i < n->n_compact_keys; i++) {
        struct compact_key *k = &n->compact_keys[i];
        if (k->lists != NULL) {
            compact_close(k, n->arena, &n->compacts[k->pattern].automaton, n->events);
        }
    }
    arena_free(n->arena, n->compact_keys, n->compact_keys_capacity * sizeof *n->compact_keys);
    for (uint32_t p = 0; p < n->plan->n_patterns && n->compacts != NULL; p++) {
        arena_free(n->arena, n->compacts[p].class_of, sizeof *n->compacts[p].class_of << n->compacts[p].decision.n_bits);
    }
    arena_free(n->arena, n->compacts, n->plan->n_patterns * sizeof *n->compacts);
    compact_walk_free(&n->walk, n->arena);
    arena_free(n->arena, n->path, n->path_capacity * sizeof *n->path);
    timers_free(&n->compact_timers);
}

/* ------------------------------------------------------------------ keys */

static struct keyspace *space_of(const struct nfa *n, uint32_t pattern)
{
    return &n->keyspaces[n->plan->patterns[pattern].keyspace];
}

static enum status open_key(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t *id)
{
    enum status st = nfa_reserve_heads(n, pattern, slot);
    if (st == STATUS_OK) {
        st = timers_reserve_owners(&n->compact_timers, n->n_compact_keys + 1);
    }
    if (st == STATUS_OK && n->compact_free == 0) {
        void *keys = n->compact_keys;
        st = arena_reserve(n->arena, &keys, &n->compact_keys_capacity, (uint64_t)n->n_compact_keys + 1, sizeof *n->compact_keys);
        n->compact_keys = keys;
    }
    if (st != STATUS_OK) {
        return st;
    }
    const bool reused = n->compact_free != 0;
    *id = reused ? n->compact_free - 1 : n->n_compact_keys;
    struct compact_key *k = &n->compact_keys[*id];
    const uint32_t next_free = reused ? k->slot : 0;
    st = compact_open(k, n->arena, &n->compacts[pattern].automaton);
    if (st != STATUS_OK) {
        k->slot = next_free;
        return st;
    }
    if (reused) {
        n->compact_free = next_free;
    } else {
        n->n_compact_keys++;
    }
    n->n_compact_live++;
    k->pattern = pattern;
    k->slot = slot;
    k->birth = n->births++;
    n->heads[pattern][slot] = *id + 1;
    space_of(n, pattern)->slots[slot].users++;
    return STATUS_OK;
}

static void close_key(struct nfa *n, uint32_t id)
{
    struct compact_key *k = &n->compact_keys[id];
    struct keyspace *space = space_of(n, k->pattern);
    const uint32_t slot = k->slot;
    if (UNLIKELY(n->changes != NULL)) {
        nfa_gone(n, CHANGED_COMPACT, id, k->birth);
    }
    timers_cancel(&n->compact_timers, id);
    n->heads[k->pattern][slot] = 0;
    compact_close(k, n->arena, &n->compacts[k->pattern].automaton, n->events);
    k->slot = n->compact_free;
    n->compact_free = id + 1;
    n->n_compact_live--;
    if (--space->slots[slot].users == 0) {
        keyspace_drop(space, slot);
    }
}

/* The timer is that of the last match that the key can begin, or an earlier one: it is set again when it fires. */
static enum status set_timer(struct nfa *n, uint32_t id)
{
    const struct compact_key *k = &n->compact_keys[id];
    const struct compact_list *starts = &k->lists[0];
    const int64_t window = n->plan->patterns[k->pattern].window;
    if (window == 0) {
        return STATUS_OK;
    }
    const event_time_t last = k->events[starts->items[starts->end - 1].event].time;
    return timers_set(&n->compact_timers, id, compact_deadline(last, window), k->birth);
}

enum status nfa_compact_install(struct nfa *n, uint32_t pattern, uint32_t slot, struct compact_key *made)
{
    uint32_t id = 0;
    enum status st = open_key(n, pattern, slot, &id);
    if (st != STATUS_OK) {
        compact_close(made, n->arena, &n->compacts[pattern].automaton, n->events);
        return st;
    }
    struct compact_key *k = &n->compact_keys[id];
    made->pattern = pattern;
    made->slot = slot;
    made->birth = k->birth;
    struct compact_key empty = *k;
    *k = *made;
    compact_close(&empty, n->arena, &n->compacts[pattern].automaton, n->events);
    return set_timer(n, id);
}

enum status nfa_compact_fire(struct nfa *n, event_time_t time)
{
    while (n->compact_timers.n > 0 && n->compact_timers.heap[0].deadline <= time) {
        const uint32_t id = n->compact_timers.heap[0].owner;
        struct compact_key *k = &n->compact_keys[id];
        enum status st = nfa_touch(n, CHANGED_COMPACT, id);
        st = st != STATUS_OK ? st : compact_expire(k, n->arena, &n->compacts[k->pattern].automaton, n->events, n->plan->patterns[k->pattern].window, time);
        if (st == STATUS_OK && compact_is_empty(k)) {
            close_key(n, id);
        } else if (st == STATUS_OK) {
            st = set_timer(n, id);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ matches */

/* The current event completes the first n events of the path, in each stage that it can be. Matches of as many events as those before
 * are counted on with them. */
static inline enum status complete(struct nfa *n, uint32_t pattern, uint32_t state, uint32_t n_path, uint32_t first_row)
{
    const struct compact_automaton *a = &n->compacts[pattern].automaton;
    const struct compact_cell *cell = compact_cell(a, state, n->walk.class_);
    struct results *r = &n->results;
    for (uint32_t i = 0; i < cell->n_takes; i++) {
        const struct compact_take *t = &a->takes[cell->first_take + i];
        if (t->target != COMPACT_FINAL) {
            continue;
        }
        struct result_event *out;
        if (LIKELY(r->n_rows > first_row && r->rows[r->n_rows - 1].n_events == n_path + 1 && r->events_capacity - r->n_events > n_path)) {
            out = r->events + r->n_events;
            r->n_events += n_path + 1;
            r->rows[r->n_rows - 1].repeat++;
            n->counters.matches++;
        } else {
            out = nfa_result(n, pattern, RESULT_MATCH, n_path + 1, CAUSE_EVENT, nfa_position(n), n->now);
            if (out == NULL) {
                return STATUS_NO_MEMORY;
            }
        }
        for (uint32_t k = 0; k < n_path; k++) {
            out[k] = n->path[k];
        }
        out[n_path] = (struct result_event){t->stage, n->event};
        n->n_in_call++;
        if (n->options.limited && n->n_in_call >= n->options.limit) {
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

static enum status reserve_path(struct nfa *n, uint32_t depth)
{
    void *path = n->path;
    const enum status st = arena_reserve(n->arena, &path, &n->path_capacity, depth, sizeof *n->path);
    n->path = path;
    return st;
}

static inline bool is_full(const struct nfa *n)
{
    return n->options.limited && n->n_in_call >= n->options.limit;
}

/* All matches that the current event completes, first events first. A path comes after those that go on from it: the current event, by
 * which it ends, is later than theirs. */
static enum status report(struct nfa *n, uint32_t pattern, const struct compact_key *k, uint32_t class_)
{
    const struct compact_automaton *a = &n->compacts[pattern].automaton;
    struct compact_walk *w = &n->walk;
    const uint32_t first_row = n->results.n_rows;
    n->n_in_call = 0;
    enum status st = compact_begin(w, n->arena, a, k, class_);
    if (st == STATUS_OK) {
        st = reserve_path(n, 1);
    }
    while (st == STATUS_OK && !is_full(n)) {
        struct compact_frame *f = &w->stack[w->depth - 1];
        if (f->at >= w->ends[f->state]) {
            if (w->depth == 1) {
                break;
            }
            w->depth--;
            st = complete(n, pattern, f->state, w->depth, first_row);
            continue;
        }
        const struct compact_item item = k->lists[f->state].items[f->at++];
        const struct compact_take *t = &a->takes[item.take];
        if (UNLIKELY(item.event >= w->bounds[t->target])) {
            continue;
        }
        n->path[w->depth - 1] = (struct result_event){t->stage, k->events[item.event].event};
        const struct compact_list *next = &k->lists[t->target];
        const uint32_t end = w->ends[t->target];
        if (end == next->first || next->items[end - 1].event <= item.event) {
            st = complete(n, pattern, t->target, w->depth, first_row);
        } else {
            st = compact_enter(w, n->arena, t->target, item);
            st = st == STATUS_OK ? reserve_path(n, w->depth) : st;
        }
    }
    return st;
}

/* ------------------------------------------------------------------ a row */

uint32_t nfa_compact_class(const struct nfa *n, uint32_t pattern)
{
    const struct compact_pattern *c = &n->compacts[pattern];
    return c->class_of[decision_index(&c->decision, n->mask)];
}

static inline bool has(uint64_t classes, uint32_t class_)
{
    return (classes >> class_) & 1;
}

enum status nfa_compact_step(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t class_)
{
    const struct compact_pattern *c = &n->compacts[pattern];
    const uint32_t head = head_of(n, pattern, slot);
    const bool starts = has(c->starts, class_);
    uint32_t id = head - 1;
    enum status st = STATUS_OK;
    if (head == 0) {
        if (!starts) {
            return STATUS_OK;
        }
        st = open_key(n, pattern, slot, &id);
        if (st != STATUS_OK) {
            return st;
        }
    }
    struct compact_key *k = &n->compact_keys[id];
    st = nfa_touch(n, CHANGED_COMPACT, id);
    st = st != STATUS_OK ? st : compact_expire(k, n->arena, &c->automaton, n->events, n->plan->patterns[pattern].window, n->now);
    if (st == STATUS_OK && has(c->completes, class_) && !compact_is_empty(k)) {
        const struct results before = n->results;
        const uint64_t matches = n->counters.matches;
        if (!n->options.limited || n->options.limit > 0) {
            st = report(n, pattern, k, class_);
        }
        if (n->options.limited) {
            const uint64_t count = compact_count(k, &c->automaton, class_);
            n->counters.matches = compact_add(matches, count);
            n->found = compact_add(n->found, count);
        } else {
            n->found = compact_add(n->found, n->counters.matches - matches);
        }
        take_back(n, st, &before);
    }
    if (st == STATUS_OK && (starts || (has(c->extends, class_) && !compact_is_empty(k)))) {
        st = compact_push(k, n->arena, &c->automaton, n->events, n->event, n->now, class_);
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (compact_is_empty(k)) {
        close_key(n, id);
        return STATUS_OK;
    }
    return head == 0 ? set_timer(n, id) : STATUS_OK;
}

/* ------------------------------------------------------------------ invariants */

const char *nfa_compact_check(const struct nfa *n)
{
    const char *reason = timers_check(&n->compact_timers);
    for (uint32_t i = 0; i < n->n_compact_keys && reason == NULL; i++) {
        const struct compact_key *k = &n->compact_keys[i];
        if (k->lists == NULL) {
            continue;
        }
        reason = compact_check(k, &n->compacts[k->pattern].automaton);
        if (reason == NULL && compact_is_empty(k)) {
            reason = "a compact set is empty";
        } else if (reason == NULL && head_of(n, k->pattern, k->slot) != i + 1) {
            reason = "a compact set is not found by its key";
        } else if (reason == NULL && n->plan->patterns[k->pattern].window > 0 && n->compact_timers.place[i] == NO_TIMER) {
            reason = "a compact set has no timer";
        }
    }
    return reason;
}

uint64_t nfa_compact_references(const struct nfa *n)
{
    uint64_t references = 0;
    for (uint32_t i = 0; i < n->n_compact_keys; i++) {
        references += n->compact_keys[i].end - n->compact_keys[i].first;
    }
    return references;
}

uint64_t nfa_compact_partials(const struct nfa *n)
{
    uint64_t open = 0;
    for (uint32_t i = 0; i < n->n_compact_keys; i++) {
        const struct compact_key *k = &n->compact_keys[i];
        open = k->lists == NULL ? open : compact_add(open, compact_partials(k, &n->compacts[k->pattern].automaton));
    }
    return open;
}
