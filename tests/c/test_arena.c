/* The arena against a list of blocks that the test wrote itself: no two overlap, none loses its content, the bytes are counted. */
#include "arena.h"
#include "check.h"

#define MOST 200

struct block {
    unsigned char *p;
    size_t size;
    unsigned char fill;
};

static struct block blocks[MOST];
static uint32_t n_blocks;
static unsigned char next_fill;

static size_t any_size(void)
{
    static const size_t edges[] = {0, 1, 15, 16, 17, 255, 256, 257, 512, 513, ARENA_SMALL, ARENA_SMALL + 1, 100000};
    switch (random_below(4)) {
    case 0:
        return edges[random_below(sizeof edges / sizeof *edges)];
    case 1:
        return random_below(20000);
    default:
        return random_below(300);
    }
}

static void fill(struct block *b)
{
    b->fill = next_fill++;
    memset(b->p, b->fill, b->size);
}

static void check_content(const struct block *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (b->p[i] != b->fill) {
            CHECK(!"a block kept its content");
        }
    }
    n_checks++;
}

static void add(struct arena *a)
{
    struct block *b = &blocks[n_blocks];
    b->size = any_size();
    b->p = arena_alloc(a, b->size);
    CHECK(b->p != NULL);
    CHECK((uintptr_t)b->p % 16 == 0);
    fill(b);
    n_blocks++;
}

static void drop(struct arena *a)
{
    const uint32_t i = random_below(n_blocks);
    check_content(&blocks[i], blocks[i].size);
    arena_free(a, blocks[i].p, blocks[i].size);
    blocks[i] = blocks[--n_blocks];
}

static void resize(struct arena *a)
{
    struct block *b = &blocks[random_below(n_blocks)];
    const size_t size = any_size();
    const bool fails = random_below(4) == 0;
    const size_t used = a->bytes_used;
    a->fail_after = fails ? 1 : 0;
    unsigned char *p = arena_resize(a, b->p, b->size, size);
    a->fail_after = 0;
    CHECK((p == NULL) == fails);
    if (fails) { /* the old block is as it was */
        CHECK(a->bytes_used == used);
        check_content(b, b->size);
        return;
    }
    b->p = p;
    check_content(b, b->size < size ? b->size : size);
    b->size = size;
    fill(b);
}

/* An array that grows one by one, now and then without memory. */
static void reserve(struct arena *a)
{
    uint64_t *items = NULL;
    uint32_t capacity = 0;
    for (uint32_t n = 0; n < 2000; n++) {
        void *grown = items;
        const uint32_t before = capacity;
        const bool full = n == capacity;
        a->fail_after = full && random_below(2) ? 1 : 0;
        const bool fails = a->fail_after != 0;
        const enum status st = arena_reserve(a, &grown, &capacity, (uint64_t)n + 1, sizeof *items);
        a->fail_after = 0;
        CHECK((st == STATUS_NO_MEMORY) == fails);
        if (fails) {
            CHECK(capacity == before && grown == items);
            n--;
            continue;
        }
        items = grown;
        CHECK(capacity > n && capacity >= before);
        items[n] = n;
    }
    for (uint32_t n = 0; n < 2000; n++) {
        CHECK(items[n] == n);
    }
    void *same = items;
    CHECK(arena_reserve(a, &same, &capacity, (uint64_t)UINT32_MAX + 1, sizeof *items) == STATUS_NO_MEMORY);
    CHECK(same == items);
    arena_free(a, items, (size_t)capacity * sizeof *items);
}

static void test(void)
{
    struct arena a;
    arena_init(&a);
    n_blocks = 0;
    for (int step = 0; step < 3000; step++) {
        const uint32_t what = random_below(5);
        if (n_blocks == 0 || (what < 3 && n_blocks < MOST)) {
            add(&a);
        } else if (what == 3) {
            resize(&a);
        } else {
            drop(&a);
        }
        CHECK(a.bytes_used <= a.bytes_held);
    }
    reserve(&a);
    while (n_blocks > 0) {
        drop(&a);
    }
    CHECK(a.bytes_used == 0);
    arena_free(&a, NULL, 7);
    arena_free_all(&a);
    CHECK(a.bytes_held == 0 && a.chunks == NULL);
}

int main(void)
{
    return run_seeds(test, 20);
}
