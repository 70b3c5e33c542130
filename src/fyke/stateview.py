"""What is in a state, for people: the open partial matches of each key, the windows and rows of a stream's boxes.

A view is made of a snapshot, never of a running engine, so looking costs the engine no more than a snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from fyke.columns import readable
from fyke.errors import StateError
from fyke.operator import State
from fyke.pattern import Pattern
from fyke.plan import Plan
from fyke.rowjson import load_row
from fyke.snapshot import Snapshot, read_container, read_core
from fyke.upgrade import patterns_of, plan_of, tables_of

__all__ = ["EXPORT", "BoxView", "Events", "HeldEvent", "Partial", "StateView"]

EXPORT: Final = pa.schema(
    [
        ("box", pa.string()), ("pattern", pa.string()), ("kind", pa.string()), ("key", pa.string()),
        ("waiting_for", pa.string()), ("start", pa.timestamp("ns", "UTC")),
        ("events", pa.list_(pa.struct([
            ("stage", pa.string()), ("time", pa.timestamp("ns", "UTC")), ("position", pa.uint64()),
            ("row", pa.string()),
        ]))),
    ]
)  # fmt: skip
"""Columns of `StateView.to_arrow`; keys and rows as JSON text, so that all patterns fit."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that a partial match holds: its stage, time (ns), place in arrival order, and the row."""

    stage: str
    time: int
    position: int
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial match that is open, or one that is complete and held back by a skip strategy.

    Attributes:
        box: the matcher of a stream; "" in an engine of patterns.
        pattern: its name, or its place where it has none.
        key: a value, a tuple of them, or None without a key.
        waiting_for: the stage whose event it waits for; None: it is complete.
        start: the time of its first event, ns.
        events: in the order taken.
    """

    box: str
    pattern: str
    key: Any
    waiting_for: str | None
    start: int
    events: tuple[HeldEvent, ...]


class BoxView:
    """A box of a stream, or an engine of patterns: its records by section.

    Attributes:
        name: "" for an engine of patterns.
        sections: as they stand in the snapshot.
    """

    def __init__(self, name: str, sections: State) -> None:
        self.name = name
        self.sections = sections

    @property
    def is_matcher(self) -> bool:
        """Whether it holds partial matches."""
        return "runs" in self.sections and "keyed" in self.sections

    def rows(self) -> dict[str, int]:
        """Count the records of each section that has any."""
        return {
            name: section.num_rows
            for name, section in self.sections.items()
            if not isinstance(section, dict) and section.num_rows
        }

    def snapshot(self) -> Snapshot:
        """Give the sections of a matcher, checked."""
        return read_core(self.sections)

    def patterns(self) -> tuple[Pattern, ...]:
        """Give the patterns of a matcher, as the snapshot tells them; see upgrade.patterns_of."""
        return patterns_of(self.snapshot())[0]

    def partials(self) -> Iterator[Partial]:
        """Yield what a matcher holds open, key by key.

        Raises:
            StateError: the snapshot is damaged, or does not tell its patterns.
        """
        snapshot = self.snapshot()
        plan = plan_of(snapshot)
        tables = {
            name: {column: values.tolist() for column, values in columns.items()}
            for name, columns in tables_of(snapshot, plan).items()
        }
        events = Events(snapshot, plan)
        nodes, run, match = tables["nodes"], 0, 0
        try:
            for i, n_runs, n_held in zip(*(tables["keyed"][c] for c in ("pattern", "n_runs", "n_held")), strict=True):
                its = plan.patterns[i]
                held = [(node, state) for node, state in _slices(tables["runs"], run, n_runs)]
                held += [(node, None) for node in tables["held"]["node"][match : match + n_held]]
                run, match = run + n_runs, match + n_held
                for node, state in held:
                    chain: list[int] = []
                    while node >= 0:
                        if len(chain) > len(nodes["parent"]):
                            raise StateError("snapshot, section nodes: events go round in a circle")
                        chain.append(node)
                        node = nodes["parent"][node]
                    taken = tuple(
                        events.held(its.stages[nodes["stage"][each]].name, nodes["event"][each])
                        for each in reversed(chain)
                    )
                    waiting_for = None if state is None else its.state_places[state][0]
                    key = events.key(its.key_columns, nodes["event"][chain[-1]])
                    yield Partial(self.name, its.name or str(i), key, waiting_for, taken[0].time, taken)
        except (IndexError, TypeError) as error:
            raise StateError(f"snapshot: its records do not fit together: {error}") from None

    def records(self, key: Any) -> list[dict[str, Any]]:
        """Give the records of a key in sections that are stored by key, such as windows: rows, with their section.

        Args:
            key: a value, or a tuple of as many as the key has columns.
        """
        wanted = key if isinstance(key, tuple) else (key,)
        found = []
        for name, section in self.sections.items():
            if isinstance(section, dict):
                continue
            columns = [column for column in section.schema.names if column.startswith("key.")]
            if len(columns) != len(wanted):
                continue
            for row in readable(pa.Table.from_batches([section])):
                if all(is_key(row[column], value) for column, value in zip(columns, wanted, strict=True)):
                    plain = {column: value for column, value in row.items() if not isinstance(value, bytes)}
                    found.append({"section": name} | plain)
        return found


class StateView:
    """A snapshot, looked into.

    Args:
        state: what snapshot() gave, of patterns or of streams; may come from an untrusted place.

    Raises:
        StateError: damaged, or of another version.

    >>> from fyke import Engine, begin, col
    >>> engine = Engine(begin("low", col.x < 2).next("high", col.x > 4).by("k"), time="ts", unit="s")
    >>> _ = engine.push([{"ts": 0, "k": "a", "x": 1}]), engine.advance(10**9)
    >>> [(open.waiting_for, open.events[0].row["x"]) for open in StateView(engine.snapshot()).get("a")]
    [('high', 1)]
    """

    def __init__(self, state: bytes) -> None:
        self.sections = read_container(state)
        meta = self.sections.get("meta")
        if not isinstance(meta, dict):
            raise StateError("snapshot: section meta is missing")
        self.meta: dict[str, Any] = meta
        self.is_stream = meta.get("kind") == "stream"
        if not self.is_stream:
            self.boxes = {"": BoxView("", self.sections)}
            return
        names = meta.get("boxes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise StateError("snapshot, section meta: boxes are missing")
        self.boxes = {name: BoxView(name, _under(self.sections, f"box/{i}/")) for i, name in enumerate(names)}

    @property
    def watermarks(self) -> dict[str, int | None]:
        """The watermark of each input, ns, None before the first; of patterns that of "rows"."""
        if self.is_stream:
            found = {name: told.get("watermark") for name, told in dict(self.meta.get("inputs", {})).items()}
        else:
            found = {"rows": self.meta["watermark"][2]}
        return {name: None if ns == -(2**63) else ns for name, ns in found.items()}

    def partials(self, key: Any = None) -> Iterator[Partial]:
        """Yield what is open, of one key or of all (None)."""
        for box in self.boxes.values():
            if box.is_matcher:
                yield from (each for each in box.partials() if key is None or is_key(each.key, key))

    def get(self, key: Any) -> list[Partial]:
        """Give what is open of a key; a tuple where the key has several columns, as text or as the values are."""
        return list(self.partials(key))

    def records(self, key: Any) -> dict[str, list[dict[str, Any]]]:
        """Give the records of a key that boxes hold by key beside partial matches, such as windows, by box."""
        found = {name: box.records(key) for name, box in self.boxes.items()}
        return {name: rows for name, rows in found.items() if rows}

    def to_arrow(self) -> pa.Table:
        """Give all that is open as a table of the columns EXPORT."""
        rows = [
            {
                "box": each.box,
                "pattern": each.pattern,
                "kind": "held" if each.waiting_for is None else "partial",
                "key": to_json(each.key),
                "waiting_for": each.waiting_for,
                "start": each.start,
                "events": [
                    {"stage": e.stage, "time": e.time, "position": e.position, "row": to_json(e.row)}
                    for e in each.events
                ],
            }
            for each in self.partials()
        ]
        return pa.Table.from_pylist(rows, schema=EXPORT)


class Events:
    """The events of a snapshot by number."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._columns = plan.columns
        self._groups: list[tuple[Any, Any, list[dict[str, Any]]]] = []
        self._places: dict[int, tuple[int, int]] = {}
        for group, (events, kind, payload) in enumerate(snapshot.groups):
            if kind == "arrow":
                rows = list(readable(pa.Table.from_batches([payload])))
            else:
                rows = [load_row(text) for text in payload.column(0).to_pylist()]
            if len(rows) != len(events):
                raise StateError("snapshot, section events: rows are missing")
            self._groups.append((events, events.column(1).to_numpy(), rows))
            self._places |= {n: (group, at) for at, n in enumerate(events.column(0).to_pylist())}

    def held(self, stage: str, number: int) -> HeldEvent:
        group, at = self._place(number)
        events, times, rows = self._groups[group]
        return HeldEvent(stage, int(times[at]), events.column(2)[at].as_py(), rows[at])

    def key(self, columns: tuple[int, ...], number: int) -> Any:
        group, at = self._place(number)
        events, _, rows = self._groups[group]
        parts = []
        for c in columns:
            column = self._columns[c]
            if column.kind == "input" and column.name in rows[at]:
                parts.append(rows[at][column.name])
            else:
                value = events.column(3 + c)[at].as_py()
                parts.append(value.decode() if column.type == "string" and isinstance(value, bytes) else value)
        return None if not parts else parts[0] if len(parts) == 1 else tuple(parts)

    def _place(self, number: int) -> tuple[int, int]:
        if number not in self._places:
            raise StateError(f"snapshot, section nodes: event {number} is not there")
        return self._places[number]


def is_key(given: Any, wanted: Any) -> bool:
    """Whether a key is the one asked for, by its value or as text of it."""
    return bool(given == wanted) or (isinstance(wanted, str) and key_text(given) == wanted)


def key_text(key: Any) -> str:
    """Give a key as it is typed: the parts of a composed one with commas between.

    >>> key_text(("a", 1)), key_text(None)
    ('a,1', '')
    """
    return "" if key is None else ",".join(map(str, key)) if isinstance(key, tuple) else str(key)


def to_json(value: Any) -> str:
    """Give a key or row as JSON text; what JSON lacks as text."""
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, default=str, ensure_ascii=False)


def _slices(runs: Mapping[str, list[int]], first: int, n: int) -> list[tuple[int, int | None]]:
    return list(zip(runs["node"][first : first + n], runs["state"][first : first + n], strict=True))


def _under(sections: State, prefix: str) -> State:
    """The sections of a box; those of its operator without more of a prefix."""
    own = {name.removeprefix(prefix): each for name, each in sections.items() if name.startswith(prefix)}
    return {name.removeprefix("operator/"): each for name, each in own.items()}
