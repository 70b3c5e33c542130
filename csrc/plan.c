#include "plan.h"

#include "bytes.h"

#include <string.h>

#define PLAN_MAGIC 0x34504b46U /* "FKP4" */
#define MAX_MASK_WORDS 4096U

/* ------------------------------------------------------------------ reading */

static void *items(struct plan *p, struct reader *r, uint32_t n, size_t size, const char **reason)
{
    if (r->failed || n == 0) {
        return NULL;
    }
    void *out = arena_alloc(p->arena, n * size);
    if (out == NULL) {
        *reason = "no memory";
        r->failed = true;
        r->at = r->end;
        return NULL;
    }
    memset(out, 0, n * size);
    return out;
}

static void read_programs(struct plan *p, struct reader *r, const char **reason)
{
    const uint32_t n = read_count(r, 8);
    p->programs = items(p, r, n, sizeof *p->programs, reason);
    p->n_programs = p->programs != NULL ? n : 0;
    for (uint32_t i = 0; i < p->n_programs; i++) {
        struct program *g = &p->programs[i];
        g->n_registers = read_u32(r);
        const uint32_t n_instructions = read_count(r, 12);
        g->instructions = items(p, r, n_instructions, sizeof *g->instructions, reason);
        g->n_instructions = g->instructions != NULL ? n_instructions : 0;
        for (uint32_t k = 0; k < g->n_instructions; k++) {
            read_raw(r, &g->instructions[k], 12);
        }
        if (g->n_registers > p->max_registers) {
            p->max_registers = g->n_registers;
        }
    }
}

/* Arrays of u32 fields are read field by field; the structs have no padding (asserted below). */
#define READ_ARRAY(count, array)                                                                                                \
    do {                                                                                                                        \
        const uint32_t n_ = read_count(r, sizeof *p->array);                                                                    \
        p->array = items(p, r, n_, sizeof *p->array, reason);                                                                   \
        p->count = p->array != NULL ? n_ : 0;                                                                                   \
        if (p->count > 0) {                                                                                                     \
            read_raw(r, p->array, n_ * sizeof *p->array);                                                                       \
        }                                                                                                                       \
    } while (0)

_Static_assert(sizeof(struct instruction) == 12, "instruction is 12 bytes");
_Static_assert(sizeof(struct constant) == 16, "constant is 16 bytes");
_Static_assert(sizeof(struct guard) == 12, "guard is 12 bytes");
_Static_assert(sizeof(struct edge) == 32, "edge is 32 bytes");
_Static_assert(sizeof(struct state) == 40, "state is 40 bytes");
_Static_assert(sizeof(struct pattern) == 80, "pattern is 80 bytes");

static void read_plan(struct plan *p, struct reader *r, const char **reason)
{
    if (read_u32(r) != PLAN_MAGIC) {
        *reason = "not a plan, or of another version";
        return;
    }
    p->mask_words = read_u32(r);
    p->row_program = read_u32(r);
    p->computed_program = read_u32(r);
    READ_ARRAY(n_columns, column_types);
    READ_ARRAY(n_constants, constants);
    READ_ARRAY(text_size, text);
    read_programs(p, r, reason);
    READ_ARRAY(n_conditions, conditions);
    READ_ARRAY(n_guard_steps, guard_steps);
    READ_ARRAY(n_guards, guards);
    READ_ARRAY(n_edges, edges);
    READ_ARRAY(n_states, states);
    READ_ARRAY(n_cares, cares);
    READ_ARRAY(n_updates, updates);
    READ_ARRAY(n_stages, stages);
    READ_ARRAY(n_key_columns, key_columns);
    READ_ARRAY(n_keyspaces, keyspaces);
    READ_ARRAY(n_patterns, patterns);
    READ_ARRAY(n_compacts, compacts);
    READ_ARRAY(n_compact_conditions, compact_conditions);
    READ_ARRAY(n_compact_states, compact_states);
    READ_ARRAY(n_compact_sets, compact_sets);
    READ_ARRAY(n_compact_cells, compact_cells);
    READ_ARRAY(n_compact_takes, compact_takes);
    if (r->failed && *reason == NULL) {
        *reason = "cut short";
    } else if (r->at != r->end && *reason == NULL) {
        *reason = "bytes left over";
    }
}

