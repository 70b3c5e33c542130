/* Windows of all kinds over random rows: every row is in as many final results as it should be, results come in order, nothing is left
 * at the end, and memory that fails leaves nothing behind. What the results say is compared elsewhere, with a slow model in Python.
 */
#include "check.h"
#include "windows.h"

#define MOST_ROWS 2000
#define STEPS 60
#define KEYS 7
#define NO_KEY KEYS

enum { KEY, VALUE, TEXT, GAP, N_COLUMNS };

static uint8_t types[N_COLUMNS] = {COLUMN_I64, COLUMN_F64, COLUMN_STR, COLUMN_I64};
static uint32_t key_column = KEY;
static struct keyspace_plan key_plan = {0, 1, 0, NO_PROGRAM};
static const struct plan plan = {.n_columns = N_COLUMNS, .column_types = types, .key_columns = &key_column, .n_keyspaces = 1,
                                 .keyspaces = &key_plan};

static int64_t keys[MOST_ROWS], gaps[MOST_ROWS];
static double values[MOST_ROWS];
static char text[4 * MOST_ROWS];
static int32_t offsets[MOST_ROWS + 1];
static uint8_t valid[MOST_ROWS / 8 + 1];
static event_time_t times[MOST_ROWS];
static uint64_t positions[MOST_ROWS], origins[MOST_ROWS], mark_origins[MOST_ROWS];
static event_time_t mark_times[MOST_ROWS];

struct spec {
    uint32_t kind, trigger, flags, gap_column;
    int64_t size, slide, offset, lateness, trigger_n;
    uint32_t n_changes;
} __attribute__((packed));

/* count(), sum(value), last(text): the last holds its event. */
static const uint32_t aggregates[] = {3, AGG_COUNT, AGG_NO_COLUMN, AGG_NO_COLUMN, 0, AGG_SUM, VALUE, AGG_NO_COLUMN, 0, AGG_LAST, TEXT, AGG_NO_COLUMN, 0};

static struct spec random_spec(void)
{
    struct spec s = {.kind = random_below(5), .trigger = random_below(4), .gap_column = NO_COLUMN};
    s.size = 1 + random_below(12);
    s.slide = 1 + random_below(8);
    if (s.kind == WINDOW_GRID && random_below(3) == 0) { /* so many slices that they are worth a pivot */
        s.size = 20 + random_below(60);
        s.slide = 1 + random_below(3);
        s.trigger = TRIGGER_END;
    }
    s.offset = (int64_t)random_below((uint32_t)(2 * s.slide - 1)) - s.slide + 1;
    s.lateness = random_below(3) == 0 ? random_below(20) : 0;
    s.trigger_n = 1 + random_below(6);
    s.flags = random_below(8);
    if (s.kind == WINDOW_COUNT || s.kind == WINDOW_SLIDING_COUNT) {
        s.trigger = TRIGGER_NEVER;
        s.flags &= WINDOW_CLOSES;
    }
    if (s.kind == WINDOW_SESSION && random_below(3) == 0) {
        s.gap_column = GAP;
    }
    return s;
}

static uint32_t n_rows, n_segment_rows;
static uint64_t origin;
static event_time_t now, reached;

