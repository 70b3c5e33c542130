# Declarations of the C kernels, one block per header, in flow order.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

cdef extern from "base.h" nogil:
    ctypedef int64_t event_time_t
    event_time_t TIME_MIN
    event_time_t TIME_MAX
    cdef enum status:
        STATUS_OK, STATUS_NO_MEMORY, STATUS_BAD_PLAN, STATUS_BAD_SNAPSHOT, STATUS_TOO_MANY_PARTIALS, STATUS_TOO_MUCH_MEMORY
        STATUS_SKIP_NO_ELEMENT, STATUS_SKIP_FIRST_ELEMENT, STATUS_CALLBACK
    cdef struct failure:
        status status
        uint32_t pattern
        uint32_t stage
        uint64_t position
        int64_t time
        int64_t given
        int64_t limit

cdef extern from "arena.h" nogil:
    cdef struct arena:
        size_t bytes_used
        size_t bytes_held
        uint64_t fail_after
    void arena_init(arena *a)
    void arena_free_all(arena *a)
    void *arena_alloc(arena *a, size_t size)
    void arena_free(arena *a, void *p, size_t size)

cdef extern from "event_store.h" nogil:
    cdef enum:
        NO_SEGMENT
    cdef struct column:
        const void *data
        const void *offsets
        const uint8_t *valid
        int64_t valid_offset
        uint8_t type
        uint8_t wide
    cdef struct segment:
        column *columns
        const event_time_t *times
        const uint64_t *positions
        uint64_t *masks
        uint64_t live
        uint32_t n_rows
        uint32_t in_use
        uint32_t pinned
        uint32_t listed
    cdef struct event_ref:
        uint32_t segment
        uint32_t row
    ctypedef void (*event_visitor)(void *context, event_ref *e) noexcept nogil
    cdef struct event_store:
        segment *segments
        uint32_t n_segments
        uint32_t *dead
        uint32_t n_dead
        uint64_t live
    void event_store_init(event_store *s, arena *a, uint32_t n_columns, uint32_t mask_words)
    void event_store_free(event_store *s)
    status event_store_open(event_store *s, uint32_t *id)
    void event_store_close(event_store *s, uint32_t id)
    void event_retain_many(event_store *s, uint32_t segment, uint32_t n)
    void event_retain(event_store *s, uint32_t segment)
    void event_release(event_store *s, uint32_t segment)

cdef extern from "plan.h" nogil:
    cdef enum:
        NO_PROGRAM
        STRATEGY_STRICT
    cdef struct program:
        pass
    cdef struct pattern:
        uint32_t first_state
        uint32_t n_states
        uint32_t n_stages
        uint32_t keyspace
        uint32_t n_registers
        uint32_t strategy
    cdef struct plan_state "state":
        uint32_t kind
    cdef struct keyspace_plan:
        uint32_t first_column
        uint32_t needs_lag
    cdef struct plan:
        uint32_t n_columns
        uint8_t *column_types
        uint32_t mask_words
        program *programs
        uint32_t row_program
        uint32_t computed_program
        uint32_t max_registers
        uint32_t n_patterns
        pattern *patterns
        plan_state *states
        uint32_t *key_columns
        uint32_t n_keyspaces
        keyspace_plan *keyspaces
    status plan_load(plan *p, arena *a, const uint8_t *data, size_t size, const char **reason)
    void plan_free(plan *p)
    bint plan_register_is_node(const plan *p, const pattern *q, uint32_t slot)

cdef extern from "predicate.h" nogil:
    cdef enum:
        VM_BLOCK
    cdef struct vm:
        pass
    cdef struct vm_input:
        const event_store *store
        uint32_t segment
        uint32_t first_row
        const event_ref *refs
        const event_ref *prev_refs
    status vm_init(vm *v, arena *a, uint32_t n_registers)
    void vm_free(vm *v)
    void vm_run(vm *v, const plan *p, const program *g, const vm_input *i, uint32_t n, uint64_t *masks, uint32_t mask_words)

