#include "join_asof.h"

#include <string.h>

enum status join_asof_init(struct join_asof *j, struct arena *arena, const struct plan *const plans[2],
                           struct event_store *const stores[2], int64_t tolerance, bool outer, bool deletes)
{
    memset(j, 0, sizeof *j);
    j->arena = arena;
    for (unsigned side = 0; side < 2; side++) {
        j->stores[side] = stores[side];
        j->key_columns[side] = plans[side]->key_columns + plans[side]->keyspaces[0].first_column;
        reorder_init(&j->waiting[side], arena);
    }
    j->tolerance = tolerance;
    j->outer = outer;
    j->deletes = deletes;
    j->watermark = TIME_MIN;
    timers_init(&j->timers, arena);
    return keyspace_init(&j->keys, arena, plans[LEFT], 0);
}

void join_asof_free(struct join_asof *j)
{
    if (j->arena == NULL) {
        return;
    }
    for (unsigned side = 0; side < 2; side++) {
        reorder_free(&j->waiting[side]);
        arena_free(j->arena, j->arrived[side], j->arrived_capacity[side] * sizeof *j->arrived[side]);
    }
    timers_free(&j->timers);
    keyspace_free(&j->keys);
    join_results_free(&j->results, j->arena);
    memset(j, 0, sizeof *j);
}

/* --------------------------------------------------------------- the last right row of a key */

/* When no left row can be near enough any more. */
static event_time_t deadline_of(const struct join_asof *j, event_time_t t)
{
    return j->tolerance == INT64_MAX ? TIME_MAX : time_add(t, j->tolerance);
}

/* The earliest right row that is near enough. */
static event_time_t earliest(const struct join_asof *j, event_time_t t)
{
    return j->tolerance == INT64_MAX ? TIME_MIN : time_sub(t, j->tolerance);
}

static void forget(struct join_asof *j, uint32_t slot)
{
    event_release(j->stores[RIGHT], j->keys.slots[slot].last.segment);
    j->n_lasts--;
    timers_cancel(&j->timers, slot);
    keyspace_drop(&j->keys, slot);
}

static enum status remember(struct join_asof *j, uint32_t slot, struct event_ref e, event_time_t t)
{
    struct key_slot *key = &j->keys.slots[slot];
    event_retain(j->stores[RIGHT], e.segment);
    if (key->last.segment != NO_SEGMENT) {
        event_release(j->stores[RIGHT], key->last.segment);
        key->last = e;
        key->last_time = t;
        return STATUS_OK; /* its timer is early, and is set again when it fires */
    }
    key->last = e;
    key->last_time = t;
    j->n_lasts++;
    const enum status st = timers_reserve_owners(&j->timers, slot + 1);
    return st != STATUS_OK ? st : timers_set(&j->timers, slot, deadline_of(j, t), 0);
}

