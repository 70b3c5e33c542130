/* Which windows a time falls into. A grid numbers its windows from the epoch: window k is [start(k), start(k) + size), so that a
 * time lies in the window that began last and in those before it that have not ended yet; in none, where the grid has gaps.
 *
 * Grids are of fixed width (nanoseconds), or of whole days of a time zone: then they begin when its clock shows midnight (plus the
 * offset), and a day has 23 or 25 hours where the clock changes. A zone is the list of its offsets to UTC, each with the time from which
 * it holds. A day begins when the clock first shows its begin or more: at the jump, if the clock jumps over it; the first time, if it is
 * set back over it.
 * Divisions go to the floor, and bounds beyond the range of times saturate. O(1), with zones O(log changes).
 */
#ifndef FYKE_WINDOW_ASSIGN_H
#define FYKE_WINDOW_ASSIGN_H

#include "base.h"

#define DAY_NS INT64_C(86400000000000)
/* No zone has ever been further than this from UTC. */
#define ZONE_FURTHEST (2 * DAY_NS)

struct zone {
    uint32_t n; /* 0: no zone */
    const event_time_t *from; /* ascending, the first is TIME_MIN */
    const int64_t *offset;    /* local time less UTC, ns, from then on */
};

struct grid {
    int64_t size;   /* ns; with a zone whole days */
    int64_t slide;  /* from one start to the next; larger than size: gaps */
    int64_t offset; /* of the start of window 0 from the epoch (of the zone: its midnight of 1970-01-01) */
    struct zone zone;
};

struct span {
    event_time_t start, end; /* the end is exclusive */
};

static inline int64_t floor_div(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

static inline event_time_t time_clamp(__int128 t)
{
    return t < TIME_MIN ? TIME_MIN : t > TIME_MAX ? TIME_MAX : (event_time_t)t;
}

/* The place of the offset that holds at t. */
static inline uint32_t zone_at(const struct zone *z, event_time_t t)
{
    uint32_t low = 0, high = z->n; /* from[low] <= t < from[high] */
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (z->from[middle] <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* When the clock of the zone first shows this local time or a later one. */
static inline event_time_t zone_shown(const struct zone *z, __int128 local)
{
    for (uint32_t i = zone_at(z, time_clamp(local - ZONE_FURTHEST)); i < z->n; i++) {
        const __int128 shown = local - z->offset[i];
        const __int128 begin = shown < z->from[i] ? z->from[i] : shown;
        if (i + 1 == z->n || begin < z->from[i + 1]) {
            return time_clamp(begin);
        }
    }
    return TIME_MAX;
}

static inline int64_t floor_div_wide(__int128 a, int64_t b)
{
    return (int64_t)(a / b - (a % b < 0));
}

/* The number of the window that began last, at or before t. */
static inline int64_t grid_number(const struct grid *g, event_time_t t)
{
    const __int128 from = (__int128)t - g->offset;
    if (g->zone.n > 0) {
        int64_t number = floor_div_wide(from + g->zone.offset[zone_at(&g->zone, t)], g->slide);
        while (zone_shown(&g->zone, ((__int128)number + 1) * g->slide + g->offset) <= t && t < TIME_MAX) {
            number++; /* the clock has been set back over the start */
        }
        return number;
    }
    return LIKELY(from >= TIME_MIN && from <= TIME_MAX) ? floor_div((int64_t)from, g->slide) : floor_div_wide(from, g->slide);
}

static inline struct span grid_span(const struct grid *g, int64_t number)
{
    const __int128 start = (__int128)number * g->slide + g->offset;
    if (g->zone.n > 0) {
        return (struct span){zone_shown(&g->zone, start), zone_shown(&g->zone, start + g->size)};
    }
    return (struct span){time_clamp(start), time_clamp(start + g->size)};
}

/* Windows that share a time, or the end of one and the start of the other, are one session. */
static inline bool span_touches(struct span a, struct span b)
{
    return a.start <= b.end && a.end >= b.start;
}

#endif
