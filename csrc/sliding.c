#include "sliding.h"

#include <string.h>

enum status sliding_init(struct sliding *s, struct arena *arena, struct event_store *store, const struct plan *plan,
                         const struct agg_plan *aggs, struct agg_log *log, int64_t before)
{
    memset(s, 0, sizeof *s);
    s->arena = arena;
    s->store = store;
    s->aggs = aggs;
    s->log = log;
    s->before = before;
    s->invertible = aggs->invertible && log == NULL;
    s->watermark = TIME_MIN;
    timers_init(&s->timers, arena);
    reorder_init(&s->reorder, arena);
    agg_columns_init(&s->columns, arena);
    return keyspace_init(&s->keys, arena, plan, 0);
}

/* ---- panes ---- */

static size_t pane_size(const struct sliding *s)
{
    return sizeof(struct sliding_pane) + s->aggs->state_size;
}

static void *state_of(struct sliding_pane *p)
{
    return p + 1;
}

static const void *state_in(const struct sliding_pane *p)
{
    return p + 1;
}

static enum status note(struct sliding *s, enum agg_log_op op, const struct sliding_pane *p, uint32_t a, uint32_t b)
{
    return s->log == NULL ? STATUS_OK : agg_log_write(s->log, op, p->id, a, b);
}

static enum status pane_open(struct sliding *s, struct sliding_pane *p)
{
    *p = (struct sliding_pane){0};
    agg_init(s->aggs, state_of(p));
    if (s->log == NULL) {
        return STATUS_OK;
    }
    if (s->n_free_ids > 0) {
        p->id = s->free_ids[--s->n_free_ids];
        return STATUS_OK;
    }
    void *ids = s->free_ids; /* room for every number to come back */
    const enum status st = arena_reserve(s->arena, &ids, &s->free_ids_capacity, (uint64_t)s->n_ids + 1, sizeof *s->free_ids);
    s->free_ids = ids;
    p->id = s->n_ids;
    s->n_ids += st == STATUS_OK;
    return st;
}

static enum status pane_close(struct sliding *s, struct sliding_pane *p)
{
    agg_free(s->aggs, state_of(p), s->store);
    if (s->log == NULL) {
        return STATUS_OK;
    }
    s->free_ids[s->n_free_ids++] = p->id;
    return note(s, AGG_LOG_FREE, p, 0, 0);
}

static enum status pane_add(struct sliding *s, struct sliding_pane *p, struct event_ref e)
{
    const enum status st = agg_add(s->aggs, state_of(p), s->store, e);
    return st != STATUS_OK ? st : note(s, AGG_LOG_ADD, p, e.segment, e.row);
}

static enum status pane_merge(struct sliding *s, struct sliding_pane *into, const struct sliding_pane *from)
{
    const enum status st = agg_merge(s->aggs, state_of(into), state_in(from), s->store);
    return st != STATUS_OK ? st : note(s, AGG_LOG_MERGE, into, from->id, 0);
}

static enum status pane_fire(struct sliding *s, const struct sliding_pane *p)
{
    const uint32_t row = s->columns.n_rows;
    const enum status st = agg_emit(s->aggs, state_in(p), &s->columns);
    return st != STATUS_OK ? st : note(s, AGG_LOG_FIRE, p, row, 0);
}

/* ---- the queue of a key ---- */

static struct sliding_pane *front_at(const struct sliding *s, const struct sliding_key *k, uint32_t i)
{
    return (struct sliding_pane *)(void *)((uint8_t *)k->front + (size_t)i * pane_size(s));
}

static struct sliding_pane *first_front(const struct sliding *s, const struct sliding_key *k)
{
    return front_at(s, k, k->front_panes - k->n_front);
}

static event_time_t time_at(const struct sliding *s, const struct sliding_key *k, uint32_t i)
{
    return event_time(s->store, k->rows[i]);
}

