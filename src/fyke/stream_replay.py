"""Logs through streams: several logs are merged by the highest event time that each has reached.

The order of the merge depends on the rows alone, not on the batches they are read in: next comes the row whose log has
reached the lowest time with it, at equal times that of the first log. A log that ends lets the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.errors import DefinitionError
from fyke.eventtime import TimeColumn
from fyke.graph import StreamEngine, Streams, StreamStatistics
from fyke.io import Batch, Source
from fyke.io.files import open_log
from fyke.io.memory import Memory
from fyke.nodes import Source as Node
from fyke.operator import END, START
from fyke.outcome import StreamResults

__all__ = ["StreamReplay"]


class StreamReplay:
    """Logs and streams, ready to run; made by `fyke.replay`. Iterating runs them and gives the rows of the only output.

    Args:
        logs: a log, or names of the streams' sources mapped to logs: paths, Arrow data, rows.
        streams: what to run.
        options: as open_log takes them: batch_size, format, types.

    Raises:
        DefinitionError: a source of the streams has no log, or a log no source.
    """

    def __init__(self, logs: Any, streams: Streams, *, batch_size: int = 65_536, **options: Any) -> None:
        self._streams = streams
        self._engine = StreamEngine(streams)
        names = self._engine.inputs
        given = dict(logs) if isinstance(logs, Mapping) else {names[0]: logs}
        if set(given) != set(names):
            raise DefinitionError(f"replay: the streams take rows from {', '.join(names)}; logs are {', '.join(given)}")
        self._nodes = self._engine.sources
        self._logs = {name: _open(given[name], self._nodes[name], batch_size, options) for name in names}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for results in self.results():
            yield from results

    def results(self) -> Iterator[StreamResults]:
        """Run from the start and give what each step gives."""
        self._engine = engine = StreamEngine(self._streams)
        readers = [_Reader(name, log, self._nodes[name]) for name, log in self._logs.items()]
        for reader in readers:
            reader.fill()
            if reader.first is not None:
                yield engine.push(reader.first.slice(0, 0), to=reader.name)
        while True:
            for reader in [r for r in readers if r.is_over]:
                readers.remove(reader)
                yield engine.advance(END, reader.name)
            if not readers:
                return
            limit = min(int(reader.reached[-1]) for reader in readers)
            last = next(i for i, reader in enumerate(readers) if reader.reached[-1] == limit)
            parts = [reader.take(limit, inclusive=i <= last) for i, reader in enumerate(readers)]
            order = np.lexsort(
                (
                    np.repeat(np.arange(len(parts)), [len(rows) for rows, _ in parts]),
                    np.concatenate([t for _, t in parts]),
                )
            )
            source = np.repeat(np.arange(len(parts)), [len(rows) for rows, _ in parts])[order]
            yield engine.push_merged({r.name: rows for r, (rows, _) in zip(readers, parts, strict=True)}, source)
            for reader in readers:
                reader.fill()

    def collect(self) -> StreamResults:
        """Run from the start and keep everything; takes memory for it."""
        return StreamResults.together(list(self.results()))

    def statistics(self) -> StreamStatistics:
        """Give the counts of the run under way, or of the last."""
        return self._engine.statistics()

    def explain(self) -> str:
        """Draw the streams, and say how they run."""
        return self._engine.explain()


class _Reader:
    """A log, a batch ahead: its rows and the highest time reached with each."""

    def __init__(self, name: str, log: Source, node: Node) -> None:
        self.name = name
        self.is_over = False
        self.first: pa.RecordBatch | None = None
        self.rows: pa.RecordBatch | None = None
        self.reached = np.empty(0, np.int64)
        self._items = iter(log)
        self._time = TimeColumn(node.time, node.unit)
        self._highest = START

    def fill(self) -> None:
        while not len(self.reached) and not self.is_over:
            item = next(self._items, None)
            if item is None:
                self.is_over = True
            elif isinstance(item, Batch) and item.rows.num_rows:
                self.rows = item.rows
                self.first = self.first or item.rows
                times = np.maximum(self._time.of(item.rows, item.first), self._highest)
                self.reached = np.maximum.accumulate(times)
                self._highest = int(self.reached[-1])

    def take(self, limit: int, inclusive: bool) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        assert self.rows is not None
        n = int(np.searchsorted(self.reached, limit, side="right" if inclusive else "left"))
        rows, reached = self.rows.slice(0, n), self.reached[:n]
        self.rows, self.reached = self.rows.slice(n), self.reached[n:]
        return rows, reached


def _open(log: Any, node: Node, batch_size: int, options: Mapping[str, Any]) -> Source:
    if isinstance(log, str | os.PathLike):
        return open_log(log, times=[node.time], batch_size=batch_size, **options)
    return log if isinstance(log, Source) else Memory(log, batch_size=batch_size)
