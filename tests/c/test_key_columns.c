/* Keys of slots as columns, and their order, against the rows that they came from. */
#include "check.h"
#include "key_columns.h"

#define ROWS 120

static int64_t numbers[ROWS];
static double floats[ROWS];
static uint8_t bools[ROWS];
static char text[ROWS * 12];
static int32_t offsets[ROWS + 1];

static const uint8_t types[] = {COLUMN_I64, COLUMN_F64, COLUMN_BOOL, COLUMN_STR};

static void make_rows(void)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        numbers[i] = ((int64_t)random_below(9) - 4) * (random_below(2) ? 1 : INT64_C(0x200000000000000));
        floats[i] = random_below(9) == 0 ? __builtin_nan("") : ((double)random_below(7) - 3) / 2;
        bools[i] = (uint8_t)random_below(2);
        const uint32_t size = random_below(12);
        for (uint32_t k = 0; k < size; k++) {
            text[offsets[i] + (int32_t)k] = (char)(random_below(6) == 0 ? 0xc3 : 'a');
        }
        offsets[i + 1] = offsets[i] + (int32_t)size;
    }
}

static int sign(int64_t x)
{
    return (x > 0) - (x < 0);
}

/* How the parts of two rows stand to each other. */
static int compare_part(uint32_t type, uint32_t a, uint32_t b)
{
    if (type == COLUMN_STR) {
        const int32_t m = offsets[a + 1] - offsets[a], n = offsets[b + 1] - offsets[b];
        const int c = memcmp(text + offsets[a], text + offsets[b], (size_t)(m < n ? m : n));
        return c != 0 ? sign(c) : sign(m - n);
    }
    if (type == COLUMN_F64) {
        const double x = floats[a], y = floats[b];
        return x != x || y != y ? (x != x) - (y != y) : (x > y) - (x < y);
    }
    return type == COLUMN_BOOL ? sign(bools[a] - bools[b]) : (numbers[a] > numbers[b]) - (numbers[a] < numbers[b]);
}

static void check_row(const struct key_columns *c, uint32_t row, uint32_t from)
{
    for (uint32_t i = 0; i < c->n_parts; i++) {
        const struct key_column *p = &c->parts[i];
        if (p->type == COLUMN_I64) {
            CHECK(((const int64_t *)p->values)[row] == numbers[from]);
        } else if (p->type == COLUMN_F64) {
            const double x = ((const double *)p->values)[row];
            CHECK(x == floats[from] || (x != x && floats[from] != floats[from]));
        } else if (p->type == COLUMN_BOOL) {
            CHECK(((const uint8_t *)p->values)[row] == bools[from]);
        } else {
            const int64_t begin = ((const int64_t *)p->values)[row], end = ((const int64_t *)p->values)[row + 1];
            CHECK(end - begin == offsets[from + 1] - offsets[from]);
            CHECK(end == begin || memcmp(p->text + begin, text + offsets[from], (size_t)(end - begin)) == 0);
        }
    }
}

static void test(void)
{
    static const uint32_t all[] = {0, 1, 2, 3};
    const uint32_t first = random_below(4), n_parts = random_below(5 - first);
    const struct keyspace_plan key = {first, n_parts, 0, NO_PROGRAM};
    const struct plan plan = {.n_columns = 4, .column_types = (uint8_t *)(uintptr_t)types, .key_columns = (uint32_t *)(uintptr_t)all,
                              .n_keyspaces = 1, .keyspaces = (struct keyspace_plan *)(uintptr_t)&key};
    struct arena a;
    struct event_store s;
    struct keyspace k;
    struct key_columns c;
    arena_init(&a);
    event_store_init(&s, &a, 4, 1);
    make_rows();
    uint32_t id, slots[ROWS];
    CHECK(event_store_open(&s, &id) == STATUS_OK);
    const void *data[] = {numbers, floats, bools, text};
    for (uint32_t i = 0; i < 4; i++) {
        s.segments[id].columns[i] = (struct column){.data = data[i], .type = types[i]};
    }
    s.segments[id].columns[3].offsets = offsets;
    s.segments[id].n_rows = ROWS;
    CHECK(keyspace_init(&k, &a, &plan, 0) == STATUS_OK);
    CHECK(key_columns_init(&c, &a, &plan, &k) == STATUS_OK);
    for (uint32_t i = 0; i < ROWS; i++) {
        CHECK(keyspace_slot(&k, &s, (struct event_ref){id, i}, true, &slots[i]) == STATUS_OK);
    }
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ROWS; i++) {
            a.fail_after = random_below(4) == 0 ? 1 : 0;
            while (key_columns_append(&c, &k, slots[i]) != STATUS_OK) {
                CHECK(c.n_rows == i);
            }
            a.fail_after = 0;
        }
        for (uint32_t i = 0; i < ROWS; i++) {
            check_row(&c, i, i);
        }
        key_columns_clear(&c);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t other = random_below(ROWS);
        int wanted = 0;
        for (uint32_t part = 0; part < n_parts && wanted == 0; part++) {
            wanted = compare_part(types[first + part], i, other);
        }
        CHECK(sign(key_compare(&k, slots[i], slots[other])) == wanted);
        const uint64_t rank = key_rank(&k, slots[i]), rank_of_other = key_rank(&k, slots[other]);
        CHECK(wanted < 0 ? rank <= rank_of_other : wanted > 0 ? rank >= rank_of_other : rank == rank_of_other);
    }
    key_columns_free(&c);
    keyspace_free(&k);
    event_store_free(&s);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 60);
}
