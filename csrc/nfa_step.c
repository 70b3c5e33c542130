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

bool nfa_bits_hold(struct nfa *n, uint32_t guard)
{
    return guard_holds(n, NULL, guard);
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

/* Where successors go: back into the key's own array while there is room before the next run to be read, else to n->out. */
struct sink {
    struct run *runs;
    uint32_t n;     /* runs written in place */
    uint32_t limit; /* places free for writing */
};

static struct run *sink_place(struct nfa *n, struct sink *to, size_t size)
{
    if (LIKELY(n->n_out == 0 && to->n < to->limit)) {
        return run_at(to->runs, size, to->n++);
    }
    if (UNLIKELY(n->n_out == n->out_capacity)) {
        void *out = n->out;
        const enum status st = arena_reserve(n->arena, &out, &n->out_capacity, (uint64_t)n->n_out + 1, n->largest_run);
        n->out = out;
        if (st != STATUS_OK) {
            return NULL;
        }
    }
    return run_at(n->out, size, n->n_out++);
}

/* Copies a run down over those that ended, or out of the way of those to come. */
static inline struct run *carry(struct nfa *n, const struct run *run, struct sink *to, size_t size)
{
    struct run *next = sink_place(n, to, size);
    if (next != run && LIKELY(next != NULL)) {
        memcpy(next, run, size);
    }
    return next;
}

/* The non-stop edges that are open for the run, into n->open; a stop edge ends the run. */
static uint32_t open_edges(struct nfa *n, const struct run *run, const struct state *s, bool *stopped)
{
    uint32_t n_open = 0;
    n->stamp++;
    const struct edge *edges = n->plan->edges + s->first_edge;
    for (uint32_t i = 0; i < s->n_edges; i++) {
        const struct edge *e = &edges[i];
        if (UNLIKELY(e->gap_guarded) && n->now >= time_add(run_previous_time(run), e->gap)) {
            continue;
        }
        if (guard_holds(n, run, e->guard)) {
            if (e->action == EDGE_STOP) {
                *stopped = true;
            } else {
                n->open[n_open++] = e;
            }
        }
    }
    return n_open;
}

static bool is_final(const struct nfa *n, const struct edge *e)
{
    return n->plan->states[e->target].kind == STATE_FINAL;
}

/* The run goes on in `target` with the event, taken by `stage`. `node` becomes the successor's. */
static inline enum status place_taken(struct nfa *n, const struct pattern *p, const struct run *run, uint32_t target, uint32_t stage,
                                      uint32_t node, struct sink *to, size_t size)
{
    const bool starts = run->node == 0;
    struct run *next = carry(n, run, to, size);
    if (UNLIKELY(next == NULL)) {
        return STATUS_NO_MEMORY;
    }
    if (starts) {
        next->start_time = n->now;
        next->start_order = n->order;
    }
    next->previous_time = n->now;
    next->node = node;
    next->state = target;
    if (size > sizeof(struct run)) {
        update_registers(n, next, &n->plan->stages[p->first_stage + stage]);
    }
    return STATUS_OK;
}

/* A take completes the match at once if it leads to the end, or if an epsilon path does. */
static enum status complete_taken(struct nfa *n, const struct run *run, uint32_t node)
{
    struct run first = *run;
    if (run->node == 0) {
        first.start_time = n->now;
        first.start_order = n->order;
    }
    return nfa_complete(n, &first, node);
}

static enum status take(struct nfa *n, const struct keyed *k, const struct run *run, const struct edge *e, struct sink *to, size_t size)
{
    const uint32_t node = node_new(&n->graph, n->event, n->order, e->stage, run->node);
    if (UNLIKELY(node == 0)) {
        return STATUS_NO_MEMORY;
    }
    enum status st = STATUS_OK;
    if (is_final(n, e) || guard_holds(n, run, e->final_guard)) {
        st = complete_taken(n, run, node);
    }
    if (is_final(n, e)) {
        node_release(&n->graph, node);
        return st;
    }
    return st == STATUS_OK ? place_taken(n, &n->plan->patterns[k->pattern], run, e->target, e->stage, node, to, size) : st;
}

static enum status ignore(struct nfa *n, const struct run *run, const struct edge *e, struct sink *to, size_t size)
{
    if (is_final(n, e)) {
        return nfa_complete(n, run, run->node);
    }
    struct run *next = carry(n, run, to, size);
    if (UNLIKELY(next == NULL)) {
        return STATUS_NO_MEMORY;
    }
    next->state = e->target;
    node_retain(&n->graph, next->node);
    return STATUS_OK;
}

/* Several successors, or a stop: they may be written over the run, so it is read from a copy. */
static enum status step_branching(struct nfa *n, const struct keyed *k, const struct run *run, const struct edge *const *open,
                                  uint32_t n_open, bool stopped, struct sink *to, size_t size)
{
    struct sink nowhere = {NULL, 0, 0};
    const uint32_t before = n->n_out;
    memcpy(n->branching, run, size);
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < n_open && st == STATUS_OK; i++) {
        const struct edge *e = open[i];
        struct sink *where = stopped ? &nowhere : to;
        st = e->action == EDGE_TAKE ? take(n, k, n->branching, e, where, size) : ignore(n, n->branching, e, where, size);
    }
    if (stopped && st == STATUS_OK) {
        n->counters.stopped++;
        while (n->n_out > before) {
            node_release(&n->graph, run_at(n->out, size, --n->n_out)->node);
        }
    }
    if (st == STATUS_OK) {
        node_release(&n->graph, n->branching->node);
    }
    return st;
}

