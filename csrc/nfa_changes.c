/* Checkpoints of what has changed, and checkpoints while rows go on.
 *
 * Whatever is about to change is touched first (nfa_touch). Where changes are tracked, it is listed: a delta holds what is in the list.
 * While a freeze is being collected, what it does not have yet is copied first: so records show the moment of the freeze, whatever
 * happens before all of them are collected. What nothing touches is collected a few at a time (nfa_collect_some).
 */
#include "nfa.h"

#include <string.h>

/* The sets of changes: keyed states, records of strict sequences, compact sets, then the latest events of each keyspace's keys. */
static uint32_t n_sets(const struct nfa *n)
{
    return CHANGED_LAGS + n->plan->n_keyspaces;
}

static bool is_lag(uint32_t set)
{
    return set >= CHANGED_LAGS;
}

static uint32_t n_things(const struct nfa *n, uint32_t set)
{
    switch (set) {
    case CHANGED_KEYED:
        return n->n_keyed;
    case CHANGED_STRICT:
        return n->strict.n_records;
    case CHANGED_COMPACT:
        return n->n_compact_keys;
    default:
        return n->keyspaces[set - CHANGED_LAGS].n_slots;
    }
}

/* The birth of a keyed state, strict record or compact set; NO_POSITION: none is there. */
static uint64_t birth_of(const struct nfa *n, uint32_t set, uint32_t id)
{
    if (set == CHANGED_KEYED) {
        return keyed_holds(&n->keyed[id]) ? n->keyed[id].birth : NO_POSITION;
    }
    if (set == CHANGED_COMPACT) {
        return n->compact_keys[id].lists != NULL ? n->compact_keys[id].birth : NO_POSITION;
    }
    return strict_at(&n->strict, id)->bits != 0 ? strict_at(&n->strict, id)->birth : NO_POSITION;
}

/* ------------------------------------------------------------------ life */

static void *alloc_zeroed(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

static enum status begin(struct nfa *n)
{
    struct changes *c = alloc_zeroed(n->arena, sizeof *c);
    if (c == NULL) {
        return STATUS_NO_MEMORY;
    }
    c->sets = alloc_zeroed(n->arena, n_sets(n) * sizeof *c->sets);
    c->positions = alloc_zeroed(n->arena, n->plan->n_keyspaces * sizeof *c->positions);
    c->positions_capacity = alloc_zeroed(n->arena, n->plan->n_keyspaces * sizeof *c->positions_capacity);
    n->changes = c;
    if (c->sets == NULL || c->positions == NULL || c->positions_capacity == NULL) {
        nfa_changes_free(n);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n_sets(n); i++) {
        change_set_init(&c->sets[i], n->arena);
    }
    return STATUS_OK;
}

void nfa_changes_free(struct nfa *n)
{
    struct changes *c = n->changes;
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < n_sets(n) && c->sets != NULL; i++) {
        change_set_free(&c->sets[i]);
    }
    for (uint32_t k = 0; k < n->plan->n_keyspaces && c->positions != NULL && c->positions_capacity != NULL; k++) {
        arena_free(n->arena, c->positions[k], c->positions_capacity[k] * sizeof **c->positions);
    }
    arena_free(n->arena, c->sets, n_sets(n) * sizeof *c->sets);
    arena_free(n->arena, c->positions, n->plan->n_keyspaces * sizeof *c->positions);
    arena_free(n->arena, c->positions_capacity, n->plan->n_keyspaces * sizeof *c->positions_capacity);
    arena_free(n->arena, c->gone, c->gone_capacity * sizeof *c->gone);
    arena_free(n->arena, c->gone_lags, c->gone_lags_capacity * sizeof *c->gone_lags);
    arena_free(n->arena, c, sizeof *c);
    n->changes = NULL;
}

/* The position, in the last checkpoint, of the latest event of the key in this slot; made NO_POSITION for new slots. */
static uint64_t *saved_position(struct nfa *n, uint32_t keyspace, uint32_t slot)
{
    struct changes *c = n->changes;
    const uint32_t before = c->positions_capacity[keyspace];
    if (slot >= before) {
        void *positions = c->positions[keyspace];
        const enum status st = arena_reserve(n->arena, &positions, &c->positions_capacity[keyspace], (uint64_t)slot + 1, sizeof **c->positions);
        c->positions[keyspace] = positions;
        if (st != STATUS_OK) {
            return NULL;
        }
        memset(c->positions[keyspace] + before, 0xff, (c->positions_capacity[keyspace] - before) * sizeof **c->positions);
    }
    return &c->positions[keyspace][slot];
}

