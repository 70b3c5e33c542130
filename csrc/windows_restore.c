/* Windows one by one: in an order that the state alone determines, put back from a snapshot, and checked. */
#include "windows.h"

/* ------------------------------------------------------------------ put back */

/* The window of the grid with these bounds; false if there is none. Bounds beyond the range of times are cut off there, so that several
 * windows begin at the first time: then the end tells them apart. */
static bool number_in_grid(const struct windows *w, struct span bounds, int64_t *number)
{
    const struct grid *g = &w->spec.grid;
    *number = bounds.start == TIME_MIN && g->zone.n == 0
                  ? floor_div_wide((__int128)bounds.end - g->size - g->offset, g->slide)
                  : grid_number(g, bounds.start);
    const struct span s = grid_span(g, *number);
    return s.start == bounds.start && s.end == bounds.end;
}

/* Whether a window of this kind can have these bounds beside the key's window before it. */
static bool fits(const struct windows *w, struct span bounds, const struct window *before)
{
    const int64_t size = w->spec.grid.size;
    if (before != NULL && bounds.start < before->start) {
        return false;
    }
    switch (w->spec.kind) {
    case WINDOW_GRID:
        return window_gone(w, bounds.end) > w->watermark && (before == NULL || before->start < bounds.start || before->end < bounds.end);
    case WINDOW_SESSION:
        return bounds.start < bounds.end && window_gone(w, bounds.end) > w->watermark && (before == NULL || before->end < bounds.start);
    case WINDOW_COUNT:
        return before == NULL && bounds.start == 1 && bounds.end > 0 && bounds.end < size;
    case WINDOW_SLIDING_COUNT:
        return bounds.start >= 1 && bounds.start - 1 <= bounds.end && bounds.end < INT64_MAX / 2 && (before == NULL || before->end == bounds.start - 1);
    case WINDOW_GLOBAL:
        return before == NULL && bounds.start == TIME_MIN && bounds.end == TIME_MAX;
    }
    return false;
}

static bool fires_well(const struct windows *w, const struct window *p, const struct window *record)
{
    if (w->spec.trigger == TRIGGER_COUNT) {
        return record->count >= 0 && record->count < w->spec.trigger_n && !record->armed;
    }
    if (w->spec.trigger != TRIGGER_CONTINUOUS) {
        return record->fire == NEVER && !record->armed;
    }
    return (record->fire != NEVER || !record->armed) && (record->fire == NEVER || !window_spec_timed(&w->spec) || record->fire < p->end);
}

/* Windows of rows hold as many as their bounds say; of slices only the newest can be empty, and then it is the only one. A window that
 * nothing empties was opened for a row. */
static bool holds_well(const struct windows *w, const struct window *p)
{
    const uint64_t rows = agg_rows(window_contents(p));
    if (w->spec.kind == WINDOW_SLIDING_COUNT && rows == 0) {
        return p->next == NO_WINDOW;
    }
    if (w->spec.kind != WINDOW_COUNT && w->spec.kind != WINDOW_SLIDING_COUNT) {
        return w->spec.purges || rows > 0;
    }
    const struct window *older = p->next == NO_WINDOW ? NULL : window_at(w, p->next - 1);
    return rows == (uint64_t)(p->end - p->start + 1) && (older == NULL || agg_rows(window_contents(older)) > 0);
}

static enum status settle(struct windows *w, uint32_t id, int64_t number)
{
    struct window *p = window_at(w, id);
    p->past = window_spec_timed(&w->spec) && window_last(p) <= w->watermark;
    if (w->grouped) {
        return windows_join_group(w, id, number);
    }
    return windows_schedule(w, id);
}

/* Slices cannot be told from a window, so this one stays whole, as do those before it. Those of the first of all times have no order of their
 * own among slices: then nothing is put together at all. */
static void keep_whole(struct windows *w, struct span bounds, int64_t number)
{
    if (w->first_sliced <= number) {
        w->first_sliced = number + 1;
    }
    if (bounds.start == TIME_MIN) {
        w->first_sliced = INT64_MAX;
        w->old_until = TIME_MAX;
    }
    w->old_until = bounds.end - 1 > w->old_until ? bounds.end - 1 : w->old_until;
}

