/* What an engine holds, as records for a snapshot: collected one keyed state after the other, then arranged as columns.
 *
 *   collected, in any order                        arranged: keyed states by birth, nodes and events numbered over all of them
 *   keyed:  birth | nodes | runs | held, ...  -->  nodes (event, parent, stage, order), runs, held, keyed, lags, waiting
 *
 * Nodes of a keyed state are numbered within it, a node after the one before it; the release order of its events is written as 1, 2, ...
 * Records have memory of their own and refer to events as (segment, row): while the segments stay where they are, records can be
 * arranged on another thread than the engine's. Cost: O(records), but for a key of many events O(n) for each digit of their order.
 */
#ifndef FYKE_RECORDS_H
#define FYKE_RECORDS_H

#include "event_store.h"
#include "plan.h"

struct record_node {
    struct event_ref event;
    uint32_t parent; /* its place among the nodes of the keyed state + 1; 0: none */
    uint32_t stage;
    uint64_t order;
};

struct record_run {
    event_time_t start_time;
    uint64_t start_order;
    event_time_t previous_time;
    uint32_t node; /* place + 1 */
    uint32_t state; /* within the pattern */
};

struct record_match {
    event_time_t start_time;
    uint64_t start_order;
    uint32_t node;
};

struct record_keyed {
    uint64_t birth;
    event_time_t last_time;
    uint64_t overdue_after;
    uint32_t pattern;
    uint32_t first_node, n_nodes;
    uint32_t first_run, n_runs;
    uint32_t first_match, n_matches;
    uint32_t first_register; /* of all runs, one after the other; those that hold a node have its place + 1 */
};

struct record_lag {
    event_time_t time;
    uint64_t position; /* of the event: the order in a snapshot */
    struct event_ref event;
    uint32_t keyspace;
};

struct records {
    struct arena *arena;
    const struct plan *plan;
    struct record_keyed *keyed;
    struct record_node *nodes;
    struct record_run *runs;
    struct record_match *matches;
    uint64_t *registers;
    struct record_lag *lags;
    struct event_ref *waiting;
    uint32_t n_keyed, keyed_capacity;
    uint32_t n_nodes, nodes_capacity;
    uint32_t n_runs, runs_capacity;
    uint32_t n_matches, matches_capacity;
    uint32_t n_registers, registers_capacity;
    uint32_t n_lags, lags_capacity;
    uint32_t n_waiting, waiting_capacity;
    /* while a keyed state is collected: where the engine's nodes stand in the records, + 1; 0 between two keyed states */
    uint32_t *places;
    uint32_t places_capacity;
    struct ranked *ranks; /* scratch, twice what is ranked */
    uint32_t ranks_capacity;
    /* arranged: the events by number */
    struct event_ref *events;
    uint32_t n_events, events_capacity;
};

/* Where the columns of a snapshot go; each has room for all of its records. */
struct record_columns {
    int64_t *node_event, *node_parent;
    uint32_t *node_stage;
    uint64_t *node_order;
    int64_t *run_start_time;
    uint64_t *run_start_order;
    int64_t *run_previous_time, *run_node;
    uint32_t *run_state;
    int64_t *match_start_time;
    uint64_t *match_start_order;
    int64_t *match_node;
    uint32_t *keyed_pattern, *keyed_runs, *keyed_matches;
    int64_t *keyed_last_time;
    uint64_t *keyed_overdue_after, *keyed_birth;
    uint32_t *keyed_nodes;
    uint32_t *lag_keyspace;
    int64_t *lag_event, *lag_time;
    int64_t *waiting;
    uint64_t *registers;
};

void records_init(struct records *r, struct arena *arena, const struct plan *plan);
void records_free(struct records *r);

/* Room for so many records, so that collecting them moves nothing. */
struct record_counts {
    uint64_t keyed, nodes, runs, matches, registers, lags;
};
MUST_CHECK enum status records_reserve(struct records *r, struct record_counts n);

/* The last keyed state is complete: its events' orders become 1, 2, ... */
MUST_CHECK enum status records_close_keyed(struct records *r);

/* Fills the columns and r->events. `segment_rows`: rows of each segment that records refer to. */
MUST_CHECK enum status records_arrange(struct records *r, const uint32_t *segment_rows, uint32_t n_segments, const struct record_columns *c);

/* Room for one more, cleared by nobody; NULL: no memory. */
static inline void *records_append(struct records *r, void **items, uint32_t *n, uint32_t *capacity, size_t size)
{
    if (UNLIKELY(*n == *capacity) && arena_reserve(r->arena, items, capacity, (uint64_t)*n + 1, size) != STATUS_OK) {
        return NULL;
    }
    return (char *)*items + size * (*n)++;
}

#define RECORDS_APPEND(type, name)                                                                 \
    static inline struct record_##type *records_append_##type(struct records *r)                   \
    {                                                                                              \
        void *items = r->name;                                                                     \
        void *at = records_append(r, &items, &r->n_##name, &r->name##_capacity, sizeof *r->name);  \
        r->name = items;                                                                           \
        return at;                                                                                 \
    }
RECORDS_APPEND(keyed, keyed)
RECORDS_APPEND(node, nodes)
RECORDS_APPEND(run, runs)
RECORDS_APPEND(match, matches)
RECORDS_APPEND(lag, lags)
#undef RECORDS_APPEND

static inline uint64_t *records_append_register(struct records *r)
{
    void *items = r->registers;
    void *at = records_append(r, &items, &r->n_registers, &r->registers_capacity, sizeof *r->registers);
    r->registers = items;
    return at;
}

#endif
