#include "exact.h"

#include <math.h>

#define GRID 32 /* exponents of windows are multiples of it where that costs nothing, so that most windows agree */

/* ---- limbs: little-endian, two's complement unless said otherwise ---- */

static bool all_zero(const uint64_t *limbs, uint32_t n)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < n; i++) {
        any |= limbs[i];
    }
    return any == 0;
}

static uint64_t sign_of(const uint64_t *limbs, uint32_t n)
{
    return (uint64_t)((int64_t)limbs[n - 1] >> 63);
}

/* The lowest bit that is set; there is one. */
static int32_t lowest_bit(const uint64_t *limbs)
{
    uint32_t i = 0;
    while (limbs[i] == 0) {
        i++;
    }
    return (int32_t)(64 * i) + __builtin_ctzll(limbs[i]);
}

/* The least k with -2^k <= limbs < 2^k. */
static int32_t signed_width(const uint64_t *limbs, uint32_t n)
{
    const uint64_t sign = sign_of(limbs, n);
    uint32_t i = n;
    while (i > 0 && limbs[i - 1] == sign) {
        i--;
    }
    return i == 0 ? 0 : (int32_t)(64 * i) - __builtin_clzll(limbs[i - 1] ^ sign);
}

static void negate(uint64_t *limbs, uint32_t n)
{
    uint64_t carry = 1;
    for (uint32_t i = 0; i < n; i++) {
        limbs[i] = ~limbs[i] + carry;
        carry = carry != 0 && limbs[i] == 0;
    }
}

/* out = in * 2^shift, for a shift that loses nothing at either end. */
static void shift_limbs(uint64_t *out, const uint64_t *in, uint32_t n, int32_t shift)
{
    const uint64_t sign = sign_of(in, n);
    const int32_t limbs = shift >> 6; /* floor */
    const uint32_t bits = (uint32_t)shift & 63;
    for (int32_t i = 0; i < (int32_t)n; i++) {
        const int32_t at = i - limbs;
        const uint64_t high = at < 0 ? 0 : at < (int32_t)n ? in[at] : sign;
        const uint64_t low = at < 1 ? 0 : at <= (int32_t)n ? in[at - 1] : sign;
        out[i] = bits == 0 ? high : (high << bits) | (low >> (64 - bits));
    }
}

/* to += add, unless that overflows; then `to` is as it was. */
static bool add_limbs(uint64_t *to, const uint64_t *add, uint32_t n)
{
    uint64_t sum[EXACT_PRODUCTS];
    uint64_t carry = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint128 each = (uint128)to[i] + add[i] + carry;
        sum[i] = (uint64_t)each;
        carry = (uint64_t)(each >> 64);
    }
    const uint64_t before = sign_of(to, n);
    if (before == sign_of(add, n) && before != sign_of(sum, n)) {
        return false;
    }
    memcpy(to, sum, n * sizeof *sum);
    return true;
}

/* wide += add * 2^shift, of n limbs. */
static void add_wide(uint64_t *wide, uint32_t n_wide, const uint64_t *add, uint32_t n, uint32_t shift)
{
    const uint64_t sign = sign_of(add, n);
    const uint32_t bits = shift & 63;
    uint64_t below = 0;
    uint64_t carry = 0;
    for (uint32_t i = 0, at = shift >> 6; at < n_wide; i++, at++) {
        const uint64_t limb = i < n ? add[i] : sign;
        const uint64_t shifted = bits == 0 ? limb : (limb << bits) | (below >> (64 - bits));
        below = limb;
        if (i > n && carry == (sign & 1)) {
            return; /* from here on nothing changes: + 0, or + 1 - 1 */
        }
        const uint128 each = (uint128)wide[at] + shifted + carry;
        wide[at] = (uint64_t)each;
        carry = (uint64_t)(each >> 64);
    }
}

/* ---- the window and what does not fit it ---- */

static struct exact_overflow *overflow_of(struct exact *x, struct arena *a)
{
    if (x->overflow == NULL) {
        x->overflow = arena_alloc(a, sizeof *x->overflow);
        if (x->overflow != NULL) {
            memset(x->overflow, 0, sizeof *x->overflow);
        }
    }
    return x->overflow;
}

