/* One state: rows come in, go out again, and are merged. */
#include "aggregate.h"

/* ---- values and their order ---- */

static int64_t value_bits(const struct column *c, uint32_t row)
{
    return c->type == COLUMN_BOOL ? ((const uint8_t *)c->data)[row] != 0 : ((const int64_t *)c->data)[row];
}

static int64_t value_key(const struct column *c, uint32_t row)
{
    return c->type == COLUMN_F64 ? key_of_double(((const double *)c->data)[row]) : value_bits(c, row);
}

static const struct column *column_at(const struct event_store *s, struct event_ref e, uint32_t column)
{
    return &s->segments[e.segment].columns[column];
}

/* Below 0, 0, above 0; numbers or text, of the same type. */
static int compare(const struct column *a, uint32_t row_a, const struct column *b, uint32_t row_b)
{
    if (a->type != COLUMN_STR) {
        const int64_t x = value_key(a, row_a);
        const int64_t y = value_key(b, row_b);
        return (x > y) - (x < y);
    }
    const struct str_view x = column_str(a, row_a);
    const struct str_view y = column_str(b, row_b);
    const uint64_t least = x.size < y.size ? x.size : y.size;
    const int order = least == 0 ? 0 : memcmp(x.data, y.data, least);
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

static bool earlier(event_time_t time, uint64_t position, event_time_t than_time, uint64_t than_position)
{
    return time < than_time || (time == than_time && position < than_position);
}

void agg_init(const struct agg_plan *plan, void *state)
{
    memcpy(state, plan->initial, plan->state_size);
}

static void *part_at(const struct agg_part *p, void *state)
{
    return (uint8_t *)state + p->offset;
}

static const void *part_in(uint32_t offset, const void *state)
{
    return (const uint8_t *)state + offset;
}

void agg_free(const struct agg_plan *plan, void *state, struct event_store *s)
{
    for (uint32_t i = 0; i < plan->n_owners; i++) {
        const struct agg_part *p = &plan->parts[plan->owners[i]];
        if (part_is_exact(p->op)) {
            exact_free(part_at(p, state), plan->arena);
            continue;
        }
        struct event_ref *e = part_at(p, state);
        if (e->segment != NO_SEGMENT) {
            event_release(s, e->segment);
            e->segment = NO_SEGMENT;
        }
    }
}

/* Whether the event is rather kept than the one that is. */
static bool is_better(const struct agg_part *p, const struct event_store *s, struct event_ref e, struct event_ref held)
{
    if (held.segment == NO_SEGMENT) {
        return true;
    }
    const bool first = earlier(event_time(s, e), event_position(s, e), event_time(s, held), event_position(s, held));
    if (p->op == PART_FIRST_REF || p->op == PART_LAST_REF) {
        return first == (p->op == PART_FIRST_REF);
    }
    const uint32_t by = p->by == AGG_NO_COLUMN ? p->column : p->by;
    const int order = compare(column_at(s, e, by), e.row, column_at(s, held, by), held.row);
    const bool least = p->op == PART_MIN_REF || p->op == PART_ARG_MIN_REF;
    return order == 0 ? first : (order < 0) == least;
}

static void offer_ref(const struct agg_part *p, void *part, struct event_store *s, struct event_ref e)
{
    struct event_ref *held = part;
    if (is_better(p, s, e, *held)) {
        event_retain(s, e.segment);
        if (held->segment != NO_SEGMENT) {
            event_release(s, held->segment);
        }
        *held = e;
    }
}

static void offer_kept(const struct agg_part *p, struct kept *held, struct kept with)
{
    if (earlier(with.time, with.position, held->time, held->position) == (p->op == PART_FIRST)) {
        *held = with;
    }
}

static void offer_kept_by(const struct agg_part *p, struct kept_by *held, struct kept_by with)
{
    const bool better = p->op == PART_ARG_MIN ? with.key < held->key : with.key > held->key;
    if (better || (with.key == held->key && earlier(with.kept.time, with.kept.position, held->kept.time, held->kept.position))) {
        *held = with;
    }
}

static void add_total(struct total *t, uint64_t low, uint64_t high)
{
    t->low += low;
    t->high += high + (t->low < low);
}

static struct kept kept_of(const struct segment *g, const struct column *c, uint32_t row)
{
    return (struct kept){g->times[row], g->positions[row], value_bits(c, row)};
}

/* What a row with a value does to a part that is not a count. */
static inline enum status add_value(const struct agg_plan *plan, const struct agg_part *p, void *part, struct event_store *s,
                                    const struct segment *g, const struct column *c, struct event_ref e)
{
    const uint32_t row = e.row;
    switch (p->op) {
    case PART_SUM_F:
        return exact_add(part, plan->arena, ((const double *)c->data)[row], false);
    case PART_SUM_I: {
        const int64_t value = ((const int64_t *)c->data)[row];
        add_total(part, (uint64_t)value, (uint64_t)(value >> 63));
        return STATUS_OK;
    }
    case PART_MIN: {
        const int64_t key = value_key(c, row);
        int64_t *least = part;
        *least = key < *least ? key : *least;
        return STATUS_OK;
    }
    case PART_MAX: {
        const int64_t key = value_key(c, row);
        int64_t *greatest = part;
        *greatest = key > *greatest ? key : *greatest;
        return STATUS_OK;
    }
    case PART_SQUARES_F:
        return exact_add_square(part, plan->arena, ((const double *)c->data)[row], false);
    case PART_SQUARES_I:
        return exact_add_square_i64(part, plan->arena, ((const int64_t *)c->data)[row], false);
    case PART_FIRST:
    case PART_LAST:
        offer_kept(p, part, kept_of(g, c, row));
        return STATUS_OK;
    case PART_ARG_MIN:
    case PART_ARG_MAX:
        offer_kept_by(p, part, (struct kept_by){value_key(&g->columns[p->by], row), kept_of(g, c, row)});
        return STATUS_OK;
    default:
        offer_ref(p, part, s, e);
        return STATUS_OK;
    }
}

/* Whether the row has a value for the group that begins with p. */
static bool has_value(const struct agg_part *p, const struct segment *g, uint32_t row)
{
    return !column_is_null(&g->columns[p->column], row)
        && (p->by == AGG_NO_COLUMN || !column_is_null(&g->columns[p->by], row));
}

enum status agg_add(const struct agg_plan *plan, void *state, struct event_store *s, struct event_ref e)
{
    const struct segment *g = &s->segments[e.segment];
    ++*(uint64_t *)state;
    const struct agg_part *const end = plan->parts + plan->n_parts;
    for (const struct agg_part *p = plan->parts; p < end;) {
        const struct agg_part *const next = p + 1 + p->skip;
        if (has_value(p, g, e.row)) {
            const struct column *c = &g->columns[p->column];
            ++*(uint64_t *)part_at(p, state);
            for (p++; p < next; p++) {
                const enum status st = add_value(plan, p, part_at(p, state), s, g, c, e);
                if (UNLIKELY(st != STATUS_OK)) {
                    return st;
                }
            }
        }
        p = next;
    }
    return STATUS_OK;
}

/* One part after the other: what to do is asked once for all rows, and values and states are read in loops without branches of their own.
 * Parts that come seldom take the way of single rows. */
static enum status add_part(const struct agg_plan *plan, const struct agg_part *p, struct event_store *s, uint32_t segment,
                            const struct agg_target *targets, uint32_t n)
{
    const struct segment *g = &s->segments[segment];
    const struct column *c = &g->columns[p->column];
    const uint32_t offset = p->offset;
    enum status st = STATUS_OK;
    if (p->op == PART_VALUES) {
        for (uint32_t i = 0; i < n; i++) {
            ++*(uint64_t *)((char *)targets[i].state + offset);
        }
    } else if (p->op == PART_SUM_F) {
        const double *values = c->data;
        for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
            st = exact_add((struct exact *)((char *)targets[i].state + offset), plan->arena, values[targets[i].row], false);
        }
    } else if ((p->op == PART_MAX || p->op == PART_MIN) && c->type == COLUMN_F64) {
        const double *values = c->data;
        const bool least = p->op == PART_MIN;
        for (uint32_t i = 0; i < n; i++) {
            int64_t *held = (int64_t *)((char *)targets[i].state + offset);
            const int64_t key = key_of_double(values[targets[i].row]);
            if (least ? key < *held : key > *held) {
                *held = key;
            }
        }
    } else {
        for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
            st = add_value(plan, p, (char *)targets[i].state + offset, s, g, c, (struct event_ref){segment, targets[i].row});
        }
    }
    return st;
}