/* ------------------------------------------------------------------ validation */

static bool in_range(uint64_t first, uint64_t n, uint64_t limit)
{
    return first <= limit && n <= limit - first;
}

/* Static types of registers, so that no instruction reads a value as what it is not. 255: nothing yet. */
struct typing {
    const struct plan *plan;
    const struct program *program;
    const struct pattern *pattern; /* whose partial matches the program reads; NULL: a program over rows */
    uint32_t n_run_registers;
    bool is_condition;
    uint8_t *types;
    bool may_lag;
};

static bool reads(const struct typing *t, uint16_t reg, uint8_t type)
{
    return reg < t->program->n_registers && t->types[reg] == type;
}

static bool is_text(const struct plan *p, uint32_t constant)
{
    return constant < p->n_constants && in_range(p->constants[constant].offset, p->constants[constant].size, p->text_size);
}

static bool check_load(const struct typing *t, const struct instruction *op)
{
    if (op->imm >= t->plan->n_columns || t->plan->column_types[op->imm] != (op->flags & 3)) {
        return false;
    }
    return op->a == 0 || (op->a == 1 && t->may_lag) || (op->a == 2 && t->is_condition && op->b < t->n_run_registers && plan_register_is_node(t->plan, t->pattern, op->b));
}

static bool check_thresholds(const struct typing *t, const struct instruction *op)
{
    const struct plan *p = t->plan;
    const uint8_t type = op->op == OP_THRESHOLDS_I ? COLUMN_I64 : op->op == OP_THRESHOLDS_F ? COLUMN_F64 : COLUMN_STR;
    bool ok = !t->is_condition && reads(t, op->a, type) && op->b > 0 && in_range(op->imm, 2 * (uint64_t)op->b, p->n_constants) &&
              op->flags <= THRESHOLD_EQ && (type != COLUMN_STR || op->flags == THRESHOLD_EQ);
    for (uint32_t i = 0; ok && i < op->b; i++) {
        const int64_t bit = p->constants[op->imm + op->b + i].i64;
        ok = bit >= 0 && bit < (int64_t)p->mask_words * 64 && (type != COLUMN_STR || is_text(p, op->imm + i));
    }
    return ok;
}

static bool check_instruction(struct typing *t, const struct instruction *op)
{
    const struct plan *p = t->plan;
    uint8_t result = COLUMN_BOOL;
    bool ok = true;
    if (op->op == OP_LOAD) {
        ok = check_load(t, op);
        result = op->flags & 3;
    } else if (op->op == OP_CONST) {
        result = op->flags & 3;
        ok = op->imm < p->n_constants && (result != COLUMN_STR || is_text(p, op->imm));
    } else if (op->op <= OP_COUNT) {
        ok = t->is_condition && op->a < t->n_run_registers && op->b < t->n_run_registers && op->imm < t->n_run_registers;
        result = op->op == OP_AVG ? COLUMN_F64 : op->op == OP_COUNT ? COLUMN_I64 : op->flags & 3;
        ok = ok && result <= COLUMN_F64;
    } else if (op->op == OP_EMPTY) {
        result = op->flags & 3;
        ok = t->is_condition && result <= COLUMN_F64 && reads(t, op->a, result) && reads(t, op->b, result);
    } else if (op->op == OP_I2F) {
        ok = reads(t, op->a, COLUMN_I64);
        result = COLUMN_F64;
    } else if (op->op <= OP_MAX_I) {
        ok = reads(t, op->a, COLUMN_I64) && reads(t, op->b, COLUMN_I64);
        result = COLUMN_I64;
    } else if (op->op <= OP_RADIANS) {
        ok = reads(t, op->a, COLUMN_F64) && reads(t, op->b, COLUMN_F64);
        result = COLUMN_F64;
    } else if (op->op <= OP_LE_I) {
        ok = reads(t, op->a, COLUMN_I64) && reads(t, op->b, COLUMN_I64);
    } else if (op->op <= OP_LE_F) {
        ok = reads(t, op->a, COLUMN_F64) && reads(t, op->b, COLUMN_F64);
    } else if (op->op <= OP_LE_S) {
        ok = reads(t, op->a, COLUMN_STR) && reads(t, op->b, COLUMN_STR);
    } else if (op->op <= OP_OR) {
        ok = reads(t, op->a, COLUMN_BOOL) && reads(t, op->b, COLUMN_BOOL);
    } else if (op->op == OP_IS_NULL) {
        ok = op->a < t->program->n_registers && t->types[op->a] != 255;
    } else if (op->op <= OP_DEFINED) {
        ok = reads(t, op->a, COLUMN_BOOL);
    } else if (op->op <= OP_IN_S) {
        const uint8_t type = op->op == OP_IN_I ? COLUMN_I64 : op->op == OP_IN_F ? COLUMN_F64 : COLUMN_STR;
        ok = reads(t, op->a, type) && in_range(op->imm, op->b, p->n_constants);
        for (uint32_t i = 0; ok && type == COLUMN_STR && i < op->b; i++) {
            ok = is_text(p, op->imm + i);
        }
    } else if (op->op <= OP_CONTAINS) {
        ok = reads(t, op->a, COLUMN_STR) && is_text(p, op->imm);
    } else if (op->op == OP_BIT) {
        ok = !t->is_condition && reads(t, op->a, COLUMN_BOOL) && op->imm < (uint64_t)p->mask_words * 64;
        return ok;
    } else if (op->op == OP_RESULT) {
        return t->is_condition && reads(t, op->a, COLUMN_BOOL);
    } else if (op->op == OP_STORE) {
        return !t->is_condition && !t->may_lag && op->imm < p->n_columns && p->column_types[op->imm] != COLUMN_STR &&
               reads(t, op->a, p->column_types[op->imm]);
    } else if (op->op <= OP_THRESHOLDS_S) {
        return check_thresholds(t, op);
    } else {
        return false;
    }
    if (!ok || op->dst >= t->program->n_registers) {
        return false;
    }
    t->types[op->dst] = result;
    return true;
}