static enum status forget_old(struct join_asof *j)
{
    while (j->timers.n > 0 && j->timers.heap[0].deadline <= j->watermark) {
        const uint32_t slot = j->timers.heap[0].owner;
        const event_time_t deadline = deadline_of(j, j->keys.slots[slot].last_time);
        if (deadline <= j->watermark) {
            forget(j, slot);
            continue;
        }
        const enum status st = timers_set(&j->timers, slot, deadline, 0);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

/* --------------------------------------------------------------- rows whose time has come */

static enum status take_right(struct join_asof *j, const struct waiting *row)
{
    const struct segment *g = &j->stores[RIGHT]->segments[row->event.segment];
    const bool gone = j->deletes && (g->masks[(size_t)row->event.row * j->stores[RIGHT]->mask_words] & 1) != 0;
    uint32_t slot;
    const enum status st = keyspace_slot_of(&j->keys, j->key_columns[RIGHT], j->stores[RIGHT], row->event, !gone, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    if (!gone) {
        return remember(j, slot, row->event, row->time);
    }
    if (slot != NO_SLOT) {
        forget(j, slot);
    }
    return STATUS_OK;
}

static enum status take_left(struct join_asof *j, const struct waiting *row, uint64_t origin)
{
    uint32_t slot;
    enum status st = keyspace_slot_of(&j->keys, j->key_columns[LEFT], j->stores[LEFT], row->event, false, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    struct event_ref last = {NO_SEGMENT, 0};
    if (slot != NO_SLOT && j->keys.slots[slot].last_time >= earliest(j, row->time)) {
        last = j->keys.slots[slot].last;
        j->n_matched++;
    } else {
        j->n_alone++;
        if (!j->outer) {
            return STATUS_OK;
        }
    }
    st = join_results_reserve(&j->results, j->arena, 1);
    if (st == STATUS_OK) {
        j->results.rows[j->results.n_rows++] = (struct joined){{row->event, last}, row->time, origin};
    }
    return st;
}

/* What the watermarks of the step have passed, in order of time; each left row has the origin of the first that passes it. */
static enum status release(struct join_asof *j, const struct arrivals *a)
{
    j->watermark = a->mark_times[a->n_marks - 1];
    const uint32_t n_left = reorder_due(&j->waiting[LEFT], j->watermark);
    const uint32_t n_right = reorder_due(&j->waiting[RIGHT], j->watermark);
    const struct waiting *left = j->waiting[LEFT].items + j->waiting[LEFT].head;
    const struct waiting *right = j->waiting[RIGHT].items + j->waiting[RIGHT].head;
    uint32_t mark = 0;
    uint32_t i = 0;
    for (uint32_t k = 0; k < n_left; k++) {
        for (; i < n_right && right[i].time <= left[k].time; i++) {
            const enum status st = take_right(j, &right[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
        while (a->mark_times[mark] < left[k].time) {
            mark++;
        }
        const enum status st = take_left(j, &left[k], a->mark_origins[mark]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    for (; i < n_right; i++) {
        const enum status st = take_right(j, &right[i]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    reorder_consume(&j->waiting[LEFT], j->stores[LEFT], n_left);
    reorder_consume(&j->waiting[RIGHT], j->stores[RIGHT], n_right);
    return forget_old(j);
}

/* --------------------------------------------------------------- rows that come */

static enum status reserve_arrived(struct join_asof *j, unsigned side, uint64_t n)
{
    void *items = j->arrived[side];
    const enum status st = arena_reserve(j->arena, &items, &j->arrived_capacity[side], n, sizeof *j->arrived[side]);
    j->arrived[side] = items;
    return st;
}

static enum status wait_for_watermark(struct join_asof *j, unsigned side, uint32_t segment, uint32_t n)
{
    const enum status st = reorder_add(&j->waiting[side], j->arrived[side], n);
    if (st == STATUS_OK && n > 0) {
        event_retain_many(j->stores[side], segment, n);
    }
    return st;
}

enum status join_asof_step(struct join_asof *j, const struct arrivals *a)
{
    struct join_results *r = &j->results;
    uint32_t n[2] = {0, 0};
    uint32_t mark = 0;
    event_time_t watermark = j->watermark;
    for (unsigned side = 0; side < 2; side++) {
        const enum status st = reserve_arrived(j, side, a->n_rows);
        if (st != STATUS_OK) {
            return st;
        }
    }
    for (uint32_t i = 0; i < a->n_rows; i++) {
        const unsigned side = a->inputs[i];
        const struct event_ref e = arrivals_event(a, i);
        const event_time_t t = event_time(j->stores[side], e);
        enum status st = STATUS_OK;
        while (mark < a->n_marks && a->mark_origins[mark] < a->origins[i]) {
            watermark = a->mark_times[mark++];
        }
        if (keyspace_key_is_null(&j->keys, j->key_columns[side], j->stores[side], e)) {
            j->n_null_keys++;
            st = join_results_note(&r->null_keys, &r->n_null_keys, &r->null_keys_capacity, j->arena, i);
        } else if (t <= watermark) {
            j->n_late++;
            st = join_results_note(&r->late, &r->n_late, &r->late_capacity, j->arena, i);
        } else {
            j->arrived[side][n[side]++] = (struct waiting){t, e};
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    for (unsigned side = 0; side < 2; side++) {
        /* all at once: what comes after a watermark is above it, so that watermark does not set it free */
        const enum status st = wait_for_watermark(j, side, a->segments[side], n[side]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return a->n_marks == 0 ? STATUS_OK : release(j, a);
}

/* --------------------------------------------------------------- restore, compaction, invariants */

enum status join_asof_restore_waiting(struct join_asof *j, unsigned side, uint32_t segment, const uint32_t *rows, uint32_t n)
{
    enum status st = reserve_arrived(j, side, n);
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        const struct event_ref e = {segment, rows[i]};
        j->arrived[side][i] = (struct waiting){event_time(j->stores[side], e), e};
        if (j->arrived[side][i].time <= j->watermark || keyspace_key_is_null(&j->keys, j->key_columns[side], j->stores[side], e)) {
            st = STATUS_BAD_SNAPSHOT;
        }
    }
    return st != STATUS_OK ? st : wait_for_watermark(j, side, segment, n);
}

enum status join_asof_restore_last(struct join_asof *j, struct event_ref e)
{
    const event_time_t t = event_time(j->stores[RIGHT], e);
    uint32_t slot;
    const enum status st = keyspace_slot_of(&j->keys, j->key_columns[RIGHT], j->stores[RIGHT], e, true, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    if (slot == KEY_NULL || t > j->watermark || deadline_of(j, t) <= j->watermark ||
        j->keys.slots[slot].last.segment != NO_SEGMENT) {
        return STATUS_BAD_SNAPSHOT;
    }
    return remember(j, slot, e, t);
}

void join_asof_each_event(struct join_asof *j, unsigned side, event_visitor visit, void *context)
{
    struct reorder *r = &j->waiting[side];
    for (uint32_t i = r->head; i < r->tail; i++) {
        visit(context, &r->items[i].event);
    }
    for (uint32_t i = 0; side == RIGHT && i < j->keys.table_size; i++) {
        if (j->keys.table[i] != 0) {
            visit(context, &j->keys.slots[j->keys.table[i] - 1].last);
        }
    }
}

static const char *check_waiting(const struct join_asof *j, unsigned side)
{
    const struct reorder *r = &j->waiting[side];
    for (uint32_t i = r->head; i < r->tail; i++) {
        const struct waiting *row = &r->items[i];
        if (row->time <= j->watermark || row->time != event_time(j->stores[side], row->event)) {
            return "a waiting row should have left, or has another time";
        }
        if (i > r->head && (row[-1].time > row->time || (row[-1].time == row->time &&
                            event_position(j->stores[side], row[-1].event) >= event_position(j->stores[side], row->event)))) {
            return "waiting rows are not in order of time and arrival";
        }
    }
    return NULL;
}

const char *join_asof_check(const struct join_asof *j)
{
    const char *reason = timers_check(&j->timers);
    reason = reason == NULL ? check_waiting(j, LEFT) : reason;
    reason = reason == NULL ? check_waiting(j, RIGHT) : reason;
    for (uint32_t i = 0; i < j->keys.table_size && reason == NULL; i++) {
        const uint32_t slot = j->keys.table[i] - 1;
        if (j->keys.table[i] == 0) {
            continue;
        }
        const event_time_t deadline = deadline_of(j, j->keys.slots[slot].last_time);
        if (j->keys.slots[slot].last.segment == NO_SEGMENT || deadline <= j->watermark) {
            reason = "a key without a last row, or with an old one, is still there";
        } else if (j->timers.place[slot] == NO_TIMER || j->timers.heap[j->timers.place[slot]].deadline > deadline) {
            reason = "a key's timer is missing or late";
        }
    }
    if (reason == NULL && (j->n_lasts != j->keys.n_keys || j->timers.n != j->keys.n_keys)) {
        reason = "the count of keys is wrong";
    }
    if (reason == NULL && (j->stores[LEFT]->live != reorder_size(&j->waiting[LEFT]) ||
                           j->stores[RIGHT]->live != reorder_size(&j->waiting[RIGHT]) + j->n_lasts)) {
        reason = "the count of rows that are held is wrong";
    }
    return reason;
}
