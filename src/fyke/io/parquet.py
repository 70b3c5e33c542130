"""Parquet: typed, columnar, read row group by row group; only the columns asked for are decoded.

Memory: one batch plus the pages it stands on, not a row group, because the column chunks are read through a buffer.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from fyke.errors import DataError
from fyke.io import Batch
from fyke.io.cast import TIME, cast
from fyke.io.files import LogFile

READ_AHEAD_BYTES = 1 << 20


class Parquet:
    """Read a Parquet file. The arguments are those of `fyke.io.files.open_log`.

    Parquet keeps its table of contents at the end, so standard input is first copied to a temporary file.
    """

    def __init__(
        self,
        log: LogFile,
        *,
        columns: Sequence[str] | None = None,
        types: Mapping[str, pa.DataType] | None = None,
        times: Sequence[str] = (),
        batch_size: int = 65_536,
    ) -> None:
        self._log = log
        self._wanted = None if columns is None else frozenset(columns)
        self._times = frozenset(times)
        self._declared = dict(types or {})
        self._batch_size = batch_size
        self._n_read = 0
        self._n_rows = 0
        self._spooled: IO[bytes] | None = None

    @property
    def name(self) -> str:
        return self._log.name

    def fraction_read(self) -> float | None:
        return self._n_read / self._n_rows if self._n_rows else None

    def __iter__(self) -> Iterator[Batch]:
        try:
            with pq.ParquetFile(self._path(), buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as file:
                names = file.schema_arrow.names
                # A column that is wanted but not there is an error further on, which can name the near ones if it
                # sees all.
                if self._wanted is not None and self._wanted <= set(names):
                    names = [name for name in names if name in self._wanted]
                self._n_read, self._n_rows = 0, file.metadata.num_rows
                for rows in file.iter_batches(self._batch_size, columns=names, use_threads=False):
                    if rows.num_rows:
                        first = self._n_read
                        self._n_read += rows.num_rows
                        yield Batch(self._finish(rows, first), first)
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
                raise
            raise DataError(f"{self.name}: not a readable Parquet file ({error})") from error

    def _path(self) -> str | IO[bytes]:
        if self._log.path != "-":
            return self._log.path
        if self._spooled is None:
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
