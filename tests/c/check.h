/* What the C tests share: counted checks, seeded random numbers. A failed check says where and ends the program. */
#ifndef FYKE_CHECK_H
#define FYKE_CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t n_checks;
static uint64_t seed;

#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        n_checks++;                                                                                                    \
        if (!(x)) {                                                                                                    \
            fprintf(stderr, "%s:%d: seed %" PRIu64 ": %s\n", __FILE__, __LINE__, seed, #x);                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t random_state;

static inline void seed_random(uint64_t s)
{
    seed = s;
    random_state = s * 2 + 1;
}

static inline uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint32_t n)
{
    return (uint32_t)(random_u64() % n);
}

/* Runs a test with seeds 0, 1, ... n - 1 and prints how much was checked. */
static inline int run_seeds(void (*test)(void), uint64_t n)
{
    for (uint64_t s = 0; s < n; s++) {
        seed_random(s);
        test();
    }
    printf("%" PRIu64 " checks\n", n_checks);
    return 0;
}

#endif
