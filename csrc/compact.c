/* See compact.h. */
#include "compact.h"

#include <string.h>

/* The take of a class that leads on from a state; NULL: none. */
static const struct compact_take *leads_on(const struct compact_automaton *a, uint32_t state, uint32_t class_)
{
    const struct compact_cell *c = compact_cell(a, state, class_);
    const struct compact_take *t = &a->takes[c->first_take];
    return c->n_takes > 0 && t->target != COMPACT_FINAL ? t : NULL;
}

static uint32_t n_final(const struct compact_automaton *a, uint32_t state, uint32_t class_)
{
    return compact_cell(a, state, class_)->n_takes - (leads_on(a, state, class_) != NULL);
}

static size_t matrix_size(const struct compact_automaton *a)
{
    return (size_t)a->n_states * a->n_states * sizeof(uint64_t);
}

static uint64_t multiply(uint64_t x, uint64_t y)
{
    uint64_t product;
    return __builtin_mul_overflow(x, y, &product) ? UINT64_MAX : product;
}

static void set_identity(uint64_t *matrix, uint32_t n)
{
    memset(matrix, 0, (size_t)n * n * sizeof *matrix);
    for (uint32_t i = 0; i < n; i++) {
        matrix[(size_t)i * n + i] = 1;
    }
}

/* ------------------------------------------------------------------ life */

