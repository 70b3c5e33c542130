#include "json_scan.h"

#include <float.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

#define ONES 0x0101010101010101ULL
#define HIGHS 0x8080808080808080ULL
#define EXPONENT_MOST 100000
#define SCALE_MOST 27 /* 5^27 is the last power of five below 2^63 */

/* Not 0 if a byte of x is below n (n <= 128). */
static inline uint64_t has_below(uint64_t x, uint64_t n)
{
    return (x - ONES * n) & ~x & HIGHS;
}

static inline uint64_t has_byte(uint64_t x, uint8_t b)
{
    return has_below(x ^ (ONES * b), 1);
}

/* --- strings ------------------------------------------------------------------------------------------------------------------ */

/* The length of the UTF-8 sequence at p, 0 if it is none (overlong forms and surrogates are none). */
static size_t utf8_length(const uint8_t *p, const uint8_t *end)
{
    const size_t left = (size_t)(end - p);
    const uint8_t b = p[0];
    if (b < 0xc2) {
        return 0;
    }
    if (b < 0xe0) {
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (b < 0xf0) {
        const uint8_t low = b == 0xe0 ? 0xa0 : 0x80;
        const uint8_t high = b == 0xed ? 0x9f : 0xbf;
        return left >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (b < 0xf5) {
        const uint8_t low = b == 0xf0 ? 0x90 : 0x80;
        const uint8_t high = b == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

static int32_t hex_digit(uint8_t b)
{
    if (b >= '0' && b <= '9') {
        return b - '0';
    }
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* The four digits of \uXXXX, -1 if they are none. */
static int32_t hex_unit(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const int32_t digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

/* The cursor stands at a backslash. */
static enum json_fault pass_escape(struct json_cursor *c)
{
    const uint8_t *p = c->at + 1;
    if (p >= c->end) {
        c->at = c->end;
        return JSON_CUT_OFF;
    }
    switch (*p) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        c->at = p + 1;
        return JSON_FINE;
    case 'u': {
        const int32_t unit = hex_unit(p + 1, c->end);
        if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
            return JSON_BAD_ESCAPE;
        }
        p += 5;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            const int32_t low = c->end - p >= 2 && p[0] == '\\' && p[1] == 'u' ? hex_unit(p + 2, c->end) : -1;
            if (low < 0xdc00 || low > 0xdfff) {
                return JSON_BAD_ESCAPE;
            }
            p += 6;
        }
        c->at = p;
        return JSON_FINE;
    }
    default:
        return JSON_BAD_ESCAPE;
    }
}

/* Up to the next byte of a string that is not simply one of its characters, or to the end. */
static inline void pass_plain(struct json_cursor *c)
{
    uint64_t eight;
    while (c->end - c->at >= 8) {
        memcpy(&eight, c->at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        eight = __builtin_bswap64(eight);
#endif
        /* Each of them may mark bytes above its first hit wrongly, but none below it. */
        const uint64_t special = has_byte(eight, '"') | has_byte(eight, '\\') | has_below(eight, 0x20) | (eight & HIGHS);
        if (special != 0) {
            c->at += __builtin_ctzll(special) / 8;
            return;
        }
        c->at += 8;
    }
    while (c->at < c->end && *c->at >= 0x20 && *c->at < 0x80 && *c->at != '"' && *c->at != '\\') {
        c->at++;
    }
}

enum json_fault json_string(struct json_cursor *c, struct json_text *text)
{
    ASSERT(c->at < c->end && *c->at == '"');
    c->at++;
    text->bytes = c->at;
    text->has_escapes = false;
    for (;;) {
        pass_plain(c);
        if (UNLIKELY(c->at == c->end)) {
            return JSON_CUT_OFF;
        }
        if (*c->at == '"') {
            text->size = (size_t)(c->at - text->bytes);
            c->at++;
            return JSON_FINE;
        }
        if (*c->at == '\\') {
            text->has_escapes = true;
            const enum json_fault fault = pass_escape(c);
            if (UNLIKELY(fault)) {
                return fault;
            }
        } else if (*c->at < 0x20) {
            return JSON_BAD_CONTROL;
        } else {
            const size_t length = utf8_length(c->at, c->end);
            if (UNLIKELY(length == 0)) {
                return JSON_BAD_UTF8;
            }
            c->at += length;
        }
    }
}

static size_t put_utf8(uint32_t point, uint8_t *to)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xc0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xe0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

size_t json_unescape(const struct json_text *text, uint8_t *to)
{
    const uint8_t *p = text->bytes;
    const uint8_t *const end = p + text->size;
    uint8_t *const first = to;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        const uint8_t kind = p[1];
        p += 2;
        if (kind != 'u') {
            *to++ = kind == 'b' ? '\b' : kind == 'f' ? '\f' : kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : kind;
            continue;
        }
        uint32_t point = (uint32_t)hex_unit(p, end);
        p += 4;
        if (point >= 0xd800 && point <= 0xdbff) { /* json_string saw to the other half */
            point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)hex_unit(p + 2, end) - 0xdc00);
            p += 6;
        }
        to += put_utf8(point, to); /* at most 3 bytes for 6, 4 for 12 */
    }
    return (size_t)(to - first);
}

/* --- numbers ------------------------------------------------------------------------------------------------------------------ */

/* Whether each of eight bytes is a digit. */
static inline bool are_digits(uint64_t eight)
{
    return ((eight & 0xf0f0f0f0f0f0f0f0ULL) | ((eight + 0x0606060606060606ULL) & 0xf0f0f0f0f0f0f0f0ULL) >> 4) == 0x3333333333333333ULL;
}

/* Eight digits, the first of them in the lowest byte: pairs, then fours, then all. */
static inline uint64_t value_of_digits(uint64_t eight)
{
    eight -= 0x3030303030303030ULL;
    eight = eight * 10 + (eight >> 8);
    return (((eight & 0x000000ff000000ffULL) * (100 + (1000000ULL << 32))) + (((eight >> 16) & 0x000000ff000000ffULL) * (1 + (10000ULL << 32)))) >> 32;
}

/* Digits at the cursor into the mantissa, as long as they fit; what does not fit only counts. `taken`: how many significant ones there
 * are already. Returns how many digits there were. */
static inline size_t digits(struct json_cursor *c, struct json_number *n, size_t *taken)
{
    const uint8_t *const first = c->at;
    const uint8_t *const end = c->end;
    const uint8_t *p = first;
    uint64_t mantissa = n->mantissa;
    if (mantissa == 0) {
        while (p < end && *p == '0') { /* leading zeros are no significant digits */
            p++;
        }
    }
    const uint8_t *const significant = p;
    const uint8_t *const most = end - p > (ptrdiff_t)(19 - *taken) ? p + (19 - *taken) : end;
    while (most - p >= 8) {
        uint64_t eight;
        memcpy(&eight, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        eight = __builtin_bswap64(eight);
#endif
        if (!are_digits(eight)) {
            break;
        }
        mantissa = mantissa * 100000000 + value_of_digits(eight);
        p += 8;
    }
    while (p < most && (uint8_t)(*p - '0') < 10) {
        mantissa = mantissa * 10 + (uint8_t)(*p - '0');
        p++;
    }
    *taken += (size_t)(p - significant);
    if (UNLIKELY(p == most)) {
        while (p < end && (uint8_t)(*p - '0') < 10) {
            n->exact = false;
            p++;
        }
    }
    n->mantissa = mantissa;
    c->at = p;
    return (size_t)(p - first);
}

enum json_fault json_number(struct json_cursor *c, struct json_number *n)
{
    *n = (struct json_number){.bytes = c->at, .exact = true};
    size_t taken = 0;
    if (c->at < c->end && *c->at == '-') {
        n->negative = true;
        c->at++;
    }
    if (c->at < c->end && *c->at == '0') {
        c->at++;
    } else if (UNLIKELY(digits(c, n, &taken) == 0)) {
        return c->at == c->end ? JSON_CUT_OFF : JSON_BAD_NUMBER;
    }
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        const size_t after = digits(c, n, &taken);
        if (UNLIKELY(after == 0)) {
            return c->at == c->end ? JSON_CUT_OFF : JSON_BAD_NUMBER;
        }
        n->exponent = after > EXPONENT_MOST ? -EXPONENT_MOST : -(int32_t)after;
    }
    if (c->at < c->end && (*c->at | 0x20) == 'e') {
        c->at++;
        const bool down = c->at < c->end && *c->at == '-';
        if (c->at < c->end && (*c->at == '-' || *c->at == '+')) {
            c->at++;
        }
        const uint8_t *const first = c->at;
        int32_t exponent = 0;
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
            exponent = exponent > EXPONENT_MOST ? exponent : exponent * 10 + (*c->at - '0');
            c->at++;
        }
        if (UNLIKELY(c->at == first)) {
            return c->at == c->end ? JSON_CUT_OFF : JSON_BAD_NUMBER;
        }
        n->exponent += down ? -exponent : exponent;
    }
    n->size = (size_t)(c->at - n->bytes);
    return JSON_FINE;
}

