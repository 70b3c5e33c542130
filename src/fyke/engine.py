"""Engine: patterns in an application. Push rows or batches, get matches."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fyke._core import Core, Segment, count_from, datetime_ns
from fyke.batches import UNITS, Encoder, Payloads, RowView, arrow_batches, rows_of
from fyke.compiler import compile_plan
from fyke.duration import to_ns
from fyke.errors import DataError, DefinitionError, LimitError, PatternError, SkipError
from fyke.match import Results
from fyke.pattern import Pattern
from fyke.plan import Plan
from fyke.schema import Schema
from fyke.snapshot import read_snapshot, write_snapshot

POLICIES: Final = {"error": 0, "drop_oldest": 1, "drop_newest": 2}
Patterns = Pattern | Sequence[Pattern] | Mapping[str, Pattern]
Duration = str | dt.timedelta | int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start, and what is held now.

    Attributes:
        rows: rows pushed. late: of these, behind the watermark. null_keys: without a key, where a pattern looked for
            one.
        matches, timeouts: reported (timeouts are counted also when they are not asked for).
        pruned: partial or held matches that a skip strategy ended. dropped_partials: that a bound or key_ttl ended.
        expired_keys: keys that key_ttl forgot.
        partials, held, keys, waiting: open partial matches, held matches, keys with state, rows in the reorder buffer.
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


def normalise(patterns: Patterns) -> tuple[Pattern, ...]:
    """Give one pattern, several, or several by name as a checked tuple."""
    given: object = patterns  # which callers without a type checker may get wrong
    if isinstance(given, Pattern):
        found: tuple[Pattern, ...] = (given,)
    elif isinstance(given, Mapping):
        found = tuple(p.named(name) for name, p in given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = tuple(given)
    else:
        raise DefinitionError(f"patterns: expected a Pattern, several, or names mapped to them, got {given!r:.80}")
    for p in found:
        if not isinstance(p, Pattern):
            raise DefinitionError(f"patterns: expected a Pattern, got {p!r:.80}")
        p.check()
    names = [p.name for p in found if p.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise PatternError(f'two patterns are named "{name}": give each a name of its own')
    if not found:
        raise DefinitionError("patterns: none given")
    return found


class Engine:
    """Matches patterns over rows pushed in arrival order.

    Args:
        patterns: one Pattern, several, or a mapping of names to them.
        time: the column of the event time.
        unit: of a numeric time column: "s", "ms", "us" or "ns". None: it holds timestamps (or datetimes).
        out_of_order: the bound of disorder, a duration; a row this much behind the highest time seen is still in time.
        schema: a pyarrow Schema or a fyke Schema. None: that of the first Arrow data; for rows types follow from the
            patterns.
        keep: the columns that matches hold beside those that patterns read. None: all.
        timeouts: report partial matches that time out (Results.timeouts).
        max_partials, on_max_partials: bound of open partial matches of one pattern and key, and what to do: "error",
            "drop_oldest", "drop_newest".
        max_memory, on_max_memory: bound in bytes of what is held for open partial matches, and what to do.
        key_ttl: forget a key that had no event for so long, a duration in event time.

    Raises:
        DefinitionError: an option or a pattern is wrong.

    A push costs what its rows cost: one pass for the conditions, a look-up and a step per row that concerns a pattern.

    >>> from fyke import begin, col
    >>> pattern = begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
    >>> engine = Engine(pattern, time="ts", unit="s")
    >>> engine.push([{"ts": 0, "card": "x", "amount": 0.5}, {"ts": 60, "card": "x", "amount": 900.0}])
    <0 matches>
    >>> [match["spree"]["amount"] for match in engine.flush()]
    [900.0]
    """

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
    ) -> None:
        self.patterns = normalise(patterns)
        if not isinstance(time, str) or not time:
            raise DefinitionError(f"time: expected the name of a column, got {time!r}")
        if unit is not None and unit not in UNITS:
            raise DefinitionError(f'unit={unit!r}: expected "s", "ms", "us" or "ns"')
        for name, policy in (("on_max_partials", on_max_partials), ("on_max_memory", on_max_memory)):
            if policy not in POLICIES:
                raise DefinitionError(f"{name}={policy!r}: expected {', '.join(POLICIES)}")
        for name, bound in (("max_partials", max_partials), ("max_memory", max_memory)):
            if bound is not None and (not isinstance(bound, int) or bound < 1):
                raise DefinitionError(f"{name}={bound!r}: expected a positive number")
        self._time = time
        self._unit = unit
        self._keep = keep
        self._out_of_order = 0 if out_of_order == 0 else to_ns(out_of_order)
        self._ttl = None if key_ttl is None else to_ns(key_ttl)
        self._options = {
            "timeouts": timeouts, "max_partials": max_partials, "max_partials_policy": POLICIES[on_max_partials],
            "max_memory": max_memory, "max_memory_policy": POLICIES[on_max_memory], "key_ttl": self._ttl,
        }  # fmt: skip
        self._plan: Plan | None = None
        self._encoder: Encoder | None = None
        self._core: Any = None
        self._position = 0
        self._warn_unbounded(max_partials)
        if schema is not None:
            self._compile(schema if isinstance(schema, Schema) else Schema.from_arrow(schema))

    def _warn_unbounded(self, max_partials: int | None) -> None:
        for p in self.patterns:
            if p.window is None and self._ttl is None and max_partials is None and _can_wait(p):
                warnings.warn(
                    f"pattern {p.name or p!r:.60}: without within() its partial matches can wait for ever; "
                    "add .within(...), or key_ttl= or max_partials= to the engine",
                    UserWarning,
                    stacklevel=3,
                )

    def _compile(self, schema: Schema | None) -> None:
        plan = compile_plan(self.patterns, schema)
        names = tuple(tuple(s.name for s in p.stages) for p in plan.patterns)
        owners = self._callable_stages(plan)
        self._core = Core(plan.tables, owners, names, _view, Payloads, self._out_of_order, self._options)
        self._encoder = Encoder(plan, self._time, self._unit, self._keep)
        self._plan = plan

    def _callable_stages(self, plan: Plan) -> tuple[Any, ...]:
        """Each callable with the stage names of its pattern, by number; numbers ascend over the patterns."""
        return tuple((tuple(s.name for s in plan.patterns[p].stages), fn) for p, fn in plan.callables)

    # -- input

    def push(self, data: Any, positions: Sequence[int] | np.ndarray[Any, Any] | None = None) -> Results:
        """Take rows in arrival order and give what they complete.

        Args:
            data: a row (dict, dataclass, msgspec Struct), an iterable of rows, a NumPy structured array, or anything
                with the Arrow C interface (pyarrow, polars, pandas).
            positions: the rows' arrival numbers, ascending; None: counted from 0.

        Raises:
            DataError: a value is missing or of the wrong type; nothing of this push has then been taken.
            LimitError, SkipError: a bound or a skip strategy with throw=True; the engine is then stopped.
        """
        batches = arrow_batches(data)
        segments: list[Segment] = []
        at = self._position
        if batches is not None:
            for batch in batches:
                if self._plan is None:
                    self._compile(Schema.from_arrow(batch.schema))
                assert self._encoder is not None
                numbers = self._positions(positions, at - self._position, len(batch), at)
                segments.append(self._encoder.from_arrow(batch, numbers))
                at += len(batch)
        else:
            rows = rows_of(data)
            if self._plan is None:
                self._compile(None)
            assert self._encoder is not None
            segments.append(self._encoder.from_rows(rows, self._positions(positions, 0, len(rows), at)))
            at += len(rows)
        if positions is None:
            self._position = at
        elif at > self._position:
            self._position = int(positions[-1]) + 1
        return self._results([(self._core.push, s) for s in segments])

    def _positions(
        self, given: Sequence[int] | np.ndarray[Any, Any] | None, offset: int, n: int, at: int
    ) -> np.ndarray[Any, Any]:
        if given is None:
            return count_from(at, n)
        if len(given) < offset + n:
            raise DataError(f"positions: {len(given)} given for at least {offset + n} rows")
        return np.ascontiguousarray(given[offset : offset + n], np.uint64)

    def _results(self, calls: Sequence[tuple[Any, ...]]) -> Results:
        """Run calls into the core; an error that stops the engine carries what they had found before as `results`."""
        assert self._plan is not None
        found: list[Any] = []
        try:
            for call, *arguments in calls:
                found.append(call(*arguments))
        except (LimitError, SkipError) as error:
            error.results = Results([*found, error.found], self._plan.patterns)
            raise
        return Results(found, self._plan.patterns)

    def advance(self, watermark: int | dt.datetime) -> Results:
        """Move the watermark from outside: no more events with a time at or before it.

        Args:
            watermark: ns since the epoch, or a datetime.
        """
        ns = datetime_ns(watermark) if isinstance(watermark, dt.datetime) else int(watermark)
        if self._plan is None:
            self._compile(None)
        return self._results([(self._core.advance, ns)])

    def flush(self) -> Results:
        """End of input: the watermark goes to infinity.

        Timeouts and absences fire, held matches come out, later rows are late.
        """
        if self._plan is None:
            self._compile(None)
        return self._results([(self._core.flush,)])

    # -- state

    @property
    def watermark(self) -> int | None:
        """No more events with a time at or before this, ns since the epoch; None before the first event."""
        if self._core is None or self._core.watermark == -(2**63):
            return None
        return int(self._core.watermark)

    def statistics(self) -> Statistics:
        """Give the counts of now, as an immutable record."""
        counted = self._core.counters() if self._core is not None else {}
        names = [f.name for f in fields(Statistics) if f.name != "watermark"]
        return Statistics(**{n: int(counted.get(n, 0)) for n in names}, watermark=self.watermark)

    def snapshot(self) -> bytes:
        """Give the whole state as bytes; see Engine.restore.

        Raises:
            StateError: a pattern holds a lambda, which no snapshot can name.
        """
        if self._plan is None:
            self._compile(None)
        assert self._plan is not None
        return write_snapshot(self._plan, self._core, self._position)

    @classmethod
    def restore(cls, state: bytes, patterns: Patterns, **options: Any) -> Engine:
        """Make an engine that goes on where the snapshot was taken.

        Args:
            state: what Engine.snapshot gave; may come from an untrusted place: no code in it is run.
            patterns: the patterns the snapshot was taken with.
            options: as for Engine.

        Raises:
            StateError: damaged, of another version, or of other patterns.
        """
        engine = cls(patterns, **options)
        snapshot = read_snapshot(state)
        engine._compile(snapshot.schema)
        assert engine._plan is not None
        snapshot.fill(engine._plan, engine._core)
        engine._position = snapshot.position
        return engine

    def explain(self) -> str:
        """Give the plan in words: what is judged when, and how each pattern is run."""
        plan = self._plan if self._plan is not None else compile_plan(self.patterns, None)
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


def _view(segment: Segment, row: int) -> RowView:
    return RowView(segment.source, row)


def _can_wait(pattern: Pattern) -> bool:
    """Whether a partial match can stay open on a quiet or unlucky key: not if every stage is strict."""
    return any(
        s.contiguity in ("followed_by", "followed_by_any", "not_followed_by")
        or (s.quantifier.kind != "one" and s.quantifier.inner != "strict")
        for s in pattern.all_stages()
    )
