# Windows: the kernel of the windowed operator (src/fyke/operators/windowed.py), over one row store.

cimport cython

cdef extern from "key_columns.h" nogil:
    cdef struct key_column:
        uint8_t type
        void *values
        char *text
        uint64_t text_size
    cdef struct key_columns:
        uint32_t n_parts
        uint32_t n_rows
        key_column *parts
    status key_columns_append(key_columns *c, const keyspace *k, uint32_t slot)
    void key_columns_clear(key_columns *c)

cdef extern from "windows.h" nogil:
    cdef enum:
        ASIDE_LATE, ASIDE_NO_WINDOW, ASIDE_NULL_KEY, ASIDE_NO_GAP
    cdef struct window:
        event_time_t start, end, fire
        uint32_t slot
        uint32_t next
        uint32_t revision
        uint8_t armed
        uint8_t in_use
    cdef struct aside:
        uint32_t row
        uint32_t why
    cdef struct window_result:
        pass
    cdef struct window_due:
        uint32_t window
    cdef struct window_key:
        uint32_t head
    cdef struct window_counters:
        uint64_t rows
        uint64_t *aside
        uint64_t results
        uint64_t opened
    cdef struct window_groups:
        uint32_t n_live
    cdef struct windows:
        agg_plan aggs
        keyspace keys
        event_time_t watermark
        agg_log log
        uint32_t n_records
        uint32_t n_open
        uint32_t n_slices
        window_key *key_states
        uint32_t n_idle
        window_due *due
        uint32_t n_due
        window_groups groups
        timers timers
        window_result *results
        uint32_t n_results
        key_columns result_keys
        agg_columns result_values
        aside *asides
        uint32_t n_asides
        window_counters counters
    status windows_init(windows *w, arena *a, const plan *p, event_store *s, const uint8_t *spec, size_t spec_size,
                        const uint8_t *aggs, size_t aggs_size, bint logged, const char **reason)
    void windows_free(windows *w)
    status windows_step(windows *w, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                        const event_time_t *mark_times, uint32_t n_marks)
    void windows_clear(windows *w)
    status windows_restore(windows *w, event_ref key, const window *record, const uint8_t *state, size_t size,
                           const event_ref *refs, uint32_t *id)
    status windows_in_order(windows *w)
    status windows_forget_whole(windows *w)
    uint64_t windows_count_sliced(const windows *w)
    void windows_trim_keys(windows *w)
    const char *windows_check(const windows *w)
    window *window_at(const windows *w, uint32_t id)
    void *window_state(window *p)

_WINDOW_RESULT = np.dtype(
    [("origin", "u8"), ("time", "i8"), ("start", "i8"), ("end", "i8"), ("revision", "u4"), ("final", "u4")]
)
_ASIDE = np.dtype([("row", "u4"), ("why", "u4")])
_WINDOW_RECORD = np.dtype(
    [("start", "i8"), ("end", "i8"), ("fire", "i8"), ("revision", "u4"), ("armed", "u1")], align=True
)

cdef struct told_window:  # as _WINDOW_RECORD
    event_time_t start, end, fire
    uint32_t revision
    uint8_t armed


cdef list _take_keys(key_columns *c):
    """Per part of the key: values, text, with offsets as values where there is text."""
    cdef list parts = []
    cdef uint32_t i
    cdef key_column *p
    for i in range(c.n_parts):
        p = &c.parts[i]
        if p.type == 3:
            offsets = _array_of(p.values, c.n_rows + 1 if c.n_rows else 0, _int64)
            parts.append((offsets, _array_of(p.text, p.text_size, np.dtype(np.uint8))))
        else:
            parts.append((_array_of(p.values, c.n_rows, (np.dtype(np.uint8) if p.type == 2 else _float64 if p.type == 1 else _int64)), None))
    key_columns_clear(c)
    return parts


