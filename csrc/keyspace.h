/* Keys to dense slots: one dictionary per distinct key expression, shared by the patterns that use it.
 *
 * A key of one integer column is hashed as it is; any other key is encoded (per part: a tag, then 8 bytes or size + bytes) and
 * stored once. Open addressing, backward-shift deletion, so that a key that is gone leaves nothing behind. A slot lives while
 * `users` > 0; slot ids are reused. Null parts: the row has no key (KEY_NULL).
 */
#ifndef FYKE_KEYSPACE_H
#define FYKE_KEYSPACE_H

#include "event_store.h"
#include "plan.h"

#define NO_SLOT UINT32_MAX
#define KEY_NULL (UINT32_MAX - 1)
#define NOT_LOOKED_UP (UINT32_MAX - 2) /* what a caller keeps in place of a slot */

#define LAG_VALUES 2

struct key_slot {
    uint64_t hash;
    union {
        int64_t i64;
        char *bytes;
    };
    uint32_t size;  /* of bytes */
    uint32_t users; /* patterns with state for the key, plus one for the lag; a free slot links the next one here */
    struct event_ref last; /* lag: the key's latest event; NO_SEGMENT: none */
    event_time_t last_time;
    uint64_t last_values[LAG_VALUES]; /* of the columns that conditions read of it, so that its segment need not be touched */
    uint64_t last_nulls;              /* a bit each; all set where there is no event */
};

_Static_assert(sizeof(struct key_slot) == 64, "a key slot is a cache line");

struct keyspace {
    struct arena *arena;
    const struct keyspace_plan *plan;
    const uint32_t *columns;
    bool integer;
    uint32_t *table; /* slot + 1, 0: empty; size a power of two */
    uint32_t table_size;
    uint32_t n_keys;
    struct key_slot *slots;
    uint32_t n_slots; /* ever used */
    uint32_t capacity;
    uint32_t free_list; /* slot + 1 */
    char *scratch;
    uint32_t scratch_size;
};

MUST_CHECK enum status keyspace_init(struct keyspace *k, struct arena *arena, const struct plan *plan, uint32_t index);
void keyspace_free(struct keyspace *k);

/* The slot of the row's key: NO_SLOT if it has none yet and `insert` is false; KEY_NULL if a part is null.
 * STATUS_NO_MEMORY leaves the dictionary as it was. A slot just inserted has no users. */
MUST_CHECK enum status keyspace_slot(struct keyspace *k, const struct event_store *s, struct event_ref e, bool insert, uint32_t *slot);
/* The same for a row of another plan, whose key is in these columns: as many, of the same physical types. */
MUST_CHECK enum status keyspace_slot_of(struct keyspace *k, const uint32_t *columns, const struct event_store *s, struct event_ref e,
                                        bool insert, uint32_t *slot);
/* Whether a part of the row's key is null. */
static inline bool keyspace_key_is_null(const struct keyspace *k, const uint32_t *columns, const struct event_store *s, struct event_ref e)
{
    for (uint32_t i = 0; i < k->plan->n_columns; i++) {
        if (column_is_null(&s->segments[e.segment].columns[columns[i]], e.row)) {
            return true;
        }
    }
    return false;
}

static inline uint64_t keyspace_hash(int64_t key)
{
    return mix64((uint64_t)key);
}

/* Where a look-up with this hash starts in the table: slot + 1, or 0. */
static inline const uint32_t *keyspace_entry(const struct keyspace *k, uint64_t hash)
{
    return &k->table[(uint32_t)hash & (k->table_size - 1)];
}

/* The slot of an integer key whose hash is known; NO_SLOT if it has none. */
static inline uint32_t keyspace_find(const struct keyspace *k, uint64_t hash, int64_t key)
{
    const uint32_t mask = k->table_size - 1;
    for (uint32_t at = (uint32_t)hash & mask; k->table[at] != 0; at = (at + 1) & mask) {
        if (k->slots[k->table[at] - 1].i64 == key) {
            return k->table[at] - 1;
        }
    }
    return NO_SLOT;
}

/* Room for n keys. */
MUST_CHECK enum status keyspace_reserve(struct keyspace *k, uint32_t n);
/* Frees a slot without users. */
void keyspace_drop(struct keyspace *k, uint32_t slot);

#endif
