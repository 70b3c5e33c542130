/* Rows in order of arrival: the watermarks before them, the key's slot, the windows. */
#include "windows.h"

#include <string.h>

/* ------------------------------------------------------------------ grids */

static struct window_place *place_of(struct windows *w, int64_t number)
{
    struct window_place *place = &w->places[(uint64_t)number % WINDOW_PLACES];
    if (UNLIKELY(!place->known || place->number != number)) {
        *place = (struct window_place){.number = number, .span = grid_span(&w->spec.grid, number),
                                       .group = window_groups_find(&w->groups, number), .known = true};
    }
    return place;
}

/* The number of the window that began last: mostly that of the row before. */
static int64_t number_of(struct windows *w, event_time_t t)
{
    const struct grid *g = &w->spec.grid;
    if (LIKELY(w->recent.start <= t && t < w->recent.end)) {
        return w->recent_number;
    }
    w->recent_number = grid_number(g, t);
    w->recent.start = grid_span(g, w->recent_number).start;
    w->recent.end = w->recent_number == INT64_MAX ? TIME_MAX : grid_span(g, w->recent_number + 1).start;
    return w->recent_number;
}

static enum status open_group(struct windows *w, struct window_place *place)
{
    enum status st = window_groups_open(&w->groups, place->number, place->span, &place->group);
    if (st == STATUS_OK) {
        st = timers_reserve_owners(&w->timers, place->group + 1);
    }
    if (st == STATUS_OK) {
        w->groups.groups[place->group].past = place->span.end - 1 <= w->watermark;
        st = windows_schedule_group(w, place->group);
    }
    return st;
}

enum status windows_join_group(struct windows *w, uint32_t id, int64_t number)
{
    struct window_place *place = place_of(w, number);
    if (place->group == NO_GROUP) {
        const enum status st = open_group(w, place);
        if (st != STATUS_OK) {
            return st;
        }
    }
    struct window *p = window_at(w, id);
    struct window_group *g = &w->groups.groups[place->group];
    p->group = place->group;
    p->group_next = g->first;
    g->first = id + 1;
    g->n_panes++;
    return STATUS_OK;
}

/* A window of the key, after `prev` in its chain. */
static enum status open_pane(struct windows *w, uint32_t slot, uint32_t prev, const struct window_place *place, uint32_t *id)
{
    const enum status st = windows_open(w, slot, prev, place->span, id);
    if (st != STATUS_OK) {
        return st;
    }
    window_at(w, *id)->past = place->span.end - 1 <= w->watermark;
    return w->grouped ? windows_join_group(w, *id, place->number) : windows_schedule(w, *id);
}

/* Windows side by side: mostly a row goes to the latest window of its key, which is that of the row before, too. */
static inline bool is_latest(const struct windows *w, uint32_t slot, event_time_t t, uint32_t *id)
{
    const uint32_t head = w->key_states[slot].head;
    *id = head - 1;
    return w->spec.grid.slide == w->spec.grid.size && w->recent.start <= t && t < w->recent.end && head != NO_WINDOW &&
           window_at(w, head - 1)->start == w->recent.start;
}