enum json_fault json_to_i64(const struct json_number *n, int64_t *out)
{
    if (!n->exact) {
        return n->exponent >= 0 ? JSON_OUT_OF_RANGE : JSON_WRONG_TYPE;
    }
    uint64_t value = n->mantissa;
    if (value != 0) {
        for (int32_t e = n->exponent; e < 0; e++) {
            if (value % 10 != 0) {
                return JSON_WRONG_TYPE;
            }
            value /= 10;
        }
        for (int32_t e = n->exponent; e > 0; e--) {
            if (__builtin_mul_overflow(value, (uint64_t)10, &value)) {
                return JSON_OUT_OF_RANGE;
            }
        }
    }
    if (value > (uint64_t)INT64_MAX + (n->negative ? 1 : 0)) {
        return JSON_OUT_OF_RANGE;
    }
    *out = n->negative ? (int64_t)(0 - value) : (int64_t)value;
    return JSON_FINE;
}

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* (x * 2^exponent), rounded once to the nearest double, ties to even; `sticky`: the true value is a little above. The result is a
 * normal number: x != 0 and the exponents that come here keep it far from both ends. */
static double rounded(uint128 x, int32_t exponent, bool sticky)
{
    const uint64_t high = (uint64_t)(x >> 64);
    const int32_t bits = high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)x);
    const int32_t shift = bits - 53;
    uint64_t mantissa;
    if (shift <= 0) {
        ASSERT(!sticky); /* a quotient has 65 bits and more */
        mantissa = (uint64_t)x << -shift;
    } else {
        const uint128 rest = x & (((uint128)1 << shift) - 1);
        const uint128 half = (uint128)1 << (shift - 1);
        mantissa = (uint64_t)(x >> shift);
        if (rest > half || (rest == half && (sticky || (mantissa & 1) != 0))) {
            mantissa++; /* 2^53 at most: then the next power of two, which the sum below makes of it */
        }
    }
    const uint64_t raw = ((uint64_t)(exponent + shift + 52 + 1023) << 52) + (mantissa - ((uint64_t)1 << 52));
    double result;
    memcpy(&result, &raw, sizeof result);
    return result;
}