static bool check_program(const struct plan *p, uint32_t index, const struct pattern *pattern, bool may_lag)
{
    static const uint32_t most = 65535;
    if (index >= p->n_programs || p->programs[index].n_registers > most) {
        return false;
    }
    const struct program *g = &p->programs[index];
    uint8_t *types = arena_alloc(p->arena, (size_t)g->n_registers + 1);
    if (types == NULL) {
        return false;
    }
    memset(types, 255, (size_t)g->n_registers + 1);
    struct typing t = {p, g, pattern, pattern != NULL ? pattern->n_registers : 0, pattern != NULL, types, may_lag};
    bool ok = true;
    for (uint32_t i = 0; ok && i < g->n_instructions; i++) {
        ok = check_instruction(&t, &g->instructions[i]);
    }
    arena_free(p->arena, types, (size_t)g->n_registers + 1);
    return ok;
}

static const char *check_guards(const struct plan *p)
{
    const uint64_t bits = (uint64_t)p->mask_words * 64;
    for (uint32_t i = 0; i < p->n_guards; i++) {
        const struct guard *g = &p->guards[i];
        if (g->kind > GUARD_CODE || ((g->kind == GUARD_IF_BIT || g->kind == GUARD_UNLESS_BIT) && g->arg >= bits)) {
            return "a guard is out of range";
        }
        if (g->kind != GUARD_CODE) {
            continue;
        }
        if (!in_range(g->arg, g->n_steps, p->n_guard_steps)) {
            return "a guard's code is out of range";
        }
        for (uint32_t k = 0; k < g->n_steps; k++) {
            const struct guard_step *s = &p->guard_steps[g->arg + k];
            const bool jump = s->op == GUARD_JUMP_FALSE || s->op == GUARD_JUMP_TRUE;
            if (s->op > GUARD_FALSE || (s->op == GUARD_BIT && s->arg >= bits) ||
                (s->op == GUARD_CONDITION && s->arg >= p->n_conditions) || (jump && (s->arg <= k || s->arg > g->n_steps))) {
                return "a guard's step is out of range";
            }
        }
    }
    return NULL;
}

/* A guard of a pattern reads that pattern's conditions only. */
static bool guard_belongs(const struct plan *p, uint32_t guard, uint32_t pattern)
{
    const struct guard *g = &p->guards[guard];
    for (uint32_t k = 0; g->kind == GUARD_CODE && k < g->n_steps; k++) {
        const struct guard_step *s = &p->guard_steps[g->arg + k];
        if (s->op == GUARD_CONDITION && p->conditions[s->arg].pattern != pattern) {
            return false;
        }
    }
    return true;
}

