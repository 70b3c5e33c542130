/* Rows in event-time order: time first, then the key's slot, then the runs. A chunk of rows at a time, so that keys can be looked up and
 * conditions on the key's previous event judged for all of them at once, and what the next rows will touch is on its way.
 */
#include "nfa.h"

#include <string.h>

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

enum status nfa_remember(struct nfa *n, uint32_t index, uint32_t slot, event_time_t time, struct event_ref event,
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

#define AHEAD 16U

/* warm_keyed reads what the next rows will touch, level by level, many rows at once, so that the misses of one level overlap. It loads;
 * prefetch instructions gained nothing where it was measured (a virtual machine, where page walks are dear), loads a third. */
static inline void touch(const void *p)
{
    (void)*(const volatile char *)p;
}

static void warm_keyed(const struct nfa *n, const uint32_t *heads, uint32_t n_rows, size_t size)
{
    const struct keyed *keyed = n->keyed;
    const struct node *nodes = n->graph.nodes;
    for (uint32_t i = 0; i < n_rows; i++) {
        touch(&keyed[heads[i]]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct keyed *k = &keyed[heads[i]];
        for (uint32_t r = 0; r < k->n_runs; r += 2) {
            touch(run_at(k->runs, size, r));
        }
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct keyed *k = &keyed[heads[i]];
        for (uint32_t r = 0; r < k->n_runs && r < 4; r++) {
            const uint32_t node = run_at(k->runs, size, r)->node;
            touch(&nodes[node & SINGLE ? 0 : node]);
        }
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct keyed *k = &keyed[heads[i]];
        const uint32_t node = k->n_runs > 0 ? k->runs->node : 0; /* the oldest run has the longest chain */
        touch(&nodes[node & SINGLE ? 0 : nodes[node].parent]);
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
        if (i % AHEAD == 0 && n->n_keyed > 0) {
            const uint32_t n_ahead = n_rows - i < AHEAD ? n_rows - i : AHEAD;
            uint32_t heads[AHEAD];
            for (uint32_t a = 0; a < n_ahead; a++) {
                const uint32_t head = slots[i + a] < NOT_LOOKED_UP ? head_of(n, 0, slots[i + a]) : 0;
                heads[a] = head - (head != 0); /* one without a state yet stands for the first: a hint only */
            }
            warm_keyed(n, heads, n_ahead, size);
        }
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
        touch(keyspace_entry(space, n->chunk_hashes[i]));
    }
    for (uint32_t i = 0; i < n_rows && space->n_slots > 0; i++) {
        const uint32_t slot = *keyspace_entry(space, n->chunk_hashes[i]);
        touch(&space->slots[slot - (slot != 0)]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
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
            st = nfa_fire_lags(n, index, rows[i].time);
            if (st == STATUS_OK) {
                st = keyspace_slot(&n->keyspaces[index], n->events, rows[i].event, true, &slots[i]);
            }
        }
        previous[i].segment = NO_SEGMENT;
        if (st == STATUS_OK && slots[i] < NOT_LOOKED_UP) {
            st = nfa_remember(n, index, slots[i], rows[i].time, rows[i].event, &previous[i]);
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
