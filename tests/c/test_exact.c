/* Exact sums against a register of 32-bit digits that spans all doubles, added and rounded bit by bit. */
#include "check.h"
#include "exact.h"

#include <math.h>

#define DIGITS 140 /* of 32 bits; digit 0 starts at 2^-2240 */
#define LOWEST (-2240)

struct model {
    int64_t digits[DIGITS]; /* not normalised: each stays far below 2^63 */
    int64_t nan, plus, minus;
};

static void model_add_bits(struct model *m, uint64_t digits, int exponent, int sign)
{
    for (int bit = 0; bit < 64; bit++) {
        if ((digits >> bit & 1) != 0) {
            const int at = exponent + bit - LOWEST;
            m->digits[at / 32] += sign * (INT64_C(1) << (at % 32));
        }
    }
}

static void model_add(struct model *m, double x, int sign)
{
    if (isnan(x)) {
        m->nan += sign;
    } else if (isinf(x)) {
        *(x > 0 ? &m->plus : &m->minus) += sign;
    } else {
        int exponent;
        const double fraction = frexp(fabs(x), &exponent);
        model_add_bits(m, (uint64_t)ldexp(fraction, 53), exponent - 53, x < 0 ? -sign : sign);
    }
}

static void model_add_square(struct model *m, double x, int sign)
{
    if (!isfinite(x)) {
        return;
    }
    int exponent;
    const uint64_t digits = (uint64_t)ldexp(frexp(fabs(x), &exponent), 53);
    const uint128 square = (uint128)digits * digits;
    model_add_bits(m, (uint64_t)square, 2 * (exponent - 53), sign);
    model_add_bits(m, (uint64_t)(square >> 64), 2 * (exponent - 53) + 64, sign);
}

/* Rounds to nearest, ties to even, looking at one bit at a time. */
static double model_round(const struct model *m)
{
    if (m->nan > 0 || (m->plus > 0 && m->minus > 0)) {
        return (double)NAN;
    }
    if (m->plus > 0 || m->minus > 0) {
        return m->plus > 0 ? (double)INFINITY : -(double)INFINITY;
    }
    uint32_t bits[DIGITS];
    int64_t carry = 0;
    int negative = 0;
    for (int pass = 0; pass < 2; pass++) { /* the second time negated */
        carry = 0;
        for (int i = 0; i < DIGITS; i++) {
            const int64_t sum = (pass == 0 ? m->digits[i] : -m->digits[i]) + carry;
            bits[i] = (uint32_t)(sum & 0xffffffff);
            carry = (sum - (int64_t)bits[i]) / (INT64_C(1) << 32);
        }
        if (carry >= 0) {
            negative = pass;
            break;
        }
    }
    int highest = 32 * DIGITS - 1;
    while (highest >= 0 && (bits[highest / 32] >> (highest % 32) & 1) == 0) {
        highest--;
    }
    if (highest < 0) {
        return 0.0;
    }
    int last = highest - 52; /* the last bit that is kept */
    if (last + LOWEST < -1074) {
        last = -1074 - LOWEST;
    }
    uint64_t kept = 0;
    for (int i = highest; i >= last; i--) {
        kept = kept << 1 | (bits[i / 32] >> (i % 32) & 1);
    }
    const int half = last > 0 && (bits[(last - 1) / 32] >> ((last - 1) % 32) & 1) != 0;
    int more = 0;
    for (int i = 0; i < last - 1; i++) {
        more |= (bits[i / 32] >> (i % 32) & 1) != 0;
    }
    kept += half && (more || (kept & 1) != 0);
    const double result = ldexp((double)kept, last + LOWEST);
    return negative ? -result : result;
}

/* Prices, numbers of any size, small integers, and what is no number. */
static double any_double(uint32_t kind)
{
    const double sign = random_below(2) == 0 ? 1.0 : -1.0;
    switch (kind) {
    case 0:
        return sign * (double)random_below(100000) / 100.0;
    case 1:
        return (double)random_below(1000) - 500.0;
    case 2:
        return sign * ldexp((double)random_u64(), (int)random_below(200) - 100);
    case 3: {
        const uint64_t bits = random_u64();
        double x;
        memcpy(&x, &bits, sizeof x);
        return isfinite(x) ? x : 0.0;
    }
    default:
        return random_below(60) == 0 ? (random_below(5) == 0 ? (double)NAN : sign * (double)INFINITY) : 5e-324 * random_below(9);
    }
}

static int same(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b;
}

union sum {
    struct exact x;
    uint64_t room[EXACT_SIZE(EXACT_PRODUCTS) / 8];
};

