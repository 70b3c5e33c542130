/* The reorder buffer against a stable insertion sort of everything that waits. */
#include "check.h"
#include "reorder.h"

#define MOST 4000

static struct waiting model[MOST];
static uint32_t n_model;
static uint32_t n_added;

/* After all of the same time: the order of arrival. */
static void model_add(struct waiting w)
{
    uint32_t at = n_model++;
    while (at > 0 && model[at - 1].time > w.time) {
        model[at] = model[at - 1];
        at--;
    }
    model[at] = w;
}

static void check_same(const struct reorder *r)
{
    CHECK(reorder_size(r) == n_model);
    for (uint32_t i = 0; i < n_model; i++) {
        const struct waiting *w = &r->items[r->head + i];
        CHECK(w->time == model[i].time && w->event.row == model[i].event.row);
    }
}

/* Rows in order, nearly in order or in no order; few or many. */
static uint32_t any_rows(struct waiting *rows, event_time_t now)
{
    const uint32_t n = random_below(3) == 0 ? random_below(300) : random_below(12);
    const uint32_t disorder = random_below(3) == 0 ? 0 : random_below(200);
    for (uint32_t i = 0; i < n; i++) {
        const event_time_t jitter = disorder == 0 ? 0 : (event_time_t)random_below(disorder);
        rows[i].time = now + (event_time_t)(i / 2) - jitter;
        rows[i].event = (struct event_ref){7, n_added++};
    }
    return n;
}

static void add(struct reorder *r, event_time_t now)
{
    struct waiting rows[300];
    struct waiting scratch[300];
    const uint32_t n = any_rows(rows, now);
    if (n_model + n > MOST) {
        return;
    }
    memcpy(scratch, rows, sizeof rows);
    if (random_below(3) == 0) {
        r->arena->fail_after = 1 + random_below(2);
    }
    const enum status st = reorder_add(r, scratch, n);
    r->arena->fail_after = 0;
    if (st == STATUS_OK) {
        for (uint32_t i = 0; i < n; i++) {
            model_add(rows[i]);
        }
    } /* else: none has been added */
    check_same(r);
}

static void release(struct reorder *r, event_time_t watermark)
{
    uint32_t due = 0;
    while (due < n_model && model[due].time <= watermark) {
        due++;
    }
    CHECK(reorder_due(r, watermark) == due);
    r->head += due;
    n_model -= due;
    memmove(model, model + due, n_model * sizeof *model);
    check_same(r);
}

static void test_watermark(void)
{
    struct watermark w = {.out_of_order = 10, .highest = TIME_MIN, .current = TIME_MIN};
    watermark_see(&w, 100);
    CHECK(w.highest == 100 && w.current == 89);
    watermark_see(&w, 95);
    CHECK(w.highest == 100 && w.current == 89);
    w.current = 500; /* moved from outside: it never falls */
    watermark_see(&w, 101);
    CHECK(w.highest == 101 && w.current == 500);
    struct watermark low = {.out_of_order = INT64_MAX, .highest = TIME_MIN, .current = TIME_MIN};
    watermark_see(&low, TIME_MIN + 5);
    CHECK(low.current == TIME_MIN);
}

static void test(void)
{
    struct arena a;
    struct reorder r;
    arena_init(&a);
    reorder_init(&r, &a);
    n_model = 0;
    n_added = 0;
    event_time_t now = 0;
    for (int step = 0; step < 150; step++) {
        if (random_below(3) > 0) {
            add(&r, now);
            now += random_below(100);
        } else {
            release(&r, now - (event_time_t)random_below(250));
        }
    }
    release(&r, TIME_MAX);
    CHECK(reorder_size(&r) == 0);
    reorder_free(&r);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
    test_watermark();
}

int main(void)
{
    return run_seeds(test, 40);
}
