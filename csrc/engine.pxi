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
        found.packed = found.rows[sorted(range(len(keys)), key=keys.__getitem__)]
        found._rows = None
    return found


cdef uint64_t FREEZE_STEP = 8192  # things that a push collects for a freeze: a few milliseconds
cdef uint64_t ALL = 0xFFFFFFFFFFFFFFFF


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
    cdef Records freezing

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
        o.limited = options.get("limit") is not None
        o.limit = options.get("limit") or 0
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
        if self.freezing is not None:
            self._collect_some(FREEZE_STEP)  # what it has not yet refers to segments where they are: no compaction meanwhile
        elif (self.pinned_rows > 2 * self.pinned_after_compaction and self.pinned_rows > 4 * self.store.live) or (
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
        cdef uint64_t total = self.nfa.found
        self.nfa.found = 0
        if r.n_rows == 0:
            return None if late is None and total == 0 else RawResults(
                np.empty(0, _RESULT_DTYPE), np.empty(0, _EVENT_DTYPE), {}, late, total
            )
        rows = np.empty(r.n_rows, _RESULT_DTYPE)
        events = np.empty(r.n_events, _EVENT_DTYPE)
        memcpy(<void *> address_of(rows), r.rows, r.n_rows * sizeof(result))
        memcpy(<void *> address_of(events), r.events, r.n_events * sizeof(result_event))
        shown = self._shown(r)
        r.n_rows = 0
        r.n_events = 0
        return RawResults(rows, events, shown, late, total)

    cdef dict _shown(self, const results *r):
        """The segments of the events in results, by number."""
        cdef uint64_t i
        cdef uint32_t last = NO_SEGMENT
        cdef dict shown = {}
        if len(self.segments) == 1:
            return dict(self.segments)
        seen = np.zeros(self.store.n_segments, np.uint8)
        cdef uint8_t *marks = <uint8_t *> address_of(seen)
        for i in range(r.n_events):
            if r.events[i].event.segment != last:
                last = r.events[i].event.segment
                marks[last] = 1
        for id in np.flatnonzero(seen).tolist():
            shown[id] = self.segments[id]
        return shown

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
            self._collect_some(ALL)
            self._compact()
        finally:
            self.busy = False

    cdef int _compact(self) except -1:
        """Sparse or small segments are rewritten: what is live in them moves to a new one, and every holder is told."""
        cdef dict groups = {}
        strict_trim(&self.nfa.strict)
        self._sweep()  # what is dead already would go with the first group, also from the others
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
        for i in range(self.nfa.n_compact_keys):
            for k in range(self.nfa.compact_keys[i].first, self.nfa.compact_keys[i].end):
                self._visit(&self.nfa.compact_keys[i].events[k].event, base, mark, place, to)
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
            "dropped_partials": c.dropped_partials, "expired_keys": c.expired_keys, "partials": compact_add(self.nfa.n_runs + self.nfa.strict.n_runs, nfa_compact_partials(&self.nfa)),
            "held": self.nfa.n_held, "keys": keys, "timers": self.nfa.timers.n + self.nfa.strict_timers.n + self.nfa.compact_timers.n, "nodes": self.nfa.graph.n_live, "single": self.nfa.n_single,
            "strict": self.nfa.strict.n_live, "compact": self.nfa.n_compact_live,
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
        if live != self.nfa.graph.n_live + self.nfa.n_single + strict_references(&self.nfa.strict) + nfa_compact_references(&self.nfa) + reorder_size(&self.reorder) + lags:
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
        """(Records of what is held, numbers by name): the state of now."""
        self._enter()
        try:
            return self._collect(), self._numbers()
        finally:
            self.busy = False

    def freeze(self, bint track):
        """(Records that begin to show the state of now, numbers by name): pushes complete them, or collect.

        track: changes are tracked from now on, as changes() tells them.
        """
        cdef Records found
        self._enter()
        try:
            self._collect_some(ALL)
            found = self._records()
            self._check_collected(nfa_freeze(&self.nfa, &found.records, track))
            found.complete = False
            self.freezing = found
            return found, self._numbers()
        finally:
            self.busy = False

    def collect(self, budget=None):
        """Copy up to so many things more of what a freeze does not have yet. Returns whether it has all."""
        self._enter()
        try:
            return self._collect_some(ALL if budget is None else <uint64_t> budget)
        finally:
            self.busy = False

    cdef bint _collect_some(self, uint64_t budget) except -1:
        cdef status st
        cdef uint8_t complete = 1
        if self.freezing is None:
            return True
        with nogil:
            st = nfa_collect_some(&self.nfa, budget, &complete)
        if st:
            self.stopped = "out of memory"
            raise MemoryError(self.stopped)
        if complete:
            self.freezing.complete = True
            self.freezing = None
        return complete != 0

    def register_kinds(self):
        """Per pattern, whether each register of its runs holds a node."""
        cdef uint32_t p, slot
        return [[bool(plan_register_is_node(&self.plan, &self.plan.patterns[p], slot)) for slot in range(self.plan.patterns[p].n_registers)]
                for p in range(self.plan.n_patterns)]

    def changes(self):
        """What has changed since the last checkpoint: (records, numbers, births of what is gone, (keyspaces, positions) of lags gone)."""
        cdef Records found
        cdef changes *c
        cdef uint32_t i
        self._enter()
        try:
            self._collect_some(ALL)
            c = self.nfa.changes
            if c == NULL or not c.tracking:
                raise StateError("changes are not tracked: take a snapshot with base=True first")
            found = self._records()
            self._check_collected(nfa_collect_changes(&self.nfa, &found.records))
            gone = np.array([c.gone[i] for i in range(c.n_gone)], np.uint64)
            keyspaces = np.array([c.gone_lags[i].keyspace for i in range(c.n_gone_lags)], np.uint32)
            positions = np.array([c.gone_lags[i].position for i in range(c.n_gone_lags)], np.uint64)
            nfa_changes_taken(&self.nfa)
            return found, self._numbers(), gone, (keyspaces, positions)
        finally:
            self.busy = False

    cdef dict _numbers(self):
        return {
            "watermark": [self.mark.out_of_order, self.mark.highest, self.mark.current], "order": self.nfa.order, "now": self.nfa.now,
            "rows_seen": self.rows_seen, "late_seen": self.late_seen, "counters": self.nfa.counters,
        }

    cdef Records _collect(self):
        cdef Records found = self._records()
        cdef status st
        with nogil:
            st = nfa_collect(&self.nfa, &found.records)
        self._check_collected(st)
        return found

    cdef int _check_collected(self, status st) except -1:
        if st == STATUS_TOO_MANY_PARTIALS:
            raise StateError("a key has over 16,777,216 open partial matches: more than a snapshot holds, which has them one by one; "
                             "take one when fewer are open, or shorten within()")
        if st:
            raise MemoryError
        return 0

    cdef Records _records(self):
        """Records with what waits in the reorder buffer, and the segments of now."""
        cdef Records found = Records()
        cdef uint32_t n = reorder_size(&self.reorder), i
        cdef records *r = &found.records
        records_init(r, &found.arena, &self.plan)
        r.waiting = <event_ref *> arena_alloc(&found.arena, n * sizeof(event_ref))
        if r.waiting == NULL:
            raise MemoryError
        r.waiting_capacity = r.n_waiting = n
        for i in range(n):
            r.waiting[i] = self.reorder.items[self.reorder.head + i].event
        found.owner = self
        found.complete = True
        found.segments = dict(self.segments)
        rows = np.zeros(self.store.n_segments, np.uint32)
        for id, batch in self.segments.items():
            rows[id] = batch.n_rows
        found.rows = rows
        return found

    def restore(self, dict numbers, dict tables, list batches, places):
        """Fill a fresh engine.

        Args:
            numbers: as export gives them. tables: columns as arrays, by table and name. batches: Segments that hold the events.
            places: int64, where each event, by number, lies in all the batches' rows, one batch after the other.

        Raises StateError for anything out of range; the engine is then stopped.
        """
        if self.rows_seen or self.segments:
            raise FykeError("only a fresh engine can be restored into")
        self._enter()
        try:
            self._restore(numbers, tables, batches, places)
        except (IndexError, ValueError, TypeError, KeyError, OverflowError) as error:
            self.stopped = "its restore failed"
            raise StateError(f"the snapshot does not fit together: {error}") from error
        except (StateError, MemoryError):
            self.stopped = "its restore failed"
            raise
        finally:
            self.busy = False

    cdef int _restore(self, dict numbers, dict tables, list batches, places) except -1:
        cdef nfa_tables t
        cdef const char *reason = NULL
        cdef list kept = []
        cdef Segment batch
        cdef status st
        memset(&t, 0, sizeof(t))
        _point_at(&t, tables, kept)
        refs = np.empty(len(places), _EVENT_REF_DTYPE)
        ids, ends = [], np.cumsum([0] + [len(item) for item in batches])
        if len(places) != ends[len(batches)] or len(places) >= 1 << 31:
            raise StateError("the snapshot has another number of events than rows of them")
        for item in batches:
            batch = item
            self._open(batch)
            run_row_programs(&self.vm, &self.plan, &self.store, batch.id)
            ids.append(batch.id)
        of = np.searchsorted(ends, places, "right") - 1
        refs["segment"] = np.array(ids, np.uint32)[of] if ids else 0
        refs["row"] = places - ends[of]
        t.events = <const event_ref *> address_of(refs)
        t.n_events = <uint32_t> len(refs)
        with nogil:
            st = nfa_restore(&self.nfa, &t, &reason)
        if st == STATUS_BAD_SNAPSHOT:
            raise StateError("snapshot: " + reason.decode())
        if st:
            raise MemoryError
        self._restore_waiting(tables["waiting"]["event"], refs)
        self.mark.out_of_order, self.mark.highest, self.mark.current = numbers["watermark"]
        self.nfa.order = numbers["order"]
        self.nfa.now = numbers["now"]
        self.rows_seen = numbers["rows_seen"]
        self.late_seen = numbers["late_seen"]
        self.nfa.counters = numbers["counters"]
        for item in batches:
            self._unpin(item)
        self._sweep()
        return 0

    cdef int _restore_waiting(self, waits, refs) except -1:
        cdef uint32_t n = <uint32_t> len(waits), i
        cdef event_time_t before = TIME_MIN
        cdef const event_ref *found
        if n and (waits.min() < 0 or waits.max() >= len(refs)):
            raise StateError("a waiting event is not there")
        taken = np.ascontiguousarray(refs[waits])
        found = <const event_ref *> address_of(taken)
        self._reserve_arrivals(n)
        for i in range(n):
            self.arrivals[i].event = found[i]
            self.arrivals[i].time = self.store.segments[found[i].segment].times[found[i].row]
            if self.arrivals[i].time < before:
                raise StateError("waiting events are out of order")
            before = self.arrivals[i].time
            event_retain(&self.store, found[i].segment)
        if reorder_add(&self.reorder, self.arrivals, n):
            raise MemoryError
        return 0
