"""Logs as files: which format a name means, and the byte stream under it, decompressed, with how far it was read.

Used by the readers of text for their bytes and by `replay` and the command line for `open_log`. Nothing is read
before iteration starts, and each iteration opens the file anew.
"""

import bz2
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from fyke.errors import DataError

if TYPE_CHECKING:
    from fyke.io import Source

FORMATS = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "csv": "csv",
    "tsv": "csv",
    "parquet": "parquet",
    "pq": "parquet",
}
COMPRESSIONS = ("gz", "zst", "bz2", "xz")
# What a truncated or damaged stream raises, by decoder: gzip, gzip/zlib, lzma, bz2 and Arrow's zstd.
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)


def split_name(name: str) -> tuple[str | None, str | None]:
    """Return the format and the compression that a file name means, each None where it does not say.

    >>> split_name("log.jsonl.gz"), split_name("LOG.CSV"), split_name("log")
    (('jsonl', 'gz'), ('csv', None), (None, None))
    """
    suffixes = [suffix[1:].lower() for suffix in Path(name).suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else None
    return (FORMATS.get(suffixes[-1]) if suffixes else None), compression


class LogFile:
    """A file's bytes, decompressed; "-" is standard input.

    Args:
        path: the file; its last suffix may say how it is compressed (gz, zst, bz2, xz).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.name = "standard input" if self.path == "-" else self.path
        self._raw: IO[bytes] | None = None
        self._stream: Any = None
        self._size = 0
        self._stdin_read = False

    def open(self) -> None:
        """Open at the beginning.

        Raises:
            DataError: standard input was read before. OSError where there is no such file.
        """
        self.close()
        if self.path == "-":
            if self._stdin_read:
                raise DataError("standard input can be read only once")
            self._stdin_read = True
            self._stream = sys.stdin.buffer
            return
        self._raw = open(self.path, "rb")
        self._size = os.fstat(self._raw.fileno()).st_size
        compression = split_name(self.path)[1]
        if compression == "gz":
            self._stream = gzip.GzipFile(fileobj=self._raw)
        elif compression == "bz2":
            self._stream = bz2.BZ2File(self._raw)
        elif compression == "xz":
            self._stream = lzma.LZMAFile(self._raw)
        elif compression == "zst":
            self._stream = pa.CompressedInputStream(self._raw, "zstd")
        else:
            self._stream = self._raw

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes, at most `n_bytes`, empty at the end.

        Raises:
            DataError: the compressed stream is damaged or cut off.
        """
        try:
            data: bytes = self._stream.read(n_bytes)
        except _BROKEN as error:
            if self._stream is self._raw:
                raise
            raise DataError(f"{self.name}: damaged or cut-off compressed file ({error})") from error
        return data

    def close(self) -> None:
        """Close what `open` opened; standard input stays open, it is not ours."""
        if self._raw is not None:
            self._raw.close()
        self._raw = self._stream = None

    def fraction_read(self) -> float | None:
        """Return how much of the (compressed) file was read, 0 to 1; None for standard input and before `open`."""
        if self._raw is None or self._raw.closed or self._size == 0:
            return None
        return min(1.0, self._raw.tell() / self._size)


class Stream(io.RawIOBase):
    """A `LogFile` as a Python file for Arrow, after some bytes that were read ahead."""

    def __init__(self, head: bytes, log: LogFile) -> None:
        self._head = head
        self._log = log

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._log.read(size)


def open_log(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    times: Sequence[str] = (),
    texts: Sequence[str] = (),
    batch_size: int = 65_536,
) -> "Source":
    """Return the source that reads a JSONL, CSV or Parquet file, also compressed (the text formats), also from "-".

    Args:
        path: the file, or "-" for standard input, which needs `format`.
        format: "jsonl", "csv", "tsv" or "parquet"; by default what the file's name says.
        columns: the columns to read, in any order; the others are not decoded. Default: all. Where CSV or Parquet
            lacks one of them, all are read: whoever misses it can then say which names are near.
        types: types of columns that the text should be read as, instead of what its values look like.
        times: columns of text to be read as ISO 8601 times; without a zone they are UTC.
        texts: columns of CSV that are text, though their values may look like numbers; the other formats say so
            themselves.
        batch_size: rows per batch, at most.

    Raises:
        DataError: neither `format` nor the name says what the file is.

    >>> open_log("payments.csv.gz", columns=["ts", "card"]).name
    'payments.csv.gz'
    """
    from fyke.io.csv import Csv
    from fyke.io.jsonl import JsonLines
    from fyke.io.parquet import Parquet

    log = LogFile(path)
    guessed, compression = split_name(log.path)
    kind = FORMATS.get(format.lower()) if format else guessed
    if kind is None:
        known = "jsonl, csv, tsv, parquet"
        if format:
            raise DataError(f"{log.name}: unknown format {format!r}, known are {known}")
        raise DataError(f"{log.name}: the name does not say the format; say format= (--format), one of {known}")
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1, got {batch_size}")
    if kind == "jsonl":
        return JsonLines(log, columns=columns, types=types, times=times, batch_size=batch_size)
    if kind == "csv":
        is_tsv = format == "tsv" or (format is None and ".tsv" in log.path.lower())
        delimiter = "\t" if is_tsv else ","
        types = dict.fromkeys(texts, pa.string()) | dict(types or {})
        return Csv(log, columns=columns, types=types, times=times, batch_size=batch_size, delimiter=delimiter)
    if compression is not None:
        raise DataError(f"{log.name}: Parquet is compressed inside; decompress the file first")
    return Parquet(log, columns=columns, types=types, times=times, batch_size=batch_size)
