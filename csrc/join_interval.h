/* Interval join: a left row l and a right row r of one key join if lower <= r.time - l.time <= upper.
 *
 *   key slot -> two buffers, left and right:  [ gone | rows by (time, arrival) ...... | free ]
 *                                                    head                       tail
 *
 * A pair comes with the second of its rows, at the later of the two times; the pairs of one row come by (time, arrival) of the
 * partners. A row is late if its time <= watermark. A row is kept until the watermark reaches the last time a partner can have
 * (its deadline: left time + upper, right time - lower), so two rows that are both not late always find each other. On an outer
 * side a row that leaves without having found a partner comes alone, at its deadline, not before its own time.
 *
 * Deadlines rise with times, so each buffer's first row leaves first; one heap holds the first rows of all buffers, and a quiet
 * key leaves nothing behind. Taking a row costs O(log n) in the rows of its key and side, how far back it is inserted, and its pairs.
 */
#ifndef FYKE_JOIN_INTERVAL_H
#define FYKE_JOIN_INTERVAL_H

#include "arrivals.h"
#include "keyspace.h"
#include "timers.h"

struct buffered {
    event_time_t time;
    struct event_ref event;
    bool matched; /* has found a partner */
};

struct row_buffer {
    struct buffered *items; /* NULL: empty */
    uint32_t head, tail;
    uint32_t capacity;
};

struct interval_key {
    struct row_buffer sides[2];
};

struct join_interval {
    struct arena *arena;
    struct event_store *stores[2];
    struct keyspace keys;
    const uint32_t *key_columns[2];
    event_time_t lowest[2], highest[2]; /* of a partner's time, beside the time of a row of the side */
    bool outer[2];
    struct interval_key *by_key; /* by key slot */
    uint32_t by_key_capacity;
    struct timers timers; /* owner: slot * 2 + side; its deadline: that of the buffer's first row */
    event_time_t watermark;
    uint64_t n_buffered;
    uint64_t n_pairs, n_alone, n_late, n_null_keys; /* since the start */
    struct join_results results;
};

/* lower, upper: inclusive, above INT64_MIN; lower > upper joins nothing. The plans of both sides have one keyspace each, of the same
 * physical types; they and the stores outlive the join. */
MUST_CHECK enum status join_interval_init(struct join_interval *j, struct arena *arena, const struct plan *const plans[2],
                                          struct event_store *const stores[2], int64_t lower, int64_t upper, bool outer_left,
                                          bool outer_right);
void join_interval_free(struct join_interval *j);

/* Takes rows and watermarks; results are added to j->results. After a failure the join must not be used any more. */
MUST_CHECK enum status join_interval_step(struct join_interval *j, const struct arrivals *a);

/* Puts back a row as it was, those of a side in the order of their arrival; STATUS_BAD_SNAPSHOT if it does not fit. The watermark
 * is set before. */
MUST_CHECK enum status join_interval_restore(struct join_interval *j, unsigned side, struct event_ref e, bool matched);

/* Visits every reference to the rows of a side. */
void join_interval_each_event(struct join_interval *j, unsigned side, event_visitor visit, void *context);

/* The broken invariant in words; NULL if all hold. */
const char *join_interval_check(const struct join_interval *j);

#endif
