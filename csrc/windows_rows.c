/* Rows in order of arrival: the watermarks before them, the key's slot, the windows. A block of rows at a time, so that keys are looked up
 * for all of them at once, and what the next rows will touch is on its way.
 */
#include "windows.h"

#include <string.h>

/* ------------------------------------------------------------------ keys */

static uint32_t find_number(const struct windows *w, uint64_t hash, int64_t number)
{
    const uint32_t *table = w->keys.table, mask = w->keys.table_size - 1;
    for (uint32_t at = (uint32_t)hash & mask; table[at] != 0; at = (at + 1) & mask) {
        if (w->key_states[table[at] - 1].number == number) {
            return table[at] - 1;
        }
    }
    return NO_SLOT;
}

static inline void prefetch_window(const struct windows *w, uint32_t id)
{
    const struct window *p = window_at(w, id);
    if (!w->direct) {
        __builtin_prefetch(p, 1);
    }
    __builtin_prefetch(window_contents(p), 1);
}

/* Keys of one integer: hash, place in the table, slot, window, each for all rows before the next, so that they are on their way. */
static enum status look_up_numbers(struct windows *w, const struct column *c, uint32_t first, uint32_t n)
{
    const int64_t *numbers = (const int64_t *)c->data + first;
    for (uint32_t i = 0; i < n; i++) {
        w->hashes[i] = keyspace_hash(numbers[i]);
        __builtin_prefetch(keyspace_entry(&w->keys, w->hashes[i]));
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t entry = *keyspace_entry(&w->keys, w->hashes[i]);
        if (entry != 0) {
            __builtin_prefetch(&w->key_states[entry - 1]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = column_is_null(c, first + i) ? KEY_NULL : find_number(w, w->hashes[i], numbers[i]);
        if (UNLIKELY(slot == NO_SLOT)) {
            const enum status st = windows_key(w, (struct event_ref){w->segment, first + i}, &slot);
            if (st != STATUS_OK) {
                return st;
            }
        }
        w->slots[i] = slot;
        if (slot != KEY_NULL && w->key_states[slot].head != NO_WINDOW) {
            prefetch_window(w, w->key_states[slot].head - 1);
        }
    }
    return STATUS_OK;
}

static enum status look_up(struct windows *w, uint32_t first, uint32_t n)
{
    if (w->keys.integer) {
        return look_up_numbers(w, &w->events->segments[w->segment].columns[w->keys.columns[0]], first, n);
    }
    enum status st = STATUS_OK;
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        st = windows_key(w, (struct event_ref){w->segment, first + i}, &w->slots[i]);
        if (st == STATUS_OK && w->slots[i] != KEY_NULL && w->key_states[w->slots[i]].head != NO_WINDOW) {
            prefetch_window(w, w->key_states[w->slots[i]].head - 1);
        }
    }
    return st;
}

/* ------------------------------------------------------------------ the one window of a key */

static enum status global_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin)
{
    uint32_t id = w->key_states[slot].head - 1;
    enum status st = STATUS_OK;
    if (id + 1 == NO_WINDOW) {
        st = windows_open(w, slot, NO_WINDOW, (struct span){TIME_MIN, TIME_MAX}, &id);
    }
    if (st == STATUS_OK) {
        st = windows_add(w, id, e);
    }
    return st == STATUS_OK ? windows_triggered(w, id, t, origin) : st;
}

/* Windows side by side, or slices: mostly a row goes to the latest one of its key, which is that of the row before, too, and makes nothing
 * fire. The window is there, so the row is not late. */
static inline bool is_latest(const struct windows *w, uint32_t slot, event_time_t t, uint32_t *id)
{
    if (slot == KEY_NULL || t < w->recent.start || t >= w->recent.end) {
        return false;
    }
    const struct window_key *k = &w->key_states[slot];
    *id = k->head - 1;
    return k->head != NO_WINDOW && k->start == w->recent.start && w->recent.end - 1 > w->watermark;
}

/* ------------------------------------------------------------------ all of them */

static void set_aside(struct windows *w, uint32_t row, enum window_aside why)
{
    w->asides[w->n_asides++] = (struct aside){row, (uint32_t)why};
    w->counters.aside[why]++;
}

static enum status step_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin)
{
    enum window_aside aside = ASIDE_KINDS;
    enum status st = STATUS_OK;
    if (slot == KEY_NULL) {
        aside = ASIDE_NULL_KEY;
    } else {
        switch (w->spec.kind) {
        case WINDOW_GRID:
            st = windows_grid_row(w, slot, e, t, origin, &aside);
            break;
        case WINDOW_SESSION:
            st = windows_session_row(w, slot, e, t, origin, &aside);
            break;
        case WINDOW_COUNT:
            st = windows_count_row(w, slot, e, t, origin);
            break;
        case WINDOW_SLIDING_COUNT:
            st = windows_sliding_count_row(w, slot, e, t, origin);
            break;
        case WINDOW_GLOBAL:
            st = global_row(w, slot, e, t, origin);
            break;
        }
    }
    if (aside != ASIDE_KINDS) {
        set_aside(w, e.row, aside);
    }
    return st;
}

/* Watermarks before a row: most of them make nothing fire. */
static inline enum status advance_to(struct windows *w, uint64_t origin, const uint64_t *mark_origins, const event_time_t *mark_times,
                                     uint32_t n_marks, uint32_t *mark)
{
    uint32_t at = *mark;
    for (; at < n_marks && mark_origins[at] < origin; at++) {
        if (LIKELY(mark_times[at] < timers_next(&w->timers))) {
            w->watermark = mark_times[at];
            continue;
        }
        const enum status st = windows_advance(w, mark_times[at], mark_origins[at]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    *mark = at;
    return STATUS_OK;
}

enum status windows_step(struct windows *w, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                         const event_time_t *mark_times, uint32_t n_marks)
{
    const struct segment *g = &w->events->segments[segment];
    const event_time_t *times = g->times;
    const uint32_t n_rows = g->n_rows;
    void *asides = w->asides;
    enum status st = arena_reserve(w->arena, &asides, &w->asides_capacity, (uint64_t)w->n_asides + n_rows, sizeof *w->asides);
    w->asides = asides;
    w->segment = segment;
    if (st == STATUS_OK) {
        st = windows_forget_whole(w);
    }
    w->direct = w->tumbles || (w->sliced && w->spec.grid.size % w->spec.grid.slide == 0 && w->watermark >= w->old_until);
    uint32_t mark = 0;
    for (uint32_t first = 0; st == STATUS_OK && first < n_rows; first += WINDOW_BLOCK) {
        const uint32_t n = n_rows - first < WINDOW_BLOCK ? n_rows - first : WINDOW_BLOCK;
        st = look_up(w, first, n);
        for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
            const uint32_t row = first + i;
            st = advance_to(w, origins[row], mark_origins, mark_times, n_marks, &mark);
            uint32_t id;
            if (UNLIKELY(st != STATUS_OK)) {
                break;
            }
            if (LIKELY(w->direct && is_latest(w, w->slots[i], times[row], &id))) {
                st = windows_add(w, id, (struct event_ref){segment, row});
            } else {
                st = step_row(w, w->slots[i], (struct event_ref){segment, row}, times[row], origins[row]);
            }
        }
        w->counters.rows += n;
        windows_trim_keys(w);
    }
    if (st == STATUS_OK) {
        st = advance_to(w, UINT64_MAX, mark_origins, mark_times, n_marks, &mark);
    }
    if (st == STATUS_OK) {
        st = windows_flush(w);
    }
    if (st == STATUS_OK) {
        windows_trim_keys(w);
    }
    return st;
}
