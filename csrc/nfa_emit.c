/* What a step or a deadline completed: in what order it is reported, and what the skip strategy holds back or prunes.
 *
 * Completed matches are ordered by their events (first event first, a shorter prefix first; then by stages); an equal one is reported once.
 * Under a skip strategy they wait until no run that started earlier is left; each one that goes out prunes runs and waiting
 * matches by their first event. Runs and waiting matches are ordered by first event, so what is pruned is a prefix.
 */
#include "nfa.h"

#include <string.h>

enum status nfa_complete(struct nfa *n, const struct run *run, uint32_t node)
{
    void *done = n->done;
    const enum status st = arena_reserve(n->arena, &done, &n->done_capacity, (uint64_t)n->n_done + 1, sizeof *n->done);
    n->done = done;
    if (st == STATUS_OK) {
        n->done[n->n_done++] = (struct completed){run->start_order, run->start_time, node};
        node_retain(&n->graph, node);
    }
    return st;
}

/* ------------------------------------------------------------------ order */

static bool is_sorted(const struct nfa *n)
{
    for (uint32_t i = 1; i < n->n_done; i++) {
        if (node_compare(&n->graph, n->done[i - 1].node, n->done[i].node) >= 0) {
            return false;
        }
    }
    return true;
}

/* Sorts n->done (merge sort) and drops what is there twice. */
static enum status sort_done(struct nfa *n)
{
    if (is_sorted(n)) {
        return STATUS_OK;
    }
    void *space = n->sort_space;
    const enum status st = arena_reserve(n->arena, &space, &n->sort_capacity, n->n_done, sizeof *n->sort_space);
    n->sort_space = space;
    if (st != STATUS_OK) {
        return st;
    }
    struct completed *from = n->done;
    struct completed *to = n->sort_space;
    for (uint64_t width = 1; width < n->n_done; width *= 2) {
        for (uint64_t low = 0; low < n->n_done; low += 2 * width) {
            const uint64_t mid = low + width < n->n_done ? low + width : n->n_done;
            const uint64_t high = low + 2 * width < n->n_done ? low + 2 * width : n->n_done;
            uint64_t i = low;
            uint64_t j = mid;
            for (uint64_t k = low; k < high; k++) {
                const bool second = i >= mid || (j < high && node_compare(&n->graph, from[j].node, from[i].node) < 0);
                to[k] = second ? from[j++] : from[i++];
            }
        }
        struct completed *swap = from;
        from = to;
        to = swap;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->n_done; i++) {
        if (kept > 0 && node_compare(&n->graph, from[kept - 1].node, from[i].node) == 0) {
            node_release(&n->graph, from[i].node);
        } else {
            from[kept++] = from[i];
        }
    }
    if (from != n->done) {
        memcpy(n->done, from, kept * sizeof *from);
    }
    n->n_done = kept;
    return STATUS_OK;
}

/* ------------------------------------------------------------------ reporting */

struct result_event *nfa_result(struct nfa *n, uint32_t pattern, uint32_t kind, uint32_t n_events, uint32_t cause, uint64_t cause_value,
                                event_time_t released)
{
    struct results *r = &n->results;
    void *rows = r->rows;
    enum status st = arena_reserve(n->arena, &rows, &r->rows_capacity, (uint64_t)r->n_rows + 1, sizeof *r->rows);
    r->rows = rows;
    if (st != STATUS_OK) {
        return NULL;
    }
    void *events = r->events;
    st = arena_reserve(n->arena, &events, &r->events_capacity, (uint64_t)r->n_events + n_events, sizeof *r->events);
    r->events = events;
    if (st != STATUS_OK) {
        return NULL;
    }
    const event_time_t time = cause == CAUSE_AFTER ? n->now : released;
    r->rows[r->n_rows++] = (struct result){pattern, kind, cause, n_events, r->n_events, 1, cause_value, released, time};
    r->n_events += n_events;
    if (kind == RESULT_TIMEOUT) {
        n->counters.timeouts++;
    } else if (kind == RESULT_MATCH) {
        n->counters.matches++;
    }
    return r->events + r->n_events - n_events;
}

bool nfa_counts_only(struct nfa *n)
{
    n->found = compact_add(n->found, 1);
    if (LIKELY(!n->options.limited || n->n_in_call++ < n->options.limit)) {
        return false;
    }
    n->counters.matches = compact_add(n->counters.matches, 1);
    return true;
}