/* Steps one run over its open edges; it gives up its reference to its node. */
static enum status step_open(struct nfa *n, const struct keyed *k, struct run *run, const struct edge *const *open, uint32_t n_open,
                             bool stopped, struct sink *to, size_t size)
{
    if (n_open == 0) {
        n->counters.stopped += stopped;
        node_release(&n->graph, run->node);
        return STATUS_OK;
    }
    const struct edge *e = open[0];
    if (n_open > 1 || stopped || is_final(n, e)) {
        return step_branching(n, k, run, open, n_open, stopped, to, size);
    }
    if (e->action == EDGE_TAKE) {
        const uint32_t node = node_append(&n->graph, n->event, n->order, e->stage, run->node);
        if (UNLIKELY(node == 0)) {
            return STATUS_NO_MEMORY;
        }
        if (UNLIKELY(n->plan->guards[e->final_guard].kind != GUARD_NEVER) && guard_holds(n, run, e->final_guard)) {
            const enum status st = complete_taken(n, run, node);
            if (st != STATUS_OK) {
                return st;
            }
        }
        return place_taken(n, &n->plan->patterns[k->pattern], run, e->target, e->stage, node, to, size);
    }
    struct run *next = carry(n, run, to, size);
    if (UNLIKELY(next == NULL)) {
        return STATUS_NO_MEMORY;
    }
    next->state = e->target;
    return STATUS_OK;
}

/* ------------------------------------------------------------------ decisions */

static bool collect_bit(struct decision *d, uint32_t bit)
{
    for (uint32_t i = 0; i < d->n_bits; i++) {
        if (d->bits[i] == bit) {
            return true;
        }
    }
    if (d->n_bits == DECISION_BITS) {
        return false;
    }
    d->bits[d->n_bits++] = bit;
    return true;
}

bool nfa_collect_guard(const struct nfa *n, struct decision *d, uint32_t index)
{
    const struct guard *g = &n->plan->guards[index];
    if (g->kind == GUARD_IF_BIT || g->kind == GUARD_UNLESS_BIT) {
        return collect_bit(d, g->arg);
    }
    for (uint32_t i = 0; g->kind == GUARD_CODE && i < g->n_steps; i++) {
        const struct guard_step *s = &n->plan->guard_steps[g->arg + i];
        if (s->op == GUARD_CONDITION || (s->op == GUARD_BIT && !collect_bit(d, s->arg))) {
            return false;
        }
    }
    return true;
}

static bool collect_state(const struct nfa *n, struct decision *d, const struct state *s)
{
    for (uint32_t i = 0; i < s->n_edges; i++) {
        const struct edge *e = &n->plan->edges[s->first_edge + i];
        if (e->gap_guarded || !nfa_collect_guard(n, d, e->guard) || !nfa_collect_guard(n, d, e->final_guard)) {
            return false;
        }
    }
    return true;
}

/* Bits in ascending order; if they are adjacent in one word, how to cut them out of it. */
void nfa_arrange_bits(struct decision *d)
{
    for (uint32_t i = 1; i < d->n_bits; i++) {
        for (uint32_t k = i; k > 0 && d->bits[k - 1] > d->bits[k]; k--) {
            const uint32_t swap = d->bits[k];
            d->bits[k] = d->bits[k - 1];
            d->bits[k - 1] = swap;
        }
    }
    d->adjacent = 0;
    if (d->n_bits > 0 && d->bits[d->n_bits - 1] - d->bits[0] == d->n_bits - 1 && d->bits[0] >> 6 == d->bits[d->n_bits - 1] >> 6) {
        d->word = d->bits[0] >> 6;
        d->shift = d->bits[0] & 63;
        d->adjacent = ((uint64_t)1 << d->n_bits) - 1;
    }
}

void nfa_combine_bits(const struct decision *d, uint32_t c, uint64_t *mask)
{
    for (uint32_t b = 0; b < d->n_bits; b++) {
        const uint64_t bit = (uint64_t)1 << (d->bits[b] & 63);
        uint64_t *word = &mask[d->bits[b] >> 6];
        *word = (c >> b) & 1 ? *word | bit : *word & ~bit;
    }
}

