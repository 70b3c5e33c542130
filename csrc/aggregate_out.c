/* Results: one row of columns from a state. */
#include "aggregate.h"

#include <math.h>

void agg_columns_init(struct agg_columns *out, struct arena *arena)
{
    memset(out, 0, sizeof *out);
    out->arena = arena;
}

/* One block: the two lists of pointers, then all values, then all bytes of validity. */
static size_t block_size(uint32_t n_columns, uint32_t capacity)
{
    return (size_t)n_columns * (sizeof(void *) + sizeof(uint8_t *) + (size_t)capacity * (sizeof(uint64_t) + 1));
}

void agg_columns_free(struct agg_columns *out)
{
    if (out->arena != NULL) {
        arena_free(out->arena, (void *)out->values, block_size(out->n_columns, out->capacity));
    }
    memset(out, 0, sizeof *out);
}

static enum status make_room(struct agg_columns *out, uint32_t n_columns, uint32_t n_rows)
{
    const uint64_t need = (uint64_t)out->n_rows + n_rows;
    if (LIKELY(need <= out->capacity)) {
        return STATUS_OK;
    }
    if (need > UINT32_MAX / 2) {
        return STATUS_NO_MEMORY;
    }
    struct agg_columns bigger = *out;
    bigger.n_columns = n_columns;
    for (bigger.capacity = out->capacity == 0 ? 16 : out->capacity; bigger.capacity < need;) {
        bigger.capacity *= 2;
    }
    void *block = arena_alloc(out->arena, block_size(n_columns, bigger.capacity));
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    bigger.values = block;
    bigger.valid = (uint8_t **)block + n_columns;
    uint64_t *values = (uint64_t *)block + 2 * (size_t)n_columns;
    uint8_t *valid = (uint8_t *)(values + (size_t)n_columns * bigger.capacity);
    for (uint32_t i = 0; i < n_columns; i++) {
        bigger.values[i] = values + (size_t)i * bigger.capacity;
        bigger.valid[i] = valid + (size_t)i * bigger.capacity;
        if (out->n_rows > 0) {
            memcpy(bigger.values[i], out->values[i], out->n_rows * sizeof *values);
            memcpy(bigger.valid[i], out->valid[i], out->n_rows);
        }
    }
    arena_free(out->arena, (void *)out->values, block_size(out->n_columns, out->capacity));
    *out = bigger;
    return STATUS_OK;
}

union result {
    int64_t i64;
    double f64;
    struct event_ref event;
    uint64_t bits;
};

static const void *at(uint32_t offset, const void *state)
{
    return (const uint8_t *)state + offset;
}

static int128 total_of(const void *part)
{
    const struct total *t = part;
    return (int128)(((uint128)t->high << 64) | t->low);
}

/* The sum of numbers with all its digits. */
static void sum_of(const struct agg_spec *spec, const void *state, struct big *out)
{
    if (spec->type == COLUMN_F64) {
        exact_to_big(at(spec->main, state), out);
    } else {
        big_from_i128(out, total_of(at(spec->main, state)));
    }
}

static double mean_of(const struct agg_spec *spec, const void *state, uint64_t n)
{
    double special;
    if (spec->type == COLUMN_F64 && exact_is_special(at(spec->main, state), &special)) {
        return special;
    }
    struct big sum;
    sum_of(spec, state, &sum);
    return big_to_double(&sum, n, 1);
}

/* (n * sum of squares - square of sum) / (n * (n - ddof)): nothing is rounded before the end. */
static double variance_of(const struct agg_spec *spec, const void *state, uint64_t n)
{
    double special;
    if (spec->type == COLUMN_F64 && exact_is_special(at(spec->main, state), &special)) {
        return (double)NAN;
    }
    struct big sum;
    struct big squares;
    struct big spread;
    sum_of(spec, state, &sum);
    exact_to_big(at(spec->square, state), &squares);
    big_spread(&spread, &sum, &squares, n);
    return big_to_double(&spread, n, n - spec->parameter);
}

/* Whether there is a result; it is not null then. */
static bool result_of(const struct agg_spec *spec, const void *state, union result *result, uint64_t *overflows)
{
    const uint64_t n = *(const uint64_t *)at(spec->values, state);
    const void *main = at(spec->main, state);
    if (spec->kind == AGG_COUNT) {
        result->i64 = (int64_t)n;
        return true;
    }
    if (n == 0) {
        return false;
    }
    switch (spec->kind) {
    case AGG_SUM:
        if (spec->type == COLUMN_F64) {
            result->f64 = exact_to_double(main);
            return true;
        }
        if (total_of(main) < INT64_MIN || total_of(main) > INT64_MAX) {
            ++*overflows;
            return false;
        }
        result->i64 = (int64_t)total_of(main);
        return true;
    case AGG_MEAN:
        result->f64 = mean_of(spec, state, n);
        return true;
    case AGG_VAR:
    case AGG_STD:
        if (n <= spec->parameter) {
            return false;
        }
        result->f64 = variance_of(spec, state, n);
        result->f64 = spec->kind == AGG_STD ? sqrt(result->f64) : result->f64;
        return true;
    default:
        break;
    }
    if (spec->result == AGG_REF) {
        result->event = *(const struct event_ref *)main;
    } else if (spec->kind == AGG_FIRST || spec->kind == AGG_LAST) {
        result->i64 = ((const struct kept *)main)->value;
    } else if (spec->kind == AGG_ARG_MIN || spec->kind == AGG_ARG_MAX) {
        result->i64 = ((const struct kept_by *)main)->kept.value;
    } else if (spec->result == AGG_F64) {
        result->f64 = double_of_key(*(const int64_t *)main);
    } else {
        result->i64 = *(const int64_t *)main;
    }
    return true;
}

enum status agg_emit(const struct agg_plan *plan, const void *state, struct agg_columns *out)
{
    return agg_emit_many(plan, &state, 1, out);
}

/* One column: what is asked for most is asked once for all states. */
static void emit_column(const struct agg_spec *spec, const void *const *states, uint32_t n, uint64_t *values, uint8_t *valid,
                        uint64_t *overflows)
{
    const bool extreme = (spec->kind == AGG_MIN || spec->kind == AGG_MAX) && spec->result == AGG_F64;
    const bool sums = spec->kind == AGG_SUM && spec->type == COLUMN_F64;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t rows = *(const uint64_t *)at(spec->values, states[i]);
        valid[i] = spec->kind == AGG_COUNT || rows != 0;
        values[i] = 0;
        if (spec->kind == AGG_COUNT) {
            values[i] = rows;
        } else if (rows == 0) {
            continue;
        } else if (sums || extreme) {
            const void *main = at(spec->main, states[i]);
            const double value = sums ? exact_to_double(main) : double_of_key(*(const int64_t *)main);
            memcpy(&values[i], &value, sizeof value);
        } else {
            union result result = {.bits = 0};
            valid[i] = result_of(spec, states[i], &result, overflows);
            values[i] = result.bits;
        }
    }
}

enum status agg_emit_many(const struct agg_plan *plan, const void *const *states, uint32_t n, struct agg_columns *out)
{
    const enum status st = make_room(out, plan->n_specs, n);
    if (UNLIKELY(st != STATUS_OK)) {
        return st;
    }
    for (uint32_t i = 0; i < plan->n_specs; i++) {
        emit_column(&plan->specs[i], states, n, (uint64_t *)out->values[i] + out->n_rows, out->valid[i] + out->n_rows, &out->overflows);
    }
    out->n_rows += n;
    return STATUS_OK;
}
