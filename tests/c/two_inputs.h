/* Two inputs of random rows for the joins' tests: the key stands in another column on the left than on the right. */
#ifndef FYKE_TWO_INPUTS_H
#define FYKE_TWO_INPUTS_H

#include "arrivals.h"
#include "check.h"
#include "keyspace.h"

#define MOST_ROWS 600
#define MOST_SEGMENTS 200
#define KEYS 5
#define NO_KEY KEYS

struct model_row {
    unsigned side;
    uint32_t key; /* NO_KEY: null */
    event_time_t time;
    struct event_ref event;
    bool held;
    bool matched;
};

static struct model_row model[MOST_ROWS];
static uint32_t n_model;

static uint8_t column_types[2] = {COLUMN_I64, COLUMN_I64};
static uint32_t key_column[2] = {1, 0};
static struct keyspace_plan keyspace_of_one = {0, 1, 0, NO_PROGRAM};
static const struct plan plan_of[2] = {
    {.n_columns = 2, .column_types = column_types, .key_columns = &key_column[0], .n_keyspaces = 1, .keyspaces = &keyspace_of_one},
    {.n_columns = 1, .column_types = column_types, .key_columns = &key_column[1], .n_keyspaces = 1, .keyspaces = &keyspace_of_one},
};
static const struct plan *const plans[2] = {&plan_of[LEFT], &plan_of[RIGHT]};

static struct event_store stores[2];
static int64_t keys_of[MOST_ROWS];
static event_time_t times_of[MOST_ROWS];
static uint64_t numbers_of[MOST_ROWS];
static uint8_t valid_of[MOST_ROWS / 8 + 1];
static uint64_t masks_of[MOST_ROWS]; /* bits 0 and 1: random */

/* What a step takes: at most 8 rows and 8 watermarks. */
static uint8_t step_inputs[8];
static uint32_t step_rows[8];
static uint64_t step_origins[8], step_mark_origins[8];
static event_time_t step_mark_times[8];
static struct arrivals step_arrivals;
static uint32_t step_first; /* in the model */
static uint64_t next_origin;

/* Each row stands in a segment of its own per side, so a segment's live count says whether it is held. */
static inline void open_segment(unsigned side, uint32_t first, uint32_t n)
{
    uint32_t id;
    CHECK(event_store_open(&stores[side], &id) == STATUS_OK);
    struct segment *g = &stores[side].segments[id];
    g->times = times_of + first;
    g->positions = numbers_of + first;
    g->masks = masks_of + first;
    g->n_rows = n;
    g->pinned = 1;
    struct column *key = &g->columns[key_column[side]];
    *key = (struct column){.data = keys_of + first, .valid = valid_of, .valid_offset = (int64_t)first, .type = COLUMN_I64};
    step_arrivals.segments[side] = id;
}

/* Makes random rows around `now` and watermarks between; the rows of both sides lie in one block that both segments show. */
static inline void random_step(event_time_t now, event_time_t *watermark, uint32_t disorder)
{
    const uint32_t n = random_below(8);
    uint32_t n_marks = 0;
    step_first = n_model;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = n_model++;
        struct model_row *row = &model[at];
        row->side = random_below(2);
        row->key = random_below(20) == 0 ? NO_KEY : random_below(KEYS);
        row->time = now + (event_time_t)random_below(6) - (event_time_t)random_below(disorder + 1);
        row->held = row->matched = false;
        keys_of[at] = (int64_t)row->key * 1000003;
        times_of[at] = row->time;
        numbers_of[at] = at;
        masks_of[at] = random_below(8) == 0 ? 1 + random_below(3) : 0;
        if (row->key != NO_KEY) {
            valid_of[at / 8] |= (uint8_t)(1u << (at % 8));
        }
        step_inputs[i] = (uint8_t)row->side;
        step_rows[i] = i;
        next_origin += random_below(3) > 0;
        step_origins[i] = next_origin;
        if (random_below(3) == 0 && (n_marks == 0 || step_mark_origins[n_marks - 1] < next_origin)) {
            *watermark += 1 + (event_time_t)random_below(8);
            step_mark_times[n_marks] = *watermark;
            step_mark_origins[n_marks++] = next_origin++;
        }
    }
    step_arrivals = (struct arrivals){step_inputs, step_rows, step_origins, n, step_mark_origins, step_mark_times, n_marks, {0, 0}};
    open_segment(LEFT, step_first, n);
    open_segment(RIGHT, step_first, n);
    for (uint32_t i = 0; i < n; i++) {
        model[step_first + i].event = arrivals_event(&step_arrivals, i);
    }
}

/* A watermark alone. */
static inline void mark_step(event_time_t watermark)
{
    step_mark_times[0] = watermark;
    step_mark_origins[0] = next_origin++;
    step_arrivals = (struct arrivals){step_inputs, step_rows, step_origins, 0, step_mark_origins, step_mark_times, 1, {0, 0}};
    step_first = n_model;
}

static inline void two_inputs_init(struct arena *a)
{
    arena_init(a);
    event_store_init(&stores[LEFT], a, 2, 1);
    event_store_init(&stores[RIGHT], a, 1, 1);
    memset(valid_of, 0, sizeof valid_of);
    n_model = 0;
    next_origin = 0;
}

static inline void two_inputs_free(struct arena *a)
{
    event_store_free(&stores[LEFT]);
    event_store_free(&stores[RIGHT]);
    CHECK(a->bytes_used == 0);
    arena_free_all(a);
}

static inline bool same_event(struct event_ref a, struct event_ref b)
{
    return a.segment == b.segment && (a.segment == NO_SEGMENT || a.row == b.row);
}

#endif
