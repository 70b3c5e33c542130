/* Aggregates over the rows of a window: what is kept, and how it takes rows in, merges and comes out.
 *
 *   specs (what was asked for)        sum(price)   mean(price)   max(price)   count()
 *                                         |    \   /    |            |          |
 *   parts (what is kept, each once)    total   values of price    greatest    rows
 *
 * A state is a block of plan->state_size bytes that lies in its owner's record (8-byte aligned): a copy of plan->initial, then
 * the parts one after the other. What does not fit (digits of a sum far apart, see exact.h) lies in the arena, so a state is
 * freed by agg_free; it can be moved by memcpy. Values that are not numbers are kept as event_refs, each of which holds its
 * event; plan->refs says where they lie in a state, for owners that compact segments or write snapshots.
 *
 * Nulls are no values: count(x) does not count them and nothing else sees them; arg_min(x, by) sees a row if neither is null.
 * Every result depends on the set of rows alone (time and position included), not on the order in which they were added or
 * merged: sums are exact until they are rounded once, least and greatest follow one total order (-0.0 before 0.0, NaN last).
 */
#ifndef FYKE_AGGREGATE_H
#define FYKE_AGGREGATE_H

#include "event_store.h"
#include "exact.h"

/* The numbers are those in src/fyke/aggplan.py. */
enum agg_kind {
    AGG_COUNT = 0,  /* rows, or values of `column` */
    AGG_SUM,
    AGG_MIN,
    AGG_MAX,
    AGG_MEAN,
    AGG_VAR,        /* parameter: ddof */
    AGG_STD,        /* parameter: ddof */
    AGG_FIRST,      /* by (event time, position) */
    AGG_LAST,
    AGG_ARG_MIN,    /* `column` where `by` is least; of several rows the first */
    AGG_ARG_MAX,
    AGG_COUNT_OF_KINDS
};

/* Eight bytes a result: int64 (a bool is 0 or 1), double, or an event_ref whose row has the value. */
enum agg_result { AGG_I64 = 0, AGG_F64 = 1, AGG_REF = 2 };

#define AGG_NO_COLUMN UINT32_MAX
#define AGG_MAX_SPECS 4096

struct agg_spec {
    uint32_t kind;
    uint32_t column;    /* AGG_NO_COLUMN: count of rows */
    uint32_t by;        /* arg_min, arg_max; else AGG_NO_COLUMN */
    uint32_t parameter;
    uint32_t result;    /* enum agg_result; set by agg_plan_load */
    uint32_t values;    /* offset of the part that counts the values (count of rows: the rows) */
    uint32_t main;      /* offset of the part that the result comes from */
    uint32_t square;    /* var, std: offset of the sum of squares */
    uint32_t type;      /* enum column_type of `column` */
};

struct agg_part {
    uint32_t op;
    uint32_t offset;
    uint32_t column;
    uint32_t by;
    uint32_t type;
    uint32_t by_type;
    uint32_t skip; /* of a part that counts values: how many parts follow that a row without a value leaves alone */
};

struct agg_plan {
    struct arena *arena; /* of the plan and of what its states spill */
    uint32_t n_specs;
    uint32_t n_parts;
    uint32_t n_refs;
    uint32_t state_size; /* a multiple of 8, at least 8: rows are always counted, as the uint64 at offset 0 */
    bool invertible;     /* agg_subtract may be called */
    struct agg_spec *specs;
    struct agg_part *parts;
    uint32_t *refs;      /* offsets of event_refs in a state; segment NO_SEGMENT: none */
    uint32_t *owners;    /* the parts that hold something outside of the state */
    uint32_t n_owners;
    uint8_t *initial;    /* the state of no rows */
};

/* Results, a row an agg_emit: what the owner hands out, and then sets n_rows = 0. An event_ref is not held: it is good until the
 * owner sweeps its dead segments. */
struct agg_columns {
    struct arena *arena;
    uint32_t n_columns;
    uint32_t n_rows;
    uint32_t capacity;
    void **values;   /* per spec: 8 bytes a row */
    uint8_t **valid; /* per spec: a byte a row, 0: null */
    uint64_t overflows; /* sums of integers beyond int64: null and counted */
};

/* Records of (u32 kind, column, by, parameter), after their number (u32); columns are those of the rows' plan, whose physical types
 * are given. On failure `reason` says what is wrong and the plan is empty. */
MUST_CHECK enum status agg_plan_load(struct agg_plan *plan, struct arena *arena, const uint8_t *bytes, size_t size,
                                     const uint8_t *column_types, uint32_t n_columns, const char **reason);
void agg_plan_free(struct agg_plan *plan);

