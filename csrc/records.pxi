# The state of an engine on its way to a snapshot and back: records (records.h) as arrays, tables as pointers.

_RECORD_COLUMNS = {
    "nodes": [("event", np.int64), ("parent", np.int64), ("stage", np.uint32), ("order", np.uint64)],
    "runs": [("start_time", np.int64), ("start_order", np.uint64), ("previous_time", np.int64), ("node", np.int64), ("state", np.uint32)],
    "held": [("start_time", np.int64), ("start_order", np.uint64), ("node", np.int64)],
    "keyed": [("pattern", np.uint32), ("n_runs", np.uint32), ("n_held", np.uint32), ("last_time", np.int64), ("overdue_after", np.uint64)],
    "lags": [("keyspace", np.uint32), ("event", np.int64), ("time", np.int64)],
    "waiting": [("event", np.int64)],
    "registers": [("value", np.uint64)],
}


cdef class Records:
    """What an engine held at one moment. The segments that it refers to are kept; the engine may go on meanwhile."""

    cdef arena arena
    cdef records records
    cdef readonly dict segments  # by their number in `events`
    cdef object rows             # of each of the store's segments
    cdef object owner            # the plan is its
    cdef readonly bint complete  # all is collected: nothing of the engine is needed any more

    def __cinit__(self):
        arena_init(&self.arena)

    def __dealloc__(self):
        records_free(&self.records)
        arena_free_all(&self.arena)

    def tables(self):
        """(columns by table and name, events as an array of segment and row, births and numbers of nodes of the keyed states).

        All is numbered in an order that the state determines.
        """
        cdef records *r = &self.records
        cdef record_columns c
        cdef status st
        if not self.complete:
            raise FykeError("the freeze is still being collected")
        cdef uint32_t n_segments = <uint32_t> len(self.rows)
        cdef const uint32_t *rows = <const uint32_t *> address_of(self.rows)
        sizes = {"nodes": r.n_nodes, "runs": r.n_runs, "held": r.n_matches, "keyed": r.n_keyed, "lags": r.n_lags,
                 "waiting": r.n_waiting, "registers": r.n_registers}
        found = {table: {name: np.empty(sizes[table], type_) for name, type_ in columns} for table, columns in _RECORD_COLUMNS.items()}
        births, n_nodes = np.empty(r.n_keyed, np.uint64), np.empty(r.n_keyed, np.uint32)
        nodes, runs, held, keyed, lags = (found[name] for name in ("nodes", "runs", "held", "keyed", "lags"))
        c.node_event = <int64_t *> address_of(nodes["event"])
        c.node_parent = <int64_t *> address_of(nodes["parent"])
        c.node_stage = <uint32_t *> address_of(nodes["stage"])
        c.node_order = <uint64_t *> address_of(nodes["order"])
        c.run_start_time = <int64_t *> address_of(runs["start_time"])
        c.run_start_order = <uint64_t *> address_of(runs["start_order"])
        c.run_previous_time = <int64_t *> address_of(runs["previous_time"])
        c.run_node = <int64_t *> address_of(runs["node"])
        c.run_state = <uint32_t *> address_of(runs["state"])
        c.match_start_time = <int64_t *> address_of(held["start_time"])
        c.match_start_order = <uint64_t *> address_of(held["start_order"])
        c.match_node = <int64_t *> address_of(held["node"])
        c.keyed_pattern = <uint32_t *> address_of(keyed["pattern"])
        c.keyed_runs = <uint32_t *> address_of(keyed["n_runs"])
        c.keyed_matches = <uint32_t *> address_of(keyed["n_held"])
        c.keyed_last_time = <int64_t *> address_of(keyed["last_time"])
        c.keyed_overdue_after = <uint64_t *> address_of(keyed["overdue_after"])
        c.keyed_birth = <uint64_t *> address_of(births)
        c.keyed_nodes = <uint32_t *> address_of(n_nodes)
        c.lag_keyspace = <uint32_t *> address_of(lags["keyspace"])
        c.lag_event = <int64_t *> address_of(lags["event"])
        c.lag_time = <int64_t *> address_of(lags["time"])
        c.waiting = <int64_t *> address_of(found["waiting"]["event"])
        c.registers = <uint64_t *> address_of(found["registers"]["value"])
        with nogil:
            st = records_arrange(r, rows, n_segments, &c)
        if st:
            raise MemoryError
        events = np.empty(r.n_events, _EVENT_REF_DTYPE)
        if r.n_events:
            memcpy(<void *> address_of(events), r.events, r.n_events * sizeof(event_ref))
        return found, events, (births, n_nodes)



