/* What happened to panes, in order, for aggregates that Python keeps: the kernels write it, Python replays it after the step.
 *
 * A pane is whatever the kernel keeps a state for, by a number that is its own while it is in use. The first operation on a number
 * that is not in use begins a pane without rows.
 */
#ifndef FYKE_AGG_LOG_H
#define FYKE_AGG_LOG_H

#include "arena.h"

enum agg_log_op {
    AGG_LOG_ADD = 0, /* the row (a: segment, b: row) comes in; its segment is open until the log has been replayed */
    AGG_LOG_MERGE,   /* the rows of pane a come in; a stays as it is */
    AGG_LOG_FIRE,    /* the results of the pane are those of result row a (agg_columns.n_rows before agg_emit) */
    AGG_LOG_RESET,   /* the pane is empty again */
    AGG_LOG_FREE,    /* the pane is gone, its number is free */
};

struct agg_log_entry {
    uint32_t op;
    uint32_t pane;
    uint32_t a;
    uint32_t b;
};

struct agg_log {
    struct arena *arena;
    struct agg_log_entry *entries;
    uint32_t n;
    uint32_t capacity;
};

MUST_CHECK static inline enum status agg_log_write(struct agg_log *log, enum agg_log_op op, uint32_t pane, uint32_t a, uint32_t b)
{
    if (UNLIKELY(log->n == log->capacity)) {
        void *entries = log->entries;
        const enum status st = arena_reserve(log->arena, &entries, &log->capacity, (uint64_t)log->n + 1, sizeof *log->entries);
        log->entries = entries;
        if (st != STATUS_OK) {
            return st;
        }
    }
    log->entries[log->n++] = (struct agg_log_entry){(uint32_t)op, pane, a, b};
    return STATUS_OK;
}

static inline void agg_log_free(struct agg_log *log)
{
    arena_free(log->arena, log->entries, (size_t)log->capacity * sizeof *log->entries);
    log->entries = NULL;
    log->n = log->capacity = 0;
}

#endif
