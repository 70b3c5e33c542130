# Sliding windows: one kernel over a row store; src/fyke/operators/sliding.py makes batches of what it finds.

cdef extern from "sliding.h" nogil:
    cdef struct sliding_key:
        event_ref *rows
        uint32_t head, tail, n_front
    cdef struct slid:
        pass
    cdef struct sliding:
        keyspace keys
        sliding_key *by_key
        uint32_t by_key_capacity
        reorder reorder
        event_time_t watermark
        uint64_t n_rows, n_late, n_null_keys, n_held
        slid *results
        uint32_t n_results
        agg_columns columns
        uint32_t *late
        uint32_t n_late_rows
        uint32_t *null_keys
        uint32_t n_null_rows
    status sliding_init(sliding *s, arena *a, event_store *store, const plan *p, const agg_plan *aggs, agg_log *log, int64_t before)
    void sliding_free(sliding *s)
    status sliding_step(sliding *s, uint32_t segment, const uint64_t *origins, const uint64_t *mark_origins,
                        const event_time_t *mark_times, uint32_t n_marks)
    cdef enum slid_place:
        SLID_BEHIND, SLID_IN_FRONT, SLID_WAITING
    status sliding_restore(sliding *s, event_ref e, slid_place place)
    status sliding_restored(sliding *s)
    void sliding_each_event(sliding *s, event_visitor visit, void *context)
    const char *sliding_check(const sliding *s)

_SLID_DTYPE = np.dtype([("segment", "u4"), ("row", "u4"), ("time", "i8"), ("origin", "u8")])


cdef class SlidingFound:
    """What a step found.

    Attributes:
        rows: a record a result: (segment, row) of its row, time, origin.
        values: what the compiled aggregates gave, a pair (values, which are not null) a record.
        log: for the aggregates that Python keeps.
        segments: the Segments by number.
        late, null_keys: places among the rows that the step took.
    """

    cdef readonly object rows
    cdef readonly list values
    cdef readonly object log
    cdef readonly dict segments
    cdef readonly object late
    cdef readonly object null_keys