static uint64_t *wide_of(struct exact *x, struct arena *a)
{
    struct exact_overflow *o = overflow_of(x, a);
    if (o != NULL && o->wide == NULL) {
        const size_t size = EXACT_WIDE(x->n) * sizeof(uint64_t);
        o->wide = arena_alloc(a, size);
        if (o->wide != NULL) {
            memset(o->wide, 0, size);
        }
    }
    return o == NULL ? NULL : o->wide;
}

void exact_free(struct exact *x, struct arena *a)
{
    if (x->overflow != NULL) {
        arena_free(a, x->overflow->wide, EXACT_WIDE(x->n) * sizeof(uint64_t));
        arena_free(a, x->overflow, sizeof *x->overflow);
        x->overflow = NULL;
    }
}

/* Moves the window to where it also covers bits from `low` and numbers up to 2^high, with room for one sum; false: it is too small. */
static bool fit(struct exact *x, int32_t low, int32_t high)
{
    const uint32_t n = x->n;
    const bool empty = all_zero(x->window, n);
    if (!empty) {
        const int32_t own_low = x->exponent + lowest_bit(x->window);
        const int32_t own_high = x->exponent + signed_width(x->window, n);
        low = own_low < low ? own_low : low;
        high = own_high > high ? own_high : high;
    }
    const int32_t spare = (int32_t)(64 * n) - 1 - (high + 1 - low);
    if (spare < 0) {
        return false;
    }
    int32_t exponent = low - spare / 4; /* sums grow upwards */
    const int32_t on_grid = exponent & ~(GRID - 1);
    exponent = low - on_grid <= spare ? on_grid : exponent;
    exponent = exponent < EXACT_LOWEST(n) ? EXACT_LOWEST(n) : exponent;
    if (!empty) {
        uint64_t moved[EXACT_PRODUCTS];
        shift_limbs(moved, x->window, n, x->exponent - exponent);
        memcpy(x->window, moved, n * sizeof *moved);
    }
    x->exponent = exponent;
    return true;
}

/* What is in the window goes into the wide block. */
static enum status spill(struct exact *x, struct arena *a)
{
    uint64_t *wide = wide_of(x, a);
    if (wide == NULL) {
        return STATUS_NO_MEMORY;
    }
    add_wide(wide, EXACT_WIDE(x->n), x->window, x->n, (uint32_t)(x->exponent - EXACT_LOWEST(x->n)));
    memset(x->window, 0, x->n * sizeof *x->window);
    x->exponent = EXACT_EMPTY;
    return STATUS_OK;
}

/* Adds n limbs * 2^exponent. `expected`: numbers like this one have digits down to here. */
static enum status add_window(struct exact *x, struct arena *a, const uint64_t *add, int32_t exponent, int32_t expected)
{
    const uint32_t n = x->n;
    if (all_zero(add, n)) {
        return STATUS_OK;
    }
    if (x->exponent == exponent && add_limbs(x->window, add, n)) {
        return STATUS_OK;
    }
    const int32_t low = exponent + lowest_bit(add);
    const int32_t high = exponent + signed_width(add, n);
    uint64_t moved[EXACT_PRODUCTS];
    if (x->exponent != EXACT_EMPTY && low >= x->exponent && high < x->exponent + (int32_t)(64 * n)) {
        shift_limbs(moved, add, n, exponent - x->exponent);
        if (add_limbs(x->window, moved, n)) {
            return STATUS_OK;
        }
    }
    if (!fit(x, expected, high) && !fit(x, low, high)) {
        const enum status st = spill(x, a);
        if (st != STATUS_OK) {
            return st;
        }
        if (!fit(x, low, high)) { /* it fills a window by itself */
            add_wide(x->overflow->wide, EXACT_WIDE(n), add, n, (uint32_t)(exponent - EXACT_LOWEST(n)));
            return STATUS_OK;
        }
    }
    shift_limbs(moved, add, n, exponent - x->exponent);
    const bool added = add_limbs(x->window, moved, n);
    ASSERT(added);
    (void)added;
    return STATUS_OK;
}

enum status exact_add_integer(struct exact *x, struct arena *a, uint128 magnitude, int32_t exponent, bool negative)
{
    uint64_t add[EXACT_PRODUCTS] = {(uint64_t)magnitude, (uint64_t)(magnitude >> 64)};
    if (negative) {
        negate(add, x->n);
    }
    return add_window(x, a, add, exponent, exponent);
}

