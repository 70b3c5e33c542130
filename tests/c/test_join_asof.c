/* The as-of join against a search through all right rows for each left row whose time has come. */
#include "join_asof.h"
#include "two_inputs.h"

static int64_t tolerance;
static bool outer, deletes;
static event_time_t reached; /* the model's watermark */

static struct joined expected[MOST_ROWS];
static uint32_t n_expected;
static uint32_t late[8], null_keys[8];
static uint32_t n_late, n_null_keys;

static void model_take(uint32_t at)
{
    struct model_row *row = &model[at];
    if (row->key == NO_KEY) {
        null_keys[n_null_keys++] = at - step_first;
    } else if (row->time <= reached) {
        late[n_late++] = at - step_first;
    } else {
        row->held = true; /* takes part; `matched`: a left row that has come */
    }
}

/* Of the rows that take part, the latest by (time, arrival) that is not after the left row. */
static struct event_ref latest(const struct model_row *left)
{
    const struct model_row *best = NULL;
    for (const struct model_row *r = model; r < model + n_model; r++) {
        if (r->side == RIGHT && r->held && r->key == left->key && r->time <= left->time && (best == NULL || r->time >= best->time)) {
            best = r;
        }
    }
    const struct event_ref none = {NO_SEGMENT, 0};
    if (best == NULL || (deletes && (masks_of[best - model] & 1))) {
        return none;
    }
    return tolerance != INT64_MAX && left->time - best->time > tolerance ? none : best->event;
}

static void model_mark(event_time_t watermark, uint64_t origin)
{
    reached = watermark;
    for (;;) {
        struct model_row *first = NULL;
        for (struct model_row *r = model; r < model + n_model; r++) {
            if (r->side == LEFT && r->held && !r->matched && r->time <= reached && (first == NULL || r->time < first->time)) {
                first = r;
            }
        }
        if (first == NULL) {
            return;
        }
        first->matched = true;
        const struct event_ref right = latest(first);
        if (outer || right.segment != NO_SEGMENT) {
            expected[n_expected++] = (struct joined){{first->event, right}, first->time, origin};
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
            model_take(step_first + i);
        }
    }
}

static void check_same(struct join_asof *j)
{
    struct join_results *r = &j->results;
    CHECK(join_asof_check(j) == NULL);
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

static void test(void)
{
    struct arena a, own;
    struct join_asof j;
    two_inputs_init(&a);
    arena_init(&own);
    tolerance = random_below(3) == 0 ? INT64_MAX : (int64_t)random_below(30);
    outer = random_below(2) == 0;
    deletes = random_below(2) == 0;
    const bool no_memory = random_below(4) == 0;
    own.fail_after = no_memory;
    enum status st = join_asof_init(&j, &own, plans, (struct event_store *const[2]){&stores[LEFT], &stores[RIGHT]}, tolerance, outer, deletes);
    own.fail_after = 0;
    CHECK(st == (no_memory ? STATUS_NO_MEMORY : STATUS_OK));
    reached = TIME_MIN;
    event_time_t watermark = -60 + (event_time_t)random_below(60), now = 0;
    const uint32_t disorder = random_below(40), fails_at = random_below(2) ? UINT32_MAX : random_below(70);
    for (uint32_t step = 0; step < 70 && st == STATUS_OK; step++) {
        random_step(now, &watermark, disorder);
        own.fail_after = step == fails_at ? 1 + random_below(6) : 0;
        st = join_asof_step(&j, &step_arrivals);
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
        CHECK(join_asof_step(&j, &step_arrivals) == STATUS_OK);
        model_step(&step_arrivals);
        check_same(&j);
        CHECK(j.n_lasts == 0 && j.keys.n_keys == 0 && stores[LEFT].live == 0 && stores[RIGHT].live == 0);
    }
    join_asof_free(&j);
    CHECK(own.bytes_used == 0);
    arena_free_all(&own);
    two_inputs_free(&a);
}

int main(void)
{
    return run_seeds(test, 300);
}
