/* Grids: a row is in the windows that its time falls into, those of a number share a group. */
#include "windows.h"

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

enum status windows_enter_group(struct windows *w, int64_t number, struct window_pane pane, uint32_t *group)
{
    struct window_place *place = place_of(w, number);
    if (place->group == NO_GROUP) {
        const enum status st = open_group(w, place);
        if (st != STATUS_OK) {
            return st;
        }
    }
    *group = place->group;
    return window_groups_add(&w->groups, place->group, pane);
}

enum status windows_join_group(struct windows *w, uint32_t id, int64_t number)
{
    struct window *p = window_at(w, id);
    return windows_enter_group(w, number, (struct window_pane){p->slot, id}, &p->group);
}

void windows_forget_group(struct windows *w, uint32_t group)
{
    w->places[(uint64_t)w->groups.groups[group].number % WINDOW_PLACES].known = false;
    window_groups_close(&w->groups, group);
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

enum status windows_grid_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin,
                             enum window_aside *aside)
{
    uint32_t at = w->key_states[slot].head, prev = NO_WINDOW;
    int64_t number = number_of(w, t);
    *aside = time_add(t, w->spec.lateness) <= w->watermark ? ASIDE_LATE : ASIDE_NO_WINDOW;
    if (w->sliced && number >= w->first_sliced) {
        if (place_of(w, number)->span.end - 1 <= w->watermark) {
            return STATUS_OK;
        }
        const enum status st = windows_slice_row(w, slot, e, t, number);
        *aside = ASIDE_KINDS;
        if (st != STATUS_OK || w->watermark >= w->old_until) {
            return st;
        }
        number = w->first_sliced - 1;
        prev = w->slice_keys[slot].oldest; /* slices begin after windows that are not put together */
        at = window_at(w, prev - 1)->next;
    } else if (w->sliced && w->slice_keys[slot].oldest != NO_WINDOW) {
        prev = w->slice_keys[slot].oldest;
        at = window_at(w, prev - 1)->next;
    }
    /* From the latest start to the earliest: once one is gone, those before it are too. */
    for (;; number--) {
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
