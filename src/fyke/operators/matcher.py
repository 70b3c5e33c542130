"""Patterns as an operator: wraps the pattern core; each match is a row, and so an event for what comes next.

A match has the time at which it was certain: that of the event that completed it, or of the deadline that proved an
absence. Its column `time` is the time of its last event, as that of a Match is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import Core, RawResults, Segment, count_from
from fyke.batches import Encoder, Payloads, RowView, as_arrow
from fyke.compiler import compile_plan
from fyke.errors import LimitError, SkipError, StateError
from fyke.match import KINDS, gathered, payload_of, stage_column
from fyke.matching import match_columns
from fyke.nodes import Matching
from fyke.operator import END, START, Batch, Marks, Output, State
from fyke.plan import PatternPlan
from fyke.schema import Schema
from fyke.snapshot import export_core, read_core
from fyke.upgrade import Moving, Upgrade

__all__ = ["Matcher"]

MATCH, TIMEOUT, HELD = range(3)
Places = npt.NDArray[np.intp]


class Matcher:
    """Runs patterns over a stream.

    Args:
        node: patterns and their limits.
        schema: of the input.

    Raises:
        SchemaError: they do not meet.
    """

    def __init__(self, node: Matching, schema: pa.Schema) -> None:
        self._node = node
        self._input = schema
        self._columns = match_columns(node.patterns, schema, node.kept)
        self.schema = self._columns.schema
        self._plan = compile_plan(node.patterns, Schema.from_arrow(schema), one_by_one=node.limits.one_by_one)
        self._encoder = Encoder(self._plan, "", None, node.kept)
        names = tuple(tuple(s.name for s in p.stages) for p in self._plan.patterns)
        owners = tuple((tuple(s.name for s in self._plan.patterns[p].stages), fn) for p, fn in self._plan.callables)
        self._core = Core(self._plan.tables, owners, names, _view, Payloads, 0, node.limits.core())
        self._watermark = START
        self._position = 0

    # -- the step

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks."""
        (batch,) = inputs
        marks = batch.marks
        after = int(marks.times[-1]) if len(marks) else self._watermark
        found: list[RawResults] = []
        try:
            raw = self._push(batch, after)
            if raw is not None:
                found.append(raw)
            if after == END and self._watermark < END and (raw := self._core.flush()) is not None:
                found.append(raw)
        except (LimitError, SkipError) as error:
            if error.found is not None:
                found.append(error.found)
            error.results = self._output(found, marks, at=int(batch.origins[-1]) if len(batch) else 0)
            raise
        self._watermark = after
        return self._output(found, marks)

    def _push(self, batch: Batch, after: int) -> RawResults | None:
        n = len(batch)
        if not n:
            return self._core.advance(after) if after > self._watermark else None
        positions = count_from(self._position, n)
        segment = self._encoder.with_times(batch.rows, np.ascontiguousarray(batch.times), positions)
        under = np.ascontiguousarray(batch.marks.under(batch.origins, self._watermark))
        self._position += n
        return self._core.push(segment, under, after)

    def _output(self, found: Sequence[RawResults], marks: Marks, at: int | None = None) -> Output:
        of_kind: tuple[list[Batch], ...] = ([], [], [])
        late = []
        for raw in found:
            for kind, parts in enumerate(of_kind):
                index = np.flatnonzero(raw.rows["kind"] == kind)
                if len(index):
                    parts.append(self._rows(raw, index, marks, at))
            if raw.late is not None:
                segment, rows = raw.late
                late.append(pa.Table.from_batches([segment.source]).take(pa.array(rows)))
        side: dict[str, Any] = {}
        if late:
            side["late"] = pa.concat_tables(late)
        if of_kind[TIMEOUT]:
            side["timeouts"] = _one(of_kind[TIMEOUT], marks)
        if of_kind[HELD]:
            side["held"] = pa.Table.from_batches([_one(of_kind[HELD], marks).rows])
        matches = _one(of_kind[MATCH], marks) if of_kind[MATCH] else Batch.empty(self.schema, marks)
        return Output(matches, side)

    # -- results as rows

    def _rows(self, raw: RawResults, index: Places, marks: Marks, at: int | None) -> Batch:
        records = raw.rows[index]
        counts = records["n_events"].astype(np.int64)
        ends = np.cumsum(counts)
        starts = ends - counts
        flat = np.arange(int(ends[-1])) - np.repeat(starts - records["first_event"].astype(np.int64), counts)
        events = raw.events[flat]
        owner = np.repeat(np.arange(len(records)), counts)
        event_times = gathered(raw, events, "times")
        payload = payload_of(raw, events)
        plans = self._plan.patterns
        labels = np.empty(len(events), object)
        for p in np.unique(records["pattern"]):
            names = np.array([s.name for s in plans[int(p)].stages], object)
            mine = records["pattern"][owner] == p
            labels[mine] = names[events["stage"][mine]]
        arrays = [
            self._key(i, places, raw, events[starts], starts, records, payload)
            for i, places in enumerate(self._columns.keys)
        ]
        positions = gathered(raw, events, "positions")
        arrays += [
            pa.array([plans[int(p)].name for p in records["pattern"]], pa.string()),
            _time(event_times[starts]),
            _time(event_times[ends - 1]),
            _time(records["released"]),
            pa.array(_ids(plans, records, labels, positions, starts, ends), pa.string()),
        ]
        for name, repeats in self._columns.stages:
            mine = np.flatnonzero(labels == name)
            arrays.append(stage_column(payload, mine, owner[mine], len(records), repeats))
        rows = pa.RecordBatch.from_arrays(
            [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, self.schema, strict=True)],
            schema=self.schema,
        )
        times = np.ascontiguousarray(records["time"])
        origins = marks.releasing(times) if at is None else np.full(len(times), at, np.uint64)
        return Batch(rows, times, origins, marks)

    def _key(
        self,
        number: int,
        places: Sequence[int | None],
        raw: RawResults,
        firsts: npt.NDArray[Any],
        starts: npt.NDArray[np.int64],
        records: npt.NDArray[Any],
        payload: pa.Table,
    ) -> pa.Array:
        """Key column `number`: of the first event of each match; null where its pattern has no such key."""
        field = self.schema.field(number)
        in_payload = payload.schema.get_field_index(field.name) >= 0
        has = np.array([places[int(p)] is not None for p in records["pattern"]])
        if in_payload and (field.name in self._input.names):
            take = pa.array(starts, mask=~has)
            return payload.column(field.name).combine_chunks().take(take)
        values = np.full(len(records), None, object)
        for p, place in enumerate(places):
            if place is None:
                continue
            column = self._plan.patterns[p].key_columns[place]
            for id in np.unique(firsts["segment"][records["pattern"] == p]):
                mine = np.flatnonzero((records["pattern"] == p) & (firsts["segment"] == id))
                segment = raw.segments[int(id)]
                values[mine] = (
                    as_arrow(segment.columns[column], len(segment)).take(pa.array(firsts["row"][mine])).to_pylist()
                )
        return _of_physical(values.tolist(), field.type)

    # -- what operators give besides

    def statistics(self) -> dict[str, int]:
        """Give the counters of the core; see fyke.Statistics."""
        return self._core.counters()

    def export(self) -> State:
        """Give the state of the core."""
        state = export_core(self._plan, self._core, self._position)
        state["operator"] = {"watermark": self._watermark}
        return state

    def restore(self, state: State) -> None:
        """Take it over."""
        own = state.get("operator")
        if not isinstance(own, dict) or type(own.get("watermark")) is not int or not START <= own["watermark"] <= END:
            raise StateError("the watermark of a matcher is missing")
        snapshot = read_core(state)
        snapshot.fill(self._plan, self._core)
        self._position = snapshot.position
        self._watermark = own["watermark"]

    def upgrade(self, state: State, upgrade: Upgrade) -> None:
        """Take over the state of other patterns; see fyke.upgrade."""
        own = state.get("operator")
        if not isinstance(own, dict) or type(own.get("watermark")) is not int:
            raise StateError("the watermark of a matcher is missing")
        snapshot = read_core(state)
        moving = Moving(snapshot, self._node.patterns, upgrade)
        if moving.retired:
            raise StateError('a matcher of a stream cannot finish an old version: say rest="drop"')
        moving.fill(self._plan, self._encoder, self._core)
        self._position, self._watermark = snapshot.position, own["watermark"]

    def check(self) -> None:
        """Walk all invariants of the core."""
        reason = self._core.check()
        assert reason is None, reason

    def explain(self) -> list[str]:
        """Say how the patterns run."""
        return list(self._plan.notes)


