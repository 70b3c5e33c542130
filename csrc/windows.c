#include "windows.h"

#include <string.h>

enum status windows_init(struct windows *w, struct arena *arena, const struct plan *plan, struct event_store *events, const uint8_t *spec,
                         size_t spec_size, const uint8_t *aggs, size_t aggs_size, bool logged, const char **reason)
{
    memset(w, 0, sizeof *w);
    w->arena = arena;
    w->plan = plan;
    w->events = events;
    w->watermark = TIME_MIN;
    w->logged = logged;
    w->log.arena = arena;
    window_groups_init(&w->groups, arena);
    timers_init(&w->timers, arena);
    agg_columns_init(&w->result_values, arena);
    enum status st = window_spec_load(&w->spec, arena, spec, spec_size, plan->n_columns, plan->column_types, reason);
    if (st == STATUS_OK) {
        st = agg_plan_load(&w->aggs, arena, aggs, aggs_size, plan->column_types, plan->n_columns, reason);
    }
    if (st == STATUS_OK) {
        st = keyspace_init(&w->keys, arena, plan, 0);
    }
    if (st == STATUS_OK) {
        st = key_columns_init(&w->result_keys, arena, plan, &w->keys);
    }
    w->grouped = w->spec.kind == WINDOW_GRID && w->spec.trigger != TRIGGER_CONTINUOUS;
    w->tumbles = w->spec.kind == WINDOW_GRID && w->spec.grid.slide == w->spec.grid.size && w->spec.trigger == TRIGGER_END;
    w->ends = w->grouped && w->spec.trigger == TRIGGER_END && w->spec.lateness == 0 && !w->spec.purges && !w->spec.closes && !logged;
    w->sliced = w->ends && w->spec.slices && w->spec.grid.size > w->spec.grid.slide && w->spec.grid.zone.n == 0;
    w->first_sliced = INT64_MIN;
    w->old_until = TIME_MIN;
    /* A small state lies close to the next window; a larger one is not spread over more cache lines than it must. */
    const size_t align = w->aggs.state_size < WINDOW_HEAD / 2 ? 8 : WINDOW_HEAD;
    w->stride = (WINDOW_HEAD + w->aggs.state_size + align - 1) & ~(align - 1);
    return st;
}

void windows_free(struct windows *w)
{
    if (w->arena == NULL) {
        return;
    }
    for (uint32_t i = 0; i < w->n_records; i++) {
        struct window *p = window_at(w, i);
        if (p->in_use) {
            agg_free(&w->aggs, window_state(p), w->events);
        }
    }
    for (uint32_t i = 0; i < w->n_chunks; i++) {
        arena_free(w->arena, w->chunks[i], WINDOW_CHUNK * w->stride);
    }
    arena_free(w->arena, w->chunks, w->chunks_capacity * sizeof *w->chunks);
    arena_free(w->arena, w->key_states, (size_t)w->keys_capacity * sizeof *w->key_states);
    arena_free(w->arena, w->slice_keys, (size_t)w->slice_keys_capacity * sizeof *w->slice_keys);
    arena_free(w->arena, w->made, (size_t)w->made_capacity * sizeof *w->made);
    arena_free(w->arena, w->due, (size_t)w->due_capacity * sizeof *w->due);
    arena_free(w->arena, w->due_spare, (size_t)w->due_spare_capacity * sizeof *w->due_spare);
    arena_free(w->arena, w->due_groups, (size_t)w->due_groups_capacity * sizeof *w->due_groups);
    arena_free(w->arena, w->asides, (size_t)w->asides_capacity * sizeof *w->asides);
    arena_free(w->arena, w->results, (size_t)w->results_capacity * sizeof *w->results);
    agg_log_free(&w->log);
    agg_columns_free(&w->result_values);
    key_columns_free(&w->result_keys);
    timers_free(&w->timers);
    window_groups_free(&w->groups);
    keyspace_free(&w->keys);
    agg_plan_free(&w->aggs);
    window_spec_free(&w->spec);
    memset(w, 0, sizeof *w);
}

void windows_clear(struct windows *w)
{
    w->n_results = 0;
    w->result_values.n_rows = 0;
    w->n_asides = 0;
    w->log.n = 0;
    key_columns_clear(&w->result_keys);
}

/* ------------------------------------------------------------------ records */