static uint32_t make_step(struct event_store *s, uint32_t *n_marks)
{
    const uint32_t first = n_rows;
    n_segment_rows = random_below(30);
    *n_marks = 0;
    for (uint32_t i = 0; i < n_segment_rows; i++) {
        const uint32_t at = n_rows++;
        now += random_below(3);
        times[at] = now - random_below(random_below(4) == 0 ? 30 : 4);
        keys[at] = random_below(KEYS + 1);
        if (keys[at] == NO_KEY) {
            valid[at / 8] &= (uint8_t) ~(1u << (at % 8));
        } else {
            valid[at / 8] |= (uint8_t)(1u << (at % 8));
        }
        gaps[at] = (int64_t)random_below(12) - 1;
        values[at] = (double)random_below(1000) / 8;
        const uint32_t size = random_below(4);
        memset(text + offsets[at], 'x', size);
        offsets[at + 1] = offsets[at] + (int32_t)size;
        positions[at] = at;
        origins[at] = origin++;
        if (random_below(4) == 0) {
            const event_time_t mark = now - random_below(10);
            if (mark > reached) {
                reached = mark;
                mark_times[*n_marks] = mark;
                mark_origins[(*n_marks)++] = origin++;
            }
        }
    }
    uint32_t id;
    CHECK(event_store_open(s, &id) == STATUS_OK);
    struct segment *g = &s->segments[id];
    g->columns[KEY] = (struct column){.data = keys + first, .type = COLUMN_I64, .valid = valid, .valid_offset = (int64_t)first};
    g->columns[VALUE] = (struct column){.data = values + first, .type = COLUMN_F64};
    g->columns[TEXT] = (struct column){.data = text, .offsets = offsets + first, .type = COLUMN_STR};
    g->columns[GAP] = (struct column){.data = gaps + first, .type = COLUMN_I64};
    g->times = times + first;
    g->positions = positions + first;
    g->n_rows = n_segment_rows;
    g->pinned = 1;
    return id;
}

static void sweep(struct event_store *s, uint32_t id)
{
    struct segment *g = &s->segments[id];
    g->pinned = 0;
    if (g->live == 0 && !g->listed) {
        g->listed = 1;
        s->dead[s->n_dead++] = id;
    }
    for (uint32_t i = 0; i < s->n_dead; i++) {
        s->segments[s->dead[i]].listed = 0;
        if (s->segments[s->dead[i]].live == 0) {
            event_store_close(s, s->dead[i]);
        }
    }
    s->n_dead = 0;
}

/* What comes with one origin is in order of time; final rows of a watermark are above the one before. */
static void check_results(const struct windows *w, uint64_t *rows_told)
{
    CHECK(w->result_values.n_rows == w->n_results && w->result_keys.n_rows == w->n_results);
    for (uint32_t i = 0; i < w->n_results; i++) {
        const struct window_result *r = &w->results[i];
        const int64_t count = ((const int64_t *)w->result_values.values[0])[i];
        CHECK(count > 0 && r->start <= r->end);
        CHECK(i == 0 || r[-1].origin <= r->origin);
        if (r->final) {
            *rows_told += (uint64_t)count;
        }
    }
}

/* How many final results a row that is taken is in; 0: it cannot be said so easily. */
static uint64_t results_of_a_row(const struct spec *s)
{
    const bool purges = (s->flags & WINDOW_PURGES) != 0, closes = (s->flags & WINDOW_CLOSES) != 0;
    const bool whole = s->trigger == TRIGGER_END || s->trigger == TRIGGER_CONTINUOUS;
    if (s->kind == WINDOW_COUNT) {
        return closes;
    }
    if (s->kind == WINDOW_SESSION || (s->kind == WINDOW_GRID && s->size == s->slide)) {
        return purges ? (whole || closes) : (whole && (closes || s->lateness == 0)) || closes;
    }
    return 0;
}

/* All windows one by one, in order; looking at them changes nothing, even if it fails. */
static void look(struct windows *w, struct arena *a, bool fails)
{
    a->fail_after = fails && random_below(2) == 0 ? 1 + random_below(30) : 0;
    const enum status st = windows_in_order(w);
    CHECK(st == STATUS_OK || a->fail_after == 0);
    a->fail_after = 0;
    CHECK(st == STATUS_OK || (fails && st == STATUS_NO_MEMORY));
    if (st == STATUS_OK) {
        CHECK(w->n_due == w->n_open - w->n_slices + windows_count_sliced(w));
        for (uint32_t i = 0; i < w->n_due; i++) {
            const struct window *p = window_at(w, w->due[i].window), *q = i == 0 ? NULL : window_at(w, w->due[i - 1].window);
            CHECK(agg_rows(window_contents(p)) > 0 || w->spec.purges || w->spec.kind == WINDOW_SLIDING_COUNT);
            CHECK(q == NULL || w->due[i - 1].rank < w->due[i].rank || (p->slot == q->slot && (q->start < p->start || q->end < p->end)));
        }
    }
    CHECK(windows_forget_whole(w) == STATUS_OK);
}

