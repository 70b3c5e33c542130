"""Rows of Arrow tables kept by number until they are dropped, and given back in any order.

Used by `changelog`, which must give a row once more when it takes it back. Numbers only grow and are never reused. Rows
stand in chunks, in the order of their numbers; a chunk that is more dead than alive is rewritten, and chunks are merged
as they grow, so that there are O(log n) of them, each row is copied O(log n) times, and at most half of what is held is
dead. To take k rows costs O(k log n).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fyke.io.tables import concat

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


@dataclass(slots=True)
class Chunk:
    """Rows with their numbers, ascending; `alive` says which were not dropped."""

    numbers: Numbers
    rows: pa.Table
    alive: "np.ndarray[Any, np.dtype[np.bool_]]"
    n_alive: int

    def rewritten(self) -> "Chunk":
        """Return the chunk without dead rows, in memory of its own."""
        if self.n_alive == len(self.numbers):
            return self
        places = np.flatnonzero(self.alive)
        return chunk_of(self.numbers[places], self.rows.take(pa.array(places)))


def chunk_of(numbers: Numbers, rows: pa.Table) -> Chunk:
    return Chunk(numbers, rows, np.ones(len(numbers), np.bool_), len(numbers))


class RowStore:
    """Holds rows by number.

    >>> store = RowStore()
    >>> store.add([3, 5, 8], pa.table({"a": ["x", "y", "z"]}))
    >>> store.drop([5])
    >>> store.take([8, 3]).to_pylist()
    [{'a': 'z'}, {'a': 'x'}]
    >>> len(store)
    2
    """

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []

    def __len__(self) -> int:
        return sum(chunk.n_alive for chunk in self._chunks)

    def add(self, numbers: Sequence[int], rows: pa.Table) -> None:
        """Keep rows under numbers that ascend and are higher than all before."""
        if not numbers:
            return
        self._chunks.append(chunk_of(np.array(numbers, np.int64), rows))
        while len(self._chunks) > 1 and 2 * self._chunks[-1].n_alive >= self._chunks[-2].n_alive:
            last, before = self._chunks.pop().rewritten(), self._chunks.pop().rewritten()
            both = np.concatenate([before.numbers, last.numbers])
            self._chunks.append(chunk_of(both, concat([before.rows, last.rows])))

    def take(self, numbers: Sequence[int]) -> pa.Table:
        """Return kept rows in the order of these numbers."""
        wanted = np.array(numbers, np.int64)
        of = self._chunks_of(wanted)
        parts, places = [], []
        for index in np.unique(of):
            chunk, mine = self._chunks[index], np.flatnonzero(of == index)
            parts.append(chunk.rows.take(pa.array(np.searchsorted(chunk.numbers, wanted[mine]))))
            places.append(mine)
        order = np.argsort(np.concatenate(places)) if places else np.array([], np.int64)
        return concat(parts).take(pa.array(order))

    def drop(self, numbers: Sequence[int]) -> None:
        """Let go of kept rows."""
        dropped = np.array(numbers, np.int64)
        of = self._chunks_of(dropped)
        for index in np.unique(of):
            chunk = self._chunks[index]
            chunk.alive[np.searchsorted(chunk.numbers, dropped[of == index])] = False
            chunk.n_alive = int(chunk.alive.sum())
            if 2 * chunk.n_alive < len(chunk.numbers):
                self._chunks[index] = chunk.rewritten()
        self._chunks = [chunk for chunk in self._chunks if chunk.n_alive]

    def numbers(self) -> list[int]:
        """Return the numbers of all kept rows, ascending."""
        return [int(number) for chunk in self._chunks for number in chunk.numbers[chunk.alive]]

    def _chunks_of(self, numbers: Numbers) -> Numbers:
        firsts = np.array([chunk.numbers[0] for chunk in self._chunks], np.int64)
        return np.searchsorted(firsts, numbers, side="right") - 1


__all__ = ["RowStore"]
