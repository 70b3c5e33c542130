# The latest row of each key: tables, their joins, and streams enriched by them (join_latest.h).

cdef extern from "join_latest.h" nogil:
    cdef enum:
        LATEST_ENRICH, LATEST_TABLE
    cdef struct latest_key:
        event_ref *sides
    cdef struct latest_options:
        uint32_t mode
        bint *outer
        bint befores
        uint32_t *bits
    cdef struct join_latest:
        keyspace keys
        const uint32_t **key_columns
        latest_key *by_key
        uint32_t by_key_capacity
        uint64_t n_matched, n_alone, n_null_keys, n_deletes, n_useless
        join_results results
        uint8_t *changes
    status join_latest_init(join_latest *j, arena *a, const plan **plans, event_store **stores, const latest_options *options)
    void join_latest_free(join_latest *j)
    status join_latest_step(join_latest *j, const arrivals *a)
    status join_latest_find(join_latest *j, const uint32_t *columns, const event_store *s, event_ref e, uint32_t *slot)
    status join_latest_restore(join_latest *j, unsigned side, event_ref e)
    void join_latest_each_event(join_latest *j, unsigned side, event_visitor visit, void *context)
    const char *join_latest_check(const join_latest *j)


cdef void _each_of_latest(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil:
    join_latest_each_event(<join_latest *> holder, input, visit, context)


cdef class LatestCore(JoinCore):
    """The kernel that keeps the latest row of each key.

    Args:
        left, right: the row stores of the sides.
        mode: 0 left rows are enriched, 1 both sides are tables.
        outer: of each side, whether its row needs none of the other.
        befores: whether rows that are replaced are said once more.
        bits: of each side, the conditions it has: 1 the first says what is a deletion, 2 the second what to ignore.
    """

    cdef join_latest join

    def __cinit__(self, RowStore left, RowStore right, uint32_t mode, tuple outer, bint befores, tuple bits):
        cdef const plan *plans[2]
        cdef event_store *stores[2]
        cdef latest_options options
        self.start(left, right, plans, stores)
        self.results, self.kernel, self.each = &self.join.results, &self.join, _each_of_latest
        options.mode, options.befores = mode, befores
        options.outer[0], options.outer[1] = <bint> outer[0], <bint> outer[1]
        options.bits[0], options.bits[1] = <uint32_t> bits[0], <uint32_t> bits[1]
        if join_latest_init(&self.join, &self.arena, plans, stores, &options):
            raise MemoryError

    def __dealloc__(self):
        join_latest_free(&self.join)

    cdef status run(self, const arrivals *rows) noexcept nogil:
        return join_latest_step(&self.join, rows)

    cdef int add(self, JoinFound found) except -1:
        found.changes = _array_of(self.join.changes, len(found.rows), np.dtype(np.uint8))
        return 0

    def held(self, unsigned side):
        """The rows that a side holds, in no order: a record (segment, row, 0) each."""
        cdef uint32_t slot
        cdef event_ref *e
        found = []
        for slot in range(self.join.by_key_capacity):
            e = &self.join.by_key[slot].sides[side]
            if e.segment != NO_SEGMENT:
                found.append((e.segment, e.row, 0))
        return np.array(found, _HELD_DTYPE)

    def all_keys(self):
        """The rows of both sides of every key, in no order: a record (left segment, row, right segment, row) each."""
        cdef uint32_t slot
        found = np.empty(self.join.keys.n_keys, _JOINED_DTYPE)
        cdef joined *out = <joined *> address_of(found)
        for slot in range(self.join.by_key_capacity):
            if self.join.by_key[slot].sides[0].segment != NO_SEGMENT or self.join.by_key[slot].sides[1].segment != NO_SEGMENT:
                memcpy(&out.sides, &self.join.by_key[slot], sizeof(latest_key))
                out += 1
        return found

    def of_key(self, RowStore keys, Segment key):
        """The same of one key, that of a segment of one row; None: there are no rows of it, or a part is null."""
        cdef uint32_t slot = 0
        cdef status st
        cdef event_ref e
        keys.take(key)
        e.segment, e.row = key.id, 0
        st = join_latest_find(&self.join, keys.plan.key_columns + keys.plan.keyspaces[0].first_column, &keys.store, e, &slot)
        keys.unpin(key)
        keys.sweep()
        if st != STATUS_OK:
            raise MemoryError
        if slot == NO_SLOT or slot == KEY_NULL:
            return None
        found = np.empty(1, _JOINED_DTYPE)
        memcpy(&(<joined *> address_of(found)).sides, &self.join.by_key[slot], sizeof(latest_key))
        return found

    def restore(self, int64_t watermark, Segment left, Segment right, left_flags, right_flags, tuple counters):
        """Fill a fresh kernel with the rows that `held` gave."""
        cdef event_ref e
        cdef Py_ssize_t i
        if left_flags.any() or right_flags.any():
            raise StateError("a row of a table has no flag")
        self.left.take(left)
        self.right.take(right)
        for side, batch in ((0, left), (1, right)):
            e.segment = (<Segment> batch).id
            for i in range(len(batch)):
                e.row = <uint32_t> i
                self.require(join_latest_restore(&self.join, side, e))
        (self.join.n_matched, self.join.n_alone, self.join.n_null_keys, self.join.n_deletes, self.join.n_useless) = counters
        self.settle(left, right)

    def counters(self):
        """What was counted since the start, and what is held now, by name."""
        return {"matched": self.join.n_matched, "alone": self.join.n_alone, "null_keys": self.join.n_null_keys,
                "deletes": self.join.n_deletes, "useless_deletes": self.join.n_useless, "keys": self.join.keys.n_keys,
                "bytes": self.arena.bytes_used}

    def check(self):
        """The broken invariant in words, or None."""
        cdef const char *reason = join_latest_check(&self.join)
        return reason.decode() if reason != NULL else self.left.check() or self.right.check()
