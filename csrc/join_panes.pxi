# The rows that windows hold for a join (join_panes.h).

cdef extern from "join_panes.h" nogil:
    cdef struct pane:
        event_ref **rows
        uint32_t *n
    cdef struct pane_pair:
        pass
    cdef struct pane_groups:
        pass
    cdef struct join_panes:
        pane *panes
        uint32_t panes_capacity
        uint64_t n_pairs, n_alone
        pane_pair *pairs
        uint32_t n_pairs_out
        pane_groups *groups
        uint32_t n_groups
        event_ref **members
        uint32_t *n_members
    void join_panes_init(join_panes *j, arena *a, event_store **stores, bint outer_left, bint outer_right, bint cogroup)
    void join_panes_free(join_panes *j)
    status join_panes_replay(join_panes *j, const agg_log_entry *log, uint32_t n, const arrivals *a)
    void join_panes_clear(join_panes *j)
    status join_panes_restore(join_panes *j, uint32_t pane, unsigned side, event_ref e)
    void join_panes_each_event(join_panes *j, unsigned side, event_visitor visit, void *context)
    const char *join_panes_check(const join_panes *j)

_PANE_PAIR = np.dtype(
    [("left_segment", "u4"), ("left_row", "u4"), ("right_segment", "u4"), ("right_row", "u4"), ("result", "u4")]
)
_PANE_GROUPS = np.dtype([("n_left", "u4"), ("n_right", "u4"), ("result", "u4")])
_PANE_ROW = np.dtype([("pane", "u4"), ("side", "u1"), ("segment", "u4"), ("row", "u4")])


cdef void _each_of_panes(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    join_panes_each_event(<join_panes *> holder, input, visit, context)


cdef class PanesFound:
    """What a step found.

    Attributes:
        pairs: a record a joined row: (segment, row) of both sides (segment 2**32 - 1: none), number of the window's result.
        groups: of a cogroup a record a result: how many rows of each side.
        members: of each side the (segment, row) of these rows, one group after the other.
        segments: of each side, the Segments by number.
    """

    cdef readonly object pairs
    cdef readonly object groups
    cdef readonly tuple members
    cdef readonly tuple segments


cdef class PanesCore:
    """The kernel and its rows. A step: begin, replay, finish. Stops for good at a failure.

    Args:
        left, right: the row stores of the sides.
        outer_left, outer_right: whether rows of the side come alone where a window has none of the other.
        cogroup: whether a result is both groups, not their pairs.
    """

    cdef arena arena
    cdef join_panes join
    cdef RowStore left
    cdef RowStore right
    cdef Arrivals rows
    cdef tuple batches
    cdef readonly str stopped

    def __cinit__(self, RowStore left, RowStore right, bint outer_left, bint outer_right, bint cogroup):
        cdef event_store *stores[2]
        stores[0], stores[1] = &left.store, &right.store
        self.left, self.right = left, right
        arena_init(&self.arena)
        join_panes_init(&self.join, &self.arena, stores, outer_left, outer_right, cogroup)

    def __dealloc__(self):
        join_panes_free(&self.join)
        arena_free_all(&self.arena)

    def begin(self, Segment left, Segment right, Arrivals rows):
        """Open the segments of a step (None: a side has no rows), and compute what their plans say."""
        if self.stopped is not None:
            raise FykeError(f"this join has stopped: {self.stopped}")
        self.stopped = "it was left in the middle of a step"
        self.rows, self.batches = rows, (left, right)
        if left is not None:
            self.left.take(left)
            rows.view.segments[0] = left.id
        if right is not None:
            self.right.take(right)
            rows.view.segments[1] = right.id

    def replay(self, log):
        """Do what the windows' log says; its rows are the places of the step's rows."""
        cdef const agg_log_entry *entries = <const agg_log_entry *> address_of(log)
        cdef uint32_t n = <uint32_t> len(log)
        cdef status st
        with nogil:
            st = join_panes_replay(&self.join, entries, n, &self.rows.view)
        if st != STATUS_OK:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)

    def finish(self):
        """Give what the step has found, and close what nothing holds."""
        cdef PanesFound found = PanesFound.__new__(PanesFound)
        cdef join_panes *j = &self.join
        found.pairs = _array_of(j.pairs, j.n_pairs_out, _PANE_PAIR)
        found.groups = _array_of(j.groups, j.n_groups, _PANE_GROUPS)
        found.members = (_array_of(j.members[0], j.n_members[0], _EVENT_REF_DTYPE),
                         _array_of(j.members[1], j.n_members[1], _EVENT_REF_DTYPE))
        found.segments = (dict(self.left.segments), dict(self.right.segments))
        join_panes_clear(j)
        left, right = self.batches
        self._settle(left, right)
        self.rows, self.batches, self.stopped = None, None, None
        return found

    cdef int _settle(self, Segment left, Segment right) except -1:
        if left is not None:
            self.left.unpin(left)
        if right is not None:
            self.right.unpin(right)
        self.left.settle(_each_of_panes, &self.join, 0)
        self.right.settle(_each_of_panes, &self.join, 1)
        return 0

    def held(self, panes):
        """The rows of these panes: a record (place in the list, side, segment, row) each, by place, side and arrival."""
        cdef uint32_t id, i, side
        cdef pane *p
        found = []
        for place, number in enumerate(panes):
            id = number
            if id < self.join.panes_capacity:
                p = &self.join.panes[id]
                for side in range(2):
                    for i in range(p.n[side]):
                        found.append((place, side, p.rows[side][i].segment, p.rows[side][i].row))
        return np.array(found, _PANE_ROW)

    def restore(self, Segment left, Segment right, panes, sides, rows, tuple counters):
        """Fill a fresh kernel: the rows of these segments, by place, go into panes, those of one in order of arrival."""
        cdef event_ref e
        cdef status st
        self.stopped = "its restore failed"
        self.left.take(left)
        self.right.take(right)
        for pane, side, row in zip(panes.tolist(), sides.tolist(), rows.tolist()):
            e.segment, e.row = (<Segment> (right if side else left)).id, row
            st = join_panes_restore(&self.join, pane, side, e)
            if st == STATUS_BAD_SNAPSHOT:
                raise StateError("the rows of a window are out of order, or there twice")
            if st != STATUS_OK:
                raise MemoryError
        self.join.n_pairs, self.join.n_alone = counters
        self._settle(left, right)
        self.stopped = None

    def compact(self):
        """Put together what is left of all segments."""
        self.left.compact(_each_of_panes, &self.join, 0)
        self.right.compact(_each_of_panes, &self.join, 1)

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"pairs": self.join.n_pairs, "alone": self.join.n_alone, "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = join_panes_check(&self.join)
        return reason.decode() if reason != NULL else self.left.check() or self.right.check()

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation of the kernel from now fail (0: none)."""
        self.arena.fail_after = n
