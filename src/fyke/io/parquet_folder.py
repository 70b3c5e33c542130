"""Parquet as a folder of segments under a manifest, because a Parquet file that is not closed cannot be read.

Each cut writes the rows since the one before as a file of its own and names it in `_manifest.json`, whose segments
together are the table. Readers of folders (Arrow, DuckDB, polars) pass over names that begin with `_` and read them
all. Rows are held from cut to cut. Which rows a segment holds depends on the cuts alone, and so do its bytes.
"""

import base64
import json
import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fyke.errors import DataError
from fyke.io import Position
from fyke.io.durable import sync_folder, write_whole
from fyke.io.outlet import Outlet
from fyke.io.sinks import align
from fyke.io.tables import concat

MANIFEST = "_manifest.json"
VERSION = 1


class ParquetFolder(Outlet):
    """Write to a folder of segments; columns and types are those of the first segment with rows.

    Args:
        folder: its path; it need not be there.

    >>> import tempfile
    >>> with ParquetFolder(tempfile.mkdtemp()) as sink:
    ...     sink.write(pa.table({"n": [1, 2]}))
    ...     sink.cut(is_last=True)["segments"]
    1
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder).rstrip("/")
        super().__init__(self._folder)
        self._schema: pa.Schema | None = None
        self._segments: list[dict[str, Any]] = []
        self._waiting: list[pa.Table] = []
        self._empty: pa.Table | None = None

    def resume(self, position: Position) -> None:
        if position is None:
            self.open()
            return
        listed = self._listed()
        n = position["segments"]
        if listed is None or len(listed) < n:
            raise DataError(f"{self.name}: {MANIFEST} names fewer than the {n} segments that the checkpoint knows")
        self._segments = listed[:n]
        for segment in self._segments:
            path = os.path.join(self._folder, segment["name"])
            size = os.stat(path).st_size if os.path.isfile(path) else None
            if size != segment["bytes"]:
                found = "is not there" if size is None else f"has {size} bytes"
                raise DataError(f"{path}: {found}; the manifest says {segment['bytes']} bytes")
        if position["schema"] is not None:
            self._schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(position["schema"])))
        self._tidy()
        self._is_open = True

    def cut(self, *, is_last: bool) -> Position:
        """Write the rows since the last cut as a segment, if there are any."""
        self.open()
        if self._waiting:
            self._put(concat(self._waiting))
            self._waiting = []
        elif is_last and not self._segments and self._empty is not None:
            self._put(self._empty)
        schema = None if self._schema is None else base64.b64encode(self._schema.serialize()).decode()
        return {"segments": len(self._segments), "schema": schema}

    def _open(self) -> None:
        if not os.path.isdir(self._folder):
            if os.path.lexists(self._folder):
                raise DataError(f"{self.name}: is a file; segments of Parquet are written to a folder: remove it first")
            os.mkdir(self._folder)
            sync_folder(os.path.dirname(self._folder))
        elif self._listed() is None and any(not name.startswith(".") for name in os.listdir(self._folder)):
            raise DataError(f"{self.name}: holds other files, and no {MANIFEST}; name another folder")
        self._tidy()

    def _write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._waiting.append(table)
        else:
            self._empty = table

    def _flush(self) -> None:
        """A segment is written by a cut, so that it holds the same rows whoever was interrupted."""

    def _put(self, table: pa.Table) -> None:
        if self._schema is None:
            self._schema = table.schema
        sink = pa.BufferOutputStream()
        pq.write_table(align(table, self._schema, self.name), sink)
        name = f"part-{len(self._segments) + 1:08}.parquet"
        data = sink.getvalue()
        write_whole(os.path.join(self._folder, name), memoryview(data))
        self._segments.append({"name": name, "rows": table.num_rows, "bytes": data.size})
        self._write_manifest()

    def _listed(self) -> list[dict[str, Any]] | None:
        """Return the segments that the manifest names, None where there is no manifest."""
        path = os.path.join(self._folder, MANIFEST)
        try:
            with open(path, "rb") as file:
                found = json.load(file)
            version = found["version"]
            segments = [{key: each[key] for key in ("name", "rows", "bytes")} for each in found["segments"]]
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise DataError(f"{path}: damaged: not a manifest of segments") from error
        if version != VERSION:
            raise DataError(f"{path}: is of version {version!r}; this is a reader of version {VERSION}")
        if any(each["name"] != os.path.basename(str(each["name"])) for each in segments):
            raise DataError(f"{path}: damaged: names a segment outside its folder")
        return segments

    def _write_manifest(self) -> None:
        text = json.dumps({"version": VERSION, "segments": self._segments}, indent=1)
        write_whole(os.path.join(self._folder, MANIFEST), text.encode())

    def _tidy(self) -> None:
        """Let the manifest name what is known, and remove segments that it does not name."""
        self._write_manifest()
        known = {each["name"] for each in self._segments}
        for name in os.listdir(self._folder):
            is_ours = name.startswith("part-") or name.endswith(".part")
            if is_ours and name not in known:
                os.unlink(os.path.join(self._folder, name))


__all__ = ["MANIFEST", "ParquetFolder"]
