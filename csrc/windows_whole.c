/* Windows that are put together from slices, seen one by one: for snapshots, for counts, and their invariants. */
#include "windows.h"

static struct window *slice_at(const struct windows *w, uint32_t at)
{
    return window_at(w, at - 1);
}

/* ------------------------------------------------------------------ how many */

/* The windows of a key that have not ended: those from `next` on that some slice is in. */
static uint64_t open_of(const struct windows *w, uint32_t slot)
{
    const struct slice_key *k = &w->slice_keys[slot];
    const struct grid *g = &w->spec.grid;
    uint64_t n = 0;
    int64_t upto = k->next - 1;
    for (uint32_t at = k->oldest; at != NO_WINDOW; at = slice_at(w, at)->prev) {
        const struct window *p = slice_at(w, at);
        const int64_t first = windows_first_of(w, (struct span){p->start, p->end}), last = grid_number(g, p->start);
        const int64_t from = first > upto ? first : upto + 1;
        if (last >= from) {
            n += (uint64_t)(last - from) + 1;
            upto = last;
        }
    }
    return n;
}

uint64_t windows_count_sliced(const struct windows *w)
{
    uint64_t n = 0;
    for (uint32_t i = 0; w->n_slices > 0 && i < w->keys.table_size; i++) {
        if (w->keys.table[i] != 0 && w->slice_keys[w->keys.table[i] - 1].oldest != NO_WINDOW) {
            n += open_of(w, w->keys.table[i] - 1);
        }
    }
    return n;
}

/* ------------------------------------------------------------------ one by one */

/* An empty record that stands for a window of a key until windows_forget_whole. */
static enum status make(struct windows *w, uint32_t slot, struct span span, uint32_t *id)
{
    void *made = w->made;
    enum status st = arena_reserve(w->arena, &made, &w->made_capacity, (uint64_t)w->n_made + 1, sizeof *w->made);
    w->made = made;
    if (st == STATUS_OK) {
        st = windows_borrow(w, slot, id);
    }
    if (st == STATUS_OK) {
        struct window *p = window_at(w, *id);
        p->start = span.start;
        p->end = span.end;
        p->fire = NEVER;
        p->part = PART_WINDOW;
        w->made[w->n_made++] = *id;
    }
    return st;
}

/* Takes in the slices from the one at *at back to those that start at `from`; *at is then the one before. */
static enum status take_down_to(struct windows *w, uint32_t into, uint32_t *at, event_time_t from, uint32_t oldest)
{
    enum status st = STATUS_OK;
    while (st == STATUS_OK && *at != NO_WINDOW && slice_at(w, *at)->start >= from) {
        st = windows_merge(w, into, *at - 1);
        *at = *at == oldest ? NO_WINDOW : slice_at(w, *at)->next;
    }
    return st;
}

/* The windows of a key from the last to the next. `sum` runs along over the slices from the newest one down; it serves those windows that
 * hold the newest, and begin where slices hold only themselves. */
