#include "reorder.h"

#include <string.h>

#define FEW 8

void reorder_init(struct reorder *r, struct arena *arena)
{
    memset(r, 0, sizeof *r);
    r->arena = arena;
}

void reorder_free(struct reorder *r)
{
    if (r->arena != NULL) {
        arena_free(r->arena, r->items, (size_t)r->capacity * sizeof *r->items);
        arena_free(r->arena, r->scratch, (size_t)r->scratch_capacity * sizeof *r->scratch);
    }
    memset(r, 0, sizeof *r);
}

static enum status make_room(struct reorder *r, uint32_t n)
{
    /* moving down costs what is waiting, so only when that frees at least as much */
    if (r->head >= r->tail - r->head && r->head > 0 && (uint64_t)r->tail + n > r->capacity) {
        memmove(r->items, r->items + r->head, (size_t)(r->tail - r->head) * sizeof *r->items);
        r->tail -= r->head;
        r->head = 0;
    }
    void *items = r->items;
    const enum status st = arena_reserve(r->arena, &items, &r->capacity, (uint64_t)r->tail + n, sizeof *r->items);
    r->items = items;
    return st;
}

/* The end of the ascending run that starts at i. */
static uint32_t run_end(const struct waiting *rows, uint32_t i, uint32_t n)
{
    i++;
    while (i < n && rows[i - 1].time <= rows[i].time) {
        i++;
    }
    return i;
}

static void merge(const struct waiting *a, uint32_t n_a, const struct waiting *b, uint32_t n_b, struct waiting *out)
{
    uint32_t i = 0;
    uint32_t j = 0;
    while (i < n_a && j < n_b) {
        const bool from_b = b[j].time < a[i].time;
        *out++ = from_b ? b[j] : a[i];
        j += from_b;
        i += !from_b;
    }
    memcpy(out, a + i, (size_t)(n_a - i) * sizeof *out);
    memcpy(out + (n_a - i), b + j, (size_t)(n_b - j) * sizeof *out);
}

/* Stable, bottom up: first insertion-sorted blocks, then merges of doubling width. Returns the array that holds the result. */
static struct waiting *sort_rows(struct waiting *rows, struct waiting *other, uint32_t n)
{
    enum { BLOCK = 16 };
    for (uint32_t from = 0; from < n; from += BLOCK) {
        const uint32_t to = n - from < BLOCK ? n : from + BLOCK;
        for (uint32_t i = from + 1; i < to; i++) {
            const struct waiting row = rows[i];
            uint32_t at = i;
            while (at > from && rows[at - 1].time > row.time) {
                rows[at] = rows[at - 1];
                at--;
            }
            rows[at] = row;
        }
    }
    for (uint64_t width = BLOCK; width < n; width *= 2) {
        for (uint64_t from = 0; from < n; from += 2 * width) {
            const uint32_t mid = (uint32_t)(from + width < n ? from + width : n);
            const uint32_t to = (uint32_t)(from + 2 * width < n ? from + 2 * width : n);
            if (mid == to || rows[mid - 1].time <= rows[mid].time) {
                memcpy(other + from, rows + from, (size_t)(to - from) * sizeof *rows);
            } else {
                merge(rows + from, (uint32_t)(mid - from), rows + mid, to - mid, other + from);
            }
        }
        struct waiting *swap = rows;
        rows = other;
        other = swap;
    }
    return rows;
}

static void insert_few(struct reorder *r, const struct waiting *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = r->tail;
        while (at > r->head && r->items[at - 1].time > rows[i].time) {
            at--;
        }
        memmove(r->items + at + 1, r->items + at, (size_t)(r->tail - at) * sizeof *r->items);
        r->items[at] = rows[i];
        r->tail++;
    }
}

enum status reorder_add(struct reorder *r, struct waiting *rows, uint32_t n)
{
    enum status st = make_room(r, n);
    if (st != STATUS_OK || n == 0) {
        return st;
    }
    const bool sorted = run_end(rows, 0, n) == n;
    const bool after = r->tail == r->head || r->items[r->tail - 1].time <= rows[0].time;
    if (sorted && after) {
        memcpy(r->items + r->tail, rows, (size_t)n * sizeof *rows);
        r->tail += n;
        return STATUS_OK;
    }
    if (n <= FEW) {
        insert_few(r, rows, n);
        return STATUS_OK;
    }
    const uint32_t n_waiting = r->tail - r->head;
    void *scratch = r->scratch;
    st = arena_reserve(r->arena, &scratch, &r->scratch_capacity, (uint64_t)n + n_waiting, sizeof *r->scratch);
    r->scratch = scratch;
    if (st != STATUS_OK) {
        return st;
    }
    const struct waiting *in_order = sorted ? rows : sort_rows(rows, r->scratch, n);
    /* only what is later than the first new row has to move */
    uint32_t low = r->head;
    uint32_t high = r->tail;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (r->items[mid].time <= in_order[0].time) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    const uint32_t n_moved = r->tail - low;
    if (n_moved == 0) {
        memcpy(r->items + r->tail, in_order, (size_t)n * sizeof *rows);
    } else if (in_order == rows) {
        memcpy(r->scratch, r->items + low, (size_t)n_moved * sizeof *rows);
        merge(r->scratch, n_moved, in_order, n, r->items + low);
    } else {
        memcpy(r->scratch + n, r->items + low, (size_t)n_moved * sizeof *rows);
        merge(r->scratch + n, n_moved, in_order, n, r->items + low);
    }
    r->tail += n;
    return STATUS_OK;
}

uint32_t reorder_due(const struct reorder *r, event_time_t watermark)
{
    uint32_t low = r->head;
    uint32_t high = r->tail;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (r->items[mid].time <= watermark) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low - r->head;
}

void reorder_consume(struct reorder *r, struct event_store *s, uint32_t n)
{
    const struct waiting *rows = r->items + r->head;
    for (uint32_t i = 0; i < n;) {
        const uint32_t segment = rows[i].event.segment;
        uint32_t same = i + 1;
        while (same < n && rows[same].event.segment == segment) {
            same++;
        }
        event_release_many(s, segment, same - i);
        i = same;
    }
    r->head += n;
}
