/* Strict sequences, run as bits (strict.h): the same results as the general engine's, in the same order.
 *
 * The runs of a key are ordered by age from the highest bit down, and what is complete is always the oldest: so no skip strategy has to
 * wait, and what one prunes is known when the pattern is loaded. All runs have taken the key's last event. Timers are set when a record
 * is made and moved when they fire: the deadline of the oldest run only grows.
 */
#include "nfa.h"

#include <string.h>

/* ------------------------------------------------------------------ loading */

/* The runs that stay when a match goes out: of bits 0 .. n - 2, those that began at the event it skips to, or later. */
static uint32_t kept_after_match(const struct pattern *p, const struct sequence *q, bool *fails)
{
    const uint32_t all = (1U << (q->n_places - 1)) - 1;
    *fails = false;
    if (p->skip_kind == SKIP_NONE || p->skip_kind == SKIP_TO_NEXT) {
        return all;
    }
    if (p->skip_kind == SKIP_PAST_LAST) {
        return 0;
    }
    uint32_t to = 0; /* the place that is skipped to; each stage has one */
    for (uint32_t i = 0; i < q->n_places; i++) {
        if (q->places[i].stage == p->skip_stage && (q->places[to].stage != p->skip_stage || p->skip_kind == SKIP_TO_LAST)) {
            to = i;
        }
    }
    *fails = p->skip_throws && to == 0;
    return all & (uint32_t)(((uint64_t)1 << (q->n_places - to)) - 1);
}