/* A finite double as an integer times 2^exponent. */
static uint64_t digits_of(double value, int32_t *exponent)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    const uint64_t fraction = bits & 0xfffffffffffffULL;
    *exponent = (int32_t)(biased == 0 ? 1 : biased) - 1075;
    return biased == 0 ? fraction : fraction | 0x10000000000000ULL;
}

/* The first value of a sum of values: its window is where `fit` would put it. */
static void begin(struct exact *x, uint64_t digits, int32_t exponent, bool negative)
{
    x->exponent = (exponent - 18) & ~(GRID - 1);
    x->exponent = x->exponent < EXACT_LOWEST(EXACT_VALUES) ? EXACT_LOWEST(EXACT_VALUES) : x->exponent;
    const int128 window = (int128)digits << (exponent - x->exponent);
    const int128 with_sign = negative ? -window : window;
    memcpy(x->window, &with_sign, sizeof with_sign);
}

enum status exact_add_slowly(struct exact *x, struct arena *a, double value, bool negate_it)
{
    if (isfinite(value)) {
        int32_t exponent;
        const uint64_t digits = digits_of(value, &exponent);
        if (x->exponent == EXACT_EMPTY && x->n == EXACT_VALUES && digits != 0) {
            begin(x, digits, exponent, (signbit(value) != 0) != negate_it);
            return STATUS_OK;
        }
        return exact_add_integer(x, a, digits, exponent, (signbit(value) != 0) != negate_it);
    }
    struct exact_overflow *o = overflow_of(x, a);
    if (o == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint64_t *count = isnan(value) ? &o->nan : value > 0 ? &o->plus : &o->minus;
    *count += negate_it ? UINT64_MAX : 1;
    return STATUS_OK;
}

enum status exact_add_square(struct exact *x, struct arena *a, double value, bool negate_it)
{
    if (!isfinite(value)) {
        return STATUS_OK;
    }
    int32_t exponent;
    const uint64_t digits = digits_of(value, &exponent);
    return exact_add_integer(x, a, (uint128)digits * digits, 2 * exponent, negate_it);
}

enum status exact_add_square_i64(struct exact *x, struct arena *a, int64_t value, bool negate_it)
{
    const uint64_t digits = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return exact_add_integer(x, a, (uint128)digits * digits, 0, negate_it);
}

/* Two windows of values in the same place; false: they are not, or the sum does not fit. */
static bool merge_windows(struct exact *into, const struct exact *from)
{
    int128 to, add;
    if (into->exponent != from->exponent || into->n != EXACT_VALUES || from->overflow != NULL) {
        return false;
    }
    memcpy(&to, into->window, sizeof to);
    memcpy(&add, from->window, sizeof add);
    if (__builtin_add_overflow(to, add, &to)) {
        return false;
    }
    memcpy(into->window, &to, sizeof to);
    return true;
}

enum status exact_merge(struct exact *into, struct arena *a, const struct exact *from)
{
    if (LIKELY(merge_windows(into, from))) {
        return STATUS_OK;
    }
    if (into->exponent == EXACT_EMPTY && into->overflow == NULL && from->overflow == NULL) {
        memcpy(into, from, EXACT_SIZE(from->n));
        return STATUS_OK;
    }
    const int32_t low = from->exponent + (all_zero(from->window, from->n) ? 0 : lowest_bit(from->window));
    const enum status st = add_window(into, a, from->window, from->exponent, low);
    const struct exact_overflow *o = from->overflow;
    if (st != STATUS_OK || o == NULL) {
        return st;
    }
    struct exact_overflow *to = overflow_of(into, a);
    if (to == NULL) {
        return STATUS_NO_MEMORY;
    }
    to->nan += o->nan;
    to->plus += o->plus;
    to->minus += o->minus;
    if (o->wide == NULL) {
        return STATUS_OK;
    }
    uint64_t *wide = wide_of(into, a);
    if (wide == NULL) {
        return STATUS_NO_MEMORY;
    }
    add_wide(wide, EXACT_WIDE(into->n), o->wide, EXACT_WIDE(into->n), 0);
    return STATUS_OK;
}

/* ---- coming out ---- */

bool exact_is_special(const struct exact *x, double *value)
{
    const struct exact_overflow *o = x->overflow;
    if (o == NULL || (o->nan | o->plus | o->minus) == 0) {
        return false;
    }
    *value = o->nan != 0 || (o->plus != 0 && o->minus != 0) ? (double)NAN : o->plus != 0 ? (double)INFINITY : -(double)INFINITY;
    return true;
}

/* Limbs that are zero at either end go. */
static void big_trim(struct big *b)
{
    while (b->n > 0 && b->limbs[b->n - 1] == 0) {
        b->n--;
    }
    uint32_t low = 0;
    while (low < b->n && b->limbs[low] == 0) {
        low++;
    }
    if (low > 0) {
        b->n -= low;
        memmove(b->limbs, b->limbs + low, b->n * sizeof *b->limbs);
        b->exponent += (int32_t)(64 * low);
    }
    if (b->n == 0) {
        b->exponent = 0;
        b->negative = false;
    }
}

/* Of two's complement limbs that lie in b->limbs. */
static void big_settle(struct big *b)
{
    b->negative = sign_of(b->limbs, b->n) != 0;
    if (b->negative) {
        negate(b->limbs, b->n);
    }
    big_trim(b);
}

void exact_to_big(const struct exact *x, struct big *out)
{
    const uint64_t *wide = x->overflow == NULL ? NULL : x->overflow->wide;
    if (wide == NULL) {
        out->n = x->n;
        out->exponent = x->exponent;
        memcpy(out->limbs, x->window, x->n * sizeof *x->window);
    } else {
        out->n = EXACT_WIDE(x->n);
        out->exponent = EXACT_LOWEST(x->n);
        memcpy(out->limbs, wide, out->n * sizeof *wide);
        if (x->exponent != EXACT_EMPTY) {
            add_wide(out->limbs, out->n, x->window, x->n, (uint32_t)(x->exponent - EXACT_LOWEST(x->n)));
        }
    }
    big_settle(out);
}

void big_from_i128(struct big *out, int128 value)
{
    const uint128 bits = (uint128)value;
    out->n = 2;
    out->exponent = 0;
    out->limbs[0] = (uint64_t)bits;
    out->limbs[1] = (uint64_t)(bits >> 64);
    big_settle(out);
}

/* The nearest double to top * 2^exponent, to which `more` (if anything follows below it) is added; the highest bit of `top` is set. */
static double rounded(uint64_t top, bool more, int32_t exponent, bool negative)
{
    const int32_t highest = exponent + 63;
    const int32_t digits = highest >= -1022 ? 53 : 53 - (-1022 - highest);
    double result;
    if (highest > 1023) {
        result = (double)INFINITY;
    } else if (digits < 0) {
        result = 0.0;
    } else {
        const uint32_t dropped = 64 - (uint32_t)digits; /* 11 to 64 */
        uint64_t kept = dropped == 64 ? 0 : top >> dropped;
        const uint64_t rest = dropped == 64 ? top : top << (64 - dropped);
        const uint64_t half = (uint64_t)1 << 63;
        kept += rest > half || (rest == half && (more || (kept & 1) != 0));
        const int32_t unit = exponent + (int32_t)dropped;
        if (LIKELY(unit >= -1022 && unit <= 900)) { /* then so is the power of two a double, and the product */
            const uint64_t bits = (uint64_t)(unit + 1023) << 52;
            double power;
            memcpy(&power, &bits, sizeof power);
            result = (double)(int64_t)kept * power;
        } else {
            result = ldexp((double)kept, unit);
        }
    }
    return negative ? -result : result;
}

/* b /= divisor, rounded down; tells whether anything is left. */
static bool divide(struct big *b, uint64_t divisor)
{
    uint64_t left = 0;
    for (uint32_t i = b->n; i-- > 0;) {
        const uint128 each = ((uint128)left << 64) | b->limbs[i];
        b->limbs[i] = (uint64_t)(each / divisor);
        left = (uint64_t)(each % divisor);
    }
    return left != 0;
}

double big_to_double(struct big *b, uint64_t divisor, uint64_t second)
{
    if (b->n == 0) {
        return 0.0;
    }
    bool more = false;
    if (divisor != 1 || second != 1) {
        /* three limbs more, so that a quotient by two limbs has more digits than a double */
        memmove(b->limbs + 3, b->limbs, b->n * sizeof *b->limbs);
        memset(b->limbs, 0, 3 * sizeof *b->limbs);
        b->n += 3;
        b->exponent -= 3 * 64;
        uint64_t both;
        if (!__builtin_mul_overflow(divisor, second, &both)) {
            more = divide(b, both);
        } else {
            more = divide(b, divisor);
            more |= divide(b, second);
        }
    }
    uint32_t n = b->n;
    while (b->limbs[n - 1] == 0) {
        n--;
    }
    uint64_t top = b->limbs[n - 1];
    const uint32_t zeros = (uint32_t)__builtin_clzll(top);
    top <<= zeros;
    if (n > 1) {
        const uint64_t below = b->limbs[n - 2];
        if (zeros > 0) {
            top |= below >> (64 - zeros);
        }
        more |= below << zeros != 0 || !all_zero(b->limbs, n - 2);
    }
    return rounded(top, more, b->exponent + (int32_t)(64 * (n - 1)) - (int32_t)zeros, b->negative);
}

double exact_to_double(const struct exact *x)
{
    if (x->overflow == NULL && x->n == EXACT_VALUES) { /* nearly always */
        int128 window;
        memcpy(&window, x->window, sizeof window);
        if (window == 0) {
            return 0.0;
        }
        uint128 bits = window < 0 ? -(uint128)window : (uint128)window;
        const uint64_t high = (uint64_t)(bits >> 64);
        const int zeros = high != 0 ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)bits);
        bits <<= zeros;
        return rounded((uint64_t)(bits >> 64), (uint64_t)bits != 0, x->exponent + 64 - zeros, window < 0);
    }
    double special;
    if (exact_is_special(x, &special)) {
        return special;
    }
    struct big b;
    exact_to_big(x, &b);
    return big_to_double(&b, 1, 1);
}

