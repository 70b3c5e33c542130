"""Aggregates that Python keeps: after a step, what the kernel wrote down of its panes is done to their summaries.

The kernel calls nothing here. It writes a log of what happened to panes (csrc/agg_log.h); replay goes through it, rows
that follow each other in a pane at once. What is kept for one column is shared by all aggregates that can read it off.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import Segment
from fyke.agg import Aggregate
from fyke.aggplan import AggregatePlan, Column
from fyke.errors import DataError, StateError
from fyke.operators.aggregates import from_physical, take_values
from fyke.operators.sketches import Distinct, Frequencies, Quantiles

__all__ = ["PythonAggregates"]

# enum agg_log_op
ADD, MERGE, FIRE, RESET, FREE = range(5)

Rows = npt.NDArray[Any]


class PythonAggregates:
    """The summaries of all panes of an operator.

    Args:
        plan: of the aggregates; those with a native record are not looked at.

    Attributes:
        panes: by number, a summary for each of `kept`.
    """

    def __init__(self, plan: AggregatePlan) -> None:
        self.columns = [column for column in plan.columns if column.native is None]
        self.kept: list[Kept] = []
        self.place: list[int] = []
        known: dict[object, int] = {}
        for column in self.columns:
            kind = KINDS[column.aggregate.kind]
            key = column.name if kind is Udf else (kind, column.arguments, column.payload)
            if key not in known:
                known[key] = len(self.kept)
                self.kept.append(kind(column))
            self.place.append(known[key])
        self.panes: dict[int, list[Any]] = {}

    def replay(self, log: Rows, segments: Mapping[int, Segment]) -> list[pa.Array]:
        """Do what the log says; gives the columns of the results, a row a FIRE by its number.

        Args:
            log: (op, pane, a, b) as agg_log.h has them.
            segments: by number, those that hold the rows.

        Raises:
            DataError: a user-defined aggregate gave a value of another type than it said. What its code raises comes
                out as it is, with a note that names the aggregate.
        """
        added = np.flatnonzero(log["op"] == ADD)
        # Rows of a pane side by side, in order; `when` says where in the log each was added.
        when = added[np.argsort(log["pane"][added], kind="stable")]
        events = np.empty(len(when), [("segment", "u4"), ("row", "u4")])
        events["segment"], events["row"] = log["a"][when], log["b"][when]
        values = [kept.gather(events, segments) for kept in self.kept]
        panes = log["pane"][when]
        numbers = np.unique(panes)
        starts = np.searchsorted(panes, numbers, "left").tolist()
        ends = np.searchsorted(panes, numbers, "right").tolist()
        # Of each pane the rows that are still to come in.
        waiting = dict(zip(numbers.tolist(), zip(starts, ends, strict=True), strict=True))

        def add_up_to(pane: int, time: int) -> list[Any]:
            state = self.panes.get(pane)
            if state is None:
                state = self.panes[pane] = [kept.start() for kept in self.kept]
            first, end = waiting.get(pane, (0, 0))
            last = first + int(np.searchsorted(when[first:end], time))
            if last > first:
                for i, kept in enumerate(self.kept):
                    kept.add(state[i], values[i], first, last)
                waiting[pane] = (last, end)
            return state

        others = np.flatnonzero(log["op"] != ADD)
        fired = int((log["op"] == FIRE).sum())
        results: list[list[Any]] = [[None] * fired for _ in self.columns]
        for time, (op, pane, a, _) in zip(others.tolist(), log[others].tolist(), strict=True):
            state = add_up_to(pane, time)
            if op == MERGE:
                other = add_up_to(a, time)
                for i, kept in enumerate(self.kept):
                    kept.merge(state[i], other[i])
            elif op == FIRE:
                for i, column in enumerate(self.columns):
                    results[i][a] = self.kept[self.place[i]].result(state[self.place[i]], column.aggregate)
            else:
                del self.panes[pane]
                if op == RESET:
                    self.panes[pane] = [kept.start() for kept in self.kept]
        for pane in waiting:
            add_up_to(pane, len(log))
        return [
            self.kept[place].array(found, column)
            for place, found, column in zip(self.place, results, self.columns, strict=True)
        ]

    def export(self, panes: Sequence[int]) -> dict[str, pa.RecordBatch]:
        """Give the summaries of these panes as sections of a snapshot; a pane is named by its place in the list.

        Raises:
            StateError: a user-defined aggregate has no save and load.
        """
        # A pane that no row has come into yet is in no log: of a count window the part between two results.
        states = [self.panes.get(pane) or [kept.start() for kept in self.kept] for pane in panes]
        return {f"aggregate_{i}": kept.save([state[i] for state in states]) for i, kept in enumerate(self.kept)}

    def restore(self, state: Mapping[str, Any], panes: Sequence[int]) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        loaded = []
        for i, kept in enumerate(self.kept):
            batch = state.get(f"aggregate_{i}")
            if not isinstance(batch, pa.RecordBatch) or batch.schema.names != kept.schema.names:
                raise StateError(f"section aggregate_{i}: not the summaries of aggregate {kept.column.name}")
            if batch.schema.types != kept.schema.types or any(column.null_count for column in batch.columns[:-1]):
                raise StateError(f"section aggregate_{i}: its columns are not of the types {kept.schema.types}")
            numbers = batch.column(0).to_numpy()
            if (np.diff(numbers) < 0).any() or (len(numbers) and not 0 <= numbers[0] <= numbers[-1] < len(panes)):
                raise StateError(f"section aggregate_{i}: a pane that is not there, or out of order")
            starts = np.searchsorted(numbers, np.arange(len(panes) + 1)).tolist()
            try:
                loaded.append([kept.load(batch.slice(starts[n], starts[n + 1] - starts[n])) for n in range(len(panes))])
            except (ValueError, TypeError) as error:
                raise StateError(f"section aggregate_{i}: {error}") from None
        self.panes = {pane: [states[n] for states in loaded] for n, pane in enumerate(panes)}


class Kept(ABC):
    """One kind of summary over one column. A summary is what start gives; the others read and change it.

    Args:
        column: the result for which it is kept.

    Attributes:
        schema: of the records that save gives; the first column numbers the summaries.
    """

    schema: pa.Schema

    def __init__(self, column: Column) -> None:
        self.column = column

    def _values(self, i: int, type_: pa.DataType, events: Rows, segments: Mapping[int, Segment]) -> pa.Array:
        valid = np.ones(len(events), np.bool_)
        return take_values(self.column.arguments[i], self.column.payload[i], type_, events, valid, segments)

    @abstractmethod
    def start(self) -> Any:
        """Make the summary of nothing."""

    @abstractmethod
    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> Any:
        """Give the values of rows, for add to take slices of."""

    @abstractmethod
    def add(self, state: Any, values: Any, first: int, last: int) -> None:
        """Take in the values from first up to last."""

    def merge(self, state: Any, other: Any) -> None:
        """Take in another summary, which stays as it is."""
        state.merge(other)

    @abstractmethod
    def result(self, state: Any, aggregate: Aggregate) -> Any:
        """Give a result for `array`."""

    def array(self, results: list[Any], column: Column) -> pa.Array:
        """Put results into a column."""
        return pa.array(results, column.type)

    @abstractmethod
    def save(self, states: list[Any]) -> pa.RecordBatch:
        """Give summaries as records."""

    @abstractmethod
    def load(self, batch: pa.RecordBatch) -> Any:
        """Make a summary of its records; raises ValueError."""


def _records(schema: pa.Schema, sizes: Sequence[int], columns: Sequence[Any]) -> pa.RecordBatch:
    panes = pa.array(np.repeat(np.arange(len(sizes)), sizes))
    arrays = [each if isinstance(each, pa.Array) else pa.array(each, field.type)
              for each, field in zip(columns, list(schema)[1:], strict=True)]  # fmt: skip
    return pa.RecordBatch.from_arrays([panes, *arrays], schema=schema)


class Numbers(Kept):
    """For median and quantile."""

    schema = pa.schema([("pane", pa.int64()), ("key", pa.int64()), ("count", pa.int64())])

    def start(self) -> Quantiles:
        return Quantiles()

    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> tuple[Any, Any]:
        values = self._values(0, _physical(self.column), events, segments)
        return values.fill_null(0).to_numpy().astype(np.float64), values.is_valid().to_numpy(zero_copy_only=False)

    def add(self, state: Quantiles, values: tuple[Any, Any], first: int, last: int) -> None:
        numbers, valid = values
        state.add(numbers[first:last][valid[first:last]])

    def result(self, state: Quantiles, aggregate: Aggregate) -> float | None:
        return state.quantile(0.5 if aggregate.parameter is None else aggregate.parameter)

    def save(self, states: list[Quantiles]) -> pa.RecordBatch:
        saved = [state.save() for state in states]
        empty = [np.empty(0, np.int64)]
        columns = [np.concatenate([each[i] for each in saved] + empty) for i in range(2)]
        return _records(self.schema, [len(keys) for keys, _ in saved], columns)

    def load(self, batch: pa.RecordBatch) -> Quantiles:
        return Quantiles.load(*(_whole(column).to_numpy() for column in batch.columns[1:]))


class Different(Kept):
    """For distinct."""

    schema = pa.schema([("pane", pa.int64()), ("sketch", pa.binary())])

    def start(self) -> Distinct:
        return Distinct()

    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> pa.Array:
        return self._values(0, _physical(self.column), events, segments)

    def add(self, state: Distinct, values: pa.Array, first: int, last: int) -> None:
        state.add(values.slice(first, last - first).drop_null().unique().to_pylist())

    def result(self, state: Distinct, aggregate: Aggregate) -> int:
        return state.count()

    def save(self, states: list[Distinct]) -> pa.RecordBatch:
        return _records(self.schema, [1] * len(states), [[state.save() for state in states]])

    def load(self, batch: pa.RecordBatch) -> Distinct:
        (data,) = _whole(batch.column(1)).to_pylist()
        return Distinct.load(data)


class Frequent(Kept):
    """For top_k."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self.type = _physical(column)
        self.schema = pa.schema([("pane", pa.int64()), ("count", pa.int64()), ("value", self.type)])

    def start(self) -> Frequencies:
        return Frequencies()

    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> pa.Array:
        return self._values(0, self.type, events, segments)

    def add(self, state: Frequencies, values: pa.Array, first: int, last: int) -> None:
        state.add(values.slice(first, last - first).drop_null())

    def result(self, state: Frequencies, aggregate: Aggregate) -> list[tuple[Any, int]] | None:
        return state.top(int(aggregate.parameter or 0)) or None

    def array(self, results: list[Any], column: Column) -> pa.Array:
        found = [item for result in results for item in result or []]
        values = pa.array([value for value, _ in found], self.type)
        if self.column.payload[0] is None:
            values = from_physical(values, column.values[0])
        counts = pa.array([n for _, n in found], pa.int64())
        return _lists(
            results, pa.StructArray.from_arrays([values, counts], fields=list(column.type.value_type)), column
        )

    def save(self, states: list[Frequencies]) -> pa.RecordBatch:
        saved = [state.save() for state in states]
        counts, values = ([each for part in saved for each in part[i]] for i in (1, 0))
        return _records(self.schema, [len(part[0]) for part in saved], [counts, values])

    def load(self, batch: pa.RecordBatch) -> Frequencies:
        return Frequencies.load(_whole(batch.column(2)).to_pylist(), batch.column(1).to_pylist())


