"""Parquet: typed, columnar, read row group by row group; only the columns asked for are decoded.

Memory: one batch plus the pages it stands on, not a row group, because the column chunks are read through a buffer.
"""

import shutil
import sys
import tempfile
from collections.abc import Generator
from typing import IO, Unpack

import pyarrow as pa
import pyarrow.parquet as pq

from fyke.errors import DataError
from fyke.io import Batch
from fyke.io.bounded import FileOptions, FileReader
from fyke.io.cast import TIME, cast
from fyke.io.files import LogFile

READ_AHEAD_BYTES = 1 << 20


class Parquet(FileReader):
    """Read a Parquet file. The arguments are those of `fyke.io.files.open_log`.

    Parquet keeps its table of contents at the end, so standard input is first copied to a temporary file.
    """

    def __init__(self, log: LogFile, **options: Unpack[FileOptions]) -> None:
        super().__init__(log, **options)
        self._n_rows = 0
        self._spooled: IO[bytes] | None = None
        self._is_spooled = False

    def fraction_read(self) -> float | None:
        return self._next / self._n_rows if self._n_rows else None

    def close(self) -> None:
        super().close()
        spooled, self._spooled = self._spooled, None
        if spooled is not None:
            spooled.close()

    def _read(self, start: int) -> Generator[Batch, None, None]:
        try:
            with pq.ParquetFile(self._path(), buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as file:
                names = self._present(file.schema_arrow.names)
                self._n_rows = file.metadata.num_rows
                groups, first = _groups_from(file.metadata, start, self._batch_size)
                if not groups:
                    yield Batch(pa.RecordBatch.from_pylist([], file.schema_arrow), first)
                    return
                for rows in file.iter_batches(self._batch_size, groups, columns=names, use_threads=False):
                    if rows.num_rows:
                        yield Batch(self._finish(rows, first), first)
                        first += rows.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
                raise
            raise DataError(f"{self.name}: not a readable Parquet file ({error})") from error

    def _path(self) -> str | IO[bytes]:
        if self._log.path != "-":
            return self._log.path
        if self._spooled is None:
            if self._is_spooled:
                raise DataError("standard input can be read only once")
            self._is_spooled = True
            self._spooled = tempfile.TemporaryFile()  # closed, and so removed, with this reader
            shutil.copyfileobj(sys.stdin.buffer, self._spooled)
        return self._spooled

    def _finish(self, rows: pa.RecordBatch, first: int) -> pa.RecordBatch:
        columns = []
        for field, column in zip(rows.schema, rows.columns, strict=True):
            target = self._declared.get(field.name)
            if target is None and field.name in self._times and pa.types.is_string(field.type):
                target = TIME
            columns.append(
                column if target is None else cast(column, target, field=field.name, source=self.name, first=first)
            )
        return pa.RecordBatch.from_arrays(columns, rows.schema.names)


def _groups_from(metadata: pq.FileMetaData, start: int, batch_size: int) -> tuple[list[int], int]:
    """Return the row groups to read for the row `start` and those after it, and the number of their first row.

    They begin where a batch does, so that batches are cut as in a reading from the first row on.
    """
    n_groups = metadata.num_row_groups
    found = first = n_rows = 0
    for group in range(n_groups):
        if n_rows <= start and n_rows % batch_size == 0:
            found, first = group, n_rows
        n_rows += metadata.row_group(group).num_rows
    if start >= n_rows:
        return [], n_rows
    return list(range(found, n_groups)), first
