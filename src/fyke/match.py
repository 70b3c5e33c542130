"""What a push gives back: matches, timed-out partial matches, late rows. Objects are made when they are looked at.

A result pins the segments it shows, and nothing else: it stays right however many pushes follow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke import expr as ex
from fyke._core import RawResults, Segment, gather_positions
from fyke.batches import RowView, as_arrow, field_names, field_value
from fyke.errors import DataError, DefinitionError
from fyke.plan import PatternPlan

KINDS: Final = ("match", "timeout", "held")
CAUSES: Final = ("event", "time", "after", "end")
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NO_ROWS: Final = np.empty(0, np.int64)
MOST: Final = 2**64 - 1


def to_datetime(ns: int) -> dt.datetime:
    """Give a time in ns as a datetime in UTC, rounded down to microseconds."""
    return EPOCH + dt.timedelta(microseconds=ns // 1000)


class Event(RowView):
    """One event of a match: its fields by name, its event time in ns and its arrival position."""

    __slots__ = ("_segment",)

    def __init__(self, segment: Segment, row: int) -> None:
        super().__init__(segment.source, row)
        self._segment = segment

    @property
    def time(self) -> int:
        """The event time, ns since the epoch."""
        return int(self._segment.times[self._row])

    @property
    def position(self) -> int:
        """The place in arrival order, from 0."""
        return int(self._segment.positions[self._row])

    def __reduce__(self) -> Any:
        return _lone_event, (dict(self), self.time, self.position)

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _lone_event(fields: dict[str, Any], time: int, position: int) -> Event:
    return Event(Segment(np.array([time], np.int64), np.array([position], np.uint64), [], [fields], 0), 0)


class Match:
    """A match, a timed-out partial match, or one that a skip strategy still held back at the end of the input.

    `match["stage"]` is the stage's event, None if an optional stage has none, or the list of events of a stage that can
    have several.
    """

    __slots__ = ("_events", "_pattern", "_raw", "_record")

    def __init__(self, raw: RawResults, index: int, patterns: Sequence[PatternPlan]) -> None:
        self._raw = raw
        self._record = raw.rows[index]
        self._pattern = patterns[int(self._record["pattern"])]
        self._events: list[tuple[int, Event]] | None = None

    def _taken(self) -> list[tuple[int, Event]]:
        if self._events is None:
            first = int(self._record["first_event"])
            rows = self._raw.events[first : first + int(self._record["n_events"])]
            segments = self._raw.segments
            self._events = [(int(s), Event(segments[int(g)], int(r))) for s, g, r in rows.tolist()]
        return self._events

    @property
    def pattern(self) -> str | None:
        """The pattern's name."""
        return self._pattern.name

    @property
    def kind(self) -> str:
        """match, timeout or held."""
        return KINDS[int(self._record["kind"])]

    @property
    def events(self) -> list[tuple[str, Event]]:
        """(stage, event) in the order taken."""
        return [(self._pattern.stages[s].name, e) for s, e in self._taken()]

    @property
    def start(self) -> int:
        """The first event's time, ns since the epoch."""
        return self._taken()[0][1].time

    @property
    def end(self) -> int:
        """The last event's time, ns since the epoch."""
        return self._taken()[-1][1].time

    @property
    def time(self) -> int:
        """The last event's time: that of the match as an event."""
        return self.end

    @property
    def start_time(self) -> dt.datetime:
        """The first event's time."""
        return to_datetime(self.start)

    @property
    def end_time(self) -> dt.datetime:
        """The last event's time."""
        return to_datetime(self.end)

    @property
    def released(self) -> int:
        """The time of the event or deadline that brought the result out, ns since the epoch."""
        return int(self._record["released"])

    @property
    def cause(self) -> tuple[str, int | None]:
        """("event", position), ("time", deadline), ("after", position of what made it overdue) or ("end", None)."""
        cause = CAUSES[int(self._record["cause"])]
        if cause == "end":
            return cause, None
        value = int(self._record["cause_value"])
        return cause, value - 2**64 if cause == "time" and value >= 2**63 else value

    @property
    def key(self) -> Any:
        """The key: a value, a tuple of them, or None without a key."""
        parts = tuple(_key_part(i, self._pattern, self._taken()[0][1]) for i in range(len(self._pattern.key)))
        return None if not parts else parts[0] if len(parts) == 1 else parts

    @property
    def id(self) -> str:
        """A deterministic name: pattern, kind, then stage and position of each event."""
        taken = ",".join(f"{self._pattern.stages[s].name}@{e.position}" for s, e in self._taken())
        return f"{self._pattern.name or int(self._record['pattern'])}/{self.kind}/{taken}"

    def __getitem__(self, stage: str) -> Any:
        for number, plan in enumerate(self._pattern.stages):
            if plan.name == stage:
                found = [e for s, e in self._taken() if s == number]
                return found if plan.repeats else found[0] if found else None
        raise KeyError(f"no stage {stage!r}; the pattern has {', '.join(s.name for s in self._pattern.stages)}")

    def to_dict(self) -> dict[str, Any]:
        """Give the match as plain dicts and lists."""
        stages: dict[str, Any] = {}
        for number, plan in enumerate(self._pattern.stages):
            found = [dict(e) for s, e in self._taken() if s == number]
            if found or any(s == number for s, _ in self._taken()):
                stages[plan.name] = found if plan.repeats else found[0]
        return {
            "pattern": self.pattern, "kind": self.kind, "key": self.key, "start": self.start, "end": self.end,
            "released": self.released, "id": self.id, "stages": stages,
        }  # fmt: skip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Match):
            return NotImplemented
        return (self.id, self.cause, self.to_dict()) == (other.id, other.cause, other.to_dict())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        key = "" if not self._pattern.key else f" key={self.key!r}"
        name = f" {self.pattern}" if self.pattern else ""
        stages = ", ".join(f"{stage}={dict(event)!r}" for stage, event in self.events)
        return f"<{self.kind}{name}{key} {stages}>"


