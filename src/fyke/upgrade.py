"""State of other patterns than those that go on: what was open is mapped by the names of stages, finished, or dropped.

A snapshot says which patterns it is of. Patterns are met by their names. What is open of one that did not change goes
on as it was. Of one that changed, a partial match can be

- mapped: it waits in the same place of the new version. That place is there if the stages up to where it waits have the
  same names in the same order, and the one where it waits has the same quantifier and contiguity; conditions, windows
  and all that comes later may be others. Running aggregates that only the new version has are made from its events;
- finished: the old version goes on beside the new one, for the partial matches that are open, and begins none;
- dropped.

Rows in the reorder buffer, the watermark and the latest events of keys go over in any case.
"""

from __future__ import annotations

import difflib
import json
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fyke._core import Segment
from fyke.batches import Encoder, as_arrow
from fyke.compiler import compile_plan
from fyke.errors import DataError, DefinitionError, SchemaError, StateError
from fyke.matching import Patterns, normalise
from fyke.pattern import Pattern
from fyke.plan import PatternPlan, Plan
from fyke.rowjson import load_row
from fyke.schema import Field, Schema
from fyke.snapshot import TABLES, Snapshot
from fyke.stage import Stage

__all__ = ["Moved", "Moving", "Upgrade", "difference", "patterns_of", "plan_of", "tables_of"]

MODES: Final = ("map", "finish", "drop")
_CALL: Final = re.compile(
    r"(?=\.(?:next|followed_by|followed_by_any|not_next|not_followed_by|within|by|skip|named)\()"
)
RESTS: Final = ("error", "finish", "drop")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What becomes of the partial matches that are open where patterns changed.

    Args:
        open: "map", "finish" or "drop", of patterns that changed. A pattern that is gone cannot be mapped.
        rest: with "map", what becomes of those that have no place in the new version: "error", "finish" or "drop".
        stages: old names of stages mapped to new ones.
        patterns: old names of patterns mapped to new ones.
        old: the old patterns, where the snapshot cannot tell them: they call Python functions, or it is too old.

    Raises:
        DefinitionError: a word that is none of these.

    >>> Upgrade("map", rest="drop", stages={"probe": "small"}).rest
    'drop'
    """

    open: str
    rest: str = "error"
    stages: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    old: Patterns | None = None

    def __post_init__(self) -> None:
        for name, given, known in (("open", self.open, MODES), ("rest", self.rest, RESTS)):
            if given not in known:
                raise DefinitionError(f"Upgrade: {name}={given!r}: expected {', '.join(known)}")
        if self.open != "map" and (self.rest != "error" or self.stages):
            raise DefinitionError('Upgrade: rest= and stages= are of open="map"')


@dataclass(frozen=True, slots=True)
class Moved:
    """How many open partial matches, and matches held back, went over: mapped (or as they were), finishing, dropped."""

    mapped: int
    finishing: int
    dropped: int


def patterns_of(snapshot: Snapshot, given: Patterns | None = None) -> tuple[tuple[Pattern, ...], int]:
    """Give the patterns that a snapshot is of, and how many of them, the last, only finish what is open.

    Args:
        snapshot: where they are read from.
        given: instead, where it cannot tell them.

    Raises:
        StateError: it does not tell them, or they call Python functions, which are not imported from a snapshot.
    """
    told = snapshot.meta.get("definition")
    try:
        definition = json.loads(told) if isinstance(told, str) else {}
        n_retired = definition.get("retired", 0)
        if type(n_retired) is not int or n_retired < 0:
            raise StateError(f"snapshot, section meta: definition: retired is {n_retired!r:.80}")
        if given is not None:
            return normalise(given), n_retired
        if not definition:
            raise StateError("the snapshot does not say which patterns it is of: give them as Upgrade(old=...)")
        return tuple(Pattern.from_json(text) for text in definition["patterns"]), n_retired
    except DefinitionError as error:
        raise StateError(f"the old patterns cannot be read from the snapshot: {error}; give Upgrade(old=...)") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateError(f"snapshot, section meta: definition: {error!r:.80}") from None


def plan_of(snapshot: Snapshot, given: Patterns | None = None) -> Plan:
    """Compile the patterns that a snapshot is of, over the types of columns that it tells; see patterns_of.

    Raises:
        StateError: as patterns_of; or the snapshot is of others than those given, or damaged.
    """
    patterns, n_retired = patterns_of(snapshot, given)
    try:
        plan = compile_plan(patterns, snapshot.schema, n_retired=n_retired)
    except (DefinitionError, SchemaError) as error:
        raise StateError(f"snapshot: its patterns and columns do not meet: {error}") from None
    if plan.fingerprint != snapshot.meta["fingerprint"]:
        raise StateError("the snapshot is of other patterns, or of other column types, than the old ones")
    return plan


def tables_of(snapshot: Snapshot, plan: Plan) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Give the records of a snapshot as columns, so far checked that sizes are those of what there is.

    Raises:
        StateError: they do not fit together.
    """
    t = {
        name: {column: batch.column(i).to_numpy() for i, (column, _) in enumerate(TABLES[name])}
        for name, batch in snapshot.tables.items()
        if not any(column.null_count for column in batch.columns)
    }
    n_events = snapshot.meta.get("events")
    if len(t) < len(TABLES) or type(n_events) is not int or n_events != sum(len(g[0]) for g in snapshot.groups):
        raise StateError("snapshot: its records do not fit together")
    nodes, keyed, plans = t["nodes"], t["keyed"], plan.patterns
    n_nodes = len(nodes["parent"])
    sound = (
        bool(((nodes["parent"] >= -1) & (nodes["parent"] < np.arange(n_nodes))).all())
        and all(_lie_in(t[name]["event"], n_events) for name in ("nodes", "waiting", "lags"))
        and all(_lie_in(t[name]["node"], n_nodes) for name in ("runs", "held"))
        and bool((keyed["pattern"] < len(plans)).all())
        and int(keyed["n_runs"].sum()) == len(t["runs"]["node"])
        and int(keyed["n_held"].sum()) == len(t["held"]["node"])
    )
    if sound:
        sizes = np.array([each.n_registers for each in plans], np.int64)
        starts = np.cumsum(sizes[keyed["pattern"]] * keyed["n_runs"])
        sound = (int(starts[-1]) if len(starts) else 0) == len(t["registers"]["value"])
    if not sound:
        raise StateError("snapshot: its records do not fit together")
    return t