static enum status tabulate(struct nfa *n, struct sequence *q)
{
    struct decision *d = &q->decision;
    for (uint32_t i = 0; i < q->n_places; i++) {
        if (!nfa_collect_guard(n, d, q->places[i].guard)) {
            d->n_bits = 0; /* too many bits: judged for each event */
            return STATUS_OK;
        }
    }
    nfa_arrange_bits(d);
    q->taken_by = arena_alloc(n->arena, sizeof *q->taken_by << d->n_bits);
    if (q->taken_by == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint64_t *mask = n->chunk_masks; /* nothing else uses it yet */
    n->mask = mask;
    for (uint32_t c = 0; c < 1U << d->n_bits; c++) {
        nfa_combine_bits(d, c, mask);
        q->taken_by[c] = 0;
        for (uint32_t i = 0; i < q->n_places; i++) {
            q->taken_by[c] |= (uint32_t)nfa_bits_hold(n, q->places[i].guard) << i;
        }
    }
    return STATUS_OK;
}

static enum status load_sequence(struct nfa *n, const struct pattern *p, struct sequence *q)
{
    if (p->strategy != STRATEGY_STRICT) {
        return STATUS_OK;
    }
    q->n_places = p->n_states - 1;
    q->places = arena_alloc(n->arena, q->n_places * sizeof *q->places);
    if (q->places == NULL) {
        return STATUS_NO_MEMORY;
    }
    q->waits = p->window > 0 || p->has_gaps || n->options.key_ttl > 0;
    for (uint32_t i = 0; i < q->n_places; i++) {
        const struct edge *e = &n->plan->edges[n->plan->states[p->first_state + i].first_edge];
        q->places[i] = (struct place){e->guard, e->stage, n->plan->states[p->first_state + i + 1].gap};
    }
    q->kept = kept_after_match(p, q, &q->fails);
    return tabulate(n, q);
}

enum status nfa_strict_init(struct nfa *n)
{
    const struct plan *plan = n->plan;
    n->sequences = arena_alloc(n->arena, plan->n_patterns * sizeof *n->sequences);
    if (n->sequences == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(n->sequences, 0, plan->n_patterns * sizeof *n->sequences);
    uint32_t longest = 0;
    for (uint32_t p = 0; p < plan->n_patterns; p++) {
        const enum status st = load_sequence(n, &plan->patterns[p], &n->sequences[p]);
        if (st != STATUS_OK) {
            return st;
        }
        longest = n->sequences[p].n_places > longest ? n->sequences[p].n_places : longest;
    }
    strict_init(&n->strict, n->arena, n->events, longest);
    return STATUS_OK;
}

void nfa_strict_free(struct nfa *n)
{
    for (uint32_t p = 0; p < n->plan->n_patterns && n->sequences != NULL; p++) {
        struct sequence *q = &n->sequences[p];
        arena_free(n->arena, q->places, q->n_places * sizeof *q->places);
        arena_free(n->arena, q->taken_by, sizeof *q->taken_by << q->decision.n_bits);
    }
    arena_free(n->arena, n->sequences, n->plan->n_patterns * sizeof *n->sequences);
    strict_free(&n->strict);
    timers_free(&n->strict_timers);
}

/* ------------------------------------------------------------------ records */

static struct keyspace *space_of(const struct nfa *n, uint32_t pattern)
{
    return &n->keyspaces[n->plan->patterns[pattern].keyspace];
}

static enum status open_record(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t *id)
{
    enum status st = nfa_reserve_heads(n, pattern, slot);
    if (st == STATUS_OK) {
        st = timers_reserve_owners(&n->strict_timers, n->strict.n_records + 1);
    }
    if (st == STATUS_OK) {
        st = strict_open(&n->strict, pattern, slot, n->sequences[pattern].n_places, n->births, id);
    }
    if (st == STATUS_OK) {
        n->births++;
        n->heads[pattern][slot] = *id + 1;
        space_of(n, pattern)->slots[slot].users++;
    }
    return st;
}

static void close_record(struct nfa *n, uint32_t id)
{
    const struct strict_key *k = strict_at(&n->strict, id);
    struct keyspace *space = space_of(n, k->pattern);
    const uint32_t slot = k->slot;
    if (UNLIKELY(n->changes != NULL)) {
        nfa_gone(n, CHANGED_STRICT, id, k->birth);
    }
    timers_cancel(&n->strict_timers, id);
    n->heads[k->pattern][slot] = 0;
    strict_close(&n->strict, id);
    if (--space->slots[slot].users == 0) {
        keyspace_drop(space, slot);
    }
}

static event_time_t newest_time(const struct nfa *n, struct strict_key *k)
{
    return event_time(n->events, *strict_event(k, 0));
}

/* Of the run of this bit. */
static event_time_t run_deadline(const struct nfa *n, struct strict_key *k, uint32_t bit)
{
    const int64_t window = n->plan->patterns[k->pattern].window;
    const int64_t gap = n->sequences[k->pattern].places[bit].gap;
    event_time_t deadline = window > 0 ? deadline_after(event_time(n->events, *strict_event(k, bit)), window) : TIME_MAX;
    if (gap > 0) {
        const event_time_t by_gap = deadline_after(newest_time(n, k), gap);
        deadline = by_gap < deadline ? by_gap : deadline;
    }
    return deadline;
}

event_time_t nfa_strict_deadline(const struct nfa *n, uint32_t id)
{
    struct strict_key *k = strict_at(&n->strict, id);
    event_time_t deadline = TIME_MAX;
    for (uint32_t bit = 0; bit < bits_length(k->bits); bit++) {
        if ((k->bits >> bit) & 1) {
            const event_time_t d = run_deadline(n, k, bit);
            deadline = d < deadline ? d : deadline;
        }
    }
    if (n->options.key_ttl > 0 && k->bits != 0) {
        const event_time_t forgotten = deadline_after(newest_time(n, k), n->options.key_ttl);
        deadline = forgotten < deadline ? forgotten : deadline;
    }
    return deadline;
}

enum status nfa_strict_settle(struct nfa *n, uint32_t id)
{
    struct strict_key *k = strict_at(&n->strict, id);
    if (k->bits == 0) {
        close_record(n, id);
        return STATUS_OK;
    }
    if (!n->sequences[k->pattern].waits) {
        return STATUS_OK;
    }
    const uint32_t place = n->strict_timers.place[id];
    const bool only_window = !n->plan->patterns[k->pattern].has_gaps && n->options.key_ttl == 0;
    if (place != NO_TIMER && only_window) {
        return STATUS_OK; /* the oldest run's deadline only grows */
    }
    const event_time_t deadline = nfa_strict_deadline(n, id);
    if (deadline == TIME_MAX || (place != NO_TIMER && n->strict_timers.heap[place].deadline <= deadline)) {
        return STATUS_OK;
    }
    return timers_set(&n->strict_timers, id, deadline, k->birth);
}

void nfa_strict_drop(struct nfa *n, uint32_t id, bool newest, uint32_t count)
{
    struct strict_key *k = strict_at(&n->strict, id);
    uint32_t bits = k->bits;
    for (uint32_t i = 0; i < count; i++) {
        bits &= newest ? bits - 1 : ~(1U << (bits_length(bits) - 1));
    }
    strict_keep(&n->strict, k, bits);
}

/* ------------------------------------------------------------------ a row */

uint32_t nfa_strict_taken(struct nfa *n, const struct sequence *q)
{
    if (LIKELY(q->taken_by != NULL)) {
        return q->taken_by[decision_index(&q->decision, n->mask)];
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < q->n_places; i++) {
        taken |= (uint32_t)nfa_bits_hold(n, q->places[i].guard) << i;
    }
    return taken;
}

/* The events that the record holds, the newest n of them, in the first n places. */
static void fill(const struct sequence *q, struct strict_key *k, uint32_t n, struct result_event *out)
{
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (struct result_event){q->places[i].stage, *strict_event(k, n - 1 - i)};
    }
}

/* The current event completes what the record holds. */
static enum status match(struct nfa *n, uint32_t pattern, const struct sequence *q, struct strict_key *k)
{
    if (q->fails) {
        n->failure.stage = n->plan->patterns[pattern].skip_stage;
        return STATUS_SKIP_FIRST_ELEMENT;
    }
    n->n_in_call = 0;
    if (nfa_counts_only(n)) {
        return STATUS_OK;
    }
    struct result_event *out = nfa_result(n, pattern, RESULT_MATCH, q->n_places, CAUSE_EVENT, nfa_position(n), n->now);
    if (out == NULL) {
        return STATUS_NO_MEMORY;
    }
    fill(q, k, q->n_places - 1, out);
    out[q->n_places - 1] = (struct result_event){q->places[q->n_places - 1].stage, n->event};
    return STATUS_OK;
}

static inline enum status step(struct nfa *n, uint32_t pattern, const struct sequence *q, uint32_t slot, uint32_t taken)
{
    const uint32_t head = head_of(n, pattern, slot);
    uint32_t id = head - 1;
    uint32_t bits = (head != 0 ? strict_at(&n->strict, id)->bits << 1 | 1 : 1) & taken;
    const uint32_t last = 1U << (q->n_places - 1);
    enum status st = STATUS_OK;
    if (UNLIKELY(bits & last)) {
        st = match(n, pattern, q, strict_at(&n->strict, id));
        n->counters.pruned += bits_set(bits & ~last & ~q->kept);
        bits &= q->kept;
    }
    if (head == 0 && bits != 0 && st == STATUS_OK) {
        st = open_record(n, pattern, slot, &id);
    }
    if (UNLIKELY(st != STATUS_OK)) {
        return st;
    }
    if (head == 0 && bits == 0) {
        return STATUS_OK;
    }
    st = nfa_touch(n, CHANGED_STRICT, id);
    if (UNLIKELY(st != STATUS_OK)) {
        return st;
    }
    strict_step(&n->strict, strict_at(&n->strict, id), bits, n->event);
    if (UNLIKELY(n->bounded)) {
        st = nfa_bound(n, pattern, id);
    }
    if (st == STATUS_OK && (bits == 0 || q->waits || n->bounded)) {
        st = nfa_strict_settle(n, id);
    }
    return st;
}

enum status nfa_strict_step(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t taken)
{
    return step(n, pattern, &n->sequences[pattern], slot, taken);
}

/* Reads the records of the next rows' keys ahead. */
static inline void warm(const struct nfa *n, const uint32_t *slots, uint32_t n_rows)
{
    for (uint32_t i = 0; i < n_rows; i++) {
        const uint32_t head = slots[i] < NOT_LOOKED_UP ? head_of(n, 0, slots[i]) : 0;
        touch(strict_at(&n->strict, head - (head != 0)));
    }
}

static enum status careful_single(struct nfa *n, const struct waiting *rows, uint32_t n_rows, const uint32_t *slots)
{
    const struct sequence *q = &n->sequences[0];
    for (uint32_t i = 0; i < n_rows; i++) {
        if (i % AHEAD == 0 && n->strict.n_live > 0) {
            warm(n, slots + i, n_rows - i < AHEAD ? n_rows - i : AHEAD);
        }
        enum status st = nfa_enter_row(n, &rows[i], i);
        if (UNLIKELY(st != STATUS_OK)) {
            return st;
        }
        if (UNLIKELY(slots[i] >= NOT_LOOKED_UP)) {
            n->counters.null_keys++;
            continue;
        }
        st = step(n, 0, q, slots[i], nfa_strict_taken(n, q));
        if (UNLIKELY(st != STATUS_OK)) {
            return nfa_fail_row(n, st, 0);
        }
    }
    return STATUS_OK;
}

/* Events that rings let go, of one segment after the other, as they nearly always are: given back by the number. */
struct gone {
    uint32_t segment;
    uint32_t n;
};

static inline void let_go(struct nfa *n, struct gone *gone, uint32_t segment)
{
    if (segment != gone->segment) {
        if (gone->n > 0) {
            event_release_many(n->events, gone->segment, gone->n);
        }
        *gone = (struct gone){segment, 0};
    }
    gone->n++;
}

/* No runs end by time, nothing is bounded, rows lie in place, and all keys have slots: the step inline where a record stays open, and
 * step() where one opens or closes or a match is complete. */
static enum status plain_single(struct nfa *n, const struct waiting *rows, uint32_t n_rows, const uint32_t *slots)
{
    const struct sequence *q = &n->sequences[0];
    const struct decision *d = &q->decision;
    const uint32_t words = n->plan->mask_words;
    const uint64_t *masks = n->chunk_masks + d->word;
    const uint32_t last = 1U << (q->n_places - 1);
    const uint64_t order = n->order;
    struct strict_keys *strict = &n->strict;
    struct gone gone = {UINT32_MAX, 0};
    uint32_t n_kept = 0;
    uint64_t n_begun = 0;
    enum status st = nfa_reserve_heads(n, 0, n->keyspaces[n->plan->patterns[0].keyspace].n_slots);
    if (st != STATUS_OK) {
        return st;
    }
    const uint32_t *heads = n->heads[0];
    event_retain_many(n->events, rows[0].event.segment, n_rows);
    for (uint32_t i = 0; i < n_rows; i++) {
        if (i % AHEAD == 0 && strict->n_live > 0) {
            warm(n, slots + i, n_rows - i < AHEAD ? n_rows - i : AHEAD);
        }
        const uint32_t taken = q->taken_by[(masks[(size_t)i * words] >> d->shift) & d->adjacent];
        const uint32_t head = heads[slots[i]];
        if (LIKELY(head != 0)) {
            struct strict_key *k = strict_at(strict, head - 1);
            const uint32_t bits = (k->bits << 1 | 1) & taken;
            if (LIKELY(bits != 0 && (bits & last) == 0)) {
                const uint32_t n_runs = bits_set(bits);
                n_begun += n_runs;
                n_begun -= k->n_runs;
                k->n_runs = (uint8_t)n_runs;
                k->bits = bits;
                const struct event_ref old = strict_push(k, rows[i].event);
                if (old.segment != UINT32_MAX) {
                    let_go(n, &gone, old.segment);
                }
                n_kept++;
                continue;
            }
        } else if ((taken & 1) == 0) {
            continue;
        }
        n->order = order + i;
        st = nfa_enter_row(n, &rows[i], i);
        if (st == STATUS_OK) {
            st = step(n, 0, q, slots[i], taken);
        }
        if (UNLIKELY(st != STATUS_OK)) {
            return nfa_fail_row(n, st, 0);
        }
    }
    strict->n_runs += n_begun;
    let_go(n, &gone, UINT32_MAX);
    event_release_many(n->events, rows[0].event.segment, n_rows - n_kept);
    n->order = order + n_rows - 1;
    return nfa_enter_row(n, &rows[n_rows - 1], n_rows - 1);
}

enum status nfa_strict_single(struct nfa *n, const struct waiting *rows, uint32_t n_rows)
{
    const struct sequence *q = &n->sequences[0];
    const uint32_t *slots = n->chunk_slots + (size_t)n->plan->patterns[0].keyspace * VM_BLOCK;
    const struct lag *lag = &n->lags[n->plan->patterns[0].keyspace];
    const bool plain = n->in_place && lag->all_keyed && !q->waits && !n->bounded && q->decision.adjacent != 0 && n->changes == NULL;
    return plain ? plain_single(n, rows, n_rows, slots) : careful_single(n, rows, n_rows, slots);
}

/* ------------------------------------------------------------------ deadlines */

enum status nfa_strict_fire(struct nfa *n, uint32_t id, event_time_t deadline)
{
    struct strict_key *k = strict_at(&n->strict, id);
    const struct sequence *q = &n->sequences[k->pattern];
    const event_time_t latest = newest_time(n, k);
    const bool overdue = deadline <= latest; /* the event that made the run came when it was due already */
    const uint32_t cause = overdue ? CAUSE_AFTER : CAUSE_TIME;
    const uint64_t cause_value = overdue ? event_position(n->events, *strict_event(k, 0)) : (uint64_t)deadline;
    uint32_t bits = k->bits;
    const enum status st = nfa_touch(n, CHANGED_STRICT, id);
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t bit = bits_length(bits); bit-- > 0;) {
        if (!((bits >> bit) & 1) || run_deadline(n, k, bit) > deadline) {
            continue;
        }
        if (n->options.timeouts) {
            struct result_event *out = nfa_result(n, k->pattern, RESULT_TIMEOUT, bit + 1, cause, cause_value, deadline);
            if (out == NULL) {
                return STATUS_NO_MEMORY;
            }
            fill(q, k, bit + 1, out);
        } else {
            n->counters.timeouts++;
        }
        bits &= ~(1U << bit);
    }
    if (n->options.key_ttl > 0 && deadline_after(latest, n->options.key_ttl) <= deadline) {
        n->counters.expired_keys++;
        n->counters.dropped_partials += bits_set(bits);
        bits = 0;
    }
    strict_keep(&n->strict, k, bits);
    timers_cancel(&n->strict_timers, id);
    return nfa_strict_settle(n, id);
}

