/* Results: a row for what a window holds now; what a row that came into a window brings about. */
#include "windows.h"

/* What is final is good for the next operator, so it is not late there, even if a late row caused it. */
enum status windows_emit(struct windows *w, uint32_t id, uint64_t origin, event_time_t time, bool final)
{
    struct window *p = window_at(w, id);
    if (w->n_pending > 0) {
        const enum status added = windows_flush(w);
        if (added != STATUS_OK) {
            return added;
        }
    }
    if (agg_rows(window_contents(p)) == 0) {
        return STATUS_OK;
    }
    void *results = w->results;
    enum status st = arena_reserve(w->arena, &results, &w->results_capacity, (uint64_t)w->n_results + 1, sizeof *w->results);
    w->results = results;
    if (st == STATUS_OK) {
        st = key_columns_append(&w->result_keys, &w->keys, p->slot);
    }
    if (st == STATUS_OK && w->logged) {
        st = agg_log_write(&w->log, AGG_LOG_FIRE, id, w->result_values.n_rows, 0);
    }
    if (st == STATUS_OK) {
        st = agg_emit(&w->aggs, window_contents(p), &w->result_values);
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (final && time <= w->watermark) {
        time = time_add(w->watermark, 1);
    }
    w->results[w->n_results++] = (struct window_result){.origin = origin, .time = time, .start = p->start, .end = p->end,
                                                        .revision = p->revision++, .final = final};
    w->counters.results++;
    return w->spec.purges ? windows_empty(w, id) : STATUS_OK;
}

/* The keys of the results that follow, and room for all else of them. */
static enum status prepare(struct windows *w, const struct window_due *due, uint32_t n)
{
    void *results = w->results;
    enum status st = arena_reserve(w->arena, &results, &w->results_capacity, (uint64_t)w->n_results + n, sizeof *w->results);
    w->results = results;
    if (st == STATUS_OK && w->keys.integer) {
        int64_t *numbers;
        st = key_columns_extend(&w->result_keys, n, &numbers);
        for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
            numbers[i] = (int64_t)(due[i].rank ^ KEY_SIGN);
        }
        return st;
    }
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        st = key_columns_append(&w->result_keys, &w->keys, due[i].slot);
    }
    return st;
}

enum status windows_tell(struct windows *w, const struct window_due *due, const void *const *states, uint32_t n, struct span span,
                         uint64_t origin, event_time_t time)
{
    enum status st = prepare(w, due, n);
    if (st == STATUS_OK) {
        st = agg_emit_many(&w->aggs, states, n, &w->result_values);
    }
    if (st != STATUS_OK) {
        return st;
    }
    const struct window_result result = {.origin = origin, .time = time, .start = span.start, .end = span.end, .final = true};
    for (uint32_t i = 0; i < n; i++) {
        w->results[w->n_results + i] = result;
    }
    w->n_results += n;
    w->counters.results += n;
    return STATUS_OK;
}

static enum status conclude_block(struct windows *w, const struct window_due *due, uint32_t n, uint64_t origin, event_time_t time)
{
    const void *states[AGG_BLOCK];
    for (uint32_t i = 0; i < n; i++) {
        const struct window *p = window_at(w, due[i].window);
        states[i] = window_contents(p);
        __builtin_prefetch(p, 1);
        __builtin_prefetch(states[i], 1);
    }
    const struct window *first = window_at(w, due[0].window);
    enum status st = STATUS_OK;
    for (uint32_t i = 0; st == STATUS_OK && i < n;) { /* of one window; of several only at the last of all times */
        uint32_t end = i + 1;
        while (end < n && due[end].start == due[i].start) {
            end++;
        }
        st = windows_tell(w, due + i, states + i, end - i, (struct span){due[i].start, first->end}, origin, time);
        i = end;
    }
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        st = windows_close(w, due[i].window);
    }
    return st;
}

enum status windows_conclude(struct windows *w, const struct window_due *due, uint32_t n, uint64_t origin, event_time_t time)
{
    enum status st = windows_flush(w);
    for (uint32_t first = 0; st == STATUS_OK && first < n; first += AGG_BLOCK) {
        st = conclude_block(w, due + first, n - first < AGG_BLOCK ? n - first : AGG_BLOCK, origin, time);
    }
    return st;
}

/* The first multiple of the interval after t. */
static event_time_t next_firing(int64_t interval, event_time_t t)
{
    return time_clamp(((__int128)floor_div(t, interval) + 1) * interval);
}

enum status windows_trigger(struct windows *w, uint32_t id, event_time_t t, uint64_t origin)
{
    struct window *p = window_at(w, id);
    const bool timed = window_spec_timed(&w->spec);
    const event_time_t last = timed ? window_last(p) : TIME_MAX;
    switch (w->spec.trigger) {
    case TRIGGER_END:
        return timed && last <= w->watermark ? windows_emit(w, id, origin, last, w->spec.purges) : STATUS_OK;
    case TRIGGER_CONTINUOUS:
        if (timed && last <= w->watermark) {
            return windows_emit(w, id, origin, last, w->spec.purges);
        }
        if (p->fire == NEVER) {
            const event_time_t next = next_firing(w->spec.trigger_n, t);
            p->fire = next < last ? next : last;
            p->armed = 1;
        }
        return windows_schedule(w, id);
    case TRIGGER_COUNT:
        if (++p->count >= w->spec.trigger_n) {
            p->count = 0;
            return windows_emit(w, id, origin, t, w->spec.purges);
        }
        return STATUS_OK;
    case TRIGGER_NEVER:
        break;
    }
    return STATUS_OK;
}