enum status agg_add_many(const struct agg_plan *plan, struct event_store *s, uint32_t segment, const struct agg_target *targets, uint32_t n)
{
    struct agg_target valued[AGG_BLOCK];
    for (uint32_t i = 0; i < n; i++) {
        ++*(uint64_t *)targets[i].state;
    }
    const struct agg_part *const end = plan->parts + plan->n_parts;
    for (const struct agg_part *p = plan->parts; p < end;) {
        const struct agg_part *const next = p + 1 + p->skip;
        const struct segment *g = &s->segments[segment];
        const bool nulls = g->columns[p->column].valid != NULL || (p->by != AGG_NO_COLUMN && g->columns[p->by].valid != NULL);
        const struct agg_target *of = targets;
        uint32_t n_of = n;
        if (nulls) {
            n_of = 0;
            for (uint32_t i = 0; i < n; i++) {
                valued[n_of] = targets[i];
                n_of += has_value(p, g, targets[i].row);
            }
            of = valued;
        }
        for (; p < next; p++) {
            const enum status st = add_part(plan, p, s, segment, of, n_of);
            if (UNLIKELY(st != STATUS_OK)) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

enum status agg_subtract(const struct agg_plan *plan, void *state, const struct event_store *s, struct event_ref e)
{
    const struct segment *g = &s->segments[e.segment];
    ASSERT(plan->invertible && *(const uint64_t *)state > 0);
    --*(uint64_t *)state;
    const struct agg_part *const end = plan->parts + plan->n_parts;
    for (const struct agg_part *p = plan->parts; p < end;) {
        const struct agg_part *const next = p + 1 + p->skip;
        if (has_value(p, g, e.row)) {
            const struct column *c = &g->columns[p->column];
            --*(uint64_t *)part_at(p, state);
            for (p++; p < next; p++) {
                void *part = part_at(p, state);
                enum status st = STATUS_OK;
                if (p->op == PART_SUM_I) {
                    const uint64_t value = (uint64_t)((const int64_t *)c->data)[e.row];
                    add_total(part, -value, value == 0 ? 0 : ~(uint64_t)((int64_t)value >> 63));
                } else if (p->op == PART_SUM_F) {
                    st = exact_add(part, plan->arena, ((const double *)c->data)[e.row], true);
                } else if (p->op == PART_SQUARES_F) {
                    st = exact_add_square(part, plan->arena, ((const double *)c->data)[e.row], true);
                } else {
                    st = exact_add_square_i64(part, plan->arena, ((const int64_t *)c->data)[e.row], true);
                }
                if (UNLIKELY(st != STATUS_OK)) {
                    return st;
                }
            }
        }
        p = next;
    }
    return STATUS_OK;
}

static enum status merge_part(const struct agg_plan *plan, const struct agg_part *p, void *into, const void *from, struct event_store *s)
{
    switch (p->op) {
    case PART_VALUES:
        *(uint64_t *)into += *(const uint64_t *)from;
        return STATUS_OK;
    case PART_SUM_I:
        add_total(into, ((const struct total *)from)->low, ((const struct total *)from)->high);
        return STATUS_OK;
    case PART_SUM_F:
    case PART_SQUARES_I:
    case PART_SQUARES_F:
        return exact_merge(into, plan->arena, from);
    case PART_MIN:
        *(int64_t *)into = *(const int64_t *)from < *(int64_t *)into ? *(const int64_t *)from : *(int64_t *)into;
        return STATUS_OK;
    case PART_MAX:
        *(int64_t *)into = *(const int64_t *)from > *(int64_t *)into ? *(const int64_t *)from : *(int64_t *)into;
        return STATUS_OK;
    case PART_FIRST:
    case PART_LAST:
        offer_kept(p, into, *(const struct kept *)from);
        return STATUS_OK;
    case PART_ARG_MIN:
    case PART_ARG_MAX:
        offer_kept_by(p, into, *(const struct kept_by *)from);
        return STATUS_OK;
    default:
        if (((const struct event_ref *)from)->segment != NO_SEGMENT) {
            offer_ref(p, into, s, *(const struct event_ref *)from);
        }
        return STATUS_OK;
    }
}

enum status agg_merge(const struct agg_plan *plan, void *into, const void *from, struct event_store *s)
{
    *(uint64_t *)into += *(const uint64_t *)from;
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        const struct agg_part *p = &plan->parts[i];
        const enum status st = merge_part(plan, p, part_at(p, into), part_in(p->offset, from), s);
        if (UNLIKELY(st != STATUS_OK)) {
            return st;
        }
    }
    return STATUS_OK;
}
