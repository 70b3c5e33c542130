#include "join_panes.h"

#include <string.h>

static const struct event_ref NONE = {NO_SEGMENT, 0};

void join_panes_init(struct join_panes *j, struct arena *arena, struct event_store *const stores[2], bool outer_left, bool outer_right,
                     bool cogroup)
{
    memset(j, 0, sizeof *j);
    j->arena = arena;
    j->stores[LEFT] = stores[LEFT];
    j->stores[RIGHT] = stores[RIGHT];
    j->outer[LEFT] = outer_left;
    j->outer[RIGHT] = outer_right;
    j->cogroup = cogroup;
}

void join_panes_free(struct join_panes *j)
{
    if (j->arena == NULL) {
        return;
    }
    for (unsigned side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < j->panes_capacity; i++) {
            arena_free(j->arena, j->panes[i].rows[side], j->panes[i].capacity[side] * sizeof(struct event_ref));
        }
        arena_free(j->arena, j->members[side], j->members_capacity[side] * sizeof(struct event_ref));
    }
    arena_free(j->arena, j->panes, j->panes_capacity * sizeof *j->panes);
    arena_free(j->arena, j->pairs, j->pairs_capacity * sizeof *j->pairs);
    arena_free(j->arena, j->groups, j->groups_capacity * sizeof *j->groups);
    memset(j, 0, sizeof *j);
}

void join_panes_clear(struct join_panes *j)
{
    j->n_pairs_out = 0;
    j->n_groups = 0;
    j->n_members[LEFT] = 0;
    j->n_members[RIGHT] = 0;
}

/* --------------------------------------------------------------- the rows of a pane */

static enum status reserve_pane(struct join_panes *j, uint32_t id)
{
    const uint32_t before = j->panes_capacity;
    if (LIKELY(id < before)) {
        return STATUS_OK;
    }
    void *panes = j->panes;
    const enum status st = arena_reserve(j->arena, &panes, &j->panes_capacity, (uint64_t)id + 1, sizeof *j->panes);
    j->panes = panes;
    if (st == STATUS_OK) {
        memset(j->panes + before, 0, (j->panes_capacity - before) * sizeof *j->panes);
    }
    return st;
}

static enum status reserve_rows(struct join_panes *j, struct pane *p, unsigned side, uint64_t n)
{
    void *rows = p->rows[side];
    const enum status st = arena_reserve(j->arena, &rows, &p->capacity[side], n, sizeof(struct event_ref));
    p->rows[side] = rows;
    return st;
}

static enum status add(struct join_panes *j, uint32_t id, unsigned side, struct event_ref e)
{
    struct pane *p = &j->panes[id];
    const enum status st = reserve_rows(j, p, side, (uint64_t)p->n[side] + 1);
    if (st == STATUS_OK) {
        p->rows[side][p->n[side]++] = e;
        event_retain(j->stores[side], e.segment);
        j->n_held[side]++;
    }
    return st;
}

static void forget(struct join_panes *j, uint32_t id)
{
    struct pane *p = &j->panes[id];
    for (unsigned side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < p->n[side]; i++) {
            event_release(j->stores[side], p->rows[side][i].segment);
        }
        j->n_held[side] -= p->n[side];
        arena_free(j->arena, p->rows[side], p->capacity[side] * sizeof(struct event_ref));
    }
    memset(p, 0, sizeof *p);
}

/* The rows of `from` come in among those of `into`, by arrival; they stay in `from`, too. */
static enum status merge(struct join_panes *j, uint32_t into, uint32_t from)
{
    for (unsigned side = 0; side < 2; side++) {
        struct pane *p = &j->panes[into];
        const struct pane *q = &j->panes[from];
        const struct event_store *store = j->stores[side];
        uint32_t n = p->n[side];
        uint32_t m = q->n[side];
        const enum status st = reserve_rows(j, p, side, (uint64_t)n + m);
        if (st != STATUS_OK) {
            return st;
        }
        for (uint32_t i = 0; i < m; i++) {
            event_retain(j->stores[side], q->rows[side][i].segment);
        }
        j->n_held[side] += m;
        p->n[side] = n + m;
        while (m > 0) { /* from the end, so that none is overwritten */
            const struct event_ref next = q->rows[side][m - 1];
            if (n > 0 && event_position(store, p->rows[side][n - 1]) > event_position(store, next)) {
                p->rows[side][n + m - 1] = p->rows[side][n - 1];
                n--;
            } else {
                p->rows[side][n + m - 1] = next;
                m--;
            }
        }
    }
    return STATUS_OK;
}

/* --------------------------------------------------------------- results */

static enum status reserve_pairs(struct join_panes *j, uint64_t more)
{
    void *pairs = j->pairs;
    const enum status st = arena_reserve(j->arena, &pairs, &j->pairs_capacity, j->n_pairs_out + more, sizeof *j->pairs);
    j->pairs = pairs;
    return st;
}

