/* The key's previous event: remembered per key, with the values that conditions read of it; conditions on it are judged for a chunk of
 * rows at once. The values lie in the key's slot, so that an event long past need not be touched again.
 */
#include "nfa.h"

#include <string.h>

/* The columns that a keyspace's lag program reads of the event before, if they are few and of 8 bytes; else it gathers them. */
static void choose_columns(struct nfa *n, uint32_t index)
{
    struct lag *lag = &n->lags[index];
    const uint32_t program = n->plan->keyspaces[index].lag_program;
    if (program == NO_PROGRAM) {
        return;
    }
    const struct program *g = &n->plan->programs[program];
    for (uint32_t i = 0; i < g->n_instructions; i++) {
        const struct instruction *op = &g->instructions[i];
        if (op->op != OP_LOAD || op->a != 1) {
            continue;
        }
        uint32_t at = 0;
        while (at < lag->n_columns && lag->columns[at] != op->imm) {
            at++;
        }
        if (at == LAG_VALUES || n->plan->column_types[op->imm] > COLUMN_F64) {
            lag->n_columns = 0;
            return;
        }
        lag->columns[at] = op->imm;
        lag->n_columns = at == lag->n_columns ? at + 1 : lag->n_columns;
    }
}

enum status nfa_lag_init(struct nfa *n)
{
    const uint32_t n_keyspaces = n->plan->n_keyspaces;
    n->lags = arena_alloc(n->arena, n_keyspaces * sizeof *n->lags);
    if (n->lags == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(n->lags, 0, n_keyspaces * sizeof *n->lags);
    for (uint32_t i = 0; i < n_keyspaces; i++) {
        timers_init(&n->lags[i].timers, n->arena);
        choose_columns(n, i);
    }
    n->lag_values = arena_alloc(n->arena, (size_t)LAG_VALUES * VM_BLOCK * sizeof *n->lag_values);
    n->lag_nulls = arena_alloc(n->arena, (size_t)LAG_VALUES * VM_BLOCK);
    return n->lag_values != NULL && n->lag_nulls != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void nfa_lag_free(struct nfa *n)
{
    for (uint32_t i = 0; i < n->plan->n_keyspaces && n->lags != NULL; i++) {
        timers_free(&n->lags[i].timers);
    }
    arena_free(n->arena, n->lags, n->plan->n_keyspaces * sizeof *n->lags);
    arena_free(n->arena, n->lag_values, (size_t)LAG_VALUES * VM_BLOCK * sizeof *n->lag_values);
    arena_free(n->arena, n->lag_nulls, (size_t)LAG_VALUES * VM_BLOCK);
}

/* ------------------------------------------------------------------ remembering */

/* The key has an event to remember for the first time, or again. */
static enum status begin_lag(struct nfa *n, uint32_t index, uint32_t slot, event_time_t time)
{
    n->keyspaces[index].slots[slot].users++;
    if (n->options.key_ttl == 0) {
        return STATUS_OK;
    }
    struct timers *t = &n->lags[index].timers;
    const enum status st = timers_reserve_owners(t, slot + 1);
    return st == STATUS_OK ? timers_set(t, slot, deadline_after(time, n->options.key_ttl), 0) : st;
}

/* The caller gives a reference on the event, and takes that on the one before over. */
static inline enum status remember(struct nfa *n, uint32_t index, uint32_t slot, event_time_t time, struct event_ref event,
                                   struct event_ref *previous)
{
    const struct lag *lag = &n->lags[index];
    const struct column *columns = n->events->segments[event.segment].columns;
    struct key_slot *s = &n->keyspaces[index].slots[slot];
    *previous = s->last;
    s->last = event;
    s->last_time = time;
    s->last_nulls = 0;
    for (uint32_t i = 0; i < lag->n_columns; i++) {
        const struct column *c = &columns[lag->columns[i]];
        const bool null = column_is_null(c, event.row);
        s->last_values[i] = null ? 0 : ((const uint64_t *)c->data)[event.row];
        s->last_nulls |= (uint64_t)null << i;
    }
    return UNLIKELY(previous->segment == NO_SEGMENT) ? begin_lag(n, index, slot, time) : STATUS_OK;
}

enum status nfa_restore_last(struct nfa *n, uint32_t keyspace, uint32_t slot, event_time_t time, struct event_ref event)
{
    struct event_ref previous;
    event_retain(n->events, event.segment);
    const enum status st = remember(n, keyspace, slot, time, event, &previous);
    if (st == STATUS_OK && previous.segment != NO_SEGMENT) {
        event_release(n->events, previous.segment);
    }
    return st;
}

static void forget_last(struct nfa *n, struct keyspace *space, uint32_t slot)
{
    struct key_slot *s = &space->slots[slot];
    if (s->last.segment != NO_SEGMENT) {
        event_release(n->events, s->last.segment);
        s->last.segment = NO_SEGMENT;
        s->last_nulls = UINT64_MAX;
        if (--s->users == 0) {
            keyspace_drop(space, slot);
        }
    }
}

enum status nfa_fire_lags(struct nfa *n, uint32_t index, event_time_t time)
{
    struct timers *t = &n->lags[index].timers;
    while (t->n > 0 && t->heap[0].deadline <= time) {
        const uint32_t slot = t->heap[0].owner;
        const event_time_t due = deadline_after(n->keyspaces[index].slots[slot].last_time, n->options.key_ttl);
        if (due <= time) {
            timers_cancel(t, slot);
            n->counters.expired_keys++;
            const enum status st = nfa_touch(n, CHANGED_LAGS + index, slot);
            if (st != STATUS_OK) {
                return st;
            }
            forget_last(n, &n->keyspaces[index], slot);
        } else {
            const enum status st = timers_set(t, slot, due, 0);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------ a chunk of rows */

/* The integer keys of a chunk: where they lie, or gathered. `nulls`: some may be null. */
static const int64_t *keys_of(struct nfa *n, const struct keyspace *space, const struct waiting *rows, uint32_t n_rows, bool *nulls)
{
    const struct column *c = &n->events->segments[rows[0].event.segment].columns[space->columns[0]];
    *nulls = c->valid != NULL;
    if (n->in_place) {
        return (const int64_t *)c->data + rows[0].event.row;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        c = &n->events->segments[rows[i].event.segment].columns[space->columns[0]];
        *nulls |= c->valid != NULL;
        n->chunk_keys[i] = ((const int64_t *)c->data)[rows[i].event.row];
    }
    return n->chunk_keys;
}

static enum status look_up(struct nfa *n, struct keyspace *space, const struct waiting *rows, uint32_t n_rows, uint32_t *slots)
{
    for (uint32_t i = 0; i < n_rows; i++) {
        const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
        if (st != STATUS_OK) {
            return st;
        }
    }
    return STATUS_OK;
}

/* The slots of a chunk's keys, made where there are none, into chunk_slots. What a look-up touches is touched first for all rows, so that
 * they need not wait for each other. */
static enum status lag_slots(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    struct keyspace *space = &n->keyspaces[index];
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    bool nulls = false;
    const int64_t *keys = space->integer ? keys_of(n, space, rows, n_rows, &nulls) : NULL;
    n->lags[index].all_keyed = keys != NULL && !nulls;
    if (!n->lags[index].all_keyed) {
        return look_up(n, space, rows, n_rows, slots);
    }
    uint64_t *hashes = n->chunk_hashes;
    for (uint32_t i = 0; i < n_rows; i++) {
        hashes[i] = keyspace_hash(keys[i]);
        slots[i] = *keyspace_entry(space, hashes[i]);
    }
    for (uint32_t i = 0; i < n_rows && space->n_slots > 0; i++) {
        touch(&space->slots[slots[i] - (slots[i] != 0)]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        slots[i] = keyspace_find(space, hashes[i], keys[i]);
        if (UNLIKELY(slots[i] == NO_SLOT)) {
            const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

/* What the row's condition will read of the key's previous event, before remember() overwrites it. Returns whether any of it is null. */
static inline bool take_values(struct nfa *n, const struct lag *lag, const struct key_slot *s, uint32_t i)
{
    bool null = false;
    for (uint32_t c = 0; c < lag->n_columns; c++) {
        const uint8_t is_null = s == NULL || ((s->last_nulls >> c) & 1);
        n->lag_values[c * VM_BLOCK + i] = s == NULL ? 0 : s->last_values[c];
        n->lag_nulls[c * VM_BLOCK + i] = is_null; /* a status of the VM: 1 is null */
        null |= is_null;
    }
    return null;
}

static void judge_chunk(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows, bool nulls)
{
    const struct lag *lag = &n->lags[index];
    struct vm_lag known[LAG_VALUES];
    for (uint32_t c = 0; c < lag->n_columns; c++) {
        known[c] = (struct vm_lag){lag->columns[c], n->lag_values + c * VM_BLOCK, nulls ? n->lag_nulls + c * VM_BLOCK : NULL};
    }
    for (uint32_t i = 0; i < n_rows && !n->in_place; i++) {
        n->chunk_refs[i] = rows[i].event;
    }
    const struct vm_input input = {.store = n->events, .segment = rows[0].event.segment, .first_row = rows[0].event.row,
                                   .refs = n->in_place ? NULL : n->chunk_refs,
                                   .prev_refs = n->chunk_previous + (size_t)index * VM_BLOCK, .lags = known, .n_lags = lag->n_columns};
    const struct plan *plan = n->plan;
    vm_run(&n->vm, plan, &plan->programs[plan->keyspaces[index].lag_program], &input, n_rows, n->chunk_masks, plan->mask_words);
}

/* One column without nulls, rows in place, each with a key that stays: nothing is left to decide per row. */
static enum status remember_plainly(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows, bool *nulls)
{
    const uint32_t segment = rows[0].event.segment;
    const uint32_t first = rows[0].event.row;
    const uint64_t *values = (const uint64_t *)n->events->segments[segment].columns[n->lags[index].columns[0]].data + first;
    const uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    struct key_slot *all = n->keyspaces[index].slots;
    uint64_t *before = n->lag_values;
    uint8_t *before_null = n->lag_nulls;
    uint8_t null = 0;
    event_retain_many(n->events, segment, n_rows);
    for (uint32_t i = 0; i < n_rows; i++) {
        struct key_slot *s = &all[slots[i]];
        previous[i] = s->last;
        before[i] = s->last_values[0];
        before_null[i] = s->last_nulls & 1;
        null |= before_null[i];
        s->last = (struct event_ref){segment, first + i};
        s->last_time = rows[i].time;
        s->last_values[0] = values[i];
        s->last_nulls = 0;
        if (UNLIKELY(previous[i].segment == NO_SEGMENT)) {
            const enum status st = begin_lag(n, index, slots[i], rows[i].time);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    *nulls = null != 0;
    return STATUS_OK;
}

static enum status remember_all(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows, bool *nulls)
{
    struct keyspace *space = &n->keyspaces[index];
    struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    const bool expires = n->options.key_ttl > 0;
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < n_rows && st == STATUS_OK; i++) {
        if (expires) {
            st = nfa_fire_lags(n, index, rows[i].time);
            if (st == STATUS_OK) {
                st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            }
            if (st != STATUS_OK) {
                return st;
            }
        }
        const bool has_key = slots[i] < NOT_LOOKED_UP;
        *nulls |= take_values(n, &n->lags[index], has_key ? &space->slots[slots[i]] : NULL, i);
        previous[i].segment = NO_SEGMENT;
        if (has_key) {
            st = nfa_touch(n, CHANGED_LAGS + index, slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
            event_retain(n->events, rows[i].event.segment);
            st = remember(n, index, slots[i], rows[i].time, rows[i].event, &previous[i]);
        }
        if (expires || (slots[i] == KEY_NULL && !n->single)) {
            slots[i] = NOT_LOOKED_UP; /* the key may be gone when its row's turn comes; a missing one is counted then */
        }
    }
    return st;
}

static bool is_plain(const struct nfa *n, uint32_t index, const struct waiting *rows)
{
    const struct lag *lag = &n->lags[index];
    return n->in_place && lag->all_keyed && lag->n_columns == 1 && n->changes == NULL &&
           n->events->segments[rows[0].event.segment].columns[lag->columns[0]].valid == NULL;
}

enum status nfa_lag_chunk(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    bool nulls = false;
    enum status st = n->options.key_ttl > 0 ? STATUS_OK : lag_slots(n, index, rows, n_rows);
    if (st == STATUS_OK) {
        st = is_plain(n, index, rows) ? remember_plainly(n, index, rows, n_rows, &nulls)
                                      : remember_all(n, index, rows, n_rows, &nulls);
    }
    if (st == STATUS_OK && n->plan->keyspaces[index].lag_program != NO_PROGRAM) {
        judge_chunk(n, index, rows, n_rows, nulls);
    }
    return st;
}

void nfa_lag_release(struct nfa *n, uint32_t index, uint32_t n_rows)
{
    const struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    for (uint32_t i = 0; i < n_rows;) {
        const uint32_t segment = previous[i].segment;
        uint32_t same = i + 1;
        while (same < n_rows && previous[same].segment == segment) {
            same++;
        }
        if (segment != NO_SEGMENT) {
            event_release_many(n->events, segment, same - i);
        }
        i = same;
    }
}
