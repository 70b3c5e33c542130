"""Rows of several writers, put in the order of their times: what reads a rekey topic.

Each writer tells how far its time has come. What lies below the least of these comes out, ordered by (place in time,
writer, order of writing), whatever the order in which the records of different writers stand in the partition. A
writer that says it is idle is left out of account until it writes again; then what it writes may come late.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fyke.app.rekey import PLACE, Rekey
from fyke.errors import DataError, StateError
from fyke.kafka.consumer import Chunk
from fyke.operator import END, START, Int64s

__all__ = ["Merge"]

_HEAD: Final = struct.Struct("<I")


class Merge:
    """Merges one partition.

    Args:
        rekey: with `origins` known.

    Attributes:
        watermark: what has come out lies at or below it, ns.
    """

    def __init__(self, rekey: Rekey) -> None:
        self._rekey = rekey
        self.watermark = START
        self._told = dict.fromkeys(range(rekey.origins), START)
        self._idle: set[int] = set()
        self._waiting: list[tuple[int, pa.RecordBatch]] = []

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._waiting)

    def take(self, chunk: Chunk) -> None:
        """Take records; see rekey.py.

        Raises:
            DataError: one is none of these, or of a writer that cannot be.
        """
        for message in chunk.messages:
            headers: dict[str, Any] = dict(message.headers() or ())
            try:
                origin = int(headers["origin"])
                if origin not in self._told:
                    raise ValueError(f"origin {origin} of {len(self._told)}")
                if message.value() is None:
                    self._told[origin] = max(self._told[origin], int(headers["watermark"]))
                    if headers["idle"] == b"1":
                        self._idle.add(origin)
                    else:
                        self._idle.discard(origin)
                    continue
                rows = pa.ipc.open_stream(message.value()).read_all().combine_chunks().to_batches()[0]
            except (KeyError, ValueError, TypeError, pa.ArrowException, IndexError) as error:
                raise DataError(
                    f"{chunk.partition}: record {message.offset()} is none of this app's: {error!r:.200}"
                ) from None
            self._idle.discard(origin)
            self._waiting.append((origin, rows))

    def release(self) -> tuple[pa.RecordBatch, Int64s] | None:
        """Give the rows whose time has come, and before each the watermark that holds; moves the watermark.

        O(n log n) in the rows that wait.
        """
        counted = [told for origin, told in self._told.items() if origin not in self._idle]
        if not counted or min(counted) <= self.watermark:
            return None
        before, self.watermark = self.watermark, min(counted)
        if not self._waiting:
            return None
        origins = np.repeat([origin for origin, _ in self._waiting], [len(rows) for _, rows in self._waiting])
        table = pa.Table.from_batches([rows for _, rows in self._waiting]).combine_chunks()
        rows = table.to_batches()[0]
        # One that was idle writes behind what has come out already: it gets the first place that is left.
        places = np.maximum(rows.column(PLACE).to_numpy(), min(before, END - 1) + 1)
        now = places <= self.watermark
        kept = np.flatnonzero(~now)
        self._waiting = [
            (int(origin), rows.take(pa.array(kept[origins[kept] == origin]))) for origin in np.unique(origins[kept])
        ]
        found = np.flatnonzero(now)
        if not len(found):
            return None
        order = found[np.lexsort((origins[found], places[found]))]  # stable: by order of writing after these
        given = rows.take(pa.array(order))
        return given.drop_columns([PLACE]), places[order] - 1

    def export(self) -> bytes:
        """Write the state."""
        header = {
            "watermark": self.watermark,
            "told": list(self._told.values()),
            "idle": sorted(self._idle),
            "waiting": [origin for origin, _ in self._waiting],
        }
        text = json.dumps(header).encode()
        parts = [_HEAD.pack(len(text)), text]
        for _, rows in self._waiting:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_batch(rows)
            data = bytes(sink.getvalue())
            parts += [_HEAD.pack(len(data)), data]
        return b"".join(parts)

    @classmethod
    def restore(cls, rekey: Rekey, state: bytes) -> Merge:
        """Make one that goes on where export was called.

        Raises:
            StateError: there are other writers now.
        """
        made = cls(rekey)
        (length,) = _HEAD.unpack_from(state)
        at = _HEAD.size + length
        header = json.loads(state[_HEAD.size : at])
        if len(header["told"]) != rekey.origins:
            raise StateError(
                f"{rekey.topic}: {len(header['told'])} tasks wrote to it, and there are {rekey.origins} now"
            )
        made.watermark, made._told = header["watermark"], dict(enumerate(header["told"]))
        made._idle = set(header["idle"])
        for origin in header["waiting"]:
            (length,) = _HEAD.unpack_from(state, at)
            data = state[at + _HEAD.size : at + _HEAD.size + length]
            made._waiting.append((origin, pa.ipc.open_stream(data).read_all().combine_chunks().to_batches()[0]))
            at += _HEAD.size + length
        return made
