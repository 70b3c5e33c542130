# Rows that an operator holds beyond the batch they came in: their segments, and how little of many is put together.

ctypedef void (*each_event)(void *holder, uint32_t input, event_visitor visit, void *context) noexcept nogil

cdef struct moving:
    event_store *store
    int64_t *base   # where a segment's rows start among all rows of the group, or -1
    uint8_t *mark   # not NULL: only say which rows are held
    int64_t *place  # else: where a row stands in the new segment
    uint32_t to


cdef void _move_event(void *context, event_ref *e) noexcept nogil:
    cdef moving *m = <moving *> context
    if e.segment == NO_SEGMENT or m.base[e.segment] < 0:
        return
    cdef int64_t at = m.base[e.segment] + e.row
    if m.mark != NULL:
        m.mark[at] = 1
    else:
        event_retain(m.store, m.to)
        event_release(m.store, e.segment)
        e.segment = m.to
        e.row = <uint32_t> m.place[at]


cdef class RowStore:
    """The rows of one input that an operator holds.

    Args:
        tables: a RowPlan's bytes.
        payloads: kind(source), and gather(segments, rows) that makes one Segment of rows of several.
    """

    cdef arena arena
    cdef plan plan
    cdef event_store store
    cdef vm vm
    cdef readonly dict segments
    cdef object payloads
    cdef uint64_t held_rows
    cdef uint64_t payload_bytes
    cdef uint64_t rows_after_compaction
    cdef uint64_t segments_after_compaction
    cdef uint64_t compactions

    def __cinit__(self, bytes tables, payloads):
        cdef const char *reason = NULL
        arena_init(&self.arena)
        if plan_load(&self.plan, &self.arena, <const uint8_t *> PyBytes_AS_STRING(tables), PyBytes_GET_SIZE(tables), &reason):
            raise StateError(f"plan: {reason.decode()}")
        event_store_init(&self.store, &self.arena, self.plan.n_columns, self.plan.mask_words)
        if vm_init(&self.vm, &self.arena, self.plan.max_registers):
            raise MemoryError
        self.segments = {}
        self.payloads = payloads
        self.rows_after_compaction = 1 << 18
        self.segments_after_compaction = 64

    def __dealloc__(self):
        vm_free(&self.vm)
        event_store_free(&self.store)
        plan_free(&self.plan)
        arena_free_all(&self.arena)

    cdef int take(self, Segment batch) except -1:
        """Open a segment, pinned until unpin, and run the plan's programs over it."""
        self.open(batch)
        with nogil:
            run_row_programs(&self.vm, &self.plan, &self.store, batch.id)
        return 0

    cdef int open(self, Segment batch) except -1:
        open_segment(&self.store, &self.plan, batch)
        self.segments[batch.id] = batch
        self.held_rows += <uint64_t> batch.n_rows
        self.payload_bytes += batch.n_bytes
        return 0

    cdef int unpin(self, Segment batch) except -1:
        cdef segment *g = &self.store.segments[batch.id]
        g.pinned = 0
        if g.live == 0 and not g.listed:
            g.listed = 1
            self.store.dead[self.store.n_dead] = batch.id
            self.store.n_dead += 1
        return 0

    cdef int sweep(self) except -1:
        """Close the segments that nothing refers to any more."""
        cdef uint32_t i, id
        cdef Segment batch
        for i in range(self.store.n_dead):
            id = self.store.dead[i]
            self.store.segments[id].listed = 0
            if self.store.segments[id].live == 0 and not self.store.segments[id].pinned:
                batch = self.segments.pop(id)
                self.held_rows -= <uint64_t> batch.n_rows
                self.payload_bytes -= batch.n_bytes
                event_store_close(&self.store, id)
        self.store.n_dead = 0
        return 0

    cdef int settle(self, each_event each, void *holder, uint32_t input) except -1:
        """After a step: close what is dead, and put together what is sparse or small if there is much of it."""
        if self.store.n_dead:
            self.sweep()
        if (self.held_rows > 2 * self.rows_after_compaction and self.held_rows > 4 * self.store.live) or (
            <uint64_t> len(self.segments) > 2 * self.segments_after_compaction
            and <uint64_t> len(self.segments) > 4 + self.store.live // 1024
        ):
            self.compact(each, holder, input)
        return 0

    cdef int compact(self, each_event each, void *holder, uint32_t input) except -1:
        """Gather the held rows of sparse or small segments into as few as there are kinds of payload."""
        cdef dict groups = {}
        for id, batch in self.segments.items():
            if self.store.segments[<uint32_t> id].live * 2 < <uint64_t> batch.n_rows or batch.n_rows < 4096:
                groups.setdefault(self.payloads.kind(batch.source), []).append(id)
        for ids in groups.values():
            self.merge(ids, each, holder, input)
        self.compactions += 1
        self.rows_after_compaction = max(<uint64_t> (1 << 18), self.held_rows)
        self.segments_after_compaction = max(<uint64_t> 64, <uint64_t> len(self.segments))
        return 0

    cdef int merge(self, list ids, each_event each, void *holder, uint32_t input) except -1:
        cdef uint32_t total = 0
        cdef moving m
        cdef Segment batch
        bases = np.full(self.store.n_segments, -1, np.int64)
        for id in ids:
            bases[id] = total
            total += <uint32_t> self.segments[id].n_rows
        marks = np.zeros(total + 1, np.uint8)
        m.store, m.base, m.mark, m.place = &self.store, <int64_t *> address_of(bases), <uint8_t *> address_of(marks), NULL
        each(holder, input, _move_event, &m)
        kept = [np.flatnonzero(marks[bases[id]:bases[id] + self.segments[id].n_rows]) for id in ids]
        places = np.cumsum(marks, dtype=np.int64) - 1
        batch = self.payloads.gather([self.segments[id] for id in ids], kept)
        self.open(batch)
        masks = np.concatenate([self.segments[id].masks[rows] for id, rows in zip(ids, kept)])
        memcpy(self.store.segments[batch.id].masks, <void *> address_of(masks), batch.n_rows * self.plan.mask_words * 8)
        m.mark, m.place, m.to = NULL, <int64_t *> address_of(places), batch.id
        each(holder, input, _move_event, &m)
        self.unpin(batch)
        self.sweep()
        return 0

    def counters(self):
        """What is held, by name."""
        return {"rows": self.store.live, "segments": len(self.segments), "segment_rows": self.held_rows,
                "payload_bytes": self.payload_bytes, "bytes": self.arena.bytes_used, "compactions": self.compactions}

    def check(self):
        """The broken invariant in words, or None."""
        if sum(self.store.segments[<uint32_t> id].live for id in self.segments) != self.store.live:
            return "references to events are counted wrong"
        if any(self.store.segments[<uint32_t> id].live == 0 for id in self.segments):
            return "a segment that nothing refers to is still there"
        if sum(batch.n_rows for batch in self.segments.values()) != self.held_rows:
            return "the rows of segments are counted wrong"
        return None
