"""The state of a windowed operator as sections of a snapshot, and back.

    window            watermark, counts, and the definition that it belongs to
    windows           a record a window, by (key, start, end): the key, bounds, trigger, aggregates as canonical bytes,
                      and the numbers of the rows that they hold
    events            these rows, each once, in order of arrival, with its number and time
    aggregate_<i>     what Python keeps of the windows

Equal states give equal sections, whatever the memory that they lie in. Reading trusts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import Segment
from fyke.batches import key_column, null_column
from fyke.errors import StateError
from fyke.operators.keys import key_array
from fyke.operators.sides import NONE, natural, numbers_of, rows_of

if TYPE_CHECKING:
    from fyke.operator import State
    from fyke.operators.windowed import Windowed

__all__ = ["export_windows", "restore_windows"]

_COUNTED: Final = ("rows", "late", "no_window", "null_keys", "no_gaps", "results", "opened", "overflows")
# `fire` is what the trigger waits for: a time (continuous; `armed`: it is still to come) or a number of rows (count).
_RECORD: Final = [
    ("start", pa.int64()), ("end", pa.int64()), ("fire", pa.int64()), ("revision", pa.uint32()), ("armed", pa.uint8()),
    ("aggregates", pa.binary()),
]  # fmt: skip
_ROWS: Final = pa.schema([("number", pa.uint64()), ("time", pa.int64())])


def export_windows(operator: Windowed) -> State:
    """Give the state of an operator. O(n log n)."""
    records, keys, (offsets, data), refs, numbers = operator.core.export()
    events, rows, places = _events(operator, refs)
    arrays = [key_array(part, *taken, len(records)) for part, taken in zip(operator.keys, keys, strict=True)]
    arrays += [pa.array(np.ascontiguousarray(records[name])) for name in ("start", "end", "fire", "revision", "armed")]
    arrays.append(_binary(offsets, data))
    arrays += [pa.array(places[:, i], mask=places[:, i] == NONE) for i in range(places.shape[1])]
    counters = operator.core.counters()
    meta = {
        "definition": operator.definition,
        "watermark": operator.core.watermark,
        "arrived": operator.arrived,
        **{name: counters[name] for name in _COUNTED},
    }
    sections = operator.panes.export(numbers.tolist()) if operator.logged else {}
    windows = pa.RecordBatch.from_arrays(arrays, schema=_schema(operator))
    return {"window": meta, "windows": windows, "events": events, "events.rows": rows, **sections}


def _binary(offsets: npt.NDArray[np.int64], data: bytes) -> pa.Array:
    if len(data) >= 2**31:
        raise StateError(f"the aggregates of the windows take {len(data)} bytes; a snapshot holds 2**31 - 1 at most")
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _offsets_and_data(values: pa.Array) -> tuple[npt.NDArray[np.int64], Any]:
    """Of an array that has been validated: its offsets lie in its data."""
    _, offsets, data = values.buffers()
    if offsets is None or not len(values):
        return np.zeros(1, np.int64), b""
    found = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return found.astype(np.int64), data


def _schema(operator: Windowed) -> pa.Schema:
    keys = [(f"key.{part.name}", part.arrow) for part in operator.keys]
    refs = [(f"event_{i}", pa.uint32()) for i in range(operator.core.n_refs)]
    return pa.schema([*keys, *_RECORD, *refs])


def _events(
    operator: Windowed, refs: npt.NDArray[Any]
) -> tuple[pa.RecordBatch, pa.RecordBatch, npt.NDArray[np.uint32]]:
    """The rows that aggregates hold, their numbers and times, and for each reference its place among them."""
    segments = operator.rows.segments
    flat = refs.reshape(-1)
    there = flat["segment"] != NONE
    held = flat[there]
    arrival = numbers_of(segments, held["segment"], held["row"])
    numbers, first, inverse = np.unique(arrival, return_index=True, return_inverse=True)
    held = held[first]
    places = np.full(len(flat), NONE, np.uint32)
    places[there] = inverse.reshape(-1)
    rows = rows_of(segments, held["segment"], held["row"], operator.kept)
    times = np.empty(len(held), np.int64)
    for segment in np.unique(held["segment"]).tolist():
        own = held["segment"] == segment
        times[own] = segments[segment].times[held["row"][own]]
    records = pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(times)], schema=_ROWS)
    return rows, records, places.reshape(refs.shape)


def restore_windows(operator: Windowed, state: State) -> None:
    """Fill a fresh operator.

    Raises:
        StateError: the state is damaged or of another operator.
    """
    try:
        _restore(operator, state)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StateError(f"the state of a window: {error!r} is missing or damaged") from None


def _restore(operator: Windowed, state: Mapping[str, Any]) -> None:
    meta, windows = state["window"], state["windows"]
    if meta["definition"] != operator.definition:
        raise StateError(
            f"section window: it is the state of {meta['definition']!r:.300}, and this is {operator.definition!r:.300}"
        )
    watermark = meta["watermark"]
    if type(watermark) is not int or not -(2**63) <= watermark < 2**63:
        raise StateError(f"section window: the watermark {watermark!r:.60} is no time")
    counters = tuple(natural(meta, name) for name in _COUNTED)
    arrived = natural(meta, "arrived")
    if not isinstance(windows, pa.RecordBatch) or windows.schema != _schema(operator):
        raise StateError("section windows: its columns are not those of this operator")
    n_keys, n_refs = len(operator.keys), operator.core.n_refs
    columns = windows.columns
    if any(column.null_count for column in columns[: len(columns) - n_refs]):
        raise StateError("section windows: a value is null")
    events = _events_segment(operator, state, arrived)
    refs = np.stack([c.fill_null(NONE).to_numpy() for c in columns[len(columns) - n_refs :]], 1) if n_refs else None
    if refs is not None and ((refs >= len(events)) & (refs != NONE)).any():
        raise StateError("section windows: a row is not there")
    start, end, fire, revision, armed, aggregates = columns[n_keys : n_keys + 6]
    records = np.zeros(len(windows), operator.core.record)
    for name, column in (("start", start), ("end", end), ("fire", fire), ("revision", revision), ("armed", armed)):
        records[name] = column.to_numpy()
    if (records["armed"] > 1).any():
        raise StateError("section windows: armed is 0 or 1")
    numbers = operator.core.restore(
        watermark,
        _key_segment(operator, columns[:n_keys], len(windows)),
        events,
        records,
        _offsets_and_data(aggregates),
        refs,
        counters,
    )
    if operator.logged:
        operator.panes.restore(state, numbers.tolist())
    operator.arrived = arrived


def _key_segment(operator: Windowed, keys: list[pa.Array], n: int) -> Segment:
    """Rows that have the windows' keys, and nothing else."""
    plan = operator.plan.rows.plan
    columns = [null_column(c, n) for c in plan.columns]
    for number, values in zip(operator.plan.rows.key, keys, strict=True):
        columns[number] = key_column(values, plan.columns[number])
    return Segment(np.zeros(n, np.int64), np.zeros(n, np.uint64), columns, [], 0)


def _events_segment(operator: Windowed, state: Mapping[str, Any], arrived: int) -> Segment:
    events, rows = state["events"], state["events.rows"]
    if not isinstance(events, pa.RecordBatch) or events.schema != operator.kept:
        raise StateError("section events: its columns are not those that this operator keeps")
    if not isinstance(rows, pa.RecordBatch) or rows.schema != _ROWS or len(rows) != len(events):
        raise StateError("section events.rows: a number and a time for every row are needed")
    if any(column.null_count for column in rows.columns):
        raise StateError("section events.rows: a value is null")
    numbers, times = rows.column(0).to_numpy(), rows.column(1).to_numpy()
    if (numbers[1:] <= numbers[:-1]).any() or (len(numbers) and numbers[-1] >= arrived):
        raise StateError("section events.rows: arrival numbers are out of order")
    return operator.encoder.with_times(events, np.ascontiguousarray(times), np.ascontiguousarray(numbers))
