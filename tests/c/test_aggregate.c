/* Aggregates against the list of rows that went in, summed up anew each time. */
#include "aggregate.h"
#include "check.h"

#include <math.h>

enum { N_ROWS = 200, STATES = 4, MOST = 400 };
enum { INTS, FLOATS, BOOLS, TEXTS, N_COLUMNS };

static const uint8_t types[N_COLUMNS] = {COLUMN_I64, COLUMN_F64, COLUMN_BOOL, COLUMN_STR};

/* One segment of random rows; times and values repeat, so that ties are frequent. */
static int64_t ints[N_ROWS];
static double floats[N_ROWS];
static uint8_t bools[N_ROWS];
static char text[4 * N_ROWS];
static int32_t offsets[N_ROWS + 1];
static uint8_t valid[N_COLUMNS][N_ROWS / 8 + 1];
static event_time_t times[N_ROWS];
static uint64_t positions[N_ROWS];

struct model {
    uint32_t rows[MOST];
    uint32_t n;
};

static struct arena arena;
static struct event_store store;
static uint32_t segment;

static void open_rows(void)
{
    for (uint32_t i = 0; i < N_ROWS; i++) {
        ints[i] = random_below(50) == 0 ? INT64_MAX - random_below(3) : (int64_t)random_below(200) - 100;
        floats[i] = random_below(20) == 0 ? -0.0 : (double)random_below(4000) / 4.0 - 500.0;
        bools[i] = (uint8_t)random_below(2);
        times[i] = (event_time_t)random_below(40) - 20;
        positions[i] = 1000 + i;
        const uint32_t size = random_below(4);
        for (uint32_t k = 0; k < size; k++) {
            text[offsets[i] + (int32_t)k] = (char)('a' + random_below(3));
        }
        offsets[i + 1] = offsets[i] + (int32_t)size;
    }
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        for (uint32_t i = 0; i < sizeof valid[c]; i++) {
            valid[c][i] = (uint8_t)(random_u64() | random_u64());
        }
    }
    CHECK(event_store_open(&store, &segment) == STATUS_OK);
    struct segment *g = &store.segments[segment];
    const void *data[N_COLUMNS] = {ints, floats, bools, text};
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        g->columns[c] = (struct column){.data = data[c], .type = types[c], .valid = random_below(3) == 0 ? NULL : valid[c]};
    }
    g->columns[TEXTS].offsets = offsets;
    g->times = times;
    g->positions = positions;
    g->n_rows = N_ROWS;
    g->pinned = 1;
}

static bool is_null(uint32_t column, uint32_t row)
{
    return column_is_null(&store.segments[segment].columns[column], row);
}

/* ---- the plan: some aggregates, of any column that has them ---- */

static uint32_t n_specs;
static uint32_t records[24][4];

static void any_specs(struct agg_plan *plan, bool invertible)
{
    uint8_t bytes[4 + sizeof records];
    n_specs = 1 + random_below(12);
    for (uint32_t i = 0; i < n_specs; i++) {
        static const uint32_t of_sums[] = {AGG_COUNT, AGG_SUM, AGG_MEAN, AGG_VAR, AGG_STD};
        uint32_t kind = invertible ? of_sums[random_below(5)] : random_below(AGG_COUNT_OF_KINDS);
        const bool sums = kind == AGG_SUM || kind == AGG_MEAN || kind == AGG_VAR || kind == AGG_STD;
        const bool by = kind == AGG_ARG_MIN || kind == AGG_ARG_MAX;
        const bool picks = by || kind == AGG_FIRST || kind == AGG_LAST;
        const bool rows = kind == AGG_COUNT && random_below(2) == 0;
        records[i][0] = kind;
        records[i][1] = rows ? AGG_NO_COLUMN : random_below(sums ? 2 : N_COLUMNS);
        records[i][2] = by ? random_below(N_COLUMNS) : AGG_NO_COLUMN;
        records[i][3] = kind == AGG_VAR || kind == AGG_STD ? random_below(3) : picks ? random_below(2) : 0;
    }
    memcpy(bytes, &n_specs, 4);
    memcpy(bytes + 4, records, n_specs * sizeof *records);
    const char *reason = NULL;
    CHECK(agg_plan_load(plan, &arena, bytes, 4 + n_specs * sizeof *records, types, N_COLUMNS, &reason) == STATUS_OK);
    CHECK(plan->state_size % 8 == 0);
}

