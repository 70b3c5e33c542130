"""The two sides of a join while it runs: what it reads of their rows, their common order, and the rows it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import Arrivals, JoinFound, RowStore, Segment
from fyke.batches import Encoder, Payloads
from fyke.errors import DefinitionError, SchemaError, StateError
from fyke.expr import Expr
from fyke.operator import Batch, State
from fyke.operators.merge import Merge, Merged
from fyke.rowplan import compile_rows
from fyke.schema import Schema

__all__ = ["NONE", "Given", "Side", "Sides", "natural", "no_rows", "numbers_of", "of_rows", "rows_of"]

NONE: Final = 2**32 - 1
"""The segment of no row."""
_RECORDS: Final = pa.schema([("number", pa.uint64()), ("time", pa.int64()), ("flag", pa.uint8())])
Flags: TypeAlias = npt.NDArray[np.uint8]
Given: TypeAlias = tuple[pa.Schema, Sequence[Expr]]
"""Of a side: the columns, and the parts of the key."""


class Side:
    """One side of a join.

    Args:
        name: left or right, for errors.
        schema: its columns.
        keys: the parts of the key; none: all rows are of one key.
        conditions: of single rows, each a bit of the row's mask.

    Raises:
        SchemaError: a key or condition and the schema do not meet.
    """

    def __init__(self, name: str, schema: pa.Schema, keys: Sequence[Expr], conditions: Sequence[Expr] = ()) -> None:
        self.name = name
        self.schema = pa.schema([pa.field(field.name, field.type) for field in schema])
        self.keys = tuple(keys)
        self.rows = compile_rows(Schema.from_arrow(schema), self.keys, (), conditions)
        self.encoder = Encoder(self.rows.plan, "", None, None)
        self.store = RowStore(self.rows.plan.tables, Payloads)

    def segment(self, rows: pa.RecordBatch, times: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint64]) -> Segment:
        """Make a Segment of rows whose times and arrival numbers are known."""
        return self.encoder.with_times(rows, np.ascontiguousarray(times), np.ascontiguousarray(numbers))

    def none(self) -> Segment:
        """Make a Segment without rows."""
        return self.segment(no_rows(self.schema), np.zeros(0, np.int64), np.zeros(0, np.uint64))


class Sides:
    """The sides of a join, their common order and arrival numbers.

    Args:
        left, right: the schema and the keys of each side; right None: there is one input.
        conditions: of single rows of each side.

    Raises:
        DefinitionError: keys of different length. SchemaError: parts of them whose types cannot be equal.
    """

    def __init__(
        self,
        left: Given,
        right: Given | None,
        conditions: tuple[Sequence[Expr], Sequence[Expr]] = ((), ()),
    ) -> None:
        self.left = Side("left", *left, conditions[0])
        self.right = Side("right", *(right or left), conditions[1])
        self.fed = [self.left] if right is None else [self.left, self.right]
        self.merge = Merge(len(self.fed))
        self.arrived = 0
        if len(self.left.keys) != len(self.right.keys):
            one, other = _named(self.left.keys), _named(self.right.keys)
            raise DefinitionError(f"a join needs as many parts of the key on the left, {one}, as on the right, {other}")
        for here, there, one, other in zip(
            self.left.keys, self.right.keys, self.left.rows.key_types, self.right.rows.key_types, strict=True
        ):
            if one != other:
                raise SchemaError(
                    f"key {here!r} of the left side is {one}, {there!r} of the right side is {other}: "
                    "no key is equal to one of another type; convert one of them"
                )

    @property
    def key(self) -> str:
        """The key in words, by its left names."""
        return _named(self.left.keys)

    def take(self, inputs: Sequence[Batch]) -> tuple[Merged, list[Segment | None], Arrivals]:
        """Put the next batches in order, and give what a kernel takes of them."""
        merged = self.merge.step(inputs)
        numbers = np.arange(self.arrived, self.arrived + len(merged), dtype=np.uint64)
        self.arrived += len(merged)
        segments: list[Segment | None] = [None, None]
        for i, (side, batch) in enumerate(zip(self.fed, inputs, strict=True)):
            if len(batch):
                segments[i] = side.segment(batch.rows, batch.times, numbers[merged.inputs == i])
        arrivals = Arrivals(
            merged.inputs.astype(np.uint8),
            merged.rows.astype(np.uint32),
            merged.origins.astype(np.uint64, copy=False),
            merged.marks.origins.astype(np.uint64, copy=False),
            merged.marks.times.astype(np.int64, copy=False),
        )
        return merged, segments, arrivals

    def side_outputs(self, inputs: Sequence[Batch], merged: Merged, found: JoinFound) -> dict[str, pa.Table]:
        """Give the rows that took no part: late_left, late_right, errors_left, errors_right; those that there are.

        With one input: late, errors.
        """
        out: dict[str, pa.Table] = {}
        for what, places in (("late", found.late), ("errors", found.null_keys)):
            for i, batch in enumerate(inputs):
                rows = merged.rows[places[merged.inputs[places] == i]] if len(places) else places
                if len(rows):
                    table = pa.Table.from_batches([batch.rows.take(pa.array(rows))])
                    if what == "errors":
                        table = table.append_column("error", pa.array(["a part of the key is null"] * len(rows)))
                    out[what if len(self.fed) == 1 else f"{what}_{self.fed[i].name}"] = table
        return out

    def export(self, held: Sequence[npt.NDArray[Any]]) -> tuple[dict[str, Any], State]:
        """Give what JSON can say, and the held rows of each side, in order of arrival, with number, time and flag."""
        state: State = {}
        for side, records in zip(self.fed, held, strict=False):
            segments, ids, rows = side.store.segments, records["segment"], records["row"]
            numbers = numbers_of(segments, ids, rows)
            times = of_rows(segments, ids, rows, "times", np.int64)
            order = np.argsort(numbers)
            columns = {"number": numbers[order], "time": times[order], "flag": records["flag"][order]}
            state[side.name] = rows_of(segments, ids[order], rows[order], side.schema)
            state[f"{side.name}.rows"] = pa.RecordBatch.from_pydict(columns)
        return {"arrived": self.arrived, "merge": self.merge.export()}, state

    def restore(self, meta: Mapping[str, Any], state: Mapping[str, Any]) -> list[tuple[Segment, Flags]]:
        """Read what export gave: a Segment of each side's held rows, and their flags."""
        self.merge.restore(meta["merge"])
        self.arrived = natural(meta, "arrived")
        found = []
        for side in self.fed:
            payload, records = state[side.name], state[f"{side.name}.rows"]
            if not isinstance(payload, pa.RecordBatch) or payload.schema != side.schema:
                raise StateError(f"section {side.name}: these are not the columns of the {side.name} side")
            if not isinstance(records, pa.RecordBatch) or records.schema != _RECORDS:
                raise StateError(f"section {side.name}.rows: other columns than expected")
            if len(payload) != len(records) or any(column.null_count for column in records.columns):
                raise StateError(f"section {side.name}.rows: rows are missing, or null")
            numbers, times, flags = (column.to_numpy() for column in records.columns)
            if (numbers[1:] <= numbers[:-1]).any() or (len(numbers) and numbers[-1] >= self.arrived):
                raise StateError(f"section {side.name}.rows: arrival numbers are out of order")
            if (flags > 1).any():
                raise StateError(f"section {side.name}.rows: a flag is 0 or 1")
            found.append((side.segment(payload, times, numbers), np.ascontiguousarray(flags)))
        both = np.sort(np.concatenate([segment.positions for segment, _ in found]))
        if (both[1:] == both[:-1]).any():
            raise StateError("an arrival number is there on both sides")
        if len(self.fed) == 1:
            found.append((self.right.none(), np.zeros(0, np.uint8)))
        return found