cdef const void *_column_of(dict tables, str table, str name, list kept) except? NULL:
    """Where a column of a snapshot's table begins; it has been checked for its type and for nulls."""
    values = np.require(tables[table][name], requirements=["C", "A"])
    expected = next(type_ for each, type_ in _RECORD_COLUMNS[table] if each == name)
    if values.dtype != expected or values.ndim != 1 or len(values) >= 1 << 31 or len(values) != len(next(iter(tables[table].values()))):
        raise StateError(f"snapshot, section {table}: column {name} is of another type or length")
    kept.append(values)
    return <const void *> address_of(values)


cdef int _point_at(nfa_tables *t, dict tables, list kept) except -1:
    """Let the pointers show the columns of a snapshot; `kept` keeps them alive."""
    t.node_event = <const int64_t *> _column_of(tables, "nodes", "event", kept)
    t.node_parent = <const int64_t *> _column_of(tables, "nodes", "parent", kept)
    t.node_stage = <const uint32_t *> _column_of(tables, "nodes", "stage", kept)
    t.node_order = <const uint64_t *> _column_of(tables, "nodes", "order", kept)
    t.run_start_time = <const int64_t *> _column_of(tables, "runs", "start_time", kept)
    t.run_start_order = <const uint64_t *> _column_of(tables, "runs", "start_order", kept)
    t.run_previous_time = <const int64_t *> _column_of(tables, "runs", "previous_time", kept)
    t.run_node = <const int64_t *> _column_of(tables, "runs", "node", kept)
    t.run_state = <const uint32_t *> _column_of(tables, "runs", "state", kept)
    t.match_start_time = <const int64_t *> _column_of(tables, "held", "start_time", kept)
    t.match_start_order = <const uint64_t *> _column_of(tables, "held", "start_order", kept)
    t.match_node = <const int64_t *> _column_of(tables, "held", "node", kept)
    t.keyed_pattern = <const uint32_t *> _column_of(tables, "keyed", "pattern", kept)
    t.keyed_runs = <const uint32_t *> _column_of(tables, "keyed", "n_runs", kept)
    t.keyed_matches = <const uint32_t *> _column_of(tables, "keyed", "n_held", kept)
    t.keyed_last_time = <const int64_t *> _column_of(tables, "keyed", "last_time", kept)
    t.keyed_overdue_after = <const uint64_t *> _column_of(tables, "keyed", "overdue_after", kept)
    t.lag_keyspace = <const uint32_t *> _column_of(tables, "lags", "keyspace", kept)
    t.lag_event = <const int64_t *> _column_of(tables, "lags", "event", kept)
    t.lag_time = <const int64_t *> _column_of(tables, "lags", "time", kept)
    t.registers = <const uint64_t *> _column_of(tables, "registers", "value", kept)
    t.n_nodes = <uint32_t> len(tables["nodes"]["event"])
    t.n_runs = <uint32_t> len(tables["runs"]["start_time"])
    t.n_matches = <uint32_t> len(tables["held"]["start_time"])
    t.n_keyed = <uint32_t> len(tables["keyed"]["pattern"])
    t.n_lags = <uint32_t> len(tables["lags"]["event"])
    t.n_registers = len(tables["registers"]["value"])
    return 0