/* ---- what the results must be ---- */

static int model_compare(uint32_t column, uint32_t a, uint32_t b)
{
    if (column == TEXTS) {
        char left[8] = {0};
        char right[8] = {0};
        memcpy(left, text + offsets[a], (size_t)(offsets[a + 1] - offsets[a]));
        memcpy(right, text + offsets[b], (size_t)(offsets[b + 1] - offsets[b]));
        return strcmp(left, right);
    }
    if (column == FLOATS) {
        if (floats[a] == floats[b]) {
            return (signbit(floats[a]) == 0) - (signbit(floats[b]) == 0);
        }
        return floats[a] < floats[b] ? -1 : 1;
    }
    const int64_t x = column == INTS ? ints[a] : bools[a];
    const int64_t y = column == INTS ? ints[b] : bools[b];
    return (x > y) - (x < y);
}

static bool model_earlier(uint32_t a, uint32_t b)
{
    return times[a] != times[b] ? times[a] < times[b] : a < b;
}

/* The row whose value is the result of min, max, first, last, arg_min, arg_max; -1: none. */
static int chosen(const uint32_t *spec, const struct model *m)
{
    const uint32_t by = spec[2] == AGG_NO_COLUMN ? spec[1] : spec[2];
    int best = -1;
    for (uint32_t i = 0; i < m->n; i++) {
        const uint32_t row = m->rows[i];
        if (is_null(spec[1], row) || is_null(by, row)) {
            continue;
        }
        if (best < 0) {
            best = (int)row;
            continue;
        }
        const bool first = model_earlier(row, (uint32_t)best);
        const int order = model_compare(by, row, (uint32_t)best);
        const bool least = spec[0] == AGG_MIN || spec[0] == AGG_ARG_MIN;
        if (spec[0] == AGG_FIRST ? first : spec[0] == AGG_LAST ? !first : order == 0 ? first : (order < 0) == least) {
            best = (int)row;
        }
    }
    return best;
}

static void check_chosen(const uint32_t *spec, const struct agg_spec *loaded, const struct model *m, bool there, const void *value)
{
    const int row = chosen(spec, m);
    CHECK(there == (row >= 0));
    if (!there) {
        return;
    }
    if (loaded->result == AGG_REF) {
        const struct event_ref *e = value;
        CHECK(e->segment == segment && e->row == (uint32_t)row);
    } else if (spec[1] == FLOATS) {
        CHECK(memcmp(value, &floats[row], 8) == 0);
    } else {
        CHECK(*(const int64_t *)value == (spec[1] == INTS ? ints[row] : bools[row]));
    }
}

