/* Time: what a watermark makes fire, and what goes. Deadlines come in order, and at one deadline windows by (start, key), so that the
 * results do not depend on the order in which anything arrived.
 */
#include "windows.h"

#include <string.h>

/* ------------------------------------------------------------------ deadlines */

/* When the window fires next by itself, if it does. A firing that is due before `watermark` moves to the last one that is: what would come
 * out in between is the same. */
static bool next_firing(const struct windows *w, const struct window *p, event_time_t watermark, event_time_t *when)
{
    const bool timed = window_spec_timed(&w->spec);
    const bool ends = timed && !p->past;
    if (timed) {
        *when = window_last(p);
    }
    if (w->spec.trigger != TRIGGER_CONTINUOUS) {
        return w->spec.trigger == TRIGGER_END && ends;
    }
    if (!p->armed || (timed && *when <= watermark)) {
        return p->armed || ends;
    }
    if (!ends || p->fire < *when) {
        *when = p->fire;
    }
    if (*when < watermark) {
        *when += (event_time_t)(((__int128)watermark - *when) / w->spec.trigger_n * w->spec.trigger_n);
    }
    return true;
}

static bool next_deadline(const struct windows *w, const struct window *p, event_time_t watermark, event_time_t *when)
{
    const bool fires = next_firing(w, p, watermark, when);
    if (window_spec_timed(&w->spec)) {
        const event_time_t gone = window_gone(w, p->end);
        *when = fires && *when < gone ? *when : gone;
        return true;
    }
    return fires;
}

/* A timer may be early, never late: it is asked again when it goes off. */
enum status windows_schedule(struct windows *w, uint32_t id)
{
    event_time_t when;
    const uint32_t place = w->timers.place[id];
    if (!next_deadline(w, window_at(w, id), TIME_MIN, &when) || (place != NO_TIMER && w->timers.heap[place].deadline <= when)) {
        return STATUS_OK;
    }
    return timers_set(&w->timers, id, when, w->births++);
}

enum status windows_schedule_group(struct windows *w, uint32_t id)
{
    const struct window_group *g = &w->groups.groups[id];
    const bool fires = w->spec.trigger == TRIGGER_END && !g->past;
    return timers_set(&w->timers, id, fires ? g->span.end - 1 : window_gone(w, g->span.end), w->births++);
}

/* The time of a result: its deadline, or the first time that is not late, if the deadline had passed before there was a row. */
static event_time_t told(const struct windows *w, event_time_t deadline)
{
    return deadline <= w->watermark ? time_add(w->watermark, 1) : deadline;
}

/* A firing: at its end the window is complete; the early ones go on. */
static enum status fire(struct windows *w, uint32_t id, event_time_t deadline, bool ends, bool final, uint64_t origin)
{
    struct window *p = window_at(w, id);
    p->past = p->past || ends;
    if (w->spec.trigger == TRIGGER_CONTINUOUS && p->fire != NEVER) {
        const event_time_t next = time_add(deadline, w->spec.trigger_n);
        p->fire = window_spec_timed(&w->spec) && next > window_last(p) ? window_last(p) : next;
        p->armed = !ends;
    }
    return windows_emit(w, id, origin, told(w, deadline), final);
}

/* What the window has to do at its deadline. */
static enum status meet(struct windows *w, uint32_t id, event_time_t deadline, event_time_t watermark, uint64_t origin)
{
    const struct window *p = window_at(w, id);
    const bool timed = window_spec_timed(&w->spec);
    const bool goes = timed && window_gone(w, p->end) == deadline;
    const bool ends = timed && window_last(p) == deadline;
    event_time_t when;
    enum status st = STATUS_OK;
    if (next_firing(w, p, watermark, &when) && when == deadline) {
        st = fire(w, id, deadline, ends, w->spec.purges || (goes && !w->spec.closes), origin);
    }
    if (st == STATUS_OK && goes && w->spec.closes) {
        st = windows_emit(w, id, origin, told(w, deadline), true);
    }
    if (st == STATUS_OK && goes) {
        return windows_close(w, id);
    }
    return st == STATUS_OK && !w->grouped ? windows_schedule(w, id) : st;
}

static enum status push_group(struct windows *w, uint32_t id)
{
    const struct window_group *g = &w->groups.groups[id];
    void *groups = w->due_groups;
    enum status st = arena_reserve(w->arena, &groups, &w->due_groups_capacity, (uint64_t)w->n_due_groups + 1, sizeof *w->due_groups);
    w->due_groups = groups;
    if (st == STATUS_OK) {
        w->due_groups[w->n_due_groups++] = id;
        st = windows_reserve_due(w, (uint64_t)w->n_due + g->n_panes);
    }
    for (uint32_t i = 0; st == STATUS_OK && i < g->n_panes; i++) {
        const struct window_pane pane = g->panes[i];
        w->due[w->n_due++] = (struct window_due){g->span.start, windows_rank(w, pane.slot), pane.id, pane.slot};
    }
    return st;
}

