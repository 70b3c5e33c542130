/* Sessions: a row brings a window of its own, [t, t + gap), which becomes one with those that it touches.
 *
 * Windows of a key never touch each other, so those that a new one touches stand next to each other in the chain, and a row makes at most
 * one window of them all. A window that is kept is never late, so neither is a row that touches it, however old it is.
 */
#include "windows.h"

static bool gap_of(const struct windows *w, struct event_ref e, int64_t *gap)
{
    *gap = w->spec.grid.size;
    if (w->spec.gap_column != NO_COLUMN) {
        const struct column *c = &w->events->segments[e.segment].columns[w->spec.gap_column];
        *gap = column_is_null(c, e.row) ? 0 : ((const int64_t *)c->data)[e.row];
    }
    return *gap > 0;
}

/* Takes `from` into `into`: what is in it, what is counted, and the firing that is next. */
static enum status absorb(struct windows *w, uint32_t into, uint32_t from)
{
    struct window *p = window_at(w, into);
    const struct window *q = window_at(w, from);
    p->start = q->start < p->start ? q->start : p->start;
    p->end = q->end > p->end ? q->end : p->end;
    if (w->spec.trigger == TRIGGER_COUNT) {
        p->count += q->count;
    } else if (q->fire < p->fire) {
        p->fire = q->fire;
    }
    const enum status st = windows_merge(w, into, from);
    return st == STATUS_OK ? windows_close(w, from) : st;
}

/* The window that all that `own` touches has become; NO_WINDOW: it touches nothing, and would stand after `prev`. */
static enum status join(struct windows *w, uint32_t slot, struct span own, uint32_t *id, uint32_t *prev)
{
    uint32_t at = w->key_states[slot].head;
    *prev = NO_WINDOW;
    while (at != NO_WINDOW && window_at(w, at - 1)->start > own.end) {
        *prev = at;
        at = window_at(w, at - 1)->next;
    }
    *id = at;
    if (at == NO_WINDOW || window_at(w, at - 1)->end < own.start) {
        *id = NO_WINDOW;
        return STATUS_OK;
    }
    struct window *p = window_at(w, at - 1);
    const struct span before = {p->start, p->end};
    while (p->next != NO_WINDOW && window_at(w, p->next - 1)->end >= own.start) {
        const enum status st = absorb(w, at - 1, p->next - 1);
        if (st != STATUS_OK) {
            return st;
        }
    }
    p->start = own.start < p->start ? own.start : p->start;
    p->end = own.end > p->end ? own.end : p->end;
    if (p->start == before.start && p->end == before.end) {
        return STATUS_OK;
    }
    const bool was_past = p->past;
    p->revision = 0;
    p->past = window_last(p) <= w->watermark;
    p->armed = w->spec.trigger == TRIGGER_CONTINUOUS && p->fire != NEVER;
    if (!was_past && w->spec.trigger != TRIGGER_CONTINUOUS) {
        return STATUS_OK; /* its timer is that of the end before, or earlier */
    }
    return windows_schedule(w, at - 1);
}

enum status windows_session_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin,
                                enum window_aside *aside)
{
    int64_t gap;
    if (!gap_of(w, e, &gap)) {
        *aside = ASIDE_NO_GAP;
        return STATUS_OK;
    }
    const struct span own = {t, time_add(t, gap)};
    uint32_t id, prev;
    enum status st = join(w, slot, own, &id, &prev);
    if (st == STATUS_OK && id == NO_WINDOW) {
        if (window_gone(w, own.end) <= w->watermark) {
            *aside = ASIDE_LATE;
            return STATUS_OK;
        }
        st = windows_open(w, slot, prev, own, &id);
        if (st == STATUS_OK) {
            window_at(w, id)->past = own.end - 1 <= w->watermark;
            st = windows_schedule(w, id++);
        }
    }
    if (st == STATUS_OK) {
        st = windows_add(w, id - 1, e);
    }
    return st == STATUS_OK ? windows_triggered(w, id - 1, t, origin) : st;
}