/* The outcome under n->mask, by judging the guards. */
static struct outcome judge_state(struct nfa *n, uint32_t state)
{
    struct outcome o = {.kind = OUTCOME_EDGES, .first_open = n->n_decision_edges};
    bool stopped = false;
    memset(n->start_run, 0, n->largest_run);
    o.n_open = open_edges(n, n->start_run, &n->plan->states[state], &stopped);
    o.stopped = stopped;
    memcpy(n->decision_edges + n->n_decision_edges, n->open, o.n_open * sizeof *n->open);
    n->n_decision_edges += o.n_open;
    const struct edge *e = n->open[0];
    if (o.n_open == 0) {
        o.kind = OUTCOME_END;
    } else if (o.n_open == 1 && !stopped && !is_final(n, e)) {
        o.target = e->target;
        o.stage = e->stage;
        if (e->action == EDGE_IGNORE) {
            o.kind = e->target == state ? OUTCOME_STAY : OUTCOME_MOVE;
        } else if (!guard_holds(n, n->start_run, e->final_guard)) {
            o.kind = OUTCOME_TAKE;
        }
    }
    return o;
}

enum status nfa_decide(struct nfa *n)
{
    uint64_t *mask = n->chunk_masks; /* nothing else uses it yet */
    n->mask = mask;
    for (uint32_t i = 0; i < n->plan->n_states; i++) {
        struct decision *d = &n->decisions[i];
        const struct state *s = &n->plan->states[i];
        d->n_bits = 0;
        d->first_outcome = NO_DECISION;
        if (s->kind == STATE_FINAL || s->kind == STATE_STOP || !collect_state(n, d, s)) {
            continue;
        }
        nfa_arrange_bits(d);
        const uint32_t combinations = 1U << d->n_bits;
        void *outcomes = n->outcomes;
        enum status st = arena_reserve(n->arena, &outcomes, &n->outcomes_capacity, (uint64_t)n->n_outcomes + combinations,
                                       sizeof *n->outcomes);
        n->outcomes = outcomes;
        if (st != STATUS_OK) {
            return st;
        }
        void *edges = n->decision_edges;
        st = arena_reserve(n->arena, &edges, &n->decision_edges_capacity,
                           n->n_decision_edges + (uint64_t)combinations * (s->n_edges + 1), sizeof *n->decision_edges);
        n->decision_edges = edges;
        if (st != STATUS_OK) {
            return st;
        }
        d->first_outcome = n->n_outcomes;
        for (uint32_t c = 0; c < combinations; c++) {
            nfa_combine_bits(d, c, mask);
            n->outcomes[n->n_outcomes++] = judge_state(n, i);
        }
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ the runs of one key */

/* OUTCOME_TAKE: the run, or the start state's (node 0), goes on with the event. */
static inline enum status step_take(struct nfa *n, const struct pattern *p, struct run *run, const struct outcome *o, struct sink *to,
                                    size_t size)
{
    const bool starts = run->node == 0;
    if (starts && size == sizeof(struct run)) {
        struct run *first = sink_place(n, to, size);
        if (UNLIKELY(first == NULL)) {
            return STATUS_NO_MEMORY;
        }
        event_retain(n->events, n->event.segment);
        n->n_single++;
        *first = (struct run){.start_time = n->now, .start_order = n->order, .only = n->event, .node = SINGLE | o->stage, .state = o->target};
        return STATUS_OK;
    }
    const uint32_t parent = run_node(n, run);
    const uint32_t node = LIKELY(parent != 0 || starts) ? node_append(&n->graph, n->event, n->order, o->stage, parent) : 0;
    return LIKELY(node != 0) ? place_taken(n, p, run, o->target, o->stage, node, to, size) : STATUS_NO_MEMORY;
}

/* A run whose outcome is none of the simple ones. */
static enum status step_edges(struct nfa *n, const struct keyed *k, struct run *run, const struct outcome *o, struct sink *to,
                              size_t size)
{
    const struct state *s = &n->plan->states[run->state];
    if (o == NULL && is_quiet(n, s)) {
        return carry(n, run, to, size) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    }
    if (run->node != 0 && run_node(n, run) == 0) {
        return STATUS_NO_MEMORY;
    }
    if (o != NULL) {
        return step_open(n, k, run, n->decision_edges + o->first_open, o->n_open, o->stopped, to, size);
    }
    bool stopped = false;
    const uint32_t n_open = open_edges(n, run, s, &stopped);
    if (UNLIKELY(n->failure.status != STATUS_OK)) {
        return n->failure.status;
    }
    return step_open(n, k, run, n->open, n_open, stopped, to, size);
}

/* The start state: a run that has taken nothing, always there. */
static enum status step_start(struct nfa *n, const struct keyed *k, const struct pattern *p, const struct outcome *o, struct sink *to,
                              size_t size)
{
    if (o != NULL && o->kind == OUTCOME_END) {
        return STATUS_OK;
    }
    to->limit = k->runs_capacity;
    n->start_run->node = 0;
    n->start_run->state = p->first_state;
    if (size > sizeof(struct run)) {
        memset(n->start_run->registers, 0, size - sizeof(struct run));
    }
    if (o != NULL && o->kind == OUTCOME_TAKE) {
        return step_take(n, p, n->start_run, o, to, size);
    }
    if (o == NULL && is_quiet(n, &n->plan->states[p->first_state])) {
        return STATUS_OK;
    }
    return step_edges(n, k, n->start_run, o, to, size);
}

static enum status append_spilled(struct nfa *n, struct keyed *k, uint32_t at, size_t size)
{
    const enum status st = nfa_reserve_runs(n, k, at, (uint64_t)at + n->n_out);
    if (st == STATUS_OK) {
        memcpy(run_at(k->runs, size, at), n->out, n->n_out * size);
        n->n_runs += n->n_out;
        k->n_runs = at + n->n_out;
    }
    return st;
}

static inline enum status step_run(struct nfa *n, const struct keyed *k, const struct pattern *p, uint32_t i, struct sink *to, size_t size)
{
    struct run *run = run_at(k->runs, size, i);
    const struct outcome *o = nfa_decided(n, run->state);
    to->limit = i + 1;
    switch (o != NULL ? o->kind : OUTCOME_EDGES) {
    case OUTCOME_STAY:
        return carry(n, run, to, size) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    case OUTCOME_END:
        n->counters.stopped += o->stopped;
        run_release(n, run);
        return STATUS_OK;
    case OUTCOME_TAKE:
        return step_take(n, p, run, o, to, size);
    case OUTCOME_MOVE:
        run = carry(n, run, to, size);
        if (UNLIKELY(run == NULL)) {
            return STATUS_NO_MEMORY;
        }
        run->state = o->target;
        return STATUS_OK;
    default:
        return step_edges(n, k, run, o, to, size);
    }
}

static enum status step_all(struct nfa *n, const struct keyed *k, const struct pattern *p, struct sink *to, size_t size)
{
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < k->n_runs && st == STATUS_OK; i++) {
        st = step_run(n, k, p, i, to, size);
    }
    return st;
}

/* The runs from i to j go on as they are. */
static enum status carry_all(struct nfa *n, struct keyed *k, uint32_t i, uint32_t j, struct sink *to, size_t size)
{
    if (LIKELY(n->n_out == 0 && to->n == i)) {
        to->n = j;
        return STATUS_OK;
    }
    for (; i < j; i++) {
        to->limit = i + 1;
        if (n->n_out == 0) {
            k->tags[to->n] = k->tags[i];
        }
        if (carry(n, run_at(k->runs, size, i), to, size) == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

/* Only the runs that the event's value can concern. */
static enum status step_indexed(struct nfa *n, struct keyed *k, const struct pattern *p, struct sink *to, size_t size)
{
    enum status st = nfa_index_runs(n, k);
    const uint32_t tag = nfa_tag(n, n->event, p->index_column);
    for (uint32_t i = 0; i < k->n_runs && st == STATUS_OK; i++) {
        const uint32_t next = nfa_index_next(k, i, k->n_runs, tag);
        st = carry_all(n, k, i, next, to, size);
        i = next;
        if (st == STATUS_OK && i < k->n_runs) {
            const uint32_t before = to->n;
            st = step_run(n, k, p, i, to, size);
            for (uint32_t made = before; made < to->n; made++) {
                k->tags[made] = tag;
            }
        }
    }
    return st;
}

enum status nfa_step_key(struct nfa *n, struct keyed *k)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    const bool indexed = p->index_column != NO_INDEX;
    const uint32_t n_before = k->n_runs;
    struct sink to = {k->runs, 0, 0};
    n->n_out = 0;
    n->n_done = 0;
    enum status st = indexed ? step_indexed(n, k, p, &to, size) : step_all(n, k, p, &to, size);
    const uint32_t n_stepped = to.n;
    if (st == STATUS_OK) {
        st = step_start(n, k, p, nfa_decided(n, p->first_state), &to, size);
    }
    if (UNLIKELY(st != STATUS_OK)) {
        return st; /* the engine stops: nothing more is asked of these runs */
    }
    k->n_tags = indexed ? n_stepped : 0; /* of what is new, tags are made when they are needed */
    n->n_runs += to.n;
    n->n_runs -= n_before;
    k->n_runs = to.n;
    return n->n_out > 0 ? append_spilled(n, k, to.n, size) : STATUS_OK;
}