def _lie_in(numbers: np.ndarray[Any, Any], n: int) -> bool:
    return bool(((numbers >= 0) & (numbers < n)).all())


def difference(old: Sequence[Pattern], new: Sequence[Pattern]) -> str:
    """Give what changed from some patterns to others, a line a part of a pattern, as a unified diff."""
    before, after = ([line for each in side for line in _lines(each)] for side in (old, new))
    diff = list(difflib.unified_diff(before, after, "old", "new", n=20, lineterm=""))
    return "\n".join(diff[:2] + [line for line in diff[2:] if not line.startswith("@@")])


def _lines(pattern: Pattern) -> list[str]:
    parts = _CALL.split(repr(pattern))
    return [f"pattern {pattern.name or ''}".rstrip(), *(f"  {part}" for part in parts)]


@dataclass(slots=True)
class _Way:
    """Where what is open of an old pattern goes.

    Attributes:
        target: the new pattern's place; None: there is none.
        states, stages: of the old pattern to those of the new one; what is not in them has no place.
        has_held: whether all stages are there, so that complete matches can go over.
        rest: what becomes of what has no place.
        retired: the place of the old pattern itself, where it finishes.
    """

    target: int | None
    states: Mapping[int, int]
    stages: Mapping[int, int]
    has_held: bool
    rest: str
    retired: int | None = None


