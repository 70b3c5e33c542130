/* As-of join: each left row with the latest right row of its key that is not after it, nor more than `tolerance` before it.
 *
 *   left   --> waits (reorder.h) --+--> in order of time; at equal times right rows first, then by arrival
 *   right  --> waits (reorder.h) --+         right: becomes the last row of its key      left: comes with that last row
 *
 * Rows wait until the watermark passes them, so what joins does not hang on the order in which they arrive. A row is late if its
 * time <= watermark. A right row that is a deletion (bit 0 of its mask) leaves its key without a last row. The last row of a key is
 * forgotten when the watermark reaches its time + tolerance: no left row can be so near any more.
 * Cost: of sorting what arrives into what waits, then O(1) a row and O(log keys) for a key's first row.
 */
#ifndef FYKE_JOIN_ASOF_H
#define FYKE_JOIN_ASOF_H

#include "arrivals.h"
#include "keyspace.h"
#include "reorder.h"
#include "timers.h"

struct join_asof {
    struct arena *arena;
    struct event_store *stores[2];
    struct keyspace keys; /* the last right row of a key: slot.last, slot.last_time */
    const uint32_t *key_columns[2];
    int64_t tolerance;
    bool outer;   /* a left row without a right one comes alone */
    bool deletes; /* the right plan's bit 0 says what is a deletion */
    struct reorder waiting[2];
    struct waiting *arrived[2];
    uint32_t arrived_capacity[2];
    struct timers timers; /* owner: slot; its deadline: at most that of the last row */
    event_time_t watermark;
    uint64_t n_lasts;
    uint64_t n_matched, n_alone, n_late, n_null_keys; /* since the start; alone: left rows without a right one, come or not */
    struct join_results results;
};

/* tolerance >= 0, INT64_MAX: any. The plans of both sides have one keyspace each, of the same physical types; they and the stores
 * outlive the join. */
MUST_CHECK enum status join_asof_init(struct join_asof *j, struct arena *arena, const struct plan *const plans[2],
                                      struct event_store *const stores[2], int64_t tolerance, bool outer, bool deletes);
void join_asof_free(struct join_asof *j);

/* Takes rows and watermarks; results are added to j->results. After a failure the join must not be used any more. */
MUST_CHECK enum status join_asof_step(struct join_asof *j, const struct arrivals *a);

/* Puts back rows as they were: those that wait, of a side, in the order of their arrival; and the last row of a key.
 * STATUS_BAD_SNAPSHOT if they do not fit. The watermark is set before. */
MUST_CHECK enum status join_asof_restore_waiting(struct join_asof *j, unsigned side, uint32_t segment, const uint32_t *rows, uint32_t n);
MUST_CHECK enum status join_asof_restore_last(struct join_asof *j, struct event_ref e);

/* Visits every reference to the rows of a side. */
void join_asof_each_event(struct join_asof *j, unsigned side, event_visitor visit, void *context);

/* The broken invariant in words; NULL if all hold. */
const char *join_asof_check(const struct join_asof *j);

#endif
