/* From the list of what is asked for to what a state keeps, and where. */
#include "aggregate.h"

static size_t part_size(uint32_t op)
{
    switch (op) {
    case PART_VALUES:
    case PART_MIN:
    case PART_MAX:
        return sizeof(uint64_t);
    case PART_SUM_I:
        return sizeof(struct total);
    case PART_SUM_F:
        return EXACT_SIZE(EXACT_VALUES);
    case PART_SQUARES_I:
    case PART_SQUARES_F:
        return EXACT_SIZE(EXACT_PRODUCTS);
    case PART_FIRST:
    case PART_LAST:
        return sizeof(struct kept);
    case PART_ARG_MIN:
    case PART_ARG_MAX:
        return sizeof(struct kept_by);
    default:
        return sizeof(struct event_ref);
    }
}

static uint32_t add_part(struct agg_plan *plan, const struct agg_part *part)
{
    plan->parts[plan->n_parts] = *part;
    return plan->n_parts++;
}

/* The part of the group that starts at part `group` which keeps `op`; a new one at its end if there is none. */
static uint32_t part_of(struct agg_plan *plan, uint32_t group, uint32_t op)
{
    for (uint32_t i = group; i < plan->n_parts; i++) {
        if (plan->parts[i].op == op) {
            return i;
        }
    }
    struct agg_part part = plan->parts[group];
    part.op = op;
    part.skip = 0;
    plan->parts[group].skip++;
    return add_part(plan, &part);
}

/* Which parts a spec needs beside the count of values; PART_VALUES: none. */
static void parts_of_spec(const struct agg_spec *spec, uint32_t *main, uint32_t *square)
{
    const bool integer = spec->type != COLUMN_F64;
    const bool by_ref = spec->result == AGG_REF;
    *main = *square = PART_VALUES;
    switch (spec->kind) {
    case AGG_VAR:
    case AGG_STD:
        *square = integer ? PART_SQUARES_I : PART_SQUARES_F;
        *main = integer ? PART_SUM_I : PART_SUM_F;
        break;
    case AGG_SUM:
    case AGG_MEAN:
        *main = integer ? PART_SUM_I : PART_SUM_F;
        break;
    case AGG_MIN:
        *main = by_ref ? PART_MIN_REF : PART_MIN;
        break;
    case AGG_MAX:
        *main = by_ref ? PART_MAX_REF : PART_MAX;
        break;
    case AGG_FIRST:
        *main = by_ref ? PART_FIRST_REF : PART_FIRST;
        break;
    case AGG_LAST:
        *main = by_ref ? PART_LAST_REF : PART_LAST;
        break;
    case AGG_ARG_MIN:
        *main = by_ref ? PART_ARG_MIN_REF : PART_ARG_MIN;
        break;
    case AGG_ARG_MAX:
        *main = by_ref ? PART_ARG_MAX_REF : PART_ARG_MAX;
        break;
    default:
        break;
    }
}

/* Says what is wrong with a spec, or NULL; settles its type and result. */
static const char *settle_spec(struct agg_spec *spec, const uint8_t *types, uint32_t n_columns)
{
    const bool by = spec->kind == AGG_ARG_MIN || spec->kind == AGG_ARG_MAX;
    if (spec->kind >= AGG_COUNT_OF_KINDS) {
        return "an aggregate of an unknown kind";
    }
    if (spec->column == AGG_NO_COLUMN ? spec->kind != AGG_COUNT : spec->column >= n_columns) {
        return "an aggregate of a column that is not there";
    }
    if (by ? spec->by >= n_columns : spec->by != AGG_NO_COLUMN) {
        return "an aggregate by a column that is not there";
    }
    spec->type = spec->column == AGG_NO_COLUMN ? COLUMN_I64 : types[spec->column];
    const bool number = spec->type == COLUMN_I64 || spec->type == COLUMN_F64;
    const bool picks = by || spec->kind == AGG_FIRST || spec->kind == AGG_LAST;
    if ((spec->kind == AGG_SUM || spec->kind == AGG_MEAN || spec->kind == AGG_VAR || spec->kind == AGG_STD) && !number) {
        return "a sum of what is no number";
    }
    if (picks && spec->parameter > 1) {
        return "a value that is neither kept nor referred to";
    }
    spec->result = AGG_I64;
    if (spec->kind == AGG_MEAN || spec->kind == AGG_VAR || spec->kind == AGG_STD) {
        spec->result = AGG_F64;
    } else if (spec->kind != AGG_COUNT) {
        const bool by_text = by && types[spec->by] == COLUMN_STR;
        const bool by_ref = spec->type == COLUMN_STR || by_text || (picks && spec->parameter == 1);
        spec->result = by_ref ? AGG_REF : spec->type == COLUMN_F64 ? AGG_F64 : AGG_I64;
    }
    return NULL;
}