bool plan_register_is_node(const struct plan *plan, const struct pattern *pattern, uint32_t slot)
{
    bool node = false;
    for (uint32_t i = 0; i < pattern->n_stages; i++) {
        const struct stage_updates *s = &plan->stages[pattern->first_stage + i];
        for (uint32_t k = 0; k < s->n; k++) {
            const struct update *u = &plan->updates[s->first + k];
            if (u->slot == slot) {
                if (u->kind != UPDATE_FIRST && u->kind != UPDATE_LAST) {
                    return false;
                }
                node = true;
            }
        }
    }
    return node;
}

static const char *check_pattern(const struct plan *p, const struct pattern *q)
{
    if (!in_range(q->first_state, q->n_states, p->n_states) || q->n_states == 0 ||
        !in_range(q->first_stage, q->n_stages, p->n_stages) || q->keyspace >= p->n_keyspaces || q->skip_kind > SKIP_TO_LAST ||
        (q->skip_kind >= SKIP_TO_FIRST && q->skip_stage >= q->n_stages) || q->window < 0 || q->n_registers > 4096 ||
        !in_range(q->first_care, p->mask_words, p->n_cares) || !in_range(q->first_start_care, p->mask_words, p->n_cares)) {
        return "a pattern is out of range";
    }
    if ((q->index_column == NO_INDEX) != (q->index_of == NO_INDEX) ||
        (q->index_column != NO_INDEX && (q->index_column >= p->n_columns || q->index_of >= p->n_columns || q->has_gaps ||
                                         p->column_types[q->index_column] != p->column_types[q->index_of]))) {
        return "the index of a pattern is out of range";
    }
    for (uint32_t i = 0; i < q->n_stages; i++) {
        const struct stage_updates *s = &p->stages[q->first_stage + i];
        if (!in_range(s->first, s->n, p->n_updates)) {
            return "a stage's updates are out of range";
        }
        for (uint32_t k = 0; k < s->n; k++) {
            const struct update *u = &p->updates[s->first + k];
            const bool valued = u->kind >= UPDATE_SUM_I;
            const bool counted = valued && u->kind != UPDATE_VALUES;
            const bool floats = u->kind == UPDATE_SUM_F || u->kind == UPDATE_MIN_F || u->kind == UPDATE_MAX_F;
            if (u->kind > UPDATE_VALUES || u->slot >= q->n_registers || (counted && u->count_slot >= q->n_registers) ||
                (valued && u->column >= p->n_columns) ||
                (counted && p->column_types[u->column] != (floats ? COLUMN_F64 : COLUMN_I64))) {
                return "an update is out of range";
            }
        }
    }
    for (uint32_t i = 0; i < q->n_states; i++) {
        const struct state *s = &p->states[q->first_state + i];
        if (s->kind > STATE_PENDING || s->gap < 0 || !in_range(s->first_edge, s->n_edges, p->n_edges) ||
            !in_range(s->first_care, p->mask_words, p->n_cares)) {
            return "a state is out of range";
        }
        for (uint32_t k = 0; k < s->n_edges; k++) {
            const struct edge *e = &p->edges[s->first_edge + k];
            if (e->action > EDGE_STOP || e->guard >= p->n_guards || e->final_guard >= p->n_guards || e->gap < 0 ||
                e->target < q->first_state || e->target - q->first_state >= q->n_states ||
                (e->action == EDGE_TAKE && e->stage >= q->n_stages) ||
                (s->kind == STATE_START && e->action == EDGE_IGNORE) ||
                !guard_belongs(p, e->guard, (uint32_t)(q - p->patterns)) ||
                !guard_belongs(p, e->final_guard, (uint32_t)(q - p->patterns))) {
                return "an edge is out of range";
            }
        }
    }
    return NULL;
}

static bool reads_bits_only(const struct plan *p, uint32_t guard)
{
    const struct guard *g = &p->guards[guard];
    for (uint32_t k = 0; g->kind == GUARD_CODE && k < g->n_steps; k++) {
        if (p->guard_steps[g->arg + k].op == GUARD_CONDITION) {
            return false;
        }
    }
    return true;
}

