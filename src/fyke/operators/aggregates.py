"""Results of aggregates as Arrow columns: numbers that the kernel computed, values of rows it points at, Python's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import Segment
from fyke.aggplan import AggregatePlan, Column
from fyke.batches import as_arrow

__all__ = ["Taken", "from_physical", "result_arrays", "take_values"]

Taken = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
"""What the kernel gives for one record: values (int64, float64 or (segment, row)), and which of them are not null."""


def result_arrays(
    plan: AggregatePlan,
    taken: Sequence[Taken],
    segments: Mapping[int, Segment],
    python: Sequence[pa.Array] = (),
) -> list[pa.Array]:
    """Give the columns of results, in the order and with the types of plan.columns.

    Args:
        plan: of the aggregates.
        taken: what the kernel gave, by the number of the record.
        segments: by number, those that hold rows pointed at.
        python: the columns that Python keeps, in the order of plan.columns without the others.

    O(rows), and where rows are pointed at O(n log n).
    """
    made = iter(python)
    return [
        next(made) if column.native is None else _result(column, taken[column.native], segments)
        for column in plan.columns
    ]


def _result(column: Column, taken: Taken, segments: Mapping[int, Segment]) -> pa.Array:
    values, valid = taken
    if values.dtype.names is None:
        return from_physical(pa.array(values, mask=None if valid.all() else ~valid), column.type)
    return take_values(column.arguments[0], column.payload[0], column.type, values, valid, segments)


def take_values(
    number: int,
    payload: str | None,
    type_: pa.DataType,
    events: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    segments: Mapping[int, Segment],
) -> pa.Array:
    """Give the values of rows of several segments, in this order.

    Args:
        number, payload: where they are: a column of the plan, or one of the input.
        type_: the Arrow type that they get.
        events: (segment, row) of each.
        valid: which of them are there; the others are null.
        segments: by number.
    """
    used = np.unique(events["segment"][valid])
    if len(used) == 0:
        return pa.nulls(len(events), type_)
    if len(used) == 1:
        rows = pa.array(events["row"], mask=None if valid.all() else ~valid)
        return _values(segments[int(used[0])], number, payload, rows, type_)
    there = np.flatnonzero(valid)
    order = there[np.argsort(events["segment"][there], kind="stable")]
    ends = np.searchsorted(events["segment"][order], used, side="right")
    parts = [
        _values(segments[int(segment)], number, payload, pa.array(events["row"][own]), type_)
        for segment, own in zip(used, np.split(order, ends[:-1]), strict=True)
    ]
    places = np.zeros(len(events), np.int64)
    places[order] = np.arange(len(order))
    return pa.concat_arrays(parts).take(pa.array(places, mask=None if valid.all() else ~valid))


def _values(segment: Segment, number: int, payload: str | None, rows: pa.Array, type_: pa.DataType) -> pa.Array:
    if payload is None:
        return from_physical(as_arrow(segment.columns[number], len(segment)).take(rows), type_)
    at = segment.source.schema.get_field_index(payload)
    if at < 0:  # it came up later
        return pa.nulls(len(rows), type_)
    values = segment.source.column(at).take(rows)
    if values.type == type_:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else values.cast(type_)


def from_physical(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Give values of a plan's physical type (int64, float64, or uint8 for a bool) as an Arrow type.

    >>> from_physical(pa.array([0, 86_400_000_000_000]), pa.timestamp("s"))[1].as_py()
    datetime.datetime(1970, 1, 2, 0, 0)
    >>> from_physical(pa.array([1], pa.uint8()), pa.bool_())[0].as_py()
    True
    """
    types = pa.types
    if types.is_boolean(type_):
        return values.cast(pa.bool_())
    if types.is_timestamp(type_):
        return values.cast(pa.timestamp("ns", type_.tz)).cast(type_)
    if types.is_duration(type_):
        return values.cast(pa.duration("ns")).cast(type_)
    if types.is_date(type_):
        return values.cast(pa.int32()).cast(pa.date32()).cast(type_)
    return values if values.type == type_ else values.cast(type_)