/* Groups in the order of their first spec, each with all of its parts. */
static void lay_out(struct agg_plan *plan, const uint8_t *types)
{
    for (uint32_t first = 0; first < plan->n_specs; first++) {
        const struct agg_spec *head = &plan->specs[first];
        bool done = head->column == AGG_NO_COLUMN;
        for (uint32_t i = 0; i < first && !done; i++) {
            done = plan->specs[i].column == head->column && plan->specs[i].by == head->by;
        }
        if (done) {
            continue;
        }
        struct agg_part values = {.op = PART_VALUES, .column = head->column, .by = head->by, .type = head->type};
        values.by_type = head->by == AGG_NO_COLUMN ? 0 : types[head->by];
        const uint32_t group = add_part(plan, &values);
        for (uint32_t i = first; i < plan->n_specs; i++) {
            struct agg_spec *spec = &plan->specs[i];
            if (spec->column != head->column || spec->by != head->by) {
                continue;
            }
            uint32_t main;
            uint32_t square;
            parts_of_spec(spec, &main, &square);
            spec->values = group; /* indexes of parts now, offsets when these are known */
            spec->main = part_of(plan, group, main);
            spec->square = part_of(plan, group, square);
        }
    }
    uint32_t offset = sizeof(uint64_t);
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        plan->parts[i].offset = offset;
        offset += (uint32_t)part_size(plan->parts[i].op);
        if (part_is_ref(plan->parts[i].op)) {
            plan->refs[plan->n_refs++] = plan->parts[i].offset;
        }
        if (part_is_ref(plan->parts[i].op) || part_is_exact(plan->parts[i].op)) {
            plan->owners[plan->n_owners++] = i;
        }
    }
    plan->state_size = offset;
    for (uint32_t i = 0; i < plan->n_specs; i++) {
        struct agg_spec *spec = &plan->specs[i];
        if (spec->column != AGG_NO_COLUMN) {
            spec->values = plan->parts[spec->values].offset;
            spec->main = plan->parts[spec->main].offset;
            spec->square = plan->parts[spec->square].offset;
        }
    }
}

static void fill_initial(struct agg_plan *plan)
{
    memset(plan->initial, 0, plan->state_size);
    plan->invertible = true;
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        const struct agg_part *p = &plan->parts[i];
        uint8_t *at = plan->initial + p->offset;
        const int64_t none_yet = p->op == PART_MIN || p->op == PART_ARG_MIN ? INT64_MAX : INT64_MIN;
        plan->invertible = plan->invertible && p->op <= PART_SQUARES_F;
        if (p->op == PART_SUM_F) {
            exact_init((struct exact *)(void *)at, EXACT_VALUES);
        } else if (p->op == PART_SQUARES_I || p->op == PART_SQUARES_F) {
            exact_init((struct exact *)(void *)at, EXACT_PRODUCTS);
        } else if (p->op == PART_MIN || p->op == PART_MAX) {
            memcpy(at, &none_yet, sizeof none_yet);
        } else if (p->op == PART_FIRST || p->op == PART_LAST) {
            const struct kept none = {p->op == PART_FIRST ? TIME_MAX : TIME_MIN, p->op == PART_FIRST ? UINT64_MAX : 0, 0};
            memcpy(at, &none, sizeof none);
        } else if (p->op == PART_ARG_MIN || p->op == PART_ARG_MAX) {
            const struct kept_by none = {none_yet, {TIME_MAX, UINT64_MAX, 0}};
            memcpy(at, &none, sizeof none);
        } else if (part_is_ref(p->op)) {
            const struct event_ref none = {NO_SEGMENT, 0};
            memcpy(at, &none, sizeof none);
        }
    }
}

enum status agg_plan_load(struct agg_plan *plan, struct arena *arena, const uint8_t *bytes, size_t size, const uint8_t *column_types,
                          uint32_t n_columns, const char **reason)
{
    memset(plan, 0, sizeof *plan);
    plan->arena = arena;
    struct reader r = {bytes, bytes + size, false};
    const uint32_t n = read_count(&r, 4 * sizeof(uint32_t));
    if (n > AGG_MAX_SPECS) {
        *reason = "too many aggregates";
        return STATUS_BAD_PLAN;
    }
    plan->n_specs = n;
    plan->specs = arena_alloc(arena, n * sizeof *plan->specs);
    plan->parts = arena_alloc(arena, 3 * (size_t)n * sizeof *plan->parts); /* the count, and at most two more */
    plan->refs = arena_alloc(arena, n * sizeof *plan->refs);
    plan->owners = arena_alloc(arena, 3 * (size_t)n * sizeof *plan->owners);
    *reason = plan->specs == NULL || plan->parts == NULL || plan->refs == NULL || plan->owners == NULL ? "no memory" : NULL;
    for (uint32_t i = 0; i < n && *reason == NULL; i++) {
        struct agg_spec *spec = &plan->specs[i];
        memset(spec, 0, sizeof *spec);
        spec->kind = read_u32(&r);
        spec->column = read_u32(&r);
        spec->by = read_u32(&r);
        spec->parameter = read_u32(&r);
        *reason = settle_spec(spec, column_types, n_columns);
    }
    if (*reason == NULL && (r.failed || r.at != r.end)) {
        *reason = "the list of aggregates does not have the length it says";
    }
    if (*reason == NULL) {
        lay_out(plan, column_types);
        plan->initial = arena_alloc(arena, plan->state_size);
        *reason = plan->initial == NULL ? "no memory" : NULL;
    }
    if (*reason == NULL) {
        fill_initial(plan);
        return STATUS_OK;
    }
    const bool no_memory = strcmp(*reason, "no memory") == 0;
    agg_plan_free(plan);
    return no_memory ? STATUS_NO_MEMORY : STATUS_BAD_PLAN;
}

void agg_plan_free(struct agg_plan *plan)
{
    if (plan->arena != NULL) {
        arena_free(plan->arena, plan->specs, plan->n_specs * sizeof *plan->specs);
        arena_free(plan->arena, plan->parts, 3 * (size_t)plan->n_specs * sizeof *plan->parts);
        arena_free(plan->arena, plan->refs, plan->n_specs * sizeof *plan->refs);
        arena_free(plan->arena, plan->owners, 3 * (size_t)plan->n_specs * sizeof *plan->owners);
        arena_free(plan->arena, plan->initial, plan->state_size);
    }
    memset(plan, 0, sizeof *plan);
}
