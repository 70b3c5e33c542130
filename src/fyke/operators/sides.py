"""The two sides of a join while it runs: what it reads of their rows, the rows it holds, and the columns it gives.

The columns of a joined row are those of the left row, then those of the right row; a column of a name that is there
already gets a suffix, and a key that is a plain column on both sides is there once, under its left name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke import expr as ex
from fyke._core import Arrivals, JoinFound, RowStore, Segment
from fyke.batches import Encoder, Payloads
from fyke.errors import DefinitionError, SchemaError, StateError
from fyke.expr import Expr
from fyke.operator import Batch, Output, State
from fyke.operators.merge import Merge, Merged
from fyke.rowplan import compile_rows
from fyke.schema import Schema

__all__ = ["NONE", "Columns", "Side", "Sides", "rows_of"]

NONE: Final = 2**32 - 1
"""The segment of no row."""
SIDES: Final = ("left", "right")


class Side:
    """One side of a join.

    Args:
        name: left or right, for errors.
        schema: its columns.
        keys: the parts of the key; none: all rows are of one key.

    Raises:
        SchemaError: a key and the schema do not meet.
    """

    def __init__(self, name: str, schema: pa.Schema, keys: Sequence[Expr]) -> None:
        self.name = name
        self.schema = pa.schema([pa.field(field.name, field.type) for field in schema])
        self.keys = tuple(keys)
        self.rows = compile_rows(Schema.from_arrow(schema), self.keys)
        self.encoder = Encoder(self.rows.plan, "", None, None)
        self.store = RowStore(self.rows.plan.tables, Payloads)

    def segment(self, rows: pa.RecordBatch, times: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint64]) -> Segment:
        """Make a Segment of rows whose times and arrival numbers are known."""
        return self.encoder.with_times(rows, np.ascontiguousarray(times), np.ascontiguousarray(numbers))


class Sides:
    """Both sides of a join, their common order and arrival numbers.

    Args:
        left, right: the schema and the keys of each side.

    Raises:
        DefinitionError: keys of different length. SchemaError: parts of them whose types cannot be equal.
    """

    def __init__(self, left: tuple[pa.Schema, Sequence[Expr]], right: tuple[pa.Schema, Sequence[Expr]]) -> None:
        self.left, self.right = Side("left", *left), Side("right", *right)
        self.merge = Merge(2)
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
        segments: list[Segment | None] = []
        for i, (side, batch) in enumerate(zip((self.left, self.right), inputs, strict=True)):
            own = numbers[merged.inputs == i]
            segments.append(side.segment(batch.rows, batch.times, own) if len(batch) else None)
        arrivals = Arrivals(
            merged.inputs.astype(np.uint8),
            merged.rows.astype(np.uint32),
            merged.origins.astype(np.uint64, copy=False),
            merged.marks.origins.astype(np.uint64, copy=False),
            merged.marks.times.astype(np.int64, copy=False),
        )
        return merged, segments, arrivals

    def side_outputs(self, inputs: Sequence[Batch], merged: Merged, found: JoinFound) -> dict[str, pa.Table]:
        """Give the rows that took no part: late_left, late_right, errors_left, errors_right; those that there are."""
        out: dict[str, pa.Table] = {}
        for what, places in (("late", found.late), ("errors", found.null_keys)):
            for i, batch in enumerate(inputs):
                rows = merged.rows[places[merged.inputs[places] == i]] if len(places) else places
                if len(rows):
                    table = pa.Table.from_batches([batch.rows.take(pa.array(rows))])
                    if what == "errors":
                        table = table.append_column("error", pa.array(["a part of the key is null"] * len(rows)))
                    out[f"{what}_{SIDES[i]}"] = table
        return out

    def export(self, held: Sequence[npt.NDArray[Any]]) -> tuple[dict[str, Any], State]:
        """Give what JSON can say, and the held rows of each side with their records in the order of arrival."""
        state: State = {}
        for side, records in zip((self.left, self.right), held, strict=True):
            segments = side.store.segments
            numbers = _of_rows(segments, records, "positions", np.uint64)
            order = np.argsort(numbers)
            records, numbers = records[order], numbers[order]
            columns = {"number": numbers, "time": _of_rows(segments, records, "times", np.int64)}
            columns |= {name: records[name] for name in (records.dtype.names or ())[2:]}
            state[side.name] = rows_of(segments, records["segment"], records["row"], side.schema)
            state[f"{side.name}.rows"] = pa.RecordBatch.from_pydict(columns)
        return {"arrived": self.arrived, "merge": self.merge.export()}, state

    def restore(self, meta: Mapping[str, Any], state: State, extra: Sequence[str]) -> list[tuple[Segment, Any]]:
        """Read what export gave: a Segment of each side's held rows, and their record columns named in `extra`."""
        self.merge.restore(meta["merge"])
        self.arrived = natural(meta, "arrived")
        found = []
        for side in (self.left, self.right):
            payload, records = state[side.name], state[f"{side.name}.rows"]
            types = [("number", pa.uint64()), ("time", pa.int64()), *((name, pa.uint8()) for name in extra)]
            if not isinstance(payload, pa.RecordBatch) or payload.schema != side.schema:
                raise StateError(f"section {side.name}: these are not the columns of the {side.name} side")
            if not isinstance(records, pa.RecordBatch) or records.schema != pa.schema(types):
                raise StateError(f"section {side.name}.rows: other columns than expected")
            if len(payload) != len(records) or any(column.null_count for column in records.columns):
                raise StateError(f"section {side.name}.rows: rows are missing, or null")
            numbers, times, *others = (column.to_numpy() for column in records.columns)
            if (numbers[1:] <= numbers[:-1]).any() or (len(numbers) and numbers[-1] >= self.arrived):
                raise StateError(f"section {side.name}.rows: arrival numbers are out of order")
            found.append((side.segment(payload, times, numbers), others))
        both = np.concatenate([segment.positions for segment, _ in found])
        if len(np.unique(both)) < len(both):
            raise StateError("an arrival number is there on both sides")
        return found


