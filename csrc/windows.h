/* Windows over keyed rows: which are open, what is in them, when they fire and go.
 *
 *   row -> key slot -> the key's windows, the latest start first -> state of the aggregates, in the window's record
 *   watermark -> timers -> windows that are due, by (time, start, key) -> a row of results each
 *
 * A window here is one of one key (a pane). In a grid those of one number form a group and share a timer; sessions and early firings
 * have a timer each, which may be early: what is due is asked when it goes off. Rows count at once, in the order of arrival: a row is
 * judged under the watermark before it, and what it makes fire comes out before the next row.
 *
 * Nothing stays of what is gone: a window's record is reused, a key without windows leaves the dictionary (not at once: some that were
 * there lately are kept, for they are most likely to come back; never more than were live at the same time, or 1,024).
 *
 * O(1) a row and a window that it is in, O(log n) a timer. A failure (no memory) leaves all consistent for windows_free and nothing else.
 */
#ifndef FYKE_WINDOWS_H
#define FYKE_WINDOWS_H

#include "agg_log.h"
#include "aggregate.h"
#include "key_columns.h"
#include "timers.h"
#include "window_groups.h"
#include "window_spec.h"

/* Where a chain of records ends: ids are stored plus one. */
#define NO_WINDOW 0
#define NEVER TIME_MAX

/* The state of the aggregates follows, from a cache line on. Of a count window, start and end are the numbers of its first and its latest
 * row. */
struct window {
    event_time_t start, end;
    union {
        event_time_t fire; /* continuous: the next early firing; NEVER: none yet */
        int64_t count;     /* rows since the last firing */
    };
    uint32_t slot;       /* of the key; NO_SLOT: the record is free (`next`: another one) or stands for no key */
    uint32_t next, prev; /* of the key, by falling start; plus one */
    uint32_t group;      /* NO_GROUP: none */
    uint32_t revision;
    uint8_t past;  /* the end has been reached */
    uint8_t armed; /* `fire` is still to come */
    uint8_t in_use;
    uint8_t part;  /* enum window_part */
};

enum window_part {
    PART_WINDOW = 0,
    PART_SLICE = 1, /* of the windows of a key */
    PART_SUM = 2,   /* put together from others; in no chain */
};

#define WINDOW_HEAD 64
_Static_assert(sizeof(struct window) <= WINDOW_HEAD, "a window's state begins behind its head");

/* What a key has here beside its slot: one place in memory to look it up, and to find its window. */
struct window_key {
    int64_t number;                /* of a key of one integer: that */
    event_time_t start;            /* of a grid: of the window that starts last; of no meaning if there is none */
    uint32_t head;                 /* its window that starts last, plus one */
    uint32_t idle_next, idle_prev; /* slots plus one, among the keys without windows */
};

/* What a key has here if its windows are put together from slices (windows_slices.c). */
struct slice_key {
    int64_t next; /* the number of its window that ends next; NO_NUMBER: it has none */
    event_time_t pivot, reached;
    uint32_t oldest; /* slice plus one; NO_WINDOW: there is none */
    uint32_t back;   /* plus one; NO_WINDOW: no pivot */
};

#define NO_NUMBER INT64_MAX
#define NO_PANE UINT32_MAX

enum window_aside { ASIDE_LATE = 0, ASIDE_NO_WINDOW = 1, ASIDE_NULL_KEY = 2, ASIDE_NO_GAP = 3, ASIDE_KINDS = 4 };

/* A row that went into no window. */
struct aside {
    uint32_t row;
    uint32_t why;
};

/* A row of results, beside the key and the values. */
struct window_result {
    uint64_t origin;
    event_time_t time; /* in the stream */
    event_time_t start, end;
    uint32_t revision;
    uint32_t final;
};

struct window_due {
    event_time_t start;
    uint64_t rank; /* of the key */
    uint32_t window; /* NO_PANE: it is put together from slices */
    uint32_t slot;
};

/* A number of the grid that was looked up lately. */
struct window_place {
    int64_t number;
    struct span span;
    uint32_t group;
    bool known;
};

#define WINDOW_PLACES 16
#define WINDOW_BLOCK 64 /* rows that are looked up ahead: what they touch fits the nearest cache */
#define WINDOW_CHUNK 1024 /* records */

struct window_counters {
    uint64_t rows;
    uint64_t aside[ASIDE_KINDS];
    uint64_t results;
    uint64_t opened;
};

