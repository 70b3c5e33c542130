/* Rows in event-time order: time first, then the key's slot, then the runs. A chunk of rows at a time, so that keys can be looked up and
 * conditions on the key's previous event judged for all of them at once, and what the next rows will touch is on its way.
 */
#include "nfa.h"

#include <string.h>

/* ------------------------------------------------------------------ rows */

/* Whether the current row can be the first event of a match. */
static bool can_start(const struct nfa *n, const struct pattern *p)
{
    const struct outcome *o = nfa_decided(n, p->first_state);
    if (o != NULL || !p->start_quiet) {
        return o == NULL || o->kind != OUTCOME_END;
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
    enum status st = nfa_touch(n, CHANGED_KEYED, id);
    k->last_time = n->now;
    if (LIKELY(st == STATUS_OK)) {
        st = nfa_step_key(n, k);
    }
    if (st == STATUS_OK && (n->n_done > 0 || k->n_held > 0)) {
        const struct results before = n->results;
        st = nfa_emit(n, k, CAUSE_EVENT, nfa_position(n), n->now);
        take_back(n, st, &before);
    }
    if (st == STATUS_OK && n->bounded) {
        st = nfa_bound(n, k->pattern, id);
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
    const struct sequence *sequence = &n->sequences[index];
    const bool compact = n->compacts[index].on;
    const uint32_t taken = sequence->places != NULL ? nfa_strict_taken(n, sequence) : compact ? nfa_compact_class(n, index) : 0;
    const bool starts = sequence->places != NULL ? (taken & 1) != 0
                        : compact                ? ((n->compacts[index].starts >> taken) & 1) != 0
                                                 : can_start(n, p);
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
    if (head == 0 && !starts) {
        return STATUS_OK;
    }
    const uint32_t n_keys = space->n_keys;
    enum status st = STATUS_OK;
    if (sequence->places != NULL) {
        st = nfa_strict_step(n, index, *slot, taken);
    } else if (compact) {
        st = nfa_compact_step(n, index, *slot, taken);
    } else {
        if (head == 0) {
            st = nfa_open_keyed(n, index, *slot, &head);
            head++;
        }
        if (st == STATUS_OK) {
            n->previous = n->chunk_previous[(size_t)p->keyspace * VM_BLOCK + n->row];
            st = step_keyed(n, p, head - 1);
        }
    }
    if (space->n_keys != n_keys) {
        *slot = NO_SLOT; /* the key has gone with its last state */
    }
    return st;
}

static enum status step_row(struct nfa *n, const struct waiting *row, uint32_t i)
{
    enum status st = nfa_enter_row(n, row, i);
    for (uint32_t k = 0; k < n->plan->n_keyspaces; k++) {
        n->slots[k] = n->chunk_slots[(size_t)k * VM_BLOCK + i];
    }
    if (UNLIKELY(st != STATUS_OK)) {
        return st;
    }
    const uint64_t *concerned = nfa_concerned(n);
    for (uint32_t w = 0; w < n->dispatch.n_words; w++) {
        for (uint64_t patterns = concerned[w]; patterns != 0; patterns &= patterns - 1) {
            const uint32_t p = w * 64 + (uint32_t)__builtin_ctzll(patterns);
            st = step_pattern(n, p);
            if (UNLIKELY(st != STATUS_OK)) {
                return nfa_fail_row(n, st, p);
            }
        }
    }
    return STATUS_OK;
}

/* Reads what the next rows will touch, level by level, many rows at once, so that the misses of one level overlap. */
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
        enum status st = nfa_enter_row(n, &rows[i], i);
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
            return nfa_fail_row(n, st, 0);
        }
    }
    return STATUS_OK;
}

/* Whether the rows lie one after the other in one segment, as they do when nothing was out of order. */
static bool consecutive(const struct waiting *rows, uint32_t n_rows)
{
    const struct event_ref first = rows[0].event;
    bool same = rows[n_rows - 1].event.row - first.row == n_rows - 1;
    for (uint32_t i = 0; i < n_rows && same; i++) {
        same = rows[i].event.segment == first.segment && rows[i].event.row == first.row + i;
    }
    return same;
}

static void copy_masks(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    const size_t words = n->plan->mask_words;
    if (n->in_place) {
        const struct segment *g = &n->events->segments[rows[0].event.segment];
        memcpy(n->chunk_masks, g->masks + rows[0].event.row * words, n_rows * words * sizeof *g->masks);
        return;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct segment *g = &n->events->segments[rows[i].event.segment];
        memcpy(n->chunk_masks + i * words, g->masks + rows[i].event.row * words, words * sizeof *g->masks);
    }
}

static enum status step_chunk(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    const struct plan *plan = n->plan;
    n->in_place = consecutive(rows, n_rows);
    copy_masks(n, rows, n_rows);
    for (uint32_t k = 0; k < plan->n_keyspaces; k++) {
        if (plan->keyspaces[k].needs_lag) {
            const enum status st = nfa_lag_chunk(n, k, rows, n_rows);
            if (st != STATUS_OK) {
                n->failure.status = st;
                return st;
            }
        }
    }
    n->counters.rows_stepped += n_rows;
    enum status st = STATUS_OK;
    if (n->single) {
        st = n->sequences[0].places != NULL ? nfa_strict_single(n, rows, n_rows) : step_single(n, rows, n_rows);
    }
    for (uint32_t i = 0; i < n_rows && st == STATUS_OK && !n->single; i++) {
        st = step_row(n, &rows[i], i);
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t k = 0; k < plan->n_keyspaces; k++) {
        if (plan->keyspaces[k].needs_lag) {
            nfa_lag_release(n, k, n_rows);
        }
    }
    return STATUS_OK;
}

/* Few enough that what all of them touch stays in the nearest cache, many enough for what is done once a chunk to cost little. */
#define CHUNK 128U

enum status nfa_step_rows(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    for (uint32_t i = 0; i < n_rows; i += CHUNK) {
        const enum status st = step_chunk(n, rows + i, n_rows - i < CHUNK ? n_rows - i : CHUNK);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}
