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
from fyke.io.bounded import Bounded, is_standard_input
from fyke.io.files import open_log
from fyke.io.memory import Memory
from fyke.nodes import SIDES
from fyke.nodes import Source as Node
from fyke.operator import END, START
from fyke.outcome import StreamResults
from fyke.resumable import Cut

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
        self._options = [str(options.get("types")), str(options.get("format"))]
        self._readers: list[_Reader] = []
        self._n_rows = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for results in self.results():
            yield from results

    def results(self) -> Iterator[StreamResults]:
        """Run from the start and give what each step gives."""
        self._restart(StreamEngine(self._streams), None)
        for step in self.steps(0, False):
            if not isinstance(step, Cut):
                yield step

    def steps(self, every: int, open_end: bool) -> Iterator[StreamResults | Cut]:
        """Run on from where this is; see `fyke.resumable.Run`.

        Args:
            every: rows of all logs from cut to cut; 0: no cuts.
            open_end: the end of a log ends nothing.
        """
        engine = self._engine
        readers = [reader for reader in self._readers if open_end or not reader.is_over]
        for reader in readers:
            reader.fill()
            if reader.first is not None and self._n_rows == 0:
                yield engine.push(reader.first.slice(0, 0), to=reader.name)
        while True:
            for reader in [r for r in readers if r.is_over]:
                readers.remove(reader)
                if not open_end:
                    yield engine.advance(END, reader.name)
            if not readers:
                break
            limit = min(int(reader.reached[-1]) for reader in readers)
            last = next(i for i, reader in enumerate(readers) if reader.reached[-1] == limit)
            counts = [reader.n_until(limit, inclusive=i <= last) for i, reader in enumerate(readers)]
            places = np.repeat(np.arange(len(counts)), counts)
            reached = np.concatenate([reader.reached[:n] for reader, n in zip(readers, counts, strict=True)])
            order = places[np.lexsort((places, reached))]
            while len(order):
                source = order[: every - self._n_rows % every] if every else order
                order = order[len(source) :]
                rows = {r.name: r.take(int(np.count_nonzero(source == i))) for i, r in enumerate(readers)}
                self._n_rows += len(source)
                yield engine.push_merged(rows, source)
                if every and self._n_rows % every == 0:
                    yield self._cut(is_end=False)
            for reader in readers:
                reader.fill()
        if every:
            yield self._cut(is_end=not open_end)

    def _cut(self, *, is_end: bool) -> Cut:
        return Cut({"rows": self._n_rows, "logs": {r.name: r.position() for r in self._readers}}, is_end)

    def _restart(self, engine: StreamEngine, position: Any) -> None:
        self._engine = engine
        self._n_rows = 0 if position is None else position["rows"]
        self._readers = [
            _Reader(name, log, self._nodes[name], None if position is None else position["logs"][name])
            for name, log in self._logs.items()
        ]

    # -- what a resumable replay asks for

    @property
    def definition(self) -> Any:
        """What is run, as JSON."""
        return ["stream", self._engine.fingerprint, self._options]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What there is to write: the outputs, and what is put aside."""
        return tuple(dict.fromkeys([*self._engine.outputs, *SIDES]))

    @property
    def logs(self) -> list[str]:
        """The names of the logs."""
        return [f"{name}={log.name}" for name, log in self._logs.items()]

    def table(self, step: StreamResults, output: str) -> pa.Table:
        """Give of a step what belongs to an output."""
        return (step.outputs[output] if output in step.outputs else step.side(output)).to_arrow()

    def resume(self, state: bytes | None, position: Any) -> None:
        """Go to the beginning, or to where `state` and the position of a Cut were taken.

        Raises:
            StateError: the state is damaged, or of other streams. DefinitionError: a log cannot be read from a row on.
        """
        for log in self._logs.values():
            if not isinstance(log, Bounded) or is_standard_input(log):
                raise DefinitionError(f"{log.name} cannot be read again from where a checkpoint stands; give a file")
        engine = StreamEngine(self._streams) if state is None else StreamEngine.restore(state, self._streams)
        self._restart(engine, position)

    def state(self) -> bytes:
        """Give the state of now; see StreamEngine.snapshot."""
        return self._engine.snapshot()

    def engine(self, state: bytes) -> StreamEngine:
        """Make the engine that goes on from a state."""
        return StreamEngine.restore(state, self._streams)

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
    """A log, a batch ahead: its rows and the highest time reached with each.

    Args:
        position: where to go on, as `position()` gave it; None: at the beginning.
    """

    def __init__(self, name: str, log: Source, node: Node, position: Any) -> None:
        self.name = name
        self.is_over = False
        self.first: pa.RecordBatch | None = None
        self.rows: pa.RecordBatch | None = None
        self.reached = np.empty(0, np.int64)
        self._time = TimeColumn(node.time, node.unit)
        self._highest = self._handed = START
        self._n_rows = 0
        if position is not None:
            self._n_rows, self._highest, self.is_over = position["row"], position["reached"], position["is_over"]
            self._handed = self._highest
        if isinstance(log, Bounded):
            log.seek(self._n_rows)
        self._items = iter(log)

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

    def n_until(self, limit: int, inclusive: bool) -> int:
        """Count the rows that are due when all logs have reached a time."""
        return int(np.searchsorted(self.reached, limit, side="right" if inclusive else "left"))

    def take(self, n: int) -> pa.RecordBatch:
        """Hand out the next rows."""
        assert self.rows is not None
        rows = self.rows.slice(0, n)
        if n:
            self._handed = int(self.reached[n - 1])
        self._n_rows += n
        self.rows, self.reached = self.rows.slice(n), self.reached[n:]
        return rows

    def position(self) -> Any:
        """Say where it is: rows handed out, the time reached with them, and whether its end was told."""
        return {"row": self._n_rows, "reached": self._handed, "is_over": self.is_over}


def _open(log: Any, node: Node, batch_size: int, options: Mapping[str, Any]) -> Source:
    if isinstance(log, str | os.PathLike):
        return open_log(log, times=[node.time], batch_size=batch_size, **options)
    return log if isinstance(log, Source) else Memory(log, batch_size=batch_size)
