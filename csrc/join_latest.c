#include "join_latest.h"

#include <string.h>

static const struct event_ref NONE = {NO_SEGMENT, 0};

enum status join_latest_init(struct join_latest *j, struct arena *arena, const struct plan *const plans[2],
                             struct event_store *const stores[2], const struct latest_options *options)
{
    memset(j, 0, sizeof *j);
    j->arena = arena;
    j->options = *options;
    for (unsigned side = 0; side < 2; side++) {
        j->stores[side] = stores[side];
        j->key_columns[side] = plans[side]->key_columns + plans[side]->keyspaces[0].first_column;
    }
    return keyspace_init(&j->keys, arena, plans[LEFT], 0);
}

void join_latest_free(struct join_latest *j)
{
    if (j->arena == NULL) {
        return;
    }
    arena_free(j->arena, j->by_key, j->by_key_capacity * sizeof *j->by_key);
    arena_free(j->arena, j->changes, j->changes_capacity);
    keyspace_free(&j->keys);
    join_results_free(&j->results, j->arena);
    memset(j, 0, sizeof *j);
}

static bool there(struct event_ref e)
{
    return e.segment != NO_SEGMENT;
}

static enum status reserve_key(struct join_latest *j, uint32_t slot)
{
    const uint32_t before = j->by_key_capacity;
    void *items = j->by_key;
    const enum status st = arena_reserve(j->arena, &items, &j->by_key_capacity, (uint64_t)slot + 1, sizeof *j->by_key);
    j->by_key = items;
    for (uint32_t i = before; i < j->by_key_capacity; i++) {
        j->by_key[i] = (struct latest_key){{NONE, NONE}};
    }
    return st;
}

/* Room for n results, and for what they change. */
static enum status reserve_results(struct join_latest *j, uint32_t n)
{
    const enum status st = join_results_reserve(&j->results, j->arena, n);
    if (st != STATUS_OK) {
        return st;
    }
    void *changes = j->changes;
    const enum status more = arena_reserve(j->arena, &changes, &j->changes_capacity, (uint64_t)j->results.n_rows + n, 1);
    j->changes = changes;
    return more;
}

/* There is room. */
static void say(struct join_latest *j, enum latest_change change, struct latest_key rows, event_time_t t, uint64_t origin)
{
    j->changes[j->results.n_rows] = (uint8_t)change;
    j->results.rows[j->results.n_rows++] = (struct joined){{rows.sides[LEFT], rows.sides[RIGHT]}, t, origin};
}

/* Whether a joined row of these is there. */
static bool joins(const struct join_latest *j, struct latest_key rows)
{
    const bool left = there(rows.sides[LEFT]);
    const bool right = there(rows.sides[RIGHT]);
    return (left && right) || (left && j->options.outer[LEFT]) || (right && j->options.outer[RIGHT]);
}

/* --------------------------------------------------------------- rows that come */

/* The side's row of a key is this one from now on, or none; the segment of the one before stays open until the owner sweeps. */
static void replace(struct join_latest *j, uint32_t slot, unsigned side, struct event_ref e)
{
    struct event_ref *row = &j->by_key[slot].sides[side];
    if (there(e)) {
        event_retain(j->stores[side], e.segment);
        j->n_held[side]++;
    }
    if (there(*row)) {
        event_release(j->stores[side], row->segment);
        j->n_held[side]--;
    }
    *row = e;
    if (!there(j->by_key[slot].sides[LEFT]) && !there(j->by_key[slot].sides[RIGHT])) {
        keyspace_drop(&j->keys, slot);
    }
}

static enum status enrich(struct join_latest *j, uint32_t slot, struct event_ref e, event_time_t t, uint64_t origin)
{
    const struct event_ref right = slot == NO_SLOT ? NONE : j->by_key[slot].sides[RIGHT];
    if (there(right)) {
        j->n_matched++;
    } else {
        j->n_alone++;
        if (!j->options.outer[LEFT]) {
            return STATUS_OK;
        }
    }
    const enum status st = reserve_results(j, 1);
    if (st == STATUS_OK) {
        say(j, CHANGE_INSERT, (struct latest_key){{e, right}}, t, origin);
    }
    return st;
}

