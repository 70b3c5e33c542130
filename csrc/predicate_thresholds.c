/* A value compared with many sorted constants at once: those that hold are a run of them, found by bisection, and set a bit each. Most
 * rows hold for none, which one comparison with the outermost constant tells.
 */
#include "predicate.h"

/* The constants from `low` up to `high` - 1. */
struct span {
    uint32_t low, high;
};

static inline int compare_i64(const struct plan *plan, const struct constant *c, const struct vm_register *a, uint32_t i)
{
    (void)plan;
    return (c->i64 > a->i64[i]) - (c->i64 < a->i64[i]);
}

static inline int compare_f64(const struct plan *plan, const struct constant *c, const struct vm_register *a, uint32_t i)
{
    (void)plan;
    return (c->f64 > a->f64[i]) - (c->f64 < a->f64[i]);
}

static inline int compare_text(const struct plan *plan, const struct constant *c, const struct vm_register *a, uint32_t i)
{
    return str_compare((struct str_view){plan->text + c->offset, c->size}, a->str[i]);
}

typedef int (*comparison)(const struct plan *, const struct constant *, const struct vm_register *, uint32_t);

/* The first constant that is not below the value, or, if `above`, the first that is above it. */
static inline uint32_t bound(const struct plan *plan, const struct constant *c, uint32_t n, const struct vm_register *a, uint32_t i, bool above,
                             comparison compare)
{
    uint32_t low = 0;
    uint32_t high = n;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const int order = compare(plan, &c[mid], a, i);
        if (order < 0 || (above && order == 0)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static inline struct span held(const struct plan *plan, const struct constant *c, uint32_t n, const struct vm_register *a, uint32_t i,
                               uint32_t kind, comparison compare)
{
    switch (kind) {
    case THRESHOLD_LT:
        return (struct span){compare(plan, &c[n - 1], a, i) <= 0 ? n : bound(plan, c, n, a, i, true, compare), n};
    case THRESHOLD_LE:
        return (struct span){compare(plan, &c[n - 1], a, i) < 0 ? n : bound(plan, c, n, a, i, false, compare), n};
    case THRESHOLD_GT:
        return (struct span){0, compare(plan, &c[0], a, i) >= 0 ? 0 : bound(plan, c, n, a, i, false, compare)};
    case THRESHOLD_GE:
        return (struct span){0, compare(plan, &c[0], a, i) > 0 ? 0 : bound(plan, c, n, a, i, true, compare)};
    default:
        break;
    }
    const uint32_t low = bound(plan, c, n, a, i, false, compare);
    uint32_t high = low;
    while (high < n && compare(plan, &c[high], a, i) == 0) {
        high++;
    }
    return (struct span){low, high};
}

static inline void each_row(const struct instruction *op, const struct vm_register *a, const struct plan *plan, uint32_t n, uint64_t *masks,
                            uint32_t mask_words, comparison compare)
{
    const struct constant *constants = plan->constants + op->imm;
    const struct constant *bits = constants + op->b;
    for (uint32_t i = 0; i < n; i++) {
        if ((a->status != NULL && a->status[i] != 0) || (op->op == OP_THRESHOLDS_F && a->f64[i] != a->f64[i])) {
            continue; /* null; NaN */
        }
        const struct span span = held(plan, constants, op->b, a, i, op->flags, compare);
        uint64_t *mask = masks + (size_t)i * mask_words;
        for (uint32_t k = span.low; k < span.high; k++) {
            mask[bits[k].i64 >> 6] |= (uint64_t)1 << (bits[k].i64 & 63);
        }
    }
}

void vm_thresholds(const struct instruction *op, const struct vm_register *a, const struct plan *plan, uint32_t n, uint64_t *masks,
                   uint32_t mask_words)
{
    if (op->op == OP_THRESHOLDS_I) {
        each_row(op, a, plan, n, masks, mask_words, compare_i64);
    } else if (op->op == OP_THRESHOLDS_F) {
        each_row(op, a, plan, n, masks, mask_words, compare_f64);
    } else {
        each_row(op, a, plan, n, masks, mask_words, compare_text);
    }
}