/* Floats are quarters, so sums of four times them are integers. */
static void check_sum(const uint32_t *spec, const struct model *m, bool there, const void *value, uint64_t *overflows)
{
    int128 sum = 0;
    int128 squares = 0;
    int64_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        const uint32_t row = m->rows[i];
        if (spec[1] != AGG_NO_COLUMN && is_null(spec[1], row)) {
            continue;
        }
        const int64_t x = spec[1] == INTS ? ints[row] : spec[1] == FLOATS ? (int64_t)(4 * floats[row]) : 0;
        n++;
        sum += x;
        squares += x < 1000000 ? x * x : 0;
    }
    const double unit = spec[1] == FLOATS ? 4.0 : 1.0;
    const double *f64 = value;
    const bool small = sum < 1000000000;
    if (spec[0] == AGG_COUNT) {
        CHECK(there && *(const int64_t *)value == n);
    } else if (spec[0] == AGG_SUM && spec[1] == INTS) {
        const bool beyond = sum > INT64_MAX;
        *overflows += beyond;
        CHECK(there == (n > 0 && !beyond) && (!there || *(const int64_t *)value == (int64_t)sum));
    } else if (spec[0] == AGG_SUM) {
        CHECK(there == (n > 0) && (!there || *f64 == (double)sum / unit));
    } else if (spec[0] == AGG_MEAN) {
        CHECK(there == (n > 0) && (!there || !small || *f64 == (double)sum / (unit * (double)n)));
    } else {
        CHECK(there == (n > spec[3]));
        if (there && small) {
            const double variance = (double)(n * squares - sum * sum) / (unit * unit * (double)(n * (n - spec[3])));
            CHECK(*f64 == (spec[0] == AGG_VAR ? variance : sqrt(variance)));
        }
    }
}

static void check_results(const struct agg_plan *plan, const void *state, const struct model *m, struct agg_columns *out)
{
    uint64_t overflows = out->overflows;
    const char *reason = agg_check(plan, state, &store);
    CHECK(reason == NULL && agg_rows(state) == m->n);
    CHECK(agg_emit(plan, state, out) == STATUS_OK);
    for (uint32_t i = 0; i < n_specs; i++) {
        const uint32_t *spec = records[i];
        const bool there = out->valid[i][out->n_rows - 1] != 0;
        const void *value = (const uint64_t *)out->values[i] + out->n_rows - 1;
        if (spec[0] == AGG_COUNT || spec[0] == AGG_SUM || spec[0] == AGG_MEAN || spec[0] == AGG_VAR || spec[0] == AGG_STD) {
            check_sum(spec, m, there, value, &overflows);
        } else {
            check_chosen(spec, &plan->specs[i], m, there, value);
        }
    }
    CHECK(out->overflows == overflows);
    if (out->n_rows == 40) {
        out->n_rows = 0; /* handed out */
    }
}

/* ---- bytes and back ---- */

static void check_bytes(const struct agg_plan *plan, const uint8_t *state, const struct model *m, struct agg_columns *columns)
{
    struct agg_bytes out = {.arena = &arena};
    struct agg_bytes again = {.arena = &arena};
    CHECK(agg_export(plan, state, &out) == STATUS_OK);
    struct event_ref refs[32];
    for (uint32_t i = 0; i < plan->n_refs; i++) {
        memcpy(&refs[i], state + plan->refs[i], sizeof refs[i]);
    }
    uint8_t *back = arena_alloc(&arena, plan->state_size);
    CHECK(agg_restore(plan, back, &store, out.bytes, out.n, refs) == STATUS_OK);
    check_results(plan, back, m, columns);
    CHECK(agg_export(plan, back, &again) == STATUS_OK);
    CHECK(again.n == out.n && memcmp(again.bytes, out.bytes, out.n) == 0);
    agg_free(plan, back, &store);
    const uint64_t live = store.live;
    out.bytes[random_below(out.n)] ^= (uint8_t)(1u << random_below(8));
    if (agg_restore(plan, back, &store, out.bytes, out.n - random_below(2), refs) == STATUS_OK) {
        CHECK(agg_check(plan, back, &store) == NULL);
        agg_free(plan, back, &store);
    }
    CHECK(store.live == live);
    arena_free(&arena, back, plan->state_size);
    arena_free(&arena, out.bytes, out.capacity);
    arena_free(&arena, again.bytes, again.capacity);
}

static void empty(const struct agg_plan *plan, void *state, struct model *m)
{
    agg_free(plan, state, &store);
    agg_init(plan, state);
    m->n = 0;
}

