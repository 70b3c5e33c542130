"""Tables written as JSONL, CSV or Parquet, compressed by suffix, to a file or to standard output ("-").

A sink is fed tables as they come and holds none of them. Times are written as ISO 8601 text with a zone, bytes as
text where they are UTF-8 and in hexadecimal where not. CSV has no nesting: a struct becomes columns `struct.field`,
a list becomes JSON text.
"""

import bz2
import gzip
import json
import lzma
import os
import sys
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from fyke.errors import DataError
from fyke.io import Sink
from fyke.io.files import FORMATS, split_name


def open_sink(path: str | os.PathLike[str], *, format: str | None = None) -> Sink:
    """Return a sink that writes to a file, or to standard output for "-".

    Args:
        path: where to; an existing file is replaced.
        format: "jsonl", "csv" or "parquet"; by default what the name says, JSONL for standard output.

    Raises:
        DataError: neither `format` nor the name says a format.
    """
    name = os.fspath(path)
    guessed, compression = split_name(name)
    kind = FORMATS.get(format) if format else ("jsonl" if name == "-" else guessed)
    if kind is None:
        raise DataError(f"{name}: the name does not say a format; end it in .jsonl, .csv or .parquet")
    stream = _open_bytes(name, compression)
    if kind == "parquet":
        return ParquetSink(stream, name)
    if kind == "jsonl":
        return JsonLinesSink(stream)
    is_tsv = format == "tsv" or (format is None and ".tsv" in name.lower())
    return CsvSink(stream, name, "\t" if is_tsv else ",")


def _open_bytes(name: str, compression: str | None) -> Any:
    if name == "-":
        return sys.stdout.buffer
    if compression == "gz":
        return gzip.open(name, "wb")
    if compression == "bz2":
        return bz2.open(name, "wb")
    if compression == "xz":
        return lzma.open(name, "wb")
    if compression == "zst":
        return pa.CompressedOutputStream(open(name, "wb"), "zstd")
    return open(name, "wb")


def _close(stream: Any) -> None:
    if stream is sys.stdout.buffer:
        stream.flush()
    else:
        stream.close()


class JsonLinesSink:
    """A line per row; NaN is written as NaN, which JSON proper has no word for."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, table: pa.Table) -> None:
        for rows in table.to_batches(max_chunksize=16_384):
            columns = [to_text(column) for column in rows.columns]
            plain = pa.RecordBatch.from_arrays(columns, rows.schema.names)
            lines = [_dumps(row) + "\n" for row in plain.to_pylist()]
            self._stream.write("".join(lines).encode())
        if self._stream is sys.stdout.buffer:
            self._stream.flush()  # so that whoever reads the pipe sees a match when it is found

    def close(self) -> None:
        _close(self._stream)


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


class CsvSink:
    """A header, then a line per row; the columns are those of the first table with rows."""

    def __init__(self, stream: IO[bytes], name: str, delimiter: str = ",") -> None:
        self._stream = stream
        self._name = name
        self._delimiter = delimiter
        self._schema: pa.Schema | None = None
        self._empty: pa.Table | None = None

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._write(table)
        else:
            self._empty = table

    def _write(self, table: pa.Table) -> None:
        is_first = self._schema is None
        if self._schema is None:
            self._schema = table.schema
        flat = flatten(align(table, self._schema, self._name))
        options = arrow_csv.WriteOptions(include_header=is_first, delimiter=self._delimiter)
        arrow_csv.write_csv(flat, self._stream, options)

    def close(self) -> None:
        if self._schema is None and self._empty is not None:
            self._write(self._empty)
        _close(self._stream)


class ParquetSink:
    """Columns and types are those of the first table with rows; later ones are cast to them."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._writer: pq.ParquetWriter | None = None
        self._schema = pa.schema([])

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._schema = table.schema
            if table.num_rows == 0:
                return
            self._writer = pq.ParquetWriter(self._stream, self._schema)
        self._writer.write_table(align(table, self._schema, self._name))

    def close(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, self._schema)
        self._writer.close()
        _close(self._stream)


def to_text(column: pa.Array) -> pa.Array:
    """Return the column with every time and byte string, nested ones too, as text.

    >>> to_text(pa.array([0], pa.timestamp("ns", "UTC"))).to_pylist()
    ['1970-01-01T00:00:00.000000000Z']
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return to_text(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        utc = column.cast(pa.timestamp(kind.unit, tz="UTC"))
        return pc.replace_substring(utc.cast(pa.string()), " ", "T")
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if value is None else _bytes_text(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_struct(kind):
        fields = [to_text(field) for field in column.flatten()]
        return pa.StructArray.from_arrays(fields, [field.name for field in kind], mask=column.is_null())
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(_offsets(column), to_text(column.values), mask=None)
    return column


def _offsets(column: pa.ListArray) -> pa.Array:
    """Return the list column's offsets with a null where the list is null, as `from_arrays` wants them."""
    valid = pc.is_valid(column).to_pylist()
    offsets = column.offsets.to_pylist()
    return pa.array([offset if ok else None for offset, ok in zip(offsets, [*valid, True], strict=True)], pa.int32())


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


__all__ = ["CsvSink", "JsonLinesSink", "ParquetSink", "flatten", "open_sink", "to_text"]
