#include "keyspace.h"

#include <string.h>

enum status keyspace_init(struct keyspace *k, struct arena *arena, const struct plan *plan, uint32_t index)
{
    memset(k, 0, sizeof *k);
    k->arena = arena;
    k->plan = &plan->keyspaces[index];
    k->columns = plan->key_columns + k->plan->first_column;
    k->integer = k->plan->n_columns == 1 && plan->column_types[k->columns[0]] == COLUMN_I64;
    k->table_size = 64;
    k->table = arena_alloc(arena, k->table_size * sizeof *k->table);
    if (k->table == NULL) {
        k->table_size = 0;
        return STATUS_NO_MEMORY;
    }
    memset(k->table, 0, k->table_size * sizeof *k->table);
    return STATUS_OK;
}

void keyspace_free(struct keyspace *k)
{
    if (k->arena == NULL) {
        return;
    }
    if (!k->integer) {
        for (uint32_t i = 0; i < k->table_size; i++) {
            if (k->table[i] != 0) {
                struct key_slot *s = &k->slots[k->table[i] - 1];
                arena_free(k->arena, s->bytes, s->size);
            }
        }
    }
    arena_free(k->arena, k->table, k->table_size * sizeof *k->table);
    arena_free(k->arena, k->slots, (size_t)k->capacity * sizeof *k->slots);
    arena_free(k->arena, k->scratch, k->scratch_size);
    memset(k, 0, sizeof *k);
}

static uint64_t hash_bytes(const char *p, uint32_t n)
{
    uint64_t h = mix64(n + 0x9e3779b97f4a7c15ULL);
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = mix64(h ^ word);
        p += 8;
        n -= 8;
    }
    uint64_t tail = 0;
    if (n > 0) {
        memcpy(&tail, p, n);
    }
    return mix64(h ^ tail);
}

/* Encodes the key into k->scratch. size = UINT32_MAX: a part is null. */
static enum status encode(struct keyspace *k, const uint32_t *columns, const struct event_store *s, struct event_ref e, uint32_t *size)
{
    uint64_t need = 0;
    for (uint32_t i = 0; i < k->plan->n_columns; i++) {
        const struct column *c = &s->segments[e.segment].columns[columns[i]];
        if (column_is_null(c, e.row)) {
            *size = UINT32_MAX;
            return STATUS_OK;
        }
        need += 9 + (c->type == COLUMN_STR ? column_str(c, e.row).size : 0);
    }
    if (need >= UINT32_MAX) {
        return STATUS_NO_MEMORY;
    }
    void *scratch = k->scratch;
    const enum status st = arena_reserve(k->arena, &scratch, &k->scratch_size, need, 1);
    k->scratch = scratch;
    if (st != STATUS_OK) {
        return st;
    }
    char *out = k->scratch;
    for (uint32_t i = 0; i < k->plan->n_columns; i++) {
        const struct column *c = &s->segments[e.segment].columns[columns[i]];
        *out++ = (char)c->type;
        if (c->type == COLUMN_STR) {
            const struct str_view v = column_str(c, e.row);
            memcpy(out, &v.size, 8);
            out += 8;
            if (v.size > 0) {
                memcpy(out, v.data, v.size);
                out += v.size;
            }
        } else if (c->type == COLUMN_BOOL) {
            *out++ = (char)((const uint8_t *)c->data)[e.row];
        } else if (c->type == COLUMN_F64) {
            double x = ((const double *)c->data)[e.row];
            x = x != x ? (double)__builtin_nan("") : x + 0.0; /* one NaN, one zero */
            memcpy(out, &x, 8);
            out += 8;
        } else {
            memcpy(out, (const int64_t *)c->data + e.row, 8);
            out += 8;
        }
    }
    *size = (uint32_t)(out - k->scratch);
    return STATUS_OK;
}