enum status compact_open(struct compact_key *k, struct arena *arena, const struct compact_automaton *a)
{
    memset(k, 0, sizeof *k);
    struct compact_list *lists = arena_alloc(arena, a->n_states * sizeof *lists);
    if (lists == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (a->counts) {
        k->back = arena_alloc(arena, matrix_size(a));
        if (k->back == NULL) {
            arena_free(arena, lists, a->n_states * sizeof *lists);
            return STATUS_NO_MEMORY;
        }
        set_identity(k->back, a->n_states);
    }
    memset(lists, 0, a->n_states * sizeof *lists);
    k->lists = lists;
    return STATUS_OK;
}

void compact_close(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store)
{
    for (uint32_t i = k->first; i < k->end; i++) {
        event_release(store, k->events[i].event.segment);
    }
    for (uint32_t i = 0; i < a->n_states; i++) {
        arena_free(arena, k->lists[i].items, k->lists[i].capacity * sizeof *k->lists[i].items);
    }
    arena_free(arena, k->events, k->capacity * sizeof *k->events);
    arena_free(arena, k->lists, a->n_states * sizeof *k->lists);
    arena_free(arena, k->front, k->front_capacity * sizeof *k->front);
    if (k->back != NULL) {
        arena_free(arena, k->back, matrix_size(a));
    }
    k->lists = NULL;
    k->events = NULL;
    k->front = NULL;
    k->back = NULL;
    k->first = k->end = k->capacity = k->front_capacity = 0;
}

/* ------------------------------------------------------------------ counting */

/* The paths over one more event at the end. */
static void count_at_end(uint64_t *back, const struct compact_automaton *a, uint32_t class_)
{
    uint64_t before[COMPACT_STATES];
    const uint32_t n = a->n_states;
    for (uint32_t r = 0; r < n; r++) {
        uint64_t *row = back + (size_t)r * n;
        memcpy(before, row, n * sizeof *row);
        for (uint32_t q = 0; q < n; q++) {
            const struct compact_take *t = before[q] != 0 ? leads_on(a, q, class_) : NULL;
            if (t != NULL) {
                row[t->target] = compact_add(row[t->target], before[q]);
            }
        }
    }
}

/* The paths over one more event in front: of each state as before, or by the take and then as of its target. */
static void count_in_front(uint64_t *paths, const struct compact_automaton *a, uint32_t class_)
{
    uint64_t before[COMPACT_STATES * COMPACT_STATES];
    const uint32_t n = a->n_states;
    memcpy(before, paths, matrix_size(a));
    for (uint32_t q = 0; q < n; q++) {
        const struct compact_take *t = leads_on(a, q, class_);
        for (uint32_t r = 0; t != NULL && r < n; r++) {
            paths[(size_t)q * n + r] = compact_add(before[(size_t)q * n + r], before[(size_t)t->target * n + r]);
        }
    }
}

/* All events go to the front stack, so that the oldest can leave. Each event does so once. */
static enum status turn_over(struct compact_key *k, struct arena *arena, const struct compact_automaton *a)
{
    const uint32_t n = a->n_states;
    void *front = k->front;
    const enum status st = arena_reserve(arena, &front, &k->front_capacity, (uint64_t)n * (k->end - k->first), sizeof *k->front);
    k->front = front;
    if (st != STATUS_OK) {
        return st;
    }
    set_identity(k->back, n);
    for (uint32_t i = k->end; i-- > k->first;) {
        count_in_front(k->back, a, k->events[i].class_);
        memcpy(k->front + (size_t)(i - k->first) * n, k->back, n * sizeof *k->front);
    }
    set_identity(k->back, n);
    k->front_base = k->first;
    k->middle = k->end;
    return STATUS_OK;
}

uint64_t compact_count(const struct compact_key *k, const struct compact_automaton *a, uint32_t class_)
{
    const uint32_t n = a->n_states;
    uint64_t count = 0;
    const uint64_t *row = k->first < k->middle ? k->front + (size_t)(k->first - k->front_base) * n : NULL;
    for (uint32_t q = 1; q < n; q++) {
        const uint32_t finals = n_final(a, q, class_);
        if (finals == 0) {
            continue;
        }
        uint64_t paths = k->back[q]; /* from the start state over the back alone: it stays where it is over the front */
        for (uint32_t r = 1; row != NULL && r < n; r++) {
            paths = compact_add(paths, multiply(row[r], k->back[(size_t)r * n + q]));
        }
        count = compact_add(count, multiply(paths, finals));
    }
    return count;
}

uint64_t compact_partials(const struct compact_key *k, const struct compact_automaton *a)
{
    uint64_t paths[COMPACT_STATES] = {1};
    uint64_t before[COMPACT_STATES];
    for (uint32_t i = k->first; i < k->end; i++) {
        memcpy(before, paths, sizeof before);
        for (uint32_t q = 0; q < a->n_states; q++) {
            const struct compact_take *t = before[q] != 0 ? leads_on(a, q, k->events[i].class_) : NULL;
            if (t != NULL) {
                paths[t->target] = compact_add(paths[t->target], before[q]);
            }
        }
    }
    uint64_t open = 0;
    for (uint32_t q = 1; q < a->n_states; q++) {
        open = compact_add(open, paths[q]);
    }
    return open;
}

/* ------------------------------------------------------------------ events come and go */

/* Drops the events before `first`, which no path has any more. */
static enum status drop_before(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, uint32_t first)
{
    k->first = first;
    const bool empty = first == k->end;
    if (empty) {
        k->first = k->end = k->middle = 0;
        k->front_base = 0;
    }
    for (uint32_t q = 0; q < a->n_states; q++) {
        struct compact_list *l = &k->lists[q];
        while (l->first < l->end && l->items[l->first].event < first) {
            l->first++;
        }
        if (l->first == l->end) {
            l->first = l->end = 0;
        }
    }
    if (!a->counts) {
        return STATUS_OK;
    }
    if (empty) {
        set_identity(k->back, a->n_states);
        return STATUS_OK;
    }
    return k->first > k->middle ? turn_over(k, arena, a) : STATUS_OK;
}

enum status compact_expire(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store,
                           int64_t window, event_time_t now)
{
    if (window == 0 || k->first == k->end || LIKELY(compact_deadline(k->events[k->first].time, window) > now)) {
        return STATUS_OK;
    }
    uint32_t first = k->first;
    while (first < k->end && (compact_deadline(k->events[first].time, window) <= now || leads_on(a, 0, k->events[first].class_) == NULL)) {
        event_release(store, k->events[first].event.segment);
        first++;
    }
    return drop_before(k, arena, a, first);
}

/* Moves what is held to the front of its arrays, once half of them has gone. */
static void close_up(struct compact_key *k, const struct compact_automaton *a)
{
    const uint32_t gone = k->first;
    memmove(k->events, k->events + gone, (k->end - gone) * sizeof *k->events);
    k->first = 0;
    k->end -= gone;
    k->middle = k->middle > gone ? k->middle - gone : 0;
    k->front_base -= gone;
    for (uint32_t q = 0; q < a->n_states; q++) {
        struct compact_list *l = &k->lists[q];
        if (l->first > 0) {
            memmove(l->items, l->items + l->first, (l->end - l->first) * sizeof *l->items);
        }
        l->end -= l->first;
        l->first = 0;
        for (uint32_t i = 0; i < l->end; i++) {
            l->items[i].event -= gone;
        }
    }
}

enum status compact_push(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store,
                         struct event_ref event, event_time_t time, uint32_t class_)
{
    if (UNLIKELY(k->end == k->capacity)) {
        if (k->first > 0 && k->first >= k->capacity / 2) {
            close_up(k, a);
        }
        void *events = k->events;
        const enum status st = arena_reserve(arena, &events, &k->capacity, (uint64_t)k->end + 1, sizeof *k->events);
        k->events = events;
        if (st != STATUS_OK) {
            return st;
        }
    }
    for (uint32_t q = 0; q < a->n_states; q++) {
        const struct compact_take *t = leads_on(a, q, class_);
        if (t == NULL) {
            continue;
        }
        struct compact_list *l = &k->lists[q];
        if (UNLIKELY(l->end == l->capacity)) {
            void *items = l->items;
            const enum status st = arena_reserve(arena, &items, &l->capacity, (uint64_t)l->end + 1, sizeof *l->items);
            l->items = items;
            if (st != STATUS_OK) {
                return st;
            }
        }
        l->items[l->end++] = (struct compact_item){k->end, (uint32_t)(t - a->takes)};
    }
    event_retain(store, event.segment);
    k->events[k->end++] = (struct compact_event){event, time, class_, 0};
    if (a->counts) {
        count_at_end(k->back, a, class_);
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ walks */

/* Looks for the last item of a list that leads to a match; whether that moved what is known. */
static bool look_back(struct compact_walk *w, uint32_t q)
{
    const struct compact_list *l = &w->key->lists[q];
    uint32_t end = l->end;
    while (end > l->first && l->items[end - 1].event >= w->bounds[w->automaton->takes[l->items[end - 1].take].target]) {
        end--;
    }
    if (end == w->ends[q]) {
        return false;
    }
    w->ends[q] = end;
    if (w->bounds[q] != UINT32_MAX && end > l->first) {
        w->bounds[q] = l->items[end - 1].event;
    }
    return true;
}

enum status compact_begin(struct compact_walk *w, struct arena *arena, const struct compact_automaton *a, const struct compact_key *k,
                          uint32_t class_)
{
    w->automaton = a;
    w->key = k;
    w->class_ = class_;
    bool moved = true;
    for (uint32_t q = 0; q < a->n_states; q++) {
        const bool completes = class_ == COMPACT_OPEN || n_final(a, q, class_) > 0;
        w->bounds[q] = completes ? UINT32_MAX : 0;
        w->ends[q] = k->lists[q].first;
    }
    while (moved) {
        moved = false;
        for (uint32_t q = a->n_states; q-- > 0;) {
            moved |= look_back(w, q);
        }
    }
    void *stack = w->stack;
    const enum status st = arena_reserve(arena, &stack, &w->capacity, 1, sizeof *w->stack);
    w->stack = stack;
    if (st == STATUS_OK) {
        w->depth = 1;
        w->stack[0] = (struct compact_frame){.at = k->lists[0].first};
    }
    return st;
}

enum status compact_enter(struct compact_walk *w, struct arena *arena, uint32_t state, struct compact_item item)
{
    if (UNLIKELY(w->depth == w->capacity)) {
        void *stack = w->stack;
        const enum status st = arena_reserve(arena, &stack, &w->capacity, (uint64_t)w->depth + 1, sizeof *w->stack);
        w->stack = stack;
        if (st != STATUS_OK) {
            return st;
        }
    }
    w->stack[w->depth++] = (struct compact_frame){.state = state, .at = compact_after(&w->key->lists[state], item.event), .event = item.event};
    return STATUS_OK;
}

void compact_walk_free(struct compact_walk *w, struct arena *arena)
{
    arena_free(arena, w->stack, w->capacity * sizeof *w->stack);
    memset(w, 0, sizeof *w);
}

/* ------------------------------------------------------------------ invariants */

static const char *check_list(const struct compact_key *k, const struct compact_automaton *a, uint32_t q)
{
    const struct compact_list *l = &k->lists[q];
    uint32_t at = l->first;
    for (uint32_t i = k->first; i < k->end; i++) {
        const struct compact_take *t = leads_on(a, q, k->events[i].class_);
        if (t == NULL) {
            continue;
        }
        if (at == l->end || l->items[at].event != i || l->items[at].take != (uint32_t)(t - a->takes)) {
            return "an event is not in the list of a state that it can be taken from";
        }
        at++;
    }
    return at == l->end ? NULL : "a list of takes has an event too many";
}

const char *compact_check(const struct compact_key *k, const struct compact_automaton *a)
{
    const char *reason = NULL;
    if (k->first < k->end && leads_on(a, 0, k->events[k->first].class_) == NULL) {
        reason = "the first event of a compact set begins no match";
    }
    for (uint32_t i = k->first + 1; i < k->end && reason == NULL; i++) {
        if (k->events[i].time < k->events[i - 1].time) {
            reason = "the events of a compact set are not in order";
        }
    }
    for (uint32_t q = 0; q < a->n_states && reason == NULL; q++) {
        reason = check_list(k, a, q);
    }
    if (reason == NULL && a->counts && k->first > k->middle) {
        reason = "the counts of a compact set hold events that have gone";
    }
    return reason;
}