class Moving:
    """The way of a snapshot into an engine of other patterns.

    Args:
        snapshot: the state.
        patterns: those that go on.
        upgrade: what becomes of what is open.

    Attributes:
        retired: old patterns that finish what is open; to be compiled after the others.
        schema: the types of the columns.

    Raises:
        StateError: what is open has no place, with what changed; or the snapshot does not tell its patterns.
    """

    def __init__(self, snapshot: Snapshot, patterns: Sequence[Pattern], upgrade: Upgrade) -> None:
        self._snapshot = snapshot
        self._upgrade = upgrade
        self._old, n_retired = patterns_of(snapshot, upgrade.old)
        self._old_plan = plan_of(snapshot, upgrade.old)
        self._tables = tables_of(snapshot, self._old_plan)
        self.schema = self._schema(patterns)
        fresh = compile_plan(patterns, self.schema).patterns
        first_retired = len(self._old) - n_retired
        self._ways = [
            self._way(i, patterns, fresh) if i < first_retired else _Way(None, {}, {}, False, "finish")
            for i in range(len(self._old))
        ]
        self._moves = self._decide(patterns)
        unplaced = sorted({i for i, _, is_mapped in self._moves if not is_mapped})
        finishing = [i for i in unplaced if self._ways[i].rest == "finish"]
        for place, i in enumerate(finishing, len(patterns)):
            self._ways[i].retired = place
        self.retired = tuple(self._old[i] for i in finishing)

    def _schema(self, patterns: Sequence[Pattern]) -> Schema:
        """The types as they were; of new columns as the rows that are held have them, or as their use tells."""
        known = {each.name: each for each in self._snapshot.schema}
        for _, kind, payload in self._snapshot.groups:
            if kind == "arrow":
                known = {each.name: each for each in Schema.from_arrow(payload.schema)} | known
        used = {name: Field(name, "any") for name, _ in compile_plan(patterns, None).types}
        return Schema(tuple((used | known).values()))

    # -- which place is whose

    def _way(self, i: int, patterns: Sequence[Pattern], fresh: Sequence[PatternPlan]) -> _Way:
        old, upgrade = self._old[i], self._upgrade
        target = _namesake(i, old, patterns, upgrade.patterns)
        if target is not None and old.named("x").to_dict() == patterns[target].named("x").to_dict():
            n_states, n_stages = len(fresh[target].state_places), len(fresh[target].stages)
            return _Way(target, dict(enumerate(range(n_states))), dict(enumerate(range(n_stages))), True, "error")
        if upgrade.open != "map":
            return _Way(None, {}, {}, False, upgrade.open)
        if target is None or old.key != patterns[target].key:
            return _Way(None, {}, {}, False, upgrade.rest)
        before, after, renamed = self._old_plan.patterns[i], fresh[target], upgrade.stages
        olds, news = [_shape(s, renamed) for s in old.stages], [_shape(s, {}) for s in patterns[target].stages]
        reached: set[str] = set()
        for one, other in zip(olds, news, strict=False):
            if one[0] != other[0]:
                break
            if one == other:
                reached |= set(one[0])
        theirs = {each: state for state, each in enumerate(after.state_places)}
        states: dict[int, int] = {}
        for state, (stage, which, of) in enumerate(before.state_places):
            name = renamed.get(stage or "", stage)
            if name in reached and (name, which, of) in theirs:
                states[state] = theirs[name, which, of]
        places = {stage.name: place for place, stage in enumerate(after.stages)}
        names = [renamed.get(stage.name, stage.name) for stage in before.stages]
        stages = {place: places[name] for place, name in enumerate(names) if name in places}
        return _Way(target, states, stages, [each[0] for each in olds] == [each[0] for each in news], upgrade.rest)

    def _decide(self, patterns: Sequence[Pattern]) -> list[tuple[int, int | None, bool]]:
        """For each run, then each held match, of each keyed state: (its pattern, its state, whether it has a place)."""
        keyed, states = self._tables["keyed"], self._tables["runs"]["state"].tolist()
        of_runs = np.repeat(keyed["pattern"], keyed["n_runs"]).tolist()
        moves: list[tuple[int, int | None, bool]] = [
            (i, state, state in self._ways[i].states) for i, state in zip(of_runs, states, strict=True)
        ]
        of_held = np.repeat(keyed["pattern"], keyed["n_held"]).tolist()
        moves += [(i, None, self._ways[i].has_held) for i in of_held]
        lost = Counter((i, state) for i, state, is_mapped in moves if not is_mapped and self._ways[i].rest == "error")
        if lost:
            told = [
                f"{n:,} of pattern {self._old[i].name or i}, {self._where(i, state)}" for (i, state), n in lost.items()
            ]
            raise StateError(
                f"{sum(lost.values()):,} open partial matches have no place in the new patterns: {'; '.join(told)}; "
                f'say rest="finish" or rest="drop"\n{difference(self._old, patterns)}'
            )
        return moves

    def _where(self, i: int, state: int | None) -> str:
        places = self._old_plan.patterns[i].state_places
        if state is None:
            return "complete and held back"
        return f'waiting for "{places[state][0]}"' if state < len(places) else f"in state {state}"

    # -- into the core

    def fill(self, plan: Plan, encoder: Encoder, core: Any) -> Moved:
        """Put the state into a fresh core, and say how much went where.

        Args:
            plan: of the patterns and those that are retired.

        Raises:
            StateError: the rows that are held lack a column that the new patterns read; or the snapshot is damaged.
        """
        known = {name for name, _ in self._old_plan.types}
        self._require([c.name for c in plan.columns if c.kind == "input" and c.name not in known])
        segments, places = self._segments(encoder)
        filling = _Filling(self, plan, segments, places)
        tables = filling.tables()
        meta = self._snapshot.meta
        core.restore(
            {k: meta[k] for k in ("watermark", "order", "now", "rows_seen", "late_seen", "counters")},
            tables, segments, places,
        )  # fmt: skip
        return filling.moved()

    def _require(self, columns: Sequence[str]) -> None:
        """See to it that the rows that are held have the columns that only the new patterns read.

        Raises:
            StateError: no row has one of them; as null it would be what it never was.
        """
        for _, kind, payload in self._snapshot.groups:
            if kind == "arrow":
                there = set(payload.schema.names)
            else:
                there = {name for text in payload.column(0).to_pylist() for name in load_row(text)}
            for name in columns:
                if len(payload) and name not in there:
                    raise StateError(f"the rows that are held lack the column `{name}`, which the new patterns read")

    def _segments(self, encoder: Encoder) -> tuple[list[Segment], np.ndarray[Any, Any]]:
        """Encode the rows that are held for the new plan; and where each event, by number, lies."""
        segments, numbers = [], [np.empty(0, np.int64)]
        for events, kind, payload in self._snapshot.groups:
            if events.schema.names[:3] != ["number", "time", "position"] or len(payload) != len(events):
                raise StateError("snapshot, section events: columns or rows are missing")
            number, times, positions = (np.ascontiguousarray(events.column(i).to_numpy()) for i in range(3))
            try:
                if kind == "arrow":
                    segments.append(encoder.with_times(payload, times, positions))
                else:
                    rows = [load_row(text) for text in payload.column(0).to_pylist()]
                    segments.append(encoder.from_rows(rows, positions))
            except (DataError, SchemaError) as error:
                raise StateError(f"the rows that are held do not fit the new patterns: {error}") from None
            numbers.append(number)
        order = np.concatenate(numbers)
        if not np.array_equal(np.sort(order), np.arange(len(order))) or len(order) != self._snapshot.meta["events"]:
            raise StateError("snapshot, section events: events are numbered wrong")
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return segments, places