/* The sum as bytes and back is the same sum, and the same bytes. */
static void check_bytes(const struct exact *x, struct arena *a)
{
    uint8_t bytes[EXACT_MOST_BYTES];
    uint8_t again[EXACT_MOST_BYTES];
    const size_t size = exact_write(x, bytes);
    CHECK(size <= sizeof bytes);
    union sum back;
    struct reader r = {bytes, bytes + size, false};
    CHECK(exact_read(&back.x, a, x->n, &r) == STATUS_OK && r.at == r.end);
    CHECK(exact_write(&back.x, again) == size && memcmp(bytes, again, size) == 0);
    CHECK(same(exact_to_double(x), exact_to_double(&back.x)));
    exact_free(&back.x, a);
    bytes[random_below((uint32_t)size)] ^= (uint8_t)(1u << random_below(8));
    r = (struct reader){bytes, bytes + size, false};
    const enum status st = exact_read(&back.x, a, x->n, &r); /* damaged: refused, or another sum written canonically */
    CHECK(st == STATUS_BAD_SNAPSHOT || exact_write(&back.x, again) <= sizeof again);
    exact_free(&back.x, a);
}

enum { SUMS = 4 };

static void test_sums(void)
{
    struct arena a;
    static struct model models[SUMS];
    union sum sums[SUMS];
    arena_init(&a);
    memset(models, 0, sizeof models);
    const uint32_t n = random_below(2) == 0 ? EXACT_VALUES : EXACT_PRODUCTS;
    const uint32_t kind = random_below(6); /* 5: all of them */
    for (int i = 0; i < SUMS; i++) {
        exact_init(&sums[i].x, n);
    }
    for (int step = 0; step < 400; step++) {
        const uint32_t to = random_below(SUMS);
        if (random_below(20) > 0) {
            const double x = any_double(kind == 5 ? random_below(5) : kind);
            const bool out = isfinite(x) && random_below(4) == 0;
            if (n == EXACT_VALUES) {
                CHECK(exact_add(&sums[to].x, &a, x, out) == STATUS_OK);
                model_add(&models[to], x, out ? -1 : 1);
            } else {
                CHECK(exact_add_square(&sums[to].x, &a, x, out) == STATUS_OK);
                model_add_square(&models[to], x, out ? -1 : 1);
            }
        } else {
            const uint32_t from = random_below(SUMS);
            if (from != to) {
                CHECK(exact_merge(&sums[to].x, &a, &sums[from].x) == STATUS_OK);
                for (int i = 0; i < DIGITS; i++) {
                    models[to].digits[i] += models[from].digits[i];
                }
                models[to].nan += models[from].nan;
                models[to].plus += models[from].plus;
                models[to].minus += models[from].minus;
                exact_free(&sums[from].x, &a);
                exact_init(&sums[from].x, n);
                memset(&models[from], 0, sizeof *models);
            }
        }
        CHECK(same(exact_to_double(&sums[to].x), model_round(&models[to])));
        if (step % 16 == 0) {
            check_bytes(&sums[to].x, &a);
        }
    }
    for (int i = 0; i < SUMS; i++) {
        exact_free(&sums[i].x, &a);
    }
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

/* What goes in and out again leaves nothing, in whatever order. */
static void test_everything_taken_out_is_zero(void)
{
    struct arena a;
    union sum sum;
    double values[64];
    arena_init(&a);
    exact_init(&sum.x, EXACT_VALUES);
    for (int i = 0; i < 64; i++) {
        values[i] = any_double(random_below(4));
        CHECK(exact_add(&sum.x, &a, values[i], false) == STATUS_OK);
    }
    for (int i = 63; i >= 0; i--) {
        CHECK(exact_add(&sum.x, &a, values[i * 37 % 64], true) == STATUS_OK);
    }
    CHECK(exact_is_zero(&sum.x) && exact_to_double(&sum.x) == 0.0);
    exact_free(&sum.x, &a);
    arena_free_all(&a);
}

/* Two sums that take each other in grow by the numbers of Fibonacci, from one window out into the block of all digits. */
static void test_sums_that_grow(void)
{
    struct arena a;
    union sum sums[2];
    const uint64_t first = (UINT64_C(1) << 52) + random_below(1000);
    const int place = (int)random_below(1500) - 900;
    const double sign = random_below(2) == 0 ? 1.0 : -1.0;
    uint128 grown[2] = {first, first};
    arena_init(&a);
    for (int i = 0; i < 2; i++) {
        exact_init(&sums[i].x, EXACT_VALUES);
        CHECK(exact_add(&sums[i].x, &a, sign * ldexp((double)first, place), false) == STATUS_OK);
    }
    for (int i = 0; i < 104; i++) {
        const int to = i % 2;
        CHECK(exact_merge(&sums[to].x, &a, &sums[1 - to].x) == STATUS_OK);
        grown[to] += grown[1 - to];
        CHECK(exact_to_double(&sums[to].x) == sign * ldexp((double)grown[to], place));
    }
    CHECK(sums[1].x.overflow != NULL || sums[1].x.n == EXACT_VALUES);
    for (int i = 0; i < 2; i++) {
        exact_free(&sums[i].x, &a);
    }
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

/* Without memory for what does not fit, adding says so, and everything can be given back. */
static void test_no_memory(void)
{
    struct arena a;
    union sum sum;
    arena_init(&a);
    exact_init(&sum.x, EXACT_VALUES);
    CHECK(exact_add(&sum.x, &a, 1e300, false) == STATUS_OK);
    a.fail_after = 1 + random_below(2);
    CHECK(exact_add(&sum.x, &a, 1e-300, false) == STATUS_NO_MEMORY);
    exact_free(&sum.x, &a);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

/* Numbers that just fit the window beside each other, and just do not. */
static void test_edges_of_the_window(void)
{
    for (int width = 60; width < 132; width++) {
        struct arena a;
        static struct model model;
        union sum sum;
        arena_init(&a);
        memset(&model, 0, sizeof model);
        exact_init(&sum.x, EXACT_VALUES);
        const double most = ldexp(9007199254740991.0, width - 53); /* 53 digits, the highest just below 2^width */
        const double sign = random_below(2) == 0 ? 1.0 : -1.0;
        const double values[] = {sign, sign * most, sign * most, -sign, sign * most, -sign * most, sign * 3, -sign * most, -sign * most};
        for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
            CHECK(exact_add(&sum.x, &a, values[i], false) == STATUS_OK);
            model_add(&model, values[i], 1);
            CHECK(exact_to_double(&sum.x) == model_round(&model));
        }
        CHECK(exact_to_double(&sum.x) == sign * 3);
        exact_free(&sum.x, &a);
        arena_free_all(&a);
    }
}

/* A number with its sign in the last bit of the widest sum is refused, the next smaller one is not. */
static void test_the_widest_number(void)
{
    struct arena a;
    union sum sum;
    arena_init(&a);
    for (int32_t exponent = 1086; exponent <= 1087; exponent++) {
        const uint32_t head[2] = {0, 1};
        const int64_t wide = exponent;
        const uint64_t limb = 1;
        uint8_t bytes[24];
        memcpy(bytes, head, 8);
        memcpy(bytes + 8, &wide, 8);
        memcpy(bytes + 16, &limb, 8);
        struct reader r = {bytes, bytes + sizeof bytes, false};
        CHECK(exact_read(&sum.x, &a, EXACT_VALUES, &r) == (exponent == 1086 ? STATUS_OK : STATUS_BAD_SNAPSHOT));
        exact_free(&sum.x, &a);
    }
    arena_free_all(&a);
}

/* A mean is the quotient rounded once: for integers below 2^53 that is what one division of doubles gives. */
static void test_quotients(void)
{
    for (int i = 0; i < 200; i++) {
        const int64_t sum = (int64_t)(random_u64() >> 11) - (INT64_C(1) << 52);
        const uint64_t n = 1 + (random_u64() >> (12 + random_below(50)));
        struct big b;
        big_from_i128(&b, sum);
        CHECK(big_to_double(&b, n, 1) == (double)sum / (double)n);
    }
    for (int i = 0; i < 200; i++) { /* by two numbers whose product has more than 64 digits */
        const uint64_t n = (UINT64_C(1) << 32) + random_below(9);
        const uint64_t other = (UINT64_C(1) << 32) + random_below(9);
        const uint128 product = (uint128)n * other;
        const uint128 quotient = (UINT64_C(1) << 58) + (random_u64() >> 6 & ~UINT64_C(63)) + (random_below(2) == 0 ? 32 : 0);
        const uint32_t more = random_below(2);
        struct big b;
        big_from_i128(&b, (int128)(quotient * product + more));
        CHECK(big_to_double(&b, n, other) == (double)(quotient << 1 | more) / 2);
    }
}

static void test(void)
{
    test_sums();
    test_everything_taken_out_is_zero();
    test_sums_that_grow();
    test_no_memory();
    test_edges_of_the_window();
    test_the_widest_number();
    test_quotients();
}

int main(void)
{
    return run_seeds(test, 60);
}
