"""What all bounded sources share: batches of at most so many rows, positions, and going on from one of them.

A reader gives blocks of rows, of the size that suits it, from a row on; here they are cut into batches and counted.
The position of a bounded source is the number of rows handed out. Going back to a row reads what lies before it once
more (Parquet skips whole row groups): the types of columns in text are learnt from the first row on.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TypedDict, Unpack

import pyarrow as pa

from fyke.errors import DataError
from fyke.io import Batch, Position
from fyke.io.files import LogFile


class Bounded(ABC):
    """A source with an end, read from its first row or from a later one.

    Args:
        batch_size: rows per batch, at most.

    Attributes:
        columns: what the last block that was read had, also if it had no rows; None: none was read.
    """

    def __init__(self, batch_size: int) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        self._batch_size = batch_size
        self.columns: pa.Schema | None = None
        self._start = 0
        self._next = 0
        self._reading: Generator[Batch, None, None] | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What error messages call this source."""

    @abstractmethod
    def _read(self, start: int) -> Generator[Batch, None, None]:
        """Yield blocks without a gap, the first of them beginning at the row `start` or before."""

    def fraction_read(self) -> float | None:
        return None

    @property
    def position(self) -> Position:
        """The number of rows handed out, those before the start of this iteration included."""
        return self._next

    def seek(self, position: Position) -> None:
        """Start every iteration from here on at a row, counted from 0."""
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            raise DataError(f"{self.name}: a position is the number of a row, from 0 on; got {position!r}")
        self._stop()
        self._start = self._next = position

    def close(self) -> None:
        self._stop()

    def _stop(self) -> None:
        """End the iteration under way, if there is one."""
        reading, self._reading = self._reading, None
        if reading is not None:
            # Closed from another thread while it reads, it ends after that block.
            with contextlib.suppress(ValueError):
                reading.close()

    def __iter__(self) -> Iterator[Batch]:
        self._stop()
        start = self._next = self._start
        reading = self._reading = self._read(start)
        end = 0
        try:
            for block in reading:
                self.columns = block.rows.schema
                end = block.first + block.rows.num_rows
                # Cut where a reading from the first row on cuts, so that whoever goes on sees the same batches.
                for cut in range(block.first, end, self._batch_size):
                    row, stop = max(start, cut), min(cut + self._batch_size, end)
                    if row >= stop:
                        continue
                    self._next = stop
                    yield Batch(block.rows.slice(row - block.first, stop - row), row)
                    if self._was_stopped(reading):
                        return
            if end < start and not self._was_stopped(reading):
                raise DataError(f"{self.name}: has {end} rows and cannot be read from row {start} on")
        finally:
            reading.close()
            if self._reading is reading:
                self._reading = None

    def _was_stopped(self, reading: Generator[Batch, None, None]) -> bool:
        if self._reading is not None and self._reading is not reading:
            raise DataError(f"{self.name}: read twice at once; a second iteration ends the first")
        return self._reading is None


class FileOptions(TypedDict, total=False):
    """What every reader of files can be told; `fyke.io.files.open_log` says what each means."""

    columns: Sequence[str] | None
    types: Mapping[str, pa.DataType] | None
    times: Sequence[str]
    batch_size: int


class FileReader(Bounded):
    """What the readers of files share. The arguments are those of `fyke.io.files.open_log`."""

    def __init__(self, log: LogFile, **options: Unpack[FileOptions]) -> None:
        super().__init__(options.get("batch_size", 65_536))
        columns = options.get("columns")
        self._log = log
        self._wanted = None if columns is None else frozenset(columns)
        self._declared = dict(options.get("types") or {})
        self._times = frozenset(options.get("times", ()))

    @property
    def name(self) -> str:
        return self._log.name

    @property
    def is_standard_input(self) -> bool:
        """Whether the log is no file."""
        return self._log.path == "-"

    def fraction_read(self) -> float | None:
        return self._log.fraction_read()

    def _present(self, names: Sequence[str]) -> list[str]:
        """Return those of a file's columns to read: the wanted ones, or all where one that is wanted is not there.

        Whoever misses it can then say which names are near.
        """
        if self._wanted is None or not self._wanted <= set(names):
            return list(names)
        return [name for name in names if name in self._wanted]


def is_standard_input(source: object) -> bool:
    """Say whether a source reads what can be read only once, by nobody else."""
    return isinstance(source, FileReader) and source.is_standard_input


__all__ = ["Bounded", "FileOptions", "FileReader", "is_standard_input"]