cdef extern from "reorder.h" nogil:
    cdef struct waiting:
        event_time_t time
        event_ref event
    cdef struct reorder:
        waiting *items
        uint32_t head
        uint32_t tail
    cdef struct watermark:
        int64_t out_of_order
        event_time_t highest
        event_time_t current
    void watermark_see(watermark *w, event_time_t t)
    void reorder_init(reorder *r, arena *a)
    void reorder_free(reorder *r)
    status reorder_add(reorder *r, waiting *rows, uint32_t n)
    uint32_t reorder_due(const reorder *r, event_time_t watermark)
    void reorder_consume(reorder *r, event_store *s, uint32_t n)
    uint32_t reorder_size(const reorder *r)

cdef extern from "keyspace.h" nogil:
    cdef enum:
        NO_SLOT
        KEY_NULL
    cdef struct key_slot:
        uint32_t users
        event_ref last
        event_time_t last_time
    cdef struct keyspace:
        uint32_t n_keys
        uint32_t n_slots
        uint32_t *table
        uint32_t table_size
        key_slot *slots
    status keyspace_slot(keyspace *k, const event_store *s, event_ref e, bint insert, uint32_t *slot)
    status keyspace_slot_of(keyspace *k, const uint32_t *columns, const event_store *s, event_ref e, bint insert, uint32_t *slot)

cdef extern from "match_graph.h" nogil:
    cdef struct node:
        uint64_t order
        event_ref event
        uint32_t parent
        uint32_t references
        uint32_t stage
        uint32_t length
    cdef struct match_graph:
        node *nodes
        uint32_t n_nodes
        uint32_t n_live
    uint32_t node_new(match_graph *g, event_ref event, uint64_t order, uint32_t stage, uint32_t parent)
    void node_retain(match_graph *g, uint32_t id)
    void node_release(match_graph *g, uint32_t id)

cdef extern from "timers.h" nogil:
    cdef struct timer:
        event_time_t deadline
        uint64_t birth
        uint32_t owner
    cdef struct timers:
        timer *heap
        uint32_t n

cdef extern from "results.h" nogil:
    cdef enum:
        RESULT_HELD
    cdef struct result:
        uint32_t pattern
        uint32_t kind
        uint32_t cause
        uint32_t n_events
        uint64_t first_event
        uint64_t repeat
        uint64_t cause_value
        event_time_t released
    cdef struct result_event:
        uint32_t stage
        event_ref event
    cdef struct results:
        result *rows
        uint32_t n_rows
        result_event *events
        uint32_t n_events

cdef extern from "strict.h" nogil:
    cdef struct strict_key:
        uint32_t bits
        uint8_t n_events
        uint64_t birth
    cdef struct strict_keys:
        uint32_t n_records
        uint32_t n_live
        uint64_t n_runs
    strict_key *strict_at(const strict_keys *s, uint32_t id)
    event_ref *strict_event(strict_key *k, uint32_t back)
    void strict_trim(strict_keys *s)
    uint64_t strict_references(const strict_keys *s)

cdef extern from "records.h" nogil:
    cdef struct records:
        uint32_t n_keyed
        uint32_t n_nodes
        uint32_t n_runs
        uint32_t n_matches
        uint32_t n_registers
        uint32_t n_lags
        uint32_t n_waiting
        uint32_t n_events
        uint32_t waiting_capacity
        event_ref *waiting
        event_ref *events
    cdef struct record_columns:
        int64_t *node_event
        int64_t *node_parent
        uint32_t *node_stage
        uint64_t *node_order
        int64_t *run_start_time
        uint64_t *run_start_order
        int64_t *run_previous_time
        int64_t *run_node
        uint32_t *run_state
        int64_t *match_start_time
        uint64_t *match_start_order
        int64_t *match_node
        uint32_t *keyed_pattern
        uint32_t *keyed_runs
        uint32_t *keyed_matches
        int64_t *keyed_last_time
        uint64_t *keyed_overdue_after
        uint64_t *keyed_birth
        uint32_t *keyed_nodes
        uint32_t *lag_keyspace
        int64_t *lag_event
        int64_t *lag_time
        int64_t *waiting
        uint64_t *registers
    void records_init(records *r, arena *a, const plan *p)
    void records_free(records *r)
    status records_arrange(records *r, const uint32_t *segment_rows, uint32_t n_segments, const record_columns *c)

cdef extern from "compact.h" nogil:
    cdef struct compact_event:
        event_ref event
    cdef struct compact_key:
        compact_event *events
        uint32_t first
        uint32_t end
    uint64_t compact_add(uint64_t x, uint64_t y)

