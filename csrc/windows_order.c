/* Windows in an order of their own: by start, then by key, then by end. Slots and the order of arrival have no part in it.
 *
 * Many are sorted by their numbers first, byte by byte where they differ (start, and rank of the key); then those whose ranks are the
 * same, as those of long texts may be, by comparing them. O(n), or O(n log n) for the latter.
 */
#include "windows.h"

#include <string.h>

#define FEW 48
#define BYTES 16 /* of start and rank */

static bool before(const struct windows *w, const struct window_due *a, const struct window_due *b)
{
    if (a->start != b->start) {
        return a->start < b->start;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank;
    }
    const int keys = w->keys.integer ? 0 : key_compare(&w->keys, a->slot, b->slot);
    if (keys == 0 && a->window == b->window) {
        return false;
    }
    const struct window *p = window_at(w, a->window), *q = window_at(w, b->window);
    return keys != 0 ? keys < 0 : p->start != q->start ? p->start < q->start : p->end < q->end;
}

enum status windows_reserve_due(struct windows *w, uint64_t n)
{
    void *due = w->due;
    const enum status st = arena_reserve(w->arena, &due, &w->due_capacity, n, sizeof *w->due);
    w->due = due;
    return st;
}

enum status windows_push_due(struct windows *w, uint32_t id, event_time_t start)
{
    const enum status st = windows_reserve_due(w, (uint64_t)w->n_due + 1);
    if (st == STATUS_OK) {
        const uint32_t slot = window_at(w, id)->slot;
        w->due[w->n_due++] = (struct window_due){start, windows_rank(w, slot), id, slot};
    }
    return st;
}

static void sort_few(const struct windows *w, struct window_due *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct window_due item = items[i];
        size_t at = i;
        while (at > 0 && before(w, &item, &items[at - 1])) {
            items[at] = items[at - 1];
            at--;
        }
        items[at] = item;
    }
}

static void merge(const struct windows *w, const struct window_due *from, struct window_due *to, size_t n, size_t run)
{
    for (size_t low = 0; low < n; low += 2 * run) {
        const size_t middle = n - low > run ? low + run : n, high = n - low > 2 * run ? low + 2 * run : n;
        size_t i = low, k = middle;
        for (size_t out = low; out < high; out++) {
            to[out] = k >= high || (i < middle && !before(w, &from[k], &from[i])) ? from[i++] : from[k++];
        }
    }
}

/* A merge sort from below. */
static void sort_by_comparing(const struct windows *w, struct window_due *items, struct window_due *spare, size_t n)
{
    for (size_t i = 0; i < n; i += FEW) {
        sort_few(w, items + i, n - i < FEW ? n - i : FEW);
    }
    struct window_due *from = items, *to = spare;
    for (size_t run = FEW; run < n; run *= 2) {
        merge(w, from, to, n, run);
        struct window_due *sorted = to;
        to = from;
        from = sorted;
    }
    if (from != items) {
        memcpy(items, from, n * sizeof *items);
    }
}

static uint32_t byte_of(const struct window_due *d, uint32_t byte)
{
    const uint64_t number = byte < 8 ? d->rank : (uint64_t)d->start ^ (uint64_t)1 << 63;
    return (uint32_t)(number >> 8 * (byte % 8)) & 0xff;
}

/* The bits in which any two differ: of the rank, of the start. */
static void differences(const struct window_due *items, uint32_t n, uint64_t bits[2])
{
    bits[0] = bits[1] = 0;
    for (uint32_t i = 1; i < n; i++) {
        bits[0] |= items[i].rank ^ items[0].rank;
        bits[1] |= (uint64_t)items[i].start ^ (uint64_t)items[0].start;
    }
}

static void sort_by_byte(struct windows *w, uint32_t byte)
{
    uint32_t places[256] = {0};
    for (uint32_t i = 0; i < w->n_due; i++) {
        places[byte_of(&w->due[i], byte)]++;
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < 256; i++) {
        const uint32_t n = places[i];
        places[i] = next;
        next += n;
    }
    for (uint32_t i = 0; i < w->n_due; i++) {
        w->due_spare[places[byte_of(&w->due[i], byte)]++] = w->due[i];
    }
    struct window_due *sorted = w->due_spare;
    const uint32_t capacity = w->due_spare_capacity;
    w->due_spare = w->due;
    w->due_spare_capacity = w->due_capacity;
    w->due = sorted;
    w->due_capacity = capacity;
}

/* Those of one rank and start stand together now; one key may have several windows, and text may go on beyond its rank. */
static void sort_equals(struct windows *w)
{
    for (uint32_t i = 0; i + 1 < w->n_due;) {
        uint32_t end = i + 1;
        while (end < w->n_due && w->due[end].rank == w->due[i].rank && w->due[end].start == w->due[i].start) {
            end++;
        }
        if (end - i > 1) {
            sort_by_comparing(w, w->due + i, w->due_spare + i, end - i);
        }
        i = end;
    }
}

enum status windows_sort_due(struct windows *w)
{
    if (w->n_due <= FEW) {
        sort_few(w, w->due, w->n_due);
        return STATUS_OK;
    }
    void *spare = w->due_spare;
    const enum status st = arena_reserve(w->arena, &spare, &w->due_spare_capacity, w->n_due, sizeof *w->due_spare);
    w->due_spare = spare;
    if (st != STATUS_OK) {
        return st;
    }
    uint64_t bits[2];
    differences(w->due, w->n_due, bits);
    for (uint32_t byte = 0; byte < BYTES; byte++) {
        if ((bits[byte / 8] >> 8 * (byte % 8)) & 0xff) {
            sort_by_byte(w, byte);
        }
    }
    sort_equals(w);
    return STATUS_OK;
}

enum status windows_in_order(struct windows *w)
{
    enum status st = windows_make_whole(w);
    w->n_due = 0;
    for (uint32_t i = 0; st == STATUS_OK && i < w->n_records; i++) {
        if (window_at(w, i)->in_use && window_at(w, i)->part == PART_WINDOW) {
            st = windows_push_due(w, i, 0);
        }
    }
    return st == STATUS_OK ? windows_sort_due(w) : st;
}
