/* Keys come out again: as columns, a row an append, and in an order of their own that does not depend on slots.
 *
 * The order: part by part; integers and booleans by value, doubles as numbers with NaN last, text and bytes as bytes.
 */
#ifndef FYKE_KEY_COLUMNS_H
#define FYKE_KEY_COLUMNS_H

#include "keyspace.h"

struct key_column {
    uint8_t type;   /* enum column_type */
    void *values;   /* 8 bytes a row (bool: 1); text: its end in `text` (int64) after a leading 0 */
    char *text;
    uint64_t text_size;
    uint32_t capacity;
    uint32_t text_capacity;
};

struct key_columns {
    struct arena *arena;
    uint32_t n_parts;
    uint32_t n_rows;
    struct key_column *parts;
};

MUST_CHECK enum status key_columns_init(struct key_columns *c, struct arena *arena, const struct plan *plan, const struct keyspace *k);
void key_columns_free(struct key_columns *c);
/* Appends the key of a slot. STATUS_NO_MEMORY leaves the columns as they were. */
MUST_CHECK enum status key_columns_append(struct key_columns *c, const struct keyspace *k, uint32_t slot);
/* Where the keys of n more rows go, if the key is one integer; the caller writes them. Failure as above. */
MUST_CHECK enum status key_columns_extend(struct key_columns *c, uint32_t n, int64_t **numbers);
void key_columns_clear(struct key_columns *c);

#define KEY_SIGN ((uint64_t)1 << 63)

/* Keys in order have these in order, but different keys may have the same: of integer keys they are all there is to know:
 * the number with its sign changed. */
uint64_t key_rank(const struct keyspace *k, uint32_t slot);
/* Negative, zero, positive. */
int key_compare(const struct keyspace *k, uint32_t a, uint32_t b);

#endif
