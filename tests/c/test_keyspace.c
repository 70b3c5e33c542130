/* The key dictionary against a plain array of keys, for integer keys, keys of several columns, and the key of no columns. */
#include "check.h"
#include "keyspace.h"

#define ROWS 400
#define VALUES 90 /* so that most rows repeat a key */

static int64_t numbers[ROWS];
static double floats[ROWS];
static char text[ROWS * 8];
static int32_t offsets[ROWS + 1];
static uint8_t valid[ROWS / 8 + 1];
static uint32_t key_of[ROWS]; /* what the row's key is, by number; VALUES: null */

static uint32_t slot_of[VALUES]; /* the model: the slot of a key, or NO_SLOT */

static void make_rows(void)
{
    offsets[0] = 0;
    memset(valid, 0xff, sizeof valid);
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t key = random_below(VALUES);
        key_of[i] = key;
        numbers[i] = (int64_t)key * (key % 2 ? 1 : -1) * (int64_t)0x100000001LL;
        floats[i] = key == 0 ? (i % 2 ? 0.0 : -0.0) : key == 1 ? (i % 2 ? __builtin_nan("") : -__builtin_nan("7")) : key;
        const uint32_t size = key % 8;
        memset(text + offsets[i], 'a' + (int)(key % 26), size);
        offsets[i + 1] = offsets[i] + (int32_t)size;
        if (random_below(20) == 0) {
            valid[i / 8] &= (uint8_t) ~(1u << (i % 8));
            key_of[i] = VALUES;
        }
    }
}

static void step(struct keyspace *k, const struct event_store *s, bool no_columns)
{
    const struct event_ref e = {0, random_below(ROWS)};
    const uint32_t key = no_columns ? 0 : key_of[e.row];
    const bool insert = random_below(3) > 0;
    uint32_t slot = 12345;
    k->arena->fail_after = random_below(4) == 0 ? 1 + random_below(3) : 0;
    const enum status st = keyspace_slot(k, s, e, insert, &slot);
    k->arena->fail_after = 0;
    if (st != STATUS_OK) {
        CHECK(st == STATUS_NO_MEMORY);
        CHECK(keyspace_slot(k, s, e, false, &slot) == STATUS_OK); /* as it was */
        CHECK(slot == (key == VALUES ? KEY_NULL : slot_of[key]));
        return;
    }
    if (key == VALUES) {
        CHECK(slot == KEY_NULL);
        return;
    }
    if (slot_of[key] != NO_SLOT || !insert) {
        CHECK(slot == slot_of[key]);
    } else {
        CHECK(slot < k->n_slots && k->slots[slot].users == 0 && k->slots[slot].last.segment == UINT32_MAX);
        for (uint32_t i = 0; i < VALUES; i++) {
            CHECK(slot_of[i] != slot);
        }
        slot_of[key] = slot;
    }
    if (slot_of[key] != NO_SLOT && random_below(3) == 0) {
        keyspace_drop(k, slot_of[key]);
        slot_of[key] = NO_SLOT;
    }
}

static void drive(struct arena *a, struct event_store *s, uint32_t *columns, uint32_t n_columns)
{
    uint8_t types[] = {COLUMN_I64, COLUMN_F64, COLUMN_STR};
    struct keyspace_plan plan = {0, n_columns, 0, NO_PROGRAM};
    const struct plan p = {.n_columns = 3, .column_types = types, .key_columns = columns, .n_keyspaces = 1, .keyspaces = &plan};
    struct keyspace k;
    a->fail_after = 1;
    CHECK(keyspace_init(&k, a, &p, 0) == STATUS_NO_MEMORY);
    a->fail_after = 0;
    keyspace_free(&k);
    CHECK(keyspace_init(&k, a, &p, 0) == STATUS_OK);
    memset(slot_of, 0xff, sizeof slot_of);
    for (int i = 0; i < 3000; i++) {
        step(&k, s, n_columns == 0);
        uint32_t n = 0;
        for (uint32_t v = 0; v < VALUES; v++) {
            n += slot_of[v] != NO_SLOT;
        }
        CHECK(k.n_keys == n);
    }
    keyspace_free(&k);
}

static void test(void)
{
    struct arena a;
    struct event_store s;
    uint32_t id = 1;
    arena_init(&a);
    make_rows();
    event_store_init(&s, &a, 3, 1);
    CHECK(event_store_open(&s, &id) == STATUS_OK && id == 0);
    s.segments[0].columns[0] = (struct column){numbers, NULL, valid, 0, COLUMN_I64, 0};
    s.segments[0].columns[1] = (struct column){floats, NULL, valid, 0, COLUMN_F64, 0};
    s.segments[0].columns[2] = (struct column){text, offsets, valid, 0, COLUMN_STR, 0};
    uint32_t keys[][3] = {{0}, {1, 2}, {2, 0}};
    drive(&a, &s, keys[0], 1); /* an integer: not encoded */
    drive(&a, &s, keys[1], 2);
    drive(&a, &s, keys[2], 2);
    drive(&a, &s, keys[0], 0);
    event_store_free(&s);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 8);
}