cdef extern from "nfa.h" nogil:
    cdef enum:
        NO_POSITION
        SINGLE
    cdef struct run:
        event_time_t start_time
        uint64_t start_order
        event_time_t previous_time
        event_ref only
        uint32_t node
        uint32_t state
        uint64_t *registers
    cdef struct completed:
        uint64_t start_order
        event_time_t start_time
        uint32_t node
    cdef struct keyed:
        run *runs
        completed *held
        uint32_t n_runs
        uint32_t n_held
        uint32_t pattern
        uint32_t slot
        uint64_t birth
        uint64_t overdue_after
        event_time_t last_time
    cdef struct nfa_options:
        uint32_t timeouts
        uint32_t max_partials_policy
        uint32_t max_memory_policy
        uint32_t limited
        uint64_t limit
        uint64_t max_partials
        uint64_t max_memory
        int64_t key_ttl
    cdef struct nfa_counters:
        uint64_t rows_stepped
        uint64_t null_keys
        uint64_t matches
        uint64_t timeouts
        uint64_t pruned
        uint64_t stopped
        uint64_t dropped_partials
        uint64_t expired_keys
    ctypedef int (*python_condition)(void *context, uint32_t callable, event_ref event, uint32_t node) noexcept nogil
    cdef struct nfa:
        match_graph graph
        keyspace *keyspaces
        timers timers
        strict_keys strict
        timers strict_timers
        compact_key *compact_keys
        uint32_t n_compact_keys
        uint32_t n_compact_live
        timers compact_timers
        uint64_t found
        results results
        nfa_counters counters
        failure failure
        changes *changes
        python_condition callback
        void *callback_context
        keyed *keyed
        uint32_t n_keyed
        uint32_t n_keyed_live
        uint64_t n_runs
        uint64_t n_single
        uint64_t n_held
        uint64_t order
        event_time_t now
        uint64_t payload_bytes
    status nfa_init(nfa *n, arena *a, const plan *p, event_store *s, const nfa_options *options)
    void nfa_free(nfa *n)
    size_t run_size(const nfa *n, uint32_t pattern)
    run *run_at(run *runs, size_t size, uint32_t i)
    uint32_t run_node(nfa *n, run *r)
    bint nfa_cares(const nfa *n, const uint64_t *mask)
    status nfa_step_rows(nfa *n, const waiting *rows, uint32_t n_rows)
    status nfa_fire(nfa *n, event_time_t time)
    uint64_t nfa_compact_references(const nfa *n)
    uint64_t nfa_compact_partials(const nfa *n)
    status nfa_report_held(nfa *n)
    const char *nfa_check(const nfa *n)
    cdef struct nfa_tables:
        const int64_t *node_event
        const int64_t *node_parent
        const uint32_t *node_stage
        const uint64_t *node_order
        const int64_t *run_start_time
        const uint64_t *run_start_order
        const int64_t *run_previous_time
        const int64_t *run_node
        const uint32_t *run_state
        const int64_t *match_start_time
        const uint64_t *match_start_order
        const int64_t *match_node
        const uint32_t *keyed_pattern
        const uint32_t *keyed_runs
        const uint32_t *keyed_matches
        const int64_t *keyed_last_time
        const uint64_t *keyed_overdue_after
        const uint32_t *lag_keyspace
        const int64_t *lag_event
        const int64_t *lag_time
        const uint64_t *registers
        const event_ref *events
        uint32_t n_nodes
        uint32_t n_runs
        uint32_t n_matches
        uint32_t n_keyed
        uint32_t n_lags
        uint32_t n_events
        uint64_t n_registers
    cdef struct gone_lag:
        uint64_t position
        uint32_t keyspace
    cdef struct changes:
        bint tracking
        uint64_t *gone
        uint32_t n_gone
        gone_lag *gone_lags
        uint32_t n_gone_lags
        records *frozen
    status nfa_collect(const nfa *n, records *r)
    status nfa_freeze(nfa *n, records *r, bint track)
    status nfa_collect_some(nfa *n, uint64_t budget, uint8_t *complete)
    status nfa_collect_changes(nfa *n, records *r)
    void nfa_changes_taken(nfa *n)
    status nfa_restore(nfa *n, const nfa_tables *t, const char **reason)