def _named(keys: Sequence[Expr]) -> str:
    return ", ".join(map(repr, keys)) or "no key"


def natural(meta: Mapping[str, Any], name: str) -> int:
    """Give a count from a snapshot; raises StateError if it is none."""
    value = meta[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise StateError(f"{name} is {value!r:.60}")
    return value


def numbers_of(
    segments: Mapping[int, Segment], numbers: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> npt.NDArray[np.uint64]:
    """Give the arrival numbers of rows; of the segment NONE the largest there is."""
    return of_rows(segments, numbers, rows, "positions", np.uint64)


def of_rows(
    segments: Mapping[int, Segment], numbers: npt.NDArray[Any], rows: npt.NDArray[Any], what: str, dtype: Any
) -> npt.NDArray[Any]:
    """Give the times or positions of rows; of the segment NONE the largest there is."""
    out = np.full(len(rows), np.iinfo(dtype).max, dtype)
    for number in np.unique(numbers[numbers != NONE]).tolist():
        own = numbers == number
        out[own] = getattr(segments[number], what)[rows[own]]
    return out


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Give no rows of a schema."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def rows_of(
    segments: Mapping[int, Segment], numbers: npt.NDArray[Any], rows: npt.NDArray[Any], schema: pa.Schema
) -> pa.RecordBatch:
    """Give rows of several segments, in this order; a row of the segment NONE is all nulls. O(n log n)."""
    there = numbers != NONE
    used = np.unique(numbers[there])
    if len(used) == 0:
        return pa.RecordBatch.from_arrays([pa.nulls(len(rows), field.type) for field in schema], schema=schema)
    if len(used) == 1:
        index = pa.array(rows, mask=None if there.all() else ~there)
        taken = segments[int(used[0])].source.take(index)
        return pa.RecordBatch.from_arrays(taken.columns, schema=schema)
    by_segment = np.flatnonzero(there)[np.argsort(numbers[there], kind="stable")]
    ends = np.searchsorted(numbers[by_segment], used, side="right")
    parts = [
        segments[int(number)].source.take(pa.array(rows[own]))
        for number, own in zip(used, np.split(by_segment, ends[:-1]), strict=True)
    ]
    together = pa.Table.from_batches([pa.RecordBatch.from_arrays(part.columns, schema=schema) for part in parts])
    place = np.zeros(len(rows), np.int64)
    place[by_segment] = np.arange(len(by_segment))
    return together.combine_chunks().to_batches()[0].take(pa.array(place, mask=None if there.all() else ~there))
