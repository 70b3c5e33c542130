# What the operators of two inputs share, each a kernel over two row stores; src/fyke/operators/ makes batches of what they find.

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
        event_ref *sides
    cdef struct join_results:
        joined *rows
        uint32_t n_rows
        uint32_t *late
        uint32_t n_late
        uint32_t *null_keys
        uint32_t n_null_keys

_JOINED_DTYPE = np.dtype(
    [("left_segment", "u4"), ("left_row", "u4"), ("right_segment", "u4"), ("right_row", "u4"), ("time", "i8"), ("origin", "u8")]
)
_HELD_DTYPE = np.dtype([("segment", "u4"), ("row", "u4"), ("flag", "u1")])  # what the flag says is the join's own affair


cdef class JoinFound:
    """What a step of a join found.

    Attributes:
        rows: a record a row: (segment, row) of both sides (segment 2**32 - 1: none), time, origin.
        segments: of each side, the Segments by number.
        late, null_keys: places among the rows that the step took.
        changes: of tables, what each row is (enum latest_change); else None.
    """

    cdef readonly object rows
    cdef readonly tuple segments
    cdef readonly object late
    cdef readonly object null_keys
    cdef readonly object changes


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


cdef class JoinCore:
    """What the kernels of joins share: two row stores, and a step over their rows. Stops for good at a failure."""

    cdef arena arena
    cdef RowStore left
    cdef RowStore right
    cdef join_results *results  # of the kernel, as the next two
    cdef void *kernel
    cdef each_event each
    cdef readonly str stopped

    def __dealloc__(self):
        arena_free_all(&self.arena)

    cdef int start(self, RowStore left, RowStore right, const plan **plans, event_store **stores) except -1:
        arena_init(&self.arena)
        self.left, self.right = left, right
        plans[0], plans[1] = &left.plan, &right.plan
        stores[0], stores[1] = &left.store, &right.store
        return 0

    cdef status run(self, const arrivals *rows) noexcept nogil:
        """A step of the kernel."""
        return STATUS_OK

    cdef int add(self, JoinFound found) except -1:
        """What else a step of the kernel found."""
        return 0

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
            st = self.run(&rows.view)
        self.require(st)
        found = _take_found(self.results, self.left, self.right)
        self.add(found)
        self.settle(left, right)
        return found

    cdef int require(self, status st) except -1:
        if st == STATUS_BAD_SNAPSHOT:
            self.stopped = "its restore failed"
            raise StateError("the rows that a join holds do not fit: a key is null or there twice, or a row should have left")
        if st != STATUS_OK:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        return 0

    cdef int settle(self, Segment left, Segment right) except -1:
        if left is not None:
            self.left.unpin(left)
        if right is not None:
            self.right.unpin(right)
        self.left.settle(self.each, self.kernel, 0)
        self.right.settle(self.each, self.kernel, 1)
        return 0

    def compact(self):
        """Put together what is left of all segments."""
        self.left.compact(self.each, self.kernel, 0)
        self.right.compact(self.each, self.kernel, 1)

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation of the kernel from now fail (0: none)."""
        self.arena.fail_after = n
