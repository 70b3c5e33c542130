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

static inline void keep_values(const struct nfa *n, const struct lag *lag, struct key_slot *s, struct event_ref event)
{
    const struct column *columns = n->events->segments[event.segment].columns;
    s->last_nulls = 0;
    for (uint32_t i = 0; i < lag->n_columns; i++) {
        const struct column *c = &columns[lag->columns[i]];
        const bool null = column_is_null(c, event.row);
        s->last_values[i] = null ? 0 : ((const uint64_t *)c->data)[event.row];
        s->last_nulls |= (uint64_t)null << i;
    }
}

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
    struct key_slot *s = &n->keyspaces[index].slots[slot];
    *previous = s->last;
    if (UNLIKELY(s->last.segment == NO_SEGMENT)) {
        const enum status st = begin_lag(n, index, slot, time);
        if (st != STATUS_OK) {
            return st;
        }
    }
    s->last = event;
    s->last_time = time;
    keep_values(n, &n->lags[index], s, event);
    return STATUS_OK;
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

/* The slots of a chunk's keys, made where there are none, into chunk_slots. */
static enum status lag_slots(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    struct keyspace *space = &n->keyspaces[index];
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    if (!space->integer) {
        for (uint32_t i = 0; i < n_rows; i++) {
            const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct column *c = &n->events->segments[rows[i].event.segment].columns[space->columns[0]];
        n->chunk_hashes[i] = keyspace_hash(((const int64_t *)c->data)[rows[i].event.row]);
        touch(keyspace_entry(space, n->chunk_hashes[i]));
    }
    for (uint32_t i = 0; i < n_rows && space->n_slots > 0; i++) {
        const uint32_t slot = *keyspace_entry(space, n->chunk_hashes[i]);
        touch(&space->slots[slot - (slot != 0)]);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct column *c = &n->events->segments[rows[i].event.segment].columns[space->columns[0]];
        slots[i] = keyspace_find(space, n->chunk_hashes[i], ((const int64_t *)c->data)[rows[i].event.row]);
        if (UNLIKELY(slots[i] == NO_SLOT || column_is_null(c, rows[i].event.row))) {
            const enum status st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            if (st != STATUS_OK) {
                return st;
            }
        }
    }
    return STATUS_OK;
}

static bool ascending(const struct waiting *rows, uint32_t n_rows)
{
    for (uint32_t i = 1; i < n_rows; i++) {
        if (rows[i].event.row != rows[i - 1].event.row + 1 || rows[i].event.segment != rows[0].event.segment) {
            return false;
        }
    }
    return true;
}

/* Whether the rows lie one after the other in one segment, as they do when nothing was out of order. */
static bool consecutive(const struct waiting *rows, uint32_t n_rows)
{
    return rows[n_rows - 1].event.row - rows[0].event.row == n_rows - 1 && ascending(rows, n_rows);
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
    const bool in_place = consecutive(rows, n_rows);
    struct vm_lag known[LAG_VALUES];
    for (uint32_t c = 0; c < lag->n_columns; c++) {
        known[c] = (struct vm_lag){lag->columns[c], n->lag_values + c * VM_BLOCK, nulls ? n->lag_nulls + c * VM_BLOCK : NULL};
    }
    for (uint32_t i = 0; i < n_rows && !in_place; i++) {
        n->chunk_refs[i] = rows[i].event;
    }
    const struct vm_input input = {.store = n->events, .segment = rows[0].event.segment, .first_row = rows[0].event.row,
                                   .refs = in_place ? NULL : n->chunk_refs,
                                   .prev_refs = n->chunk_previous + (size_t)index * VM_BLOCK, .lags = known, .n_lags = lag->n_columns};
    const struct plan *plan = n->plan;
    vm_run(&n->vm, plan, &plan->programs[plan->keyspaces[index].lag_program], &input, n_rows, n->chunk_masks, plan->mask_words);
}

/* The rows become their keys' latest events; the references on those before go to chunk_previous. */
enum status nfa_lag_chunk(struct nfa *n, uint32_t index, const struct waiting *rows, uint32_t n_rows)
{
    struct keyspace *space = &n->keyspaces[index];
    struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    uint32_t *slots = n->chunk_slots + (size_t)index * VM_BLOCK;
    const struct lag *lag = &n->lags[index];
    const bool expires = n->options.key_ttl > 0;
    bool nulls = false;
    enum status st = expires ? STATUS_OK : lag_slots(n, index, rows, n_rows);
    for (uint32_t i = 0; i < n_rows && st == STATUS_OK; i++) {
        if (UNLIKELY(expires)) {
            st = nfa_fire_lags(n, index, rows[i].time);
            if (st == STATUS_OK) {
                st = keyspace_slot(space, n->events, rows[i].event, true, &slots[i]);
            }
            if (st != STATUS_OK) {
                break;
            }
        }
        const bool has_key = LIKELY(slots[i] < NOT_LOOKED_UP);
        nulls |= take_values(n, lag, has_key ? &space->slots[slots[i]] : NULL, i);
        previous[i].segment = NO_SEGMENT;
        if (has_key) {
            event_retain(n->events, rows[i].event.segment);
            st = remember(n, index, slots[i], rows[i].time, rows[i].event, &previous[i]);
        }
        if (UNLIKELY(expires || (slots[i] == KEY_NULL && !n->single))) {
            slots[i] = NOT_LOOKED_UP; /* the key may be gone when its row's turn comes; a missing one is counted then */
        }
    }
    if (st == STATUS_OK && n->plan->keyspaces[index].lag_program != NO_PROGRAM) {
        judge_chunk(n, index, rows, n_rows, nulls);
    }
    return st;
}

void nfa_lag_release(struct nfa *n, uint32_t index, uint32_t n_rows)
{
    const struct event_ref *previous = n->chunk_previous + (size_t)index * VM_BLOCK;
    for (uint32_t i = 0; i < n_rows; i++) {
        if (previous[i].segment != NO_SEGMENT) {
            event_release(n->events, previous[i].segment);
        }
    }
}
