/* A bounded little-endian reader over untrusted bytes: past the end it returns zeros and remembers that it failed. */
#ifndef FYKE_BYTES_H
#define FYKE_BYTES_H

#include "base.h"

#include <string.h>

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline void read_raw(struct reader *r, void *out, size_t n)
{
    if ((size_t)(r->end - r->at) < n) {
        r->failed = true;
        r->at = r->end;
        memset(out, 0, n);
        return;
    }
    memcpy(out, r->at, n);
    r->at += n;
}

static inline uint32_t read_u32(struct reader *r)
{
    uint32_t x;
    read_raw(r, &x, sizeof x);
    return x;
}

static inline uint64_t read_u64(struct reader *r)
{
    uint64_t x;
    read_raw(r, &x, sizeof x);
    return x;
}

static inline int64_t read_i64(struct reader *r)
{
    return (int64_t)read_u64(r);
}

/* A count of items of at least `item` bytes each: never more than the bytes that are left can hold. */
static inline uint32_t read_count(struct reader *r, size_t item)
{
    const uint32_t n = read_u32(r);
    if ((uint64_t)n * item > (size_t)(r->end - r->at)) {
        r->failed = true;
        r->at = r->end;
        return 0;
    }
    return n;
}

#endif
