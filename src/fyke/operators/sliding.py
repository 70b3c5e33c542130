"""Sliding windows: for each row the aggregates over the rows of its key from a length of time before it up to it.

The semantics and the state are the kernel's, csrc/sliding.h; here rows become segments, and what it finds becomes
columns: the key, window_start, window_end, revision, final, then the aggregates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fyke import expr as ex
from fyke._core import RowStore, Segment, SlidingCore, SlidingFound
from fyke.agg import Aggregate
from fyke.aggplan import compile_aggregates
from fyke.batches import Encoder, Payloads
from fyke.duration import format_ns
from fyke.errors import StateError
from fyke.expr import Expr
from fyke.operator import Batch, Output, State
from fyke.operators.aggregates import result_arrays, take_values
from fyke.operators.keys import key_parts, named_keys
from fyke.operators.python_aggregates import PythonAggregates
from fyke.operators.sides import natural, numbers_of, of_rows, rows_of
from fyke.schema import Schema
from fyke.window import Sliding

__all__ = ["SlidingWindows"]

_TIME: Final = pa.timestamp("ns", "UTC")
_COUNTED: Final = ("rows", "late", "null_keys", "overflows")
_RECORDS: Final = pa.schema([("number", pa.uint64()), ("time", pa.int64()), ("place", pa.uint8())])
_WAITING: Final = 2


class SlidingWindows:
    """A result for each row, when the watermark has passed it; an operator with one input.

    Side outputs: late (time <= watermark), errors (a part of the key is null).

    Args:
        window: how far back.
        aggregates: by the name of the result's column.
        schema: the columns of the input.
        keys: the parts of the key, by name if they are no plain columns; none: all rows are of one key.

    Raises:
        DefinitionError: what is given is no aggregate, or a key has no name.
        SchemaError: an expression and the schema do not meet.
    """

    def __init__(
        self,
        window: Sliding,
        aggregates: Mapping[str, Aggregate],
        schema: pa.Schema,
        keys: Mapping[str, Expr] | Sequence[Expr] = (),
    ) -> None:
        self.window = window
        self.input = pa.schema([pa.field(field.name, field.type) for field in schema])
        known = Schema.from_arrow(self.input)
        self.named = named_keys(keys)
        self.plan = compile_aggregates(known, list(self.named.values()), aggregates)
        self.keys = key_parts(self.named, self.plan.rows.key_types, known)
        between = [("window_start", _TIME), ("window_end", _TIME), ("revision", pa.int64()), ("final", pa.bool_())]
        self._schema = pa.schema([*((part.name, part.arrow) for part in self.keys), *between, *self.plan.fields])
        read = {c.name for c in self.plan.rows.plan.columns if c.kind == "input"}
        # Rows of no columns are no rows: one is kept even if nothing is read.
        keep = self.plan.payload if read else self.input.names[:1]
        self.kept = pa.schema([field for field in self.input if field.name in read or field.name in keep])
        self.encoder = Encoder(self.plan.rows.plan, "", None, keep)
        self.store = RowStore(self.plan.rows.plan.tables, Payloads)
        self.core = SlidingCore(self.store, window.before, self.plan.tables, self.plan.has_python)
        self.python = PythonAggregates(self.plan)
        self.arrived = 0

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        return self._schema

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks. Amortised O(log n) a row, n rows waiting; O(1) for its window."""
        (batch,) = inputs
        numbers = np.arange(self.arrived, self.arrived + len(batch), dtype=np.uint64)
        self.arrived += len(batch)
        found = self.core.step(
            self._segment(batch.rows, batch.times, numbers),
            np.ascontiguousarray(batch.origins, np.uint64),
            np.ascontiguousarray(batch.marks.origins, np.uint64),
            np.ascontiguousarray(batch.marks.times, np.int64),
        )
        python = self._replay(found)
        side = self._side(batch, found)
        if len(found.rows) == 0:
            return Output(Batch.empty(self.schema, batch.marks), side)
        times = np.ascontiguousarray(found.rows["time"])
        arrays = self._key_columns(found) + self._bounds(times)
        arrays += result_arrays(self.plan, found.values, found.segments, python)
        rows = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return Output(Batch(rows, times, np.ascontiguousarray(found.rows["origin"]), batch.marks), side)

    def _segment(self, rows: pa.RecordBatch, times: Any, numbers: Any) -> Segment:
        return self.encoder.with_times(rows, np.ascontiguousarray(times, np.int64), np.ascontiguousarray(numbers))

    def _replay(self, found: SlidingFound) -> list[pa.Array]:
        if not self.plan.has_python:
            return []
        try:
            return self.python.replay(found.log, found.segments)
        except Exception as error:
            self.core.stop(f"an aggregate raised {type(error).__name__}")
            raise

    def _key_columns(self, found: SlidingFound) -> list[pa.Array]:
        events = found.rows[["segment", "row"]]
        valid = np.ones(len(events), np.bool_)
        columns = []
        for part, key, number in zip(self.keys, self.named.values(), self.plan.rows.key, strict=True):
            payload = key.name if isinstance(key, ex.Column) else None
            columns.append(take_values(number, payload, part.arrow, events, valid, found.segments))
        return columns

    def _bounds(self, times: Any) -> list[pa.Array]:
        before, n = self.window.before, len(times)
        # The earliest time there is, where the window would begin before it.
        starts = np.where(times < np.iinfo(np.int64).min + before, np.iinfo(np.int64).min, times - before)
        bounds = [pa.array(np.ascontiguousarray(each)).view(_TIME) for each in (starts, times)]
        return [*bounds, pa.array(np.zeros(n, np.int64)), pa.array(np.ones(n, np.bool_))]

    def _side(self, batch: Batch, found: SlidingFound) -> dict[str, pa.Table]:
        out = {}
        if len(found.late):
            out["late"] = pa.Table.from_batches([batch.rows.take(pa.array(found.late))])
        if len(found.null_keys):
            rows = pa.Table.from_batches([batch.rows.take(pa.array(found.null_keys))])
            out["errors"] = rows.append_column("error", pa.array(["a part of the key is null"] * len(rows)))
        return out

    def statistics(self) -> dict[str, int]:
        """Give counts since the start (rows, late, null_keys, overflows); held now: waiting, held, keys, bytes."""
        counters, store = self.core.counters(), self.store.counters()
        counters["bytes"] += store["bytes"] + store["payload_bytes"]
        return counters

    def export(self) -> State:
        """Give the whole state: the rows of all windows and those that wait, the watermark, counts.

        Aggregates are not in it: they are made again of the rows.
        """
        records = self.core.held()
        segments, ids, rows = self.store.segments, records["segment"], records["row"]
        numbers = numbers_of(segments, ids, rows)
        times = of_rows(segments, ids, rows, "times", np.int64)
        order = np.lexsort((numbers, times, records["flag"] == _WAITING))
        records, numbers, times = records[order], numbers[order], times[order]
        counters = self.core.counters()
        meta = {"watermark": self.core.watermark, "arrived": self.arrived}
        return {
            "sliding": meta | {name: counters[name] for name in _COUNTED},
            "sliding.rows": rows_of(segments, records["segment"], records["row"], self.kept),
            "sliding.places": pa.RecordBatch.from_arrays(
                [pa.array(numbers), pa.array(times), pa.array(np.ascontiguousarray(records["flag"]))], schema=_RECORDS
            ),
        }

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        try:
            meta: Any = state["sliding"]
            rows, records = state["sliding.rows"], state["sliding.places"]
            counters = tuple(natural(meta, name) for name in _COUNTED)
            arrived, watermark = natural(meta, "arrived"), meta["watermark"]
        except (KeyError, TypeError) as error:
            raise StateError(f"the state of sliding windows: {error!r} is missing or damaged") from None
        if type(watermark) is not int or not -(2**63) <= watermark < 2**63:
            raise StateError(f"watermark is {watermark!r:.60}")
        if not isinstance(rows, pa.RecordBatch) or rows.schema != self.kept:
            raise StateError("section sliding.rows: these are not the columns that the windows read")
        if not isinstance(records, pa.RecordBatch) or records.schema != _RECORDS:
            raise StateError("section sliding.places: other columns than expected")
        if len(rows) != len(records) or any(column.null_count for column in records.columns):
            raise StateError("section sliding.places: rows are missing, or null")
        numbers, times, places = (column.to_numpy() for column in records.columns)
        if len(np.unique(numbers)) < len(numbers) or (len(numbers) and int(numbers.max()) >= arrived):
            raise StateError("section sliding.places: an arrival number is there twice, or too high")
        self.arrived = arrived
        segment = self._segment(rows, times, numbers)
        self._replay(self.core.restore(watermark, segment, np.ascontiguousarray(places), counters))

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        reason = self.core.check()
        assert reason is None, reason

    def describe(self) -> str:
        """Say what waits for what."""
        keys = ", ".join(self.named)
        names = ", ".join(column.name for column in self.plan.columns)
        return (
            f"windows{f' by {keys}' if keys else ''}: {self.window!r}: {names}\n"
            "  a row waits until the watermark reaches it; its result comes then, in order of time\n"
            f"  it is kept for {format_ns(self.window.before)} of event time, for the results of later rows"
        )