/* Many rows at once are the same as one after the other. */
static void add_many(const struct agg_plan *plan, uint8_t *states, struct model *models)
{
    struct agg_target targets[AGG_BLOCK];
    uint32_t n = 0;
    for (uint32_t i = random_below(AGG_BLOCK / 8); i > 0; i--) {
        const uint32_t to = random_below(STATES);
        if (models[to].n < MOST) {
            targets[n] = (struct agg_target){states + to * plan->state_size, random_below(N_ROWS)};
            models[to].rows[models[to].n++] = targets[n++].row;
        }
    }
    CHECK(agg_add_many(plan, &store, segment, targets, n) == STATUS_OK);
}

static void steps(const struct agg_plan *plan, uint8_t *states, struct model *models, struct agg_columns *out)
{
    for (int step = 0; step < 300; step++) {
        const uint32_t to = random_below(STATES);
        void *state = states + to * plan->state_size;
        struct model *m = &models[to];
        const uint32_t what = random_below(12);
        if (what == 0) {
            add_many(plan, states, models);
        } else if (what < 9 && m->n < MOST) {
            const struct event_ref e = {segment, random_below(N_ROWS)};
            CHECK(agg_add(plan, state, &store, e) == STATUS_OK);
            m->rows[m->n++] = e.row;
        } else if (what == 9) {
            const uint32_t from = random_below(STATES);
            if (from != to && models[from].n + m->n <= MOST) {
                CHECK(agg_merge(plan, state, states + from * plan->state_size, &store) == STATUS_OK);
                memcpy(m->rows + m->n, models[from].rows, models[from].n * sizeof *m->rows);
                m->n += models[from].n;
            }
        } else if (what == 10 && plan->invertible && m->n > 0) {
            const uint32_t at = random_below(m->n);
            CHECK(agg_subtract(plan, state, &store, (struct event_ref){segment, m->rows[at]}) == STATUS_OK);
            m->rows[at] = m->rows[--m->n];
        } else if (random_below(4) == 0) {
            empty(plan, state, m);
        }
        check_results(plan, state, m, out);
        if (step % 8 == 0) {
            check_bytes(plan, state, m, out);
        }
    }
}

/* Every allocation of a life fails once; what was taken is given back. */
static void test_no_memory(void)
{
    for (uint64_t fail = 1; fail < 12; fail++) {
        uint32_t list[] = {3, AGG_SUM, FLOATS, AGG_NO_COLUMN, 0, AGG_FIRST, TEXTS, AGG_NO_COLUMN, 1, AGG_VAR, INTS, AGG_NO_COLUMN, 1};
        const char *reason = NULL;
        struct agg_plan plan;
        struct agg_columns out;
        uint64_t state[64];
        struct agg_bytes bytes = {.arena = &arena};
        const size_t before = arena.bytes_used;
        floats[0] = 1e300;
        floats[1] = 1e-300;
        agg_columns_init(&out, &arena);
        arena.fail_after = fail;
        enum status st = agg_plan_load(&plan, &arena, (const uint8_t *)list, sizeof list, types, N_COLUMNS, &reason);
        if (st == STATUS_OK) {
            agg_init(&plan, state);
            for (uint32_t row = 0; row < 2 && st == STATUS_OK; row++) {
                st = agg_add(&plan, state, &store, (struct event_ref){segment, row});
            }
            if (st == STATUS_OK && agg_emit(&plan, state, &out) == STATUS_OK) {
                st = agg_export(&plan, state, &bytes);
            }
            agg_free(&plan, state, &store);
            agg_plan_free(&plan);
        } else {
            CHECK(st == STATUS_NO_MEMORY);
        }
        arena.fail_after = 0;
        agg_columns_free(&out);
        arena_free(&arena, bytes.bytes, bytes.capacity);
        CHECK(arena.bytes_used == before && store.live == 0);
    }
}

