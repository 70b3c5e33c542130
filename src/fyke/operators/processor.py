"""A process while it runs: rows wait until the watermark passes them, then come in the order of their times.

Between the rows timers fire: one set for a time fires when all rows up to that time have been handled, before any later
one. What a call gives out has the time at which it is called, and comes with the watermark that let it run.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sortedcontainers import SortedDict

from fyke.columns import Columns, readable
from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DataError, FykeError, ProcessError, StateError
from fyke.eventtime import watermark_ns
from fyke.operator import END, START, Batch, Marks, Output, State
from fyke.operators.rows import Program
from fyke.process import Cells, Frame, Key, Process
from fyke.timed_nodes import Processing

__all__ = ["Processor"]

COUNTS: Final = ("rows", "late", "null_keys", "results", "timers_fired", "timers_dropped", "failed")


class Waiting:
    """Rows of a batch that wait, as Python sees them; made dicts when the first of them is handled."""

    __slots__ = ("_dicts", "batch", "keys")

    def __init__(self, batch: pa.RecordBatch, keys: list[Key]) -> None:
        self.batch = batch
        self.keys = keys
        self._dicts: list[dict[str, Any]] | None = None

    def row(self, i: int) -> dict[str, Any]:
        """Give a row."""
        if self._dicts is None:
            self._dicts = readable(self.batch)
        return self._dicts[i]


class Given:
    """Rows that are given out to one output in the course of a step."""

    def __init__(self, schema: pa.Schema | None, where: str) -> None:
        self.columns = Columns(schema, where)
        self.rows: list[Mapping[str, Any]] = []
        self.times: list[int] = []
        self.total = 0

    def take(self, marks: Marks) -> Batch:
        """Give them as a batch, and forget them."""
        times = np.array(self.times, np.int64)
        if not len(times):
            return Batch.empty(self.columns.schema or pa.schema([]), marks)
        rows = self.columns.of_rows(self.rows, self.total)
        self.total += len(rows)
        self.rows, self.times = [], []
        return Batch(rows, times, marks.releasing(times), marks)


class Processor:
    """Runs a process over a stream; a call of Python a row, O(log n) beside it, n rows and timers waiting.

    Side outputs: late (time <= watermark), errors (a part of the key is null; with on_error="errors", rows for which
    the process failed), and those that the process names.

    Args:
        node: the definition.
        schema: of the input.

    Raises:
        SchemaError: a key and the schema do not meet.
    """

    def __init__(self, node: Processing, schema: pa.Schema) -> None:
        self._node = node
        self._input = schema
        self._path = node.path
        self._program = Program(schema, [e for _, e in node.keys], keys=True)
        self._frame = Frame()
        self._cells: dict[str, Cells] = {}
        for name, declared in node.declared.items():
            declared.name = name
            self._cells[name] = declared.cells(self._frame)
        self._process = self._make()
        self._context = _Context(self)
        self._waiting: SortedDict = SortedDict()  # (time, arrival) -> (Waiting, place)
        self._timers: SortedDict = SortedDict()  # (time, number of its setting) -> (key, name)
        self._timer_of: dict[tuple[Key, str], tuple[int, int]] = {}
        self._n_set = 0
        self._watermark = START
        self._arrived = 0
        self._is_timer = False
        self._is_over = False
        self._results = Given(node.given, self._path)
        self._sides = {name: Given(each, f'{self._path}, output "{name}"') for name, each in node.outputs}
        # Of the step under way: (time or None, arrival number of what brought it, batch, row, text).
        self._errors: list[tuple[int | None, int, pa.RecordBatch | None, int, str]] = []
        self._counts = dict.fromkeys(COUNTS, 0)

    def _make(self) -> Process:
        if not isinstance(self._node.make, type):
            return _Function(self._node.make, self._cells)
        made: Process = self._node.make(**{name: json.loads(text) for name, text in self._node.params})
        made._cells = self._cells
        return made

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results; None before the first, where none are given."""
        return self._results.columns.schema

    # -- the step

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks."""
        (batch,) = inputs
        marks = batch.marks
        side = self._take(batch)
        after = int(marks.times[-1]) if len(marks) else self._watermark
        failure: ProcessError | None = None
        if after > self._watermark:
            try:
                self._release(after)
            except ProcessError as error:
                failure = error
            self._watermark = after
            for cells in self._cells.values():
                cells.expire(after)
        before = self._results.total
        results = self._results.take(marks)
        self._counts["results"] += self._results.total - before
        if self._errors:
            side["errors"] = self._error_rows(marks)
        for name, given in self._sides.items():
            if given.times:
                side[name] = given.take(marks)
        output = Output(results, side)
        if failure is not None:
            failure.results = output
            raise failure
        return output

    def _take(self, batch: Batch) -> dict[str, Any]:
        """Put rows in order; gives those that are late, or have no key."""
        n = len(batch)
        side: dict[str, Any] = {}
        if not n:
            return side
        late = batch.times <= batch.marks.under(batch.origins, self._watermark)
        keys = self._keys(batch.rows)
        waiting = Waiting(batch.rows, keys)
        no_key = [i for i, key in enumerate(keys) if not late[i] and any(part is None for part in key)]
        skipped = set(no_key).union(np.flatnonzero(late).tolist())
        for i, time in enumerate(batch.times.tolist()):
            if i not in skipped:
                self._waiting[time, self._arrived + i] = (waiting, i)
        self._arrived += n
        self._counts["rows"] += n
        self._counts["late"] += int(late.sum())
        self._counts["null_keys"] += len(no_key)
        table = pa.Table.from_batches([batch.rows])
        if late.any():
            side["late"] = table.filter(pa.array(late))
        origins = batch.origins.tolist()
        self._errors += [(None, origins[i], batch.rows, i, "a part of the key is null") for i in no_key]
        return side

    def _keys(self, rows: pa.RecordBatch) -> list[Key]:
        columns = [_hashable(column) for column in self._program.columns(rows)]
        return list(zip(*columns, strict=True)) if columns else [()] * len(rows)

    def _release(self, watermark: int) -> None:
        """Handle all rows and timers up to the watermark, in the order of time."""
        frame = self._frame
        while True:
            row = self._waiting.peekitem(0) if self._waiting else None
            timer = self._timers.peekitem(0) if self._timers else None
            timer_time = END if timer is None else max(timer[0][0], frame.now)
            if row is not None and row[0][0] <= watermark and row[0][0] <= timer_time:
                (frame.now, arrival), (waiting, i) = self._waiting.popitem(0)
                frame.key = waiting.keys[i]
                self._call_row(waiting, i, arrival)
            elif timer is not None and timer_time <= watermark:
                self._is_over = watermark == END and not self._waiting
                (time, _), (key, name) = self._timers.popitem(0)
                del self._timer_of[key, name]
                frame.now, frame.key = timer_time, key
                self._counts["timers_fired"] += 1
                self._call_timer(name, time)
            else:
                return

    # -- the calls

    def _call_row(self, waiting: Waiting, i: int, arrival: int) -> None:
        row = waiting.row(i)
        undo = self._begin()
        try:
            self._give(self._process.on_row(row, self._context))
        except Exception as error:
            self._failed(error, undo, waiting, i, f"position {arrival}")

    def _call_timer(self, name: str, time: int) -> None:
        undo = self._begin()
        self._is_timer = True
        try:
            self._give(self._process.on_timer(name, self._context))
        except Exception as error:
            self._failed(error, undo, None, 0, f'the timer "{name}" for {time} ns')
        finally:
            self._is_timer = self._is_over = False

    def _begin(self) -> list[int]:
        """Remember where outputs stand, in case the call fails and the process goes on."""
        if self._node.on_error == "stop":
            return []
        self._frame.undo = []
        return [len(given.times) for given in (self._results, *self._sides.values())]

    def _failed(self, error: Exception, sizes: list[int], waiting: Waiting | None, i: int, where: str) -> None:
        frame = self._frame
        shown = self._shown_key()
        text = f"{type(error).__name__}: {error}"
        if self._node.on_error == "stop":
            failure = ProcessError(f"{self._path}: key {shown!r}, at {where}: {text}")
            failure.key, failure.time = shown, frame.now
            failure.position = int(where.removeprefix("position ")) if waiting is not None else None
            raise failure from error
        for undo in reversed(frame.undo or []):
            undo()
        for given, size in zip((self._results, *self._sides.values()), sizes, strict=True):
            del given.rows[size:], given.times[size:]
        self._counts["failed"] += 1
        if waiting is not None:
            self._errors.append((frame.now, 0, waiting.batch, i, text))
        else:
            self._errors.append((frame.now, 0, None, 0, f"key {shown!r}, at {where}: {text}"))

    def _error_rows(self, marks: Marks) -> pa.Table:
        """The errors of a step in the order in which they come about, row by row and watermark by watermark."""
        tables = []
        times = np.array([time for time, *_ in self._errors if time is not None], np.int64)
        released = iter(marks.releasing(times).tolist())
        placed = []
        for time, origin, batch, i, text in self._errors:
            placed.append((origin, 0) if time is None else (next(released), 1))
            if batch is None:
                rows = pa.table([pa.nulls(1, f.type) for f in self._input], names=self._input.names)
            else:
                rows = pa.Table.from_batches([batch.slice(i, 1)])
            tables.append(rows.append_column("error", pa.array([text])))
        self._errors = []
        return pa.concat_tables([tables[i] for i in sorted(range(len(tables)), key=placed.__getitem__)])

    def _give(self, given: Any) -> None:
        if given is None:
            return
        if isinstance(given, Mapping):
            self.emit(self._results, given)
            return
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise DataError(f"gave {type(given).__name__} {given!r:.60}: a row (a mapping), rows, or None is expected")
        for each in given:
            self.emit(self._results, each)

    def emit(self, to: Given, row: Mapping[str, Any]) -> None:
        """Give out a row now."""
        if not isinstance(row, Mapping):
            raise DataError(f"gave {type(row).__name__} {row!r:.60}: a row (a mapping) is expected")
        to.rows.append(dict(row))
        to.times.append(self._frame.now)

    def output(self, name: str) -> Given:
        """Give a side output."""
        if name not in self._sides:
            known = ", ".join(self._sides) or "none; name them with process(..., outputs=[...])"
            raise DataError(f'there is no output "{name}"; there are {known}')
        return self._sides[name]

    def _shown_key(self) -> Any:
        parts = tuple(
            _shown(part, field.type) for part, field in zip(self._frame.key, self._program.fields, strict=True)
        )
        return None if not parts else parts[0] if len(parts) == 1 else parts

    # -- timers

    def set_timer(self, name: str, time: int) -> None:
        """Set a timer of the current key."""
        frame = self._frame
        if self._is_timer and time <= frame.now:
            raise DataError(f'timer "{name}": in on_timer it must be after now ({frame.now} ns), got {time} ns')
        if self._is_timer and self._is_over:
            self._counts["timers_dropped"] += 1  # the input is over: nothing would ever end it
            return
        self.cancel_timer(name)
        self._n_set += 1
        self._place_timer(frame.key, name, (time, self._n_set))
        if frame.undo is not None:
            key = frame.key
            frame.undo.append(lambda: self._remove_timer(key, name))

    def cancel_timer(self, name: str) -> None:
        """Take a timer of the current key back."""
        key = self._frame.key
        place = self._timer_of.get((key, name))
        if place is None:
            return
        self._remove_timer(key, name)
        if self._frame.undo is not None:
            self._frame.undo.append(lambda: self._place_timer(key, name, place))

    def _place_timer(self, key: Key, name: str, place: tuple[int, int]) -> None:
        self._timers[place] = (key, name)
        self._timer_of[key, name] = place

    def _remove_timer(self, key: Key, name: str) -> None:
        del self._timers[self._timer_of.pop((key, name))]

    def timer(self, name: str) -> int | None:
        """Give the time of a timer of the current key."""
        place = self._timer_of.get((self._frame.key, name))
        return None if place is None else place[0]

    def state_of(self, key: Any) -> dict[str, Any]:
        """Give what is kept for a key: states by name, timers by name under "timers".

        Raises:
            DataError: the key has other parts.
        """
        parts = () if key is None and not self._program.fields else key if isinstance(key, tuple) else (key,)
        if len(parts) != len(self._program.fields):
            raise DataError(f"{self._path}: the key has {len(self._program.fields)} parts, got {key!r:.60}")
        try:
            columns = [_column([p], f.type) for p, f in zip(parts, self._program.fields, strict=True)]
        except (pa.ArrowException, TypeError, ValueError):
            columns = [pa.array([p], f.type) for p, f in zip(parts, self._program.fields, strict=True)]
        found = tuple(_hashable(column)[0] for column in columns)
        timers = {name: place[0] for (owner, name), place in self._timer_of.items() if owner == found}
        return {name: cells.peek(found) for name, cells in self._cells.items()} | {"timers": timers}

    # -- what operators give besides

    def statistics(self) -> dict[str, int]:
        """Give counts since the start, and what is held: keys with state, rows that wait, timers."""
        held = {"waiting": len(self._waiting), "timers": len(self._timers)}
        return {**self._counts, **held, "keys": max((c.n_keys for c in self._cells.values()), default=0)}

    def check(self) -> None:
        """Walk all invariants."""
        assert len(self._timers) == len(self._timer_of)
        assert all(self._timers[place] == owner for owner, place in self._timer_of.items())
        assert not self._waiting or self._waiting.peekitem(0)[0][0] > self._watermark

    def explain(self) -> list[str]:
        """Say what waits for what."""
        lines = ["rows wait until the watermark passes them, and are handled one by one in Python, in order of time"]
        for name, declared in self._node.declared.items():
            kept = "for ever" if declared.ttl is None else f"{format_ns(declared.ttl)} after its last write"
            lines.append(f"state {name}: {declared.kind}, kept {kept}")
        return lines

    def export(self) -> State:
        """Give rows that wait, timers and state, in an order that they alone determine."""
        waiting = list(self._waiting.items())
        tables = [pa.Table.from_batches([w.batch.slice(i, 1)]) for _, (w, i) in waiting]
        rows = pa.concat_tables(tables).combine_chunks() if tables else self._input.empty_table()
        order = pa.table(
            {
                "time": pa.array([time for (time, _), _ in waiting], pa.int64()),
                "arrival": pa.array([arrival for (_, arrival), _ in waiting], pa.uint64()),
            }
        )
        timers = list(self._timers.items())
        state: State = {
            "process": {
                "watermark": self._watermark,
                "now": self._frame.now,
                "arrived": self._arrived,
                "n_set": self._n_set,
                "counts": dict(self._counts),
                "given": [self._results.total, *(given.total for given in self._sides.values())],
            },
            "rows": _batch(rows),
            "order": _batch(order),
            "timers": self._with_keys(
                [key for _, (key, _) in timers],
                {
                    "time": pa.array([place[0] for place, _ in timers], pa.int64()),
                    "number": pa.array([place[1] for place, _ in timers], pa.uint64()),
                    "name": pa.array([name for _, (_, name) in timers], pa.large_string()),
                },
            ),
        }
        for name, cells in self._cells.items():
            entries = list(cells.export())
            texts = pa.array([json.dumps(entry) for _, entry in entries], pa.large_string())
            state[f"state/{name}"] = self._with_keys([key for key, _ in entries], {"entry": texts})
        for i, given in enumerate((self._results, *self._sides.values())):
            if given.columns.schema is not None:
                state[f"schema/{i}"] = pa.RecordBatch.from_pylist([], schema=given.columns.schema)
        return state

    def _with_keys(self, keys: Sequence[Key], columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        arrays = {
            f"k{i}": _column([key[i] for key in keys], field.type) for i, field in enumerate(self._program.fields)
        }
        return pa.RecordBatch.from_pydict({**arrays, **columns})

    def _keys_of(self, records: pa.RecordBatch) -> list[Key]:
        columns = [_hashable(records.column(f"k{i}")) for i in range(len(self._program.fields))]
        return list(zip(*columns, strict=True)) if columns else [()] * len(records)

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is something else."""
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            if isinstance(error, FykeError):
                raise
            raise StateError(f"the state of {self._path}: {error!r:.200}") from None

    def _restore(self, state: State) -> None:
        meta: Any = state["process"]
        rows, order, timers = (state[name] for name in ("rows", "order", "timers"))
        if isinstance(rows, dict) or isinstance(order, dict) or isinstance(timers, dict):
            raise StateError("its tables are missing")
        numbers = [meta[name] for name in ("watermark", "now", "arrived", "n_set")]
        counts = {name: meta["counts"][name] for name in COUNTS}
        if not all(type(n) is int and START <= n <= END for n in [*numbers, *counts.values(), *meta["given"]]):
            raise StateError(f"its numbers are {meta!r:.80}")
        if rows.schema != self._input or len(rows) != len(order) or any(c.null_count for c in order.columns):
            raise StateError("its rows are of another schema")
        self._watermark, self._frame.now, self._arrived, self._n_set = numbers
        self._counts = counts
        waiting = Waiting(rows, self._keys(rows))
        for i, (time, arrival) in enumerate(zip(*(c.to_pylist() for c in order.columns), strict=True)):
            if time <= self._watermark or arrival >= self._arrived:
                raise StateError("a row that waits is late already")
            self._waiting[time, arrival] = (waiting, i)
        columns = (timers.column(name).to_pylist() for name in ("time", "number", "name"))
        for key, time, number, name in zip(self._keys_of(timers), *columns, strict=True):
            if (key, name) in self._timer_of or not 0 < number <= self._n_set or (time, number) in self._timers:
                raise StateError("a timer is there twice")
            self._place_timer(key, name, (time, number))
        for name, cells in self._cells.items():
            entries = state[f"state/{name}"]
            if isinstance(entries, dict):
                raise StateError(f"state `{name}` is missing")
            for key, text in zip(self._keys_of(entries), entries.column("entry").to_pylist(), strict=True):
                cells.restore(key, json.loads(text))
        for i, given in enumerate((self._results, *self._sides.values())):
            given.total = meta["given"][i]
            told = state.get(f"schema/{i}")
            if told is not None and not isinstance(told, dict):
                given.columns.schema = told.schema