enum status windows_restore(struct windows *w, struct event_ref key, const struct window *record, const uint8_t *state, size_t size,
                            const struct event_ref *refs, uint32_t *id)
{
    const struct span bounds = {record->start, record->end};
    int64_t number = 0;
    uint32_t slot;
    if (w->spec.kind == WINDOW_GRID && !number_in_grid(w, bounds, &number)) {
        return STATUS_BAD_SNAPSHOT;
    }
    enum status st = windows_key(w, key, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    if (slot == KEY_NULL) {
        return STATUS_BAD_SNAPSHOT;
    }
    const uint32_t head = w->key_states[slot].head;
    if (!fits(w, bounds, head == NO_WINDOW ? NULL : window_at(w, head - 1))) {
        return STATUS_BAD_SNAPSHOT;
    }
    st = windows_open(w, slot, NO_WINDOW, bounds, id);
    if (st != STATUS_OK) {
        return st;
    }
    struct window *p = window_at(w, *id);
    if (!fires_well(w, p, record)) {
        return STATUS_BAD_SNAPSHOT;
    }
    p->fire = record->fire;
    p->armed = record->armed;
    p->revision = record->revision;
    agg_free(&w->aggs, window_state(p), w->events);
    st = agg_restore(&w->aggs, window_state(p), w->events, state, size, refs);
    if (st != STATUS_OK) {
        agg_init(&w->aggs, window_state(p));
        return st;
    }
    if (w->sliced) {
        keep_whole(w, bounds, number);
    }
    return holds_well(w, p) ? settle(w, *id, number) : STATUS_BAD_SNAPSHOT;
}

/* ------------------------------------------------------------------ invariants */

static const char *check_chain(const struct windows *w, uint32_t slot, uint32_t *n)
{
    uint32_t prev = NO_WINDOW;
    const uint32_t slices = w->sliced ? w->slice_keys[slot].oldest : NO_WINDOW;
    bool past_slices = slices == NO_WINDOW;
    for (uint32_t at = w->key_states[slot].head; at != NO_WINDOW; at = window_at(w, at - 1)->next) {
        const struct window *p = window_at(w, at - 1);
        if (!p->in_use || p->slot != slot || p->prev != prev) {
            return "the windows of a key do not hang together";
        }
        if (prev != NO_WINDOW) {
            const struct window *later = window_at(w, prev - 1);
            past_slices = past_slices || prev == slices;
            if ((p->part == PART_SLICE) == past_slices) {
                return "slices and windows of a key are mixed up";
            }
            if (later->start < p->start || (later->start == p->start && later->end <= p->end)) {
                return "the windows of a key are out of order";
            }
            if (w->spec.kind == WINDOW_SESSION && p->end >= later->start) {
                return "two sessions of a key touch";
            }
        }
        prev = at;
        ++*n;
    }
    const struct window_key *k = &w->key_states[slot];
    if (w->keys.integer && k->number != w->keys.slots[slot].i64) {
        return "a key is not known by its number";
    }
    if (w->spec.kind == WINDOW_GRID && k->head != NO_WINDOW && k->start != window_at(w, k->head - 1)->start) {
        return "a key does not know when its latest window starts";
    }
    return NULL;
}

static const char *check_window(const struct windows *w, uint32_t id)
{
    const struct window *p = window_at(w, id);
    const bool timed = window_spec_timed(&w->spec);
    if (p->part != PART_WINDOW) {
        return agg_check(&w->aggs, window_contents(p), w->events);
    }
    if (timed && window_gone(w, p->end) <= w->watermark) {
        return "a window is there whose time is over";
    }
    const bool ends = w->spec.trigger == TRIGGER_END || w->spec.trigger == TRIGGER_CONTINUOUS;
    if (timed && ends && p->past != (window_last(p) <= w->watermark)) {
        return "a window does not know that its end has been reached";
    }
    if (w->grouped) {
        const struct window_group *g = p->group < w->groups.n_groups ? &w->groups.groups[p->group] : NULL;
        return g == NULL || !g->in_use || g->span.start != p->start || g->span.end != p->end ? "a window is in no group of its own" : NULL;
    }
    const bool timer = w->timers.place[id] != NO_TIMER;
    if (timer != (timed || p->armed)) {
        return "a window has a timer without need, or none";
    }
    return agg_check(&w->aggs, window_contents(p), w->events);
}

static const char *check_groups(const struct windows *w)
{
    uint32_t panes = 0;
    for (uint32_t i = 0; i < w->groups.n_groups; i++) {
        const struct window_group *g = &w->groups.groups[i];
        const bool sliced = w->sliced && g->number >= w->first_sliced;
        for (uint32_t k = 0; !sliced && k < g->n_panes; k++) {
            const struct window *p = window_at(w, g->panes[k].id);
            if (!p->in_use || p->group != i || p->slot != g->panes[k].slot) {
                return "a group has a window that is not its own";
            }
        }
        if (g->in_use ? g->n_panes == 0 || w->timers.place[i] == NO_TIMER : g->n_panes != 0) {
            return "a group has no window, or no timer";
        }
        panes += sliced ? 0 : g->n_panes;
    }
    if (panes != w->n_open - w->n_slices || w->timers.n != w->groups.n_live) {
        return "a window is in no group, or a timer belongs to none";
    }
    return window_groups_check(&w->groups);
}

const char *windows_check(const struct windows *w)
{
    uint32_t chained = 0, open = 0, idle = 0, armed = 0, slices = 0, sums = 0, backs = 0;
    for (uint32_t i = 0; i < w->keys.table_size; i++) {
        if (w->keys.table[i] != 0) {
            const char *reason = check_chain(w, w->keys.table[i] - 1, &chained);
            if (reason == NULL && w->sliced) {
                reason = windows_check_slices(w, w->keys.table[i] - 1, &slices, &backs);
            }
            if (reason != NULL) {
                return reason;
            }
            idle += w->key_states[w->keys.table[i] - 1].head == NO_WINDOW;
        }
    }
    for (uint32_t i = 0; i < w->n_records; i++) {
        if (window_at(w, i)->in_use) {
            const char *reason = check_window(w, i);
            if (reason != NULL) {
                return reason;
            }
            open += window_at(w, i)->part != PART_SUM;
            sums += window_at(w, i)->part == PART_SUM;
            armed += !w->grouped && w->timers.place[i] != NO_TIMER;
        }
    }
    if (slices != w->n_slices || sums != backs || w->n_made > 0) {
        return "slices, or what was put together from them, are counted wrong";
    }
    if (open != w->n_open || chained != open || idle != w->n_idle) {
        return "windows or keys without windows are counted wrong";
    }
    if (!w->grouped && armed != w->timers.n) {
        return "a timer belongs to no window";
    }
    const char *reason = w->grouped ? check_groups(w) : NULL;
    return reason != NULL ? reason : timers_check(&w->timers);
}
