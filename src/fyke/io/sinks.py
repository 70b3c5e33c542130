"""Tables written as JSONL, CSV or Parquet, compressed by suffix, to a file or to standard output ("-").

A sink is fed tables as they come and holds none of them. Times are written as ISO 8601 text with a zone, bytes as
text where they are UTF-8 and in hexadecimal where not. CSV has no nesting: a struct becomes columns `struct.field`,
a list becomes JSON text.
"""

import base64
import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import sys
from abc import abstractmethod
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from fyke.errors import DataError
from fyke.io import Position, Sink
from fyke.io.durable import sync_folder
from fyke.io.files import FORMATS, split_name
from fyke.io.outlet import Outlet
from fyke.io.tables import map_leaves, record_batch


def open_sink(path: str | os.PathLike[str], *, format: str | None = None) -> Sink:
    """Return a sink that writes to a file, or to standard output for "-".

    Args:
        path: where to; an existing file is replaced.
        format: "jsonl", "csv" or "parquet"; by default what the name says, JSONL for standard output.

    Raises:
        DataError: neither `format` nor the name says a format.
    """
    name = os.fspath(path)
    guessed, _ = split_name(name)
    kind = FORMATS.get(format) if format else ("jsonl" if name == "-" else guessed)
    if kind is None:
        raise DataError(f"{name}: the name does not say a format; end it in .jsonl, .csv or .parquet")
    sink: FileSink
    if kind == "parquet":
        sink = ParquetSink(name)
    elif kind == "jsonl":
        sink = JsonLinesSink(name)
    else:
        is_tsv = format == "tsv" or (format is None and ".tsv" in name.lower())
        sink = CsvSink(name, delimiter="\t" if is_tsv else ",")
    sink.open()
    return sink


class FileSink(Outlet):
    """What the writers of files share.

    Args:
        path: where to, "-" for standard output; its last suffix may say how it is compressed (gz, zst, bz2, xz).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        super().__init__("standard output" if self._path == "-" else self._path)
        self._raw: IO[bytes] | None = None
        self._stream: Any = None

    def _open(self) -> None:
        if self._path == "-":
            self._stream = sys.stdout.buffer
            return
        self._raw = open(self._path, "wb")
        self._stream = self._compressed(self._raw)

    def _compressed(self, raw: IO[bytes]) -> Any:
        """Return the stream that writes compressed as the name says; closing it leaves `raw` open."""
        compression = split_name(self._path)[1]
        if compression == "gz":
            return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)  # no time: equal rows, equal bytes
        if compression == "bz2":
            return bz2.BZ2File(raw, "wb")
        if compression == "xz":
            return lzma.LZMAFile(raw, "wb")
        if compression == "zst":
            return pa.CompressedOutputStream(_LeftOpen(raw), "zstd")
        return raw

    def _write(self, table: pa.Table) -> None:
        with self._named():
            self._put(table)

    @abstractmethod
    def _put(self, table: pa.Table) -> None:
        """Write a table to the stream."""

    def _finish(self) -> None:
        """Write what closes the file."""

    def _flush(self) -> None:
        with self._named():
            if self._stream is not None:
                self._stream.flush()
            if self._raw is not None:
                self._raw.flush()

    def _close(self) -> None:
        with self._named():
            try:
                self._finish()
                if self._raw is None:
                    self._stream.flush()  # standard output is not ours to close
                elif self._stream is not None and self._stream is not self._raw:
                    self._stream.close()
            finally:
                if self._raw is not None:
                    self._raw.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Give the errors of the medium, a full disk say, the name of the file."""
        try:
            yield
        except OSError as error:
            if error.filename is None:
                error.filename = self.name
            raise