/* ------------------------------------------------------------------ a freeze */

/* What is in one of the sets but those of lags. */
static enum status collect(const struct nfa *n, struct records *r, uint32_t set, uint32_t id)
{
    return set == CHANGED_KEYED ? nfa_collect_keyed(n, r, id) : set == CHANGED_STRICT ? nfa_collect_strict(n, r, id) : nfa_collect_compact(n, r, id);
}

/* Copies one thing as it is at the freeze; it has not been touched since. */
static enum status copy(struct nfa *n, uint32_t set, uint32_t id)
{
    struct changes *c = n->changes;
    c->sets[set].marks[id] |= MARK_FROZEN;
    if (!is_lag(set)) {
        if (birth_of(n, set, id) >= c->frozen_births) { /* nothing there, or born later */
            return STATUS_OK;
        }
        return collect(n, c->frozen, set, id);
    }
    const uint32_t keyspace = set - CHANGED_LAGS;
    const struct event_ref last = n->keyspaces[keyspace].slots[id].last;
    if (last.segment == NO_SEGMENT) {
        return STATUS_OK;
    }
    if (c->begins) {
        uint64_t *position = saved_position(n, keyspace, id);
        if (position == NULL) {
            return STATUS_NO_MEMORY;
        }
        *position = event_position(n->events, last);
    }
    return nfa_collect_lag(n, c->frozen, keyspace, id);
}

enum status nfa_freeze(struct nfa *n, struct records *r, bool track)
{
    for (uint32_t i = 0; i < n->n_compact_keys; i++) {
        if (!nfa_compact_fits_records(n, i)) {
            return STATUS_TOO_MANY_PARTIALS;
        }
    }
    enum status st = n->changes == NULL ? begin(n) : STATUS_OK;
    st = st == STATUS_OK ? nfa_reserve_records(n, r) : st; /* nothing is moved later, when it would take long */
    for (uint32_t i = 0; i < n_sets(n) && st == STATUS_OK; i++) {
        if (track) {
            change_set_clear(&n->changes->sets[i]);
        }
        const bool needed = !is_lag(i) || n->plan->keyspaces[i - CHANGED_LAGS].needs_lag;
        st = change_set_freeze(&n->changes->sets[i], needed ? n_things(n, i) : 0, track);
    }
    if (st != STATUS_OK) {
        return st;
    }
    struct changes *c = n->changes;
    c->frozen = r;
    c->frozen_births = n->births;
    c->begins = track;
    if (track) {
        c->tracking = true;
        c->births = n->births;
        c->n_gone = 0;
        c->n_gone_lags = 0;
        for (uint32_t k = 0; k < n->plan->n_keyspaces; k++) {
            if (c->positions[k] != NULL) {
                memset(c->positions[k], 0xff, c->positions_capacity[k] * sizeof **c->positions);
            }
        }
    }
    return STATUS_OK;
}

