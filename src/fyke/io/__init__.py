"""Where events come from and where results go: the protocols of sources and sinks, and the items they speak in.

A source gives items in arrival order: batches of rows, each with the position of its first row, and between them what
the outside says of time, watermarks and idleness. A bounded source (a file, a table) ends; a live one (a queue, an
iterator that blocks) waits for more. A sink takes tables of results. Both need memory for a batch, however long the
log. docs/extending.md writes one of each, step by step; tests/io/test_contract.py is what all of them pass.

One transport per file:

| module | sources | sinks |
|---|---|---|
| `files`, with `jsonl` `csv` `parquet` | `open_log`: `JsonLines` `Csv` `Parquet` | |
| `sinks` | | `open_sink`: `JsonLinesSink` `CsvSink` `ParquetSink` |
| `exact`, with `parquet_folder` `sql` | | `open_exact_sink`: sinks that a resumable replay can go on with |
| `memory` | `Memory`: tables, frames, iterables of rows | |
| `collect` | | `ListSink` `MemorySink` `CallSink` |
| `queues` | `QueueSource` | `QueueSink` |
| `live` | `IteratorSource` | |
| `aio` | `AsyncQueueSource`, `BlockingSource` over it | `AsyncQueueSink`, `BlockingSink` over it |
| `changelog` | | `ChangelogSink` over any other: rows that take back earlier ones |
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

Position: TypeAlias = Any
"""What a source goes on from: null, numbers, text, lists and objects of them, as JSON has them. Opaque to others."""

Guarantee: TypeAlias = Literal["append", "idempotent"]
"""What becomes of a row that a sink is given twice: "append": it stands there twice; "idempotent": once."""


class Batch(NamedTuple):
    """Rows in arrival order; the row at index i has the position `first + i`."""

    rows: pa.RecordBatch
    first: int


class Watermark(NamedTuple):
    """No more rows with an event time at or before `ns` (since the epoch) will come from this source."""

    ns: int


class Idle(NamedTuple):
    """The source has nothing for now, and until its next batch nobody should wait for its time to go on."""


Item: TypeAlias = Batch | Watermark | Idle


@runtime_checkable
class Source(Protocol):
    """What events are read from: an iterable of items. One iteration at a time.

    Positions count the rows in arrival order, without a gap. Columns keep their names and types from batch to batch,
    with these exceptions: a column may appear later (it was null before), int64 may become float64, decimals and nested
    types may get wider. A row that does anything else raises `DataError` naming its field and place, after the batches
    before it. Iterating a bounded source again starts at the beginning, or raises `DataError` where the input can be
    read only once; iterating a live one again goes on where the last iteration stopped, or gives nothing if it was
    closed.
    """

    @property
    def name(self) -> str:
        """What error messages call this source."""

    def __iter__(self) -> Iterator[Item]: ...

    def fraction_read(self) -> float | None:
        """Return how much of the input has been read, from 0 to 1, or None where the end is unknown."""

    def close(self) -> None:
        """Let go of files and threads; an iteration under way ends. May be called again, and from another thread."""


@runtime_checkable
class Seekable(Source, Protocol):
    """A source that can go on after a restart: where it stands is a value that JSON holds."""

    @property
    def position(self) -> Position:
        """Where to go on so that the next row is the one after the last batch handed out."""

    def seek(self, position: Position) -> None:
        """Make every iteration from here on start at a position that this source, or one like it, gave.

        Raises:
            DataError: it is no such position; where only reading can tell, the iteration raises it.
        """


class AsyncSource(Protocol):
    """A live source on an event loop; otherwise as `Source`."""

    @property
    def name(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[Item]: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Sink(Protocol):
    """What takes results: tables in the order of the results, from `open` to `close`."""

    @property
    def name(self) -> str:
        """What error messages call this sink."""

    @property
    def guarantee(self) -> Guarantee:
        """What becomes of a row that is written twice, as after a restart."""

    def open(self) -> None:
        """Get ready: make the file, connect. Writing opens, too; opening what is open does nothing."""

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Take rows; tables without rows, whose columns may lack types, too.

        Raises:
            DataError: rows that it cannot hold, naming column and sink, or it was closed.
        """

    def flush(self) -> None:
        """Hand everything on that was written: it survives the end of this process, where the medium can."""

    def close(self) -> None:
        """Flush and let go. May be called again."""


class AsyncSink(Protocol):
    """A sink on an event loop; otherwise as `Sink`."""

    @property
    def name(self) -> str: ...

    @property
    def guarantee(self) -> Guarantee: ...

    async def open(self) -> None: ...

    async def write(self, rows: pa.Table | pa.RecordBatch) -> None: ...

    async def flush(self) -> None: ...

    async def close(self) -> None: ...


__all__ = [
    "AsyncSink",
    "AsyncSource",
    "Batch",
    "Guarantee",
    "Idle",
    "Item",
    "Position",
    "Seekable",
    "Sink",
    "Source",
    "Watermark",
]
