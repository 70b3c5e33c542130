# The interval join: rows of one key whose times are so far apart (join_interval.h).

cdef extern from "join_interval.h" nogil:
    cdef struct buffered:
        event_ref event
        bint matched
    cdef struct row_buffer:
        buffered *items
        uint32_t head, tail
    cdef struct interval_key:
        row_buffer *sides
    cdef struct join_interval:
        keyspace keys
        interval_key *by_key
        uint32_t by_key_capacity
        event_time_t watermark
        uint64_t n_pairs, n_alone, n_late, n_null_keys
        join_results results
    status join_interval_init(join_interval *j, arena *a, const plan **plans, event_store **stores, int64_t lower, int64_t upper,
                              bint outer_left, bint outer_right)
    void join_interval_free(join_interval *j)
    status join_interval_step(join_interval *j, const arrivals *a)
    status join_interval_restore(join_interval *j, unsigned side, event_ref e, bint matched)
    void join_interval_each_event(join_interval *j, unsigned side, event_visitor visit, void *context)
    const char *join_interval_check(const join_interval *j)


cdef void _each_of_interval(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    join_interval_each_event(<join_interval *> holder, input, visit, context)


cdef class IntervalJoinCore(JoinCore):
    """The interval join's kernel.

    Args:
        left, right: the row stores of the sides.
        lower, upper: inclusive bounds of right time - left time, ns.
        outer_left, outer_right: whether a row of the side that finds no partner comes alone.
    """

    cdef join_interval join

    def __cinit__(self, RowStore left, RowStore right, int64_t lower, int64_t upper, bint outer_left, bint outer_right):
        cdef const plan *plans[2]
        cdef event_store *stores[2]
        self.start(left, right, plans, stores)
        self.results, self.kernel, self.each = &self.join.results, &self.join, _each_of_interval
        if join_interval_init(&self.join, &self.arena, plans, stores, lower, upper, outer_left, outer_right):
            raise MemoryError

    def __dealloc__(self):
        join_interval_free(&self.join)

    cdef status run(self, const arrivals *rows) noexcept nogil:
        return join_interval_step(&self.join, rows)

    def held(self, unsigned side):
        """The rows that a side holds, in no order: a record (segment, row, whether it has found a partner) each."""
        cdef uint32_t slot, i
        cdef row_buffer *b
        found = []
        for slot in range(self.join.by_key_capacity):
            b = &self.join.by_key[slot].sides[side]
            for i in range(b.head, b.tail):
                found.append((b.items[i].event.segment, b.items[i].event.row, b.items[i].matched))
        return np.array(found, _HELD_DTYPE)

    def restore(self, int64_t watermark, Segment left, Segment right, left_flags, right_flags, tuple counters):
        """Fill a fresh kernel with the rows that `held` gave, those of a side in the order of their arrival."""
        self.join.watermark = watermark
        self.left.take(left)
        self.right.take(right)
        self.restore_side(0, left, left_flags)
        self.restore_side(1, right, right_flags)
        self.join.n_pairs, self.join.n_alone, self.join.n_late, self.join.n_null_keys = counters
        self.settle(left, right)

    cdef int restore_side(self, unsigned side, Segment batch, flags) except -1:
        cdef event_ref e
        cdef Py_ssize_t i
        e.segment = batch.id
        for i in range(batch.n_rows):
            e.row = <uint32_t> i
            self.require(join_interval_restore(&self.join, side, e, flags[i]))
        return 0

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"pairs": self.join.n_pairs, "alone": self.join.n_alone, "late": self.join.n_late,
                "null_keys": self.join.n_null_keys, "keys": self.join.keys.n_keys, "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = join_interval_check(&self.join)
        return reason.decode() if reason != NULL else self.left.check() or self.right.check()
