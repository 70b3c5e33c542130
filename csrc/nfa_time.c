/* Deadlines: when a partial match or a key's state ends by time. One heap over all keys; all that is due for one key at one instant is one
 * call, as one event is. Without gaps the runs that are due are a prefix, for runs are ordered by their first event.
 */
#include "nfa.h"

#include <string.h>

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
        nfa_close_keyed(n, id);
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
    enum status st = nfa_touch(n, CHANGED_KEYED, id);
    uint32_t kept = 0;
    uint32_t n_due = 0;
    n->n_done = 0;
    k->overdue_after = NO_POSITION;
    for (uint32_t i = 0; i < k->n_runs; i++) {
        struct run *run = run_at(k->runs, size, i);
        if (st != STATUS_OK || run_deadline(n, p, run) > deadline) {
            if (!p->has_gaps) {
                break; /* what is due is a prefix */
            }
            if (kept != i) {
                memcpy(run_at(k->runs, size, kept), run, size);
            }
            kept++;
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
        n_due++;
    }
    if (p->has_gaps) {
        n->n_runs -= k->n_runs - kept;
        k->n_runs = kept;
    } else {
        nfa_skip_runs(n, k, n_due);
    }
    if (st == STATUS_OK) {
        st = nfa_emit(n, k, cause, cause_value, deadline);
        take_back(n, st, &before);
    }
    if (st == STATUS_OK && n->options.key_ttl > 0 && deadline_after(k->last_time, n->options.key_ttl) <= deadline) {
        forget_key(n, k);
    }
    return st == STATUS_OK ? nfa_settle(n, id) : st;
}

enum status nfa_fire(struct nfa *n, event_time_t time)
{
    while (nfa_next_deadline(n) <= time && n->timers.n + n->strict_timers.n > 0) {
        const bool strict = nfa_strict_is_next(n);
        const struct timer due = strict ? n->strict_timers.heap[0] : n->timers.heap[0];
        const enum status st = strict ? nfa_strict_fire(n, due.owner, due.deadline) : fire_keyed(n, due.owner, due.deadline);
        if (UNLIKELY(st != STATUS_OK)) {
            n->failure.status = st;
            n->failure.position = NO_POSITION;
            n->failure.time = due.deadline;
            return st;
        }
    }
    if (n->compact_timers.n > 0) {
        const enum status st = nfa_compact_fire(n, time);
        if (st != STATUS_OK) {
            n->failure.status = st;
            return st;
        }
    }
    for (uint32_t i = 0; i < n->plan->n_keyspaces && n->options.key_ttl > 0; i++) {
        const enum status st = nfa_fire_lags(n, i, time);
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
        if (k->n_held == 0) {
            continue;
        }
        const enum status touched = nfa_touch(n, CHANGED_KEYED, i);
        if (touched != STATUS_OK) {
            n->failure.status = touched;
            return touched;
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
        if (k->n_runs == 0) {
            nfa_close_keyed(n, i);
        }
    }
    return STATUS_OK;
}