struct windows {
    struct arena *arena;
    const struct plan *plan;
    struct event_store *events;
    struct window_spec spec;
    struct agg_plan aggs;
    struct keyspace keys;
    event_time_t watermark;
    bool grouped;   /* timers belong to groups, else to windows */
    bool tumbles;   /* windows side by side, which give one result, at their end, or at once for a late row */
    bool direct;    /* a row goes into the latest record of its key, if that starts where the latest window of the grid does */
    bool ends;      /* a window's end is its end: one result, which is final, and nothing is told of it */
    bool sliced;    /* windows are put together from slices */
    bool logged;    /* what happens goes into `log` too */
    struct agg_log log;
    /* records */
    char **chunks;
    uint32_t n_chunks, chunks_capacity;
    uint32_t n_records, free_list; /* ever used; plus one */
    uint32_t n_open;
    size_t stride;
    /* keys */
    struct window_key *key_states;
    uint32_t keys_capacity;
    struct slice_key *slice_keys; /* if sliced */
    uint32_t slice_keys_capacity;
    uint32_t n_slices;
    int64_t first_sliced;   /* windows before are their own */
    event_time_t old_until; /* the last time in one of those; TIME_MIN: there never were any */
    uint32_t *made;         /* records that stand for windows of slices */
    uint32_t n_made, made_capacity;
    uint32_t idle_first, idle_last, n_idle; /* the first has been idle longest */
    uint32_t live_peak;
    uint32_t slots[WINDOW_BLOCK]; /* of the rows of the block */
    /* rows on their way into windows: many at once are added faster than one by one */
    uint32_t segment; /* of the rows that are taken now */
    uint32_t n_pending;
    struct agg_target pending[AGG_BLOCK];
    /* time */
    struct window_groups groups;
    struct window_place places[WINDOW_PLACES];
    int64_t recent_number; /* of the grid, for times of this span */
    struct span recent;
    struct timers timers;
    struct window_due *due, *due_spare;
    uint32_t n_due, due_capacity, due_spare_capacity;
    uint32_t *due_groups;
    uint32_t n_due_groups, due_groups_capacity;
    uint64_t births; /* ties of timers: their order is of no consequence */
    /* out */
    struct window_result *results;
    uint32_t n_results, results_capacity;
    struct key_columns result_keys;
    struct agg_columns result_values;
    struct aside *asides;
    uint32_t n_asides, asides_capacity;
    struct window_counters counters;
};

/* spec and aggregates as their headers have them; the plan's first keyspace is the key. On failure `reason` may say why; windows_free is due in
 * any case. */
MUST_CHECK enum status windows_init(struct windows *w, struct arena *arena, const struct plan *plan, struct event_store *events,
                                    const uint8_t *spec, size_t spec_size, const uint8_t *aggs, size_t aggs_size, bool logged,
                                    const char **reason);
void windows_free(struct windows *w);

/* Takes a segment's rows, and watermarks, in the order of their origins (ascending; a row comes before a mark of its origin). */
MUST_CHECK enum status windows_step(struct windows *w, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                                    const event_time_t *mark_times, uint32_t n_marks);
/* Forgets what has been found: it has been taken. */
void windows_clear(struct windows *w);
/* Puts a window back into a fresh module whose watermark has been set: key, bounds, `fire` or `count`, `armed` and `revision` are those of
 * `record`; the key is that of a row; state and refs are as agg_restore takes them. Windows come by (key, start, end).
 * STATUS_BAD_SNAPSHOT: no window can be so. */
MUST_CHECK enum status windows_restore(struct windows *w, struct event_ref key, const struct window *record, const uint8_t *state, size_t size,
                                       const struct event_ref *refs, uint32_t *id);
/* All windows by (key, start, end), in w->due, until windows_forget_whole. */
MUST_CHECK enum status windows_in_order(struct windows *w);
MUST_CHECK enum status windows_forget_whole(struct windows *w);
/* How many windows there are that have no record of their own. O(slices). */
uint64_t windows_count_sliced(const struct windows *w);
/* The invariants in words; NULL if they hold. */
const char *windows_check(const struct windows *w);

static inline struct window *window_at(const struct windows *w, uint32_t id)
{
    return (struct window *)(void *)(w->chunks[id / WINDOW_CHUNK] + (size_t)(id % WINDOW_CHUNK) * w->stride);
}

static inline void *window_state(struct window *p)
{
    return (char *)p + WINDOW_HEAD;
}

static inline const void *window_contents(const struct window *p)
{
    return (const char *)p + WINDOW_HEAD;
}

/* The last time that is in it: when the watermark is there it is complete. */
static inline event_time_t window_last(const struct window *p)
{
    return p->end - 1;
}

/* When a window that ends then is dropped. */
static inline event_time_t window_gone(const struct windows *w, event_time_t end)
{
    return time_add(end - 1, w->spec.lateness);
}

/* --- between the parts of the module */

/* windows.c: a key's slot, which is inserted; a window of it, after `prev` in its chain (NO_WINDOW: the first); its end. */
MUST_CHECK enum status windows_key(struct windows *w, struct event_ref e, uint32_t *slot);
void windows_trim_keys(struct windows *w);
MUST_CHECK enum status windows_open(struct windows *w, uint32_t slot, uint32_t prev, struct span span, uint32_t *id);
MUST_CHECK enum status windows_close(struct windows *w, uint32_t id);
/* A record for what is put together for one result of a key: empty, in no chain. */
MUST_CHECK enum status windows_borrow(struct windows *w, uint32_t slot, uint32_t *id);
MUST_CHECK enum status windows_release(struct windows *w, uint32_t id);
/* Empties a window. */
MUST_CHECK enum status windows_empty(struct windows *w, uint32_t id);
/* Adds the rows that wait. */
MUST_CHECK enum status windows_flush(struct windows *w);
/* The rows of `from` go into `into`. */
MUST_CHECK enum status windows_merge(struct windows *w, uint32_t into, uint32_t from);

