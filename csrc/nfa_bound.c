/* Bounds on what partial matches may hold, looked at after each step: max_partials of one key, max_memory of the engine. */
#include "nfa.h"

/* Who holds runs: a keyed state, or a record of a strict sequence. */
struct holder {
    bool strict;
    uint32_t id;
};

static uint32_t runs_of(const struct nfa *n, struct holder h)
{
    return h.strict ? strict_at(&n->strict, h.id)->n_runs : n->keyed[h.id].n_runs;
}

static void drop_runs(struct nfa *n, struct holder h, bool newest, uint32_t count)
{
    n->counters.dropped_partials += count;
    if (h.strict) {
        nfa_strict_drop(n, h.id, newest, count);
    } else {
        nfa_drop_runs(n, &n->keyed[h.id], newest ? n->keyed[h.id].n_runs - count : 0, count);
    }
}

static enum status fail_limit(struct nfa *n, enum status status, uint32_t pattern, uint64_t given, uint64_t limit)
{
    n->failure = (struct failure){.status = status, .pattern = pattern, .position = nfa_position(n),
                                  .given = (int64_t)given, .limit = (int64_t)limit};
    return status;
}

static enum status bound_partials(struct nfa *n, uint32_t pattern, struct holder h)
{
    const uint64_t limit = n->options.max_partials;
    const uint32_t n_runs = runs_of(n, h);
    if (limit == 0 || n_runs <= limit) {
        return STATUS_OK;
    }
    if (n->options.max_partials_policy == LIMIT_ERROR) {
        return fail_limit(n, STATUS_TOO_MANY_PARTIALS, pattern, n_runs, limit);
    }
    drop_runs(n, h, n->options.max_partials_policy == LIMIT_DROP_NEWEST, n_runs - (uint32_t)limit);
    return STATUS_OK;
}

static uint64_t memory_in_use(const struct nfa *n)
{
    return n->payload_bytes + n->graph.n_live * sizeof(struct node) + n->n_runs * n->largest_run +
           n->n_keyed_live * (sizeof(struct keyed) + sizeof(struct key_slot)) +
           n->strict.n_live * (n->strict.record_size + sizeof(struct key_slot));
}

/* The holder whose deadline is next; `otherwise` if there are no deadlines. */
static struct holder next_due(struct nfa *n, struct holder otherwise)
{
    while (n->timers.n + n->strict_timers.n > 0) {
        if (!nfa_strict_is_next(n)) {
            return (struct holder){false, n->timers.heap[0].owner};
        }
        const struct timer t = n->strict_timers.heap[0];
        const event_time_t deadline = nfa_strict_deadline(n, t.owner);
        if (deadline == t.deadline) {
            return (struct holder){true, t.owner};
        }
        if (deadline == TIME_MAX) {
            timers_cancel(&n->strict_timers, t.owner);
        } else {
            timers_move(&n->strict_timers, t.owner, deadline);
        }
    }
    return otherwise;
}

/* Over the memory bound: an error, or drop this key's newest runs, or the runs whose deadline is next (of this key without deadlines). */
static enum status bound_memory(struct nfa *n, uint32_t pattern, struct holder h)
{
    const uint64_t limit = n->options.max_memory;
    if (limit == 0 || memory_in_use(n) <= limit) {
        return STATUS_OK;
    }
    if (n->options.max_memory_policy == LIMIT_ERROR) {
        return fail_limit(n, STATUS_TOO_MUCH_MEMORY, pattern, memory_in_use(n), limit);
    }
    const bool newest = n->options.max_memory_policy == LIMIT_DROP_NEWEST;
    while (memory_in_use(n) > limit && n->n_runs + n->strict.n_runs > 0) {
        const struct holder victim = newest ? h : next_due(n, h);
        if (runs_of(n, victim) == 0) {
            break;
        }
        const enum status touched = nfa_touch(n, victim.strict ? CHANGED_STRICT : CHANGED_KEYED, victim.id);
        if (touched != STATUS_OK) {
            return touched;
        }
        drop_runs(n, victim, newest, 1);
        if (victim.strict != h.strict || victim.id != h.id) {
            const enum status st = victim.strict ? nfa_strict_settle(n, victim.id) : nfa_settle(n, victim.id);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

enum status nfa_bound(struct nfa *n, uint32_t pattern, uint32_t id)
{
    const struct holder h = {n->sequences[pattern].places != NULL, id};
    const enum status st = bound_partials(n, pattern, h);
    return st == STATUS_OK ? bound_memory(n, pattern, h) : st;
}
