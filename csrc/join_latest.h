/* The latest row of each key by arrival, on one side or both, and what a row changes.
 *
 *   LATEST_ENRICH   the right side is kept: a left row comes at once, with the latest right row of its key
 *   LATEST_TABLE    both sides are tables: a joined row of a key is there or not, as the join says; a row of either side makes it
 *                   come (INSERT), go (DELETE), or takes it back (BEFORE) and gives the new one (AFTER)
 *
 * Bits 0 and 1 of a row's mask: the row is a deletion; the row is to be ignored (where its side's plan has such conditions).
 * Nothing waits and nothing is late: what counts is the order of arrival. O(1) a row.
 */
#ifndef FYKE_JOIN_LATEST_H
#define FYKE_JOIN_LATEST_H

#include "arrivals.h"
#include "keyspace.h"

enum latest_mode { LATEST_ENRICH = 0, LATEST_TABLE = 1 };

enum latest_change { CHANGE_INSERT = 0, CHANGE_BEFORE = 1, CHANGE_AFTER = 2, CHANGE_DELETE = 3 };

/* What a side's mask bits say: 0 nothing, LATEST_DELETES and LATEST_IGNORES or-ed. */
enum latest_bits { LATEST_DELETES = 1, LATEST_IGNORES = 2 };

/* The rows of a key; segment NO_SEGMENT: none. */
struct latest_key {
    struct event_ref sides[2];
};

struct latest_options {
    uint32_t mode;
    bool outer[2];    /* a row of the side needs none of the other */
    bool befores;     /* rows that are replaced are said once more */
    uint32_t bits[2]; /* of each side */
};

struct join_latest {
    struct arena *arena;
    struct event_store *stores[2];
    struct keyspace keys;
    const uint32_t *key_columns[2];
    struct latest_options options;
    struct latest_key *by_key; /* by key slot */
    uint32_t by_key_capacity;
    uint64_t n_held[2];
    uint64_t n_matched, n_alone, n_null_keys; /* since the start; alone: left rows of LATEST_ENRICH without a right one */
    uint64_t n_deletes, n_useless;            /* useless: deletions of what was not there */
    struct join_results results;
    uint8_t *changes; /* of each of the results */
    uint32_t changes_capacity;
};

/* The plans of both sides have one keyspace each, of the same physical types; they and the stores outlive the join. */
MUST_CHECK enum status join_latest_init(struct join_latest *j, struct arena *arena, const struct plan *const plans[2],
                                        struct event_store *const stores[2], const struct latest_options *options);
void join_latest_free(struct join_latest *j);

/* Takes rows; results are added to j->results. After a failure the join must not be used any more. */
MUST_CHECK enum status join_latest_step(struct join_latest *j, const struct arrivals *a);

/* The slot of a key that is in these columns of a row: NO_SLOT if nothing is held, KEY_NULL if a part is null. */
MUST_CHECK enum status join_latest_find(struct join_latest *j, const uint32_t *columns, const struct event_store *s, struct event_ref e,
                                        uint32_t *slot);

/* Puts back the row of a key; STATUS_BAD_SNAPSHOT if there is one, or it has no key. */
MUST_CHECK enum status join_latest_restore(struct join_latest *j, unsigned side, struct event_ref e);

/* Visits every reference to the rows of a side. */
void join_latest_each_event(struct join_latest *j, unsigned side, event_visitor visit, void *context);

/* The broken invariant in words; NULL if all hold. */
const char *join_latest_check(const struct join_latest *j);

#endif