static enum status change_table(struct join_latest *j, uint32_t slot, unsigned side, struct event_ref e, event_time_t t, uint64_t origin)
{
    enum status st = reserve_key(j, slot);
    if (st == STATUS_OK) {
        st = reserve_results(j, 2);
    }
    if (st != STATUS_OK) {
        return st;
    }
    const struct latest_key before = j->by_key[slot];
    struct latest_key after = before;
    after.sides[side] = e;
    replace(j, slot, side, e);
    if (j->options.mode == LATEST_ENRICH) {
        return STATUS_OK;
    }
    const bool was = joins(j, before);
    const bool is = joins(j, after);
    if (was && is && j->options.befores) {
        say(j, CHANGE_BEFORE, before, t, origin);
    }
    if (was && !is) {
        say(j, CHANGE_DELETE, before, t, origin);
    } else if (is) {
        say(j, was ? CHANGE_AFTER : CHANGE_INSERT, after, t, origin);
    }
    return STATUS_OK;
}

static enum status take(struct join_latest *j, const struct arrivals *a, uint32_t i)
{
    const unsigned side = a->inputs[i];
    const struct event_store *store = j->stores[side];
    const struct event_ref e = arrivals_event(a, i);
    const event_time_t t = event_time(store, e);
    const uint64_t mask = store->segments[e.segment].masks[(size_t)e.row * store->mask_words] & j->options.bits[side];
    const bool enriched = j->options.mode == LATEST_ENRICH && side == LEFT;
    const bool gone = (mask & LATEST_DELETES) != 0;
    if ((mask & LATEST_IGNORES) != 0) {
        return STATUS_OK;
    }
    uint32_t slot;
    const enum status st = keyspace_slot_of(&j->keys, j->key_columns[side], store, e, !enriched && !gone, &slot);
    if (st != STATUS_OK) {
        return st;
    }
    if (slot == KEY_NULL) {
        struct join_results *r = &j->results;
        j->n_null_keys++;
        return join_results_note(&r->null_keys, &r->n_null_keys, &r->null_keys_capacity, j->arena, i);
    }
    if (enriched) {
        return enrich(j, slot, e, t, a->origins[i]);
    }
    j->n_deletes += gone;
    if (gone && (slot == NO_SLOT || !there(j->by_key[slot].sides[side]))) {
        j->n_useless++;
        return STATUS_OK;
    }
    return change_table(j, slot, side, gone ? NONE : e, t, a->origins[i]);
}

enum status join_latest_step(struct join_latest *j, const struct arrivals *a)
{
    for (uint32_t i = 0; i < a->n_rows; i++) {
        const enum status st = take(j, a, i);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

/* --------------------------------------------------------------- look-up, restore, compaction, invariants */

enum status join_latest_find(struct join_latest *j, const uint32_t *columns, const struct event_store *s, struct event_ref e, uint32_t *slot)
{
    return keyspace_slot_of(&j->keys, columns, s, e, false, slot);
}

enum status join_latest_restore(struct join_latest *j, unsigned side, struct event_ref e)
{
    uint32_t slot;
    enum status st = keyspace_slot_of(&j->keys, j->key_columns[side], j->stores[side], e, true, &slot);
    if (st != STATUS_OK || slot == KEY_NULL) {
        return st != STATUS_OK ? st : STATUS_BAD_SNAPSHOT;
    }
    st = reserve_key(j, slot);
    if (st != STATUS_OK || there(j->by_key[slot].sides[side])) {
        return st != STATUS_OK ? st : STATUS_BAD_SNAPSHOT;
    }
    replace(j, slot, side, e);
    return STATUS_OK;
}

void join_latest_each_event(struct join_latest *j, unsigned side, event_visitor visit, void *context)
{
    for (uint32_t slot = 0; slot < j->by_key_capacity; slot++) {
        if (there(j->by_key[slot].sides[side])) {
            visit(context, &j->by_key[slot].sides[side]);
        }
    }
}

const char *join_latest_check(const struct join_latest *j)
{
    uint64_t n[2] = {0, 0};
    uint32_t n_keys = 0;
    for (uint32_t slot = 0; slot < j->by_key_capacity; slot++) {
        const struct latest_key *key = &j->by_key[slot];
        n[LEFT] += there(key->sides[LEFT]);
        n[RIGHT] += there(key->sides[RIGHT]);
        n_keys += there(key->sides[LEFT]) || there(key->sides[RIGHT]);
    }
    if (n[LEFT] != j->n_held[LEFT] || n[RIGHT] != j->n_held[RIGHT]) {
        return "the count of rows that are held is wrong";
    }
    if (n[LEFT] != j->stores[LEFT]->live || n[RIGHT] != j->stores[RIGHT]->live) {
        return "a row is held by nobody, or by one too many";
    }
    return n_keys != j->keys.n_keys ? "a key without rows is still there" : NULL;
}
