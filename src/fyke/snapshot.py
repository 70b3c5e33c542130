"""Snapshots: the state as logical records in Arrow tables, in a small checksummed container (docs/formats.md).

    magic "FYKESNAP", version u32, number of sections u32
    per section: name length u32, name, size u64, XXH3-64 u64, zeros up to a multiple of 64 bytes, bytes
    sections: meta (JSON); nodes, runs, held, keyed, lags, waiting, registers (Arrow IPC);
              events/N and payload/N/kind (Arrow IPC), one pair per kind of payload

Records are numbered within the snapshot; nothing in it is an address or a pickled object, and everything is checked
when it is read.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from fyke._core import Records, Segment
from fyke.batches import ARROW_TYPES, Payloads, RowView, _core_column, as_arrow
from fyke.errors import StateError
from fyke.operator import State
from fyke.plan import Plan
from fyke.rowjson import dump_row, load_row
from fyke.schema import Field, Schema

Events: TypeAlias = npt.NDArray[Any]
"""Events by number: segment and row."""

MAGIC: Final = b"FYKESNAP"
VERSION: Final = 2
ALIGNMENT: Final = 64

_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"

TABLES: Final = {
    "nodes": [("event", pa.int64()), ("parent", pa.int64()), ("stage", pa.uint32()), ("order", pa.uint64())],
    "runs": [("start_time", pa.int64()), ("start_order", pa.uint64()), ("previous_time", pa.int64()),
             ("node", pa.int64()), ("state", pa.uint32())],
    "held": [("start_time", pa.int64()), ("start_order", pa.uint64()), ("node", pa.int64())],
    "keyed": [("pattern", pa.uint32()), ("n_runs", pa.uint32()), ("n_held", pa.uint32()), ("last_time", pa.int64()),
              ("overdue_after", pa.uint64())],
    "lags": [("keyspace", pa.uint32()), ("event", pa.int64()), ("time", pa.int64())],
    "waiting": [("event", pa.int64())],
    "registers": [("value", pa.uint64())],
}  # fmt: skip


def _ipc(batch: pa.RecordBatch) -> list[Any]:
    """An Arrow IPC stream of one batch, in parts."""
    if any(map(_has_dictionary, batch.schema.types)):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return [sink.getvalue()]
    return [batch.schema.serialize(), batch.serialize(), _END_OF_STREAM]


def _has_dictionary(type_: pa.DataType) -> bool:
    return pa.types.is_dictionary(type_) or any(_has_dictionary(type_.field(i).type) for i in range(type_.num_fields))


def _from_ipc(data: memoryview, name: str) -> pa.RecordBatch:
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StateError(f"snapshot, section {name}: {error}") from None


def write_container(sections: State) -> bytes:
    """Write sections as bytes, with their checksums."""
    return b"".join(container_parts(sections))


def container_parts(sections: State) -> Iterator[Any]:
    """Give the bytes of a container in buffers, so that a large one need not be put together."""
    yield MAGIC + struct.pack("<II", VERSION, len(sections))
    at = 16
    for name, section in sections.items():
        parts = [json.dumps(section, sort_keys=True).encode()] if isinstance(section, dict) else _ipc(section)
        digest = xxhash.xxh3_64()
        for part in parts:
            digest.update(part)
        text = name.encode()
        size = sum(map(len, parts))
        head = struct.pack("<I", len(text)) + text + struct.pack("<QQ", size, digest.intdigest())
        padding = -(at + len(head)) % ALIGNMENT
        yield head + bytes(padding)
        yield from parts
        at += len(head) + padding + size


def write_snapshot(plan: Plan, core: Any, position: int, *, settled: bool = True) -> bytes:
    """Write the state of a core as bytes; `settled`: rows came, so the types of columns are those of the plan."""
    return write_container(export_core(plan, core, position, settled=settled))


def checked_serialisable(plan: Plan) -> None:
    """Raise StateError if no snapshot can name what the patterns hold."""
    if not plan.serialisable:
        raise StateError("a pattern holds a lambda or local function: name it at module level to take snapshots")


def export_core(plan: Plan, core: Any, position: int, *, settled: bool = True) -> State:
    """Give the state of a core as sections of a snapshot; see write_snapshot."""
    checked_serialisable(plan)
    records, numbers = core.export()
    return sections_of(plan, records, numbers, position, settled=settled)


def sections_of(
    plan: Plan, records: Records, numbers: dict[str, Any], position: int, *, settled: bool, born: bool = False
) -> State:
    """Give records that were collected as sections; they need nothing of the core any more.

    `born`: with a section that tells the keyed states apart, for deltas.
    """
    tables, events, births = records.tables()
    groups = _groups(records.segments, events)
    meta = numbers | {
        "fingerprint": plan.fingerprint, "definition": plan.definition, "next_position": position,
        "columns": [list(column) for column in plan.types],
        "groups": len(groups), "events": len(events), "settled": settled,
    }  # fmt: skip
    sections: State = {"meta": meta}
    for name, columns in TABLES.items():
        arrays = [pa.array(tables[name][column], type_) for column, type_ in columns]
        sections[name] = pa.RecordBatch.from_arrays(arrays, [n for n, _ in columns])
    for i, places in enumerate(groups):
        sections |= _event_sections(plan, i, places, records.segments, events)
    if born:
        sections["births"] = pa.RecordBatch.from_arrays([pa.array(each) for each in births], ["birth", "n_nodes"])
    return sections


def _met(events: Events) -> list[int]:
    """The segments of events, in the order in which they appear. O(n)."""
    segment = events["segment"]
    first = np.full(int(segment.max()) + 1 if len(segment) else 0, len(segment))
    first[segment[::-1]] = np.arange(len(segment) - 1, -1, -1)
    order = np.argsort(first, kind="stable")
    return order[: np.count_nonzero(first < len(segment))].tolist()  # type: ignore[no-any-return]


def _groups(segments: Mapping[int, Segment], events: Events) -> list[npt.NDArray[np.int64]]:
    """The places of the events that have payloads of one kind, kinds in the order in which they appear."""
    of_kind: dict[Any, list[int]] = {}
    for segment in _met(events):
        of_kind.setdefault(Payloads.kind(segments[segment].source), []).append(segment)
    if len(of_kind) == 1:
        return [np.arange(len(events))]
    return [np.flatnonzero(np.isin(events["segment"], own)) for own in of_kind.values()]


def _event_sections(
    plan: Plan, i: int, places: npt.NDArray[np.int64], segments: Mapping[int, Segment], events: Events
) -> dict[str, pa.RecordBatch]:
    own = events[places]
    # Segments in the order in which they are met: dictionaries of Arrow are joined in it.
    met = _met(own)
    rank = np.zeros(max(met) + 1, np.uint16 if len(met) < 2**16 else np.uint32)
    rank[met] = np.arange(len(met))
    which = rank[own["segment"]]
    by_segment = np.argsort(which, kind="stable")  # by digits, where they are two bytes
    rows = np.split(own["row"][by_segment], np.cumsum(np.bincount(which))[:-1])
    parts = [(segments[id], part) for id, part in zip(met, rows, strict=True)]
    back = np.empty(len(own), np.int64)
    back[by_segment] = np.arange(len(own))
    order = pa.array(back)

    def in_order(taken: list[pa.Array]) -> pa.Array:
        # By number, and taken twice, whatever segments they come from: equal states are equal bytes, under nulls too.
        return pa.concat_arrays(taken).take(order)

    indexes = [pa.array(part) for part in rows]
    arrays = [
        pa.array(places),
        pa.array(np.concatenate([s.times[part] for s, part in parts])[back]),
        pa.array(np.concatenate([s.positions[part] for s, part in parts])[back]),
    ]
    for c, column in enumerate(plan.columns):
        arrays.append(in_order([
            as_arrow(s.columns[c], len(s)).take(index).cast(ARROW_TYPES[column.physical])
            for (s, _), index in zip(parts, indexes, strict=True)
        ]))  # fmt: skip
    names = ["number", "time", "position", *[f"c{c}" for c in range(len(plan.columns))]]
    if isinstance(parts[0][0].source, list):
        texts = [dump_row(RowView(segments[id].source, row)) for id, row in own.tolist()]
        payload = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["json"])
        kind = "rows"
    else:
        taken = [s.source.take(index) for (s, _), index in zip(parts, indexes, strict=True)]
        payload = pa.Table.from_batches(taken).combine_chunks().to_batches()[0].take(order)
        kind = "arrow"
    return {f"events/{i}": pa.RecordBatch.from_arrays(arrays, names), f"payload/{i}/{kind}": payload}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that has been read and whose container is sound."""

    meta: dict[str, Any]
    tables: dict[str, pa.RecordBatch]
    groups: list[tuple[pa.RecordBatch, str, pa.RecordBatch]]

    @property
    def schema(self) -> Schema:
        """The types of the columns that the plan read."""
        try:
            return Schema(tuple(Field(str(n), str(t)) for n, t in self.meta["columns"]))
        except (TypeError, ValueError) as error:
            raise StateError(f"snapshot, section meta: columns: {error}") from None

    @property
    def position(self) -> int:
        """The arrival number of the next row."""
        return self.meta["next_position"]  # type: ignore[no-any-return]

    @property
    def settled(self) -> bool:
        """Whether rows had come, so that the types of the columns are known."""
        return self.meta["settled"]  # type: ignore[no-any-return]

    @property
    def out_of_order(self) -> int:
        """The bound of disorder, ns."""
        return self.meta["watermark"][0]  # type: ignore[no-any-return]

    def fill(self, plan: Plan, core: Any) -> None:
        """Restore into a fresh core of the same plan."""
        if self.meta["fingerprint"] != plan.fingerprint:
            raise StateError("the snapshot is of other patterns, or of other column types, than these")
        batches, order = self._segments(plan)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        tables = {}
        for name, batch in self.tables.items():
            if any(column.null_count for column in batch.columns):
                raise StateError(f"snapshot, section {name}: a null")
            tables[name] = {column: batch.column(i).to_numpy() for i, (column, _) in enumerate(TABLES[name])}
        numbers = {k: self.meta[k] for k in ("watermark", "order", "now", "rows_seen", "late_seen", "counters")}
        core.restore(numbers, tables, batches, places)

    def _segments(self, plan: Plan) -> tuple[list[Segment], np.ndarray[Any, Any]]:
        batches: list[Segment] = []
        numbers: list[np.ndarray[Any, Any]] = []
        expected = ["number", "time", "position", *[f"c{c}" for c in range(len(plan.columns))]]
        for events, kind, payload in self.groups:
            if events.schema.names != expected or len(payload) != len(events):
                raise StateError("snapshot, section events: columns or rows are missing")
            types = [pa.int64(), pa.int64(), pa.uint64(), *[ARROW_TYPES[c.physical] for c in plan.columns]]
            if [f.type for f in events.schema] != types or any(events.column(i).null_count for i in range(3)):
                raise StateError("snapshot, section events: a column has another type, or nulls")
            columns = [_core_column(events.column(3 + c), column.physical) for c, column in enumerate(plan.columns)]
            columns = [_writable(c) if plan.columns[i].kind == "computed" else c for i, c in enumerate(columns)]
            source: Any = payload
            if kind == "rows":
                if payload.schema.names != ["json"]:
                    raise StateError("snapshot, section payload: rows stand in one column, json")
                source = [load_row(t) for t in payload.column(0).to_pylist()]
            times = np.ascontiguousarray(events.column(1).to_numpy())
            positions = np.ascontiguousarray(events.column(2).to_numpy())
            batches.append(Segment(times, positions, columns, source, payload.nbytes))
            numbers.append(events.column(0).to_numpy())
        order = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
        there = np.zeros(len(order), bool)
        if len(order) and (order.min() < 0 or order.max() >= len(order)):
            raise StateError("snapshot, section events: events are numbered wrong")
        there[order] = True
        if not there.all():
            raise StateError("snapshot, section events: events are numbered wrong")
        return batches, order