bool json_to_f64(const struct json_number *n, double *out)
{
    double magnitude;
    const int32_t e = n->exponent;
    if (!n->exact) {
        return false;
    }
    if (n->mantissa == 0) {
        magnitude = 0;
    } else if (FLT_EVAL_METHOD == 0 && n->mantissa <= (uint64_t)1 << 53 && e >= -22 && e <= 22) {
        /* Both are exact, so that one operation rounds once. */
        magnitude = e < 0 ? (double)n->mantissa / TENS[-e] : (double)n->mantissa * TENS[e];
    } else if (e < -SCALE_MOST || e > SCALE_MOST) {
        return false;
    } else {
        uint64_t five = 1; /* 10^e = 5^e * 2^e */
        for (int32_t i = 0; i < (e < 0 ? -e : e); i++) {
            five *= 5;
        }
        if (e >= 0) {
            magnitude = rounded((uint128)n->mantissa * five, e, false);
        } else {
            const int32_t up = __builtin_clzll(n->mantissa);
            const uint128 dividend = (uint128)(n->mantissa << up) << 64;
            magnitude = rounded(dividend / five, e - up - 64, dividend % five != 0);
        }
    }
    *out = n->negative ? -magnitude : magnitude;
    return true;
}

/* --- values ------------------------------------------------------------------------------------------------------------------- */

