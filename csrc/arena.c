#define _DEFAULT_SOURCE /* madvise */
#include "arena.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define FIRST_CHUNK ((size_t)1 << 16)
#define HUGE_PAGE ((size_t)1 << 21)
#define LINE ((size_t)64)

/* Big blocks are asked for in huge pages: a step touches a handful of places all over them, and page walks would cost more than the
 * step itself (measured: the V-shape benchmark, 10,000 keys). */
static void *big_alloc(size_t size)
{
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE / 2) {
        const size_t rounded = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
        void *p = NULL;
        if (rounded < size || posix_memalign(&p, HUGE_PAGE, rounded) != 0) {
            return NULL;
        }
        (void)madvise(p, rounded, MADV_HUGEPAGE); /* a hint: without it the pages are small */
        return p;
    }
#endif
    return aligned_alloc(LINE, (size + LINE - 1) & ~(LINE - 1));
}

/* Under ASan a freed block is poisoned, so that free lists do not hide a use after free. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, size) __asan_poison_memory_region(p, size)
#define UNPOISON(p, size) __asan_unpoison_memory_region(p, size)
#else
#define POISON(p, size) ((void)0)
#define UNPOISON(p, size) ((void)0)
#endif

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
};

static unsigned size_class(size_t size)
{
    if (size <= 256) {
        return size == 0 ? 0 : (unsigned)((size - 1) / 16);
    }
    unsigned c = 16;
    for (size_t s = 512; s < size; s <<= 1) {
        c++;
    }
    return c;
}

static size_t class_size(unsigned c)
{
    return c < 16 ? (size_t)(c + 1) * 16 : (size_t)512 << (c - 16);
}

void arena_init(struct arena *a)
{
    memset(a, 0, sizeof *a);
}

void arena_free_all(struct arena *a)
{
    struct arena_chunk *c = a->chunks;
    while (c != NULL) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    arena_init(a);
}

static bool fails_now(struct arena *a)
{
    return UNLIKELY(a->fail_after != 0) && --a->fail_after == 0;
}

static bool add_chunk(struct arena *a)
{
    size_t size = a->chunks == NULL ? FIRST_CHUNK : a->chunks->size * 2;
    size = size > HUGE_PAGE ? HUGE_PAGE : size;
    struct arena_chunk *c = big_alloc(size);
    if (c == NULL) {
        return false;
    }
    c->next = a->chunks;
    c->size = size;
    a->chunks = c;
    a->bump = (char *)c + 16;
    a->bump_end = (char *)c + size;
    a->bytes_held += size;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (fails_now(a)) {
        return NULL;
    }
    if (size > ARENA_SMALL) {
        void *p = big_alloc(size);
        if (p != NULL) {
            a->bytes_used += size;
            a->bytes_held += size;
        }
        return p;
    }
    const unsigned c = size_class(size);
    const size_t rounded = class_size(c);
    void *p = a->free_lists[c];
    if (p != NULL) {
        UNPOISON(p, rounded);
        memcpy(&a->free_lists[c], p, sizeof(void *));
    } else {
        if ((size_t)(a->bump_end - a->bump) < rounded && !add_chunk(a)) {
            return NULL;
        }
        p = a->bump;
        a->bump += rounded;
    }
    a->bytes_used += rounded;
    return p;
}

void arena_free(struct arena *a, void *p, size_t size)
{
    if (p == NULL) {
        return;
    }
    if (size > ARENA_SMALL) {
        free(p);
        a->bytes_used -= size;
        a->bytes_held -= size;
        return;
    }
    const unsigned c = size_class(size);
    memcpy(p, &a->free_lists[c], sizeof(void *));
    a->free_lists[c] = p;
    POISON(p, class_size(c));
    a->bytes_used -= class_size(c);
}

void *arena_resize(struct arena *a, void *p, size_t old_size, size_t new_size)
{
    void *q = arena_alloc(a, new_size);
    if (q != NULL && p != NULL) {
        memcpy(q, p, old_size < new_size ? old_size : new_size);
        arena_free(a, p, old_size);
    }
    return q;
}

enum status arena_reserve(struct arena *a, void **items, uint32_t *capacity, uint64_t need, size_t item_size)
{
    if (LIKELY(need <= *capacity)) {
        return STATUS_OK;
    }
    uint64_t bigger = *capacity == 0 ? 4 : (uint64_t)*capacity * 2;
    if (bigger < need) {
        bigger = need;
    }
    if (bigger > UINT32_MAX) {
        return STATUS_NO_MEMORY;
    }
    void *p = arena_resize(a, *items, (size_t)*capacity * item_size, (size_t)bigger * item_size);
    if (p == NULL) {
        return STATUS_NO_MEMORY;
    }
    *items = p;
    *capacity = (uint32_t)bigger;
    return STATUS_OK;
}
