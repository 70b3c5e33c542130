/* The latest rows of keys against a plain array of them. */
#include "join_latest.h"
#include "two_inputs.h"

static struct latest_options options;
static const struct model_row *latest[KEYS][2]; /* NULL: none */

struct change {
    uint32_t kind;
    struct joined row;
};

static struct change expected[64];
static uint32_t n_expected, n_null_keys;

static struct event_ref event_of(const struct model_row *row)
{
    return row == NULL ? (struct event_ref){NO_SEGMENT, 0} : row->event;
}

static void expect(uint32_t kind, const struct model_row *left, const struct model_row *right, event_time_t t, uint64_t origin)
{
    expected[n_expected++] = (struct change){kind, {{event_of(left), event_of(right)}, t, origin}};
}

static bool joins(const struct model_row *left, const struct model_row *right)
{
    if (left != NULL && right != NULL) {
        return true;
    }
    return (left != NULL && options.outer[LEFT]) || (right != NULL && options.outer[RIGHT]);
}

static void model_take(uint32_t at, uint64_t origin)
{
    const struct model_row *row = &model[at];
    const uint64_t bits = masks_of[at] & options.bits[row->side];
    if (bits & LATEST_IGNORES) {
        return;
    }
    if (row->key == NO_KEY) {
        n_null_keys++;
        return;
    }
    const struct model_row **key = latest[row->key];
    if (options.mode == LATEST_ENRICH && row->side == LEFT) {
        if (key[RIGHT] != NULL || options.outer[LEFT]) {
            expect(CHANGE_INSERT, row, key[RIGHT], row->time, origin);
        }
        return;
    }
    const struct model_row *before[2] = {key[LEFT], key[RIGHT]};
    key[row->side] = bits & LATEST_DELETES ? NULL : row;
    if (options.mode == LATEST_ENRICH || (before[row->side] == NULL && key[row->side] == NULL)) {
        return;
    }
    const bool was = joins(before[LEFT], before[RIGHT]), is = joins(key[LEFT], key[RIGHT]);
    if (was && is && options.befores) {
        expect(CHANGE_BEFORE, before[LEFT], before[RIGHT], row->time, origin);
    }
    if (is) {
        expect(was ? CHANGE_AFTER : CHANGE_INSERT, key[LEFT], key[RIGHT], row->time, origin);
    } else if (was) {
        expect(CHANGE_DELETE, before[LEFT], before[RIGHT], row->time, origin);
    }
}

static void check_same(struct join_latest *j)
{
    struct join_results *r = &j->results;
    CHECK(join_latest_check(j) == NULL);
    CHECK(r->n_rows == n_expected && r->n_null_keys == n_null_keys && r->n_late == 0);
    for (uint32_t i = 0; i < n_expected; i++) {
        CHECK(same_event(r->rows[i].sides[LEFT], expected[i].row.sides[LEFT]));
        CHECK(same_event(r->rows[i].sides[RIGHT], expected[i].row.sides[RIGHT]));
        CHECK(r->rows[i].time == expected[i].row.time && r->rows[i].origin == expected[i].row.origin);
        CHECK(j->changes[i] == expected[i].kind);
    }
    r->n_rows = r->n_null_keys = 0;
    for (uint32_t at = 0; at < n_model; at++) { /* look-ups by a row of either side */
        const struct model_row *row = &model[at];
        uint32_t slot;
        CHECK(join_latest_find(j, j->key_columns[row->side], &stores[row->side], row->event, &slot) == STATUS_OK);
        if (row->key == NO_KEY) {
            CHECK(slot == KEY_NULL);
            continue;
        }
        CHECK((slot != NO_SLOT) == (latest[row->key][LEFT] != NULL || latest[row->key][RIGHT] != NULL));
        CHECK(slot == NO_SLOT || same_event(j->by_key[slot].sides[LEFT], event_of(latest[row->key][LEFT])));
        CHECK(slot == NO_SLOT || same_event(j->by_key[slot].sides[RIGHT], event_of(latest[row->key][RIGHT])));
    }
}

static void test(void)
{
    struct arena a, own;
    struct join_latest j;
    two_inputs_init(&a);
    arena_init(&own);
    memset(latest, 0, sizeof latest);
    options = (struct latest_options){random_below(2), {random_below(2) == 0, random_below(2) == 0}, random_below(2) == 0,
                                      {random_below(4), random_below(4)}};
    const bool no_memory = random_below(4) == 0;
    own.fail_after = no_memory;
    enum status st = join_latest_init(&j, &own, plans, (struct event_store *const[2]){&stores[LEFT], &stores[RIGHT]}, &options);
    own.fail_after = 0;
    CHECK(st == (no_memory ? STATUS_NO_MEMORY : STATUS_OK));
    event_time_t watermark = -60, now = 0;
    const uint32_t fails_at = random_below(2) ? UINT32_MAX : random_below(30);
    for (uint32_t step = 0; step < 70 && st == STATUS_OK; step++) {
        random_step(now, &watermark, 10);
        own.fail_after = step == fails_at ? 1 + random_below(4) : 0;
        st = join_latest_step(&j, &step_arrivals);
        own.fail_after = 0;
        if (st == STATUS_OK) {
            n_expected = n_null_keys = 0;
            for (uint32_t i = 0; i < step_arrivals.n_rows; i++) {
                model_take(step_first + i, step_arrivals.origins[i]);
            }
            check_same(&j);
        } else {
            CHECK(st == STATUS_NO_MEMORY); /* it has stopped for good, and can still be freed */
        }
        now += random_below(8);
    }
    join_latest_free(&j);
    CHECK(own.bytes_used == 0);
    arena_free_all(&own);
    two_inputs_free(&a);
}

int main(void)
{
    return run_seeds(test, 100);
}
