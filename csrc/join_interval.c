#include "join_interval.h"

#include <string.h>

enum status join_interval_init(struct join_interval *j, struct arena *arena, const struct plan *const plans[2],
                               struct event_store *const stores[2], int64_t lower, int64_t upper, bool outer_left,
                               bool outer_right)
{
    memset(j, 0, sizeof *j);
    j->arena = arena;
    for (unsigned side = 0; side < 2; side++) {
        j->stores[side] = stores[side];
        j->key_columns[side] = plans[side]->key_columns + plans[side]->keyspaces[0].first_column;
    }
    j->outer[LEFT] = outer_left;
    j->outer[RIGHT] = outer_right;
    j->lowest[LEFT] = lower;
    j->highest[LEFT] = upper;
    j->lowest[RIGHT] = -upper;
    j->highest[RIGHT] = -lower;
    j->watermark = TIME_MIN;
    timers_init(&j->timers, arena);
    return keyspace_init(&j->keys, arena, plans[LEFT], 0);
}

void join_interval_free(struct join_interval *j)
{
    if (j->arena == NULL) {
        return;
    }
    for (uint32_t slot = 0; slot < j->by_key_capacity; slot++) {
        for (unsigned side = 0; side < 2; side++) {
            const struct row_buffer *b = &j->by_key[slot].sides[side];
            arena_free(j->arena, b->items, b->capacity * sizeof *b->items);
        }
    }
    arena_free(j->arena, j->by_key, j->by_key_capacity * sizeof *j->by_key);
    timers_free(&j->timers);
    keyspace_free(&j->keys);
    join_results_free(&j->results, j->arena);
    memset(j, 0, sizeof *j);
}

/* --------------------------------------------------------------- one buffer */