/* windows_fire.c: a row of results, if there is anything in the window; what a row in the window brings about. */
MUST_CHECK enum status windows_emit(struct windows *w, uint32_t id, uint64_t origin, event_time_t time, bool final);
MUST_CHECK enum status windows_trigger(struct windows *w, uint32_t id, event_time_t t, uint64_t origin);
/* The only result of each of these, and they go; if w->ends. The latter: only the results, of states of theirs. */
MUST_CHECK enum status windows_conclude(struct windows *w, const struct window_due *due, uint32_t n, uint64_t origin, event_time_t time);
MUST_CHECK enum status windows_tell(struct windows *w, const struct window_due *due, const void *const *states, uint32_t n, struct span span,
                                    uint64_t origin, event_time_t time);

/* Mostly nothing. */
static inline enum status windows_triggered(struct windows *w, uint32_t id, event_time_t t, uint64_t origin)
{
    if (LIKELY(w->spec.trigger == TRIGGER_END && window_last(window_at(w, id)) > w->watermark)) {
        return STATUS_OK;
    }
    return windows_trigger(w, id, t, origin);
}

/* windows_order.c: w->due in order of (start, key, end); key_rank of a key of whole numbers without its slot. */
static inline uint64_t windows_rank(const struct windows *w, uint32_t slot)
{
    return w->keys.integer ? (uint64_t)w->key_states[slot].number ^ KEY_SIGN : key_rank(&w->keys, slot);
}
MUST_CHECK enum status windows_reserve_due(struct windows *w, uint64_t n);
MUST_CHECK enum status windows_push_due(struct windows *w, uint32_t id, event_time_t start);
MUST_CHECK enum status windows_sort_due(struct windows *w);

/* windows_time.c: what is due up to a watermark; a window's timer, if it has one of its own. */
MUST_CHECK enum status windows_advance(struct windows *w, event_time_t watermark, uint64_t origin);
MUST_CHECK enum status windows_schedule(struct windows *w, uint32_t id);
MUST_CHECK enum status windows_schedule_group(struct windows *w, uint32_t group);

/* windows_grid.c: makes a window that has just been opened one of the group of its number; the group is gone. */
MUST_CHECK enum status windows_join_group(struct windows *w, uint32_t id, int64_t number);
MUST_CHECK enum status windows_enter_group(struct windows *w, int64_t number, struct window_pane pane, uint32_t *group);
void windows_forget_group(struct windows *w, uint32_t group);

/* windows_grid.c, windows_session.c, windows_count.c: a row of a key. ASIDE_KINDS: it is in a window. */
MUST_CHECK enum status windows_grid_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin,
                                        enum window_aside *aside);
MUST_CHECK enum status windows_session_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin,
                                           enum window_aside *aside);
MUST_CHECK enum status windows_count_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin);
MUST_CHECK enum status windows_sliding_count_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin);
/* What a window of rows has not given out when the input ends. */
MUST_CHECK enum status windows_count_rest(struct windows *w, uint32_t id, uint64_t origin);

/* windows_slices.c: a row of a key in the window `number` and those before; the end of the window of the keys that are due; the first window
 * that a slice is in. */
MUST_CHECK enum status windows_slice_row(struct windows *w, uint32_t slot, struct event_ref e, event_time_t t, int64_t number);
MUST_CHECK enum status windows_end_slices(struct windows *w, int64_t number, struct span span, uint64_t origin, event_time_t time);
int64_t windows_first_of(const struct windows *w, struct span slice);

/* windows_whole.c: records for the windows that are put together from slices. */
MUST_CHECK enum status windows_make_whole(struct windows *w);
const char *windows_check_slices(const struct windows *w, uint32_t slot, uint32_t *n_slices, uint32_t *n_backs);

/* A row of the segment that is being taken goes into a window. It may wait: what looks into a window calls windows_flush before. */
MUST_CHECK static inline enum status windows_add(struct windows *w, uint32_t id, struct event_ref e)
{
    if (UNLIKELY(w->n_pending == AGG_BLOCK)) {
        const enum status st = windows_flush(w);
        if (st != STATUS_OK) {
            return st;
        }
    }
    w->pending[w->n_pending++] = (struct agg_target){window_state(window_at(w, id)), e.row};
    return UNLIKELY(w->logged) ? agg_log_write(&w->log, AGG_LOG_ADD, id, e.segment, e.row) : STATUS_OK;
}

#endif