class _LeftOpen(io.RawIOBase):
    """A file for a writer that would close it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._under = raw

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._under.write(data)


class TextSink(FileSink):
    """Lines: they can be cut back to where the file once ended. A compressed file gets a new member with each cut."""

    def resume(self, position: Position) -> None:
        """Open at a position that `cut` gave; what was written behind it goes. None: at the beginning, empty."""
        if position is None:
            self.open()
            sync_folder(os.path.dirname(self._path))
            return
        with self._named():
            self._raw = open(self._path, "r+b")
            size = os.fstat(self._raw.fileno()).st_size
            if size < position["bytes"]:
                raise DataError(
                    f"{self.name}: has {size} bytes where the checkpoint knows {position['bytes']}: it was cut, or is "
                    "another file"
                )
            self._raw.truncate(position["bytes"])
            self._raw.seek(position["bytes"])
        self._is_open = True

    def cut(self, *, is_last: bool) -> Position:
        """Bring what was written to the medium, and return where it ends."""
        self.open()
        with self._named():
            assert self._raw is not None
            if is_last:
                self._finish()
            self._end_member()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            return {"bytes": self._raw.tell()}

    def _end_member(self) -> None:
        if self._stream is not None and self._stream is not self._raw:
            self._stream.close()
        self._stream = None

    def _write(self, table: pa.Table) -> None:
        self._begin_member()
        super()._write(table)

    def _begin_member(self) -> None:
        if self._stream is None:
            assert self._raw is not None
            self._stream = self._compressed(self._raw)


class JsonLinesSink(TextSink):
    """A line per row; NaN is written as NaN, which JSON proper has no word for."""

    def _put(self, table: pa.Table) -> None:
        for rows in table.to_batches(max_chunksize=16_384):
            plain = record_batch([to_text(column) for column in rows.columns], rows.schema.names, rows.num_rows)
            lines = [_dumps(row) + "\n" for row in plain.to_pylist()]
            self._stream.write("".join(lines).encode())
        if self._raw is None:
            self._stream.flush()  # so that whoever reads the pipe sees a match when it is found


def align(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return the table with the columns of a file begun earlier; what it lacks is null.

    Raises:
        DataError: a column that the file has not, or values that its column cannot hold.
    """
    new = [column for column in table.column_names if column not in schema.names]
    if new:
        raise DataError(f"{name}: a file cannot get another column (`{new[0]}`) once it is begun; write .jsonl")
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            columns.append(table[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            began = f"column `{field.name}` began as {field.type}"
            raise DataError(f"{name}: {began} and cannot take {table[field.name].type}; write .jsonl") from error
    return pa.table(columns, schema=schema)


class CsvSink(TextSink):
    """A header, then a line per row; the columns are those of the first table with rows.

    Args:
        delimiter: what stands between fields.
    """

    def __init__(self, path: str | os.PathLike[str], *, delimiter: str = ",") -> None:
        super().__init__(path)
        self._delimiter = delimiter
        self._schema: pa.Schema | None = None
        self._empty: pa.Table | None = None

    def resume(self, position: Position) -> None:
        super().resume(position)
        if position is not None and position["schema"] is not None:
            self._schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(position["schema"])))

    def cut(self, *, is_last: bool) -> Position:
        end = super().cut(is_last=is_last)
        return {**end, "schema": None if self._schema is None else base64.b64encode(self._schema.serialize()).decode()}

    def _put(self, table: pa.Table) -> None:
        if table.num_rows:
            self._put_rows(table)
        else:
            self._empty = table

    def _put_rows(self, table: pa.Table) -> None:
        is_first = self._schema is None
        if self._schema is None:
            self._schema = table.schema
        flat = flatten(align(table, self._schema, self.name))
        options = arrow_csv.WriteOptions(include_header=is_first, delimiter=self._delimiter)
        arrow_csv.write_csv(flat, self._stream, options)

    def _finish(self) -> None:
        if self._schema is None and self._empty is not None:
            self._begin_member()
            self._put_rows(self._empty)


class ParquetSink(FileSink):
    """Columns and types are those of the first table with rows; later ones are cast to them.

    The file can be read once it is closed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._writer: pq.ParquetWriter | None = None
        self._schema = pa.schema([])

    def _put(self, table: pa.Table) -> None:
        if self._writer is None:
            self._schema = table.schema
            if table.num_rows == 0:
                return
            self._writer = pq.ParquetWriter(self._stream, self._schema)
        self._writer.write_table(align(table, self._schema, self.name))

    def _finish(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, self._schema)
        self._writer.close()


def to_text(column: pa.Array) -> pa.Array:
    """Return the column with every time and byte string, nested ones too, as text.

    >>> to_text(pa.array([0], pa.timestamp("ns", "UTC"))).to_pylist()
    ['1970-01-01T00:00:00.000000000Z']
    """
    return map_leaves(column, _leaf_text)


def _leaf_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        utc = column.cast(pa.timestamp(kind.unit, tz="UTC"))
        return pc.replace_substring(utc.cast(pa.string()), " ", "T")
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if value is None else _bytes_text(value) for value in column.to_pylist()], pa.string())
    return column


def flatten(table: pa.Table) -> pa.Table:
    """Return the table without nesting: structs as columns `struct.field`, lists as JSON text.

    >>> flatten(pa.table({"a": [{"b": 1, "c": [1, 2]}]})).to_pylist()
    [{'a.b': 1, 'a.c': '[1,2]'}]
    """
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    columns = {}
    for name, chunked in zip(table.schema.names, table.columns, strict=True):
        values = to_text(chunked.combine_chunks() if chunked.num_chunks else pa.array([], chunked.type))
        if pa.types.is_list(values.type):
            values = pa.array([None if value is None else _dumps(value) for value in values.to_pylist()], pa.string())
        columns[name] = values
    return pa.table(columns)


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


__all__ = ["CsvSink", "FileSink", "JsonLinesSink", "ParquetSink", "flatten", "open_sink", "to_text"]
