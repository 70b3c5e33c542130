/* Overlapping windows of a grid put together from slices: the rows between two places where some window begins or ends. A row is added once,
 * however many windows it is in, and a window is what its slices say when it ends.
 *
 *   windows of 6 every 2      |------------|                  slices of a key, the latest first, in its chain
 *                                  |------------|             before `pivot` each holds itself and all that follow up to the pivot,
 *   slices                    [  ][  ][  ]|[  ][  ]           from there on only itself; `back` holds those from the pivot to `reached`,
 *                                       pivot  reached        the end of the last window that came out
 *
 * So a window of many slices is its oldest slice and `back`: when all slices before the pivot are over, the pivot moves to `reached`, and
 * what lies behind it is added up once (two stacks). Few slices are merged one by one, and then there is no pivot.
 *
 * A key with slices stands in the group of the window that ends next for it, and goes on to the group of the one after. A row that comes
 * late for the next window takes the key to an earlier group; what it leaves behind there says nothing any more (`next` is another one).
 *
 * After a restore the windows that were open then are windows of their own until they end: those numbered from `first_sliced` on are not.
 */
#include "windows.h"

#define FEW 8   /* slices that are merged one by one when a pivot has been passed */
#define MANY 16 /* slices that are worth a pivot */
#define KEYS 32 /* that end a window together: their slices fit the nearest cache */

static struct window *slice_at(const struct windows *w, uint32_t at)
{
    return window_at(w, at - 1);
}

/* The slice that t falls into, in the window `number` that began last. */
static struct span slice_span(const struct windows *w, int64_t number, event_time_t t)
{
    const struct grid *g = &w->spec.grid;
    const __int128 start = (__int128)number * g->slide + g->offset, cut = start + g->size % g->slide;
    if (cut > start && t < cut) {
        return (struct span){time_clamp(start), time_clamp(cut)};
    }
    return (struct span){time_clamp(cut), time_clamp(start + g->slide)};
}

int64_t windows_first_of(const struct windows *w, struct span slice)
{
    const struct grid *g = &w->spec.grid;
    const int64_t number = grid_number(g, slice.start), rest = g->size % g->slide;
    const event_time_t cut = time_clamp((__int128)number * g->slide + g->offset + rest);
    const int64_t before = g->size / g->slide - (rest == 0 || slice.end > cut);
    const int64_t first = time_sub(number, before);
    return first > w->first_sliced ? first : w->first_sliced;
}

/* The first window that the watermark has not ended. */
static int64_t first_open(const struct windows *w)
{
    const struct grid *g = &w->spec.grid;
    const __int128 from = (__int128)w->watermark + 1 - g->size - g->offset;
    return time_clamp(from / g->slide - (from % g->slide < 0) + 1);
}

static enum status register_key(struct windows *w, uint32_t slot, int64_t number)
{
    uint32_t group;
    w->slice_keys[slot].next = number;
    return windows_enter_group(w, number, (struct window_pane){slot, NO_PANE}, &group);
}

/* ------------------------------------------------------------------ rows */

static enum status open_slice(struct windows *w, uint32_t slot, uint32_t prev, struct span span, uint32_t *at)
{
    enum status st = windows_open(w, slot, prev, span, at);
    if (st != STATUS_OK) {
        return st;
    }
    struct slice_key *k = &w->slice_keys[slot];
    window_at(w, *at)->part = PART_SLICE;
    w->counters.opened--; /* a slice is no window */
    w->n_slices++;
    if (k->oldest == prev) {
        k->oldest = *at + 1;
    }
    if (k->back != NO_WINDOW && span.start < k->pivot && prev != NO_WINDOW && slice_at(w, prev)->start < k->pivot) {
        st = windows_merge(w, *at, prev - 1);
    }
    ++*at;
    int64_t next = windows_first_of(w, span);
    if (st != STATUS_OK || next >= k->next) {
        return st;
    }
    const int64_t open = first_open(w);
    next = next > open ? next : open;
    return next < k->next ? register_key(w, slot, next) : STATUS_OK;
}

