/* The one allocation seam: sized allocation with free lists, and a count of the bytes in use.
 *
 * Sizes up to ARENA_SMALL are rounded up to a class (16, 32, ... by 16 up to 256, then powers of two) and cut from chunks; freed
 * blocks go to their class's list. Larger blocks come from the system, on cache lines, the biggest in huge pages. Callers pass the size
 * they asked for when they free.
 * `fail_after` lets tests make the n-th allocation from now fail (0: never).
 */
#ifndef FYKE_ARENA_H
#define FYKE_ARENA_H

#include "base.h"

#define ARENA_SMALL 4096
#define ARENA_CLASSES 20

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    char *bump;
    char *bump_end;
    void *free_lists[ARENA_CLASSES];
    size_t bytes_used; /* live bytes, by class size */
    size_t bytes_held; /* what came from malloc */
    uint64_t fail_after;
};

void arena_init(struct arena *a);
void arena_free_all(struct arena *a);

/* NULL if there is no memory; 16-byte aligned, to a cache line above ARENA_SMALL; not cleared. */
MUST_CHECK void *arena_alloc(struct arena *a, size_t size);
void arena_free(struct arena *a, void *p, size_t size);
/* Moves the block; on failure returns NULL and leaves the old block as it was. */
MUST_CHECK void *arena_resize(struct arena *a, void *p, size_t old_size, size_t new_size);

/* Grows an array to hold at least `need` items (doubling); STATUS_NO_MEMORY leaves it as it was. */
MUST_CHECK enum status arena_reserve(struct arena *a, void **items, uint32_t *capacity, uint64_t need, size_t item_size);

#endif
