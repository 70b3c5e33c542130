/* Event payloads: immutable columnar segments, each a batch as it came in (or a compaction of what is left of several).
 *
 *   event_ref = (segment, row)        segments[segment] -> columns (borrowed pointers) + times + masks + `live`
 *
 * Rows stay where they are: the reorder buffer and the match graph hold event_refs. `live` counts these holders; a segment
 * whose count falls to zero is listed in `dead` and handed back by the owner of the buffers (Cython) after the push.
 * Columns hold only what conditions and keys read; everything else of a row stays with the owner.
 */
#ifndef FYKE_EVENT_STORE_H
#define FYKE_EVENT_STORE_H

#include "arena.h"
#include "base.h"

#include <string.h>

#define NO_SEGMENT UINT32_MAX /* of an event_ref: no event */

/* `data` points at row 0 (bool: one byte a row). `valid` is an Arrow bitmap starting at bit `valid_offset`, or NULL: no nulls. */
struct column {
    const void *data;
    const void *offsets; /* strings: n_rows + 1 offsets into data, int64 if wide, else int32 */
    const uint8_t *valid;
    int64_t valid_offset;
    uint8_t type;
    uint8_t wide;
};

struct str_view {
    const char *data;
    uint64_t size;
};

struct segment {
    struct column *columns;
    const event_time_t *times;
    const uint64_t *positions; /* arrival positions, ascending */
    uint64_t *masks;           /* row conditions, mask_words a row */
    uint64_t live;             /* references from the reorder buffer and the match graph */
    uint32_t n_rows;
    uint32_t in_use;
    uint32_t pinned; /* the owner is still adding rows: never listed as dead */
    uint32_t listed; /* already in `dead` */
};

struct event_ref {
    uint32_t segment;
    uint32_t row;
};

/* Called with each reference that somebody holds; it may point it elsewhere. */
typedef void (*event_visitor)(void *context, struct event_ref *e);

struct event_store {
    struct arena *arena;
    struct segment *segments;
    uint32_t n_segments;
    uint32_t capacity;
    uint32_t *dead;
    uint32_t n_dead;
    uint32_t dead_capacity;
    uint32_t n_columns;
    uint32_t mask_words;
    uint32_t first_free; /* no slot below it is free */
    uint64_t live; /* sum over segments */
};

void event_store_init(struct event_store *s, struct arena *arena, uint32_t n_columns, uint32_t mask_words);
void event_store_free(struct event_store *s);

/* Takes a free slot, cleared, with room for n_columns columns; reserves room in `dead`, so that releasing never fails. */
MUST_CHECK enum status event_store_open(struct event_store *s, uint32_t *id);
/* Gives the slot back; the caller owns the buffers and frees them itself. */
void event_store_close(struct event_store *s, uint32_t id);

static inline bool column_is_null(const struct column *c, uint32_t row)
{
    if (c->valid == NULL) {
        return false;
    }
    const uint64_t bit = (uint64_t)(c->valid_offset + row);
    return ((c->valid[bit >> 3] >> (bit & 7)) & 1) == 0;
}

static inline struct str_view column_str(const struct column *c, uint32_t row)
{
    struct str_view v;
    if (c->wide) {
        const int64_t *o = c->offsets;
        v.data = (const char *)c->data + o[row];
        v.size = (uint64_t)(o[row + 1] - o[row]);
    } else {
        const int32_t *o = c->offsets;
        v.data = (const char *)c->data + o[row];
        v.size = (uint64_t)(o[row + 1] - o[row]);
    }
    return v;
}

static inline int str_compare(struct str_view x, struct str_view y)
{
    const uint64_t n = x.size < y.size ? x.size : y.size;
    const int c = n == 0 ? 0 : memcmp(x.data, y.data, n);
    return c != 0 ? c : (x.size > y.size) - (x.size < y.size);
}

static inline void event_retain_many(struct event_store *s, uint32_t segment, uint32_t n)
{
    s->segments[segment].live += n;
    s->live += n;
}

static inline void event_release_many(struct event_store *s, uint32_t segment, uint32_t n)
{
    struct segment *g = &s->segments[segment];
    ASSERT(g->live >= n);
    s->live -= n;
    g->live -= n;
    if (g->live == 0 && !g->pinned && !g->listed) {
        g->listed = 1;
        s->dead[s->n_dead++] = segment;
    }
}

static inline void event_retain(struct event_store *s, uint32_t segment)
{
    event_retain_many(s, segment, 1);
}

static inline void event_release(struct event_store *s, uint32_t segment)
{
    event_release_many(s, segment, 1);
}

static inline event_time_t event_time(const struct event_store *s, struct event_ref e)
{
    return s->segments[e.segment].times[e.row];
}

static inline uint64_t event_position(const struct event_store *s, struct event_ref e)
{
    return s->segments[e.segment].positions[e.row];
}

#endif