static enum status fire_pairs(struct join_panes *j, const struct pane *p, uint32_t result)
{
    const uint32_t n_left = p->n[LEFT];
    const uint32_t n_right = p->n[RIGHT];
    const uint64_t n = (uint64_t)n_left * n_right;
    if (n > 0) {
        const enum status st = reserve_pairs(j, n);
        if (st != STATUS_OK) {
            return st;
        }
        for (uint32_t i = 0; i < n_left; i++) {
            for (uint32_t k = 0; k < n_right; k++) {
                j->pairs[j->n_pairs_out++] = (struct pane_pair){{p->rows[LEFT][i], p->rows[RIGHT][k]}, result};
            }
        }
        j->n_pairs += n;
        return STATUS_OK;
    }
    const unsigned side = n_left > 0 ? LEFT : RIGHT; /* one side has no rows */
    if (!j->outer[side]) {
        return STATUS_OK;
    }
    const enum status st = reserve_pairs(j, p->n[side]);
    for (uint32_t i = 0; st == STATUS_OK && i < p->n[side]; i++) {
        struct pane_pair *out = &j->pairs[j->n_pairs_out++];
        out->sides[side] = p->rows[side][i];
        out->sides[!side] = NONE;
        out->result = result;
        j->n_alone++;
    }
    return st;
}

static enum status fire_groups(struct join_panes *j, const struct pane *p, uint32_t result)
{
    void *groups = j->groups;
    enum status st = arena_reserve(j->arena, &groups, &j->groups_capacity, (uint64_t)j->n_groups + 1, sizeof *j->groups);
    j->groups = groups;
    for (unsigned side = 0; st == STATUS_OK && side < 2; side++) {
        void *members = j->members[side];
        st = arena_reserve(j->arena, &members, &j->members_capacity[side], (uint64_t)j->n_members[side] + p->n[side], sizeof(struct event_ref));
        j->members[side] = members;
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (unsigned side = 0; side < 2; side++) {
        if (p->n[side] > 0) {
            memcpy(j->members[side] + j->n_members[side], p->rows[side], p->n[side] * sizeof(struct event_ref));
            j->n_members[side] += p->n[side];
        }
    }
    j->groups[j->n_groups++] = (struct pane_groups){{p->n[LEFT], p->n[RIGHT]}, result};
    return STATUS_OK;
}

enum status join_panes_replay(struct join_panes *j, const struct agg_log_entry *log, uint32_t n, const struct arrivals *a)
{
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        const struct agg_log_entry *entry = &log[i];
        st = reserve_pane(j, entry->op == AGG_LOG_MERGE && entry->a > entry->pane ? entry->a : entry->pane);
        if (st != STATUS_OK) {
            break;
        }
        switch ((enum agg_log_op)entry->op) {
        case AGG_LOG_ADD:
            st = add(j, entry->pane, a->inputs[entry->b], arrivals_event(a, entry->b));
            break;
        case AGG_LOG_MERGE:
            st = merge(j, entry->pane, entry->a);
            break;
        case AGG_LOG_FIRE:
            st = j->cogroup ? fire_groups(j, &j->panes[entry->pane], entry->a) : fire_pairs(j, &j->panes[entry->pane], entry->a);
            break;
        case AGG_LOG_RESET:
        case AGG_LOG_FREE:
            forget(j, entry->pane);
            break;
        }
    }
    return st;
}

/* --------------------------------------------------------------- restore, compaction, invariants */

enum status join_panes_restore(struct join_panes *j, uint32_t pane, unsigned side, struct event_ref e)
{
    const enum status st = reserve_pane(j, pane);
    if (st != STATUS_OK) {
        return st;
    }
    const struct pane *p = &j->panes[pane];
    const uint32_t n = p->n[side];
    if (n > 0 && event_position(j->stores[side], p->rows[side][n - 1]) >= event_position(j->stores[side], e)) {
        return STATUS_BAD_SNAPSHOT;
    }
    return add(j, pane, side, e);
}

void join_panes_each_event(struct join_panes *j, unsigned side, event_visitor visit, void *context)
{
    for (uint32_t id = 0; id < j->panes_capacity; id++) {
        for (uint32_t i = 0; i < j->panes[id].n[side]; i++) {
            visit(context, &j->panes[id].rows[side][i]);
        }
    }
}

const char *join_panes_check(const struct join_panes *j)
{
    uint64_t n[2] = {0, 0};
    for (uint32_t id = 0; id < j->panes_capacity; id++) {
        const struct pane *p = &j->panes[id];
        for (unsigned side = 0; side < 2; side++) {
            n[side] += p->n[side];
            for (uint32_t i = 1; i < p->n[side]; i++) {
                if (event_position(j->stores[side], p->rows[side][i - 1]) >= event_position(j->stores[side], p->rows[side][i])) {
                    return "the rows of a window are not in order of arrival";
                }
            }
        }
    }
    for (unsigned side = 0; side < 2; side++) {
        if (n[side] != j->n_held[side] || n[side] != j->stores[side]->live) {
            return "a row of a window is held by nobody, or by one too many";
        }
    }
    return NULL;
}
