/* States as canonical bytes and back, and their invariants. The bytes: the rows, then the parts in the order of the plan: a count as u64, a sum of integers as
 * two u64, other sums as exact_write gives them, a least or greatest as its key, what is kept with its time and position; no event_refs. */
#include "aggregate.h"

static const void *at(const struct agg_part *p, const void *state)
{
    return (const uint8_t *)state + p->offset;
}

static size_t plain_size(uint32_t op)
{
    switch (op) {
    case PART_SUM_I:
        return sizeof(struct total);
    case PART_FIRST:
    case PART_LAST:
        return sizeof(struct kept);
    case PART_ARG_MIN:
    case PART_ARG_MAX:
        return sizeof(struct kept_by);
    default:
        return part_is_ref(op) ? 0 : sizeof(uint64_t);
    }
}

enum status agg_export(const struct agg_plan *plan, const void *state, struct agg_bytes *out)
{
    uint64_t most = sizeof(uint64_t);
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        most += part_is_exact(plan->parts[i].op) ? EXACT_MOST_BYTES : plain_size(plan->parts[i].op);
    }
    void *bytes = out->bytes;
    const enum status st = arena_reserve(out->arena, &bytes, &out->capacity, out->n + most, 1);
    out->bytes = bytes;
    if (st != STATUS_OK) {
        return st;
    }
    memcpy(out->bytes + out->n, state, sizeof(uint64_t));
    out->n += (uint32_t)sizeof(uint64_t);
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        const struct agg_part *p = &plan->parts[i];
        if (part_is_exact(p->op)) {
            out->n += (uint32_t)exact_write(at(p, state), out->bytes + out->n);
        } else {
            memcpy(out->bytes + out->n, at(p, state), plain_size(p->op));
            out->n += (uint32_t)plain_size(p->op);
        }
    }
    return STATUS_OK;
}

static bool key_is_possible(uint32_t type, int64_t key)
{
    if (type == COLUMN_BOOL) {
        return key == 0 || key == 1;
    }
    /* -inf is the complement of +inf */
    return type != COLUMN_F64 || key == KEY_NAN || (key <= KEY_INFINITY && key >= ~KEY_INFINITY);
}

static bool bits_are_possible(uint32_t type, int64_t bits)
{
    return type != COLUMN_BOOL || bits == 0 || bits == 1;
}

/* Whether the part can be what n values (n > 0) have left; an event_ref is looked at elsewhere. */
static bool is_possible(const struct agg_part *p, const void *part, uint64_t n)
{
    switch (p->op) {
    case PART_SUM_I: {
        const struct total *t = part;
        const int128 sum = (int128)(((uint128)t->high << 64) | t->low);
        const int128 most = (int128)(n >> 63 != 0 ? INT64_MAX : (int64_t)n) * INT64_MAX;
        return sum <= most && sum >= -most - (int128)n;
    }
    case PART_MIN:
    case PART_MAX:
        return key_is_possible(p->type, *(const int64_t *)part);
    case PART_FIRST:
    case PART_LAST:
        return bits_are_possible(p->type, ((const struct kept *)part)->value);
    case PART_ARG_MIN:
    case PART_ARG_MAX:
        return key_is_possible(p->by_type, ((const struct kept_by *)part)->key)
            && bits_are_possible(p->type, ((const struct kept_by *)part)->kept.value);
    default:
        return true;
    }
}

/* Whether the part is what no values leave. */
static bool is_initial(const struct agg_plan *plan, const struct agg_part *p, const void *part)
{
    if (part_is_exact(p->op)) {
        return exact_is_zero(part);
    }
    if (part_is_ref(p->op)) {
        return ((const struct event_ref *)part)->segment == NO_SEGMENT;
    }
    return memcmp(part, plan->initial + p->offset, plain_size(p->op)) == 0;
}

/* Whether the event is open and has the values that the part looks at. */
static bool ref_is_possible(const struct agg_part *p, const struct event_store *s, struct event_ref e)
{
    if (e.segment >= s->n_segments || !s->segments[e.segment].in_use || e.row >= s->segments[e.segment].n_rows) {
        return false;
    }
    const struct column *columns = s->segments[e.segment].columns;
    return !column_is_null(&columns[p->column], e.row) && (p->by == AGG_NO_COLUMN || !column_is_null(&columns[p->by], e.row));
}

const char *agg_check(const struct agg_plan *plan, const void *state, const struct event_store *s)
{
    const uint64_t rows = agg_rows(state);
    uint64_t values = 0;
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        const struct agg_part *p = &plan->parts[i];
        const void *part = at(p, state);
        if (p->op == PART_VALUES) {
            values = *(const uint64_t *)part;
            if (values > rows) {
                return "an aggregate has more values than rows";
            }
        } else if (values == 0) {
            if (!is_initial(plan, p, part)) {
                return "an aggregate holds something without values";
            }
        } else if (part_is_ref(p->op)) {
            const struct event_ref e = *(const struct event_ref *)part;
            if (!ref_is_possible(p, s, e) || s->segments[e.segment].live == 0) {
                return "an aggregate holds an event that is not there, or that has no value";
            }
        } else if (!is_possible(p, part, values)) {
            return "an aggregate holds what its values cannot have left";
        }
    }
    return NULL;
}

enum status agg_restore(const struct agg_plan *plan, void *state, struct event_store *s, const uint8_t *bytes, size_t size,
                        const struct event_ref *refs)
{
    struct reader r = {bytes, bytes + size, false};
    uint32_t n_refs = 0;
    enum status st = STATUS_OK;
    agg_init(plan, state);
    read_raw(&r, state, sizeof(uint64_t));
    for (uint32_t i = 0; i < plan->n_parts && st == STATUS_OK; i++) {
        const struct agg_part *p = &plan->parts[i];
        void *part = (uint8_t *)state + p->offset;
        if (part_is_exact(p->op)) {
            st = exact_read(part, plan->arena, p->op == PART_SUM_F ? EXACT_VALUES : EXACT_PRODUCTS, &r);
        } else if (!part_is_ref(p->op)) {
            read_raw(&r, part, plain_size(p->op));
        } else {
            const struct event_ref e = refs[n_refs++];
            if (e.segment == NO_SEGMENT) {
                continue;
            }
            if (!ref_is_possible(p, s, e)) {
                st = STATUS_BAD_SNAPSHOT;
            } else {
                event_retain(s, e.segment);
                *(struct event_ref *)part = e;
            }
        }
    }
    if (st == STATUS_OK && (r.failed || r.at != r.end || agg_check(plan, state, s) != NULL)) {
        st = STATUS_BAD_SNAPSHOT;
    }
    if (st != STATUS_OK) {
        agg_free(plan, state, s);
    }
    return st;
}
