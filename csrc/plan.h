/* A plan: the flat tables that the compiler (src/fyke/compiler.py) writes and the engine runs; immutable once loaded.
 *
 * The bytes are validated once, by plan_load; after that every index in here is in range. docs/formats.md has the layout.
 */
#ifndef FYKE_PLAN_H
#define FYKE_PLAN_H

#include "arena.h"
#include "base.h"

/* X(name, number of operands, result type, operand type): types i f b s as in column_type, * any. */
enum vm_op {
    OP_LOAD = 0, /* dst type by flags&3; imm = column; a = source: 0 current, 1 previous, 2 node in run register b */
    OP_CONST,    /* dst type by flags&3; imm = constant */
    OP_AGG,      /* dst type by flags&3; a = run register of the value, b = of the count of values, imm = of the count of events */
    OP_AVG,      /* dst f64; a = sum register, b = count of values, imm = count of events; flags&1: the sum is an int64 */
    OP_COUNT,    /* dst i64; a = count of values, imm = count of events */
    OP_EMPTY,    /* dst, a, b same type (flags&3): b where a is undefined */
    OP_I2F,
    OP_ADD_I, OP_SUB_I, OP_MUL_I, OP_FLOORDIV_I, OP_MOD_I, OP_NEG_I, OP_ABS_I, OP_MIN_I, OP_MAX_I,
    OP_ADD_F, OP_SUB_F, OP_MUL_F, OP_DIV_F, OP_FLOORDIV_F, OP_MOD_F, OP_NEG_F, OP_ABS_F, OP_MIN_F, OP_MAX_F, OP_ATAN2,
    OP_SQRT, OP_SIN, OP_COS, OP_ASIN, OP_ACOS, OP_ATAN, OP_EXP, OP_LOG, OP_FLOOR, OP_CEIL, OP_RADIANS,
    OP_EQ_I, OP_NE_I, OP_LT_I, OP_LE_I,
    OP_EQ_F, OP_NE_F, OP_LT_F, OP_LE_F,
    OP_EQ_S, OP_NE_S, OP_LT_S, OP_LE_S,
    OP_EQ_B, OP_NE_B,
    OP_AND, OP_OR, OP_NOT, OP_IS_NULL,
    OP_DEFINED, /* bool: undefined becomes false */
    OP_IN_I, OP_IN_F, OP_IN_S,                /* imm = first constant, b = number of constants, sorted */
    OP_STARTS_WITH, OP_ENDS_WITH, OP_CONTAINS, /* imm = constant */
    OP_BIT,                                    /* a = bool register; imm = bit of the row's mask */
    OP_RESULT,                                 /* a = bool register: the program's answer */
    OP_STORE,                                  /* a = register: a computed column is read from it (imm = column) */
    /* imm = first of b constants, ascending, and then of the b bits that are set where the comparison with them holds;
     * flags = threshold_kind */
    OP_THRESHOLDS_I, OP_THRESHOLDS_F, OP_THRESHOLDS_S,
    OP_COUNT_OF_OPS
};

/* Of the value against each constant. */
enum threshold_kind { THRESHOLD_LT, THRESHOLD_LE, THRESHOLD_GT, THRESHOLD_GE, THRESHOLD_EQ };

struct instruction {
    uint8_t op;
    uint8_t flags;
    uint16_t dst;
    uint16_t a;
    uint16_t b;
    uint32_t imm;
};

struct program {
    uint32_t n_instructions;
    uint32_t n_registers;
    struct instruction *instructions;
};

struct constant {
    union {
        int64_t i64;
        double f64;
        uint64_t offset; /* strings: into plan.text */
    };
    uint64_t size;
};

/* A guard is short-circuit code on one accumulator. */
enum guard_op { GUARD_BIT, GUARD_CONDITION, GUARD_NOT, GUARD_JUMP_FALSE, GUARD_JUMP_TRUE, GUARD_TRUE, GUARD_FALSE };

struct guard_step {
    uint32_t op;
    uint32_t arg;
};

/* kind: how the guard is judged */
enum guard_kind { GUARD_ALWAYS, GUARD_NEVER, GUARD_IF_BIT, GUARD_UNLESS_BIT, GUARD_CODE };

struct guard {
    uint32_t kind;
    uint32_t arg; /* the bit, or the first step */
    uint32_t n_steps;
};

enum edge_action { EDGE_TAKE = 0, EDGE_IGNORE = 1, EDGE_STOP = 2 };

struct edge {
    uint32_t action;
    uint32_t target;
    uint32_t stage;      /* taking stage; NO_STAGE if none */
    uint32_t guard;
    uint32_t final_guard; /* take: the match is complete at once as well */
    uint32_t gap_guarded; /* the edge is open only while the wait is shorter than `gap` */
    int64_t gap;
};

enum state_kind { STATE_NORMAL = 0, STATE_START = 1, STATE_FINAL = 2, STATE_STOP = 3, STATE_PENDING = 4 };

struct state {
    uint32_t kind;
    uint32_t stage;
    int64_t gap; /* 0: none */
    uint32_t first_edge, n_edges;
    uint32_t quiet;      /* a row with none of the care bits set leaves a run in this state as it is */
    uint32_t first_care; /* care words, mask_words of them, in plan->cares */
    uint32_t reserved[2];
};

/* What a stage's event does to the run registers. */
enum update_kind { UPDATE_EVENTS, UPDATE_FIRST, UPDATE_LAST, UPDATE_SUM_I, UPDATE_SUM_F, UPDATE_MIN_I, UPDATE_MIN_F, UPDATE_MAX_I, UPDATE_MAX_F, UPDATE_VALUES };

