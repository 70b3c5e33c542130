"""Engine: patterns or streams in an application. Push rows or batches, get matches or what streams give."""

from __future__ import annotations

import contextlib
import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, overload

import numpy as np
import pyarrow as pa

from fyke._core import Core, Segment, count_from, first_not_above
from fyke.batches import Encoder, Payloads, RowView, arrow_batches, rows_of
from fyke.compiler import compile_plan, outline
from fyke.deltas import delta_sections, digest_of
from fyke.duration import check_time, format_ns, to_ns
from fyke.errors import DataError, DefinitionError, LimitError, SchemaError, SkipError, StateError
from fyke.eventtime import watermark_ns
from fyke.frozen import Frozen
from fyke.graph import StreamEngine, Streams
from fyke.match import Results
from fyke.matching import Limits, Patterns, can_wait, checked_keep, normalise
from fyke.pattern import Pattern
from fyke.plan import Plan
from fyke.schema import Schema
from fyke.snapshot import Snapshot, checked_serialisable, read_snapshot, sections_of, write_container, write_snapshot
from fyke.stateview import StateView
from fyke.strategy import STRATEGIES
from fyke.streams import KeyedStream, Stream, Table, WindowedStream
from fyke.upgrade import Moved, Moving, Upgrade, difference, patterns_of