static void free_front(struct sliding *s, struct sliding_key *k)
{
    arena_free(s->arena, k->front, (size_t)k->front_panes * pane_size(s));
    k->front = NULL;
    k->front_panes = 0;
}

static enum status open_key(struct sliding *s, struct sliding_key *k)
{
    struct sliding_pane *back = arena_alloc(s->arena, pane_size(s));
    if (back == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(k, 0, sizeof *k);
    const enum status st = pane_open(s, back);
    void *rows = NULL;
    if (st != STATUS_OK || arena_reserve(s->arena, &rows, &k->capacity, 4, sizeof *k->rows) != STATUS_OK) {
        agg_free(s->aggs, state_of(back), s->store);
        arena_free(s->arena, back, pane_size(s));
        return STATUS_NO_MEMORY;
    }
    k->rows = rows;
    k->back = back;
    return STATUS_OK;
}

static enum status drop_key(struct sliding *s, struct sliding_key *k)
{
    enum status st = STATUS_OK;
    for (; k->head < k->tail; k->head++) {
        event_release(s->store, k->rows[k->head].segment);
        s->n_held--;
    }
    for (; k->front != NULL && k->n_front > 0; k->n_front--) { /* a restore that failed has no panes yet */
        const enum status closed = pane_close(s, first_front(s, k));
        st = closed != STATUS_OK ? closed : st;
    }
    const enum status closed = pane_close(s, k->back);
    free_front(s, k);
    arena_free(s->arena, k->back, pane_size(s));
    arena_free(s->arena, k->rows, k->capacity * sizeof *k->rows);
    memset(k, 0, sizeof *k);
    return closed != STATUS_OK ? closed : st;
}

/* The first n rows go in front: a pane each, from the last to the first. There are none in front. */
static enum status build_front(struct sliding *s, struct sliding_key *k, uint32_t n)
{
    k->n_front = 0;
    if (n == 0) {
        return STATUS_OK;
    }
    k->front = arena_alloc(s->arena, (size_t)n * pane_size(s));
    if (k->front == NULL) {
        return STATUS_NO_MEMORY;
    }
    k->front_panes = n;
    enum status st = STATUS_OK;
    for (uint32_t i = n; i-- > 0 && st == STATUS_OK;) {
        struct sliding_pane *p = front_at(s, k, i);
        st = pane_open(s, p);
        if (st != STATUS_OK) {
            return st;
        }
        k->n_front++;
        st = i + 1 == n ? STATUS_OK : pane_merge(s, p, front_at(s, k, i + 1));
        st = st != STATUS_OK ? st : pane_add(s, p, k->rows[k->head + i]);
    }
    return st;
}

/* All rows go in front; the back is empty then. */
static enum status turn_over(struct sliding *s, struct sliding_key *k)
{
    enum status st = pane_close(s, k->back);
    st = st != STATUS_OK ? st : pane_open(s, k->back);
    return st != STATUS_OK ? st : build_front(s, k, k->tail - k->head);
}

/* Rows earlier than `low` leave. */
static enum status evict(struct sliding *s, struct sliding_key *k, event_time_t low)
{
    bool behind = false; /* a row that the back pane has in it has left */
    while (k->head < k->tail && time_at(s, k, k->head) < low) {
        const struct event_ref e = k->rows[k->head++];
        enum status st = STATUS_OK;
        s->n_held--;
        if (s->invertible) {
            st = agg_subtract(s->aggs, state_of(k->back), s->store, e);
        } else if (k->n_front > 0) {
            st = pane_close(s, first_front(s, k));
            k->n_front--;
        } else {
            behind = true;
        }
        event_release(s->store, e.segment);
        if (st != STATUS_OK) {
            return st;
        }
    }
    if (k->n_front == 0 && k->front != NULL) {
        free_front(s, k);
    }
    return behind ? turn_over(s, k) : STATUS_OK;
}

static enum status append(struct sliding *s, struct sliding_key *k, struct event_ref e)
{
    if (k->tail == k->capacity && k->head > 0 && k->head >= k->tail - k->head) {
        /* moving down costs what is held, so only when that frees at least as much */
        memmove(k->rows, k->rows + k->head, (k->tail - k->head) * sizeof *k->rows);
        k->tail -= k->head;
        k->head = 0;
    }
    void *rows = k->rows;
    const enum status st = arena_reserve(s->arena, &rows, &k->capacity, (uint64_t)k->tail + 1, sizeof *k->rows);
    k->rows = rows;
    if (st != STATUS_OK) {
        return st;
    }
    k->rows[k->tail++] = e;
    event_retain(s->store, e.segment);
    s->n_held++;
    return STATUS_OK;
}

static enum status come_in(struct sliding *s, struct sliding_key *k, struct event_ref e)
{
    const enum status st = append(s, k, e);
    return st != STATUS_OK ? st : pane_add(s, k->back, e);
}

static enum status fire(struct sliding *s, struct sliding_key *k, struct event_ref e, event_time_t time, uint64_t origin)
{
    void *results = s->results;
    enum status st = arena_reserve(s->arena, &results, &s->results_capacity, (uint64_t)s->n_results + 1, sizeof *s->results);
    s->results = results;
    if (st != STATUS_OK) {
        return st;
    }
    s->results[s->n_results++] = (struct slid){e, time, origin};
    if (k->n_front == 0) {
        return pane_fire(s, k->back);
    }
    struct sliding_pane *both = arena_alloc(s->arena, pane_size(s));
    if (both == NULL) {
        return STATUS_NO_MEMORY;
    }
    st = pane_open(s, both);
    if (st == STATUS_OK) {
        st = pane_merge(s, both, first_front(s, k));
        st = st != STATUS_OK ? st : pane_merge(s, both, k->back);
        st = st != STATUS_OK ? st : pane_fire(s, both);
        const enum status closed = pane_close(s, both);
        st = st != STATUS_OK ? st : closed;
    }
    arena_free(s->arena, both, pane_size(s));
    return st;
}

void sliding_free(struct sliding *s)
{
    if (s->arena == NULL) {
        return;
    }
    for (uint32_t slot = 0; slot < s->by_key_capacity; slot++) {
        if (s->by_key[slot].rows != NULL) {
            const enum status st = drop_key(s, &s->by_key[slot]);
            (void)st; /* only the log can fail, and nobody reads it any more */
        }
    }
    arena_free(s->arena, s->by_key, s->by_key_capacity * sizeof *s->by_key);
    arena_free(s->arena, s->arrivals, s->arrivals_capacity * sizeof *s->arrivals);
    arena_free(s->arena, s->slots, s->slots_capacity * sizeof *s->slots);
    arena_free(s->arena, s->free_ids, s->free_ids_capacity * sizeof *s->free_ids);
    arena_free(s->arena, s->results, s->results_capacity * sizeof *s->results);
    arena_free(s->arena, s->late, s->late_capacity * sizeof *s->late);
    arena_free(s->arena, s->null_keys, s->null_capacity * sizeof *s->null_keys);
    agg_columns_free(&s->columns);
    reorder_free(&s->reorder);
    timers_free(&s->timers);
    keyspace_free(&s->keys);
    memset(s, 0, sizeof *s);
}

/* ---- rows in order of event time ---- */

static enum status key_of(struct sliding *s, struct event_ref e, event_time_t time, uint32_t *slot)
{
    enum status st = keyspace_slot(&s->keys, s->store, e, true, slot);
    if (st != STATUS_OK || *slot == KEY_NULL) {
        return st != STATUS_OK ? st : STATUS_BAD_SNAPSHOT; /* it was looked at before: there is a key */
    }
    const uint32_t before = s->by_key_capacity;
    if (UNLIKELY(*slot >= before)) {
        void *items = s->by_key;
        st = arena_reserve(s->arena, &items, &s->by_key_capacity, (uint64_t)*slot + 1, sizeof *s->by_key);
        s->by_key = items;
        if (st != STATUS_OK) {
            return st;
        }
        memset(s->by_key + before, 0, (s->by_key_capacity - before) * sizeof *s->by_key);
        st = timers_reserve_owners(&s->timers, s->by_key_capacity);
        if (st != STATUS_OK) {
            return st;
        }
    }
    if (s->by_key[*slot].rows != NULL) {
        return STATUS_OK;
    }
    st = open_key(s, &s->by_key[*slot]);
    return st != STATUS_OK ? st : timers_set(&s->timers, *slot, time_add(time, s->before), event_position(s->store, e));
}

/* Rows of one time: first all of them come in, then each has its result. */
static enum status take_equal(struct sliding *s, const struct waiting *rows, uint32_t n, uint64_t origin)
{
    void *slots = s->slots;
    enum status st = arena_reserve(s->arena, &slots, &s->slots_capacity, n, sizeof *s->slots);
    s->slots = slots;
    const event_time_t time = rows[0].time;
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        st = key_of(s, rows[i].event, time, &s->slots[i]);
        if (st == STATUS_OK) {
            st = evict(s, &s->by_key[s->slots[i]], time_sub(time, s->before));
        }
        if (st == STATUS_OK) {
            st = come_in(s, &s->by_key[s->slots[i]], rows[i].event);
        }
    }
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        st = fire(s, &s->by_key[s->slots[i]], rows[i].event, time, origin);
    }
    return st;
}