static enum status grid_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin, enum window_aside *aside)
{
    uint32_t latest;
    if (LIKELY(is_latest(w, slot, t, &latest))) { /* it is there, so it is not gone */
        const enum status st = windows_add(w, latest, e);
        return st != STATUS_OK || (w->spec.trigger == TRIGGER_END && !window_at(w, latest)->past)
                   ? st
                   : windows_triggered(w, latest, t, origin);
    }
    uint32_t at = w->key_states[slot].head, prev = NO_WINDOW;
    *aside = time_add(t, w->spec.lateness) <= w->watermark ? ASIDE_LATE : ASIDE_NO_WINDOW;
    /* From the latest start to the earliest: once one is gone, those before it are too. */
    for (int64_t number = number_of(w, t);; number--) {
        struct window_place *place = place_of(w, number);
        if (place->span.end <= t || window_gone(w, place->span.end) <= w->watermark) {
            return STATUS_OK;
        }
        const struct window *p = NULL;
        while (at != NO_WINDOW) {
            p = window_at(w, at - 1);
            if (p->start < place->span.start || (p->start == place->span.start && p->end <= place->span.end)) {
                break;
            }
            prev = at;
            at = p->next;
        }
        uint32_t id = at - 1;
        enum status st = STATUS_OK;
        if (at == NO_WINDOW || p->start != place->span.start || p->end != place->span.end) {
            st = open_pane(w, slot, prev, place, &id);
        }
        if (st == STATUS_OK) {
            st = windows_add(w, id, e);
        }
        if (st == STATUS_OK) {
            st = windows_triggered(w, id, t, origin);
        }
        if (st != STATUS_OK) {
            return st;
        }
        *aside = ASIDE_KINDS;
        at = id + 1;
        if (number == INT64_MIN) {
            return STATUS_OK;
        }
    }
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
            st = grid_row(w, slot, e, t, origin, &aside);
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

#define AHEAD 16

/* Most watermarks set nothing free. */
static inline enum status advance(struct windows *w, event_time_t watermark, uint64_t origin)
{
    if (LIKELY(watermark < timers_next(&w->timers) && watermark != TIME_MAX)) {
        w->watermark = watermark;
        return STATUS_OK;
    }
    return windows_advance(w, watermark, origin);
}

/* The slots of keys that are there already, else NO_SLOT; others than whole numbers are not looked for. What the look-ups touch is read
 * level by level, so that the misses of one level overlap. */
static void find_keys(const struct windows *w, uint32_t segment, uint32_t first, uint32_t n, uint32_t *slots)
{
    const struct keyspace *k = &w->keys;
    const struct column *c = k->integer ? &w->events->segments[segment].columns[k->columns[0]] : NULL;
    if (c == NULL || k->n_slots == 0 || c->valid != NULL) {
        for (uint32_t i = 0; i < n; i++) {
            slots[i] = NO_SLOT;
        }
        return;
    }
    const int64_t *numbers = (const int64_t *)c->data + first;
    uint64_t hashes[AHEAD];
    for (uint32_t i = 0; i < n; i++) {
        hashes[i] = keyspace_hash(numbers[i]);
        slots[i] = *keyspace_entry(k, hashes[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        touch(&k->slots[slots[i] - (slots[i] != 0)]);
    }
    for (uint32_t i = 0; i < n; i++) {
        slots[i] = keyspace_find(k, hashes[i], numbers[i]);
    }
}

/* Reads the latest window of each key, in the same way: mostly the one that the row goes to. */
static void warm_windows(const struct windows *w, const uint32_t *slots, uint32_t n)
{
    if (w->n_records == 0) {
        return;
    }
    const size_t state = w->stride - 1;
    uint32_t heads[AHEAD];
    for (uint32_t i = 0; i < n; i++) {
        heads[i] = slots[i] == KEY_NULL ? NO_WINDOW : w->key_states[slots[i]].head;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct window *p = window_at(w, heads[i] - (heads[i] != NO_WINDOW));
        touch(p);
        touch(window_contents(p));
        touch((const char *)p + state);
    }
}

enum status windows_step(struct windows *w, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                         const event_time_t *mark_times, uint32_t n_marks)
{
    const struct segment *g = &w->events->segments[segment];
    const uint32_t n_rows = g->n_rows;
    void *asides = w->asides;
    enum status st = arena_reserve(w->arena, &asides, &w->asides_capacity, (uint64_t)w->n_asides + n_rows, sizeof *w->asides);
    w->asides = asides;
    uint32_t mark = 0;
    for (uint32_t first = 0; st == STATUS_OK && first < n_rows; first += WINDOW_BLOCK) {
        const uint32_t n = n_rows - first < WINDOW_BLOCK ? n_rows - first : WINDOW_BLOCK;
        for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
            if (i % AHEAD == 0) {
                find_keys(w, segment, first + i, n - i < AHEAD ? n - i : AHEAD, w->slots + i);
            }
            if (w->slots[i] == NO_SLOT) {
                st = windows_key(w, (struct event_ref){segment, first + i}, &w->slots[i]);
            }
        }
        for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
            const uint32_t row = first + i;
            if (i % AHEAD == 0) {
                warm_windows(w, w->slots + i, n - i < AHEAD ? n - i : AHEAD);
            }
            for (; st == STATUS_OK && mark < n_marks && mark_origins[mark] < origins[row]; mark++) {
                st = advance(w, mark_times[mark], mark_origins[mark]);
            }
            if (st == STATUS_OK) {
                w->counters.rows++;
                st = step_row(w, w->slots[i], (struct event_ref){segment, row}, g->times[row], origins[row]);
            }
        }
        windows_trim_keys(w);
    }
    for (; st == STATUS_OK && mark < n_marks; mark++) {
        st = advance(w, mark_times[mark], mark_origins[mark]);
    }
    if (st == STATUS_OK) {
        windows_trim_keys(w);
    }
    return st;
}