enum json_fault json_word(struct json_cursor *c, const char *word, size_t size)
{
    for (size_t i = 0; i < size; i++, c->at++) {
        if (UNLIKELY(c->at == c->end)) {
            return JSON_CUT_OFF;
        }
        if (UNLIKELY(*c->at != (uint8_t)word[i])) {
            return JSON_BAD_TOKEN;
        }
    }
    return JSON_FINE;
}

static enum json_fault skip_scalar(struct json_cursor *c)
{
    struct json_text text;
    struct json_number number;
    switch (*c->at) {
    case '"':
        return json_string(c, &text);
    case 't':
        return json_word(c, "true", 4);
    case 'f':
        return json_word(c, "false", 5);
    case 'n':
        return json_word(c, "null", 4);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return json_number(c, &number);
    default:
        return JSON_BAD_TOKEN;
    }
}

/* A name and its colon, up to the value. */
static enum json_fault skip_name(struct json_cursor *c)
{
    struct json_text text;
    if (c->at == c->end || *c->at != '"') {
        return c->at == c->end ? JSON_CUT_OFF : JSON_BAD_TOKEN;
    }
    const enum json_fault fault = json_string(c, &text);
    if (fault) {
        return fault;
    }
    json_space(c);
    if (c->at == c->end || *c->at != ':') {
        return c->at == c->end ? JSON_CUT_OFF : JSON_BAD_TOKEN;
    }
    c->at++;
    return JSON_FINE;
}

static enum json_fault skip_nested(struct json_cursor *c)
{
    uint64_t is_object[JSON_DEPTH / 64] = {0}; /* a bit for each that is open, innermost last */
    uint32_t depth = 0;
    for (;;) {
        enum json_fault fault = JSON_FINE;
        json_space(c);
        if (UNLIKELY(c->at == c->end)) {
            return JSON_CUT_OFF;
        }
        if (*c->at == '{' || *c->at == '[') {
            const bool object = *c->at == '{';
            if (depth == JSON_DEPTH) {
                return JSON_TOO_DEEP;
            }
            c->at++;
            json_space(c);
            if (c->at < c->end && *c->at == (object ? '}' : ']')) {
                c->at++;
            } else {
                const uint64_t bit = (uint64_t)1 << (depth % 64);
                is_object[depth / 64] = object ? is_object[depth / 64] | bit : is_object[depth / 64] & ~bit;
                depth++;
                fault = object ? skip_name(c) : JSON_FINE;
                if (fault) {
                    return fault;
                }
                continue;
            }
        } else {
            fault = skip_scalar(c);
            if (UNLIKELY(fault)) {
                return fault;
            }
        }
        /* A value is over: so may be what it stands in. */
        for (;;) {
            if (depth == 0) {
                return JSON_FINE;
            }
            json_space(c);
            if (UNLIKELY(c->at == c->end)) {
                return JSON_CUT_OFF;
            }
            const bool object = (is_object[(depth - 1) / 64] >> ((depth - 1) % 64) & 1) != 0;
            if (*c->at == (object ? '}' : ']')) {
                c->at++;
                depth--;
                continue;
            }
            if (*c->at != ',') {
                return JSON_BAD_TOKEN;
            }
            c->at++;
            json_space(c);
            fault = object ? skip_name(c) : JSON_FINE;
            if (fault) {
                return fault;
            }
            break;
        }
    }
}

enum json_fault json_skip(struct json_cursor *c)
{
    if (UNLIKELY(c->at == c->end)) {
        return JSON_CUT_OFF;
    }
    return *c->at == '{' || *c->at == '[' ? skip_nested(c) : skip_scalar(c);
}