def _view(segment: Segment, row: int) -> RowView:
    return RowView(segment.source, row)


def _time(ns: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.ascontiguousarray(ns)).cast(pa.timestamp("ns", "UTC"))


def _of_physical(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Values as the core holds them, in the type that they stand for."""
    if pa.types.is_boolean(type_):
        return pa.array([None if v is None else bool(v) for v in values], type_)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_date(type_):
        return pa.array(values, pa.int32()).cast(type_)
    return pa.array(values, type_)


def _ids(
    plans: Sequence[PatternPlan],
    records: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    positions: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> list[str]:
    """The deterministic name of each match, as Match.id gives it."""
    parts = [f"{a}@{b}" for a, b in zip(labels.tolist(), positions.tolist(), strict=True)]
    return [
        f"{plans[p].name or p}/{KINDS[kind]}/{','.join(parts[a:b])}"
        for p, kind, a, b in zip(
            records["pattern"].tolist(), records["kind"].tolist(), starts.tolist(), ends.tolist(), strict=True
        )
    ]


def _one(parts: Sequence[Batch], marks: Marks) -> Batch:
    if len(parts) == 1:
        return parts[0]
    rows = pa.Table.from_batches([p.rows for p in parts]).combine_chunks().to_batches()[0]
    return Batch(rows, np.concatenate([p.times for p in parts]), np.concatenate([p.origins for p in parts]), marks)
