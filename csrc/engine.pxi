# Core: owns the stages and drives a batch through them. push() reads top to bottom as the data flows.

cdef int _call_python(void *context, uint32_t callable, event_ref event, uint32_t node) noexcept with gil:
    """A Python condition on the partial match, called from inside the step."""
    core = <Core> context
    try:
        return 1 if core.condition(callable, event, node) else 0
    except BaseException as error:
        core.error = error
        return -1


cdef object _held_in_order(RawResults found):
    """Held matches by the time and position of their first event: an order that no restore changes."""
    if found is not None and (found.rows["kind"] == RESULT_HELD).any():
        firsts = [found.events[first] for first in found.rows["first_event"]]
        keys = [(kind == RESULT_HELD, (<Segment> found.segments[int(e["segment"])]).times[e["row"]] if kind == RESULT_HELD else 0,
                 (<Segment> found.segments[int(e["segment"])]).positions[e["row"]] if kind == RESULT_HELD else i)
                for i, (e, kind) in enumerate(zip(firsts, found.rows["kind"]))]
        found.rows = found.rows[sorted(range(len(keys)), key=keys.__getitem__)]
    return found


cdef int _count_orders(list nodes, first_node, list runs, first_run, list held, first_held) except -1:
    """What one key holds is ordered by release; only that is written: 1, 2, ... for its events, whatever came between them."""
    orders = sorted({order for _, _, _, order in nodes[first_node:]})
    count = {order: i + 1 for i, order in enumerate(orders)}
    nodes[first_node:] = [(event, parent, stage, count[order]) for event, parent, stage, order in nodes[first_node:]]
    runs[first_run:] = [(r[0], count[r[1]], *r[2:]) for r in runs[first_run:]]
    held[first_held:] = [(h[0], count[h[1]], h[2]) for h in held[first_held:]]
    return 0


