# Aggregates: what operators with panes share. The kernels are aggregate.h and agg_log.h.

cdef extern from "aggregate.h" nogil:
    cdef enum:
        AGG_I64, AGG_F64, AGG_REF
    cdef struct agg_spec:
        uint32_t result
    cdef struct agg_plan:
        uint32_t n_specs
        uint32_t n_refs
        uint32_t state_size
        bint invertible
        agg_spec *specs
        uint32_t *refs
    cdef struct agg_columns:
        uint32_t n_rows
        void **values
        uint8_t **valid
        uint64_t overflows
    cdef struct agg_bytes:
        arena *arena
        uint8_t *bytes
        uint32_t n
        uint32_t capacity
    status agg_plan_load(agg_plan *p, arena *a, const uint8_t *data, size_t size, const uint8_t *types, uint32_t n, const char **reason)
    void agg_plan_free(agg_plan *p)
    void agg_columns_init(agg_columns *c, arena *a)
    void agg_columns_free(agg_columns *c)
    uint64_t agg_rows(const void *state)
    status agg_emit(const agg_plan *p, const void *state, agg_columns *out)
    status agg_export(const agg_plan *p, const void *state, agg_bytes *out)
    status agg_restore(const agg_plan *p, void *state, event_store *s, const uint8_t *data, size_t size, const event_ref *refs)

cdef extern from "agg_log.h" nogil:
    cdef struct agg_log_entry:
        uint32_t op
        uint32_t pane
        uint32_t a
        uint32_t b
    cdef struct agg_log:
        arena *arena
        agg_log_entry *entries
        uint32_t n
    void agg_log_free(agg_log *log)

_EVENT_REF_DTYPE = np.dtype([("segment", "u4"), ("row", "u4")])
_AGG_LOG_DTYPE = np.dtype([("op", "u4"), ("pane", "u4"), ("a", "u4"), ("b", "u4")])


cdef int load_aggregates(agg_plan *p, arena *a, const plan *rows, bytes tables) except -1:
    """agg_plan_load over the columns of a row plan; raises what is wrong."""
    cdef const char *reason = NULL
    cdef status st = agg_plan_load(p, a, <const uint8_t *> PyBytes_AS_STRING(tables), PyBytes_GET_SIZE(tables), rows.column_types,
                                   rows.n_columns, &reason)
    if st == STATUS_NO_MEMORY:
        raise MemoryError
    if st != STATUS_OK:
        raise StateError(f"plan: {reason.decode()}")
    return 0


cdef list take_results(agg_columns *out, const agg_plan *p):
    """The results so far, a pair (values, which are not null) a record; there are none afterwards."""
    cdef uint32_t i, n = out.n_rows
    cdef list taken = []
    for i in range(p.n_specs):
        kind = p.specs[i].result
        values = np.empty(n, np.int64 if kind == AGG_I64 else np.float64 if kind == AGG_F64 else _EVENT_REF_DTYPE)
        valid = np.empty(n, np.bool_)
        if n > 0:
            memcpy(<void *> address_of(values), out.values[i], n * 8)
            memcpy(<void *> address_of(valid.view(np.uint8)), out.valid[i], n)
        taken.append((values, valid))
    out.n_rows = 0
    return taken


cdef object take_log(agg_log *log):
    """The log so far, as an array of (op, pane, a, b); it is empty afterwards."""
    found = np.empty(log.n, _AGG_LOG_DTYPE)
    if log.n > 0:
        memcpy(<void *> address_of(found), log.entries, log.n * sizeof(agg_log_entry))
    log.n = 0
    return found
