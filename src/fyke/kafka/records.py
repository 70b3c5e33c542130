"""Records to rows: their values by a format, their event times, and what else of a record is wanted as a column.

What cannot be read comes out beside the rows, one by one, with partition, offset, error and the original bytes. Records
without a value, which delete a key in a compacted topic, come out apart, too. Nothing is lost in between: every offset
of a chunk is a row, a poison record or a tombstone.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import DefinitionError
from fyke.kafka.consumer import Chunk, Partition
from fyke.kafka.convert import converted, excerpt
from fyke.kafka.formats import Format

__all__ = ["Poison", "RecordReader", "Records", "Tombstone", "Unit", "poison_table"]

Int64s: TypeAlias = npt.NDArray[np.int64]
Unit: TypeAlias = Literal["s", "ms", "us", "ns"]

UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
MOST: Final = 2**63 - 2  # the two outermost times mean "never" and "before everything"
_VALUE: Final = operator.methodcaller("value")
_HEADER: Final = re.compile(r"header:(.+)", re.DOTALL)
_FIELDS: Final[Mapping[str, pa.DataType]] = {
    "key": pa.binary(),
    "key:text": pa.string(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "timestamp": pa.timestamp("ms", "UTC"),
    "topic": pa.string(),
}


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be read.

    Attributes:
        partition: where it is from.
        offset: its own.
        error: what is wrong with it.
        value: the original bytes.
        key: the same.
        headers: (name, bytes) pairs.
        timestamp_ms: the record's time, -1: it has none.
    """

    partition: Partition
    offset: int
    error: str
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record without a value.

    Attributes:
        offset: its own.
        key: the original bytes.
        time: ns, the record's time.
    """

    offset: int
    key: bytes | None
    time: int


@dataclass(frozen=True, slots=True)
class Records:
    """What a chunk holds.

    Attributes:
        partition: where it is from.
        rows: of the records that could be read, in the order of their offsets.
        times: ns, of each row.
        offsets: of each row, ascending.
        poison: the records that could not be read, in the order of their offsets.
        tombstones: those without a value.
        next: the offset after the chunk.
    """

    partition: Partition
    rows: pa.RecordBatch
    times: Int64s
    offsets: Int64s
    poison: list[Poison]
    tombstones: list[Tombstone]
    next: int


class RecordReader:
    """Reads the records of one topic. Not thread-safe.

    Args:
        value: the format of the values.
        time: the column that holds the event time; None: the record's own time is taken.
        unit: of that column where it holds numbers.
        columns: columns to make of the rest of a record: {name: "key" (bytes), "key:text" (UTF-8), "partition",
            "offset", "timestamp", "topic" or "header:<name>" (bytes of the last header of that name)}.

    Raises:
        DefinitionError: no such column for the time, a unit where none is due or the other way round, two columns of a
            name, or an unknown part of a record.
    """

    def __init__(
        self,
        value: Format,
        *,
        time: str | None = None,
        unit: Unit | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._value, self._time, self._columns = value, time, dict(columns or {})
        fields = list(value.schema)
        for name, part in self._columns.items():
            if name in value.schema.names:
                raise DefinitionError(f"column `{name}` is in the record's value already")
            if part not in _FIELDS and not _HEADER.fullmatch(part):
                known = ", ".join(f'"{known}"' for known in _FIELDS)
                raise DefinitionError(f'column `{name}`: "{part}" is no part of a record: {known}, "header:<name>"')
            fields.append(pa.field(name, _FIELDS.get(part, pa.binary())))
        self.schema: Final = pa.schema(fields)
        self._scale = self._checked_scale(unit)

    def _checked_scale(self, unit: str | None) -> int:
        """Nanoseconds in a number of the time column; 0: it holds timestamps, or there is none."""
        if unit is not None and unit not in UNITS:
            raise DefinitionError(f'unit "{unit}": allowed are {", ".join(UNITS)}')
        if self._time is None:
            if unit is not None:
                raise DefinitionError(f'unit="{unit}" needs a column: say time= as well')
            return 0
        if self._time not in self.schema.names:
            there = ", ".join(self.schema.names)
            raise DefinitionError(f"no column `{self._time}` for the event time; there are {there}")
        kind = self.schema.field(self._time).type
        if pa.types.is_timestamp(kind):
            if unit is not None:
                raise DefinitionError(f'column `{self._time}` holds timestamps: leave unit="{unit}" out')
            return 0
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DefinitionError(
                f"column `{self._time}`: expected timestamps or numbers for the event time, not {kind}"
            )
        if unit is None:
            raise DefinitionError(f"column `{self._time}` holds {kind}: say its unit with unit=, of {', '.join(UNITS)}")
        return UNITS[unit]

    def read(self, chunk: Chunk) -> Records:
        """Read the records of a chunk; nothing in them raises. O(bytes)."""
        messages = chunk.messages
        read = self._value.decode(list(map(_VALUE, messages)))
        rows, bad = read.rows, dict(read.errors)
        taken = messages if read.places is None else [messages[i] for i in read.places.tolist()]
        wrong: dict[int, str] = {}
        if self._columns:
            rows, wrong = self._with_columns(rows, taken, chunk.partition)
        times, untimely = self._times(rows, taken)
        wrong = {**untimely, **wrong}
        places = np.arange(len(messages)) if read.places is None else read.places
        if wrong:
            bad |= {int(places[row]): text for row, text in wrong.items()}
            good = np.ones(len(times), bool)
            good[list(wrong)] = False
            rows, times, places = rows.filter(pa.array(good)), times[good], places[good]
        offsets = self._offsets(chunk, messages)
        poison = [_poison(chunk.partition, messages[i], text) for i, text in sorted(bad.items())]
        tombstones = [_tombstone(messages[i]) for i in read.nulls]
        return Records(chunk.partition, rows, times, offsets[places], poison, tombstones, chunk.next)

    @staticmethod
    def _offsets(chunk: Chunk, messages: list[Any]) -> Int64s:
        """The offsets of all messages; what transactions and compaction leave out is missing in between."""
        first, n = messages[0].offset(), len(messages)
        if chunk.next - first == n:
            return np.arange(first, chunk.next, dtype=np.int64)
        return np.fromiter((message.offset() for message in messages), np.int64, n)

    def _with_columns(
        self, rows: pa.RecordBatch, taken: list[Any], partition: Partition
    ) -> tuple[pa.RecordBatch, dict[int, str]]:
        """The rows with the columns that are no part of the value; and the text for each whose key is no text."""
        columns = list(rows.columns)
        wrong: dict[int, str] = {}
        for name, part in self._columns.items():
            kind = self.schema.field(name).type
            if part in ("partition", "topic"):
                same = partition.number if part == "partition" else partition.topic
                columns.append(pa.repeat(pa.scalar(same, kind), len(taken)))
            elif part == "key:text":
                keys = [message.key() for message in taken]
                column, bad = converted(keys, _texts, kind, lambda key, _: f"the key is not UTF-8: {excerpt(key[0])}")
                columns.append(column)
                wrong |= bad
            else:
                of = _PARTS.get(part) or functools.partial(_header, name=part.partition(":")[2])
                columns.append(pa.array([of(message) for message in taken], kind))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema), wrong

    # -- event times

    def _times(self, rows: pa.RecordBatch, taken: list[Any]) -> tuple[Int64s, dict[int, str]]:
        """The event time of each row, and the text for each that has none."""
        if self._time is None:
            pairs = [message.timestamp() for message in taken]
            given = pa.array([stamp if kind else None for kind, stamp in pairs], pa.int64())
            return _scaled(given, UNITS["ms"], "the record's time")
        column, what = rows.column(self._time), f"field `{self._time}`"
        if not self._scale:
            per = UNITS[column.type.unit]
            return _scaled(column.cast(pa.int64()), per, what)
        return _scaled(column, self._scale, what)


def _scaled(column: pa.Array, scale: int, what: str) -> tuple[Int64s, dict[int, str]]:
    """Numbers times the nanoseconds in one of them; nulls and what is out of range get a text."""
    missing: list[int] = []
    if column.null_count:
        missing = np.flatnonzero(pc.is_null(column).to_numpy(zero_copy_only=False)).tolist()
    if pa.types.is_floating(column.type):
        raw = column.fill_null(0).cast(pa.float64()).to_numpy()
        outside = ~(np.abs(raw) < 2.0**63 / scale)
        times = np.round(np.where(outside, 0, raw) * scale).astype(np.int64)
    elif pa.types.is_uint64(column.type):
        raw = column.fill_null(0).to_numpy()
        outside = raw > np.uint64(MOST // scale)
        times = np.where(outside, 0, raw).astype(np.int64) * scale
    else:
        raw = column.fill_null(0).cast(pa.int64()).to_numpy()
        outside = (raw > MOST // scale) | (raw < -(MOST // scale))
        times = np.where(outside, 0, raw) * scale
    wrong = dict.fromkeys(missing, f"{what}: the event time is missing")
    for row in np.flatnonzero(outside).tolist():
        wrong[row] = (
            f"{what}: {excerpt(raw[row].item())} is outside the range of times (1677 to 2262): is the unit right?"
        )
    return times, wrong


def _texts(keys: list[bytes | None]) -> pa.Array:
    return pa.array([None if key is None else key.decode() for key in keys], pa.string())


def _header(message: Any, name: str) -> bytes | None:
    found: bytes | None = None
    for each, value in message.headers() or ():
        found = value if each == name else found
    return found


def _stamp(message: Any) -> int | None:
    kind, stamp = message.timestamp()
    return stamp if kind else None


_PARTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "key": lambda message: message.key(),
    "offset": lambda message: message.offset(),
    "timestamp": _stamp,
}


def _poison(partition: Partition, message: Any, text: str) -> Poison:
    stamp = _stamp(message)
    return Poison(
        partition, message.offset(), text, message.value(), message.key(), tuple(message.headers() or ()),
        -1 if stamp is None else stamp,
    )  # fmt: skip


def _tombstone(message: Any) -> Tombstone:
    return Tombstone(message.offset(), message.key(), (_stamp(message) or 0) * UNITS["ms"])


POISON_SCHEMA: Final = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("error", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("timestamp", pa.timestamp("ms", "UTC")),
    ]
)


def poison_table(poison: Sequence[Poison]) -> pa.Table:
    """Put poison records into a table, a row each, with their original bytes."""
    rows = [
        (
            *each.partition,
            each.offset,
            each.error,
            each.key,
            each.value,
            each.timestamp_ms if each.timestamp_ms >= 0 else None,
        )
        for each in poison
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(POISON_SCHEMA)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, POISON_SCHEMA, strict=True)], schema=POISON_SCHEMA)