cdef class Core:
    """The engine proper. Not thread-safe: a second thread that enters gets an error, not a race.

    Args:
        tables: a Plan's bytes.
        callables: Python conditions, by number: fn(event view, {stage: [event views]}).
        stage_names: per pattern, the names of its stages.
        view: makes an event view: view(segment, row).
        payloads: kind(source), and gather(segments, rows) that makes one Segment of rows of several.
        out_of_order: bound of disorder in ns.
        options: timeouts, max_partials, max_partials_policy, max_memory, max_memory_policy, key_ttl.
    """

    cdef arena arena
    cdef plan plan
    cdef event_store store
    cdef vm vm
    cdef watermark mark
    cdef reorder reorder
    cdef nfa nfa
    cdef bint ready
    cdef bint busy
    cdef readonly str stopped
    cdef object error
    cdef dict segments
    cdef tuple callables
    cdef tuple stage_names
    cdef object view
    cdef object payloads
    cdef waiting *arrivals
    cdef uint32_t *late_rows
    cdef uint32_t arrivals_capacity
    cdef uint32_t n_late
    cdef readonly uint64_t rows_seen
    cdef readonly uint64_t late_seen
    cdef uint64_t pinned_rows
    cdef uint64_t pinned_after_compaction
    cdef uint64_t segments_after_compaction
    cdef readonly uint64_t compactions

    def __cinit__(self, bytes tables, tuple callables, tuple stage_names, view, payloads, int64_t out_of_order, dict options):
        cdef const char *reason = NULL
        cdef nfa_options o
        arena_init(&self.arena)
        if plan_load(&self.plan, &self.arena, <const uint8_t *> PyBytes_AS_STRING(tables), PyBytes_GET_SIZE(tables), &reason):
            raise StateError(f"plan: {reason.decode()}")
        memset(&o, 0, sizeof(o))
        o.timeouts = options.get("timeouts", False)
        o.max_partials = options.get("max_partials") or 0
        o.max_partials_policy = options.get("max_partials_policy", 0)
        o.max_memory = options.get("max_memory") or 0
        o.max_memory_policy = options.get("max_memory_policy", 0)
        o.key_ttl = options.get("key_ttl") or 0
        event_store_init(&self.store, &self.arena, self.plan.n_columns, self.plan.mask_words)
        reorder_init(&self.reorder, &self.arena)
        self.mark.out_of_order = out_of_order
        self.mark.highest = TIME_MIN
        self.mark.current = TIME_MIN
        self.segments = {}
        self.callables = callables
        self.stage_names = stage_names
        self.view = view
        self.payloads = payloads
        if vm_init(&self.vm, &self.arena, self.plan.max_registers) or nfa_init(
            &self.nfa, &self.arena, &self.plan, &self.store, &o
        ):
            raise MemoryError
        self.nfa.callback = _call_python
        self.nfa.callback_context = <void *> self
        self.pinned_after_compaction = 1 << 18
        self.segments_after_compaction = 64
        self.ready = True

    def __dealloc__(self):
        nfa_free(&self.nfa)
        vm_free(&self.vm)
        reorder_free(&self.reorder)
        event_store_free(&self.store)
        arena_free(&self.arena, self.arrivals, self.arrivals_capacity * sizeof(waiting))
        arena_free(&self.arena, self.late_rows, self.arrivals_capacity * sizeof(uint32_t))
        plan_free(&self.plan)
        arena_free_all(&self.arena)

    # --------------------------------------------------------------- the flow

    def push(self, Segment batch, under=None, int64_t watermark=TIME_MIN):
        """Take a batch and give what it and the time it brings complete.

        Where watermarks come from outside, `under` (int64) is the one that each row is judged under, `watermark` the one after
        them all; without them the bound of disorder makes them of the rows' times.
        """
        cdef uint32_t id = 0
        cdef status st
        cdef const event_time_t *given = NULL
        if under is not None:
            if len(under) != batch.n_rows:
                raise FykeError("a watermark for each row is needed")
            given = <const event_time_t *> address_of(under)
        self._enter()
        try:
            self._open(batch)
            id = batch.id
            with nogil:
                run_row_programs(&self.vm, &self.plan, &self.store, id)  # conditions that read only the row: a bit each
                st = self._judge(id, given)             # late? row by row, against the rows before; else into the reorder buffer
                if watermark > self.mark.current:
                    self.mark.current = watermark
                if st == STATUS_OK:
                    st = self._release(self.mark.current)  # in event-time order: timers, lag, automaton
            return self._finish(st, batch)
        finally:
            self.busy = False

    def advance(self, int64_t time):
        """Move the watermark: no more events with time <= this one."""
        cdef status st
        self._enter()
        try:
            if time > self.mark.current:
                self.mark.current = time
            with nogil:
                st = self._release(self.mark.current)
            return self._finish(st, None)
        finally:
            self.busy = False

    def flush(self):
        """End of input: the watermark goes to infinity; what skip strategies hold back is reported as held."""
        cdef status st
        self._enter()
        try:
            self.mark.current = TIME_MAX
            with nogil:
                st = self._release(TIME_MAX)
                if st == STATUS_OK:
                    st = nfa_report_held(&self.nfa)
            return _held_in_order(self._finish(st, None))
        finally:
            self.busy = False

    # --------------------------------------------------------------- its parts

    cdef int _enter(self) except -1:
        if self.stopped is not None:
            raise FykeError(f"this engine has stopped: {self.stopped}")
        if self.busy:
            raise FykeError("this engine is in use by another thread; give each thread an engine of its own")
        self.busy = True
        return 0

    cdef int _open(self, Segment batch) except -1:
        self._reserve_arrivals(<uint32_t> batch.n_rows)
        open_segment(&self.store, &self.plan, batch)
        self.segments[batch.id] = batch
        self.pinned_rows += <uint64_t> batch.n_rows
        self.nfa.payload_bytes += batch.n_bytes
        return 0

    cdef int _reserve_arrivals(self, uint32_t n) except -1:
        if n <= self.arrivals_capacity:
            return 0
        arena_free(&self.arena, self.arrivals, self.arrivals_capacity * sizeof(waiting))
        arena_free(&self.arena, self.late_rows, self.arrivals_capacity * sizeof(uint32_t))
        self.arrivals_capacity = 0
        self.arrivals = <waiting *> arena_alloc(&self.arena, n * sizeof(waiting))
        self.late_rows = <uint32_t *> arena_alloc(&self.arena, n * sizeof(uint32_t))
        if self.arrivals == NULL or self.late_rows == NULL:
            raise MemoryError
        self.arrivals_capacity = n
        return 0

    cdef status _judge(self, uint32_t id, const event_time_t *under) noexcept nogil:
        cdef segment *g = &self.store.segments[id]
        cdef uint32_t words = self.plan.mask_words
        cdef uint32_t row, n = 0
        cdef event_time_t t
        cdef status st
        self.n_late = 0
        for row in range(g.n_rows):
            t = g.times[row]
            if t <= (self.mark.current if under == NULL else under[row]):
                self.late_rows[self.n_late] = row
                self.n_late += 1
                continue
            if under == NULL:
                watermark_see(&self.mark, t)
            if nfa_cares(&self.nfa, g.masks + <size_t> row * words):
                self.arrivals[n].time = t
                self.arrivals[n].event.segment = id
                self.arrivals[n].event.row = row
                n += 1
        st = reorder_add(&self.reorder, self.arrivals, n)
        if st == STATUS_OK:
            event_retain_many(&self.store, id, n)
        self.rows_seen += g.n_rows
        self.late_seen += self.n_late
        return st

    cdef status _release(self, event_time_t time) noexcept nogil:
        cdef uint32_t n = reorder_due(&self.reorder, time)
        cdef status st = nfa_step_rows(&self.nfa, self.reorder.items + self.reorder.head, n)
        if st != STATUS_OK:
            return st
        reorder_consume(&self.reorder, &self.store, n)
        return nfa_fire(&self.nfa, time)

    cdef object _finish(self, status st, Segment batch):
        """Results out, dead segments closed; or the failure as an exception."""
        cdef object late = None
        if batch is not None:
            if self.n_late > 0:
                rows = np.empty(self.n_late, np.uint32)
                memcpy(<void *> address_of(rows), self.late_rows, self.n_late * sizeof(uint32_t))
                late = (batch, rows)
            self._unpin(batch)
        found = self._take_results(late)
        if st != STATUS_OK:
            self._fail(st, found)
        if self.store.n_dead:
            self._sweep()
        if (self.pinned_rows > 2 * self.pinned_after_compaction and self.pinned_rows > 4 * self.store.live) or (
            <uint64_t> len(self.segments) > 2 * self.segments_after_compaction
            and <uint64_t> len(self.segments) > 4 + self.store.live // 1024
        ):
            self._compact()
        return found

    cdef int _unpin(self, Segment batch) except -1:
        cdef segment *g = &self.store.segments[batch.id]
        g.pinned = 0
        if g.live == 0 and not g.listed:
            g.listed = 1
            self.store.dead[self.store.n_dead] = batch.id
            self.store.n_dead += 1
        return 0

    cdef object _take_results(self, late):
        cdef results *r = &self.nfa.results
        if r.n_rows == 0:
            return None if late is None else RawResults(
                np.empty(0, _RESULT_DTYPE), np.empty(0, _EVENT_DTYPE), {}, late
            )
        rows = np.empty(r.n_rows, _RESULT_DTYPE)
        events = np.empty(r.n_events, _EVENT_DTYPE)
        memcpy(<void *> address_of(rows), r.rows, r.n_rows * sizeof(result))
        memcpy(<void *> address_of(events), r.events, r.n_events * sizeof(result_event))
        r.n_rows = 0
        r.n_events = 0
        cdef object used = np.unique(events["segment"]) if len(self.segments) > 1 else self.segments
        return RawResults(rows, events, {int(id): self.segments[int(id)] for id in used}, late)

    cdef int _sweep(self) except -1:
        """Close the segments that nothing refers to any more; results that show them keep the objects."""
        cdef uint32_t i, id
        cdef Segment batch
        for i in range(self.store.n_dead):
            id = self.store.dead[i]
            self.store.segments[id].listed = 0
            if self.store.segments[id].live == 0 and not self.store.segments[id].pinned:
                batch = self.segments.pop(id)
                self.pinned_rows -= <uint64_t> batch.n_rows
                self.nfa.payload_bytes -= batch.n_bytes
                event_store_close(&self.store, id)
        self.store.n_dead = 0
        return 0

    cdef int _fail(self, status st, found) except -1:
        """Raise what stopped the engine; `found` is what the same push had found before."""
        cdef failure f = self.nfa.failure
        position = None if f.position == <uint64_t> NO_POSITION else f.position
        where = f"at position {position}" if position is not None else f"at time {f.time} ns"
        if st == STATUS_NO_MEMORY:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        if st == STATUS_CALLBACK:
            error = self.error
            self.error = None
            self.stopped = f"a Python condition raised {type(error).__name__} {where}"
            raise error
        if st == STATUS_TOO_MANY_PARTIALS:
            text = (f"{f.given} partial matches of one key {where}, max_partials allows {f.limit}; "
                    'raise it, or choose on_max_partials="drop_oldest" or "drop_newest"')
            error = LimitError(text)
        elif st == STATUS_TOO_MUCH_MEMORY:
            text = (f"{f.given} bytes in use {where}, max_memory allows {f.limit}; "
                    'raise it, or choose on_max_memory="drop_oldest" or "drop_newest"')
            error = LimitError(text)
        elif st in (STATUS_SKIP_NO_ELEMENT, STATUS_SKIP_FIRST_ELEMENT):
            stage = self.stage_names[f.pattern][f.stage]
            text = (f'skip to stage "{stage}" {where}: ' + (
                "it is the first event of the match, so the same match would be found again" if st == STATUS_SKIP_FIRST_ELEMENT
                else "the match has no event in it"))
            error = SkipError(text)
        else:
            text = f"internal error {<int> st}"
            error = FykeError(text)
        error.position = position
        error.time = f.time
        error.found = found
        self.stopped = text
        raise error

    # --------------------------------------------------------------- Python conditions

    cdef object condition(self, uint32_t callable, event_ref event, uint32_t node):
        cdef list chain = []
        cdef uint32_t at = node
        while at != 0:
            chain.append((self.nfa.graph.nodes[at].stage, self.nfa.graph.nodes[at].event.segment,
                          self.nfa.graph.nodes[at].event.row))
            at = self.nfa.graph.nodes[at].parent
        names, fn = self.callables[callable]
        found = {name: [] for name in names}
        for stage, segment_id, row in reversed(chain):
            found[names[stage]].append(self.view(self.segments[segment_id], row))
        return fn(self.view(self.segments[event.segment], event.row), found)

    # --------------------------------------------------------------- compaction

    def compact(self):
        """Gather the rows that are still referred to into as few segments as there are kinds of payload."""
        self._enter()
        try:
            self._compact()
        finally:
            self.busy = False

    cdef int _compact(self) except -1:
        """Sparse or small segments are rewritten: what is live in them moves to a new one, and every holder is told."""
        cdef dict groups = {}
        strict_trim(&self.nfa.strict)
        for id, batch in self.segments.items():
            if self.store.segments[<uint32_t> id].live * 2 < <uint64_t> batch.n_rows or batch.n_rows < 4096:
                groups.setdefault(self.payloads.kind(batch.source), []).append(id)
        for ids in groups.values():
            self._merge(ids)
        self.compactions += 1
        self.pinned_after_compaction = max(<uint64_t> (1 << 18), self.pinned_rows)
        self.segments_after_compaction = max(<uint64_t> 64, <uint64_t> len(self.segments))
        return 0

    cdef int _merge(self, list ids) except -1:
        cdef uint32_t n_slots = self.store.n_segments
        cdef uint32_t i, k, total = 0
        cdef int64_t *base
        cdef uint8_t *mark
        cdef int64_t *place
        cdef Segment batch
        bases = np.full(n_slots, -1, np.int64)  # where a segment's rows start among all rows of the group
        base = <int64_t *> address_of(bases)
        for id in ids:
            base[<uint32_t> id] = total
            total += <uint32_t> self.segments[id].n_rows
        marks = np.zeros(total + 1, np.uint8)
        mark = <uint8_t *> address_of(marks)
        self._each_holder(base, mark, NULL, 0)
        kept = [np.flatnonzero(marks[base[<uint32_t> id]:base[<uint32_t> id] + self.segments[id].n_rows]) for id in ids]
        places = np.cumsum(marks, dtype=np.int64) - 1
        place = <int64_t *> address_of(places)
        batch = self.payloads.gather([self.segments[id] for id in ids], kept)
        self._open(batch)
        masks = np.concatenate([self.segments[id].masks[rows] for id, rows in zip(ids, kept)])
        memcpy(self.store.segments[batch.id].masks, <void *> address_of(masks), batch.n_rows * self.plan.mask_words * 8)
        self._each_holder(base, NULL, place, batch.id)
        self._unpin(batch)
        self._sweep()
        return 0

    cdef int _each_holder(self, int64_t *base, uint8_t *mark, int64_t *place, uint32_t to) except -1:
        """Visit every event_ref into the group: mark its row, or point it at its new place."""
        cdef uint32_t i, k
        cdef run *rn
        cdef keyspace *space
        for i in range(1, self.nfa.graph.n_nodes):
            if self.nfa.graph.nodes[i].references > 0:
                self._visit(&self.nfa.graph.nodes[i].event, base, mark, place, to)
        for i in range(self.nfa.n_keyed):
            for k in range(self.nfa.keyed[i].n_runs):
                rn = run_at(self.nfa.keyed[i].runs, run_size(&self.nfa, self.nfa.keyed[i].pattern), k)
                if rn.node & SINGLE:
                    self._visit(&rn.only, base, mark, place, to)
        for i in range(self.nfa.strict.n_records):
            for k in range(strict_at(&self.nfa.strict, i).n_events):
                self._visit(strict_event(strict_at(&self.nfa.strict, i), k), base, mark, place, to)
        for i in range(self.reorder.head, self.reorder.tail):
            self._visit(&self.reorder.items[i].event, base, mark, place, to)
        for k in range(self.plan.n_keyspaces):
            space = &self.nfa.keyspaces[k]
            if self.plan.keyspaces[k].needs_lag:
                for i in range(space.table_size):
                    if space.table[i] != 0:
                        self._visit(&space.slots[space.table[i] - 1].last, base, mark, place, to)
        return 0

    cdef void _visit(self, event_ref *e, int64_t *base, uint8_t *mark, int64_t *place, uint32_t to) noexcept:
        if e.segment == NO_SEGMENT or base[e.segment] < 0:
            return
        cdef int64_t at = base[e.segment] + e.row
        if mark != NULL:
            mark[at] = 1
        else:
            event_retain(&self.store, to)
            event_release(&self.store, e.segment)
            e.segment = to
            e.row = <uint32_t> place[at]

    # --------------------------------------------------------------- seen from outside

    @property
    def watermark(self):
        return self.mark.current

    @property
    def highest_time(self):
        return self.mark.highest

    def counters(self):
        """What was counted so far and what is held now, by name."""
        cdef nfa_counters *c = &self.nfa.counters
        cdef uint32_t k
        cdef uint64_t keys = 0
        for k in range(self.plan.n_keyspaces):
            keys += self.nfa.keyspaces[k].n_keys
        return {
            "rows": self.rows_seen, "late": self.late_seen, "waiting": reorder_size(&self.reorder), "stepped": c.rows_stepped,
            "null_keys": c.null_keys, "matches": c.matches, "timeouts": c.timeouts, "pruned": c.pruned, "stopped": c.stopped,
            "dropped_partials": c.dropped_partials, "expired_keys": c.expired_keys, "partials": self.nfa.n_runs + self.nfa.strict.n_runs,
            "held": self.nfa.n_held, "keys": keys, "timers": self.nfa.timers.n + self.nfa.strict_timers.n, "nodes": self.nfa.graph.n_live, "single": self.nfa.n_single,
            "strict": self.nfa.strict.n_live,
            "segments": len(self.segments), "pinned_rows": self.pinned_rows, "payload_bytes": self.nfa.payload_bytes,
            "bytes": self.arena.bytes_used, "compactions": self.compactions,
        }

    def check(self):
        """Walk all invariants; a reason in words, or None."""
        cdef const char *reason = nfa_check(&self.nfa)
        if reason != NULL:
            return reason.decode()
        live = sum(self.store.segments[<uint32_t> id].live for id in self.segments)
        if live != self.store.live:
            return "references to events are counted wrong"
        lags = 0
        cdef uint32_t i, k
        cdef keyspace *space
        for k in range(self.plan.n_keyspaces):
            space = &self.nfa.keyspaces[k]
            for i in range(space.table_size):
                if space.table[i] != 0 and space.slots[space.table[i] - 1].last.segment != NO_SEGMENT:
                    lags += 1
                if space.table[i] != 0 and space.slots[space.table[i] - 1].users == 0:
                    return "a key without users is still there"
        if live != self.nfa.graph.n_live + self.nfa.n_single + strict_references(&self.nfa.strict) + reorder_size(&self.reorder) + lags:
            return "an event is held by nobody, or by one too many"
        for i in range(self.reorder.head + 1, self.reorder.tail):
            if self.reorder.items[i].time < self.reorder.items[i - 1].time:
                return "the reorder buffer is not in order"
        return None

    def fail_allocation_after(self, uint64_t n):
        """For tests: let the n-th allocation from now fail (0: none)."""
        self.arena.fail_after = n

    # --------------------------------------------------------------- snapshot

    def export(self):
        """The state as arrays; events, nodes and keyed states are numbered within the export, in an order that the state determines."""
        cdef list order = []
        cdef dict event_numbers = {}
        cdef dict node_numbers = {0: -1}
        cdef list nodes = [], runs = [], registers = [], held = [], keyed_rows = [], lags = [], waits = []
        cdef uint32_t i, j, k, r, at
        cdef keyed *kd
        cdef keyed unpacked
        cdef run *rn
        cdef size_t size
        cdef keyspace *space

        def event_number(uint32_t segment_id, uint32_t row):
            return event_numbers.setdefault((segment_id, row), len(event_numbers))

        def node_number(uint32_t id):
            cdef list chain = []
            cdef uint32_t a = id
            while a not in node_numbers:
                chain.append(a)
                a = self.nfa.graph.nodes[a].parent
            for a in reversed(chain):
                node_numbers[a] = len(nodes)
                nodes.append((event_number(self.nfa.graph.nodes[a].event.segment, self.nfa.graph.nodes[a].event.row),
                              node_numbers[self.nfa.graph.nodes[a].parent], self.nfa.graph.nodes[a].stage,
                              self.nfa.graph.nodes[a].order))
            return node_numbers[id]

        self._enter()
        try:
            living = [(self.nfa.keyed[i].birth, i, False) for i in range(self.nfa.n_keyed)
                      if self.nfa.keyed[i].runs != NULL or self.nfa.keyed[i].held != NULL]
            living += [(strict_at(&self.nfa.strict, i).birth, i, True) for i in range(self.nfa.strict.n_records)
                       if strict_at(&self.nfa.strict, i).bits != 0]
            for _, index, is_strict in sorted(living):
                kd = &unpacked if is_strict else &self.nfa.keyed[<uint32_t> index]
                if is_strict and nfa_strict_unpack(&self.nfa, index, &unpacked):
                    raise MemoryError
                first_node, first_run, first_held, known = len(nodes), len(runs), len(held), len(node_numbers)
                overdue = -1 if kd.overdue_after == <uint64_t> NO_POSITION else kd.overdue_after
                keyed_rows.append((kd.pattern, kd.n_runs, kd.n_held, kd.last_time, overdue))
                size = run_size(&self.nfa, kd.pattern)
                for j in range(kd.n_runs):
                    rn = run_at(kd.runs, size, j)
                    if run_node(&self.nfa, rn) == 0:
                        raise MemoryError
                    runs.append((rn.start_time, rn.start_order, rn.previous_time, node_number(rn.node),
                                 rn.state - self.plan.patterns[kd.pattern].first_state))
                    values = []
                    for r in range(self.plan.patterns[kd.pattern].n_registers):
                        value = (<uint64_t *> &rn.registers)[r]
                        if plan_register_is_node(&self.plan, &self.plan.patterns[kd.pattern], r):
                            value = 0 if value == 0 else node_number(<uint32_t> value) + 1
                        values.append(value)
                    registers += values
                for j in range(kd.n_held):
                    held.append((kd.held[j].start_time, kd.held[j].start_order, node_number(kd.held[j].node)))
                if is_strict:
                    nfa_strict_repack(&self.nfa, &unpacked)
                    while len(node_numbers) > known:
                        node_numbers.popitem()  # its nodes are gone again
                _count_orders(nodes, first_node, runs, first_run, held, first_held)
            for k in range(self.plan.n_keyspaces):
                space = &self.nfa.keyspaces[k]
                for i in range(space.table_size):
                    if space.table[i] != 0 and space.slots[space.table[i] - 1].last.segment != NO_SEGMENT:
                        at = space.table[i] - 1
                        position = self.store.segments[space.slots[at].last.segment].positions[space.slots[at].last.row]
                        lags.append((k, position, at))
            lags = [(k_, self._lag_event(k_, at_, event_number), self.nfa.keyspaces[<uint32_t> k_].slots[<uint32_t> at_].last_time)
                    for k_, _, at_ in sorted(lags)]
            for i in range(self.reorder.head, self.reorder.tail):
                waits.append(event_number(self.reorder.items[i].event.segment, self.reorder.items[i].event.row))
            return {
                "watermark": (self.mark.out_of_order, self.mark.highest, self.mark.current),
                "order": self.nfa.order, "now": self.nfa.now,
                "rows_seen": self.rows_seen, "late_seen": self.late_seen,
                "counters": self.nfa.counters, "keyed": keyed_rows, "runs": runs, "registers": registers, "held": held,
                "nodes": nodes, "lags": lags, "waiting": waits,
                "events": [(self.segments[s], row) for s, row in event_numbers],
            }
        finally:
            self.busy = False

    cdef object _lag_event(self, k, at, event_number):
        cdef event_ref e = self.nfa.keyspaces[<uint32_t> k].slots[<uint32_t> at].last
        return event_number(e.segment, e.row)

    def restore(self, dict state, list batches):
        """Fill a fresh engine from an export. `batches`: Segments that hold the events, in the order of their numbers.

        Raises StateError for anything out of range; the engine is then stopped.
        """
        if self.rows_seen or self.segments:
            raise FykeError("only a fresh engine can be restored into")
        self._enter()
        try:
            self._restore(state, batches)
        except (IndexError, ValueError, TypeError, KeyError, OverflowError, StopIteration) as error:
            self.stopped = "its restore failed"
            raise StateError(f"the snapshot does not fit together: {error}") from error
        except StateError:
            self.stopped = "its restore failed"
            raise
        finally:
            self.busy = False

    cdef int _restore(self, dict state, list batches) except -1:
        cdef list refs = [], node_ids = []
        cdef event_ref e
        cdef uint32_t id = 0, slot = 0, n_stages, i
        cdef uint8_t *record
        cdef run *rn
        cdef completed c
        cdef Segment batch
        cdef int64_t last_order
        for item in batches:
            batch = item
            self._open(batch)
            run_row_programs(&self.vm, &self.plan, &self.store, batch.id)
            refs += [(batch.id, i) for i in range(<uint32_t> batch.n_rows)]
        highest_stage = []  # of a node and those before it
        orders = []
        for event, parent, stage, order in state["nodes"]:
            if not (0 <= event < len(refs) and -1 <= parent < len(node_ids)):
                raise StateError("a node refers to an event or node that is not there")
            if parent >= 0 and order < orders[parent]:
                raise StateError("the events of a partial match are out of order")
            highest_stage.append(stage if parent < 0 else max(stage, highest_stage[parent]))
            orders.append(order)
            e.segment, e.row = refs[event]
            id = node_new(&self.nfa.graph, e, order, stage, 0 if parent < 0 else node_ids[parent])
            if id == 0:
                raise MemoryError
            node_ids.append(id)
        runs = iter(state["runs"])
        held = iter(state["held"])
        registers = iter(state["registers"])
        buffer = np.zeros(8 + 4096, np.uint64)
        record = <uint8_t *> address_of(buffer)
        rn = <run *> record
        for p, n_runs, n_held, last_time, overdue in state["keyed"]:
            if not 0 <= p < self.plan.n_patterns or n_runs + n_held < 1:
                raise StateError("a keyed state belongs to no pattern, or is empty")
            n_stages = self.plan.patterns[<uint32_t> p].n_stages
            opened = False
            last_order = -1
            for _ in range(n_runs):
                start_time, start_order, previous_time, node, where = next(runs)
                if not (0 <= node < len(node_ids) and 0 <= where < self.plan.patterns[<uint32_t> p].n_states):
                    raise StateError("a run refers to a node or state that is not there")
                if start_order < last_order or highest_stage[node] >= n_stages:
                    raise StateError("the runs of a key are out of order")
                last_order = start_order
                rn.start_time, rn.start_order, rn.previous_time = start_time, start_order, previous_time
                rn.node = node_ids[node]
                rn.state = where + self.plan.patterns[<uint32_t> p].first_state
                if self.plan.states[rn.state].kind not in (0, 4):
                    raise StateError("a run is in a state that no run waits in")
                for r in range(self.plan.patterns[<uint32_t> p].n_registers):
                    value = next(registers)
                    if plan_register_is_node(&self.plan, &self.plan.patterns[<uint32_t> p], <uint32_t> r):
                        if not 0 <= value <= len(node_ids):
                            raise StateError("a register refers to a node that is not there")
                        value = 0 if value == 0 else node_ids[value - 1]
                    (<uint64_t *> &rn.registers)[<uint32_t> r] = value
                if not opened:
                    id = self._open_keyed(p, rn.node)
                    opened = True
                if nfa_restore_run(&self.nfa, id, rn):
                    raise MemoryError
            for _ in range(n_held):
                c.start_time, c.start_order, node = next(held)
                if not 0 <= node < len(node_ids) or highest_stage[node] >= n_stages:
                    raise StateError("a held match refers to a node or stage that is not there")
                c.node = node_ids[node]
                if not opened:
                    id = self._open_keyed(p, c.node)
                    opened = True
                if nfa_restore_held(&self.nfa, id, c):
                    raise MemoryError
            if self.plan.patterns[<uint32_t> p].strategy == STRATEGY_STRICT:
                self._check_status(nfa_strict_adopt(&self.nfa, id))
                continue
            self.nfa.keyed[id].last_time = last_time
            if nfa_settle(&self.nfa, id):
                raise MemoryError
            self.nfa.keyed[id].overdue_after = <uint64_t> NO_POSITION if overdue < 0 else overdue
        if next(runs, None) is not None or next(held, None) is not None or next(registers, None) is not None:
            raise StateError("records that belong to no key")
        for number in node_ids:
            node_release(&self.nfa.graph, number)
        for k, event, time in state["lags"]:
            if not (0 <= k < self.plan.n_keyspaces and 0 <= event < len(refs)) or not self.plan.keyspaces[<uint32_t> k].needs_lag:
                raise StateError("the latest event of a key is not there")
            e.segment, e.row = refs[event]
            if keyspace_slot(&self.nfa.keyspaces[<uint32_t> k], &self.store, e, True, &slot):
                raise MemoryError
            if slot == KEY_NULL or nfa_restore_last(&self.nfa, k, slot, time, e):
                raise StateError("the latest event of a key has no key")
        self._restore_waiting(state["waiting"], refs)
        self.mark.out_of_order, self.mark.highest, self.mark.current = state["watermark"]
        self.nfa.order = state["order"]
        self.nfa.now = state["now"]
        self.rows_seen = state["rows_seen"]
        self.late_seen = state["late_seen"]
        self.nfa.counters = state["counters"]
        for item in batches:
            self._unpin(item)
        self._sweep()
        return 0

    cdef int _check_status(self, status st) except -1:
        if st == STATUS_BAD_SNAPSHOT:
            raise StateError("the runs of a key are not those of a strict sequence")
        if st:
            raise MemoryError
        return 0

    cdef uint32_t _open_keyed(self, uint32_t pattern_index, uint32_t node) except? 0xFFFFFFFF:
        cdef uint32_t slot = 0, id = 0
        cdef event_ref e = self.nfa.graph.nodes[node].event
        cdef uint32_t k = self.plan.patterns[pattern_index].keyspace
        if keyspace_slot(&self.nfa.keyspaces[k], &self.store, e, True, &slot):
            raise MemoryError
        if slot == KEY_NULL:
            raise StateError("a partial match has no key")
        if nfa_has_keyed(&self.nfa, pattern_index, slot):
            raise StateError("a key is there twice")
        if nfa_open_keyed(&self.nfa, pattern_index, slot, &id):
            raise MemoryError
        return id

    cdef int _restore_waiting(self, waits, list refs) except -1:
        cdef uint32_t n = <uint32_t> len(waits), i
        cdef int64_t before = TIME_MIN
        self._reserve_arrivals(n)
        for i in range(n):
            number = waits[i]
            if not 0 <= number < len(refs):
                raise StateError("a waiting event is not there")
            self.arrivals[i].event.segment, self.arrivals[i].event.row = refs[number]
            self.arrivals[i].time = self.store.segments[self.arrivals[i].event.segment].times[self.arrivals[i].event.row]
            if self.arrivals[i].time < before:
                raise StateError("waiting events are out of order")
            before = self.arrivals[i].time
            event_retain(&self.store, self.arrivals[i].event.segment)
        if reorder_add(&self.reorder, self.arrivals, n):
            raise MemoryError
        return 0