TIME_MIN: Final = -(2**63)
TIME_MAX: Final = 2**63 - 1
Duration = str | dt.timedelta | int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start, and what is held now.

    Attributes:
        rows: rows pushed. late: of these, behind the watermark. null_keys: without a key, where a pattern looked for
            one.
        matches, timeouts: found (timeouts are counted also when they are not asked for, but not those of patterns run
            as a compact set). 2**64 - 1 matches: so many or more.
        pruned: partial or held matches that a skip strategy ended. dropped_partials: that a bound or key_ttl ended.
        expired_keys: keys that key_ttl forgot.
        partials, held, keys, waiting: open partial matches (counting those of compact sets looks at all their events),
            held matches, keys with state, rows in the reorder buffer.
        pinned_rows, segments, payload_bytes, bytes: rows and segments held for these, their size, and that of the
            core's own state.
        watermark: ns; None before the first event.
    """

    rows: int
    late: int
    null_keys: int
    matches: int
    timeouts: int
    pruned: int
    dropped_partials: int
    expired_keys: int
    partials: int
    held: int
    keys: int
    waiting: int
    pinned_rows: int
    segments: int
    payload_bytes: int
    bytes: int
    watermark: int | None


class PatternEngine:
    """What Engine is where it is given patterns."""

    def __init__(
        self,
        patterns: Patterns,
        *,
        time: str,
        unit: str | None = None,
        out_of_order: Duration = 0,
        schema: pa.Schema | Schema | None = None,
        keep: Sequence[str] | None = None,
        timeouts: bool = False,
        max_partials: int | None = None,
        on_max_partials: str = "error",
        max_memory: int | None = None,
        on_max_memory: str = "error",
        key_ttl: Duration | None = None,
        limit: int | None = None,
        strategy: str = "auto",
    ) -> None:
        self.patterns = normalise(patterns)
        check_time(time, unit)
        limits = Limits(
            timeouts=timeouts,
            max_partials=max_partials,
            on_max_partials=on_max_partials,
            max_memory=max_memory,
            on_max_memory=on_max_memory,
            key_ttl=key_ttl,
            limit=limit,
        )
        if schema is not None and not isinstance(schema, pa.Schema | Schema):
            raise DefinitionError(f"schema: expected a pyarrow Schema or a fyke Schema, got {schema!r:.80}")
        if strategy not in STRATEGIES:
            raise DefinitionError(f"strategy={strategy!r}: expected {' or '.join(map(repr, STRATEGIES))}")
        self._strategy = strategy
        self._time = time
        self._unit = unit
        self._keep = checked_keep(keep, self.patterns)
        self._out_of_order = 0 if type(out_of_order) is int and out_of_order == 0 else to_ns(out_of_order)
        self._options = limits.core()
        self._one_by_one = limits.one_by_one
        # All three are there from the first row on; until then only a watermark can have been given.
        self._retired: tuple[Pattern, ...] = ()  # finish what was open when they were replaced
        self.moved: Moved | None = None
        self._plan: Plan | None = None
        self._encoder: Encoder | None = None
        self._core: Any = None
        self._early = TIME_MIN
        self._follows: str | None = None  # what the next delta follows on
        # What most pushes of a single row find.
        self._nothing = Results([], [outline(p) for p in self.patterns])
        self._position = 0
        self._warn_unbounded(max_partials)
        if schema is not None:
            self._plan, self._encoder, self._core = self._compiled(
                schema if isinstance(schema, Schema) else Schema.from_arrow(schema)
            )

    def _warn_unbounded(self, max_partials: int | None) -> None:
        for p in self.patterns:
            if p.window is None and self._options["key_ttl"] is None and max_partials is None and can_wait(p):
                warnings.warn(
                    f"pattern {p.name or p!r:.60}: without within() its partial matches can wait for ever; "
                    "add .within(...), or key_ttl= or max_partials= to the engine",
                    UserWarning,
                    stacklevel=3,
                )

    def _compiled(self, schema: Schema | None) -> tuple[Plan, Encoder, Any]:
        """Make what runs the patterns over this schema; the caller keeps it once rows are taken."""
        patterns = [*self.patterns, *self._retired]
        plan = compile_plan(patterns, schema, self._strategy, len(self._retired), self._one_by_one)
        names = tuple(tuple(s.name for s in p.stages) for p in plan.patterns)
        owners = self._callable_stages(plan)
        core = Core(plan.tables, owners, names, _view, Payloads, self._out_of_order, self._options)
        if self._early > TIME_MIN:
            core.advance(self._early)
        return plan, Encoder(plan, self._time, self._unit, self._keep), core

    def _callable_stages(self, plan: Plan) -> tuple[Any, ...]:
        """Each callable with the stage names of its pattern, by number; numbers ascend over the patterns."""
        return tuple((tuple(s.name for s in plan.patterns[p].stages), fn) for p, fn in plan.callables)

    # -- input

    def push(self, data: Any, positions: Sequence[int] | np.ndarray[Any, Any] | None = None) -> Results:
        """Take rows in arrival order and give what they complete.

        Args:
            data: a row (dict, dataclass, msgspec Struct), an iterable of rows, a NumPy structured array, or anything
                with the Arrow C interface (pyarrow, polars, pandas).
            positions: the rows' arrival numbers, ascending from 0 on; None: counted on.

        Raises:
            DataError: a value is missing or of the wrong type; nothing of this push has then been taken.
            SchemaError: the first data and the patterns do not meet; nothing has been taken either.
            LimitError, SkipError: a bound or a skip strategy with throw=True; the engine is then stopped.
        """
        if type(data) is dict and self._encoder is not None and positions is None:
            # One row at a time, from a queue: what is done once a push counts here.
            segment = self._encoder.from_rows([data], count_from(self._position, 1))
            self._position += 1
            return self._results(self._core.push, (segment,))
        batches = None if type(data) is dict else arrow_batches(data)
        parts = [rows_of(data)] if batches is None else batches
        n = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        numbers = count_from(self._position, n) if positions is None else _checked_positions(positions, n)
        plan, encoder, core = self._plan, self._encoder, self._core
        if plan is None:
            if n == 0:
                return self._nothing
            plan, encoder, core = self._compiled(None if batches is None else Schema.from_arrow(batches[0].schema))
        assert encoder is not None
        encode = encoder.from_rows if batches is None else encoder.from_arrow
        segments = [encode(parts[0], numbers)] if len(parts) == 1 else _encoded(encode, parts, numbers)
        self._plan, self._encoder, self._core = plan, encoder, core
        if n:
            self._position = int(numbers[-1]) + 1
        return self._results(core.push, segments)

    def _results(self, call: Callable[[Any], Any], arguments: Sequence[Any]) -> Results:
        """Call the core; an error that stops the engine carries what it had found before as `results`."""
        assert self._plan is not None
        found: list[Any] = []
        try:
            for argument in arguments:
                raw = call(argument)
                if raw is not None:
                    found.append(raw)
        except (LimitError, SkipError) as error:
            error.results = Results([*found, error.found], self._plan.patterns)
            raise
        return Results(found, self._plan.patterns) if found else self._nothing

    def advance(self, watermark: int | dt.datetime) -> Results:
        """Move the watermark from outside: no more events with a time at or before it.

        Args:
            watermark: ns since the epoch, or a datetime.

        Raises:
            DataError: it is neither, or outside the range of times (years 1677 to 2262).
        """
        ns = watermark_ns(watermark)
        if self._plan is None:
            self._early = max(self._early, ns)
            return self._nothing
        return self._results(self._core.advance, (ns,))

    def flush(self) -> Results:
        """End of input: the watermark goes to infinity.

        Timeouts and absences fire, held matches come out, later rows are late.
        """
        if self._plan is None:
            self._early = TIME_MAX
            return self._nothing
        return self._results(lambda core: core.flush(), (self._core,))

    # -- state

    @property
    def watermark(self) -> int | None:
        """No more events with a time at or before this, ns since the epoch; None before the first event."""
        current = int(self._early if self._core is None else self._core.watermark)
        return None if current == TIME_MIN else current

    def statistics(self) -> Statistics:
        """Give the counts of now, as an immutable record."""
        counted = self._core.counters() if self._core is not None else {}
        names = [f.name for f in fields(Statistics) if f.name != "watermark"]
        return Statistics(**{n: int(counted.get(n, 0)) for n in names}, watermark=self.watermark)

    @property
    def state(self) -> StateView:
        """What is held open now, to look into: `engine.state.get(key)`. Each time it is made of a snapshot."""
        return StateView(self.snapshot())

    def snapshot(self, *, base: bool = False) -> bytes:
        """Give the whole state as bytes; see Engine.restore.

        Args:
            base: deltas are to follow on it: changes are tracked from now on.

        Raises:
            StateError: a pattern holds a lambda, which no snapshot can name; or base=True before the first row.
        """
        if base:
            return self.freeze(base=True).snapshot()
        if self._plan is None:
            plan, _, core = self._compiled(None)
            return write_snapshot(plan, core, self._position, settled=False)
        return write_snapshot(self._plan, self._core, self._position)

    def freeze(self, *, base: bool = False) -> Frozen:
        """Fix the state of now, in milliseconds, for a snapshot that is made while the engine goes on.

        Each push then copies some thousand keys besides; a key that is about to change is copied first. Rows that
        nothing holds any more stay in memory until the snapshot is made, and nothing is compacted until all is copied.

        Args:
            base: deltas are to follow on the snapshot: changes are tracked from now on.

        Raises:
            StateError: as for snapshot; or no row has come yet.

        >>> from fyke import begin, col
        >>> engine = Engine(begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h"), time="t", unit="s")
        >>> _ = engine.push([{"t": 0, "x": 1}])
        >>> frozen = engine.freeze()
        >>> state = engine.snapshot()
        >>> _ = engine.push([{"t": 1, "x": 1}])
        >>> frozen.ready, frozen.snapshot() == state
        (True, True)
        """
        plan = self._plan
        if plan is None:
            raise StateError("no row has come yet: there is no state to freeze")
        checked_serialisable(plan)
        records, numbers = self._core.freeze(base)
        if base:
            self._follows = None
        return Frozen(plan, self._core, records, numbers, self._position, self._begin_deltas if base else None)

    def _begin_deltas(self, digest: str) -> None:
        self._follows = digest

    def delta(self) -> bytes:
        """Give what has changed since the last delta, or since the snapshot with base=True.

        Costs what changed: the records of the keys that rows or time have touched, and the rows that wait. The base
        and all deltas since make a snapshot: fyke.merged(base, deltas).

        Raises:
            StateError: there is no such snapshot, or its bytes have not been made yet.

        >>> from fyke import begin, col, merged
        >>> pattern = begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h").by("k")
        >>> engine = Engine(pattern, time="t", unit="s")
        >>> _ = engine.push([{"t": 0, "x": 1, "k": 1}])
        >>> base = engine.snapshot(base=True)
        >>> _ = engine.push([{"t": 1, "x": 1, "k": 2}])
        >>> merged(base, [engine.delta()]) == engine.snapshot()
        True
        """
        plan = self._plan
        if plan is None or self._follows is None:
            raise StateError("a delta follows on a snapshot: take one with base=True, and make its bytes, first")
        records, numbers, gone, gone_lags = self._core.changes()
        sections = sections_of(plan, records, numbers, self._position, settled=True, born=True)
        kinds = self._core.register_kinds()
        state = write_container(delta_sections(sections, self._follows, kinds, gone, gone_lags))
        self._follows = digest_of(state)
        return state

    @classmethod
    def restore(
        cls, state: bytes, patterns: Patterns, *, upgrade: Upgrade | None = None, **options: Any
    ) -> PatternEngine:
        """Make an engine that goes on where the snapshot was taken.

        Args:
            state: what Engine.snapshot gave; may come from an untrusted place: no code in it is run.
            patterns: the patterns the snapshot was taken with; with upgrade=, others.
            upgrade: what becomes of partial matches that are open where patterns changed; `moved` counts them. None:
                patterns that changed are an error, which shows what did.
            options: as for Engine. out_of_order must be what it was, and can be left out; the types of columns are the
                snapshot's.

        Raises:
            StateError: damaged, of another version, of other patterns, or of another bound of disorder.
        """
        engine = cls(patterns, **options)
        snapshot = read_snapshot(state)
        if "out_of_order" in options and engine._out_of_order != snapshot.out_of_order:
            raise StateError(
                f"the snapshot is of out_of_order={format_ns(snapshot.out_of_order)!r}, "
                f"not {format_ns(engine._out_of_order)!r}: give the same, or leave it out"
            )
        engine._out_of_order = snapshot.out_of_order
        compiled = engine._compiled_as(snapshot)
        if compiled is not None:
            engine._resume(snapshot, compiled)
        elif upgrade is not None:
            engine._upgrade(snapshot, upgrade)
        else:
            try:
                changes = difference(patterns_of(snapshot)[0], engine.patterns)
            except StateError:
                changes = ""
            told = "the snapshot is of other patterns, or of other column types, than these"
            raise StateError(f"{told}\n{changes}" if changes else told)
        return engine

    def _compiled_as(self, snapshot: Snapshot) -> tuple[Plan, Encoder, Any] | None:
        """What runs a snapshot; None if it is of other patterns. Retired ones that it brings along are taken over."""
        with contextlib.suppress(StateError):
            before, n_retired = patterns_of(snapshot)
            self._retired = before[len(before) - n_retired :]
        try:
            compiled = self._compiled(snapshot.schema if snapshot.settled else None)
        except SchemaError:
            return None
        return compiled if compiled[0].fingerprint == snapshot.meta["fingerprint"] else None

    def _upgrade(self, snapshot: Snapshot, upgrade: Upgrade) -> None:
        self._retired, self.moved = (), Moved(0, 0, 0)
        self._position = snapshot.position
        if not snapshot.settled:  # no row came: there is a watermark at most
            self._early = snapshot.meta["watermark"][2]
            return
        moving = Moving(snapshot, self.patterns, upgrade)
        self._retired = moving.retired
        try:
            plan, encoder, core = self._compiled(moving.schema)
        except SchemaError as error:
            raise StateError(f"the new patterns do not fit the columns of the snapshot: {error}") from None
        self.moved = moving.fill(plan, encoder, core)
        self._plan, self._encoder, self._core = plan, encoder, core

    def _resume(self, snapshot: Snapshot, compiled: tuple[Plan, Encoder, Any]) -> None:
        plan, encoder, core = compiled
        snapshot.fill(plan, core)
        self._position = snapshot.position
        if snapshot.settled:
            self._plan, self._encoder, self._core = plan, encoder, core
        elif self._plan is not None:  # schema= was given
            self._early = core.watermark
            self._core.advance(self._early)
        else:
            self._early = core.watermark

    def explain(self) -> str:
        """Give the plan in words: what is judged when, and how each pattern is run."""
        plan = self._plan
        if plan is None:
            plan = compile_plan(self.patterns, None, self._strategy, one_by_one=self._one_by_one)
        head = "columns read: " + ", ".join(f"{c.name} {c.type}" for c in plan.columns if c.kind == "input")
        return "\n".join([head, *plan.notes])

    def check(self) -> None:
        """Walk all invariants of the core; raises AssertionError with the broken one. For tests."""
        reason = self._core.check() if self._core is not None else None
        assert reason is None, reason

    def compact(self) -> None:
        """Gather what is still held into few segments; happens by itself as they become sparse."""
        if self._core is not None:
            self._core.compact()


class Engine(PatternEngine):
    """Matches patterns over rows pushed in arrival order.

    Given a Stream, or names mapped to Streams, instead of patterns, it gives a StreamEngine, which runs them.

    Args:
        patterns: one Pattern, several, or a mapping of names to them.
        time: the column of the event time.
        unit: of a numeric time column: "s", "ms", "us" or "ns". None: it holds timestamps (or datetimes).
        out_of_order: the bound of disorder, a duration; a row this much behind the highest time seen is still in time.
        schema: a pyarrow Schema or a fyke Schema. None: that of the first Arrow data; for rows, and for columns of
            Arrow's null type, types follow from the patterns.
        keep: the columns that matches hold beside the time and those that patterns read (of objects: as dicts). None:
            all.
        timeouts: report partial matches that time out (Results.timeouts).
        max_partials, on_max_partials: bound of open partial matches of one pattern and key, and what to do: "error",
            "drop_oldest", "drop_newest".
        max_memory, on_max_memory: bound in bytes of what is held for open partial matches, the rows of the push under
            way included (so a bound below the size of a batch stops at once), and what to do.
        key_ttl: forget a key that had no event for so long, a duration in event time. Only events that concern a
            pattern count: those for which one of its conditions holds.
        limit: report at most so many of the matches of a pattern and key that one event (or deadline) completes, the
            first in order; the others are counted only (Results.total). 0 counts without reporting any. Of patterns
            run as a compact set (see explain) those left out cost nothing.
        strategy: "auto", or "general" to run every pattern by partial matches; the results are the same.

    Raises:
        DefinitionError: an option or a pattern is wrong, or keep= meets a Python condition that reads the match.
        SchemaError: patterns and schema do not meet; without schema= the first push says so.

    A push costs what its rows cost: one pass for the conditions, a look-up and a step per row that concerns a pattern.

    >>> from fyke import begin, col
    >>> pattern = begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
    >>> engine = Engine(pattern, time="ts", unit="s")
    >>> engine.push([{"ts": 0, "card": "x", "amount": 0.5}, {"ts": 60, "card": "x", "amount": 900.0}])
    <0 matches>
    >>> [match["spree"]["amount"] for match in engine.flush()]
    [900.0]
    """

    @overload
    def __new__(cls, streams: Streams, /) -> StreamEngine: ...  # type: ignore[misc]  # no Engine, but works like one
    @overload
    def __new__(
        cls,
        patterns: Patterns,
        *,
        time: str,
        unit: str | None = None,
        out_of_order: Duration = 0,
        schema: pa.Schema | Schema | None = None,
        keep: Sequence[str] | None = None,
        timeouts: bool = False,
        max_partials: int | None = None,
        on_max_partials: str = "error",
        max_memory: int | None = None,
        on_max_memory: str = "error",
        key_ttl: Duration | None = None,
        limit: int | None = None,
        strategy: str = "auto",
    ) -> Engine: ...
    def __new__(cls, patterns: Any, **options: Any) -> Any:
        """Make what runs what is given."""
        if not _are_streams(patterns):
            return super().__new__(cls)
        if options:
            raise DefinitionError(f"Engine: {next(iter(options))}= is said where the streams are written")
        return StreamEngine(patterns)

    @overload
    @classmethod
    def restore(cls, state: bytes, patterns: Streams, /, *, upgrade: Upgrade | None = None) -> StreamEngine: ...
    @overload
    @classmethod
    def restore(
        cls, state: bytes, patterns: Patterns, *, upgrade: Upgrade | None = None, **options: Any
    ) -> Engine: ...
    @classmethod
    def restore(cls, state: bytes, patterns: Any, **options: Any) -> Any:
        """Make an engine that goes on where the snapshot was taken.

        Args:
            state: what snapshot gave; may come from an untrusted place: no code in it is run.
            patterns: the patterns, or streams, the snapshot was taken with; with upgrade=, other patterns.
            upgrade: what becomes of partial matches that are open where patterns changed; `moved` counts them. None:
                patterns that changed are an error, which shows what did.
            options: as for Engine, of patterns. out_of_order must be what it was, and can be left out; the types of
                columns are the snapshot's.

        Raises:
            StateError: damaged, of another version, of other patterns or streams, or of another bound of disorder.
        """
        if _are_streams(patterns):
            return StreamEngine.restore(state, patterns, **options)
        return super().restore(state, patterns, **options)


def _are_streams(given: object) -> bool:
    values = given.values() if isinstance(given, Mapping) else [given]
    return any(isinstance(each, Stream | Table | KeyedStream | WindowedStream) for each in values)


def _checked_positions(given: Any, n: int) -> np.ndarray[Any, Any]:
    """Positions that the caller gave, as uint64."""
    try:
        numbers = np.asarray(given)
    except ValueError:
        numbers = np.empty(0, object)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and len(numbers)):
        raise DataError(f"positions: expected whole numbers in one dimension, from 0 to 2**63 - 1, got {given!r:.80}")
    if len(numbers) != n:
        raise DataError(f"positions: {len(numbers)} given for {n} rows")
    signed = np.ascontiguousarray(numbers.view(np.int64) if numbers.dtype == np.uint64 else numbers, np.int64)
    bad = first_not_above(signed)
    if bad >= 0 and signed[bad] < 0:
        raise DataError(f"positions: {int(numbers[bad])} at index {bad}: expected whole numbers from 0 to 2**63 - 1")
    if bad >= 0:
        raise DataError(
            f"positions: {signed[bad]} at index {bad} comes after {signed[bad - 1]}: expected ascending numbers"
        )
    return signed.view(np.uint64)


def _encoded(encode: Any, parts: Sequence[Any], numbers: np.ndarray[Any, Any]) -> list[Segment]:
    segments, at = [], 0
    for part in parts:
        segments.append(encode(part, numbers[at : at + len(part)]))
        at += len(part)
    return segments


def _view(segment: Segment, row: int) -> RowView:
    return RowView(segment.source, row)