/* The state of no rows. Cannot fail. */
void agg_init(const struct agg_plan *plan, void *state);
/* Gives back what the state holds; its bytes are then of no use until agg_init. */
void agg_free(const struct agg_plan *plan, void *state, struct event_store *s);
/* Takes a row in. STATUS_NO_MEMORY: the state is good for nothing but agg_free. O(parts). */
MUST_CHECK enum status agg_add(const struct agg_plan *plan, void *state, struct event_store *s, struct event_ref e);
/* A state and a row that it takes in. */
struct agg_target {
    void *state;
    uint32_t row;
};
#define AGG_BLOCK 128
/* Takes rows of one segment in, at most AGG_BLOCK, in this order. Failure as above, for any of the states. Cheaper than one by one. */
MUST_CHECK enum status agg_add_many(const struct agg_plan *plan, struct event_store *s, uint32_t segment, const struct agg_target *targets,
                                    uint32_t n);
/* Takes the rows of `from` in, which stays as it is. Failure as above. */
MUST_CHECK enum status agg_merge(const struct agg_plan *plan, void *into, const void *from, struct event_store *s);
/* Takes a row out that is in; only if plan->invertible. Failure as above. */
MUST_CHECK enum status agg_subtract(const struct agg_plan *plan, void *state, const struct event_store *s, struct event_ref e);

/* How many rows are in. */
static inline uint64_t agg_rows(const void *state)
{
    return *(const uint64_t *)state;
}

void agg_columns_init(struct agg_columns *out, struct arena *arena);
void agg_columns_free(struct agg_columns *out);
/* Appends the results; the state stays. STATUS_NO_MEMORY leaves `out` as it was. */
MUST_CHECK enum status agg_emit(const struct agg_plan *plan, const void *state, struct agg_columns *out);
/* The same for many states, in this order. */
MUST_CHECK enum status agg_emit_many(const struct agg_plan *plan, const void *const *states, uint32_t n, struct agg_columns *out);

/* Canonical bytes, equal for equal contents, without the event_refs (their owner writes plan->refs, in that order). They are appended to
 * *bytes, which grows in the arena. */
struct agg_bytes {
    struct arena *arena;
    uint8_t *bytes;
    uint32_t n;
    uint32_t capacity;
};
MUST_CHECK enum status agg_export(const struct agg_plan *plan, const void *state, struct agg_bytes *out);
/* Fills `state` (no agg_init before) from such bytes and the events of plan->refs, which it holds. STATUS_BAD_SNAPSHOT: the bytes are not what
 * agg_export writes, or a ref's column is null there; nothing is held then. */
MUST_CHECK enum status agg_restore(const struct agg_plan *plan, void *state, struct event_store *s, const uint8_t *bytes, size_t size,
                                   const struct event_ref *refs);

/* The invariants in words; NULL if they hold. */
const char *agg_check(const struct agg_plan *plan, const void *state, const struct event_store *s);

/* ---- what follows is for aggregate*.c ---- */

/* What a state keeps. The order of a group (the parts of one column) is: the count of its values, then what is made of them. */
enum part_op {
    PART_VALUES, /* uint64 */
    PART_SUM_I,  /* int128 as two words */
    PART_SUM_F,  /* struct exact of values */
    PART_SQUARES_I, /* struct exact of products */
    PART_SQUARES_F,
    PART_MIN,    /* int64: the key of the least */
    PART_MAX,
    PART_FIRST,  /* struct kept */
    PART_LAST,
    PART_ARG_MIN, /* struct kept_by */
    PART_ARG_MAX,
    PART_MIN_REF, /* struct event_ref */
    PART_MAX_REF,
    PART_FIRST_REF,
    PART_LAST_REF,
    PART_ARG_MIN_REF,
    PART_ARG_MAX_REF,
};

struct kept {
    event_time_t time;
    uint64_t position;
    int64_t value; /* its bits */
};

struct kept_by {
    int64_t key;
    struct kept kept;
};

struct total {
    uint64_t low;
    uint64_t high;
};

static inline bool part_is_ref(uint32_t op)
{
    return op >= PART_MIN_REF;
}

static inline bool part_is_exact(uint32_t op)
{
    return op >= PART_SUM_F && op <= PART_SQUARES_F;
}

#define KEY_NAN INT64_C(0x7ff8000000000000)
#define KEY_INFINITY INT64_C(0x7ff0000000000000)

/* Doubles in one total order as integers: -inf ... -0.0, 0.0 ... inf, NaN. */
static inline int64_t key_of_double(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits ^= (int64_t)((uint64_t)(bits >> 63) >> 1);
    return x != x ? KEY_NAN : bits;
}

static inline double double_of_key(int64_t key)
{
    key ^= (int64_t)((uint64_t)(key >> 63) >> 1);
    double x;
    memcpy(&x, &key, sizeof x);
    return x;
}

#endif