cdef class WindowFound:
    """What a step found.

    Attributes:
        rows: a record a result: origin, time, start, end, revision, final.
        keys: per part of the key (values, None) or, of text, (offsets, bytes).
        values: per record of the aggregates, as take_results gives them.
        asides: rows that came into no window, and why (ASIDES).
        log: what happened to panes, for aggregates that live in Python.
        segments: Segments by number.
    """

    cdef readonly object rows
    cdef readonly list keys
    cdef readonly list values
    cdef readonly object asides
    cdef readonly object log
    cdef readonly dict segments

_float64 = np.dtype(np.float64)


cdef void _each_of_windows(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    cdef windows *w = <windows *> holder
    cdef uint32_t id, i
    cdef window *p
    if w.aggs.n_refs == 0:
        return
    for id in range(w.n_records):
        p = window_at(w, id)
        if p.in_use:
            for i in range(w.aggs.n_refs):
                visit(context, <event_ref *> (<char *> window_state(p) + w.aggs.refs[i]))


@cython.no_gc_clear  # to give rows back, the kernel needs their store to the end
cdef class WindowCore:
    """The kernel (windows.h) and the rows that it holds. Stops for good at a failure.

    Args:
        rows: the row store of the input.
        spec: the window, as window_spec.h has it.
        aggregates: as aggregate.h has them.
        logged: whether a step tells what happened to panes.
    """

    cdef arena arena
    cdef windows windows
    cdef RowStore rows
    cdef readonly str stopped

    def __cinit__(self, RowStore rows, bytes spec, bytes aggregates, bint logged):
        cdef const char *reason = NULL
        cdef status st
        self.rows = rows
        arena_init(&self.arena)
        st = windows_init(&self.windows, &self.arena, &rows.plan, &rows.store, <const uint8_t *> PyBytes_AS_STRING(spec),
                          PyBytes_GET_SIZE(spec), <const uint8_t *> PyBytes_AS_STRING(aggregates), PyBytes_GET_SIZE(aggregates),
                          logged, &reason)
        if st == STATUS_NO_MEMORY:
            raise MemoryError
        if st != STATUS_OK:
            raise StateError(f"window: {reason.decode()}")

    def __dealloc__(self):
        windows_free(&self.windows)
        arena_free_all(&self.arena)

    def step(self, Segment batch, origins, mark_origins, mark_times):
        """Take rows with their origins, and the watermarks between them."""
        cdef status st
        cdef const uint64_t *row_origins = <const uint64_t *> address_of(origins)
        cdef const uint64_t *at = <const uint64_t *> address_of(mark_origins)
        cdef const event_time_t *times = <const event_time_t *> address_of(mark_times)
        cdef uint32_t n_marks = <uint32_t> len(mark_times)
        if self.stopped is not None:
            raise FykeError(f"this window has stopped: {self.stopped}")
        self.stopped = "it was left in the middle of a step"
        self.rows.take(batch)
        with nogil:
            st = windows_step(&self.windows, batch.id, row_origins, at, times, n_marks)
        if st != STATUS_OK:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        found = self._take()
        self.rows.unpin(batch)
        self.rows.settle(_each_of_windows, &self.windows, 0)
        self.stopped = None
        return found

    cdef WindowFound _take(self):
        cdef WindowFound found = WindowFound.__new__(WindowFound)
        cdef windows *w = &self.windows
        found.rows = _array_of(w.results, w.n_results, _WINDOW_RESULT)
        found.keys = _take_keys(&w.result_keys)
        found.values = take_results(&w.result_values, &w.aggs)
        found.asides = _array_of(w.asides, w.n_asides, _ASIDE)
        found.log = take_log(&w.log)
        found.segments = dict(self.rows.segments)
        windows_clear(w)
        return found

    def stop(self, str why):
        """Refuse everything from now on: what Python keeps beside the kernel is lost."""
        self.stopped = why

    def numbers(self, RowStore keys, Segment key):
        """The numbers of all windows by (key, start, end); `key`: of those of the key of its only row, the latest start first."""
        cdef windows *w = &self.windows
        cdef uint32_t slot = 0, i, at
        cdef event_ref e
        if key is None:
            if windows_in_order(w):
                raise MemoryError
            return [w.due[i].window for i in range(w.n_due)]
        keys.take(key)
        e.segment, e.row = key.id, 0
        st = keyspace_slot_of(&w.keys, keys.plan.key_columns + keys.plan.keyspaces[0].first_column, &keys.store, e, False, &slot)
        keys.unpin(key)
        keys.sweep()
        if st:
            raise MemoryError
        found = []
        at = 0 if slot == NO_SLOT or slot == KEY_NULL else w.key_states[slot].head
        while at != 0:
            found.append(at - 1)
            at = window_at(w, at - 1).next
        return found

    def read(self, numbers):
        """What these windows hold now, as a step would tell it: (revisions, keys, values of the aggregates, Segments)."""
        cdef windows *w = &self.windows
        cdef uint64_t overflows = w.result_values.overflows
        cdef uint32_t id
        revisions = []
        try:
            for number in numbers:
                id = number
                revisions.append(window_at(w, id).revision)
                if key_columns_append(&w.result_keys, &w.keys, window_at(w, id).slot) or agg_emit(
                    &w.aggs, window_state(window_at(w, id)), &w.result_values
                ):
                    raise MemoryError
        finally:
            keys = _take_keys(&w.result_keys)
            values = take_results(&w.result_values, &w.aggs)
            w.result_values.overflows = overflows  # they have been counted when they were told
        return np.array(revisions, np.int64), keys, values, self.rows.segments

    def compact(self):
        """Put together what is left of all segments."""
        self.rows.compact(_each_of_windows, &self.windows, 0)

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        cdef windows *w = &self.windows
        cdef uint64_t sliced = windows_count_sliced(w)
        return {
            "rows": w.counters.rows, "late": w.counters.aside[<int> ASIDE_LATE], "no_window": w.counters.aside[<int> ASIDE_NO_WINDOW],
            "null_keys": w.counters.aside[<int> ASIDE_NULL_KEY], "no_gaps": w.counters.aside[<int> ASIDE_NO_GAP],
            "results": w.counters.results, "opened": w.counters.opened + sliced, "overflows": w.result_values.overflows,
            "windows": w.n_open - w.n_slices + sliced, "keys": w.keys.n_keys - w.n_idle, "groups": w.groups.n_live, "timers": w.timers.n, "dictionary": w.keys.n_keys,
            "bytes": self.arena.bytes_used,
        }

    @property
    def watermark(self):
        return self.windows.watermark

    @property
    def n_refs(self):
        """How many rows the aggregates of a window can hold."""
        return self.windows.aggs.n_refs

    @property
    def record(self):
        """The type of a window's record in export and restore."""
        return _WINDOW_RECORD

    # --------------------------------------------------------------- snapshot

    def export(self):
        """All windows by (key, start, end): records, keys (as in WindowFound), the aggregates' bytes, their events, their numbers.

        The bytes are (offsets, data), an offset more than there are windows.
        """
        cdef windows *w = &self.windows
        cdef agg_bytes out
        cdef uint32_t i, k
        cdef window *p
        cdef told_window *record
        cdef event_ref *ref
        cdef uint32_t *number
        cdef int64_t *offset
        cdef status st = STATUS_OK
        if windows_in_order(w):
            raise MemoryError
        records = np.zeros(w.n_due, _WINDOW_RECORD)
        refs = np.zeros((w.n_due, w.aggs.n_refs), _EVENT_REF_DTYPE)
        numbers = np.zeros(w.n_due, np.uint32)
        offsets = np.zeros(w.n_due + 1, np.int64)
        record = <told_window *> address_of(records)
        ref = <event_ref *> address_of(refs)
        number = <uint32_t *> address_of(numbers)
        offset = <int64_t *> address_of(offsets)
        memset(&out, 0, sizeof(out))
        out.arena = &self.arena
        try:
            with nogil:
                for i in range(w.n_due):
                    p = window_at(w, w.due[i].window)
                    record[i].start, record[i].end, record[i].fire = p.start, p.end, p.fire
                    record[i].revision, record[i].armed = p.revision, p.armed
                    number[i] = w.due[i].window
                    st = key_columns_append(&w.result_keys, &w.keys, p.slot)
                    if st == STATUS_OK:
                        st = agg_export(&w.aggs, window_state(p), &out)
                    if st != STATUS_OK:
                        break
                    offset[i + 1] = out.n
                    for k in range(w.aggs.n_refs):
                        ref[<size_t> i * w.aggs.n_refs + k] = (<event_ref *> (<char *> window_state(p) + w.aggs.refs[k]))[0]
            if st != STATUS_OK:
                raise MemoryError
            data = PyBytes_FromStringAndSize(<char *> out.bytes, out.n)
        finally:
            arena_free(&self.arena, out.bytes, out.capacity)
            keys = _take_keys(&w.result_keys)
            if windows_forget_whole(w):
                raise MemoryError
        return records, keys, (offsets, data), refs, numbers

    def restore(self, int64_t watermark, Segment keys, Segment events, records, tuple states, refs, tuple counters):
        """Fill a fresh kernel with what export gave; gives the numbers that the windows have now.

        Args:
            keys: a segment whose rows have the windows' keys, in computed columns too.
            states: the aggregates' bytes, (offsets, data); the offsets ascend and lie in the data.
            events: the rows that refs name by number (2**32 - 1: none).
        """
        cdef windows *w = &self.windows
        cdef Py_ssize_t i, k
        cdef window record
        cdef event_ref key
        cdef event_ref *names
        cdef uint32_t id = 0
        cdef status st = STATUS_OK
        cdef told_window *told = <told_window *> address_of(records)
        cdef uint32_t *number
        cdef Py_ssize_t n = len(records)
        cdef const uint8_t *data = <const uint8_t *> address_of(states[1])
        cdef const int64_t *offset = <const int64_t *> address_of(states[0])
        self.stopped = "its restore failed"
        w.watermark = watermark
        self.rows.open(keys)
        self.rows.take(events)
        here = np.zeros((max(1, len(records)), max(1, w.aggs.n_refs)), _EVENT_REF_DTYPE)
        if w.aggs.n_refs and len(records):
            here["segment"] = np.where(refs == 0xFFFFFFFF, 0xFFFFFFFF, events.id)
            here["row"] = np.where(refs == 0xFFFFFFFF, 0, refs)
        numbers = np.zeros(len(records), np.uint32)
        key.segment = keys.id
        memset(&record, 0, sizeof(record))
        number = <uint32_t *> address_of(numbers)
        names = <event_ref *> address_of(here)
        with nogil:
            for i in range(n):
                record.start, record.end, record.fire = told[i].start, told[i].end, told[i].fire
                record.revision, record.armed = told[i].revision, told[i].armed
                key.row = <uint32_t> i
                st = windows_restore(w, key, &record, data + offset[i], <size_t> (offset[i + 1] - offset[i]), names, &id)
                if st != STATUS_OK:
                    break
                number[i] = id
                names += w.aggs.n_refs
        if st == STATUS_BAD_SNAPSHOT:
            raise StateError(f"window {i} of the snapshot is damaged")
        if st != STATUS_OK:
            raise MemoryError
        (w.counters.rows, w.counters.aside[<int> ASIDE_LATE], w.counters.aside[<int> ASIDE_NO_WINDOW],
         w.counters.aside[<int> ASIDE_NULL_KEY], w.counters.aside[<int> ASIDE_NO_GAP], w.counters.results, w.counters.opened,
         w.result_values.overflows) = counters
        self.rows.unpin(keys)
        self.rows.unpin(events)
        self.rows.settle(_each_of_windows, w, 0)
        self.stopped = None
        return numbers

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = windows_check(&self.windows)
        return reason.decode() if reason != NULL else self.rows.check()

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation of the kernel from now fail (0: none)."""
        self.arena.fail_after = n