def _named(keys: Sequence[Expr]) -> str:
    return ", ".join(map(repr, keys)) or "no key"


def natural(meta: Mapping[str, Any], name: str) -> int:
    """Give a count from a snapshot; raises StateError if it is none."""
    value = meta[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise StateError(f"{name} is {value!r:.60}")
    return value


def _of_rows(segments: Mapping[int, Segment], records: npt.NDArray[Any], what: str, dtype: Any) -> npt.NDArray[Any]:
    out = np.empty(len(records), dtype)
    for number in np.unique(records["segment"]).tolist():
        own = records["segment"] == number
        out[own] = getattr(segments[number], what)[records["row"][own]]
    return out


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


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column of a joined row comes from."""

    name: str
    type: pa.DataType
    side: int
    place: int
    else_place: int = -1
    """A key: the column of the right row that says it where there is no left row."""


class Columns:
    """The columns of joined rows.

    Args:
        sides: of the join.
        suffix: what a right column gets whose name is there on the left.

    Raises:
        SchemaError: a name with the suffix is taken as well.
    """

    def __init__(self, sides: Sides, suffix: str) -> None:
        left, right = sides.left, sides.right
        once = {
            one.name: other.name
            for one, other in zip(left.keys, right.keys, strict=True)
            if isinstance(one, ex.Column) and isinstance(other, ex.Column)
        }
        self.columns = []
        for place, field in enumerate(left.schema):
            other = right.schema.get_field_index(once[field.name]) if field.name in once else -1
            self.columns.append(_Column(field.name, field.type, 0, place, other))
        taken = set(left.schema.names)
        for place, field in enumerate(right.schema):
            if field.name in once.values():
                continue
            name = field.name + suffix if field.name in left.schema.names else field.name
            if name in taken:
                raise SchemaError(
                    f'column "{field.name}" of the right side: "{name}" is there already; choose another suffix '
                    f"than {suffix!r}, or rename it"
                )
            taken.add(name)
            self.columns.append(_Column(name, field.type, 1, place))
        self.schema = pa.schema([(column.name, column.type) for column in self.columns])

    def gather(self, sides: Sides, found: JoinFound) -> pa.RecordBatch:
        """Put joined rows together."""
        records = found.rows
        parts = [
            rows_of(segments, records[f"{side.name}_segment"], records[f"{side.name}_row"], side.schema)
            for segments, side in zip(found.segments, (sides.left, sides.right), strict=True)
        ]
        alone = records["left_segment"] == NONE
        arrays = []
        for column in self.columns:
            values = parts[column.side].column(column.place)
            if column.else_place >= 0 and alone.any():
                other = parts[1].column(column.else_place)
                values = pc.if_else(pa.array(alone), _as(other, column.type), values)
            arrays.append(values)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def output(self, sides: Sides, inputs: Sequence[Batch], merged: Merged, found: JoinFound) -> Output:
        """Make the output of a step: joined rows with all watermarks, and the rows that took no part."""
        side = sides.side_outputs(inputs, merged, found)
        if len(found.rows) == 0:
            return Output(Batch.empty(self.schema, merged.marks), side)
        times, origins = np.ascontiguousarray(found.rows["time"]), np.ascontiguousarray(found.rows["origin"])
        return Output(Batch(self.gather(sides, found), times, origins, merged.marks), side)


def _as(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if values.type == type_:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else values.cast(type_)