enum status nfa_collect_some(struct nfa *n, uint64_t budget, uint8_t *complete)
{
    struct changes *c = n->changes;
    *complete = 1;
    for (uint32_t set = 0; c != NULL && c->frozen != NULL && set < n_sets(n); set++) {
        struct change_set *s = &c->sets[set];
        for (; s->next < s->n_frozen; s->next++) {
            const uint64_t spent = (uint64_t)c->frozen->n_runs + c->frozen->n_matches + c->frozen->n_lags;
            if (budget == 0) {
                *complete = 0;
                return STATUS_OK;
            }
            budget--;
            if (!(s->marks[s->next] & MARK_FROZEN)) {
                const enum status st = copy(n, set, s->next);
                if (st != STATUS_OK) {
                    return st;
                }
            }
            const uint64_t more = (uint64_t)c->frozen->n_runs + c->frozen->n_matches + c->frozen->n_lags - spent;
            budget = budget > more ? budget - more : 0;
        }
    }
    if (c != NULL) {
        c->frozen = NULL;
        if (!c->tracking) {
            nfa_changes_free(n);
        }
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ changes */

/* Also of what holds nothing yet. */
static uint64_t birth_number(const struct nfa *n, uint32_t set, uint32_t id)
{
    return set == CHANGED_KEYED ? n->keyed[id].birth : set == CHANGED_STRICT ? strict_at(&n->strict, id)->birth : n->compact_keys[id].birth;
}

enum status nfa_change(struct nfa *n, uint32_t set, uint32_t id)
{
    struct changes *c = n->changes;
    struct change_set *s = &c->sets[set];
    enum status st = change_set_reserve(s, id + 1);
    if (st == STATUS_OK && c->frozen != NULL && id < s->n_frozen && !(s->marks[id] & MARK_FROZEN)) {
        st = copy(n, set, id);
    }
    if (st != STATUS_OK || !c->tracking) {
        return st;
    }
    if (is_lag(set)) {
        return change_set_add(s, id, 0);
    }
    st = change_set_add(s, id, birth_number(n, set, id));
    if (st == STATUS_OK) { /* what goes has been touched before: then there is room to say so */
        void *gone = c->gone;
        st = arena_reserve(n->arena, &gone, &c->gone_capacity, (uint64_t)c->sets[CHANGED_KEYED].n + c->sets[CHANGED_STRICT].n + c->sets[CHANGED_COMPACT].n, sizeof *c->gone);
        c->gone = gone;
    }
    return st;
}

void nfa_gone(struct nfa *n, uint32_t set, uint32_t id, uint64_t birth)
{
    struct changes *c = n->changes;
    if (!c->tracking) {
        return;
    }
    c->sets[set].marks[id] &= (uint8_t)~MARK_CHANGED; /* who gets the number next is another one */
    if (birth < c->births) {
        ASSERT(c->n_gone < c->gone_capacity);
        c->gone[c->n_gone++] = birth;
    }
}

static enum status collect_lag_change(struct nfa *n, struct records *r, uint32_t keyspace, uint32_t slot)
{
    struct changes *c = n->changes;
    const uint64_t *before = saved_position(n, keyspace, slot);
    if (before == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (*before != NO_POSITION) {
        void *gone = c->gone_lags;
        const enum status st = arena_reserve(n->arena, &gone, &c->gone_lags_capacity, (uint64_t)c->n_gone_lags + 1, sizeof *c->gone_lags);
        c->gone_lags = gone;
        if (st != STATUS_OK) {
            return st;
        }
        c->gone_lags[c->n_gone_lags++] = (struct gone_lag){*before, keyspace};
    }
    return n->keyspaces[keyspace].slots[slot].last.segment == NO_SEGMENT ? STATUS_OK : nfa_collect_lag(n, r, keyspace, slot);
}

enum status nfa_collect_changes(struct nfa *n, struct records *r)
{
    struct changes *c = n->changes;
    enum status st = STATUS_OK;
    c->n_gone_lags = 0;
    for (uint32_t set = 0; set < n_sets(n); set++) {
        const struct change_set *s = &c->sets[set];
        for (uint32_t i = 0; i < s->n && st == STATUS_OK; i++) {
            const struct changed x = s->list[i];
            if (is_lag(set)) {
                st = collect_lag_change(n, r, set - CHANGED_LAGS, x.id);
            } else if ((s->marks[x.id] & MARK_CHANGED) && birth_of(n, set, x.id) == x.birth) {
                st = collect(n, r, set, x.id);
            }
        }
    }
    return st;
}

void nfa_changes_taken(struct nfa *n)
{
    struct changes *c = n->changes;
    for (uint32_t set = 0; set < n_sets(n); set++) {
        struct change_set *s = &c->sets[set];
        for (uint32_t i = 0; i < s->n && is_lag(set); i++) {
            const struct event_ref last = n->keyspaces[set - CHANGED_LAGS].slots[s->list[i].id].last;
            c->positions[set - CHANGED_LAGS][s->list[i].id] = last.segment == NO_SEGMENT ? NO_POSITION : event_position(n->events, last);
        }
        change_set_clear(s);
    }
    c->n_gone = 0;
    c->n_gone_lags = 0;
    c->births = n->births;
}
