/* Sliding windows: for each row the rows of its key from `before` earlier up to its own time, both ends included (SQL's RANGE
 * BETWEEN before PRECEDING AND CURRENT ROW): one result a row, rows of equal time are in each other's.
 *
 *   rows -> late? -> reorder buffer -> by (event time, arrival), when the watermark has passed them:
 *
 *   key slot -> rows  [ gone | in front ......... | behind ......... | free ]
 *                        head                                     tail
 *               front    a pane a row: that row and     back: one pane
 *                        all after it that are in front
 *
 * What a key's window holds is a queue, so every aggregate that can be merged costs O(1) a row, amortised: rows come into the back pane; when the
 * front runs out, the rows behind are put in front, from the last to the first. The window is the first pane of the front merged with the back.
 * Where all aggregates can be taken back (counts, sums, means, variances: they are exact) rows just leave the back pane.
 *
 * Rows leave when the next row of their key comes, and all of a key's when the watermark says that none of them can be in a window any more.
 */
#ifndef FYKE_SLIDING_H
#define FYKE_SLIDING_H

#include "agg_log.h"
#include "aggregate.h"
#include "keyspace.h"
#include "reorder.h"
#include "timers.h"

/* The state of the aggregates follows. */
struct sliding_pane {
    uint32_t id; /* in the log */
    uint32_t unused;
};

struct sliding_key {
    struct event_ref *rows; /* NULL: the slot is not in use */
    uint32_t head, tail;
    uint32_t capacity;
    uint32_t n_front;     /* rows in front; the pane of rows[head] is the one `n_front` before the end */
    uint32_t front_panes; /* room for so many */
    void *front;
    struct sliding_pane *back;
};

/* A result: the row, its time, and the origin that has set it free; its aggregates are in the row of that number of `columns`. */
struct slid {
    struct event_ref event;
    event_time_t time;
    uint64_t origin;
};

struct sliding {
    struct arena *arena;
    struct event_store *store;
    const struct agg_plan *aggs;
    struct agg_log *log; /* NULL: Python keeps no aggregates */
    int64_t before;
    bool invertible; /* one pane a key */
    struct keyspace keys;
    struct sliding_key *by_key; /* by key slot */
    uint32_t by_key_capacity;
    struct timers timers; /* owner: key slot; at its deadline the key may be gone */
    struct reorder reorder;
    struct waiting *arrivals; /* scratch: rows on their way to the reorder buffer */
    uint32_t arrivals_capacity;
    uint32_t *slots; /* scratch: of rows of equal time */
    uint32_t slots_capacity;
    uint32_t *free_ids; /* of panes */
    uint32_t n_free_ids, free_ids_capacity;
    uint32_t n_ids;
    event_time_t watermark;
    uint64_t n_rows, n_late, n_null_keys; /* since the start */
    uint64_t n_held;                      /* rows in windows */
    /* what a step gives; the owner takes it and sets the counts to 0 */
    struct slid *results;
    uint32_t n_results, results_capacity;
    struct agg_columns columns;
    uint32_t *late; /* places in the segment */
    uint32_t n_late_rows, late_capacity;
    uint32_t *null_keys;
    uint32_t n_null_rows, null_capacity;
};

/* before >= 0, in ns. The plans, the store and the log outlive it. */
MUST_CHECK enum status sliding_init(struct sliding *s, struct arena *arena, struct event_store *store, const struct plan *plan,
                                    const struct agg_plan *aggs, struct agg_log *log, int64_t before);
void sliding_free(struct sliding *s);

/* Takes the rows of a segment with their origins, and the watermarks between: one of origin o stands after all rows of origin o.
 * After a failure it must not be used any more. */
MUST_CHECK enum status sliding_step(struct sliding *s, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                                    const event_time_t *mark_times, uint32_t n_marks);

/* Where a row is: in a window behind or in front, or still waiting for the watermark. */
enum slid_place { SLID_BEHIND = 0, SLID_IN_FRONT = 1, SLID_WAITING = 2 };

/* Puts back a row, by (time, arrival); the watermark is set before. STATUS_BAD_SNAPSHOT if it does not fit; sliding_check tells the
 * rest after sliding_restored, which is called when all rows are in. */
MUST_CHECK enum status sliding_restore(struct sliding *s, struct event_ref e, enum slid_place place);
MUST_CHECK enum status sliding_restored(struct sliding *s);

/* Visits every reference to a row. */
void sliding_each_event(struct sliding *s, event_visitor visit, void *context);

/* The broken invariant in words; NULL if all hold. */
const char *sliding_check(const struct sliding *s);

#endif