class _Filling:
    """The tables of a snapshot, made anew for another plan."""

    def __init__(self, moving: Moving, plan: Plan, segments: Sequence[Segment], places: np.ndarray[Any, Any]) -> None:
        self._old_plan, self._plan = moving._old_plan, plan
        self._t, self._ways, self._moves = moving._tables, moving._ways, moving._moves
        self._renamed = moving._upgrade.stages
        self._segments, self._places = segments, places
        self._ends = np.cumsum([0, *map(len, segments)])
        self._columns: dict[tuple[int, int], list[Any]] = {}
        self._parents = self._t["nodes"]["parent"].tolist()
        self._numbers: dict[tuple[int, int], int] = {}
        self._rows: dict[str, list[tuple[int, ...]]] = {name: [] for name in ("nodes", "keyed", "runs", "held", "lags")}
        self._registers: list[int] = []
        self._counts: Counter[str] = Counter()

    def moved(self) -> Moved:
        return Moved(self._counts["map"], self._counts["finish"], self._counts["drop"])

    def tables(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Give the tables as the core takes them."""
        self._move_keyed()
        self._move_lags()
        found = {"registers": [(value,) for value in self._registers], "waiting": None} | self._rows
        tables = {}
        for name, columns in TABLES.items():
            rows = found[name]
            if rows is None:
                tables[name] = self._t[name]
                continue
            parts = list(zip(*rows, strict=True)) or [()] * len(columns)
            tables[name] = {
                column: np.array(values, type_.to_pandas_dtype())
                for (column, type_), values in zip(columns, parts, strict=True)
            }
        return tables

    def _move_keyed(self) -> None:
        keyed = [self._t["keyed"][column].tolist() for column, _ in TABLES["keyed"]]
        runs = list(zip(*(self._t["runs"][column].tolist() for column, _ in TABLES["runs"]), strict=True))
        held = list(zip(*(self._t["held"][column].tolist() for column, _ in TABLES["held"]), strict=True))
        registers = self._t["registers"]["value"].tolist()
        next_run = next_held = next_register = 0
        for i, n_runs, n_held, last_time, overdue_after in zip(*keyed, strict=True):
            way, size = self._ways[i], self._old_plan.patterns[i].n_registers
            kept: dict[int, tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = {}
            for _ in range(n_runs):
                *times, node, state = runs[next_run]
                place = self._place(way, self._moves[next_run][2])
                if place is not None:
                    values = registers[next_register : next_register + size]
                    new = state if place == way.retired else way.states[state]
                    row = (*times, self._node(i, place, node), new)
                    kept.setdefault(place, ([], []))[0].append(row)
                    kept[place][0][-1] = (*row, *self._run_registers(i, place, node, values))
                next_run += 1
                next_register += size
            for _ in range(n_held):
                *times, node = held[next_held]
                place = self._place(way, self._moves[len(runs) + next_held][2])
                if place is not None:
                    kept.setdefault(place, ([], []))[1].append((*times, self._node(i, place, node)))
                next_held += 1
            for place, (its_runs, its_held) in kept.items():
                self._rows["keyed"].append((place, len(its_runs), len(its_held), last_time, overdue_after))
                self._rows["runs"] += [row[:5] for row in its_runs]
                self._registers += [value for row in its_runs for value in row[5:]]
                self._rows["held"] += its_held

    def _place(self, way: _Way, is_mapped: bool) -> int | None:
        """Where a run or held match goes, counted; None: nowhere."""
        if is_mapped:
            self._counts["map"] += 1
            return way.target
        self._counts[way.rest] += 1
        return way.retired

    def _node(self, i: int, place: int, node: int) -> int:
        """The number of a node in the new table; it and those before it are written there when first asked for."""
        chain = []
        while node >= 0 and (place, node) not in self._numbers:
            chain.append(node)
            node = self._parents[node]
        number = -1 if node < 0 else self._numbers[place, node]
        way, nodes = self._ways[i], self._t["nodes"]
        for each in reversed(chain):
            stage = int(nodes["stage"][each])
            new = stage if place == way.retired else way.stages.get(stage)
            if new is None:
                raise StateError("snapshot: a partial match holds an event of a stage that is not before its state")
            self._rows["nodes"].append((int(nodes["event"][each]), number, new, int(nodes["order"][each])))
            number = self._numbers[place, each] = len(self._rows["nodes"]) - 1
        return number if chain else self._numbers[place, node]

    # -- registers

    def _run_registers(self, i: int, place: int, node: int, values: list[int]) -> list[int]:
        before, after = self._old_plan.patterns[i], self._plan.patterns[place]
        renamed = {} if place == self._ways[i].retired else self._renamed
        known = {(kind, renamed.get(s, s), column): slot for slot, (kind, s, column) in enumerate(before.registers)}
        types = {c.name: c.type for c in self._old_plan.columns}
        found = []
        for slot, (kind, stage, column) in enumerate(after.registers):
            old = known.get((kind, stage, column))
            if old is not None and (not column or types.get(column) == self._type(column)):
                value = values[old]
                found.append(self._node(i, place, value - 1) + 1 if value and slot in after.node_registers else value)
            else:
                found.append(self._made(i, place, node, kind, stage, column))
        return found

    def _type(self, column: str) -> str:
        return next(c.type for c in self._plan.columns if c.name == column)

    def _made(self, i: int, place: int, node: int, kind: str, stage: str, column: str) -> int:
        """What a register would hold, from the events of a partial match."""
        names = [each.name for each in self._old_plan.patterns[i].stages]
        nodes, chain = self._t["nodes"], []
        while node >= 0:
            own = names[int(nodes["stage"][node])]
            if self._renamed.get(own, own) == stage:
                chain.append(node)
            node = self._parents[node]
        chain.reverse()
        if kind == "events":
            return len(chain)
        if kind in ("first", "last"):
            return self._node(i, place, chain[0 if kind == "first" else -1]) + 1 if chain else 0
        values = [v for each in chain if (v := self._value(int(nodes["event"][each]), column)) is not None]
        if kind in ("values", "sum_values"):
            is_over = kind == "sum_values" and self._type(column) == "int64" and not -(2**63) <= sum(values) < 2**63
            return 2**64 - 1 if is_over else len(values)
        whole = (sum(values) if kind == "sum" else min(values) if kind == "min" else max(values)) if values else 0
        if self._type(column) == "float64":
            return int(struct.unpack("<Q", struct.pack("<d", whole))[0])
        return int(whole) % 2**64

    def _value(self, event: int, column: str) -> Any:
        """The number that an event has in a column, None if it has none."""
        place = int(self._places[event])
        of = int(np.searchsorted(self._ends, place, "right")) - 1
        number = next(n for n, c in enumerate(self._plan.columns) if c.name == column)
        if (of, number) not in self._columns:
            segment = self._segments[of]
            self._columns[of, number] = as_arrow(segment.columns[number], len(segment)).to_pylist()
        return self._columns[of, number][place - int(self._ends[of])]

    # -- the latest events of keys

    def _move_lags(self) -> None:
        old = {each.keyspace: each.key for each in self._old_plan.patterns}
        new = {each.key: each.keyspace for each in self._plan.patterns if each.has_lag}
        lags = [self._t["lags"][column].tolist() for column, _ in TABLES["lags"]]
        for keyspace, event, time in zip(*lags, strict=True):
            place = new.get(old.get(keyspace, ()))
            if place is not None:
                self._rows["lags"].append((place, event, time))


def _namesake(i: int, old: Pattern, patterns: Sequence[Pattern], renamed: Mapping[str, str]) -> int | None:
    """The place of the pattern with the name that an old one has or got; without a name, that of the same place."""
    if old.name is None:
        return i if i < len(patterns) and (patterns[i].name is None or len(patterns) == 1) else None
    name = renamed.get(old.name, old.name)
    return next((place for place, each in enumerate(patterns) if each.name == name), None)


def _shape(stage: Stage, renamed: Mapping[str, str]) -> tuple[tuple[str, ...], Any]:
    """The names in a stage or group, and all of it but conditions and windows."""
    inner = [_shape(each, renamed) for each in stage.group or ()]
    name = None if stage.name is None else renamed.get(stage.name, stage.name)
    names = tuple(each for part, _ in inner for each in part) if name is None else (name,)
    q = stage.quantifier
    how = (q.kind, q.min, q.max, q.optional, q.greedy, q.inner, stage.until is None)
    return names, (name, stage.contiguity, how, [each for _, each in inner])