/* The first row from `head` on whose time is >= t (after = false) or > t (after = true). */
static uint32_t place_of(const struct row_buffer *b, event_time_t t, bool after)
{
    uint32_t low = b->head;
    uint32_t high = b->tail;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (b->items[mid].time < t || (after && b->items[mid].time == t)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static enum status make_room(struct arena *arena, struct row_buffer *b)
{
    if (b->tail < b->capacity) {
        return STATUS_OK;
    }
    /* moving down costs what is held, so only when that frees at least as much */
    if (b->head > 0 && b->head >= b->tail - b->head) {
        memmove(b->items, b->items + b->head, (b->tail - b->head) * sizeof *b->items);
        b->tail -= b->head;
        b->head = 0;
        return STATUS_OK;
    }
    void *items = b->items;
    const enum status st = arena_reserve(arena, &items, &b->capacity, (uint64_t)b->tail + 1, sizeof *b->items);
    b->items = items;
    return st;
}

/* After all rows of the same time; there is room. */
static uint32_t insert(struct row_buffer *b, struct buffered row)
{
    uint32_t at = b->tail;
    if (at > b->head && b->items[at - 1].time > row.time) {
        at = place_of(b, row.time, true);
        memmove(b->items + at + 1, b->items + at, (b->tail - at) * sizeof *b->items);
    }
    b->items[at] = row;
    b->tail++;
    return at;
}

/* --------------------------------------------------------------- rows that leave */

static event_time_t deadline_of(const struct join_interval *j, unsigned side, event_time_t t)
{
    return time_shift(t, j->highest[side]);
}

/* The deadline of the first row of a buffer; it keeps its order of arrival among equal ones. */
static enum status set_timer(struct join_interval *j, uint32_t slot, unsigned side)
{
    const struct row_buffer *b = &j->by_key[slot].sides[side];
    const struct buffered *first = &b->items[b->head];
    return timers_set(&j->timers, slot * 2 + side, deadline_of(j, side, first->time), event_position(j->stores[side], first->event));
}

static enum status come_alone(struct join_interval *j, unsigned side, struct event_ref e, event_time_t t, uint64_t origin)
{
    const enum status st = join_results_reserve(&j->results, j->arena, 1);
    if (st != STATUS_OK) {
        return st;
    }
    struct joined *out = &j->results.rows[j->results.n_rows++];
    const event_time_t deadline = deadline_of(j, side, t);
    out->sides[side] = e;
    out->sides[!side] = (struct event_ref){NO_SEGMENT, 0};
    out->time = deadline < t ? t : deadline == TIME_MAX ? TIME_MAX - 1 : deadline; /* the largest is no time of a row */
    out->origin = origin;
    j->n_alone++;
    return STATUS_OK;
}

/* Rows whose deadline the watermark has reached leave; those that come alone, by (deadline, arrival) over all keys and sides. */
static enum status leave(struct join_interval *j, uint64_t origin)
{
    while (j->timers.n > 0 && j->timers.heap[0].deadline <= j->watermark) {
        const uint32_t owner = j->timers.heap[0].owner;
        const uint32_t slot = owner / 2;
        const unsigned side = owner % 2;
        struct row_buffer *b = &j->by_key[slot].sides[side];
        const bool outer = j->outer[side];
        for (bool first = true; b->head < b->tail; first = false) {
            const struct buffered *row = &b->items[b->head];
            const bool alone = outer && !row->matched;
            if (deadline_of(j, side, row->time) > j->watermark || (alone && !first)) {
                break; /* only what stands first of all comes alone now */
            }
            if (alone) {
                const enum status st = come_alone(j, side, row->event, row->time, origin);
                if (st != STATUS_OK) {
                    return st;
                }
            }
            event_release(j->stores[side], row->event.segment);
            b->head++;
            j->n_buffered--;
        }
        if (b->head < b->tail) {
            const enum status st = set_timer(j, slot, side);
            if (st != STATUS_OK) {
                return st;
            }
            continue;
        }
        timers_cancel(&j->timers, owner);
        arena_free(j->arena, b->items, b->capacity * sizeof *b->items);
        memset(b, 0, sizeof *b);
        if (j->by_key[slot].sides[!side].items == NULL) {
            keyspace_drop(&j->keys, slot);
        }
    }
    return STATUS_OK;
}

/* --------------------------------------------------------------- rows that come */

static enum status pairs_of(struct join_interval *j, uint32_t slot, unsigned side, struct event_ref e, event_time_t t,
                            uint64_t origin, bool *matched)
{
    struct row_buffer *partners = &j->by_key[slot].sides[!side];
    const event_time_t last = time_shift(t, j->highest[side]);
    uint32_t i = place_of(partners, time_shift(t, j->lowest[side]), false);
    const uint32_t first = i;
    *matched = false;
    while (i < partners->tail && partners->items[i].time <= last) {
        i++;
    }
    if (i == first) {
        return STATUS_OK;
    }
    const enum status st = join_results_reserve(&j->results, j->arena, i - first);
    if (st != STATUS_OK) {
        return st;
    }
    struct joined *out = j->results.rows + j->results.n_rows;
    for (struct buffered *partner = partners->items + first; partner < partners->items + i; partner++, out++) {
        out->sides[side] = e;
        out->sides[!side] = partner->event;
        out->time = t > partner->time ? t : partner->time;
        out->origin = origin;
        partner->matched = true;
    }
    j->results.n_rows += i - first;
    j->n_pairs += i - first;
    *matched = true;
    return STATUS_OK;
}

static enum status reserve_key(struct join_interval *j, uint32_t slot)
{
    const uint32_t before = j->by_key_capacity;
    if (LIKELY(slot < before)) {
        return STATUS_OK;
    }
    void *items = j->by_key;
    enum status st = arena_reserve(j->arena, &items, &j->by_key_capacity, (uint64_t)slot + 1, sizeof *j->by_key);
    j->by_key = items;
    if (st != STATUS_OK) {
        return st;
    }
    memset(j->by_key + before, 0, (j->by_key_capacity - before) * sizeof *j->by_key);
    return timers_reserve_owners(&j->timers, j->by_key_capacity * 2);
}

static enum status keep(struct join_interval *j, uint32_t slot, unsigned side, struct buffered row)
{
    struct row_buffer *b = &j->by_key[slot].sides[side];
    const enum status st = make_room(j->arena, b);
    if (st != STATUS_OK) {
        return st;
    }
    const uint32_t at = insert(b, row);
    event_retain(j->stores[side], row.event.segment);
    j->n_buffered++;
    return at == b->head ? set_timer(j, slot, side) : STATUS_OK;
}

static enum status take(struct join_interval *j, const struct arrivals *a, uint32_t i)
{
    const unsigned side = a->inputs[i];
    const struct event_ref e = arrivals_event(a, i);
    const event_time_t t = event_time(j->stores[side], e);
    const bool late = t <= j->watermark;
    const bool stays = !late && deadline_of(j, side, t) > j->watermark;
    uint32_t slot;
    enum status st = keyspace_slot_of(&j->keys, j->key_columns[side], j->stores[side], e, stays, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    struct join_results *r = &j->results;
    if (slot == KEY_NULL) {
        j->n_null_keys++;
        return join_results_note(&r->null_keys, &r->n_null_keys, &r->null_keys_capacity, j->arena, i);
    }
    if (late) {
        j->n_late++;
        return join_results_note(&r->late, &r->n_late, &r->late_capacity, j->arena, i);
    }
    bool matched = false;
    if (slot != NO_SLOT) {
        st = reserve_key(j, slot);
        if (st == STATUS_OK) {
            st = pairs_of(j, slot, side, e, t, a->origins[i], &matched);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    if (stays) {
        return keep(j, slot, side, (struct buffered){t, e, matched});
    }
    return matched || !j->outer[side] ? STATUS_OK : come_alone(j, side, e, t, a->origins[i]);
}

enum status join_interval_step(struct join_interval *j, const struct arrivals *a)
{
    uint32_t mark = 0;
    for (uint32_t i = 0;; i++) {
        while (mark < a->n_marks && (i == a->n_rows || a->mark_origins[mark] < a->origins[i])) {
            j->watermark = a->mark_times[mark];
            const enum status st = leave(j, a->mark_origins[mark++]);
            if (st != STATUS_OK) {
                return st;
            }
        }
        if (i == a->n_rows) {
            return STATUS_OK;
        }
        const enum status st = take(j, a, i);
        if (st != STATUS_OK) {
            return st;
        }
    }
}

/* --------------------------------------------------------------- restore, compaction, invariants */

enum status join_interval_restore(struct join_interval *j, unsigned side, struct event_ref e, bool matched)
{
    const event_time_t t = event_time(j->stores[side], e);
    if (t <= TIME_MIN || deadline_of(j, side, t) <= j->watermark) {
        return STATUS_BAD_SNAPSHOT;
    }
    uint32_t slot;
    enum status st = keyspace_slot_of(&j->keys, j->key_columns[side], j->stores[side], e, true, &slot);
    if (st != STATUS_OK || slot == KEY_NULL) {
        return st != STATUS_OK ? st : STATUS_BAD_SNAPSHOT;
    }
    st = reserve_key(j, slot);
    return st != STATUS_OK ? st : keep(j, slot, side, (struct buffered){t, e, matched});
}

void join_interval_each_event(struct join_interval *j, unsigned side, event_visitor visit, void *context)
{
    for (uint32_t slot = 0; slot < j->by_key_capacity; slot++) {
        const struct row_buffer *b = &j->by_key[slot].sides[side];
        for (uint32_t i = b->head; i < b->tail; i++) {
            visit(context, &b->items[i].event);
        }
    }
}

static const char *check_buffer(const struct join_interval *j, uint32_t slot, unsigned side)
{
    const struct row_buffer *b = &j->by_key[slot].sides[side];
    const uint32_t timer = j->timers.place[slot * 2 + side];
    if (b->items == NULL) {
        return timer == NO_TIMER && b->tail == 0 ? NULL : "an empty buffer has a timer, or rows";
    }
    if (b->head >= b->tail || b->tail > b->capacity) {
        return "a buffer without rows is still there";
    }
    if (timer == NO_TIMER || j->timers.heap[timer].deadline != deadline_of(j, side, b->items[b->head].time)) {
        return "the timer of a buffer is not that of its first row";
    }
    for (uint32_t i = b->head; i < b->tail; i++) {
        const struct buffered *row = &b->items[i];
        if (row->time != event_time(j->stores[side], row->event) || deadline_of(j, side, row->time) <= j->watermark) {
            return "a buffered row has another time, or should have left";
        }
        if (i > b->head && (row[-1].time > row->time || (row[-1].time == row->time &&
                            event_position(j->stores[side], row[-1].event) >= event_position(j->stores[side], row->event)))) {
            return "buffered rows are not in order of time and arrival";
        }
    }
    return NULL;
}

const char *join_interval_check(const struct join_interval *j)
{
    const char *reason = timers_check(&j->timers);
    uint64_t n = 0;
    uint32_t n_keys = 0;
    for (uint32_t slot = 0; slot < j->by_key_capacity && reason == NULL; slot++) {
        uint32_t held = 0;
        for (unsigned side = 0; side < 2 && reason == NULL; side++) {
            reason = check_buffer(j, slot, side);
            held += j->by_key[slot].sides[side].tail - j->by_key[slot].sides[side].head;
        }
        n += held;
        n_keys += held > 0;
    }
    if (reason == NULL && (n != j->n_buffered || j->stores[LEFT]->live + j->stores[RIGHT]->live != n)) {
        reason = "the count of buffered rows is wrong";
    }
    return reason == NULL && n_keys != j->keys.n_keys ? "a key without rows is still there" : reason;
}