static enum status settle_group(struct windows *w, uint32_t id)
{
    struct window_group *g = &w->groups.groups[id];
    if (w->spec.trigger == TRIGGER_END && !g->past && window_gone(w, g->span.end) > g->span.end - 1) {
        g->past = true;
        return windows_schedule_group(w, id);
    }
    windows_forget_group(w, id);
    return STATUS_OK;
}

/* Windows that are put together from slices end one after the other, also those that the range of times lets end together: the next ones are
 * known only then. */
static enum status due_slices(struct windows *w, event_time_t deadline)
{
    w->n_due = 0;
    w->n_due_groups = 0;
    uint32_t least = w->timers.heap[0].owner;
    for (uint32_t i = 1; deadline == TIME_MAX - 1 && i < w->timers.n; i++) {
        const uint32_t owner = w->timers.heap[i].owner;
        if (w->timers.heap[i].deadline == deadline && w->groups.groups[owner].number < w->groups.groups[least].number) {
            least = owner;
        }
    }
    timers_cancel(&w->timers, least);
    const enum status st = push_group(w, least);
    return st == STATUS_OK ? windows_sort_due(w) : st;
}

/* One of the children of the root goes off next. */
static void prefetch_next(const struct windows *w)
{
    for (uint32_t i = 1; i <= 4 && i < w->timers.n; i++) {
        __builtin_prefetch(window_at(w, w->timers.heap[i].owner));
    }
}

static enum status due_at(struct windows *w, event_time_t deadline, event_time_t watermark)
{
    w->n_due = 0;
    w->n_due_groups = 0;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && w->timers.n > 0 && w->timers.heap[0].deadline == deadline) {
        const uint32_t owner = w->timers.heap[0].owner;
        event_time_t when;
        if (!w->grouped) {
            prefetch_next(w);
        }
        if (!w->grouped && next_deadline(w, window_at(w, owner), watermark, &when)) {
            if (when != deadline) { /* it was early: what the window waits for has moved on */
                timers_move(&w->timers, owner, when);
                continue;
            }
            st = windows_push_due(w, owner, window_at(w, owner)->start);
        } else if (w->grouped) {
            st = push_group(w, owner);
        }
        timers_cancel(&w->timers, owner);
    }
    return st == STATUS_OK ? windows_sort_due(w) : st;
}

/* At the end of the input come windows that no time ends, if they have something to say. */
static enum status finish(struct windows *w, uint64_t origin)
{
    const bool fires = w->spec.trigger == TRIGGER_END || w->spec.trigger == TRIGGER_CONTINUOUS;
    w->n_due = 0;
    enum status st = STATUS_OK;
    for (uint32_t i = 0; st == STATUS_OK && (fires || w->spec.closes) && i < w->n_records; i++) {
        const struct window *p = window_at(w, i);
        if (p->in_use && p->prev == NO_WINDOW) { /* of a count window's slices the newest */
            st = windows_push_due(w, i, p->armed ? p->fire : TIME_MAX); /* by time, as always */
        }
    }
    st = st == STATUS_OK ? windows_sort_due(w) : st;
    for (uint32_t i = 0; st == STATUS_OK && i < w->n_due; i++) {
        const uint32_t id = w->due[i].window;
        if (w->spec.kind != WINDOW_GLOBAL) {
            st = windows_count_rest(w, id, origin);
            continue;
        }
        st = windows_emit(w, id, origin, w->due[i].start, true);
        if (st == STATUS_OK) {
            st = windows_close(w, id);
        }
    }
    return st;
}

enum status windows_advance(struct windows *w, event_time_t watermark, uint64_t origin)
{
    enum status st = STATUS_OK;
    if (watermark == TIME_MAX && !window_spec_timed(&w->spec)) {
        st = finish(w, origin);
        w->watermark = watermark;
        return st;
    }
    while (w->timers.n > 0 && w->timers.heap[0].deadline <= watermark) {
        const event_time_t deadline = w->timers.heap[0].deadline;
        st = w->sliced ? due_slices(w, deadline) : due_at(w, deadline, watermark);
        const struct window_group *g = w->sliced ? &w->groups.groups[w->due_groups[0]] : NULL;
        if (st == STATUS_OK && g != NULL && g->number >= w->first_sliced) {
            st = windows_end_slices(w, g->number, g->span, origin, told(w, deadline));
        } else if (st == STATUS_OK && w->ends) {
            st = windows_conclude(w, w->due, w->n_due, origin, told(w, deadline));
        }
        for (uint32_t i = 0; st == STATUS_OK && !w->ends && i < w->n_due; i++) {
            st = meet(w, w->due[i].window, deadline, watermark, origin);
        }
        for (uint32_t i = 0; st == STATUS_OK && i < w->n_due_groups; i++) {
            st = settle_group(w, w->due_groups[i]);
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    w->watermark = watermark;
    return st;
}