enum status windows_slice_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, int64_t number)
{
    const struct span span = slice_span(w, number, t);
    struct slice_key *k = &w->slice_keys[slot];
    uint32_t at = w->key_states[slot].head, prev = NO_WINDOW;
    while (prev != k->oldest && slice_at(w, at)->start > span.start) {
        prev = at;
        at = slice_at(w, at)->next;
    }
    enum status st = STATUS_OK;
    if (prev == k->oldest || slice_at(w, at)->start != span.start) {
        st = open_slice(w, slot, prev, span, &at);
        k = &w->slice_keys[slot];
    }
    if (st == STATUS_OK) {
        st = windows_add(w, at - 1, e);
    }
    if (k->back == NO_WINDOW || span.start >= k->reached) {
        return st;
    }
    if (span.start >= k->pivot) {
        return st == STATUS_OK ? windows_add(w, k->back - 1, e) : st;
    }
    while (st == STATUS_OK && at != k->oldest) {
        at = slice_at(w, at)->next;
        st = windows_add(w, at - 1, e);
    }
    return st;
}

/* ------------------------------------------------------------------ what a window holds */

/* The latest slice before `end`. */
static uint32_t latest_before(const struct windows *w, uint32_t slot, event_time_t end)
{
    uint32_t at = w->key_states[slot].head;
    while (slice_at(w, at)->start >= end) {
        at = slice_at(w, at)->next;
    }
    return at;
}

/* From `newest` to the oldest, as far as it matters. */
static uint32_t count_slices(const struct windows *w, uint32_t newest, uint32_t oldest)
{
    uint32_t n = 1;
    for (uint32_t at = newest; at != oldest && n <= MANY; at = slice_at(w, at)->next) {
        n++;
    }
    return n;
}

static enum status drop_back(struct windows *w, struct slice_key *k)
{
    const uint32_t back = k->back;
    k->back = NO_WINDOW;
    return back == NO_WINDOW ? STATUS_OK : windows_release(w, back - 1);
}

/* Each slice up to `end` takes in what follows it. */
static enum status stack(struct windows *w, uint32_t slot, uint32_t newest, event_time_t end)
{
    struct slice_key *k = &w->slice_keys[slot];
    enum status st = STATUS_OK;
    if (k->back == NO_WINDOW) {
        uint32_t id;
        st = windows_borrow(w, slot, &id);
        if (st != STATUS_OK) {
            return st;
        }
        k->back = id + 1;
    } else {
        st = windows_empty(w, k->back - 1);
    }
    k->pivot = k->reached = end;
    for (uint32_t at = newest; st == STATUS_OK && at != k->oldest; at = slice_at(w, at)->next) {
        st = windows_merge(w, slice_at(w, at)->next - 1, at - 1);
    }
    return st;
}

/* A record put together of all from `newest` to the oldest. */
static enum status gather(struct windows *w, uint32_t slot, uint32_t newest, uint32_t oldest, uint32_t *id)
{
    enum status st = windows_borrow(w, slot, id);
    for (uint32_t at = newest; st == STATUS_OK; at = slice_at(w, at)->next) {
        st = windows_merge(w, *id, at - 1);
        if (at == oldest) {
            break;
        }
    }
    return st;
}

/* The record with the contents of the key's window that ends next, at `end`; of PART_SUM if it has been borrowed. */
static enum status contents(struct windows *w, uint32_t slot, event_time_t end, uint32_t *id)
{
    struct slice_key *k = &w->slice_keys[slot];
    const uint32_t newest = latest_before(w, slot, end);
    *id = k->oldest - 1;
    enum status st = STATUS_OK;
    if (newest == k->oldest && k->back == NO_WINDOW) {
        return STATUS_OK;
    }
    if (k->back == NO_WINDOW || slice_at(w, k->oldest)->start >= k->pivot) {
        const uint32_t n = count_slices(w, newest, k->oldest);
        if (n > (k->back == NO_WINDOW ? MANY : FEW)) {
            return stack(w, slot, newest, end);
        }
        st = drop_back(w, k);
        return st == STATUS_OK && n > 1 ? gather(w, slot, newest, k->oldest, id) : st;
    }
    for (uint32_t at = newest; st == STATUS_OK && slice_at(w, at)->start >= k->reached; at = slice_at(w, at)->next) {
        st = windows_merge(w, k->back - 1, at - 1);
    }
    k->reached = end;
    if (st != STATUS_OK || agg_rows(window_contents(slice_at(w, k->back))) == 0) {
        return st;
    }
    st = gather(w, slot, k->oldest, k->oldest, id);
    return st == STATUS_OK ? windows_merge(w, *id, k->back - 1) : st;
}

