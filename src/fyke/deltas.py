"""Deltas: what has changed since the checkpoint before, as a snapshot of the keys that did (docs/formats.md).

    base   a snapshot that says which keyed state is which: section `births`
    delta  the same sections, of keyed states and latest events that changed; `gone` and `gone_lags`: what is no longer
           there; and what it follows on, by the digest of its bytes

    base | delta 1 | delta 2  --merged-->  the snapshot that the engine would have given at delta 2, the same bytes

A keyed state is known by its birth, which no other has; the latest event of a key by its position. What waits in the
reorder buffer is in every delta as a whole: little of it stays from one checkpoint to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from fyke.errors import StateError
from fyke.operator import State
from fyke.snapshot import TABLES, Snapshot, read_container, read_core, write_container

__all__ = ["delta_sections", "digest_of", "merged"]

_EXTRA: Final = {
    "births": [("birth", pa.uint64()), ("n_nodes", pa.uint32())],
    "gone": [("birth", pa.uint64())],
    "gone_lags": [("keyspace", pa.uint32()), ("position", pa.uint64())],
}
Numbers = npt.NDArray[Any]
Columns = dict[str, Numbers]


def digest_of(state: bytes) -> str:
    """Name the bytes of a checkpoint, for the delta that follows on it."""
    return xxhash.xxh3_128_hexdigest(state)


def delta_sections(
    sections: State, follows: str, kinds: list[list[bool]], gone: Numbers, gone_lags: tuple[Numbers, Numbers]
) -> State:
    """Make sections of changed records those of a delta."""
    meta = sections["meta"]
    assert isinstance(meta, dict)
    meta["delta"] = {"follows": follows, "registers": kinds}
    sections["gone"] = pa.RecordBatch.from_arrays([pa.array(gone, pa.uint64())], ["birth"])
    sections["gone_lags"] = pa.RecordBatch.from_arrays(
        [pa.array(gone_lags[0], pa.uint32()), pa.array(gone_lags[1], pa.uint64())], ["keyspace", "position"]
    )
    return sections


def merged(base: bytes, deltas: Sequence[bytes]) -> bytes:
    """Give the snapshot at the last delta.

    Args:
        base: what Engine.snapshot(base=True) gave.
        deltas: what Engine.delta gave since, all of them, in order. None: the base as a plain snapshot.

    Raises:
        StateError: one of them is damaged, of something else, or does not follow on the one before.

    O(n log n) for n records in all of them.
    """
    layers = [_Layer.read(base)]
    before = digest_of(base)
    for number, delta in enumerate(deltas, 1):
        layer = _Layer.read(delta)
        if layer.follows != before:
            raise StateError(f"delta {number} does not follow on the checkpoint before it")
        if layer.snapshot.meta["fingerprint"] != layers[0].snapshot.meta["fingerprint"]:
            raise StateError(f"delta {number} is of other patterns than the base")
        before = digest_of(delta)
        layers.append(layer)
    if layers[0].follows is not None:
        raise StateError("the base is a delta: give the snapshot that was taken with base=True, and all deltas since")
    return write_container(_Merge(layers).sections())


# ------------------------------------------------------------------------------------------------ one checkpoint


def _columns(batch: pa.RecordBatch) -> Columns:
    return {name: batch.column(name).to_numpy() for name in batch.schema.names}


def _checked(values: Numbers, low: int, high: int, what: str) -> Numbers:
    if len(values) and (values.min() < low or values.max() >= high):
        raise StateError(f"snapshot: {what} that is not there")
    return values.astype(np.int64)


@dataclass(slots=True)
class _Layer:
    """A base or a delta, read and checked so far that every number in it can be used as an index."""

    snapshot: Snapshot
    tables: dict[str, Columns]
    extra: dict[str, Columns]
    follows: str | None
    kinds: list[list[bool]]

    @classmethod
    def read(cls, state: bytes) -> _Layer:
        sections = read_container(state)
        snapshot = read_core(sections)
        said = snapshot.meta.get("delta")
        extra: dict[str, Columns] = {}
        for name, columns in _EXTRA.items():
            batch = sections.get(name)
            if batch is None and (said is None and name != "births"):
                extra[name] = {column: np.empty(0, type_.to_pandas_dtype()) for column, type_ in columns}
                continue
            if not isinstance(batch, pa.RecordBatch) or batch.schema != pa.schema(columns):
                raise StateError(f"snapshot, section {name}: missing: was it taken with base=True?")
            extra[name] = _plain(batch, name)
        tables = {name: _plain(batch, name) for name, batch in snapshot.tables.items()}
        follows, kinds = None, []
        if said is not None:
            try:
                follows, kinds = str(said["follows"]), [[bool(kind) for kind in own] for own in said["registers"]]
            except (TypeError, KeyError):
                raise StateError(f"snapshot, section meta: delta is {said!r:.60}") from None
        layer = cls(snapshot, tables, extra, follows, kinds)
        layer._check()
        return layer

    def _check(self) -> None:
        births = self.extra["births"]
        keyed, n_events = self.tables["keyed"], sum(len(events) for events, _, _ in self.snapshot.groups)
        n_nodes = len(self.tables["nodes"]["event"])
        if len(births["birth"]) != len(keyed["pattern"]) or (births["birth"][1:] <= births["birth"][:-1]).any():
            raise StateError("snapshot, section births: not one for each keyed state, ascending")
        sums = [
            (births["n_nodes"], n_nodes),
            (keyed["n_runs"], len(self.tables["runs"]["node"])),
            (keyed["n_held"], len(self.tables["held"]["node"])),
        ]
        if any(int(counts.sum(dtype=np.uint64)) != length for counts, length in sums):
            raise StateError("snapshot: a keyed state lacks records, or records belong to no key")
        for table in ("nodes", "lags", "waiting"):
            self.tables[table]["event"] = _checked(self.tables[table]["event"], 0, n_events, "an event")
        for table in ("runs", "held"):
            self.tables[table]["node"] = _checked(self.tables[table]["node"], 0, n_nodes, "a node")
        parents = self.tables["nodes"]["parent"] = _checked(self.tables["nodes"]["parent"], -1, n_nodes, "a node")
        if (parents >= np.arange(n_nodes)).any():
            raise StateError("snapshot: a node stands before the one that it follows")
        numbers = np.concatenate([np.empty(0, np.int64), *(_number(e) for e, _, _ in self.snapshot.groups)])
        if (np.sort(numbers) != np.arange(n_events)).any():
            raise StateError("snapshot, section events: events are numbered wrong")


def _plain(batch: pa.RecordBatch, name: str) -> Columns:
    if any(column.null_count for column in batch.columns):
        raise StateError(f"snapshot, section {name}: a null")
    return _columns(batch)


def _number(events: pa.RecordBatch) -> Numbers:
    """The numbers of events; that a position stands beside each is checked too."""
    if events.schema.names[:3] != ["number", "time", "position"] or any(c.null_count for c in events.columns[:3]):
        raise StateError("snapshot, section events: columns are missing, or null")
    if [f.type for f in events.schema][:3] != [pa.int64(), pa.int64(), pa.uint64()]:
        raise StateError("snapshot, section events: a column has another type")
    return events.column(0).to_numpy()  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ all together


def _ranges(starts: Numbers, counts: Numbers) -> Numbers:
    """start, start + 1, ... count numbers, for each."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)  # type: ignore[no-any-return]