/* ------------------------------------------------------------------ restore: runs of the general engine, as bits */

/* Whether the run's events are the newest ones in `events` (newest first), in their places; lengthens that of the oldest run. */
static bool belongs(const struct nfa *n, const struct pattern *p, const struct sequence *q, const struct run *run,
                    struct event_ref *events, uint32_t *n_events)
{
    const uint32_t length = n->graph.nodes[run->node].length;
    if (length >= q->n_places || run->state != p->first_state + length) {
        return false;
    }
    uint32_t node = run->node;
    for (uint32_t back = 0; back < length; back++) {
        const struct node *x = &n->graph.nodes[node];
        if (back == *n_events) {
            events[(*n_events)++] = x->event;
        }
        if (x->stage != q->places[length - 1 - back].stage || x->event.segment != events[back].segment || x->event.row != events[back].row) {
            return false;
        }
        node = x->parent;
    }
    return true;
}

enum status nfa_strict_adopt(struct nfa *n, uint32_t keyed)
{
    struct keyed *k = &n->keyed[keyed];
    const uint32_t pattern = k->pattern;
    const uint32_t slot = k->slot;
    const struct sequence *q = &n->sequences[pattern];
    struct event_ref events[STRICT_PLACES];
    uint32_t n_events = 0;
    uint32_t bits = 0;
    bool sound = k->n_held == 0;
    for (uint32_t i = 0; i < k->n_runs && sound; i++) {
        sound = belongs(n, &n->plan->patterns[pattern], q, &k->runs[i], events, &n_events);
        if (sound) {
            const uint32_t bit = 1U << (n->graph.nodes[k->runs[i].node].length - 1);
            sound = bits == 0 || bit < (bits & (~bits + 1)); /* the oldest run first */
            bits |= bit;
        }
    }
    if (!sound) {
        return STATUS_BAD_SNAPSHOT;
    }
    space_of(n, pattern)->slots[slot].users++; /* for the time between the two */
    for (uint32_t back = 0; back < n_events; back++) {
        event_retain(n->events, events[back].segment);
    }
    nfa_drop_runs(n, k, 0, k->n_runs);
    nfa_close_keyed(n, keyed);
    uint32_t id = 0;
    enum status st = open_record(n, pattern, slot, &id);
    for (uint32_t back = n_events; back-- > 0 && st == STATUS_OK;) {
        /* as if each had just come */
        strict_step(&n->strict, strict_at(&n->strict, id), (1U << (n_events - back)) - 1, events[back]);
    }
    for (uint32_t back = 0; back < n_events; back++) {
        event_release(n->events, events[back].segment);
    }
    space_of(n, pattern)->slots[slot].users--;
    if (st == STATUS_OK) {
        strict_keep(&n->strict, strict_at(&n->strict, id), bits);
        st = nfa_strict_settle(n, id);
    }
    return st;
}

/* ------------------------------------------------------------------ invariants */

const char *nfa_strict_check(const struct nfa *n)
{
    const char *reason = strict_check(&n->strict);
    reason = reason == NULL ? timers_check(&n->strict_timers) : reason;
    for (uint32_t i = 0; i < n->strict.n_records && reason == NULL; i++) {
        const struct strict_key *k = strict_at(&n->strict, i);
        if (k->bits == 0) {
            continue;
        }
        const uint32_t place = n->strict_timers.place[i];
        if (head_of(n, k->pattern, k->slot) != i + 1) {
            reason = "a strict sequence is not found by its key";
        } else if (n->sequences[k->pattern].waits && nfa_strict_deadline(n, i) < (place == NO_TIMER ? TIME_MAX : n->strict_timers.heap[place].deadline)) {
            reason = "a strict sequence has a deadline before its timer";
        }
    }
    return reason;
}
