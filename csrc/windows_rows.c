/* Rows in order of arrival: the watermarks before them, the key's slot, the windows. A block of rows at a time, so that keys are looked up
 * for all of them at once, and what the next rows will touch is on its way.
 */
#include "windows.h"

#include <string.h>

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

/* ------------------------------------------------------------------ watermarks */

/* Those of a step. Rows of origins up to `limit` come before the first one that makes something fire, so that they need no look at any. */
struct marks {
    const uint64_t *origins;
    const event_time_t *times;
    uint32_t n, at;     /* `at`: the next one */
    event_time_t next;  /* the deadline that `limit` is for */
    uint64_t limit;
};

static void find_limit(const struct windows *w, struct marks *m)
{
    uint32_t low = m->at, high = m->n;
    m->next = timers_next(&w->timers);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (m->times[middle] < m->next) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    m->limit = low < m->n ? m->origins[low] : UINT64_MAX;
}

/* Takes the watermarks before a row. */
static enum status catch_up(struct windows *w, struct marks *m, uint64_t origin)
{
    uint32_t at = m->at;
    for (; at < m->n && m->origins[at] < origin; at++) {
        if (LIKELY(m->times[at] < timers_next(&w->timers))) {
            w->watermark = m->times[at];
            continue;
        }
        const enum status st = windows_advance(w, m->times[at], m->origins[at]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    m->at = at;
    if (w->direct && timers_next(&w->timers) != m->next) {
        find_limit(w, m);
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ a block of rows */

struct block {
    struct marks marks;
    const event_time_t *times;
    const uint64_t *origins;
};

/* The way of a row that may open something, fire, or be late. */
static enum status take_row(struct windows *w, struct block *b, uint32_t slot, uint32_t row)
{
    enum status st = catch_up(w, &b->marks, b->origins[row]);
    if (st == STATUS_OK && slot == NO_SLOT) {
        st = windows_key(w, (struct event_ref){w->segment, row}, &slot);
    }
    if (st == STATUS_OK) {
        st = step_row(w, slot, (struct event_ref){w->segment, row}, b->times[row], b->origins[row]);
    }
    if (w->direct && timers_next(&w->timers) != b->marks.next) {
        find_limit(w, &b->marks);
    }
    return st;
}

/* Windows side by side, or slices: mostly a row goes to the latest one of its key, which is that of the row before, too, and makes nothing
 * fire. The window is there, so the row is not late; and had its end been reached, that would have made it fire, so the watermark would
 * tell. */
static inline bool is_latest(const struct windows *w, const struct window_key *k, event_time_t t)
{
    return w->recent.start <= t && t < w->recent.end && k->start == w->recent.start && k->head != NO_WINDOW && w->recent.end - 1 > w->watermark;
}

static inline enum status add_latest(struct windows *w, const struct window_key *k, uint32_t row)
{
    const uint32_t id = k->head - 1;
    __builtin_prefetch(window_contents(window_at(w, id)), 1);
    return windows_add(w, id, (struct event_ref){w->segment, row});
}

/* What a row touches first, unless it is only added to the window: then the state is enough. */
static inline void prefetch_latest(const struct windows *w, uint32_t slot)
{
    const uint32_t head = w->key_states[slot].head;
    if (head != NO_WINDOW) {
        const struct window *p = window_at(w, head - 1);
        __builtin_prefetch(p, 1);
        __builtin_prefetch(window_contents(p), 1);
    }
}

/* The slots of keys of one integer, NO_SLOT for new ones: what a look-up touches is fetched for all rows before the next thing, so that
 * cache misses overlap. */
static void find_numbers(struct windows *w, const struct column *c, uint32_t first, uint32_t n)
{
    const int64_t *numbers = (const int64_t *)c->data + first;
    const uint32_t *table = w->keys.table, mask = w->keys.table_size - 1;
    const bool direct = w->direct;
    uint32_t places[WINDOW_BLOCK];
    for (uint32_t i = 0; i < n; i++) {
        places[i] = (uint32_t)keyspace_hash(numbers[i]) & mask;
        __builtin_prefetch(&table[places[i]]);
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t entry = table[places[i]];
        if (entry != 0) {
            __builtin_prefetch(&w->key_states[entry - 1]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = places[i], entry;
        while ((entry = table[at]) != 0 && w->key_states[entry - 1].number != numbers[i]) {
            at = (at + 1) & mask;
        }
        w->slots[i] = entry - 1; /* of none: NO_SLOT */
        if (!direct && entry != 0) {
            prefetch_latest(w, entry - 1);
        }
    }
    for (uint32_t i = 0; c->valid != NULL && i < n; i++) {
        if (column_is_null(c, first + i)) {
            w->slots[i] = KEY_NULL;
        }
    }
}

static enum status find_keys(struct windows *w, uint32_t first, uint32_t n)
{
    if (w->keys.integer) {
        find_numbers(w, &w->events->segments[w->segment].columns[w->keys.columns[0]], first, n);
    }
    for (uint32_t i = 0; !w->keys.integer && i < n; i++) {
        const enum status st = windows_key(w, (struct event_ref){w->segment, first + i}, &w->slots[i]);
        if (st != STATUS_OK) {
            return st;
        }
        if (w->slots[i] != KEY_NULL) {
            prefetch_latest(w, w->slots[i]);
        }
    }
    return STATUS_OK;
}

static enum status take_block(struct windows *w, struct block *b, uint32_t first, uint32_t n)
{
    const enum status st = find_keys(w, first, n);
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t row = first + i, slot = w->slots[i];
        const bool latest = w->direct && slot < KEY_NULL && b->origins[row] <= b->marks.limit && is_latest(w, &w->key_states[slot], b->times[row]);
        const enum status taken = LIKELY(latest) ? add_latest(w, &w->key_states[slot], row) : take_row(w, b, slot, row);
        if (UNLIKELY(taken != STATUS_OK)) {
            return taken;
        }
    }
    return STATUS_OK;
}

enum status windows_step(struct windows *w, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                         const event_time_t *mark_times, uint32_t n_marks)
{
    const struct segment *g = &w->events->segments[segment];
    const uint32_t n_rows = g->n_rows;
    struct block b = {.marks = {.origins = mark_origins, .times = mark_times, .n = n_marks}, .times = g->times, .origins = origins};
    void *asides = w->asides;
    enum status st = arena_reserve(w->arena, &asides, &w->asides_capacity, (uint64_t)w->n_asides + n_rows, sizeof *w->asides);
    w->asides = asides;
    w->segment = segment;
    if (st == STATUS_OK) {
        st = windows_forget_whole(w);
    }
    w->direct = w->tumbles || (w->sliced && w->spec.grid.size % w->spec.grid.slide == 0 && w->watermark >= w->old_until);
    find_limit(w, &b.marks);
    for (uint32_t first = 0; st == STATUS_OK && first < n_rows; first += WINDOW_BLOCK) {
        const uint32_t n = n_rows - first < WINDOW_BLOCK ? n_rows - first : WINDOW_BLOCK;
        st = take_block(w, &b, first, n);
        w->counters.rows += n;
        windows_trim_keys(w);
    }
    if (st == STATUS_OK) {
        st = catch_up(w, &b.marks, UINT64_MAX);
    }
    if (st == STATUS_OK) {
        st = windows_flush(w);
    }
    if (st == STATUS_OK) {
        windows_trim_keys(w);
    }
    return st;
}