static enum status take_record(struct windows *w, uint32_t *id)
{
    if (w->free_list != NO_WINDOW) {
        *id = w->free_list - 1;
        w->free_list = window_at(w, *id)->next;
        if (w->free_list != NO_WINDOW) { /* mostly it is taken soon */
            const struct window *next = window_at(w, w->free_list - 1);
            __builtin_prefetch(next, 1);
            __builtin_prefetch(window_contents(next), 1);
        }
        return STATUS_OK;
    }
    if (w->n_records == w->n_chunks * WINDOW_CHUNK) {
        if (w->n_records > UINT32_MAX - 2 * WINDOW_CHUNK) {
            return STATUS_NO_MEMORY;
        }
        void *chunks = w->chunks;
        const enum status st = arena_reserve(w->arena, &chunks, &w->chunks_capacity, (uint64_t)w->n_chunks + 1, sizeof *w->chunks);
        w->chunks = chunks;
        if (st != STATUS_OK) {
            return st;
        }
        char *chunk = arena_alloc(w->arena, WINDOW_CHUNK * w->stride);
        if (chunk == NULL) {
            return STATUS_NO_MEMORY;
        }
        w->chunks[w->n_chunks++] = chunk;
    }
    *id = w->n_records++;
    window_at(w, *id)->in_use = 0;
    return STATUS_OK;
}

static void give_record(struct windows *w, uint32_t id)
{
    struct window *p = window_at(w, id);
    p->in_use = 0;
    p->slot = NO_SLOT;
    p->next = w->free_list;
    w->free_list = id + 1;
}

/* ------------------------------------------------------------------ keys without windows */

static void idle_append(struct windows *w, uint32_t slot)
{
    struct window_key *k = &w->key_states[slot];
    k->idle_next = 0;
    k->idle_prev = w->idle_last;
    if (w->idle_last != 0) {
        w->key_states[w->idle_last - 1].idle_next = slot + 1;
    } else {
        w->idle_first = slot + 1;
    }
    w->idle_last = slot + 1;
    w->n_idle++;
}

static void idle_remove(struct windows *w, uint32_t slot)
{
    const struct window_key k = w->key_states[slot];
    if (k.idle_prev != 0) {
        w->key_states[k.idle_prev - 1].idle_next = k.idle_next;
    } else {
        w->idle_first = k.idle_next;
    }
    if (k.idle_next != 0) {
        w->key_states[k.idle_next - 1].idle_prev = k.idle_prev;
    } else {
        w->idle_last = k.idle_prev;
    }
    w->n_idle--;
}

enum status windows_key(struct windows *w, struct event_ref e, uint32_t *slot)
{
    const uint32_t n_keys = w->keys.n_keys;
    void *states = w->key_states;
    enum status st = arena_reserve(w->arena, &states, &w->keys_capacity, (uint64_t)w->keys.n_slots + 1, sizeof *w->key_states);
    w->key_states = states;
    if (st == STATUS_OK && w->sliced) {
        void *slices = w->slice_keys;
        st = arena_reserve(w->arena, &slices, &w->slice_keys_capacity, (uint64_t)w->keys.n_slots + 1, sizeof *w->slice_keys);
        w->slice_keys = slices;
    }
    if (st == STATUS_OK) {
        st = keyspace_slot(&w->keys, w->events, e, true, slot);
    }
    if (st == STATUS_OK && w->keys.n_keys != n_keys) {
        w->key_states[*slot].head = NO_WINDOW;
        w->key_states[*slot].number = w->keys.integer ? w->keys.slots[*slot].i64 : 0;
        w->key_states[*slot].start = 0;
        if (w->sliced) {
            w->slice_keys[*slot] = (struct slice_key){.next = NO_NUMBER};
        }
        idle_append(w, *slot);
    }
    return st;
}

#define IDLE_KEYS 1024

void windows_trim_keys(struct windows *w)
{
    const uint32_t live = w->keys.n_keys - w->n_idle;
    w->live_peak -= w->live_peak / 1024;
    if (live > w->live_peak) {
        w->live_peak = live;
    }
    const uint32_t bound = w->watermark == TIME_MAX ? 0 : w->live_peak > IDLE_KEYS ? w->live_peak : IDLE_KEYS;
    while (w->n_idle > bound) {
        const uint32_t slot = w->idle_first - 1;
        idle_remove(w, slot);
        keyspace_drop(&w->keys, slot);
    }
}