cdef void _each_of_sliding(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    sliding_each_event(<sliding *> holder, visit, context)


@cython.no_gc_clear  # to give rows back, the kernel needs their store to the end
cdef class SlidingCore:
    """The kernel of sliding windows (sliding.h) and its rows. Stops for good at a failure.

    Args:
        rows: the row store.
        before: how far back a window goes, ns.
        tables: the records of the compiled aggregates.
        logs: whether Python keeps aggregates, and needs a log.
    """

    cdef arena arena
    cdef agg_plan aggs
    cdef agg_log log
    cdef sliding kernel
    cdef RowStore rows
    cdef readonly str stopped

    def __cinit__(self, RowStore rows, int64_t before, bytes tables, bint logs):
        arena_init(&self.arena)
        self.rows = rows
        self.log.arena = &self.arena
        load_aggregates(&self.aggs, &self.arena, &rows.plan, tables)
        if sliding_init(&self.kernel, &self.arena, &rows.store, &rows.plan, &self.aggs, &self.log if logs else NULL, before):
            raise MemoryError

    def __dealloc__(self):
        sliding_free(&self.kernel)
        agg_log_free(&self.log)
        agg_plan_free(&self.aggs)
        arena_free_all(&self.arena)

    def step(self, Segment batch, const uint64_t[::1] origins, const uint64_t[::1] mark_origins, const int64_t[::1] mark_times):
        """Take rows with their origins, and the watermarks between; gives a SlidingFound."""
        cdef status st
        cdef uint32_t n_marks = <uint32_t> len(mark_times)
        if self.stopped is not None:
            raise FykeError(f"this window has stopped: {self.stopped}")
        if len(origins) != batch.n_rows or len(mark_origins) != len(mark_times):
            raise ValueError("arrays of different lengths")
        self.rows.take(batch)
        with nogil:
            st = sliding_step(&self.kernel, batch.id, &origins[0] if batch.n_rows else NULL, &mark_origins[0] if n_marks else NULL,
                              &mark_times[0] if n_marks else NULL, n_marks)
        if st != STATUS_OK:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        found = self._found()
        self.rows.unpin(batch)
        self.rows.settle(_each_of_sliding, &self.kernel, 0)
        return found

    cdef SlidingFound _found(self):
        cdef SlidingFound found = SlidingFound.__new__(SlidingFound)
        cdef sliding *s = &self.kernel
        found.rows = _array_of(s.results, s.n_results, _SLID_DTYPE)
        found.values = take_results(&s.columns, &self.aggs)
        found.log = take_log(&self.log)
        found.late = _array_of(s.late, s.n_late_rows, np.dtype(np.uint32))
        found.null_keys = _array_of(s.null_keys, s.n_null_rows, np.dtype(np.uint32))
        found.segments = dict(self.rows.segments)
        s.n_results = s.n_late_rows = s.n_null_rows = 0
        return found

    def stop(self, str reason):
        """Refuse every step from now on."""
        self.stopped = reason

    def compact(self):
        """Put together what is left of all segments."""
        self.rows.compact(_each_of_sliding, &self.kernel, 0)

    def held(self):
        """The rows that are in windows or wait, in no order: a record (segment, row, place) each, see enum slid_place."""
        cdef uint32_t slot, i
        cdef sliding_key *k
        cdef list found = []
        for slot in range(self.kernel.by_key_capacity):
            k = &self.kernel.by_key[slot]
            for i in range(k.head, k.tail):
                found.append((k.rows[i].segment, k.rows[i].row, SLID_IN_FRONT if i < k.head + k.n_front else SLID_BEHIND))
        for i in range(self.kernel.reorder.head, self.kernel.reorder.tail):
            found.append((self.kernel.reorder.items[i].event.segment, self.kernel.reorder.items[i].event.row, SLID_WAITING))
        return np.array(found, _HELD_DTYPE)

    def restore(self, int64_t watermark, Segment batch, const uint8_t[::1] places, tuple counters):
        """Fill a fresh kernel with the rows that held gave, by (time, arrival). Gives a SlidingFound with the log."""
        cdef event_ref e
        cdef uint32_t i
        cdef status st = STATUS_OK
        self.stopped = "its restore failed"
        self.kernel.watermark = watermark
        self.rows.take(batch)
        e.segment = batch.id
        for i in range(<uint32_t> batch.n_rows):
            e.row = i
            if st == STATUS_OK:
                st = sliding_restore(&self.kernel, e, <slid_place> places[i]) if places[i] <= SLID_WAITING else STATUS_BAD_SNAPSHOT
        if st == STATUS_OK:
            st = sliding_restored(&self.kernel)
        if st == STATUS_BAD_SNAPSHOT:
            raise StateError("a row has no key, is on the wrong side of the watermark, or out of order")
        if st != STATUS_OK:
            raise MemoryError
        self.kernel.n_rows, self.kernel.n_late, self.kernel.n_null_keys, self.kernel.columns.overflows = counters
        found = self._found()
        self.rows.unpin(batch)
        self.rows.settle(_each_of_sliding, &self.kernel, 0)
        reason = self.check()
        if reason is not None:
            raise StateError(f"the rows do not fit together: {reason}")
        self.stopped = None
        return found

    @property
    def watermark(self):
        """No more rows with a time <= this one."""
        return self.kernel.watermark

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"rows": self.kernel.n_rows, "late": self.kernel.n_late, "null_keys": self.kernel.n_null_keys,
                "overflows": self.kernel.columns.overflows, "waiting": reorder_size(&self.kernel.reorder),
                "held": self.kernel.n_held, "keys": self.kernel.keys.n_keys, "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = sliding_check(&self.kernel)
        return reason.decode() if reason != NULL else self.rows.check()

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation of the kernel from now fail (0: none)."""
        self.arena.fail_after = n
