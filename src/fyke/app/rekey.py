"""Rows by another key: through a topic of the app's own, so that equal keys meet in one partition again.

A task writes its rows to the partitions that their keys say, many rows a record, and at each commit the watermark
that it has reached to every partition. Who reads them merges by event time, under the least of these watermarks
(merge.py); so results do not depend on how the writers interleave.

    record of rows        value: an Arrow stream, the rows, their event times and places in time
                          header origin: the number of the task that wrote them
    record of a watermark no value; headers origin, watermark (ns), idle (0 or 1)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fyke.errors import DefinitionError
from fyke.kafka.producer import Headers
from fyke.nodes import only_finals
from fyke.operator import END, START, Batch
from fyke.streams import Stream, stream

__all__ = ["EVENT_TIME", "PLACE", "Rekey", "Sender", "rekey_of"]

EVENT_TIME: Final = "event_time"
PLACE: Final = "fyke:place"
ROWS: Final = 4096
"""The most rows of a record."""


@dataclass(frozen=True, slots=True)
class Rekey:
    """A topic between two parts of an app.

    Attributes:
        topic: its name.
        source: what is written to it.
        keys: the columns whose values say which partition.
        partitions: how many; 0: as many as the inputs have.
        origins: how many tasks write to it; 0: not known yet.
    """

    topic: str
    source: Stream
    keys: tuple[str, ...]
    partitions: int = 0
    origins: int = 0

    @property
    def schema(self) -> pa.Schema:
        """The columns of its rows: those that are written to it, and `event_time`."""
        schema = self.source.schema
        assert schema is not None
        return schema.append(pa.field(EVENT_TIME, pa.timestamp("ns", "UTC")))

    def stream(self) -> Stream:
        """Give the stream of its rows."""
        return stream(self.topic, time=EVENT_TIME, schema=self.schema)


def rekey_of(app: str, source: Stream, keys: Sequence[str], name: str | None, partitions: int | None) -> Rekey:
    """Check what was written; see Flow.rekey.

    Raises:
        DefinitionError: no columns, or none that are known when the app is written.
    """
    if not isinstance(source, Stream):
        raise DefinitionError(f"rekey: {type(source).__name__} has no rows yet: say what is made of it")
    if not keys:
        raise DefinitionError("rekey: say the columns of the key")
    made = Stream(only_finals(source.node))
    if made.schema is None:
        raise DefinitionError(f"{source.node.path}.rekey: the columns are not known yet: give map or process a schema=")
    if not made.node.is_timed:
        raise DefinitionError(f"{source.node.path}.rekey: these rows have no place in time any more")
    for key in keys:
        if made.schema.get_field_index(key) < 0:
            raise DefinitionError(f"rekey({key!r}): no such column; there are {', '.join(made.schema.names)}")
    if EVENT_TIME in made.schema.names:
        raise DefinitionError(f"rekey: the rows get a column `{EVENT_TIME}`, and have one: select it away")
    if partitions is not None and partitions < 1:
        raise DefinitionError(f"rekey(partitions={partitions}): expected at least 1")
    return Rekey(f"{app}-{name or '-'.join(keys)}-rekey", made, tuple(keys), partitions or 0)


class Sender:
    """What a task writes to a rekey topic.

    Args:
        rekey: with `partitions` known.
        origin: the number of the task.
        watermark, is_idle: what it had told.
    """

    def __init__(self, rekey: Rekey, origin: int, watermark: int = START, is_idle: bool = False) -> None:
        self._rekey, self._origin = rekey, str(origin).encode()
        self.watermark = self._told = watermark
        self.is_idle = self._told_idle = is_idle

    def take(self, batch: Batch) -> Iterator[tuple[int, bytes, Headers]]:
        """Give records of rows: partition, value, headers.

        A row behind the watermark has no place in time any more: it gets the first that is left.
        """
        marks = batch.marks
        if len(batch):
            under = marks.under(batch.origins, self.watermark)
            # Behind the end of the input there is nothing left but the end.
            places = np.where(batch.times <= under, np.minimum(under, END - 1) + 1, batch.times)
            rows = batch.rows.append_column(EVENT_TIME, pa.array(batch.times, pa.timestamp("ns", "UTC")))
            rows = rows.append_column(PLACE, pa.array(places))
            to = self._partitions(batch.rows)
            for partition in np.unique(to).tolist():
                mine = rows.take(pa.array(np.flatnonzero(to == partition)))
                for at in range(0, len(mine), ROWS):
                    yield partition, _ipc(mine.slice(at, ROWS)), [("origin", self._origin)]
        if len(marks):
            self.reached(int(marks.times[-1]))

    def reached(self, watermark: int) -> None:
        """Hear how far the time of the rows has come."""
        self.watermark = max(self.watermark, watermark)

    def _partitions(self, rows: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The partition of each row: by what its key looks like, which is the same in every process."""
        texts = [rows.column(key).cast(pa.string()).to_pylist() for key in self._rekey.keys]
        n = self._rekey.partitions
        known: dict[tuple[str | None, ...], int] = {}
        found = np.empty(len(rows), np.int64)
        for i, key in enumerate(zip(*texts, strict=True)):
            at = known.get(key)
            if at is None:
                at = known[key] = zlib.crc32(repr(key).encode()) % n
            found[i] = at
        return found

    def words(self) -> Iterator[tuple[int, Headers]]:
        """Give what a commit says of time to each partition, if it is new."""
        if (self.watermark, self.is_idle) == (self._told, self._told_idle):
            return
        self._told, self._told_idle = self.watermark, self.is_idle
        headers: Headers = [
            ("origin", self._origin),
            ("watermark", str(self.watermark).encode()),
            ("idle", b"1" if self.is_idle else b"0"),
        ]
        for partition in range(self._rekey.partitions):
            yield partition, headers


def _ipc(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())