static void test(void)
{
    const struct spec spec = random_spec();
    const bool fails = seed % 2 == 1;
    struct arena a;
    struct event_store s;
    struct windows w;
    const char *reason = NULL;
    arena_init(&a);
    event_store_init(&s, &a, N_COLUMNS, 1);
    n_rows = 0;
    origin = 0;
    now = (event_time_t)random_below(100) - 50;
    reached = TIME_MIN;
    offsets[0] = 0;
    a.fail_after = fails && random_below(3) == 0 ? 1 + random_below(12) : 0;
    enum status st = windows_init(&w, &a, &plan, &s, (const uint8_t *)&spec, sizeof spec, (const uint8_t *)aggregates, sizeof aggregates,
                                  random_below(2) == 0, &reason);
    a.fail_after = 0;
    CHECK(st == STATUS_OK || (fails && st == STATUS_NO_MEMORY));
    uint64_t told = 0;
    for (uint32_t i = 0; st == STATUS_OK && i < STEPS; i++) {
        uint32_t n_marks;
        const uint32_t first = n_rows, id = make_step(&s, &n_marks);
        if (i == STEPS - 1) {
            mark_times[n_marks] = TIME_MAX;
            mark_origins[n_marks++] = origin++;
        }
        a.fail_after = fails && random_below(STEPS) == 0 ? 1 + random_below(40) : 0;
        st = windows_step(&w, id, origins + first, mark_origins, mark_times, n_marks);
        CHECK(st == STATUS_OK || a.fail_after == 0);
        a.fail_after = 0;
        if (st != STATUS_OK) {
            CHECK(st == STATUS_NO_MEMORY);
            s.segments[id].pinned = 0;
            break;
        }
        check_results(&w, &told);
        windows_clear(&w);
        sweep(&s, id);
        if (random_below(8) == 0) {
            look(&w, &a, fails);
        }
        reason = windows_check(&w);
        if (reason != NULL) {
            fprintf(stderr, "%s\n", reason);
        }
        CHECK(reason == NULL);
    }
    if (st == STATUS_OK) {
        const struct window_counters *c = &w.counters;
        CHECK(c->rows == n_rows);
        const uint64_t taken = n_rows - c->aside[0] - c->aside[1] - c->aside[2] - c->aside[3];
        const uint64_t each = results_of_a_row(&spec);
        CHECK(each == 0 || told == each * taken);
        if (window_spec_timed(&w.spec) || (spec.kind == WINDOW_GLOBAL && spec.trigger < TRIGGER_COUNT)) {
            CHECK(w.n_open == 0 && w.keys.n_keys == 0 && s.live == 0 && w.timers.n == 0 && w.groups.n_live == 0);
        }
    }
    windows_free(&w);
    CHECK(s.live == 0);
    event_store_free(&s);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

/* Damaged definitions are refused, whatever their bytes. */
static void test_damaged_spec(void)
{
    struct spec spec = random_spec();
    uint8_t bytes[sizeof spec];
    memcpy(bytes, &spec, sizeof spec);
    for (uint32_t i = random_below(3); i > 0; i--) {
        bytes[random_below(sizeof spec)] = (uint8_t)random_u64();
    }
    struct arena a;
    struct window_spec loaded;
    const char *reason = NULL;
    arena_init(&a);
    const size_t size = random_below(4) == 0 ? random_below(sizeof spec) : sizeof spec;
    const enum status st = window_spec_load(&loaded, &a, bytes, size, N_COLUMNS, types, &reason);
    CHECK(st == STATUS_OK || (st == STATUS_BAD_PLAN && reason != NULL));
    CHECK(size == sizeof spec || st != STATUS_OK);
    window_spec_free(&loaded);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

static void all(void)
{
    test();
    for (uint32_t i = 0; i < 20; i++) {
        test_damaged_spec();
    }
}

int main(void)
{
    return run_seeds(all, 400);
}
