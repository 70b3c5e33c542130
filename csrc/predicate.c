#include "predicate.h"

#include <math.h>
#include <string.h>

enum { PRESENT = 0, IS_NULL = 1, IS_UNDEFINED = 2 };

#define VALUE_BYTES 16 /* the widest value: a string view */

enum status vm_init(struct vm *vm, struct arena *arena, uint32_t n_registers)
{
    vm->arena = arena;
    vm->n_registers = 0;
    vm->registers = NULL;
    if (n_registers == 0) {
        return STATUS_OK;
    }
    vm->registers = arena_alloc(arena, n_registers * sizeof *vm->registers);
    if (vm->registers == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(vm->registers, 0, n_registers * sizeof *vm->registers);
    vm->n_registers = n_registers;
    for (uint32_t i = 0; i < n_registers; i++) {
        struct vm_register *r = &vm->registers[i];
        r->own_values = arena_alloc(arena, (size_t)VM_BLOCK * VALUE_BYTES);
        r->own_status = arena_alloc(arena, VM_BLOCK);
        if (r->own_values == NULL || r->own_status == NULL) {
            vm_free(vm);
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void vm_free(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->n_registers; i++) {
        arena_free(vm->arena, vm->registers[i].own_values, (size_t)VM_BLOCK * VALUE_BYTES);
        arena_free(vm->arena, vm->registers[i].own_status, VM_BLOCK);
    }
    arena_free(vm->arena, vm->registers, vm->n_registers * sizeof *vm->registers);
    vm->registers = NULL;
    vm->n_registers = 0;
}

/* ------------------------------------------------------------------ loads */

static bool load_status(struct vm_register *r, const struct column *c, uint32_t first_row, uint32_t n)
{
    if (c->valid == NULL) {
        r->status = NULL;
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        r->own_status[i] = column_is_null(c, first_row + i) ? IS_NULL : PRESENT;
    }
    r->status = r->own_status;
    return true;
}

static void load_consecutive(struct vm_register *r, const struct column *c, uint32_t first_row, uint32_t n)
{
    load_status(r, c, first_row, n);
    switch (c->type) {
    case COLUMN_I64:
        r->i64 = (const int64_t *)c->data + first_row;
        break;
    case COLUMN_F64:
        r->f64 = (const double *)c->data + first_row;
        break;
    case COLUMN_BOOL:
        r->b = (const uint8_t *)c->data + first_row;
        break;
    default: {
        struct str_view *out = r->own_values;
        for (uint32_t i = 0; i < n; i++) {
            out[i] = column_str(c, first_row + i);
        }
        r->str = out;
    }
    }
}

static void load_absent(struct vm_register *r, uint8_t type, uint32_t i)
{
    switch (type) {
    case COLUMN_I64:
        ((int64_t *)r->own_values)[i] = 0;
        break;
    case COLUMN_F64:
        ((double *)r->own_values)[i] = 0;
        break;
    case COLUMN_BOOL:
        ((uint8_t *)r->own_values)[i] = 0;
        break;
    default:
        ((struct str_view *)r->own_values)[i] = (struct str_view){"", 0};
    }
}

static void load_one(struct vm_register *r, const struct event_store *store, struct event_ref e, uint32_t column, uint32_t i)
{
    const struct column *c = &store->segments[e.segment].columns[column];
    r->own_status[i] = column_is_null(c, e.row) ? IS_NULL : PRESENT;
    switch (c->type) {
    case COLUMN_I64:
        ((int64_t *)r->own_values)[i] = ((const int64_t *)c->data)[e.row];
        break;
    case COLUMN_F64:
        ((double *)r->own_values)[i] = ((const double *)c->data)[e.row];
        break;
    case COLUMN_BOOL:
        ((uint8_t *)r->own_values)[i] = ((const uint8_t *)c->data)[e.row];
        break;
    default:
        ((struct str_view *)r->own_values)[i] = column_str(c, e.row);
    }
}

/* The commonest gathering, without a switch a row. */
static void gather_f64(struct vm_register *r, const struct event_store *store, const struct event_ref *refs, uint32_t column, uint32_t n)
{
    double *out = r->own_values;
    for (uint32_t i = 0; i < n; i++) {
        const bool none = refs[i].segment == NO_SEGMENT;
        const struct column *c = none ? NULL : &store->segments[refs[i].segment].columns[column];
        out[i] = none ? 0 : ((const double *)c->data)[refs[i].row];
        r->own_status[i] = none || column_is_null(c, refs[i].row) ? IS_NULL : PRESENT;
    }
    r->f64 = out;
    r->status = r->own_status;
}

static void load_gathered(struct vm_register *r, const struct vm_input *in, const struct event_ref *refs, uint8_t type,
                          uint32_t column, uint32_t n)
{
    if (type == COLUMN_F64) {
        gather_f64(r, in->store, refs, column, n);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (refs[i].segment == NO_SEGMENT) {
            load_absent(r, type, i);
            r->own_status[i] = IS_NULL;
        } else {
            load_one(r, in->store, refs[i], column, i);
        }
    }
    r->i64 = r->own_values;
    r->status = r->own_status;
}

static void load_lag(struct vm_register *r, uint32_t column, const struct vm_input *in)
{
    uint32_t i = 0;
    while (in->lags[i].column != column) {
        i++;
    }
    r->i64 = (const int64_t *)in->lags[i].values;
    r->status = in->lags[i].status;
}

static void load(struct vm_register *r, const struct instruction *op, const struct vm_input *in, uint32_t n)
{
    const uint8_t type = op->flags & 3;
    if (op->a == 1 && in->n_lags > 0) {
        load_lag(r, op->imm, in);
    } else if (op->a == 1) {
        load_gathered(r, in, in->prev_refs, type, op->imm, n);
    } else if (op->a == 2) {
        const struct event_ref *e = in->node_event(in->graph, in->run_registers[op->b]);
        if (e == NULL) {
            load_absent(r, type, 0);
            r->own_status[0] = IS_UNDEFINED;
        } else {
            load_one(r, in->store, *e, op->imm, 0);
        }
        r->i64 = r->own_values;
        r->status = r->own_status;
    } else if (in->refs != NULL) {
        load_gathered(r, in, in->refs, type, op->imm, n);
    } else {
        load_consecutive(r, &in->store->segments[in->segment].columns[op->imm], in->first_row, n);
    }
}

static void load_constant(struct vm_register *r, const struct instruction *op, const struct plan *plan, uint32_t n)
{
    const struct constant *c = &plan->constants[op->imm];
    r->status = NULL;
    r->i64 = r->own_values;
    switch (op->flags & 3) {
    case COLUMN_I64:
        for (uint32_t i = 0; i < n; i++) {
            ((int64_t *)r->own_values)[i] = c->i64;
        }
        break;
    case COLUMN_F64:
        for (uint32_t i = 0; i < n; i++) {
            ((double *)r->own_values)[i] = c->f64;
        }
        break;
    case COLUMN_BOOL:
        memset(r->own_values, (int)c->i64, n);
        break;
    default:
        for (uint32_t i = 0; i < n; i++) {
            ((struct str_view *)r->own_values)[i] = (struct str_view){plan->text + c->offset, c->size};
        }
    }
}

/* ------------------------------------------------------------------ aggregates of the partial match (n = 1) */

static void load_aggregate(struct vm_register *r, const struct instruction *op, const struct vm_input *in)
{
    const uint64_t *g = in->run_registers;
    const uint64_t n_events = g[op->imm];
    const int64_t n_values = (int64_t)g[op->op == OP_COUNT ? op->a : op->b];
    r->i64 = r->own_values;
    r->status = r->own_status;
    r->own_status[0] = n_events == 0 ? IS_UNDEFINED : PRESENT;
    if (op->op == OP_COUNT) {
        *(int64_t *)r->own_values = n_values;
        return;
    }
    if (n_values <= 0 && n_events != 0) {
        r->own_status[0] = IS_NULL; /* only nulls, or an integer sum that overflowed */
    }
    if (op->op == OP_AGG) {
        memcpy(r->own_values, &g[op->a], 8);
        return;
    }
    double sum;
    if (op->flags & 1) {
        sum = (double)(int64_t)g[op->a];
    } else {
        memcpy(&sum, &g[op->a], 8);
    }
    *(double *)r->own_values = n_values > 0 ? sum / (double)n_values : 0;
}

/* ------------------------------------------------------------------ status */

/* The status of a result of two operands: undefined over null over present. Returns false if all are present. */
static bool join_status(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint32_t n)
{
    if (a->status == NULL && b->status == NULL) {
        r->status = NULL;
        return false;
    }
    const uint8_t *x = a->status != NULL ? a->status : b->status;
    const uint8_t *y = b->status != NULL ? b->status : a->status;
    uint8_t *out = r->own_status;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t s = x[i] | y[i];
        out[i] = s & IS_UNDEFINED ? IS_UNDEFINED : s;
    }
    r->status = r->own_status;
    return true;
}

/* The same for a comparison, whose values stand in r: undefined makes it false. */
static void join_comparison(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint32_t n)
{
    if (!join_status(r, a, b, n)) {
        return;
    }
    uint8_t *out = r->own_values;
    uint8_t *status = r->own_status;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = status[i] == PRESENT ? out[i] : 0;
        status[i] &= IS_NULL;
    }
}

static void copy_status(struct vm_register *r, const struct vm_register *a, uint32_t n)
{
    r->status = NULL;
    if (a->status != NULL) {
        memcpy(r->own_status, a->status, n);
        r->status = r->own_status;
    }
}

static void set_null(struct vm_register *r, uint32_t i, uint32_t n)
{
    if (r->status == NULL) {
        memset(r->own_status, PRESENT, n);
        r->status = r->own_status;
    }
    if (r->own_status[i] == PRESENT) {
        r->own_status[i] = IS_NULL;
    }
}

/* ------------------------------------------------------------------ integers: what overflows or divides by zero is null */

static bool int_op(uint8_t op, int64_t x, int64_t y, int64_t *out)
{
    *out = 0;
    switch (op) {
    case OP_ADD_I:
        return !__builtin_add_overflow(x, y, out);
    case OP_SUB_I:
        return !__builtin_sub_overflow(x, y, out);
    case OP_MUL_I:
        return !__builtin_mul_overflow(x, y, out);
    case OP_NEG_I:
        return !__builtin_sub_overflow((int64_t)0, x, out);
    case OP_ABS_I:
        *out = x;
        return x >= 0 || !__builtin_sub_overflow((int64_t)0, x, out);
    case OP_MIN_I:
        *out = x < y ? x : y;
        return true;
    case OP_MAX_I:
        *out = x > y ? x : y;
        return true;
    default:
        break;
    }
    if (y == 0) {
        return false;
    }
    if (y == -1) { /* INT64_MIN / -1 traps */
        return op == OP_MOD_I || !__builtin_sub_overflow((int64_t)0, x, out);
    }
    const int64_t q = x / y;
    const int64_t rest = x % y;
    const bool below = rest != 0 && ((rest < 0) != (y < 0));
    *out = op == OP_FLOORDIV_I ? q - below : rest + (below ? y : 0);
    return true;
}

static void run_int(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint8_t op, uint32_t n)
{
    join_status(r, a, b, n);
    int64_t *out = r->own_values;
    for (uint32_t i = 0; i < n; i++) {
        if (UNLIKELY(!int_op(op, a->i64[i], b->i64[i], &out[i]))) {
            out[i] = 0;
            set_null(r, i, n);
        }
    }
    r->i64 = out;
}

/* ------------------------------------------------------------------ floats */

/* Floor division and remainder as Python has them: x == (x // y) * y + x % y up to rounding, the remainder has the sign of y. */
static double float_mod(double x, double y)
{
    double rest = fmod(x, y);
    if (rest == 0) {
        return copysign(0.0, y);
    }
    return (rest < 0) != (y < 0) ? rest + y : rest;
}

static double float_floordiv(double x, double y)
{
    const double rest = fmod(x, y);
    const double quotient = (x - rest) / y - (rest != 0 && (rest < 0) != (y < 0)); /* whole, up to rounding */
    if (quotient == 0) {
        return copysign(0.0, x / y);
    }
    const double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

#define EACH_F(expression)                                                                                                      \
    do {                                                                                                                        \
        double *out = r->own_values;                                                                                            \
        for (uint32_t i = 0; i < n; i++) {                                                                                      \
            const double x = a->f64[i];                                                                                         \
            out[i] = (expression);                                                                                              \
        }                                                                                                                       \
        r->f64 = out;                                                                                                           \
    } while (0)

#define EACH_FF(expression)                                                                                                     \
    do {                                                                                                                        \
        double *out = r->own_values;                                                                                            \
        for (uint32_t i = 0; i < n; i++) {                                                                                      \
            const double x = a->f64[i];                                                                                         \
            const double y = b->f64[i];                                                                                         \
            out[i] = (expression);                                                                                              \
        }                                                                                                                       \
        r->f64 = out;                                                                                                           \
    } while (0)

static void run_float(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint8_t op, uint32_t n)
{
    join_status(r, a, b, n);
    switch (op) {
    case OP_ADD_F: EACH_FF(x + y); break;
    case OP_SUB_F: EACH_FF(x - y); break;
    case OP_MUL_F: EACH_FF(x * y); break;
    case OP_DIV_F: EACH_FF(x / y); break;
    case OP_FLOORDIV_F: EACH_FF(float_floordiv(x, y)); break;
    case OP_MOD_F: EACH_FF(float_mod(x, y)); break;
    case OP_MIN_F: EACH_FF(y < x ? y : x); break;
    case OP_MAX_F: EACH_FF(y > x ? y : x); break;
    case OP_ATAN2: EACH_FF(atan2(x, y)); break;
    case OP_NEG_F: EACH_F(-x); break;
    case OP_ABS_F: EACH_F(fabs(x)); break;
    case OP_SQRT: EACH_F(sqrt(x)); break;
    case OP_SIN: EACH_F(sin(x)); break;
    case OP_COS: EACH_F(cos(x)); break;
    case OP_ASIN: EACH_F(asin(x)); break;
    case OP_ACOS: EACH_F(acos(x)); break;
    case OP_ATAN: EACH_F(atan(x)); break;
    case OP_EXP: EACH_F(exp(x)); break;
    case OP_LOG: EACH_F(log(x)); break;
    case OP_FLOOR: EACH_F(floor(x)); break;
    case OP_CEIL: EACH_F(ceil(x)); break;
    default: EACH_F(x * 0.017453292519943295); break; /* OP_RADIANS */
    }
    if (op == OP_DIV_F || op == OP_FLOORDIV_F || op == OP_MOD_F) {
        for (uint32_t i = 0; i < n; i++) {
            if (UNLIKELY(b->f64[i] == 0)) {
                ((double *)r->own_values)[i] = 0;
                set_null(r, i, n);
            }
        }
    }
}

/* ------------------------------------------------------------------ comparisons */

static bool equal_str(struct str_view x, struct str_view y)
{
    return x.size == y.size && (x.size == 0 || memcmp(x.data, y.data, x.size) == 0);
}

#define COMPARE(type, field, expression)                                                                                        \
    do {                                                                                                                        \
        uint8_t *out = r->own_values;                                                                                           \
        for (uint32_t i = 0; i < n; i++) {                                                                                      \
            const type x = a->field[i];                                                                                         \
            const type y = b->field[i];                                                                                         \
            out[i] = (uint8_t)(expression);                                                                                     \
        }                                                                                                                       \
        r->b = out;                                                                                                             \
    } while (0)

static void run_compare(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint8_t op, uint32_t n)
{
    switch (op) {
    case OP_EQ_I: COMPARE(int64_t, i64, x == y); break;
    case OP_NE_I: COMPARE(int64_t, i64, x != y); break;
    case OP_LT_I: COMPARE(int64_t, i64, x < y); break;
    case OP_LE_I: COMPARE(int64_t, i64, x <= y); break;
    case OP_EQ_F: COMPARE(double, f64, x == y); break;
    case OP_NE_F: COMPARE(double, f64, x != y); break;
    case OP_LT_F: COMPARE(double, f64, x < y); break;
    case OP_LE_F: COMPARE(double, f64, x <= y); break;
    case OP_EQ_B: COMPARE(uint8_t, b, x == y); break;
    case OP_NE_B: COMPARE(uint8_t, b, x != y); break;
    case OP_EQ_S: COMPARE(struct str_view, str, equal_str(x, y)); break;
    case OP_NE_S: COMPARE(struct str_view, str, !equal_str(x, y)); break;
    case OP_LT_S: COMPARE(struct str_view, str, str_compare(x, y) < 0); break;
    default: COMPARE(struct str_view, str, str_compare(x, y) <= 0); break; /* OP_LE_S */
    }
    join_comparison(r, a, b, n);
}

/* ------------------------------------------------------------------ logic */

static void run_logic(struct vm_register *r, const struct vm_register *a, const struct vm_register *b, uint8_t op, uint32_t n)
{
    uint8_t *out = r->own_values;
    if (a->status == NULL && b->status == NULL) {
        if (op == OP_AND) {
            for (uint32_t i = 0; i < n; i++) {
                out[i] = a->b[i] & b->b[i];
            }
        } else {
            for (uint32_t i = 0; i < n; i++) {
                out[i] = a->b[i] | b->b[i];
            }
        }
        r->b = out;
        r->status = NULL;
        return;
    }
    const uint8_t decides = op == OP_OR; /* true decides an or, false an and, whatever the other side */
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t x = a->b[i];
        const uint8_t y = b->b[i];
        const bool x_null = a->status != NULL && a->status[i] != PRESENT;
        const bool y_null = b->status != NULL && b->status[i] != PRESENT;
        const bool decided = (!x_null && x == decides) || (!y_null && y == decides);
        out[i] = decided ? decides : !decides;
        r->own_status[i] = !decided && (x_null || y_null) ? IS_NULL : PRESENT;
    }
    r->b = out;
    r->status = r->own_status;
}

/* ------------------------------------------------------------------ sets and strings */

static bool in_set(const struct plan *plan, const struct instruction *op, const struct vm_register *a, uint32_t i)
{
    uint32_t low = op->imm;
    uint32_t high = op->imm + op->b;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const struct constant *c = &plan->constants[mid];
        int order;
        if (op->op == OP_IN_I) {
            order = (a->i64[i] > c->i64) - (a->i64[i] < c->i64);
        } else if (op->op == OP_IN_F) {
            if (a->f64[i] != a->f64[i]) {
                return false;
            }
            order = (a->f64[i] > c->f64) - (a->f64[i] < c->f64);
        } else {
            order = str_compare(a->str[i], (struct str_view){plan->text + c->offset, c->size});
        }
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return false;
}

static bool contains(struct str_view text, struct str_view part)
{
    if (part.size == 0) {
        return true;
    }
    const char *p = text.data;
    uint64_t left = text.size;
    while (left >= part.size) {
        const char *hit = memchr(p, part.data[0], left - part.size + 1);
        if (hit == NULL) {
            return false;
        }
        if (memcmp(hit, part.data, part.size) == 0) {
            return true;
        }
        left -= (uint64_t)(hit + 1 - p);
        p = hit + 1;
    }
    return false;
}

static bool str_test(uint8_t op, struct str_view text, struct str_view part)
{
    if (op == OP_CONTAINS) {
        return contains(text, part);
    }
    if (text.size < part.size) {
        return false;
    }
    const char *from = op == OP_STARTS_WITH ? text.data : text.data + (text.size - part.size);
    return part.size == 0 || memcmp(from, part.data, part.size) == 0;
}

static void run_membership(struct vm_register *r, const struct vm_register *a, const struct plan *plan, const struct instruction *op,
                           uint32_t n)
{
    uint8_t *out = r->own_values;
    if (op->op == OP_IN_I || op->op == OP_IN_F || op->op == OP_IN_S) {
        for (uint32_t i = 0; i < n; i++) {
            out[i] = in_set(plan, op, a, i);
        }
    } else {
        const struct constant *c = &plan->constants[op->imm];
        const struct str_view part = {plan->text + c->offset, c->size};
        for (uint32_t i = 0; i < n; i++) {
            out[i] = str_test(op->op, a->str[i], part);
        }
    }
    r->b = out;
    join_comparison(r, a, a, n);
}

/* ------------------------------------------------------------------ the loop */

static void run_empty(struct vm_register *r, const struct vm_register *a, const struct vm_register *b)
{
    const struct vm_register *from = a->status != NULL && a->status[0] == IS_UNDEFINED ? b : a;
    memcpy(r->own_values, from->i64, 8);
    copy_status(r, from, 1);
    r->i64 = r->own_values;
}

static void emit_bit(const struct vm_register *a, uint32_t bit, uint32_t n, uint64_t *masks, uint32_t mask_words)
{
    uint64_t *word = masks + (bit >> 6);
    const unsigned shift = bit & 63;
    if (a->status == NULL) {
        for (uint32_t i = 0; i < n; i++) {
            word[(size_t)i * mask_words] |= (uint64_t)a->b[i] << shift;
        }
    } else {
        for (uint32_t i = 0; i < n; i++) {
            word[(size_t)i * mask_words] |= (uint64_t)(a->b[i] & (a->status[i] == PRESENT)) << shift;
        }
    }
}

static void store_column(const struct vm_register *a, const struct vm_input *in, uint32_t column, uint32_t n)
{
    struct column *c = &in->store->segments[in->segment].columns[column];
    const size_t width = c->type == COLUMN_BOOL ? 1 : 8;
    memcpy((char *)(uintptr_t)c->data + in->first_row * width, a->i64, n * width);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t bit = (uint64_t)c->valid_offset + in->first_row + i;
        if (a->status != NULL && a->status[i] != PRESENT) {
            ((uint8_t *)(uintptr_t)c->valid)[bit >> 3] &= (uint8_t)~(1U << (bit & 7));
        }
    }
}