class Collected(Kept):
    """For collect. A summary is a list of (positions, values)."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self.type = column.values[0]
        self.schema = pa.schema([("pane", pa.int64()), ("position", pa.uint64()), ("value", self.type)])

    def start(self) -> list[tuple[Any, pa.Array]]:
        return []

    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> tuple[Any, pa.Array]:
        positions = np.zeros(len(events), np.uint64)
        for number in np.unique(events["segment"]).tolist():
            own = events["segment"] == number
            positions[own] = segments[number].positions[events["row"][own]]
        return positions, self._values(0, self.type, events, segments)

    def add(self, state: list[Any], values: tuple[Any, pa.Array], first: int, last: int) -> None:
        positions, column = values[0][first:last], values[1].slice(first, last - first)
        if column.null_count:
            positions, column = positions[column.is_valid().to_numpy(zero_copy_only=False)], column.drop_null()
        if len(column):
            state.append((positions, column))

    def merge(self, state: list[Any], other: list[Any]) -> None:
        state += other

    def _together(self, state: list[tuple[Any, pa.Array]]) -> tuple[Any, pa.Array]:
        """In order of arrival; the summary is kept so."""
        if not state:
            return np.empty(0, np.uint64), pa.nulls(0, self.type)
        if len(state) > 1:
            positions = np.concatenate([part for part, _ in state])
            values = pa.concat_arrays([part for _, part in state])
            if (np.diff(positions.view(np.int64)) < 0).any():
                order = np.argsort(positions, kind="stable")
                positions, values = positions[order], values.take(pa.array(order))
            state[:] = [(positions, values)]
        return state[0]

    def result(self, state: list[Any], aggregate: Aggregate) -> pa.Array | None:
        values = self._together(state)[1]
        return values if len(values) else None

    def array(self, results: list[Any], column: Column) -> pa.Array:
        found = [result for result in results if result is not None]
        return _lists(results, pa.concat_arrays(found) if found else pa.nulls(0, self.type), column)

    def save(self, states: list[Any]) -> pa.RecordBatch:
        saved = [self._together(state) for state in states]
        positions = np.concatenate([part for part, _ in saved] + [np.empty(0, np.uint64)])
        values = pa.concat_arrays([part for _, part in saved] + [pa.nulls(0, self.type)])
        return _records(self.schema, [len(part) for part, _ in saved], [positions, values])

    def load(self, batch: pa.RecordBatch) -> list[Any]:
        if not len(batch):
            return []
        positions = batch.column(1).to_numpy()
        if (positions[1:] <= positions[:-1]).any():
            raise ValueError("rows that are not in order of arrival")
        return [(positions, _whole(batch.column(2)))]


class Udf(Kept):
    """For udf. A summary is what the user's class makes."""

    schema = pa.schema([("pane", pa.int64()), ("state", pa.string())])

    def _noted(self, error: Exception) -> Exception:
        error.add_note(f"in aggregate {self.column.name}: {self.column.aggregate!r}")
        return error

    def start(self) -> Any:
        assert self.column.aggregate.make is not None
        try:
            return self.column.aggregate.make()
        except Exception as error:
            raise self._noted(error) from None

    def gather(self, events: Rows, segments: Mapping[int, Segment]) -> list[pa.Array]:
        return [self._values(i, type_, events, segments) for i, type_ in enumerate(self.column.values)]

    def add(self, state: Any, values: list[pa.Array], first: int, last: int) -> None:
        rows = zip(*(column.slice(first, last - first).to_pylist() for column in values), strict=True)
        try:
            for row in rows:
                state.add(*row)
        except Exception as error:
            raise self._noted(error) from None

    def merge(self, state: Any, other: Any) -> None:
        try:
            state.merge(other)
        except Exception as error:
            raise self._noted(error) from None

    def result(self, state: Any, aggregate: Aggregate) -> Any:
        try:
            return state.result()
        except Exception as error:
            raise self._noted(error) from None

    def array(self, results: list[Any], column: Column) -> pa.Array:
        try:
            return pa.array(results, column.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
            raise DataError(
                f"aggregate {column.name}: {column.aggregate!r}: a result is not {column.aggregate.result}: {error}"
            ) from None

    def save(self, states: list[Any]) -> pa.RecordBatch:
        if not all(callable(getattr(state, name, None)) for state in states for name in ("save", "load")):
            raise StateError(
                f"aggregate {self.column.name}: {self.column.aggregate!r} has no save() and load(state): "
                "without them there can be no snapshot while a window is open"
            )
        try:
            saved = [json.dumps(state.save(), sort_keys=True) for state in states]
        except Exception as error:
            raise self._noted(error) from None
        return _records(self.schema, [1] * len(states), [saved])

    def load(self, batch: pa.RecordBatch) -> Any:
        (text,) = _whole(batch.column(1)).to_pylist()
        state = self.start()
        try:
            state.load(json.loads(text))
        except Exception as error:
            raise StateError(f"aggregate {self.column.name}: its load() refused the state: {error}") from error
        return state


KINDS: Final[dict[str, type[Kept]]] = {
    "median": Numbers,
    "quantile": Numbers,
    "distinct": Different,
    "top_k": Frequent,
    "collect": Collected,
    "udf": Udf,
}


def _physical(column: Column) -> pa.DataType:
    """The type in which values are told apart: numbers, times and bools as the plan has them."""
    type_ = column.values[0]
    if column.payload[0] is not None:
        return type_
    if pa.types.is_boolean(type_):
        return pa.bool_()
    return pa.float64() if pa.types.is_floating(type_) else pa.int64()


def _whole(column: pa.Array) -> pa.Array:
    if column.null_count:
        raise ValueError("a value is missing")
    return column


def _lists(results: Sequence[Any], values: pa.Array, column: Column) -> pa.Array:
    """Lists of values that lie one after the other; a result of None is null."""
    sizes = [0 if result is None else len(result) for result in results]
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int32)
    missing = pa.array([result is None for result in results], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=column.type, mask=missing)