static void test_damaged_plans(void)
{
    for (int i = 0; i < 100; i++) {
        uint32_t list[] = {2, AGG_SUM, FLOATS, AGG_NO_COLUMN, 0, AGG_ARG_MIN, TEXTS, INTS, 1};
        struct agg_plan plan;
        const char *reason = NULL;
        list[random_below(9)] = random_below(2) == 0 ? random_below(14) : UINT32_MAX;
        if (agg_plan_load(&plan, &arena, (const uint8_t *)list, sizeof list - random_below(3), types, N_COLUMNS, &reason) == STATUS_OK) {
            agg_plan_free(&plan);
        } else {
            CHECK(reason != NULL);
        }
    }
}

/* What no rows can have left is noticed. */
static void test_broken_states(void)
{
    const uint32_t list[] = {4, AGG_SUM, INTS, AGG_NO_COLUMN, 0, AGG_MAX, FLOATS, AGG_NO_COLUMN, 0, AGG_MIN, BOOLS, AGG_NO_COLUMN, 0,
                             AGG_FIRST, TEXTS, AGG_NO_COLUMN, 1};
    const char *reason = NULL;
    struct agg_plan plan;
    CHECK(agg_plan_load(&plan, &arena, (const uint8_t *)list, sizeof list, types, N_COLUMNS, &reason) == STATUS_OK);
    const uint32_t sum = plan.specs[0].main;
    const uint32_t most = plan.specs[1].main;
    const uint32_t least = plan.specs[2].main;
    const struct {
        uint32_t at;
        uint64_t value;
    } wrong[] = {
        {plan.specs[0].values, 3}, {sum + 8, 1}, {sum + 8, UINT64_MAX - 1}, {most, KEY_INFINITY + 1}, {most, (uint64_t)~KEY_INFINITY - 1},
        {least, 2}, {plan.refs[0], NO_SEGMENT}, {plan.refs[0], (uint64_t)N_ROWS << 32}, {plan.specs[0].values, 0},
    };
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t state[64];
        struct event_ref row = {segment, 0};
        agg_init(&plan, state);
        while (is_null(INTS, row.row) || is_null(FLOATS, row.row) || is_null(BOOLS, row.row) || is_null(TEXTS, row.row)) {
            row.row++;
        }
        CHECK(agg_add(&plan, state, &store, row) == STATUS_OK && agg_add(&plan, state, &store, row) == STATUS_OK);
        CHECK(agg_check(&plan, state, &store) == NULL);
        const uint64_t before = state[wrong[i].at / 8];
        state[wrong[i].at / 8] = wrong[i].value;
        CHECK(agg_check(&plan, state, &store) != NULL);
        state[wrong[i].at / 8] = before;
        agg_free(&plan, state, &store);
    }
    agg_plan_free(&plan);
}

static void test(void)
{
    struct agg_plan plan;
    struct agg_columns out;
    static struct model models[STATES];
    arena_init(&arena);
    event_store_init(&store, &arena, N_COLUMNS, 1);
    open_rows();
    any_specs(&plan, random_below(3) == 0);
    agg_columns_init(&out, &arena);
    uint8_t *states = arena_alloc(&arena, STATES * (size_t)plan.state_size);
    for (uint32_t i = 0; i < STATES; i++) {
        agg_init(&plan, states + i * plan.state_size);
        models[i].n = 0;
    }
    steps(&plan, states, models, &out);
    for (uint32_t i = 0; i < STATES; i++) {
        agg_free(&plan, states + i * plan.state_size, &store);
    }
    CHECK(store.live == 0);
    arena_free(&arena, states, STATES * (size_t)plan.state_size);
    agg_columns_free(&out);
    agg_plan_free(&plan);
    test_damaged_plans();
    test_broken_states();
    test_no_memory();
    store.segments[segment].pinned = 0;
    event_store_close(&store, segment);
    event_store_free(&store);
    CHECK(arena.bytes_used == 0);
    arena_free_all(&arena);
}

int main(void)
{
    return run_seeds(test, 60);
}