static enum status make_windows(struct windows *w, uint32_t slot, uint32_t sum)
{
    const struct slice_key *k = &w->slice_keys[slot];
    const struct grid *g = &w->spec.grid;
    const uint32_t newest = w->key_states[slot].head;
    const event_time_t newest_end = slice_at(w, newest)->end;
    uint32_t summed = newest, front = newest;
    enum status st = STATUS_OK;
    for (int64_t number = grid_number(g, slice_at(w, newest)->start); st == STATUS_OK && number >= k->next; number--) {
        const struct span span = grid_span(g, number);
        const bool piled = k->back != NO_WINDOW && span.start < k->pivot;
        uint32_t id, at = newest;
        while (at != NO_WINDOW && slice_at(w, at)->start >= span.end) {
            at = at == k->oldest ? NO_WINDOW : slice_at(w, at)->next;
        }
        if (at == NO_WINDOW) {
            break;
        }
        if (slice_at(w, at)->start < span.start) { /* between two slices far apart */
            number = grid_number(g, slice_at(w, at)->start) + 1;
            continue;
        }
        st = make(w, slot, span, &id);
        if (st == STATUS_OK && !piled && span.end >= newest_end) {
            st = take_down_to(w, sum, &summed, span.start, k->oldest);
            st = st == STATUS_OK ? windows_merge(w, id, sum) : st;
        } else if (st == STATUS_OK) {
            st = take_down_to(w, id, &at, !piled ? span.start : k->reached, k->oldest);
        }
        if (st == STATUS_OK && piled) {
            while (front != k->oldest && slice_at(w, slice_at(w, front)->next)->start >= span.start) {
                front = slice_at(w, front)->next;
            }
            st = windows_merge(w, id, k->back - 1);
            if (st == STATUS_OK && slice_at(w, front)->start >= span.start && slice_at(w, front)->start < k->pivot) {
                st = windows_merge(w, id, front - 1);
            }
        }
    }
    return st;
}

enum status windows_make_whole(struct windows *w)
{
    enum status st = windows_forget_whole(w);
    for (uint32_t i = 0; st == STATUS_OK && w->n_slices > 0 && i < w->keys.table_size; i++) {
        const uint32_t slot = w->keys.table[i] - 1;
        if (w->keys.table[i] == 0 || w->slice_keys[slot].oldest == NO_WINDOW) {
            continue;
        }
        uint32_t sum;
        st = windows_borrow(w, slot, &sum);
        if (st == STATUS_OK) {
            st = make_windows(w, slot, sum);
            const enum status released = windows_release(w, sum);
            st = st == STATUS_OK ? released : st;
        }
    }
    return st;
}

enum status windows_forget_whole(struct windows *w)
{
    enum status st = STATUS_OK;
    while (st == STATUS_OK && w->n_made > 0) {
        st = windows_release(w, w->made[--w->n_made]);
    }
    return st;
}

/* ------------------------------------------------------------------ invariants */

static bool is_registered(const struct windows *w, uint32_t slot, int64_t number)
{
    const uint32_t id = window_groups_find(&w->groups, number);
    for (uint32_t i = 0; id != NO_GROUP && i < w->groups.groups[id].n_panes; i++) {
        if (w->groups.groups[id].panes[i].slot == slot) {
            return true;
        }
    }
    return false;
}

const char *windows_check_slices(const struct windows *w, uint32_t slot, uint32_t *n_slices, uint32_t *n_backs)
{
    const struct slice_key *k = &w->slice_keys[slot];
    if (k->oldest == NO_WINDOW) {
        return k->next == NO_NUMBER && k->back == NO_WINDOW ? NULL : "a key without slices waits for a window";
    }
    if (!is_registered(w, slot, k->next)) {
        return "a key is not in the group of its next window";
    }
    const struct window *oldest = slice_at(w, k->oldest);
    if (windows_first_of(w, (struct span){oldest->start, oldest->end}) > k->next || grid_span(&w->spec.grid, k->next).start > oldest->start) {
        return "the next window of a key is not the first of its oldest slice";
    }
    const struct window *later = NULL;
    for (uint32_t at = w->key_states[slot].head;; at = slice_at(w, at)->next) {
        const struct window *p = slice_at(w, at);
        if (p->part != PART_SLICE || (later != NULL && p->end > later->start)) {
            return "slices of a key overlap, or there are other windows between them";
        }
        later = p;
        ++*n_slices;
        if (at == k->oldest) {
            break;
        }
    }
    if (k->back != NO_WINDOW) {
        const struct window *back = slice_at(w, k->back);
        ++*n_backs;
        if (!back->in_use || back->part != PART_SUM || back->slot != slot || k->pivot > k->reached) {
            return "what follows the pivot of a key is not its own";
        }
    }
    return NULL;
}