/* Whether the takes of a cell are in range, and at most one leads on: the first. */
static bool check_cell(const struct plan *p, const struct pattern *q, const struct compact_plan *c, const struct compact_cell *cell, bool starts)
{
    if (!in_range(cell->first_take, cell->n_takes, p->n_compact_takes)) {
        return false;
    }
    for (uint32_t i = 0; i < cell->n_takes; i++) {
        const struct compact_take *t = &p->compact_takes[cell->first_take + i];
        const bool final = t->target == COMPACT_FINAL;
        if (t->stage >= q->n_stages || (final && starts) || (!final && (i > 0 || t->target == 0 || t->target >= c->n_states))) {
            return false;
        }
    }
    return true;
}

/* Whether these are states of the pattern, of this kind. */
static bool are_waited_in(const struct plan *p, const struct pattern *q, uint64_t states, uint32_t kind)
{
    bool ok = states != 0 && (q->n_states == 64 || states >> q->n_states == 0);
    for (; ok && states != 0; states &= states - 1) {
        ok = p->states[q->first_state + (uint32_t)__builtin_ctzll(states)].kind == kind;
    }
    return ok;
}

static bool check_compact(const struct plan *p, const struct pattern *q)
{
    if (q->compact >= p->n_compacts || q->n_registers > 0 || q->has_gaps || q->skip_kind != SKIP_NONE || q->n_states > 64) {
        return false;
    }
    const struct compact_plan *c = &p->compacts[q->compact];
    if (c->n_conditions > COMPACT_CONDITIONS || c->n_states < 2 || c->n_states > COMPACT_STATES ||
        !in_range(c->first_condition, c->n_conditions, p->n_compact_conditions) ||
        !in_range(c->first_state, c->n_states, p->n_compact_states) ||
        !in_range(c->first_cell, c->n_states << c->n_conditions, p->n_compact_cells)) {
        return false;
    }
    for (uint32_t i = 0; i < c->n_conditions; i++) {
        const uint32_t guard = p->compact_conditions[c->first_condition + i];
        if (guard >= p->n_guards || !reads_bits_only(p, guard)) {
            return false;
        }
    }
    bool ok = true;
    for (uint32_t i = 0; i < c->n_states && ok; i++) {
        const struct compact_state *s = &p->compact_states[c->first_state + i];
        ok = in_range(s->first_set, s->n_sets, p->n_compact_sets) && s->n_sets > 0;
        for (uint32_t k = 0; ok && k < s->n_sets; k++) {
            ok = are_waited_in(p, q, p->compact_sets[s->first_set + k], i == 0 ? STATE_START : STATE_NORMAL);
        }
    }
    for (uint32_t i = 0; i < c->n_states << c->n_conditions && ok; i++) {
        ok = check_cell(p, q, c, &p->compact_cells[c->first_cell + i], i < 1U << c->n_conditions);
    }
    return ok;
}

static const char *check_strategy(const struct plan *p, const struct pattern *q)
{
    const char *reason = "a pattern is not what its strategy runs";
    if (q->strategy == STRATEGY_GENERAL) {
        return NULL;
    }
    if (q->strategy == STRATEGY_COMPACT) {
        return check_compact(p, q) ? NULL : reason;
    }
    if (q->strategy != STRATEGY_STRICT || q->n_states < 3 || q->n_states - 1 > STRICT_PLACES || q->n_registers > 0) {
        return reason;
    }
    for (uint32_t i = 0; i < q->n_states; i++) {
        const struct state *s = &p->states[q->first_state + i];
        const uint32_t kind = i == 0 ? STATE_START : i + 1 < q->n_states ? STATE_NORMAL : STATE_FINAL;
        if (s->kind != kind || s->n_edges != (kind != STATE_FINAL)) {
            return reason;
        }
        const struct edge *e = &p->edges[s->first_edge];
        if (kind != STATE_FINAL &&
            (e->action != EDGE_TAKE || e->target != q->first_state + i + 1 || e->gap_guarded || !reads_bits_only(p, e->guard) ||
             p->guards[e->final_guard].kind != GUARD_NEVER)) {
            return reason;
        }
    }
    return NULL;
}