/* ------------------------------------------------------------------ ends */

/* Slices that are in no window after this one go, the next one starts then; the key waits for the next of its windows. */
static enum status go_on(struct windows *w, uint32_t slot, int64_t number, event_time_t start)
{
    struct slice_key *k = &w->slice_keys[slot];
    enum status st = STATUS_OK;
    while (st == STATUS_OK && k->oldest != NO_WINDOW && slice_at(w, k->oldest)->start < start) {
        const uint32_t id = k->oldest - 1;
        k->oldest = window_at(w, id)->prev;
        w->n_slices--;
        st = windows_close(w, id);
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (k->oldest == NO_WINDOW) {
        k->next = NO_NUMBER;
        return drop_back(w, k);
    }
    const struct window *p = slice_at(w, k->oldest);
    const int64_t first = windows_first_of(w, (struct span){p->start, p->end});
    return register_key(w, slot, first > number ? first : number + 1);
}

/* Brings the slices of some keys near, as many as are merged one by one: the n-th of all keys before the next, so that they come at once. */
static void warm(const struct windows *w, const struct window_due *due, uint32_t n)
{
    uint32_t at[KEYS];
    for (uint32_t i = 0; i < n; i++) {
        at[i] = w->key_states[due[i].slot].head;
        __builtin_prefetch(slice_at(w, at[i]), 1);
    }
    for (uint32_t step = 0; step < FEW; step++) {
        for (uint32_t i = 0; i < n; i++) {
            if (at[i] != NO_WINDOW) {
                const struct window *p = slice_at(w, at[i]);
                __builtin_prefetch(window_contents(p), 1);
                at[i] = p->next;
                if (p->next != NO_WINDOW) {
                    __builtin_prefetch(slice_at(w, p->next), 1);
                }
            }
        }
    }
}

static enum status end_block(struct windows *w, const struct window_due *due, uint32_t n, int64_t number, struct span span, uint64_t origin,
                             event_time_t time)
{
    const void *states[KEYS] = {NULL};
    uint32_t ids[KEYS];
    const event_time_t next = grid_span(&w->spec.grid, number + 1).start;
    enum status st = STATUS_OK;
    warm(w, due, n);
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        st = contents(w, due[i].slot, span.end, &ids[i]);
        states[i] = window_contents(window_at(w, ids[i]));
    }
    if (st == STATUS_OK) {
        st = windows_tell(w, due, states, n, span, origin, time);
    }
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        if (window_at(w, ids[i])->part == PART_SUM) {
            st = windows_release(w, ids[i]);
        }
        if (st == STATUS_OK) {
            st = go_on(w, due[i].slot, number, next);
        }
    }
    w->counters.opened += n;
    return st;
}

enum status windows_end_slices(struct windows *w, int64_t number, struct span span, uint64_t origin, event_time_t time)
{
    enum status st = windows_flush(w);
    uint32_t n = 0; /* of those that are still to come: a key may stand there twice, one after the other */
    for (uint32_t i = 0; i < w->n_due; i++) {
        if (w->slice_keys[w->due[i].slot].next == number && (n == 0 || w->due[n - 1].slot != w->due[i].slot)) {
            w->due[n++] = w->due[i];
        }
    }
    for (uint32_t first = 0; st == STATUS_OK && first < n; first += KEYS) {
        st = end_block(w, w->due + first, n - first < KEYS ? n - first : KEYS, number, span, origin, time);
    }
    return st;
}
