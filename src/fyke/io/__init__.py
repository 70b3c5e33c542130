"""Where events come from and where matches go: the two protocols, and the transports that fulfil them.

A source gives record batches in arrival order, each with the position of its first row. What is read before is
forgotten: a source needs memory for one batch, however long the log. One transport per file: `jsonl`, `csv`,
`parquet`, `memory`; `files` picks one of them by the name of the log; `sinks` writes tables of matches.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa


class Batch(NamedTuple):
    """Rows in arrival order; the row at index i has the position `first + i`."""

    rows: pa.RecordBatch
    first: int


@runtime_checkable
class Source(Protocol):
    """What a replay reads: an iterable of `Batch`.

    Columns keep their names and types from batch to batch, with two exceptions that every reader of text shares: a
    column may appear later (it was null before), and int64 may become float64. A row that does neither raises
    `DataError` naming its field and place. Iterating again starts at the beginning, or raises `DataError` where the
    input can be read only once.
    """

    @property
    def name(self) -> str:
        """What error messages call this source."""

    def __iter__(self) -> Iterator[Batch]: ...

    def fraction_read(self) -> float | None:
        """Return how much of the input has been read, from 0 to 1, or None where the end is unknown."""


@runtime_checkable
class Sink(Protocol):
    """What takes results: tables with the same columns each time, until `close`."""

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


__all__ = ["Batch", "Sink", "Source"]
