/* Exact sums of doubles and of products of doubles or integers: no digit is lost, so the order of adding and merging changes nothing.
 *
 *   sum = window * 2^exponent + overflow          window: `n` 64-bit limbs, two's complement, least first
 *
 * A double is an integer of 53 bits times a power of two, so a sum of them is one shifted addition as long as all of its digits lie
 * within the window: 128 bits for values, 256 for products. What does not fit goes, exactly, into a block that spans the whole range
 * of doubles (or of their products) with room for 2^63 of them; infinities and NaN are counted beside it. Rounding happens once, at the
 * end, to the nearest double, ties to even. Integers are added at exponent 0.
 */
#ifndef FYKE_EXACT_H
#define FYKE_EXACT_H

#include "arena.h"
#include "bytes.h"

#include <string.h>

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

#define EXACT_VALUES 2u   /* limbs of the window of a sum of values */
#define EXACT_PRODUCTS 4u /* of a sum of products */
#define EXACT_EMPTY INT32_MIN /* exponent of a window that nothing was added to */
/* The block for `n` limbs of window: 17 n limbs, the lowest bit is 2^(-544 n). */
#define EXACT_WIDE(n) (17u * (n))
#define EXACT_LOWEST(n) (-544 * (int32_t)(n))

/* What does not fit a window. */
struct exact_overflow {
    uint64_t nan;
    uint64_t plus;  /* infinities */
    uint64_t minus;
    uint64_t *wide; /* EXACT_WIDE limbs, two's complement; NULL: zero */
};

/* n limbs of window follow. */
struct exact {
    int32_t exponent;
    uint32_t n;
    struct exact_overflow *overflow; /* NULL: nothing */
    uint64_t window[];
};

#define EXACT_SIZE(n) (sizeof(struct exact) + (n) * sizeof(uint64_t))

/* A number with all its digits: (-1)^negative * limbs * 2^exponent; n is 0 for zero, else the last limb is not 0. Room for products of sums. */
#define BIG_LIMBS 80
struct big {
    uint32_t n;
    int32_t exponent;
    bool negative;
    uint64_t limbs[BIG_LIMBS];
};

static inline void exact_init(struct exact *x, uint32_t n)
{
    memset(x, 0, EXACT_SIZE(n));
    x->exponent = EXACT_EMPTY;
    x->n = n;
}

void exact_free(struct exact *x, struct arena *a);

/* Each of these fails only for lack of memory; the sum is then good for nothing but exact_free. */
MUST_CHECK enum status exact_add_slowly(struct exact *x, struct arena *a, double value, bool negate);
MUST_CHECK enum status exact_add_integer(struct exact *x, struct arena *a, uint128 magnitude, int32_t exponent, bool negative);
MUST_CHECK enum status exact_merge(struct exact *into, struct arena *a, const struct exact *from);

/* Adds a double to a sum of values (negate: takes it out). */
static inline enum status exact_add(struct exact *x, struct arena *a, double value, bool negate)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    const int64_t shift = (int64_t)biased - 1075 - x->exponent;
    if (LIKELY((uint64_t)shift <= 73 && biased - 1 < 0x7fe)) {
        const int64_t sign = -(int64_t)((bits >> 63) ^ (uint64_t)negate); /* all bits, or none */
        const int64_t digits = ((int64_t)((bits & 0xfffffffffffffULL) | 0x10000000000000ULL) ^ sign) - sign;
        int128 window;
        memcpy(&window, x->window, sizeof window);
        if (LIKELY(!__builtin_add_overflow(window, (int128)((uint128)(int128)digits << shift), &window))) {
            memcpy(x->window, &window, sizeof window);
            return STATUS_OK;
        }
    }
    return exact_add_slowly(x, a, value, negate);
}

/* Adds the square of a double, or of an integer, to a sum of products. Infinities and NaN are left to the sum of the values. */
MUST_CHECK enum status exact_add_square(struct exact *x, struct arena *a, double value, bool negate);
MUST_CHECK enum status exact_add_square_i64(struct exact *x, struct arena *a, int64_t value, bool negate);

/* Whether infinities or NaN were added, and then what the sum is: an infinity or NaN. */
bool exact_is_special(const struct exact *x, double *value);
/* The sum of what is finite. */
void exact_to_big(const struct exact *x, struct big *out);
/* The nearest double to everything, ties to even; beyond the range: an infinity. */
double exact_to_double(const struct exact *x);

void big_from_i128(struct big *out, int128 value);
/* The nearest double to b / (divisor * second); the divisors are not 0. */
double big_to_double(struct big *b, uint64_t divisor, uint64_t second);
/* out = count * squares - sum * sum. */
void big_spread(struct big *out, const struct big *sum, const struct big *squares, uint64_t count);

/* Canonical bytes: equal sums give equal ones. At most EXACT_MOST_BYTES. */
#define EXACT_MOST_BYTES (64 + 8 * EXACT_WIDE(EXACT_PRODUCTS))
size_t exact_write(const struct exact *x, uint8_t *out);
/* STATUS_BAD_SNAPSHOT if no sum is written like that; x is then empty. */
MUST_CHECK enum status exact_read(struct exact *x, struct arena *a, uint32_t n, struct reader *r);

/* Whether the sum is that of nothing, or a sum that came to zero with nothing beside it. */
bool exact_is_zero(const struct exact *x);

#endif
