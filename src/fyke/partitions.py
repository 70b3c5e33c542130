"""The engines of a replay of streams, one for each partition: a value of a column, with watermarks of its own.

What sources told (columns, watermarks, idleness) holds for partitions that appear later, too. Without a column there is
one engine.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fyke.errors import LimitError, SchemaError
from fyke.graph import InputStatistics, StreamEngine, Streams, StreamStatistics
from fyke.merged_logs import MergedRows
from fyke.operator import END, START
from fyke.outcome import StreamResults
from fyke.resumable import read_partitions, write_partitions

__all__ = ["Partitions"]

# No topic has more; a column that has is a key, and a key belongs into key_by.
MOST: Final = 4_096


class Partitions:
    """Runs streams, each partition by itself.

    Args:
        streams: what to run.
        column: of all inputs; None: there is one partition.
    """

    def __init__(self, streams: Streams, column: str | None) -> None:
        self.engines: dict[Hashable, StreamEngine] = {}
        self.blank = StreamEngine(streams)
        self._streams = streams
        self._column = column
        self._columns: dict[str, pa.Schema] = {}
        self._watermarks: dict[str, int] = {}
        self._idle: set[str] = set()

    def engine(self, value: Hashable) -> StreamEngine:
        """Give the engine of a partition; a new one knows what was told so far.

        Raises:
            LimitError: there are too many.
        """
        found = self.engines.get(value)
        if found is None:
            if len(self.engines) == MOST:
                raise LimitError(
                    f"partition column `{self._column}` has more than {MOST:,} values; if it is a key, say key_by() in "
                    "the streams instead"
                )
            found = self.engines[value] = StreamEngine(self._streams)
            for name, schema in self._columns.items():
                found.push(schema.empty_table(), to=name)
            for name, ns in self._watermarks.items():
                found.advance(ns, name)
            for name in self._idle:
                found.idle(name)
        return found

    # -- what comes

    def push(self, step: MergedRows) -> Iterator[StreamResults]:
        """Take rows; raises what StreamEngine.push raises, and SchemaError where there is no such column."""
        for value, rows in self._split(step):
            yield self.engine(value).push_merged(rows.rows, rows.order)

    def _split(self, step: MergedRows) -> Iterator[tuple[Hashable, MergedRows]]:
        """Split rows by the values of the column, that of the first row first."""
        if self._column is None:
            yield None, step
            return
        columns = [self._column_of(name, rows) for name, rows in step.rows.items()]
        if any(column.type != columns[0].type for column in columns):
            kinds = ", ".join(f"{c.type} in {name}" for name, c in zip(step.rows, columns, strict=True))
            raise SchemaError(f"partition column `{self._column}` is {kinds}: convert one of them")
        encoded = pa.concat_arrays(columns).dictionary_encode(null_encoding="encode")
        ends = np.cumsum([len(column) for column in columns])
        of_rows = np.split(encoded.indices.to_numpy(zero_copy_only=False), ends[:-1])
        codes = np.empty(len(step.order), np.int64)
        for i, own in enumerate(of_rows):
            codes[step.order == i] = own
        numbers, first = np.unique(codes, return_index=True)
        for number in numbers[np.argsort(first)].tolist():
            rows = {
                name: batch.filter(pa.array(own == number))
                for (name, batch), own in zip(step.rows.items(), of_rows, strict=True)
            }
            yield encoded.dictionary[number].as_py(), MergedRows(rows, step.order[codes == number])

    def _column_of(self, name: str, rows: pa.RecordBatch) -> pa.Array:
        assert self._column is not None
        place = rows.schema.get_field_index(self._column)
        if place < 0:
            near = difflib.get_close_matches(self._column, rows.schema.names, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"the columns are {', '.join(rows.schema.names)}"
            raise SchemaError(f"partition column `{self._column}` is not in {name}; {hint}")
        return rows.column(place)

    def tell_columns(self, name: str, schema: pa.Schema) -> Iterator[StreamResults]:
        """Let the engines know the columns of a source before any of its rows, and that it is there again."""
        self._idle.discard(name)
        if name not in self._columns:
            self._columns[name] = schema
            for engine in self.engines.values():
                yield engine.push(schema.empty_table(), to=name)

    def advance(self, ns: int, name: str) -> Iterator[StreamResults]:
        """Move the watermark of a source, in all partitions."""
        if not self.engines and (ns == END or self._column is None):
            self.engine(None)
        self._watermarks[name] = max(ns, self._watermarks.get(name, START))
        for engine in self.engines.values():
            yield engine.advance(ns, name)

    def idle(self, name: str) -> Iterator[StreamResults]:
        """Let a source be idle, in all partitions."""
        self._idle.add(name)
        for engine in self.engines.values():
            yield engine.idle(name)

    # -- state

    def snapshot(self) -> bytes:
        """Give the state of all partitions: without a column that of the only engine."""
        if not self.engines:
            self.engine(None)
        if self._column is None:
            return self.engines[None].snapshot()
        return write_partitions({value: engine.snapshot() for value, engine in self.engines.items()})

    def restored(self, state: bytes) -> dict[Hashable, StreamEngine]:
        """Make the engines that go on from a state; raises StateError."""
        parts = [(None, state)] if self._column is None else read_partitions(state)
        return {value: StreamEngine.restore(part, self._streams) for value, part in parts}

    def resume(self, state: bytes, ended: Sequence[str]) -> None:
        """Go on from a state, in which these sources had ended."""
        self.engines = self.restored(state)
        for name in self.blank.inputs:
            known = [schema for each in self.engines.values() if (schema := each.input_schema(name)) is not None]
            self._columns |= {name: known[0]} if known else {}
        self._watermarks |= dict.fromkeys(ended, END)

    def statistics(self) -> StreamStatistics:
        """Give the counts of all partitions, added up; watermarks are the lowest."""
        return _sum([engine.statistics() for engine in self.engines.values()] or [self.blank.statistics()])


def _sum(parts: Sequence[StreamStatistics]) -> StreamStatistics:
    if len(parts) == 1:
        return parts[0]

    def least(watermarks: Sequence[int | None]) -> int | None:
        return None if None in watermarks else min(each for each in watermarks if each is not None)

    inputs = {
        name: InputStatistics(
            sum(part.inputs[name].rows for part in parts),
            least([part.inputs[name].watermark for part in parts]),
            all(part.inputs[name].is_idle for part in parts),
        )
        for name in parts[0].inputs
    }
    return StreamStatistics(
        sum(part.rows for part in parts),
        sum(part.late for part in parts),
        sum(part.null_keys for part in parts),
        sum(part.bytes for part in parts),
        least([part.watermark for part in parts]),
        inputs,
        {name: _added([part.boxes[name] for part in parts]) for name in parts[0].boxes},
    )


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, Any] = {}
    for each in counts:
        for what, n in each.items():
            found[what] = n if what not in found else min(found[what], n) if what == "watermark" else found[what] + n
    return found