/* b *= factor */
static void multiply(struct big *b, uint64_t factor)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const uint128 each = (uint128)b->limbs[i] * factor + carry;
        b->limbs[i] = (uint64_t)each;
        carry = (uint64_t)(each >> 64);
    }
    if (carry != 0) {
        b->limbs[b->n++] = carry;
    }
}

static void square(struct big *out, const struct big *b)
{
    out->n = 2 * b->n;
    out->exponent = 2 * b->exponent;
    out->negative = false;
    memset(out->limbs, 0, out->n * sizeof *out->limbs);
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b->n; j++) {
            const uint128 each = (uint128)b->limbs[i] * b->limbs[j] + out->limbs[i + j] + carry;
            out->limbs[i + j] = (uint64_t)each;
            carry = (uint64_t)(each >> 64);
        }
        out->limbs[i + b->n] = carry;
    }
    big_trim(out);
}

/* Brings the exponent down to a lower one. */
static void lower(struct big *b, int32_t exponent)
{
    const uint32_t shift = (uint32_t)(b->exponent - exponent);
    const uint32_t limbs = shift >> 6;
    const uint32_t bits = shift & 63;
    b->limbs[b->n] = 0;
    for (uint32_t i = b->n + 1; i-- > 0;) {
        const uint64_t below = i == 0 ? 0 : b->limbs[i - 1];
        b->limbs[i + limbs] = bits == 0 ? b->limbs[i] : (b->limbs[i] << bits) | (below >> (64 - bits));
    }
    memset(b->limbs, 0, limbs * sizeof *b->limbs);
    b->n += limbs + 1;
    b->exponent = exponent;
}

