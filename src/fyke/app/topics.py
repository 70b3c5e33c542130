"""An input topic as a value: what its records mean, what is known of their time, what becomes of those in error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

from fyke.duration import DurationLike, to_ns
from fyke.errors import DefinitionError
from fyke.kafka.formats import Call, Format, Raw
from fyke.kafka.json_format import Json
from fyke.kafka.records import RecordReader, Unit
from fyke.streams import Stream, stream

__all__ = ["OnError", "Poisoned", "Topic", "format_of"]

OnError: TypeAlias = Literal["fail", "skip", "dead_letter"]
"""What becomes of a record that cannot be read: the app stops; it is counted; it goes to another topic, too."""

TIMESTAMP: Final = "timestamp"


@dataclass(frozen=True, slots=True)
class Poisoned:
    """The policy for records that cannot be read.

    Attributes:
        on_error: what becomes of one.
        dead_letters: the topic for them, with "dead_letter".
        in_a_row: the app stops after so many of them one after the other in a partition; None: it never does.
    """

    on_error: OnError = "fail"
    dead_letters: str | None = None
    in_a_row: int | None = 1000

    def __post_init__(self) -> None:
        if self.on_error not in ("fail", "skip", "dead_letter"):
            raise DefinitionError(f'on_error={self.on_error!r}: expected "fail", "skip" or "dead_letter"')
        if (self.on_error == "dead_letter") != (self.dead_letters is not None):
            raise DefinitionError('dead_letters= names the topic for on_error="dead_letter", and for nothing else')
        if self.in_a_row is not None and self.in_a_row < 1:
            raise DefinitionError(f"errors_in_a_row={self.in_a_row}: expected at least 1, or None")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that an app reads.

    Attributes:
        name: the topic's, and the stream's.
        format: of the values.
        time: the column of the event time; None: the record's own, which then is the column `timestamp`.
        unit: of a numeric time column.
        columns: other parts of records as columns; see RecordReader.
        out_of_order: the bound of disorder within a partition, ns.
        idle: after so many ns of the wall clock without a record the partition holds up no other; None: it always does.
        delay: where time goes on without records: how far behind the wall clock, ns; None: it does not.
        poisoned: what becomes of records that cannot be read.
        table_key: of a table: the column of the record's key; a record without a value deletes it.
    """

    name: str
    format: Format
    time: str | None
    unit: Unit | None
    columns: tuple[tuple[str, str], ...]
    out_of_order: int
    idle: int | None
    delay: int | None
    poisoned: Poisoned
    table_key: str | None = None

    @classmethod
    def of(
        cls,
        name: str,
        value: Format,
        *,
        time: str | None,
        unit: Unit | None,
        columns: Mapping[str, str] | None,
        out_of_order: DurationLike,
        idle: DurationLike | None,
        advance: str | None,
        delay: DurationLike | None,
        poisoned: Poisoned,
        table_key: str | None = None,
    ) -> Topic:
        """Check what was written; see App.topic."""
        where = f'topic "{name}"'
        if advance not in (None, "wall_clock"):
            raise DefinitionError(f'{where}: advance={advance!r}: expected "wall_clock", or None')
        if (advance is None) != (delay is None):
            raise DefinitionError(f'{where}: advance="wall_clock" and delay= belong together')
        if advance is not None and idle is None:
            raise DefinitionError(f'{where}: advance="wall_clock" needs idle=: from when on no record is waited for')
        more = dict(columns or {})
        if table_key is not None:
            more[table_key] = "key:text"
        if time is None:
            more.setdefault(TIMESTAMP, "timestamp")
        made = cls(
            name,
            value,
            time,
            unit,
            tuple(more.items()),
            _ns(out_of_order),
            None if idle is None else _ns(idle),
            None if delay is None else _ns(delay),
            poisoned,
            table_key,
        )
        made.reader()  # raises what is wrong with time and columns
        return made

    def reader(self) -> RecordReader:
        """Make what reads its records."""
        return RecordReader(
            self.format, time=self.time or TIMESTAMP, unit=self.unit, columns=dict(self.columns)
        )  # fmt: skip

    def stream(self) -> Stream:
        """Give the stream of its rows."""
        return stream(
            self.name,
            time=self.time or TIMESTAMP,
            unit=self.unit,
            out_of_order=f"{self.out_of_order}ns",
            schema=self.reader().schema,
        )


def format_of(value: Any, schema: pa.Schema | Mapping[str, pa.DataType] | None, where: str) -> Format:
    """Give the format that is meant by "json", "text", "raw", a function of bytes, or a Format.

    Raises:
        DefinitionError: none is meant, or a schema is missing or too much.
    """
    if value in ("raw", "text"):
        if schema is not None:
            raise DefinitionError(f'{where}: value="{value}" has one column, `value`: leave schema= out')
        return Raw(text=value == "text")
    if value == "json" or (callable(value) and not hasattr(value, "decode")):
        if schema is None:
            raise DefinitionError(f"{where}: say the columns with schema=, such as {{'amount': pa.float64()}}")
        return Json(schema) if value == "json" else Call(value, schema)
    if not (hasattr(value, "decode") and hasattr(value, "schema")):
        raise DefinitionError(
            f'{where}: value={value!r:.60}: expected "json", "text", "raw", a function of bytes, or a fyke.kafka Format'
        )
    if schema is not None:
        raise DefinitionError(f"{where}: {type(value).__name__} has a schema of its own: leave schema= out")
    made: Format = value
    return made


def _ns(duration: DurationLike) -> int:
    return 0 if type(duration) is int and duration == 0 else to_ns(duration)