struct update {
    uint32_t kind;
    uint32_t slot;
    uint32_t column;
    uint32_t count_slot; /* min, max: the values counted so far */
};

struct stage_updates {
    uint32_t first, n;
};

/* STRICT: each state has one edge, a take to the next state on mask bits alone. COMPACT: plan.compacts has another automaton for it. */
enum strategy { STRATEGY_GENERAL = 0, STRATEGY_STRICT = 1, STRATEGY_COMPACT = 2 };

#define STRICT_PLACES 32 /* the longest strict sequence, in events */

/* The automaton of a pattern whose partial matches are kept as a compact set: deterministic over classes of events, which are the
 * combinations of its conditions; the first state is the start. No event ends or moves a partial match that does not take it. */
#define COMPACT_CONDITIONS 6
#define COMPACT_STATES 32
#define COMPACT_FINAL UINT32_MAX /* a take's target: the match is complete */

struct compact_plan {
    uint32_t first_condition, n_conditions; /* into compact_conditions: guards on mask bits; the class has bit i if the i-th holds */
    uint32_t n_states;
    uint32_t first_state; /* into compact_states */
    uint32_t first_cell;  /* state * 2^n_conditions + class */
};

/* What an event of a class can be in a state: at most one take leads on, those that complete a match come after it, by stage. */
struct compact_cell {
    uint32_t first_take, n_takes;
};

struct compact_take {
    uint32_t stage;
    uint32_t target;
};

/* The sets of states of the pattern's own automaton that it stands for, a bit a state: runs of one partial match in all states of any
 * such set go on alike. Snapshots have runs in those of the first. */
struct compact_state {
    uint32_t first_set, n_sets; /* into compact_sets */
};

enum skip_kind { SKIP_NONE = 0, SKIP_TO_NEXT = 1, SKIP_PAST_LAST = 2, SKIP_TO_FIRST = 3, SKIP_TO_LAST = 4 };

/* A condition on the partial match of one pattern: a program, or a Python callable (program == NO_PROGRAM). */
struct condition {
    uint32_t program;
    uint32_t callable;
    uint32_t pattern;
};

#define NO_STAGE UINT32_MAX
#define NO_PROGRAM UINT32_MAX
#define NO_KEYSPACE UINT32_MAX
#define NO_INDEX UINT32_MAX

struct pattern {
    uint32_t first_state, n_states;
    uint32_t first_stage, n_stages; /* into stage_updates */
    uint32_t keyspace;
    uint32_t skip_kind, skip_stage, skip_throws;
    int64_t window; /* 0: none */
    uint32_t n_registers;
    uint32_t every_row;  /* every row of a key matters, whatever its mask */
    uint32_t first_care; /* else: rows with one of these bits */
    uint32_t first_start_care;
    uint32_t start_quiet;
    uint32_t has_gaps;
    uint32_t strategy;
    uint32_t compact; /* into plan.compacts, if that is the strategy */
    /* each condition asks that index_column of the event is index_of of the match's first event; NO_INDEX: no such two */
    uint32_t index_column, index_of;
};

struct keyspace_plan {
    uint32_t first_column, n_columns; /* into key_columns */
    uint32_t needs_lag;               /* a condition reads the key's previous event */
    uint32_t lag_program;             /* the row conditions that do; NO_PROGRAM if there are none */
};

struct plan {
    struct arena *arena;
    uint32_t n_columns;
    uint8_t *column_types;
    uint32_t mask_words;
    uint32_t n_constants;
    struct constant *constants;
    uint32_t text_size;
    char *text;
    uint32_t n_programs;
    struct program *programs;
    uint32_t row_program; /* NO_PROGRAM if there is none */
    uint32_t computed_program; /* stores computed key columns */
    uint32_t max_registers;
    uint32_t n_conditions;
    struct condition *conditions;
    uint32_t n_guard_steps;
    struct guard_step *guard_steps;
    uint32_t n_guards;
    struct guard *guards;
    uint32_t n_edges;
    struct edge *edges;
    uint32_t n_states;
    struct state *states;
    uint32_t n_cares;
    uint64_t *cares;
    uint32_t n_updates;
    struct update *updates;
    uint32_t n_stages;
    struct stage_updates *stages;
    uint32_t n_key_columns;
    uint32_t *key_columns;
    uint32_t n_keyspaces;
    struct keyspace_plan *keyspaces;
    uint32_t n_patterns;
    struct pattern *patterns;
    uint32_t n_compacts;
    struct compact_plan *compacts;
    uint32_t n_compact_conditions;
    uint32_t *compact_conditions;
    uint32_t n_compact_states;
    struct compact_state *compact_states;
    uint32_t n_compact_sets;
    uint64_t *compact_sets;
    uint32_t n_compact_cells;
    struct compact_cell *compact_cells;
    uint32_t n_compact_takes;
    struct compact_take *compact_takes;
};

/* Whether a run register of the pattern holds a node (UPDATE_FIRST, UPDATE_LAST) or a number. */
bool plan_register_is_node(const struct plan *plan, const struct pattern *pattern, uint32_t slot);

/* Loads and validates. On failure `reason` says what is wrong and the plan is empty. */
MUST_CHECK enum status plan_load(struct plan *plan, struct arena *arena, const uint8_t *bytes, size_t size, const char **reason);
void plan_free(struct plan *plan);

#endif
