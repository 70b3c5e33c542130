/* The expression VM: typed, three-valued, one program for a whole batch or for one row.
 *
 * A program is a list of instructions in static single assignment order. Each instruction runs over up to VM_BLOCK rows before
 * the next one starts, so dispatch costs nothing per row in a batch, and a row alone is a block of one.
 * A register holds a value and a status a row: 0 present, 1 null, 2 undefined (an aggregate over no events). Arithmetic passes
 * the status on; a comparison with null is null, one with undefined is false; and/or/not are Kleene's.
 * A column that is read from consecutive rows of one segment is not copied: the register borrows it.
 */
#ifndef FYKE_PREDICATE_H
#define FYKE_PREDICATE_H

#include "event_store.h"
#include "plan.h"

#define VM_BLOCK 512

struct vm_register {
    union {
        const int64_t *i64;
        const double *f64;
        const uint8_t *b;
        const struct str_view *str;
    };
    const uint8_t *status; /* NULL: all present */
    void *own_values;
    uint8_t *own_status;
};

/* A column of the event before of each row, where its values are at hand: status as in vm_register. */
struct vm_lag {
    uint32_t column;
    const uint64_t *values;
    const uint8_t *status;
};

/* Rows to evaluate over. Either consecutive rows of one segment (refs NULL) or any rows. */
struct vm_input {
    const struct event_store *store;
    uint32_t segment;
    uint32_t first_row;
    const struct event_ref *refs;
    const struct event_ref *prev_refs; /* lag: the event before of the same key; segment NO_SEGMENT: none */
    const struct vm_lag *lags;         /* if any: all columns that the program reads of it, instead of prev_refs */
    uint32_t n_lags;
    /* for conditions on a partial match (n = 1) */
    const uint64_t *run_registers;
    const struct event_ref *(*node_event)(const void *graph, uint64_t node);
    const void *graph;
};

struct vm {
    struct arena *arena;
    struct vm_register *registers;
    uint32_t n_registers;
};

/* Room for programs of up to n_registers registers. */
MUST_CHECK enum status vm_init(struct vm *vm, struct arena *arena, uint32_t n_registers);
void vm_free(struct vm *vm);

/* Runs a program over n <= VM_BLOCK rows. Bits are or-ed into masks (mask_words a row); masks may be NULL if the program emits none. */
void vm_run(struct vm *vm, const struct plan *plan, const struct program *program, const struct vm_input *input, uint32_t n,
            uint64_t *masks, uint32_t mask_words);

/* predicate_thresholds.c: one comparison of a value with each of many constants, a bit each. */
void vm_thresholds(const struct instruction *op, const struct vm_register *a, const struct plan *plan, uint32_t n, uint64_t *masks,
                   uint32_t mask_words);

/* Runs a program that ends in a condition for one row: true only if it is present and true. */
bool vm_holds(struct vm *vm, const struct plan *plan, const struct program *program, const struct vm_input *input);

#endif
