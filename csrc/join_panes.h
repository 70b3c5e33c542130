/* What windows hold for a join: of each pane (the window of a key) the rows of both sides, in order of arrival.
 *
 *   windows.c --log--> [ ADD a row | MERGE panes | FIRE | RESET | FREE ] --> panes --> pairs, or groups, of a result
 *
 * Which rows belong together, and when they come, is the window kernel's affair: it runs over the union of both sides and says in its
 * log (agg_log.h) what happens to its panes. Here the same is done to the panes' rows. A result that is fired gives all pairs of its
 * pane, one row of each side, and on an outer side the rows of a pane that has none of the other; or, for a cogroup, both groups.
 */
#ifndef FYKE_JOIN_PANES_H
#define FYKE_JOIN_PANES_H

#include "agg_log.h"
#include "arrivals.h"

struct pane {
    struct event_ref *rows[2];
    uint32_t n[2], capacity[2];
};

/* A row of results: rows of both sides (segment NO_SEGMENT: none), and the number of the window's result. */
struct pane_pair {
    struct event_ref sides[2];
    uint32_t result;
};

/* The groups of a result: how many rows of each side, in join_panes.members. */
struct pane_groups {
    uint32_t n[2];
    uint32_t result;
};

struct join_panes {
    struct arena *arena;
    struct event_store *stores[2];
    bool outer[2];
    bool cogroup;
    struct pane *panes; /* by the number that the window kernel gives them */
    uint32_t panes_capacity;
    uint64_t n_held[2];
    uint64_t n_pairs, n_alone; /* since the start */
    /* out */
    struct pane_pair *pairs;
    uint32_t n_pairs_out, pairs_capacity;
    struct pane_groups *groups;
    uint32_t n_groups, groups_capacity;
    struct event_ref *members[2];
    uint32_t n_members[2], members_capacity[2];
};

void join_panes_init(struct join_panes *j, struct arena *arena, struct event_store *const stores[2], bool outer_left, bool outer_right,
                     bool cogroup);
void join_panes_free(struct join_panes *j);

/* Does what the log says; its rows are the places of the arrivals. Results are added. After a failure the panes must not be used any more. */
MUST_CHECK enum status join_panes_replay(struct join_panes *j, const struct agg_log_entry *log, uint32_t n, const struct arrivals *a);
/* Forgets what has been found: it has been taken. */
void join_panes_clear(struct join_panes *j);

/* Puts a row back into a pane, those of a side in order of arrival; STATUS_BAD_SNAPSHOT if it is not. */
MUST_CHECK enum status join_panes_restore(struct join_panes *j, uint32_t pane, unsigned side, struct event_ref e);

/* Visits every reference to the rows of a side. */
void join_panes_each_event(struct join_panes *j, unsigned side, event_visitor visit, void *context);

/* The broken invariant in words; NULL if all hold. */
const char *join_panes_check(const struct join_panes *j);

#endif