void big_spread(struct big *out, const struct big *sum, const struct big *squares, uint64_t count)
{
    struct big other;
    square(&other, sum);
    *out = *squares;
    multiply(out, count);
    if (out->n == 0) {
        out->exponent = other.exponent;
    }
    if (other.n == 0) {
        other.exponent = out->exponent;
    }
    const int32_t exponent = out->exponent < other.exponent ? out->exponent : other.exponent;
    lower(out, exponent);
    lower(&other, exponent);
    const uint32_t n = (out->n > other.n ? out->n : other.n) + 1; /* a limb for the sign */
    memset(out->limbs + out->n, 0, (n - out->n) * sizeof *out->limbs);
    memset(other.limbs + other.n, 0, (n - other.n) * sizeof *other.limbs);
    uint64_t borrow = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint128 each = (uint128)out->limbs[i] - other.limbs[i] - borrow;
        out->limbs[i] = (uint64_t)each;
        borrow = (uint64_t)(each >> 64) & 1;
    }
    out->n = n;
    big_settle(out);
}

bool exact_is_zero(const struct exact *x)
{
    double special;
    struct big b;
    exact_to_big(x, &b);
    return b.n == 0 && !exact_is_special(x, &special);
}

/* ---- bytes: u32 flags, u32 n, i64 exponent, [u64 NaN, +inf, -inf], n limbs of the magnitude, which is odd ---- */

