# The as-of join: each left row with the latest right row of its key (join_asof.h).

cdef extern from "join_asof.h" nogil:
    cdef struct join_asof:
        keyspace keys
        reorder *waiting
        event_time_t watermark
        uint64_t n_matched, n_alone, n_late, n_null_keys
        join_results results
    status join_asof_init(join_asof *j, arena *a, const plan **plans, event_store **stores, int64_t tolerance, bint outer, bint deletes)
    void join_asof_free(join_asof *j)
    status join_asof_step(join_asof *j, const arrivals *a)
    status join_asof_restore_waiting(join_asof *j, unsigned side, uint32_t segment, const uint32_t *rows, uint32_t n)
    status join_asof_restore_last(join_asof *j, event_ref e)
    void join_asof_each_event(join_asof *j, unsigned side, event_visitor visit, void *context)
    const char *join_asof_check(const join_asof *j)


cdef void _each_of_asof(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    join_asof_each_event(<join_asof *> holder, input, visit, context)


cdef class AsOfJoinCore(JoinCore):
    """The as-of join's kernel.

    Args:
        left, right: the row stores of the sides.
        tolerance: how far back at most, ns; 2**63 - 1: any time.
        outer: whether a left row without a right one comes alone.
        deletes: whether the right plan's first condition says which rows are deletions.
    """

    cdef join_asof join

    def __cinit__(self, RowStore left, RowStore right, int64_t tolerance, bint outer, bint deletes):
        cdef const plan *plans[2]
        cdef event_store *stores[2]
        self.start(left, right, plans, stores)
        self.results, self.kernel, self.each = &self.join.results, &self.join, _each_of_asof
        if join_asof_init(&self.join, &self.arena, plans, stores, tolerance, outer, deletes):
            raise MemoryError

    def __dealloc__(self):
        join_asof_free(&self.join)

    cdef status run(self, const arrivals *rows) noexcept nogil:
        return join_asof_step(&self.join, rows)

    def held(self, unsigned side):
        """The rows that a side holds, in no order: a record (segment, row, whether it is the last row of its key) each."""
        cdef uint32_t i
        cdef reorder *r = &self.join.waiting[side]
        cdef event_ref last
        found = [(r.items[i].event.segment, r.items[i].event.row, 0) for i in range(r.head, r.tail)]
        if side == 1:
            for i in range(self.join.keys.table_size):
                if self.join.keys.table[i] != 0:
                    last = self.join.keys.slots[self.join.keys.table[i] - 1].last
                    found.append((last.segment, last.row, 1))
        return np.array(found, _HELD_DTYPE)

    def restore(self, int64_t watermark, Segment left, Segment right, left_flags, right_flags, tuple counters):
        """Fill a fresh kernel with the rows that `held` gave, those of a side in the order of their arrival."""
        cdef event_ref e
        if left_flags.any():
            raise StateError("a left row is no last row of a key")
        self.join.watermark = watermark
        self.left.take(left)
        self.right.take(right)
        for side, batch, flags in ((0, left, left_flags), (1, right, right_flags)):
            rows = np.flatnonzero(flags == 0).astype(np.uint32)
            e.segment = (<Segment> batch).id
            self.require(join_asof_restore_waiting(&self.join, side, e.segment, <const uint32_t *> address_of(rows), len(rows)))
            for row in np.flatnonzero(flags):
                e.row = row
                self.require(join_asof_restore_last(&self.join, e))
        self.join.n_matched, self.join.n_alone, self.join.n_late, self.join.n_null_keys = counters
        self.settle(left, right)

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"matched": self.join.n_matched, "alone": self.join.n_alone, "late": self.join.n_late,
                "null_keys": self.join.n_null_keys, "keys": self.join.keys.n_keys, "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = join_asof_check(&self.join)
        return reason.decode() if reason != NULL else self.left.check() or self.right.check()
