/* Windows of rows, in order of arrival: every n, or the last n after every m.
 *
 * The latter are put together from slices, rows between two places where some window begins or ends, so that a row is added once. With m > n
 * rows between two windows are in none. If the end of the input shall bring out the last n as well, a window can begin at every row, so
 * that each is a slice. The newest slice of a key also counts its rows (`end`); it may be empty.
 */
#include "windows.h"

enum status windows_count_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin)
{
    uint32_t id = w->key_states[slot].head - 1;
    enum status st = STATUS_OK;
    if (id + 1 == NO_WINDOW) {
        st = windows_open(w, slot, NO_WINDOW, (struct span){1, 0}, &id);
    }
    if (st == STATUS_OK) {
        st = windows_add(w, id, e);
    }
    if (st == STATUS_OK && ++window_at(w, id)->end == w->spec.grid.size) {
        st = windows_emit(w, id, origin, t, true);
        return st == STATUS_OK ? windows_close(w, id) : st;
    }
    return st;
}

/* The last row of the window that comes out next when so many rows have come. */
static int64_t next_end(const struct windows *w, int64_t rows)
{
    const int64_t every = w->spec.grid.slide;
    return (rows + every - 1) / every * every;
}

/* One result of all rows after `after`, the oldest first. */
static enum status emit_after(struct windows *w, uint32_t slot, int64_t after, event_time_t t, uint64_t origin)
{
    uint32_t whole, at = w->key_states[slot].head;
    enum status st = windows_borrow(w, slot, &whole);
    if (st != STATUS_OK) {
        return st;
    }
    while (window_at(w, at - 1)->next != NO_WINDOW) {
        at = window_at(w, at - 1)->next;
    }
    for (; st == STATUS_OK && at != NO_WINDOW; at = window_at(w, at - 1)->prev) {
        if (window_at(w, at - 1)->start > after) {
            st = windows_merge(w, whole, at - 1);
        }
    }
    if (st == STATUS_OK) {
        st = windows_emit(w, whole, origin, t, true);
    }
    const enum status released = windows_release(w, whole);
    return st == STATUS_OK ? released : st;
}

/* Drops what no later window holds: rows up to `upto`. */
static enum status drop(struct windows *w, uint32_t slot, int64_t upto)
{
    const uint32_t newest = w->key_states[slot].head - 1;
    enum status st = STATUS_OK;
    for (uint32_t at = window_at(w, newest)->next; st == STATUS_OK && at != NO_WINDOW;) {
        const struct window *p = window_at(w, at - 1);
        const uint32_t next = p->next;
        if (p->start <= upto) {
            st = windows_close(w, at - 1);
        }
        at = next;
    }
    return st == STATUS_OK && window_at(w, newest)->start <= upto ? windows_empty(w, newest) : st;
}

/* The slice for the row after `rows`, which is in the window that ends next. */
static enum status slice_of(struct windows *w, uint32_t slot, int64_t rows, uint32_t *id)
{
    const int64_t n = w->spec.grid.size, every = w->spec.grid.slide;
    struct window *p = window_at(w, *id);
    if (agg_rows(window_contents(p)) == 0) {
        p->start = rows + 1;
        return STATUS_OK;
    }
    if (!w->spec.closes && rows % every != 0 && (rows + n) % every != 0) {
        return STATUS_OK;
    }
    return windows_open(w, slot, NO_WINDOW, (struct span){rows + 1, rows}, id);
}

enum status windows_sliding_count_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin)
{
    const int64_t n = w->spec.grid.size, every = w->spec.grid.slide;
    uint32_t id = w->key_states[slot].head - 1;
    enum status st = STATUS_OK;
    if (id + 1 == NO_WINDOW) {
        st = windows_open(w, slot, NO_WINDOW, (struct span){1, 0}, &id);
    }
    if (st != STATUS_OK) {
        return st;
    }
    const int64_t rows = window_at(w, id)->end + 1, end = next_end(w, rows);
    if (w->spec.closes || rows > end - n) {
        st = slice_of(w, slot, rows - 1, &id);
        if (st == STATUS_OK) {
            st = windows_add(w, id, e);
        }
        if (st == STATUS_OK) {
            st = windows_flush(w); /* whether a slice is empty is asked at the next row */
        }
        if (st != STATUS_OK) {
            return st;
        }
    }
    window_at(w, id)->end = rows;
    if (rows != end) {
        return STATUS_OK;
    }
    st = emit_after(w, slot, end - n, t, origin);
    return st == STATUS_OK ? drop(w, slot, end - n + (w->spec.closes ? 1 : every)) : st;
}

enum status windows_count_rest(struct windows *w, uint32_t id, uint64_t origin)
{
    const struct window *p = window_at(w, id);
    const uint32_t slot = p->slot;
    enum status st = STATUS_OK;
    if (w->spec.kind == WINDOW_COUNT) {
        st = windows_emit(w, id, origin, TIME_MAX, true);
    } else if (p->end != next_end(w, p->end)) {
        st = emit_after(w, slot, p->end - w->spec.grid.size, TIME_MAX, origin);
    }
    while (st == STATUS_OK && w->key_states[slot].head != NO_WINDOW) {
        st = windows_close(w, w->key_states[slot].head - 1);
    }
    return st;
}
