"""Several logs as one: merged by the highest event time that each has reached.

The order depends on the rows alone, not on the batches they are read in: next comes the row whose log has reached the
lowest time with it, at equal times that of the first log. What a source tells of time comes right after its own rows
before it. A log that ends lets the others go on, and so does a source that says it is idle: it is asked again after the
next step of the others, so what idleness does is the only thing that batches can change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.eventtime import TimeColumn
from fyke.io import Batch, Idle, Source, Watermark
from fyke.io.bounded import Bounded
from fyke.nodes import Source as Node
from fyke.operator import START

__all__ = ["Ended", "LogReader", "MergedRows", "Told", "merged"]


@dataclass(frozen=True, slots=True)
class MergedRows:
    """Rows of several logs.

    Attributes:
        rows: by the name of the log.
        order: for each row of all, in the order of the merge, the place of its log in `rows`.
    """

    rows: dict[str, pa.RecordBatch]
    order: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Told:
    """What a source told: a watermark, that it is idle, or (the first rows of a batch to come) its columns."""

    name: str
    item: Batch | Watermark | Idle


@dataclass(frozen=True, slots=True)
class Ended:
    """A log has ended."""

    name: str


Step: TypeAlias = MergedRows | Told | Ended


class LogReader:
    """A log, a batch ahead: its rows and the highest time reached with each.

    Args:
        name: of the source in the streams.
        node: says where the event time is.
        position: where to go on, as `position()` gave it; None: at the beginning.
    """

    def __init__(self, name: str, log: Source, node: Node, position: Any) -> None:
        self.name = name
        self.is_over = False
        self.is_idle = False
        self.rows: pa.RecordBatch | None = None
        self.reached: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._time = TimeColumn(node.time, node.unit)
        self._highest = self._handed = START
        self._n_rows = 0
        if position is not None:
            self._n_rows, self._highest, self.is_over = position["row"], position["reached"], position["is_over"]
            self._handed = self._highest
        if isinstance(log, Bounded):
            log.seek(self._n_rows)
        self._log = log
        self._items = iter(log)

    def fill(self) -> Iterator[Told]:
        """Read until there are rows, or there are none for now, or no more; give what is told on the way."""
        self.is_idle = False
        while not (len(self.reached) or self.is_over or self.is_idle):
            item = next(self._items, None)
            if item is None:
                self.is_over = True
                if self.rows is None and isinstance(self._log, Bounded) and self._log.columns is not None:
                    yield Told(self.name, Batch(pa.RecordBatch.from_pylist([], self._log.columns), 0))
                return
            if isinstance(item, Watermark):
                self._highest = self._handed = max(self._highest, item.ns)
            elif isinstance(item, Idle):
                self.is_idle = True
            else:
                self.rows = item.rows
                if item.rows.num_rows:
                    times = np.maximum(self._time.of(item.rows, item.first), self._highest)
                    self.reached = np.maximum.accumulate(times)
                    self._highest = int(self.reached[-1])
            yield Told(self.name, item)

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

    def position(self, open_end: bool) -> Any:
        """Say where it is: rows handed out, the time reached with them, and whether it has ended: never an open end."""
        return {"row": self._n_rows, "reached": self._handed, "is_over": self.is_over and not open_end}


def merged(readers: Sequence[LogReader], n_before: int, every: int) -> Iterator[Step]:
    """Read logs to their ends, as one.

    Args:
        n_before: rows that came before.
        every: no step goes across a multiple of so many rows; 0: of any number.
    """
    open_ones = list(readers)
    while open_ones:
        waiting = [reader for reader in open_ones if not reader.is_idle] or open_ones
        for reader in waiting:
            yield from reader.fill()
        for reader in [reader for reader in open_ones if reader.is_over]:
            open_ones.remove(reader)
            yield Ended(reader.name)
        ready = [reader for reader in open_ones if len(reader.reached)]
        if ready:
            for step in _up_to_the_lowest(ready, n_before, every):
                n_before += len(step.order)
                yield step
        for reader in open_ones:
            if reader not in waiting:
                reader.is_idle = False  # the others have gone on: it is asked again


def _up_to_the_lowest(readers: Sequence[LogReader], n_before: int, every: int) -> Iterator[MergedRows]:
    """Hand out the rows up to the time that all readers have reached."""
    limit = min(int(reader.reached[-1]) for reader in readers)
    last = next(i for i, reader in enumerate(readers) if reader.reached[-1] == limit)
    counts = [reader.n_until(limit, inclusive=i <= last) for i, reader in enumerate(readers)]
    places = np.repeat(np.arange(len(counts)), counts)
    reached = np.concatenate([reader.reached[:n] for reader, n in zip(readers, counts, strict=True)])
    order = places[np.lexsort((places, reached))]
    while len(order):
        now = order[: every - n_before % every] if every else order
        order = order[len(now) :]
        n_before += len(now)
        yield MergedRows({r.name: r.take(int(np.count_nonzero(now == i))) for i, r in enumerate(readers)}, now)