/* Keys of which no row can be in a window any more go. */
static enum status drop_quiet(struct sliding *s)
{
    while (s->timers.n > 0 && s->timers.heap[0].deadline <= s->watermark) {
        const uint32_t slot = s->timers.heap[0].owner;
        struct sliding_key *k = &s->by_key[slot];
        const event_time_t deadline = time_add(time_at(s, k, k->tail - 1), s->before);
        enum status st;
        if (deadline > s->watermark) {
            st = timers_set(&s->timers, slot, deadline, s->timers.heap[0].birth); /* rows have come since it was set */
        } else {
            timers_cancel(&s->timers, slot);
            st = drop_key(s, k);
            keyspace_drop(&s->keys, slot);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

static enum status release(struct sliding *s, event_time_t watermark, uint64_t origin)
{
    const uint32_t n = reorder_due(&s->reorder, watermark);
    const struct waiting *rows = s->reorder.items + s->reorder.head;
    s->watermark = watermark;
    for (uint32_t i = 0; i < n;) {
        uint32_t end = i + 1;
        while (end < n && rows[end].time == rows[i].time) {
            end++;
        }
        const enum status st = take_equal(s, rows + i, end - i, origin);
        if (st != STATUS_OK) {
            return st;
        }
        i = end;
    }
    s->n_rows += n;
    reorder_consume(&s->reorder, s->store, n);
    return drop_quiet(s);
}

/* ---- rows in order of arrival ---- */

static enum status put_aside(struct sliding *s, uint32_t **list, uint32_t *n, uint32_t *capacity, uint32_t row)
{
    void *items = *list;
    const enum status st = arena_reserve(s->arena, &items, capacity, (uint64_t)*n + 1, sizeof **list);
    *list = items;
    if (st == STATUS_OK) {
        (*list)[(*n)++] = row;
    }
    return st;
}

static enum status wait(struct sliding *s, uint32_t segment, uint32_t *n_arrivals)
{
    const enum status st = reorder_add(&s->reorder, s->arrivals, *n_arrivals);
    if (st == STATUS_OK && *n_arrivals > 0) {
        event_retain_many(s->store, segment, *n_arrivals);
        *n_arrivals = 0;
    }
    return st;
}

enum status sliding_step(struct sliding *s, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                         const event_time_t *mark_times, uint32_t n_marks)
{
    const struct segment *g = &s->store->segments[segment];
    const uint32_t n = g->n_rows;
    uint32_t n_arrivals = 0;
    uint32_t mark = 0;
    void *arrivals = s->arrivals;
    enum status st = arena_reserve(s->arena, &arrivals, &s->arrivals_capacity, n, sizeof *s->arrivals);
    s->arrivals = arrivals;
    for (uint32_t row = 0; st == STATUS_OK; row++) {
        while (mark < n_marks && (row == n || mark_origins[mark] < origins[row]) && st == STATUS_OK) {
            st = wait(s, segment, &n_arrivals);
            st = st != STATUS_OK ? st : release(s, mark_times[mark], mark_origins[mark]);
            mark++;
        }
        if (row == n || st != STATUS_OK) {
            break;
        }
        if (keyspace_key_is_null(&s->keys, s->keys.columns, s->store, (struct event_ref){segment, row})) {
            s->n_null_keys++;
            st = put_aside(s, &s->null_keys, &s->n_null_rows, &s->null_capacity, row);
        } else if (g->times[row] <= s->watermark) {
            s->n_late++;
            st = put_aside(s, &s->late, &s->n_late_rows, &s->late_capacity, row);
        } else {
            s->arrivals[n_arrivals++] = (struct waiting){g->times[row], {segment, row}};
        }
    }
    return st != STATUS_OK ? st : wait(s, segment, &n_arrivals);
}

/* ---- restore, compaction, invariants ---- */

static enum status restore_waiting(struct sliding *s, struct event_ref e, event_time_t time)
{
    struct waiting row = {time, e};
    if (reorder_size(&s->reorder) > 0 && s->reorder.items[s->reorder.tail - 1].time > time) {
        return STATUS_BAD_SNAPSHOT;
    }
    const enum status st = reorder_add(&s->reorder, &row, 1);
    if (st == STATUS_OK) {
        event_retain(s->store, e.segment);
    }
    return st;
}

enum status sliding_restore(struct sliding *s, struct event_ref e, enum slid_place place)
{
    const event_time_t time = event_time(s->store, e);
    const bool no_key = keyspace_key_is_null(&s->keys, s->keys.columns, s->store, e);
    if (no_key || time == TIME_MIN || (time > s->watermark) != (place == SLID_WAITING)) {
        return STATUS_BAD_SNAPSHOT;
    }
    if (place == SLID_WAITING) {
        return restore_waiting(s, e, time);
    }
    uint32_t slot;
    const enum status st = key_of(s, e, time, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    struct sliding_key *k = &s->by_key[slot];
    const uint32_t n = k->tail - k->head;
    const bool in_front = place == SLID_IN_FRONT;
    if ((n > 0 && time_at(s, k, k->tail - 1) > time) || (in_front && (s->invertible || k->n_front < n))) {
        return STATUS_BAD_SNAPSHOT;
    }
    k->n_front += in_front; /* their panes follow in sliding_restored */
    return in_front ? append(s, k, e) : come_in(s, k, e);
}

enum status sliding_restored(struct sliding *s)
{
    enum status st = STATUS_OK;
    for (uint32_t slot = 0; slot < s->by_key_capacity && st == STATUS_OK; slot++) {
        if (s->by_key[slot].rows != NULL) {
            st = build_front(s, &s->by_key[slot], s->by_key[slot].n_front);
        }
    }
    return st;
}

static void visit_pane(struct sliding *s, struct sliding_pane *p, event_visitor visit, void *context)
{
    for (uint32_t i = 0; i < s->aggs->n_refs; i++) {
        visit(context, (struct event_ref *)(void *)((uint8_t *)state_of(p) + s->aggs->refs[i]));
    }
}

void sliding_each_event(struct sliding *s, event_visitor visit, void *context)
{
    for (uint32_t i = s->reorder.head; i < s->reorder.tail; i++) {
        visit(context, &s->reorder.items[i].event);
    }
    for (uint32_t slot = 0; slot < s->by_key_capacity; slot++) {
        struct sliding_key *k = &s->by_key[slot];
        if (k->rows == NULL) {
            continue;
        }
        for (uint32_t i = k->head; i < k->tail; i++) {
            visit(context, &k->rows[i]);
        }
        for (uint32_t i = k->front_panes - k->n_front; i < k->front_panes; i++) {
            visit_pane(s, front_at(s, k, i), visit, context);
        }
        visit_pane(s, k->back, visit, context);
    }
}

static const char *check_key(const struct sliding *s, uint32_t slot)
{
    const struct sliding_key *k = &s->by_key[slot];
    const uint32_t timer = s->timers.place[slot];
    if (k->rows == NULL) {
        return timer == NO_TIMER ? NULL : "a key that is gone has a timer";
    }
    const uint32_t n = k->tail - k->head;
    if (k->head >= k->tail || k->tail > k->capacity || k->n_front > n || k->n_front > k->front_panes) {
        return "a key without rows is still there, or has more panes than rows";
    }
    const event_time_t last = time_at(s, k, k->tail - 1);
    if (timer == NO_TIMER || s->timers.heap[timer].deadline > time_add(last, s->before) || last > s->watermark
        || time_add(last, s->before) <= s->watermark) {
        return "a key has no timer, a late one, or should have gone";
    }
    for (uint32_t i = k->head; i < k->tail; i++) {
        if (time_at(s, k, i) < time_sub(last, s->before) || (i > k->head && time_at(s, k, i - 1) > time_at(s, k, i))) {
            return "a window's rows are out of order, or one should have left";
        }
    }
    const char *reason = agg_check(s->aggs, state_in(k->back), s->store);
    if (reason == NULL && agg_rows(state_in(k->back)) != n - k->n_front) {
        return "the back pane does not have the rows behind";
    }
    for (uint32_t i = 0; i < k->n_front && reason == NULL; i++) {
        const struct sliding_pane *p = front_at(s, k, k->front_panes - k->n_front + i);
        reason = agg_check(s->aggs, state_in(p), s->store);
        if (reason == NULL && agg_rows(state_in(p)) != k->n_front - i) {
            return "a pane in front does not have the rows up to the last in front";
        }
    }
    return reason;
}

static uint64_t refs_of_pane(const struct sliding *s, const struct sliding_pane *p)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->aggs->n_refs; i++) {
        n += ((const struct event_ref *)(const void *)((const uint8_t *)state_in(p) + s->aggs->refs[i]))->segment != NO_SEGMENT;
    }
    return n;
}

const char *sliding_check(const struct sliding *s)
{
    const char *reason = timers_check(&s->timers);
    uint64_t held = 0;
    uint64_t refs = 0;
    uint32_t n_keys = 0;
    for (uint32_t slot = 0; slot < s->by_key_capacity && reason == NULL; slot++) {
        const struct sliding_key *k = &s->by_key[slot];
        reason = check_key(s, slot);
        if (reason != NULL || k->rows == NULL) {
            continue;
        }
        n_keys++;
        held += k->tail - k->head;
        refs += refs_of_pane(s, k->back);
        for (uint32_t i = k->front_panes - k->n_front; i < k->front_panes; i++) {
            refs += refs_of_pane(s, front_at(s, k, i));
        }
    }
    for (uint32_t i = s->reorder.head; i < s->reorder.tail && reason == NULL; i++) {
        const struct waiting *w = &s->reorder.items[i];
        if (w->time <= s->watermark || (i > s->reorder.head && w[-1].time > w->time)) {
            reason = "the reorder buffer is not in order, or holds what is due";
        }
    }
    if (reason == NULL && (held != s->n_held || n_keys != s->keys.n_keys)) {
        reason = "rows or keys are counted wrong";
    }
    if (reason == NULL && s->store->live != held + refs + reorder_size(&s->reorder)) {
        reason = "a row is held by nobody, or by one too many";
    }
    return reason;
}
