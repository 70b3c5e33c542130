"""States split by key for several engines, and put together again: for more, or fewer, that share the keys.

The parts of a state are snapshots like any other. They have its watermark; what it counted is in the first. From then
on rows go to the engine of their key: `part_of` says which. States are put together where they have the same watermark:
advance the engines to the same one before, for what is late depends on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from fyke.errors import StateError
from fyke.operator import State
from fyke.plan import Plan
from fyke.snapshot import TABLES, Snapshot, read_snapshot, write_container
from fyke.stateview import Events, to_json
from fyke.upgrade import plan_of, tables_of

__all__ = ["merge", "part_of", "split"]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
Tables = dict[str, dict[str, Numbers]]
Renumber = Callable[[Numbers], Numbers]


@contextlib.contextmanager
def _as_state_errors() -> Iterator[None]:
    """What damaged records lead to is an error of the state."""
    try:
        yield
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise StateError(f"snapshot: its records do not fit together: {error!r:.100}") from None


def part_of(key: Any, n: int) -> int:
    """Say which of `n` parts a key belongs to; the same on every machine.

    >>> [part_of(key, 3) for key in ("a", "b", ("a", 1))]
    [2, 1, 0]
    """
    return xxhash.xxh3_64_intdigest(to_json(key).encode()) % n


@_as_state_errors()
def split(state: bytes, n: int, part: Callable[[Any], int] | None = None) -> list[bytes]:
    """Split the state of patterns by key.

    Args:
        state: what Engine.snapshot gave.
        n: how many parts.
        part: the part, from 0 on, of a key: a value, or a tuple of several. Default: `part_of(key, n)`.

    Raises:
        StateError: the patterns have no key, or not all the same; or the state is damaged, or is one of streams.
    """
    if n < 1:
        raise StateError(f"split: n={n}: expected at least one part")
    snapshot = read_snapshot(state)
    plan = plan_of(snapshot)
    keys = {each.key for each in plan.patterns}
    if len(keys) > 1 or not all(keys):
        raise StateError("split: rows are split by one key, and so all patterns must have the same")
    columns = plan.patterns[0].key_columns
    events = Events(snapshot, plan)
    known: dict[int, int] = {}

    def of(event: int) -> int:
        if event not in known:
            key = events.key(columns, event)
            try:
                found = 0 if key is None else part_of(key, n) if part is None else part(key)
            except Exception as error:
                raise StateError(f"split: part({key!r}) failed: {error!r}") from error
            if not 0 <= found < n:
                raise StateError(f"split: part({key!r}) gave {found}: expected 0 to {n - 1}")
            known[event] = found
        return known[event]

    t = tables_of(snapshot, plan)
    first_runs, first_held = (_firsts(t["keyed"][name]) for name in ("n_runs", "n_held"))
    keyed = [
        of(int(t["nodes"]["event"][t["runs" if n_runs else "held"]["node"][run if n_runs else held]]))
        for n_runs, run, held in zip(t["keyed"]["n_runs"], first_runs, first_held, strict=True)
    ]
    waiting = [of(int(event)) for event in t["waiting"]["event"]]
    lags = [of(int(event)) for event in t["lags"]["event"]]
    return [
        write_container(
            _selected(snapshot, plan, np.array(keyed) == i, np.array(waiting) == i, np.array(lags) == i, counts=i == 0)
        )
        for i in range(n)
    ]


@_as_state_errors()
def merge(states: Sequence[bytes]) -> bytes:
    """Put states of the same patterns together, whose keys are not the same.

    Args:
        states: what Engine.snapshot of each engine gave.

    Raises:
        StateError: they are of other patterns or column types, or of other watermarks; or damaged. Where a key is in
            two of them, restoring what comes out raises it.
    """
    snapshots = [read_snapshot(state) for state in states]
    if not snapshots:
        raise StateError("merge: no states given")
    settled = [each for each in snapshots if each.settled] or snapshots[:1]
    for name, told in (("patterns or column types", "fingerprint"), ("retired patterns", "definition")):
        if len({each.meta.get(told) for each in settled}) > 1:
            raise StateError(f"merge: the states are of other {name}")
    marks = {(each.out_of_order, each.meta["watermark"][2]) for each in snapshots}
    if len(marks) > 1:
        raise StateError("merge: the states have other watermarks: advance their engines to the same one before")
    plan = plan_of(settled[0])
    tables = [tables_of(each, plan) for each in settled]
    n_nodes = _firsts([len(t["nodes"]["event"]) for t in tables]).tolist()
    n_events = _firsts([each.meta["events"] for each in settled]).tolist()
    merged: dict[str, dict[str, list[Numbers]]] = {
        name: {column: [] for column, _ in columns} for name, columns in TABLES.items()
    }
    for t, nodes, events in zip(tables, n_nodes, n_events, strict=True):
        moved = _renumbered(t, plan, _shift(nodes), _shift(events))
        for name, columns in moved.items():
            for column, values in columns.items():
                merged[name][column].append(values)
    whole = {name: {c: np.concatenate(parts) for c, parts in columns.items()} for name, columns in merged.items()}
    sections = _sections(settled[0], whole)
    n_groups = 0
    times: list[int] = []
    positions: list[int] = []
    for snapshot, by in zip(settled, n_events, strict=True):
        stored = [zip(*(g[0].column(i).to_pylist() for i in range(3)), strict=True) for g in snapshot.groups]
        own = sorted(each for group in stored for each in group)
        times += [time for _, time, _ in own]
        positions += [position for _, _, position in own]
        for group, kind, payload in snapshot.groups:
            numbers = pa.array(group.column(0).to_numpy() + by)
            sections[f"events/{n_groups}"] = group.set_column(0, "number", numbers)
            sections[f"payload/{n_groups}/{kind}"] = payload
            n_groups += 1
    waits = whole["waiting"]["event"]
    order = np.lexsort((np.array(positions, np.uint64)[waits], np.array(times, np.int64)[waits]))
    sections["waiting"] = pa.record_batch([pa.array(waits[order], pa.int64())], ["event"])
    metas = [each.meta for each in snapshots]
    meta = dict(settled[0].meta) | {"groups": n_groups, "events": sum(each.meta["events"] for each in settled)}
    meta |= {name: max(each[name] for each in metas) for name in ("next_position", "order", "now")}
    meta |= {name: sum(each[name] for each in metas) for name in ("rows_seen", "late_seen")}
    meta["watermark"] = [meta["watermark"][0], max(each["watermark"][1] for each in metas), meta["watermark"][2]]
    meta["counters"] = {
        name: sum(int(each["counters"].get(name, 0)) for each in metas) for name in settled[0].meta["counters"]
    }
    sections["meta"] = meta
    return write_container(sections)


def _firsts(sizes: Any) -> Numbers:
    """Where each of several stretches begins."""
    return np.cumsum([0, *sizes], dtype=np.int64)[:-1]


def _sections(snapshot: Snapshot, tables: Tables) -> State:
    sections: State = {"meta": dict(snapshot.meta)}
    for name, columns in TABLES.items():
        arrays = [pa.array(tables[name][column], type_) for column, type_ in columns]
        sections[name] = pa.RecordBatch.from_arrays(arrays, [column for column, _ in columns])
    return sections


def _selected(snapshot: Snapshot, plan: Plan, keyed: Mask, waiting: Mask, lags: Mask, *, counts: bool) -> State:
    """The sections of a part: what is of some keys, and the nodes and events that it needs, numbered anew."""
    t = tables_of(snapshot, plan)
    sizes = np.array([each.n_registers for each in plan.patterns], np.int64)
    n_runs, n_held = t["keyed"]["n_runs"], t["keyed"]["n_held"]
    masks = {
        "keyed": keyed,
        "runs": np.repeat(keyed, n_runs),
        "held": np.repeat(keyed, n_held),
        "registers": np.repeat(keyed, n_runs * sizes[t["keyed"]["pattern"]]),
        "waiting": waiting,
        "lags": lags,
    }
    own = {
        name: {column: values[masks[name].astype(bool)] for column, values in columns.items()}
        for name, columns in t.items()
        if name in masks
    }
    needed = np.zeros(len(t["nodes"]["event"]), bool)
    needed[own["runs"]["node"]] = needed[own["held"]["node"]] = True
    held = own["registers"]["value"][_holds_node(own["keyed"], plan)]
    needed[held[held > 0].astype(np.int64) - 1] = True
    parents = t["nodes"]["parent"]
    for node in range(len(needed) - 1, -1, -1):  # a parent stands before its children
        if needed[node] and parents[node] >= 0:
            needed[parents[node]] = True
    own["nodes"] = {column: values[needed] for column, values in t["nodes"].items()}
    is_used = np.zeros(snapshot.meta["events"], bool)
    for name in ("nodes", "waiting", "lags"):
        is_used[own[name]["event"]] = True
    new_node, new_event = np.cumsum(needed) - 1, np.cumsum(is_used) - 1
    sections = _sections(snapshot, _renumbered(own, plan, lambda x: new_node[x], lambda x: new_event[x]))
    n_groups = 0
    for events, kind, payload in snapshot.groups:
        numbers = events.column(0).to_numpy()
        mine = is_used[numbers]
        if mine.any():
            rows = pa.array(np.flatnonzero(mine))
            taken = events.take(rows).set_column(0, "number", pa.array(new_event[numbers[mine]]))
            sections[f"events/{n_groups}"] = taken
            sections[f"payload/{n_groups}/{kind}"] = payload.take(rows)
            n_groups += 1
    meta = dict(snapshot.meta) | {"groups": n_groups, "events": int(is_used.sum())}
    if not counts:
        meta |= {"rows_seen": 0, "late_seen": 0, "counters": dict.fromkeys(meta["counters"], 0)}
    sections["meta"] = meta
    return sections


def _holds_node(keyed: dict[str, Numbers], plan: Plan) -> Mask:
    """Which of the registers hold a node, as its number + 1."""
    of_run = [np.isin(np.arange(its.n_registers), its.node_registers) for its in plan.patterns]
    sizes = zip(keyed["pattern"].tolist(), keyed["n_runs"].tolist(), strict=True)
    parts = [np.tile(of_run[pattern], n_runs) for pattern, n_runs in sizes]
    return np.concatenate(parts).astype(bool) if parts else np.zeros(0, bool)


def _shift(by: int) -> Renumber:
    return lambda numbers: numbers + by


def _renumbered(t: Tables, plan: Plan, node: Renumber, event: Renumber) -> Tables:
    """The tables with other numbers of nodes and events."""
    found = {name: dict(columns) for name, columns in t.items()}
    for name, columns in found.items():
        if "event" in columns:
            columns["event"] = event(columns["event"].astype(np.int64))
        if name in ("runs", "held"):
            columns["node"] = node(columns["node"].astype(np.int64))
    parents = found["nodes"]["parent"].astype(np.int64)
    found["nodes"]["parent"] = np.where(parents < 0, -1, node(np.maximum(parents, 0)) if len(parents) else parents)
    values = found["registers"]["value"].copy()
    mine = np.flatnonzero(_holds_node(found["keyed"], plan) & (values > 0))
    if len(mine):
        values[mine] = (node(values[mine].astype(np.int64) - 1) + 1).astype(np.uint64)
    found["registers"]["value"] = values
    return found
