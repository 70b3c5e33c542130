/* Status codes, the time type, small inline helpers. Layer 0: includes nothing of fyke. */
#ifndef FYKE_BASE_H
#define FYKE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t event_time_t; /* nanoseconds since the epoch */

#define NO_POSITION UINT64_MAX

#define TIME_MIN INT64_MIN
#define TIME_MAX INT64_MAX

enum column_type { COLUMN_I64 = 0, COLUMN_F64 = 1, COLUMN_BOOL = 2, COLUMN_STR = 3 };

enum status {
    STATUS_OK = 0,
    STATUS_NO_MEMORY,
    STATUS_BAD_PLAN,
    STATUS_BAD_SNAPSHOT,
    STATUS_TOO_MANY_PARTIALS,
    STATUS_TOO_MUCH_MEMORY,
    STATUS_SKIP_NO_ELEMENT,
    STATUS_SKIP_FIRST_ELEMENT,
    STATUS_CALLBACK, /* a Python condition raised; the exception is kept by the caller */
};

/* Filled only on failure; engine.pxi turns it into one exception. */
struct failure {
    enum status status;
    uint32_t pattern;
    uint32_t stage;
    uint64_t position; /* of the event being stepped; NO_POSITION: a deadline at the end of a push or of the input */
    event_time_t time; /* of that event, or the deadline */
    int64_t given;
    int64_t limit;
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef FYKE_DEBUG
#include <assert.h>
#define ASSERT(x) assert(x)
#else
#define ASSERT(x) ((void)0)
#endif

/* t + d for d >= 0, saturating at TIME_MAX, which no event time reaches: "never". */
static inline event_time_t time_add(event_time_t t, int64_t d)
{
    event_time_t sum;
    return __builtin_add_overflow(t, d, &sum) ? TIME_MAX : sum;
}

/* t - d for d >= 0, saturating at TIME_MIN. */
static inline event_time_t time_sub(event_time_t t, int64_t d)
{
    event_time_t difference;
    return __builtin_sub_overflow(t, d, &difference) ? TIME_MIN : difference;
}

/* t + d for any d, saturating at both ends. */
static inline event_time_t time_shift(event_time_t t, int64_t d)
{
    event_time_t sum;
    return __builtin_add_overflow(t, d, &sum) ? (d < 0 ? TIME_MIN : TIME_MAX) : sum;
}

static inline void touch(const void *p)
{
    (void)*(const volatile char *)p;
}

/* splitmix64's finaliser: every input bit reaches every output bit. */
static inline uint64_t mix64(uint64_t z)
{
    z ^= z >> 30;
    z *= 0xbf58476d1ce4e5b9ULL;
    z ^= z >> 27;
    z *= 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

#endif