class _Context:
    """What the process sees; see fyke.process.Context."""

    def __init__(self, owner: Processor) -> None:
        self._owner = owner

    @property
    def key(self) -> Any:
        return self._owner._shown_key()

    @property
    def time(self) -> int:
        return self._owner._frame.now

    @property
    def state(self) -> Mapping[str, Any]:
        return self._owner._cells

    def emit(self, row: Mapping[str, Any]) -> None:
        self._owner.emit(self._owner._results, row)

    def emit_to(self, side: str, row: Mapping[str, Any]) -> None:
        self._owner.emit(self._owner.output(side), row)

    def set_timer(
        self, name: str = "timer", *, at: int | dt.datetime | None = None, after: DurationLike | None = None
    ) -> None:
        if (at is None) == (after is None):
            raise DataError(f'timer "{name}": say either at= or after=')
        if not isinstance(name, str):
            raise DataError(f"timer {name!r}: a timer is named by a str")
        time = min(self.time + to_ns(after), END - 1) if after is not None else watermark_ns(at)
        self._owner.set_timer(name, time)

    def cancel_timer(self, name: str = "timer") -> None:
        self._owner.cancel_timer(name)

    def timer(self, name: str = "timer") -> int | None:
        return self._owner.timer(name)


class _Function(Process):
    """A process that is a function of (row, ctx)."""

    def __init__(self, fn: Any, cells: Mapping[str, Cells]) -> None:
        self._fn = fn
        self._cells = cells

    def on_row(self, row: dict[str, Any], ctx: Any) -> Any:
        return self._fn(row, ctx)

    def on_timer(self, name: str, ctx: Any) -> Any:
        raise DataError("a function has no on_timer: write a class with fyke.Process as its base")


NAN: Final = float("nan")


def _hashable(column: pa.Array) -> list[Any]:
    """The values of a part of the key as what can be looked up: times as numbers, NaN equal to itself."""
    type_ = column.type
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_) or pa.types.is_time(type_):
        width = pa.int32() if pa.types.is_time32(type_) else pa.int64()
        return column.view(width).to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    return [NAN if v != v else v for v in values] if pa.types.is_floating(type_) else values


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    """What _hashable made its values of."""
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_) or pa.types.is_time(type_):
        return pa.array(values, pa.int32() if pa.types.is_time32(type_) else pa.int64()).view(type_)
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).cast(type_)
    return pa.array(values, type_)


def _shown(part: Any, type_: pa.DataType) -> Any:
    """A part of the key as a row has it."""
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_) or pa.types.is_time(type_):
        return next(iter(readable(pa.record_batch({"": _column([part], type_)}))[0].values()))
    return part


def _batch(table: pa.Table) -> pa.RecordBatch:
    found = table.combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)
