/* What windows to make, when they fire, and when they go: read from bytes that src/fyke/operators/windowed.py wrote, then immutable.
 *
 *   u32 kind, trigger, flags, gap_column; i64 size, slide, offset, lateness, trigger_n; u32 n_changes; n_changes x (i64 from, i64 offset)
 *
 * A session's gap is `size`, or, per row, the column `gap_column`. A window of n rows every m: n is `size`, m is `slide`.
 */
#ifndef FYKE_WINDOW_SPEC_H
#define FYKE_WINDOW_SPEC_H

#include "arena.h"
#include "window_assign.h"

enum window_kind {
    WINDOW_GRID = 0,    /* tumbling, hopping */
    WINDOW_SESSION = 1,
    WINDOW_COUNT = 2,   /* every n rows */
    WINDOW_SLIDING_COUNT = 3, /* the last n rows, every m */
    WINDOW_GLOBAL = 4,
};

enum window_trigger {
    TRIGGER_END = 0,        /* when the watermark reaches end - 1, then at each late row; a global window: at the end of the input */
    TRIGGER_CONTINUOUS = 1, /* besides, at multiples of trigger_n ns */
    TRIGGER_COUNT = 2,      /* at every trigger_n-th row, and not at the end */
    TRIGGER_NEVER = 3,
};

enum window_flags {
    WINDOW_PURGES = 1,  /* what fires is emptied */
    WINDOW_CLOSES = 2,  /* a window that goes with something in it says so in one last row */
    WINDOW_SLICES = 4,  /* windows that overlap are put together from slices where only their end brings a result */
    WINDOW_FLAGS = 7,
};

#define NO_COLUMN UINT32_MAX

struct window_spec {
    struct arena *arena;
    enum window_kind kind;
    enum window_trigger trigger;
    bool purges;
    bool closes;
    bool slices;
    uint32_t gap_column; /* NO_COLUMN: the gap is fixed */
    struct grid grid;    /* size: the gap too, and the number of rows; slide: every so many rows */
    int64_t lateness;
    int64_t trigger_n;
    event_time_t *zone_from;
    int64_t *zone_offset;
};

/* Loads and validates; n_columns and types are the plan's. On failure `reason` says what is wrong and nothing is held. */
MUST_CHECK enum status window_spec_load(struct window_spec *s, struct arena *arena, const uint8_t *bytes, size_t size, uint32_t n_columns,
                                        const uint8_t *column_types, const char **reason);
void window_spec_free(struct window_spec *s);

/* Windows that belong to a time: a watermark makes them fire and go. */
static inline bool window_spec_timed(const struct window_spec *s)
{
    return s->kind == WINDOW_GRID || s->kind == WINDOW_SESSION;
}

#endif