enum { NEGATIVE = 1, SPECIAL = 2 };

size_t exact_write(const struct exact *x, uint8_t *out)
{
    struct big b;
    double special;
    exact_to_big(x, &b);
    if (b.n > 0) {
        const int zeros = __builtin_ctzll(b.limbs[0]);
        for (uint32_t i = 0; zeros > 0 && i < b.n; i++) {
            b.limbs[i] = (b.limbs[i] >> zeros) | (i + 1 < b.n ? b.limbs[i + 1] << (64 - zeros) : 0);
        }
        b.exponent += zeros;
        b.n -= b.limbs[b.n - 1] == 0;
    }
    const bool is_special = exact_is_special(x, &special);
    const uint32_t head[2] = {(b.negative ? NEGATIVE : 0u) | (is_special ? SPECIAL : 0u), b.n};
    const int64_t exponent = b.exponent;
    uint8_t *at = out;
    memcpy(at, head, sizeof head);
    at += sizeof head;
    memcpy(at, &exponent, sizeof exponent);
    at += sizeof exponent;
    if (is_special) {
        const uint64_t counts[3] = {x->overflow->nan, x->overflow->plus, x->overflow->minus};
        memcpy(at, counts, sizeof counts);
        at += sizeof counts;
    }
    memcpy(at, b.limbs, b.n * sizeof *b.limbs);
    return (size_t)(at - out) + b.n * sizeof *b.limbs;
}

enum status exact_read(struct exact *x, struct arena *a, uint32_t n, struct reader *r)
{
    exact_init(x, n);
    const uint32_t flags = read_u32(r);
    const uint32_t n_limbs = read_u32(r);
    const int64_t exponent = read_i64(r);
    uint64_t counts[3] = {0, 0, 0};
    uint64_t limbs[EXACT_WIDE(EXACT_PRODUCTS) + 1] = {0};
    if (flags > (NEGATIVE | SPECIAL) || n_limbs > EXACT_WIDE(n)) {
        return STATUS_BAD_SNAPSHOT;
    }
    if ((flags & SPECIAL) != 0) {
        read_raw(r, counts, sizeof counts);
    }
    read_raw(r, limbs, n_limbs * sizeof *limbs);
    if (r->failed || ((flags & SPECIAL) != 0) != ((counts[0] | counts[1] | counts[2]) != 0)) {
        return STATUS_BAD_SNAPSHOT;
    }
    if (n_limbs == 0) {
        if (exponent != 0 || (flags & NEGATIVE) != 0) {
            return STATUS_BAD_SNAPSHOT;
        }
    } else {
        if ((limbs[0] & 1) == 0 || limbs[n_limbs - 1] == 0 || exponent < EXACT_LOWEST(n) || exponent > -EXACT_LOWEST(n)) {
            return STATUS_BAD_SNAPSHOT;
        }
        const int32_t width = (int32_t)(64 * n_limbs) - __builtin_clzll(limbs[n_limbs - 1]);
        if ((int32_t)exponent + width >= -EXACT_LOWEST(n)) { /* the highest bit is the sign's */
            return STATUS_BAD_SNAPSHOT;
        }
        if ((flags & NEGATIVE) != 0) {
            negate(limbs, EXACT_WIDE(EXACT_PRODUCTS) + 1);
        }
        if (width < (int32_t)(64 * n)) {
            const enum status st = add_window(x, a, limbs, (int32_t)exponent, (int32_t)exponent);
            if (st != STATUS_OK) {
                return st;
            }
        } else {
            uint64_t *wide = wide_of(x, a);
            if (wide == NULL) {
                exact_free(x, a);
                return STATUS_NO_MEMORY;
            }
            add_wide(wide, EXACT_WIDE(n), limbs, n_limbs + 1, (uint32_t)((int32_t)exponent - EXACT_LOWEST(n)));
        }
    }
    if ((flags & SPECIAL) != 0) {
        struct exact_overflow *o = overflow_of(x, a);
        if (o == NULL) {
            return STATUS_NO_MEMORY;
        }
        o->nan = counts[0];
        o->plus = counts[1];
        o->minus = counts[2];
    }
    return STATUS_OK;
}