def _writable(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """A computed column is written again when its segment is opened, so it must not borrow the snapshot's bytes."""
    values, offsets, valid, valid_offset, wide, physical, shift = column
    copy = np.frombuffer(values, np.uint8).copy() if values is not None else np.zeros(8, np.uint8)
    ones = np.full(len(copy) // 8 + 16, 255, np.uint8)
    return (
        copy,
        offsets,
        ones if valid is None else np.frombuffer(valid, np.uint8).copy(),
        valid_offset,
        wide,
        physical,
        shift,
    )


def read_container(state: bytes) -> State:
    """Read what write_container wrote.

    Raises:
        StateError: damaged, cut short, or of another version.
    """
    sections: State = {}
    for name, data in _read_sections(memoryview(state)).items():
        if bytes(data[:1]) == b"{":
            try:
                sections[name] = json.loads(bytes(data))
            except (ValueError, RecursionError) as error:
                raise StateError(f"snapshot, section {name}: {error}") from None
        else:
            sections[name] = _from_ipc(data, name)
    return sections


def read_snapshot(state: bytes) -> Snapshot:
    """Read the container; raises StateError for anything that is not a sound snapshot of this version."""
    return read_core(read_container(state))


def read_core(sections: State) -> Snapshot:
    """Check the sections that export_core gave; raises StateError."""
    try:
        meta = _checked_meta(sections["meta"])
        n_groups = meta["groups"]
        tables = {name: _records(sections, name) for name in TABLES}
        for name, columns in TABLES.items():
            if tables[name].schema != pa.schema(columns):
                raise StateError(f"snapshot, section {name}: other columns than expected")
        groups = []
        for i in range(n_groups):
            payload = next(n for n in sections if n.startswith(f"payload/{i}/"))
            groups.append((_records(sections, f"events/{i}"), payload.rsplit("/", 1)[1], _records(sections, payload)))
    except (KeyError, StopIteration, ValueError, TypeError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"snapshot: a section or an entry of meta is missing or damaged ({error!r})") from None
    return Snapshot(meta, tables, groups)


def _records(sections: State, name: str) -> pa.RecordBatch:
    if isinstance(sections[name], dict):
        raise StateError(f"snapshot, section {name}: holds no records")
    return sections[name]


def _checked_meta(meta: Any) -> dict[str, Any]:
    """What must stand in meta, and be of its type; what the numbers mean is for the core to judge."""

    def number(value: object) -> bool:
        return type(value) is int and -(2**63) <= value < 2**63

    sound = {
        "fingerprint": lambda v: isinstance(v, str),
        "columns": lambda v: isinstance(v, list) and all(isinstance(c, list) and len(c) == 2 for c in v),
        "watermark": lambda v: isinstance(v, list) and len(v) == 3 and all(map(number, v)) and v[0] >= 0,
        "counters": lambda v: isinstance(v, dict),
        "settled": lambda v: isinstance(v, bool),
        "now": number,
    }
    sound |= dict.fromkeys(
        ("next_position", "order", "rows_seen", "late_seen", "groups"), lambda v: number(v) and v >= 0
    )
    for key, is_sound in sound.items():
        if not is_sound(meta[key]):
            raise StateError(f"snapshot, section meta: {key} is {meta[key]!r:.60}")
    return dict(meta)


def _read_sections(state: memoryview) -> dict[str, memoryview]:
    at = 0

    def take(n: int) -> memoryview:
        nonlocal at
        if n > len(state) - at:
            raise StateError(f"snapshot: cut short after {len(state)} bytes")
        at += n
        return state[at - n : at]

    if bytes(take(len(MAGIC))) != MAGIC:
        raise StateError("snapshot: these bytes are not a snapshot")
    version, n = struct.unpack("<II", take(8))
    if version not in (1, VERSION):
        raise StateError(f"snapshot: version {version}; this release reads versions 1 and {VERSION}")
    sections: dict[str, memoryview] = {}
    for _ in range(n):
        (length,) = struct.unpack("<I", take(4))
        name = bytes(take(length)).decode("utf-8", "replace")
        size, digest = struct.unpack("<QI", take(12)) if version == 1 else struct.unpack("<QQ", take(16))
        if version > 1 and any(take(-at % ALIGNMENT)):
            raise StateError(f"snapshot, section {name}: the bytes before it are not zero")
        data = take(size)
        if version == 1 or name.rsplit("/", 1)[-1] not in TABLES:
            data = memoryview(bytes(data))  # aligned, and of what an engine keeps the rest is not kept with it
        if (zlib.crc32(data) if version == 1 else xxhash.xxh3_64_intdigest(data)) != digest:
            raise StateError(f"snapshot, section {name}: its checksum is wrong")
        if name in sections:
            raise StateError(f"snapshot, section {name}: it is there twice")
        sections[name] = data
    if at != len(state):
        raise StateError("snapshot: bytes left over at the end")
    return sections
