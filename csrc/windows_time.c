/* Time: what a watermark makes fire, and what goes. Deadlines come in order, and at one deadline windows by (start, key), so that the
 * results do not depend on the order in which anything arrived.
 */
#include "windows.h"

#include <string.h>

/* ------------------------------------------------------------------ order */

static bool before(const struct windows *w, const struct window_due *a, const struct window_due *b)
{
    if (a->start != b->start) {
        return a->start < b->start;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank;
    }
    const struct window *p = window_at(w, a->window), *q = window_at(w, b->window);
    const int keys = key_compare(&w->keys, p->slot, q->slot);
    return keys != 0 ? keys < 0 : p->start != q->start ? p->start < q->start : p->end < q->end;
}

static enum status reserve_due(struct windows *w, uint64_t n)
{
    void *due = w->due;
    const enum status st = arena_reserve(w->arena, &due, &w->due_capacity, n, sizeof *w->due);
    w->due = due;
    return st;
}

/* `start` is what comes before the key in the order. */
static enum status push_due(struct windows *w, uint32_t id, event_time_t start)
{
    const enum status st = reserve_due(w, (uint64_t)w->n_due + 1);
    if (st == STATUS_OK) {
        w->due[w->n_due++] = (struct window_due){start, key_rank(&w->keys, window_at(w, id)->slot), id};
    }
    return st;
}

#define RUN 16
#define RANKED 128 /* from so many on digits are cheaper than comparisons */

static void swap_due(struct windows *w)
{
    struct window_due *due = w->due_spare;
    const uint32_t capacity = w->due_spare_capacity;
    w->due_spare = w->due;
    w->due_spare_capacity = w->due_capacity;
    w->due = due;
    w->due_capacity = capacity;
}

static void sort_run(const struct windows *w, struct window_due *items, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const struct window_due item = items[i];
        uint32_t at = i;
        while (at > 0 && before(w, &item, &items[at - 1])) {
            items[at] = items[at - 1];
            at--;
        }
        items[at] = item;
    }
}

static void merge_runs(const struct windows *w, const struct window_due *from, struct window_due *to, size_t n, size_t run)
{
    for (size_t low = 0; low < n; low += 2 * run) {
        const size_t middle = n - low > run ? low + run : n, high = n - low > 2 * run ? low + 2 * run : n;
        size_t i = low, k = middle;
        for (size_t out = low; out < high; out++) {
            to[out] = k >= high || (i < middle && !before(w, &from[k], &from[i])) ? from[i++] : from[k++];
        }
    }
}

/* By the digits of the rank in which they differ, the lowest first. */
static void sort_ranks(struct windows *w)
{
    uint64_t differ = 0;
    for (uint32_t i = 1; i < w->n_due; i++) {
        differ |= w->due[i].rank ^ w->due[0].rank;
    }
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        if ((differ >> shift & 0xff) == 0) {
            continue;
        }
        uint32_t places[256] = {0};
        for (uint32_t i = 0; i < w->n_due; i++) {
            places[w->due[i].rank >> shift & 0xff]++;
        }
        for (uint32_t digit = 0, sum = 0; digit < 256; digit++) {
            const uint32_t n = places[digit];
            places[digit] = sum;
            sum += n;
        }
        for (uint32_t i = 0; i < w->n_due; i++) {
            w->due_spare[places[w->due[i].rank >> shift & 0xff]++] = w->due[i];
        }
        swap_due(w);
    }
}

/* Ranks alone say the order: they are whole keys, and all windows begin at one time. */
static bool ranked(const struct windows *w)
{
    for (uint32_t i = 1; i < w->n_due; i++) {
        if (w->due[i].start != w->due[0].start) {
            return false;
        }
    }
    return w->keys.integer && w->grouped;
}

/* A merge sort from below: keys that were added in order stay cheap, and nothing has a bad case. */
static enum status sort_due(struct windows *w)
{
    if (w->n_due <= RUN) {
        sort_run(w, w->due, w->n_due);
        return STATUS_OK;
    }
    void *spare = w->due_spare;
    const enum status st = arena_reserve(w->arena, &spare, &w->due_spare_capacity, w->n_due, sizeof *w->due_spare);
    w->due_spare = spare;
    if (st != STATUS_OK) {
        return st;
    }
    if (w->n_due > RANKED && ranked(w)) {
        sort_ranks(w);
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < w->n_due; i += RUN) {
        sort_run(w, w->due + i, w->n_due - i < RUN ? w->n_due - i : RUN);
    }
    for (size_t run = RUN; run < w->n_due; run *= 2) {
        merge_runs(w, w->due, w->due_spare, w->n_due, run);
        swap_due(w);
    }
    return STATUS_OK;
}

enum status windows_in_order(struct windows *w)
{
    enum status st = STATUS_OK;
    w->n_due = 0;
    for (uint32_t i = 0; st == STATUS_OK && i < w->n_records; i++) {
        if (window_at(w, i)->in_use) {
            st = push_due(w, i, 0);
        }
    }
    return st == STATUS_OK ? sort_due(w) : st;
}

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
        st = reserve_due(w, (uint64_t)w->n_due + g->n_panes);
    }
    for (uint32_t at = g->first; st == STATUS_OK && at != NO_WINDOW; at = window_at(w, at - 1)->group_next) {
        st = push_due(w, at - 1, window_at(w, at - 1)->start);
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
    w->places[(uint64_t)g->number % WINDOW_PLACES].known = false;
    window_groups_close(&w->groups, id);
    return STATUS_OK;
}

static enum status due_at(struct windows *w, event_time_t deadline, event_time_t watermark)
{
    w->n_due = 0;
    w->n_due_groups = 0;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && w->timers.n > 0 && w->timers.heap[0].deadline == deadline) {
        const uint32_t owner = w->timers.heap[0].owner;
        timers_cancel(&w->timers, owner);
        if (w->grouped) {
            st = push_group(w, owner);
            continue;
        }
        event_time_t when;
        if (next_deadline(w, window_at(w, owner), watermark, &when)) {
            st = when == deadline ? push_due(w, owner, window_at(w, owner)->start) : timers_set(&w->timers, owner, when, w->births++);
        }
    }
    return st == STATUS_OK ? sort_due(w) : st;
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
            st = push_due(w, i, p->armed ? p->fire : TIME_MAX); /* by time, as always */
        }
    }
    st = st == STATUS_OK ? sort_due(w) : st;
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
        st = due_at(w, deadline, watermark);
        for (uint32_t i = 0; st == STATUS_OK && i < w->n_due; i++) {
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
