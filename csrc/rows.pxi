# Expressions over whole batches: what every operator computes of its rows before it looks at any of them.

cdef int open_segment(event_store *store, const plan *p, Segment batch) except -1:
    """Give a batch a place in a store, with masks of zeros; its columns stay where they are, the batch keeps them."""
    cdef uint32_t n = <uint32_t> batch.n_rows, i
    cdef segment *g
    cdef column *c
    for i in range(p.n_columns):
        if batch.columns[i][5] != p.column_types[i]:
            raise FykeError("a column does not have the type of the plan")
    if event_store_open(store, &batch.id):
        raise MemoryError
    masks = np.zeros((max(n, 1), p.mask_words), np.uint64)
    batch.masks = masks
    g = &store.segments[batch.id]
    g.times = <const event_time_t *> address_of(batch.times)
    g.positions = <const uint64_t *> address_of(batch.positions)
    g.masks = <uint64_t *> address_of(masks)
    g.n_rows = n
    g.pinned = 1
    for i in range(p.n_columns):
        values, offsets, valid, valid_offset, wide, physical, shift = batch.columns[i]
        c = &g.columns[i]
        c.data = <const void *> (address_of(values) + <uintptr_t> shift)
        c.offsets = <const void *> address_of(offsets)
        if c.offsets != NULL:
            c.offsets = <const void *> (<uintptr_t> c.offsets + <uintptr_t> shift)
            c.data = <const void *> (<uintptr_t> c.data - <uintptr_t> shift)
        c.valid = <const uint8_t *> address_of(valid)
        c.valid_offset = valid_offset
        c.wide = wide
        c.type = physical
    return 0


cdef void run_row_programs(vm *v, const plan *p, const event_store *store, uint32_t id) noexcept nogil:
    """Fill the computed columns and the masks of a segment, a block of rows after the other."""
    cdef segment *g = &store.segments[id]
    cdef uint32_t words = p.mask_words
    cdef uint32_t first = 0, n
    cdef vm_input rows
    memset(&rows, 0, sizeof(rows))
    rows.store = store
    rows.segment = id
    while first < g.n_rows:
        n = g.n_rows - first if g.n_rows - first < VM_BLOCK else VM_BLOCK
        rows.first_row = first
        if p.computed_program != NO_PROGRAM:
            vm_run(v, p, &p.programs[p.computed_program], &rows, n, NULL, 0)
        if p.row_program != NO_PROGRAM:
            vm_run(v, p, &p.programs[p.row_program], &rows, n, g.masks + <size_t> first * words, words)
        first += n


cdef class RowProgram:
    """Runs the expressions of a RowPlan (src/fyke/rowplan.py) over batches. Keeps nothing of a batch.

    Args:
        tables: the plan's bytes.
    """

    cdef arena arena
    cdef plan plan
    cdef event_store store
    cdef vm vm

    def __cinit__(self, bytes tables):
        cdef const char *reason = NULL
        arena_init(&self.arena)
        if plan_load(&self.plan, &self.arena, <const uint8_t *> PyBytes_AS_STRING(tables), PyBytes_GET_SIZE(tables), &reason):
            raise StateError(f"plan: {reason.decode()}")
        event_store_init(&self.store, &self.arena, self.plan.n_columns, self.plan.mask_words)
        if vm_init(&self.vm, &self.arena, self.plan.max_registers):
            raise MemoryError

    def __dealloc__(self):
        vm_free(&self.vm)
        event_store_free(&self.store)
        plan_free(&self.plan)
        arena_free_all(&self.arena)

    def run(self, Segment batch):
        """Fill the batch's computed columns and its masks, a row of uint64 words each. O(rows)."""
        open_segment(&self.store, &self.plan, batch)
        with nogil:
            run_row_programs(&self.vm, &self.plan, &self.store, batch.id)
        event_store_close(&self.store, batch.id)