static const char *check_plan(const struct plan *p)
{
    if (p->mask_words == 0 || p->mask_words > MAX_MASK_WORDS) {
        return "the number of mask words is out of range";
    }
    for (uint32_t i = 0; i < p->n_columns; i++) {
        if (p->column_types[i] > COLUMN_STR) {
            return "a column has an unknown type";
        }
    }
    for (uint32_t i = 0; i < p->n_keyspaces; i++) {
        if (!in_range(p->keyspaces[i].first_column, p->keyspaces[i].n_columns, p->n_key_columns)) {
            return "a keyspace is out of range";
        }
    }
    for (uint32_t i = 0; i < p->n_key_columns; i++) {
        if (p->key_columns[i] >= p->n_columns) {
            return "a key column is out of range";
        }
    }
    const char *reason = check_guards(p);
    for (uint32_t i = 0; i < p->n_patterns && reason == NULL; i++) {
        reason = check_pattern(p, &p->patterns[i]);
        reason = reason == NULL ? check_strategy(p, &p->patterns[i]) : reason;
    }
    if (reason != NULL) {
        return reason;
    }
    if ((p->row_program != NO_PROGRAM && !check_program(p, p->row_program, NULL, false)) ||
        (p->computed_program != NO_PROGRAM && !check_program(p, p->computed_program, NULL, false)) ) {
        return "a program is not well typed";
    }
    for (uint32_t i = 0; i < p->n_keyspaces; i++) {
        const struct keyspace_plan *k = &p->keyspaces[i];
        if (k->lag_program != NO_PROGRAM && (!k->needs_lag || !check_program(p, k->lag_program, NULL, true))) {
            return "a lag program is not well typed";
        }
    }
    for (uint32_t i = 0; i < p->n_conditions; i++) {
        const struct condition *c = &p->conditions[i];
        if (c->pattern >= p->n_patterns ||
            (c->program != NO_PROGRAM && !check_program(p, c->program, &p->patterns[c->pattern],
                                                        p->keyspaces[p->patterns[c->pattern].keyspace].needs_lag != 0))) {
            return "a condition is not well typed";
        }
    }
    return NULL;
}

enum status plan_load(struct plan *plan, struct arena *arena, const uint8_t *bytes, size_t size, const char **reason)
{
    memset(plan, 0, sizeof *plan);
    plan->arena = arena;
    *reason = NULL;
    struct reader r = {bytes, bytes + size, false};
    read_plan(plan, &r, reason);
    if (*reason == NULL) {
        *reason = check_plan(plan);
    }
    if (*reason != NULL) {
        plan_free(plan);
        return STATUS_BAD_PLAN;
    }
    return STATUS_OK;
}

void plan_free(struct plan *p)
{
    if (p->arena == NULL) {
        return;
    }
    for (uint32_t i = 0; i < p->n_programs; i++) {
        arena_free(p->arena, p->programs[i].instructions, p->programs[i].n_instructions * sizeof(struct instruction));
    }
#define FREE_ARRAY(count, array) arena_free(p->arena, p->array, p->count * sizeof *p->array)
    FREE_ARRAY(n_columns, column_types);
    FREE_ARRAY(n_constants, constants);
    FREE_ARRAY(text_size, text);
    FREE_ARRAY(n_programs, programs);
    FREE_ARRAY(n_conditions, conditions);
    FREE_ARRAY(n_guard_steps, guard_steps);
    FREE_ARRAY(n_guards, guards);
    FREE_ARRAY(n_edges, edges);
    FREE_ARRAY(n_states, states);
    FREE_ARRAY(n_cares, cares);
    FREE_ARRAY(n_updates, updates);
    FREE_ARRAY(n_stages, stages);
    FREE_ARRAY(n_key_columns, key_columns);
    FREE_ARRAY(n_keyspaces, keyspaces);
    FREE_ARRAY(n_patterns, patterns);
    FREE_ARRAY(n_compacts, compacts);
    FREE_ARRAY(n_compact_conditions, compact_conditions);
    FREE_ARRAY(n_compact_states, compact_states);
    FREE_ARRAY(n_compact_sets, compact_sets);
    FREE_ARRAY(n_compact_cells, compact_cells);
    FREE_ARRAY(n_compact_takes, compact_takes);
#undef FREE_ARRAY
    memset(p, 0, sizeof *p);
}