static const struct vm_register *run(struct vm *vm, const struct plan *plan, const struct program *program,
                                     const struct vm_input *in, uint32_t n, uint64_t *masks, uint32_t mask_words)
{
    struct vm_register *registers = vm->registers;
    for (uint32_t k = 0; k < program->n_instructions; k++) {
        const struct instruction *op = &program->instructions[k];
        struct vm_register *r = &registers[op->dst];
        const struct vm_register *a = op->op > OP_COUNT ? &registers[op->a] : NULL;
        const struct vm_register *b = a;
        if ((op->op >= OP_ADD_I && op->op <= OP_OR) || op->op == OP_EMPTY) {
            b = &registers[op->b];
        }
        switch (op->op) {
        case OP_LOAD:
            load(r, op, in, n);
            break;
        case OP_CONST:
            load_constant(r, op, plan, n);
            break;
        case OP_AGG:
        case OP_AVG:
        case OP_COUNT:
            load_aggregate(r, op, in);
            break;
        case OP_EMPTY:
            run_empty(r, a, b);
            break;
        case OP_I2F: {
            double *out = r->own_values;
            for (uint32_t i = 0; i < n; i++) {
                out[i] = (double)a->i64[i];
            }
            copy_status(r, a, n);
            r->f64 = out;
            break;
        }
        case OP_NOT: {
            uint8_t *out = r->own_values;
            for (uint32_t i = 0; i < n; i++) {
                out[i] = a->b[i] ^ 1;
            }
            copy_status(r, a, n);
            r->b = out;
            break;
        }
        case OP_IS_NULL: {
            uint8_t *out = r->own_values;
            for (uint32_t i = 0; i < n; i++) {
                out[i] = a->status != NULL && a->status[i] != PRESENT;
            }
            r->status = NULL;
            r->b = out;
            break;
        }
        case OP_DEFINED:
            memcpy(r->own_values, a->b, n);
            r->b = r->own_values;
            join_comparison(r, a, a, n);
            break;
        case OP_IN_I:
        case OP_IN_F:
        case OP_IN_S:
        case OP_STARTS_WITH:
        case OP_ENDS_WITH:
        case OP_CONTAINS:
            run_membership(r, a, plan, op, n);
            break;
        case OP_AND:
        case OP_OR:
            run_logic(r, a, b, op->op, n);
            break;
        case OP_BIT:
            emit_bit(a, op->imm, n, masks, mask_words);
            break;
        case OP_THRESHOLDS_I:
        case OP_THRESHOLDS_F:
        case OP_THRESHOLDS_S:
            vm_thresholds(op, a, plan, n, masks, mask_words);
            break;
        case OP_STORE:
            store_column(a, in, op->imm, n);
            break;
        case OP_RESULT:
            return a;
        default:
            if (op->op >= OP_EQ_I) {
                run_compare(r, a, b, op->op, n);
            } else if (op->op >= OP_ADD_F) {
                run_float(r, a, b, op->op, n);
            } else {
                run_int(r, a, b, op->op, n);
            }
        }
    }
    return NULL;
}

void vm_run(struct vm *vm, const struct plan *plan, const struct program *program, const struct vm_input *input, uint32_t n,
            uint64_t *masks, uint32_t mask_words)
{
    ASSERT(n <= VM_BLOCK && program->n_registers <= vm->n_registers);
    run(vm, plan, program, input, n, masks, mask_words);
}

bool vm_holds(struct vm *vm, const struct plan *plan, const struct program *program, const struct vm_input *input)
{
    const struct vm_register *r = run(vm, plan, program, input, 1, NULL, 0);
    return r != NULL && r->b[0] != 0 && (r->status == NULL || r->status[0] == PRESENT);
}
