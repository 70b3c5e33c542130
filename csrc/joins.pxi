# Operators of two inputs, each a kernel over two row stores; src/fyke/operators/ makes batches of what they find.

cdef extern from "arrivals.h" nogil:
    cdef enum:
        LEFT, RIGHT
    cdef struct arrivals:
        const uint8_t *inputs
        const uint32_t *rows
        const uint64_t *origins
        uint32_t n_rows
        const uint64_t *mark_origins
        const event_time_t *mark_times
        uint32_t n_marks
        uint32_t segments[2]
    cdef struct joined:
        pass
    cdef struct join_results:
        joined *rows
        uint32_t n_rows
        uint32_t *late
        uint32_t n_late
        uint32_t *null_keys
        uint32_t n_null_keys

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

_JOINED_DTYPE = np.dtype(
    [("left_segment", "u4"), ("left_row", "u4"), ("right_segment", "u4"), ("right_row", "u4"), ("time", "i8"), ("origin", "u8")]
)
_HELD_DTYPE = np.dtype([("segment", "u4"), ("row", "u4"), ("matched", "u1")])


cdef class JoinFound:
    """What a step of a join found.

    Attributes:
        rows: a record a row: (segment, row) of both sides (segment 2**32 - 1: none), time, origin.
        segments: of each side, the Segments by number.
        late, null_keys: places among the rows that the step took.
    """

    cdef readonly object rows
    cdef readonly tuple segments
    cdef readonly object late
    cdef readonly object null_keys


cdef object _array_of(const void *data, size_t n, object dtype):
    found = np.empty(n, dtype)
    if n > 0:
        memcpy(<void *> address_of(found), data, n * dtype.itemsize)
    return found


cdef JoinFound _take_found(join_results *r, RowStore left, RowStore right):
    cdef JoinFound found = JoinFound.__new__(JoinFound)
    found.rows = _array_of(r.rows, r.n_rows, _JOINED_DTYPE)
    found.late = _array_of(r.late, r.n_late, np.dtype(np.uint32))
    found.null_keys = _array_of(r.null_keys, r.n_null_keys, np.dtype(np.uint32))
    found.segments = (dict(left.segments), dict(right.segments))
    r.n_rows = r.n_late = r.n_null_keys = 0
    return found


cdef class Arrivals:
    """What a step takes: for each row its input (uint8), its place there (uint32) and its origin; watermarks likewise."""

    cdef arrivals view
    cdef tuple arrays

    def __init__(self, inputs, rows, origins, mark_origins, mark_times):
        self.arrays = (inputs, rows, origins, mark_origins, mark_times)
        for array, kind in zip(self.arrays, ("u1", "u4", "u8", "u8", "i8"), strict=True):
            if array.dtype != kind:
                raise TypeError(f"expected an array of {kind}, got {array.dtype}")
        if not len(inputs) == len(rows) == len(origins) or len(mark_origins) != len(mark_times):
            raise ValueError("arrays of different lengths")
        self.view.inputs = <const uint8_t *> address_of(inputs)
        self.view.rows = <const uint32_t *> address_of(rows)
        self.view.origins = <const uint64_t *> address_of(origins)
        self.view.n_rows = <uint32_t> len(inputs)
        self.view.mark_origins = <const uint64_t *> address_of(mark_origins)
        self.view.mark_times = <const event_time_t *> address_of(mark_times)
        self.view.n_marks = <uint32_t> len(mark_origins)


cdef void _each_of_interval(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    join_interval_each_event(<join_interval *> holder, input, visit, context)


cdef class IntervalJoinCore:
    """The interval join's kernel (join_interval.h) and its rows. Stops for good at a failure.

    Args:
        left, right: the row stores of the sides.
        lower, upper: inclusive bounds of right time - left time, ns.
        outer_left, outer_right: whether a row of the side that finds no partner comes alone.
    """

    cdef arena arena
    cdef join_interval join
    cdef RowStore left
    cdef RowStore right
    cdef readonly str stopped

    def __cinit__(self, RowStore left, RowStore right, int64_t lower, int64_t upper, bint outer_left, bint outer_right):
        cdef const plan *plans[2]
        cdef event_store *stores[2]
        self.left, self.right = left, right
        plans[0], plans[1] = &left.plan, &right.plan
        stores[0], stores[1] = &left.store, &right.store
        arena_init(&self.arena)
        if join_interval_init(&self.join, &self.arena, plans, stores, lower, upper, outer_left, outer_right):
            raise MemoryError

    def __dealloc__(self):
        join_interval_free(&self.join)
        arena_free_all(&self.arena)

    def step(self, Segment left, Segment right, Arrivals rows):
        """Take the rows of both sides (None: a side has none) in the order that `rows` says."""
        cdef status st
        if self.stopped is not None:
            raise FykeError(f"this join has stopped: {self.stopped}")
        if left is not None:
            self.left.take(left)
            rows.view.segments[0] = left.id
        if right is not None:
            self.right.take(right)
            rows.view.segments[1] = right.id
        with nogil:
            st = join_interval_step(&self.join, &rows.view)
        if st != STATUS_OK:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        found = _take_found(&self.join.results, self.left, self.right)
        self._settle(left, right)
        return found

    cdef int _settle(self, Segment left, Segment right) except -1:
        if left is not None:
            self.left.unpin(left)
        if right is not None:
            self.right.unpin(right)
        self.left.settle(_each_of_interval, &self.join, 0)
        self.right.settle(_each_of_interval, &self.join, 1)
        return 0

    def compact(self):
        """Put together what is left of all segments."""
        self.left.compact(_each_of_interval, &self.join, 0)
        self.right.compact(_each_of_interval, &self.join, 1)

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

    def restore(self, int64_t watermark, Segment left, Segment right, left_matched, right_matched, tuple counters):
        """Fill a fresh kernel with the rows that `held` gave, those of a side in the order of their arrival."""
        self.stopped = "its restore failed"
        self.join.watermark = watermark
        self.left.take(left)
        self.right.take(right)
        self._restore_side(0, left, left_matched)
        self._restore_side(1, right, right_matched)
        self.join.n_pairs, self.join.n_alone, self.join.n_late, self.join.n_null_keys = counters
        self._settle(left, right)
        self.stopped = None

    cdef int _restore_side(self, unsigned side, Segment batch, matched) except -1:
        cdef event_ref e
        cdef status st
        cdef Py_ssize_t i
        e.segment = batch.id
        for i in range(batch.n_rows):
            e.row = <uint32_t> i
            st = join_interval_restore(&self.join, side, e, matched[i])
            if st == STATUS_BAD_SNAPSHOT:
                raise StateError("a row that waits for partners has no key, or should have left")
            if st != STATUS_OK:
                raise MemoryError
        return 0

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"pairs": self.join.n_pairs, "alone": self.join.n_alone, "late": self.join.n_late,
                "null_keys": self.join.n_null_keys, "keys": self.join.keys.n_keys, "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = join_interval_check(&self.join)
        return reason.decode() if reason != NULL else self.left.check() or self.right.check()

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation of the kernel from now fail (0: none)."""
        self.arena.fail_after = n