static enum status grow_table(struct keyspace *k, uint32_t size)
{
    uint32_t *table = arena_alloc(k->arena, size * sizeof *table);
    if (table == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(table, 0, size * sizeof *table);
    for (uint32_t i = 0; i < k->table_size; i++) {
        if (k->table[i] != 0) {
            uint32_t at = (uint32_t)k->slots[k->table[i] - 1].hash & (size - 1);
            while (table[at] != 0) {
                at = (at + 1) & (size - 1);
            }
            table[at] = k->table[i];
        }
    }
    arena_free(k->arena, k->table, k->table_size * sizeof *k->table);
    k->table = table;
    k->table_size = size;
    return STATUS_OK;
}

enum status keyspace_reserve(struct keyspace *k, uint32_t n)
{
    uint32_t size = k->table_size;
    while (size / 2 <= n && size < 1U << 31) {
        size *= 2;
    }
    const enum status st = size > k->table_size ? grow_table(k, size) : STATUS_OK;
    if (st != STATUS_OK) {
        return st;
    }
    void *slots = k->slots;
    const enum status reserved = arena_reserve(k->arena, &slots, &k->capacity, n, sizeof *k->slots);
    k->slots = slots;
    return reserved;
}

static enum status insert_key(struct keyspace *k, uint64_t hash, int64_t number, uint32_t size, uint32_t *slot)
{
    if (k->n_keys >= k->table_size / 2) {
        const enum status st = grow_table(k, k->table_size * 2);
        if (st != STATUS_OK) {
            return st;
        }
    }
    char *bytes = NULL;
    if (!k->integer) {
        bytes = arena_alloc(k->arena, size);
        if (bytes == NULL) {
            return STATUS_NO_MEMORY;
        }
        if (size > 0) {  // a pattern without a key has one key of no bytes, and no scratch
            memcpy(bytes, k->scratch, size);
        }
    }
    uint32_t id;
    if (k->free_list != 0) {
        id = k->free_list - 1;
        k->free_list = k->slots[id].users;
    } else {
        void *slots = k->slots;
        const enum status st = arena_reserve(k->arena, &slots, &k->capacity, (uint64_t)k->n_slots + 1, sizeof *k->slots);
        k->slots = slots;
        if (st != STATUS_OK) {
            arena_free(k->arena, bytes, size);
            return st;
        }
        id = k->n_slots++;
    }
    struct key_slot *s = &k->slots[id];
    s->hash = hash;
    if (k->integer) {
        s->i64 = number;
    } else {
        s->bytes = bytes;
    }
    s->size = size;
    s->users = 0;
    s->last = (struct event_ref){UINT32_MAX, 0};
    s->last_time = TIME_MIN;
    memset(s->last_values, 0, sizeof s->last_values);
    s->last_nulls = UINT64_MAX;
    uint32_t at = (uint32_t)hash & (k->table_size - 1);
    while (k->table[at] != 0) {
        at = (at + 1) & (k->table_size - 1);
    }
    k->table[at] = id + 1;
    k->n_keys++;
    *slot = id;
    return STATUS_OK;
}

enum status keyspace_slot(struct keyspace *k, const struct event_store *s, struct event_ref e, bool insert, uint32_t *slot)
{
    return keyspace_slot_of(k, k->columns, s, e, insert, slot);
}

enum status keyspace_slot_of(struct keyspace *k, const uint32_t *columns, const struct event_store *s, struct event_ref e,
                             bool insert, uint32_t *slot)
{
    uint64_t hash;
    int64_t number = 0;
    uint32_t size = 0;
    if (k->integer) {
        const struct column *c = &s->segments[e.segment].columns[columns[0]];
        if (column_is_null(c, e.row)) {
            *slot = KEY_NULL;
            return STATUS_OK;
        }
        number = ((const int64_t *)c->data)[e.row];
        hash = keyspace_hash(number);
        *slot = keyspace_find(k, hash, number);
        if (*slot != NO_SLOT) {
            return STATUS_OK;
        }
    } else {
        const enum status st = encode(k, columns, s, e, &size);
        if (st != STATUS_OK) {
            return st;
        }
        if (size == UINT32_MAX) {
            *slot = KEY_NULL;
            return STATUS_OK;
        }
        hash = hash_bytes(k->scratch, size);
        for (uint32_t at = (uint32_t)hash & (k->table_size - 1); k->table[at] != 0; at = (at + 1) & (k->table_size - 1)) {
            const struct key_slot *x = &k->slots[k->table[at] - 1];
            if (x->hash == hash && x->size == size && (size == 0 || memcmp(x->bytes, k->scratch, size) == 0)) {
                *slot = k->table[at] - 1;
                return STATUS_OK;
            }
        }
    }
    *slot = NO_SLOT;
    return insert ? insert_key(k, hash, number, size, slot) : STATUS_OK;
}

void keyspace_drop(struct keyspace *k, uint32_t slot)
{
    const uint32_t mask = k->table_size - 1;
    uint32_t at = (uint32_t)k->slots[slot].hash & mask;
    while (k->table[at] != slot + 1) {
        at = (at + 1) & mask;
    }
    for (uint32_t next = (at + 1) & mask; k->table[next] != 0; next = (next + 1) & mask) {
        const uint32_t home = (uint32_t)k->slots[k->table[next] - 1].hash & mask;
        if (((next - home) & mask) >= ((next - at) & mask)) {
            k->table[at] = k->table[next];
            at = next;
        }
    }
    k->table[at] = 0;
    k->n_keys--;
    if (!k->integer) {
        arena_free(k->arena, k->slots[slot].bytes, k->slots[slot].size);
    }
    k->slots[slot].users = k->free_list;
    k->free_list = slot + 1;
}