def _before(counts: Numbers) -> Numbers:
    """How many there are before each."""
    return np.cumsum(counts) - counts


class _Merge:
    """Records of all layers one after the other; of each keyed state the last ones, numbered anew."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self.layers = layers
        n_events = [sum(len(events) for events, _, _ in each.snapshot.groups) for each in layers]
        n_nodes = [len(each.tables["nodes"]["event"]) for each in layers]
        self._first_event, self._first_node = _before(np.array(n_events)), _before(np.array(n_nodes))
        self._position = np.empty(sum(n_events), np.uint64)
        self._payload = np.empty((sum(n_events), 2), np.int64)  # which batch of payload, which row of it
        self._batches: list[tuple[pa.RecordBatch, str, pa.RecordBatch]] = []
        for first, layer in zip(self._first_event.tolist(), layers, strict=True):
            for events, kind, payload in layer.snapshot.groups:
                if len(payload) != len(events):
                    raise StateError("snapshot, section payload: not a row for each event")
                at = first + _number(events)
                self._position[at] = events.column(2).to_numpy()
                self._payload[at, 0] = len(self._batches)
                self._payload[at, 1] = np.arange(len(events))
                self._batches.append((events, kind, payload))

    def _all(self, table: str, column: str) -> Numbers:
        return np.concatenate([each.tables[table][column] for each in self.layers])

    def _shifted(self, table: str, column: str, first: Numbers) -> Numbers:
        """Numbers of nodes or events as they count over all layers; -1 stays."""
        parts = [each.tables[table][column] for each in self.layers]
        return np.concatenate([np.where(part < 0, -1, part + by) for part, by in zip(parts, first, strict=True)])

    def sections(self) -> State:
        births = np.concatenate([each.extra["births"]["birth"] for each in self.layers])
        gone = np.concatenate([each.extra["gone"]["birth"] for each in self.layers])
        order = np.argsort(births, kind="stable")  # of equal births the last layer's comes last
        last = np.append(births[order][1:] != births[order][:-1], True)[: len(order)]
        chosen = order[last]
        chosen = chosen[~np.isin(births[chosen], gone)]
        tables, events = self._tables(chosen)
        for name, values in (("lags", self._lags()), ("waiting", self._waiting())):
            tables[name] = {**values}
            events.append(values["event"])
        numbers, representatives = self._numbered(np.concatenate(events))
        for name, part in zip(
            ("nodes", "lags", "waiting"), np.split(numbers, np.cumsum([len(e) for e in events])[:-1]), strict=True
        ):
            tables[name]["event"] = part
        groups = self._groups(representatives)
        meta = dict(self.layers[-1].snapshot.meta)
        meta.pop("delta", None)
        meta |= {"groups": len(groups), "events": len(representatives)}
        sections: State = {"meta": meta}
        for name, columns in TABLES.items():
            arrays = [pa.array(tables[name][column], type_) for column, type_ in columns]
            sections[name] = pa.RecordBatch.from_arrays(arrays, [column for column, _ in columns])
        for i, (records, kind, payload) in enumerate(groups):
            sections |= {f"events/{i}": records, f"payload/{i}/{kind}": payload}
        return sections

    def _tables(self, chosen: Numbers) -> tuple[dict[str, Columns], list[Numbers]]:
        """The tables of the chosen keyed states, and the events of their nodes."""
        keyed = {column: self._all("keyed", column) for column, _ in TABLES["keyed"]}
        n_nodes = np.concatenate([each.extra["births"]["n_nodes"] for each in self.layers]).astype(np.int64)
        n_runs, n_held = keyed["n_runs"].astype(np.int64), keyed["n_held"].astype(np.int64)
        kinds = self.layers[-1].kinds
        per_run = np.array([len(own) for own in kinds] or [0], np.int64)
        if kinds and len(keyed["pattern"]) and keyed["pattern"].max() >= len(kinds):
            raise StateError("snapshot: a keyed state belongs to no pattern")
        n_registers = n_runs * per_run[keyed["pattern"]] if kinds else np.zeros(len(n_runs), np.int64)
        registers = self._registers(keyed["pattern"], n_registers) if kinds else self._all("registers", "value")
        nodes = _ranges(_before(n_nodes)[chosen], n_nodes[chosen])
        runs = _ranges(_before(n_runs)[chosen], n_runs[chosen])
        held = _ranges(_before(n_held)[chosen], n_held[chosen])
        own = _ranges(_before(n_registers)[chosen], n_registers[chosen]) if kinds else np.arange(len(registers))
        new = np.full(len(self._all("nodes", "stage")) + 1, -1, np.int64)  # the last one: that of no node
        new[nodes] = np.arange(len(nodes))
        tables: dict[str, Columns] = {name: {} for name in TABLES}
        for name, index in (("nodes", nodes), ("runs", runs), ("held", held), ("keyed", chosen)):
            for column, _ in TABLES[name]:
                if column in ("parent", "node"):
                    tables[name][column] = new[self._shifted(name, column, self._first_node)[index]]
                else:
                    tables[name][column] = self._all(name, column)[index]
        values = registers[own]
        if kinds:
            is_node = self._node_registers(keyed["pattern"], n_registers)[own] & (values != 0)
            values[is_node] = (new[values[is_node].astype(np.int64) - 1] + 1).astype(np.uint64)
        tables["registers"] = {"value": values}
        return tables, [self._shifted("nodes", "event", self._first_event)[nodes]]

    def _node_registers(self, patterns: Numbers, n_registers: Numbers) -> Numbers:
        """Whether each register holds a node."""
        found = np.zeros(int(n_registers.sum()), bool)
        first = _before(n_registers)
        for pattern, kinds in enumerate(self.layers[-1].kinds):
            own = _ranges(first[patterns == pattern], n_registers[patterns == pattern])
            found[own] = np.resize(np.array(kinds, bool), len(own))
        return found

    def _registers(self, patterns: Numbers, n_registers: Numbers) -> Numbers:
        """All registers, those of nodes as they count over all layers (+ 1; 0: none)."""
        values = self._all("registers", "value").copy()
        if len(values) != int(n_registers.sum()):
            raise StateError("snapshot: a run has no registers, or registers belong to no run")
        counts = [len(each.tables["registers"]["value"]) for each in self.layers]
        first = np.repeat(self._first_node, counts).astype(np.uint64)
        most = np.repeat([len(each.tables["nodes"]["event"]) for each in self.layers], counts).astype(np.uint64)
        is_node = self._node_registers(patterns, n_registers) & (values != 0)
        if (values[is_node] > most[is_node]).any():
            raise StateError("snapshot: a register refers to a node that is not there")
        values[is_node] += first[is_node]
        return values

    def _lags(self) -> Columns:
        """The latest events of keys: those of a layer that no later one says are gone; by keyspace, then position."""
        event = self._shifted("lags", "event", self._first_event)
        keyspace = self._all("lags", "keyspace")
        ends = np.cumsum([len(each.tables["lags"]["event"]) for each in self.layers])
        there = np.zeros(len(event), bool)
        for layer, end in zip(self.layers, ends.tolist(), strict=True):
            gone = layer.extra["gone_lags"]
            for space in np.unique(gone["keyspace"]).tolist():
                own = np.flatnonzero(there & (keyspace == space))
                positions = gone["position"][gone["keyspace"] == space]
                there[own[np.isin(self._position[event[own]], positions)]] = False
            there[end - len(layer.tables["lags"]["event"]) : end] = True
        kept = np.flatnonzero(there)
        kept = kept[np.lexsort((self._position[event[kept]], keyspace[kept]))]
        return {"keyspace": keyspace[kept], "event": event[kept], "time": self._all("lags", "time")[kept]}

    def _waiting(self) -> Columns:
        return {"event": self.layers[-1].tables["waiting"]["event"] + self._first_event[-1]}

    def _numbered(self, events: Numbers) -> tuple[Numbers, Numbers]:
        """Numbers in the order in which events are met, and an event for each number: equal positions are one event."""
        _, first, which = np.unique(self._position[events], return_index=True, return_inverse=True)
        met = np.argsort(first)
        number = np.empty(len(met), np.int64)
        number[met] = np.arange(len(met))
        return number[which.reshape(-1)], events[first[met]]

    def _groups(self, events: Numbers) -> list[tuple[pa.RecordBatch, str, pa.RecordBatch]]:
        """Events and their payload, by kind of payload in the order in which kinds are met."""
        batch = self._payload[events, 0]
        used, first = np.unique(batch, return_index=True)
        of_kind: dict[Any, list[int]] = {}
        for number in used[np.argsort(first)].tolist():
            _, kind, payload = self._batches[number]
            of_kind.setdefault((kind, payload.schema), []).append(number)
        groups = []
        for (kind, _), own in of_kind.items():
            places = np.flatnonzero(np.isin(batch, own))
            rank = np.empty(len(self._batches), np.int64)
            rank[own] = np.arange(len(own))
            sizes = np.array([len(self._batches[number][0]) for number in own])
            index = pa.array(_before(sizes)[rank[batch[places]]] + self._payload[events[places], 1])
            records = _taken([self._batches[number][0] for number in own], index)
            payload = _taken([self._batches[number][2] for number in own], index)
            columns = [pa.array(places), *records.columns[1:]]
            groups.append((pa.RecordBatch.from_arrays(columns, records.schema.names), kind, payload))
        return groups


def _taken(batches: Sequence[pa.RecordBatch], index: pa.Array) -> pa.RecordBatch:
    try:
        whole = pa.Table.from_batches(batches).combine_chunks().to_batches()
    except pa.ArrowInvalid as error:
        raise StateError(f"snapshot: the checkpoints do not go together: {error}") from None
    return whole[0].take(index) if whole else batches[0].take(index)
