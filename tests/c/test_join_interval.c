/* The interval join against nested loops over all rows that were ever kept. */
#include "join_interval.h"
#include "two_inputs.h"

static int64_t lower, upper;
static bool outer[2];
static event_time_t reached; /* the model's watermark */

static struct joined expected[100000];
static uint32_t n_expected;
static uint32_t late[8], null_keys[8];
static uint32_t n_late, n_null_keys;

static event_time_t clamped(event_time_t t, int64_t d)
{
    const __int128 sum = (__int128)t + d;
    return sum > TIME_MAX ? TIME_MAX : sum < TIME_MIN ? TIME_MIN : (event_time_t)sum;
}

static event_time_t deadline(const struct model_row *row)
{
    return clamped(row->time, row->side == LEFT ? upper : -lower);
}

static void expect(struct joined row)
{
    CHECK(n_expected < sizeof expected / sizeof *expected);
    expected[n_expected++] = row;
}

static void expect_alone(const struct model_row *row, uint64_t origin)
{
    struct joined out = {.origin = origin};
    out.sides[row->side] = row->event;
    out.sides[!row->side].segment = NO_SEGMENT;
    out.time = deadline(row) > row->time ? deadline(row) : row->time;
    out.time -= out.time == TIME_MAX;
    expect(out);
}

static void model_take(uint32_t at, uint64_t origin)
{
    struct model_row *row = &model[at];
    if (row->key == NO_KEY) {
        null_keys[n_null_keys++] = at - step_first;
        return;
    }
    if (row->time <= reached) {
        late[n_late++] = at - step_first;
        return;
    }
    for (event_time_t last = TIME_MIN;;) { /* the partners by time; at equal times by arrival */
        event_time_t next = TIME_MAX;
        for (uint32_t i = 0; i < at; i++) {
            next = model[i].time > last && model[i].time < next ? model[i].time : next;
        }
        if (next == TIME_MAX) {
            break;
        }
        for (uint32_t i = 0; i < at; i++) {
            struct model_row *p = &model[i];
            const __int128 apart = row->side == LEFT ? (__int128)p->time - row->time : (__int128)row->time - p->time;
            if (p->time == next && p->held && p->side != row->side && p->key == row->key && lower <= apart && apart <= upper) {
                struct joined out = {.origin = origin, .time = p->time > row->time ? p->time : row->time};
                out.sides[row->side] = row->event;
                out.sides[p->side] = p->event;
                expect(out);
                p->matched = row->matched = true;
            }
        }
        last = next;
    }
    row->held = deadline(row) > reached;
    if (!row->held && !row->matched && outer[row->side]) {
        expect_alone(row, origin);
    }
}

/* Whether no row of its key and side stands before it: only where deadlines saturate does that say more than the deadline. */
static bool leads(const struct model_row *row)
{
    for (const struct model_row *r = model; r < model + n_model; r++) {
        if (r->held && r->key == row->key && r->side == row->side && (r->time < row->time || (r->time == row->time && r < row))) {
            return false;
        }
    }
    return true;
}

static void model_mark(event_time_t watermark, uint64_t origin)
{
    reached = watermark;
    for (;;) { /* by deadline, then by arrival */
        struct model_row *first = NULL;
        for (uint32_t i = 0; i < n_model; i++) {
            if (model[i].held && deadline(&model[i]) <= reached && leads(&model[i]) &&
                (first == NULL || deadline(&model[i]) < deadline(first))) {
                first = &model[i];
            }
        }
        if (first == NULL) {
            return;
        }
        first->held = false;
        if (!first->matched && outer[first->side]) {
            expect_alone(first, origin);
        }
    }
}

static void model_step(const struct arrivals *a)
{
    n_expected = n_late = n_null_keys = 0;
    uint32_t mark = 0;
    for (uint32_t i = 0; i <= a->n_rows; i++) {
        for (; mark < a->n_marks && (i == a->n_rows || a->mark_origins[mark] < a->origins[i]); mark++) {
            model_mark(a->mark_times[mark], a->mark_origins[mark]);
        }
        if (i < a->n_rows) {
            model_take(step_first + i, a->origins[i]);
        }
    }
}

static void check_same(struct join_interval *j)
{
    struct join_results *r = &j->results;
    CHECK(join_interval_check(j) == NULL);
    CHECK(r->n_rows == n_expected && r->n_late == n_late && r->n_null_keys == n_null_keys);
    for (uint32_t i = 0; i < n_expected; i++) {
        CHECK(same_event(r->rows[i].sides[LEFT], expected[i].sides[LEFT]));
        CHECK(same_event(r->rows[i].sides[RIGHT], expected[i].sides[RIGHT]));
        CHECK(r->rows[i].time == expected[i].time && r->rows[i].origin == expected[i].origin);
    }
    CHECK(n_late == 0 || memcmp(r->late, late, n_late * sizeof *late) == 0);
    CHECK(n_null_keys == 0 || memcmp(r->null_keys, null_keys, n_null_keys * sizeof *null_keys) == 0);
    r->n_rows = r->n_late = r->n_null_keys = 0;
}

static void random_join(void)
{
    static const int64_t far[] = {0, 0, 0, 0, INT64_MAX, INT64_MAX - 3};
    lower = (int64_t)random_below(30) - 15;
    upper = lower + (int64_t)random_below(20) - (random_below(8) == 0); /* at times empty */
    lower = random_below(6) == 0 ? -far[random_below(6)] : lower;
    upper = random_below(6) == 0 ? far[random_below(6)] : upper;
    outer[LEFT] = random_below(2) == 0;
    outer[RIGHT] = random_below(2) == 0;
}

static void test(void)
{
    struct arena a, own;
    struct join_interval j;
    two_inputs_init(&a);
    arena_init(&own);
    random_join();
    own.fail_after = random_below(4) == 0;
    enum status st = join_interval_init(&j, &own, plans, (struct event_store *const[2]){&stores[LEFT], &stores[RIGHT]}, lower, upper,
                                        outer[LEFT], outer[RIGHT]);
    CHECK(st == (own.fail_after == 0 && own.bytes_used == 0 ? STATUS_NO_MEMORY : STATUS_OK));
    reached = TIME_MIN;
    event_time_t watermark = -60 + (event_time_t)random_below(60), now = 0;
    const uint32_t disorder = random_below(40), fails_at = random_below(2) ? UINT32_MAX : random_below(70);
    for (uint32_t step = 0; step < 70 && st == STATUS_OK; step++) {
        random_step(now, &watermark, disorder);
        own.fail_after = step == fails_at ? 1 + random_below(6) : 0;
        st = join_interval_step(&j, &step_arrivals);
        own.fail_after = 0;
        if (st == STATUS_OK) {
            model_step(&step_arrivals);
            check_same(&j);
        } else {
            CHECK(st == STATUS_NO_MEMORY); /* it has stopped for good, and can still be freed */
        }
        now += random_below(8);
    }
    if (st == STATUS_OK) {
        mark_step(TIME_MAX);
        CHECK(join_interval_step(&j, &step_arrivals) == STATUS_OK);
        model_step(&step_arrivals);
        check_same(&j);
        CHECK(j.n_buffered == 0 && j.keys.n_keys == 0 && stores[LEFT].live == 0 && stores[RIGHT].live == 0);
    }
    join_interval_free(&j);
    CHECK(own.bytes_used == 0);
    arena_free_all(&own);
    two_inputs_free(&a);
}

int main(void)
{
    return run_seeds(test, 300);
}