/* ------------------------------------------------------------------ windows of a key */

enum status windows_open(struct windows *w, uint32_t slot, uint32_t prev, struct span span, uint32_t *id)
{
    enum status st = take_record(w, id);
    if (st == STATUS_OK && !w->grouped) {
        st = timers_reserve_owners(&w->timers, *id + 1);
        if (st != STATUS_OK) {
            give_record(w, *id);
        }
    }
    if (st != STATUS_OK) {
        return st;
    }
    struct window_key *k = &w->key_states[slot];
    const uint32_t next = prev == NO_WINDOW ? k->head : window_at(w, prev - 1)->next;
    struct window *p = window_at(w, *id);
    *p = (struct window){.start = span.start, .end = span.end, .fire = NEVER, .slot = slot, .next = next, .prev = prev,
                         .group = NO_GROUP, .in_use = 1};
    if (w->spec.trigger == TRIGGER_COUNT) {
        p->count = 0;
    }
    agg_init(&w->aggs, window_state(p));
    if (next != NO_WINDOW) {
        window_at(w, next - 1)->prev = *id + 1;
    }
    if (k->head == NO_WINDOW) {
        idle_remove(w, slot);
    }
    if (prev != NO_WINDOW) {
        window_at(w, prev - 1)->next = *id + 1;
    } else {
        k->head = *id + 1;
        k->start = span.start;
    }
    w->n_open++;
    w->counters.opened++;
    return STATUS_OK;
}

enum status windows_borrow(struct windows *w, uint32_t slot, uint32_t *id)
{
    const enum status st = take_record(w, id);
    if (st == STATUS_OK) {
        struct window *p = window_at(w, *id);
        *p = (struct window){.slot = slot, .group = NO_GROUP, .in_use = 1, .part = PART_SUM};
        agg_init(&w->aggs, window_state(p));
    }
    return st;
}

enum status windows_release(struct windows *w, uint32_t id)
{
    const enum status st = windows_flush(w);
    if (st != STATUS_OK) {
        return st;
    }
    agg_free(&w->aggs, window_state(window_at(w, id)), w->events);
    give_record(w, id);
    return w->logged ? agg_log_write(&w->log, AGG_LOG_FREE, id, 0, 0) : STATUS_OK;
}

enum status windows_close(struct windows *w, uint32_t id)
{
    struct window *p = window_at(w, id);
    const uint32_t slot = p->slot;
    if (p->next != NO_WINDOW) {
        window_at(w, p->next - 1)->prev = p->prev;
    }
    if (p->prev != NO_WINDOW) {
        window_at(w, p->prev - 1)->next = p->next;
    } else {
        w->key_states[slot].head = p->next;
        if (p->next != NO_WINDOW) {
            w->key_states[slot].start = window_at(w, p->next - 1)->start;
        }
    }
    if (!w->grouped) {
        timers_cancel(&w->timers, id);
    }
    if (w->key_states[slot].head == NO_WINDOW) {
        idle_append(w, slot);
    }
    w->n_open--;
    return windows_release(w, id);
}

enum status windows_empty(struct windows *w, uint32_t id)
{
    const enum status st = windows_flush(w);
    if (st != STATUS_OK) {
        return st;
    }
    void *state = window_state(window_at(w, id));
    agg_free(&w->aggs, state, w->events);
    agg_init(&w->aggs, state);
    return w->logged ? agg_log_write(&w->log, AGG_LOG_RESET, id, 0, 0) : STATUS_OK;
}

enum status windows_flush(struct windows *w)
{
    const uint32_t n = w->n_pending;
    w->n_pending = 0;
    return n == 0 ? STATUS_OK : agg_add_many(&w->aggs, w->events, w->segment, w->pending, n);
}

enum status windows_merge(struct windows *w, uint32_t into, uint32_t from)
{
    enum status st = windows_flush(w);
    if (st == STATUS_OK) {
        st = agg_merge(&w->aggs, window_state(window_at(w, into)), window_contents(window_at(w, from)), w->events);
    }
    return st == STATUS_OK && w->logged ? agg_log_write(&w->log, AGG_LOG_MERGE, into, from, 0) : st;
}