def _key_part(index: int, pattern: PatternPlan, event: Event) -> Any:
    key = pattern.key[index]
    if isinstance(key, ex.Column):
        try:
            return event[key.name]
        except KeyError:
            pass
    value = as_arrow(event._segment.columns[pattern.key_columns[index]], len(event._segment))[event._row].as_py()
    kind = pattern.key_types[index]
    if kind == "bool":
        return bool(value)
    if kind == "timestamp":
        return to_datetime(value)
    if kind == "duration":
        return dt.timedelta(microseconds=value // 1000)
    if kind == "date":
        return EPOCH.date() + dt.timedelta(days=value)
    return value


class Matches(Sequence[Match]):
    """Results of one kind, as a sequence."""

    __slots__ = ("_kind", "_patterns", "_raw", "_some")

    def __init__(
        self,
        raw: RawResults | None,
        kind: int,
        patterns: Sequence[PatternPlan],
        some: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self._raw = raw
        self._kind = kind
        self._patterns = patterns
        self._some = some  # of the records a result; None: all of this kind, listed once someone looks

    @property
    def _index(self) -> np.ndarray[Any, Any]:
        if self._some is None:
            self._some = NO_ROWS if self._raw is None else np.flatnonzero(self._raw.rows["kind"] == self._kind)
        return self._some

    def __len__(self) -> int:
        if self._some is None and self._raw is not None:
            return self._raw.count(self._kind)
        return len(self._index)

    @overload
    def __getitem__(self, i: int) -> Match: ...
    @overload
    def __getitem__(self, i: slice) -> Matches: ...
    def __getitem__(self, i: int | slice) -> Match | Matches:
        if isinstance(i, slice):
            return Matches(self._raw, self._kind, self._patterns, self._index[i])
        at = int(self._index[i])
        assert self._raw is not None
        return Match(self._raw, at, self._patterns)

    def __iter__(self) -> Iterator[Match]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        return f"<{len(self)} results>"

    def to_arrow(self) -> pa.Table:
        """Give the results as a table: a row each, a column per stage (struct, or list of structs)."""
        return _to_table(self._raw, self._index, self._patterns)

    def positions(self, pattern: str | None = None) -> pa.Table:
        """Give the arrival positions of the results' events as a table: a row each, a column per stage.

        A column is int64, null where an optional stage has no event, or a list of int64 for a stage that can have
        several. It is the fastest way to many matches: rows are joined to what was pushed when they are needed.

        Args:
            pattern: its name, where there are several.

        Raises:
            DefinitionError: there are several patterns and none is named, or none of that name.
        """
        number = self._number_of(pattern)
        stages = [s for s in self._patterns[number].stages if not s.negated]
        repeats = [s.repeats for s in self._patterns[number].stages]
        raw = self._raw if self._some is None or self._raw is None else _only(self._raw, self._some)
        nothing = [(NO_ROWS, np.zeros(1, np.int64) if repeat else None) for repeat in repeats]
        found = nothing if raw is None else gather_positions(raw, self._kind, number, repeats)
        columns: dict[str, pa.Array] = {}
        for stage, (values, offsets) in zip(self._patterns[number].stages, found, strict=True):
            if stage in stages:
                columns[stage.name] = (
                    pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
                    if offsets is not None
                    else pa.array(values, mask=values < 0)
                    if len(values) and values.min() < 0
                    else pa.array(values)
                )
        return pa.table(columns)

    def _number_of(self, pattern: str | None) -> int:
        names = [p.name for p in self._patterns]
        if pattern is None and len(names) == 1:
            return 0
        if pattern is None or pattern not in names:
            raise DefinitionError(f"positions: expected the name of a pattern, one of {names}, got {pattern!r}")
        return names.index(pattern)


def _only(raw: RawResults, index: np.ndarray[Any, Any]) -> RawResults:
    """These of the results."""
    return RawResults(np.ascontiguousarray(raw.rows[index]), raw.events, raw.segments, None)


class Rows(Sequence[dict[str, Any]]):
    """Late rows, in arrival order."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[tuple[Segment, np.ndarray[Any, Any]]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._parts)

    @overload
    def __getitem__(self, i: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, i: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, i: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return list(self)[i]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for segment, rows in self._parts:
            for row in rows.tolist():
                yield dict(RowView(segment.source, row))

    @property
    def positions(self) -> list[int]:
        """The rows' places in arrival order."""
        return [int(p) for segment, rows in self._parts for p in segment.positions[rows]]

    def to_arrow(self) -> pa.Table:
        """Give the rows as a table."""
        tables = [_take(segment, rows) for segment, rows in self._parts]
        return _together(tables) if tables else pa.table({})


def _take(segment: Segment, rows: np.ndarray[Any, Any]) -> pa.Table:
    if not isinstance(segment.source, list):
        return pa.Table.from_batches([segment.source]).take(pa.array(rows))
    objects = [dict(RowView(segment.source, row)) for row in rows.tolist()]
    columns = {}
    for name in dict.fromkeys(name for fields in objects for name in fields):
        if not isinstance(name, str):
            raise DataError(f"field {name!r:.60}: a column of a table is named by a str, not by {type(name).__name__}")
        values = [fields.get(name) for fields in objects]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise _no_column(name, values, segment.positions[rows].tolist(), error) from None
    return pa.table(columns) if columns else pa.table({"": pa.nulls(len(rows))}).select([])


def _no_column(name: str, values: list[Any], positions: list[int], error: Exception) -> DataError:
    """Make the error of values without a common Arrow type, and point at the first that is unlike those before."""
    first = next((i for i, value in enumerate(values) if value is not None), 0)
    for i in range(first + 1, len(values)):
        if type(values[i]) is type(values[first]):
            continue
        try:
            pa.array(values[: i + 1])
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            one, other = type(values[first]).__name__, type(values[i]).__name__
            where = f"{one} at position {positions[first]}, {other} at position {positions[i]}"
            return DataError(f"field `{name}`: {where}: no column of a table holds both")
    one = type(values[first]).__name__
    return DataError(f"field `{name}`: {one} at position {positions[first]} fits no column: {error}")


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables one after the other; numbers of two types become the wider one."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        types: dict[str, pa.Field] = {}
        for table in tables:
            for field in table.schema:
                known = types.setdefault(field.name, field)
                try:
                    types[field.name] = pa.unify_schemas(
                        [pa.schema([known]), pa.schema([field])], promote_options="permissive"
                    ).field(0)
                except (pa.ArrowInvalid, pa.ArrowTypeError):
                    raise DataError(
                        f"field `{field.name}`: {known.type} in one batch, {field.type} in another: no column of a "
                        "table holds both"
                    ) from None
        raise


class Results(Sequence[Match]):
    """What a push, advance or flush gave: a sequence of its matches.

    Attributes:
        timeouts: partial matches that timed out (with Engine(timeouts=True)).
        held: matches that a skip strategy still held back (flush only).
        late: rows that came after the watermark had passed their time.
        total: matches found, with those that limit= left out. 2**64 - 1: so many or more.
    """

    __slots__ = ("_matches", "_patterns", "_raw", "late", "total")

    def __init__(self, raws: Sequence[RawResults | None], patterns: Sequence[PatternPlan]) -> None:
        found = [r for r in raws if r is not None]
        self._raw = found[0] if len(found) == 1 else _join(found)
        self._patterns = patterns
        self._matches = self._of_kind(0)
        self.total = min(sum(r.found for r in found), MOST)
        self.late = Rows([r.late for r in found if r.late is not None])

    def _of_kind(self, kind: int) -> Matches:
        return Matches(self._raw, kind, self._patterns)

    @property
    def timeouts(self) -> Matches:
        """Partial matches that timed out."""
        return self._of_kind(1)

    @property
    def held(self) -> Matches:
        """Matches that a skip strategy held back until the end."""
        return self._of_kind(2)

    @property
    def matches(self) -> Matches:
        """The matches, as what iterating over this gives."""
        return self._matches

    def __len__(self) -> int:
        return len(self._matches)

    @overload
    def __getitem__(self, i: int) -> Match: ...
    @overload
    def __getitem__(self, i: slice) -> Matches: ...
    def __getitem__(self, i: int | slice) -> Match | Matches:
        return self._matches[i]

    def __iter__(self) -> Iterator[Match]:
        return iter(self._matches)

    def to_arrow(self) -> pa.Table:
        """Give the matches as a table; see Matches.to_arrow."""
        return self._matches.to_arrow()

    def positions(self, pattern: str | None = None) -> pa.Table:
        """Give the arrival positions of the matches' events as a table; see Matches.positions."""
        return self._matches.positions(pattern)

    def __repr__(self) -> str:
        parts = [f"{len(self)} matches"]
        parts += [
            f"{len(x)} {n}"
            for n, x in (("timeouts", self.timeouts), ("held", self.held), ("late", self.late))
            if len(x)
        ]
        return f"<{', '.join(parts)}>"


def _join(found: Sequence[RawResults]) -> RawResults | None:
    """Several results as one; segment numbers are made distinct."""
    if not found:
        return None
    rows, events, n_events = [], [], 0
    segments: dict[int, Segment] = {}
    for raw in found:
        r, e = raw.packed.copy(), raw.events.copy()
        r["first_event"] += n_events
        n_events += len(e)
        numbers = {old: len(segments) + i for i, old in enumerate(raw.segments)}
        segments.update({numbers[old]: s for old, s in raw.segments.items()})
        if len(e):
            table = np.zeros(max(numbers) + 1, np.uint32)
            table[list(numbers)] = list(numbers.values())
            e["segment"] = table[e["segment"]]
        rows.append(r)
        events.append(e)
    return RawResults(np.concatenate(rows), np.concatenate(events), segments, None)


# ------------------------------------------------------------------------------------------------ to Arrow


def payload_of(raw: RawResults, events: np.ndarray[Any, Any]) -> pa.Table:
    """The payload of these events, in order, as one table."""
    used = sorted({int(s) for s in np.unique(events["segment"])})
    tables, base, n = [], {}, 0
    for number in used:
        segment = raw.segments[number]
        rows = np.unique(events["row"][events["segment"] == number])
        tables.append(_take(segment, rows))
        base[number] = (n, rows)
        n += len(rows)
    if not tables:
        return pa.table({})
    take = np.empty(len(events), np.int64)
    for number, (first, rows) in base.items():
        mine = events["segment"] == number
        take[mine] = first + np.searchsorted(rows, events["row"][mine])
    return _together(tables).take(pa.array(take)).combine_chunks()


def gathered(raw: RawResults, events: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    out = np.empty(len(events), np.int64)
    for number, segment in raw.segments.items():
        mine = events["segment"] == number
        out[mine] = getattr(segment, what)[events["row"][mine]]
    return out


def _to_table(raw: RawResults | None, index: np.ndarray[Any, Any], patterns: Sequence[PatternPlan]) -> pa.Table:
    time = pa.timestamp("ns", "UTC")
    # All patterns' keys and stages, found or not: tables of the same patterns have the same columns, and can go into
    # one file.
    stages: dict[str, bool] = {}
    for plan in patterns:
        for stage in (stage for stage in plan.stages if not stage.negated):
            stages[stage.name] = stages.get(stage.name, False) or stage.repeats
    width = max((len(plan.key) for plan in patterns), default=0)
    keys = ["key"] if width == 1 else [f"key_{i + 1}" for i in range(width)]
    if raw is None or len(index) == 0:
        empty = {"pattern": pa.string(), "kind": pa.string(), **dict.fromkeys(keys, pa.null())}
        empty |= {"start": time, "end": time, "released": time, "id": pa.string()}
        empty |= {name if name not in empty else f"{name}_": pa.null() for name in stages}
        return pa.schema(list(empty.items())).empty_table()
    records = raw.rows[index]
    counts = records["n_events"].astype(np.int64)
    first = records["first_event"].astype(np.int64)
    ends = np.cumsum(counts)
    flat = np.arange(int(ends[-1])) - np.repeat(ends - counts, counts) + np.repeat(first, counts)
    events = raw.events[flat]
    owner = np.repeat(np.arange(len(records)), counts)
    times = gathered(raw, events, "times")
    positions = gathered(raw, events, "positions")
    starts = ends - counts
    names = list(dict.fromkeys(stage.name for plan in patterns for stage in plan.stages))
    number = {name: i for i, name in enumerate(names)}
    labels = np.empty(len(events), np.int32)  # the stages of the events, as numbers of names
    pattern_of = records["pattern"][owner]
    for p in np.unique(records["pattern"]):
        mine = pattern_of == p
        labels[mine] = np.array([number[s.name] for s in patterns[int(p)].stages], np.int32)[events["stage"][mine]]
    parts = pc.binary_join_element_wise(pa.array(names).take(pa.array(labels)), pa.array(positions).cast("string"), "@")
    taken = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(np.append(starts, ends[-1])), parts), ",")
    heads = pa.array([f"{p.name or i}/{kind}" for i, p in enumerate(patterns) for kind in KINDS])
    head_of = pa.array(records["pattern"].astype(np.int64) * len(KINDS) + records["kind"])
    columns: dict[str, Any] = {
        "pattern": pa.array([p.name for p in patterns], pa.string()).take(pa.array(records["pattern"])),
        "kind": pa.array(KINDS).take(pa.array(records["kind"])),
    }
    columns |= _key_columns(keys, raw, events[starts], records, patterns)
    columns |= {
        "start": pa.array(times[starts]).cast(time),
        "end": pa.array(times[ends - 1]).cast(time),
        "released": pa.array(records["released"]).cast(time),
        "id": pc.binary_join_element_wise(heads.take(head_of), taken, "/"),
    }
    payload = payload_of(raw, events)
    for name, repeats in stages.items():
        mine = np.flatnonzero(labels == number[name])
        columns[name if name not in columns else f"{name}_"] = stage_column(
            payload, mine, owner[mine], len(records), repeats
        )
    return pa.table(columns)


def stage_column(
    payload: pa.Table, mine: np.ndarray[Any, Any], owner: np.ndarray[Any, Any], n: int, repeats: bool
) -> pa.Array:
    rows = payload.take(pa.array(mine))
    structs = (
        pa.StructArray.from_arrays(
            [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in rows.columns], names=rows.schema.names
        )
        if rows.num_columns
        else pa.nulls(len(mine), pa.struct([]))
    )
    if repeats:
        offsets = np.zeros(n + 1, np.int32)
        np.cumsum(np.bincount(owner, minlength=n), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), structs)
    take = np.full(n, -1, np.int64)
    take[owner] = np.arange(len(owner))
    return structs.take(pa.array(take, mask=take < 0))


def _key_columns(
    names: Sequence[str],
    raw: RawResults,
    firsts: np.ndarray[Any, Any],
    records: np.ndarray[Any, Any],
    patterns: Sequence[PatternPlan],
) -> dict[str, Any]:
    """key, or key_1, key_2 ... of the pattern with the longest; null where a pattern has fewer parts."""
    out = {}
    owners = [patterns[int(p)] for p in records["pattern"]]
    events = [Event(raw.segments[int(g)], int(r)) for _, g, r in firsts.tolist()] if names else []
    for i, name in enumerate(names):
        values = [_key_part(i, plan, e) if i < len(plan.key) else None for plan, e in zip(owners, events, strict=True)]
        try:
            out[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            out[name] = pa.array([None if v is None else str(v) for v in values])
    return out


__all__ = ["Event", "Match", "Matches", "Results", "Rows", "field_names", "field_value", "to_datetime"]