enum status nfa_report(struct nfa *n, const struct keyed *k, uint32_t kind, uint32_t node, uint32_t cause, uint64_t cause_value,
                       event_time_t released)
{
    const uint32_t length = n->graph.nodes[node].length;
    if (kind == RESULT_MATCH && nfa_counts_only(n)) {
        return STATUS_OK;
    }
    struct result_event *out = nfa_result(n, k->pattern, kind, length, cause, cause_value, released);
    if (out == NULL) {
        return STATUS_NO_MEMORY;
    }
    out += length;
    for (uint32_t at = node; at != 0; at = n->graph.nodes[at].parent) {
        *--out = (struct result_event){n->graph.nodes[at].stage, n->graph.nodes[at].event};
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ skip strategies */

void nfa_drop_runs(struct nfa *n, struct keyed *k, uint32_t first, uint32_t count)
{
    const size_t size = run_size(n, k->pattern);
    for (uint32_t i = first; i < first + count; i++) {
        run_release(n, run_at(k->runs, size, i));
    }
    if (first == 0) {
        nfa_skip_runs(n, k, count);
        return;
    }
    memmove(run_at(k->runs, size, first), run_at(k->runs, size, first + count), (k->n_runs - first - count) * size);
    k->n_runs -= count;
    n->n_runs -= count;
    k->n_tags = k->n_tags < first ? k->n_tags : first;
}

static void prune(struct nfa *n, struct keyed *k, uint64_t below)
{
    const size_t size = run_size(n, k->pattern);
    uint32_t runs = 0;
    while (runs < k->n_runs && run_at(k->runs, size, runs)->start_order < below) {
        runs++;
    }
    if (runs > 0) {
        n->counters.pruned += runs;
        nfa_drop_runs(n, k, 0, runs);
    }
    uint32_t held = 0;
    while (held < k->n_held && k->held[held].start_order < below) {
        node_release(&n->graph, k->held[held].node);
        held++;
    }
    if (held > 0) {
        n->counters.pruned += held;
        n->n_held -= held;
        k->n_held -= held;
        memmove(k->held, k->held + held, k->n_held * sizeof *k->held);
    }
}

/* Everything that started before this order goes when `match` goes out. */
static enum status prune_below(struct nfa *n, const struct keyed *k, struct completed match, uint64_t *below)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const struct node *nodes = n->graph.nodes;
    *below = 0;
    if (p->skip_kind == SKIP_TO_NEXT) {
        *below = match.start_order + 1;
        return STATUS_OK;
    }
    if (p->skip_kind == SKIP_PAST_LAST) {
        *below = nodes[match.node].order + 1;
        return STATUS_OK;
    }
    bool found = false;
    for (uint32_t at = match.node; at != 0; at = nodes[at].parent) {
        if (nodes[at].stage == p->skip_stage) {
            *below = nodes[at].order;
            found = true;
            if (p->skip_kind == SKIP_TO_LAST) {
                break;
            }
        }
    }
    if (p->skip_throws && (!found || *below == match.start_order)) {
        n->failure.status = found ? STATUS_SKIP_FIRST_ELEMENT : STATUS_SKIP_NO_ELEMENT;
        n->failure.pattern = k->pattern;
        n->failure.stage = p->skip_stage;
        return n->failure.status;
    }
    return STATUS_OK;
}

/* Puts n->done among the waiting matches, in order, each once. */
static enum status hold(struct nfa *n, struct keyed *k)
{
    void *held = k->held;
    const enum status st = arena_reserve(n->arena, &held, &k->held_capacity, (uint64_t)k->n_held + n->n_done, sizeof *k->held);
    k->held = held;
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < n->n_done; i++) {
        uint32_t low = 0;
        uint32_t high = k->n_held;
        bool there = false;
        while (low < high && !there) {
            const uint32_t mid = low + (high - low) / 2;
            const int order = node_compare(&n->graph, k->held[mid].node, n->done[i].node);
            there = order == 0;
            if (order < 0) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        if (there) {
            node_release(&n->graph, n->done[i].node);
            continue;
        }
        memmove(k->held + low + 1, k->held + low, (k->n_held - low) * sizeof *k->held);
        k->held[low] = n->done[i];
        k->n_held++;
        n->n_held++;
    }
    n->n_done = 0;
    return STATUS_OK;
}

enum status nfa_emit(struct nfa *n, struct keyed *k, uint32_t cause, uint64_t cause_value, event_time_t released)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    enum status st;
    n->n_in_call = 0;
    if (p->skip_kind == SKIP_NONE) {
        if (n->n_done == 0) {
            return STATUS_OK;
        }
        st = sort_done(n);
        for (uint32_t i = 0; i < n->n_done && st == STATUS_OK; i++) {
            st = nfa_report(n, k, RESULT_MATCH, n->done[i].node, cause, cause_value, released);
        }
        for (uint32_t i = 0; i < n->n_done; i++) {
            node_release(&n->graph, n->done[i].node);
        }
        n->n_done = 0;
        return st;
    }
    if (n->n_done == 0 && k->n_held == 0) {
        return STATUS_OK;
    }
    st = hold(n, k);
    while (st == STATUS_OK && k->n_held > 0 && (k->n_runs == 0 || k->held[0].start_order <= k->runs[0].start_order)) {
        const struct completed match = k->held[0];
        uint64_t below;
        st = prune_below(n, k, match, &below);
        if (st != STATUS_OK) {
            break; /* the caller takes back what this call has reported: a call is done as a whole or not at all */
        }
        k->n_held--;
        n->n_held--;
        memmove(k->held, k->held + 1, k->n_held * sizeof *k->held);
        st = nfa_report(n, k, RESULT_MATCH, match.node, cause, cause_value, released);
        prune(n, k, below);
        node_release(&n->graph, match.node);
    }
    return st;
}
