/* The rows of panes against plain lists of numbers that are sorted after every merge. */
#include "join_panes.h"
#include "two_inputs.h"

#define PANES 12
#define MOST_IN_PANE 3000

struct model_pane {
    uint32_t rows[2][MOST_IN_PANE]; /* places in the model, ascending, at times twice the same: then nothing is merged */
    uint32_t n[2];
};

static struct model_pane panes[PANES];
static bool outer[2], cogroup;
static struct agg_log_entry entries[32];
static uint32_t n_entries;

struct expected_pair {
    struct event_ref sides[2];
    uint32_t result;
};
static struct expected_pair pairs[200000];
static uint32_t n_pairs, n_results;
static struct pane_groups groups[32];
static uint32_t n_groups;
static struct event_ref members[2][100000];
static uint32_t n_members[2];

static void log_entry(uint32_t op, uint32_t pane, uint32_t a, uint32_t b)
{
    entries[n_entries++] = (struct agg_log_entry){op, pane, a, b};
}

static bool share_rows(const struct model_pane *p, const struct model_pane *q)
{
    for (unsigned side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < p->n[side]; i++) {
            for (uint32_t k = 0; k < q->n[side]; k++) {
                if (p->rows[side][i] == q->rows[side][k]) {
                    return true;
                }
            }
        }
    }
    return false;
}

static int by_number(const void *a, const void *b)
{
    return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

static void merge_some(void)
{
    const uint32_t into = random_below(PANES), from = random_below(PANES);
    struct model_pane *p = &panes[into], *q = &panes[from];
    if (into == from || share_rows(p, q) || p->n[LEFT] + q->n[LEFT] > 200 || p->n[RIGHT] + q->n[RIGHT] > 200) {
        return;
    }
    for (unsigned side = 0; side < 2; side++) {
        memcpy(p->rows[side] + p->n[side], q->rows[side], q->n[side] * sizeof(uint32_t));
        p->n[side] += q->n[side];
        qsort(p->rows[side], p->n[side], sizeof(uint32_t), by_number);
    }
    log_entry(AGG_LOG_MERGE, into, from, 0);
}

static struct event_ref event_at(uint32_t at)
{
    return model[at].event;
}

static void fire(uint32_t id)
{
    const struct model_pane *p = &panes[id];
    const struct event_ref none = {NO_SEGMENT, 0};
    log_entry(AGG_LOG_FIRE, id, n_results, 0);
    if (cogroup) {
        groups[n_groups++] = (struct pane_groups){{p->n[LEFT], p->n[RIGHT]}, n_results};
        for (unsigned side = 0; side < 2; side++) {
            for (uint32_t i = 0; i < p->n[side]; i++) {
                members[side][n_members[side]++] = event_at(p->rows[side][i]);
            }
        }
    } else if (p->n[LEFT] > 0 && p->n[RIGHT] > 0) {
        for (uint32_t i = 0; i < p->n[LEFT]; i++) {
            for (uint32_t k = 0; k < p->n[RIGHT]; k++) {
                pairs[n_pairs++] = (struct expected_pair){{event_at(p->rows[LEFT][i]), event_at(p->rows[RIGHT][k])}, n_results};
            }
        }
    } else {
        for (unsigned side = 0; side < 2; side++) {
            for (uint32_t i = 0; outer[side] && i < p->n[side]; i++) {
                struct expected_pair alone = {{none, none}, n_results};
                alone.sides[side] = event_at(p->rows[side][i]);
                pairs[n_pairs++] = alone;
            }
        }
    }
    n_results++;
}

static void model_step(void)
{
    n_entries = n_pairs = n_groups = n_members[LEFT] = n_members[RIGHT] = 0;
    for (uint32_t i = 0; i < step_arrivals.n_rows; i++) {
        const uint32_t at = step_first + i, id = random_below(PANES);
        const unsigned side = model[at].side;
        panes[id].rows[side][panes[id].n[side]++] = at;
        log_entry(AGG_LOG_ADD, id, 0, i);
        const uint32_t what = random_below(8), other = random_below(PANES);
        if (what == 0) {
            merge_some();
        } else if (what <= 2) {
            fire(other);
        } else if (what == 3) {
            log_entry(random_below(2) ? AGG_LOG_RESET : AGG_LOG_FREE, other, 0, 0);
            memset(&panes[other], 0, sizeof panes[other]);
        }
    }
}

static void check_same(struct join_panes *j)
{
    CHECK(join_panes_check(j) == NULL);
    CHECK(j->n_pairs_out == n_pairs && j->n_groups == n_groups);
    for (uint32_t i = 0; i < n_pairs; i++) {
        CHECK(same_event(j->pairs[i].sides[LEFT], pairs[i].sides[LEFT]) && same_event(j->pairs[i].sides[RIGHT], pairs[i].sides[RIGHT]));
        CHECK(j->pairs[i].result == pairs[i].result);
    }
    for (uint32_t i = 0; i < n_groups; i++) {
        CHECK(memcmp(&j->groups[i], &groups[i], sizeof *groups) == 0);
    }
    for (unsigned side = 0; side < 2; side++) {
        CHECK(j->n_members[side] == n_members[side]);
        for (uint32_t i = 0; i < n_members[side]; i++) {
            CHECK(same_event(j->members[side][i], members[side][i]));
        }
    }
    join_panes_clear(j);
}

static void test(void)
{
    struct arena a, own;
    struct join_panes j;
    two_inputs_init(&a);
    arena_init(&own);
    memset(panes, 0, sizeof panes);
    n_results = 0;
    outer[LEFT] = random_below(2) == 0;
    outer[RIGHT] = random_below(2) == 0;
    cogroup = random_below(3) == 0;
    join_panes_init(&j, &own, (struct event_store *const[2]){&stores[LEFT], &stores[RIGHT]}, outer[LEFT], outer[RIGHT], cogroup);
    event_time_t watermark = 0;
    enum status st = STATUS_OK;
    const uint32_t fails_at = random_below(2) ? UINT32_MAX : random_below(30);
    for (uint32_t step = 0; step < 70 && st == STATUS_OK; step++) {
        random_step(0, &watermark, 10);
        model_step();
        own.fail_after = step == fails_at ? 1 + random_below(4) : 0;
        st = join_panes_replay(&j, entries, n_entries, &step_arrivals);
        own.fail_after = 0;
        if (st == STATUS_OK) {
            check_same(&j);
        } else {
            CHECK(st == STATUS_NO_MEMORY); /* it has stopped for good, and can still be freed */
        }
    }
    join_panes_free(&j);
    CHECK(own.bytes_used == 0);
    arena_free_all(&own);
    two_inputs_free(&a);
}

int main(void)
{
    return run_seeds(test, 200);
}
